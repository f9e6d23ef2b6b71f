/* [static.NAME]: a route whose files are found by directory.c and sent by send_file.c. */
#include "http/static.h"
#include <stdio.h>
#include <stdlib.h>
#include "http/http_internal.h"

struct http_static {
    struct http_dir *dir;   /* owned */
    struct offload *reads;  /* borrowed */
    h2o_iovec_t pattern;    /* owned */
    int rest;               /* place of the route's parameter */
    char cache_control[64]; /* "" = none */
};

static void found(struct http_request *request, int error, struct http_file *file, void *arg)
{
    struct http_static *mount = arg;
    if (error != 0) {
        http_refuse_file(request, error);
        return;
    }
    file->may_code = true;
    file->cache_control = str_from(mount->cache_control);
    http_send_file(request, file, mount->reads);
}

static void serve(struct http_request *request, void *arg)
{
    struct http_static *mount = arg;
    http_dir_find(request, mount->dir, request->params[mount->rest],
                  HTTP_DIR_INDEX | HTTP_DIR_CODED, found, mount);
}

struct http_static *http_static_mount(struct http_server *server, const struct config *config,
                                      const struct config_static *item, struct offload *files,
                                      struct diag *diag)
{
    int error;
    if (item->dir.n == 0 || item->path.n == 0)
        return NULL; /* config/ has told what is missing */
    struct http_dir *dir = http_dir_open(item->dir.p, files, &error);
    if (dir == NULL) {
        diag_error(diag, config_pos(config, &item->dir), "cannot read the directory \"%s\": %s",
                   item->dir.p, strerror(error));
        return NULL;
    }
    struct http_static *mount = h2o_mem_alloc(sizeof(*mount));
    *mount = (struct http_static){.dir = dir, .reads = files};
    if (item->max_age_ms != 0)
        snprintf(mount->cache_control, sizeof(mount->cache_control), "public, max-age=%llu",
                 (unsigned long long)(item->max_age_ms / 1000));
    struct str path = item->path;
    while (path.n != 0 && path.p[path.n - 1] == '/')
        path.n--;
    mount->pattern =
        h2o_concat(NULL, h2o_iovec_init(path.p, path.n), h2o_iovec_init(H2O_STRLIT("/{*rest}")));
    const struct http_route *route =
        http_route_add(server, item->name.p, HTTP_GET | HTTP_HEAD,
                       (struct str){mount->pattern.base, mount->pattern.len}, serve, mount,
                       config_pos(config, &item->path), diag);
    http_route_use(route, &item->middleware);
    if (!route) {
        http_static_unmount(&mount);
        return NULL;
    }
    mount->rest = http_route_param(route, STR("rest"));
    gw_assert(mount->rest >= 0);
    return mount;
}

void http_static_unmount(struct http_static **mount_p)
{
    struct http_static *mount = *mount_p;
    *mount_p = NULL;
    if (!mount)
        return;
    http_dir_close(&mount->dir);
    free(mount->pattern.base);
    free(mount);
}
