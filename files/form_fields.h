/* The short fields that come with files, in a form or as Upload-Metadata of tus: those that
 * [uploads.NAME].fields names, and the JSON object that is recorded with the files. Pure. */
#ifndef GW_FILES_FORM_FIELDS_H
#define GW_FILES_FORM_FIELDS_H

#include <h2o/memory.h>
#include "config/config.h"

struct form_field;

struct form_fields {
    const struct config_strings *known; /* borrowed, as is pool, where all of it lives */
    h2o_mem_pool_t *pool;
    struct form_field *first, **end;
};

void form_fields_init(struct form_fields *fields, const struct config_strings *known,
                      h2o_mem_pool_t *pool);
/* Which of the known ones it is; known->count: none. */
size_t form_fields_find(const struct form_fields *fields, struct str name);
/* The value is copied; what isn't UTF-8 becomes U+FFFD. */
void form_fields_add(struct form_fields *fields, size_t which, struct str value);
/* {"title":"x","tags":["a","b"]}, in the configuration's order; "" without any. */
struct str form_fields_print(const struct form_fields *fields);

#endif
