/* A request's place in a trace: read from its headers when it comes, written down when it is over.
 *
 * Anybody may say which trace a request belongs to; whether it is sampled only a trusted proxy may,
 * else a stranger could have everything traced. What is malformed is taken out here, so that nobody
 * behind hands it on. */
#include "http/http_internal.h"
#include "observe/trace.h"

/* The one line of that name; {NULL, 0} = none, or several. */
static struct str only(const struct http_request *request, struct str name)
{
    struct str found = {NULL, 0};
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        if (!str_caseeq((struct str){field->name->base, field->name->len}, name))
            continue;
        if (found.p != NULL)
            return (struct str){NULL, 0};
        found = (struct str){field->value.base, field->value.len};
    }
    return found;
}

/* Whether there is one to hand on. */
static bool keep_if(struct http_request *request, struct str name,
                    bool (*is_valid)(struct str text))
{
    struct str value = field_combined(request, name, ",");
    bool keeps = value.p != NULL && is_valid != NULL && is_valid(value);
    if (value.p != NULL && !keeps)
        http_remove_request_header(request, name);
    return keeps;
}

void trace_begin(struct http_request *request)
{
    if (!trace_arrive(only(request, STR("traceparent")), request->conn->trusted, &request->trace,
                      &request->trace_parent))
        return;
    if (request->trace.told)
        request->has_tracestate = keep_if(request, STR("tracestate"),
                                          request->trace_parent != 0 ? trace_state_valid : NULL);
    if (trace_hands_on_baggage())
        request->has_baggage = keep_if(request, STR("baggage"), trace_baggage_valid);
}

void trace_end(const struct http_request *request, const struct access_record *record)
{
    const struct trace_request about = {
        .link = request->trace,
        .parent = request->trace_parent,
        .began_us = request->started_us,
        .ended_us = request->started_us + record->us,
        .parts_us = request->parts_us,
        .pattern = request->route != NULL ? http_route_pattern(request->route) : STR(""),
        .peer = {request->conn->peer, request->conn->peer_length},
        .record = record,
    };
    trace_write_request(&about);
}

struct trace_link http_trace_part(const struct http_request *request, size_t part)
{
    return trace_is(&request->trace) ? trace_of_part(&request->trace, part) : request->trace;
}

struct str http_trace_header(struct http_request *request, struct str name)
{
    bool is_state = str_eq(name, STR("tracestate"));
    if (!(is_state ? request->has_tracestate : request->has_baggage))
        return (struct str){NULL, 0};
    return http_forward_header(request, name);
}
