/* The way of a request through http/: from h2o's handler to our route and, when it is over, into
 * the access log, the metrics and its trace.
 *
 * h2o routes nothing here: it has one handler for every path, and our routes decide. What h2o
 * answers before a handler is asked (a malformed field under HTTP/2, say) ends on the host's
 * fallback path; a logger sits there, so that no request goes without its line. */
#include "http/http_internal.h"

#include "base/crash.h"
#include "base/put.h"
#include "base/random.h"
#include "observe/metrics.h"

struct str request_id_make(struct http_loop *http, h2o_mem_pool_t *pool)
{
    char *text = h2o_mem_alloc_pool(pool, 32);
    put_hex(put_hex(text, random_next(http->random)), random_next(http->random));
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

void log_h2o_error(h2o_logger_t *logger, h2o_req_t *req)
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

int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct http_conn *conn = guard_conn(req);
    struct http_request *request = request_create(conn, req, on_dispose);
    (void)handler;
    guard_begun(conn);
    watch_begin(conn, request);
    http_serving(request, STR(""));
    if (conn->scan.status != 0) { /* the guard refused the head, this is its stub */
        const char *line = conn->line.p != NULL ? conn->line.p : "";
        request->method = (struct str){line, conn->scan.method_length};
        request->target = (struct str){line + request->method.n, conn->scan.target_length};
        request->host = (struct str){"", 0};
        count_active(request);
        problem_reply_status(request, conn->scan.status, conn->scan.reason);
        return 0;
    }
    count_active(request);
    dispatch(request);
    return 0;
}
