/* Reading a SignedData with one signature (RFC 5652 section 5), whoever made it: ours when a PDF is
 * verified, an authority's in a time stamp. Takes DER alone: what else BER allows (lengths left
 * open, strings in pieces) no signature of these kinds needs. */
#include "crypto/sign_internal.h"

/* A list of Attribute: a type and a set of one or more values. */
static bool attributes_valid(struct str at)
{
    struct str attribute, type, values;
    while (at.n != 0) {
        if (!der_read(&at, DER_SEQUENCE, &attribute) || !der_read(&attribute, DER_OID, &type) ||
            !der_read(&attribute, DER_SET, &values) || attribute.n != 0 || values.n == 0)
            return false;
        while (values.n != 0)
            if (!der_read_any(&values, NULL, NULL, NULL))
                return false;
    }
    return true;
}

static size_t attribute_values(struct str at, struct str wanted, struct str *value_r)
{
    struct str attribute, type, values;
    size_t count = 0;
    while (der_read(&at, DER_SEQUENCE, &attribute) && der_read(&attribute, DER_OID, &type) &&
           der_read(&attribute, DER_SET, &values)) {
        while (str_eq(type, wanted) && der_read_any(&values, NULL, NULL, value_r))
            count++;
    }
    return count;
}

/* Section 5.3. Its version follows from the way it names the signer, and says nothing more. */
static bool read_signer_info(struct str at, struct signed_data *data)
{
    int32_t version;
    uint8_t tag;
    struct str digest, attributes = {NULL, 0};
    if (!der_read_int(&at, &version) || !der_read_any(&at, &tag, NULL, &data->identity) ||
        !der_read_algorithm(&at, &digest, NULL))
        return false;
    data->algorithm = digest_algorithm_named(digest);
    if (at.n != 0 && (uint8_t)at.p[0] == DER_CONTEXT &&
        !der_read_any(&at, NULL, &attributes, &data->attributes))
        return false;
    if (!der_read_algorithm(&at, &data->signature_algorithm, NULL) ||
        !der_read(&at, DER_OCTET_STRING, &data->signature) ||
        !der_read_optional(&at, DER_CONTEXT + 1, &data->unsigned_attributes) || at.n != 0)
        return false;
    return attributes_valid(attributes) && attributes_valid(data->unsigned_attributes);
}

bool signed_data_read(struct str der, struct signed_data *data_r, struct str *rest_r)
{
    struct str info, type, outer, data, encapsulated, content, revoked, signers, signer;
    int32_t version;
    *data_r = (struct signed_data){0};
    if (!der_read(&der, DER_SEQUENCE, &info) || !der_read(&info, DER_OID, &type) ||
        !str_eq(type, OID_SIGNED_DATA) || !der_read(&info, DER_CONTEXT, &outer) || info.n != 0 ||
        !der_read(&outer, DER_SEQUENCE, &data) || outer.n != 0)
        return false;
    *rest_r = der;
    if (!der_read_int(&data, &version) || !der_skip(&data, DER_SET) ||
        !der_read(&data, DER_SEQUENCE, &encapsulated) ||
        !der_read(&encapsulated, DER_OID, &data_r->content_type) ||
        !der_read_optional(&encapsulated, DER_CONTEXT, &content) || encapsulated.n != 0)
        return false;
    if (content.p != NULL &&
        (!der_read(&content, DER_OCTET_STRING, &data_r->content) || content.n != 0))
        return false;
    return der_read_optional(&data, DER_CONTEXT, &data_r->certificates) &&
           der_read_optional(&data, DER_CONTEXT + 1, &revoked) &&
           der_read(&data, DER_SET, &signers) && data.n == 0 &&
           der_read(&signers, DER_SEQUENCE, &signer) && signers.n == 0 &&
           read_signer_info(signer, data_r);
}

size_t signed_attribute(const struct signed_data *data, struct str type, struct str *value_r)
{
    struct str whole = data->attributes, inside = {NULL, 0};
    der_read_any(&whole, NULL, &inside, NULL);
    return attribute_values(inside, type, value_r);
}

size_t unsigned_attribute(const struct signed_data *data, struct str type, struct str *value_r)
{
    return attribute_values(data->unsigned_attributes, type, value_r);
}

bool signed_message_digest(const struct signed_data *data, struct str *digest_r)
{
    struct str value, type;
    return signed_attribute(data, OID_CONTENT_TYPE, &value) == 1 &&
           der_read(&value, DER_OID, &type) && str_eq(type, data->content_type) &&
           signed_attribute(data, OID_MESSAGE_DIGEST, &value) == 1 &&
           der_read(&value, DER_OCTET_STRING, digest_r) && data->algorithm != NULL &&
           digest_r->n == digest_size(data->algorithm->kind);
}

/* -- which certificate ------------------------------------------------------------------------ */

/* The first ESSCertID or ESSCertIDv2, which is the signer's own. The issuer and serial in it are
 * those of SignerInfo again. */
static bool ess_names(struct str value, bool v2, struct str certificate)
{
    struct str attribute, list, id, oid, wanted;
    uint8_t digest[DIGEST_MAX];
    enum digest_kind kind = v2 ? DIGEST_SHA256 : DIGEST_SHA1;
    if (!der_read(&value, DER_SEQUENCE, &attribute) || !der_read(&attribute, DER_SEQUENCE, &list) ||
        !der_read(&list, DER_SEQUENCE, &id))
        return false;
    if (v2 && id.n != 0 && (uint8_t)id.p[0] == DER_SEQUENCE) {
        if (!der_read_algorithm(&id, &oid, NULL))
            return false;
        const struct digest_algorithm *algorithm = digest_algorithm_named(oid);
        if (algorithm == NULL)
            return false;
        kind = algorithm->kind;
    }
    if (!der_read(&id, DER_OCTET_STRING, &wanted))
        return false;
    size_t n = digest_of(kind, certificate.p, certificate.n, digest);
    return str_eq(wanted, (struct str){(const char *)digest, n});
}

enum ess_verdict signed_certificate(const struct signed_data *data, struct str certificate)
{
    struct str v1, v2;
    size_t count1 = signed_attribute(data, OID_SIGNING_CERTIFICATE, &v1);
    size_t count2 = signed_attribute(data, OID_SIGNING_CERTIFICATE_V2, &v2);
    if (count1 + count2 == 0)
        return ESS_NONE;
    bool named = count1 <= 1 && count2 <= 1 && (count1 == 0 || ess_names(v1, false, certificate)) &&
                 (count2 == 0 || ess_names(v2, true, certificate));
    return named ? ESS_THIS : ESS_OTHER;
}

/* -- whose signature -------------------------------------------------------------------------- */

bool signed_by(const struct signed_data *data, const mbedtls_pk_context *key)
{
    mbedtls_pk_context borrowed = *key; /* two pointers; mbedtls' prototype isn't const */
    static const uint8_t set = DER_SET;
    const struct digest_algorithm *algorithm = data->algorithm;
    struct str of = data->signature_algorithm;
    uint8_t digest[DIGEST_MAX];
    if (algorithm == NULL || data->attributes.n == 0)
        return false;
    bool rsa = mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA;
    bool fits = rsa ? str_eq(of, OID_RSA_ENCRYPTION) || str_eq(of, algorithm->with_rsa)
                    : str_eq(of, algorithm->with_ecdsa);
    if (!fits || mbedtls_pk_get_bitlen(key) < (rsa ? 2048 : 256))
        return false;
    /* Section 5.4: they are digested as the SET that they are, not as the [0] they stand as. */
    struct digest *hash = digest_create(algorithm->kind);
    digest_update(hash, &set, 1);
    digest_update(hash, data->attributes.p + 1, data->attributes.n - 1);
    digest_finish(hash, digest);
    digest_destroy(&hash);
    return mbedtls_pk_verify(&borrowed, algorithm->md, digest, digest_size(algorithm->kind),
                             (const unsigned char *)data->signature.p, data->signature.n) == 0;
}
