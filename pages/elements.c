/* The calls of an `each`: one for each element of an array, or one for each batch of them, a few at
 * a time; their results, in the elements' order.
 *
 * What is asked for is a slot. Without batches each element has its own (that equal elements are
 * asked for once is ask.c's doing); with them, a slot is a key, and elements of the same key share
 * it. A unit is a call: one slot, or a batch of them.
 *
 * The array is an upstream's, so everything here is capped: elements (max_items), calls under way
 * (concurrency), the bytes of all calls and answers (EACH_MAX_BYTES). What is over is shed. An
 * answer that several elements share counts for each of them, since that is how often it goes out.
 */
#include "pages/pages_internal.h"

enum slot_state { SLOT_WAITING, SLOT_OK, SLOT_FAILED, SLOT_SKIPPED };

struct unit {
    struct asker asker;
    size_t from, count; /* slots */
};

struct elements {
    size_t total, listed; /* in the array; that get a result */
    size_t asked;         /* of these, from the first on */
    struct json_value *items;
    size_t *slots; /* of the items; NULL: each its own; NO_SLOT: it has no key */

    size_t slot_count;
    struct json_value *slot_items;
    struct str *keys;  /* of a batch's slots */
    uint32_t *sharers; /* likewise: elements beside the first */
    struct json_value *results;
    uint8_t *states; /* enum slot_state */

    struct unit *units;
    size_t unit_count, next, inflight;
    size_t bytes;
    bool pumping;
    struct str skipped; /* why the first one was, that was */

    size_t failed_at; /* the first slot that failed, and how; SIZE_MAX = none */
    struct failure failure;
};

static const size_t NO_SLOT = SIZE_MAX;

/* -- slots ------------------------------------------------------------------------------------ */

static void read_items(struct elements *e, struct json_value array, h2o_mem_pool_t *pool)
{
    e->items = h2o_mem_alloc_pool(pool, e->asked * sizeof(*e->items));
    struct json_iter it = json_iter(array);
    for (size_t i = 0; i < e->asked && json_next(&it); i++)
        e->items[i] = it.value;
}

static uint64_t hash(struct str text) /* FNV-1a */
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < text.n; i++)
        h = (h ^ (unsigned char)text.p[i]) * 1099511628211u;
    return h ^ h >> 32;
}

/* A slot for each distinct key, in the order of their first elements. */
static void slots_by_key(struct part_run *part, struct elements *e)
{
    h2o_mem_pool_t *pool = part->run->request->pool;
    size_t mask = 15;
    while (mask < 2 * e->asked)
        mask = 2 * mask + 1;
    size_t *table = h2o_mem_alloc_pool(pool, (mask + 1) * sizeof(*table));
    memset(table, 0xff, (mask + 1) * sizeof(*table)); /* NO_SLOT */
    e->slots = h2o_mem_alloc_pool(pool, e->asked * sizeof(*e->slots));
    e->keys = h2o_mem_alloc_pool(pool, e->asked * sizeof(*e->keys));
    e->slot_items = h2o_mem_alloc_pool(pool, e->asked * sizeof(*e->slot_items));
    e->sharers = h2o_mem_alloc_pool(pool, e->asked * sizeof(*e->sharers));
    memset(e->sharers, 0, e->asked * sizeof(*e->sharers));
    for (size_t i = 0; i < e->asked; i++) {
        struct str key = write_key(part, &e->items[i]);
        e->slots[i] = NO_SLOT;
        if (key.p == NULL)
            continue;
        size_t at = hash(key) & mask;
        while (table[at] != NO_SLOT && !str_eq(e->keys[table[at]], key))
            at = (at + 1) & mask;
        if (table[at] == NO_SLOT) {
            table[at] = e->slot_count;
            e->keys[e->slot_count] = key;
            e->slot_items[e->slot_count++] = e->items[i];
        } else {
            e->sharers[table[at]]++;
        }
        e->slots[i] = table[at];
    }
}

static void make_units(struct part_run *part, struct elements *e, struct page_run *run)
{
    const struct part_plan *plan = part->plan;
    size_t each = plan->config->batch != 0 ? plan->config->batch : 1;
    h2o_mem_pool_t *pool = run->request->pool;
    e->results = h2o_mem_alloc_pool(pool, e->slot_count * sizeof(*e->results));
    e->states = h2o_mem_alloc_pool(pool, e->slot_count);
    e->unit_count = (e->slot_count + each - 1) / each;
    e->units = h2o_mem_alloc_pool(pool, e->unit_count * sizeof(*e->units));
    memset(e->states, SLOT_WAITING, e->slot_count);
    for (size_t i = 0; i < e->slot_count; i++)
        e->results[i] = JSON_NONE;
    for (size_t i = 0; i < e->unit_count; i++) {
        size_t from = i * each, left = e->slot_count - from;
        e->units[i] = (struct unit){.asker = {.part = part, .placement = &plan->each.answer},
                                    .from = from,
                                    .count = left < each ? left : each};
    }
}

/* -- the end ---------------------------------------------------------------------------------- */

static void fail_slots(struct elements *e, size_t from, size_t count, const struct failure *failure)
{
    memset(e->states + from, SLOT_FAILED, count);
    if (from >= e->failed_at)
        return;
    e->failed_at = from;
    e->failure = *failure;
}

static void shed_slot(struct elements *e, size_t slot)
{
    e->results[slot] = JSON_NONE;
    fail_slots(e, slot, 1,
               &(struct failure){.state = PART_SHED,
                                 .error = "http_response_body_size",
                                 .detail = STR("its calls and answers are too large")});
}

/* What was never asked for, or never answered. */
static void fail_waiting(struct elements *e, const struct failure *failure)
{
    for (size_t i = 0; i < e->slot_count; i++)
        if (e->states[i] == SLOT_WAITING)
            fail_slots(e, i, 1, failure);
}

static struct json_value result_list(struct elements *e, h2o_mem_pool_t *pool)
{
    struct json_value *results = e->results;
    if (e->slots != NULL || e->listed > e->slot_count) {
        results = h2o_mem_alloc_pool(pool, e->listed * sizeof(*results));
        for (size_t i = 0; i < e->listed; i++) {
            size_t slot = i >= e->asked ? NO_SLOT : e->slots != NULL ? e->slots[i] : i;
            results[i] = slot != NO_SLOT ? e->results[slot] : JSON_NONE;
        }
    }
    return each_list(pool, results, e->listed);
}

static void end(struct part_run *part)
{
    struct elements *e = part->elements;
    struct page_run *run = part->run;
    size_t ok = 0;
    for (size_t i = 0; i < e->slot_count; i++)
        ok += e->states[i] == SLOT_OK;
    part->value = result_list(e, run->request->pool);

    if (e->failed_at == SIZE_MAX && e->total > e->asked) {
        e->failed_at = e->slot_count;
        e->failure =
            (struct failure){.state = PART_SHED,
                             .error = "connection_limit_reached",
                             .detail = run_text(run, "%zu elements, the first %zu were asked for",
                                                e->total, e->asked)};
    }
    if (e->failed_at != SIZE_MAX) {
        part->partial = ok != 0;
        ladder_failed(part, &e->failure);
    } else if (ok == 0 && e->asked != 0) {
        ladder_without_input(part, &run->parts[part->plan->each.input], e->skipped);
    } else {
        run_end_part(part, part->is_stale ? PART_STALE : PART_OK);
    }
}

void elements_cut(struct part_run *part)
{
    fail_waiting(part->elements, &(struct failure){.state = PART_TIMEOUT,
                                                   .error = "http_response_timeout",
                                                   .detail = STR("cut by the page's deadline")});
    end(part);
}

/* -- calls ------------------------------------------------------------------------------------ */

static void take_results(struct part_run *part, const struct unit *unit, struct json_value answer)
{
    struct elements *e = part->elements;
    const struct placement *placement = &part->plan->placement;
    h2o_mem_pool_t *pool = part->run->request->pool;
    struct json_value *results = e->results + unit->from;
    if (e->keys == NULL) { /* filtered already, once for all who share it */
        *results = answer;
        e->states[unit->from] = SLOT_OK;
        return;
    }
    if (json_type(answer) != JSON_NULL && /* 204: nobody gets anything */
        !each_spread(pool, answer, part->plan->config->by, e->keys + unit->from, unit->count,
                     results)) {
        fail_slots(e, unit->from, unit->count,
                   &(struct failure){.state = PART_ERROR,
                                     .error = "http_protocol_error",
                                     .status = 200,
                                     .detail = part->plan->config->by.n != 0
                                                   ? STR("a batch's answer has to be an array")
                                                   : STR("a batch's answer has to be an object")});
        return;
    }
    memset(e->states + unit->from, SLOT_OK, unit->count);
    if (placement->allow_count == 0 && placement->deny_count == 0)
        return;
    for (size_t i = 0; i < unit->count; i++)
        if (json_type(results[i]) != JSON_MISSING)
            results[i] = place_filter(pool, results[i], placement);
}

/* Counts what comes in once and goes out again and again: the answer of a call that was made before
 * (joined), the results of keys that several elements have. */
static void count_repeats(struct part_run *part, const struct unit *unit, bool joined)
{
    struct elements *e = part->elements;
    for (size_t i = unit->from; i < unit->from + unit->count; i++) {
        size_t times = joined + (e->sharers != NULL ? e->sharers[i] : 0);
        if (times != 0 && e->states[i] == SLOT_OK && json_type(e->results[i]) != JSON_MISSING)
            e->bytes += times * each_text_size(e->results[i]);
        if (times != 0 && e->states[i] == SLOT_OK && e->bytes > EACH_MAX_BYTES)
            shed_slot(e, i);
    }
}

static void pump(struct part_run *part);

static void unit_answered(struct asker *asker, const struct answer *answer)
{
    struct unit *unit = CONTAINER_OF(asker, struct unit, asker);
    struct part_run *part = asker->part;
    struct elements *e = part->elements;
    const struct up_result *result = answer->result;
    e->inflight--;
    if (!answer->shared)
        e->bytes += result->body.n;
    ladder_count(part, answer);
    if (answer->outcome.state == PART_OK) {
        if (answer->failed == NULL)
            part->record->status = result->status;
        take_results(part, unit, answer->outcome.value);
        count_repeats(part, unit, answer->shared);
    } else {
        fail_slots(e, unit->from, unit->count,
                   &(struct failure){answer->outcome.state, answer->outcome.error, result->status,
                                     answer->outcome.detail});
    }
    pump(part);
}

static void start_unit(struct part_run *part, struct unit *unit)
{
    struct elements *e = part->elements;
    const struct call_plan *plan = &part->plan->call;
    const struct expand_variable *culprit;
    struct written written;
    enum expand_result result =
        write_call(part, plan, e->slot_items + unit->from, unit->count, &written, &culprit);
    e->bytes += written.target.n + written.body.n;
    for (size_t i = 0; i < written.header_count; i++)
        e->bytes += written.headers[i].value.n;
    if (result != EXPAND_OK) {
        memset(e->states + unit->from, SLOT_SKIPPED, unit->count);
        if (e->skipped.p == NULL)
            e->skipped = write_refusal(part, result, culprit);
        return;
    }
    unit->asker.answered = unit_answered;
    e->inflight++;
    ask(&unit->asker, plan, &written, NULL);
}

/* Keeps `concurrency` calls under way. Answers that are there already come while it runs. */
static void pump(struct part_run *part)
{
    struct elements *e = part->elements;
    if (e->pumping)
        return;
    e->pumping = true;
    while (e->next < e->unit_count && e->inflight < part->plan->config->concurrency &&
           e->bytes <= EACH_MAX_BYTES)
        start_unit(part, &e->units[e->next++]);
    e->pumping = false;
    if (e->inflight != 0)
        return;
    for (size_t i = 0; i < e->slot_count && e->next < e->unit_count; i++)
        if (e->states[i] == SLOT_WAITING)
            shed_slot(e, i);
    end(part);
}

static void fail_whole(struct part_run *part, struct str detail)
{
    ladder_failed(part, &(struct failure){
                            .state = PART_ERROR, .error = "http_protocol_error", .detail = detail});
}

void elements_start(struct part_run *part)
{
    const struct part_plan *plan = part->plan;
    struct page_run *run = part->run;
    h2o_mem_pool_t *pool = run->request->pool;
    const struct part_run *input = &run->parts[plan->each.input];
    struct json_value array = place_select(input->value, &plan->each.at);
    const char *path = plan->config->each.p;
    if (json_type(array) == JSON_MISSING || json_type(array) == JSON_NULL) {
        ladder_without_input(part, input, run_text(run, "%.80s isn't there", path));
        return;
    }
    if (json_type(array) != JSON_ARRAY) {
        fail_whole(part, run_text(run, "%.80s is no array", path));
        return;
    }

    struct elements *e = part->elements = h2o_mem_alloc_pool(pool, sizeof(*e));
    *e = (struct elements){.total = json_count(array), .failed_at = SIZE_MAX};
    e->asked = e->total < plan->config->max_items ? e->total : plan->config->max_items;
    e->listed = e->total < MAX_LISTED ? e->total : MAX_LISTED;
    part->memos = h2o_mem_alloc_pool(pool, MAX_MEMOS * sizeof(*part->memos));
    memset(part->memos, 0, MAX_MEMOS * sizeof(*part->memos));
    read_items(e, array, pool);
    if (plan->config->batch != 0) {
        slots_by_key(part, e);
    } else {
        e->slot_items = e->items;
        e->slot_count = e->asked;
    }
    if (e->slot_count < e->asked)
        e->skipped = run_text(run, "elements of %.80s have no %.80s", path,
                              plan->each.key ? plan->each.key->full.p : "");
    make_units(part, e, run);
    pump(part);
}
