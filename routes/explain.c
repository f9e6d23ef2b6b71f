/* `gateway explain` for a route: for people at a terminal. */
#include <inttypes.h>
#include "routes/routes_internal.h"

static const struct proxy_route *find(const struct routing *routing, const struct http_route *http)
{
    for (size_t i = 0; i < routing->count; i++)
        if (http != NULL && routing->all[i].http == http)
            return &routing->all[i];
    return NULL;
}

static void print_methods(const struct config_strings *methods, FILE *to)
{
    fprintf(to, "  methods   %s", methods->count == 0 ? "all but CONNECT and TRACE" : "");
    for (size_t i = 0; i < methods->count; i++)
        fprintf(to, "%s%s", i != 0 ? ", " : "", methods->items[i].p);
    fputc('\n', to);
}

static void print_limits(const struct proxy_route *route, FILE *to)
{
    const struct config_route *config = route->config;
    uint64_t timeout_ms =
        config->timeout_ms != 0 ? config->timeout_ms : upstream_config(route->upstream)->timeout_ms;
    fprintf(to, "  timeout   %" PRIu64 " ms until the head, then %" PRIu64 " ms without a byte\n",
            timeout_ms, config->idle_timeout_ms);
    if (config->max_body != 0)
        fprintf(to, "  max body  %" PRIu64 " bytes\n", config->max_body);
    else
        fprintf(to, "  max body  no limit\n");
    fprintf(to, "  host      %s\n", config->preserve_host ? "the client's" : "the upstream's");
}

bool routing_print_plan(const struct routing *routing, struct http_request *request, FILE *to)
{
    const struct proxy_route *route = find(routing, request->route);
    if (route == NULL)
        return false;
    struct str base = upstream_url(route->upstream);
    struct str target = target_up(route, request->target, request->pool);
    fprintf(to, "route %s\n", route->config->name.p);
    fprintf(to, "  path      %s and below, as far as nothing else takes it\n",
            route->prefix.n != 0 ? route->config->path.p : "/");
    print_methods(&route->config->methods, to);
    fprintf(to, "  upstream  %s\n", route->config->upstream.p);
    print_limits(route, to);
    if (target_climbs(request->path))
        fprintf(to, "\n  refused with 400: the path leads out of where it is\n");
    else
        fprintf(to, "\n  %.*s %.*s%.*s\n", (int)request->method.n, request->method.p, (int)base.n,
                base.p, (int)target.n, target.p);
    return true;
}
