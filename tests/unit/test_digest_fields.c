/* Content-Digest and Repr-Digest: the examples of RFC 9530, and what is no Dictionary. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "files/digest_fields.h"

#define SHA256 "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
#define SHA512                                                                 \
    "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8" \
    "MjkM7iw7yZ/WkppmM44T3qg==:"

static void test_digests_of_known_algorithms_are_read(void **state)
{
    static const struct {
        const char *value;
        bool fine, sha256, sha512;
    } cases[] = {
        {SHA256, true, true, false},
        {SHA512, true, false, true},
        {SHA256 "," SHA512, true, true, true},
        {"  " SHA512 " \t, \t" SHA256 "  ", true, true, true},
        {"", true, false, false},
        {"md5=:AAAA:", true, false, false},
        {"md5, unixsum=30637;p=1;q, x=?1, y=tok/en, z=\"a,\\\"b\", l=(1 2.5;a \"x\")," SHA256, true,
         true, false},
        {SHA256 ";a=1", true, true, false},
        {SHA256 "," SHA256, true, true, false},
        {"sha-256", false, false, false},
        {"sha-256=abc", false, false, false},
        {"sha-256=:AAAA:", false, false, false},
        {"sha-256=::", false, false, false},
        {"sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=", false, false, false},
        {"sha-256=:RK_0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:", false, false, false},
        {"SHA-256=:AAAA:", false, false, false},
        {SHA256 ",", false, true, false},
        {"," SHA256, false, false, false},
        {SHA256 " " SHA512, false, true, false},
        {SHA256 ",sha-256=:AAAAQo+nKZ+gLcUHn7GQtQ72hiBVAgqoLsZnZPiTGPk=:", false, true, false},
        {"x=(1 2", false, false, false},
        {"x=(1\"a\")", false, false, false},
        {"x=\"a", false, false, false},
        {"x=-", false, false, false},
        {"x=?2", false, false, false},
        {"x=", false, false, false},
        {"x;", false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct digest_fields fields = {.has_sha256 = false};
        bool fine = digest_fields_read(&fields, str_from(cases[i].value));
        if (fine != cases[i].fine)
            print_message("%s\n", cases[i].value);
        assert_int_equal(fine, cases[i].fine);
        assert_int_equal(fields.has_sha256, cases[i].sha256);
        assert_int_equal(fields.has_sha512, cases[i].sha512);
    }
}

static void test_the_value_is_the_digest(void **state)
{
    struct digest_fields fields = {.has_sha256 = false};
    uint8_t digest[32];
    (void)state;
    assert_true(digest_fields_read(&fields, STR(SHA256)));
    sha256("{\"hello\": \"world\"}\n", 19, digest); /* RFC 9530 appendix B.1 */
    assert_memory_equal(fields.sha256, digest, 32);
}

static void test_two_lines_must_agree(void **state)
{
    struct digest_fields fields = {.has_sha256 = false};
    (void)state;
    assert_true(digest_fields_read(&fields, STR(SHA256)));
    assert_true(digest_fields_read(&fields, STR(SHA512)));
    assert_true(digest_fields_read(&fields, STR(SHA256)));
    assert_false(
        digest_fields_read(&fields, STR("sha-256=:AAAAQo+nKZ+gLcUHn7GQtQ72hiBVAgqoLsZnZPiTGPk=:")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests_of_known_algorithms_are_read),
        cmocka_unit_test(test_the_value_is_the_digest),
        cmocka_unit_test(test_two_lines_must_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
