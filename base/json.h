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
    JSON_EMPTY,      /* no value at all */
    JSON_SYNTAX,     /* not JSON */
    JSON_BAD_UTF8,   /* RFC 3629: overlong, surrogate, past U+10FFFF, cut */
    JSON_BAD_ESCAPE, /* unknown escape or lone surrogate \u escape */
    JSON_TOO_DEEP,   /* deeper than max_depth */
    JSON_TRAILING,   /* bytes after the value */
    JSON_TOO_LARGE   /* text of 4 GiB, or no memory for its tape */
};

struct json_node {
    uint32_t start;   /* of the value's text; for strings the byte after the opening quote */
    uint32_t end;     /* one past it; for strings the closing quote */
    uint32_t next;    /* index of the node after this one and all inside it */
    uint16_t type;    /* enum json_type */
    uint16_t escaped; /* a string with at least one backslash */
};

/* A tape. Reusable: json_parse() again keeps the memory, up to 1 MiB. Owned by its holder; one
 * thread writes, after which any may read. An object's nodes alternate key (a string node),
 * value. A text of n bytes has at most n / 2 + 1 nodes. */
struct json_doc {
    const char *text; /* borrowed from json_parse() on */
    size_t length;
    struct json_node *nodes; /* owned */
    uint32_t count, capacity;
};

void json_doc_init(struct json_doc *doc);
void json_doc_fini(struct json_doc *doc);
/* Forgets the text. A tape past 1 MiB is freed, a smaller one kept for the next text: call it
 * before putting a doc aside, so that one huge answer doesn't stay in memory. */
void json_doc_clear(struct json_doc *doc);

/* Parses all of text[0, n). Never reads past it. On an error the tape is empty and *error_at_r
 * (when not NULL) is the offset of the offending byte: n when the text ends too early, the first
 * byte of a bad escape or UTF-8 sequence. max_depth counts nested arrays/objects. */
enum json_error json_parse(struct json_doc *doc, const char *text, size_t n, unsigned max_depth,
                           size_t *error_at_r);
/* "trailing bytes after the value", for messages. */
const char *json_error_text(enum json_error error);

struct json_object;
struct json_array;

/* Private: what a handle's owner is. */
enum json_kind {
    JSON_KIND_NONE,   /* nothing: missing, and built null, false, true */
    JSON_KIND_TAPE,   /* struct json_doc */
    JSON_KIND_OBJECT, /* struct json_object */
    JSON_KIND_ARRAY,  /* struct json_array */
    JSON_KIND_TEXT    /* struct str: a built string or number */
};

struct json_value {
    const void *owner; /* by kind; borrowed */
    uint32_t at;       /* node index */
    uint8_t kind;      /* private: enum json_kind */
    uint8_t type;      /* enum json_type */
    uint16_t reserved;
};

#define JSON_NONE ((struct json_value){0})

static inline enum json_type json_type(struct json_value v)
{
    return (enum json_type)v.type;
}
/* Private: the handle of a tape's node. */
static inline struct json_value json_from_node(const struct json_doc *doc, uint32_t at)
{
    return (struct json_value){
        .owner = doc, .at = at, .kind = JSON_KIND_TAPE, .type = (uint8_t)doc->nodes[at].type};
}
/* The whole document; MISSING when the doc holds none. */
static inline struct json_value json_root(const struct json_doc *doc)
{
    return doc->count == 0 ? JSON_NONE : json_from_node(doc, 0);
}

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
struct json_iter json_iter_built(struct json_value v); /* private */
bool json_next_built(struct json_iter *it);            /* private */

static inline struct json_iter json_iter(struct json_value v)
{
    if (v.kind != JSON_KIND_TAPE)
        return json_iter_built(v);
    const struct json_node *nodes = ((const struct json_doc *)v.owner)->nodes;
    return (struct json_iter){.of = v, .at = v.at + 1, .end = nodes[v.at].next};
}

static inline bool json_next(struct json_iter *it)
{
    if (it->at >= it->end)
        return false;
    if (it->of.kind != JSON_KIND_TAPE)
        return json_next_built(it);
    const struct json_doc *doc = (const struct json_doc *)it->of.owner;
    if (it->of.type == JSON_OBJECT)
        it->key = json_from_node(doc, it->at++);
    it->value = json_from_node(doc, it->at);
    it->at = doc->nodes[it->at].next;
    return true;
}

/* The text of a number, a literal, or a string as it stands between its quotes (still escaped when
 * *escaped_r). Containers give {NULL, 0}. */
struct str json_text(struct json_value v, bool *escaped_r);
/* The decoded text of a string (number and literal text as is). Points into the text when nothing
 * was escaped, else into the pool. */
struct str json_string(struct json_value v, h2o_mem_pool_t *pool);
/* For who decodes a string that json_text() gave, bit by bit: writes the escape at **p as UTF-8 and
 * moves *p past it. Returns the number of bytes, always fewer than the escape has. */
size_t json_decode_escape(const char **p, char bytes_r[4]);

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

/* Writes the value as JSON text. Tape values go out as the upstream's own bytes, byte for byte,
 * pointed at: the text must outlive the response. MISSING goes out as null. Recurses as deep as
 * built values nest, which for merged ones is the max_depth they were parsed with. */
void json_write(struct out *out, struct json_value v);

#endif
