/* A file's media type by the extension of its name. Private to http/. */
#ifndef GW_HTTP_MEDIA_TYPES_H
#define GW_HTTP_MEDIA_TYPES_H

#include "http/http.h"

/* To be asked with h2o_mimemap_get_type_by_extension(), on any thread; is_compressible says whether
 * a file of that type is worth a ".gz" beside it. Released by h2o_mem_release_shared(). */
h2o_mimemap_t *media_types_create(void);

#endif
