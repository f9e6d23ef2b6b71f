/* A key is kept as numbers, and made mbedtls' for each verification: mbedtls writes into keys even
 * when it only verifies, so that threads would need a lock or a copy each; making it anew is a
 * fifth of RS256's 40 us and a third of ES256's millisecond, and who asks for the same token twice
 * has it cached. HS256 begins from the digest's states after the padded secret, made once. */
#include "crypto/jws.h"

#include <mbedtls/ecdsa.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
#include <mbedtls/sha256.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "crypto/sign_internal.h"

enum { BLOCK = 64, DIGEST = 32, COORDINATE = 32, POINT = 1 + 2 * COORDINATE };
enum { MODULUS_MIN = 256, MODULUS_MAX = 512, EXPONENT_MAX = 4 };

struct jws_key {
    enum jws_algorithm algorithm;
    _Atomic unsigned holders;
    mbedtls_sha256_context inner, outer;                  /* HS256 */
    uint8_t modulus[MODULUS_MAX], exponent[EXPONENT_MAX]; /* RS256 */
    size_t modulus_n, exponent_n;
    uint8_t point[POINT]; /* ES256, uncompressed */
};

static const struct str names[JWS_ALGORITHMS] = {
    [JWS_HS256] = {"HS256", 5}, [JWS_RS256] = {"RS256", 5}, [JWS_ES256] = {"ES256", 5}};

bool jws_algorithm_named(struct str name, enum jws_algorithm *algorithm_r)
{
    for (unsigned i = 0; i < JWS_ALGORITHMS; i++) {
        if (!str_eq(name, names[i]))
            continue;
        *algorithm_r = (enum jws_algorithm)i;
        return true;
    }
    return false;
}

const char *jws_algorithm_name(enum jws_algorithm algorithm)
{
    return names[algorithm].p;
}

static struct jws_key *create(enum jws_algorithm algorithm)
{
    struct jws_key *key = calloc(1, sizeof(*key));
    gw_assert(key != NULL);
    key->algorithm = algorithm;
    key->holders = 1;
    mbedtls_sha256_init(&key->inner);
    mbedtls_sha256_init(&key->outer);
    return key;
}

struct jws_key *jws_key_ref(struct jws_key *key)
{
    atomic_fetch_add(&key->holders, 1);
    return key;
}

void jws_key_unref(struct jws_key **key_p)
{
    struct jws_key *key = *key_p;
    *key_p = NULL;
    if (key == NULL || atomic_fetch_sub(&key->holders, 1) != 1)
        return;
    mbedtls_sha256_free(&key->inner);
    mbedtls_sha256_free(&key->outer);
    explicit_bzero(key, sizeof(*key));
    free(key);
}

enum jws_algorithm jws_key_algorithm(const struct jws_key *key)
{
    return key->algorithm;
}

/* -- HS256 ------------------------------------------------------------------------------------- */

static void begin_padded(mbedtls_sha256_context *context, const uint8_t secret[BLOCK], uint8_t pad)
{
    uint8_t block[BLOCK];
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = secret[i] ^ pad;
    int failed = mbedtls_sha256_starts_ret(context, 0);
    failed |= mbedtls_sha256_update_ret(context, block, BLOCK);
    gw_assert(failed == 0);
    explicit_bzero(block, sizeof(block));
}

/* RFC 2104. */
struct jws_key *jws_key_of_secret(struct str secret)
{
    struct jws_key *key = create(JWS_HS256);
    uint8_t padded[BLOCK] = {0};
    if (secret.n > BLOCK)
        sha256(secret.p, secret.n, padded);
    else
        memcpy(padded, secret.p, secret.n);
    begin_padded(&key->inner, padded, 0x36);
    begin_padded(&key->outer, padded, 0x5c);
    explicit_bzero(padded, sizeof(padded));
    return key;
}

static void finish(const mbedtls_sha256_context *begun, struct str bytes, uint8_t digest_r[DIGEST])
{
    mbedtls_sha256_context context;
    mbedtls_sha256_init(&context);
    mbedtls_sha256_clone(&context, begun);
    int failed = mbedtls_sha256_update_ret(&context, (const uint8_t *)bytes.p, bytes.n);
    failed |= mbedtls_sha256_finish_ret(&context, digest_r);
    mbedtls_sha256_free(&context);
    gw_assert(failed == 0);
}

static bool verify_hs256(const struct jws_key *key, struct str bytes, struct str signature)
{
    uint8_t inner[DIGEST], mac[DIGEST];
    finish(&key->inner, bytes, inner);
    finish(&key->outer, (struct str){(const char *)inner, DIGEST}, mac);
    return signature.n == DIGEST && bytes_equal(mac, signature.p, DIGEST);
}

/* -- RS256 ------------------------------------------------------------------------------------- */

static bool rsa_init(const struct jws_key *key, mbedtls_rsa_context *rsa_r)
{
    mbedtls_rsa_init(rsa_r, MBEDTLS_RSA_PKCS_V15, MBEDTLS_MD_SHA256);
    return mbedtls_rsa_import_raw(rsa_r, key->modulus, key->modulus_n, NULL, 0, NULL, 0, NULL, 0,
                                  key->exponent, key->exponent_n) == 0 &&
           mbedtls_rsa_complete(rsa_r) == 0 && mbedtls_rsa_check_pubkey(rsa_r) == 0;
}

static struct str without_zeros(struct str number)
{
    while (number.n != 0 && number.p[0] == '\0')
        number.p++, number.n--;
    return number;
}

struct jws_key *jws_key_of_rsa(struct str n, struct str e)
{
    n = without_zeros(n), e = without_zeros(e);
    if (n.n < MODULUS_MIN || n.n > MODULUS_MAX || e.n == 0 || e.n > EXPONENT_MAX ||
        (n.n == MODULUS_MIN && (n.p[0] & 0x80) == 0))
        return NULL;
    struct jws_key *key = create(JWS_RS256);
    mbedtls_rsa_context rsa;
    memcpy(key->modulus, n.p, key->modulus_n = n.n);
    memcpy(key->exponent, e.p, key->exponent_n = e.n);
    if (!rsa_init(key, &rsa))
        jws_key_unref(&key);
    mbedtls_rsa_free(&rsa);
    return key;
}

/* RSASSA-PKCS1-v1_5, RFC 8017 section 8.2.2. */
static bool verify_rs256(const struct jws_key *key, struct str bytes, struct str signature)
{
    mbedtls_rsa_context rsa;
    uint8_t digest[DIGEST];
    if (signature.n != key->modulus_n)
        return false;
    sha256(bytes.p, bytes.n, digest);
    bool good = rsa_init(key, &rsa) &&
                mbedtls_rsa_pkcs1_verify(&rsa, NULL, NULL, MBEDTLS_RSA_PUBLIC, MBEDTLS_MD_SHA256,
                                         DIGEST, digest, (const uint8_t *)signature.p) == 0;
    mbedtls_rsa_free(&rsa);
    return good;
}

/* -- ES256 ------------------------------------------------------------------------------------- */

static bool point_init(const struct jws_key *key, mbedtls_ecp_group *group_r,
                       mbedtls_ecp_point *point_r)
{
    mbedtls_ecp_group_init(group_r);
    mbedtls_ecp_point_init(point_r);
    return mbedtls_ecp_group_load(group_r, MBEDTLS_ECP_DP_SECP256R1) == 0 &&
           mbedtls_ecp_point_read_binary(group_r, point_r, key->point, POINT) == 0 &&
           mbedtls_ecp_check_pubkey(group_r, point_r) == 0;
}

struct jws_key *jws_key_of_p256(struct str x, struct str y)
{
    if (x.n != COORDINATE || y.n != COORDINATE)
        return NULL;
    struct jws_key *key = create(JWS_ES256);
    mbedtls_ecp_group group;
    mbedtls_ecp_point point;
    key->point[0] = 4;
    memcpy(key->point + 1, x.p, COORDINATE);
    memcpy(key->point + 1 + COORDINATE, y.p, COORDINATE);
    if (!point_init(key, &group, &point))
        jws_key_unref(&key);
    mbedtls_ecp_point_free(&point);
    mbedtls_ecp_group_free(&group);
    return key;
}

/* The signature is R and S, 32 bytes each: RFC 7518 section 3.4. */
static bool verify_es256(const struct jws_key *key, struct str bytes, struct str signature)
{
    mbedtls_ecp_group group;
    mbedtls_ecp_point point;
    mbedtls_mpi r, s;
    uint8_t digest[DIGEST];
    const uint8_t *raw = (const uint8_t *)signature.p;
    if (signature.n != 2 * COORDINATE)
        return false;
    sha256(bytes.p, bytes.n, digest);
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    bool good = point_init(key, &group, &point) &&
                mbedtls_mpi_read_binary(&r, raw, COORDINATE) == 0 &&
                mbedtls_mpi_read_binary(&s, raw + COORDINATE, COORDINATE) == 0 &&
                mbedtls_ecdsa_verify(&group, digest, DIGEST, &point, &r, &s) == 0;
    mbedtls_mpi_free(&r);
    mbedtls_mpi_free(&s);
    mbedtls_ecp_point_free(&point);
    mbedtls_ecp_group_free(&group);
    return good;
}

bool jws_verify(const struct jws_key *key, struct str bytes, struct str signature)
{
    switch (key->algorithm) {
    case JWS_HS256:
        return verify_hs256(key, bytes, signature);
    case JWS_RS256:
        return verify_rs256(key, bytes, signature);
    default:
        return verify_es256(key, bytes, signature);
    }
}

/* -- files ------------------------------------------------------------------------------------- */

static struct jws_key *of_rsa(const mbedtls_rsa_context *rsa)
{
    uint8_t n[MODULUS_MAX], e[EXPONENT_MAX];
    size_t length = mbedtls_rsa_get_len(rsa);
    if (length > sizeof(n) ||
        mbedtls_rsa_export_raw(rsa, n, length, NULL, 0, NULL, 0, NULL, 0, e, sizeof(e)) != 0)
        return NULL;
    return jws_key_of_rsa((struct str){(const char *)n, length},
                          (struct str){(const char *)e, sizeof(e)});
}

static struct jws_key *of_ec(const mbedtls_ecp_keypair *pair)
{
    uint8_t point[POINT];
    size_t n;
    if (pair->grp.id != MBEDTLS_ECP_DP_SECP256R1 ||
        mbedtls_ecp_point_write_binary(&pair->grp, &pair->Q, MBEDTLS_ECP_PF_UNCOMPRESSED, &n, point,
                                       sizeof(point)) != 0)
        return NULL;
    return jws_key_of_p256((struct str){(const char *)point + 1, COORDINATE},
                           (struct str){(const char *)point + 1 + COORDINATE, COORDINATE});
}

struct jws_key *jws_key_load(const char *path, char *error, size_t error_size)
{
    struct jws_key *key = NULL;
    mbedtls_pk_context pk;
    unsigned mode;
    char *text = pem_read(path, &mode, error, error_size);
    if (text == NULL)
        return NULL;
    mbedtls_pk_init(&pk);
    if (mbedtls_pk_parse_public_key(&pk, (const uint8_t *)text, strlen(text) + 1) != 0) {
        snprintf(error, error_size, "%s: not a public key in PEM (\"BEGIN PUBLIC KEY\")", path);
        goto out;
    }
    key = mbedtls_pk_can_do(&pk, MBEDTLS_PK_RSA)     ? of_rsa(mbedtls_pk_rsa(pk))
          : mbedtls_pk_can_do(&pk, MBEDTLS_PK_ECKEY) ? of_ec(mbedtls_pk_ec(pk))
                                                     : NULL;
    if (key == NULL)
        snprintf(error, error_size,
                 "%s: neither an RSA key of 2048 to 4096 bits nor one of the curve P-256", path);
out:
    mbedtls_pk_free(&pk);
    pem_free(&text);
    return key;
}
