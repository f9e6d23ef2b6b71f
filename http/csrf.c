/* Forms that only pages of ours can send with a visitor's browser (cross-site request forgery).
 *
 * A page carries a token: a time, and a MAC over it and over a random cookie of the visitor's. A
 * stranger's page has the visitor's browser send the cookie, but can't read the token. Nothing is
 * kept here, so any process that has the secret can check it. Who sends no cookie has nothing that
 * could be misused, unless the browser itself says that another site is behind it. */
#include "http/http_internal.h"

#include <time.h>

#define COOKIE_NAME "gw_csrf"

enum { COOKIE_BYTES = 16, COOKIE_LENGTH = 22, MAC_SIZE = 32, VALID_S = 12 * 3600 };

/* -- tokens ------------------------------------------------------------------------------------ */

/* What a token is the base64url of. */
struct token {
    uint8_t expires[8]; /* seconds since 1970, big-endian */
    uint8_t mac[MAC_SIZE];
};

static void make_mac(const struct key *key, struct str cookie, struct token *token,
                     uint8_t mac_r[MAC_SIZE])
{
    const struct str parts[] = {cookie, {(const char *)token->expires, sizeof(token->expires)}};
    mac_make(key, parts, COUNT(parts), mac_r);
}

void csrf_make(const struct key *key, struct str cookie, uint64_t expires_s,
               char text_r[CSRF_TOKEN_LENGTH + 1])
{
    struct token token;
    for (unsigned i = 0; i < sizeof(token.expires); i++)
        token.expires[i] = (uint8_t)(expires_s >> (56 - 8 * i));
    make_mac(key, cookie, &token, token.mac);
    size_t n = base64url_encode(&token, sizeof(token), text_r);
    gw_assert(n == CSRF_TOKEN_LENGTH);
}

bool csrf_valid(const struct key *key, struct str cookie, struct str text, uint64_t now_s)
{
    uint8_t bytes[CSRF_TOKEN_LENGTH], mac[MAC_SIZE];
    struct token token;
    uint64_t expires_s = 0;
    size_t n;
    if (text.n != CSRF_TOKEN_LENGTH || !base64url_decode(text, bytes, &n))
        return false;
    gw_assert(n == sizeof(token));
    memcpy(&token, bytes, sizeof(token));
    for (unsigned i = 0; i < sizeof(token.expires); i++)
        expires_s = expires_s << 8 | token.expires[i];
    make_mac(key, cookie, &token, mac);
    return bytes_equal(mac, token.mac, MAC_SIZE) && now_s < expires_s;
}

/* -- requests ---------------------------------------------------------------------------------- */

/* The visitor's cookie, when it is one of ours. */
static struct str find_cookie(const struct http_request *request)
{
    uint8_t bytes[COOKIE_LENGTH];
    size_t n;
    struct str cookie = http_cookie(request, STR(COOKIE_NAME));
    if (cookie.n != COOKIE_LENGTH || !base64url_decode(cookie, bytes, &n))
        return (struct str){NULL, 0};
    return cookie;
}

static struct str make_cookie(struct http_request *request)
{
    static const char name[] = COOKIE_NAME "=";
    uint8_t bytes[COOKIE_BYTES];
    struct str rest = str_eq(forwarded_proto(request), STR("https"))
                          ? STR("; Path=/; HttpOnly; SameSite=Lax; Secure")
                          : STR("; Path=/; HttpOnly; SameSite=Lax");
    size_t name_n = sizeof(name) - 1, n = name_n + COOKIE_LENGTH;
    char *line = h2o_mem_alloc_pool(request->pool, n + rest.n + 1);
    random_bytes(bytes, sizeof(bytes));
    memcpy(line, name, name_n);
    base64url_encode(bytes, sizeof(bytes), line + name_n);
    memcpy(line + n, rest.p, rest.n);
    http_add_header(request, "set-cookie", (struct str){line, n + rest.n});
    return (struct str){line + name_n, COOKIE_LENGTH};
}

struct str http_csrf_token(struct http_request *request)
{
    if (request->csrf_cookie.n == 0)
        request->csrf_cookie = find_cookie(request);
    if (request->csrf_cookie.n == 0)
        request->csrf_cookie = make_cookie(request);
    char *text = h2o_mem_alloc_pool(request->pool, CSRF_TOKEN_LENGTH + 1);
    csrf_make(&request->server->auth.forms, request->csrf_cookie, (uint64_t)time(NULL) + VALID_S,
              text);
    return (struct str){text, CSRF_TOKEN_LENGTH};
}

/* An Origin that isn't this host, "null" included (RFC 6454 section 6.2). A proxy that changes Host
 * and isn't trusted makes this of our own pages too, so it isn't the last word. */
static bool of_another_host(const struct http_request *request, struct str origin)
{
    const char *slashes = memmem(origin.p, origin.n, "://", 3);
    if (slashes == NULL)
        return true;
    struct str host = {slashes + 3, origin.n - (size_t)(slashes + 3 - origin.p)};
    return !str_caseeq(host, forwarded_host(request));
}

enum http_csrf http_csrf_check(struct http_request *request, struct str token)
{
    struct str site = http_header(request, STR("sec-fetch-site"));
    struct str origin = http_header(request, STR("origin"));
    bool has_cookies = http_header(request, STR("cookie")).p != NULL;
    bool needed = has_cookies && http_header(request, STR("authorization")).p == NULL;
    /* The browser knows. A token can't outweigh it: a neighbour under the same domain can give a
     * visitor its own cookie, and the token that goes with it. */
    if (str_eq(site, STR("cross-site")) || str_eq(site, STR("same-site")))
        return CSRF_WRONG;
    bool foreign = site.p == NULL && origin.p != NULL && of_another_host(request, origin);
    if (!needed && !foreign)
        return CSRF_FINE;
    if (token.n == 0)
        token = http_header(request, STR("x-csrf-token"));
    if (token.n == 0)
        return has_cookies ? CSRF_NEEDED : CSRF_WRONG;
    struct str cookie = find_cookie(request);
    return cookie.n != 0 &&
                   csrf_valid(&request->server->auth.forms, cookie, token, (uint64_t)time(NULL))
               ? CSRF_FINE
               : CSRF_WRONG;
}

void http_csrf_refuse(struct http_request *request)
{
    struct http_problem problem = {
        .status = 403,
        .type = "csrf",
        .title = "This form could not be taken",
        .detail = STR("It did not come from a page of this site that is still good: the page may "
                      "have been open too long, cookies may be off, or another site sent it. "
                      "Allow cookies for this site, reload the page with the form, and send it "
                      "again. Programs send a token (Authorization) or no cookies.")};
    http_problem_reply(request, &problem);
}
