/* The fields of a certificate: where they come from, what they may be, and that all that is wrong
 * is told at once. */
#include "certificates/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MANY = 16 };

/* One set of fields and one request to them. */
struct trial {
    struct config *config;
    struct fields *fields;
    struct input input;
    h2o_mem_pool_t pool;
    struct field_value values[MANY];
    struct field_fault fault_items[MANY];
    struct field_faults faults;
    char says[2048]; /* the configuration's errors */
};

static void begin(struct trial *trial, const char *fields)
{
    char *text;
    struct diag *diag = diag_create();
    memset(trial, 0, sizeof(*trial));
    assert_true(asprintf(&text,
                         "[upstreams.learner]\nurl = \"http://127.0.0.1:1\"\n"
                         "[certificates.c]\npath = \"/c\"\ntemplate = \"c.pdf\"\nregister = false\n"
                         "%s",
                         fields) > 0);
    trial->config = config_parse(str_from(text), "gateway.toml", "/", diag);
    trial->fields = fields_create(trial->config, &trial->config->certificates[0], NULL, diag);
    FILE *to = fmemopen(trial->says, sizeof(trial->says), "w");
    diag_print(diag, to);
    fclose(to);
    diag_destroy(&diag);
    free(text);
    h2o_mem_init_pool(&trial->pool);
    input_init(&trial->input);
    trial->faults.items = trial->fault_items;
    assert_true(trial->fields->count <= MANY);
}

static void end(struct trial *trial)
{
    fields_destroy(&trial->fields);
    config_destroy(&trial->config);
    input_fini(&trial->input);
    h2o_mem_clear_pool(&trial->pool);
}

static void ask(struct trial *trial, const char *query, enum input_body kind, const char *body,
                bool signed_link)
{
    const struct field_request request = {
        .input = &trial->input, .signed_link = signed_link, .pool = &trial->pool};
    assert_null(input_read_query(&trial->input, str_from(query), &trial->pool));
    if (kind != INPUT_NO_BODY)
        assert_null(input_read_body(&trial->input,
                                    kind == INPUT_JSON ? STR("application/json")
                                                       : STR("application/x-www-form-urlencoded"),
                                    str_from(body), &trial->pool));
    fields_from_request(trial->fields, &request, trial->values, &trial->faults);
}

static void check_value(const struct trial *trial, size_t i, const char *expected)
{
    struct str value = trial->values[i].value;
    assert_int_equal(value.n, strlen(expected));
    assert_memory_equal(value.p, expected, value.n);
}

static void check_fault(const struct trial *trial, size_t i, const char *field, const char *detail)
{
    assert_true(i < trial->faults.count);
    assert_true(str_eq(trial->fault_items[i].field, str_from(field)));
    assert_true(str_eq(trial->fault_items[i].detail, str_from(detail)));
}

static void test_a_value_is_taken_or_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *query, *value, *fault;
    } rows[] = {
        {"name=Ada", "Ada", NULL},
        {"name=++Ada%20+%09", "Ada", NULL},
        {"name=%ef%bb%bf%e2%80%8bAda%e2%81%a0", "Ada", NULL},    /* U+FEFF, U+200B, U+2060 */
        {"name=%e3%80%80%e5%b1%b1%c2%a0", "\xe5\xb1\xb1", NULL}, /* U+3000, U+00A0 around it */
        {"name=%3Cb%3E%26amp;%28%29%25PDF%7B%7Bx%7D%7D", "<b>&amp;()%PDF{{x}}", NULL},
        {"name=%e2%80%8e%d9%8a%e2%80%8f", "\xe2\x80\x8e\xd9\x8a\xe2\x80\x8f", NULL}, /* marks */
        {"name=a%e2%80%8db",
         "a\xe2\x80\x8d"
         "b",
         NULL}, /* a joiner */
        {"name=%f0%9f%8e%93", "\xf0\x9f\x8e\x93", NULL},
        {"", NULL, "is missing"},
        {"name=", NULL, "is missing"},
        {"name=+%20%e3%80%80", NULL, "is missing"},
        {"name=a&name=b", NULL, "is there twice"},
        {"name=%ff", NULL, "is not UTF-8"},
        {"name=%c0%80", NULL, "is not UTF-8"},
        {"name=%ed%a0%80", NULL, "is not UTF-8"},
        {"name=a%00b", NULL, "has a control character (U+0000)"},
        {"name=a%0ab", NULL, "has a control character (U+000A)"},
        {"name=a%7f", NULL, "has a control character (U+007F)"},
        {"name=a%c2%9bb", NULL, "has a control character (U+009B)"},
        {"name=a%e2%80%a8b", NULL, "has a line break (U+2028)"},
        {"name=a%e2%80%aeb", NULL, "has a character that turns the text's direction (U+202E)"},
        {"name=a%e2%80%aab", NULL, "has a character that turns the text's direction (U+202A)"},
        {"name=a%e2%81%a6b", NULL, "has a character that turns the text's direction (U+2066)"},
        {"name=a%e2%81%a9b", NULL, "has a character that turns the text's direction (U+2069)"},
        {"name=%ef%bf%bf", NULL, "has a code point that is no character (U+FFFF)"},
        {"name=%ef%b7%90", NULL, "has a code point that is no character (U+FDD0)"},
        {"name=%f0%9f%bf%be", NULL, "has a code point that is no character (U+1FFFE)"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trial trial;
        begin(&trial, "");
        ask(&trial, rows[i].query, INPUT_NO_BODY, NULL, false);
        if (rows[i].fault == NULL) {
            assert_int_equal(trial.faults.count, 0);
            check_value(&trial, 0, rows[i].value);
        } else {
            assert_int_equal(trial.faults.count, 1);
            check_fault(&trial, 0, "name", rows[i].fault);
        }
        end(&trial);
    }
}

static void test_length_counts_characters(void **state)
{
    (void)state;
    struct trial trial;
    begin(&trial, "[certificates.c.fields.name]\nmax_length = 3\n");
    ask(&trial, "name=%e6%bc%a2%e6%bc%a2%e6%bc%a2", INPUT_NO_BODY, NULL, false);
    assert_int_equal(trial.faults.count, 0);
    end(&trial);
    begin(&trial, "[certificates.c.fields.name]\nmax_length = 3\n");
    ask(&trial, "name=abcd", INPUT_NO_BODY, NULL, false);
    check_fault(&trial, 0, "name", "has 4 characters, more than 3");
    end(&trial);
}

static void test_a_pattern_is_of_the_whole_value(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *query;
        bool fits;
    } rows[] = {
        {"[a-z]+", "name=abc", true},
        {"[a-z]+", "name=abc1", false},
        {"[a-z]+", "name=1abc", false},
        {"a|b", "name=ab", false},
        {"a|ab", "name=ab", true},
        {"\\\\p{L}+", "name=%e6%bc%a2", true},
        {"\\\\p{L}+", "name=4", false},
        {".", "name=%f0%9f%8e%93", true},
        {"\\\\w+", "name=%c3%a9", true},
        {"[A-Z]{2}-\\\\d{4}", "name=AB-1234", true},
        {"[A-Z]{2}-\\\\d{4}", "name=AB-12345", false},
        {"(?i)yes|no", "name=No", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trial trial;
        char fields[200];
        snprintf(fields, sizeof(fields), "[certificates.c.fields.name]\npattern = \"%s\"\n",
                 rows[i].pattern);
        begin(&trial, fields);
        assert_string_equal(trial.says, "");
        ask(&trial, rows[i].query, INPUT_NO_BODY, NULL, false);
        assert_int_equal(trial.faults.count, rows[i].fits ? 0 : 1);
        if (!rows[i].fits)
            check_fault(&trial, 0, "name", "is not written as it should be");
        end(&trial);
    }
}

static void test_a_pattern_that_tries_for_ever_refuses_soon(void **state)
{
    (void)state;
    struct trial trial;
    char query[200] = "name=";
    memset(query + 5, 'a', 150);
    strcpy(query + 155, "%21");
    begin(&trial, "[certificates.c.fields.name]\npattern = \"((a+)+)+\"\n");
    uint64_t before_us = clock_us();
    ask(&trial, query, INPUT_NO_BODY, NULL, false);
    assert_true(clock_us() - before_us < 1000000); /* milliseconds; seconds would be ages */
    assert_int_equal(trial.faults.count, 1);
    end(&trial);
}

static void test_where_a_value_comes_from(void **state)
{
    (void)state;
    static const struct {
        const char *field, *query;
        enum input_body kind;
        const char *body;
        bool signed_link;
        const char *value; /* NULL: "is missing" */
    } rows[] = {
        {"", "name=q", INPUT_NO_BODY, NULL, false, "q"},
        {"", "name=q", INPUT_FORM, "name=f", false, "f"},
        {"", "name=q", INPUT_FORM, "other=f", false, "q"},
        {"", "name=q", INPUT_JSON, "{\"name\":\"j\"}", false, "j"},
        {"", "name=q", INPUT_FORM, "name=f", true, "q"}, /* who has a link can't change it */
        {"", "", INPUT_FORM, "name=f", true, "f"},
        {"from = \"query.n\"", "n=q", INPUT_FORM, "n=f&name=f", false, "q"},
        {"from = \"form.n\"", "n=q", INPUT_FORM, "n=f", false, "f"},
        {"from = \"form.n\"", "n=q", INPUT_JSON, "{\"n\":1}", false, NULL},
        {"from = \"json.a.b\"", "", INPUT_JSON, "{\"a\":{\"b\":1.50}}", false, "1.50"},
        {"from = \"json.a.b\"", "", INPUT_FORM, "a.b=1", false, NULL},
        {"value = \"always\"", "name=q", INPUT_NO_BODY, NULL, false, "always"},
        {"fallback = \"else\"", "", INPUT_NO_BODY, NULL, false, "else"},
        {"fallback = \"else\"", "name=", INPUT_NO_BODY, NULL, false, "else"},
        {"fallback = \"else\"", "name=q", INPUT_NO_BODY, NULL, false, "q"},
        {"required = false", "", INPUT_NO_BODY, NULL, false, ""},
        {"required = false\npattern = \"x+\"", "name=", INPUT_NO_BODY, NULL, false, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trial trial;
        char fields[200];
        snprintf(fields, sizeof(fields), "[certificates.c.fields.name]\n%s\n", rows[i].field);
        begin(&trial, fields);
        assert_string_equal(trial.says, "");
        ask(&trial, rows[i].query, rows[i].kind, rows[i].body, rows[i].signed_link);
        if (rows[i].value != NULL) {
            assert_int_equal(trial.faults.count, 0);
            check_value(&trial, 0, rows[i].value);
        } else {
            check_fault(&trial, 0, "name", "is missing");
        }
        end(&trial);
    }
}

static void test_all_faults_are_told_at_once(void **state)
{
    (void)state;
    struct trial trial;
    begin(&trial, "[certificates.c.fields.a]\n[certificates.c.fields.b]\nmax_length = 1\n"
                  "[certificates.c.fields.c]\nrequired = false\n[certificates.c.fields.d]\n");
    ask(&trial, "b=xx&d=%07&c=ok", INPUT_NO_BODY, NULL, false);
    assert_int_equal(trial.faults.count, 3);
    check_fault(&trial, 0, "a", "is missing");
    check_fault(&trial, 1, "b", "has 2 characters, more than 1");
    check_fault(&trial, 2, "d", "has a control character (U+0007)");
    check_value(&trial, 2, "ok");
    end(&trial);
}

static void test_parts_give_fields_by_where_their_data_is(void **state)
{
    (void)state;
    static const struct {
        const char *part, *from, *data, *value, *fault;
    } rows[] = {
        {"", "learner.name.full", "{\"learner\":{\"name\":{\"full\":\"Ada\"}}}", "Ada", NULL},
        {"into = \".\"", "learner.name", "{\"name\":\"Ada\"}", "Ada", NULL},
        {"into = \"a.b\"", "learner.name", "{\"a\":{\"b\":{\"name\":7}}}", "7", NULL},
        {"", "learner.name", "{}", NULL, "of the service's answer (learner.name) is missing"},
        {"", "learner.name", "{\"learner\":{\"name\":[]}}", NULL,
         "of the service's answer (learner.name) is not text"},
        {"", "learner.name", "{\"learner\":{\"name\":\"a\\u202eb\"}}", NULL,
         "of the service's answer (learner.name) has a character that turns the text's direction "
         "(U+202E)"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trial trial;
        struct json_doc doc;
        char fields[400];
        snprintf(fields, sizeof(fields),
                 "[certificates.c.fields.id]\n[certificates.c.fields.name]\nfrom = \"%s\"\n"
                 "[certificates.c.parts.learner]\n%s\n",
                 rows[i].from, rows[i].part);
        begin(&trial, fields);
        assert_string_equal(trial.says, "");
        assert_true(trial.fields->from_parts);
        ask(&trial, "id=1&name=forged", INPUT_NO_BODY, NULL, false);
        assert_int_equal(trial.faults.count, 0);
        assert_null(trial.values[1].value.p);
        json_doc_init(&doc);
        assert_int_equal(json_parse(&doc, rows[i].data, strlen(rows[i].data), 16, NULL), JSON_OK);
        fields_from_parts(trial.fields, json_root(&doc), &trial.pool, trial.values, &trial.faults);
        check_value(&trial, 0, "1");
        if (rows[i].fault == NULL)
            check_value(&trial, 1, rows[i].value);
        else
            check_fault(&trial, 0, "name", rows[i].fault);
        json_doc_fini(&doc);
        end(&trial);
    }
}

static void test_the_configurations_errors_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *says;
    } rows[] = {
        {"[certificates.c.fields.x]\nfrom = \"lerner.name\"\n",
         "gateway.toml:8:8: error: from: \"lerner.name\" begins with neither"},
        {"[certificates.c.fields.x]\nfrom = \"query\"\n",
         "gateway.toml:8:8: error: from: \"query\" names nothing; write \"query.NAME\""},
        {"[certificates.c.fields.x]\npattern = \"a(b\"\n",
         "gateway.toml:8:11: error: pattern: missing closing parenthesis, at character 3 of "
         "\"a(b\""},
        {"[certificates.c.fields.serial]\n", "\"serial\" is a reserved name"},
        {"[certificates.c.fields.sig]\n", "a field can't be named \"sig\""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trial trial;
        begin(&trial, rows[i].fields);
        assert_non_null(strstr(trial.says, rows[i].says));
        end(&trial);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_is_taken_or_refused_with_a_reason),
        cmocka_unit_test(test_length_counts_characters),
        cmocka_unit_test(test_a_pattern_is_of_the_whole_value),
        cmocka_unit_test(test_a_pattern_that_tries_for_ever_refuses_soon),
        cmocka_unit_test(test_where_a_value_comes_from),
        cmocka_unit_test(test_all_faults_are_told_at_once),
        cmocka_unit_test(test_parts_give_fields_by_where_their_data_is),
        cmocka_unit_test(test_the_configurations_errors_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
