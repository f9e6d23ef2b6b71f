/* The chunked transfer coding (RFC 9112 section 7.1), decoded in place and strictly: what two
 * servers might read differently is refused. No h2o in here, so that it can be tested and fuzzed
 * alone. */
#ifndef GW_HTTP_CHUNKED_H
#define GW_HTTP_CHUNKED_H

#include "base/base.h"

enum {
    CHUNKED_MAX_SIZE_DIGITS = 15,
    CHUNKED_MAX_EXTENSIONS = 16 * 1024, /* bytes, of all chunks of a body together */
    CHUNKED_MAX_TRAILERS = 8 * 1024     /* bytes */
};

enum chunked_verdict {
    CHUNKED_MORE, /* not at the end yet */
    CHUNKED_END,  /* the body is whole, what follows is the next request's */
    CHUNKED_BAD   /* don't go on */
};

/* Zeroed at a body's start. */
struct chunked {
    uint64_t left; /* bytes of the chunk under way that are still to come */
    uint32_t digits, extensions, trailers;
    uint8_t state; /* private */
};

/* p[0, *n): the next bytes of the coding; afterwards p[0, *n) is the body's part of them. *used_r:
 * how many bytes were the coding's, all but at CHUNKED_END; those behind them stay where they are.
 * Extensions and trailers are checked and dropped. */
enum chunked_verdict chunked_decode(struct chunked *chunked, char *p, size_t *n, size_t *used_r);

#endif
