/* Who may have an answer, and whether it is kept: RFC 9111 sections 3, 3.5 and 5.2. */
#include "cache_rules.h"

static const struct cache_policy minute = {.ttl_ms = 60 * SECOND, .negative_ttl_ms = 5 * SECOND};

static void test_directives_say_who_may_have_it(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        bool is_private, no_store, no_cache, is_public, must_revalidate;
    } cases[] = {
        {"Cache-Control: max-age=60\n", false, false, false, false, false},
        {"Cache-Control: private\n", true, false, false, false, false},
        {"Cache-Control: PRIVATE\n", true, false, false, false, false},
        {"Cache-Control: private=\"set-cookie\"\n", true, false, false, false, false},
        {"Cache-Control: private=x\n", true, false, false, false, false},
        {"Cache-Control: max-age=60 , private\n", true, false, false, false, false},
        {"Cache-Control: ,,\tprivate\t,\n", true, false, false, false, false},
        {"Cache-Control: max-age=60\nX: y\ncache-control: private\n", true, false, false, false,
         false},
        {"Cache-Control: privately\n", false, false, false, false, false},
        {"Cache-Control: x=\"private\"\n", false, false, false, false, false},
        {"Cache-Control: x=\"a, private, b\"\n", false, false, false, false, false},
        {"Cache-Control: x=\"a\\\", private, b\"\n", false, false, false, false, false},
        {"Cache-Control: no-store\n", false, true, false, false, false},
        {"Cache-Control: no-store=1\n", false, true, false, false, false},
        {"Cache-Control: public, no-store\n", false, true, false, true, false},
        {"Cache-Control: no-cache\n", false, false, true, false, false},
        {"Cache-Control: no-cache=\"a, b\", max-age=1\n", false, false, true, false, false},
        {"Cache-Control: must-revalidate\n", false, false, false, true, true},
        {"Cache-Control: proxy-revalidate\n", false, false, false, false, true},
        {"Cache-Control: s-maxage=5\n", false, false, false, true, true},
        {"Cache-Control: public\n", false, false, false, true, false},
        {"Set-Cookie: a=b\n", true, false, false, false, false},
        {"Cache-Control: public, max-age=60\nset-cookie: a=b\n", true, false, false, true, false},
        {"Pragma: no-cache\n", false, false, true, false, false},
        {"Pragma: x, No-Cache\n", false, false, true, false, false},
        {"Pragma: no-cache\nCache-Control: max-age=60\n", false, false, false, false, false},
        /* what is malformed hides nothing that forbids */
        {"Cache-Control: private; max-age=60\n", true, false, false, false, false},
        {"Cache-Control: max-age=60; no-store\n", false, true, false, false, false},
        {"Cache-Control: no-store x\n", false, true, false, false, false},
        {"Cache-Control: x=\"a, no-store\n", false, true, false, false, false},
        {"Cache-Control: x=\"a\\\", no-cache\n", false, false, true, false, false},
        {"Cache-Control: x=\"\\\", private, y=\"z\n", true, false, false, false, false},
        {"Cache-Control: x=\"a, private, y=\"b\"\n", true, false, false, false, false},
        {"Cache-Control: a; b=\"x, private\"\n", true, false, false, false, false},
        {"Cache-Control: a; b=\"x, private, y\"\n", true, false, false, false, false},
        {"Cache-Control: \", private, \"\"\"\n", true, false, false, false, false},
        {"Cache-Control: \"\", private\n", true, false, false, false, false},
        /* and lets nobody do more */
        {"Cache-Control: public=1\n", false, false, false, false, false},
        {"Cache-Control: public; max-age=60\n", false, false, false, false, false},
        {"Cache-Control: public, x=\"\n", false, false, false, false, false},
        {"Cache-Control: public, =\n", false, false, false, false, false},
        {"Cache-Control: s-maxage=x\n", false, false, false, false, true},
        {"Cache-Control: s-maxage\n", false, false, false, false, true},
        {"Cache-Control: must-revalidate=0\n", false, false, false, false, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&no_policy, NULL, 200, cases[i].headers);
        tell(0, cases[i].headers);
        assert_int_equal(rules.is_private, cases[i].is_private);
        assert_int_equal(rules.no_store, cases[i].no_store);
        assert_int_equal(rules.no_cache, cases[i].no_cache);
        assert_int_equal(rules.is_public, cases[i].is_public);
        assert_int_equal(rules.must_revalidate, cases[i].must_revalidate);
        if (rules.is_private || rules.no_store)
            assert_false(rules.may_store || rules.may_share);
    }
}

static void test_what_is_kept(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers;
        bool may_store;
    } cases[] = {
        {200, "Cache-Control: max-age=60\n", true},
        {200, "Cache-Control: s-maxage=60\n", true},
        {200, DATE "Expires: Sun, 06 Nov 1994 08:50:37 GMT\n", true},
        {200, "", false}, /* nothing said, nothing configured */
        {200, "ETag: \"a\"\n", false},
        {200, "Cache-Control: public\n", false}, /* of no use */
        {200, "Cache-Control: public\nETag: \"a\"\n", true},
        {200, "Cache-Control: no-cache\n", false},
        {200, "Cache-Control: no-cache, max-age=60\n", false}, /* it can't be asked about */
        {200, "Cache-Control: no-cache\nETag: \"a\"\n", true},
        {200, "Cache-Control: no-cache\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\n", true},
        {200, "Cache-Control: no-cache\nLast-Modified: yesterday\n", false},
        {200, "Cache-Control: no-cache\nETag: a\n", false},
        {200, "Cache-Control: no-cache\nETag: \"a\"\nETag: \"b\"\n", false},
        {200, "Cache-Control: no-cache\nETag: \"a\"\nETag: \"a\"\n", true},
        {200, "Cache-Control: max-age=0\n", false},
        {200, "Cache-Control: max-age=0\nETag: W/\"a\"\n", true},
        {200, "Cache-Control: max-age=0, stale-while-revalidate=1\n", true},
        {200, "Cache-Control: max-age=0, stale-if-error=1\n", true},
        {200, "Cache-Control: no-cache, stale-if-error=1\n", false},
        {200, "Cache-Control: max-age=60\nAge: 60\n", false}, /* stale as it came */
        {200, "Cache-Control: max-age=60\nAge: 59\n", true},
        {200, "Cache-Control: max-age=60\nVary: *\n", false},
        {200, "Cache-Control: max-age=60\nVary: Accept, *\n", false},
        {200, "Cache-Control: max-age=60\nVary: a b\n", false},
        {200, "Cache-Control: max-age=60\nVary: Accept\n", true},
        {200, "Cache-Control: max-age=60, no-store\n", false},
        {200, "Cache-Control: max-age=60, private\n", false},
        {200, "Cache-Control: max-age=60\nSet-Cookie: a=b\n", false},
        /* any final status, when the answer says how long */
        {100, "Cache-Control: max-age=60\n", false},
        {103, "Cache-Control: max-age=60\n", false},
        {206, "Cache-Control: max-age=60\nContent-Range: bytes 0-1/2\n", false},
        {299, "Cache-Control: max-age=60\n", true},
        {302, "Cache-Control: max-age=60\n", true},
        {304, "Cache-Control: max-age=60\nETag: \"a\"\n", false},
        {403, "Cache-Control: max-age=60\n", true},
        {412, "Cache-Control: max-age=60\n", true},
        {500, "Cache-Control: max-age=60\n", true},
        {503, "Cache-Control: max-age=60\n", true},
        {599, "Cache-Control: max-age=60\n", true},
        {600, "Cache-Control: max-age=60\n", false},
        {0, "Cache-Control: max-age=60\n", false},
        /* must-understand (section 5.2.2.3) */
        {200, "Cache-Control: must-understand, max-age=60\n", true},
        {200, "Cache-Control: must-understand, no-store, max-age=60\n", true},
        {299, "Cache-Control: must-understand, max-age=60\n", false},
        {299, "Cache-Control: must-understand, no-store, max-age=60\n", false},
        {599, "Cache-Control: must-understand, no-store, max-age=60\n", false},
        {501, "Cache-Control: must-understand, no-store, max-age=60\n", true},
        {200, "Cache-Control: must-understand=1, no-store, max-age=60\n", false},
        {206, "Cache-Control: must-understand, max-age=60\n", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&no_policy, NULL, cases[i].status, cases[i].headers);
        tell(cases[i].status, cases[i].headers);
        assert_int_equal(rules.may_store, cases[i].may_store);
    }
}

static void test_a_configured_ttl_where_the_upstream_says_nothing(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers;
        uint64_t lifetime_ms;
        bool may_store;
    } cases[] = {
        {200, "", 60 * SECOND, true},
        {200, "Cache-Control: public\n", 60 * SECOND, true},
        {200, "Cache-Control: must-revalidate\n", 60 * SECOND, true},
        {200, "Cache-Control: stale-if-error=60\n", 60 * SECOND, true},
        {200, "Cache-Control: immutable, x=1\n", 60 * SECOND, true},
        {203, "", 60 * SECOND, true},
        {204, "", 60 * SECOND, true},
        {206, "", 60 * SECOND, false},
        {300, "", 60 * SECOND, true},
        {301, "", 60 * SECOND, true},
        {308, "", 60 * SECOND, true},
        {201, "", 0, false},
        {302, "", 0, false},
        {302, "Cache-Control: public\n", 60 * SECOND, true},
        {307, "", 0, false},
        {400, "", 0, false},
        {403, "", 0, false},
        {403, "Cache-Control: public\n", 0, false},
        {404, "", 5 * SECOND, true},
        {405, "", 5 * SECOND, true},
        {410, "", 5 * SECOND, true},
        {414, "", 5 * SECOND, true},
        {500, "", 0, false},
        {501, "", 5 * SECOND, true},
        {502, "", 0, false},
        {503, "", 0, false},
        {504, "", 0, false},
        {404, "Cache-Control: max-age=9\n", 9 * SECOND, true},
        {200, "Cache-Control: max-age=0\n", 0, false},
        {200, "Cache-Control: max-age=x\n", 0, false},
        {200, "Cache-Control: s-maxage=0\n", 0, false},
        {200, "Cache-Control: no-cache\n", 0, false},
        {200, "Cache-Control: no-store\n", 0, false},
        {200, "Cache-Control: private\n", 0, false},
        {200, "Set-Cookie: a=b\n", 0, false},
        {200, "Expires: 0\n", 0, false},
        {200, "Pragma: no-cache\n", 0, false},
        {200, "Cache-Control: x=\"\n", 0, false}, /* whatever it meant */
        {200, "Age: 60\n", 60 * SECOND, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&minute, NULL, cases[i].status, cases[i].headers);
        tell(cases[i].status, cases[i].headers);
        assert_int_equal(rules.lifetime_ms, cases[i].status == 206 ? 0 : cases[i].lifetime_ms);
        assert_int_equal(rules.may_store, cases[i].may_store);
    }
}

static void test_requests_that_nothing_is_kept_for(void **state)
{
    (void)state;
    static const struct {
        const char *method, *headers;
        int status;
        bool may_store, may_share;
    } cases[] = {
        {NULL, "", 200, true, true},
        {"GET", "", 200, true, true},
        {"get", "", 200, false, false},
        {"HEAD", "", 200, false, true},
        {"POST", "", 200, false, false},
        {"OPTIONS", "", 200, false, false},
        {"GET", "Range: bytes=0-1\n", 200, false, false},
        {"GET", "Range: bytes=0-1\n", 206, false, false},
        {"GET", "Range: bytes=9-\n", 416, false, false},
        {"GET", "If-None-Match: \"a\"\n", 200, true, false},
        {"GET", "If-None-Match: \"a\"\n", 304, false, false},
        {"GET", "If-Match: \"a\"\n", 412, false, false},
        {"GET", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\n", 412, false, false},
        {"GET", "Cache-Control: no-store\n", 200, false, true},
        {"GET", "Cache-Control: no-cache\n", 200, true, true},
        {"GET", "", 500, true, true},
    };
    struct lines answer = lines_of("Cache-Control: max-age=60\n");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules_request request = request_of(cases[i].method, cases[i].headers);
        struct rules rules;
        rules_read_answer(&minute, &request, cases[i].status, answer.headers, answer.count, NOW,
                          NOW, &rules);
        tell(cases[i].status, cases[i].headers);
        assert_int_equal(rules.may_store, cases[i].may_store);
        assert_int_equal(rules.may_share, cases[i].may_share);
    }
}

/* Section 3.5; Cookie as Authorization. */
static void test_answers_to_who_has_credentials(void **state)
{
    (void)state;
    static const char *const credentials[] = {"Authorization: Bearer x\n", "authorization:\n",
                                              "Cookie: session=1\n", "A: b\ncookie: c=d\n",
                                              "Client-Cert: :AAAA:\n"};
    static const struct {
        const char *headers;
        bool may_share;
    } cases[] = {
        {"Cache-Control: max-age=60\n", false},
        {"", false}, /* whatever is configured */
        {DATE "Expires: Sun, 06 Nov 1994 08:50:37 GMT\n", false},
        {"Cache-Control: max-age=60, proxy-revalidate\n", false},
        {"Cache-Control: max-age=60, public=x\n", false},
        {"Cache-Control: max-age=60, s-maxage=x\n", false},
        {"Cache-Control: max-age=60, public, private\n", false},
        {"Cache-Control: max-age=60, public, no-store\n", false},
        {"Cache-Control: max-age=60, public\nSet-Cookie: a=b\n", false},
        {"Cache-Control: max-age=60, public\n", true},
        {"Cache-Control: public\n", true},
        {"Cache-Control: s-maxage=60\n", true},
        {"Cache-Control: max-age=60, must-revalidate\n", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t k = 0; k < COUNT(credentials); k++) {
            struct rules rules = answer_of(&minute, credentials[k], 200, cases[i].headers);
            assert_int_equal(rules.may_share, cases[i].may_share);
            assert_int_equal(rules.may_store, cases[i].may_share);
            assert_true(cases[i].may_share || rules.is_private || rules.no_store);
        }
    }
}

static void test_sharing_what_is_not_kept(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers;
        bool may_share;
    } cases[] = {
        {200, "", true},
        {200, "Cache-Control: max-age=0\n", true},
        {500, "", true},
        {302, "", true},
        {200, "Vary: Accept\n", true},
        {200, "Vary: *\n", false},
        {200, "Cache-Control: no-store\n", false},
        {200, "Cache-Control: no-cache\n", false}, /* section 5.2.2.4: for no other request */
        {200, "Cache-Control: private\n", false},
        {200, "Set-Cookie: a=b\n", false},
        {500, "Set-Cookie: a=b\n", false},
        {206, "", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&no_policy, NULL, cases[i].status, cases[i].headers);
        assert_int_equal(rules.may_share, cases[i].may_share);
        assert_false(rules.may_store);
    }
}

/* A line of 64 KiB of quotes that are never closed: read in milliseconds, not in seconds. */
static void test_endless_quotes_take_no_time(void **state)
{
    (void)state;
    enum { SIZE = 64 * 1024, ROUNDS = 20 };
    static char text[SIZE];
    for (size_t i = 0; i < SIZE; i++)
        text[i] = i % 2 == 0 ? '"' : '\\';
    memcpy(text + SIZE - 9, ",no-store", 9);
    const struct up_header header = {STR("cache-control"), {text, SIZE}};
    struct rules_request request = request_of("GET", NULL);
    struct rules rules;
    uint64_t began_us = clock_us();
    for (int i = 0; i < ROUNDS; i++)
        rules_read_answer(&minute, &request, 200, &header, 1, NOW, NOW, &rules);
    assert_true(clock_us() - began_us < 2000000);
    assert_true(rules.no_store);
}

static void test_what_is_odd_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        bool is_odd;
    } cases[] = {
        {"Cache-Control: max-age=60, public\nETag: \"a\"\nVary: Accept\n" DATE, false},
        {"Cache-Control: max-age=60, max-age=60\n", false},
        {"Expires: 0\n", false},
        {"Expires: -1\n", false},
        {"Cache-Control: max-age=60, max-age=61\n", true},
        {"Cache-Control: max-age=a\n", true},
        {"Cache-Control: x=\"\n", true},
        {"Vary: *\n", true},
        {"Date: now\n", true},
        {"Date: Sun, 06 Nov 1994 08:49:37 GMT\nDate: Sun, 06 Nov 1994 08:49:36 GMT\n", true},
        {"Date: Sun, 06 Nov 1994 08:50:37 GMT\n", false},
        {"Date: Sun, 06 Nov 1994 08:50:38 GMT\n", true},
        {"Age: -1\n", true},
        {"ETag: a\n", true},
        {"ETag: \"a\"\nETag: \"b\"\n", true},
        {"Last-Modified: never\n", true},
        {"Expires: Sun, 06 Nov 1994 08:50:38 GMT\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\n", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&no_policy, NULL, 200, cases[i].headers);
        tell(0, cases[i].headers);
        assert_int_equal(rules.warning != NULL, cases[i].is_odd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directives_say_who_may_have_it),
        cmocka_unit_test(test_what_is_kept),
        cmocka_unit_test(test_a_configured_ttl_where_the_upstream_says_nothing),
        cmocka_unit_test(test_requests_that_nothing_is_kept_for),
        cmocka_unit_test(test_answers_to_who_has_credentials),
        cmocka_unit_test(test_sharing_what_is_not_kept),
        cmocka_unit_test(test_endless_quotes_take_no_time),
        cmocka_unit_test(test_what_is_odd_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
