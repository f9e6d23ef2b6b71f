/* Readers of bodies that http/ has itself: one throws away what no route wants, one collects what
 * is small; and what is answered when a body doesn't come whole. */
#include "http/http_internal.h"

enum { WASTE_SIZE = 16 * 1024, COLLECT_FIRST = 4096 };

void http_body_refuse(struct http_request *request, enum http_body_end how)
{
    static const struct {
        int status;
        const char *detail;
    } answers[] = {
        [BODY_TOO_LARGE] = {413, "the body is larger than is taken here"},
        [BODY_TOO_SLOW] = {408, "the body came too slowly"},
        [BODY_MALFORMED] = {400, "the body's chunks are malformed"},
    };
    gw_assert(how != BODY_WHOLE);
    problem_reply_status(request, answers[how].status, answers[how].detail);
}

/* -- bodies that nobody wants ------------------------------------------------------------------ */

struct waste {
    struct http_body_reader reader;
    struct http_request *request;
    void (*then)(struct http_request *request);
    char bytes[WASTE_SIZE];
};

static char *waste_room(struct http_body_reader *reader, size_t *n_r)
{
    *n_r = WASTE_SIZE;
    return CONTAINER_OF(reader, struct waste, reader)->bytes;
}

static void waste_got(struct http_body_reader *reader, size_t n)
{
    (void)reader, (void)n;
}

static void waste_end(struct http_body_reader *reader, enum http_body_end how)
{
    struct waste *waste = CONTAINER_OF(reader, struct waste, reader);
    if (how == BODY_WHOLE)
        waste->then(waste->request);
    else
        http_body_refuse(waste->request, how);
}

void body_discard(struct http_request *request, void (*then)(struct http_request *request))
{
    uint64_t max = request->server->config->server.max_body;
    if (http_body_length(request) == 0) {
        then(request);
        return;
    }
    struct waste *waste = h2o_mem_alloc_pool(request->pool, sizeof(*waste));
    waste->reader = (struct http_body_reader){waste_room, waste_got, waste_end};
    waste->request = request;
    waste->then = then;
    http_body_read(request, &waste->reader, max);
}

/* -- small bodies ------------------------------------------------------------------------------ */

struct collection {
    struct http_body_reader reader;
    struct http_request *request;
    http_body_fn *fn;
    void *arg;
    char *p;
    size_t n, capacity, max;
};

static char *collection_room(struct http_body_reader *reader, size_t *n_r)
{
    struct collection *all = CONTAINER_OF(reader, struct collection, reader);
    if (all->n == all->capacity) {
        size_t capacity = all->capacity * 2;
        char *p = h2o_mem_alloc_pool(all->request->pool, capacity);
        memcpy(p, all->p, all->n);
        all->p = p;
        all->capacity = capacity;
    }
    *n_r = all->capacity - all->n;
    return all->p + all->n;
}

static void collection_got(struct http_body_reader *reader, size_t n)
{
    CONTAINER_OF(reader, struct collection, reader)->n += n;
}

static void collection_end(struct http_body_reader *reader, enum http_body_end how)
{
    struct collection *all = CONTAINER_OF(reader, struct collection, reader);
    struct str body = {all->p, how == BODY_WHOLE ? all->n : 0};
    all->fn(all->request, how, body, all->arg);
}

void http_body_collect(struct http_request *request, size_t max, http_body_fn *fn, void *arg)
{
    struct collection *all = h2o_mem_alloc_pool(request->pool, sizeof(*all));
    uint64_t length = http_body_length(request);
    *all = (struct collection){.reader = {collection_room, collection_got, collection_end},
                               .request = request,
                               .fn = fn,
                               .arg = arg,
                               .capacity = length <= max ? (size_t)length + 1 : COLLECT_FIRST};
    all->p = h2o_mem_alloc_pool(request->pool, all->capacity);
    http_body_read(request, &all->reader, max);
}
