/* A look at an HTTP/1 request's head while it still lies in the socket's buffer, before h2o parses
 * it: line ends, number and size of fields, and the fields that decide where the request ends
 * (RFC 9112 sections 2.2, 3, 5.2, 6.3). No h2o in here, so that it can be tested and fuzzed alone.
 */
#ifndef GW_HTTP_HEAD_H
#define GW_HTTP_HEAD_H

#include "base/base.h"

enum {
    HTTP_MAX_HEAD = 32 * 1024,  /* bytes, request line included */
    HTTP_MAX_TARGET = 8 * 1024, /* bytes of path and query */
    HTTP_MAX_FIELDS = 100
};

enum head_verdict {
    HEAD_MORE,    /* not whole yet */
    HEAD_OK,      /* whole, and nothing against it */
    HEAD_REFUSED, /* answer scan.status and close */
    HEAD_HTTP2    /* the connection preface of HTTP/2 (RFC 9113 section 3.4) */
};

/* Zeroed at the start of each head. Offsets count from the head's first byte. */
struct head_scan {
    uint32_t line; /* start of the line that is not whole yet */
    uint32_t seen; /* bytes that were searched for its end */
    uint32_t method_length;
    uint32_t target, target_length;
    uint32_t fields;
    uint16_t status; /* HEAD_REFUSED: 400, 413, 414, 431, 501 or 505 */
    bool skipped_empty_line, has_request_line, http11, host, length, transfer_encoding;
    uint32_t start;     /* of the request line: 0, or 2 after an empty line */
    const char *reason; /* HEAD_REFUSED: constant */
};

/* head[0, n): all bytes of the head that are there; call again when there are more. max_body: bytes
 * that a Content-Length may announce. Never reads past n, never writes. */
enum head_verdict head_scan(struct head_scan *scan, const char *head, size_t n, uint64_t max_body);

#endif
