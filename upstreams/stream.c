/* A streamed call's side of curl: the answer is handed on as it comes, the request's body is asked
 * for as it goes.
 *
 *   upstream -> socket -> curl -> stream_body -> up_stream.body    false: curl keeps these bytes
 * and reads no more; the upstream's window closes upstream <- socket <- curl <- stream_read <-
 * up_stream.read    nothing yet: curl asks no more
 *
 * Either goes on after up_call_resume(), at the end of the turn: curl's callbacks are no place to
 * tell curl anything. For the same reason a call that is cancelled from within a function of a
 * stream is taken out of curl at the end of the turn only (ATTEMPT_GONE). */
#include "upstreams/internal.h"

#include "base/text.h"

static uint64_t now_ms(const struct attempt *attempt)
{
    return loop_now_ms(attempt->lane->client->loop);
}

/* Only what frames the body may be a transfer coding: nothing else was asked for (RFC 9112 section
 * 6.1), and curl would not undo it here. */
static bool is_coded(const struct up_result *result)
{
    for (size_t i = 0; i < result->header_count; i++)
        if (str_caseeq(result->headers[i].name, STR("Transfer-Encoding")) &&
            !str_caseeq(trimmed(result->headers[i].value), STR("chunked")))
            return true;
    return false;
}

bool stream_head(struct attempt *attempt)
{
    struct up_stream *stream = attempt->call->stream;
    struct up_client *client = attempt->lane->client;
    long status = 0;
    curl_easy_getinfo(attempt->handle->easy, CURLINFO_RESPONSE_CODE, &status);
    fields_read(attempt);
    if (attempt->malformed) { /* whoever reads it after us may read it otherwise */
        attempt->refused = REFUSED_FIELDS;
        return false;
    }
    if (is_coded(&attempt->result)) {
        attempt->refused = REFUSED_CODING;
        return false;
    }
    attempt->flow.told = true;
    attempt->flow.told_us = clock_us();
    attempt->flow.moved_ms = now_ms(attempt);
    call_probe_over(attempt, status >= 500 ? REPORT_BAD : REPORT_GOOD);
    client->in_stream = true;
    stream->head(stream, (int)status, attempt->result.headers, attempt->result.header_count);
    client->in_stream = false;
    if (attempt->step == ATTEMPT_GONE)
        return false;
    attempt_set_timer(attempt);
    return true;
}

size_t stream_body(struct attempt *attempt, const char *bytes, size_t n)
{
    struct up_stream *stream = attempt->call->stream;
    struct up_client *client = attempt->lane->client;
    attempt->flow.moved_ms = now_ms(attempt);
    client->in_stream = true;
    bool taken = stream->body(stream, bytes, n);
    client->in_stream = false;
    if (attempt->step == ATTEMPT_GONE)
        return 0;
    attempt->flow.full = !taken;
    return taken ? n : CURL_WRITEFUNC_PAUSE;
}

/* From here on the answer has its timeout. */
static void all_is_read(struct attempt *attempt)
{
    attempt->flow.all_read = true;
    attempt->deadline_ms = now_ms(attempt) + attempt->call->timeout_ms;
    attempt_set_timer(attempt);
}

static size_t refuse(struct attempt *attempt)
{
    attempt->refused = REFUSED_UPLOAD;
    return CURL_READFUNC_ABORT;
}

/* curl would send more than the announced length, and take less for all there is. */
size_t stream_read(struct attempt *attempt, char *to, size_t room)
{
    struct up_stream *stream = attempt->call->stream;
    struct up_client *client = attempt->lane->client;
    struct flow *flow = &attempt->flow;
    uint64_t left = stream->length == UINT64_MAX ? UINT64_MAX : stream->length - flow->read_bytes;
    bool is_first = !flow->asked;
    client->in_stream = true;
    ssize_t n = stream->read(stream, to, left < room ? (size_t)left : room);
    client->in_stream = false;
    flow->asked = true;
    flow->moved_ms = now_ms(attempt);
    if (n == UP_READ_NOTHING_YET) {
        flow->empty = true;
        call_probe_over(attempt, REPORT_NOTHING); /* it waits for the client */
        return CURL_READFUNC_PAUSE;
    }
    bool is_short = n == 0 && left != 0 && left != UINT64_MAX;
    if (attempt->step == ATTEMPT_GONE || n < 0 || (size_t)n > room || (uint64_t)n > left ||
        is_short)
        return refuse(attempt);
    flow->read_bytes += (uint64_t)n;
    attempt->call->was_read = attempt->call->was_read || n != 0;
    if (n == 0 || (uint64_t)n == left)
        all_is_read(attempt);
    else if (is_first)
        attempt_set_timer(attempt); /* it was that of the timeout */
    return (size_t)n;
}

/* -- time -- */

uint64_t stream_end_ms(const struct attempt *attempt)
{
    const struct flow *flow = &attempt->flow;
    const struct up_stream *stream = attempt->call->stream;
    if (flow->full || flow->empty)
        return UINT64_MAX;
    if (!flow->told && (!flow->asked || flow->all_read))
        return attempt->deadline_ms;
    return stream->idle_ms != 0 ? flow->moved_ms + stream->idle_ms : UINT64_MAX;
}

void stream_note_sent(struct attempt *attempt, uint64_t sent)
{
    if (sent != attempt->flow.sent_bytes)
        attempt->flow.moved_ms = now_ms(attempt);
    attempt->flow.sent_bytes = sent;
}

/* -- the end of the turn -- */

/* Whether all of an answer came whose request wasn't sent by then, as with 413: curl would only
 * check that once it is. fd: its socket, -1 = it is gone. */
static bool is_whole(struct attempt *attempt, int fd)
{
    CURL *easy = attempt->handle->easy;
    long status = 0;
    curl_off_t length = -1, came = 0;
    char byte;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &came);
    if (status == 204 || status == 304)
        return true;
    if (length >= 0)
        return came == length;
    if (fd < 0)
        return false;
    if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
        return true; /* it isn't the connection's end that ended the answer */
    for (size_t i = 0; i < attempt->result.header_count; i++)
        if (str_caseeq(attempt->result.headers[i].name, STR("Transfer-Encoding")))
            return false;
    return true;
}

bool stream_watched(struct attempt *attempt, int fd, int what)
{
    struct flow *flow = &attempt->flow;
    bool is_paused = flow->full || flow->empty;
    bool is_over = flow->told && !flow->full && (what == CURL_POLL_OUT || flow->empty);
    if (is_over && (what & CURL_POLL_IN) == 0 && flow->early == NOT_EARLY) {
        flow->early = is_whole(attempt, fd) ? EARLY_WHOLE : EARLY_CUT;
        lane_stir(attempt);
    }
    return is_paused;
}

bool stream_is_whole(struct attempt *attempt)
{
    return attempt->flow.told && !attempt->flow.full && is_whole(attempt, -1);
}

void stream_go_on(struct attempt *attempt)
{
    struct flow *flow = &attempt->flow;
    if (flow->early != NOT_EARLY) {
        attempt_ended(attempt, flow->early == EARLY_WHOLE ? CURLE_OK : CURLE_PARTIAL_FILE);
        return;
    }
    if (!flow->full && !flow->empty)
        return;
    flow->full = flow->empty = false;
    flow->moved_ms = now_ms(attempt);
    CURLcode code = curl_easy_pause(attempt->handle->easy, CURLPAUSE_CONT);
    if (attempt->step == ATTEMPT_GONE)
        return;
    if (code != CURLE_OK)
        attempt_ended(attempt, code); /* of what it hands on itself, curl leaves the end to us */
    else
        attempt_set_timer(attempt);
}
