/* Streamed calls that are dropped: from their own functions, from others', at any moment, with the
 * client. And all of it at once, beside calls that are collected. */
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

static void begin(struct fixture *f)
{
    fixture_init(f);
    set_url(f, 0, "http://127.0.0.1:%d", origin.port);
    fixture_start(f, 1);
}

static void expect_nothing_left(struct fixture *f)
{
    turn_for(f, 5);
    assert_int_equal(upstream_stats(upstream_find(f->ups, STR("a"))).inflight, 0);
    assert_int_equal(f->client->lanes[0].busy, 0);
    assert_int_equal(f->client->lanes[0].streaming, 0);
    assert_int_equal(f->client->gone, 0);
    struct ask ask = {0};
    ask_for(f, &ask, 0, "/hello");
    assert_int_equal(ask.result.end, UP_ANSWERED);
    assert_true(body_is(&ask, BODY));
    ask_release(&ask);
}

static void test_a_call_can_be_dropped_from_its_own_functions(void **state)
{
    (void)state;
    static const char *const targets[] = {"/bytes-0", "/bytes-10", "/bytes-3000000",
                                          "/chunks-3000000", "/until-close-100000"};
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < COUNT(targets); i++)
        for (unsigned where = 0; where < 4; where++)
            for (unsigned uploads = 0; uploads < 2; uploads++) {
                struct streamed s;
                streamed_init(&f, &s, uploads ? "PUT" : NULL, targets[i],
                              uploads ? 100000 : UINT64_MAX);
                s.cancels_at_head = where == 0;
                s.cancels_at_body = where != 0;
                s.cancels_after = where == 2 ? 100000 : 0;
                s.takes_one_in = where == 3 ? 2 : 1; /* so that it is from within the resuming */
                s.resumes = true;
                streamed_start(&s);
                uint64_t until_us = clock_us() + 10 * 1000 * 1000;
                while (s.ask.call != NULL && !s.ask.done && clock_us() < until_us)
                    loop_turn(f.loop, 100);
                assert_int_equal(s.heads, 1);
                if (s.ask.call != NULL) { /* it was over before */
                    assert_true(s.ask.done);
                    streamed_release(&s);
                }
                memset(&s, 0xee, sizeof(s)); /* nobody looks at it any more */
                expect_nothing_left(&f);
            }
    fixture_stop(&f);
}

/* As when a client's connection breaks while one of its answers is written. */
static struct streamed *victims;
static size_t victim_count;

static void drop_victims(struct up_stream *stream, int status, const struct up_header *headers,
                         size_t count)
{
    for (size_t i = 0; i < victim_count; i++)
        if (&victims[i].stream != stream && victims[i].ask.call != NULL)
            up_call_cancel(&victims[i].ask.call);
    streamed_head(stream, status, headers, count);
}

static void test_a_call_can_be_dropped_from_anothers_functions(void **state)
{
    (void)state;
    static const char *const targets[] = {"/bytes-3000000", "/chunks-3000000", "/drip", "/late"};
    struct fixture f;
    begin(&f);
    for (unsigned round = 0; round < 10; round++) {
        struct streamed all[8];
        victims = all;
        victim_count = COUNT(all);
        for (size_t i = 0; i < COUNT(all); i++) {
            streamed_init(&f, &all[i], NULL, targets[i % COUNT(targets)], UINT64_MAX);
            all[i].stops = i % 2;
            streamed_start(&all[i]);
        }
        turn_for(&f, round * 3);
        victim_count = 0;
        struct streamed killer;
        streamed_init(&f, &killer, NULL, "/bytes-100", UINT64_MAX);
        killer.stream.head = drop_victims;
        victim_count = COUNT(all);
        streamed_run(&killer);
        expect_answered(&killer, 200);
        streamed_release(&killer);
        for (size_t i = 0; i < COUNT(all); i++)
            assert_null(all[i].ask.call);
        memset(all, 0xee, sizeof(all));
        expect_nothing_left(&f);
    }
    fixture_stop(&f);
}

static void test_a_client_goes_with_streams_under_way(void **state)
{
    (void)state;
    for (unsigned ms = 0; ms < 30; ms += 3) {
        struct fixture f;
        struct streamed all[6];
        begin(&f);
        for (size_t i = 0; i < COUNT(all); i++) {
            bool uploads = i % 3 == 0;
            streamed_init(&f, &all[i], uploads ? "PUT" : NULL,
                          uploads ? "/slow-body" : "/bytes-3000000",
                          uploads ? 1 << 20 : UINT64_MAX);
            all[i].stops = i % 2;
            all[i].has = uploads && i % 2 ? 1000 : 0;
            streamed_start(&all[i]);
        }
        turn_for(&f, ms);
        for (size_t i = 0; i < COUNT(all); i++)
            if (all[i].ask.done)
                streamed_release(&all[i]);
        fixture_stop(&f);
    }
}

static void test_resuming_is_safe_at_any_moment(void **state)
{
    (void)state;
    struct fixture f;
    struct streamed s;
    begin(&f);
    streamed_init(&f, &s, "PUT", "/bytes-100000", 100000);
    streamed_start(&s);
    up_call_resume(s.ask.call);
    for (uint64_t until_us = clock_us() + 20 * 1000 * 1000; !s.ask.done && clock_us() < until_us;) {
        up_call_resume(s.ask.call);
        loop_turn(f.loop, 1);
        up_call_resume(s.ask.call);
    }
    expect_answered(&s, 200);
    expect_body(&s, 100000);
    up_call_resume(s.ask.call);
    loop_turn(f.loop, 0);
    streamed_release(&s);
    struct ask ask = {0}; /* nor does it harm one that is collected */
    ask_start(&f, &ask, 0, "/hello");
    up_call_resume(ask.call);
    ask_wait(&f, &ask);
    assert_true(body_is(&ask, BODY));
    ask_release(&ask);
    fixture_stop(&f);
}

/* -- all at once -- */

static uint32_t chance;

static uint32_t any(uint32_t below)
{
    chance = chance * 1664525u + 1013904223u;
    return (chance >> 8) % below;
}

struct kind {
    const char *method, *target;
    uint64_t gives, comes; /* comes: UINT64_MAX = whatever */
};

static void begin_any(struct fixture *f, struct streamed *s, const struct kind *kind)
{
    streamed_init(f, s, kind->method, kind->target, kind->gives);
    s->takes_one_in = any(4);
    s->gives_one_in = any(4);
    s->gives_at_most = any(2) ? any(30000) + 1 : 0;
    s->resumes = any(2);
    if (kind->gives != UINT64_MAX && any(2))
        s->stream.length = UINT64_MAX;
    streamed_start(s);
}

static void test_many_at_once_get_what_is_theirs(void **state)
{
    (void)state;
    static const struct kind kinds[] = {
        {NULL, "/bytes-10", UINT64_MAX, 10},
        {NULL, "/bytes-17000", UINT64_MAX, 17000},
        {NULL, "/bytes-300000", UINT64_MAX, 300000},
        {NULL, "/chunks-50000", UINT64_MAX, 50000},
        {NULL, "/until-close-30000", UINT64_MAX, 30000},
        {"HEAD", "/bytes-10", UINT64_MAX, 0},
        {"PUT", "/body", 70000, UINT64_MAX},
        {"POST", "/bytes-30000", 200000, 30000},
        {"POST", "/bytes-30000", 0, 30000},
        {"POST", "/bytes-5", 1000, 5},
    };
    enum { AT_ONCE = 16, CALLS = 1500 };
    static struct streamed all[AT_ONCE];
    static const struct kind *of[AT_ONCE];
    bool is_dropped[AT_ONCE]; /* some time; however long the machine lets the others take */
    struct ask plain[AT_ONCE] = {{0}};
    struct fixture f;
    begin(&f);
    chance = 7;
    memset(all, 0, sizeof(all));
    unsigned begun = 0, over = 0, dropped = 0;
    uint64_t until_us = clock_us() + 60 * 1000 * 1000;
    while (over + dropped < CALLS && clock_us() < until_us) {
        for (size_t i = 0; i < AT_ONCE; i++) {
            struct streamed *s = &all[i];
            if (s->ask.call == NULL && begun < CALLS) {
                of[i] = &kinds[any(COUNT(kinds))];
                is_dropped[i] = any(5) == 0;
                begin_any(&f, s, of[i]);
                begun++;
            } else if (s->ask.call != NULL && s->ask.done) {
                expect_answered(s, 200);
                if (of[i]->comes != UINT64_MAX)
                    assert_int_equal(s->crc, pattern_crc(of[i]->comes));
                streamed_release(s);
                over++;
            } else if (s->ask.call != NULL && is_dropped[i] && any(20) == 0) {
                up_call_cancel(&s->ask.call);
                dropped++;
            } else if (s->ask.call != NULL) {
                up_call_resume(s->ask.call);
            }
            if (plain[i].call == NULL) {
                ask_start(&f, &plain[i], 0, any(2) ? "/hello" : "/gzip");
            } else if (plain[i].done) {
                assert_int_equal(plain[i].result.end, UP_ANSWERED);
                assert_true(body_is(&plain[i], BODY));
                ask_release(&plain[i]);
            }
        }
        loop_turn(f.loop, 1);
    }
    assert_int_equal(over + dropped, CALLS);
    assert_true(over > CALLS / 2);
    for (size_t i = 0; i < AT_ONCE; i++)
        if (plain[i].call != NULL)
            up_call_cancel(&plain[i].call);
    expect_nothing_left(&f);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call_can_be_dropped_from_its_own_functions),
        cmocka_unit_test(test_a_call_can_be_dropped_from_anothers_functions),
        cmocka_unit_test(test_a_client_goes_with_streams_under_way),
        cmocka_unit_test(test_resuming_is_safe_at_any_moment),
        cmocka_unit_test(test_many_at_once_get_what_is_theirs),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
