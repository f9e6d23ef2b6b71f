/* The server and its loops: how h2o is set up, the way of a request through http/, its line in the
 * access log, and the drain.
 *
 * h2o routes nothing here. Each of its hosts (the public site, the admin listener, the control
 * socket) has one handler for every path, and our routes decide. What h2o answers before a handler
 * is asked (a malformed field under HTTP/2, say) ends on the host's fallback path; a logger sits
 * there, so that no request goes without its line. */
#include "http/http_internal.h"

#include <stdlib.h>
#include <sys/random.h>
#include "base/crash.h"
#include "http/static.h"
#include "observe/metrics.h"

enum {
    SWEEP_MS = 5000,
    STALLED_MS = 60000, /* a reply of which nothing got through for this long is given up */
    LINGER_MS = 2000,
    DRAIN_CHECK_MS = 500,
    DESTROY_TURNS = 100
};

/* -- requests ---------------------------------------------------------------------------------- */

static uint64_t random_next(uint64_t state[2])
{
    uint64_t a = state[0], b = state[1]; /* xorshift128+ */
    state[0] = b;
    a ^= a << 23;
    state[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return state[1] + b;
}

struct str request_id_make(struct http_loop *http, h2o_mem_pool_t *pool)
{
    char *text = h2o_mem_alloc_pool(pool, 32);
    for (size_t i = 0; i < 32; i += 16) {
        uint64_t bits = random_next(http->random);
        for (size_t digit = 0; digit < 16; digit++, bits >>= 4)
            text[i + digit] = "0123456789abcdef"[bits & 15];
    }
    return (struct str){text, 32};
}

void http_log(struct http_loop *http, struct str route, const struct access_record *record)
{
    struct http_server *server = http->server;
    metrics_count(server->metrics, loop_index(http->loop), route, record);
    access_log_write(server->access, loop_index(http->loop), record);
    if (server->slow != NULL && record->us > server->slow_us && log_get_level() <= LOG_WARN)
        access_log_write(server->slow, loop_index(http->loop), record);
}

static struct str protocol_name(int version)
{
    return version >= 0x200 ? STR("HTTP/2") : version == 0x101 ? STR("HTTP/1.1") : STR("HTTP/1.0");
}

void http_serving(struct http_request *request, struct str part)
{
    struct str route = request->route != NULL ? http_route_pattern(request->route) : STR("");
    request->crash_ticket =
        crash_serving(request->crash_ticket, request->id, request->method, route, part);
}

static void count_active(struct http_request *request)
{
    const struct str labels[] = {metric_method(request->method), request->scheme};
    if (request->site->is_main)
        request->active = metric_series(METRIC_ACTIVE_REQUESTS, labels, COUNT(labels));
    series_add(request->active, 1);
}

/* The request's memory goes: it was answered, or its client is gone. */
static void on_dispose(void *arg)
{
    struct http_request *request = arg;
    h2o_req_t *req = request->h2o;
    if (h2o_linklist_is_linked(&request->sending))
        h2o_linklist_unlink(&request->sending);
    if (h2o_linklist_is_linked(&request->relaying))
        h2o_linklist_unlink(&request->relaying);
    body_dispose(request);
    series_add(request->active, (uint64_t)-1);
    crash_served(request->crash_ticket);
    struct http_server *server = request->server;
    if (request->site->is_main &&
        (server->access != NULL || server->metrics != NULL || server->slow != NULL)) {
        const struct http_route *route = request->route;
        struct access_record record = {
            .id = request->id,
            .client = request->client,
            .method = request->method,
            .path = request->target,
            .host = request->host,
            .protocol = protocol_name(req->version),
            .route = route != NULL ? http_route_name(route) : STR(""),
            .user_agent = server->access != NULL ? http_header(request, STR("user-agent"))
                                                 : (struct str){NULL, 0},
            .status = request->replied ? req->res.status : 499,
            .bytes = req->bytes_sent,
            .us = clock_us() - request->started_us,
            .reply_us = request->replied_us != 0 ? request->replied_us - request->started_us : 0,
            .user = request->user,
            .referer =
                server->log_referer ? http_header(request, STR("referer")) : (struct str){NULL, 0},
            .flags = request->replied ? request->flags : "DC",
            .parts = request->parts,
            .part_count = request->part_count,
            .scheme = request->scheme,
            .completed = request->replied ? request->completed : PAGE_NONE,
        };
        http_log(request->conn->http, route != NULL ? http_route_pattern(route) : STR(""), &record);
    }
    guard_done(request->conn, request);
}

void log_by_h2o(h2o_req_t *req, int status)
{
    struct http_conn *conn = guard_conn(req);
    if (!conn->site->is_main)
        return;
    struct access_record record = {
        .id = request_id_make(conn->http, &req->pool),
        .client = {conn->peer, conn->peer_length},
        .method = {req->input.method.base, req->input.method.len},
        .path = {req->input.path.base, req->input.path.len},
        .host = {req->input.authority.base, req->input.authority.len},
        .protocol = protocol_name(req->version),
        .status = status,
        .bytes = req->bytes_sent,
        .flags = "",
        .scheme = STR("http"), /* the request's own may not be read yet */
    };
    http_log(conn->http, STR(""), &record);
}

static void log_h2o_error(h2o_logger_t *logger, h2o_req_t *req)
{
    (void)logger;
    log_by_h2o(req, req->res.status);
}

static void reply_options(struct http_request *request, unsigned methods)
{
    char *allow = h2o_mem_alloc_pool(request->pool, 64);
    http_add_header(request, "allow", str_from(methods_print(methods, allow)));
    http_reply(request, 204, NULL, NULL);
}

static void reply_not_allowed(struct http_request *request)
{
    char *allow = h2o_mem_alloc_pool(request->pool, 64);
    struct http_problem problem = {.status = 405,
                                   .type = "method-not-allowed",
                                   .title = "This page does not take such requests",
                                   .allow = methods_print(request->allowed, allow)};
    http_problem_reply(request, &problem);
}

static void dispatch(struct http_request *request)
{
    const char *reason = NULL;
    bool options = str_eq(request->method, STR("OPTIONS"));
    int status = request_check(request, &reason);
    if (status == 0 && options && str_eq(request->target, STR("*"))) {
        reply_options(request,
                      HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_PUT | HTTP_PATCH | HTTP_DELETE);
        return;
    }
    if (status == 0)
        status = routes_match(request->site->routes, request);
    switch (status) {
    case 0:
        if (!http2_body_admit(request))
            return;
        if (route_reads_body(request->route))
            route_run(request);
        else
            body_discard(request, route_run);
        return;
    case 405:
        if (options)
            reply_options(request, request->allowed);
        else
            reply_not_allowed(request);
        return;
    case 404:
        request->flags = "NR";
        break;
    case 400:
        reason = reason != NULL ? reason : "the path is malformed";
        break;
    }
    problem_reply_status(request, status, reason);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct http_conn *conn = guard_conn(req);
    struct http_request *request = request_create(conn->site, conn, req, on_dispose);
    (void)handler;
    guard_begun(conn);
    watch_begin(conn, request);
    http_serving(request, STR(""));
    if (conn->scan.status != 0) { /* the guard refused the head, this is its stub */
        request->method = (struct str){conn->line.p, conn->scan.method_length};
        request->target = (struct str){conn->line.p + request->method.n, conn->scan.target_length};
        request->host = (struct str){"", 0};
        count_active(request);
        problem_reply_status(request, conn->scan.status, conn->scan.reason);
        return 0;
    }
    count_active(request);
    dispatch(request);
    return 0;
}

/* -- replies that stall ----------------------------------------------------------------------- */

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

/* h2o 2.2.5 waits for ever for a client that does not read. */
static void sweep(struct timer *timer)
{
    struct http_loop *http = CONTAINER_OF(timer, struct http_loop, sweep);
    uint64_t now_ms = loop_now_ms(http->loop);
    for (h2o_linklist_t *node = http->sending.next; node != &http->sending; node = node->next) {
        struct http_request *request = CONTAINER_OF(node, struct http_request, sending);
        uint64_t progress = guard_progress(request->conn, request->h2o);
        if (progress != request->progress) {
            request->progress = progress;
            request->progress_ms = now_ms;
        } else if (now_ms - request->progress_ms >= http->server->stalled_ms) {
            request->flags = "DC";
            guard_abort(request->conn);
        }
    }
    if (!h2o_linklist_is_empty(&http->sending))
        timer_start(http->loop, &http->sweep, http->server->sweep_ms);
}

/* -- the server ------------------------------------------------------------------------------- */

static void add_site(struct http_server *server, struct http_site *site, const char *name)
{
    site->server = server;
    site->routes = routes_create();
    site->is_main = site == &server->main;
    site->hosts[0] =
        h2o_config_register_host(&server->h2o, h2o_iovec_init(name, strlen(name)), 65535);
    h2o_pathconf_t *all = h2o_config_register_path(site->hosts[0], "/", 0);
    h2o_create_handler(all, sizeof(h2o_handler_t))->on_req = on_request;
    if (site->is_main)
        h2o_create_logger(&site->hosts[0]->fallback_path, sizeof(h2o_logger_t))->log_access =
            log_h2o_error;
}

static void read_addresses(struct http_server *server, struct diag *diag)
{
    const struct config *config = server->config;
    const struct config_strings *listen = &config->server.listen;
    const struct config_strings *trusted = &config->server.trusted_proxies;
    struct address unused[2];
    const char *error;
    server->addresses = h2o_mem_alloc((listen->count * 2 + 1) * sizeof(*server->addresses));
    server->trusted = h2o_mem_alloc((trusted->count + 1) * sizeof(*server->trusted));
    for (size_t i = 0; i < listen->count; i++) {
        unsigned count =
            address_parse(listen->items[i], server->addresses + server->address_count, &error);
        if (count == 0)
            diag_error(diag, config_pos(config, listen), "\"%s\": %s", listen->items[i].p, error);
        server->address_count += count;
    }
    for (size_t i = 0; i < trusted->count; i++) {
        if (network_parse(trusted->items[i], &server->trusted[server->trusted_count], &error))
            server->trusted_count++;
        else
            diag_error(diag, config_pos(config, trusted), "\"%s\": %s", trusted->items[i].p, error);
    }
    const struct str *admin = &config->admin.listen, *control = &config->admin.control;
    if (admin->n != 0 && address_parse(*admin, unused, &error) == 0)
        diag_error(diag, config_pos(config, admin), "\"%s\": %s", admin->p, error);
    if (control->n != 0 && (control->n < 5 || memcmp(control->p, "unix:", 5) != 0 ||
                            address_parse(*control, unused, &error) == 0))
        diag_error(diag, config_pos(config, control), "\"%s\": expected \"unix:/path\"",
                   control->p);
}

struct http_server *http_server_create(const struct config *config, const struct secret *secret,
                                       struct offload *files, struct access_log *access,
                                       struct metrics *metrics, struct diag *diag)
{
    struct http_server *server = h2o_mem_alloc(sizeof(*server));
    memset(server, 0, sizeof(*server));
    server->config = config;
    auth_init(&server->auth, config, secret);
    server->access = access;
    server->log_referer = config->log.access_format == ACCESS_AS_COMBINED;
    server->metrics = metrics;
    server->sweep_ms = SWEEP_MS;
    server->stalled_ms = STALLED_MS;
    server->linger_ms = LINGER_MS;
    http2_setup();
    h2o_config_init(&server->h2o);
    server->h2o.server_name = h2o_iovec_init("", 0); /* see reply.c */
    server->h2o.max_request_entity_size = config->server.max_body;
    server->h2o.http1.req_timeout = config->server.idle_timeout_ms;
    server->h2o.http2.idle_timeout = config->server.idle_timeout_ms;
    add_site(server, &server->main, "main");
    add_site(server, &server->admin, "admin");
    add_site(server, &server->control, "control");
    admin_init(server, diag);
    read_addresses(server, diag);
    problem_init(server, diag);
    server->statics = h2o_mem_alloc((config->static_count + 1) * sizeof(*server->statics));
    for (size_t i = 0; i < config->static_count; i++) {
        struct http_static *mount =
            http_static_mount(server, config, &config->statics[i], files, diag);
        if (mount != NULL)
            server->statics[server->static_count++] = mount;
    }
    return server;
}

void http_server_log_slow(struct http_server *server, struct access_log *slow)
{
    server->slow = slow;
    server->slow_us = server->config->log.slow_ms * 1000;
}

void http_server_destroy(struct http_server **server_p)
{
    struct http_server *server = *server_p;
    if (server == NULL)
        return;
    for (size_t i = 0; i < server->listener_count; i++)
        listener_close(&server->listeners[i]);
    for (size_t i = 0; i < server->static_count; i++)
        http_static_unmount(&server->statics[i]);
    auth_fini(&server->auth);
    free(server->statics);
    free(server->listeners);
    free(server->addresses);
    free(server->trusted);
    routes_destroy(&server->main.routes);
    routes_destroy(&server->admin.routes);
    routes_destroy(&server->control.routes);
    template_set_destroy(&server->templates);
    h2o_config_dispose(&server->h2o);
    free(server);
    *server_p = NULL;
}

bool http_server_listen(struct http_server *server, unsigned loops, const char **error_r)
{
    in_port_t port = 0;
    server->listeners = h2o_mem_alloc((server->address_count + 1) * sizeof(*server->listeners));
    for (size_t i = 0; i < server->address_count; i++) {
        struct address *address = &server->addresses[i];
        struct listener *listener = &server->listeners[server->listener_count];
        if (address->optional && address->sa.v6.sin6_port == 0)
            address->sa.v6.sin6_port = port; /* a pair shares the port that the first was given */
        if (listener_open(listener, address, loops, 0660, server->error, sizeof(server->error))) {
            server->listener_count++;
            port = listener->address.sa.v4.sin_port;
        } else if (!address->optional) {
            *error_r = server->error;
            return false;
        }
    }
    return true;
}

/* -- a loop ----------------------------------------------------------------------------------- */

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
    guard_close_idle(http, true);
}

struct http_loop *http_loop_create(struct http_server *server, struct loop *loop)
{
    struct http_loop *http = h2o_mem_alloc(sizeof(*http));
    size_t listenings = server->listener_count + MAX_ADMIN_LISTENERS;
    unsigned index = loop_index(loop);
    memset(http, 0, sizeof(*http));
    http->server = server;
    http->loop = loop;
    h2o_linklist_init_anchor(&http->conns);
    h2o_linklist_init_anchor(&http->sending);
    http->chunks = chunks_create();
    timer_init(&http->sweep, sweep);
    timer_init(&http->drain_timer, drain_again);
    task_init(&http->idle_task, tell_idle);
    ssize_t seeded = getrandom(http->random, sizeof(http->random), 0);
    gw_assert(seeded == (ssize_t)sizeof(http->random));
    h2o_context_init(&http->h2o, loop_h2o(loop), &server->h2o);
    http->listening = h2o_mem_alloc(listenings * sizeof(*http->listening));
    for (size_t i = 0; i < server->listener_count; i++) {
        struct listener *listener = &server->listeners[i];
        gw_assert(index < listener->fd_count);
        listening_start(&http->listening[http->listening_count++], http, &server->main,
                        listener->fds[index]);
        listener->fds[index] = -1;
    }
    return http;
}

void http_loop_drain(struct http_loop *http, void (*idle)(void *arg), void *arg)
{
    http->idle_fn = idle;
    http->idle_arg = arg;
    http->draining = true;
    for (size_t i = 0; i < http->listening_count; i++)
        if (http->listening[i].site->is_main)
            listening_stop(&http->listening[i]);
    h2o_context_request_shutdown(&http->h2o);
    guard_close_idle(http, false);
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
    for (size_t i = 0; i < http->listening_count; i++)
        listening_abandon(&http->listening[i]);
    guard_close_all(http);
    for (unsigned turns = 0; turns < DESTROY_TURNS && !h2o_linklist_is_empty(&http->conns); turns++)
        loop_turn(http->loop, 10);
    gw_assert(h2o_linklist_is_empty(&http->conns));
    timer_stop(http->loop, &http->sweep);
    timer_stop(http->loop, &http->drain_timer);
    task_cancel(&http->idle_task);
    h2o_timeout_unlink(&http->h2o.http2._graceful_shutdown_timeout);
    h2o_multithread_queue_t *queue = http->h2o.queue;
    h2o_context_dispose(&http->h2o);
    free(queue); /* h2o 2.2.5 leaves it behind */
    for (size_t i = 0; i < http->admin_listener_count; i++)
        listener_close(&http->admin_listeners[i]);
    while (http->spare != NULL) {
        struct http_conn *conn = http->spare;
        http->spare = conn->next_spare;
        free(conn);
    }
    chunks_destroy(&http->chunks);
    free(http->listening);
    free(http);
    *http_p = NULL;
}
