/* What the files of the traces share: trace_context.c reads and writes headers, trace_span.c writes
 * spans as JSON, trace_request.c those of a request, trace.c has a loop's batches. */
#ifndef GW_OBSERVE_TRACE_INTERNAL_H
#define GW_OBSERVE_TRACE_INTERNAL_H

#include "observe/trace.h"

/* Appends the span. unix_us: what to add to clock_us() for microseconds since 1970. False: it
 * doesn't fit, and the buffer is as it was. */
bool trace_span_put(struct buf *to, const struct trace_span *span, uint64_t unix_us);

#endif
