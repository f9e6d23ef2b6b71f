/* Any bytes as a signed link's query, a form's token, a bearer token and a text of bytes: none is
 * taken that wasn't made here, and what is decoded is encoded the same way again. */
#include "http/http_internal.h"
#include "http/signed_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(struct str text)
{
    uint8_t *bytes = malloc(text.n / 4 * 3 + 3);
    char *again = malloc(BASE64_LENGTH(text.n) + 1);
    size_t n;
    if (base64_decode(text, bytes, &n)) {
        size_t length = base64_encode(bytes, n, again);
        gw_assert(str_eq((struct str){again, length}, text));
    }
    if (base64url_decode(text, bytes, &n)) {
        size_t length = base64url_encode(bytes, n, again);
        gw_assert(str_eq((struct str){again, length}, text));
    }
    free(bytes);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct key key = {{1, 2, 3}};
    static const uint8_t other[32];
    char *exact = malloc(size != 0 ? size : 1);
    memcpy(exact, data, size);
    struct str text = {exact, size};
    round_trip(text);
    gw_assert(!csrf_valid(&key, STR("AAECAwQFBgcICQoLDA0ODw"), text, 0));
    gw_assert(signed_url_check(&key, HTTP_MAY_READ, STR("/f"), text, 0) != SIGNED_URL_GOOD);

    /* Whatever it is, it can be signed, and is a link then. */
    char *query = malloc(size + SIGNED_URL_MORE);
    struct str link = {query, signed_url_write(&key, HTTP_MAY_READ, STR("/f"), text, 9, query)};
    gw_assert(link.n <= size + SIGNED_URL_MORE);
    gw_assert(signed_url_check(&key, HTTP_MAY_READ, STR("/f"), link, 8) == SIGNED_URL_GOOD);
    gw_assert(signed_url_check(&key, HTTP_MAY_READ, STR("/f"), link, 9) == SIGNED_URL_EXPIRED);
    gw_assert(signed_url_check(&key, HTTP_MAY_WRITE, STR("/f"), link, 8) == SIGNED_URL_WRONG);
    free(query);

    struct auth_token token = {.user = (char *)(uintptr_t) "token:a", .user_n = 7};
    memcpy(token.digest, other, sizeof(other));
    struct http_server server = {.auth = {.tokens = &token, .token_count = 1}};
    h2o_mem_pool_t pool;
    h2o_headers_t headers = {NULL};
    h2o_mem_init_pool(&pool);
    h2o_add_header_by_str(&pool, &headers, "authorization", 13, 1, NULL, exact, size);
    h2o_add_header_by_str(&pool, &headers, "origin", 6, 1, NULL, exact, size);
    h2o_add_header(&pool, &headers, H2O_TOKEN_COOKIE, NULL, exact, size);
    struct http_request request = {.pool = &pool,
                                   .server = &server,
                                   .headers = &headers,
                                   .host = STR("a"),
                                   .path = STR("/f"),
                                   .query = text};
    gw_assert(auth_judge(&request, AUTH_SIGNED, HTTP_MAY_READ, 0) != VERDICT_FINE);
    gw_assert(auth_judge(&request, AUTH_TOKEN, HTTP_MAY_READ, 0) != VERDICT_FINE);
    http_csrf_check(&request, text);
    h2o_mem_clear_pool(&pool);
    free(exact);
    return 0;
}
