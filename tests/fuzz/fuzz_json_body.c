/* Any text as a body and anything as its variables' values: the first line is the body, the rest
 * every variable's text and, where it is JSON, every part's and element's data. What is sent is
 * JSON, of the same shape whatever a client puts into it. */
#include <stdlib.h>
#include "pages/json_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_DEPTH = 128 };

struct values {
    struct str text;
    struct json_doc doc;
};

static struct str get(void *arg, const struct expand_variable *variable, size_t item)
{
    gw_assert(variable->source < EXPAND_PART && item == 0);
    return ((const struct values *)arg)->text;
}

static struct json_value get_value(void *arg, const struct expand_variable *variable, size_t item)
{
    gw_assert(variable->source >= EXPAND_PART && (item == 0 || variable->list));
    return place_select(json_root(&((const struct values *)arg)->doc), &variable->at);
}

static void check(struct str text, struct str written, h2o_mem_pool_t *pool,
                  const struct json_body *body, struct values *values, size_t items)
{
    struct values harmless = {.text = STR("x"), .doc = values->doc};
    struct json_doc doc, other;
    struct str plain;
    const struct expand_variable *culprit;
    json_doc_init(&doc);
    json_doc_init(&other);
    gw_assert(written.n <= BODY_MAX);
    gw_assert(json_parse(&doc, written.p, written.n, 3 * MAX_DEPTH, NULL) == JSON_OK);
    gw_assert(body_write(body, get, get_value, &harmless, items, pool, &plain, &culprit) ==
              EXPAND_OK);
    gw_assert(json_parse(&other, plain.p, plain.n, 3 * MAX_DEPTH, NULL) == JSON_OK);
    gw_assert(doc.count == other.count);
    for (uint32_t i = 0; i < doc.count; i++)
        gw_assert(doc.nodes[i].type == other.nodes[i].type &&
                  doc.nodes[i].next == other.nodes[i].next);
    /* and the text's own, but for the arrays and objects of other parts */
    gw_assert(json_parse(&other, text.p, text.n, MAX_DEPTH, NULL) == JSON_OK);
    gw_assert(doc.count >= other.count);
    json_doc_fini(&doc);
    json_doc_fini(&other);
}

static void try_body(struct str text, struct values *values, bool batch)
{
    static const struct str parts[] = {STR("promo"), STR("recco")};
    const struct expand_scope scope = {
        .parts = parts, .part_count = COUNT(parts), .item = STR("item"), .batch = batch};
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct diag *diag = diag_create();
    struct json_body body;
    bool good = body_compile(&pool, text, &scope, (struct pos){"fuzz", 1, 1}, diag, &body);
    gw_assert(good == (diag_errors(diag) == 0));
    if (good && body.count != 0) {
        struct str written;
        const struct expand_variable *culprit;
        const size_t items = batch ? 3 : 1;
        enum expand_result result =
            body_write(&body, get, get_value, values, items, &pool, &written, &culprit);
        gw_assert((result == EXPAND_OK) == (culprit == NULL));
        gw_assert(result != EXPAND_LEAVES_SEGMENT);
        if (result == EXPAND_OK)
            check(text, written, &pool, &body, values, items);
    }
    diag_destroy(&diag);
    h2o_mem_clear_pool(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size != 0 ? memchr(data, '\n', size) : NULL;
    size_t n = newline ? (size_t)(newline - data) : size;
    /* in memory of exactly their size */
    char *body = malloc(n + 1), *text = malloc(size - n + 1);
    memcpy(body, data, n);
    struct values values = {.text = {text, 0}};
    if (newline != NULL) {
        values.text.n = size - n - 1;
        memcpy(text, newline + 1, values.text.n);
    }
    json_doc_init(&values.doc);
    json_parse(&values.doc, text, values.text.n, MAX_DEPTH, NULL);
    try_body((struct str){body, n}, &values, false);
    try_body((struct str){body, n}, &values, true);
    json_doc_fini(&values.doc);
    free(body);
    free(text);
    return 0;
}
