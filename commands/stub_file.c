/* Reads the stub's TOML. Every error of the file is reported, not the first alone: what is wrong
 * yields a zero value and reading goes on. All strings are copied out of the TOML tree into one
 * pool, so that the tree ends with the reading. */
#include "commands/stub_file.h"

#include <errno.h>
#include <h2o/string_.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/text.h"
#include "config/config.h"
#include "config/toml.h"

enum {
    FILE_MAX = 1 << 20,        /* what toml_parse() takes */
    BODY_MAX = 64 << 20,       /* a typo such as body = "/dev/zero" must end */
    DELAY_MAX_MS = 3600 * 1000 /* an hour is enough to time anything out */
};

struct reader {
    h2o_mem_pool_t *pool;
    struct diag *diag;
    struct str dir; /* of the file, with its slash; "" = the working directory */
};

static struct str copy(struct reader *reader, struct str s)
{
    h2o_iovec_t copied = h2o_strdup(reader->pool, s.p != NULL ? s.p : "", s.n);

    return (struct str){copied.base, copied.len};
}

static void *array(struct reader *reader, size_t count, size_t size)
{
    void *items = h2o_mem_alloc_pool(reader->pool, count * size + 1);

    memset(items, 0, count * size);
    return items;
}

/* All of a file, from the pool; {NULL, 0} and errno when it can't be read. */
static struct str read_file(struct reader *reader, const char *path, size_t max)
{
    struct str text = {NULL, 0};
    char *bytes = NULL;
    size_t n = 0, capacity = 0, got;
    FILE *in = fopen(path, "rb");

    if (in == NULL)
        return text;
    do {
        if (n == capacity) {
            capacity = capacity == 0 ? 4096 : 2 * capacity;
            bytes = h2o_mem_realloc(bytes, capacity);
        }
        got = fread(bytes + n, 1, capacity - n, in);
        n += got;
    } while (got != 0 && n <= max);
    if (n > max)
        errno = EFBIG;
    else if (!ferror(in))
        text = copy(reader, (struct str){bytes, n});
    int saved = errno;
    free(bytes);
    fclose(in);
    errno = saved;
    return text;
}

static const char *type_name(enum toml_type type)
{
    static const char *const names[] = {"a table", "an array", "a string", "an integer", "a float",
                                        "a bool",  "a date",   "a date",   "a date",     "a time"};

    return names[type];
}

/* The entry of that name when it is there and of that type. */
static const struct toml_node *get(struct reader *reader, const struct toml_node *table,
                                   const char *key, enum toml_type type)
{
    const struct toml_node *node = toml_get(table, str_from(key));

    if (node == NULL || node->type == type)
        return node;
    if (type == TOML_FLOAT && node->type == TOML_INTEGER)
        return node;
    diag_error(reader->diag, node->at, "%s must be %s, not %s", key, type_name(type),
               type_name(node->type));
    return NULL;
}

static void check_keys(struct reader *reader, const struct toml_node *table,
                       const char *const *known, size_t count)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct toml_node *node = &table->items[i];
        bool found = false;

        for (size_t k = 0; k < count && !found; k++)
            found = str_eq(node->key, str_from(known[k]));
        if (found)
            continue;
        const char *near = diag_nearest(node->key, known, count);
        if (near != NULL)
            diag_error(reader->diag, node->key_at, "unknown key '%s', did you mean '%s'?",
                       node->key.p, near);
        else
            diag_error(reader->diag, node->key_at, "unknown key '%s'", node->key.p);
    }
}

static bool has_nul(struct str s)
{
    return s.n != 0 && memchr(s.p, '\0', s.n) != NULL;
}

static struct str read_body(struct reader *reader, const struct toml_node *node)
{
    struct str name = node->text, path, body;

    if (name.n == 0 || has_nul(name)) {
        diag_error(reader->diag, node->at, "body must be the name of a file");
        return (struct str){NULL, 0};
    }
    if (name.p[0] == '/')
        path = copy(reader, name);
    else {
        h2o_iovec_t joined = h2o_concat(reader->pool, h2o_iovec_init(reader->dir.p, reader->dir.n),
                                        h2o_iovec_init(name.p, name.n));
        path = (struct str){joined.base, joined.len};
    }
    body = read_file(reader, path.p, BODY_MAX);
    if (body.p == NULL)
        diag_error(reader->diag, node->at, "cannot read %s: %s", path.p, strerror(errno));
    return body;
}

static bool is_field_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static void read_headers(struct reader *reader, const struct toml_node *table,
                         struct stub_route *route)
{
    static const char *const framing[] = {"content-length", "transfer-encoding", "connection"};

    route->headers = array(reader, table->count, sizeof(route->headers[0]));
    for (size_t i = 0; i < table->count; i++) {
        const struct toml_node *node = &table->items[i];
        bool ours = false;

        for (size_t f = 0; f < COUNT(framing); f++)
            ours = ours || str_caseeq(node->key, str_from(framing[f]));
        if (ours)
            diag_error(reader->diag, node->key_at, "the stub sets '%s' itself", node->key.p);
        else if (!is_token(node->key))
            diag_error(reader->diag, node->key_at, "not a header's name");
        else if (node->type != TOML_STRING || !is_field_value(node->text))
            diag_error(reader->diag, node->at, "a header's value must be a string of one line");
        else
            route->headers[route->header_count++] =
                (struct stub_header){copy(reader, node->key), copy(reader, node->text)};
    }
}

static bool status_has_body(int status)
{
    return status != 204 && status != 304;
}

static void read_route(struct reader *reader, const struct toml_node *table,
                       struct stub_route *route)
{
    static const char *const known[] = {"path", "body", "status", "delay", "fail", "headers"};
    const struct toml_node *node;

    check_keys(reader, table, known, COUNT(known));

    if ((node = get(reader, table, "path", TOML_STRING)) != NULL) {
        if (node->text.n == 0 || node->text.p[0] != '/' || strpbrk(node->text.p, "?#") != NULL)
            diag_error(reader->diag, node->at, "path must begin with '/' and have no query");
        route->path = copy(reader, node->text);
    } else if (toml_get(table, STR("path")) == NULL) {
        diag_error(reader->diag, table->at, "a route needs a path");
    }

    route->status = 200;
    if ((node = get(reader, table, "status", TOML_INTEGER)) != NULL) {
        if (node->integer < 200 || node->integer > 599)
            diag_error(reader->diag, node->at, "status must be from 200 to 599");
        else
            route->status = (int)node->integer;
    }
    if ((node = get(reader, table, "body", TOML_STRING)) != NULL) {
        if (!status_has_body(route->status))
            diag_error(reader->diag, node->at, "an answer with status %d has no body",
                       route->status);
        else
            route->body = read_body(reader, node);
    }
    if ((node = get(reader, table, "delay", TOML_STRING)) != NULL) {
        if (!config_duration(node->text, &route->delay_ms) || route->delay_ms > DELAY_MAX_MS)
            diag_error(reader->diag, node->at,
                       "delay must be a duration of at most 1h, such as \"120ms\"");
    }
    if ((node = get(reader, table, "fail", TOML_FLOAT)) != NULL) {
        double share = node->type == TOML_INTEGER ? (double)node->integer : node->number;

        if (!(share >= 0.0 && share <= 1.0)) /* NaN neither */
            diag_error(reader->diag, node->at, "fail must be a share from 0.0 to 1.0");
        else
            route->fail = share;
    }
    if ((node = get(reader, table, "headers", TOML_TABLE)) != NULL)
        read_headers(reader, node, route);
}

static void read_listen(struct reader *reader, const struct toml_node *node,
                        struct stub_service *service)
{
    struct str host = node->text, port;
    const char *colon = node->text.n != 0 ? strrchr(node->text.p, ':') : NULL;
    char *end;

    if (colon == NULL)
        goto bad;
    host.n = (size_t)(colon - host.p);
    port = str_from(colon + 1);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){host.p + 1, host.n - 2};
    else if (memchr(host.p, ':', host.n) != NULL)
        goto bad;
    if (host.n == 0 || port.n == 0 || port.n > 5 || port.p[0] < '0' || port.p[0] > '9' ||
        strtoul(port.p, &end, 10) > UINT16_MAX || *end != '\0')
        goto bad;
    service->host = copy(reader, host);
    service->port = copy(reader, port);
    return;
bad:
    diag_error(reader->diag, node->at, "listen must be \"host:port\" or \"[IPv6]:port\"");
}

static void read_service(struct reader *reader, const struct toml_node *table,
                         struct stub_service *service)
{
    static const char *const known[] = {"listen", "routes"};
    const struct toml_node *node;

    service->name = copy(reader, table->key);
    check_keys(reader, table, known, COUNT(known));
    if ((node = get(reader, table, "listen", TOML_STRING)) != NULL)
        read_listen(reader, node, service);
    else if (toml_get(table, STR("listen")) == NULL)
        diag_error(reader->diag, table->at, "service '%s' needs listen", service->name.p);

    if ((node = get(reader, table, "routes", TOML_ARRAY)) == NULL)
        return;
    service->routes = array(reader, node->count, sizeof(service->routes[0]));
    for (size_t i = 0; i < node->count; i++) {
        const struct toml_node *item = &node->items[i];
        struct stub_route *route = &service->routes[service->route_count];

        if (item->type != TOML_TABLE) {
            diag_error(reader->diag, item->at, "a route must be a table, not %s",
                       type_name(item->type));
            continue;
        }
        read_route(reader, item, route);
        for (size_t k = 0; k < service->route_count; k++) {
            if (route->path.n != 0 && str_eq(service->routes[k].path, route->path))
                diag_error(reader->diag, toml_get(item, STR("path"))->at,
                           "service '%s' has two routes for %s", service->name.p, route->path.p);
        }
        service->route_count++;
    }
}

static void read_root(struct reader *reader, const struct toml_node *root, const char *path,
                      struct stub_file *file)
{
    static const char *const known[] = {"services"};
    const struct toml_node *services;

    check_keys(reader, root, known, COUNT(known));
    services = get(reader, root, "services", TOML_TABLE);
    if (services == NULL || services->count == 0) {
        if (toml_get(root, STR("services")) == NULL || services != NULL)
            diag_error(reader->diag, (struct pos){.file = path}, "no [services.NAME] to serve");
        return;
    }
    file->services = array(reader, services->count, sizeof(file->services[0]));
    for (size_t i = 0; i < services->count; i++) {
        const struct toml_node *item = &services->items[i];

        if (item->type == TOML_TABLE)
            read_service(reader, item, &file->services[file->service_count++]);
        else
            diag_error(reader->diag, item->at, "a service must be a table, not %s",
                       type_name(item->type));
    }
}

struct stub_file *stub_file_load(const char *path, struct diag *diag)
{
    struct stub_file *file = h2o_mem_alloc(sizeof(*file));
    const char *slash = strrchr(path, '/');
    struct reader reader = {.diag = diag,
                            .dir = {path, slash != NULL ? (size_t)(slash + 1 - path) : 0}};

    *file = (struct stub_file){0};
    h2o_mem_init_pool(&file->pool);
    reader.pool = &file->pool;

    struct str text = read_file(&reader, path, FILE_MAX);
    if (text.p == NULL) {
        diag_error(diag, (struct pos){.file = path}, "cannot read: %s", strerror(errno));
        return file;
    }
    struct toml_doc *toml = toml_parse(text, path);
    if (toml->root == NULL)
        diag_error(diag, toml->error_at, "%s", toml->error);
    else
        read_root(&reader, toml->root, path, file);
    toml_free(&toml);
    return file;
}

void stub_file_free(struct stub_file **file)
{
    if (*file == NULL)
        return;
    h2o_mem_clear_pool(&(*file)->pool);
    free(*file);
    *file = NULL;
}
