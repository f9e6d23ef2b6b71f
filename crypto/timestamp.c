/* Time stamps, RFC 3161: asking for one, and taking the answer apart until nothing is left on
 * trust but the authority's certificate itself. */
#include "crypto/sign_internal.h"

#include <time.h>
#include "base/text.h"

void timestamp_ask(const struct cms *cms, struct timestamp_query *query_r)
{
    sha256(cms->value, cms->value_n, query_r->digest);
    random_bytes(query_r->nonce, sizeof(query_r->nonce));
    /* A positive INTEGER of this length, so that its bytes can be compared. */
    query_r->nonce[0] = (uint8_t)((query_r->nonce[0] & 0x7f) | 0x40);

    static const char yes = '\xff';
    struct der_writer writer = der_writer(query_r->der, sizeof(query_r->der));
    der_put_value(&writer, DER_BOOLEAN, (struct str){&yes, 1}); /* certReq */
    der_put_value(&writer, DER_INTEGER,
                  (struct str){(const char *)query_r->nonce, sizeof(query_r->nonce)});
    const uint8_t *end = writer.p;
    der_put_value(&writer, DER_OCTET_STRING,
                  (struct str){(const char *)query_r->digest, sizeof(query_r->digest)});
    der_put_algorithm(&writer, digest_algorithm(DIGEST_SHA256)->oid, true);
    der_wrap(&writer, DER_SEQUENCE, end);
    der_put_int(&writer, 1);
    der_wrap(&writer, DER_SEQUENCE, writer.end);
    struct str written = der_written(&writer);
    query_r->n = written.n;
    memmove(query_r->der, written.p, written.n);
}

/* -- PKIStatusInfo, section 2.4.2 ------------------------------------------------------------- */

static const struct {
    unsigned bit;
    const char *meaning;
} failures[] = {
    {0, "the authority refused: it doesn't know the digest's algorithm"},
    {2, "the authority refused: it doesn't take such requests"},
    {5, "the authority refused: it can't read the request"},
    {14, "the authority refused: its clock is not available"},
    {15, "the authority refused: its policy doesn't allow it"},
    {16, "the authority refused: an extension isn't supported"},
    {17, "the authority refused: it doesn't have what was asked for"},
    {25, "the authority refused: it has a failure of its own"},
};

static const char *check_status(struct str at)
{
    int32_t status;
    struct str text, bits;
    if (!der_read_int(&at, &status) || !der_read_optional(&at, DER_SEQUENCE, &text) ||
        !der_read_optional(&at, DER_BIT_STRING, &bits) || at.n != 0)
        return "malformed status";
    if (status == 0 || status == 1) /* granted, granted with modifications */
        return NULL;
    for (size_t i = 0; i < COUNT(failures); i++) {
        size_t byte = 1 + failures[i].bit / 8; /* the first tells how many bits pad the last */
        if (byte < bits.n && ((uint8_t)bits.p[byte] & 0x80u >> failures[i].bit % 8) != 0)
            return failures[i].meaning;
    }
    return "the authority refused";
}

/* -- TSTInfo, section 2.4.2 ------------------------------------------------------------------- */

/* YYYYMMDDhhmmss[.f…]Z */
static bool read_time(struct str text, int64_t *time_s_r)
{
    int digits[14];
    if (text.n < 15 || text.p[text.n - 1] != 'Z')
        return false;
    for (size_t i = 0; i < 14; i++) {
        if (!is_digit(text.p[i]))
            return false;
        digits[i] = text.p[i] - '0';
    }
    if (text.n > 15 && (text.p[14] != '.' || text.n == 16))
        return false;
    for (size_t i = 15; i + 1 < text.n; i++)
        if (!is_digit(text.p[i]))
            return false;
    struct tm tm = {
        .tm_year = digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3] - 1900,
        .tm_mon = digits[4] * 10 + digits[5] - 1,
        .tm_mday = digits[6] * 10 + digits[7],
        .tm_hour = digits[8] * 10 + digits[9],
        .tm_min = digits[10] * 10 + digits[11],
        .tm_sec = digits[12] * 10 + digits[13],
    };
    struct tm normal = tm;
    *time_s_r = timegm(&normal);
    return normal.tm_mon == tm.tm_mon && normal.tm_mday == tm.tm_mday &&
           normal.tm_hour == tm.tm_hour && normal.tm_min == tm.tm_min &&
           (normal.tm_sec == tm.tm_sec || tm.tm_sec == 60);
}

static const char *check_info(const struct timestamp_query *query, struct str content,
                              int64_t *time_s_r)
{
    struct str info, imprint, algorithm, digest, time, any, nonce;
    int32_t version;
    if (!der_read(&content, DER_SEQUENCE, &info) || content.n != 0 ||
        !der_read_int(&info, &version) || version != 1 || !der_skip(&info, DER_OID) ||
        !der_read(&info, DER_SEQUENCE, &imprint) ||
        !der_read_algorithm(&imprint, &algorithm, NULL) ||
        !der_read(&imprint, DER_OCTET_STRING, &digest) || imprint.n != 0 ||
        !der_skip(&info, DER_INTEGER) || !der_read(&info, DER_GENERALIZED_TIME, &time) ||
        !der_read_optional(&info, DER_SEQUENCE, &any) || /* accuracy */
        !der_read_optional(&info, DER_BOOLEAN, &any) ||  /* ordering */
        !der_read_optional(&info, DER_INTEGER, &nonce) ||
        !der_read_optional(&info, DER_CONTEXT, &any) ||     /* tsa */
        !der_read_optional(&info, DER_CONTEXT + 1, &any) || /* extensions */
        info.n != 0)
        return "malformed token";
    if (!str_eq(algorithm, digest_algorithm(DIGEST_SHA256)->oid) ||
        !str_eq(digest, (struct str){(const char *)query->digest, sizeof(query->digest)}))
        return "the token is for another signature";
    if (!str_eq(nonce, (struct str){(const char *)query->nonce, sizeof(query->nonce)}))
        return "the token is for another request (nonce)";
    return read_time(time, time_s_r) ? NULL : "malformed time";
}

/* -- the authority's certificate -------------------------------------------------------------- */

/* The one that issuer and serial name, of those in the token; whole. */
static bool find_certificate(const struct signed_data *data, struct str *found_r)
{
    struct str at = data->certificates, whole, certificate, tbs, any, serial, issuer, identity;
    uint8_t tag;
    struct str wanted = data->identity, wanted_issuer, wanted_serial;
    if (!der_read(&wanted, DER_SEQUENCE, &identity) ||
        !der_read_any(&identity, NULL, NULL, &wanted_issuer) ||
        !der_read(&identity, DER_INTEGER, &wanted_serial))
        return false;
    while (der_read_any(&at, &tag, &certificate, &whole)) {
        if (tag == DER_SEQUENCE && der_read(&certificate, DER_SEQUENCE, &tbs) &&
            der_read_optional(&tbs, DER_CONTEXT, &any) && der_read(&tbs, DER_INTEGER, &serial) &&
            der_skip(&tbs, DER_SEQUENCE) && der_read_any(&tbs, NULL, NULL, &issuer) &&
            str_eq(serial, wanted_serial) && str_eq(issuer, wanted_issuer)) {
            *found_r = whole;
            return true;
        }
    }
    return false;
}

/* Section 2.3: a critical extended key usage, timeStamping and no other. */
static bool is_for_stamping(const mbedtls_x509_crt *certificate)
{
    struct str at = {(const char *)certificate->v3_ext.p, certificate->v3_ext.len};
    struct str list, extension, oid, critical, value, purposes, purpose;
    if (!der_read(&at, DER_SEQUENCE, &list))
        return false;
    while (der_read(&list, DER_SEQUENCE, &extension)) {
        if (!der_read(&extension, DER_OID, &oid) ||
            !der_read_optional(&extension, DER_BOOLEAN, &critical) ||
            !der_read(&extension, DER_OCTET_STRING, &value))
            return false;
        if (str_eq(oid, STR(MBEDTLS_OID_EXTENDED_KEY_USAGE)))
            return str_eq(critical, STR("\xff")) && der_read(&value, DER_SEQUENCE, &purposes) &&
                   der_read(&purposes, DER_OID, &purpose) && purposes.n == 0 &&
                   str_eq(purpose, STR(MBEDTLS_OID_TIME_STAMPING));
    }
    return false;
}

static const char *check_certificate(const struct signed_data *data, mbedtls_x509_crt *certificate,
                                     struct str der, int64_t time_s)
{
    if (mbedtls_x509_crt_parse_der(certificate, (const unsigned char *)der.p, der.n) != 0)
        return "the authority's certificate can't be read";
    if (!is_for_stamping(certificate))
        return "the authority's certificate is not for time stamping alone";
    if (time_s < x509_seconds(&certificate->valid_from) ||
        time_s > x509_seconds(&certificate->valid_to))
        return "the authority's certificate is not valid at the token's time";
    if (signed_certificate(data, der) != ESS_THIS)
        return "the token doesn't name the authority's certificate (ESS signing certificate)";
    if (!signed_by(data, &certificate->pk))
        return "the token's signature is wrong, or of an algorithm that isn't taken";
    return NULL;
}

static const char *check_token(const struct timestamp_query *query, struct str token,
                               int64_t *time_s_r)
{
    struct signed_data data;
    struct str rest, digest, certificate;
    uint8_t wanted[DIGEST_MAX];
    if (token.n > TIMESTAMP_TOKEN_MAX)
        return "the token is too long";
    if (!signed_data_read(token, &data, &rest) || rest.n != 0 ||
        !str_eq(data.content_type, OID_TST_INFO) || data.content.p == NULL)
        return "malformed token";
    if (data.algorithm == NULL)
        return "the token is signed with a digest that isn't taken: SHA-256, SHA-384 and SHA-512 "
               "are";
    const char *wrong = check_info(query, data.content, time_s_r);
    if (wrong != NULL)
        return wrong;
    size_t n = digest_of(data.algorithm->kind, data.content.p, data.content.n, wanted);
    if (!signed_message_digest(&data, &digest) ||
        !str_eq(digest, (struct str){(const char *)wanted, n}))
        return "the token's content is not what was signed";
    if (!find_certificate(&data, &certificate))
        return "the authority's certificate is not in the token";
    mbedtls_x509_crt parsed;
    mbedtls_x509_crt_init(&parsed);
    wrong = check_certificate(&data, &parsed, certificate, *time_s_r);
    mbedtls_x509_crt_free(&parsed);
    return wrong;
}

bool timestamp_take(const struct timestamp_query *query, struct str answer, struct str *token_r,
                    int64_t *time_s_r, const char **error_r)
{
    struct str response, status, token = {NULL, 0};
    if (!der_read(&answer, DER_SEQUENCE, &response) || answer.n != 0 ||
        !der_read(&response, DER_SEQUENCE, &status) ||
        (response.n != 0 && !der_read_any(&response, NULL, NULL, &token)) || response.n != 0) {
        *error_r = "not a time stamp response";
        return false;
    }
    *error_r = check_status(status);
    if (*error_r == NULL)
        *error_r =
            token.p == NULL ? "granted, but without a token" : check_token(query, token, time_s_r);
    *token_r = token;
    return *error_r == NULL;
}
