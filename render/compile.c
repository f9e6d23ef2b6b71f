/* Tokens to instructions: one flat array, jumps relative, everything it points to in the set's pool
 * or in the template's own text. Arguments (blocks inside a parent tag) are compiled where they
 * stand, each ended by OP_RETURN, and jumped over.
 *
 * Neighbouring texts become one instruction. Where they are neighbours in the template too, that is
 * a longer slice of it; else (a comment between them, an indentation taken off) they are joined in
 * a buffer. Each byte gets there at most once, so a buffer as large as the template never moves. */
#include <stdlib.h>
#include "render/render_internal.h"

struct open_tag {
    uint32_t instruction;    /* of the tag itself */
    uint8_t tag;             /* enum tag */
    bool argument;           /* a block inside a parent */
    struct include *include; /* a parent's */
    struct argument *last_argument;
};

struct compiler {
    struct template *template;
    h2o_mem_pool_t *pool;
    struct instruction *code; /* owned until it is copied into the pool */
    uint32_t count, capacity;
    uint32_t label; /* text before this instruction must not grow: something jumps here */
    bool line_start;
    char *joined, *joined_end;
    struct open_tag open[MAX_NESTING];
    unsigned depth;
    unsigned contexts; /* sections that push a context here */
    uint32_t include_capacity;
    include_fn *include;
    void *include_arg;
};

static struct instruction *emit(struct compiler *c, enum op op)
{
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 128;
        c->code = realloc(c->code, c->capacity * sizeof(*c->code));
        gw_assert(c->code != NULL);
    }
    struct instruction *in = &c->code[c->count++];
    *in = (struct instruction){.op = (uint8_t)op, .line_start = c->line_start};
    c->line_start = false;
    return in;
}

static void emit_text(struct compiler *c, struct str text)
{
    struct instruction *last = c->count > c->label ? &c->code[c->count - 1] : NULL;

    /* a line's start inside a text is found by its newline: one without must stand first */
    if (last == NULL || last->op != OP_TEXT || c->line_start != (last->text[last->n - 1] == '\n')) {
        struct instruction *in = emit(c, OP_TEXT);
        in->text = text.p;
        in->n = (uint32_t)text.n;
        return;
    }
    c->line_start = false;
    if (last->text + last->n != text.p) {
        if (c->joined == NULL)
            c->joined = c->joined_end = h2o_mem_alloc_pool(c->pool, c->template->text.n);
        if (last->text + last->n != c->joined_end) {
            memcpy(c->joined_end, last->text, last->n);
            last->text = c->joined_end;
            c->joined_end += last->n;
        }
        memcpy(c->joined_end, text.p, text.n);
        c->joined_end += text.n;
    }
    last->n += (uint32_t)text.n;
}

/* Cuts a.b.c. "." is a path of no parts. */
static const struct str *split_path(struct compiler *c, struct str name, uint16_t *count_r)
{
    *count_r = 0;
    if (str_eq(name, STR(".")))
        return NULL;
    uint16_t count = 1;
    for (size_t i = 0; i < name.n; i++)
        count = (uint16_t)(count + (name.p[i] == '.'));
    struct str *path = h2o_mem_alloc_pool(c->pool, count * sizeof(*path));
    const char *from = name.p, *end = name.p + name.n;
    for (uint16_t i = 0; i < count; i++) {
        const char *dot = memchr(from, '.', (size_t)(end - from));
        const char *to = dot != NULL ? dot : end;
        path[i] = (struct str){from, (size_t)(to - from)};
        from = to + 1;
    }
    *count_r = count;
    return path;
}

static void emit_path(struct compiler *c, enum op op, const struct token *token)
{
    struct instruction *in = emit(c, op);
    in->path = split_path(c, token->text, &in->count);
    if (in->count == 0 && c->contexts == 0)
        c->template->takes_root = true;
}

static void note_include(struct compiler *c, struct template *included)
{
    struct template *t = c->template;
    for (uint32_t i = 0; i < t->include_count; i++)
        if (t->includes[i] == included)
            return;
    if (t->include_count == c->include_capacity) {
        c->include_capacity = c->include_capacity ? c->include_capacity * 2 : 4;
        struct template **grown =
            h2o_mem_alloc_pool(c->pool, c->include_capacity * sizeof(struct template *));
        if (t->include_count != 0)
            memcpy(grown, t->includes, t->include_count * sizeof(struct template *));
        t->includes = grown;
    }
    t->includes[t->include_count++] = included;
}

static struct include *emit_include(struct compiler *c, const struct token *token)
{
    struct include *include = h2o_mem_alloc_pool(c->pool, sizeof(*include));

    *include =
        (struct include){.includer = c->template, .alone = token->alone, .indent = token->indent};
    if (token->dynamic) {
        include->dynamic = true;
        include->path = split_path(c, token->text, &include->path_count);
        c->template->dynamic = true;
    } else {
        struct pos at = {c->template->file, token->line, token->column};
        struct template *template = c->include(c->include_arg, c->template, token->text, at);
        if (template != NULL)
            note_include(c, template);
        include->template = template;
    }
    struct instruction *in = emit(c, OP_INCLUDE);
    in->include = include;
    in->n = 1;
    return include;
}

static void push(struct compiler *c, const struct token *token, bool argument)
{
    c->open[c->depth++] =
        (struct open_tag){.instruction = c->count - 1, .tag = token->tag, .argument = argument};
}

static void begin_argument(struct compiler *c, const struct token *token)
{
    struct open_tag *parent = &c->open[c->depth - 1];
    struct argument *argument = h2o_mem_alloc_pool(c->pool, sizeof(*argument));

    *argument = (struct argument){.name = token->text, .start = c->count, .whole = token->whole};
    if (parent->last_argument != NULL)
        parent->last_argument->next = argument;
    else
        parent->include->arguments = argument;
    parent->last_argument = argument;
    push(c, token, true);
    c->label = c->count;
    /* text on the tag's own line begins a line if the block that it fills does */
    c->line_start = !token->alone;
}

static void begin_block(struct compiler *c, const struct token *token)
{
    struct block *block = h2o_mem_alloc_pool(c->pool, sizeof(*block));

    *block = (struct block){
        .name = token->text, .alone = token->alone, .indent = token->indent, .eol = token->eol};
    emit(c, OP_BLOCK)->block = block;
    push(c, token, false);
}

/* defer.NAME */
static bool is_place(const struct instruction *in)
{
    return in->count == 2 && str_eq(in->path[0], STR("defer"));
}

static void end_tag(struct compiler *c, const struct token *token)
{
    gw_assert(c->depth > 0);
    const struct open_tag *open = &c->open[--c->depth];

    if (open->argument) {
        c->line_start = false;
        emit(c, OP_RETURN);
        struct argument *argument = c->open[c->depth - 1].last_argument;
        argument->count = c->count - argument->start;
        return;
    }
    if (open->tag != TAG_PARENT) {
        c->line_start |= token->line_start;
        if (c->line_start) /* the indentation stands before the tag: inside */
            emit(c, OP_INDENT);
    }
    if (open->tag == TAG_SECTION) {
        emit(c, OP_END);
        c->contexts--;
    } else if (open->tag == TAG_INVERTED && is_place(&c->code[open->instruction])) {
        const struct str *path = c->code[open->instruction].path;
        emit(c, OP_PLACE_END)->path = path;
    }
    c->code[open->instruction].n = c->count - open->instruction;
    c->label = c->count;
}

static void compile_token(struct compiler *c, const struct token *token)
{
    c->line_start |= token->line_start && token->tag != TAG_CLOSE;
    switch ((enum tag)token->tag) {
    case TAG_TEXT:
        if (token->text.n != 0)
            emit_text(c, token->text);
        break;
    case TAG_SILENT:
        break;
    case TAG_VALUE:
        emit_path(c, c->template->plain ? OP_RAW : OP_VALUE, token);
        break;
    case TAG_RAW:
        emit_path(c, OP_RAW, token);
        break;
    case TAG_SECTION:
        emit_path(c, OP_SECTION, token);
        push(c, token, false);
        c->contexts++;
        break;
    case TAG_INVERTED:
        emit_path(c, OP_INVERTED, token);
        push(c, token, false);
        break;
    case TAG_BLOCK:
        begin_block(c, token);
        break;
    case TAG_PARTIAL:
        emit_include(c, token);
        break;
    case TAG_PARENT: {
        struct include *include = emit_include(c, token);
        push(c, token, false);
        c->open[c->depth - 1].include = include;
        break;
    }
    case TAG_CLOSE:
        end_tag(c, token);
        break;
    }
}

/* Of what stands inside a parent tag only blocks count. */
static uint32_t compile_in_parent(struct compiler *c, const struct tokens *tokens, uint32_t i)
{
    const struct token *token = &tokens->tokens[i];
    if (token->tag == TAG_CLOSE)
        end_tag(c, token);
    else if (token->tag == TAG_BLOCK)
        begin_argument(c, token);
    else if (token->match > i)
        return token->match + 1;
    return i + 1;
}

static void compile_tokens(struct compiler *c, const struct tokens *tokens)
{
    for (uint32_t i = 0; i < tokens->count;) {
        if (c->depth > 0 && c->open[c->depth - 1].tag == TAG_PARENT)
            i = compile_in_parent(c, tokens, i);
        else
            compile_token(c, &tokens->tokens[i++]);
    }
    emit(c, OP_RETURN);
}

void compile_template(struct template *template, h2o_mem_pool_t *pool, struct diag *diag,
                      include_fn *include, void *arg)
{
    struct tokens tokens = {0};
    struct compiler c = {
        .template = template, .pool = pool, .include = include, .include_arg = arg};
    size_t errors = diag_errors(diag);

    template->compiled = true;
    if (scan_template(&tokens, template->file, template->text, diag)) {
        settle_lines(&tokens, template->file, diag);
        compile_tokens(&c, &tokens);
        template->code = h2o_mem_alloc_pool(pool, c.count * sizeof(*c.code));
        memcpy(template->code, c.code, c.count * sizeof(*c.code));
        template->count = c.count;
    }
    template->broken = diag_errors(diag) != errors;
    free(c.code);
    free(tokens.tokens);
}
