/* curl's allocations. A transfer makes and frees some sixty blocks, the same sizes each time, all
 * on its loop's thread. libc does well with the small ones but takes its long way for calloc() and
 * for what is larger than 1 KB (the connection and its buffers), of which each transfer has
 * several.
 *
 * So each thread keeps what it frees in lists by size, up to a bound, and takes it from there
 * again: no lock, no search. A block may be freed by another thread than the one that made it; it
 * then serves that one. Sanitizers see libc's blocks instead, or they would miss errors in curl. */
#include "upstreams/internal.h"

#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum {
    STEP = 32,
    SMALL = 8192, /* an easy handle and less: classes are STEP apart, above it COARSE */
    COARSE = 1024,
    LARGE = 64 * 1024 + COARSE, /* curl's largest receive buffer here, and a little */
    CLASSES = SMALL / STEP + (LARGE - SMALL) / COARSE + 1,
    MAX_KEPT = 8 * 1024 * 1024 /* bytes a thread */
};

/* In front of each block; as large as malloc()'s alignment. */
union head {
    struct {
        uint32_t kind; /* 0: larger than LARGE */
        size_t size;   /* of the block without the head */
    };
    union head *next; /* while it is free */
    max_align_t align;
};

struct lists {
    union head *free[CLASSES];
    size_t kept;
};
static _Thread_local struct lists lists;

static uint32_t kind_of(size_t size)
{
    if (size <= SMALL)
        return (uint32_t)((size + STEP - 1) / STEP) + (size == 0);
    return size <= LARGE ? (uint32_t)(SMALL / STEP + (size - SMALL + COARSE - 1) / COARSE) : 0;
}

static size_t size_of(uint32_t kind)
{
    uint32_t small = SMALL / STEP;
    return kind <= small ? (size_t)kind * STEP : SMALL + (size_t)(kind - small) * COARSE;
}

static void *take(size_t size)
{
    uint32_t kind = kind_of(size);
    size_t whole = kind != 0 ? size_of(kind) : size;
    union head *head = lists.free[kind];
    if (kind != 0 && head != NULL) {
        lists.free[kind] = head->next;
        lists.kept -= whole;
    } else {
        head = h2o_mem_alloc(sizeof(*head) + whole);
    }
    head->kind = kind;
    head->size = whole;
    return head + 1;
}

static void give(void *block)
{
    if (block == NULL)
        return;
    union head *head = (union head *)block - 1;
    uint32_t kind = head->kind;
    if (kind == 0 || lists.kept + size_of(kind) > MAX_KEPT) {
        free(head);
        return;
    }
    lists.kept += size_of(kind);
    head->next = lists.free[kind];
    lists.free[kind] = head;
}

static void *take_zeroed(size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / 2 / size)
        return NULL;
    void *block = take(count * size);
    memset(block, 0, count * size);
    return block;
}

static void *resize(void *block, size_t size)
{
    if (block == NULL)
        return take(size);
    const union head *head = (const union head *)block - 1;
    if (head->size >= size)
        return block;
    void *larger = take(size);
    memcpy(larger, block, head->size);
    give(block);
    return larger;
}

static char *take_copy(const char *text)
{
    size_t n = strlen(text) + 1;
    return memcpy(take(n), text, n);
}

void memory_setup(void)
{
    CURLcode code = SANITIZED ? curl_global_init(CURL_GLOBAL_ALL)
                              : curl_global_init_mem(CURL_GLOBAL_ALL, take, give, resize, take_copy,
                                                     take_zeroed);
    gw_assert(code == CURLE_OK);
}

void memory_trim(void)
{
    for (size_t i = 0; i < CLASSES; i++)
        while (lists.free[i] != NULL) {
            union head *head = lists.free[i];
            lists.free[i] = head->next;
            free(head);
        }
    lists.kept = 0;
}
