/* Expansion with other parts' data and elements of `each`: URLs, batches as lists, headers. */
#include "pages_values.h"

enum { SINGLE, EACH, BATCH, BATCH_OF_ONE };
static const size_t items_of[] = {1, 1, 4, 1};

static bool compile_for(struct values *v, bool header, int kind, const char *text,
                        struct expansion *expansion, char **messages_r)
{
    struct expand_scope scope = scope_of(kind != SINGLE, kind >= BATCH);
    struct diag *diag = diag_create();
    bool good = (header ? expand_compile_text : expand_compile)(&v->pool, str_from(text), &scope,
                                                                TOML_AT, diag, expansion);
    assert_int_equal(good, diag_errors(diag) == 0);
    *messages_r = messages_of(diag);
    diag_destroy(&diag);
    return good;
}

static void test_other_parts_values_go_into_urls(void **state)
{
    static const struct {
        int kind;
        const char *text, *target; /* NULL: refused */
        enum expand_result result;
        const char *culprit;
    } cases[] = {
        {SINGLE, "/r?c={promo.category}", "/r?c=hats%20%26%20caps", 0, NULL},
        {SINGLE, "/r/{promo.kind}/{promo.n}/{promo.yes}", "/r/a%2Fb/1.50/true", 0, NULL},
        {SINGLE, "/r{?promo.big,query.user,recco.1}", "/r?big=9223372036854775808&user=fred&1=8", 0,
         NULL},
        {SINGLE, "/r/{promo.object.a.b.1.c}{?promo.object.a.b.0}", "/r/deep?0=10", 0, NULL},
        {SINGLE, "/r/{promo.escaped}", "/r/a%22%0A%5C%C3%A9%F0%9F%98%80", 0, NULL},
        {SINGLE, "/r/{promo.crlf}{promo.nul}", "/r/a%0D%0AX%3A%20ya%00b", 0, NULL},
        {SINGLE, "/r/{promo.markup}", "/r/%3Cb%3E%26amp%3B%3C%2Fb%3E", 0, NULL},
        {SINGLE, "/r/{promo.slash}", NULL, EXPAND_LEAVES_SEGMENT, "promo.slash"},
        {SINGLE, "/r{?promo.slash}", "/r?slash=%2F..%2F", 0, NULL},
        {SINGLE, "/r/{promo.a%2Eb}", "/r/dotted", 0, NULL},
        {SINGLE, "/r/{promo.category:4*}", NULL, 0, NULL},
        {SINGLE, "/r/{promo.category:4}", "/r/hats", 0, NULL},
        {SINGLE, "/r/{promo.empty}x", "/r/x", 0, NULL},
        /* without a value: left out where an operator can, else missing */
        {SINGLE, "/r{?promo.null,promo.missing,promo.list,promo.object,gone,query.none,promo.one}",
         "/r?one=1", 0, NULL},
        {SINGLE, "/r{/promo.null,promo.n}{;gone}?x{&gone.a}", "/r/1.50?x", 0, NULL},
        {SINGLE, "/r/{promo.missing}", NULL, EXPAND_MISSING, "promo.missing"},
        {SINGLE, "/r/{promo.null}", NULL, EXPAND_MISSING, "promo.null"},
        {SINGLE, "/r/{promo.object}", NULL, EXPAND_MISSING, "promo.object"},
        {SINGLE, "/r/{promo.list}", NULL, EXPAND_MISSING, "promo.list"},
        {SINGLE, "/r/{recco.9}", NULL, EXPAND_MISSING, "recco.9"},
        {SINGLE, "/r/{recco.x}", NULL, EXPAND_MISSING, "recco.x"},
        {SINGLE, "/r/{gone}", NULL, EXPAND_MISSING, "gone"},
        {SINGLE, "/r{.gone}", NULL, EXPAND_MISSING, "gone"},
        {SINGLE, "/r/{query.none,promo.n,gone}", NULL, EXPAND_MISSING, "gone"},
        {SINGLE, "/r/{query.none}", "/r/", 0, NULL},
        {SINGLE, "/r/{promo.up}/x", NULL, EXPAND_LEAVES_SEGMENT, "promo.up"},
        {SINGLE, "/r/{promo.encoded}", "/r/%252e%252E%2F%252f", 0, NULL},
        /* an element */
        {EACH, "/s/{item.id}{?item.name,item.up}", "/s/1?name=one&up=x", 0, NULL},
        {EACH, "/s/{item.none}", NULL, EXPAND_MISSING, "item.none"},
        {EACH, "/s/{item}", NULL, EXPAND_MISSING, "item"},
        {EACH, "/s/{item.id*}/{promo.n}", "/s/1/1.50", 0, NULL},
        /* a batch: RFC 6570 level 4 lists; what has no value is left out */
        {BATCH, "/s/{item.id}", "/s/1,2%2F3,4", 0, NULL},
        {BATCH, "/s/{item.id*}", "/s/1,2%2F3,4", 0, NULL},
        {BATCH, "/s{?item.id}", "/s?id=1,2%2F3,4", 0, NULL},
        {BATCH, "/s{?item.id*}", "/s?id=1&id=2%2F3&id=4", 0, NULL},
        {BATCH, "/s?a{&item.id*,query.user}", "/s?a&id=1&id=2%2F3&id=4&user=fred", 0, NULL},
        {BATCH, "/s{/item.id}", "/s/1,2%2F3,4", 0, NULL},
        {BATCH, "/s{/item.id*}", "/s/1/2%2F3/4", 0, NULL},
        {BATCH, "/s{.item.id}", "/s.1,2%2F3,4", 0, NULL},
        {BATCH, "/s{.item.id*}", "/s.1.2%2F3.4", 0, NULL},
        {BATCH, "/s{;item.id}", "/s;id=1,2%2F3,4", 0, NULL},
        {BATCH, "/s{;item.name*}", "/s;name=one;name;name=d%22%C3%A9", 0, NULL},
        {BATCH, "/s{;item.late}", "/s;late=,z", 0, NULL},
        {BATCH, "/s{;item.late*}", "/s;late;late=z", 0, NULL},
        {BATCH, "/s{?item.name}", "/s?name=one,,d%22%C3%A9", 0, NULL},
        {BATCH, "/s{?item.name*}", "/s?name=one&name=&name=d%22%C3%A9", 0, NULL},
        {BATCH, "/s/{item.name:1}", "/s/o,,d", 0, NULL},
        {BATCH, "/s/{item.tag}", "/s/a%2Cb,%0D%0A", 0, NULL},
        {BATCH, "/s/{promo.n,item.id}{?item.none}", "/s/1.50,1,2%2F3,4", 0, NULL},
        {BATCH, "/s{?item.none*,promo.n}", "/s?n=1.50", 0, NULL},
        {BATCH, "/s/{item.none}", NULL, EXPAND_MISSING, "item.none"},
        {BATCH, "/s/{item.up}", "/s/x,..,y", 0, NULL},
        {BATCH, "/s{/item.up*}", NULL, EXPAND_LEAVES_SEGMENT, "item.up"},
        {BATCH_OF_ONE, "/s{?item.id*}{", NULL, 0, NULL},
        {BATCH_OF_ONE, "/s{?item.id*}", "/s?id=1", 0, NULL},
        {BATCH_OF_ONE, "/s/{item.none}", NULL, EXPAND_MISSING, "item.none"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct values v;
        struct expansion expansion;
        struct str target;
        const struct expand_variable *culprit;
        char *messages;
        values_init(&v);
        bool good = compile_for(&v, false, cases[i].kind, cases[i].text, &expansion, &messages);
        if (good != (cases[i].target != NULL || cases[i].result != EXPAND_OK))
            fail_msg("%s: %s", cases[i].text, messages);
        if (good) {
            enum expand_result result = expand(&expansion, text_of, &v, items_of[cases[i].kind],
                                               &v.pool, &target, &culprit);
            if (result != cases[i].result)
                fail_msg("%s: %s %.*s", cases[i].text, expand_result_text(result),
                         culprit ? (int)culprit->full.n : 0, culprit ? culprit->full.p : "");
            if (!str_eq(target, str_from(cases[i].target ? cases[i].target : "")))
                fail_msg("%s became %.*s", cases[i].text, (int)target.n, target.p);
            if (result != EXPAND_OK)
                assert_true(str_eq(culprit->full, str_from(cases[i].culprit)));
        }
        free(messages);
        values_fini(&v);
    }
}

static void test_values_go_into_headers_as_they_are(void **state)
{
    static const struct {
        int kind;
        const char *text, *value; /* NULL: not sent */
        enum expand_result result;
        const char *culprit;
    } cases[] = {
        {SINGLE, "Bearer {cookie.session}", "Bearer s=1;2", 0, NULL},
        {SINGLE, "a \"fixed\" value", "a \"fixed\" value", 0, NULL},
        {SINGLE, "{promo.category}; q={promo.n}", "hats & caps; q=1.50", 0, NULL},
        {SINGLE, "{query.umlaut}{promo.markup}", "h\xc3\xb6me<b>&amp;</b>", 0, NULL},
        {SINGLE, "{promo.encoded}{promo.up}", "%2e%2E/%2f..", 0, NULL},
        {SINGLE, "{query.user:2},{query.user,query.none,path.id}", "fr,fred,42", 0, NULL},
        {SINGLE, "{query.none}", NULL, 0, NULL},
        {SINGLE, "{query.empty}{promo.empty}", NULL, 0, NULL},
        {SINGLE, "", NULL, 0, NULL},
        {SINGLE, "x{query.none}", "x", 0, NULL},
        {SINGLE, "{query.crlf}", NULL, 0, NULL},
        {SINGLE, "{query.lf}", NULL, 0, NULL},
        {SINGLE, "x {query.nul} y", NULL, 0, NULL},
        {SINGLE, "x {promo.crlf}", NULL, 0, NULL},
        {SINGLE, "x {promo.nul}", NULL, 0, NULL},
        {SINGLE, "{promo.missing}", NULL, EXPAND_MISSING, "promo.missing"},
        {SINGLE, "x {promo.list}", NULL, EXPAND_MISSING, "promo.list"},
        {EACH, "{item.id}", "1", 0, NULL},
        {BATCH, "{item.id}", "1,2/3,4", 0, NULL},
        {BATCH, "ids={item.id*}.", "ids=1,2/3,4.", 0, NULL},
        {BATCH, "{item.tag}", NULL, 0, NULL},
        {BATCH, "{item.none}", NULL, EXPAND_MISSING, "item.none"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct values v;
        struct expansion expansion;
        struct str text;
        const struct expand_variable *culprit;
        char *messages;
        values_init(&v);
        if (!compile_for(&v, true, cases[i].kind, cases[i].text, &expansion, &messages))
            fail_msg("%s: %s", cases[i].text, messages);
        enum expand_result result =
            expand_text(&expansion, text_of, &v, items_of[cases[i].kind], &v.pool, &text, &culprit);
        assert_int_equal(result, cases[i].result);
        if ((text.p != NULL) != (cases[i].value != NULL) || !str_eq(text, str_from(cases[i].value)))
            fail_msg("%s became %.*s", cases[i].text, (int)text.n, text.p);
        if (result != EXPAND_OK)
            assert_true(str_eq(culprit->full, str_from(cases[i].culprit)));
        free(messages);
        values_fini(&v);
    }
}

static size_t values_read;

static struct str get_filled(void *arg, const struct expand_variable *variable, size_t item)
{
    values_read++;
    (void)variable;
    (void)item;
    return *(const struct str *)arg;
}

static void test_lists_and_headers_have_a_greatest_length(void **state)
{
    static char bytes[EXPAND_MAX_TARGET + 1];
    static const struct {
        const char *text;
        bool header;
        size_t length, items, expanded; /* 0 = too long */
    } cases[] = {
        {"/s/{item.id}", false, 7, 1000, 3 + 7999},
        {"/s/{item.id}", false, 8, 1000, 0},
        {"/s/{item.id}", false, 0, 1000, 3 + 999},
        {"/s/{item.id}", false, 0, 10000, 0},
        {"/s{?item.id*}", false, 4, 1000, 2 + 8000},
        {"/s{?item.id*}", false, 5, 1000, 0},
        {"/s{?item.id*}", false, 0, 2000, 2 + 8000},
        {"/s{?item.id*}", false, 0, 3000, 0},
        {"{query.a}", true, EXPAND_MAX_TARGET, 1, EXPAND_MAX_TARGET},
        {"{query.a}", true, EXPAND_MAX_TARGET + 1, 1, 0},
        {"x{query.a}", true, EXPAND_MAX_TARGET, 1, 0},
        {"{item.id}", true, 7, 1000, 7999},
        {"{item.id}", true, 10, 1000, 0},
    };
    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct values v;
        struct expansion expansion;
        struct str value = {bytes, cases[i].length}, text;
        const struct expand_variable *culprit;
        char *messages;
        values_init(&v);
        assert_true(compile_for(&v, cases[i].header, BATCH, cases[i].text, &expansion, &messages));
        values_read = 0;
        enum expand_result result = (cases[i].header ? expand_text : expand)(
            &expansion, get_filled, &value, cases[i].items, &v.pool, &text, &culprit);
        assert_int_equal(result, cases[i].expanded != 0 ? EXPAND_OK : EXPAND_TOO_LONG);
        assert_int_equal(text.n, cases[i].expanded);
        assert_int_equal(culprit != NULL, cases[i].expanded == 0);
        assert_true(values_read <= EXPAND_MAX_TARGET + 2); /* no more than could ever fit */
        free(messages);
        values_fini(&v);
    }
}

static void test_check_knows_the_pages_parts_and_the_item(void **state)
{
    static const struct {
        bool header;
        int kind;
        const char *text, *message;
    } cases[] = {
        {false, SINGLE, "/{prmo.x}",
         "13: error: unknown namespace \"prmo\"; did you mean \"promo\"?\n"},
        {false, SINGLE, "/{qurey.x}",
         "13: error: unknown namespace \"qurey\"; did you mean \"query\"?\n"},
        {false, EACH, "/{itm.x}", "13: error: unknown namespace \"itm\"; did you mean \"item\"?\n"},
        {false, SINGLE, "/{stock.x}",
         "13: error: unknown namespace \"stock\" (known: path, query, header, cookie and the "
         "page's parts)\n"},
        {false, EACH, "/{stock.x}",
         "13: error: unknown namespace \"stock\" (known: path, query, header, cookie, item and "
         "the page's parts)\n"},
        {false, SINGLE, "/{category}",
         "13: error: \"category\" must be path.NAME, query.NAME, header.NAME or cookie.NAME, or "
         "a part; did you mean \"query.category\"?\n"},
        {false, SINGLE, "/{promo.}", "13: error: \"promo.\" lacks a name: promo.NAME\n"},
        {false, SINGLE, "/{promo.a..b}", "21: error: \"a..b\" has an empty key\n"},
        {false, SINGLE, "/{promo.a.}", "21: error: \"a.\" has an empty key\n"},
        {false, SINGLE, "/{promo.*.b}", "19: error: \"promo.*.b\" is not a variable's name\n"},
        {false, SINGLE,
         "/{promo.1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6.7.8.9.0.1.2.3}",
         "19: error: a path has at most 32 keys\n"},
        {true, SINGLE, "x {prmo.x}",
         "14: error: unknown namespace \"prmo\"; did you mean \"promo\"?\n"},
        {true, SINGLE, "x {?query.a}", "14: error: '?' is for URLs; in a header write {query.a}\n"},
        {true, SINGLE, "{+query.a}", "12: error: '+' is for URLs; in a header write {query.a}\n"},
        {true, SINGLE, "{/query.a}", "12: error: '/' is for URLs; in a header write {query.a}\n"},
        {true, SINGLE, "{|query.a}", "12: error: '|' is reserved by RFC 6570 and means nothing\n"},
        {true, SINGLE, "a\r\nb",
         "12: error: a header's value is one line: byte 0x0d can't stand in it\n"
         "gateway.toml:7:13: error: a header's value is one line: byte 0x0a can't stand in it\n"},
        {true, SINGLE, "a}b", "12: error: '}' without '{'\n"},
        {true, SINGLE, "a{b", "12: error: '{' without '}'\n"},
        {true, SINGLE, "{}",
         "12: error: an expression needs a variable's name, like {query.user}\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct values v;
        struct expansion expansion;
        char *messages, *wanted;
        values_init(&v);
        if (compile_for(&v, cases[i].header, cases[i].kind, cases[i].text, &expansion, &messages))
            fail_msg("%s was taken", cases[i].text);
        gw_assert(asprintf(&wanted, "gateway.toml:7:%s", cases[i].message) > 0);
        assert_string_equal(messages, wanted);
        free(wanted);
        free(messages);
        values_fini(&v);
    }
}

static void test_the_parts_that_a_path_looks_into_are_known(void **state)
{
    (void)state;
    struct values v;
    struct expansion expansion;
    char *messages;
    values_init(&v);
    assert_true(
        compile_for(&v, false, EACH, "/{query.a}/{item.id}{?gone.x,recco}", &expansion, &messages));
    assert_int_equal(expansion.parts, 6);
    free(messages);
    assert_true(compile_for(&v, true, SINGLE, "{promo.a}{promo.b}", &expansion, &messages));
    assert_int_equal(expansion.parts, 1);
    free(messages);
    assert_true(compile_for(&v, true, SINGLE, "{query.a}", &expansion, &messages));
    assert_int_equal(expansion.parts, 0);
    free(messages);

    /* the last that a page can have */
    struct str names[EXPAND_MAX_PARTS];
    for (size_t i = 0; i < COUNT(names); i++)
        names[i] = i + 1 == COUNT(names) ? STR("last") : STR("other");
    struct expand_scope scope = {.parts = names, .part_count = COUNT(names)};
    struct diag *diag = diag_create();
    assert_true(expand_compile(&v.pool, STR("/{last}"), &scope, TOML_AT, diag, &expansion));
    assert_true(expansion.parts == UINT64_C(1) << 63);
    assert_false(expand_compile(&v.pool, STR("/{lst}"), &scope, TOML_AT, diag, &expansion));
    diag_destroy(&diag);
    values_fini(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_parts_values_go_into_urls),
        cmocka_unit_test(test_values_go_into_headers_as_they_are),
        cmocka_unit_test(test_lists_and_headers_have_a_greatest_length),
        cmocka_unit_test(test_check_knows_the_pages_parts_and_the_item),
        cmocka_unit_test(test_the_parts_that_a_path_looks_into_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
