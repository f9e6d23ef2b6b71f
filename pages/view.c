/* What a template sees, and what the JSON reply calls data: the parts' values under their names or
 * where `into` puts them, then `parts`, `request` and `page`.
 *
 * A page without `into` is an array of (name, value) whose names the plan knows. Otherwise the
 * parts are merged one by one in the configured order, so the outcome never depends on who answered
 * first. A part without data (it failed, or answered null) takes nobody's place: it becomes null
 * where nothing else stands. */
#include "pages/pages_internal.h"

#include <stdio.h>

/* -- the parts' data ----------------------------------------------------------------------------
 */

/* Puts the results of an `each` into the elements that they are for: those of its input's value, as
 * far as others have been put in there already. One value for all, which a fallback or static data
 * gave, goes into every element, or into the first ones when it is large: how many there are is the
 * input's sender's choice. */
static void scatter(struct page_run *run, const struct part_run *part, struct json_value *values)
{
    const struct part_plan *plan = part->plan;
    h2o_mem_pool_t *pool = run->request->pool;
    struct json_value *input = &values[plan->each.input], value = values[part - run->parts];
    size_t count = json_count(place_select(*input, &plan->each.at)), n = 0;
    count = count < MAX_LISTED ? count : MAX_LISTED;
    bool stands_in = part->state == PART_FALLBACK || part->state == PART_STATIC;
    struct json_value *results = h2o_mem_alloc_pool(pool, count * sizeof(*results));
    if (stands_in || json_type(value) != JSON_ARRAY) {
        size_t most = EACH_MAX_BYTES / (each_text_size(value) + 1);
        for (; n < count && n < most; n++)
            results[n] = value;
    } else {
        for (struct json_iter it = json_iter(value); n < count && json_next(&it);)
            results[n++] = it.value;
    }
    *input = each_place(pool, *input, &plan->each.at, &plan->placement.into, results, n);
}

/* The parts' values as they are shown; those that were put into others' still stand there. Last
 * parts first: what is put into a part is put with it into another. */
static const struct json_value *shown(struct page_run *run)
{
    size_t count = run->page->part_count;
    struct json_value *values = h2o_mem_alloc_pool(run->request->pool, count * sizeof(*values));
    for (size_t i = 0; i < count; i++)
        values[i] = run->parts[i].value;
    for (size_t n = count; run->page->scattered && n-- > 0;) {
        const struct part_run *part = &run->parts[run->page->order[n]];
        if (part_is_scattered(part->plan))
            scatter(run, part, values);
    }
    return values;
}

static struct json_object *listed(struct page_run *run, size_t room)
{
    const struct page *page = run->page;
    const struct json_value *values = page->scattered ? shown(run) : NULL;
    struct json_object *root = json_object_create(run->request->pool, page->part_count + room);
    for (size_t i = 0; i < page->part_count; i++)
        if (values == NULL || !part_is_scattered(&page->parts[i]))
            root->members[root->count++] = (struct json_member){
                page->parts[i].config->name, values != NULL ? values[i] : run->parts[i].value};
    return root;
}

struct collision_log {
    struct page *page;
    const struct part_run *part;
};

static uint32_t hash(struct str text) /* FNV-1a */
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < text.n; i++)
        h = (h ^ (unsigned char)text.p[i]) * 16777619u;
    return h ? h : 1;
}

/* Each path is logged once per page; after COLLISIONS_LOGGED of them it is known well enough. */
static void log_collision(void *arg, struct str path)
{
    const struct collision_log *log = arg;
    uint32_t wanted = hash(path);
    for (size_t i = 0; i < COLLISIONS_LOGGED; i++) {
        uint32_t seen = 0;
        if (atomic_compare_exchange_strong(&log->page->collisions_logged[i], &seen, wanted)) {
            log_event(LOG_WARN, "parts collide", "page=%s key=%s kept=%s collisions=%llu",
                      log_quote(log->page->config->name), log_quote(path),
                      log_quote(log->part->plan->config->name),
                      (unsigned long long)atomic_load(&log->page->collisions));
            return;
        }
        if (seen == wanted)
            return;
    }
}

/* The place of a part: its `into`, or its name. */
static struct json_value placed(h2o_mem_pool_t *pool, const struct part_run *part,
                                struct json_value value)
{
    if (part->plan->placement.spread)
        return value;
    if (part->plan->placement.into.count != 0)
        return place_wrap(pool, &part->plan->placement.into, value);
    struct place_key key = {.text = part->plan->config->name};
    return place_wrap(pool, &(struct place_path){&key, 1}, value);
}

static bool is_free(struct json_value root, const struct part_run *part)
{
    const struct place_path *into = &part->plan->placement.into;
    if (part->plan->placement.spread)
        return false; /* null has no members to spread */
    if (into->count == 0)
        return json_type(json_get(root, part->plan->config->name)) == JSON_MISSING;
    for (size_t i = 0; i < into->count; i++) {
        if (json_type(root) != JSON_OBJECT)
            return false;
        root = json_get(root, into->keys[i].text);
        if (json_type(root) == JSON_MISSING)
            return true;
    }
    return false;
}

static struct json_value merged(struct page_run *run)
{
    h2o_mem_pool_t *pool = run->request->pool;
    const struct json_value *values = shown(run);
    struct json_value root = json_from_object(json_object_create(pool, 0));
    for (size_t i = 0; i < run->page->part_count; i++) {
        struct part_run *part = &run->parts[i];
        if (json_type(values[i]) == JSON_NULL || part_is_scattered(part->plan))
            continue;
        struct json_value before = root, value = placed(pool, part, values[i]);
        unsigned collisions = 0;
        root = json_merge(pool, before, value, &collisions);
        if (collisions != 0) {
            atomic_fetch_add_explicit(&run->page->collisions, collisions, memory_order_relaxed);
            if (atomic_exchange_explicit(&part->plan->collisions_seen, collisions,
                                         memory_order_relaxed) != collisions)
                place_collisions(before, value, log_collision,
                                 &(struct collision_log){run->page, part});
        }
    }
    for (size_t i = 0; i < run->page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        if (json_type(values[i]) == JSON_NULL && !part_is_scattered(part->plan) &&
            is_free(root, part))
            root = json_merge(pool, root, placed(pool, part, values[i]), NULL);
    }
    return root;
}

struct json_value view_data(struct page_run *run)
{
    return run->page->placed ? merged(run) : json_from_object(listed(run, 0));
}

/* -- parts, request, page -----------------------------------------------------------------------
 */

/* parts.NAME: state, status, ms, age, is; in one piece, since handles only borrow. */
struct part_view {
    struct json_object object, is;
    struct json_member members[5], is_member;
    struct str state, status, ms, age;
    char status_digits[12], ms_digits[12], age_digits[24];
};

static void fill_part(struct part_view *view, const struct part_run *part)
{
    size_t n = 0;
    struct str state = str_from(part_state_name(part->state));
    view->state = state;
    view->members[n++] = (struct json_member){STR("state"), json_from_text(&view->state)};
    int digits =
        snprintf(view->status_digits, sizeof(view->status_digits), "%d", part->record->status);
    view->status = (struct str){view->status_digits, (size_t)digits};
    view->members[n++] = (struct json_member){STR("status"), json_from_number(&view->status)};
    digits = snprintf(view->ms_digits, sizeof(view->ms_digits), "%u", part->record->us / 1000);
    view->ms = (struct str){view->ms_digits, (size_t)digits};
    view->members[n++] = (struct json_member){STR("ms"), json_from_number(&view->ms)};
    if (part->state == PART_OK || part->state == PART_STALE) {
        digits = snprintf(view->age_digits, sizeof(view->age_digits), "%llu",
                          (unsigned long long)run_age_s(part));
        view->age = (struct str){view->age_digits, (size_t)digits};
        view->members[n++] = (struct json_member){STR("age"), json_from_number(&view->age)};
    }
    view->is_member = (struct json_member){state, json_from_bool(true)};
    view->is = (struct json_object){&view->is_member, 1, 1};
    view->members[n++] = (struct json_member){STR("is"), json_from_object(&view->is)};
    view->object = (struct json_object){view->members, n, n};
}

struct json_value view_part(struct page_run *run, size_t part)
{
    struct part_view *view = h2o_mem_alloc_pool(run->request->pool, sizeof(*view));
    fill_part(view, &run->parts[part]);
    return json_from_object(&view->object);
}

static struct json_value parts_object(struct page_run *run)
{
    size_t count = run->page->part_count;
    struct json_object *parts = json_object_create(run->request->pool, count);
    struct part_view *views = h2o_mem_alloc_pool(run->request->pool, count * sizeof(*views));
    for (size_t i = 0; i < count; i++) {
        fill_part(&views[i], &run->parts[i]);
        parts->members[parts->count++] = (struct json_member){run->page->parts[i].config->name,
                                                              json_from_object(&views[i].object)};
    }
    return json_from_object(parts);
}

/* request.query.NAME, decoded; the first of a name. */
static struct json_value query_object(struct http_request *request)
{
    enum { MAX_NAMES = 64 }; /* a client chooses how many */
    struct json_object *query = json_object_create(request->pool, 0);
    struct json_value found = json_from_object(query);
    for (struct http_query_iter it = http_query_iter(request);
         query->count < MAX_NAMES && http_query_next(&it);) {
        if (json_type(json_get(found, it.name)) != JSON_MISSING)
            continue;
        struct str *value = h2o_mem_alloc_pool(request->pool, sizeof(*value));
        *value = it.value;
        json_object_set(request->pool, query, it.name, json_from_text(value));
    }
    return found;
}

static struct json_value request_object(struct http_request *request)
{
    struct json_object *object = json_object_create(request->pool, 5);
    struct json_member *m = object->members;
    m[0] = (struct json_member){STR("path"), json_from_text(&request->path)};
    m[1] = (struct json_member){STR("query"), query_object(request)};
    m[2] = (struct json_member){STR("host"), json_from_text(&request->host)};
    m[3] = (struct json_member){STR("id"), json_from_text(&request->id)};
    m[4] = (struct json_member){STR("method"), json_from_text(&request->method)};
    object->count = 5;
    return json_from_object(object);
}

struct json_value view_request(struct page_run *run)
{
    return request_object(run->request);
}

/* Whatever was deferred is there: the sections of all of them show. */
static struct json_value defer_object(struct page_run *run)
{
    size_t count = run->page->part_count;
    struct json_object *object = json_object_create(run->request->pool, count);
    for (size_t i = 0; i < count; i++)
        object->members[object->count++] =
            (struct json_member){run->page->parts[i].config->name, json_from_bool(true)};
    return json_from_object(object);
}

static struct json_value page_object(struct page_run *run)
{
    struct json_object *object = json_object_create(run->request->pool, 2);
    object->members[0] =
        (struct json_member){STR("name"), json_from_text(&run->page->config->name)};
    object->members[1] =
        (struct json_member){STR("complete"), json_from_bool(run_is_complete(run))};
    object->count = 2;
    return json_from_object(object);
}

/* Members that parts spread into the root come before the reserved names, which hide theirs. */
static struct json_object *copied(struct page_run *run, struct json_value data, size_t room)
{
    h2o_mem_pool_t *pool = run->request->pool;
    struct json_object *root = json_object_create(pool, json_count(data) + room);
    for (struct json_iter it = json_iter(data); json_next(&it);) {
        struct str key = json_string(it.key, pool);
        if (!page_name_is_reserved(key))
            root->members[root->count++] = (struct json_member){key, it.value};
    }
    return root;
}

struct json_value view_root(struct page_run *run)
{
    enum { ROOM = 4 };
    const struct page *page = run->page;
    struct json_object *root;
    if (!page->placed)
        root = listed(run, ROOM);
    else
        root = copied(run, merged(run), ROOM);
    if (page->uses_parts)
        root->members[root->count++] = (struct json_member){STR("parts"), parts_object(run)};
    if (page->uses_request)
        root->members[root->count++] =
            (struct json_member){STR("request"), request_object(run->request)};
    if (page->uses_defer)
        root->members[root->count++] = (struct json_member){STR("defer"), defer_object(run)};
    if (page->uses_page)
        root->members[root->count++] = (struct json_member){STR("page"), page_object(run)};
    return json_from_object(root);
}
