/* What is counted, for Prometheus (text format 0.0.4).
 *
 * Each loop counts in memory of its own, without a lock and without a write that another loop makes
 * too; who asks for the numbers adds them up. Names, labels and buckets are those of
 * OpenTelemetry's semantic conventions; what is our own begins with gw_. Label values come from the
 * configuration, from closed lists, or are status codes, so that clients can't make them grow;
 * there are at most METRICS_MAX_SERIES of them on a loop all the same, and what has no place is
 * counted in gw_metrics_dropped_total.
 *
 * To count something new: a member of enum metric, its line in metrics_list.c (name, type, help,
 * labels), a row in docs/operations.md (a test compares them), and where it happens, on a loop,
 *
 *     metric_add(METRIC_RETRIES, 1, (struct str[]){upstream, reason}, 2);
 *
 * For what happens with each request and has always the same labels, metric_series() finds the
 * place once and series_add() counts there: a load and a store. A number that is kept elsewhere
 * anyway is written by whoever keeps it, with metric_begin() and metric_put(). */
#ifndef GW_METRICS_H
#define GW_METRICS_H

#include "base/out.h"
#include "observe/observe.h"

enum { METRICS_MAX_SERIES = 4096 };

enum metric {
    METRIC_REQUESTS,
    METRIC_ACTIVE_REQUESTS,
    METRIC_PARTS,
    METRIC_PAGES,
    METRIC_CLIENT_REQUESTS,
    METRIC_QUEUE,
    METRIC_RETRIES,
    METRIC_RETRIES_DENIED,
    METRIC_HEDGES,
    METRIC_UPLOADS,
    METRIC_UPLOAD_BYTES,
    METRIC_DOWNLOAD_BYTES,
    METRIC_CERTIFICATES,
    METRIC_CERTIFICATE_DRAWING,
    METRIC_VERIFICATIONS,
    METRIC_ABUSE,
    METRIC_LOOP_LAG,
    METRIC_SPANS,
    METRICS
};

struct metrics;
struct metric_series;

/* loops: how many count. */
struct metrics *metrics_create(unsigned loops);
void metrics_destroy(struct metrics **metrics); /* nobody counts any more */

/* This thread counts as loop `index` from here on; NULL: it doesn't count any more. What follows
 * does nothing on a thread that doesn't count. */
void metrics_attach(struct metrics *metrics, unsigned index);

/* The series with these labels' values, as many as the metric has and in its order; "" = the label
 * is left out. They are copied. NULL when this thread doesn't count, or there are too many; else
 * good until metrics_destroy(), on this thread. */
struct metric_series *metric_series(enum metric metric, const struct str *labels, size_t count);
/* NULL does nothing. Of a gauge, n may be negative: (uint64_t)-1. */
void series_add(struct metric_series *series, uint64_t n);
/* Of a histogram. */
void series_observe(struct metric_series *series, uint64_t us);
void metric_add(enum metric metric, uint64_t n, const struct str *labels, size_t count);
void metric_observe(enum metric metric, uint64_t us, const struct str *labels, size_t count);

/* Those of RFC 9110 and PATCH as they are, "_OTHER" for what a client may invent. A constant. */
struct str metric_method(struct str method);

/* On loop `index`'s thread only: a request has ended. route: the pattern that it matched, "" =
 * none. Of the record: method, protocol, status, us, route (the page's name), parts, completed.
 * metrics may be NULL. */
void metrics_count(struct metrics *metrics, unsigned index, struct str route,
                   const struct access_record *record);

/* Any thread: a configuration was read to be served, at the start and after. ok: it is the one that
 * is served now; else the one before is served on. */
void metrics_config_loaded(struct metrics *metrics, bool ok);

/* Any thread, at any time: all of it. */
void metrics_write(const struct metrics *metrics, struct out *out);

/* -- for others who write their own -- */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* `# HELP` and `# TYPE`; both texts are constants without a line break or a backslash. */
void metric_begin(struct out *out, const char *name, enum metric_type type, const char *help);
/* One sample. Labels are name and value in turns, the values escaped here; count: of strings. */
void metric_put(struct out *out, const char *name, const struct str *labels, size_t count,
                uint64_t value);
/* The same with a decimal fraction: value / 10^6. */
void metric_put_micro(struct out *out, const char *name, const struct str *labels, size_t count,
                      uint64_t value);

/* CPU, memory, descriptors and the start of this process, as Prometheus' own clients name them. */
void metrics_write_process(struct out *out);

#endif
