/* One address, seen two ways. Passively: calls that fail one after the other eject it for a while,
 * longer each time. Actively: checks decide whether it is healthy. It is used when neither speaks
 * against it; that somebody is used at all is balance.c's business. */
#include "upstreams/policy.h"

enum { MOST_EJECTIONS = 30 }; /* what an ejection's length grows by, at most */

bool health_is_usable(const struct health_state *state, uint64_t now_us)
{
    return now_us >= atomic_load_explicit(&state->ejected_until_us, memory_order_relaxed) &&
           atomic_load_explicit(&state->checked, memory_order_relaxed) != HEALTH_UNHEALTHY;
}

uint32_t health_ejections(const struct health_state *state, const struct config_ejection *limits,
                          uint64_t now_us)
{
    uint32_t ejections = atomic_load(&state->ejections);
    if (ejections == 0)
        return 0;
    uint64_t until_us = atomic_load(&state->ejected_until_us);
    uint64_t forgiven = now_us > until_us ? (now_us - until_us) / (limits->for_ms * 1000) : 0;
    return forgiven < ejections ? ejections - (uint32_t)forgiven : 0;
}

static bool may_go(const struct config_ejection *limits, size_t count, size_t others_aside)
{
    size_t most = count * limits->max_share / 100;
    if (most == 0 && limits->max_share != 0)
        most = 1;
    return others_aside < most && others_aside + 1 < count;
}

bool health_report(struct health_state *state, bool good, const struct config_ejection *limits,
                   size_t count, size_t others_aside, uint64_t now_us)
{
    if (limits->consecutive == 0)
        return false;
    if (good) { /* read first: written, the line would wander between the CPUs */
        if (atomic_load_explicit(&state->failures, memory_order_relaxed) != 0)
            atomic_store(&state->failures, 0);
        return false;
    }
    uint64_t until_us = atomic_load(&state->ejected_until_us);
    if (now_us < until_us) /* begun before, or for want of another one: proves nothing new */
        return false;
    if (atomic_fetch_add(&state->failures, 1) + 1 < limits->consecutive ||
        !may_go(limits, count, others_aside))
        return false;

    uint32_t ejections = health_ejections(state, limits, now_us) + 1;
    if (ejections > MOST_EJECTIONS)
        ejections = MOST_EJECTIONS;
    uint64_t next_us = now_us + ejections * limits->for_ms * 1000;
    if (!atomic_compare_exchange_strong(&state->ejected_until_us, &until_us, next_us))
        return false; /* another loop was faster */
    atomic_store(&state->ejections, ejections);
    atomic_store(&state->failures, 0);
    return true;
}

bool health_check(struct health_state *state, bool good, const struct config_health *limits)
{
    uint8_t before = atomic_load(&state->checked);
    uint8_t now = good ? HEALTH_HEALTHY : HEALTH_UNHEALTHY;
    uint32_t needed = before == HEALTH_UNKNOWN ? 1 : good ? limits->healthy : limits->unhealthy;
    if (now == before) {
        atomic_store(&state->in_a_row, 0);
        return false;
    }
    if (atomic_fetch_add(&state->in_a_row, 1) + 1 < needed)
        return false;
    atomic_store(&state->in_a_row, 0);
    atomic_store(&state->checked, now);
    return before != HEALTH_UNKNOWN || !good;
}
