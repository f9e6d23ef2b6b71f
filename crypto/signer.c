/* Who signs: loading a key with its certificate and chain, refusing with a reason what doesn't fit
 * together, and preparing what is the same in each signature. */
#include "crypto/sign_internal.h"

#include <mbedtls/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/text.h"

enum {
    CHAIN_MAX = 8,
    /* bytes; struct cms has room for both. RFC 5280 section 4.1.2.2 allows serials of 20 */
    ISSUER_MAX = 1024,
    SERIAL_MAX = 64
};

static const struct digest_algorithm algorithms[] = {
    {DIGEST_SHA256,
     MBEDTLS_MD_SHA256,
     {MBEDTLS_OID_DIGEST_ALG_SHA256, 9},
     {MBEDTLS_OID_PKCS1_SHA256, 9},
     {MBEDTLS_OID_ECDSA_SHA256, 8}},
    {DIGEST_SHA384,
     MBEDTLS_MD_SHA384,
     {MBEDTLS_OID_DIGEST_ALG_SHA384, 9},
     {MBEDTLS_OID_PKCS1_SHA384, 9},
     {MBEDTLS_OID_ECDSA_SHA384, 8}},
    {DIGEST_SHA512,
     MBEDTLS_MD_SHA512,
     {MBEDTLS_OID_DIGEST_ALG_SHA512, 9},
     {MBEDTLS_OID_PKCS1_SHA512, 9},
     {MBEDTLS_OID_ECDSA_SHA512, 8}},
};

const struct digest_algorithm *digest_algorithm(enum digest_kind kind)
{
    for (size_t i = 0; i < COUNT(algorithms); i++)
        if (algorithms[i].kind == kind)
            return &algorithms[i];
    return NULL;
}

const struct digest_algorithm *digest_algorithm_named(struct str oid)
{
    for (size_t i = 0; i < COUNT(algorithms); i++)
        if (str_eq(algorithms[i].oid, oid))
            return &algorithms[i];
    return NULL;
}

/* -- the certificate and its chain ------------------------------------------------------------ */

/* Whether the key of `issuer` signed it. */
static bool issued_by(const mbedtls_x509_crt *certificate, mbedtls_x509_crt *issuer)
{
    uint8_t digest[MBEDTLS_MD_MAX_SIZE];
    const mbedtls_md_info_t *md = mbedtls_md_info_from_type(certificate->sig_md);
    return md != NULL && mbedtls_md(md, certificate->tbs.p, certificate->tbs.len, digest) == 0 &&
           mbedtls_pk_verify_ext(certificate->sig_pk, certificate->sig_opts, &issuer->pk,
                                 certificate->sig_md, digest, mbedtls_md_get_size(md),
                                 certificate->sig.p, certificate->sig.len) == 0;
}

static bool same(const mbedtls_x509_buf *a, const mbedtls_x509_buf *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

static const char *check_chain(mbedtls_x509_crt *first)
{
    size_t count = 1;
    for (mbedtls_x509_crt *at = first; at->next != NULL; at = at->next, count++) {
        if (count == CHAIN_MAX)
            return "more than 8 certificates";
        if (!same(&at->issuer_raw, &at->next->subject_raw))
            return "the chain is broken: each certificate must be followed by its issuer's";
        if (!at->next->ca_istrue)
            return "the chain is broken: a certificate of no authority (CA) stands as an issuer";
        if (!issued_by(at, at->next))
            return "the chain is broken: a certificate isn't signed by the one that follows it";
    }
    return NULL;
}

static bool load_chain(const char *path, mbedtls_x509_crt *chain_r, char *error, size_t error_size)
{
    unsigned mode;
    char reason[128];
    const char *wrong = NULL;
    char *text = pem_read(path, &mode, error, error_size);
    if (text == NULL)
        return false;
    int failed = strstr(text, "-----BEGIN CERTIFICATE-----") == NULL
                     ? MBEDTLS_ERR_X509_CERT_UNKNOWN_FORMAT
                     : mbedtls_x509_crt_parse(chain_r, (unsigned char *)text, strlen(text) + 1);
    pem_free(&text);
    if (failed > 0) {
        wrong = "one of its certificates can't be read";
    } else if (failed == MBEDTLS_ERR_X509_CERT_UNKNOWN_FORMAT) {
        wrong = "there is no certificate in it";
    } else if (failed != 0) {
        mbedtls_strerror(failed, reason, sizeof(reason));
        wrong = reason;
    } else {
        wrong = check_chain(chain_r);
    }
    if (wrong == NULL && chain_r->issuer_raw.len > ISSUER_MAX)
        wrong = "its issuer's name is longer than 1024 bytes";
    if (wrong == NULL && chain_r->serial.len > SERIAL_MAX)
        wrong = "its serial number is longer than 64 bytes";
    if (wrong == NULL &&
        mbedtls_x509_crt_check_key_usage(chain_r, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0 &&
        mbedtls_x509_crt_check_key_usage(chain_r, MBEDTLS_X509_KU_NON_REPUDIATION) != 0)
        wrong = "it isn't for signing: its key usage has neither digitalSignature nor "
                "nonRepudiation";
    if (wrong != NULL)
        snprintf(error, error_size, "%s: %s", path, wrong);
    return wrong == NULL;
}

/* Its common name as UTF-8: the last one, as the most specific. */
static char *common_name(const mbedtls_x509_crt *certificate)
{
    const mbedtls_asn1_buf *found = NULL;
    for (const mbedtls_x509_name *name = &certificate->subject; name != NULL; name = name->next)
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &name->oid) == 0)
            found = &name->val;
    char *text = calloc(1, found != NULL ? 3 * found->len + 1 : 1), *to = text;
    gw_assert(text != NULL);
    if (found == NULL)
        return text;
    /* BMPString holds UTF-16's units, T61String is taken for ISO 8859-1, others are UTF-8. */
    size_t step = found->tag == MBEDTLS_ASN1_BMP_STRING ? 2 : 1;
    bool encode = step == 2 || found->tag == MBEDTLS_ASN1_T61_STRING;
    for (size_t i = 0; i + step <= found->len; i += step) {
        unsigned c = step == 2 ? (unsigned)found->p[i] << 8 | found->p[i + 1] : found->p[i];
        if (!encode || c < 0x80) {
            *to++ = (char)c;
        } else if (c < 0x800) {
            *to++ = (char)(0xc0 | c >> 6);
            *to++ = (char)(0x80 | (c & 0x3f));
        } else {
            *to++ = (char)(0xe0 | c >> 12);
            *to++ = (char)(0x80 | (c >> 6 & 0x3f));
            *to++ = (char)(0x80 | (c & 0x3f));
        }
    }
    *to = '\0';
    if (!utf8_valid((struct str){text, (size_t)(to - text)}) || has_control(str_from(text)))
        text[0] = '\0';
    return text;
}

/* -- what each signature repeats -------------------------------------------------------------- */

static struct str raw(const mbedtls_x509_buf *buf)
{
    return (struct str){(const char *)buf->p, buf->len};
}

static struct str kept(struct der_writer *writer)
{
    struct str written = der_written(writer);
    char *copy = malloc(written.n);
    gw_assert(copy != NULL);
    memcpy(copy, written.p, written.n);
    return (struct str){copy, written.n};
}

/* RFC 5652 section 10.2.4. */
static struct str write_identity(const mbedtls_x509_crt *certificate, uint8_t *room, size_t size)
{
    struct der_writer writer = der_writer(room, size);
    der_put_value(&writer, DER_INTEGER, raw(&certificate->serial));
    der_put(&writer, raw(&certificate->issuer_raw));
    der_wrap(&writer, DER_SEQUENCE, writer.end);
    return kept(&writer);
}

/* SigningCertificateV2 with one ESSCertIDv2, RFC 5035 section 3: the digest of the certificate, and
 * the issuer (as GeneralNames) with the serial. */
static struct str write_ess(const mbedtls_x509_crt *certificate,
                            const struct digest_algorithm *algorithm, uint8_t *room, size_t size)
{
    struct der_writer writer = der_writer(room, size);
    uint8_t digest[DIGEST_MAX];
    size_t n = digest_of(algorithm->kind, certificate->raw.p, certificate->raw.len, digest);
    der_put_value(&writer, DER_INTEGER, raw(&certificate->serial));
    const uint8_t *names = writer.p;
    der_put(&writer, raw(&certificate->issuer_raw));
    der_wrap(&writer, DER_CONTEXT + 4, names); /* directoryName */
    der_wrap(&writer, DER_SEQUENCE, names);
    der_wrap(&writer, DER_SEQUENCE, writer.end);
    der_put_value(&writer, DER_OCTET_STRING, (struct str){(const char *)digest, n});
    if (algorithm->kind != DIGEST_SHA256) /* which is the DEFAULT, and so not written in DER */
        der_put_algorithm(&writer, algorithm->oid, false);
    for (int i = 0; i < 3; i++) /* ESSCertIDv2, the list, SigningCertificateV2 */
        der_wrap(&writer, DER_SEQUENCE, writer.end);
    der_wrap(&writer, DER_SET, writer.end);
    der_put_value(&writer, DER_OID, OID_SIGNING_CERTIFICATE_V2);
    der_wrap(&writer, DER_SEQUENCE, writer.end);
    return kept(&writer);
}

static int by_bytes(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

/* As DER wants a SET: in the order of the bytes. */
static struct str write_certificates(const mbedtls_x509_crt *chain, uint8_t *room, size_t size)
{
    struct str members[CHAIN_MAX] = {0};
    size_t count = 0;
    struct der_writer writer = der_writer(room, size);
    for (; chain != NULL; chain = chain->next)
        members[count++] = raw(&chain->raw);
    qsort(members, count, sizeof(members[0]), by_bytes);
    while (count-- > 0)
        der_put(&writer, members[count]);
    der_wrap(&writer, DER_CONTEXT, writer.end);
    return kept(&writer);
}

/* Signs once: the key works, and all but the signature's value has its length for ever. */
static void measure(struct signer *signer, uint8_t *room)
{
    uint8_t digest[DIGEST_MAX] = {0};
    struct cms cms = {0};
    signer->size = PEM_FILE_MAX;
    cms_sign(signer, digest, &cms);
    /* ECDSA: two INTEGERs, of a byte more than the curve has when their first bit is set. */
    size_t bytes = (mbedtls_pk_get_bitlen(&signer->chain.pk) + 7) / 8;
    cms.value_n = signer->rsa ? bytes : 2 + 2 * (2 + 1 + bytes);
    signer->size = cms_write(&cms, (struct str){NULL, 0}, room);
}

static void prepare(struct signer *signer)
{
    uint8_t *room = malloc(PEM_FILE_MAX);
    gw_assert(room != NULL);
    signer->identity = write_identity(&signer->chain, room, PEM_FILE_MAX);
    signer->ess = write_ess(&signer->chain, signer->algorithm, room, PEM_FILE_MAX);
    signer->certificates = write_certificates(&signer->chain, room, PEM_FILE_MAX);
    signer->name = common_name(&signer->chain);
    measure(signer, room);
    free(room);
}

/* -- loading ---------------------------------------------------------------------------------- */

int64_t x509_seconds(const mbedtls_x509_time *time)
{
    struct tm tm = {.tm_year = time->year - 1900,
                    .tm_mon = time->mon - 1,
                    .tm_mday = time->day,
                    .tm_hour = time->hour,
                    .tm_min = time->min,
                    .tm_sec = time->sec};
    return timegm(&tm);
}

static void warn(const struct signer *signer, const char *key_path, unsigned mode,
                 const char *certificate_path, int64_t now_s, char *warning, size_t size)
{
    const mbedtls_x509_time *from = &signer->chain.valid_from, *until = &signer->chain.valid_to;
    int n = 0;
    if ((mode & 077) != 0)
        n = snprintf(warning, size,
                     "%s: others than its owner may use it (mode %04o): chmod 600 it", key_path,
                     mode);
    size_t used = (size_t)n < size ? (size_t)n : size - 1;
    const char *separator = used != 0 ? "; " : "";
    if (now_s < x509_seconds(from))
        snprintf(warning + used, size - used, "%s%s: not valid before %04d-%02d-%02d", separator,
                 certificate_path, from->year, from->mon, from->day);
    else if (now_s > x509_seconds(until))
        snprintf(warning + used, size - used, "%s%s: no longer valid since %04d-%02d-%02d",
                 separator, certificate_path, until->year, until->mon, until->day);
}

struct signer *signer_load(const char *key_path, struct str password, const char *certificate_path,
                           int64_t now_s, char *error, char *warning, size_t error_size)
{
    struct signer *signer = calloc(1, sizeof(*signer));
    mbedtls_pk_context key;
    unsigned mode = 0;
    warning[0] = '\0';
    gw_assert(signer != NULL);
    mbedtls_pk_init(&key);
    mbedtls_x509_crt_init(&signer->chain);
    char *text = pem_read(key_path, &mode, error, error_size);
    bool good = text != NULL && key_parse(key_path, text, password, &key, error, error_size) &&
                load_chain(certificate_path, &signer->chain, error, error_size);
    pem_free(&text);
    if (good && mbedtls_pk_check_pair(&signer->chain.pk, &key) != 0) {
        snprintf(error, error_size, "%s: the certificate is not of the key in %s", certificate_path,
                 key_path);
        good = false;
    }
    if (good) {
        signer->rsa = mbedtls_pk_get_type(&key) == MBEDTLS_PK_RSA;
        signer->algorithm =
            digest_algorithm(mbedtls_pk_get_bitlen(&key) == 384 ? DIGEST_SHA384 : DIGEST_SHA256);
        signer->keys = key_pool_create(&key);
        prepare(signer);
        warn(signer, key_path, mode, certificate_path, now_s, warning, error_size);
    } else {
        signer_destroy(&signer);
    }
    mbedtls_pk_free(&key);
    return signer;
}

static void forget(struct str *bytes)
{
    free((void *)(uintptr_t)bytes->p);
}

void signer_destroy(struct signer **signer)
{
    if (*signer == NULL)
        return;
    key_pool_destroy(&(*signer)->keys);
    mbedtls_x509_crt_free(&(*signer)->chain);
    forget(&(*signer)->identity);
    forget(&(*signer)->ess);
    forget(&(*signer)->certificates);
    free((*signer)->name);
    free(*signer);
    *signer = NULL;
}

enum digest_kind signer_digest(const struct signer *signer)
{
    return signer->algorithm->kind;
}

struct str signer_name(const struct signer *signer)
{
    return str_from(signer->name);
}

size_t signer_size(const struct signer *signer)
{
    return signer->size;
}
