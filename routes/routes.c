/* [routes.NAME], checked and mounted. A route is a prefix: it takes what no page, file or upload
 * has at its path and below. */
#include "routes/routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include "base/text.h"
#include "routes/routes_internal.h"

/* -- checks ------------------------------------------------------------------------------------ */

static const struct {
    struct str name;
    unsigned bit;
} known[] = {{{"GET", 3}, HTTP_GET},        {{"HEAD", 4}, HTTP_HEAD},
             {{"POST", 4}, HTTP_POST},      {{"PUT", 3}, HTTP_PUT},
             {{"PATCH", 5}, HTTP_PATCH},    {{"DELETE", 6}, HTTP_DELETE},
             {{"OPTIONS", 7}, HTTP_OPTIONS}};

static unsigned method_bits(const struct config *config, const struct config_strings *methods,
                            struct diag *diag)
{
    unsigned bits = 0;
    for (size_t i = 0; i < COUNT(known) && methods->count == 0; i++)
        bits |= known[i].bit;
    if (methods->count == 0)
        return bits | HTTP_OTHERS;
    for (size_t i = 0; i < methods->count; i++) {
        size_t at = 0;
        while (at < COUNT(known) && !str_eq(known[at].name, methods->items[i]))
            at++;
        if (at < COUNT(known))
            bits |= known[at].bit;
        else
            diag_error(diag, config_pos(config, &methods->items[i]),
                       "\"%s\" can't be picked: GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS "
                       "can, or all methods there are, by leaving this out",
                       methods->items[i].p);
    }
    return bits;
}

static void check_to(const struct config *config, const struct str *to, struct diag *diag)
{
    bool good = to->n == 0 || to->p[0] == '/';
    for (size_t i = 0; i < to->n; i++)
        good = good && to->p[i] > ' ' && to->p[i] <= '~' && strchr("?#{}", to->p[i]) == NULL;
    if (!good || target_climbs(*to))
        diag_error(diag, config_pos(config, to),
                   "\"%s\" isn't a path: it begins with '/' and is percent-encoded", to->p);
}

/* What the upstream's own settings send is sent whatever the client says. */
static void note_settled(struct proxy_route *route, h2o_mem_pool_t *pool)
{
    const struct config_upstream *config = upstream_config(route->upstream);
    const struct config_pairs *set = &config->set_headers;
    route->settled = h2o_mem_alloc_pool(pool, (set->count + 2) * sizeof(*route->settled));
    for (size_t i = 0; i < set->count; i++)
        route->settled[route->settled_count++] = set->items[i].name;
    if (config->deadline_header.n != 0)
        route->settled[route->settled_count++] = config->deadline_header;
    const char *host = strstr(config->url.p, "://");
    if (host != NULL && memchr(host + 3, '@', strcspn(host + 3, "/")) != NULL)
        route->settled[route->settled_count++] = STR("authorization");
}

/* -- mounting ---------------------------------------------------------------------------------- */

static void mount(struct routing *routing, const struct config *config,
                  const struct config_route *item, struct upstreams *ups,
                  struct http_server *server, struct diag *diag)
{
    struct proxy_route *route = &routing->all[routing->count];
    unsigned methods = method_bits(config, &item->methods, diag);
    *route = (struct proxy_route){.config = item, .routing = routing};
    check_to(config, &item->to, diag);
    route->upstream = upstream_named(ups, &item->upstream, diag);
    if (item->path.n == 0 || route->upstream == NULL)
        return;
    target_prepare(route, &routing->pool);
    route->cache = cache_plan(&routing->pool, &item->cache, item->name);
    if (route->cache != NULL)
        route->cache->policy.obeys_requests = route->cache->policy.heuristic = true;
    note_settled(route, &routing->pool);
    route->http =
        http_route_add(server, item->name.p, methods | HTTP_PREFIX | HTTP_READS_BODY, item->path,
                       passage_start, route, config_pos(config, &item->path), diag);
    http_route_use(route->http, &item->middleware);
    routing->count += route->http != NULL;
}

struct routing *routing_create(const struct config *config, struct upstreams *ups,
                               struct http_server *server, struct diag *diag)
{
    struct routing *routing = calloc(1, sizeof(*routing));
    uint32_t chance;
    ssize_t n = getrandom(&chance, sizeof(chance), 0);
    gw_assert(routing != NULL && n == (ssize_t)sizeof(chance));
    snprintf(routing->via, sizeof(routing->via), "gateway-%08x", chance);
    h2o_mem_init_pool(&routing->pool);
    routing->all = h2o_mem_alloc((config->route_count + 1) * sizeof(*routing->all));
    for (size_t i = 0; i < config->route_count; i++)
        mount(routing, config, &config->routes[i], ups, server, diag);
    return routing;
}

void routing_destroy(struct routing **routing_p)
{
    struct routing *routing = *routing_p;
    *routing_p = NULL;
    if (routing == NULL)
        return;
    h2o_mem_clear_pool(&routing->pool);
    free(routing->all);
    free(routing);
}

void routing_set_client(struct routing *routing, struct loop *loop, struct up_client *client,
                        struct cache_client *cache)
{
    gw_assert(loop_index(loop) < MAX_LOOPS);
    h2o_linklist_t *refreshes = &routing->refreshes[loop_index(loop)];
    refresh_end_all(routing, loop);
    if (refreshes->next == NULL)
        h2o_linklist_init_anchor(refreshes);
    routing->caches[loop_index(loop)] = cache;
    routing->clients[loop_index(loop)] = client;
}
