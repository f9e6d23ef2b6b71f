/* Percentiles of lately, for hedging, for retries that must finish in time, and for people.
 *
 * Buckets as in HDR histograms: each power of two in eight equal parts. A bucket is an eighth to a
 * sixteenth of its values wide, its middle within a sixteenth of each of them, and its index
 * is two shifts. Spans of ten seconds take turns in two arrays, so that what is known isn't thrown
 * away all at once: the one before counts until it is overwritten. */
#include "upstreams/policy.h"

enum {
    PARTS_BITS = 3, /* of each power of two */
    PARTS = 1 << PARTS_BITS,
    FIRST_BIT = 5, /* 32 us: less is the first bucket */
    SPAN_US = 10 * 1000 * 1000,
    FEWEST = 20 /* answers; fewer say nothing */
};
_Static_assert(LATENCY_BUCKETS % PARTS == 0 && FIRST_BIT + LATENCY_BUCKETS / PARTS <= 32,
               "whole powers of two, of a uint32_t");

static size_t bucket_of(uint32_t us)
{
    if (us < 1u << FIRST_BIT)
        return 0;
    unsigned bit = 31 - (unsigned)__builtin_clz(us);
    size_t bucket = (bit - FIRST_BIT) * PARTS + (us >> (bit - PARTS_BITS) & (PARTS - 1));
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static uint32_t middle_of(size_t bucket)
{
    unsigned shift = (unsigned)(bucket / PARTS) + FIRST_BIT - PARTS_BITS;
    uint32_t low = (uint32_t)(PARTS + bucket % PARTS) << shift;
    return low + (1u << shift) / 2;
}

static void clear(_Atomic uint32_t counts[LATENCY_BUCKETS])
{
    for (size_t i = 0; i < LATENCY_BUCKETS; i++)
        atomic_store_explicit(&counts[i], 0, memory_order_relaxed);
}

void latency_add(struct latency *latency, uint32_t us, uint64_t now_us)
{
    uint64_t span = now_us / SPAN_US + 1;
    uint64_t held = atomic_load_explicit(&latency->span, memory_order_relaxed);
    if (span != held) {
        clear(latency->counts[span & 1]);
        if (span != held + 1)
            clear(latency->counts[~span & 1]);
        atomic_store_explicit(&latency->span, span, memory_order_release);
    }
    /* One writer: no need for an addition that is atomic. */
    _Atomic uint32_t *count = &latency->counts[span & 1][bucket_of(us)];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void add_counts(uint64_t totals[LATENCY_BUCKETS],
                       const _Atomic uint32_t counts[LATENCY_BUCKETS])
{
    for (size_t i = 0; i < LATENCY_BUCKETS; i++)
        totals[i] += atomic_load_explicit(&counts[i], memory_order_relaxed);
}

void latency_percentiles(const struct latency *const *all, size_t count, uint64_t now_us,
                         const uint8_t *percents, size_t percent_count, uint32_t *us_r)
{
    uint64_t totals[LATENCY_BUCKETS] = {0}, total = 0, below = 0;
    uint64_t span = now_us / SPAN_US + 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t held = atomic_load_explicit(&all[i]->span, memory_order_acquire);
        if (held + 1 >= span)
            add_counts(totals, all[i]->counts[held & 1]);
        if (held >= span)
            add_counts(totals, all[i]->counts[~held & 1]);
    }
    for (size_t i = 0; i < LATENCY_BUCKETS; i++)
        total += totals[i];

    size_t bucket = 0;
    for (size_t i = 0; i < percent_count; i++) {
        uint64_t rank = (total * percents[i] + 99) / 100; /* of the answer that is looked for */
        rank += rank == 0;
        while (bucket < LATENCY_BUCKETS && below + totals[bucket] < rank)
            below += totals[bucket++];
        us_r[i] = total < FEWEST || bucket == LATENCY_BUCKETS ? 0 : middle_of(bucket);
    }
}
