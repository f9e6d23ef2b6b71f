/* [limits.NAME]: how large the parts of a request may be, and with which methods it may come. What
 * the head tells is refused here; a body whose length isn't announced is cut by whoever reads it,
 * as soon as it is too large (request->max_body). Limits of a handler's own hold beside these. */
#include "middleware/internal.h"

#include <stdlib.h>

struct limits {
    struct http_middleware middleware;
    h2o_mem_pool_t pool;
    const struct config_limits *config;
    struct config_strings methods; /* HEAD with GET; none = every one may come */
    struct str allow;              /* value of Allow, NUL-terminated */
};

static bool has(const struct config_strings *list, struct str name)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(list->items[i], name))
            return true;
    return false;
}

static size_t size_of(const h2o_headers_t *headers)
{
    size_t size = 0;
    for (size_t i = 0; i < headers->size; i++)
        size += headers->entries[i].name->len + headers->entries[i].value.len;
    return size;
}

static const struct http_problem long_query = {
    .status = 414, .type = "uri-too-long", .title = "The address is too long"};
static const struct http_problem large_head = {
    .status = 431, .type = "head-too-large", .title = "The request's head is too large"};

static void refuse_method(const struct limits *it, struct http_request *request)
{
    const struct http_problem problem = {.status = 405,
                                         .type = "method-not-allowed",
                                         .title = "This page does not take such requests",
                                         .allow = it->allow.p};
    http_problem_reply(request, &problem);
}

static void limit_body(const struct limits *it, struct http_request *request)
{
    uint64_t max = it->config->max_body;
    if (max != 0 && (request->max_body == 0 || request->max_body > max))
        request->max_body = max;
}

/* By its head; UINT64_MAX is a length that isn't announced. */
static bool has_large_body(const struct http_request *request)
{
    uint64_t length = request->max_body != 0 ? http_body_length(request) : 0;
    return length > request->max_body && length != UINT64_MAX;
}

static bool arrive(struct http_middleware *middleware, struct http_request *request)
{
    const struct limits *it = CONTAINER_OF(middleware, struct limits, middleware);
    const struct config_limits *config = it->config;
    limit_body(it, request);
    if (it->methods.count != 0 && !has(&it->methods, request->method))
        refuse_method(it, request);
    else if (config->max_query != 0 && request->query.n > config->max_query)
        http_problem_reply(request, &long_query);
    else if (config->max_headers != 0 && size_of(request->headers) > config->max_headers)
        http_problem_reply(request, &large_head);
    else if (has_large_body(request))
        http_body_refuse(request, BODY_TOO_LARGE);
    else
        return true;
    return false;
}

/* -- the section ------------------------------------------------------------------------------- */

static void read_methods(struct limits *it, const struct config *config, struct diag *diag)
{
    const struct config_strings *from = &it->config->methods;
    struct config_strings *methods = &it->methods;
    methods->items = h2o_mem_alloc_pool(&it->pool, (from->count + 1) * sizeof(*methods->items));
    for (size_t i = 0; i < from->count; i++) {
        struct str name = methods->items[methods->count++] = from->items[i];
        bool sound = is_token(name);
        for (size_t k = 0; k < name.n; k++)
            sound = sound && (name.p[k] < 'a' || name.p[k] > 'z');
        if (!sound)
            diag_error(diag, config_pos(config, &from->items[i]),
                       "methods: \"%s\" is no method; they are written in upper case", name.p);
    }
    if (has(methods, STR("GET")) && !has(methods, STR("HEAD")))
        methods->items[methods->count++] = STR("HEAD");
    it->allow = join_list(&it->pool, methods);
}

static void destroy(struct http_middleware *middleware)
{
    struct limits *it = CONTAINER_OF(middleware, struct limits, middleware);
    free((char *)(uintptr_t)middleware->name);
    h2o_mem_clear_pool(&it->pool);
    free(it);
}

void limits_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    for (size_t i = 0; i < config->limits_count; i++) {
        struct limits *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        h2o_mem_init_pool(&it->pool);
        it->config = &config->limits[i];
        it->middleware =
            (struct http_middleware){.name = middleware_name("limits", it->config->name),
                                     .arrive = arrive,
                                     .destroy = destroy};
        read_methods(it, config, diag);
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
