/* RFC 6570 in two halves. Compiling splits the text into steps (literal, variable) and refuses what
 * could never be sent; expanding measures the values, takes one buffer from the request's pool and
 * writes them into it, percent-encoded. A target that doesn't vary costs nothing. */
#include "pages/expand.h"

#include <stdio.h>

/* RFC 6570, appendix A. */
static const struct operation {
    char sign;
    char first;     /* before the expression's first defined variable; 0 = nothing */
    char separator; /* before the others */
    bool named;     /* sends key=value */
    bool if_empty;  /* ... and the '=' of an empty value too */
} operations[] = {
    {'\0', '\0', ',', false, false}, {'.', '.', '.', false, false}, {'/', '/', '/', false, false},
    {';', ';', ';', true, false},    {'?', '?', '&', true, true},   {'&', '&', '&', true, true},
};

static bool is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

static bool is_pct_encoded(struct str text, size_t at)
{
    return at + 2 < text.n && text.p[at] == '%' && hex_value(text.p[at + 1]) >= 0 &&
           hex_value(text.p[at + 2]) >= 0;
}

/* Whether a path segment means "here" or "up", its dots encoded or not. Some servers strip
 * ";parameters" before they look, so these don't count. */
static bool is_dot_segment(struct str segment)
{
    size_t dots = 0;
    for (size_t i = 0; i < segment.n && segment.p[i] != ';'; dots++) {
        if (segment.p[i] == '.')
            i++;
        else if (is_pct_encoded(segment, i) && segment.p[i + 1] == '2' &&
                 (segment.p[i + 2] | 0x20) == 'e')
            i += 3;
        else
            return false;
    }
    return dots == 1 || dots == 2;
}

/* -- compiling -------------------------------------------------------------------------------- */

struct compiler {
    h2o_mem_pool_t *pool;
    struct str text;
    const struct expand_param *params;
    size_t param_count;
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
        if (is_unreserved((unsigned char)ch) || memchr("!$&'()*+,;=:@/?", ch, 15) != NULL)
            continue;
        if (is_pct_encoded(c->text, i)) {
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
        if (is_pct_encoded(name, i)) {
            decoded[n] = (char)(hex_value(name.p[i + 1]) << 4 | hex_value(name.p[i + 2]));
            i += 2;
        }
    }
    return (struct str){decoded, n};
}

static bool find_param(struct compiler *c, struct expand_variable *variable, size_t offset)
{
    const char *names[EXPAND_MAX_VARIABLES];
    size_t count = 0;
    for (size_t i = 0; i < c->param_count; i++) {
        if (str_eq(variable->name, str_from(c->params[i].name))) {
            variable->param = c->params[i].index;
            return true;
        }
        if (count < COUNT(names))
            names[count++] = c->params[i].name;
    }
    const char *near = diag_nearest(variable->name, names, count);
    if (near != NULL)
        FAIL(c, offset, "the page's path has no parameter '%.*s'; did you mean 'path.%s'?",
             (int)variable->name.n, variable->name.p, near);
    else
        FAIL(c, offset, "the page's path has no parameter '%.*s'", (int)variable->name.n,
             variable->name.p);
    return false;
}

/* The variable's name, varspec without modifiers. */
static bool compile_name(struct compiler *c, size_t from, size_t to,
                         struct expand_variable *variable)
{
    static const char *const sources[] = {"path", "query", "header", "cookie"};
    variable->full = (struct str){c->text.p + from, to - from};
    if (variable->full.n == 0) {
        FAIL(c, from, "an expression needs a variable's name, like {query.user}");
        return false;
    }
    for (size_t i = from; i < to; i++) {
        char ch = c->text.p[i];
        if (is_pct_encoded(c->text, i) && i + 2 < to)
            i += 2;
        else if (ch == '~' || !is_unreserved((unsigned char)ch)) {
            FAIL(c, i, "'%.*s' is not a variable's name", (int)variable->full.n, variable->full.p);
            return false;
        }
    }
    const char *dot = memchr(variable->full.p, '.', variable->full.n);
    struct str source = {variable->full.p,
                         dot ? (size_t)(dot - variable->full.p) : variable->full.n};
    size_t found = 0;
    while (found < COUNT(sources) && !str_eq(source, str_from(sources[found])))
        found++;
    if (found == COUNT(sources)) {
        const char *near = diag_nearest(source, sources, COUNT(sources));
        if (near == NULL && dot == NULL)
            FAIL(c, from,
                 "'%.*s' must be path.NAME, query.NAME, header.NAME or cookie.NAME; did "
                 "you mean 'query.%.*s'?",
                 (int)source.n, source.p, (int)source.n, source.p);
        else if (near == NULL)
            FAIL(c, from, "unknown namespace '%.*s' (known: path, query, header, cookie)",
                 (int)source.n, source.p);
        else
            FAIL(c, from, "unknown namespace '%.*s'; did you mean '%s'?", (int)source.n, source.p,
                 near);
        return false;
    }
    variable->source = (uint8_t)found;
    variable->key =
        (struct str){source.p + source.n + 1, dot ? variable->full.n - source.n - 1 : 0};
    if (variable->key.n == 0) {
        FAIL(c, from, "'%.*s' lacks a name: %s.NAME", (int)variable->full.n, variable->full.p,
             sources[found]);
        return false;
    }
    variable->name = decode_name(c->pool, variable->key);
    return variable->source != EXPAND_PATH || find_param(c, variable, from);
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
        while (i < to && i < end + 5 && c->text.p[i] >= '0' && c->text.p[i] <= '9')
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
    for (size_t i = 1; i < COUNT(operations); i++)
        if (sign == operations[i].sign)
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
            if (!varies && is_dot_segment((struct str){c->text.p + start, i - start}))
                FAIL(c, start, "a path must not hold '.' or '..' segments");
            if (ch == '?')
                return;
            start = i + 1;
            varies = false;
        }
        varies = varies || opens;
    }
}

bool expand_compile(h2o_mem_pool_t *pool, struct str text, const struct expand_param *params,
                    size_t param_count, struct pos at, struct diag *diag,
                    struct expansion *expansion_r)
{
    *expansion_r = (struct expansion){0};
    struct compiler c = {.pool = pool,
                         .text = text,
                         .params = params,
                         .param_count = param_count,
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

/* -- expanding -------------------------------------------------------------------------------- */

/* The bytes of the first `count` characters. Bytes that aren't UTF-8 count one each. */
static size_t prefix_bytes(struct str value, size_t count)
{
    size_t i = 0;
    while (i < value.n && count-- > 0) {
        unsigned char lead = (unsigned char)value.p[i++];
        int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
        while (more-- > 0 && i < value.n && ((unsigned char)value.p[i] & 0xc0) == 0x80)
            i++;
    }
    return i;
}

static char *encode(char *to, struct str value)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (is_unreserved(c)) {
            *to++ = (char)c;
        } else {
            to[0] = '%';
            to[1] = hex[c >> 4];
            to[2] = hex[c & 15];
            to += 3;
        }
    }
    return to;
}

static char *append(char *to, struct str text)
{
    if (text.n != 0)
        memcpy(to, text.p, text.n);
    return to + text.n;
}

/* A variable on its way into the target. */
struct expanded {
    const struct expand_variable *variable;
    struct str value;
    size_t end; /* offset in the target behind what it wrote */
};

/* Whose value it is that makes a target too long. */
static const struct expand_variable *longest(const struct expanded *variables, size_t count)
{
    size_t found = 0;
    for (size_t i = 1; i < count; i++)
        if (variables[i].value.n > variables[found].value.n)
            found = i;
    return variables[found].variable;
}

/* The last variable in a dot segment of the target's path; NULL when there is none such. */
static const struct expand_variable *leaving(struct str target, const struct expanded *variables,
                                             size_t count)
{
    const char *query = memchr(target.p, '?', target.n);
    size_t path_end = query ? (size_t)(query - target.p) : target.n;
    for (size_t from = 0; from < path_end;) {
        const char *slash = memchr(target.p + from, '/', path_end - from);
        size_t end = slash ? (size_t)(slash - target.p) : path_end;
        if (is_dot_segment((struct str){target.p + from, end - from})) {
            size_t found = 0;
            while (found + 1 < count && variables[found + 1].end <= end)
                found++;
            return variables[found].variable;
        }
        from = end + 1;
    }
    return NULL;
}

enum expand_result expand(const struct expansion *expansion, expand_get_fn *get, void *arg,
                          h2o_mem_pool_t *pool, struct str *target_r,
                          const struct expand_variable **culprit_r)
{
    *target_r = STR("");
    *culprit_r = NULL;
    if (expansion->variable_count == 0) {
        if (expansion->count != 0)
            *target_r = expansion->steps[0].literal;
        return EXPAND_OK;
    }

    struct expanded variables[EXPAND_MAX_VARIABLES];
    size_t count = 0, fixed = expansion->literal_bytes, varying = 0;
    for (size_t i = 0; i < expansion->count; i++) {
        const struct expand_variable *variable = expansion->steps[i].variable;
        if (variable == NULL)
            continue;
        struct str value = get(arg, variable);
        if (variable->prefix != 0 && value.p != NULL)
            value.n = prefix_bytes(value, variable->prefix);
        variables[count++] = (struct expanded){variable, value, 0};
        fixed += variable->key.n + 2; /* a sign, the key, '=' */
        varying += value.n;
    }
    if (varying > EXPAND_MAX_TARGET) {
        *culprit_r = longest(variables, count);
        return EXPAND_TOO_LONG;
    }

    char *start = h2o_mem_alloc_pool(pool, fixed + 3 * varying), *to = start;
    bool begun = false;
    for (size_t i = 0, n = 0; i < expansion->count; i++) {
        to = append(to, expansion->steps[i].literal);
        if (expansion->steps[i].variable == NULL)
            continue;
        struct expanded *it = &variables[n++];
        const struct operation *op = &operations[it->variable->operation];
        if (!it->variable->joins)
            begun = false;
        if (it->value.p != NULL) {
            char sign = begun ? op->separator : op->first;
            if (sign != '\0')
                *to++ = sign;
            begun = true;
            if (op->named) {
                to = append(to, it->variable->key);
                if (it->value.n != 0 || op->if_empty)
                    *to++ = '=';
            }
            to = encode(to, it->value);
        }
        it->end = (size_t)(to - start);
    }
    struct str target = {start, (size_t)(to - start)};
    if (target.n > EXPAND_MAX_TARGET) {
        *culprit_r = longest(variables, count);
        return EXPAND_TOO_LONG;
    }
    *culprit_r = leaving(target, variables, count);
    if (*culprit_r != NULL)
        return EXPAND_LEAVES_SEGMENT;
    *target_r = target;
    return EXPAND_OK;
}
