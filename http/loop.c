/* A loop's listeners and connections, and the server that its requests come under now: how h2o is
 * set up, how one server takes the place of another, and the drain.
 *
 * Each of h2o's hosts (the public site, the admin listener, the control socket) is the same one
 * with the same handler: which site it is, the connection says. */
#include "http/http_internal.h"

#include <stdlib.h>
#include "base/random.h"

enum { DRAIN_CHECK_MS = 100, DESTROY_TURNS = 100 };

static void tell_idle(struct task *task)
{
    struct http_loop *http = CONTAINER_OF(task, struct http_loop, idle_task);
    void (*fn)(void *arg) = http->idle_fn;
    http->idle_fn = NULL;
    timer_stop(http->loop, &http->drain_timer);
    if (fn != NULL)
        fn(http->idle_arg);
}

static void drain_again(struct timer *timer)
{
    struct http_loop *http = CONTAINER_OF(timer, struct http_loop, drain_timer);
    timer_start(http->loop, timer, DRAIN_CHECK_MS);
    guard_close_idle(http);
}

/* What h2o calls, for any site: which one it is, the connection says. */
static void add_handler(struct http_loop *http)
{
    http->hosts[0] =
        h2o_config_register_host(&http->conf, h2o_iovec_init(H2O_STRLIT("gateway")), 65535);
    h2o_pathconf_t *all = h2o_config_register_path(http->hosts[0], "/", 0);
    h2o_create_handler(all, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_create_logger(&http->hosts[0]->fallback_path, sizeof(h2o_logger_t))->log_access =
        log_h2o_error;
}

static void tell_gone(struct task *task)
{
    struct http_reign *reign = CONTAINER_OF(task, struct http_reign, task);
    void (*gone)(void *arg) = reign->gone;
    void *arg = reign->arg;
    reign->http->reigns_over--;
    free(reign);
    gone(arg);
}

static struct http_reign *reign_begin(struct http_loop *http, struct http_server *server)
{
    struct http_reign *reign = h2o_mem_alloc(sizeof(*reign));
    *reign = (struct http_reign){.http = http, .server = server};
    task_init(&reign->task, tell_gone);
    http->reign = reign;
    http->server = server;
    return reign;
}

/* What h2o is told of the configuration. */
static void configure(struct http_loop *http)
{
    const struct config_server *config = &http->server->config->server;
    http->conf.max_request_entity_size = config->max_body;
    http->conf.http1.req_timeout = config->idle_timeout_ms;
    http->conf.http2.idle_timeout = config->idle_timeout_ms;
    if (config->max_streams != 0) /* a test may have no configuration */
        http->conf.http2.max_concurrent_requests_per_connection = config->max_streams;
}

static void listen_to(struct http_loop *http, struct listener *listener)
{
    for (unsigned i = loop_index(http->loop); i < listener->fd_count; i += listener->loops) {
        listening_start(http, SITE_MAIN, listener, listener->fds[i]);
        listener->fds[i] = -1;
    }
}

struct http_loop *http_loop_create(struct http_server *server, struct loop *loop)
{
    struct http_loop *http = h2o_mem_alloc(sizeof(*http));
    memset(http, 0, sizeof(*http));
    http->loop = loop;
    reign_begin(http, server);
    h2o_linklist_init_anchor(&http->conns);
    http->chunks = chunks_create();
    sending_init(http);
    timer_init(&http->drain_timer, drain_again);
    task_init(&http->idle_task, tell_idle);
    random_seed(http->random);
    h2o_config_init(&http->conf);
    http->conf.server_name = h2o_iovec_init("", 0); /* see reply.c */
    configure(http);
    add_handler(http);
    h2o_context_init(&http->h2o, loop_h2o(loop), &http->conf);
    http->accept = (h2o_accept_ctx_t){.ctx = &http->h2o, .hosts = http->hosts};
    for (size_t i = 0; i < server->listener_count; i++)
        listen_to(http, server->listeners[i]);
    return http;
}

static bool has_listener(const struct http_server *server, const struct listener *listener)
{
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listeners[i] == listener)
            return true;
    return false;
}

static bool listens_to(const struct http_loop *http, const struct listener *listener)
{
    for (const struct listening *it = http->listening; it != NULL; it = it->next)
        if (it->of == listener)
            return true;
    return false;
}

void http_loop_adopt(struct http_loop *http, struct http_server *server, void (*gone)(void *arg),
                     void *arg)
{
    struct http_reign *before = http->reign;
    reign_begin(http, server);
    configure(http);
    http->h2o.http1.req_timeout.timeout = http->conf.http1.req_timeout;
    http->h2o.http2.idle_timeout.timeout = http->conf.http2.idle_timeout;
    for (struct listening **at = &http->listening, *it; (it = *at) != NULL;) {
        if (it->of == NULL || has_listener(server, it->of)) {
            at = &it->next;
            continue;
        }
        listening_stop(it);
        *at = it->next;
        free(it);
    }
    for (size_t i = 0; !http->draining && i < server->listener_count; i++)
        if (!listens_to(http, server->listeners[i]))
            listen_to(http, server->listeners[i]);
    http->reigns_over++;
    before->over = true;
    before->gone = gone;
    before->arg = arg;
    if (before->requests == 0)
        task_defer(http->loop, &before->task);
}

void http_loop_drain(struct http_loop *http, bool everything, void (*idle)(void *arg), void *arg)
{
    http->idle_fn = idle;
    http->idle_arg = arg;
    http->draining = true;
    for (struct listening *it = http->listening; it != NULL; it = it->next)
        if (it->kind == SITE_MAIN || everything)
            listening_stop(it);
    h2o_context_request_shutdown(&http->h2o);
    guard_close_idle(http);
    timer_start(http->loop, &http->drain_timer, DRAIN_CHECK_MS);
    if (http->main_conns == 0)
        task_defer(http->loop, &http->idle_task);
}

void http_loop_destroy(struct http_loop **http_p)
{
    struct http_loop *http = *http_p;
    if (http == NULL)
        return;
    http->idle_fn = NULL;
    for (struct listening *it; (it = http->listening) != NULL;) {
        listening_abandon(it);
        http->listening = it->next;
        free(it);
    }
    guard_close_all(http);
    for (unsigned turns = 0; turns < DESTROY_TURNS && !h2o_linklist_is_empty(&http->conns); turns++)
        loop_turn(http->loop, 10);
    gw_assert(h2o_linklist_is_empty(&http->conns));
    while (http->reigns_over != 0)
        loop_turn(http->loop, 0);
    timer_stop(http->loop, &http->sweep);
    timer_stop(http->loop, &http->drain_timer);
    task_cancel(&http->idle_task);
    h2o_timeout_unlink(&http->h2o.http2._graceful_shutdown_timeout);
    h2o_multithread_queue_t *queue = http->h2o.queue;
    h2o_context_dispose(&http->h2o);
    h2o_config_dispose(&http->conf);
    free(queue); /* h2o 2.2.5 leaves it behind */
    for (size_t i = 0; i < http->admin_listener_count; i++)
        listener_close(&http->admin_listeners[i]);
    while (http->spare != NULL) {
        struct http_conn *conn = http->spare;
        http->spare = conn->next_spare;
        free(conn);
    }
    chunks_destroy(&http->chunks);
    free(http->reign);
    free(http);
    *http_p = NULL;
}
