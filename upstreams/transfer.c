/* What curl reports of a call in flight: it connects, it sends, the answer comes in. Each may stop
 * the transfer; why, stands in call->refused. */
#include "upstreams/internal.h"

bool up_call_header(struct up_call *call, const char *line, size_t n)
{
    call->header_bytes += (uint32_t)n;
    if (n <= 2)
        call->head_complete = true;
    else if (n >= 5 && memcmp(line, "HTTP/", 5) == 0)
        call->head_complete = false; /* what came before was a 1xx. Trailers come here too */
    if (call->header_bytes <= MAX_HEADER_BYTES && ++call->header_lines <= MAX_HEADER_LINES)
        return true;
    call->refused = REFUSED_HEADERS;
    return false;
}

bool up_call_body(struct up_call *call, const char *bytes, size_t n)
{
    if (buf_append(&call->body, bytes, n))
        return true;
    call->refused = REFUSED_BODY;
    return false;
}

/* A kept-alive connection may end when a request was sent and before a byte of the answer came.
 * curl then sends it anew over another connection, up to five times and whatever it is
 * (Curl_retry_request() in its transfer.c). That is right for a GET. What else was sent may have
 * been done already, so that it must not be sent again. (A connection that has ended before is seen
 * before anything is sent, and replaced.) */
static bool is_second(struct up_call *call)
{
    if (call->sent)
        call->refused = REFUSED_TWICE;
    return call->sent;
}

/* curl opens a connection: from here until it stands, connect_timeout counts. */
bool up_call_connects(struct up_call *call)
{
    uint64_t limit_ms = call->lane->upstream->config->connect_timeout_ms;
    if (is_second(call))
        return false;
    if (call->new_connection)
        return true; /* another address of the same attempt */
    call->new_connection = true;
    call->connect_by_ms = clock_us() / 1000 + limit_ms;
    if (call->connect_by_ms < call->deadline_ms)
        timer_start(call->lane->client->loop, &call->timer, limit_ms);
    return true;
}

bool up_call_sends(struct up_call *call)
{
    if (is_second(call))
        return false;
    call->sent = true;
    return true;
}
