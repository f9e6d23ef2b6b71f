/* What http2_body.c needs of h2o's insides: the package has h2o/http2_internal.h, but not the hash
 * table that it includes. Structs are those of h2o 2.2.5 up to the last field that is used; the
 * packaged version is frozen. Functions are exported by the library. */
#ifndef GW_HTTP2_H2O_H
#define GW_HTTP2_H2O_H

#include <h2o.h>
#include <h2o/http2.h>
#include <h2o/http2_scheduler.h>
#include <h2o/version.h>
#include "http/http_internal.h"

#if H2O_VERSION_MAJOR != 2 || H2O_VERSION_MINOR != 2 || H2O_VERSION_PATCH != 5
#error "these structs are those of h2o 2.2.5: compare them with include/h2o/http2_internal.h"
#endif

struct http2_stream_counts {
    uint32_t open, half_closed, send_body;
};

struct hpack_table {
    void *entries;
    size_t count, entry_capacity, first, size, capacity, max_capacity;
};

enum http2_conn_state { HTTP2_OPEN, HTTP2_HALF_CLOSED, HTTP2_CLOSING };

struct http2_conn {
    h2o_conn_t super;
    h2o_socket_t *sock;
    h2o_http2_settings_t peer_settings;
    void *streams;
    uint32_t max_pull_id, max_processed_id, max_push_id;
    struct http2_stream_counts priority, pull, push;
    h2o_http2_scheduler_node_t scheduler;
    enum http2_conn_state state;
    h2o_linklist_t conns;
    http2_expect_fn *expect; /* reads the next frame */
    h2o_buffer_t *http1_input;
    struct hpack_table input_table;
    ssize_t input_window; /* of the whole connection */
    struct hpack_table output_table;
    h2o_linklist_t pending;
    h2o_timeout_entry_t timeout;
    h2o_buffer_t *headers_unparsed;
    h2o_buffer_t *output, *in_flight; /* what waits; NULL: none is being written */
    h2o_linklist_t proceeding;
    h2o_timeout_entry_t writing;
    ssize_t output_window; /* of the whole connection */
};

enum http2_stream_state {
    HTTP2_IDLE,
    HTTP2_RECV_HEADERS,
    HTTP2_RECV_BODY,
    HTTP2_PENDING,
    HTTP2_SEND_HEADERS,
    HTTP2_SEND_BODY,
    HTTP2_SEND_LAST,
    HTTP2_END
};

struct http2_stream {
    uint32_t id;
    h2o_ostream_t ostream;
    enum http2_stream_state state;
    ssize_t output_window, input_window;
    h2o_http2_priority_t priority;
    h2o_buffer_t *body; /* NULL unless END_STREAM is still to come */
    size_t announced;   /* Content-Length; SIZE_MAX = unknown */
    H2O_VECTOR(h2o_iovec_t) data;
    h2o_ostream_pull_cb pull;
    struct http2_stream_counts *counts;
    void *cache_digests;
    uint32_t parent_id;
    unsigned flags;
    h2o_linklist_t link;
    h2o_http2_scheduler_openref_t scheduler;
    h2o_send_state_t send_state;
    h2o_req_t req;
};

enum http2_frame_type {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_PRIORITY = 2,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_WINDOW_UPDATE = 8,
    FRAME_CONTINUATION = 9
};
enum {
    FRAME_HEAD = 9, /* bytes before the payload, and which of them */
    FRAME_TYPE = 3,
    FRAME_FLAGS = 4,
    FLAG_END_STREAM = 0x1,
    FLAG_ACK = 0x1,
    FLAG_END_HEADERS = 0x4
};

struct http2_frame {
    uint32_t n;
    uint8_t type, flags;
    uint32_t stream_id;
    const uint8_t *payload;
};
struct http2_data {
    const uint8_t *p;
    size_t n;
};
struct http2_headers {
    h2o_http2_priority_t priority;
    const uint8_t *p;
    size_t n;
};

ssize_t h2o_http2_decode_frame(struct http2_frame *frame_r, const uint8_t *from, size_t n,
                               const h2o_http2_settings_t *host, const char **error_r);
int h2o_http2_decode_data_payload(struct http2_data *data_r, const struct http2_frame *frame,
                                  const char **error_r);
int h2o_http2_decode_headers_payload(struct http2_headers *headers_r,
                                     const struct http2_frame *frame, const char **error_r);
uint8_t *h2o_http2_encode_frame_header(uint8_t *to, size_t n, uint8_t type, uint8_t flags,
                                       int32_t stream_id);
void h2o_http2_encode_window_update_frame(h2o_buffer_t **to, uint32_t stream_id, int32_t n);
void h2o_http2__encode_rst_stream_frame(h2o_buffer_t **to, uint32_t stream_id, int error);
void h2o_http2_conn_request_write(struct http2_conn *conn);
void h2o_http2_stream_reset(struct http2_conn *conn, struct http2_stream *stream);
void h2o_http2_stream_close(struct http2_conn *conn, struct http2_stream *stream);

/* A stream that opens now is one too many: h2o refuses it. */
static inline bool http2_is_full(const struct http2_conn *h2o)
{
    return h2o->pull.open > H2O_HTTP2_SETTINGS_HOST.max_concurrent_streams;
}

/* Fields of `table` are h2o's own; pseudo_r is NULL for a trailer section. */
typedef int http2_parse_headers_fn(h2o_req_t *req, struct hpack_table *table, const uint8_t *from,
                                   size_t n, int *pseudo_r, size_t *content_length_r,
                                   void **digests_r, const char **error_r);
http2_parse_headers_fn h2o_hpack_parse_headers;

#endif
