/* Asking whether what is kept still holds, and what a 304 makes of it: RFC 9111 sections 3.2 and
 * 4.3, RFC 9110 section 8.8. */
#include "cache_rules.h"

#define MODIFIED "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\n"

static void test_conditions(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *etag, *modified;
    } cases[] = {
        {"", NULL, NULL},
        {"ETag: \"a\"\n", "\"a\"", NULL},
        {"etag:  \"a\" \n", "\"a\"", NULL},
        {"ETag: W/\"a\"\n", "W/\"a\"", NULL},
        {"ETag: \"\"\n", "\"\"", NULL},
        {"ETag: \"a\xc3\xbc,'!~\"\n", "\"a\xc3\xbc,'!~\"", NULL},
        {MODIFIED, NULL, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT\n", NULL,
         "Sunday, 06-Nov-94 08:49:37 GMT"}, /* as it came */
        {"ETag: \"a\"\n" MODIFIED, "\"a\"", "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"ETag: \"a\"\nETag: \"a\"\n", "\"a\"", NULL},
        /* none */
        {"ETag:\n", NULL, NULL},
        {"ETag: a\n", NULL, NULL},
        {"ETag: \"a\n", NULL, NULL},
        {"ETag: \"\n", NULL, NULL},
        {"ETag: W/\n", NULL, NULL},
        {"ETag: W/\"\n", NULL, NULL},
        {"ETag: w/\"a\"\n", NULL, NULL},
        {"ETag: W\"a\"\n", NULL, NULL},
        {"ETag: W\\\"a\"\n", NULL, NULL},
        {"ETag: 'a'\n", NULL, NULL},
        {"ETag: \"a b\"\n", NULL, NULL},
        {"ETag: \"a\\\"b\"\n", NULL, NULL},
        {"ETag: \"a\", \"b\"\n", NULL, NULL},
        {"ETag: \"a\"\nETag: \"b\"\n", NULL, NULL},
        {"Last-Modified: 0\n", NULL, NULL},
        {MODIFIED "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT\n", NULL, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules rules = answer_of(&no_policy, NULL, 200, cases[i].headers);
        struct up_header conditions[2];
        tell(0, cases[i].headers);
        size_t count = rules_conditions(&rules, conditions), k = 0;
        if (cases[i].etag != NULL) {
            assert_true(count > k && str_caseeq(conditions[k].name, STR("if-none-match")));
            assert_true(str_eq(conditions[k++].value, str_from(cases[i].etag)));
        }
        if (cases[i].modified != NULL) {
            assert_true(count > k && str_caseeq(conditions[k].name, STR("if-modified-since")));
            assert_true(str_eq(conditions[k++].value, str_from(cases[i].modified)));
        }
        assert_int_equal(count, k);
    }
}

static void test_what_a_304_is_about(void **state)
{
    (void)state;
    static const struct {
        const char *stored, *fresh;
        bool validates;
    } cases[] = {
        /* no validator: it can only be about the one that was asked for */
        {"ETag: \"a\"\n", "", true},
        {MODIFIED, "", true},
        {"ETag: \"a\"\n" MODIFIED, "", true},
        {"", "", true},
        /* strong and weak */
        {"ETag: \"a\"\n", "ETag: \"a\"\n", true},
        {"ETag: \"a\"\n", "ETag: \"b\"\n", false},
        {"ETag: \"a\"\n", "ETag: \"A\"\n", false},
        {"ETag: \"a\"\n", "ETag: \"\"\n", false},
        {"ETag: W/\"a\"\n", "ETag: W/\"a\"\n", true},
        {"ETag: W/\"a\"\n", "ETag: W/\"b\"\n", false},
        {"ETag: \"a\"\n", "ETag: W/\"a\"\n", true},
        {"ETag: \"a\"\n", "ETag: W/\"b\"\n", false},
        {"ETag: W/\"a\"\n", "ETag: \"a\"\n", true}, /* see rules_validates() */
        {"ETag: W/\"a\"\n", "ETag: \"b\"\n", false},
        {"", "ETag: \"a\"\n", false},
        {MODIFIED, "ETag: \"a\"\n", false},
        {MODIFIED, "ETag: \"a\"\n" MODIFIED, false},
        {MODIFIED, "ETag: W/\"a\"\n" MODIFIED, true},
        {MODIFIED, "ETag: W/\"a\"\n", false},
        /* several */
        {"ETag: \"a\"\n", "ETag: \"a\"\nETag: \"a\"\n", true},
        {"ETag: \"a\"\n", "ETag: \"a\"\nETag: \"b\"\n", false},
        {"ETag: \"a\"\n", "ETag: \"b\"\nETag: \"a\"\n", false},
        {"ETag: \"a\"\n", "ETag: \"a\", \"b\"\n", false},
        /* malformed */
        {"ETag: \"a\"\n", "ETag: a\n", false},
        {"ETag: \"a\"\n", "ETag:\n", false},
        /* dates: the moment counts, not the form */
        {MODIFIED, MODIFIED, true},
        {MODIFIED, "Last-Modified: Sun Nov  6 08:49:37 1994\n", true},
        {MODIFIED, "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT\n", false},
        {MODIFIED, "Last-Modified: then\n", false},
        {MODIFIED, MODIFIED "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT\n", false},
        {"", MODIFIED, false},
        {"ETag: \"a\"\n", MODIFIED, false},
        /* the tag decides where both have one */
        {"ETag: \"a\"\n" MODIFIED, "ETag: \"a\"\nLast-Modified: Sun, 06 Nov 1994 09:49:37 GMT\n",
         true},
        {"ETag: \"a\"\n" MODIFIED, "ETag: \"b\"\n" MODIFIED, false},
        {"ETag: \"a\"\n" MODIFIED, MODIFIED, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rules stored = answer_of(&no_policy, NULL, 200, cases[i].stored);
        struct lines fresh = lines_of(cases[i].fresh);
        tell(304, cases[i].fresh);
        assert_int_equal(rules_validates(&stored, fresh.headers, fresh.count), cases[i].validates);
    }
}

/* Whether both have the same lines for each name; the order of names doesn't matter. */
static void assert_same_headers(const struct up_header *got, size_t count, const char *text)
{
    struct lines expected = lines_of(text);
    assert_int_equal(count, expected.count);
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t k = 0; k < expected.count && !found; k++) {
            found = str_caseeq(expected.headers[k].name, got[i].name) &&
                    str_eq(expected.headers[k].value, got[i].value);
            if (found)
                expected.headers[k].name = STR("");
        }
        assert_true(found);
    }
}

static void test_merging(void **state)
{
    (void)state;
    static const struct {
        const char *stored, *fresh, *merged;
    } cases[] = {
        {"", "", ""},
        {"A: 1\n", "", "A: 1\n"},
        {"", "A: 1\n", "A: 1\n"},
        {"A: 1\nB: 2\n", "a: 3\nC: 4\n", "a: 3\nB: 2\nC: 4\n"},
        {"A: 1\nA: 2\nB: 3\n", "A: 4\n", "A: 4\nB: 3\n"},
        {"A: 1\n", "A: 2\nA: 3\n", "A: 2\nA: 3\n"},
        {"Cache-Control: max-age=1\nCache-Control: public\n", "Cache-Control: max-age=9\n",
         "Cache-Control: max-age=9\n"},
        {"ETag: W/\"a\"\n", "ETag: \"a\"\n", "ETag: \"a\"\n"},
        {"Expires: 0\nVary: A\n", "Expires: 1\nVary: B\n", "Expires: 1\nVary: B\n"},
        /* what the stored body is, it stays */
        {"Content-Length: 5\nContent-Encoding: gzip\nContent-Type: a/b\nContent-Range: x\n",
         "Content-Length: 0\nContent-Encoding: br\nContent-Type: c/d\nContent-Range: y\n",
         "Content-Length: 5\nContent-Encoding: gzip\nContent-Type: c/d\nContent-Range: x\n"},
        {"A: 1\n", "content-length: 0\ncontent-encoding: br\n", "A: 1\n"},
        {"Content-Location: /a\nContent-Language: de\n", "Content-Location: /b\n",
         "Content-Location: /b\nContent-Language: de\n"},
        /* what belongs to the connection isn't kept */
        {"A: 1\n",
         "Connection: close, X\nX: 1\nKeep-Alive: 5\nTransfer-Encoding: chunked\nUpgrade: h2c\n"
         "Proxy-Authenticate: Basic\nTE: gzip\nTrailer: Y\n",
         "A: 1\n"},
        {"X: 1\n", "Connection: x\nX: 2\n", "X: 1\n"},
        {"X: 1\nY: 1\n", "Connection: close\nConnection: x ,y\nX: 2\nY: 2\n", "X: 1\nY: 1\n"},
        {"Cache-Control: public\n", "Connection: cache-control\nCache-Control: private\n",
         "Cache-Control: private\n"},
        /* how old the message was that brought it */
        {"Age: 100\nDate: Sun, 06 Nov 1994 07:49:37 GMT\nA: 1\n", "", "A: 1\n"},
        {"Age: 100\n" DATE, "Age: 3\nDate: Sun, 06 Nov 1994 09:49:37 GMT\n",
         "Age: 3\nDate: Sun, 06 Nov 1994 09:49:37 GMT\n"},
        {"A: 1\n", "Set-Cookie: a=b\n", "A: 1\nSet-Cookie: a=b\n"},
    };
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lines stored = lines_of(cases[i].stored), fresh = lines_of(cases[i].fresh);
        struct up_header *merged;
        size_t count;
        tell(304, cases[i].fresh);
        rules_merge(stored.headers, stored.count, fresh.headers, fresh.count, &pool, &merged,
                    &count);
        assert_same_headers(merged, count, cases[i].merged);
    }
    h2o_mem_clear_pool(&pool);
}

/* An hour after it was stored a 304 comes. */
static void test_a_304_makes_it_fresh_again(void **state)
{
    (void)state;
    static const struct {
        const char *stored, *fresh;
        bool may_store;
        int64_t ttl_ms;
    } cases[] = {
        {"Cache-Control: max-age=60\n", "", true, 60 * SECOND},
        {"Cache-Control: max-age=60\nAge: 50\n" DATE, "", true, 60 * SECOND},
        {"Cache-Control: max-age=60\n" DATE, "Date: Sun, 06 Nov 1994 09:49:37 GMT\n", true,
         60 * SECOND},
        {"Cache-Control: max-age=60\n", "Age: 10\n", true, 50 * SECOND},
        {"Cache-Control: max-age=60\n", "Cache-Control: max-age=90\n", true, 90 * SECOND},
        {"Cache-Control: max-age=60\n", "Cache-Control: no-store\n", false, 0},
        {"Cache-Control: max-age=60\n", "Cache-Control: private\n", false, 0},
        {"Cache-Control: max-age=60\n", "Set-Cookie: a=b\n", false, 60 * SECOND},
        {"Cache-Control: max-age=60\n", "Vary: *\n", false, 60 * SECOND},
        {"Expires: Sun, 06 Nov 1994 08:50:37 GMT\n" DATE, "", true, 0},
        {"Expires: Sun, 06 Nov 1994 08:50:37 GMT\n" DATE,
         "Expires: Sun, 06 Nov 1994 09:50:37 GMT\nDate: Sun, 06 Nov 1994 09:49:37 GMT\n", true,
         60 * SECOND},
    };
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct rules_request request = request_of("GET", NULL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lines stored = lines_of(cases[i].stored), fresh = lines_of(cases[i].fresh);
        stored.headers[stored.count++] = (struct up_header){STR("ETag"), STR("\"a\"")};
        struct up_header *merged;
        size_t count;
        struct rules rules;
        uint64_t now_ms = NOW + 3600 * SECOND;
        tell(304, cases[i].fresh);
        rules_merge(stored.headers, stored.count, fresh.headers, fresh.count, &pool, &merged,
                    &count);
        rules_read_answer(&no_policy, &request, 200, merged, count, now_ms, now_ms, &rules);
        assert_int_equal(rules.may_store, cases[i].may_store);
        assert_int_equal(rules_ttl(&rules, now_ms), cases[i].ttl_ms);
        assert_true(str_eq(rules.etag, STR("\"a\"")));
    }
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_what_a_304_is_about),
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_a_304_makes_it_fresh_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
