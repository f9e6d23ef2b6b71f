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

/* "HTTP/1.1 200 OK" */
static int status_of(struct str line)
{
    const char *blank = memchr(line.p, ' ', line.n);
    size_t at = blank != NULL ? (size_t)(blank - line.p) + 1 : line.n;
    int status = 0;
    for (size_t i = at; i < line.n && i < at + 3 && line.p[i] >= '0' && line.p[i] <= '9'; i++)
        status = status * 10 + (line.p[i] - '0');
    return status;
}

/* `n` counts what ends the line. */
static bool note_header(struct attempt *attempt, const char *line, size_t n)
{
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        buf_clear(&attempt->lines); /* what came before was a 1xx */
        attempt->status = status_of((struct str){line, n});
        return true;
    }
    return n <= 2 || attempt->head_complete || note_line(attempt, line, n);
}

/* The stream's functions run inside curl's, in which no transfer can be ended: who cancels the call
 * there is told to curl by what we answer. */
static void enter(struct attempt *attempt)
{
    attempt->lane->client->inside = attempt;
    attempt->moved_ms = loop_now_ms(attempt->lane->client->loop);
}

/* False: the call was cancelled. */
static bool leave(struct attempt *attempt)
{
    attempt->lane->client->inside = NULL;
    return attempt->step == ATTEMPT_IN_FLIGHT;
}

static bool tell_head(struct attempt *attempt)
{
    struct up_stream *stream = attempt->call->stream;
    attempt->told_head = true;
    timer_start(attempt->lane->client->loop, &attempt->timer, stream->idle_ms);
    attempt_read_fields(attempt);
    enter(attempt);
    stream->head(stream, attempt->status, attempt->result.headers, attempt->result.header_count);
    return leave(attempt);
}

bool attempt_header(struct attempt *attempt, const char *line, size_t n)
{
    if (attempt->step == ATTEMPT_GONE)
        return false;
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
    if (attempt->header_bytes > MAX_HEADER_BYTES || ++attempt->header_lines > MAX_HEADER_LINES) {
        attempt->refused = REFUSED_HEADERS;
        return false;
    }
    bool is_final = n <= 2 && attempt->status >= 200;
    return attempt->call->stream == NULL || !is_final || attempt->told_head || tell_head(attempt);
}

/* -- streams -- */

static enum attempt_taken stream_body(struct attempt *attempt, const char *bytes, size_t n)
{
    struct up_stream *stream = attempt->call->stream;
    if (attempt->step == ATTEMPT_GONE || stream->body == NULL)
        return attempt->step == ATTEMPT_GONE ? TAKEN_NEVER : TAKEN;
    enter(attempt);
    bool taken = stream->body(stream, bytes, n);
    if (!leave(attempt))
        return TAKEN_NEVER;
    attempt->is_paused = !taken;
    return taken ? TAKEN : TAKEN_LATER;
}

size_t attempt_read(struct attempt *attempt, char *to, size_t room)
{
    struct up_stream *stream = attempt->call->stream;
    if (attempt->step == ATTEMPT_GONE)
        return CURL_READFUNC_ABORT;
    enter(attempt);
    ssize_t n = stream->read(stream, to, room);
    leave(attempt);
    attempt->waits_for_body = n == UP_READ_NOTHING_YET;
    if (n == UP_READ_BROKEN)
        attempt->refused = REFUSED_UPLOAD;
    attempt->body_begun |= n > 0;
    if (n == 0 && !attempt->body_sent && !attempt->told_head)
        timer_start(attempt->lane->client->loop, &attempt->timer, attempt->call->timeout_ms);
    attempt->body_sent |= n == 0;
    return n >= 0                     ? (size_t)n
           : n == UP_READ_NOTHING_YET ? CURL_READFUNC_PAUSE
                                      : CURL_READFUNC_ABORT;
}

enum attempt_taken attempt_body(struct attempt *attempt, const char *bytes, size_t n)
{
    if (attempt->call->stream != NULL)
        return stream_body(attempt, bytes, n);
    if (buf_append(&attempt->body, bytes, n))
        return TAKEN;
    attempt->refused = REFUSED_BODY;
    return TAKEN_NEVER;
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
