/* The spans of a request: its own, and one for each part, made of the same record as its line in
 * the access log. Names of attributes: OpenTelemetry's semantic conventions for HTTP (1.2x, stable
 * ones), and gw. for what is ours. */
#include <stdio.h>
#include "base/text.h"
#include "observe/access_line.h"
#include "observe/metrics.h"
#include "observe/trace.h"

struct str trace_redact(char *to, size_t room, struct str query)
{
    static const struct str secrets[] = {{"sig", 3},
                                         {"Signature", 9},
                                         {"X-Goog-Signature", 16},
                                         {"X-Amz-Signature", 15},
                                         {"AWSAccessKeyId", 14},
                                         {"access_token", 12}};
    char *at = to, *end = to + room;
    while (query.n != 0) {
        const char *next = memchr(query.p, '&', query.n);
        struct str pair = {query.p, next != NULL ? (size_t)(next - query.p) : query.n};
        const char *equals = pair.n != 0 ? memchr(pair.p, '=', pair.n) : NULL;
        struct str name = {pair.p, equals != NULL ? (size_t)(equals - pair.p) : 0};
        bool is_secret = false;
        for (size_t i = 0; i < COUNT(secrets) && !is_secret; i++)
            is_secret = str_eq(name, secrets[i]);
        int n = is_secret ? snprintf(at, (size_t)(end - at), "%.*s=REDACTED%s", (int)name.n, name.p,
                                     next != NULL ? "&" : "")
                          : snprintf(at, (size_t)(end - at), "%.*s%s", (int)pair.n, pair.p,
                                     next != NULL ? "&" : "");
        if (n < 0 || n >= end - at)
            return (struct str){to, (size_t)(end - to) - 1};
        at += n;
        size_t taken = pair.n + (next != NULL);
        query.p += taken;
        query.n -= taken;
    }
    return (struct str){to, (size_t)(at - to)};
}

/* An attribute's text: what isn't known is left out. */
static struct str given(struct str text)
{
    return text.p != NULL ? text : STR("");
}

/* "shop.example:8443" -> the name, and the port: -1 = none. */
static struct str split_host(struct str host, int64_t *port_r)
{
    size_t colon = host.n;
    int64_t port = 0;
    *port_r = -1;
    while (colon != 0 && is_digit(host.p[colon - 1]))
        colon--;
    if (colon == 0 || colon == host.n || host.n - colon > 5 || host.p[colon - 1] != ':')
        return host;
    for (size_t i = colon; i < host.n; i++)
        port = port * 10 + (host.p[i] - '0');
    *port_r = port;
    return (struct str){host.p, colon - 1};
}

static void write_parts(const struct trace_request *request)
{
    const struct access_record *record = request->record;
    uint64_t from_us = request->parts_us != 0 ? request->parts_us : request->began_us;
    for (size_t i = 0; i < record->part_count; i++) {
        const struct access_part *part = &record->parts[i];
        char name[96];
        int n = snprintf(name, sizeof(name), "part %.*s", (int)part->name.n, part->name.p);
        size_t length = n < (int)sizeof(name) ? (size_t)n : sizeof(name) - 1;
        bool is_skipped = strcmp(part->state, "skipped") == 0;
        const struct trace_attribute attributes[] = {
            {"gw.part", part->name, 0},
            {"gw.part.state", str_from(part->state), 0},
            {"gw.part.attempts", {NULL, 0}, part->attempts},
        };
        struct trace_span span = {
            .link = request->link,
            .id = trace_of_part(&request->link, i).span,
            .kind = TRACE_INTERNAL,
            .name = {name, length},
            .begin_us = from_us + (is_skipped ? part->us : part->begin_us),
            .end_us = from_us + part->us,
            .attributes = attributes,
            .attribute_count = COUNT(attributes),
            .error = part->error != NULL ? str_from(part->error) : STR(""),
        };
        trace_write(&span);
    }
}

void trace_write_request(const struct trace_request *request)
{
    const struct access_record *record = request->record;
    if (!request->link.sampled)
        return;
    write_parts(request);

    char name[256], query_text[ACCESS_VALUE_MAX], status_text[16];
    struct str method = metric_method(record->method);
    bool is_known = str_eq(method, record->method);
    struct str shown = is_known ? method : STR("HTTP");
    int n = request->pattern.n != 0 ? snprintf(name, sizeof(name), "%.*s %.*s", (int)shown.n,
                                               shown.p, (int)request->pattern.n, request->pattern.p)
                                    : snprintf(name, sizeof(name), "%.*s", (int)shown.n, shown.p);

    const char *mark = record->path.n != 0 ? memchr(record->path.p, '?', record->path.n) : NULL;
    struct str path = {record->path.p,
                       mark != NULL ? (size_t)(mark - record->path.p) : record->path.n};
    struct str query = mark != NULL ? (struct str){mark + 1, record->path.n - path.n - 1} : STR("");
    query = trace_redact(query_text, sizeof(query_text), query);
    int64_t port;
    struct str host = split_host(record->host, &port);
    struct str version = record->protocol.n > 5
                             ? (struct str){record->protocol.p + 5, record->protocol.n - 5}
                             /* "HTTP/1.1" */
                             : STR("");
    int digits = snprintf(status_text, sizeof(status_text), "%d", record->status);
    bool has_left = record->status == 499;

    struct trace_attribute attributes[16] = {
        {"http.request.method", method, 0},
        {"http.request.method_original", is_known ? STR("") : record->method, 0},
        {"http.route", given(request->pattern), 0},
        {"url.scheme", given(record->scheme), 0},
        {"url.path", path.n != 0 ? path : STR("/"), 0},
        {"url.query", query, 0},
        {"server.address", given(host), 0},
        {"client.address", given(record->client), 0},
        {"network.peer.address", given(request->peer), 0},
        {"network.protocol.version", version, 0},
        {"user_agent.original", given(record->user_agent), 0},
        {"gw.request_id", given(record->id), 0},
        {"http.response.body.size", {NULL, 0}, (int64_t)record->bytes},
    };
    size_t count = 13;
    if (port >= 0)
        attributes[count++] = (struct trace_attribute){"server.port", {NULL, 0}, port};
    if (!has_left)
        attributes[count++] =
            (struct trace_attribute){"http.response.status_code", {NULL, 0}, record->status};
    gw_assert(count <= COUNT(attributes));
    struct trace_span span = {
        .link = {.trace = {request->link.trace[0], request->link.trace[1]},
                 .span = request->parent,
                 .sampled = true},
        .id = request->link.span,
        .has_remote_parent = request->parent != 0,
        .kind = TRACE_SERVER,
        .name = {name, n < (int)sizeof(name) ? (size_t)n : sizeof(name) - 1},
        .begin_us = request->began_us,
        .end_us = request->ended_us,
        .attributes = attributes,
        .attribute_count = count,
        .error = record->status >= 499 ? (struct str){status_text, (size_t)digits} : STR(""),
    };
    trace_write(&span);
}
