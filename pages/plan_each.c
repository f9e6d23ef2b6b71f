/* What an `each` is called for, and whether its keys go together. */
#include "pages/pages_internal.h"

bool plan_each_names(const struct config *config, const struct config_part *part,
                     const struct expand_scope *scope, struct diag *diag)
{
    static const char *const sources[] = {"path", "query", "header", "cookie", "field"};
    if (part->each.n == 0)
        return false; /* there is no element */
    bool taken = page_name_is_reserved(part->as);
    for (size_t i = 0; i < COUNT(sources); i++)
        taken |= str_eq(part->as, str_from(sources[i]));
    if (taken)
        diag_error(diag, config_pos(config, &part->as), "\"%s\" is a reserved name", part->as.p);
    for (size_t i = 0; i < scope->part_count && !taken; i++) {
        taken = str_eq(part->as, scope->parts[i]);
        if (taken)
            diag_error(diag, config_pos(config, &part->as), "\"%s\" is the name of a part",
                       part->as.p);
    }
    if (!taken && !config_name(part->as)) {
        diag_error(diag, config_pos(config, &part->as), "\"%s\" can't be a name", part->as.p);
        taken = true;
    }
    return !taken;
}

static void compile_input(struct pages *pages, const struct config_part *part,
                          const struct expand_scope *scope, struct diag *diag,
                          struct each_plan *each)
{
    const struct config *config = pages->config;
    struct expand_variable input;
    struct pos at = config_pos(config, &part->each);
    if (!expand_compile_variable(&pages->pool, part->each, scope, at, 0, diag, &input))
        return;
    if (input.source != EXPAND_PART) {
        diag_error(diag, at, "\"%s\": the first name has to be that of a part", part->each.p);
        return;
    }
    each->input = input.param;
    each->at = input.at;
}

static const struct expand_variable *batch_key(const struct call_plan *call)
{
    for (size_t i = 0; i < call->target.count; i++) {
        const struct expand_variable *variable = call->target.steps[i].variable;
        if (variable != NULL && variable->source == EXPAND_ITEM)
            return variable;
    }
    for (size_t i = 0; i < call->body.count; i++) {
        const struct expand_variable *variable = call->body.steps[i].variable;
        if (variable != NULL && variable->source == EXPAND_ITEM)
            return variable;
    }
    return NULL;
}

static void check_batch(const struct config *config, const struct config_part *part,
                        struct diag *diag, struct part_plan *plan)
{
    if (part->batch == 0)
        return;
    plan->each.key = batch_key(&plan->call);
    if (plan->each.key == NULL)
        diag_error(diag, config_pos(config, &part->batch),
                   "nothing in path or body says which elements a batch asks for; use {%s}",
                   part->as.p);
}

void plan_each(struct pages *pages, const struct config_part *part,
               const struct expand_scope *scope, struct diag *diag, struct part_plan *plan)
{
    const struct config *config = pages->config;
    if (part->by.n != 0 && part->batch == 0)
        diag_error(diag, config_pos(config, &part->by),
                   "only a batch's answer is taken apart; add batch");
    if (part->each.n == 0) {
        if (part->batch != 0)
            diag_error(diag, config_pos(config, &part->batch),
                       "without each there is nothing to ask for in batches");
        return;
    }
    compile_input(pages, part, scope, diag, &plan->each);
    plan->each.answer = plan->placement;
    if (part->batch != 0) /* the rest is for the results, one by one */
        plan->each.answer = (struct placement){.select = plan->placement.select};
    if (plan->placement.spread)
        diag_error(diag, config_pos(config, &part->into),
                   "with each, into is a place in each element, not the page's root");
    check_batch(config, part, diag, plan);
}
