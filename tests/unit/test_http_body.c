/* Bodies as clients send them, through real sockets: what the reader gets, what the client is told,
 * and that the connection goes on with the next request, or ends, as it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"
#include "http/http_internal.h"

#define HOST    "Host: a\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define NEXT    "GET /hello HTTP/1.1\r\n" HOST "\r\n"

/* -- the server -------------------------------------------------------------------------------- */

static struct {
    char log[64];
    struct str address;
    struct config config;
    struct access_log *access;
    struct diag *diag;
    struct http_server *server;
    struct loop *loop;
    struct http_loop *http;
    pthread_t thread;
    uint16_t port;
    struct message message;
    size_t room;         /* bytes that a reader has room for at once */
    size_t between;      /* bytes that it takes before it has no room for a moment; 0 = always */
    uint64_t max;        /* bytes that it takes */
    bool full;           /* it has no room until let_go_on() */
    sem_t arrived, gone; /* "/hold" */
    struct http_request *held;
    sem_t idle;
} it;

/* Says what it got: how it ended, how many bytes, and their sum. */
struct taker {
    struct http_body_reader reader;
    struct http_request *request;
    struct timer timer;
    size_t n, until_pause;
    uint64_t sum;
    bool early;
    char *room;
};

static uint64_t add_up(uint64_t sum, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ (unsigned char)p[i]) * 0x100000001b3;
    return sum;
}

static void reply_text(struct http_request *request, int status, const char *text)
{
    struct out out;
    out_init(&out, request->pool, 0);
    out_str(&out, str_from(text));
    http_reply(request, status, "text/plain", &out);
}

static void go_on(struct timer *timer)
{
    struct taker *taker = CONTAINER_OF(timer, struct taker, timer);
    taker->until_pause = it.between;
    http_body_resume(taker->request);
}

static char *taker_room(struct http_body_reader *reader, size_t *n_r)
{
    struct taker *taker = CONTAINER_OF(reader, struct taker, reader);
    *n_r = it.room;
    if (it.full)
        return NULL;
    if (it.between != 0 && taker->until_pause == 0) {
        if (!timer_running(&taker->timer))
            timer_start(taker->request->loop, &taker->timer, 1);
        return NULL;
    }
    memset(taker->room, 0, it.room);
    return taker->room;
}

static void taker_got(struct http_body_reader *reader, size_t n)
{
    struct taker *taker = CONTAINER_OF(reader, struct taker, reader);
    gw_assert(n != 0 && n <= it.room);
    taker->n += n;
    taker->sum = add_up(taker->sum, taker->room, n);
    taker->until_pause -= n < taker->until_pause ? n : taker->until_pause;
    if (taker->early)
        reply_text(taker->request, 415, "not such bytes");
}

static void taker_end(struct http_body_reader *reader, enum http_body_end how)
{
    struct taker *taker = CONTAINER_OF(reader, struct taker, reader);
    char text[64];
    if (how != BODY_WHOLE) {
        http_body_refuse(taker->request, how);
        return;
    }
    snprintf(text, sizeof(text), "got %zu %016llx\n", taker->n, (unsigned long long)taker->sum);
    reply_text(taker->request, 200, text);
}

static void taker_disposed(void *arg)
{
    struct taker *taker = arg;
    timer_stop(it.loop, &taker->timer);
    free(taker->room);
}

static struct taker *taker_create(struct http_request *request)
{
    struct taker *taker = h2o_mem_alloc_shared(request->pool, sizeof(*taker), taker_disposed);
    *taker = (struct taker){.reader = {taker_room, taker_got, taker_end},
                            .request = request,
                            .until_pause = it.between,
                            .room = malloc(it.room)};
    timer_init(&taker->timer, go_on);
    return taker;
}

static void take(struct http_request *request, void *arg)
{
    struct taker *taker = taker_create(request);
    (void)arg;
    http_body_read(request, &taker->reader, it.max);
}

static void read_after_a_while(struct timer *timer)
{
    struct taker *taker = CONTAINER_OF(timer, struct taker, timer);
    timer_init(&taker->timer, go_on);
    http_body_read(taker->request, &taker->reader, it.max);
}

static void take_later(struct http_request *request, void *arg)
{
    struct taker *taker = taker_create(request);
    (void)arg;
    timer_init(&taker->timer, read_after_a_while);
    timer_start(request->loop, &taker->timer, 20);
}

static void take_some(struct http_request *request, void *arg)
{
    struct taker *taker = taker_create(request);
    (void)arg;
    taker->early = true;
    http_body_read(request, &taker->reader, it.max);
}

static void deny(struct http_request *request, void *arg)
{
    (void)arg;
    reply_text(request, 401, "who are you?");
}

static void deny_later_done(struct timer *timer)
{
    struct taker *taker = CONTAINER_OF(timer, struct taker, timer);
    deny(taker->request, NULL);
}

static void deny_later(struct http_request *request, void *arg)
{
    struct taker *taker = taker_create(request);
    (void)arg;
    timer_init(&taker->timer, deny_later_done);
    timer_start(request->loop, &taker->timer, 20);
}

static void deny_at_length(struct http_request *request, void *arg)
{
    enum { SIZE = 1 << 20 };
    struct out out;
    (void)arg;
    out_init(&out, request->pool, SIZE);
    memset(out_room(&out, SIZE), 'x', SIZE);
    out.at += SIZE;
    http_reply(request, 401, "text/plain", &out);
}

static void collected(struct http_request *request, enum http_body_end how, struct str body,
                      void *arg)
{
    struct out out;
    gw_assert(arg == &it);
    if (how != BODY_WHOLE) {
        http_body_refuse(request, how);
        return;
    }
    out_init(&out, request->pool, 0);
    out_str(&out, STR("<"));
    out_write(&out, body.p, body.n);
    out_str(&out, STR(">"));
    http_reply(request, 200, "text/plain", &out);
}

static void collect(struct http_request *request, void *arg)
{
    (void)arg;
    http_body_collect(request, 9000, collected, &it);
}

/* What handlers see of the head. */
static void fields(struct http_request *request, void *arg)
{
    char text[2048];
    size_t n = 0;
    (void)arg;
    n += (size_t)snprintf(text + n, sizeof(text) - n, "length=%lld;",
                          (long long)http_body_length(request));
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s=%.*s;", (int)field->name->len,
                              field->name->base, (int)field->value.len, field->value.base);
    }
    reply_text(request, 200, text);
}

static void hello(struct http_request *request, void *arg)
{
    (void)arg;
    reply_text(request, 200, "hello");
}

static void hold_disposed(void *arg)
{
    (void)arg;
    it.held = NULL;
    sem_post(&it.gone);
}

static void hold(struct http_request *request, void *arg)
{
    struct taker *taker = taker_create(request);
    (void)arg;
    h2o_mem_alloc_shared(request->pool, 1, hold_disposed);
    it.held = request;
    http_body_read(request, &taker->reader, it.max);
    sem_post(&it.arrived);
}

static void *run(void *arg)
{
    (void)arg;
    loop_run(it.loop);
    return NULL;
}

static int setup(void **state)
{
    static const struct {
        const char *path;
        http_handler_fn *handler;
        unsigned methods;
    } routes[] = {
        {"/take", take, HTTP_POST | HTTP_PUT | HTTP_READS_BODY},
        {"/take-later", take_later, HTTP_POST | HTTP_READS_BODY},
        {"/some", take_some, HTTP_POST | HTTP_READS_BODY},
        {"/deny", deny, HTTP_POST | HTTP_READS_BODY},
        {"/deny-later", deny_later, HTTP_POST | HTTP_READS_BODY},
        {"/deny-at-length", deny_at_length, HTTP_POST | HTTP_READS_BODY},
        {"/collect", collect, HTTP_POST | HTTP_READS_BODY},
        {"/fields", fields, HTTP_POST | HTTP_READS_BODY},
        {"/hold", hold, HTTP_POST | HTTP_READS_BODY},
        {"/hello", hello, HTTP_GET | HTTP_POST},
    };
    const char *error = NULL;
    struct pos at = {0};
    (void)state;
    strcpy(it.log, "/tmp/test_http_body.XXXXXX");
    close(mkstemp(it.log));
    it.address = STR("127.0.0.1:0");
    it.config = (struct config){.templates_dir = STR("/tmp"),
                                .server = {.listen = {&it.address, 1},
                                           .max_connections = 100,
                                           .head_timeout_ms = 5000,
                                           .idle_timeout_ms = 5000,
                                           .body_idle_timeout_ms = 5000,
                                           .max_body = 100000}};
    it.room = 4096;
    it.between = 0;
    it.max = UINT64_MAX;
    it.full = false;
    it.held = NULL;
    sem_init(&it.arrived, 0, 0);
    sem_init(&it.gone, 0, 0);
    sem_init(&it.idle, 0, 0);
    it.access = access_log_open(it.log, ACCESS_LOGFMT, 1);
    it.diag = diag_create();
    it.server = http_server_create(&it.config, NULL, NULL, it.access, NULL, it.diag);
    for (size_t i = 0; i < COUNT(routes); i++)
        http_route_add(it.server, routes[i].path + 1, routes[i].methods, str_from(routes[i].path),
                       routes[i].handler, NULL, at, it.diag);
    assert_int_equal(diag_errors(it.diag), 0);
    it.loop = loop_create(0);
    if (!http_server_listen(it.server, 1, NULL, &error))
        fail_msg("%s", error);
    it.http = http_loop_create(it.server, it.loop);
    it.port = ntohs(it.server->listeners[0]->address.sa.v4.sin_port);
    assert_int_equal(pthread_create(&it.thread, NULL, run, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_stop(it.loop);
    pthread_join(it.thread, NULL);
    http_loop_destroy(&it.http);
    http_server_destroy(&it.server);
    loop_destroy(&it.loop);
    access_log_close(&it.access);
    diag_destroy(&it.diag);
    unlink(it.log);
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

/* -- clients ----------------------------------------------------------------------------------- */

static char answer[4 << 20];
static size_t answered;

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(it.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {10, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
    return fd;
}

static void say_bytes(int fd, const char *bytes, size_t n)
{
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

static void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

/* Reads until the text was seen so many times. */
static void hear(int fd, const char *text, size_t times)
{
    answered = 0;
    for (;;) {
        size_t seen = 0;
        answer[answered] = '\0';
        for (const char *at = answer; (at = strstr(at, text)) != NULL; at++)
            seen++;
        if (seen >= times)
            return;
        ssize_t n = recv(fd, answer + answered, sizeof(answer) - 1 - answered, 0);
        if (n <= 0)
            fail_msg("\"%s\" came %zu times, not %zu, in:\n%s", text, seen, times, answer);
        answered += (size_t)n;
    }
}

static void hear_end(int fd)
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

static bool silent(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

static int status_of(const char *text)
{
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? atoi(text + 9) : 0;
}

/* Waits for the log to have `lines` lines. */
static const char *log_lines(size_t lines)
{
    static char text[1 << 16];
    for (int tries = 0; tries < 1000; tries++) {
        int fd = open(it.log, O_RDONLY);
        ssize_t n = read(fd, text, sizeof(text) - 1);
        size_t count = 0;
        close(fd);
        text[n > 0 ? n : 0] = '\0';
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

/* What the taker says of these bytes. */
static const char *sum_of(const char *p, size_t n)
{
    static char text[64];
    snprintf(text, sizeof(text), "got %zu %016llx\n", n, (unsigned long long)add_up(0, p, n));
    return text;
}

static char *many_bytes(size_t n)
{
    char *p = malloc(n);
    uint32_t x = 1;
    for (size_t i = 0; i < n; i++)
        p[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
    return p;
}

/* -- whole bodies ------------------------------------------------------------------------------ */

static void test_a_body_reaches_its_reader_and_the_connection_goes_on(void **state)
{
    static const struct {
        const char *request, *body;
    } cases[] = {
        {"POST /take HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", "hello"},
        {"PUT /take HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", "hello"},
        {"POST /take-later HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", "hello"},
        {"POST /take HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", ""},
        {"POST /take HTTP/1.1\r\n" HOST "\r\n", ""},
        {"POST /take HTTP/1.1\r\n" HOST CHUNKED "\r\n5\r\nhello\r\n0\r\n\r\n", "hello"},
        {"POST /take-later HTTP/1.1\r\n" HOST CHUNKED "\r\n5\r\nhello\r\n0\r\n\r\n", "hello"},
        {"POST /take HTTP/1.1\r\n" HOST CHUNKED "\r\n0\r\n\r\n", ""},
        {"POST /take HTTP/1.1\r\n" HOST CHUNKED "\r\n1;a=b;c=\"d\"\r\nh\r\n004\r\nello\r\n000\r\n"
         "A: b\r\nContent-Length: 9\r\n\r\n",
         "hello"},
        {"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nUpgrade: h2c\r\n"
         "Connection: keep-alive, Upgrade, HTTP2-Settings\r\nHTTP2-Settings: "
         "AAMAAABkAAQAAP__\r\n\r\nhello",
         "hello"},
    };
    static const size_t rooms[] = {1, 3, 4096};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t length = strlen(cases[i].request);
        const char *sum = sum_of(cases[i].body, strlen(cases[i].body));
        for (size_t r = 0; r < COUNT(rooms); r++)
            for (it.between = 0; it.between < 2; it.between++) {
                it.room = rooms[r];
                /* All at once, the next request behind it. */
                int fd = dial();
                char both[1024];
                snprintf(both, sizeof(both), "%s%s", cases[i].request, NEXT);
                say(fd, both);
                hear(fd, "\r\n\r\nhello", 1);
                if (!has(sum))
                    fail_msg("%s: no %s in:\n%s", both, sum, answer);
                /* In two pieces, on the same connection. */
                for (size_t cut = 1; cut < length; cut += it.between == 0 && r == 1 ? 1 : 23) {
                    say_bytes(fd, cases[i].request, cut);
                    usleep(it.between == 0 ? 300 : 0);
                    say(fd, both + cut);
                    hear(fd, "\r\n\r\nhello", 1);
                    if (!has(sum))
                        fail_msg("%s cut at %zu: no %s in:\n%s", both, cut, sum, answer);
                }
                close(fd);
            }
    }
}

static void test_a_large_body_comes_through_small_rooms_and_pauses(void **state)
{
    enum { SIZE = 3000000, CHUNK = 70001 };
    char *bytes = many_bytes(SIZE), head[128];
    const char *sum = sum_of(bytes, SIZE);
    (void)state;
    for (int way = 0; way < 6; way++) {
        bool chunks = way % 2;
        it.room = way < 2 ? 1000 : 1 << 20;
        it.between = way < 4 ? 0 : 100000;
        int fd = dial();
        if (!chunks) {
            snprintf(head, sizeof(head),
                     "POST /take HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", SIZE);
            say(fd, head);
            say_bytes(fd, bytes, SIZE);
        } else {
            say(fd, "POST /take HTTP/1.1\r\n" HOST CHUNKED "\r\n");
            for (size_t at = 0; at < SIZE; at += CHUNK) {
                size_t n = SIZE - at < CHUNK ? SIZE - at : CHUNK;
                snprintf(head, sizeof(head), "%zx\r\n", n);
                say(fd, head);
                say_bytes(fd, bytes + at, n);
                say(fd, "\r\n");
            }
            say(fd, "0\r\n\r\n");
        }
        say(fd, NEXT);
        hear(fd, "\r\n\r\nhello", 1);
        assert_true(has(sum));
        close(fd);
    }
    free(bytes);
}

static void test_a_small_body_is_collected(void **state)
{
    char many[9001];
    (void)state;
    memset(many, 'm', 9000);
    many[9000] = '\0';
    static char request[20000];
    int fd = dial();
    say(fd, "POST /collect HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    hear(fd, "<abc>", 1);
    say(fd, "POST /collect HTTP/1.1\r\n" HOST "\r\n");
    hear(fd, "<>", 1);
    snprintf(request, sizeof(request),
             "POST /collect HTTP/1.1\r\n" HOST CHUNKED "\r\n1388\r\n%.5000s\r\nfa0\r\n%.4000s\r\n"
             "0\r\n\r\n",
             many, many);
    say(fd, request);
    hear(fd, "m>", 1);
    assert_true(has(many));
    say(fd, "POST /collect HTTP/1.1\r\n" HOST CHUNKED "\r\n2329\r\n");
    hear_end(fd);
    assert_int_equal(status_of(answer), 413);
    close(fd);
}

static void test_routes_that_read_no_body_have_it_thrown_away(void **state)
{
    static const char *const requests[] = {
        "GET /hello HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
        "POST /hello HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
        "POST /hello HTTP/1.1\r\n" HOST CHUNKED "\r\n3\r\nabc\r\n0\r\n\r\n",
    };
    (void)state;
    int fd = dial();
    for (size_t i = 0; i < COUNT(requests); i++)
        for (size_t held_back = 0; held_back < 3; held_back++) {
            size_t length = strlen(requests[i]);
            say_bytes(fd, requests[i], length - held_back);
            if (held_back != 0) {
                usleep(20000);
                assert_true(silent(fd));
                say(fd, requests[i] + length - held_back);
            }
            hear(fd, "\r\n\r\nhello", 1);
        }
    close(fd);
}

static void test_nobody_sees_what_was_hidden_from_h2o(void **state)
{
    (void)state;
    int fd = dial();
    say(fd, "POST /fields HTTP/1.1\r\n" HOST "--------------: mine\r\nContent-Length: 3\r\nX: y\r\n"
            "-----------------: too\r\nUpgrade: tea\r\n-------: three\r\nExpect: 100-continue\r\n"
            "\r\nabc");
    hear(fd, "three;", 1);
    assert_non_null(
        strstr(answer, "length=3;--------------=mine;x=y;-----------------=too;-------=three;"));
    assert_false(has("ontent-length=") || has("pgrade"));
    say(fd, "POST /fields HTTP/1.1\r\n" HOST CHUNKED "A: b\r\n\r\n0\r\n\r\n");
    hear(fd, "a=b;", 1);
    assert_non_null(strstr(answer, "length=-1;a=b;"));
    close(fd);
}

/* -- Expect ------------------------------------------------------------------------------------ */

static void test_a_client_that_asks_is_told_to_continue_once(void **state)
{
    static const char *const heads[] = {
        "POST /take HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "POST /take-later HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n",
    };
    (void)state;
    int fd = dial();
    for (size_t i = 0; i < COUNT(heads); i++) {
        say(fd, heads[i]);
        hear(fd, "HTTP/1.1 100 Continue\r\n\r\n", 1);
        assert_int_equal(answered, 25);
        say(fd, "he");
        usleep(5000);
        say(fd, "llo");
        hear(fd, sum_of("hello", 5), 1);
        assert_int_equal(status_of(answer), 200);
    }
    /* Not when the body comes without waiting, or there is none. */
    say(fd,
        "POST /take HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    hear(fd, sum_of("hello", 5), 1);
    assert_int_equal(status_of(answer), 200);
    say(fd, "POST /take HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n");
    hear(fd, "got 0", 1);
    assert_int_equal(status_of(answer), 200);
    close(fd);
}

static void test_a_client_that_is_denied_is_not_told_to_continue(void **state)
{
    (void)state;
    int fd = dial();
    say(fd, "POST /deny HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    hear_end(fd); /* whether the body follows can't be known */
    assert_int_equal(status_of(answer), 401);
    assert_true(has("\r\nConnection: close\r\n"));
    close(fd);
    fd = dial();
    say(fd, "POST /take HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: tea\r\n\r\n");
    hear_end(fd);
    assert_int_equal(status_of(answer), 417);
    close(fd);
}

/* -- replies before the end -------------------------------------------------------------------- */

static void test_after_an_early_reply_a_small_rest_is_swallowed(void **state)
{
    static const char *const paths[] = {"/deny", "/deny-later", "/nowhere", "/deny-at-length"};
    char head[128], *bytes = many_bytes(65536);
    (void)state;
    for (size_t i = 0; i < COUNT(paths); i++)
        for (size_t first = 0; first <= 65536; first += 16384) {
            int fd = dial();
            snprintf(head, sizeof(head),
                     "POST %s HTTP/1.1\r\n" HOST "Content-Length: 65536\r\n\r\n", paths[i]);
            say(fd, head);
            say_bytes(fd, bytes, first);
            usleep(first % 32768 == 0 ? 2000 : 0);
            say_bytes(fd, bytes + first, 65536 - first);
            say(fd, NEXT);
            hear(fd, "\r\n\r\nhello", 1);
            assert_true(has("Connection: keep-alive"));
            assert_int_equal(status_of(answer), i == 2 ? 404 : 401);
            close(fd);
        }
    free(bytes);
}

static void test_after_an_early_reply_the_next_request_may_be_there(void **state)
{
    static const char *const paths[] = {"/deny", "/deny-later", "/some", "/nowhere"};
    char request[256];
    (void)state;
    it.room = 1; /* "/some" replies after the first byte */
    int fd = dial();
    for (size_t i = 0; i < COUNT(paths); i++)
        for (size_t held_back = 0; held_back < 64; held_back++) {
            int n = snprintf(request, sizeof(request),
                             "POST %s HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789%s",
                             paths[i], NEXT);
            say_bytes(fd, request, (size_t)n - held_back);
            if (held_back != 0) {
                usleep(300);
                say(fd, request + n - held_back);
            }
            hear(fd, "\r\n\r\nhello", 1);
        }
    close(fd);
}

static void test_after_an_early_reply_a_large_rest_ends_the_connection(void **state)
{
    enum { SIZE = 8 << 20 };
    static const struct {
        const char *head;
        int status;
    } cases[] = {
        {"POST /deny HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n", 401},
        {"POST /deny-at-length HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n", 401},
        {"POST /deny HTTP/1.1\r\n" HOST CHUNKED "\r\n500000\r\n", 401},
        {"POST /some HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n", 415},
        {"POST /some HTTP/1.1\r\n" HOST CHUNKED "\r\n500000\r\n", 415},
        {"POST /hello HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n", 413},
        {"POST /hello HTTP/1.1\r\n" HOST CHUNKED "\r\n500000\r\n", 413},
        {"POST /take HTTP/1.1\r\n" HOST "Content-Length: 1000001\r\n\r\n", 413},
        {"POST /take HTTP/1.1\r\n" HOST CHUNKED "\r\nf4241\r\n", 413},
        {"POST /nowhere HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n", 404},
        {"POST /hello HTTP/1.0\r\n" HOST "Content-Length: 99999999\r\n\r\n", 413},
    };
    char *bytes = calloc(1, SIZE);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int fd = dial();
        it.max = cases[i].status == 413 ? 1000000 : UINT64_MAX;
        say(fd, cases[i].head);
        say_bytes(fd, bytes, SIZE);
        hear_end(fd); /* an end, not a reset */
        if (status_of(answer) != cases[i].status || !has("\r\nConnection: close\r\n"))
            fail_msg("%s%s", cases[i].head, answer);
        close(fd);
    }
    free(bytes);
    log_lines(COUNT(cases));
}

static void test_malformed_chunks_are_refused_and_never_served(void **state)
{
    static const char *const paths[] = {"/take", "/hello", "/collect"};
    static const char *const chunks[] = {"x\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n",
                                         "0\r\n\n", "1000000000000000\r\n"};
    char request[256];
    (void)state;
    for (size_t p = 0; p < COUNT(paths); p++)
        for (size_t i = 0; i < COUNT(chunks); i++) {
            int fd = dial();
            snprintf(request, sizeof(request), "POST %s HTTP/1.1\r\n" HOST CHUNKED "\r\n%s" NEXT,
                     paths[p], chunks[i]);
            say(fd, request);
            hear_end(fd);
            if (status_of(answer) != 400 || has("\r\n\r\nhello"))
                fail_msg("%s: %s", chunks[i], answer);
            close(fd);
        }
    log_lines(COUNT(paths) * COUNT(chunks));
}

/* -- clocks ------------------------------------------------------------------------------------ */

static void test_a_body_that_stops_coming_is_cut(void **state)
{
    static const char *const starts[] = {
        "POST /take HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n",
        "POST /take HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabc",
        "POST /take HTTP/1.1\r\n" HOST CHUNKED "\r\n5\r\nabc",
        "POST /hello HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabc",
    };
    it.config.server.body_idle_timeout_ms = 100;
    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++) {
        int fd = dial();
        uint64_t start_us = clock_us();
        say(fd, starts[i]);
        hear_end(fd);
        assert_true(clock_us() - start_us >= 100000);
        assert_true(has("HTTP/1.1 408 Request Timeout\r\n") && has("\r\nConnection: close\r\n"));
        close(fd);
    }
    const char *lines = log_lines(COUNT(starts));
    assert_non_null(strstr(lines, "route=take status=408"));
}

static void test_a_slow_body_is_cut_below_the_rate_only(void **state)
{
    char head[128];
    it.config.server.body_idle_timeout_ms = 400;
    (void)state;
    for (int honest = 0; honest < 2; honest++) {
        it.config.server.body_min_rate = honest ? 5 : 100000; /* 2 or 40,000 bytes a window */
        int fd = dial();
        uint64_t start_us = clock_us();
        snprintf(head, sizeof(head), "POST /take HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\n");
        say(fd, head);
        for (int i = 0; i < 100 && silent(fd); i++) {
            if (send(fd, "x", 1, MSG_NOSIGNAL) != 1)
                break;
            usleep(10000);
        }
        hear(fd, "HTTP/1.1 ", 1);
        assert_int_equal(status_of(answer), honest ? 200 : 408);
        assert_true(honest ? clock_us() - start_us >= 1000000 : clock_us() - start_us >= 400000);
        close(fd);
    }
}

static void let_go_on(struct message *message)
{
    (void)message;
    it.full = false;
    http_body_resume(it.held);
}

static void test_without_room_the_client_waits_and_is_not_held_to_it(void **state)
{
    enum { SIZE = 32 << 20 };
    char *bytes = many_bytes(SIZE), head[128];
    size_t sent = 0;
    it.config.server.body_idle_timeout_ms = 300;
    it.config.server.body_min_rate = 1000;
    it.room = 100000;
    it.full = true;
    (void)state;
    int fd = dial();
    snprintf(head, sizeof(head), "POST /hold HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", SIZE);
    say(fd, head);
    wait_for(&it.arrived, "the request");
    for (int idle = 0; idle < 100; idle++) { /* three times as long as it may be idle */
        ssize_t n = send(fd, bytes + sent, SIZE - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
            idle = 0;
        }
        usleep(10000);
    }
    assert_true(sent < SIZE);
    assert_true(silent(fd));
    it.message.fn = let_go_on;
    loop_post(it.loop, &it.message);
    say_bytes(fd, bytes + sent, SIZE - sent);
    hear(fd, sum_of(bytes, SIZE), 1);
    free(bytes);
    close(fd);
}

static void test_a_head_has_its_own_clock(void **state)
{
    static const char *const parts[] = {"G", "GET /hello HTTP/1.1\r\nX: ", "\r\nGET /hello HTTP/1",
                                        NEXT "GET /hello HTTP/1.1\r\n" HOST};
    it.config.server.head_timeout_ms = 150;
    (void)state;
    int quiet = dial(), used = dial();
    say(used, NEXT);
    hear(used, "\r\n\r\nhello", 1);
    for (size_t i = 0; i < COUNT(parts); i++) {
        int fd = dial();
        uint64_t start_us = clock_us();
        say(fd, parts[i]);
        hear_end(fd);
        assert_true(clock_us() - start_us >= 150000);
        assert_true(has("HTTP/1.1 408 Request Timeout\r\n") && has("\r\nConnection: close\r\n"));
        close(fd);
    }
    /* Dropping bytes does not help, and an empty line is no head. */
    int fd = dial();
    say(used, "\r\n");
    say(fd, "GET /hello HTTP/1.1\r\nX: ");
    for (int i = 0; i < 1000 && silent(fd); i++) {
        send(fd, "x", 1, MSG_NOSIGNAL);
        usleep(10000);
    }
    hear(fd, "HTTP/1.1 408", 1);
    close(fd);
    /* Who sends nothing of a head is not held to it. */
    say(quiet, NEXT);
    hear(quiet, "\r\n\r\nhello", 1);
    say(used, NEXT);
    hear(used, "\r\n\r\nhello", 1);
    close(quiet), close(used);
    const char *lines = log_lines(COUNT(parts) + 5);
    assert_non_null(strstr(lines, "method=GET path=/hello protocol=HTTP/1.1 status=408"));
}

static void test_a_head_is_not_cut_by_the_clock_for_idle_connections(void **state)
{
    (void)state;
    it.http->h2o.http1.req_timeout.timeout = 400;
    int fd = dial(), idle = dial();
    say(fd, "GET /hello HTTP/1.1\r\n");
    hear_end(idle);
    assert_int_equal(answered, 0);
    usleep(600000);
    say(fd, HOST "\r\n");
    hear(fd, "\r\n\r\nhello", 1);
    hear_end(fd);
    close(fd), close(idle);
}

/* -- leaving ----------------------------------------------------------------------------------- */

static void test_a_client_that_leaves_amid_its_body_is_noticed(void **state)
{
    static const char *const starts[] = {
        "POST /hold HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n",
        "POST /hold HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabc",
        "POST /hold HTTP/1.1\r\n" HOST CHUNKED "\r\n5\r\nabc",
    };
    (void)state;
    for (size_t i = 0; i < 4 * COUNT(starts); i++) {
        struct linger abortive = {1, 0};
        int fd = dial();
        it.full = i >= 2 * COUNT(starts);
        say(fd, starts[i / 2 % COUNT(starts)]);
        wait_for(&it.arrived, "the request");
        if (i % 2 == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &abortive, sizeof(abortive));
        close(fd);
        wait_for(&it.gone, "the leaving");
    }
    const char *lines = log_lines(4 * COUNT(starts));
    assert_non_null(strstr(lines, "route=hold status=499"));
    assert_null(strstr(lines, "status=200"));
}

static void on_idle(void *arg)
{
    (void)arg;
    sem_post(&it.idle);
}

static void drain(struct message *message)
{
    (void)message;
    http_loop_drain(it.http, false, on_idle, NULL);
}

static void test_a_drain_waits_for_a_body_under_way(void **state)
{
    (void)state;
    int fd = dial();
    say(fd, "POST /hold HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nab");
    wait_for(&it.arrived, "the request");
    it.message.fn = drain;
    loop_post(it.loop, &it.message);
    usleep(50000);
    assert_int_equal(sem_trywait(&it.idle), -1);
    say(fd, "cde");
    hear_end(fd);
    assert_true(has("\r\nConnection: close\r\n") && has(sum_of("abcde", 5)));
    close(fd);
    wait_for(&it.idle, "the end of the drain");
}

/* -- HTTP/2 ------------------------------------------------------------------------------------ */

static size_t keep(char *bytes, size_t size, size_t count, void *arg)
{
    (void)arg;
    memcpy(answer + answered, bytes, size * count);
    answered += size * count;
    answer[answered] = '\0';
    return size * count;
}

static long post_http2(const char *path, const char *bytes, size_t n)
{
    char url[128];
    long status = 0;
    CURL *curl = curl_easy_init();
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", it.port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, bytes);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)n);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 20000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    answered = 0;
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    return status;
}

static void test_bodies_of_http2_come_through_the_same_reader(void **state)
{
    static const size_t sizes[] = {0, 1, 5000, 90000};
    char *bytes = many_bytes(100000);
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (it.between = 0; it.between <= 1000; it.between += 1000) {
            it.room = 777;
            assert_int_equal(post_http2("/take", bytes, sizes[i]), 200);
            assert_string_equal(answer, sum_of(bytes, sizes[i]));
        }
    it.between = 0;
    it.max = 4999;
    assert_int_equal(post_http2("/take", bytes, 5000), 413);
    assert_int_equal(post_http2("/some", bytes, 4999), 415);
    assert_int_equal(post_http2("/deny", bytes, 5000), 401);
    assert_int_equal(post_http2("/hello", bytes, 5000), 200);
    it.config.server.max_body = 4999; /* h2o has its own limit, set at the start */
    assert_int_equal(post_http2("/hello", bytes, 5000), 413);
    free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_body_reaches_its_reader_and_the_connection_goes_on),
        TEST(test_a_large_body_comes_through_small_rooms_and_pauses),
        TEST(test_a_small_body_is_collected),
        TEST(test_routes_that_read_no_body_have_it_thrown_away),
        TEST(test_nobody_sees_what_was_hidden_from_h2o),
        TEST(test_a_client_that_asks_is_told_to_continue_once),
        TEST(test_a_client_that_is_denied_is_not_told_to_continue),
        TEST(test_after_an_early_reply_a_small_rest_is_swallowed),
        TEST(test_after_an_early_reply_the_next_request_may_be_there),
        TEST(test_after_an_early_reply_a_large_rest_ends_the_connection),
        TEST(test_malformed_chunks_are_refused_and_never_served),
        TEST(test_a_body_that_stops_coming_is_cut),
        TEST(test_a_slow_body_is_cut_below_the_rate_only),
        TEST(test_without_room_the_client_waits_and_is_not_held_to_it),
        TEST(test_a_head_has_its_own_clock),
        TEST(test_a_head_is_not_cut_by_the_clock_for_idle_connections),
        TEST(test_a_client_that_leaves_amid_its_body_is_noticed),
        TEST(test_a_drain_waits_for_a_body_under_way),
        TEST(test_bodies_of_http2_come_through_the_same_reader),
    };
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_ERROR, LOG_LOGFMT);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
