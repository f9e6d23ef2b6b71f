/* [headers.NAME]: rules on headers, of requests before anybody sees them (handlers, templates,
 * upstreams) and of answers on their way out. First what is set or taken away, then what is added,
 * each in the file's order.
 *
 * What frames a message or belongs to one connection stays as it is, and so does what the gateway
 * writes itself and has looked at by then: a rule on these would be a lie to somebody. */
#include "middleware/internal.h"

#include <stdlib.h>

struct rule {
    const char *name; /* lower case; in the pool */
    size_t name_n;
    struct str value; /* {NULL, 0}: none is to be there */
    bool replaces;
};

struct rules {
    struct rule *items;
    size_t count;
};

struct headers {
    struct http_middleware middleware;
    h2o_mem_pool_t pool;
    struct rules request, response;
};

/* -- requests ---------------------------------------------------------------------------------- */

static void apply(const struct rules *rules, h2o_mem_pool_t *pool, h2o_headers_t *headers)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->items[i];
        if (rule->replaces)
            remove_header(headers, rule->name);
        if (rule->value.p != NULL)
            h2o_add_header_by_str(pool, headers, rule->name, rule->name_n, 1, NULL, rule->value.p,
                                  rule->value.n);
    }
}

static bool arrive(struct http_middleware *middleware, struct http_request *request)
{
    const struct headers *it = CONTAINER_OF(middleware, struct headers, middleware);
    apply(&it->request, request->pool, &request->h2o->headers);
    return true;
}

static void reply(struct http_middleware *middleware, struct http_request *request, int status)
{
    const struct headers *it = CONTAINER_OF(middleware, struct headers, middleware);
    (void)status;
    apply(&it->response, request->pool, &request->h2o->res.headers);
}

/* -- the section ------------------------------------------------------------------------------- */

static bool is_among(struct str name, const char *const *names)
{
    while (*names != NULL && !str_caseeq(name, str_from(*names)))
        names++;
    return *names != NULL;
}

static const char *refusal(struct str name, bool is_request)
{
    static const char *const framing[] = {
        "Connection", "Keep-Alive",       "Proxy-Connection", "TE",     "Trailer",
        "Upgrade",    "HTTP2-Settings",   "Content-Length",   "Expect", "Transfer-Encoding",
        "Host",       "Content-Encoding", "Content-Range",    NULL};
    static const char *const requests[] = {"Forwarded",
                                           "X-Forwarded-For",
                                           "X-Forwarded-Host",
                                           "X-Forwarded-Proto",
                                           "X-Request-Id",
                                           "Via",
                                           NULL};
    static const char *const responses[] = {"Date", "X-Request-Id", NULL};
    if (!is_token(name))
        return "isn't a header's name";
    if (is_among(name, framing))
        return "can't be changed: it says how the message is sent";
    if (is_among(name, is_request ? requests : responses))
        return "can't be changed: the gateway writes it itself";
    return NULL;
}

static void add_rules(struct headers *it, struct rules *to, const struct config *config,
                      const struct config_pairs *from, bool replaces, struct diag *diag)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct config_pair *pair = &from->items[i];
        const char *refused = refusal(pair->name, to == &it->request);
        bool removes = pair->value.n == 0;
        if (refused != NULL)
            diag_error(diag, config_pos(config, &pair->name), "header '%s' %s", pair->name.p,
                       refused);
        else if (removes && config_shown(config, &pair->value).n != 0)
            diag_error(diag, config_pos(config, &pair->value),
                       "header '%s' has no value; \"\" alone takes it away", pair->name.p);
        else if (removes && !replaces)
            diag_error(diag, config_pos(config, &pair->value),
                       "header '%s' is to be added and has no value", pair->name.p);
        h2o_iovec_t name = h2o_strdup(&it->pool, pair->name.p, pair->name.n);
        h2o_strtolower(name.base, name.len);
        to->items[to->count++] = (struct rule){
            name.base, name.len, removes ? (struct str){NULL, 0} : pair->value, replaces};
    }
}

static void read_rules(struct headers *it, struct rules *to, const struct config *config,
                       const struct config_pairs *set, const struct config_pairs *add,
                       struct diag *diag)
{
    to->items = h2o_mem_alloc_pool(&it->pool, (set->count + add->count + 1) * sizeof(*to->items));
    add_rules(it, to, config, set, true, diag);
    add_rules(it, to, config, add, false, diag);
}

static void destroy(struct http_middleware *middleware)
{
    struct headers *it = CONTAINER_OF(middleware, struct headers, middleware);
    free((char *)(uintptr_t)middleware->name);
    h2o_mem_clear_pool(&it->pool);
    free(it);
}

void headers_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    for (size_t i = 0; i < config->headers_count; i++) {
        const struct config_headers *from = &config->headers[i];
        struct headers *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        h2o_mem_init_pool(&it->pool);
        read_rules(it, &it->request, config, &from->request, &from->request_add, diag);
        read_rules(it, &it->response, config, &from->response, &from->response_add, diag);
        it->middleware = (struct http_middleware){.name = middleware_name("headers", from->name),
                                                  .arrive = it->request.count != 0 ? arrive : NULL,
                                                  .reply = it->response.count != 0 ? reply : NULL,
                                                  .destroy = destroy};
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
