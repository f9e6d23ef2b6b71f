/* A token taken apart: JWS compact serialization (RFC 7515 section 3.1) whose payload is claims
 * (RFC 7519), under the rules of RFC 8725. Everything here is a stranger's bytes until the
 * signature has been verified by whoever asks; nothing here waits or allocates more than a token's
 * size. */
#ifndef GW_MIDDLEWARE_JWT_TOKEN_H
#define GW_MIDDLEWARE_JWT_TOKEN_H

#include "base/json.h"
#include "config/config.h"
#include "crypto/jws.h"

enum { JWT_MAX = 8192, JWT_KID_MAX = 256 };

/* Reused from token to token, one at a time. */
struct jwt {
    enum jws_algorithm algorithm;
    struct str kid; /* {NULL, 0} = none; as long as the pool */
    struct str signed_part, signature;
    struct json_value claims; /* an object without two members of a name */
    struct json_doc header_doc, claims_doc;
    uint8_t signature_bytes[JWS_SIGNATURE_MAX + 3];
    char header_text[JWT_MAX], claims_text[JWT_MAX];
};
void jwt_init(struct jwt *jwt);
void jwt_fini(struct jwt *jwt);

/* False: *wrong_r (static) says why it isn't a token, or none that is taken here: other algorithms,
 * extensions that must be understood (crit), two members of a name. The token stays as long as what
 * was read is looked at. */
bool jwt_read(struct jwt *jwt, struct str token, h2o_mem_pool_t *pool, const char **wrong_r);

/* What claims must say. */
struct jwt_rules {
    struct str issuer;              /* "" = any */
    struct config_strings audience; /* one of these; none = any */
    struct config_strings required; /* names of claims that must be there */
    int64_t leeway_s;
};
/* False: *wrong_r (static). */
bool jwt_check(const struct jwt *jwt, const struct jwt_rules *rules, int64_t now_s,
               h2o_mem_pool_t *pool, const char **wrong_r);

/* A claim as the value of a header: a string, number or boolean, or an array of these with commas
 * between. {NULL, 0}: there is none, or none that a header can hold unchanged. */
struct str jwt_header_value(const struct jwt *jwt, struct str claim, h2o_mem_pool_t *pool);
/* "jwt:" and the subject, of which only letters, digits and -._~@ stand for themselves; what is
 * longer than the log needs ends in a digest. {NULL, 0}: no subject. */
struct str jwt_user(const struct jwt *jwt, h2o_mem_pool_t *pool);

#endif
