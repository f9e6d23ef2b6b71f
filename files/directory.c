/* A plain directory's files: http_dir_find() knows what may be seen, http_send_file() how to send
 * it; here is what a download adds. */
#include <errno.h>
#include "files/download_internal.h"

static struct str last_segment(struct str path)
{
    const char *slash = memrchr(path.p, '/', path.n);
    size_t skip = slash != NULL ? (size_t)(slash + 1 - path.p) : 0;
    return (struct str){path.p + skip, path.n - skip};
}

/* The folder's own address ends in a slash, or links relative to it lead astray. */
static void redirect_to_folder(struct http_request *request)
{
    struct str path = request->path, query = request->query;
    size_t n = path.n + 1 + (query.n != 0 ? 1 + query.n : 0);
    char *to = h2o_mem_alloc_pool(request->pool, n), *at = mempcpy(to, path.p, path.n);
    *at++ = '/';
    if (query.n != 0) {
        *at++ = '?';
        memcpy(at, query.p, query.n);
    }
    http_add_header(request, "location", (struct str){to, n});
    http_reply(request, 301, NULL, NULL);
}

static void found(struct http_request *request, int error, struct http_file *file, void *arg)
{
    struct download *download = arg;
    const struct config_download *config = download->config;
    if (error == EISDIR && config->listing) {
        redirect_to_folder(request);
        return;
    }
    if (error != 0) {
        http_refuse_file(request, error);
        return;
    }
    file->cache_control = str_from(download->cache_control);
    file->disposition =
        http_disposition(request->pool, (enum config_disposition)config->disposition,
                         last_segment(request->params[download->rest]));
    http_send_file(request, file, download->reads);
}

void directory_serve(struct http_request *request, struct download *download, struct str path)
{
    bool folder = path.n == 0 || path.p[path.n - 1] == '/';
    if (folder && download->config->listing)
        listing_serve(request, download, path);
    else
        http_dir_find(request, download->dir, path, HTTP_DIR_CODED, found, download);
}
