/* What the cache tells of itself: Cache-Status for a request, numbers for the operator. */
#include "cache/internal.h"

#include "base/put.h"
#include "observe/metrics.h"

const char *cache_word_name(enum cache_word word)
{
    static const char *const names[] = {[CACHE_MISS] = "miss",
                                        [CACHE_HIT] = "hit",
                                        [CACHE_STALE] = "stale",
                                        [CACHE_REVALIDATED] = "revalidated",
                                        [CACHE_COLLAPSED] = "collapsed"};
    gw_assert((size_t)word < COUNT(names));
    return names[word];
}

char *cache_status_put(char *at, const struct cache_answer *answer, struct str detail)
{
    bool says_stored = answer->stored;
    switch (answer->word) {
    case CACHE_HIT:
        at = put_number(put_str(at, STR("gateway; hit; ttl=")), answer->ttl_ms / 1000);
        says_stored = false;
        break;
    case CACHE_STALE:
        at = put_number(put_str(at, STR("gateway; hit; ttl=-")), answer->past_ms / 1000);
        says_stored = false;
        break;
    case CACHE_REVALIDATED:
        at = put_str(at, STR("gateway; fwd=stale; fwd-status=304"));
        break;
    case CACHE_COLLAPSED:
        at = put_str(at, STR("gateway; fwd=miss; collapsed"));
        says_stored = false;
        break;
    case CACHE_MISS:
        at = put_str(at, STR("gateway; fwd=miss"));
        if (answer->forward_status != 0)
            at = put_number(put_str(at, STR("; fwd-status=")), (uint64_t)answer->forward_status);
        break;
    }
    if (says_stored)
        at = put_str(at, STR("; stored"));
    if (detail.n != 0)
        at = put_str(put_str(at, STR("; detail=")), detail);
    return at;
}

void cache_write_json(struct cache *cache, struct out *out)
{
    struct cache_store_stats stats = {0};
    if (cache->store != NULL)
        stats = cache_store_stats(cache->store);
    const struct {
        const char *name;
        uint64_t value;
    } members[] = {
        {"{\"entries\":", stats.entries},
        {",\"bytes\":", stats.bytes},
        {",\"max_bytes\":", stats.max_bytes},
        {",\"stored\":", stats.puts},
        {",\"evicted\":", stats.evictions},
        {",\"too_large\":", stats.refused},
        {",\"hits\":", atomic_load(&cache->hits)},
        {",\"stale_hits\":", atomic_load(&cache->stale_hits)},
        {",\"misses\":", atomic_load(&cache->misses)},
        {",\"collapsed\":", atomic_load(&cache->collapsed)},
        {",\"revalidated\":", atomic_load(&cache->revalidated)},
    };
    for (size_t i = 0; i < COUNT(members); i++) {
        out_str(out, str_from(members[i].name));
        out_number(out, members[i].value);
    }
    out_str(out, STR("}\n"));
}

void cache_write_metrics(struct cache *cache, struct out *out)
{
    struct cache_store_stats stats = {0};
    if (cache->store != NULL)
        stats = cache_store_stats(cache->store);
    const struct {
        const char *name;
        enum metric_type type;
        const char *help;
        uint64_t value;
    } members[] = {
        {"gw_cache_entries", METRIC_GAUGE, "Answers and pages that are kept.", stats.entries},
        {"gw_cache_bytes", METRIC_GAUGE, "What they take.", stats.bytes},
        {"gw_cache_max_bytes", METRIC_GAUGE, "What they may take.", stats.max_bytes},
        {"gw_cache_stored_total", METRIC_COUNTER, "Answers and pages that were put in.",
         stats.puts},
        {"gw_cache_evicted_total", METRIC_COUNTER, "Those that went for want of room.",
         stats.evictions},
    };
    for (size_t i = 0; i < COUNT(members); i++) {
        metric_begin(out, members[i].name, members[i].type, members[i].help);
        metric_put(out, members[i].name, NULL, 0, members[i].value);
    }
    const struct {
        struct str result;
        uint64_t value;
    } results[] = {
        {STR("hit"), atomic_load(&cache->hits)},
        {STR("stale"), atomic_load(&cache->stale_hits)},
        {STR("miss"), atomic_load(&cache->misses)},
        {STR("collapsed"), atomic_load(&cache->collapsed)},
        {STR("revalidated"), atomic_load(&cache->revalidated)},
    };
    static const char requests[] = "gw_cache_requests_total";
    metric_begin(out, requests, METRIC_COUNTER, "Questions of parts to the cache, by what came.");
    for (size_t i = 0; i < COUNT(results); i++) {
        const struct str labels[] = {STR("result"), results[i].result};
        metric_put(out, requests, labels, COUNT(labels), results[i].value);
    }
}
