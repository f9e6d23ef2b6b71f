/* [basic_auth.NAME]: a name and a password (RFC 7617).
 *
 * Hashes are slow by design, and browsers send the password with each request. So a loop remembers
 * of each user the code (HMAC, with a key of this process) of what was last found right; only what
 * isn't that goes to a thread (proofs.h). A name that nobody has costs what a wrong password costs:
 * it is tried against somebody's hash, always the same one. */
#include "middleware/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include "base/siphash.h"
#include "crypto/crypto.h"
#include "middleware/basic_auth.h"
#include "middleware/basic_users.h"

/* What a loop has found out about a user. */
struct known {
    bool is_known;
    uint8_t code[32];
};

struct basic_auth {
    struct http_middleware middleware;
    struct proofs *proofs;
    struct basic_users users;
    struct key key;
    struct str challenge;   /* value of WWW-Authenticate; owned */
    struct str user_header; /* lower case; owned; "" = none */
    bool forward;
    struct known *known[MIDDLEWARE_MAX_LOOPS]; /* a loop's own, by user; NULL = nothing yet */
};

struct password_question {
    struct question question;
    struct str hash; /* borrowed from the users */
    bool is_user;    /* it is the hash of who is named */
    char password[BASIC_PASSWORD_MAX + 1];
};

/* A request while its password is checked. In its pool. */
struct visit {
    struct basic_auth *auth;
    const struct basic_user *user; /* NULL = nobody */
    uint8_t code[32];
};

/* -- what is sent ------------------------------------------------------------------------------ */

bool basic_credentials(struct str field, char text_r[BASIC_TEXT_MAX], struct str *name_r,
                       struct str *password_r)
{
    struct str value = trimmed(field);
    size_t n;
    if (value.n < 6 || strncasecmp(value.p, "basic ", 6) != 0)
        return false;
    value = trimmed((struct str){value.p + 6, value.n - 6});
    if (value.n > BASE64_LENGTH(BASIC_NAME_MAX + 1 + BASIC_PASSWORD_MAX) ||
        !base64_decode(value, (uint8_t *)text_r, &n))
        return false;
    const char *colon = n != 0 ? memchr(text_r, ':', n) : NULL;
    if (colon == NULL || has_control((struct str){text_r, n}))
        return false;
    *name_r = (struct str){text_r, (size_t)(colon - text_r)};
    *password_r = (struct str){colon + 1, n - name_r->n - 1};
    return name_r->n <= BASIC_NAME_MAX && password_r->n <= BASIC_PASSWORD_MAX;
}

/* -- answers ----------------------------------------------------------------------------------- */

static void refuse(struct http_request *request, const struct basic_auth *it, bool sent)
{
    http_add_header(request, "www-authenticate", it->challenge);
    http_problem_reply(
        request,
        &(struct http_problem){
            .status = 401,
            .type = sent ? "password-wrong" : "password-needed",
            .title = sent ? "This name and password don't fit" : "This needs a name and a password",
            .detail = sent ? STR("There is no such user, or the password is another.")
                           : STR("Send them as \"Authorization: Basic\"."),
        });
}

static void let_pass(struct http_request *request, const struct basic_auth *it,
                     const struct basic_user *user)
{
    char *text = h2o_mem_alloc_pool(request->pool, 6 + user->name.n);
    memcpy(text, "basic:", 6);
    memcpy(text + 6, user->name.p, user->name.n);
    request->user = (struct str){text, 6 + user->name.n};
    if (!it->forward)
        http_remove_request_header(request, STR("authorization"));
    if (it->user_header.n != 0) {
        http_set_request_header(request, it->user_header, user->name);
        request->is_personal = true;
    }
}

/* -- checking ---------------------------------------------------------------------------------- */

static struct known *known_of(struct basic_auth *it, const struct http_request *request,
                              const struct basic_user *user)
{
    struct known **all = &it->known[loop_index(request->loop)];
    if (*all == NULL)
        *all = calloc(it->users.count, sizeof(**all));
    gw_assert(*all != NULL);
    return &(*all)[user - it->users.all];
}

static bool is_password(struct question *question)
{
    struct password_question *asked = CONTAINER_OF(question, struct password_question, question);
    bool right = password_is(asked->hash, asked->password);
    return right && asked->is_user;
}

static void on_checked(struct http_request *request, bool good, void *arg)
{
    struct visit *visit = arg;
    if (!good) {
        refuse(request, visit->auth, true);
        return;
    }
    struct known *known = known_of(visit->auth, request, visit->user);
    known->is_known = true;
    memcpy(known->code, visit->code, sizeof(known->code));
    let_pass(request, visit->auth, visit->user);
    http_middleware_next(request);
}

static void check(struct basic_auth *it, struct http_request *request,
                  const struct basic_user *user, struct str name, struct str password,
                  const uint8_t code[32])
{
    const struct basic_user *tried =
        user != NULL ? user : &it->users.all[siphash(name) % it->users.count];
    struct password_question *asked = calloc(1, sizeof(*asked));
    gw_assert(asked != NULL);
    asked->question = (struct question){.answer = is_password, .size = sizeof(*asked)};
    memcpy(asked->question.code, code, 32);
    asked->hash = tried->hash;
    asked->is_user = user != NULL;
    memcpy(asked->password, password.p, password.n);
    struct visit *visit = h2o_mem_alloc_pool(request->pool, sizeof(*visit));
    *visit = (struct visit){.auth = it, .user = user};
    memcpy(visit->code, code, 32);
    proofs_ask(it->proofs, request, &asked->question, on_checked, visit);
}

static bool arrive(struct http_middleware *middleware, struct http_request *request)
{
    struct basic_auth *it = CONTAINER_OF(middleware, struct basic_auth, middleware);
    char text[BASIC_TEXT_MAX];
    struct str field, name, password;
    uint8_t code[32];
    if (it->user_header.n != 0)
        http_remove_request_header(request, it->user_header);
    bool sent = only_header(request, STR("authorization"), &field);
    if (!sent || !basic_credentials(field, text, &name, &password)) {
        refuse(request, it, false);
        return false;
    }
    mac_make(&it->key, (const struct str[]){name, password}, 2, code);
    const struct basic_user *user = basic_users_find(&it->users, name);
    const struct known *known = user != NULL ? known_of(it, request, user) : NULL;
    bool passes = known != NULL && known->is_known && bytes_equal(known->code, code, 32);
    if (passes)
        let_pass(request, it, user);
    else
        check(it, request, user, name, password, code);
    explicit_bzero(text, sizeof(text));
    return passes;
}

/* -- made of the configuration ----------------------------------------------------------------- */

static void destroy(struct http_middleware *middleware)
{
    struct basic_auth *it = CONTAINER_OF(middleware, struct basic_auth, middleware);
    for (size_t i = 0; i < COUNT(it->known); i++)
        free(it->known[i]);
    basic_users_free(&it->users);
    free((char *)(uintptr_t)it->challenge.p);
    free((char *)(uintptr_t)it->user_header.p);
    free((char *)(uintptr_t)middleware->name);
    free(it);
}

static struct str make_challenge(struct str realm)
{
    char *text = h2o_mem_alloc(2 * realm.n + 48), *at = text;
    at = (char *)mempcpy(at, "Basic realm=\"", 13);
    for (size_t i = 0; i < realm.n; i++) {
        if (realm.p[i] == '"' || realm.p[i] == '\\')
            *at++ = '\\';
        *at++ = realm.p[i];
    }
    at = (char *)mempcpy(at, "\", charset=\"UTF-8\"", 18);
    return (struct str){text, (size_t)(at - text)};
}

void basic_auth_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    for (size_t i = 0; i < config->basic_auth_count; i++) {
        const struct config_basic_auth *from = &config->basic_auths[i];
        struct basic_auth *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        *it = (struct basic_auth){.middleware = {.name = middleware_name("basic_auth", from->name),
                                                 .arrive = arrive,
                                                 .reply = keep_private,
                                                 .destroy = destroy},
                                  .proofs = all->proofs,
                                  .challenge = make_challenge(from->realm),
                                  .forward = from->forward};
        random_bytes(&it->key, sizeof(it->key));
        it->user_header =
            request_header_name(from->user_header, config_pos(config, &from->user_header), diag);
        basic_users_read(&it->users, config, from, diag);
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
