/* Any text as a condition and anything as the values that it asks about: the first line is the
 * condition, the rest every variable's text and, where it is JSON, every part's data. */
#include <stdlib.h>
#include "pages/when.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct values {
    struct str text;
    struct json_doc doc;
};

static struct str get(void *arg, const struct expand_variable *variable, size_t item)
{
    const struct values *values = arg;
    gw_assert(variable->source < EXPAND_PART && item == 0);
    return values->text.n % 2 != 0 ? values->text : (struct str){NULL, 0};
}

static struct json_value get_value(void *arg, const struct expand_variable *variable, size_t item)
{
    const struct values *values = arg;
    gw_assert(variable->source == EXPAND_PART && variable->param < 2 && item == 0);
    return place_select(json_root(&values->doc), &variable->at);
}

/* A second opinion: each test by itself, then one "all" after the other. */
static bool plainly_holds(const struct when *when, struct values *values, h2o_mem_pool_t *pool)
{
    bool any = when->count == 0, all = true;
    for (size_t i = 0; i < when->count; i++) {
        struct when_test test = when->tests[i];
        if (test.begins) {
            any |= all;
            all = true;
        }
        test.begins = false;
        all &= when_holds(&(struct when){.tests = &test, .count = 1}, get, get_value, values, pool);
    }
    return any || all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str fields[] = {STR("name")}, parts[] = {STR("promo"), STR("recco")};
    static const struct expand_scope scope = {
        .fields = fields, .field_count = COUNT(fields), .parts = parts, .part_count = COUNT(parts)};
    const uint8_t *newline = size != 0 ? memchr(data, '\n', size) : NULL;
    size_t n = newline ? (size_t)(newline - data) : size;
    /* in memory of exactly their size */
    char *condition = malloc(n + 1), *text = malloc(size - n + 1);
    memcpy(condition, data, n);
    struct values values = {.text = {text, 0}};
    if (newline != NULL) {
        values.text.n = size - n - 1;
        memcpy(text, newline + 1, values.text.n);
    }
    json_doc_init(&values.doc);
    json_parse(&values.doc, text, values.text.n, 16, NULL);

    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct diag *diag = diag_create();
    struct when when;
    bool good = when_compile(&pool, (struct str){condition, n}, &scope, (struct pos){"fuzz", 1, 1},
                             diag, &when);
    gw_assert(good == (diag_errors(diag) == 0));
    if (good) {
        gw_assert(when.count <= WHEN_MAX_TESTS && when.parts < 4);
        gw_assert(when_holds(&when, get, get_value, &values, &pool) ==
                  plainly_holds(&when, &values, &pool));
    }
    diag_destroy(&diag);
    h2o_mem_clear_pool(&pool);
    json_doc_fini(&values.doc);
    free(condition);
    free(text);
    return 0;
}
