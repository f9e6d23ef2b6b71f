/* A request's body, from the socket to who reads it. h2o sees no body of HTTP/1: the guard hides
 * what announces it, so the handler runs as soon as the head is in, and while it reads, the
 * socket's read callback is ours.
 *
 * What came with the head lies behind it in the socket's buffer; `at` walks over it (the head must
 * not move: h2o points into it). The rest goes by recv() straight into the reader's memory, chunks
 * are decoded there in place. With Content-Length nothing past the body's end is ever read; with
 * chunks it may be, and is kept in conn->behind until the guard gives it back to h2o as the next
 * request. No room: the bytes stay in the socket, and the client's window closes.
 *
 * A turn reads at most TURN_BYTES of a connection, so that no upload holds up the others; epoll
 * tells at once when there is more.
 *
 * Two clocks in one timer run while there is room and nothing to put in it: nothing has arrived for
 * body_idle_timeout, or too little since the window began. Time without room is not the client's:
 * both are moved on by it.
 *
 * Bodies under HTTP/2 come another way: http2_body.c. */
#include "http/http_internal.h"

#include <errno.h>

enum {
    TURN_BYTES = 256 * 1024,
    DECODE_AHEAD = 64 * 1024, /* bytes that may be read past the end of a chunk */
    SWALLOWED_MAX = 64 * 1024 /* bytes left that are cheaper to take than a new connection */
};

struct http_body {
    struct http_request *request;
    struct http_body_reader *reader; /* NULL: not yet, or no more */
    uint64_t length;                 /* UINT64_MAX = not announced */
    uint64_t taken, max;
    size_t at;             /* HTTP/1: first byte in sock->input that is not taken yet */
    struct chunked chunks; /* when length is not announced */
    struct timer clock;
    uint64_t from_ms, seen; /* the window's begin, bytes since then */
    uint64_t last_ms;       /* when something arrived */
    uint64_t paused_ms;     /* since when the clocks stand still, when clock doesn't run */
    bool expects;           /* a 100 was not sent, and none of the body has arrived */
    bool begun, whole, too_slow;
    bool gone;           /* so is the client; `clock` ends the request, when no caller uses it */
    bool pumping, again; /* http_body_resume() was called meanwhile */
};

static struct http_body *create(struct http_request *request, uint64_t length)
{
    struct http_body *body = h2o_mem_alloc_pool(request->pool, sizeof(*body));
    *body = (struct http_body){.request = request, .length = length};
    request->body = body;
    return body;
}

void body_announced(struct http_request *request)
{
    const struct head_scan *scan = &request->conn->scan;
    if (!scan->chunked && scan->content_length == 0)
        return;
    struct http_body *body = create(request, scan->chunked ? UINT64_MAX : scan->content_length);
    body->at = scan->size;
    body->expects = scan->expects && request->conn->sock->input->size == scan->size;
}

static bool is_chunked(const struct http_body *body)
{
    return body->length == UINT64_MAX;
}

static void stop_reading(struct http_body *body)
{
    struct http_conn *conn = body->request->conn;
    body->reader = NULL;
    timer_stop(conn->http->loop, &body->clock);
    watch_again(conn);
}

static void finish(struct http_body *body, enum http_body_end how)
{
    struct http_body_reader *reader = body->reader;
    body->whole = how == BODY_WHOLE;
    body->too_slow = how == BODY_TOO_SLOW;
    stop_reading(body);
    reader->end(reader, how);
}

/* -- the clocks -------------------------------------------------------------------------------- */

static uint64_t min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void run_clock(struct http_body *body, uint64_t now_ms)
{
    const struct config_server *config = &body->request->server->config->server;
    uint64_t due_ms = min(body->from_ms, body->last_ms) + config->body_idle_timeout_ms;
    timer_start(body->request->loop, &body->clock, due_ms > now_ms ? due_ms - now_ms : 0);
}

static void clock_rings(struct timer *timer)
{
    struct http_body *body = CONTAINER_OF(timer, struct http_body, clock);
    const struct config_server *config = &body->request->server->config->server;
    uint64_t now_ms = loop_now_ms(body->request->loop), span_ms = config->body_idle_timeout_ms;
    if (body->gone) {
        guard_left(body->request->conn);
        return;
    }
    bool over = now_ms - body->from_ms >= span_ms;
    if (now_ms - body->last_ms >= span_ms ||
        (over && body->seen < config->body_min_rate * span_ms / 1000)) {
        finish(body, BODY_TOO_SLOW);
        return;
    }
    if (over) {
        body->from_ms = now_ms;
        body->seen = 0;
    }
    run_clock(body, now_ms);
}

/* There is no room. */
static void pause_clock(struct http_body *body)
{
    if (!timer_running(&body->clock))
        return;
    timer_stop(body->request->loop, &body->clock);
    body->paused_ms = loop_now_ms(body->request->loop);
}

/* -- HTTP/1 ------------------------------------------------------------------------------------ */

static void pump(struct http_body *body);

/* A reader that finds room amid its being asked is asked again. */
static char *find_room(struct http_body *body, size_t *n_r)
{
    char *to = NULL;
    do {
        body->again = false;
        to = body->reader->room(body->reader, n_r);
    } while (to == NULL && body->again);
    gw_assert(to == NULL || *n_r != 0);
    return to;
}

static void readable(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->on_close.data;
    struct http_body *body = conn->waiting->body;
    (void)err; /* nothing was read */
    if (timer_running(&body->clock) && !body->gone)
        pump(body);
    else
        h2o_socket_read_stop(sock); /* no room: epoll would report it for ever */
}

static void wait_for_more(struct http_body *body)
{
    h2o_socket_t *sock = body->request->conn->sock;
    if (sock->_cb.read != readable)
        h2o_socket_read_start(sock, readable);
    if (timer_running(&body->clock))
        return;
    uint64_t now_ms = loop_now_ms(body->request->loop);
    body->from_ms += now_ms - body->paused_ms;
    body->last_ms += now_ms - body->paused_ms;
    run_clock(body, now_ms);
}

/* What came with the head. */
static size_t copy_input(struct http_body *body, char *to, size_t room)
{
    const h2o_buffer_t *input = body->request->conn->sock->input;
    size_t n = (size_t)min(room, input->size - body->at);
    memcpy(to, input->bytes + body->at, n);
    body->at += n;
    return n;
}

/* 0: nothing is there now, -1: the client is gone. */
static ssize_t receive(struct http_body *body, char *to, size_t room)
{
    ssize_t n = conn_receive(body->request->conn, to, room);
    if (n > 0) {
        body->seen += (uint64_t)n;
        body->last_ms = loop_now_ms(body->request->loop);
        body->expects = false;
        return n;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        return -1;
    if (!body->expects)
        return 0;
    body->expects = false;
    return watch_continue(body->request->conn) ? 0 : -1;
}

/* How many of the next bytes are the body's for sure; with chunks, or not far behind it: inside a
 * chunk its end, and the size that follows, are still to come. */
static uint64_t ahead(const struct http_body *body)
{
    if (!is_chunked(body))
        return body->length - body->taken;
    return body->chunks.left > DECODE_AHEAD ? body->chunks.left : DECODE_AHEAD;
}

/* Makes of *n bytes of chunks at p the *n of the body that they hold. */
static enum chunked_verdict decode(struct http_body *body, char *p, size_t *n, bool from_input)
{
    size_t all = *n, used;
    enum chunked_verdict verdict = chunked_decode(&body->chunks, p, n, &used);
    if (verdict == CHUNKED_END && from_input) {
        body->at -= all - used;
    } else if (verdict == CHUNKED_END) {
        bool kept = buf_append(&body->request->conn->behind, p + used, all - used);
        gw_assert(kept); /* see DECODE_AHEAD */
    }
    return verdict;
}

/* n bytes lie where room() said. False: reading is over. */
static bool taken(struct http_body *body, char *p, size_t n, bool from_input)
{
    struct http_body_reader *reader = body->reader;
    enum chunked_verdict verdict =
        is_chunked(body) ? decode(body, p, &n, from_input) : CHUNKED_MORE;
    body->taken += n;
    if (verdict == CHUNKED_BAD) {
        finish(body, BODY_MALFORMED);
        return false;
    }
    if (body->taken > body->max || body->max - body->taken < body->chunks.left) {
        finish(body, BODY_TOO_LARGE);
        return false;
    }
    body->whole = verdict == CHUNKED_END || body->taken == body->length;
    if (n != 0)
        reader->got(reader, n);
    if (body->reader == NULL)
        return false; /* a reply has begun */
    if (body->whole)
        finish(body, BODY_WHOLE);
    return !body->whole;
}

static void client_is_gone(struct http_body *body)
{
    body->gone = true;
    h2o_socket_read_stop(body->request->conn->sock);
    timer_start(body->request->loop, &body->clock, 0);
}

/* As long as there are bytes, room and leave to go on. */
static void pump_socket(struct http_body *body)
{
    const struct http_conn *conn = body->request->conn;
    size_t budget = TURN_BYTES;
    while (budget != 0) {
        size_t room;
        bool from_input = body->at < conn->sock->input->size;
        char *to = find_room(body, &room);
        if (to == NULL) {
            pause_clock(body);
            return;
        }
        room = (size_t)min(min(room, ahead(body)), budget);
        ssize_t n = from_input ? (ssize_t)copy_input(body, to, room) : receive(body, to, room);
        if (n < 0) {
            client_is_gone(body);
            return;
        }
        if (n == 0)
            break;
        budget -= from_input ? 0 : (size_t)n;
        if (!taken(body, to, (size_t)n, from_input))
            return;
        if (!from_input && (size_t)n < room && conn->tls == NULL)
            break; /* epoll will say when there is more; a record of TLS may be short */
    }
    wait_for_more(body);
}

/* -- reading ----------------------------------------------------------------------------------- */

static void pump(struct http_body *body)
{
    body->pumping = true;
    pump_socket(body);
    body->pumping = false;
}

static bool is_http2(const struct http_request *request)
{
    return request->h2o != NULL && request->h2o->version >= 0x200;
}

uint64_t http_body_length(const struct http_request *request)
{
    if (is_http2(request))
        return http2_body_length(request);
    return request->body != NULL ? request->body->length : 0;
}

void http_body_read(struct http_request *request, struct http_body_reader *reader, uint64_t max)
{
    struct http_body *body = request->body;
    if (request->max_body != 0)
        max = min(max, request->max_body);
    if (is_http2(request)) {
        http2_body_read(request, reader, max);
        return;
    }
    if (body == NULL) {
        reader->end(reader, BODY_WHOLE);
        return;
    }
    gw_assert(!body->begun && !request->replied);
    body->begun = true;
    body->reader = reader;
    body->max = max;
    timer_init(&body->clock, clock_rings);
    if (!is_chunked(body) && body->length > max)
        finish(body, BODY_TOO_LARGE);
    else
        pump(body);
}

void http_body_resume(struct http_request *request)
{
    struct http_body *body = request->body;
    if (is_http2(request)) {
        http2_body_resume(request);
        return;
    }
    if (body == NULL || body->reader == NULL)
        return; /* it is over */
    if (body->pumping)
        body->again = true;
    else if (!timer_running(&body->clock))
        pump(body);
}

/* -- the end of a request ---------------------------------------------------------------------- */

bool body_reply(struct http_request *request)
{
    struct http_body *body = request->body;
    if (body == NULL)
        return false;
    stop_reading(body);
    if (body->whole)
        return false;
    /* Who waits for a 100 may send the body or not: nobody could tell it from the next head. */
    if (is_chunked(body) || body->expects || body->too_slow ||
        body->length - body->taken > SWALLOWED_MAX)
        request->h2o->http1_is_persistent = 0;
    return !request->h2o->http1_is_persistent;
}

void body_dispose(struct http_request *request)
{
    if (request->body != NULL)
        timer_stop(request->loop, &request->body->clock);
}

size_t body_input_end(const struct http_request *request, uint64_t *to_come_r)
{
    const struct http_body *body = request->body;
    size_t there = request->conn->sock->input->size - body->at;
    uint64_t left = is_chunked(body) ? 0 : body->length - body->taken;
    *to_come_r = left - min(left, there);
    return body->at + (size_t)min(left, there);
}
