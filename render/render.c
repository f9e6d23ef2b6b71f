/* The renderer: a loop over instructions with stacks of its own, all on the C stack; nothing is
 * allocated but what the page itself needs.
 *
 * Contexts (what names are looked up in) and frames (sections, includes and arguments that are not
 * done yet) are two stacks, so that a look-up walks over contexts only.
 *
 * Blocks are resolved by scopes: each parent tag opens one with its arguments, around the one of
 * the template it stands in. The outermost scope that has an argument for a block wins, and an
 * argument is rendered in the scope of the template that holds it, where its own blocks are
 * parameters. Contexts stay those of the block, as the specification wants.
 *
 * Indentation is worked out line by line while rendering, since an argument's depends on the block
 * that it fills and a recursive partial's grows; where there is none it costs one test.
 *
 * A page that answers make endless stops by a count of work: instructions, bytes written and
 * members walked over in look-ups. Sections in sections over long lists, or look-ups in objects of
 * a hundred thousand members, would else hold up a loop for minutes. */
#include "render/render_internal.h"

enum {
    MAX_FRAMES = 128, /* a recursive partial takes two a level: its section and itself */
    MAX_INDENT = 1024,
    SMALL_OBJECT = 64,             /* nodes */
    MAX_WORK = 50 * 1000 * 1000,   /* about a quarter of a second */
    MAX_OUTPUT = 64 * 1024 * 1024, /* bytes */
    PACE = 4096,                   /* work between two looks at the output's size */
    COPIED = 16,                   /* bytes written for one unit of work */
    MAX_DYNAMIC_NAME = 1024
};

struct scope {
    const struct include *include;
    const struct scope *outer;
};

struct frame {
    const struct instruction *back; /* a section's first instruction, or where a call returns to */
    union {
        struct json_iter elements; /* of a section */
        struct {
            struct scope own;
            const struct scope *scope;
            uint32_t indent_from, indent_to;
            bool line_begun;
            struct str eol;
        } call;
    };
};

struct render {
    struct out *out;
    h2o_mem_pool_t *pool;
    size_t out_before;
    int64_t work, pace;
    unsigned context_count, frame_count;
    const struct scope *scope;
    uint32_t indent_from, indent_to; /* of indent: what goes before each line */
    bool line_begun; /* an argument is to continue a line: its first line has its indentation */
    struct rendering *later; /* NULL: the root is whole */
    bool waits;              /* a look-up found what isn't there yet */
    bool indented;           /* the instruction that waits has its indentation */
    bool is_deferred;        /* ... or what isn't waited for */
    bool in_place;           /* of a section that was left out */
    unsigned stop_at;        /* frames that are left when what was left out is done */
    struct json_value contexts[MAX_FRAMES + 1];
    uint32_t weights[MAX_FRAMES + 1]; /* what a look-up in the context costs */
    struct frame frames[MAX_FRAMES];
    char indent[MAX_INDENT];
};

struct left_out {
    struct left_out *next;
    struct str name;
    const struct instruction *in; /* the section's */
    struct render render;         /* as it was there */
};

struct rendering {
    template_find_fn *find;
    const struct template_places *places;
    void *arg;
    const struct instruction *in;
    struct left_out *first, **last;
    struct render render;
};

/* What looking into a value costs: its number of members. Counting is as dear as one look-up, so
 * small objects are judged by the length of their tape. */
static inline uint32_t weight(struct json_value v)
{
    if (json_type(v) != JSON_OBJECT)
        return 0;
    struct json_iter it = json_iter(v);
    uint32_t nodes = it.end - it.at;
    return nodes <= SMALL_OBJECT ? nodes : (uint32_t)json_count(v);
}

/* In a root that isn't whole yet. */
static __attribute__((noinline)) struct json_value
look_up_later(struct render *r, const struct str *path, unsigned count)
{
    struct json_value value = JSON_NONE;
    enum template_found found = r->later->find(r->later->arg, path, count, &value);
    r->waits = found == FOUND_LATER;
    r->is_deferred = found == FOUND_DEFERRED;
    return value;
}

/* The first part is looked for in every context from the innermost on, the others strictly in what
 * that gave. */
static inline struct json_value look_up(struct render *r, const struct str *path, unsigned count)
{
    unsigned i = r->context_count - 1;
    struct json_value v = r->contexts[i];

    if (count == 0)
        return i == 0 && r->later != NULL ? look_up_later(r, path, 0) : v;
    for (;; i--) {
        if (i == 0 && r->later != NULL)
            return look_up_later(r, path, count);
        r->pace -= r->weights[i];
        v = json_get(r->contexts[i], path[0]);
        if (json_type(v) != JSON_MISSING || i == 0)
            break;
    }
    for (unsigned part = 1; part < count && json_type(v) != JSON_MISSING; part++) {
        r->pace -= weight(v);
        v = json_get(v, path[part]);
    }
    return v;
}

/* Objects and arrays show as JSON. */
static __attribute__((noinline)) void write_container(struct render *r, struct json_value v,
                                                      bool html)
{
    h2o_mem_pool_t pool; /* not the request's: a list may hold a million of them */
    struct out json;
    h2o_iovec_t *vecs;

    if (!html) {
        size_t before = out_size(r->out);
        json_write(r->out, v);
        r->pace -= (int64_t)((out_size(r->out) - before) / COPIED);
        return;
    }
    h2o_mem_init_pool(&pool);
    out_init(&json, &pool, 0);
    json_write(&json, v);
    r->pace -= (int64_t)(out_size(&json) / COPIED);
    for (size_t i = 0, count = out_vecs(&json, &vecs); i < count; i++)
        write_escaped(r->out, (struct str){vecs[i].base, vecs[i].len});
    h2o_mem_clear_pool(&pool);
}

static inline void write_value(struct render *r, struct json_value v, bool html)
{
    bool escaped;
    struct str text;

    switch (json_type(v)) {
    case JSON_MISSING:
    case JSON_NULL:
        return;
    case JSON_ARRAY:
    case JSON_OBJECT:
        write_container(r, v, html);
        return;
    default:
        break;
    }
    text = json_text(v, &escaped);
    r->pace -= (int64_t)(text.n / COPIED);
    if (escaped)
        write_json_decoded(r->out, text, html);
    else if (html)
        write_escaped(r->out, text);
    else
        out_refer(r->out, text.p, text.n);
}

static bool truthy(struct json_value v)
{
    bool escaped;

    switch (json_type(v)) {
    case JSON_MISSING:
    case JSON_NULL:
    case JSON_FALSE:
        return false;
    case JSON_STRING:
        return json_text(v, &escaped).n != 0;
    case JSON_ARRAY: {
        struct json_iter it = json_iter(v);
        return json_next(&it);
    }
    default:
        return true;
    }
}

static __attribute__((noinline)) void write_indent(struct render *r)
{
    if (r->line_begun)
        r->line_begun = false;
    else
        out_write(r->out, r->indent + r->indent_from, r->indent_to - r->indent_from);
}

/* The indentation of the text's first line is written. */
static __attribute__((noinline)) void write_lines(struct render *r, const char *p, size_t n)
{
    const char *end = p + n;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *stop = newline != NULL ? newline + 1 : end;
        out_write(r->out, p, (size_t)(stop - p));
        p = stop;
        if (p < end) {
            write_indent(r);
            r->pace--;
        }
    }
}

/* Books the work done; false when a cap is passed. */
static inline bool go_on(struct render *r)
{
    if (__builtin_expect(r->pace >= 0, 1))
        return true;
    r->work -= PACE - r->pace;
    r->pace = PACE;
    return r->work > 0 && out_size(r->out) - r->out_before <= MAX_OUTPUT;
}

static inline void push_context(struct render *r, struct json_value v)
{
    r->weights[r->context_count] = weight(v);
    r->contexts[r->context_count++] = v;
}

/* Keeps what the call changes, to be put back by end_call(). */
static bool begin_call(struct render *r, const struct instruction *back, uint32_t instructions,
                       struct str indent, struct str eol)
{
    r->pace -= instructions;
    if (r->frame_count == MAX_FRAMES || indent.n > MAX_INDENT - r->indent_to || !go_on(r))
        return false;
    struct frame *frame = &r->frames[r->frame_count++];
    frame->back = back;
    frame->call.scope = r->scope;
    frame->call.indent_from = r->indent_from;
    frame->call.indent_to = r->indent_to;
    frame->call.line_begun = r->line_begun;
    frame->call.eol = eol;
    if (indent.n != 0) {
        memcpy(r->indent + r->indent_to, indent.p, indent.n);
        r->indent_to += (uint32_t)indent.n;
    }
    return true;
}

static const struct instruction *end_call(struct render *r)
{
    struct frame *frame = &r->frames[--r->frame_count];
    r->scope = frame->call.scope;
    r->indent_from = frame->call.indent_from;
    r->indent_to = frame->call.indent_to;
    r->line_begun = frame->call.line_begun;
    out_str(r->out, frame->call.eol);
    return frame->back;
}

static const struct template *template_of(struct render *r, const struct include *include)
{
    bool escaped;

    if (!include->dynamic)
        return include->template;
    struct json_value name = look_up(r, include->path, include->path_count);
    if (r->waits)
        return NULL;
    if (json_type(name) == JSON_NULL || json_text(name, &escaped).n > MAX_DYNAMIC_NAME)
        return NULL;
    return template_by_name(include->includer, json_string(name, r->pool));
}

/* Enters a partial or parent; NULL when it is too deep. */
static const struct instruction *begin_include(struct render *r, const struct instruction *in)
{
    const struct include *include = in->include;
    const struct template *template = template_of(r, include);

    if (template == NULL)
        return r->waits ? in : in + in->n;
    if (!begin_call(r, in + in->n, template->count, include->indent, (struct str){NULL, 0}))
        return NULL;
    struct frame *frame = &r->frames[r->frame_count - 1];
    if (!include->alone) /* it continues a line, whose indentation is none of its own */
        r->indent_from = r->indent_to;
    if (include->arguments != NULL) {
        frame->call.own = (struct scope){include, r->scope};
        r->scope = &frame->call.own;
    }
    return template->code;
}

/* Enters the argument for a block, if there is one, or the block's default; NULL when too deep. */
static const struct instruction *begin_block(struct render *r, const struct instruction *in)
{
    const struct block *block = in->block;
    const struct argument *found = NULL;
    const struct scope *holder = NULL;
    const struct str none = {NULL, 0};

    for (const struct scope *scope = r->scope; scope != NULL; scope = scope->outer) {
        for (const struct argument *a = scope->include->arguments; a != NULL; a = a->next) {
            if (str_eq(a->name, block->name)) {
                found = a;
                holder = scope;
                break;
            }
        }
    }
    if (found == NULL)
        return in + 1;
    if (!begin_call(r, in + in->n, found->count, block->alone ? block->indent : none,
                    found->whole ? none : block->eol))
        return NULL;
    if (!block->alone && r->indent_to != r->indent_from)
        r->line_begun = true;
    r->scope = holder->outer;
    return holder->include->includer->code + found->start;
}

/* Scopes stand in frames: those of the copy are to point into the copy. */
static const struct scope *moved(const struct render *from, struct render *to,
                                 const struct scope *scope)
{
    uintptr_t at = (uintptr_t)scope, begin = (uintptr_t)from;
    if (at < begin || at >= begin + sizeof(*from))
        return scope;
    return (const struct scope *)((uintptr_t)to + (at - begin));
}

static __attribute__((noinline)) void leave_out(struct render *r, const struct instruction *in)
{
    struct left_out *left = h2o_mem_alloc_pool(r->pool, sizeof(*left));
    struct rendering *later = r->later;
    later->places->empty(later->arg, in->path[in->count - 1], r->out);
    left->next = NULL;
    left->name = in->path[in->count - 1];
    left->in = in;
    memcpy(&left->render, r, sizeof(*r));
    left->render.is_deferred = r->is_deferred = false;
    left->render.scope = moved(r, &left->render, r->scope);
    for (unsigned i = 0; i < r->frame_count; i++) {
        /* a section's frame has no scopes, but what stands there is never followed */
        struct frame *frame = &left->render.frames[i];
        frame->call.scope = moved(r, &left->render, frame->call.scope);
        frame->call.own.outer = moved(r, &left->render, frame->call.own.outer);
    }
    *r->later->last = left;
    r->later->last = &left->next;
}

/* Enters a section or goes past it; NULL when it is too deep. */
static inline const struct instruction *begin_section(struct render *r,
                                                      const struct instruction *in)
{
    struct json_value v = look_up(r, in->path, in->count);

    if (__builtin_expect(r->waits, 0))
        return in;
    if (__builtin_expect(r->is_deferred, 0)) {
        leave_out(r, in);
        return in + in->n;
    }
    if (json_type(v) == JSON_ARRAY) {
        struct json_iter elements = json_iter(v);
        if (!json_next(&elements))
            return in + in->n;
        if (r->frame_count == MAX_FRAMES)
            return NULL;
        r->frames[r->frame_count].elements = elements;
        v = elements.value;
    } else {
        if (!truthy(v))
            return in + in->n;
        if (r->frame_count == MAX_FRAMES)
            return NULL;
        r->frames[r->frame_count].elements.at = 0; /* an iterator at its end: one round */
        r->frames[r->frame_count].elements.end = 0;
    }
    r->frames[r->frame_count++].back = in + 1;
    push_context(r, v);
    return in + 1;
}

static inline const struct instruction *end_section(struct render *r, const struct instruction *in)
{
    gw_assert(r->frame_count > 0);
    struct frame *frame = &r->frames[r->frame_count - 1];

    r->pace -= in - frame->back + 1;
    r->context_count--;
    if (json_next(&frame->elements)) {
        push_context(r, frame->elements.value);
        return frame->back;
    }
    r->frame_count--;
    return in + 1;
}

static void begin_render(struct render *r, struct json_value root, h2o_mem_pool_t *pool,
                         struct out *out)
{
    r->out = out;
    r->pool = pool;
    r->out_before = out_size(out);
    r->work = MAX_WORK;
    r->pace = PACE;
    r->context_count = r->frame_count = 0;
    r->scope = NULL;
    r->indent_from = r->indent_to = 0;
    r->line_begun = r->waits = r->indented = r->is_deferred = r->in_place = false;
    r->later = NULL;
    r->stop_at = UINT32_MAX;
    push_context(r, root);
}

/* The name of a place that is shown, for who puts something around it. */
static __attribute__((noinline)) void begin_place(struct render *r, const struct instruction *in)
{
    struct rendering *later = r->later;
    r->is_deferred = false;
    r->in_place = true;
    later->places->begin(later->arg, in->path[1], r->out);
}

static __attribute__((noinline)) void end_place(struct render *r, const struct instruction *in)
{
    if (r->in_place)
        r->later->places->end(r->later->arg, in->path[1], r->out);
    r->in_place = false;
}

/* Walks until the end, or what it has to wait for: then *at is where it goes on. */
static enum rendering_state walk(struct render *render, const struct instruction **at)
{
    struct render *r = render;
    struct out *out = r->out;
    const struct instruction *in = *at;

    while (in != NULL) {
        if (__builtin_expect(r->indent_from != r->indent_to, 0) && in->line_start && !r->indented)
            write_indent(r);
        r->indented = false;
        switch ((enum op)in->op) {
        case OP_TEXT:
            if (__builtin_expect(r->indent_from == r->indent_to, 1))
                out_write(out, in->text, in->n);
            else
                write_lines(r, in->text, in->n);
            r->pace -= in->n / COPIED;
            in++;
            break;
        case OP_INDENT:
            in++;
            break;
        case OP_VALUE:
        case OP_RAW:
            write_value(r, look_up(r, in->path, in->count), in->op == OP_VALUE);
            in += !r->waits;
            if (!go_on(r))
                return RENDERING_FAILED;
            break;
        case OP_SECTION:
            in = begin_section(r, in);
            break;
        case OP_END:
            in = end_section(r, in);
            if (!go_on(r))
                return RENDERING_FAILED;
            if (__builtin_expect(r->frame_count == r->stop_at, 0))
                return RENDERING_DONE;
            break;
        case OP_INVERTED: {
            struct json_value v = look_up(r, in->path, in->count);
            if (__builtin_expect(r->is_deferred, 0)) {
                begin_place(r, in);
                v = JSON_NONE;
            }
            if (!r->waits)
                in += truthy(v) ? in->n : 1;
            break;
        }
        case OP_PLACE_END:
            end_place(r, in);
            in++;
            break;
        case OP_INCLUDE:
            in = begin_include(r, in);
            break;
        case OP_BLOCK:
            in = begin_block(r, in);
            break;
        case OP_RETURN:
            if (r->frame_count == 0)
                return RENDERING_DONE;
            in = end_call(r);
            break;
        }
        if (__builtin_expect(r->waits, 0)) {
            r->waits = false;
            r->indented = true;
            *at = in;
            return RENDERING_WAITS;
        }
    }
    return RENDERING_FAILED;
}

bool template_render(const struct template *template, struct json_value root, h2o_mem_pool_t *pool,
                     struct out *out)
{
    struct render r; /* not initialised as a whole: 16 KiB of stacks */
    const struct instruction *in = template->code;
    begin_render(&r, root, pool, out);
    return walk(&r, &in) == RENDERING_DONE;
}

/* -- bit by bit ------------------------------------------------------------------------------- */

struct rendering *rendering_create(const struct template *template, h2o_mem_pool_t *pool,
                                   template_find_fn *find, const struct template_places *places,
                                   void *arg)
{
    struct rendering *rendering = h2o_mem_alloc_pool(pool, sizeof(*rendering));
    struct out none;
    out_init(&none, pool, 1);
    begin_render(&rendering->render, json_null(), pool, &none);
    rendering->render.later = rendering;
    rendering->render.out = NULL;
    rendering->find = find;
    rendering->places = places;
    rendering->arg = arg;
    rendering->in = template->code;
    rendering->first = NULL;
    rendering->last = &rendering->first;
    return rendering;
}

static void continue_with(struct render *r, struct out *out)
{
    r->out = out;
    r->out_before = out_size(out);
}

enum rendering_state rendering_run(struct rendering *rendering, struct out *out)
{
    continue_with(&rendering->render, out);
    return walk(&rendering->render, &rendering->in);
}

enum rendering_state rendering_run_deferred(struct rendering *rendering, struct str name,
                                            struct out *out)
{
    for (struct left_out *left = rendering->first; left != NULL; left = left->next) {
        struct render *r = &left->render;
        if (!str_eq(left->name, name))
            continue;
        continue_with(r, out);
        r->stop_at = r->frame_count;
        const struct instruction *in = left->in, *behind = in + in->n;
        /* the section is gone into, or past it when there is nothing to show */
        in = begin_section(r, in);
        if (in == NULL || r->waits)
            return RENDERING_FAILED;
        if (in != behind && walk(r, &in) != RENDERING_DONE)
            return RENDERING_FAILED;
    }
    return RENDERING_DONE;
}
