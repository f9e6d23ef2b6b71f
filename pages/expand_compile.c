/* Compiling an RFC 6570 expansion: the text becomes steps (literal, variable), and what could never
 * be sent, or could leave its segment, is refused with its column. All errors of a text are found
 * in one go. */
#include "pages/expand_internal.h"

struct compiler {
    h2o_mem_pool_t *pool;
    struct str text;
    const struct expand_scope *scope;
    struct pos at;
    struct diag *diag;
    bool failed;
    bool in_query; /* a literal '?' was seen */
    struct expansion *expansion;
    size_t capacity;
};

static struct pos position(const struct compiler *c, size_t offset)
{
    struct pos at = c->at;
    if (at.column != 0)
        at.column += 1 + (unsigned)offset; /* the quote */
    return at;
}

#define FAIL(c, offset, ...) \
    ((c)->failed = true, diag_error((c)->diag, position((c), (offset)), __VA_ARGS__))

static void add_step(struct compiler *c, struct str literal, const struct expand_variable *variable)
{
    struct expansion *e = c->expansion;
    if (e->count == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 4;
        struct expand_step *steps = h2o_mem_alloc_pool(c->pool, c->capacity * sizeof(*steps));
        if (e->count != 0)
            memcpy(steps, e->steps, e->count * sizeof(*steps));
        e->steps = steps;
    }
    e->steps[e->count++] = (struct expand_step){literal, variable};
    e->literal_bytes += literal.n;
    e->variable_count += variable != NULL;
}

/* RFC 3986 section 3.3 and 3.4: pchar, '/' and '?'. */
static void check_literal(struct compiler *c, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        char ch = c->text.p[i];
        if (ch == '?')
            c->in_query = true;
        if (expand_is_unreserved(ch) || memchr("!$&'()*+,;=:@/?", ch, 15) != NULL)
            continue;
        if (percent_byte(c->text.p + i, c->text.p + c->text.n) >= 0) {
            i += 2;
            continue;
        }
        if (ch == '%')
            FAIL(c, i, "'%%' in a path must be followed by two hexadecimal digits");
        else if (ch == '#')
            FAIL(c, i, "a path holds no fragment ('#')");
        else if (ch == '}')
            FAIL(c, i, "'}' without '{'");
        else if (ch > 0x20 && ch < 0x7f)
            FAIL(c, i, "'%c' must be percent-encoded in a path (%%%02X)", ch, (unsigned)ch);
        else
            FAIL(c, i, "byte 0x%02x must be percent-encoded in a path",
                 (unsigned)(unsigned char)ch);
        while (i + 1 < to && (c->text.p[i + 1] & 0x80)) /* the rest of a UTF-8 character */
            i++;
    }
}

static struct str decode_name(h2o_mem_pool_t *pool, struct str name)
{
    if (memchr(name.p, '%', name.n) == NULL)
        return name;
    char *decoded = h2o_mem_alloc_pool(pool, name.n);
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++, n++) {
        decoded[n] = name.p[i];
        int byte = percent_byte(name.p + i, name.p + name.n);
        if (byte >= 0) {
            decoded[n] = (char)byte;
            i += 2;
        }
    }
    return (struct str){decoded, n};
}

static bool find_param(struct compiler *c, struct expand_variable *variable, size_t offset)
{
    const char *names[EXPAND_MAX_VARIABLES];
    size_t count = 0;
    const struct expand_param *params = c->scope->params;
    if (params == NULL)
        return true;
    for (size_t i = 0; i < c->scope->param_count; i++) {
        if (str_eq(variable->name, str_from(params[i].name))) {
            variable->param = params[i].index;
            return true;
        }
        if (count < COUNT(names))
            names[count++] = params[i].name;
    }
    const char *near = diag_nearest(variable->name, names, count);
    if (near != NULL)
        FAIL(c, offset, "the page's path has no parameter \"%.*s\"; did you mean \"path.%s\"?",
             (int)variable->name.n, variable->name.p, near);
    else
        FAIL(c, offset, "the page's path has no parameter \"%.*s\"", (int)variable->name.n,
             variable->name.p);
    return false;
}

static bool find_field(struct compiler *c, const struct expand_variable *variable, size_t offset)
{
    const struct expand_scope *scope = c->scope;
    const char **names = h2o_mem_alloc_pool(c->pool, (scope->field_count + 1) * sizeof(*names));
    for (size_t i = 0; i < scope->field_count; i++) {
        if (str_eq(variable->name, scope->fields[i]))
            return true;
        names[i] = scope->fields[i].p;
    }
    const char *near = diag_nearest(variable->name, names, scope->field_count);
    if (near != NULL)
        FAIL(c, offset, "no field \"%.*s\" comes from the request; did you mean \"field.%s\"?",
             (int)variable->name.n, variable->name.p, near);
    else
        FAIL(c, offset, "no field \"%.*s\" comes from the request", (int)variable->name.n,
             variable->name.p);
    return false;
}

/* The variable's name, varspec without modifiers. */
static bool compile_name(struct compiler *c, size_t from, size_t to,
                         struct expand_variable *variable)
{
    static const char *const sources[] = {
        [EXPAND_PATH] = "path",     [EXPAND_QUERY] = "query", [EXPAND_HEADER] = "header",
        [EXPAND_COOKIE] = "cookie", [EXPAND_FIELD] = "field",
    };
    const bool fields = c->scope->fields != NULL;
    const size_t known = fields ? EXPAND_FIELD + 1 : EXPAND_FIELD;
    variable->full = (struct str){c->text.p + from, to - from};
    if (variable->full.n == 0) {
        FAIL(c, from, "an expression needs a variable's name, like {query.user}");
        return false;
    }
    for (size_t i = from; i < to; i++) {
        char ch = c->text.p[i];
        if (percent_byte(c->text.p + i, c->text.p + to) >= 0)
            i += 2;
        else if (ch == '~' || !expand_is_unreserved(ch)) {
            FAIL(c, i, "\"%.*s\" is not a variable's name", (int)variable->full.n,
                 variable->full.p);
            return false;
        }
    }
    const char *dot = memchr(variable->full.p, '.', variable->full.n);
    struct str source = {variable->full.p,
                         dot ? (size_t)(dot - variable->full.p) : variable->full.n};
    size_t found = 0;
    while (found < known && !str_eq(source, str_from(sources[found])))
        found++;
    if (found == known) {
        const char *near = diag_nearest(source, sources, known);
        if (near == NULL && dot == NULL)
            FAIL(c, from,
                 "\"%.*s\" must be path.NAME, query.NAME, header.NAME%s; did you mean "
                 "\"%s.%.*s\"?",
                 (int)source.n, source.p,
                 fields ? ", cookie.NAME or field.NAME" : " or cookie.NAME",
                 fields ? "field" : "query", (int)source.n, source.p);
        else if (near == NULL)
            FAIL(c, from, "unknown namespace \"%.*s\" (known: path, query, header, cookie%s)",
                 (int)source.n, source.p, fields ? ", field" : "");
        else
            FAIL(c, from, "unknown namespace \"%.*s\"; did you mean \"%s\"?", (int)source.n,
                 source.p, near);
        return false;
    }
    variable->source = (uint8_t)found;
    variable->key =
        (struct str){source.p + source.n + 1, dot ? variable->full.n - source.n - 1 : 0};
    if (variable->key.n == 0) {
        FAIL(c, from, "\"%.*s\" lacks a name: %s.NAME", (int)variable->full.n, variable->full.p,
             sources[found]);
        return false;
    }
    variable->name = decode_name(c->pool, variable->key);
    if (variable->source == EXPAND_PATH)
        return find_param(c, variable, from);
    return variable->source != EXPAND_FIELD || find_field(c, variable, from);
}

/* One variable of an expression, text[from, to): name, then '*' or ":N". */
static void compile_variable(struct compiler *c, size_t from, size_t to, size_t operation,
                             struct str literal, bool joins)
{
    struct expand_variable variable = {.operation = (uint8_t)operation, .joins = joins};
    size_t end = to;
    const char *colon = memchr(c->text.p + from, ':', to - from);
    if (colon != NULL) {
        end = (size_t)(colon - c->text.p);
        unsigned length = 0;
        size_t i = end + 1;
        while (i < to && i < end + 5 && is_digit(c->text.p[i]))
            length = length * 10 + (unsigned)(c->text.p[i++] - '0');
        if (i != to || length == 0 || c->text.p[end + 1] == '0') {
            FAIL(c, end, "a prefix is ':' and a number from 1 to 9999");
            return;
        }
        variable.prefix = (uint16_t)length;
    } else if (end > from && c->text.p[end - 1] == '*') {
        end--;
    }
    if (!compile_name(c, from, end, &variable))
        return;
    if (c->expansion->variable_count == EXPAND_MAX_VARIABLES) {
        FAIL(c, from, "a path takes at most %d variables", (int)EXPAND_MAX_VARIABLES);
        return;
    }
    struct expand_variable *kept = h2o_mem_alloc_pool(c->pool, sizeof(*kept));
    *kept = variable;
    add_step(c, literal, kept);
}

/* text[open] is '{'. Returns the offset after the expression. */
static size_t compile_expression(struct compiler *c, struct str literal, size_t open)
{
    const char *brace = memchr(c->text.p + open, '}', c->text.n - open);
    if (brace == NULL) {
        FAIL(c, open, "'{' without '}'");
        return c->text.n;
    }
    size_t close = (size_t)(brace - c->text.p), from = open + 1;
    size_t operation = 0;
    char sign = c->text.p[from];
    if (sign == '+' || sign == '#') {
        FAIL(c, from, "reserved expansion would let a value leave its segment; write {%.*s}",
             (int)(close - from - 1), c->text.p + from + 1);
        return close + 1;
    }
    if (memchr("=,!@|", sign, 5) != NULL) {
        FAIL(c, from, "'%c' is reserved by RFC 6570 and means nothing", sign);
        return close + 1;
    }
    for (size_t i = 1; i < EXPAND_OPERATIONS; i++)
        if (sign == expand_operations[i].sign)
            operation = i;
    if (operation != 0)
        from++;
    if (sign == '?' && c->in_query)
        FAIL(c, open, "the path has a '?' already; continue it with {&…}");
    if (sign == '&' && !c->in_query)
        FAIL(c, open, "{&…} continues what a literal '?' began; begin with {?…}");
    if (sign == '?' && close + 1 != c->text.n)
        FAIL(c, close + 1,
             "nothing may follow {?…}, since it may come to nothing; list all "
             "variables in it");

    bool joins = false;
    for (size_t at = from; at <= close;) {
        const char *comma = memchr(c->text.p + at, ',', close - at);
        size_t end = comma ? (size_t)(comma - c->text.p) : close;
        compile_variable(c, at, end, operation, joins ? (struct str){NULL, 0} : literal, joins);
        joins = true;
        at = end + 1;
    }
    return close + 1;
}

/* Segments of literal text alone; those with variables are looked at when values have come. */
static void check_segments(struct compiler *c)
{
    bool varies = false, inside = false;
    for (size_t i = 0, start = 0; i <= c->text.n; i++) {
        char ch = i < c->text.n ? c->text.p[i] : '/';
        bool opens = ch == '{';
        if (opens) {
            inside = true;
            if (i + 1 < c->text.n && (c->text.p[i + 1] == '/' || c->text.p[i + 1] == '?'))
                ch = c->text.p[i + 1]; /* ends the segment that stands before it */
        } else if (ch == '}') {
            inside = false;
        }
        if ((ch == '/' || ch == '?') && (opens || !inside)) {
            if (!varies && expand_is_dot_segment((struct str){c->text.p + start, i - start}))
                FAIL(c, start, "a path must not hold '.' or '..' segments");
            if (ch == '?')
                return;
            start = i + 1;
            varies = false;
        }
        varies = varies || opens;
    }
}

bool expand_compile(h2o_mem_pool_t *pool, struct str text, const struct expand_scope *scope,
                    struct pos at, struct diag *diag, struct expansion *expansion_r)
{
    *expansion_r = (struct expansion){0};
    struct compiler c = {.pool = pool,
                         .text = text,
                         .scope = scope,
                         .at = at,
                         .diag = diag,
                         .expansion = expansion_r};
    if (text.n != 0 && text.p[0] != '/' && text.p[0] != '?' &&
        !(text.n > 1 && text.p[0] == '{' && text.p[1] == '?'))
        FAIL(&c, 0, "a path begins with '/' (or is empty)");
    if (text.n > EXPAND_MAX_TARGET)
        FAIL(&c, 0, "a path is at most %d bytes long", (int)EXPAND_MAX_TARGET);
    check_segments(&c);
    for (size_t i = 0; i < text.n && !(c.failed && text.n > EXPAND_MAX_TARGET);) {
        const char *brace = memchr(text.p + i, '{', text.n - i);
        size_t open = brace ? (size_t)(brace - text.p) : text.n;
        check_literal(&c, i, open);
        struct str literal = {text.p + i, open - i};
        if (brace == NULL) {
            add_step(&c, literal, NULL);
            break;
        }
        i = compile_expression(&c, literal, open);
    }
    return !c.failed;
}
