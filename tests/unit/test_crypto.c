/* Digests, codes, keys and texts against the vectors of their standards; the secret's file against
 * what can happen to a file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "crypto/crypto.h"

static void assert_hex(const uint8_t *bytes, size_t n, const char *wanted)
{
    char text[2 * DIGEST_MAX + 1];
    hex_encode(bytes, n, text);
    assert_string_equal(text, wanted);
}

/* -- digests ----------------------------------------------------------------------------------- */

static const struct {
    enum digest_kind kind;
    const char *of_nothing, *of_abc, *of_a_million; /* 'a' */
} digests[] = {
    {DIGEST_SHA256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    {DIGEST_SHA384,
     "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fb"
     "d51ad2f14898b95b",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc23"
     "58baeca134c825a7",
     "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b07b8b3dc38ecc4eb"
     "ae97ddd87f3d8985"},
    {DIGEST_SHA512,
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
     "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
     "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"},
    {DIGEST_SHA1, "da39a3ee5e6b4b0d3255bfef95601890afd80709",
     "a9993e364706816aba3e25717850c26c9cd0d89d", "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
    {DIGEST_MD5, "d41d8cd98f00b204e9800998ecf8427e", "900150983cd24fb0d6963f7d28e17f72",
     "7707d6ae4e027c70eea2a935c2296f21"},
    {DIGEST_CRC32, "00000000", "352441c2", "dc25bfbc"},
};

static void test_digests_are_the_standards(void **state)
{
    (void)state;
    char *million = malloc(1000000);
    uint8_t value[DIGEST_MAX];
    assert_non_null(million);
    memset(million, 'a', 1000000);
    for (size_t i = 0; i < COUNT(digests); i++) {
        size_t size = digest_size(digests[i].kind);
        struct digest *digest = digest_create(digests[i].kind);
        assert_int_equal(size, strlen(digests[i].of_abc) / 2);
        digest_update(digest, "ab", 2);
        digest_update(digest, NULL, 0);
        digest_update(digest, "c", 1);
        assert_int_equal(digest_finish(digest, value), size);
        assert_hex(value, size, digests[i].of_abc);
        assert_int_equal(digest_of(digests[i].kind, "abc", 3, value), size);
        assert_hex(value, size, digests[i].of_abc);
        /* It has begun anew. */
        assert_int_equal(digest_finish(digest, value), size);
        assert_hex(value, size, digests[i].of_nothing);
        for (size_t at = 0; at < 1000000;) {
            size_t n = at % 997 + 1 < 1000000 - at ? at % 997 + 1 : 1000000 - at;
            digest_update(digest, million + at, n);
            at += n;
        }
        digest_finish(digest, value);
        assert_hex(value, size, digests[i].of_a_million);
        digest_destroy(&digest);
        assert_null(digest);
        digest_destroy(&digest);
    }
    sha256("abc", 3, value);
    assert_hex(value, 32, digests[0].of_abc);
    sha256(NULL, 0, value);
    assert_hex(value, 32, digests[0].of_nothing);
    free(million);
}

/* -- codes and keys ---------------------------------------------------------------------------- */

/* HMAC as RFC 2104 defines it, in words of sha256() alone: what mac_make() and secret_key() are
 * compared with, once it has been compared with the RFCs. key_n <= 64. */
static void hmac(const uint8_t *key, size_t key_n, const void *text, size_t n, uint8_t mac_r[32])
{
    uint8_t inner[64 + 1024], outer[64 + 32];
    assert_true(key_n <= 64 && n <= 1024);
    memset(inner, 0x36, 64);
    memset(outer, 0x5c, 64);
    for (size_t i = 0; i < key_n; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    if (n != 0)
        memcpy(inner + 64, text, n);
    sha256(inner, 64 + n, outer + 64);
    sha256(outer, sizeof(outer), mac_r);
}

/* HKDF as RFC 5869 defines it, without salt, for at most 64 bytes. */
static void hkdf(const void *input, size_t n, const char *info, size_t length, uint8_t *key_r)
{
    uint8_t zeros[32] = {0}, extracted[32], block[64], text[128];
    size_t info_n = strlen(info);
    hmac(zeros, 32, input, n, extracted);
    memcpy(text, info, info_n);
    text[info_n] = 1;
    hmac(extracted, 32, text, info_n + 1, block);
    memcpy(text, block, 32);
    memcpy(text + 32, info, info_n);
    text[32 + info_n] = 2;
    hmac(extracted, 32, text, 32 + info_n + 1, block + 32);
    memcpy(key_r, block, length);
}

static void test_our_yardsticks_are_those_of_the_rfcs(void **state)
{
    (void)state;
    uint8_t key[25], data[50], mac[32], okm[42];
    memset(key, 0x0b, 20);
    hmac(key, 20, "Hi There", 8, mac); /* RFC 4231, 4.2 */
    assert_hex(mac, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac((const uint8_t *)"Jefe", 4, "what do ya want for nothing?", 28, mac); /* 4.3 */
    assert_hex(mac, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, 20);
    memset(data, 0xdd, 50);
    hmac(key, 20, data, 50, mac); /* 4.4 */
    assert_hex(mac, 32, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    memset(data, 0x0b, 22);
    hkdf(data, 22, "", 42, okm); /* RFC 5869, A.3 */
    assert_hex(okm, 42,
               "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
               "9d201395faa4b61a96c8");
}

static void test_a_mac_is_the_hmac_of_its_parts_with_their_lengths(void **state)
{
    (void)state;
    const struct str parts[] = {STR("foo"), {NULL, 0}, STR("b")};
    struct key key;
    uint8_t mac[32], wanted[32], text[8 + 300];
    char big[300];
    for (unsigned i = 0; i < sizeof(key.bytes); i++)
        key.bytes[i] = (uint8_t)(i * 7);
    mac_make(&key, parts, 3, mac);
    hmac(key.bytes, 32, "\0\0\0\0\0\0\0\3foo\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1b", 28, wanted);
    assert_memory_equal(mac, wanted, 32);
    memset(big, 'x', sizeof(big));
    memset(text, 'x', sizeof(text));
    memcpy(text, "\0\0\0\0\0\0\1\x2c", 8);
    mac_make(&key, &(struct str){big, 300}, 1, mac);
    hmac(key.bytes, 32, text, 308, wanted);
    assert_memory_equal(mac, wanted, 32);
    mac_make(&key, NULL, 0, mac);
    hmac(key.bytes, 32, NULL, 0, wanted);
    assert_memory_equal(mac, wanted, 32);
}

static void test_how_parts_are_cut_changes_the_mac(void **state)
{
    (void)state;
    static const struct str lists[][3] = {
        {STR("ab"), STR("c"), STR("")}, {STR("a"), STR("bc"), STR("")},
        {STR("abc"), STR(""), STR("")}, {STR(""), STR("abc"), STR("")},
        {STR(""), STR(""), STR("abc")},
    };
    struct key key = {{1}}, other = {{2}};
    uint8_t macs[COUNT(lists)][32], mac[32];
    for (size_t i = 0; i < COUNT(lists); i++) {
        mac_make(&key, lists[i], 3, macs[i]);
        for (size_t k = 0; k < i; k++)
            assert_false(bytes_equal(macs[i], macs[k], 32));
    }
    mac_make(&key, lists[2], 1, mac);
    assert_false(bytes_equal(mac, macs[2], 32));
    mac_make(&other, lists[0], 3, mac);
    assert_false(bytes_equal(mac, macs[0], 32));
    mac_make(&key, lists[0], 3, mac);
    assert_true(bytes_equal(mac, macs[0], 32));
}

static void test_equal_bytes(void **state)
{
    (void)state;
    char a[33] = "0123456789abcdef0123456789abcdef", b[33];
    for (size_t i = 0; i < 32; i++) {
        memcpy(b, a, sizeof(b));
        assert_true(bytes_equal(a, b, 32));
        b[i] ^= 0x40;
        assert_false(bytes_equal(a, b, 32));
        assert_true(bytes_equal(a, b, i));
    }
}

static void test_each_purpose_has_its_key(void **state)
{
    (void)state;
    struct secret secret, same;
    uint8_t wanted[32];
    assert_true(secret_from_text(STR("correct horse battery staple now"), &secret));
    assert_true(secret_from_text(STR("correct horse battery staple now"), &same));
    assert_memory_equal(secret.bytes, same.bytes, 32);
    struct key links = secret_key(&secret, "signed-url"), forms = secret_key(&secret, "csrf");
    assert_memory_not_equal(links.bytes, forms.bytes, 32);
    hkdf(secret.bytes, 32, "signed-url", 32, wanted);
    assert_memory_equal(links.bytes, wanted, 32);
    hkdf(secret.bytes, 32, "csrf", 32, wanted);
    assert_memory_equal(forms.bytes, wanted, 32);
    assert_true(secret_from_text(STR("correct horse battery staple no!"), &same));
    assert_memory_not_equal(secret.bytes, same.bytes, 32);
    assert_false(secret_from_text(STR("correct horse battery staple no"), &same));
    assert_false(secret_from_text((struct str){NULL, 0}, &same));
}

static void test_chance_fills_all_of_it_and_never_repeats(void **state)
{
    (void)state;
    uint8_t a[1000], b[1000];
    memset(a, 0, sizeof(a));
    random_bytes(a, sizeof(a));
    random_bytes(b, sizeof(b));
    assert_memory_not_equal(a, b, 32);
    assert_memory_not_equal(a + 968, (uint8_t[32]){0}, 32);
    a[0] = 77;
    random_bytes(a, 0);
    assert_int_equal(a[0], 77);
}

/* -- texts ------------------------------------------------------------------------------------- */

static void test_base64_of_the_rfc_goes_both_ways(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        const char *standard, *url;
    } rows[] = {
        /* RFC 4648 section 10 */
        {STR(""), "", ""},
        {STR("f"), "Zg==", "Zg"},
        {STR("fo"), "Zm8=", "Zm8"},
        {STR("foo"), "Zm9v", "Zm9v"},
        {STR("foob"), "Zm9vYg==", "Zm9vYg"},
        {STR("fooba"), "Zm9vYmE=", "Zm9vYmE"},
        {STR("foobar"), "Zm9vYmFy", "Zm9vYmFy"},
        {STR("\0\0\0"), "AAAA", "AAAA"},
        {STR("\xff\xff\xfe"), "///+", "___-"},
        {STR("\xfb\xf0"), "+/A=", "-_A"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[32];
        uint8_t bytes[32];
        size_t n = 99;
        assert_int_equal(base64_encode(rows[i].bytes.p, rows[i].bytes.n, text),
                         strlen(rows[i].standard));
        assert_string_equal(text, rows[i].standard);
        assert_true(base64_decode(str_from(text), bytes, &n));
        assert_int_equal(n, rows[i].bytes.n);
        assert_memory_equal(bytes, rows[i].bytes.p, n);
        assert_int_equal(base64url_encode(rows[i].bytes.p, rows[i].bytes.n, text),
                         strlen(rows[i].url));
        assert_string_equal(text, rows[i].url);
        n = 99;
        assert_true(base64url_decode(str_from(text), bytes, &n));
        assert_int_equal(n, rows[i].bytes.n);
        assert_memory_equal(bytes, rows[i].bytes.p, n);
    }
}

static void test_every_byte_and_length_goes_both_ways(void **state)
{
    (void)state;
    uint8_t from[256], to[256];
    char text[BASE64_LENGTH(256) + 1], hex[513];
    for (unsigned i = 0; i < 256; i++)
        from[i] = (uint8_t)(i * 167 + 13);
    for (size_t n = 0; n <= 256; n++) {
        size_t got;
        assert_int_equal(base64_encode(from, n, text), BASE64_LENGTH(n));
        assert_true(base64_decode(str_from(text), to, &got));
        assert_int_equal(got, n);
        assert_memory_equal(from, to, n);
        base64url_encode(from, n, text);
        assert_true(base64url_decode(str_from(text), to, &got));
        assert_int_equal(got, n);
        assert_memory_equal(from, to, n);
        hex_encode(from, n, hex);
        assert_int_equal(strlen(hex), 2 * n);
        assert_true(hex_decode(str_from(hex), to, n));
        assert_memory_equal(from, to, n);
    }
}

static void test_what_no_encoder_makes_is_refused(void **state)
{
    (void)state;
    static const char *const standard[] = {
        "Zg",     "Zg=",  "Zg===", "Zh==", "Zm9=",       "Z",        "Z===", "====",     "Zg==Zg==",
        "Zm8=\n", "Zm 8", "Zm8-",  "Zm8_", "\xc3\xa9+/", "AAA=AAAA", "=AAA", "AAAA====",
    };
    static const char *const url[] = {"Zg==",  "Zm8=", "Zh",   "Zm9",  "Z",
                                      "ZZZZZ", "Zm+v", "Zm/v", "Zm 8", "Zm8v\n"};
    uint8_t bytes[32];
    size_t n;
    for (size_t i = 0; i < COUNT(standard); i++)
        if (base64_decode(str_from(standard[i]), bytes, &n))
            fail_msg("base64 \"%s\" was taken", standard[i]);
    for (size_t i = 0; i < COUNT(url); i++)
        if (base64url_decode(str_from(url[i]), bytes, &n))
            fail_msg("base64url \"%s\" was taken", url[i]);
    assert_false(base64_decode((struct str){"AA\0A", 4}, bytes, &n));
    assert_true(hex_decode(STR("00fFAa"), bytes, 3));
    assert_memory_equal(bytes, "\x00\xff\xaa", 3);
    assert_false(hex_decode(STR("00ff"), bytes, 3));
    assert_false(hex_decode(STR("00ffaa0"), bytes, 3));
    assert_false(hex_decode(STR("00fg"), bytes, 2));
    assert_false(hex_decode(STR(" 0ff"), bytes, 2));
}

/* -- the secret's file ------------------------------------------------------------------------- */

static char dir[] = "/tmp/gateway-test-XXXXXX";
static char path[64], error[256];

static int enter(void **state)
{
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/data/secret", dir);
    return 0;
}

static int leave(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static unsigned count_files(void)
{
    char folder[64];
    unsigned count = 0;
    snprintf(folder, sizeof(folder), "%s/data", dir);
    DIR *entries = opendir(folder);
    assert_non_null(entries);
    while (readdir(entries) != NULL)
        count++;
    closedir(entries);
    return count - 2; /* . and .. */
}

static void test_a_missing_secret_is_made_once_for_its_owner_alone(void **state)
{
    (void)state;
    struct secret first, second;
    struct stat about;
    const char *wrong = secret_load(path, false, &first, error, sizeof(error));
    assert_ptr_equal(wrong, error);
    assert_non_null(strstr(error, "/data/secret: cannot be read: No such file or directory"));
    umask(0);
    assert_null(secret_load(path, true, &first, error, sizeof(error)));
    umask(022);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode, S_IFREG | 0600);
    assert_int_equal(about.st_size, 65);
    assert_int_equal(count_files(), 1);
    assert_null(secret_load(path, true, &second, error, sizeof(error)));
    assert_memory_equal(first.bytes, second.bytes, 32);
    assert_null(secret_load(path, false, &second, error, sizeof(error)));
    assert_memory_equal(first.bytes, second.bytes, 32);
    assert_int_equal(unlink(path), 0);
    assert_null(secret_load(path, true, &second, error, sizeof(error)));
    assert_memory_not_equal(first.bytes, second.bytes, 32);
}

static void test_processes_that_start_at_once_agree(void **state)
{
    (void)state;
    enum { PROCESSES = 8, ROUNDS = 10 };
    for (int round = 0; round < ROUNDS; round++) {
        struct secret secrets[PROCESSES];
        pid_t pids[PROCESSES];
        int start[2], results[2];
        char go;
        assert_int_equal(pipe(start), 0);
        assert_int_equal(pipe(results), 0);
        for (int i = 0; i < PROCESSES; i++) {
            pids[i] = fork();
            assert_int_not_equal(pids[i], -1);
            if (pids[i] != 0)
                continue;
            struct secret secret;
            close(start[1]);
            bool good = read(start[0], &go, 1) == 0 && /* its end of file lets all go at once */
                        secret_load(path, true, &secret, error, sizeof(error)) == NULL &&
                        write(results[1], &secret, sizeof(secret)) == sizeof(secret);
            _exit(good ? 0 : 1);
        }
        close(start[0]);
        close(start[1]);
        for (int i = 0; i < PROCESSES; i++) {
            int status;
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_int_equal(status, 0);
        }
        close(results[1]);
        for (int i = 0; i < PROCESSES; i++) {
            assert_int_equal(read(results[0], &secrets[i], sizeof(*secrets)), sizeof(*secrets));
            assert_memory_equal(&secrets[i], &secrets[0], sizeof(*secrets));
        }
        close(results[0]);
        assert_int_equal(count_files(), 1);
        assert_int_equal(unlink(path), 0);
    }
}

static void put(const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_a_secret_that_is_no_secret_is_refused(void **state)
{
    (void)state;
#define NO_SECRET                                                                                \
    "not a secret: expected 64 hexadecimal digits; remove it and a new one is made, which ends " \
    "the links signed so far"
#define DIGITS "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    static const struct {
        const char *text;
        mode_t mode;
        const char *error; /* NULL: good */
    } rows[] = {
        {DIGITS, 0600, NULL},
        {DIGITS "\n", 0400, NULL},
        {DIGITS, 0640, "others than its owner may use it (mode 0640): chmod 600 it"},
        {DIGITS, 0604, "others than its owner may use it (mode 0604): chmod 600 it"},
        {DIGITS, 0620, "others than its owner may use it (mode 0620): chmod 600 it"},
        {"", 0600, NO_SECRET},
        {DIGITS "0", 0600, NO_SECRET},
        {DIGITS "\n\n", 0600, NO_SECRET},
        {"\n" DIGITS, 0600, NO_SECRET},
        {DIGITS + 1, 0600, NO_SECRET},
        {"open sesame", 0600, NO_SECRET},
    };
    struct secret secret;
    assert_null(secret_load(path, true, &secret, error, sizeof(error))); /* makes the folder */
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(unlink(path), 0);
        put(rows[i].text, rows[i].mode);
        const char *wrong = secret_load(path, true, &secret, error, sizeof(error));
        if (rows[i].error == NULL) {
            assert_null(wrong);
            assert_memory_equal(secret.bytes, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
            continue;
        }
        assert_ptr_equal(wrong, error);
        if (strncmp(error, path, strlen(path)) != 0 ||
            strcmp(error + strlen(path) + 2, rows[i].error) != 0)
            fail_msg("wanted %s, got %s", rows[i].error, error);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_non_null(secret_load(path, true, &secret, error, sizeof(error)));
    assert_non_null(strstr(error, ": not a plain file"));
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes into it */
    assert_non_null(secret_load(path, true, &secret, error, sizeof(error)));
    assert_non_null(strstr(error, ": not a plain file"));
}

static void test_where_no_secret_can_be_made_that_is_said(void **state)
{
    (void)state;
    struct secret secret;
    char cut[8];
    assert_non_null(secret_load("/proc/none/secret", true, &secret, error, sizeof(error)));
    assert_string_equal(error, "/proc/none/secret: cannot be made: No such file or directory");
    assert_ptr_equal(secret_load("/proc/none/secret", true, &secret, cut, sizeof(cut)), cut);
    assert_string_equal(cut, "/proc/n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests_are_the_standards),
        cmocka_unit_test(test_our_yardsticks_are_those_of_the_rfcs),
        cmocka_unit_test(test_a_mac_is_the_hmac_of_its_parts_with_their_lengths),
        cmocka_unit_test(test_how_parts_are_cut_changes_the_mac),
        cmocka_unit_test(test_equal_bytes),
        cmocka_unit_test(test_each_purpose_has_its_key),
        cmocka_unit_test(test_chance_fills_all_of_it_and_never_repeats),
        cmocka_unit_test(test_base64_of_the_rfc_goes_both_ways),
        cmocka_unit_test(test_every_byte_and_length_goes_both_ways),
        cmocka_unit_test(test_what_no_encoder_makes_is_refused),
        cmocka_unit_test_setup_teardown(test_a_missing_secret_is_made_once_for_its_owner_alone,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(test_processes_that_start_at_once_agree, enter, leave),
        cmocka_unit_test_setup_teardown(test_a_secret_that_is_no_secret_is_refused, enter, leave),
        cmocka_unit_test_setup_teardown(test_where_no_secret_can_be_made_that_is_said, enter,
                                        leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
