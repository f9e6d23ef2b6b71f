/* A server that answers real requests, turned by hand on the test's own thread: for what http/
 * sends rather than what it computes. */
#ifndef GW_TESTS_UNIT_HTTP_LIVE_H
#define GW_TESTS_UNIT_HTTP_LIVE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>
#include "http/http_internal.h"

struct live {
    struct str address;
    struct diag *diag;
    struct http_server *server;
    struct loop *loop;
    struct http_loop *http;
    char answer[16384];
};

/* Fills in what a server needs of the configuration. The test adds its routes, then live_listen().
 */
static inline void live_create(struct live *live, struct config *config,
                               const struct secret *secret)
{
    live->address = STR("127.0.0.1:0");
    config->templates_dir = STR("/nonexistent");
    config->server.listen = (struct config_strings){&live->address, 1};
    config->server.max_connections = 10;
    config->server.idle_timeout_ms = 5000;
    config->server.head_timeout_ms = 5000;
    config->server.max_body = 1000;
    live->diag = diag_create();
    live->server = http_server_create(config, secret, NULL, NULL, NULL, live->diag);
    assert_int_equal(diag_errors(live->diag), 0);
    live->loop = loop_create(0);
}

static inline void live_listen(struct live *live)
{
    const char *error;
    if (!http_server_listen(live->server, 1, NULL, &error))
        fail_msg("%s", error);
    live->http = http_loop_create(live->server, live->loop);
}

static inline void live_destroy(struct live *live)
{
    http_loop_destroy(&live->http);
    http_server_destroy(&live->server);
    loop_destroy(&live->loop);
    diag_destroy(&live->diag);
}

/* Sends "LINE\r\nHost: shop.example\r\nFIELDS\r\n" and returns the whole answer. */
static inline const char *live_ask(struct live *live, const char *line, const char *fields)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = live->server->listeners[0]->address.sa.v4.sin_port,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[4096];
    size_t n = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    int length =
        snprintf(request, sizeof(request),
                 "%s HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n%s\r\n", line, fields);
    assert_int_equal(send(fd, request, (size_t)length, MSG_NOSIGNAL), length);
    for (unsigned turns = 0;; turns++) {
        ssize_t got =
            recv(fd, live->answer + n, sizeof(live->answer) - 1 - n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (got == 0)
            break;
        if (got > 0)
            n += (size_t)got;
        else if (errno != EAGAIN || turns > 1000)
            fail_msg("no answer: %s", strerror(errno));
        else
            loop_turn(live->loop, 10);
    }
    close(fd);
    live->answer[n] = '\0';
    return live->answer;
}

static inline void assert_has(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL)
        fail_msg("no \"%s\" in:\n%s", wanted, text);
}

static inline void assert_lacks(const char *text, const char *unwanted)
{
    if (strstr(text, unwanted) != NULL)
        fail_msg("\"%s\" in:\n%s", unwanted, text);
}

#endif
