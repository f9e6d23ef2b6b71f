/* The upstreams as people want to see them, `GET /upstreams` and `GET /readyz?verbose`: read from
 * atomics on whatever thread asks, so that figures that belong together may be a moment apart. */
#include "upstreams/internal.h"

#include <stdio.h>
#include "base/out.h"

/* -- JSON: a comma before each member but the first -- */

static void key(struct out *out, const char *name)
{
    out_str(out, STR("\""));
    out_str(out, str_from(name));
    out_str(out, STR("\":"));
}

static void text_member(struct out *out, const char *name, struct str text)
{
    key(out, name);
    out_str(out, STR("\""));
    out_json_escaped(out, text);
    out_str(out, STR("\""));
}

static void number_member(struct out *out, const char *name, uint64_t number)
{
    key(out, name);
    out_number(out, number);
}

/* Milliseconds of a time to come, null when there is none. */
static void wait_member(struct out *out, const char *name, uint64_t us)
{
    key(out, name);
    if (us == 0)
        out_str(out, STR("null"));
    else
        out_number(out, (us + 999) / 1000);
}

static void comma(struct out *out)
{
    out_str(out, STR(","));
}

/* -- one upstream -- */

static const char *const breaker_words[] = {
    [BREAKER_CLOSED] = "closed", [BREAKER_HALF_OPEN] = "half_open", [BREAKER_OPEN] = "open"};
static const char *const health_words[] = {
    [HEALTH_UNKNOWN] = "unknown", [HEALTH_HEALTHY] = "healthy", [HEALTH_UNHEALTHY] = "unhealthy"};

static void write_breaker(struct out *out, const struct breaker *breaker, uint64_t now_us)
{
    uint64_t retry_in_us;
    enum breaker_state state = breaker_look(breaker, now_us, &retry_in_us);
    key(out, "breaker");
    out_str(out, STR("{"));
    text_member(out, "state", str_from(breaker_words[state]));
    comma(out);
    number_member(out, "opened", atomic_load(&breaker->opened));
    comma(out);
    wait_member(out, "retry_in_ms", retry_in_us);
    out_str(out, STR("}"));
}

static void write_load(struct out *out, const struct upstream *up)
{
    struct up_stats stats = upstream_stats(up);
    number_member(out, "inflight", stats.inflight);
    comma(out);
    number_member(out, "queued", stats.queued);
    comma(out);
    number_member(out, "max_inflight", up->config->max_inflight);
    comma(out);
    number_member(out, "max_queue", up->config->max_queue);
}

static void write_counts(struct out *out, const struct upstream *up, uint64_t now_us)
{
    static const struct {
        const char *name;
        enum counted what;
    } counts[] = {
        {"calls", COUNT_CALLS},
        {"failures", COUNT_FAILURES},
        {"retries", COUNT_RETRIES},
        {"retries_denied", COUNT_RETRIES_DENIED},
        {"hedges", COUNT_HEDGES},
        {"hedges_won", COUNT_HEDGES_WON},
        {"hedges_denied", COUNT_HEDGES_DENIED},
    };
    const struct config_retry *retry = &up->config->retry;
    const struct config_hedge *hedge = &up->config->hedge;
    uint32_t sums[COUNTED];
    window_sum(&up->window, 0, now_us, sums);
    key(out, "last_10s");
    for (size_t i = 0; i < COUNT(counts); i++) {
        out_str(out, i == 0 ? STR("{") : STR(","));
        number_member(out, counts[i].name, sums[counts[i].what]);
    }
    out_str(out, STR("},"));
    key(out, "budget");
    out_str(out, STR("{"));
    number_member(out, "retries_left",
                  budget_left(sums, COUNT_RETRIES, retry->budget, retry->budget_floor));
    comma(out);
    number_member(out, "hedges_left",
                  budget_left(sums, COUNT_HEDGES, hedge->budget, hedge->budget_floor));
    out_str(out, STR("}"));
}

/* Null while too few answers are known. */
static void write_latency(struct out *out, struct upstream *up, uint64_t now_us)
{
    static const uint8_t percents[] = {50, 90, 95, 99};
    uint32_t us[COUNT(percents)];
    pthread_mutex_lock(&up->lanes_lock);
    size_t count = 0;
    for (h2o_linklist_t *link = up->lanes.next; link != &up->lanes; link = link->next)
        count++;
    const struct latency **all = h2o_mem_alloc_pool(out->pool, (count + 1) * sizeof(*all));
    count = 0;
    for (h2o_linklist_t *link = up->lanes.next; link != &up->lanes; link = link->next)
        all[count++] = &H2O_STRUCT_FROM_MEMBER(struct lane, beside, link)->latency;
    latency_percentiles(all, count, now_us, percents, COUNT(percents), us);
    pthread_mutex_unlock(&up->lanes_lock);

    key(out, "latency_ms");
    for (size_t i = 0; i < COUNT(percents); i++) {
        char name[8], ms[24] = "null";
        snprintf(name, sizeof(name), "p%u", percents[i]);
        if (us[i] != 0)
            snprintf(ms, sizeof(ms), "%.2f", us[i] / 1000.0);
        out_str(out, i == 0 ? STR("{") : STR(","));
        key(out, name);
        out_str(out, str_from(ms));
    }
    out_str(out, STR("}"));
}

static void write_address(struct out *out, const struct upstream *up, const struct listed *listed,
                          uint64_t now_us)
{
    const struct health_state *health = &listed->endpoint->health;
    uint64_t until_us = atomic_load(&health->ejected_until_us);
    out_str(out, STR("{"));
    text_member(out, "address", str_from(listed->endpoint->address));
    comma(out);
    number_member(out, "weight", listed->weight);
    comma(out);
    text_member(out, "health", str_from(health_words[atomic_load(&health->checked)]));
    comma(out);
    wait_member(out, "ejected_for_ms", until_us > now_us ? until_us - now_us : 0);
    comma(out);
    number_member(out, "ejections", health_ejections(health, &up->config->ejection, now_us));
    comma(out);
    number_member(out, "inflight", endpoint_inflight(listed->endpoint));
    out_str(out, STR("}"));
}

static void write_addresses(struct out *out, struct upstream *up, uint64_t now_us)
{
    struct endpoints *set = endpoints_now(up);
    key(out, "addresses");
    out_str(out, STR("["));
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        if (i != 0)
            comma(out);
        write_address(out, up, &set->all[i], now_us);
    }
    out_str(out, STR("]"));
    endpoints_unref(&set);
}

static void write_upstream(struct out *out, struct upstream *up, uint64_t now_us)
{
    out_str(out, STR("{"));
    text_member(out, "name", up->config->name);
    comma(out);
    text_member(out, "url", upstream_url(up));
    comma(out);
    write_breaker(out, &up->breaker, now_us);
    comma(out);
    write_load(out, up);
    comma(out);
    write_counts(out, up, now_us);
    comma(out);
    write_latency(out, up, now_us);
    comma(out);
    write_addresses(out, up, now_us);
    out_str(out, STR("}"));
}

bool upstreams_write_json(const struct upstreams *ups, struct buf *to)
{
    h2o_mem_pool_t pool;
    struct out out;
    uint64_t now_us = clock_us();
    h2o_mem_init_pool(&pool);
    out_init(&out, &pool, 0);
    out_str(&out, STR("{\"upstreams\":["));
    for (size_t i = 0; i < ups->count; i++) {
        if (i != 0)
            comma(&out);
        write_upstream(&out, &ups->all[i], now_us);
    }
    out_str(&out, STR("]}\n"));

    h2o_iovec_t *vecs;
    size_t count = out_vecs(&out, &vecs), before = to->n;
    bool fits = buf_reserve(to, out_size(&out));
    for (size_t i = 0; i < count && fits; i++)
        fits = buf_append(to, vecs[i].base, vecs[i].len);
    if (!fits)
        to->n = before;
    h2o_mem_clear_pool(&pool);
    return fits;
}

/* -- as checks of draft-inadarei-api-health-check-06 -- */

static void write_check(struct out *out, struct str address, const char *seen, bool well)
{
    out_str(out, STR("{"));
    if (address.n != 0) {
        text_member(out, "componentId", address);
        comma(out);
    }
    out_str(out, STR("\"componentType\":\"component\","));
    text_member(out, "observedValue", str_from(seen));
    comma(out);
    text_member(out, "status", well ? STR("pass") : STR("warn"));
    out_str(out, STR("}"));
}

static void begin_checks(struct out *out, const struct upstream *up, const char *what)
{
    out_str(out, STR("\""));
    out_json_escaped(out, up->config->name);
    out_str(out, STR(":"));
    out_str(out, str_from(what));
    out_str(out, STR("\":["));
}

static bool write_upstream_checks(struct out *out, struct upstream *up, uint64_t now_us)
{
    uint64_t retry_in_us;
    enum breaker_state breaker = breaker_look(&up->breaker, now_us, &retry_in_us);
    bool all_well = breaker == BREAKER_CLOSED;
    begin_checks(out, up, "breaker");
    write_check(out, STR(""), breaker_words[breaker], all_well);
    out_str(out, STR("],"));

    struct endpoints *set = endpoints_now(up);
    begin_checks(out, up, "health");
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        const struct endpoint *endpoint = set->all[i].endpoint;
        enum health health = atomic_load(&endpoint->health.checked);
        bool well = health_is_usable(&endpoint->health, now_us);
        if (i != 0)
            comma(out);
        write_check(out, str_from(endpoint->address),
                    well || health == HEALTH_UNHEALTHY ? health_words[health] : "ejected", well);
        all_well &= well;
    }
    out_str(out, STR("]"));
    endpoints_unref(&set);
    return all_well;
}

bool upstreams_write_checks(const struct upstreams *ups, struct out *to)
{
    bool all_well = true;
    uint64_t now_us = clock_us();
    for (size_t i = 0; i < ups->count; i++) {
        if (i != 0)
            comma(to);
        all_well &= write_upstream_checks(to, &ups->all[i], now_us);
    }
    return all_well;
}
