/* Paths into JSON: compiled from the configuration, followed by select, matched by allow and deny.
 *
 * allow and deny walk an answer once with all their paths side by side: for each path the number of
 * keys matched so far, or that it can't match here. A value at which no deny path is alive and that
 * an allow path has reached goes through as the handle it is, so a list that keeps a large array
 * whole costs nothing for it. */
#include "pages/place.h"

#include <stdio.h>
#include "base/text.h"

/* -- compiling -------------------------------------------------------------------------------- */

static size_t element_number(struct str key)
{
    if (key.n == 0 || key.n > 9 || (key.n > 1 && key.p[0] == '0'))
        return SIZE_MAX;
    size_t number = 0;
    for (size_t i = 0; i < key.n; i++) {
        if (!is_digit(key.p[i]))
            return SIZE_MAX;
        number = number * 10 + (size_t)(key.p[i] - '0');
    }
    return number;
}

bool place_compile_path(h2o_mem_pool_t *pool, struct str text, bool wildcards, struct pos at,
                        size_t offset, struct diag *diag, struct place_path *path_r)
{
    *path_r = (struct place_path){0};
    size_t count = 1;
    for (size_t i = 0; i < text.n; i++)
        count += text.p[i] == '.';
    if (count > PLACE_MAX_KEYS) {
        diag_error(diag, place_inside(at, offset), "a path has at most %d keys",
                   (int)PLACE_MAX_KEYS);
        return false;
    }
    path_r->keys = h2o_mem_alloc_pool(pool, count * sizeof(*path_r->keys));
    for (size_t from = 0; from <= text.n;) {
        const char *dot = memchr(text.p + from, '.', text.n - from);
        size_t end = dot ? (size_t)(dot - text.p) : text.n;
        struct str key = {text.p + from, end - from};
        bool any = str_eq(key, STR("*"));
        if (key.n == 0) {
            diag_error(diag, place_inside(at, offset + from), "\"%.*s\" has an empty key",
                       (int)text.n, text.p);
            return false;
        }
        if (any && !wildcards) {
            diag_error(diag, place_inside(at, offset + from),
                       "'*' stands for many values, here one is needed");
            return false;
        }
        path_r->keys[path_r->count++] = (struct place_key){key, element_number(key), any};
        from = end + 1;
    }
    return true;
}

static bool compile_list(h2o_mem_pool_t *pool, const struct config *config,
                         const struct config_strings *texts, struct diag *diag,
                         struct place_path **paths_r, size_t *count_r)
{
    *count_r = 0;
    if (texts->count > PLACE_MAX_PATHS) {
        diag_error(diag, config_pos(config, texts), "at most %d paths can be listed",
                   (int)PLACE_MAX_PATHS);
        return false;
    }
    *paths_r = h2o_mem_alloc_pool(pool, texts->count * sizeof(**paths_r));
    bool good = true;
    for (size_t i = 0; i < texts->count; i++)
        good &=
            place_compile_path(pool, texts->items[i], true, config_pos(config, &texts->items[i]), 0,
                               diag, &(*paths_r)[(*count_r)++]);
    return good;
}

bool place_compile(h2o_mem_pool_t *pool, const struct config *config,
                   const struct config_part *part, struct diag *diag, struct placement *placement_r)
{
    struct placement *p = placement_r;
    *p = (struct placement){.spread = str_eq(part->into, STR("."))};
    bool good = true;
    if (part->select.n != 0)
        good &= place_compile_path(pool, part->select, false, config_pos(config, &part->select), 0,
                                   diag, &p->select);
    if (part->into.n != 0 && !p->spread)
        good &= place_compile_path(pool, part->into, false, config_pos(config, &part->into), 0,
                                   diag, &p->into);
    good &= compile_list(pool, config, &part->allow, diag, &p->allow, &p->allow_count);
    good &= compile_list(pool, config, &part->deny, diag, &p->deny, &p->deny_count);
    return good;
}

/* -- select ----------------------------------------------------------------------------------- */

struct json_value place_select(struct json_value v, const struct place_path *path)
{
    for (size_t i = 0; i < path->count; i++) {
        const struct place_key *key = &path->keys[i];
        if (json_type(v) == JSON_OBJECT)
            v = json_get(v, key->text);
        else if (json_type(v) == JSON_ARRAY && key->index != SIZE_MAX)
            v = json_at(v, key->index);
        else
            return JSON_NONE;
    }
    return v;
}

struct str place_text(struct json_value v, h2o_mem_pool_t *pool)
{
    if (json_type(v) == JSON_NULL)
        return (struct str){NULL, 0};
    return json_string(v, pool);
}

/* -- allow and deny ---------------------------------------------------------------------------- */

enum { DEAD = 0xff };

/* For each path of a list the keys matched so far, or DEAD. */
struct matched {
    uint8_t keys[PLACE_MAX_PATHS];
};

struct child {
    struct str key; /* of a member */
    size_t index;   /* of an element */
    bool is_element;
};

/* What matching comes to one step further down. True: a path ends there. */
static bool step(const struct place_path *paths, size_t count, const struct matched *at,
                 const struct child *child, struct matched *below_r)
{
    bool ended = false;
    for (size_t i = 0; i < count; i++) {
        below_r->keys[i] = DEAD;
        if (at->keys[i] == DEAD)
            continue;
        const struct place_key *key = &paths[i].keys[at->keys[i]];
        if (child->is_element && !key->any && key->index == SIZE_MAX)
            below_r->keys[i] = at->keys[i];
        else if (key->any ||
                 (child->is_element ? key->index == child->index : str_eq(key->text, child->key)))
            below_r->keys[i] = (uint8_t)(at->keys[i] + 1);
        if (below_r->keys[i] == paths[i].count) {
            below_r->keys[i] = DEAD; /* nothing further to match */
            ended = true;
        }
    }
    return ended;
}

static bool is_alive(const struct matched *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (at->keys[i] != DEAD)
            return true;
    return false;
}

/* json_object_set() would look for the name among those kept so far, at each member again. */
static void append_member(h2o_mem_pool_t *pool, struct json_object *object, struct str key,
                          struct json_value value)
{
    if (object->count == object->capacity) {
        size_t capacity = object->capacity * 2;
        struct json_member *members = h2o_mem_alloc_pool(pool, capacity * sizeof(*members));
        memcpy(members, object->members, object->count * sizeof(*members));
        object->members = members;
        object->capacity = capacity;
    }
    object->members[object->count++] = (struct json_member){key, value};
}

/* allowed: an allow path ended at v or above it. MISSING: nothing of v is shown. The depth is the
 * one that json_parse() admits. What stays empty takes no memory: "{}" is three bytes in an answer,
 * which may hold millions of them. */
static struct json_value filter(h2o_mem_pool_t *pool, struct json_value v,
                                const struct placement *p, const struct matched *allow,
                                const struct matched *deny, bool allowed)
{
    if (allowed && !is_alive(deny, p->deny_count))
        return v;
    if (!allowed && !is_alive(allow, p->allow_count))
        return JSON_NONE;
    bool is_array = json_type(v) == JSON_ARRAY;
    if (!is_array && json_type(v) != JSON_OBJECT)
        return allowed ? v : JSON_NONE;

    static const struct json_object no_members;
    static const struct json_array no_elements;
    struct json_object *object = NULL;
    struct json_array *array = NULL;
    struct child child = {.is_element = is_array};
    for (struct json_iter it = json_iter(v); json_next(&it); child.index++) {
        if (!is_array)
            child.key = json_string(it.key, pool);
        struct matched allow_below, deny_below;
        if (step(p->deny, p->deny_count, deny, &child, &deny_below))
            continue;
        bool reached = step(p->allow, p->allow_count, allow, &child, &allow_below);
        struct json_value kept =
            filter(pool, it.value, p, &allow_below, &deny_below, allowed || reached);
        if (json_type(kept) == JSON_MISSING)
            continue;
        if (is_array) {
            if (array == NULL)
                array = json_array_create(pool, 4);
            json_array_add(pool, array, kept);
        } else {
            if (object == NULL)
                object = json_object_create(pool, 4);
            append_member(pool, object, child.key, kept);
        }
    }
    return is_array ? json_from_array(array != NULL ? array : &no_elements)
                    : json_from_object(object != NULL ? object : &no_members);
}

struct json_value place_filter(h2o_mem_pool_t *pool, struct json_value v,
                               const struct placement *placement)
{
    if (placement->allow_count == 0 && placement->deny_count == 0)
        return v;
    struct matched none = {{0}};
    v = filter(pool, v, placement, &none, &none, placement->allow_count == 0);
    return json_type(v) == JSON_MISSING ? json_null() : v;
}

/* -- into -------------------------------------------------------------------------------------- */

struct json_value place_wrap(h2o_mem_pool_t *pool, const struct place_path *path,
                             struct json_value v)
{
    for (size_t i = path->count; i-- > 0;) {
        struct json_object *object = json_object_create(pool, 1);
        json_object_set(pool, object, path->keys[i].text, v);
        v = json_from_object(object);
    }
    return v;
}

bool place_is_free(struct json_value v, const struct place_path *path)
{
    for (size_t i = 0; i < path->count; i++) {
        if (json_type(v) != JSON_OBJECT)
            return false;
        v = json_get(v, path->keys[i].text);
        if (json_type(v) == JSON_MISSING)
            return true;
    }
    return false;
}

/* Looking up each member of one object in another is n * m; two huge answers must not hold the
 * loop for the sake of a log line. */
enum { MAX_COMPARISONS = 1 << 18 };

struct collision_walk {
    place_collision_fn *fn;
    void *arg;
    h2o_mem_pool_t *pool;
    size_t comparisons;
    char path[256];
};

static void walk_collisions(struct collision_walk *walk, struct json_value into,
                            struct json_value with, size_t path_length)
{
    size_t count = json_count(into);
    for (struct json_iter it = json_iter(with); json_next(&it);) {
        walk->comparisons += count;
        if (walk->comparisons > MAX_COMPARISONS)
            return;
        struct str key = json_string(it.key, walk->pool);
        struct json_value old = json_get(into, key);
        if (json_type(old) == JSON_MISSING)
            continue;
        int n = snprintf(walk->path + path_length, sizeof(walk->path) - path_length, "%s%.*s",
                         path_length ? "." : "", (int)key.n, key.p);
        size_t length = path_length + (size_t)n;
        if (length >= sizeof(walk->path))
            length = sizeof(walk->path) - 1;
        if (json_type(old) == JSON_OBJECT && json_type(it.value) == JSON_OBJECT)
            walk_collisions(walk, old, it.value, length);
        else
            walk->fn(walk->arg, (struct str){walk->path, length});
    }
}

void place_collisions(struct json_value into, struct json_value with, place_collision_fn *fn,
                      void *arg)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct collision_walk walk = {.fn = fn, .arg = arg, .pool = &pool};
    walk_collisions(&walk, into, with, 0);
    h2o_mem_clear_pool(&pool);
}
