/* http/ as its clients see it: a server of one loop in a thread, real sockets against it. Small
 * bodies and loopback; what waits waits for something to happen, not for a time to pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "http/http_internal.h"

#define HOST  "Host: shop.example\r\n"
#define HELLO "GET / HTTP/1.1\r\n" HOST "\r\n"

/* -- the server -------------------------------------------------------------------------------- */

static struct {
    char dir[64], log[96], listen[128], control[128], admin_port[32];
    struct str addresses[2];
    struct config config;
    struct access_log *access;
    struct diag *diag;
    struct http_server *server;
    struct loop *loop;
    struct http_loop *http;
    pthread_t thread;
    uint16_t port, admin;
    struct message message;
    struct http_request *held; /* "/held" waits for release() */
    sem_t arrived, gone, idle;
    bool ready;
} it;

static void hello(struct http_request *request, void *arg)
{
    struct out out;
    (void)arg;
    out_init(&out, request->pool, 0);
    out_str(&out, STR("hello "));
    out_str(&out, request->params[0].p != NULL ? request->params[0] : STR("world"));
    http_reply(request, 200, "text/plain; charset=utf-8", &out);
}

/* The request's pool goes: it was answered, or its client left. */
static void hold_disposed(void *arg)
{
    struct http_request *const *held = arg;
    if (it.held != *held)
        return; /* answered */
    it.held = NULL;
    sem_post(&it.gone);
}

static void hold(struct http_request *request, void *arg)
{
    (void)arg;
    struct http_request **held = h2o_mem_alloc_shared(request->pool, sizeof(*held), hold_disposed);
    it.held = *held = request;
    sem_post(&it.arrived);
}

static void release_on_loop(struct message *message)
{
    (void)message;
    struct http_request *request = it.held;
    it.held = NULL;
    hello(request, NULL);
}

static struct timer later;

static void reply_later(struct timer *timer)
{
    (void)timer;
    release_on_loop(NULL);
}

static void hold_a_moment(struct http_request *request, void *arg)
{
    (void)arg;
    it.held = request;
    timer_init(&later, reply_later);
    timer_start(request->loop, &later, 1);
}

static void big(struct http_request *request, void *arg)
{
    enum { SIZE = 8 << 20 };
    struct out out;
    (void)arg;
    out_init(&out, request->pool, SIZE);
    memset(out_room(&out, SIZE), 'x', SIZE);
    out.at += SIZE;
    http_reply(request, 200, "application/octet-stream", &out);
}

static void fail_parts(struct http_request *request, void *arg)
{
    static const struct access_part parts[] = {
        {.name = {"product", 7}, .state = "timeout", .us = 800123},
        {.name = {"re\"co", 5}, .state = "error", .us = 1000},
    };
    static const bool required[] = {true, false};
    struct http_problem problem = {.status = 504,
                                   .type = "upstream-timeout",
                                   .title = "A required part timed out",
                                   .detail = STR("part 'product' <late>"),
                                   .parts = parts,
                                   .required = required,
                                   .part_count = COUNT(parts),
                                   .retry_after_s = 3};
    (void)arg;
    http_problem_reply(request, &problem);
}

/* "POST /certificates/{id}/revoke" as a folder above would add it. */
static void take_back_told(struct http_request *request, enum http_body_end how, struct str body,
                           void *arg)
{
    struct out out;
    if (how != BODY_WHOLE) {
        http_body_refuse(request, how);
        return;
    }
    out_init(&out, request->pool, 0);
    out_str(&out, str_from(arg));
    out_str(&out, request->params[0]);
    out_str(&out, STR(": "));
    out_str(&out, body);
    http_reply(request, 200, "text/plain; charset=utf-8", &out);
}

static char revoke_word[] = "revoked ";

static void take_back(struct http_request *request, void *arg)
{
    http_body_collect(request, 100, take_back_told, arg);
}

static bool is_ready(void *arg)
{
    (void)arg;
    return it.ready;
}

static void on_idle(void *arg)
{
    (void)arg;
    sem_post(&it.idle);
}

static void drain(void *arg)
{
    (void)arg;
    http_loop_drain(it.http, false, on_idle, NULL);
}

static void *run(void *arg)
{
    (void)arg;
    loop_run(it.loop);
    return NULL;
}

static void start(uint32_t max_connections)
{
    const char *error = NULL;
    struct pos at = {0};
    strcpy(it.dir, "/tmp/test_http_server.XXXXXX");
    assert_non_null(mkdtemp(it.dir));
    snprintf(it.log, sizeof(it.log), "%s/access", it.dir);
    snprintf(it.listen, sizeof(it.listen), "unix:%s/http.sock", it.dir);
    snprintf(it.control, sizeof(it.control), "unix:%s/run/control.sock", it.dir);
    it.addresses[0] = STR("127.0.0.1:0");
    it.addresses[1] = str_from(it.listen);
    it.config = (struct config){
        .templates_dir = str_from(it.dir),
        .server = {.listen = {it.addresses, 2},
                   .max_connections = max_connections,
                   .head_timeout_ms = 5000,
                   .idle_timeout_ms = 5000,
                   .body_idle_timeout_ms = 5000,
                   .max_body = 1000},
        .admin = {.listen = STR("127.0.0.1:0"), .control = str_from(it.control)},
    };
    it.ready = true;
    it.held = NULL;
    sem_init(&it.arrived, 0, 0);
    sem_init(&it.gone, 0, 0);
    sem_init(&it.idle, 0, 0);
    it.access = access_log_open(it.log, ACCESS_LOGFMT, 1);
    it.diag = diag_create();
    it.server = http_server_create(&it.config, NULL, NULL, it.access, NULL, it.diag);
    http_route_add(it.server, "home", HTTP_GET, STR("/"), hello, NULL, at, it.diag);
    http_route_add(it.server, "name", HTTP_GET | HTTP_POST, STR("/name/{name}"), hello, NULL, at,
                   it.diag);
    http_route_add(it.server, "held", HTTP_GET, STR("/held"), hold, NULL, at, it.diag);
    http_route_add(it.server, "later", HTTP_GET, STR("/later"), hold_a_moment, NULL, at, it.diag);
    http_route_add(it.server, "big", HTTP_GET, STR("/big"), big, NULL, at, it.diag);
    http_route_add(it.server, "fail", HTTP_GET, STR("/fail"), fail_parts, NULL, at, it.diag);
    http_control_add(it.server, "revoke", HTTP_POST | HTTP_READS_BODY,
                     STR("/certificates/{id}/revoke"), take_back, revoke_word);
    http_control_add(it.server, "show", HTTP_GET, STR("/certificates/{id}"), hello, NULL);
    assert_int_equal(diag_errors(it.diag), 0);
    it.loop = loop_create(0);
    if (!http_server_listen(it.server, 1, NULL, &error))
        fail_msg("%s", error);
    it.http = http_loop_create(it.server, it.loop);
    struct http_admin admin = {.ready = is_ready, .drain = drain};
    if (!http_admin_start(it.http, &admin, &error))
        fail_msg("%s", error);
    it.port = ntohs(it.server->listeners[0]->address.sa.v4.sin_port);
    it.admin = ntohs(it.http->admin_listeners[0].address.sa.v4.sin_port);
    assert_int_equal(pthread_create(&it.thread, NULL, run, NULL), 0);
}

static int setup(void **state)
{
    (void)state;
    start(100);
    return 0;
}

static int setup_two_connections(void **state)
{
    (void)state;
    start(2);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    loop_stop(it.loop);
    pthread_join(it.thread, NULL);
    http_loop_destroy(&it.http);
    http_server_destroy(&it.server);
    loop_destroy(&it.loop);
    access_log_close(&it.access);
    diag_destroy(&it.diag);
    snprintf(command, sizeof(command), "%s/http.sock", it.dir);
    assert_int_equal(access(command, F_OK), -1); /* sockets don't outlive the server */
    snprintf(command, sizeof(command), "%s/run/control.sock", it.dir);
    assert_int_equal(access(command, F_OK), -1);
    snprintf(command, sizeof(command), "rm -r '%s'", it.dir);
    assert_int_equal(system(command), 0);
    return 0;
}

static void wait_for(sem_t *event, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    if (sem_timedwait(event, &until) != 0)
        fail_msg("%s did not happen", what);
}

static void release(void)
{
    it.message.fn = release_on_loop;
    loop_post(it.loop, &it.message);
}

/* -- clients ----------------------------------------------------------------------------------- */

static char answer[16 << 20];
static size_t answered;

static int dial(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {10, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static void say(int fd, const char *text)
{
    ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL);
    assert_int_equal(n, strlen(text));
}

/* Reads until `needle` was seen `times` times. */
static void hear(int fd, const char *needle, size_t times)
{
    answered = 0;
    for (;;) {
        size_t seen = 0;
        answer[answered] = '\0';
        for (const char *at = answer; (at = strstr(at, needle)) != NULL; at++)
            seen++;
        if (seen >= times)
            return;
        ssize_t n = recv(fd, answer + answered, sizeof(answer) - 1 - answered, 0);
        if (n <= 0)
            fail_msg("\"%s\" came %zu times, not %zu, in:\n%s", needle, seen, times, answer);
        answered += (size_t)n;
    }
}

/* Reads until the server closes. */
static void hear_all(int fd)
{
    ssize_t n;
    answered = 0;
    while ((n = recv(fd, answer + answered, sizeof(answer) - 1 - answered, 0)) > 0)
        answered += (size_t)n;
    answer[answered] = '\0';
    if (n < 0)
        fail_msg("no orderly end after:\n%s", answer);
}

static bool has(const char *text)
{
    return strstr(answer, text) != NULL;
}

static int status_of(const char *text)
{
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? atoi(text + 9) : 0;
}

/* Waits for the log to have `lines` lines; the whole of it, until the next call. */
static const char *log_lines(size_t lines)
{
    static char text[1 << 16];
    for (int tries = 0; tries < 1000; tries++) {
        FILE *file = fopen(it.log, "r");
        size_t n = file == NULL ? 0 : fread(text, 1, sizeof(text) - 1, file), count = 0;
        if (file != NULL)
            fclose(file);
        text[n] = '\0';
        for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
            count++;
        if (count > lines)
            fail_msg("%zu lines, not %zu:\n%s", count, lines, text);
        if (count == lines)
            return text;
        usleep(10000);
    }
    fail_msg("the log has no %zu lines:\n%s", lines, text);
    return NULL;
}

static size_t keep(char *bytes, size_t size, size_t count, void *arg)
{
    (void)arg;
    memcpy(answer + answered, bytes, size * count);
    answered += size * count;
    answer[answered] = '\0';
    return size * count;
}

static CURL *curl_to(const char *path, long version)
{
    char url[128];
    CURL *curl = curl_easy_init();
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", it.port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, version);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 10000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    answered = 0;
    return curl;
}

/* -- requests and replies ---------------------------------------------------------------------- */

static void test_a_reply_has_the_fields_that_every_reply_has(void **state)
{
    (void)state;
    int fd = dial(it.port);
    say(fd, "GET /name/joe HTTP/1.1\r\n" HOST "X-Request-Id: id-7\r\n\r\n");
    hear(fd, "hello joe", 1);
    assert_int_equal(status_of(answer), 200);
    assert_true(has("\r\nContent-Length: 9\r\n"));
    assert_true(has("\r\ncontent-type: text/plain; charset=utf-8\r\n"));
    assert_true(has("\r\nx-request-id: id-7\r\n"));
    assert_true(has("\r\nx-content-type-options: nosniff\r\n"));
    assert_true(has("\r\nserver: gateway\r\n"));
    assert_true(has("\r\nDate: "));
    close(fd);
    const char *line = log_lines(1);
    assert_non_null(strstr(line, " id=id-7 client=127.0.0.1 method=GET path=/name/joe "
                                 "host=shop.example protocol=HTTP/1.1 route=name status=200 "
                                 "bytes=9 "));
}

static void test_head_is_get_without_the_body(void **state)
{
    (void)state;
    int fd = dial(it.port);
    say(fd, "HEAD / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    hear_all(fd);
    assert_true(has("\r\nContent-Length: 11\r\n") && has("\r\nConnection: close\r\n"));
    assert_string_equal(answer + answered - 4, "\r\n\r\n");
    close(fd);
}

static void test_a_connection_serves_request_after_request(void **state)
{
    (void)state;
    int fd = dial(it.port);
    for (int i = 0; i < 50; i++) {
        say(fd, HELLO);
        hear(fd, "hello world", 1);
    }
    close(fd);
    log_lines(50);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    int fd = dial(it.port);
    say(fd,
        "GET /name/1 HTTP/1.1\r\n" HOST "\r\n"
        "POST /name/2 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
        "POST /name/3 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        "GET /name/4 HTTP/1.1\r\n" HOST "\r\nGET /na");
    hear(fd, "hello 4", 1);
    say(fd, "me/5 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    size_t before = answered;
    char *rest = strdup(answer);
    hear_all(fd);
    assert_true(has("hello 5"));
    const char *at = rest;
    for (int i = 1; i <= 4; i++) {
        char hello_i[24];
        snprintf(hello_i, sizeof(hello_i), "hello %d", i);
        at = strstr(at, hello_i);
        assert_non_null(at);
    }
    assert_true(before > 0);
    free(rest);
    close(fd);
    log_lines(5);
}

static void test_requests_that_arrive_while_one_waits_are_not_lost(void **state)
{
    (void)state;
    int fd = dial(it.port);
    say(fd, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    wait_for(&it.arrived, "the request");
    say(fd, "GET /name/second HTTP/1.1\r\n" HOST "\r\n" HELLO);
    release();
    hear(fd, "hello world", 2);
    assert_true(strstr(answer, "hello world") < strstr(answer, "hello second"));
    close(fd);
    log_lines(3);
}

static void test_a_reply_from_a_timer_is_finished_at_once(void **state)
{
    (void)state;
    int fd = dial(it.port);
    uint64_t start_us = clock_us();
    for (int i = 0; i < 20; i++) {
        say(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n" HELLO);
        hear(fd, "hello world", 2);
    }
    /* Far from a tight clock: a quiet loop waits for up to a second a turn. */
    assert_true(clock_us() - start_us < 10 * 1000000);
    close(fd);
    log_lines(40);
}

static void test_a_head_may_come_in_drops(void **state)
{
    static const char head[] = "GET /name/slow HTTP/1.1\r\n" HOST "\r\n";
    (void)state;
    int fd = dial(it.port);
    for (size_t i = 0; i < sizeof(head) - 1; i++) {
        char byte[2] = {head[i], '\0'};
        say(fd, byte);
        usleep(200);
    }
    hear(fd, "hello slow", 1);
    close(fd);
    log_lines(1);
}

static void test_methods(void **state)
{
    static const struct {
        const char *head;
        int status;
        const char *allow;
    } cases[] = {
        {"POST / HTTP/1.1\r\n" HOST "\r\n", 405, "GET, HEAD, OPTIONS"},
        {"BREW / HTTP/1.1\r\n" HOST "\r\n", 405, "GET, HEAD, OPTIONS"},
        {"DELETE /name/a HTTP/1.1\r\n" HOST "\r\n", 405, "GET, HEAD, POST, OPTIONS"},
        {"OPTIONS /name/a HTTP/1.1\r\n" HOST "\r\n", 204, "GET, HEAD, POST, OPTIONS"},
        {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 204, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
        {"OPTIONS /nowhere HTTP/1.1\r\n" HOST "\r\n", 404, NULL},
        {"BREW /nowhere HTTP/1.1\r\n" HOST "\r\n", 404, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char allow[64];
        int fd = dial(it.port);
        say(fd, cases[i].head);
        shutdown(fd, SHUT_WR);
        hear_all(fd);
        assert_int_equal(status_of(answer), cases[i].status);
        snprintf(allow, sizeof(allow), "\r\nallow: %s\r\n", cases[i].allow);
        assert_true(cases[i].allow == NULL ? !has("\r\nallow:") : has(allow));
        close(fd);
    }
}

static void test_a_proxy_s_absolute_target_names_the_host(void **state)
{
    (void)state;
    int fd = dial(it.port);
    say(fd, "GET http://other.example:81/name/x?y HTTP/1.1\r\n" HOST "\r\n"
            "GET HTTP://other.example?y HTTP/1.1\r\n" HOST "\r\n");
    hear(fd, "hello world", 1);
    close(fd);
    const char *lines = log_lines(2);
    assert_non_null(strstr(lines, "path=/name/x?y host=other.example:81"));
    assert_non_null(strstr(lines, "path=/?y host=other.example"));
}

/* -- refusals ---------------------------------------------------------------------------------- */

static void test_each_bad_request_has_one_answer_and_one_line(void **state)
{
    static char long_target[10000], long_head[40000], many[2000];
    const struct {
        const char *what, *head;
        int status;
        const char *logged;
    } cases[] = {
        {"no host", "GET /a HTTP/1.1\r\n\r\n", 400, "method=GET path=/a"},
        {"two lengths",
         "GET /a HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400,
         "method=GET path=/a"},
        {"bare line feeds", "GET /a HTTP/1.1\n" HOST "\n", 400, NULL},
        {"not HTTP", "hello there\r\n\r\n", 400, NULL},
        {"another version", "GET /a HTTP/3.0\r\n" HOST "\r\n", 505, "method=GET path=/a"},
        {"another coding", "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: br\r\n\r\n", 400,
         "method=POST path=/a"},
        {"a large body", "POST /name/a HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 413,
         "method=POST path=/name/a"},
        {"a long target", long_target, 414, "method=GET path=/xxx"},
        {"a large head", long_head, 431, "method=GET path=/a"},
        {"many fields", many, 431, "method=GET path=/a"},
        {"a blank in a field's name", "GET /a HTTP/1.1\r\n" HOST "a b: c\r\n\r\n", 400,
         "method=GET path=/a"},
        {"a malformed host", "GET /a HTTP/1.1\r\nHost: a<b\r\n\r\n", 400, "method=GET path=/a"},
        {"dots", "GET /a/%2e%2e HTTP/1.1\r\n" HOST "\r\n", 400, "method=GET path=/a/%2e%2e"},
        {"chunks that are none",
         "POST /name/a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400,
         "method=POST path=/name/a"},
        {"an expectation of something else",
         "POST /name/a HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: tea\r\n\r\n", 417,
         "method=POST path=/name/a"},
        {"no page", "GET /nowhere HTTP/1.1\r\n" HOST "\r\n", 404, "flags=NR"},
        {"a body that breaks off", "POST /name/a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nab",
         0, "method=POST path=/name/a"},
        {"a head that breaks off", "GET /a HTTP/1.1\r\nHo", 0, NULL},
        {"after a good one", HELLO "GET /a HTTP/1.1\r\n\r\n", 400, "method=GET path=/a"},
        {"after a good one, a blank in a name", HELLO "GET /a HTTP/1.1\r\n" HOST "a b: c\r\n\r\n",
         400, "method=GET path=/a"},
    };
    size_t lines = 0;
    (void)state;
    memset(long_target, 'x', sizeof(long_target) - 1);
    memcpy(long_target, "GET /", 5);
    memset(long_head, 'x', sizeof(long_head) - 1);
    memcpy(long_head, "GET /a HTTP/1.1\r\nX: ", 20);
    strcpy(many, "GET /a HTTP/1.1\r\n");
    for (int i = 0; i < 101; i++)
        strcat(many, "X: y\r\n");
    strcat(many, "\r\n");
    for (size_t i = 0; i < COUNT(cases); i++) {
        char status[24];
        int fd = dial(it.port);
        bool second = strncmp(cases[i].head, HELLO, sizeof(HELLO) - 1) == 0;
        say(fd, cases[i].head);
        shutdown(fd, SHUT_WR);
        hear_all(fd);
        const char *last = second ? strstr(answer + 1, "HTTP/1.1 ") : answer;
        if (last == NULL || status_of(last) != cases[i].status) /* 0: no answer */
            fail_msg("%s: %s", cases[i].what, answer);
        close(fd);
        lines += second ? 2 : 1;
        const char *text = log_lines(lines), *line = text + strlen(text) - 1;
        while (line > text && line[-1] != '\n')
            line--;
        snprintf(status, sizeof(status), "status=%d", cases[i].status != 0 ? cases[i].status : 499);
        if (strstr(line, status) == NULL ||
            (cases[i].logged != NULL && strstr(line, cases[i].logged) == NULL))
            fail_msg("%s: %s", cases[i].what, line);
    }
}

static void test_later_requests_are_looked_at_as_the_first_was(void **state)
{
    static char part[512] = "GET /b HTTP/1.1\r\nX: ";
    (void)state;
    int fd = dial(it.port);
    say(fd, HELLO);
    hear(fd, "hello world", 1);
    say(fd, "GET /a HTTP/1.1\r\n" HOST HOST "\r\n");
    hear_all(fd);
    assert_int_equal(status_of(answer), 400);
    assert_true(has("more than one Host"));
    close(fd);

    /* the second head begins behind the first when its end, and what is wrong with it, arrives */
    memset(part + strlen(part), 'x', 400);
    fd = dial(it.port);
    char *both = malloc(1024);
    sprintf(both, "%s%s", HELLO, part);
    say(fd, both);
    hear(fd, "hello world", 1);
    say(fd, "\r\n\r\n");
    hear_all(fd);
    assert_int_equal(status_of(answer), 400);
    assert_true(has("no Host"));
    free(both);
    close(fd);
    assert_non_null(strstr(log_lines(4), "method=GET path=/b protocol=HTTP/1.1 status=400"));
}

static void test_a_refused_client_that_goes_on_sending_reads_why(void **state)
{
    static char rest[1 << 16];
    (void)state;
    int fd = dial(it.port);
    say(fd, "POST /name/a HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n");
    memset(rest, 'x', sizeof(rest));
    for (int i = 0; i < 20; i++)
        assert_int_equal(send(fd, rest, sizeof(rest), MSG_NOSIGNAL), sizeof(rest));
    hear_all(fd); /* an end, not a reset */
    assert_int_equal(status_of(answer), 413);
    close(fd);
}

static void test_problems_are_json_or_a_page(void **state)
{
    (void)state;
    int fd = dial(it.port);
    say(fd, "GET /fail HTTP/1.1\r\n" HOST "X-Request-Id: i\r\nAccept: application/json\r\n\r\n");
    hear(fd, "]}\n", 1);
    assert_int_equal(status_of(answer), 504);
    assert_true(has("\r\ncontent-type: application/problem+json\r\n"));
    assert_true(has("\r\ncache-control: no-store\r\n"));
    assert_true(has("\r\nretry-after: 3\r\n"));
    assert_string_equal(
        strstr(answer, "\r\n\r\n") + 4,
        "{\"type\":\"/problems/upstream-timeout\",\"title\":\"A required part timed out\","
        "\"status\":504,\"detail\":\"part 'product' <late>\",\"instance\":\"/fail\","
        "\"request_id\":\"i\",\"parts\":["
        "{\"name\":\"product\",\"required\":true,\"state\":\"timeout\",\"ms\":800},"
        "{\"name\":\"re\\\"co\",\"required\":false,\"state\":\"error\",\"ms\":1}]}\n");
    say(fd, "GET /fail HTTP/1.1\r\n" HOST "Accept: text/html,*/*;q=0.8\r\n\r\n");
    hear(fd, "</html>", 1);
    assert_int_equal(status_of(answer), 504);
    assert_true(has("\r\ncontent-type: text/html; charset=utf-8\r\n"));
    assert_true(has("<title>504 A required part timed out</title>"));
    assert_true(has("part &#39;product&#39; &lt;late&gt;") ||
                has("part &#x27;product&#x27; &lt;late"));
    assert_true(has("<span>product</span><span>timeout</span>"));
    close(fd);
}

/* -- clients that leave ------------------------------------------------------------------------ */

static void leave(bool reset)
{
    struct linger abortive = {1, 0};
    int fd = dial(it.port);
    say(fd, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    wait_for(&it.arrived, "the request");
    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abortive, sizeof(abortive));
    close(fd);
    wait_for(&it.gone, "the leaving");
}

static void test_a_client_that_leaves_is_noticed(void **state)
{
    (void)state;
    leave(false);
    leave(true);
    const char *lines = log_lines(2);
    const char *first = strstr(lines, "path=/held host=shop.example protocol=HTTP/1.1 route=held "
                                      "status=499 bytes=0 ");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "status=499"));
    assert_non_null(strstr(lines, "flags=DC"));
}

static void test_a_client_that_only_stops_sending_gets_its_answer(void **state)
{
    (void)state;
    for (int minor = 0; minor <= 1; minor++) {
        char head[64];
        int fd = dial(it.port);
        snprintf(head, sizeof(head), "GET /held HTTP/1.%d\r\n" HOST "\r\n", minor);
        say(fd, head);
        shutdown(fd, SHUT_WR);
        wait_for(&it.arrived, "the request");
        if (minor == 1)
            hear(fd, "100 Continue\r\n\r\n", 1); /* the probe, which 1.0 would not understand */
        release();
        hear_all(fd);
        assert_true(has("HTTP/1.1 200 OK") && has("hello world"));
        assert_true(minor == 1 || !has("100 Continue"));
        close(fd);
    }
    log_lines(2);
}

static void test_a_client_that_stops_sending_and_then_leaves_is_noticed(void **state)
{
    (void)state;
    int fd = dial(it.port);
    say(fd, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    shutdown(fd, SHUT_WR);
    wait_for(&it.arrived, "the request");
    hear(fd, "100 Continue\r\n\r\n", 1);
    close(fd);
    wait_for(&it.gone, "the leaving");
    assert_non_null(strstr(log_lines(1), "status=499"));
}

static void test_a_client_that_stops_reading_is_given_up(void **state)
{
    int small = 4096;
    (void)state;
    it.server->sweep_ms = 20;
    it.server->stalled_ms = 100;
    int fd = dial(it.port);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    say(fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    const char *line = log_lines(1);
    assert_non_null(strstr(line, "path=/big"));
    assert_non_null(strstr(line, "flags=DC"));
    close(fd);
}

static void test_a_client_that_reads_slowly_gets_everything(void **state)
{
    (void)state;
    it.server->sweep_ms = 20;
    it.server->stalled_ms = 500;
    int fd = dial(it.port);
    size_t total = 0;
    say(fd, "GET /big HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    for (ssize_t n = 1; n > 0; total += (size_t)n) {
        n = recv(fd, answer, 256 << 10, 0);
        assert_true(n >= 0);
        usleep(10000);
    }
    assert_true(total > 8 << 20);
    close(fd);
    assert_null(strstr(log_lines(1), "DC"));
}

/* -- HTTP/2 ------------------------------------------------------------------------------------ */

static void test_http2_with_prior_knowledge_and_by_upgrade(void **state)
{
    static const long versions[] = {CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE, CURL_HTTP_VERSION_2_0};
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        CURL *curl = curl_to("/name/two", versions[i]);
        long version = 0, status = 0;
        assert_int_equal(curl_easy_perform(curl), CURLE_OK);
        assert_string_equal(answer, "hello two");
        curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &version);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        assert_int_equal(version, CURL_HTTP_VERSION_2_0);
        assert_int_equal(status, 200);
        curl_easy_cleanup(curl);
    }
    assert_non_null(strstr(log_lines(2), "protocol=HTTP/2 route=name status=200"));
}

static void test_a_client_that_leaves_http2_is_noticed(void **state)
{
    (void)state;
    CURL *curl = curl_to("/held", CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 200L);
    assert_int_equal(curl_easy_perform(curl), CURLE_OPERATION_TIMEDOUT);
    curl_easy_cleanup(curl);
    wait_for(&it.gone, "the leaving");
    assert_non_null(strstr(log_lines(1), "protocol=HTTP/2 route=held status=499"));
}

static void test_long_targets_and_many_fields_over_http2(void **state)
{
    static char path[9000];
    struct curl_slist *fields = NULL;
    long status = 0;
    (void)state;
    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    CURL *curl = curl_easy_init();
    char url[9100];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", it.port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    answered = 0;
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 414);
    curl_easy_cleanup(curl);

    curl = curl_to("/", CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    for (int i = 0; i < 101; i++)
        fields = curl_slist_append(fields, "X: y");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 431);
    curl_easy_cleanup(curl);

    /* Far more than that is meant to hurt: h2o has no limit, so the connection ends. */
    curl = curl_to("/", CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    for (int i = 0; i < 1000; i++)
        fields = curl_slist_append(fields, "X: y");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    assert_int_not_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_cleanup(curl);
    curl_slist_free_all(fields);
    const char *lines = log_lines(3);
    assert_non_null(strstr(strstr(strstr(lines, "status=414"), "status=431") + 1, "status=431"));
}

/* -- listening --------------------------------------------------------------------------------- */

static int dial_unix(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strcpy(to.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void test_unix_sockets_serve_their_group(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(stat(it.listen + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    int fd = dial_unix(it.listen + 5);
    say(fd, HELLO);
    hear(fd, "hello world", 1);
    close(fd);
    assert_non_null(strstr(log_lines(1), "client=unix "));
}

static void test_an_address_in_use_is_said_so(void **state)
{
    char error[256], text[64];
    struct address addresses[2];
    struct listener listener;
    const char *why;
    (void)state;
    snprintf(text, sizeof(text), "127.0.0.1:%u", it.port);
    assert_int_equal(address_parse(str_from(text), addresses, &why), 1);
    assert_false(listener_open(&listener, addresses, 2, 0660, error, sizeof(error)));
    assert_non_null(strstr(error, text));
    assert_non_null(strstr(error, "in use"));
    assert_int_equal(address_parse(str_from(it.listen), addresses, &why), 1);
    assert_false(listener_open(&listener, addresses, 1, 0660, error, sizeof(error)));
    assert_non_null(strstr(error, "in use"));
    int fd = dial_unix(it.listen + 5); /* and the one who has it still has it */
    close(fd);
}

static void test_a_socket_file_left_behind_is_replaced(void **state)
{
    char error[256], text[128];
    struct address addresses[2];
    struct listener listener;
    const char *why;
    (void)state;
    snprintf(text, sizeof(text), "unix:%s/stale.sock", it.dir);
    assert_int_equal(address_parse(str_from(text), addresses, &why), 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, &addresses[0].sa.any, addresses[0].length), 0);
    close(fd); /* the file stays, nobody answers */
    assert_true(listener_open(&listener, addresses, 1, 0660, error, sizeof(error)));
    listener_close(&listener);
    assert_int_equal(access(text + 5, F_OK), -1);

    FILE *file = fopen(text + 5, "w"); /* something else is not ours to remove */
    fclose(file);
    assert_false(listener_open(&listener, addresses, 1, 0660, error, sizeof(error)));
    assert_int_equal(access(text + 5, F_OK), 0);
}

static void test_all_loops_share_the_port_that_was_chosen(void **state)
{
    char error[256];
    struct address addresses[2];
    struct listener listener;
    const char *why;
    (void)state;
    assert_int_equal(address_parse(STR("127.0.0.1:0"), addresses, &why), 1);
    assert_true(listener_open(&listener, addresses, 3, 0660, error, sizeof(error)));
    for (unsigned i = 0; i < 3; i++) {
        struct sockaddr_in bound;
        socklen_t length = sizeof(bound);
        assert_int_equal(getsockname(listener.fds[i], (struct sockaddr *)&bound, &length), 0);
        assert_int_equal(bound.sin_port, listener.address.sa.v4.sin_port);
        assert_int_not_equal(bound.sin_port, 0);
    }
    listener_close(&listener);
}

static void test_past_the_limit_of_connections_clients_wait(void **state)
{
    char byte;
    (void)state;
    int first = dial(it.port), second = dial(it.port), third = dial(it.port);
    say(first, HELLO);
    hear(first, "hello world", 1);
    say(second, HELLO);
    hear(second, "hello world", 1);
    say(third, HELLO);
    usleep(100000); /* several retries of the loop */
    assert_int_equal(recv(third, &byte, 1, MSG_DONTWAIT), -1);
    close(first);
    hear(third, "hello world", 1);
    close(second);
    close(third);
}

/* -- leaving, being asked ---------------------------------------------------------------------- */

static void drain_on_loop(struct message *message)
{
    (void)message;
    drain(NULL);
}

static void test_a_drain_finishes_what_is_under_way(void **state)
{
    static struct message message;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(it.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int none;
    (void)state;
    int idle = dial(it.port), fresh = dial(it.port), busy = dial(it.port);
    say(idle, HELLO);
    hear(idle, "hello world", 1);
    say(busy, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    wait_for(&it.arrived, "the request");
    message.fn = drain_on_loop;
    loop_post(it.loop, &message);
    hear_all(idle);
    assert_int_equal(answered, 0);
    hear_all(fresh);
    assert_int_equal(answered, 0);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&to, sizeof(to)), -1);
    sem_getvalue(&it.idle, &none);
    assert_int_equal(none, 0);
    release();
    hear_all(busy);
    assert_true(has("\r\nConnection: close\r\n") && has("hello world"));
    wait_for(&it.idle, "the end of the drain");
    close(idle), close(fresh), close(busy), close(late);
}

static void test_a_drain_of_nothing_is_over_at_once(void **state)
{
    static struct message message;
    (void)state;
    message.fn = drain_on_loop;
    loop_post(it.loop, &message);
    wait_for(&it.idle, "the end of the drain");
}

static void test_the_admin_listener_only_reads(void **state)
{
    static const struct {
        const char *head;
        int status;
        const char *body;
    } cases[] = {
        {"GET /livez HTTP/1.1\r\n" HOST "\r\n", 200, "\r\n\r\nok\n"},
        {"HEAD /livez HTTP/1.1\r\n" HOST "\r\n", 200, "\r\n\r\n"},
        {"GET /readyz HTTP/1.1\r\n" HOST "\r\n", 200, "\r\n\r\nok\n"},
        {"GET /readyz?verbose HTTP/1.1\r\n" HOST "\r\n", 200, "{\"status\":\"pass\"}\n"},
        {"GET /livez HTTP/1.1\r\n" HOST "Accept: application/health+json\r\n\r\n", 200,
         "content-type: application/health+json"},
        {"POST /livez HTTP/1.1\r\n" HOST "\r\n", 405, "allow: GET, HEAD, OPTIONS"},
        {"POST /drain HTTP/1.1\r\n" HOST "\r\n", 404, ""},
        {"GET / HTTP/1.1\r\n" HOST "\r\n", 404, ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int fd = dial(it.admin);
        say(fd, cases[i].head);
        shutdown(fd, SHUT_WR);
        hear_all(fd);
        if (status_of(answer) != cases[i].status || !has(cases[i].body))
            fail_msg("%s%s", cases[i].head, answer);
        close(fd);
    }
    log_lines(0);
}

static void not_ready(struct message *message)
{
    (void)message;
    it.ready = false;
}

static void test_readyz_says_when_it_is_not(void **state)
{
    static struct message message;
    (void)state;
    message.fn = not_ready;
    loop_post(it.loop, &message);
    int fd = dial(it.admin);
    say(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    hear(fd, "not ready\n", 1);
    assert_int_equal(status_of(answer), 503);
    say(fd, "GET /livez HTTP/1.1\r\n" HOST "\r\n");
    hear(fd, "ok\n", 1);
    close(fd);
}

static void test_the_control_socket_drains(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(stat(it.control + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fd = dial_unix(it.control + 5);
    say(fd, "GET /drain HTTP/1.1\r\n" HOST "\r\n");
    hear(fd, "allow: POST, OPTIONS", 1);
    assert_int_equal(status_of(answer), 405);
    close(fd);
    fd = dial_unix(it.control + 5);
    say(fd, "POST /drain HTTP/1.1\r\n" HOST "\r\n");
    hear(fd, "draining\n", 1);
    assert_int_equal(status_of(answer), 202);
    wait_for(&it.idle, "the end of the drain");
    close(fd);
}

static void test_routes_of_the_control_socket_take_parameters_and_bodies(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *wanted[3];
    } cases[] = {
        {"POST /certificates/a%20b/revoke HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nlost",
         200,
         {"\r\n\r\nrevoked a b: lost"}},
        {"POST /certificates/7/revoke HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\n\r\n2\r\nlo\r\n2\r\nst\r\n0\r\n\r\n",
         200,
         {"\r\n\r\nrevoked 7: lost"}},
        {"POST /certificates/7/revoke HTTP/1.1\r\n" HOST "\r\n", 200, {"\r\n\r\nrevoked 7: "}},
        {"GET /certificates/7 HTTP/1.1\r\n" HOST "\r\n", 200, {"\r\n\r\nhello 7"}},
        {"POST /certificates/7/revoke HTTP/1.1\r\n" HOST "Content-Length: 101\r\n\r\n",
         413,
         {"content-type: application/problem+json", "\"/problems/content-too-large\""}},
        {"POST /certificates/7/revoke HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nx\r\n",
         400,
         {"content-type: application/problem+json", "chunks are malformed"}},
        {"GET /certificates/7/revoke HTTP/1.1\r\n" HOST "Accept: text/html\r\n\r\n",
         405,
         {"\r\nallow: POST, OPTIONS\r\n", "content-type: application/problem+json",
          "\"instance\":\"/certificates/7/revoke\""}},
        {"POST /certificates//revoke HTTP/1.1\r\n" HOST "Accept: text/html\r\n\r\n",
         404,
         {"content-type: application/problem+json", "\"/problems/not-found\""}},
        {"POST /certificates/%zz/revoke HTTP/1.1\r\n" HOST "\r\n",
         400,
         {"content-type: application/problem+json"}},
        {"GET / HTTP/1.1\r\n" HOST "\r\n", 404, {"content-type: application/problem+json"}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int fd = dial_unix(it.control + 5);
        say(fd, cases[i].request);
        shutdown(fd, SHUT_WR);
        hear_all(fd);
        if (status_of(answer) != cases[i].status)
            fail_msg("%s\n%s", cases[i].request, answer);
        for (size_t j = 0; j < COUNT(cases[i].wanted) && cases[i].wanted[j] != NULL; j++)
            if (!has(cases[i].wanted[j]))
                fail_msg("no \"%s\" for %s\n%s", cases[i].wanted[j], cases[i].request, answer);
        close(fd);
    }
    int fd = dial(it.port); /* they are nobody else's */
    say(fd, "GET /certificates/7 HTTP/1.1\r\n" HOST "\r\n");
    hear(fd, "\r\n\r\n", 1);
    assert_int_equal(status_of(answer), 404);
    close(fd);
    log_lines(1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_reply_has_the_fields_that_every_reply_has),
        TEST(test_head_is_get_without_the_body),
        TEST(test_a_connection_serves_request_after_request),
        TEST(test_pipelined_requests_are_answered_in_order),
        TEST(test_requests_that_arrive_while_one_waits_are_not_lost),
        TEST(test_a_reply_from_a_timer_is_finished_at_once),
        TEST(test_a_head_may_come_in_drops),
        TEST(test_methods),
        TEST(test_a_proxy_s_absolute_target_names_the_host),
        TEST(test_each_bad_request_has_one_answer_and_one_line),
        TEST(test_later_requests_are_looked_at_as_the_first_was),
        TEST(test_a_refused_client_that_goes_on_sending_reads_why),
        TEST(test_problems_are_json_or_a_page),
        TEST(test_a_client_that_leaves_is_noticed),
        TEST(test_a_client_that_only_stops_sending_gets_its_answer),
        TEST(test_a_client_that_stops_sending_and_then_leaves_is_noticed),
        TEST(test_a_client_that_stops_reading_is_given_up),
        TEST(test_a_client_that_reads_slowly_gets_everything),
        TEST(test_http2_with_prior_knowledge_and_by_upgrade),
        TEST(test_a_client_that_leaves_http2_is_noticed),
        TEST(test_long_targets_and_many_fields_over_http2),
        TEST(test_unix_sockets_serve_their_group),
        TEST(test_an_address_in_use_is_said_so),
        TEST(test_a_socket_file_left_behind_is_replaced),
        TEST(test_all_loops_share_the_port_that_was_chosen),
        cmocka_unit_test_setup_teardown(test_past_the_limit_of_connections_clients_wait,
                                        setup_two_connections, teardown),
        TEST(test_a_drain_finishes_what_is_under_way),
        TEST(test_a_drain_of_nothing_is_over_at_once),
        TEST(test_the_admin_listener_only_reads),
        TEST(test_readyz_says_when_it_is_not),
        TEST(test_the_control_socket_drains),
        TEST(test_routes_of_the_control_socket_take_parameters_and_bodies),
    };
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_ERROR, LOG_LOGFMT);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
