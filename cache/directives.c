/* Cache-Control taken apart. What can't be read counts as the strictest that it could have been. */
#include "cache/directives.h"

#include "base/text.h"

bool directives_seconds(struct str text, int64_t *seconds_r)
{
    int64_t seconds = 0;
    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        seconds = seconds * 10 + (text.p[i] - '0');
        if (seconds > MAX_SECONDS)
            seconds = MAX_SECONDS;
    }
    *seconds_r = seconds;
    return true;
}

/* name, or name=token, or name="quoted". Takes the next directive off *rest: false at its end.
 * Commas within quotes belong to the value. */
static bool next_directive(struct str *rest, struct str *name_r, struct str *value_r)
{
    size_t i = 0;
    bool quoted = false;
    if (rest->n == 0)
        return false;
    for (; i < rest->n && (quoted || rest->p[i] != ','); i++) {
        if (rest->p[i] == '"')
            quoted = !quoted;
        else if (quoted && rest->p[i] == '\\' && i + 1 < rest->n)
            i++;
    }
    struct str item = {rest->p, i};
    size_t taken = i < rest->n ? i + 1 : i;
    *rest = (struct str){rest->p + taken, rest->n - taken};
    const char *equals = item.n != 0 ? memchr(item.p, '=', item.n) : NULL;
    size_t n = equals != NULL ? (size_t)(equals - item.p) : item.n;
    *name_r = trimmed((struct str){item.p, n});
    *value_r =
        equals != NULL ? trimmed((struct str){equals + 1, item.n - n - 1}) : (struct str){NULL, 0};
    if (value_r->n >= 2 && value_r->p[0] == '"' && value_r->p[value_r->n - 1] == '"')
        *value_r = (struct str){value_r->p + 1, value_r->n - 2};
    return true;
}

static void take_seconds(struct directives *d, int64_t *field, struct str value)
{
    int64_t seconds;
    if (!directives_seconds(value, &seconds))
        seconds = 0;
    d->differ |= *field >= 0 && *field != seconds;
    if (*field < 0 || seconds < *field)
        *field = seconds;
}

static void take(struct directives *d, struct str name, struct str value)
{
    const struct {
        struct str name;
        bool *flag;
    } flags[] = {
        {STR("no-store"), &d->no_store},
        {STR("no-cache"), &d->no_cache}, /* with fields too: as if without (section 5.2.2.4) */
        {STR("private"), &d->is_private},
        {STR("public"), &d->is_public},
        {STR("must-revalidate"), &d->must_revalidate},
        {STR("proxy-revalidate"), &d->proxy_revalidate},
        {STR("must-understand"), &d->must_understand},
        {STR("only-if-cached"), &d->only_if_cached},
    };
    const struct {
        struct str name;
        int64_t *seconds;
    } numbers[] = {
        {STR("max-age"), &d->max_age},
        {STR("s-maxage"), &d->s_maxage},
        {STR("min-fresh"), &d->min_fresh},
        {STR("stale-while-revalidate"), &d->stale_while_revalidate},
        {STR("stale-if-error"), &d->stale_if_error},
    };
    for (size_t i = 0; i < COUNT(flags); i++)
        if (str_caseeq(name, flags[i].name))
            *flags[i].flag = true;
    for (size_t i = 0; i < COUNT(numbers); i++)
        if (str_caseeq(name, numbers[i].name))
            take_seconds(d, numbers[i].seconds, value);
    if (!str_caseeq(name, STR("max-stale")))
        return;
    if (value.p == NULL)
        d->max_stale_any = true;
    else
        take_seconds(d, &d->max_stale, value);
}

void directives_read(const struct up_header *headers, size_t count, struct directives *d)
{
    *d = (struct directives){.max_age = -1,
                             .s_maxage = -1,
                             .min_fresh = -1,
                             .max_stale = -1,
                             .stale_while_revalidate = -1,
                             .stale_if_error = -1};
    for (size_t i = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, STR("cache-control")))
            continue;
        struct str rest = headers[i].value, name, value;
        d->is_there = true;
        while (next_directive(&rest, &name, &value))
            take(d, name, value);
    }
}
