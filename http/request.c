/* Reading a request: what h2o parsed becomes a struct http_request, and the parts of it that
 * handlers ask for by name. */
#include "http/http_internal.h"

#include <strings.h>

static struct str view(h2o_iovec_t iov)
{
    return (struct str){iov.base, iov.len};
}

/* RFC 9112 section 3.2.2: proxies' form of a target, "http://host/path", is to be understood; its
 * authority replaces Host. */
static void take_absolute_form(struct http_request *request)
{
    struct str target = request->target;
    size_t scheme = target.n > 7 && strncasecmp(target.p, "http://", 7) == 0    ? 7
                    : target.n > 8 && strncasecmp(target.p, "https://", 8) == 0 ? 8
                                                                                : 0;
    if (scheme == 0)
        return;
    const char *host = target.p + scheme, *end = target.p + target.n, *path = host;
    while (path != end && *path != '/' && *path != '?')
        path++;
    request->host = (struct str){host, (size_t)(path - host)};
    request->target = (struct str){path, (size_t)(end - path)};
    if (path == end || *path == '?') {
        char *whole = h2o_mem_alloc_pool(request->pool, request->target.n + 1);
        whole[0] = '/';
        memcpy(whole + 1, path, request->target.n);
        request->target = (struct str){whole, request->target.n + 1};
    }
}

/* RFC 3986 section 3.2, without userinfo: what may go into Forwarded and pages as the host. */
bool host_valid(struct str host)
{
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        if (!is_letter_or_digit(c) && (c == '\0' || strchr("-._~:[]%!$&'()*+,;=", c) == NULL))
            return false;
    }
    return host.n <= 255;
}

bool request_id_valid(struct str id)
{
    if (id.n == 0 || id.n > 128)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        if (!is_letter_or_digit(c) && (c == '\0' || strchr("._~:+/=@-", c) == NULL))
            return false;
    }
    return true;
}

/* Takes out what the guard hid from h2o. A client that sends such a name itself keeps it: the place
 * of the name tells, not the name. */
static void strip_hidden(h2o_headers_t *headers, const struct http_conn *conn)
{
    const char *head = conn->sock->input->bytes;
    size_t kept = 0;
    for (size_t i = 0; i < headers->size; i++)
        if (!head_hid(&conn->scan, (uintptr_t)headers->entries[i].name->base - (uintptr_t)head))
            headers->entries[kept++] = headers->entries[i];
    headers->size = kept;
}

struct http_request *request_create(struct http_conn *conn, h2o_req_t *req,
                                    void (*dispose)(void *request))
{
    struct http_loop *http = conn->http;
    struct http_request *request = h2o_mem_alloc_shared(&req->pool, sizeof(*request), dispose);
    *request = (struct http_request){.h2o = req,
                                     .pool = &req->pool,
                                     .loop = http->loop,
                                     .headers = &req->headers,
                                     .method = view(req->input.method),
                                     /* not what an HTTP/2 client says it is */
                                     .scheme = conn_scheme(conn),
                                     .host = view(req->input.authority),
                                     .target = view(req->input.path),
                                     .client = {conn->peer, conn->peer_length},
                                     .started_us = clock_us(),
                                     .flags = "",
                                     .server = http->server,
                                     .site = &http->server->sites[conn->kind],
                                     .reign = http->reign,
                                     .conn = conn};
    http->reign->requests++;
    if (req->version < 0x200 && conn->scan.framing.at != 0 && conn->scan.status == 0) {
        strip_hidden(&req->headers, conn);
        body_announced(request);
    }
    if (request->host.p == req->hostconf->authority.hostport.base)
        request->host = (struct str){"", 0}; /* h2o's stand-in for a missing Host */
    request->id = http_header(request, STR("x-request-id"));
    if (!request_id_valid(request->id))
        request->id = request_id_make(http, request->pool);
    if (conn->trusted)
        request->client = forwarded_client(request);
    if (request->site->is_main)
        trace_begin(request);
    return request;
}

int request_check(struct http_request *request, const char **reason_r)
{
    if (request->target.n > HTTP_MAX_TARGET) {
        *reason_r = "the target is longer than 8 KiB";
        return 414;
    }
    if (request->headers->size > HTTP_MAX_FIELDS) {
        *reason_r = "more than 100 fields";
        return 431;
    }
    if (request->target.n != 0 && request->target.p[0] != '/')
        take_absolute_form(request);
    if (!host_valid(request->host)) {
        *reason_r = "the host is malformed";
        return 400;
    }
    return 0;
}

/* -- fields ------------------------------------------------------------------------------------ */

struct str http_header(const struct http_request *request, struct str name)
{
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        if (field->name->len == name.n && strncasecmp(field->name->base, name.p, name.n) == 0)
            return view(field->value);
    }
    return (struct str){NULL, 0};
}

struct str http_cookie(const struct http_request *request, struct str name)
{
    /* HTTP/2 splits the cookies over fields at will (RFC 9113 section 8.2.3). */
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        if (field->name != &H2O_TOKEN_COOKIE->buf)
            continue;
        struct str list = view(field->value);
        while (list.n != 0) {
            struct str pair = next_item(&list, ';');
            if (pair.n <= name.n || pair.p[name.n] != '=' || memcmp(pair.p, name.p, name.n) != 0)
                continue;
            struct str value = {pair.p + name.n + 1, pair.n - name.n - 1};
            if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
                value = (struct str){value.p + 1, value.n - 2};
            return value;
        }
    }
    return (struct str){NULL, 0};
}

/* -- fields that are changed ------------------------------------------------------------------- */

bool http_may_set_request_header(struct str name)
{
    static const struct str not [] = {{"connection", 10},
                                      {"keep-alive", 10},
                                      {"proxy-connection", 16},
                                      {"te", 2},
                                      {"trailer", 7},
                                      {"transfer-encoding", 17},
                                      {"upgrade", 7},
                                      {"http2-settings", 14},
                                      {"proxy-authenticate", 18},
                                      {"expect", 6},
                                      {"proxy-authorization", 19},
                                      {"proxy-authentication-info", 25},
                                      {"host", 4},
                                      {"content-length", 14},
                                      {"forwarded", 9},
                                      {"x-forwarded-for", 15},
                                      {"x-forwarded-proto", 17},
                                      {"x-forwarded-host", 16},
                                      {"x-request-id", 12},
                                      {"via", 3},
                                      {"date", 4}};
    for (size_t i = 0; i < COUNT(not ); i++)
        if (same_field(name, not [i]))
            return false;
    return is_token(name);
}

void http_remove_request_header(struct http_request *request, struct str name)
{
    h2o_headers_t *headers = &request->h2o->headers;
    size_t kept = 0;
    for (size_t i = 0; i < headers->size; i++)
        if (!same_field(view(*headers->entries[i].name), name))
            headers->entries[kept++] = headers->entries[i];
    headers->size = kept;
}

/* Stands where h2o keeps a name as the client spelled it, which is of no use to us. */
static const char set_here[] = "";

void http_set_request_header(struct http_request *request, struct str name, struct str value)
{
    h2o_headers_t *headers = &request->h2o->headers;
    http_remove_request_header(request, name);
    h2o_add_header_by_str(request->pool, headers, name.p, name.n, 1, NULL, value.p, value.n);
    headers->entries[headers->size - 1].orig_name = set_here;
}

bool http_header_was_set(const h2o_header_t *header)
{
    return header->orig_name == set_here;
}

/* Takes the next parameter that has a name off the front of *list, both as received. */
static bool next_parameter(struct str *list, struct str *name_r, struct str *value_r)
{
    while (list->n != 0) {
        const char *end = memchr(list->p, '&', list->n);
        struct str pair = {list->p, end == NULL ? list->n : (size_t)(end - list->p)};
        size_t skip = end == NULL ? list->n : pair.n + 1;
        list->p += skip, list->n -= skip;
        const char *equals = pair.n == 0 ? NULL : memchr(pair.p, '=', pair.n);
        *name_r = (struct str){pair.p, equals == NULL ? pair.n : (size_t)(equals - pair.p)};
        *value_r = equals == NULL ? STR("") : (struct str){equals + 1, pair.n - name_r->n - 1};
        if (name_r->n != 0)
            return true;
    }
    return false;
}

struct str http_query(struct http_request *request, struct str name)
{
    struct str list = request->query, key, value;
    while (next_parameter(&list, &key, &value))
        if (key.n >= name.n /* decoding only shortens */ &&
            str_eq(form_decode(request->pool, key), name))
            return form_decode(request->pool, value);
    return (struct str){NULL, 0};
}

struct http_query_iter http_query_iter(struct http_request *request)
{
    return (struct http_query_iter){.pool = request->pool, .rest = request->query};
}

bool http_query_next(struct http_query_iter *it)
{
    if (!next_parameter(&it->rest, &it->name, &it->value))
        return false;
    it->name = form_decode(it->pool, it->name);
    it->value = form_decode(it->pool, it->value);
    return true;
}

/* -- Accept ------------------------------------------------------------------------------------ */

/* RFC 9110 section 12.4.2, in thousandths; a malformed weight counts as none given. */
static int weight(struct str parameters)
{
    while (parameters.n != 0) {
        struct str parameter = next_item(&parameters, ';');
        if (parameter.n < 3 || (parameter.p[0] | 0x20) != 'q' || parameter.p[1] != '=')
            continue;
        int value = 0, scale = 1000;
        if ((parameter.p[2] != '0' && parameter.p[2] != '1') ||
            (parameter.n > 3 && parameter.p[3] != '.') || parameter.n > 7)
            return 1000;
        for (size_t i = 2; i < parameter.n; i++) {
            if (i == 3)
                continue;
            if (!is_digit(parameter.p[i]))
                return 1000;
            value += (parameter.p[i] - '0') * scale;
            scale /= 10;
        }
        return value > 1000 ? 1000 : value;
    }
    return 1000;
}

/* How closely a media range names application/json or text/html: 3 by name, 2 by type, 1 "any". */
static int closeness(struct str range, struct str type, struct str subtype)
{
    if (str_eq(range, STR("*/*")))
        return 1;
    if (range.n <= type.n || range.p[type.n] != '/' || strncasecmp(range.p, type.p, type.n) != 0)
        return 0;
    struct str rest = {range.p + type.n + 1, range.n - type.n - 1};
    return str_eq(rest, STR("*")) ? 2 : str_caseeq(rest, subtype) ? 3 : 0;
}

bool accept_prefers_json(struct str accept)
{
    int json_weight = 0, html_weight = 0, json_closest = 0, html_closest = 0;
    while (accept.n != 0) {
        struct str parameters = next_item(&accept, ',');
        struct str range = next_item(&parameters, ';');
        int json = closeness(range, STR("application"), STR("json"));
        int html = closeness(range, STR("text"), STR("html"));
        if (json == 0)
            json = closeness(range, STR("application"), STR("problem+json"));
        if (json > json_closest) {
            json_closest = json;
            json_weight = weight(parameters);
        }
        if (html > html_closest) {
            html_closest = html;
            html_weight = weight(parameters);
        }
    }
    /* At the same weight the one that was named decides; a bare "any" leaves it at HTML. */
    return json_weight > html_weight ||
           (json_weight == html_weight && json_weight != 0 && json_closest > html_closest);
}

bool http_wants_json(const struct http_request *request)
{
    return accept_prefers_json(http_header(request, STR("accept")));
}
