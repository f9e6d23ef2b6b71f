/* middleware/: the kinds of middleware that a configuration may list, a file each. What one is, and
 * when it is called: http/middleware.h.
 *
 * To add a kind: its section in config/ (a struct in config.h, its keys in schema.c), a file here
 * with a function that makes one of each section, and that function's place in middleware.c. */
#ifndef GW_MIDDLEWARE_H
#define GW_MIDDLEWARE_H

#include "base/diag.h"
#include "base/loop.h"
#include "base/offload.h"
#include "config/config.h"
#include "http/http.h"
#include "upstreams/upstreams.h"

/* What the kinds are made with. All borrowed. */
struct middleware_needs {
    const struct config *config;
    struct upstreams *upstreams;
    struct http_server *server;
    struct offload *compute;
};

struct middleware;
/* Makes what the configuration has sections of and hands it to the server, which destroys it.
 * Errors go to diag. Never NULL. Main thread. */
struct middleware *middleware_create(const struct middleware_needs *needs, struct diag *diag);
void middleware_destroy(struct middleware **middleware);
/* On each loop before it serves, and with NULL when it is over: who makes its calls. */
void middleware_set_client(struct middleware *middleware, struct loop *loop,
                           struct up_client *client);
/* For GET /metrics. Any thread. */
void middleware_write_metrics(const struct middleware *middleware, struct out *out);

#endif
