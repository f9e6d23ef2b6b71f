/* Tokens taken apart: what is one, what claims must say, what upstreams are told; sets of keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "middleware/jwks.h"
#include "middleware/jwt_token.h"

enum { NOW = 1700000000 };

static h2o_mem_pool_t pool;
static struct jwt jwt;

static int setup(void **state)
{
    (void)state;
    h2o_mem_init_pool(&pool);
    jwt_init(&jwt);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    jwt_fini(&jwt);
    h2o_mem_clear_pool(&pool);
    return 0;
}

static struct str token_of(const char *header, const char *claims)
{
    static char text[4 * JWT_MAX];
    size_t n = base64url_encode(header, strlen(header), text);
    text[n++] = '.';
    n += base64url_encode(claims, strlen(claims), text + n);
    memcpy(text + n, ".AAAA", 5);
    return (struct str){text, n + 5};
}

/* NULL: it is a token. */
static const char *wrong_with(struct str token)
{
    const char *wrong;
    return jwt_read(&jwt, token, &pool, &wrong) ? NULL : wrong;
}

#define HS256 "{\"alg\":\"HS256\"}"

static void test_a_token_is_taken_apart(void **state)
{
    (void)state;
    struct str token =
        token_of("{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"a\\/b\"}", "{\"sub\":\"ada\"}");
    assert_null(wrong_with(token));
    assert_int_equal(jwt.algorithm, JWS_ES256);
    assert_true(str_eq(jwt.kid, STR("a/b")));
    assert_true(str_eq(jwt.signed_part, (struct str){token.p, token.n - 5}));
    assert_true(str_eq(jwt.signature, (struct str){"\0\0\0", 3}));
    assert_null(wrong_with(token_of(HS256, "{}")));
    assert_null(jwt.kid.p);
}

static void test_what_is_no_token(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "eyJhbGciOiJIUzI1NiJ9",
        ".e30.",
        "eyJhbGciOiJIUzI1NiJ9.e30",           /* two parts */
        "eyJhbGciOiJIUzI1NiJ9.e30.AAAA.AAAA", /* four */
        "eyJhbGciOiJIUzI1NiJ9..AAAA",
        "eyJhbGciOiJIUzI1NiJ9.e30=.AAAA", /* padding */
        "eyJhbGciOiJIUzI1NiJ9.e30.AAA=",
        "eyJhbGciOiJIUzI1NiJ9.e30.AAAB+/", /* the other alphabet */
        "eyJhbGciOiJIUzI1NiJ9.e30.AB",     /* loose bits */
        "eyJhbGciOiJIUzI1NiJ9.e31.AAAA",   /* "{}" with loose bits */
        "eyJhbGciOiJIUzI1NiJ9.e 30.AAAA",
        "eyJhbGciOiJIUzI1NiJ9.W10.AAAA", /* [] */
        "eyJhbGciOiJIUzI1NiJ9.bnVsbA.AAAA",
    };
    for (size_t i = 0; i < COUNT(texts); i++)
        if (wrong_with(str_from(texts[i])) == NULL)
            fail_msg("taken: %s", texts[i]);
    assert_null(wrong_with(STR("eyJhbGciOiJIUzI1NiJ9.e30.AAAA")));
    assert_null(wrong_with(STR("eyJhbGciOiJIUzI1NiJ9.e30."))); /* no signature is a bad one */
}

static void test_headers_that_are_not_taken(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{}",
        "[]",
        "{\"alg\":\"none\"}",
        "{\"alg\":\"None\"}",
        "{\"alg\":\"\"}",
        "{\"alg\":null}",
        "{\"alg\":[\"HS256\"]}",
        "{\"alg\":\"HS256\",\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}",
        "{\"alg\":\"HS256\",\"kid\":1}",
        "{\"alg\":\"HS256\",\"kid\":null}",
        "{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}",
        "{\"alg\":\"HS256\",\"crit\":[]}",
        "{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}",
        "{\"alg\":\"HS256\"}{}",
        "{\"alg\":\"HS256\",\"x\":\"\xff\"}",
    };
    for (size_t i = 0; i < COUNT(headers); i++)
        if (wrong_with(token_of(headers[i], "{}")) == NULL)
            fail_msg("taken: %s", headers[i]);
    assert_non_null(wrong_with(token_of(HS256, "{\"exp\":1,\"exp\":2}")));
    assert_non_null(wrong_with(token_of(HS256, "{\"sub\":\"a\",\"su\\u0062\":\"b\"}")));
}

static void test_tokens_have_a_size(void **state)
{
    (void)state;
    char claims[JWT_MAX], deep[300];
    memset(claims, 'a', sizeof(claims));
    memcpy(claims, "{\"a\":\"", 6);
    memcpy(claims + 5000, "\"}", 3);
    assert_null(wrong_with(token_of(HS256, claims)));
    memset(claims + 5000, 'a', 3);
    memcpy(claims + 7000, "\"}", 3);
    assert_string_equal(wrong_with(token_of(HS256, claims)), "the token is too long");
    memset(deep, '[', 30);
    snprintf(claims, sizeof(claims), "{\"a\":%.*s%.*s}", 30, deep, 30,
             "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
    assert_string_equal(wrong_with(token_of(HS256, claims)), "the claims are malformed");
    size_t n = (size_t)snprintf(claims, sizeof(claims), "{\"a\":1");
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(claims + n, sizeof(claims) - n, ",\"a%d\":1", i);
    snprintf(claims + n, sizeof(claims) - n, "}");
    assert_string_equal(wrong_with(token_of(HS256, claims)), "the claims are malformed");
}

/* -- claims ------------------------------------------------------------------------------------ */

static struct str audiences[] = {{"shop", 4}, {"admin", 5}};
static struct str needed[] = {{"exp", 3}, {"sub", 3}};

static void check_rows(const struct jwt_rules *rules, const char *const (*rows)[2], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *wrong;
        assert_null(wrong_with(token_of(HS256, rows[i][0])));
        bool good = jwt_check(&jwt, rules, NOW, &pool, &wrong);
        if (good != (rows[i][1] == NULL) || (!good && strcmp(wrong, rows[i][1]) != 0))
            fail_msg("%s: %s", rows[i][0], good ? "taken" : wrong);
    }
}

static void test_times(void **state)
{
    (void)state;
#define EXPIRED   "the token has expired"
#define EARLY     "the token is not valid yet"
#define FUTURE    "the token was made in the future"
#define MALFORMED "a time among the claims is malformed"
    static const char *const rows[][2] = {
        {"{}", NULL},
        {"{\"exp\":1700000001}", NULL},
        {"{\"exp\":1700000000}", NULL}, /* the leeway */
        {"{\"exp\":1699999971}", NULL},
        {"{\"exp\":1699999970}", EXPIRED},
        {"{\"exp\":1699999971.9}", NULL},
        {"{\"exp\":0}", EXPIRED},
        {"{\"exp\":-1}", MALFORMED},
        {"{\"exp\":\"1700000001\"}", MALFORMED},
        {"{\"exp\":null}", MALFORMED},
        {"{\"exp\":1.7e99}", MALFORMED},
        {"{\"exp\":[1700000001]}", MALFORMED},
        {"{\"exp\":999999999999999}", NULL},
        {"{\"exp\":9999999999999999}", MALFORMED},
        {"{\"exp\":99999999999999999999999999999}", MALFORMED},
        {"{\"nbf\":1700000030}", NULL},
        {"{\"nbf\":1700000031}", EARLY},
        {"{\"nbf\":\"0\"}", MALFORMED},
        {"{\"iat\":1700000030}", NULL},
        {"{\"iat\":1700000031}", FUTURE},
        {"{\"iat\":true}", MALFORMED},
    };
    check_rows(&(struct jwt_rules){.leeway_s = 30}, rows, COUNT(rows));
    static const char *const exact[][2] = {{"{\"exp\":1700000001}", NULL},
                                           {"{\"exp\":1700000000}", EXPIRED},
                                           {"{\"nbf\":1700000000}", NULL},
                                           {"{\"nbf\":1700000001}", EARLY}};
    check_rows(&(struct jwt_rules){0}, exact, COUNT(exact));
}

static void test_who_made_it_and_for_whom(void **state)
{
    (void)state;
#define ISSUER  "the issuer is another"
#define FOR     "the token is for somebody else"
#define MISSING "a claim is missing"
    static const char *const rows[][2] = {
        {"{\"iss\":\"https://id\",\"aud\":\"shop\",\"exp\":1700000001,\"sub\":\"\"}", NULL},
        {"{\"iss\":\"https:\\/\\/id\",\"aud\":[\"x\",\"admin\"],\"exp\":1700000001,\"sub\":1}",
         NULL},
        {"{\"iss\":\"https://id/\",\"aud\":\"shop\",\"exp\":1700000001,\"sub\":1}", ISSUER},
        {"{\"iss\":[\"https://id\"],\"aud\":\"shop\",\"exp\":1700000001,\"sub\":1}", ISSUER},
        {"{\"aud\":\"shop\",\"exp\":1700000001,\"sub\":1}", ISSUER},
        {"{\"iss\":\"https://id\",\"aud\":\"shops\",\"exp\":1700000001,\"sub\":1}", FOR},
        {"{\"iss\":\"https://id\",\"aud\":[],\"exp\":1700000001,\"sub\":1}", FOR},
        {"{\"iss\":\"https://id\",\"aud\":[[\"shop\"]],\"exp\":1700000001,\"sub\":1}", FOR},
        {"{\"iss\":\"https://id\",\"aud\":{\"shop\":\"shop\"},\"exp\":1700000001,\"sub\":1}", FOR},
        {"{\"iss\":\"https://id\",\"exp\":1700000001,\"sub\":1}", FOR},
        {"{\"iss\":\"https://id\",\"aud\":\"shop\",\"exp\":1700000001}", MISSING},
        {"{\"iss\":\"https://id\",\"aud\":\"shop\",\"sub\":1}", MISSING},
    };
    const struct jwt_rules rules = {.issuer = STR("https://id"),
                                    .audience = {audiences, COUNT(audiences)},
                                    .required = {needed, COUNT(needed)}};
    check_rows(&rules, rows, COUNT(rows));
}

static void test_claims_as_headers(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"\"ada\"", "ada"},
        {"7", "7"},
        {"1.50", "1.50"},
        {"true", "true"},
        {"null", NULL},
        {"{}", NULL},
        {"\"\"", NULL},
        {"\"a b\"", "a b"},
        {"\"zo\xc3\xab\"", "zo\xc3\xab"},
        {"\"a,b\"", "a,b"},
        {"\"a\\r\\nX-Admin: 1\"", NULL},
        {"\"a\\u0000\"", NULL},
        {"\"a\\u007f\"", NULL},
        {"\" a\"", NULL},
        {"\"a \"", NULL},
        {"[\"a\",\"b\",3]", "a,b,3"},
        {"[]", NULL},
        {"[\"a\",\"b,admin\"]", NULL}, /* not another element */
        {"[\"a\",[\"b\"]]", NULL},
        {"[\"a\",\"\"]", NULL},
        {"[\"a\",null]", NULL},
    };
    char claims[200];
    for (size_t i = 0; i < COUNT(rows); i++) {
        snprintf(claims, sizeof(claims), "{\"x\":%s,\"xx\":2}", rows[i][0]);
        assert_null(wrong_with(token_of(HS256, claims)));
        struct str value = jwt_header_value(&jwt, STR("x"), &pool);
        if (rows[i][1] == NULL ? value.p != NULL : !str_eq(value, str_from(rows[i][1])))
            fail_msg("%s: \"%.*s\"", claims, (int)value.n, value.p != NULL ? value.p : "");
    }
    assert_null(jwt_header_value(&jwt, STR("y"), &pool).p);
}

static void test_lists_that_are_too_long_for_a_header(void **state)
{
    (void)state;
    char claims[6000];
    size_t n = (size_t)snprintf(claims, sizeof(claims), "{\"x\":[\"a\"");
    while (n < 5500)
        n += (size_t)snprintf(claims + n, sizeof(claims) - n, ",\"b\"");
    snprintf(claims + n, sizeof(claims) - n, "]}");
    assert_null(wrong_with(token_of(HS256, claims)));
    struct str value = jwt_header_value(&jwt, STR("x"), &pool);
    assert_true(value.n > 2000 && value.n <= 4096);
    memset(claims, 'a', 5500);
    memcpy(claims, "{\"x\":\"", 6);
    memcpy(claims + 5500, "\"}", 3);
    assert_null(wrong_with(token_of(HS256, claims)));
    assert_null(jwt_header_value(&jwt, STR("x"), &pool).p);
}

static void test_who_it_is_for_the_log(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"\"ada\"", "jwt:ada"},
        {"\"ada@example.org\"", "jwt:ada@example.org"},
        {"\"a b\\n\\\"%*\"", "jwt:a%20b%0A%22%25%2A"},
        {"\"zo\xc3\xab\"", "jwt:zo%C3%AB"},
        {"\"\"", NULL},
        {"7", NULL},
    };
    char claims[400];
    for (size_t i = 0; i < COUNT(rows); i++) {
        snprintf(claims, sizeof(claims), "{\"sub\":%s}", rows[i][0]);
        assert_null(wrong_with(token_of(HS256, claims)));
        struct str user = jwt_user(&jwt, &pool);
        if (rows[i][1] == NULL ? user.p != NULL : !str_eq(user, str_from(rows[i][1])))
            fail_msg("%s: \"%.*s\"", claims, (int)user.n, user.p != NULL ? user.p : "");
    }
    /* Long ones are cut, and still told apart. */
    snprintf(claims, sizeof(claims), "{\"sub\":\"%0200d\"}", 1);
    assert_null(wrong_with(token_of(HS256, claims)));
    struct str first = jwt_user(&jwt, &pool);
    snprintf(claims, sizeof(claims), "{\"sub\":\"%0200d\"}", 2);
    assert_null(wrong_with(token_of(HS256, claims)));
    struct str second = jwt_user(&jwt, &pool);
    assert_true(first.n < 128 && first.n == second.n);
    assert_false(str_eq(first, second));
    assert_memory_equal(first.p, second.p, 90);
}

/* -- sets of keys ------------------------------------------------------------------------------ */

/* RFC 7517 appendix A.1 (its RSA key), RFC 7515 appendix A.3. */
#define RSA_NUMBERS                                                             \
    "\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_" \
    "wWJcyQoTbji9k0l8W26m"                                                      \
    "PddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_"        \
    "YpRPEwOWvG6b32690r2jZ47soMZ"                                               \
    "o9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"                \
    "UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD"                                       \
    "Zlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"                  \
    "h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4"                                     \
    "FRWyuXpoQ\""
#define EC_NUMBERS                                                             \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8" \
    "Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""

static void test_sets_of_keys(void **state)
{
    (void)state;
    struct jwk_set set;
    assert_true(jwk_set_read(
        &set,
        STR("{\"keys\":[{" RSA_NUMBERS ",\"kid\":\"r1\",\"use\":\"sig\",\"alg\":\"RS256\"},"
            "{" RSA_NUMBERS ",\"kid\":\"r2\",\"key_ops\":[\"sign\",\"verify\"]},"
            "{" EC_NUMBERS ",\"kid\":\"e1\"},"
            "{\"kty\":\"oct\",\"kid\":\"o1\",\"k\":\"AAAA\"},{\"kty\":\"OKP\"},7,null,{},"
            "{" RSA_NUMBERS ",\"kid\":\"x1\",\"use\":\"enc\"},"
            "{" RSA_NUMBERS ",\"kid\":\"x2\",\"alg\":\"RS512\"},"
            "{" RSA_NUMBERS ",\"kid\":\"x3\",\"alg\":\"HS256\"},"
            "{" RSA_NUMBERS ",\"kid\":\"x4\",\"key_ops\":[\"sign\"]},"
            "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\",\"kid\":\"x5\"},"
            "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\",\"kid\":\"x6\"}]}")));
    assert_int_equal(set.count, 3);
    assert_ptr_equal(jwk_set_find(&set, JWS_RS256, STR("r1")), set.keys[0].key);
    assert_ptr_equal(jwk_set_find(&set, JWS_RS256, STR("r2")), set.keys[1].key);
    assert_null(jwk_set_find(&set, JWS_RS256, (struct str){NULL, 0})); /* which one? */
    assert_ptr_equal(jwk_set_find(&set, JWS_ES256, (struct str){NULL, 0}), set.keys[2].key);
    assert_null(jwk_set_find(&set, JWS_ES256, STR("r1"))); /* of another kind */
    assert_null(jwk_set_find(&set, JWS_HS256, STR("r1")));
    assert_null(jwk_set_find(&set, JWS_HS256, (struct str){NULL, 0}));
    assert_null(jwk_set_find(&set, JWS_RS256, STR("x1")));
    assert_null(jwk_set_find(&set, JWS_RS256, STR("")));
    jwk_set_clear(&set);
    assert_int_equal(set.count, 0);
}

static void test_what_is_no_set_of_keys(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "{}",
                                        "[]",
                                        "{\"keys\":{}}",
                                        "{\"keys\":[]}",
                                        "{\"keys\":\"\"}",
                                        "[{" EC_NUMBERS "}]",
                                        "{\"keys\":[{" EC_NUMBERS "}",
                                        "<html>"};
    struct jwk_set set;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_false(jwk_set_read(&set, str_from(texts[i])));
    char *large = malloc(300 * 1024);
    memset(large, ' ', 300 * 1024);
    memcpy(large, "{\"keys\":[{" EC_NUMBERS "}]}", strlen("{\"keys\":[{" EC_NUMBERS "}]}"));
    assert_false(jwk_set_read(&set, (struct str){large, 300 * 1024}));
    assert_true(jwk_set_read(&set, (struct str){large, 200 * 1024}));
    jwk_set_clear(&set);
    size_t n = (size_t)snprintf(large, 300 * 1024, "{\"keys\":[");
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(large + n, 300 * 1024 - n, "{" EC_NUMBERS ",\"kid\":\"%d\"},", i);
    snprintf(large + n, 300 * 1024 - n, "{}]}");
    assert_true(jwk_set_read(&set, str_from(large)));
    assert_int_equal(set.count, JWKS_KEYS_MAX);
    jwk_set_clear(&set);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_is_taken_apart),
        cmocka_unit_test(test_what_is_no_token),
        cmocka_unit_test(test_headers_that_are_not_taken),
        cmocka_unit_test(test_tokens_have_a_size),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_who_made_it_and_for_whom),
        cmocka_unit_test(test_claims_as_headers),
        cmocka_unit_test(test_lists_that_are_too_long_for_a_header),
        cmocka_unit_test(test_who_it_is_for_the_log),
        cmocka_unit_test(test_sets_of_keys),
        cmocka_unit_test(test_what_is_no_set_of_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
