/* Reading a JWK Set: what isn't for us is left out, so that a provider may add kinds of keys that
 * nobody knows yet. */
#include <stdlib.h>
#include "middleware/jwks.h"

enum { MAX_DEPTH = 8, COORDINATE = 32, KID_MAX = 256 };

void jwk_set_clear(struct jwk_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free((char *)(uintptr_t)set->keys[i].kid.p);
        jws_key_unref(&set->keys[i].key);
    }
    set->count = 0;
}

static struct str string_of(struct json_value object, struct str name, h2o_mem_pool_t *pool)
{
    struct json_value value = json_get(object, name);
    return json_type(value) == JSON_STRING ? json_string(value, pool) : (struct str){NULL, 0};
}

/* False: it isn't there, or no number of at most `max` bytes. */
static bool bytes_of(struct json_value object, struct str name, size_t max, h2o_mem_pool_t *pool,
                     struct str *bytes_r)
{
    struct str text = string_of(object, name, pool);
    size_t n;
    if (text.n == 0 || text.n > BASE64_LENGTH(max))
        return false;
    uint8_t *bytes = h2o_mem_alloc_pool(pool, text.n / 4 * 3 + 3);
    bool sound = base64url_decode(text, bytes, &n);
    *bytes_r = (struct str){(const char *)bytes, n};
    return sound;
}

static bool allows_verifying(struct json_value jwk, h2o_mem_pool_t *pool)
{
    struct str use = string_of(jwk, STR("use"), pool);
    struct json_value operations = json_get(jwk, STR("key_ops"));
    if (use.p != NULL && !str_eq(use, STR("sig")))
        return false;
    bool allowed = json_type(operations) == JSON_MISSING;
    for (struct json_iter it = json_iter(operations); json_next(&it) && !allowed;)
        allowed = json_type(it.value) == JSON_STRING &&
                  str_eq(json_string(it.value, pool), STR("verify"));
    return allowed;
}

static struct jws_key *read_key(struct json_value jwk, h2o_mem_pool_t *pool)
{
    struct str kind = string_of(jwk, STR("kty"), pool), a, b;
    struct str algorithm = string_of(jwk, STR("alg"), pool);
    struct jws_key *key = NULL;
    if (!allows_verifying(jwk, pool))
        return NULL;
    if (str_eq(kind, STR("RSA")) && bytes_of(jwk, STR("n"), JWS_SIGNATURE_MAX + 1, pool, &a) &&
        bytes_of(jwk, STR("e"), 8, pool, &b))
        key = jws_key_of_rsa(a, b);
    else if (str_eq(kind, STR("EC")) && str_eq(string_of(jwk, STR("crv"), pool), STR("P-256")) &&
             bytes_of(jwk, STR("x"), COORDINATE, pool, &a) &&
             bytes_of(jwk, STR("y"), COORDINATE, pool, &b))
        key = jws_key_of_p256(a, b);
    if (key != NULL && algorithm.p != NULL &&
        !str_eq(algorithm, str_from(jws_algorithm_name(jws_key_algorithm(key)))))
        jws_key_unref(&key);
    return key;
}

bool jwk_set_read(struct jwk_set *set, struct str json)
{
    struct json_doc doc;
    h2o_mem_pool_t pool;
    *set = (struct jwk_set){0};
    json_doc_init(&doc);
    h2o_mem_init_pool(&pool);
    if (json.n <= JWKS_SIZE_MAX && json_parse(&doc, json.p, json.n, MAX_DEPTH, NULL) == JSON_OK) {
        struct json_value keys = json_get(json_root(&doc), STR("keys"));
        for (struct json_iter it = json_iter(keys);
             json_type(keys) == JSON_ARRAY && set->count < JWKS_KEYS_MAX && json_next(&it);) {
            struct str kid = string_of(it.value, STR("kid"), &pool);
            struct jws_key *key = kid.n <= KID_MAX ? read_key(it.value, &pool) : NULL;
            if (key == NULL)
                continue;
            char *name = strndup(kid.n != 0 ? kid.p : "", kid.n);
            gw_assert(name != NULL);
            set->keys[set->count++] = (struct jwk){{name, kid.n}, key};
        }
    }
    h2o_mem_clear_pool(&pool);
    json_doc_fini(&doc);
    return set->count != 0;
}

struct jws_key *jwk_set_find(const struct jwk_set *set, enum jws_algorithm algorithm,
                             struct str kid)
{
    struct jws_key *found = NULL;
    for (size_t i = 0; i < set->count; i++) {
        if (jws_key_algorithm(set->keys[i].key) != algorithm ||
            (kid.p != NULL && !str_eq(set->keys[i].kid, kid)))
            continue;
        if (found != NULL)
            return NULL;
        found = set->keys[i].key;
    }
    return found;
}
