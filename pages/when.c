/* Conditions: compiled by a parser that reads test after test, since the grammar has no parentheses
 * and two levels only, and evaluated as the flat list that this leaves: a value is looked up when
 * the answer still hangs on it. */
#include "pages/when.h"

#include "base/text.h"

struct parser {
    h2o_mem_pool_t *pool;
    struct str text;
    size_t i; /* the next byte */
    const struct expand_scope *scope;
    struct pos at;
    struct diag *diag;
    bool failed;
};

#define FAIL(p, offset, ...) \
    ((p)->failed = true, diag_error((p)->diag, place_inside((p)->at, (offset)), __VA_ARGS__))

/* -- compiling -------------------------------------------------------------------------------- */

static char next_char(struct parser *p)
{
    while (p->i < p->text.n && strchr(" \t\r\n", p->text.p[p->i]) != NULL && p->text.p[p->i] != 0)
        p->i++;
    return p->i < p->text.n ? p->text.p[p->i] : '\0';
}

static bool take(struct parser *p, const char *sign)
{
    size_t n = strlen(sign);
    next_char(p);
    if (p->text.n - p->i < n || memcmp(p->text.p + p->i, sign, n) != 0)
        return false;
    p->i += n;
    return true;
}

static bool is_name_end(char c)
{
    return c == '\0' || strchr(" \t\r\n!=&|'\"()", c) != NULL;
}

/* A name that nothing knows is an error, but reading goes on behind it. */
static bool parse_name(struct parser *p, struct expand_variable *variable_r)
{
    char c = next_char(p);
    size_t from = p->i;
    while (p->i < p->text.n && !is_name_end(p->text.p[p->i]))
        p->i++;
    if (p->i == from) {
        if (c == '(' || c == ')') {
            FAIL(p, from, "a condition has no parentheses: && binds tighter than ||");
            return false;
        }
        if (c == '\'' || c == '"') {
            FAIL(p, from, "a text stands behind == or !=, a name before it");
            return false;
        }
        FAIL(p, from, "here a name is needed, like query.debug");
        return false;
    }
    struct str name = {p->text.p + from, p->i - from};
    if (!expand_compile_variable(p->pool, name, p->scope, p->at, from, p->diag, variable_r))
        p->failed = true;
    return true;
}

static bool parse_text(struct parser *p, struct str *text_r)
{
    char quote = next_char(p);
    size_t from = p->i;
    if (quote != '\'' && quote != '"') {
        FAIL(p, from, "a name is compared with a text in quotes, like 'yes'");
        return false;
    }
    const char *start = p->text.p + from + 1;
    const char *end = memchr(start, quote, p->text.n - from - 1);
    if (end == NULL) {
        FAIL(p, from, "%c without the one that ends the text", quote);
        return false;
    }
    *text_r = (struct str){start, (size_t)(end - start)};
    p->i = (size_t)(end + 1 - p->text.p);
    return true;
}

static bool parse_test(struct parser *p, struct when_test *test)
{
    next_char(p);
    size_t from = p->i;
    test->negated = take(p, "!");
    if (!parse_name(p, &test->variable))
        return false;
    bool equal = take(p, "=="), differs = !equal && take(p, "!=");
    if (!equal && !differs)
        return true;
    if (test->negated) {
        FAIL(p, from, "'!' goes with a name alone; compare with !=");
        return false;
    }
    test->negated = differs;
    return parse_text(p, &test->text);
}

/* What follows a test. False: nothing, or an error. */
static bool parse_joint(struct parser *p, bool *begins_r)
{
    *begins_r = take(p, "||");
    if (*begins_r || take(p, "&&"))
        return true;
    char c = next_char(p);
    if (p->i == p->text.n)
        return false;
    if (c == '=') {
        FAIL(p, p->i, "write == to compare");
        return false;
    }
    if (c == '&' || c == '|') {
        FAIL(p, p->i, "write %c%c", c, c);
        return false;
    }
    if (c == '(' || c == ')') {
        FAIL(p, p->i, "a condition has no parentheses: && binds tighter than ||");
        return false;
    }
    FAIL(p, p->i, "here &&, ||, == or != is needed");
    return false;
}

bool when_compile(h2o_mem_pool_t *pool, struct str text, const struct expand_scope *scope,
                  struct pos at, struct diag *diag, struct when *when_r)
{
    *when_r = (struct when){0};
    if (text.n == 0)
        return true;
    struct parser p = {.pool = pool, .text = text, .scope = scope, .at = at, .diag = diag};
    struct when_test tests[WHEN_MAX_TESTS];
    size_t count = 0;
    bool begins = false;
    do {
        if (count == COUNT(tests)) {
            FAIL(&p, p.i, "a condition has at most %d tests", (int)WHEN_MAX_TESTS);
            break;
        }
        tests[count] = (struct when_test){.begins = begins};
        if (!parse_test(&p, &tests[count]))
            break;
        if (tests[count].variable.source == EXPAND_PART)
            when_r->parts |= UINT64_C(1) << tests[count].variable.param;
        count++;
    } while (parse_joint(&p, &begins));
    if (p.failed)
        return false;
    when_r->tests = h2o_mem_alloc_pool(pool, count * sizeof(*tests));
    memcpy(when_r->tests, tests, count * sizeof(*tests));
    when_r->count = count;
    return true;
}

/* -- evaluating ------------------------------------------------------------------------------- */

/* "0", "-0.00", "0e9": no digit of its own but zeros. */
static bool is_zero(struct str number)
{
    for (size_t i = 0; i < number.n && (number.p[i] | 0x20) != 'e'; i++)
        if (number.p[i] >= '1' && number.p[i] <= '9')
            return false;
    return true;
}

static bool is_something(struct json_value v)
{
    bool escaped;
    struct json_iter it;
    switch (json_type(v)) {
    case JSON_MISSING:
    case JSON_NULL:
    case JSON_FALSE:
        return false;
    case JSON_TRUE:
        return true;
    case JSON_NUMBER:
        return !is_zero(json_text(v, &escaped));
    case JSON_STRING:
        return json_text(v, &escaped).n != 0;
    case JSON_ARRAY:
    case JSON_OBJECT:
        it = json_iter(v);
        return json_next(&it);
    }
    return false;
}

static bool test_holds(const struct when_test *test, expand_get_fn *text, value_get_fn *value,
                       void *arg, h2o_mem_pool_t *pool)
{
    bool holds;
    if (test->variable.source >= EXPAND_PART) {
        struct json_value v = value(arg, &test->variable, 0);
        holds = test->text.p != NULL ? str_eq(place_text(v, pool), test->text) : is_something(v);
    } else {
        struct str s = text(arg, &test->variable, 0);
        holds = test->text.p != NULL ? str_eq(s, test->text) : s.n != 0;
    }
    return holds != test->negated;
}

bool when_holds(const struct when *when, expand_get_fn *text, value_get_fn *value, void *arg,
                h2o_mem_pool_t *pool)
{
    bool holds = true;
    for (size_t i = 0; i < when->count; i++) {
        const struct when_test *test = &when->tests[i];
        if (test->begins) {
            if (holds)
                return true;
            holds = true;
        }
        holds = holds && test_holds(test, text, value, arg, pool);
    }
    return holds;
}
