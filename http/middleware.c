/* Lists of names become arrays of pointers when the configuration is read; a request walks along
 * one of them. A route without a list of its own shares the server's, and nobody's list costs a
 * request one comparison. */
#include "http/middleware.h"

#include <stdlib.h>
#include "http/http_internal.h"

struct chain {
    size_t count;
    struct http_middleware *items[];
};

static const struct chain nothing;

void http_middleware_add(struct http_server *server, struct http_middleware *middleware)
{
    middleware->next = server->middleware;
    server->middleware = middleware;
}

void chain_destroy_all(struct http_server *server)
{
    while (server->middleware != NULL) {
        struct http_middleware *middleware = server->middleware;
        server->middleware = middleware->next;
        middleware->destroy(middleware);
    }
}

/* -- lists ------------------------------------------------------------------------------------- */

static struct http_middleware *find(const struct http_server *server, struct str name)
{
    struct http_middleware *middleware = server->middleware;
    while (middleware != NULL && !str_eq(str_from(middleware->name), name))
        middleware = middleware->next;
    return middleware;
}

static void report_unknown(const struct http_server *server, const struct str *name,
                           struct diag *diag)
{
    struct pos at = config_pos(server->config, name);
    size_t count = 0;
    for (struct http_middleware *one = server->middleware; one != NULL; one = one->next)
        count++;
    const char **names = h2o_mem_alloc((count + 1) * sizeof(*names));
    count = 0;
    for (struct http_middleware *one = server->middleware; one != NULL; one = one->next)
        names[count++] = one->name;
    const char *nearest = diag_nearest(*name, names, count);
    if (nearest != NULL)
        diag_error(diag, at, "unknown middleware \"%s\"; did you mean \"%s\"?", name->p, nearest);
    else
        diag_error(diag, at, "unknown middleware \"%s\"; there is no section [%s]", name->p,
                   name->p);
    free(names);
}

/* The server's list, and then the section's; what is in both is passed once. */
static const struct chain *make_chain(struct http_server *server, const struct chain *first,
                                      const struct config_strings *list, struct diag *diag)
{
    struct chain *chain = h2o_mem_alloc_pool(
        &server->chains, sizeof(*chain) + (first->count + list->count) * sizeof(*chain->items));
    memcpy(chain->items, first->items, first->count * sizeof(*chain->items));
    chain->count = first->count;
    for (size_t i = 0; i < list->count; i++) {
        struct http_middleware *found = find(server, list->items[i]);
        bool known = false;
        if (found == NULL)
            report_unknown(server, &list->items[i], diag);
        for (size_t k = 0; k < chain->count; k++)
            known |= chain->items[k] == found;
        if (found != NULL && !known)
            chain->items[chain->count++] = found;
    }
    return chain;
}

void http_middleware_link(struct http_server *server, struct diag *diag)
{
    server->sites[SITE_MAIN].chain =
        make_chain(server, &nothing, &server->config->server.middleware, diag);
    for (struct http_route *route = routes_first(server->sites[SITE_MAIN].routes); route != NULL;
         route = routes_next(route)) {
        const struct config_strings *list = route_middleware(route);
        const struct chain *chain = server->sites[SITE_MAIN].chain;
        if (list != NULL && list->count != 0)
            chain = make_chain(server, chain, list, diag);
        route_set_chain(route, chain);
    }
}

/* -- requests ---------------------------------------------------------------------------------- */

struct str http_preflight_method(const struct http_request *request)
{
    if (!str_eq(request->method, STR("OPTIONS")) || http_header(request, STR("origin")).p == NULL)
        return (struct str){NULL, 0};
    return http_header(request, STR("access-control-request-method"));
}

/* The route of the request, or of the one that a preflight asks about. */
static const struct http_route *route_meant(const struct http_request *request)
{
    struct str method = http_preflight_method(request);
    if (method.p == NULL)
        return request->route;
    struct http_request announced = *request;
    announced.method = method;
    announced.route = NULL;
    bool found = routes_match(request->site->routes, &announced) == 0;
    return found ? announced.route : request->route;
}

const struct chain *chain_of(const struct http_request *request)
{
    const struct http_route *route = route_meant(request);
    const struct chain *chain = route != NULL ? route_chain(route) : request->site->chain;
    return chain != NULL ? chain : &nothing;
}

void chain_run(struct http_request *request, const struct chain *chain,
               void (*then)(struct http_request *request))
{
    request->chain = chain;
    request->chain_then = then;
    request->chain_at = 0;
    http_middleware_next(request);
}

void http_middleware_next(struct http_request *request)
{
    const struct chain *chain = request->chain;
    while (request->chain_at < chain->count) {
        struct http_middleware *middleware = chain->items[request->chain_at++];
        if (middleware->arrive != NULL && !middleware->arrive(middleware, request))
            return;
    }
    request->chain_then(request);
}

void chain_reply(struct http_request *request, int status)
{
    const struct chain *chain = request->chain != NULL ? request->chain : request->site->chain;
    for (size_t i = chain != NULL ? chain->count : 0; i != 0; i--) {
        struct http_middleware *middleware = chain->items[i - 1];
        if (middleware->reply != NULL)
            middleware->reply(middleware, request, status);
    }
}
