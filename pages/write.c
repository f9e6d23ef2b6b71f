/* Writing a part's call: the values of the request, of other parts' data and of the elements that
 * it is for go into its URL, its headers and its body.
 *
 * Values are looked up when they are needed and never copied, but for strings with escapes. An
 * `each` looks into the same data once for all its elements: that data can be large. */
#include "pages/pages_internal.h"

struct source {
    struct part_run *part;
    const struct json_value *items;
};

/* -- values ----------------------------------------------------------------------------------- */

static struct memo *memo_of(struct part_run *part, const struct expand_variable *variable)
{
    struct memo *memos = part->memos;
    if (memos == NULL)
        return NULL;
    size_t i = 0;
    while (i < MAX_MEMOS && memos[i].variable != NULL && memos[i].variable != variable)
        i++;
    if (i == MAX_MEMOS)
        return NULL;
    memos[i].variable = variable;
    return &memos[i];
}

static struct json_value part_value(struct part_run *part, const struct expand_variable *variable)
{
    struct memo *memo = memo_of(part, variable);
    if (memo != NULL && memo->has_value)
        return memo->value;
    struct json_value value = place_select(part->run->parts[variable->param].value, &variable->at);
    if (memo != NULL) {
        memo->value = value;
        memo->has_value = true;
    }
    return value;
}

static struct json_value value_of(void *arg, const struct expand_variable *variable, size_t item)
{
    const struct source *source = arg;
    if (variable->source == EXPAND_ITEM)
        return place_select(source->items[item], &variable->at);
    return part_value(source->part, variable);
}

/* {NULL, 0} of what isn't a scalar. */
static struct str scalar_text(struct json_value value, h2o_mem_pool_t *pool)
{
    switch (json_type(value)) {
    case JSON_STRING:
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE: {
        struct str text = json_string(value, pool);
        return text.n != 0 ? text : STR("");
    }
    default:
        return (struct str){NULL, 0};
    }
}

static struct str text_of(void *arg, const struct expand_variable *variable, size_t item)
{
    const struct source *source = arg;
    struct page_run *run = source->part->run;
    h2o_mem_pool_t *pool = run->request->pool;
    if (variable->source == EXPAND_ITEM)
        return scalar_text(value_of(arg, variable, item), pool);
    if (variable->source != EXPAND_PART)
        return run->get(run->get_arg, variable, item);
    struct memo *memo = memo_of(source->part, variable);
    if (memo != NULL && memo->has_text)
        return memo->text;
    struct str text = scalar_text(part_value(source->part, variable), pool);
    if (memo != NULL) {
        memo->text = text;
        memo->has_text = true;
    }
    return text;
}

bool write_when_holds(struct part_run *part)
{
    struct source source = {part, NULL};
    return when_holds(&part->plan->when, text_of, value_of, &source, part->run->request->pool);
}

struct str write_key(struct part_run *part, const struct json_value *item)
{
    const struct expand_variable *key = part->plan->each.key;
    return scalar_text(place_select(*item, &key->at), part->run->request->pool);
}

/* -- calls ------------------------------------------------------------------------------------ */

static enum expand_result write_headers(const struct call_plan *plan, struct source *source,
                                        size_t count, struct written *written,
                                        const struct expand_variable **culprit)
{
    h2o_mem_pool_t *pool = source->part->run->request->pool;
    written->headers = h2o_mem_alloc_pool(pool, plan->header_count * sizeof(*written->headers));
    for (size_t i = 0; i < plan->header_count; i++) {
        struct str value;
        enum expand_result result =
            expand_text(&plan->headers[i].value, text_of, source, count, pool, &value, culprit);
        if (result != EXPAND_OK)
            return result;
        if (value.p != NULL)
            written->headers[written->header_count++] =
                (struct up_header){plan->headers[i].name, value};
    }
    return EXPAND_OK;
}

enum expand_result write_call(struct part_run *part, const struct call_plan *plan,
                              const struct json_value *items, size_t count,
                              struct written *written_r, const struct expand_variable **culprit_r)
{
    struct source source = {part, items};
    h2o_mem_pool_t *pool = part->run->request->pool;
    *written_r = (struct written){.headers = NULL};
    enum expand_result result =
        expand(&plan->target, text_of, &source, count, pool, &written_r->target, culprit_r);
    if (result == EXPAND_OK && plan->header_count != 0)
        result = write_headers(plan, &source, count, written_r, culprit_r);
    if (result == EXPAND_OK && plan->body.count != 0)
        result = body_write(&plan->body, text_of, value_of, &source, count, pool, &written_r->body,
                            culprit_r);
    return result;
}

static struct str request_text(void *arg, const struct expand_variable *variable, size_t item)
{
    const struct source *source = arg;
    if (variable->source == EXPAND_PART || variable->source == EXPAND_ITEM)
        return STR("x"); /* leaves no segment and isn't long */
    return source->part->run->get(source->part->run->get_arg, variable, item);
}

enum expand_result write_check(struct part_run *part, const struct call_plan *plan,
                               const struct expand_variable **culprit_r)
{
    struct source source = {part, NULL};
    struct str target;
    return expand(&plan->target, request_text, &source, 1, part->run->request->pool, &target,
                  culprit_r);
}

/* -- what can't be written -------------------------------------------------------------------- */

struct str write_refusal(struct part_run *part, enum expand_result result,
                         const struct expand_variable *culprit)
{
    enum { SHOWN = 80 };
    int n = culprit->full.n < SHOWN ? (int)culprit->full.n : SHOWN;
    return run_text(part->run, "%.*s %s", n, culprit->full.p,
                    result == EXPAND_MISSING ? "isn't there, or is no text"
                                             : expand_result_text(result));
}
