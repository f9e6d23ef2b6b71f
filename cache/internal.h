/* What the files of cache/ share beside the store. */
#ifndef GW_CACHE_INTERNAL_H
#define GW_CACHE_INTERNAL_H

#include <pthread.h>
#include "cache/cache.h"
#include "cache/last_good.h"

struct flight;

static inline uint64_t unix_ms(void)
{
    return (uint64_t)clock_unix_ms();
}

/* -- flights ------------------------------------------------------------------------------------
 *
 * A flight is one call to an upstream, made by the loop of who asked first, and the calls that wait
 * for it. While it is listed, others may join, from any loop, under the lock of its bucket; it is
 * taken out of the list, with all who wait, in the moment in which its answer is there. Who waits
 * on another loop gets the answer by message. */

enum {
    FLIGHT_BUCKETS = 256,
    PASS_MEMORY = 64,
    PASS_MS = 10 * 1000,
    MAX_PURGED_KEY = 16 << 10,
    RESTART_MS = 20, /* who has less time left than that takes what there is */
};

/* A key whose last answer couldn't be shared: who asks for it doesn't queue up behind others. */
struct pass {
    uint64_t hash, until_ms;
};

struct flight_bucket {
    pthread_mutex_t lock;
    struct flight *first;
    struct pass passes[PASS_MEMORY]; /* by the hash's upper bits; a later one takes the place */
} __attribute__((aligned(64)));

/* A place in a flight. Outlives its call when that is let go while the answer's message is under
 * way. */
struct waiter {
    h2o_linklist_t link; /* in flight.waiters: of a listed flight under the bucket's lock */
    struct cache_client *client;
    struct cache_call *call; /* NULL: let go */
    struct flight *flight;   /* NULL: it has landed */
    struct landing
        *landing;    /* held; set with flight = NULL. NULL: nothing came that may be shared */
    bool has_joined; /* somebody else's flight */
    bool is_posted;  /* under the lock: its message is under way */
    struct message message;
    struct waiter *next_spare;
};

/* What a flight came to, for all who waited. Counted; read-only but for `up`. */
struct landing {
    _Atomic uint32_t refs;
    struct cache_answer answer; /* as for who asked first */
    struct cache_entry *entry;  /* held; NULL = none was made */
    bool is_shared;             /* others may have it */
    bool was_cut;               /* by the deadline of who asked first: others may have longer */
    struct up_call *up;         /* owned, when only one waited: the body is in it. Its loop's */
};

struct cache_client {
    struct cache *cache;
    struct up_client *up;
    struct loop *loop;
    h2o_linklist_t flights; /* flight.link: those that it makes the calls of */
    struct waiter *spare;
    unsigned awaited; /* messages that are under way to it, or may be */
};

struct cache {
    struct cache_store *store;   /* NULL: nothing is kept */
    struct last_good *last_good; /* NULL: none are */
    struct flight_bucket *buckets;
    _Atomic uint64_t hits, stale_hits, misses, collapsed, revalidated;
};

struct cache_call {
    struct cache_client *client;
    struct cache_plan *plan;
    h2o_mem_pool_t *pool; /* the caller's */
    struct up_request request;
    struct rules_request asked;
    struct cache_key key;
    struct cache_entry *kept; /* held: found, maybe past its time */
    struct waiter *waiter;    /* while it waits */
    struct landing *landing;  /* held, once it had one */
    struct cache_answer answer, stand_in;
    cache_done_fn *done;
    void *arg;
};

/* flight.c */

/* Joins a flight for the same, or begins one. `alone`: neither joins nor lets others join. */
void flight_join(struct cache_call *call, bool alone);
/* Begins one that nobody waits for, to bring call->kept up to date, unless there is one. */
void flight_refresh(struct cache_call *call);
void flight_leave(struct cache_call *call);
/* Who asks from now on doesn't get the answer to what was asked before. */
void flight_outdate(struct cache *cache, struct cache_key key);
unsigned flight_attempts(const struct cache_call *call);
struct call_times flight_times(const struct cache_call *call);
void flights_end(struct cache_client *client);
void landing_unref(struct landing **landing);
/* call.c: the flight of a call has landed; on the call's loop. NULL: with nothing for it. */
void call_landed(struct cache_call *call, struct landing *landing, bool joined);

/* landing.c: judges the answer to a flight and keeps what may be kept. requested_ms: unix. *up:
 * taken when the answer stays in it. `again`: a 304 that fits nothing came; ask without conditions.
 */
struct landing_in {
    struct cache *cache;
    struct cache_plan *plan;
    h2o_mem_pool_t *pool; /* for what isn't needed longer than the flight */
    const struct rules_request *asked;
    const struct up_header *headers; /* of the request */
    size_t header_count;
    struct cache_key key;
    struct cache_entry *kept; /* that the request asked to validate; NULL = none */
    uint64_t requested_ms;
    uint64_t epoch;         /* of the store, when it was asked for */
    bool is_wanted_by_many; /* an entry is made of it even when it isn't kept */
};
/* Whether what it came to is an answer to this call's headers too. */
bool landing_suits(const struct landing *landing, const struct cache_call *call);
struct landing *landing_create(const struct landing_in *in, const struct up_result *result,
                               bool *again_r);

#endif
