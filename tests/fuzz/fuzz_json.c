/* Any bytes as JSON: in memory of exactly their size, all of the tape read through the values,
 * written, and what was written read again as the same. */
#include <stdlib.h>
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(struct json_value a, struct json_value b, h2o_mem_pool_t *pool)
{
    gw_assert(json_type(a) == json_type(b) && json_count(a) == json_count(b));
    if (json_type(a) != JSON_OBJECT && json_type(a) != JSON_ARRAY) {
        bool a_escaped, b_escaped;
        gw_assert(str_eq(json_text(a, &a_escaped), json_text(b, &b_escaped)));
        gw_assert(a_escaped == b_escaped);
        gw_assert(str_eq(json_string(a, pool), json_string(b, pool)));
        return;
    }
    struct json_iter x = json_iter(a), y = json_iter(b);
    size_t index = 0;
    while (json_next(&x)) {
        gw_assert(json_next(&y));
        same(x.value, y.value, pool);
        if (json_type(a) == JSON_OBJECT) {
            struct str key = json_string(x.key, pool);
            gw_assert(str_eq(key, json_string(y.key, pool)));
            if (index < 100)
                gw_assert(json_type(json_get(a, key)) == json_type(json_get(b, key)) &&
                          json_type(json_get(a, key)) != JSON_MISSING);
        } else if (index < 100) {
            gw_assert(json_at(a, index).at == x.value.at);
        }
        index++;
    }
    gw_assert(!json_next(&y));
}

static struct str written(struct json_value v, h2o_mem_pool_t *pool)
{
    struct out out;
    h2o_iovec_t *vecs;

    out_init(&out, pool, 0);
    json_write(&out, v);
    size_t size = out_size(&out), count = out_vecs(&out, &vecs);
    char *joined = h2o_mem_alloc_pool(pool, size), *at = joined;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, vecs[i].base, vecs[i].len);
        at += vecs[i].len;
    }
    return (struct str){joined, size};
}

/* The value merged with itself is written as text again; its members are the ones that count. */
static void check_merged(struct json_value v, h2o_mem_pool_t *pool)
{
    struct json_object *object = json_object_create(pool, 1);
    struct json_doc doc;

    json_object_set(pool, object, STR("part"), v);
    struct json_value built = json_from_object(object);
    struct json_value merged = json_merge(pool, built, built, NULL);
    struct str text = written(merged, pool);
    json_doc_init(&doc);
    gw_assert(json_parse(&doc, text.p, text.n, 33, NULL) == JSON_OK);
    struct json_value again = json_get(json_root(&doc), STR("part"));
    gw_assert(json_type(again) == json_type(v));
    if (json_type(v) == JSON_OBJECT) {
        gw_assert(json_count(again) <= json_count(v));
        for (struct json_iter it = json_iter(again); json_next(&it);)
            gw_assert(json_type(json_get(v, json_string(it.key, pool))) == json_type(it.value));
    }
    json_doc_fini(&doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size);
    struct json_doc doc, again;
    size_t error_at = SIZE_MAX;
    h2o_mem_pool_t pool;

    if (size != 0)
        memcpy(text, data, size);
    h2o_mem_init_pool(&pool);
    json_doc_init(&doc);
    json_doc_init(&again);
    if (json_parse(&doc, text, size, 32, &error_at) == JSON_OK) {
        struct str copy = written(json_root(&doc), &pool);
        gw_assert(copy.n <= size && doc.count <= size / 2 + 1);
        gw_assert(json_parse(&again, copy.p, copy.n, 32, NULL) == JSON_OK);
        gw_assert(again.count == doc.count);
        same(json_root(&doc), json_root(&again), &pool);
        if (size < 4096)
            check_merged(json_root(&doc), &pool);
    } else {
        gw_assert(error_at <= size && doc.count == 0);
    }
    json_doc_fini(&again);
    json_doc_fini(&doc);
    h2o_mem_clear_pool(&pool);
    free(text);
    return 0;
}
