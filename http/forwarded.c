/* Who asked, across proxies: Forwarded (RFC 7239) and its elder X-Forwarded-For, -Proto and -Host.
 *
 * Only a peer in trusted_proxies is believed. What it sends is checked, then extended with the peer
 * itself; from anybody else, and when it is malformed, it is dropped and begun anew: what upstreams
 * see never holds what a stranger made up. */
#include "http/http_internal.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

enum { MAX_CHAIN = 2048 }; /* bytes of a chain that is still extended */

struct str field_combined(const struct http_request *request, struct str name,
                          const char *separator)
{
    struct str value = {NULL, 0};
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        if (field->name->len != name.n || strncasecmp(field->name->base, name.p, name.n) != 0)
            continue;
        if (value.p == NULL) {
            value = (struct str){field->value.base, field->value.len};
            continue;
        }
        h2o_iovec_t joined = h2o_concat(request->pool, h2o_iovec_init(value.p, value.n),
                                        h2o_iovec_init(separator, strlen(separator)), field->value);
        value = (struct str){joined.base, joined.len};
    }
    return value;
}

/* Takes the last element of a comma-separated list; commas inside quotes don't count. */
static bool last_element(struct str *list, struct str *element_r)
{
    if (list->p == NULL)
        return false;
    bool quoted = false;
    size_t i = list->n;
    while (i != 0 && (quoted || list->p[i - 1] != ',')) {
        i--;
        quoted = quoted != (list->p[i] == '"');
    }
    *element_r = trimmed((struct str){list->p + i, list->n - i});
    *list = i == 0 ? (struct str){NULL, 0} : (struct str){list->p, i - 1};
    return true;
}

/* A node identifier: an address, perhaps with a port, "unknown" or "_obfuscated". ip_r: its
 * address, family AF_UNSPEC when it tells none. */
static bool node_parse(struct str text, struct ip *ip_r)
{
    *ip_r = (struct ip){.family = AF_UNSPEC};
    if (text.n >= 2 && text.p[0] == '"' && text.p[text.n - 1] == '"')
        text = (struct str){text.p + 1, text.n - 2};
    if (text.n == 0)
        return false;
    if (text.p[0] == '_' || str_caseeq(text, STR("unknown"))) {
        return is_token(text);
    }
    if (ip_parse(text, ip_r))
        return true;
    const char *colon = memrchr(text.p, ':', text.n);
    if (colon == NULL)
        return false;
    struct str host = {text.p, (size_t)(colon - text.p)}, port = {colon + 1, text.n - host.n - 1};
    for (size_t i = 0; i < port.n; i++)
        if (!is_digit(port.p[i]))
            return false;
    /* Without brackets a v6 address and its port can't be told apart. */
    return port.n != 0 && port.n <= 5 &&
           (host.p[0] == '[' || memchr(host.p, ':', host.n) == NULL) && ip_parse(host, ip_r);
}

/* What an element of Forwarded says: who asked the proxy that wrote it, and how. {NULL, 0}: nothing
 * of that. */
struct hop {
    struct str node, proto, host; /* of `for` with its quotes */
};

static struct str unquoted(struct str value)
{
    return value.p[0] == '"' ? (struct str){value.p + 1, value.n - 2} : value;
}

/* Pairs of token=token or token="quoted", RFC 7239 section 4. */
static bool forwarded_element(struct str element, struct hop *hop_r)
{
    *hop_r = (struct hop){{NULL, 0}, {NULL, 0}, {NULL, 0}};
    const char *p = element.p, *end = element.p + element.n;
    if (p == end)
        return false;
    for (;;) {
        const char *name = p;
        while (p != end && is_token_char(*p))
            p++;
        if (p == name || p == end || *p != '=')
            return false;
        struct str key = {name, (size_t)(p - name)};
        const char *value = ++p;
        if (p != end && *p == '"') {
            /* Printable ASCII: nothing that belongs here needs more, or an escape. */
            for (p++; p != end && *p >= ' ' && *p <= '~' && *p != '\\' && *p != '"'; p++)
                ;
            if (p == end || *p++ != '"')
                return false;
        } else {
            while (p != end && is_token_char(*p))
                p++;
        }
        if (p == value)
            return false;
        struct str text = {value, (size_t)(p - value)};
        if (str_caseeq(key, STR("for")))
            hop_r->node = text;
        else if (str_caseeq(key, STR("proto")))
            hop_r->proto = unquoted(text);
        else if (str_caseeq(key, STR("host")))
            hop_r->host = unquoted(text);
        if (p == end)
            return true;
        if (*p++ != ';')
            return false;
    }
}

static bool chain_valid(struct str chain, bool forwarded)
{
    struct str element;
    struct hop hop;
    struct ip ip;
    if (chain.n > MAX_CHAIN)
        return false;
    while (last_element(&chain, &element)) {
        if (!forwarded)
            hop.node = element;
        else if (!forwarded_element(element, &hop))
            return false;
        if (hop.node.p == NULL ? !forwarded : !node_parse(hop.node, &ip))
            return false;
    }
    return true;
}

static bool is_trusted(const struct http_server *server, const struct ip *ip)
{
    for (size_t i = 0; i < server->trusted_count; i++)
        if (network_has(&server->trusted[i], ip))
            return true;
    return false;
}

static struct str print_ip(h2o_mem_pool_t *pool, const struct ip *ip)
{
    char *text = h2o_mem_alloc_pool(pool, INET6_ADDRSTRLEN);
    inet_ntop(ip->family, ip->bytes, text, INET6_ADDRSTRLEN);
    return str_from(text);
}

struct str forwarded_client(const struct http_request *request)
{
    const struct http_conn *conn = request->conn;
    struct ip nearest = {.family = AF_UNSPEC}, ip;
    struct str element;
    struct hop hop;
    bool forwarded = false;
    struct str chain = field_combined(request, STR("x-forwarded-for"), ", ");
    if (chain.p == NULL) {
        chain = field_combined(request, STR("forwarded"), ", ");
        forwarded = true;
    }
    if (chain.p != NULL && chain_valid(chain, forwarded)) {
        while (last_element(&chain, &element)) {
            hop.node = element;
            if (forwarded)
                forwarded_element(element, &hop);
            if (hop.node.p == NULL || !node_parse(hop.node, &ip) || ip.family == AF_UNSPEC)
                break; /* somebody unnamed: whoever was named before that is all we know */
            nearest = ip;
            if (!is_trusted(request->server, &ip))
                break;
        }
    }
    return nearest.family == AF_UNSPEC ? (struct str){conn->peer, conn->peer_length}
                                       : print_ip(request->pool, &nearest);
}

/* What the farthest of the trusted proxies wrote: it is the one that the client asked. */
static struct hop first_hop(const struct http_request *request)
{
    struct hop hop = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    struct str element, chain = field_combined(request, STR("forwarded"), ", ");
    struct ip ip;
    if (chain.p == NULL || !chain_valid(chain, true))
        return hop;
    while (last_element(&chain, &element)) {
        forwarded_element(element, &hop);
        if (hop.node.p == NULL || !node_parse(hop.node, &ip) || ip.family == AF_UNSPEC ||
            !is_trusted(request->server, &ip))
            break;
    }
    return hop;
}

bool http_peer_is_trusted(const struct http_request *request)
{
    return request->conn != NULL && request->conn->trusted;
}

struct str forwarded_proto(const struct http_request *request)
{
    if (!http_peer_is_trusted(request))
        return request->scheme;
    struct str proto = http_header(request, STR("x-forwarded-proto"));
    if (proto.p == NULL)
        proto = first_hop(request).proto;
    return str_caseeq(proto, STR("https"))  ? STR("https")
           : str_caseeq(proto, STR("http")) ? STR("http")
                                            : request->scheme;
}

struct str forwarded_host(const struct http_request *request)
{
    if (!http_peer_is_trusted(request))
        return request->host;
    struct str host = http_header(request, STR("x-forwarded-host"));
    if (host.p == NULL)
        host = first_hop(request).host;
    return host.n != 0 && host_valid(host) ? host : request->host;
}

/* -- what goes upstream ------------------------------------------------------------------------ */

static struct str printed(h2o_mem_pool_t *pool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static struct str printed(h2o_mem_pool_t *pool, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = h2o_mem_alloc_pool(pool, (size_t)n + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return (struct str){text, (size_t)n};
}

#define PRINT(s) (int)(s).n, (s).p

/* The peer as a chain names it; unix sockets' peers have no address. */
static struct str peer_name(const struct http_conn *conn)
{
    return conn->ip.family == AF_UNSPEC ? STR("unknown")
                                        : (struct str){conn->peer, conn->peer_length};
}

/* Whether a trusted proxy keeps its chain in that field, and that chain alone: then the other field
 * isn't begun, or the two would disagree about who the client is. */
static bool chain_is_in(const struct http_request *request, struct str field, struct str missing)
{
    return request->conn->trusted && http_header(request, field).p != NULL &&
           http_header(request, missing).p == NULL;
}

static struct str extend_for(const struct http_request *request)
{
    struct str chain = {NULL, 0}, peer = peer_name(request->conn);
    if (chain_is_in(request, STR("forwarded"), STR("x-forwarded-for")))
        return STR("");
    if (request->conn->trusted)
        chain = field_combined(request, STR("x-forwarded-for"), ", ");
    if (chain.p == NULL || !chain_valid(chain, false))
        return peer;
    return printed(request->pool, "%.*s, %.*s", PRINT(chain), PRINT(peer));
}

static struct str extend_forwarded(const struct http_request *request)
{
    struct str chain = {NULL, 0}, peer = peer_name(request->conn), host = request->host;
    if (chain_is_in(request, STR("x-forwarded-for"), STR("forwarded")))
        return STR("");
    bool v6 = request->conn->ip.family == AF_INET6;
    bool quoted = host.n != 0 && !is_token(host); /* a host may hold ':' or brackets */
    struct str element =
        printed(request->pool, "for=%s%.*s%s;proto=%.*s%s%s%.*s%s", v6 ? "\"[" : "", PRINT(peer),
                v6 ? "]\"" : "", PRINT(request->scheme), host.n != 0 ? ";host=" : "",
                quoted ? "\"" : "", PRINT(host), quoted ? "\"" : "");
    if (request->conn->trusted)
        chain = field_combined(request, STR("forwarded"), ", ");
    if (chain.p == NULL || !chain_valid(chain, true))
        return element;
    return printed(request->pool, "%.*s, %.*s", PRINT(chain), PRINT(element));
}

/* RFC 9440: of the handshake on this connection, and from nowhere else. */
static struct str client_certificate(const struct http_request *request)
{
    struct tls_conn *tls = request->conn->tls;
    return tls != NULL ? tls_client_certificate(tls) : STR("");
}

/* Fields that speak of one connection or one message (RFC 9110 section 7.6.1): they end here
 * whatever the configuration says. */
static bool ends_here(struct str name)
{
    static const struct str names[] = {{"connection", 10},
                                       {"keep-alive", 10},
                                       {"proxy-connection", 16},
                                       {"te", 2},
                                       {"trailer", 7},
                                       {"upgrade", 7},
                                       {"http2-settings", 14},
                                       {"host", 4},
                                       {"transfer-encoding", 17},
                                       {"expect", 6},
                                       {"content-length", 14},
                                       {"client-cert-chain", 17}};
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_caseeq(name, names[i]))
            return true;
    return false;
}

static bool was_set(const struct http_request *request, struct str name)
{
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        if (http_header_was_set(field) &&
            str_caseeq((struct str){field->name->base, field->name->len}, name))
            return true;
    }
    return false;
}

/* Whether the client said that the field, its own, is for us alone. */
static bool is_nominated(const struct http_request *request, struct str name)
{
    struct str list = http_header(request, STR("connection"));
    while (list.n != 0)
        if (str_caseeq(next_item(&list, ','), name))
            return !was_set(request, name);
    return false;
}

struct str http_forward_header(struct http_request *request, struct str name)
{
    static const struct {
        struct str name;
        struct str (*make)(const struct http_request *request);
    } made[COUNT(request->forwarded)] = {
        {{"forwarded", 9}, extend_forwarded},         {{"x-forwarded-for", 15}, extend_for},
        {{"x-forwarded-proto", 17}, forwarded_proto}, {{"x-forwarded-host", 16}, forwarded_host},
        {{"client-cert", 11}, client_certificate},
    };
    if (str_caseeq(name, STR("x-request-id")))
        return request->id;
    for (size_t i = 0; i < COUNT(made); i++)
        if (str_caseeq(name, made[i].name)) {
            if (request->conn == NULL)
                return (struct str){NULL, 0};
            if (request->forwarded[i].p == NULL)
                request->forwarded[i] = made[i].make(request);
            return request->forwarded[i].n == 0 ? (struct str){NULL, 0} : request->forwarded[i];
        }
    if (ends_here(name) || is_nominated(request, name))
        return (struct str){NULL, 0};
    return field_combined(request, name, str_caseeq(name, STR("cookie")) ? "; " : ", ");
}
