/* The Dictionary is read as RFC 8941 section 4.2 has it, values of unknown algorithms included: a
 * member can't be passed over without knowing where it ends. */
#include "files/digest_fields.h"

#include "base/text.h"
#include "crypto/crypto.h"

static void skip(struct str *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

static bool at(struct str s, char c)
{
    return s.n != 0 && s.p[0] == c;
}

static void skip_blanks(struct str *s, bool tabs)
{
    while (at(*s, ' ') || (tabs && at(*s, '\t')))
        skip(s, 1);
}

static bool read_key(struct str *s, struct str *key_r)
{
    size_t n = 0;
    while (n < s->n &&
           ((s->p[n] >= 'a' && s->p[n] <= 'z') || s->p[n] == '*' ||
            (n != 0 && (is_digit(s->p[n]) || (s->p[n] != '\0' && strchr("_-.", s->p[n]) != NULL)))))
        n++;
    *key_r = (struct str){s->p, n};
    skip(s, n);
    return n != 0;
}

static bool skip_string(struct str *s)
{
    for (size_t i = 1; i < s->n; i++) {
        if (s->p[i] == '"') {
            skip(s, i + 1);
            return true;
        }
        if (s->p[i] == '\\')
            i++;
    }
    return false;
}

/* A Byte Sequence is told apart from the others, as only that can be a digest. */
static bool read_bare_item(struct str *s, struct str *bytes_r)
{
    size_t n = 0;
    *bytes_r = (struct str){NULL, 0};
    if (s->n == 0)
        return false;
    if (s->p[0] == '"')
        return skip_string(s);
    if (s->p[0] == ':') {
        const char *colon = memchr(s->p + 1, ':', s->n - 1);
        if (colon == NULL)
            return false;
        *bytes_r = (struct str){s->p + 1, (size_t)(colon - s->p) - 1};
        skip(s, bytes_r->n + 2);
        return true;
    }
    if (s->p[0] == '?') {
        n = s->n >= 2 && (s->p[1] == '0' || s->p[1] == '1') ? 2 : 0;
    } else if (s->p[0] == '-' || is_digit(s->p[0])) {
        n = 1;
        while (n < s->n && (is_digit(s->p[n]) || s->p[n] == '.'))
            n++;
        n = is_digit(s->p[n - 1]) ? n : 0;
    } else if (is_letter(s->p[0]) || s->p[0] == '*') {
        while (n < s->n && (is_token_char(s->p[n]) || s->p[n] == ':' || s->p[n] == '/'))
            n++;
    }
    skip(s, n);
    return n != 0;
}

static bool skip_parameters(struct str *s)
{
    struct str key, ignored;
    while (at(*s, ';')) {
        skip(s, 1);
        skip_blanks(s, false);
        if (!read_key(s, &key))
            return false;
        if (at(*s, '=')) {
            skip(s, 1);
            if (!read_bare_item(s, &ignored))
                return false;
        }
    }
    return true;
}

static bool skip_inner_list(struct str *s)
{
    struct str ignored;
    skip(s, 1);
    for (;;) {
        skip_blanks(s, false);
        if (at(*s, ')'))
            break;
        if (!read_bare_item(s, &ignored) || !skip_parameters(s) || (!at(*s, ' ') && !at(*s, ')')))
            return false;
    }
    skip(s, 1);
    return true;
}

/* bytes: base64 text; {NULL, 0} when the value was none. */
static bool read_digest(struct str bytes, uint8_t *digest, size_t size, bool *has)
{
    uint8_t value[DIGEST_MAX + 3];
    size_t n;
    if (bytes.p == NULL || bytes.n != BASE64_LENGTH(size) || !base64_decode(bytes, value, &n) ||
        n != size || (*has && memcmp(digest, value, size) != 0))
        return false;
    memcpy(digest, value, size);
    return *has = true;
}

static bool read_member(struct digest_fields *fields, struct str *s)
{
    struct str key, bytes = {NULL, 0};
    if (!read_key(s, &key))
        return false;
    if (at(*s, '=')) {
        skip(s, 1);
        if (!(at(*s, '(') ? skip_inner_list(s) : read_bare_item(s, &bytes)))
            return false;
    }
    if (!skip_parameters(s))
        return false;
    if (str_eq(key, STR("sha-256")))
        return read_digest(bytes, fields->sha256, 32, &fields->has_sha256);
    if (str_eq(key, STR("sha-512")))
        return read_digest(bytes, fields->sha512, 64, &fields->has_sha512);
    return true;
}

bool digest_fields_read(struct digest_fields *fields, struct str value)
{
    struct str rest = trimmed(value);
    while (rest.n != 0) {
        if (!read_member(fields, &rest))
            return false;
        skip_blanks(&rest, true);
        if (rest.n == 0)
            return true;
        if (rest.p[0] != ',')
            return false;
        skip(&rest, 1);
        skip_blanks(&rest, true);
        if (rest.n == 0)
            return false; /* a comma at the end */
    }
    return true;
}
