/* How long a retry waits. */
#include "upstreams/policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define MS     UINT64_C(1000)
#define SECOND (1000 * MS)
#define DAY    (86400 * SECOND)

static void test_waits_double_up_to_the_most(void **state)
{
    (void)state;
    static const struct {
        uint64_t backoff_ms, max_backoff_ms;
        unsigned number;
        uint64_t most_ms;
    } cases[] = {
        {25, 250, 1, 25},
        {25, 250, 2, 50},
        {25, 250, 3, 100},
        {25, 250, 4, 200},
        {25, 250, 5, 250},
        {25, 250, 9, 250},
        {500, 250, 1, 250}, /* the most is the most */
        {0, 250, 1, 0},
        {0, 250, 9, 0},
        {25, 0, 3, 0},
        {1, 3600000, 9, 256},
        {1, 3600000, UINT32_MAX, 3600000},
        {3600000, 3600000, 9, 3600000},
        {3599999, 3600000, 2, 3600000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct config_retry retry = {.backoff_ms = cases[i].backoff_ms,
                                     .max_backoff_ms = cases[i].max_backoff_ms};
        uint64_t most_us = cases[i].most_ms * MS;
        assert_int_equal(backoff_us(&retry, cases[i].number, 0), 0);
        assert_int_equal(backoff_us(&retry, cases[i].number, UINT32_MAX), most_us);
        uint64_t middle = backoff_us(&retry, cases[i].number, UINT32_MAX / 2);
        assert_in_range(middle, most_us / 2 - (most_us != 0), most_us / 2);
    }
}

static void test_every_wait_is_as_likely(void **state)
{
    (void)state;
    enum { CHANCES = 10000, PARTS = 10 };
    struct config_retry retry = {.backoff_ms = 25, .max_backoff_ms = 250};
    unsigned parts[PARTS] = {0};
    uint32_t chance = 1;
    for (unsigned i = 0; i < CHANCES; i++) {
        chance = chance * 1664525 + 1013904223;
        uint64_t us = backoff_us(&retry, 3, chance);
        assert_in_range(us, 0, 100 * MS);
        parts[us * PARTS / (100 * MS + 1)]++;
    }
    for (size_t i = 0; i < PARTS; i++)
        assert_in_range(parts[i], CHANCES / PARTS * 9 / 10, CHANCES / PARTS * 11 / 10);
}

static void test_what_cannot_finish_is_not_begun(void **state)
{
    (void)state;
    static const struct {
        uint64_t now, wait, usual, deadline;
        bool fits;
    } cases[] = {
        {100, 10, 20, 0, true}, /* there is none */
        {100, 10, 20, 131, true},
        {100, 10, 20, 130, true},
        {100, 10, 20, 129, false},
        {100, 0, 20, 120, true},
        {100, 20, 0, 121, true}, /* nobody knows how long it takes */
        {100, 20, 0, 120, false},
        {100, 0, 0, 100, false}, /* it is over */
        {100, 0, 0, 99, false},
        {0, 0, 1, 1, true}, /* at the boot */
        {100, UINT64_MAX, 1, 200, false},
        {100, 1, UINT64_MAX, 200, false},
        {100, UINT64_MAX, UINT64_MAX, 200, false},
        {UINT64_MAX - 1, 0, 1, UINT64_MAX, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(
            backoff_fits(cases[i].now, cases[i].wait, cases[i].usual, cases[i].deadline),
            cases[i].fits);
}

/* Now is Sun, 06 Nov 1994 08:49:37 GMT. */
static void test_retry_after(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint64_t us;
    } cases[] = {
        /* seconds */
        {"1", SECOND},
        {"120", 120 * SECOND},
        {"0", 0},
        {"007", 7 * SECOND},
        {" 30\t", 30 * SECOND},
        {"86399", DAY - SECOND},
        {"86400", DAY},
        {"86401", DAY},
        {"4294967297", DAY},
        {"18446744073709551616", DAY},
        {"99999999999999999999999999999999999999", DAY},
        {"00000000000000000000000000000000000005", 5 * SECOND},
        /* which aren't any */
        {"", 0},
        {" ", 0},
        {"-1", 0},
        {"+1", 0},
        {"1.5", 0},
        {"1e3", 0},
        {"0x10", 0},
        {"12 0", 0},
        {"5, 10", 0},
        {"5s", 0},
        {"soon", 0},
        {"\xd9\xa1", 0}, /* an Arabic digit */
        /* dates: the three forms of RFC 9110 */
        {"Sun, 06 Nov 1994 08:49:47 GMT", 10 * SECOND},
        {"Sunday, 06-Nov-94 08:49:47 GMT", 10 * SECOND},
        {"Sun Nov  6 08:49:47 1994", 10 * SECOND},
        {"  Sun, 06 Nov 1994 08:49:38 GMT ", SECOND},
        {"Sun Nov 06 08:49:47 1994", 10 * SECOND},
        {"Wed Nov 16 08:49:47 1994", DAY},
        {"Mon, 07 Nov 1994 08:49:36 GMT", DAY - SECOND},
        {"Mon, 07 Nov 1994 08:49:38 GMT", DAY},
        {"Fri, 31 Dec 9999 23:59:59 GMT", DAY},
        {"Sun, 06 Nov 1994 09:00:60 GMT", 682 * SECOND}, /* a leap second is the one before */
        {"Mon, 06 Nov 1994 08:49:47 GMT", 10 * SECOND},  /* nobody looks at the weekday */
        /* that are past, or now */
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:49:36 GMT", 0},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Sat, 01 Jan 0000 00:00:00 GMT", 0},
        /* two digits of a year: at most 50 years ahead, else it is past */
        {"Sunday, 06-Nov-44 08:49:47 GMT", DAY},
        {"Sunday, 06-Nov-45 08:49:47 GMT", 0},
        {"Sunday, 06-Nov-93 08:49:47 GMT", 0},
        {"Monday, 06-Nov-00 08:49:47 GMT", DAY}, /* 2000 */
        /* that aren't any */
        {"Sun, 06 Nov 1994 08:49:47", 0},
        {"Sun, 06 Nov 1994 08:49:47 GMT+1", 0},
        {"Sun, 06 Nov 1994 08:49:47 UTC", 0},
        {"Sun, 6 Nov 1994 08:49:47 GMT", 0},
        {"Sun,06 Nov 1994 08:49:47 GMT", 0},
        {"sun, 06 nov 1994 08:49:47 gmt", 0},
        {"Xyz, 06 Nov 1994 08:49:47 GMT", 0},
        {"Sun, 06 Xyz 1994 08:49:47 GMT", 0},
        {"Sun, 00 Nov 1994 08:49:47 GMT", 0},
        {"Wed, 31 Nov 1994 08:49:47 GMT", 0},
        {"Wed, 29 Feb 1995 08:49:47 GMT", 0},
        {"Sun, 99 Nov 1994 08:49:47 GMT", 0},
        {"Sun, 06 Nov 1994 24:00:00 GMT", 0},
        {"Sun, 06 Nov 1994 08:60:47 GMT", 0},
        {"Sun, 06 Nov 1994 08:49:61 GMT", 0},
        {"Sun, -6 Nov 1994 08:49:47 GMT", 0},
        {"Sun, 06 Nov -994 08:49:47 GMT", 0},
        {"Sun, 06 Nov 1994 08:4", 0},
        {"Sunday, 06 Nov 1994 08:49:47 GMT", 0},
        {"Sun Nov 6 08:49:47 1994", 0},
        {"1994-11-06T08:49:47Z", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t us = backoff_retry_after_us(str_from(cases[i].value), 784111777);
        if (us != cases[i].us)
            print_error("'%s': ", cases[i].value);
        assert_int_equal(us, cases[i].us);
    }
    assert_int_equal(backoff_retry_after_us((struct str){NULL, 0}, 784111777), 0);
}

/* On the last day of a century, and on a leap day. */
static void test_retry_after_at_other_times(void **state)
{
    (void)state;
    static const struct {
        int64_t now_s;
        const char *value;
        uint64_t us;
    } cases[] = {
        {946684790, "Friday, 31-Dec-99 23:59:55 GMT", 5 * SECOND},
        {4102444790, "Thursday, 31-Dec-99 23:59:55 GMT", 5 * SECOND},
        {951782390, "Tue, 29 Feb 2000 00:00:05 GMT", 15 * SECOND},
        {951868790, "Wed, 01 Mar 2000 00:00:05 GMT", 15 * SECOND},
        {0, "Thu, 01 Jan 1970 00:00:05 GMT", 5 * SECOND},
        {2147483640, "Tue, 19 Jan 2038 03:14:10 GMT", 10 * SECOND},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(backoff_retry_after_us(str_from(cases[i].value), cases[i].now_s),
                         cases[i].us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_double_up_to_the_most),
        cmocka_unit_test(test_every_wait_is_as_likely),
        cmocka_unit_test(test_what_cannot_finish_is_not_begun),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_retry_after_at_other_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
