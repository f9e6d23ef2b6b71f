/* Closing well: a socket that is closed with unread bytes resets the connection, and a client that
 * was still sending may never see why it was refused. So h2o's end of the reply, which closes,
 * waits behind ours until the client has closed too (RFC 9112 section 9.6); what it sends meanwhile
 * is thrown away.
 *
 * Only the last write's end may be held up, and h2o doesn't say which that is; but it passes
 * through a filter of ours. */
#include "http/http_internal.h"

#include <errno.h>

enum {
    SILENT_MS = 2000, /* a client that sends nothing for so long has read what it will read */
    LINGER_MS = 10000
};

static void stop(struct http_conn *conn)
{
    timer_stop(conn->http->loop, &conn->probe);
    conn->h2o_written(conn->sock, NULL);
}

static void silence(struct timer *timer)
{
    stop(CONTAINER_OF(timer, struct http_conn, probe));
}

static void discard(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->on_close.data;
    char bytes[16384];
    (void)err; /* nothing was read */
    ssize_t n = recv(h2o_socket_get_fd(sock), bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
        loop_now_ms(conn->http->loop) >= conn->linger_until_ms)
        stop(conn);
    else if (n > 0)
        timer_start(conn->http->loop, &conn->probe, SILENT_MS);
}

static void written(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->on_close.data;
    if (err == NULL && conn->tls != NULL)
        tls_goodbye(conn->tls);
    if (err != NULL || shutdown(h2o_socket_get_fd(sock), SHUT_WR) != 0) {
        conn->h2o_written(sock, err);
        return;
    }
    conn->linger_until_ms = loop_now_ms(conn->http->loop) + LINGER_MS;
    timer_init(&conn->probe, silence);
    timer_start(conn->http->loop, &conn->probe, SILENT_MS);
    h2o_socket_read_start(sock, discard);
}

static void send_and_linger(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *vecs, size_t count,
                            h2o_send_state_t state)
{
    struct http_conn *conn = guard_conn(req);
    h2o_iovec_t nothing = {NULL, 0};
    bool last = state == H2O_SEND_STATE_FINAL;
    if (last && count == 0) { /* h2o would close before this returns */
        vecs = &nothing;
        count = 1;
    }
    h2o_ostream_send_next(self, req, vecs, count, state);
    if (last) {
        h2o_socket_cb *end = conn->tls != NULL ? tls_written(conn->tls) : &conn->sock->_cb.write;
        conn->h2o_written = *end;
        *end = written;
    }
}

void linger_after_reply(h2o_req_t *req)
{
    h2o_add_ostream(req, sizeof(h2o_ostream_t), &req->_ostr_top)->do_send = send_and_linger;
}
