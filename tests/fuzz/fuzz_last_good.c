/* The files of last good answers: whatever stands in one, it is read within its bytes. The digest
 * is put right, so that what is behind it is reached. */
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "cache/last_good.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char magic[16] = "gw last good 1\n";
    char *file = malloc(n + sizeof(magic) + 8);
    gw_assert(file != NULL);
    memcpy(file, magic, sizeof(magic));
    uint64_t digest = XXH3_64bits(bytes, n);
    memcpy(file + sizeof(magic), &digest, sizeof(digest));
    if (n != 0)
        memcpy(file + sizeof(magic) + sizeof(digest), bytes, n);
    struct cache_entry *entry =
        last_good_decode((struct str){file, n + sizeof(magic) + sizeof(digest)});
    if (entry != NULL) {
        struct str again = last_good_encode(entry);
        struct cache_entry *twice = last_good_decode(again);
        gw_assert(twice != NULL && str_eq(twice->key, entry->key) &&
                  str_eq(twice->body, entry->body));
        cache_entry_unref(&twice);
        free((char *)(uintptr_t)again.p);
    }
    cache_entry_unref(&entry);
    free(file);
    return 0;
}
