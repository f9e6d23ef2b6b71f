/* When requests are turned away, and how many: on a clock of the test's own, and with a queue that
 * is played through. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "middleware/codel.h"

enum { MS = 1000, SECOND = 1000 * MS, START = 1000 * SECOND };

static struct codel fresh(void)
{
    return (struct codel){.target_us = 20 * MS, .interval_us = 100 * MS, .most = CODEL_ALL};
}

/* Waits of that length, one each 10 ms, for so long. Returns when the last was. */
static uint64_t wait(struct codel *codel, uint64_t from_us, uint64_t for_us, uint64_t wait_us)
{
    uint64_t now_us = from_us;
    for (; now_us < from_us + for_us; now_us += 10 * MS)
        codel_note(codel, now_us, wait_us);
    return now_us;
}

static unsigned shed_of(struct codel *codel, uint64_t now_us, unsigned count)
{
    unsigned shed = 0;
    for (unsigned i = 0; i < count; i++)
        shed += codel_sheds(codel, now_us);
    return shed;
}

static void test_short_waits_turn_nobody_away(void **state)
{
    (void)state;
    struct codel codel = fresh();
    assert_int_equal(shed_of(&codel, START, 1000), 0);
    uint64_t now_us = wait(&codel, START, 10 * SECOND, 20 * MS);
    assert_int_equal(shed_of(&codel, now_us, 1000), 0);
}

static void test_a_burst_that_is_worked_off_is_fine(void **state)
{
    (void)state;
    struct codel codel = fresh();
    uint64_t now_us = START;
    for (unsigned i = 0; i < 100; i++) { /* 80 ms of long waits, then a short one */
        now_us = wait(&codel, now_us, 80 * MS, 200 * MS);
        now_us = wait(&codel, now_us, 10 * MS, 1 * MS);
        assert_int_equal(shed_of(&codel, now_us, 100), 0);
    }
    /* nor does a single long wait say anything, after a pause of the machine or of the clients */
    codel_note(&codel, now_us + 60 * (uint64_t)SECOND, 500 * MS);
    assert_int_equal(shed_of(&codel, now_us + 60 * (uint64_t)SECOND, 100), 0);
}

static void test_long_waits_turn_more_and_more_away_and_short_ones_fewer(void **state)
{
    (void)state;
    struct codel codel = fresh();
    uint64_t now_us = wait(&codel, START, 100 * MS, 21 * MS);
    assert_int_equal(shed_of(&codel, now_us, 3200), 0); /* the interval isn't over */
    now_us = wait(&codel, now_us, 20 * MS, 21 * MS);
    assert_int_equal(shed_of(&codel, now_us, 3200), 100); /* one of 32, evenly */
    unsigned before = 100;
    for (unsigned i = 0; i < 25; i++) {
        now_us = wait(&codel, now_us, 100 * MS, 21 * MS);
        unsigned now = shed_of(&codel, now_us, 3200);
        assert_true(now > before || now == 3200);
        before = now;
    }
    assert_int_equal(before, 3200);
    for (unsigned i = 0; before != 0; i++) {
        now_us = wait(&codel, now_us, 100 * MS, 5 * MS);
        unsigned now = shed_of(&codel, now_us, 3200);
        assert_true(i < 40 && (now < before || i == 0));
        before = now;
    }
}

static void test_a_share_is_always_served(void **state)
{
    (void)state;
    struct codel codel = fresh();
    codel.most = CODEL_ALL / 100 * 75;
    uint64_t now_us = wait(&codel, START, 10 * SECOND, 500 * MS);
    assert_in_range(shed_of(&codel, now_us, 1000), 745, 750);
    codel.most = codel.share = 0;
    now_us = wait(&codel, now_us, SECOND, 500 * MS);
    assert_int_equal(shed_of(&codel, now_us, 1000), 0);
}

static void test_after_a_silence_all_is_forgotten(void **state)
{
    (void)state;
    struct codel codel = fresh();
    uint64_t now_us = wait(&codel, START, 10 * SECOND, 500 * MS);
    assert_true(shed_of(&codel, now_us, 100) > 90);
    now_us += 5 * SECOND;
    assert_int_equal(shed_of(&codel, now_us, 100), 0);
    codel_note(&codel, now_us, 1 * MS);
    assert_int_equal(shed_of(&codel, now_us, 100), 0);
    /* turns that take longer than such a silence are none */
    codel = fresh();
    for (unsigned i = 1; i <= 20; i++)
        codel_note(&codel, START + i * (uint64_t)(2 * SECOND), 2 * SECOND);
    assert_true(codel.share > CODEL_ALL / 2);
}

/* A loop that serves 1,000 requests a second and turns away 20,000, at `rate` requests a second.
 * Returns how many were served of those of the last half; *wait_r: how long they waited on average.
 */
static unsigned play(unsigned rate, uint64_t for_us, uint64_t *wait_r)
{
    enum { LINE = 1 << 16 };
    static uint64_t line[LINE];
    struct codel codel = fresh();
    uint64_t now_us = START, end_us = START + for_us, next_us = START, noted_us = 0, waited_us = 0;
    unsigned first = 0, last = 0, served = 0;
    while (now_us < end_us) {
        for (; next_us <= now_us; next_us += SECOND / rate)
            line[last++ % LINE] = next_us;
        assert_true(last - first < LINE);
        if (first == last) {
            now_us = next_us;
            continue;
        }
        uint64_t wait_us = now_us - line[first++ % LINE];
        if (now_us - noted_us >= 10 * MS) {
            codel_note(&codel, now_us, wait_us);
            noted_us = now_us;
        }
        bool sheds = codel_sheds(&codel, now_us);
        now_us += sheds ? SECOND / 20000 : SECOND / 1000;
        if (!sheds && now_us > START + for_us / 2) {
            served++;
            waited_us += wait_us;
        }
    }
    *wait_r = served != 0 ? waited_us / served : 0;
    return served;
}

static void
test_under_twice_the_load_most_of_the_capacity_is_used_and_waits_stay_short(void **state)
{
    (void)state;
    uint64_t wait_us;
    unsigned served = play(900, 20 * SECOND, &wait_us);
    assert_in_range(served, 8900, 9100); /* of 9,000: all */
    assert_in_range(wait_us, 0, 1 * MS);
    for (unsigned rate = 1200; rate <= 8000; rate = rate * 3 / 2) {
        served = play(rate, 40 * (uint64_t)SECOND, &wait_us);
        /* in 20 s, less what turning away takes */
        unsigned possible = (unsigned)(20000.0 * (1 - rate / 20000.0) / (1 - 1000.0 / 20000));
        if (served < possible * 8 / 10 || wait_us > 150 * MS)
            fail_msg("%u/s: %u of %u, waits of %u ms", rate, served, possible,
                     (unsigned)(wait_us / MS));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_waits_turn_nobody_away),
        cmocka_unit_test(test_a_burst_that_is_worked_off_is_fine),
        cmocka_unit_test(test_long_waits_turn_more_and_more_away_and_short_ones_fewer),
        cmocka_unit_test(test_a_share_is_always_served),
        cmocka_unit_test(test_after_a_silence_all_is_forgotten),
        cmocka_unit_test(
            test_under_twice_the_load_most_of_the_capacity_is_used_and_waits_stay_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
