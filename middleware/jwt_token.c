/* Reading tokens: each part is decoded into the token's own room and parsed as JSON, the header
 * before anything else is looked at. What is wrong is told in words that may go into a header. */
#include "middleware/jwt_token.h"

#include <h2o/string_.h>
#include <stdlib.h>
#include "base/text.h"

enum { MAX_DEPTH = 16, MAX_MEMBERS = 100, HEADER_VALUE_MAX = 4096, SUBJECT_MAX = 96 };

void jwt_init(struct jwt *jwt)
{
    json_doc_init(&jwt->header_doc);
    json_doc_init(&jwt->claims_doc);
}

void jwt_fini(struct jwt *jwt)
{
    json_doc_fini(&jwt->header_doc);
    json_doc_fini(&jwt->claims_doc);
}

/* -- reading ----------------------------------------------------------------------------------- */

/* RFC 7515 section 4 lets the last of two be taken; whoever takes the first sees another token. */
static bool are_unique(struct json_value object, h2o_mem_pool_t *pool)
{
    struct str names[MAX_MEMBERS];
    size_t count = 0;
    for (struct json_iter it = json_iter(object); json_next(&it);) {
        struct str name = json_string(it.key, pool);
        if (count == MAX_MEMBERS)
            return false;
        for (size_t i = 0; i < count; i++)
            if (str_eq(names[i], name))
                return false;
        names[count++] = name;
    }
    return true;
}

/* Decodes a part and reads it as an object. */
static bool read_object(struct str part, char *text, struct json_doc *doc, h2o_mem_pool_t *pool,
                        struct json_value *object_r)
{
    size_t n;
    if (part.n == 0 || part.n > JWT_MAX || !base64url_decode(part, (uint8_t *)text, &n) ||
        json_parse(doc, text, n, MAX_DEPTH, NULL) != JSON_OK)
        return false;
    *object_r = json_root(doc);
    return json_type(*object_r) == JSON_OBJECT && are_unique(*object_r, pool);
}

static struct str string_of(struct json_value value, h2o_mem_pool_t *pool)
{
    return json_type(value) == JSON_STRING ? json_string(value, pool) : (struct str){NULL, 0};
}

static const char *read_header(struct jwt *jwt, struct str part, h2o_mem_pool_t *pool)
{
    struct json_value header;
    if (!read_object(part, jwt->header_text, &jwt->header_doc, pool, &header))
        return "the header is malformed";
    struct str algorithm = string_of(json_get(header, STR("alg")), pool);
    if (algorithm.p == NULL || !jws_algorithm_named(algorithm, &jwt->algorithm))
        return "the algorithm is not taken";
    if (json_type(json_get(header, STR("crit"))) != JSON_MISSING)
        return "an extension is not understood";
    struct json_value kid = json_get(header, STR("kid"));
    jwt->kid = string_of(kid, pool);
    if ((json_type(kid) != JSON_MISSING && jwt->kid.p == NULL) || jwt->kid.n > JWT_KID_MAX)
        return "the header is malformed";
    return NULL;
}

static bool split(struct str token, struct str parts_r[3])
{
    for (int i = 0; i < 2; i++) {
        const char *dot = token.n != 0 ? memchr(token.p, '.', token.n) : NULL;
        if (dot == NULL)
            return false;
        parts_r[i] = (struct str){token.p, (size_t)(dot - token.p)};
        token = (struct str){dot + 1, token.n - parts_r[i].n - 1};
    }
    parts_r[2] = token;
    return memchr(token.p, '.', token.n) == NULL;
}

bool jwt_read(struct jwt *jwt, struct str token, h2o_mem_pool_t *pool, const char **wrong_r)
{
    struct str parts[3];
    size_t n = 0;
    *wrong_r = NULL;
    if (token.n > JWT_MAX)
        *wrong_r = "the token is too long";
    else if (!split(token, parts))
        *wrong_r = "this is no token";
    else
        *wrong_r = read_header(jwt, parts[0], pool);
    if (*wrong_r != NULL)
        return false;
    if (!read_object(parts[1], jwt->claims_text, &jwt->claims_doc, pool, &jwt->claims))
        *wrong_r = "the claims are malformed";
    else if (parts[2].n > BASE64_LENGTH(JWS_SIGNATURE_MAX) ||
             !base64url_decode(parts[2], jwt->signature_bytes, &n))
        *wrong_r = "the signature is malformed";
    jwt->signed_part = (struct str){token.p, parts[0].n + 1 + parts[1].n};
    jwt->signature = (struct str){(const char *)jwt->signature_bytes, n};
    return *wrong_r == NULL;
}

/* -- checking ---------------------------------------------------------------------------------- */

/* NumericDate (RFC 7519 section 2), without an exponent, which nobody writes. A fraction is cut. */
static bool read_seconds(struct json_value value, int64_t *seconds_r)
{
    bool escaped;
    struct str text = json_type(value) == JSON_NUMBER ? json_text(value, &escaped) : STR("");
    int64_t seconds = 0;
    size_t i = 0;
    for (; i < text.n && is_digit(text.p[i]); i++) {
        if (i == 15)
            return false;
        seconds = seconds * 10 + (text.p[i] - '0');
    }
    if (i == 0)
        return false;
    if (i < text.n && text.p[i] == '.')
        for (i++; i < text.n && is_digit(text.p[i]);)
            i++;
    *seconds_r = seconds;
    return i == text.n;
}

static const char *check_times(const struct jwt *jwt, int64_t leeway, int64_t now)
{
    static const struct {
        struct str name;
        bool ends;
        const char *wrong;
    } times[] = {{{"exp", 3}, true, "the token has expired"},
                 {{"nbf", 3}, false, "the token is not valid yet"},
                 {{"iat", 3}, false, "the token was made in the future"}};
    for (size_t i = 0; i < COUNT(times); i++) {
        struct json_value value = json_get(jwt->claims, times[i].name);
        int64_t at;
        if (json_type(value) == JSON_MISSING)
            continue;
        if (!read_seconds(value, &at))
            return "a time among the claims is malformed";
        if (times[i].ends ? now >= at + leeway : now < at - leeway)
            return times[i].wrong;
    }
    return NULL;
}

static bool is_one_of(struct str text, const struct config_strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (text.p != NULL && str_eq(text, list->items[i]))
            return true;
    return false;
}

/* A string, or an array of them (RFC 7519 section 4.1.3). */
static bool is_for(struct json_value audience, const struct config_strings *list,
                   h2o_mem_pool_t *pool)
{
    if (json_type(audience) == JSON_STRING)
        return is_one_of(json_string(audience, pool), list);
    bool found = false;
    for (struct json_iter it = json_iter(audience); json_next(&it) && !found;)
        found = json_type(audience) == JSON_ARRAY && is_one_of(string_of(it.value, pool), list);
    return found;
}

bool jwt_check(const struct jwt *jwt, const struct jwt_rules *rules, int64_t now_s,
               h2o_mem_pool_t *pool, const char **wrong_r)
{
    *wrong_r = check_times(jwt, rules->leeway_s, now_s);
    for (size_t i = 0; i < rules->required.count && *wrong_r == NULL; i++)
        if (json_type(json_get(jwt->claims, rules->required.items[i])) == JSON_MISSING)
            *wrong_r = "a claim is missing";
    struct str issuer = string_of(json_get(jwt->claims, STR("iss")), pool);
    if (*wrong_r == NULL && rules->issuer.n != 0 && !str_eq(issuer, rules->issuer))
        *wrong_r = "the issuer is another";
    if (*wrong_r == NULL && rules->audience.count != 0 &&
        !is_for(json_get(jwt->claims, STR("aud")), &rules->audience, pool))
        *wrong_r = "the token is for somebody else";
    return *wrong_r == NULL;
}

/* -- handing on -------------------------------------------------------------------------------- */

static bool is_scalar(struct json_value value)
{
    enum json_type type = json_type(value);
    return type == JSON_STRING || type == JSON_NUMBER || type == JSON_TRUE || type == JSON_FALSE;
}

/* RFC 9110 section 5.5; blanks at the ends would be lost. */
static bool fits_header(struct str text, bool in_list)
{
    if (text.n == 0 || text.n > HEADER_VALUE_MAX || has_control(text) || trimmed(text).n != text.n)
        return false;
    return !in_list || memchr(text.p, ',', text.n) == NULL;
}

static struct str join(struct json_value array, h2o_mem_pool_t *pool)
{
    char *text = h2o_mem_alloc_pool(pool, HEADER_VALUE_MAX), *at = text;
    for (struct json_iter it = json_iter(array); json_next(&it);) {
        struct str item = is_scalar(it.value) ? json_string(it.value, pool) : STR("");
        if (!fits_header(item, true) || item.n + 1 > (size_t)(text + HEADER_VALUE_MAX - at))
            return (struct str){NULL, 0};
        if (at != text)
            *at++ = ',';
        at = (char *)mempcpy(at, item.p, item.n);
    }
    return at != text ? (struct str){text, (size_t)(at - text)} : (struct str){NULL, 0};
}

struct str jwt_header_value(const struct jwt *jwt, struct str claim, h2o_mem_pool_t *pool)
{
    struct json_value value = json_get(jwt->claims, claim);
    if (json_type(value) == JSON_ARRAY)
        return join(value, pool);
    if (!is_scalar(value))
        return (struct str){NULL, 0};
    struct str text = json_string(value, pool);
    if (!fits_header(text, false))
        return (struct str){NULL, 0};
    h2o_iovec_t kept = h2o_strdup(pool, text.p, text.n); /* the text is the next token's soon */
    return (struct str){kept.base, kept.len};
}

static bool is_plain(char c)
{
    return is_letter_or_digit(c) || (c != '\0' && strchr("-._~@", c) != NULL);
}

struct str jwt_user(const struct jwt *jwt, h2o_mem_pool_t *pool)
{
    enum { DIGITS = 16 };
    struct str subject = string_of(json_get(jwt->claims, STR("sub")), pool);
    if (subject.n == 0)
        return (struct str){NULL, 0};
    char *text = h2o_mem_alloc_pool(pool, 4 + SUBJECT_MAX + 3 + 2 * 32 + 1);
    char *start = (char *)mempcpy(text, "jwt:", 4), *at = start;
    for (size_t i = 0; i < subject.n; i++) {
        if (at - start > SUBJECT_MAX - 3) {
            uint8_t digest[32];
            sha256(subject.p, subject.n, digest);
            *at++ = '*';
            hex_encode(digest, DIGITS / 2, at);
            at += DIGITS;
            break;
        }
        unsigned char c = (unsigned char)subject.p[i];
        if (is_plain((char)c)) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = "0123456789ABCDEF"[c >> 4];
            *at++ = "0123456789ABCDEF"[c & 15];
        }
    }
    return (struct str){text, (size_t)(at - text)};
}
