/* What a part's data comes from: its own call or calls, its fallback's, static data, nothing. A
 * part goes down this ladder from the first that failed to the first that holds, and ends there.
 * The record keeps what its own calls failed with: that is what somebody has to look at. */
#include "pages/pages_internal.h"

void ladder_count(struct part_run *part, const struct answer *answer)
{
    const struct up_result *result = answer->result;
    part->calls_failed += answer->outcome.state != PART_OK && !answer->shared;
    if (!answer->shared) {
        part->record->attempts += result->attempts;
        part->record->bytes += result->wire_bytes;
    }
    const struct cache_answer *cached = answer->cached;
    uint64_t ttl_ms = cached != NULL && answer->failed == NULL ? cached->ttl_ms : 0;
    part->cached = cached;
    part->ttl_ms = ttl_ms < part->ttl_ms ? ttl_ms : part->ttl_ms;
    part->is_unkept |= cached == NULL;
    part->no_store |= cached != NULL && cached->no_store;
    if (cached != NULL && cached->entry != NULL && cached->entry->vary_count != 0)
        caching_note_vary(part->run, cached->entry->vary_names, cached->entry->vary_count);
    part->is_personal |= cached != NULL && cached->is_private;
    part->is_stale |= cached != NULL && cached->word == CACHE_STALE;
    if (answer->failed != NULL) {
        part->rung = RUNG_STALE;
        part->failed = answer->failed->state;
        part->record->status = answer->failed_status;
        part->record->error = answer->failed->error;
        part->detail = answer->failed->detail;
    }
    part->record->times = result->times;
    part->hedged |= result->hedged;
    if (result->retry_in_ms > part->retry_in_ms)
        part->retry_in_ms = result->retry_in_ms;
}

/* True: static data stands in. */
static bool stand_in(struct part_run *part)
{
    struct json_value value = json_root(&part->plan->stand_in);
    if (json_type(value) == JSON_MISSING)
        return false;
    part->rung = RUNG_STATIC;
    part->value = value;
    run_end_part(part, PART_STATIC);
    return true;
}

/* False: it can't be asked. */
static bool ask_fallback(struct part_run *part)
{
    const struct call_plan *plan = &part->plan->fallback;
    struct page_run *run = part->run;
    const struct expand_variable *culprit;
    struct written written;
    if (plan->upstream == NULL || loop_now_ms(run->loop->loop) >= run->deadline_ms ||
        write_call(part, plan, NULL, 1, &written, &culprit) != EXPAND_OK)
        return false;
    part->rung = RUNG_FALLBACK;
    ask(&part->asker, plan, &written, h2o_mem_alloc_pool(run->request->pool, sizeof(struct ask)));
    return true;
}

/* It was cut while it was being asked for: what is kept may still stand in. */
static bool stand_in_late(struct part_run *part)
{
    const struct cache_answer *kept =
        part->failed == PART_TIMEOUT && part->asked_cache != NULL && part->rung == RUNG_FRESH
            ? cache_call_stand_in(part->asked_cache)
            : NULL;
    struct outcome outcome;
    if (kept == NULL)
        return false;
    struct tape *tape = kept->doc == NULL && kept->result.body.n != 0 ? tape_take(part->run) : NULL;
    outcome_judge(&kept->result, kept->doc, &part->plan->placement, tape ? &tape->doc : NULL,
                  part->run->request->pool, &outcome);
    if (outcome.state != PART_OK)
        return false;
    part->cached = kept;
    part->rung = RUNG_STALE;
    part->ttl_ms = 0;
    part->value = outcome.value;
    run_end_part(part, PART_STALE);
    return true;
}

static void step_down(struct part_run *part)
{
    part->value = json_null();
    if ((part->rung == RUNG_FRESH && ask_fallback(part)) || stand_in(part))
        return;
    part->rung = RUNG_ABSENT;
    run_end_part(part, part->failed);
}

void ladder_failed(struct part_run *part, const struct failure *failure)
{
    if (part->rung == RUNG_FALLBACK) { /* the record has what came before */
        step_down(part);
        return;
    }
    part->record->status = failure->status;
    part->record->error = failure->error;
    part->detail = failure->detail;
    part->failed = failure->state;
    if (part->partial)
        run_end_part(part, failure->state);
    else if (!stand_in_late(part))
        step_down(part);
}

void ladder_without_input(struct part_run *part, const struct part_run *because, struct str detail)
{
    part->skip = SKIP_INPUT;
    part->because = because;
    part->detail = detail;
    if (part->plan->fallback.upstream != NULL || part->plan->stand_in.count != 0)
        part->record->error = "proxy_internal_response"; /* without asking who should know */
    part->failed = PART_SKIPPED;
    step_down(part);
}

void ladder_answered(struct asker *asker, const struct answer *answer)
{
    struct part_run *part = asker->part;
    const struct outcome *outcome = &answer->outcome;
    bool own = part->rung == RUNG_FRESH;
    ladder_count(part, answer);
    if (outcome->state != PART_OK) {
        ladder_failed(part, &(struct failure){outcome->state, outcome->error,
                                              answer->result->status, outcome->detail});
        return;
    }
    part->value = outcome->value;
    if (own && answer->failed == NULL)
        part->record->status = answer->result->status;
    run_end_part(part, !own ? PART_FALLBACK : part->is_stale ? PART_STALE : PART_OK);
}
