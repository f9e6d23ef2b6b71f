/* [cors.NAME]: whose scripts may ask for what, and read the answers (Fetch standard, "CORS
 * protocol").
 *
 * A preflight is answered here, whatever takes the request that it announces: it is a question to
 * us and not to a handler. What may be asked with is one constant answer; the browser compares. To
 * origins that aren't listed nothing is said, which is a no.
 *
 * The section decides alone: what an upstream says of the matter itself is taken out, since two
 * answers to one question are none for a browser. Where the answer depends on the origin, Vary says
 * so in every reply, also to those who didn't send one (Fetch standard, "CORS protocol and HTTP
 * caches"); where all may, it is one constant for everybody. */
#include "middleware/internal.h"

#include <stdio.h>
#include <stdlib.h>

struct cors {
    struct http_middleware middleware;
    h2o_mem_pool_t pool;
    struct cors_origin *origins; /* in the pool */
    size_t origin_count;
    bool all; /* "*": whoever asks; there are no origins then */
    bool credentials;
    struct str methods, headers, expose, max_age; /* values; "" = not sent */
};

/* -- origins ----------------------------------------------------------------------------------- */

/* Browsers write hosts in lower case, and IPv6 addresses in brackets. */
static bool is_host_char(char c)
{
    return (is_letter_or_digit(c) && (c < 'A' || c > 'Z')) || c == '-' || c == '.' || c == '_';
}

static const char *check_host_and_port(struct str text)
{
    const char *end = text.p + text.n, *p = text.p;
    if (p != end && *p == '[') {
        while (p != end && *p != ']')
            p++;
        if (p++ == end)
            return "the address lacks its ']'";
    }
    for (; p != end && *p != ':'; p++)
        if (!is_host_char(*p))
            return *p == '/' ? "an origin has no path, and no '/' at its end"
                             : "expected \"https://host\" or \"https://host:port\", in lower case";
    if (p == text.p)
        return "the host is missing";
    if (p == end)
        return NULL;
    if (end - p < 2 || end - p > 6)
        return "the port is missing or no number";
    for (p++; p != end; p++)
        if (!is_digit(*p))
            return "the port is missing or no number";
    return NULL;
}

static bool ends_in(struct str text, struct str ending)
{
    return text.n > ending.n && memcmp(text.p + text.n - ending.n, ending.p, ending.n) == 0;
}

const char *cors_origin_parse(struct str text, struct cors_origin *origin_r)
{
    *origin_r = (struct cors_origin){.start = text};
    if (str_eq(text, STR("null")))
        return NULL;
    const char *colon = memmem(text.p, text.n, "://", 3);
    size_t scheme = colon != NULL ? (size_t)(colon - text.p) : 0;
    if (scheme == 0)
        return "expected \"https://host\", \"null\" or \"*\"";
    for (size_t i = 0; i < scheme; i++)
        if (!is_host_char(text.p[i]) && text.p[i] != '+')
            return "expected \"https://host\", in lower case";
    struct str host = {colon + 3, text.n - scheme - 3};
    if ((str_eq((struct str){text.p, scheme}, STR("https")) && ends_in(host, STR(":443"))) ||
        (str_eq((struct str){text.p, scheme}, STR("http")) && ends_in(host, STR(":80"))))
        return "browsers leave the scheme's own port out";
    if (host.n > 2 && host.p[0] == '*' && host.p[1] == '.') {
        origin_r->wild = true;
        origin_r->start.n = scheme + 3;
        origin_r->end = host = (struct str){host.p + 1, host.n - 1};
    }
    if (memchr(host.p, '*', host.n) != NULL)
        return "a star stands for subdomains alone: \"https://*.host\"";
    return check_host_and_port(host);
}

bool cors_origin_has(const struct cors_origin *origin, struct str value)
{
    if (!origin->wild)
        return str_eq(origin->start, value);
    struct str start = origin->start, end = origin->end;
    if (value.n <= start.n + end.n || memcmp(value.p, start.p, start.n) != 0 ||
        !ends_in(value, end) || value.p[start.n] == '.')
        return false;
    for (size_t i = start.n; i < value.n - end.n; i++)
        if (!is_host_char(value.p[i]))
            return false;
    return true;
}

static bool is_allowed(const struct cors *it, struct str origin)
{
    for (size_t i = 0; i < it->origin_count; i++)
        if (cors_origin_has(&it->origins[i], origin))
            return true;
    return false;
}

/* -- requests ---------------------------------------------------------------------------------- */

static bool arrive(struct http_middleware *middleware, struct http_request *request)
{
    const struct cors *it = CONTAINER_OF(middleware, struct cors, middleware);
    if (http_preflight_method(request).p == NULL)
        return true;
    if (it->all || is_allowed(it, http_header(request, STR("origin")))) {
        http_add_header(request, "access-control-allow-methods", it->methods);
        if (it->headers.n != 0)
            http_add_header(request, "access-control-allow-headers", it->headers);
        http_add_header(request, "access-control-max-age", it->max_age);
    }
    http_reply(request, 204, NULL, NULL); /* reply() adds the rest */
    return false;
}

static void reply(struct http_middleware *middleware, struct http_request *request, int status)
{
    const struct cors *it = CONTAINER_OF(middleware, struct cors, middleware);
    h2o_headers_t *headers = &request->h2o->res.headers;
    struct str origin = STR("*");
    (void)status;
    remove_header(headers, "access-control-allow-origin");
    remove_header(headers, "access-control-allow-credentials");
    remove_header(headers, "access-control-expose-headers");
    if (!it->all) {
        http_add_header(request, "vary", STR("Origin"));
        origin = http_header(request, STR("origin"));
        if (origin.p == NULL || !is_allowed(it, origin))
            return;
    }
    http_add_header(request, "access-control-allow-origin", origin);
    if (it->credentials)
        http_add_header(request, "access-control-allow-credentials", STR("true"));
    if (it->expose.n != 0)
        http_add_header(request, "access-control-expose-headers", it->expose);
}

/* -- the section ------------------------------------------------------------------------------- */

static void destroy(struct http_middleware *middleware)
{
    struct cors *it = CONTAINER_OF(middleware, struct cors, middleware);
    free((char *)(uintptr_t)middleware->name);
    h2o_mem_clear_pool(&it->pool);
    free(it);
}

static bool has_star(const struct config_strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(list->items[i], STR("*")))
            return true;
    return false;
}

static void read_origins(struct cors *it, const struct config *config,
                         const struct config_cors *from, struct diag *diag)
{
    it->all = has_star(&from->origins);
    if (it->all && from->origins.count != 1)
        diag_error(diag, config_pos(config, &from->origins),
                   "origins: \"*\" is everybody, there can be nothing beside it");
    if (from->origins.items != NULL && from->origins.count == 0)
        diag_error(diag, config_pos(config, &from->origins), "origins: at least one is needed");
    it->origins = h2o_mem_alloc_pool(&it->pool, (from->origins.count + 1) * sizeof(*it->origins));
    for (size_t i = 0; !it->all && i < from->origins.count; i++) {
        const struct str *text = &from->origins.items[i];
        const char *wrong = cors_origin_parse(*text, &it->origins[it->origin_count++]);
        if (wrong != NULL)
            diag_error(diag, config_pos(config, text), "origins: \"%s\": %s", text->p, wrong);
    }
}

/* Names of methods and headers; with credentials a browser takes a star for a name. */
static void check_list(const struct config *config, const struct config_cors *from,
                       const struct config_strings *list, const char *key, struct diag *diag)
{
    for (size_t i = 0; i < list->count; i++)
        if (!is_token(list->items[i]))
            diag_error(diag, config_pos(config, &list->items[i]), "%s: \"%s\" is no name", key,
                       list->items[i].p);
    if (from->credentials && has_star(list))
        diag_error(diag, config_pos(config, list),
                   "%s: \"*\" means nothing to browsers where credentials = true: name them", key);
}

void cors_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    for (size_t i = 0; i < config->cors_count; i++) {
        const struct config_cors *from = &config->cors[i];
        struct cors *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        h2o_mem_init_pool(&it->pool);
        it->middleware = (struct http_middleware){.name = middleware_name("cors", from->name),
                                                  .arrive = arrive,
                                                  .reply = reply,
                                                  .destroy = destroy};
        read_origins(it, config, from, diag);
        if (from->credentials && it->all)
            diag_error(diag, config_pos(config, &from->origins),
                       "origins: with credentials = true any site could act for a visitor: name "
                       "the origins");
        check_list(config, from, &from->methods, "methods", diag);
        check_list(config, from, &from->headers, "headers", diag);
        check_list(config, from, &from->expose, "expose", diag);
        it->credentials = from->credentials;
        it->methods = join_list(&it->pool, &from->methods);
        it->headers = join_list(&it->pool, &from->headers);
        it->expose = join_list(&it->pool, &from->expose);
        char *seconds = h2o_mem_alloc_pool(&it->pool, 24);
        int n = snprintf(seconds, 24, "%llu", (unsigned long long)from->max_age_ms / 1000);
        it->max_age = (struct str){seconds, (size_t)n};
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
