/* Doubling growth up to the ceiling; a failed append changes nothing. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_fini(struct buf *buf)
{
    free(buf->p);
    *buf = (struct buf){.max = buf->max};
}

bool buf_reserve(struct buf *buf, size_t more)
{
    if (more <= buf->capacity - buf->n)
        return buf->n + more <= buf->max;
    if (buf->n > buf->max || more > buf->max - buf->n)
        return false;
    size_t capacity = buf->capacity > 256 ? buf->capacity : 256;
    while (capacity < buf->n + more)
        capacity *= 2;
    char *p = realloc(buf->p, capacity);
    if (p == NULL)
        return false; /* the size is somebody else's choice: refuse, don't die */
    buf->p = p;
    buf->capacity = capacity;
    return true;
}

bool buf_append(struct buf *buf, const void *bytes, size_t n)
{
    if (!buf_reserve(buf, n))
        return false;
    if (n != 0)
        memcpy(buf->p + buf->n, bytes, n);
    buf->n += n;
    return true;
}

bool buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !buf_reserve(buf, (size_t)n + 1))
        return false;
    va_start(args, format);
    vsnprintf(buf->p + buf->n, (size_t)n + 1, format, args);
    va_end(args);
    buf->n += (size_t)n;
    return true;
}
