/* What a handler reads from a request: queries, cookies, fields, what Accept prefers, whom the
 * request came from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "http/http_internal.h"

static h2o_mem_pool_t pool;

static int setup(void **state)
{
    (void)state;
    h2o_mem_init_pool(&pool);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    h2o_mem_clear_pool(&pool);
    return 0;
}

static void assert_str(struct str got, const char *expected, const char *what)
{
    if (expected == NULL ? got.p != NULL : got.p == NULL || !str_eq(got, str_from(expected)))
        fail_msg("%s: \"%.*s\", not \"%s\"", what, (int)got.n, got.p == NULL ? "" : got.p,
                 expected == NULL ? "(none)" : expected);
}

static void test_query_parameters(void **state)
{
    static const struct {
        const char *query, *name, *value; /* NULL = absent */
    } cases[] = {
        {"user=7", "user", "7"},
        {"a=1&user=7&b=2", "user", "7"},
        {"user=7&user=8", "user", "7"},
        {"", "user", NULL},
        {"users=7", "user", NULL},
        {"use=7", "user", NULL},
        {"User=7", "user", NULL},
        {"user", "user", ""},
        {"user=", "user", ""},
        {"&&user=7&", "user", "7"},
        {"=7&user=8", "user", "8"},
        {"user=a=b", "user", "a=b"},
        {"user=a+b", "user", "a b"},
        {"user=a%20b%2Bc", "user", "a b+c"},
        {"us%65r=7", "user", "7"},
        {"my+user=7", "my user", "7"},
        {"user=%zz%4", "user", "%zz%4"},
        {"user=%", "user", "%"},
        {"user=caf%C3%A9", "user", "caf\xc3\xa9"},
        {"user=%ff", "user", "\xef\xbf\xbd"},
        {"user=a%c3", "user", "a\xef\xbf\xbd"},
        {"user=\xe2\x82", "user", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_request request = {.pool = &pool, .query = str_from(cases[i].query)};
        assert_str(http_query(&request, str_from(cases[i].name)), cases[i].value, cases[i].query);
    }
    struct http_request none = {.pool = &pool};
    assert_str(http_query(&none, STR("user")), NULL, "no query at all");
}

static void test_all_query_parameters_in_order(void **state)
{
    struct http_request request = {.pool = &pool,
                                   .query = STR("a=1&&=x&b+%26=%3C&c&a=2&%ff=%c3%a9&d=")};
    static const struct {
        const char *name, *value;
    } expected[] = {{"a", "1"}, {"b &", "<"}, {"c", ""}, {"a", "2"}, {"\xef\xbf\xbd", "\xc3\xa9"},
                    {"d", ""}};
    size_t count = 0;
    (void)state;
    for (struct http_query_iter it = http_query_iter(&request); http_query_next(&it); count++) {
        assert_true(count < COUNT(expected));
        assert_str(it.name, expected[count].name, "a name");
        assert_str(it.value, expected[count].value, "its value");
    }
    assert_int_equal(count, COUNT(expected));
    struct http_request none = {.pool = &pool};
    struct http_query_iter it = http_query_iter(&none);
    assert_false(http_query_next(&it));
}

static void add(h2o_headers_t *headers, const char *name, const char *value)
{
    h2o_add_header_by_str(&pool, headers, name, strlen(name), 1, NULL, value, strlen(value));
}

static void test_cookies(void **state)
{
    h2o_headers_t headers = {NULL};
    struct http_request request = {.pool = &pool, .headers = &headers};
    (void)state;
    assert_str(http_cookie(&request, STR("a")), NULL, "no field");
    add(&headers, "cookie", "ab=1; a=2;b=\"quoted\" ; empty=");
    add(&headers, "cookie", "later=3; a=4");
    assert_str(http_cookie(&request, STR("a")), "2", "a");
    assert_str(http_cookie(&request, STR("ab")), "1", "ab");
    assert_str(http_cookie(&request, STR("b")), "quoted", "b");
    assert_str(http_cookie(&request, STR("empty")), "", "empty");
    assert_str(http_cookie(&request, STR("later")), "3", "a second field, as HTTP/2 sends them");
    assert_str(http_cookie(&request, STR("c")), NULL, "c");
    assert_str(http_cookie(&request, STR("A")), NULL, "cookies' names have a case");
}

static void test_fields_have_no_case(void **state)
{
    h2o_headers_t headers = {NULL};
    struct http_request request = {.pool = &pool, .headers = &headers};
    (void)state;
    add(&headers, "accept-language", "de");
    add(&headers, "x-own", "1");
    assert_str(http_header(&request, STR("Accept-Language")), "de", "Accept-Language");
    assert_str(http_header(&request, STR("X-OWN")), "1", "X-OWN");
    assert_str(http_header(&request, STR("x-ow")), NULL, "x-ow");
}

static void test_accept_decides_between_json_and_html(void **state)
{
    static const struct {
        const char *accept;
        bool json;
    } cases[] = {
        {"", false},
        {"*/*", false},
        {"application/json", true},
        {"Application/JSON", true},
        {"application/problem+json", true},
        {"text/html", false},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
         "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
         false},
        {"application/json, text/plain, */*", true},
        {"application/json, */*;q=0.5", true},
        {"application/json;q=0.5, */*;q=0.8", false},
        {"application/json;q=0.5, text/html;q=0.4", true},
        {"application/json;q=0.4, text/html;q=0.5", false},
        {"text/html, application/json", false},
        {"application/json, text/html", false},
        {"application/*", true},
        {"application/*, text/*", false},
        {"application/*;q=0.9, text/html;q=0.8", true},
        {"text/*;q=0.3, text/html;q=0.1, application/json;q=0.2", true},
        {"text/html;q=0, */*", true},
        {"application/json;q=0", false},
        {"application/json;q=0, */*", false},
        {"application/json;q=0.001, text/html;q=0", true},
        {"application/json;q=1.000, text/html;q=0.999", true},
        {"application/json; q=0.5 , text/html ; q=0.6", false},
        {"application/json;charset=utf-8;q=0.9, text/html;q=0.8", true},
        {"application/json;q=9", true},
        {"application/json;q=", true},
        {"application/jsonp", false},
        {"application", false},
        {"image/png", false},
        {",,;;,=,", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (accept_prefers_json(str_from(cases[i].accept)) != cases[i].json)
            fail_msg("Accept: %s", cases[i].accept);
}

static void test_request_ids(void **state)
{
    static const struct {
        const char *id;
        bool valid;
    } cases[] = {
        {"a", true},
        {"0af7651916cd43dd8448eb211c80319c", true},
        {"A-Z.a_z~0:9+/=@", true},
        {"", false},
        {"a b", false},
        {"a\"b", false},
        {"a\nb", false},
        {"<a>", false},
        {"caf\xc3\xa9", false},
        {"a,b", false},
    };
    char longest[130];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (request_id_valid(str_from(cases[i].id)) != cases[i].valid)
            fail_msg("\"%s\"", cases[i].id);
    memset(longest, 'a', sizeof(longest));
    assert_true(request_id_valid((struct str){longest, 128}));
    assert_false(request_id_valid((struct str){longest, 129}));
    assert_false(request_id_valid((struct str){"a\0b", 3}));
}

/* -- Forwarded --------------------------------------------------------------------------------- */

static struct network trusted[3];

static void from_peer(struct http_request *request, struct http_conn *conn, const char *peer)
{
    static struct http_server server;
    const char *error;
    assert_true(network_parse(STR("10.0.0.0/8"), &trusted[0], &error));
    assert_true(network_parse(STR("2001:db8::/32"), &trusted[1], &error));
    assert_true(network_parse(STR("unix"), &trusted[2], &error));
    server.trusted = trusted;
    server.trusted_count = COUNT(trusted);
    *conn = (struct http_conn){0};
    if (strcmp(peer, "unix") != 0)
        assert_true(ip_parse(str_from(peer), &conn->ip));
    strcpy(conn->peer, peer);
    conn->peer_length = (uint8_t)strlen(peer);
    conn->trusted = conn->ip.family == AF_UNSPEC || network_has(&trusted[0], &conn->ip) ||
                    network_has(&trusted[1], &conn->ip);
    *request = (struct http_request){.pool = &pool,
                                     .server = &server,
                                     .conn = conn,
                                     .scheme = STR("http"),
                                     .host = STR("shop.example"),
                                     .id = STR("id-1")};
}

static void test_forwarding_is_extended_or_begun_anew(void **state)
{
    static const struct {
        const char *peer, *field, *came, *sent;
    } cases[] = {
        /* a stranger's are dropped */
        {"192.0.2.1", "x-forwarded-for", NULL, "192.0.2.1"},
        {"192.0.2.1", "x-forwarded-for", "1.2.3.4", "192.0.2.1"},
        {"192.0.2.1", "x-forwarded-proto", "https", "http"},
        {"192.0.2.1", "x-forwarded-host", "evil.example", "shop.example"},
        {"192.0.2.1", "forwarded", NULL, "for=192.0.2.1;proto=http;host=shop.example"},
        {"192.0.2.1", "forwarded", "for=1.2.3.4", "for=192.0.2.1;proto=http;host=shop.example"},
        {"2001:db7::1", "x-forwarded-for", NULL, "2001:db7::1"},
        {"2001:db7::1", "forwarded", NULL, "for=\"[2001:db7::1]\";proto=http;host=shop.example"},
        /* a proxy's are extended */
        {"10.0.0.1", "x-forwarded-for", NULL, "10.0.0.1"},
        {"10.0.0.1", "x-forwarded-for", "1.2.3.4", "1.2.3.4, 10.0.0.1"},
        {"10.0.0.1", "x-forwarded-for", "1.2.3.4,2001:db8::9", "1.2.3.4,2001:db8::9, 10.0.0.1"},
        {"10.0.0.1", "x-forwarded-for", "unknown, _hidden, 1.2.3.4:80",
         "unknown, _hidden, 1.2.3.4:80, 10.0.0.1"},
        {"10.0.0.1", "x-forwarded-proto", "https", "https"},
        {"10.0.0.1", "x-forwarded-host", "www.example:8443", "www.example:8443"},
        {"10.0.0.1", "forwarded", "for=1.2.3.4",
         "for=1.2.3.4, for=10.0.0.1;proto=http;host=shop.example"},
        {"10.0.0.1", "forwarded", "For=\"[2001:db8::9]:80\";by=_x;proto=https, for=unknown",
         "For=\"[2001:db8::9]:80\";by=_x;proto=https, for=unknown, "
         "for=10.0.0.1;proto=http;host=shop.example"},
        {"2001:db8::1", "forwarded", "for=1.2.3.4",
         "for=1.2.3.4, for=\"[2001:db8::1]\";proto=http;host=shop.example"},
        {"unix", "x-forwarded-for", "1.2.3.4", "1.2.3.4, unknown"},
        {"unix", "forwarded", NULL, "for=unknown;proto=http;host=shop.example"},
        /* but not when they make no sense */
        {"10.0.0.1", "x-forwarded-for", "1.2.3.4, <script>", "10.0.0.1"},
        {"10.0.0.1", "x-forwarded-for", "1.2.3.4 5.6.7.8", "10.0.0.1"},
        {"10.0.0.1", "x-forwarded-for", "1.2.3", "10.0.0.1"},
        {"10.0.0.1", "x-forwarded-for", "", "10.0.0.1"},
        {"10.0.0.1", "x-forwarded-for", "1.2.3.4,", "10.0.0.1"},
        {"10.0.0.1", "x-forwarded-for", "1.2.3.4:port", "10.0.0.1"},
        {"10.0.0.1", "x-forwarded-proto", "javascript", "http"},
        {"10.0.0.1", "x-forwarded-host", "a b", "shop.example"},
        {"10.0.0.1", "x-forwarded-host", "a/b", "shop.example"},
        {"10.0.0.1", "forwarded", "for=1.2.3.4;", "for=10.0.0.1;proto=http;host=shop.example"},
        {"10.0.0.1", "forwarded", "for=\"1.2.3.4", "for=10.0.0.1;proto=http;host=shop.example"},
        {"10.0.0.1", "forwarded", "for=", "for=10.0.0.1;proto=http;host=shop.example"},
        {"10.0.0.1", "forwarded", "for=2001:db8::1", "for=10.0.0.1;proto=http;host=shop.example"},
        {"10.0.0.1", "forwarded", "for=nobody", "for=10.0.0.1;proto=http;host=shop.example"},
        {"10.0.0.1", "forwarded", "for=1.2.3.4 ;x", "for=10.0.0.1;proto=http;host=shop.example"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_request request;
        struct http_conn conn;
        h2o_headers_t headers = {NULL};
        from_peer(&request, &conn, cases[i].peer);
        request.headers = &headers;
        if (cases[i].came != NULL)
            add(&headers, cases[i].field, cases[i].came);
        struct str sent = http_forward_header(&request, str_from(cases[i].field));
        assert_str(sent, cases[i].sent, cases[i].came != NULL ? cases[i].came : "nothing came");
        struct str again = http_forward_header(&request, str_from(cases[i].field));
        assert_ptr_equal(sent.p, again.p); /* worked out once */
    }
}

static void test_protocol_and_host_are_those_that_the_client_asked_for(void **state)
{
    static const struct {
        const char *peer, *field, *came, *proto, *host;
    } cases[] = {
        {"192.0.2.1", "x-forwarded-proto", "https", "http", "shop.example"},
        {"192.0.2.1", "x-forwarded-host", "evil.example", "http", "shop.example"},
        {"192.0.2.1", "forwarded", "for=1.2.3.4;proto=https;host=x", "http", "shop.example"},
        {"10.0.0.1", "x-forwarded-proto", "https", "https", "shop.example"},
        {"10.0.0.1", "x-forwarded-proto", "HTTPS", "https", "shop.example"},
        {"10.0.0.1", "x-forwarded-proto", "https, http", "http", "shop.example"},
        {"10.0.0.1", "x-forwarded-host", "www.example", "http", "www.example"},
        {"10.0.0.1", "x-forwarded-host", "a b", "http", "shop.example"},
        {"10.0.0.1", "forwarded", "for=1.2.3.4;proto=https;host=w", "https", "w"},
        {"10.0.0.1", "forwarded", "proto=\"https\";host=\"w:8443\"", "https", "w:8443"},
        {"10.0.0.1", "forwarded", "for=1.2.3.4;proto=\"\"", "http", "shop.example"},
        {"10.0.0.1", "forwarded", "for=1.2.3.4;proto=ftp", "http", "shop.example"},
        {"10.0.0.1", "forwarded", "for=1.2.3.4;proto=https;", "http", "shop.example"},
        {"unix", "forwarded", "for=1.2.3.4;proto=https", "https", "shop.example"},
        /* two proxies: the farther one was asked by the client */
        {"10.0.0.1", "forwarded", "for=1.2.3.4;proto=https;host=w, for=10.0.0.2;proto=http",
         "https", "w"},
        /* and what the client itself wrote says nothing */
        {"10.0.0.1", "forwarded", "for=10.0.0.9;proto=https;host=w, for=1.2.3.4;proto=http", "http",
         "shop.example"},
        {"10.0.0.1", "forwarded", "proto=https;host=w, for=unknown;proto=http", "http",
         "shop.example"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_request request;
        struct http_conn conn;
        h2o_headers_t headers = {NULL};
        from_peer(&request, &conn, cases[i].peer);
        request.headers = &headers;
        add(&headers, cases[i].field, cases[i].came);
        assert_str(forwarded_proto(&request), cases[i].proto, cases[i].came);
        assert_str(forwarded_host(&request), cases[i].host, cases[i].came);
    }
}

static void test_a_host_with_a_port_is_quoted(void **state)
{
    struct http_request request;
    struct http_conn conn;
    h2o_headers_t headers = {NULL};
    (void)state;
    from_peer(&request, &conn, "192.0.2.1");
    request.headers = &headers;
    request.host = STR("[::1]:8080");
    assert_str(http_forward_header(&request, STR("Forwarded")),
               "for=192.0.2.1;proto=http;host=\"[::1]:8080\"", "v6 host");
    from_peer(&request, &conn, "192.0.2.1");
    request.headers = &headers;
    request.host = (struct str){"", 0};
    assert_str(http_forward_header(&request, STR("Forwarded")), "for=192.0.2.1;proto=http",
               "HTTP/1.0 without a host");
    assert_str(http_forward_header(&request, STR("X-Forwarded-Host")), NULL, "no host");
}

static void test_other_fields_that_go_upstream(void **state)
{
    struct http_request request;
    struct http_conn conn;
    h2o_headers_t headers = {NULL};
    (void)state;
    from_peer(&request, &conn, "192.0.2.1");
    request.headers = &headers;
    add(&headers, "accept-language", "de");
    add(&headers, "accept-language", "en;q=0.5");
    add(&headers, "cookie", "a=1");
    add(&headers, "cookie", "b=2");
    add(&headers, "connection", "keep-alive");
    add(&headers, "te", "trailers");
    add(&headers, "x-request-id", "forged\"");
    assert_str(http_forward_header(&request, STR("Accept-Language")), "de, en;q=0.5", "two lines");
    assert_str(http_forward_header(&request, STR("Cookie")), "a=1; b=2", "cookies");
    assert_str(http_forward_header(&request, STR("X-Request-Id")), "id-1", "ours");
    assert_str(http_forward_header(&request, STR("traceparent")), NULL, "absent");
    assert_str(http_forward_header(&request, STR("Connection")), NULL, "hop by hop");
    assert_str(http_forward_header(&request, STR("TE")), NULL, "hop by hop");
}

static void test_the_client_is_the_nearest_that_nobody_vouches_for(void **state)
{
    static const struct {
        const char *peer, *field, *value, *client;
    } cases[] = {
        {"10.0.0.1", "x-forwarded-for", "1.2.3.4", "1.2.3.4"},
        {"10.0.0.1", "x-forwarded-for", "6.6.6.6, 1.2.3.4", "1.2.3.4"},
        {"10.0.0.1", "x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.9.9.9", "1.2.3.4"},
        {"10.0.0.1", "x-forwarded-for", "10.1.1.1, 10.2.2.2", "10.1.1.1"},
        {"10.0.0.1", "x-forwarded-for", "[2001:db7::1]:443", "2001:db7::1"},
        {"10.0.0.1", "x-forwarded-for", "1.2.3.4, unknown", "10.0.0.1"},
        {"10.0.0.1", "x-forwarded-for", "1.2.3.4, unknown, 10.3.3.3", "10.3.3.3"},
        {"10.0.0.1", "x-forwarded-for", "rubbish", "10.0.0.1"},
        {"10.0.0.1", "forwarded", "for=1.2.3.4;proto=https", "1.2.3.4"},
        {"10.0.0.1", "forwarded", "for=6.6.6.6, for=\"[2001:db7::1]\", for=10.1.1.1",
         "2001:db7::1"},
        {"10.0.0.1", "forwarded", "for=1.2.3.4, proto=https", "10.0.0.1"},
        {"10.0.0.1", "accept", "x", "10.0.0.1"},
        {"unix", "x-forwarded-for", "1.2.3.4", "1.2.3.4"},
        {"unix", "accept", "x", "unix"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_request request;
        struct http_conn conn;
        h2o_headers_t headers = {NULL};
        from_peer(&request, &conn, cases[i].peer);
        request.headers = &headers;
        add(&headers, cases[i].field, cases[i].value);
        assert_str(forwarded_client(&request), cases[i].client, cases[i].value);
    }
}

/* What middleware sets is all that anybody sees under that name, however the client spelled it. */
static void test_fields_that_are_set_and_removed(void **state)
{
    static h2o_req_t req;
    (void)state;
    req.headers = (h2o_headers_t){NULL};
    static const char *const lines[][2] = {{"x-user", "root"}, {"connection", "x-user, x-other"},
                                           {"x_user", "root"}, {"x-other", "1"},
                                           {"x-user", "root"}, {"x-users", "2"}};
    for (size_t i = 0; i < COUNT(lines); i++)
        h2o_add_header_by_str(&pool, &req.headers, lines[i][0], strlen(lines[i][0]), 1, NULL,
                              lines[i][1], strlen(lines[i][1]));
    struct http_request request = {.h2o = &req, .pool = &pool, .headers = &req.headers};
    http_set_request_header(&request, STR("x-user"), STR("ada"));
    assert_int_equal(req.headers.size, 4);
    assert_str(http_header(&request, STR("X-User")), "ada", "what was set");
    assert_str(http_header(&request, STR("x-users")), "2", "another name");
    assert_str(http_forward_header(&request, STR("X-User")), "ada", "in spite of Connection");
    assert_str(http_forward_header(&request, STR("x-other")), NULL, "the client's own");
    assert_true(http_header_was_set(&req.headers.entries[3]));
    assert_false(http_header_was_set(&req.headers.entries[0]));
    http_remove_request_header(&request, STR("x_user"));
    assert_str(http_header(&request, STR("x-user")), NULL, "removed");
    http_set_request_header(&request, STR("cookie"), STR("a=1"));
    assert_str(http_cookie(&request, STR("a")), "1", "a field with a token of h2o's");
}

static void test_fields_that_nobody_may_set(void **state)
{
    (void)state;
    assert_true(http_may_set_request_header(STR("x-user")));
    assert_true(http_may_set_request_header(STR("X-Forwarded-User")));
    assert_true(http_may_set_request_header(STR("authorization")));
    assert_false(http_may_set_request_header(STR("Host")));
    assert_false(http_may_set_request_header(STR("x_forwarded_for")));
    assert_false(http_may_set_request_header(STR("Transfer-Encoding")));
    assert_false(http_may_set_request_header(STR("x user")));
    assert_false(http_may_set_request_header(STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_parameters),
        cmocka_unit_test(test_all_query_parameters_in_order),
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_fields_have_no_case),
        cmocka_unit_test(test_accept_decides_between_json_and_html),
        cmocka_unit_test(test_request_ids),
        cmocka_unit_test(test_forwarding_is_extended_or_begun_anew),
        cmocka_unit_test(test_protocol_and_host_are_those_that_the_client_asked_for),
        cmocka_unit_test(test_a_host_with_a_port_is_quoted),
        cmocka_unit_test(test_other_fields_that_go_upstream),
        cmocka_unit_test(test_fields_that_are_set_and_removed),
        cmocka_unit_test(test_fields_that_nobody_may_set),
        cmocka_unit_test(test_the_client_is_the_nearest_that_nobody_vouches_for),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
