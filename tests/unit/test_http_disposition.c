/* The names that downloads are saved under. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "http/http.h"

static const struct {
    struct str name;
    const char *value; /* after "attachment" */
} names[] = {
    {{NULL, 0}, ""},
    {{"", 0}, ""},
    {{"x.pdf", 5}, "; filename=\"x.pdf\""},
    {{"a b.txt", 7}, "; filename=\"a b.txt\""},
    {{"semi;colon=.txt", 15}, "; filename=\"semi;colon=.txt\""},
    {{"it's.txt", 8}, "; filename=\"it's.txt\""},
    {{"CON", 3}, "; filename=\"CON\""},
    {{"a/b", 3}, "; filename=\"a_b\""},
    {{"C:\\x\\y", 6}, "; filename=\"C:_x_y\""},
    {{"../../etc/passwd", 16}, "; filename=\"_._.._etc_passwd\""},
    {{".bashrc", 7}, "; filename=\"_bashrc\""},
    {{".", 1}, "; filename=\"_\""},
    {{"a\r\nSet-Cookie: b", 16}, "; filename=\"a__Set-Cookie: b\""},
    {{"a\0b\x7f", 4}, "; filename=\"a_b_\""},
    {{"5\" disk", 7}, "; filename=\"5_ disk\"; filename*=UTF-8''5%22%20disk"},
    {{"50%.txt", 7}, "; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"},
    {{"\xc3\xa4.txt", 6}, "; filename=\"_.txt\"; filename*=UTF-8''%C3%A4.txt"},
    {{"\xe2\x82\xac rates", 9}, "; filename=\"_ rates\"; filename*=UTF-8''%E2%82%AC%20rates"},
    {{"\xf0\x9f\x98\x80", 4}, "; filename=\"_\"; filename*=UTF-8''%F0%9F%98%80"},
    {{"\xff\xfe.txt", 6}, "; filename=\"__.txt\""},             /* no UTF-8 */
    {{"\xc0\xaf.txt", 6}, "; filename=\"__.txt\""},             /* an overlong slash */
    {{"\xc2\x85.txt", 6}, "; filename=\"_.txt\""},              /* C1 */
    {{"a\xe2\x80\xaegpj.exe", 11}, "; filename=\"a_gpj.exe\""}, /* right-to-left override */
    {{"a\xe2\x81\xa6gpj.exe", 11}, "; filename=\"a_gpj.exe\""}, /* isolate */
    {{"a*b'(c)", 7}, "; filename=\"a*b'(c)\""},
    {{"\xc3\xa9*'(c)", 7}, "; filename=\"_*'(c)\"; filename*=UTF-8''%C3%A9%2A%27%28c%29"},
};

static void test_names_are_told_and_harmless(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        h2o_mem_pool_t pool;
        char expected[256];
        h2o_mem_init_pool(&pool);
        struct str value = http_disposition(&pool, DISPOSITION_ATTACHMENT, names[i].name);
        snprintf(expected, sizeof(expected), "attachment%s", names[i].value);
        if (!str_eq(value, str_from(expected)))
            fail_msg("case %zu: %.*s", i, (int)value.n, value.p);
        h2o_mem_clear_pool(&pool);
    }
}

static void test_inline_keeps_the_name(void **state)
{
    (void)state;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct str value = http_disposition(&pool, DISPOSITION_INLINE, STR("x.pdf"));
    assert_true(str_eq(value, STR("inline; filename=\"x.pdf\"")));
    h2o_mem_clear_pool(&pool);
}

/* 4 KB of a character of `length` bytes, after `before` bytes of ASCII. */
static void check_long(const char *character, size_t length, size_t before)
{
    h2o_mem_pool_t pool;
    char name[4096 + 8];
    size_t n = before;
    memset(name, 'a', before);
    for (; n + length <= 4096; n += length)
        memcpy(name + n, character, length);
    h2o_mem_init_pool(&pool);
    struct str value = http_disposition(&pool, DISPOSITION_ATTACHMENT, (struct str){name, n});
    const char *encoded = memmem(value.p, value.n, "UTF-8''", 7);
    assert_non_null(encoded);
    size_t bytes = 0;
    for (const char *p = encoded + 7; p < value.p + value.n; p += *p == '%' ? 3 : 1)
        bytes++;
    assert_int_equal(bytes, before + (255 - before) / length * length);
    h2o_mem_clear_pool(&pool);
}

static void test_long_names_are_cut_between_characters(void **state)
{
    (void)state;
    for (size_t before = 0; before < 6; before++) {
        check_long("\xc3\xa4", 2, before);
        check_long("\xe2\x82\xac", 3, before);
        check_long("\xf0\x9f\x98\x80", 4, before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_told_and_harmless),
        cmocka_unit_test(test_inline_keeps_the_name),
        cmocka_unit_test(test_long_names_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
