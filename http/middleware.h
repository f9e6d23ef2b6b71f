/* What stands between a route and its handler: looks at the request, refuses it, waits for
 * somebody's word about it, or changes what is answered.
 *
 * [server] middleware lists what every request of the public listeners passes, in its order; the
 * list of a section (a page, a route, uploads, ...) follows for its own. A list's names are
 * "KIND.NAME", which stand for the section [KIND.NAME]. The kinds live in middleware/, a file each;
 * this is all that they and http/ know of each other. */
#ifndef GW_HTTP_MIDDLEWARE_H
#define GW_HTTP_MIDDLEWARE_H

#include "http/http.h"

/* One section. Made when the configuration is read, read-only or its own business from then on:
 * all loops share it. A kind puts it first in a struct of its own. */
struct http_middleware {
    const char *name; /* "cors.shop"; as long as the middleware lives */
    /* Before the handler, when the route is known (request->route; NULL: there is none for it, or
     * not for its method). True: the next one's turn. False: it has replied, or it will, or it
     * calls http_middleware_next() later; a client that leaves disposes of the request's pool, as
     * always. NULL: nothing to do. On the request's loop. */
    bool (*arrive)(struct http_middleware *middleware, struct http_request *request);
    /* A reply of whatever origin begins: http_add_header() and the like still work. In the list's
     * order from its end to its begin, whether the request got as far or not, so that a refusal has
     * what any answer has. NULL: nothing to do. On the request's loop. */
    void (*reply)(struct http_middleware *middleware, struct http_request *request, int status);
    /* Main thread, no loop uses it any more. */
    void (*destroy)(struct http_middleware *middleware);
    struct http_middleware *next; /* private */
};

/* Makes it known by its name, which nobody else has; the server destroys it. */
void http_middleware_add(struct http_server *server, struct http_middleware *middleware);
/* Goes on with a request whose middleware had it wait. */
void http_middleware_next(struct http_request *request);

/* The method that a browser's preflight (Fetch standard, "CORS-preflight request") asks for; {NULL,
 * 0}: the request is none. Its list is that of the route which takes this method, or it would be
 * nobody's: few routes take OPTIONS. */
struct str http_preflight_method(const struct http_request *request);

/* Once all routes and all middleware are there: what the lists name is looked up. Unknown names:
 * errors where they stand. */
void http_middleware_link(struct http_server *server, struct diag *diag);

#endif
