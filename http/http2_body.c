/* Bodies under HTTP/2, as they come. h2o 2.2.5 runs a handler when the whole body lies in memory or
 * in a mapped file, and lets each of 100 streams of a connection send 16 MiB before anybody has
 * asked for it. Here a handler runs as soon as the head is in, DATA frames go straight into its
 * reader's memory, and a client may send what the reader has taken: nothing is spilled.
 *
 * It takes three things of h2o's. Between the fields of a head being parsed (http2.c stands there)
 * and h2o acting on them we take the stream's body buffer away: so h2o sees a request without a
 * body and runs it. A connection reads each frame through a pointer to a function, which is ours
 * from the first head on (h2o sets it anew for a head of several frames): it takes the frames of
 * streams with a body under way, and leaves all others to h2o. And flow control (RFC 9113
 * section 5.2) is in no other hands than ours, as h2o counts only DATA frames that it is given. A
 * second SETTINGS frame lowers the window that h2o offers each stream; it goes out before the first
 * WINDOW_UPDATE of the connection, and until then no client can have sent more than the 65535 bytes
 * that a connection begins with.
 *
 * Memory. `room` of a stream is what it may have under way: bytes that lie here because the reader
 * has no room, and bytes that the client was allowed to send. The rooms of all streams in the
 * process come out of one budget, taken when the head comes, so that a request which finds none is
 * answered 503 and no upload is ever given up half-way for want of memory. A reader that reads has
 * its room widened while the budget is rich. Bodies that are thrown away hold none.
 *
 * A reply that ends before the body does is followed by RST_STREAM with NO_ERROR (RFC 9113 section
 * 8.1): what the client still sends is of no use, and the reply stands. But not at once: curl 7.88
 * drops a reply when its stream closes while it sends. So the stream, which h2o has forgotten by
 * then, is a straggler for a while, whose client may read and stop by itself. */
#include "http/http_internal.h"

#include <stdlib.h>
#include "base/log.h"
#include "http/http2_h2o.h"

enum {
    FIRST_ROOM = 65535, /* of each stream, and by the protocol of a connection before its first
                           WINDOW_UPDATE: a smaller one could be overrun by an honest client */
    FAIR_ROOM = 256 << 10,
    WIDE_ROOM = 1 << 20, /* 100 MBit/s to a client 80 ms away; while half of the budget is free */
    CALM_MS = 1000,
    MAX_STRAGGLERS = 100 /* of a connection */
};

static const uint64_t BUDGET = 64 << 20;
static _Atomic uint64_t budget_used;
static _Atomic uint64_t complained_ms;

struct http2_body {
    struct http_conn *conn;
    struct http2_conn *h2o;
    struct http2_stream *stream;
    struct http2_body *next, **link; /* of the connection's */
    struct http_request *request;    /* NULL until somebody reads */
    struct http_body_reader *reader; /* NULL before and after */
    struct timer clock;
    uint64_t announced; /* UINT64_MAX = not */
    uint64_t received, max;
    uint64_t clocked;  /* received, when the clock was started */
    uint64_t reserved; /* of the budget */
    size_t room;       /* >= held + credit */
    size_t credit;     /* what the client may still send */
    char *ring;        /* what the reader has no room for; NULL until it is needed */
    size_t ring_size, first, held;
    bool whole;   /* END_STREAM came */
    bool over;    /* nobody wants what still comes */
    bool refused; /* no room: 503 */
    bool reset;   /* the stream is gone for both sides */
    bool feeding; /* the reader is being called */
    bool waited;  /* the reader had no room since the clock was started */
};

/* A stream that was answered before its body's end. */
struct straggler {
    struct http_conn *conn;
    struct http2_conn *h2o;
    struct straggler *next, **link; /* of the connection's */
    struct timer timer;
    uint32_t stream_id;
    size_t credit;
};

/* h2o's own reader of frames, the same for all connections. */
static _Thread_local http2_expect_fn *h2o_expect;

/* -- the budget -------------------------------------------------------------------------------- */

static bool reserve(struct http2_body *body, uint64_t bytes, uint64_t leave)
{
    uint64_t used = atomic_load_explicit(&budget_used, memory_order_relaxed), more;
    if (bytes <= body->reserved)
        return true;
    more = bytes - body->reserved;
    do {
        if (used + more > BUDGET - leave)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget_used, &used, used + more,
                                                    memory_order_relaxed, memory_order_relaxed));
    body->reserved = bytes;
    return true;
}

static void give_back(struct http2_body *body)
{
    free(body->ring);
    body->ring = NULL;
    body->held = 0;
    atomic_fetch_sub_explicit(&budget_used, body->reserved, memory_order_relaxed);
    body->reserved = 0;
}

uint64_t http2_bodies_reserved(void)
{
    return atomic_load_explicit(&budget_used, memory_order_relaxed);
}

static void refuse(struct http2_body *body, struct http_request *request)
{
    const struct http_problem problem = {.status = 503,
                                         .type = "overloaded",
                                         .title = "Too many uploads are under way",
                                         .retry_after_s = 1};
    uint64_t now_ms = loop_now_ms(body->conn->http->loop);
    uint64_t last_ms = atomic_load_explicit(&complained_ms, memory_order_relaxed);
    if ((last_ms == 0 || now_ms - last_ms >= CALM_MS) &&
        atomic_compare_exchange_strong(&complained_ms, &last_ms, now_ms))
        log_event(LOG_WARN, "no memory for more HTTP/2 bodies, answering 503",
                  "budget=%" PRIu64 " peer=%s", BUDGET, body->conn->peer);
    http_problem_reply(request, &problem);
}

/* -- what is sent ------------------------------------------------------------------------------ */

/* Lets the client send again, when that is worth a frame. */
static void grant(struct http2_body *body)
{
    size_t more = body->room - body->held - body->credit;
    if (more < body->room / 2 || body->whole || body->over ||
        body->announced - body->received <= body->credit)
        return;
    h2o_http2_encode_window_update_frame(&body->h2o->output, body->stream->id, (int32_t)more);
    h2o_http2_conn_request_write(body->h2o);
    body->credit += more;
}

/* Ends the stream; body is gone then. */
static void reset(struct http2_body *body, int h2o_error)
{
    struct http2_conn *h2o = body->h2o;
    h2o_http2__encode_rst_stream_frame(&h2o->output, body->stream->id, -h2o_error);
    h2o_http2_conn_request_write(h2o);
    body->reset = true;
    h2o_http2_stream_reset(h2o, body->stream);
}

static void send_settings(struct http2_conn *h2o)
{
    uint8_t frame[FRAME_HEAD + 6] = {[FRAME_HEAD + 1] = H2O_HTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                     [FRAME_HEAD + 4] = FIRST_ROOM >> 8,
                                     [FRAME_HEAD + 5] = FIRST_ROOM & 0xff};
    h2o_http2_encode_frame_header(frame, 6, FRAME_SETTINGS, 0, 0);
    h2o_iovec_t to = h2o_buffer_reserve(&h2o->output, sizeof(frame));
    memcpy(to.base, frame, sizeof(frame));
    h2o->output->size += sizeof(frame);
    h2o_http2_conn_request_write(h2o);
}

/* ":status: 100", RFC 9110 section 10.1.1; of the compression table (RFC 7541) only its constant
 * half is used, so h2o need not know. */
static void send_continue(struct http2_body *body)
{
    static const char fields[] = "\x08\x03"
                                 "100";
    uint8_t frame[FRAME_HEAD + sizeof(fields) - 1];
    memcpy(h2o_http2_encode_frame_header(frame, sizeof(fields) - 1, FRAME_HEADERS, FLAG_END_HEADERS,
                                         (int32_t)body->stream->id),
           fields, sizeof(fields) - 1);
    h2o_iovec_t to = h2o_buffer_reserve(&body->h2o->output, sizeof(frame));
    memcpy(to.base, frame, sizeof(frame));
    body->h2o->output->size += sizeof(frame);
    h2o_http2_conn_request_write(body->h2o);
}

/* -- to the reader ----------------------------------------------------------------------------- */

static bool wanted(struct http2_body *body)
{
    if (!body->over && (body->request != NULL ? body->request->replied
                                              : body->stream->state > HTTP2_SEND_HEADERS)) {
        body->over = true;
        give_back(body);
    }
    return !body->over;
}

static void finish(struct http2_body *body, enum http_body_end how)
{
    struct http_body_reader *reader = body->reader;
    timer_stop(body->conn->http->loop, &body->clock);
    body->reader = NULL;
    body->over = true;
    give_back(body);
    reader->end(reader, how);
}

/* How many of the n bytes the reader took. */
static size_t feed(struct http2_body *body, const char *from, size_t n)
{
    size_t taken = 0;
    if (body->reader == NULL || body->feeding)
        return 0;
    body->feeding = true;
    while (taken != n && wanted(body)) {
        size_t room = 0;
        char *to = body->reader->room(body->reader, &room);
        if (to == NULL || room == 0)
            break;
        if (room > n - taken)
            room = n - taken;
        memcpy(to, from + taken, room);
        taken += room;
        body->reader->got(body->reader, room);
    }
    body->feeding = false;
    return taken;
}

static void hold(struct http2_body *body, const char *from, size_t n)
{
    gw_assert(n <= body->room - body->held);
    body->waited = true;
    if (body->ring_size < body->room) {
        char *ring = h2o_mem_alloc(body->room);
        size_t straight = body->ring_size - body->first;
        straight = straight < body->held ? straight : body->held;
        if (body->held != 0) {
            memcpy(ring, body->ring + body->first, straight);
            memcpy(ring + straight, body->ring, body->held - straight);
        }
        free(body->ring);
        body->ring = ring;
        body->ring_size = body->room;
        body->first = 0;
    }
    size_t end = (body->first + body->held) % body->ring_size, straight = body->ring_size - end;
    straight = straight < n ? straight : n;
    memcpy(body->ring + end, from, straight);
    memcpy(body->ring, from + straight, n - straight);
    body->held += n;
}

/* Gives the reader what lies here, and the client the room that this makes. */
static void pump(struct http2_body *body)
{
    while (body->held != 0) {
        size_t n = body->ring_size - body->first;
        n = n < body->held ? n : body->held;
        size_t taken = feed(body, body->ring + body->first, n);
        if (body->over || taken == 0)
            break;
        body->first = (body->first + taken) % body->ring_size;
        body->held -= taken;
    }
    if (body->reader == NULL || body->feeding || !wanted(body))
        return;
    if (body->whole && body->held == 0)
        finish(body, BODY_WHOLE);
    else
        grant(body);
}

/* -- time -------------------------------------------------------------------------------------- */

/* A connection's streams share its line: that they are many must not make an honest client slow. */
static uint64_t fair_share(const struct http2_body *body, uint64_t bytes)
{
    uint64_t count = 0;
    for (const struct http2_body *other = body->conn->bodies; other != NULL; other = other->next)
        count += !other->whole && !other->over;
    bytes /= count != 0 ? count : 1;
    return bytes != 0 ? bytes : 1;
}

static void start_clock(struct http2_body *body)
{
    struct http_loop *http = body->conn->http;
    body->clocked = body->received;
    body->waited = body->held != 0;
    timer_start(http->loop, &body->clock, http->server->config->server.body_idle_timeout_ms);
}

static void tick(struct timer *timer)
{
    struct http2_body *body = CONTAINER_OF(timer, struct http2_body, clock);
    const struct config_server *config = &body->conn->http->server->config->server;
    if (!wanted(body) || body->whole)
        return;
    if (!body->waited &&
        body->received - body->clocked <
            fair_share(body, config->body_min_rate * config->body_idle_timeout_ms / 1000))
        finish(body, BODY_TOO_SLOW);
    else
        start_clock(body);
}

/* -- frames ------------------------------------------------------------------------------------ */

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

static void end_of_stream(struct http2_body *body)
{
    body->whole = true;
    if (body->announced != UINT64_MAX && body->received != body->announced)
        reset(body, H2O_HTTP2_ERROR_PROTOCOL); /* RFC 9113 section 8.1.1 */
    else
        pump(body);
}

/* padded: bytes of the frame's payload, of which `data` are the body's. */
static void take_data(struct http2_body *body, size_t padded, struct http2_data data, bool last)
{
    if (padded > body->credit) {
        reset(body, H2O_HTTP2_ERROR_FLOW_CONTROL);
        return;
    }
    body->credit -= padded;
    body->received += data.n;
    if (body->received > body->announced) {
        reset(body, H2O_HTTP2_ERROR_PROTOCOL);
        return;
    }
    if (wanted(body)) {
        if (body->reader != NULL && body->received > body->max) {
            body->whole = last;
            finish(body, BODY_TOO_LARGE);
            return;
        }
        const char *bytes = (const char *)data.p;
        size_t taken = body->held == 0 ? feed(body, bytes, data.n) : 0;
        if (taken != data.n && wanted(body))
            hold(body, bytes + taken, data.n - taken);
    }
    if (last)
        end_of_stream(body);
    else
        pump(body);
}

/* The fields are dropped (RFC 9110 section 6.5.1), but must be parsed: the compression table goes
 * on with them. */
static int parse_trailers(struct http2_body *body, const struct http2_frame *frame,
                          const char **error_r)
{
    h2o_req_t *req = &body->stream->req;
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
    error = h2o_hpack_parse_headers(req, &body->h2o->input_table, headers.p, headers.n, NULL,
                                    &length, NULL, error_r);
    req->headers.size = fields;
    return error;
}

/* A trailer section ends the body; one that is no good ends the connection, and the answer is for
 * the log. */
static int take_trailers(struct http2_body *body, const struct http2_frame *frame,
                         const char **error_r)
{
    int error = parse_trailers(body, frame, error_r);
    if (error == 0)
        end_of_stream(body);
    else if (body->request != NULL && wanted(body))
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

static void await_straggler(const struct http2_body *body)
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
    timer_init(&straggler->timer, stop_straggler);
    timer_start(conn->http->loop, &straggler->timer, conn->http->server->linger_ms);
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

static ssize_t expect(struct http2_conn *h2o, const uint8_t *from, size_t n, const char **error_r)
{
    const struct http_conn *conn = h2o->sock->on_close.data;
    struct http2_frame frame;
    struct http2_data data;
    int error = 0;
    if (conn->bodies == NULL && conn->stragglers == NULL)
        return h2o_expect(h2o, from, n, error_r);
    ssize_t size = h2o_http2_decode_frame(&frame, from, n, &H2O_HTTP2_SETTINGS_HOST, error_r);
    if (size < 0)
        return size;
    struct http2_body *body = find_body(conn, frame.stream_id);
    struct straggler *straggler = find_straggler(conn, frame.stream_id);
    if (frame.type == FRAME_RST_STREAM && body != NULL)
        body->reset = true;
    if (frame.type == FRAME_RST_STREAM && straggler != NULL)
        forget(straggler);
    if (body != NULL && !body->whole && frame.type == FRAME_HEADERS) {
        error = take_trailers(body, &frame, error_r);
    } else if (frame.type == FRAME_DATA && ((body != NULL && !body->whole) || straggler != NULL)) {
        if ((error = h2o_http2_decode_data_payload(&data, &frame, error_r)) != 0)
            return error;
        consume_connection_window(h2o, frame.n);
        if (straggler != NULL)
            take_from_straggler(straggler, &frame);
        else
            take_data(body, frame.n, data, (frame.flags & FLAG_END_STREAM) != 0);
    } else {
        return h2o_expect(h2o, from, n, error_r);
    }
    return error != 0 ? error : size;
}

/* -- from head to end -------------------------------------------------------------------------- */

static void dispose(void *arg)
{
    struct http2_body *body = arg;
    timer_stop(body->conn->http->loop, &body->clock);
    give_back(body);
    *body->link = body->next;
    if (body->next != NULL)
        body->next->link = body->link;
    if (!body->whole && !body->reset)
        await_straggler(body); /* writes nothing now: the connection itself may be about to go */
}

void http2_read_frames(h2o_req_t *req)
{
    struct http2_conn *h2o = (struct http2_conn *)req->conn;
    if (h2o->expect != expect) {
        h2o_expect = h2o->expect;
        h2o->expect = expect;
    }
}

void http2_body_open(h2o_req_t *req, size_t announced)
{
    struct http2_stream *stream = CONTAINER_OF(req, struct http2_stream, req);
    struct http2_conn *h2o = (struct http2_conn *)req->conn;
    struct http_conn *conn = guard_conn(req);
    gw_assert(h2o->sock == conn->sock && stream->state == HTTP2_RECV_HEADERS);
    if (stream->body == NULL ||
        h2o->pull.open > H2O_HTTP2_SETTINGS_HOST.max_concurrent_streams) /* h2o refuses it */
        return;
    h2o_buffer_dispose(&stream->body);
    if (!conn->bodies_seen)
        send_settings(h2o);
    conn->bodies_seen = true;

    struct http2_body *body = h2o_mem_alloc_shared(&req->pool, sizeof(*body), dispose);
    *body = (struct http2_body){.conn = conn,
                                .h2o = h2o,
                                .stream = stream,
                                .next = conn->bodies,
                                .link = &conn->bodies,
                                .announced = announced == SIZE_MAX ? UINT64_MAX : announced,
                                .room = FIRST_ROOM,
                                .credit = FIRST_ROOM};
    timer_init(&body->clock, tick);
    if (body->next != NULL)
        body->next->link = &body->next;
    conn->bodies = body;
    body->refused = body->over = !reserve(body, FIRST_ROOM, 0);
}

/* NULL for HTTP/1, too. */
static struct http2_body *body_of(const struct http_request *request)
{
    struct http2_body *body = request->conn->bodies;
    while (body != NULL && &body->stream->req != request->h2o)
        body = body->next;
    return body;
}

uint64_t http2_body_length(const struct http_request *request)
{
    const struct http2_body *body = body_of(request);
    return body == NULL ? 0 : body->announced;
}

void http2_body_read(struct http_request *request, struct http_body_reader *reader, uint64_t max)
{
    struct http2_body *body = body_of(request);
    if (body == NULL) {
        reader->end(reader, BODY_WHOLE);
        return;
    }
    gw_assert(body->request == NULL && !request->replied);
    body->request = request;
    body->reader = reader;
    body->max = max;
    if (body->received > max || (body->announced != UINT64_MAX && body->announced > max)) {
        finish(body, BODY_TOO_LARGE);
        return;
    }
    if (!body->whole) {
        if (body->received == 0 &&
            str_caseeq(http_header(request, STR("expect")), STR("100-continue")))
            send_continue(body);
        start_clock(body);
    }
    if (body->reserved != 0 && body->announced > FIRST_ROOM) {
        if (reserve(body, WIDE_ROOM, BUDGET / 2))
            body->room = WIDE_ROOM;
        else if (reserve(body, FAIR_ROOM, BUDGET / 4))
            body->room = FAIR_ROOM;
    }
    pump(body);
}

void http2_body_resume(struct http_request *request)
{
    struct http2_body *body = body_of(request);
    if (body != NULL && body->reader != NULL)
        pump(body);
}

void http2_body_is_waste(struct http_request *request)
{
    struct http2_body *body = body_of(request);
    if (body == NULL)
        return;
    give_back(body);
    body->over = body->refused = false;
}

bool http2_body_refused(struct http_request *request)
{
    struct http2_body *body = request->conn->bodies == NULL ? NULL : body_of(request);
    if (body == NULL || !body->refused)
        return false;
    refuse(body, request);
    return true;
}
