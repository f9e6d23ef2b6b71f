/* [forward_auth.NAME]: somebody else says who may. An upstream is asked about each request, with
 * the headers that tell who the client is and what it wants (those that nginx's auth_request and
 * Traefik's forwardAuth have made customary), and without its body. 2xx lets it pass; 401, 403 and
 * redirects, to a page where one signs in, are the client's answer; whatever else comes of it lets
 * nobody pass. */
#include "middleware/internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"

enum { BODY_MAX = 64 * 1024, WARN_EVERY_US = 60 * 1000000 };

struct forward_auth {
    struct http_middleware middleware;
    struct middleware *all;
    const struct config_forward_auth *config;
    struct upstream *upstream;
    struct str *names;          /* of response_headers, lower case; owned, as is each */
    _Atomic uint64_t warned_us; /* 0 = never */
};

/* A request that is asked about. Shares its memory with the request's pool. */
struct visit {
    struct forward_auth *auth;
    struct http_request *request;
    struct up_call *call; /* NULL = over */
};

static struct str kept(h2o_mem_pool_t *pool, struct str value)
{
    h2o_iovec_t copy = h2o_strdup(pool, value.p, value.n);
    return (struct str){copy.base, copy.len};
}

/* -- asking ------------------------------------------------------------------------------------ */

static size_t add(struct up_header *headers, size_t count, struct str name, struct str value)
{
    if (value.p != NULL)
        headers[count++] = (struct up_header){name, value};
    return count;
}

static size_t make_headers(const struct forward_auth *it, struct http_request *request,
                           struct up_header **headers_r)
{
    static const struct str made[] = {{"x-forwarded-for", 15},
                                      {"x-forwarded-proto", 17},
                                      {"x-forwarded-host", 16},
                                      {"forwarded", 9},
                                      {"x-request-id", 12}};
    const struct config_strings *passed = &it->config->request_headers;
    size_t count = 0;
    struct up_header *headers =
        h2o_mem_alloc_pool(request->pool, (passed->count + COUNT(made) + 2) * sizeof(*headers));
    for (size_t i = 0; i < passed->count; i++)
        count =
            add(headers, count, passed->items[i], http_forward_header(request, passed->items[i]));
    for (size_t i = 0; i < COUNT(made); i++)
        count = add(headers, count, made[i], http_forward_header(request, made[i]));
    count = add(headers, count, STR("x-forwarded-method"), request->method);
    count = add(headers, count, STR("x-forwarded-uri"), request->target);
    *headers_r = headers;
    return count;
}

/* -- what comes of it -------------------------------------------------------------------------- */

/* All lines of a name as one; {NULL, 0} without any, and when it can't be a header's value. */
static struct str combined(const struct up_result *result, struct str name, h2o_mem_pool_t *pool)
{
    struct str value = {NULL, 0};
    for (size_t i = 0; i < result->header_count; i++) {
        const struct up_header *header = &result->headers[i];
        if (!str_caseeq(header->name, name))
            continue;
        if (has_control(header->value))
            return (struct str){NULL, 0};
        h2o_iovec_t all = h2o_concat(pool, h2o_iovec_init(value.p, value.n),
                                     h2o_iovec_init(", ", value.p != NULL ? 2 : 0),
                                     h2o_iovec_init(header->value.p, header->value.n));
        value = (struct str){all.base, all.len};
    }
    return value;
}

static void let_pass(const struct visit *visit, const struct up_result *result)
{
    struct http_request *request = visit->request;
    size_t count = visit->auth->config->response_headers.count;
    for (size_t i = 0; i < count; i++) {
        struct str name = visit->auth->names[i], value = combined(result, name, request->pool);
        if (value.n != 0)
            http_set_request_header(request, name, value);
    }
    request->is_personal |= count != 0;
}

/* The service's own words. */
static void refuse(struct http_request *request, const struct up_result *result)
{
    static const struct {
        struct str name;
        const char *text;
    } passed[] = {{{"location", 8}, "location"},
                  {{"set-cookie", 10}, "set-cookie"},
                  {{"www-authenticate", 16}, "www-authenticate"},
                  {{"cache-control", 13}, "cache-control"}};
    h2o_mem_pool_t *pool = request->pool;
    const char *type = NULL;
    bool has_control_of_caches = false;
    struct out out;
    for (size_t i = 0; i < result->header_count; i++)
        for (size_t k = 0; k < COUNT(passed); k++) {
            const struct up_header *header = &result->headers[i];
            if (!str_caseeq(header->name, passed[k].name) || has_control(header->value))
                continue;
            http_add_header(request, passed[k].text, kept(pool, header->value));
            has_control_of_caches |= k == COUNT(passed) - 1;
        }
    if (!has_control_of_caches)
        http_add_header(request, "cache-control", STR("no-store"));
    out_init(&out, pool, 0);
    if (result->body.n != 0 && result->body.n <= BODY_MAX) {
        struct str body = kept(pool, result->body);
        out_refer(&out, body.p, body.n);
        if (result->content_type.n != 0 && !has_control(result->content_type))
            type = kept(pool, result->content_type).p;
    }
    request->flags = "UAEX";
    http_reply(request, result->status, type, &out);
}

static const char *error_of(const struct up_result *result)
{
    return result->error != NULL ? result->error : "proxy_internal_error";
}

/* RFC 9209. */
static void add_proxy_status(const struct visit *visit, const struct up_result *result)
{
    enum { ROOM = 160 };
    const char *name = visit->auth->config->upstream.p;
    char *text = h2o_mem_alloc_pool(visit->request->pool, ROOM);
    int n =
        result->end == UP_ANSWERED
            ? snprintf(text, ROOM, "gateway; next-hop=\"%s\"; received-status=%d", name,
                       result->status)
            : snprintf(text, ROOM, "gateway; next-hop=\"%s\"; error=%s", name, error_of(result));
    http_add_header(visit->request, "proxy-status", (struct str){text, (size_t)n});
}

static void warn(struct forward_auth *it, const struct up_result *result)
{
    uint64_t now = clock_us(), last = atomic_load_explicit(&it->warned_us, memory_order_relaxed);
    if ((last != 0 && now < last + WARN_EVERY_US) ||
        !atomic_compare_exchange_strong(&it->warned_us, &last, now))
        return;
    log_event(LOG_WARN, "nobody says who may: requests are refused",
              "middleware=%s upstream=%s error=%s status=%d detail=%s", it->middleware.name,
              log_quote(it->config->upstream),
              result->end == UP_ANSWERED ? "status" : error_of(result), result->status,
              log_quote(str_from(result->detail)));
}

/* The service failed, not the client. */
static void fail(struct visit *visit, const struct up_result *result)
{
    struct http_request *request = visit->request;
    bool answered = result->end == UP_ANSWERED;
    warn(visit->auth, result);
    add_proxy_status(visit, result);
    request->flags = answered                    ? "UAEX"
                     : result->end == UP_TIMEOUT ? "UT"
                     : result->end == UP_FAILED  ? "UF"
                                                 : "UO";
    http_problem_reply(
        request, &(struct http_problem){
                     .status = answered ? 502 : 503,
                     .type = "authorization-unavailable",
                     .title = "Whether you may can't be told at the moment",
                     .detail = STR("The service that says who may gave no answer that says it."),
                     .retry_after_s = answered                 ? 0
                                      : result->end == UP_OPEN ? result->retry_in_ms / 1000 + 1
                                                               : 1,
                 });
}

static void on_done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct visit *visit = arg;
    struct http_request *request = visit->request;
    int status = result->end == UP_ANSWERED ? result->status : 0;
    bool passes = status >= 200 && status < 300;
    visit->call = NULL; /* what follows may end the request */
    if (passes)
        let_pass(visit, result);
    else if (status == 401 || status == 403 || (status >= 300 && status < 400 && status != 304))
        refuse(request, result);
    else
        fail(visit, result);
    up_call_release(&call);
    if (passes)
        http_middleware_next(request);
}

/* -- a request --------------------------------------------------------------------------------- */

static void leave(void *memory)
{
    struct visit *visit = memory;
    if (visit->call != NULL)
        up_call_cancel(&visit->call);
}

static bool arrive(struct http_middleware *middleware, struct http_request *request)
{
    struct forward_auth *it = CONTAINER_OF(middleware, struct forward_auth, middleware);
    const struct config_forward_auth *config = it->config;
    struct up_header *headers;
    for (size_t i = 0; i < config->response_headers.count; i++)
        http_remove_request_header(request, it->names[i]);
    size_t count = make_headers(it, request, &headers);
    const struct up_request asked = {
        .upstream = it->upstream,
        .target = config->path,
        .headers = headers,
        .header_count = count,
        .wants_headers = true,
        .trace = request->trace,
        .deadline_ms =
            config->timeout_ms != 0 ? loop_now_ms(request->loop) + config->timeout_ms : 0};
    struct visit *visit = h2o_mem_alloc_shared(request->pool, sizeof(*visit), leave);
    *visit = (struct visit){.auth = it, .request = request};
    visit->call =
        up_call_start(it->all->clients[loop_index(request->loop)], &asked, on_done, visit);
    return false;
}

/* -- made of the configuration ----------------------------------------------------------------- */

static void destroy(struct http_middleware *middleware)
{
    struct forward_auth *it = CONTAINER_OF(middleware, struct forward_auth, middleware);
    for (size_t i = 0; i < it->config->response_headers.count; i++)
        free((char *)(uintptr_t)it->names[i].p);
    free(it->names);
    free((char *)(uintptr_t)middleware->name);
    free(it);
}

/* What is passed on: neither what the connection's is nor what is made here. */
static void check_passed(const struct forward_auth *it, const struct config *config,
                         struct diag *diag)
{
    const struct config_strings *list = &it->config->request_headers;
    for (size_t i = 0; i < list->count; i++) {
        struct str name = list->items[i];
        struct pos at = config_pos(config, &list->items[i]);
        const char *why = it->upstream != NULL ? upstream_refuses_header(it->upstream, name) : NULL;
        if (!http_may_set_request_header(name) || same_field(name, STR("x-forwarded-method")) ||
            same_field(name, STR("x-forwarded-uri")))
            diag_error(diag, at, "request_headers: %s can't be passed on, or is sent anyway",
                       name.p);
        else if (why != NULL)
            diag_error(diag, at, "request_headers: %s %s", name.p, why);
    }
}

void forward_auth_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    for (size_t i = 0; i < config->forward_auth_count; i++) {
        const struct config_forward_auth *from = &config->forward_auths[i];
        const struct config_strings *set = &from->response_headers;
        struct forward_auth *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        *it = (struct forward_auth){
            .middleware = {.name = middleware_name("forward_auth", from->name),
                           .arrive = arrive,
                           .reply = keep_private,
                           .destroy = destroy},
            .all = all,
            .config = from,
            .upstream = upstream_named(all->needs.upstreams, &from->upstream, diag),
            .names = calloc(set->count + 1, sizeof(*it->names))};
        gw_assert(it->names != NULL);
        for (size_t k = 0; k < set->count; k++)
            it->names[k] =
                request_header_name(set->items[k], config_pos(config, &set->items[k]), diag);
        check_passed(it, config, diag);
        if (from->path.n != 0 && from->path.p[0] != '/')
            diag_error(diag, config_pos(config, &from->path),
                       "path: expected a path after the upstream's url, \"/auth\"");
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
