/* Last good answers on the disk: what a part showed last, for the time after a restart in which its
 * upstream is away. A file an answer; it is only ever used where asking fails, and then for as long
 * as stale-if-error let it when it was kept.
 *
 * Files are written by an offload thread, into a temporary one that is synced and renamed. One that
 * is cut, damaged or somebody else's is left out with a warning, and removed. */
#ifndef GW_CACHE_LAST_GOOD_H
#define GW_CACHE_LAST_GOOD_H

#include "base/offload.h"
#include "cache/store.h"

struct last_good;

/* dir: absolute, made when it is missing. max_bytes: of all files. disk: what writes; it must be
 * stopped before last_good_close(). NULL: *error_r is errno. */
struct last_good *last_good_open(const char *dir, uint64_t max_bytes, struct offload *disk,
                                 int *error_r);
void last_good_close(struct last_good **last_good);

/* Puts what there is into the store, the newest answers last. Before the loops run. */
void last_good_load(struct last_good *last_good, struct cache_store *store);

/* Has the entry written, unless its key was lately (INTERVAL_MS) or the disk is behind. Any loop.
 */
void last_good_save(struct last_good *last_good, struct cache_entry *entry);

/* Removes the files whose key begins so, or that have the tag (the other is {NULL, 0}), a little
 * later. Any thread. */
void last_good_purge(struct last_good *last_good, struct str prefix, struct str tag);

/* -- the format, for tests and fuzzing ------------------------------------------------------------
 */

/* The bytes of an entry's file; malloc'd. */
struct str last_good_encode(const struct cache_entry *entry);
/* NULL: these bytes are no such file. */
struct cache_entry *last_good_decode(struct str bytes);

#endif
