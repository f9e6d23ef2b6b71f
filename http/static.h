/* Files of a directory, for a page's style sheets and pictures: [static.NAME].
 *
 * GET and HEAD of PATH/...: regular files only, nothing outside the directory, nothing hidden (a
 * segment that begins with '.'), no listings; a path that ends in '/' is its index.html. Strong
 * entity tags, preconditions and ranges (RFC 9110 sections 8.8, 13 and 14), `.br` or `.gz` beside a
 * file for clients that accept it (section 12.5.3). */
#ifndef GW_HTTP_STATIC_H
#define GW_HTTP_STATIC_H

#include "http/http.h"

struct http_static;

/* Opens the directory and adds its route. Read-only from then on: any loop. `files` runs what
 * isn't in memory. NULL: an error was added to diag, or config/ had one to tell. */
struct http_static *http_static_mount(struct http_server *server, const struct config *config,
                                      const struct config_static *item, struct offload *files,
                                      struct diag *diag);
/* After the loops and `files` have ended. */
void http_static_unmount(struct http_static **mount);

#endif
