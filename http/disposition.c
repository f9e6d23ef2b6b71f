/* Content-Disposition (RFC 6266): a name that somebody else chose, so that no client takes it for
 * more than a name. */
#include "http/http_internal.h"

enum { NAME_MAX_BYTES = 255 }; /* what file systems take */

/* Characters that end a name, lead out of a folder, or show it in another order than it is. */
static bool is_harmful(uint32_t code, size_t at)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == '/' || code == '\\' ||
           (code == '.' && at == 0) || (code >= 0x202a && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

/* At most NAME_MAX_BYTES of UTF-8, what is harmful or no UTF-8 replaced by '_'. */
static size_t clean_name(struct str name, char clean_r[NAME_MAX_BYTES])
{
    const char *p = name.p, *end = name.p + name.n;
    size_t n = 0;
    while (p != end) {
        size_t length = utf8_length(p, end);
        bool harmful = length == 0 || is_harmful(utf8_decode(p, length), n);
        size_t adds = harmful ? 1 : length;
        if (n + adds > NAME_MAX_BYTES)
            break;
        memcpy(clean_r + n, harmful ? "_" : p, adds);
        n += adds;
        p += length == 0 ? 1 : length;
    }
    return n;
}

/* '%' and what quotes stand for differently in different clients are left to filename*. */
static bool is_plain(char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '%';
}

/* attr-char of RFC 8187 section 3.2.1. */
static bool is_attr_char(char c)
{
    return is_letter_or_digit(c) || (c != '\0' && strchr("!#$&+-.^_`|~", c) != NULL);
}

static char *write_percent(char *to, char c)
{
    *to++ = '%';
    *to++ = "0123456789ABCDEF"[(unsigned char)c >> 4];
    *to++ = "0123456789ABCDEF"[c & 15];
    return to;
}

struct str http_disposition(h2o_mem_pool_t *pool, enum config_disposition disposition,
                            struct str name)
{
    static const struct str types[] = {
        [DISPOSITION_ATTACHMENT] = {"attachment", 10}, [DISPOSITION_INLINE] = {"inline", 6}};
    struct str type = types[disposition];
    char clean[NAME_MAX_BYTES];
    size_t n = name.n == 0 ? 0 : clean_name(name, clean);
    if (n == 0)
        return type;
    char *text =
        h2o_mem_alloc_pool(pool, type.n + sizeof("; filename=\"\"; filename*=UTF-8''") + n + 3 * n);
    bool plain = true;
    char *to = mempcpy(text, type.p, type.n);
    to = mempcpy(to, "; filename=\"", 12);
    for (size_t i = 0; i < n; i++) {
        /* One '_' for each character that is left out. */
        if (is_plain(clean[i]))
            *to++ = clean[i];
        else if (!utf8_is_continuation(clean[i]))
            *to++ = '_';
        plain &= is_plain(clean[i]);
    }
    *to++ = '"';
    if (!plain) {
        to = mempcpy(to, "; filename*=UTF-8''", 19);
        for (size_t i = 0; i < n; i++) {
            if (is_attr_char(clean[i]))
                *to++ = clean[i];
            else
                to = write_percent(to, clean[i]);
        }
    }
    return (struct str){text, (size_t)(to - text)};
}
