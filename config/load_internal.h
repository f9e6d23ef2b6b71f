/* load.c walks the sections, read.c reads a value, json.c one that becomes JSON, pairs.c a table
 * of pairs, check.c looks at values together. */
#ifndef GW_CONFIG_LOAD_INTERNAL_H
#define GW_CONFIG_LOAD_INTERNAL_H

#include "base/buf.h"
#include "config/config_internal.h"

struct reader {
    struct config *config;
    h2o_mem_pool_t *pool;
    struct diag *diag;
    struct diag *silent; /* for errors that nobody needs to see */
    const struct toml_doc *doc, *defaults;
};

/* A value, and the tree that it is from. */
struct input {
    const struct toml_doc *doc;
    const struct toml_node *node;
    const struct pos *instead; /* of a default: where the key could have stood */
};

/* Checks the value, stores it in the field and notes its place. False: errors were reported and
 * the field is as it was. `record` is the section's struct. */
bool reader_value(struct reader *r, const struct schema_key *key, const struct input *in,
                  const void *record, void *field);

/* A value of any type but a string, as JSON text. False as above. */
bool reader_json(struct reader *r, const struct input *in, struct str *to);

/* A table of pairs; NULL when there is none. */
void reader_pairs(struct reader *r, const struct schema_section *section,
                  const struct toml_node *table, struct config_pairs *to);
/* { file = "path" } instead of a string: the file's first and only line. False as above. */
bool reader_line_of_file(struct reader *r, const struct toml_node *node, struct str *to);

/* When all is read and the places are sorted. */
void reader_check(struct reader *r);

void reader_record(struct reader *r, struct place place);
/* Keeps how a value stood when the environment had a part in it. */
void reader_note_source(struct reader *r, struct place *place, const struct toml_node *string,
                        bool referenced);

/* `integer 800`, `string "abc"`: what stands there instead. */
enum { CONFIG_GOT_TEXT = 80 };
const char *reader_describe(const struct toml_node *node, char text_r[CONFIG_GOT_TEXT]);

/* dir/path, or path when that is absolute. In the pool. */
struct str config_join(h2o_mem_pool_t *pool, struct str dir, struct str path);

/* Appends the file's bytes, as many as the buffer's ceiling allows. False: see errno. */
bool config_read_file(const char *path, struct buf *to);

#endif
