/* JSON (RFC 8259), for bytes that arrive, are looked into, put together and sent on.
 *
 * json_parse() makes one pass over the text and leaves a tape: one fixed-size node a value (and a
 * key), in document order, holding positions into the text. Nothing is copied or decoded: numbers
 * stay text (1.10 stays 1.10, 2^63 stays whole), keys keep their order, and writing a value back
 * is writing a slice of the text.
 *
 * A json_value is a handle, 16 bytes, passed by value: either a node of a tape, or something built
 * from other values (a page's root object) that looks the same to whoever reads it. Built values
 * live in a pool and are borrowed by their handles; tapes borrow their text. */
#ifndef GW_BASE_JSON_H
#define GW_BASE_JSON_H

#include <h2o/memory.h>
#include "base/base.h"
#include "base/out.h"

enum json_type {
    JSON_MISSING, /* no such member; the handle {0} */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

enum json_error {
    JSON_OK,
    JSON_EMPTY,       /* no value at all */
    JSON_SYNTAX,      /* not JSON */
    JSON_BAD_UTF8,    /* RFC 3629: overlong, surrogate, past U+10FFFF, cut */
    JSON_BAD_ESCAPE,  /* unknown escape or lone surrogate \u escape */
    JSON_TOO_DEEP,    /* deeper than max_depth */
    JSON_TRAILING,    /* bytes after the value */
    JSON_TOO_LARGE    /* text or tape past 2^32 - 1 */
};

struct json_node {
    uint32_t start; /* of the value's text; for strings the byte after the opening quote */
    uint32_t end;   /* one past it; for strings the closing quote */
    uint32_t next;  /* index of the node after this value and all inside it */
    uint8_t type;   /* enum json_type */
    uint8_t escaped; /* a string with at least one backslash */
    uint16_t reserved;
};

/* A tape. Reusable: json_parse() again keeps the memory. Owned by its holder; one thread writes,
 * after which any may read. An object's nodes alternate key (a string node), value. */
struct json_doc {
    const char *text; /* borrowed from json_parse() on */
    size_t length;
    struct json_node *nodes; /* owned */
    uint32_t count, capacity;
};

void json_doc_init(struct json_doc *doc);
void json_doc_fini(struct json_doc *doc);

/* Parses all of text[0, n). Never reads past it. On an error the tape is empty and *error_at_r
 * (when not NULL) is the offset of the offending byte. max_depth counts nested arrays/objects. */
enum json_error json_parse(struct json_doc *doc, const char *text, size_t n, unsigned max_depth,
                           size_t *error_at_r);
/* "trailing bytes after the value", for messages. */
const char *json_error_text(enum json_error error);

struct json_object;
struct json_array;

struct json_value {
    const void *owner; /* json_doc, json_object, json_array or struct str, by kind; borrowed */
    uint32_t at;       /* node index */
    uint8_t kind;      /* private: enum json_kind of json.c */
    uint8_t type;      /* enum json_type */
    uint16_t reserved;
};

#define JSON_NONE ((struct json_value){0})

static inline enum json_type json_type(struct json_value v)
{
    return (enum json_type)v.type;
}
/* The whole document. */
struct json_value json_root(const struct json_doc *doc);

/* Member of an object (the last one of that name, as browsers do), element of an array; MISSING
 * when there is none or v is something else. Escaped keys are compared decoded. */
struct json_value json_get(struct json_value v, struct str key);
struct json_value json_at(struct json_value v, size_t index);
/* Members or elements; 0 for scalars. Linear for tape nodes. */
size_t json_count(struct json_value v);

/* Walks members or elements in order:
 *     for (struct json_iter it = json_iter(v); json_next(&it);) use(it.key, it.value);
 * key is a JSON_STRING handle for objects, JSON_NONE for arrays. A scalar yields nothing. */
struct json_iter {
    struct json_value key, value;
    struct json_value of;
    uint32_t at, end;
};
struct json_iter json_iter(struct json_value v);
bool json_next(struct json_iter *it);

/* The text of a number, a literal, or a string as it stands between its quotes (still escaped when
 * *escaped_r). Containers give {NULL, 0}. */
struct str json_text(struct json_value v, bool *escaped_r);
/* The decoded text of a string (number and literal text as is). Points into the text when nothing
 * was escaped, else into the pool. */
struct str json_string(struct json_value v, h2o_mem_pool_t *pool);

/* -- values that are built ------------------------------------------------------------------ */

struct json_member {
    struct str key; /* decoded text, borrowed */
    struct json_value value;
};
struct json_object {
    struct json_member *members;
    size_t count, capacity;
};
struct json_array {
    struct json_value *values;
    size_t count, capacity;
};

struct json_object *json_object_create(h2o_mem_pool_t *pool, size_t capacity);
struct json_array *json_array_create(h2o_mem_pool_t *pool, size_t capacity);
/* Adds at the end, or replaces the value of a member of that name where it stands. */
void json_object_set(h2o_mem_pool_t *pool, struct json_object *object, struct str key,
                     struct json_value value);
void json_array_add(h2o_mem_pool_t *pool, struct json_array *array, struct json_value value);
struct json_value json_from_object(const struct json_object *object);
struct json_value json_from_array(const struct json_array *array);
/* A string of plain (unescaped) UTF-8 text; *text is borrowed. */
struct json_value json_from_text(const struct str *text);
/* A number whose text is *text; borrowed. */
struct json_value json_from_number(const struct str *text);
struct json_value json_from_bool(bool value);
struct json_value json_null(void);

/* The object's members, then over them those of `with`: where both have an object the two merge
 * (at every depth), else `with` wins and *collisions_r (when not NULL) counts one. The order is the
 * one of first appearance. Tapes are not changed; what is new lives in the pool. */
struct json_value json_merge(h2o_mem_pool_t *pool, struct json_value into, struct json_value with,
                             unsigned *collisions_r);

/* Writes the value as JSON text. Tape values go out as the upstream's own bytes, byte for byte. */
void json_write(struct out *out, struct json_value v);

#endif
