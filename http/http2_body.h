/* What http2_body.c and http2_frames.c share. */
#ifndef GW_HTTP2_BODY_H
#define GW_HTTP2_BODY_H

#include "http/http2_h2o.h"
#include "http/http_internal.h"

struct http2_body {
    struct http_conn *conn;
    struct http2_conn *h2o;
    struct http2_stream *stream;
    struct http2_body *next, **link; /* of the connection's */
    struct http_request *request;    /* NULL until somebody reads */
    struct http_body_reader *reader; /* NULL before and after */
    struct timer clock;
    uint64_t announced; /* UINT64_MAX = not */
    uint64_t received, max;
    uint64_t clocked;  /* received, when the clock was started */
    uint64_t reserved; /* of the budget */
    size_t room;       /* >= held + credit */
    size_t credit;     /* what the client may still send */
    char *ring;        /* what the reader has no room for; NULL until it is needed */
    size_t ring_size, first, held;
    bool whole;   /* END_STREAM came */
    bool over;    /* nobody wants what still comes */
    bool refused; /* no room: 503 */
    bool reset;   /* the stream is gone for both sides */
    bool feeding; /* the reader is being called */
    bool waited;  /* the reader had no room since the clock was started */
};

/* A DATA frame. padded: bytes of its payload, of which `data` are the body's. The body may be gone
 * afterwards, as after http2_body_end(). */
void http2_body_data(struct http2_body *body, size_t padded, struct http2_data data, bool last);
/* END_STREAM. */
void http2_body_end(struct http2_body *body);
/* Whether it is still for somebody; gives its memory back when it is not. */
bool http2_body_wanted(struct http2_body *body);
/* Its stream ends before it does: what still comes is taken for a while. */
void http2_straggler(const struct http2_body *body);

#endif
