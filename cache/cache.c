/* What there is once: the cache, a loop's client, plans. */
#include "cache/internal.h"

#include <stdlib.h>
#include "base/log.h"

struct cache_plan *cache_plan(h2o_mem_pool_t *pool, const struct config_caching *config,
                              struct str used_for)
{
    if (!config->enabled)
        return NULL;
    struct cache_plan *plan = h2o_mem_alloc_pool(pool, sizeof(*plan));
    *plan = (struct cache_plan){
        .policy = {.ttl_ms = config->ttl_ms,
                   .negative_ttl_ms = config->negative_ttl_ms,
                   .stale_while_revalidate_ms = config->stale_while_revalidate_ms,
                   .stale_if_error_ms = config->stale_if_error_ms},
        .tags = config->tags.items,
        .tag_count = config->tags.count,
        .keeps_last_good = config->last_good,
        .used_for = used_for};
    return plan;
}

/* -- checking --------------------------------------------------------------------------------- */

/* Answers of `upstream` are to be kept: one at least has to fit. */
static void check_room(const struct config *config, const struct config_caching *caching,
                       struct str upstream, struct diag *diag)
{
    const struct config_upstream *up = config_find_upstream(config, upstream);
    if (!caching->enabled || up == NULL || config->cache.max_size == 0 ||
        config->cache.max_size >= up->max_body)
        return;
    diag_error(diag, config_pos(config, &config->cache.max_size),
               "max_size: %llu bytes are less than one answer of upstream \"%s\" may have "
               "(max_body, %llu bytes)",
               (unsigned long long)config->cache.max_size, up->name.p,
               (unsigned long long)up->max_body);
}

static void check_parts(const struct config *config, const struct config_page *page,
                        struct diag *diag, bool *last_good)
{
    for (size_t i = 0; i < page->part_count; i++) {
        const struct config_part *part = &page->parts[i];
        check_room(config, &part->cache, part->upstream, diag);
        *last_good |= part->cache.enabled && part->cache.last_good;
    }
}

static void open_last_good(struct cache *cache, const struct config *config, struct offload *disk,
                           struct diag *diag)
{
    const struct config_cache *wanted = &config->cache;
    int error;
    cache->last_good =
        last_good_open(wanted->last_good.p, wanted->last_good_max_size, disk, &error);
    if (cache->last_good == NULL)
        diag_error(diag, config_pos(config, &wanted->last_good),
                   "last_good: can't use the folder \"%s\": %s", wanted->last_good.p,
                   strerror(error));
    else
        last_good_load(cache->last_good, cache->store);
}

struct cache *cache_create(const struct config *config, bool serving, struct offload *disk,
                           struct diag *diag)
{
    bool last_good = false;
    for (size_t i = 0; i < config->page_count; i++)
        check_parts(config, &config->pages[i], diag, &last_good);
    for (size_t i = 0; i < config->route_count; i++)
        check_room(config, &config->routes[i].cache, config->routes[i].upstream, diag);
    for (size_t i = 0; i < config->certificate_count; i++)
        check_parts(config, &config->certificates[i].asked, diag, &last_good);

    struct cache *cache = h2o_mem_alloc(sizeof(*cache));
    *cache = (struct cache){.store = NULL};
    if (config->cache.max_size != 0)
        cache->store = cache_store_create(config->cache.max_size);
    cache->buckets = aligned_alloc(64, FLIGHT_BUCKETS * sizeof(*cache->buckets));
    gw_assert(cache->buckets != NULL);
    memset(cache->buckets, 0, FLIGHT_BUCKETS * sizeof(*cache->buckets));
    for (size_t i = 0; i < FLIGHT_BUCKETS; i++)
        pthread_mutex_init(&cache->buckets[i].lock, NULL);
    if (serving && last_good && cache->store != NULL && diag_errors(diag) == 0)
        open_last_good(cache, config, disk, diag);
    return cache;
}

void cache_destroy(struct cache **cache_p)
{
    struct cache *cache = *cache_p;
    *cache_p = NULL;
    if (cache == NULL)
        return;
    for (size_t i = 0; i < FLIGHT_BUCKETS; i++) {
        gw_assert(cache->buckets[i].first == NULL);
        pthread_mutex_destroy(&cache->buckets[i].lock);
    }
    free(cache->buckets);
    if (cache->store != NULL)
        cache_store_destroy(&cache->store);
    last_good_close(&cache->last_good);
    free(cache);
}

struct cache_store *cache_store_of(struct cache *cache)
{
    return cache->store;
}

struct cache_store *cache_client_store(struct cache_client *client)
{
    return client->cache->store;
}

/* -- clients ---------------------------------------------------------------------------------- */

struct cache_client *cache_client_create(struct cache *cache, struct up_client *up,
                                         struct loop *loop)
{
    struct cache_client *client = h2o_mem_alloc(sizeof(*client));
    *client = (struct cache_client){.cache = cache, .up = up, .loop = loop};
    h2o_linklist_init_anchor(&client->flights);
    return client;
}

void cache_client_destroy(struct cache_client **client_p)
{
    struct cache_client *client = *client_p;
    *client_p = NULL;
    if (client == NULL)
        return;
    flights_end(client);
    while (client->awaited != 0)
        loop_turn(client->loop, 0);
    for (struct waiter *waiter; (waiter = client->spare) != NULL;) {
        client->spare = waiter->next_spare;
        free(waiter);
    }
    free(client);
}

/* -- purging ---------------------------------------------------------------------------------- */

size_t cache_purge_upstream(struct cache *cache, struct str upstream, struct str path)
{
    char text[MAX_PURGED_KEY];
    size_t n = upstream.n + STR(" GET ").n + path.n;
    if (cache->store == NULL || n + 1 > sizeof(text))
        return 0;
    struct str key = {text, path.n == 0 ? n : n + 1};
    memcpy(text, upstream.p, upstream.n);
    memcpy(text + upstream.n, " GET ", 5);
    if (path.n != 0)
        memcpy(text + upstream.n + 5, path.p, path.n);
    text[n] = '\n'; /* ends the target in front of the call's own headers; see call.c */
    if (cache->last_good != NULL)
        last_good_purge(cache->last_good, key, (struct str){NULL, 0});
    cache_store_remove_prefix(cache->store, STR("page ")); /* whatever they were made of */
    return cache_store_remove_prefix(cache->store, key);
}

size_t cache_purge_tag(struct cache *cache, struct str tag)
{
    if (cache->last_good != NULL)
        last_good_purge(cache->last_good, (struct str){NULL, 0}, tag);
    return cache->store != NULL ? cache_store_remove_tag(cache->store, tag) : 0;
}
