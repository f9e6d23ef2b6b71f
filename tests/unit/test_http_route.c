/* Which route a target goes to, what it carries there, and what no route may see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "http/http_internal.h"

enum {
    ALL = HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_PUT | HTTP_PATCH | HTTP_DELETE | HTTP_OPTIONS |
          HTTP_OTHERS | HTTP_PREFIX
};

static void handler(struct http_request *request, void *arg)
{
    (void)request, (void)arg;
}

struct fixture {
    struct routes *routes;
    struct diag *diag;
    h2o_mem_pool_t pool;
};

static int setup(void **state)
{
    static struct fixture fixture;
    static const struct {
        const char *name;
        unsigned methods;
        const char *pattern;
    } routes[] = {
        {"home", HTTP_GET, "/"},
        {"product", HTTP_GET, "/product/{id}"},
        {"new", HTTP_GET, "/product/new"},
        {"review", HTTP_GET, "/product/{id}/review/{review}"},
        {"new-draft", HTTP_GET, "/product/new/draft"},
        {"any-old", HTTP_GET, "/{any}/old"},
        {"docs", HTTP_GET, "/docs/"},
        {"assets", HTTP_GET, "/assets/{*rest}"},
        {"logo", HTTP_GET, "/assets/logo"},
        {"form", HTTP_GET, "/upload"},
        {"upload", HTTP_POST, "/upload"},
        {"both", HTTP_GET | HTTP_POST, "/both"},
        {"thing", HTTP_GET, "/thing"},
        {"make", HTTP_POST | HTTP_READS_BODY, "/thing"},
        {"put", HTTP_PUT | HTTP_READS_BODY, "/thing"},
        {"patch", HTTP_PATCH | HTTP_READS_BODY, "/thing"},
        {"remove", HTTP_DELETE, "/thing"},
        {"ask", HTTP_OPTIONS, "/thing"},
        {"put-only", HTTP_PUT | HTTP_PATCH | HTTP_DELETE | HTTP_READS_BODY, "/put"},
        {"cafe", HTTP_GET, "/caf\xc3\xa9"},
        {"blank", HTTP_GET, "/a%20b"},
    };
    fixture.routes = routes_create();
    fixture.diag = diag_create();
    h2o_mem_init_pool(&fixture.pool);
    for (size_t i = 0; i < COUNT(routes); i++) {
        struct pos at = {0};
        const struct http_route *route =
            routes_add(fixture.routes, routes[i].name, routes[i].methods,
                       str_from(routes[i].pattern), handler, NULL, at, fixture.diag);
        assert_non_null(route);
    }
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    routes_destroy(&fixture->routes);
    diag_destroy(&fixture->diag);
    h2o_mem_clear_pool(&fixture->pool);
    return 0;
}

/* "200 product id=42", "405 GET, HEAD, OPTIONS", "404". */
static const char *outcome(struct fixture *fixture, const char *method, struct str target)
{
    static char text[512];
    char allow[64];
    struct http_request request = {
        .pool = &fixture->pool, .method = str_from(method), .target = target};
    int status = routes_match(fixture->routes, &request);
    if (status == 405)
        snprintf(text, sizeof(text), "405 %s", methods_print(request.allowed, allow));
    else if (status != 0)
        snprintf(text, sizeof(text), "%d", status);
    else {
        int n = snprintf(text, sizeof(text), "200 %s", http_route_name(request.route).p);
        for (int i = 0; i < HTTP_MAX_PARAMS && request.params[i].p != NULL; i++)
            n += snprintf(text + n, sizeof(text) - (size_t)n, " [%.*s]", (int)request.params[i].n,
                          request.params[i].p);
    }
    return text;
}

static void test_targets_find_their_routes(void **state)
{
    static const struct {
        const char *method, *target, *outcome;
    } cases[] = {
        {"GET", "/", "200 home"},
        {"HEAD", "/", "200 home"},
        {"GET", "/?a=b", "200 home"},
        {"GET", "/?/product/1", "200 home"},
        {"GET", "/product/42", "200 product [42]"},
        {"GET", "/product/new", "200 new"},
        {"GET", "/product/ne%77", "200 new"},
        {"GET", "/product/news", "200 product [news]"},
        {"GET", "/product/42/review/7", "200 review [42] [7]"},
        {"GET", "/product/new/review/7", "200 review [new] [7]"},
        {"GET", "/product/new/draft", "200 new-draft"},
        {"GET", "/product/new/nothing", "404"},
        {"GET", "/product/old", "200 product [old]"},
        {"GET", "/thing/old", "200 any-old [thing]"},
        {"GET", "/product/", "404"},
        {"GET", "/product", "404"},
        {"GET", "/product/42/", "404"},
        {"GET", "//product/42", "404"},
        {"GET", "/product//42", "404"},
        {"GET", "/docs/", "200 docs"},
        {"GET", "/docs", "404"},
        {"GET", "/product/a%2Fb", "200 product [a/b]"},
        {"GET", "/product/42%2Freview%2F7", "200 product [42/review/7]"},
        {"GET", "/product%2F42", "404"},
        {"GET", "/product/caf%C3%A9", "200 product [caf\xc3\xa9]"},
        {"GET", "/product/caf\xc3\xa9", "200 product [caf\xc3\xa9]"},
        {"GET", "/product/%25", "200 product [%]"},
        {"GET", "/product/a+b", "200 product [a+b]"},
        {"GET", "/product/%3F", "200 product [?]"},
        {"GET", "/product/.a", "200 product [.a]"},
        {"GET", "/product/...", "200 product [...]"},
        {"GET", "/caf%c3%a9", "200 cafe"},
        {"GET", "/a%20b", "200 blank"},
        {"GET", "/assets/", "200 assets []"},
        {"GET", "/assets/a/b.css", "200 assets [a/b.css]"},
        {"GET", "/assets/a%20b/c", "200 assets [a b/c]"},
        {"GET", "/assets/a//b", "200 assets [a//b]"},
        {"GET", "/assets/a%2Fb", "404"},
        {"GET", "/assets/logo", "200 logo"},
        {"GET", "/assets/logo/x", "200 assets [logo/x]"},
        {"GET", "/assets", "404"},
        {"GET", "/upload", "200 form"},
        {"HEAD", "/upload", "200 form"},
        {"POST", "/upload", "200 upload"},
        {"POST", "/both", "200 both"},
        {"GET", "/thing", "200 thing"},
        {"POST", "/thing", "200 make"},
        {"PUT", "/thing", "200 put"},
        {"PATCH", "/thing", "200 patch"},
        {"DELETE", "/thing", "200 remove"},
        {"OPTIONS", "/thing", "200 ask"},
        {"BREW", "/thing", "405 GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
        {"GET", "/put", "405 PUT, PATCH, DELETE, OPTIONS"},
        {"OPTIONS", "/put", "405 PUT, PATCH, DELETE, OPTIONS"},
        {"DELETE", "/upload", "405 GET, HEAD, POST, OPTIONS"},
        {"POST", "/", "405 GET, HEAD, OPTIONS"},
        {"OPTIONS", "/", "405 GET, HEAD, OPTIONS"},
        {"get", "/", "405 GET, HEAD, OPTIONS"},
        {"BREW", "/nowhere", "404"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *got = outcome(*state, cases[i].method, str_from(cases[i].target));
        if (strcmp(got, cases[i].outcome) != 0)
            fail_msg("%s %s: \"%s\", not \"%s\"", cases[i].method, cases[i].target, got,
                     cases[i].outcome);
    }
}

static void test_prefixes_take_what_is_left(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned methods;
        const char *pattern;
    } routes[] = {
        {"home", HTTP_GET, "/"},
        {"rest", ALL, "/"},
        {"product", HTTP_GET, "/product/{id}"},
        {"shop", ALL, "/shop/"},
        {"cart", HTTP_GET, "/shop/cart"},
        {"pictures", HTTP_GET, "/shop/pictures/{*rest}"},
        {"any", HTTP_GET, "/{a}/{b}"},
        {"old", HTTP_GET | HTTP_PREFIX, "/old"},
        {"old-forms", HTTP_POST | HTTP_PREFIX, "/old"},
        {"deep", ALL, "/old/but/gold"},
        {"files", HTTP_GET, "/files/{*rest}"},
        {"api", ALL, "/files/a b"},
    };
    static const struct {
        const char *method, *target, *outcome;
    } cases[] = {
        {"GET", "/", "200 home"},
        {"POST", "/", "200 rest"},
        {"OPTIONS", "/", "200 rest"},
        {"GET", "/anything", "200 rest"},
        {"GET", "//", "200 rest"},
        {"GET", "//product/1", "200 rest"},
        {"PROPFIND", "/anything/at/all", "200 rest"},
        {"TRACE", "/anything", "405 GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
        {"CONNECT", "/anything", "405 GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
        {"TRACE", "/", "405 GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
        {"GET", "/product/1", "200 product [1]"},
        {"POST", "/product/1", "200 rest"},
        {"GET", "/product/1/more", "200 rest"},
        {"GET", "/shop", "200 shop"},
        {"GET", "/shop/", "200 shop"},
        {"GET", "/shop/x", "200 shop"},
        {"GET", "/shop/x/y?z", "200 shop"},
        {"GET", "/sh%6fp/x", "200 shop"},
        {"GET", "/shop/a%2Fb", "200 shop"},
        {"GET", "/shopping", "200 rest"},
        {"GET", "/shopping/x", "200 any [shopping] [x]"},
        {"GET", "/shop%2Fx", "200 rest"},
        {"GET", "/shop/cart", "200 cart"},
        {"POST", "/shop/cart", "200 shop"},
        {"GET", "/shop/cart/1", "200 shop"},
        {"GET", "/shop/pictures/1", "200 pictures [1]"},
        {"PUT", "/shop/pictures/1", "200 shop"},
        {"GET", "/shop/pictures/a%2Fb", "200 shop"},
        {"GET", "/old", "200 old"},
        {"HEAD", "/old/x", "200 old"},
        {"POST", "/old/x", "200 old-forms"},
        {"PUT", "/old/x", "405 GET, HEAD, POST, OPTIONS"},
        {"PUT", "/old/but/gold", "200 deep"},
        {"PUT", "/old/but/silver", "405 GET, HEAD, POST, OPTIONS"},
        {"GET", "/files/a", "200 files [a]"},
        {"GET", "/files/a%20b/c", "200 api"},
    };
    struct fixture fixture = {.routes = routes_create(), .diag = diag_create()};
    h2o_mem_init_pool(&fixture.pool);
    for (size_t i = 0; i < COUNT(routes); i++)
        assert_non_null(routes_add(fixture.routes, routes[i].name, routes[i].methods,
                                   str_from(routes[i].pattern), handler, NULL, (struct pos){0},
                                   fixture.diag));
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *got = outcome(&fixture, cases[i].method, str_from(cases[i].target));
        if (strcmp(got, cases[i].outcome) != 0)
            fail_msg("%s %s: \"%s\", not \"%s\"", cases[i].method, cases[i].target, got,
                     cases[i].outcome);
    }
    assert_null(routes_add(fixture.routes, "again", ALL, STR("/shop"), handler, NULL,
                           (struct pos){0}, fixture.diag));
    assert_null(routes_add(fixture.routes, "with", ALL, STR("/a/{b}"), handler, NULL,
                           (struct pos){0}, fixture.diag));
    routes_destroy(&fixture.routes);
    diag_destroy(&fixture.diag);
    h2o_mem_clear_pool(&fixture.pool);
}

static void test_paths_that_no_route_may_see(void **state)
{
    static const char *const targets[] = {
        "",
        "*",
        "product/42",
        "?",
        "/.",
        "/..",
        "/../etc/passwd",
        "/product/..",
        "/product/./42",
        "/product/%2e",
        "/product/%2E%2e",
        "/product/.%2e/x",
        "/assets/a/../b",
        "/product/%00",
        "/product/a%00b",
        "/product/%0a",
        "/product/%0D%0A",
        "/product/%1f",
        "/product/%7f",
        "/product/%",
        "/product/%2",
        "/product/%zz",
        "/product/%2g",
        "/product/%ff",
        "/product/%c3",
        "/product/%c3/%a9",
        "/product/%c0%af",
        "/product/%ed%a0%80",
        "/product/%f4%90%80%80",
        "/product/\xff",
        "/product/a b",
        "/product/\x01",
        "/product/\x7f",
        "/?a=\x01",
        "/nowhere/%zz",
    };
    for (size_t i = 0; i < COUNT(targets); i++)
        if (strcmp(outcome(*state, "GET", str_from(targets[i])), "400") != 0)
            fail_msg("\"%s\": %s", targets[i], outcome(*state, "GET", str_from(targets[i])));
    assert_string_equal(outcome(*state, "GET", (struct str){"/product/a\0b", 12}), "400");
}

static void test_path_and_query_are_told_apart(void **state)
{
    struct fixture *fixture = *state;
    struct http_request request = {
        .pool = &fixture->pool, .method = STR("GET"), .target = STR("/product/1?a=/b?c")};
    assert_int_equal(routes_match(fixture->routes, &request), 0);
    assert_true(str_eq(request.path, STR("/product/1")));
    assert_true(str_eq(request.query, STR("a=/b?c")));
    request.target = STR("/product/1?");
    assert_int_equal(routes_match(fixture->routes, &request), 0);
    assert_true(request.query.p != NULL && request.query.n == 0);
}

static void test_patterns_that_are_refused(void **state)
{
    static const struct {
        const char *pattern, *why;
    } cases[] = {
        {"", "begin with '/'"},
        {"product", "begin with '/'"},
        {"//", "empty segment"},
        {"/a//b", "empty segment"},
        {"/a?b", "'?' or '#'"},
        {"/a#b", "'?' or '#'"},
        {"/..", "no request can match"},
        {"/%2e%2e/a", "no request can match"},
        {"/a%zz", "no request can match"},
        {"/a%00", "no request can match"},
        {"/\xff", "no request can match"},
        {"/{}", "a parameter is"},
        {"/{a", "a parameter is"},
        {"/a}", "a parameter is"},
        {"/x{a}", "a parameter is"},
        {"/{a}x", "a parameter is"},
        {"/{a b}", "a parameter is"},
        {"/{1a}", "a parameter is"},
        {"/{*}", "a parameter is"},
        {"/{a}/{a}", "same name"},
        {"/{*rest}/a", "last segment"},
        {"/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "more than 8"},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28/29/30/31/32/"
         "33",
         "more than 32"},
        {"/product/{other}", "also the path of \"product\""},
        {"/%70roduct/{other}", "also the path of \"product\""},
        {"/assets/{*all}", "also the path of \"assets\""},
        {"/both", "also the path of \"both\""},
        {"/upload", "also the path of \"form\""},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pos at = {"gateway.toml", 1, 1};
        struct diag *diag = diag_create();
        char *text = NULL;
        size_t size;
        const struct http_route *route =
            routes_add(fixture->routes, "refused", HTTP_GET | HTTP_POST, str_from(cases[i].pattern),
                       handler, NULL, at, diag);
        FILE *to = open_memstream(&text, &size);
        diag_print(diag, to);
        fclose(to);
        if (route != NULL || diag_errors(diag) != 1 || strstr(text, cases[i].why) == NULL)
            fail_msg("\"%s\": %s", cases[i].pattern, text);
        free(text);
        diag_destroy(&diag);
    }
}

static void test_routes_say_whether_they_read_bodies(void **state)
{
    struct fixture *fixture = *state;
    struct http_request request = {
        .pool = &fixture->pool, .method = STR("PUT"), .target = STR("/thing")};
    assert_int_equal(routes_match(fixture->routes, &request), 0);
    assert_true(route_reads_body(request.route));
    request.method = STR("DELETE");
    assert_int_equal(routes_match(fixture->routes, &request), 0);
    assert_false(route_reads_body(request.route));
}

static void test_parameters_are_found_by_name(void **state)
{
    struct fixture *fixture = *state;
    struct http_request request = {
        .pool = &fixture->pool, .method = STR("GET"), .target = STR("/product/42/review/7")};
    assert_int_equal(routes_match(fixture->routes, &request), 0);
    assert_int_equal(http_route_param(request.route, STR("id")), 0);
    assert_int_equal(http_route_param(request.route, STR("review")), 1);
    assert_int_equal(http_route_param(request.route, STR("nothing")), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_targets_find_their_routes, setup, teardown),
        cmocka_unit_test(test_prefixes_take_what_is_left),
        cmocka_unit_test_setup_teardown(test_paths_that_no_route_may_see, setup, teardown),
        cmocka_unit_test_setup_teardown(test_path_and_query_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_patterns_that_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_routes_say_whether_they_read_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parameters_are_found_by_name, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
