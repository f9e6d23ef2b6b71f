/* Any JSON as what `each` goes through, as its results and as a batch's answer: three lines, the
 * array's whole, the results, the answer. */
#include <stdlib.h>
#include "pages/each.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_DEPTH = 128, MANY = 64 };

/* All that is written can be read again. */
static void check(h2o_mem_pool_t *pool, struct json_value v)
{
    struct out out;
    struct json_doc doc;
    h2o_iovec_t *vecs;
    out_init(&out, pool, 0);
    json_write(&out, v);
    size_t count = out_vecs(&out, &vecs), n = 0;
    char *text = malloc(out_size(&out) + 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + n, vecs[i].base, vecs[i].len);
        n += vecs[i].len;
    }
    json_doc_init(&doc);
    gw_assert(json_parse(&doc, text, n, 2 * MAX_DEPTH + 2, NULL) == JSON_OK);
    json_doc_fini(&doc);
    free(text);
}

static void place(h2o_mem_pool_t *pool, struct json_value whole, const struct json_value *results,
                  size_t count)
{
    static struct place_key a = {STR("a"), SIZE_MAX, false}, deep[] = {{STR("a"), SIZE_MAX, false},
                                                                       {STR("0"), 0, false},
                                                                       {STR("b"), SIZE_MAX, false}};
    static const struct place_path paths[] = {{NULL, 0}, {&a, 1}, {deep, COUNT(deep)}};
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct json_value before = place_select(whole, &paths[i]);
        struct json_value placed =
            each_place(pool, whole, &paths[i], &paths[1 + i % 2], results, count);
        struct json_value after = place_select(placed, &paths[i]);
        gw_assert(json_type(after) == json_type(before));
        gw_assert(json_type(after) != JSON_ARRAY || json_count(after) == json_count(before));
        check(pool, placed);
    }
}

static void spread(h2o_mem_pool_t *pool, struct json_value answer, struct str by,
                   const struct str *keys, size_t count)
{
    struct json_value found[MANY];
    bool fits = each_spread(pool, answer, by, keys, count, found);
    gw_assert(fits == (json_type(answer) == (by.n != 0 ? JSON_ARRAY : JSON_OBJECT)));
    for (size_t i = 0; fits && i < count; i++) { /* a second opinion, from the first to the last */
        struct json_value wanted = json_null();
        for (struct json_iter it = json_iter(answer); json_next(&it);) {
            struct str key = place_text(by.n != 0 ? json_get(it.value, by) : it.key, pool);
            if (key.p != NULL && keys[i].p != NULL && str_eq(key, keys[i]))
                wanted = it.value;
        }
        gw_assert(json_type(found[i]) == json_type(wanted) && found[i].at == wanted.at);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_doc docs[3];
    char *texts[3];
    for (size_t i = 0; i < COUNT(docs); i++) {
        const uint8_t *newline = size != 0 ? memchr(data, '\n', size) : NULL;
        size_t n = newline != NULL ? (size_t)(newline - data) : size;
        texts[i] = malloc(n + 1); /* in memory of exactly its size */
        memcpy(texts[i], data, n);
        json_doc_init(&docs[i]);
        json_parse(&docs[i], texts[i], n, MAX_DEPTH, NULL);
        n += newline != NULL;
        data += n;
        size -= n;
    }

    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct json_value results[MANY];
    struct str keys[MANY];
    size_t count = 0;
    for (struct json_iter it = json_iter(json_root(&docs[1])); count < MANY && json_next(&it);) {
        keys[count] = place_text(it.value, &pool);
        results[count++] = it.value;
    }
    check(&pool, each_list(&pool, results, count));
    place(&pool, json_root(&docs[0]), results, count);
    spread(&pool, json_root(&docs[2]), STR("a"), keys, count);
    spread(&pool, json_root(&docs[2]), STR(""), keys, count);
    h2o_mem_clear_pool(&pool);
    for (size_t i = 0; i < COUNT(docs); i++) {
        json_doc_fini(&docs[i]);
        free(texts[i]);
    }
    return 0;
}
