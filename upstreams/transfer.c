/* What curl reports of an attempt in flight: it connects, it sends, the answer comes in. Each may
 * stop the transfer; why, stands in attempt->refused. */
#include "base/text.h"
#include "upstreams/internal.h"

/* What an upstream that is busy asks for: RFC 9110 section 10.2.3. */
static void read_retry_after(struct attempt *attempt, const char *line, size_t n)
{
    struct str name = STR("Retry-After:");
    if (n <= name.n || !str_caseeq((struct str){line, name.n}, name))
        return;
    while (n > name.n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
        n--;
    struct str value = {line + name.n, n - name.n};
    attempt->retry_after_us = backoff_retry_after_us(value, clock_unix_ms() / 1000);
}

/* An answer may come behind others that are none yet (1xx), and trailers behind its body. */
static bool is_final(struct attempt *attempt)
{
    long status = 0;
    curl_easy_getinfo(attempt->handle->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200;
}

/* `n` counts what ends the line. */
static bool note_line(struct attempt *attempt, const char *line, size_t n)
{
    if (n <= 2) {
        attempt->head_complete = is_final(attempt);
        return !attempt->head_complete || attempt->call->stream == NULL || stream_head(attempt);
    }
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        buf_clear(&attempt->lines);
        attempt->malformed = false;
    } else {
        if ((line[0] | ' ') == 'r')
            read_retry_after(attempt, line, n);
        if (attempt->call->wants_headers)
            fields_note(attempt, line, n);
    }
    return true;
}

bool attempt_header(struct attempt *attempt, const char *line, size_t n)
{
    attempt->header_bytes += (uint32_t)n;
    attempt->header_lines++;
    if (attempt->header_bytes > MAX_HEADER_BYTES || attempt->header_lines > MAX_HEADER_LINES) {
        attempt->refused = REFUSED_HEADERS;
        return false;
    }
    return attempt->head_complete || note_line(attempt, line, n);
}

size_t attempt_body(struct attempt *attempt, const char *bytes, size_t n)
{
    if (!attempt->head_complete) {
        attempt->refused = REFUSED_SWITCH; /* 101 */
        return 0;
    }
    if (attempt->call->stream != NULL)
        return stream_body(attempt, bytes, n);
    if (buf_append(&attempt->body, bytes, n))
        return n;
    attempt->refused = REFUSED_BODY;
    return 0;
}

/* A kept-alive connection may end when a request was sent and before a byte of the answer came.
 * curl then sends it anew over another connection, up to five times and whatever it is
 * (Curl_retry_request() in its transfer.c). That is right for a GET. What else was sent may have
 * been done already, so that it must not be sent again. (A connection that has ended before is seen
 * before anything is sent, and replaced.) */
static bool is_second(struct attempt *attempt)
{
    if (attempt->sent)
        attempt->refused = REFUSED_TWICE;
    return attempt->sent;
}

/* curl opens a connection: from here until it stands, connect_timeout counts. */
bool attempt_connects(struct attempt *attempt)
{
    uint64_t limit_ms = attempt->lane->upstream->config->connect_timeout_ms;
    if (is_second(attempt))
        return false;
    if (attempt->new_connection)
        return true; /* another address of the same attempt */
    attempt->new_connection = true;
    attempt->connect_by_ms = clock_us() / 1000 + limit_ms;
    if (attempt->connect_by_ms < attempt->deadline_ms)
        timer_start(attempt->lane->client->loop, &attempt->timer, limit_ms);
    return true;
}

bool attempt_sends(struct attempt *attempt)
{
    if (is_second(attempt))
        return false;
    attempt->sent = attempt->call->once;
    return true;
}
