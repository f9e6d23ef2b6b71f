/* A growing byte buffer with a ceiling: what somebody else can make grow stops growing there.
 * Owned by whoever holds the struct; one thread at a time. Capacity is kept across buf_clear(). */
#ifndef GW_BASE_BUF_H
#define GW_BASE_BUF_H

#include "base/base.h"

struct buf {
    char *p; /* owned */
    size_t n;
    size_t capacity;
    size_t max; /* bytes; appending past it fails and leaves the contents as they were */
};

void buf_init(struct buf *buf, size_t max);
void buf_fini(struct buf *buf);
static inline void buf_clear(struct buf *buf)
{
    buf->n = 0;
}
/* Makes room for `more` bytes. False when that would pass max. */
bool buf_reserve(struct buf *buf, size_t more);
bool buf_append(struct buf *buf, const void *bytes, size_t n);
bool buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->p, buf->n};
}

#endif
