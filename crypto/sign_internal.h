/* What the files behind crypto/sign.h share. */
#ifndef GW_CRYPTO_SIGN_INTERNAL_H
#define GW_CRYPTO_SIGN_INTERNAL_H

#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include "crypto/der.h"
#include "crypto/sign.h"

/* -- names of things (signer.c) --------------------------------------------------------------- */

#define OID_DATA        STR(MBEDTLS_OID_PKCS "\x07\x01") /* RFC 5652 section 4 */
#define OID_SIGNED_DATA STR(MBEDTLS_OID_PKCS "\x07\x02") /* section 5.1 */
#define OID_TST_INFO    STR(MBEDTLS_OID_PKCS9 "\x10\x01\x04")
/* Attributes: RFC 5652 section 11, RFC 5035 sections 5 and 3, RFC 3161 appendix A. */
#define OID_CONTENT_TYPE           STR(MBEDTLS_OID_PKCS9 "\x03")
#define OID_MESSAGE_DIGEST         STR(MBEDTLS_OID_PKCS9 "\x04")
#define OID_SIGNING_CERTIFICATE    STR(MBEDTLS_OID_PKCS9 "\x10\x02\x0c")
#define OID_SIGNATURE_TIME_STAMP   STR(MBEDTLS_OID_PKCS9 "\x10\x02\x0e")
#define OID_SIGNING_CERTIFICATE_V2 STR(MBEDTLS_OID_PKCS9 "\x10\x02\x2f")
#define OID_RSA_ENCRYPTION         STR(MBEDTLS_OID_PKCS1_RSA)

struct digest_algorithm {
    enum digest_kind kind;
    mbedtls_md_type_t md;
    struct str oid, with_rsa, with_ecdsa;
};
/* NULL: not one that is good for signatures today. */
const struct digest_algorithm *digest_algorithm(enum digest_kind kind);
const struct digest_algorithm *digest_algorithm_named(struct str oid);

/* Since 1970. */
int64_t x509_seconds(const mbedtls_x509_time *time);

/* random_bytes() as mbedtls calls it. */
int sign_random(void *arg, unsigned char *to, size_t n);

/* -- keys that sign (sign_key.c) -------------------------------------------------------------- */

/* mbedtls' keys are one thread's at a time: a signature writes into its key (blinding, tables). So
 * each is made with a copy that nobody else uses meanwhile. */
struct key_pool;
/* Takes the key over. */
struct key_pool *key_pool_create(mbedtls_pk_context *key);
void key_pool_destroy(struct key_pool **pool);
enum { SIGNATURE_VALUE_MAX = 512 };
/* Signs a digest. Any thread. */
size_t key_pool_sign(struct key_pool *pool, const struct digest_algorithm *algorithm,
                     const uint8_t *digest, uint8_t value_r[SIGNATURE_VALUE_MAX]);

/* -- reading files (key_file.c) --------------------------------------------------------------- */

enum { PEM_FILE_MAX = 64 * 1024 };
/* The file's text, NUL-terminated, malloc()ed; mode_r: its permissions. NULL: `error` names it. */
char *pem_read(const char *path, unsigned *mode_r, char *error, size_t error_size);
void pem_free(char **text); /* wiped */
/* The private key in a PEM text of that file. False: `error` names the file. */
bool key_parse(const char *path, const char *text, struct str password, mbedtls_pk_context *key_r,
               char *error, size_t error_size);

/* -- the signer (signer.c) -------------------------------------------------------------------- */

struct signer {
    const struct digest_algorithm *algorithm;
    bool rsa;
    mbedtls_x509_crt chain; /* its own first */
    struct key_pool *keys;
    char *name;
    size_t size; /* signer_size() */
    /* DER, made once; owned. */
    struct str identity;     /* IssuerAndSerialNumber */
    struct str ess;          /* the signing-certificate-v2 attribute */
    struct str certificates; /* [0] of SignedData */
};

/* -- reading SignedData (signed_data.c) ------------------------------------------------------- */

/* A SignedData with one signature, RFC 5652 section 5: views into its DER. {NULL, 0} = absent. */
struct signed_data {
    struct str content_type;                  /* OID */
    struct str content;                       /* octets */
    struct str certificates;                  /* what is inside [0]: one after the other */
    struct str identity;                      /* IssuerAndSerialNumber, or another way to say who */
    const struct digest_algorithm *algorithm; /* NULL: none that we take */
    struct str attributes;                    /* the signed ones, with their tag and length */
    struct str signature_algorithm;           /* OID */
    struct str signature;
    struct str unsigned_attributes; /* one after the other */
};
/* From a ContentInfo. False: it isn't one. *rest_r: what follows it. */
bool signed_data_read(struct str der, struct signed_data *data_r, struct str *rest_r);
/* How often an attribute stands among the signed ones; *value_r: its (last) value, whole. */
size_t signed_attribute(const struct signed_data *data, struct str type, struct str *value_r);
size_t unsigned_attribute(const struct signed_data *data, struct str type, struct str *value_r);
/* The digest of the content as it was signed; content-type is the content's. */
bool signed_message_digest(const struct signed_data *data, struct str *digest_r);
/* Whether the signed attributes name this certificate (DER), by signing-certificate or its v2, RFC
 * 5035. ESS_NONE: by neither. */
enum ess_verdict { ESS_NONE, ESS_THIS, ESS_OTHER };
enum ess_verdict signed_certificate(const struct signed_data *data, struct str certificate);
/* Whether the signature is this key's. Any thread: mbedtls locks an RSA key meanwhile, for some
 * microseconds, and copies an ECDSA one. */
bool signed_by(const struct signed_data *data, const mbedtls_pk_context *key);

#endif
