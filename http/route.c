/* Routes: patterns become a tree of segments, a target walks down it.
 *
 * The raw path is split at '/' first and each segment decoded by itself, so an encoded slash stays
 * inside its segment and cannot make another route match. Literal children are tried before the
 * parameter, the parameter before the rest; each node of the tree is visited at most once for a
 * path, since a node's depth is the segment's index.
 *
 * A prefix takes what is left at its node and below: the paths that no other route has there, and
 * of those that one has, the methods that it doesn't take. */
#include "http/http_internal.h"

#include <stdlib.h>

enum {
    MAX_DEPTH = 32,
    ALL_METHODS = HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_PUT | HTTP_PATCH | HTTP_DELETE |
                  HTTP_OPTIONS | HTTP_OTHERS,
    MAX_ROUTES_A_PATH = 8 /* one a method */
};

struct http_route {
    struct str name; /* owned */
    unsigned methods;
    http_handler_fn *handler;
    void *arg;
    struct str params[HTTP_MAX_PARAMS]; /* names, in the pattern's copy */
    size_t param_count;
    char *pattern;                           /* owned */
    const struct config_strings *middleware; /* NULL: none of its own */
    const struct chain *chain;               /* NULL: not linked */
    struct http_route *next;
};

struct node {
    struct str literal; /* decoded; unused in `param` nodes */
    struct node *children, *sibling;
    struct node *param;
    const struct http_route *here[MAX_ROUTES_A_PATH]; /* disjoint methods */
    const struct http_route *rest[MAX_ROUTES_A_PATH];
    const struct http_route *below[MAX_ROUTES_A_PATH]; /* prefixes: here and below */
};

struct routes {
    struct node root;
    struct http_route *all;
    h2o_mem_pool_t pool; /* nodes and literals */
};

struct routes *routes_create(void)
{
    struct routes *routes = h2o_mem_alloc(sizeof(*routes));
    memset(routes, 0, sizeof(*routes));
    h2o_mem_init_pool(&routes->pool);
    return routes;
}

void routes_destroy(struct routes **routes_p)
{
    struct routes *routes = *routes_p;
    if (routes == NULL)
        return;
    while (routes->all != NULL) {
        struct http_route *route = routes->all;
        routes->all = route->next;
        free(route->pattern);
        free(route);
    }
    h2o_mem_clear_pool(&routes->pool);
    free(routes);
    *routes_p = NULL;
}

/* -- patterns ---------------------------------------------------------------------------------- */

static struct node *node_create(struct routes *routes)
{
    struct node *node = h2o_mem_alloc_pool(&routes->pool, sizeof(*node));
    *node = (struct node){0};
    return node;
}

static struct node *literal_child(struct routes *routes, struct node *parent, struct str literal)
{
    struct node **child = &parent->children;
    for (; *child != NULL; child = &(*child)->sibling)
        if (str_eq((*child)->literal, literal))
            return *child;
    *child = node_create(routes);
    (*child)->literal = literal;
    return *child;
}

static bool parameter_name(struct str segment, struct str *name_r)
{
    if (segment.n < 3 || segment.p[0] != '{' || segment.p[segment.n - 1] != '}')
        return false;
    *name_r = (struct str){segment.p + 1, segment.n - 2};
    for (size_t i = 0; i < name_r->n; i++) {
        char c = name_r->p[i];
        if (!is_letter(c) && c != '_' && (i == 0 || !is_digit(c)))
            return false;
    }
    return true;
}

static const char *add_parameter(struct http_route *route, struct str name)
{
    if (route->param_count == HTTP_MAX_PARAMS)
        return "more than 8 parameters";
    for (size_t i = 0; i < route->param_count; i++)
        if (str_eq(route->params[i], name))
            return "two parameters of the same name";
    route->params[route->param_count++] = name;
    return NULL;
}

/* "/shop/" is the prefix "/shop", and "/" is "". */
static struct str prefix_of(struct str pattern)
{
    while (pattern.n != 0 && pattern.p[pattern.n - 1] == '/')
        pattern.n--;
    return pattern;
}

static bool is_dots(struct str segment)
{
    return str_eq(segment, STR(".")) || str_eq(segment, STR(".."));
}

/* Walks or grows the tree to where the pattern ends. Returns NULL, or what is wrong with it. */
static const char *compile(struct routes *routes, struct http_route *route, struct str pattern,
                           struct node **end_r, bool *is_rest_r)
{
    struct node *node = &routes->root;
    const char *p = pattern.p, *end = pattern.p + pattern.n;
    if (pattern.n == 0 || *p != '/')
        return "the path must begin with '/'";
    if ((route->methods & HTTP_PREFIX) != 0) {
        end = p + prefix_of(pattern).n;
        if (memchr(p, '{', pattern.n) != NULL)
            return "it is a prefix, which has no parameters";
    }
    if (memchr(p, '?', pattern.n) != NULL || memchr(p, '#', pattern.n) != NULL)
        return "the path must not hold '?' or '#'";
    for (unsigned depth = 0; p != end; depth++) {
        const char *start = ++p, *error;
        p = memchr(start, '/', (size_t)(end - start));
        if (p == NULL)
            p = end;
        struct str segment = {start, (size_t)(p - start)}, name, literal;
        if (depth == MAX_DEPTH)
            return "more than 32 segments";
        if (segment.n == 0 && p != end)
            return "an empty segment";
        if (segment.n > 3 && segment.p[0] == '{' && segment.p[1] == '*') {
            char *plain = h2o_mem_alloc_pool(&routes->pool, segment.n);
            plain[0] = '{';
            memcpy(plain + 1, segment.p + 2, segment.n - 2);
            if (p != end)
                return "\"{*name}\" must be the last segment";
            if (!parameter_name((struct str){plain, segment.n - 1}, &name))
                return "a parameter is \"{name}\", its name letters, digits and '_'";
            if ((error = add_parameter(route, name)) != NULL)
                return error;
            *is_rest_r = true;
        } else if (memchr(segment.p, '{', segment.n) != NULL ||
                   memchr(segment.p, '}', segment.n) != NULL) {
            if (!parameter_name(segment, &name))
                return "a parameter is a whole segment \"{name}\", its name letters, digits and "
                       "'_'";
            if ((error = add_parameter(route, name)) != NULL)
                return error;
            if (node->param == NULL)
                node->param = node_create(routes);
            node = node->param;
        } else {
            if (!percent_decode(&routes->pool, segment, &literal) || !utf8_valid(literal) ||
                has_control(literal) || is_dots(literal))
                return "a segment that no request can match";
            node = literal_child(routes, node, literal);
        }
    }
    *end_r = node;
    return NULL;
}

const struct http_route *routes_add(struct routes *routes, const char *name, unsigned methods,
                                    struct str pattern, http_handler_fn *handler, void *arg,
                                    struct pos at, struct diag *diag)
{
    size_t name_length = strlen(name);
    struct node *node = NULL;
    bool is_rest = false;
    struct http_route *route = h2o_mem_alloc(sizeof(*route));
    *route = (struct http_route){.methods = methods, .handler = handler, .arg = arg};
    route->pattern = h2o_mem_alloc(pattern.n + name_length + 1);
    memcpy(route->pattern, pattern.p, pattern.n);
    memcpy(route->pattern + pattern.n, name, name_length + 1);
    route->name = (struct str){route->pattern + pattern.n, name_length};
    route->next = routes->all;
    routes->all = route;

    const char *error =
        compile(routes, route, (struct str){route->pattern, pattern.n}, &node, &is_rest);
    if (error != NULL) {
        diag_error(diag, at, "path \"%.*s\": %s", (int)pattern.n, pattern.p, error);
        return NULL;
    }
    const struct http_route **slots = (methods & HTTP_PREFIX) != 0 ? node->below
                                      : is_rest                    ? node->rest
                                                                   : node->here;
    for (size_t i = 0; i < MAX_ROUTES_A_PATH; i++) {
        if (slots[i] == NULL) {
            slots[i] = route;
            return route;
        }
        if ((slots[i]->methods & methods & ALL_METHODS) != 0) {
            diag_error(diag, at, "path \"%.*s\" is also the path of \"%s\"", (int)pattern.n,
                       pattern.p, slots[i]->name.p);
            return NULL;
        }
    }
    gw_assert(!"each method has at most one route");
}

int http_route_param(const struct http_route *route, struct str name)
{
    for (size_t i = 0; i < route->param_count; i++)
        if (str_eq(route->params[i], name))
            return (int)i;
    return -1;
}

struct str http_route_name(const struct http_route *route)
{
    return route->name;
}

struct str http_route_pattern(const struct http_route *route)
{
    return (struct str){route->pattern, (size_t)(route->name.p - route->pattern)};
}

void http_route_use(const struct http_route *route, const struct config_strings *middleware)
{
    if (route != NULL)
        ((struct http_route *)(uintptr_t)route)->middleware = middleware;
}

const struct config_strings *route_middleware(const struct http_route *route)
{
    return route->middleware;
}

void route_set_chain(struct http_route *route, const struct chain *chain)
{
    route->chain = chain;
}

const struct chain *route_chain(const struct http_route *route)
{
    return route->chain;
}

struct http_route *routes_first(struct routes *routes)
{
    return routes->all;
}

struct http_route *routes_next(struct http_route *route)
{
    return route->next;
}

bool route_reads_body(const struct http_route *route)
{
    return (route->methods & HTTP_READS_BODY) != 0;
}

void route_run(struct http_request *request)
{
    http_serving(request, STR(""));
    request->route->handler(request, request->route->arg);
}

/* -- matching ---------------------------------------------------------------------------------- */

struct walk {
    h2o_mem_pool_t *pool;
    const char *end;
    bool encoded; /* there are escapes in the path */
    struct str *params;
};

static struct str decoded(const struct walk *walk, struct str segment)
{
    struct str text = segment;
    bool well_formed = !walk->encoded || percent_decode(walk->pool, segment, &text);
    gw_assert(well_formed); /* path_check() saw to it */
    return text;
}

/* What is left of the path, from `p` on; {NULL, 0} when a segment hides a slash: what takes the
 * rest takes it as a path. */
static struct str decoded_rest(const struct walk *walk, const char *p)
{
    struct str raw = {p, (size_t)(walk->end - p)}, text = decoded(walk, raw);
    size_t raw_slashes = 0, slashes = 0;
    for (size_t i = 0; i < raw.n; i++)
        raw_slashes += raw.p[i] == '/';
    for (size_t i = 0; i < text.n; i++)
        slashes += text.p[i] == '/';
    return slashes == raw_slashes ? text : (struct str){NULL, 0};
}

/* p: at the slash before the node's next segment, or the path's end. Returns the routes found. */
static const struct http_route *const *descend(const struct walk *walk, const struct node *node,
                                               const char *p, size_t params)
{
    const struct http_route *const *found;
    if (p == walk->end)
        return node->here[0] != NULL ? node->here : node->below[0] != NULL ? node->below : NULL;
    const char *start = p + 1, *next = memchr(start, '/', (size_t)(walk->end - start));
    if (next == NULL)
        next = walk->end;
    struct str segment = {start, (size_t)(next - start)};
    if (node->children != NULL || node->param != NULL)
        segment = decoded(walk, segment);
    for (const struct node *child = node->children; child != NULL; child = child->sibling)
        if (str_eq(child->literal, segment)) {
            if ((found = descend(walk, child, next, params)) != NULL)
                return found;
            break;
        }
    if (node->param != NULL && segment.n != 0 &&
        (found = descend(walk, node->param, next, params + 1)) != NULL) {
        walk->params[params] = segment;
        return found;
    }
    if (node->rest[0] != NULL) {
        struct str rest = decoded_rest(walk, start);
        if (rest.p != NULL) {
            walk->params[params] = rest;
            return node->rest;
        }
    }
    return node->below[0] == NULL ? NULL : node->below;
}

/* The prefix that the path is nearest to: what another route found there doesn't take is its. */
static const struct http_route *const *prefixes_above(const struct walk *walk,
                                                      const struct node *node, const char *p)
{
    const struct http_route *const *nearest = node->below;
    while (p != walk->end) {
        const char *start = p + 1;
        p = memchr(start, '/', (size_t)(walk->end - start));
        if (p == NULL)
            p = walk->end;
        struct str segment = decoded(walk, (struct str){start, (size_t)(p - start)});
        for (node = node->children; node != NULL; node = node->sibling)
            if (str_eq(node->literal, segment))
                break;
        if (node == NULL)
            break;
        if (node->below[0] != NULL)
            nearest = node->below;
    }
    return nearest;
}

/* Whether every segment decodes to UTF-8 without control characters and is not "." or "..". */
static bool path_check(h2o_mem_pool_t *pool, struct str path, bool *encoded_r)
{
    /* One pass finds out whether there is anything to look at more closely. */
    bool closer = false;
    *encoded_r = false;
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        if (c <= 0x20 || c == 0x7f)
            return false;
        *encoded_r = *encoded_r || c == '%';
        closer = closer || c == '%' || c >= 0x80 || (c == '.' && path.p[i - 1] == '/');
    }
    for (const char *p = path.p, *end = path.p + path.n; closer && p != end;) {
        const char *start = ++p;
        struct str text;
        p = memchr(start, '/', (size_t)(end - start));
        if (p == NULL)
            p = end;
        if (!percent_decode(pool, (struct str){start, (size_t)(p - start)}, &text) ||
            has_control(text) || is_dots(text) || !utf8_valid(text))
            return false;
    }
    return true;
}

static unsigned method_bit(struct str method)
{
    static const struct {
        struct str name;
        unsigned bit;
    } methods[] = {{{"GET", 3}, HTTP_GET},        {{"HEAD", 4}, HTTP_HEAD},
                   {{"POST", 4}, HTTP_POST},      {{"PUT", 3}, HTTP_PUT},
                   {{"PATCH", 5}, HTTP_PATCH},    {{"DELETE", 6}, HTTP_DELETE},
                   {{"OPTIONS", 7}, HTTP_OPTIONS}};
    for (size_t i = 0; i < COUNT(methods); i++)
        if (str_eq(method, methods[i].name))
            return methods[i].bit;
    bool is_other = !str_eq(method, STR("CONNECT")) && !str_eq(method, STR("TRACE"));
    return is_other ? HTTP_OTHERS : 0;
}

/* The one of `found` that takes the method; NULL: none does, and what they take is added. */
static const struct http_route *with_method(const struct http_route *const *found, unsigned bit,
                                            unsigned *allowed)
{
    for (size_t i = 0; i < MAX_ROUTES_A_PATH && found[i] != NULL; i++) {
        unsigned methods = found[i]->methods;
        methods |= (methods & HTTP_GET) != 0 ? HTTP_HEAD : 0;
        if ((methods & bit) != 0)
            return found[i];
        *allowed |= methods;
    }
    return NULL;
}

int routes_match(const struct routes *routes, struct http_request *request)
{
    struct walk walk = {.pool = request->pool, .params = request->params};
    const char *target = request->target.p;
    if (request->target.n == 0 || *target != '/')
        return 400;
    const char *mark = memchr(target, '?', request->target.n);
    walk.end = mark != NULL ? mark : target + request->target.n;
    request->path = (struct str){target, (size_t)(walk.end - target)};
    request->query = (struct str){NULL, 0};
    if (mark != NULL)
        request->query = (struct str){mark + 1, request->target.n - request->path.n - 1};
    if (!path_check(request->pool, request->path, &walk.encoded) || has_control(request->query))
        return 400;
    const struct http_route *const *found = descend(&walk, &routes->root, target, 0);
    if (found == NULL)
        return 404;
    unsigned bit = method_bit(request->method), allowed = 0;
    request->route = with_method(found, bit, &allowed);
    if (request->route == NULL && (found[0]->methods & HTTP_PREFIX) == 0) {
        memset(request->params, 0, sizeof(request->params));
        request->route = with_method(prefixes_above(&walk, &routes->root, target), bit, &allowed);
    }
    request->allowed = (uint8_t)(allowed & ALL_METHODS);
    return request->route != NULL ? 0 : 405;
}

int http_route_match(struct http_server *server, struct http_request *request)
{
    return routes_match(server->sites[SITE_MAIN].routes, request);
}

const struct http_route *http_route_add(struct http_server *server, const char *name,
                                        unsigned methods, struct str pattern,
                                        http_handler_fn *handler, void *arg, struct pos at,
                                        struct diag *diag)
{
    return routes_add(server->sites[SITE_MAIN].routes, name, methods, pattern, handler, arg, at,
                      diag);
}
