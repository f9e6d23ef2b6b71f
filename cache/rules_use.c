/* Whether what is kept may be used, now and for this request: RFC 9111 section 4. */
#include "cache/rules.h"

uint64_t rules_age(const struct rules *rules, uint64_t now_ms)
{
    uint64_t resident = now_ms > rules->received_ms ? now_ms - rules->received_ms : 0;
    return rules->age_ms + resident;
}

int64_t rules_ttl(const struct rules *rules, uint64_t now_ms)
{
    return (int64_t)rules->lifetime_ms - (int64_t)rules_age(rules, now_ms);
}

static uint64_t past(const struct rules *rules, uint64_t now_ms)
{
    int64_t ttl = rules_ttl(rules, now_ms);
    return ttl < 0 ? (uint64_t)-ttl : 0;
}

static enum rules_use not_as_it_is(const struct rules_request *request)
{
    return request->only_if_cached ? USE_GATEWAY_TIMEOUT : USE_VALIDATED;
}

enum rules_use rules_use(const struct rules *rules, const struct rules_request *request,
                         uint64_t now_ms)
{
    uint64_t age = rules_age(rules, now_ms);
    int64_t ttl = rules_ttl(rules, now_ms);
    if (!request->is_get && !request->is_head)
        return USE_ANOTHER;
    if (rules->no_cache || request->no_cache ||
        (request->has_max_age && age > request->max_age_ms) ||
        (request->has_min_fresh && ttl < (int64_t)request->min_fresh_ms))
        return not_as_it_is(request);
    if (ttl > 0)
        return USE_FRESH;
    if (rules->must_revalidate)
        return not_as_it_is(request);
    if (request->has_max_stale && past(rules, now_ms) <= request->max_stale_ms)
        return USE_FRESH;
    if (rules->stale_while_revalidate_ms != 0 &&
        past(rules, now_ms) < rules->stale_while_revalidate_ms && !request->only_if_cached)
        return USE_MEANWHILE;
    return not_as_it_is(request);
}

bool rules_use_on_error(const struct rules *rules, uint64_t now_ms)
{
    if (rules->no_cache || rules->must_revalidate)
        return false;
    return rules_ttl(rules, now_ms) > 0 || past(rules, now_ms) < rules->stale_if_error_ms;
}
