/* Bodies: what is sent for which values, that no value leaves its place, and what check says. */
#include "pages_values.h"
#include "pages/json_body.h"

static bool compile(struct values *v, bool each, bool batch, struct str text,
                    struct json_body *body, char **messages_r)
{
    struct expand_scope scope = scope_of(each, batch);
    struct diag *diag = diag_create();
    bool good = body_compile(&v->pool, text, &scope, TOML_AT, diag, body);
    assert_int_equal(good, diag_errors(diag) == 0);
    *messages_r = messages_of(diag);
    diag_destroy(&diag);
    return good;
}

enum { SINGLE, EACH, BATCH, BATCH_OF_ONE };

static void test_values_stand_in_a_body_as_what_they_are(void **state)
{
    static const struct {
        int kind;
        const char *text, *body;
    } cases[] = {
        /* nothing varies: as it was written */
        {SINGLE, "{}", "{}"},
        {SINGLE, " { \"a\" : [ 1.10, null ] }\n", " { \"a\" : [ 1.10, null ] }\n"},
        {SINGLE, "\"\\u007b\\\"\"", "\"\\u007b\\\"\""},
        {SINGLE, "{\"{query.user}\": 1, \"}{\": 2}", "{\"{query.user}\": 1, \"}{\": 2}"},
        /* nothing but a variable: the value itself */
        {SINGLE, "\"{query.user}\"", "\"fred\""},
        {SINGLE, "{\"a\": \"{query.user}\", \"b\": \"{path.id}\"}",
         "{\"a\": \"fred\", \"b\": \"42\"}"},
        {SINGLE, "[\"{query.missing}\", \"{query.empty}\"]", "[null, \"\"]"},
        {SINGLE, "[\"{promo.n}\",\"{promo.big}\",\"{promo.zero}\"]",
         "[1.50,9223372036854775808,-0.00e5]"},
        {SINGLE, "[\"{promo.yes}\",\"{promo.null}\",\"{promo.missing}\",\"{gone}\",\"{gone.x}\"]",
         "[true,null,null,null,null]"},
        {SINGLE, "[\"{promo.category}\",\"{promo.escaped}\"]",
         "[\"hats & caps\",\"a\\u0022\\n\\\\\\u00e9\\ud83d\\ude00\"]"},
        {SINGLE, "{\"a\":\"{promo.object}\",\"b\":\"{promo.bare}\",\"c\":\"{recco}\"}",
         "{\"a\":{\"a\": {\"b\":[10,{\"c\":\"deep\"}]}},\"b\":{ },\"c\":[7,\"8\"]}"},
        {SINGLE, "\"{promo.object.a.b.1.c}\"", "\"deep\""},
        /* within other text: its text */
        {SINGLE, "\"user {query.user}, {query.missing}.\"", "\"user fred, .\""},
        {SINGLE, "\"{query.user}{query.user}\"", "\"fredfred\""},
        {SINGLE, "\"#{promo.n}/{promo.yes}/{promo.kind}/{recco.0}\"", "\"#1.50/true/a/b/7\""},
        {SINGLE, "\"<{promo.escaped}>\"", "\"<a\\u0022\\n\\\\\\u00e9\\ud83d\\ude00>\""},
        /* the braces themselves */
        {SINGLE, "\"{{query.user}}\"", "\"{query.user}\""},
        {SINGLE, "\"{{{query.user}}}\"", "\"{fred}\""},
        {SINGLE, "\"a {{ b }} c\"", "\"a { b } c\""},
        {SINGLE, "\"{{\"", "\"{\""},
        {SINGLE, "\"}}}}\"", "\"}}\""},
        /* hostile: each stays the string that it stands in */
        {SINGLE, "\"{query.quote}\"", "\"a\\\"b\\\\c\""},
        {SINGLE, "\"-{query.quote}\"", "\"-a\\\"b\\\\c\""},
        {SINGLE, "{\"q\": \"{query.json}\"}",
         "{\"q\": \"\\\",\\\"admin\\\":true,\\\"x\\\":\\\"\"}"},
        {SINGLE, "{\"q\": \"x{query.json}\"}",
         "{\"q\": \"x\\\",\\\"admin\\\":true,\\\"x\\\":\\\"\"}"},
        {SINGLE, "\"{query.crlf}\"", "\"a\\u000d\\u000aHost: evil\""},
        {SINGLE, "\"{query.nul}\"", "\"a\\u0000b\""},
        {SINGLE, "\"{query.markup}\"", "\"<script>alert('&')</script>\""},
        {SINGLE, "\"{query.braces}\"", "\"{query.user}}}\""},
        {SINGLE, "\"{query.umlaut}\"", "\"h\xc3\xb6me\""},
        {SINGLE, "\"{query.broken}\"",
         "\"\xef\xbf\xbd"
         "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\""},
        {SINGLE, "\"{promo.crlf}{promo.nul}\"", "\"a\\r\\nX: ya\\u0000b\""},
        /* an element */
        {EACH, "{\"id\":\"{item.id}\",\"n\":\"{item.name}!\",\"all\":\"{item}\"}",
         "{\"id\":1,\"n\":\"one!\",\"all\":{\"id\":1,\"name\":\"one\",\"tag\":\"a,b\",\"up\":\"x\","
         "\"late\":\"\"}"
         "}"},
        {EACH, "\"{item.missing}\"", "null"},
        /* a batch: all of them, in their order */
        {BATCH, "{\"ids\":\"{item.id}\",\"user\":\"{query.user}\"}",
         "{\"ids\":[1,null,\"2/3\",4],\"user\":\"fred\"}"},
        {BATCH, "\"{item.name}\"", "[\"one\",null,\"\",\"d\\\"\\u00e9\"]"},
        {BATCH, "\"ids: {item.id}\"", "\"ids: 1,2/3,4\""},
        {BATCH, "\"{item.name};\"", "\"one,,d\\\"\\u00e9;\""},
        {BATCH, "[\"{promo.n}\", \"{item.tag}\"]", "[1.50, [\"a,b\",null,[1,2],\"\\r\\n\"]]"},
        {BATCH_OF_ONE, "\"{item.id}\"", "[1]"},
        {BATCH_OF_ONE, "\"-{item.id}\"", "\"-1\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        static const size_t items[] = {1, 1, 4, 1};
        struct values v;
        struct json_body body;
        char *messages;
        values_init(&v);
        if (!compile(&v, cases[i].kind != SINGLE, cases[i].kind >= BATCH, str_from(cases[i].text),
                     &body, &messages))
            fail_msg("%s: %s", cases[i].text, messages);
        struct str text;
        const struct expand_variable *culprit;
        assert_int_equal(body_write(&body, text_of, value_of, &v, items[cases[i].kind], &v.pool,
                                    &text, &culprit),
                         EXPAND_OK);
        assert_null(culprit);
        if (!str_eq(text, str_from(cases[i].body)))
            fail_msg("%s became %.*s", cases[i].text, (int)text.n, text.p);
        struct json_doc doc;
        json_doc_init(&doc);
        assert_int_equal(json_parse(&doc, text.p, text.n, 128, NULL), JSON_OK);
        json_doc_fini(&doc);
        free(messages);
        values_fini(&v);
    }
}

static void test_no_text_is_no_body(void **state)
{
    (void)state;
    struct values v;
    struct json_body body;
    struct str text;
    const struct expand_variable *culprit;
    char *messages;
    values_init(&v);
    assert_true(compile(&v, false, false, STR(""), &body, &messages));
    assert_int_equal(body.count, 0);
    assert_int_equal(body_write(&body, text_of, value_of, &v, 1, &v.pool, &text, &culprit),
                     EXPAND_OK);
    assert_null(text.p);
    free(messages);
    values_fini(&v);
}

static void test_text_cannot_do_without_a_parts_scalar(void **state)
{
    static const struct {
        int kind;
        const char *text, *culprit; /* NULL: it can */
    } cases[] = {
        {SINGLE, "\"a {promo.missing}\"", "promo.missing"},
        {SINGLE, "\"a {promo.null}\"", "promo.null"},
        {SINGLE, "\"a {promo.object}\"", "promo.object"},
        {SINGLE, "\"a {promo.none}\"", "promo.none"},
        {SINGLE, "[\"{promo.null}\", \"{promo.n}-{gone}\"]", "gone"},
        {SINGLE, "\"a {promo.empty}\"", NULL},
        {SINGLE, "\"a {query.missing}\"", NULL},
        {EACH, "\"a {item.missing}\"", "item.missing"},
        {EACH, "\"a {item}\"", "item"},
        {BATCH, "\"a {item.missing}\"", "item.missing"},
        {BATCH, "\"a {item.tag}\"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct values v;
        struct json_body body;
        struct str text;
        const struct expand_variable *culprit;
        char *messages;
        values_init(&v);
        assert_true(compile(&v, cases[i].kind != SINGLE, cases[i].kind == BATCH,
                            str_from(cases[i].text), &body, &messages));
        enum expand_result result = body_write(
            &body, text_of, value_of, &v, cases[i].kind == BATCH ? 4 : 1, &v.pool, &text, &culprit);
        assert_int_equal(result, cases[i].culprit != NULL ? EXPAND_MISSING : EXPAND_OK);
        if (cases[i].culprit != NULL) {
            assert_true(str_eq(culprit->full, str_from(cases[i].culprit)));
            assert_null(text.p);
        }
        free(messages);
        values_fini(&v);
    }
}

static struct str long_value;

static struct str long_text(void *arg, const struct expand_variable *variable, size_t item)
{
    (void)arg;
    (void)variable;
    (void)item;
    return long_value;
}

static struct json_value long_json(void *arg, const struct expand_variable *variable, size_t item)
{
    (void)arg;
    (void)variable;
    (void)item;
    return json_from_text(&long_value);
}

static void test_a_body_has_a_greatest_length(void **state)
{
    static char bytes[BODY_MAX + 1];
    static const struct {
        const char *text;
        char fill;
        size_t length;
        size_t items;
        size_t body; /* 0 = too long */
    } cases[] = {
        {"\"{query.a}\"", 'x', BODY_MAX - 2, 1, BODY_MAX},
        {"\"{query.a}\"", 'x', BODY_MAX - 1, 1, 0},
        {"\"{query.a}\"", '\0', BODY_MAX / 6, 1, BODY_MAX / 6 * 6 + 2},
        {"\"{query.a}\"", '\0', BODY_MAX / 6 + 1, 1, 0},
        {"\"{promo.a}\"", '"', BODY_MAX / 2 - 1, 1, BODY_MAX},
        {"\"{promo.a}\"", '"', BODY_MAX / 2, 1, 0},
        {"\"-{promo.a}\"", 'x', BODY_MAX - 3, 1, BODY_MAX},
        {"\"-{promo.a}\"", 'x', BODY_MAX - 2, 1, 0},
        {"[\"{query.a}\",\"{query.a}\"]", 'x', BODY_MAX / 2 + 1, 1, 0},
        {"\"{item.a}\"", 'x', 10 * 1024, 10, 10 * (10 * 1024 + 2) + 11},
        {"\"{item.a}\"", 'x', BODY_MAX / 2, 1000, 0},
        {"\"-{item.a}\"", 'x', 10 * 1024, 1000, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        memset(bytes, cases[i].fill, sizeof(bytes));
        long_value = (struct str){bytes, cases[i].length};
        struct values v;
        struct json_body body;
        struct str text;
        const struct expand_variable *culprit;
        char *messages;
        values_init(&v);
        assert_true(compile(&v, true, true, str_from(cases[i].text), &body, &messages));
        enum expand_result result =
            body_write(&body, long_text, long_json, NULL, cases[i].items, &v.pool, &text, &culprit);
        assert_int_equal(result, cases[i].body != 0 ? EXPAND_OK : EXPAND_TOO_LONG);
        assert_int_equal(text.n, cases[i].body);
        assert_int_equal(culprit == NULL, cases[i].body != 0);
        free(messages);
        values_fini(&v);
    }
}

static void test_the_parts_that_a_body_needs_are_known(void **state)
{
    (void)state;
    struct values v;
    struct json_body body;
    char *messages;
    values_init(&v);
    assert_true(compile(&v, true, false,
                        STR("[\"{query.a}\",\"{gone.x}\",{\"a\":\"-{recco}\"},\"{item.id}\"]"),
                        &body, &messages));
    assert_int_equal(body.parts, 6);
    free(messages);
    values_fini(&v);
}

static void test_check_refuses_bodies_at_their_column(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {" ", "7:12: error: a body is JSON: no JSON value\n"},
        {"{\"a\": 1", "7:18: error: a body is JSON, and this one ends too early\n"},
        {"{\"a\": 1} x", "7:20: error: a body is JSON: trailing bytes after the value\n"},
        {"{'a': 1}", "7:12: error: a body is JSON, in which ''' can't stand here\n"},
        {"{\"a\": {query.user}}",
         "7:17: error: in a body a variable stands in a string: \"{query.user}\"\n"},
        {"{query.user}",
         "7:11: error: in a body a variable stands in a string: \"{query.user}\"\n"},
        {"[1,\x01]", "7:14: error: a body is JSON, in which byte 0x01 can't stand here\n"},
        {"\"\\x\"", "7:12: error: a body is JSON: bad escape in a string\n"},
        {"\"\\ud800\"", "7:12: error: a body is JSON: bad escape in a string\n"},
        {"\"a\xff\"", "7:13: error: a body is JSON: not UTF-8\n"},
        {"\"{query.user\"", "7:12: error: '{' without '}'; the brace itself is {{\n"},
        {"\"query.user}\"", "7:22: error: '}' without '{'; the brace itself is }}\n"},
        {"\"{{query.user}\"", "7:24: error: '}' without '{'; the brace itself is }}\n"},
        {"\"{}\"", "7:13: error: an expression needs a variable's name, like {query.user}\n"},
        {"\"{?query.a}\"", "7:13: error: \"?query.a\" is not a variable's name\n"},
        {"\"{query.a:3}\"", "7:20: error: \"query.a:3\" is not a variable's name\n"},
        {"\"{query\\u002ea}\"", "7:18: error: \"query\\u002ea\" is not a variable's name\n"},
        {"[\"x {prmo.x}\", \"{qeury.a}\"]",
         "7:16: error: unknown namespace \"prmo\"; did you mean \"promo\"?\n"
         "gateway.toml:7:28: error: unknown namespace \"qeury\"; did you mean \"query\"?\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct values v;
        struct json_body body;
        char *messages, *wanted;
        values_init(&v);
        if (compile(&v, false, false, str_from(cases[i].text), &body, &messages))
            fail_msg("%s was taken", cases[i].text);
        gw_assert(asprintf(&wanted, "gateway.toml:%s", cases[i].message) > 0);
        assert_string_equal(messages, wanted);
        free(wanted);
        free(messages);
        values_fini(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_stand_in_a_body_as_what_they_are),
        cmocka_unit_test(test_no_text_is_no_body),
        cmocka_unit_test(test_text_cannot_do_without_a_parts_scalar),
        cmocka_unit_test(test_a_body_has_a_greatest_length),
        cmocka_unit_test(test_the_parts_that_a_body_needs_are_known),
        cmocka_unit_test(test_check_refuses_bodies_at_their_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
