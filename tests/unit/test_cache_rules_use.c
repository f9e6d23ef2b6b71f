/* Whether a kept answer answers a request now: RFC 9111 sections 4 and 5.2.1, RFC 5861. */
#include "cache_rules.h"

static const struct cache_policy obeys = {.obeys_requests = true};
static const struct cache_policy deaf = {.obeys_requests = false};

static struct rules_request asks(const struct cache_policy *policy, const char *method,
                                 const char *text)
{
    struct lines lines = lines_of(text);
    struct rules_request request;
    rules_read_request(policy, method, lines.headers, lines.count, &request);
    return request;
}

static void test_a_fresh_answer_grows_stale(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        uint64_t after_ms;
        enum rules_use use;
        bool on_error;
    } cases[] = {
        {"Cache-Control: max-age=60\n", 0, USE_FRESH, true},
        {"Cache-Control: max-age=60\n", 60 * SECOND - 1, USE_FRESH, true},
        {"Cache-Control: max-age=60\n", 60 * SECOND, USE_VALIDATED, false},
        {"Cache-Control: max-age=60\n", 400 * DAY, USE_VALIDATED, false},
        {"Cache-Control: max-age=60\nAge: 10\n", 50 * SECOND - 1, USE_FRESH, true},
        {"Cache-Control: max-age=60\nAge: 10\n", 50 * SECOND, USE_VALIDATED, false},
        {"Cache-Control: max-age=0\n", 0, USE_VALIDATED, false},
        {"", 0, USE_VALIDATED, false},
        {"Cache-Control: max-age=99999999999999\n", 1000 * DAY, USE_FRESH, true},
        {"Cache-Control: no-cache, max-age=60\n", 0, USE_VALIDATED, false},
        /* stale-while-revalidate */
        {"Cache-Control: max-age=60, stale-while-revalidate=5\n", 59 * SECOND, USE_FRESH, true},
        {"Cache-Control: max-age=60, stale-while-revalidate=5\n", 60 * SECOND, USE_MEANWHILE,
         false},
        {"Cache-Control: max-age=60, stale-while-revalidate=5\n", 65 * SECOND - 1, USE_MEANWHILE,
         false},
        {"Cache-Control: max-age=60, stale-while-revalidate=5\n", 65 * SECOND, USE_VALIDATED,
         false},
        {"Cache-Control: max-age=0, stale-while-revalidate=5\n", 0, USE_MEANWHILE, false},
        {"Cache-Control: max-age=60, stale-while-revalidate=99999999999999999\n", 900 * DAY,
         USE_MEANWHILE, false},
        /* stale-if-error */
        {"Cache-Control: max-age=60, stale-if-error=5\n", 60 * SECOND, USE_VALIDATED, true},
        {"Cache-Control: max-age=60, stale-if-error=5\n", 65 * SECOND - 1, USE_VALIDATED, true},
        {"Cache-Control: max-age=60, stale-if-error=5\n", 65 * SECOND, USE_VALIDATED, false},
        {"Cache-Control: max-age=60, stale-if-error=5, stale-while-revalidate=2\n", 61 * SECOND,
         USE_MEANWHILE, true},
        /* never stale */
        {"Cache-Control: max-age=60, must-revalidate, stale-while-revalidate=5, "
         "stale-if-error=5\n",
         59 * SECOND, USE_FRESH, true},
        {"Cache-Control: max-age=60, must-revalidate, stale-while-revalidate=5, "
         "stale-if-error=5\n",
         60 * SECOND, USE_VALIDATED, false},
        {"Cache-Control: max-age=60, proxy-revalidate, stale-if-error=5\n", 60 * SECOND,
         USE_VALIDATED, false},
        {"Cache-Control: s-maxage=60, stale-while-revalidate=5, stale-if-error=5\n", 60 * SECOND,
         USE_VALIDATED, false},
        {"Cache-Control: no-cache, stale-while-revalidate=5, stale-if-error=5\n", 0, USE_VALIDATED,
         false},
    };
    struct rules_request request = asks(&obeys, "GET", NULL);
    struct rules_request head = asks(&obeys, "HEAD", NULL);
    struct rules_request post = asks(&obeys, "POST", NULL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&obeys, NULL, 200, cases[i].headers);
        uint64_t now_ms = NOW + cases[i].after_ms;
        tell(200, cases[i].headers);
        assert_int_equal(rules_use(&rules, &request, now_ms), cases[i].use);
        assert_int_equal(rules_use(&rules, &head, now_ms), cases[i].use);
        assert_int_equal(rules_use(&rules, &post, now_ms), USE_ANOTHER);
        assert_int_equal(rules_use_on_error(&rules, now_ms), cases[i].on_error);
    }
}

/* An answer that is fresh for a minute, asked for after so many seconds. */
static void test_what_the_request_wants(void **state)
{
    (void)state;
    static const struct {
        const char *wants, *answer;
        unsigned after_s;
        enum rules_use use;
    } cases[] = {
        {"", "", 10, USE_FRESH},
        {"Cache-Control: no-cache\n", "", 0, USE_VALIDATED},
        {"Cache-Control: no-cache=x\n", "", 0, USE_VALIDATED},
        {"Pragma: no-cache\n", "", 0, USE_VALIDATED},
        {"Pragma: a, no-cache\n", "", 0, USE_VALIDATED},
        {"Pragma: a\nPragma: no-cache\n", "", 0, USE_VALIDATED},
        {"Pragma: no-cache\nCache-Control: max-age=60\n", "", 0, USE_FRESH}, /* section 5.4 */
        {"Cache-Control: \nPragma: no-cache\n", "", 0, USE_FRESH},
        {"Pragma: nocache\n", "", 0, USE_FRESH},
        {"Cache-Control: no-store\n", "", 10, USE_FRESH}, /* is about keeping */
        {"Cache-Control: max-age=10\n", "", 10, USE_FRESH},
        {"Cache-Control: max-age=9\n", "", 10, USE_VALIDATED},
        {"Cache-Control: max-age=0\n", "", 1, USE_VALIDATED},
        {"Cache-Control: max-age=99999999999999999999\n", "", 59, USE_FRESH},
        {"Cache-Control: max-age=99999999999999999999\n", "", 60, USE_VALIDATED},
        {"Cache-Control: max-age=x\n", "", 1, USE_VALIDATED},
        {"Cache-Control: max-age=90, max-age=5\n", "", 10, USE_VALIDATED},
        {"Cache-Control: min-fresh=50\n", "", 10, USE_FRESH},
        {"Cache-Control: min-fresh=51\n", "", 10, USE_VALIDATED},
        {"Cache-Control: min-fresh=0\n", "", 59, USE_FRESH},
        {"Cache-Control: min-fresh=0\n", "", 61, USE_VALIDATED},
        {"Cache-Control: min-fresh=99999999999999999999\n", "", 0, USE_VALIDATED},
        {"Cache-Control: min-fresh=x\n", "", 0, USE_VALIDATED},
        {"Cache-Control: min-fresh\n", "", 0, USE_VALIDATED},
        {"Cache-Control: min-fresh=1, min-fresh=55\n", "", 10, USE_VALIDATED},
        {"Cache-Control: max-stale=10\n", "", 69, USE_FRESH},
        {"Cache-Control: max-stale=10\n", "", 71, USE_VALIDATED},
        {"Cache-Control: max-stale\n", "", 5000000, USE_FRESH},
        {"Cache-Control: max-stale=0\n", "", 60, USE_VALIDATED},
        {"Cache-Control: max-stale=x\n", "", 60, USE_VALIDATED},
        {"Cache-Control: max-stale, max-stale=10\n", "", 71, USE_VALIDATED},
        {"Cache-Control: max-stale, max-age=10\n", "", 11, USE_VALIDATED},
        {"Cache-Control: max-stale, max-age=100\n", "", 90, USE_FRESH},
        {"Cache-Control: max-stale\n", "must-revalidate", 60, USE_VALIDATED},
        {"Cache-Control: max-stale\n", "proxy-revalidate", 60, USE_VALIDATED},
        {"Cache-Control: max-stale\n", "s-maxage=60", 60, USE_VALIDATED},
        {"Cache-Control: max-stale\n", "no-cache", 0, USE_VALIDATED},
        {"Cache-Control: max-stale=5\n", "stale-while-revalidate=60", 70, USE_VALIDATED},
        {"", "stale-while-revalidate=60", 70, USE_MEANWHILE},
        {"Cache-Control: max-age=500\n", "stale-while-revalidate=60", 70, USE_VALIDATED},
        {"Cache-Control: min-fresh=0\n", "stale-while-revalidate=60", 70, USE_VALIDATED},
        {"Cache-Control: only-if-cached\n", "", 10, USE_FRESH},
        {"Cache-Control: only-if-cached\n", "", 60, USE_GATEWAY_TIMEOUT},
        {"Cache-Control: only-if-cached, no-cache\n", "", 0, USE_GATEWAY_TIMEOUT},
        {"Cache-Control: only-if-cached, max-stale\n", "", 90, USE_FRESH},
        {"Cache-Control: only-if-cached\nCookie: a\n", "", 0, USE_GATEWAY_TIMEOUT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lines lines = lines_of("Cache-Control: max-age=60\n");
        lines.headers[lines.count++] =
            (struct up_header){STR("cache-control"), str_from(cases[i].answer)};
        struct rules_request asked = asks(&obeys, "GET", NULL);
        struct rules_request wanting = asks(&obeys, "GET", cases[i].wants);
        struct rules_request unheard = asks(&deaf, "GET", cases[i].wants);
        struct rules rules;
        rules_read_answer(&obeys, &asked, 200, lines.headers, lines.count, NOW, NOW, &rules);
        uint64_t now_ms = NOW + cases[i].after_s * SECOND;
        tell(200, cases[i].wants);
        assert_int_equal(rules_use(&rules, &wanting, now_ms), cases[i].use);
        /* of the request, only the credentials count where nobody obeys it */
        enum rules_use plainly = rules_use(&rules, &asked, now_ms);
        assert_int_equal(rules_use(&rules, &unheard, now_ms),
                         unheard.has_credentials ? USE_ANOTHER : plainly);
    }
}

static void test_what_a_request_is(void **state)
{
    (void)state;
    static const struct {
        const char *method, *headers;
        bool is_get, is_safe, has_credentials, has_range, has_condition;
    } cases[] = {
        {NULL, "", true, true, false, false, false},
        {"GET", "Accept: x\n", true, true, false, false, false},
        {"HEAD", "", false, true, false, false, false},
        {"OPTIONS", "", false, true, false, false, false},
        {"TRACE", "", false, true, false, false, false},
        {"POST", "", false, false, false, false, false},
        {"PUT", "", false, false, false, false, false},
        {"PATCH", "", false, false, false, false, false},
        {"DELETE", "", false, false, false, false, false},
        {"PURGE", "", false, false, false, false, false},
        {"get", "", false, false, false, false, false},
        {"GET", "AUTHORIZATION: x\n", true, true, true, false, false},
        {"GET", "cookie:\n", true, true, true, false, false},
        {"GET", "Cookies: a\nX-Authorization: b\n", true, true, false, false, false},
        {"GET", "Range: bytes=0-\n", true, true, false, true, false},
        {"GET", "if-range: \"a\"\n", true, true, false, false, true},
        {"GET", "If-Match: *\n", true, true, false, false, true},
        {"GET", "If-None-Match: *\n", true, true, false, false, true},
        {"GET", "If-Modified-Since: x\n", true, true, false, false, true},
        {"GET", "If-Unmodified-Since: x\n", true, true, false, false, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules_request request = asks(&deaf, cases[i].method, cases[i].headers);
        tell(0, cases[i].headers);
        assert_int_equal(request.is_get, cases[i].is_get);
        assert_int_equal(request.is_safe, cases[i].is_safe);
        assert_int_equal(request.has_credentials, cases[i].has_credentials);
        assert_int_equal(request.has_range, cases[i].has_range);
        assert_int_equal(request.has_condition, cases[i].has_condition);
    }
}

/* An answer made for nobody in particular isn't one for who says who he is, unless it says so. */
static void test_credentials_want_an_answer_for_all(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        bool for_all;
    } cases[] = {
        {"Cache-Control: max-age=60\n", false},
        {"Cache-Control: max-age=60, proxy-revalidate\n", false},
        {"Cache-Control: max-age=60, public=1\n", false},
        {"Cache-Control: max-age=60, public\n", true},
        {"Cache-Control: max-age=60, must-revalidate\n", true},
        {"Cache-Control: s-maxage=60\n", true},
    };
    struct rules_request plain = asks(&obeys, "GET", NULL);
    struct rules_request cookie = asks(&obeys, "GET", "Cookie: a=b\n");
    struct rules_request login = asks(&deaf, "GET", "Authorization: Basic x\n");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&obeys, NULL, 200, cases[i].headers);
        enum rules_use use = cases[i].for_all ? USE_FRESH : USE_ANOTHER;
        assert_int_equal(rules_use(&rules, &plain, NOW), USE_FRESH);
        assert_int_equal(rules_use(&rules, &cookie, NOW), use);
        assert_int_equal(rules_use(&rules, &login, NOW), use);
    }
}

static void test_unsafe_methods_make_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        int status;
        bool invalidates;
    } cases[] = {
        {"GET", 200, false},    {"HEAD", 200, false}, {"OPTIONS", 200, false},
        {"TRACE", 200, false},  {"POST", 200, true},  {"POST", 201, true},
        {"POST", 204, true},    {"POST", 303, true},  {"POST", 399, true},
        {"POST", 400, false},   {"POST", 404, false}, {"POST", 500, false},
        {"POST", 503, false},   {"POST", 103, false}, {"PUT", 200, true},
        {"DELETE", 204, true},  {"PATCH", 200, true}, {"M-SEARCH", 200, true},
        {"DELETE", 403, false}, {"PUT", 412, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules_request request = asks(&deaf, cases[i].method, NULL);
        assert_int_equal(rules_invalidates(&request, cases[i].status), cases[i].invalidates);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fresh_answer_grows_stale),
        cmocka_unit_test(test_what_the_request_wants),
        cmocka_unit_test(test_what_a_request_is),
        cmocka_unit_test(test_credentials_want_an_answer_for_all),
        cmocka_unit_test(test_unsafe_methods_make_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
