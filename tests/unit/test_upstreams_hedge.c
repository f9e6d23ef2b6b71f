/* A second attempt beside one that lets itself wait: when it is made, whose answer it becomes, and
 * that the other is gone then. */
#include "tests/unit/upstreams_fixture.h"

static struct origin origin;

static int start_origin(void **state)
{
    (void)state;
    origin_start(&origin, NULL);
    return 0;
}

static int stop_origin(void **state)
{
    (void)state;
    origin_stop(&origin);
    return 0;
}

static struct str usual[] = {STR("connect"), STR("reset"), STR("503")};

static void begin(struct fixture *f, const char *after)
{
    fixture_init(f);
    set_url(f, 0, "http://127.0.0.1:%d", origin.port);
    f->configured[0].hedge =
        (struct config_hedge){.after = str_from(after), .budget = 10, .budget_floor = 1};
    f->configured[0].retry = (struct config_retry){
        .on = {usual, COUNT(usual)}, .backoff_ms = 1, .max_backoff_ms = 1, .budget_floor = 3};
}

static struct upstream *upstream_a(struct fixture *f)
{
    return upstream_find(f->ups, STR("a"));
}

static uint32_t counted(struct fixture *f, enum counted what)
{
    uint32_t sums[COUNTED];
    window_sum(&upstream_a(f)->window, 0, clock_us(), sums);
    return sums[what];
}

static struct up_result run(struct fixture *f, struct ask *ask, const char *const *script)
{
    origin_script(&origin, script);
    return ask_for(f, ask, 0, "/script");
}

static void test_the_first_good_answer_wins(void **state)
{
    (void)state;
    static const struct {
        const char *script[4];
        unsigned tries; /* retry.attempts */
        enum up_end end;
        int status;
        unsigned attempts;
        bool hedged;
    } cases[] = {
        {{"/hello"}, 1, UP_ANSWERED, 200, 1, false},
        {{"/after-0/503"}, 1, UP_ANSWERED, 503, 1, false}, /* failed before the delay was over */
        {{"/late", "/hello"}, 1, UP_ANSWERED, 200, 2, true},
        {{"/late", "/after-0/404"}, 1, UP_ANSWERED, 404, 2, true}, /* an answer like any */
        {{"/after-150/200", "/late"}, 1, UP_ANSWERED, 200, 2, false},
        {{"/after-150/200", "/cut"}, 1, UP_ANSWERED, 200, 2, false},
        {{"/after-150/200", "/after-0/503"}, 1, UP_ANSWERED, 200, 2, false},
        {{"/after-100/503", "/after-150/200"}, 1, UP_ANSWERED, 200, 2, true}, /* waits for it */
        {{"/after-100/503", "/cut"}, 1, UP_ANSWERED, 503, 2, false}, /* the better outcome */
        {{"/after-150/500", "/after-0/503"}, 1, UP_ANSWERED, 500, 2, false}, /* the later one */
        {{"/late", "/after-0/503"}, 1, UP_ANSWERED, 503, 2, true},
        {{"/late", "/late"}, 1, UP_TIMEOUT, 0, 2, true},
        {{"/after-100/503", "/cut", "/hello"}, 2, UP_ANSWERED, 200, 3, false}, /* then a retry */
        {{"/after-0/503", "/late"}, 2, UP_ANSWERED, 503, 2, false}, /* which isn't hedged */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct ask ask = {0};
        begin(&f, "40ms");
        f.configured[0].retry.attempts = cases[i].tries;
        f.configured[0].timeout_ms = 400;
        fixture_start(&f, 1);
        struct up_result result = run(&f, &ask, cases[i].script);
        if (result.end != cases[i].end || result.status != cases[i].status ||
            result.attempts != cases[i].attempts || result.hedged != cases[i].hedged)
            fail_msg("case %zu: end %d, status %d, %u attempts, hedged %d, %s", i, result.end,
                     result.status, result.attempts, result.hedged, result.detail);
        assert_int_equal(atomic_load(&origin.asked), cases[i].attempts);
        assert_int_equal(upstream_stats(upstream_a(&f)).inflight, 0); /* the loser's is back */
        assert_int_equal(counted(&f, COUNT_CALLS), 1);
        assert_true(cases[i].status != 404 || body_is(&ask, "404"));
        assert_true(cases[i].status != 503 || body_is(&ask, "503"));
        ask_release(&ask);
        fixture_stop(&f);
    }
}

static void test_a_loser_is_cancelled_and_counts_for_nothing(void **state)
{
    (void)state;
    static const char *const script[] = {"/late", "/hello", NULL};
    struct fixture f;
    struct ask ask = {0};
    begin(&f, "30ms");
    fixture_start(&f, 1);
    struct up_result result = run(&f, &ask, script);
    assert_true(result.hedged);
    assert_in_range(result.times.total, 30 * 1000, 1500 * 1000);
    assert_int_equal(counted(&f, COUNT_ANSWERS), 1);
    assert_int_equal(counted(&f, COUNT_FAILURES), 0);
    assert_int_equal(counted(&f, COUNT_HEDGES), 1);
    assert_int_equal(counted(&f, COUNT_HEDGES_WON), 1);
    for (int i = 0; i < 200 && atomic_load(&origin.open) > 1; i++)
        usleep(5 * 1000);
    assert_int_equal(atomic_load(&origin.open), 1); /* the winner's is kept, the other closed */
    ask_release(&ask);
    fixture_stop(&f);
}

static void test_hedges_end_with_their_budget(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "5ms");
    f.configured[0].hedge.budget = 25;
    f.configured[0].hedge.budget_floor = 0;
    fixture_start(&f, 1);
    unsigned attempts = 0;
    static const char *const script[] = {NULL};
    origin_script(&origin, script);
    for (int i = 0; i < 12; i++) {
        struct ask ask = {0};
        attempts += ask_for(&f, &ask, 0, "/after-40/200").attempts;
        ask_release(&ask);
    }
    assert_int_equal(attempts, 12 + 12 / 4);
    assert_int_equal(counted(&f, COUNT_HEDGES), 12 / 4);
    assert_int_equal(counted(&f, COUNT_HEDGES_DENIED), 12 - 12 / 4);
    fixture_stop(&f);
}

static void test_a_hedge_is_made_only_where_it_can_help(void **state)
{
    (void)state;
    static const char *const script[] = {"/after-100/200", "/late", NULL};
    static const struct {
        struct up_request request;
        uint32_t max_inflight;
        uint32_t usual_us; /* answers of lately */
        uint64_t within_ms;
        unsigned attempts;
    } cases[] = {
        {{.method = NULL}, 2, 0, 0, 2},
        {{.method = NULL}, 1, 0, 0, 1}, /* no slot is free: it wouldn't queue for one */
        {{.method = "POST", .body = STR("{}")}, 2, 0, 0, 1},
        {{.method = "POST", .body = STR("{}"), .repeatable = true}, 2, 0, 0, 2},
        {{.method = NULL}, 2, 1000 * 1000, 800, 1}, /* it couldn't finish */
        {{.method = NULL}, 2, 1000, 800, 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct ask ask = {0};
        struct up_request request = cases[i].request;
        begin(&f, "20ms");
        f.configured[0].max_inflight = cases[i].max_inflight;
        fixture_start(&f, 1);
        for (int n = 0; n < 30 && cases[i].usual_us != 0; n++)
            latency_add(&f.client->lanes[0].latency, cases[i].usual_us, clock_us());
        origin_script(&origin, script);
        request.upstream = upstream_a(&f);
        request.target = STR("/script");
        if (cases[i].within_ms != 0)
            request.deadline_ms = loop_now_ms(f.loop) + cases[i].within_ms;
        ask_request(&f, &ask, &request);
        ask_wait(&f, &ask);
        assert_int_equal(ask.result.status, 200);
        if (ask.result.attempts != cases[i].attempts)
            fail_msg("case %zu: %u attempts", i, ask.result.attempts);
        ask_release(&ask);
        fixture_stop(&f);
    }
}

static void test_p95_is_known_or_there_is_no_hedge(void **state)
{
    (void)state;
    static const struct {
        unsigned answers;
        uint32_t us;
        bool hedged;
    } cases[] = {{0, 0, false}, {10, 5000, false}, {30, 5000, true}, {30, 10 * 1000 * 1000, false}};
    static const char *const script[] = {"/after-120/200", "/hello", NULL};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct ask ask = {0};
        begin(&f, "p95");
        fixture_start(&f, 1);
        for (unsigned n = 0; n < cases[i].answers; n++)
            latency_add(&f.client->lanes[0].latency, cases[i].us, clock_us());
        struct up_result result = run(&f, &ask, script);
        assert_int_equal(result.hedged, cases[i].hedged);
        ask_release(&ask);
        fixture_stop(&f);
    }
}

/* Of 100 answers 10 take long, and hedging cuts them off. Had only the short ones been seen, p95
 * would be theirs. */
static void test_p95_does_not_fall_by_hedging(void **state)
{
    (void)state;
    static const char *const script[] = {"/after-200/200", "/hello", NULL};
    struct fixture f;
    begin(&f, "30ms");
    f.configured[0].hedge.budget = 100;
    fixture_start(&f, 1);
    struct latency *latency = &f.client->lanes[0].latency;
    for (int i = 0; i < 36; i++)
        latency_add(latency, 1000, clock_us());
    for (int i = 0; i < 4; i++) {
        struct ask ask = {0};
        assert_true(run(&f, &ask, script).hedged);
        ask_release(&ask);
    }
    uint32_t p95_us;
    const struct latency *all = latency;
    latency_percentiles(&all, 1, clock_us(), &(uint8_t){95}, 1, &p95_us);
    assert_in_range(p95_us, 27 * 1000, 500 * 1000);
    fixture_stop(&f);
}

static void test_two_in_flight_can_be_dropped(void **state)
{
    (void)state;
    for (int by_client = 0; by_client < 2; by_client++) {
        static const char *const script[] = {"/late", "/late", NULL};
        struct fixture f;
        struct ask ask = {0};
        begin(&f, "20ms");
        fixture_start(&f, 1);
        origin_script(&origin, script);
        ask_start(&f, &ask, 0, "/script");
        uint64_t until_us = clock_us() + 5 * 1000 * 1000;
        while (atomic_load(&origin.asked) != 2 && clock_us() < until_us)
            loop_turn(f.loop, 10);
        assert_int_equal(upstream_stats(upstream_a(&f)).inflight, 2);
        if (!by_client) {
            up_call_cancel(&ask.call);
            assert_int_equal(upstream_stats(upstream_a(&f)).inflight, 0);
        }
        fixture_stop(&f);
        assert_false(ask.done);
    }
}

/* Many at once, all of them hedged, ended in every order, and their memory used again. */
static void test_many_hedged_calls_end_once_each(void **state)
{
    (void)state;
    enum { CALLS = 40, ROUNDS = 3 };
    static const char *const script[] = {NULL};
    struct fixture f;
    static struct ask asks[CALLS];
    begin(&f, "5ms");
    f.configured[0].hedge.budget_floor = 1000;
    f.configured[0].max_inflight = 50; /* some hedges find no slot */
    fixture_start(&f, 1);
    origin_script(&origin, script);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned left = CALLS, attempts = 0;
        for (size_t i = 0; i < CALLS; i++) {
            asks[i] = (struct ask){.countdown = &left};
            ask_start(&f, &asks[i], 0, i % 4 == 3 ? "/after-20/503" : "/after-20/200");
        }
        uint64_t until_us = clock_us() + 10 * 1000 * 1000;
        while (left != 0 && clock_us() < until_us)
            loop_turn(f.loop, 100);
        assert_int_equal(left, 0);
        for (size_t i = 0; i < CALLS; i++) {
            assert_int_equal(asks[i].result.status, i % 4 == 3 ? 503 : 200);
            attempts += asks[i].result.attempts;
            ask_release(&asks[i]);
        }
        assert_in_range(attempts, CALLS + 1, CALLS * 2);
        assert_int_equal(upstream_stats(upstream_a(&f)).inflight, 0);
    }
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_good_answer_wins),
        cmocka_unit_test(test_a_loser_is_cancelled_and_counts_for_nothing),
        cmocka_unit_test(test_hedges_end_with_their_budget),
        cmocka_unit_test(test_a_hedge_is_made_only_where_it_can_help),
        cmocka_unit_test(test_p95_is_known_or_there_is_no_hedge),
        cmocka_unit_test(test_p95_does_not_fall_by_hedging),
        cmocka_unit_test(test_two_in_flight_can_be_dropped),
        cmocka_unit_test(test_many_hedged_calls_end_once_each),
    };
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
