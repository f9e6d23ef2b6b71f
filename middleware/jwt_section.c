/* [jwt.NAME] as the configuration has it: where the token is, whose keys are for which algorithm,
 * and that there is one for each. */
#include "middleware/jwt_internal.h"

#include <stdlib.h>

static void destroy(struct http_middleware *middleware)
{
    struct jwt_section *it = CONTAINER_OF(middleware, struct jwt_section, middleware);
    for (size_t i = 0; i < COUNT(it->loops); i++) {
        if (it->loops[i] == NULL)
            continue;
        jwt_fini(&it->loops[i]->token);
        jwks_fini(&it->loops[i]->jwks);
        free(it->loops[i]);
    }
    for (size_t i = 0; i < JWS_ALGORITHMS; i++)
        jws_key_unref(&it->keys[i]);
    for (size_t i = 0; i < it->header_count; i++)
        free((char *)(uintptr_t)it->headers[i].name.p);
    free(it->headers);
    free((char *)(uintptr_t)middleware->name);
    free(it);
}

static void read_from(struct jwt_section *it, const struct config *config, struct diag *diag)
{
    const struct str *from = &it->config->from;
    const struct str start = STR("cookie:");
    if (str_eq(*from, STR("header")))
        return;
    it->cookie = (struct str){from->p + start.n, from->n - start.n};
    if (from->n <= start.n || memcmp(from->p, start.p, start.n) != 0 || !is_token(it->cookie))
        diag_error(diag, config_pos(config, from),
                   "from: expected \"header\" or \"cookie:NAME\", got \"%s\"", from->p);
}

static void read_algorithms(struct jwt_section *it, const struct config *config, struct diag *diag)
{
    const struct config_strings *list = &it->config->algorithms;
    for (size_t i = 0; i < list->count; i++) {
        enum jws_algorithm algorithm;
        if (jws_algorithm_named(list->items[i], &algorithm))
            it->taken[algorithm] = true;
        else
            diag_error(diag, config_pos(config, &list->items[i]),
                       "algorithms: expected \"HS256\", \"RS256\" or \"ES256\", got \"%s\"",
                       list->items[i].p);
    }
}

static void read_public_key(struct jwt_section *it, const struct config *config, struct diag *diag)
{
    char error[512];
    const struct str *path = &it->config->public_key;
    if (path->n == 0)
        return;
    struct jws_key *key = jws_key_load(path->p, error, sizeof(error));
    if (key == NULL)
        diag_error(diag, config_pos(config, path), "public_key: %s", error);
    else
        it->keys[jws_key_algorithm(key)] = key;
}

static void read_source(struct jwt_section *it, const struct config *config, struct diag *diag)
{
    const struct config_jwt *from = it->config;
    if (from->jwks.n == 0) {
        if (from->upstream.n != 0)
            diag_error(diag, config_pos(config, &from->upstream),
                       "upstream: nothing is asked of it without jwks, a path");
        return;
    }
    it->source = (struct jwks_source){
        .section = from->name,
        .upstream = upstream_named(it->all->needs.upstreams, &from->upstream, diag),
        .path = from->jwks,
        .ttl_ms = from->jwks_ttl_ms,
        .refetch_ms = from->jwks_refetch_ms};
    if (from->jwks.p[0] != '/')
        diag_error(diag, config_pos(config, &from->jwks),
                   "jwks: a path after the upstream's url, \"/.well-known/jwks.json\"");
    if (from->public_key.n != 0)
        diag_error(diag, config_pos(config, &from->public_key),
                   "public keys come from public_key or from jwks, not both");
}

/* Each algorithm that is taken has a key, and each key is of use. */
static void check_keys(const struct jwt_section *it, const struct config *config, struct diag *diag)
{
    const struct config_jwt *from = it->config;
    struct pos at = config_pos(config, &from->algorithms);
    bool public_needed = false;
    if (from->algorithms.count == 0)
        diag_error(diag, at, "algorithms: at least one is needed");
    for (unsigned i = 0; i < JWS_ALGORITHMS; i++) {
        bool fetched = i != JWS_HS256 && from->jwks.n != 0;
        const char *name = jws_algorithm_name((enum jws_algorithm)i);
        public_needed |= it->taken[i] && i != JWS_HS256;
        if (it->taken[i] && !fetched && it->keys[i] == NULL)
            diag_error(diag, at, "algorithms: %s needs %s", name,
                       i == JWS_HS256 ? "secret" : "public_key, of that kind, or jwks");
        if (!it->taken[i] && it->keys[i] != NULL)
            diag_error(diag, at, "algorithms: the key is for %s, which isn't listed", name);
    }
    if (from->jwks.n != 0 && !public_needed)
        diag_error(diag, at, "algorithms: jwks is for RS256 and ES256, neither is listed");
}

static void read_claims(struct jwt_section *it, const struct config *config, struct diag *diag)
{
    const struct config_pairs *pairs = &it->config->claims;
    it->headers = calloc(pairs->count + 1, sizeof(*it->headers));
    gw_assert(it->headers != NULL);
    for (size_t i = 0; i < pairs->count; i++) {
        const struct config_pair *pair = &pairs->items[i];
        struct pos at = config_pos(config, &pair->value);
        if (pair->value.n == 0)
            diag_error(diag, at, "%s: the name of a header is needed", pair->name.p);
        it->headers[it->header_count++] = (struct claim_header){
            .claim = pair->name, .name = request_header_name(pair->value, at, diag)};
        for (size_t k = 0; k < i; k++)
            if (same_field(pairs->items[k].value, pair->value))
                diag_error(diag, at, "%s is set from two claims", pair->value.p);
    }
}

void jwt_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    for (size_t i = 0; i < config->jwt_count; i++) {
        const struct config_jwt *from = &config->jwts[i];
        struct jwt_section *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        *it = (struct jwt_section){.middleware = {.name = middleware_name("jwt", from->name),
                                                  .arrive = jwt_arrive,
                                                  .reply = keep_private,
                                                  .destroy = destroy},
                                   .all = all,
                                   .config = from,
                                   .rules = {.issuer = from->issuer,
                                             .audience = from->audience,
                                             .required = from->required,
                                             .leeway_s = (int64_t)(from->leeway_ms / 1000)}};
        size_t errors = diag_errors(diag);
        read_from(it, config, diag);
        read_algorithms(it, config, diag);
        if (from->secret.n != 0)
            it->keys[JWS_HS256] = jws_key_of_secret(from->secret);
        read_public_key(it, config, diag);
        read_source(it, config, diag);
        read_claims(it, config, diag);
        if (diag_errors(diag) == errors)
            check_keys(it, config, diag);
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
