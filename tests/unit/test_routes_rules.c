/* What routes/ makes of paths and headers, there and back, and of its configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "routes/routes_internal.h"

static const char UPSTREAMS[] = "[upstreams.plain]\nurl = 'http://shop:9101'\n"
                                "[upstreams.based]\nurl = 'http://shop:80/base/'\n"
                                "[upstreams.secure]\nurl = 'https://me:${SECRET}@shop'\n"
                                "deadline_header = 'X-Left'\n"
                                "[upstreams.secure.set_headers]\nX-Key = '${SECRET}'\n"
                                "[upstreams.local]\nurl = 'unix:/tmp/s'\n";

/* What a configuration comes to. */
struct fixture {
    struct diag *diag;
    struct config *config;
    struct upstreams *ups;
    struct http_server *server;
    struct routing *routing;
    h2o_mem_pool_t pool;
};

static void create(struct fixture *fixture, const char *routes)
{
    static char text[4096];
    snprintf(text, sizeof(text), "%s%s", UPSTREAMS, routes);
    fixture->diag = diag_create();
    fixture->config = config_parse(str_from(text), "t", "/tmp", fixture->diag);
    fixture->ups = upstreams_create(fixture->config, fixture->diag);
    fixture->server = http_server_create(fixture->config, NULL, NULL, NULL, NULL, fixture->diag);
    fixture->routing =
        routing_create(fixture->config, fixture->ups, fixture->server, fixture->diag);
    h2o_mem_init_pool(&fixture->pool);
}

static void destroy(struct fixture *fixture)
{
    h2o_mem_clear_pool(&fixture->pool);
    routing_destroy(&fixture->routing);
    http_server_destroy(&fixture->server);
    upstreams_destroy(&fixture->ups);
    config_destroy(&fixture->config);
    diag_destroy(&fixture->diag);
}

static void create_route(struct fixture *fixture, const char *upstream, const char *path,
                         const char *to)
{
    char text[256];
    snprintf(text, sizeof(text), "[routes.r]\nupstream = '%s'\npath = '%s'\nto = '%s'\n", upstream,
             path, to);
    create(fixture, text);
    if (diag_errors(fixture->diag) != 0)
        diag_print(fixture->diag, stderr);
    assert_int_equal(diag_errors(fixture->diag), 0);
    assert_int_equal(fixture->routing->count, 1);
}

static void assert_text(struct str got, const char *wanted, const char *of)
{
    if (!str_eq(got, str_from(wanted)))
        fail_msg("%s: \"%.*s\", not \"%s\"", of, (int)got.n, got.p, wanted);
}

/* -- paths ------------------------------------------------------------------------------------- */

static void test_paths_that_climb(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool climbs;
    } cases[] = {
        {"/", false},          {"/a/b", false},        {"/a.b/..c/d..", false},
        {"/...", false},       {"/a%2Fb", false},      {"/a%2e", false},
        {"/%2e%2e%2e", false}, {"/a/;x/b", false},     {"/a;../b", false},
        {"/.a", false},        {"/%252e%252e", false}, {"/..%2Fx", true},
        {"/a/..%2fx", true},   {"/a%2F..", true},      {"/a%2f..%2fb", true},
        {"/a%5C..%5cb", true}, {"/a\\..\\b", true},    {"/a/..;/b", true},
        {"/a/..;x=1", true},   {"/a/.%2f", true},      {"/a/%2e%2e%3b/b", true},
        {"/a/..\\", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (target_climbs(str_from(cases[i].path)) != cases[i].climbs)
            fail_msg("\"%s\" %s", cases[i].path, cases[i].climbs ? "climbs" : "doesn't climb");
}

static void test_targets_go_up(void **state)
{
    (void)state;
    static const struct {
        const char *path, *to, *target, *up;
    } cases[] = {
        {"/", "", "/", "/"},
        {"/", "", "/a?b=c", "/a?b=c"},
        {"/", "", "/a%2Fb%20c?", "/a%2Fb%20c?"},
        {"/shop", "", "/shop", "/shop"},
        {"/shop/", "", "/shop/x", "/shop/x"},
        {"/shop", "", "/sh%6Fp/x", "/sh%6Fp/x"},
        {"/shop", "/", "/shop", "/"},
        {"/shop", "/", "/shop/", "/"},
        {"/shop", "/", "/shop?a=/b", "/?a=/b"},
        {"/shop", "/", "/shop/x/y?z", "/x/y?z"},
        {"/shop", "/", "/shop//x", "//x"},
        {"/shop", "/v2", "/shop", "/v2"},
        {"/shop", "/v2/", "/shop?q", "/v2?q"},
        {"/shop", "/v2", "/shop/x", "/v2/x"},
        {"/shop", "/v2", "/%73hop/x%2Fy", "/v2/x%2Fy"},
        {"/a/b", "/", "/a/b/c", "/c"},
        {"/", "/v2", "/", "/v2/"},
        {"/", "/v2", "/x", "/v2/x"},
        {"/", "", "/caf\xc3\xa9?\xff#", "/caf%C3%A9?%FF%23"},
        {"/", "", "/a?b c\"<>|{}", "/a?b%20c\"<>|{}"},
        {"/shop", "/v2", "/shop/\xc3\xa9", "/v2/%C3%A9"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture fixture;
        create_route(&fixture, "plain", cases[i].path, cases[i].to);
        assert_text(target_up(&fixture.routing->all[0], str_from(cases[i].target), &fixture.pool),
                    cases[i].up, cases[i].target);
        destroy(&fixture);
    }
}

static void test_redirects_come_back(void **state)
{
    (void)state;
    static const struct {
        const char *upstream, *path, *to, *location, *back;
    } cases[] = {
        /* the path stays: only the upstream's own address goes */
        {"plain", "/shop", "", "http://shop:9101/shop/x?y#z", "/shop/x?y#z"},
        {"plain", "/shop", "", "http://SHOP:9101/login", "/login"},
        {"plain", "/shop", "", "http://shop:9101", "/"},
        {"plain", "/shop", "", "http://shop:9101?a", "/?a"},
        {"plain", "/shop", "", "//shop:9101/x", "/x"},
        {"plain", "/shop", "", "/login", "/login"},
        {"plain", "/shop", "", "login", "login"},
        {"plain", "/shop", "", "?page=2", "?page=2"},
        {"plain", "/shop", "", "", ""},
        {"plain", "/shop", "", "http://shop/x", "http://shop/x"},
        {"plain", "/shop", "", "http://shop:91010/x", "http://shop:91010/x"},
        {"plain", "/shop", "", "https://shop:9101/x", "https://shop:9101/x"},
        {"plain", "/shop", "", "http://shop:9101@evil/x", "http://shop:9101@evil/x"},
        {"plain", "/shop", "", "https://elsewhere.example/", "https://elsewhere.example/"},
        {"plain", "/shop", "", "mailto:a@b", "mailto:a@b"},
        /* what would lead to another host */
        {"plain", "/", "", "http://shop:9101//evil.example/", "http://shop:9101//evil.example/"},
        {"plain", "/", "", "//evil.example/", "//evil.example/"},
        /* another path there */
        {"plain", "/shop", "/", "/x", "/shop/x"},
        {"plain", "/shop", "/", "/", "/shop/"},
        {"plain", "/shop", "/", "http://shop:9101", "/shop/"},
        {"plain", "/shop", "/v2", "/v2", "/shop"},
        {"plain", "/shop", "/v2", "/v2/x", "/shop/x"},
        {"plain", "/shop", "/v2", "/v2?a", "/shop?a"},
        {"plain", "/shop", "/v2", "/v20", "/v20"},
        {"plain", "/shop", "/v2", "/login", "/login"},
        {"plain", "/shop", "/v2", "http://shop:9101/login", "http://shop:9101/login"},
        {"plain", "/", "/v2", "/v2", "/"},
        {"plain", "/", "/v2", "/v2/x", "/x"},
        /* an upstream below a path, with its default port */
        {"based", "/shop", "", "http://shop/base/shop/x", "/shop/x"},
        {"based", "/shop", "", "http://shop:80/base", "/"},
        {"based", "/shop", "", "/base/x", "/x"},
        {"based", "/shop", "", "/other", "/other"},
        {"based", "/shop", "/", "http://shop/base/x", "/shop/x"},
        {"secure", "/shop", "", "https://shop/x", "/x"},
        {"secure", "/shop", "", "https://shop:443/x", "/x"},
        {"secure", "/shop", "", "http://shop/x", "http://shop/x"},
        {"local", "/shop", "", "http://localhost/x", "/x"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture fixture;
        create_route(&fixture, cases[i].upstream, cases[i].path, cases[i].to);
        assert_text(target_location(&fixture.routing->all[0], str_from(cases[i].location),
                                    (struct str){NULL, 0}, &fixture.pool),
                    cases[i].back, cases[i].location);
        destroy(&fixture);
    }
}

static void test_redirects_to_the_host_that_was_sent(void **state)
{
    (void)state;
    struct fixture fixture;
    create_route(&fixture, "plain", "/shop", "/v2");
    const struct proxy_route *route = &fixture.routing->all[0];
    struct str host = STR("example.org:8080");
    assert_text(target_location(route, STR("http://example.org:8080/v2/x"), host, &fixture.pool),
                "/shop/x", "the same");
    assert_text(target_location(route, STR("http://example.org/v2/x"), host, &fixture.pool),
                "http://example.org/v2/x", "another port");
    destroy(&fixture);
}

/* -- headers ----------------------------------------------------------------------------------- */

static const char *joined(const struct up_header *headers, size_t count)
{
    static char text[2048];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s: %.*s\n", (int)headers[i].name.n,
                              headers[i].name.p, (int)headers[i].value.n, headers[i].value.p);
    return text;
}

static struct http_request request_with(struct fixture *fixture, h2o_headers_t *headers,
                                        const char *const *lines)
{
    *headers = (h2o_headers_t){NULL};
    for (; *lines != NULL; lines += 2)
        h2o_add_header_by_str(&fixture->pool, headers, lines[0], strlen(lines[0]), 1, NULL,
                              lines[1], strlen(lines[1]));
    return (struct http_request){
        .pool = &fixture->pool, .headers = headers, .id = STR("id1"), .host = STR("example.org")};
}

/* What middleware has set goes up whoever the client is, and whatever it nominates. */
static void test_headers_that_were_set_go_up(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "connection", "x-user, x-forwarded-user", "x-forwarded-user", "theirs", "x-user", "theirs",
        NULL};
    struct fixture fixture;
    h2o_req_t req = {NULL};
    struct up_header *headers;
    create_route(&fixture, "plain", "/", "");
    struct http_request request = request_with(&fixture, &req.headers, lines);
    request.h2o = &req;
    req.version = 0x101;
    strcpy(fixture.routing->via, "gateway-1");
    http_set_request_header(&request, STR("x-user"), STR("ada"));
    http_set_request_header(&request, STR("x-forwarded-user"), STR("ada"));
    size_t count = fields_up(&request, &fixture.routing->all[0], &headers);
    assert_string_equal(joined(headers, count), "x-user: ada\nx-forwarded-user: ada\n"
                                                "x-request-id: id1\nvia: 1.1 gateway-1\n");
    destroy(&fixture);
}

static void test_headers_that_go_up(void **state)
{
    (void)state;
    static const char *const lines[] = {"accept",
                                        "text/html",
                                        "connection",
                                        "close, X-Mine",
                                        "x-mine",
                                        "1",
                                        "keep-alive",
                                        "timeout=5",
                                        "proxy-connection",
                                        "keep-alive",
                                        "proxy-authorization",
                                        "Basic x",
                                        "te",
                                        "trailers",
                                        "trailer",
                                        "x-t",
                                        "transfer-encoding",
                                        "chunked",
                                        "upgrade",
                                        "websocket",
                                        "http2-settings",
                                        "x",
                                        "expect",
                                        "100-continue",
                                        "content-length",
                                        "5",
                                        "cookie",
                                        "a=1",
                                        "authorization",
                                        "Bearer x",
                                        "cookie",
                                        "b=2",
                                        "x-forwarded-port",
                                        "99",
                                        "x_forwarded_for",
                                        "6.6.6.6",
                                        "x-real-ip",
                                        "6.6.6.6",
                                        "forwarded",
                                        "for=6.6.6.6",
                                        "x-request-id",
                                        "theirs",
                                        "x-request_id",
                                        "theirs",
                                        "x-key",
                                        "theirs",
                                        "x-left",
                                        "theirs",
                                        "via",
                                        "1.1 there",
                                        "x-a_b",
                                        "kept",
                                        "range",
                                        "bytes=0-1",
                                        "if-none-match",
                                        "\"x\"",
                                        "accept-encoding",
                                        "br",
                                        "user-agent",
                                        "me",
                                        NULL};
    struct fixture fixture;
    h2o_headers_t fields;
    struct up_header *headers;
    create_route(&fixture, "plain", "/", "");
    struct http_request request = request_with(&fixture, &fields, lines);
    strcpy(fixture.routing->via, "gateway-1");
    size_t count = fields_up(&request, &fixture.routing->all[0], &headers);
    assert_string_equal(joined(headers, count),
                        "accept: text/html\ncookie: a=1; b=2\nauthorization: Bearer x\n"
                        "x-key: theirs\nx-left: theirs\nvia: 1.1 there\nx-a_b: kept\n"
                        "range: bytes=0-1\nif-none-match: \"x\"\naccept-encoding: br\n"
                        "user-agent: me\nx-request-id: id1\nvia: 1.1 gateway-1\n");
    destroy(&fixture);

    create_route(&fixture, "secure", "/", "");
    request = request_with(&fixture, &fields, lines);
    strcpy(fixture.routing->via, "gateway-1");
    count = fields_up(&request, &fixture.routing->all[0], &headers);
    assert_string_equal(joined(headers, count),
                        "accept: text/html\ncookie: a=1; b=2\nvia: 1.1 there\nx-a_b: kept\n"
                        "range: bytes=0-1\nif-none-match: \"x\"\naccept-encoding: br\n"
                        "user-agent: me\nx-request-id: id1\nvia: 1.1 gateway-1\n");
    destroy(&fixture);
}

static void test_who_was_here_before(void **state)
{
    (void)state;
    static const struct {
        const char *via, *more;
        bool loop;
    } cases[] = {
        {"1.1 gateway-1", "", true},
        {"1.0 fred, 1.1 gateway-1 (gateway)", "", true},
        {"HTTP/1.1  gateway-1", "", true},
        {"1.1 there", "2 gateway-1", true},
        {"1.1 gateway-2", "1.1 gateway", false},
        {"1.1 x (gateway-1)", "gateway-1", false},
        {"", ",", false},
    };
    struct fixture fixture;
    create_route(&fixture, "plain", "/", "");
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *const lines[] = {"via", cases[i].via, "via", cases[i].more, NULL};
        h2o_headers_t fields;
        struct http_request request = request_with(&fixture, &fields, lines);
        if (fields_loop(&request, STR("gateway-1")) != cases[i].loop)
            fail_msg("\"%s\", \"%s\"", cases[i].via, cases[i].more);
    }
    destroy(&fixture);
}

static struct up_header header(const char *name, const char *value)
{
    return (struct up_header){str_from(name), str_from(value)};
}

/* The reply's headers, or why there is none. */
static const char *down(struct fixture *fixture, const struct up_header *headers, size_t count,
                        struct fields_down *down_r)
{
    static struct up_header replied[32];
    static h2o_req_t req;
    const char *detail;
    struct http_request request = {.pool = &fixture->pool, .h2o = &req, .host = STR("example.org")};
    memset(&req, 0, sizeof(req));
    strcpy(fixture->routing->via, "gateway-1");
    if (!fields_down(&request, &fixture->routing->all[0], headers, count, down_r, &detail)) {
        assert_int_equal(req.res.headers.size, 0);
        return detail;
    }
    for (size_t i = 0; i < req.res.headers.size; i++) {
        const h2o_header_t *field = &req.res.headers.entries[i];
        replied[i] = (struct up_header){{field->name->base, field->name->len},
                                        {field->value.base, field->value.len}};
    }
    return joined(replied, req.res.headers.size);
}

static void test_headers_that_come_down(void **state)
{
    (void)state;
    const struct up_header headers[] = {
        header("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        header("Server", "origin"),
        header("Content-Type", "text/html"),
        header("Connection", "X-Hop"),
        header("X-Hop", "1"),
        header("Keep-Alive", "timeout=5"),
        header("Proxy-Authenticate", "Basic"),
        header("Trailer", "X"),
        header("Upgrade", "h2c"),
        header("Set-Cookie", "a=1"),
        header("Content-Length", "17"),
        header("Set-Cookie", "b=2"),
        header("X-Request-ID", "theirs"),
        header("X-Content-Type-Options", "nosniff"),
        header("Location", "http://shop:9101/x"),
        header("Via", "1.1 there"),
        header("X-Empty", ""),
    };
    struct fixture fixture;
    struct fields_down got;
    create_route(&fixture, "plain", "/", "");
    assert_string_equal(down(&fixture, headers, COUNT(headers), &got),
                        "server: origin\ncontent-type: text/html\nset-cookie: a=1\n"
                        "set-cookie: b=2\nx-content-type-options: nosniff\nlocation: /x\n"
                        "via: 1.1 there\nx-empty: \nvia: 1.1 gateway-1\n");
    assert_int_equal(got.length, 17);
    assert_text(got.date, "Sun, 06 Nov 1994 08:49:37 GMT", "Date");
    destroy(&fixture);
}

static void test_what_frames_an_answer(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *name2, *value2;
        uint64_t length;
        const char *refused;
    } cases[] = {
        {"Content-Length", "0", "X", "", 0, NULL},
        {"Content-Length", "5", "Content-Length", "5", 5, NULL},
        {"Content-Length", "5, 5", "X", "", 5, NULL},
        {"Content-Length", "5", "Transfer-Encoding", "chunked", UINT64_MAX, NULL},
        {"X", "", "Y", "", UINT64_MAX, NULL},
        {"Content-Length", "5", "Content-Length", "6", 0, "Content-Length is no number, or two"},
        {"Content-Length", "5,6", "X", "", 0, "Content-Length is no number, or two"},
        {"Content-Length", "-1", "X", "", 0, "Content-Length is no number, or two"},
        {"Content-Length", "", "X", "", 0, "Content-Length is no number, or two"},
        {"Content-Length", "0x5", "X", "", 0, "Content-Length is no number, or two"},
        {"Content-Length", "1111111111111111111", "X", "", 0,
         "Content-Length is no number, or two"},
        {"X", "a\rb", "Y", "", 0, "a header's value has a line break in it"},
        {"X", "a\nSet-Cookie: b", "Y", "", 0, "a header's value has a line break in it"},
        {"X Y", "a", "Y", "", 0, "a header's name is malformed"},
        {"", "a", "Y", "", 0, "a header's name is malformed"},
    };
    struct fixture fixture;
    create_route(&fixture, "plain", "/", "");
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct up_header headers[] = {header(cases[i].name, cases[i].value),
                                            header(cases[i].name2, cases[i].value2)};
        struct fields_down got;
        const char *text = down(&fixture, headers, COUNT(headers), &got);
        if (cases[i].refused != NULL)
            assert_string_equal(text, cases[i].refused);
        else if (got.length != cases[i].length || strstr(text, "content-length") != NULL)
            fail_msg("%s: %s: %llu\n%s", cases[i].name, cases[i].value,
                     (unsigned long long)got.length, text);
    }
    const struct up_header null = {STR("X"), {"a\0b", 3}};
    struct fields_down got;
    assert_string_equal(down(&fixture, &null, 1, &got), "a header's value has a line break in it");
    destroy(&fixture);
}

/* -- configuration ----------------------------------------------------------------------------- */

static void test_what_can_be_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"[routes.plain]\npath = '/'", NULL},
        {"[routes.r]\npath = '/'", "unknown upstream \"r\"; add [upstreams.r]"},
        {"[routes.plan]\npath = '/'", "unknown upstream \"plan\"; did you mean \"plain\"?"},
        {"[routes.plain]\npath = 'x'", "path \"x\": the path must begin with '/'"},
        {"[routes.plain]\npath = '/{a}'", "path \"/{a}\": it is a prefix, which has no parameters"},
        {"[routes.plain]\npath = '/a'\n[routes.based]\npath = '/a/'",
         "path \"/a/\" is also the path of \"plain\""},
        {"[routes.plain]\npath = '/a'\nmethods = ['GET']\n"
         "[routes.based]\npath = '/a'\nmethods = ['POST']",
         NULL},
        {"[routes.plain]\npath = '/a'\nmethods = ['GET', 'get']", "\"get\" can't be picked"},
        {"[routes.plain]\npath = '/a'\nmethods = ['CONNECT']", "\"CONNECT\" can't be picked"},
        {"[routes.plain]\npath = '/a'\nto = 'v2'", "\"v2\" isn't a path"},
        {"[routes.plain]\npath = '/a'\nto = '/v 2'", "\"/v 2\" isn't a path"},
        {"[routes.plain]\npath = '/a'\nto = '/v?a'", "\"/v?a\" isn't a path"},
        {"[routes.plain]\npath = '/a'\nto = '/../x'", "\"/../x\" isn't a path"},
        {"[routes.plain]\npath = '/a'\nto = '/{rest}'", "\"/{rest}\" isn't a path"},
        {"[routes.plain]\nto = '/'", "missing key \"path\""},
        {"[routes.plain]\npath = '/'\nidle_timeout = '0s'", "idle_timeout"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture fixture;
        char *text = NULL;
        size_t n;
        FILE *to = open_memstream(&text, &n);
        create(&fixture, cases[i].text);
        diag_print(fixture.diag, to);
        fclose(to);
        if (cases[i].error == NULL ? n != 0 : strstr(text, cases[i].error) == NULL)
            fail_msg("%s\n%s", cases[i].text, text);
        free(text);
        destroy(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_that_climb),
        cmocka_unit_test(test_targets_go_up),
        cmocka_unit_test(test_redirects_come_back),
        cmocka_unit_test(test_redirects_to_the_host_that_was_sent),
        cmocka_unit_test(test_headers_that_go_up),
        cmocka_unit_test(test_headers_that_were_set_go_up),
        cmocka_unit_test(test_who_was_here_before),
        cmocka_unit_test(test_headers_that_come_down),
        cmocka_unit_test(test_what_frames_an_answer),
        cmocka_unit_test(test_what_can_be_wrong),
    };
    setenv("SECRET", "pearl", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
