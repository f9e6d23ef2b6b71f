/* Streamed calls at their edges: answers that break off, that come too early or with more behind
 * them, bodies that break off, calls that are dropped from wherever one can. */
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

/* No slot, no handle, no descriptor stays behind, and the next call gets its own answer. */
static void expect_undisturbed(struct fixture *f)
{
    struct ask ask = {0};
    ask_for(f, &ask, 0, "/hello");
    assert_int_equal(ask.result.end, UP_ANSWERED);
    assert_true(body_is(&ask, BODY));
    ask_release(&ask);
    assert_int_equal(upstream_stats(upstream_find(f->ups, STR("a"))).inflight, 0);
    assert_int_equal(f->client->lanes[0].busy, 0);
    assert_int_equal(f->client->lanes[0].streaming, 0);
}

/* -- what an answer may be -- */

static void test_answers_without_a_body(void **state)
{
    (void)state;
    static const struct {
        const char *method, *answer;
        int status;
        bool kept;
    } cases[] = {
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 200, true},
        {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, true},
        {"HEAD", "HTTP/1.1 404 No\r\n\r\n", 404, true},
        {"HEAD", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n", 200, false},
        {NULL, "HTTP/1.1 204 No Content\r\n\r\n", 204, true},
        {NULL, "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", 304, true},
        {"DELETE", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, true},
        {"OPTIONS", "HTTP/1.1 103 On\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204, true},
        {"POST", "HTTP/1.1 303 See\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 303, true},
    };
    struct fixture f;
    begin(&f);
    atomic_store(&origin.behind, NULL);
    for (size_t i = 0; i < COUNT(cases); i++)
        for (unsigned again = 0; again < 2; again++) {
            struct streamed s;
            atomic_store(&origin.raw, cases[i].answer);
            streamed_init(&f, &s, cases[i].method, "/raw-kept", UINT64_MAX);
            if (strcmp(cases[i].method != NULL ? cases[i].method : "GET", "HEAD") == 0)
                s.stream.body = NULL;
            streamed_run(&s);
            expect_answered(&s, cases[i].status);
            assert_int_equal(s.taken, 0);
            if (again)
                assert_int_equal(s.ask.result.reused, cases[i].kept);
            streamed_release(&s);
        }
    expect_undisturbed(&f);
    fixture_stop(&f);
}

/* Handed on as it came, and its fields with it; a collected call after it decodes as ever. */
static void test_nothing_is_decoded(void **state)
{
    (void)state;
    struct fixture f;
    struct streamed s;
    struct ask ask = {0};
    begin(&f);
    for (unsigned i = 0; i < 2; i++) {
        streamed_init(&f, &s, NULL, "/gzip", UINT64_MAX);
        streamed_run(&s);
        expect_answered(&s, 200);
        assert_memory_equal(s.text, "\x1f\x8b", 2);
        assert_int_equal(s.header_count, 3);
        assert_true(str_eq(s.headers[1].name, STR("Content-Encoding")));
        assert_true(str_eq(s.headers[1].value, STR("gzip")));
        assert_ptr_equal(s.headers, s.ask.result.headers);
        streamed_release(&s);
        ask_for(&f, &ask, 0, "/gzip");
        assert_true(ask.result.reused);
        assert_true(body_is(&ask, BODY));
        ask_release(&ask);
    }
    assert_int_equal(f.client->lanes[0].idle_count, 1); /* the same handle */
    fixture_stop(&f);
}

static void test_max_body_is_of_collected_answers(void **state)
{
    (void)state;
    struct fixture f;
    struct streamed s;
    struct ask ask = {0};
    begin(&f);
    streamed_init(&f, &s, NULL, "/bytes-1048577", UINT64_MAX);
    streamed_run(&s);
    expect_answered(&s, 200);
    expect_body(&s, (1 << 20) + 1);
    streamed_release(&s);
    ask_for(&f, &ask, 0, "/bytes-1048577"); /* the same handle again */
    assert_string_equal(ask.result.error, "http_response_body_size");
    ask_release(&ask);
    ask_for(&f, &ask, 0, "/bytes-1048576");
    assert_int_equal(ask.result.end, UP_ANSWERED);
    ask_release(&ask);
    fixture_stop(&f);
}

/* -- what breaks off -- */

static void test_each_fault_has_one_outcome(void **state)
{
    (void)state;
    static const struct {
        const char *target, *error;
        unsigned heads;
        uint64_t taken;
    } cases[] = {
        {"/cut", "http_response_incomplete", 1, 5},
        {"/cut-chunked", "http_response_incomplete", 1, 5},
        {"/cut-headers", "http_response_incomplete", 0, 0},
        {"/nothing", "connection_terminated", 0, 0},
        {"/reset", "connection_terminated", 0, 0},
        {"/reset-mid-body", "connection_terminated", 1, 5},
        {"/garbage", "http_protocol_error", 0, 0},
        {"/bad-chunk", "http_protocol_error", 1, 0},
        {"/bad-length", "http_protocol_error", 0, 0},
        {"/endless-headers", "http_response_header_section_size", 0, 0},
        {"/long-header", "http_response_header_size", 0, 0},
    };
    struct fixture f;
    begin(&f);
    for (unsigned paused = 0; paused < 2; paused++)
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct streamed s;
            streamed_init(&f, &s, NULL, cases[i].target, UINT64_MAX);
            s.stops = paused;
            streamed_start(&s);
            if (paused) {
                turn_for(&f, 60);
                streamed_go(&s);
            }
            streamed_wait(&s);
            if (s.ask.result.end != UP_FAILED || s.heads != cases[i].heads ||
                s.taken != cases[i].taken || strcmp(s.ask.result.error, cases[i].error) != 0)
                fail_msg("%s: end %d, %s (%s), %u heads, %u bytes", cases[i].target,
                         s.ask.result.end, s.ask.result.error, s.ask.result.detail, s.heads,
                         (unsigned)s.taken);
            streamed_release(&s);
            expect_undisturbed(&f);
        }
    fixture_stop(&f);
}

static void test_what_nobody_asked_for_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *error;
    } cases[] = {
        {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nhello", "http_protocol_error"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
         "http_response_transfer_coding"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n\x1f\x8b",
         "http_response_transfer_coding"},
    };
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct streamed s;
        atomic_store(&origin.raw, cases[i].answer);
        streamed_init(&f, &s, NULL, "/raw", UINT64_MAX);
        streamed_run(&s);
        assert_int_equal(s.heads, 0);
        assert_string_equal(s.ask.result.error, cases[i].error);
        streamed_release(&s);
        expect_undisturbed(&f);
    }
    fixture_stop(&f);
}

/* The upstream must not take what it has for all there is. */
static void test_a_body_that_breaks_off_is_not_ended(void **state)
{
    (void)state;
    static const struct {
        uint64_t length, gives, breaks_at;
    } cases[] = {
        {100000, 100000, 50000},
        {UINT64_MAX, 100000, 50000},
        {100000, 60000, 0},
        {10, 9, 0},
    };
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct streamed s;
        unsigned whole = atomic_load(&origin.whole);
        streamed_init(&f, &s, "PUT", "/late-body", cases[i].gives);
        s.stream.length = cases[i].length;
        s.breaks_at = cases[i].breaks_at;
        s.gives_at_most = 20000;
        streamed_run(&s);
        assert_int_equal(s.ask.result.end, UP_FAILED);
        assert_string_equal(s.ask.result.error, "http_request_error");
        assert_int_equal(s.heads, 0);
        assert_int_equal(s.ask.result.attempts, 1);
        streamed_release(&s);
        expect_undisturbed(&f);
        assert_int_equal(atomic_load(&origin.whole), whole + 1); /* that last call's */
    }
    fixture_stop(&f);
}

/* -- what comes early -- */

/* The upstream answers before it has the body, and doesn't read it. */
static void test_an_answer_needs_not_wait_for_the_whole_request(void **state)
{
    (void)state;
    static const struct {
        const char *target, *answer;
        uint64_t length, has; /* has: all that there is for now */
        int status;
        enum up_end end;
    } cases[] = {
        {"/413-unread", NULL, 32 << 20, 0, 413, UP_ANSWERED},
        {"/413-unread", NULL, UINT64_MAX, 0, 413, UP_ANSWERED},
        {"/413-unread", NULL, 32 << 20, 1000, 413, UP_ANSWERED},
        {"/413-unread", NULL, UINT64_MAX, 1000, 413, UP_ANSWERED},
        {"/raw-kept-unread", "HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\nbig", 32 << 20, 1000,
         413, UP_ANSWERED},
        {"/raw-kept-unread", "HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\nbig", 32 << 20, 0, 413,
         UP_ANSWERED},
        {"/raw-kept-unread", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbig", 32 << 20, 1000, 200,
         UP_ANSWERED},
        {"/raw-kept-unread", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbig", 32 << 20, 0, 200,
         UP_ANSWERED},
        {"/raw-kept-unread",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n0\r\n\r\n", UINT64_MAX,
         1000, 200, UP_ANSWERED},
        {"/raw-kept-unread", "HTTP/1.1 204 No\r\n\r\n", UINT64_MAX, 1000, 204, UP_ANSWERED},
        {"/raw-unread", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbig", 32 << 20, 1000, 200,
         UP_FAILED},
        {"/raw-unread", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n",
         UINT64_MAX, 1000, 200, UP_FAILED},
    };
    struct fixture f;
    begin(&f);
    atomic_store(&origin.behind, NULL);
    for (unsigned paused = 0; paused < 2; paused++)
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct streamed s;
            if (cases[i].answer != NULL)
                atomic_store(&origin.raw, cases[i].answer);
            streamed_init(&f, &s, "PUT", cases[i].target, 64 << 20);
            s.stream.length = cases[i].length;
            s.gives = cases[i].length == UINT64_MAX ? 64 << 20 : cases[i].length;
            s.has = cases[i].has;
            s.takes_one_in = paused + 1;
            s.resumes = true;
            streamed_run(&s);
            if (s.ask.result.end != cases[i].end || s.status != cases[i].status)
                fail_msg("case %zu: %s (%s), status %d", i, s.ask.result.error, s.ask.result.detail,
                         s.status);
            assert_int_equal(s.taken, cases[i].status == 204 ? 0 : 3);
            assert_true(s.given < 32 << 20);
            streamed_release(&s);
            expect_undisturbed(&f);
        }
    fixture_stop(&f);
}

/* -- what comes behind -- */

#define EVIL "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

static void test_bytes_behind_an_answer_are_nobodys(void **state)
{
    (void)state;
    static const struct {
        const char *method, *answer, *behind;
    } cases[] = {
        {NULL, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" EVIL, NULL},
        {NULL, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", EVIL},
        {NULL, "HTTP/1.1 204 No\r\n\r\n" EVIL, NULL},
        {NULL, "HTTP/1.1 204 No\r\n\r\n", EVIL},
        {NULL, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" EVIL,
         NULL},
        {NULL, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", EVIL},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n" EVIL, NULL},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n", EVIL},
    };
    struct fixture f;
    begin(&f);
    /* how long its bytes aren't taken: not at all, until more is there, and long past that */
    for (unsigned ms = 0; ms <= 80; ms += 40)
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct streamed s;
            atomic_store(&origin.raw, cases[i].answer);
            atomic_store(&origin.behind, cases[i].behind);
            streamed_init(&f, &s, cases[i].method, "/raw-kept", UINT64_MAX);
            s.stops = ms != 0;
            streamed_start(&s);
            if (ms != 0)
                turn_for(&f, ms);
            if (!s.ask.done)
                streamed_go(&s);
            streamed_wait(&s);
            assert_int_equal(s.ask.result.end, UP_ANSWERED);
            assert_true(s.taken == (s.status == 204 || cases[i].method != NULL ? 0 : 2));
            streamed_release(&s);
            if (i % 2 != 0)
                turn_for(&f, 50); /* it comes while the connection is idle */
            expect_undisturbed(&f);
            expect_undisturbed(&f);
        }
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_without_a_body),
        cmocka_unit_test(test_nothing_is_decoded),
        cmocka_unit_test(test_max_body_is_of_collected_answers),
        cmocka_unit_test(test_each_fault_has_one_outcome),
        cmocka_unit_test(test_what_nobody_asked_for_is_refused),
        cmocka_unit_test(test_a_body_that_breaks_off_is_not_ended),
        cmocka_unit_test(test_an_answer_needs_not_wait_for_the_whole_request),
        cmocka_unit_test(test_bytes_behind_an_answer_are_nobodys),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
