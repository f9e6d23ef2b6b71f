/* What bytes of text mean, byte by byte: every byte is asked, so that no range is off by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/text.h"

static void test_digits_letters_and_token_characters(void **state)
{
    static const char digits[] = "0123456789";
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static const char others[] = "!#$%&'*+-.^_`|~";
    static const char hexadecimal[] = "00112233445566778899aAbBcCdDeEfF";
    (void)state;
    for (int byte = -128; byte < 128; byte++) {
        char c = (char)byte;
        bool digit = c != '\0' && strchr(digits, c) != NULL;
        bool letter = c != '\0' && strchr(letters, c) != NULL;
        const char *hex = c != '\0' ? strchr(hexadecimal, c) : NULL;
        assert_int_equal(is_digit(c), digit);
        assert_int_equal(is_letter(c), letter);
        assert_int_equal(is_letter_or_digit(c), digit || letter);
        assert_int_equal(is_token_char(c),
                         digit || letter || (c != '\0' && strchr(others, c) != NULL));
        assert_int_equal(hex_value(c), hex != NULL ? (hex - hexadecimal) / 2 : -1);
        assert_int_equal(has_control((struct str){&c, 1}), (byte >= 0 && byte < 32) || byte == 127);
    }
    assert_true(is_token(STR("X-Own_1")));
    assert_false(is_token(STR("")));
    assert_false(is_token(STR("a b")));
    assert_false(has_control((struct str){NULL, 0}));
}

static void test_lists_are_cut_into_trimmed_items(void **state)
{
    static const char *const items[] = {"a b", "", "c", ""};
    struct str list = STR(" a b\t,, c ,  ");
    (void)state;
    for (size_t i = 0; i < COUNT(items); i++) {
        assert_true(list.n != 0);
        assert_true(str_eq(next_item(&list, ','), str_from(items[i])));
    }
    assert_int_equal(list.n, 0);
    list = (struct str){NULL, 0};
    assert_int_equal(next_item(&list, ',').n, 0);
    list = STR("last");
    assert_true(str_eq(next_item(&list, ','), STR("last")));
    assert_int_equal(next_item(&list, ',').n, 0);
    assert_int_equal(trimmed(STR(" \t ")).n, 0);
}

static void test_escapes(void **state)
{
    static const struct {
        struct str text;
        int byte;
    } cases[] = {
        {{"%41", 3}, 'A'}, {{"%fF", 3}, 255}, {{"%00x", 4}, 0}, {{"%4", 2}, -1},
        {{"%", 1}, -1},    {{"%4g", 3}, -1},  {{"%g4", 3}, -1}, {{"A41", 3}, -1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(percent_byte(cases[i].text.p, cases[i].text.p + cases[i].text.n),
                         cases[i].byte);
    assert_int_equal(hex4_value("00e9"), 0xe9);
    assert_int_equal(hex4_value("FFFF"), 0xffff);
    assert_int_equal(hex4_value("00g9"), -1);
}

/* Every code point in its one form is UTF-8, and nothing else that begins like it (RFC 3629). */
static void test_utf8_of_every_code_point(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x200000; code++) {
        char p[4];
        size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        for (size_t i = n; i-- > 1;)
            p[i] = (char)(0x80 | (code >> 6 * (n - 1 - i) & 0x3f));
        p[0] = (char)(n == 1 ? code : (0xf00u >> n & 0xff) | code >> 6 * (n - 1));
        bool good = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        assert_int_equal(utf8_length(p, p + n), good ? n : 0);
        if (!good)
            continue;
        assert_int_equal(utf8_decode(p, n), code);
        if (n > 1) {
            assert_int_equal(utf8_length(p, p + n - 1), 0);
            p[n - 1] = 'x';
            assert_int_equal(utf8_length(p, p + n), 0);
        }
    }
}

static void test_utf8_is_refused_at_its_first_bad_byte(void **state)
{
    static const struct {
        struct str text;
        size_t good;
    } cases[] = {
        {{NULL, 0}, 0},           {{"caf\xc3\xa9", 5}, 5},
        {{"a\x80", 2}, 1},        {{"a\xc3", 2}, 1},
        {{"\xc0\xaf", 2}, 0}, /* overlong */
        {{"\xe0\x9f\xbf", 3}, 0}, {{"\xf0\x8f\xbf\xbf", 4}, 0},
        {{"\xed\xa0\x80", 3}, 0}, {{"\xf4\x90\x80\x80", 4}, 0},
        {{"\xff", 1}, 0},         {{"\xe2\x82\xac\xe2\x82", 5}, 3},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(utf8_valid_length(cases[i].text), cases[i].good);
        assert_int_equal(utf8_valid(cases[i].text), cases[i].good == cases[i].text.n);
    }
}

static void test_names_of_fields_as_application_servers_read_them(void **state)
{
    (void)state;
    assert_true(same_field(STR("X-User"), STR("x-user")));
    assert_true(same_field(STR("x_uSER"), STR("X-User")));
    assert_true(same_field(STR("a^_"), STR("A^-")));
    assert_false(same_field(STR("a^"), STR("a~")));
    assert_false(same_field(STR("x-user"), STR("x-user-id")));
    assert_false(same_field(STR("@"), STR("`")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digits_letters_and_token_characters),
        cmocka_unit_test(test_names_of_fields_as_application_servers_read_them),
        cmocka_unit_test(test_lists_are_cut_into_trimmed_items),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_utf8_of_every_code_point),
        cmocka_unit_test(test_utf8_is_refused_at_its_first_bad_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
