/* What the files of middleware/ share. */
#ifndef GW_MIDDLEWARE_INTERNAL_H
#define GW_MIDDLEWARE_INTERNAL_H

#include "base/text.h"
#include "http/middleware.h"
#include "middleware/proofs.h"
#include "middleware/middleware.h"

enum { MIDDLEWARE_MAX_LOOPS = 1024 }; /* the most that [server] workers may say */

struct middleware {
    struct middleware_needs needs;
    struct proofs *proofs;                           /* owned */
    struct up_client *clients[MIDDLEWARE_MAX_LOOPS]; /* by the loop's index */
};

/* Each makes one of every section of its kind. */
void basic_auth_create(struct middleware *all, struct diag *diag);
void forward_auth_create(struct middleware *all, struct diag *diag);
void jwt_create(struct middleware *all, struct diag *diag);
void security_headers_create(struct middleware *all, struct diag *diag);

/* "cors.shop", to be freed by the middleware's destroy(). */
char *middleware_name(const char *kind, struct str name);
/* Adds a header to the reply unless it has one of that name already. */
void add_header_once(struct http_request *request, const char *lower_case_name, struct str value);

/* -- who may ----------------------------------------------------------------------------------- */

/* The field's value, when the request has exactly one line of it. What has two is read in another
 * way by whoever comes next. */
bool only_header(const struct http_request *request, struct str name, struct str *value_r);
/* A reply() for kinds that let some pass and others not: caches outside may keep what they answer
 * for one client only, whatever Cache-Control said of it. */
void keep_private(struct http_middleware *middleware, struct http_request *request, int status);
/* The name of a header that requests to upstreams get, in lower case, to be freed; "" stays "". One
 * that nobody may set is an error. */
struct str request_header_name(struct str name, struct pos at, struct diag *diag);

#endif
