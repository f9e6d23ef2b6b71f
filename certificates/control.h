/* The register on the control socket:
 *
 *   GET  /certificates?route=NAME&status=valid&limit=100&after=SERIAL   newest first
 *   GET  /certificates/{serial}
 *   POST /certificates/{serial}/revoke      {"reason": "…"}, or nothing
 *   POST /certificates/{serial}/supersede   {"by": "SERIAL"}, or nothing
 *
 * Answers are JSON (record_json.h), errors problem+json. Repeating a change answers the same. */
#ifndef GW_CERTIFICATES_CONTROL_H
#define GW_CERTIFICATES_CONTROL_H

#include "base/offload.h"
#include "http/http.h"
#include "stores/stores.h"

enum { REASON_MAX = 500 }; /* bytes */

struct control;

/* Before the loops run. store NULL: while a configuration is only checked. */
struct control *control_create(struct http_server *server, struct store *store,
                               struct offload *reads);
/* The loops have ended, the offload is stopped. */
void control_destroy(struct control **control);

#endif
