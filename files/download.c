/* A section's route, who may use it, and the files of `from`. */
#include "files/download.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "files/download_internal.h"
#include "files/storage.h"
#include "observe/metrics.h"

/* Of the request, while its file is opened. */
struct opening {
    struct download *download;
    const struct record *record;
};

static void on_opened(struct http_request *request, int error, struct http_file *file, void *arg)
{
    struct opening *opening = arg;
    const struct download *download = opening->download;
    const struct record *record = opening->record;
    if (error == 0 && file->size != record->size) { /* its digest would be a lie */
        close(file->fd);
        error = EIO;
    }
    if (error != 0) {
        http_refuse_file(request, error);
        return;
    }
    file->etag = record->etag;
    file->modified = record->modified;
    file->type = record->type;
    file->disposition = record->disposition;
    file->repr_digest = record->repr_digest;
    file->cache_control = str_from(download->cache_control);
    http_add_header(request, "content-security-policy", STR("sandbox; default-src 'none'"));
    http_send_file(request, file, download->reads);
}

static void on_record(struct http_request *request, int error, const struct record *record,
                      struct download *download)
{
    if (error != 0) {
        http_refuse_file(request, error);
        return;
    }
    struct opening *opening = h2o_mem_alloc_pool(request->pool, sizeof(*opening));
    *opening = (struct opening){download, record};
    http_dir_find(request, download->dir, (struct str){record->id, STORE_ID}, 0, on_opened,
                  opening);
}

/* A request, to its end: then it is known how much was sent. */
struct sent {
    const struct download *download;
    const struct http_request *request;
};

static void count_sent(void *memory)
{
    const struct sent *sent = memory;
    const struct str labels[] = {sent->download->config->name};
    metric_add(METRIC_DOWNLOAD_BYTES, sent->request->h2o->bytes_sent, labels, COUNT(labels));
}

static void serve(struct http_request *request, void *arg)
{
    struct download *download = arg;
    struct str rest = request->params[download->rest];
    if (!http_authorize(request, (enum config_auth)download->config->auth, HTTP_MAY_READ))
        return;
    struct sent *sent = h2o_mem_alloc_shared(request->pool, sizeof(*sent), count_sent);
    *sent = (struct sent){download, request};
    if (download->store == NULL)
        directory_serve(request, download, rest);
    else if (rest.n == 0 && download->config->listing)
        listing_serve(request, download, rest);
    else if (storage_id_valid(rest))
        record_find(request, download, rest, on_record);
    else
        http_refuse_file(request, ENOENT);
}

/* -- mounting --------------------------------------------------------------------------------- */

static bool open_dir(struct download *download, const struct config *config, struct diag *diag)
{
    const struct config_download *item = download->config;
    const struct config_upload *upload = config_find_upload(config, item->from);
    struct str dir = item->from.n == 0 ? item->dir : upload != NULL ? upload->dir : STR("");
    int error;
    if (dir.n == 0)
        return false; /* config/ has told what is missing */
    if (item->from.n != 0 && download->store == NULL)
        return true;
    download->dir = http_dir_open(dir.p, download->reads, &error);
    /* What is wrong with an upload's folder the upload has told. */
    if (download->dir == NULL && (item->from.n == 0 || diag_errors(diag) == 0))
        diag_error(diag, config_pos(config, item->from.n != 0 ? &item->from : &item->dir),
                   "cannot read the directory \"%s\": %s", dir.p, strerror(error));
    return download->dir != NULL;
}

/* An upload takes every name right below its path: no file of a download there would be reached. */
static bool check_path(const struct download *download, const struct config *config,
                       struct diag *diag)
{
    for (size_t i = 0; i < config->upload_count; i++) {
        struct str path = config->uploads[i].path;
        while (path.n != 0 && path.p[path.n - 1] == '/')
            path.n--;
        if (config->uploads[i].path.n == 0 || !str_eq(path, download->path))
            continue;
        diag_error(diag, config_pos(config, &download->config->path),
                   "path \"%s\" is also the path of the upload \"%s\"; take one of its own, like "
                   "\"/files\"",
                   download->config->path.p, config->uploads[i].name.p);
        return false;
    }
    return true;
}

static void print_cache_control(struct download *download)
{
    const struct config_download *item = download->config;
    const char *whose = item->auth == AUTH_PUBLIC ? "public" : "private";
    if (item->max_age_ms == 0)
        snprintf(download->cache_control, sizeof(download->cache_control), "%s, no-cache", whose);
    else
        snprintf(download->cache_control, sizeof(download->cache_control), "%s, max-age=%llu",
                 whose, (unsigned long long)(item->max_age_ms / 1000));
}

struct download *download_mount(struct http_server *server, const struct config *config,
                                const struct config_download *item, struct store *store,
                                struct template_set *templates, struct offload *reads,
                                struct diag *diag)
{
    struct download *download = h2o_mem_alloc(sizeof(*download));
    *download = (struct download){.config = item,
                                  .path = item->path,
                                  .store = item->from.n != 0 ? store : NULL,
                                  .reads = reads};
    while (download->path.n != 0 && download->path.p[download->path.n - 1] == '/')
        download->path.n--;
    print_cache_control(download);
    bool good = open_dir(download, config, diag);
    http_check_auth(server, (enum config_auth)item->auth, config_pos(config, &item->auth), diag);
    if (item->listing)
        good &= (download->page = listing_compile(templates, diag)) != NULL;
    const struct http_route *route = NULL;
    if (item->path.n != 0 && check_path(download, config, diag)) {
        int n =
            asprintf(&download->pattern, "%.*s/{*rest}", (int)download->path.n, download->path.p);
        gw_assert(n > 0);
        route = http_route_add(server, item->name.p, HTTP_GET | HTTP_HEAD,
                               (struct str){download->pattern, (size_t)n}, serve, download,
                               config_pos(config, &item->path), diag);
        http_route_use(route, &item->middleware);
    }
    if (!good || route == NULL) {
        download_unmount(&download);
        return NULL;
    }
    download->rest = http_route_param(route, STR("rest"));
    gw_assert(download->rest >= 0);
    return download;
}

void download_unmount(struct download **download_p)
{
    struct download *download = *download_p;
    *download_p = NULL;
    if (download == NULL)
        return;
    record_caches_destroy(download);
    http_dir_close(&download->dir);
    free(download->pattern);
    free(download);
}
