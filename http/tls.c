/* What all loops share of TLS. A set of certificates is immutable; a reload makes another and
 * exchanges the pointer, and the old one goes with the last connection that uses it. */
#include "http/tls_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <openssl/core_names.h>
#include "base/buf.h"
#include "base/log.h"
#include "crypto/crypto.h"
#include "http/tls_tickets.h"
#include "observe/metrics.h"

enum { LOGGED_NAMES = 400 };

struct tls {
    const struct config *config;
    struct ticket_keys tickets;
    pthread_mutex_t reload; /* one at a time */
    pthread_mutex_t lock;   /* of the pointer */
    struct tls_set *set;
    _Atomic size_t users; /* connections, and whoever made it */
    _Atomic uint64_t handshakes[TLS_RESULTS];
};

static uint64_t now_s(void)
{
    return clock_us() / 1000000;
}

static void check(const struct config *config, struct diag *diag)
{
    const struct config_server_tls *tls = &config->tls;
    const struct config_strings *listen = &config->server.listen_tls;
    if (listen->count != 0 && tls->certificate_count == 0)
        diag_error(diag, config_pos(config, listen),
                   "listen_tls needs a certificate: [tls.certificates.NAME]");
    if (tls->client_certificates != CLIENT_CERTIFICATES_OFF && tls->client_ca.n == 0)
        diag_error(diag, config_pos(config, &tls->client_certificates),
                   "client_certificates needs client_ca: who may have signed them");
    if (tls->client_certificates == CLIENT_CERTIFICATES_OFF && tls->client_ca.n != 0)
        diag_warning(diag, config_pos(config, &tls->client_ca),
                     "client_ca is of no use while client_certificates is \"off\"");
    if (tls->redirect && listen->count == 0 && tls->redirect_port == 0)
        diag_error(diag, config_pos(config, &tls->redirect),
                   "redirect needs a place to go: [server] listen_tls, or redirect_port");
    if (tls->hsts_ms != 0 && listen->count == 0)
        diag_warning(diag, config_pos(config, &tls->hsts_ms),
                     "hsts is of no use without [server] listen_tls: it is sent over TLS only");
    if (tls->certificate_count != 0 && listen->count == 0)
        diag_warning(diag, config_pos(config, &tls->certificates[0].name),
                     "certificates are of no use without [server] listen_tls");
}

struct tls *tls_create(const struct config *config, struct diag *diag)
{
    size_t errors = diag_errors(diag);
    check(config, diag);
    if (config->tls.certificate_count == 0 || diag_errors(diag) != errors)
        return NULL;
    struct tls *tls = calloc(1, sizeof(*tls));
    gw_assert(tls != NULL);
    tls->config = config;
    atomic_store(&tls->users, 1);
    tls->set = tls_set_load(config, tls, diag);
    if (tls->set == NULL) {
        free(tls);
        return NULL;
    }
    pthread_mutex_init(&tls->reload, NULL);
    pthread_mutex_init(&tls->lock, NULL);
    ticket_keys_init(&tls->tickets, config->tls.ticket_lifetime_ms / 1000, now_s());
    return tls;
}

void tls_use(struct tls *tls)
{
    atomic_fetch_add_explicit(&tls->users, 1, memory_order_relaxed);
}

void tls_release(struct tls *tls)
{
    if (atomic_fetch_sub(&tls->users, 1) != 1)
        return;
    tls_set_release(tls->set);
    ticket_keys_fini(&tls->tickets);
    pthread_mutex_destroy(&tls->reload);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

void tls_destroy(struct tls **tls_p)
{
    if (*tls_p != NULL)
        tls_release(*tls_p);
    *tls_p = NULL;
}

void tls_follow(struct tls *tls, struct tls *before)
{
    ticket_keys_follow(&tls->tickets, &before->tickets);
    for (size_t i = 0; i < TLS_RESULTS; i++)
        atomic_store(&tls->handshakes[i], atomic_load(&before->handshakes[i]));
}

struct tls_set *tls_current(struct tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    struct tls_set *set = tls->set;
    atomic_fetch_add(&set->users, 1);
    pthread_mutex_unlock(&tls->lock);
    return set;
}

bool tls_reload(struct tls *tls, struct diag *diag)
{
    pthread_mutex_lock(&tls->reload);
    struct tls_set *fresh = tls_set_load(tls->config, tls, diag), *old = NULL;
    if (fresh != NULL) {
        pthread_mutex_lock(&tls->lock);
        old = tls->set;
        tls->set = fresh;
        pthread_mutex_unlock(&tls->lock);
        tls_set_release(old);
    }
    pthread_mutex_unlock(&tls->reload);
    if (fresh != NULL)
        tls_log(tls);
    return fresh != NULL;
}

/* -- session tickets --------------------------------------------------------------------------- */

static bool set_up(const struct ticket_key *key, const unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int seals)
{
    char digest[] = "SHA256";
    uint8_t mac_key[sizeof(key->mac)];
    memcpy(mac_key, key->mac, sizeof(mac_key));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, mac_key, sizeof(mac_key)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    bool done = EVP_MAC_CTX_set_params(mac, params) == 1 &&
                EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, seals) == 1;
    explicit_bzero(mac_key, sizeof(mac_key));
    return done;
}

/* What SSL_CTX_set_tlsext_ticket_key_evp_cb(3) says: -1 = failed, 0 = not ours, 1 = fine, 2 = fine,
 * but make a new ticket. */
int tls_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int seals)
{
    struct tls *tls = tls_context_owner(ssl);
    struct ticket_key key;
    bool current = true;
    if (seals) {
        key = ticket_keys_current(&tls->tickets, now_s());
        memcpy(name, key.name, sizeof(key.name));
        random_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
    } else if (!ticket_keys_find(&tls->tickets, name, now_s(), &key, &current)) {
        return 0;
    }
    bool done = set_up(&key, iv, cipher, mac, seals);
    explicit_bzero(&key, sizeof(key));
    return !done ? -1 : current ? 1 : 2;
}

/* -- what there is to see ---------------------------------------------------------------------- */

void tls_log(struct tls *tls)
{
    struct tls_set *set = tls_current(tls);
    for (size_t i = 0; i < set->count; i++) {
        const struct tls_certificate *certificate = &set->certificates[i];
        struct buf names;
        struct tm tm;
        char end[32] = "";
        time_t expires = (time_t)certificate->expires_s;
        buf_init(&names, LOGGED_NAMES);
        for (size_t k = 0; k < set->names.count; k++)
            if (set->names.items[k].certificate == i)
                buf_printf(&names, "%s%s", names.n != 0 ? " " : "", set->names.items[k].text);
        if (gmtime_r(&expires, &tm) != NULL)
            strftime(end, sizeof(end), "%Y-%m-%dT%H:%M:%SZ", &tm);
        log_event(LOG_INFO, "certificate", "name=%s hosts=%s expires=%s",
                  certificate->config->name.p, log_quote(buf_str(&names)), end);
        buf_fini(&names);
    }
    tls_set_release(set);
}

void tls_count(struct tls *tls, enum tls_result result)
{
    atomic_fetch_add_explicit(&tls->handshakes[result], 1, memory_order_relaxed);
}

void tls_write_metrics(struct tls *tls, struct out *out)
{
    static const struct str results[] = {[TLS_FULL] = {"full", 4},
                                         [TLS_RESUMED] = {"resumed", 7},
                                         [TLS_FAILED] = {"failed", 6},
                                         [TLS_TIMEOUT] = {"timeout", 7}};
    static const char handshakes[] = "gw_tls_handshakes_total",
                      expiry[] = "gw_tls_certificate_expiry_timestamp_seconds";
    struct tls_set *set = tls != NULL ? tls_current(tls) : NULL;
    metric_begin(out, handshakes, METRIC_COUNTER, "Handshakes of clients, by how they ended.");
    for (size_t i = 0; tls != NULL && i < TLS_RESULTS; i++) {
        const struct str labels[] = {STR("result"), results[i]};
        metric_put(out, handshakes, labels, COUNT(labels),
                   atomic_load_explicit(&tls->handshakes[i], memory_order_relaxed));
    }
    metric_begin(out, expiry, METRIC_GAUGE, "When a listener's certificate ends.");
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        const struct str labels[] = {STR("name"), set->certificates[i].config->name};
        int64_t end = set->certificates[i].expires_s;
        metric_put(out, expiry, labels, COUNT(labels), end > 0 ? (uint64_t)end : 0);
    }
    if (set != NULL)
        tls_set_release(set);
}
