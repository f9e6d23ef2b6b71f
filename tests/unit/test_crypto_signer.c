/* Loading who signs: the keys that may, encrypted or not, and a reason that names the file for each
 * thing that doesn't fit. And the keys that we make. */
#include "crypto_fixture.h"

#include <sys/stat.h>

static struct signer *try(const char *key, const char *password, const char *certificate,
                          int64_t now_s, char error_r[512], char warning_r[512])
{
    error_r[0] = warning_r[0] = '\0';
    return signer_load(in_folder(key), str_from(password), in_folder(certificate), now_s, error_r,
                       warning_r, 512);
}

static void test_every_kind_of_key_signs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        char wanted[64];
        struct signer *alone = load_kind(i, "crt"), *chained = load_kind(i, "chain");
        snprintf(wanted, sizeof(wanted), "Zoë %s", kinds[i].name);
        assert_string_equal(signer_name(alone).p, wanted);
        assert_int_equal(signer_digest(alone), kinds[i].digest);
        assert_true(signer_size(chained) > signer_size(alone) + 500);
        signer_destroy(&alone);
        signer_destroy(&chained);
        assert_null(alone);
        signer_destroy(&alone);
    }
}

static void test_encrypted_keys_open_with_their_password(void **state)
{
    static const char *const ways[] = {
        "pkcs8 -topk8 -v2 aes-256-cbc",
        "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA512 -iter 10000",
        "pkcs8 -topk8 -v2 aes-192-cbc -v2prf hmacWithSHA1 -iter 10000",
        "pkcs8 -topk8 -v2 des3",
        "rsa -aes256 -traditional",
        "rsa -des3 -traditional",
    };
    char error[512], warning[512];
    (void)state;
    for (size_t i = 0; i < COUNT(ways); i++) {
        assert_runs("openssl %s -passout 'pass:Kö nig' -in rsa2048.key -out secret.key && "
                    "chmod 600 secret.key",
                    ways[i]);
        struct signer *signer =
            try("secret.key", "Kö nig", "rsa2048.crt", time(NULL), error, warning);
        assert_string_equal(error, "");
        assert_non_null(signer);
        signer_destroy(&signer);
        assert_null(try("secret.key", "", "rsa2048.crt", time(NULL), error, warning));
        assert_non_null(strstr(error, "secret.key: the key is encrypted: its password is needed"));
        assert_null(try("secret.key", "Kö nik", "rsa2048.crt", time(NULL), error, warning));
        assert_non_null(strstr(error, "secret.key: the key is encrypted with another password"));
    }
    /* Nor do those pass for the right one that decrypt to something: one in 256. */
    assert_runs(
        "openssl pkcs8 -topk8 -v2 des3 -iter 1 -passout pass:x -in p256.key -out quick.key");
    for (int i = 0; i < 2000; i++) {
        char password[16];
        snprintf(password, sizeof(password), "wrong %d", i);
        assert_null(try("quick.key", password, "p256.crt", time(NULL), error, warning));
        assert_non_null(strstr(error, "quick.key: the key is encrypted with another password"));
    }
    /* A password too many is no mistake of the key's. */
    struct signer *signer = try("p256.key", "x", "p256.crt", time(NULL), error, warning);
    assert_string_equal(error, "");
    signer_destroy(&signer);
}

static const struct {
    const char *make, *key, *certificate, *reason;
} refusals[] = {
    {"true", "none.key", "p256.crt", "/none.key: cannot be read: No such file"},
    {"true", "p256.key", "none.crt", "/none.crt: cannot be read: No such file"},
    {"mkdir box", "box", "p256.crt", "/box: not a plain file"},
    {"mkfifo pipe", "pipe", "p256.crt", "/pipe: not a plain file"},
    {": >empty", "empty", "p256.crt", "/empty: empty"},
    {"head -c 70000 /dev/zero | tr '\\0' x >long", "long", "p256.crt", "/long: longer than 64 KB"},
    {"openssl pkey -in p256.key -outform DER -out der", "der", "p256.crt", "/der: not a PEM file"},
    {"(cat p256.key; printf '\\0') >nul", "nul", "p256.crt", "/nul: not a text"},
    {"true", "p256.crt", "p256.crt", "/p256.crt: there is no private key in it"},
    {"true", "p256.key", "p256.key", "/p256.key: there is no certificate in it"},
    {"sed 's/[a-m]/B/g' p256.key >broken", "broken", "p256.crt", "/broken: not a private key"},
    {"sed '2,3s/[a-m]/B/g' p256.crt >broken.crt", "p256.key", "broken.crt", "/broken.crt: "},
    {"(cat p256.crt; sed '2,3s/[a-m]/B/g' middle.crt) >broken.chain", "p256.key", "broken.chain",
     "/broken.chain: one of its certificates can't be read"},
    {"openssl genrsa -out rsa1024.key 1024", "rsa1024.key", "p256.crt",
     "/rsa1024.key: an RSA key of 1024 bits: too short to be safe"},
    {"openssl genrsa -out rsa5000.key 4608", "rsa5000.key", "p256.crt",
     "/rsa5000.key: an RSA key of 4608 bits: too slow"},
    {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521.key", "p521.key",
     "p256.crt", "/p521.key: a key of a kind that PDF readers don't all check"},
    {"openssl genpkey -algorithm ed25519 -out ed.key", "ed.key", "p256.crt",
     "/ed.key: not a private key that can be used"},
    {"true", "p256.key", "p384.crt", "/p384.crt: the certificate is not of the key in "},
    {"true", "rsa2048.key", "rsa3072.crt", "/rsa3072.crt: the certificate is not of the key in "},
    {"true", "rsa2048.key", "p256.crt", "/p256.crt: the certificate is not of the key in "},
    {"cat p256.crt root.crt >gap", "p256.key", "gap", "/gap: the chain is broken: each"},
    {"cat middle.crt p256.crt >turned", "p256.key", "turned", "/turned: the chain is broken: each"},
    {"openssl req -x509 -new -key root.key -subj '/O=Tests/CN=Zoë middle' -utf8 -out fake.crt && "
     "cat p256.crt fake.crt >forged",
     "p256.key", "forged",
     "/forged: the chain is broken: a certificate isn't signed by the one that follows it"},
    {"openssl req -new -utf8 -key p384.key -subj '/CN=below' -out req && openssl x509 -req -in req "
     "-CA p256.crt -CAkey p256.key -out below.crt && cat below.crt p256.crt >no_ca",
     "p384.key", "no_ca", "/no_ca: the chain is broken: a certificate of no authority"},
    {"for i in 1 2 3 4 5 6 7 8 9; do cat root.crt; done >many", "root.key", "many",
     "/many: more than 8 certificates"},
    {"openssl req -new -key p256.key -subj /CN=Agree -out req && openssl x509 -req -in req -CA "
     "middle.crt -CAkey middle.key -extfile ext -extensions agree -out agree.crt",
     "p256.key", "agree.crt", "/agree.crt: it isn't for signing"},
    {"n=/CN=x; for i in $(seq 22); do n=$n/OU=$(printf %060d $i); done; "
     "openssl req -x509 -new -key p256.key -subj $n -out wordy.crt",
     "p256.key", "wordy.crt", "/wordy.crt: its issuer's name is longer than 1024 bytes"},
    {"openssl req -x509 -new -key p256.key -subj /CN=x -set_serial 0x$(printf '7f%.0s' $(seq 600)) "
     "-out numbered.crt",
     "p256.key", "numbered.crt", "/numbered.crt: its serial number is longer than 64 bytes"},
};

static void test_what_does_not_fit_is_refused_with_the_file_and_the_reason(void **state)
{
    char error[512], warning[512];
    (void)state;
    for (size_t i = 0; i < COUNT(refusals); i++) {
        if (strncmp(refusals[i].make, "true", 5) != 0)
            assert_runs("%s", refusals[i].make);
        struct signer *signer =
            try(refusals[i].key, "", refusals[i].certificate, time(NULL), error, warning);
        if (signer != NULL || strstr(error, refusals[i].reason) == NULL)
            fail_msg("%s with %s: \"%s\", expected \"%s\"", refusals[i].key,
                     refusals[i].certificate, error, refusals[i].reason);
    }
}

static void test_an_unsafe_file_and_a_certificate_out_of_time_are_warned_about(void **state)
{
    char error[512], warning[512];
    int64_t now = time(NULL);
    (void)state;
    struct signer *signer = try("p256.key", "", "p256.crt", now - 90 * 86400, error, warning);
    assert_non_null(strstr(warning, "/p256.crt: not valid before 20"));
    signer_destroy(&signer);
    assert_runs("cp p256.key open.key && chmod 644 open.key");
    signer = try("open.key", "", "p256.crt", now, error, warning);
    assert_non_null(strstr(warning, "/open.key: others than its owner may use it (mode 0644)"));
    assert_null(strstr(warning, "valid"));
    signer_destroy(&signer);
    signer = try("open.key", "", "p256.crt", now + 31 * 86400, error, warning);
    assert_non_null(strstr(warning, "(mode 0644): chmod 600 it; "));
    assert_non_null(strstr(warning, "/p256.crt: no longer valid since 20"));
    signer_destroy(&signer);
}

static void test_names_in_old_encodings_become_utf8(void **state)
{
    static const struct {
        const char *mask, *subject, *name;
    } names[] = {
        {"MASK:0x800", "/CN=Грэта 学", "Грэта 学"}, /* BMPString */
        {"MASK:0x4", "/CN=Zoë", "Zoë"},             /* T61String */
        {"MASK:0x2000", "/CN=Zoë", "Zoë"},          /* UTF8String */
        {"MASK:0x2", "/CN=Zoe", "Zoe"},             /* PrintableString */
        {"MASK:0x2000", "/O=Nobody", ""},
        {"MASK:0x2000", "/CN=The first/OU=x/CN=The last", "The last"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_runs("printf '[req]\\ndistinguished_name=dn\\nstring_mask=%s\\n[dn]\\n' >cnf && "
                    "openssl req -x509 -new -utf8 -config cnf -key p256.key -subj '%s' -out n.crt",
                    names[i].mask, names[i].subject);
        struct signer *signer = load("p256.key", "n.crt");
        assert_string_equal(signer_name(signer).p, names[i].name);
        signer_destroy(&signer);
    }
}

/* -- keys that we make ------------------------------------------------------------------------ */

static void test_a_made_key_and_certificate_are_good(void **state)
{
    (void)state;
    for (enum key_kind kind = KEY_RSA_2048; kind <= KEY_P384; kind++) {
        const struct key_order order = {kind, "Zoë, 学院", "A + B, \"Ltd\"", 1700000000,
                                        2524608000 + 86400}; /* 2050-01-02: GeneralizedTime */
        char *key, *certificate, error[256] = "";
        assert_true(key_make(&order, &key, &certificate, error, sizeof(error)));
        write_file("made.key", key, strlen(key));
        write_file("made.crt", certificate, strlen(certificate));
        assert_runs("chmod 600 made.key; openssl pkey -in made.key -check -noout && "
                    "openssl verify -x509_strict -purpose smimesign -CAfile made.crt made.crt && "
                    "openssl x509 -in made.crt -noout -text -nameopt utf8,sep_comma_plus");
        assert_non_null(strstr(log_text(), "Subject: O=A + B, \"Ltd\",CN=Zoë, 学院\n"));
        assert_non_null(strstr(log_text(), "Not Before: Nov 14 22:13:20 2023 GMT"));
        assert_non_null(strstr(log_text(), "Not After : Jan  2 00:00:00 2050 GMT"));
        assert_non_null(strstr(log_text(), "Digital Signature, Non Repudiation"));
        assert_non_null(strstr(log_text(), "E-mail Protection, 1.3.6.1.5.5.7.3.36"));
        assert_non_null(strstr(log_text(), "CA:FALSE"));
        assert_non_null(strstr(log_text(), "Subject Key Identifier"));
        struct signer *signer = load("made.key", "made.crt");
        assert_string_equal(signer_name(signer).p, order.common_name);
        signer_destroy(&signer);
        free(key);
        free(certificate);
    }
}

static void test_serials_are_16_positive_bytes_and_differ(void **state)
{
    const struct key_order order = {KEY_P256, "x", NULL, 0, 86400};
    char seen[50][40];
    (void)state;
    for (size_t i = 0; i < COUNT(seen); i++) {
        char *key, *certificate, error[256];
        assert_true(key_make(&order, &key, &certificate, error, sizeof(error)));
        write_file("made.crt", certificate, strlen(certificate));
        assert_runs("openssl x509 -in made.crt -noout -serial");
        assert_int_equal(sscanf(log_text(), "serial=%39s", seen[i]), 1);
        assert_int_equal(strlen(seen[i]), 32);
        assert_in_range(seen[i][0], '4', '7');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(seen[i], seen[j]);
        free(key);
        free(certificate);
    }
}

static void test_a_certificate_that_cannot_be_is_refused(void **state)
{
    static const char long_name[] =
        "12345678901234567890123456789012345678901234567890123456789012345";
    const struct {
        struct key_order order;
        const char *reason;
    } orders[] = {
        {{KEY_P256, "", NULL, 0, 1}, "the name: empty"},
        {{KEY_P256, long_name, NULL, 0, 1}, "the name: longer than 64 letters"},
        {{KEY_P256, "a\nb", NULL, 0, 1}, "the name: a control character"},
        {{KEY_P256, "a\xff", NULL, 0, 1}, "the name: not UTF-8"},
        {{KEY_P256, "a", "", 0, 1}, "the organization: empty"},
        {{KEY_P256, "a", NULL, 1, 1}, "it must be valid for a time"},
        {{KEY_P256, "a", NULL, 0, 253402300800}, "it must be valid for a time"},
        {{KEY_P256, "a", NULL, -1, 1}, "it must be valid for a time"},
    };
    char *key, *certificate, error[256];
    (void)state;
    for (size_t i = 0; i < COUNT(orders); i++) {
        assert_false(key_make(&orders[i].order, &key, &certificate, error, sizeof(error)));
        assert_memory_equal(error, orders[i].reason, strlen(orders[i].reason));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_key_signs),
        cmocka_unit_test(test_encrypted_keys_open_with_their_password),
        cmocka_unit_test(test_what_does_not_fit_is_refused_with_the_file_and_the_reason),
        cmocka_unit_test(test_an_unsafe_file_and_a_certificate_out_of_time_are_warned_about),
        cmocka_unit_test(test_names_in_old_encodings_become_utf8),
        cmocka_unit_test(test_a_made_key_and_certificate_are_good),
        cmocka_unit_test(test_serials_are_16_positive_bytes_and_differ),
        cmocka_unit_test(test_a_certificate_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
