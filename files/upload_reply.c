/* What a sender of files is told: where they are, or why they were not taken. */
#include <stdarg.h>
#include <stdio.h>
#include "base/text.h"
#include "files/upload_internal.h"

/* -- text -- */

struct str upload_printf(h2o_mem_pool_t *pool, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    gw_assert(n >= 0 && (size_t)n < sizeof(text));
    h2o_iovec_t kept = h2o_strdup(pool, text, (size_t)n);
    return (struct str){kept.base, kept.len};
}

struct str upload_text(h2o_mem_pool_t *pool, struct str text, size_t max)
{
    static const struct str replacement = {"\xef\xbf\xbd", 3};
    const char *p = text.p, *end = text.p + text.n;
    size_t room = text.n < SIZE_MAX / 3 ? 3 * text.n : text.n, n = 0;
    if (text.n == 0)
        return (struct str){NULL, 0};
    if (utf8_valid(text))
        room = text.n;
    char *to = h2o_mem_alloc_pool(pool, room < max ? room : max);
    while (p < end) {
        size_t length = utf8_length(p, end);
        struct str character = length != 0 ? (struct str){p, length} : replacement;
        if (character.n > max - n)
            break;
        memcpy(to + n, character.p, character.n);
        n += character.n;
        p += length != 0 ? length : 1;
    }
    return (struct str){to, n};
}

/* -- refusing -- */

void upload_refuse_with(struct http_request *request, const struct upload_problem *problem,
                        struct str detail)
{
    struct http_problem told = {.status = problem->status,
                                .type = problem->type,
                                .title = problem->title,
                                .detail = detail,
                                .retry_after_s = problem->retry_after_s,
                                .json_only = !form_is_sent(request)};
    http_problem_reply(request, &told);
}

static const struct upload_problem problems[] = {
    [STORAGE_BUSY] = {503, "busy", "Too much is under way; try again in a moment", 1},
    [STORAGE_TOO_LARGE] = {413, "too-large", "A file is too large", 0},
    [STORAGE_CLIENT_QUOTA] = {413, "quota-exceeded", "Your files would take more than you may have",
                              0},
    [STORAGE_QUOTA] = {507, "storage-full", "There is no room for more files", 0},
    [STORAGE_DISK_FULL] = {507, "storage-full", "There is no room for more files", 0},
    [STORAGE_BAD_TYPE] = {415, "unsupported-media-type", "Files of this type are not taken", 0},
    [STORAGE_BAD_DIGEST] = {400, "digest-mismatch", "What has arrived is not what was announced",
                            0},
    [STORAGE_ABSENT] = {404, "not-found", "There is no such file", 0},
    [STORAGE_FAILED] = {500, "internal-error", "The files could not be kept", 0},
};

void upload_refuse(struct http_request *request, enum storage_result result)
{
    gw_assert(result != STORAGE_OK);
    upload_refuse_with(request, &problems[result], STR(""));
}

void upload_refuse_size(struct http_request *request, const struct config_upload *config)
{
    upload_refuse_with(request, &problems[STORAGE_TOO_LARGE],
                       upload_printf(request->pool, "a file may have %llu bytes",
                                     (unsigned long long)config->max_size));
}

/* -- telling -- */

struct str upload_owner(struct http_request *request)
{
    static const struct str front = {"address:", 8};
    if (request->user.n != 0)
        return request->user;
    char *to = h2o_mem_alloc_pool(request->pool, front.n + request->client.n);
    memcpy(to, front.p, front.n);
    memcpy(to + front.n, request->client.p, request->client.n);
    return (struct str){to, front.n + request->client.n};
}

static void print_text(struct out *out, struct str name_and_colon, struct str value)
{
    out_str(out, name_and_colon);
    out_str(out, STR("\""));
    out_json_escaped(out, value);
    out_str(out, STR("\""));
}

void upload_print_file(struct out *out, const struct upload_route *route,
                       const struct incoming *file)
{
    char hex[2 * sizeof(file->sha256) + 1];
    hex_encode(file->sha256, sizeof(file->sha256), hex);
    print_text(out, STR("{\"id\":"), str_from(file->id));
    print_text(out, STR(",\"name\":"), file->name);
    out_str(out, STR(",\"size\":"));
    out_number(out, file->size);
    print_text(out, STR(",\"type\":"), str_from(file->type));
    print_text(out, STR(",\"sha256\":"), str_from(hex));
    if (route->download.n == 0) {
        out_str(out, STR(",\"url\":null}"));
        return;
    }
    out_str(out, STR(",\"url\":\""));
    out_json_escaped(out, route->download);
    out_str(out, STR("/"));
    out_str(out, str_from(file->id));
    out_str(out, STR("\"}"));
}

static struct str url_of(h2o_mem_pool_t *pool, const struct upload_route *route,
                         const struct incoming *file)
{
    size_t n = route->download.n;
    char *to = h2o_mem_alloc_pool(pool, n + 1 + STORE_ID);
    memcpy(to, route->download.p, n);
    to[n] = '/';
    memcpy(to + n + 1, file->id, STORE_ID);
    return (struct str){to, n + 1 + STORE_ID};
}

void upload_reply(struct http_request *request, const struct upload *upload)
{
    const struct upload_route *route = upload->route;
    struct out out;
    if (upload->form != NULL && !http_wants_json(request)) {
        http_add_header(request, "location", route->config->redirect);
        http_reply(request, 303, NULL, NULL);
        return;
    }
    out_init(&out, request->pool, 0);
    out_str(&out, STR("{\"files\":["));
    for (size_t i = 0; i < upload->count; i++) {
        if (i != 0)
            out_str(&out, STR(","));
        upload_print_file(&out, route, upload->files[i]);
    }
    out_str(&out, STR("],\"fields\":"));
    out_str(&out, upload->fields.n != 0 ? upload->fields : STR("{}"));
    out_str(&out, STR("}\n"));
    if (upload->count == 1 && route->download.n != 0)
        http_add_header(request, "location", url_of(request->pool, route, upload->files[0]));
    http_add_header(request, "cache-control", STR("no-store"));
    http_reply(request, 201, "application/json", &out);
}
