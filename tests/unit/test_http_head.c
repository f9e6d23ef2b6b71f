/* Heads as they lie in a socket's buffer: which are let pass, and what the others are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "http/head.h"

#define HOST   "Host: a\r\n"
#define TEN(x) x x x x x x x x x x

static const struct {
    const char *name, *head;
    enum head_verdict verdict;
    int status;
} cases[] = {
    {"least of 1.1", "GET / HTTP/1.1\r\n" HOST "\r\n", HEAD_OK, 0},
    {"least of 1.0", "GET / HTTP/1.0\r\n\r\n", HEAD_OK, 0},
    {"1.0 with a host", "GET / HTTP/1.0\r\n" HOST "\r\n", HEAD_OK, 0},
    {"case of names", "GET / HTTP/1.1\r\nhOsT: a\r\n\r\n", HEAD_OK, 0},
    {"an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", HEAD_OK, 0},
    {"one empty line before", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HEAD_OK, 0},
    {"two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"a length", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n", HEAD_OK, 0},
    {"a length in blanks", "POST / HTTP/1.1\r\n" HOST "Content-Length: \t7 \r\n\r\n", HEAD_OK, 0},
    {"chunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n", HEAD_OK, 0},
    {"names that only begin alike",
     "GET / HTTP/1.1\r\n" HOST "Hostess: b\r\nContent-Length-Hint: x\r\nTE: trailers\r\n\r\n",
     HEAD_OK, 0},
    {"HTTP/2", "PRI * HTTP/2.0\r\n", HEAD_HTTP2, 0},

    {"nothing", "", HEAD_MORE, 0},
    {"a cut line", "GET / HTT", HEAD_MORE, 0},
    {"a cut line end", "GET / HTTP/1.1\r", HEAD_MORE, 0},
    {"a cut field", "GET / HTTP/1.1\r\nHost: a", HEAD_MORE, 0},
    {"no end", "GET / HTTP/1.1\r\n" HOST, HEAD_MORE, 0},
    {"half an end", "GET / HTTP/1.1\r\n" HOST "\r", HEAD_MORE, 0},

    {"no method", " / HTTP/1.1\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"no target", "GET HTTP/1.1\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"an empty target", "GET  HTTP/1.1\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"a blank in the target", "GET /a b HTTP/1.1\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"HTTP/0.9", "GET /\r\n\r\n", HEAD_REFUSED, 400},
    {"another protocol", "GET / ICAP/1.0\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"lower case", "GET / http/1.1\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"HTTP/1.10", "GET / HTTP/1.10\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"HTTP/2.0 of somebody else", "GET / HTTP/2.0\r\n" HOST "\r\n", HEAD_REFUSED, 505},
    {"HTTP/0.8", "GET / HTTP/0.8\r\n" HOST "\r\n", HEAD_REFUSED, 505},
    {"a TLS hello", "\x16\x03\x01\x02\n", HEAD_REFUSED, 400},

    {"a bare line feed after the request line", "GET / HTTP/1.1\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"a bare line feed after a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", HEAD_REFUSED, 400},
    {"a bare line feed at the end", "GET / HTTP/1.1\r\n" HOST "\n", HEAD_REFUSED, 400},
    {"a folded field", "GET / HTTP/1.1\r\n" HOST "X: b\r\n c\r\n\r\n", HEAD_REFUSED, 400},
    {"a field folded with a tab", "GET / HTTP/1.1\r\n" HOST "\tc\r\n\r\n", HEAD_REFUSED, 400},

    {"no host", "GET / HTTP/1.1\r\n\r\n", HEAD_REFUSED, 400},
    {"two hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", HEAD_REFUSED, 400},
    {"two hosts in 1.0", "GET / HTTP/1.0\r\n" HOST "host: b\r\n\r\n", HEAD_REFUSED, 400},
    {"two lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
     HEAD_REFUSED, 400},
    {"the same length twice",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\ncontent-length: 1\r\n\r\n", HEAD_REFUSED,
     400},
    {"a list of lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", HEAD_REFUSED,
     400},
    {"a signed length", "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", HEAD_REFUSED, 400},
    {"a negative length", "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", HEAD_REFUSED,
     400},
    {"a hexadecimal length", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", HEAD_REFUSED,
     400},
    {"an empty length", "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", HEAD_REFUSED, 400},
    {"a length past 2^64",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\n", HEAD_REFUSED, 400},
    {"a length and chunks",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     HEAD_REFUSED, 400},
    {"chunks and a length",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
     HEAD_REFUSED, 400},
    {"chunked twice",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     HEAD_REFUSED, 400},
    {"chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HEAD_REFUSED, 400},
    {"another coding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
     HEAD_REFUSED, 400},
    {"chunked in disguise", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n",
     HEAD_REFUSED, 400},

    {"no final coding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n",
     HEAD_REFUSED, 400},
    {"an empty coding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", HEAD_REFUSED, 400},
    {"chunked in a list", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked,\r\n\r\n",
     HEAD_REFUSED, 400},

    {"a blank before a colon", "GET / HTTP/1.1\r\n" HOST "X : b\r\n\r\n", HEAD_REFUSED, 400},
    {"a tab before a colon", "GET / HTTP/1.1\r\n" HOST "Content-Length\t: 1\r\n\r\n", HEAD_REFUSED,
     400},
    {"a blank in a name", "GET / HTTP/1.1\r\n" HOST "X Y: b\r\n\r\n", HEAD_REFUSED, 400},
    {"no name", "GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", HEAD_REFUSED, 400},
    {"no colon", "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", HEAD_REFUSED, 400},
    {"a name that is no token", "GET / HTTP/1.1\r\n" HOST "X(Y): b\r\n\r\n", HEAD_REFUSED, 400},
    {"a name beyond ASCII", "GET / HTTP/1.1\r\n" HOST "\xc3\xa4: b\r\n\r\n", HEAD_REFUSED, 400},
    {"every character of a name", "GET / HTTP/1.1\r\n" HOST "!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n",
     HEAD_OK, 0},
    {"a method that is no token", "G@T / HTTP/1.1\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"a tab in the target", "GET /a\tb HTTP/1.1\r\n" HOST "\r\n", HEAD_REFUSED, 400},
    {"a tab in a value", "GET / HTTP/1.1\r\n" HOST "X: a\tb\r\n\r\n", HEAD_OK, 0},
    {"a value beyond ASCII", "GET / HTTP/1.1\r\n" HOST "X: \xc3\xa4\xff\r\n\r\n", HEAD_OK, 0},
    {"a bare carriage return", "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", HEAD_REFUSED, 400},
    {"two carriage returns", "GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n", HEAD_REFUSED, 400},

    {"an expectation",
     "PUT / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n", HEAD_OK, 0},
    {"another expectation", "PUT / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n", HEAD_REFUSED, 417},
    {"two expectations",
     "PUT / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", HEAD_REFUSED,
     417},
    {"an expectation of 1.0", "PUT / HTTP/1.0\r\n" HOST "Expect: tea\r\n\r\n", HEAD_OK, 0},
    {"two upgrades", "GET / HTTP/1.1\r\n" HOST "Upgrade: a\r\nUpgrade: b\r\n\r\n", HEAD_OK, 0},
    {"two upgrades and a body",
     "PUT / HTTP/1.1\r\n" HOST "Upgrade: a\r\nUpgrade: b\r\nContent-Length: 1\r\n\r\n",
     HEAD_REFUSED, 400},

    {"101 fields", "GET / HTTP/1.1\r\n" HOST TEN(TEN("a:\r\n")) "\r\n", HEAD_REFUSED, 431},
};

static enum head_verdict scan_whole(struct head_scan *scan, const char *head, size_t n)
{
    char *exact = malloc(n + 1); /* so that a sanitizer sees a read past the end */
    memcpy(exact, head, n);
    *scan = (struct head_scan){0};
    char *tight = realloc(exact, n != 0 ? n : 1);
    enum head_verdict verdict = head_scan(scan, tight, n);
    free(tight);
    return verdict;
}

static void test_every_head_has_its_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct head_scan scan;
        enum head_verdict verdict = scan_whole(&scan, cases[i].head, strlen(cases[i].head));
        if (verdict != cases[i].verdict || scan.status != cases[i].status)
            fail_msg("%s: verdict %d, status %d (%s)", cases[i].name, verdict, scan.status,
                     scan.reason != NULL ? scan.reason : "");
        if (verdict == HEAD_REFUSED)
            assert_non_null(scan.reason);
    }
}

static void test_a_head_that_arrives_byte_by_byte_has_the_same_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct head_scan scan = {0};
        enum head_verdict verdict = HEAD_MORE;
        size_t length = strlen(cases[i].head);
        for (size_t n = 0; n <= length && verdict == HEAD_MORE; n++)
            verdict = head_scan(&scan, cases[i].head, n);
        if (verdict != cases[i].verdict || scan.status != cases[i].status)
            fail_msg("%s: verdict %d, status %d", cases[i].name, verdict, scan.status);
    }
}

static void test_no_control_character_passes_anywhere(void **state)
{
    static const char head[] =
        "GET /target HTTP/1.1\r\nHost: a.example\r\nX-Name: some value\r\n\r\n";
    (void)state;
    for (int c = 0; c < 0x80; c = c == 0x1f ? 0x7f : c + 1)
        for (size_t at = 0; at < sizeof(head) - 1; at++) {
            char changed[sizeof(head)];
            struct head_scan scan;
            if (c == '\t' || c == head[at])
                continue;
            memcpy(changed, head, sizeof(head));
            changed[at] = (char)c;
            enum head_verdict verdict = scan_whole(&scan, changed, sizeof(head) - 1);
            if (at == sizeof(head) - 2 && verdict == HEAD_MORE)
                continue; /* the end is missing */
            if (verdict != HEAD_REFUSED || scan.status != 400)
                fail_msg("%#x at %zu: verdict %d", c, at, verdict);
        }
}

static void test_what_is_hidden_is_gone_and_nothing_else(void **state)
{
    static const struct {
        const char *before, *after;
    } heads[] = {
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nupgrade: b\r\n\r\n",
         "PUT / HTTP/1.1\r\n" HOST "--------------: 1\r\n-------: b\r\n\r\n"},
        {"PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
         "PUT / HTTP/1.1\r\n" HOST "-----------------: chunked\r\n\r\n"},
        {"PUT / HTTP/1.1\r\n" HOST "Upgrade: b\r\n\r\n",
         "PUT / HTTP/1.1\r\n" HOST "Upgrade: b\r\n\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(heads); i++) {
        char head[128];
        struct head_scan scan = {0};
        strcpy(head, heads[i].before);
        assert_int_equal(head_scan(&scan, head, strlen(head)), HEAD_OK);
        assert_int_equal(scan.size, strlen(head));
        head_hide(&scan, head);
        assert_string_equal(head, heads[i].after);
        assert_false(head_hid(&scan, 0));
        for (size_t at = 1; at < strlen(head); at++)
            assert_int_equal(head_hid(&scan, at), head[at] == '-' && head[at - 1] == '\n');
    }
}

static void test_the_log_learns_method_and_target_of_a_refused_head(void **state)
{
    static const char head[] = "\r\nDELETE /x?y HTTP/1.1\r\nA: b\r\n\r\n";
    struct head_scan scan;
    (void)state;
    assert_int_equal(scan_whole(&scan, head, sizeof(head) - 1), HEAD_REFUSED);
    assert_true(str_eq((struct str){head + scan.start, scan.method_length}, STR("DELETE")));
    assert_true(str_eq((struct str){head + scan.target, scan.target_length}, STR("/x?y")));
}

/* "GET /aaa… HTTP/1.1", Host, X: bbb… */
static size_t make(char *to, size_t target, size_t fields, size_t value)
{
    char *p = to;
    p += sprintf(p, "GET /");
    memset(p, 'a', target - 1), p += target - 1;
    p += sprintf(p, " HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 1; i < fields; i++) {
        p += sprintf(p, "X: ");
        memset(p, 'b', value), p += value;
        p += sprintf(p, "\r\n");
    }
    p += sprintf(p, "\r\n");
    return (size_t)(p - to);
}

static void test_limits_are_exact(void **state)
{
    static const struct {
        size_t target, fields, value;
        enum head_verdict verdict;
        int status;
    } limits[] = {
        {HTTP_MAX_TARGET, 1, 0, HEAD_OK, 0},
        {HTTP_MAX_TARGET + 1, 1, 0, HEAD_REFUSED, 414},
        {HTTP_MAX_TARGET + 1000, 1, 0, HEAD_REFUSED, 414},
        {1, HTTP_MAX_FIELDS, 1, HEAD_OK, 0},
        {1, HTTP_MAX_FIELDS + 1, 1, HEAD_REFUSED, 431},
        {1, 2, HTTP_MAX_HEAD - 32, HEAD_OK, 0}, /* 32 KiB in all */
        {1, 2, HTTP_MAX_HEAD - 31, HEAD_REFUSED, 431},
        {1, 2, 4 * HTTP_MAX_HEAD, HEAD_REFUSED, 431},
        {4 * HTTP_MAX_HEAD, 2, 1, HEAD_REFUSED, 414},
    };
    char *head = malloc(8 * HTTP_MAX_HEAD);
    (void)state;
    for (size_t i = 0; i < COUNT(limits); i++) {
        size_t n = make(head, limits[i].target, limits[i].fields, limits[i].value);
        struct head_scan scan;
        enum head_verdict verdict = scan_whole(&scan, head, n);
        if (verdict != limits[i].verdict || scan.status != limits[i].status)
            fail_msg("limit %zu (head of %zu): verdict %d, status %d", i, n, verdict, scan.status);
        /* Even when no end ever comes. */
        struct head_scan cut = {0};
        if (verdict == HEAD_REFUSED && limits[i].fields <= 2 && n > HTTP_MAX_HEAD)
            assert_int_equal(head_scan(&cut, head, HTTP_MAX_HEAD), HEAD_REFUSED);
    }
    free(head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_head_has_its_verdict),
        cmocka_unit_test(test_a_head_that_arrives_byte_by_byte_has_the_same_verdict),
        cmocka_unit_test(test_no_control_character_passes_anywhere),
        cmocka_unit_test(test_what_is_hidden_is_gone_and_nothing_else),
        cmocka_unit_test(test_the_log_learns_method_and_target_of_a_refused_head),
        cmocka_unit_test(test_limits_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
