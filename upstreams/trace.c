/* Attempts as spans: names and attributes of OpenTelemetry's semantic conventions for HTTP clients.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/put.h"
#include "upstreams/internal.h"

enum { URL_MAX = 2048 };

void trace_queued(const struct attempt *attempt, uint64_t at_us, const char *error)
{
    const struct up_call *call = attempt->call;
    if (!call->trace.sampled)
        return;
    const struct trace_attribute upstream = {"gw.upstream", call->lane->upstream->config->name, 0};
    trace_write_inner(&call->trace, STR("queue"), attempt->queued_us, at_us, &upstream,
                      error != NULL ? str_from(error) : STR(""));
}

/* As it was asked for; what curl is given begins with the path, see request.c. */
static struct str url_of(const struct up_call *call, char to[URL_MAX])
{
    const struct upstream *up = call->lane->upstream;
    const char *target = call->request.p + up->prefix_length;
    const char *end = memchr(target, ' ', call->request.n - up->prefix_length);
    gw_assert(end != NULL);
    const char *mark = memchr(target, '?', (size_t)(end - target));
    const char *path_end = mark != NULL ? mark + 1 : end;
    int n = snprintf(to, URL_MAX, "%s%.*s", up->url, (int)(path_end - target), target);
    if (n < 0 || n >= URL_MAX)
        return (struct str){to, URL_MAX - 1};
    struct str query = {path_end, (size_t)(end - path_end)};
    return (struct str){to, (size_t)n + trace_redact(to + n, URL_MAX - (size_t)n, query).n};
}

/* "10.0.0.7:9101", "[2001:db8::1]:80", "unix:/path" -> the address, the path. */
static struct str peer_of(const struct attempt *attempt)
{
    struct str peer = str_from(attempt->endpoint != NULL ? attempt->endpoint->address : "");
    if (peer.n > 5 && memcmp(peer.p, "unix:", 5) == 0)
        return (struct str){peer.p + 5, peer.n - 5};
    const char *colon = peer.n != 0 ? memrchr(peer.p, ':', peer.n) : NULL;
    if (colon != NULL)
        peer.n = (size_t)(colon - peer.p);
    if (peer.n > 2 && peer.p[0] == '[' && peer.p[peer.n - 1] == ']')
        peer = (struct str){peer.p + 1, peer.n - 2};
    return peer;
}

void trace_attempt(const struct attempt *attempt, const char *error, uint64_t at_us)
{
    const struct up_call *call = attempt->call;
    const struct upstream *up = call->lane->upstream;
    const struct up_result *result = &attempt->result;
    if (!call->trace.sampled || attempt->began_ms == 0 || call->request.n == 0)
        return;
    char url[URL_MAX], digits[PUT_NUMBER];
    char *digits_end = put_number(digits, result->status > 0 ? (uint64_t)result->status : 0);
    struct str method = call->method != NULL ? str_from(call->method) : STR("GET");
    struct str known = metric_method(method);
    if (error == NULL)
        error = result->error;
    struct trace_attribute attributes[10] = {
        {"http.request.method", known, 0},           {"url.full", url_of(call, url), 0},
        {"server.address", str_from(up->server), 0}, {"network.peer.address", peer_of(attempt), 0},
        {"gw.upstream", up->config->name, 0},
    };
    size_t count = 5;
    if (up->server_port[0] != '\0')
        attributes[count++] =
            (struct trace_attribute){"server.port", {NULL, 0}, atoi(up->server_port)};
    if (result->status > 0)
        attributes[count++] =
            (struct trace_attribute){"http.response.status_code", {NULL, 0}, result->status};
    if (attempt->number > 1)
        attributes[count++] =
            (struct trace_attribute){"http.request.resend_count", {NULL, 0}, attempt->number - 1};
    if (attempt->is_hedge)
        attributes[count++] = (struct trace_attribute){"gw.hedge", STR("true"), 0};
    if (!str_eq(known, method))
        attributes[count++] = (struct trace_attribute){"http.request.method_original", method, 0};
    const struct trace_span span = {
        .link = call->trace,
        .id = attempt->span != 0 ? attempt->span : trace_new_span(),
        .kind = TRACE_CLIENT,
        .name = str_eq(known, method) ? known : STR("HTTP"),
        .begin_us = attempt->slot_us,
        .end_us = at_us,
        .attributes = attributes,
        .attribute_count = count,
        .error = error != NULL           ? str_from(error)
                 : result->status >= 400 ? (struct str){digits, (size_t)(digits_end - digits)}
                                         : STR(""),
        .message = error != NULL ? str_from(result->detail) : STR(""),
    };
    trace_write(&span);
}
