/* Replies that are on their way. h2o 2.2.5 waits for ever for a client that doesn't read, or gives
 * a stream no window; so from time to time all of them are looked at, and a connection on which one
 * has stood still for a minute is given up.
 *
 * Meanwhile its memory is held, and a client has a hundred replies on a connection. When those of a
 * loop come to a lot, who takes next to nothing has less time. */
#include "http/http_internal.h"

enum {
    SWEEP_MS = 5000,
    STALLED_MS = 60000,
    HURRIED_MS = 5000,
    HURRIED_BYTES = 1024, /* less than that is feigned */
    HELD_MAX = 64 << 20   /* of a loop: a thousand pages of 64 KiB */
};

void sending_setup(struct http_server *server)
{
    server->sweep_ms = SWEEP_MS;
    server->stalled_ms = STALLED_MS;
    server->hurried_ms = HURRIED_MS;
    server->held_max = HELD_MAX;
}

void sending_begins(struct http_request *request)
{
    if (request->conn->http->draining)
        request->h2o->http1_is_persistent = 0;
    sending_goes_on(request);
}

void sending_pauses(struct http_request *request)
{
    h2o_linklist_unlink(&request->sending);
}

void sending_goes_on(struct http_request *request)
{
    struct http_loop *http = request->conn->http;
    if (h2o_linklist_is_linked(&request->sending))
        return;
    request->progress = 0;
    request->progress_ms = loop_now_ms(http->loop);
    h2o_linklist_insert(&http->sending, &request->sending);
    if (!timer_running(&http->sweep))
        timer_start(http->loop, &http->sweep, http->server->sweep_ms);
}

static void give_up(struct http_conn *conn)
{
    if (conn->given_up)
        return; /* for another of its replies */
    conn->given_up = true;
    http_abuse(conn, ABUSE_STALLED);
    guard_abort(conn);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static void sweep(struct timer *timer)
{
    struct http_loop *http = CONTAINER_OF(timer, struct http_loop, sweep);
    const struct http_server *server = http->server;
    uint64_t now_ms = loop_now_ms(http->loop);
    bool hurried = http->held > server->held_max;
    uint64_t patience_ms = hurried ? server->hurried_ms : server->stalled_ms;
    for (h2o_linklist_t *node = http->sending.next; node != &http->sending; node = node->next) {
        struct http_request *request = CONTAINER_OF(node, struct http_request, sending);
        uint64_t progress = guard_progress(request->conn, request->h2o);
        if (distance(progress, request->progress) >= (hurried ? HURRIED_BYTES : 1)) {
            request->progress = progress;
            request->progress_ms = now_ms;
        } else if (now_ms - request->progress_ms >= patience_ms) {
            request->flags = "DC";
            give_up(request->conn);
        }
    }
    if (!h2o_linklist_is_empty(&http->sending))
        timer_start(http->loop, &http->sweep, http->server->sweep_ms);
}

void sending_init(struct http_loop *http)
{
    h2o_linklist_init_anchor(&http->sending);
    timer_init(&http->sweep, sweep);
}

void sending_holds(struct http_request *request, size_t bytes)
{
    request->held += bytes;
    request->conn->http->held += bytes;
}

void sending_ends(struct http_request *request)
{
    if (h2o_linklist_is_linked(&request->sending))
        h2o_linklist_unlink(&request->sending);
    request->conn->http->held -= request->held;
}
