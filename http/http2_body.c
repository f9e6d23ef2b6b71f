/* Bodies under HTTP/2, as they come. h2o 2.2.5 runs a handler when the whole body lies in memory or
 * in a mapped file, and lets each of 100 streams of a connection send 16 MiB before anybody has
 * asked for it. Here a handler runs as soon as the head is in, DATA frames go straight into its
 * reader's memory, and a client may send what the reader has taken: nothing is spilled.
 *
 * Between the fields of a head being parsed (http2.c stands there) and h2o acting on them we take
 * the stream's body buffer away: so h2o sees a request without a body and runs it. The frames come
 * from http2_frames.c, and flow control (RFC 9113 section 5.2) is in our hands alone. A second
 * SETTINGS frame lowers the window that h2o offers each stream; it goes out before the first
 * WINDOW_UPDATE of the connection, and until then no client can have sent more than the 65535 bytes
 * that a connection begins with.
 *
 * Memory. `room` of a stream is what it may have under way: bytes that lie here because the reader
 * has no room, and bytes that the client was allowed to send. The rooms of all streams in the
 * process come out of one budget, taken when the head comes, so that a request which finds none is
 * answered 503 and no upload is ever given up half-way for want of memory. A reader that reads has
 * its room widened while the budget is rich. Bodies that are thrown away hold none. */
#include "http/http_internal.h"

#include <stdlib.h>
#include "base/log.h"
#include "http/http2_body.h"

enum {
    FIRST_ROOM = 65535, /* of each stream, and by the protocol of a connection before its first
                           WINDOW_UPDATE: a smaller one could be overrun by an honest client */
    FAIR_ROOM = 256 << 10,
    WIDE_ROOM = 1 << 20, /* 100 MBit/s to a client 80 ms away; while half of the budget is free */
    CALM_MS = 1000
};

static const uint64_t BUDGET = 64 << 20;
static _Atomic uint64_t budget_used;
static _Atomic uint64_t complained_ms;

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

bool http2_body_wanted(struct http2_body *body)
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
    while (taken != n && http2_body_wanted(body)) {
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
    if (body->reader == NULL || body->feeding || !http2_body_wanted(body))
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
    if (!http2_body_wanted(body) || body->whole)
        return;
    if (!body->waited &&
        body->received - body->clocked <
            fair_share(body, config->body_min_rate * config->body_idle_timeout_ms / 1000))
        finish(body, BODY_TOO_SLOW);
    else
        start_clock(body);
}

/* -- frames ------------------------------------------------------------------------------------ */

void http2_body_end(struct http2_body *body)
{
    body->whole = true;
    if (body->announced != UINT64_MAX && body->received != body->announced)
        reset(body, H2O_HTTP2_ERROR_PROTOCOL); /* RFC 9113 section 8.1.1 */
    else
        pump(body);
}

void http2_body_data(struct http2_body *body, size_t padded, struct http2_data data, bool last)
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
    if (http2_body_wanted(body)) {
        if (body->reader != NULL && body->received > body->max) {
            body->whole = last;
            finish(body, BODY_TOO_LARGE);
            return;
        }
        const char *bytes = (const char *)data.p;
        size_t taken = body->held == 0 ? feed(body, bytes, data.n) : 0;
        if (taken != data.n && http2_body_wanted(body))
            hold(body, bytes + taken, data.n - taken);
    }
    if (last)
        http2_body_end(body);
    else
        pump(body);
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
        http2_straggler(body); /* writes nothing now: the connection itself may be about to go */
}

void http2_body_open(h2o_req_t *req, size_t announced)
{
    struct http2_stream *stream = CONTAINER_OF(req, struct http2_stream, req);
    struct http2_conn *h2o = (struct http2_conn *)req->conn;
    struct http_conn *conn = guard_conn(req);
    gw_assert(h2o->sock == conn->sock && stream->state == HTTP2_RECV_HEADERS);
    if (stream->body == NULL || http2_is_full(h2o))
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

bool http2_body_admit(struct http_request *request)
{
    struct http2_body *body = body_of(request);
    if (body == NULL)
        return true;
    if (route_reads_body(request->route)) {
        if (body->refused)
            refuse(body, request);
        return !body->refused;
    }
    give_back(body); /* what throws bodies away always has room */
    body->over = false;
    return true;
}
