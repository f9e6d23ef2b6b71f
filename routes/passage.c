/* The life of one request on its way through: start, head, bytes, end.
 *
 *   passage_start()  what can be refused at once is; the call is made
 *   on_head()        the answer's head: the reply begins with it
 *   on_bytes()       its body, into one of two buffers: h2o sends from the other
 *   on_done()        its end, or the call's
 *   flush()          once a turn: what came in it goes out as one piece
 *
 * Backpressure: while the client hasn't taken what h2o has, the other buffer fills; then the call
 * pauses.
 *
 * A reply ends the reading of a body. So a good answer that comes before the request's body is
 * through is held back for as long as the upstream takes more of the body; once it doesn't, and at
 * once when it says no, the rest of the body is of no use to anybody.
 *
 * Whoever leaves takes the request's pool along, and that the call. */
#include "base/log.h"
#include "routes/routes_internal.h"

enum {
    LOT = 64 * 1024,      /* bytes of an answer that wait for h2o to be done with the last ones */
    LOT_MAX = 1024 * 1024 /* more than curl ever hands over at once, and a lot */
};

#ifndef __clang__ /* gcc 12's analyzer takes two bools that are read as one short for unset */
#pragma GCC diagnostic ignored "-Wanalyzer-use-of-uninitialized-value"
#endif

static struct passage *passage_of(struct up_stream *stream)
{
    return CONTAINER_OF(stream, struct passage, stream);
}

/* -- the reply --------------------------------------------------------------------------------- */

static void flush(struct passage *passage)
{
    bool ends = passage->whole || passage->broken;
    struct buf filled = passage->filling;
    if (!passage->begun || passage->busy || passage->over ||
        (filled.n == 0 && !ends && passage->relay.begun))
        return;
    passage->filling = passage->sending;
    passage->sending = filled;
    buf_clear(&passage->filling);
    passage->busy = true;
    passage->over = ends;
    http_relay_send(&passage->relay, filled.p, filled.n,
                    !ends             ? RELAY_MORE
                    : passage->broken ? RELAY_CUT
                                      : RELAY_END);
}

static void on_turn_end(struct task *task)
{
    flush(CONTAINER_OF(task, struct passage, flush));
}

static void on_proceed(struct http_relay *relay)
{
    struct passage *passage = CONTAINER_OF(relay, struct passage, relay);
    bool paused = passage->paused;
    passage->busy = passage->paused = false;
    flush(passage);
    if (paused && passage->call != NULL)
        up_call_resume(passage->call);
}

/* What came so far goes out, and then the reply breaks off. */
static void cut(struct passage *passage)
{
    passage->broken = true;
    task_defer(passage->request->loop, &passage->flush);
}

/* Of an answer that can't be passed on. */
static void refuse_answer(struct passage *passage, const char *error, const char *detail)
{
    up_call_cancel(&passage->call);
    failure_note_error(passage, error, detail);
    if (passage->begun)
        cut(passage);
    else
        failure_reply(passage, NULL);
}

/* All that was promised is here, and the upstream needn't take the rest of the request's body for
 * it. */
static void end_early(struct passage *passage)
{
    failure_note_answer(passage);
    up_call_cancel(&passage->call);
    passage->whole = true;
}

static void begin(struct passage *passage)
{
    struct http_request *request = passage->request;
    struct fields_down down;
    const char *detail;
    if (!fields_down(request, passage->route, passage->headers, passage->header_count, &down,
                     &detail)) {
        refuse_answer(passage, "http_protocol_error", detail);
        return;
    }
    timer_stop(request->loop, &passage->hold);
    passage->begun = true;
    passage->left = passage->is_head ? 0 : down.length;
    passage->relay = (struct http_relay){.proceed = on_proceed, .date = down.date};
    task_defer(request->loop, &passage->flush);
    http_relay_begin(request, &passage->relay, passage->status, down.length);
}

/* With an answer that was held back. */
static void go_ahead(struct passage *passage)
{
    begin(passage);
    if (passage->paused && passage->call != NULL)
        up_call_resume(passage->call);
}

/* -- the answer -------------------------------------------------------------------------------- */

/* Until the request's body is through. */
static bool is_held_back(const struct passage *passage)
{
    return passage->status != 0 && !passage->begun;
}

static void hold_back(struct passage *passage)
{
    passage->taken = passage->body.taken;
    timer_start(passage->request->loop, &passage->hold, passage->route->config->idle_timeout_ms);
}

static void on_hold(struct timer *timer)
{
    struct passage *passage = CONTAINER_OF(timer, struct passage, hold);
    if (passage->taken != passage->body.taken)
        hold_back(passage);
    else
        go_ahead(passage);
}

static void call(struct passage *passage);

/* The call begins at the end of the turn, out of the callback that this one is ended in. */
static void ask_again(struct passage *passage)
{
    up_call_cancel(&passage->call);
    passage->status = passage->record->status = 0;
    passage->headers = NULL;
    passage->header_count = 0;
    call(passage);
}

static void on_head(struct up_stream *stream, int status, const struct up_header *headers,
                    size_t count)
{
    struct passage *passage = passage_of(stream);
    http_serving(passage->request, STR(""));
    passage->status = passage->record->status = status;
    passage->headers = headers;
    passage->header_count = count;
    switch (kept_head(passage, status, headers, count)) {
    case KEPT_REPLIED:
        passage->record->attempts = up_call_attempts(passage->call);
        passage->record->us = (uint32_t)(clock_us() - passage->request->started_us);
        up_call_cancel(&passage->call);
        return;
    case KEPT_SPOILT:
        ask_again(passage);
        return;
    case KEPT_PASSES:
        break;
    }
    if (passage->body.whole || status >= 300)
        begin(passage);
    else
        hold_back(passage);
}

static bool on_bytes(struct up_stream *stream, const char *bytes, size_t n)
{
    struct passage *passage = passage_of(stream);
    struct buf *filling = &passage->filling;
    passage->paused = is_held_back(passage) || (filling->n != 0 && filling->n + n > LOT);
    if (passage->paused)
        return false;
    if (n > passage->left) {
        refuse_answer(passage, "http_protocol_error", "more bytes than Content-Length");
        return true;
    }
    if (passage->left != UINT64_MAX)
        passage->left -= n;
    bool fits = buf_append(filling, bytes, n);
    gw_assert(fits);
    passage->record->bytes += n;
    kept_bytes(passage, bytes, n);
    if (passage->left == 0 && !passage->body.whole)
        end_early(passage);
    task_defer(passage->request->loop, &passage->flush);
    return true;
}

static void on_done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct passage *passage = arg;
    gw_assert(call == passage->call);
    http_serving(passage->request, STR(""));
    failure_note(passage, result);
    if (result->end == UP_ANSWERED && is_held_back(passage))
        begin(passage);
    if (passage->call == NULL)
        return; /* its head made no sense */
    if (result->end != UP_ANSWERED && !passage->begun) {
        if (!kept_stand_in(passage))
            failure_reply(passage, result);
        up_call_release(&passage->call);
        return;
    }
    passage->whole = result->end == UP_ANSWERED;
    if (passage->whole && passage->left != 0 && passage->left != UINT64_MAX) {
        failure_note_error(passage, "http_response_incomplete", "fewer bytes than Content-Length");
        passage->whole = false;
    }
    passage->broken = !passage->whole;
    if (passage->whole)
        kept_end(passage, result->headers, result->header_count);
    up_call_release(&passage->call);
    task_defer(passage->request->loop, &passage->flush);
}

/* -- the request's body ------------------------------------------------------------------------ */

void passage_body_whole(struct passage *passage)
{
    if (is_held_back(passage))
        go_ahead(passage);
}

void passage_body_failed(struct passage *passage, enum http_body_end how)
{
    up_call_cancel(&passage->call);
    http_body_refuse(passage->request, how);
}

/* -- start ------------------------------------------------------------------------------------- */

/* With the request, whatever state it is in: the log is written after this. */
static void on_dispose(void *arg)
{
    struct passage *passage = arg;
    if (passage->begun && !passage->over)
        passage->request->flags = "DC";
    if (passage->call != NULL) {
        passage->record->attempts = up_call_attempts(passage->call);
        passage->record->times = up_call_times(passage->call);
        passage->record->us = (uint32_t)(clock_us() - passage->request->started_us);
        up_call_cancel(&passage->call);
    }
    task_cancel(&passage->flush);
    timer_stop(passage->request->loop, &passage->hold);
    body_up_fini(passage);
    kept_fini(passage);
    buf_fini(&passage->filling);
    buf_fini(&passage->sending);
}

static struct passage *create(struct http_request *request, struct proxy_route *route)
{
    struct passage *passage = h2o_mem_alloc_shared(request->pool, sizeof(*passage), on_dispose);
    *passage = (struct passage){
        .request = request,
        .route = route,
        .record = h2o_mem_alloc_pool(request->pool, sizeof(*passage->record)),
        .left = UINT64_MAX,
        .is_head = str_eq(request->method, STR("HEAD")),
    };
    *passage->record = (struct access_part){.name = route->config->upstream, .state = "running"};
    request->parts = passage->record;
    request->part_count = 1;
    passage->stream = (struct up_stream){.head = on_head,
                                         .body = passage->is_head ? NULL : on_bytes,
                                         .idle_ms = route->config->idle_timeout_ms};
    task_init(&passage->flush, on_turn_end);
    timer_init(&passage->hold, on_hold);
    buf_init(&passage->filling, LOT_MAX);
    buf_init(&passage->sending, LOT_MAX);
    body_up_init(passage);
    return passage;
}

/* Whether a call with this method may be made twice (RFC 9110 section 9.2.2). */
static bool is_idempotent(struct str method)
{
    static const struct str names[] = {
        {"GET", 3}, {"HEAD", 4}, {"OPTIONS", 7}, {"PUT", 3}, {"DELETE", 6}};
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_eq(method, names[i]))
            return true;
    return false;
}

static void call(struct passage *passage)
{
    struct http_request *request = passage->request;
    const struct proxy_route *route = passage->route;
    struct up_header *headers;
    size_t count = fields_up(request, route, &headers);
    bool is_get = str_eq(request->method, STR("GET"));
    h2o_iovec_t method = h2o_strdup(request->pool, request->method.p, request->method.n);
    struct up_request asked = {.upstream = route->upstream,
                               .target = target_up(route, request->target, request->pool),
                               .headers = headers,
                               .header_count = count,
                               .host = route->config->preserve_host && request->host.n != 0
                                           ? request->host
                                           : (struct str){NULL, 0},
                               .method = is_get && passage->body.whole ? NULL : method.base,
                               .timeout_ms = route->config->timeout_ms,
                               .repeatable = is_idempotent(request->method),
                               .is_personal = request->is_personal,
                               .trace = http_trace_part(request, 0),
                               .stream = &passage->stream};
    struct up_client *client = route->routing->clients[loop_index(request->loop)];
    if (kept_start(passage, &asked))
        return;
    passage->call = up_call_start(client, &asked, on_done, passage);
}

void passage_start(struct http_request *request, void *arg)
{
    static const struct http_problem climbs = {.status = 400,
                                               .type = "bad-request",
                                               .title = "This request makes no sense",
                                               .detail = {"the path leads out of where it is", 33}};
    struct proxy_route *route = arg;
    uint64_t length = http_body_length(request), max = route->config->max_body;
    if (target_climbs(request->path)) {
        http_problem_reply(request, &climbs);
    } else if (fields_loop(request, str_from(route->routing->via))) {
        failure_reply_loop(request);
    } else if (max != 0 && length != UINT64_MAX && length > max) {
        http_body_refuse(request, BODY_TOO_LARGE);
    } else {
        call(create(request, route));
    }
}
