/* Expanding: measures the values, takes one buffer from the request's pool and writes them into it,
 * percent-encoded for a URL, as they are for a header. What doesn't vary costs nothing. A value is
 * a list of one, so that those of a batch need no second way. */
#include "pages/expand_internal.h"

const struct expand_operation expand_operations[EXPAND_OPERATIONS] = {
    {'\0', '\0', ',', false, false, false}, {'.', '.', '.', false, false, false},
    {'/', '/', '/', false, false, true},    {';', ';', ';', true, false, true},
    {'?', '?', '&', true, true, true},      {'&', '&', '&', true, true, true},
};

const bool expand_unreserved[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['-'] = true,
    ['.'] = true,         ['_'] = true,         ['~'] = true,
};

bool expand_is_dot_segment(struct str segment)
{
    size_t dots = 0;
    for (size_t i = 0; i < segment.n && segment.p[i] != ';'; dots++) {
        if (segment.p[i] == '.')
            i++;
        else if (percent_byte(segment.p + i, segment.p + segment.n) == '.')
            i += 3;
        else
            return false;
    }
    return dots == 1 || dots == 2;
}

bool expand_has_line_end(struct str text)
{
    return memchr(text.p, '\r', text.n) || memchr(text.p, '\n', text.n) ||
           memchr(text.p, '\0', text.n);
}

/* The bytes of the first `count` characters. Bytes that aren't UTF-8 count one each. */
static size_t prefix_bytes(struct str value, size_t count)
{
    size_t i = 0;
    while (i < value.n && count-- > 0) {
        size_t n = utf8_length(value.p + i, value.p + value.n);
        i += n != 0 ? n : 1;
    }
    return i;
}

static char *encode(char *to, struct str value)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (expand_is_unreserved((char)c)) {
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
    struct str value;       /* p == NULL: undefined; n of a list: all that it comes to */
    const struct str *list; /* the defined values of a batch; NULL: just the one */
    size_t count;           /* of the list */
    size_t begin, end;      /* what it wrote: offsets in the target */
};

struct expander {
    expand_get_fn *get;
    void *arg;
    size_t items;
    h2o_mem_pool_t *pool;
    struct expanded variables[EXPAND_MAX_VARIABLES];
    size_t count;
};

/* Whose value it is that makes a target too long. */
static const struct expand_variable *longest(const struct expander *x)
{
    size_t found = 0;
    for (size_t i = 1; i < x->count; i++)
        if (x->variables[i].value.n > x->variables[found].value.n)
            found = i;
    return x->variables[found].variable;
}

static inline struct str read_value(const struct expander *x,
                                    const struct expand_variable *variable, size_t item)
{
    struct str value = x->get(x->arg, variable, item);
    if (variable->prefix != 0 && value.p != NULL)
        value.n = prefix_bytes(value, variable->prefix);
    return value;
}

/* What stands between the values counts as theirs, so that a thousand empty ones have their ceiling
 * too. */
static void read_list(const struct expander *x, struct expanded *it)
{
    const struct expand_variable *variable = it->variable;
    const bool named = variable->explode && expand_operations[variable->operation].named;
    struct str *list = h2o_mem_alloc_pool(x->pool, x->items * sizeof(*list));
    it->list = list;
    it->count = 0;
    it->value = (struct str){NULL, 0};
    for (size_t i = 0; i < x->items && it->value.n <= EXPAND_MAX_TARGET; i++) {
        struct str value = read_value(x, variable, i);
        if (value.p == NULL)
            continue;
        it->value.n += value.n + (it->count != 0) * (1 + (named ? variable->key.n + 1 : 0));
        it->value.p = value.p;
        list[it->count++] = value;
    }
}

static inline char *write_key(char *to, const struct expand_variable *variable, size_t value_n)
{
    const struct expand_operation *op = &expand_operations[variable->operation];
    to = append(to, variable->key);
    if (value_n != 0 || op->if_empty)
        *to++ = '=';
    return to;
}

static char *write_list(char *to, const struct expanded *it, bool encoded)
{
    const struct expand_operation *op = &expand_operations[it->variable->operation];
    const bool explode = it->variable->explode;
    if (op->named)
        to = write_key(to, it->variable, explode ? it->list[0].n : it->value.n);
    for (size_t i = 0; i < it->count; i++) {
        if (i != 0) {
            *to++ = explode ? op->separator : ',';
            if (explode && op->named)
                to = write_key(to, it->variable, it->list[i].n);
        }
        to = encoded ? encode(to, it->list[i]) : append(to, it->list[i]);
    }
    return to;
}

/* x->variables isn't initialized: most of it isn't used. Inlined twice: asking what is encoded
 * costs a URL, which is the hot path, as much as the lists do. */
static inline __attribute__((always_inline)) enum expand_result
expand_values(struct expander *x, const struct expansion *expansion, bool encoded,
              struct str *text_r, const struct expand_variable **culprit_r)
{
    size_t fixed = expansion->literal_bytes, varying = 0;
    x->count = 0;
    for (size_t i = 0; i < expansion->count; i++) {
        const struct expand_variable *variable = expansion->steps[i].variable;
        if (variable == NULL)
            continue;
        struct expanded *it = &x->variables[x->count++];
        it->variable = variable;
        it->list = NULL;
        if (variable->list)
            read_list(x, it);
        else
            it->value = read_value(x, variable, 0);
        if (it->value.p == NULL && variable->source >= EXPAND_PART &&
            !expand_operations[variable->operation].may_lack) {
            *culprit_r = variable;
            return EXPAND_MISSING;
        }
        fixed += variable->key.n + 2; /* a sign, the key, '=' */
        varying += it->value.n;
    }
    if (varying > EXPAND_MAX_TARGET) {
        *culprit_r = longest(x);
        return EXPAND_TOO_LONG;
    }

    char *start = h2o_mem_alloc_pool(x->pool, fixed + (encoded ? 3 : 1) * varying), *to = start;
    bool begun = false;
    for (size_t i = 0, n = 0; i < expansion->count; i++) {
        to = append(to, expansion->steps[i].literal);
        if (expansion->steps[i].variable == NULL)
            continue;
        struct expanded *it = &x->variables[n++];
        const struct expand_operation *op = &expand_operations[it->variable->operation];
        it->begin = (size_t)(to - start);
        if (!it->variable->joins)
            begun = false;
        if (it->value.p != NULL) {
            char sign = begun ? op->separator : op->first;
            if (sign != '\0')
                *to++ = sign;
            begun = true;
            if (it->list != NULL) {
                to = write_list(to, it, encoded);
            } else {
                if (op->named)
                    to = write_key(to, it->variable, it->value.n);
                to = encoded ? encode(to, it->value) : append(to, it->value);
            }
        }
        it->end = (size_t)(to - start);
    }
    *text_r = (struct str){start, (size_t)(to - start)};
    if (text_r->n > EXPAND_MAX_TARGET) {
        *culprit_r = longest(x);
        return EXPAND_TOO_LONG;
    }
    return EXPAND_OK;
}

static size_t segment_end(struct str path, size_t from)
{
    while (from < path.n && path.p[from] != '/' &&
           !expand_is_encoded_slash(path.p + from, path.p + path.n))
        from++;
    return from;
}

/* The last variable in a dot segment of the target's path; NULL when there is none such. */
static const struct expand_variable *leaving(struct str target, const struct expanded *variables,
                                             size_t count)
{
    const char *query = memchr(target.p, '?', target.n);
    struct str path = {target.p, query ? (size_t)(query - target.p) : target.n};
    for (size_t from = 0, end; from < path.n; from = end + (path.p[end] == '%' ? 3 : 1)) {
        end = segment_end(path, from);
        if (expand_is_dot_segment((struct str){target.p + from, end - from})) {
            size_t found = 0;
            while (found + 1 < count &&
                   (variables[found + 1].end <= end || variables[found + 1].begin < end))
                found++;
            return variables[found].variable;
        }
        if (end == path.n)
            break;
    }
    return NULL;
}

const char *expand_result_text(enum expand_result result)
{
    return result == EXPAND_TOO_LONG  ? "is too long"
           : result == EXPAND_MISSING ? "has no value"
                                      : "would leave its segment of a path";
}

enum expand_result expand(const struct expansion *expansion, expand_get_fn *get, void *arg,
                          size_t items, h2o_mem_pool_t *pool, struct str *target_r,
                          const struct expand_variable **culprit_r)
{
    *target_r = STR("");
    *culprit_r = NULL;
    if (expansion->variable_count == 0) {
        if (expansion->count != 0)
            *target_r = expansion->steps[0].literal;
        return EXPAND_OK;
    }
    struct expander x;
    x.get = get, x.arg = arg, x.items = items, x.pool = pool;
    struct str target;
    enum expand_result result = expand_values(&x, expansion, true, &target, culprit_r);
    if (result != EXPAND_OK)
        return result;
    *culprit_r = leaving(target, x.variables, x.count);
    if (*culprit_r != NULL)
        return EXPAND_LEAVES_SEGMENT;
    *target_r = target;
    return EXPAND_OK;
}

enum expand_result expand_text(const struct expansion *expansion, expand_get_fn *get, void *arg,
                               size_t items, h2o_mem_pool_t *pool, struct str *text_r,
                               const struct expand_variable **culprit_r)
{
    *text_r = (struct str){NULL, 0};
    *culprit_r = NULL;
    struct str text = expansion->count != 0 ? expansion->steps[0].literal : STR("");
    if (expansion->variable_count != 0) {
        struct expander x;
        x.get = get, x.arg = arg, x.items = items, x.pool = pool;
        enum expand_result result = expand_values(&x, expansion, false, &text, culprit_r);
        if (result != EXPAND_OK)
            return result;
    }
    if (text.n != 0 && !expand_has_line_end(text))
        *text_r = text;
    return EXPAND_OK;
}
