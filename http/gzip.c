/* Pages compressed for those who accept it, with h2o's compressor but not as its filter: so a page
 * that is sent as a whole keeps its Content-Length, one that goes out bit by bit is flushed with
 * each, and whatever isn't a page isn't touched.
 *
 * A compressor takes 270 KiB for as long as its reply lasts. Of replies that may last, because
 * their parts do, only so many a loop are compressed at once; the others go out as they are. */
#include "http/conditional.h"
#include "http/http_internal.h"

enum {
    GZIP_LEVEL = 1,
    MIN_SIZE = 1024,       /* fits into a packet or two as it is */
    MAX_GZIP_STREAMS = 256 /* in a loop: 68 MiB */
};

struct http_gzip {
    h2o_compress_context_t *context;
    struct http_loop *http;
};

static bool is_accepted(const struct http_request *request)
{
    struct str accepted = field_combined(request, STR("accept-encoding"), ", ");
    struct codings codings = accepted_codings(accepted);
    for (unsigned i = 0; i < codings.count; i++)
        if (codings.best[i] == CODING_GZIP)
            return true;
    return false;
}

bool http_wants_gzip(const struct http_request *request, size_t length)
{
    return request->conn != NULL && request->server->config->server.gzip && length >= MIN_SIZE &&
           request->h2o->version >= 0x101 && is_accepted(request);
}

/* -- whole ------------------------------------------------------------------------------------ */

void http_gzip(struct http_request *request, struct out *body)
{
    h2o_compress_context_t *context = h2o_compress_gzip_open(request->pool, GZIP_LEVEL);
    h2o_iovec_t *vecs, *coded;
    size_t count = out_vecs(body, &vecs);
    context->transform(context, vecs, count, H2O_SEND_STATE_FINAL, &coded, &count);
    out_init(body, request->pool, 64);
    for (size_t i = 0; i < count; i++)
        out_refer(body, coded[i].base, coded[i].len);
    request->is_gzip = true;
}

/* -- bit by bit ------------------------------------------------------------------------------- */

static void on_dispose(void *arg)
{
    struct http_gzip *gzip = arg;
    gzip->http->gzip_streams--;
}

void gzip_begin(struct http_request *request)
{
    struct http_loop *http = request->conn->http;
    if (!http_wants_gzip(request, SIZE_MAX) || http->gzip_streams == MAX_GZIP_STREAMS)
        return;
    struct http_gzip *gzip = h2o_mem_alloc_shared(request->pool, sizeof(*gzip), on_dispose);
    gzip->context = h2o_compress_gzip_open(request->pool, GZIP_LEVEL);
    gzip->http = http;
    http->gzip_streams++;
    request->gzip = gzip;
    request->is_gzip = true;
}

size_t gzip_next(struct http_request *request, h2o_iovec_t *bytes, h2o_send_state_t state,
                 h2o_iovec_t **coded_r)
{
    h2o_compress_context_t *context = request->gzip->context;
    size_t count;
    context->transform(context, bytes, 1, state, coded_r, &count);
    return count;
}
