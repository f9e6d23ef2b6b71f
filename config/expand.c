/* ${NAME} in strings.
 *
 *     ${NAME}            the variable; an error when it isn't set
 *     ${NAME:-default}   the default when it isn't set, or is empty
 *     $${                a literal ${
 *
 * It works on strings that TOML has already taken apart, and what it fills in is never looked at
 * again: no value can end its string, add a key, or name another variable. */
#include "config/config_internal.h"

#include <stdlib.h>
#include "base/buf.h"

enum { MAX_TEXT = 64 << 10 };

struct expander {
    const struct toml_doc *doc; /* NULL: in an empty environment, and silently */
    const struct toml_node *string;
    const struct pos *instead;
    struct diag *diag;
    struct buf out;
    bool failed, too_long;
};

static struct pos place_of(const struct expander *x, size_t offset)
{
    return x->instead != NULL ? *x->instead : toml_place(x->doc, x->string, offset);
}

#define FAIL(x, offset, ...)                                             \
    do {                                                                 \
        (x)->failed = true;                                              \
        if ((x)->doc != NULL)                                            \
            diag_error((x)->diag, place_of((x), (offset)), __VA_ARGS__); \
    } while (0)

static void append(struct expander *x, const char *p, size_t n)
{
    if (!buf_append(&x->out, p, n))
        x->too_long = true;
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '_' && !is_letter(s.p[i]) && !(i != 0 && is_digit(s.p[i])))
            return false;
    return s.n != 0;
}

/* The reference that begins at `at` and ends before `end`, its closing brace. */
static void fill_in(struct expander *x, struct str s, size_t at, size_t end, struct expansion *out)
{
    struct str inside = {s.p + at + 2, end - at - 2};
    const char *dash = memmem(inside.p, inside.n, ":-", 2);
    struct str name = {inside.p, dash != NULL ? (size_t)(dash - inside.p) : inside.n};
    struct str fallback = STR("");
    if (dash != NULL)
        fallback = (struct str){dash + 2, inside.n - name.n - 2};
    int shown = config_cut(inside, 64);

    out->referenced = true;
    out->literal_default |= fallback.n != 0;
    if (!is_name(name)) {
        FAIL(x, at, "expected ${NAME} or ${NAME:-default}, got ${%.*s}; write $${ for a literal ${",
             shown, inside.p);
        return;
    }
    if (memmem(fallback.p, fallback.n, "${", 2) != NULL) {
        FAIL(x, at, "the default of ${%.*s} may not hold another ${", (int)name.n, name.p);
        return;
    }
    char variable[128];
    if (name.n >= sizeof(variable)) {
        FAIL(x, at, "the name of a variable may have at most 127 bytes");
        return;
    }
    memcpy(variable, name.p, name.n);
    variable[name.n] = '\0';
    struct str value = str_from(x->doc != NULL ? getenv(variable) : NULL);
    if (dash != NULL && value.n == 0)
        value = fallback;
    else if (value.p == NULL)
        FAIL(x, at, "${%s} is not set; set it, or give a default: ${%s:-…}", variable, variable);
    else if (has_control(value))
        FAIL(x, at, "the value of ${%s} holds a control character", variable);
    append(x, value.p, value.n);
}

static void expand(struct expander *x, struct str s, struct expansion *out)
{
    buf_init(&x->out, MAX_TEXT);
    for (size_t i = 0; i < s.n;) {
        const char *brace = s.p[i] == '$' ? memchr(s.p + i, '}', s.n - i) : NULL;
        if (s.n - i >= 3 && memcmp(s.p + i, "$${", 3) == 0) {
            append(x, "${", 2);
            i += 3;
        } else if (s.n - i >= 2 && memcmp(s.p + i, "${", 2) == 0 && brace != NULL) {
            size_t end = (size_t)(brace - s.p);
            fill_in(x, s, i, end, out);
            i = end + 1;
        } else if (s.n - i >= 2 && memcmp(s.p + i, "${", 2) == 0) {
            FAIL(x, i, "${ without }; write $${ for a literal ${");
            i = s.n;
        } else {
            if (has_control((struct str){s.p + i, 1}))
                FAIL(x, i, "control character U+%04X in a string", (unsigned)s.p[i]);
            append(x, s.p + i++, 1);
        }
    }
    if (x->too_long)
        FAIL(x, 0, "a string of more than 64 KiB");
}

bool config_expand(h2o_mem_pool_t *pool, const struct toml_doc *doc, const struct toml_node *string,
                   const struct pos *instead, struct diag *diag, struct expansion *out_r)
{
    struct expander x = {.doc = doc, .string = string, .instead = instead, .diag = diag};
    *out_r = (struct expansion){0};
    expand(&x, string->text, out_r);
    out_r->text = config_copy(pool, buf_str(&x.out));
    buf_fini(&x.out);
    return !x.failed;
}

struct str config_expand_bare(h2o_mem_pool_t *pool, struct str string)
{
    struct expander x = {0};
    struct expansion out = {0};
    expand(&x, string, &out);
    out.text = config_copy(pool, buf_str(&x.out));
    buf_fini(&x.out);
    return out.text;
}
