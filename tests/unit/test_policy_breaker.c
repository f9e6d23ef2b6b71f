/* When an upstream is not asked, tried, and asked again. */
#include "upstreams/policy.h"
#include "tests/unit/policy_threads.h"

#define MS UINT64_C(1000)

/* A breaker and its upstream's window, reported to as call.c does. */
struct guarded {
    struct breaker breaker;
    struct window window;
};

static bool report(struct guarded *guarded, bool was_probe, enum breaker_report what,
                   uint64_t now_us)
{
    if (what != REPORT_NOTHING)
        window_count(&guarded->window, COUNT_ANSWERS, now_us);
    if (what == REPORT_BAD)
        window_count(&guarded->window, COUNT_FAILURES, now_us);
    return breaker_report(&guarded->breaker, was_probe, what, &guarded->window, now_us);
}

/* -- one thing after the other ----------------------------------------------------------------- */

/* What happens: a question and its answer, or how an attempt ends. */
enum event {
    END,
    PASSES,
    PROBES,
    REFUSED,
    GOOD, /* an attempt that passed ends so */
    BAD,
    CUT,
    PROBE_GOOD,
    PROBE_BAD,
    PROBE_CUT,
    TURN = 16 /* with one of these: the breaker opens or closes by it */
};

struct step {
    uint64_t ms; /* since the step before */
    int event;
    int then;       /* enum breaker_state */
    unsigned times; /* 0 = once */
};

enum { CLOSED = BREAKER_CLOSED, HALF = BREAKER_HALF_OPEN, OPEN = BREAKER_OPEN };

static const struct config_breaker by_number = {.consecutive = 3, .open_for_ms = 5000, .probes = 2};
static const struct config_breaker by_share = {
    .error_share = 50, .min_calls = 10, .open_for_ms = 5000, .probes = 1};
static const struct config_breaker brief = {
    .error_share = 50, .min_calls = 4, .consecutive = 100, .open_for_ms = 10, .probes = 1};
static const struct config_breaker off = {.min_calls = 1, .open_for_ms = 1, .probes = 1};

static const struct {
    const char *what;
    const struct config_breaker *limits;
    struct step steps[24];
} stories[] = {
    {"failures in a row open it",
     &by_number,
     {{0, PASSES, CLOSED, 0},
      {1, BAD, CLOSED, 2},
      {1, PASSES, CLOSED, 0},
      {1, BAD | TURN, OPEN, 0},
      {1, REFUSED, OPEN, 100}}},
    {"a good answer between them begins the row again",
     &by_number,
     {{1, BAD, CLOSED, 2},
      {1, GOOD, CLOSED, 0},
      {1, BAD, CLOSED, 2},
      {1, GOOD, CLOSED, 0},
      {1, BAD, CLOSED, 2},
      {1, BAD | TURN, OPEN, 0}}},
    {"one that was cut doesn't",
     &by_number,
     {{1, BAD, CLOSED, 2}, {1, CUT, CLOSED, 9}, {1, BAD | TURN, OPEN, 0}}},
    {"it stays open for open_for, and up to a tenth longer",
     &by_number,
     {{0, BAD, CLOSED, 2},
      {0, BAD | TURN, OPEN, 0},
      {4999, REFUSED, OPEN, 0},
      {501, PROBES, HALF, 0}}},
    {"one probe at a time, and two good ones close it",
     &by_number,
     {{0, BAD, CLOSED, 2},
      {0, BAD | TURN, OPEN, 0},
      {5500, PROBES, HALF, 0},
      {1, REFUSED, HALF, 9},
      {1, PROBE_GOOD, HALF, 0},
      {0, PROBES, HALF, 0},
      {1, REFUSED, HALF, 9},
      {1, PROBE_GOOD | TURN, CLOSED, 0},
      {0, PASSES, CLOSED, 9}}},
    {"a bad probe opens it for the whole time again, and good ones before it are forgotten",
     &by_number,
     {{0, BAD, CLOSED, 2},
      {0, BAD | TURN, OPEN, 0},
      {9000, PROBES, HALF, 0},
      {1, PROBE_GOOD, HALF, 0},
      {1, PROBES, HALF, 0},
      {1, PROBE_BAD | TURN, OPEN, 0},
      {4999, REFUSED, OPEN, 0},
      {501, PROBES, HALF, 0},
      {1, PROBE_GOOD, HALF, 0},
      {1, PROBES, HALF, 0},
      {1, PROBE_GOOD | TURN, CLOSED, 0}}},
    {"a probe that was cut makes room for another one, and good ones before it count",
     &by_number,
     {{0, BAD, CLOSED, 2},
      {0, BAD | TURN, OPEN, 0},
      {5500, PROBES, HALF, 0},
      {1, PROBE_CUT, HALF, 0},
      {0, PROBES, HALF, 0},
      {0, REFUSED, HALF, 0},
      {1, PROBE_GOOD, HALF, 0},
      {0, PROBES, HALF, 0},
      {1, PROBE_CUT, HALF, 0},
      {0, PROBES, HALF, 0},
      {1, PROBE_GOOD | TURN, CLOSED, 0}}},
    {"what began before it opened neither closes nor opens it",
     &by_number,
     {{0, BAD, CLOSED, 2},
      {0, BAD | TURN, OPEN, 0},
      {1, BAD, OPEN, 9},
      {1, GOOD, OPEN, 9},
      {5500, PROBES, HALF, 0},
      {1, GOOD, HALF, 9},
      {1, BAD, HALF, 9},
      {0, REFUSED, HALF, 0},
      {1, PROBE_GOOD, HALF, 0},
      {0, PROBES, HALF, 0},
      {1, PROBE_GOOD | TURN, CLOSED, 0},
      {0, BAD, CLOSED, 2},
      {0, BAD | TURN, OPEN, 0}}},
    {"half of enough calls open it",
     &by_share,
     {{0, GOOD, CLOSED, 5}, {1, BAD, CLOSED, 4}, {1, BAD | TURN, OPEN, 0}}},
    {"less than half don't",
     &by_share,
     {{0, GOOD, CLOSED, 50}, {1, BAD, CLOSED, 49}, {1, BAD | TURN, OPEN, 0}}},
    {"too few calls prove nothing",
     &by_share,
     {{0, BAD, CLOSED, 9}, {1, CUT, CLOSED, 99}, {1, BAD | TURN, OPEN, 0}}},
    {"a good answer never opens it, even when it makes them enough",
     &by_share,
     {{0, BAD, CLOSED, 9}, {1, GOOD, CLOSED, 0}, {1, BAD | TURN, OPEN, 0}}},
    {"failures of ten seconds ago are forgotten",
     &by_share,
     {{0, BAD, CLOSED, 9}, {10000, BAD, CLOSED, 9}, {1, BAD | TURN, OPEN, 0}}},
    {"failures from before it closed don't count again, not even of the same second",
     &brief,
     {{0, BAD, CLOSED, 3},
      {0, BAD | TURN, OPEN, 0},
      {11, PROBES, HALF, 0},
      {1, PROBE_GOOD | TURN, CLOSED, 0},
      {1, BAD, CLOSED, 50},
      {1000, BAD, CLOSED, 3},
      {1, BAD | TURN, OPEN, 0}}},
    {"failures in a row count at once after it closed",
     &by_number,
     {{0, BAD, CLOSED, 2},
      {0, BAD | TURN, OPEN, 0},
      {5500, PROBES, HALF, 0},
      {1, PROBE_GOOD, HALF, 0},
      {1, PROBES, HALF, 0},
      {1, PROBE_GOOD | TURN, CLOSED, 0},
      {0, BAD, CLOSED, 2},
      {0, BAD | TURN, OPEN, 0}}},
    {"without limits nothing opens it", &off, {{0, BAD, CLOSED, 5000}, {0, PASSES, CLOSED, 9}}},
};

static void take_step(struct guarded *guarded, const struct step *step, uint64_t now_us)
{
    static const enum breaker_report reports[] = {REPORT_GOOD, REPORT_BAD, REPORT_NOTHING};
    int event = step->event & ~TURN;
    switch (event) {
    case PASSES:
    case PROBES:
    case REFUSED:
        assert_int_equal(breaker_ask(&guarded->breaker, now_us), event == PASSES ? BREAKER_PASS
                                                                 : event == PROBES
                                                                     ? BREAKER_PROBE
                                                                     : BREAKER_REFUSE);
        break;
    default:
        assert_int_equal(report(guarded, event >= PROBE_GOOD, reports[(event - GOOD) % 3], now_us),
                         (step->event & TURN) != 0);
    }
    uint64_t retry_in_us;
    assert_int_equal(breaker_look(&guarded->breaker, now_us, &retry_in_us), step->then);
    if (step->then != BREAKER_OPEN)
        assert_int_equal(retry_in_us, 0);
}

/* Each story right after the boot, when the clock stands at 0, and after years. */
static void test_stories(void **state)
{
    (void)state;
    static const uint64_t begins[] = {0, 1, 999999, UINT64_C(123456789012345)};
    for (size_t i = 0; i < COUNT(stories); i++)
        for (size_t j = 0; j < COUNT(begins); j++) {
            struct guarded guarded = {0};
            uint64_t now_us = begins[j];
            uint32_t opened = 0, closed = 0;
            print_message("%s\n", j == 0 ? stories[i].what : "  ... later");
            breaker_init(&guarded.breaker, stories[i].limits);
            for (const struct step *step = stories[i].steps; step->event != END; step++) {
                now_us += step->ms * MS;
                for (unsigned n = 0; n < (step->times != 0 ? step->times : 1); n++)
                    take_step(&guarded, step, now_us);
                opened += step->event & TURN && step->then == BREAKER_OPEN;
                closed += step->event & TURN && step->then == BREAKER_CLOSED;
            }
            uint32_t half_opened = atomic_load(&guarded.breaker.half_opened);
            assert_int_equal(atomic_load(&guarded.breaker.opened), opened);
            assert_int_equal(atomic_load(&guarded.breaker.closed), closed);
            /* what is closed, or open once more, was half open before */
            assert_true(half_opened + 1 >= opened && half_opened >= closed);
            assert_true(half_opened <= opened);
        }
}

/* -- the end of open_for ----------------------------------------------------------------------- */

static void test_breakers_that_open_together_do_not_probe_together(void **state)
{
    (void)state;
    enum { OPENINGS = 1000, PARTS = 10 };
    static const struct config_breaker limits = {.consecutive = 1, .open_for_ms = 2000};
    unsigned parts[PARTS] = {0};
    for (unsigned i = 0; i < OPENINGS; i++) {
        struct guarded guarded = {0};
        uint64_t now_us = 77 * MS * MS + i * 3, retry_in_us, later_us;
        breaker_init(&guarded.breaker, &limits);
        assert_true(report(&guarded, false, REPORT_BAD, now_us));
        breaker_look(&guarded.breaker, now_us, &retry_in_us);
        assert_in_range(retry_in_us, 2000 * MS, 2200 * MS - 1);
        parts[(retry_in_us - 2000 * MS) * PARTS / (200 * MS)]++;

        /* However often it is asked, it is the same end. */
        uint64_t end_us = now_us + retry_in_us;
        breaker_look(&guarded.breaker, now_us + 1000 * MS, &later_us);
        assert_int_equal(later_us, retry_in_us - 1000 * MS);
        assert_int_equal(breaker_ask(&guarded.breaker, end_us - 1), BREAKER_REFUSE);
        assert_int_equal(breaker_look(&guarded.breaker, end_us, &later_us), BREAKER_OPEN);
        assert_int_equal(later_us, 0);
        assert_int_equal(breaker_ask(&guarded.breaker, end_us), BREAKER_PROBE);
    }
    for (size_t i = 0; i < PARTS; i++)
        assert_in_range(parts[i], OPENINGS / PARTS / 2, OPENINGS / PARTS * 2);
}

static void test_a_day_is_a_day(void **state)
{
    (void)state;
    static const struct config_breaker limits = {.consecutive = 1, .open_for_ms = 86400000};
    struct guarded guarded = {0};
    uint64_t retry_in_us;
    breaker_init(&guarded.breaker, &limits);
    assert_true(report(&guarded, false, REPORT_BAD, 4));
    breaker_look(&guarded.breaker, 4, &retry_in_us);
    assert_in_range(retry_in_us, 86400000 * MS, 86400000 * MS / 10 * 11);
}

/* A loop's clock may be behind that of the loop which opened the breaker. */
static void test_a_clock_that_is_behind_is_refused(void **state)
{
    (void)state;
    static const struct config_breaker limits = {.consecutive = 1, .open_for_ms = 1};
    struct guarded guarded = {0};
    breaker_init(&guarded.breaker, &limits);
    assert_true(report(&guarded, false, REPORT_BAD, 500 * MS));
    assert_int_equal(breaker_ask(&guarded.breaker, 499 * MS), BREAKER_REFUSE);
}

/* -- threads ----------------------------------------------------------------------------------- */

enum { ASKS = 20000 };

/* Everything fails but some of the probes; the clock moves on with each question. */
struct together {
    struct guarded guarded;
    _Atomic uint64_t clock_us;
    _Atomic uint32_t probing, too_many, probes, turns, passes;
};

static void probe(struct together *together, uint32_t number, uint64_t now_us)
{
    static const enum breaker_report fates[] = {REPORT_GOOD, REPORT_NOTHING, REPORT_GOOD,
                                                REPORT_BAD, REPORT_GOOD};
    if (atomic_fetch_add(&together->probing, 1) != 0)
        atomic_fetch_add(&together->too_many, 1);
    atomic_fetch_add(&together->probes, 1);
    atomic_fetch_sub(&together->probing, 1);
    if (report(&together->guarded, true, fates[number % COUNT(fates)], now_us))
        atomic_fetch_add(&together->turns, 1);
}

static void *ask_often(void *arg)
{
    struct together *together = arg;
    for (uint32_t i = 0; i < ASKS; i++) {
        uint64_t now_us = atomic_fetch_add(&together->clock_us, 20);
        switch (breaker_ask(&together->guarded.breaker, now_us)) {
        case BREAKER_PASS:
            atomic_fetch_add(&together->passes, 1);
            if (report(&together->guarded, false, REPORT_BAD, now_us))
                atomic_fetch_add(&together->turns, 1);
            break;
        case BREAKER_PROBE:
            probe(together, i, now_us);
            break;
        case BREAKER_REFUSE:
            break;
        }
    }
    return NULL;
}

static void test_one_probe_at_a_time_whoever_asks(void **state)
{
    (void)state;
    static const struct config_breaker limits = {.consecutive = 5, .open_for_ms = 1, .probes = 2};
    static struct together together;
    breaker_init(&together.guarded.breaker, &limits);
    run_threads(ask_often, &together);

    uint32_t opened = atomic_load(&together.guarded.breaker.opened);
    uint32_t closed = atomic_load(&together.turns) - opened;
    assert_int_equal(atomic_load(&together.too_many), 0);
    assert_in_range(opened, 10, THREADS * ASKS);
    assert_in_range(closed, 1, opened);
    assert_in_range(atomic_load(&together.probes), 2 * closed, THREADS * ASKS);
    /* Each closing lets five fail, and those that were asking in that moment. */
    assert_in_range(atomic_load(&together.passes), 5 * closed, (5 + THREADS) * (closed + 1));
}

/* All ask in the moment in which open_for is over; the probe isn't back yet. Then all fail at once
 * in one that is closed. */
struct moments {
    _Atomic uint32_t arrived;
    struct guarded open[ROUNDS], closed[ROUNDS];
    _Atomic uint8_t probes[ROUNDS], openings[ROUNDS];
};

static void *ask_together(void *arg)
{
    struct moments *moments = arg;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        meet(&moments->arrived, 2 * i + 1);
        if (breaker_ask(&moments->open[i].breaker, 1000 * MS) == BREAKER_PROBE)
            atomic_fetch_add(&moments->probes[i], 1);
        meet(&moments->arrived, 2 * i + 2);
        if (report(&moments->closed[i], false, REPORT_BAD, 1000 * MS))
            atomic_fetch_add(&moments->openings[i], 1);
    }
    return NULL;
}

static void test_of_those_that_come_together_one_probes_and_one_opens(void **state)
{
    (void)state;
    static const struct config_breaker limits = {.consecutive = 1, .open_for_ms = 1, .probes = 1};
    static struct moments moments;
    for (size_t i = 0; i < ROUNDS; i++) {
        breaker_init(&moments.open[i].breaker, &limits);
        breaker_init(&moments.closed[i].breaker, &limits);
        assert_true(report(&moments.open[i], false, REPORT_BAD, 0));
    }
    run_threads(ask_together, &moments);
    for (size_t i = 0; i < ROUNDS; i++) {
        assert_int_equal(atomic_load(&moments.probes[i]), 1);
        assert_int_equal(atomic_load(&moments.openings[i]), 1);
        assert_int_equal(atomic_load(&moments.closed[i].breaker.opened), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_breakers_that_open_together_do_not_probe_together),
        cmocka_unit_test(test_a_day_is_a_day),
        cmocka_unit_test(test_a_clock_that_is_behind_is_refused),
        cmocka_unit_test(test_one_probe_at_a_time_whoever_asks),
        cmocka_unit_test(test_of_those_that_come_together_one_probes_and_one_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
