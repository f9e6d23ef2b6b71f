/* One call to one upstream for everybody in the page who wants its answer.
 *
 * Where the plan says that calls may be the same, a table of the run holds them by a hash of what
 * they are made of: upstream, method, URL, own headers, body. Who comes second joins the first,
 * under way or over. Such calls keep their outcome, and small answers are copied so that the call
 * can be given back: an `each` may have thousands of them. All other calls cost nothing of this. */
#include "pages/pages_internal.h"

enum {
    COPIED_BODY = 16 << 10, /* larger ones stay in their calls */
    FIRST_BUCKETS = 64,
};

struct shared {
    uint64_t hash;
    struct ask *next; /* in the bucket */
    const struct call_plan *plan;
    struct written written;
    struct up_result result; /* once it is over */
    const struct cache_answer *cached;
    const struct placement *placement; /* of who was answered last; NULL = nobody was */
    struct outcome outcome;            /* as judged for it: thousands may take the same of it */
};

struct ask_table {
    struct ask **buckets;
    size_t mask, count;
};

/* -- the table -------------------------------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t h, struct str bytes) /* FNV-1a; the length ends it */
{
    for (size_t i = 0; i < bytes.n; i++)
        h = (h ^ (unsigned char)bytes.p[i]) * 1099511628211u;
    return (h ^ bytes.n) * 1099511628211u;
}

static uint64_t hash_call(const struct call_plan *plan, const struct written *written)
{
    uint64_t h = hash_bytes((uint64_t)(uintptr_t)plan->upstream, written->target);
    h = hash_bytes(h, written->body);
    for (size_t i = 0; i < written->header_count; i++)
        h = hash_bytes(hash_bytes(h, written->headers[i].name), written->headers[i].value);
    return h ^ h >> 32;
}

static bool same_headers(const struct written *a, const struct written *b)
{
    if (a->header_count != b->header_count)
        return false;
    for (size_t i = 0; i < a->header_count; i++)
        if (!str_eq(a->headers[i].value, b->headers[i].value) ||
            !str_caseeq(a->headers[i].name, b->headers[i].name))
            return false;
    return true;
}

static bool same_call(const struct shared *shared, uint64_t hash, const struct call_plan *plan,
                      const struct written *written)
{
    return shared->hash == hash && shared->plan->upstream == plan->upstream &&
           shared->plan->method == plan->method &&
           str_eq(shared->written.target, written->target) &&
           str_eq(shared->written.body, written->body) && same_headers(&shared->written, written);
}

static void grow(struct ask_table *table, h2o_mem_pool_t *pool)
{
    size_t size = table->buckets == NULL ? FIRST_BUCKETS : 4 * (table->mask + 1);
    struct ask **buckets = h2o_mem_alloc_pool(pool, size * sizeof(struct ask *));
    memset(buckets, 0, size * sizeof(struct ask *));
    for (size_t i = 0; table->buckets != NULL && i <= table->mask; i++) {
        for (struct ask *ask = table->buckets[i], *next; ask != NULL; ask = next) {
            struct ask **bucket = &buckets[ask->shared->hash & (size - 1)];
            next = ask->shared->next;
            ask->shared->next = *bucket;
            *bucket = ask;
        }
    }
    table->buckets = buckets;
    table->mask = size - 1;
}

static struct ask_table *table_of(struct page_run *run)
{
    h2o_mem_pool_t *pool = run->request->pool;
    if (run->table == NULL) {
        run->table = h2o_mem_alloc_pool(pool, sizeof(*run->table));
        *run->table = (struct ask_table){.buckets = NULL};
    }
    if (run->table->buckets == NULL || run->table->count > run->table->mask)
        grow(run->table, pool);
    return run->table;
}

/* -- answers ---------------------------------------------------------------------------------- */

static void judge(struct ask *ask, const struct asker *asker, const struct up_result *result,
                  const struct cache_answer *cached, struct outcome *outcome_r)
{
    struct page_run *run = ask->run;
    const struct json_doc *parsed = cached != NULL ? cached->doc : NULL;
    bool has_body = result->end == UP_ANSWERED && result->body.n != 0 && parsed == NULL;
    struct tape *tape = has_body ? tape_take(run) : NULL;
    outcome_judge(result, parsed, asker->placement, tape ? &tape->doc : NULL, run->request->pool,
                  outcome_r);
}

/* RFC 5861 section 4: what is kept is better than no answer, or one that is of no use. A 404 is an
 * answer. */
static void stand_in(struct ask *ask, const struct asker *asker, struct answer *answer)
{
    const struct up_result *result = answer->result;
    if (result->end == UP_ANSWERED && result->status >= 300 && result->status < 500)
        return;
    const struct cache_answer *kept = cache_call_stand_in(ask->cached);
    struct outcome outcome;
    if (kept == NULL)
        return;
    judge(ask, asker, &kept->result, kept, &outcome);
    if (outcome.state != PART_OK)
        return;
    struct outcome *failed = h2o_mem_alloc_pool(ask->run->request->pool, sizeof(*failed));
    *failed = answer->outcome;
    answer->failed = failed;
    answer->failed_status = result->status;
    answer->cached = kept;
    answer->outcome = outcome;
}

/* `joined`: not the one that the call was made for. */
static void deliver(struct ask *ask, struct asker *asker, const struct up_result *result,
                    const struct cache_answer *cached, bool joined)
{
    struct shared *shared = ask->shared;
    http_serving(ask->run->request, asker->part->plan->config->name);
    struct answer answer = {.result = result, .shared = joined, .cached = cached};
    if (shared != NULL && shared->placement == asker->placement)
        answer.outcome = shared->outcome;
    else
        judge(ask, asker, result, cached, &answer.outcome);
    if (shared != NULL) {
        shared->placement = asker->placement;
        shared->outcome = answer.outcome;
    }
    if (cached != NULL && answer.outcome.state != PART_OK)
        stand_in(ask, asker, &answer);
    asker->answered(asker, &answer);
    if (shared == NULL && cached == NULL && answer.outcome.state != PART_OK)
        up_call_release(&ask->call); /* nothing points into its body */
}

static struct str copy(h2o_mem_pool_t *pool, struct str bytes)
{
    if (bytes.n == 0)
        return (struct str){"", 0};
    char *to = h2o_mem_alloc_pool(pool, bytes.n);
    memcpy(to, bytes.p, bytes.n);
    return (struct str){to, bytes.n};
}

static const struct up_result *keep_result(struct ask *ask, const struct up_result *result,
                                           const struct cache_answer *cached)
{
    h2o_mem_pool_t *pool = ask->run->request->pool;
    struct up_result *kept = &ask->shared->result;
    *kept = *result;
    ask->shared->cached = cached;
    if (cached == NULL && result->body.n <= COPIED_BODY) {
        kept->body = copy(pool, result->body);
        kept->content_type = copy(pool, result->content_type);
        up_call_release(&ask->call);
    }
    return kept;
}

static void answered(struct ask *ask, const struct up_result *result,
                     const struct cache_answer *cached)
{
    struct asker *asker = ask->first;
    gw_assert(!ask->run->over && asker != NULL);
    ask->first = NULL;
    if (ask->shared != NULL)
        result = keep_result(ask, result, cached);
    bool joined = false;
    for (struct asker *next; asker != NULL; asker = next) {
        next = asker->next;
        deliver(ask, asker, result, cached, joined);
        joined = true;
    }
}

/* RFC 9111 section 4.4. */
static void invalidate(struct ask *ask)
{
    struct page_run *run = ask->run;
    if (run->loop->cache != NULL)
        cache_invalidate(run->loop->cache, run->request->pool, ask->unsafe->upstream_name,
                         ask->target);
}

static void done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct ask *ask = arg;
    struct page_run *run = ask->run;
    gw_assert(call == ask->call);
    if (ask->unsafe != NULL && result->end == UP_ANSWERED && result->status < 400)
        invalidate(ask);
    answered(ask, result, NULL);
    run_advance(run);
}

static void cache_done(struct cache_call *call, const struct cache_answer *answer, void *arg)
{
    struct ask *ask = arg;
    struct page_run *run = ask->run;
    gw_assert(call == ask->cached);
    answered(ask, &answer->result, answer);
    run_advance(run);
}

/* -- asking ----------------------------------------------------------------------------------- */

/* What is forwarded of the client's headers, then the part's own, which come instead. */
static void join_headers(const struct page_run *run, const struct call_plan *plan,
                         const struct written *written, struct up_request *request)
{
    const struct header_set *set = &run->header_sets[plan->header_list];
    request->headers = set->headers;
    request->header_count = set->count;
    if (written->header_count == 0)
        return;
    size_t count = 0, room = set->count + written->header_count;
    struct up_header *headers = h2o_mem_alloc_pool(run->request->pool, room * sizeof(*headers));
    for (size_t i = 0; i < set->count; i++) {
        bool replaced = false;
        for (size_t j = 0; j < written->header_count && !replaced; j++)
            replaced = str_caseeq(set->headers[i].name, written->headers[j].name);
        if (!replaced)
            headers[count++] = set->headers[i];
    }
    memcpy(headers + count, written->headers, written->header_count * sizeof(*headers));
    request->headers = headers;
    request->header_count = count + written->header_count;
}

/* The headers of the part's own, as lines: whatever they are, they tell its answers apart. */
static struct str own_headers(h2o_mem_pool_t *pool, const struct written *written)
{
    size_t n = 0;
    for (size_t i = 0; i < written->header_count; i++)
        n += written->headers[i].name.n + written->headers[i].value.n + 2;
    if (n == 0)
        return (struct str){NULL, 0};
    char *text = h2o_mem_alloc_pool(pool, n), *at = text;
    for (size_t i = 0; i < written->header_count; i++) {
        const struct up_header *header = &written->headers[i];
        memcpy(at, header->name.p, header->name.n);
        at += header->name.n;
        *at++ = ':';
        memcpy(at, header->value.p, header->value.n);
        at += header->value.n;
        *at++ = '\n';
    }
    return (struct str){text, n};
}

static void start_cached(struct ask *ask, struct part_run *part, const struct call_plan *plan,
                         const struct written *written, const struct up_request *request)
{
    struct page_run *run = ask->run;
    h2o_mem_pool_t *pool = run->request->pool;
    const struct cache_answer *answer;
    ask->cached = cache_call_start(run->loop->cache, pool, plan->cache, request,
                                   own_headers(pool, written), cache_done, ask, &answer);
    if (!part_is_each(part->plan) && part->rung == RUNG_FRESH)
        part->asked_cache = ask->cached;
    if (answer != NULL)
        answered(ask, &answer->result, answer);
}

static void start(struct ask *ask, struct asker *asker, const struct call_plan *plan,
                  const struct written *written)
{
    struct page_run *run = asker->part->run;
    struct up_request request = {
        .upstream = plan->upstream,
        .target = written->target,
        .method = plan->method,
        .body = written->body,
        .timeout_ms = plan->timeout_ms,
        .deadline_ms = run->deadline_ms,
        .repeatable = plan->repeatable,
        .is_personal = run->request->is_personal,
        .trace = http_trace_part(run->request, (size_t)(asker->part - run->parts))};
    join_headers(run, plan, written, &request);
    ask->run = run;
    ask->first = asker;
    ask->next = run->asks;
    run->asks = ask;
    asker->part->calls++;
    if (plan->cache != NULL && run->loop->cache != NULL) {
        start_cached(ask, asker->part, plan, written, &request);
        return;
    }
    if (plan->method != NULL) {
        ask->unsafe = plan;
        ask->target = written->target;
    }
    ask->call = up_call_start(run->loop->client, &request, done, ask);
}

/* Behind those who wait already. */
static void join(struct ask *ask, struct asker *asker)
{
    if (ask->first == NULL) {
        deliver(ask, asker, &ask->shared->result, ask->shared->cached, true);
        return;
    }
    struct asker *first = ask->first;
    asker->next = first->next; /* the first is whom the call was made for */
    first->next = asker;
}

void ask(struct asker *asker, const struct call_plan *plan, const struct written *written,
         struct ask *memory)
{
    struct page_run *run = asker->part->run;
    asker->next = NULL;
    if (!plan->may_repeat) {
        gw_assert(memory != NULL);
        *memory = (struct ask){.shared = NULL};
        start(memory, asker, plan, written);
        return;
    }

    uint64_t hash = hash_call(plan, written);
    struct ask_table *table = table_of(run);
    struct ask **bucket = &table->buckets[hash & table->mask];
    for (struct ask *it = *bucket; it != NULL; it = it->shared->next) {
        if (same_call(it->shared, hash, plan, written)) {
            join(it, asker);
            return;
        }
    }
    h2o_mem_pool_t *pool = run->request->pool;
    struct ask *fresh = h2o_mem_alloc_pool(pool, sizeof(*fresh));
    struct shared *shared = h2o_mem_alloc_pool(pool, sizeof(*shared));
    *shared = (struct shared){.hash = hash, .next = *bucket, .plan = plan, .written = *written};
    *fresh = (struct ask){.shared = shared};
    *bucket = fresh;
    table->count++;
    start(fresh, asker, plan, written);
}

void ask_cancel_all(struct page_run *run)
{
    for (struct ask *it = run->asks; it != NULL; it = it->next) {
        if (it->first == NULL)
            continue;
        struct part_run *part = it->first->part;
        it->first = NULL;
        if (it->cached != NULL) {
            part->record->attempts += cache_call_attempts(it->cached);
            part->record->times = cache_call_times(it->cached);
            cache_call_stop(it->cached);
            continue;
        }
        part->record->attempts += up_call_attempts(it->call);
        part->record->times = up_call_times(it->call);
        up_call_cancel(&it->call);
    }
}
