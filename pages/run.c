/* A run: all parts of a page started in one tick, and the wait for the last of them, the deadline,
 * or a required part's failure, whichever is first.
 *
 * The status of a page is known as soon as a required part has failed, so the others are cut then
 * (skipped) and the error goes out at once. The run's memory is the request's: when the client
 * leaves, or when the response was sent, its disposal cancels or gives back what is left. Bodies
 * stay with their calls until then, because the response points into them. */
#include "pages/pages_internal.h"

#include <stdlib.h>

/* -- tapes ------------------------------------------------------------------------------------ */

static struct tape *tape_take(struct page_loop *loop)
{
    struct tape *tape = loop->spare;
    if (tape != NULL) {
        loop->spare = tape->next;
        loop->spare_count--;
        return tape;
    }
    tape = h2o_mem_alloc(sizeof(*tape));
    json_doc_init(&tape->doc);
    return tape;
}

static void tape_give(struct page_loop *loop, struct tape *tape)
{
    if (loop->spare_count == MAX_SPARE_TAPES) {
        json_doc_fini(&tape->doc);
        free(tape);
        return;
    }
    json_doc_clear(&tape->doc);
    tape->next = loop->spare;
    loop->spare = tape;
    loop->spare_count++;
}

/* -- ending ----------------------------------------------------------------------------------- */

bool run_is_complete(const struct page_run *run)
{
    for (size_t i = 0; i < run->page->part_count; i++)
        if (run->parts[i].state != PART_OK)
            return false;
    return true;
}

const struct part_run *run_failed_required(const struct page_run *run)
{
    for (size_t i = 0; i < run->page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        if (part->plan->config->need == NEED_REQUIRED && part->state != PART_OK &&
            part->state != PART_SKIPPED)
            return part;
    }
    return NULL;
}

static void end_part(struct part_run *part, enum part_state state)
{
    gw_assert(part->state == PART_RUNNING);
    part->state = state;
    part->record->state = part_state_name(state);
    part->record->us = (uint32_t)(clock_us() - part->run->started_us);
    part->run->running--;
}

/* One line a minute and part: the access log has each case, this tells the operator why. */
static void warn_of_failure(struct part_run *part)
{
    enum { EVERY_US = 60 * 1000000 };
    struct part_plan *plan = part->plan;
    uint64_t now = part->run->started_us;
    uint64_t last = atomic_load_explicit(&plan->warned_us, memory_order_relaxed);
    if ((last != 0 && now < last + EVERY_US) ||
        !atomic_compare_exchange_strong(&plan->warned_us, &last, now))
        return;
    struct str error = part->record->error ? str_from(part->record->error) : STR("status");
    log_event(LOG_WARN, "part failed", "page=%s part=%s state=%s error=%s detail=%s",
              log_quote(part->run->page->config->name), log_quote(plan->config->name),
              part->record->state, log_quote(error), log_quote(part->detail));
}

/* Cuts what still runs. */
static void cut_parts(struct page_run *run, enum part_state state)
{
    for (size_t i = 0; i < run->page->part_count && run->running != 0; i++) {
        struct part_run *part = &run->parts[i];
        if (part->state != PART_RUNNING)
            continue;
        up_call_cancel(&part->call);
        part->value = json_null();
        part->record->error = state == PART_TIMEOUT ? "http_response_timeout" : NULL;
        part->record->attempts = 1;
        part->detail =
            state == PART_TIMEOUT ? STR("cut by the page's deadline") : STR("not needed any more");
        end_part(part, state);
        if (state == PART_TIMEOUT)
            warn_of_failure(part);
    }
}

static void finish(struct page_run *run)
{
    timer_stop(run->loop->loop, &run->deadline);
    run->over = true;
    run->finish(run);
}

static void deadline_passed(struct timer *timer)
{
    struct page_run *run = CONTAINER_OF(timer, struct page_run, deadline);
    cut_parts(run, PART_TIMEOUT);
    finish(run);
}

static void part_done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct part_run *part = arg;
    struct page_run *run = part->run;
    gw_assert(call == part->call && !run->over);

    if (result->end == UP_ANSWERED && result->body.n != 0)
        part->tape = tape_take(run->loop);
    struct outcome outcome;
    outcome_judge(result, &part->plan->placement, part->tape ? &part->tape->doc : NULL,
                  run->request->pool, &outcome);
    part->value = outcome.value;
    part->detail = outcome.detail;
    part->times = result->times;
    part->record->status = result->status;
    part->record->error = outcome.error;
    part->record->bytes = result->wire_bytes;
    part->record->attempts = result->attempts;
    end_part(part, outcome.state);
    if (outcome.state != PART_OK) {
        up_call_release(&part->call);
        warn_of_failure(part);
        if (part->plan->config->need == NEED_REQUIRED)
            cut_parts(run, PART_SKIPPED);
    }
    if (run->running == 0)
        finish(run);
}

void run_release(struct page_run *run)
{
    for (size_t i = 0; i < run->page->part_count; i++) {
        struct part_run *part = &run->parts[i];
        up_call_release(&part->call);
        if (part->tape != NULL)
            tape_give(run->loop, part->tape);
        part->tape = NULL;
        part->value = JSON_NONE;
    }
}

/* The response was sent, or the client left: then nobody waits for the parts any more. What a pool
 * shares goes in the reverse order of its coming, so http/ has yet to log the records. */
static void dispose(void *memory)
{
    struct page_run *run = memory;
    if (!run->over) {
        timer_stop(run->loop->loop, &run->deadline);
        cut_parts(run, PART_SKIPPED);
    }
    run_release(run);
}

/* -- starting --------------------------------------------------------------------------------- */

struct str run_variable(void *arg, const struct expand_variable *variable, size_t item)
{
    (void)item;
    struct http_request *request = arg;
    switch ((enum expand_source)variable->source) {
    case EXPAND_PATH:
        return request->params[variable->param];
    case EXPAND_QUERY:
        return http_query(request, variable->name);
    case EXPAND_HEADER:
        return http_header(request, variable->name);
    case EXPAND_COOKIE:
        return http_cookie(request, variable->name);
    case EXPAND_FIELD: /* gather.c's */
    case EXPAND_PART:
    case EXPAND_ITEM:
        break;
    }
    return (struct str){NULL, 0};
}

struct header_set {
    struct up_header *headers;
    size_t count;
};

static struct header_set *forwarded_headers(const struct page *page, struct http_request *request)
{
    struct header_set *sets =
        h2o_mem_alloc_pool(request->pool, page->header_list_count * sizeof(*sets));
    for (size_t i = 0; i < page->header_list_count; i++) {
        const struct config_strings *names = page->header_lists[i];
        sets[i].headers =
            h2o_mem_alloc_pool(request->pool, names->count * sizeof(*sets[i].headers));
        sets[i].count = 0;
        for (size_t j = 0; j < names->count; j++) {
            struct str value = http_forward_header(request, names->items[j]);
            if (value.p != NULL)
                sets[i].headers[sets[i].count++] = (struct up_header){names->items[j], value};
        }
    }
    return sets;
}

/* False: a value can't be used; nothing was asked. */
static bool expand_targets(struct page_run *run, expand_get_fn *get, void *get_arg)
{
    for (size_t i = 0; i < run->page->part_count; i++) {
        struct part_run *part = &run->parts[i];
        run->refused = expand(&part->plan->target, get, get_arg, 1, run->request->pool,
                              &part->target, &run->refused_by);
        if (run->refused != EXPAND_OK)
            return false;
    }
    return true;
}

static void start_parts(struct page_run *run)
{
    const struct header_set *sets = forwarded_headers(run->page, run->request);
    for (size_t i = 0; i < run->page->part_count; i++) {
        struct part_run *part = &run->parts[i];
        const struct header_set *set = &sets[part->plan->header_list];
        struct up_request request = {.upstream = part->plan->upstream,
                                     .target = part->target,
                                     .headers = set->headers,
                                     .header_count = set->count,
                                     .timeout_ms = part->plan->config->timeout_ms};
        part->call = up_call_start(run->loop->client, &request, part_done, part);
    }
    timer_start(run->loop->loop, &run->deadline, run->page->config->deadline_ms);
}

struct page_run *run_start(struct page *page, struct http_request *request, expand_get_fn *get,
                           void *get_arg, page_finish_fn *finish_fn, void *finish_arg)
{
    size_t count = page->part_count;
    struct page_run *run =
        h2o_mem_alloc_shared(request->pool, sizeof(*run) + count * sizeof(run->parts[0]), dispose);
    *run = (struct page_run){.page = page,
                             .request = request,
                             .loop = page->pages->loops[loop_index(request->loop)],
                             .finish = finish_fn,
                             .finish_arg = finish_arg,
                             .started_us = clock_us(),
                             .running = count};
    gw_assert(run->loop != NULL);
    timer_init(&run->deadline, deadline_passed);

    /* In the pool, not in the run: the log is written when runs may be gone already. */
    struct access_part *records = h2o_mem_alloc_pool(request->pool, count * sizeof(*records));
    for (size_t i = 0; i < count; i++) {
        records[i] = (struct access_part){.name = page->parts[i].config->name,
                                          .state = part_state_name(PART_RUNNING)};
        run->parts[i] =
            (struct part_run){.run = run, .plan = &page->parts[i], .record = &records[i]};
    }
    request->parts = records;
    request->part_count = count;

    if (!expand_targets(run, get, get_arg)) {
        for (size_t i = 0; i < count; i++)
            end_part(&run->parts[i], PART_SKIPPED);
        finish(run);
    } else if (count == 0) {
        finish(run);
    } else {
        start_parts(run);
    }
    return run;
}
