/* `when`: what holds, what doesn't, and what check says about conditions that can't be meant. */
#include "pages_values.h"

static bool compile(struct values *v, const char *text, struct when *when, char **messages_r)
{
    struct expand_scope scope = scope_of(false, false);
    struct diag *diag = diag_create();
    bool good = when_compile(&v->pool, str_from(text), &scope, TOML_AT, diag, when);
    assert_int_equal(good, diag_errors(diag) == 0);
    *messages_r = messages_of(diag);
    diag_destroy(&diag);
    return good;
}

static void test_a_condition_is_about_the_request_and_other_parts(void **state)
{
    static const struct {
        const char *text;
        bool holds;
    } cases[] = {
        {"", true},
        /* the request: there and not empty */
        {"query.user", true},
        {"query.missing", false},
        {"query.empty", false},
        {"query.zero", true},
        {"header.DNT", true},
        {"cookie.session", true},
        {"path.id", true},
        {"!query.user", false},
        {"!query.missing", true},
        {" ! query.missing\t", true},
        /* a part: anything but missing, null, false, 0, "", [], {} */
        {"promo", true},
        {"recco", true},
        {"gone", false},
        {"gone.a.b", false},
        {"!gone", true},
        {"promo.category", true},
        {"promo.category.deeper", false},
        {"promo.missing", false},
        {"promo.null", false},
        {"promo.no", false},
        {"promo.yes", true},
        {"promo.zero", false},
        {"promo.one", true},
        {"promo.n", true},
        {"promo.zeros", true},
        {"promo.empty", false},
        {"promo.none", false},
        {"promo.bare", false},
        {"promo.list", true},
        {"promo.object", true},
        {"promo.object.a.b.1.c", true},
        {"promo.object.a.b.2", false},
        {"recco.0", true},
        {"recco.2", false},
        {"promo.a%2Eb == 'dotted'", true},
        /* comparing: text with text */
        {"query.user == 'fred'", true},
        {"query.user=='fred'", true},
        {"query.user == \"fred\"", true},
        {"query.user == 'Fred'", false},
        {"query.user != 'fred'", false},
        {"query.user != 'bob'", true},
        {"query.missing == ''", true},
        {"query.missing != ''", false},
        {"query.empty == ''", true},
        {"query.quote == 'a\"b\\c'", true},
        {"query.json == '\",\"admin\":true,\"x\":\"'", true},
        {"promo.category == 'hats & caps'", true},
        {"promo.n == '1.50'", true},
        {"promo.n == '1.5'", false},
        {"promo.big == '9223372036854775808'", true},
        {"promo.yes == 'true'", true},
        {"promo.no == 'false'", true},
        {"promo.null == ''", true},
        {"promo.null == 'null'", false},
        {"promo.list == ''", true},
        {"promo.object != ''", false},
        {"promo.missing == ''", true},
        {"gone == ''", true},
        {"promo.escaped == 'a\"\n\\\xc3\xa9\xf0\x9f\x98\x80'", true},
        {"recco.1 == '8'", true},
        {"recco.0 == '7'", true},
        {"query.user == '|| query.missing'", false},
        /* && binds tighter than || */
        {"query.user && promo.category", true},
        {"query.user && promo.null", false},
        {"promo.null && query.user", false},
        {"query.missing || promo.category", true},
        {"query.missing || promo.null", false},
        {"query.user || query.missing && promo.null", true},
        {"query.missing && promo.null || query.user", true},
        {"query.missing && query.user || promo.null", false},
        {"promo.null || query.user && query.missing || promo.no", false},
        {"promo.null||query.user&&query.zero||promo.no", true},
        {"promo.category && !query.plain", true},
        {"query.a||query.b||query.c||query.d||query.e||query.f||query.g||query.h||query.i||query.j|"
         "|"
         "query.k||query.l||query.m||query.n||query.o||query.user",
         true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct values v;
        struct when when;
        char *messages;
        values_init(&v);
        if (!compile(&v, cases[i].text, &when, &messages))
            fail_msg("%s: %s", cases[i].text, messages);
        if (when_holds(&when, text_of, value_of, &v, &v.pool) != cases[i].holds)
            fail_msg("%s: %s", cases[i].text, cases[i].holds ? "didn't hold" : "held");
        free(messages);
        values_fini(&v);
    }
}

struct counted {
    struct values values;
    size_t asked;
};

static struct str counting_text(void *arg, const struct expand_variable *variable, size_t item)
{
    struct counted *c = arg;
    c->asked++;
    return text_of(&c->values, variable, item);
}

static struct json_value counting_value(void *arg, const struct expand_variable *variable,
                                        size_t item)
{
    struct counted *c = arg;
    c->asked++;
    return value_of(&c->values, variable, item);
}

static void test_what_cannot_change_the_answer_is_not_looked_at(void **state)
{
    static const struct {
        const char *text;
        size_t asked;
    } cases[] = {
        {"query.user || promo.category", 1},
        {"query.missing && promo.category && promo.yes", 1},
        {"query.missing && promo.category || promo.yes", 2},
        {"query.user && promo.category || promo.yes && promo.one", 2},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct counted c = {.asked = 0};
        struct when when;
        char *messages;
        values_init(&c.values);
        assert_true(compile(&c.values, cases[i].text, &when, &messages));
        when_holds(&when, counting_text, counting_value, &c, &c.values.pool);
        assert_int_equal(c.asked, cases[i].asked);
        free(messages);
        values_fini(&c.values);
    }
}

static void test_the_parts_that_a_condition_asks_about_are_known(void **state)
{
    static const struct {
        const char *text;
        uint64_t parts;
    } cases[] = {
        {"", 0},
        {"query.user", 0},
        {"promo.category", 1},
        {"recco && !gone.x", 6},
        {"gone || promo == 'promo' && gone", 5},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct values v;
        struct when when;
        char *messages;
        values_init(&v);
        assert_true(compile(&v, cases[i].text, &when, &messages));
        assert_int_equal(when.parts, cases[i].parts);
        free(messages);
        values_fini(&v);
    }
}

static void test_check_refuses_conditions_at_their_column(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {" ", "12: error: here a name is needed, like query.debug\n"},
        {"!", "12: error: here a name is needed, like query.debug\n"},
        {"!!query.a", "12: error: here a name is needed, like query.debug\n"},
        {"query.a &&", "21: error: here a name is needed, like query.debug\n"},
        {"query.a && || query.b", "22: error: here a name is needed, like query.debug\n"},
        {"|| query.b", "11: error: here a name is needed, like query.debug\n"},
        {"query.a & query.b", "19: error: write &&\n"},
        {"query.a | query.b", "19: error: write ||\n"},
        {"query.a = 'b'", "19: error: write == to compare\n"},
        {"query.a === 'b'", "21: error: a name is compared with a text in quotes, like 'yes'\n"},
        {"query.a == b", "22: error: a name is compared with a text in quotes, like 'yes'\n"},
        {"query.a == ", "22: error: a name is compared with a text in quotes, like 'yes'\n"},
        {"query.a == 'b", "22: error: ' without the one that ends the text\n"},
        {"query.a == \"b'", "22: error: \" without the one that ends the text\n"},
        {"'b' == query.a", "11: error: a text stands behind == or !=, a name before it\n"},
        {"!query.a == 'b'", "11: error: '!' goes with a name alone; compare with !=\n"},
        {"(query.a)", "11: error: a condition has no parentheses: && binds tighter than ||\n"},
        {"query.a && (query.b || query.c)",
         "22: error: a condition has no parentheses: && binds tighter than ||\n"},
        {"query.a query.b", "19: error: here &&, ||, == or != is needed\n"},
        {"query.a == 'b' 'c'", "26: error: here &&, ||, == or != is needed\n"},
        {"user",
         "11: error: \"user\" must be path.NAME, query.NAME, header.NAME or cookie.NAME, or "
         "a part; did you mean \"query.user\"?\n"},
        {"query", "11: error: \"query\" lacks a name: query.NAME\n"},
        {"query.a && prmo.x", "22: error: unknown namespace \"prmo\"; did you mean \"promo\"?\n"},
        {"promo.", "11: error: \"promo.\" lacks a name: promo.NAME\n"},
        {"promo..a", "17: error: \".a\" has an empty key\n"},
        {"path.nmae", "11: error: the page's path has no parameter \"nmae\"\n"},
        {"query.a*b", "18: error: \"query.a*b\" is not a variable's name\n"},
        {"{query.a}", "11: error: \"{query.a}\" is not a variable's name\n"},
        {"item.id", "11: error: unknown namespace \"item\" (known: path, query, header, cookie and "
                    "the page's parts)\n"},
        {"qeury.a || hedaer.b",
         "11: error: unknown namespace \"qeury\"; did you mean \"query\"?\n"
         "gateway.toml:7:22: error: unknown namespace \"hedaer\"; did you mean \"header\"?\n"},
        {"query.a||query.b||query.c||query.d||query.e||query.f||query.g||query.h||query.i||query.j|"
         "|"
         "query.k||query.l||query.m||query.n||query.o||query.p||query.q",
         "155: error: a condition has at most 16 tests\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct values v;
        struct when when;
        char *messages, *wanted;
        values_init(&v);
        if (compile(&v, cases[i].text, &when, &messages))
            fail_msg("%s was taken", cases[i].text);
        gw_assert(asprintf(&wanted, "gateway.toml:7:%s", cases[i].message) > 0);
        assert_string_equal(messages, wanted);
        free(wanted);
        free(messages);
        values_fini(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_condition_is_about_the_request_and_other_parts),
        cmocka_unit_test(test_what_cannot_change_the_answer_is_not_looked_at),
        cmocka_unit_test(test_the_parts_that_a_condition_asks_about_are_known),
        cmocka_unit_test(test_check_refuses_conditions_at_their_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
