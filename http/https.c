/* What sends clients to https, and keeps them there: [tls] redirect and hsts. */
#include "http/http_internal.h"

#include <stdio.h>
#include <stdlib.h>

void https_setup(struct http_server *server)
{
    const struct config_server_tls *tls = &server->config->tls;
    server->https_port = tls->redirect ? (uint16_t)tls->redirect_port : 0;
    for (size_t i = 0; i < server->listener_count && tls->redirect; i++) {
        const struct listener *listener = server->listeners[i];
        const struct address *address = &listener->address;
        if (server->https_port == 0 && listener->wanted.tls && address->sa.any.sa_family != AF_UNIX)
            server->https_port = ntohs(address->sa.v4.sin_port); /* v6's lies there, too */
    }
    if (tls->hsts_ms != 0) {
        char *text = h2o_mem_alloc(40);
        int n = snprintf(text, 40, "max-age=%llu", (unsigned long long)(tls->hsts_ms / 1000));
        server->hsts = (struct str){text, (size_t)n};
    }
}

void https_add_hsts(struct http_request *request)
{
    static const struct str name = {"strict-transport-security", 25};
    h2o_headers_t *headers = &request->h2o->res.headers;
    struct str hsts = request->server->hsts;
    if (hsts.n != 0 && request->conn->tls != NULL &&
        h2o_find_header_by_str(headers, name.p, name.n, -1) == -1)
        h2o_add_header_by_str(request->pool, headers, name.p, name.n, 0, NULL, hsts.p, hsts.n);
}

/* "shop.example:8080" is "shop.example", "[::1]:80" is "[::1]". */
static struct str without_port(struct str host)
{
    const char *colon = memrchr(host.p, ':', host.n), *bracket = memrchr(host.p, ']', host.n);
    if (colon != NULL && (bracket == NULL || bracket < colon))
        host.n = (size_t)(colon - host.p);
    return host;
}

/* The target as it came; what can't stand in a header, HTTP/2 clients may send all the same. */
static void write_target(struct str target, struct out *out)
{
    for (size_t i = 0; i < target.n; i++) {
        unsigned char c = (unsigned char)target.p[i];
        char escape[4];
        if (c > ' ' && c < 0x7f) {
            out_write(out, target.p + i, 1);
        } else {
            snprintf(escape, sizeof(escape), "%%%02X", c);
            out_write(out, escape, 3);
        }
    }
}

static struct str location(struct http_request *request, struct str host)
{
    struct out out;
    h2o_iovec_t *vecs;
    out_init(&out, request->pool, host.n + 3 * request->target.n + 16);
    out_str(&out, STR("https://"));
    out_str(&out, without_port(host));
    if (request->server->https_port != 443) {
        out_str(&out, STR(":"));
        out_number(&out, request->server->https_port);
    }
    write_target(request->target, &out);
    size_t count = out_vecs(&out, &vecs);
    gw_assert(count == 1); /* it fits the first chunk */
    return (struct str){vecs->base, vecs->len};
}

bool https_redirects(struct http_request *request)
{
    const struct http_conn *conn = request->conn;
    if (request->server->https_port == 0 || conn->tls != NULL || !request->site->is_main ||
        conn->ip.family == AF_UNSPEC || request->target.n == 0 || request->target.p[0] != '/' ||
        str_eq(forwarded_proto(request), STR("https")))
        return false;
    struct str host = forwarded_host(request);
    if (without_port(host).n == 0) {
        problem_reply_status(request, 400, "the host is missing");
        return true;
    }
    http_add_header(request, "location", location(request, host));
    http_reply(request, 308, NULL, NULL);
    return true;
}
