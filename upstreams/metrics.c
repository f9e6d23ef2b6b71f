/* The upstreams as Prometheus wants to see them: what loops count of calls and attempts, and
 * gauges, read from atomics on whatever thread asks. */
#include "upstreams/internal.h"

#include <stdio.h>
#include "base/put.h"

/* -- counted on loops ------------------------------------------------------------------------- */

void count_queued(const struct attempt *attempt, uint64_t at_us, const char *error)
{
    trace_queued(attempt, at_us, error);
    const struct str labels[] = {attempt->lane->upstream->config->name};
    metric_observe(METRIC_QUEUE, at_us - attempt->queued_us, labels, COUNT(labels));
}

static struct metric_series *series_of(const struct attempt *attempt, int status, const char *error)
{
    const struct upstream *up = attempt->lane->upstream;
    const char *method = attempt->call->method;
    char digits[PUT_NUMBER];
    char *end = status != 0 ? put_number(digits, (uint64_t)status) : digits;
    struct str code = {digits, (size_t)(end - digits)};
    const struct str labels[] = {metric_method(method != NULL ? str_from(method) : STR("GET")),
                                 str_from(up->server),
                                 str_from(up->server_port),
                                 code,
                                 error != NULL   ? str_from(error)
                                 : status >= 400 ? code
                                                 : STR(""),
                                 up->config->name};
    return metric_series(METRIC_CLIENT_REQUESTS, labels, COUNT(labels));
}

void count_attempt(struct attempt *attempt, const char *error, uint64_t at_us)
{
    struct lane *lane = attempt->lane;
    int status = attempt->result.status;
    if (attempt->began_ms == 0)
        return;
    if (error == NULL)
        error = attempt->result.error;
    /* Nearly all of an upstream's calls end in the same way. */
    struct metric_series *series = lane->counted.series;
    bool is_plain = attempt->call->method == NULL;
    if (series == NULL || !is_plain || lane->counted.status != status ||
        lane->counted.error != error)
        series = series_of(attempt, status, error);
    if (is_plain) {
        lane->counted.status = status;
        lane->counted.error = error;
        lane->counted.series = series;
    }
    uint64_t from_us = attempt->added_us != 0 ? attempt->added_us : attempt->began_ms * 1000;
    series_observe(series, at_us > from_us ? at_us - from_us : 0);
}

void count_retry(const struct upstream *up, const struct up_result *failed)
{
    char text[4];
    const struct str labels[] = {up->config->name, rules_reason(failed, text)};
    metric_add(METRIC_RETRIES, 1, labels, COUNT(labels));
}

void count_retry_denied(const struct upstream *up)
{
    const struct str labels[] = {up->config->name};
    metric_add(METRIC_RETRIES_DENIED, 1, labels, COUNT(labels));
}

void count_hedge(const struct upstream *up, struct str winner)
{
    const struct str labels[] = {up->config->name, winner};
    metric_add(METRIC_HEDGES, 1, labels, COUNT(labels));
}

/* -- read ------------------------------------------------------------------------------------- */

static uint64_t inflight(const struct upstream *up)
{
    return upstream_stats(up).inflight;
}

static uint64_t queued(const struct upstream *up)
{
    return upstream_stats(up).queued;
}

static uint64_t circuit_state(const struct upstream *up)
{
    uint64_t retry_in_us;
    switch (breaker_look(&up->breaker, clock_us(), &retry_in_us)) {
    case BREAKER_OPEN:
        return 2;
    case BREAKER_HALF_OPEN:
        return 1;
    default:
        return 0;
    }
}

static void write_gauges(const struct upstreams *ups, struct out *out)
{
    static const struct {
        const char *name, *help;
        uint64_t (*value)(const struct upstream *up);
    } members[] = {
        {"gw_upstream_inflight", "Calls under way.", inflight},
        {"gw_upstream_queue_depth", "Calls that wait for a slot.", queued},
        {"gw_circuit_state", "The breaker: 0 closed, 1 half open, 2 open.", circuit_state},
    };
    for (size_t i = 0; i < COUNT(members); i++) {
        metric_begin(out, members[i].name, METRIC_GAUGE, members[i].help);
        for (size_t j = 0; j < ups->count; j++) {
            const struct str labels[] = {STR("upstream"), ups->all[j].config->name};
            metric_put(out, members[i].name, labels, COUNT(labels), members[i].value(&ups->all[j]));
        }
    }
}

static void write_transitions(const struct upstreams *ups, struct out *out)
{
    static const char name[] = "gw_circuit_transitions_total";
    metric_begin(out, name, METRIC_COUNTER, "Changes of the breaker's state, by the new one.");
    for (size_t i = 0; i < ups->count; i++) {
        const struct breaker *breaker = &ups->all[i].breaker;
        const struct {
            struct str to;
            const _Atomic uint32_t *count;
        } states[] = {{STR("open"), &breaker->opened},
                      {STR("half_open"), &breaker->half_opened},
                      {STR("closed"), &breaker->closed}};
        for (size_t j = 0; j < COUNT(states); j++) {
            const struct str labels[] = {STR("upstream"), ups->all[i].config->name, STR("to"),
                                         states[j].to};
            metric_put(out, name, labels, COUNT(labels), atomic_load(states[j].count));
        }
    }
}

/* One that is being opened, or closed after its last transfer, may be missing. */
static void write_connections(const struct upstreams *ups, struct out *out)
{
    static const char name[] = "http_client_open_connections";
    metric_begin(out, name, METRIC_GAUGE, "Connections to upstreams, in use and kept alive.");
    for (size_t i = 0; i < ups->count; i++) {
        struct upstream *up = &ups->all[i];
        uint64_t open = 0, active = 0;
        pthread_mutex_lock(&up->lanes_lock);
        for (h2o_linklist_t *link = up->lanes.next; link != &up->lanes; link = link->next) {
            const struct lane *lane = H2O_STRUCT_FROM_MEMBER(struct lane, beside, link);
            uint32_t sockets = atomic_load_explicit(&lane->sockets, memory_order_relaxed);
            uint32_t transfers = atomic_load_explicit(&lane->transfers, memory_order_relaxed);
            open += sockets;
            active += transfers < sockets ? transfers : sockets;
        }
        pthread_mutex_unlock(&up->lanes_lock);
        const struct {
            struct str state;
            uint64_t count;
        } states[] = {{STR("active"), active}, {STR("idle"), open - active}};
        for (size_t j = 0; j < COUNT(states); j++) {
            const struct str labels[] = {
                STR("server_address"),        str_from(up->server), STR("server_port"),
                str_from(up->server_port),    STR("upstream"),      up->config->name,
                STR("http_connection_state"), states[j].state,
            };
            metric_put(out, name, labels, COUNT(labels), states[j].count);
        }
    }
}

void upstreams_write_metrics(const struct upstreams *ups, struct out *out)
{
    write_gauges(ups, out);
    write_transitions(ups, out);
    write_connections(ups, out);
}
