/* The chunked transfer coding: what is decoded, and what is refused; at once and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "http/chunked.h"

static const struct {
    const char *name, *coded, *body;
    enum chunked_verdict verdict;
    size_t behind; /* bytes that are not the body's */
} cases[] = {
    {"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", CHUNKED_END, 0},
    {"chunks", "2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n", "hello", CHUNKED_END, 0},
    {"none", "0\r\n\r\n", "", CHUNKED_END, 0},
    {"a request behind", "1\r\na\r\n0\r\n\r\nGET / HTTP", "a", CHUNKED_END, 10},
    {"line ends as data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", CHUNKED_END, 0},
    {"hexadecimal of both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
     "01234567890123456789a", CHUNKED_END, 0},
    {"zeros before the size", "005\r\nhello\r\n000\r\n\r\n", "hello", CHUNKED_END, 0},
    {"as many digits as there may be", "000000000000001\r\na\r\n0\r\n\r\n", "a", CHUNKED_END, 0},
    {"an extension", "1;a\r\na\r\n0;b\r\n\r\n", "a", CHUNKED_END, 0},
    {"an extension with a value", "1;a=b\r\na\r\n0\r\n\r\n", "a", CHUNKED_END, 0},
    {"extensions in blanks", "1 ;\ta = b ; c = \"d e\\\";\" ;e\r\na\r\n0\r\n\r\n", "a", CHUNKED_END,
     0},
    {"trailers", "1\r\na\r\n0\r\nA: b\r\nContent-Length:7\r\nC:\r\n\r\nX", "a", CHUNKED_END, 1},

    {"nothing yet", "", "", CHUNKED_MORE, 0},
    {"half a size", "1", "", CHUNKED_MORE, 0},
    {"half a line end", "1\r", "", CHUNKED_MORE, 0},
    {"half a chunk", "5\r\nhel", "hel", CHUNKED_MORE, 0},
    {"no last chunk", "5\r\nhello\r\n", "hello", CHUNKED_MORE, 0},
    {"half the end", "5\r\nhello\r\n0\r\n\r", "hello", CHUNKED_MORE, 0},
    {"a huge chunk", "fffffffffffffff\r\na", "a", CHUNKED_MORE, 0},

    {"no size", "\r\n", "", CHUNKED_BAD, 0},
    {"no number", "x\r\n", "", CHUNKED_BAD, 0},
    {"a sign", "+1\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a prefix", "0x1\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a blank before the size", " 1\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a blank behind the size", "1 \r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"too many digits", "0000000000000001\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a size past 2^64", "10000000000000001\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a bare line feed behind the size", "1\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a bare carriage return behind the size", "1\ra\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a bare line feed behind the data", "1\r\na\n0\r\n\r\n", "a", CHUNKED_BAD, 0},
    {"two carriage returns behind the data", "1\r\na\r\r\n0\r\n\r\n", "a", CHUNKED_BAD, 0},
    {"data longer than its size", "1\r\nab\r\n0\r\n\r\n", "a", CHUNKED_BAD, 0},
    {"data shorter than its size", "3\r\na\r\n0\r\n\r\n", "a\r\n", CHUNKED_BAD, 0},
    {"a bare line feed in an extension", "1;a\nb\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a line end in a quoted value", "1;a=\"b\r\n\"\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"an escaped line end", "1;a=\"b\\\r\n\"\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"an extension without a name", "1;\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"an extension without a value", "1;a=\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"blanks behind an extension", "1;a \r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"text behind a quoted value", "1;a=\"b\"c\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a value out of place", "1=a\r\na\r\n0\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a bare line feed at the end", "0\r\n\n", "", CHUNKED_BAD, 0},
    {"a bare line feed in a trailer", "0\r\nA: b\n\r\n", "", CHUNKED_BAD, 0},
    {"a control character in a trailer", "0\r\nA: \x01\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a trailer without a name", "0\r\n: b\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a trailer without a colon", "0\r\nGET / HTTP/1.1\r\n\r\n", "", CHUNKED_BAD, 0},
    {"a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", "", CHUNKED_BAD, 0},
};

static void test_chunks_are_decoded_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = strlen(cases[i].coded), length = n, used;
        char *bytes = malloc(n + 1);
        struct chunked chunked = {0};
        memcpy(bytes, cases[i].coded, n + 1);
        enum chunked_verdict verdict = chunked_decode(&chunked, bytes, &n, &used);
        if (verdict != cases[i].verdict || n != strlen(cases[i].body) ||
            memcmp(bytes, cases[i].body, n) != 0)
            fail_msg("%s: verdict %d, %zu bytes", cases[i].name, verdict, n);
        if (verdict == CHUNKED_END) {
            assert_int_equal(length - used, cases[i].behind);
            assert_string_equal(bytes + used, cases[i].coded + used); /* untouched */
        }
        free(bytes);
    }
}

static void test_wherever_they_part_the_bytes_are_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char body[64];
        size_t total = 0;
        struct chunked chunked = {0};
        enum chunked_verdict verdict = CHUNKED_MORE;
        const char *p = cases[i].coded;
        for (; *p != '\0' && verdict == CHUNKED_MORE; p++) {
            char byte = *p;
            size_t n = 1, used;
            verdict = chunked_decode(&chunked, &byte, &n, &used);
            assert_int_equal(used, 1);
            if (n != 0)
                body[total++] = byte;
        }
        if (verdict != cases[i].verdict || total != strlen(cases[i].body) ||
            memcmp(body, cases[i].body, total) != 0)
            fail_msg("%s: verdict %d, %zu bytes", cases[i].name, verdict, total);
        if (verdict == CHUNKED_END)
            assert_int_equal(strlen(p), cases[i].behind);
    }
}

/* Feeds `text` over and over until it isn't taken any more; how many bytes that took. */
static size_t taken_of(struct chunked *chunked, const char *text)
{
    for (size_t total = 0; total < 1 << 20; total++) {
        char byte = text[total % strlen(text)];
        size_t n = 1, used;
        if (chunked_decode(chunked, &byte, &n, &used) == CHUNKED_BAD)
            return total;
    }
    return SIZE_MAX;
}

static void test_what_is_not_the_body_has_limits(void **state)
{
    struct chunked one = {0}, many = {0}, trailers = {0};
    char end[] = "0\r\n";
    size_t n = 3, used;
    (void)state;
    assert_true(taken_of(&one,
                         "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                         "\r\na\r\n") < 2 * CHUNKED_MAX_EXTENSIONS);
    assert_true(taken_of(&many, "1;a\r\nx\r\n") < 8 * CHUNKED_MAX_EXTENSIONS);
    assert_int_equal(chunked_decode(&trailers, end, &n, &used), CHUNKED_MORE);
    assert_int_equal(taken_of(&trailers, "A: b\r\n"), CHUNKED_MAX_TRAILERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_are_decoded_or_refused),
        cmocka_unit_test(test_wherever_they_part_the_bytes_are_the_same),
        cmocka_unit_test(test_what_is_not_the_body_has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
