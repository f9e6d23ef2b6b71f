/* Preconditions and ranges of a request, applied to one file. */
#include "http/send_plan.h"

#include <stdio.h>
#include "http/conditional.h"
#include "http/http_internal.h"
#include "http/range.h"

static struct str pool_printf(const struct http_request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static struct str pool_printf(const struct http_request *request, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    gw_assert(n >= 0 && (size_t)n < sizeof(text));
    h2o_iovec_t kept = h2o_strdup(request->pool, text, (size_t)n);
    return (struct str){kept.base, kept.len};
}

static struct str list_of(const struct http_request *request, struct str name)
{
    return field_combined(request, name, ", ");
}

static int check_preconditions(const struct http_request *request, const struct http_file *file)
{
    const struct preconditions conditions = {
        .if_match = list_of(request, STR("if-match")),
        .if_unmodified_since = list_of(request, STR("if-unmodified-since")),
        .if_none_match = list_of(request, STR("if-none-match")),
        .if_modified_since = list_of(request, STR("if-modified-since")),
    };
    return preconditions_evaluate(&conditions, file->etag, file->modified);
}

static struct str content_range(const struct http_request *request, const struct range *range,
                                uint64_t size)
{
    return pool_printf(request, "bytes %llu-%llu/%llu", (unsigned long long)range->first,
                       (unsigned long long)(range->first + range->n - 1), (unsigned long long)size);
}

static void plan_one(struct send_plan *plan, const struct http_request *request, struct range range)
{
    struct send_part *part = h2o_mem_alloc_pool(request->pool, sizeof(*part));
    *part = (struct send_part){.first = range.first, .n = range.n};
    plan->parts = part;
    plan->count = range.n != 0;
    plan->length = range.n;
}

/* multipart/byteranges (section 14.6). Nobody may put the boundary into a file, so it can't be
 * guessed. */
static void plan_several(struct send_plan *plan, const struct http_request *request,
                         const struct http_file *file, const struct range *ranges, size_t count)
{
    enum { TYPE_SHOWN = 255 }; /* longer ones than anybody registers */
    uint8_t random[16];
    char boundary[2 * sizeof(random) + 1];
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), boundary);
    struct send_part *parts = h2o_mem_alloc_pool(request->pool, count * sizeof(*parts));
    for (size_t i = 0; i < count; i++) {
        struct str where = content_range(request, &ranges[i], file->size);
        parts[i] = (struct send_part){
            .head = pool_printf(
                request, "%s--%s\r\nContent-Type: %.*s\r\nContent-Range: %.*s\r\n\r\n",
                i == 0 ? "" : "\r\n", boundary, TYPE_SHOWN, file->type, (int)where.n, where.p),
            .first = ranges[i].first,
            .n = ranges[i].n,
        };
        plan->length += parts[i].head.n + parts[i].n;
    }
    plan->parts = parts;
    plan->count = count;
    plan->tail = pool_printf(request, "\r\n--%s--\r\n", boundary);
    plan->length += plan->tail.n;
    plan->type = pool_printf(request, "multipart/byteranges; boundary=%s", boundary).p;
}

struct send_plan send_plan_make(const struct http_request *request, const struct http_file *file)
{
    struct send_plan plan = {.status = check_preconditions(request, file), .type = file->type};
    bool head = str_eq(request->method, STR("HEAD"));
    struct range ranges[RANGES_MAX];
    size_t count = 0;
    enum range_result result = RANGE_WHOLE;
    if (plan.status == 412)
        return plan;
    struct str range = head ? (struct str){NULL, 0} : list_of(request, STR("range"));
    if (plan.status == 200 && range.p != NULL && /* which is defined for GET alone */
        range_allowed(http_header(request, STR("if-range")), file->etag, file->modified))
        result = range_parse(range, file->size, ranges, &count);
    switch (result) {
    case RANGE_WHOLE:
        plan_one(&plan, request, (struct range){0, file->size});
        plan.count = plan.status == 304 || head ? 0 : plan.count;
        break;
    case RANGE_UNSATISFIABLE:
        plan.status = 416;
        plan.content_range = pool_printf(request, "bytes */%llu", (unsigned long long)file->size);
        break;
    case RANGE_PARTS:
        plan.status = 206;
        if (count == 1) {
            plan_one(&plan, request, ranges[0]);
            plan.content_range = content_range(request, &ranges[0], file->size);
        } else {
            plan_several(&plan, request, file, ranges, count);
        }
        break;
    }
    return plan;
}
