/* Signatures of tokens: the examples of RFC 7515 appendix A, what was tampered with, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "crypto/jws.h"

#define PAYLOAD                                                                                    \
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV" \
    "lfQ"
#define HS256_SECRET \
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
#define RSA_N                                                                                     \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-"                       \
    "4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_"      \
    "7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"                                          \
    "UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_" \
    "h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
#define EC_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define EC_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"

static const struct example {
    const char *signed_text, *signature;
} examples[JWS_ALGORITHMS] = {
    [JWS_HS256] = {"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" PAYLOAD,
                   "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
    [JWS_RS256] =
        {"eyJhbGciOiJSUzI1NiJ9" PAYLOAD,
         "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
         "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"
         "nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-"
         "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB"
         "p0igcN_IoypGlUPQGe77Rw"},
    [JWS_ES256] =
        {"eyJhbGciOiJFUzI1NiJ9" PAYLOAD,
         "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
};

/* Into one of a few buffers. */
static struct str decoded(const char *text)
{
    static uint8_t room[8][1024];
    static unsigned next;
    uint8_t *bytes = room[next++ % 8];
    size_t n;
    assert_true(base64url_decode(str_from(text), bytes, &n));
    return (struct str){(char *)bytes, n};
}

static struct jws_key *key_of(enum jws_algorithm algorithm)
{
    struct jws_key *key = algorithm == JWS_HS256   ? jws_key_of_secret(decoded(HS256_SECRET))
                          : algorithm == JWS_RS256 ? jws_key_of_rsa(decoded(RSA_N), decoded("AQAB"))
                                                   : jws_key_of_p256(decoded(EC_X), decoded(EC_Y));
    assert_non_null(key);
    assert_int_equal(jws_key_algorithm(key), algorithm);
    return key;
}

static void test_the_rfc_s_examples(void **state)
{
    (void)state;
    for (unsigned i = 0; i < JWS_ALGORITHMS; i++) {
        struct jws_key *key = key_of((enum jws_algorithm)i);
        for (int again = 0; again < 2; again++)
            assert_true(
                jws_verify(key, str_from(examples[i].signed_text), decoded(examples[i].signature)));
        jws_key_unref(&key);
    }
}

static void test_one_changed_bit_and_it_is_no_signature(void **state)
{
    (void)state;
    for (unsigned i = 0; i < JWS_ALGORITHMS; i++) {
        struct jws_key *key = key_of((enum jws_algorithm)i);
        struct str text = str_from(examples[i].signed_text);
        char *changed = strdup(text.p), signature[JWS_SIGNATURE_MAX];
        struct str good = decoded(examples[i].signature);
        for (size_t at = 0; at < text.n; at += 17) {
            changed[at] ^= 1;
            assert_false(jws_verify(key, (struct str){changed, text.n}, good));
            changed[at] ^= 1;
        }
        for (size_t at = 0; at<good.n; at += good.n> 64 ? 37 : 5) {
            memcpy(signature, good.p, good.n);
            signature[at] ^= 0x10;
            assert_false(jws_verify(key, text, (struct str){signature, good.n}));
        }
        for (size_t n = 0; n < good.n; n += 16)
            assert_false(jws_verify(key, text, (struct str){good.p, n}));
        memcpy(signature, good.p, good.n);
        signature[good.n] = 0;
        assert_false(jws_verify(key, text, (struct str){signature, good.n + 1}));
        memset(signature, 0, sizeof(signature));
        assert_false(jws_verify(key, text, (struct str){signature, good.n}));
        assert_true(jws_verify(key, text, good));
        free(changed);
        jws_key_unref(&key);
    }
}

/* CVE-2022-21449 and its like: R and S of 0, or not below the curve's order. */
static void test_es256_s_numbers_have_a_range(void **state)
{
    (void)state;
    static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                      0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    struct jws_key *key = key_of(JWS_ES256);
    struct str text = str_from(examples[JWS_ES256].signed_text);
    struct str good = decoded(examples[JWS_ES256].signature);
    uint8_t signature[64];
    for (unsigned half = 0; half < 3; half++) {
        memcpy(signature, good.p, 64);
        if (half != 0)
            memcpy(signature, order, 32);
        if (half != 1)
            memcpy(signature + 32, order, 32);
        assert_false(jws_verify(key, text, (struct str){(char *)signature, 64}));
    }
    jws_key_unref(&key);
}

static void test_algorithms_by_name(void **state)
{
    (void)state;
    static const char *const others[] = {"none",  "None",  "NONE",  "",      "hs256",
                                         "HS384", "PS256", "EdDSA", "HS256 "};
    enum jws_algorithm algorithm;
    for (unsigned i = 0; i < JWS_ALGORITHMS; i++) {
        const char *name = jws_algorithm_name((enum jws_algorithm)i);
        assert_true(jws_algorithm_named(str_from(name), &algorithm));
        assert_int_equal(algorithm, i);
    }
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(jws_algorithm_named(str_from(others[i]), &algorithm));
}

static void test_keys_that_are_none(void **state)
{
    (void)state;
    struct str n = decoded(RSA_N), x = decoded(EC_X), y = decoded(EC_Y);
    char even[512], off[32];
    memset(even, 0xff, sizeof(even));
    assert_null(jws_key_of_rsa((struct str){n.p, 128}, decoded("AQAB"))); /* 1024 bits */
    assert_null(jws_key_of_rsa((struct str){n.p, 0}, decoded("AQAB")));
    assert_null(jws_key_of_rsa(n, STR("")));
    assert_null(jws_key_of_rsa(n, STR("\x01")));
    assert_null(jws_key_of_rsa(n, STR("\x02")));
    assert_null(jws_key_of_rsa(n, STR("\x01\x00\x00\x00\x01"))); /* work for a client to give us */
    even[511] = 0;
    assert_null(jws_key_of_rsa((struct str){even, 512}, decoded("AQAB")));
    memcpy(off, y.p, 32);
    off[31] ^= 1;
    assert_null(jws_key_of_p256(x, (struct str){off, 32})); /* not on the curve */
    assert_null(jws_key_of_p256(x, (struct str){y.p, 31}));
    memset(off, 0, 32);
    assert_null(jws_key_of_p256((struct str){off, 32}, (struct str){off, 32}));
}

/* RFC 4231, case 6: a secret that is longer than a block. */
static void test_a_long_secret(void **state)
{
    (void)state;
    char secret[131];
    uint8_t mac[32];
    memset(secret, 0xaa, sizeof(secret));
    assert_true(hex_decode(STR("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
                           mac, 32));
    struct jws_key *key = jws_key_of_secret((struct str){secret, sizeof(secret)});
    assert_true(jws_verify(key, STR("Test Using Larger Than Block-Size Key - Hash Key First"),
                           (struct str){(char *)mac, 32}));
    jws_key_unref(&key);
}

static struct jws_key *load(const char *text, char error[256])
{
    char path[] = "/tmp/gateway-key-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    struct jws_key *key = jws_key_load(path, error, 256);
    unlink(path);
    return key;
}

static void test_keys_from_pem(void **state)
{
    (void)state;
    char error[256];
    struct jws_key *key = load("-----BEGIN PUBLIC KEY-----\n"
                               "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                               "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                               "-----END PUBLIC KEY-----\n",
                               error);
    assert_non_null(key);
    assert_int_equal(jws_key_algorithm(key), JWS_ES256);
    assert_true(jws_verify(key, str_from(examples[JWS_ES256].signed_text),
                           decoded(examples[JWS_ES256].signature)));
    struct jws_key *other = jws_key_ref(key);
    jws_key_unref(&key);
    assert_int_equal(jws_key_algorithm(other), JWS_ES256);
    jws_key_unref(&other);

    assert_null(load("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", error));
    assert_non_null(strstr(error, "not a public key in PEM"));
    assert_null(load("a secret", error));
    assert_non_null(strstr(error, "not a PEM file"));
    /* Of the curve P-384. */
    assert_null(load("-----BEGIN PUBLIC "
                     "KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEKI4LlQdDeJG2OUO9L5KGUl07K8cHiI4n\n"
                     "USlsprXgLxK8o6OQ+BRfn5ioR3HJz6STFa1Q2MEZMoJUgqQh9jEE0+Fvis2lEkAj\n"
                     "Z+xUNc3fXsJBMryeSNCVDtScmTF6clFM\n"
                     "-----END PUBLIC KEY-----\n",
                     error));
    assert_non_null(strstr(error, "neither an RSA key of 2048 to 4096 bits nor one of the curve"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rfc_s_examples),
        cmocka_unit_test(test_one_changed_bit_and_it_is_no_signature),
        cmocka_unit_test(test_es256_s_numbers_have_a_range),
        cmocka_unit_test(test_algorithms_by_name),
        cmocka_unit_test(test_keys_that_are_none),
        cmocka_unit_test(test_a_long_secret),
        cmocka_unit_test(test_keys_from_pem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
