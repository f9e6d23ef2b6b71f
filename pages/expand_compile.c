/* Compiling an RFC 6570 expansion: the text becomes steps (literal, variable), and what could never
 * be sent, or could leave its segment, is refused with its column. All errors of a text are found
 * in one go. */
#include "pages/expand_internal.h"

struct compiler {
    h2o_mem_pool_t *pool;
    struct str text;
    const struct expand_scope *scope;
    struct pos at;
    size_t offset; /* of text, in the string at `at` */
    struct diag *diag;
    bool failed;
    bool plain;    /* a header's value */
    bool in_query; /* a literal '?' was seen */
    struct expansion *expansion;
    size_t capacity;
};

#define FAIL(c, where, ...) \
    ((c)->failed = true,    \
     diag_error((c)->diag, place_inside((c)->at, (c)->offset + (where)), __VA_ARGS__))

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
    if (variable != NULL && variable->source == EXPAND_PART)
        e->parts |= UINT64_C(1) << variable->param;
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

static void check_plain(struct compiler *c, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        char ch = c->text.p[i];
        if (ch == '}')
            FAIL(c, i, "'}' without '{'");
        else if (ch == '\r' || ch == '\n' || ch == '\0')
            FAIL(c, i, "a header's value is one line: byte 0x%02x can't stand in it", (unsigned)ch);
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

static const char *const sources[] = {
    [EXPAND_PATH] = "path",     [EXPAND_QUERY] = "query", [EXPAND_HEADER] = "header",
    [EXPAND_COOKIE] = "cookie", [EXPAND_FIELD] = "field",
};

/* What a variable's name may begin with. */
static size_t known_sources(const struct expand_scope *scope)
{
    return scope->fields != NULL ? EXPAND_FIELD + 1 : EXPAND_FIELD;
}

static bool find_source(const struct expand_scope *scope, struct str source,
                        struct expand_variable *variable)
{
    for (size_t i = 0; i < known_sources(scope); i++) {
        if (str_eq(source, str_from(sources[i]))) {
            variable->source = (uint8_t)i;
            return true;
        }
    }
    if (scope->item.n != 0 && str_eq(source, scope->item)) {
        variable->source = EXPAND_ITEM;
        variable->list = scope->batch;
        return true;
    }
    for (size_t i = 0; i < scope->part_count; i++) {
        if (str_eq(source, scope->parts[i])) {
            variable->source = EXPAND_PART;
            variable->param = (unsigned)i;
            return true;
        }
    }
    return false;
}

static void fail_source(struct compiler *c, size_t from, struct str source, bool alone)
{
    const struct expand_scope *scope = c->scope;
    const bool fields = scope->fields != NULL, item = scope->item.n != 0;
    const char *names[COUNT(sources) + 1 + EXPAND_MAX_PARTS];
    size_t count = 0;
    while (count < known_sources(scope)) {
        names[count] = sources[count];
        count++;
    }
    if (item)
        names[count++] = scope->item.p;
    for (size_t i = 0; i < scope->part_count && count < COUNT(names); i++)
        names[count++] = scope->parts[i].p;

    const char *near = diag_nearest(source, names, count);
    if (near != NULL)
        FAIL(c, from, "unknown namespace \"%.*s\"; did you mean \"%s\"?", (int)source.n, source.p,
             near);
    else if (alone)
        FAIL(c, from,
             "\"%.*s\" must be path.NAME, query.NAME, header.NAME%s%s; did you mean \"%s.%.*s\"?",
             (int)source.n, source.p, fields ? ", cookie.NAME or field.NAME" : " or cookie.NAME",
             scope->part_count != 0 ? ", or a part" : "", fields ? "field" : "query", (int)source.n,
             source.p);
    else
        FAIL(c, from, "unknown namespace \"%.*s\" (known: path, query, header, cookie%s%s%s%s)",
             (int)source.n, source.p, fields ? ", field" : "", item ? ", " : "",
             item ? scope->item.p : "", scope->part_count != 0 ? " and the page's parts" : "");
}

/* A path into data: "a.b" of "promo.a.b", at `from` in the text. */
static bool compile_at(struct compiler *c, size_t from, struct expand_variable *variable)
{
    if (!place_compile_path(c->pool, variable->name, false, c->at, c->offset + from, c->diag,
                            &variable->at)) {
        c->failed = true;
        return false;
    }
    for (size_t i = 0; i < variable->at.count; i++)
        variable->at.keys[i].text = decode_name(c->pool, variable->at.keys[i].text);
    const char *dot = memrchr(variable->name.p, '.', variable->name.n);
    if (dot != NULL)
        variable->key =
            (struct str){dot + 1, (size_t)(variable->name.p + variable->name.n - dot - 1)};
    return true;
}

/* The variable's name, varspec without modifiers. */
static bool compile_name(struct compiler *c, size_t from, size_t to,
                         struct expand_variable *variable)
{
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
    if (!find_source(c->scope, source, variable)) {
        fail_source(c, from, source, dot == NULL);
        return false;
    }
    if (dot == NULL && variable->source >= EXPAND_PART) { /* all of the data */
        variable->name = variable->key = source;
        return true;
    }
    size_t begin = source.n + 1;
    variable->key = (struct str){source.p + begin, dot ? variable->full.n - begin : 0};
    if (variable->key.n == 0) {
        FAIL(c, from, "\"%.*s\" lacks a name: %.*s.NAME", (int)variable->full.n, variable->full.p,
             (int)source.n, source.p);
        return false;
    }
    if (c->scope->uses != NULL)
        c->scope->uses(c->scope->uses_arg, (enum expand_source)variable->source,
                       decode_name(c->pool, variable->key));
    if (variable->source >= EXPAND_PART) {
        variable->name = variable->key;
        return compile_at(c, from + begin, variable);
    }
    variable->name = decode_name(c->pool, variable->key);
    if (variable->source == EXPAND_PATH)
        return find_param(c, variable, from);
    return variable->source != EXPAND_FIELD || find_field(c, variable, from);
}

bool expand_compile_variable(h2o_mem_pool_t *pool, struct str name,
                             const struct expand_scope *scope, struct pos at, size_t offset,
                             struct diag *diag, struct expand_variable *variable_r)
{
    struct compiler c = {
        .pool = pool, .text = name, .scope = scope, .at = at, .offset = offset, .diag = diag};
    *variable_r = (struct expand_variable){0};
    return compile_name(&c, 0, name.n, variable_r);
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
        variable.explode = true;
    }
    if (!compile_name(c, from, end, &variable))
        return;
    if (c->expansion->variable_count == EXPAND_MAX_VARIABLES) {
        FAIL(c, from, "a %s takes at most %d variables", c->plain ? "header" : "path",
             (int)EXPAND_MAX_VARIABLES);
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
    if (c->plain && memchr("+#./;?&", sign, 7) != NULL) {
        FAIL(c, from, "'%c' is for URLs; in a header write {%.*s}", sign, (int)(close - from - 1),
             c->text.p + from + 1);
        return close + 1;
    }
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
        const char *at = c->text.p + i, *text_end = c->text.p + c->text.n;
        bool encoded = expand_is_encoded_slash(at, text_end);
        if ((ch == '/' || ch == '?' || encoded) && (opens || !inside)) {
            if (!varies && expand_is_dot_segment((struct str){c->text.p + start, i - start}))
                FAIL(c, start, "a path must not hold '.' or '..' segments");
            if (ch == '?')
                return;
            start = i + (encoded ? 3 : 1);
            varies = false;
        }
        varies = varies || opens;
    }
}

static bool compile(struct compiler *c)
{
    *c->expansion = (struct expansion){0};
    struct str text = c->text;
    if (text.n > EXPAND_MAX_TARGET) {
        FAIL(c, 0, "a %s is at most %d bytes long", c->plain ? "header" : "path",
             (int)EXPAND_MAX_TARGET);
        return false;
    }
    for (size_t i = 0; i < text.n;) {
        const char *brace = memchr(text.p + i, '{', text.n - i);
        size_t open = brace ? (size_t)(brace - text.p) : text.n;
        if (c->plain)
            check_plain(c, i, open);
        else
            check_literal(c, i, open);
        struct str literal = {text.p + i, open - i};
        if (brace == NULL) {
            add_step(c, literal, NULL);
            break;
        }
        i = compile_expression(c, literal, open);
    }
    return !c->failed;
}

bool expand_compile(h2o_mem_pool_t *pool, struct str text, const struct expand_scope *scope,
                    struct pos at, struct diag *diag, struct expansion *expansion_r)
{
    struct compiler c = {.pool = pool,
                         .text = text,
                         .scope = scope,
                         .at = at,
                         .diag = diag,
                         .expansion = expansion_r};
    if (text.n != 0 && text.p[0] != '/' && text.p[0] != '?' &&
        !(text.n > 1 && text.p[0] == '{' && text.p[1] == '?'))
        FAIL(&c, 0, "a path begins with '/' (or is empty)");
    check_segments(&c);
    return compile(&c);
}

bool expand_compile_text(h2o_mem_pool_t *pool, struct str text, const struct expand_scope *scope,
                         struct pos at, struct diag *diag, struct expansion *expansion_r)
{
    struct compiler c = {.pool = pool,
                         .text = text,
                         .scope = scope,
                         .at = at,
                         .diag = diag,
                         .plain = true,
                         .expansion = expansion_r};
    return compile(&c);
}
