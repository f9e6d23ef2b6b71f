/* Making a signature: the signed attributes, what the key makes of them, and the SignedData around
 * both (RFC 5652 sections 5.1, 5.3 and 5.4).
 *
 * Signing and writing are apart because a time stamp is of the signature's value and stands in the
 * same SignedData: between the two an authority may be asked. */
#include "crypto/sign_internal.h"

/* SET { value } after its type: an Attribute. What was written since `end` becomes the value. */
static void wrap_attribute(struct der_writer *writer, struct str type, const uint8_t *end)
{
    der_wrap(writer, DER_SET, end);
    der_put_value(writer, DER_OID, type);
    der_wrap(writer, DER_SEQUENCE, end);
}

void cms_sign(const struct signer *signer, const uint8_t *content_digest, struct cms *cms_r)
{
    size_t n = digest_size(signer->algorithm->kind);
    uint8_t digest[DIGEST_MAX];
    struct der_writer writer = der_writer(cms_r->attributes, sizeof(cms_r->attributes));
    cms_r->signer = signer;

    /* DER wants a SET's members in the order of their bytes. Each begins with 0x30 and its length,
     * which grows in this order whatever the certificate: 24; 47 or 63; more than 80. */
    der_put(&writer, signer->ess);
    const uint8_t *end = writer.p;
    der_put_value(&writer, DER_OCTET_STRING, (struct str){(const char *)content_digest, n});
    wrap_attribute(&writer, OID_MESSAGE_DIGEST, end);
    end = writer.p;
    der_put_value(&writer, DER_OID, OID_DATA);
    wrap_attribute(&writer, OID_CONTENT_TYPE, end);
    der_wrap(&writer, DER_SET, writer.end);

    struct str attributes = der_written(&writer);
    cms_r->attributes_n = attributes.n;
    memmove(cms_r->attributes, attributes.p, attributes.n);
    digest_of(signer->algorithm->kind, cms_r->attributes, attributes.n, digest);
    cms_r->value_n = key_pool_sign(signer->keys, signer->algorithm, digest, cms_r->value);
}

static void put_signer_info(struct der_writer *writer, const struct cms *cms, struct str token)
{
    const struct signer *signer = cms->signer;
    const uint8_t *end = writer->p;
    if (token.n != 0) {
        der_put(writer, token);
        wrap_attribute(writer, OID_SIGNATURE_TIME_STAMP, end);
        der_wrap(writer, DER_CONTEXT + 1, end);
    }
    der_put_value(writer, DER_OCTET_STRING, (struct str){(const char *)cms->value, cms->value_n});
    if (signer->rsa)
        der_put_algorithm(writer, OID_RSA_ENCRYPTION, true);
    else
        der_put_algorithm(writer, signer->algorithm->with_ecdsa, false);
    /* What was signed is a SET; here it is [0] IMPLICIT, section 5.4. */
    der_put(writer, (struct str){(const char *)cms->attributes, cms->attributes_n});
    *writer->p = DER_CONTEXT;
    der_put_algorithm(writer, signer->algorithm->oid, false);
    der_put(writer, signer->identity);
    der_put_int(writer, 1);
    der_wrap(writer, DER_SEQUENCE, end);
}

size_t cms_write(const struct cms *cms, struct str token, uint8_t *der_r)
{
    const struct signer *signer = cms->signer;
    struct der_writer writer =
        der_writer(der_r, signer->size + (token.n != 0 ? (size_t)TIMESTAMP_MAX : 0));
    gw_assert(token.n <= TIMESTAMP_TOKEN_MAX);
    put_signer_info(&writer, cms, token);
    der_wrap(&writer, DER_SET, writer.end);
    der_put(&writer, signer->certificates);
    const uint8_t *end = writer.p;
    der_put_value(&writer, DER_OID, OID_DATA); /* and no content: detached */
    der_wrap(&writer, DER_SEQUENCE, end);
    end = writer.p;
    der_put_algorithm(&writer, signer->algorithm->oid, false);
    der_wrap(&writer, DER_SET, end);
    der_put_int(&writer, 1);
    der_wrap(&writer, DER_SEQUENCE, writer.end);
    der_wrap(&writer, DER_CONTEXT, writer.end);
    der_put_value(&writer, DER_OID, OID_SIGNED_DATA);
    der_wrap(&writer, DER_SEQUENCE, writer.end);

    struct str written = der_written(&writer);
    memmove(der_r, written.p, written.n);
    return written.n;
}
