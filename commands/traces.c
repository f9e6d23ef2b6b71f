/* Each loop sends its own batches, one at a time, with the calls that it makes anyway: a collector
 * that is slow or away costs a call that waits, never a loop or a request. Its breaker then spares
 * even that. */
#include "commands/traces.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "commands/commands.h"

enum { MAX_RESOURCE = 64, MAX_HEAD = 64 * 1024, WARN_EVERY_US = 60 * 1000000, JSON_DEPTH = 16 };

struct tracing {
    struct trace_settings settings;
    struct upstream *collector; /* NULL = nothing is exported */
    struct buf head;            /* settings.head; owned */
    h2o_mem_pool_t pool;        /* decoded attributes */
};

struct exporter {
    const struct tracing *tracing;
    struct traces *traces;
    struct up_client *client;
    struct up_call *call; /* NULL = nothing is under way */
    uint64_t warned_us;
};

/* -- what the configuration says --------------------------------------------------------------- */

/* 0 to 1, as digits with a fraction. */
static bool read_share(struct str text, uint64_t *threshold_r)
{
    char *end;
    bool is_plain = text.n != 0;
    for (size_t i = 0; i < text.n; i++)
        is_plain &= is_digit(text.p[i]) || text.p[i] == '.';
    double share = is_plain ? strtod(text.p, &end) : -1;
    if (!is_plain || *end != '\0' || share < 0 || share > 1)
        return false;
    *threshold_r = (uint64_t)(share * (double)((uint64_t)1 << 53));
    return true;
}

static void read_sampler(struct tracing *tracing, const struct config *config, struct diag *diag)
{
    const struct config_traces *traces = &config->traces;
    uint64_t share;
    if (!read_share(traces->sampler_arg, &share)) {
        diag_error(diag, config_pos(config, &traces->sampler_arg),
                   "sampler_arg: expected a share of 0 to 1, \"0.01\", got \"%s\"",
                   traces->sampler_arg.p);
        share = 0;
    }
    switch ((enum config_sampler)traces->sampler) {
    case SAMPLER_ALWAYS_ON:
    case SAMPLER_PARENT_ON:
        share = (uint64_t)1 << 53;
        break;
    case SAMPLER_ALWAYS_OFF:
    case SAMPLER_PARENT_OFF:
        share = 0;
        break;
    case SAMPLER_RATIO:
    case SAMPLER_PARENT_RATIO:
        break;
    }
    tracing->settings.threshold = share;
    tracing->settings.parent_based = traces->sampler >= SAMPLER_PARENT_ON;
}

static void read_propagators(struct tracing *tracing, const struct config *config,
                             struct diag *diag)
{
    const struct str *text = &config->traces.propagators;
    struct str list = *text;
    while (list.n != 0) {
        struct str name = next_item(&list, ',');
        if (str_eq(name, STR("tracecontext")))
            tracing->settings.context = true;
        else if (str_eq(name, STR("baggage")))
            tracing->settings.baggage = true;
        else if (name.n != 0 && !str_eq(name, STR("none")))
            diag_warning(diag, config_pos(config, text),
                         "propagators: \"%.*s\" isn't known here; tracecontext, baggage and none "
                         "are",
                         (int)name.n, name.p);
    }
}

static bool decode(h2o_mem_pool_t *pool, struct str text, struct str *decoded_r)
{
    char *to = h2o_mem_alloc_pool(pool, text.n + 1), *at = to;
    const char *end = text.p + text.n;
    for (const char *p = text.p; p != end; p++) {
        int byte = *p == '%' ? percent_byte(p, end) : (unsigned char)*p;
        if (byte < 0)
            return false;
        *at++ = (char)byte;
        p += *p == '%' ? 2 : 0;
    }
    *decoded_r = (struct str){to, (size_t)(at - to)};
    return decoded_r->n != 0 && utf8_valid(*decoded_r);
}

/* "name=value,name=value" behind what is there: those that the section has keys for don't come
 * again. */
static size_t read_attributes(struct tracing *tracing, const struct config *config,
                              struct str attributes[2 * MAX_RESOURCE], size_t count,
                              struct diag *diag)
{
    const struct str *text = &config->traces.resource_attributes;
    struct str list = *text;
    while (list.n != 0) {
        struct str pair = next_item(&list, ','), name, value;
        const char *equals = pair.n != 0 ? memchr(pair.p, '=', pair.n) : NULL;
        if (pair.n == 0)
            continue;
        name = (struct str){pair.p, equals != NULL ? (size_t)(equals - pair.p) : 0};
        value = equals != NULL ? (struct str){equals + 1, pair.n - name.n - 1} : STR("");
        if (count == 2 * MAX_RESOURCE || !decode(&tracing->pool, trimmed(name), &name) ||
            !decode(&tracing->pool, trimmed(value), &value)) {
            diag_error(diag, config_pos(config, text),
                       "resource_attributes: \"%.*s\": expected at most %d of name=value, "
                       "percent-encoded, with commas between them",
                       pair.n < 64 ? (int)pair.n : 64, pair.p, MAX_RESOURCE);
            return count;
        }
        size_t at = 0;
        while (at != count && !str_eq(attributes[at], name))
            at += 2;
        if (at == 0 && !str_eq(config->traces.service_name, STR("gateway")))
            continue; /* service_name was said, too: that counts */
        attributes[at] = name;
        attributes[at + 1] = value;
        count = at == count ? count + 2 : count;
    }
    return count;
}

static void make_head(struct tracing *tracing, const struct config *config, struct diag *diag)
{
    char host[256] = "", pid[16];
    if (gethostname(host, sizeof(host) - 1) != 0)
        strcpy(host, "unknown");
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    struct str attributes[2 * MAX_RESOURCE] = {
        STR("service.name"),
        config->traces.service_name,
        STR("service.version"),
        str_from(gateway_version),
        STR("host.name"),
        str_from(host),
        STR("process.pid"),
        str_from(pid),
        STR("telemetry.sdk.name"),
        STR("gateway"),
        STR("telemetry.sdk.language"),
        STR("c"),
        STR("telemetry.sdk.version"),
        str_from(gateway_version),
    };
    size_t count = read_attributes(tracing, config, attributes, 14, diag);
    trace_head(&tracing->head, attributes, count, str_from(gateway_version));
    tracing->settings.head = buf_str(&tracing->head);
}

struct tracing *tracing_create(const struct config *config, struct upstreams *ups,
                               struct diag *diag)
{
    if (!config->traces.enabled && config->traces.endpoint.n == 0)
        return NULL;
    struct tracing *tracing = calloc(1, sizeof(*tracing));
    gw_assert(tracing != NULL);
    buf_init(&tracing->head, MAX_HEAD * 16);
    h2o_mem_init_pool(&tracing->pool);
    tracing->collector = upstream_collector(ups);
    read_sampler(tracing, config, diag);
    read_propagators(tracing, config, diag);
    make_head(tracing, config, diag);
    return tracing;
}

void tracing_destroy(struct tracing **tracing_p)
{
    struct tracing *tracing = *tracing_p;
    *tracing_p = NULL;
    if (tracing == NULL)
        return;
    buf_fini(&tracing->head);
    h2o_mem_clear_pool(&tracing->pool);
    free(tracing);
}

/* -- sending ----------------------------------------------------------------------------------- */

static void warn(struct exporter *exporter, const struct up_result *result)
{
    uint64_t now_us = clock_us();
    if (exporter->warned_us != 0 && now_us < exporter->warned_us + WARN_EVERY_US)
        return;
    exporter->warned_us = now_us;
    log_event(LOG_WARN, "spans were lost: the collector didn't take them",
              "status=%d error=%s detail=%s", result->status,
              log_quote(str_from(result->error != NULL ? result->error : "")),
              log_quote(str_from(result->detail)));
}

/* {"partialSuccess":{"rejectedSpans":"3","errorMessage":"…"}}: a collector that takes the rest. */
static uint64_t rejected(struct str body)
{
    struct json_doc doc;
    uint64_t count = 0;
    json_doc_init(&doc);
    if (json_parse(&doc, body.p, body.n, JSON_DEPTH, NULL) == JSON_OK) {
        struct json_value partial = json_get(json_root(&doc), STR("partialSuccess"));
        bool escaped;
        struct str digits = json_text(json_get(partial, STR("rejectedSpans")), &escaped);
        for (size_t i = 0; i < digits.n && i < 9 && is_digit(digits.p[i]); i++)
            count = count * 10 + (uint64_t)(digits.p[i] - '0');
    }
    json_doc_fini(&doc);
    return count;
}

static void on_done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct exporter *exporter = arg;
    bool taken = result->end == UP_ANSWERED && result->status >= 200 && result->status < 300;
    uint64_t lost = taken ? rejected(result->body) : 0;
    gw_assert(call == exporter->call);
    if (!taken)
        warn(exporter, result);
    up_call_release(&exporter->call);
    traces_sent(exporter->traces, taken ? TRACE_TAKEN : TRACE_LOST, lost);
}

static bool send_batch(void *arg, struct str batch)
{
    static const struct up_header headers[] = {{STR("Content-Type"), STR("application/json")}};
    struct exporter *exporter = arg;
    const struct up_request request = {.upstream = exporter->tracing->collector,
                                       .target = STR("/v1/traces"),
                                       .headers = headers,
                                       .header_count = COUNT(headers),
                                       .method = "POST",
                                       .body = batch,
                                       .repeatable = true};
    if (exporter->call != NULL)
        return false;
    exporter->call = up_call_start(exporter->client, &request, on_done, exporter);
    return true;
}

struct exporter *exporter_create(const struct tracing *tracing, struct traces *traces,
                                 struct up_client *client)
{
    struct exporter *exporter = NULL;
    if (tracing != NULL && tracing->collector != NULL) {
        exporter = calloc(1, sizeof(*exporter));
        gw_assert(exporter != NULL);
        *exporter = (struct exporter){.tracing = tracing, .traces = traces, .client = client};
    }
    traces_serve(traces, tracing != NULL ? &tracing->settings : NULL,
                 exporter != NULL ? send_batch : NULL, exporter);
    return exporter;
}

void exporter_destroy(struct exporter **exporter_p)
{
    struct exporter *exporter = *exporter_p;
    *exporter_p = NULL;
    if (exporter == NULL)
        return;
    if (exporter->call != NULL) {
        up_call_cancel(&exporter->call);
        traces_sent(exporter->traces, TRACE_UNSENT, 0);
    }
    free(exporter);
}
