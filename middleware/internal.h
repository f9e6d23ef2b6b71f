/* What the files of middleware/ share. */
#ifndef GW_MIDDLEWARE_INTERNAL_H
#define GW_MIDDLEWARE_INTERNAL_H

#include "base/text.h"
#include "http/middleware.h"
#include "middleware/middleware.h"

enum { MIDDLEWARE_MAX_LOOPS = 1024 }; /* the most that [server] workers may say */

struct middleware {
    struct middleware_needs needs;
    struct up_client *clients[MIDDLEWARE_MAX_LOOPS]; /* by the loop's index */
};

/* Each makes one of every section of its kind. */
void security_headers_create(struct middleware *all, struct diag *diag);

/* "cors.shop", to be freed by the middleware's destroy(). */
char *middleware_name(const char *kind, struct str name);
/* Adds a header to the reply unless it has one of that name already. */
void add_header_once(struct http_request *request, const char *lower_case_name, struct str value);

#endif
