/* Where a part's data goes: what of the answer is taken (select), what of that is shown (allow,
 * deny), and where it is put (into). All of it works on handles: what stays whole is never copied.
 *
 * A path is keys joined by dots, "data.items.0"; keys that hold a dot can't be named. In allow and
 * deny, `*` is every member or element, and a path that meets an array applies to each of its
 * elements, unless its next key is `*` or a number, which is then that element. */
#ifndef GW_PAGES_PLACE_H
#define GW_PAGES_PLACE_H

#include "base/diag.h"
#include "base/json.h"
#include "config/config.h"

enum {
    PLACE_MAX_KEYS = 32,  /* of a path */
    PLACE_MAX_PATHS = 32, /* of an allow or deny list */
};

struct place_key {
    struct str text;
    size_t index; /* as an element's number; SIZE_MAX = not a number */
    bool any;     /* `*` */
};

/* Immutable once compiled; memory is the pool's. count == 0: the whole. */
struct place_path {
    struct place_key *keys;
    size_t count;
};

struct placement {
    struct place_path select;
    struct place_path *allow, *deny;
    size_t allow_count, deny_count; /* allow_count == 0: everything */
    struct place_path into;         /* count == 0: under the part's name, or spread */
    bool spread;                    /* into = "." */
};

/* Compiles a part's select, allow, deny and into. False: errors were added. */
bool place_compile(h2o_mem_pool_t *pool, const struct config *config,
                   const struct config_part *part, struct diag *diag,
                   struct placement *placement_r);

/* Where byte `offset` of a string stands whose opening quote is `at`. */
static inline struct pos place_inside(struct pos at, size_t offset)
{
    if (at.column != 0)
        at.column += 1 + (unsigned)offset;
    return at;
}

/* Compiles the path `text`, which stands at `offset` in a string at `at` and must outlive it.
 * wildcards: `*` is allowed. False: an error was added. */
bool place_compile_path(h2o_mem_pool_t *pool, struct str text, bool wildcards, struct pos at,
                        size_t offset, struct diag *diag, struct place_path *path_r);

/* MISSING when the path leads nowhere. */
struct json_value place_select(struct json_value v, const struct place_path *path);

/* The text of a string, a number, true or false, as URLs, headers and conditions have it; {NULL, 0}
 * for everything else. Points into v's text, or into the pool. */
struct str place_text(struct json_value v, h2o_mem_pool_t *pool);

/* What allow and deny leave of v; objects and arrays on the way to a path stay, even empty. null
 * when nothing is left. */
struct json_value place_filter(h2o_mem_pool_t *pool, struct json_value v,
                               const struct placement *placement);

/* {"a":{"b":v}} for the path a.b; v itself for an empty path. */
struct json_value place_wrap(h2o_mem_pool_t *pool, const struct place_path *path,
                             struct json_value v);

/* Whether nothing stands at the path, and nothing but objects on the way: null, which takes
 * nobody's place, may stand there. */
bool place_is_free(struct json_value v, const struct place_path *path);

/* Calls fn with the path ("shop.title") of each member that json_merge(into, with) replaces; of
 * very large objects only the first are looked at. */
typedef void place_collision_fn(void *arg, struct str path);
void place_collisions(struct json_value into, struct json_value with, place_collision_fn *fn,
                      void *arg);

#endif
