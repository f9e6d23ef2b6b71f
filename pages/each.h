/* What `each` does with data: results of calls go back to the elements that they were made for, and
 * a batch's answer is taken apart. Pure; everything new is the pool's, what was there is borrowed
 * and not changed. */
#ifndef GW_PAGES_EACH_H
#define GW_PAGES_EACH_H

#include "base/json.h"
#include "pages/place.h"

enum {
    EACH_MAX_BYTES = 64 << 20 /* what an each asks, is answered and puts into elements, in a run */
};

/* What json_write() makes of it, in bytes. */
size_t each_text_size(struct json_value v);

/* results in the elements' order; MISSING becomes null. */
struct json_value each_list(h2o_mem_pool_t *pool, const struct json_value *results, size_t count);

/* The whole with results[i] merged into element i of the array that `path` leads to, at `into` in
 * it (place_wrap(), json_merge()). An element that is no object is left alone, as is one whose
 * result is MISSING; null takes nobody's place. `whole` itself when the path leads to no array. */
struct json_value each_place(h2o_mem_pool_t *pool, struct json_value whole,
                             const struct place_path *path, const struct place_path *into,
                             const struct json_value *results, size_t count);

/* A batch's answer: for each key the element whose member `by` has the same text, or with an empty
 * `by` the member of that name; of several the last. null where there is none, or no key ({NULL,
 * 0}); a key that is there twice gets the same. n log n in keys and answer, which can be thousands.
 * False: the answer has the wrong type. */
bool each_spread(h2o_mem_pool_t *pool, struct json_value answer, struct str by,
                 const struct str *keys, size_t count, struct json_value *results_r);

#endif
