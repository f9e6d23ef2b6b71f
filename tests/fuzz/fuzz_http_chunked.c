/* Any bytes as chunks, at once and in pieces: the same body, the same verdict, the same end, and no
 * byte past it touched. What is valid h2o's decoder takes for the same. The first byte seeds the
 * pieces' lengths. */
#include <stdlib.h>
#include <sys/types.h>
#include "http/chunked.h"

/* picohttpparser's, exported by h2o without a header. */
struct phr_chunked_decoder {
    size_t bytes_left_in_chunk;
    char consume_trailer, _hex_count, _state;
};
ssize_t phr_decode_chunked(struct phr_chunked_decoder *decoder, char *buf, size_t *bufsz);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t all = size - 1, once_n = all, once_used;
    const char *bytes = (const char *)data + 1;
    char *once = malloc(all + 1), *pieces = malloc(all + 1), *theirs = malloc(all + 1);
    memcpy(once, bytes, all);
    struct chunked chunked = {0};
    enum chunked_verdict verdict = chunked_decode(&chunked, once, &once_n, &once_used);
    gw_assert(once_n <= once_used && once_used <= all);
    gw_assert(verdict == CHUNKED_BAD || verdict == CHUNKED_END || once_used == all);
    gw_assert(memcmp(once + once_used, bytes + once_used, all - once_used) == 0);

    struct chunked again = {0};
    enum chunked_verdict last = CHUNKED_MORE;
    size_t from = 0, to = 0;
    uint32_t random = data[0];
    while (from < all && last == CHUNKED_MORE) {
        random = random * 1664525 + 1013904223;
        size_t length = data[0] == 0 ? 1 : 1 + (random >> 24) % 40, used;
        length = length < all - from ? length : all - from;
        char *piece = malloc(length); /* so that a sanitizer sees a step out of it */
        memcpy(piece, bytes + from, length);
        size_t n = length;
        last = chunked_decode(&again, piece, &n, &used);
        memcpy(pieces + to, piece, n);
        from += used, to += n;
        free(piece);
    }
    gw_assert(last == verdict && to == once_n && memcmp(pieces, once, to) == 0);
    gw_assert(from == once_used && again.left == chunked.left);

    if (verdict != CHUNKED_BAD) {
        struct phr_chunked_decoder decoder = {.consume_trailer = 1};
        size_t n = all;
        memcpy(theirs, bytes, all);
        ssize_t left = phr_decode_chunked(&decoder, theirs, &n);
        gw_assert(left == (verdict == CHUNKED_END ? (ssize_t)(all - once_used) : -2));
        gw_assert(n == once_n && memcmp(theirs, once, n) == 0);
    }
    free(once);
    free(pieces);
    free(theirs);
    return 0;
}
