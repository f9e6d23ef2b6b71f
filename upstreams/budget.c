/* Retries and hedges as a share of an upstream's calls. A share keeps an outage from growing: when
 * everything fails, it is called by so many percent more and not several times as often. The floor
 * lets an upstream that is seldom called have its retries, too. */
#include "upstreams/policy.h"

static uint64_t allowed(uint32_t calls, uint32_t percent, uint32_t floor_per_s)
{
    uint64_t share = (uint64_t)calls * percent / 100;
    uint64_t floor = (uint64_t)floor_per_s * WINDOW_SECONDS;
    return share > floor ? share : floor;
}

uint32_t budget_left(const uint32_t sums[COUNTED], enum counted what, uint32_t percent,
                     uint32_t floor_per_s)
{
    uint64_t most = allowed(sums[COUNT_CALLS], percent, floor_per_s);
    uint64_t left = most > sums[what] ? most - sums[what] : 0;
    return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

/* Counts first and looks then. Of those granted at once, whoever counted last sees all the others:
 * together they are never too many. Who sees too many steps back, so that some may be denied what
 * the next one gets. */
bool budget_take(struct window *window, enum counted what, uint32_t percent, uint32_t floor_per_s,
                 uint64_t now_us)
{
    gw_assert(what == COUNT_RETRIES || what == COUNT_HEDGES);
    uint32_t sums[COUNTED];
    window_count(window, what, now_us);
    window_sum(window, 0, now_us, sums);
    if (sums[what] <= allowed(sums[COUNT_CALLS], percent, floor_per_s))
        return true;
    window_uncount(window, what, now_us);
    window_count(window, what == COUNT_RETRIES ? COUNT_RETRIES_DENIED : COUNT_HEDGES_DENIED,
                 now_us);
    return false;
}
