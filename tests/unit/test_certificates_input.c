/* What a request sends: forms and queries decoded as they were sent, or refused; JSON read by
 * paths; names that are there twice. */
#include "certificates/input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define FORM "application/x-www-form-urlencoded"

static h2o_mem_pool_t pool;
static struct input input;

static int setup(void **state)
{
    (void)state;
    h2o_mem_init_pool(&pool);
    input_init(&input);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    input_fini(&input);
    h2o_mem_clear_pool(&pool);
    return 0;
}

static void again(void)
{
    input_fini(&input);
    input_init(&input);
}

static void check_text(struct str text, const char *expected, size_t n)
{
    assert_int_equal(text.n, n);
    if (n != 0)
        assert_memory_equal(text.p, expected, n);
}

static void test_a_form_is_what_was_sent(void **state)
{
    (void)state;
    static const struct {
        const char *sent;
        enum input_found found;
        const char *name;
        size_t n;
    } rows[] = {
        {"name=Ada", INPUT_TEXT, "Ada", 3},
        {"name=Ada+Lovelace", INPUT_TEXT, "Ada Lovelace", 12},
        {"name=Ada%20Lovelace", INPUT_TEXT, "Ada Lovelace", 12},
        {"n%61me=%41da", INPUT_TEXT, "Ada", 3},
        {"a=1&name=Ada&b=2", INPUT_TEXT, "Ada", 3},
        {"&&name=Ada&", INPUT_TEXT, "Ada", 3},
        {"name=a=b", INPUT_TEXT, "a=b", 3},
        {"name=a%26name%3db", INPUT_TEXT, "a&name=b", 8},
        {"name=%00", INPUT_TEXT, "\0", 1},
        {"name=%ff%fe", INPUT_TEXT, "\xff\xfe", 2},
        {"name=%e6%bc%a2", INPUT_TEXT, "\xe6\xbc\xa2", 3},
        {"name=", INPUT_TEXT, "", 0},
        {"name", INPUT_TEXT, "", 0},
        {"name=%25", INPUT_TEXT, "%", 1},
        {"Name=Ada", INPUT_ABSENT, "", 0},
        {"=Ada", INPUT_ABSENT, "", 0},
        {"", INPUT_ABSENT, "", 0},
        {"name=a&name=b", INPUT_TWICE, "", 0},
        {"name=a&n%61me=a", INPUT_TWICE, "", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct str text = {NULL, 0}, sent = str_from(rows[i].sent);
        assert_null(input_read_body(&input, STR(FORM), sent, &pool));
        assert_int_equal(input_pair(&input.form, STR("name"), &text), rows[i].found);
        if (rows[i].found == INPUT_TEXT)
            check_text(text, rows[i].name, rows[i].n);
        again();
        assert_null(input_read_query(&input, sent, &pool));
        assert_int_equal(input_pair(&input.query, STR("name"), &text), rows[i].found);
        assert_int_equal(input_pair(&input.form, STR("name"), &text), INPUT_ABSENT);
        again();
    }
}

static void test_escapes_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"name=%",   "name=%4",   "name=%zz",  "%=1",
                                       "name=a%2", "x=1&y=%g0", "name=100%", "a%%41=b"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *wrong = input_read_body(&input, STR(FORM), str_from(rows[i]), &pool);
        assert_non_null(wrong);
        assert_non_null(strstr(wrong, "the form has a %"));
        again();
        wrong = input_read_query(&input, str_from(rows[i]), &pool);
        assert_non_null(wrong);
        assert_non_null(strstr(wrong, "the query has a %"));
        again();
    }
}

static void test_a_form_has_at_most_a_thousand_parameters(void **state)
{
    (void)state;
    char text[2 * (INPUT_PAIRS_MAX + 1)];
    memset(text, '&', sizeof(text));
    for (size_t i = 0; i < sizeof(text); i += 2)
        text[i] = 'a';
    struct str most = {text, 2 * INPUT_PAIRS_MAX - 1}, more = {text, 2 * INPUT_PAIRS_MAX + 1};
    assert_null(input_read_body(&input, STR(FORM), most, &pool));
    assert_int_equal(input.form.count, INPUT_PAIRS_MAX);
    again();
    assert_string_equal(input_read_body(&input, STR(FORM), more, &pool),
                        "there are more than 1000 parameters");
}

static void test_json_is_read_by_paths(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *path[4];
        enum input_found found;
        const char *text;
    } rows[] = {
        {"{\"name\":\"Ada\"}", {"name"}, INPUT_TEXT, "Ada"},
        {"{\"a\":{\"b\":{\"c\":\"x\"}}}", {"a", "b", "c"}, INPUT_TEXT, "x"},
        {"{\"n\\u0061me\":\"\\u0041da\"}", {"name"}, INPUT_TEXT, "Ada"},
        {"{\"name\":1.10}", {"name"}, INPUT_TEXT, "1.10"},
        {"{\"name\":18446744073709551617}", {"name"}, INPUT_TEXT, "18446744073709551617"},
        {"{\"name\":true}", {"name"}, INPUT_TEXT, "true"},
        {"{\"name\":false}", {"name"}, INPUT_TEXT, "false"},
        {"{\"name\":null}", {"name"}, INPUT_ABSENT, NULL},
        {"{}", {"name"}, INPUT_ABSENT, NULL},
        {"{\"name\":\"x\"}", {"name", "first"}, INPUT_ABSENT, NULL},
        {"{\"name\":{}}", {"name"}, INPUT_NOT_TEXT, NULL},
        {"{\"name\":[\"x\"]}", {"name"}, INPUT_NOT_TEXT, NULL},
        {"{\"name\":[\"x\"]}", {"name", "0"}, INPUT_ABSENT, NULL},
        {"{\"name\":\"a\",\"name\":\"b\"}", {"name"}, INPUT_TWICE, NULL},
        {"{\"name\":\"a\",\"n\\u0061me\":\"a\"}", {"name"}, INPUT_TWICE, NULL},
        {"{\"a\":{\"b\":1},\"a\":{\"b\":1}}", {"a", "b"}, INPUT_TWICE, NULL},
        {"{\"b\":1,\"b\":2,\"name\":\"x\"}", {"name"}, INPUT_TEXT, "x"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct str text = {NULL, 0}, path[4];
        size_t count = 0;
        for (; count < COUNT(path) && rows[i].path[count] != NULL; count++)
            path[count] = str_from(rows[i].path[count]);
        assert_null(
            input_read_body(&input, STR("application/json"), str_from(rows[i].json), &pool));
        assert_int_equal(input_json(json_root(&input.json), path, count, &pool, &text),
                         rows[i].found);
        if (rows[i].text != NULL)
            check_text(text, rows[i].text, strlen(rows[i].text));
        again();
    }
}

static void test_json_that_is_none_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
    } rows[] = {
        {"{\"name\":\"Ada\"", "the body is not JSON"},
        {"{\"name\":\"Ada\"}x", "the body is not JSON: trailing bytes after the value at byte 14"},
        {"{name:1}", "the body is not JSON"},
        {"{\"name\":\"\xff\"}", "the body is not JSON"},
        {"{\"name\":\"\\ud800\"}", "the body is not JSON"},
        {"[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "the body is not JSON"},
        {"[]", "the body is not a JSON object"},
        {"\"Ada\"", "the body is not a JSON object"},
        {"null", "the body is not a JSON object"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *wrong =
            input_read_body(&input, STR("application/json"), str_from(rows[i].json), &pool);
        assert_non_null(wrong);
        assert_ptr_equal(strstr(wrong, rows[i].says), wrong);
        again();
    }
}

static void test_the_media_type_says_what_a_body_is(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        enum input_body body;
    } rows[] = {
        {"application/x-www-form-urlencoded", INPUT_FORM},
        {"Application/X-WWW-Form-Urlencoded; charset=UTF-8", INPUT_FORM},
        {"multipart/form-data; boundary=x", INPUT_FORM},
        {"application/json", INPUT_JSON},
        {"application/json;charset=\"utf-8\"", INPUT_JSON},
        {"application/json; charset=iso-8859-1", INPUT_NO_BODY},
        {"application/jsonp", INPUT_NO_BODY},
        {"text/plain", INPUT_NO_BODY},
        {"", INPUT_NO_BODY},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(input_body_of(str_from(rows[i].type)), rows[i].body);
}

#define PART(name, value) \
    "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static void test_a_form_in_parts_is_a_form(void **state)
{
    (void)state;
    static const struct {
        const char *type, *body, *says; /* says: NULL = is read */
        enum input_found found;
        const char *name;
    } rows[] = {
        {"; boundary=b", PART("name", "Ada") "--b--\r\n", NULL, INPUT_TEXT, "Ada"},
        {"; boundary=b", PART("a", "1") PART("name", "A=d&a%20") PART("c", "") "--b--", NULL,
         INPUT_TEXT, "A=d&a%20"},
        {"; boundary=b", PART("name", "a\r\n--x\r\nb") "--b--", NULL, INPUT_TEXT, "a\r\n--x\r\nb"},
        {"; boundary=b", PART("name", "a") PART("name", "b") "--b--", NULL, INPUT_TWICE, NULL},
        {"; boundary=b", "--b--", NULL, INPUT_ABSENT, NULL},
        {"; boundary=b", PART("name", "Ada"), "the form ends before its last boundary", 0, NULL},
        {"", PART("name", "Ada") "--b--", "the form's Content-Type has no boundary", 0, NULL},
        {"; boundary=b",
         "--b\r\nContent-Disposition: form-data; name=\"name\"; filename=\"x\"\r\n\r\n1\r\n--b--",
         "the form has a file, and no file is taken here", 0, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char type[100];
        struct str text = {NULL, 0};
        snprintf(type, sizeof(type), "multipart/form-data%s", rows[i].type);
        const char *wrong = input_read_body(&input, str_from(type), str_from(rows[i].body), &pool);
        if (rows[i].says != NULL) {
            assert_string_equal(wrong, rows[i].says);
        } else {
            assert_null(wrong);
            assert_int_equal(input_pair(&input.form, STR("name"), &text), rows[i].found);
            if (rows[i].name != NULL)
                check_text(text, rows[i].name, strlen(rows[i].name));
        }
        again();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_form_is_what_was_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_escapes_that_are_none_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_form_has_at_most_a_thousand_parameters, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_json_is_read_by_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json_that_is_none_is_refused, setup, teardown),
        cmocka_unit_test(test_the_media_type_says_what_a_body_is),
        cmocka_unit_test_setup_teardown(test_a_form_in_parts_is_a_form, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
