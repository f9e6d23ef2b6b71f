/* Any bytes as a request's target, against routes of every kind: what comes out as a parameter is
 * text without control characters, never a dot segment. The rest of the input is read as a query.
 */
#include "http/http_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void handler(struct http_request *request, void *arg)
{
    (void)request, (void)arg;
}

static struct routes *routes(void)
{
    static const char *const patterns[] = {"/",      "/a",           "/a/{x}",         "/a/b",
                                           "/{y}/b", "/{x}/{y}/{z}", "/files/{*rest}", "/a/{x}/"};
    static struct routes *made;
    if (made == NULL) {
        struct diag *diag = diag_create();
        struct pos at = {0};
        made = routes_create();
        for (size_t i = 0; i < COUNT(patterns); i++)
            gw_assert(routes_add(made, patterns[i], HTTP_GET, str_from(patterns[i]), handler, NULL,
                                 at, diag) != NULL);
        diag_destroy(&diag);
    }
    return made;
}

static void check_parameter(struct str text, bool rest)
{
    gw_assert(utf8_valid(text));
    gw_assert(rest || (text.n != 0 && !str_eq(text, STR(".")) && !str_eq(text, STR(".."))));
    for (size_t i = 0; i < text.n; i++)
        gw_assert((unsigned char)text.p[i] >= 0x20 && text.p[i] != 0x7f);
    if (!rest)
        return;
    for (const char *p = text.p, *end = text.p + text.n; p <= end;) {
        const char *slash = p == end ? NULL : memchr(p, '/', (size_t)(end - p));
        struct str segment = {p, (size_t)((slash != NULL ? slash : end) - p)};
        gw_assert(!str_eq(segment, STR(".")) && !str_eq(segment, STR("..")));
        p = slash != NULL ? slash + 1 : end + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    char *exact = malloc(size != 0 ? size : 1);
    memcpy(exact, data, size);
    struct http_request request = {.pool = &pool, .method = STR("GET"), .target = {exact, size}};
    int status = routes_match(routes(), &request);
    gw_assert(status == 0 || status == 400 || status == 404);
    if (status == 0) {
        bool rest = str_eq(http_route_name(request.route), STR("/files/{*rest}"));
        for (size_t i = 0; i < HTTP_MAX_PARAMS && request.params[i].p != NULL; i++)
            check_parameter(request.params[i], rest);
    }
    request.query = (struct str){exact, size};
    struct str value = http_query(&request, STR("a"));
    gw_assert(utf8_valid(value));
    free(exact);
    h2o_mem_clear_pool(&pool);
    return 0;
}
