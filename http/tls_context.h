/* Certificates read from files, as contexts of OpenSSL that handshakes are made with. Private to
 * tls*.c. */
#ifndef GW_HTTP_TLS_CONTEXT_H
#define GW_HTTP_TLS_CONTEXT_H

#include <stdatomic.h>
#include <openssl/ssl.h>
#include "base/diag.h"
#include "config/config.h"
#include "http/tls_names.h"

/* All that was read at one time; connections keep the one they began with. */
struct tls_set {
    _Atomic size_t users;
    struct tls_names names;
    size_t count;
    struct tls_certificate {
        SSL_CTX *ctx;
        const struct config_server_certificate *config;
        int64_t expires_s; /* since 1970 */
    } certificates[];
};

/* Reads what the configuration names, with all that is wrong told in diag: NULL when something is.
 * owner: what tls_context_owner() gives to callbacks. */
struct tls_set *tls_set_load(const struct config *config, void *owner, struct diag *diag);
void tls_set_release(struct tls_set *set);
void *tls_context_owner(const SSL *ssl);

/* Seals and opens session tickets; of tls.c. */
int tls_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int seals);

#endif
