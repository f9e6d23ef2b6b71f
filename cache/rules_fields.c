/* Header fields as caches compare and keep them: lines put together, Pragma, Vary's names, and
 * which fields belong to one connection only. */
#include "cache/rules_private.h"
#include "base/text.h"

struct str rules_line(const struct up_header *headers, size_t count, struct str name,
                      bool *differs_r)
{
    struct str line = {NULL, 0};
    bool differs = false;
    for (size_t i = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, name))
            continue;
        struct str value = trimmed(headers[i].value);
        if (line.p == NULL)
            line = value.p != NULL ? value : STR("");
        else
            differs |= !str_eq(line, value);
    }
    if (differs_r != NULL)
        *differs_r = differs;
    return line;
}

bool rules_is_any(struct str name, const struct str *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_caseeq(name, names[i]))
            return true;
    return false;
}

bool rules_pragma_no_cache(const struct up_header *headers, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        struct str list = headers[i].value;
        if (str_caseeq(headers[i].name, STR("cache-control")))
            return false;
        if (str_caseeq(headers[i].name, STR("pragma")))
            while (list.n != 0)
                found |= str_caseeq(next_item(&list, ','), STR("no-cache"));
    }
    return found;
}

/* Writes a value without the blanks around its commas; what is in quotes stays as it is. */
static char *write_normalized(char *at, struct str value)
{
    bool quoted = false, after_comma = true;
    char *end = at; /* past the last character that is no blank */
    value = trimmed(value);
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (!quoted && (c == ' ' || c == '\t') && after_comma)
            continue;
        if (!quoted && c == ',')
            at = end;
        after_comma = !quoted && c == ',';
        *at++ = c;
        if (quoted && c == '\\' && i + 1 < value.n)
            *at++ = value.p[++i];
        else if (c == '"')
            quoted = !quoted;
        if (quoted || (c != ' ' && c != '\t'))
            end = at;
    }
    return at;
}

struct str rules_field(const struct up_header *headers, size_t count, struct str name,
                       h2o_mem_pool_t *pool)
{
    size_t lines = 0, length = 0;
    for (size_t i = 0; i < count; i++) {
        if (str_caseeq(headers[i].name, name)) {
            lines++;
            length += headers[i].value.n + 1;
        }
    }
    if (lines == 0)
        return (struct str){NULL, 0};
    char *text = h2o_mem_alloc_pool(pool, length), *at = text;
    for (size_t i = 0, line = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, name))
            continue;
        if (line++ != 0)
            *at++ = ',';
        at = write_normalized(at, headers[i].value);
    }
    return (struct str){text, (size_t)(at - text)};
}

/* -- Vary ----------------------------------------------------------------------------------- */

bool rules_vary_names(const struct up_header *headers, size_t count,
                      struct str names_r[CACHE_MAX_VARY], size_t *count_r)
{
    *count_r = 0;
    for (size_t i = 0; i < count; i++) {
        struct str list = headers[i].value;
        if (!str_caseeq(headers[i].name, STR("vary")))
            continue;
        while (list.n != 0) {
            struct str name = next_item(&list, ',');
            size_t k = 0;
            if (name.n == 0)
                continue;
            if (!is_token(name) || str_eq(name, STR("*")))
                return false;
            while (k < *count_r && !str_caseeq(names_r[k], name))
                k++;
            if (k < *count_r)
                continue;
            if (k == CACHE_MAX_VARY)
                return false;
            names_r[(*count_r)++] = name;
        }
    }
    return true;
}

static struct str lower_case(struct str name, h2o_mem_pool_t *pool)
{
    char *text = h2o_mem_alloc_pool(pool, name.n);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        text[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    return (struct str){text, name.n};
}

static bool comes_before(struct str a, struct str b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order != 0 ? order < 0 : a.n < b.n;
}

bool rules_vary(const struct up_header *headers, size_t count, h2o_mem_pool_t *pool,
                struct str names_r[CACHE_MAX_VARY], size_t *count_r)
{
    if (!rules_vary_names(headers, count, names_r, count_r))
        return false;
    for (size_t i = 0; i < *count_r; i++) {
        struct str name = lower_case(names_r[i], pool);
        size_t k = i;
        for (; k != 0 && comes_before(name, names_r[k - 1]); k--)
            names_r[k] = names_r[k - 1];
        names_r[k] = name;
    }
    return true;
}

/* -- hop by hop ----------------------------------------------------------------------------- */

bool rules_is_hop_by_hop(struct str name, struct str connection)
{
    /* Trailer too: no trailers are passed on that it could announce. */
    static const struct str always[] = {STR("connection"),
                                        STR("keep-alive"),
                                        STR("proxy-authenticate"),
                                        STR("proxy-authentication-info"),
                                        STR("proxy-authorization"),
                                        STR("proxy-connection"),
                                        STR("te"),
                                        STR("trailer"),
                                        STR("transfer-encoding"),
                                        STR("upgrade")};
    /* Without these an answer would mean something else to whoever comes next. */
    static const struct str never[] = {STR("cache-control"), STR("content-encoding"),
                                       STR("content-type"),  STR("host"),
                                       STR("set-cookie"),    STR("vary")};
    if (rules_is_any(name, always, COUNT(always)))
        return true;
    while (connection.n != 0)
        if (str_caseeq(next_item(&connection, ','), name))
            return name.n != 0 && !rules_is_any(name, never, COUNT(never));
    return false;
}
