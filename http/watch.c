/* Clients that leave. While a request waits for its handler h2o does not watch an HTTP/1 socket. We
 * do, with a read callback that reads nothing (DONT_READ: the head's bytes must not move, h2o
 * points into them). Since h2o stopped reading and we start again within one turn, the socket's
 * epoll registration never changes: that saves two epoll_ctl calls a request. An end of file does
 * not say whether the client is gone or has only finished sending; what tells them apart is to send
 * something that every client ignores, an interim 100 (RFC 9110 section 15.2.1): who left answers
 * with a reset. */
#include "http/http_internal.h"

#include <errno.h>

enum { PROBE_AGAIN_MS = 50, PROBE_EVERY_MS = 1000 };

static const char INTERIM[] = "HTTP/1.1 100 Continue\r\n\r\n";

/* Where there is no room for it just now it isn't sent: who waits for it goes on without after a
 * while (RFC 9110 section 10.1.1), and who is probed is probed again. */
bool watch_continue(struct http_conn *conn)
{
    if (conn->tls != NULL)
        return tls_send(conn->tls, INTERIM, sizeof(INTERIM) - 1);
    ssize_t n = send(h2o_socket_get_fd(conn->sock), INTERIM, sizeof(INTERIM) - 1,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    return n == (ssize_t)sizeof(INTERIM) - 1 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* A client that is gone has reset the connection by the next time. */
static void probe(struct timer *timer)
{
    struct http_conn *conn = CONTAINER_OF(timer, struct http_conn, probe);
    if (!watch_continue(conn)) {
        guard_left(conn);
        return;
    }
    timer_start(conn->http->loop, &conn->probe, conn->probing ? PROBE_EVERY_MS : PROBE_AGAIN_MS);
    conn->probing = true;
}

/* What is left of a body that was answered before its end: behind it, its client may leave. */
static bool discard(const struct http_conn *conn)
{
    char bytes[16384];
    return conn_receive(conn, bytes, sizeof(bytes)) > 0;
}

/* Whether there is anything to read, as recv() tells. */
static ssize_t peek(const struct http_conn *conn)
{
    char byte;
    return conn->tls != NULL
               ? tls_peek(conn->tls)
               : recv(h2o_socket_get_fd(conn->sock), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

/* The socket is readable while a request waits: more requests, an end of file, or an error. */
static void notice(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->on_close.data;
    (void)err; /* nothing was read */
    if (conn->relays && !conn->waiting->h2o->http1_is_persistent && discard(conn))
        return;
    ssize_t n = peek(conn);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* epoll reports it for as long as it is there: look away until the reply is out. */
    h2o_socket_read_stop(sock);
    if (n > 0 || conn->waiting == NULL || (conn->waiting->replied && !conn->relays))
        return;
    if (n < 0 || conn->relays) /* amid a reply nothing can be sent to find out */
        guard_left(conn);
    else if (conn->waiting->h2o->version >= 0x101) /* 1.0 knows no interim answers */
        probe(&conn->probe);
}

void watch_begin(struct http_conn *conn, struct http_request *request)
{
    if (request->h2o->version >= 0x200) { /* h2o resets the stream, and with it goes the pool */
        http2_read_frames(conn, request->h2o->conn);
        return;
    }
    conn->waiting = request;
    h2o_socket_dont_read(conn->sock, 1); /* guard_done() of the one before had h2o read again */
    h2o_socket_read_start(conn->sock, notice);
}

void watch_again(struct http_conn *conn)
{
    if (conn->sock->_cb.read != notice)
        h2o_socket_read_start(conn->sock, notice);
}

void watch_end(struct http_conn *conn)
{
    timer_stop(conn->http->loop, &conn->probe);
}

/* Who had finished sending before is still there, as far as could be found out. */
void watch_relay(struct http_conn *conn)
{
    if (conn->waiting == NULL || conn->probing)
        return;
    conn->relays = true;
    watch_again(conn);
}

void watch_init(struct http_conn *conn)
{
    timer_init(&conn->probe, probe);
}
