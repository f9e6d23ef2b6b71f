/* Time stamps: tokens of `openssl ts` are taken and become part of a signature; one of another
 * request, forged, or by a certificate that isn't an authority's is refused with the reason. */
#include "crypto_fixture.h"

static const char tsa_conf[] = "[%s]\nserial=serial\nsigner_cert=%s.crt\nsigner_key=%s.key\n"
                               "certs=middle.crt\n"
                               "signer_digest=%s\ndefault_policy=1.2.3\ndigests=%s\n"
                               "accuracy=secs:1\nordering=yes\ntsa_name=yes\ness_cert_id_chain=%s\n"
                               "ess_cert_id_alg=%s\n";

static void configure(const char *name, const char *authority, const char *signer_digest,
                      const char *digests, const char *ess_chain, const char *ess)
{
    char text[1024], file[64];
    int n = snprintf(text, sizeof(text), tsa_conf, name, authority, authority, signer_digest,
                     digests, ess_chain, ess);
    snprintf(file, sizeof(file), "%s.cnf", name);
    write_file(file, text, (size_t)n);
}

static struct signer *signer; /* P-256 */
static struct cms cms;

static int authorities_make(void **state)
{
    folder_make(state);
    make_key("tsa", kinds[0].genpkey);
    issue("tsa", "middle", "tsa", 30);
    make_key("tsa_ec", kinds[4].genpkey);
    issue("tsa_ec", "middle", "tsa", 30);
    make_key("tsa_old", kinds[3].genpkey);
    issue("tsa_old", "middle", "tsa", -1);
    make_key("tsa_soft", kinds[3].genpkey);
    issue("tsa_soft", "middle", "tsa_soft", 30);
    make_key("tsa_more", kinds[3].genpkey);
    issue("tsa_more", "middle", "tsa_more", 30);
    make_key("tsa_weak", "RSA -pkeyopt rsa_keygen_bits:1024");
    issue("tsa_weak", "middle", "tsa", 30);
    assert_runs("echo 01 >serial");
    configure("v1", "tsa", "sha256", "sha256", "no", "sha1");
    configure("v2", "tsa", "sha256", "sha256", "yes", "sha256");
    configure("v2_512", "tsa", "sha512", "sha256", "no", "sha512");
    configure("ec", "tsa_ec", "sha384", "sha256,sha384", "no", "sha384");
    configure("other_digest", "tsa", "sha256", "sha512", "no", "sha256");
    signer = load_kind(3, "chain");
    sign_text(signer, STR("content"), &cms);
    return 0;
}

static int authorities_remove(void **state)
{
    signer_destroy(&signer);
    return folder_remove(state);
}

/* The authority's answer to what is in the file `query`. */
static struct str answer(const char *authority)
{
    static char bytes[64 * 1024];
    assert_runs("openssl ts -reply -config %s.cnf -section %s -queryfile query -out reply",
                authority, authority);
    return (struct str){bytes, read_file("reply", bytes, sizeof(bytes))};
}

static void ask(struct timestamp_query *query_r)
{
    timestamp_ask(&cms, query_r);
    write_file("query", query_r->der, query_r->n);
}

static void assert_refused(const struct timestamp_query *query, struct str reply,
                           const char *reason)
{
    /* A buffer of its own, so that a sanitizer sees what is read past it. */
    char *exact = malloc(reply.n != 0 ? reply.n : 1);
    struct str token;
    int64_t time_s;
    const char *error = "";
    assert_non_null(exact);
    memcpy(exact, reply.p, reply.n);
    if (timestamp_take(query, (struct str){exact, reply.n}, &token, &time_s, &error) ||
        strstr(error, reason) == NULL)
        fail_msg("\"%s\", expected \"%s\"", error, reason);
    free(exact);
}

static void test_the_request_is_what_openssl_would_ask(void **state)
{
    struct timestamp_query query;
    uint8_t digest[32];
    char hex[65];
    (void)state;
    ask(&query);
    sha256(cms.value, cms.value_n, digest);
    assert_memory_equal(query.digest, digest, 32);
    assert_runs("openssl ts -query -in query -text && openssl asn1parse -inform DER -in query");
    assert_non_null(strstr(log_text(), "Hash Algorithm: sha256"));
    assert_non_null(strstr(log_text(), "Certificate required: yes"));
    hex_encode(query.nonce, sizeof(query.nonce), hex);
    for (char *p = hex; *p != '\0'; p++)
        *p = (char)(*p >= 'a' ? *p - 32 : *p);
    char line[80];
    snprintf(line, sizeof(line), "Nonce: 0x%s", hex);
    assert_non_null(strstr(log_text(), line));
    struct timestamp_query again;
    timestamp_ask(&cms, &again);
    assert_memory_not_equal(query.nonce, again.nonce, sizeof(query.nonce));
}

static void copy_digest(void *arg, enum digest_kind kind, uint8_t *digest_r)
{
    memcpy(digest_r, arg, digest_size(kind));
}

static void test_tokens_are_taken_and_stand_in_the_signature(void **state)
{
    static const char *const all[] = {"v1", "v2", "v2_512", "ec"};
    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        struct timestamp_query query;
        struct str token, content = STR("content");
        int64_t time_s;
        const char *error = "";
        uint8_t digest[DIGEST_MAX];
        char hex[2 * 32 + 1];
        ask(&query);
        struct str reply = answer(all[i]);
        if (!timestamp_take(&query, reply, &token, &time_s, &error))
            fail_msg("%s: %s", all[i], error);
        assert_in_range(time(NULL) - time_s, 0, 60);
        assert_true(token.p > reply.p && token.p + token.n == reply.p + reply.n);
        write_file("token", token.p, token.n);
        hex_encode(query.digest, sizeof(query.digest), hex);
        assert_runs("openssl ts -verify -in token -token_in -digest %s -CAfile root.crt "
                    "-untrusted middle.crt",
                    hex);

        uint8_t *der = malloc(signer_size(signer) + TIMESTAMP_MAX);
        size_t n = cms_write(&cms, token, der);
        assert_true(n <= signer_size(signer) + TIMESTAMP_MAX);
        write_file("sig", der, n);
        write_file("content", content.p, content.n);
        assert_runs("openssl cms -verify -binary -inform DER -in sig -out out -cades "
                    "-CAfile root.crt -content content");
        assert_runs("openssl cms -cmsout -inform DER -in sig -outform DER -out again && "
                    "cmp sig again && openssl asn1parse -inform DER -in sig");
        assert_non_null(strstr(log_text(), ":id-smime-aa-timeStampToken"));
        digest_of(DIGEST_SHA256, content.p, content.n, digest);
        struct cms_found found;
        assert_true(cms_check(signer, (struct str){(char *)der, n}, copy_digest, digest, &found));
        assert_int_equal(found.verdict, CMS_GOOD);
        assert_true(found.timestamped);
        free(der);
    }
}

static void test_a_token_as_long_as_is_taken_still_fits(void **state)
{
    static char token[TIMESTAMP_TOKEN_MAX] = {0x04, (char)0x82, (TIMESTAMP_TOKEN_MAX - 4) >> 8,
                                              (char)((TIMESTAMP_TOKEN_MAX - 4) & 0xff)};
    uint8_t *der = malloc(signer_size(signer) + TIMESTAMP_MAX);
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct cms other;
        uint8_t digest[DIGEST_MAX];
        random_bytes(digest, sizeof(digest));
        cms_sign(signer, digest, &other);
        assert_true(cms_write(&other, (struct str){token, sizeof(token)}, der) <=
                    signer_size(signer) + TIMESTAMP_MAX);
    }
    free(der);
}

static void test_a_token_of_another_request_is_refused(void **state)
{
    struct timestamp_query query, again, other;
    struct cms cms2;
    (void)state;
    sign_text(signer, STR("other content"), &cms2);
    timestamp_ask(&cms, &again);
    timestamp_ask(&cms2, &other);
    ask(&query);
    struct str reply = answer("v2");
    assert_refused(&again, reply, "for another request (nonce)");
    assert_refused(&other, reply, "for another signature");
}

/* Whatever bit is another one, but where nothing is signed or looked at: in the status' text (there
 * is none here), versions, the list of digests, the other certificates. */
static void test_every_bit_of_a_token_counts(void **state)
{
    struct timestamp_query query;
    struct str token;
    int64_t time_s;
    const char *error;
    size_t taken = 0;
    (void)state;
    ask(&query);
    struct str reply = answer("ec");
    char *exact = malloc(reply.n);
    memcpy(exact, reply.p, reply.n);
    uint8_t other[8192];
    assert_runs("openssl x509 -in middle.crt -outform DER -out der");
    size_t other_bytes = read_file("der", other, sizeof(other));
    for (size_t i = 0; i < reply.n; i++) {
        char was = exact[i];
        exact[i] = (char)(was ^ (1 << i % 8));
        taken += timestamp_take(&query, (struct str){exact, reply.n}, &token, &time_s, &error);
        exact[i] = was;
        assert_refused(&query, (struct str){reply.p, i}, "not a time stamp response");
    }
    assert_true(taken <= other_bytes + 40);
    assert_true(timestamp_take(&query, (struct str){exact, reply.n}, &token, &time_s, &error));
    free(exact);
}

static void test_what_the_authority_refuses_is_said(void **state)
{
    static const struct {
        struct str answer;
        const char *reason;
    } answers[] = {
        {STR("\x30\x05\x30\x03\x02\x01\x02"), "the authority refused"},
        {STR("\x30\x09\x30\x07\x02\x01\x02\x03\x02\x05\x20"), "doesn't take such requests"},
        {STR("\x30\x0c\x30\x0a\x02\x01\x02\x03\x05\x06\x00\x00\x00\x40"), "a failure of its own"},
        {STR("\x30\x0b\x30\x09\x02\x01\x02\x03\x04\x01\x00\x02\x00"), "clock is not available"},
        {STR("\x30\x05\x30\x03\x02\x01\x00"), "granted, but without a token"},
        {STR("\x30\x05\x30\x03\x02\x01\xff"), "malformed status"},
        {STR("\x30\x07\x30\x03\x02\x01\x00\x30\x00"), "malformed token"},
        {STR("\x30\x03\x02\x01\x00"), "not a time stamp response"},
        {STR("\x30\x80\x30\x03\x02\x01\x00"), "not a time stamp response"},
        {STR("<html>"), "not a time stamp response"},
        {STR(""), "not a time stamp response"},
    };
    struct timestamp_query query;
    (void)state;
    ask(&query);
    for (size_t i = 0; i < COUNT(answers); i++)
        assert_refused(&query, answers[i].answer, answers[i].reason);
    assert_refused(&query, answer("other_digest"), "doesn't know the digest's algorithm");
}

/* The content of a real token, signed anew in ways that `openssl ts` wouldn't. */
#define RESIGN                                                                               \
    "openssl cms -sign -binary -nodetach -econtent_type 1.2.840.113549.1.9.16.1.4 -in info " \
    "-outform DER -out token "
static const struct {
    const char *make, *reason;
} forgeries[] = {
    {RESIGN "-cades -md sha256 -signer tsa.crt -inkey tsa.key", NULL},
    {RESIGN "-cades -md sha512 -signer tsa_ec.crt -inkey tsa_ec.key", NULL},
    {RESIGN "-cades -md sha256 -signer tsa_soft.crt -inkey tsa_soft.key",
     "certificate is not for time stamping alone"},
    {RESIGN "-cades -md sha256 -signer tsa_more.crt -inkey tsa_more.key",
     "certificate is not for time stamping alone"},
    {RESIGN "-cades -md sha256 -signer p256.crt -inkey p256.key",
     "certificate is not for time stamping alone"},
    {RESIGN "-cades -md sha256 -signer tsa_old.crt -inkey tsa_old.key",
     "certificate is not valid at the token's time"},
    {RESIGN "-cades -md sha256 -signer tsa_weak.crt -inkey tsa_weak.key",
     "signature is wrong, or of an algorithm that isn't taken"},
    {RESIGN "-cades -md sha256 -signer tsa.crt -inkey tsa.key -keyopt rsa_padding_mode:pss",
     "signature is wrong, or of an algorithm that isn't taken"},
    {RESIGN "-md sha256 -signer tsa.crt -inkey tsa.key", "doesn't name the authority's"},
    {RESIGN "-cades -md sha1 -signer tsa.crt -inkey tsa.key", "a digest that isn't taken"},
    {RESIGN "-cades -md sha256 -nocerts -signer tsa.crt -inkey tsa.key", "is not in the token"},
    {RESIGN "-noattr -md sha256 -signer tsa.crt -inkey tsa.key", "is not what was signed"},
    {RESIGN "-cades -md sha256 -signer tsa.crt -inkey tsa.key -signer tsa_ec.crt -inkey tsa_ec.key",
     "malformed token"},
    {"for i in $(seq 12); do openssl req -x509 -new -key rsa4096.key -subj /CN=$i; done >pile "
     "&& " RESIGN "-cades -md sha256 -signer tsa.crt -inkey tsa.key -certfile pile",
     "the token is too long"},
};

static void test_tokens_by_whom_they_may_not_be_are_refused(void **state)
{
    static char reply[64 * 1024], token[64 * 1024];
    struct timestamp_query query;
    struct str taken;
    int64_t time_s;
    const char *error = "";
    (void)state;
    ask(&query);
    answer("v2");
    assert_runs("openssl ts -reply -in reply -token_out -out token && "
                "openssl cms -verify -noverify -inform DER -in token -out info");
    for (size_t i = 0; i < COUNT(forgeries); i++) {
        assert_runs("%s", forgeries[i].make);
        size_t n = read_file("token", token, sizeof(token));
        size_t length = n + 5;
        uint8_t *to = (uint8_t *)reply;
        *to++ = 0x30;
        *to++ = 0x82;
        *to++ = (uint8_t)(length >> 8);
        *to++ = (uint8_t)length;
        memcpy(to, "\x30\x03\x02\x01\x00", 5);
        memcpy(to + 5, token, n);
        struct str whole = {reply, n + 9};
        if (forgeries[i].reason != NULL)
            assert_refused(&query, whole, forgeries[i].reason);
        else if (!timestamp_take(&query, whole, &taken, &time_s, &error))
            fail_msg("%s: %s", forgeries[i].make, error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_request_is_what_openssl_would_ask),
        cmocka_unit_test(test_tokens_are_taken_and_stand_in_the_signature),
        cmocka_unit_test(test_a_token_as_long_as_is_taken_still_fits),
        cmocka_unit_test(test_a_token_of_another_request_is_refused),
        cmocka_unit_test(test_every_bit_of_a_token_counts),
        cmocka_unit_test(test_what_the_authority_refuses_is_said),
        cmocka_unit_test(test_tokens_by_whom_they_may_not_be_are_refused),
    };
    return cmocka_run_group_tests(tests, authorities_make, authorities_remove);
}
