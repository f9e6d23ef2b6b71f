/* URL expansion: what a part's path becomes, what is refused when the configuration is read, and
 * what is refused when a request comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "pages/expand.h"

/* The request that all cases stand in. */
static const struct {
    const char *name, *value;
} request[] = {
    {"path.id", "42"},
    {"path.name", "a/b"},
    {"query.user", "fred"},
    {"query.hello", "Hello World!"},
    {"query.empty", ""},
    {"query.half", "50%"},
    {"query.x", "1024"},
    {"query.y", "768"},
    {"query.who", "fred@h\xc3\xb6me"},
    {"query.up", ".."},
    {"query.here", "."},
    {"query.one", "."},
    {"query.encoded_up", "%2e%2e"},
    {"query.slash", "../../etc/passwd"},
    {"query.inner", "a/.."},
    {"query.back", "a\\..\\b"},
    {"query.dots", ".../..a/.b"},
    {"query.crlf", "a\r\nHost: evil"},
    {"query.broken", "\xff\xc3z"},
    {"query.a[]", "list"},
    {"header.accept-language", "de, en"},
    {"cookie.session", "s=1;2"},
    {"field.name", "Zo\xc3\xab \"Z\" O'Neil/.../?#&=%"},
    {"field.up", ".."},
    {"field.empty", ""},
};

static const struct expand_param params[] = {{"id", 0}, {"name", 1}};

static struct str get(void *arg, const struct expand_variable *variable, size_t item)
{
    (void)item;
    static const char *const sources[] = {"path", "query", "header", "cookie", "field"};
    (void)arg;
    for (size_t i = 0; i < COUNT(request); i++) {
        size_t source = strcspn(request[i].name, ".");
        if (strncmp(request[i].name, sources[variable->source], source) == 0 &&
            str_eq(variable->name, str_from(request[i].name + source + 1))) {
            if (variable->source == EXPAND_PATH)
                assert_int_equal(variable->param, strcmp(request[i].name, "path.id") == 0 ? 0 : 1);
            return str_from(request[i].value);
        }
    }
    return (struct str){NULL, 0};
}

static bool compile_in(h2o_mem_pool_t *pool, const struct expand_scope *scope, const char *text,
                       struct expansion *expansion, char **messages_r)
{
    struct diag *diag = diag_create();
    struct pos at = {"gateway.toml", 7, 10};
    bool good = expand_compile(pool, str_from(text), scope, at, diag, expansion);
    size_t size;
    FILE *to = open_memstream(messages_r, &size);
    diag_print(diag, to);
    fclose(to);
    assert_int_equal(good, diag_errors(diag) == 0);
    diag_destroy(&diag);
    return good;
}

static bool compile(h2o_mem_pool_t *pool, const char *text, struct expansion *expansion,
                    char **messages_r)
{
    static const struct expand_scope scope = {.params = params, .param_count = COUNT(params)};
    return compile_in(pool, &scope, text, expansion, messages_r);
}

static void test_values_go_into_urls_as_rfc_6570_says(void **state)
{
    (void)state;
    static const struct {
        const char *text, *target;
    } cases[] = {
        {"", ""},
        {"/promo", "/promo"},
        {"?fixed=1", "?fixed=1"},
        {"/recco?user={query.user}", "/recco?user=fred"},
        {"/product/{path.id}", "/product/42"},
        {"/product/{path.id}/reviews", "/product/42/reviews"},
        /* level 1: simple */
        {"/{query.hello}", "/Hello%20World%21"},
        {"/{query.half}", "/50%25"},
        {"/{query.who}", "/fred%40h%C3%B6me"},
        {"/{path.name}", "/a%2Fb"},
        {"/{query.crlf}", "/a%0D%0AHost%3A%20evil"},
        {"/{query.broken}", "/%FF%C3z"},
        {"/x?q={query.slash}", "/x?q=..%2F..%2Fetc%2Fpasswd"},
        {"/{query.dots}", "/...%2F..a%2F.b"},
        {"/{query.encoded_up}", "/%252e%252e"},
        {"/a{query.missing}b", "/ab"},
        {"/a{query.empty}b", "/ab"},
        {"/{header.accept-language}", "/de%2C%20en"},
        {"/{cookie.session}", "/s%3D1%3B2"},
        /* level 3: several variables, operators */
        {"/map?{query.x,query.y}", "/map?1024,768"},
        {"/{query.x,query.hello,query.y}", "/1024,Hello%20World%21,768"},
        {"/{query.missing,query.y}", "/768"},
        {"/{query.empty,query.y}", "/,768"},
        {"/f{.query.x,query.y}", "/f.1024.768"},
        {"/f{.query.missing}", "/f"},
        {"/v{/query.x,query.y}", "/v/1024/768"},
        {"/v{/query.missing,query.y}", "/v/768"},
        {"/v{/query.empty}", "/v/"},
        {"/m{;query.x,query.y}", "/m;x=1024;y=768"},
        {"/m{;query.x,query.empty}", "/m;x=1024;empty"},
        {"/q{?query.x,query.y}", "/q?x=1024&y=768"},
        {"/q{?query.x,query.empty}", "/q?x=1024&empty="},
        {"/q{?query.missing}", "/q"},
        {"/q{?query.missing,query.y}", "/q?y=768"},
        {"{?query.user}", "?user=fred"},
        {"{?query.missing}", ""},
        {"/q?fixed=yes{&query.x}", "/q?fixed=yes&x=1024"},
        {"/q?fixed=yes{&query.missing,query.y}", "/q?fixed=yes&y=768"},
        {"/q{?query.user,cookie.session,path.id}", "/q?user=fred&session=s%3D1%3B2&id=42"},
        {"/q{?query.a%5B%5D}", "/q?a%5B%5D=list"},
        {"/q?up={query.up}", "/q?up=.."},
        /* level 4: prefix; explode changes nothing about a string */
        {"/{query.hello:5}", "/Hello"},
        {"/{query.user:30}", "/fred"},
        {"/{query.who:7}", "/fred%40h%C3%B6"},
        {"/{query.broken:1}", "/%FF"},
        {"/v{/query.user:1,query.user}", "/v/f/fred"},
        {"/q{?query.user:3}", "/q?user=fre"},
        {"/q{?query.user*}", "/q?user=fred"},
        {"/{query.up}x", "/..x"},
        {"/x{query.up}", "/x.."},
        {"/{query.up,query.x}", "/..,1024"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        struct expansion expansion;
        char *messages;
        bool good = compile(&pool, cases[i].text, &expansion, &messages);
        if (!good)
            fail_msg("%s: %s", cases[i].text, messages);
        struct str target;
        const struct expand_variable *culprit;
        assert_int_equal(expand(&expansion, get, NULL, 1, &pool, &target, &culprit), EXPAND_OK);
        if (!str_eq(target, str_from(cases[i].target)))
            fail_msg("%s became %.*s", cases[i].text, (int)target.n, target.p);
        assert_null(culprit);
        free(messages);
        h2o_mem_clear_pool(&pool);
    }
}

static void test_a_value_cannot_leave_its_segment(void **state)
{
    (void)state;
    static const struct {
        const char *text, *culprit;
    } cases[] = {
        {"/{query.up}", "query.up"},
        {"/{query.here}", "query.here"},
        {"/a/{query.up}/b", "query.up"},
        {"/a/{query.up}?x=1", "query.up"},
        {"/a/{query.up}{?query.user}", "query.up"},
        {"/a{/query.up}", "query.up"},
        {"/a{/query.x,query.up,query.y}", "query.up"},
        {"/a/.{query.here}/b", "query.here"},
        {"/a/%2e{query.here}", "query.here"},
        {"/a/{query.here}%2E", "query.here"},
        {"/a/{query.here,query.missing}", "query.missing"},
        /* a slash that is encoded: nginx decodes it before it looks for ".." */
        {"/{query.slash}", "query.slash"},
        {"/a/{query.x}/{query.slash}", "query.slash"},
        {"/a/{query.inner}?x=1", "query.inner"},
        {"/a/b{query.inner}{?query.x}", "query.inner"},
        {"/a/{query.back}", "query.back"},
        {"/a/x%2F{query.up}", "query.up"},
        {"/a{/query.x,query.slash}", "query.slash"},
        {"/a/{query.here}{query.one}/{query.x}", "query.one"},
        {"/a/.{query.missing}./b", "query.missing"},
        {"/a/{query.up:1}", "query.up"},
        {"/a/{query.up};v=1", "query.up"},
        {"/a/{query.up}{;query.x}", "query.x"},
        {"/a/{.query.empty}", "query.empty"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        struct expansion expansion;
        char *messages;
        assert_true(compile(&pool, cases[i].text, &expansion, &messages));
        struct str target;
        const struct expand_variable *culprit;
        if (expand(&expansion, get, NULL, 1, &pool, &target, &culprit) != EXPAND_LEAVES_SEGMENT)
            fail_msg("%s became %.*s", cases[i].text, (int)target.n, target.p);
        assert_int_equal(target.n, 0);
        if (!str_eq(culprit->full, str_from(cases[i].culprit)))
            fail_msg("%s blames %.*s", cases[i].text, (int)culprit->full.n, culprit->full.p);
        free(messages);
        h2o_mem_clear_pool(&pool);
    }
}

static struct str long_value;
static struct str get_long(void *arg, const struct expand_variable *variable, size_t item)
{
    (void)item;
    (void)arg;
    return str_eq(variable->name, STR("long")) ? long_value : STR("short");
}

static void test_a_target_has_a_greatest_length(void **state)
{
    (void)state;
    static char bytes[3 * EXPAND_MAX_TARGET];
    static const struct {
        const char *text;
        char fill;
        size_t length;
        enum expand_result result;
        size_t target;
    } cases[] = {
        {"/{query.long}", 'x', EXPAND_MAX_TARGET - 1, EXPAND_OK, EXPAND_MAX_TARGET},
        {"/{query.long}", 'x', EXPAND_MAX_TARGET, EXPAND_TOO_LONG, 0},
        {"/{query.long}", ' ', EXPAND_MAX_TARGET / 3, EXPAND_OK, EXPAND_MAX_TARGET - 1},
        {"/{query.long}", ' ', EXPAND_MAX_TARGET / 3 + 1, EXPAND_TOO_LONG, 0},
        {"/{query.long}", 'x', 3 * EXPAND_MAX_TARGET, EXPAND_TOO_LONG, 0},
        {"/{query.a}/{query.long}/{query.b}", ' ', 3000, EXPAND_TOO_LONG, 0},
        {"/{query.long}{query.long}", 'x', 4100, EXPAND_TOO_LONG, 0},
        {"/{query.long:10}", 'x', 3 * EXPAND_MAX_TARGET, EXPAND_OK, 11},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        memset(bytes, cases[i].fill, sizeof(bytes));
        long_value = (struct str){bytes, cases[i].length};
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        struct expansion expansion;
        char *messages;
        assert_true(compile(&pool, cases[i].text, &expansion, &messages));
        struct str target;
        const struct expand_variable *culprit;
        assert_int_equal(expand(&expansion, get_long, NULL, 1, &pool, &target, &culprit),
                         cases[i].result);
        assert_int_equal(target.n, cases[i].target);
        if (cases[i].result != EXPAND_OK)
            assert_true(str_eq(culprit->full, STR("query.long")));
        free(messages);
        h2o_mem_clear_pool(&pool);
    }
}

static void test_check_refuses_bad_paths_at_their_column(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message; /* column 11 is the string's first byte */
    } cases[] = {
        {"promo", "gateway.toml:7:11: error: a path begins with '/' (or is empty)\n"},
        {"{query.a}", "gateway.toml:7:11: error: a path begins with '/' (or is empty)\n"},
        {"{/query.a}", "gateway.toml:7:11: error: a path begins with '/' (or is empty)\n"},
        {"http://evil/", "gateway.toml:7:11: error: a path begins with '/' (or is empty)\n"},
        {"/a#b", "gateway.toml:7:13: error: a path holds no fragment ('#')\n"},
        {"/a b", "gateway.toml:7:13: error: byte 0x20 must be percent-encoded in a path\n"},
        {"/a\"b", "gateway.toml:7:13: error: '\"' must be percent-encoded in a path (%22)\n"},
        {"/a\\b", "gateway.toml:7:13: error: '\\' must be percent-encoded in a path (%5C)\n"},
        {"/\xc3\xb6", "gateway.toml:7:12: error: byte 0xc3 must be percent-encoded in a path\n"},
        {"/a%2", "gateway.toml:7:13: error: '%' in a path must be followed by two hexadecimal "
                 "digits\n"},
        {"/a}", "gateway.toml:7:13: error: '}' without '{'\n"},
        {"/a{query.b", "gateway.toml:7:13: error: '{' without '}'\n"},
        {"/{}", "gateway.toml:7:13: error: an expression needs a variable's name, like "
                "{query.user}\n"},
        {"/{query.a,}", "gateway.toml:7:21: error: an expression needs a variable's name, like "
                        "{query.user}\n"},
        {"/{+query.a}", "gateway.toml:7:13: error: reserved expansion would let a value leave its "
                        "segment; write {query.a}\n"},
        {"/{#query.a}", "gateway.toml:7:13: error: reserved expansion would let a value leave its "
                        "segment; write {query.a}\n"},
        {"/{|query.a}", "gateway.toml:7:13: error: '|' is reserved by RFC 6570 and means "
                        "nothing\n"},
        {"/{query a}", "gateway.toml:7:18: error: \"query a\" is not a variable's name\n"},
        {"/{query.a{b}", "gateway.toml:7:20: error: \"query.a{b\" is not a variable's name\n"},
        {"/{qeury.a}", "gateway.toml:7:13: error: unknown namespace \"qeury\"; did you mean "
                       "\"query\"?\n"},
        {"/{field.a}", "gateway.toml:7:13: error: unknown namespace \"field\" (known: path, query, "
                       "header, cookie)\n"},
        {"/{body.a}", "gateway.toml:7:13: error: unknown namespace \"body\" (known: path, query, "
                      "header, cookie)\n"},
        {"/{user}",
         "gateway.toml:7:13: error: \"user\" must be path.NAME, query.NAME, header.NAME or "
         "cookie.NAME; did you mean \"query.user\"?\n"},
        {"/{query}", "gateway.toml:7:13: error: \"query\" lacks a name: query.NAME\n"},
        {"/{query.}", "gateway.toml:7:13: error: \"query.\" lacks a name: query.NAME\n"},
        {"/{path.nmae}", "gateway.toml:7:13: error: the page's path has no parameter \"nmae\"; did "
                         "you mean \"path.name\"?\n"},
        {"/{path.category}", "gateway.toml:7:13: error: the page's path has no parameter "
                             "\"category\"\n"},
        {"/{query.a:0}", "gateway.toml:7:20: error: a prefix is ':' and a number from 1 to 9999\n"},
        {"/{query.a:99999}", "gateway.toml:7:20: error: a prefix is ':' and a number from 1 to "
                             "9999\n"},
        {"/{query.a:x}", "gateway.toml:7:20: error: a prefix is ':' and a number from 1 to 9999\n"},
        {"/a?b=1{?query.a}", "gateway.toml:7:17: error: the path has a '?' already; continue it "
                             "with {&…}\n"},
        {"/a{&query.a}", "gateway.toml:7:13: error: {&…} continues what a literal '?' began; begin "
                         "with {?…}\n"},
        {"/a{?query.a}&b=1", "gateway.toml:7:23: error: nothing may follow {?…}, since it may come "
                             "to nothing; list all variables in it\n"},
        {"/a/../b", "gateway.toml:7:14: error: a path must not hold '.' or '..' segments\n"},
        {"/a/x%2F..%5c{query.x}",
         "gateway.toml:7:18: error: a path must not hold '.' or '..' segments\n"},
        {"/a/%2e%2E", "gateway.toml:7:14: error: a path must not hold '.' or '..' segments\n"},
        {"/..{/query.a}", "gateway.toml:7:12: error: a path must not hold '.' or '..' segments\n"},
        {"/.{?query.a}", "gateway.toml:7:12: error: a path must not hold '.' or '..' segments\n"},
        {"/a b/{usr}{+query.c}",
         "gateway.toml:7:13: error: byte 0x20 must be percent-encoded in a path\n"
         "gateway.toml:7:17: error: \"usr\" must be path.NAME, query.NAME, header.NAME or "
         "cookie.NAME; did you mean \"query.usr\"?\n"
         "gateway.toml:7:22: error: reserved expansion would let a value leave its segment; write "
         "{query.c}\n"},
        {"/{query.a,query.b,query.c,query.d,query.e,query.f,query.g,query.h,query.i,query.j,"
         "query.k,query.l,query.m,query.n,query.o,query.p,query.q}",
         "gateway.toml:7:141: error: a path takes at most 16 variables\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        struct expansion expansion;
        char *messages;
        if (compile(&pool, cases[i].text, &expansion, &messages))
            fail_msg("%s was taken", cases[i].text);
        assert_string_equal(messages, cases[i].message);
        free(messages);
        h2o_mem_clear_pool(&pool);
    }
}

static void test_fields_are_known_where_there_are_some(void **state)
{
    static const struct str fields[] = {STR("name"), STR("empty"), STR("none"), STR("up")};
    static const struct expand_scope scope = {.params = params,
                                              .param_count = COUNT(params),
                                              .fields = fields,
                                              .field_count = COUNT(fields)};
    static const struct {
        const char *text, *target, *messages;
    } cases[] = {
        {"/learner/{field.name}", "/learner/Zo%C3%AB%20%22Z%22%20O%27Neil%2F...%2F%3F%23%26%3D%25",
         NULL},
        {"/a{?field.name:3,field.empty,field.none,path.id}", "/a?name=Zo%C3%AB&empty=&id=42", NULL},
        {"/{query.user}/{path.id}/{field.empty}", "/fred/42/", NULL},
        {"/{field.up}", NULL, NULL},
        {"/{feild.a}", NULL,
         "gateway.toml:7:13: error: unknown namespace \"feild\"; did you mean \"field\"?\n"},
        {"/{body.a}", NULL,
         "gateway.toml:7:13: error: unknown namespace \"body\" (known: path, query, header, "
         "cookie, "
         "field)\n"},
        {"/{learner}", NULL,
         "gateway.toml:7:13: error: \"learner\" must be path.NAME, query.NAME, header.NAME, "
         "cookie.NAME or field.NAME; did you mean \"field.learner\"?\n"},
        {"/{field.nmae}", NULL,
         "gateway.toml:7:13: error: no field \"nmae\" comes from the request; did you mean "
         "\"field.name\"?\n"},
        {"/{field.organisation}", NULL,
         "gateway.toml:7:13: error: no field \"organisation\" comes from the request\n"},
        {"/{field}", NULL, "gateway.toml:7:13: error: \"field\" lacks a name: field.NAME\n"},
        {"/{path.ids}", NULL,
         "gateway.toml:7:13: error: the page's path has no parameter \"ids\"; did you mean "
         "\"path.id\"?\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        h2o_mem_pool_t pool;
        struct expansion expansion;
        const struct expand_variable *culprit;
        struct str target;
        char *messages;
        h2o_mem_init_pool(&pool);
        bool good = compile_in(&pool, &scope, cases[i].text, &expansion, &messages);
        assert_string_equal(messages, cases[i].messages != NULL ? cases[i].messages : "");
        if (good) {
            enum expand_result result = expand(&expansion, get, NULL, 1, &pool, &target, &culprit);
            assert_int_equal(result, cases[i].target ? EXPAND_OK : EXPAND_LEAVES_SEGMENT);
            if (result == EXPAND_OK && !str_eq(target, str_from(cases[i].target)))
                fail_msg("%s: %.*s", cases[i].text, (int)target.n, target.p);
            if (result != EXPAND_OK)
                assert_true(str_eq(culprit->full, STR("field.up")));
        }
        free(messages);
        h2o_mem_clear_pool(&pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_go_into_urls_as_rfc_6570_says),
        cmocka_unit_test(test_a_value_cannot_leave_its_segment),
        cmocka_unit_test(test_a_target_has_a_greatest_length),
        cmocka_unit_test(test_check_refuses_bad_paths_at_their_column),
        cmocka_unit_test(test_fields_are_known_where_there_are_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
