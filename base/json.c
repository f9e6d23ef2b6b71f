/* JSON values: reading a tape through handles, building values over tapes, writing them out.
 *
 * Whoever reads a value need not know whether an upstream sent it or a page put it together: each
 * function here asks the handle's kind once. Tapes hold no index of their members. Answers' objects
 * are small, and walking the keys of one (length first, then bytes) is cheaper than building an
 * index for an object that is looked into a few times. Merging is json_merge.c's. */
#include <stdlib.h>
#include "base/json.h"
#include "base/text.h"

/* 1 MiB; what a doc keeps from one text to the next. */
#define KEPT_NODES ((uint32_t)(1024 * 1024 / sizeof(struct json_node)))

void json_doc_init(struct json_doc *doc)
{
    *doc = (struct json_doc){0};
}

void json_doc_fini(struct json_doc *doc)
{
    free(doc->nodes);
    *doc = (struct json_doc){0};
}

void json_doc_clear(struct json_doc *doc)
{
    if (doc->capacity > KEPT_NODES) {
        json_doc_fini(doc);
        return;
    }
    doc->text = NULL;
    doc->length = 0;
    doc->count = 0;
}

const char *json_error_text(enum json_error error)
{
    switch (error) {
    case JSON_OK:
        return "no error";
    case JSON_EMPTY:
        return "no JSON value";
    case JSON_SYNTAX:
        return "not JSON";
    case JSON_BAD_UTF8:
        return "not UTF-8";
    case JSON_BAD_ESCAPE:
        return "bad escape in a string";
    case JSON_TOO_DEEP:
        return "nested too deep";
    case JSON_TRAILING:
        return "trailing bytes after the value";
    case JSON_TOO_LARGE:
        return "too large";
    }
    return "unknown error";
}

static inline const struct json_node *node_of(struct json_value v)
{
    return &((const struct json_doc *)v.owner)->nodes[v.at];
}

static size_t encode_utf8(unsigned code, char bytes_r[4])
{
    if (code < 0x80) {
        bytes_r[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        bytes_r[0] = (char)(0xc0 | code >> 6);
        bytes_r[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        bytes_r[0] = (char)(0xe0 | code >> 12);
        bytes_r[1] = (char)(0x80 | (code >> 6 & 0x3f));
        bytes_r[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    bytes_r[0] = (char)(0xf0 | code >> 18);
    bytes_r[1] = (char)(0x80 | (code >> 12 & 0x3f));
    bytes_r[2] = (char)(0x80 | (code >> 6 & 0x3f));
    bytes_r[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

size_t json_decode_escape(const char **p, char bytes_r[4])
{
    static const char plain[128] = {['b'] = '\b', ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r',
                                    ['t'] = '\t', ['"'] = '"',  ['\\'] = '\\', ['/'] = '/'};
    char c = (*p)[1];

    if (c != 'u') {
        bytes_r[0] = plain[c & 0x7f];
        *p += 2;
        return 1;
    }
    unsigned code = (unsigned)hex4_value(*p + 2);
    *p += 6;
    if (code >= 0xd800 && code <= 0xdfff) {
        code = 0x10000 + ((code & 0x3ff) << 10 | ((unsigned)hex4_value(*p + 2) & 0x3ff));
        *p += 6;
    }
    return encode_utf8(code, bytes_r);
}

static struct str decode_string(struct str raw, h2o_mem_pool_t *pool)
{
    char *decoded = h2o_mem_alloc_pool(pool, raw.n), *to = decoded;
    const char *p = raw.p, *end = raw.p + raw.n;

    while (p < end) {
        const char *backslash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((backslash != NULL ? backslash : end) - p);
        memcpy(to, p, plain);
        to += plain;
        p += plain;
        if (p < end) {
            char bytes[4];
            size_t n = json_decode_escape(&p, bytes);
            memcpy(to, bytes, n);
            to += n;
        }
    }
    return (struct str){decoded, (size_t)(to - decoded)};
}

/* raw, decoded, is text. */
static __attribute__((noinline)) bool escaped_is(struct str raw, struct str text)
{
    const char *p = raw.p, *end = raw.p + raw.n;
    size_t at = 0;

    while (p < end) {
        char bytes[4] = {*p};
        size_t n = 1;
        if (*p == '\\')
            n = json_decode_escape(&p, bytes);
        else
            p++;
        if (text.n - at < n || memcmp(text.p + at, bytes, n) != 0)
            return false;
        at += n;
    }
    return at == text.n;
}

static inline bool key_is(const char *text, const struct json_node *node, struct str key)
{
    size_t n = node->end - node->start;
    if (__builtin_expect(node->escaped, 0))
        return n > key.n && escaped_is((struct str){text + node->start, n}, key);
    return str_eq((struct str){text + node->start, n}, key);
}

struct json_value json_get(struct json_value v, struct str key)
{
    if (v.kind == JSON_KIND_TAPE && v.type == JSON_OBJECT) {
        const struct json_doc *doc = v.owner;
        const struct json_node *nodes = doc->nodes;
        uint32_t end = nodes[v.at].next, found = 0;
        for (uint32_t at = v.at + 1; at < end; at = nodes[at + 1].next)
            if (key_is(doc->text, &nodes[at], key))
                found = at + 1;
        return found != 0 ? json_from_node(doc, found) : JSON_NONE;
    }
    if (v.kind == JSON_KIND_OBJECT) {
        const struct json_object *object = v.owner;
        for (size_t i = 0; i < object->count; i++)
            if (str_eq(object->members[i].key, key))
                return object->members[i].value;
    }
    return JSON_NONE;
}

struct json_value json_at(struct json_value v, size_t index)
{
    if (v.kind == JSON_KIND_TAPE && v.type == JSON_ARRAY) {
        const struct json_doc *doc = v.owner;
        uint32_t end = doc->nodes[v.at].next;
        for (uint32_t at = v.at + 1; at < end; at = doc->nodes[at].next)
            if (index-- == 0)
                return json_from_node(doc, at);
    }
    if (v.kind == JSON_KIND_ARRAY) {
        const struct json_array *array = v.owner;
        if (index < array->count)
            return array->values[index];
    }
    return JSON_NONE;
}

size_t json_count(struct json_value v)
{
    size_t count = 0;

    switch ((enum json_kind)v.kind) {
    case JSON_KIND_TAPE:
        for (struct json_iter it = json_iter(v); json_next(&it);)
            count++;
        return count;
    case JSON_KIND_OBJECT:
        return ((const struct json_object *)v.owner)->count;
    case JSON_KIND_ARRAY:
        return ((const struct json_array *)v.owner)->count;
    case JSON_KIND_NONE:
    case JSON_KIND_TEXT:
        break;
    }
    return 0;
}

struct json_iter json_iter_built(struct json_value v)
{
    return (struct json_iter){.of = v, .end = (uint32_t)json_count(v)};
}

bool json_next_built(struct json_iter *it)
{
    if (it->of.kind == JSON_KIND_OBJECT) {
        const struct json_member *member =
            &((const struct json_object *)it->of.owner)->members[it->at++];
        it->key = json_from_text(&member->key);
        it->value = member->value;
    } else {
        it->value = ((const struct json_array *)it->of.owner)->values[it->at++];
    }
    return true;
}

struct str json_text(struct json_value v, bool *escaped_r)
{
    *escaped_r = false;
    switch ((enum json_type)v.type) {
    case JSON_MISSING:
    case JSON_ARRAY:
    case JSON_OBJECT:
        return (struct str){NULL, 0};
    default:
        break;
    }
    switch ((enum json_kind)v.kind) {
    case JSON_KIND_TAPE: {
        const struct json_node *node = node_of(v);
        *escaped_r = node->escaped;
        return (struct str){((const struct json_doc *)v.owner)->text + node->start,
                            node->end - node->start};
    }
    case JSON_KIND_TEXT:
        return *(const struct str *)v.owner;
    default:
        return v.type == JSON_NULL ? STR("null") : v.type == JSON_TRUE ? STR("true") : STR("false");
    }
}

struct str json_string(struct json_value v, h2o_mem_pool_t *pool)
{
    bool escaped;
    struct str text = json_text(v, &escaped);
    return escaped ? decode_string(text, pool) : text;
}

struct json_object *json_object_create(h2o_mem_pool_t *pool, size_t capacity)
{
    struct json_object *object = h2o_mem_alloc_pool(pool, sizeof(*object));
    *object = (struct json_object){.capacity = capacity};
    if (capacity != 0)
        object->members = h2o_mem_alloc_pool(pool, capacity * sizeof(*object->members));
    return object;
}

struct json_array *json_array_create(h2o_mem_pool_t *pool, size_t capacity)
{
    struct json_array *array = h2o_mem_alloc_pool(pool, sizeof(*array));
    *array = (struct json_array){.capacity = capacity};
    if (capacity != 0)
        array->values = h2o_mem_alloc_pool(pool, capacity * sizeof(*array->values));
    return array;
}

/* Twice the room for elements of `size` bytes, in the pool; the old room stays there until the pool
 * goes. */
static void *grow_in_pool(h2o_mem_pool_t *pool, void *elements, size_t size, size_t *capacity)
{
    size_t larger = *capacity == 0 ? 8 : 2 * *capacity;
    gw_assert(larger < UINT32_MAX); /* an iterator counts in 32 bits */
    void *grown = h2o_mem_alloc_pool(pool, larger * size);
    if (*capacity != 0)
        memcpy(grown, elements, *capacity * size);
    *capacity = larger;
    return grown;
}

void json_object_set(h2o_mem_pool_t *pool, struct json_object *object, struct str key,
                     struct json_value value)
{
    for (size_t i = 0; i < object->count; i++) {
        if (str_eq(object->members[i].key, key)) {
            object->members[i].value = value;
            return;
        }
    }
    if (object->count == object->capacity)
        object->members =
            grow_in_pool(pool, object->members, sizeof(*object->members), &object->capacity);
    object->members[object->count++] = (struct json_member){key, value};
}

void json_array_add(h2o_mem_pool_t *pool, struct json_array *array, struct json_value value)
{
    if (array->count == array->capacity)
        array->values = grow_in_pool(pool, array->values, sizeof(*array->values), &array->capacity);
    array->values[array->count++] = value;
}

struct json_value json_from_object(const struct json_object *object)
{
    return (struct json_value){.owner = object, .kind = JSON_KIND_OBJECT, .type = JSON_OBJECT};
}

struct json_value json_from_array(const struct json_array *array)
{
    return (struct json_value){.owner = array, .kind = JSON_KIND_ARRAY, .type = JSON_ARRAY};
}

struct json_value json_from_text(const struct str *text)
{
    return (struct json_value){.owner = text, .kind = JSON_KIND_TEXT, .type = JSON_STRING};
}

struct json_value json_from_number(const struct str *text)
{
    return (struct json_value){.owner = text, .kind = JSON_KIND_TEXT, .type = JSON_NUMBER};
}

struct json_value json_from_bool(bool value)
{
    return (struct json_value){.type = value ? JSON_TRUE : JSON_FALSE};
}

struct json_value json_null(void)
{
    return (struct json_value){.type = JSON_NULL};
}

static void write_quoted(struct out *out, struct str text)
{
    out_write(out, "\"", 1);
    out_json_escaped(out, text);
    out_write(out, "\"", 1);
}

static void write_node(struct out *out, struct json_value v)
{
    const char *text = ((const struct json_doc *)v.owner)->text;
    const struct json_node *node = node_of(v);
    uint32_t quote = v.type == JSON_STRING;
    out_refer(out, text + node->start - quote, node->end - node->start + 2 * quote);
}

static void write_object(struct out *out, const struct json_object *object)
{
    out_write(out, "{", 1);
    for (size_t i = 0; i < object->count; i++) {
        if (i != 0)
            out_write(out, ",", 1);
        write_quoted(out, object->members[i].key);
        out_write(out, ":", 1);
        json_write(out, object->members[i].value);
    }
    out_write(out, "}", 1);
}

static void write_array(struct out *out, const struct json_array *array)
{
    out_write(out, "[", 1);
    for (size_t i = 0; i < array->count; i++) {
        if (i != 0)
            out_write(out, ",", 1);
        json_write(out, array->values[i]);
    }
    out_write(out, "]", 1);
}

void json_write(struct out *out, struct json_value v)
{
    bool escaped;

    switch ((enum json_kind)v.kind) {
    case JSON_KIND_TAPE:
        write_node(out, v);
        return;
    case JSON_KIND_OBJECT:
        write_object(out, v.owner);
        return;
    case JSON_KIND_ARRAY:
        write_array(out, v.owner);
        return;
    case JSON_KIND_TEXT:
        if (v.type == JSON_STRING)
            write_quoted(out, *(const struct str *)v.owner);
        else
            out_str(out, *(const struct str *)v.owner);
        return;
    case JSON_KIND_NONE:
        out_str(out, v.type == JSON_MISSING ? STR("null") : json_text(v, &escaped));
        return;
    }
}
