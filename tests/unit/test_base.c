/* Diagnostics, buffers, output vectors and log values. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/cpus.h"
#include "base/diag.h"
#include "base/log.h"
#include "base/out.h"

static void test_errors_are_printed_in_the_order_of_the_file(void **state)
{
    (void)state;
    struct diag *diag = diag_create();
    diag_error(diag, (struct pos){"b.toml", 2, 1}, "second file");
    diag_error(diag, (struct pos){"a.toml", 10, 3}, "late %d", 1);
    diag_warning(diag, (struct pos){"a.toml", 2, 9}, "column 9");
    diag_error(diag, (struct pos){"a.toml", 2, 1}, "line\nbreak");
    diag_error(diag, (struct pos){"a.toml", 0, 0}, "whole file");
    diag_error(diag, (struct pos){NULL, 0, 0}, "nowhere");
    assert_int_equal(diag_errors(diag), 5);

    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    diag_print(diag, to);
    fclose(to);
    assert_string_equal(text, "error: nowhere\n"
                              "a.toml: error: whole file\n"
                              "a.toml:2:1: error: line?break\n"
                              "a.toml:2:9: warning: column 9\n"
                              "a.toml:10:3: error: late 1\n"
                              "b.toml:2:1: error: second file\n");
    free(text);
    diag_destroy(&diag);
    assert_null(diag);
}

static void test_nearest_is_a_likely_typo_or_nothing(void **state)
{
    (void)state;
    static const char *const keys[] = {"timeout", "template", "path", "deadline", "url"};
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        {"timeuot", "timeout"},    {"tmeout", "timeout"}, {"templates", "template"},
        {"pth", "path"},           {"paht", "path"},      {"ulr", "url"},
        {"colour", NULL},          {"x", NULL},           {"", NULL},
        {"dead_line", "deadline"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *found = diag_nearest(str_from(rows[i].word), keys, COUNT(keys));
        if (rows[i].nearest == NULL)
            assert_null(found);
        else
            assert_string_equal(found, rows[i].nearest);
    }
}

static void test_a_buffer_stops_at_its_ceiling_and_keeps_what_it_had(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    assert_true(buf_append(&buf, "12345", 5));
    assert_false(buf_append(&buf, "123456", 6));
    assert_true(buf_append(&buf, "67890", 5));
    assert_false(buf_append(&buf, "x", 1));
    assert_true(buf_append(&buf, "", 0));
    assert_true(str_eq(buf_str(&buf), STR("1234567890")));
    buf_clear(&buf);
    assert_true(buf_append(&buf, "again", 5));
    assert_false(buf_reserve(&buf, SIZE_MAX));
    buf_fini(&buf);
}

static void test_output_keeps_its_order_and_points_at_large_slices(void **state)
{
    (void)state;
    static char large[3000];
    memset(large, 'L', sizeof(large));
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct out out;
    out_init(&out, &pool, 8);
    struct buf expected;
    buf_init(&expected, 1 << 20);
    for (unsigned i = 0; i < 50; i++) {
        out_str(&out, STR("head "));
        out_number(&out, i * 1000003UL);
        out_refer(&out, large, sizeof(large));
        out_refer(&out, "short", 5);
        out_json_escaped(&out, STR("a\"\\\n\x01z"));
        buf_printf(&expected, "head %lu", i * 1000003UL);
        buf_append(&expected, large, sizeof(large));
        buf_printf(&expected, "short%s", "a\\\"\\\\\\u000a\\u0001z");
    }
    assert_int_equal(out_size(&out), expected.n);
    h2o_iovec_t *vecs;
    size_t count = out_vecs(&out, &vecs), at = 0, pointed = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(at + vecs[i].len <= expected.n);
        assert_memory_equal(vecs[i].base, expected.p + at, vecs[i].len);
        at += vecs[i].len;
        pointed += vecs[i].base == large;
    }
    assert_int_equal(at, expected.n);
    assert_int_equal(pointed, 50);
    buf_fini(&expected);
    h2o_mem_clear_pool(&pool);
}

static void test_log_values_cannot_break_a_line(void **state)
{
    (void)state;
    assert_string_equal(log_quote(STR("plain")), "plain");
    assert_string_equal(log_quote(STR("two words")), "\"two words\"");
    assert_string_equal(log_quote(STR("a\nlevel=error")), "\"a?level=error\"");
    assert_string_equal(log_quote(STR("say \"hi\"\\")), "\"say \\\"hi\\\"\\\\\"");
    assert_string_equal(log_quote(STR("")), "\"\"");
}

static void test_a_cpu_quota_counts_in_whole_cpus(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned cpus;
    } rows[] = {{"max 100000\n", 0},   {"100000 100000\n", 1}, {"150000 100000\n", 2},
                {"50000 100000\n", 1}, {"400000 100000", 4},   {"", 0},
                {"100000", 0},         {"0 100000", 0},        {"100000 0", 0},
                {"nonsense 100000", 0}};
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(cpus_of_quota(str_from(rows[i].text)), rows[i].cpus);
    assert_true(cpus_available() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_are_printed_in_the_order_of_the_file),
        cmocka_unit_test(test_nearest_is_a_likely_typo_or_nothing),
        cmocka_unit_test(test_a_buffer_stops_at_its_ceiling_and_keeps_what_it_had),
        cmocka_unit_test(test_output_keeps_its_order_and_points_at_large_slices),
        cmocka_unit_test(test_log_values_cannot_break_a_line),
        cmocka_unit_test(test_a_cpu_quota_counts_in_whole_cpus),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
