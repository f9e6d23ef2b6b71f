/* Any text as a part's path, or a header, and any value in it: the first line is the path, the rest
 * every variable's value. What comes out is a URL's path and query, and no value left its segment;
 * or a header's line. A batch has three elements, of which the second has no value. */
#include <stdlib.h>
#include "pages/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str get(void *arg, const struct expand_variable *variable, size_t item)
{
    gw_assert(item == 0 || variable->list);
    return item != 1 ? *(const struct str *)arg : (struct str){NULL, 0};
}

/* A second opinion on what a server may take for "here" or "up". */
static bool goes_up(struct str target)
{
    char *plain = malloc(target.n + 3);
    size_t n = 0;
    plain[n++] = '/';
    for (size_t i = 0; i < target.n && target.p[i] != '?'; i++) {
        bool whole = target.p[i] == '%' && i + 2 < target.n;
        if (whole && strncasecmp(target.p + i, "%2e", 3) == 0)
            plain[n++] = '.';
        else if (whole && (strncasecmp(target.p + i, "%2f", 3) == 0 ||
                           strncasecmp(target.p + i, "%5c", 3) == 0))
            plain[n++] = '/';
        else {
            plain[n++] = target.p[i];
            continue;
        }
        i += 2;
    }
    plain[n++] = '/';
    plain[n] = '\0';
    bool up = strstr(plain, "/../") || strstr(plain, "/./") || strstr(plain, "/..;") ||
              strstr(plain, "/.;");
    free(plain);
    return up;
}

static void try_path(h2o_mem_pool_t *pool, const struct expansion *expansion, struct str value)
{
    struct str target;
    const struct expand_variable *culprit;
    enum expand_result result = expand(expansion, get, &value, 3, pool, &target, &culprit);
    gw_assert((result == EXPAND_OK) == (culprit == NULL));
    gw_assert(result != EXPAND_MISSING);
    if (result != EXPAND_OK)
        return;
    gw_assert(target.n <= EXPAND_MAX_TARGET);
    gw_assert(target.n == 0 || target.p[0] == '/' || target.p[0] == '?');
    for (size_t i = 0; i < target.n; i++)
        gw_assert(target.p[i] > 0x20 && target.p[i] < 0x7f && target.p[i] != '#');
    gw_assert(!goes_up(target));
}

static void try_header(h2o_mem_pool_t *pool, const struct expansion *expansion, struct str value)
{
    struct str text;
    const struct expand_variable *culprit;
    enum expand_result result = expand_text(expansion, get, &value, 3, pool, &text, &culprit);
    gw_assert((result == EXPAND_OK) == (culprit == NULL));
    gw_assert(result == EXPAND_OK || result == EXPAND_TOO_LONG);
    gw_assert(text.n <= EXPAND_MAX_TARGET && (text.p != NULL) == (text.n != 0));
    for (size_t i = 0; i < text.n; i++)
        gw_assert(text.p[i] != '\r' && text.p[i] != '\n' && text.p[i] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct expand_param params[] = {{"id", 0}, {"name", 1}};
    static const struct str fields[] = {STR("name"), STR("city")}, parts[] = {STR("promo")};
    static const struct expand_scope scope = {.params = params,
                                              .param_count = COUNT(params),
                                              .fields = fields,
                                              .field_count = COUNT(fields),
                                              .parts = parts,
                                              .part_count = COUNT(parts),
                                              .item = STR("item"),
                                              .batch = true};
    const uint8_t *newline = size != 0 ? memchr(data, '\n', size) : NULL;
    size_t path_n = newline ? (size_t)(newline - data) : size;
    /* in memory of exactly their size */
    char *path = malloc(path_n + 1), *text = malloc(size - path_n + 1);
    memcpy(path, data, path_n);
    struct str value = {text, 0};
    if (newline != NULL) {
        value.n = size - path_n - 1;
        memcpy(text, newline + 1, value.n);
    }

    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct diag *diag = diag_create();
    struct expansion expansion;
    const struct pos at = {"fuzz", 1, 1};
    const struct str input = {path, path_n};
    bool good = expand_compile(&pool, input, &scope, at, diag, &expansion);
    size_t errors = diag_errors(diag);
    gw_assert(good == (errors == 0));
    if (good)
        try_path(&pool, &expansion, value);
    good = expand_compile_text(&pool, input, &scope, at, diag, &expansion);
    gw_assert(good == (diag_errors(diag) == errors));
    if (good)
        try_header(&pool, &expansion, value);
    diag_destroy(&diag);
    h2o_mem_clear_pool(&pool);
    free(path);
    free(text);
    return 0;
}
