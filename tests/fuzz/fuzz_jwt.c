/* Any bytes as a token, as the parts of one, and as a set of keys: what is taken is within its
 * bounds, and nothing is verified that nobody signed. */
#include <stdlib.h>
#include "base/text.h"
#include "middleware/jwks.h"
#include "middleware/jwt_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct jwt jwt;

static void take(struct str token, const struct jws_key *key)
{
    static struct str audience = {"shop", 4}, required = {"exp", 3};
    const struct jwt_rules rules = {
        .issuer = STR("me"), .audience = {&audience, 1}, .required = {&required, 1}};
    h2o_mem_pool_t pool;
    const char *wrong = NULL;
    h2o_mem_init_pool(&pool);
    if (jwt_read(&jwt, token, &pool, &wrong)) {
        jwt_check(&jwt, &rules, 1700000000, &pool, &wrong);
        gw_assert(jwt.signature.n <= JWS_SIGNATURE_MAX && jwt.signed_part.n < token.n);
        gw_assert(!jws_verify(key, jwt.signed_part, jwt.signature));
        struct str value = jwt_header_value(&jwt, STR("a"), &pool);
        gw_assert(value.n <= 4096 && !has_control(value));
        struct str user = jwt_user(&jwt, &pool);
        gw_assert(user.n < 128);
        for (size_t i = 0; i < user.n; i++)
            gw_assert(user.p[i] > ' ' && user.p[i] < 0x7f && user.p[i] != '"');
    } else {
        gw_assert(wrong != NULL);
    }
    h2o_mem_clear_pool(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jws_key *key;
    if (key == NULL) {
        uint8_t secret[32];
        random_bytes(secret, sizeof(secret));
        key = jws_key_of_secret((struct str){(const char *)secret, sizeof(secret)});
        jwt_init(&jwt);
    }
    char *exact = malloc(size != 0 ? size : 1);
    memcpy(exact, data, size);
    take((struct str){exact, size}, key);

    /* The same bytes as the JSON inside: what stands before a line end is the header. */
    char *token = malloc(2 * BASE64_LENGTH(size) + 64);
    const char *line = size != 0 ? memchr(exact, '\n', size) : NULL;
    size_t header_n = line != NULL ? (size_t)(line - exact) : 0;
    size_t n = line != NULL ? base64url_encode(exact, header_n, token)
                            : base64url_encode("{\"alg\":\"HS256\"}", 15, token);
    token[n++] = '.';
    const char *claims = line != NULL ? line + 1 : exact;
    n += base64url_encode(claims, size - (size_t)(claims - exact), token + n);
    memcpy(token + n, ".AAAA", 5);
    take((struct str){token, n + 5}, key);
    free(token);

    struct jwk_set set;
    jwk_set_read(&set, (struct str){exact, size});
    gw_assert(set.count <= JWKS_KEYS_MAX);
    jwk_set_clear(&set);
    free(exact);
    return 0;
}
