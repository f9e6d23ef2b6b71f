/* What jwt.c, which judges requests, and jwt_section.c, which reads the configuration, share. */
#ifndef GW_MIDDLEWARE_JWT_INTERNAL_H
#define GW_MIDDLEWARE_JWT_INTERNAL_H

#include "middleware/internal.h"
#include "middleware/jwks.h"
#include "middleware/jwt_token.h"

/* Signatures that were found good, with the keys of `version`. */
enum { SETS = 256, WAYS = 4 };
struct verified {
    uint64_t version;
    uint8_t digests[SETS][WAYS][32];
    uint8_t next[SETS];
};

/* What a loop has for itself. */
struct jwt_loop {
    struct jwt token;
    struct jwks jwks;
    struct verified verified;
};

struct claim_header {
    struct str claim; /* the configuration's */
    struct str name;  /* lower case, owned */
};

struct jwt_section {
    struct http_middleware middleware;
    struct middleware *all;
    const struct config_jwt *config;
    bool taken[JWS_ALGORITHMS];
    struct jws_key *keys[JWS_ALGORITHMS]; /* from the configuration; NULL = the source's */
    struct str cookie;                    /* its name; "" = Authorization */
    struct jwks_source source;            /* upstream NULL = none */
    struct jwt_rules rules;
    struct claim_header *headers; /* owned */
    size_t header_count;
    struct jwt_loop *loops[MIDDLEWARE_MAX_LOOPS]; /* a loop's own; NULL = not yet */
};

bool jwt_arrive(struct http_middleware *middleware, struct http_request *request);

#endif
