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

/* -- header fields, where they are wanted -- */

/* A line that begins with a blank goes on with the one before it (RFC 9112 section 5.2). */
static bool note_continued(struct attempt *attempt, struct str text)
{
    struct buf *lines = &attempt->lines;
    if (lines->n == 0)
        return true;
    lines->p[lines->n - 1] = ' ';
    return buf_append(lines, text.p, text.n) && buf_append(lines, "", 1);
}

/* "Name: value\r\n" becomes name, NUL, value, NUL. A NUL of the upstream's own ends there what it
 * stands in; a line without a colon is none. */
static bool note_line(struct attempt *attempt, const char *line, size_t n)
{
    struct buf *lines = &attempt->lines;
    struct str text = {line, n};
    while (text.n != 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    if (line[0] == ' ' || line[0] == '\t')
        return note_continued(attempt, trimmed(text));
    const char *colon = memchr(text.p, ':', text.n);
    if (colon == NULL || colon == text.p || memchr(text.p, '\0', text.n) != NULL)
        return true;
    struct str name = {text.p, (size_t)(colon - text.p)};
    struct str value = trimmed((struct str){colon + 1, text.n - name.n - 1});
    return buf_append(lines, name.p, name.n) && buf_append(lines, "", 1) &&
           buf_append(lines, value.p, value.n) && buf_append(lines, "", 1);
}

void attempt_read_fields(struct attempt *attempt)
{
    struct buf *fields = &attempt->fields;
    const char *at = attempt->lines.p, *end = at + attempt->lines.n;
    buf_clear(fields);
    while (at != end) {
        struct str name = str_from(at);
        struct str value = str_from(at + name.n + 1);
        if (!buf_append(fields, &(struct up_header){name, value}, sizeof(struct up_header)))
            break;
        at = value.p + value.n + 1;
    }
    attempt->result.headers = (const struct up_header *)(const void *)fields->p;
    attempt->result.header_count = fields->n / sizeof(struct up_header);
}

/* `n` counts what ends the line. */
static bool note_header(struct attempt *attempt, const char *line, size_t n)
{
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        buf_clear(&attempt->lines); /* what came before was a 1xx */
        return true;
    }
    return n <= 2 || attempt->head_complete || note_line(attempt, line, n);
}

bool attempt_header(struct attempt *attempt, const char *line, size_t n)
{
    if (attempt->call->wants_headers && !note_header(attempt, line, n)) {
        attempt->refused = REFUSED_HEADERS;
        return false;
    }
    attempt->header_bytes += (uint32_t)n;
    if (n <= 2)
        attempt->head_complete = true;
    else if (n >= 5 && memcmp(line, "HTTP/", 5) == 0)
        attempt->head_complete = false; /* what came before was a 1xx. Trailers come here too */
    else if ((line[0] | ' ') == 'r')
        read_retry_after(attempt, line, n);
    if (attempt->header_bytes <= MAX_HEADER_BYTES && ++attempt->header_lines <= MAX_HEADER_LINES)
        return true;
    attempt->refused = REFUSED_HEADERS;
    return false;
}

bool attempt_body(struct attempt *attempt, const char *bytes, size_t n)
{
    if (buf_append(&attempt->body, bytes, n))
        return true;
    attempt->refused = REFUSED_BODY;
    return false;
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
    attempt->sent = true;
    return true;
}
