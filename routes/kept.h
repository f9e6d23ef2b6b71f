/* What the files of routes/ that keep answers share: kept.c, kept_store.c, refresh.c. */
#ifndef GW_ROUTES_KEPT_H
#define GW_ROUTES_KEPT_H

#include "routes/routes_internal.h"

/* A request, as far as keeping its answer goes. */
struct kept {
    struct cache_plan *plan;
    struct cache_store *store;
    struct rules_request asked;
    struct str target; /* at the upstream */
    struct cache_key key;
    const struct up_header *headers; /* that go up, without conditions of ours */
    size_t header_count;
    struct cache_entry *entry; /* held; past its time, or NULL */
    struct rules rules;        /* of the answer that passes */
    uint64_t requested_ms, epoch;
    struct buf body;
    bool validates; /* the upstream is asked whether `entry` still holds */
    bool stores;    /* what passes is to be kept */
    bool by_method; /* it isn't one whose answers are kept */
};

static inline uint64_t unix_ms(void)
{
    return (uint64_t)clock_unix_ms();
}

/* -- kept_store.c */

/* Puts a whole answer in; its body is kept->body. */
void kept_put(struct kept *kept, h2o_mem_pool_t *pool, int status, const struct up_header *headers,
              size_t count);
/* A 304 to our question: kept->entry is what it was, with its headers brought up to date, and kept
 * so. False: the 304 is about something else; nothing was changed. */
bool kept_renew(struct kept *kept, h2o_mem_pool_t *pool, const struct up_header *headers,
                size_t count);
/* Asks about kept->entry, where that can be: conditions of ours take the place of the client's. */
void kept_add_conditions(struct kept *kept, h2o_mem_pool_t *pool, struct up_request *request);

/* -- refresh.c */

/* Asks for what `kept` found past its time, unless somebody does; what `request` points to may go.
 */
void refresh_start(struct proxy_route *route, struct loop *loop, const struct kept *kept,
                   const struct up_request *request);

#endif
