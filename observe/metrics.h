/* What is counted of the requests that were answered, for Prometheus (text format 0.0.4).
 *
 * Each loop counts in memory of its own, without a lock and without a write that another loop makes
 * too; who asks for the numbers adds them up. Names, labels and buckets are those of
 * OpenTelemetry's semantic conventions for HTTP; what is our own begins with gw_. Label values come
 * from the configuration, from closed lists, or are status codes, so that clients can't make them
 * grow; there are at most METRICS_MAX_SERIES of them on a loop all the same, and what has no place
 * is counted in gw_metrics_dropped_total. */
#ifndef GW_METRICS_H
#define GW_METRICS_H

#include "base/out.h"
#include "observe/observe.h"

enum { METRICS_MAX_SERIES = 4096 };

struct metrics;

/* loops: how many count. */
struct metrics *metrics_create(unsigned loops);
void metrics_destroy(struct metrics **metrics); /* nobody counts any more */

/* On loop `index`'s thread only: a request has ended. route: the pattern that it matched, "" =
 * none. Of the record: method, protocol, status, us, route (the page's name), parts, completed.
 * metrics may be NULL. */
void metrics_count(struct metrics *metrics, unsigned index, struct str route,
                   const struct access_record *record);

/* The same: a connection was closed for what its client did. kind: a constant. */
void metrics_count_abuse(struct metrics *metrics, unsigned index, struct str kind);

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
