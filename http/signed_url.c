/* Signed links: writing and checking them. */
#include "http/signed_url.h"

#include <inttypes.h>
#include <stdio.h>
#include "base/text.h"

enum { MAC_SIZE = 32, SIG_LENGTH = 43, DIGITS_MAX = 20 };

/* One parameter as it stands in a query. */
struct parameter {
    struct str whole, value;
    enum { OTHER, EXPIRES, SIG } is;
};

static bool next_parameter(struct str *rest, struct parameter *parameter_r)
{
    static const struct str expires = {"expires=", 8}, sig = {"sig=", 4};
    if (rest->p == NULL)
        return false;
    const char *end = memchr(rest->p, '&', rest->n);
    struct str whole = {rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n};
    *rest = end != NULL ? (struct str){end + 1, rest->n - whole.n - 1} : (struct str){NULL, 0};
    *parameter_r = (struct parameter){.whole = whole};
    if (whole.n >= expires.n && memcmp(whole.p, expires.p, expires.n) == 0) {
        parameter_r->is = EXPIRES;
        parameter_r->value = (struct str){whole.p + expires.n, whole.n - expires.n};
    } else if (whole.n >= sig.n && memcmp(whole.p, sig.p, sig.n) == 0) {
        parameter_r->is = SIG;
        parameter_r->value = (struct str){whole.p + sig.n, whole.n - sig.n};
    }
    return true;
}

static void make(const struct key *key, enum http_right right, struct str path, struct str query,
                 struct str expires, uint8_t mac_r[MAC_SIZE])
{
    const struct str parts[] = {right == HTTP_MAY_WRITE ? STR("write") : STR("read"), path, query,
                                expires};
    mac_make(key, parts, COUNT(parts), mac_r);
}

size_t signed_url_write(const struct key *key, enum http_right right, struct str path,
                        struct str query, uint64_t expires_s, char *query_r)
{
    struct str rest = query.n != 0 ? query : (struct str){NULL, 0};
    struct parameter parameter;
    uint8_t mac[MAC_SIZE];
    char digits[DIGITS_MAX + 1], sig[BASE64_LENGTH(MAC_SIZE) + 1];
    char *to = query_r;
    while (next_parameter(&rest, &parameter)) {
        if (parameter.is != OTHER)
            continue;
        if (to != query_r)
            *to++ = '&';
        to = (char *)mempcpy(to, parameter.whole.p, parameter.whole.n);
    }
    struct str kept = {query_r, (size_t)(to - query_r)};
    struct str expires = {digits, (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, expires_s)};
    make(key, right, path, kept, expires, mac);
    size_t sig_length = base64url_encode(mac, sizeof(mac), sig);
    gw_assert(sig_length == SIG_LENGTH);
    if (kept.n != 0)
        *to++ = '&';
    to = (char *)mempcpy(to, "expires=", 8);
    to = (char *)mempcpy(to, expires.p, expires.n);
    to = (char *)mempcpy(to, "&sig=", 5);
    to = (char *)mempcpy(to, sig, sig_length);
    return (size_t)(to - query_r);
}

/* As signed_url_write() writes it. */
static bool read_seconds(struct str text, uint64_t *seconds_r)
{
    uint64_t seconds = 0;
    if (text.n == 0 || text.n > DIGITS_MAX || (text.n > 1 && text.p[0] == '0'))
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (!is_digit(text.p[i]) || __builtin_mul_overflow(seconds, 10, &seconds) ||
            __builtin_add_overflow(seconds, (uint64_t)(text.p[i] - '0'), &seconds))
            return false;
    *seconds_r = seconds;
    return true;
}

static bool is_mac(const struct key *key, enum http_right right, struct str path, struct str query,
                   struct str expires, const uint8_t mac[MAC_SIZE])
{
    uint8_t wanted[MAC_SIZE];
    make(key, right, path, query, expires, wanted);
    return bytes_equal(wanted, mac, MAC_SIZE);
}

enum signed_url signed_url_check(const struct key *key, enum http_right right, struct str path,
                                 struct str query, uint64_t now_s)
{
    struct str rest = query.n != 0 ? query : (struct str){NULL, 0};
    struct parameter parameter, expires = {.is = OTHER}, sig = {.is = OTHER};
    unsigned count = 0;
    while (next_parameter(&rest, &parameter)) {
        count += parameter.is != OTHER;
        expires = sig;
        sig = parameter;
    }
    if (count == 0)
        return SIGNED_URL_NONE;
    /* The last two are in these variables, and there may be no third of them. */
    if (count != 2 || expires.is != EXPIRES || sig.is != SIG)
        return SIGNED_URL_WRONG;
    uint8_t mac[SIG_LENGTH];
    size_t mac_n;
    uint64_t expires_s;
    if (!read_seconds(expires.value, &expires_s) || sig.value.n != SIG_LENGTH ||
        !base64url_decode(sig.value, mac, &mac_n))
        return SIGNED_URL_WRONG;
    gw_assert(mac_n == MAC_SIZE);
    struct str kept = {query.p, (size_t)(expires.whole.p - query.p)};
    if (kept.n != 0)
        kept.n--; /* the & */
    if (!is_mac(key, right, path, kept, expires.value, mac) &&
        (right == HTTP_MAY_WRITE || !is_mac(key, HTTP_MAY_WRITE, path, kept, expires.value, mac)))
        return SIGNED_URL_WRONG;
    return now_s < expires_s ? SIGNED_URL_GOOD : SIGNED_URL_EXPIRED;
}
