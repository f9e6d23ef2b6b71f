/* The response of a run that is over: the page as HTML or JSON, or the problem that it became, and
 * the headers that say how it went.
 *
 * What other caches may do with it, caching.c works out. */
#include "pages/pages_internal.h"

#include <stdio.h>
#include <time.h>

/* -- headers ---------------------------------------------------------------------------------- */

/* A header's value in the making; whoever begins it knows how long it can get. */
struct text {
    char *p;
    size_t n, room;
};

static struct text text_begin(h2o_mem_pool_t *pool, size_t room)
{
    return (struct text){h2o_mem_alloc_pool(pool, room), 0, room};
}

static void text_printf(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void text_printf(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text->p + text->n, text->room - text->n, format, args);
    va_end(args);
    gw_assert(n >= 0 && (size_t)n < text->room - text->n);
    text->n += (size_t)n;
}

static struct str text_str(const struct text *text)
{
    return (struct str){text->p, text->n};
}

/* A page without a template is JSON for everybody, and so are its errors. */
static bool is_json_page(const struct page_run *run)
{
    return run->page->template == NULL && !run->page->gathers;
}

/* A call for it did, whatever stands in for it now. */
static bool has_failed(const struct part_run *part)
{
    return !run_is_sound(part) && part->state != PART_SKIPPED;
}

/* It should be there and isn't, or not all of it. */
static bool is_missing(const struct part_run *part)
{
    return part->state == PART_SKIPPED
               ? part->skip == SKIP_INPUT
               : has_failed(part) && part->state != PART_STALE && part->state != PART_FALLBACK &&
                     part->state != PART_STATIC;
}

enum { TOKEN_ROOM = 128 }; /* for all of a list member but the part's name */

/* RFC 9209, a member per failed part, in configured order. next-hop is the upstream's name, an
 * alias that hides its address; details say which part it was and how that ended. */
static struct str proxy_status(const struct page_run *run)
{
    size_t room = 1;
    for (size_t i = 0; i < run->page->part_count; i++)
        room += run->page->parts[i].config->upstream.n + run->page->parts[i].config->name.n +
                TOKEN_ROOM;
    struct text text = text_begin(run->request->pool, room);
    for (size_t i = 0; i < run->page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        if (!has_failed(part))
            continue;
        text_printf(&text, "%sgateway; next-hop=\"%s\"; ", text.n ? ", " : "",
                    part->plan->config->upstream.p);
        if (part->record->error != NULL)
            text_printf(&text, "error=%s", part->record->error);
        else
            text_printf(&text, "received-status=%d", part->record->status);
        text_printf(&text, "; details=\"%s %s\"", part->plan->config->name.p, part->record->state);
    }
    return text_str(&text);
}

static struct str server_timing(const struct page_run *run, uint64_t render_us)
{
    size_t room = TOKEN_ROOM;
    for (size_t i = 0; i < run->page->part_count; i++)
        room += run->page->parts[i].config->name.n + TOKEN_ROOM;
    struct text text = text_begin(run->request->pool, room);
    for (size_t i = 0; i < run->page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        text_printf(&text, "%s;dur=%.1f;desc=\"%s\", ", part->plan->config->name.p,
                    part->record->us / 1000.0, part->record->state);
    }
    if (render_us != 0)
        text_printf(&text, "render;dur=%.1f, ", (double)render_us / 1000.0);
    text_printf(&text, "total;dur=%.1f", (double)(clock_us() - run->started_us) / 1000.0);
    return text_str(&text);
}

void reply_add_outcome(struct page_run *run, bool complete, uint64_t render_us)
{
    if (!complete) {
        struct str failed = proxy_status(run);
        if (failed.n != 0)
            http_add_header(run->request, "proxy-status", failed);
    }
    if (run->page->pages->config->server.server_timing)
        http_add_header(run->request, "server-timing", server_timing(run, render_us));
}

static void add_headers(struct page_run *run, bool is_page, uint64_t render_us)
{
    struct http_request *request = run->request;
    bool complete = is_page && run_is_complete(run);
    if (!run->page->gathers)
        http_add_header(request, "x-page-completed", complete ? STR("true") : STR("false"));
    if (is_page && !is_json_page(run))
        stream_add_headers(run->page, request);
    if (is_page) /* problems say no-store themselves */
        caching_add_headers(run, complete, !is_json_page(run));
    else if (!is_json_page(run))
        http_add_header(request, "vary", STR("Accept"));
    reply_add_outcome(run, complete, render_us);
}

/* -- problems --------------------------------------------------------------------------------- */

static void reply_refused(struct page_run *run)
{
    struct text text = text_begin(run->request->pool, run->refused_by->full.n + TOKEN_ROOM);
    text_printf(&text, "%.*s %s", (int)run->refused_by->full.n, run->refused_by->full.p,
                expand_result_text(run->refused));
    add_headers(run, false, 0);
    http_problem_reply(run->request, &(struct http_problem){.status = 400,
                                                            .type = "bad-value",
                                                            .title = "A value can't be used",
                                                            .detail = text_str(&text),
                                                            .json_only = is_json_page(run)});
}

/* The part whose failure it was that let this one down. */
static const struct part_run *cause_of(const struct part_run *part)
{
    while (part->skip == SKIP_INPUT && part->because != NULL)
        part = part->because;
    return part;
}

/* For the client: which part, and how; never an address. */
static struct str failure_detail(const struct page_run *run, const struct part_run *failed)
{
    const struct part_run *part = cause_of(failed);
    struct text text = text_begin(run->request->pool, failed->plan->config->name.n +
                                                          part->plan->config->name.n + TOKEN_ROOM);
    if (part != failed)
        text_printf(&text, "part '%s' needs ", failed->plan->config->name.p);
    text_printf(&text, "part '%s'%s ", part->plan->config->name.p, part != failed ? ", which" : "");
    switch (part->state) {
    case PART_TIMEOUT:
        text_printf(&text, "gave no response within %u ms",
                    (part->record->us - part->record->begin_us) / 1000);
        break;
    case PART_OPEN:
        text_printf(&text, "was not asked: its service has failed too often");
        break;
    case PART_SHED:
        text_printf(&text, "was not asked: too many requests for it are under way");
        break;
    case PART_OK:
    case PART_STALE:
    case PART_FALLBACK:
    case PART_STATIC:
        text_printf(&text, "has no value for it");
        break;
    case PART_SKIPPED:
        text_printf(&text, "was not asked");
        break;
    default:
        if (part->record->error != NULL)
            text_printf(&text, "failed: %s", part->record->error);
        else
            text_printf(&text, "answered %d", part->record->status);
    }
    return text_str(&text);
}

/* The failed parts, required ones first. */
static size_t failed_parts(const struct page_run *run, struct access_part *parts, bool *required)
{
    size_t count = 0;
    for (int need = NEED_REQUIRED; need >= NEED_OPTIONAL; need--) {
        for (size_t i = 0; i < run->page->part_count; i++) {
            const struct part_run *part = &run->parts[i];
            if (!is_missing(part) || part->plan->config->need != need)
                continue;
            parts[count] = *part->record;
            required[count++] = need == NEED_REQUIRED;
        }
    }
    return count;
}

static void reply_failed(struct page_run *run, const struct part_run *failed)
{
    static const struct {
        const char *type, *title;
    } problems[] = {
        [PART_OK] = {"part-unusable", "A required part lacks a value"},
        [PART_STALE] = {"part-unusable", "A required part lacks a value"},
        [PART_FALLBACK] = {"part-unusable", "A required part lacks a value"},
        [PART_STATIC] = {"part-unusable", "A required part lacks a value"},
        [PART_TIMEOUT] = {"upstream-timeout", "A required part timed out"},
        [PART_ERROR] = {"upstream-failed", "A required part failed"},
        [PART_OPEN] = {"upstream-unavailable", "A required part is not available"},
        [PART_SHED] = {"upstream-overloaded", "A required part is overloaded"},
        [PART_SKIPPED] = {"part-skipped", "A required part was not asked for"},
    };
    const struct part_run *cause = cause_of(failed);
    unsigned retry_after_s = cause->state == PART_SHED   ? 1
                             : cause->state == PART_OPEN ? cause->retry_in_ms / 1000 + 1
                                                         : 0;
    h2o_mem_pool_t *pool = run->request->pool;
    struct access_part *parts = h2o_mem_alloc_pool(pool, run->page->part_count * sizeof(*parts));
    bool *required = h2o_mem_alloc_pool(pool, run->page->part_count * sizeof(*required));
    add_headers(run, false, 0);
    http_problem_reply(run->request,
                       &(struct http_problem){.status = run_page_status(failed),
                                              .type = problems[cause->state].type,
                                              .title = problems[cause->state].title,
                                              .detail = failure_detail(run, failed),
                                              .parts = parts,
                                              .required = required,
                                              .part_count = failed_parts(run, parts, required),
                                              .json_only = is_json_page(run),
                                              .retry_after_s = retry_after_s});
}

/* -- pages ------------------------------------------------------------------------------------ */

/* Now as RFC 3339, made once a second. */
static struct str now_text(struct page_loop *loop)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != loop->now_s || loop->now_text[0] == '\0') {
        struct tm utc;
        gmtime_r(&now.tv_sec, &utc);
        strftime(loop->now_text, sizeof(loop->now_text), "%Y-%m-%dT%H:%M:%SZ", &utc);
        loop->now_s = now.tv_sec;
    }
    return str_from(loop->now_text);
}

static void write_meta_part(struct out *out, const struct part_run *part)
{
    out_str(out, part->plan->json_key);
    out_str(out, STR("{\"state\":\""));
    out_str(out, str_from(part->record->state));
    out_str(out, STR("\",\"status\":"));
    out_number(out, (uint64_t)part->record->status);
    out_str(out, STR(",\"ms\":"));
    out_number(out, part->record->us / 1000);
    out_str(out, STR(",\"attempts\":"));
    out_number(out, part->record->attempts);
    if (part->cached != NULL) {
        out_str(out, STR(",\"age\":"));
        out_number(out, run_age_s(part));
        out_str(out, STR(",\"cache\":\""));
        out_str(out, str_from(cache_word_name(part->cached->word)));
        out_str(out, STR("\""));
    }
    if (part->record->error != NULL) {
        out_str(out, STR(",\"error\":\""));
        out_str(out, str_from(part->record->error));
        out_str(out, STR("\""));
    }
    if (part_is_each(part->plan)) {
        out_str(out, STR(",\"calls\":"));
        out_number(out, part->calls);
        out_str(out, STR(",\"failed\":"));
        out_number(out, part->calls_failed);
    }
    if (part->skip == SKIP_WHEN || part->because != NULL) {
        out_str(out, STR(",\"because\":\""));
        out_str(out, part->skip == SKIP_WHEN ? STR("when") : part->because->plan->config->name);
        out_str(out, STR("\""));
    }
    out_str(out, STR("}"));
}

void reply_write_json(struct page_run *run, struct out *out)
{
    out_str(out, STR("{\"data\":"));
    json_write(out, view_data(run));
    out_str(out, STR(",\"meta\":{\"completed\":"));
    out_str(out, run_is_complete(run) ? STR("true") : STR("false"));
    out_str(out, STR(",\"generated_at\":\""));
    out_str(out, now_text(run->loop));
    out_str(out, STR("\",\"request_id\":\""));
    out_json_escaped(out, run->request->id);
    out_str(out, STR("\",\"parts\":{"));
    for (size_t i = 0; i < run->page->part_count; i++) {
        if (i != 0)
            out_str(out, STR(","));
        write_meta_part(out, &run->parts[i]);
    }
    out_str(out, STR("}}}\n"));
}

/* The greatest size lately: falls slowly, so that a run of small pages doesn't make the next large
 * one grow its buffer. Concurrent updates may be lost; it is only a guess. */
static void note_size(_Atomic size_t *expected, size_t size)
{
    size_t before = atomic_load_explicit(expected, memory_order_relaxed);
    size_t decayed = before - before / 64;
    size_t next = size > decayed ? size : decayed;
    if (next != before)
        atomic_store_explicit(expected, next, memory_order_relaxed);
}

/* Rendering hit one of its limits: half a page must not pass for a whole one. */
static void reply_unrendered(struct page_run *run)
{
    static _Atomic bool warned; /* by whatever data comes: once is enough */
    if (!atomic_exchange(&warned, true))
        log_event(LOG_ERROR, "template too deep or page too large", "page=%s",
                  log_quote(run->page->config->name));
    add_headers(run, false, 0);
    http_problem_reply(run->request, &(struct http_problem){.status = 500,
                                                            .type = "rendering-failed",
                                                            .title = "The page can't be rendered"});
}

#define HTML "text/html; charset=utf-8"

/* Whole pages have a validator; of JSON only those without `meta` of this one request could. */
static void send_page(struct page_run *run, const char *type, struct out *out)
{
    struct http_request *request = run->request;
    bool coded = http_wants_gzip(request, type, out_size(out)), complete = run_is_complete(run);
    struct str etag = complete ? caching_add_etag(request, out, coded) : STR("");
    bool keeps = complete && caching_keeps(run), remakes = complete && rendered_keeps(run),
         known = complete && caching_client_has(request, etag);
    if (coded && (keeps || remakes || !known))
        http_gzip(request, out);
    if (remakes)
        rendered_keep(run, etag, out);
    if (keeps)
        caching_keep(run, type, etag, out);
    http_reply(request, known ? 304 : 200, known ? NULL : type, known ? NULL : out);
}

static void send_rendered(struct page_run *run, const struct cache_entry *entry)
{
    struct http_request *request = run->request;
    struct out out;
    add_headers(run, true, 0);
    http_add_header(request, "etag", entry->rules.etag);
    request->is_gzip = entry->header_count != 0;
    out_init(&out, request->pool, 64);
    out_refer(&out, entry->body.p, entry->body.n);
    if (caching_keeps(run))
        caching_keep(run, HTML, entry->rules.etag, &out);
    bool known = caching_client_has(request, entry->rules.etag);
    http_reply(request, known ? 304 : 200, known ? NULL : HTML, known ? NULL : &out);
}

static void reply_html(struct page_run *run)
{
    enum { MAX_EXPECTED = 1 << 18, SLACK = 64 };
    struct page *page = run->page;
    struct http_request *request = run->request;
    bool timed = page->pages->config->server.server_timing || request->trace.sampled;
    uint64_t began_us = timed ? clock_us() : 0;
    const struct cache_entry *rendered = run_is_complete(run) ? rendered_find(run) : NULL;
    if (rendered != NULL) {
        send_rendered(run, rendered);
        return;
    }

    size_t expected = atomic_load_explicit(&page->html_size, memory_order_relaxed);
    struct out out;
    out_init(&out, request->pool, expected < MAX_EXPECTED ? expected + SLACK : MAX_EXPECTED);
    if (!template_render(page->template, view_root(run), request->pool, &out)) {
        reply_unrendered(run);
        return;
    }
    note_size(&page->html_size, out_size(&out));
    uint64_t ended_us = timed ? clock_us() : 0;
    if (timed)
        trace_write_inner(&request->trace, STR("render"), began_us, ended_us, NULL, STR(""));
    add_headers(run, true, ended_us - began_us);
    send_page(run, HTML, &out);
}

static void reply_json(struct page_run *run)
{
    const struct trace_link *trace = &run->request->trace;
    uint64_t began_us = trace->sampled ? clock_us() : 0;
    struct out out;
    out_init(&out, run->request->pool, 0);
    reply_write_json(run, &out);
    if (began_us != 0)
        trace_write_inner(trace, STR("render"), began_us, clock_us(), NULL, STR(""));
    add_headers(run, true, 0);
    send_page(run, "application/json", &out);
}

/* Envoy's letters for the first failed part, as far as they fit. */
static const char *access_flags(const struct page_run *run)
{
    for (size_t i = 0; i < run->page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        const char *error = part->record->error ? part->record->error : "";
        size_t length = strlen(error);
        if (!has_failed(part))
            continue;
        if (length > 8 && strcmp(error + length - 8, "_timeout") == 0)
            return "UT";
        if (part->state == PART_SHED || part->state == PART_OPEN ||
            strcmp(error, "connection_limit_reached") == 0)
            return "UO";
        if (strncmp(error, "connection_refused", 18) == 0 || strncmp(error, "dns_", 4) == 0 ||
            strncmp(error, "destination_", 12) == 0 || strncmp(error, "tls_", 4) == 0)
            return "UF";
        if (strcmp(error, "connection_terminated") == 0 ||
            strcmp(error, "http_response_incomplete") == 0)
            return "UC";
    }
    return "";
}

bool reply_problem(struct page_run *run)
{
    const struct part_run *failed = run_failed_required(run);
    run->request->flags = access_flags(run);
    if (run->refused != EXPAND_OK)
        reply_refused(run);
    else if (failed != NULL)
        reply_failed(run, failed);
    return run->refused != EXPAND_OK || failed != NULL;
}

void reply_note_flags(struct page_run *run)
{
    run->request->flags = access_flags(run);
}

void reply_send(struct page_run *run)
{
    run->request->completed = run_is_complete(run) ? PAGE_COMPLETE : PAGE_DEGRADED;
    if (run->stream != NULL && stream_finish(run)) {
        reply_note_flags(run);
        return;
    }
    if (reply_problem(run)) {
        run->request->completed = PAGE_NONE;
        return;
    }
    if (is_json_page(run) || http_wants_json(run->request))
        reply_json(run);
    else
        reply_html(run);
}
