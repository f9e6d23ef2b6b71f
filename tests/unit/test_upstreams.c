/* One call to one upstream: what each kind of answer and each fault becomes, and that calls can be
 * dropped at any moment. The faults are made by a real server on a real socket. */
#include "tests/unit/upstreams_fixture.h"

#include <sched.h>
#include <sys/stat.h>

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

/* One upstream "a" at the origin. */
static void begin(struct fixture *f)
{
    fixture_init(f);
    set_url(f, 0, "http://127.0.0.1:%d", origin.port);
}

/* -- answers -- */

static void test_each_answer_and_each_fault_has_one_outcome(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        enum up_end end;
        const char *error;
        int status;
        const char *body; /* NULL: not looked at */
    } cases[] = {
        {"/hello", UP_ANSWERED, NULL, 200, BODY},
        {"/chunked", UP_ANSWERED, NULL, 200, "{\"hello\":\"world\"}"},
        {"/until-close", UP_ANSWERED, NULL, 200, BODY},
        {"/gzip", UP_ANSWERED, NULL, 200, BODY},
        {"/early", UP_ANSWERED, NULL, 200, BODY},
        {"/204", UP_ANSWERED, NULL, 204, ""},
        {"/404", UP_ANSWERED, NULL, 404, "nope"},
        {"/redirect", UP_ANSWERED, NULL, 302, ""}, /* not followed */
        {"/cut", UP_FAILED, "http_response_incomplete", 200, NULL},
        {"/cut-chunked", UP_FAILED, "http_response_incomplete", 200, NULL},
        {"/cut-headers", UP_FAILED, "http_response_incomplete", 200, NULL},
        {"/nothing", UP_FAILED, "connection_terminated", 0, NULL},
        {"/reset", UP_FAILED, "connection_terminated", 0, NULL},
        {"/reset-mid-body", UP_FAILED, "connection_terminated", 200, NULL},
        {"/garbage", UP_FAILED, "http_protocol_error", 0, NULL},
        {"/bad-chunk", UP_FAILED, "http_protocol_error", 200, NULL},
        {"/bad-length", UP_FAILED, "http_protocol_error", 200, NULL},
        {"/not-gzip", UP_FAILED, "http_response_content_coding", 200, NULL},
        {"/bomb", UP_FAILED, "http_response_body_size", 200, NULL},
        {"/endless", UP_FAILED, "http_response_body_size", 200, NULL},
        {"/announces-too-much", UP_FAILED, "http_response_body_size", 200, NULL},
        {"/endless-headers", UP_FAILED, "http_response_header_section_size", 200, NULL},
        {"/long-header", UP_FAILED, "http_response_header_size", 200, NULL},
    };
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ask ask = {0};
        struct up_result result = ask_for(&f, &ask, 0, cases[i].target);
        if (result.end != cases[i].end || result.status != cases[i].status ||
            !str_eq(str_from(result.error), str_from(cases[i].error)))
            fail_msg("%s: end %d, error %s, status %d, \"%s\"", cases[i].target, result.end,
                     result.error, result.status, result.detail);
        if (cases[i].body != NULL && !body_is(&ask, cases[i].body))
            fail_msg("%s: body '%.*s'", cases[i].target, (int)result.body.n, result.body.p);
        assert_int_equal(result.attempts, 1);
        assert_true(cases[i].end == UP_ANSWERED || result.detail[0] != '\0');
        assert_true(result.body.n <= f.configured[0].max_body);
        ask_release(&ask);
    }
    assert_int_equal(upstream_stats(upstream_find(f.ups, STR("a"))).inflight, 0);
    fixture_stop(&f);
}

static void test_an_answer_carries_type_sizes_and_times(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f);
    fixture_start(&f, 1);
    struct up_result result = ask_for(&f, &ask, 0, "/gzip");
    assert_true(str_eq(result.content_type, STR("application/json")));
    assert_int_equal(result.body.n, sizeof(BODY) - 1);
    assert_true(result.wire_bytes > 0 && result.wire_bytes != result.body.n);
    assert_false(result.reused);
    assert_int_equal(result.times.queue, 0);
    assert_int_equal(result.times.dns, 0);
    assert_int_equal(result.times.tls, 0);
    assert_in_range(result.times.connect, 1, result.times.first_byte);
    assert_in_range(result.times.first_byte, result.times.connect, result.times.total);
    ask_release(&ask);

    result = ask_for(&f, &ask, 0, "/hello");
    assert_true(result.reused);
    assert_int_equal(result.times.connect, 0);
    assert_in_range(result.times.first_byte, 1, result.times.total);
    assert_int_equal(result.wire_bytes, sizeof(BODY) - 1);
    ask_release(&ask);
    fixture_stop(&f);
}

/* The buffer that curl reads into follows the answers; whatever it is, bodies arrive whole. */
static void test_bodies_of_any_size_arrive_whole(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    static const struct {
        const char *target;
        size_t n;
    } cases[] = {{"/hello", sizeof(BODY) - 1},
                 {"/200k", 200000},
                 {"/20k", 20000},
                 {"/20k", 20000},
                 {"/200k", 200000},
                 {"/hello", sizeof(BODY) - 1}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ask ask = {0};
        struct up_result result = ask_for(&f, &ask, 0, cases[i].target);
        assert_int_equal(result.end, UP_ANSWERED);
        assert_int_equal(result.body.n, cases[i].n);
        assert_int_equal(result.wire_bytes, cases[i].n);
        ask_release(&ask);
    }
    fixture_stop(&f);
}

static void test_a_body_may_be_as_large_as_the_cap_and_no_larger(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct fixture f;
        struct ask ask = {0};
        begin(&f);
        f.configured[0].max_body = 20000 - (unsigned)over;
        fixture_start(&f, 1);
        struct up_result result = ask_for(&f, &ask, 0, "/20k");
        assert_int_equal(result.end, over ? UP_FAILED : UP_ANSWERED);
        assert_int_equal(result.body.n, over ? 0 : 20000);
        ask_release(&ask);
        fixture_stop(&f);
    }
}

/* -- requests -- */

static void expect_request(struct ask *ask, const char *line)
{
    char request[4096];
    snprintf(request, sizeof(request), "%.*s\r\n", (int)ask->result.body.n, ask->result.body.p);
    if (strstr(request, line) == NULL)
        fail_msg("'%s' is not in\n%s", line, request);
}

static void expect_once(struct ask *ask, const char *text)
{
    char request[4096];
    snprintf(request, sizeof(request), "%.*s\r\n", (int)ask->result.body.n, ask->result.body.p);
    const char *first = strstr(request, text);
    assert_non_null(first);
    assert_null(strstr(first + 1, text));
}

static void test_a_request_holds_its_lines_and_nothing_else(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f);
    set_url(&f, 0, "http://us%%2Fer:pa%%20ss@127.0.0.1:%d/", origin.port);
    struct config_pair set[] = {{STR("X-Set"), STR("one two")}, {STR("user-agent"), STR("ours")}};
    f.configured[0].set_headers = (struct config_pairs){set, 2};
    fixture_start(&f, 1);
    struct up_header headers[] = {
        {STR("X-Request-Id"), STR("0123")},
        {STR("X-Split"), STR("a\r\nX-Injected: b")},
        {STR("X-Nul"), {"a\0b", 3}},
        {STR("Accept-Language"), STR("de")},
    };
    ask_with(&f, &ask, 0, "/echo", headers, COUNT(headers), 0);
    ask_wait(&f, &ask);
    char expected[512];
    snprintf(expected, sizeof(expected),
             "GET /echo HTTP/1.1\r\n"
             "X-Request-Id: 0123\r\n"
             "Accept-Language: de\r\n"
             "X-Set: one two\r\n"
             "user-agent: ours\r\n"
             "Authorization: Basic dXMvZXI6cGEgc3M=\r\n"
             "Host: 127.0.0.1:%d\r\n"
             "Accept: application/json\r\n"
             "Accept-Encoding: gzip, deflate\r\n"
             "Gateway-Protocol: HTTP/1.1",
             origin.port);
    if (!body_is(&ask, expected))
        fail_msg("sent\n%.*s", (int)ask.result.body.n, ask.result.body.p);
    ask_release(&ask);
    assert_true(memmem(upstream_url(upstream_find(f.ups, STR("a"))).p,
                       upstream_url(upstream_find(f.ups, STR("a"))).n, "pa", 2) == NULL);
    fixture_stop(&f);
}

static void test_a_request_names_the_gateway_when_nobody_else(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f);
    set_url(&f, 0, "http://127.0.0.1:%d", origin.port);
    fixture_start(&f, 1);
    ask_with(&f, &ask, 0, "/echo", NULL, 0, 0);
    ask_wait(&f, &ask);
    char expected[256];
    snprintf(expected, sizeof(expected),
             "GET /echo HTTP/1.1\r\n"
             "Host: 127.0.0.1:%d\r\n"
             "Accept: application/json\r\n"
             "Accept-Encoding: gzip, deflate\r\n"
             "User-Agent: gateway HTTP/1.1",
             origin.port);
    if (!body_is(&ask, expected))
        fail_msg("sent\n%.*s", (int)ask.result.body.n, ask.result.body.p);
    ask_release(&ask);
    fixture_stop(&f);
}

static void test_configured_headers_replace_the_gateways_own(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f);
    struct config_pair set[] = {{STR("host"), STR("shop.example")},
                                {STR("Accept"), STR("text/html")},
                                {STR("accept-encoding"), STR("identity")},
                                {STR("X-Empty"), STR("")}};
    f.configured[0].set_headers = (struct config_pairs){set, COUNT(set)};
    fixture_start(&f, 1);
    ask_for(&f, &ask, 0, "/echo");
    expect_request(&ask, "\r\nhost: shop.example\r\n");
    expect_request(&ask, "\r\nAccept: text/html\r\n");
    expect_request(&ask, "\r\naccept-encoding: identity\r\n");
    expect_request(&ask, "\r\nX-Empty: \r\n");
    expect_once(&ask, "identity");
    assert_null(memmem(ask.result.body.p, ask.result.body.n, "Host:", 5));
    assert_null(memmem(ask.result.body.p, ask.result.body.n, "gzip", 4));
    ask_release(&ask);
    fixture_stop(&f);
}

static void test_targets_follow_the_base_url(void **state)
{
    (void)state;
    static const struct {
        const char *path, *target, *line;
    } cases[] = {
        {"", "", "GET / HTTP"},
        {"", "/a/b?c=d", "GET /a/b?c=d HTTP"},
        {"", "?c=d", "GET /?c=d HTTP"},
        {"/", "/a", "GET /a HTTP"},
        {"/v1", "/a", "GET /v1/a HTTP"},
        {"/v1/", "/a", "GET /v1/a HTTP"},
        {"/v1/", "", "GET /v1 HTTP"},
        {"/v1", "?c=d", "GET /v1?c=d HTTP"},
        {"/v1", "/../x/./y//z", "GET /v1/../x/./y//z HTTP"}, /* as it is */
        {"/v%201", "/%2e%2E/%00", "GET /v%201/%2e%2E/%00 HTTP"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[64];
        struct fixture f;
        struct ask ask = {0};
        begin(&f);
        set_url(&f, 0, "http://127.0.0.1:%d%s", origin.port, cases[i].path);
        fixture_start(&f, 1);
        /* The origin echoes only "/echo": look at what was written for the wire instead. */
        ask_start(&f, &ask, 0, cases[i].target);
        snprintf(path, sizeof(path), "%s", cases[i].line + 4);
        if (strncmp(ask.call->request.p, path, strlen(path)) != 0)
            fail_msg("%s + %s: %s", cases[i].path, cases[i].target, ask.call->request.p);
        ask_wait(&f, &ask);
        assert_int_equal(ask.result.end, UP_ANSWERED);
        ask_release(&ask);
        fixture_stop(&f);
    }
}

static void test_what_is_no_target_is_not_sent(void **state)
{
    (void)state;
    static const char *const targets[] = {
        "echo", "@evil.example/", "/a b", "/a\r\nX: y", "/a#b", "/\x7f", "/\xc3\xa4", ":80/", "\\",
    };
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    unsigned before = atomic_load(&origin.connections);
    for (size_t i = 0; i < COUNT(targets); i++) {
        struct ask ask = {0};
        struct up_result result = ask_for(&f, &ask, 0, targets[i]);
        assert_int_equal(result.end, UP_FAILED);
        assert_string_equal(result.error, "http_request_error");
        ask_release(&ask);
    }
    assert_int_equal(atomic_load(&origin.connections), before);
    fixture_stop(&f);
}

static void test_a_request_has_a_largest_size(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f);
    fixture_start(&f, 1);
    size_t n = 200 * 1024;
    char *target = malloc(n + 1);
    memset(target, 'a', n);
    target[0] = '/';
    target[n] = '\0';
    struct up_result result = ask_for(&f, &ask, 0, target);
    assert_string_equal(result.error, "http_request_error");
    ask_release(&ask);
    struct up_header header = {STR("X-Large"), {target, n}};
    ask_with(&f, &ask, 0, "/echo", &header, 1, 0);
    ask_wait(&f, &ask);
    assert_string_equal(ask.result.error, "http_request_error");
    ask_release(&ask);
    free(target);
    fixture_stop(&f);
}

/* -- connections -- */

static void test_connections_are_kept_and_used_again(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    unsigned before = atomic_load(&origin.connections);
    for (unsigned i = 1; i <= 20; i++) {
        struct ask ask = {0};
        char expected[32];
        snprintf(expected, sizeof(expected), "%u.%u", before + 1, i);
        ask_for(&f, &ask, 0, "/count");
        assert_true(body_is(&ask, expected));
        assert_int_equal(ask.result.reused, i > 1);
        ask_release(&ask);
    }
    fixture_stop(&f);
}

static void test_without_max_idle_every_call_connects(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.configured[0].max_idle = 0;
    fixture_start(&f, 1);
    unsigned before = atomic_load(&origin.connections);
    for (unsigned i = 0; i < 3; i++) {
        struct ask ask = {0};
        assert_int_equal(ask_for(&f, &ask, 0, "/hello").end, UP_ANSWERED);
        ask_release(&ask);
    }
    assert_int_equal(atomic_load(&origin.connections), before + 3);
    fixture_stop(&f);
}

static void test_at_most_max_idle_connections_are_kept(void **state)
{
    (void)state;
    enum { CALLS = 12 };
    struct fixture f;
    struct ask asks[CALLS] = {0};
    begin(&f);
    f.configured[0].max_idle = 4;
    fixture_start(&f, 1);
    for (int round = 0; round < 3; round++) {
        unsigned before = atomic_load(&origin.connections), reused = 0;
        for (size_t i = 0; i < CALLS; i++)
            ask_start(&f, &asks[i], 0, "/busy");
        for (size_t i = 0; i < CALLS; i++) {
            ask_wait(&f, &asks[i]);
            reused += asks[i].result.reused;
            ask_release(&asks[i]);
        }
        for (int i = 0; i < 10; i++) { /* one call after another: what is over max_idle closes */
            struct ask ask = {0};
            ask_for(&f, &ask, 0, "/hello");
            assert_true(ask.result.reused);
            ask_release(&ask);
        }
        if (round > 0) {
            assert_in_range(reused, 1, 5);
            assert_int_equal(atomic_load(&origin.connections) - before, CALLS - reused);
        }
    }
    fixture_stop(&f);
}

static void test_a_connection_the_server_closed_is_replaced_unseen(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    for (int i = 0; i < 10; i++) {
        struct ask ask = {0};
        assert_int_equal(ask_for(&f, &ask, 0, "/stale").end, UP_ANSWERED);
        ask_release(&ask);
        if (i % 2) /* with and without having noticed it */
            turn_for(&f, 20);
    }
    fixture_stop(&f);
}

static void test_connections_end_after_their_lifetime(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.configured[0].connection_lifetime_ms = 1000;
    fixture_start(&f, 1);
    unsigned before = atomic_load(&origin.connections);
    uint64_t until_us = clock_us() + 2500 * 1000;
    while (clock_us() < until_us) {
        struct ask ask = {0};
        assert_int_equal(ask_for(&f, &ask, 0, "/hello").end, UP_ANSWERED);
        ask_release(&ask);
        turn_for(&f, 50);
    }
    assert_in_range(atomic_load(&origin.connections) - before, 2, 4);
    fixture_stop(&f);
}

static void test_unix_sockets_and_addresses_of_both_families(void **state)
{
    (void)state;
    char path[64];
    struct fixture f;
    struct ask ask = {0};
    struct origin local;
    snprintf(path, sizeof(path), "/tmp/test_upstreams.%d.sock", (int)getpid());
    origin_start(&local, path);
    fixture_init(&f);
    set_url(&f, 0, "unix:%s", path);
    set_url(&f, 1, "http://localhost:%d", origin.port);
    set_url(&f, 2, "http://[::1]:1/");
    set_url(&f, 3, "unix:/nonexistent/socket");
    fixture_start(&f, 4);
    assert_int_equal(ask_for(&f, &ask, 0, "/echo").end, UP_ANSWERED);
    expect_request(&ask, "\r\nHost: localhost\r\n");
    ask_release(&ask);
    assert_int_equal(ask_for(&f, &ask, 1, "/hello").end, UP_ANSWERED);
    ask_release(&ask);
    assert_int_equal(ask_for(&f, &ask, 2, "/").end, UP_FAILED);
    assert_true(strstr("connection_refused destination_ip_unroutable destination_unavailable",
                       ask.result.error) != NULL);
    ask_release(&ask);
    assert_string_equal(ask_for(&f, &ask, 3, "/").error, "destination_unavailable");
    ask_release(&ask);
    fixture_stop(&f);
    origin_stop(&local);
    unlink(path);
}

/* -- time -- */

static void test_late_answers_are_timeouts(void **state)
{
    (void)state;
    struct fixture f;
    struct ask late = {0}, drip = {0};
    begin(&f);
    f.configured[0].timeout_ms = 150;
    fixture_start(&f, 1);
    ask_start(&f, &late, 0, "/late");
    ask_start(&f, &drip, 0, "/drip");
    ask_wait(&f, &late);
    ask_wait(&f, &drip);
    assert_int_equal(late.result.end, UP_TIMEOUT);
    assert_string_equal(late.result.error, "http_response_timeout");
    assert_int_equal(late.result.status, 0);
    assert_int_equal(drip.result.end, UP_TIMEOUT);
    assert_string_equal(drip.result.error, "http_response_timeout");
    assert_int_equal(drip.result.status, 200);
    assert_in_range(late.result.times.total, 149 * 1000, 2000 * 1000);
    ask_release(&late);
    ask_release(&drip);

    ask_with(&f, &late, 0, "/late", NULL, 0, 20); /* a call may have less time */
    ask_wait(&f, &late);
    assert_in_range(late.result.times.total, 19 * 1000, 140 * 1000);
    ask_release(&late);
    fixture_stop(&f);
}

/* A listener whose queue is full doesn't answer: connecting takes for ever. */
static int deaf_listener(int *port_r, int fillers[4])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 0), 0);
    getsockname(fd, (struct sockaddr *)&address, &length);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, sizeof(address));
    }
    *port_r = ntohs(address.sin_port);
    return fd;
}

static void test_connecting_has_its_own_timeout(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0}, late = {0};
    int port, fillers[4], fd = deaf_listener(&port, fillers);
    begin(&f);
    set_url(&f, 1, "http://127.0.0.1:%d", port);
    f.configured[0].connect_timeout_ms = f.configured[1].connect_timeout_ms = 100;
    f.configured[0].timeout_ms = 600;
    fixture_start(&f, 2);
    ask_start(&f, &late, 0, "/late"); /* connects at once: only its own timeout counts then */
    ask_for(&f, &ask, 1, "/");
    assert_int_equal(ask.result.end, UP_TIMEOUT);
    assert_string_equal(ask.result.error, "connection_timeout");
    assert_in_range(ask.result.times.total, 99 * 1000, 550 * 1000);
    assert_int_equal(ask.result.times.connect, 0);
    ask_release(&ask);
    ask_wait(&f, &late);
    assert_string_equal(late.result.error, "http_response_timeout");
    assert_in_range(late.result.times.total, 599 * 1000, 3000 * 1000);
    ask_release(&late);

    ask_with(&f, &ask, 1, "/", NULL, 0, 30); /* the attempt's end comes first */
    ask_wait(&f, &ask);
    assert_string_equal(ask.result.error, "connection_timeout");
    ask_release(&ask);
    fixture_stop(&f);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(fd);
}

static void test_a_refused_connection_is_told_at_once(void **state)
{
    (void)state;
    struct fixture f;
    int port, fillers[4], fd = deaf_listener(&port, fillers);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(fd); /* nobody listens there now */
    begin(&f);
    set_url(&f, 1, "http://127.0.0.1:%d", port);
    fixture_start(&f, 2);
    for (int i = 0; i < 3; i++) {
        struct ask ask = {0};
        struct up_result result = ask_for(&f, &ask, 1, "/");
        assert_int_equal(result.end, UP_FAILED);
        assert_string_equal(result.error, "connection_refused");
        assert_non_null(strstr(result.detail, "refused"));
        ask_release(&ask);
    }
    fixture_stop(&f);
}

/* -- many, and dropped ones -- */

static void test_calls_run_at_the_same_time(void **state)
{
    (void)state;
    enum { CALLS = 100 };
    struct fixture f;
    static struct ask asks[CALLS];
    unsigned left = CALLS;
    begin(&f);
    fixture_start(&f, 1);
    for (size_t i = 0; i < CALLS; i++) {
        asks[i] = (struct ask){.countdown = &left};
        ask_start(&f, &asks[i], 0, "/busy");
    }
    while (left != 0)
        loop_turn(f.loop, 1000);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(asks[i].result.end, UP_ANSWERED);
        assert_true(body_is(&asks[i], BODY));
        ask_release(&asks[i]);
    }
    assert_in_range(atomic_load(&origin.most_busy), 2, CALLS);
    fixture_stop(&f);
}

static void test_a_call_dropped_in_its_turn_reaches_nobody(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f);
    fixture_start(&f, 1);
    unsigned before = atomic_load(&origin.connections);
    for (int i = 0; i < 100; i++) {
        ask_start(&f, &ask, 0, "/hello");
        up_call_cancel(&ask.call);
        assert_null(ask.call);
    }
    turn_for(&f, 50);
    assert_false(ask.done);
    assert_int_equal(atomic_load(&origin.connections), before);
    assert_int_equal(upstream_stats(upstream_find(f.ups, STR("a"))).inflight, 0);
    fixture_stop(&f);
}

static void test_calls_can_be_dropped_at_any_moment(void **state)
{
    (void)state;
    static const char *const targets[] = {"/hello", "/late", "/drip", "/200k", "/busy", "/nothing"};
    struct fixture f;
    begin(&f);
    f.configured[0].max_inflight = 3; /* so that some of them queue */
    fixture_start(&f, 1);
    for (unsigned turns = 0; turns < 12; turns++) {
        struct ask asks[COUNT(targets)] = {0};
        for (size_t i = 0; i < COUNT(targets); i++)
            ask_start(&f, &asks[i], 0, targets[i]);
        for (unsigned i = 0; i < turns; i++)
            loop_turn(f.loop, 1);
        for (size_t i = 0; i < COUNT(targets); i++)
            up_call_cancel(&asks[i].call); /* done or not */
        assert_int_equal(upstream_stats(upstream_find(f.ups, STR("a"))).queued, 0);
    }
    turn_for(&f, 20);
    assert_int_equal(upstream_stats(upstream_find(f.ups, STR("a"))).inflight, 0);
    struct ask ask = {0};
    assert_int_equal(ask_for(&f, &ask, 0, "/hello").end, UP_ANSWERED);
    ask_release(&ask);
    fixture_stop(&f);
}

/* Another thread, whose descriptors take the numbers that come free. */
struct neighbour {
    int readable; /* a socket with a byte in it */
    _Atomic bool ending;
    unsigned lost; /* descriptors that became something else */
};

static void *live_beside(void *arg)
{
    struct neighbour *neighbour = arg;
    struct stat mine, now;
    fstat(neighbour->readable, &mine);
    while (!atomic_load(&neighbour->ending)) {
        int fd = dup(neighbour->readable);
        for (int i = 0; i < 50; i++)
            sched_yield();
        neighbour->lost += fstat(fd, &now) != 0 || now.st_ino != mine.st_ino;
        close(fd);
    }
    return NULL;
}

/* A connection that is still being made is closed by curl before it says that it lets go of it. */
static void test_calls_dropped_while_they_connect_touch_nobody_elses_descriptors(void **state)
{
    (void)state;
    struct fixture f;
    struct neighbour neighbour = {.lost = 0};
    pthread_t thread;
    int port, fillers[4], fd = deaf_listener(&port, fillers), pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    neighbour.readable = pair[0];
    begin(&f);
    set_url(&f, 1, "http://127.0.0.1:%d", port);
    fixture_start(&f, 2);
    assert_int_equal(pthread_create(&thread, NULL, live_beside, &neighbour), 0);
    for (int round = 0; round < 1500; round++) {
        struct ask asks[8] = {0};
        for (size_t i = 0; i < COUNT(asks); i++)
            ask_start(&f, &asks[i], 1, "/");
        loop_turn(f.loop, 0);
        for (size_t i = 0; i < COUNT(asks); i++)
            up_call_cancel(&asks[i].call);
    }
    atomic_store(&neighbour.ending, true);
    pthread_join(thread, NULL);
    assert_int_equal(neighbour.lost, 0);
    fixture_stop(&f);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(fd);
    close(pair[0]);
    close(pair[1]);
}

static void test_a_client_goes_with_calls_under_way(void **state)
{
    (void)state;
    struct fixture f;
    struct ask asks[6] = {0};
    begin(&f);
    f.configured[0].max_inflight = 2;
    fixture_start(&f, 1);
    for (size_t i = 0; i < 4; i++)
        ask_start(&f, &asks[i], 0, i % 2 ? "/late" : "/drip");
    turn_for(&f, 50);
    ask_start(&f, &asks[4], 0, "/hello"); /* not yet begun */
    fixture_stop(&f);
    for (size_t i = 0; i < COUNT(asks); i++)
        assert_false(asks[i].done);
}

struct chain {
    struct fixture *f;
    unsigned left;
    struct up_call *other;
};

static void chain_next(struct up_call *call, const struct up_result *result, void *arg)
{
    struct chain *chain = arg;
    assert_int_equal(result->end, UP_ANSWERED);
    if (call == chain->other)
        chain->other = NULL;
    up_call_release(&call);
    up_call_cancel(&chain->other);
    if (chain->left == 0)
        return;
    struct up_request request = {.upstream = upstream_find(chain->f->ups, STR("a")),
                                 .target = STR("/hello")};
    if (--chain->left != 0) {
        chain->other = up_call_start(chain->f->client, &request, chain_next, chain);
        up_call_start(chain->f->client, &request, chain_next, chain);
    }
}

static void test_callbacks_may_start_release_and_drop_calls(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    struct chain chain = {.f = &f, .left = 50};
    struct up_request request = {.upstream = upstream_find(f.ups, STR("a")),
                                 .target = STR("/hello")};
    chain.other = NULL;
    up_call_start(f.client, &request, chain_next, &chain);
    uint64_t until_us = clock_us() + 10 * 1000 * 1000;
    while (chain.left != 0 && clock_us() < until_us)
        loop_turn(f.loop, 100);
    assert_int_equal(chain.left, 0);
    fixture_stop(&f);
}

/* -- configuration -- */

static void test_what_cannot_be_used_is_told(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "ftp://files.example/", "http://a.example/?x=y", "http://a.example/#x", "http://",
        "//a.example",          "http://a b/",           "unix:relative",       "http://a:99999/",
    };
    for (size_t i = 0; i < COUNT(urls); i++) {
        struct fixture f;
        fixture_init(&f);
        set_url(&f, 0, "%s", urls[i]);
        f.config->upstream_count = 1;
        f.ups = upstreams_create(f.config, f.diag);
        if (diag_errors(f.diag) != 1)
            fail_msg("%s: %zu errors", urls[i], diag_errors(f.diag));
        upstreams_destroy(&f.ups);
        f.config->upstreams = NULL;
        f.config->upstream_count = 0;
        config_destroy(&f.config);
        diag_destroy(&f.diag);
    }
}

static void test_headers_that_would_break_the_request_are_told(void **state)
{
    (void)state;
    static struct config_pair set[] = {
        {STR("Content-Length"), STR("5")},
        {STR("connection"), STR("close")},
        {STR("Bad Name"), STR("x")},
        {STR("X-Lines"), STR("a\r\nb: c")},
        {STR(""), STR("x")},
        {STR("X-Good"), STR("x\ty")},
    };
    static struct str forwarded[] = {STR("Host"), STR("transfer-encoding"), STR("X-Good"),
                                     STR("Accept-Language"), STR("a:b")};
    struct fixture f;
    fixture_init(&f);
    set_url(&f, 0, "http://127.0.0.1");
    f.configured[0].set_headers = (struct config_pairs){set, COUNT(set)};
    f.configured[0].forward_headers = (struct config_strings){forwarded, COUNT(forwarded)};
    f.config->upstream_count = 1;
    f.ups = upstreams_create(f.config, f.diag);
    assert_int_equal(diag_errors(f.diag), 5 + 4);
    upstreams_destroy(&f.ups);
    f.config->upstreams = NULL;
    f.config->upstream_count = 0;
    config_destroy(&f.config);
    diag_destroy(&f.diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_answer_and_each_fault_has_one_outcome),
        cmocka_unit_test(test_an_answer_carries_type_sizes_and_times),
        cmocka_unit_test(test_bodies_of_any_size_arrive_whole),
        cmocka_unit_test(test_a_body_may_be_as_large_as_the_cap_and_no_larger),
        cmocka_unit_test(test_a_request_holds_its_lines_and_nothing_else),
        cmocka_unit_test(test_a_request_names_the_gateway_when_nobody_else),
        cmocka_unit_test(test_configured_headers_replace_the_gateways_own),
        cmocka_unit_test(test_targets_follow_the_base_url),
        cmocka_unit_test(test_what_is_no_target_is_not_sent),
        cmocka_unit_test(test_a_request_has_a_largest_size),
        cmocka_unit_test(test_connections_are_kept_and_used_again),
        cmocka_unit_test(test_without_max_idle_every_call_connects),
        cmocka_unit_test(test_at_most_max_idle_connections_are_kept),
        cmocka_unit_test(test_a_connection_the_server_closed_is_replaced_unseen),
        cmocka_unit_test(test_connections_end_after_their_lifetime),
        cmocka_unit_test(test_unix_sockets_and_addresses_of_both_families),
        cmocka_unit_test(test_late_answers_are_timeouts),
        cmocka_unit_test(test_connecting_has_its_own_timeout),
        cmocka_unit_test(test_a_refused_connection_is_told_at_once),
        cmocka_unit_test(test_calls_run_at_the_same_time),
        cmocka_unit_test(test_a_call_dropped_in_its_turn_reaches_nobody),
        cmocka_unit_test(test_calls_can_be_dropped_at_any_moment),
        cmocka_unit_test(test_calls_dropped_while_they_connect_touch_nobody_elses_descriptors),
        cmocka_unit_test(test_a_client_goes_with_calls_under_way),
        cmocka_unit_test(test_callbacks_may_start_release_and_drop_calls),
        cmocka_unit_test(test_what_cannot_be_used_is_told),
        cmocka_unit_test(test_headers_that_would_break_the_request_are_told),
    };
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
