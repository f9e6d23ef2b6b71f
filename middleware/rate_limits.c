/* [rate_limits.NAME]: how often one client may ask. The counting is http/rate_limit.c's; here is
 * who counts as one. A key that a client sends itself proves nothing by itself: who makes up a new
 * one with each request is never refused, so such a limit belongs behind what checks the key, or
 * beside one by address. */
#include "middleware/internal.h"

#include <stdlib.h>

enum by { BY_ADDRESS, BY_USER, BY_HEADER, BY_COOKIE };

struct rate_limit {
    struct http_middleware middleware;
    struct http_rate *rate; /* owned */
    enum by by;
    struct str name; /* of the header or cookie; the configuration's */
};

static bool arrive(struct http_middleware *middleware, struct http_request *request)
{
    struct rate_limit *it = CONTAINER_OF(middleware, struct rate_limit, middleware);
    struct str who = {NULL, 0};
    switch (it->by) {
    case BY_ADDRESS:
        break;
    case BY_USER:
        who = request->user;
        break;
    case BY_HEADER:
        who = http_header(request, it->name);
        break;
    case BY_COOKIE:
        who = http_cookie(request, it->name);
        break;
    }
    return who.n != 0 ? http_rate_allow_as(it->rate, request, who)
                      : http_rate_allow(it->rate, request);
}

/* -- the section ------------------------------------------------------------------------------- */

static bool begins(struct str text, struct str start, struct str *rest_r)
{
    if (text.n < start.n || memcmp(text.p, start.p, start.n) != 0)
        return false;
    *rest_r = (struct str){text.p + start.n, text.n - start.n};
    return true;
}

static bool read_by(struct rate_limit *it, struct str by)
{
    if (str_eq(by, STR("address")))
        it->by = BY_ADDRESS;
    else if (str_eq(by, STR("user")))
        it->by = BY_USER;
    else if (begins(by, STR("header:"), &it->name))
        it->by = BY_HEADER;
    else if (begins(by, STR("cookie:"), &it->name))
        it->by = BY_COOKIE;
    else
        return false;
    return it->by == BY_ADDRESS || it->by == BY_USER || is_token(it->name);
}

static void destroy(struct http_middleware *middleware)
{
    struct rate_limit *it = CONTAINER_OF(middleware, struct rate_limit, middleware);
    free((char *)(uintptr_t)middleware->name);
    http_rate_destroy(&it->rate);
    free(it);
}

void rate_limits_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    for (size_t i = 0; i < config->rate_limit_count; i++) {
        const struct config_rate_limit *from = &config->rate_limits[i];
        struct rate_limit *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        it->middleware =
            (struct http_middleware){.name = middleware_name("rate_limits", from->name),
                                     .arrive = arrive,
                                     .destroy = destroy};
        it->rate = http_rate_create_policy(from->name, from->rate, from->burst,
                                           config_pos(config, &from->rate), diag);
        if (!read_by(it, from->by))
            diag_error(diag, config_pos(config, &from->by),
                       "by: expected \"address\", \"user\", \"header:NAME\" or \"cookie:NAME\", "
                       "got \"%s\"",
                       from->by.p);
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
