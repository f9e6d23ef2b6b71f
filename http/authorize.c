/* Who may: bearer tokens (RFC 6750), known by their digests alone, and signed links.
 *
 * A token is compared with every digest there is, none of which tells by its time whether it was
 * the one. A link is looked at before a token, so that a page that is signed works behind a proxy
 * that asks for a password of its own (Authorization: Basic). */
#include "http/http_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include "http/signed_url.h"

/* Digests whose shape the configuration has refused are left out. */
void auth_init(struct http_auth *auth, const struct config *config, const struct secret *secret)
{
    const size_t prefix = strlen("sha256:");
    struct secret made_up;
    if (secret == NULL) { /* only checking: no link or form can be right */
        random_bytes(&made_up, sizeof(made_up));
        secret = &made_up;
    }
    *auth = (struct http_auth){.links = secret_key(secret, SIGNED_URL_PURPOSE),
                               .forms = secret_key(secret, "csrf")};
    auth->tokens = h2o_mem_alloc((config->token_count + 1) * sizeof(*auth->tokens));
    for (size_t i = 0; i < config->token_count; i++) {
        const struct config_token *from = &config->tokens[i];
        struct auth_token *token = &auth->tokens[auth->token_count];
        if (from->digest.n <= prefix ||
            !hex_decode((struct str){from->digest.p + prefix, from->digest.n - prefix},
                        token->digest, sizeof(token->digest)))
            continue;
        int n = asprintf(&token->user, "token:%s", from->name.p);
        gw_assert(n > 0);
        token->user_n = (size_t)n;
        auth->token_count++;
    }
}

void auth_fini(struct http_auth *auth)
{
    for (size_t i = 0; i < auth->token_count; i++)
        free(auth->tokens[i].user);
    free(auth->tokens);
}

/* The token of `Authorization: Bearer TOKEN`; {NULL, 0} = no such field. */
static struct str bearer(const struct http_request *request)
{
    struct str value = trimmed(http_header(request, STR("authorization")));
    if (value.n < 7 || strncasecmp(value.p, "bearer ", 7) != 0)
        return (struct str){NULL, 0};
    return trimmed((struct str){value.p + 7, value.n - 7});
}

/* {NULL, 0}: nobody's. */
static struct str find_user(const struct http_auth *auth, struct str token)
{
    uint8_t digest[32];
    struct str user = {NULL, 0};
    sha256(token.p, token.n, digest);
    for (size_t i = 0; i < auth->token_count; i++)
        if (bytes_equal(digest, auth->tokens[i].digest, sizeof(digest)))
            user = (struct str){auth->tokens[i].user, auth->tokens[i].user_n};
    return user;
}

enum auth_verdict auth_judge(struct http_request *request, enum config_auth auth,
                             enum http_right right, uint64_t now_s)
{
    const struct http_auth *known = &request->server->auth;
    enum signed_url link = SIGNED_URL_NONE;
    if (auth == AUTH_SIGNED)
        link = signed_url_check(&known->links, right, request->path, request->query, now_s);
    struct str token = bearer(request);
    struct str user = token.p != NULL ? find_user(known, token) : (struct str){NULL, 0};
    request->has_token = user.n != 0;
    if (request->has_token)
        request->user = user;
    if (auth == AUTH_PUBLIC || link == SIGNED_URL_GOOD || request->has_token)
        return VERDICT_FINE;
    if (token.p != NULL)
        return VERDICT_TOKEN_INVALID;
    if (auth == AUTH_TOKEN)
        return VERDICT_TOKEN_NEEDED;
    return link == SIGNED_URL_NONE      ? VERDICT_LINK_NEEDED
           : link == SIGNED_URL_EXPIRED ? VERDICT_LINK_EXPIRED
                                        : VERDICT_LINK_INVALID;
}

bool http_authorize(struct http_request *request, enum config_auth auth, enum http_right right)
{
    static const struct {
        int status;
        const char *challenge; /* NULL = none: a browser can't answer it */
        const char *type, *title, *detail;
    } refusals[] = {
        [VERDICT_TOKEN_NEEDED] = {401, "Bearer realm=\"gateway\"", "token-needed",
                                  "This needs a token",
                                  "Send it as \"Authorization: Bearer TOKEN\"."},
        [VERDICT_TOKEN_INVALID] = {401, "Bearer realm=\"gateway\", error=\"invalid_token\"",
                                   "token-invalid", "This token is not known here",
                                   "It was mistyped, or it has been withdrawn."},
        [VERDICT_LINK_NEEDED] = {403, NULL, "link-needed", "This needs a signed link",
                                 "The address alone does not open it: ask whoever gave it to you "
                                 "for a link."},
        [VERDICT_LINK_INVALID] = {403, NULL, "link-invalid", "This link is not valid",
                                  "It was changed or cut short on its way, or it was made for "
                                  "something else."},
        [VERDICT_LINK_EXPIRED] = {403, NULL, "link-expired", "This link has expired",
                                  "Ask whoever gave it to you for a new one."},
    };
    enum auth_verdict verdict = auth_judge(request, auth, right, (uint64_t)time(NULL));
    if (verdict == VERDICT_FINE)
        return true;
    if (refusals[verdict].challenge != NULL)
        http_add_header(request, "www-authenticate", str_from(refusals[verdict].challenge));
    struct http_problem problem = {.status = refusals[verdict].status,
                                   .type = refusals[verdict].type,
                                   .title = refusals[verdict].title,
                                   .detail = str_from(refusals[verdict].detail)};
    http_problem_reply(request, &problem);
    return false;
}

struct str http_signed_url(struct http_request *request, enum http_right right, struct str path,
                           struct str query, uint64_t expires_s)
{
    char *url = h2o_mem_alloc_pool(request->pool, path.n + 1 + query.n + SIGNED_URL_MORE);
    memcpy(url, path.p, path.n);
    url[path.n] = '?';
    size_t n = signed_url_write(&request->server->auth.links, right, path, query, expires_s,
                                url + path.n + 1);
    return (struct str){url, path.n + 1 + n};
}

void http_check_auth(const struct http_server *server, enum config_auth auth, struct pos at,
                     struct diag *diag)
{
    if (auth == AUTH_TOKEN && server->config->token_count == 0)
        diag_error(diag, at,
                   "auth: \"token\" needs a [tokens.NAME] (`gateway token NAME` prints one); or "
                   "say auth = \"signed\" or \"public\"");
}
