/* Traces, put together: what [traces] says, and the way of a loop's batches to the collector, which
 * is an upstream like any other. What is recorded and when: observe/trace.h. */
#ifndef GW_COMMANDS_TRACES_H
#define GW_COMMANDS_TRACES_H

#include "base/diag.h"
#include "config/config.h"
#include "observe/trace.h"
#include "upstreams/upstreams.h"

/* A site's. Immutable: any thread. */
struct tracing;
/* NULL when traces are off, and after errors, which are in diag. Main thread. */
struct tracing *tracing_create(const struct config *config, struct upstreams *ups,
                               struct diag *diag);
void tracing_destroy(struct tracing **tracing);

/* What sends a loop's batches for one site. On the loop's thread. */
struct exporter;
/* From now on `traces` are served as `tracing` (NULL = off) says. NULL when nothing is exported. */
struct exporter *exporter_create(const struct tracing *tracing, struct traces *traces,
                                 struct up_client *client);
/* Before its client ends. What is under way is left to who serves now. */
void exporter_destroy(struct exporter **exporter);

#endif
