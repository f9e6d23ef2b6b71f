/* Headers, there and back: what belongs to one connection ends here (RFC 9110 section 7.6.1), what
 * says who asked is ours to say, everything else passes as it came and in its order. */
#include "base/text.h"
#include "routes/routes_internal.h"

#include <stdio.h>
#include <strings.h>

static bool is_among(struct str name, const struct str *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_caseeq(name, names[i]))
            return true;
    return false;
}

/* Of one connection, or between one client and one proxy. */
static bool is_hop_by_hop(struct str name)
{
    static const struct str names[] = {{"connection", 10},
                                       {"keep-alive", 10},
                                       {"proxy-connection", 16},
                                       {"te", 2},
                                       {"trailer", 7},
                                       {"transfer-encoding", 17},
                                       {"upgrade", 7},
                                       {"http2-settings", 14},
                                       {"proxy-authenticate", 18},
                                       {"proxy-authorization", 19},
                                       {"proxy-authentication-info", 25}};
    return is_among(name, names, COUNT(names));
}

static bool lists(struct str list, struct str name)
{
    while (list.n != 0)
        if (str_caseeq(next_item(&list, ','), name))
            return true;
    return false;
}

/* -- there ------------------------------------------------------------------------------------- */

static struct str view(h2o_iovec_t iov)
{
    return (struct str){iov.base, iov.len};
}

static bool is_nominated(const struct http_request *request, struct str name)
{
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        if (field->name == &H2O_TOKEN_CONNECTION->buf && lists(view(field->value), name))
            return true;
    }
    return false;
}

/* What we send ourselves, or the call does: whatever the client says of it is known by then. */
static bool is_made_here(struct str name)
{
    static const struct str names[] = {{"host", 4},
                                       {"content-length", 14},
                                       {"expect", 6},
                                       {"forwarded", 9},
                                       {"x-forwarded-for", 15},
                                       {"x-forwarded-proto", 17},
                                       {"x-request-id", 12},
                                       {"x-forwarded-host", 16},
                                       {"client-cert", 11},
                                       {"client-cert-chain", 17}};
    for (size_t i = 0; i < COUNT(names); i++)
        if (same_field(name, names[i]))
            return true;
    return false;
}

/* Others of that family, as proxies tell them one another: believed as those are. */
static bool is_of_proxies(struct str name)
{
    struct str start = STR("x-forwarded-");
    return (name.n > start.n && same_field((struct str){name.p, start.n}, start)) ||
           same_field(name, STR("x-real-ip"));
}

static bool goes_up(const struct http_request *request, const struct proxy_route *route,
                    const h2o_header_t *field)
{
    struct str name = view(*field->name);
    return !is_hop_by_hop(name) && !is_made_here(name) &&
           !is_among(name, route->settled, route->settled_count) &&
           (http_header_was_set(field) ||
            ((!is_of_proxies(name) || http_peer_is_trusted(request)) &&
             !is_nominated(request, name)));
}

static struct str via_up(const struct http_request *request, const char *name)
{
    int version = request->h2o != NULL ? request->h2o->version : 0x101;
    char *text = h2o_mem_alloc_pool(request->pool, 48);
    int n = snprintf(text, 48, "%s %s",
                     version >= 0x200   ? "2"
                     : version == 0x101 ? "1.1"
                                        : "1.0",
                     name);
    return (struct str){text, (size_t)n};
}

static size_t add_made(struct http_request *request, const struct proxy_route *route,
                       struct up_header *headers)
{
    static const struct str names[] = {{"forwarded", 9},          {"x-forwarded-for", 15},
                                       {"x-forwarded-proto", 17}, {"x-forwarded-host", 16},
                                       {"x-request-id", 12},      {"client-cert", 11}};
    size_t count = 0;
    for (size_t i = 0; i < COUNT(names); i++) {
        if (is_among(names[i], route->settled, route->settled_count))
            continue;
        struct str value = http_forward_header(request, names[i]);
        if (value.p != NULL)
            headers[count++] = (struct up_header){names[i], value};
    }
    headers[count++] = (struct up_header){STR("via"), via_up(request, route->routing->via)};
    return count;
}

size_t fields_up(struct http_request *request, const struct proxy_route *route,
                 struct up_header **headers_r)
{
    enum { MADE = 7 };
    size_t count = 0, room = request->headers->size + MADE;
    struct up_header *headers = h2o_mem_alloc_pool(request->pool, room * sizeof(*headers));
    struct up_header *cookie = NULL;
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        struct str name = view(*field->name), value = view(field->value);
        if (!goes_up(request, route, field))
            continue;
        if (cookie != NULL && field->name == &H2O_TOKEN_COOKIE->buf) {
            /* HTTP/2 has them in several lines, HTTP/1 in one (RFC 9113 section 8.2.3). */
            h2o_iovec_t all =
                h2o_concat(request->pool, h2o_iovec_init(cookie->value.p, cookie->value.n),
                           h2o_iovec_init(H2O_STRLIT("; ")), field->value);
            cookie->value = view(all);
            continue;
        }
        headers[count] = (struct up_header){name, value};
        if (field->name == &H2O_TOKEN_COOKIE->buf)
            cookie = &headers[count];
        count++;
    }
    *headers_r = headers;
    return count + add_made(request, route, headers + count);
}

bool fields_loop(const struct http_request *request, struct str via)
{
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        if (field->name != &H2O_TOKEN_VIA->buf)
            continue;
        struct str list = view(field->value);
        while (list.n != 0) {
            struct str entry = next_item(&list, ',');
            next_item(&entry, ' '); /* the protocol; then the name, and maybe a comment */
            entry = trimmed(entry);
            if (str_eq(next_item(&entry, ' '), via))
                return true;
        }
    }
    return false;
}

/* -- and back ---------------------------------------------------------------------------------- */

/* RFC 9110 section 5.5: what holds one of these is to be refused. */
static bool breaks_line(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] == '\r' || value.p[i] == '\n' || value.p[i] == '\0')
            return true;
    return false;
}

static bool read_length(struct str value, uint64_t *length)
{
    while (value.n != 0) { /* the same one several times is let pass, RFC 9110 section 8.6 */
        struct str item = next_item(&value, ',');
        uint64_t n = 0;
        if (item.n == 0 || item.n > 18)
            return false;
        for (size_t i = 0; i < item.n; i++) {
            if (!is_digit(item.p[i]))
                return false;
            n = n * 10 + (uint64_t)(item.p[i] - '0');
        }
        if (*length != UINT64_MAX && *length != n)
            return false;
        *length = n;
    }
    return true;
}

/* Looks at all of them before any is passed on: what frames the body, what Connection names. */
static const char *examine(const struct up_header *headers, size_t count,
                           struct fields_down *down_r, bool *nominates_r)
{
    bool coded = false;
    for (size_t i = 0; i < count; i++) {
        struct str name = headers[i].name, value = headers[i].value;
        if (!is_token(name))
            return "a header's name is malformed";
        if (breaks_line(value))
            return "a header's value has a line break in it";
        if (str_caseeq(name, STR("content-length"))) {
            if (!read_length(value, &down_r->length) || value.n == 0)
                return "Content-Length is no number, or two";
        } else if (str_caseeq(name, STR("transfer-encoding"))) {
            coded = true;
        } else if (str_caseeq(name, STR("connection"))) {
            *nominates_r = true;
        } else if (str_caseeq(name, STR("date"))) {
            down_r->date = value;
        }
    }
    if (coded)
        down_r->length = UINT64_MAX;
    return NULL;
}

static bool comes_down(const struct up_header *headers, size_t count, bool nominates,
                       struct str name)
{
    static const struct str ours[] = {{"content-length", 14}, {"date", 4}, {"x-request-id", 12}};
    if (is_hop_by_hop(name) || is_among(name, ours, COUNT(ours)))
        return false;
    for (size_t i = 0; nominates && i < count; i++)
        if (str_caseeq(headers[i].name, STR("connection")) && lists(headers[i].value, name))
            return false;
    return true;
}

static struct str kept(h2o_mem_pool_t *pool, struct str value)
{
    return view(h2o_strdup(pool, value.p, value.n));
}

static const char *lower_case(h2o_mem_pool_t *pool, struct str name)
{
    h2o_iovec_t lower = h2o_strdup(pool, name.p, name.n);
    h2o_strtolower(lower.base, lower.len);
    return lower.base;
}

bool fields_down(struct http_request *request, const struct proxy_route *route,
                 const struct up_header *headers, size_t count, struct fields_down *down_r,
                 const char **detail_r)
{
    h2o_mem_pool_t *pool = request->pool;
    bool nominates = false;
    *down_r = (struct fields_down){UINT64_MAX, {NULL, 0}};
    *detail_r = examine(headers, count, down_r, &nominates);
    if (*detail_r != NULL)
        return false;
    down_r->date = kept(pool, down_r->date.p != NULL ? down_r->date : STR(""));
    struct str host = route->config->preserve_host ? request->host : (struct str){NULL, 0};
    for (size_t i = 0; i < count; i++) {
        struct str name = headers[i].name, value = headers[i].value;
        if (!comes_down(headers, count, nominates, name))
            continue;
        if (str_caseeq(name, STR("location")))
            value = target_location(route, value, host, pool);
        http_add_header(request, lower_case(pool, name), kept(pool, value));
    }
    h2o_iovec_t via = h2o_concat(pool, h2o_iovec_init(H2O_STRLIT("1.1 ")),
                                 h2o_iovec_init(route->routing->via, strlen(route->routing->via)));
    http_add_header(request, "via", view(via));
    return true;
}
