/* What the files of middleware/ share. */
#ifndef GW_MIDDLEWARE_INTERNAL_H
#define GW_MIDDLEWARE_INTERNAL_H

#include "base/text.h"
#include "http/middleware.h"
#include "middleware/proofs.h"
#include "middleware/middleware.h"

enum { MIDDLEWARE_MAX_LOOPS = 1024 }; /* the most that [server] workers may say */

struct shedding;

struct middleware {
    struct middleware_needs needs;
    struct shedding *shedding;                       /* those that there are */
    struct proofs *proofs;                           /* owned */
    struct up_client *clients[MIDDLEWARE_MAX_LOOPS]; /* by the loop's index */
};

/* Each makes one of every section of its kind. */
void cors_create(struct middleware *all, struct diag *diag);
void headers_create(struct middleware *all, struct diag *diag);
void access_create(struct middleware *all, struct diag *diag);
void limits_create(struct middleware *all, struct diag *diag);
void rate_limits_create(struct middleware *all, struct diag *diag);
void shedding_create(struct middleware *all, struct diag *diag);
void basic_auth_create(struct middleware *all, struct diag *diag);
void forward_auth_create(struct middleware *all, struct diag *diag);
void jwt_create(struct middleware *all, struct diag *diag);
void security_headers_create(struct middleware *all, struct diag *diag);

/* "cors.shop", to be freed by the middleware's destroy(). */
char *middleware_name(const char *kind, struct str name);
/* Adds a header to the reply unless it has one of that name already. */
void add_header_once(struct http_request *request, const char *lower_case_name, struct str value);
/* Takes all headers of that name away; '-' and '_' are one, as they are to many who read them. */
void remove_header(h2o_headers_t *headers, const char *lower_case_name);
/* "a, b", in the pool, NUL-terminated. */
struct str join_list(h2o_mem_pool_t *pool, const struct config_strings *list);

/* -- shedding.c -------------------------------------------------------------------------------- */

void shedding_write_metrics(const struct shedding *first, struct out *out);

/* -- cors.c ------------------------------------------------------------------------------------ */

/* One origin (RFC 6454 section 6.1, as browsers write it), or those that only differ in what stands
 * between two ends: "https://" … ".shop.example". */
struct cors_origin {
    struct str start, end;
    bool wild;
};
/* NULL, or what is wrong with it. The text must stay. */
const char *cors_origin_parse(struct str text, struct cors_origin *origin_r);
bool cors_origin_has(const struct cors_origin *origin, struct str value);

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
