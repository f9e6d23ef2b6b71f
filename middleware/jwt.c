/* [jwt.NAME]: a token that somebody else has signed (RFC 7519), in Authorization or in a cookie.
 *
 * A request is judged by one function from the begin, as often as it takes: when the keys it has to
 * wait for have come, and when a thread has verified its signature, it is judged again. So nothing
 * of a token is kept meanwhile but the request itself.
 *
 * HS256 is verified each time. The others cost more than all else here together, so a loop
 * remembers which tokens' signatures it has seen verified, by their digest; what tokens say is read
 * anew each time. ES256 takes a millisecond and goes to a thread (proofs.h). */
#include "middleware/jwt_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

/* A request that waits. In its pool. */
struct visit {
    struct jwt_section *section;
    bool has_waited;            /* for keys */
    const struct jws_key *good; /* a thread has found the signature to be this key's */
    uint8_t digest[32];         /* of the token */
};

struct signature_question {
    struct question question;
    struct jws_key *key; /* ref */
    size_t signed_n, signature_n;
    char bytes[]; /* what is signed, then the signature */
};

/* -- refusing ---------------------------------------------------------------------------------- */

/* RFC 6750 section 3. description: NULL = no token was sent. */
static void refuse(const struct jwt_section *it, struct http_request *request,
                   const char *description)
{
    enum { ROOM = 256 };
    char *text = h2o_mem_alloc_pool(request->pool, ROOM);
    int n = description == NULL
                ? snprintf(text, ROOM, "Bearer realm=\"%s\"", it->config->name.p)
                : snprintf(text, ROOM,
                           "Bearer realm=\"%s\", error=\"invalid_token\", error_description=\"%s\"",
                           it->config->name.p, description);
    http_add_header(request, "www-authenticate", (struct str){text, (size_t)n});
    http_problem_reply(
        request,
        &(struct http_problem){
            .status = 401,
            .type = description == NULL ? "token-needed" : "token-invalid",
            .title = description == NULL ? "This needs a token" : "This token doesn't let you in",
            .detail = description == NULL ? STR("Sign in, and come back with a token.")
                                          : str_from(description),
        });
}

static void refuse_away(struct http_request *request)
{
    request->flags = "UF";
    http_problem_reply(request,
                       &(struct http_problem){
                           .status = 503,
                           .type = "keys-unavailable",
                           .title = "Tokens can't be checked at the moment",
                           .detail = STR("The keys that they are signed with are not there yet."),
                           .retry_after_s = 1,
                       });
}

/* -- signatures -------------------------------------------------------------------------------- */

static bool was_verified(const struct verified *verified, uint64_t version,
                         const uint8_t digest[32])
{
    bool found = false;
    for (size_t i = 0; i < WAYS && verified->version == version; i++)
        found |= memcmp(verified->digests[digest[0]][i], digest, 32) == 0;
    return found;
}

static void remember(struct verified *verified, uint64_t version, const uint8_t digest[32])
{
    if (verified->version != version)
        *verified = (struct verified){.version = version};
    uint8_t *next = &verified->next[digest[0]];
    memcpy(verified->digests[digest[0]][*next], digest, 32);
    *next = (uint8_t)((*next + 1) % WAYS);
}

static bool answer(struct question *question)
{
    struct signature_question *asked = CONTAINER_OF(question, struct signature_question, question);
    return jws_verify(asked->key, (struct str){asked->bytes, asked->signed_n},
                      (struct str){asked->bytes + asked->signed_n, asked->signature_n});
}

static void dispose(struct question *question)
{
    jws_key_unref(&CONTAINER_OF(question, struct signature_question, question)->key);
}

static bool judge(struct visit *visit, struct http_request *request);

static void on_verified(struct http_request *request, bool good, void *arg)
{
    struct visit *visit = arg;
    if (!good) {
        refuse(visit->section, request, "the signature is not good");
        return;
    }
    if (judge(visit, request))
        http_middleware_next(request);
}

/* The same token under another key is another question; the key lives as long as it is asked. */
static void make_code(uint8_t code_r[32], const uint8_t digest[32], const struct jws_key *key)
{
    uint8_t both[32 + sizeof(key)];
    memcpy(both, digest, 32);
    memcpy(both + 32, &key, sizeof(key));
    sha256(both, sizeof(both), code_r);
}

static void ask_thread(struct visit *visit, struct http_request *request, const struct jwt *token,
                       struct jws_key *key)
{
    struct signature_question *asked =
        calloc(1, sizeof(*asked) + token->signed_part.n + token->signature.n);
    gw_assert(asked != NULL);
    *asked = (struct signature_question){
        .question = {.answer = answer,
                     .dispose = dispose,
                     .size = sizeof(*asked) + token->signed_part.n + token->signature.n},
        .key = jws_key_ref(key),
        .signed_n = token->signed_part.n,
        .signature_n = token->signature.n};
    make_code(asked->question.code, visit->digest, key);
    memcpy(asked->bytes, token->signed_part.p, asked->signed_n);
    memcpy(asked->bytes + asked->signed_n, token->signature.p, asked->signature_n);
    visit->good = key;
    proofs_ask(visit->section->all->proofs, request, &asked->question, on_verified, visit);
}

enum verdict { SIGNATURE_GOOD, SIGNATURE_BAD, SIGNATURE_ASKED };

static enum verdict verify(struct visit *visit, struct http_request *request, struct jwt_loop *loop,
                           struct str text, struct jws_key *key)
{
    const struct jwt *token = &loop->token;
    if (token->algorithm == JWS_HS256)
        return jws_verify(key, token->signed_part, token->signature) ? SIGNATURE_GOOD
                                                                     : SIGNATURE_BAD;
    uint64_t version = loop->jwks.version + 1;
    bool proven = visit->good == key; /* alive since then, or it would not be found */
    visit->good = NULL;
    sha256(text.p, text.n, visit->digest);
    if (!proven && was_verified(&loop->verified, version, visit->digest))
        return SIGNATURE_GOOD;
    if (!proven && token->algorithm == JWS_ES256) {
        ask_thread(visit, request, token, key);
        return SIGNATURE_ASKED;
    }
    if (!proven && !jws_verify(key, token->signed_part, token->signature))
        return SIGNATURE_BAD;
    remember(&loop->verified, version, visit->digest);
    return SIGNATURE_GOOD;
}

/* -- judging ----------------------------------------------------------------------------------- */

static struct jwt_loop *loop_of(struct jwt_section *it, struct http_request *request)
{
    unsigned index = loop_index(request->loop);
    struct jwt_loop *loop = it->loops[index];
    if (loop != NULL)
        return loop;
    loop = it->loops[index] = calloc(1, sizeof(*loop));
    gw_assert(loop != NULL);
    jwt_init(&loop->token);
    jwks_init(&loop->jwks, &it->source, request->loop, it->all->clients[index]);
    return loop;
}

/* The token as it was sent; {NULL, 0}: there is none. */
static struct str find_token(const struct jwt_section *it, const struct http_request *request)
{
    struct str value;
    if (it->cookie.n != 0) {
        value = http_cookie(request, it->cookie);
        return value.n != 0 ? value : (struct str){NULL, 0};
    }
    if (!only_header(request, STR("authorization"), &value))
        return (struct str){NULL, 0};
    value = trimmed(value);
    if (value.n < 8 || strncasecmp(value.p, "bearer ", 7) != 0)
        return (struct str){NULL, 0};
    return trimmed((struct str){value.p + 7, value.n - 7});
}

static void on_keys(struct http_request *request, void *arg)
{
    struct visit *visit = arg;
    visit->has_waited = true;
    if (judge(visit, request))
        http_middleware_next(request);
}

/* NULL: it has replied, or waits for keys. */
static struct jws_key *find_key(struct visit *visit, struct http_request *request,
                                struct jwt_loop *loop)
{
    const struct jwt_section *it = visit->section;
    const struct jwt *token = &loop->token;
    struct jws_key *key = it->keys[token->algorithm];
    if (key != NULL)
        return key;
    enum jwks_found found = jwks_find(&loop->jwks, token->algorithm, token->kid, &key);
    if (found == JWKS_FOUND)
        return key;
    if (found == JWKS_WAIT && !visit->has_waited)
        jwks_wait(&loop->jwks, request, on_keys, visit);
    else if (loop->jwks.version == 0)
        refuse_away(request);
    else
        refuse(it, request, "the key is not known");
    return NULL;
}

static void let_pass(const struct jwt_section *it, struct http_request *request,
                     const struct jwt *token)
{
    struct str user = jwt_user(token, request->pool);
    if (user.n != 0)
        request->user = user;
    for (size_t i = 0; i < it->header_count; i++) {
        struct str value = jwt_header_value(token, it->headers[i].claim, request->pool);
        if (value.n != 0)
            http_set_request_header(request, it->headers[i].name, value);
    }
    request->is_personal |= it->header_count != 0;
    if (!it->config->forward && it->cookie.n == 0)
        http_remove_request_header(request, STR("authorization"));
}

static bool judge(struct visit *visit, struct http_request *request)
{
    struct jwt_section *it = visit->section;
    struct jwt_loop *loop = loop_of(it, request);
    struct str text = find_token(it, request);
    const char *wrong = NULL;
    if (text.p == NULL) {
        refuse(it, request, NULL);
        return false;
    }
    if (jwt_read(&loop->token, text, request->pool, &wrong) && !it->taken[loop->token.algorithm])
        wrong = "the algorithm is not taken";
    if (wrong != NULL ||
        !jwt_check(&loop->token, &it->rules, (int64_t)time(NULL), request->pool, &wrong)) {
        refuse(it, request, wrong);
        return false;
    }
    struct jws_key *key = find_key(visit, request, loop);
    if (key == NULL)
        return false;
    enum verdict verdict = verify(visit, request, loop, text, key);
    if (verdict == SIGNATURE_BAD)
        refuse(it, request, "the signature is not good");
    if (verdict != SIGNATURE_GOOD)
        return false;
    let_pass(it, request, &loop->token);
    return true;
}

bool jwt_arrive(struct http_middleware *middleware, struct http_request *request)
{
    struct jwt_section *it = CONTAINER_OF(middleware, struct jwt_section, middleware);
    for (size_t i = 0; i < it->header_count; i++)
        http_remove_request_header(request, it->headers[i].name);
    struct visit *visit = h2o_mem_alloc_pool(request->pool, sizeof(*visit));
    *visit = (struct visit){.section = it};
    return judge(visit, request);
}
