/* A list of `name`, `name=token` and `name="quoted"`. Both forms of an argument are taken for all
 * directives (section 5.2), and names are looked up in one table, which says what an argument means
 * and which of two is the stricter one. */
#include "cache/directives.h"
#include "base/text.h"

enum argument {
    NONE,    /* a flag */
    FIELDS,  /* a flag, or one for the fields that are listed: it counts for all of the answer */
    LEAST,   /* a time: the less, the stricter */
    MOST,    /* a time: the more, the stricter */
    OPTIONAL /* a time, the less the stricter, none: any */
};

static const struct {
    struct str name;
    enum argument argument;
} known[DIRECTIVES] = {
    [MAX_AGE] = {STR("max-age"), LEAST},
    [MAX_STALE] = {STR("max-stale"), OPTIONAL},
    [MIN_FRESH] = {STR("min-fresh"), MOST},
    [MUST_REVALIDATE] = {STR("must-revalidate"), NONE},
    [MUST_UNDERSTAND] = {STR("must-understand"), NONE},
    [NO_CACHE] = {STR("no-cache"), FIELDS},
    [NO_STORE] = {STR("no-store"), NONE},
    [ONLY_IF_CACHED] = {STR("only-if-cached"), NONE},
    [PRIVATE] = {STR("private"), FIELDS},
    [PROXY_REVALIDATE] = {STR("proxy-revalidate"), NONE},
    [PUBLIC] = {STR("public"), NONE},
    [S_MAXAGE] = {STR("s-maxage"), LEAST},
    [STALE_IF_ERROR] = {STR("stale-if-error"), LEAST},
    [STALE_WHILE_REVALIDATE] = {STR("stale-while-revalidate"), LEAST},
};

bool seconds_read(struct str text, uint64_t *ms_r)
{
    uint64_t seconds = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i]))
            return false;
        seconds = seconds * 10 + (uint64_t)(text.p[i] - '0');
        if (seconds > MAX_SECONDS)
            seconds = MAX_SECONDS;
    }
    if (text.n == 0)
        return false;
    *ms_r = seconds * 1000;
    return true;
}

/* The length of the quoted-string at the front of text, 0 when it has no end, or one that more
 * follows than the end of the directive: then the quotes are paired wrongly. */
static size_t quoted_length(struct str text)
{
    for (size_t i = 1; i < text.n; i++) {
        if (text.p[i] == '"')
            return i + 1 == text.n || strchr(",; \t", text.p[i + 1]) != NULL ? i + 1 : 0;
        if (text.p[i] == '\\')
            i++;
    }
    return 0;
}

/* Takes the next directive off the list. So that nothing hides a directive behind it, a semicolon,
 * which many write, ends one too, and a quote that is never closed is an ordinary character, as are
 * all behind it: each is looked for once. */
static struct str next_directive(struct str *list, bool *malformed)
{
    size_t n = 0;
    while (n < list->n && list->p[n] != ',' && list->p[n] != ';') {
        size_t quoted = 0;
        if (list->p[n] == '"' && !*malformed) {
            quoted = quoted_length((struct str){list->p + n, list->n - n});
            *malformed |= quoted == 0;
        }
        n += quoted != 0 ? quoted : 1;
    }
    struct str item = {list->p, n};
    *malformed |= n < list->n && list->p[n] == ';';
    n += n < list->n;
    *list = (struct str){list->p + n, list->n - n};
    return trimmed(item);
}

/* What follows the name. False: neither nothing nor `=` and an argument. */
static bool read_argument(struct str rest, struct str *argument_r)
{
    *argument_r = (struct str){NULL, 0};
    if (rest.n == 0)
        return true;
    if (rest.p[0] != '=')
        return false;
    rest = (struct str){rest.p + 1, rest.n - 1};
    if (rest.n != 0 && rest.p[0] == '"') {
        *argument_r = (struct str){rest.p + 1, rest.n - 2};
        return quoted_length(rest) == rest.n;
    }
    *argument_r = rest;
    return is_token(rest);
}

/* Puts a time in, or the stricter of it and what there is. */
static void add_time(struct directives *directives, enum directive which, uint64_t ms)
{
    uint64_t *at = &directives->ms[which];
    bool again = directives_have(directives, which);
    directives->differs |= again && *at != ms;
    if (!again || (known[which].argument == MOST ? ms > *at : ms < *at))
        *at = ms;
}

static void add(struct directives *directives, enum directive which, struct str rest)
{
    struct str argument;
    uint64_t ms = 0;
    bool readable = read_argument(rest, &argument);
    switch (known[which].argument) {
    case NONE:
        readable = readable && argument.p == NULL;
        break;
    case FIELDS:
        break;
    case OPTIONAL:
        if (readable && argument.p == NULL) {
            add_time(directives, which, UINT64_MAX);
            break;
        }
        /* fall through */
    case LEAST:
    case MOST:
        readable = readable && argument.p != NULL && seconds_read(argument, &ms);
        if (!readable)
            ms = known[which].argument == MOST ? MAX_SECONDS * 1000 : 0;
        add_time(directives, which, ms);
    }
    directives->present |= 1u << which;
    if (!readable)
        directives->unreadable |= 1u << which;
}

void directives_read(const struct up_header *headers, size_t count, struct directives *directives_r)
{
    *directives_r = (struct directives){0};
    for (size_t i = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, STR("cache-control")))
            continue;
        for (struct str list = headers[i].value; list.n != 0;) {
            struct str item = next_directive(&list, &directives_r->malformed);
            struct str name = {item.p, 0};
            while (name.n < item.n && is_token_char(item.p[name.n]))
                name.n++;
            struct str rest = {item.p + name.n, item.n - name.n};
            directives_r->malformed |= name.n == 0 && item.n != 0;
            for (size_t k = 0; k < DIRECTIVES; k++)
                if (str_caseeq(name, known[k].name))
                    add(directives_r, (enum directive)k, rest);
        }
    }
}
