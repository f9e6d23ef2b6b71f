/* Percent-encoding and UTF-8: of paths strictly, of queries as forgivingly as browsers expect. */
#include "http/http_internal.h"

bool percent_decode(h2o_mem_pool_t *pool, struct str text, struct str *decoded_r)
{
    if (text.n == 0 || memchr(text.p, '%', text.n) == NULL) {
        *decoded_r = text;
        return true;
    }
    char *to = h2o_mem_alloc_pool(pool, text.n);
    *decoded_r = (struct str){to, 0};
    for (const char *p = text.p, *end = text.p + text.n; p != end;) {
        int byte = *p == '%' ? percent_byte(p, end) : (unsigned char)*p;
        if (byte < 0)
            return false;
        p += *p == '%' ? 3 : 1;
        to[decoded_r->n++] = (char)byte;
    }
    return true;
}

static struct str replace_invalid(h2o_mem_pool_t *pool, struct str text)
{
    static const char REPLACEMENT[] = "\xef\xbf\xbd";
    char *start = h2o_mem_alloc_pool(pool, text.n * 3), *to = start;
    const char *p = text.p, *end = text.p + text.n;
    while (p != end) {
        size_t n = utf8_length(p, end);
        memcpy(to, n == 0 ? REPLACEMENT : p, n == 0 ? 3 : n);
        to += n == 0 ? 3 : n;
        p += n == 0 ? 1 : n;
    }
    return (struct str){start, (size_t)(to - start)};
}

struct str form_decode(h2o_mem_pool_t *pool, struct str text)
{
    bool plain = true, ascii = true;
    for (size_t i = 0; i < text.n; i++) {
        plain = plain && text.p[i] != '%' && text.p[i] != '+';
        ascii = ascii && (unsigned char)text.p[i] < 0x80;
    }
    if (!plain) {
        char *start = h2o_mem_alloc_pool(pool, text.n), *to = start;
        for (const char *p = text.p, *end = text.p + text.n; p != end;) {
            int byte = percent_byte(p, end);
            *to = byte >= 0 ? (char)byte : *p == '+' ? ' ' : *p;
            ascii = ascii && (unsigned char)*to < 0x80;
            to++;
            p += byte >= 0 ? 3 : 1;
        }
        text = (struct str){start, (size_t)(to - start)};
    }
    return ascii || utf8_valid(text) ? text : replace_invalid(pool, text);
}
