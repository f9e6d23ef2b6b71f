/* A connection's TLS, between its socket and all who think that the socket is plain.
 *
 * Reading. The socket is never read by h2o (H2O_SOCKET_FLAG_DONT_READ): epoll calls whoever reads,
 * and that one asks tls_receive() for as much as it has room for; OpenSSL takes a record from the
 * kernel when the last one is used up. So what is in memory of a client that sends fast is a
 * record. HTTP/2's reader is h2o's own and reads what lies in sock->input: read_http2() puts it
 * there, a little at a time. OpenSSL may hold bytes of which epoll knows nothing any more; where
 * somebody stopped before they were used up, a timer of 0 ms calls the reader again.
 *
 * Writing. h2o's library calls h2o_socket_write() through the dynamic linker, so the one here
 * stands in front of it: what is to be sent is sealed in flights of FLIGHT bytes, the next when
 * the last is out, and h2o hears of the end when all of them are. Small pieces share a record.
 *
 * What OpenSSL sends by itself (tickets, alerts, answers to key updates) goes out at once as far as
 * there is room, and the rest ahead of the next flight: records must stay in order.
 *
 * Closing stays what it is on a plain socket, done when the function returns. It is preceded by a
 * close_notify when there is room for one. */
#include "http/http_internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <openssl/err.h>
#include "http/tls_internal.h"

enum { HTTP2_TURN = 4 * RECORD };

/* h2o's own. */
static void (*next_write)(h2o_socket_t *sock, h2o_iovec_t *vecs, size_t count, h2o_socket_cb cb);
static void (*next_read_start)(h2o_socket_t *sock, h2o_socket_cb cb);
static void (*next_close)(h2o_socket_t *sock);
static BIO_METHOD *method;

static struct tls_conn *tls_of(const h2o_socket_t *sock)
{
    const struct http_conn *conn = guard_of(sock);
    return conn != NULL ? conn->tls : NULL;
}

struct tls_conn *tls_own(const h2o_socket_t *sock)
{
    const struct http_conn *conn = sock->on_close.data;
    gw_assert(conn->tls != NULL);
    return conn->tls;
}

/* -- between OpenSSL and the socket ------------------------------------------------------------ */

static int bio_read(BIO *bio, char *to, int n)
{
    struct tls_conn *tls = BIO_get_data(bio);
    ssize_t got = recv(h2o_socket_get_fd(tls->conn->sock), to, (size_t)n, MSG_DONTWAIT);
    BIO_clear_retry_flags(bio);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    tls->eof |= got == 0;
    return (int)got;
}

static int bio_write(BIO *bio, const char *from, int n)
{
    struct tls_conn *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    return buf_append(&tls->sealed, from, (size_t)n) ? n : -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *arg)
{
    const struct tls_conn *tls = BIO_get_data(bio);
    (void)number, (void)arg;
    return command == BIO_CTRL_EOF ? tls->eof : command == BIO_CTRL_FLUSH;
}

__attribute__((constructor)) static void find_next(void)
{
    next_write = (void (*)(h2o_socket_t *, h2o_iovec_t *, size_t, h2o_socket_cb))dlsym(
        RTLD_NEXT, "h2o_socket_write");
    next_read_start =
        (void (*)(h2o_socket_t *, h2o_socket_cb))dlsym(RTLD_NEXT, "h2o_socket_read_start");
    next_close = (void (*)(h2o_socket_t *))dlsym(RTLD_NEXT, "h2o_socket_close");
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gateway");
    gw_assert(next_write != NULL && next_read_start != NULL && next_close != NULL &&
              method != NULL);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

static void forget_bytes(struct buf *buf)
{
    buf_fini(buf);
    buf_init(buf, UNASKED_MAX);
}

bool tls_flush(struct tls_conn *tls)
{
    if (tls->sealed.n == 0 || tls->flying)
        return true;
    ssize_t n = send(h2o_socket_get_fd(tls->conn->sock), tls->sealed.p, tls->sealed.n,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    tls->sealed.n -= (size_t)n;
    if (tls->sealed.n != 0)
        memmove(tls->sealed.p, tls->sealed.p + n, tls->sealed.n);
    else
        forget_bytes(&tls->sealed);
    return true;
}

/* -- reading ----------------------------------------------------------------------------------- */

/* recv()'s answer for a result of OpenSSL's that isn't success. */
static ssize_t refused(struct tls_conn *tls, int result)
{
    int why = SSL_get_error(tls->ssl, result);
    tls->dry = true;
    tls_flush(tls);
    if (why == SSL_ERROR_WANT_READ) {
        errno = EAGAIN;
        return -1;
    }
    tls->over = true;
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    tls->broken = true;
    errno = ECONNRESET;
    return -1;
}

ssize_t tls_receive(struct tls_conn *tls, void *to, size_t n)
{
    size_t got;
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, to, n, &got);
    if (result != 1)
        return refused(tls, result);
    tls->dry = false;
    tls_flush(tls);
    tls_wake(tls);
    return (ssize_t)got;
}

ssize_t tls_peek(struct tls_conn *tls)
{
    char byte;
    size_t got;
    ERR_clear_error();
    int result = SSL_peek_ex(tls->ssl, &byte, 1, &got);
    if (result != 1)
        return refused(tls, result);
    tls->dry = false;
    return 1;
}

bool tls_holds(const struct tls_conn *tls)
{
    return SSL_has_pending(tls->ssl) == 1;
}

void tls_wake(struct tls_conn *tls)
{
    if ((tls->over || (!tls->dry && tls_holds(tls))) && !timer_running(&tls->poke))
        timer_start(tls->conn->http->loop, &tls->poke, 0);
}

/* Between two requests of HTTP/1 h2o's own reader is there for a moment: not for us to call. */
static void poke(struct timer *timer)
{
    struct tls_conn *tls = CONTAINER_OF(timer, struct tls_conn, poke);
    h2o_socket_t *sock = tls->conn->sock;
    if ((tls->over || !tls->dry) && sock->_cb.read != NULL && sock->_cb.read != tls->conn->h2o_read)
        sock->_cb.read(sock, NULL);
}

static void read_http2(h2o_socket_t *sock, const char *err)
{
    struct tls_conn *tls = tls_own(sock);
    size_t taken = 0;
    while (err == NULL && taken < HTTP2_TURN) {
        h2o_iovec_t room = h2o_buffer_reserve(&sock->input, RECORD);
        if (room.base == NULL) {
            err = h2o_socket_error_out_of_memory;
            break;
        }
        ssize_t n = tls_receive(tls, room.base, room.len);
        if (n > 0) {
            sock->input->size += (size_t)n;
            taken += (size_t)n;
        } else if (n == 0) {
            err = h2o_socket_error_closed;
        } else if (errno == EAGAIN) {
            break;
        } else {
            err = h2o_socket_error_io;
        }
    }
    if (taken != 0 && err != NULL) {
        err = NULL; /* first what came, then that it was the last */
        tls_wake(tls);
    }
    tls->http2_read(sock, err);
}

void h2o_socket_read_start(h2o_socket_t *sock, h2o_socket_cb cb)
{
    struct tls_conn *tls = tls_of(sock);
    if (tls != NULL && guard_is_http2(tls->conn)) {
        tls->http2_read = cb;
        cb = read_http2;
    }
    next_read_start(sock, cb);
    if (tls != NULL)
        tls_wake(tls);
}

/* -- writing ----------------------------------------------------------------------------------- */

static bool seal(struct tls_conn *tls, const char *bytes, size_t n)
{
    ERR_clear_error();
    return !tls->broken && SSL_write(tls->ssl, bytes, (int)n) == (int)n;
}

/* Takes up to a record's worth off the front of what is to be written: straight from where it lies
 * when it is long, else gathered in `room`. */
static const char *next_record(struct tls_conn *tls, char *room, size_t *n_r)
{
    size_t n = 0;
    while (tls->vec_at != tls->vec_count && n != RECORD) {
        h2o_iovec_t *vec = &tls->vecs[tls->vec_at];
        size_t part = vec->len < RECORD - n ? vec->len : RECORD - n;
        char *from = vec->base;
        vec->base += part;
        vec->len -= part;
        tls->vec_at += vec->len == 0;
        if (part == RECORD) {
            *n_r = part;
            return from;
        }
        if (part != 0)
            memcpy(room + n, from, part);
        n += part;
    }
    *n_r = n;
    return room;
}

/* Room for the next flight at once: for most replies that is a few kilobytes. */
static void make_room(struct tls_conn *tls)
{
    enum { OVERHEAD = 64 /* of a record, at most */ };
    size_t n = 0;
    for (size_t i = tls->vec_at; i < tls->vec_count && n < FLIGHT; i++)
        n += tls->vecs[i].len;
    if (n > FLIGHT)
        n = FLIGHT;
    if (n != 0)
        buf_reserve(&tls->sealed, n + (n / RECORD + 1) * OVERHEAD);
}

static void flown(h2o_socket_t *sock, const char *err);

void tls_take_off(struct tls_conn *tls)
{
    h2o_socket_t *sock = tls->conn->sock;
    char room[RECORD];
    make_room(tls);
    while (tls->sealed.n < FLIGHT && tls->vec_at != tls->vec_count) {
        size_t n;
        const char *record = next_record(tls, room, &n);
        if (n != 0 && !seal(tls, record, n)) {
            /* After a fatal alert nothing can be sent: let the write fail as on a plain socket. */
            tls->broken = true;
            shutdown(h2o_socket_get_fd(sock), SHUT_RDWR);
            buf_clear(&tls->sealed);
            gw_assert(buf_append(&tls->sealed, "", 1));
            break;
        }
    }
    struct buf sealed = tls->sealed;
    tls->sealed = tls->flight;
    tls->flight = sealed;
    tls->flying = true;
    h2o_iovec_t vec = h2o_iovec_init(tls->flight.p, tls->flight.n);
    next_write(sock, &vec, vec.len != 0, flown);
}

static void flown(h2o_socket_t *sock, const char *err)
{
    struct tls_conn *tls = tls_own(sock);
    h2o_socket_cb written = tls->written;
    tls->flying = false;
    if (err == NULL && tls->vec_at != tls->vec_count) {
        buf_clear(&tls->flight);
        tls_take_off(tls);
        return;
    }
    forget_bytes(&tls->flight);
    if (tls->vecs != tls->few)
        free(tls->vecs);
    tls->vecs = tls->few;
    tls->vec_at = tls->vec_count = 0;
    tls->written = NULL;
    written(sock, err);
}

void h2o_socket_write(h2o_socket_t *sock, h2o_iovec_t *vecs, size_t count, h2o_socket_cb cb)
{
    struct tls_conn *tls = tls_of(sock);
    if (tls == NULL) {
        next_write(sock, vecs, count, cb);
        return;
    }
    gw_assert(!tls->flying);
    if (count > FEW_VECS)
        tls->vecs = h2o_mem_alloc(count * sizeof(*vecs));
    if (count != 0)
        memcpy(tls->vecs, vecs, count * sizeof(*vecs));
    tls->vec_at = 0;
    tls->vec_count = count;
    tls->written = cb;
    tls_take_off(tls);
}

h2o_socket_cb *tls_written(struct tls_conn *tls)
{
    return &tls->written;
}

bool tls_send(struct tls_conn *tls, const char *bytes, size_t n)
{
    return tls->flying || (seal(tls, bytes, n) && tls_flush(tls));
}

/* -- begin and end ----------------------------------------------------------------------------- */

void tls_goodbye(struct tls_conn *tls)
{
    if (tls->broken || tls->flying || tls->shaking ||
        (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    tls_flush(tls);
}

void h2o_socket_close(h2o_socket_t *sock)
{
    struct tls_conn *tls = tls_of(sock);
    if (tls != NULL)
        tls_goodbye(tls);
    next_close(sock);
}

void tls_prepare(struct tls_conn *tls)
{
    BIO *bio = BIO_new(method);
    tls->ssl = SSL_new(tls->set->certificates[0].ctx);
    gw_assert(tls->ssl != NULL && bio != NULL);
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    tls->vecs = tls->few;
    timer_init(&tls->poke, poke);
    buf_init(&tls->sealed, UNASKED_MAX);
    buf_init(&tls->flight, UNASKED_MAX);
}

void tls_end(struct tls_conn **tls_p)
{
    struct tls_conn *tls = *tls_p;
    if (tls == NULL)
        return;
    timer_stop(tls->conn->http->loop, &tls->limit);
    timer_stop(tls->conn->http->loop, &tls->poke);
    SSL_free(tls->ssl);
    tls_set_release(tls->set);
    tls_release(tls->tls);
    buf_fini(&tls->sealed);
    buf_fini(&tls->flight);
    if (tls->vecs != tls->few)
        free(tls->vecs);
    free((char *)(uintptr_t)tls->certificate.p);
    free(tls);
    *tls_p = NULL;
}
