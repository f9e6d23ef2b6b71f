/* How TLS is spoken here: versions, ciphers, what clients may choose; and reading certificates,
 * with words for what may be wrong with them. Each certificate has a context of its own; all are
 * alike but for it, so that choosing one by name changes nothing else. */
#include "http/tls_context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include "crypto/crypto.h"
#include "http/tls_tickets.h"

enum { MAX_CHAIN = 32 * 1024 /* bytes of a client's certificates */ };

/* TLS 1.2: forward secrecy and authenticated encryption only. The server chooses; clients that put
 * ChaCha20 first have no AES in hardware, and get it. */
static const char ciphers_1_2[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                  "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                  "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char ciphers_1_3[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";

/* -- what clients choose ----------------------------------------------------------------------- */

/* ALPN, RFC 7301: h2 before http/1.1; a client that names neither speaks something else. */
static int choose_protocol(SSL *ssl, const unsigned char **chosen_r, unsigned char *length_r,
                           const unsigned char *offered, unsigned n, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *chosen;
    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&chosen, length_r, ours, sizeof(ours) - 1, offered, n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen_r = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int choose_certificate(SSL *ssl, int *alert_r, void *arg)
{
    const struct tls_set *set = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert_r;
    long found = name != NULL ? tls_names_find(&set->names, str_from(name)) : -1;
    if (found < 0)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_SSL_CTX(ssl, set->certificates[found].ctx);
    return SSL_TLSEXT_ERR_OK;
}

void *tls_context_owner(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* -- files ------------------------------------------------------------------------------------- */

/* What OpenSSL's errors are about; takes them. */
struct trouble {
    bool mismatch, sealed; /* of keys: another certificate's, with a passphrase */
    const char *text;      /* of the first, which is nearest to the cause */
};

static struct trouble what_is_wrong(void)
{
    struct trouble trouble = {.text = NULL};
    unsigned long error;
    while ((error = ERR_get_error()) != 0) {
        int from = ERR_GET_LIB(error), reason = ERR_GET_REASON(error);
        if (trouble.text == NULL)
            trouble.text = ERR_reason_error_string(error);
        trouble.mismatch |= from == ERR_LIB_X509 && (reason == X509_R_KEY_VALUES_MISMATCH ||
                                                     reason == X509_R_KEY_TYPE_MISMATCH);
        trouble.sealed |= from == ERR_LIB_PEM && (reason == PEM_R_BAD_PASSWORD_READ ||
                                                  reason == PEM_R_PROBLEMS_GETTING_PASSWORD);
    }
    if (trouble.text == NULL)
        trouble.text = "unknown error";
    return trouble;
}

/* Whether it can be opened: OpenSSL would only say "system lib". */
static bool readable(const struct config *config, const struct str *path, mode_t *mode_r,
                     struct diag *diag)
{
    struct stat st = {0};
    int fd = open(path->p, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *why = fd < 0 || fstat(fd, &st) != 0 ? strerror(errno)
                      : !S_ISREG(st.st_mode)        ? "not a file"
                                                    : NULL;
    if (fd >= 0)
        close(fd);
    if (why != NULL)
        diag_error(diag, config_pos(config, path), "\"%s\" cannot be read: %s", path->p, why);
    *mode_r = st.st_mode;
    return why == NULL;
}

/* Never asks at the terminal. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to, (void)size, (void)writing, (void)arg;
    return -1;
}

static bool load_key(const struct config *config, const struct config_server_certificate *from,
                     SSL_CTX *ctx, const X509 *leaf, struct diag *diag)
{
    mode_t mode;
    if (!readable(config, &from->key, &mode, diag))
        return false;
    if ((mode & (S_IROTH | S_IWOTH)) != 0)
        diag_warning(diag, config_pos(config, &from->key),
                     "\"%s\" is a private key that every user of this machine may %s", from->key.p,
                     (mode & S_IROTH) != 0 ? "read" : "change");
    /* A key of another kind is taken as that of a certificate still to come. */
    if (SSL_CTX_use_PrivateKey_file(ctx, from->key.p, SSL_FILETYPE_PEM) == 1 &&
        X509_check_private_key(leaf, SSL_CTX_get0_privatekey(ctx)) == 1)
        return true;
    struct trouble trouble = what_is_wrong();
    if (trouble.mismatch)
        diag_error(diag, config_pos(config, &from->key),
                   "\"%s\" is not the key of the certificate \"%s\"", from->key.p,
                   from->certificate.p);
    else if (trouble.sealed)
        diag_error(diag, config_pos(config, &from->key),
                   "\"%s\" needs a passphrase; keep the key without one, in a file that nobody "
                   "else may read",
                   from->key.p);
    else
        diag_error(diag, config_pos(config, &from->key), "\"%s\" holds no private key: %s",
                   from->key.p, trouble.text);
    return false;
}

static int64_t unix_time(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void check_dates(const struct config *config, const struct config_server_certificate *from,
                        const X509 *leaf, struct diag *diag)
{
    char text[32] = "";
    const ASN1_TIME *end = X509_get0_notAfter(leaf), *begin = X509_get0_notBefore(leaf);
    bool over = X509_cmp_current_time(end)<0, early = X509_cmp_current_time(begin)> 0;
    struct tm tm;
    if ((!over && !early) || ASN1_TIME_to_tm(over ? end : begin, &tm) != 1)
        return;
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    diag_warning(diag, config_pos(config, &from->certificate), "\"%s\" %s %s UTC",
                 from->certificate.p, over ? "expired on" : "is not valid before", text);
}

static bool add_name(struct tls_set *set, const ASN1_STRING *text)
{
    struct str name = {(const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)};
    return tls_names_add(&set->names, name, set->count);
}

/* Its names of hosts (RFC 6125); the subject's common name counts only where there are none. */
static void collect_names(struct tls_set *set, const X509 *leaf)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool any = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            add_name(set, name->d.dNSName);
            any = true;
        }
    }
    GENERAL_NAMES_free(names);
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int at = any ? -1 : X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0)
        add_name(set, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

static bool load_certificate(struct tls_set *set, const struct config *config,
                             const struct config_server_certificate *from, SSL_CTX *ctx,
                             struct diag *diag)
{
    mode_t mode;
    if (from->certificate.n == 0 || from->key.n == 0 ||
        !readable(config, &from->certificate, &mode, diag))
        return false;
    if (SSL_CTX_use_certificate_chain_file(ctx, from->certificate.p) != 1) {
        diag_error(diag, config_pos(config, &from->certificate),
                   "\"%s\" holds no usable certificate: %s", from->certificate.p,
                   what_is_wrong().text);
        return false;
    }
    const X509 *leaf = SSL_CTX_get0_certificate(ctx);
    check_dates(config, from, leaf, diag);
    collect_names(set, leaf);
    set->certificates[set->count].expires_s = unix_time(X509_get0_notAfter(leaf));
    return load_key(config, from, ctx, leaf, diag);
}

/* -- contexts ---------------------------------------------------------------------------------- */

/* Sessions are resumed only under the rules about client certificates that they began with. */
static bool take_clients(const struct config *config, SSL_CTX *ctx, struct diag *diag)
{
    const struct config_server_tls *tls = &config->tls;
    mode_t mode;
    uint8_t rules[DIGEST_MAX];
    sha256("", 0, rules);
    if (tls->client_certificates != CLIENT_CERTIFICATES_OFF) {
        if (!readable(config, &tls->client_ca, &mode, diag))
            return false;
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(tls->client_ca.p);
        if (names == NULL || SSL_CTX_load_verify_file(ctx, tls->client_ca.p) != 1) {
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            diag_error(diag, config_pos(config, &tls->client_ca),
                       "\"%s\" holds no usable certificate: %s", tls->client_ca.p,
                       what_is_wrong().text);
            return false;
        }
        SSL_CTX_set_client_CA_list(ctx, names);
        bool required = tls->client_certificates == CLIENT_CERTIFICATES_REQUIRED;
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                           NULL);
        SSL_CTX_set_max_cert_list(ctx, MAX_CHAIN);
        struct digest *digest = digest_create(DIGEST_SHA256);
        digest_update(digest, &required, sizeof(required));
        const STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));
        for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
            uint8_t one[EVP_MAX_MD_SIZE];
            unsigned n = 0;
            const X509 *authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
            if (authority != NULL && X509_digest(authority, EVP_sha256(), one, &n) == 1)
                digest_update(digest, one, n);
        }
        digest_finish(digest, rules);
        digest_destroy(&digest);
    }
    SSL_CTX_set_session_id_context(ctx, rules, 32);
    return true;
}

static SSL_CTX *make_context(const struct config *config, void *owner)
{
    const struct config_server_tls *tls = &config->tls;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    gw_assert(ctx != NULL);
    bool sound = SSL_CTX_set_min_proto_version(
                     ctx, tls->min_version == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
                 SSL_CTX_set_cipher_list(ctx, ciphers_1_2) == 1 &&
                 SSL_CTX_set_ciphersuites(ctx, ciphers_1_3) == 1 &&
                 SSL_CTX_set1_groups_list(ctx, groups) == 1;
    gw_assert(sound);
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_app_data(ctx, owner);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (tls->session_tickets) {
        SSL_CTX_set_timeout(ctx, (long)(tls->ticket_lifetime_ms / 1000));
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_ticket_key);
    } else {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
    }
    return ctx;
}

struct tls_set *tls_set_load(const struct config *config, void *owner, struct diag *diag)
{
    const struct config_server_tls *tls = &config->tls;
    size_t errors = diag_errors(diag);
    struct tls_set *set =
        calloc(1, sizeof(*set) + tls->certificate_count * sizeof(set->certificates[0]));
    gw_assert(set != NULL);
    set->users = 1;
    ERR_clear_error();
    for (; set->count < tls->certificate_count; set->count++) {
        const struct config_server_certificate *from = &tls->certificates[set->count];
        SSL_CTX *ctx = make_context(config, owner);
        set->certificates[set->count].ctx = ctx;
        set->certificates[set->count].config = from;
        load_certificate(set, config, from, ctx, diag);
        /* What is wrong with the authorities is told once. */
        if (set->count == 0 || diag_errors(diag) == errors)
            take_clients(config, ctx, diag);
    }
    if (diag_errors(diag) != errors) {
        tls_set_release(set);
        return NULL;
    }
    tls_names_sort(&set->names);
    if (set->count != 0) {
        SSL_CTX_set_tlsext_servername_callback(set->certificates[0].ctx, choose_certificate);
        SSL_CTX_set_tlsext_servername_arg(set->certificates[0].ctx, set);
    }
    return set;
}

void tls_set_release(struct tls_set *set)
{
    if (atomic_fetch_sub(&set->users, 1) != 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        SSL_CTX_free(set->certificates[i].ctx);
    tls_names_fini(&set->names);
    free(set);
}
