/* Forms: which requests must show a token, which tokens are good, what a page and a refusal look
 * like to a browser. */
#include "tests/unit/http_live.h"

#include <time.h>

#define COOKIE  "AAECAwQFBgcICQoLDA0ODw"
#define ANOTHER "__79_Pv6-fj39vX08_Lx8A"

static struct secret secret;
static struct http_server server;
static h2o_mem_pool_t pool;

static int setup(void **state)
{
    static const struct config config;
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

static void test_a_token_is_good_for_its_cookie_until_its_time(void **state)
{
    (void)state;
    const struct key *key = &server.auth.forms;
    char token[CSRF_TOKEN_LENGTH + 1], changed[CSRF_TOKEN_LENGTH + 2];
    csrf_make(key, STR(COOKIE), 1000, token);
    assert_int_equal(strlen(token), CSRF_TOKEN_LENGTH);
    assert_true(csrf_valid(key, STR(COOKIE), str_from(token), 0));
    assert_true(csrf_valid(key, STR(COOKIE), str_from(token), 999));
    assert_false(csrf_valid(key, STR(COOKIE), str_from(token), 1000));
    assert_false(csrf_valid(key, STR(ANOTHER), str_from(token), 0));
    assert_false(csrf_valid(key, STR(""), str_from(token), 0));
    assert_false(csrf_valid(&server.auth.links, STR(COOKIE), str_from(token), 0));
    for (size_t i = 0; i < CSRF_TOKEN_LENGTH; i++)
        for (int bit = 0; bit < 8; bit++) {
            strcpy(changed, token);
            changed[i] = (char)(changed[i] ^ 1 << bit);
            assert_false(csrf_valid(key, STR(COOKIE), (struct str){changed, strlen(token)}, 0));
        }
    for (size_t n = 0; n < CSRF_TOKEN_LENGTH; n++)
        assert_false(csrf_valid(key, STR(COOKIE), (struct str){token, n}, 0));
    snprintf(changed, sizeof(changed), "%sA", token);
    assert_false(csrf_valid(key, STR(COOKIE), str_from(changed), 0));
    csrf_make(key, STR(COOKIE), UINT64_MAX, token);
    assert_true(csrf_valid(key, STR(COOKIE), str_from(token), UINT64_MAX - 1));
}

static void test_who_must_show_a_token(void **state)
{
    (void)state;
    char good[CSRF_TOKEN_LENGTH + 1], old[CSRF_TOKEN_LENGTH + 1], others[CSRF_TOKEN_LENGTH + 1];
    uint64_t now_s = (uint64_t)time(NULL);
    csrf_make(&server.auth.forms, STR(COOKIE), now_s + 1000, good);
    csrf_make(&server.auth.forms, STR(COOKIE), now_s - 1, old);
    csrf_make(&server.auth.forms, STR(ANOTHER), now_s + 1000, others);
    const char *const ours = "a=1; gw_csrf=" COOKIE;
    const struct {
        const char *what, *cookie, *authorization, *site, *origin, *header, *field;
        enum http_csrf answer;
    } rows[] = {
        {"curl", NULL, NULL, NULL, NULL, NULL, "", CSRF_FINE},
        {"curl with a token for APIs", NULL, "Bearer x", NULL, NULL, NULL, "", CSRF_FINE},
        {"a client with both", ours, "Bearer x", NULL, NULL, NULL, "", CSRF_FINE},
        {"a page of ours, no cookies", NULL, NULL, "same-origin", "http://a:80", NULL, "",
         CSRF_FINE},
        {"typed by its user", NULL, NULL, "none", NULL, NULL, "", CSRF_FINE},
        {"an elder browser, no cookies", NULL, NULL, NULL, "http://A:80", NULL, "", CSRF_FINE},

        {"the field is yet to come", ours, NULL, "same-origin", NULL, NULL, "", CSRF_NEEDED},
        {"the field", ours, NULL, "same-origin", NULL, NULL, good, CSRF_FINE},
        {"the header", ours, NULL, "same-origin", NULL, good, "", CSRF_FINE},
        {"the field counts", ours, NULL, "same-origin", NULL, good, "x", CSRF_WRONG},
        {"too old", ours, NULL, "same-origin", NULL, NULL, old, CSRF_WRONG},
        {"another visitor's", ours, NULL, NULL, NULL, NULL, others, CSRF_WRONG},
        {"no token at all", ours, NULL, NULL, NULL, NULL, "open sesame", CSRF_WRONG},
        {"some cookie, no token", "a=1", NULL, NULL, NULL, NULL, "", CSRF_NEEDED},
        {"some cookie, a token", "a=1", NULL, NULL, NULL, NULL, good, CSRF_WRONG},
        {"a cookie that isn't ours", "gw_csrf=x", NULL, NULL, NULL, NULL, good, CSRF_WRONG},

        {"another site", NULL, NULL, "cross-site", NULL, NULL, "", CSRF_WRONG},
        {"a neighbour", NULL, NULL, "same-site", NULL, NULL, "", CSRF_WRONG},
        {"a neighbour's own cookie", ours, NULL, "same-site", NULL, NULL, good, CSRF_WRONG},
        {"another site, logged in", ours, "Basic eDp5", "cross-site", NULL, NULL, "", CSRF_WRONG},
        {"an elder browser", NULL, NULL, NULL, "http://b", NULL, "", CSRF_WRONG},
        {"an elder browser, logged in", NULL, "Basic eDp5", NULL, "http://b", NULL, "", CSRF_WRONG},
        {"a frame of nowhere", NULL, NULL, NULL, "null", NULL, "", CSRF_WRONG},
        {"another port", NULL, NULL, NULL, "http://a:81", NULL, "", CSRF_WRONG},
        {"a longer name", NULL, NULL, NULL, "http://a:80.evil", NULL, "", CSRF_WRONG},
        {"a shorter name", NULL, NULL, NULL, "http://a", NULL, "", CSRF_WRONG},
        {"nothing", NULL, NULL, NULL, "", NULL, "", CSRF_WRONG},
        {"behind a proxy that changes Host", ours, NULL, NULL, "http://b", NULL, good, CSRF_FINE},
        {"the same, before its field", ours, NULL, NULL, "http://b", NULL, "", CSRF_NEEDED},
        {"the browser knows better", ours, NULL, "same-origin", "http://b", NULL, good, CSRF_FINE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct {
            const char *name, *value;
        } fields[] = {{"authorization", rows[i].authorization},
                      {"sec-fetch-site", rows[i].site},
                      {"origin", rows[i].origin},
                      {"x-csrf-token", rows[i].header}};
        h2o_headers_t headers = {NULL};
        struct http_request request = {
            .pool = &pool, .server = &server, .headers = &headers, .host = STR("a:80")};
        if (rows[i].cookie != NULL)
            h2o_add_header(&pool, &headers, H2O_TOKEN_COOKIE, NULL, rows[i].cookie,
                           strlen(rows[i].cookie));
        for (size_t k = 0; k < COUNT(fields); k++)
            if (fields[k].value != NULL)
                h2o_add_header_by_str(&pool, &headers, fields[k].name, strlen(fields[k].name), 1,
                                      NULL, fields[k].value, strlen(fields[k].value));
        enum http_csrf got = http_csrf_check(&request, str_from(rows[i].field));
        if (got != rows[i].answer)
            fail_msg("%s: %d", rows[i].what, got);
    }
}

/* -- what browsers get ------------------------------------------------------------------------- */

static void form(struct http_request *request, void *arg)
{
    struct out out;
    (void)arg;
    struct str token = http_csrf_token(request), again = http_csrf_token(request);
    out_init(&out, request->pool, 0);
    out_str(&out, token);
    out_str(&out, STR("\n"));
    out_str(&out, again);
    http_reply(request, 200, "text/plain", &out);
}

static void take(struct http_request *request, void *arg)
{
    (void)arg;
    if (http_csrf_check(request, (struct str){"", 0}) == CSRF_FINE)
        http_reply(request, 204, NULL, NULL);
    else
        http_csrf_refuse(request);
}

static void test_a_form_and_its_answer(void **state)
{
    static struct config config;
    struct live live = {.http = NULL};
    struct pos at = {0};
    char cookie[64] = "", token[2][CSRF_TOKEN_LENGTH + 1], fields[512];
    const char *answer, *line;
    (void)state;
    live_create(&live, &config, &secret);
    http_route_add(live.server, "form", HTTP_GET, STR("/form"), form, NULL, at, live.diag);
    http_route_add(live.server, "take", HTTP_POST, STR("/take"), take, NULL, at, live.diag);
    live_listen(&live);

    /* A first visit sets one cookie, whatever the number of forms. */
    answer = live_ask(&live, "GET /form", "");
    line = strstr(answer, "set-cookie: gw_csrf=");
    assert_non_null(line);
    assert_null(strstr(line + 1, "set-cookie"));
    snprintf(cookie, sizeof(cookie), "%.30s", line + strlen("set-cookie: "));
    assert_memory_equal(line + strlen("set-cookie: ") + 30, "; Path=/; HttpOnly; SameSite=Lax\r\n",
                        strlen("; Path=/; HttpOnly; SameSite=Lax\r\n"));
    assert_int_equal(sscanf(strstr(answer, "\r\n\r\n"), " %54s %54s", token[0], token[1]), 2);
    snprintf(fields, sizeof(fields), "Cookie: %s\r\nX-CSRF-Token: %s\r\nContent-Length: 0\r\n",
             cookie, token[0]);
    assert_has(live_ask(&live, "POST /take", fields), "HTTP/1.1 204 No Content\r\n");
    snprintf(fields, sizeof(fields), "Cookie: %s\r\nX-CSRF-Token: %s\r\nContent-Length: 0\r\n",
             cookie, token[1]);
    assert_has(live_ask(&live, "POST /take", fields), "HTTP/1.1 204 No Content\r\n");

    /* A second one keeps it. */
    snprintf(fields, sizeof(fields), "Cookie: x=y; %s\r\n", cookie);
    answer = live_ask(&live, "GET /form", fields);
    assert_lacks(answer, "set-cookie");
    assert_int_equal(sscanf(strstr(answer, "\r\n\r\n"), " %54s", token[0]), 1);
    snprintf(fields, sizeof(fields), "Cookie: %s\r\nX-CSRF-Token: %s\r\nContent-Length: 0\r\n",
             cookie, token[0]);
    assert_has(live_ask(&live, "POST /take", fields), "HTTP/1.1 204 No Content\r\n");

    /* Two visitors, two cookies; a cookie that can't be ours is replaced. */
    answer = live_ask(&live, "GET /form", "Cookie: gw_csrf=\"open sesame\"\r\n");
    assert_has(answer, "set-cookie: gw_csrf=");
    assert_lacks(answer, cookie);

    snprintf(fields, sizeof(fields), "Cookie: %s\r\nAccept: text/html\r\nContent-Length: 0\r\n",
             cookie);
    answer = live_ask(&live, "POST /take", fields);
    assert_has(answer, "HTTP/1.1 403 Forbidden\r\n");
    assert_has(answer, "<h1>This form could not be taken</h1>");
    assert_has(answer, "Allow cookies for this site, reload the page");
    snprintf(fields, sizeof(fields),
             "Sec-Fetch-Site: cross-site\r\nAccept: application/json\r\nContent-Length: 0\r\n");
    answer = live_ask(&live, "POST /take", fields);
    assert_has(answer, "HTTP/1.1 403 Forbidden\r\n");
    assert_has(answer, "\"type\":\"/problems/csrf\"");
    assert_has(live_ask(&live, "POST /take", "Content-Length: 0\r\n"), "HTTP/1.1 204 ");
    live_destroy(&live);
}

/* As a proxy that has TLS and is trusted says, and nobody else. */
static void test_a_cookie_that_came_by_tls_stays_there(void **state)
{
    static const struct {
        bool trusted;
        const char *field, *value, *attributes;
    } rows[] = {
        {true, "x-forwarded-proto", "https", "; Path=/; HttpOnly; SameSite=Lax; Secure"},
        {true, "forwarded", "for=1.2.3.4;proto=https", "; Path=/; HttpOnly; SameSite=Lax; Secure"},
        {true, "x-forwarded-proto", "http", "; Path=/; HttpOnly; SameSite=Lax"},
        {true, "accept", "*/*", "; Path=/; HttpOnly; SameSite=Lax"},
        {false, "x-forwarded-proto", "https", "; Path=/; HttpOnly; SameSite=Lax"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        h2o_req_t req = {.pool = {NULL}};
        h2o_headers_t headers = {NULL};
        struct http_conn conn = {.trusted = rows[i].trusted};
        struct http_request request = {.h2o = &req,
                                       .pool = &pool,
                                       .server = &server,
                                       .conn = &conn,
                                       .headers = &headers,
                                       .scheme = STR("http")};
        h2o_add_header_by_str(&pool, &headers, rows[i].field, strlen(rows[i].field), 1, NULL,
                              rows[i].value, strlen(rows[i].value));
        http_csrf_token(&request);
        assert_int_equal(req.res.headers.size, 1);
        h2o_iovec_t line = req.res.headers.entries[0].value;
        assert_int_equal(line.len, 30 + strlen(rows[i].attributes));
        assert_memory_equal(line.base + 30, rows[i].attributes, line.len - 30);
    }
}

/* A page of ours whose proxy changes Host needs no more than one without a proxy. */
static void test_an_origin_is_compared_with_the_host_that_the_client_asked_for(void **state)
{
    static const struct {
        bool trusted;
        const char *origin;
        enum http_csrf answer;
    } rows[] = {
        {true, "https://shop.example", CSRF_FINE},
        {true, "https://evil.example", CSRF_WRONG},
        {true, "http://inner:8080", CSRF_WRONG},
        {false, "https://shop.example", CSRF_WRONG},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        h2o_headers_t headers = {NULL};
        struct http_conn conn = {.trusted = rows[i].trusted};
        struct http_request request = {.pool = &pool,
                                       .server = &server,
                                       .conn = &conn,
                                       .headers = &headers,
                                       .host = STR("inner:8080"),
                                       .scheme = STR("http")};
        h2o_add_header_by_str(&pool, &headers, "x-forwarded-host", 16, 1, NULL,
                              H2O_STRLIT("shop.example"));
        h2o_add_header_by_str(&pool, &headers, "origin", 6, 1, NULL, rows[i].origin,
                              strlen(rows[i].origin));
        assert_int_equal(http_csrf_check(&request, STR("")), rows[i].answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_is_good_for_its_cookie_until_its_time),
        cmocka_unit_test(test_who_must_show_a_token),
        cmocka_unit_test(test_a_form_and_its_answer),
        cmocka_unit_test(test_a_cookie_that_came_by_tls_stays_there),
        cmocka_unit_test(test_an_origin_is_compared_with_the_host_that_the_client_asked_for),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
