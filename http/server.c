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

enum { LINGER_MS = 2000, DRAIN_CHECK_MS = 100, DESTROY_TURNS = 100 };

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
    sending_ends(request);
    if (h2o_linklist_is_linked(&request->relaying))
        h2o_linklist_unlink(&request->relaying);
    body_dispose(request);
    series_add(request->active, (uint64_t)-1);
    crash_served(request->crash_ticket);
    struct http_server *server = request->server;
    if (request->site->is_main &&
        (server->access != NULL || server->metrics != NULL || server->slow != NULL)) {
        const struct http_route *route = request->route;
        char trace[TRACE_ID_TEXT];
        bool is_traced = trace_is(&request->trace);
        struct access_record record = {
            .id = request->id,
            .client = request->client,
            .user = request->user,
            .method = request->method,
            .path = request->target,
            .host = request->host,
            .protocol = protocol_name(req->version),
            .route = route != NULL ? http_route_name(route) : STR(""),
            .user_agent = server->access != NULL || request->trace.sampled
                              ? http_header(request, STR("user-agent"))
                              : (struct str){NULL, 0},
            .status = request->replied ? req->res.status : 499,
            .bytes = req->bytes_sent,
            .us = clock_us() - request->started_us,
            .reply_us = request->replied_us != 0 ? request->replied_us - request->started_us : 0,
            .referer =
                server->log_referer ? http_header(request, STR("referer")) : (struct str){NULL, 0},
            .trace = is_traced ? (struct str){trace, sizeof(trace)} : STR(""),
            .flags = request->replied ? request->flags : "DC",
            .parts = request->parts,
            .part_count = request->part_count,
            .scheme = request->scheme,
            .completed = request->replied ? request->completed : PAGE_NONE,
        };
        if (is_traced) {
            trace_id_put(trace, &request->trace);
            trace_end(request, &record);
        }
        http_log(request->conn->http, route != NULL ? http_route_pattern(route) : STR(""), &record);
    }
    struct http_reign *reign = request->reign;
    if (--reign->requests == 0 && reign->over)
        task_defer(request->loop, &reign->task);
    guard_done(request->conn, request);
}

void log_by_h2o(h2o_req_t *req, int status)
{
    struct http_conn *conn = guard_conn(req);
    if (conn->kind != SITE_MAIN)
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
        .scheme = conn_scheme(conn), /* the request's own may not be read yet */
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

/* All middleware has let it pass. */
static void serve(struct http_request *request)
{
    if (request->route != NULL) {
        if (!http2_body_admit(request))
            return;
        if (route_reads_body(request->route))
            route_run(request);
        else
            body_discard(request, route_run);
    } else if (request->allowed == 0) {
        request->flags = "NR";
        problem_reply_status(request, 404, NULL);
    } else if (str_eq(request->method, STR("OPTIONS"))) {
        reply_options(request, request->allowed);
    } else {
        reply_not_allowed(request);
    }
}

static void dispatch(struct http_request *request)
{
    const char *reason = NULL;
    int status = request_check(request, &reason);
    if (status == 0 && https_redirects(request))
        return;
    if (status == 0 && str_eq(request->target, STR("*")) &&
        str_eq(request->method, STR("OPTIONS"))) {
        request->allowed = HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_PUT | HTTP_PATCH | HTTP_DELETE;
    } else if (status == 0) {
        status = routes_match(request->site->routes, request);
    }
    if (status == 400 && reason == NULL)
        reason = "the path is malformed";
    if (status == 0 || status == 404 || status == 405)
        chain_run(request, chain_of(request), serve);
    else
        problem_reply_status(request, status, reason);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct http_conn *conn = guard_conn(req);
    struct http_request *request = request_create(conn, req, on_dispose);
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

/* -- the server ------------------------------------------------------------------------------- */

static void add_addresses(struct http_server *server, const struct config_strings *listen, bool tls,
                          struct diag *diag)
{
    const char *error;
    for (size_t i = 0; i < listen->count; i++) {
        struct address *first = server->addresses + server->address_count;
        unsigned count = address_parse(listen->items[i], first, &error);
        if (count == 0)
            diag_error(diag, config_pos(server->config, listen), "\"%s\": %s", listen->items[i].p,
                       error);
        for (unsigned k = 0; k < count; k++)
            first[k].tls = tls;
        server->address_count += count;
    }
}

static void read_addresses(struct http_server *server, struct diag *diag)
{
    const struct config *config = server->config;
    const struct config_strings *listen = &config->server.listen;
    const struct config_strings *listen_tls = &config->server.listen_tls;
    const struct config_strings *trusted = &config->server.trusted_proxies;
    struct address unused[2];
    const char *error;
    server->addresses =
        h2o_mem_alloc(((listen->count + listen_tls->count) * 2 + 1) * sizeof(*server->addresses));
    server->trusted = h2o_mem_alloc((trusted->count + 1) * sizeof(*server->trusted));
    add_addresses(server, listen, false, diag);
    add_addresses(server, listen_tls, true, diag);
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
    h2o_mem_init_pool(&server->chains);
    server->access = access;
    server->log_referer = config->log.access_format == ACCESS_AS_COMBINED;
    server->metrics = metrics;
    sending_setup(server);
    server->linger_ms = LINGER_MS;
    for (enum site_kind kind = 0; kind < SITES; kind++)
        server->sites[kind] =
            (struct http_site){.routes = routes_create(), .is_main = kind == SITE_MAIN};
    admin_init(server, diag);
    read_addresses(server, diag);
    problem_init(server, diag);
    server->tls = tls_create(config, diag);
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
    for (size_t i = 0; i < server->listener_count; i++) {
        listener_close(server->listeners[i]);
        free(server->listeners[i]);
    }
    for (size_t i = 0; i < server->static_count; i++)
        http_static_unmount(&server->statics[i]);
    chain_destroy_all(server);
    h2o_mem_clear_pool(&server->chains);
    auth_fini(&server->auth);
    tls_destroy(&server->tls);
    free((char *)(uintptr_t)server->hsts.p);
    free(server->statics);
    free(server->listeners);
    free(server->addresses);
    free(server->trusted);
    for (enum site_kind kind = 0; kind < SITES; kind++)
        routes_destroy(&server->sites[kind].routes);
    template_set_destroy(&server->templates);
    free(server);
    *server_p = NULL;
}

static bool same_listener(const struct address *a, const struct address *b)
{
    return a->tls == b->tls && address_equal(a, b);
}

/* NULL: there is none for this address. */
static struct listener **find_listener(struct http_server *server, const struct address *address)
{
    for (size_t i = 0; i < server->listener_count; i++)
        if (same_listener(&server->listeners[i]->wanted, address))
            return &server->listeners[i];
    return NULL;
}

static void take_over(struct http_server *server, struct http_server *before,
                      const struct address *address)
{
    struct listener **found = find_listener(before, address);
    gw_assert(found != NULL);
    server->listeners[server->listener_count++] = *found;
    *found = before->listeners[--before->listener_count];
}

/* An address of a pair shares the port that the first was given. */
static bool listen_anew(struct http_server *server, const struct address *wanted, in_port_t port,
                        unsigned loops)
{
    struct address address = *wanted;
    struct listener *listener = h2o_mem_alloc(sizeof(*listener));
    if (address.optional && address.sa.v6.sin6_port == 0)
        address.sa.v6.sin6_port = port;
    if (!listener_open(listener, &address, loops, 0660, server->error, sizeof(server->error))) {
        free(listener);
        return address.optional;
    }
    listener->wanted = *wanted;
    server->listeners[server->listener_count++] = listener;
    return true;
}

bool http_server_listen(struct http_server *server, unsigned loops, struct http_server *before,
                        const char **error_r)
{
    in_port_t port = 0;
    bool *kept = h2o_mem_alloc((server->address_count + 1) * sizeof(*kept));
    server->listeners = h2o_mem_alloc((server->address_count + 1) * sizeof(*server->listeners));
    for (size_t i = 0; i < server->address_count; i++) {
        kept[i] = before != NULL && find_listener(before, &server->addresses[i]) != NULL;
        for (size_t k = 0; k < i; k++) /* said twice: the second is in use */
            kept[i] &= !same_listener(&server->addresses[k], &server->addresses[i]);
        if (kept[i])
            continue;
        if (!listen_anew(server, &server->addresses[i], port, loops)) {
            *error_r = server->error;
            free(kept);
            return false;
        }
        if (server->listener_count != 0)
            port = server->listeners[server->listener_count - 1]->address.sa.v4.sin_port;
    }
    for (size_t i = 0; i < server->address_count; i++)
        if (kept[i])
            take_over(server, before, &server->addresses[i]);
    free(kept);
    https_setup(server);
    if (server->tls != NULL && before != NULL && before->tls != NULL)
        tls_follow(server->tls, before->tls);
    if (server->tls != NULL)
        tls_log(server->tls);
    if (before != NULL)
        server->admin_fns = before->admin_fns;
    return true;
}

static size_t put_sockets(const struct listener *listener, int *fds_r, size_t most)
{
    size_t count = listener->socket_count < most ? listener->socket_count : most;
    memcpy(fds_r, listener->sockets, count * sizeof(*fds_r));
    return count;
}

size_t http_sockets(const struct http_server *server, const struct http_loop *first, int *fds_r,
                    size_t most)
{
    size_t count = 0;
    for (size_t i = 0; i < server->listener_count; i++)
        count += put_sockets(server->listeners[i], fds_r + count, most - count);
    for (size_t i = 0; i < first->admin_listener_count; i++)
        count += put_sockets(&first->admin_listeners[i], fds_r + count, most - count);
    return count;
}

void http_sockets_handed_on(struct http_server *server, struct http_loop *first)
{
    for (size_t i = 0; i < server->listener_count; i++)
        server->listeners[i]->handed_on = true;
    for (size_t i = 0; i < first->admin_listener_count; i++)
        first->admin_listeners[i].handed_on = true;
}

bool http_tls_reload(struct http_server *server, struct diag *diag)
{
    return server->tls == NULL || tls_reload(server->tls, diag);
}

void http_write_metrics(struct http_server *server, struct out *out)
{
    tls_write_metrics(server->tls, out);
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
    ssize_t seeded = getrandom(http->random, sizeof(http->random), 0);
    gw_assert(seeded == (ssize_t)sizeof(http->random));
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
