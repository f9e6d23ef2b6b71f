/* Plans: everything about a page that doesn't change from request to request is worked out here,
 * once, and checked: upstreams, URLs, templates, names, places. */
#include "pages/pages_internal.h"

#include <stdlib.h>

static const char *const reserved_names[] = {"request", "page", "parts"};

bool page_name_is_reserved(struct str name)
{
    for (size_t i = 0; i < COUNT(reserved_names); i++)
        if (str_eq(name, str_from(reserved_names[i])))
            return true;
    return false;
}

/* The parameters of "/product/{id}/{*rest}", with their indexes in a request. */
static size_t path_params(h2o_mem_pool_t *pool, struct str pattern, const struct http_route *route,
                          struct expand_param *params_r)
{
    size_t count = 0;
    for (size_t i = 0; i < pattern.n && count < HTTP_MAX_PARAMS; i++) {
        if (pattern.p[i] != '{')
            continue;
        i += i + 1 < pattern.n && pattern.p[i + 1] == '*' ? 2 : 1;
        size_t start = i;
        while (i < pattern.n && pattern.p[i] != '}')
            i++;
        char *name = h2o_mem_alloc_pool(pool, i - start + 1);
        memcpy(name, pattern.p + start, i - start);
        name[i - start] = '\0';
        /* without a route its errors stand in the diag already */
        int index = route != NULL ? http_route_param(route, str_from(name)) : 0;
        if (index >= 0)
            params_r[count++] = (struct expand_param){name, (unsigned)index};
    }
    return count;
}

static void compile_upstream(const struct config *config, const struct config_part *part,
                             struct upstreams *ups, struct diag *diag, struct part_plan *plan)
{
    plan->upstream = upstream_find(ups, part->upstream);
    if (config_find_upstream(config, part->upstream) != NULL)
        return; /* when it wasn't prepared, why stands in the diag */
    const char **names = h2o_mem_alloc(config->upstream_count * sizeof(*names) + 1);
    for (size_t i = 0; i < config->upstream_count; i++)
        names[i] = config->upstreams[i].name.p;
    const char *near = diag_nearest(part->upstream, names, config->upstream_count);
    struct pos at = config_pos(config, &part->upstream);
    if (near != NULL)
        diag_error(diag, at, "unknown upstream \"%s\"; did you mean \"%s\"?", part->upstream.p,
                   near);
    else
        diag_error(diag, at, "unknown upstream \"%s\"; add [upstreams.%s]", part->upstream.p,
                   part->upstream.p);
    free(names);
}

static bool same_list(const struct config_strings *a, const struct config_strings *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!str_eq(a->items[i], b->items[i]))
            return false;
    return true;
}

static size_t header_list(struct page *page, const struct config_strings *names)
{
    for (size_t i = 0; i < page->header_list_count; i++)
        if (same_list(page->header_lists[i], names))
            return i;
    page->header_lists[page->header_list_count] = names;
    return page->header_list_count++;
}

static struct str json_key(h2o_mem_pool_t *pool, struct str name)
{
    char *key = h2o_mem_alloc_pool(pool, name.n + 3);
    key[0] = '"';
    memcpy(key + 1, name.p, name.n); /* config/ admits no name that needs escaping */
    memcpy(key + 1 + name.n, "\":", 2);
    return (struct str){key, name.n + 3};
}

static void compile_part(struct pages *pages, struct page *page, const struct config_part *part,
                         const struct expand_scope *scope, struct diag *diag,
                         struct part_plan *plan)
{
    const struct config *config = pages->config;
    *plan = (struct part_plan){.config = part};

    plan->json_key = json_key(&pages->pool, part->name);

    compile_upstream(config, part, pages->ups, diag, plan);
    if (plan->upstream != NULL)
        plan->header_list = header_list(page, &upstream_config(plan->upstream)->forward_headers);
    expand_compile(&pages->pool, part->path, scope, config_pos(config, &part->path), diag,
                   &plan->target);
    if (place_compile(&pages->pool, config, part, diag, &plan->placement) &&
        plan->placement.into.count != 0 && page_name_is_reserved(plan->placement.into.keys[0].text))
        diag_error(diag, config_pos(config, &part->into),
                   "\"%.*s\" is a reserved name: templates see the gateway's own data there",
                   (int)plan->placement.into.keys[0].text.n, plan->placement.into.keys[0].text.p);
    page->placed |= part->into.n != 0;
}

/* pattern: the route's, "" = not known. scope: all but its parameters. */
static void compile_parts(struct page *page, struct str pattern, struct expand_scope scope,
                          struct diag *diag)
{
    struct pages *pages = page->pages;
    struct expand_param params[HTTP_MAX_PARAMS];
    scope.params = pattern.n != 0 ? params : NULL;
    scope.param_count = path_params(&pages->pool, pattern, page->route, params);
    size_t count = page->part_count;
    page->parts = h2o_mem_alloc_pool(&pages->pool, count * sizeof(*page->parts));
    page->header_lists = h2o_mem_alloc_pool(&pages->pool, count * sizeof(*page->header_lists));
    for (size_t i = 0; i < count; i++)
        compile_part(pages, page, &page->config->parts[i], &scope, diag, &page->parts[i]);
}

static http_handler_fn serve;

static void compile_page(struct pages *pages, const struct config_page *config,
                         struct template_set *templates, struct http_server *server,
                         struct diag *diag, struct page *page)
{
    *page = (struct page){.pages = pages, .config = config, .part_count = config->part_count};
    if (config->path.n != 0) /* else config/ has told it */
        page->route = http_route_add(server, config->name.p, HTTP_GET | HTTP_HEAD, config->path,
                                     serve, page, config_pos(pages->config, &config->path), diag);
    if (config->template.n != 0) {
        page->template = template_load(templates, config->template.p,
                                       config_pos(pages->config, &config->template), diag);
        if (page->template != NULL) {
            page->uses_parts = template_uses(page->template, STR("parts"));
            page->uses_request = template_uses(page->template, STR("request"));
            page->uses_page = template_uses(page->template, STR("page"));
        }
    }
    compile_parts(page, config->path, (struct expand_scope){0}, diag);
}

struct page *pages_add_parts(struct pages *pages, const struct config_page *config,
                             const struct http_route *route, const struct str *fields,
                             size_t field_count, struct diag *diag)
{
    const struct expand_scope scope = {.fields = fields, .field_count = field_count};
    size_t errors = diag_errors(diag);
    struct page *page = h2o_mem_alloc_pool(&pages->pool, sizeof(*page));
    *page = (struct page){.pages = pages,
                          .config = config,
                          .route = route,
                          .part_count = config->part_count,
                          .gathers = true};
    compile_parts(page, route != NULL ? http_route_pattern(route) : STR(""), scope, diag);
    return diag_errors(diag) == errors ? page : NULL;
}

struct pages *pages_create(const struct config *config, struct upstreams *ups,
                           struct template_set *templates, struct http_server *server,
                           struct diag *diag)
{
    struct pages *pages = calloc(1, sizeof(*pages));
    gw_assert(pages != NULL);
    pages->config = config;
    pages->ups = ups;
    h2o_mem_init_pool(&pages->pool);
    pages->page_count = config->page_count;
    pages->pages = h2o_mem_alloc_pool(&pages->pool, config->page_count * sizeof(*pages->pages));
    for (size_t i = 0; i < config->page_count; i++)
        compile_page(pages, &config->pages[i], templates, server, diag, &pages->pages[i]);
    return pages;
}

void pages_destroy(struct pages **pages_ptr)
{
    struct pages *pages = *pages_ptr;
    if (pages == NULL)
        return;
    for (size_t i = 0; i < MAX_LOOPS; i++) {
        struct page_loop *loop = pages->loops[i];
        if (loop == NULL)
            continue;
        for (struct tape *tape = loop->spare, *next; tape != NULL; tape = next) {
            next = tape->next;
            json_doc_fini(&tape->doc);
            free(tape);
        }
        free(loop);
    }
    h2o_mem_clear_pool(&pages->pool);
    free(pages);
    *pages_ptr = NULL;
}

void pages_set_client(struct pages *pages, struct loop *loop, struct up_client *client)
{
    unsigned index = loop_index(loop);
    gw_assert(index < MAX_LOOPS);
    if (pages->loops[index] == NULL) {
        pages->loops[index] = calloc(1, sizeof(*pages->loops[index]));
        gw_assert(pages->loops[index] != NULL);
    }
    pages->loops[index]->loop = loop;
    pages->loops[index]->client = client;
}

struct page *pages_for_route(struct pages *pages, const struct http_route *route)
{
    for (size_t i = 0; i < pages->page_count; i++)
        if (route != NULL && pages->pages[i].route == route)
            return &pages->pages[i];
    return NULL;
}

static void serve(struct http_request *request, void *arg)
{
    run_start(arg, request, run_variable, request, reply_send, NULL);
}
