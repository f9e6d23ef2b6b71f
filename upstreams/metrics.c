/* The upstreams as Prometheus wants to see them: gauges, read from atomics on whatever thread asks.
 */
#include "observe/metrics.h"
#include "upstreams/internal.h"

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

static uint64_t opened(const struct upstream *up)
{
    return atomic_load(&up->breaker.opened);
}

void upstreams_write_metrics(const struct upstreams *ups, struct out *out)
{
    static const struct {
        const char *name;
        enum metric_type type;
        const char *help;
        uint64_t (*value)(const struct upstream *up);
    } members[] = {
        {"gw_upstream_inflight", METRIC_GAUGE, "Calls under way.", inflight},
        {"gw_upstream_queue_depth", METRIC_GAUGE, "Calls that wait for a slot.", queued},
        {"gw_circuit_state", METRIC_GAUGE, "The breaker: 0 closed, 1 half open, 2 open.",
         circuit_state},
        {"gw_circuit_opened_total", METRIC_COUNTER, "How often the breaker opened.", opened},
    };
    for (size_t i = 0; i < COUNT(members) && ups->count != 0; i++) {
        metric_begin(out, members[i].name, members[i].type, members[i].help);
        for (size_t j = 0; j < ups->count; j++) {
            const struct str labels[] = {STR("upstream"), ups->all[j].config->name};
            metric_put(out, members[i].name, labels, COUNT(labels), members[i].value(&ups->all[j]));
        }
    }
}
