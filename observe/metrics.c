/* Series are found by a hash of their labels, in a table that only its loop writes to: a new one is
 * finished before it is linked in, and none ever goes. Their numbers are atomics with one writer,
 * so that counting is a load and a store. */
#include "observe/metrics_internal.h"

#include <stdlib.h>
#include <time.h>
#include "base/put.h"

static _Thread_local struct counting *attached; /* NULL: this thread doesn't count */

struct metrics *metrics_create(unsigned loops)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));
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
        for (size_t j = 0; j < METRICS_TABLE; j++)
            for (struct metric_series *it = metrics->counting[i].table[j], *next; it != NULL;
                 it = next) {
                next = it->next;
                free(it);
            }
    free(metrics->counting);
    free(metrics);
}

void metrics_attach(struct metrics *metrics, unsigned index)
{
    gw_assert(metrics == NULL || index < metrics->loops);
    attached = metrics != NULL ? &metrics->counting[index] : NULL;
}

void metrics_config_loaded(struct metrics *metrics, bool ok)
{
    atomic_store(&metrics->loaded, ok);
    if (!ok)
        return;
    atomic_store(&metrics->loaded_s, (uint64_t)time(NULL));
    atomic_fetch_add(&metrics->generation, 1);
}

/* -- series ----------------------------------------------------------------------------------- */

static uint64_t hash_labels(enum metric metric, const struct str *labels, size_t count)
{
    uint64_t h = 14695981039346656037u + metric; /* FNV-1a: what is hashed is no client's */
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < labels[i].n; j++)
            h = (h ^ (unsigned char)labels[i].p[j]) * 1099511628211u;
        h = (h ^ 0xff) * 1099511628211u;
    }
    return h;
}

static bool same_labels(const struct metric_series *series, const struct str *labels)
{
    for (size_t i = 0; i < series->label_count; i++)
        if (!str_eq(series->labels[i], labels[i]))
            return false;
    return true;
}

static struct metric_series *series_new(enum metric metric, uint64_t hash, const struct str *labels,
                                        size_t count)
{
    size_t size = sizeof(struct metric_series);
    for (size_t i = 0; i < count; i++)
        size += labels[i].n;
    struct metric_series *series = calloc(1, size);
    gw_assert(series != NULL);
    series->metric = metric;
    series->hash = hash;
    series->label_count = count;
    char *at = (char *)(series + 1);
    for (size_t i = 0; i < count; i++) {
        series->labels[i] = (struct str){at, labels[i].n};
        at = put_str(at, labels[i]);
    }
    return series;
}

static size_t label_count(enum metric metric)
{
    size_t count = 0;
    while (count < METRIC_MAX_LABELS && metric_kinds[metric].labels[count] != NULL)
        count++;
    return count;
}

/* NULL: there are too many. */
static struct metric_series *series_of(struct counting *counting, enum metric metric,
                                       const struct str *labels, size_t count)
{
    uint64_t hash = hash_labels(metric, labels, count);
    struct metric_series *_Atomic *bucket = &counting->table[(hash >> 20) % METRICS_TABLE];
    struct metric_series *first = atomic_load_explicit(bucket, memory_order_relaxed);
    for (struct metric_series *it = first; it != NULL;
         it = atomic_load_explicit(&it->next, memory_order_relaxed))
        if (it->hash == hash && it->metric == metric && same_labels(it, labels))
            return it;
    if (counting->count == METRICS_MAX_SERIES) {
        atomic_fetch_add_explicit(&counting->dropped, 1, memory_order_relaxed);
        return NULL;
    }
    gw_assert(count == label_count(metric));
    counting->count++;
    struct metric_series *series = series_new(metric, hash, labels, count);
    atomic_store_explicit(&series->next, first, memory_order_relaxed);
    atomic_store_explicit(bucket, series, memory_order_release);
    return series;
}

struct metric_series *metric_series(enum metric metric, const struct str *labels, size_t count)
{
    return attached != NULL ? series_of(attached, metric, labels, count) : NULL;
}

/* -- counting --------------------------------------------------------------------------------- */

/* There is one writer: no locked instruction is needed. */
static void add(_Atomic uint64_t *number, uint64_t n)
{
    uint64_t before = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, before + n, memory_order_relaxed);
}

void series_add(struct metric_series *series, uint64_t n)
{
    if (series != NULL)
        add(&series->count, n);
}

void series_observe(struct metric_series *series, uint64_t us)
{
    if (series == NULL)
        return;
    const struct metric_bounds *bounds = metric_kinds[series->metric].bounds;
    size_t bucket = 0;
    while (bucket < bounds->count && us > bounds->at[bucket])
        bucket++;
    add(&series->buckets[bucket], 1);
    add(&series->sum, us);
}

void metric_add(enum metric metric, uint64_t n, const struct str *labels, size_t count)
{
    series_add(metric_series(metric, labels, count), n);
}

void metric_observe(enum metric metric, uint64_t us, const struct str *labels, size_t count)
{
    series_observe(metric_series(metric, labels, count), us);
}

struct str metric_method(struct str method)
{
    static const struct str known[] = {{"GET", 3},   {"HEAD", 4},    {"POST", 4},
                                       {"PUT", 3},   {"DELETE", 6},  {"CONNECT", 7},
                                       {"PATCH", 5}, {"OPTIONS", 7}, {"TRACE", 5}};
    for (size_t i = 0; i < COUNT(known); i++)
        if (str_eq(method, known[i]))
            return known[i];
    return STR("_OTHER");
}

/* -- requests --------------------------------------------------------------------------------- */

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
    const struct str labels[] = {metric_method(record->method),
                                 record->scheme,
                                 status,
                                 route,
                                 version_label(record->protocol),
                                 record->status >= 499 ? status : STR("")};
    series_observe(series_of(counting, METRIC_REQUESTS, labels, COUNT(labels)), record->us);
}

static void count_parts(struct counting *counting, const struct access_record *record)
{
    for (size_t i = 0; i < record->part_count; i++) {
        const struct access_part *part = &record->parts[i];
        const struct str labels[] = {record->route, part->name, str_from(part->state)};
        series_observe(series_of(counting, METRIC_PARTS, labels, COUNT(labels)), part->us);
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
    series_add(series_of(counting, METRIC_PAGES, labels, COUNT(labels)), 1);
}
