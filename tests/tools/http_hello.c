/* A server with a few routes and nothing behind them, to try http/ by hand and to measure it:
 *     http_hello ADDRESS [ADMIN-ADDRESS [CONTROL-SOCKET]]
 * "/" says hello, "/slow?ms=N" answers after N milliseconds and says on stderr when its client left
 * before, "/big?bytes=N" sends that many, "/take" counts the bytes of a body, "/echo/{id}" tells
 * what it understood. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "http/http.h"

static struct loop *main_loop;

static void hello(struct http_request *request, void *arg)
{
    struct out out;
    (void)arg;
    out_init(&out, request->pool, 32);
    out_str(&out, STR("hello, world\n"));
    http_reply(request, 200, "text/plain; charset=utf-8", &out);
}

struct slow {
    struct timer timer;
    struct http_request *request;
};

static void slow_done(struct timer *timer)
{
    struct slow *slow = CONTAINER_OF(timer, struct slow, timer);
    hello(slow->request, NULL);
}

static void slow_disposed(void *arg)
{
    struct slow *slow = arg;
    if (!timer_running(&slow->timer))
        return; /* it was answered */
    timer_stop(slow->request->loop, &slow->timer);
    fprintf(stderr, "gone\n");
}

static void slow_start(struct http_request *request, void *arg)
{
    struct slow *slow = h2o_mem_alloc_shared(request->pool, sizeof(*slow), slow_disposed);
    struct str ms = http_query(request, STR("ms"));
    (void)arg;
    timer_init(&slow->timer, slow_done);
    slow->request = request;
    timer_start(request->loop, &slow->timer, ms.n != 0 ? strtoul(ms.p, NULL, 10) : 1000);
}

static void big(struct http_request *request, void *arg)
{
    struct str bytes = http_query(request, STR("bytes"));
    size_t n = bytes.n != 0 ? strtoul(bytes.p, NULL, 10) : 1 << 20;
    struct out out;
    (void)arg;
    out_init(&out, request->pool, n);
    memset(out_room(&out, n), 'x', n);
    out.at += n;
    http_reply(request, 200, "application/octet-stream", &out);
}

struct count {
    struct http_body_reader reader;
    struct http_request *request;
    uint64_t n;
    char bytes[256 << 10];
};

static char *count_room(struct http_body_reader *reader, size_t *n_r)
{
    struct count *count = CONTAINER_OF(reader, struct count, reader);
    *n_r = sizeof(count->bytes);
    return count->bytes;
}

static void count_got(struct http_body_reader *reader, size_t n)
{
    CONTAINER_OF(reader, struct count, reader)->n += n;
}

static void count_end(struct http_body_reader *reader, enum http_body_end how)
{
    struct count *count = CONTAINER_OF(reader, struct count, reader);
    struct out out;
    if (how != BODY_WHOLE) {
        http_body_refuse(count->request, how);
        return;
    }
    out_init(&out, count->request->pool, 32);
    out_number(&out, count->n);
    out_str(&out, STR("\n"));
    http_reply(count->request, 200, "text/plain; charset=utf-8", &out);
}

static void take(struct http_request *request, void *arg)
{
    struct count *count = h2o_mem_alloc_pool(request->pool, sizeof(*count));
    (void)arg;
    count->reader = (struct http_body_reader){count_room, count_got, count_end};
    count->request = request;
    count->n = 0;
    http_body_read(request, &count->reader, UINT64_MAX);
}

static void echo(struct http_request *request, void *arg)
{
    static const char *const names[] = {"forwarded",        "x-forwarded-for", "x-forwarded-proto",
                                        "x-forwarded-host", "x-request-id",    "accept-language"};
    struct out out;
    (void)arg;
    out_init(&out, request->pool, 0);
    out_str(&out, request->params[0]);
    out_str(&out, STR("\nhost: "));
    out_str(&out, request->host);
    out_str(&out, STR("\nclient: "));
    out_str(&out, request->client);
    for (size_t i = 0; i < COUNT(names); i++) {
        out_str(&out, STR("\n"));
        out_str(&out, str_from(names[i]));
        out_str(&out, STR(": "));
        out_str(&out, http_forward_header(request, str_from(names[i])));
    }
    out_str(&out, STR("\n"));
    http_reply(request, 200, "text/plain; charset=utf-8", &out);
}

static bool ready(void *arg)
{
    (void)arg;
    return true;
}

static void idle(void *arg)
{
    fprintf(stderr, "idle\n");
    loop_stop(arg);
}

static struct http_loop *http;
static void drain(void *arg)
{
    http_loop_drain(http, false, idle, arg);
}

static struct message stop;
static void on_stop(struct message *message)
{
    (void)message;
    drain(main_loop);
}

static void on_signal(int signal)
{
    (void)signal;
    static int times;
    if (times++ == 0)
        loop_post(main_loop, &stop); /* enough for a tool that is measured, not deployed */
}

int main(int argc, char **argv)
{
    struct diag *diag = diag_create();
    const char *error = "";
    struct str listen = str_from(argc > 1 ? argv[1] : "127.0.0.1:8080");
    struct str trusted[] = {STR("unix"), STR("127.0.0.2")};
    struct config config = {
        .server = {.listen = {&listen, 1},
                   .max_connections = 1000,
                   .head_timeout_ms = 10000,
                   .idle_timeout_ms = 10000,
                   .body_idle_timeout_ms = 10000,
                   .max_body = 1 << 20,
                   .trusted_proxies = {trusted, COUNT(trusted)}},
        .admin = {.listen = str_from(argc > 2 ? argv[2] : ""),
                  .control = str_from(argc > 3 ? argv[3] : "")},
    };
    struct access_log *access = getenv("ACCESS_LOG") != NULL
                                    ? access_log_open(getenv("ACCESS_LOG"), ACCESS_LOGFMT, 1)
                                    : NULL;
    log_setup(LOG_INFO, LOG_LOGFMT);
    signal(SIGPIPE, SIG_IGN);
    struct http_server *server = http_server_create(&config, NULL, NULL, access, NULL, diag);
    struct pos at = {0};
    http_route_add(server, "hello", HTTP_GET, STR("/"), hello, NULL, at, diag);
    http_route_add(server, "slow", HTTP_GET, STR("/slow"), slow_start, NULL, at, diag);
    http_route_add(server, "big", HTTP_GET, STR("/big"), big, NULL, at, diag);
    http_route_add(server, "take", HTTP_POST | HTTP_PUT | HTTP_READS_BODY, STR("/take"), take, NULL,
                   at, diag);
    http_route_add(server, "echo", HTTP_GET | HTTP_POST, STR("/echo/{id}"), echo, NULL, at, diag);
    if (diag_errors(diag) != 0) {
        diag_print(diag, stderr);
        return 78;
    }
    main_loop = loop_create(0);
    struct http_admin admin = {.ready = ready, .drain = drain, .arg = main_loop};
    if (!http_server_listen(server, 1, NULL, &error))
        return fprintf(stderr, "%s\n", error), 69;
    http = http_loop_create(server, main_loop);
    if (!http_admin_start(http, &admin, &error))
        return fprintf(stderr, "%s\n", error), 69;
    stop.fn = on_stop;
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    loop_run(main_loop);
    http_loop_destroy(&http);
    http_server_destroy(&server);
    loop_destroy(&main_loop);
    access_log_close(&access);
    diag_destroy(&diag);
    return 0;
}
