/* A response's bytes on their way out, as vectors for writev. Small writes are copied into chunks
 * from the request's pool; large slices of bytes that outlive the response are pointed at.
 * Everything is allocated from the pool and freed with it. One thread. */
#ifndef GW_BASE_OUT_H
#define GW_BASE_OUT_H

#include <h2o/memory.h>
#include "base/base.h"

struct out {
    h2o_mem_pool_t *pool; /* borrowed */
    char *at;             /* next free byte of the current chunk */
    char *end;            /* its end */
    char *unsent;         /* start of what the current chunk holds and no vector points at yet */
    h2o_iovec_t *vecs;
    size_t vec_count, vec_capacity;
    size_t flushed; /* bytes that the vectors hold */
};

/* `expect`: the likely number of bytes copied, in bytes; the first chunk is that large, so a page
 * whose size was guessed right is one chunk and one vector. 0 = a default of 4 KiB. */
void out_init(struct out *out, h2o_mem_pool_t *pool, size_t expect);

void out_grow(struct out *out, size_t n); /* private: a chunk with room for n */

static inline void out_write(struct out *out, const char *p, size_t n)
{
    if (__builtin_expect((size_t)(out->end - out->at) < n, 0))
        out_grow(out, n);
    memcpy(out->at, p, n);
    out->at += n;
}
static inline void out_str(struct out *out, struct str s)
{
    if (s.n != 0)
        out_write(out, s.p, s.n);
}
/* At least n writable bytes; advance with out->at += used. */
static inline char *out_room(struct out *out, size_t n)
{
    if (__builtin_expect((size_t)(out->end - out->at) < n, 0))
        out_grow(out, n);
    return out->at;
}
/* Points at bytes that stay as they are until the response was sent; short ones are copied. */
void out_refer(struct out *out, const char *p, size_t n);
void out_number(struct out *out, uint64_t value);
/* value escaped as the inside of a JSON string (RFC 8259 section 7), without quotes. */
void out_json_escaped(struct out *out, struct str value);

static inline size_t out_size(const struct out *out)
{
    return out->flushed + (size_t)(out->at - out->unsent);
}
/* All that was written so far as vectors (valid until the next write). */
size_t out_vecs(struct out *out, h2o_iovec_t **vecs_r);

#endif
