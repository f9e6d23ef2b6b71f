/* The header fields of tus: what is taken, what is refused, what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "files/tus_headers.h"

static h2o_mem_pool_t pool;

static int set_up(void **state)
{
    (void)state;
    h2o_mem_init_pool(&pool);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    h2o_mem_clear_pool(&pool);
    return 0;
}

static void test_lengths_and_offsets_are_digits_below_two_to_the_63(void **state)
{
    static const struct {
        const char *text;
        bool valid;
        uint64_t number;
    } cases[] = {
        {"0", true, 0},
        {"00012", true, 12},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"18446744073709551616", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {"1 ", false, 0},
        {"0x10", false, 0},
        {"1.0", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t number = 77;
        assert_int_equal(tus_parse_number(str_from(cases[i].text), &number), cases[i].valid);
        assert_int_equal(number, cases[i].valid ? cases[i].number : 77);
    }
    uint64_t number;
    assert_false(tus_parse_number((struct str){NULL, 0}, &number));
}

static void test_checksums_have_a_known_algorithm_and_its_length(void **state)
{
    static const struct {
        const char *text;
        enum tus_parsed parsed;
        enum digest_kind kind;
        size_t n;
    } cases[] = {
        {"sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", TUS_PARSED, DIGEST_SHA1, 20},
        {"SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", TUS_PARSED, DIGEST_SHA1, 20},
        {"sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", TUS_PARSED, DIGEST_SHA256, 32},
        {"md5 1B2M2Y8AsgTpgAmY7PhCfg==", TUS_PARSED, DIGEST_MD5, 16},
        {"crc32 AAAAAA==", TUS_PARSED, DIGEST_CRC32, 4},
        {"crc32 AAAAAA", TUS_MALFORMED, DIGEST_CRC32, 0},
        {"crc32  AAAAAA==", TUS_MALFORMED, DIGEST_CRC32, 0},
        {"crc32 AAAAAA== ", TUS_MALFORMED, DIGEST_CRC32, 0},
        {"crc32 AAAAAB==", TUS_MALFORMED, DIGEST_CRC32, 0}, /* bits that stand for nothing */
        {"crc32 AAAA", TUS_MALFORMED, DIGEST_CRC32, 0},
        {"md5 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", TUS_MALFORMED, DIGEST_CRC32, 0},
        {"sha512 AAAA", TUS_UNKNOWN, DIGEST_CRC32, 0},
        {"sha AAAA", TUS_UNKNOWN, DIGEST_CRC32, 0},
        {"sha1", TUS_MALFORMED, DIGEST_CRC32, 0},
        {"sha1 ", TUS_MALFORMED, DIGEST_CRC32, 0},
        {" sha1", TUS_MALFORMED, DIGEST_CRC32, 0},
        {"", TUS_MALFORMED, DIGEST_CRC32, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tus_checksum checksum;
        assert_int_equal(tus_parse_checksum(str_from(cases[i].text), &checksum), cases[i].parsed);
        if (cases[i].parsed == TUS_PARSED) {
            assert_int_equal(checksum.kind, cases[i].kind);
            assert_int_equal(checksum.n, cases[i].n);
        }
    }
    struct tus_checksum checksum;
    assert_int_equal(tus_parse_checksum(STR("crc32 3q2+7w=="), &checksum), TUS_PARSED);
    assert_memory_equal(checksum.value, "\xde\xad\xbe\xef", 4);
}

static void test_the_file_name_comes_out_of_the_metadata(void **state)
{
    static const struct {
        const char *text, *name;
    } cases[] = {
        {"", ""},
        {"filename YS50eHQ=", "a.txt"},
        {"filename YS50eHQ=,filetype dGV4dC9wbGFpbg==", "a.txt"},
        {"relativePath bnVsbA==, filename YS50eHQ= ,is_confidential", "a.txt"},
        {"name Yg==,filename YS50eHQ=", "a.txt"},
        {"name Yg==", "b"},
        {"name Yg==,filename", "b"},
        {"filename ", ""},
        {"filename,type", ""},
        {"filename Li4vLi4vZXRjL3Bhc3N3ZA==", "passwd"}, /* ../../etc/passwd */
        {"filename QzpceFx5LnR4dA==", "y.txt"},          /* C:\x\y.txt */
        {"filename YS8=", ""},                           /* a/ */
        {"filename w6Twn5iALnR4dA==", "\xc3\xa4\xf0\x9f\x98\x80.txt"},
        {"filename YWL/LnR4dA==", "ab\xef\xbf\xbd.txt"},           /* ab, 0xff, .txt */
        {"filename 7aCA", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* half a surrogate */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str name;
        assert_int_equal(tus_parse_metadata(&pool, str_from(cases[i].text), &name), TUS_PARSED);
        assert_int_equal(name.n, strlen(cases[i].name));
        assert_memory_equal(name.p, cases[i].name, name.n);
    }
    struct str name;
    assert_int_equal(tus_parse_metadata(&pool, (struct str){NULL, 0}, &name), TUS_PARSED);
    assert_int_equal(name.n, 0);
}

static void test_malformed_metadata_is_refused(void **state)
{
    static const char *const cases[] = {
        "filename a",
        "filename YS50eHQ",
        "filename  YS50eHQ=",
        "filename YS50eHQ= x",
        "filename YS50eHQ=,",
        ",filename YS50eHQ=",
        ",",
        "a,,b",
        "filename YQ==,filename",
        "k YQ==,k YQ==",
        "n\xc3\xa4me YQ==",
        "a\tb",
        "filename YS-0eHQ=",
        "a\x01",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str name;
        assert_int_equal(tus_parse_metadata(&pool, str_from(cases[i]), &name), TUS_MALFORMED);
    }
}

static void test_metadata_has_a_ceiling(void **state)
{
    char text[TUS_METADATA_MAX + 2] = "filename ";
    struct str name;
    (void)state;
    memset(text + 9, 'A', sizeof(text) - 9);
    assert_int_equal(tus_parse_metadata(&pool, (struct str){text, TUS_METADATA_MAX + 1}, &name),
                     TUS_TOO_LONG);
    assert_int_equal(tus_parse_metadata(&pool, (struct str){text, 9 + 4080}, &name), TUS_PARSED);
    assert_int_equal(name.n, 3060);

    size_t n = 0;
    for (int i = 0; i < 65; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%sk%d", i != 0 ? "," : "", i);
    assert_int_equal(tus_parse_metadata(&pool, (struct str){text, n}, &name), TUS_TOO_LONG);
    assert_int_equal(tus_parse_metadata(&pool, (struct str){text, n - 4}, &name), TUS_PARSED);
}

static void test_keys_that_are_fields_are_recorded_as_a_form_would(void **state)
{
    static struct str items[] = {{"title", 5}, {"two words", 9}, {"note", 4}};
    static const struct config_strings known = {.items = items, .count = COUNT(items)};
    static const struct {
        const char *text, *fields;
    } cases[] = {
        {"", ""},
        {"filename YS50eHQ=,filetype dGV4dC9wbGFpbg==", ""},
        {"title dWJlciAiYSI=,filename YS50eHQ=", "{\"title\":\"uber \\\"a\\\"\"}"},
        {"note Yg==,other Yw==,title YQ==", "{\"title\":\"a\",\"note\":\"b\"}"},
        {"note", "{\"note\":\"\"}"},
        {"NOTE Yg==,two YQ==,words YQ==", ""},
        {"note YWL/", "{\"note\":\"ab\xef\xbf\xbd\"}"}, /* ab, 0xff */
        {"two%20words YQ==", "{\"two words\":\"a\"}"},
        {"n%6fte Yg==,%,%2 YQ==", "{\"note\":\"b\"}"},
        {"note Yg==,", ""}, /* never accepted, never recorded */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str fields = tus_metadata_fields(&pool, str_from(cases[i].text), &known);
        assert_true(str_eq(fields, str_from(cases[i].fields)));
    }
    const struct config_strings none = {0};
    assert_int_equal(tus_metadata_fields(&pool, STR("note Yg=="), &none).n, 0);
}

static void test_a_printed_name_reads_back(void **state)
{
    struct str name, printed = tus_print_metadata(&pool, STR("r\xc3\xa9sum\xc3\xa9, final.pdf"));
    (void)state;
    assert_int_equal(tus_parse_metadata(&pool, printed, &name), TUS_PARSED);
    assert_true(str_eq(name, STR("r\xc3\xa9sum\xc3\xa9, final.pdf")));
    assert_int_equal(tus_print_metadata(&pool, STR("")).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths_and_offsets_are_digits_below_two_to_the_63),
        cmocka_unit_test(test_checksums_have_a_known_algorithm_and_its_length),
        cmocka_unit_test(test_the_file_name_comes_out_of_the_metadata),
        cmocka_unit_test(test_malformed_metadata_is_refused),
        cmocka_unit_test(test_metadata_has_a_ceiling),
        cmocka_unit_test(test_keys_that_are_fields_are_recorded_as_a_form_would),
        cmocka_unit_test(test_a_printed_name_reads_back),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
