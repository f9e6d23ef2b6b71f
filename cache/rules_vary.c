/* Vary, and fields as lists. */
#include "base/text.h"
#include "cache/rules.h"

struct str rules_field(const struct up_header *headers, size_t count, struct str name,
                       h2o_mem_pool_t *pool)
{
    size_t room = 0, lines = 0;
    for (size_t i = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, name))
            continue;
        room += headers[i].value.n + 1;
        lines++;
    }
    if (lines == 0)
        return (struct str){NULL, 0};
    char *text = h2o_mem_alloc_pool(pool, room + 1), *at = text;
    for (size_t i = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, name))
            continue;
        struct str rest = headers[i].value;
        do {
            struct str item = next_item(&rest, ',');
            if (at != text)
                *at++ = ',';
            if (item.n != 0)
                memcpy(at, item.p, item.n);
            at += item.n;
        } while (rest.n != 0);
    }
    return (struct str){text, (size_t)(at - text)};
}

static int compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n != 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static struct str lower(h2o_mem_pool_t *pool, struct str name)
{
    char *text = h2o_mem_alloc_pool(pool, name.n + 1);
    for (size_t i = 0; i < name.n; i++)
        text[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
    return (struct str){text, name.n};
}

/* Into its place among the sorted ones. False: there are too many. */
static bool insert(struct str *names, size_t *count, struct str name)
{
    size_t at = 0;
    while (at < *count && compare(names[at], name) < 0)
        at++;
    if (at < *count && compare(names[at], name) == 0)
        return true;
    if (*count == CACHE_MAX_VARY)
        return false;
    memmove(names + at + 1, names + at, (*count - at) * sizeof(*names));
    names[at] = name;
    (*count)++;
    return true;
}

bool rules_vary(const struct up_header *headers, size_t count, h2o_mem_pool_t *pool,
                struct str names_r[CACHE_MAX_VARY], size_t *count_r)
{
    *count_r = 0;
    for (size_t i = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, STR("vary")))
            continue;
        struct str rest = headers[i].value;
        while (rest.n != 0) {
            struct str item = next_item(&rest, ',');
            if (item.n == 0)
                continue;
            if (str_eq(item, STR("*")) || !is_token(item) ||
                !insert(names_r, count_r, lower(pool, item)))
                return false;
        }
    }
    return true;
}
