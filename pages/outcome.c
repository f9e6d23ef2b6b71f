/* Judging an answer, from the outside in: did one come, is its status a success, does it say it is
 * JSON, is it JSON, is the selected data in it. The first "no" is the outcome. */
#include "pages/outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include "base/text.h"

const char *part_state_name(enum part_state state)
{
    static const char *const names[] = {"running", "ok",    "stale", "fallback", "static",
                                        "timeout", "error", "open",  "shed",     "skipped"};
    gw_assert((size_t)state < COUNT(names));
    return names[state];
}

int outcome_page_status(enum part_state state)
{
    switch (state) {
    case PART_OK:
    case PART_STALE:
    case PART_FALLBACK:
    case PART_STATIC:
        return 200;
    case PART_TIMEOUT:
        return 504;
    case PART_OPEN:
    case PART_SHED:
        return 503;
    default:
        return 502;
    }
}

static void fail(struct outcome *outcome, const char *error, h2o_mem_pool_t *pool,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));
static void fail(struct outcome *outcome, const char *error, h2o_mem_pool_t *pool,
                 const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t length = n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1;
    char *kept = h2o_mem_alloc_pool(pool, length);
    memcpy(kept, text, length);
    outcome->state = PART_ERROR;
    outcome->error = error;
    outcome->detail = (struct str){kept, length};
    outcome->value = json_null();
}

/* application/json, or anything with the suffix +json (RFC 6839); without the header the bytes
 * decide. HTML error pages that come with 200 are the reason to look at all. */
static bool is_json_type(struct str type)
{
    type = next_item(&type, ';');
    return type.n == 0 || str_caseeq(type, STR("application/json")) ||
           (type.n > 5 && str_caseeq((struct str){type.p + type.n - 5, 5}, STR("+json")) &&
            memchr(type.p, '/', type.n) != NULL);
}

static void judge_answer(const struct up_result *result, const struct json_doc *parsed,
                         const struct placement *placement, struct json_doc *doc,
                         h2o_mem_pool_t *pool, struct outcome *outcome)
{
    if (result->status < 200 || result->status > 599) {
        fail(outcome, "http_protocol_error", pool, "status %d", result->status);
        return;
    }
    if (result->status >= 300) {
        fail(outcome, NULL, pool,
             result->status < 400 ? "redirects are not followed (status %d)" : "status %d",
             result->status);
        return;
    }
    if (result->status == 204 || result->status == 205)
        return;
    if (result->body.n == 0) {
        fail(outcome, "http_protocol_error", pool, "an empty body");
        return;
    }
    if (!is_json_type(result->content_type)) {
        fail(outcome, "http_protocol_error", pool, "content type %.*s is not JSON",
             result->content_type.n < 80 ? (int)result->content_type.n : 80,
             result->content_type.p);
        return;
    }
    if (parsed == NULL) {
        size_t at = 0;
        enum json_error error =
            json_parse(doc, result->body.p, result->body.n, OUTCOME_JSON_DEPTH, &at);
        if (error != JSON_OK) {
            fail(outcome,
                 error == JSON_TOO_LARGE ? "http_response_body_size" : "http_protocol_error", pool,
                 "%s at byte %zu", json_error_text(error), at);
            return;
        }
        parsed = doc;
    }

    struct json_value value = place_select(json_root(parsed), &placement->select);
    if (json_type(value) == JSON_MISSING) {
        fail(outcome, "http_protocol_error", pool, "the answer has nothing at its select path");
        return;
    }
    value = place_filter(pool, value, placement);
    if (placement->spread && json_type(value) != JSON_OBJECT && json_type(value) != JSON_NULL) {
        fail(outcome, "http_protocol_error", pool, "only an object can be spread into the page");
        return;
    }
    outcome->value = value;
}

void outcome_judge(const struct up_result *result, const struct json_doc *parsed,
                   const struct placement *placement, struct json_doc *doc, h2o_mem_pool_t *pool,
                   struct outcome *outcome_r)
{
    struct outcome *outcome = outcome_r;
    *outcome = (struct outcome){.state = PART_OK, .value = json_null()};
    switch (result->end) {
    case UP_ANSWERED:
        judge_answer(result, parsed, placement, doc, pool, outcome);
        return;
    case UP_TIMEOUT:
        fail(outcome, result->error ? result->error : "http_response_timeout", pool, "%s",
             result->detail);
        outcome->state = PART_TIMEOUT;
        break;
    case UP_OPEN:
        fail(outcome, "destination_unavailable", pool, "%s", result->detail);
        outcome->state = PART_OPEN;
        break;
    case UP_SHED:
        fail(outcome, result->error ? result->error : "connection_limit_reached", pool, "%s",
             result->detail);
        outcome->state = PART_SHED;
        break;
    case UP_FAILED:
        fail(outcome, result->error ? result->error : "proxy_internal_error", pool, "%s",
             result->detail);
        break;
    }
}
