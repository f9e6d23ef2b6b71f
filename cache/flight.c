/* One call to an upstream for all who want its answer.
 *
 *   flight_join --+-- listed already ------------------------> waits
 *                 +-- not yet: a flight begins ---> waits, first of those to come
 *
 *   the call is over: its answer is judged and kept, the flight is taken out of the list with all
 *   who wait: those of this loop get the answer now, those of others by message.
 *
 * Who leaves takes its waiter out; the last one to leave ends the flight, from another loop by
 * message. Flights that bring a kept answer up to date have nobody waiting and end by themselves.
 */
#include "cache/internal.h"

#include <stdlib.h>

struct flight {
    struct cache_client *client; /* whose loop makes the call; all else but what is marked is its */
    h2o_linklist_t link;         /* client.flights */
    struct flight *next;         /* under the lock: in the bucket */
    bool is_listed;              /* under the lock */
    bool is_posted;              /* under the lock: its message is under way */
    h2o_linklist_t waiters;      /* under the lock while it is listed */
    bool is_over;
    bool is_background;
    struct message message; /* all have left */
    h2o_mem_pool_t pool;    /* owns what follows */
    struct cache_plan *plan;
    struct up_request request;
    struct rules_request asked;
    struct cache_key key;
    struct cache_entry *kept; /* held: asked about, when it can be */
    uint64_t requested_ms, epoch;
    struct up_call *up;
};

static void all_left(struct message *message);
static void waiter_landed(struct message *message);

static struct flight_bucket *bucket_of(struct cache *cache, struct cache_key key)
{
    return &cache->buckets[key.hash % FLIGHT_BUCKETS];
}

/* -- waiters ---------------------------------------------------------------------------------- */

static struct waiter *waiter_new(struct cache_call *call)
{
    struct cache_client *client = call->client;
    struct waiter *waiter = client->spare;
    if (waiter != NULL)
        client->spare = waiter->next_spare;
    else
        waiter = h2o_mem_alloc(sizeof(*waiter));
    *waiter = (struct waiter){.client = client, .call = call, .message.fn = waiter_landed};
    client->awaited++;
    call->waiter = waiter;
    return waiter;
}

static void waiter_free(struct waiter *waiter)
{
    struct cache_client *client = waiter->client;
    client->awaited--;
    waiter->next_spare = client->spare;
    client->spare = waiter;
}

/* On the waiter's loop. */
static void land(struct waiter *waiter)
{
    struct cache_call *call = waiter->call;
    struct landing *landing = waiter->landing;
    bool joined = waiter->has_joined;
    waiter_free(waiter);
    if (call == NULL) {
        landing_unref(&landing);
        return;
    }
    call->waiter = NULL;
    call_landed(call, landing, joined); /* may end what others wait for: nothing after this */
}

static void waiter_landed(struct message *message)
{
    land(CONTAINER_OF(message, struct waiter, message));
}

void landing_unref(struct landing **landing_p)
{
    struct landing *landing = *landing_p;
    *landing_p = NULL;
    if (landing == NULL || atomic_fetch_sub_explicit(&landing->refs, 1, memory_order_acq_rel) != 1)
        return;
    up_call_release(&landing->up);
    cache_entry_unref(&landing->entry);
    free(landing);
}

/* -- the list --------------------------------------------------------------------------------- */

static struct flight *find(const struct flight_bucket *bucket, struct cache_key key)
{
    for (struct flight *it = bucket->first; it != NULL; it = it->next)
        if (it->key.hash == key.hash && str_eq(it->key.text, key.text))
            return it;
    return NULL;
}

static void delist(struct flight_bucket *bucket, struct flight *flight)
{
    struct flight **at = &bucket->first;
    while (*at != flight)
        at = &(*at)->next;
    *at = flight->next;
    flight->is_listed = false;
}

static struct pass *pass_of(struct flight_bucket *bucket, struct cache_key key)
{
    return &bucket->passes[(key.hash >> 32) % PASS_MEMORY];
}

static bool passes(struct flight_bucket *bucket, struct cache_key key)
{
    const struct pass *pass = pass_of(bucket, key);
    return pass->hash == key.hash && pass->until_ms > unix_ms();
}

static void note_pass(struct flight_bucket *bucket, struct cache_key key, bool is_shared)
{
    struct pass *pass = pass_of(bucket, key);
    if (!is_shared)
        *pass = (struct pass){key.hash, unix_ms() + PASS_MS};
    else if (pass->hash == key.hash)
        pass->until_ms = 0;
}

/* -- a flight's life -------------------------------------------------------------------------- */

static struct str copy(h2o_mem_pool_t *pool, struct str s)
{
    char *to = h2o_mem_alloc_pool(pool, s.n + 1);
    if (s.n != 0)
        memcpy(to, s.p, s.n);
    return (struct str){to, s.n};
}

static struct flight *flight_new(struct cache_call *call)
{
    struct flight *flight = h2o_mem_alloc(sizeof(*flight));
    *flight = (struct flight){.client = call->client,
                              .message.fn = all_left,
                              .plan = call->plan,
                              .request = call->request,
                              .asked = call->asked};
    h2o_linklist_init_anchor(&flight->waiters);
    h2o_linklist_insert(&call->client->flights, &flight->link);
    h2o_mem_init_pool(&flight->pool);
    flight->key = (struct cache_key){copy(&flight->pool, call->key.text), call->key.hash};
    if (call->kept != NULL)
        flight->kept = cache_entry_ref(call->kept);
    struct up_request *request = &flight->request;
    size_t count = request->header_count;
    struct up_header *headers = h2o_mem_alloc_pool(&flight->pool, (count + 2) * sizeof(*headers));
    for (size_t i = 0; i < count; i++)
        headers[i] = (struct up_header){copy(&flight->pool, request->headers[i].name),
                                        copy(&flight->pool, request->headers[i].value)};
    request->headers = headers;
    request->target = copy(&flight->pool, request->target);
    request->wants_headers = true;
    return flight;
}

/* Not listed any more, nobody waits. Its memory goes once no message to it is under way. */
static void flight_end(struct flight *flight)
{
    up_call_cancel(&flight->up);
    cache_entry_unref(&flight->kept);
    flight->is_over = true;
    if (flight->is_posted)
        return;
    h2o_linklist_unlink(&flight->link);
    h2o_mem_clear_pool(&flight->pool);
    free(flight);
}

static void done(struct up_call *up, const struct up_result *result, void *arg);

static void take_off(struct flight *flight)
{
    struct up_request request = flight->request;
    struct up_header *room = (struct up_header *)(uintptr_t)request.headers + request.header_count;
    if (flight->kept != NULL)
        request.header_count += rules_conditions(&flight->kept->rules, room);
    flight->requested_ms = unix_ms();
    if (flight->client->cache->store != NULL)
        flight->epoch = cache_store_epoch(flight->client->cache->store);
    flight->up = up_call_start(flight->client->up, &request, done, flight);
}

/* Takes who waits out of the flight, under the lock: those of its own loop into `own`, those of
 * others get their message. What stays in its call is for this loop alone. Returns how many hold
 * the landing. */
static unsigned disembark(struct flight *flight, struct landing *landing, h2o_linklist_t *own,
                          struct waiter **others)
{
    unsigned count = 0;
    while (!h2o_linklist_is_empty(&flight->waiters)) {
        struct waiter *waiter = H2O_STRUCT_FROM_MEMBER(struct waiter, link, flight->waiters.next);
        h2o_linklist_unlink(&waiter->link);
        waiter->flight = NULL;
        if (waiter->client == flight->client) {
            waiter->landing = landing;
            count++;
            h2o_linklist_insert(own, &waiter->link);
        } else {
            waiter->landing = landing->up == NULL ? landing : NULL;
            count += waiter->landing != NULL;
            waiter->is_posted = true;
            waiter->next_spare = *others;
            *others = waiter;
        }
    }
    return count;
}

/* One waits, and on this loop: the answer may stay where it is. */
static bool is_for_one(struct flight *flight, struct flight_bucket *bucket)
{
    pthread_mutex_lock(&bucket->lock);
    h2o_linklist_t *first = flight->waiters.next;
    bool is_one = first != &flight->waiters && first->next == &flight->waiters &&
                  H2O_STRUCT_FROM_MEMBER(struct waiter, link, first)->client == flight->client;
    pthread_mutex_unlock(&bucket->lock);
    return is_one;
}

static void done(struct up_call *up, const struct up_result *result, void *arg)
{
    struct flight *flight = arg;
    struct cache *cache = flight->client->cache;
    struct flight_bucket *bucket = bucket_of(cache, flight->key);
    gw_assert(up == flight->up);

    bool is_own = is_for_one(flight, bucket), again = false;
    struct landing *landing =
        landing_create(&(struct landing_in){.cache = cache,
                                            .plan = flight->plan,
                                            .pool = &flight->pool,
                                            .asked = &flight->asked,
                                            .headers = flight->request.headers,
                                            .header_count = flight->request.header_count,
                                            .key = flight->key,
                                            .kept = flight->kept,
                                            .requested_ms = flight->requested_ms,
                                            .epoch = flight->epoch,
                                            .is_wanted_by_many = !is_own},
                       result, &again);
    if (again) {
        cache_entry_unref(&flight->kept);
        up_call_release(&flight->up);
        take_off(flight);
        return;
    }
    uint64_t deadline_ms = flight->request.deadline_ms;
    landing->was_cut = result->end == UP_TIMEOUT && deadline_ms != 0 &&
                       loop_now_ms(flight->client->loop) >= deadline_ms;
    if (is_own && landing->entry == NULL) {
        landing->up = flight->up;
        flight->up = NULL;
    }

    h2o_linklist_t own;
    struct waiter *others = NULL;
    h2o_linklist_init_anchor(&own);
    pthread_mutex_lock(&bucket->lock);
    atomic_store_explicit(&landing->refs, disembark(flight, landing, &own, &others) + 1,
                          memory_order_relaxed);
    if (flight->is_listed)
        delist(bucket, flight);
    if (result->end == UP_ANSWERED)
        note_pass(bucket, flight->key, landing->is_shared);
    pthread_mutex_unlock(&bucket->lock);

    for (struct waiter *next; others != NULL; others = next) {
        next = others->next_spare;
        loop_post(others->client->loop, &others->message);
    }
    flight_end(flight);
    while (!h2o_linklist_is_empty(&own)) {
        struct waiter *waiter = H2O_STRUCT_FROM_MEMBER(struct waiter, link, own.next);
        h2o_linklist_unlink(&waiter->link);
        land(waiter);
    }
    landing_unref(&landing);
}

/* -- joining ---------------------------------------------------------------------------------- */

static void board(struct flight *flight, struct waiter *waiter, bool has_joined)
{
    waiter->flight = flight;
    waiter->has_joined = has_joined;
    h2o_linklist_insert(&flight->waiters, &waiter->link);
}

void flight_join(struct cache_call *call, bool alone)
{
    struct flight_bucket *bucket = bucket_of(call->client->cache, call->key);
    struct waiter *waiter = waiter_new(call);
    struct flight *fresh = NULL;
    pthread_mutex_lock(&bucket->lock);
    alone = alone || passes(bucket, call->key) || call->asked.has_credentials;
    struct flight *flight = alone ? NULL : find(bucket, call->key);
    if (flight == NULL) {
        flight = fresh = flight_new(call);
        if (!alone) {
            flight->next = bucket->first;
            bucket->first = flight;
            flight->is_listed = true;
        }
    }
    board(flight, waiter, fresh == NULL);
    pthread_mutex_unlock(&bucket->lock);
    if (fresh != NULL)
        take_off(fresh);
}

void flight_refresh(struct cache_call *call)
{
    struct flight_bucket *bucket = bucket_of(call->client->cache, call->key);
    struct flight *fresh = NULL;
    pthread_mutex_lock(&bucket->lock);
    if (find(bucket, call->key) == NULL) {
        fresh = flight_new(call);
        fresh->is_background = true;
        fresh->request.deadline_ms = 0; /* its own timeouts end it */
        fresh->next = bucket->first;
        bucket->first = fresh;
        fresh->is_listed = true;
    }
    pthread_mutex_unlock(&bucket->lock);
    if (fresh != NULL)
        take_off(fresh);
}

void flight_outdate(struct cache *cache, struct cache_key key)
{
    struct flight_bucket *bucket = bucket_of(cache, key);
    pthread_mutex_lock(&bucket->lock);
    struct flight *flight = find(bucket, key);
    if (flight != NULL)
        delist(bucket, flight);
    pthread_mutex_unlock(&bucket->lock);
}

/* -- leaving ---------------------------------------------------------------------------------- */

static bool is_forsaken(struct flight *flight)
{
    return !flight->is_background && h2o_linklist_is_empty(&flight->waiters);
}

static void all_left(struct message *message)
{
    struct flight *flight = CONTAINER_OF(message, struct flight, message);
    struct flight_bucket *bucket = bucket_of(flight->client->cache, flight->key);
    pthread_mutex_lock(&bucket->lock);
    flight->is_posted = false;
    bool ends = flight->is_over || is_forsaken(flight);
    if (ends && flight->is_listed)
        delist(bucket, flight);
    pthread_mutex_unlock(&bucket->lock);
    if (ends)
        flight_end(flight);
}

void flight_leave(struct cache_call *call)
{
    struct flight_bucket *bucket = bucket_of(call->client->cache, call->key);
    struct waiter *waiter = call->waiter;
    struct flight *ends = NULL, *told = NULL;
    call->waiter = NULL;
    pthread_mutex_lock(&bucket->lock);
    struct flight *flight = waiter->flight;
    if (h2o_linklist_is_linked(&waiter->link))
        h2o_linklist_unlink(&waiter->link);
    if (flight != NULL && is_forsaken(flight)) {
        if (flight->client == call->client) {
            ends = flight;
            if (flight->is_listed)
                delist(bucket, flight);
        } else if (!flight->is_posted) {
            flight->is_posted = true;
            told = flight;
        }
    }
    bool posted = waiter->is_posted;
    struct landing *landing = flight == NULL && !posted ? waiter->landing : NULL;
    pthread_mutex_unlock(&bucket->lock);
    if (ends != NULL)
        flight_end(ends);
    if (told != NULL)
        loop_post(told->client->loop, &told->message);
    landing_unref(&landing);
    if (posted)
        waiter->call = NULL; /* its message is under way */
    else
        waiter_free(waiter);
}

/* Who began it is of its loop; others can't look. */
static struct up_call *own_call(const struct cache_call *call)
{
    const struct waiter *waiter = call->waiter;
    return waiter == NULL || waiter->has_joined || waiter->flight == NULL ? NULL
                                                                          : waiter->flight->up;
}

unsigned flight_attempts(const struct cache_call *call)
{
    const struct up_call *up = own_call(call);
    return up != NULL ? up_call_attempts(up) : 0;
}

struct call_times flight_times(const struct cache_call *call)
{
    struct up_call *up = own_call(call);
    return up != NULL ? up_call_times(up) : (struct call_times){.total = 0};
}

void flights_end(struct cache_client *client)
{
    while (!h2o_linklist_is_empty(&client->flights)) {
        struct flight *flight = H2O_STRUCT_FROM_MEMBER(struct flight, link, client->flights.next);
        struct flight_bucket *bucket = bucket_of(client->cache, flight->key);
        pthread_mutex_lock(&bucket->lock);
        /* Other loops' requests may still wait; they are about to be let go. */
        while (!h2o_linklist_is_empty(&flight->waiters)) {
            struct waiter *waiter =
                H2O_STRUCT_FROM_MEMBER(struct waiter, link, flight->waiters.next);
            h2o_linklist_unlink(&waiter->link);
            waiter->flight = NULL;
        }
        if (flight->is_listed)
            delist(bucket, flight);
        bool posted = flight->is_posted;
        pthread_mutex_unlock(&bucket->lock);
        if (posted && flight->is_over)
            loop_turn(client->loop, 0); /* frees it */
        else
            flight_end(flight);
    }
}
