/* A request's body on its way up: from the client's socket into a ring, out of it when curl asks.
 * A ring that is full leaves the client's bytes in its socket (or its stream's window shut); one
 * that is empty has the call wait.
 *
 * curl asks from inside its own work, in which nothing may be answered or cancelled. So what reads
 * from the client, and may find that it sent too much, waits for the end of the turn. */
#include "routes/routes_internal.h"

#include <stdlib.h>

enum { RING = 64 * 1024 };

static struct passage *passage_of(struct http_body_reader *reader)
{
    return CONTAINER_OF(reader, struct passage, body.reader);
}

/* -- from the client --------------------------------------------------------------------------- */

static char *on_room(struct http_body_reader *reader, size_t *n_r)
{
    struct body_up *body = &passage_of(reader)->body;
    size_t end = (body->first + body->held) % body->size;
    body->full = body->held == body->size;
    if (body->full)
        return NULL;
    *n_r = end < body->first ? body->first - end : body->size - end;
    return body->ring + end;
}

static void tell_call(struct passage *passage)
{
    if (passage->body.wanted && passage->call != NULL)
        up_call_resume(passage->call);
    passage->body.wanted = false;
}

static void on_got(struct http_body_reader *reader, size_t n)
{
    struct passage *passage = passage_of(reader);
    passage->body.held += n;
    tell_call(passage);
}

static void on_end(struct http_body_reader *reader, enum http_body_end how)
{
    struct passage *passage = passage_of(reader);
    if (how != BODY_WHOLE) {
        passage_body_failed(passage, how);
        return;
    }
    passage->body.whole = true;
    tell_call(passage);
    passage_body_whole(passage);
}

static void read_more(struct task *task)
{
    struct passage *passage = CONTAINER_OF(task, struct passage, body.more);
    struct body_up *body = &passage->body;
    uint64_t max = passage->route->config->max_body;
    if (passage->begun)
        return; /* nobody reads any more */
    if (body->begun) {
        http_body_resume(passage->request);
        return;
    }
    body->begun = true;
    body->ring = malloc(body->size);
    gw_assert(body->ring != NULL);
    http_body_read(passage->request, &body->reader, max != 0 ? max : UINT64_MAX);
}

/* -- to the upstream --------------------------------------------------------------------------- */

ssize_t body_up_read(struct up_stream *stream, char *to, size_t room)
{
    struct passage *passage = CONTAINER_OF(stream, struct passage, stream);
    struct body_up *body = &passage->body;
    size_t n = body->size - body->first;
    if (body->held == 0 && body->whole)
        return 0;
    if (body->held == 0) {
        body->wanted = true;
        task_defer(passage->request->loop, &body->more);
        return UP_READ_NOTHING_YET;
    }
    n = n < body->held ? n : body->held;
    n = n < room ? n : room;
    memcpy(to, body->ring + body->first, n);
    body->held -= n;
    body->taken += n;
    body->first = body->held == 0 ? 0 : (body->first + n) % body->size;
    if (body->full)
        task_defer(passage->request->loop, &body->more);
    return (ssize_t)n;
}

/* -- from beginning to end --------------------------------------------------------------------- */

void body_up_init(struct passage *passage)
{
    struct body_up *body = &passage->body;
    uint64_t length = http_body_length(passage->request);
    *body = (struct body_up){.reader = {on_room, on_got, on_end},
                             .size = length < RING ? (size_t)length + 1 : RING,
                             .whole = length == 0};
    task_init(&body->more, read_more);
    if (length == 0)
        return;
    passage->stream.read = body_up_read;
    passage->stream.length = length;
}

void body_up_fini(struct passage *passage)
{
    task_cancel(&passage->body.more);
    free(passage->body.ring);
    passage->body.ring = NULL;
}
