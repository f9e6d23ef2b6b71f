/* Policy: when a call may be made, made again, made twice, and where. Pure code: time and chance
 * are handed in, nothing here waits, allocates, logs or calls curl; call.c and endpoints.c ask.
 *
 *   window.c   what an upstream's last ten seconds held; what budgets and breaker look at
 *   budget.c   retries and hedges as a share of calls, with a floor
 *   breaker.c  closed, open, half-open
 *   backoff.c  how long a retry waits, and whether it can still finish
 *   latency.c  percentiles of lately
 *   balance.c  which address is next
 *   health.c   one address: ejected after failures, unhealthy after checks
 *
 * What loops share is atomic and read mostly: any thread, no lock, unless a line says otherwise.
 * Times are microseconds of clock_us(). */
#ifndef GW_UPSTREAMS_POLICY_H
#define GW_UPSTREAMS_POLICY_H

#include <stdatomic.h>
#include "base/base.h"
#include "config/config.h"

/* -- window ------------------------------------------------------------------------------------ */

enum { WINDOW_SECONDS = 10 };

enum counted {
    COUNT_CALLS,    /* calls that were begun; a retry or hedge belongs to its call */
    COUNT_ANSWERS,  /* attempts that ended good or bad; cut and cancelled ones are neither */
    COUNT_FAILURES, /* the bad ones of them */
    COUNT_RETRIES,
    COUNT_RETRIES_DENIED, /* by the budget */
    COUNT_HEDGES,
    COUNT_HEDGES_DENIED,
    COUNT_HEDGES_WON,
    COUNTED
};

/* A ring of seconds that any thread counts in. All zero to begin with; window.c knows how. */
struct window {
    _Atomic uint64_t numbers[WINDOW_SECONDS + 1][COUNTED]; /* of a second: the second, how many */
};
void window_count(struct window *window, enum counted what, uint64_t now_us);
/* Takes back what was counted at that time. */
void window_uncount(struct window *window, enum counted what, uint64_t now_us);
/* The running second and the nine before it, of them those that began at since_us or later. */
void window_sum(const struct window *window, uint64_t since_us, uint64_t now_us,
                uint32_t sums_r[COUNTED]);

/* -- budget ------------------------------------------------------------------------------------ */

/* How many more retries (COUNT_RETRIES) or hedges (COUNT_HEDGES) the window leaves:
 * percent of its calls or floor_per_s times its seconds, whichever is more, less those made. */
uint32_t budget_left(const uint32_t sums[COUNTED], enum counted what, uint32_t percent,
                     uint32_t floor_per_s);
/* Takes one and counts it, or counts it as denied. Threads that take at once don't overdraw. */
bool budget_take(struct window *window, enum counted what, uint32_t percent, uint32_t floor_per_s,
                 uint64_t now_us);

/* -- breaker ----------------------------------------------------------------------------------- */

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN }; /* as gw_circuit_state */

struct breaker {
    const struct config_breaker *limits;
    _Atomic uint64_t state; /* private to breaker.c: enum breaker_state and what goes with it */
    _Atomic uint32_t consecutive;                 /* failures, while closed */
    _Atomic uint32_t opened, half_opened, closed; /* how often, ever */
};
void breaker_init(struct breaker *breaker, const struct config_breaker *limits);

enum breaker_answer {
    BREAKER_PASS,
    BREAKER_PROBE, /* goes through to try the upstream: one at a time; must be reported */
    BREAKER_REFUSE
};
/* Closed costs one load. */
enum breaker_answer breaker_ask(struct breaker *breaker, uint64_t now_us);
enum breaker_report { REPORT_GOOD, REPORT_BAD, REPORT_NOTHING /* cut or cancelled */ };
/* Of an attempt that breaker_ask() let through, after it was counted in the window. True: it opened
 * or closed the breaker; the caller logs it. */
bool breaker_report(struct breaker *breaker, bool was_probe, enum breaker_report report,
                    const struct window *window, uint64_t now_us);
/* retry_in_us_r: until the next probe may go; 0 unless open. */
enum breaker_state breaker_look(const struct breaker *breaker, uint64_t now_us,
                                uint64_t *retry_in_us_r);

/* -- backoff ----------------------------------------------------------------------------------- */

/* Before retry number 1, 2, …: between 0 and min(base << (retry - 1), max), by chance (full
 * jitter). */
uint64_t backoff_us(const struct config_retry *retry, unsigned number, uint32_t chance);
/* Whether an attempt that begins after wait_us can be over by deadline_us (0 = there is none), if
 * it takes usual_us. */
bool backoff_fits(uint64_t now_us, uint64_t wait_us, uint64_t usual_us, uint64_t deadline_us);
/* Retry-After (RFC 9110 section 10.2.3): seconds or a date, relative to now_s (UTC). Microseconds,
 * at most a day; 0 = none, unreadable, or past. */
uint64_t backoff_retry_after_us(struct str value, int64_t now_s);

/* -- latency ----------------------------------------------------------------------------------- */

enum { LATENCY_BUCKETS = 168 };
/* A histogram from 32 us to a minute, exact to a sixteenth; what is older than 10 to 20 seconds
 * doesn't count. One thread adds, any reads. All zero to begin with. */
struct latency {
    _Atomic uint32_t counts[2][LATENCY_BUCKETS]; /* of spans of ten seconds, in turns */
    _Atomic uint64_t span;                       /* that is added to, counted from 1 */
};
void latency_add(struct latency *latency, uint32_t us, uint64_t now_us);
/* percents ascending (50, 95); of all histograms together. 0 where fewer than 20 answers are known.
 */
void latency_percentiles(const struct latency *const *all, size_t count, uint64_t now_us,
                         const uint8_t *percents, size_t percent_count, uint32_t *us_r);

/* -- balance ----------------------------------------------------------------------------------- */

struct candidate {
    uint32_t weight;
    uint32_t inflight;
    bool usable;  /* not ejected, not unhealthy */
    bool tried;   /* by this call: taken only when nothing else is */
    int64_t turn; /* smooth weighted round-robin: the loop's own, kept from pick to pick, 0 first */
};
/* The next one's index. count is not 0. In order: usable and untried, usable, untried, any; among
 * them weight 0 only when all are 0. Round-robin spreads smoothly (3, 1, 1 -> a b a c a); least
 * in flight compares inflight / weight, equal ones by round-robin. */
size_t balance_pick(enum config_balance how, struct candidate *candidates, size_t count);

/* -- health ------------------------------------------------------------------------------------ */

enum health { HEALTH_UNKNOWN, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

struct health_state {                  /* all zero to begin with */
    _Atomic uint64_t ejected_until_us; /* the end of the last time; 0 = never was */
    _Atomic uint32_t failures;         /* one after the other */
    _Atomic uint32_t ejections;        /* when it was ejected last: see health_ejections() */
    _Atomic uint32_t in_a_row;         /* checks that contradict `checked` */
    _Atomic uint8_t checked;           /* enum health */
};
bool health_is_usable(const struct health_state *state, uint64_t now_us);
/* Of an attempt at this address. count: how many addresses there are; others_aside: how many of the
 * others are not usable. True: it was ejected just now. One may always be ejected unless max_share
 * is 0, but never the last one; loops that eject at once may put aside one more than that. */
bool health_report(struct health_state *state, bool good, const struct config_ejection *limits,
                   size_t count, size_t others_aside, uint64_t now_us);
/* How often it was ejected lately: one fewer for each for_ms that it wasn't since. */
uint32_t health_ejections(const struct health_state *state, const struct config_ejection *limits,
                          uint64_t now_us);
/* Of an active check; one thread at a time. The first one counts at once. True: the address became
 * unhealthy, or healthy after that. */
bool health_check(struct health_state *state, bool good, const struct config_health *limits);

#endif
