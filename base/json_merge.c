/* Merging two JSON objects.
 *
 * Whoever sends the objects chooses their size, so finding equal keys by looking each one up would
 * let two answers of some megabytes hold a loop for minutes. Here all members are laid out in their
 * order of appearance and pointers to them sorted by key: equal keys stand together, the first of
 * them in the object keeps its place and takes the value. n log n whatever the keys are, which no
 * hash promises without a secret. */
#include <stdlib.h>
#include "base/json.h"

/* Any order in which equal keys meet will do; lengths differ sooner than bytes. Among equal keys
 * the order of appearance, which is the one of addresses. */
static int compare_members(const void *a, const void *b)
{
    const struct json_member *x = *(const struct json_member *const *)a;
    const struct json_member *y = *(const struct json_member *const *)b;

    if (x->key.n != y->key.n)
        return x->key.n < y->key.n ? -1 : 1;
    int difference = x->key.n == 0 ? 0 : memcmp(x->key.p, y->key.p, x->key.n);
    return difference != 0 ? difference : (x > y) - (x < y);
}

static void append_members(h2o_mem_pool_t *pool, struct json_object *object, struct json_value of)
{
    for (struct json_iter it = json_iter(of); json_next(&it);)
        object->members[object->count++] =
            (struct json_member){json_string(it.key, pool), it.value};
}

/* Folds one run of members of the same key, in order of appearance, into the first. Those below
 * `border` came from the one object, where the last of a name counts, the others from the other. */
static void fold(h2o_mem_pool_t *pool, struct json_member **run, size_t count,
                 const struct json_member *border, unsigned *collisions)
{
    struct json_value into = JSON_NONE, with = JSON_NONE;

    for (size_t i = 0; i < count; i++) {
        if (run[i] < border)
            into = run[i]->value;
        else
            with = run[i]->value;
        run[i]->value = JSON_NONE; /* folded: goes away below */
    }
    run[0]->value = json_merge(pool, into, with, collisions);
}

static struct json_value merge_objects(h2o_mem_pool_t *pool, struct json_value into,
                                       struct json_value with, unsigned *collisions)
{
    size_t count_into = json_count(into), count = count_into + json_count(with);
    struct json_object *object = json_object_create(pool, count);
    append_members(pool, object, into);
    append_members(pool, object, with);

    struct json_member **order = h2o_mem_alloc(count * sizeof(*order));
    for (size_t i = 0; i < count; i++)
        order[i] = &object->members[i];
    qsort(order, count, sizeof(*order), compare_members);
    for (size_t i = 0, run; i < count; i += run) {
        run = 1;
        while (i + run < count && str_eq(order[i]->key, order[i + run]->key))
            run++;
        if (run > 1)
            fold(pool, &order[i], run, &object->members[count_into], collisions);
    }
    free(order);

    object->count = 0;
    for (size_t i = 0; i < count; i++)
        if (json_type(object->members[i].value) != JSON_MISSING)
            object->members[object->count++] = object->members[i];
    return json_from_object(object);
}

struct json_value json_merge(h2o_mem_pool_t *pool, struct json_value into, struct json_value with,
                             unsigned *collisions_r)
{
    if (json_type(with) == JSON_MISSING)
        return into;
    if (json_type(into) == JSON_MISSING)
        return with;
    if (json_type(into) == JSON_OBJECT && json_type(with) == JSON_OBJECT) {
        if (json_count(with) == 0)
            return into;
        if (json_count(into) == 0)
            return with;
        return merge_objects(pool, into, with, collisions_r);
    }
    if (collisions_r != NULL)
        ++*collisions_r;
    return with;
}
