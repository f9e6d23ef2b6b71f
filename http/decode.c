/* Percent-encoding and UTF-8: of paths strictly, of queries as forgivingly as browsers expect. */
#include "http/http_internal.h"

/* Length of the UTF-8 sequence (RFC 3629) at p, 0 when it is none. */
static size_t sequence(const unsigned char *p, const unsigned char *end)
{
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : (p[0] & 0xf0) == 0xe0       ? 3
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                             : 0;
    if (n == 0 || (size_t)(end - p) < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

bool utf8_valid(struct str text)
{
    const unsigned char *p = (const unsigned char *)text.p;
    for (size_t left = text.n, n; left != 0; p += n, left -= n)
        if ((n = sequence(p, p + left)) == 0)
            return false;
    return true;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%XX" stands for, -1 when it is none. */
static int escape(const char *p, const char *end)
{
    if (end - p < 3 || hex(p[1]) < 0 || hex(p[2]) < 0)
        return -1;
    return hex(p[1]) << 4 | hex(p[2]);
}

bool percent_decode(h2o_mem_pool_t *pool, struct str text, struct str *decoded_r)
{
    if (text.n == 0 || memchr(text.p, '%', text.n) == NULL) {
        *decoded_r = text;
        return true;
    }
    char *to = h2o_mem_alloc_pool(pool, text.n);
    *decoded_r = (struct str){to, 0};
    for (const char *p = text.p, *end = text.p + text.n; p != end;) {
        int byte = *p == '%' ? escape(p, end) : (unsigned char)*p;
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
    const unsigned char *p = (const unsigned char *)text.p, *end = p + text.n;
    while (p != end) {
        size_t n = sequence(p, end);
        memcpy(to, n == 0 ? (const void *)REPLACEMENT : p, n == 0 ? 3 : n);
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
            int byte = *p == '%' ? escape(p, end) : -1;
            *to = byte >= 0 ? (char)byte : *p == '+' ? ' ' : *p;
            ascii = ascii && (unsigned char)*to < 0x80;
            to++;
            p += byte >= 0 ? 3 : 1;
        }
        text = (struct str){start, (size_t)(to - start)};
    }
    return ascii || utf8_valid(text) ? text : replace_invalid(pool, text);
}
