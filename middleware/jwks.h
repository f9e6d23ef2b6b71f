/* Keys that somebody else keeps: a JWK Set (RFC 7517) at an upstream. Each loop has its own copy,
 * fetched when it is first needed, again when its time is over or a token names a key that isn't in
 * it, and kept for as long as the upstream doesn't give a better one. */
#ifndef GW_MIDDLEWARE_JWKS_H
#define GW_MIDDLEWARE_JWKS_H

#include "base/json.h"
#include "crypto/jws.h"
#include "http/http.h"
#include "upstreams/upstreams.h"

/* -- a set ------------------------------------------------------------------------------------- */

enum { JWKS_KEYS_MAX = 64, JWKS_SIZE_MAX = 256 * 1024 };

struct jwk_set {
    struct jwk {
        struct str kid; /* owned; "" = none */
        struct jws_key *key;
    } keys[JWKS_KEYS_MAX];
    size_t count;
};
/* Takes the RSA and P-256 keys for signatures; others, symmetric ones among them, and what is
 * malformed are left out. False: there is none (the set is empty then). json: a stranger's bytes.
 */
bool jwk_set_read(struct jwk_set *set, struct str json);
void jwk_set_clear(struct jwk_set *set);
/* The key of this name for this algorithm; for a token without a name (kid {NULL, 0}) the only one
 * for it. NULL: none, or several. */
struct jws_key *jwk_set_find(const struct jwk_set *set, enum jws_algorithm algorithm,
                             struct str kid);

/* -- keeping it up to date --------------------------------------------------------------------- */

/* Where it is. */
struct jwks_source {
    struct str section; /* for the log */
    struct upstream *upstream;
    struct str path;
    uint64_t ttl_ms;     /* where the answer has no max-age */
    uint64_t refetch_ms; /* between two that unknown names ask for */
};

/* A loop's copy. */
struct jwks {
    const struct jwks_source *source; /* borrowed */
    struct loop *loop;
    struct up_client *client;
    struct jwk_set set;
    uint64_t version;     /* of the set, counted from 1; 0 = there was none yet */
    struct up_call *call; /* NULL = isn't being fetched */
    uint64_t asked_ms;    /* when it was fetched last, or not */
    uint64_t renew_ms;    /* when it is to be fetched again, */
    uint64_t wait_ms;     /* and from when on the old one isn't used meanwhile */
    uint64_t warned_ms;
    h2o_linklist_t waiters;
};
void jwks_init(struct jwks *jwks, const struct jwks_source *source, struct loop *loop,
               struct up_client *client);
/* After the client is gone, and with it its calls. */
void jwks_fini(struct jwks *jwks);

enum jwks_found {
    JWKS_FOUND,
    JWKS_UNKNOWN, /* there is no such key, as far as is known, and that was asked just now */
    JWKS_WAIT,    /* it is being fetched: jwks_wait(), then look again */
    JWKS_AWAY     /* there are no keys at all, and the upstream doesn't give any */
};
/* On its loop. The key is borrowed until the loop's turn is over. */
enum jwks_found jwks_find(struct jwks *jwks, enum jws_algorithm algorithm, struct str kid,
                          struct jws_key **key_r);
/* fn() is called when the fetch is over, however it ended, unless the client has left. */
typedef void jwks_fn(struct http_request *request, void *arg);
void jwks_wait(struct jwks *jwks, struct http_request *request, jwks_fn *fn, void *arg);

#endif
