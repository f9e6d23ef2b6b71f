/* TOML 1.0 (toml.io/en/v1.0.0) as a read-only tree of plain structs, with the place of each key and
 * value and the keys in the file's order. Private to config/: the rest of the program sees only the
 * structs of config.h.
 *
 * The tree borrows nothing but `file`; it lives until toml_free(). Any thread, one at a time. */
#ifndef GW_CONFIG_TOML_H
#define GW_CONFIG_TOML_H

#include "base/base.h"
#include "base/diag.h"

#ifdef __cplusplus
extern "C" {
#endif

enum toml_type {
    TOML_TABLE,
    TOML_ARRAY,
    TOML_STRING,
    TOML_INTEGER,
    TOML_FLOAT,
    TOML_BOOL,
    TOML_DATETIME, /* with an offset */
    TOML_LOCAL_DATETIME,
    TOML_LOCAL_DATE,
    TOML_LOCAL_TIME
};

struct toml_node {
    enum toml_type type;
    struct str key; /* in a table: this entry's key, NUL-terminated; elsewhere none */
    struct pos
        key_at;      /* where the key first stands (of a dotted key or a header: its own segment) */
    struct pos at;   /* where the value begins; of a table made by a header: the header's '[' */
    struct str text; /* a string's value, NUL-terminated, may hold NULs; else a scalar's source */
    int64_t integer;
    double number;
    bool boolean;
    const struct toml_node *items; /* of a table in the file's order, or of an array */
    size_t count;
};

struct toml_doc {
    const struct toml_node *root; /* a table; NULL when the text isn't TOML: then see error */
    const char *error;            /* the first syntax error, one line */
    struct pos error_at;
};

/* Never NULL. Refuses text over 1 MiB and keys of more than 64 segments: both bound the stack and
 * the time that a strange file can take. */
struct toml_doc *toml_parse(struct str text, const char *file);
void toml_free(struct toml_doc **doc);

/* The entry of a table, NULL when there is none (or `table` is no table). */
const struct toml_node *toml_get(const struct toml_node *table, struct str key);

/* Where the byte at `offset` of a string's value stands in the file, escapes and line ends of
 * multi-line strings taken into account. */
struct pos toml_place(const struct toml_doc *doc, const struct toml_node *string, size_t offset);

#ifdef __cplusplus
}
#endif

#endif
