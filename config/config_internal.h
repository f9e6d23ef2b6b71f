/* What the files of config/ share. */
#ifndef GW_CONFIG_INTERNAL_H
#define GW_CONFIG_INTERNAL_H

#include <inttypes.h>
#include <h2o/memory.h>
#include "base/text.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/toml.h"

/* Where a field's value stands, and how it stood when that differs from what it came to. */
struct place {
    const void *field;
    struct pos at;
    struct str source; /* the string before ${NAME} was filled in; of a { file = … } its path */
    bool referenced;   /* source holds a ${NAME}; else source is a path or nothing */
    bool is_file;
};

struct config_private {
    h2o_mem_pool_t pool;
    struct place *places; /* owned; by address */
    size_t place_count, place_capacity;
};

/* NULL when the field is none that was read. */
const struct place *config_place(const struct config *config, const void *field);

enum { CONFIG_NUMBER_TEXT = 32 };
void config_duration_text(uint64_t ms, char text_r[CONFIG_NUMBER_TEXT]);
void config_size_text(uint64_t bytes, char text_r[CONFIG_NUMBER_TEXT]);

/* A string with ${NAME} and ${NAME:-default} filled in. */
struct expansion {
    struct str text;      /* in the pool, NUL-terminated, without control characters */
    bool referenced;      /* there was a ${…} */
    bool literal_default; /* one of them had a default that isn't empty */
};

/* Fills in from getenv(). What is filled in is never looked at again. Errors, all of them: at their
 * byte of `string` in `doc`, or at *instead when that is given. False when there were any. */
bool config_expand(h2o_mem_pool_t *pool, const struct toml_doc *doc, const struct toml_node *string,
                   const struct pos *instead, struct diag *diag, struct expansion *out_r);
/* What the same string comes to in an empty environment: what the file itself gives away. No
 * errors. */
struct str config_expand_bare(h2o_mem_pool_t *pool, struct str string);

/* How many bytes of a text to show, at most max, no character cut apart. For %.*s. */
int config_cut(struct str text, size_t max);

/* A copy in the pool, NUL-terminated. */
struct str config_copy(h2o_mem_pool_t *pool, struct str s);

#endif
