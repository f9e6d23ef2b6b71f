/* A look at an HTTP/1 request's head while it still lies in the socket's buffer, before h2o parses
 * it: every byte's right to be there, number and size of fields, and the fields that decide where
 * the request ends (RFC 9112 sections 2.2, 3, 5, 6.3; RFC 9110 section 10.1.1). No h2o in here, so
 * that it can be tested and fuzzed alone. */
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

struct head_name {
    uint32_t at, n;
};

/* Zeroed at the start of each head. Offsets count from the head's first byte. */
struct head_scan {
    uint32_t line;                 /* start of the line that is not whole yet */
    uint32_t seen;                 /* bytes that were looked at */
    uint32_t start, method_length; /* start of the request line: 0, or 2 after an empty line */
    uint32_t target, target_length;
    uint32_t fields;
    uint32_t size;                     /* HEAD_OK: bytes of the head, the empty line included */
    uint64_t content_length;           /* when `length` */
    struct head_name framing, upgrade; /* the names of such fields; at 0: none */
    uint16_t status;                   /* HEAD_REFUSED: 400, 414, 417, 431 or 505 */
    uint8_t upgrades, expectations;
    bool skipped_empty_line, has_request_line, http11, host;
    bool length, chunked; /* how the body is framed: never both */
    bool expects;         /* a body, and 100 (Continue) before it is sent */
    const char *reason;   /* HEAD_REFUSED: constant */
};

/* head[0, n): all bytes of the head that are there; call again when there are more. Never reads
 * past n, never writes. */
enum head_verdict head_scan(struct head_scan *scan, const char *head, size_t n);

/* HEAD_OK: makes names of no meaning of those that announce a body, and of an Upgrade beside them,
 * so that who parses the head next knows of no body. */
void head_hide(const struct head_scan *scan, char *head);
/* Whether the name at `at` is one that head_hide() made. */
static inline bool head_hid(const struct head_scan *scan, size_t at)
{
    return scan->framing.at != 0 && at != 0 && (at == scan->framing.at || at == scan->upgrade.at);
}

#endif
