/* Any bytes as a head, at once and in two pieces: the verdict is the same, offsets stay inside, and
 * no byte past the end is read. The first byte says where the pieces part. */
#include <stdlib.h>
#include "http/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t n = size - 1, part = data[0] <= n ? data[0] : n;
    char *whole = malloc(n != 0 ? n : 1), *first = malloc(part != 0 ? part : 1);
    memcpy(whole, data + 1, n);
    memcpy(first, data + 1, part);
    struct head_scan once = {0}, twice = {0};
    enum head_verdict verdict = head_scan(&once, whole, n, 1000);
    enum head_verdict early = head_scan(&twice, first, part, 1000);
    if (early == HEAD_MORE)
        early = head_scan(&twice, whole, n, 1000);
    gw_assert(early == verdict && once.status == twice.status);
    gw_assert((verdict == HEAD_REFUSED) == (once.status != 0) &&
              (once.status != 0) == (once.reason != NULL));
    gw_assert(once.start + once.method_length <= n);
    gw_assert(once.target + once.target_length <= n);
    if (verdict == HEAD_OK) {
        gw_assert(once.method_length != 0 && once.target_length != 0 &&
                  once.target_length <= HTTP_MAX_TARGET && once.fields <= HTTP_MAX_FIELDS);
        gw_assert(!(once.length && once.transfer_encoding) && (once.host || !once.http11));
    }
    free(whole);
    free(first);
    return 0;
}
