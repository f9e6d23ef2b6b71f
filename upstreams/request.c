/* What a call sends: written once when it starts, sent by each of its attempts. */
#include "upstreams/internal.h"

enum { DEADLINE_DIGITS = 10 };

bool is_target(struct str target)
{
    if (target.n != 0 && target.p[0] != '/' && target.p[0] != '?')
        return false;
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= ' ' || target.p[i] > '~' || target.p[i] == '#')
            return false;
    return true;
}

static bool ends_line(struct str s)
{
    return memchr(s.p, '\n', s.n) || memchr(s.p, '\r', s.n) || memchr(s.p, '\0', s.n);
}

/* With another Host than the upstream's, unless that is NULL. */
static bool write_stream_lines(struct buf *buf, const struct upstream *up, struct str host)
{
    const char *lines = up->stream_lines;
    size_t n = up->stream_lines_length + 1, after = up->host_at + up->host_length; /* its NUL too */
    if (host.p == NULL || ends_line(host))
        return buf_append(buf, lines, n);
    return buf_append(buf, lines, up->host_at) && buf_append(buf, "\r\nHost: ", 8) &&
           buf_append(buf, host.p, host.n) && buf_append(buf, lines + after, n - after);
}

/* All of the request's lines, in what curl takes for its target:
 *
 *     /v1/promo?a=b HTTP/1.1        target, and the version that belongs there
 *     X-Request-Id: 0123            this call's lines
 *     Host: promo:9101              the upstream's
 *     Accept-Encoding: gzip, ...
 *     User-Agent: gateway           curl writes " HTTP/1.1" and the line's end behind it
 *
 * curl writes header lines through its printf, byte by byte, and looks through them again and
 * again; a target it copies. Together with a URL that was taken apart before, this spares a fifth
 * of the time that a call takes in user space. What comes from outside can't end a line early:
 * targets and values that try are refused here, those of the configuration in upstream.c. */
bool call_write_request(struct up_call *call, const struct up_request *request)
{
    struct upstream *up = request->upstream;
    struct buf *buf = &call->request;
    struct str target = request->target;
    bool is_traced = trace_is(&request->trace) && request->trace.told;
    bool needs_root = up->prefix_length == 0 && (target.n == 0 || target.p[0] != '/');
    buf_clear(buf);
    if (request->stream != NULL && request->stream->length != UINT64_MAX &&
        request->stream->length > INT64_MAX)
        return false;
    if (!is_target(target) || !buf_append(buf, up->prefix, up->prefix_length) ||
        !buf_append(buf, "/", needs_root) || !buf_append(buf, target.p, target.n) ||
        !buf_append(buf, " HTTP/1.1", 9))
        return false;
    for (size_t i = 0; i < request->header_count; i++) {
        struct str name = request->headers[i].name, value = request->headers[i].value;
        if (ends_line(name) || ends_line(value) ||
            (request->stream != NULL && upstream_owns_header(up, name)) ||
            (is_traced && str_caseeq(name, STR("traceparent"))))
            continue;
        if (!buf_append(buf, "\r\n", 2) || !buf_append(buf, name.p, name.n) ||
            !buf_append(buf, ": ", 2) || !buf_append(buf, value.p, value.n))
            return false;
    }
    call->trace_at = 0;
    if (is_traced) {
        static const char name[] = "\r\ntraceparent: ";
        if (!buf_append(buf, name, sizeof(name) - 1) || !buf_reserve(buf, TRACE_PARENT_TEXT))
            return false;
        buf->n += TRACE_PARENT_TEXT; /* written for each attempt, by call_tell_trace() */
        call->trace_at = buf->n - TRACE_PARENT_TEXT;
    }
    struct str deadline_header = up->config->deadline_header;
    call->deadline_at = 0;
    if (deadline_header.n != 0) {
        if (!buf_printf(buf, "\r\n%s: %*s", deadline_header.p, DEADLINE_DIGITS, ""))
            return false;
        call->deadline_at = buf->n - DEADLINE_DIGITS;
    }
    if (request->stream != NULL)
        return write_stream_lines(buf, up, request->host);
    return buf_append(buf, up->lines, up->lines_length + 1); /* its NUL too */
}

/* Blanks in front of a header's value mean nothing (RFC 9112 section 5.1), so that the place of
 * this one is always as wide and the rest of the request stays where it is. */
void call_tell_deadline(const struct attempt *attempt, uint64_t now_ms)
{
    struct up_call *call = attempt->call;
    char *at = call->request.p + call->deadline_at;
    uint64_t left = attempt->deadline_ms > now_ms ? attempt->deadline_ms - now_ms : 0;
    for (size_t i = DEADLINE_DIGITS; i-- > 0; left /= 10)
        at[i] = left != 0 || i == DEADLINE_DIGITS - 1 ? (char)('0' + left % 10) : ' ';
}

void call_tell_trace(struct attempt *attempt)
{
    struct up_call *call = attempt->call;
    struct trace_link link = call->trace;
    link.span = attempt->span = trace_new_span();
    trace_parent_put(call->request.p + call->trace_at, &link);
}
