/* What was counted, as Prometheus reads it. */
#include "observe/metrics_internal.h"

#include <stdio.h>
#include <stdlib.h>

void metric_begin(struct out *out, const char *name, enum metric_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    const char *const pieces[] = {"# HELP ", name, " ",         help, "\n# TYPE ",
                                  name,      " ",  types[type], "\n"};
    for (size_t i = 0; i < COUNT(pieces); i++)
        out_str(out, str_from(pieces[i]));
}

static void write_label(struct out *out, struct str name, struct str value)
{
    out_str(out, name);
    out_str(out, STR("=\""));
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\\' || c == '"')
            out_str(out, STR("\\"));
        out_write(out, c == '\n' ? "\\n" : &value.p[i], c == '\n' ? 2 : 1);
    }
    out_str(out, STR("\""));
}

static void write_labels(struct out *out, const struct str *labels, size_t count)
{
    for (size_t i = 0; i + 1 < count; i += 2) {
        out_str(out, i == 0 ? STR("{") : STR(","));
        write_label(out, labels[i], labels[i + 1]);
    }
    if (count != 0)
        out_str(out, STR("}"));
    out_str(out, STR(" "));
}

void metric_put(struct out *out, const char *name, const struct str *labels, size_t count,
                uint64_t value)
{
    out_str(out, str_from(name));
    write_labels(out, labels, count);
    out_number(out, value);
    out_str(out, STR("\n"));
}

void metric_put_micro(struct out *out, const char *name, const struct str *labels, size_t count,
                      uint64_t value)
{
    char fraction[6];
    uint64_t rest = value % 1000000;
    for (size_t i = sizeof(fraction); i-- > 0; rest /= 10)
        fraction[i] = (char)('0' + rest % 10);
    out_str(out, str_from(name));
    write_labels(out, labels, count);
    out_number(out, value / 1000000);
    out_str(out, STR("."));
    out_write(out, fraction, sizeof(fraction));
    out_str(out, STR("\n"));
}

/* -- all of them ------------------------------------------------------------------------------ */

static int by_labels(const void *va, const void *vb)
{
    const struct metric_series *a = *(const struct metric_series *const *)va,
                               *b = *(const struct metric_series *const *)vb;
    if (a->metric != b->metric)
        return a->metric < b->metric ? -1 : 1;
    for (size_t i = 0; i < a->label_count; i++) {
        struct str x = a->labels[i], y = b->labels[i];
        size_t n = x.n < y.n ? x.n : y.n;
        int order = n != 0 ? memcmp(x.p, y.p, n) : 0;
        if (order != 0 || x.n != y.n)
            return order != 0 ? order : x.n < y.n ? -1 : 1;
    }
    return 0;
}

/* Those of all loops, the same ones of different loops beside each other; the out's pool. */
static const struct metric_series **gather(const struct metrics *metrics, struct out *out,
                                           size_t *count_r)
{
    size_t count = 0, room = 256;
    const struct metric_series **all = h2o_mem_alloc_pool(out->pool, room * sizeof(*all));
    for (unsigned i = 0; i < metrics->loops; i++) {
        for (size_t j = 0; j < METRICS_TABLE; j++) {
            for (struct metric_series *it =
                     atomic_load_explicit(&metrics->counting[i].table[j], memory_order_acquire);
                 it != NULL; it = atomic_load_explicit(&it->next, memory_order_relaxed)) {
                if (count == room) {
                    const struct metric_series **more =
                        h2o_mem_alloc_pool(out->pool, 2 * room * sizeof(*all));
                    memcpy(more, all, room * sizeof(*all));
                    all = more;
                    room *= 2;
                }
                all[count++] = it;
            }
        }
    }
    if (count != 0)
        qsort(all, count, sizeof(*all), by_labels);
    *count_r = count;
    return all;
}

struct sums {
    uint64_t count, sum, buckets[METRIC_MAX_BUCKETS];
};

static void add_up(struct sums *sums, const struct metric_series *series)
{
    sums->count += atomic_load_explicit(&series->count, memory_order_relaxed);
    sums->sum += atomic_load_explicit(&series->sum, memory_order_relaxed);
    for (size_t i = 0; i < METRIC_MAX_BUCKETS; i++)
        sums->buckets[i] += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
}

static void write_histogram(struct out *out, const struct metric_kind *kind, struct str *labels,
                            size_t count, const struct sums *sums)
{
    char full[96];
    const struct metric_bounds *bounds = kind->bounds;
    uint64_t so_far = 0; /* the buckets say how many: what is counted meanwhile isn't in them */
    snprintf(full, sizeof(full), "%s_bucket", kind->name);
    labels[count] = STR("le");
    for (size_t i = 0; i <= bounds->count; i++) {
        so_far += sums->buckets[i];
        labels[count + 1] = i < bounds->count ? str_from(bounds->text[i]) : STR("+Inf");
        metric_put(out, full, labels, count + 2, so_far);
    }
    snprintf(full, sizeof(full), "%s_sum", kind->name);
    metric_put_micro(out, full, labels, count, sums->sum);
    snprintf(full, sizeof(full), "%s_count", kind->name);
    metric_put(out, full, labels, count, so_far);
}

static void write_series(struct out *out, const struct metric_series *series,
                         const struct sums *sums)
{
    const struct metric_kind *kind = &metric_kinds[series->metric];
    struct str labels[2 * METRIC_MAX_LABELS + 2];
    size_t count = 0;
    for (size_t i = 0; i < series->label_count; i++) {
        if (series->labels[i].n == 0)
            continue; /* the same to Prometheus as none */
        labels[count++] = str_from(kind->labels[i]);
        labels[count++] = series->labels[i];
    }
    if (kind->type == METRIC_HISTOGRAM)
        write_histogram(out, kind, labels, count, sums);
    else
        metric_put(out, kind->name, labels, count, sums->count);
}

static void write_config(const struct metrics *metrics, struct out *out)
{
    const struct {
        const char *name, *help;
        uint64_t value;
    } members[] = {
        {"gw_config_generation", "How many configurations were served so far.",
         atomic_load(&metrics->generation)},
        {"gw_config_last_reload_successful",
         "1: the configuration that was read last is served; 0: the one before is.",
         atomic_load(&metrics->loaded)},
        {"gw_config_last_reload_success_timestamp_seconds",
         "When the configuration that is served was read, seconds since 1970.",
         atomic_load(&metrics->loaded_s)},
    };
    for (size_t i = 0; i < COUNT(members); i++) {
        metric_begin(out, members[i].name, METRIC_GAUGE, members[i].help);
        metric_put(out, members[i].name, NULL, 0, members[i].value);
    }
}

/* Those that nothing was counted of are named, too: whoever looks for them knows that they are
 * there. */
void metrics_write(const struct metrics *metrics, struct out *out)
{
    size_t count, i = 0;
    const struct metric_series **all = gather(metrics, out, &count);
    for (enum metric metric = 0; metric < METRICS; metric++) {
        const struct metric_kind *kind = &metric_kinds[metric];
        metric_begin(out, kind->name, kind->type, kind->help);
        while (i < count && all[i]->metric == metric) {
            struct sums sums = {0};
            const struct metric_series *first = all[i];
            while (i < count && by_labels(&all[i], &first) == 0)
                add_up(&sums, all[i++]);
            write_series(out, first, &sums);
        }
    }
    write_config(metrics, out);
    uint64_t dropped = 0;
    for (unsigned loop = 0; loop < metrics->loops; loop++)
        dropped += atomic_load_explicit(&metrics->counting[loop].dropped, memory_order_relaxed);
    metric_begin(out, "gw_metrics_dropped_total", METRIC_COUNTER,
                 "Observations that had no place, for want of room for their labels.");
    metric_put(out, "gw_metrics_dropped_total", NULL, 0, dropped);
}
