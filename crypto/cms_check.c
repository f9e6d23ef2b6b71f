/* Checking a signature with the certificate that we sign with. */
#include "crypto/sign_internal.h"

bool cms_check(const struct signer *signer, struct str der,
               void (*content_digest)(void *arg, enum digest_kind kind, uint8_t *digest_r),
               void *arg, struct cms_found *found_r)
{
    struct signed_data data;
    struct str rest, value, signed_digest;
    uint8_t digest[DIGEST_MAX];
    *found_r = (struct cms_found){0};
    if (!signed_data_read(der, &data, &rest) || data.content.p != NULL)
        return false;
    for (; rest.n != 0; rest = (struct str){rest.p + 1, rest.n - 1})
        if (rest.p[0] != '\0')
            return false;

    found_r->timestamped = unsigned_attribute(&data, OID_SIGNATURE_TIME_STAMP, &value) != 0;
    struct str certificate = {(const char *)signer->chain.raw.p, signer->chain.raw.len};
    if (!str_eq(data.identity, signer->identity) ||
        signed_certificate(&data, certificate) == ESS_OTHER) {
        found_r->verdict = CMS_FOREIGN;
        return true;
    }
    if (!str_eq(data.content_type, OID_DATA) || data.algorithm != signer->algorithm ||
        !signed_by(&data, &signer->chain.pk) || !signed_message_digest(&data, &signed_digest)) {
        found_r->verdict = CMS_BROKEN;
        return true;
    }
    found_r->digest_kind = signer->algorithm->kind;
    memcpy(found_r->message_digest, signed_digest.p, signed_digest.n);
    content_digest(arg, found_r->digest_kind, digest);
    found_r->verdict =
        memcmp(digest, signed_digest.p, signed_digest.n) == 0 ? CMS_GOOD : CMS_ALTERED;
    return true;
}
