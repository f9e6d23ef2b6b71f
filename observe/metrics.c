/* Series are found by a hash of their labels, in a table that only its loop writes to: a new one is
 * finished before it is linked in, and none ever goes. Their numbers are atomics with one writer,
 * so that counting is a load and a store. */
#include "observe/metrics.h"

#include <stdatomic.h>
#include <stdlib.h>
#include "base/put.h"

static const uint32_t bounds_ms[] = {5,   10,  25,   50,   75,   100,  250,
                                     500, 750, 1000, 2500, 5000, 7500, 10000};
static const char *const bounds[] = {"0.005", "0.01", "0.025", "0.05", "0.075",
                                     "0.1",   "0.25", "0.5",   "0.75", "1",
                                     "2.5",   "5",    "7.5",   "10",   "+Inf"};

enum { BUCKETS = COUNT(bounds), TABLE = 1024, MAX_LABELS = 6 };

enum kind { REQUESTS, PARTS, PAGES, ABUSE, KINDS };

static const struct {
    const char *name;
    enum metric_type type;
    const char *help;
    const char *labels[MAX_LABELS];
} kinds[] = {
    [REQUESTS] = {"http_server_request_duration_seconds",
                  METRIC_HISTOGRAM,
                  "From a request's head to the last byte of its answer.",
                  {"http_request_method", "url_scheme", "http_response_status_code", "http_route",
                   "network_protocol_version", "error_type"}},
    [PARTS] = {"gw_part_duration_seconds",
               METRIC_HISTOGRAM,
               "From a page's start to the end of one of its parts.",
               {"page", "part", "state"}},
    [PAGES] = {"gw_page_completed_total",
               METRIC_COUNTER,
               "Pages sent, by whether all of their parts were there.",
               {"page", "completed"}},
    [ABUSE] = {"gw_abuse_closed_total",
               METRIC_COUNTER,
               "Connections that were closed for what their clients did.",
               {"kind"}},
};

struct series {
    struct series *_Atomic next; /* in its bucket */
    uint64_t hash;
    enum kind kind;
    size_t label_count;
    struct str labels[MAX_LABELS];                    /* values, behind it in the same memory */
    _Atomic uint64_t count, sum_us, buckets[BUCKETS]; /* of a counter: count alone */
};

struct counting {
    struct series *_Atomic table[TABLE];
    _Atomic uint64_t dropped;
    size_t count;
} __attribute__((aligned(64)));

struct metrics {
    unsigned loops;
    struct counting *counting;
};

struct metrics *metrics_create(unsigned loops)
{
    struct metrics *metrics = malloc(sizeof(*metrics));
    gw_assert(metrics != NULL);
    metrics->loops = loops;
    metrics->counting = aligned_alloc(64, loops * sizeof(*metrics->counting));
    gw_assert(metrics->counting != NULL);
    memset(metrics->counting, 0, loops * sizeof(*metrics->counting));
    return metrics;
}

void metrics_destroy(struct metrics **metrics_p)
{
    struct metrics *metrics = *metrics_p;
    *metrics_p = NULL;
    if (metrics == NULL)
        return;
    for (unsigned i = 0; i < metrics->loops; i++)
        for (size_t j = 0; j < TABLE; j++)
            for (struct series *it = metrics->counting[i].table[j], *next; it != NULL; it = next) {
                next = it->next;
                free(it);
            }
    free(metrics->counting);
    free(metrics);
}

/* -- counting --------------------------------------------------------------------------------- */

static uint64_t hash_labels(enum kind kind, const struct str *labels, size_t count)
{
    uint64_t h = 14695981039346656037u + kind; /* FNV-1a: what is hashed is no client's */
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < labels[i].n; j++)
            h = (h ^ (unsigned char)labels[i].p[j]) * 1099511628211u;
        h = (h ^ 0xff) * 1099511628211u;
    }
    return h;
}

static bool same_labels(const struct series *series, const struct str *labels)
{
    for (size_t i = 0; i < series->label_count; i++)
        if (!str_eq(series->labels[i], labels[i]))
            return false;
    return true;
}

static struct series *series_new(enum kind kind, uint64_t hash, const struct str *labels,
                                 size_t count)
{
    size_t size = sizeof(struct series);
    for (size_t i = 0; i < count; i++)
        size += labels[i].n;
    struct series *series = calloc(1, size);
    gw_assert(series != NULL);
    series->kind = kind;
    series->hash = hash;
    series->label_count = count;
    char *at = (char *)(series + 1);
    for (size_t i = 0; i < count; i++) {
        series->labels[i] = (struct str){at, labels[i].n};
        at = put_str(at, labels[i]);
    }
    return series;
}

/* NULL: there are too many. */
static struct series *series_of(struct counting *counting, enum kind kind, const struct str *labels,
                                size_t count)
{
    uint64_t hash = hash_labels(kind, labels, count);
    struct series *_Atomic *bucket = &counting->table[(hash >> 20) % TABLE];
    struct series *first = atomic_load_explicit(bucket, memory_order_relaxed);
    for (struct series *it = first; it != NULL;
         it = atomic_load_explicit(&it->next, memory_order_relaxed))
        if (it->hash == hash && it->kind == kind && same_labels(it, labels))
            return it;
    if (counting->count == METRICS_MAX_SERIES) {
        atomic_fetch_add_explicit(&counting->dropped, 1, memory_order_relaxed);
        return NULL;
    }
    counting->count++;
    struct series *series = series_new(kind, hash, labels, count);
    atomic_store_explicit(&series->next, first, memory_order_relaxed);
    atomic_store_explicit(bucket, series, memory_order_release);
    return series;
}

/* There is one writer: no locked instruction is needed. */
static void add(_Atomic uint64_t *number, uint64_t n)
{
    uint64_t before = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, before + n, memory_order_relaxed);
}

static void observe(struct series *series, uint64_t us)
{
    size_t bucket = 0;
    while (bucket < COUNT(bounds_ms) && us > (uint64_t)bounds_ms[bucket] * 1000)
        bucket++;
    add(&series->buckets[bucket], 1);
    add(&series->sum_us, us);
    add(&series->count, 1);
}

/* Those of RFC 9110 and PATCH; a client may invent others. */
static struct str method_label(struct str method)
{
    static const struct str known[] = {{"GET", 3},   {"HEAD", 4},    {"POST", 4},
                                       {"PUT", 3},   {"DELETE", 6},  {"CONNECT", 7},
                                       {"PATCH", 5}, {"OPTIONS", 7}, {"TRACE", 5}};
    for (size_t i = 0; i < COUNT(known); i++)
        if (str_eq(method, known[i]))
            return known[i];
    return STR("_OTHER");
}

/* "HTTP/1.1" -> "1.1" */
static struct str version_label(struct str protocol)
{
    return protocol.n > 5 ? (struct str){protocol.p + 5, protocol.n - 5} : STR("");
}

static void count_request(struct counting *counting, struct str route,
                          const struct access_record *record)
{
    char digits[PUT_NUMBER];
    char *end = put_number(digits, record->status > 0 ? (uint64_t)record->status : 0);
    struct str status = {digits, (size_t)(end - digits)};
    const struct str labels[] = {method_label(record->method),
                                 record->scheme,
                                 status,
                                 route,
                                 version_label(record->protocol),
                                 record->status >= 499 ? status : STR("")};
    struct series *series = series_of(counting, REQUESTS, labels, COUNT(labels));
    if (series != NULL)
        observe(series, record->us);
}

static void count_parts(struct counting *counting, const struct access_record *record)
{
    for (size_t i = 0; i < record->part_count; i++) {
        const struct access_part *part = &record->parts[i];
        const struct str labels[] = {record->route, part->name, str_from(part->state)};
        struct series *series = series_of(counting, PARTS, labels, COUNT(labels));
        if (series != NULL)
            observe(series, part->us);
    }
}

void metrics_count(struct metrics *metrics, unsigned index, struct str route,
                   const struct access_record *record)
{
    if (metrics == NULL)
        return;
    struct counting *counting = &metrics->counting[index];
    count_request(counting, route, record);
    count_parts(counting, record);
    if (record->completed == PAGE_NONE)
        return;
    const struct str labels[] = {record->route,
                                 record->completed == PAGE_COMPLETE ? STR("true") : STR("false")};
    struct series *series = series_of(counting, PAGES, labels, COUNT(labels));
    if (series != NULL)
        add(&series->count, 1);
}

void metrics_count_abuse(struct metrics *metrics, unsigned index, struct str kind)
{
    if (metrics == NULL)
        return;
    struct series *series = series_of(&metrics->counting[index], ABUSE, &kind, 1);
    if (series != NULL)
        add(&series->count, 1);
}

/* -- text ------------------------------------------------------------------------------------- */

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
    const struct series *a = *(const struct series *const *)va,
                        *b = *(const struct series *const *)vb;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
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
static const struct series **gather(const struct metrics *metrics, struct out *out, size_t *count_r)
{
    size_t count = 0, room = 256;
    const struct series **all = h2o_mem_alloc_pool(out->pool, room * sizeof(*all));
    for (unsigned i = 0; i < metrics->loops; i++) {
        for (size_t j = 0; j < TABLE; j++) {
            for (struct series *it =
                     atomic_load_explicit(&metrics->counting[i].table[j], memory_order_acquire);
                 it != NULL; it = atomic_load_explicit(&it->next, memory_order_relaxed)) {
                if (count == room) {
                    const struct series **more =
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
    uint64_t count, sum_us, buckets[BUCKETS];
};

static void add_up(struct sums *sums, const struct series *series)
{
    sums->count += atomic_load_explicit(&series->count, memory_order_relaxed);
    sums->sum_us += atomic_load_explicit(&series->sum_us, memory_order_relaxed);
    for (size_t i = 0; i < BUCKETS; i++)
        sums->buckets[i] += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
}

static void write_histogram(struct out *out, const char *name, struct str *labels, size_t count,
                            const struct sums *sums)
{
    char full[96];
    uint64_t so_far = 0; /* the buckets say how many: what is counted meanwhile isn't in them */
    snprintf(full, sizeof(full), "%s_bucket", name);
    labels[count] = STR("le");
    for (size_t i = 0; i < BUCKETS; i++) {
        so_far += sums->buckets[i];
        labels[count + 1] = str_from(bounds[i]);
        metric_put(out, full, labels, count + 2, so_far);
    }
    snprintf(full, sizeof(full), "%s_sum", name);
    metric_put_micro(out, full, labels, count, sums->sum_us);
    snprintf(full, sizeof(full), "%s_count", name);
    metric_put(out, full, labels, count, so_far);
}

static void write_series(struct out *out, const struct series *series, const struct sums *sums)
{
    struct str labels[2 * MAX_LABELS + 2];
    size_t count = 0;
    for (size_t i = 0; i < series->label_count; i++) {
        if (series->labels[i].n == 0)
            continue; /* the same to Prometheus as none */
        labels[count++] = str_from(kinds[series->kind].labels[i]);
        labels[count++] = series->labels[i];
    }
    if (kinds[series->kind].type == METRIC_HISTOGRAM)
        write_histogram(out, kinds[series->kind].name, labels, count, sums);
    else
        metric_put(out, kinds[series->kind].name, labels, count, sums->count);
}

void metrics_write(const struct metrics *metrics, struct out *out)
{
    size_t count;
    const struct series **all = gather(metrics, out, &count);
    for (size_t i = 0; i < count;) {
        struct sums sums = {0};
        const struct series *first = all[i];
        if (i == 0 || all[i - 1]->kind != first->kind)
            metric_begin(out, kinds[first->kind].name, kinds[first->kind].type,
                         kinds[first->kind].help);
        while (i < count && by_labels(&all[i], &first) == 0)
            add_up(&sums, all[i++]);
        write_series(out, first, &sums);
    }
    uint64_t dropped = 0;
    for (unsigned i = 0; i < metrics->loops; i++)
        dropped += atomic_load_explicit(&metrics->counting[i].dropped, memory_order_relaxed);
    metric_begin(out, "gw_metrics_dropped_total", METRIC_COUNTER,
                 "Observations that had no place, for want of room for their labels.");
    metric_put(out, "gw_metrics_dropped_total", NULL, 0, dropped);
}
