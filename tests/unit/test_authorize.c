/* Who may: tokens and signed links as a handler asks about them, and what those get who may not. */
#include "tests/unit/http_live.h"

#include "http/signed_url.h"

/* sha256 of "open-sesame" and "letmein". */
#define OPEN_SESAME "sha256:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7"
#define LETMEIN     "sha256:1c8bfe8f801d79745c4631d09fff36c82aa37fc4cce4fc946683d7b336b63032"

static struct config_token tokens[] = {
    {.name = {"ci", 2}, .digest = {OPEN_SESAME, 71}},
    {.name = {"spoilt", 6}, .digest = {"sha256:", 7}},
    {.name = {"ops", 3}, .digest = {LETMEIN, 71}},
};
static struct secret secret;
static struct http_server server;
static h2o_mem_pool_t pool;

static int setup(void **state)
{
    static struct config config = {.tokens = tokens, .token_count = COUNT(tokens)};
    (void)state;
    assert_true(secret_from_text(STR("correct horse battery staple now"), &secret));
    server.config = &config;
    auth_init(&server.auth, &config, &secret);
    h2o_mem_init_pool(&pool);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    auth_fini(&server.auth);
    h2o_mem_clear_pool(&pool);
    return 0;
}

static enum auth_verdict judge(enum config_auth auth, enum http_right right, const char *field,
                               struct str query, const char *user)
{
    h2o_headers_t headers = {NULL};
    struct http_request request = {
        .pool = &pool, .server = &server, .headers = &headers, .path = STR("/f"), .query = query};
    if (field != NULL)
        h2o_add_header_by_str(&pool, &headers, "authorization", 13, 1, NULL, field, strlen(field));
    enum auth_verdict verdict = auth_judge(&request, auth, right, 5000);
    if (!str_eq(request.user, str_from(user)))
        fail_msg("%s is \"%.*s\"", field, (int)request.user.n, request.user.p);
    return verdict;
}

static void test_a_bearer_token_is_known_by_its_digest(void **state)
{
    (void)state;
    static const struct {
        const char *field, *user;
        enum auth_verdict verdict;
    } rows[] = {
        {"Bearer open-sesame", "token:ci", VERDICT_FINE},
        {"Bearer letmein", "token:ops", VERDICT_FINE},
        {"bEARER   letmein  ", "token:ops", VERDICT_FINE},
        {"Bearer Letmein", "", VERDICT_TOKEN_INVALID},
        {"Bearer letmei", "", VERDICT_TOKEN_INVALID},
        {"Bearer letmein2", "", VERDICT_TOKEN_INVALID},
        {"Bearer letmein, Bearer letmein", "", VERDICT_TOKEN_INVALID},
        {"Bearer " LETMEIN, "", VERDICT_TOKEN_INVALID},
        {"Bearer ", "", VERDICT_TOKEN_NEEDED},
        {"Bearer", "", VERDICT_TOKEN_NEEDED},
        {"Bearerletmein", "", VERDICT_TOKEN_NEEDED},
        {"letmein", "", VERDICT_TOKEN_NEEDED},
        {"Basic bGV0bWVpbg==", "", VERDICT_TOKEN_NEEDED},
        {"", "", VERDICT_TOKEN_NEEDED},
        {NULL, "", VERDICT_TOKEN_NEEDED},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum auth_verdict got =
            judge(AUTH_TOKEN, HTTP_MAY_WRITE, rows[i].field, STR(""), rows[i].user);
        if (got != rows[i].verdict)
            fail_msg("%s: %d", rows[i].field, got);
    }
    assert_int_equal(server.auth.token_count, 2); /* the spoilt one is nobody's */
}

static void test_public_lets_everybody_pass_and_knows_who_says_so(void **state)
{
    (void)state;
    assert_int_equal(judge(AUTH_PUBLIC, HTTP_MAY_WRITE, NULL, STR(""), ""), VERDICT_FINE);
    assert_int_equal(judge(AUTH_PUBLIC, HTTP_MAY_WRITE, "Bearer x", STR(""), ""), VERDICT_FINE);
    assert_int_equal(judge(AUTH_PUBLIC, HTTP_MAY_WRITE, "Bearer letmein", STR(""), "token:ops"),
                     VERDICT_FINE);
}

static void test_signed_takes_a_link_or_a_token(void **state)
{
    (void)state;
    struct http_request request = {.pool = &pool, .server = &server};
    struct str url = http_signed_url(&request, HTTP_MAY_READ, STR("/f"), STR("a=1"), 5001);
    struct str good = {url.p + 3, url.n - 3};
    assert_memory_equal(url.p, "/f?a=1&expires=5001&sig=", 24);
    url = http_signed_url(&request, HTTP_MAY_READ, STR("/f"), STR(""), 5000);
    struct str old = {url.p + 3, url.n - 3};
    url = http_signed_url(&request, HTTP_MAY_READ, STR("/g"), STR(""), 5001);
    struct str other = {url.p + 3, url.n - 3};
    const struct {
        struct str query;
        enum http_right right;
        const char *field, *user;
        enum auth_verdict verdict;
    } rows[] = {
        {good, HTTP_MAY_READ, NULL, "", VERDICT_FINE},
        {good, HTTP_MAY_READ, "Basic eDp5", "", VERDICT_FINE},
        {good, HTTP_MAY_READ, "Bearer mistyped", "", VERDICT_FINE},
        {good, HTTP_MAY_READ, "Bearer letmein", "token:ops", VERDICT_FINE},
        {good, HTTP_MAY_WRITE, NULL, "", VERDICT_LINK_INVALID},
        {good, HTTP_MAY_WRITE, "Bearer letmein", "token:ops", VERDICT_FINE},
        {old, HTTP_MAY_READ, NULL, "", VERDICT_LINK_EXPIRED},
        {old, HTTP_MAY_READ, "Bearer letmein", "token:ops", VERDICT_FINE},
        {other, HTTP_MAY_READ, NULL, "", VERDICT_LINK_INVALID},
        {STR("a=1"), HTTP_MAY_READ, NULL, "", VERDICT_LINK_NEEDED},
        {STR(""), HTTP_MAY_READ, NULL, "", VERDICT_LINK_NEEDED},
        {STR(""), HTTP_MAY_READ, "Bearer x", "", VERDICT_TOKEN_INVALID},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum auth_verdict got =
            judge(AUTH_SIGNED, rows[i].right, rows[i].field, rows[i].query, rows[i].user);
        if (got != rows[i].verdict)
            fail_msg("row %zu: %d", i, got);
    }
    /* A link is nothing to who asks for a token. */
    assert_int_equal(judge(AUTH_TOKEN, HTTP_MAY_READ, NULL, good, ""), VERDICT_TOKEN_NEEDED);
}

static void test_a_server_without_a_secret_takes_no_link(void **state)
{
    (void)state;
    struct http_server checking = {.config = server.config}, again = {.config = server.config};
    struct http_request request = {.pool = &pool, .server = &checking, .path = STR("/f")};
    h2o_headers_t headers = {NULL};
    request.headers = &headers;
    auth_init(&checking.auth, server.config, NULL);
    auth_init(&again.auth, server.config, NULL);
    struct str url = http_signed_url(&request, HTTP_MAY_READ, STR("/f"), STR(""), 5001);
    request.query = (struct str){url.p + 3, url.n - 3};
    request.server = &again;
    assert_int_equal(auth_judge(&request, AUTH_SIGNED, HTTP_MAY_READ, 1), VERDICT_LINK_INVALID);
    auth_fini(&checking.auth);
    auth_fini(&again.auth);
}

static void test_token_without_tokens_is_a_configuration_error(void **state)
{
    (void)state;
    static const struct config nobody;
    struct http_server without = {.config = &nobody};
    struct diag *diag = diag_create();
    char *errors;
    size_t n;
    http_check_auth(&without, AUTH_PUBLIC, (struct pos){"t", 1, 2}, diag);
    http_check_auth(&without, AUTH_SIGNED, (struct pos){"t", 1, 2}, diag);
    http_check_auth(&server, AUTH_TOKEN, (struct pos){"t", 1, 2}, diag);
    assert_int_equal(diag_errors(diag), 0);
    http_check_auth(&without, AUTH_TOKEN, (struct pos){"t", 3, 8}, diag);
    FILE *to = open_memstream(&errors, &n);
    diag_print(diag, to);
    fclose(to);
    assert_string_equal(errors,
                        "t:3:8: error: auth: \"token\" needs a [tokens.NAME] (`gateway token "
                        "NAME` prints one); or say auth = \"signed\" or \"public\"\n");
    free(errors);
    diag_destroy(&diag);
}

/* -- what is answered -------------------------------------------------------------------------- */

static void tell_user(struct http_request *request, void *arg)
{
    const enum config_auth *auth = arg;
    struct out out;
    enum http_right right = str_eq(request->method, STR("GET")) ? HTTP_MAY_READ : HTTP_MAY_WRITE;
    if (!http_authorize(request, *auth, right))
        return;
    out_init(&out, request->pool, 0);
    out_str(&out, STR("user="));
    out_str(&out, request->user);
    http_reply(request, 200, "text/plain", &out);
}

static void test_who_may_not_is_told_why(void **state)
{
    (void)state;
    static enum config_auth by_token = AUTH_TOKEN, by_link = AUTH_SIGNED;
    struct config config = {.tokens = tokens, .token_count = COUNT(tokens)};
    struct live live = {.http = NULL};
    char line[256];
    struct pos at = {0};
    const char *answer;
    live_create(&live, &config, &secret);
    http_route_add(live.server, "t", HTTP_GET, STR("/t"), tell_user, &by_token, at, live.diag);
    http_route_add(live.server, "l", HTTP_GET | HTTP_POST, STR("/l"), tell_user, &by_link, at,
                   live.diag);
    live_listen(&live);

    answer = live_ask(&live, "GET /t", "Authorization: Bearer letmein\r\n");
    assert_has(answer, "HTTP/1.1 200 OK\r\n");
    assert_has(answer, "\r\n\r\nuser=token:ops");
    answer = live_ask(&live, "GET /t", "Accept: application/json\r\n");
    assert_has(answer, "HTTP/1.1 401 Unauthorized\r\n");
    assert_has(answer, "\r\nwww-authenticate: Bearer realm=\"gateway\"\r\n");
    assert_has(answer, "\r\ncontent-type: application/problem+json\r\n");
    assert_has(answer, "\"type\":\"/problems/token-needed\"");
    answer = live_ask(&live, "GET /t", "Authorization: Bearer x\r\nAccept: text/html\r\n");
    assert_has(answer, "HTTP/1.1 401 Unauthorized\r\n");
    assert_has(answer,
               "\r\nwww-authenticate: Bearer realm=\"gateway\", error=\"invalid_token\"\r\n");
    assert_has(answer, "<h1>This token is not known here</h1>");
    assert_has(answer, "\r\ncache-control: no-store\r\n");

    answer = live_ask(&live, "GET /l", "Accept: application/json\r\n");
    assert_has(answer, "HTTP/1.1 403 Forbidden\r\n");
    assert_lacks(answer, "www-authenticate");
    assert_has(answer, "\"type\":\"/problems/link-needed\"");
    struct http_request signer = {.pool = &pool, .server = live.server};
    struct str url =
        http_signed_url(&signer, HTTP_MAY_READ, STR("/l"), STR("a=%C3%A4"), UINT64_MAX);
    snprintf(line, sizeof(line), "GET %.*s", (int)url.n, url.p);
    answer = live_ask(&live, line, "");
    assert_has(answer, "HTTP/1.1 200 OK\r\n");
    assert_has(answer, "\r\n\r\nuser=");
    snprintf(line, sizeof(line), "POST %.*s", (int)url.n, url.p);
    answer = live_ask(&live, line, "Content-Length: 0\r\nAccept: application/json\r\n");
    assert_has(answer, "HTTP/1.1 403 Forbidden\r\n");
    assert_has(answer, "\"type\":\"/problems/link-invalid\"");
    url = http_signed_url(&signer, HTTP_MAY_WRITE, STR("/l"), STR(""), UINT64_MAX);
    snprintf(line, sizeof(line), "POST %.*s", (int)url.n, url.p);
    assert_has(live_ask(&live, line, "Content-Length: 0\r\n"), "HTTP/1.1 200 OK\r\n");
    url = http_signed_url(&signer, HTTP_MAY_READ, STR("/l"), STR(""), 1);
    snprintf(line, sizeof(line), "GET %.*s", (int)url.n, url.p);
    answer = live_ask(&live, line, "Accept: text/html\r\n");
    assert_has(answer, "HTTP/1.1 403 Forbidden\r\n");
    assert_has(answer, "<h1>This link has expired</h1>");
    live_destroy(&live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bearer_token_is_known_by_its_digest),
        cmocka_unit_test(test_public_lets_everybody_pass_and_knows_who_says_so),
        cmocka_unit_test(test_signed_takes_a_link_or_a_token),
        cmocka_unit_test(test_a_server_without_a_secret_takes_no_link),
        cmocka_unit_test(test_token_without_tokens_is_a_configuration_error),
        cmocka_unit_test(test_who_may_not_is_told_why),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
