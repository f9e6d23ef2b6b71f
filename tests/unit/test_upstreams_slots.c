/* max_inflight, its queue and its timeout, on one loop and across several. */
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

static void begin(struct fixture *f, uint32_t max_inflight, uint32_t max_queue)
{
    fixture_init(f);
    set_url(f, 0, "http://127.0.0.1:%d", origin.port);
    f->configured[0].max_inflight = max_inflight;
    f->configured[0].max_queue = max_queue;
    atomic_store(&origin.most_busy, 0);
}

static void test_no_more_than_max_inflight_calls_run(void **state)
{
    (void)state;
    enum { CALLS = 60 };
    struct fixture f;
    static struct ask asks[CALLS];
    unsigned left = CALLS, queued = 0;
    begin(&f, 4, CALLS);
    fixture_start(&f, 1);
    struct upstream *up = upstream_find(f.ups, STR("a"));
    for (size_t i = 0; i < CALLS; i++) {
        asks[i] = (struct ask){.countdown = &left};
        ask_start(&f, &asks[i], 0, "/busy");
    }
    loop_turn(f.loop, 0);
    assert_int_equal(upstream_stats(up).inflight, 4);
    assert_int_equal(upstream_stats(up).queued, CALLS - 4);
    while (left != 0)
        loop_turn(f.loop, 1000);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(asks[i].result.end, UP_ANSWERED);
        queued += asks[i].result.times.queue != 0;
        ask_release(&asks[i]);
    }
    assert_int_equal(queued, CALLS - 4);
    assert_in_range(atomic_load(&origin.most_busy), 1, 4);
    assert_int_equal(upstream_stats(up).inflight, 0);
    assert_int_equal(upstream_stats(up).queued, 0);
    fixture_stop(&f);
}

static void test_slots_are_given_in_the_order_of_asking(void **state)
{
    (void)state;
    enum { CALLS = 8 };
    struct fixture f;
    struct ask asks[CALLS] = {0};
    begin(&f, 1, CALLS);
    fixture_start(&f, 1);
    for (size_t i = 0; i < CALLS; i++)
        ask_start(&f, &asks[i], 0, "/busy");
    for (size_t i = 0; i < CALLS; i++) {
        ask_wait(&f, &asks[i]);
        for (size_t later = i + 1; later < CALLS; later++)
            assert_false(asks[later].done);
        ask_release(&asks[i]);
    }
    fixture_stop(&f);
}

static void test_what_the_queue_does_not_hold_is_shed(void **state)
{
    (void)state;
    enum { CALLS = 10 };
    struct fixture f;
    struct ask asks[CALLS] = {0};
    begin(&f, 2, 3);
    fixture_start(&f, 1);
    for (size_t i = 0; i < CALLS; i++)
        ask_start(&f, &asks[i], 0, "/busy");
    for (size_t i = 0; i < CALLS; i++) {
        ask_wait(&f, &asks[i]);
        assert_int_equal(asks[i].result.end, i < 5 ? UP_ANSWERED : UP_SHED);
        if (i >= 5) {
            assert_string_equal(asks[i].result.error, "connection_limit_reached");
            assert_int_equal(asks[i].result.attempts, 0);
        }
        ask_release(&asks[i]);
    }
    fixture_stop(&f);
}

static void test_who_queues_too_long_is_shed(void **state)
{
    (void)state;
    struct fixture f;
    struct ask holder = {0}, waiting = {0}, next = {0};
    begin(&f, 1, 10);
    f.configured[0].queue_timeout_ms = 50;
    f.configured[0].timeout_ms = 300;
    fixture_start(&f, 1);
    ask_start(&f, &holder, 0, "/late");
    ask_start(&f, &waiting, 0, "/hello");
    ask_wait(&f, &waiting);
    assert_int_equal(waiting.result.end, UP_SHED);
    assert_in_range(waiting.result.times.total, 49 * 1000, 290 * 1000);
    assert_false(holder.done);
    ask_wait(&f, &holder);
    ask_for(&f, &next, 0, "/hello"); /* the slot came back */
    assert_int_equal(next.result.end, UP_ANSWERED);
    ask_release(&holder);
    ask_release(&waiting);
    ask_release(&next);
    fixture_stop(&f);
}

static void test_queueing_is_not_part_of_the_attempt(void **state)
{
    (void)state;
    struct fixture f;
    struct ask holder = {0}, waiting = {0};
    begin(&f, 1, 10);
    fixture_start(&f, 1);
    ask_with(&f, &holder, 0, "/late", NULL, 0, 200);
    ask_with(&f, &waiting, 0, "/hello", NULL, 0, 150);
    ask_wait(&f, &waiting);
    assert_int_equal(waiting.result.end, UP_ANSWERED);
    assert_in_range(waiting.result.times.queue, 199 * 1000, waiting.result.times.total);
    ask_wait(&f, &holder);
    ask_release(&holder);
    ask_release(&waiting);
    fixture_stop(&f);
}

static void test_slots_of_dropped_calls_come_back(void **state)
{
    (void)state;
    struct fixture f;
    struct ask holder = {0}, first = {0}, second = {0};
    begin(&f, 1, 10);
    fixture_start(&f, 1);
    for (int round = 0; round < 20; round++) {
        ask_start(&f, &holder, 0, "/late");
        ask_start(&f, &first, 0, "/hello");
        ask_start(&f, &second, 0, "/hello");
        loop_turn(f.loop, 1);
        up_call_cancel(&holder.call); /* lets `first` out: its message is under way... */
        if (round % 2)
            up_call_cancel(&first.call); /* ...to nobody: `second` is next */
        ask_wait(&f, &second);
        assert_int_equal(second.result.end, UP_ANSWERED);
        ask_release(&second);
        if (first.call != NULL) {
            ask_wait(&f, &first);
            ask_release(&first);
        }
    }
    ask_start(&f, &holder, 0, "/late");
    ask_start(&f, &first, 0, "/hello");
    loop_turn(f.loop, 1);
    up_call_cancel(&holder.call);
    fixture_stop(&f); /* with the message under way */
}

/* -- several loops -- */

enum { LOOPS = 4, CALLS_A_LOOP = 400, SLOTS = 3 };

struct worker {
    struct upstreams *ups;
    struct offload *names;
    unsigned index;
    unsigned started, ended, answered, shed;
    struct up_client *client;
    pthread_t thread;
};

static void start_one(struct worker *worker);

static void one_done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct worker *worker = arg;
    worker->ended++;
    worker->answered += result->end == UP_ANSWERED;
    worker->shed += result->end == UP_SHED;
    up_call_release(&call);
    start_one(worker);
}

static void start_one(struct worker *worker)
{
    if (worker->started == CALLS_A_LOOP)
        return;
    worker->started++;
    struct up_request request = {.upstream = upstream_find(worker->ups, STR("a")),
                                 .target = worker->started % 3 ? STR("/hello") : STR("/busy")};
    struct up_call *call = up_call_start(worker->client, &request, one_done, worker);
    if (worker->started % 7 == 0) { /* some are dropped, at different moments */
        up_call_cancel(&call);
        worker->ended++;
        start_one(worker);
    }
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    struct loop *loop = loop_create(worker->index);
    worker->client = up_client_create(worker->ups, loop, worker->names);
    for (int i = 0; i < 8; i++)
        start_one(worker);
    uint64_t until_us = clock_us() + 60 * 1000 * 1000;
    while (worker->ended < CALLS_A_LOOP && clock_us() < until_us)
        loop_turn(loop, 1000);
    up_client_destroy(&worker->client);
    loop_destroy(&loop);
    return NULL;
}

/* A wake-up that gets lost leaves a call in the queue until its timeout, ten seconds here. */
static void test_slots_go_from_loop_to_loop_and_none_is_lost(void **state)
{
    (void)state;
    struct fixture f;
    struct worker workers[LOOPS];
    begin(&f, SLOTS, LOOPS * 8);
    f.configured[0].queue_timeout_ms = 10 * 1000;
    f.configured[0].timeout_ms = 10 * 1000;
    fixture_start(&f, 1);
    uint64_t from_us = clock_us();
    for (unsigned i = 0; i < LOOPS; i++) {
        workers[i] = (struct worker){.ups = f.ups, .names = f.names, .index = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    }
    for (unsigned i = 0; i < LOOPS; i++)
        pthread_join(workers[i].thread, NULL);
    uint64_t took_us = clock_us() - from_us;
    for (unsigned i = 0; i < LOOPS; i++) {
        assert_int_equal(workers[i].ended, CALLS_A_LOOP);
        assert_int_equal(workers[i].answered, CALLS_A_LOOP - CALLS_A_LOOP / 7);
        assert_int_equal(workers[i].shed, 0);
    }
    struct up_stats stats = upstream_stats(upstream_find(f.ups, STR("a")));
    assert_int_equal(stats.inflight, 0);
    assert_int_equal(stats.queued, 0);
    assert_in_range(atomic_load(&origin.most_busy), 1, SLOTS);
    assert_in_range(took_us, 0, 9 * 1000 * 1000);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_more_than_max_inflight_calls_run),
        cmocka_unit_test(test_slots_are_given_in_the_order_of_asking),
        cmocka_unit_test(test_what_the_queue_does_not_hold_is_shed),
        cmocka_unit_test(test_who_queues_too_long_is_shed),
        cmocka_unit_test(test_queueing_is_not_part_of_the_attempt),
        cmocka_unit_test(test_slots_of_dropped_calls_come_back),
        cmocka_unit_test(test_slots_go_from_loop_to_loop_and_none_is_lost),
    };
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
