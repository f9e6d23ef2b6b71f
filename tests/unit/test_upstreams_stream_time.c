/* Streamed calls and time: which wait counts and which doesn't, who is asked again, who waits for a
 * slot. */
#include "tests/unit/upstreams_streams.h"

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

static void begin_with(struct fixture *f, void (*configure)(struct config_upstream *up))
{
    fixture_init(f);
    set_url(f, 0, "http://127.0.0.1:%d", origin.port);
    if (configure != NULL)
        configure(&f->configured[0]);
    fixture_start(f, 1);
}

static void expect_timeout(struct streamed *s, const char *error, unsigned heads)
{
    assert_int_equal(s->ask.result.end, UP_TIMEOUT);
    assert_string_equal(s->ask.result.error, error);
    assert_int_equal(s->heads, heads);
    assert_int_equal(upstream_stats(s->request.upstream).inflight, 0);
}

/* -- the upstream's time -- */

static void test_an_upstream_has_so_long_for_its_head(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target;
        uint64_t gives;
        const char *error;
    } cases[] = {
        {NULL, "/late", UINT64_MAX, "http_response_timeout"},
        {"PUT", "/late-body", 0, "http_response_timeout"},
        {"PUT", "/late-body", 1000, "http_response_timeout"},
        {"PUT", "/late-body", 1 << 20, "http_response_timeout"},
    };
    struct fixture f;
    begin_with(&f, NULL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct streamed s;
        uint64_t begun_us = clock_us();
        streamed_init(&f, &s, cases[i].method, cases[i].target, cases[i].gives);
        s.request.timeout_ms = 100;
        s.stream.idle_ms = 60000;
        streamed_run(&s);
        expect_timeout(&s, cases[i].error, 0);
        assert_in_range(clock_us() - begun_us, 90 * 1000, 5000 * 1000);
        streamed_release(&s);
    }
    fixture_stop(&f);
}

static void test_an_upstream_may_not_fall_silent(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
    };
    struct fixture f;
    begin_with(&f, NULL);
    atomic_store(&origin.behind, NULL);
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct streamed s;
        atomic_store(&origin.raw, answers[i]);
        streamed_init(&f, &s, NULL, "/raw-kept", UINT64_MAX);
        s.stream.idle_ms = 100;
        streamed_run(&s);
        expect_timeout(&s, "http_response_timeout", 1);
        assert_int_equal(s.ask.result.status, 200);
        streamed_release(&s);
    }
    fixture_stop(&f);
}

static void test_a_slow_answer_is_no_silent_one(void **state)
{
    (void)state;
    struct fixture f;
    struct streamed s;
    begin_with(&f, NULL);
    streamed_init(&f, &s, NULL, "/drip", UINT64_MAX); /* a byte each 10 ms */
    s.request.timeout_ms = 500;
    s.stream.idle_ms = 500;
    streamed_start(&s);
    while (!s.ask.done && s.taken < 120)
        loop_turn(f.loop, 100);
    assert_false(s.ask.done);
    up_call_cancel(&s.ask.call);
    fixture_stop(&f);
}

static void test_an_upstream_has_to_take_the_body(void **state)
{
    (void)state;
    struct fixture f;
    begin_with(&f, NULL);
    atomic_store(&origin.shut, true);
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        struct streamed s;
        streamed_init(&f, &s, "PUT", "/gated-body", 64 << 20); /* more than sockets take */
        if (chunked)
            s.stream.length = UINT64_MAX;
        s.request.timeout_ms = 60000;
        s.stream.idle_ms = 100;
        streamed_run(&s);
        expect_timeout(&s, "connection_write_timeout", 0);
        streamed_release(&s);
    }
    atomic_store(&origin.shut, false);
    fixture_stop(&f);
}

/* As long as bytes move, it isn't the timeout that counts. */
static void test_a_large_body_has_the_time_that_it_needs(void **state)
{
    (void)state;
    struct fixture f;
    struct streamed s;
    begin_with(&f, NULL);
    streamed_init(&f, &s, "PUT", "/slow-body", 12 << 20); /* 8 KB each millisecond and a little */
    s.request.timeout_ms = 500;
    s.stream.idle_ms = 1000;
    uint64_t begun_us = clock_us();
    streamed_run(&s);
    expect_answered(&s, 200);
    assert_true(clock_us() - begun_us > 1000 * 1000);
    streamed_release(&s);
    fixture_stop(&f);
}

static void test_the_deadline_is_of_the_whole_call(void **state)
{
    (void)state;
    struct fixture f;
    begin_with(&f, NULL);
    for (unsigned paused = 0; paused < 2; paused++) {
        struct streamed s;
        streamed_init(&f, &s, NULL, paused ? "/bytes-3000000" : "/drip", UINT64_MAX);
        s.stops = paused;
        loop_turn(f.loop, 0);
        s.request.deadline_ms = loop_now_ms(f.loop) + 150;
        streamed_run(&s);
        expect_timeout(&s, "http_response_timeout", 1);
        streamed_release(&s);
    }
    fixture_stop(&f);
}

/* -- this side's time -- */

static void test_time_in_which_nobody_takes_does_not_count(void **state)
{
    (void)state;
    struct fixture f;
    struct streamed s;
    begin_with(&f, NULL);
    streamed_init(&f, &s, NULL, "/bytes-3000000", UINT64_MAX);
    s.request.timeout_ms = 200;
    s.stream.idle_ms = 200;
    s.stops = true;
    streamed_start(&s);
    turn_for(&f, 700);
    assert_false(s.ask.done);
    streamed_go(&s);
    streamed_wait(&s);
    expect_answered(&s, 200);
    expect_body(&s, 3000000);
    streamed_release(&s);
    fixture_stop(&f);
}

static void test_time_in_which_there_is_nothing_to_give_does_not_count(void **state)
{
    (void)state;
    struct fixture f;
    begin_with(&f, NULL);
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        struct streamed s;
        streamed_init(&f, &s, "PUT", "/body", 100000);
        s.request.timeout_ms = 200;
        s.stream.idle_ms = 200;
        if (chunked)
            s.stream.length = UINT64_MAX;
        for (s.has = 1; s.has < 100000; s.has += 49999) { /* at the beginning too */
            if (s.ask.call == NULL)
                streamed_start(&s);
            else
                up_call_resume(s.ask.call);
            turn_for(&f, 500);
            assert_false(s.ask.done);
            assert_int_equal(s.given, s.has);
        }
        s.has = 0;
        up_call_resume(s.ask.call);
        streamed_wait(&s);
        expect_answered(&s, 200);
        assert_int_equal(s.given, 100000);
        streamed_release(&s);
    }
    fixture_stop(&f);
}

/* -- again -- */

static void twice(struct config_upstream *up)
{
    static struct str on[] = {{"connect", 7}, {"reset", 5}, {"timeout", 7}, {"503", 3}};
    up->retry = (struct config_retry){.attempts = 2,
                                      .on = {on, COUNT(on)},
                                      .backoff_ms = 1,
                                      .max_backoff_ms = 1,
                                      .budget = 100,
                                      .budget_floor = 100};
}

static void test_only_what_nothing_came_of_is_tried_again(void **state)
{
    (void)state;
    static const struct {
        const char *method, *first;
        uint64_t gives;
        bool repeatable;
        unsigned attempts;
    } cases[] = {
        {NULL, "/reset", UINT64_MAX, false, 2},
        {NULL, "/nothing", UINT64_MAX, false, 2},
        {"HEAD", "/reset", UINT64_MAX, true, 2},
        {"DELETE", "/reset", UINT64_MAX, false, 1},
        {"DELETE", "/reset", UINT64_MAX, true, 2},
        {"PUT", "/reset", 0, true, 2},
        {"PUT", "/reset", 1000, true, 1},                /* it was read */
        {NULL, "/reset-mid-body", UINT64_MAX, false, 1}, /* it was handed on */
        {NULL, "/after-0/503", UINT64_MAX, false, 1},
        {NULL, "/cut-headers", UINT64_MAX, false, 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f; /* of a kept connection, curl would try again itself */
        struct streamed s;
        begin_with(&f, twice);
        const char *const script[] = {cases[i].first, "/hello", NULL};
        origin_script(&origin, script);
        streamed_init(&f, &s, cases[i].method, "/script", cases[i].gives);
        s.request.repeatable = cases[i].repeatable;
        streamed_run(&s);
        if (s.ask.result.attempts != cases[i].attempts)
            fail_msg("case %zu: %u attempts, %s", i, s.ask.result.attempts, s.ask.result.error);
        if (cases[i].attempts == 2)
            expect_answered(&s, 200);
        streamed_release(&s);
        fixture_stop(&f);
    }
}

/* Its connection had ended before: a GET goes over another, what may have been done doesn't. */
static void test_a_kept_connection_may_be_dead(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        uint64_t gives;
        bool answered;
    } cases[] = {
        {NULL, UINT64_MAX, true}, {"HEAD", UINT64_MAX, true}, {"DELETE", UINT64_MAX, false},
        {"PUT", 1000, false},     {"POST", 0, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct streamed s;
        begin_with(&f, NULL);
        const char *const script[] = {"/hello", "/nothing", "/hello", NULL};
        origin_script(&origin, script);
        struct ask ask = {0};
        ask_for(&f, &ask, 0, "/script");
        ask_release(&ask);
        streamed_init(&f, &s, cases[i].method, "/script", cases[i].gives);
        streamed_run(&s);
        assert_int_equal(s.ask.result.attempts, 1);
        if (cases[i].answered)
            expect_answered(&s, 200);
        else
            assert_string_equal(s.ask.result.error, "connection_terminated");
        streamed_release(&s);
        fixture_stop(&f);
    }
}

/* -- the breaker -- */

static void opens_at_once(struct config_upstream *up)
{
    up->breaker = (struct config_breaker){.consecutive = 1, .open_for_ms = 50, .probes = 1};
}

/* Its head says whether the upstream is back: nobody waits for the rest, nor for its client. */
static void test_a_probe_is_over_with_its_head(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        uint64_t gives;
        int status; /* 0: it has none yet */
        bool is_bad;
    } cases[] = {
        {"/bytes-10000000", UINT64_MAX, 200, false},
        {"/raw-kept", UINT64_MAX, 500, true},
        {"/body", 1000, 0, false},
    };
    atomic_store(&origin.raw, "HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nsome");
    atomic_store(&origin.behind, NULL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct streamed s;
        struct ask ask = {0};
        uint64_t retry_in_us;
        begin_with(&f, opens_at_once);
        ask_for(&f, &ask, 0, "/after-0/500");
        ask_release(&ask);
        streamed_init(&f, &s, cases[i].status == 0 ? "PUT" : NULL, cases[i].target, cases[i].gives);
        s.has = 1;
        const struct breaker *breaker = &s.request.upstream->breaker;
        wait_until_probed(&f);
        s.stops = true;
        streamed_start(&s);
        while (s.heads == 0 && s.given == 0 && !s.ask.done)
            loop_turn(f.loop, 100);
        turn_for(&f, 20); /* it asks for more than there is */
        assert_int_equal(s.status, cases[i].status);
        assert_false(s.ask.done);
        if (!cases[i].is_bad) {
            ask_for(&f, &ask, 0, "/hello"); /* the next one may */
            assert_int_equal(ask.result.end, UP_ANSWERED);
            ask_release(&ask);
        }
        up_call_cancel(&s.ask.call);
        assert_int_equal(breaker_look(breaker, clock_us(), &retry_in_us),
                         cases[i].is_bad ? BREAKER_OPEN : BREAKER_CLOSED);
        fixture_stop(&f);
    }
}

/* -- slots -- */

static void one_at_a_time(struct config_upstream *up)
{
    up->max_inflight = 1;
    up->queue_timeout_ms = 20000;
}

static void test_a_stream_holds_its_slot_until_its_end(void **state)
{
    (void)state;
    struct fixture f;
    struct streamed s, next;
    begin_with(&f, one_at_a_time);
    streamed_init(&f, &s, NULL, "/bytes-100000", UINT64_MAX);
    s.stops = true;
    streamed_start(&s);
    streamed_init(&f, &next, NULL, "/bytes-1000", UINT64_MAX);
    streamed_start(&next);
    turn_for(&f, 50);
    assert_int_equal(next.heads, 0);
    assert_int_equal(upstream_stats(s.request.upstream).inflight, 1);
    assert_int_equal(upstream_stats(s.request.upstream).queued, 1);
    up_call_resume(next.ask.call); /* that does nothing yet */
    streamed_go(&s);
    streamed_wait(&next);
    expect_answered(&next, 200);
    expect_body(&next, 1000);
    assert_true(next.ask.result.reused);
    assert_true(s.ask.done);
    streamed_release(&s);
    streamed_release(&next);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_upstream_has_so_long_for_its_head),
        cmocka_unit_test(test_an_upstream_may_not_fall_silent),
        cmocka_unit_test(test_a_slow_answer_is_no_silent_one),
        cmocka_unit_test(test_an_upstream_has_to_take_the_body),
        cmocka_unit_test(test_a_large_body_has_the_time_that_it_needs),
        cmocka_unit_test(test_the_deadline_is_of_the_whole_call),
        cmocka_unit_test(test_time_in_which_nobody_takes_does_not_count),
        cmocka_unit_test(test_time_in_which_there_is_nothing_to_give_does_not_count),
        cmocka_unit_test(test_only_what_nothing_came_of_is_tried_again),
        cmocka_unit_test(test_a_kept_connection_may_be_dead),
        cmocka_unit_test(test_a_probe_is_over_with_its_head),
        cmocka_unit_test(test_a_stream_holds_its_slot_until_its_end),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
