/* Expanding: measures the values, takes one buffer from the request's pool and writes them into it,
 * percent-encoded. A target that doesn't vary costs nothing. */
#include "pages/expand_internal.h"

const struct expand_operation expand_operations[EXPAND_OPERATIONS] = {
    {'\0', '\0', ',', false, false}, {'.', '.', '.', false, false}, {'/', '/', '/', false, false},
    {';', ';', ';', true, false},    {'?', '?', '&', true, true},   {'&', '&', '&', true, true},
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
        if (expand_is_dot_segment((struct str){target.p + from, end - from})) {
            size_t found = 0;
            while (found + 1 < count && variables[found + 1].end <= end)
                found++;
            return variables[found].variable;
        }
        from = end + 1;
    }
    return NULL;
}

const char *expand_result_text(enum expand_result result)
{
    return result == EXPAND_TOO_LONG ? "is too long" : "would leave its segment of a path";
}

enum expand_result expand(const struct expansion *expansion, expand_get_fn *get, void *arg,
                          size_t items, h2o_mem_pool_t *pool, struct str *target_r,
                          const struct expand_variable **culprit_r)
{
    (void)items;
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
        struct str value = get(arg, variable, 0);
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
        const struct expand_operation *op = &expand_operations[it->variable->operation];
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
