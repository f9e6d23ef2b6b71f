/* A part's path as an RFC 6570 expansion: compiled once, expanded at each request. Headers are
 * expanded likewise, without encoding (expand_text).
 *
 * Variables are path.NAME, query.NAME, header.NAME and cookie.NAME, and field.NAME where there are
 * fields; what `?`, `&` and `;` send as the key is NAME. PART.a.b is a value in another part's data
 * and ITEM.a.b one in an element of `each`; their key is the last name (b). Operators: none . / ; ?
 * & (levels 1 to 3), the prefix modifier :N. An ITEM variable of a batch is a list (level 4),
 * joined by commas or, exploded (*), repeated; a prefix is taken of each of its values, and those
 * that are undefined are left out. Of other variables explode changes nothing.
 *
 * Reserved expansion ({+x}, {#x}) is refused: it would let a value leave its segment. For the same
 * reason a value that makes a segment "." or ".." is refused when it comes, between encoded slashes
 * too. Beyond the RFC, names may hold '-', as header names do. */
#ifndef GW_PAGES_EXPAND_H
#define GW_PAGES_EXPAND_H

#include <h2o/memory.h>
#include "base/base.h"
#include "base/diag.h"
#include "pages/place.h"

enum {
    EXPAND_MAX_VARIABLES = 16,
    EXPAND_MAX_TARGET = 8192, /* bytes of an expanded target */
    EXPAND_MAX_PARTS = 64,    /* of a page */
};

enum expand_source {
    EXPAND_PATH,
    EXPAND_QUERY,
    EXPAND_HEADER,
    EXPAND_COOKIE,
    EXPAND_FIELD,
    EXPAND_PART,
    EXPAND_ITEM
};

struct expand_variable {
    struct str full; /* "query.user", for messages */
    struct str name; /* "user", percent-decoded: what the request is asked for */
    struct str key;  /* "user" as written: what named operators send */
    unsigned param;  /* of EXPAND_PATH: index in http_request.params; of EXPAND_PART: of the part */
    struct place_path at; /* of EXPAND_PART and EXPAND_ITEM: into the data; count 0 = all of it */
    uint16_t prefix;      /* first characters taken; 0 = all */
    uint8_t source;       /* enum expand_source */
    uint8_t operation;    /* index of the operator in expand.c's table */
    bool joins;           /* stands in one expression with the variable before it */
    bool explode;         /* a list is repeated, not joined */
    bool list;            /* of EXPAND_ITEM: has a value for each element of a batch */
};

/* Literal text, then perhaps a variable. */
struct expand_step {
    struct str literal;
    const struct expand_variable *variable; /* NULL: literal only */
};

/* Immutable once compiled: any thread. Memory is the pool's that it was compiled with. */
struct expansion {
    struct expand_step *steps;
    size_t count;
    size_t literal_bytes;
    size_t variable_count;
    uint64_t parts; /* those that its variables look into, a bit for each index */
};

struct expand_param {
    const char *name;
    unsigned index;
};

/* What there is to name. */
struct expand_scope {
    const struct expand_param *params; /* the route's path parameters; NULL = not known, any name
                                          may be one */
    size_t param_count;
    const struct str *fields; /* that have a value when the expansion is; NULL = there are none */
    size_t field_count;
    const struct str *parts; /* names of the page's parts, at most EXPAND_MAX_PARTS; NULL = none */
    size_t part_count;
    struct str item; /* what an element of `each` is called; "" = there is none */
    /* Told of each variable that is compiled; NULL = nobody asks. name: "user". */
    void (*uses)(void *arg, enum expand_source source, struct str name);
    void *uses_arg;
    bool batch; /* one call is for several elements: the item's variables are lists */
};

/* Compiles one variable's name ("query.user", "promo.kind") that stands at `offset` in a text at
 * `at`. `name` must outlive it. False: errors were added. */
bool expand_compile_variable(h2o_mem_pool_t *pool, struct str name,
                             const struct expand_scope *scope, struct pos at, size_t offset,
                             struct diag *diag, struct expand_variable *variable_r);

/* Compiles `text`, which must give "" or begin with '/' or '?'. False: errors were added, with the
 * column inside the string when at.column is known (`at` is where the opening quote stands). `text`
 * must outlive the expansion. */
bool expand_compile(h2o_mem_pool_t *pool, struct str text, const struct expand_scope *scope,
                    struct pos at, struct diag *diag, struct expansion *expansion_r);

/* The same for a header's value: any text without line ends, {variables} without operators, lists
 * joined by commas. */
bool expand_compile_text(h2o_mem_pool_t *pool, struct str text, const struct expand_scope *scope,
                         struct pos at, struct diag *diag, struct expansion *expansion_r);

/* A variable's value, decoded; {NULL, 0} = undefined (place_text() of a part's). item: 0, but for
 * the lists of a batch, whose elements are asked for one by one. */
typedef struct str expand_get_fn(void *arg, const struct expand_variable *variable, size_t item);

enum expand_result {
    EXPAND_OK,
    EXPAND_MISSING, /* a part's or an element's value that the text can't do without: undefined, and
                       not in a {?…}, {&…}, {;…} or {/…}. Of the request's, undefined ones are left
                       out */
    EXPAND_LEAVES_SEGMENT, /* the value makes a segment "." or ".." */
    EXPAND_TOO_LONG        /* past EXPAND_MAX_TARGET */
};

/* "is too long": what a refusal says of the variable. */
const char *expand_result_text(enum expand_result result);

/* Values are read once each, in order; lists `items` times, the size of the batch. On a refusal
 * *culprit_r names the variable. The target lives in the pool, or in the configuration when nothing
 * varies. */
enum expand_result expand(const struct expansion *expansion, expand_get_fn *get, void *arg,
                          size_t items, h2o_mem_pool_t *pool, struct str *target_r,
                          const struct expand_variable **culprit_r);
/* A header's value; {NULL, 0} when it comes out empty or has a line end or NUL in it. */
enum expand_result expand_text(const struct expansion *expansion, expand_get_fn *get, void *arg,
                               size_t items, h2o_mem_pool_t *pool, struct str *text_r,
                               const struct expand_variable **culprit_r);

#endif
