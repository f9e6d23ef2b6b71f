/* Every case of the Mustache specification (tests/conformance/mustache-spec, version 1.4), read
 * with our own JSON reader: the required modules, and of the optional ones inheritance and dynamic
 * names. ~lambdas.json is left out: its lambdas are source text in the languages of other
 * implementations, and templates here hold no code on purpose. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "render/render.h"

#define FOLDER "tests/conformance/mustache-spec/"

/* The numbers of cases are part of the test: a file cut short would else pass. */
static const struct module {
    const char *file;
    size_t cases;
} modules[] = {
    {"comments.json", 12},     {"delimiters.json", 14},     {"interpolation.json", 42},
    {"inverted.json", 22},     {"partials.json", 12},       {"sections.json", 34},
    {"~inheritance.json", 27}, {"~dynamic-names.json", 21},
};
enum { CASES = 136 + 27 + 21 };

struct spec_case {
    const char *file;
    struct json_value of;
    h2o_mem_pool_t *pool;
    char *name;
};

static struct str member(const struct spec_case *c, const char *key)
{
    return json_string(json_get(c->of, str_from(key)), c->pool);
}

static bool find_partial(void *arg, struct str name, struct str *text_r)
{
    const struct spec_case *c = arg;
    struct json_value text = json_get(json_get(c->of, STR("partials")), name);
    if (json_type(text) != JSON_STRING)
        return false;
    *text_r = json_string(text, c->pool);
    return true;
}

static struct template *compile(struct template_set *set, struct spec_case *c, const char *name,
                                struct str text)
{
    struct diag *diag = diag_create();
    struct template *template = template_compile(set, name, text, find_partial, c, diag);
    if (template == NULL)
        diag_print(diag, stderr);
    diag_destroy(&diag);
    assert_non_null(template);
    return template;
}

static void test_case(void **state)
{
    struct spec_case *c = *state;
    struct template_set *set = template_set_create(NULL);
    h2o_iovec_t *vecs;
    struct out out;
    char name[64];

    /* dynamic names reach what the set holds */
    for (struct json_iter it = json_iter(json_get(c->of, STR("partials"))); json_next(&it);) {
        struct str key = json_string(it.key, c->pool);
        snprintf(name, sizeof(name), "%.*s", (int)key.n, key.p);
        compile(set, c, name, json_string(it.value, c->pool));
    }
    struct template *template = compile(set, c, "the template itself", member(c, "template"));
    out_init(&out, c->pool, 0);
    assert_true(template_render(template, json_get(c->of, STR("data")), c->pool, &out));

    struct str expected = member(c, "expected");
    char *page = malloc(out_size(&out) + 1), *at = page;
    for (size_t i = 0, count = out_vecs(&out, &vecs); i < count; i++) {
        memcpy(at, vecs[i].base, vecs[i].len);
        at += vecs[i].len;
    }
    *at = '\0';
    if (!str_eq((struct str){page, (size_t)(at - page)}, expected))
        fail_msg("expected \"%.*s\"\n     got \"%s\"", (int)expected.n, expected.p, page);
    free(page);
    template_set_destroy(&set);
}

static char *read_file(const char *path, size_t *n_r)
{
    static char text[256 * 1024];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s is missing (run from the project's folder)\n", path);
        exit(1);
    }
    size_t n = fread(text, 1, sizeof(text), file);
    fclose(file);
    char *kept = malloc(n);
    memcpy(kept, text, n);
    *n_r = n;
    return kept;
}

int main(void)
{
    static struct spec_case cases[CASES];
    static struct CMUnitTest tests[CASES];
    struct json_doc docs[COUNT(modules)];
    char *texts[COUNT(modules)];
    h2o_mem_pool_t pool;
    size_t count = 0;

    h2o_mem_init_pool(&pool);
    for (size_t m = 0; m < COUNT(modules); m++) {
        char path[128];
        size_t n, found;
        snprintf(path, sizeof(path), FOLDER "%s", modules[m].file);
        texts[m] = read_file(path, &n);
        json_doc_init(&docs[m]);
        enum json_error error = json_parse(&docs[m], texts[m], n, 64, NULL);
        struct json_value all = json_get(json_root(&docs[m]), STR("tests"));
        found = json_count(all);
        if (error != JSON_OK || found != modules[m].cases) {
            fprintf(stderr, "%s: %s, %zu cases instead of %zu\n", path, json_error_text(error),
                    found, modules[m].cases);
            return 1;
        }
        for (struct json_iter it = json_iter(all); json_next(&it); count++) {
            struct spec_case *c = &cases[count];
            struct str name = json_string(json_get(it.value, STR("name")), &pool);
            *c = (struct spec_case){.file = modules[m].file, .of = it.value, .pool = &pool};
            if (asprintf(&c->name, "%s: %.*s", c->file, (int)name.n, name.p) < 0)
                return 1;
            tests[count] =
                (struct CMUnitTest){.name = c->name, .test_func = test_case, .initial_state = c};
        }
    }
    gw_assert(count == CASES);
    int failed = cmocka_run_group_tests_name("mustache specification", tests, NULL, NULL);
    for (size_t i = 0; i < CASES; i++)
        free(cases[i].name);
    for (size_t m = 0; m < COUNT(modules); m++) {
        json_doc_fini(&docs[m]);
        free(texts[m]);
    }
    h2o_mem_clear_pool(&pool);
    return failed;
}
