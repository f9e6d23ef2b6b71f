/* The file that `gateway stub` serves from, read and checked. Private to commands/.
 *
 *     [services.promo]                   # any number of services, one process
 *     listen = "127.0.0.1:9101"          # "host:port", "[::1]:port"; port 0 = a free one
 *
 *     [[services.promo.routes]]
 *     path    = "/promo"                 # compared with the request's path; its query is ignored
 *     body    = "promo.json"             # relative to this file; left out = no body
 *     status  = 200
 *     delay   = "120ms"                  # before answering
 *     fail    = 0.25                     # share of requests answered 500, evenly spread
 *     headers = { "Cache-Control" = "max-age=60" }
 *
 * docs/stub.md tells the same to users. */
#ifndef GW_STUB_FILE_H
#define GW_STUB_FILE_H

#include <h2o/memory.h>
#include "base/base.h"
#include "base/diag.h"

struct stub_header {
    struct str name, value;
};

struct stub_route {
    struct str path;
    struct str body; /* the bytes of the file, read once */
    int status;
    uint64_t delay_ms;
    double fail; /* 0.0 … 1.0 */
    struct stub_header *headers;
    size_t header_count;
};

struct stub_service {
    struct str name;
    struct str host, port; /* of listen; NUL-terminated, an IPv6 host without its brackets */
    struct stub_route *routes;
    size_t route_count;
};

/* Owns all its memory; read-only once loaded. */
struct stub_file {
    struct stub_service *services;
    size_t service_count;
    h2o_mem_pool_t pool; /* holds all of it, and what its server keeps as long */
};

/* Never NULL. When diag_errors() grew, it may only be freed. `path` must outlive the diag. */
struct stub_file *stub_file_load(const char *path, struct diag *diag);
void stub_file_free(struct stub_file **file);

#endif
