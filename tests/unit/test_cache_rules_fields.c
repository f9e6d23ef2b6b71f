/* Header fields as caches compare and keep them: Vary, lists, what belongs to a connection, dates.
 */
#include "cache_rules.h"

static void assert_str(struct str s, const char *expected)
{
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n);
}

static void test_vary(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *names; /* NULL: varies by all */
    } cases[] = {
        {"", ""},
        {"Vary:\n", ""},
        {"Vary: ,, ,\n", ""},
        {"Vary: Accept\n", "accept "},
        {"vary: ACCEPT-Language\n", "accept-language "},
        {"Vary: b, a,c\n", "a b c "},
        {"Vary: b,\ta ,, c\nX: y\nVary: A\nVary: d\n", "a b c d "},
        {"Vary: accept, accept-encoding, Accept\n", "accept accept-encoding "},
        {"Vary: x*\n", "x* "}, /* a name like any other */
        {"Vary: *\n", NULL},
        {"Vary: *, *\n", NULL},
        {"Vary: , *\n", NULL},
        {"Vary: Accept, *\n", NULL},
        {"Vary: *, Accept\n", NULL},
        {"Vary: Accept\nVary: *\n", NULL},
        {"Vary: Accept Cookie\n", NULL},
        {"Vary: Accept; Cookie\n", NULL},
        {"Vary: \"Accept\"\n", NULL},
        {"Vary: Acc\xc3\xa9pt\n", NULL},
        {"Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p\n", "a b c d e f g h i j k l m n o p "},
        {"Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,A,P\n", "a b c d e f g h i j k l m n o p "},
        {"Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\n", NULL},
    };
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lines lines = lines_of(cases[i].headers);
        struct str names[CACHE_MAX_VARY];
        size_t count;
        tell(0, cases[i].headers);
        bool varies = rules_vary(lines.headers, lines.count, &pool, names, &count);
        assert_int_equal(varies, cases[i].names != NULL);
        struct rules rules = answer_of(&no_policy, NULL, 200, cases[i].headers);
        assert_int_equal(rules.varies_by_all, !varies);
        assert_int_equal(rules.may_share, varies);
        const char *at = cases[i].names;
        for (size_t k = 0; varies && k < count; k++) {
            assert_memory_equal(at, names[k].p, names[k].n);
            assert_int_equal(at[names[k].n], ' ');
            at += names[k].n + 1;
        }
        assert_true(!varies || *at == '\0');
    }
    h2o_mem_clear_pool(&pool);
}

static void test_lines_as_one(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *value; /* NULL: absent */
    } cases[] = {
        {"", NULL},
        {"B: x\n", NULL},
        {"A:\n", ""},
        {"A:   \n", ""},
        {"A: x\n", "x"},
        {"a:  x y\t\n", "x y"},
        {"A: x, y\n", "x,y"},
        {"A: x ,\ty  z,w\n", "x,y  z,w"},
        {"A: x,y\nB: b\nA: z\n", "x,y,z"},
        {"A: x\nA:\nA: y\n", "x,,y"},
        {"A: , x\n", ",x"},
        {"A: x,  \n", "x,"},
        {"A: \"a , b\" , c\n", "\"a , b\",c"}, /* in quotes a blank is a blank */
        {"A: \"a\\\" , b\" , c\n", "\"a\\\" , b\",c"},
        {"A: x\" , y\n", "x\" , y"},
        {"A: x\"\\\n", "x\"\\"},
    };
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lines lines = lines_of(cases[i].headers);
        tell(0, cases[i].headers);
        struct str value = rules_field(lines.headers, lines.count, STR("a"), &pool);
        assert_int_equal(value.p == NULL, cases[i].value == NULL);
        if (cases[i].value != NULL)
            assert_str(value, cases[i].value);
    }
    h2o_mem_clear_pool(&pool);
}

static void test_what_belongs_to_a_connection(void **state)
{
    (void)state;
    static const struct {
        const char *name, *connection;
        bool is_hop_by_hop;
    } cases[] = {
        {"Connection", "", true},
        {"keep-alive", "", true},
        {"Proxy-Connection", "", true},
        {"Proxy-Authenticate", "", true},
        {"Proxy-Authentication-Info", "", true},
        {"Proxy-Authorization", "", true},
        {"TE", "", true},
        {"Trailer", "", true},
        {"TRANSFER-ENCODING", "", true},
        {"upgrade", "", true},
        {"WWW-Authenticate", "", false},
        {"X-Trace", "", false},
        {"X-Trace", "close, x-trace", true},
        {"X-Trace", "X-TRACE", true},
        {"X-Trace", " ,x-trace , y", true},
        {"X-Trace", "x-tracer, x", false},
        {"", ",", false},
        {"Age", "age", true},
        /* what is meant for all on the way can't be taken from them */
        {"Cache-Control", "cache-control", false},
        {"Vary", "close, Vary", false},
        {"Set-Cookie", "set-cookie", false},
        {"Content-Type", "content-type", false},
        {"Content-Encoding", "content-encoding", false},
        {"Host", "host", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        tell(0, cases[i].name);
        assert_int_equal(
            rules_is_hop_by_hop(str_from(cases[i].name), str_from(cases[i].connection)),
            cases[i].is_hop_by_hop);
    }
}

static void test_dates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds; /* -1 = isn't one */
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"  Sun, 06 Nov 1994 08:49:37 GMT\t", 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Thu, 01 Jan 1970 00:00:01 GMT", 1},
        {"Wed, 31 Dec 1969 23:59:59 GMT", 0},
        {"Mon, 01 Jan 0001 00:00:00 GMT", 0},
        {"Thu, 29 Feb 1996 00:00:00 GMT", 825552000},
        {"Tue, 29 Feb 2000 12:00:00 GMT", 951825600},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777}, /* the day's name tells nothing */
        {"Sun, 06 Nov 1994 23:59:60 GMT", 784166399}, /* a leap second */
        {"Wed Feb 28 00:00:00 1996", 825465600},
        {"Sun Nov 06 08:49:37 1994", 784111777},
        /* two digits: not more than 50 years ahead of 1994 */
        {"Friday, 06-Nov-00 08:49:37 GMT", 973500577},
        {"Sunday, 06-Nov-44 08:49:37 GMT", 2362034977},
        {"Monday, 06-Nov-45 08:49:37 GMT", 0},
        {"Friday, 06-Nov-70 08:49:37 GMT", 26729377},
        {"", -1},
        {"0", -1},
        {"now", -1},
        {"784111777", -1},
        {"Sun, 06 Nov 1994 08:49:37", -1},
        {"Sun, 06 Nov 1994 08:49:37 ", -1},
        {"Sun, 06 Nov 1994 08:49:37 UTC", -1},
        {"Sun, 06 Nov 1994 08:49:37 gmt", -1},
        {"Sun, 06 Nov 1994 08:49:37 +0000", -1},
        {"Sun, 06 Nov 1994 08:49:37 AEST", -1},
        {"Sun, 06 Nov 1994 08:49:37 GMT x", -1},
        {"sun, 06 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 NOV 1994 08:49:37 GMT", -1},
        {"Sun 06 Nov 1994 08:49:37 GMT", -1},
        {"Sun,06 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 6 Nov 1994 08:49:37 GMT", -1},
        {"Sun,  6 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06  Nov  1994 08:49:37 GMT", -1},
        {"Sun, 06-Nov-1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov 94 08:49:37 GMT", -1},
        {"Sun, 06 Nov 19940 08:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 8:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 08.49.37 GMT", -1},
        {"Sun, 06 Nov 1994 08:49 GMT", -1},
        {"Sun, 06 Nov 1994 24:00:00 GMT", -1},
        {"Sun, 06 Nov 1994 08:60:00 GMT", -1},
        {"Sun, 06 Nov 1994 08:49:61 GMT", -1},
        {"Sun, 00 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 31 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 29 Feb 1994 08:49:37 GMT", -1},
        {"Sun, 32 Dec 1994 08:49:37 GMT", -1},
        {"Sun, -6 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nev 1994 08:49:37 GMT", -1},
        {"Sun, 06-Nov-94 08:49:37 GMT", -1},
        {"Sunday, 06 Nov 1994 08:49:37 GMT", -1},
        {"Sunday, 06-Nov-1994 08:49:37 GMT", -1},
        {"Sun Nov 6 08:49:37 1994", -1},
        {"Sun Nov  6 08:49:37 94", -1},
        {"Sun Nov  6 08:49:37 1994 GMT", -1},
        {"Sun, Nov  6 08:49:37 1994", -1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t ms = 7;
        bool is_date = rules_date(str_from(cases[i].text), NOW, &ms);
        tell(0, cases[i].text);
        assert_int_equal(is_date, cases[i].seconds >= 0);
        assert_int_equal(ms, is_date ? (uint64_t)cases[i].seconds * SECOND : 7);
    }
}

/* Of the same text, in 1999 and in 2025. */
static void test_a_year_of_two_digits_is_near(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t now_s;
        int64_t seconds;
    } cases[] = {
        {"Saturday, 01-Jan-49 00:00:00 GMT", 930000000, 2493072000},  /* 2049 */
        {"Saturday, 01-Jan-50 00:00:00 GMT", 930000000, 0},           /* 1950 */
        {"Saturday, 01-Jan-75 00:00:00 GMT", 1750000000, 3313526400}, /* 2075 */
        {"Saturday, 01-Jan-76 00:00:00 GMT", 1750000000, 189302400},  /* 1976 */
        {"Saturday, 01-Jan-99 00:00:00 GMT", 1750000000, 915148800},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t ms;
        tell(0, cases[i].text);
        assert_true(rules_date(str_from(cases[i].text), cases[i].now_s * SECOND, &ms));
        assert_int_equal(ms, (uint64_t)cases[i].seconds * SECOND);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vary),
        cmocka_unit_test(test_lines_as_one),
        cmocka_unit_test(test_what_belongs_to_a_connection),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_a_year_of_two_digits_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
