/* Any bytes on a connection to a server of ours that runs: the guard, h2o's parsers, HTTP/2's
 * frames and our counting of them, bodies of both kinds, pipelining. It must end, and leave nothing
 * behind.
 *
 * The first byte: 1 = what follows comes after HTTP/2's preface and a SETTINGS frame; the others
 * seed the lengths of the pieces that it is sent in, 0 = at once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include "http/http_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_TURNS = 2000 };

static struct {
    struct config config;
    struct str address;
    struct http_server *server;
    struct loop *loop;
    struct http_loop *http;
    char path[64];
} live;

static void echo(struct http_request *request, enum http_body_end how, struct str body, void *arg)
{
    struct out out;
    (void)arg;
    if (how != BODY_WHOLE) {
        http_body_refuse(request, how);
        return;
    }
    out_init(&out, request->pool, 0);
    out_str(&out, body);
    http_reply(request, 200, "application/octet-stream", &out);
}

static void on_echo(struct http_request *request, void *arg)
{
    http_body_collect(request, 4096, echo, arg);
}

static void on_page(struct http_request *request, void *arg)
{
    struct out out;
    (void)arg;
    out_init(&out, request->pool, 0);
    out_str(&out, STR("a page"));
    http_reply(request, 200, "text/plain", &out);
}

static void stop(void)
{
    http_loop_destroy(&live.http);
    http_server_destroy(&live.server);
    loop_destroy(&live.loop);
}

static void start(void)
{
    const char *error;
    struct diag *diag = diag_create();
    snprintf(live.path, sizeof(live.path), "unix:/tmp/gateway-fuzz-%d", (int)getpid());
    live.address = str_from(live.path);
    struct config_server *server = &live.config.server;
    live.config.templates_dir = STR("/nonexistent");
    server->listen = (struct config_strings){&live.address, 1};
    server->max_connections = 10;
    server->max_streams = 100;
    server->idle_timeout_ms = server->head_timeout_ms = server->body_idle_timeout_ms = 1;
    server->max_body = 4096;
    live.server = http_server_create(&live.config, NULL, NULL, NULL, NULL, diag);
    http_route_add(live.server, "echo", HTTP_POST | HTTP_PUT | HTTP_READS_BODY, STR("/echo"),
                   on_echo, NULL, (struct pos){0}, diag);
    http_route_add(live.server, "page", HTTP_GET | HTTP_POST, STR("/{*rest}"), on_page, NULL,
                   (struct pos){0}, diag);
    gw_assert(diag_errors(diag) == 0);
    diag_destroy(&diag);
    live.loop = loop_create(0);
    gw_assert(http_server_listen(live.server, 1, NULL, &error));
    live.http = http_loop_create(live.server, live.loop);
    atexit(stop);
}

static int dial(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(to.sun_path, live.path + strlen("unix:"));
    gw_assert(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

/* False: the server has closed. */
static bool drain(int fd)
{
    char bytes[4096];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        continue;
    return n != 0 && (errno == EAGAIN || errno == EINTR);
}

static bool send_all(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;
    for (unsigned turns = 0; n != 0 && turns < MAX_TURNS; turns++) {
        ssize_t sent = send(fd, at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        at += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
        if (n != 0) {
            loop_turn(live.loop, 0);
            drain(fd);
        }
    }
    return n == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    if (size == 0)
        return 0;
    if (live.http == NULL)
        start();
    uint8_t mode = data[0];
    data++, size--;
    int fd = dial();
    bool open = (mode & 1) == 0 || send_all(fd, preface, sizeof(preface) - 1);
    while (open && size != 0) {
        size_t piece = mode >> 1 == 0 ? size : 1 + (size_t)(mode >> 1) * 7 % 61;
        piece = piece < size ? piece : size;
        open = send_all(fd, data, piece);
        data += piece, size -= piece;
        if (mode >> 1 != 0)
            loop_turn(live.loop, 0);
    }
    shutdown(fd, SHUT_WR);
    unsigned turns = 0;
    while (drain(fd) && turns++ < MAX_TURNS)
        loop_turn(live.loop, 1);
    close(fd);
    while (!h2o_linklist_is_empty(&live.http->conns) && turns++ < 2 * MAX_TURNS)
        loop_turn(live.loop, 1);
    gw_assert(h2o_linklist_is_empty(&live.http->conns));
    return 0;
}
