/* What a request for a file is answered with, before a byte of it is read. Private to http/. */
#ifndef GW_HTTP_SEND_PLAN_H
#define GW_HTTP_SEND_PLAN_H

#include "http/http.h"

/* A run of the file's bytes, and what precedes it in a multipart body. */
struct send_part {
    struct str head;
    uint64_t first, n; /* n > 0, but for an empty file */
};

struct send_plan {
    int status;                    /* 200, 206, 304, 412, 416 */
    const struct send_part *parts; /* of a 200 or 206; count 0 = no body */
    size_t count;
    struct str tail;          /* after the last part */
    const char *type;         /* Content-Type */
    uint64_t length;          /* Content-Length, that of a HEAD's GET too */
    struct str content_range; /* "" = none */
};

/* Preconditions, then ranges (RFC 9110 sections 13.2.2 and 14.2). In the request's pool. */
struct send_plan send_plan_make(const struct http_request *request, const struct http_file *file);

#endif
