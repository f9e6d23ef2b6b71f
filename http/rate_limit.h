/* Rate limits without their replies and their clock: the generic cell rate algorithm (a bucket that
 * leaks one request every `window / quota`, kept as one time) per client, in a table that never
 * grows. Any thread. */
#ifndef GW_HTTP_RATE_LIMIT_H
#define GW_HTTP_RATE_LIMIT_H

#include "base/base.h"

enum { RATE_MAX_QUOTA = 1000000, RATE_CLIENTS = 65536 };

/* "30/m": the quota, and the window that it is for: /s, /m, /h, /d. False: it is no rate. */
bool rate_parse(struct str text, uint32_t *quota_r, uint32_t *window_s_r);

struct http_rate;
/* burst: how many may come at once. clients: how many it holds, a power of two from 8 on. */
struct http_rate *rate_create(uint32_t quota, uint32_t window_s, uint32_t burst, size_t clients);

/* Who a client's address stands for: an IPv4 address, an IPv6 /64 (what one customer has at least);
 * all that have none are one. */
uint64_t rate_client(struct str address);

struct rate_verdict {
    bool allowed;
    uint32_t remaining; /* requests that could follow at once */
    uint64_t wait_us;   /* until there is one more */
};
/* Counts a request at now_us; one that isn't allowed costs nothing. */
struct rate_verdict rate_count(struct http_rate *rate, uint64_t client, uint64_t now_us);

/* SipHash-2-4 of eight bytes, which the table is keyed with: a client can't know who shares its
 * set. */
uint64_t rate_hash(const uint64_t key[2], uint64_t word);

#endif
