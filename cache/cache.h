/* cache/: nothing is asked twice. Answers are kept as RFC 9111 has it for a cache that many users
 * share, and who asks for what is being asked for already waits for the same answer.
 *
 * `struct cache` is shared by all loops: the store (cache/store.h) and the flights, which are the
 * calls to upstreams that others may join. `struct cache_client` is a loop's own. A call through
 * the cache belongs to its loop, like a call to an upstream; what it finds may come from any.
 *
 *   cache.c      what there is once: plans, the store, clients
 *   call.c       a call: found, or joined to a flight, or a flight of its own
 *   flight.c     one call to an upstream for all who want its answer
 *   landing.c    what an answer comes to: kept or not, for whom
 *   status.c     Cache-Status, statistics
 *   control.c    both for the operator, and purging
 *   rules_*.c    RFC 9111's rules (cache/rules.h); directives.c reads Cache-Control
 *   store.c, entry.c, last_good.c   where answers are kept */
#ifndef GW_CACHE_H
#define GW_CACHE_H

#include "cache/rules.h"
#include "cache/store.h"
#include "upstreams/upstreams.h"

struct cache;
struct cache_client;
struct cache_call;

/* max_size 0: nothing is kept, but who asks for the same still waits together. Errors: a size that
 * not even one answer of an upstream fits into whose answers are to be kept, a folder for last good
 * answers that can't be used. `serving`: also reads
 * these. disk: what writes them; stopped before cache_destroy(). */
struct offload;
struct cache *cache_create(const struct config *config, bool serving, struct offload *disk,
                           struct diag *diag);
/* The clients are gone. */
void cache_destroy(struct cache **cache);
struct cache_store *cache_store_of(struct cache *cache);

struct cache_store *cache_client_store(struct cache_client *client); /* NULL: nothing is kept */

/* On the loop's thread; goes before the up_client. Turns the loop when another thread is just
 * handing it an answer. */
struct cache_client *cache_client_create(struct cache *cache, struct up_client *up,
                                         struct loop *loop);
void cache_client_destroy(struct cache_client **client);

/* How answers of one kind are kept: compiled from [….cache], read-only but for what it counts. */
struct cache_plan {
    struct cache_policy policy;
    const struct str *tags; /* borrowed */
    size_t tag_count;
    bool keeps_last_good;
    bool wants_json;         /* kept with its tape, and only when it is JSON */
    struct str used_for;     /* "home/promo", for the log; borrowed */
    _Atomic bool complained; /* the log has heard of what is odd about its answers */
};
/* NULL when it isn't enabled. In the pool, whose life `config` must have. */
struct cache_plan *cache_plan(h2o_mem_pool_t *pool, const struct config_caching *config,
                              struct str used_for);

/* How an answer came, RFC 9211. */
enum cache_word {
    CACHE_MISS,        /* asked for */
    CACHE_HIT,         /* kept, and fresh */
    CACHE_STALE,       /* kept, past its time: being asked for anew, or what stands in */
    CACHE_REVALIDATED, /* kept; the upstream said that it still holds */
    CACHE_COLLAPSED    /* somebody else had asked already */
};
const char *cache_word_name(enum cache_word word);

struct cache_answer {
    struct up_result result;    /* of the call, or as if one had just been made */
    const struct json_doc *doc; /* of the body; NULL = wasn't parsed */
    enum cache_word word;
    bool stored;        /* it is kept now, for others */
    bool is_private;    /* only for who asked: a page with it is as well */
    bool no_store;      /* the upstream said so */
    bool is_explicit;   /* the upstream said how long */
    uint64_t past_ms;   /* CACHE_STALE: how long ago it should have been used last */
    uint64_t age_ms;    /* of what was kept; 0 = it just came */
    uint64_t ttl_ms;    /* for how long it may be used from now on; 0 = not again */
    int forward_status; /* that the upstream answered with; 0 = wasn't asked, or didn't */
    const struct cache_entry *entry; /* kept or shared; NULL = only this call has it */
};

typedef void cache_done_fn(struct cache_call *call, const struct cache_answer *answer, void *arg);

/* Like up_call_start(), for a plain GET. What the request points to stays until the call is
 * released. `key`: what tells it from other requests for the same target, its own headers say; part
 * of what answers are found by. *answer_r: NULL, or the answer, when it is there at once; else
 * done() runs later, never from inside. Both answers stay until the call is released. From the
 * pool. */
struct cache_call *cache_call_start(struct cache_client *client, h2o_mem_pool_t *pool,
                                    struct cache_plan *plan, const struct up_request *request,
                                    struct str key, cache_done_fn *done, void *arg,
                                    const struct cache_answer **answer_r);
/* After, or before, done(): what is kept and may stand in where asking failed; NULL = nothing.
 * Stays until the call is released. */
const struct cache_answer *cache_call_stand_in(struct cache_call *call);
/* Attempts of its flight so far, as up_call_attempts(); 0 for who joined. */
unsigned cache_call_attempts(const struct cache_call *call);
/* Likewise up_call_times(). */
struct call_times cache_call_times(const struct cache_call *call);
/* Ends it at any moment, without its callback; its memory is the pool's. A flight that nobody waits
 * for any more ends too. */
void cache_call_release(struct cache_call **call);
/* Nobody waits for it any more; what it holds stays until it is released. */
void cache_call_stop(struct cache_call *call);

/* An unsafe method was answered well for this target (section 4.4): what is kept of it goes, but
 * for what was asked for with headers of a part's own. pool: for what isn't needed longer. */
void cache_invalidate(struct cache_client *client, h2o_mem_pool_t *pool, struct str upstream,
                      struct str target);

/* One member of Cache-Status (RFC 9211): `gateway; hit; ttl=12; detail=promo`. Writes at most
 * CACHE_STATUS_ROOM bytes and those of `detail`; returns one past them. */
enum { CACHE_STATUS_ROOM = 96 };
char *cache_status_put(char *at, const struct cache_answer *answer, struct str detail);

/* Purging: what was taken out. path: the whole target that upstreams are asked for, "" = all of the
 * upstream's. Any thread. */
size_t cache_purge_upstream(struct cache *cache, struct str upstream, struct str path);
size_t cache_purge_tag(struct cache *cache, struct str tag);

/* {"entries":…, …} for `GET /cache`. Any thread. */
void cache_write_json(struct cache *cache, struct out *out);
/* The same as gw_cache_… for Prometheus. Any thread. */
void cache_write_metrics(struct cache *cache, struct out *out);
/* GET /cache on the admin listener, POST /cache/purge on the control socket. Before the loops run.
 */
struct http_server;
void cache_control_add(struct cache *cache, struct http_server *server);

#endif
