/* A page rendered bit by bit: in whatever order its data comes, it is the page that it would be
 * with all of it, nothing waits for what it doesn't show, and what was left out is shown in the
 * end. */
#include "tests/unit/test_render.h"

enum { MAX_NAMES = 6 };

struct site {
    struct json_doc doc;
    const char *names[MAX_NAMES]; /* of the root */
    bool there[MAX_NAMES], deferred[MAX_NAMES];
    size_t count;
};

static size_t index_of(const struct site *site, struct str name)
{
    for (size_t i = 0; i < site->count; i++)
        if (str_eq(name, str_from(site->names[i])))
            return i;
    return SIZE_MAX;
}

static enum template_found find(void *arg, const struct str *path, unsigned count,
                                struct json_value *value_r)
{
    struct site *site = arg;
    if (count == 2 && str_eq(path[0], STR("defer"))) {
        size_t i = index_of(site, path[1]);
        *value_r = json_from_bool(true);
        return i == SIZE_MAX || !site->deferred[i] || site->there[i] ? FOUND_VALUE : FOUND_DEFERRED;
    }
    for (size_t i = 0; i < site->count; i++) {
        bool all = count == 0;
        if ((all || str_eq(path[0], str_from(site->names[i]))) && !site->there[i])
            return FOUND_LATER;
    }
    *value_r = count == 0 ? json_root(&site->doc) : json_get(json_root(&site->doc), path[0]);
    for (unsigned i = 1; i < count; i++)
        *value_r = json_get(*value_r, path[i]);
    return FOUND_VALUE;
}

static void place_begin(void *arg, struct str name, struct out *out)
{
    (void)arg;
    out_str(out, STR("["));
    out_str(out, name);
    out_str(out, STR(":"));
}

static void place_end(void *arg, struct str name, struct out *out)
{
    (void)arg, (void)name;
    out_str(out, STR("]"));
}

static void place_empty(void *arg, struct str name, struct out *out)
{
    (void)arg, (void)name, (void)out;
}

static const struct template_places places = {place_begin, place_end, place_empty};

static void site_init(struct site *site, const char *json)
{
    *site = (struct site){.count = 0};
    json_doc_init(&site->doc);
    assert_int_equal(json_parse(&site->doc, json, strlen(json), 20, NULL), JSON_OK);
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    for (struct json_iter it = json_iter(json_root(&site->doc)); json_next(&it);) {
        struct str key = json_string(it.key, &pool);
        site->names[site->count++] = strndup(key.p, key.n);
    }
    h2o_mem_clear_pool(&pool);
}

static void site_fini(struct site *site)
{
    for (size_t i = 0; i < site->count; i++)
        free((char *)(uintptr_t)site->names[i]);
    json_doc_fini(&site->doc);
}

static void append(char **text, struct out *out)
{
    char *more = text_of(out);
    *text = realloc(*text, strlen(*text) + strlen(more) + 1);
    assert_non_null(*text);
    strcat(*text, more);
    free(more);
}

static const struct {
    const char *template, *json;
    const char *partials[9];
} pages[] = {
    {"<p>{{a}}</p>{{b}}", "{\"a\":1,\"b\":2}", {0}},
    {"{{#a}}{{x}}-{{b}},{{/a}}{{^c}}none{{/c}}",
     "{\"a\":[{\"x\":1},{\"x\":2}],\"b\":3,\"c\":[]}",
     {0}},
    {"{{#a.b}}{{#c}}{{.}}{{/c}}{{/a.b}}{{{b}}}",
     "{\"a\":{\"b\":{\"c\":[1,2,3]}},\"b\":\"<\"}",
     {0}},
    {"top\n  {{>card}}\nend {{b}}",
     "{\"a\":\"x\",\"b\":\"y\"}",
     {"card", "<li>\n{{a}}\n  {{b}}\n</li>\n"}},
    {"{{<layout}}{{$title}}{{a}}{{/title}}{{$body}}{{#b}}<{{.}}>{{/b}}{{/body}}{{/layout}}",
     "{\"a\":\"t\",\"b\":[1,2],\"c\":3}",
     {"layout", "<h1>{{$title}}none{{/title}}</h1>\n  {{$body}}{{/body}}\n{{c}}\n"}},
    {"{{>*a}}{{b}}", "{\"a\":\"x\",\"b\":1}", {0}},
    {"{{.}}", "{\"a\":1,\"b\":2}", {0}},
};

/* Every order of arrival, by turns of who comes first. */
static void render_in_turns(struct template *template, const char *json, size_t first, bool down)
{
    struct site site;
    h2o_mem_pool_t pool;
    bool done = false;
    site_init(&site, json);
    char *whole = render_value(template, json_root(&site.doc), &done), *text = calloc(1, 1);
    assert_true(done);
    h2o_mem_init_pool(&pool);
    struct rendering *rendering = rendering_create(template, &pool, find, &places, &site);
    enum rendering_state state = RENDERING_WAITS;
    for (size_t n = 0; n <= site.count; n++) {
        struct out out;
        out_init(&out, &pool, 0);
        if (state == RENDERING_WAITS)
            state = rendering_run(rendering, &out);
        append(&text, &out);
        assert_int_equal(strncmp(whole, text, strlen(text)), 0);
        if (n < site.count)
            site.there[(first + n * (down ? site.count - 1 : 1)) % site.count] = true;
    }
    struct out out;
    out_init(&out, &pool, 0);
    if (state == RENDERING_WAITS)
        state = rendering_run(rendering, &out);
    append(&text, &out);
    assert_int_equal(state, RENDERING_DONE);
    assert_string_equal(text, whole);
    free(text);
    free(whole);
    h2o_mem_clear_pool(&pool);
    site_fini(&site);
}

static void test_in_any_order_it_is_the_same_page(void **state)
{
    (void)state;
    struct template_set *set = template_set_create(NULL);
    for (size_t i = 0; i < COUNT(pages); i++) {
        struct template *template = compile(set, pages[i].template, pages[i].partials);
        for (size_t first = 0; first < 3; first++) {
            render_in_turns(template, pages[i].json, first, false);
            render_in_turns(template, pages[i].json, first, true);
        }
    }
    template_set_destroy(&set);
}

static void test_it_goes_as_far_as_it_can(void **state)
{
    (void)state;
    struct template_set *set = template_set_create(NULL);
    struct template *template =
        compile(set, "<head>{{a}}</head>\n  {{>list}}\n<end>{{c}}",
                (const char *const[]){"list", "{{#b}}\n<i>{{.}}</i>\n{{/b}}\n", NULL});
    struct site site;
    h2o_mem_pool_t pool;
    struct out out;
    h2o_mem_init_pool(&pool);
    site_init(&site, "{\"a\":1,\"b\":[2,3],\"c\":4}");
    struct rendering *rendering = rendering_create(template, &pool, find, &places, &site);
    static const char *const steps[] = {"<head>", "1</head>\n", "  <i>2</i>\n  <i>3</i>\n<end>",
                                        "4"};
    for (size_t i = 0; i < COUNT(steps); i++) {
        out_init(&out, &pool, 0);
        enum rendering_state now = rendering_run(rendering, &out);
        char *text = text_of(&out);
        assert_string_equal(text, steps[i]);
        assert_int_equal(now, i + 1 < COUNT(steps) ? RENDERING_WAITS : RENDERING_DONE);
        free(text);
        if (i < site.count)
            site.there[i] = true;
    }
    site_fini(&site);
    h2o_mem_clear_pool(&pool);
    template_set_destroy(&set);
}

static void test_what_is_deferred_is_shown_in_the_end(void **state)
{
    (void)state;
    struct template_set *set = template_set_create(NULL);
    struct template *template =
        compile(set,
                "{{<layout}}{{$body}}{{#b}}{{^defer.a}}wait {{x}}{{/defer.a}}"
                "{{#defer.a}}{{x}}:{{a}};{{>item}}{{/defer.a}}{{/b}}{{/body}}{{/layout}}",
                (const char *const[]){"layout", "<{{$body}}{{/body}}>", "item",
                                      "{{#a}}({{.}}{{x}}){{/a}}", NULL});
    struct site site;
    h2o_mem_pool_t pool;
    struct out out;
    h2o_mem_init_pool(&pool);
    site_init(&site, "{\"a\":[7,8],\"b\":[{\"x\":1},{\"x\":2}]}");
    site.there[1] = site.deferred[0] = true;
    struct rendering *rendering = rendering_create(template, &pool, find, &places, &site);
    out_init(&out, &pool, 0);
    assert_int_equal(rendering_run(rendering, &out), RENDERING_DONE);
    char *text = text_of(&out);
    assert_string_equal(text, "<[a:wait 1][a:wait 2]>");
    free(text);
    site.there[0] = true;
    out_init(&out, &pool, 0);
    assert_int_equal(rendering_run_deferred(rendering, STR("a"), &out), RENDERING_DONE);
    text = text_of(&out);
    assert_string_equal(text, "1:[7,8];(71)(81)2:[7,8];(72)(82)");
    free(text);

    rendering = rendering_create(template, &pool, find, &places, &site); /* there from the start */
    out_init(&out, &pool, 0);
    assert_int_equal(rendering_run(rendering, &out), RENDERING_DONE);
    text = text_of(&out);
    assert_string_equal(text, "<1:[7,8];(71)(81)2:[7,8];(72)(82)>");
    free(text);
    out_init(&out, &pool, 0);
    assert_int_equal(rendering_run_deferred(rendering, STR("a"), &out), RENDERING_DONE);
    assert_int_equal(out_size(&out), 0);
    site_fini(&site);
    h2o_mem_clear_pool(&pool);
    template_set_destroy(&set);
}

static void test_its_limits_are_those_of_all_pages(void **state)
{
    (void)state;
    struct template_set *set = template_set_create(NULL);
    struct template *template = compile(
        set, "{{a}}{{>again}}", (const char *const[]){"again", "{{#b}}{{>again}}{{/b}}", NULL});
    struct site site;
    h2o_mem_pool_t pool;
    struct out out;
    h2o_mem_init_pool(&pool);
    site_init(&site, "{\"a\":1,\"b\":true}");
    struct rendering *rendering = rendering_create(template, &pool, find, &places, &site);
    out_init(&out, &pool, 0);
    assert_int_equal(rendering_run(rendering, &out), RENDERING_WAITS);
    site.there[0] = site.there[1] = true;
    assert_int_equal(rendering_run(rendering, &out), RENDERING_FAILED);
    site_fini(&site);
    h2o_mem_clear_pool(&pool);
    template_set_destroy(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_any_order_it_is_the_same_page),
        cmocka_unit_test(test_it_goes_as_far_as_it_can),
        cmocka_unit_test(test_what_is_deferred_is_shown_in_the_end),
        cmocka_unit_test(test_its_limits_are_those_of_all_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
