/* Which share of the requests to turn away, by how long they wait. After CoDel (RFC 8289): a queue
 * that is empty now and then is a burst being worked off, however long it gets; one that isn't, for
 * a whole interval, only makes everybody wait. So it is the least wait of an interval that counts.
 *
 * CoDel drops single packets, whose senders slow down then. Clients of ours don't, so what grows
 * with each bad interval is the share that is turned away; it falls by itself with each good one.
 * The clock is handed in. One loop's. */
#ifndef GW_MIDDLEWARE_CODEL_H
#define GW_MIDDLEWARE_CODEL_H

#include "base/base.h"

enum { CODEL_ALL = 1 << 16 }; /* shares are parts of it */

struct codel {
    uint64_t target_us, interval_us;
    uint32_t most;     /* the share is never more */
    uint32_t share;    /* of the requests that is turned away now */
    uint32_t owed;     /* turned away when there is a whole one */
    uint64_t began_us; /* of the interval under way */
    uint64_t least_us; /* wait in it so far */
    uint64_t last_us;  /* when the last was measured; 0 = none */
};

/* A wait was measured: it ended at now_us. */
void codel_note(struct codel *codel, uint64_t now_us, uint64_t wait_us);
/* Whether to turn away the request that comes at now_us. */
bool codel_sheds(struct codel *codel, uint64_t now_us);

#endif
