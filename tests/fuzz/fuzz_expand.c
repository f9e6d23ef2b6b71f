/* Any text as a part's path and any value in it: the first line is the path, the rest every
 * variable's value. What comes out is a URL's path and query, and no value left its segment. */
#include <stdlib.h>
#include "pages/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str get(void *arg, const struct expand_variable *variable, size_t item)
{
    (void)item;
    (void)variable;
    return *(const struct str *)arg;
}

/* A second opinion on what a server may take for "here" or "up". */
static bool goes_up(struct str target)
{
    char *plain = malloc(target.n + 3);
    size_t n = 0;
    plain[n++] = '/';
    for (size_t i = 0; i < target.n && target.p[i] != '?'; i++) {
        if (i + 2 < target.n && target.p[i] == '%' && target.p[i + 1] == '2' &&
            (target.p[i + 2] == 'e' || target.p[i + 2] == 'E')) {
            plain[n++] = '.';
            i += 2;
        } else {
            plain[n++] = target.p[i];
        }
    }
    plain[n++] = '/';
    plain[n] = '\0';
    bool up = strstr(plain, "/../") || strstr(plain, "/./") || strstr(plain, "/..;") ||
              strstr(plain, "/.;");
    free(plain);
    return up;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct expand_param params[] = {{"id", 0}, {"name", 1}};
    static const struct str fields[] = {STR("name"), STR("city")};
    static const struct expand_scope scope = {.params = params,
                                              .param_count = COUNT(params),
                                              .fields = fields,
                                              .field_count = COUNT(fields)};
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
    if (expand_compile(&pool, (struct str){path, path_n}, &scope, (struct pos){"fuzz", 1, 1}, diag,
                       &expansion)) {
        gw_assert(diag_errors(diag) == 0);
        struct str target;
        const struct expand_variable *culprit;
        enum expand_result result = expand(&expansion, get, &value, 1, &pool, &target, &culprit);
        gw_assert((result == EXPAND_OK) == (culprit == NULL));
        if (result == EXPAND_OK) {
            gw_assert(target.n <= EXPAND_MAX_TARGET);
            gw_assert(target.n == 0 || target.p[0] == '/' || target.p[0] == '?');
            for (size_t i = 0; i < target.n; i++)
                gw_assert(target.p[i] > 0x20 && target.p[i] < 0x7f && target.p[i] != '#');
            gw_assert(!goes_up(target));
        }
    } else {
        gw_assert(diag_errors(diag) != 0);
    }
    diag_destroy(&diag);
    h2o_mem_clear_pool(&pool);
    free(path);
    free(text);
    return 0;
}
