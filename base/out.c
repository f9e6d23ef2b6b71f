/* Chunks from the request's pool. A vector covers a run of bytes in one chunk; referring to outside
 * bytes closes the run, so the order of the vectors is the order of the page. */
#include "base/out.h"

enum {
    DEFAULT_CHUNK = 4096,
    MAX_CHUNK = 256 * 1024,
    REFER_MIN = 512, /* below this a copy is cheaper than one more vector for the kernel */
};

void out_init(struct out *out, h2o_mem_pool_t *pool, size_t expect)
{
    *out = (struct out){.pool = pool};
    if (expect != 0)
        out_grow(out, expect);
}

static void add_vec(struct out *out, const char *p, size_t n)
{
    if (out->vec_count == out->vec_capacity) {
        size_t capacity = out->vec_capacity ? out->vec_capacity * 2 : 4;
        h2o_iovec_t *vecs = h2o_mem_alloc_pool(out->pool, capacity * sizeof(*vecs));
        if (out->vec_count != 0)
            memcpy(vecs, out->vecs, out->vec_count * sizeof(*vecs));
        out->vecs = vecs;
        out->vec_capacity = capacity;
    }
    /* h2o's vectors are not const; it never writes through those it sends */
    out->vecs[out->vec_count++] = (h2o_iovec_t){(char *)(uintptr_t)p, n};
    out->flushed += n;
}

static void flush(struct out *out)
{
    if (out->at != out->unsent) {
        add_vec(out, out->unsent, (size_t)(out->at - out->unsent));
        out->unsent = out->at;
    }
}

void out_grow(struct out *out, size_t n)
{
    flush(out);
    size_t size = out->flushed; /* double what there is */
    if (size < DEFAULT_CHUNK)
        size = DEFAULT_CHUNK;
    if (size > MAX_CHUNK)
        size = MAX_CHUNK;
    if (size < n)
        size = n;
    out->at = out->unsent = h2o_mem_alloc_pool(out->pool, size);
    out->end = out->at + size;
}

void out_refer(struct out *out, const char *p, size_t n)
{
    if (n < REFER_MIN) {
        if (n != 0)
            out_write(out, p, n);
        return;
    }
    flush(out);
    add_vec(out, p, n);
}

void out_number(struct out *out, uint64_t value)
{
    char digits[20];
    size_t n = sizeof(digits);
    do
        digits[--n] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    out_write(out, digits + n, sizeof(digits) - n);
}

void out_json_escaped(struct out *out, struct str value)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        out_write(out, value.p + from, i - from);
        from = i + 1;
        char *at = out_room(out, 6);
        if (c == '"' || c == '\\') {
            at[0] = '\\';
            at[1] = (char)c;
            out->at += 2;
        } else {
            memcpy(at, "\\u00", 4);
            at[4] = hex[c >> 4];
            at[5] = hex[c & 15];
            out->at += 6;
        }
    }
    if (value.n != from)
        out_write(out, value.p + from, value.n - from);
}

size_t out_vecs(struct out *out, h2o_iovec_t **vecs_r)
{
    flush(out);
    *vecs_r = out->vecs;
    return out->vec_count;
}
