/* Which bytes of a representation are asked for: Range and If-Range (RFC 9110 sections 13.1.5 and
 * 14). Pure functions of header values. Any thread. */
#ifndef GW_HTTP_RANGE_H
#define GW_HTTP_RANGE_H

#include <time.h>
#include "base/base.h"

enum { RANGES_MAX = 32 };

/* Not empty, inside the representation. */
struct range {
    uint64_t first, n;
};

enum range_result {
    RANGE_WHOLE,        /* as if there were no Range: 200 */
    RANGE_PARTS,        /* 206 */
    RANGE_UNSATISFIABLE /* 416 */
};

/* value: the Range field, {NULL, 0} = absent; several lines joined with commas, which makes them
 * malformed. Ranges come in the order asked for, without those that lie outside.
 *
 * RANGE_WHOLE for other units and what is malformed, and for what costs more than the whole would:
 * over RANGES_MAX ranges, more bytes than there are, more than two overlaps (section 14.2 allows
 * it). */
enum range_result range_parse(struct str value, uint64_t size, struct range ranges_r[RANGES_MAX],
                              size_t *count_r);

/* Whether If-Range lets Range count: absent, the very same strong entity tag, or the very same date
 * (that it is a strong one is for the client to know, section 13.1.5). */
bool range_allowed(struct str if_range, struct str etag, time_t modified);

#endif
