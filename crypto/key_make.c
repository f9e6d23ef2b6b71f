/* A new key and its self-signed certificate, for trying signatures out.
 *
 * The certificate is what PDF readers take: digitalSignature and nonRepudiation (what ETSI EN 319
 * 412-2 calls a signature of documents), and as extended usages emailProtection, which Adobe's and
 * NSS' and OpenSSL's rules know, beside documentSigning (RFC 9336), which is meant for it. */
#include "crypto/sign_internal.h"

#include <mbedtls/asn1write.h>
#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/text.h"

enum {
    PEM_MAX = 16 * 1024,
    NAME_MAX_LETTERS = 64 /* ub-common-name, ub-organization-name: RFC 5280 appendix A.1 */
};

static int generate(enum key_kind kind, mbedtls_pk_context *key)
{
    bool rsa = kind == KEY_RSA_2048 || kind == KEY_RSA_3072;
    int failed =
        mbedtls_pk_setup(key, mbedtls_pk_info_from_type(rsa ? MBEDTLS_PK_RSA : MBEDTLS_PK_ECKEY));
    if (failed != 0)
        return failed;
    if (rsa)
        return mbedtls_rsa_gen_key(mbedtls_pk_rsa(*key), sign_random, NULL,
                                   kind == KEY_RSA_2048 ? 2048 : 3072, 65537);
    return mbedtls_ecp_gen_key(kind == KEY_P256 ? MBEDTLS_ECP_DP_SECP256R1
                                                : MBEDTLS_ECP_DP_SECP384R1,
                               mbedtls_pk_ec(*key), sign_random, NULL);
}

/* NULL, or why it can't stand in a certificate. */
static const char *check_name(const char *name)
{
    struct str text = str_from(name);
    size_t letters = 0;
    if (!utf8_valid(text))
        return "not UTF-8";
    if (has_control(text))
        return "a control character";
    for (size_t i = 0; i < text.n; i++)
        letters += !utf8_is_continuation(text.p[i]);
    return letters == 0 ? "empty" : letters > NAME_MAX_LETTERS ? "longer than 64 letters" : NULL;
}

/* By hand, not from mbedtls' "CN=…,O=…": a name may have commas, and letters beyond ASCII. */
static bool add_name(mbedtls_asn1_named_data **list, struct str oid, const char *name)
{
    mbedtls_asn1_named_data *added = mbedtls_asn1_store_named_data(
        list, oid.p, oid.n, (const unsigned char *)name, strlen(name));
    if (added != NULL)
        added->val.tag = MBEDTLS_ASN1_UTF8_STRING;
    return added != NULL;
}

static bool add_names(mbedtls_asn1_named_data **list, const struct key_order *order)
{
    return (order->organization == NULL ||
            add_name(list, STR(MBEDTLS_OID_AT_ORGANIZATION), order->organization)) &&
           add_name(list, STR(MBEDTLS_OID_AT_CN), order->common_name);
}

static bool write_time(int64_t seconds, char text_r[16])
{
    time_t time = seconds;
    struct tm tm;
    return gmtime_r(&time, &tm) != NULL && tm.tm_year + 1900 <= 9999 && tm.tm_year >= 70 &&
           strftime(text_r, 16, "%Y%m%d%H%M%S", &tm) == 14;
}

static int add_usages(mbedtls_x509write_cert *certificate)
{
    uint8_t room[64];
    struct der_writer writer = der_writer(room, sizeof(room));
    der_put_value(&writer, DER_OID, STR(MBEDTLS_OID_KP "\x24")); /* documentSigning */
    der_put_value(&writer, DER_OID, STR(MBEDTLS_OID_EMAIL_PROTECTION));
    der_wrap(&writer, DER_SEQUENCE, writer.end);
    struct str written = der_written(&writer);
    int failed =
        mbedtls_x509write_crt_set_extension(certificate, MBEDTLS_OID_EXTENDED_KEY_USAGE,
                                            MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), 0,
                                            (const unsigned char *)written.p, written.n);
    if (failed == 0)
        failed = mbedtls_x509write_crt_set_key_usage(
            certificate, MBEDTLS_X509_KU_DIGITAL_SIGNATURE | MBEDTLS_X509_KU_NON_REPUDIATION);
    return failed;
}

static int certify(const struct key_order *order, mbedtls_pk_context *key, const char *from,
                   const char *until, unsigned char *pem_r)
{
    mbedtls_x509write_cert certificate;
    mbedtls_mpi serial;
    uint8_t bytes[16];
    int failed = MBEDTLS_ERR_X509_ALLOC_FAILED;
    random_bytes(bytes, sizeof(bytes));
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, and all 16 of them */
    mbedtls_mpi_init(&serial);
    mbedtls_x509write_crt_init(&certificate);
    mbedtls_x509write_crt_set_version(&certificate, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&certificate, order->kind == KEY_P384 ? MBEDTLS_MD_SHA384
                                                                           : MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&certificate, key);
    mbedtls_x509write_crt_set_issuer_key(&certificate, key);
    if (!add_names(&certificate.subject, order) || !add_names(&certificate.issuer, order) ||
        (failed = mbedtls_mpi_read_binary(&serial, bytes, sizeof(bytes))) != 0 ||
        (failed = mbedtls_x509write_crt_set_serial(&certificate, &serial)) != 0 ||
        (failed = mbedtls_x509write_crt_set_validity(&certificate, from, until)) != 0 ||
        (failed = mbedtls_x509write_crt_set_basic_constraints(&certificate, 0, -1)) != 0 ||
        (failed = mbedtls_x509write_crt_set_subject_key_identifier(&certificate)) != 0 ||
        (failed = mbedtls_x509write_crt_set_authority_key_identifier(&certificate)) != 0 ||
        (failed = add_usages(&certificate)) != 0)
        goto out;
    failed = mbedtls_x509write_crt_pem(&certificate, pem_r, PEM_MAX, sign_random, NULL);
out:
    mbedtls_x509write_crt_free(&certificate);
    mbedtls_mpi_free(&serial);
    return failed;
}

bool key_make(const struct key_order *order, char **key_pem_r, char **certificate_pem_r,
              char *error, size_t error_size)
{
    char from[16], until[16];
    const char *wrong = check_name(order->common_name);
    if (wrong != NULL) {
        snprintf(error, error_size, "the name: %s", wrong);
        return false;
    }
    if (order->organization != NULL && (wrong = check_name(order->organization)) != NULL) {
        snprintf(error, error_size, "the organization: %s", wrong);
        return false;
    }
    if (order->until_s <= order->from_s || !write_time(order->from_s, from) ||
        !write_time(order->until_s, until)) {
        snprintf(error, error_size, "it must be valid for a time, between 1970 and 9999");
        return false;
    }

    char *key_pem = calloc(1, PEM_MAX), *certificate_pem = calloc(1, PEM_MAX);
    gw_assert(key_pem != NULL && certificate_pem != NULL);
    mbedtls_pk_context key;
    mbedtls_pk_init(&key);
    int failed = generate(order->kind, &key);
    if (failed == 0)
        failed = certify(order, &key, from, until, (unsigned char *)certificate_pem);
    if (failed == 0)
        failed = mbedtls_pk_write_key_pem(&key, (unsigned char *)key_pem, PEM_MAX);
    mbedtls_pk_free(&key);
    if (failed != 0) {
        char reason[128];
        mbedtls_strerror(failed, reason, sizeof(reason));
        snprintf(error, error_size, "the key or its certificate can't be made: %s", reason);
        explicit_bzero(key_pem, PEM_MAX);
        free(key_pem);
        free(certificate_pem);
        return false;
    }
    *key_pem_r = key_pem;
    *certificate_pem_r = certificate_pem;
    return true;
}
