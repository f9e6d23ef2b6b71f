/* An upstream's circuit breaker.
 *
 *     CLOSED  --- too many failures: report_closed() --->  OPEN
 *       ^                                                  |  ^
 *       | enough good probes:             open_for is over:|  | a bad probe:
 *       | report_probe()                      breaker_ask()|  | report_probe()
 *       |                                                  v  |
 *       +-----------------------------------------------  HALF_OPEN
 *
 * In HALF_OPEN one probe is under way at a time. One that ends without a verdict makes room for
 * the next; nobody else's report counts, since those attempts began before.
 *
 * State, probe, good probes and the time of the last opening or closing are one word, so that each
 * arrow above is one compare-and-swap: whichever thread wins it has opened, closed or probes, and
 * the others see all of it or nothing. */
#include "upstreams/policy.h"

/* The word: 48 bits of microseconds (8 years after the boot), 13 of good probes, probing, state. */
enum { STATE_BITS = 2, PROBING = 1 << STATE_BITS, ONE_GOOD = PROBING << 1, TIME_SHIFT = 16 };

static enum breaker_state state_of(uint64_t word)
{
    return (enum breaker_state)(word & (PROBING - 1));
}

static uint32_t good_of(uint64_t word)
{
    return (uint32_t)(word & ((1 << TIME_SHIFT) - 1)) / ONE_GOOD;
}

static uint64_t word_of(enum breaker_state state, uint64_t now_us)
{
    return now_us << TIME_SHIFT | state;
}

/* open_for and up to a tenth, so that not all gateways try an upstream in the same moment. The
 * microsecond in which it opened is chance enough, and the end stays the same however often it is
 * asked for. */
static uint64_t end_of_open(const struct breaker *breaker, uint64_t word)
{
    uint64_t since_us = word >> TIME_SHIFT;
    uint64_t open_us = breaker->limits->open_for_ms * 1000;
    uint64_t chance = since_us * 0x9e3779b97f4a7c15u >> 54; /* 0 to 1023 */
    return since_us + open_us + open_us * chance / 10240;
}

void breaker_init(struct breaker *breaker, const struct config_breaker *limits)
{
    *breaker = (struct breaker){.limits = limits};
}

enum breaker_answer breaker_ask(struct breaker *breaker, uint64_t now_us)
{
    uint64_t word = atomic_load_explicit(&breaker->state, memory_order_relaxed);
    for (;;) {
        switch (state_of(word)) {
        case BREAKER_CLOSED:
            return BREAKER_PASS;
        case BREAKER_OPEN:
            if (now_us < end_of_open(breaker, word))
                return BREAKER_REFUSE;
            break;
        case BREAKER_HALF_OPEN:
            if (word & PROBING)
                return BREAKER_REFUSE;
            break;
        }
        uint64_t probing = (word & ~(uint64_t)(PROBING - 1)) | PROBING | BREAKER_HALF_OPEN;
        bool was_open = state_of(word) == BREAKER_OPEN;
        if (atomic_compare_exchange_weak(&breaker->state, &word, probing)) {
            atomic_fetch_add(&breaker->half_opened, was_open);
            return BREAKER_PROBE;
        }
    }
}

/* Only a failure opens, so a good answer looks at nothing. Seconds that began before the breaker
 * closed hold what opened it, and are left out. */
static bool fails_too_often(struct breaker *breaker, uint64_t word, const struct window *window,
                            uint64_t now_us)
{
    const struct config_breaker *limits = breaker->limits;
    if (limits->consecutive != 0 &&
        atomic_fetch_add(&breaker->consecutive, 1) + 1 >= limits->consecutive)
        return true;
    if (limits->error_share == 0)
        return false;
    uint32_t sums[COUNTED];
    window_sum(window, word >> TIME_SHIFT, now_us, sums);
    return sums[COUNT_ANSWERS] >= limits->min_calls &&
           (uint64_t)sums[COUNT_FAILURES] * 100 >=
               (uint64_t)sums[COUNT_ANSWERS] * limits->error_share;
}

static bool report_closed(struct breaker *breaker, uint64_t word, enum breaker_report report,
                          const struct window *window, uint64_t now_us)
{
    if (report == REPORT_NOTHING)
        return false;
    if (report == REPORT_GOOD) { /* read first: written, the line would wander between the CPUs */
        if (atomic_load_explicit(&breaker->consecutive, memory_order_relaxed) != 0)
            atomic_store(&breaker->consecutive, 0);
        return false;
    }
    if (!fails_too_often(breaker, word, window, now_us) ||
        !atomic_compare_exchange_strong(&breaker->state, &word, word_of(BREAKER_OPEN, now_us)))
        return false;
    atomic_fetch_add(&breaker->opened, 1);
    return true;
}

/* Nobody else writes the word while the probe is under way. */
static bool report_probe(struct breaker *breaker, uint64_t word, enum breaker_report report,
                         uint64_t now_us)
{
    gw_assert(state_of(word) == BREAKER_HALF_OPEN && word & PROBING);
    if (report == REPORT_BAD) {
        atomic_store(&breaker->state, word_of(BREAKER_OPEN, now_us));
        atomic_fetch_add(&breaker->opened, 1);
        return true;
    }
    if (report == REPORT_GOOD && good_of(word) + 1 >= breaker->limits->probes) {
        atomic_store(&breaker->consecutive, 0);
        atomic_store(&breaker->state, word_of(BREAKER_CLOSED, now_us));
        atomic_fetch_add(&breaker->closed, 1);
        return true;
    }
    uint64_t next = word & ~(uint64_t)PROBING;
    atomic_store(&breaker->state, report == REPORT_GOOD ? next + ONE_GOOD : next);
    return false;
}

bool breaker_report(struct breaker *breaker, bool was_probe, enum breaker_report report,
                    const struct window *window, uint64_t now_us)
{
    uint64_t word = atomic_load(&breaker->state);
    if (was_probe)
        return report_probe(breaker, word, report, now_us);
    return state_of(word) == BREAKER_CLOSED && report_closed(breaker, word, report, window, now_us);
}

enum breaker_state breaker_look(const struct breaker *breaker, uint64_t now_us,
                                uint64_t *retry_in_us_r)
{
    uint64_t word = atomic_load(&breaker->state);
    uint64_t end_us = state_of(word) == BREAKER_OPEN ? end_of_open(breaker, word) : 0;
    *retry_in_us_r = end_us > now_us ? end_us - now_us : 0;
    return state_of(word);
}
