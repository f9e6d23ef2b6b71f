/* PEM files of private keys, also encrypted ones.
 *
 * mbedtls 2.28 reads all but what OpenSSL 3 writes by default: PKCS #8 encrypted with PBES2 and AES
 * (RFC 8018 section 6.2; of ciphers it knows DES there). That one is opened here. */
#include "crypto/sign_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/cipher.h>
#include <mbedtls/error.h>
#include <mbedtls/md.h>
#include <mbedtls/pem.h>
#include <mbedtls/pkcs5.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENCRYPTED_BEGIN "-----BEGIN ENCRYPTED PRIVATE KEY-----"
#define ENCRYPTED_END   "-----END ENCRYPTED PRIVATE KEY-----"

/* A file may ask for this much work, some seconds, before it is refused. */
enum { ITERATIONS_MAX = 10 * 1000 * 1000 };

char *pem_read(const char *path, unsigned *mode_r, char *error, size_t error_size)
{
    char *text = NULL;
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe there mustn't hold us up */
    if (fd < 0 || fstat(fd, &about) != 0) {
        snprintf(error, error_size, "%s: cannot be read: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(about.st_mode)) {
        snprintf(error, error_size, "%s: not a plain file", path);
        goto out;
    }
    text = calloc(1, PEM_FILE_MAX + 1);
    gw_assert(text != NULL);
    ssize_t n = pread(fd, text, PEM_FILE_MAX + 1, 0);
    const char *wrong = n < 0                                   ? strerror(errno)
                        : n > PEM_FILE_MAX                      ? "longer than 64 KB"
                        : n == 0                                ? "empty"
                        : strstr(text, "-----BEGIN ") == NULL   ? "not a PEM file"
                        : memchr(text, '\0', (size_t)n) != NULL ? "not a text"
                                                                : NULL;
    if (wrong != NULL) {
        snprintf(error, error_size, "%s: %s", path, wrong);
        pem_free(&text);
    }
    *mode_r = about.st_mode & 07777;
out:
    if (fd >= 0)
        close(fd);
    return text;
}

void pem_free(char **text)
{
    if (*text != NULL)
        explicit_bzero(*text, PEM_FILE_MAX + 1);
    free(*text);
    *text = NULL;
}

/* -- PBES2 ------------------------------------------------------------------------------------ */

struct pbes2 {
    struct str salt, iv, encrypted;
    int32_t iterations;
    mbedtls_md_type_t prf;
    mbedtls_cipher_type_t cipher;
};

static const struct {
    struct str oid;
    mbedtls_md_type_t md;
} prfs[] = {
    {{MBEDTLS_OID_HMAC_SHA1, 8}, MBEDTLS_MD_SHA1},
    {{MBEDTLS_OID_HMAC_SHA256, 8}, MBEDTLS_MD_SHA256},
    {{MBEDTLS_OID_HMAC_SHA384, 8}, MBEDTLS_MD_SHA384},
    {{MBEDTLS_OID_HMAC_SHA512, 8}, MBEDTLS_MD_SHA512},
};

static const struct {
    struct str oid;
    mbedtls_cipher_type_t cipher;
} ciphers[] = {
    {{MBEDTLS_OID_AES "\x02", 9}, MBEDTLS_CIPHER_AES_128_CBC},
    {{MBEDTLS_OID_AES "\x16", 9}, MBEDTLS_CIPHER_AES_192_CBC},
    {{MBEDTLS_OID_AES "\x2a", 9}, MBEDTLS_CIPHER_AES_256_CBC},
};

/* PBKDF2-params, RFC 8018 appendix A.2. */
static bool read_derivation(struct str at, struct pbes2 *pbes2_r)
{
    struct str prf = prfs[0].oid;
    int32_t length;
    if (!der_read(&at, DER_OCTET_STRING, &pbes2_r->salt) ||
        !der_read_int(&at, &pbes2_r->iterations))
        return false;
    der_read_int(&at, &length); /* the cipher tells it too */
    if (at.n != 0 && (!der_read_algorithm(&at, &prf, NULL) || at.n != 0))
        return false;
    for (size_t i = 0; i < COUNT(prfs); i++) {
        if (str_eq(prfs[i].oid, prf)) {
            pbes2_r->prf = prfs[i].md;
            return pbes2_r->iterations > 0;
        }
    }
    return false;
}

/* EncryptedPrivateKeyInfo, RFC 5958 section 3, by PBES2 with an AES. */
static bool read_pbes2(struct str der, struct pbes2 *pbes2_r)
{
    struct str info, scheme, oid, parameters, derivation, values, by, cipher, iv;
    if (!der_read(&der, DER_SEQUENCE, &info) || der.n != 0 ||
        !der_read_algorithm(&info, &oid, &parameters) ||
        !str_eq(oid, STR(MBEDTLS_OID_PKCS5_PBES2)) ||
        !der_read(&info, DER_OCTET_STRING, &pbes2_r->encrypted) ||
        !der_read(&parameters, DER_SEQUENCE, &scheme) ||
        !der_read_algorithm(&scheme, &by, &derivation) ||
        !str_eq(by, STR(MBEDTLS_OID_PKCS5_PBKDF2)) ||
        !der_read(&derivation, DER_SEQUENCE, &values) || !read_derivation(values, pbes2_r) ||
        !der_read_algorithm(&scheme, &cipher, &iv) ||
        !der_read(&iv, DER_OCTET_STRING, &pbes2_r->iv) || pbes2_r->iv.n != 16)
        return false;
    for (size_t i = 0; i < COUNT(ciphers); i++) {
        if (str_eq(ciphers[i].oid, cipher)) {
            pbes2_r->cipher = ciphers[i].cipher;
            return true;
        }
    }
    return false;
}

/* Decrypts to `plain_r`, which has as much room as is encrypted and a block more. False: another
 * password. */
static bool decrypt(const struct pbes2 *pbes2, struct str password, uint8_t *plain_r, size_t *n_r)
{
    const mbedtls_cipher_info_t *info = mbedtls_cipher_info_from_type(pbes2->cipher);
    mbedtls_cipher_context_t cipher;
    mbedtls_md_context_t md;
    uint8_t key[32];
    mbedtls_cipher_init(&cipher);
    mbedtls_md_init(&md);
    bool done =
        mbedtls_md_setup(&md, mbedtls_md_info_from_type(pbes2->prf), 1) == 0 &&
        mbedtls_pkcs5_pbkdf2_hmac(&md, (const unsigned char *)password.p, password.n,
                                  (const unsigned char *)pbes2->salt.p, pbes2->salt.n,
                                  (unsigned)pbes2->iterations, info->key_bitlen / 8, key) == 0 &&
        mbedtls_cipher_setup(&cipher, info) == 0 &&
        mbedtls_cipher_setkey(&cipher, key, (int)info->key_bitlen, MBEDTLS_DECRYPT) == 0 &&
        mbedtls_cipher_crypt(&cipher, (const unsigned char *)pbes2->iv.p, pbes2->iv.n,
                             (const unsigned char *)pbes2->encrypted.p, pbes2->encrypted.n, plain_r,
                             n_r) == 0;
    explicit_bzero(key, sizeof(key));
    mbedtls_cipher_free(&cipher);
    mbedtls_md_free(&md);
    return done;
}

/* mbedtls' code, or 0. *ours_r: it is encrypted in the way that only we open. */
static int parse_pbes2(const char *text, struct str password, mbedtls_pk_context *key_r,
                       bool *ours_r)
{
    struct pbes2 pbes2;
    mbedtls_pem_context pem;
    size_t used, n = 0;
    int failed;
    *ours_r = false;
    mbedtls_pem_init(&pem);
    failed = mbedtls_pem_read_buffer(&pem, ENCRYPTED_BEGIN, ENCRYPTED_END,
                                     (const unsigned char *)text, NULL, 0, &used);
    if (failed != 0 || !read_pbes2((struct str){(char *)pem.buf, pem.buflen}, &pbes2) ||
        pbes2.iterations > ITERATIONS_MAX)
        goto out;
    *ours_r = true;
    failed = MBEDTLS_ERR_PK_PASSWORD_REQUIRED;
    if (password.n == 0)
        goto out;
    size_t room = pbes2.encrypted.n + 16;
    uint8_t *plain = calloc(1, room);
    gw_assert(plain != NULL);
    failed = MBEDTLS_ERR_PK_PASSWORD_MISMATCH;
    if (decrypt(&pbes2, password, plain, &n) && mbedtls_pk_parse_key(key_r, plain, n, NULL, 0) == 0)
        failed = 0;
    explicit_bzero(plain, room);
    free(plain);
out:
    mbedtls_pem_free(&pem);
    return failed;
}

/* -- any key ---------------------------------------------------------------------------------- */

/* What another password decrypts to may pass for padded, one in 256: then it isn't a key. */
static bool is_garbled(int failed, const char *text)
{
    const int high = 0xff80; /* of mbedtls' codes; the rest tells where in the ASN.1 */
    return strstr(text, "ENCRYPTED") != NULL &&
           (-failed & high) == -MBEDTLS_ERR_PK_KEY_INVALID_FORMAT;
}

static bool refuse(const char *path, int failed, const char *text, char *error, size_t error_size)
{
    char reason[128];
    if (failed == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || failed == MBEDTLS_ERR_PEM_PASSWORD_REQUIRED)
        snprintf(error, error_size, "%s: the key is encrypted: its password is needed", path);
    else if (failed == MBEDTLS_ERR_PK_PASSWORD_MISMATCH ||
             failed == MBEDTLS_ERR_PEM_PASSWORD_MISMATCH || is_garbled(failed, text))
        snprintf(error, error_size, "%s: the key is encrypted with another password", path);
    else if (strstr(text, "PRIVATE KEY-----") == NULL)
        snprintf(error, error_size, "%s: there is no private key in it", path);
    else {
        mbedtls_strerror(failed, reason, sizeof(reason));
        snprintf(error, error_size, "%s: not a private key that can be used: %s", path, reason);
    }
    return false;
}

bool key_parse(const char *path, const char *text, struct str password, mbedtls_pk_context *key_r,
               char *error, size_t error_size)
{
    bool ours = false;
    int failed = 0;
    if (strstr(text, ENCRYPTED_BEGIN) != NULL)
        failed = parse_pbes2(text, password, key_r, &ours);
    if (!ours)
        failed = mbedtls_pk_parse_key(key_r, (const unsigned char *)text, strlen(text) + 1,
                                      password.n != 0 ? (const unsigned char *)password.p : NULL,
                                      password.n);
    if (failed != 0)
        return refuse(path, failed, text, error, error_size);

    mbedtls_pk_type_t type = mbedtls_pk_get_type(key_r);
    size_t bits = mbedtls_pk_get_bitlen(key_r);
    if (type == MBEDTLS_PK_RSA && bits >= 2048 && bits <= 4096)
        return true;
    if (type == MBEDTLS_PK_RSA) {
        snprintf(error, error_size,
                 "%s: an RSA key of %zu bits: %s; use 2048 to 4096, or ECDSA on P-256", path, bits,
                 bits < 2048 ? "too short to be safe" : "too slow");
        return false;
    }
    if (type == MBEDTLS_PK_ECKEY && (mbedtls_pk_ec(*key_r)->grp.id == MBEDTLS_ECP_DP_SECP256R1 ||
                                     mbedtls_pk_ec(*key_r)->grp.id == MBEDTLS_ECP_DP_SECP384R1))
        return true;
    snprintf(error, error_size,
             "%s: a key of a kind that PDF readers don't all check: use RSA, or ECDSA on P-256 or "
             "P-384",
             path);
    return false;
}
