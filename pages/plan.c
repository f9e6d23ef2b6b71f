/* Plans: everything about a page that doesn't change from request to request is worked out here,
 * once, and checked: upstreams, URLs, templates, names, places. */
#include "pages/pages_internal.h"
#include "pages/static_data.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const reserved_names[] = {"request", "page", "parts", "defer"};

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

/* -- calls ------------------------------------------------------------------------------------ */

static bool reads(const struct expansion *expansion, bool (*which)(enum expand_source source))
{
    for (size_t i = 0; i < expansion->count; i++) {
        const struct expand_variable *variable = expansion->steps[i].variable;
        if (variable != NULL && which((enum expand_source)variable->source))
            return true;
    }
    return false;
}

static bool is_item(enum expand_source source)
{
    return source == EXPAND_ITEM;
}

static bool is_request(enum expand_source source)
{
    return source != EXPAND_ITEM && source != EXPAND_PART;
}

static void compile_headers(struct pages *pages, const struct config_part *part,
                            const struct expand_scope *scope, struct diag *diag,
                            struct call_plan *call)
{
    size_t count = part->headers.count;
    bool typed = false;
    call->headers = h2o_mem_alloc_pool(&pages->pool, (count + 1) * sizeof(*call->headers));
    for (size_t i = 0; i < count; i++) {
        struct part_header *header = &call->headers[call->header_count++];
        const struct config_pair *pair = &part->headers.items[i];
        *header = (struct part_header){.name = pair->name};
        const char *refusal =
            call->upstream == NULL ? NULL : upstream_refuses_header(call->upstream, pair->name);
        if (refusal != NULL)
            diag_error(diag, config_pos(pages->config, &pair->value), "header '%s' %s",
                       pair->name.p, refusal);
        expand_compile_text(&pages->pool, pair->value, scope,
                            config_pos(pages->config, &pair->value), diag, &header->value);
        typed |= str_caseeq(pair->name, STR("content-type"));
    }
    if (call->upstream != NULL) /* the upstream's own type does as well */
        typed |= upstream_refuses_header(call->upstream, STR("content-type")) != NULL;
    if (call->body.count != 0 && !typed) {
        struct part_header *header = &call->headers[call->header_count++];
        *header = (struct part_header){.name = STR("content-type")};
        expand_compile_text(&pages->pool, STR("application/json"), scope, (struct pos){0}, diag,
                            &header->value);
    }
}

static void compile_cache(struct pages *pages, const struct page *page,
                          const struct config_part *part, struct diag *diag, struct call_plan *call)
{
    enum { MAX_NAMES = 2 * 64 + 2 };
    char *name = h2o_mem_alloc_pool(&pages->pool, MAX_NAMES);
    int n = snprintf(name, MAX_NAMES, "%s/%s", page->config->name.p, part->name.p);
    call->cache = cache_plan(&pages->pool, &part->cache, (struct str){name, (size_t)n});
    if (call->cache == NULL)
        return;
    call->cache->wants_json = true;
    if (call->method != NULL)
        diag_error(diag, config_pos(pages->config, &part->cache.enabled),
                   "only answers to a GET are kept");
}

static void compile_call(struct pages *pages, struct page *page, const struct config_part *part,
                         const struct expand_scope *scope, struct diag *diag,
                         struct call_plan *call)
{
    const struct config *config = pages->config;
    bool posts = part->method == METHOD_POST;
    *call = (struct call_plan){.upstream = upstream_named(pages->ups, &part->upstream, diag),
                               .upstream_name = part->upstream,
                               .method = posts ? "POST" : NULL,
                               .timeout_ms = part->timeout_ms,
                               .repeatable = posts && part->idempotent};
    if (call->upstream != NULL)
        call->header_list = header_list(page, &upstream_config(call->upstream)->forward_headers);
    expand_compile(&pages->pool, part->path, scope, config_pos(config, &part->path), diag,
                   &call->target);
    call->reads_request = reads(&call->target, is_request);
    if (part->body.n != 0 && !posts)
        diag_error(diag, config_pos(config, &part->body),
                   "a GET has no body; add method = \"POST\"");
    else
        body_compile(&pages->pool, part->body, scope, config_pos(config, &part->body), diag,
                     &call->body);
    compile_headers(pages, part, scope, diag, call);
    compile_cache(pages, page, part, diag, call);
}

/* The part's own headers go along to the part's own upstream only: credentials may be among them.
 * Those that hang on an element or the body's type have no meaning here. */
static void lend_headers(struct pages *pages, const struct call_plan *own, struct call_plan *call)
{
    if (call->upstream != own->upstream)
        return;
    call->headers =
        h2o_mem_alloc_pool(&pages->pool, (own->header_count + 1) * sizeof(*call->headers));
    for (size_t i = 0; i < own->header_count; i++)
        if (!reads(&own->headers[i].value, is_item) &&
            !str_caseeq(own->headers[i].name, STR("content-type")))
            call->headers[call->header_count++] = own->headers[i];
}

static void load_static(struct pages *pages, const struct config_part *part, bool spread,
                        struct diag *diag, struct part_plan *plan)
{
    const struct config *config = pages->config;
    const struct config_fallback *fallback = &part->fallback;
    if (fallback->value.n == 0 && fallback->static_file.n == 0)
        return;
    const struct str *key = fallback->value.n != 0 ? &fallback->value : &fallback->static_file;
    if (fallback->value.n != 0 && fallback->static_file.n != 0) {
        diag_error(diag, config_pos(config, &fallback->static_file),
                   "static stands here already; either that or static_file");
        return;
    }
    json_doc_init(&plan->stand_in);
    if (static_data_load(&pages->pool, config, fallback, diag, &plan->stand_in) && spread &&
        json_type(json_root(&plan->stand_in)) != JSON_OBJECT)
        diag_error(diag, config_pos(config, key),
                   "only an object can be spread into the page (into = \".\")");
}

/* scope: without the element, since one call stands in for all of them. */
static void compile_fallback(struct pages *pages, struct page *page, const struct config_part *part,
                             const struct expand_scope *scope, struct diag *diag,
                             struct part_plan *plan)
{
    const struct config *config = pages->config;
    const struct config_fallback *fallback = &part->fallback;
    struct call_plan *call = &plan->fallback;
    load_static(pages, part, plan->placement.spread, diag, plan);
    if (fallback->path.n == 0) {
        if (fallback->upstream.n != 0)
            diag_error(diag, config_pos(config, &fallback->upstream),
                       "without a path nobody is asked; add path");
        return;
    }
    const struct str *name = fallback->upstream.n != 0 ? &fallback->upstream : &part->upstream;
    *call = (struct call_plan){.upstream_name = *name, .timeout_ms = fallback->timeout_ms};
    call->upstream =
        name == &part->upstream ? plan->call.upstream : upstream_named(pages->ups, name, diag);
    if (call->upstream != NULL)
        call->header_list = header_list(page, &upstream_config(call->upstream)->forward_headers);
    expand_compile(&pages->pool, fallback->path, scope, config_pos(config, &fallback->path), diag,
                   &call->target);
    call->reads_request = reads(&call->target, is_request);
    lend_headers(pages, &plan->call, call);
}

/* -- parts ------------------------------------------------------------------------------------ */

static void compile_part(struct page *page, const struct config_part *part,
                         const struct expand_scope *scope, struct diag *diag,
                         struct part_plan *plan)
{
    struct pages *pages = page->pages;
    const struct config *config = pages->config;
    struct expand_scope with_item = *scope;
    *plan = (struct part_plan){.config = part, .each.input = SIZE_MAX};
    plan->json_key = json_key(&pages->pool, part->name);

    bool sound = place_compile(&pages->pool, config, part, diag, &plan->placement);
    if (plan_each_names(config, part, scope, diag))
        with_item.item = part->as;
    with_item.batch = part->batch != 0;
    compile_call(pages, page, part, &with_item, diag, &plan->call);
    plan->call.reads_data = part->each.n != 0;
    if (part->when.n != 0)
        when_compile(&pages->pool, part->when, scope, config_pos(config, &part->when), diag,
                     &plan->when);
    compile_fallback(pages, page, part, scope, diag, plan);
    plan_each(pages, part, scope, diag, plan);
    page->scattered |= part_is_scattered(plan);
    if (part->each.n != 0)
        return;
    const struct place_path *into = &plan->placement.into;
    if (sound && into->count != 0 && page_name_is_reserved(into->keys[0].text))
        diag_error(diag, config_pos(config, &part->into),
                   "\"%.*s\" is a reserved name: templates see the gateway's own data there",
                   (int)into->keys[0].text.n, into->keys[0].text.p);
    page->placed |= part->into.n != 0;
}

/* What of the client's request goes into calls, beside its target. */
static void note_use(void *arg, enum expand_source source, struct str name)
{
    struct page *page = arg;
    page->is_personal |= source == EXPAND_COOKIE || source == EXPAND_FIELD;
    if (source != EXPAND_HEADER)
        return;
    page->is_personal |= str_caseeq(name, STR("authorization")) ||
                         str_caseeq(name, STR("cookie")) || str_caseeq(name, STR("client-cert"));
    for (size_t i = 0; i < page->vary_count; i++)
        if (str_caseeq(page->vary[i], name))
            return;
    struct str *names =
        h2o_mem_alloc_pool(&page->pages->pool, (page->vary_count + 1) * sizeof(*names));
    if (page->vary_count != 0)
        memcpy(names, page->vary, page->vary_count * sizeof(*names));
    names[page->vary_count++] = name;
    page->vary = names;
}

/* A page that is kept is made of what is kept, and is purged by the tags of all of it. */
static void compile_micro_cache(struct page *page, struct diag *diag)
{
    const struct config_page *config = page->config;
    size_t count = 0;
    for (size_t i = 0; i < page->part_count; i++) {
        const struct config_part *part = &config->parts[i];
        count += part->cache.tags.count;
        if (config->micro_cache_ms != 0 && !part->cache.enabled)
            diag_error(diag, config_pos(page->pages->config, &config->micro_cache_ms),
                       "micro_cache: part '%s' isn't kept; add [pages.%s.parts.%s.cache]",
                       part->name.p, config->name.p, part->name.p);
    }
    page->tags = h2o_mem_alloc_pool(&page->pages->pool, (count + 1) * sizeof(*page->tags));
    for (size_t i = 0; i < page->part_count; i++)
        for (size_t j = 0; j < config->parts[i].cache.tags.count; j++)
            page->tags[page->tag_count++] = config->parts[i].cache.tags.items[j];
}

/* pattern: the route's, "" = not known. scope: all but its parameters and the parts. */
static void compile_parts(struct page *page, struct str pattern, struct expand_scope scope,
                          struct diag *diag)
{
    struct pages *pages = page->pages;
    struct expand_param params[HTTP_MAX_PARAMS];
    struct str names[EXPAND_MAX_PARTS];
    if (page->part_count > EXPAND_MAX_PARTS) {
        diag_error(diag, config_pos(pages->config, &page->config->parts[EXPAND_MAX_PARTS].name),
                   "a page has at most %d parts", (int)EXPAND_MAX_PARTS);
        page->part_count = EXPAND_MAX_PARTS;
    }
    size_t count = page->part_count;
    for (size_t i = 0; i < count; i++)
        names[i] = page->config->parts[i].name;
    scope.params = pattern.n != 0 ? params : NULL;
    scope.param_count = path_params(&pages->pool, pattern, page->route, params);
    scope.parts = names;
    scope.part_count = count;
    scope.uses = note_use;
    scope.uses_arg = page;
    page->parts = h2o_mem_alloc_pool(&pages->pool, count * sizeof(*page->parts));
    page->order = h2o_mem_alloc_pool(&pages->pool, count * sizeof(*page->order));
    /* a part's own and its fallback's */
    page->header_lists = h2o_mem_alloc_pool(&pages->pool, 2 * count * sizeof(*page->header_lists));
    for (size_t i = 0; i < count; i++)
        compile_part(page, &page->config->parts[i], &scope, diag, &page->parts[i]);
    graph_compile(page, diag);
    for (size_t i = 0; i < count; i++) {
        struct call_plan *call = &page->parts[i].call;
        call->reads_data |= page->parts[i].needs != 0;
    }
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
    http_route_use(page->route, &config->middleware);
    if (config->template.n != 0) {
        page->template = template_load(templates, config->template.p,
                                       config_pos(pages->config, &config->template), diag);
        if (page->template != NULL) {
            page->uses_parts = template_uses(page->template, STR("parts"));
            page->uses_request = template_uses(page->template, STR("request"));
            page->uses_page = template_uses(page->template, STR("page"));
            page->uses_defer = template_uses(page->template, STR("defer"));
        }
    }
    compile_parts(page, config->path, (struct expand_scope){0}, diag);
    compile_micro_cache(page, diag);
    rendered_compile(page);
    stream_compile(page, diag);
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

void pages_set_client(struct pages *pages, struct loop *loop, struct up_client *client,
                      struct cache_client *cache)
{
    unsigned index = loop_index(loop);
    gw_assert(index < MAX_LOOPS);
    if (pages->loops[index] == NULL) {
        pages->loops[index] = calloc(1, sizeof(*pages->loops[index]));
        gw_assert(pages->loops[index] != NULL);
    }
    pages->loops[index]->loop = loop;
    pages->loops[index]->client = client;
    pages->loops[index]->cache = cache;
}

struct page *pages_for_route(struct pages *pages, const struct http_route *route)
{
    for (size_t i = 0; i < pages->page_count; i++)
        if (route != NULL && pages->pages[i].route == route)
            return &pages->pages[i];
    return NULL;
}

/* Of a page that goes out bit by bit HTTP/1.0 couldn't tell whether it ended or broke off. */
static bool may_stream(const struct http_request *request)
{
    return str_eq(request->method, STR("GET")) && request->h2o->version >= 0x101 &&
           !http_wants_json(request);
}

static void serve(struct http_request *request, void *arg)
{
    if (caching_reply_kept(arg, request))
        return;
    struct page *page = arg;
    struct page_run *run = run_start(page, request, run_variable, request, reply_send, NULL);
    if (page->streams && !run->over && may_stream(request))
        stream_start(run);
}
