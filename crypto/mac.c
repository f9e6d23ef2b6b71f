/* Codes that only who has the key can make, and chance. mbedtls does the HMAC: what it computes on
 * is so short that its slower SHA-256 doesn't show. */
#include "crypto/crypto.h"

#include <errno.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/md.h>
#include <sys/random.h>

void mac_make(const struct key *key, const struct str *parts, size_t count, uint8_t mac_r[32])
{
    mbedtls_md_context_t context;
    mbedtls_md_init(&context);
    int failed = mbedtls_md_setup(&context, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), 1);
    failed |= mbedtls_md_hmac_starts(&context, key->bytes, sizeof(key->bytes));
    for (size_t i = 0; i < count; i++) {
        unsigned char length[8];
        for (unsigned k = 0; k < sizeof(length); k++)
            length[k] = (unsigned char)((uint64_t)parts[i].n >> (56 - 8 * k));
        failed |= mbedtls_md_hmac_update(&context, length, sizeof(length));
        failed |= mbedtls_md_hmac_update(&context, (const unsigned char *)parts[i].p, parts[i].n);
    }
    failed |= mbedtls_md_hmac_finish(&context, mac_r);
    mbedtls_md_free(&context);
    gw_assert(failed == 0);
}

bool bytes_equal(const void *a, const void *b, size_t n)
{
    return mbedtls_ct_memcmp(a, b, n) == 0;
}

void random_bytes(void *to, size_t n)
{
    for (char *at = to; n != 0;) {
        ssize_t got = getrandom(at, n, 0);
        gw_assert(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        }
    }
}
