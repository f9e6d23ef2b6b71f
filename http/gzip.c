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
    struct http_loop *http; /* of a stream, which counts there; NULL = of a whole page */
};

static void on_dispose(void *arg)
{
    struct http_gzip *gzip = arg;
    if (gzip->http != NULL)
        gzip->http->gzip_streams--;
}

static bool is_accepted(const struct http_request *request)
{
    struct str accepted = field_combined(request, STR("accept-encoding"), ", ");
    struct codings codings = accepted_codings(accepted);
    for (unsigned i = 0; i < codings.count; i++)
        if (codings.best[i] == CODING_GZIP)
            return true;
    return false;
}

bool http_gzip(struct http_request *request, size_t length)
{
    struct http_loop *http = request->conn != NULL ? request->conn->http : NULL;
    bool is_stream = length == SIZE_MAX;
    if (http == NULL || !request->server->config->server.gzip || length < MIN_SIZE ||
        request->h2o->version < 0x101 || (is_stream && http->gzip_streams == MAX_GZIP_STREAMS) ||
        !is_accepted(request))
        return false;
    struct http_gzip *gzip = h2o_mem_alloc_shared(request->pool, sizeof(*gzip), on_dispose);
    gzip->context = NULL;
    gzip->http = is_stream ? http : NULL;
    http->gzip_streams += is_stream;
    request->gzip = gzip;
    return true;
}

void gzip_begin(struct http_request *request)
{
    request->gzip->context = h2o_compress_gzip_open(request->pool, GZIP_LEVEL);
    h2o_add_header(request->pool, &request->h2o->res.headers, H2O_TOKEN_CONTENT_ENCODING, NULL,
                   H2O_STRLIT("gzip"));
}

size_t gzip_code(struct http_request *request, h2o_iovec_t *bytes, size_t count,
                 h2o_send_state_t state, h2o_iovec_t **coded_r)
{
    h2o_compress_context_t *context = request->gzip->context;
    size_t coded_count;
    context->transform(context, bytes, count, state, coded_r, &coded_count);
    return coded_count;
}
