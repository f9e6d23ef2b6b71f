/* A part's `body`: JSON whose strings may hold {variables}, compiled once, written at each request.
 * It is parsed as JSON when it is compiled, so that no value can break out of its place.
 *
 * A string that is nothing but a variable becomes the value itself: of a part or an element
 * whatever JSON it is, of the request a string; null when there is none. In a batch an ITEM
 * variable becomes an array of all elements' values. Within other text a variable is its text, that
 * of a list joined by commas; what isn't UTF-8 becomes U+FFFD. {{ and }} stand for the braces. Keys
 * are taken as they are. */
#ifndef GW_PAGES_JSON_BODY_H
#define GW_PAGES_JSON_BODY_H

#include "pages/when.h"

enum { BODY_MAX = 1 << 20 }; /* bytes, written */

/* Literal JSON text, then perhaps a value. */
struct body_step {
    struct str literal;
    const struct expand_variable *variable; /* NULL: literal only */
    bool whole;                             /* stands for itself, not within a string's text */
};

/* count == 0: no body. Immutable; memory is the pool's. */
struct json_body {
    struct body_step *steps;
    size_t count;
    size_t literal_bytes;
    uint64_t parts; /* a bit for each index in scope.parts */
};

/* `text` must outlive it. False: errors were added. "" gives count 0. */
bool body_compile(h2o_mem_pool_t *pool, struct str text, const struct expand_scope *scope,
                  struct pos at, struct diag *diag, struct json_body *body_r);

/* EXPAND_MISSING: a part's value within a text that is no scalar. EXPAND_TOO_LONG: past BODY_MAX.
 * items: as expand()'s. The body is the pool's, or the configuration's when nothing varies. */
enum expand_result body_write(const struct json_body *body, expand_get_fn *text,
                              value_get_fn *value, void *arg, size_t items, h2o_mem_pool_t *pool,
                              struct str *body_r, const struct expand_variable **culprit_r);

#endif
