/* HTTP/2's frames, before h2o acts on them. A connection reads each through a pointer to a
 * function, which is ours from the start and calls h2o's (h2o sets that anew after the preface and
 * for a head of several frames). DATA and trailers of streams with a body under way are taken here,
 * all others left to h2o. As h2o counts only DATA frames that it is given, the connection's window
 * is kept here too; it is opened again at once, so that a stream whose reader waits does not hold
 * up the others.
 *
 * A reply that ends before the body does is followed by RST_STREAM with NO_ERROR (RFC 9113 section
 * 8.1): what the client still sends is of no use, and the reply stands. But not at once: curl 7.88
 * drops a reply when its stream closes while it sends. So the stream, which h2o has forgotten by
 * then, is a straggler for a while, whose client may read and stop by itself. Some clients read
 * nothing before they have sent everything: when little is left, its client is let send it.
 *
 * And each frame is counted before it is acted on, by what http2_abuse.h says; so is what comes of
 * it: a request that a frame has called off, whoever sent the RST_STREAM, a head that was refused.
 * Over a limit h2o is told of an error: it says GOAWAY (ENHANCE_YOUR_CALM) and closes, which
 * disposes of what is under way. */
#include "http/http_internal.h"

#include <stdlib.h>
#include "http/http2_body.h"

enum {
    MAX_STRAGGLERS = 100,     /* of a connection */
    SWALLOWED_MAX = 64 * 1024 /* bytes left that are cheaper to take than a client that waits */
};

/* A stream that was answered before its body's end. */
struct straggler {
    struct http_conn *conn;
    struct http2_conn *h2o;
    struct straggler *next, **link; /* of the connection's */
    struct timer timer;
    uint32_t stream_id;
    size_t credit;
    size_t lacks; /* credit, to send all that was announced; 0: nothing, or too much */
};

/* h2o's own reader of frames but amid a head, the same for all connections. */
static http2_expect_fn *_Atomic h2o_frames;

static http2_expect_fn expect;

/* What h2o does for frames that it is given. */
static void consume_connection_window(struct http2_conn *h2o, uint32_t n)
{
    ssize_t full = H2O_HTTP2_SETTINGS_HOST.initial_window_size;
    h2o->input_window -= n;
    if (h2o->input_window * 2 >= full)
        return;
    h2o_http2_encode_window_update_frame(&h2o->output, 0, (int32_t)(full - h2o->input_window));
    h2o_http2_conn_request_write(h2o);
    h2o->input_window = full;
}

/* The fields are dropped (RFC 9110 section 6.5.1), but must be parsed: the compression table goes
 * on with them. */
static int parse_trailers(struct http2_conn *h2o, h2o_req_t *req, const struct http2_frame *frame,
                          const char **error_r)
{
    struct http2_headers headers;
    size_t fields = req->headers.size, length;
    int error = h2o_http2_decode_headers_payload(&headers, frame, error_r);
    if (error != 0)
        return error;
    if ((frame->flags & FLAG_END_STREAM) == 0) {
        *error_r = "a trailer section must end its stream";
        return H2O_HTTP2_ERROR_PROTOCOL;
    }
    if ((frame->flags & FLAG_END_HEADERS) == 0) {
        *error_r = "a trailer section of several frames";
        return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    }
    error = h2o_hpack_parse_headers(req, &h2o->input_table, headers.p, headers.n, NULL, &length,
                                    NULL, error_r);
    req->headers.size = fields;
    return error;
}

/* A trailer section ends the body; one that is no good ends the connection, and the answer is for
 * the log. */
static int take_trailers(struct http2_body *body, const struct http2_frame *frame,
                         const char **error_r)
{
    int error = parse_trailers(body->h2o, &body->stream->req, frame, error_r);
    if (error == 0)
        http2_body_end(body);
    else if (body->request != NULL && http2_body_wanted(body))
        problem_reply_status(body->request, error == H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM ? 431 : 400,
                             *error_r);
    return error;
}

/* -- stragglers -------------------------------------------------------------------------------- */

static void forget(struct straggler *straggler)
{
    timer_stop(straggler->conn->http->loop, &straggler->timer);
    *straggler->link = straggler->next;
    if (straggler->next != NULL)
        straggler->next->link = straggler->link;
    free(straggler);
}

static void stop_straggler(struct timer *timer)
{
    struct straggler *straggler = CONTAINER_OF(timer, struct straggler, timer);
    struct http2_conn *h2o = straggler->h2o;
    if (h2o->state < HTTP2_CLOSING) {
        h2o_http2__encode_rst_stream_frame(&h2o->output, straggler->stream_id, 0);
        h2o_http2_conn_request_write(h2o);
    }
    forget(straggler);
}

static void let_it_finish(struct timer *timer)
{
    struct straggler *straggler = CONTAINER_OF(timer, struct straggler, timer);
    struct http_conn *conn = straggler->conn;
    struct http2_conn *h2o = straggler->h2o;
    if (h2o->state < HTTP2_CLOSING) {
        h2o_http2_encode_window_update_frame(&h2o->output, straggler->stream_id,
                                             (int32_t)straggler->lacks);
        h2o_http2_conn_request_write(h2o);
        straggler->credit += straggler->lacks;
    }
    timer_init(&straggler->timer, stop_straggler);
    timer_start(conn->http->loop, &straggler->timer, conn->http->server->linger_ms);
}

void http2_straggler(const struct http2_body *body)
{
    struct http_conn *conn = body->conn;
    size_t count = 0;
    for (const struct straggler *other = conn->stragglers; other != NULL; other = other->next)
        count++;
    if (count == MAX_STRAGGLERS)
        return; /* h2o resets the stream at its next frame */
    struct straggler *straggler = h2o_mem_alloc(sizeof(*straggler));
    *straggler = (struct straggler){.conn = conn,
                                    .h2o = body->h2o,
                                    .next = conn->stragglers,
                                    .link = &conn->stragglers,
                                    .stream_id = body->stream->id,
                                    .credit = body->credit};
    if (straggler->next != NULL)
        straggler->next->link = &straggler->next;
    conn->stragglers = straggler;
    uint64_t left = body->announced - body->received;
    if (body->announced != UINT64_MAX && left > body->credit &&
        left - body->credit <= SWALLOWED_MAX)
        straggler->lacks = (size_t)left - body->credit;
    timer_init(&straggler->timer, straggler->lacks != 0 ? let_it_finish : stop_straggler);
    timer_start(conn->http->loop, &straggler->timer,
                straggler->lacks != 0 ? 0 : conn->http->server->linger_ms);
}

/* Of an honest client, which need not know yet that it was answered: to h2o they'd be a head out of
 * order, which ends the connection. */
static int take_trailers_of_straggler(struct straggler *straggler, const struct http2_frame *frame,
                                      const char **error_r)
{
    struct http2_conn *h2o = straggler->h2o;
    h2o_req_t scratch;
    h2o_init_request(&scratch, &h2o->super, NULL);
    int error = parse_trailers(h2o, &scratch, frame, error_r);
    h2o_mem_clear_pool(&scratch.pool);
    if (error == 0)
        forget(straggler);
    return error;
}

static void take_from_straggler(struct straggler *straggler, const struct http2_frame *frame)
{
    if ((frame->flags & FLAG_END_STREAM) != 0)
        forget(straggler);
    else if (frame->n > straggler->credit)
        stop_straggler(&straggler->timer);
    else
        straggler->credit -= frame->n;
}

void http2_closed(struct http_conn *conn)
{
    while (conn->stragglers != NULL)
        forget(conn->stragglers);
}

/* -- replies that are relayed ------------------------------------------------------------------ */

/* The client has reset a stream. h2o ends such a one when it next writes something of it; to a
 * reply that has nothing to send, or no window to send it in, that may be never. */
static void end_relay(struct http_conn *conn, uint32_t stream_id)
{
    h2o_linklist_t *node = conn->relaying.next;
    for (; node != &conn->relaying; node = node->next) {
        struct http_request *request = CONTAINER_OF(node, struct http_request, relaying);
        struct http2_stream *stream = CONTAINER_OF(request->h2o, struct http2_stream, req);
        if (stream->id != stream_id)
            continue;
        if (stream->state == HTTP2_END && !h2o_linklist_is_linked(&stream->link) &&
            !stream->scheduler._self_is_active)
            h2o_http2_stream_close((struct http2_conn *)request->h2o->conn, stream);
        return;
    }
}

/* -- every frame ------------------------------------------------------------------------------- */

static struct http2_body *find_body(const struct http_conn *conn, uint32_t stream_id)
{
    struct http2_body *body = conn->bodies;
    while (body != NULL && body->stream->id != stream_id)
        body = body->next;
    return body;
}

static struct straggler *find_straggler(const struct http_conn *conn, uint32_t stream_id)
{
    struct straggler *straggler = conn->stragglers;
    while (straggler != NULL && straggler->stream_id != stream_id)
        straggler = straggler->next;
    return straggler;
}

/* Bytes of answers that went out, of what the client's windows let through. */
static uint64_t sent(const struct http2_reading *reading, const struct http2_conn *h2o)
{
    return H2O_HTTP2_SETTINGS_DEFAULT.initial_window_size + reading->granted -
           (uint64_t)h2o->output_window;
}

static bool spend(struct http_conn *conn, const struct http2_conn *h2o, enum abuse kind)
{
    return kind == ABUSE_KINDS ||
           abuse_spend(&conn->http2.budget, kind, loop_now_ms(conn->http->loop),
                       sent(&conn->http2, h2o));
}

static ssize_t close_for(struct http_conn *conn, const struct http2_conn *h2o, enum abuse kind,
                         const char **error_r)
{
    http_abuse(conn, kind);
    if (h2o->in_flight != NULL)
        guard_abort(conn); /* GOAWAY would wait behind what the client may never read */
    *error_r = abuse_name(kind);
    return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
}

/* What a frame counts as; ABUSE_KINDS: nothing, or what it turns out to be. */
static enum abuse kind_of(const struct http2_conn *h2o, const struct http2_frame *frame,
                          bool is_awaited)
{
    bool acknowledges = (frame->flags & FLAG_ACK) != 0;
    switch (frame->type) {
    case FRAME_DATA:
        if (!is_awaited)
            return ABUSE_STRAY;
        return frame->n < ABUSE_TINY_BYTES && (frame->flags & FLAG_END_STREAM) == 0 ? ABUSE_TINY
                                                                                    : ABUSE_KINDS;
    case FRAME_HEADERS:
        return h2o->state == HTTP2_OPEN ? ABUSE_KINDS : ABUSE_STRAY;
    case FRAME_CONTINUATION:
        return ABUSE_KINDS;
    case FRAME_PRIORITY:
        return ABUSE_PRIORITY;
    case FRAME_SETTINGS:
        return acknowledges ? ABUSE_STRAY : ABUSE_SETTINGS;
    case FRAME_PING:
        return acknowledges ? ABUSE_STRAY : ABUSE_PINGS;
    case FRAME_WINDOW_UPDATE:
        return ABUSE_WINDOWS;
    default:
        return ABUSE_STRAY;
    }
}

/* The client has a reply queued while it doesn't read those before: h2o stops reading, but only
 * at 512 KiB. */
static bool piles_up(struct http2_reading *reading, const struct http2_conn *h2o,
                     const struct http2_frame *frame)
{
    if ((frame->type != FRAME_PING && frame->type != FRAME_SETTINGS) ||
        (frame->flags & FLAG_ACK) != 0)
        return false;
    if (!h2o_socket_is_writing(h2o->sock) || h2o->output->size < reading->queued)
        reading->unread = 0;
    reading->queued = h2o->output->size;
    return ++reading->unread > ABUSE_UNREAD_MAX && h2o_socket_is_writing(h2o->sock);
}

/* A head, or whatever is no body, has as long as a head has under HTTP/1. incomplete: a frame is.
 */
static bool takes_too_long(struct http_conn *conn, bool incomplete)
{
    struct http2_reading *reading = &conn->http2;
    uint64_t now_ms = loop_now_ms(conn->http->loop);
    if (!incomplete && reading->head_frames == 0)
        reading->unended_ms = 0;
    else if (reading->unended_ms == 0)
        reading->unended_ms = now_ms;
    return reading->unended_ms != 0 &&
           now_ms - reading->unended_ms > conn->http->server->config->server.head_timeout_ms;
}

/* Heads of several frames. One that gets too large is made to end here: h2o has it read, and
 * http2.c refuses it, with a line in the log. */
static void follow_head(struct http2_reading *reading, struct http2_frame *frame)
{
    bool begins = frame->type == FRAME_HEADERS;
    if (!begins && (frame->type != FRAME_CONTINUATION || reading->head_frames == 0))
        return;
    reading->head_frames = begins ? 1 : reading->head_frames + 1;
    reading->head_bytes = begins ? frame->n : reading->head_bytes + frame->n;
    if (reading->head_frames > ABUSE_HEAD_FRAMES || reading->head_bytes > HTTP_MAX_HEAD) {
        uint8_t *head = (uint8_t *)(uintptr_t)(frame->payload - FRAME_HEAD);
        head[FRAME_FLAGS] |= FLAG_END_HEADERS;
        frame->flags |= FLAG_END_HEADERS;
        reading->head_over = true;
    }
    if ((frame->flags & FLAG_END_HEADERS) != 0)
        reading->head_frames = 0;
}

static uint32_t increment(const struct http2_frame *frame)
{
    const uint8_t *p = frame->payload;
    return (p[0] & 0x7fu) << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* h2o reads what comes next, and says what it expects after it. */
static ssize_t pass(struct http_conn *conn, struct http2_conn *h2o, const uint8_t *from, size_t n,
                    const char **error_r)
{
    h2o->expect = conn->http2.h2o_expect;
    ssize_t size = h2o->expect(h2o, from, n, error_r);
    conn->http2.h2o_expect = h2o->expect;
    h2o->expect = expect;
    return size;
}

/* Acts on a frame, or has h2o do it: its size, or an error. */
static ssize_t act(struct http_conn *conn, struct http2_conn *h2o, const struct http2_frame *frame,
                   struct http2_body *body, struct straggler *straggler, const char **error_r)
{
    const uint8_t *from = frame->payload - FRAME_HEAD;
    size_t size = FRAME_HEAD + frame->n;
    struct http2_data data;
    int error = 0;
    if (frame->type == FRAME_RST_STREAM && body != NULL)
        body->reset = true;
    if (frame->type == FRAME_RST_STREAM && straggler != NULL)
        forget(straggler);
    if (body != NULL && !body->whole && frame->type == FRAME_HEADERS) {
        error = take_trailers(body, frame, error_r);
    } else if (straggler != NULL && frame->type == FRAME_HEADERS) {
        error = take_trailers_of_straggler(straggler, frame, error_r);
    } else if (frame->type == FRAME_DATA && ((body != NULL && !body->whole) || straggler != NULL)) {
        if ((error = h2o_http2_decode_data_payload(&data, frame, error_r)) != 0)
            return error;
        consume_connection_window(h2o, frame->n);
        if (straggler != NULL)
            take_from_straggler(straggler, frame);
        else
            http2_body_data(body, frame->n, data, (frame->flags & FLAG_END_STREAM) != 0);
    } else {
        ssize_t passed = pass(conn, h2o, from, size, error_r);
        if (passed > 0 && frame->type == FRAME_RST_STREAM)
            end_relay(conn, frame->stream_id);
        return passed;
    }
    return error != 0 ? error : (ssize_t)size;
}

static ssize_t take_frame(struct http_conn *conn, struct http2_conn *h2o, struct http2_frame *frame,
                          const char **error_r)
{
    struct http2_reading *reading = &conn->http2;
    struct http2_body *body = find_body(conn, frame->stream_id);
    struct straggler *straggler = find_straggler(conn, frame->stream_id);
    enum abuse kind = kind_of(h2o, frame, (body != NULL && !body->whole) || straggler != NULL);
    follow_head(reading, frame);
    if (!spend(conn, h2o, kind))
        return close_for(conn, h2o, kind, error_r);
    if (piles_up(reading, h2o, frame))
        return close_for(conn, h2o, ABUSE_UNREAD, error_r);
    if (frame->type == FRAME_CONTINUATION && h2o->state != HTTP2_OPEN) {
        if ((frame->flags & FLAG_END_HEADERS) != 0)
            reading->h2o_expect = h2o_frames;
        return FRAME_HEAD + (ssize_t)frame->n; /* h2o 2.2.5 would look at it for ever */
    }
    if (frame->type > FRAME_CONTINUATION && reading->head_frames == 0)
        return FRAME_HEAD + (ssize_t)frame->n; /* h2o would print a line */
    if (frame->type == FRAME_WINDOW_UPDATE && frame->stream_id == 0 && frame->n == 4)
        reading->granted += increment(frame);

    uint32_t under_way = h2o->pull.open + h2o->pull.half_closed;
    reading->in_frame = true;
    reading->head_refused = false;
    ssize_t size = act(conn, h2o, frame, body, straggler, error_r);
    reading->in_frame = reading->head_over = false;
    if (size == H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM)
        http_abuse(conn, frame->type == FRAME_PRIORITY ? ABUSE_PRIORITY : ABUSE_HEAD);
    if (size > 0 && reading->head_refused && !spend(conn, h2o, ABUSE_REFUSED))
        return close_for(conn, h2o, ABUSE_REFUSED, error_r);
    if (size > 0 && h2o->pull.open + h2o->pull.half_closed < under_way &&
        !spend(conn, h2o, ABUSE_RESETS))
        return close_for(conn, h2o, ABUSE_RESETS, error_r);
    return size;
}

static ssize_t expect(struct http2_conn *h2o, const uint8_t *from, size_t n, const char **error_r)
{
    struct http_conn *conn = h2o->sock->on_close.data;
    struct http2_reading *reading = &conn->http2;
    struct http2_frame frame = {0};
    ssize_t size = reading->prefaced
                       ? h2o_http2_decode_frame(&frame, from, n, &H2O_HTTP2_SETTINGS_HOST, error_r)
                       : pass(conn, h2o, from, n, error_r);
    bool data = reading->prefaced && n > FRAME_TYPE && from[FRAME_TYPE] == FRAME_DATA;
    if (!data && takes_too_long(conn, size == H2O_HTTP2_ERROR_INCOMPLETE))
        return close_for(conn, h2o, ABUSE_SLOW, error_r);
    if (size > 0 && reading->prefaced)
        return take_frame(conn, h2o, &frame, error_r);
    if (size > 0) {
        reading->prefaced = true;
        h2o_frames = reading->h2o_expect;
    }
    return size;
}

void http2_read_frames(struct http_conn *conn, h2o_conn_t *h2o_conn)
{
    struct http2_conn *h2o = (struct http2_conn *)h2o_conn;
    if (conn->http2.h2o_expect != NULL)
        return;
    conn->http2.h2o_expect = h2o->expect;
    h2o->expect = expect;
}

void http2_answered(struct http_conn *conn)
{
    if (!conn->http2.in_frame) /* else it was called off */
        conn->http2.budget.answered++;
}
