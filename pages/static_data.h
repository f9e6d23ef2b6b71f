/* A part's last resort: JSON that stands in the configuration, or in a file beside it, parsed when
 * the configuration is read. */
#ifndef GW_PAGES_STATIC_DATA_H
#define GW_PAGES_STATIC_DATA_H

#include <h2o/memory.h>
#include "base/json.h"
#include "config/config.h"

enum { STATIC_DATA_MAX = 8 << 20 }; /* bytes of a file: what an answer may have, by default */

/* Parses `static`, or else reads `static_file`; json_root() is MISSING when the fallback has
 * neither. Text and tape are the pool's: don't call json_doc_fini(). False: an error was added, for
 * a file's JSON with the place in that file. */
bool static_data_load(h2o_mem_pool_t *pool, const struct config *config,
                      const struct config_fallback *fallback, struct diag *diag,
                      struct json_doc *doc_r);

#endif
