/* Percentiles of lately are those that a sorted list of all answers would have, nearly. */
#include "upstreams/policy.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define SECOND UINT64_C(1000000)

enum { ANSWERS = 20000 };

static uint32_t percentile(const struct latency *latency, uint8_t percent, uint64_t now_us)
{
    uint32_t us;
    latency_percentiles(&latency, 1, now_us, &percent, 1, &us);
    return us;
}

/* Between 0 and 1. */
static double chance(void)
{
    static uint64_t seed = 1;
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (double)(seed >> 33) / (double)(UINT64_C(1) << 31);
}

static double always_12_ms(void)
{
    return 12000;
}
static double from_1_to_100_ms(void)
{
    return 1000 + chance() * 99000;
}
static double exponential_of_20_ms(void)
{
    return 40 - 20000 * log(1 - chance());
}
static double log_normal_of_8_ms(void)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += chance();
    return 8000 * exp(sum);
}
static double one_of_ten_stalls(void)
{
    return chance() < 0.1 ? 1000000 + chance() * 1000 : 9000 + chance() * 2000;
}
static double any_power(void)
{
    return 40 * pow(1500000, chance());
}

static int ascending(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void test_percentiles_are_within_a_tenth(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        double (*draw)(void);
    } cases[] = {
        {"always 12 ms", always_12_ms},           {"uniform", from_1_to_100_ms},
        {"exponential", exponential_of_20_ms},    {"log-normal", log_normal_of_8_ms},
        {"one of ten stalls", one_of_ten_stalls}, {"40 us to a minute", any_power},
    };
    static const uint8_t percents[] = {1, 25, 50, 75, 90, 95, 99, 100};
    static uint32_t exact[ANSWERS];
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct latency lanes[3] = {0}; /* several loops' own */
        const struct latency *all[] = {&lanes[0], &lanes[1], &lanes[2]};
        for (size_t n = 0; n < ANSWERS; n++) {
            exact[n] = (uint32_t)cases[i].draw();
            latency_add(&lanes[n % 7 % 3], exact[n], 42 * SECOND + n);
        }
        qsort(exact, ANSWERS, sizeof(*exact), ascending);
        uint32_t us[COUNT(percents)];
        latency_percentiles(all, COUNT(all), 43 * SECOND, percents, COUNT(percents), us);
        for (size_t p = 0; p < COUNT(percents); p++) {
            double wanted = exact[ANSWERS * percents[p] / 100 - 1];
            double off = fabs(us[p] - wanted) / wanted;
            if (off > 0.0626)
                print_error("%s, p%u: %u, not %.0f: ", cases[i].what, percents[p], us[p], wanted);
            assert_true(off <= 0.0626); /* a sixteenth; promised is a tenth */
        }
    }
}

/* Each answer alone, so that no bucket's edge is off. */
static void test_every_answer_is_within_a_sixteenth(void **state)
{
    (void)state;
    for (uint64_t us = 32; us < UINT64_C(1) << 26; us += us / 100 + 1) {
        struct latency latency = {0};
        for (unsigned i = 0; i < 20; i++)
            latency_add(&latency, (uint32_t)us, 0);
        uint32_t got = percentile(&latency, 50, 0);
        assert_in_range(got, us - us / 16, us + us / 16 + 1);
    }
}

static void test_what_is_off_the_scale_is_at_its_end(void **state)
{
    (void)state;
    static const struct {
        uint32_t us, from, to;
    } cases[] = {
        {0, 32, 36},
        {1, 32, 36},
        {31, 32, 36},
        {67108863, 62000000, 67108863},
        {67108864, 62000000, 67108863},
        {UINT32_MAX, 62000000, 67108863},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct latency latency = {0};
        for (unsigned n = 0; n < 20; n++)
            latency_add(&latency, cases[i].us, 5);
        assert_in_range(percentile(&latency, 95, 5), cases[i].from, cases[i].to);
    }
}

static void test_few_answers_say_nothing(void **state)
{
    (void)state;
    static struct latency a, b;
    const struct latency *both[] = {&a, &b};
    static const uint8_t percents[] = {0, 50, 100};
    uint32_t us[3] = {1, 1, 1};
    latency_percentiles(both, 2, 0, percents, 3, us);
    assert_int_equal(us[0] | us[1] | us[2], 0);
    latency_percentiles(NULL, 0, 0, percents, 3, us);
    assert_int_equal(us[0] | us[1] | us[2], 0);
    for (unsigned i = 0; i < 19; i++)
        latency_add(i % 2 ? &a : &b, 1000, 7);
    assert_int_equal(percentile(&a, 50, 7), 0);
    latency_percentiles(both, 2, 7, percents, 3, us);
    assert_int_equal(us[0] | us[1] | us[2], 0);
    latency_add(&a, 1000, 7);
    latency_percentiles(both, 2, 7, percents, 3, us); /* known together */
    for (size_t i = 0; i < 3; i++)
        assert_in_range(us[i], 938, 1063);
}

/* A hundred answers at `added`, then one of another kind at `touched` (0 = none), seen at `seen`.
 */
static void test_what_is_old_does_not_count(void **state)
{
    (void)state;
    static const struct {
        uint64_t added_s, touched_s, seen_s;
        bool counts;
    } cases[] = {
        {0, 0, 0, true},                       /* at the boot */
        {0, 0, 9, true},                       /* in the same span */
        {0, 0, 10, true},                      /* in the one after it */
        {0, 0, 19, true},   {0, 0, 20, false}, /* and no longer */
        {0, 0, 29, false},  {0, 0, 1000, false}, {9, 0, 19, true},   {9, 0, 20, false},
        {10, 0, 29, true},  {10, 0, 30, false},  {0, 10, 10, true}, /* whether or not somebody adds
                                                                       meanwhile */
        {0, 10, 19, true},  {0, 10, 20, false},  {0, 20, 20, false}, {0, 30, 30, false},
        {5, 45, 45, false}, {5, 55, 55, false},  {20, 0, 19, true}, /* a reader whose clock is
                                                                       behind */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct latency latency = {0};
        for (unsigned n = 0; n < 100; n++)
            latency_add(&latency, 5000, cases[i].added_s * SECOND);
        if (cases[i].touched_s != 0)
            latency_add(&latency, 100, cases[i].touched_s * SECOND);
        assert_int_equal(percentile(&latency, 50, cases[i].seen_s * SECOND) != 0, cases[i].counts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_are_within_a_tenth),
        cmocka_unit_test(test_every_answer_is_within_a_sixteenth),
        cmocka_unit_test(test_what_is_off_the_scale_is_at_its_end),
        cmocka_unit_test(test_few_answers_say_nothing),
        cmocka_unit_test(test_what_is_old_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
