/* Signatures: openssl verifies what we sign, and we tell apart what others make of it. */
#include "crypto_fixture.h"

#include <pthread.h>

static const struct str content = {"the bytes that are signed", 25};

static void sha_of_content(void *arg, enum digest_kind kind, uint8_t *digest_r)
{
    const struct str *text = arg;
    digest_of(kind, text->p, text->n, digest_r);
}

static struct cms_found check(const struct signer *signer, const uint8_t *der, size_t n,
                              struct str text)
{
    struct cms_found found;
    assert_true(
        cms_check(signer, (struct str){(const char *)der, n}, sha_of_content, &text, &found));
    return found;
}

static bool is_taken(const struct signer *signer, const uint8_t *der, size_t n)
{
    struct cms_found found;
    struct str text = content;
    return cms_check(signer, (struct str){(const char *)der, n}, sha_of_content, &text, &found);
}

/* Signs the content into `sig`, and gives the bytes: malloc()ed, exactly as many. */
static uint8_t *sign(const struct signer *signer, struct str token, size_t *n_r)
{
    struct cms cms;
    uint8_t *der = malloc(signer_size(signer) + (token.n != 0 ? (size_t)TIMESTAMP_MAX : 0));
    assert_non_null(der);
    sign_text(signer, content, &cms);
    *n_r = cms_write(&cms, token, der);
    write_file("sig", der, *n_r);
    write_file("content", content.p, content.n);
    return der;
}

#define VERIFY "openssl cms -verify -binary -inform DER -in sig -out out -cades "

static void test_openssl_verifies_every_kind_of_key(void **state)
{
    (void)state;
    assert_runs("cat root.crt middle.crt >both.crt");
    write_file("other", "the bytes that are sigmed", 25);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct signer *chained = load_kind(i, "chain"), *alone = load_kind(i, "crt");
        size_t n;
        free(sign(chained, (struct str){NULL, 0}, &n));
        assert_runs(VERIFY "-CAfile root.crt -content content && cmp content out");
        assert_fails(VERIFY "-CAfile root.crt -content other");
        assert_non_null(strstr(log_text(), "verification failure"));
        free(sign(alone, (struct str){NULL, 0}, &n));
        assert_runs(VERIFY "-content content -CAfile both.crt");
        assert_fails(VERIFY "-CAfile root.crt -content content");
        assert_non_null(strstr(log_text(), "unable to get local issuer certificate"));
        signer_destroy(&chained);
        signer_destroy(&alone);
    }
}

static void test_a_made_key_signs_for_openssl(void **state)
{
    (void)state;
    for (enum key_kind kind = KEY_RSA_2048; kind <= KEY_P384; kind++) {
        const struct key_order order = {kind, "Zoë", NULL, time(NULL) - 60, time(NULL) + 86400};
        char *key, *certificate, error[256];
        size_t n;
        assert_true(key_make(&order, &key, &certificate, error, sizeof(error)));
        write_file("made.key", key, strlen(key));
        write_file("made.crt", certificate, strlen(certificate));
        assert_runs("chmod 600 made.key");
        struct signer *signer = load("made.key", "made.crt");
        free(sign(signer, (struct str){NULL, 0}, &n));
        assert_runs("openssl cms -verify -binary -inform DER -in sig -out out -cades "
                    "-CAfile made.crt -content content");
        signer_destroy(&signer);
        free(key);
        free(certificate);
    }
}

/* Names as openssl prints them; what must not be there begins with "!". */
static void test_the_structure_is_what_pades_asks_for(void **state)
{
    static const char *const lines[] = {
        ":pkcs7-signedData",
        ":contentType",
        ":messageDigest",
        ":id-smime-aa-signingCertificateV2",
        "!signingTime",
        "!:smimeCapabilities",
        "!:id-smime-aa-timeStampToken",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct signer *signer = load_kind(i, "crt");
        size_t n;
        free(sign(signer, (struct str){NULL, 0}, &n));
        assert_runs("openssl asn1parse -inform DER -in sig");
        for (size_t j = 0; j < COUNT(lines); j++) {
            if (lines[j][0] == '!')
                assert_null(strstr(log_text(), lines[j] + 1));
            else
                assert_non_null(strstr(log_text(), lines[j]));
        }
        const char *value = kinds[i].name[0] == 'r'            ? ":rsaEncryption"
                            : kinds[i].digest == DIGEST_SHA384 ? ":ecdsa-with-SHA384"
                                                               : ":ecdsa-with-SHA256";
        const char *last = NULL;
        for (const char *at = log_text(); (at = strstr(at, value)) != NULL; at++)
            last = at;
        assert_non_null(last);
        assert_null(strstr(last, "OBJECT")); /* the signature's own: its value follows */
        /* openssl sorts sets as DER wants them: what it writes again is the same. */
        assert_runs("openssl cms -cmsout -inform DER -in sig -outform DER -out again && "
                    "cmp sig again");
        /* The attributes' own SET is in order, too: as signed, so openssl keeps it. */
        assert_runs("openssl cms -cmsout -print -noout -inform DER -in sig");
        const char *type = strstr(log_text(), "object: contentType");
        const char *digest = strstr(log_text(), "object: messageDigest");
        const char *ess = strstr(log_text(), "object: id-smime-aa-signingCertificateV2");
        assert_true(type != NULL && type < digest && digest < ess);
        assert_int_equal(strstr(ess, "hashAlgorithm: NULL") != NULL ||
                             strstr(ess, "sha384") == NULL,
                         kinds[i].digest == DIGEST_SHA256);
        signer_destroy(&signer);
    }
}

static void test_the_size_is_a_bound_for_every_signature(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct signer *signer = load_kind(i, "chain");
        uint8_t *der = malloc(signer_size(signer)), digest[DIGEST_MAX];
        size_t longest = 0, count = kinds[i].name[0] == 'r' ? 10 : 1000;
        struct cms cms;
        assert_non_null(der);
        for (size_t j = 0; j < count; j++) {
            random_bytes(digest, sizeof(digest));
            cms_sign(signer, digest, &cms);
            size_t n = cms_write(&cms, (struct str){NULL, 0}, der);
            assert_true(n <= signer_size(signer));
            longest = n > longest ? n : longest;
        }
        assert_int_equal(longest, signer_size(signer)); /* and no more than a bound */
        free(der);
        signer_destroy(&signer);
    }
}

static void test_the_same_content_gives_the_same_signature(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct signer *signer = load_kind(i, "crt"), *again = load_kind(i, "crt");
        size_t n, m;
        uint8_t *first = sign(signer, (struct str){NULL, 0}, &n);
        uint8_t *second = sign(again, (struct str){NULL, 0}, &m);
        assert_int_equal(n, m);
        assert_memory_equal(first, second, n);
        free(first);
        free(second);
        signer_destroy(&signer);
        signer_destroy(&again);
    }
}

/* -- checking --------------------------------------------------------------------------------- */

static void test_ours_is_good_and_other_content_is_altered(void **state)
{
    uint8_t digest[DIGEST_MAX];
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct signer *signer = load_kind(i, "chain");
        size_t n;
        uint8_t *der = sign(signer, (struct str){NULL, 0}, &n);
        struct cms_found found = check(signer, der, n, content);
        assert_int_equal(found.verdict, CMS_GOOD);
        assert_int_equal(found.digest_kind, kinds[i].digest);
        assert_false(found.timestamped);
        size_t size = digest_of(kinds[i].digest, content.p, content.n, digest);
        assert_memory_equal(found.message_digest, digest, size);
        found = check(signer, der, n, STR("other bytes"));
        assert_int_equal(found.verdict, CMS_ALTERED);
        assert_memory_equal(found.message_digest, digest, size);
        free(der);
        signer_destroy(&signer);
    }
}

/* Whatever byte is another one: it isn't one any more, or another's, or broken; never altered or
 * good, but where nothing is signed: the certificates, which readers need and we don't. */
static void test_every_byte_of_a_signature_counts(void **state)
{
    struct signer *signer = load_kind(3, "crt");
    size_t n, good = 0;
    uint8_t *der = sign(signer, (struct str){NULL, 0}, &n);
    struct str text = content;
    (void)state;
    for (size_t i = 0; i < n; i++) {
        for (uint8_t change = 1; change != 0; change = (uint8_t)(change << 1)) {
            struct cms_found found;
            der[i] ^= change;
            if (cms_check(signer, (struct str){(const char *)der, n}, sha_of_content, &text,
                          &found)) {
                assert_int_not_equal(found.verdict, CMS_ALTERED);
                good += found.verdict == CMS_GOOD;
            }
            der[i] ^= change;
        }
        assert_false(is_taken(signer, der, i));
    }
    /* The certificates' 8 bits a byte, and a few of versions and algorithm lists. */
    assert_runs("openssl x509 -in p256.crt -outform DER -out der");
    uint8_t certificate[4096];
    size_t unsigned_bytes = read_file("der", certificate, sizeof(certificate));
    assert_true(good <= 8 * (unsigned_bytes + 30));
    assert_int_equal(check(signer, der, n, content).verdict, CMS_GOOD);
    free(der);
    signer_destroy(&signer);
}

static void test_zeros_may_follow_and_nothing_else(void **state)
{
    struct signer *signer = load_kind(3, "crt");
    size_t n;
    uint8_t *der = sign(signer, (struct str){NULL, 0}, &n);
    uint8_t *longer = calloc(1, n + 100);
    (void)state;
    memcpy(longer, der, n);
    assert_int_equal(check(signer, longer, n + 100, content).verdict, CMS_GOOD);
    longer[n + 99] = 1;
    assert_false(is_taken(signer, longer, n + 100));
    free(longer);
    free(der);
    signer_destroy(&signer);
}

/* What the openssl command signs, and what we say to it with the P-256 certificate. */
#define CMS_SIGN "openssl cms -sign -binary -in content -outform DER -out sig "
static const struct {
    const char *make;
    bool taken;
    enum cms_verdict verdict;
} others[] = {
    {CMS_SIGN "-cades -md sha256 -signer p256.crt -inkey p256.key", true, CMS_GOOD},
    {CMS_SIGN "-md sha256 -signer p256.crt -inkey p256.key", true, CMS_GOOD},
    {CMS_SIGN "-md sha256 -signer p256.crt -inkey p256.key -nocerts", true, CMS_GOOD},
    {CMS_SIGN "-md sha512 -signer p256.crt -inkey p256.key", true, CMS_BROKEN},
    {CMS_SIGN "-md sha1 -signer p256.crt -inkey p256.key", true, CMS_BROKEN},
    {CMS_SIGN "-md sha256 -noattr -signer p256.crt -inkey p256.key", true, CMS_BROKEN},
    {CMS_SIGN "-md sha256 -econtent_type 1.2.3 -signer p256.crt -inkey p256.key", true, CMS_BROKEN},
    {CMS_SIGN "-md sha256 -keyid -signer p256.crt -inkey p256.key", true, CMS_FOREIGN},
    {CMS_SIGN "-signer p384.crt -inkey p384.key", true, CMS_FOREIGN},
    {CMS_SIGN "-signer rsa2048.crt -inkey rsa2048.key", true, CMS_FOREIGN},
    {CMS_SIGN "-signer rsa2048.crt -inkey rsa2048.key -keyopt rsa_padding_mode:pss", true,
     CMS_FOREIGN},
    /* Another key under the same issuer and serial. */
    {"s=$(openssl x509 -in p256.crt -noout -serial | cut -d= -f2) && "
     "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out evil.key && "
     "openssl req -new -utf8 -key evil.key -subj '/CN=Evil' -out req && "
     "openssl x509 -req -in req -CA middle.crt -CAkey middle.key -set_serial 0x$s -out evil.crt "
     "&& " CMS_SIGN "-signer evil.crt -inkey evil.key",
     true, CMS_BROKEN},
    {CMS_SIGN "-cades -signer evil.crt -inkey evil.key", true, CMS_FOREIGN},
    {CMS_SIGN "-nodetach -md sha256 -signer p256.crt -inkey p256.key", false, 0},
    {CMS_SIGN "-md sha256 -signer p256.crt -inkey p256.key -signer p384.crt -inkey p384.key", false,
     0},
    {CMS_SIGN "-stream -indef -md sha256 -nodetach -signer p256.crt -inkey p256.key", false, 0},
    {"openssl cms -digest_create -in content -outform DER -out sig", false, 0},
    {"openssl crl2pkcs7 -nocrl -certfile p256.crt -outform DER -out sig", false, 0},
    {"cp content sig", false, 0},
    {": >sig", false, 0},
};

static void test_signatures_of_others_are_told_apart(void **state)
{
    static uint8_t der[32 * 1024];
    struct signer *signer = load_kind(3, "crt");
    (void)state;
    write_file("content", content.p, content.n);
    for (size_t i = 0; i < COUNT(others); i++) {
        struct cms_found found = {0};
        struct str text = content;
        assert_runs("%s", others[i].make);
        size_t n = read_file("sig", der, sizeof(der));
        bool taken = cms_check(signer, (struct str){(char *)der, n}, sha_of_content, &text, &found);
        if (taken != others[i].taken || (taken && found.verdict != others[i].verdict))
            fail_msg("%s: taken %d, verdict %d", others[i].make, taken, found.verdict);
    }
    signer_destroy(&signer);
}

/* -- from several threads --------------------------------------------------------------------- */

enum { THREADS = 4, SIGNATURES = 25 };

static void *sign_and_check(void *arg)
{
    const struct signer *signer = arg;
    uint8_t *der = malloc(signer_size(signer));
    size_t good = 0;
    for (int i = 0; i < SIGNATURES; i++) {
        struct cms cms;
        struct cms_found found;
        struct str text = {(const char *)&i, sizeof(i)};
        sign_text(signer, text, &cms);
        size_t n = cms_write(&cms, (struct str){NULL, 0}, der);
        good +=
            cms_check(signer, (struct str){(const char *)der, n}, sha_of_content, &text, &found) &&
            found.verdict == CMS_GOOD;
    }
    free(der);
    return (void *)good;
}

static void test_threads_sign_with_one_signer_at_the_same_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct signer *signer = load_kind(i, "crt");
        pthread_t threads[THREADS];
        for (int j = 0; j < THREADS; j++)
            assert_int_equal(pthread_create(&threads[j], NULL, sign_and_check, signer), 0);
        for (int j = 0; j < THREADS; j++) {
            void *good;
            assert_int_equal(pthread_join(threads[j], &good), 0);
            assert_int_equal((size_t)good, SIGNATURES);
        }
        signer_destroy(&signer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openssl_verifies_every_kind_of_key),
        cmocka_unit_test(test_a_made_key_signs_for_openssl),
        cmocka_unit_test(test_the_structure_is_what_pades_asks_for),
        cmocka_unit_test(test_the_size_is_a_bound_for_every_signature),
        cmocka_unit_test(test_the_same_content_gives_the_same_signature),
        cmocka_unit_test(test_ours_is_good_and_other_content_is_altered),
        cmocka_unit_test(test_every_byte_of_a_signature_counts),
        cmocka_unit_test(test_zeros_may_follow_and_nothing_else),
        cmocka_unit_test(test_signatures_of_others_are_told_apart),
        cmocka_unit_test(test_threads_sign_with_one_signer_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
