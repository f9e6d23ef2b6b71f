/* A certificate of the register as JSON, the same for verify pages, the control socket and
 * `gateway certificate --json`. */
#ifndef GW_CERTIFICATES_RECORD_JSON_H
#define GW_CERTIFICATES_RECORD_JSON_H

#include "base/json.h"
#include "stores/stores.h"

/* id (serial; "" gives null), status, issued_at, revoked_at, superseded_at, superseded_by, sha256,
 * certificate (its section's name), reason, fields (those shown). record NULL: status "unknown",
 * and all else null. In the pool, but for the record's strings, which it points to. */
struct json_object *record_json(h2o_mem_pool_t *pool, struct str serial,
                                const struct certificate_record *record);
/* A string in the pool, of a copy or of text that stays; for those who add members. */
struct json_value record_json_copy(h2o_mem_pool_t *pool, const char *text, size_t n);
struct json_value record_json_text(h2o_mem_pool_t *pool, struct str text);
/* A field's name as pages show it: "first_name" -> "first name"; their style makes the first letter
 * a capital. */
struct json_value record_json_label(h2o_mem_pool_t *pool, struct str name);

#endif
