/* Digests: libcrypto's, which know the processor's SHA instructions, and zlib's CRC-32.
 *
 * An algorithm is looked up ("fetched") once in the process: since OpenSSL 3 each use of
 * EVP_sha256() and its like takes locks to find it again, which costs more than a short digest. */
#include "crypto/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <zlib.h>

struct digest {
    enum digest_kind kind;
    EVP_MD_CTX *context; /* owned; NULL for CRC32 */
    uint32_t crc;
};

static const struct {
    const char *name; /* libcrypto's; NULL = not its */
    size_t size;
} kinds[] = {
    [DIGEST_SHA256] = {"SHA256", 32}, [DIGEST_SHA384] = {"SHA384", 48},
    [DIGEST_SHA512] = {"SHA512", 64}, [DIGEST_SHA1] = {"SHA1", 20},
    [DIGEST_MD5] = {"MD5", 16},       [DIGEST_CRC32] = {NULL, 4},
};

static EVP_MD *algorithms[COUNT(kinds)]; /* never freed */
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    /* Without memory it fails half way, and what comes after would follow its null pointers. */
    gw_assert(OSSL_LIB_CTX_get0_global_default() != NULL);
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (kinds[i].name != NULL)
            algorithms[i] = EVP_MD_fetch(NULL, kinds[i].name, NULL);
}

static const EVP_MD *algorithm(enum digest_kind kind)
{
    pthread_once(&fetched, fetch);
    gw_assert(algorithms[kind] != NULL);
    return algorithms[kind];
}

size_t digest_size(enum digest_kind kind)
{
    return kinds[kind].size;
}

struct digest *digest_create(enum digest_kind kind)
{
    struct digest *digest = calloc(1, sizeof(*digest));
    gw_assert(digest != NULL);
    digest->kind = kind;
    if (kinds[kind].name != NULL) {
        digest->context = EVP_MD_CTX_new();
        gw_assert(digest->context != NULL &&
                  EVP_DigestInit_ex2(digest->context, algorithm(kind), NULL) == 1);
    }
    return digest;
}

void digest_update(struct digest *digest, const void *bytes, size_t n)
{
    if (digest->context == NULL)
        digest->crc = (uint32_t)crc32_z(digest->crc, n != 0 ? bytes : (const void *)"", n);
    else
        gw_assert(EVP_DigestUpdate(digest->context, bytes, n) == 1);
}

size_t digest_finish(struct digest *digest, uint8_t value_r[DIGEST_MAX])
{
    if (digest->context == NULL) {
        for (int i = 0; i < 4; i++)
            value_r[i] = (uint8_t)(digest->crc >> (24 - 8 * i));
        digest->crc = 0;
    } else {
        gw_assert(EVP_DigestFinal_ex(digest->context, value_r, NULL) == 1);
        gw_assert(EVP_DigestInit_ex2(digest->context, NULL, NULL) == 1);
    }
    return kinds[digest->kind].size;
}

void digest_destroy(struct digest **digest)
{
    if (*digest == NULL)
        return;
    EVP_MD_CTX_free((*digest)->context);
    free(*digest);
    *digest = NULL;
}

size_t digest_of(enum digest_kind kind, const void *bytes, size_t n, uint8_t value_r[DIGEST_MAX])
{
    struct digest *digest = digest_create(kind);
    digest_update(digest, bytes, n);
    digest_finish(digest, value_r);
    digest_destroy(&digest);
    return kinds[kind].size;
}

void sha256(const void *bytes, size_t n, uint8_t value_r[32])
{
    gw_assert(EVP_Digest(bytes, n, value_r, NULL, algorithm(DIGEST_SHA256), NULL) == 1);
}
