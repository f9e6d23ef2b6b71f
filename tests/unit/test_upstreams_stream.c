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

/* -- rest -- */

static double cpu_ms(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

/* A loop that looked at such a socket in each turn would take all of the time there is. */
static void expect_rest(struct streamed *s, unsigned ms)
{
    turn_for(s->f, 50); /* what was on its way */
    double before = cpu_ms();
    uint64_t until_us = clock_us() + ms * 1000;
    unsigned turns = 0;
    for (; clock_us() < until_us; turns++)
        loop_turn(s->f->loop, 100);
    assert_false(s->ask.done);
    assert_true(turns < 20);
    assert_true(cpu_ms() - before < ms / 4.0);
}

static void test_who_waits_takes_no_time(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        uint64_t gives, has;
        bool stops;
    } cases[] = {
        {"/bytes-100000000", UINT64_MAX, 0, true},   /* with more to read */
        {"/bytes-100", UINT64_MAX, 0, true},         /* with all read */
        {"/until-close-100", UINT64_MAX, 0, true},   /* with the connection at its end */
        {"/until-close-90000", UINT64_MAX, 0, true}, /* behind more to read */
        {"/reset-mid-body", UINT64_MAX, 0, true},
        {"/body", 1000, 1, false}, /* with nothing to give */
        {"/bytes-100000000", 1000, 1000, true},
        {"/gated-body", 64 << 20, 0, false}, /* with nobody who takes it */
        {"/late", UINT64_MAX, 0, false},
    };
    struct fixture f;
    begin(&f);
    atomic_store(&origin.shut, true);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct streamed s;
        streamed_init(&f, &s, cases[i].gives == UINT64_MAX ? NULL : "PUT", cases[i].target,
                      cases[i].gives);
        s.stops = cases[i].stops;
        s.has = cases[i].has;
        s.stream.idle_ms = s.request.timeout_ms = 30000;
        streamed_start(&s);
        expect_rest(&s, 200);
        up_call_cancel(&s.ask.call);
    }
    fixture_stop(&f);
    atomic_store(&origin.shut, false);
    while (atomic_load(&origin.open) != 0) /* until it has read what was sent */
        usleep(1000);
}

/* -- requests -- */

static void set_headers(struct fixture *f)
{
    static struct config_pair pairs[] = {{{"X-Set", 5}, {"by us", 5}},
                                         {{"Authorization", 13}, {"Bearer ours", 11}}};
    f->configured[0].set_headers.items = pairs;
    f->configured[0].set_headers.count = COUNT(pairs);
}

/* The client's lines as they are, but for those that are ours to write. */
static void test_a_request_says_what_it_is_told_to_and_no_more(void **state)
{
    (void)state;
    static const struct up_header headers[] = {
        {{"Accept", 6}, {"text/html", 9}},  {{"user-agent", 10}, {"someone/1", 9}},
        {{"x-set", 5}, {"by them", 7}},     {{"authorization", 13}, {"Bearer theirs", 13}},
        {{"Content-Length", 14}, {"7", 1}}, {{"transfer-encoding", 17}, {"gzip", 4}},
        {{"Connection", 10}, {"close", 5}}, {{"Expect", 6}, {"100-continue", 12}},
        {{"Host", 4}, {"elsewhere", 9}},    {{"Content-Type", 12}, {"text/plain", 10}},
        {{"Evil", 4}, {"a\r\nb: c", 7}},
    };
    static const struct {
        const char *method;
        uint64_t length, gives;
        const char *host, *line, *end;
    } cases[] = {
        {NULL, 0, UINT64_MAX, NULL, "GET", ""},
        {"GET", 0, UINT64_MAX, NULL, "GET", ""},
        {"BREW", 0, UINT64_MAX, NULL, "BREW", ""},
        {"DELETE", 0, UINT64_MAX, NULL, "DELETE", ""},
        {"POST", 0, UINT64_MAX, NULL, "POST", "\r\nContent-Length: 0"},
        {"POST", 0, 0, NULL, "POST", "\r\nContent-Length: 0"},
        {"POST", 9, 9, "shop.example:1", "POST", "\r\nContent-Length: 9"},
        {"PUT", 2000000, 2000000, NULL, "PUT", "\r\nContent-Length: 2000000"},
        {"PUT", UINT64_MAX, 2000000, NULL, "PUT", "\r\nTransfer-Encoding: chunked"},
        {"PROPFIND", UINT64_MAX, 0, NULL, "PROPFIND", "\r\nTransfer-Encoding: chunked"},
        {NULL, 5, 5, "b", "GET", "\r\nContent-Length: 5"},
    };
    struct fixture f;
    fixture_init(&f);
    set_url(&f, 0, "http://127.0.0.1:%d/v1", origin.port);
    set_headers(&f);
    fixture_start(&f, 1);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct streamed s;
        char wanted[1024], host[64];
        uint64_t n = cases[i].gives == UINT64_MAX ? 0 : cases[i].gives;
        streamed_init(&f, &s, cases[i].method, "/body?a=b", cases[i].gives);
        s.stream.length = cases[i].length;
        s.request.headers = headers;
        s.request.header_count = COUNT(headers);
        s.request.host = str_from(cases[i].host);
        streamed_run(&s);
        expect_answered(&s, 200);
        snprintf(host, sizeof(host), "127.0.0.1:%d", origin.port);
        snprintf(wanted, sizeof(wanted),
                 "%s /v1/body?a=b HTTP/1.1\r\nAccept: text/html\r\nuser-agent: someone/1\r\n"
                 "Content-Type: text/plain\r\nX-Set: by us\r\nAuthorization: Bearer ours\r\n"
                 "Host: %s\r\nGateway-Protocol: HTTP/1.1%s\n%llu %08lx",
                 cases[i].line, cases[i].host != NULL ? cases[i].host : host, cases[i].end,
                 (unsigned long long)n, pattern_crc(n));
        assert_string_equal(s.text, wanted);
        streamed_release(&s);
    }
    fixture_stop(&f);
}

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
        cmocka_unit_test(test_who_waits_takes_no_time),
        cmocka_unit_test(test_a_request_says_what_it_is_told_to_and_no_more),
        cmocka_unit_test(test_bodies_arrive_whole_however_they_are_given),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
