/* Bodies: the text is parsed as JSON when the configuration is read, then cut at its variables, so
 * that writing one is a copy of the pieces with values between them. A value's own JSON is written
 * as its sender wrote it; text is escaped on its way in. Nothing else can come from a value, so the
 * body stays the JSON that was checked. */
#include "pages/json_body.h"

#include "base/text.h"
#include "pages/outcome.h"

/* -- compiling -------------------------------------------------------------------------------- */

struct compiler {
    h2o_mem_pool_t *pool;
    struct str text;
    const struct expand_scope *scope;
    struct pos at;
    struct diag *diag;
    bool failed;
    size_t done; /* bytes of the text that the steps have */
    struct json_body *body;
    size_t capacity;
};

#define FAIL(c, offset, ...) \
    ((c)->failed = true, diag_error((c)->diag, place_inside((c)->at, (offset)), __VA_ARGS__))

static void fail_json(struct compiler *c, enum json_error error, size_t at)
{
    if (error != JSON_SYNTAX)
        FAIL(c, at, "a body is JSON: %s", json_error_text(error));
    else if (at == c->text.n)
        FAIL(c, at, "a body is JSON, and this one ends too early");
    else if (at != 0 && c->text.p[at - 1] == '{' && is_letter(c->text.p[at]))
        FAIL(c, at - 1, "in a body a variable stands in a string: \"{query.user}\"");
    else if (c->text.p[at] > 0x20 && c->text.p[at] < 0x7f)
        FAIL(c, at, "a body is JSON, in which '%c' can't stand here", c->text.p[at]);
    else
        FAIL(c, at, "a body is JSON, in which byte 0x%02x can't stand here",
             (unsigned)(unsigned char)c->text.p[at]);
}

/* The text up to `to`, then perhaps a variable; goes on at `next`. */
static void add_step(struct compiler *c, size_t to, const struct expand_variable *variable,
                     bool whole, size_t next)
{
    struct json_body *body = c->body;
    if (body->count == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 4;
        struct body_step *steps = h2o_mem_alloc_pool(c->pool, c->capacity * sizeof(*steps));
        if (body->count != 0)
            memcpy(steps, body->steps, body->count * sizeof(*steps));
        body->steps = steps;
    }
    struct str literal = {c->text.p + c->done, to - c->done};
    body->steps[body->count++] = (struct body_step){literal, variable, whole};
    body->literal_bytes += literal.n;
    if (variable != NULL && variable->source == EXPAND_PART)
        body->parts |= UINT64_C(1) << variable->param;
    c->done = next;
}

static const struct expand_variable *compile_variable(struct compiler *c, size_t from, size_t to)
{
    struct expand_variable *variable = h2o_mem_alloc_pool(c->pool, sizeof(*variable));
    struct str name = {c->text.p + from, to - from};
    if (!expand_compile_variable(c->pool, name, c->scope, c->at, from, c->diag, variable))
        c->failed = true;
    return variable;
}

/* A string's inside, text[from, to). */
static void compile_string(struct compiler *c, size_t from, size_t to)
{
    const char *text = c->text.p;
    for (size_t i = from; i < to; i++) {
        if (text[i] != '{' && text[i] != '}')
            continue;
        if (i + 1 < to && text[i + 1] == text[i]) { /* doubled: one of the two */
            add_step(c, i + 1, NULL, false, i + 2);
            i++;
            continue;
        }
        if (text[i] == '}') {
            FAIL(c, i, "'}' without '{'; the brace itself is }}");
            continue;
        }
        const char *brace = memchr(text + i, '}', to - i);
        if (brace == NULL) {
            FAIL(c, i, "'{' without '}'; the brace itself is {{");
            return;
        }
        size_t close = (size_t)(brace - text);
        const struct expand_variable *variable = compile_variable(c, i + 1, close);
        if (i == from && close + 1 == to)
            add_step(c, from - 1, variable, true, to + 1); /* without its quotes */
        else
            add_step(c, i, variable, false, close + 1);
        i = close;
    }
}

/* As deep as json_parse() admits. */
static void compile_value(struct compiler *c, struct json_value v)
{
    bool escaped;
    if (json_type(v) == JSON_STRING) {
        struct str inside = json_text(v, &escaped);
        size_t from = (size_t)(inside.p - c->text.p);
        compile_string(c, from, from + inside.n);
        return;
    }
    for (struct json_iter it = json_iter(v); json_next(&it);)
        compile_value(c, it.value);
}

bool body_compile(h2o_mem_pool_t *pool, struct str text, const struct expand_scope *scope,
                  struct pos at, struct diag *diag, struct json_body *body_r)
{
    *body_r = (struct json_body){0};
    if (text.n == 0)
        return true;
    struct compiler c = {
        .pool = pool, .text = text, .scope = scope, .at = at, .diag = diag, .body = body_r};
    if (text.n > BODY_MAX) {
        FAIL(&c, 0, "a body is at most %d bytes long", (int)BODY_MAX);
        return false;
    }
    struct json_doc doc;
    size_t error_at;
    json_doc_init(&doc);
    enum json_error error = json_parse(&doc, text.p, text.n, OUTCOME_JSON_DEPTH, &error_at);
    if (error != JSON_OK) {
        fail_json(&c, error, error_at);
    } else {
        compile_value(&c, json_root(&doc));
        if (c.done != text.n)
            add_step(&c, text.n, NULL, false, text.n);
    }
    json_doc_fini(&doc);
    return !c.failed;
}

/* -- writing ---------------------------------------------------------------------------------- */

struct writer {
    struct out out;
    expand_get_fn *text;
    value_get_fn *value;
    void *arg;
    size_t items;
};

/* JSON is UTF-8, whatever a client sent: U+FFFD for bytes that aren't. */
static void write_escaped(struct out *out, struct str text)
{
    while (text.n != 0) {
        size_t good = utf8_valid_length(text);
        out_json_escaped(out, (struct str){text.p, good});
        if (good == text.n)
            return;
        out_str(out, STR("\xef\xbf\xbd"));
        text = (struct str){text.p + good + 1, text.n - good - 1};
    }
}

static bool is_too_long(const struct writer *w)
{
    return out_size(&w->out) > BODY_MAX;
}

static void write_whole(struct writer *w, const struct expand_variable *variable)
{
    struct out *out = &w->out;
    if (variable->source < EXPAND_PART) {
        struct str text = w->text(w->arg, variable, 0);
        if (text.p == NULL) {
            out_str(out, STR("null"));
            return;
        }
        out_str(out, STR("\""));
        write_escaped(out, text);
        out_str(out, STR("\""));
        return;
    }
    if (!variable->list) {
        json_write(out, w->value(w->arg, variable, 0));
        return;
    }
    out_str(out, STR("["));
    for (size_t i = 0; i < w->items && !is_too_long(w); i++) {
        if (i != 0)
            out_str(out, STR(","));
        json_write(out, w->value(w->arg, variable, i));
    }
    out_str(out, STR("]"));
}

/* A scalar's text, within a string. False: it is none. */
static bool write_scalar(struct writer *w, struct json_value v, bool comma)
{
    bool escaped;
    struct str text = json_text(v, &escaped);
    if (text.p == NULL || json_type(v) == JSON_NULL)
        return false;
    if (comma)
        out_str(&w->out, STR(","));
    if (escaped)
        out_refer(&w->out, text.p, text.n); /* as this string needs it */
    else
        out_json_escaped(&w->out, text);
    return true;
}

/* False: there is nothing to write. */
static bool write_within(struct writer *w, const struct expand_variable *variable)
{
    if (variable->source < EXPAND_PART) {
        write_escaped(&w->out, w->text(w->arg, variable, 0));
        return true;
    }
    if (!variable->list)
        return write_scalar(w, w->value(w->arg, variable, 0), false);
    bool written = false;
    for (size_t i = 0; i < w->items && !is_too_long(w); i++)
        written |= write_scalar(w, w->value(w->arg, variable, i), written);
    return written;
}

/* In one piece. */
static struct str joined(struct out *out)
{
    h2o_iovec_t *vecs;
    size_t count = out_vecs(out, &vecs), n = 0;
    char *text = h2o_mem_alloc_pool(out->pool, out_size(out));
    for (size_t i = 0; i < count; i++) {
        memcpy(text + n, vecs[i].base, vecs[i].len);
        n += vecs[i].len;
    }
    return (struct str){text, n};
}

enum expand_result body_write(const struct json_body *body, expand_get_fn *text,
                              value_get_fn *value, void *arg, size_t items, h2o_mem_pool_t *pool,
                              struct str *body_r, const struct expand_variable **culprit_r)
{
    *body_r = (struct str){NULL, 0};
    *culprit_r = NULL;
    if (body->count == 1 && body->steps[0].variable == NULL) {
        *body_r = body->steps[0].literal;
        return EXPAND_OK;
    }
    struct writer w = {.text = text, .value = value, .arg = arg, .items = items};
    out_init(&w.out, pool, body->literal_bytes + 1024);
    for (size_t i = 0; i < body->count && !is_too_long(&w); i++) {
        const struct body_step *step = &body->steps[i];
        out_str(&w.out, step->literal);
        if (step->variable == NULL)
            continue;
        *culprit_r = step->variable;
        if (step->whole)
            write_whole(&w, step->variable);
        else if (!write_within(&w, step->variable))
            return EXPAND_MISSING;
    }
    if (is_too_long(&w))
        return EXPAND_TOO_LONG;
    *culprit_r = NULL;
    if (body->count != 0)
        *body_r = joined(&w.out);
    return EXPAND_OK;
}
