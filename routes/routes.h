/* routes/: paths that are handed to an upstream as they are, [routes.NAME]. A reverse proxy: every
 * method, bodies in both directions as they come and no faster than they are taken.
 *
 * Read-only after routing_create(), but for the clients of its loops. What becomes of each header,
 * and of a request whose upstream fails: docs/routes.md. */
#ifndef GW_ROUTES_H
#define GW_ROUTES_H

#include "cache/cache.h"
#include "http/http.h"
#include "upstreams/upstreams.h"

struct routing;

/* Checks each section and adds its route. Errors: unknown upstream, a path that is malformed or
 * taken, a `to` that is no path, unknown methods. All that is handed in must outlive it. */
struct routing *routing_create(const struct config *config, struct upstreams *ups,
                               struct http_server *server, struct diag *diag);
void routing_destroy(struct routing **routing);
/* A loop's clients for calls, to be set on the loop's thread before requests arrive. They must
 * outlive the loop's requests, whose disposal gives their calls back. cache: NULL = nothing is
 * kept.
 */
void routing_set_client(struct routing *routing, struct loop *loop, struct up_client *client,
                        struct cache_client *cache);

/* For explain: what would be asked of whom, after http_route_match(). False: the request doesn't go
 * to one of these routes. */
bool routing_print_plan(const struct routing *routing, struct http_request *request, FILE *to);

#endif
