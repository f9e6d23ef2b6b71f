/* crypto/: signatures that others can check: CMS (RFC 5652) as PAdES baseline wants it (ETSI EN
 * 319 142-1, B-B and B-T), time stamps (RFC 3161), self-signed certificates for trying it out.
 *
 * Keys are RSA of 2048 to 4096 bits (PKCS #1 v1.5) or ECDSA on P-256 or P-384; the digest goes with
 * the key: SHA-256, for P-384 SHA-384. Everything here computes: not on a loop. A signer is
 * immutable once loaded: any thread, several at once. */
#ifndef GW_CRYPTO_SIGN_H
#define GW_CRYPTO_SIGN_H

#include "crypto/crypto.h"

enum { SIGNATURE_DIGEST_MAX = 48 };

/* -- who signs -------------------------------------------------------------------------------- */

struct signer;
/* From PEM files: the key (password "" = none), and its certificate followed by its chain. NULL:
 * `error` (error_size bytes) says what is wrong with which file: unreadable, not a key that can be
 * used here, a certificate of another key, a chain whose members don't follow each other. A key
 * file that others may read, a certificate that isn't valid now: `warning` says so, else "". */
struct signer *signer_load(const char *key_path, struct str password, const char *certificate_path,
                           int64_t now_s, char *error, char *warning, size_t error_size);
void signer_destroy(struct signer **signer);
enum digest_kind signer_digest(const struct signer *signer);
/* Common name of the certificate's subject, UTF-8; "" = none. */
struct str signer_name(const struct signer *signer);
/* What a signature of its can take at most, DER, bytes; with a time stamp TIMESTAMP_MAX more. */
size_t signer_size(const struct signer *signer);

/* -- signing ---------------------------------------------------------------------------------- */

enum {
    TIMESTAMP_MAX = 12 * 1024,               /* bytes that a time stamp adds to a signature */
    TIMESTAMP_TOKEN_MAX = TIMESTAMP_MAX - 64 /* of these, the token's own */
};

/* A signature that was made, before it is written down. */
struct cms {
    const struct signer *signer; /* borrowed */
    uint8_t attributes[1536];    /* the signed attributes, DER SET; an issuer's name is in it */
    size_t attributes_n;
    uint8_t value[512]; /* the signature */
    size_t value_n;
};
/* Signs content of which only the digest (signer_digest()) is known: content-type, message-digest
 * and signing-certificate-v2 (RFC 5035) as signed attributes; no signing-time, as PAdES says. The
 * same digest gives the same signature: RSA's is made so, ECDSA's by RFC 6979. */
void cms_sign(const struct signer *signer, const uint8_t *content_digest, struct cms *cms_r);
/* Writes the SignedData as DER, chain included; a time stamp token (DER ContentInfo, at most
 * TIMESTAMP_TOKEN_MAX) goes into the unsigned attributes, {NULL, 0} = none. Returns its length, at
 * most signer_size() (+ TIMESTAMP_MAX with a token); der_r has that much room. */
size_t cms_write(const struct cms *cms, struct str token, uint8_t *der_r);

/* -- checking --------------------------------------------------------------------------------- */

enum cms_verdict {
    CMS_GOOD,    /* signed by this certificate's key, and the content is the one that was signed */
    CMS_ALTERED, /* signed by this certificate's key, but other content */
    CMS_FOREIGN, /* names another certificate */
    CMS_BROKEN   /* names this certificate, but the signature is not its key's, or made in a way
                    that we never use */
};
struct cms_found {
    enum cms_verdict verdict;
    /* Only with CMS_GOOD and CMS_ALTERED: */
    enum digest_kind digest_kind;                 /* of the content */
    uint8_t message_digest[SIGNATURE_DIGEST_MAX]; /* as signed */
    /* There is a token; nobody looked into it. */
    bool timestamped;
};
/* Checks a detached SignedData with the signer's certificate. content_digest is asked for the
 * digest of the content when the signature is the signer's. Zeros may follow, as they do in a PDF.
 * False: this isn't one (malformed, with its content inside, with no or several signatures). der: a
 * stranger's bytes. */
bool cms_check(const struct signer *signer, struct str der,
               void (*content_digest)(void *arg, enum digest_kind kind, uint8_t *digest_r),
               void *arg, struct cms_found *found_r);

/* -- time stamps (RFC 3161) -------------------------------------------------------------------- */

struct timestamp_query {
    uint8_t digest[32]; /* SHA-256 of what is stamped: the signature's value */
    uint8_t nonce[8];
    uint8_t der[128]; /* the TimeStampReq, to be sent as application/timestamp-query */
    size_t n;
};
/* Asks for the authority's certificate in the token. */
void timestamp_ask(const struct cms *cms, struct timestamp_query *query_r);
/* Takes a TimeStampResp (application/timestamp-reply): granted, for our digest and our nonce,
 * signed by the certificate that comes with it, which must be for time stamping alone and valid at
 * that time. Who issued that certificate is for the reader to judge. The token points into the
 * answer. False: *error_r (static) says what is wrong. `answer`: a stranger's bytes. */
bool timestamp_take(const struct timestamp_query *query, struct str answer, struct str *token_r,
                    int64_t *time_s_r, const char **error_r);

/* -- for trying it out ------------------------------------------------------------------------ */

enum key_kind { KEY_RSA_2048, KEY_RSA_3072, KEY_P256, KEY_P384 };
struct key_order {
    enum key_kind kind;
    const char *common_name;  /* UTF-8 */
    const char *organization; /* NULL = none */
    int64_t from_s, until_s;  /* seconds since 1970 */
};
/* A new key (PKCS #8 or the kind's own PEM) and a self-signed certificate for it that may sign
 * documents. Texts are malloc()ed, NUL-terminated; wipe the key's before free(). False: `error`. */
bool key_make(const struct key_order *order, char **key_pem_r, char **certificate_pem_r,
              char *error, size_t error_size);

#endif
