/* How much of what a client of HTTP/2 may do, by a clock and counts of the test's own. */
#include "http/http2_abuse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* How many are allowed in a row. */
static unsigned spend_all(struct abuse_budget *budget, enum abuse kind, uint64_t now_ms,
                          uint64_t sent)
{
    unsigned n = 0;
    while (n < 1000000 && abuse_spend(budget, kind, now_ms, sent))
        n++;
    return n;
}

static void test_each_kind_has_its_limit(void **state)
{
    static const unsigned limits[] = {
        [ABUSE_RESETS] = 500, [ABUSE_REFUSED] = 500,   [ABUSE_SETTINGS] = 100,
        [ABUSE_PINGS] = 500,  [ABUSE_PRIORITY] = 1000, [ABUSE_WINDOWS] = 2000,
        [ABUSE_TINY] = 2000,  [ABUSE_STRAY] = 1000,
    };
    struct abuse_budget budget = {0};
    (void)state;
    assert_int_equal(COUNT(limits), ABUSE_COUNTED);
    for (unsigned kind = 0; kind < ABUSE_COUNTED; kind++)
        assert_int_equal(spend_all(&budget, kind, 5, 0), limits[kind]); /* of its own */
}

static void test_a_limit_is_of_some_time(void **state)
{
    struct abuse_budget budget = {0};
    (void)state;
    assert_int_equal(spend_all(&budget, ABUSE_PINGS, 1000, 0), 500);
    assert_false(abuse_spend(&budget, ABUSE_PINGS, 1000 + ABUSE_WINDOW_MS - 1, 0));
    assert_int_equal(spend_all(&budget, ABUSE_PINGS, 1000 + ABUSE_WINDOW_MS, 0), 500);
}

static void test_answers_pay_for_some(void **state)
{
    struct abuse_budget budget = {0};
    (void)state;
    assert_true(abuse_spend(&budget, ABUSE_RESETS, 1000, 0));
    budget.answered += 50;
    assert_int_equal(spend_all(&budget, ABUSE_RESETS, 1000, 0), 549);
    assert_int_equal(spend_all(&budget, ABUSE_SETTINGS, 1000, 0), 100);
    /* For what comes in the next window, too, and no longer. */
    assert_int_equal(spend_all(&budget, ABUSE_RESETS, 1000 + ABUSE_WINDOW_MS, 0), 550);
    assert_int_equal(spend_all(&budget, ABUSE_RESETS, 1000 + 2 * ABUSE_WINDOW_MS, 0), 500);
}

static void test_bytes_that_were_taken_pay_for_windows(void **state)
{
    struct abuse_budget budget = {0};
    uint64_t sent = 7 << 20; /* long ago */
    (void)state;
    assert_true(abuse_spend(&budget, ABUSE_WINDOWS, 1000, sent));
    assert_int_equal(spend_all(&budget, ABUSE_WINDOWS, 1000 + ABUSE_WINDOW_MS, sent), 2000);
    sent += 1 << 20;
    assert_int_equal(spend_all(&budget, ABUSE_WINDOWS, 1001 + ABUSE_WINDOW_MS, sent), 2 * 1024 - 1);
    assert_int_equal(spend_all(&budget, ABUSE_WINDOWS, 1000 + 2 * ABUSE_WINDOW_MS, sent),
                     2000 + 2 * 1024);
    assert_int_equal(spend_all(&budget, ABUSE_WINDOWS, 1000 + 3 * ABUSE_WINDOW_MS, sent), 2000);
}

static void test_kinds_have_names(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < ABUSE_KINDS; kind++)
        for (unsigned other = 0; other < kind; other++)
            assert_string_not_equal(abuse_name(kind), abuse_name(other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_has_its_limit),
        cmocka_unit_test(test_a_limit_is_of_some_time),
        cmocka_unit_test(test_answers_pay_for_some),
        cmocka_unit_test(test_bytes_that_were_taken_pay_for_windows),
        cmocka_unit_test(test_kinds_have_names),
    };
    return cmocka_run_group_tests_name("abuse of HTTP/2", tests, NULL, NULL);
}
