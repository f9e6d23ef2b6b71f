/* A call through the cache: what is kept and may be used is its answer at once; else it joins, or
 * begins, a flight. What is kept and past its time is brought up to date meanwhile, or stands by
 * for a flight that fails. */
#include "cache/internal.h"

#include "base/text.h"

/* "promo GET /promo?a=b\nX-User: 7\n": the newline ends every target, so that a key that is asked
 * to be purged is a prefix of those with headers and of nothing else. */
static struct cache_key make_key(h2o_mem_pool_t *pool, struct str up, struct str target,
                                 struct str own)
{
    size_t n = up.n + 5 + target.n + 1 + own.n;
    char *text = h2o_mem_alloc_pool(pool, n), *at = text;
    const struct str pieces[] = {up, STR(" GET "), target, STR("\n"), own};
    for (size_t i = 0; i < COUNT(pieces); i++) {
        if (pieces[i].n != 0)
            memcpy(at, pieces[i].p, pieces[i].n);
        at += pieces[i].n;
    }
    return cache_key((struct str){text, n});
}

/* -- answers ---------------------------------------------------------------------------------- */

static struct up_result kept_result(const struct cache_entry *entry)
{
    return (struct up_result){.end = UP_ANSWERED,
                              .status = entry->status,
                              .body = entry->body,
                              .content_type = entry->content_type,
                              .headers = entry->headers,
                              .header_count = entry->header_count};
}

static void answer_kept(const struct cache_entry *entry, uint64_t now_ms, enum cache_word word,
                        struct cache_answer *answer)
{
    int64_t ttl = rules_ttl(&entry->rules, now_ms);
    *answer = (struct cache_answer){.result = kept_result(entry),
                                    .doc = entry->doc.count != 0 ? &entry->doc : NULL,
                                    .word = word,
                                    .stored = true,
                                    .is_explicit = entry->rules.is_explicit,
                                    .age_ms = rules_age(&entry->rules, now_ms),
                                    .ttl_ms = ttl > 0 ? (uint64_t)ttl : 0,
                                    .past_ms = ttl < 0 ? (uint64_t)-ttl : 0,
                                    .entry = entry};
}

const struct cache_answer *cache_call_stand_in(struct cache_call *call)
{
    uint64_t now_ms = unix_ms();
    if (call->kept == NULL || !rules_use_on_error(&call->kept->rules, now_ms))
        return NULL;
    answer_kept(call->kept, now_ms, CACHE_STALE, &call->stand_in);
    return &call->stand_in;
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* What is kept is the answer, or its time is over and it stays in call->kept. */
static bool answer_from_store(struct cache_call *call)
{
    struct cache *cache = call->client->cache;
    if (cache->store == NULL)
        return false;
    call->kept = cache_store_find(cache->store, call->key, call->request.headers,
                                  call->request.header_count);
    if (call->kept == NULL)
        return false;
    uint64_t now_ms = unix_ms();
    switch (rules_use(&call->kept->rules, &call->asked, now_ms)) {
    case USE_FRESH:
        answer_kept(call->kept, now_ms, CACHE_HIT, &call->answer);
        count(&cache->hits);
        return true;
    case USE_MEANWHILE:
        answer_kept(call->kept, now_ms, CACHE_STALE, &call->answer);
        count(&cache->stale_hits);
        flight_refresh(call);
        return true;
    case USE_ANOTHER:
        cache_entry_unref(&call->kept);
        return false;
    default:
        return false;
    }
}

struct cache_call *cache_call_start(struct cache_client *client, h2o_mem_pool_t *pool,
                                    struct cache_plan *plan, const struct up_request *request,
                                    struct str key, cache_done_fn *done, void *arg,
                                    const struct cache_answer **answer_r)
{
    struct cache_call *call = h2o_mem_alloc_pool(pool, sizeof(*call));
    memset(call, 0, offsetof(struct cache_call, answer));
    gw_assert(request->method == NULL && request->body.p == NULL && request->stream == NULL);
    call->client = client;
    call->plan = plan;
    call->pool = pool;
    call->request = *request;
    call->done = done;
    call->arg = arg;
    call->key = make_key(pool, upstream_config(request->upstream)->name, request->target, key);
    rules_read_request(&plan->policy, NULL, request->headers, request->header_count, &call->asked);
    call->asked.has_credentials |= request->is_personal;
    *answer_r = NULL;
    if (answer_from_store(call))
        *answer_r = &call->answer;
    else
        flight_join(call, false);
    return call;
}

void call_landed(struct cache_call *call, struct landing *landing, bool joined)
{
    struct cache *cache = call->client->cache;
    if (landing == NULL) {
        flight_join(call, true);
        return;
    }
    bool has_time = call->request.deadline_ms == 0 ||
                    loop_now_ms(call->client->loop) + RESTART_MS < call->request.deadline_ms;
    if (joined && landing->was_cut && has_time) {
        landing_unref(&landing);
        flight_join(call, false);
        return;
    }
    if (joined && (!landing->is_shared || !landing_suits(landing, call))) {
        landing_unref(&landing);
        flight_join(call, true);
        return;
    }
    call->landing = landing;
    call->answer = landing->answer;
    if (joined) {
        call->answer.word = CACHE_COLLAPSED;
        call->answer.result.attempts = 0;
        call->answer.result.wire_bytes = 0;
    }
    count(joined                                      ? &cache->collapsed
          : landing->answer.word == CACHE_REVALIDATED ? &cache->revalidated
                                                      : &cache->misses);
    call->done(call, &call->answer, call->arg);
}

void cache_invalidate(struct cache_client *client, h2o_mem_pool_t *pool, struct str upstream,
                      struct str target)
{
    struct cache_store *store = client->cache->store;
    struct cache_key key = make_key(pool, upstream, target, (struct str){NULL, 0});
    flight_outdate(client->cache, key);
    if (store != NULL)
        cache_store_invalidate(store, key);
}

unsigned cache_call_attempts(const struct cache_call *call)
{
    return flight_attempts(call);
}

struct call_times cache_call_times(const struct cache_call *call)
{
    return flight_times(call);
}

void cache_call_stop(struct cache_call *call)
{
    if (call->waiter != NULL)
        flight_leave(call);
}

void cache_call_release(struct cache_call **call_p)
{
    struct cache_call *call = *call_p;
    *call_p = NULL;
    if (call == NULL)
        return;
    cache_call_stop(call);
    landing_unref(&call->landing);
    cache_entry_unref(&call->kept);
}
