/* Limits of header sections under HTTP/2, which h2o 2.2.5 lacks. It takes blocks of 400 KiB, and a
 * field that repeats an entry of the compression table costs the client one byte, but h2o an entry
 * in the request: a connection could make it hold hundreds of megabytes. And it answers a malformed
 * section by itself, without a handler or a log line.
 *
 * h2o calls its own h2o_hpack_parse_headers() through the dynamic linker, so the one here stands in
 * front of it. A section over the limits ends the connection: after one that nobody read, the
 * compression table is lost (RFC 9113 section 4.3). */
#include "http/http_internal.h"

#include <dlfcn.h>
#include "http/http2_h2o.h"

enum {
    MAX_FIELDS = 1000, /* more than HTTP_MAX_FIELDS, so that most of those get a proper 431 */
    HAS_METHOD = 1,    /* H2O_HPACK_PARSE_HEADERS_... */
    HAS_SCHEME = 2,
    HAS_PATH = 4
};

typedef void accept_fn(h2o_accept_ctx_t *ctx, h2o_socket_t *sock, struct timeval at);

static http2_parse_headers_fn *next;
static accept_fn *next_accept;

__attribute__((constructor)) static void find_next(void)
{
    next = (http2_parse_headers_fn *)dlsym(RTLD_NEXT, "h2o_hpack_parse_headers");
    next_accept = (accept_fn *)dlsym(RTLD_NEXT, "h2o_http2_accept");
    gw_assert(next != NULL && next_accept != NULL);
}

/* h2o would read what lies there at once, before anybody stands in front of its frames. */
void h2o_http2_accept(h2o_accept_ctx_t *ctx, h2o_socket_t *sock, struct timeval at)
{
    h2o_buffer_t *input = sock->input;
    if (guard_of(sock) == NULL) { /* the stub's */
        next_accept(ctx, sock, at);
        return;
    }
    h2o_buffer_init(&sock->input, &h2o_socket_buffer_prototype);
    next_accept(ctx, sock, at);
    http2_read_frames(sock->on_close.data, sock->data);
    h2o_buffer_dispose(&sock->input);
    sock->input = input;
    if (input->size != 0)
        sock->_cb.read(sock, NULL);
}

int h2o_hpack_parse_headers(h2o_req_t *req, struct hpack_table *table, const uint8_t *from,
                            size_t n, int *pseudo_r, size_t *content_length_r, void **digests_r,
                            const char **error_r)
{
    const int needed = HAS_METHOD | HAS_SCHEME | HAS_PATH;
    int result = H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    if (guard_of(req->conn->callbacks->get_socket(req->conn)) == NULL) /* the stub's */
        return next(req, table, from, n, pseudo_r, content_length_r, digests_r, error_r);
    struct http2_conn *h2o = (struct http2_conn *)req->conn;
    struct http_conn *conn = guard_conn(req);
    if (n <= HTTP_MAX_HEAD && !conn->http2.head_over) {
        result = next(req, table, from, n, pseudo_r, content_length_r, digests_r, error_r);
        if (req->headers.size > MAX_FIELDS)
            result = H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    }
    if (pseudo_r == NULL)
        return result; /* trailers: their request has a handler, and gets its line from there */
    if (result == H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM)
        log_by_h2o(req, 431);
    else if ((result != 0 && result != H2O_HTTP2_ERROR_INVALID_HEADER_CHAR) ||
             (*pseudo_r & needed) != needed)
        log_by_h2o(req, 400);
    else if (result == 0)
        http2_body_open(req, *content_length_r);
    conn->http2.head_refused = (*pseudo_r & needed) != needed || http2_is_full(h2o);
    return result;
}
