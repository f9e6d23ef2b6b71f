/* Templates and data that nobody would write: template text, NUL, JSON. {{>self}} and {{<self}}
 * include the template itself, {{>data}} the JSON as a template. */
#include <stdlib.h>
#include "render/render.h"

struct input {
    struct str template, data;
};

static bool include(void *arg, struct str name, struct str *text_r)
{
    const struct input *input = arg;
    if (str_eq(name, STR("self")))
        *text_r = input->template;
    else if (str_eq(name, STR("data")))
        *text_r = input->data;
    else
        return false;
    return true;
}

/* Reads every byte of the page, so that a vector to somewhere else is found. */
static unsigned sum_of(struct out *out)
{
    h2o_iovec_t *vecs;
    unsigned sum = 0;
    for (size_t i = 0, count = out_vecs(out, &vecs); i < count; i++)
        for (size_t k = 0; k < vecs[i].len; k++)
            sum += (unsigned char)vecs[i].base[k];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *text = (const char *)bytes;
    const char *nul = n != 0 ? memchr(text, '\0', n) : NULL;
    struct input input = {{text, n}, {"", 0}};
    struct template_set *set = template_set_create(NULL);
    struct diag *diag = diag_create();
    struct json_doc doc;
    h2o_mem_pool_t pool;
    volatile unsigned sum = 0;

    json_doc_init(&doc);
    h2o_mem_init_pool(&pool);
    if (nul != NULL) {
        input.template.n = (size_t)(nul - text);
        input.data = (struct str){nul + 1, n - input.template.n - 1};
    }
    if (json_parse(&doc, input.data.p, input.data.n, 64, NULL) != JSON_OK)
        json_doc_clear(&doc);
    struct template *template =
        template_compile(set, "main", input.template, include, &input, diag);
    gw_assert((template == NULL) == (diag_errors(diag) != 0));
    if (template != NULL) {
        struct out out;
        out_init(&out, &pool, 0);
        template_render(template, json_root(&doc), &pool, &out);
        gw_assert(out_size(&out) <= 65 * 1024 * 1024);
        sum = sum_of(&out);
        template_uses(template, STR("a"));
    }
    (void)sum;
    h2o_mem_clear_pool(&pool);
    json_doc_fini(&doc);
    diag_destroy(&diag);
    template_set_destroy(&set);
    return 0;
}
