/* What the cache tells of itself: Cache-Status for a request, numbers for the operator. */
#include "cache/internal.h"

#include <stdio.h>

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

struct str cache_status(h2o_mem_pool_t *pool, const struct cache_answer *answer, struct str detail)
{
    enum { ROOM = 160 };
    char *text = h2o_mem_alloc_pool(pool, ROOM + detail.n);
    size_t room = ROOM + detail.n, n = 0;
    const char *stored = answer->stored ? "; stored" : "";
    switch (answer->word) {
    case CACHE_HIT:
        n = (size_t)snprintf(text, room, "gateway; hit; ttl=%llu",
                             (unsigned long long)(answer->ttl_ms / 1000));
        break;
    case CACHE_STALE:
        n = (size_t)snprintf(text, room, "gateway; hit; ttl=-%llu",
                             (unsigned long long)(answer->past_ms / 1000));
        break;
    case CACHE_REVALIDATED:
        n = (size_t)snprintf(text, room, "gateway; fwd=stale; fwd-status=304%s", stored);
        break;
    case CACHE_COLLAPSED:
        n = (size_t)snprintf(text, room, "gateway; fwd=miss; collapsed");
        break;
    case CACHE_MISS:
        n = (size_t)snprintf(text, room, "gateway; fwd=miss");
        if (answer->forward_status != 0)
            n += (size_t)snprintf(text + n, room - n, "; fwd-status=%d%s", answer->forward_status,
                                  stored);
        break;
    }
    if (detail.n != 0)
        n += (size_t)snprintf(text + n, room - n, "; detail=%s", detail.p);
    return (struct str){text, n};
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
