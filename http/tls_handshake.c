/* A connection's beginning: the handshake, before which there is no HTTP and h2o knows nothing of
 * the connection; but it is counted, and it has a limit of time. */
#include "http/http_internal.h"

#include <stdlib.h>
#include <openssl/err.h>
#include "base/log.h"
#include "crypto/crypto.h"
#include "http/tls_internal.h"

static void give_up(struct tls_conn *tls, enum tls_result result, const char *why)
{
    tls_count(tls->tls, result);
    log_event(LOG_DEBUG, "TLS handshake failed", "peer=%s reason=%s", tls->conn->peer,
              log_quote(str_from(why)));
    tls_flush(tls);
    h2o_socket_close(tls->conn->sock);
}

static void time_is_up(struct timer *timer)
{
    give_up(CONTAINER_OF(timer, struct tls_conn, limit), TLS_TIMEOUT, "it took too long");
}

/* Somebody speaks HTTP here: nothing else would tell him what is wrong. */
static void answer_plainly(struct tls_conn *tls)
{
    static const char answer[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 36\r\n"
        "Connection: close\r\n\r\nThis port speaks TLS: use https://.\n";
    char rest[RECORD];
    int fd = h2o_socket_get_fd(tls->conn->sock);
    buf_clear(&tls->sealed); /* OpenSSL's alert */
    /* Unread bytes would reset the connection before the answer is seen. */
    ssize_t got = recv(fd, rest, sizeof(rest), MSG_DONTWAIT);
    ssize_t sent = send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)got, (void)sent;
}

/* A ticket outlives what it stands for, but no certificate does. */
static bool certificate_is_over(const SSL *ssl)
{
    const X509 *certificate = SSL_session_reused(ssl) ? SSL_get0_peer_certificate(ssl) : NULL;
    return certificate != NULL && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
}

static void shaken(struct tls_conn *tls)
{
    if (certificate_is_over(tls->ssl)) {
        give_up(tls, TLS_FAILED, "the client's certificate has expired");
        return;
    }
    tls_count(tls->tls, SSL_session_reused(tls->ssl) ? TLS_RESUMED : TLS_FULL);
    timer_stop(tls->conn->http->loop, &tls->limit);
    tls->shaking = false;
    guard_open(tls->conn);
    tls_wake(tls);
}

static void shake(h2o_socket_t *sock, const char *err);

/* The handshake's records are out that the kernel had no room for at once. */
static void shake_on(h2o_socket_t *sock, const char *err)
{
    struct tls_conn *tls = tls_own(sock);
    if (err != NULL) {
        give_up(tls, TLS_FAILED, err);
        return;
    }
    h2o_socket_read_start(sock, shake);
    shake(sock, NULL);
}

static void shake(h2o_socket_t *sock, const char *err)
{
    struct tls_conn *tls = tls_own(sock);
    (void)err; /* nothing was read */
    ERR_clear_error();
    int result = SSL_accept(tls->ssl);
    int why = result == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);
    unsigned long error = ERR_peek_last_error();
    if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ) {
        const char *reason = ERR_reason_error_string(error);
        tls->broken = true;
        if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST)
            answer_plainly(tls);
        give_up(tls, TLS_FAILED, reason != NULL ? reason : "the client left");
        return;
    }
    tls_flush(tls);
    if (tls->sealed.n != 0) {
        h2o_socket_read_stop(sock);
        tls->written = shake_on;
        tls_take_off(tls);
    } else if (why == SSL_ERROR_NONE) {
        shaken(tls);
    }
}

void tls_begin(struct http_conn *conn, struct tls *shared)
{
    struct tls_conn *tls = h2o_mem_alloc(sizeof(*tls));
    *tls =
        (struct tls_conn){.conn = conn, .tls = shared, .set = tls_current(shared), .shaking = true};
    tls_use(shared);
    timer_init(&tls->limit, time_is_up);
    tls_prepare(tls);
    SSL_set_accept_state(tls->ssl);
    conn->tls = tls;
    timer_start(conn->http->loop, &tls->limit, conn->http->server->config->server.head_timeout_ms);
    h2o_socket_dont_read(conn->sock, 1);
    h2o_socket_read_start(conn->sock, shake);
}

bool tls_is_shaking(const struct tls_conn *tls)
{
    return tls->shaking;
}

bool tls_is_silent(const struct tls_conn *tls)
{
    return SSL_in_before(tls->ssl) && !tls_holds(tls);
}

/* -- the client's certificate ------------------------------------------------------------------ */

struct str tls_client_certificate(struct tls_conn *tls)
{
    if (tls->certificate.p != NULL)
        return tls->certificate;
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    uint8_t *der = NULL;
    int n = certificate != NULL ? i2d_X509(certificate, &der) : 0;
    char *text = h2o_mem_alloc(BASE64_LENGTH(n > 0 ? n : 0) + 3);
    tls->certificate = (struct str){text, 0};
    if (n > 0) {
        size_t length = base64_encode(der, (size_t)n, text + 1);
        text[0] = text[length + 1] = ':';
        tls->certificate.n = length + 2;
    }
    OPENSSL_free(der);
    return tls->certificate;
}
