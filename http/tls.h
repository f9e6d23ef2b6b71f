/* TLS on listeners. `struct tls` is what all loops share: certificates, the keys of session
 * tickets, counters. `struct tls_conn` is a connection's, on its loop. Private to http/.
 *
 * h2o has TLS of its own, which is not used: it decrypts all that the kernel holds before anybody
 * looks, so whoever sends faster than a body is read decides how much memory that takes; and once
 * it closes a connection, that is there and isn't for as long as a client likes. Here h2o believes
 * that its sockets are plain. tls_conn.c stands in front of the functions by which it reads,
 * writes and closes them, and who reads a socket directly (guard.c, body.c, watch.c) asks here. */
#ifndef GW_HTTP_TLS_H
#define GW_HTTP_TLS_H

#include <h2o.h>
#include "base/diag.h"
#include "base/out.h"
#include "config/config.h"

struct http_conn;
struct tls;
struct tls_conn;

/* -- what all loops share ---------------------------------------------------------------------- */

/* Reads and checks certificates and keys. NULL where nothing listens with TLS, or with an error. */
struct tls *tls_create(const struct config *config, struct diag *diag);
/* Connections that still use it keep what they need. */
void tls_destroy(struct tls **tls);
/* It takes the place of `before`: goes on with its ticket keys and counters. Main thread. */
void tls_follow(struct tls *tls, struct tls *before);
/* Any thread but a loop's (it reads files): all files anew, for connections that begin from now on.
 * False: something is wrong with them, diag says what, and everything stays as it was. */
bool tls_reload(struct tls *tls, struct diag *diag);
/* A line of the log for each certificate: its names, its end. Any thread. */
void tls_log(struct tls *tls);
/* NULL: names without samples. */
void tls_write_metrics(struct tls *tls, struct out *out);

/* -- a connection ------------------------------------------------------------------------------ */

/* Begins a connection's handshake, which may take head_timeout. Then guard_open() is called; or the
 * socket is closed. */
void tls_begin(struct http_conn *conn, struct tls *tls);
/* The socket is gone. */
void tls_end(struct tls_conn **conn);
/* As recv(), without waiting: 0 = the client has said that nothing more comes, or -1 and EAGAIN or
 * another error. */
ssize_t tls_receive(struct tls_conn *tls, void *to, size_t n);
/* The same for one byte, which stays. */
ssize_t tls_peek(struct tls_conn *tls);
/* A few bytes at once, unless something is being written; false: the connection is broken. */
bool tls_send(struct tls_conn *tls, const char *bytes, size_t n);
/* Says that nothing more will be sent, once, as far as there is room for it. */
void tls_goodbye(struct tls_conn *tls);
/* Bytes that were received and not read yet are there: epoll doesn't know of them. */
bool tls_holds(const struct tls_conn *tls);
/* Whoever reads the socket is called if there are any; after its reader was exchanged. */
void tls_wake(struct tls_conn *tls);
/* h2o's callback for the end of the write under way: to be exchanged. */
h2o_socket_cb *tls_written(struct tls_conn *tls);
/* The handshake is under way. */
bool tls_is_shaking(const struct tls_conn *tls);
/* The client has sent nothing so far. */
bool tls_is_silent(const struct tls_conn *tls);
/* The client's certificate as RFC 9440 has it, ":base64:"; "" = it has shown none. Lives as long as
 * the connection. */
struct str tls_client_certificate(struct tls_conn *tls);

#endif
