/* GET /upstreams and /metrics on the admin listener; GET and POST /log, POST /tls/reload on the
 * control socket. */
#include "commands/operate.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/log.h"
#include "commands/commands.h"
#include "observe/metrics.h"

static void reply(struct http_request *request, const char *type, struct out *out)
{
    http_add_header(request, "cache-control", STR("no-store"));
    http_reply(request, 200, type, out);
}

static void show_upstreams(struct http_request *request, void *arg)
{
    enum { MAX_STATUS = 64 << 20 }; /* what a configuration of 1 MiB could come to */
    const struct site *site = arg;
    struct buf text;
    struct out out;
    buf_init(&text, MAX_STATUS);
    gw_assert(upstreams_write_json(site->upstreams, &text));
    out_init(&out, request->pool, text.n);
    out_str(&out, buf_str(&text));
    buf_fini(&text);
    reply(request, "application/json", &out);
}

static void write_offloads(const struct site *site, struct out *out)
{
    const struct {
        struct str name;
        struct offload_stats stats;
    } pools[] = {{STR("names"), offload_stats(site->names)},
                 {STR("reads"), offload_stats(site->reads)},
                 {STR("disk"), offload_stats(site->disk)},
                 {STR("compute"), offload_stats(site->compute)}};
    static const char *const names[] = {"gw_offload_queue_depth", "gw_offload_working",
                                        "gw_offload_threads", "gw_offload_refused_total"};
    static const char *const helps[] = {"Jobs that wait for a thread.", "Threads that work.",
                                        "Threads that there may be.",
                                        "Jobs that were refused because too many waited."};
    for (size_t i = 0; i < COUNT(names); i++) {
        metric_begin(out, names[i], i < 3 ? METRIC_GAUGE : METRIC_COUNTER, helps[i]);
        for (size_t j = 0; j < COUNT(pools); j++) {
            const struct offload_stats *stats = &pools[j].stats;
            const uint64_t values[] = {stats->queued, stats->working, stats->threads_max,
                                       stats->refused};
            const struct str labels[] = {STR("pool"), pools[j].name};
            metric_put(out, names[i], labels, COUNT(labels), values[i]);
        }
    }
}

static void show_metrics(struct http_request *request, void *arg)
{
    const struct site *site = arg;
    const struct str build[] = {STR("version"), str_from(gateway_version)};
    struct out out;
    out_init(&out, request->pool, 16 << 10);
    metrics_write(site->metrics, &out);
    http_write_metrics(site->server, &out);
    upstreams_write_metrics(site->upstreams, &out);
    cache_write_metrics(site->cache, &out);
    middleware_write_metrics(site->middleware, &out);
    files_write_metrics(site->files, &out);
    write_offloads(site, &out);
    metrics_write_process(&out);
    metric_begin(&out, "gw_access_log_dropped_total", METRIC_COUNTER,
                 "Lines of the access log that were dropped.");
    metric_put(&out, "gw_access_log_dropped_total", NULL, 0, access_log_dropped(site->access));
    metric_begin(&out, "gw_slow_log_dropped_total", METRIC_COUNTER,
                 "Slow requests that were not told of.");
    metric_put(&out, "gw_slow_log_dropped_total", NULL, 0, access_log_dropped(site->slow));
    metric_begin(&out, "gw_build_info", METRIC_GAUGE, "1; what runs here.");
    metric_put(&out, "gw_build_info", build, COUNT(build), 1);
    reply(request, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static void show_level(struct http_request *request, void *arg)
{
    (void)arg;
    struct out out;
    out_init(&out, request->pool, 64);
    out_str(&out, STR("{\"level\":\""));
    out_str(&out, str_from(log_level_name(log_get_level())));
    out_str(&out, STR("\"}\n"));
    reply(request, "application/json", &out);
}

static void set_level(struct http_request *request, void *arg)
{
    static const struct http_problem unknown = {
        .status = 400,
        .type = "bad-level",
        .title = "There is no such level",
        .detail = {"?level=debug, info, warn or error", 33}};
    enum log_level level;
    if (!log_level_parse(http_query(request, STR("level")), &level)) {
        http_problem_reply(request, &unknown);
        return;
    }
    log_set_level(level);
    log_event(LOG_INFO, "log level changed", "level=%s", log_level_name(level));
    show_level(request, arg);
}

/* Reading certificates, on an offload thread. Goes with its request, or after its work when that
 * takes longer. */
struct reload {
    struct offload_job job;
    struct http_request *request; /* NULL: the client left */
    struct reload **held;         /* the request's */
    struct site *site;
    bool done;
    char *said; /* owned: errors and warnings, a line each */
};

static void reload_work(struct offload_job *job)
{
    struct reload *reload = CONTAINER_OF(job, struct reload, job);
    struct diag *diag = diag_create();
    size_t n;
    reload->done = http_tls_reload(reload->site->server, diag);
    FILE *text = open_memstream(&reload->said, &n);
    gw_assert(text != NULL);
    diag_print(diag, text);
    gw_assert(fclose(text) == 0 && reload->said != NULL);
    diag_destroy(&diag);
    if (!reload->done)
        log_event(LOG_ERROR, "certificates not reloaded: the old ones stay", "why=%s",
                  log_quote(str_from(reload->said)));
    else if (n != 0)
        log_event(LOG_WARN, "certificates reloaded", "but=%s", log_quote(str_from(reload->said)));
    else
        log_event(LOG_INFO, "certificates reloaded", "%s", "");
}

static void reload_free(struct offload_job *job)
{
    struct reload *reload = CONTAINER_OF(job, struct reload, job);
    if (reload->request != NULL)
        *reload->held = NULL;
    free(reload->said);
    free(reload);
}

static void reload_done(struct offload_job *job)
{
    struct reload *reload = CONTAINER_OF(job, struct reload, job);
    struct http_request *request = reload->request;
    if (request != NULL && !reload->done) {
        h2o_iovec_t kept = h2o_strdup(request->pool, reload->said, SIZE_MAX);
        const struct http_problem problem = {.status = 422,
                                             .type = "bad-certificates",
                                             .title = "The old certificates stay",
                                             .detail = {kept.base, kept.len}};
        http_problem_reply(request, &problem);
    } else if (request != NULL) {
        struct out out;
        out_init(&out, request->pool, 64);
        out_str(&out, STR("certificates reloaded\n"));
        out_str(&out, str_from(reload->said));
        reply(request, "text/plain; charset=utf-8", &out);
    }
    reload_free(job);
}

static void reload_left(void *arg)
{
    struct reload **held = arg;
    if (*held != NULL)
        (*held)->request = NULL;
}

static void reload_certificates(struct http_request *request, void *arg)
{
    static const struct http_problem busy = {.status = 503,
                                             .type = "overloaded",
                                             .title = "Too much is going on to read files",
                                             .retry_after_s = 1};
    struct site *site = arg;
    struct reload *reload = calloc(1, sizeof(*reload));
    struct reload **held = h2o_mem_alloc_shared(request->pool, sizeof(*held), reload_left);
    gw_assert(reload != NULL);
    *held = reload;
    *reload = (struct reload){.job = {.work = reload_work,
                                      .done = reload_done,
                                      .dropped = reload_free,
                                      .loop = request->loop},
                              .request = request,
                              .held = held,
                              .site = site};
    if (!offload_submit(site->reads, &reload->job)) {
        reload_free(&reload->job);
        http_problem_reply(request, &busy);
    }
}

void operate_add(struct site *site)
{
    http_admin_add(site->server, "upstreams", STR("/upstreams"), show_upstreams, site);
    http_admin_add(site->server, "metrics", STR("/metrics"), show_metrics, site);
    http_control_add(site->server, "log", HTTP_GET, STR("/log"), show_level, site);
    http_control_add(site->server, "log-set", HTTP_POST, STR("/log"), set_level, site);
    http_control_add(site->server, "tls-reload", HTTP_POST, STR("/tls/reload"), reload_certificates,
                     site);
}
