/* Whether a stored answer answers a request now: section 4. */
#include "cache/rules.h"

uint64_t rules_age(const struct rules *rules, uint64_t now_ms)
{
    uint64_t resident_ms = now_ms > rules->received_ms ? now_ms - rules->received_ms : 0;
    return rules->age_ms + resident_ms;
}

int64_t rules_ttl(const struct rules *rules, uint64_t now_ms)
{
    return (int64_t)rules->lifetime_ms - (int64_t)rules_age(rules, now_ms);
}

static bool is_stale_at_most(int64_t ttl_ms, uint64_t stale_ms)
{
    return ttl_ms > 0 || (uint64_t)-ttl_ms < stale_ms;
}

/* Section 5.2.1: whether the request takes an answer of that age with that much left. */
static enum rules_use use_for(const struct rules *rules, const struct rules_request *request,
                              uint64_t age_ms, int64_t ttl_ms)
{
    if (rules->no_cache || request->no_cache)
        return USE_VALIDATED;
    if (request->has_max_age && age_ms > request->max_age_ms)
        return USE_VALIDATED;
    if (request->has_min_fresh && (ttl_ms < 0 || (uint64_t)ttl_ms < request->min_fresh_ms))
        return USE_VALIDATED;
    if (ttl_ms > 0)
        return USE_FRESH;
    if (rules->must_revalidate)
        return USE_VALIDATED;
    if (request->has_max_stale)
        return is_stale_at_most(ttl_ms, request->max_stale_ms) ? USE_FRESH : USE_VALIDATED;
    /* Who says how old it may be, and nothing of stale ones, wants none (section 5.2.1.1). */
    if (request->has_max_age || !is_stale_at_most(ttl_ms, rules->stale_while_revalidate_ms))
        return USE_VALIDATED;
    return USE_MEANWHILE;
}

enum rules_use rules_use(const struct rules *rules, const struct rules_request *request,
                         uint64_t now_ms)
{
    enum rules_use use = USE_ANOTHER;
    if ((request->is_get || request->is_head) && (!request->has_credentials || rules->is_public))
        use = use_for(rules, request, rules_age(rules, now_ms), rules_ttl(rules, now_ms));
    bool asks = use == USE_VALIDATED || use == USE_ANOTHER;
    return asks && request->only_if_cached ? USE_GATEWAY_TIMEOUT : use;
}

bool rules_use_on_error(const struct rules *rules, uint64_t now_ms)
{
    return !rules->no_cache && is_stale_at_most(rules_ttl(rules, now_ms), rules->stale_if_error_ms);
}
