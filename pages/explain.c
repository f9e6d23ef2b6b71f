/* `gateway explain`: a page's plan, and a run of it with where each part's time went. For people at
 * a terminal, so the columns are as wide as what stands in them. */
#include "base/buf.h"
#include "base/text.h"
#include "pages/pages_internal.h"

static int widest(const struct page *page, struct str (*text)(const struct part_plan *part),
                  const char *title)
{
    size_t width = strlen(title);
    for (size_t i = 0; i < page->part_count; i++) {
        struct str s = text(&page->parts[i]);
        if (s.n > width)
            width = s.n;
    }
    return (int)width;
}

static struct str part_name(const struct part_plan *part)
{
    return part->config->name;
}

static struct str part_upstream(const struct part_plan *part)
{
    return part->config->upstream;
}

static struct str part_place(const struct part_plan *part)
{
    if (part->config->into.n == 0)
        return part->config->name;
    if (part_is_scattered(part))
        return STR("each of them");
    return part->placement.spread ? STR(". (the root)") : part->config->into;
}

/* -- the plan ---------------------------------------------------------------------------------- */

static void print_refusal(const struct expand_variable *variable, enum expand_result result,
                          FILE *to)
{
    fprintf(to, "refused with 400: %.*s %s\n", (int)variable->full.n, variable->full.p,
            expand_result_text(result));
}

/* Of what hangs on other parts' answers, or holds what may be a secret, the text with its
 * variables.
 */
static void print_call(const char *title, const struct page *page, const struct call_plan *call,
                       const struct str *path, struct http_request *request, FILE *to)
{
    struct str base = upstream_url(call->upstream);
    struct str shown = config_shown(page->pages->config, path), target = shown;
    const struct expand_variable *culprit;
    enum expand_result result = EXPAND_OK;
    bool written = call->target.parts == 0 && !call->reads_data && shown.p == path->p;
    if (written)
        result = expand(&call->target, run_variable, request, 1, request->pool, &target, &culprit);
    fprintf(to, "      %s%s %.*s%.*s\n", title, call->method != NULL ? call->method : "GET",
            (int)base.n, base.p, (int)target.n, target.p);
    if (written && call->target.variable_count != 0)
        fprintf(to, "      from %s\n", path->p);
    if (result != EXPAND_OK) {
        fputs("      ", to);
        print_refusal(culprit, result, to);
    }
}

/* "at once", or the parts that it waits for. */
static struct str part_starts(const struct page *page, const struct part_plan *part,
                              h2o_mem_pool_t *pool)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    for (size_t i = 0; i < page->part_count; i++)
        if (part->awaits >> i & 1)
            buf_printf(&text, "%s%s", text.n != 0 ? ", " : "after ", page->parts[i].config->name.p);
    if (text.n == 0)
        buf_printf(&text, "at once");
    char *kept = h2o_mem_alloc_pool(pool, text.n + 1);
    memcpy(kept, text.p, text.n + 1);
    struct str starts = {kept, text.n};
    buf_fini(&text);
    return starts;
}

static void print_each(const struct config_part *part, FILE *to)
{
    if (part->each.n == 0)
        return;
    fprintf(to, "      each %s as %s, at most %u, ", part->each.p, part->as.p, part->max_items);
    if (part->batch == 0)
        fprintf(to, "%u at a time\n", part->concurrency);
    else if (part->by.n != 0)
        fprintf(to, "%u in a call, told apart by %s\n", part->batch, part->by.p);
    else
        fprintf(to, "%u in a call, told apart by key\n", part->batch);
}

static void print_again(const struct part_plan *part, FILE *to)
{
    const struct config_upstream *up = upstream_config(part->call.upstream);
    if (part->call.method != NULL && !part->call.repeatable)
        return;
    if (up->retry.attempts > 1 || (up->retry.attempts == 0 && up->addresses.count > 1))
        fprintf(to, "      retry at most %u attempts, within %u %% of the calls\n",
                up->retry.attempts != 0 ? up->retry.attempts : 2, up->retry.budget);
    if (up->hedge.after.n != 0)
        fprintf(to, "      hedge after %s, within %u %% of the calls\n", up->hedge.after.p,
                up->hedge.budget);
}

static void print_text(const char *title, const char *sign, const struct page *page,
                       const struct str *field, FILE *to)
{
    struct str text = config_shown(page->pages->config, field);
    fprintf(to, "      %s%s %.*s\n", title, sign, (int)text.n, text.p);
}

static void print_fallback(const struct page *page, const struct part_plan *part,
                           struct http_request *request, FILE *to)
{
    const struct config_fallback *fallback = &part->config->fallback;
    if (part->fallback.upstream != NULL)
        print_call("fallback ", page, &part->fallback, &fallback->path, request, to);
    if (part->stand_in.count != 0)
        print_text("static", "", page,
                   fallback->static_file.n != 0 ? &fallback->static_file : &fallback->value, to);
}

static void print_paths(const char *title, const struct config_strings *paths, FILE *to)
{
    if (paths->count == 0)
        return;
    fprintf(to, "      %s ", title);
    for (size_t i = 0; i < paths->count; i++)
        fprintf(to, "%s%s", i ? ", " : "", paths->items[i].p);
    fputc('\n', to);
}

/* How it is sent, where that isn't as a whole. */
static void print_sending(const struct page *page, FILE *to)
{
    const char *between = ", without waiting for";
    if (page->streams) {
        fprintf(to, "  sent      as it comes, after %llu ms",
                (unsigned long long)page->config->flush_after_ms);
        for (size_t i = 0; i < page->part_count; i++) {
            if (!(page->deferred >> i & 1))
                continue;
            fprintf(to, "%s %s", between, page->parts[i].config->name.p);
            between = ",";
        }
        fputc('\n', to);
    }
    if (page->link.n != 0)
        fprintf(to, "  link      %.*s\n", (int)page->link.n, page->link.p);
    if (page->csp.n != 0)
        fprintf(to, "  policy    %.*s\n", (int)page->csp.n, page->csp.p);
}

void page_print_plan(const struct page *page, struct http_request *request, FILE *to)
{
    fprintf(to, "page %s\n", page->config->name.p);
    fprintf(to, "  path      %s\n", page->config->path.p);
    fprintf(to, "  template  %s\n", page->template ? page->config->template.p : "none, JSON only");
    fprintf(to, "  deadline  %llu ms\n", (unsigned long long)page->config->deadline_ms);
    print_sending(page, to);
    size_t at_once = 0;
    for (size_t i = 0; i < page->part_count; i++)
        at_once += page->parts[i].awaits == 0;
    if (at_once == page->part_count)
        fprintf(to, "  parts     %zu, asked at the same time\n\n", page->part_count);
    else
        fprintf(to, "  parts     %zu, %zu of them asked at once\n\n", page->part_count, at_once);

    int starts = 7;
    for (size_t i = 0; i < page->part_count; i++) {
        int width = (int)part_starts(page, &page->parts[i], request->pool).n;
        starts = width > starts ? width : starts;
    }
    int names = widest(page, part_name, "part"), ups = widest(page, part_upstream, "upstream");
    fprintf(to, "  %-*s  %-*s  %-8s  %8s  %-*s  %s\n", names, "part", ups, "upstream", "need",
            "timeout", starts, "starts", "into");
    for (size_t i = 0; i < page->part_count; i++) {
        const struct part_plan *part = &page->parts[i];
        uint64_t timeout_ms = part->config->timeout_ms
                                  ? part->config->timeout_ms
                                  : upstream_config(part->call.upstream)->timeout_ms;
        fprintf(to, "  %-*s  %-*s  %-8s  %5llu ms  %-*s  %s\n", names, part->config->name.p, ups,
                part->config->upstream.p,
                part->config->need == NEED_REQUIRED ? "required" : "optional",
                (unsigned long long)timeout_ms, starts, part_starts(page, part, request->pool).p,
                part_place(part).p);
        if (part->config->when.n != 0)
            print_text("when", "", page, &part->config->when, to);
        print_each(part->config, to);
        print_call("", page, &part->call, &part->config->path, request, to);
        for (size_t k = 0; k < part->config->headers.count; k++)
            print_text(part->config->headers.items[k].name.p, ":", page,
                       &part->config->headers.items[k].value, to);
        if (part->config->body.n != 0)
            print_text("body", "", page, &part->config->body, to);
        print_again(part, to);
        print_fallback(page, part, request, to);
        if (part->config->select.n != 0)
            fprintf(to, "      select %s\n", part->config->select.p);
        print_paths("allow", &part->config->allow, to);
        print_paths("deny", &part->config->deny, to);
    }
}

/* -- a run ------------------------------------------------------------------------------------- */

enum { BAR = 40 };

static void print_phases(const struct part_run *part, FILE *to)
{
    uint32_t lengths[ACCESS_PHASES];
    access_phases(part->record, lengths);
    for (size_t i = 0; i < ACCESS_PHASES; i++) {
        if (lengths[i] != 0)
            fprintf(to, "  %10.1f", lengths[i] / 1000.0);
        else
            fprintf(to, "  %10s", "-");
    }
    fprintf(to, "  %10.1f", part->record->us / 1000.0);
}

/* scale_us: how long the whole bar is. */
static void print_bar(const struct part_run *part, uint32_t scale_us, FILE *to)
{
    static const char letters[ACCESS_PHASES] = {'q', 'd', 'c', 't', 'f', 'r'};
    char bar[BAR + 1];
    memset(bar, ' ', BAR);
    bar[BAR] = '\0';
    uint32_t lengths[ACCESS_PHASES];
    access_phases(part->record, lengths);
    uint64_t at = part->record->times.total < part->record->us
                      ? part->record->us - part->record->times.total
                      : 0;
    for (uint64_t x = (uint64_t)part->record->begin_us * BAR / scale_us; x < at * BAR / scale_us;
         x++)
        if (x < BAR && part->record->times.total != 0)
            bar[x] = '.'; /* calls that came before: of an each, of what a fallback stands in for */
    if (part->record->times.total == 0)
        at = part->record->begin_us;
    for (size_t i = 0; i < ACCESS_PHASES; i++) {
        uint64_t end = at + lengths[i];
        for (uint64_t x = at * BAR / scale_us; x < end * BAR / scale_us && x < BAR; x++)
            bar[x] = letters[i];
        at = end;
    }
    /* a call that was cut has no phases, only an end */
    for (uint64_t x = at * BAR / scale_us; x < (uint64_t)part->record->us * BAR / scale_us; x++)
        if (x < BAR && part->record->times.total == 0)
            bar[x] = '.';
    fprintf(to, "  |%s|\n", bar);
}

struct explain {
    FILE *to;
    void (*done)(void *arg, bool all_required);
    void *arg;
};

/* An upstream's words may be among it, and a terminal obeys control characters. */
static void print_detail(struct str detail, FILE *to)
{
    for (size_t i = 0; i < detail.n; i++)
        fputc(has_control((struct str){detail.p + i, 1}) ? '?' : detail.p[i], to);
}

static void print_waterfall(const struct page_run *run, FILE *to)
{
    const struct page *page = run->page;
    int names = widest(page, part_name, "part");
    fprintf(to, "\n  %-*s  %-8s  %6s  %5s  %9s", names, "part", "state", "status", "calls",
            "bytes");
    static const char *const titles[] = {"queue",      "dns",     "connect", "tls",
                                         "first byte", "receive", "total ms"};
    for (size_t i = 0; i < COUNT(titles); i++)
        fprintf(to, "  %10s", titles[i]);
    fputc('\n', to);

    uint32_t scale_us = 1;
    for (size_t i = 0; i < page->part_count; i++)
        if (run->parts[i].record->us > scale_us)
            scale_us = run->parts[i].record->us;
    for (size_t i = 0; i < page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        fprintf(to, "  %-*s  %-8s  ", names, part->plan->config->name.p, part->record->state);
        if (part->record->status != 0)
            fprintf(to, "%6d", part->record->status);
        else
            fprintf(to, "%6s", "-");
        fprintf(to, "  %5u  %9llu", part->record->attempts,
                (unsigned long long)part->record->bytes);
        print_phases(part, to);
        print_bar(part, scale_us, to);
    }
    for (size_t i = 0; i < page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        if (part->state == PART_OK)
            continue;
        fprintf(to, "\n  %s: %s%s", part->plan->config->name.p,
                part->record->error ? part->record->error : "", part->record->error ? ": " : "");
        print_detail(part->detail, to);
        if (part_is_each(part->plan) && part->calls_failed != 0)
            fprintf(to, " (%u of %u calls failed)", part->calls_failed, part->calls);
    }
    fputc('\n', to);
}

static void finish(struct page_run *run)
{
    struct explain *explain = run->finish_arg;
    const struct part_run *failed = run_failed_required(run);
    FILE *to = explain->to;
    if (run->refused != EXPAND_OK) {
        print_refusal(run->refused_by, run->refused, to);
    } else {
        print_waterfall(run, to);
        view_data(run); /* counts collisions */
        unsigned long long collisions = atomic_load(&run->page->collisions);
        if (collisions != 0)
            fprintf(to, "\n  %llu members were replaced by those of later parts\n", collisions);
        fprintf(to, "\n  %d, %s, %.1f ms\n", failed != NULL ? run_page_status(failed) : 200,
                run_is_complete(run) ? "complete" : "not complete",
                (double)(clock_us() - run->started_us) / 1000.0);
    }
    run_release(run); /* the client may be gone before the request is */
    explain->done(explain->arg, run->refused == EXPAND_OK && failed == NULL);
}

void page_explain(struct page *page, struct http_request *request, FILE *to,
                  void (*done)(void *arg, bool all_required), void *arg)
{
    struct explain *explain = h2o_mem_alloc_pool(request->pool, sizeof(*explain));
    *explain = (struct explain){to, done, arg};
    run_start(page, request, run_variable, request, finish, explain);
}
