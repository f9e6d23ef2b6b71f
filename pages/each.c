/* Results back to their elements. A list can be thousands long and its sender chooses the keys, so
 * nothing here looks elements up one by one: lists are walked side by side, and keys are sorted,
 * which is n log n whatever they are. */
#include "pages/each.h"

#include <stdlib.h>

size_t each_text_size(struct json_value v)
{
    h2o_mem_pool_t pool;
    struct out out;
    h2o_mem_init_pool(&pool);
    out_init(&out, &pool, 0);
    json_write(&out, v);
    size_t size = out_size(&out);
    h2o_mem_clear_pool(&pool);
    return size;
}

struct json_value each_list(h2o_mem_pool_t *pool, const struct json_value *results, size_t count)
{
    struct json_array *array = json_array_create(pool, count);
    for (size_t i = 0; i < count; i++)
        json_array_add(pool, array,
                       json_type(results[i]) == JSON_MISSING ? json_null() : results[i]);
    return json_from_array(array);
}

/* -- into the elements ------------------------------------------------------------------------ */

static struct json_value element_with(h2o_mem_pool_t *pool, struct json_value element,
                                      const struct place_path *into, struct json_value result)
{
    if (json_type(element) != JSON_OBJECT || json_type(result) == JSON_MISSING)
        return element;
    if (json_type(result) == JSON_NULL && !place_is_free(element, into))
        return element;
    return json_merge(pool, element, place_wrap(pool, into, result), NULL);
}

static struct json_value array_with(h2o_mem_pool_t *pool, struct json_value array, size_t index,
                                    struct json_value value)
{
    struct json_array *copy = json_array_create(pool, json_count(array));
    for (struct json_iter it = json_iter(array); json_next(&it);)
        json_array_add(pool, copy, copy->count == index ? value : it.value);
    return json_from_array(copy);
}

static struct json_value object_with(h2o_mem_pool_t *pool, struct json_value object,
                                     const struct place_key *key, struct json_value value)
{
    struct place_key only = *key;
    const struct place_path path = {.keys = &only, .count = 1};
    if (json_type(value) == JSON_OBJECT) /* would be merged with what it replaces */
        object = json_merge(pool, object, place_wrap(pool, &path, json_null()), NULL);
    return json_merge(pool, object, place_wrap(pool, &path, value), NULL);
}

/* v with `value` at keys[0, count), which place_select() finds something at. */
static struct json_value replaced(h2o_mem_pool_t *pool, struct json_value v,
                                  const struct place_key *keys, size_t count,
                                  struct json_value value)
{
    if (count == 0)
        return value;
    if (json_type(v) == JSON_ARRAY) {
        value = replaced(pool, json_at(v, keys->index), keys + 1, count - 1, value);
        return array_with(pool, v, keys->index, value);
    }
    value = replaced(pool, json_get(v, keys->text), keys + 1, count - 1, value);
    return object_with(pool, v, keys, value);
}

struct json_value each_place(h2o_mem_pool_t *pool, struct json_value whole,
                             const struct place_path *path, const struct place_path *into,
                             const struct json_value *results, size_t count)
{
    struct json_value array = place_select(whole, path);
    if (json_type(array) != JSON_ARRAY)
        return whole;
    struct json_array *placed = json_array_create(pool, json_count(array));
    for (struct json_iter it = json_iter(array); json_next(&it);) {
        size_t i = placed->count;
        json_array_add(pool, placed,
                       i < count ? element_with(pool, it.value, into, results[i]) : it.value);
    }
    return replaced(pool, whole, path->keys, path->count, json_from_array(placed));
}

/* -- a batch's answer ------------------------------------------------------------------------- */

struct entry {
    struct str key;
    struct json_value value;
    size_t index; /* in the answer */
};

static int compare_keys(struct str a, struct str b)
{
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return a.n == 0 ? 0 : memcmp(a.p, b.p, a.n);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int difference = compare_keys(x->key, y->key);
    return difference != 0 ? difference : (x->index > y->index) - (x->index < y->index);
}

static int compare_to_key(const void *key, const void *entry)
{
    return compare_keys(*(const struct str *)key, ((const struct entry *)entry)->key);
}

/* Sorted; of several with one key the last, as of an object's members. */
static size_t sort_entries(struct entry *entries, size_t count)
{
    qsort(entries, count, sizeof(*entries), compare_entries);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || !str_eq(entries[i].key, entries[i + 1].key))
            entries[kept++] = entries[i];
    return kept;
}

bool each_spread(h2o_mem_pool_t *pool, struct json_value answer, struct str by,
                 const struct str *keys, size_t count, struct json_value *results_r)
{
    const bool list = by.n != 0;
    if (json_type(answer) != (list ? JSON_ARRAY : JSON_OBJECT))
        return false;

    struct entry *entries = h2o_mem_alloc((json_count(answer) + 1) * sizeof(*entries));
    size_t found = 0, index = 0;
    for (struct json_iter it = json_iter(answer); json_next(&it); index++) {
        struct str key = place_text(list ? json_get(it.value, by) : it.key, pool);
        if (key.p != NULL)
            entries[found++] = (struct entry){key, it.value, index};
    }
    found = sort_entries(entries, found);
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = NULL;
        if (keys[i].p != NULL)
            entry = bsearch(&keys[i], entries, found, sizeof(*entries), compare_to_key);
        results_r[i] = entry != NULL ? entry->value : json_null();
    }
    free(entries);
    return true;
}
