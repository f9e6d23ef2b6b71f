/* Where an upstream's calls may go, and where the next one goes.
 *
 * A directory holds the sources of an upstream's addresses (what the configuration lists, or the
 * URL's host) and what they come to now: an immutable set of endpoints with a version. A loop keeps
 * a ref of the set and looks for another one with two loads a call; the lock is for the moments in
 * which a look-up is due or has ended. An address that a new set has again is the same endpoint,
 * with its health and its counts; one that is gone lives until the last attempt at it has ended. */
#include "upstreams/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <h2o/memory.h>
#include "base/log.h"

/* -- one endpoint -- */

/* What a holder other than an attempt adds to endpoint.refs, whose low half counts attempts. */
static const uint64_t HELD = (uint64_t)1 << 32;

static struct endpoint *endpoint_create(const char *host, uint16_t port)
{
    static _Atomic uint32_t last_id;
    struct endpoint *endpoint = NULL;
    char to[512];
    gw_assert(posix_memalign((void **)&endpoint, _Alignof(struct endpoint), sizeof(*endpoint)) ==
              0);
    memset(endpoint, 0, sizeof(*endpoint));
    endpoint->id = atomic_fetch_add(&last_id, 1) + 1;
    /* "HOST:PORT:CONNECT-TO-HOST:PORT", where an empty one matches every URL */
    snprintf(to, sizeof(to), port != 0 ? "::%s:%u" : "::%s", host, port);
    endpoint->connect_to.data = h2o_strdup(NULL, to, SIZE_MAX).base;
    endpoint->address = endpoint->connect_to.data + 2;
    return endpoint;
}

static void unref(struct endpoint *endpoint, uint64_t refs)
{
    if (atomic_fetch_sub(&endpoint->refs, refs) != refs)
        return;
    free(endpoint->connect_to.data);
    free(endpoint);
}

struct endpoint *endpoint_hold(struct endpoint *endpoint)
{
    atomic_fetch_add(&endpoint->refs, HELD);
    return endpoint;
}

void endpoint_let_go(struct endpoint **endpoint_p)
{
    struct endpoint *endpoint = *endpoint_p;
    *endpoint_p = NULL;
    if (endpoint != NULL)
        unref(endpoint, HELD);
}

/* -- sets of them -- */

static struct endpoints *set_ref(struct endpoints *set)
{
    atomic_fetch_add(&set->refs, 1);
    return set;
}

void endpoints_unref(struct endpoints **set_p)
{
    struct endpoints *set = *set_p;
    *set_p = NULL;
    if (set == NULL || atomic_fetch_sub(&set->refs, 1) != 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        endpoint_let_go(&set->all[i].endpoint);
    free(set);
}

static struct endpoint *find(const struct endpoints *set, const char *address)
{
    for (size_t i = 0; set != NULL && i < set->count; i++)
        if (strcmp(set->all[i].endpoint->address, address) == 0)
            return set->all[i].endpoint;
    return NULL;
}

/* Two names may stand for one address: its weight is then the sum of theirs. */
static void add(struct endpoints *set, const struct endpoints *before, const char *host,
                uint16_t port, uint32_t weight)
{
    struct endpoint *fresh = endpoint_hold(endpoint_create(host, port));
    struct endpoint *known = find(set, fresh->address);
    for (size_t i = 0; known != NULL && i < set->count; i++)
        if (set->all[i].endpoint == known)
            set->all[i].weight += weight;
    if (known == NULL) {
        known = find(before, fresh->address);
        set->all[set->count++] =
            (struct listed){.endpoint = endpoint_hold(known ? known : fresh), .weight = weight};
    }
    endpoint_let_go(&fresh);
}

static bool is_same(const struct endpoints *a, const struct endpoints *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = a->all[i].endpoint == b->all[i].endpoint && a->all[i].weight == b->all[i].weight;
    return same;
}

/* -- the directory: under its lock, or before threads start -- */

struct sources_state {
    bool asking;
    uint64_t look_us; /* when the next name is due */
    const char *error;
};

/* A new set of what the sources come to now; it may be empty. */
static struct endpoints *read_sources(const struct directory *directory, struct offload *offload,
                                      uint64_t now_us, struct sources_state *state_r)
{
    size_t capacity = 0;
    for (size_t i = 0; i < directory->source_count; i++)
        capacity += directory->sources[i].name != NULL ? MAX_IPS : 1;
    struct endpoints *set = h2o_mem_alloc(sizeof(*set) + capacity * sizeof(set->all[0]));
    *set = (struct endpoints){.refs = 1};
    *state_r = (struct sources_state){.look_us = UINT64_MAX};
    for (size_t i = 0; i < directory->source_count; i++) {
        const struct source *source = &directory->sources[i];
        if (source->name == NULL) {
            add(set, directory->current, source->host, source->port, source->weight);
            continue;
        }
        struct ip ips[MAX_IPS];
        struct name_state state = name_read(source->name, offload, now_us, ips);
        for (unsigned n = 0; n < state.count; n++)
            add(set, directory->current, ips[n].text, source->port, source->weight);
        state_r->asking |= state.asking;
        if (state.ask_at_us < state_r->look_us)
            state_r->look_us = state.ask_at_us;
        if (state_r->error == NULL)
            state_r->error = state.error;
    }
    return set;
}

static struct sources_state refresh(struct directory *directory, struct offload *offload,
                                    uint64_t now_us)
{
    struct sources_state state;
    struct endpoints *set = read_sources(directory, offload, now_us, &state);
    if (set->count != 0 && (directory->current == NULL || !is_same(set, directory->current))) {
        set->version = atomic_load(&directory->version) + 1;
        endpoints_unref(&directory->current);
        directory->current = set_ref(set);
        atomic_store(&directory->version, set->version);
    }
    endpoints_unref(&set);
    atomic_store(&directory->look_us, state.look_us);
    return state;
}

void directory_open(struct directory *directory)
{
    room_init(&directory->room);
    refresh(directory, NULL, 0);
}

void directory_close(struct directory *directory)
{
    room_fini(&directory->room);
    endpoints_unref(&directory->current);
    for (size_t i = 0; i < directory->source_count; i++)
        free(directory->sources[i].host);
    free(directory->sources);
}

void endpoints_changed(struct upstream *up)
{
    struct directory *directory = &up->directory;
    pthread_mutex_lock(&directory->room.lock);
    struct sources_state state = refresh(directory, NULL, 0);
    /* While another name is asked there is still hope for those that wait. */
    if (directory->current != NULL || !state.asking)
        while (!h2o_linklist_is_empty(&directory->room.attempts))
            room_let_out(
                H2O_STRUCT_FROM_MEMBER(struct attempt, waiting, directory->room.attempts.next));
    pthread_mutex_unlock(&directory->room.lock);
}

enum endpoints_answer endpoints_get(struct upstream *up, struct offload *offload, uint64_t now_us,
                                    struct endpoints **known, struct attempt *attempt,
                                    const char **error_r)
{
    struct directory *directory = &up->directory;
    if (now_us < atomic_load(&directory->look_us) && *known != NULL &&
        (*known)->version == atomic_load(&directory->version))
        return ENDPOINTS_KNOWN;

    enum endpoints_answer answer = ENDPOINTS_UNKNOWN;
    pthread_mutex_lock(&directory->room.lock);
    struct sources_state state = refresh(directory, offload, now_us);
    if (directory->current != NULL) {
        endpoints_unref(known);
        *known = set_ref(directory->current);
        answer = ENDPOINTS_KNOWN;
    } else if (state.asking) {
        if (attempt != NULL)
            room_enter(&directory->room, attempt);
        answer = ENDPOINTS_AWAITED;
    } else {
        *error_r = state.error;
    }
    pthread_mutex_unlock(&directory->room.lock);
    return answer;
}

struct endpoints *endpoints_now(struct upstream *up)
{
    pthread_mutex_lock(&up->directory.room.lock);
    struct endpoints *set = up->directory.current;
    if (set != NULL)
        set_ref(set);
    pthread_mutex_unlock(&up->directory.room.lock);
    return set;
}

bool endpoints_leave(struct upstream *up, struct attempt *attempt)
{
    pthread_mutex_lock(&up->directory.room.lock);
    bool left = room_leave(attempt);
    pthread_mutex_unlock(&up->directory.room.lock);
    return left;
}

/* -- one for an attempt -- */

static bool was_tried(const struct tried *tried, const struct endpoint *endpoint)
{
    for (unsigned i = 0; i < tried->count; i++)
        if (tried->ids[i] == endpoint->id)
            return true;
    return false;
}

/* Brings lane->candidates up to date, which keep only whose turn it is from pick to pick. */
static void look_at_all(struct lane *lane, const struct tried *tried, uint64_t now_us)
{
    const struct endpoints *set = lane->endpoints;
    if (lane->candidates_of != set->version) {
        free(lane->candidates);
        lane->candidates = h2o_mem_alloc(set->count * sizeof(lane->candidates[0]));
        for (size_t i = 0; i < set->count; i++)
            lane->candidates[i] = (struct candidate){.weight = set->all[i].weight};
        lane->candidates_of = set->version;
    }
    for (size_t i = 0; i < set->count; i++) {
        struct endpoint *endpoint = set->all[i].endpoint;
        lane->candidates[i].inflight = endpoint_inflight(endpoint);
        lane->candidates[i].usable = health_is_usable(&endpoint->health, now_us);
        lane->candidates[i].tried = was_tried(tried, endpoint);
    }
}

struct endpoint *endpoint_pick(struct lane *lane, struct tried *tried)
{
    const struct endpoints *set = lane->endpoints;
    size_t picked = 0;
    bool usable = true; /* the only one is, whatever it did */
    if (set->count > 1) {
        look_at_all(lane, tried, clock_us());
        picked = balance_pick(lane->upstream->config->balance, lane->candidates, set->count);
        usable = lane->candidates[picked].usable;
    }
    struct endpoint *endpoint = set->all[picked].endpoint;
    if (usable && atomic_load_explicit(&endpoint->ejected, memory_order_relaxed) &&
        atomic_exchange(&endpoint->ejected, false))
        log_event(LOG_INFO, "address used again", "upstream=%s address=%s",
                  log_quote(lane->upstream->config->name), endpoint->address);
    if (tried->count < COUNT(tried->ids))
        tried->ids[tried->count++] = endpoint->id;
    atomic_fetch_add(&endpoint->refs, 1);
    return endpoint;
}

bool endpoint_is_left(const struct lane *lane, const struct tried *tried)
{
    const struct endpoints *set = lane->endpoints;
    for (size_t i = 0; set != NULL && i < set->count; i++)
        if (!was_tried(tried, set->all[i].endpoint) &&
            health_is_usable(&set->all[i].endpoint->health, clock_us()))
            return true;
    return false;
}

static size_t count_aside(const struct endpoints *set, const struct endpoint *but, uint64_t now_us)
{
    size_t aside = 0;
    for (size_t i = 0; i < set->count; i++)
        aside +=
            set->all[i].endpoint != but && !health_is_usable(&set->all[i].endpoint->health, now_us);
    return aside;
}

static void report_on(struct lane *lane, struct endpoint *endpoint, bool good)
{
    const struct config_upstream *config = lane->upstream->config;
    const struct endpoints *set = lane->endpoints;
    uint64_t now_us = good ? 0 : clock_us();
    size_t aside = good ? 0 : count_aside(set, endpoint, now_us);
    if (!health_report(&endpoint->health, good, &config->ejection, set->count, aside, now_us))
        return;
    uint64_t for_us = atomic_load(&endpoint->health.ejected_until_us) - now_us;
    atomic_store(&endpoint->ejected, true);
    log_event(LOG_WARN, "address ejected", "upstream=%s address=%s failures=%u for_ms=%llu",
              log_quote(config->name), endpoint->address, config->ejection.consecutive,
              (unsigned long long)for_us / 1000);
}

void endpoint_done(struct lane *lane, struct endpoint **endpoint_p, enum breaker_report report)
{
    struct endpoint *endpoint = *endpoint_p;
    *endpoint_p = NULL;
    if (report != REPORT_NOTHING && lane->endpoints->count > 1)
        report_on(lane, endpoint, report == REPORT_GOOD);
    unref(endpoint, 1);
}
