/* A call is made of attempts. What happens when is one table, steps[] at the end of this file:
 *
 *                turn    has a slot   ended well   ended badly   timer
 *   STARTED      ask
 *   TRYING               watch        settle       try_again     hedge
 *   HEDGED               count_second settle       wait_for_other
 *   RESTING                                                      ask
 *
 *   ask             the breaker; then an attempt -> TRYING, or the call is over -> DONE
 *   watch           the first attempt has so long alone (timer) before a second helps it
 *   hedge           a second attempt beside the first -> HEDGED
 *   wait_for_other  one of two failed -> TRYING
 *   try_again       a backoff (timer) -> RESTING, or the call is over -> DONE
 *   settle          the call is over -> DONE; an attempt that still runs is cancelled
 *
 * The deadline has no timer: each attempt gets at most what is left, and no rest begins that
 * wouldn't end in time. What decides (breaker, budgets, backoff, percentiles) is policy.h's. */
#include "upstreams/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <h2o/memory.h>
#include "base/log.h"

enum {
    MAX_REQUEST = 128 * 1024,
    MAX_SPARE_BODY = 64 * 1024,        /* capacity that a spare call may keep */
    MAX_SPARE_BYTES = 4 * 1024 * 1024, /* and all of a loop's spare calls */
    USUAL_US = 100 * 1000              /* how long percentiles that were read are good */
};

/* -- calls and their memory -- */

static void on_timer(struct timer *timer);

static size_t call_bytes(const struct up_call *call)
{
    size_t n = sizeof(*call) + call->request.capacity;
    for (size_t i = 0; i < COUNT(call->attempts); i++)
        n += call->attempts[i].body.capacity + call->attempts[i].lines.capacity +
             call->attempts[i].fields.capacity;
    return n;
}

static struct up_call *call_new(struct up_client *client)
{
    struct up_call *call = client->spare;
    if (call != NULL) {
        client->spare = call->next_spare;
        client->spare_bytes -= call_bytes(call);
    } else {
        call = h2o_mem_alloc(sizeof(*call));
        memset(call, 0, sizeof(*call));
        buf_init(&call->request, MAX_REQUEST);
        timer_init(&call->timer, on_timer);
        for (size_t i = 0; i < COUNT(call->attempts); i++)
            attempt_init(&call->attempts[i], call);
    }
    h2o_linklist_insert(&client->calls, &call->all);
    return call;
}

static void call_destroy(struct up_call *call)
{
    for (size_t i = 0; i < COUNT(call->attempts); i++)
        attempt_fini(&call->attempts[i]);
    buf_fini(&call->request);
    free(call);
}

static void call_free(struct up_call *call)
{
    struct up_client *client = call->lane->client;
    for (size_t i = 0; i < COUNT(call->attempts); i++)
        if (call->attempts[i].body.capacity > MAX_SPARE_BODY)
            buf_fini(&call->attempts[i].body);
    if (client->spare_bytes + call_bytes(call) > MAX_SPARE_BYTES) {
        call_destroy(call);
        return;
    }
    client->spare_bytes += call_bytes(call);
    call->next_spare = client->spare;
    client->spare = call;
}

void calls_free_spare(struct up_client *client)
{
    while (client->spare != NULL) {
        struct up_call *call = client->spare;
        client->spare = call->next_spare;
        call_destroy(call);
    }
}

/* -- start -- */

struct up_call *up_call_start(struct up_client *client, const struct up_request *request,
                              up_done_fn *done, void *arg)
{
    struct upstream *up = request->upstream;
    struct up_call *call = call_new(client);
    call->stream = request->stream;
    call->step = CALL_STARTED;
    call->made = call->retries = 0;
    call->best = NULL;
    call->lane = &client->lanes[up->index];
    call->done = done;
    call->arg = arg;
    call->timeout_ms = request->timeout_ms ? request->timeout_ms : up->config->timeout_ms;
    call->deadline_ms = request->deadline_ms;
    bool has_body = request->body.p != NULL || (call->stream != NULL && call->stream->read != NULL);
    call->repeatable = request->repeatable || (request->method == NULL && !has_body);
    call->wants_headers = request->wants_headers || call->stream != NULL;
    call->was_read = call->hedging = false;
    call->may_hedge = call->repeatable && call->stream == NULL &&
                      (up->rules.hedge_by_p95 || up->rules.hedge_after_ms != 0);
    call->trace = request->trace;
    call->method = request->method == NULL && has_body ? "GET" : request->method;
    call->upload = request->body;
    call->once = call->method != NULL && !is_head(call);
    gw_assert(!is_head(call) || call->stream != NULL);
    call->tried.count = 0;
    call->started_us = clock_us();
    if (!call_write_request(call, request))
        buf_clear(&call->request); /* told at the end of the turn, like everything */
    h2o_linklist_insert(&client->started, &call->waiting);
    task_defer(client->loop, &client->task);
    return call;
}

/* -- what lately was usual, the breaker -- */

static uint64_t now_us(const struct up_call *call)
{
    return loop_now_ms(call->lane->client->loop) * 1000;
}

static uint32_t took_us(const struct attempt *attempt, uint64_t at_us)
{
    return (uint32_t)(at_us - attempt->added_us);
}

/* Reading percentiles walks some hundred numbers, so it isn't done for each call. */
static void look_at_usual(struct lane *lane, uint64_t at_us)
{
    static const uint8_t percents[] = {50, 95};
    const struct latency *latency = &lane->latency;
    uint32_t us[COUNT(percents)];
    if (lane->usual_at_us != 0 && at_us < lane->usual_at_us + USUAL_US)
        return;
    latency_percentiles(&latency, 1, at_us, percents, COUNT(percents), us);
    lane->median_us = us[0];
    lane->p95_us = us[1];
    lane->usual_at_us = at_us;
}

static bool is_closed(const struct upstream *up, uint64_t at_us)
{
    uint64_t retry_in_us;
    return breaker_look(&up->breaker, at_us, &retry_in_us) == BREAKER_CLOSED;
}

static void tell_breaker(const struct attempt *attempt, enum breaker_report verdict, uint64_t at_us)
{
    struct upstream *up = attempt->lane->upstream;
    if (!breaker_report(&up->breaker, attempt->is_probe, verdict, &up->window, at_us))
        return;
    if (is_closed(up, at_us))
        log_event(LOG_INFO, "breaker closed: the upstream is back", "upstream=%s",
                  log_quote(up->config->name));
    else
        log_event(LOG_WARN, "breaker opened: the upstream isn't asked for a while", "upstream=%s",
                  log_quote(up->config->name));
}

/* Each attempt that the breaker let through is reported once, whatever became of it. */
static void report(struct attempt *attempt, enum breaker_report verdict, uint64_t at_us)
{
    struct upstream *up = attempt->lane->upstream;
    if (attempt->endpoint != NULL)
        endpoint_done(attempt->lane, &attempt->endpoint, verdict);
    if (verdict != REPORT_NOTHING)
        window_count(&up->window, COUNT_ANSWERS, at_us);
    if (verdict == REPORT_BAD)
        window_count(&up->window, COUNT_FAILURES, at_us);
    tell_breaker(attempt, verdict, at_us);
}

void call_probe_over(struct attempt *attempt, enum breaker_report verdict)
{
    if (attempt->is_probe)
        tell_breaker(attempt, verdict, clock_us());
    attempt->is_probe = false;
}

/* -- the end -- */

static void drop(struct attempt *attempt, enum breaker_report verdict, const char *error)
{
    if (!attempt_runs(attempt))
        return;
    uint64_t at_us = clock_us();
    count_attempt(attempt, error, at_us);
    trace_attempt(attempt, error, at_us);
    attempt_cancel(attempt);
    report(attempt, verdict, at_us);
}

static void end_hedge(struct up_call *call, struct str winner)
{
    if (call->hedging)
        count_hedge(call->lane->upstream, winner);
    call->hedging = false;
}

static void finish(struct up_call *call)
{
    struct up_result *result = &call->best->result;
    timer_stop(call->lane->client->loop, &call->timer);
    end_hedge(call, STR("none"));
    for (size_t i = 0; i < COUNT(call->attempts); i++)
        drop(&call->attempts[i], REPORT_NOTHING, "cancelled");
    call->step = CALL_DONE;
    result->attempts = call->made;
    result->hedged = call->best->is_hedge;
    if (call->made != 1) /* its best attempt may have been over before */
        result->times.total = since_start(call, clock_us());
    call->done(call, result, call->arg); /* may release the call: nothing after this */
}

/* Nothing was asked, at least not this time. */
static void finish_unasked(struct up_call *call, struct up_result result, const char *detail)
{
    if (call->best == NULL) {
        call->best = &call->attempts[0];
        call->best->is_hedge = false;
        call->best->result = result;
        snprintf(call->best->result.detail, sizeof(call->best->result.detail), "%s", detail);
    }
    finish(call);
}

/* -- the steps -- */

static void ask(struct up_call *call, struct attempt *unused)
{
    (void)unused;
    struct upstream *up = call->lane->upstream;
    struct attempt *next = &call->attempts[call->best == &call->attempts[0]];
    uint64_t at_us = now_us(call), retry_in_us;
    if (call->deadline_ms != 0 && at_us >= call->deadline_ms * 1000) {
        finish_unasked(call,
                       (struct up_result){.end = UP_TIMEOUT, .error = "http_response_timeout"},
                       "the deadline had passed before");
        return;
    }
    enum breaker_answer answer = breaker_ask(&up->breaker, at_us);
    if (answer == BREAKER_REFUSE) {
        breaker_look(&up->breaker, at_us, &retry_in_us);
        finish_unasked(call,
                       (struct up_result){.end = UP_OPEN,
                                          .error = "destination_unavailable",
                                          .retry_in_ms = (uint32_t)((retry_in_us + 999) / 1000)},
                       "the breaker is open");
        return;
    }
    call->step = CALL_TRYING;
    next->is_probe = answer == BREAKER_PROBE;
    next->is_hedge = false;
    attempt_start(next);
}

static void count(struct up_call *call, struct attempt *unused)
{
    (void)unused;
    if (call->made++ == 0)
        window_count(&call->lane->upstream->window, COUNT_CALLS, now_us(call));
}

static void count_second(struct up_call *call, struct attempt *second)
{
    call->hedging = true;
    count(call, second);
}

static void watch(struct up_call *call, struct attempt *first)
{
    struct lane *lane = call->lane;
    const struct rules *rules = &lane->upstream->rules;
    count(call, first);
    if (!call->may_hedge)
        return;
    uint64_t after_ms = rules->hedge_after_ms;
    if (rules->hedge_by_p95) {
        look_at_usual(lane, now_us(call));
        after_ms = (lane->p95_us + 999) / 1000;
    }
    if (after_ms != 0)
        timer_start(lane->client->loop, &call->timer, after_ms);
}

static void hedge(struct up_call *call, struct attempt *unused)
{
    (void)unused;
    struct upstream *up = call->lane->upstream;
    struct attempt *second = &call->attempts[1];
    const struct config_hedge *limits = &up->config->hedge;
    uint64_t at_us = now_us(call);
    call->may_hedge = false;
    look_at_usual(call->lane, at_us);
    if (!is_closed(up, at_us) ||
        !backoff_fits(at_us, 0, call->lane->median_us, call->deadline_ms * 1000) ||
        !budget_take(&up->window, COUNT_HEDGES, limits->budget, limits->budget_floor, at_us))
        return;
    call->step = CALL_HEDGED;
    second->is_probe = false;
    second->is_hedge = true;
    attempt_start(second);
}

static void wait_for_other(struct up_call *call, struct attempt *failed)
{
    (void)failed;
    call->step = CALL_TRYING;
}

/* When it is the connecting that failed, nobody was burdened and nothing was done: any call may be
 * made again, and addresses that it hasn't tried are tried at once. */
static bool may_try_again(struct up_call *call, uint64_t *wait_us_r)
{
    struct lane *lane = call->lane;
    struct upstream *up = lane->upstream;
    const struct config_retry *limits = &up->config->retry;
    const struct attempt *best = call->best;
    size_t addresses = lane->endpoints != NULL ? lane->endpoints->count : 1;
    unsigned attempts = limits->attempts != 0 ? limits->attempts : addresses > 1 ? 2 : 1;
    uint64_t at_us = now_us(call), deadline_us = call->deadline_ms * 1000;
    if (best->flow.told || call->was_read)
        return false;
    bool unconnected = outcome_meaning(&best->result).reason == REASON_CONNECT && !best->sent;
    if ((!call->repeatable && !unconnected) || call->retries + 1 >= attempts ||
        !rules_try_again(&up->rules, &best->result) || !is_closed(up, at_us))
        return false;

    unsigned number = ++call->retries;
    bool at_once = unconnected && endpoint_is_left(lane, &call->tried);
    uint64_t wait_us = at_once ? 0 : backoff_us(limits, number, client_chance(lane->client));
    if (wait_us < best->retry_after_us)
        wait_us = best->retry_after_us;
    if (deadline_us == 0 && best->retry_after_us > call->timeout_ms * 1000)
        return false; /* nobody said how long it may take; not for hours */
    look_at_usual(lane, at_us);
    *wait_us_r = wait_us;
    if (!backoff_fits(at_us, wait_us, lane->median_us, deadline_us))
        return false;
    bool allowed =
        budget_take(&up->window, COUNT_RETRIES, limits->budget, limits->budget_floor, at_us);
    allowed ? count_retry(up, &best->result) : count_retry_denied(up);
    return allowed;
}

static void try_again(struct up_call *call, struct attempt *failed)
{
    (void)failed;
    uint64_t wait_us;
    if (!may_try_again(call, &wait_us)) {
        finish(call);
        return;
    }
    end_hedge(call, STR("none"));
    call->step = CALL_RESTING;
    call->may_hedge = false;
    timer_start(call->lane->client->loop, &call->timer, (wait_us + 999) / 1000);
}

static void settle(struct up_call *call, struct attempt *winner)
{
    struct lane *lane = call->lane;
    end_hedge(call, winner->is_hedge ? STR("hedge") : STR("first"));
    if (winner->is_hedge) {
        /* The first one would have taken at least as long as it had. Left out, it would make the
         * percentile that hedging goes by fall with each hedge. */
        struct attempt *first = &call->attempts[0];
        uint64_t at_us = clock_us();
        window_count(&lane->upstream->window, COUNT_HEDGES_WON, at_us);
        if (first->step == ATTEMPT_IN_FLIGHT)
            latency_add(&lane->latency, took_us(first, at_us), at_us);
    }
    finish(call);
}

/* -- the table -- */

enum call_event { TURN, BEGAN, GOOD, BAD, TIMER, CALL_EVENTS };

typedef void step_fn(struct up_call *call, struct attempt *attempt);

static step_fn *const steps[][CALL_EVENTS] = {
    [CALL_STARTED] = {[TURN] = ask},
    [CALL_TRYING] = {[BEGAN] = watch, [GOOD] = settle, [BAD] = try_again, [TIMER] = hedge},
    [CALL_HEDGED] = {[BEGAN] = count_second, [GOOD] = settle, [BAD] = wait_for_other},
    [CALL_RESTING] = {[TIMER] = ask},
};

static void step(struct up_call *call, enum call_event event, struct attempt *attempt)
{
    gw_assert(call->step <= CALL_RESTING && steps[call->step][event] != NULL);
    steps[call->step][event](call, attempt);
}

void call_begin(struct up_call *call)
{
    step(call, TURN, NULL);
}

void call_attempt_began(struct attempt *attempt)
{
    step(attempt->call, BEGAN, attempt);
}

static void on_timer(struct timer *timer)
{
    step(CONTAINER_OF(timer, struct up_call, timer), TIMER, NULL);
}

/* An attempt that never had a slot says nothing of the upstream, and one that was cut by its call's
 * deadline only when it had time enough to answer. */
static bool had_its_time(const struct attempt *attempt, uint64_t at_us)
{
    return attempt->began_ms != 0 &&
           (at_us / 1000 - attempt->began_ms) * 2 >= attempt->call->timeout_ms;
}

static enum breaker_report judge(const struct attempt *attempt, uint64_t at_us)
{
    if (attempt->began_ms == 0 || (attempt->cut && !had_its_time(attempt, at_us)))
        return REPORT_NOTHING;
    return outcome_meaning(&attempt->result).report;
}

/* Any answer is better than none, and a later outcome says more than an earlier one. */
static struct attempt *better_of(struct attempt *earlier, struct attempt *later)
{
    static const uint8_t ranks[] = {
        [UP_ANSWERED] = 2, [UP_TIMEOUT] = 1, [UP_FAILED] = 1, [UP_SHED] = 0, [UP_OPEN] = 0};
    return earlier == NULL || ranks[later->result.end] >= ranks[earlier->result.end] ? later
                                                                                     : earlier;
}

void call_attempt_over(struct attempt *attempt)
{
    struct up_call *call = attempt->call;
    struct lane *lane = call->lane;
    uint64_t at_us = call->started_us + attempt->result.times.total;
    enum breaker_report verdict = judge(attempt, at_us);
    bool is_good =
        verdict == REPORT_GOOD && !rules_try_again(&lane->upstream->rules, &attempt->result);
    trace_attempt(attempt, NULL, at_us);
    report(attempt, verdict, at_us);
    count_attempt(attempt, NULL, at_us);
    if (verdict == REPORT_GOOD)
        latency_add(&lane->latency,
                    took_us(attempt, attempt->flow.told ? attempt->flow.told_us : at_us), at_us);
    call->best = better_of(call->best, attempt);
    step(call, is_good ? GOOD : BAD, attempt);
}

/* -- letting go -- */

static void free_when_gone(struct up_call *call)
{
    for (size_t i = 0; i < COUNT(call->attempts); i++)
        if (call->step != CALL_GONE || call->attempts[i].step != ATTEMPT_IDLE)
            return;
    call_free(call);
}

void call_attempt_gone(struct attempt *attempt)
{
    free_when_gone(attempt->call);
}

unsigned up_call_attempts(const struct up_call *call)
{
    return call->made;
}

struct call_times up_call_times(struct up_call *call)
{
    struct call_times times = {.total = since_start(call, clock_us())};
    for (size_t i = 0; i < COUNT(call->attempts); i++)
        if (attempt_runs(&call->attempts[i]))
            times = attempt_times(&call->attempts[i]);
    return times;
}

void up_call_resume(struct up_call *call)
{
    for (size_t i = 0; i < COUNT(call->attempts); i++)
        if (call->stream != NULL && call->attempts[i].step == ATTEMPT_IN_FLIGHT)
            lane_stir(&call->attempts[i]);
}

void up_call_cancel(struct up_call **call_p)
{
    struct up_call *call = *call_p;
    *call_p = NULL;
    if (call == NULL)
        return;
    if (call->step == CALL_STARTED)
        h2o_linklist_unlink(&call->waiting);
    timer_stop(call->lane->client->loop, &call->timer);
    /* Whoever asked may look at the same deadline, and at the clock a moment earlier: an upstream
     * that never answers must not escape its breaker by that. */
    uint64_t at_us = now_us(call);
    bool is_late = call->deadline_ms != 0 && at_us >= call->deadline_ms * 1000;
    for (size_t i = 0; i < COUNT(call->attempts); i++) {
        struct attempt *attempt = &call->attempts[i];
        drop(attempt, is_late && had_its_time(attempt, at_us) ? REPORT_BAD : REPORT_NOTHING,
             is_late ? "http_response_timeout" : "cancelled");
    }
    end_hedge(call, STR("none"));
    h2o_linklist_unlink(&call->all);
    call->step = CALL_GONE;
    free_when_gone(call);
}

void up_call_release(struct up_call **call_p)
{
    gw_assert(*call_p == NULL || (*call_p)->step == CALL_DONE);
    up_call_cancel(call_p);
}
