/* Streamed calls: what comes is handed on as it comes, what goes is asked for as it goes, at the
 * pace of whoever is slowest. */
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

/* The connection is a good one: an ordinary call goes over it, and gets its own answer. */
static void expect_kept(struct fixture *f, bool kept)
{
    struct ask ask = {0};
    ask_for(f, &ask, 0, "/hello");
    assert_int_equal(ask.result.end, UP_ANSWERED);
    assert_int_equal(ask.result.reused, kept);
    assert_true(body_is(&ask, BODY));
    ask_release(&ask);
}

/* -- answers -- */

static void test_answers_arrive_whole_however_they_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        uint64_t n;
        bool closes;
    } answers[] = {
        {"/bytes-0", 0, false},
        {"/bytes-1", 1, false},
        {"/bytes-20000", 20000, false},
        {"/bytes-3000000", 3000000, false},
        {"/chunks-0", 0, false},
        {"/chunks-1", 1, false},
        {"/chunks-20000", 20000, false},
        {"/chunks-3000000", 3000000, false},
        {"/until-close-100000", 100000, true},
    };
    for (unsigned one_in = 1; one_in <= 3; one_in++)
        for (size_t i = 0; i < COUNT(answers); i++) {
            struct fixture f;
            struct streamed s;
            begin(&f);
            for (unsigned again = 0; again < 2; again++) { /* over a connection that is there */
                streamed_init(&f, &s, NULL, answers[i].target, UINT64_MAX);
                s.takes_one_in = one_in;
                s.resumes = true;
                streamed_run(&s);
                expect_answered(&s, 200);
                expect_body(&s, answers[i].n);
                assert_true(one_in == 1 || answers[i].n == 0 || s.refused != 0);
                assert_int_equal(s.ask.result.reused, again && !answers[i].closes);
                streamed_release(&s);
            }
            expect_kept(&f, !answers[i].closes);
            assert_int_equal(upstream_stats(s.request.upstream).inflight, 0);
            fixture_stop(&f);
        }
}

static void test_fifty_megabytes_wait_for_who_takes_them(void **state)
{
    (void)state;
    const uint64_t n = 50 << 20;
    struct fixture f;
    struct streamed s;
    begin(&f);
    streamed_init(&f, &s, NULL, "/bytes-52428800", UINT64_MAX);
    s.takes_one_in = 2;
    s.resumes = true;
    streamed_run(&s);
    expect_answered(&s, 200);
    expect_body(&s, n);
    assert_true(s.largest <= 16 * 1024);
    streamed_release(&s);
    expect_kept(&f, true);
    fixture_stop(&f);
}

/* What the upstream got rid of meanwhile is what sockets take. */
static void test_an_upstream_stops_when_nobody_takes(void **state)
{
    (void)state;
    struct fixture f;
    struct streamed s;
    begin(&f);
    atomic_store(&origin.sent, 0);
    streamed_init(&f, &s, NULL, "/bytes-104857600", UINT64_MAX);
    s.stops = true;
    streamed_start(&s);
    uint64_t before;
    do {
        before = atomic_load(&origin.sent);
        turn_for(&f, 200);
    } while (before == 0 || atomic_load(&origin.sent) != before);
    assert_false(s.ask.done);
    assert_int_equal(s.refused, 1);
    assert_int_equal(s.taken, 0);
    assert_true(before < 20 << 20);
    struct ask ask = {0}; /* and others go on */
    ask_for(&f, &ask, 0, "/hello");
    assert_true(body_is(&ask, BODY));
    ask_release(&ask);
    streamed_go(&s);
    streamed_wait(&s);
    expect_answered(&s, 200);
    expect_body(&s, 100 << 20);
    streamed_release(&s);
    fixture_stop(&f);
}

/* -- requests -- */

static void expect_arrived(struct streamed *s, uint64_t n)
{
    char tail[64];
    int length =
        snprintf(tail, sizeof(tail), "\n%llu %08lx", (unsigned long long)n, pattern_crc(n));
    assert_int_equal(s->given, n);
    assert_true(s->text_n > (size_t)length);
    assert_string_equal(s->text + s->text_n - length, tail);
}

static void test_bodies_arrive_whole_however_they_are_given(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 1000, 65536, 3000000};
    struct fixture f;
    begin(&f);
    for (unsigned one_in = 1; one_in <= 3; one_in++)
        for (size_t i = 0; i < COUNT(sizes); i++)
            for (unsigned chunked = 0; chunked < 2; chunked++) {
                struct streamed s;
                atomic_store(&origin.taken, 0);
                streamed_init(&f, &s, "PUT", "/body", sizes[i]);
                s.gives_one_in = one_in;
                if (chunked)
                    s.stream.length = UINT64_MAX;
                streamed_run(&s);
                expect_answered(&s, 200);
                expect_arrived(&s, sizes[i]);
                assert_int_equal(atomic_load(&origin.taken), sizes[i]);
                streamed_release(&s);
                expect_kept(&f, true);
            }
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_arrive_whole_however_they_are_taken),
        cmocka_unit_test(test_fifty_megabytes_wait_for_who_takes_them),
        cmocka_unit_test(test_an_upstream_stops_when_nobody_takes),
        cmocka_unit_test(test_bodies_arrive_whole_however_they_are_given),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
