/* An upstream that fails is left alone and tried again with single calls. The states are tested in
 * test_policy_breaker.c; here it is what counts as a failure, and what a call comes to. */
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

static void begin(struct fixture *f, uint32_t consecutive, uint64_t open_for_ms)
{
    fixture_init(f);
    set_url(f, 0, "http://127.0.0.1:%d", origin.port);
    f->configured[0].breaker = (struct config_breaker){
        .min_calls = 20, .consecutive = consecutive, .open_for_ms = open_for_ms, .probes = 2};
}

static struct upstream *upstream_a(struct fixture *f)
{
    return upstream_find(f->ups, STR("a"));
}

static enum breaker_state breaker_of(struct fixture *f)
{
    uint64_t retry_in_us;
    return breaker_look(&upstream_a(f)->breaker, clock_us(), &retry_in_us);
}

static struct up_result run(struct fixture *f, const char *target)
{
    struct ask ask = {0};
    struct up_result result = ask_for(f, &ask, 0, target);
    ask_release(&ask);
    return result;
}

static void test_an_open_breaker_asks_nobody(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 3, 5000);
    fixture_start(&f, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(breaker_of(&f), BREAKER_CLOSED);
        assert_int_equal(run(&f, "/after-0/503").status, 503);
    }
    assert_int_equal(breaker_of(&f), BREAKER_OPEN);
    unsigned asked = atomic_load(&origin.asked);
    struct up_result result = run(&f, "/hello");
    assert_int_equal(result.end, UP_OPEN);
    assert_string_equal(result.error, "destination_unavailable");
    assert_int_equal(result.attempts, 0);
    assert_int_equal(result.status, 0);
    assert_int_equal(result.body.n, 0);
    assert_in_range(result.retry_in_ms, 3000, 5500);
    assert_int_equal(atomic_load(&origin.asked), asked);
    fixture_stop(&f);
}

static void test_what_counts_as_a_failure(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        bool opens;
    } cases[] = {
        {"/after-0/500", true},    {"/after-0/503", true},  {"/cut", true},
        {"/reset-mid-body", true}, {"/nothing", true},      {"/garbage", true},
        {"/late", true}, /* had all of its timeout */
        {"/hello", false},         {"/after-0/404", false}, {"/after-0/429", false},
        {"/not-gzip", false},      {"/endless", false}, /* larger than we want it */
        {"not a target", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        begin(&f, 1, 5000);
        f.configured[0].timeout_ms = 150;
        f.configured[0].max_body = 100 * 1000;
        fixture_start(&f, 1);
        run(&f, cases[i].target);
        if ((breaker_of(&f) == BREAKER_OPEN) != cases[i].opens)
            fail_msg("%s: state %d", cases[i].target, breaker_of(&f));
        fixture_stop(&f);
    }
}

static void test_who_cannot_be_reached_or_was_hurried(void **state)
{
    (void)state;
    struct fixture f;
    struct origin closed;
    origin_start(&closed, NULL);
    origin_stop(&closed);
    begin(&f, 1, 5000);
    f.configured[1] = f.configured[2] = f.configured[0];
    f.configured[1].name = STR("b");
    f.configured[2].name = STR("c");
    set_url(&f, 0, "http://127.0.0.1:%d", closed.port);
    set_url(&f, 1, "http://nobody.invalid:%d", origin.port);
    set_url(&f, 2, "http://127.0.0.1:%d", origin.port);
    fixture_start(&f, 3);
    static const enum breaker_state states[] = {BREAKER_OPEN, BREAKER_OPEN, BREAKER_CLOSED};
    for (size_t i = 0; i < COUNT(states); i++) {
        struct ask ask = {0};
        struct up_request request = {.upstream = upstream_find(f.ups, f.configured[i].name),
                                     .target = STR("/late"),
                                     .deadline_ms = i == 2 ? loop_now_ms(f.loop) + 50 : 0};
        ask_request(&f, &ask, &request);
        ask_wait(&f, &ask);
        assert_int_not_equal(ask.result.end, UP_ANSWERED);
        uint64_t unused;
        assert_int_equal(breaker_look(&request.upstream->breaker, clock_us(), &unused), states[i]);
        ask_release(&ask);
    }
    fixture_stop(&f);
}

struct patience {
    struct timer timer;
    struct ask *ask;
};

static void lose_patience(struct timer *timer)
{
    up_call_cancel(&CONTAINER_OF(timer, struct patience, timer)->ask->call);
}

/* A page that has no time left drops its calls, maybe before they notice. */
static void test_who_is_dropped_at_the_deadline_had_its_time(void **state)
{
    (void)state;
    static const struct {
        uint64_t timeout_ms, deadline_in_ms;
        enum breaker_state state;
    } cases[] = {
        {100, 60, BREAKER_OPEN},
        {1000, 60, BREAKER_CLOSED},  /* was hurried */
        {100, 1000, BREAKER_CLOSED}, /* dropped for another reason */
        {100, 0, BREAKER_CLOSED},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct ask ask = {0};
        begin(&f, 1, 5000);
        fixture_start(&f, 1);
        struct patience patience = {.ask = &ask};
        timer_init(&patience.timer, lose_patience);
        timer_start(f.loop, &patience.timer, 60); /* first, so that it comes first */
        uint64_t deadline_ms = loop_now_ms(f.loop) + cases[i].deadline_in_ms;
        struct up_request request = {.upstream = upstream_a(&f),
                                     .target = STR("/late"),
                                     .timeout_ms = cases[i].timeout_ms,
                                     .deadline_ms = cases[i].deadline_in_ms ? deadline_ms : 0};
        ask_request(&f, &ask, &request);
        while (timer_running(&patience.timer))
            loop_turn(f.loop, 100);
        assert_null(ask.call);
        assert_false(ask.done);
        assert_int_equal(breaker_of(&f), cases[i].state);
        fixture_stop(&f);
    }
}

static void test_a_share_of_failures_opens_it(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 0, 5000);
    f.configured[0].breaker.error_share = 50;
    f.configured[0].breaker.min_calls = 8;
    fixture_start(&f, 1);
    for (int i = 0; i < 7; i++) {
        run(&f, i % 2 ? "/after-0/503" : "/hello");
        assert_int_equal(breaker_of(&f), BREAKER_CLOSED);
    }
    run(&f, "/after-0/503");
    assert_int_equal(breaker_of(&f), BREAKER_OPEN);
    fixture_stop(&f);
}

static void test_one_probe_at_a_time_closes_it(void **state)
{
    (void)state;
    struct fixture f;
    struct ask asks[5] = {0};
    begin(&f, 1, 40);
    fixture_start(&f, 1);
    run(&f, "/after-0/503");
    assert_int_equal(run(&f, "/hello").end, UP_OPEN);
    wait_until_probed(&f);

    for (size_t i = 0; i < COUNT(asks); i++)
        ask_start(&f, &asks[i], 0, "/after-20/200");
    for (size_t i = 0; i < COUNT(asks); i++)
        ask_wait(&f, &asks[i]);
    for (size_t i = 0; i < COUNT(asks); i++) {
        assert_int_equal(asks[i].result.end, i == 0 ? UP_ANSWERED : UP_OPEN);
        ask_release(&asks[i]);
    }
    assert_int_equal(breaker_of(&f), BREAKER_HALF_OPEN);
    assert_int_equal(run(&f, "/hello").status, 200);
    assert_int_equal(breaker_of(&f), BREAKER_CLOSED);
    fixture_stop(&f);
}

static void test_a_bad_probe_opens_it_again(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1, 40);
    fixture_start(&f, 1);
    run(&f, "/after-0/503");
    wait_until_probed(&f);
    assert_int_equal(run(&f, "/cut").end, UP_FAILED);
    assert_int_equal(breaker_of(&f), BREAKER_OPEN);
    assert_int_equal(run(&f, "/hello").end, UP_OPEN);
    assert_int_equal(atomic_load(&upstream_a(&f)->breaker.opened), 2);
    fixture_stop(&f);
}

/* However a probe ends without a verdict, the next call is one again. */
static void test_a_probe_that_says_nothing_makes_room_for_another(void **state)
{
    (void)state;
    enum fate { CANCELLED, CANCELLED_IN_QUEUE, SHED, CUT, TOO_LARGE, FATES };
    for (int fate = 0; fate < FATES; fate++) {
        struct fixture f;
        struct ask holder = {0}, probe = {0};
        bool queues = fate == SHED || fate == CANCELLED_IN_QUEUE;
        begin(&f, 1, 40);
        f.configured[0].max_inflight = queues ? 2 : 10;
        f.configured[0].queue_timeout_ms = 30;
        f.configured[0].max_body = 100 * 1000;
        fixture_start(&f, 1);
        struct up_request late = {.upstream = upstream_a(&f), .target = STR("/late")};
        struct up_request large = {.upstream = upstream_a(&f), .target = STR("/200k")};
        if (queues)
            ask_request(&f, &holder, &late);
        loop_turn(f.loop, 0);
        run(&f, "/after-0/503");
        f.ups->all[0].slots.max_inflight = queues ? 1 : 10;
        wait_until_probed(&f);

        if (fate == CUT)
            late.deadline_ms = loop_now_ms(f.loop) + 30;
        ask_request(&f, &probe, fate == TOO_LARGE ? &large : &late);
        loop_turn(f.loop, 0);
        assert_int_equal(breaker_of(&f), BREAKER_HALF_OPEN);
        if (fate == CANCELLED || fate == CANCELLED_IN_QUEUE) {
            up_call_cancel(&probe.call);
        } else {
            ask_wait(&f, &probe);
            assert_int_equal(probe.result.end, fate == SHED  ? UP_SHED
                                               : fate == CUT ? UP_TIMEOUT
                                                             : UP_FAILED);
            ask_release(&probe);
        }
        if (queues)
            up_call_cancel(&holder.call);
        assert_int_equal(breaker_of(&f), BREAKER_HALF_OPEN);
        assert_int_equal(run(&f, "/hello").status, 200);
        assert_int_equal(run(&f, "/hello").status, 200);
        assert_int_equal(breaker_of(&f), BREAKER_CLOSED);
        fixture_stop(&f);
    }
}

static void test_what_is_open_is_neither_tried_again_nor_hedged(void **state)
{
    (void)state;
    static struct str on[] = {STR("503")};
    struct fixture f;
    begin(&f, 2, 5000);
    f.configured[0].retry = (struct config_retry){
        .attempts = 5, .on = {on, 1}, .backoff_ms = 1, .max_backoff_ms = 1, .budget_floor = 10};
    fixture_start(&f, 1);
    struct up_result result = run(&f, "/after-0/503");
    assert_int_equal(result.status, 503); /* the answer, not that it is open now */
    assert_int_equal(result.attempts, 2);
    uint32_t sums[COUNTED];
    window_sum(&upstream_a(&f)->window, 0, clock_us(), sums);
    assert_int_equal(sums[COUNT_RETRIES], 1); /* it didn't even wait for the next one */
    assert_int_equal(run(&f, "/hello").end, UP_OPEN);
    fixture_stop(&f);

    struct ask asks[2] = {0};
    begin(&f, 1, 5000);
    f.configured[0].hedge = (struct config_hedge){.after = STR("80ms"), .budget_floor = 10};
    fixture_start(&f, 1);
    ask_start(&f, &asks[0], 0, "/after-200/200");
    ask_start(&f, &asks[1], 0, "/after-0/503");
    for (size_t i = 0; i < 2; i++) {
        ask_wait(&f, &asks[i]);
        assert_int_equal(asks[i].result.attempts, 1);
        ask_release(&asks[i]);
    }
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_open_breaker_asks_nobody),
        cmocka_unit_test(test_what_counts_as_a_failure),
        cmocka_unit_test(test_who_cannot_be_reached_or_was_hurried),
        cmocka_unit_test(test_who_is_dropped_at_the_deadline_had_its_time),
        cmocka_unit_test(test_a_share_of_failures_opens_it),
        cmocka_unit_test(test_one_probe_at_a_time_closes_it),
        cmocka_unit_test(test_a_bad_probe_opens_it_again),
        cmocka_unit_test(test_a_probe_that_says_nothing_makes_room_for_another),
        cmocka_unit_test(test_what_is_open_is_neither_tried_again_nor_hedged),
    };
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
