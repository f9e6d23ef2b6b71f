/* Where answers are kept: a table that all loops share, bounded in bytes.
 *
 * It is cut into shards, each with a lock that is held for a look into a table and never while
 * anything is parsed, copied or compared with what a client sent at length. An entry is immutable
 * from the moment in which it is put in, and counted: who found one may use it for as long as it is
 * held, whatever becomes of it in the store. */
#ifndef GW_CACHE_STORE_H
#define GW_CACHE_STORE_H

#include <stdatomic.h>
#include "base/json.h"
#include "cache/rules.h"

struct cache_store;

enum {
    CACHE_MAX_ENTRY = 4 << 20
}; /* bytes; larger answers aren't kept, whatever the store's size */

/* What is asked for, as far as it tells answers apart before Vary does. */
struct cache_key {
    struct str text; /* "promo GET /promo?a=b": upstream, method, target; borrowed */
    uint64_t hash;   /* cache_key_hash(text); never 0 */
};
struct cache_key cache_key(struct str text);

/* A stored answer, in one allocation but for the tape. Read-only once it is in a store, but for the
 * private fields at the end. */
struct cache_entry {
    struct str key;
    uint64_t hash;
    uint64_t serial; /* tells it from all others of this process, also from those that are gone */
    struct str *vary_names;  /* of Vary, lower case, sorted */
    struct str *vary_values; /* what the request had for each; {NULL, 0} = nothing */
    size_t vary_count;
    struct str *tags; /* for purging */
    size_t tag_count;
    int status;
    struct up_header *headers; /* without those of the connection */
    size_t header_count;
    struct str content_type;
    struct str body;
    struct json_doc doc; /* of body; count == 0: wasn't parsed. Owned */
    struct rules rules;  /* its strings point into headers */
    size_t bytes;        /* that it takes, tape and table included */
    bool is_last_good;   /* came from the disk: see last_good.h */

    /* private to store.c */
    _Atomic uint32_t refs;
    _Atomic uint8_t used; /* times it was found lately */
    uint8_t queue;
    struct cache_entry *next_in_bucket;
    struct cache_entry *newer, *older;
};

/* What an entry is made of: everything is copied but `doc`, whose tape is taken over (it must have
 * been parsed from a text of the same bytes as `body`; its text is made the copy's). NULL doc:
 * none. Held once, by the caller. */
struct cache_entry_parts {
    struct cache_key key;
    const struct str *vary_names, *vary_values;
    size_t vary_count;
    const struct str *tags;
    size_t tag_count;
    int status;
    const struct up_header *headers;
    size_t header_count;
    struct str content_type, body;
    struct json_doc *doc;
    const struct rules *rules; /* strings anywhere: they are found again in the copied headers */
};
struct cache_entry *cache_entry_create(const struct cache_entry_parts *parts);
struct cache_entry *cache_entry_ref(struct cache_entry *entry);
void cache_entry_unref(struct cache_entry **entry);
/* Whether it is an answer to a request with these headers too: they have what its Vary names. */
bool cache_entry_suits(const struct cache_entry *entry, const struct up_header *headers,
                       size_t count);

/* max_bytes: of all entries together, what they need beside their bodies included. Any thread from
 * here on. */
struct cache_store *cache_store_create(size_t max_bytes);
void cache_store_destroy(struct cache_store **store); /* nobody looks any more; held entries stay */

/* The entry for this key whose Vary matches the request's headers: held for the caller; NULL =
 * there is none. Of several that match, the one received last. */
struct cache_entry *cache_store_find(struct cache_store *store, struct cache_key key,
                                     const struct up_header *headers, size_t count);
/* The moment, as far as the store has them: it moves on with each purge and invalidation. */
uint64_t cache_store_epoch(struct cache_store *store);
/* Puts it in, in place of one with the same key and the same values for the same Vary names. The
 * caller keeps its own hold. epoch: when it was asked for; what was purged or invalidated since
 * isn't put in again. False: that, or it is too large for the store: nothing was changed but that
 * the one in whose place it would have come is gone. */
bool cache_store_put(struct cache_store *store, struct cache_entry *entry, uint64_t epoch);
/* Takes out everything with this key; the number of entries. */
size_t cache_store_remove(struct cache_store *store, struct cache_key key);
/* The same, for what is known to have changed: answers that are under way are out of date, too. */
size_t cache_store_invalidate(struct cache_store *store, struct cache_key key);
/* Purges all that begins with this key text, or that has the tag; looks at every entry, a shard at
 * a time. */
size_t cache_store_remove_prefix(struct cache_store *store, struct str prefix);
size_t cache_store_remove_tag(struct cache_store *store, struct str tag);
/* Calls fn with each entry (held meanwhile, no lock held). */
void cache_store_each(struct cache_store *store, void (*fn)(void *arg, struct cache_entry *entry),
                      void *arg);

struct cache_store_stats {
    uint64_t entries, bytes, max_bytes, puts, evictions, refused;
};
struct cache_store_stats cache_store_stats(struct cache_store *store);

#endif
