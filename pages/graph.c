/* Which part needs which. Expansions, conditions and bodies say which parts they look into, a bit
 * for each; from these bits come the order in which parts can start, the circles that no order
 * could serve, and the deadlines that no run could keep. All of it when the configuration is read,
 * so that a run has nothing left to do but to compare two words. */
#include "pages/pages_internal.h"

/* -- references ------------------------------------------------------------------------------- */

static uint64_t bit(size_t index)
{
    return (uint64_t)1 << index;
}

static uint64_t read_by_headers(const struct call_plan *call)
{
    uint64_t parts = 0;
    for (size_t i = 0; i < call->header_count; i++)
        parts |= call->headers[i].value.parts;
    return parts;
}

static void collect(struct part_plan *plan)
{
    const struct call_plan *call = &plan->call, *fallback = &plan->fallback;
    plan->needs = call->target.parts | call->body.parts | read_by_headers(call);
    if (plan->each.input != SIZE_MAX)
        plan->needs |= bit(plan->each.input);
    plan->awaits =
        plan->needs | plan->when.parts | fallback->target.parts | read_by_headers(fallback);
}

/* Where `plan` names the part `index`. */
static struct pos place_of(const struct config *config, const struct part_plan *plan, size_t index)
{
    const struct config_part *part = plan->config;
    uint64_t wanted = bit(index);
    if (plan->each.input == index)
        return config_pos(config, &part->each);
    if (plan->when.parts & wanted)
        return config_pos(config, &part->when);
    if (plan->call.target.parts & wanted)
        return config_pos(config, &part->path);
    if (plan->call.body.parts & wanted)
        return config_pos(config, &part->body);
    for (size_t i = 0; i < part->headers.count && i < plan->call.header_count; i++)
        if (plan->call.headers[i].value.parts & wanted)
            return config_pos(config, &part->headers.items[i].value);
    return config_pos(config, &part->fallback.path);
}

/* -- order ------------------------------------------------------------------------------------ */

/* A walk along what parts await; a part that is met again while its own inputs are walked is in a
 * circle. */
struct walk {
    const struct page *page;
    struct diag *diag;
    size_t path[EXPAND_MAX_PARTS];
    size_t depth;
    uint64_t on_path, seen;
};

static void tell_circle(struct walk *walk, size_t again)
{
    const struct part_plan *parts = walk->page->parts;
    char text[EXPAND_MAX_PARTS * 68]; /* names have at most 64 bytes */
    size_t n = 0, from = 0;
    while (walk->path[from] != again)
        from++;
    for (size_t i = from; i < walk->depth; i++) {
        struct str name = parts[walk->path[i]].config->name;
        memcpy(text + n, name.p, name.n);
        memcpy(text + n + name.n, " -> ", 4);
        n += name.n + 4;
    }
    size_t next = from + 1 < walk->depth ? walk->path[from + 1] : again;
    diag_error(walk->diag, place_of(walk->page->pages->config, &parts[again], next),
               "parts need each other in a circle: %.*s%s", (int)n, text,
               parts[again].config->name.p);
}

static void visit(struct walk *walk, size_t index)
{
    walk->seen |= bit(index);
    walk->on_path |= bit(index);
    walk->path[walk->depth++] = index;
    for (uint64_t left = walk->page->parts[index].awaits; left != 0; left &= left - 1) {
        size_t input = (size_t)__builtin_ctzll(left);
        if (walk->on_path & bit(input))
            tell_circle(walk, input);
        else if (!(walk->seen & bit(input)))
            visit(walk, input);
    }
    walk->depth--;
    walk->on_path &= ~bit(index);
}

static bool has_circle(struct page *page, struct diag *diag)
{
    size_t errors = diag_errors(diag);
    struct walk walk = {.page = page, .diag = diag};
    for (size_t i = 0; i < page->part_count; i++)
        if (!(walk.seen & bit(i)))
            visit(&walk, i);
    return diag_errors(diag) != errors;
}

/* As configured, as far as inputs allow. */
static void put_in_order(struct page *page)
{
    uint64_t placed = 0;
    for (size_t n = 0; n < page->part_count; n++) {
        size_t i = 0;
        while (placed & bit(i) || page->parts[i].awaits & ~placed)
            i++;
        page->order[n] = i;
        placed |= bit(i);
    }
}

/* -- deadlines -------------------------------------------------------------------------------- */

static void check_deadlines(const struct page *page, const struct part_plan *plan,
                            struct diag *diag)
{
    const struct config *config = page->pages->config;
    const struct config_part *part = plan->config;
    uint64_t deadline_ms = page->config->deadline_ms;
    if (deadline_ms == 0)
        return; /* the key's error was told */
    if (part->timeout_ms > deadline_ms)
        diag_error(diag, config_pos(config, &part->timeout_ms),
                   "the timeout (%llu ms) is longer than the page's deadline (%llu ms)",
                   (unsigned long long)part->timeout_ms, (unsigned long long)deadline_ms);
    if (part->fallback.timeout_ms > deadline_ms)
        diag_error(diag, config_pos(config, &part->fallback.timeout_ms),
                   "the timeout (%llu ms) is longer than the page's deadline (%llu ms)",
                   (unsigned long long)part->fallback.timeout_ms, (unsigned long long)deadline_ms);
    if (plan->fallback.upstream == NULL || plan->call.upstream == NULL)
        return;
    uint64_t timeout_ms =
        part->timeout_ms ? part->timeout_ms : upstream_config(plan->call.upstream)->timeout_ms;
    if (timeout_ms >= deadline_ms && part->timeout_ms <= deadline_ms)
        diag_error(diag, config_pos(config, &part->fallback.path),
                   "never asked after a timeout: the part's own call may take all of the page's "
                   "deadline (%llu of %llu ms); give the part a shorter timeout",
                   (unsigned long long)timeout_ms, (unsigned long long)deadline_ms);
}

/* -- calls that may be the same --------------------------------------------------------------- */

static bool is_fixed(const struct call_plan *call)
{
    return call->target.variable_count == 0;
}

static struct str first_literal(const struct call_plan *call)
{
    return call->target.count != 0 ? call->target.steps[0].literal : STR("");
}

/* False only when no request can make them the same. */
static bool may_be_same(const struct call_plan *a, const struct call_plan *b)
{
    if (a->upstream == NULL || a->upstream != b->upstream || a->method != b->method)
        return false;
    struct str x = first_literal(a), y = first_literal(b);
    if (is_fixed(a) && is_fixed(b))
        return str_eq(x, y);
    size_t n = x.n < y.n ? x.n : y.n;
    return (n == 0 || memcmp(x.p, y.p, n) == 0) && !(is_fixed(a) && x.n < y.n) &&
           !(is_fixed(b) && y.n < x.n);
}

/* The calls of all parts, one after the other. */
static struct call_plan *call_at(struct page *page, size_t index)
{
    struct part_plan *plan = &page->parts[index / 2];
    return index % 2 ? &plan->fallback : &plan->call;
}

static void find_repeats(struct page *page)
{
    for (size_t i = 0; i < 2 * page->part_count; i++) {
        struct call_plan *call = call_at(page, i);
        if (i % 2 == 0 && part_is_each(&page->parts[i / 2]))
            call->may_repeat = true;
        for (size_t j = 0; j < i; j++) {
            struct call_plan *other = call_at(page, j);
            if (may_be_same(call, other))
                call->may_repeat = other->may_repeat = true;
        }
        page->repeats |= call->may_repeat;
    }
}

void graph_compile(struct page *page, struct diag *diag)
{
    for (size_t i = 0; i < page->part_count; i++) {
        collect(&page->parts[i]);
        check_deadlines(page, &page->parts[i], diag);
    }
    if (has_circle(page, diag))
        return;
    put_in_order(page);
    find_repeats(page);
}
