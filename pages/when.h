/* A part's `when`: a condition over the request and other parts' data, compiled once.
 *
 *     condition := all { "||" all }        all := test { "&&" test }
 *     test := [ "!" ] NAME | NAME "==" TEXT | NAME "!=" TEXT        TEXT := '...' or "..."
 *
 * A NAME (query.debug, header.DNT, promo.kind) alone holds when the request's value is there and
 * not empty, a part's is not missing, null, false, 0, "", [] or {}. Comparisons are of text: a
 * scalar's own, '' for everything else. */
#ifndef GW_PAGES_WHEN_H
#define GW_PAGES_WHEN_H

#include "base/json.h"
#include "pages/expand.h"

enum { WHEN_MAX_TESTS = 16 };

struct when_test {
    struct expand_variable variable;
    struct str text; /* compared with; p == NULL: none */
    bool negated;    /* "!", "!=" */
    bool begins;     /* a new `all`: stands after "||" */
};

/* count == 0: always holds. Immutable; memory is the pool's. */
struct when {
    struct when_test *tests;
    size_t count;
    uint64_t parts; /* a bit for each index in scope.parts */
};

/* scope without item. False: errors were added, with the column inside the string. */
bool when_compile(h2o_mem_pool_t *pool, struct str text, const struct expand_scope *scope,
                  struct pos at, struct diag *diag, struct when *when_r);

/* A value of a part's data (or of an element); MISSING when there is none. */
typedef struct json_value value_get_fn(void *arg, const struct expand_variable *variable,
                                       size_t item);

/* text() is asked for the request's variables, value() for parts'. */
bool when_holds(const struct when *when, expand_get_fn *text, value_get_fn *value, void *arg,
                h2o_mem_pool_t *pool);

#endif
