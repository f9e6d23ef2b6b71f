/* A request whose upstream gave no answer, or none that can be passed on: the error that the client
 * gets and the record in the access log, in the words that pages have for their parts. */
#include "base/log.h"
#include "base/text.h"
#include "routes/routes_internal.h"

#include <stdio.h>

static struct str text(struct http_request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static struct str text(struct http_request *request, const char *format, ...)
{
    enum { ROOM = 256 };
    char *p = h2o_mem_alloc_pool(request->pool, ROOM);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(p, ROOM, format, args);
    va_end(args);
    return (struct str){p, n < ROOM ? (size_t)n : ROOM - 1};
}

/* -- the record -------------------------------------------------------------------------------- */

static const char *state_name(const struct up_result *result)
{
    switch (result->end) {
    case UP_ANSWERED:
        return result->status >= 500 ? "error" : "ok";
    case UP_TIMEOUT:
        return "timeout";
    case UP_OPEN:
        return "open";
    case UP_SHED:
        return "shed";
    default:
        return "error";
    }
}

/* Envoy's letters, as far as they fit. */
static const char *flags_of(enum up_end end, const char *error)
{
    static const struct {
        const char *error, *flags;
    } letters[] = {
        {"connection_limit_reached", "UO"},
        {"connection_refused", "UF"},
        {"connection_terminated", "UC"},
        {"http_response_incomplete", "UC"},
        {"dns_", "UF"},
        {"destination_", "UF"},
        {"tls_", "UF"},
    };
    size_t n = strlen(error);
    if (n > 8 && strcmp(error + n - 8, "_timeout") == 0)
        return "UT";
    if (end == UP_SHED || end == UP_OPEN)
        return "UO";
    for (size_t i = 0; i < COUNT(letters); i++)
        if (strncmp(error, letters[i].error, strlen(letters[i].error)) == 0)
            return letters[i].flags;
    return "";
}

/* One line a minute and route: the access log has each case, this tells the operator why. */
static void warn(const struct passage *passage, const char *detail)
{
    enum { EVERY_US = 60 * 1000000 };
    const struct access_part *record = passage->record;
    _Atomic uint64_t *warned_us = &passage->route->warned_us;
    uint64_t now = clock_us(), last = atomic_load_explicit(warned_us, memory_order_relaxed);
    if ((last != 0 && now < last + EVERY_US) ||
        !atomic_compare_exchange_strong(warned_us, &last, now))
        return;
    log_event(LOG_WARN, "route failed", "route=%s upstream=%s state=%s error=%s detail=%s",
              log_quote(passage->route->config->name), log_quote(record->name), record->state,
              record->error, log_quote(str_from(detail)));
}

void failure_note(struct passage *passage, const struct up_result *result)
{
    struct access_part *record = passage->record;
    record->state = state_name(result);
    record->error = result->error;
    record->status = result->status;
    record->times = result->times;
    record->us = (uint32_t)(clock_us() - passage->request->started_us);
    record->bytes = result->wire_bytes;
    record->attempts = result->attempts;
    if (result->end == UP_ANSWERED)
        return;
    if (record->error == NULL)
        record->error = "proxy_internal_error";
    passage->request->flags = flags_of(result->end, record->error);
    warn(passage, result->detail);
}

void failure_note_answer(struct passage *passage)
{
    struct access_part *record = passage->record;
    record->state = record->status >= 500 ? "error" : "ok";
    record->times = up_call_times(passage->call);
    record->us = (uint32_t)(clock_us() - passage->request->started_us);
    record->attempts = up_call_attempts(passage->call);
}

void failure_note_error(struct passage *passage, const char *error, const char *detail)
{
    struct access_part *record = passage->record;
    record->state = "error";
    record->error = error;
    record->us = (uint32_t)(clock_us() - passage->request->started_us);
    if (record->attempts == 0)
        record->attempts = 1;
    passage->request->flags = flags_of(UP_FAILED, error);
    warn(passage, detail);
}

/* -- the reply --------------------------------------------------------------------------------- */

/* For the client: what happened, never where. */
static struct str detail_of(const struct passage *passage, enum up_end end)
{
    struct http_request *request = passage->request;
    const struct access_part *record = passage->record;
    switch (end) {
    case UP_TIMEOUT:
        return text(request, "service '%s' gave no response within %u ms", record->name.p,
                    record->us / 1000);
    case UP_OPEN:
        return text(request, "service '%s' was not asked: it has failed too often", record->name.p);
    case UP_SHED:
        return text(request, "service '%s' was not asked: too many requests for it are under way",
                    record->name.p);
    default:
        return text(request, "service '%s' failed: %s", record->name.p, record->error);
    }
}

void failure_reply(struct passage *passage, const struct up_result *result)
{
    static const struct {
        int status;
        const char *type, *title;
    } answers[] = {
        [UP_TIMEOUT] = {504, "upstream-timeout", "The service timed out"},
        [UP_FAILED] = {502, "upstream-failed", "The service failed"},
        [UP_OPEN] = {503, "upstream-unavailable", "The service is not available"},
        [UP_SHED] = {503, "upstream-overloaded", "The service is overloaded"},
    };
    static const bool required = true;
    struct http_request *request = passage->request;
    enum up_end end = result != NULL ? result->end : UP_FAILED;
    http_add_header(request, "proxy-status",
                    text(request, "gateway; next-hop=\"%s\"; error=%s", passage->record->name.p,
                         passage->record->error));
    http_problem_reply(request,
                       &(struct http_problem){.status = answers[end].status,
                                              .type = answers[end].type,
                                              .title = answers[end].title,
                                              .detail = detail_of(passage, end),
                                              .parts = passage->record,
                                              .required = &required,
                                              .part_count = 1,
                                              .retry_after_s = end == UP_SHED ? 1
                                                               : end == UP_OPEN
                                                                   ? result->retry_in_ms / 1000 + 1
                                                                   : 0});
}

void failure_reply_loop(struct http_request *request)
{
    static const struct http_problem problem = {
        .status = 502,
        .type = "loop-detected",
        .title = "This request has come back to where it was",
    };
    http_add_header(request, "proxy-status", STR("gateway; error=proxy_loop_detected"));
    http_problem_reply(request, &problem);
}
