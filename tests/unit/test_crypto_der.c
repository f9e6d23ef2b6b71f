/* DER: what is written is read again, and nothing else is. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include "crypto/der.h"

/* A copy of its own, so that a sanitizer sees what is read past it. */
static struct str exact(struct str bytes)
{
    char *copy = malloc(bytes.n != 0 ? bytes.n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes.p, bytes.n);
    return (struct str){copy, bytes.n};
}

static const struct {
    struct str bytes;
    const char *what;
} malformed[] = {
    {STR(""), "nothing"},
    {STR("\x04"), "a tag alone"},
    {STR("\x04\x01"), "no content"},
    {STR("\x04\x05"
         "1234"),
     "content that is cut"},
    {STR("\x04\x80\x00\x00"), "a length left open (BER)"},
    {STR("\x04\x81\x01x"), "a long form for a short length"},
    {STR("\x04\x82\x00\x01x"), "a length with a zero before"},
    {STR("\x04\x82\x01"), "a length that is cut"},
    {STR("\x04\x84\xff\xff\xff\xffx"), "four gigabytes"},
    {STR("\x04\x85\x01\x00\x00\x00\x00x"), "a length of five octets"},
    {STR("\x04\xff"), "a length of 127 octets"},
    {STR("\x1f\x81\x01\x00"), "a tag of several octets"},
};

static void test_what_is_not_der_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(malformed); i++) {
        struct str bytes = exact(malformed[i].bytes), at = bytes, value = STR("untouched");
        if (der_read_any(&at, NULL, &value, NULL) || der_read(&at, 0x04, &value) ||
            !str_eq(value, STR("untouched")) || at.p != bytes.p || at.n != bytes.n)
            fail_msg("%s", malformed[i].what);
        free((void *)(uintptr_t)bytes.p);
    }
}

static void test_lengths_of_all_sizes_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 127, 128, 255, 256, 65535, 65536, 100000};
    uint8_t *room = malloc(100010);
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct der_writer writer = der_writer(room, 100010);
        char *content = calloc(1, sizes[i] + 1);
        der_put_value(&writer, DER_OCTET_STRING, (struct str){content, sizes[i]});
        struct str at = der_written(&writer), whole = at, value, again;
        uint8_t tag;
        assert_true(der_read_any(&at, &tag, &value, &again));
        assert_int_equal(tag, DER_OCTET_STRING);
        assert_int_equal(value.n, sizes[i]);
        assert_true(again.p == whole.p && again.n == whole.n && at.n == 0);
        free(content);
    }
    free(room);
}

static void test_integers_are_small_positive_and_shortest(void **state)
{
    static const struct {
        struct str bytes;
        int32_t value; /* -1: refused */
    } integers[] = {
        {STR("\x02\x01\x00"), 0},       {STR("\x02\x01\x7f"), 127},
        {STR("\x02\x02\x00\x80"), 128}, {STR("\x02\x04\x7f\xff\xff\xff"), INT32_MAX},
        {STR("\x02\x00"), -1},          {STR("\x02\x01\x80"), -1},
        {STR("\x02\x02\x00\x7f"), -1},  {STR("\x02\x05\x00\x80\x00\x00\x00"), -1},
        {STR("\x04\x01\x01"), -1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(integers); i++) {
        struct str at = integers[i].bytes;
        int32_t value = -1;
        bool taken = der_read_int(&at, &value);
        assert_int_equal(taken, integers[i].value >= 0);
        assert_int_equal(value, integers[i].value);
        assert_int_equal(at.n, taken ? 0 : integers[i].bytes.n);
    }
}

static void test_optional_elements_are_absent_or_right(void **state)
{
    struct str at = STR("\x05\x00"), value = STR("x");
    (void)state;
    assert_true(der_read_optional(&at, DER_SET, &value));
    assert_null(value.p);
    assert_true(der_read_optional(&at, DER_NULL, &value));
    assert_non_null(value.p);
    assert_int_equal(at.n, 0);
    assert_true(der_read_optional(&at, DER_NULL, &value));
    assert_null(value.p);
    at = STR("\x31\x05\x00");
    assert_false(der_read_optional(&at, DER_SET, &value));
}

static void test_algorithms_have_a_name_and_at_most_one_parameter(void **state)
{
    struct str at, oid, parameters;
    (void)state;
    for (int null = 0; null < 2; null++) {
        uint8_t room[32];
        struct der_writer writer = der_writer(room, sizeof(room));
        der_put_algorithm(&writer, STR("\x2a\x03"), null);
        at = der_written(&writer);
        assert_true(der_read_algorithm(&at, &oid, &parameters));
        assert_true(str_eq(oid, STR("\x2a\x03")));
        assert_int_equal(parameters.n, null ? 2 : 0);
    }
    at = STR("\x30\x08\x06\x02\x2a\x03\x05\x00\x05\x00");
    assert_false(der_read_algorithm(&at, &oid, &parameters));
    at = STR("\x30\x02\x05\x00");
    assert_false(der_read_algorithm(&at, &oid, &parameters));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_der_is_refused),
        cmocka_unit_test(test_lengths_of_all_sizes_come_back),
        cmocka_unit_test(test_integers_are_small_positive_and_shortest),
        cmocka_unit_test(test_optional_elements_are_absent_or_right),
        cmocka_unit_test(test_algorithms_have_a_name_and_at_most_one_parameter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
