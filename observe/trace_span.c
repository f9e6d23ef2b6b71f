/* A span as JSON: opentelemetry-proto's Span in the mapping that OTLP/HTTP prescribes (ids in
 * hexadecimal, 64-bit integers as strings). As with lines of the access log, room is made for the
 * longest that it can become, and then written without looking at what is left. */
#include "base/put.h"
#include "observe/access_text.h"
#include "observe/trace_internal.h"

/* Names of members, numbers and ids of a span, and of one attribute. */
enum { FRAME_MAX = 384, ATTRIBUTE_FRAME_MAX = 96 };
/* Of Span.flags, beside those of the traceparent. */
enum { FLAG_SAMPLED = 0x1, FLAG_KNOWN = 0x100, FLAG_REMOTE = 0x200 };

#define PUT(at, literal) put_str((at), STR(literal))

static size_t text_bound(struct str text)
{
    return 2 + ESCAPED_MAX * (text.n < ACCESS_VALUE_MAX ? text.n : ACCESS_VALUE_MAX);
}

static size_t bound(const struct trace_span *span)
{
    size_t n =
        FRAME_MAX + text_bound(span->name) + text_bound(span->error) + text_bound(span->message);
    for (size_t i = 0; i < span->attribute_count; i++)
        n += ATTRIBUTE_FRAME_MAX + strlen(span->attributes[i].key) +
             text_bound(span->attributes[i].text);
    return n;
}

static char *put_text(char *at, struct str text)
{
    return put_quoted(at, access_cut(text));
}

static char *put_key(char *at, const char *key)
{
    at = PUT(at, "{\"key\":\"");
    at = put_str(at, str_from(key));
    return PUT(at, "\",\"value\":{");
}

static char *put_text_attribute(char *at, const char *key, struct str text)
{
    at = put_key(at, key);
    at = PUT(at, "\"stringValue\":");
    at = put_text(at, text);
    return PUT(at, "}},");
}

static char *put_attribute(char *at, const struct trace_attribute *attribute)
{
    if (attribute->text.p != NULL)
        return attribute->text.n != 0 ? put_text_attribute(at, attribute->key, attribute->text)
                                      : at;
    at = put_key(at, attribute->key);
    at = PUT(at, "\"intValue\":\"");
    if (attribute->number < 0)
        *at++ = '-';
    at = put_number(at, attribute->number < 0 ? -(uint64_t)attribute->number
                                              : (uint64_t)attribute->number);
    return PUT(at, "\"}},");
}

static char *put_ids(char *at, const struct trace_span *span)
{
    at = PUT(at, "{\"traceId\":\"");
    at = trace_id_put(at, &span->link);
    at = PUT(at, "\",\"spanId\":\"");
    at = put_hex(at, span->id);
    if (span->link.span != 0) {
        at = PUT(at, "\",\"parentSpanId\":\"");
        at = put_hex(at, span->link.span);
    }
    at = PUT(at, "\",\"flags\":");
    return put_number(at, FLAG_SAMPLED | FLAG_KNOWN | (span->has_remote_parent ? FLAG_REMOTE : 0));
}

static char *put_times(char *at, const struct trace_span *span, uint64_t unix_us)
{
    uint64_t end_us = span->end_us > span->begin_us ? span->end_us : span->begin_us;
    at = PUT(at, ",\"startTimeUnixNano\":\"");
    at = put_number(at, (span->begin_us + unix_us) * 1000);
    at = PUT(at, "\",\"endTimeUnixNano\":\"");
    at = put_number(at, (end_us + unix_us) * 1000);
    return PUT(at, "\"");
}

static char *put_attributes(char *at, const struct trace_span *span)
{
    char *begin = at = PUT(at, ",\"attributes\":[");
    for (size_t i = 0; i < span->attribute_count; i++)
        at = put_attribute(at, &span->attributes[i]);
    if (span->error.n != 0)
        at = put_text_attribute(at, "error.type", span->error);
    if (at != begin)
        at--; /* the last comma */
    return PUT(at, "]");
}

static char *put_status(char *at, const struct trace_span *span)
{
    if (span->error.n == 0)
        return at;
    at = PUT(at, ",\"status\":{\"code\":2"); /* STATUS_CODE_ERROR */
    if (span->message.n != 0) {
        at = PUT(at, ",\"message\":");
        at = put_text(at, span->message);
    }
    return PUT(at, "}");
}

bool trace_span_put(struct buf *to, const struct trace_span *span, uint64_t unix_us)
{
    if (!buf_reserve(to, bound(span)))
        return false;
    char *at = to->p + to->n;
    at = put_ids(at, span);
    at = PUT(at, ",\"name\":");
    at = put_text(at, span->name);
    at = PUT(at, ",\"kind\":");
    at = put_number(at, span->kind);
    at = put_times(at, span, unix_us);
    at = put_attributes(at, span);
    at = put_status(at, span);
    at = PUT(at, "}");
    to->n = (size_t)(at - to->p);
    return true;
}

/* Read once a configuration, so written plainly. */
void trace_head(struct buf *to, const struct str *attributes, size_t count, struct str version)
{
    buf_printf(to, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    for (size_t i = 0; i + 1 < count; i += 2) {
        struct str name = access_cut(attributes[i]), value = access_cut(attributes[i + 1]);
        bool fits = buf_reserve(to, text_bound(name) + text_bound(value) + ATTRIBUTE_FRAME_MAX);
        gw_assert(fits);
        char *at = to->p + to->n;
        at = i != 0 ? PUT(at, ",{\"key\":") : PUT(at, "{\"key\":");
        at = put_quoted(at, name);
        at = PUT(at, ",\"value\":{\"stringValue\":");
        at = put_quoted(at, value);
        at = PUT(at, "}}");
        to->n = (size_t)(at - to->p);
    }
    buf_printf(to,
               "]},\"scopeSpans\":[{\"scope\":{\"name\":\"gateway\",\"version\":\"%.*s\"},"
               "\"spans\":[",
               (int)version.n, version.p);
}
