/* The field `timestamp`: an instant as text, in the zone and format of the configuration. GLib's
 * date-times know the tz database and need no locale; nobody else here knows GLib. */
#ifndef GW_CERTIFICATES_TIMESTAMP_TEXT_H
#define GW_CERTIFICATES_TIMESTAMP_TEXT_H

#include <h2o/memory.h>
#include "base/diag.h"

struct timestamp_text; /* immutable: any thread */

/* format: as g_date_time_format(), UTF-8; zone: a name of the tz database ("Europe/Paris"), or an
 * offset ("+02:00"). NULL after an error at the place of what is wrong. */
struct timestamp_text *timestamp_text_create(const char *format, struct pos format_at,
                                             const char *zone, struct pos zone_at,
                                             struct diag *diag);
void timestamp_text_destroy(struct timestamp_text **text);
/* ms: since 1970. In the pool. */
struct str timestamp_text_print(const struct timestamp_text *text, int64_t ms,
                                h2o_mem_pool_t *pool);

#endif
