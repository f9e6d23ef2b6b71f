/* A run: parts started in the moment in which what they need is in, and the wait for the last of
 * them, the deadline, or a required part's failure, whichever is first. A part that ends frees
 * those which await it (run_advance()).
 *
 * The status of a page is known as soon as a required part has failed, so the others are cut then
 * (skipped) and the error goes out at once. The run's memory is the request's: when the client
 * leaves, or when the response was sent, its disposal cancels or gives back what is left. Bodies
 * stay with their calls until then, because the response points into them. */
#include "pages/pages_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* -- tapes ------------------------------------------------------------------------------------ */

struct tape *tape_take(struct page_run *run)
{
    struct page_loop *loop = run->loop;
    struct tape *tape = loop->spare;
    if (tape != NULL) {
        loop->spare = tape->next;
        loop->spare_count--;
    } else {
        tape = h2o_mem_alloc(sizeof(*tape));
        json_doc_init(&tape->doc);
    }
    tape->next = run->tapes;
    run->tapes = tape;
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

/* -- what became of parts -----------------------------------------------------------------------
 */

static uint64_t bit_of(const struct part_run *part)
{
    return (uint64_t)1 << (part - part->run->parts);
}

bool run_has_data(const struct part_run *part)
{
    return part->state == PART_OK || part->state == PART_STALE || part->state == PART_FALLBACK ||
           part->state == PART_STATIC || part->partial;
}

/* Skipped, and nothing is missing for it. */
static bool is_unwanted(const struct part_run *part)
{
    return part->state == PART_SKIPPED && (part->skip == SKIP_WHEN || part->skip == SKIP_ALONG);
}

/* Its page can't do without it, and has to. */
static bool is_lacking(const struct part_run *part)
{
    return part->plan->config->need == NEED_REQUIRED && part->state != PART_RUNNING &&
           !run_has_data(part) && (part->state != PART_SKIPPED || part->skip == SKIP_INPUT);
}

bool run_is_sound(const struct part_run *part)
{
    return part->state == PART_OK || (part->state == PART_STALE && part->rung == RUNG_FRESH);
}

uint64_t run_age_s(const struct part_run *part)
{
    return part->cached != NULL ? part->cached->age_ms / 1000 : 0;
}

bool run_is_complete(const struct page_run *run)
{
    for (size_t i = 0; i < run->page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        if (!run_is_sound(part) && !is_unwanted(part))
            return false;
    }
    return true;
}

const struct part_run *run_failed_required(const struct page_run *run)
{
    for (size_t i = 0; i < run->page->part_count; i++)
        if (is_lacking(&run->parts[i]))
            return &run->parts[i];
    return NULL;
}

int run_page_status(const struct part_run *failed)
{
    while (failed->state == PART_SKIPPED && failed->because != NULL)
        failed = failed->because;
    int status = outcome_page_status(failed->state);
    return status != 200 ? status : 502; /* the input was fine, but not what was needed */
}

struct str run_text(struct page_run *run, const char *format, ...)
{
    char text[192];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t length = n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1;
    char *kept = h2o_mem_alloc_pool(run->request->pool, length + 1);
    memcpy(kept, text, length);
    return (struct str){kept, length};
}

/* -- ending ----------------------------------------------------------------------------------- */

/* One line a minute and part: the access log has each case, this tells the operator why. */
static void warn(struct part_run *part)
{
    enum { EVERY_US = 60 * 1000000 };
    struct part_plan *plan = part->plan;
    uint64_t now = part->run->started_us;
    uint64_t last = atomic_load_explicit(&plan->warned_us, memory_order_relaxed);
    if ((last != 0 && now < last + EVERY_US) ||
        !atomic_compare_exchange_strong(&plan->warned_us, &last, now))
        return;
    struct str error = part->record->error           ? str_from(part->record->error)
                       : part->state == PART_SKIPPED ? STR("input")
                                                     : STR("status");
    log_event(LOG_WARN, "part failed", "page=%s part=%s state=%s error=%s detail=%s",
              log_quote(part->run->page->config->name), log_quote(plan->config->name),
              part->record->state, log_quote(error), log_quote(part->detail));
}

void run_end_part(struct part_run *part, enum part_state state)
{
    struct page_run *run = part->run;
    gw_assert(part->state == PART_RUNNING);
    part->state = state;
    part->record->state = part_state_name(state);
    part->record->us = (uint32_t)(clock_us() - run->started_us);
    if (state == PART_SKIPPED)
        part->record->error = NULL; /* nothing went wrong with it */
    run->waiting &= ~bit_of(part);
    run->ended |= bit_of(part);
    run->running--;
    if (!run_is_sound(part) && part->skip != SKIP_CUT && !is_unwanted(part))
        warn(part);
    run->failed |= is_lacking(part);
}

static void finish(struct page_run *run)
{
    timer_stop(run->loop->loop, &run->deadline);
    run->over = true;
    run->finish(run);
}

void run_release(struct page_run *run)
{
    for (struct ask *it = run->asks; it != NULL; it = it->next)
        it->cached != NULL ? cache_call_release(&it->cached) : up_call_release(&it->call);
    for (struct tape *tape = run->tapes, *next; tape != NULL; tape = next) {
        next = tape->next;
        tape_give(run->loop, tape);
    }
    run->tapes = NULL;
    for (size_t i = 0; i < run->page->part_count; i++)
        run->parts[i].value = JSON_NONE;
}

static void skip(struct part_run *part, enum part_skip why)
{
    part->skip = why;
    part->rung = RUNG_ABSENT;
    run_end_part(part, PART_SKIPPED);
}

/* -- cutting ---------------------------------------------------------------------------------- */

/* Nobody waits for what still runs. */
static void drop_parts(struct page_run *run)
{
    ask_cancel_all(run);
    for (size_t i = 0; i < run->page->part_count && run->running != 0; i++) {
        struct part_run *part = &run->parts[i];
        if (part->state != PART_RUNNING)
            continue;
        part->value = json_null();
        part->detail = STR("not needed any more");
        skip(part, SKIP_CUT);
    }
}

static const struct part_run *lacking_input(const struct part_run *part)
{
    for (uint64_t left = part->plan->needs; left != 0; left &= left - 1) {
        const struct part_run *input = &part->run->parts[__builtin_ctzll(left)];
        if (input->state != PART_RUNNING && !run_has_data(input))
            return input;
    }
    return NULL;
}

static void skip_without(struct part_run *part, const struct part_run *input)
{
    if (is_unwanted(input)) {
        part->because = input;
        skip(part, SKIP_ALONG);
        return;
    }
    static const char *const texts[] = {
        [PART_TIMEOUT] = "timed out", [PART_ERROR] = "failed",        [PART_OPEN] = "wasn't asked",
        [PART_SHED] = "was shed",     [PART_SKIPPED] = "was skipped",
    };
    ladder_without_input(
        part, input,
        run_text(part->run, "%s %s", input->plan->config->name.p, texts[input->state]));
}

/* begun: else it was still waiting for an input, or was about to. */
static void cut_late(struct part_run *part, bool begun)
{
    if (part->rung == RUNG_FRESH && part->elements != NULL)
        elements_cut(part);
    else
        ladder_failed(part, &(struct failure){.state = PART_TIMEOUT,
                                              .error = "http_response_timeout",
                                              .detail = begun ? STR("cut by the page's deadline")
                                                              : STR("not asked before the "
                                                                    "deadline")});
}

static void deadline_passed(struct timer *timer)
{
    struct page_run *run = CONTAINER_OF(timer, struct page_run, deadline);
    ask_cancel_all(run);
    for (size_t n = 0; n < run->page->part_count && run->running != 0; n++) {
        struct part_run *part = &run->parts[run->page->order[n]];
        bool begun = !(run->waiting & bit_of(part));
        if (part->state != PART_RUNNING)
            continue;
        const struct part_run *input = begun ? NULL : lacking_input(part);
        if (!begun && part->plan->when.parts != 0 && !write_when_holds(part))
            skip(part, SKIP_WHEN);
        else if (input != NULL)
            skip_without(part, input);
        else
            cut_late(part, begun);
    }
    finish(run);
}

/* The response was sent, or the client left: then nobody waits for the parts any more. What a pool
 * shares goes in the reverse order of its coming, so http/ has yet to log the records. */
static void dispose(void *memory)
{
    struct page_run *run = memory;
    if (run->stream != NULL)
        stream_stop(run);
    if (!run->over) {
        timer_stop(run->loop->loop, &run->deadline);
        drop_parts(run);
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

static bool is_listed(const struct config_strings *names, struct str name)
{
    for (size_t i = 0; i < names->count; i++)
        if (str_caseeq(names->items[i], name))
            return true;
    return false;
}

static struct header_set *forwarded_headers(const struct page *page, struct http_request *request)
{
    static const struct str traced[] = {{"tracestate", 10}, {"baggage", 7}};
    struct header_set *sets =
        h2o_mem_alloc_pool(request->pool, page->header_list_count * sizeof(*sets));
    for (size_t i = 0; i < page->header_list_count; i++) {
        const struct config_strings *names = page->header_lists[i];
        sets[i].headers = h2o_mem_alloc_pool(request->pool, (names->count + COUNT(traced)) *
                                                                sizeof(*sets[i].headers));
        sets[i].count = 0;
        for (size_t j = 0; j < names->count; j++) {
            struct str value = http_forward_header(request, names->items[j]);
            if (value.p != NULL)
                sets[i].headers[sets[i].count++] = (struct up_header){names->items[j], value};
        }
        for (size_t j = 0; j < COUNT(traced) && trace_is(&request->trace); j++) {
            struct str value = http_trace_header(request, traced[j]);
            if (value.p != NULL && !is_listed(names, traced[j]))
                sets[i].headers[sets[i].count++] = (struct up_header){traced[j], value};
        }
    }
    return sets;
}

/* Its inputs are in. */
static void begin(struct part_run *part)
{
    struct part_plan *plan = part->plan;
    struct page_run *run = part->run;
    run->waiting &= ~bit_of(part);
    if (plan->awaits != 0) {
        part->record->begin_us = (uint32_t)(clock_us() - run->started_us);
        if (plan->when.parts != 0 && !write_when_holds(part)) {
            skip(part, SKIP_WHEN);
            return;
        }
        const struct part_run *input = lacking_input(part);
        if (input != NULL) {
            skip_without(part, input);
            return;
        }
    }
    if (part_is_each(plan)) {
        elements_start(part);
        return;
    }
    if (plan->call.reads_data) {
        const struct expand_variable *culprit;
        enum expand_result result =
            write_call(part, &plan->call, NULL, 1, &part->written, &culprit);
        if (result != EXPAND_OK) {
            bool of_part = culprit->source == EXPAND_PART;
            ladder_without_input(part, of_part ? &run->parts[culprit->param] : NULL,
                                 write_refusal(part, result, culprit));
            return;
        }
    }
    ask(&part->asker, &plan->call, &part->written, &part->ask);
}

void run_advance(struct page_run *run)
{
    /* in the graph's order, so that what ends at once frees only what comes later */
    for (size_t n = 0; n < run->page->part_count && run->waiting != 0 && !run->failed; n++) {
        struct part_run *part = &run->parts[run->page->order[n]];
        if (run->waiting & bit_of(part) && !(part->plan->awaits & ~run->ended))
            begin(part);
    }
    if (run->failed)
        drop_parts(run);
    if (run->running == 0)
        finish(run);
    else if (run->stream != NULL)
        stream_advance(run);
}

/* Writes what needs no other part, so that a value of the request that can't be used is found
 * before anybody was asked. False: there is such a value. */
static bool prepare(struct page_run *run)
{
    for (size_t i = 0; i < run->page->part_count; i++) {
        struct part_run *part = &run->parts[i];
        const struct part_plan *plan = part->plan;
        if (plan->when.count != 0 && plan->when.parts == 0 && !write_when_holds(part)) {
            skip(part, SKIP_WHEN);
            continue;
        }
        if (!plan->call.reads_data)
            run->refused = write_call(part, &plan->call, NULL, 1, &part->written, &run->refused_by);
        else if (plan->call.reads_request)
            run->refused = write_check(part, &plan->call, &run->refused_by);
        if (run->refused != EXPAND_OK)
            return false;
    }
    return true;
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
                             .get = get,
                             .get_arg = get_arg,
                             .started_us = clock_us(),
                             .running = count};
    gw_assert(run->loop != NULL);
    if (page->config->micro_cache_ms != 0)
        caching_begin(run);
    timer_init(&run->deadline, deadline_passed);

    /* In the pool, not in the run: the log is written when runs may be gone already. */
    struct access_part *records = h2o_mem_alloc_pool(request->pool, count * sizeof(*records));
    for (size_t i = 0; i < count; i++) {
        struct part_run *part = &run->parts[i];
        records[i] = (struct access_part){.name = page->parts[i].config->name,
                                          .state = part_state_name(PART_RUNNING)};
        *part = (struct part_run){
            .run = run, .plan = &page->parts[i], .record = &records[i], .ttl_ms = UINT64_MAX};
        part->value = json_null();
        part->asker = (struct asker){
            .part = part, .placement = &part->plan->placement, .answered = ladder_answered};
        run->waiting |= bit_of(part);
    }
    request->parts = records;
    request->part_count = count;
    request->parts_us = run->started_us;

    if (!prepare(run)) {
        for (size_t i = 0; i < count; i++)
            if (run->parts[i].state == PART_RUNNING)
                skip(&run->parts[i], SKIP_CUT);
        finish(run);
        return run;
    }
    if (run->running != 0) {
        run->header_sets = forwarded_headers(page, request);
        run->deadline_ms = loop_now_ms(run->loop->loop) + page->config->deadline_ms;
        timer_start(run->loop->loop, &run->deadline, page->config->deadline_ms);
    }
    run_advance(run);
    return run;
}
