/* The wiring that every command which reads the configuration shares: each folder checks its own
 * part and adds to one diag, so that the user sees all errors at once. */
#include "commands/site.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cpus.h"
#include "base/folders.h"
#include "base/log.h"
#include "commands/commands.h"
#include "commands/secret.h"
#include "http/middleware.h"
#include "observe/metrics.h"

/* A stuck resolver must not keep files waiting, nor a sync of the disk what is only read: each has
 * threads of its own. */
enum { NAME_THREADS = 4, READ_THREADS = 4, DISK_THREADS = 4, OFFLOAD_QUEUE = 1024 };

/* Threads that draw and sign give way to the loops, which have only moments of work each. */
enum { COMPUTE_NICE = 10 };

static bool needs_store(const struct config *config)
{
    bool needs = config->upload_count != 0;
    for (size_t i = 0; i < config->certificate_count; i++)
        needs |= config->certificates[i].registered;
    return needs;
}

/* The database and the secret, where something needs them: a gateway that only shows pages keeps
 * nothing. */
static void open_data(struct site *site, struct diag *diag)
{
    const struct config *config = site->config;
    char path[PATH_MAX];
    const char *error = NULL;
    int failed = folders_make(config->data.dir.p, 0700);
    if (failed != 0) {
        diag_error(diag, config_pos(config, &config->data.dir), "can't make the folder \"%s\": %s",
                   config->data.dir.p, strerror(failed));
        return;
    }
    if (!site_secret(config, true, &site->secret, diag) || !needs_store(config))
        return;
    snprintf(path, sizeof(path), "%s/gateway.db", config->data.dir.p);
    site->store = store_open(path, &error);
    if (site->store == NULL)
        diag_error(diag, config_pos(config, &config->data.dir), "%s", error);
}

static enum access_format access_format(const struct config_log *log)
{
    switch ((enum config_access_format)log->access_format) {
    case ACCESS_AS_JSON:
        return ACCESS_JSON;
    case ACCESS_AS_COMBINED:
        return ACCESS_COMBINED;
    case ACCESS_AS_LOGFMT:
        return ACCESS_LOGFMT;
    default:
        return log->format == LOG_JSON ? ACCESS_JSON : ACCESS_LOGFMT;
    }
}

/* What goes on from site to site: what was counted, and the access log unless it is another one. */
static void open_observers(struct site *site, const struct site *before, struct diag *diag)
{
    const struct config *config = site->config;
    const struct config_log *log = &config->log, *old = before ? &before->config->log : NULL;
    site->metrics = before != NULL ? before->metrics : metrics_create(site->workers);
    site->owns_metrics = before == NULL;
    if (log->slow_ms != 0)
        site->slow = access_log_open(
            "stderr", log->format == LOG_JSON ? ACCESS_SLOW_JSON : ACCESS_SLOW_LOGFMT,
            site->workers);
    if (before != NULL && str_eq(log->access, old->access) &&
        access_format(log) == access_format(old)) {
        site->access = before->access;
        return;
    }
    site->owns_access = true;
    errno = 0;
    site->access = access_log_open(log->access.p, access_format(log), site->workers);
    if (site->access == NULL && errno != 0)
        diag_error(diag, config_pos(config, &log->access), "cannot open the access log \"%s\": %s",
                   log->access.p, strerror(errno));
}

/* What can't change while the process runs. */
static void warn_of_restart(const struct site *site, const struct site *before, struct diag *diag)
{
    const struct config *config = site->config, *old = before->config;
    const char *const later = "this takes effect when the gateway is started again";
    if (config->server.workers != old->server.workers)
        diag_warning(diag, config_pos(config, &config->server.workers), "%s", later);
    if (!str_eq(config->admin.listen, old->admin.listen))
        diag_warning(diag, config_pos(config, &config->admin.listen), "%s", later);
    if (!str_eq(config->admin.control, old->admin.control))
        diag_warning(diag, config_pos(config, &config->admin.control), "%s", later);
}

/* With errors in diag, the site is good for site_destroy() only. */
static struct site *create(const char *file, bool serving, const struct site *before,
                           struct diag *diag)
{
    struct site *site = calloc(1, sizeof(*site));
    gw_assert(site != NULL);
    struct config *config = site->config = config_load(file, diag);
    site->workers = !serving                 ? 1
                    : before != NULL         ? before->workers
                    : config->server.workers ? config->server.workers
                                             : cpus_available();
    if (before != NULL)
        warn_of_restart(site, before, diag);
    site->names = offload_create("gw-names", NAME_THREADS, OFFLOAD_QUEUE);
    site->reads = offload_create("gw-reads", READ_THREADS, OFFLOAD_QUEUE);
    site->disk = offload_create("gw-disk", DISK_THREADS, OFFLOAD_QUEUE);
    site->compute = offload_create(
        "gw-compute", config->offload.threads != 0 ? config->offload.threads : cpus_available(),
        config->offload.max_queue);
    offload_set_nice(site->compute, COMPUTE_NICE);
    if (serving && diag_errors(diag) == 0)
        open_observers(site, before, diag);
    bool keeps =
        config->upload_count != 0 || config->download_count != 0 || config->certificate_count != 0;
    if (serving && keeps && diag_errors(diag) == 0)
        open_data(site, diag);
    site->templates = template_set_create(config->templates_dir.p);
    site->upstreams = upstreams_create(config, diag);
    site->tracing = tracing_create(config, site->upstreams, diag);
    site->cache = cache_create(config, serving, site->disk, diag);
    site->server = http_server_create(config, serving && keeps ? &site->secret : NULL, site->reads,
                                      site->access, site->metrics, diag);
    http_server_log_slow(site->server, site->slow);
    const struct middleware_needs passed = {.config = config,
                                            .upstreams = site->upstreams,
                                            .server = site->server,
                                            .compute = site->compute};
    site->middleware = middleware_create(&passed, diag);
    site->pages = pages_create(config, site->upstreams, site->templates, site->server, diag);
    site->files = files_create(config, site->store, site->disk, site->reads, site->templates,
                               site->server, diag);
    site->routing = routing_create(config, site->upstreams, site->server, diag);
    const struct certificates_needs needs = {.config = config,
                                             .store = site->store,
                                             .compute = site->compute,
                                             .reads = site->reads,
                                             .templates = site->templates,
                                             .upstreams = site->upstreams,
                                             .pages = site->pages,
                                             .server = site->server,
                                             .secret = serving && keeps ? &site->secret : NULL};
    site->certificates = certificates_create(&needs, diag);
    http_middleware_link(site->server, diag);
    return site;
}

void site_destroy(struct site **site_p)
{
    struct site *site = *site_p;
    if (site == NULL)
        return;
    certificates_destroy(&site->certificates);
    routing_destroy(&site->routing);
    files_destroy(&site->files);
    pages_destroy(&site->pages);
    http_server_destroy(&site->server);
    middleware_destroy(&site->middleware);
    cache_destroy(&site->cache);
    tracing_destroy(&site->tracing);
    upstreams_destroy(&site->upstreams);
    template_set_destroy(&site->templates);
    if (site->owns_access)
        access_log_close(&site->access);
    access_log_close(&site->slow);
    if (site->owns_metrics)
        metrics_destroy(&site->metrics);
    store_close(&site->store);
    offload_destroy(&site->compute);
    offload_destroy(&site->disk);
    offload_destroy(&site->reads);
    offload_destroy(&site->names);
    config_destroy(&site->config);
    free(site);
    *site_p = NULL;
}

static struct site *open_site(const char *file, bool serving, const struct site *before,
                              FILE *messages)
{
    struct diag *diag = diag_create();
    struct site *site = create(file, serving, before, diag);
    diag_print(diag, messages);
    if (diag_errors(diag) != 0)
        site_destroy(&site);
    diag_destroy(&diag);
    return site;
}

struct site *site_open(const char *file, bool serving)
{
    return open_site(file, serving, NULL, stderr);
}

struct site *site_open_next(const struct site *before, FILE *messages)
{
    return open_site(before->config->file.p, true, before, messages);
}

void site_follow(struct site *site, struct site *before)
{
    site->owns_metrics = true;
    before->owns_metrics = false;
    if (site->access != before->access)
        return;
    site->owns_access = before->owns_access;
    before->owns_access = false;
}

struct site *site_open_arguments(int argc, char **argv, const char *usage, bool serving,
                                 int *exit_r)
{
    const char *file = DEFAULT_CONFIG_FILE;
    const struct command_option options[] = {{.name = "config", .letter = 'c', .value_r = &file}};
    const struct command_line line = {
        .usage = usage, .options = options, .option_count = COUNT(options)};
    if (!command_arguments(argc, argv, &line, exit_r))
        return NULL;
    *exit_r = COMMAND_BAD_CONFIG;
    return site_open(file, serving);
}
