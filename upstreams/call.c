/* A call: what its attempts make of it. */
#include "upstreams/internal.h"

#include <stdlib.h>
#include <h2o/memory.h>

enum {
    MAX_REQUEST = 128 * 1024,
    MAX_SPARE_BODY = 64 * 1024,       /* capacity that a spare call may keep */
    MAX_SPARE_BYTES = 4 * 1024 * 1024 /* and all of a loop's spare calls */
};

/* -- calls and their memory -- */

static struct up_call *call_new(struct up_client *client)
{
    struct up_call *call = client->spare;
    if (call != NULL) {
        client->spare = call->next_spare;
        client->spare_bytes -= call->attempt.body.capacity + call->request.capacity + sizeof(*call);
    } else {
        call = h2o_mem_alloc(sizeof(*call));
        memset(call, 0, sizeof(*call));
        buf_init(&call->request, MAX_REQUEST);
        attempt_init(&call->attempt, call);
    }
    h2o_linklist_insert(&client->calls, &call->all);
    return call;
}

static void call_free(struct up_call *call)
{
    struct up_client *client = call->lane->client;
    if (call->attempt.body.capacity > MAX_SPARE_BODY)
        buf_fini(&call->attempt.body);
    size_t bytes = call->attempt.body.capacity + call->request.capacity + sizeof(*call);
    if (client->spare_bytes + bytes > MAX_SPARE_BYTES) {
        buf_fini(&call->attempt.body);
        buf_fini(&call->request);
        free(call);
        return;
    }
    client->spare_bytes += bytes;
    call->next_spare = client->spare;
    client->spare = call;
}

void calls_free_spare(struct up_client *client)
{
    while (client->spare != NULL) {
        struct up_call *call = client->spare;
        client->spare = call->next_spare;
        buf_fini(&call->attempt.body);
        buf_fini(&call->request);
        free(call);
    }
}

/* -- start -- */

bool is_target(struct str target)
{
    if (target.n != 0 && target.p[0] != '/' && target.p[0] != '?')
        return false;
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= ' ' || target.p[i] > '~' || target.p[i] == '#')
            return false;
    return true;
}

static bool ends_line(struct str s)
{
    return memchr(s.p, '\n', s.n) || memchr(s.p, '\r', s.n) || memchr(s.p, '\0', s.n);
}

/* All of the request's lines, in what curl takes for its target:
 *
 *     /v1/promo?a=b HTTP/1.1        target, and the version that belongs there
 *     X-Request-Id: 0123            this call's lines
 *     Host: promo:9101              the upstream's
 *     Accept-Encoding: gzip, ...
 *     User-Agent: gateway           curl writes " HTTP/1.1" and the line's end behind it
 *
 * curl writes header lines through its printf, byte by byte, and looks through them again and
 * again; a target it copies. Together with a URL that was taken apart before, this spares a fifth
 * of the time that a call takes in user space. What comes from outside can't end a line early:
 * targets and values that try are refused here, those of the configuration in upstream.c. */
static bool write_request(struct up_call *call, const struct up_request *request)
{
    struct upstream *up = request->upstream;
    struct buf *buf = &call->request;
    struct str target = request->target;
    bool needs_root = up->prefix_length == 0 && (target.n == 0 || target.p[0] != '/');
    buf_clear(buf);
    if (!is_target(target) || !buf_append(buf, up->prefix, up->prefix_length) ||
        !buf_append(buf, "/", needs_root) || !buf_append(buf, target.p, target.n) ||
        !buf_append(buf, " HTTP/1.1", 9))
        return false;
    for (size_t i = 0; i < request->header_count; i++) {
        struct str name = request->headers[i].name, value = request->headers[i].value;
        if (ends_line(name) || ends_line(value))
            continue;
        if (!buf_append(buf, "\r\n", 2) || !buf_append(buf, name.p, name.n) ||
            !buf_append(buf, ": ", 2) || !buf_append(buf, value.p, value.n))
            return false;
    }
    return buf_append(buf, up->lines, up->lines_length + 1); /* its NUL too */
}

struct up_call *up_call_start(struct up_client *client, const struct up_request *request,
                              up_done_fn *done, void *arg)
{
    struct upstream *up = request->upstream;
    struct up_call *call = call_new(client);
    gw_assert(request->method == NULL || strcmp(request->method, "HEAD") != 0);
    call->step = CALL_STARTED;
    call->attempts = 0;
    call->lane = call->attempt.lane = &client->lanes[up->index];
    call->done = done;
    call->arg = arg;
    call->timeout_ms = request->timeout_ms ? request->timeout_ms : up->config->timeout_ms;
    call->method = request->method == NULL && request->body.p != NULL ? "GET" : request->method;
    call->upload = request->body;
    call->tried.count = 0;
    call->started_us = clock_us();
    if (!write_request(call, request))
        buf_clear(&call->request); /* told at the end of the turn, like everything */
    h2o_linklist_insert(&client->started, &call->waiting);
    task_defer(client->loop, &client->task);
    return call;
}

/* -- its attempt -- */

void call_begin(struct up_call *call)
{
    call->step = CALL_TRYING;
    attempt_start(&call->attempt);
}

void call_attempt_over(struct attempt *attempt)
{
    struct up_call *call = attempt->call;
    call->step = CALL_DONE;
    attempt->result.attempts = call->attempts;
    call->done(call, &attempt->result, call->arg); /* may release the call: nothing after this */
}

/* -- the end -- */

static void free_when_gone(struct up_call *call)
{
    if (call->step == CALL_GONE && call->attempt.step == ATTEMPT_IDLE)
        call_free(call);
}

void call_attempt_gone(struct attempt *attempt)
{
    free_when_gone(attempt->call);
}

void up_call_cancel(struct up_call **call_p)
{
    struct up_call *call = *call_p;
    *call_p = NULL;
    if (call == NULL)
        return;
    if (call->step == CALL_STARTED)
        h2o_linklist_unlink(&call->waiting);
    attempt_cancel(&call->attempt);
    h2o_linklist_unlink(&call->all);
    call->step = CALL_GONE;
    free_when_gone(call);
}

void up_call_release(struct up_call **call_p)
{
    gw_assert(*call_p == NULL || (*call_p)->step == CALL_DONE);
    up_call_cancel(call_p);
}
