/* What the tests of templates share: a template and JSON in, the page or the errors as text out. */
#ifndef GW_TEST_RENDER_H
#define GW_TEST_RENDER_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "render/render.h"

/* Name, text, name, text, …, NULL. */
static inline bool partial_of_list(void *arg, struct str name, struct str *text_r)
{
    for (const char *const *partial = arg; partial != NULL && *partial != NULL; partial += 2) {
        if (str_eq(str_from(partial[0]), name)) {
            *text_r = str_from(partial[1]);
            return true;
        }
    }
    return false;
}

static inline struct template *compile(struct template_set *set, const char *text,
                                       const char *const *partials)
{
    struct diag *diag = diag_create();
    struct template *template = template_compile(set, "page", str_from(text), partial_of_list,
                                                 (void *)(uintptr_t)partials, diag);
    diag_print(diag, stderr);
    diag_destroy(&diag);
    assert_non_null(template);
    return template;
}

/* malloc'ed. */
static inline char *text_of(struct out *out)
{
    h2o_iovec_t *vecs;
    char *text = malloc(out_size(out) + 1), *at = text;
    for (size_t i = 0, count = out_vecs(out, &vecs); i < count; i++) {
        memcpy(at, vecs[i].base, vecs[i].len);
        at += vecs[i].len;
    }
    *at = '\0';
    return text;
}

static inline char *render_value(const struct template *template, struct json_value root,
                                 bool *done_r)
{
    h2o_mem_pool_t pool;
    struct out out;
    h2o_mem_init_pool(&pool);
    out_init(&out, &pool, 0);
    *done_r = template_render(template, root, &pool, &out);
    char *text = text_of(&out);
    h2o_mem_clear_pool(&pool);
    return text;
}

static inline char *render(const char *template, const char *const *partials, const char *json)
{
    struct template_set *set = template_set_create(NULL);
    struct json_doc doc;
    bool done;
    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, json, strlen(json), 64, NULL), JSON_OK);
    char *text = render_value(compile(set, template, partials), json_root(&doc), &done);
    assert_true(done);
    json_doc_fini(&doc);
    template_set_destroy(&set);
    return text;
}

/* malloc'ed. */
static inline char *text_of_diag(const struct diag *diag)
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    diag_print(diag, to);
    fclose(to);
    return text;
}

#endif
