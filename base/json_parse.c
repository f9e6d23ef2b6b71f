/* JSON text to tape (RFC 8259), in one pass.
 *
 * The pass is a state machine of labels and not recursive descent: an open container's `next` holds
 * the index of the container around it until it closes, so the tape is its own stack and depth
 * costs no C stack. Where tokens end is json_scan.h's to find. */
#include <stdlib.h>
#include "base/json.h"
#include "base/json_scan.h"

/* Positions and indices, a few past the end included, fit 32 bits. */
#define MAX_LENGTH (UINT32_MAX - 16)

/* No container is open. Never the index of one: a tape is shorter. */
#define NO_NODE UINT32_MAX

/* Room for two more nodes, a key and its value. Answers have a node about every ten bytes; text
 * that has more grows the tape by halves. Closed values take two bytes each with their comma or
 * bracket, open containers one, so there is an end to that. */
static __attribute__((noinline)) bool grow(struct json_doc *doc, unsigned max_depth)
{
    size_t most = doc->length / 2 + max_depth + 3;
    size_t capacity = doc->length / 10 + 16;
    if (doc->capacity != 0)
        capacity = doc->capacity + (size_t)doc->capacity / 2 + 16;
    if (capacity > most)
        capacity = most;
    if (capacity > UINT32_MAX)
        capacity = UINT32_MAX;
    gw_assert(capacity >= (size_t)doc->capacity + 2);
    struct json_node *nodes = realloc(doc->nodes, capacity * sizeof(*nodes));
    if (nodes == NULL)
        return false;
    doc->nodes = nodes;
    doc->capacity = (uint32_t)capacity;
    return true;
}

/* The pass itself. On success doc->count is set; on failure it stays 0. */
static bool parse(struct json_doc *doc, unsigned max_depth, struct failure *failure)
{
    const char *const text = doc->text, *const end = text + doc->length;
    const char *p = text;
    struct json_node *nodes = doc->nodes;
    uint32_t count = 0, open = NO_NODE;
    unsigned depth = 0;
    const char *start;
    struct window window;
    bool escaped;
    uint16_t type;

    move_window(&window, p, end);

#define OFFSET(pointer) ((uint32_t)((pointer)-text))
#define FAIL(error, at) return fail(failure, error, at) != NULL

    p = skip(p, end);
    if (p == end)
        FAIL(JSON_EMPTY, end);
    goto element;

key: /* at the first byte of a member, spaces skipped */
    if (UNLIKELY(count + 2 > doc->capacity)) {
        if (!grow(doc, max_depth))
            FAIL(JSON_TOO_LARGE, p);
        nodes = doc->nodes;
    }
    if (UNLIKELY(p == end || *p != '"'))
        FAIL(JSON_SYNTAX, p);
    start = p + 1;
    p = scan_string(&window, start, end, &escaped, failure);
    if (UNLIKELY(p == NULL))
        return false;
    nodes[count] = (struct json_node){.start = OFFSET(start),
                                      .end = OFFSET(p),
                                      .next = count + 1,
                                      .type = JSON_STRING,
                                      .escaped = escaped};
    count++;
    p = skip(p + 1, end);
    if (UNLIKELY(p == end || *p != ':'))
        FAIL(JSON_SYNTAX, p);
    p = skip(p + 1, end);
    goto value;

element: /* at the first byte of an element or of the document, spaces skipped */
    if (UNLIKELY(count + 2 > doc->capacity)) {
        if (!grow(doc, max_depth))
            FAIL(JSON_TOO_LARGE, p);
        nodes = doc->nodes;
    }

value: /* at its first byte; there is room for its node */
    if (UNLIKELY(p == end))
        FAIL(JSON_SYNTAX, p);
    start = p;
    escaped = false;
    switch (*p) {
    case '"':
        start = p + 1;
        p = scan_string(&window, start, end, &escaped, failure);
        if (UNLIKELY(p == NULL))
            return false;
        nodes[count] = (struct json_node){.start = OFFSET(start),
                                          .end = OFFSET(p),
                                          .next = count + 1,
                                          .type = JSON_STRING,
                                          .escaped = escaped};
        count++;
        p++;
        goto after;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        type = JSON_NUMBER;
        p = scan_number(&window, p, end, failure);
        break;
    case '{':
    case '[':
        if (UNLIKELY(depth == max_depth))
            FAIL(JSON_TOO_DEEP, p);
        depth++;
        type = *p == '{' ? JSON_OBJECT : JSON_ARRAY;
        nodes[count] = (struct json_node){.start = OFFSET(p), .next = open, .type = type};
        open = count++;
        p = skip(p + 1, end);
        if (type == JSON_OBJECT) {
            if (p == end || *p != '}')
                goto key;
        } else {
            if (p == end || *p != ']')
                goto element;
        }
        goto close;
    case 't':
        type = JSON_TRUE;
        p = scan_literal(p, end, STR("true"), failure);
        break;
    case 'f':
        type = JSON_FALSE;
        p = scan_literal(p, end, STR("false"), failure);
        break;
    case 'n':
        type = JSON_NULL;
        p = scan_literal(p, end, STR("null"), failure);
        break;
    default:
        FAIL(JSON_SYNTAX, p);
    }
    if (UNLIKELY(p == NULL))
        return false;
    nodes[count] = (struct json_node){
        .start = OFFSET(start), .end = OFFSET(p), .next = count + 1, .type = type};
    count++;

after: /* one past a value */
    p = skip(p, end);
    if (open == NO_NODE)
        goto done;
    if (UNLIKELY(p == end))
        FAIL(JSON_SYNTAX, p);
    if (nodes[open].type == JSON_OBJECT) {
        if (*p == ',') {
            p = skip(p + 1, end);
            goto key;
        }
        if (UNLIKELY(*p != '}'))
            FAIL(JSON_SYNTAX, p);
    } else {
        if (*p == ',') {
            p = skip(p + 1, end);
            goto element;
        }
        if (UNLIKELY(*p != ']'))
            FAIL(JSON_SYNTAX, p);
    }

close: /* at the bracket that closes the innermost container */
    p++;
    depth--;
    {
        uint32_t around = nodes[open].next;
        nodes[open].end = OFFSET(p);
        nodes[open].next = count;
        open = around;
    }
    goto after;

done:
    if (p != end)
        FAIL(JSON_TRAILING, p);
    doc->count = count;
    return true;

#undef OFFSET
#undef FAIL
}

enum json_error json_parse(struct json_doc *doc, const char *text, size_t n, unsigned max_depth,
                           size_t *error_at_r)
{
    if (text == NULL)
        text = ""; /* an empty struct str's */
    struct failure failure = {JSON_TOO_LARGE, text};

    json_doc_clear(doc);
    if (n <= MAX_LENGTH) {
        doc->text = text;
        doc->length = n;
        if (parse(doc, max_depth, &failure))
            return JSON_OK;
        json_doc_clear(doc);
    }
    if (error_at_r != NULL)
        *error_at_r = (size_t)(failure.at - text);
    return failure.error;
}
