/* [shedding.NAME]: when requests wait too long for their turn, some are turned away at once, so
 * that the others don't wait. What is measured is the wait itself, on each loop of its own, by
 * what stands in the same line as the sockets of clients (loop_lag_us()). codel.h decides. */
#include "middleware/internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include "base/log.h"
#include "middleware/codel.h"
#include "observe/metrics.h"

enum { TELL_EVERY_US = 10000000, US_A_MS = 1000 };

/* Of a loop. */
struct watch {
    struct codel codel;
    uint64_t seen_us; /* the last measurement that codel knows */
    uint64_t told_us; /* when the log was told; 0 = never */
};

struct shedding {
    struct http_middleware middleware;
    const struct config_shedding *config;
    struct watch *watches[MIDDLEWARE_MAX_LOOPS]; /* owned; made at the first request, by loops */
    _Atomic uint64_t shed;
    struct shedding *next;
};

static struct watch *watch_of(struct shedding *it, const struct loop *loop)
{
    struct watch **place = &it->watches[loop_index(loop)];
    if (*place == NULL) {
        struct watch *watch = aligned_alloc(64, (sizeof(*watch) + 63) / 64 * 64);
        gw_assert(watch != NULL);
        *watch = (struct watch){.codel = {.target_us = it->config->target_ms * US_A_MS,
                                          .interval_us = it->config->interval_ms * US_A_MS,
                                          .most = CODEL_ALL / 100 * (100 - it->config->keep)}};
        *place = watch;
    }
    return *place;
}

static void tell(const struct shedding *it, struct watch *watch, uint64_t now_us, uint64_t lag_us)
{
    if (watch->told_us != 0 && now_us - watch->told_us < TELL_EVERY_US)
        return;
    watch->told_us = now_us;
    log_event(LOG_WARN, "too much to do, turning requests away",
              "middleware=%s wait_ms=%llu share=%u%%", it->middleware.name,
              (unsigned long long)lag_us / US_A_MS,
              (unsigned)((uint64_t)watch->codel.share * 100 / CODEL_ALL));
}

static bool arrive(struct http_middleware *middleware, struct http_request *request)
{
    static const struct http_problem refusal = {.status = 503,
                                                .type = "overloaded",
                                                .title = "There is too much to do at the moment",
                                                .retry_after_s = 1};
    struct shedding *it = CONTAINER_OF(middleware, struct shedding, middleware);
    struct watch *watch = watch_of(it, request->loop);
    uint64_t measured_us, lag_us = loop_lag_us(request->loop, &measured_us);
    if (measured_us != watch->seen_us) {
        watch->seen_us = measured_us;
        codel_note(&watch->codel, measured_us, lag_us);
    }
    if (!codel_sheds(&watch->codel, request->started_us))
        return true;
    atomic_fetch_add_explicit(&it->shed, 1, memory_order_relaxed);
    tell(it, watch, request->started_us, lag_us);
    request->flags = "UO";
    http_problem_reply(request, &refusal);
    return false;
}

void shedding_write_metrics(const struct shedding *first, struct out *out)
{
    metric_begin(out, "gw_shed_total", METRIC_COUNTER,
                 "Requests turned away because too many waited.");
    for (const struct shedding *it = first; it != NULL; it = it->next) {
        const struct str labels[] = {STR("middleware"), str_from(it->middleware.name)};
        metric_put(out, "gw_shed_total", labels, COUNT(labels),
                   atomic_load_explicit(&it->shed, memory_order_relaxed));
    }
}

/* -- the section ------------------------------------------------------------------------------- */

static void destroy(struct http_middleware *middleware)
{
    struct shedding *it = CONTAINER_OF(middleware, struct shedding, middleware);
    for (size_t i = 0; i < COUNT(it->watches); i++)
        free(it->watches[i]);
    free((char *)(uintptr_t)middleware->name);
    free(it);
}

void shedding_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    (void)diag;
    for (size_t i = config->shedding_count; i != 0; i--) {
        struct shedding *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        it->config = &config->shedding[i - 1];
        it->middleware =
            (struct http_middleware){.name = middleware_name("shedding", it->config->name),
                                     .arrive = arrive,
                                     .destroy = destroy};
        it->next = all->shedding;
        all->shedding = it;
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
