/* The keys that seal session tickets (RFC 5077, RFC 8446 section 4.6.1): made at the start, shared
 * by all loops, never written anywhere. A key seals for one lifetime; what it sealed last is good
 * for another, so the one before the current still opens. Who holds a key can read what was said
 * in sessions that were resumed with it: that is why they are thrown away.
 *
 * Only handshakes come here, so a lock will do. Time is handed in: seconds of any clock. */
#ifndef GW_HTTP_TLS_TICKETS_H
#define GW_HTTP_TLS_TICKETS_H

#include <pthread.h>
#include "base/base.h"

struct ticket_key {
    uint8_t name[16]; /* tells tickets which key sealed them */
    uint8_t cipher[32];
    uint8_t mac[32];
    uint64_t made_s;
};

struct ticket_keys {
    pthread_mutex_t lock;
    uint64_t lifetime_s;       /* of a ticket, and of a key as the one that seals */
    struct ticket_key keys[2]; /* the one that seals; the one before it */
};

void ticket_keys_init(struct ticket_keys *keys, uint64_t lifetime_s, uint64_t now_s);
void ticket_keys_fini(struct ticket_keys *keys);
/* Takes over the keys of `before`, for as long as its own lifetime says. */
void ticket_keys_follow(struct ticket_keys *keys, struct ticket_keys *before);
/* The key to seal a new ticket with; makes a new one when its time has come. */
struct ticket_key ticket_keys_current(struct ticket_keys *keys, uint64_t now_s);
/* The key that sealed a ticket; false: it isn't known (any more). *current_r: it still seals. */
bool ticket_keys_find(struct ticket_keys *keys, const uint8_t name[16], uint64_t now_s,
                      struct ticket_key *key_r, bool *current_r);

#endif
