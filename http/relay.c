/* Relayed replies: the answer of somebody else, handed on as it comes and no faster than the client
 * takes it. http/ adds what belongs to this connection and leaves the rest as it is.
 *
 * Three things are unlike replies of our own. A body without a length is cut into chunks here,
 * whatever the status: h2o 2.2.5 does so for a 200 alone, and then who reads the answer couldn't
 * tell its end from a break. Date is the origin's where it sent one (RFC 9110 section 6.6.1): h2o
 * has its own text at hand and writes no other, so that is exchanged for the moment in which it
 * writes the head. And it may be silent for as long as the origin is: so that isn't a client which
 * doesn't read, and one that leaves meanwhile is noticed. */
#include "http/http_internal.h"

#include <stdio.h>

struct chunker {
    h2o_ostream_t stream;
    char size[24];
    h2o_iovec_t *vecs; /* in the pool; what is compressed comes in several */
    size_t capacity;
};

static void send_chunk(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bytes, size_t count,
                       h2o_send_state_t state)
{
    static char end[] = "\r\n0\r\n\r\n";
    struct chunker *chunker = CONTAINER_OF(self, struct chunker, stream);
    size_t n = 0, size = 0;
    for (size_t i = 0; i < count; i++)
        size += bytes[i].len;
    if (count + 2 > chunker->capacity) {
        chunker->capacity = (count + 2) * 2;
        chunker->vecs = h2o_mem_alloc_pool(&req->pool, chunker->capacity * sizeof(*chunker->vecs));
    }
    h2o_iovec_t *all = chunker->vecs;
    if (size == 0 && count != 0) {
        all[n++] = *bytes; /* the head alone */
    } else if (count != 0) {
        int length = snprintf(chunker->size, sizeof(chunker->size), "%zx\r\n", size);
        all[n++] = h2o_iovec_init(chunker->size, (size_t)length);
        memcpy(all + n, bytes, count * sizeof(*bytes));
        n += count;
        all[n++] = h2o_iovec_init(end, 2);
    }
    if (state == H2O_SEND_STATE_FINAL && size != 0)
        all[n - 1].len = sizeof(end) - 1;
    else if (state == H2O_SEND_STATE_FINAL)
        all[n++] = h2o_iovec_init(end + 2, sizeof(end) - 3);
    h2o_ostream_send_next(self, req, all, n, state);
}

static void proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    struct http_relay *relay = CONTAINER_OF(generator, struct http_relay, generator);
    (void)req;
    relay->sending = false;
    sending_pauses(relay->request);
    relay->proceed(relay);
}

/* Whether the client can be told the body's end by nothing but chunks. */
static bool needs_chunks(const struct http_request *request, int status, uint64_t length)
{
    return request->h2o->version == 0x101 && length == UINT64_MAX && status != 204 &&
           status != 304 && !str_eq(request->method, STR("HEAD"));
}

void http_relay_begin(struct http_request *request, struct http_relay *relay, int status,
                      uint64_t length)
{
    h2o_req_t *req = request->h2o;
    relay->generator = (h2o_generator_t){proceed, NULL};
    relay->request = request;
    relay->sending = relay->begun = false;
    request->may_code = true;
    bool chunks = needs_chunks(request, status, length);
    if (chunks)
        h2o_add_header(request->pool, &req->res.headers, H2O_TOKEN_TRANSFER_ENCODING, NULL,
                       H2O_STRLIT("chunked"));
    else if (req->version < 0x101 && length == UINT64_MAX)
        req->http1_is_persistent = 0;
    reply_start(request, status, length == UINT64_MAX ? SIZE_MAX : (size_t)length,
                &relay->generator);
    h2o_ostream_t **slot = request->coder != NULL ? &request->coder->next : &req->_ostr_top;
    if (chunks) {
        struct chunker *chunker = (void *)h2o_add_ostream(req, sizeof(*chunker), slot);
        chunker->stream.do_send = send_chunk;
        chunker->vecs = NULL;
        chunker->capacity = 0;
    }
    if (req->version >= 0x200)
        h2o_linklist_insert(&request->conn->relaying, &request->relaying);
    else
        watch_relay(request->conn);
}

void http_stream_begin(struct http_request *request, struct http_relay *relay, int status,
                       const char *content_type)
{
    relay->generator = (h2o_generator_t){proceed, NULL};
    relay->request = request;
    relay->sending = relay->begun = false;
    gzip_begin(request, content_type);
    http_reply_begin(request, status, content_type, SIZE_MAX, &relay->generator);
    watch_relay(request->conn);
}

/* h2o writes the head now. */
static void send_with_date(struct http_relay *relay, h2o_iovec_t *bytes, size_t count,
                           h2o_send_state_t state)
{
    h2o_context_t *ctx = relay->request->h2o->conn->ctx;
    h2o_get_timestamp(ctx, NULL, NULL);
    h2o_timestamp_string_t *now = ctx->_timestamp_cache.value;
    h2o_timestamp_string_t *then = h2o_mem_alloc_shared(NULL, sizeof(*then), NULL);
    *then = *now;
    memcpy(then->rfc1123, relay->date.p, H2O_TIMESTR_RFC1123_LEN);
    ctx->_timestamp_cache.value = then;
    h2o_send(relay->request->h2o, bytes, count, state);
    gw_assert(ctx->_timestamp_cache.value == then);
    ctx->_timestamp_cache.value = now;
    h2o_mem_release_shared(then);
}

void http_relay_send(struct http_relay *relay, const char *bytes, size_t n,
                     enum http_relay_state state)
{
    static const h2o_send_state_t states[] = {[RELAY_MORE] = H2O_SEND_STATE_IN_PROGRESS,
                                              [RELAY_END] = H2O_SEND_STATE_FINAL,
                                              [RELAY_CUT] = H2O_SEND_STATE_ERROR};
    h2o_iovec_t vec = h2o_iovec_init(bytes, n), *vecs = &vec;
    bool writes_head = !relay->begun, head_alone = n == 0 && state == RELAY_MORE;
    gw_assert(!relay->sending && (!head_alone || writes_head));
    /* HTTP/1's side of h2o sends no head before there is a piece of the body, be it empty. */
    size_t count = n != 0 || (head_alone && relay->request->h2o->version < 0x200);
    if (relay->request->gzip != NULL && state != RELAY_CUT)
        count = gzip_next(relay->request, &vec, states[state], &vecs);
    relay->sending = relay->begun = true;
    sending_goes_on(relay->request);
    if (writes_head && relay->date.n == H2O_TIMESTR_RFC1123_LEN)
        send_with_date(relay, vecs, count, states[state]);
    else
        h2o_send(relay->request->h2o, vecs, count, states[state]);
}
