/* Calls that are no GET: what the upstream gets of them, that it gets it once, and what becomes of
 * a body that isn't taken. Against the origin that makes faults on demand, and a real nginx. */
#include "tests/unit/upstreams_fixture.h"

#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct origin origin;
static char bytes[2 << 20];

static int start_origin(void **state)
{
    (void)state;
    uint64_t x = 1;
    for (size_t i = 0; i < sizeof(bytes); i++, x = x * 6364136223846793005u + 1442695040888963407u)
        bytes[i] = (char)(x >> 56); /* every byte there is, NUL and line ends too */
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

static struct up_result send_to(struct fixture *f, struct ask *ask, const char *method,
                                const char *target, struct str body)
{
    static const struct up_header type = {{"Content-Type", 12}, {"application/x-thing", 19}};
    struct up_request request = {.upstream = upstream_find(f->ups, STR("a")),
                                 .target = str_from(target),
                                 .headers = &type,
                                 .header_count = 1,
                                 .method = method,
                                 .body = body};
    ask_request(f, ask, &request);
    ask_wait(f, ask);
    return ask->result;
}

static struct str some(size_t n)
{
    return (struct str){bytes, n};
}

/* -- what the upstream gets -- */

static void test_a_request_with_a_body_says_so_and_nothing_else(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    static const struct {
        const char *method;
        struct str body;
        const char *line, *length; /* length NULL: none is told */
    } cases[] = {
        {"POST", {"a=b", 3}, "POST /body HTTP/1.1\r\n", "3"},
        {"POST", {"", 0}, "POST /body HTTP/1.1\r\n", "0"},
        {"POST", {NULL, 0}, "POST /body HTTP/1.1\r\n", "0"},
        {"PUT", {"a=b", 3}, "PUT /body HTTP/1.1\r\n", "3"},
        {"PATCH", {NULL, 0}, "PATCH /body HTTP/1.1\r\n", "0"},
        {"DELETE", {NULL, 0}, "DELETE /body HTTP/1.1\r\n", NULL},
        {"QUERY", {"a=b", 3}, "QUERY /body HTTP/1.1\r\n", "3"},
        {"GET", {NULL, 0}, "GET /body HTTP/1.1\r\n", NULL},
        {NULL, {NULL, 0}, "GET /body HTTP/1.1\r\n", NULL},
        {NULL, {"a=b", 3}, "GET /body HTTP/1.1\r\n", "3"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ask ask = {0};
        char *wanted;
        gw_assert(
            asprintf(&wanted,
                     "%sContent-Type: application/x-thing\r\nHost: 127.0.0.1:%d\r\n"
                     "Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\n"
                     "User-Agent: gateway HTTP/1.1%s%s\n%zu %08lx",
                     cases[i].line, origin.port, cases[i].length ? "\r\nContent-Length: " : "",
                     cases[i].length ? cases[i].length : "", cases[i].body.n,
                     crc32(0, (const unsigned char *)cases[i].body.p, (unsigned)cases[i].body.n)) >
            0);
        struct up_result result = send_to(&f, &ask, cases[i].method, "/body", cases[i].body);
        assert_int_equal(result.end, UP_ANSWERED);
        assert_int_equal(result.attempts, 1);
        assert_int_equal(result.reused, i != 0);
        if (!body_is(&ask, wanted))
            fail_msg("case %zu:\n%.*s\n-- wanted:\n%s", i, (int)result.body.n, result.body.p,
                     wanted);
        free(wanted);
        ask_release(&ask);
    }
    fixture_stop(&f);
}

static void expect_whole(struct ask *ask, size_t n)
{
    char tail[64];
    int length = snprintf(tail, sizeof(tail), "\n%zu %08lx", n,
                          crc32(0, (const unsigned char *)bytes, (unsigned)n));
    struct str body = ask->result.body;
    assert_int_equal(ask->result.end, UP_ANSWERED);
    assert_true(body.n > (size_t)length);
    assert_memory_equal(body.p + body.n - length, tail, (size_t)length);
    for (size_t i = 0; i + 7 < body.n; i++) /* whatever its size, nobody is asked first */
        assert_true(strncasecmp(body.p + i, "expect:", 7) != 0);
}

static void test_bodies_of_any_size_arrive_whole(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    /* curl sends up to 64 KB with the head, and would have asked first from 1 MB on */
    static const size_t sizes[] = {1,       1000,          65535,         65536, 65537,
                                   1 << 20, (1 << 20) + 1, sizeof(bytes), 10};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct ask ask = {0};
        send_to(&f, &ask, "POST", "/body", some(sizes[i]));
        expect_whole(&ask, sizes[i]);
        assert_int_equal(ask.result.reused, i != 0);
        ask_release(&ask);
    }
    fixture_stop(&f);
}

static void test_a_peer_that_reads_slowly_gets_all_of_it(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    struct ask slow = {0}, quick = {0};
    struct up_request request = {.upstream = upstream_find(f.ups, STR("a")),
                                 .target = STR("/slow-body"),
                                 .method = "POST",
                                 .body = some(1 << 20)};
    ask_request(&f, &slow, &request);
    turn_for(&f, 20);
    ask_for(&f, &quick, 0, "/hello"); /* and nobody else waits meanwhile */
    assert_int_equal(quick.result.end, UP_ANSWERED);
    assert_false(slow.done);
    ask_release(&quick);
    ask_wait(&f, &slow);
    expect_whole(&slow, 1 << 20);
    ask_release(&slow);
    fixture_stop(&f);
}

static void test_the_next_call_of_the_same_handle_is_a_get_again(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    struct ask plain = {0}, ask = {0};
    char before[1024];
    ask_for(&f, &plain, 0, "/body");
    assert_int_equal(plain.result.end, UP_ANSWERED);
    snprintf(before, sizeof(before), "%.*s", (int)plain.result.body.n, plain.result.body.p);
    ask_release(&plain);
    static const char *const methods[] = {"POST", "DELETE", "PUT"};
    for (size_t i = 0; i < COUNT(methods); i++) {
        send_to(&f, &ask, methods[i], "/body", some(100000 * i));
        assert_int_equal(ask.result.end, UP_ANSWERED);
        ask_release(&ask);
        ask_for(&f, &plain, 0, "/body");
        assert_true(plain.result.reused);
        assert_true(body_is(&plain, before));
        ask_release(&plain);
        assert_int_equal(f.client->lanes[0].idle_count, 1); /* it was the same one */
    }
    fixture_stop(&f);
}

/* -- once -- */

/* Both went over a kept-alive connection, which ended when they had arrived. */
static void test_what_may_have_arrived_is_not_sent_again(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        struct str body;
        unsigned times; /* that the upstream is asked */
    } cases[] = {
        {NULL, {NULL, 0}, 2},     {"POST", {"pay", 3}, 1},       {"POST", {NULL, 0}, 1},
        {"DELETE", {NULL, 0}, 1}, {"POST", {bytes, 1 << 20}, 1},
    };
    for (size_t others = 0; others < 2; others++) /* also idle connections it could go over */
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct fixture f;
            begin(&f);
            struct ask first[2] = {0}, ask = {0};
            for (size_t j = 0; j <= others; j++)
                ask_start(&f, &first[j], 0, "/busy");
            for (size_t j = 0; j <= others; j++)
                ask_wait(&f, &first[j]);
            for (size_t j = 0; j <= others; j++)
                ask_release(&first[j]);
            unsigned before = atomic_load(&origin.asked);
            unsigned connections = atomic_load(&origin.connections);
            struct up_result result = send_to(&f, &ask, cases[i].method, "/nothing", cases[i].body);
            assert_int_equal(result.end, UP_FAILED);
            assert_string_equal(result.error, "connection_terminated");
            assert_int_equal(result.status, 0);
            assert_int_equal(atomic_load(&origin.asked) - before,
                             cases[i].method != NULL ? 1 : 2 + others);
            if (cases[i].method != NULL) {
                assert_true(result.reused);
                assert_int_equal(atomic_load(&origin.connections), connections);
                assert_non_null(strstr(result.detail, "before an answer"));
            }
            assert_int_equal(result.attempts, 1);
            ask_release(&ask);
            fixture_stop(&f);
        }
}

static void test_a_connection_that_ended_before_is_replaced(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    struct ask ask = {0};
    ask_for(&f, &ask, 0, "/stale");
    ask_release(&ask);
    turn_for(&f, 30); /* its end comes */
    unsigned before = atomic_load(&origin.asked);
    struct up_result result = send_to(&f, &ask, "POST", "/body", some(1000));
    expect_whole(&ask, 1000);
    assert_false(result.reused);
    assert_int_equal(atomic_load(&origin.asked) - before, 1);
    ask_release(&ask);
    fixture_stop(&f);
}

/* -- what goes wrong -- */

static void test_each_fault_has_one_outcome(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        size_t size;
        enum up_end end;
        const char *error;
        int status;
        const char *body; /* NULL: not looked at */
    } cases[] = {
        {"/500-body", 1000, UP_ANSWERED, NULL, 500, "oops"},
        {"/500-body", 1 << 20, UP_ANSWERED, NULL, 500, "oops"},
        {"/404", 1000, UP_ANSWERED, NULL, 404, "nope"},
        {"/redirect", 1000, UP_ANSWERED, NULL, 302, ""},
        {"/early", 1000, UP_ANSWERED, NULL, 200, BODY},
        {"/413-unread", sizeof(bytes), UP_ANSWERED, NULL, 413, "big"},
        {"/cut-unread", sizeof(bytes), UP_FAILED, "connection_terminated", 0, NULL},
        {"/nothing", 1000, UP_FAILED, "connection_terminated", 0, NULL},
        {"/cut", 1000, UP_FAILED, "http_response_incomplete", 200, NULL},
        {"/reset-mid-body", 1000, UP_FAILED, "connection_terminated", 200, NULL},
        {"/garbage", 1000, UP_FAILED, "http_protocol_error", 0, NULL},
        {"/body", 1000, UP_ANSWERED, NULL, 200, NULL},
    };
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ask ask = {0};
        struct up_result result = send_to(&f, &ask, "POST", cases[i].target, some(cases[i].size));
        if (result.end != cases[i].end || result.status != cases[i].status ||
            !str_eq(str_from(result.error), str_from(cases[i].error)))
            fail_msg("%s: end %d, error %s, status %d, \"%s\"", cases[i].target, result.end,
                     result.error, result.status, result.detail);
        if (cases[i].body != NULL && !body_is(&ask, cases[i].body))
            fail_msg("%s: body '%.*s'", cases[i].target, (int)result.body.n, result.body.p);
        ask_release(&ask);
    }
    assert_int_equal(upstream_stats(upstream_find(f.ups, STR("a"))).inflight, 0);
    fixture_stop(&f);
}

static void test_a_timeout_says_whether_the_body_was_taken(void **state)
{
    (void)state;
    static const struct {
        const char *target, *error, *detail;
        size_t size;
    } cases[] = {
        {"/unread", "connection_write_timeout", "the body wasn't taken in time", 0},
        {"/late-body", "http_response_timeout", "no whole answer in time", 1000},
        {"/late-body", "http_response_timeout", "no whole answer in time", 1 << 20},
    };
    struct fixture f;
    fixture_init(&f);
    set_url(&f, 0, "http://127.0.0.1:%d", origin.port);
    f.configured[0].timeout_ms = 150;
    fixture_start(&f, 1);
    static char huge[32 << 20]; /* more than sockets take */
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ask ask = {0};
        struct str body =
            cases[i].size != 0 ? some(cases[i].size) : (struct str){huge, sizeof(huge)};
        struct up_result result = send_to(&f, &ask, "POST", cases[i].target, body);
        assert_int_equal(result.end, UP_TIMEOUT);
        assert_string_equal(result.error, cases[i].error);
        assert_string_equal(result.detail, cases[i].detail);
        ask_release(&ask);
    }
    fixture_stop(&f);
}

static void test_a_call_can_be_dropped_while_its_body_goes(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    for (unsigned ms = 0; ms < 40; ms += 4) {
        struct ask ask = {0};
        char *body = malloc(1 << 20); /* gone with the call */
        memset(body, 'x', 1 << 20);
        struct up_request request = {.upstream = upstream_find(f.ups, STR("a")),
                                     .target = STR("/slow-body"),
                                     .method = "POST",
                                     .body = {body, 1 << 20}};
        ask_request(&f, &ask, &request);
        if (ms != 0)
            turn_for(&f, ms);
        up_call_cancel(&ask.call);
        free(body);
        assert_false(ask.done);
    }
    struct ask ask = {0};
    send_to(&f, &ask, "POST", "/body", some(1000));
    expect_whole(&ask, 1000);
    ask_release(&ask);
    fixture_stop(&f);
}

/* -- nginx -- */

static char *file_text(const char *path, size_t *n_r)
{
    FILE *file = fopen(path, "r");
    struct stat st;
    if (file == NULL)
        fail_msg("no %s", path);
    fstat(fileno(file), &st);
    char *text = calloc(1, (size_t)st.st_size + 1);
    *n_r = fread(text, 1, (size_t)st.st_size, file);
    fclose(file);
    return text;
}

static void test_nginx_gets_what_was_sent(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_upstreams_bodies.XXXXXX", path[128], text[160];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/nginx.conf", dir);
    FILE *conf = fopen(path, "w");
    assert_non_null(conf);
    fprintf(conf,
            "daemon off; master_process off; pid %1$s/pid; error_log %1$s/error;\n"
            "events {}\n"
            "http { log_format got '$connection_requests $request_method $request_length "
            "$content_length $content_type [$http_expect$http_transfer_encoding] $status';\n"
            "access_log %1$s/access got;\n"
            "client_body_temp_path %1$s/body; proxy_temp_path %1$s/proxy; fastcgi_temp_path "
            "%1$s/f; uwsgi_temp_path %1$s/u; scgi_temp_path %1$s/s;\n"
            "server { listen unix:%1$s/socket; client_max_body_size 1536k; root %1$s;\n"
            "location = /kept { dav_methods PUT; }\nlocation = /told { return 200 '{}'; } } }\n",
            dir);
    fclose(conf);
    char prefix[] = "-p", configured[] = "-c", program[] = "nginx";
    char *arguments[] = {program, prefix, dir, configured, path, NULL};
    pid_t nginx;
    assert_int_equal(posix_spawnp(&nginx, program, NULL, NULL, arguments, environ), 0);
    snprintf(text, sizeof(text), "%s/socket", dir);
    for (int tries = 0; access(text, F_OK) != 0 && tries < 500; tries++)
        usleep(10 * 1000);

    struct fixture f;
    fixture_init(&f);
    set_url(&f, 0, "unix:%s/socket", dir);
    fixture_start(&f, 1);
    struct ask ask = {0};
    assert_int_equal(send_to(&f, &ask, "PUT", "/kept", some(1 << 20)).status, 201);
    ask_release(&ask);
    size_t n;
    snprintf(text, sizeof(text), "%s/kept", dir);
    char *kept = file_text(text, &n);
    assert_int_equal(n, 1 << 20);
    assert_memory_equal(kept, bytes, n);
    free(kept);
    assert_int_equal(send_to(&f, &ask, "POST", "/told", some(1000)).status, 200);
    ask_release(&ask);
    assert_int_equal(ask_for(&f, &ask, 0, "/told").status, 200);
    ask_release(&ask);
    assert_int_equal(send_to(&f, &ask, "POST", "/told", some(sizeof(bytes))).status, 413);
    ask_release(&ask);
    fixture_stop(&f);

    kill(nginx, SIGTERM);
    assert_int_equal(waitpid(nginx, NULL, 0), nginx);
    snprintf(text, sizeof(text), "%s/access", dir);
    char *log = file_text(text, &n);
    unsigned serial, length;
    int end = 0;
    assert_int_equal(
        sscanf(log, "1 PUT %u 1048576 application/x-thing [--] 201\n%n", &length, &end), 1);
    assert_true(end != 0 && length > 1048576);
    const char *rest = log + end;
    assert_int_equal(
        sscanf(rest, "%u POST %u 1000 application/x-thing [--] 200\n%n", &serial, &length, &end),
        2);
    assert_int_equal(serial, 2); /* the same connection */
    rest += end;
    assert_int_equal(sscanf(rest, "%u GET %u - - [--] 200\n%n", &serial, &length, &end), 2);
    assert_int_equal(serial, 3);
    free(log);
    snprintf(text, sizeof(text), "rm -r '%s'", dir);
    assert_int_equal(system(text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_with_a_body_says_so_and_nothing_else),
        cmocka_unit_test(test_bodies_of_any_size_arrive_whole),
        cmocka_unit_test(test_a_peer_that_reads_slowly_gets_all_of_it),
        cmocka_unit_test(test_the_next_call_of_the_same_handle_is_a_get_again),
        cmocka_unit_test(test_what_may_have_arrived_is_not_sent_again),
        cmocka_unit_test(test_a_connection_that_ended_before_is_replaced),
        cmocka_unit_test(test_each_fault_has_one_outcome),
        cmocka_unit_test(test_a_timeout_says_whether_the_body_was_taken),
        cmocka_unit_test(test_a_call_can_be_dropped_while_its_body_goes),
        cmocka_unit_test(test_nginx_gets_what_was_sent),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
