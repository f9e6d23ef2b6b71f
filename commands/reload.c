/* Who asks by POST /reload waits on the loop that serves the control socket; each has a number, and
 * a reload that began after it was given answers it. The main thread reads, checks and hands over,
 * and posts what came of it to that loop. */
#include "commands/reload.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/json.h"
#include "base/log.h"
#include "commands/operate.h"
#include "observe/metrics.h"

/* A request that waits. In its pool. */
struct asker {
    struct http_request *request;
    uint64_t number;
    h2o_linklist_t link; /* in reload.askers */
};

struct reload {
    void (*wake)(void *arg);
    void *wake_arg;
    struct workers *workers; /* borrowed */
    h2o_linklist_t askers;   /* of the first loop */
    _Atomic uint64_t asked;  /* by requests; the last one's number */
    _Atomic bool closed;
    const char *reason;   /* to begin one; NULL = none */
    bool under_way, done; /* handed over, and not by every loop adopted yet; one has ended */
    uint64_t answered, begun_us;
    struct message message; /* takes what follows to the first loop */
    _Atomic bool posted;
    char *messages; /* owned: what the check said, lines */
    bool good;
    uint64_t number; /* of the last asker that this is for */
    unsigned generation;
};

/* -- on the first loop -- */

static void leave(void *arg)
{
    struct asker *asker = arg;
    if (h2o_linklist_is_linked(&asker->link))
        h2o_linklist_unlink(&asker->link);
}

static void refuse(struct http_request *request)
{
    static const struct http_problem ending = {.status = 503,
                                               .type = "draining",
                                               .title = "The gateway is about to stop",
                                               .json_only = true};
    http_problem_reply(request, &ending);
}

static void on_request(struct http_request *request, void *arg)
{
    struct reload *reload = arg;
    if (atomic_load(&reload->closed)) {
        refuse(request);
        return;
    }
    struct asker *asker = h2o_mem_alloc_shared(request->pool, sizeof(*asker), leave);
    *asker = (struct asker){.request = request, .number = atomic_load(&reload->asked) + 1};
    h2o_linklist_insert(&reload->askers, &asker->link);
    atomic_store(&reload->asked, asker->number);
    reload->wake(reload->wake_arg);
}

static void answer(struct reload *reload, struct http_request *request)
{
    struct out out;
    char number[32];
    if (atomic_load(&reload->closed)) {
        refuse(request);
        return;
    }
    if (!reload->good) {
        struct http_problem problem = {.status = 422,
                                       .type = "bad-configuration",
                                       .title = "The configuration has errors; the old one stays",
                                       .detail = str_from(reload->messages),
                                       .json_only = true};
        http_problem_reply(request, &problem);
        return;
    }
    out_init(&out, request->pool, 256);
    snprintf(number, sizeof(number), "%u", reload->generation);
    out_str(&out, STR("{\"generation\":"));
    out_str(&out, str_from(number));
    out_str(&out, STR(",\"warnings\":\""));
    out_json_escaped(&out, str_from(reload->messages));
    out_str(&out, STR("\"}\n"));
    http_add_header(request, "cache-control", STR("no-store"));
    http_reply(request, 200, "application/json", &out);
}

static void on_outcome(struct message *message)
{
    struct reload *reload = CONTAINER_OF(message, struct reload, message);
    h2o_linklist_t *at = reload->askers.next, *next;
    for (; at != &reload->askers; at = next) {
        struct asker *asker = H2O_STRUCT_FROM_MEMBER(struct asker, link, at);
        next = at->next;
        if (asker->number > reload->number && !atomic_load(&reload->closed))
            continue;
        h2o_linklist_unlink(at);
        answer(reload, asker->request);
    }
    atomic_store(&reload->posted, false);
    reload->wake(reload->wake_arg);
}

/* -- on the main thread -- */

struct reload *reload_create(void (*wake)(void *arg), void *arg)
{
    struct reload *reload = calloc(1, sizeof(*reload));
    gw_assert(reload != NULL);
    reload->wake = wake;
    reload->wake_arg = arg;
    reload->generation = 1;
    reload->message.fn = on_outcome;
    h2o_linklist_init_anchor(&reload->askers);
    return reload;
}

void reload_prepare(struct reload *reload, struct site *site)
{
    operate_add(site);
    cache_control_add(site->cache, site->server);
    http_control_add(site->server, "reload", HTTP_POST, STR("/reload"), on_request, reload);
    files_start(site->files);
}

void reload_start(struct reload *reload, struct workers *workers)
{
    reload->workers = workers;
}

void reload_ask(struct reload *reload, const char *reason)
{
    reload->reason = reason;
}

static void log_lines(enum log_level level, const char *message, const char *lines)
{
    for (const char *end; (end = strchr(lines, '\n')) != NULL; lines = end + 1)
        log_event(level, message, "why=%s", log_quote((struct str){lines, (size_t)(end - lines)}));
}

/* What came of it goes to who waits, when the first loop has taken what was before. */
static void tell(struct reload *reload)
{
    if (!reload->done || atomic_load(&reload->posted))
        return;
    reload->done = false;
    reload->answered = reload->number;
    atomic_store(&reload->posted, true);
    workers_post_first(reload->workers, &reload->message);
}

static void end(struct reload *reload, bool good)
{
    reload->good = good;
    reload->done = true;
    metrics_config_loaded(workers_site(reload->workers)->metrics, good);
    if (good) {
        const struct config *config = workers_site(reload->workers)->config;
        reload->generation++;
        log_lines(LOG_WARN, "configuration reloaded, with a warning", reload->messages);
        log_event(LOG_INFO, "configuration reloaded",
                  "generation=%u ms=%.1f pages=%zu upstreams=%zu", reload->generation,
                  (double)(clock_us() - reload->begun_us) / 1000, config->page_count,
                  config->upstream_count);
    } else {
        log_lines(LOG_ERROR, "configuration not reloaded: the old one stays", reload->messages);
    }
    tell(reload);
}

/* Opens the new site and has it listen; NULL with the reasons in reload->messages. */
static struct site *open_next(struct reload *reload)
{
    struct site *before = workers_site(reload->workers);
    const char *error = NULL;
    size_t size;
    free(reload->messages);
    FILE *to = open_memstream(&reload->messages, &size);
    gw_assert(to != NULL);
    struct site *site = site_open_next(before, to);
    if (site != NULL && !http_server_listen(site->server, site->workers, before->server, &error)) {
        fprintf(to, "%s\n", error);
        site_destroy(&site);
    }
    gw_assert(fclose(to) == 0 && reload->messages != NULL);
    return site;
}

static void begin(struct reload *reload, const char *reason)
{
    reload->begun_us = clock_us();
    reload->number = atomic_load(&reload->asked);
    log_event(LOG_INFO, "reloading the configuration", "reason=%s", log_quote(str_from(reason)));
    struct site *site = open_next(reload);
    if (site == NULL) {
        end(reload, false);
        return;
    }
    log_set_level((enum log_level)site->config->log.level);
    reload_prepare(reload, site);
    workers_adopt(reload->workers, site);
    reload->under_way = true;
}

void reload_look(struct reload *reload)
{
    if (reload->under_way && workers_adopted(reload->workers)) {
        reload->under_way = false;
        end(reload, true);
    }
    tell(reload);
    if (reload->under_way || reload->done || atomic_load(&reload->posted))
        return;
    const char *reason = reload->reason;
    if (reason == NULL && atomic_load(&reload->asked) != reload->answered)
        reason = "control";
    reload->reason = NULL;
    if (reason != NULL)
        begin(reload, reason);
}

void reload_end(struct reload *reload)
{
    atomic_store(&reload->closed, true);
    if (atomic_load(&reload->posted))
        return; /* the loop tells them */
    reload->number = UINT64_MAX;
    reload->done = true;
    tell(reload);
}

void reload_destroy(struct reload **reload_p)
{
    struct reload *reload = *reload_p;
    *reload_p = NULL;
    free(reload->messages);
    free(reload);
}
