/* What an upstream's last ten seconds held, and the retries and hedges that this allows. */
#include "upstreams/policy.h"
#include "tests/unit/policy_threads.h"

#define MS     UINT64_C(1000)
#define SECOND UINT64_C(1000000)

static uint32_t sum_since(const struct window *window, enum counted what, uint64_t since_us,
                          uint64_t now_us)
{
    uint32_t sums[COUNTED];
    window_sum(window, since_us, now_us, sums);
    return sums[what];
}

static void count_many(struct window *window, enum counted what, uint32_t many, uint64_t now_us)
{
    for (uint32_t i = 0; i < many; i++)
        window_count(window, what, now_us);
}

/* One call in each second from `first` to `last`, as seen at `now` and since `since`. */
static void test_ten_seconds_are_seen(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint64_t first, last, since_us, now_us;
        uint32_t sum;
    } cases[] = {
        {"at the boot", 0, 0, 0, 0, 1},
        {"the first second's last moment", 0, 0, 0, SECOND - 1, 1},
        {"the first ten seconds", 0, 9, 0, 10 * SECOND - 1, 10},
        {"the tenth second still sees the first", 0, 0, 0, 10 * SECOND - 1, 1},
        {"the eleventh doesn't", 0, 0, 0, 10 * SECOND, 0},
        {"a ring that went round once", 0, 10, 0, 10 * SECOND, 10},
        {"a ring that went round often", 0, 1000, 0, 1000 * SECOND, 10},
        {"seven seconds of silence", 0, 20, 0, 27 * SECOND, 3},
        {"nine seconds of silence", 0, 20, 0, 29 * SECOND, 1},
        {"ten seconds of silence", 0, 20, 0, 30 * SECOND, 0},
        {"a silence as long as the ring", 0, 20, 0, 31 * SECOND, 0},
        {"a long silence", 0, 20, 0, 1000000 * SECOND, 0},
        {"a clock behind the others'", 0, 20, 0, 20 * SECOND - 1, 11},
        {"since a second's begin", 0, 20, 15 * SECOND, 20 * SECOND, 6},
        {"since a moment in a second: without it", 0, 20, 15 * SECOND + 1, 20 * SECOND, 5},
        {"since now", 0, 20, 20 * SECOND + 1, 20 * SECOND + 1, 0},
        {"since long ago", 0, 20, 2 * SECOND, 20 * SECOND, 10},
        {"after years", 4000000000, 4000000020, 0, 4000000020 * SECOND, 10},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct window window = {0};
        for (uint64_t second = cases[i].first; second <= cases[i].last; second++)
            window_count(&window, COUNT_CALLS, second * SECOND);
        uint32_t sum = sum_since(&window, COUNT_CALLS, cases[i].since_us, cases[i].now_us);
        if (sum != cases[i].sum)
            print_error("%s: ", cases[i].what);
        assert_int_equal(sum, cases[i].sum);
    }
}

static void test_each_thing_is_counted_apart(void **state)
{
    (void)state;
    struct window window = {0};
    uint32_t sums[COUNTED];
    for (uint32_t what = 0; what < COUNTED; what++) {
        count_many(&window, what, what + 1, 7 * SECOND);
        count_many(&window, what, 10, 8 * SECOND);
    }
    window_sum(&window, 0, 8 * SECOND, sums);
    for (uint32_t what = 0; what < COUNTED; what++)
        assert_int_equal(sums[what], what + 11);
}

static void test_what_is_taken_back_is_not_seen(void **state)
{
    (void)state;
    struct window window = {0};
    count_many(&window, COUNT_HEDGES, 2, 3 * SECOND);
    window_uncount(&window, COUNT_HEDGES, 3 * SECOND + 5);
    assert_int_equal(sum_since(&window, COUNT_HEDGES, 0, 3 * SECOND), 1);
    window_uncount(&window, COUNT_HEDGES, 3 * SECOND);
    window_uncount(&window, COUNT_HEDGES, 3 * SECOND); /* there is none left */
    assert_int_equal(sum_since(&window, COUNT_HEDGES, 0, 3 * SECOND), 0);
    window_count(&window, COUNT_HEDGES, 14 * SECOND);
    window_uncount(&window, COUNT_HEDGES, 3 * SECOND); /* its place is another second's now */
    assert_int_equal(sum_since(&window, COUNT_HEDGES, 0, 14 * SECOND), 1);
}

static void test_who_is_eleven_seconds_late_changes_nothing(void **state)
{
    (void)state;
    struct window window = {0};
    window_count(&window, COUNT_CALLS, 14 * SECOND);
    window_count(&window, COUNT_CALLS, 3 * SECOND);
    assert_int_equal(sum_since(&window, COUNT_CALLS, 0, 14 * SECOND), 1);
}

/* -- budgets ----------------------------------------------------------------------------------- */

static void test_what_a_budget_leaves(void **state)
{
    (void)state;
    static const struct {
        uint32_t calls, made, percent, floor_per_s, left;
    } cases[] = {
        {1000, 0, 20, 3, 200},
        {1000, 150, 20, 3, 50},
        {1000, 200, 20, 3, 0},
        {1000, 201, 20, 3, 0}, /* the calls that allowed them are out of the window */
        {0, 0, 20, 3, 30},     /* the floor */
        {100, 10, 20, 3, 20},
        {150, 0, 20, 3, 30}, /* as much as the floor */
        {155, 0, 20, 3, 31},
        {1000, 0, 20, 0, 200},
        {4, 0, 20, 0, 0}, /* a share of less than one */
        {5, 0, 20, 0, 1},
        {1000, 0, 0, 3, 30},
        {1000, 0, 0, 0, 0},
        {1000, 0, 100, 0, 1000},
        {UINT32_MAX, 0, 100, 0, UINT32_MAX},
        {UINT32_MAX, 1, 20, 1000000, 858993458},
        {0, 0, 0, UINT32_MAX, UINT32_MAX},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int hedges = 0; hedges < 2; hedges++) {
            uint32_t sums[COUNTED] = {[COUNT_CALLS] = cases[i].calls};
            enum counted what = hedges ? COUNT_HEDGES : COUNT_RETRIES;
            sums[what] = cases[i].made;
            assert_int_equal(budget_left(sums, what, cases[i].percent, cases[i].floor_per_s),
                             cases[i].left);
        }
}

static void test_retries_are_a_share_of_calls(void **state)
{
    (void)state;
    struct window window = {0};
    uint64_t now = 5 * SECOND;
    uint32_t granted = 0;
    for (unsigned i = 0; i < 1000; i++, now += MS) { /* everything fails, for a second */
        window_count(&window, COUNT_CALLS, now);
        granted += budget_take(&window, COUNT_RETRIES, 20, 0, now);
    }
    assert_int_equal(granted, 200);
    assert_int_equal(sum_since(&window, COUNT_RETRIES, 0, now), 200);
    assert_int_equal(sum_since(&window, COUNT_RETRIES_DENIED, 0, now), 800);
    assert_int_equal(sum_since(&window, COUNT_HEDGES_DENIED, 0, now), 0);
    assert_true(budget_take(&window, COUNT_HEDGES, 10, 0, now)); /* another budget */
    assert_false(budget_take(&window, COUNT_RETRIES, 20, 0, now + 8 * SECOND));
    assert_true(budget_take(&window, COUNT_RETRIES, 20, 1, now + 11 * SECOND)); /* only the floor */
}

static void test_hedges_are_denied_as_hedges(void **state)
{
    (void)state;
    struct window window = {0};
    for (unsigned i = 0; i < 10; i++)
        assert_true(budget_take(&window, COUNT_HEDGES, 10, 1, SECOND));
    assert_false(budget_take(&window, COUNT_HEDGES, 10, 1, SECOND));
    assert_int_equal(sum_since(&window, COUNT_HEDGES, 0, SECOND), 10);
    assert_int_equal(sum_since(&window, COUNT_HEDGES_DENIED, 0, SECOND), 1);
    assert_int_equal(sum_since(&window, COUNT_RETRIES_DENIED, 0, SECOND), 0);
}

/* -- threads ----------------------------------------------------------------------------------- */

enum { TAKES = 2000, CALLS = 1000, PERCENT = 20 };

/* Their clocks are one counter that goes through four seconds, so that they often stand on both
 * sides of a second's end. */
struct together {
    struct window window;
    _Atomic uint64_t clock_us;
    _Atomic uint32_t granted;
};

struct beginners {
    struct window window;
    _Atomic uint32_t arrived, wrong;
};

static uint64_t tick(struct together *together)
{
    return atomic_fetch_add(&together->clock_us, 4 * SECOND / (THREADS * TAKES));
}

static void *take_often(void *arg)
{
    struct together *together = arg;
    uint32_t granted = 0;
    for (unsigned i = 0; i < TAKES; i++) {
        uint64_t now = tick(together);
        granted += budget_take(&together->window, COUNT_RETRIES, PERCENT, 0, now);
    }
    atomic_fetch_add(&together->granted, granted);
    return NULL;
}

static void *count_often(void *arg)
{
    struct together *together = arg;
    for (unsigned i = 0; i < TAKES; i++)
        window_count(&together->window, COUNT_ANSWERS, tick(together));
    return NULL;
}

static void test_threads_do_not_overdraw(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        struct together together = {.clock_us = 20 * SECOND - 1};
        count_many(&together.window, COUNT_CALLS, CALLS, 19 * SECOND);
        run_threads(take_often, &together);
        uint32_t granted = atomic_load(&together.granted);
        uint64_t now = atomic_load(&together.clock_us);
        assert_in_range(granted, 1, CALLS * PERCENT / 100);
        assert_int_equal(sum_since(&together.window, COUNT_RETRIES, 0, now), granted);
        assert_int_equal(sum_since(&together.window, COUNT_RETRIES_DENIED, 0, now),
                         THREADS * TAKES - granted);
        /* What they left to each other is still there. */
        while (budget_take(&together.window, COUNT_RETRIES, PERCENT, 0, now))
            granted++;
        assert_int_equal(granted, CALLS * PERCENT / 100);
    }
}

static void test_threads_lose_no_count(void **state)
{
    (void)state;
    struct together together = {.clock_us = 20 * SECOND};
    for (uint64_t second = 9; second < 20; second++) /* a ring full of what is old */
        count_many(&together.window, COUNT_ANSWERS, 5, second * SECOND);
    run_threads(count_often, &together);
    assert_int_equal(sum_since(&together.window, COUNT_ANSWERS, 20 * SECOND, 24 * SECOND),
                     THREADS * TAKES);
}

/* All begin each second in the same moment. */
static void *begin_seconds(void *arg)
{
    struct beginners *beginners = arg;
    for (uint32_t second = 0; second < ROUNDS; second++) {
        meet(&beginners->arrived, 2 * second + 1);
        for (uint32_t what = 0; what < COUNTED; what++)
            window_count(&beginners->window, what, second * SECOND);
        meet(&beginners->arrived, 2 * second + 2);
        uint32_t sums[COUNTED];
        window_sum(&beginners->window, second * SECOND, second * SECOND, sums);
        for (uint32_t what = 0; what < COUNTED; what++)
            if (sums[what] != THREADS)
                atomic_fetch_add(&beginners->wrong, 1);
    }
    return NULL;
}

static void test_threads_begin_a_second_together(void **state)
{
    (void)state;
    struct beginners beginners = {0};
    run_threads(begin_seconds, &beginners);
    assert_int_equal(atomic_load(&beginners.wrong), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_seconds_are_seen),
        cmocka_unit_test(test_each_thing_is_counted_apart),
        cmocka_unit_test(test_what_is_taken_back_is_not_seen),
        cmocka_unit_test(test_who_is_eleven_seconds_late_changes_nothing),
        cmocka_unit_test(test_what_a_budget_leaves),
        cmocka_unit_test(test_retries_are_a_share_of_calls),
        cmocka_unit_test(test_hedges_are_denied_as_hedges),
        cmocka_unit_test(test_threads_do_not_overdraw),
        cmocka_unit_test(test_threads_lose_no_count),
        cmocka_unit_test(test_threads_begin_a_second_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
