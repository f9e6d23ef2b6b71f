/* The table of kept answers, after S3-FIFO (Yang et al., SOSP 2023): what is new stands in a small
 * queue, a tenth of the room. What is asked for again while it is there moves on to the main queue,
 * what isn't goes, and only its hash is remembered for a while: if it comes back it goes to the
 * main queue at once. The main queue gives what was used another round. So a crowd of answers that
 * nobody asks for twice passes by without touching those that are used, and a hit moves nothing: it
 * counts to three in the entry itself. */
#include "cache/store.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    MAX_SHARDS = 64,
    MIN_SHARD_BYTES = 16 << 20,
    MAX_VARIANTS = 32, /* of one key: a client chooses what it sends */
    MAX_USED = 3,
    GHOSTS = 4096,
    INVALIDATED_SETS = 128,
    INVALIDATED_WAYS = 8,
    MIN_BUCKETS = 256,
    MAX_BUCKETS = 65536,
    BYTES_A_BUCKET = 1024
};

enum { SMALL, MAIN, OUT };

struct queue {
    struct cache_entry *newest, *oldest;
    size_t bytes;
};

/* A key that was invalidated, and when. */
struct invalidated {
    uint64_t hash, epoch;
};

struct shard {
    pthread_mutex_t lock;
    struct cache_entry **buckets;
    struct queue queues[2];
    size_t count, max_bytes;
    uint64_t puts, evictions, refused;
    uint32_t ghosts[GHOSTS]; /* hashes of what went from the small queue, a later one over it */
    struct invalidated invalidated[INVALIDATED_SETS][INVALIDATED_WAYS]; /* the last ones */
    uint64_t forgotten; /* the last epoch of those that aren't there any more */
} __attribute__((aligned(64)));

struct cache_store {
    struct shard *shards;
    size_t shard_count; /* a power of two, as is: */
    size_t bucket_count;
    size_t max_bytes;
    _Atomic uint64_t epoch, purged; /* now; of the last purge */
};

/* Entries that were taken out, to be let go when the lock is not held any more. */
struct removed {
    struct cache_entry *first;
    size_t count;
};

static void let_go(struct removed *removed)
{
    for (struct cache_entry *next; removed->first != NULL; removed->first = next) {
        next = removed->first->older;
        cache_entry_unref(&removed->first);
    }
}

/* -- making ----------------------------------------------------------------------------------- */

struct cache_store *cache_store_create(size_t max_bytes)
{
    struct cache_store *store = h2o_mem_alloc(sizeof(*store));
    size_t shards = 1, buckets = MIN_BUCKETS;
    while (shards < MAX_SHARDS && max_bytes / (shards * 2) >= MIN_SHARD_BYTES)
        shards *= 2;
    while (buckets < MAX_BUCKETS && buckets * BYTES_A_BUCKET < max_bytes / shards)
        buckets *= 2;
    *store = (struct cache_store){
        .shard_count = shards, .bucket_count = buckets, .max_bytes = max_bytes};
    store->shards = aligned_alloc(64, shards * sizeof(*store->shards));
    gw_assert(store->shards != NULL);
    memset(store->shards, 0, shards * sizeof(*store->shards));
    for (size_t i = 0; i < shards; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        shard->max_bytes = max_bytes / shards;
        shard->buckets = calloc(buckets, sizeof(struct cache_entry *));
        gw_assert(shard->buckets != NULL);
    }
    return store;
}

/* The upper bits choose the shard, the lower ones the bucket. */
static struct shard *shard_of(struct cache_store *store, uint64_t hash)
{
    return &store->shards[(hash >> 48) & (store->shard_count - 1)];
}

static struct cache_entry **bucket_of(struct cache_store *store, struct shard *shard, uint64_t hash)
{
    return &shard->buckets[hash & (store->bucket_count - 1)];
}

static bool has_key(const struct cache_entry *entry, struct cache_key key)
{
    return entry->hash == key.hash && str_eq(entry->key, key.text);
}

/* -- queues ----------------------------------------------------------------------------------- */

static void enqueue(struct shard *shard, struct cache_entry *entry, uint8_t which)
{
    struct queue *queue = &shard->queues[which];
    entry->queue = which;
    entry->newer = NULL;
    entry->older = queue->newest;
    *(queue->newest != NULL ? &queue->newest->newer : &queue->oldest) = entry;
    queue->newest = entry;
    queue->bytes += entry->bytes;
}

static void dequeue(struct shard *shard, struct cache_entry *entry)
{
    struct queue *queue = &shard->queues[entry->queue];
    *(entry->newer != NULL ? &entry->newer->older : &queue->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &queue->oldest) = entry->newer;
    queue->bytes -= entry->bytes;
}

static void take_out(struct cache_store *store, struct shard *shard, struct cache_entry *entry,
                     struct removed *removed)
{
    struct cache_entry **at = bucket_of(store, shard, entry->hash);
    while (*at != entry)
        at = &(*at)->next_in_bucket;
    *at = entry->next_in_bucket;
    dequeue(shard, entry);
    entry->queue = OUT;
    shard->count--;
    entry->older = removed->first;
    removed->first = entry;
    removed->count++;
}

static uint32_t *ghost_of(struct shard *shard, uint64_t hash)
{
    return &shard->ghosts[(hash >> 32) % GHOSTS];
}

static void evict_one(struct cache_store *store, struct shard *shard, struct removed *removed)
{
    struct queue *small = &shard->queues[SMALL], *main = &shard->queues[MAIN];
    bool from_small =
        small->oldest != NULL && (main->oldest == NULL || small->bytes > shard->max_bytes / 10);
    struct cache_entry *entry = from_small ? small->oldest : main->oldest;
    uint8_t used = atomic_load_explicit(&entry->used, memory_order_relaxed);
    if (from_small ? used > 1 : used > 0) {
        dequeue(shard, entry);
        atomic_store_explicit(&entry->used, from_small ? 0 : (uint8_t)(used - 1),
                              memory_order_relaxed);
        enqueue(shard, entry, MAIN);
        return;
    }
    if (from_small)
        *ghost_of(shard, entry->hash) = (uint32_t)entry->hash;
    shard->evictions++;
    take_out(store, shard, entry, removed);
}

/* -- finding, putting ------------------------------------------------------------------------- */

struct cache_entry *cache_store_find(struct cache_store *store, struct cache_key key,
                                     const struct up_header *headers, size_t count)
{
    struct shard *shard = shard_of(store, key.hash);
    struct cache_entry *found = NULL;
    pthread_mutex_lock(&shard->lock);
    for (struct cache_entry *it = *bucket_of(store, shard, key.hash); it != NULL;
         it = it->next_in_bucket) {
        if (has_key(it, key) && cache_entry_suits(it, headers, count) &&
            (found == NULL || it->rules.received_ms > found->rules.received_ms))
            found = it;
    }
    if (found != NULL)
        cache_entry_ref(found);
    pthread_mutex_unlock(&shard->lock);
    if (found != NULL) {
        uint8_t used = atomic_load_explicit(&found->used, memory_order_relaxed);
        if (used < MAX_USED)
            atomic_store_explicit(&found->used, (uint8_t)(used + 1), memory_order_relaxed);
    }
    return found;
}

static bool same_variant(const struct cache_entry *a, const struct cache_entry *b)
{
    if (a->vary_count != b->vary_count)
        return false;
    for (size_t i = 0; i < a->vary_count; i++)
        if (!str_eq(a->vary_names[i], b->vary_names[i]) ||
            (a->vary_values[i].p == NULL) != (b->vary_values[i].p == NULL) ||
            !str_eq(a->vary_values[i], b->vary_values[i]))
            return false;
    return true;
}

/* Those that the new one takes the place of: the same variant, or the oldest of too many. */
static struct cache_entry *find_obsolete(struct cache_store *store, struct shard *shard,
                                         const struct cache_entry *fresh)
{
    struct cache_entry *oldest = NULL;
    size_t variants = 0;
    for (struct cache_entry *it = *bucket_of(store, shard, fresh->hash); it != NULL;
         it = it->next_in_bucket) {
        if (!has_key(it, (struct cache_key){fresh->key, fresh->hash}))
            continue;
        if (same_variant(it, fresh))
            return it;
        variants++;
        if (oldest == NULL || it->rules.received_ms < oldest->rules.received_ms)
            oldest = it;
    }
    return variants >= MAX_VARIANTS ? oldest : NULL;
}

static struct invalidated *invalidated_of(struct shard *shard, uint64_t hash)
{
    return shard->invalidated[(hash >> 16) % INVALIDATED_SETS];
}

/* Under the shard's lock: a purge that isn't seen here is still to come by. */
static bool is_out_of_date(struct cache_store *store, struct shard *shard, uint64_t hash,
                           uint64_t epoch)
{
    const struct invalidated *set = invalidated_of(shard, hash);
    bool was_since = atomic_load(&store->purged) > epoch || shard->forgotten > epoch;
    for (size_t i = 0; i < INVALIDATED_WAYS; i++)
        was_since |= set[i].hash == hash && set[i].epoch > epoch;
    return was_since;
}

/* In the place of what it said last, or of the oldest. */
static void note_invalidated(struct shard *shard, uint64_t hash, uint64_t epoch)
{
    struct invalidated *set = invalidated_of(shard, hash), *place = set;
    for (size_t i = 1; i < INVALIDATED_WAYS && place->hash != hash; i++)
        if (set[i].hash == hash || set[i].epoch < place->epoch)
            place = &set[i];
    if (place->hash != hash && place->epoch > shard->forgotten)
        shard->forgotten = place->epoch;
    *place = (struct invalidated){hash, epoch};
}

bool cache_store_put(struct cache_store *store, struct cache_entry *entry, uint64_t epoch)
{
    struct shard *shard = shard_of(store, entry->hash);
    struct removed removed = {NULL, 0};
    bool fits = entry->bytes <= CACHE_MAX_ENTRY && entry->bytes <= shard->max_bytes;
    pthread_mutex_lock(&shard->lock);
    if (is_out_of_date(store, shard, entry->hash, epoch)) {
        pthread_mutex_unlock(&shard->lock);
        return false;
    }
    struct cache_entry *obsolete = find_obsolete(store, shard, entry);
    uint8_t used = 0;
    bool was_main = false;
    if (obsolete == entry) {
        pthread_mutex_unlock(&shard->lock);
        return true;
    }
    if (obsolete != NULL) {
        used = atomic_load_explicit(&obsolete->used, memory_order_relaxed);
        was_main = obsolete->queue == MAIN;
        take_out(store, shard, obsolete, &removed);
    }
    if (fits) {
        while (shard->queues[SMALL].bytes + shard->queues[MAIN].bytes + entry->bytes >
               shard->max_bytes)
            evict_one(store, shard, &removed);
        uint32_t *ghost = ghost_of(shard, entry->hash);
        bool returns = *ghost == (uint32_t)entry->hash;
        if (returns)
            *ghost = 0;
        struct cache_entry **bucket = bucket_of(store, shard, entry->hash);
        cache_entry_ref(entry);
        atomic_store_explicit(&entry->used, used, memory_order_relaxed);
        entry->next_in_bucket = *bucket;
        *bucket = entry;
        enqueue(shard, entry, was_main || returns ? MAIN : SMALL);
        shard->count++;
        shard->puts++;
    } else {
        shard->refused++;
    }
    pthread_mutex_unlock(&shard->lock);
    let_go(&removed);
    return fits;
}

/* -- removing --------------------------------------------------------------------------------- */

size_t cache_store_remove(struct cache_store *store, struct cache_key key)
{
    struct shard *shard = shard_of(store, key.hash);
    struct removed removed = {NULL, 0};
    pthread_mutex_lock(&shard->lock);
    for (struct cache_entry *it = *bucket_of(store, shard, key.hash), *next; it != NULL;
         it = next) {
        next = it->next_in_bucket;
        if (has_key(it, key))
            take_out(store, shard, it, &removed);
    }
    pthread_mutex_unlock(&shard->lock);
    let_go(&removed);
    return removed.count;
}

size_t cache_store_invalidate(struct cache_store *store, struct cache_key key)
{
    struct shard *shard = shard_of(store, key.hash);
    uint64_t epoch = atomic_fetch_add(&store->epoch, 1) + 1;
    pthread_mutex_lock(&shard->lock);
    note_invalidated(shard, key.hash, epoch);
    pthread_mutex_unlock(&shard->lock);
    return cache_store_remove(store, key);
}

static size_t remove_where(struct cache_store *store,
                           bool (*which)(const struct cache_entry *entry, struct str what),
                           struct str what)
{
    size_t count = 0;
    uint64_t epoch = atomic_fetch_add(&store->epoch, 1) + 1, last = atomic_load(&store->purged);
    while (last < epoch && !atomic_compare_exchange_weak(&store->purged, &last, epoch))
        ;
    for (size_t i = 0; i < store->shard_count; i++) {
        struct shard *shard = &store->shards[i];
        struct removed removed = {NULL, 0};
        pthread_mutex_lock(&shard->lock);
        for (int queue = SMALL; queue <= MAIN; queue++) {
            for (struct cache_entry *it = shard->queues[queue].newest, *next; it != NULL;
                 it = next) {
                next = it->older;
                if (which(it, what))
                    take_out(store, shard, it, &removed);
            }
        }
        pthread_mutex_unlock(&shard->lock);
        count += removed.count;
        let_go(&removed);
    }
    return count;
}

static bool begins_with(const struct cache_entry *entry, struct str prefix)
{
    return entry->key.n >= prefix.n && memcmp(entry->key.p, prefix.p, prefix.n) == 0;
}

static bool is_tagged(const struct cache_entry *entry, struct str tag)
{
    for (size_t i = 0; i < entry->tag_count; i++)
        if (str_eq(entry->tags[i], tag))
            return true;
    return false;
}

size_t cache_store_remove_prefix(struct cache_store *store, struct str prefix)
{
    return remove_where(store, begins_with, prefix);
}

size_t cache_store_remove_tag(struct cache_store *store, struct str tag)
{
    return remove_where(store, is_tagged, tag);
}

uint64_t cache_store_epoch(struct cache_store *store)
{
    return atomic_load(&store->epoch);
}

void cache_store_each(struct cache_store *store, void (*fn)(void *arg, struct cache_entry *entry),
                      void *arg)
{
    for (size_t i = 0; i < store->shard_count; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->lock);
        size_t count = 0;
        struct cache_entry **held = calloc(shard->count + 1, sizeof(struct cache_entry *));
        gw_assert(held != NULL);
        for (int queue = SMALL; queue <= MAIN; queue++)
            for (struct cache_entry *it = shard->queues[queue].newest; it != NULL; it = it->older)
                held[count++] = cache_entry_ref(it);
        pthread_mutex_unlock(&shard->lock);
        for (size_t j = 0; j < count; j++) {
            fn(arg, held[j]);
            cache_entry_unref(&held[j]);
        }
        free(held);
    }
}

struct cache_store_stats cache_store_stats(struct cache_store *store)
{
    struct cache_store_stats stats = {.max_bytes = store->max_bytes};
    for (size_t i = 0; i < store->shard_count; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->lock);
        stats.entries += shard->count;
        stats.bytes += shard->queues[SMALL].bytes + shard->queues[MAIN].bytes;
        stats.puts += shard->puts;
        stats.evictions += shard->evictions;
        stats.refused += shard->refused;
        pthread_mutex_unlock(&shard->lock);
    }
    return stats;
}

void cache_store_destroy(struct cache_store **store_p)
{
    struct cache_store *store = *store_p;
    *store_p = NULL;
    if (store == NULL)
        return;
    cache_store_remove_prefix(store, STR(""));
    for (size_t i = 0; i < store->shard_count; i++) {
        pthread_mutex_destroy(&store->shards[i].lock);
        free(store->shards[i].buckets);
    }
    free(store->shards);
    free(store);
}
