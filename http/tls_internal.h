/* What tls.c, tls_conn.c and tls_handshake.c share. */
#ifndef GW_HTTP_TLS_INTERNAL_H
#define GW_HTTP_TLS_INTERNAL_H

#include "base/buf.h"
#include "base/loop.h"
#include "http/tls.h"
#include "http/tls_context.h"

/* A connection of it begins, and is over. */
void tls_use(struct tls *tls);
void tls_release(struct tls *tls);

/* The set that is in force; tls_set_release() it. */
struct tls_set *tls_current(struct tls *tls);

enum tls_result { TLS_FULL, TLS_RESUMED, TLS_FAILED, TLS_TIMEOUT, TLS_RESULTS };
void tls_count(struct tls *tls, enum tls_result result);

/* -- a connection ------------------------------------------------------------------------------ */

enum {
    RECORD = 16384, /* bytes of the largest */
    FLIGHT = 4 * RECORD,
    UNASKED_MAX = FLIGHT + 2 * RECORD, /* a flight's records, and what OpenSSL adds of its own */
    FEW_VECS = 4
};

struct tls_conn {
    struct http_conn *conn;
    struct tls *tls;
    struct tls_set *set;
    SSL *ssl;
    struct timer limit; /* of the handshake */
    struct timer poke;
    h2o_socket_cb http2_read;         /* h2o's reader, behind read_http2() */
    h2o_socket_cb written;            /* who hears of the end of the write under way */
    h2o_iovec_t few[FEW_VECS], *vecs; /* of it, what isn't sealed yet */
    size_t vec_at, vec_count;
    struct buf sealed;      /* records to be sent */
    struct buf flight;      /* records being sent; stay where they are meanwhile */
    struct str certificate; /* the client's, owned; {NULL, 0} = not looked at yet */
    bool flying, shaking, eof, broken;
    bool dry;  /* OpenSSL has nothing more without reading */
    bool over; /* the client sends nothing more */
};

/* The connection's, in a callback of ours. */
struct tls_conn *tls_own(const h2o_socket_t *sock);
/* Fills in what reads and writes. */
void tls_prepare(struct tls_conn *tls);
/* Sends what is sealed, as far as the kernel takes it now. False: it never will; whoever writes
 * next hears of that, too. */
bool tls_flush(struct tls_conn *tls);
/* Seals the next flight of what is to be written, and sends it after what is sealed already; then
 * `written` is called. */
void tls_take_off(struct tls_conn *tls);

#endif
