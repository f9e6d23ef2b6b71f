/* Any Range field for a file of any size: what comes out lies inside the file, asks for itself
 * again and is never more than the whole. The first eight bytes are the size. */
#include <stdio.h>
#include <stdlib.h>
#include "http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint64_t size, total = 0;
    if (n < sizeof(size))
        return 0;
    memcpy(&size, data, sizeof(size));
    n -= sizeof(size);
    char *text = malloc(n + 1); /* its own block: a read past the end is seen */
    memcpy(text, data + sizeof(size), n);
    struct range ranges[RANGES_MAX];
    size_t count;
    enum range_result result = range_parse((struct str){text, n}, size, ranges, &count);
    gw_assert((count != 0) == (result == RANGE_PARTS) && count <= RANGES_MAX);
    for (size_t i = 0; i < count; i++) {
        gw_assert(ranges[i].n != 0 && ranges[i].first < size);
        gw_assert(ranges[i].n <= size - ranges[i].first);
        gw_assert(ranges[i].n <= size - total);
        total += ranges[i].n;
    }
    if (count == 1) { /* asked for again by the numbers that it gave */
        char again[64];
        struct range same[RANGES_MAX];
        int length =
            snprintf(again, sizeof(again), "bytes=%llu-%llu", (unsigned long long)ranges[0].first,
                     (unsigned long long)(ranges[0].first + ranges[0].n - 1));
        gw_assert(range_parse((struct str){again, (size_t)length}, size, same, &count) ==
                  RANGE_PARTS);
        gw_assert(same[0].first == ranges[0].first && same[0].n == ranges[0].n);
    }
    range_allowed((struct str){text, n}, STR("\"a\""), 784111777);
    free(text);
    return 0;
}
