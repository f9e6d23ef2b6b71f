/* Any bytes as Forwarded, X-Forwarded-*, Accept and Cookie of a trusted proxy: what would go
 * upstream is one line that a second gateway takes as it is. */
#include "http/http_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str forward(struct http_request *request, h2o_headers_t *headers, const char *name,
                          struct str value)
{
    headers->size = 0;
    memset(request->forwarded, 0, sizeof(request->forwarded));
    h2o_add_header_by_str(request->pool, headers, name, strlen(name), 1, NULL, value.p, value.n);
    return http_forward_header(request, str_from(name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"forwarded", "x-forwarded-for", "x-forwarded-proto",
                                        "x-forwarded-host"};
    static struct network everybody[2];
    static struct http_server server = {.trusted = everybody, .trusted_count = 2};
    const char *error;
    network_parse(STR("10.0.0.0/8"), &everybody[0], &error);
    network_parse(STR("2001:db8::/32"), &everybody[1], &error);
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct http_conn conn = {.trusted = true, .peer = "10.0.0.1", .peer_length = 8};
    ip_parse(STR("10.0.0.1"), &conn.ip);
    h2o_headers_t headers = {NULL};
    struct http_request request = {.pool = &pool,
                                   .server = &server,
                                   .conn = &conn,
                                   .headers = &headers,
                                   .scheme = STR("http"),
                                   .host = STR("a:80")};
    char *exact = malloc(size != 0 ? size : 1);
    memcpy(exact, data, size);
    struct str value = {exact, size};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct str sent = forward(&request, &headers, names[i], value);
        gw_assert(sent.n != 0 && sent.n <= size + 64);
        if (i < 2 && sent.n < 1000) { /* a chain that we sent is a chain that we extend */
            struct str again = forward(&request, &headers, names[i], sent);
            gw_assert(again.n > sent.n && memcmp(again.p, sent.p, sent.n) == 0);
        }
        struct ip ip;
        forward(&request, &headers, names[i], value);
        gw_assert(ip_parse(forwarded_client(&request), &ip));
    }
    accept_prefers_json(value);
    forward(&request, &headers, "cookie", value);
    struct str cookie = http_cookie(&request, STR("a"));
    gw_assert(cookie.p == NULL || (cookie.p >= exact && cookie.p + cookie.n <= exact + size));
    struct network network;
    struct address addresses[2];
    network_parse(value, &network, &error);
    address_parse(value, addresses, &error);
    free(exact);
    h2o_mem_clear_pool(&pool);
    return 0;
}
