/* What the files of the metrics share: metrics_list.c says what there is to count, metrics.c
 * counts, metrics_text.c writes it for Prometheus. */
#ifndef GW_METRICS_INTERNAL_H
#define GW_METRICS_INTERNAL_H

#include <stdatomic.h>
#include "observe/metrics.h"

enum { METRIC_MAX_LABELS = 6, METRIC_MAX_BUCKETS = 15, METRICS_TABLE = 1024 };

/* Of a histogram: upper bounds in microseconds, and as Prometheus reads them; +Inf comes after. */
struct metric_bounds {
    const uint64_t *at;
    const char *const *text;
    size_t count;
};

struct metric_kind {
    const char *name;
    enum metric_type type;
    const char *help;
    const char *labels[METRIC_MAX_LABELS];
    const struct metric_bounds *bounds; /* of histograms */
};
extern const struct metric_kind metric_kinds[METRICS];

struct metric_series {
    struct metric_series *_Atomic next; /* in its bucket */
    uint64_t hash;
    enum metric metric;
    size_t label_count;
    struct str labels[METRIC_MAX_LABELS]; /* values, behind it in the same memory */
    _Atomic uint64_t count, sum, buckets[METRIC_MAX_BUCKETS]; /* of a counter: count alone */
};

/* A loop's. */
struct counting {
    struct metric_series *_Atomic table[METRICS_TABLE];
    _Atomic uint64_t dropped;
    size_t count;
} __attribute__((aligned(64)));

struct metrics {
    unsigned loops;
    struct counting *counting;
    _Atomic uint64_t generation, loaded_s; /* of the configuration: how many were served; when the
                                              last one was read, seconds since 1970 */
    _Atomic bool loaded;                   /* the last one that was read is served */
};

#endif
