/* What a page says of how it is sent, worked out once: which parts are deferred, the Link header
 * for what it names to be loaded early, the Content-Security-Policy that lets its script run. */
#include "pages/pages_internal.h"

#include <stdio.h>
#include <strings.h>

static struct str print(h2o_mem_pool_t *pool, struct str before, const char *text, struct str after)
{
    size_t n = before.n + strlen(text) + after.n;
    char *whole = h2o_mem_alloc_pool(pool, n + 1);
    snprintf(whole, n + 1, "%.*s%s%.*s", (int)before.n, before.p, text, (int)after.n, after.p);
    return (struct str){whole, n};
}

/* -- preload ------------------------------------------------------------------------------------
 */

/* What a browser is to take it for (`as`, and CORS for fonts, which are asked for with it). */
static const char *kind_of(struct str path)
{
    static const struct {
        const char *ending, *kind;
    } kinds[] = {{".css", "style"},
                 {".js", "script"},
                 {".mjs", "script"},
                 {".woff2", "font; crossorigin"},
                 {".woff", "font; crossorigin"},
                 {".avif", "image"},
                 {".webp", "image"},
                 {".png", "image"},
                 {".jpg", "image"},
                 {".jpeg", "image"},
                 {".gif", "image"},
                 {".svg", "image"}};
    const char *query = memchr(path.p, '?', path.n);
    size_t n = query != NULL ? (size_t)(query - path.p) : path.n;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        size_t length = strlen(kinds[i].ending);
        if (n > length && str_caseeq((struct str){path.p + n - length, length},
                                     (struct str){kinds[i].ending, length}))
            return kinds[i].kind;
    }
    return NULL;
}

static bool is_reference(struct str path)
{
    bool sound =
        path.n > 1 && (path.p[0] == '/' || (path.n > 8 && memcmp(path.p, "https://", 8) == 0));
    for (size_t i = 0; i < path.n; i++)
        sound = sound && path.p[i] > ' ' && path.p[i] <= '~' &&
                strchr("<>\"\\^`{|}", path.p[i]) == NULL;
    return sound;
}

static void compile_preload(struct page *page, struct diag *diag)
{
    const struct config *config = page->pages->config;
    const struct config_strings *wanted = &page->config->preload;
    h2o_mem_pool_t *pool = &page->pages->pool;
    for (size_t i = 0; i < wanted->count; i++) {
        const struct str *path = &wanted->items[i];
        const char *kind = kind_of(*path);
        if (!is_reference(*path) || kind == NULL) {
            diag_error(diag, config_pos(config, path),
                       "preload: \"%s\" has to be a path or an https URL that ends in .css, .js, "
                       ".woff2 or what pictures end in",
                       path->p);
            continue;
        }
        struct str before = print(pool, page->link, page->link.n != 0 ? ", <" : "<", *path);
        page->link = print(pool, before, ">; rel=preload; as=", str_from(kind));
    }
}

/* -- Content-Security-Policy --------------------------------------------------------------------
 */

/* Any script that stands in the page may run. A hash or a nonce would take that back (CSP level 3,
 * section 6.7.3.2). */
static bool lets_all_run(struct str sources)
{
    bool lets = false;
    while (sources.n != 0) {
        struct str one = next_item(&sources, ' ');
        lets |= str_caseeq(one, STR("'unsafe-inline'"));
        if (one.n > 5 &&
            (strncasecmp(one.p, "'nonce-", 7) == 0 || strncasecmp(one.p, "'sha", 4) == 0))
            return false;
    }
    return lets;
}

/* The policy with the script's hash in its script-src; where it has none, that comes from its
 * default-src, or is the page's own origin. */
static struct str with_script(h2o_mem_pool_t *pool, struct str policy)
{
    static const char *const directives[] = {"script-src-elem", "script-src", "default-src"};
    for (size_t d = 0; d < COUNT(directives); d++) {
        struct str rest = policy;
        while (rest.n != 0) {
            struct str one = next_item(&rest, ';');
            size_t length = strlen(directives[d]);
            if (one.n < length ||
                !str_caseeq((struct str){one.p, length}, str_from(directives[d])) ||
                (one.n > length && one.p[length] != ' '))
                continue;
            struct str sources = {one.p + length, one.n - length};
            if (lets_all_run(sources))
                return policy;
            if (str_caseeq(trimmed(sources), STR("'none'")))
                sources = STR("");
            struct str added = print(pool, sources, " ", str_from(stream_script_source));
            if (d == 2)
                return print(pool, print(pool, policy, "; script-src", added), "", STR(""));
            struct str before = {policy.p, (size_t)(one.p - policy.p) + length};
            struct str after = {one.p + one.n, (size_t)(policy.p + policy.n - one.p) - one.n};
            return print(pool, print(pool, before, "", added), "", after);
        }
    }
    return print(pool, policy, policy.n != 0 ? "; script-src 'self' " : "script-src 'self' ",
                 str_from(stream_script_source));
}

/* -- defer --------------------------------------------------------------------------------------
 */

static void defer(struct page *page, const struct str *name, struct diag *diag)
{
    struct pos at = config_pos(page->pages->config, name);
    for (size_t i = 0; i < page->part_count; i++) {
        const struct config_part *part = page->parts[i].config;
        if (!str_eq(part->name, *name))
            continue;
        if (part->need == NEED_REQUIRED)
            diag_error(diag, at, "defer: part '%s' is required: the page's status hangs on it",
                       part->name.p);
        page->deferred |= (uint64_t)1 << i;
        return;
    }
    diag_error(diag, at, "defer: the page has no part '%s'", name->p);
}

/* What waits for a deferred part would have the page wait for it. */
static void check_deferred(const struct page *page, struct diag *diag)
{
    for (size_t i = 0; i < page->part_count; i++) {
        uint64_t awaited = page->parts[i].awaits & page->deferred;
        if (awaited == 0 || page->deferred & (uint64_t)1 << i)
            continue;
        diag_error(diag, config_pos(page->pages->config, &page->config->defer),
                   "defer: part '%s' needs '%s', and isn't deferred", page->parts[i].config->name.p,
                   page->parts[__builtin_ctzll(awaited)].config->name.p);
    }
}

void stream_compile(struct page *page, struct diag *diag)
{
    const struct config_page *config = page->config;
    const struct config_strings *deferred = &config->defer;
    for (size_t i = 0; i < deferred->count; i++)
        defer(page, &deferred->items[i], diag);
    check_deferred(page, diag);
    if ((config->stream || deferred->count != 0) && config->template.n == 0)
        diag_error(diag,
                   config_pos(page->pages->config,
                              config->stream ? (const void *)&config->stream : deferred),
                   "a page without a template is JSON, which is sent as a whole");
    if (deferred->count != 0 && page->template != NULL && !page->uses_defer)
        diag_error(
            diag, config_pos(page->pages->config, deferred),
            "defer: the template has no {{#defer.%s}}…{{/defer.%s}}, where it would be shown",
            deferred->items[0].p, deferred->items[0].p);
    page->streams = page->template != NULL && (config->stream || page->deferred != 0);
    compile_preload(page, diag);
    page->csp = page->deferred != 0 ? with_script(&page->pages->pool, config->csp) : config->csp;
    for (size_t i = 0; i < config->csp.n; i++)
        if (config->csp.p[i] < ' ' || config->csp.p[i] > '~') {
            diag_error(diag, config_pos(page->pages->config, &config->csp),
                       "csp: a header is one line of ASCII");
            page->csp = STR("");
            break;
        }
}
