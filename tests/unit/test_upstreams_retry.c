/* What is tried again, how often and when: against an origin whose answers follow a script, request
 * by request. And the deadline, which bounds all of it. */
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

static struct str usual[] = {STR("connect"), STR("reset"), STR("502"), STR("503"), STR("504")};
static struct str all[] = {STR("connect"), STR("reset"), STR("timeout"), STR("429"), STR("503")};

static void begin(struct fixture *f, unsigned attempts)
{
    fixture_init(f);
    set_url(f, 0, "http://127.0.0.1:%d", origin.port);
    f->configured[0].retry = (struct config_retry){.attempts = attempts,
                                                   .on = {usual, COUNT(usual)},
                                                   .backoff_ms = 4,
                                                   .max_backoff_ms = 8,
                                                   .budget = 20,
                                                   .budget_floor = 10};
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

static struct up_result run(struct fixture *f, struct ask *ask, const char *const *script,
                            struct up_request request)
{
    origin_script(&origin, script);
    request.upstream = upstream_a(f);
    if (request.target.p == NULL)
        request.target = STR("/script");
    ask_request(f, ask, &request);
    ask_wait(f, ask);
    return ask->result;
}

static uint64_t in_ms(struct fixture *f, uint64_t ms)
{
    return loop_now_ms(f->loop) + ms;
}

/* -- what -- */

static void test_what_may_pass_is_tried_again_and_what_may_not_is_not(void **state)
{
    (void)state;
    static const struct {
        const char *script[5];
        enum up_end end;
        int status;
        unsigned attempts;
    } cases[] = {
        {{"/hello"}, UP_ANSWERED, 200, 1},
        {{"/after-0/503", "/hello"}, UP_ANSWERED, 200, 2},
        {{"/reset", "/hello"}, UP_ANSWERED, 200, 2},
        {{"/reset-mid-body", "/hello"}, UP_ANSWERED, 200, 2},
        {{"/cut", "/hello"}, UP_ANSWERED, 200, 2},
        {{"/after-0/502", "/after-0/504", "/hello"}, UP_ANSWERED, 200, 3},
        {{"/after-0/503", "/after-0/502", "/after-0/504"}, UP_ANSWERED, 504, 3}, /* the last one */
        {{"/after-0/503", "/cut", "/cut"}, UP_ANSWERED, 503, 3}, /* an answer before none */
        {{"/reset", "/after-0/503", "/cut"}, UP_ANSWERED, 503, 3},
        {{"/reset", "/reset", "/reset"}, UP_FAILED, 0, 3},
        {{"/reset", "/after-0/404"}, UP_ANSWERED, 404, 2},
        {{"/after-0/404", "/hello"}, UP_ANSWERED, 404, 1},
        {{"/after-0/429", "/hello"}, UP_ANSWERED, 429, 1}, /* not in `on` */
        {{"/after-0/500", "/hello"}, UP_ANSWERED, 500, 1},
        {{"/after-0/999", "/hello"}, UP_ANSWERED, 999, 1},
        {{"/garbage", "/hello"}, UP_FAILED, 0, 1},
        {{"/not-gzip", "/hello"}, UP_FAILED, 200, 1},
        {{"/late", "/hello"}, UP_TIMEOUT, 0, 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct ask ask = {0};
        begin(&f, 3);
        fixture_start(&f, 1);
        struct up_result result =
            run(&f, &ask, cases[i].script, (struct up_request){.timeout_ms = 150});
        if (result.end != cases[i].end || result.status != cases[i].status ||
            result.attempts != cases[i].attempts)
            fail_msg("case %zu: end %d, status %d, %u attempts, %s", i, result.end, result.status,
                     result.attempts, result.detail);
        assert_int_equal(atomic_load(&origin.asked), cases[i].attempts);
        assert_int_equal(counted(&f, COUNT_CALLS), 1);
        assert_int_equal(counted(&f, COUNT_RETRIES), cases[i].attempts - 1);
        assert_false(result.hedged);
        assert_true(result.status != 503 || body_is(&ask, "503")); /* its own body */
        ask_release(&ask);
        assert_int_equal(upstream_stats(upstream_a(&f)).inflight, 0);
        fixture_stop(&f);
    }
}

static void test_a_timeout_is_tried_again_when_it_is_asked_for(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f, 2);
    f.configured[0].retry.on = (struct config_strings){all, COUNT(all)};
    fixture_start(&f, 1);
    const char *const script[] = {"/late", "/hello", NULL};
    struct up_result result = run(&f, &ask, script, (struct up_request){.timeout_ms = 100});
    assert_int_equal(result.status, 200);
    assert_int_equal(result.attempts, 2);
    ask_release(&ask);
    fixture_stop(&f);
}

static void test_who_refuses_connections_is_tried_as_often_as_allowed(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    struct origin closed;
    origin_start(&closed, NULL);
    origin_stop(&closed);
    begin(&f, 3);
    set_url(&f, 0, "http://127.0.0.1:%d", closed.port);
    fixture_start(&f, 1);
    struct up_result result = ask_for(&f, &ask, 0, "/hello");
    assert_string_equal(result.error, "connection_refused");
    assert_int_equal(result.attempts, 3);
    assert_int_equal(counted(&f, COUNT_FAILURES), 3);
    ask_release(&ask);
    fixture_stop(&f);
}

static void test_only_what_may_be_made_twice_is(void **state)
{
    (void)state;
    static const struct {
        struct up_request request;
        unsigned attempts;
    } cases[] = {
        {{.method = NULL}, 2},
        {{.method = NULL, .body = STR("{}")}, 1},
        {{.method = "POST", .body = STR("{}")}, 1},
        {{.method = "DELETE"}, 1},
        {{.method = "POST", .body = STR("{}"), .repeatable = true}, 2},
        {{.method = "PUT", .repeatable = true}, 2},
    };
    static const char *const script[] = {"/after-0/503", "/body", NULL};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct ask ask = {0};
        begin(&f, 3);
        fixture_start(&f, 1);
        struct up_result result = run(&f, &ask, script, cases[i].request);
        assert_int_equal(result.attempts, cases[i].attempts);
        assert_int_equal(result.status, cases[i].attempts == 1 ? 503 : 200);
        if (cases[i].attempts == 2 && cases[i].request.body.n == 2) {
            /* The length that came and its CRC-32: the body went out whole a second time. */
            assert_memory_equal(result.body.p + result.body.n - 10, "2 a3a6bf43", 10);
        }
        ask_release(&ask);
        fixture_stop(&f);
    }
}

/* -- how often -- */

static void test_retries_end_with_their_budget(void **state)
{
    (void)state;
    static const struct {
        unsigned budget, floor, calls, retries;
    } cases[] = {
        {0, 0, 5, 0},
        {0, 1, 14, 10}, /* ten seconds of one */
        {100, 0, 6, 6},
        {20, 0, 15, 3},
    };
    static const char *const script[] = {NULL};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        unsigned attempts = 0;
        begin(&f, 2);
        f.configured[0].retry.budget = cases[i].budget;
        f.configured[0].retry.budget_floor = cases[i].floor;
        fixture_start(&f, 1);
        for (unsigned n = 0; n < cases[i].calls; n++) {
            struct ask ask = {0};
            attempts +=
                run(&f, &ask, script, (struct up_request){.target = STR("/after-0/503")}).attempts;
            ask_release(&ask);
        }
        assert_int_equal(attempts, cases[i].calls + cases[i].retries);
        assert_int_equal(counted(&f, COUNT_RETRIES), cases[i].retries);
        assert_int_equal(counted(&f, COUNT_RETRIES_DENIED), cases[i].calls - cases[i].retries);
        fixture_stop(&f);
    }
}

/* Several loops, one budget: 400 calls that fail may be made again 80 times in all. */
enum { LOOPS = 4, CALLS_A_LOOP = 100 };

struct worker {
    struct upstreams *ups;
    struct offload *names;
    unsigned index, started, ended, attempts;
    struct up_client *client;
    pthread_t thread;
};

static void start_one(struct worker *worker);

static void one_done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct worker *worker = arg;
    worker->ended++;
    worker->attempts += result->attempts;
    up_call_release(&call);
    start_one(worker);
}

static void start_one(struct worker *worker)
{
    if (worker->started == CALLS_A_LOOP)
        return;
    worker->started++;
    struct up_request request = {.upstream = upstream_find(worker->ups, STR("a")),
                                 .target = STR("/after-0/503")};
    up_call_start(worker->client, &request, one_done, worker);
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    struct loop *loop = loop_create(worker->index);
    worker->client = up_client_create(worker->ups, loop, worker->names);
    for (int i = 0; i < 4; i++)
        start_one(worker);
    uint64_t until_us = clock_us() + 60 * 1000 * 1000;
    while (worker->ended < CALLS_A_LOOP && clock_us() < until_us)
        loop_turn(loop, 1000);
    up_client_destroy(&worker->client);
    loop_destroy(&loop);
    return NULL;
}

static void test_loops_share_one_budget(void **state)
{
    (void)state;
    struct fixture f;
    struct worker workers[LOOPS];
    unsigned attempts = 0;
    begin(&f, 2);
    f.configured[0].retry.budget_floor = 0;
    f.configured[0].max_inflight = 6; /* and slots */
    fixture_start(&f, 1);
    atomic_store(&origin.asked, 0);
    for (unsigned i = 0; i < LOOPS; i++) {
        workers[i] = (struct worker){.ups = f.ups, .names = f.names, .index = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    }
    for (unsigned i = 0; i < LOOPS; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < LOOPS; i++) {
        assert_int_equal(workers[i].ended, CALLS_A_LOOP);
        attempts += workers[i].attempts;
    }
    unsigned calls = LOOPS * CALLS_A_LOOP;
    assert_int_equal(attempts, atomic_load(&origin.asked));
    assert_in_range(attempts, calls + 1, calls + calls / 5);
    fixture_stop(&f);
}

/* -- when -- */

static void test_retry_after_is_waited_for_or_there_is_no_retry(void **state)
{
    (void)state;
    static const struct {
        const char *first;
        uint64_t within_ms; /* 0 = no deadline */
        unsigned attempts;
        uint64_t least_us, most_us;
    } cases[] = {
        {"/busy-for-1s/503", 400, 1, 0, 300 * 1000},
        {"/busy-for-1s/429", 5000, 2, 1000 * 1000, 2500 * 1000},
        {"/busy-for-1s/503", 0, 2, 1000 * 1000, 2500 * 1000},
        {"/busy-for-3600s/503", 0, 1, 0, 900 * 1000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct ask ask = {0};
        begin(&f, 2);
        f.configured[0].retry.on = (struct config_strings){all, COUNT(all)};
        fixture_start(&f, 1);
        const char *const script[] = {cases[i].first, "/hello", NULL};
        uint64_t deadline_ms = cases[i].within_ms ? in_ms(&f, cases[i].within_ms) : 0;
        struct up_result result =
            run(&f, &ask, script, (struct up_request){.deadline_ms = deadline_ms});
        assert_int_equal(result.attempts, cases[i].attempts);
        assert_in_range(result.times.total, cases[i].least_us, cases[i].most_us);
        ask_release(&ask);
        fixture_stop(&f);
    }
}

/* An upstream that usually takes 300 ms isn't asked again 200 ms before the deadline. */
static void test_what_could_not_finish_is_not_begun(void **state)
{
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        struct fixture f;
        struct ask ask = {0};
        begin(&f, 2);
        fixture_start(&f, 1);
        for (int i = 0; i < 30; i++)
            latency_add(&f.client->lanes[0].latency, slow ? 300 * 1000 : 1000, clock_us());
        const char *const script[] = {"/after-0/503", "/hello", NULL};
        struct up_result result =
            run(&f, &ask, script, (struct up_request){.deadline_ms = in_ms(&f, 200)});
        assert_int_equal(result.attempts, slow ? 1 : 2);
        assert_int_equal(counted(&f, COUNT_RETRIES_DENIED), 0); /* the budget wasn't asked */
        ask_release(&ask);
        fixture_stop(&f);
    }
}

static void test_a_resting_call_can_be_dropped(void **state)
{
    (void)state;
    for (int by_client = 0; by_client < 2; by_client++) {
        struct fixture f;
        struct ask ask = {0};
        begin(&f, 2);
        f.configured[0].retry.backoff_ms = f.configured[0].retry.max_backoff_ms = 3600 * 1000;
        fixture_start(&f, 1);
        ask_start(&f, &ask, 0, "/after-0/503");
        uint64_t until_us = clock_us() + 5 * 1000 * 1000;
        while (counted(&f, COUNT_RETRIES) == 0 && clock_us() < until_us)
            loop_turn(f.loop, 50);
        assert_int_equal(counted(&f, COUNT_RETRIES), 1);
        assert_false(ask.done);
        assert_int_equal(upstream_stats(upstream_a(&f)).inflight, 0); /* rests without a slot */
        if (!by_client)
            up_call_cancel(&ask.call);
        fixture_stop(&f);
        assert_false(ask.done);
    }
}

/* -- the deadline -- */

/* Cut early it says nothing of the upstream; cut after more than half of its timeout it does. */
static void test_a_call_ends_by_its_deadline(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        uint64_t timeout_ms;
        uint32_t failures;
    } cases[] = {{"/late", 3000, 0}, {"/late", 120, 1}, {"/drip", 3000, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct ask ask = {0};
        const char *const script[] = {cases[i].target, NULL};
        begin(&f, 3);
        f.configured[0].retry.on = (struct config_strings){all, COUNT(all)};
        fixture_start(&f, 1);
        struct up_result result = run(
            &f, &ask, script,
            (struct up_request){.timeout_ms = cases[i].timeout_ms, .deadline_ms = in_ms(&f, 100)});
        assert_int_equal(result.end, UP_TIMEOUT);
        assert_string_equal(result.error, "http_response_timeout");
        assert_int_equal(result.attempts, 1);
        assert_in_range(result.times.total, 98 * 1000, 400 * 1000);
        assert_int_equal(counted(&f, COUNT_FAILURES), cases[i].failures);
        ask_release(&ask);
        fixture_stop(&f);
    }
}

static void test_a_queue_does_not_outlast_the_deadline(void **state)
{
    (void)state;
    struct fixture f;
    struct ask holder = {0}, ask = {0};
    static const char *const script[] = {NULL};
    begin(&f, 3);
    f.configured[0].max_inflight = 1;
    fixture_start(&f, 1);
    for (int i = 0; i < 2; i++) /* calls whose memory serves again, with what stood in it */
        ask_start(&f, i ? &ask : &holder, 0, "/after-20/200");
    ask_wait(&f, &holder);
    ask_wait(&f, &ask);
    ask_release(&holder);
    ask_release(&ask);
    ask_start(&f, &holder, 0, "/late");
    loop_turn(f.loop, 0);
    struct up_result result =
        run(&f, &ask, script, (struct up_request){.timeout_ms = 20, .deadline_ms = in_ms(&f, 60)});
    assert_int_equal(result.end, UP_TIMEOUT);
    assert_string_equal(result.error, "http_response_timeout");
    assert_int_equal(result.attempts, 0);
    assert_in_range(result.times.total, 58 * 1000, 400 * 1000);
    assert_int_equal(counted(&f, COUNT_FAILURES), 0);
    up_call_cancel(&holder.call);
    ask_release(&ask);

    result = run(&f, &ask, script, (struct up_request){.deadline_ms = loop_now_ms(f.loop) - 1});
    assert_int_equal(result.end, UP_TIMEOUT);
    assert_int_equal(result.attempts, 0);
    assert_int_equal(atomic_load(&origin.asked), 0);
    ask_release(&ask);
    fixture_stop(&f);
}

/* "X-Left:        123" in what the origin echoes; 0 = there is none. */
static unsigned long left_told(const struct up_result *result)
{
    char text[1024];
    snprintf(text, sizeof(text), "%.*s", (int)result->body.n, result->body.p);
    const char *line = strstr(text, "\r\nX-Left: ");
    return line != NULL ? strtoul(line + 10, NULL, 10) : 0;
}

static void test_the_upstream_is_told_what_each_attempt_has_left(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f, 2);
    f.configured[0].deadline_header = STR("X-Left");
    fixture_start(&f, 1);
    static const char *const at_once[] = {"/echo", NULL}, *const again[] = {"/after-60/503",
                                                                            "/echo", NULL};
    static const struct {
        const char *const *script;
        uint64_t timeout_ms, within_ms;
        unsigned long least, most;
    } cases[] = {
        {at_once, 2000, 500, 200, 500}, /* what is left */
        {at_once, 300, 5000, 100, 300}, /* its timeout */
        {at_once, 1234567, 0, 1234000, 1234567},
        {again, 2000, 500, 100, 440}, /* less the second time */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t deadline_ms = cases[i].within_ms ? in_ms(&f, cases[i].within_ms) : 0;
        struct up_result result =
            run(&f, &ask, cases[i].script,
                (struct up_request){.timeout_ms = cases[i].timeout_ms, .deadline_ms = deadline_ms});
        assert_int_equal(result.status, 200);
        assert_in_range(left_told(&result), cases[i].least, cases[i].most);
        ask_release(&ask);
    }
    fixture_stop(&f);
}

/* -- configuration -- */

static void test_what_makes_no_sense_is_told_with_the_configuration(void **state)
{
    (void)state;
    static struct str forwarded[] = {STR("X-Forwarded-For")};
    static struct config_pair set[] = {{STR("X-Key"), STR("1")}};
    static const struct {
        struct str on, after, header;
        const char *said; /* NULL = nothing is wrong */
    } cases[] = {
        {STR("connect"), STR(""), STR(""), NULL},
        {STR("400"), STR("30ms"), STR("X-Left"), NULL},
        {STR("599"), STR("p95"), STR("Request-Timeout"), NULL},
        {STR("conect"), STR(""), STR(""), "did you mean \"connect\"?"},
        {STR("everything"), STR(""), STR(""), "there are connect, reset, timeout and statuses"},
        {STR("399"), STR(""), STR(""), "is not one from 400 to 599"},
        {STR("600"), STR(""), STR(""), "is not one from 400 to 599"},
        {STR("50000000000000000003"), STR(""), STR(""), "unknown word"},
        {STR("5xx"), STR(""), STR(""), "unknown word \"5xx\""},
        {STR(""), STR(""), STR(""), "unknown word"},
        {STR("503"), STR("p99"), STR(""), "neither \"p95\" nor a duration"},
        {STR("503"), STR("0ms"), STR(""), "neither \"p95\" nor a duration"},
        {STR("503"), STR("3s"), STR(""), "shorter than the upstream's timeout"},
        {STR("503"), STR(""), STR("X Left"), "isn't a header's name"},
        {STR("503"), STR(""), STR("host"), "a meaning of its own"},
        {STR("503"), STR(""), STR("Content-Length"), "a meaning of its own"},
        {STR("503"), STR(""), STR("User-Agent"), "a meaning of its own"},
        {STR("503"), STR(""), STR("x-key"), "both set and the deadline's"},
        {STR("503"), STR(""), STR("x-forwarded-for"), "both forwarded and the deadline's"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct str on[] = {STR("reset"), cases[i].on};
        char *text = NULL;
        size_t n = 0;
        begin(&f, 2);
        f.configured[0].retry.on = (struct config_strings){on, COUNT(on)};
        f.configured[0].hedge.after = cases[i].after;
        f.configured[0].deadline_header = cases[i].header;
        f.configured[0].forward_headers = (struct config_strings){forwarded, COUNT(forwarded)};
        f.configured[0].set_headers = (struct config_pairs){set, COUNT(set)};
        f.config->upstream_count = 1;
        struct upstreams *ups = upstreams_create(f.config, f.diag);
        FILE *to = open_memstream(&text, &n);
        diag_print(f.diag, to);
        fclose(to);
        assert_int_equal(diag_errors(f.diag), cases[i].said != NULL);
        if (cases[i].said != NULL && strstr(text, cases[i].said) == NULL)
            fail_msg("case %zu: %s", i, text);
        free(text);
        upstreams_destroy(&ups);
        f.config->upstreams = NULL;
        f.config->upstream_count = 0;
        config_destroy(&f.config);
        diag_destroy(&f.diag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_may_pass_is_tried_again_and_what_may_not_is_not),
        cmocka_unit_test(test_a_timeout_is_tried_again_when_it_is_asked_for),
        cmocka_unit_test(test_who_refuses_connections_is_tried_as_often_as_allowed),
        cmocka_unit_test(test_only_what_may_be_made_twice_is),
        cmocka_unit_test(test_retries_end_with_their_budget),
        cmocka_unit_test(test_loops_share_one_budget),
        cmocka_unit_test(test_retry_after_is_waited_for_or_there_is_no_retry),
        cmocka_unit_test(test_what_could_not_finish_is_not_begun),
        cmocka_unit_test(test_a_resting_call_can_be_dropped),
        cmocka_unit_test(test_a_call_ends_by_its_deadline),
        cmocka_unit_test(test_a_queue_does_not_outlast_the_deadline),
        cmocka_unit_test(test_the_upstream_is_told_what_each_attempt_has_left),
        cmocka_unit_test(test_what_makes_no_sense_is_told_with_the_configuration),
    };
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
