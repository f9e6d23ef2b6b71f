/* How long an answer is fresh, how old it is, how long it may be used stale: RFC 9111 sections 4.2
 * and 5.1 to 5.3, RFC 5861. */
#include "cache_rules.h"

static void test_lifetime(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        uint64_t lifetime_ms;
    } cases[] = {
        {"Cache-Control: max-age=60\n", 60 * SECOND},
        {"Cache-Control: max-age=0\n", 0},
        {"Cache-Control: MAX-AGE=60\n", 60 * SECOND},
        {"Cache-Control: max-age=\"60\"\n", 60 * SECOND},
        {"Cache-Control: max-age=0060\n", 60 * SECOND},
        {"Cache-Control:max-age=60\n", 60 * SECOND},
        {"Cache-Control: ,max-age=60,\n", 60 * SECOND},
        {"Cache-Control: a=\"max-age=9\", max-age=60\n", 60 * SECOND},
        {"Cache-Control: max-age=60, a=\"max-age=9, \\\"max-age=8\"\n", 60 * SECOND},
        {"X: y\nCache-Control: public\nCache-Control: max-age=60\n", 60 * SECOND},
        /* s-maxage over max-age over Expires */
        {"Cache-Control: max-age=60, s-maxage=30\n", 30 * SECOND},
        {"Cache-Control: s-maxage=90, max-age=60\n", 90 * SECOND},
        {"Cache-Control: s-maxage=0, max-age=60\n", 0},
        {"Cache-Control: s-maxage=x, max-age=60\n", 0},
        {DATE "Cache-Control: max-age=60\nExpires: 0\n", 60 * SECOND},
        {DATE "Cache-Control: max-age=0\nExpires: Sun, 06 Nov 1994 09:49:37 GMT\n", 0},
        {DATE "Cache-Control: max-age=x\nExpires: Sun, 06 Nov 1994 09:49:37 GMT\n", 0},
        {DATE "Cache-Control: public\nExpires: Sun, 06 Nov 1994 09:49:37 GMT\n", 3600 * SECOND},
        /* twice: the least */
        {"Cache-Control: max-age=60, max-age=60\n", 60 * SECOND},
        {"Cache-Control: max-age=60, max-age=30\n", 30 * SECOND},
        {"Cache-Control: max-age=30\nCache-Control: max-age=60\n", 30 * SECOND},
        {"Cache-Control: max-age=60, max-age=x\n", 0},
        {"Cache-Control: s-maxage=60, s-maxage=30, max-age=10\n", 30 * SECOND},
        /* malformed: stale */
        {"Cache-Control: max-age\n", 0},
        {"Cache-Control: max-age=\n", 0},
        {"Cache-Control: max-age=\"\"\n", 0},
        {"Cache-Control: max-age=-1\n", 0},
        {"Cache-Control: max-age=+1\n", 0},
        {"Cache-Control: max-age=1.5\n", 0},
        {"Cache-Control: max-age=1e3\n", 0},
        {"Cache-Control: max-age=0x10\n", 0},
        {"Cache-Control: max-age=60s\n", 0},
        {"Cache-Control: max-age='60'\n", 0},
        {"Cache-Control: max-age = 60\n", 0},
        {"Cache-Control: max-age =60\n", 0},
        {"Cache-Control: max-age= 60\n", 0},
        {"Cache-Control: max-age:60\n", 0},
        {"Cache-Control: max-age=60 public\n", 0},
        {"Cache-Control: max-age=60;public\n", 0},
        {"Cache-Control: max-age=\"60\n", 0},
        {"Cache-Control: max-age=\"6\\0\"\n", 0},
        {"Cache-Control: max-age=60, x=\"y\n", 0},
        {"Cache-Control: max-age==60\n", 0},
        {"Cache-Control: max_age=60\n", 0},
        /* more than fits */
        {"Cache-Control: max-age=2147483647\n", UINT64_C(2147483647) * SECOND},
        {"Cache-Control: max-age=2147483648\n", LONGEST},
        {"Cache-Control: max-age=2147483649\n", LONGEST},
        {"Cache-Control: max-age=18446744073709551617\n", LONGEST},
        {"Cache-Control: max-age=99999999999999999999999999999999999999999999999999\n", LONGEST},
        {DATE "Expires: Fri, 31 Dec 9999 23:59:59 GMT\n", LONGEST},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&no_policy, NULL, 200, cases[i].headers);
        tell(200, cases[i].headers);
        assert_int_equal(rules.lifetime_ms, cases[i].lifetime_ms);
        assert_true(rules.is_explicit || rules.lifetime_ms == 0);
    }
}

static void test_expires(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        uint64_t lifetime_ms;
    } cases[] = {
        {DATE "Expires: Sun, 06 Nov 1994 08:50:37 GMT\n", 60 * SECOND},
        {DATE "Expires: Sunday, 06-Nov-94 08:50:37 GMT\n", 60 * SECOND},
        {DATE "Expires: Sun Nov  6 08:50:37 1994\n", 60 * SECOND},
        {DATE "Expires: Sun, 06 Nov 1994 08:49:37 GMT\n", 0},
        {DATE "Expires: Sun, 06 Nov 1994 08:49:36 GMT\n", 0},
        {DATE "Expires: Thu, 01 Jan 1970 00:00:00 GMT\n", 0},
        {DATE "Expires: Tue, 01 Jan 1901 00:00:00 GMT\n", 0},
        {DATE "Expires: 0\n", 0},
        {DATE "Expires: -1\n", 0},
        {DATE "Expires:\n", 0},
        {DATE "Expires: tomorrow\n", 0},
        {DATE "Expires: 60\n", 0},
        {DATE "Expires: \"Sun, 06 Nov 1994 08:50:37 GMT\"\n", 0},
        {DATE "Expires: Sun, 06 Nov 1994 08:50:37 UTC\n", 0},
        {DATE "Expires: Sun, 06 Nov 1994 08:50:37 +0000\n", 0},
        /* twice: the least */
        {DATE "Expires: Sun, 06 Nov 1994 08:50:37 GMT\nExpires: Sun, 06 Nov 1994 08:49:47 GMT\n",
         10 * SECOND},
        {DATE "Expires: Sun, 06 Nov 1994 08:49:47 GMT\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\n",
         10 * SECOND},
        {DATE "Expires: Sun, 06 Nov 1994 08:50:37 GMT\nExpires: 0\n", 0},
        {DATE "Expires: Sun, 06 Nov 1994 08:50:37 GMT\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\n",
         60 * SECOND},
        /* counts from Date, be the clocks as they like; without one from when it came */
        {"Date: Sun, 06 Nov 1994 07:49:37 GMT\nExpires: Sun, 06 Nov 1994 07:50:37 GMT\n",
         60 * SECOND},
        {"Date: Sun, 06 Nov 1994 09:49:37 GMT\nExpires: Sun, 06 Nov 1994 09:50:37 GMT\n",
         60 * SECOND},
        {"Expires: Sun, 06 Nov 1994 08:50:37 GMT\n", 60 * SECOND},
        {"Date: now\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\n", 60 * SECOND},
        {"Date: Sun, 06 Nov 1994 09:49:37 GMT\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\n", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&no_policy, NULL, 200, cases[i].headers);
        tell(200, cases[i].headers);
        assert_true(rules.is_explicit);
        assert_int_equal(rules.lifetime_ms, cases[i].lifetime_ms);
    }
}

/* Section 4.2.2. */
static void test_guesses(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers;
        uint64_t lifetime_ms;
    } cases[] = {
        {200, DATE "Last-Modified: Sun, 06 Nov 1994 08:47:57 GMT\n", 10 * SECOND},
        {200, "Last-Modified: Sun, 06 Nov 1994 08:47:57 GMT\n", 10 * SECOND},
        {200, "Last-Modified: Sun Nov  6 08:47:57 1994\n", 10 * SECOND},
        {200, "Last-Modified: Thu, 06 Nov 1980 08:47:57 GMT\n", DAY},
        {200, "Last-Modified: Sun, 06 Nov 1994 09:47:57 GMT\n", 0}, /* in the future */
        {200, "Last-Modified: then\n", 0},
        {200, "", 0},
        {200, "Cache-Control: max-age=3\nLast-Modified: Sun, 06 Nov 1994 08:47:57 GMT\n",
         3 * SECOND},
        {200, "Cache-Control: no-cache\nLast-Modified: Sun, 06 Nov 1994 08:47:57 GMT\n", 0},
        {203, "Last-Modified: Sun, 06 Nov 1994 08:47:57 GMT\n", 10 * SECOND},
        {302, "Last-Modified: Sun, 06 Nov 1994 08:47:57 GMT\n", 0},
        {302, "Cache-Control: public\nLast-Modified: Sun, 06 Nov 1994 08:47:57 GMT\n", 10 * SECOND},
        {404, "Last-Modified: Sun, 06 Nov 1994 08:47:57 GMT\n", 0},
        {500, "Last-Modified: Sun, 06 Nov 1994 08:47:57 GMT\n", 0},
    };
    const struct cache_policy guesses = {.heuristic = true};
    const struct cache_policy says = {.heuristic = true, .ttl_ms = 60 * SECOND};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&guesses, NULL, cases[i].status, cases[i].headers);
        tell(cases[i].status, cases[i].headers);
        assert_int_equal(rules.lifetime_ms, cases[i].lifetime_ms);
        rules = answer_of(&no_policy, NULL, cases[i].status, cases[i].headers);
        assert_int_equal(rules.lifetime_ms, rules.is_explicit ? 3 * SECOND : 0);
    }
    struct rules rules = answer_of(&says, NULL, 200, cases[0].headers);
    assert_int_equal(rules.lifetime_ms, 60 * SECOND);
}

/* Section 4.2.3: the age in milliseconds with which an answer came that was asked for so long
 * before. */
static void test_initial_age(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        uint64_t delay_ms, age_ms;
    } cases[] = {
        {DATE, 0, 0},
        {DATE, 250, 250},
        {"Age: 0\n", 250, 250},
        {"Age: 10\n", 0, 10 * SECOND},
        {DATE "Age: 10\n", 250, 10 * SECOND + 250},
        {"Age: 007\n", 0, 7 * SECOND},
        {"Age: 10, 20\n", 0, 10 * SECOND}, /* the first counts (section 5.1) */
        {"Age: 10\nAge: 20\n", 0, 10 * SECOND},
        {"Age: 0\nAge: 20\n", 0, 0},
        {"Age: -1\n", 0, LONGEST}, /* what is no number makes it stale */
        {"Age: x\n", 0, LONGEST},
        {"Age:\n", 0, LONGEST},
        {"Age: 1.5\n", 0, LONGEST},
        {"Age: 1 0\n", 0, LONGEST},
        {"Age: 4294967296\n", 0, LONGEST},
        {"Age: 99999999999999999999999999\n", 1, LONGEST + 1},
        /* apparent_age; what is left of Date's second doesn't count */
        {"Date: Sun, 06 Nov 1994 08:49:36 GMT\n", 0, 1},
        {"Date: Sun, 06 Nov 1994 08:48:37 GMT\n", 0, 60 * SECOND - 999},
        {"Date: Sun, 06 Nov 1994 08:48:37 GMT\nAge: 90\n", 0, 90 * SECOND},
        {"Date: Sun, 06 Nov 1994 08:48:37 GMT\nAge: 10\n", 0, 60 * SECOND - 999},
        {"Date: Sunday, 06-Nov-94 08:48:37 GMT\n", 0, 60 * SECOND - 999},
        {"Date: Sun Nov  6 08:48:37 1994\n", 0, 60 * SECOND - 999},
        {"Date: Thu, 01 Jan 1970 00:00:00 GMT\n", 0, NOW - 999},
        {"Date: Sun, 06 Nov 1994 09:49:37 GMT\n", 0, 0}, /* in the future */
        {"Date: Sun, 06 Nov 1994 09:49:37 GMT\nAge: 10\n", 0, 10 * SECOND},
        {"Date: then\n", 250, 250},
        {"Date: Sun, 06 Nov 1994 08:48:37 GMT\nDate: Sun, 06 Nov 1994 08:49:37 GMT\n", 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lines lines = lines_of(cases[i].headers);
        lines.headers[lines.count++] =
            (struct up_header){STR("cache-control"), STR("max-age=9999999999")};
        struct rules_request request = request_of("GET", NULL);
        struct rules rules;
        rules_read_answer(&no_policy, &request, 200, lines.headers, lines.count,
                          NOW - cases[i].delay_ms, NOW, &rules);
        tell(200, cases[i].headers);
        assert_int_equal(rules.age_ms, cases[i].age_ms);
        assert_int_equal(rules_age(&rules, NOW), cases[i].age_ms);
        assert_int_equal(rules_age(&rules, NOW + 5), cases[i].age_ms + 5);
        assert_int_equal(rules_age(&rules, NOW - 5), cases[i].age_ms); /* the clock was set */
        assert_int_equal(rules_ttl(&rules, NOW + 5), (int64_t)(LONGEST - cases[i].age_ms - 5));
    }
}

static void test_a_configured_lifetime_counts_from_when_it_came(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        uint64_t delay_ms, age_ms;
    } cases[] = {
        {"", 5 * SECOND, 0},
        {DATE, 5 * SECOND, 0},
        {"Date: Sun, 06 Nov 1994 08:49:32 GMT\n", 5 * SECOND, 0},
        {"Date: Sun, 06 Nov 1994 08:48:37 GMT\n", 5 * SECOND, 60 * SECOND - 999},
        {"Age: 10\n", 5 * SECOND, 10 * SECOND},
    };
    const struct cache_policy policy = {.ttl_ms = SECOND};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lines lines = lines_of(cases[i].headers);
        struct rules_request request = request_of("GET", NULL);
        struct rules rules;
        rules_read_answer(&policy, &request, 200, lines.headers, lines.count,
                          NOW - cases[i].delay_ms, NOW, &rules);
        assert_int_equal(rules.age_ms, cases[i].age_ms);
        assert_int_equal(rules.may_store, cases[i].age_ms < SECOND);
    }
    /* a clock that was set back between the two */
    struct rules_request request = request_of("GET", NULL);
    struct lines said = lines_of("Cache-Control: max-age=60\n");
    struct rules rules;
    rules_read_answer(&policy, &request, 200, said.headers, said.count, NOW + DAY, NOW, &rules);
    assert_int_equal(rules.age_ms, 0);
}

static void test_how_long_it_may_be_used_stale(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers;
        uint64_t meanwhile_ms, on_error_ms;
    } cases[] = {
        {200, "Cache-Control: max-age=60\n", 7 * SECOND, 8 * SECOND}, /* as configured */
        {200, "", 7 * SECOND, 8 * SECOND},
        {404, "", 7 * SECOND, 8 * SECOND},
        {500, "Cache-Control: max-age=60\n", 0, 0},
        {500, "Cache-Control: max-age=60, stale-while-revalidate=5\n", 5 * SECOND, 0},
        {200, "Cache-Control: stale-while-revalidate=5\n", 5 * SECOND, 8 * SECOND},
        {200, "Cache-Control: stale-if-error=5\n", 7 * SECOND, 5 * SECOND},
        {200, "Cache-Control: Stale-If-Error=\"5\", stale-while-revalidate=0\n", 0, 5 * SECOND},
        {200, "Cache-Control: stale-while-revalidate=5, stale-while-revalidate=4\n", 4 * SECOND,
         8 * SECOND},
        {200, "Cache-Control: stale-while-revalidate=x, stale-if-error\n", 0, 0},
        {200, "Cache-Control: stale-while-revalidate=99999999999999999999\n", LONGEST, 8 * SECOND},
        {200, "Cache-Control: stale-while-revalidate=5, stale-if-error=5, x=\"\n", 0, 0},
        {200, "Cache-Control: must-revalidate, stale-if-error=5, stale-while-revalidate=5\n", 0, 0},
        {200, "Cache-Control: proxy-revalidate, stale-if-error=5\n", 0, 0},
        {200, "Cache-Control: s-maxage=60, stale-while-revalidate=5\n", 0, 0},
        {200, "Cache-Control: no-cache, stale-if-error=5\n", 0, 0},
        {200, "Cache-Control: no-cache=\"x\", stale-if-error=5\n", 0, 0},
        {200, "Cache-Control: must-revalidate\n", 0, 0},
        {200, "Cache-Control: s-maxage=60\n", 0, 0},
    };
    const struct cache_policy policy = {.stale_while_revalidate_ms = 7 * SECOND,
                                        .stale_if_error_ms = 8 * SECOND};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&policy, NULL, cases[i].status, cases[i].headers);
        tell(cases[i].status, cases[i].headers);
        assert_int_equal(rules.stale_while_revalidate_ms, cases[i].meanwhile_ms);
        assert_int_equal(rules.stale_if_error_ms, cases[i].on_error_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lifetime),
        cmocka_unit_test(test_expires),
        cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_initial_age),
        cmocka_unit_test(test_a_configured_lifetime_counts_from_when_it_came),
        cmocka_unit_test(test_how_long_it_may_be_used_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
