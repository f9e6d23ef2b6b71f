/* Which request goes to which file of files/, and what runs beside requests: the sweep at start and
 * the expiry of partial uploads, both on offload threads. */
#include "files/files_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "files/download.h"
#include "files/lock.h"
#include "files/page.h"
#include "observe/metrics.h"

enum {
    EXPIRE_EVERY_MS = 60 * 1000,
    EXPIRE_MORE_MS = 1000 /* until the records of a batch are gone, and the next may follow */
};

/* Work on an offload thread for one route, one of a kind at a time. */
struct chore {
    struct offload_job job;
    struct upload_route *route;
    /* expiry only: */
    struct files *files;
    bool under_way; /* loop 0's */
    bool more;      /* of the last batch; the job's, then loop 0's */
};

struct mounted_upload {
    struct upload_route route;
    struct chore sweep, expiry;
    char *item; /* owned: the pattern "/upload/{item}" */
};

struct files {
    struct offload *disk; /* borrowed */
    struct mounted_upload *uploads;
    size_t upload_count;
    struct download **downloads;
    size_t download_count;
    struct timer expiry; /* on loop 0 */
    struct loop *loop;
};

/* -- requests -------------------------------------------------------------------------------- */

static bool is(const struct http_request *request, const char *method)
{
    return str_eq(request->method, str_from(method));
}

/* PATH: the form and what it sends, raw bodies, the creation of resumable uploads. */
static void on_collection(struct http_request *request, void *arg)
{
    struct upload_route *route = arg;
    if (is(request, "GET") || is(request, "HEAD"))
        upload_page_reply(request, route->page);
    else if (tus_wants(request))
        tus_handle(request, route);
    else
        upload_receive(request, route);
}

/* PATH/{item}: a resumable upload or a whole file by its id, or the name of a raw body. */
static void on_item(struct http_request *request, void *arg)
{
    struct upload_route *route = arg;
    if (is(request, "PUT"))
        upload_receive(request, route);
    else if (is(request, "DELETE") && !tus_wants(request))
        upload_delete(request, route, request->params[ITEM_PARAM]);
    else
        tus_handle(request, route);
}

/* -- chores ---------------------------------------------------------------------------------- */

static void sweep_work(struct offload_job *job)
{
    storage_sweep(CONTAINER_OF(job, struct chore, job)->route->storage);
}

static void expiry_work(struct offload_job *job)
{
    struct chore *expiry = CONTAINER_OF(job, struct chore, job);
    expiry->more = tus_expire(expiry->route);
}

static void expiry_done(struct offload_job *job)
{
    struct chore *expiry = CONTAINER_OF(job, struct chore, job);
    struct files *files = expiry->files;
    expiry->under_way = false;
    if (expiry->more)
        timer_start(files->loop, &files->expiry, EXPIRE_MORE_MS);
}

static void on_expiry(struct timer *timer)
{
    struct files *files = CONTAINER_OF(timer, struct files, expiry);
    for (size_t i = 0; i < files->upload_count; i++) {
        struct chore *expiry = &files->uploads[i].expiry;
        if (!expiry->under_way)
            expiry->under_way = offload_submit(files->disk, &expiry->job);
    }
    timer_start(files->loop, timer, EXPIRE_EVERY_MS);
}

void files_start(struct files *files)
{
    for (size_t i = 0; i < files->upload_count; i++)
        if (!offload_submit(files->disk, &files->uploads[i].sweep.job))
            gw_assert(!"the queue is full before anything runs");
}

void files_loop_start(struct files *files, struct loop *loop)
{
    if (loop_index(loop) != 0)
        return;
    files->loop = loop;
    for (size_t i = 0; i < files->upload_count; i++)
        files->uploads[i].expiry.job.loop = loop;
    timer_start(loop, &files->expiry, 0);
}

void files_loop_stop(struct files *files, struct loop *loop)
{
    if (files->loop == loop)
        timer_stop(loop, &files->expiry);
    for (size_t i = 0; i < files->upload_count; i++) {
        upload_loop_stop(&files->uploads[i].route);
        tus_loop_stop(&files->uploads[i].route);
    }
}

/* -- counting -------------------------------------------------------------------------------- */

void upload_count(const struct upload_route *route, const char *result)
{
    const struct str labels[] = {route->config->name, str_from(result)};
    metric_add(METRIC_UPLOADS, 1, labels, COUNT(labels));
}

void upload_count_refusal(const struct upload_route *route, const struct http_request *request)
{
    upload_count(route, request->h2o->res.status < 500 ? "refused" : "failed");
}

void upload_count_bytes(const struct upload_route *route, size_t n)
{
    const struct str labels[] = {route->config->name};
    metric_add(METRIC_UPLOAD_BYTES, n, labels, COUNT(labels));
}

/* -- mounting -------------------------------------------------------------------------------- */

static struct str without_slash(struct str path)
{
    while (path.n != 0 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

static struct str download_path(const struct config *config, struct str upload)
{
    for (size_t i = 0; i < config->download_count; i++)
        if (str_eq(config->downloads[i].from, upload))
            return without_slash(config->downloads[i].path);
    return (struct str){"", 0};
}

static void mount_upload(struct files *files, const struct config *config,
                         const struct config_upload *upload, struct store *store,
                         struct template_set *templates, struct http_server *server,
                         struct diag *diag)
{
    struct mounted_upload *mounted = &files->uploads[files->upload_count++];
    struct upload_route *route = &mounted->route;
    struct str path = without_slash(upload->path);
    *route = (struct upload_route){
        .config = upload,
        .storage = storage_create(config, upload, store, files->disk, diag),
        .page = upload_page_create(config, upload, templates, diag),
        .path = path,
        .download = download_path(config, upload->name),
    };
    mounted->sweep = (struct chore){.route = route, .job.work = sweep_work};
    mounted->expiry = (struct chore){
        .route = route, .job = {.work = expiry_work, .done = expiry_done}, .files = files};
    http_check_auth(server, upload->auth, config_pos(config, &upload->auth), diag);
    if (upload->path.n == 0 || route->storage == NULL)
        return;

    h2o_iovec_t item =
        h2o_concat(NULL, h2o_iovec_init(path.p, path.n), h2o_iovec_init(H2O_STRLIT("/{item}")));
    mounted->item = item.base;
    struct pos at = config_pos(config, &upload->path);
    const unsigned both = HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_PUT | HTTP_OPTIONS;
    const struct http_route *collection =
        http_route_add(server, upload->name.p, both | HTTP_READS_BODY,
                       path.n != 0 ? path : STR("/"), on_collection, route, at, diag);
    http_route_use(collection, &upload->middleware);
    if (collection == NULL)
        return;
    http_route_use(http_route_add(server, upload->name.p,
                                  both | HTTP_PATCH | HTTP_DELETE | HTTP_READS_BODY,
                                  (struct str){item.base, item.len}, on_item, route, at, diag),
                   &upload->middleware);
}

struct files *files_create(const struct config *config, struct store *store, struct offload *disk,
                           struct offload *reads, struct template_set *templates,
                           struct http_server *server, struct diag *diag)
{
    struct files *files = calloc(1, sizeof(*files));
    gw_assert(files != NULL);
    files->disk = disk;
    files->uploads = calloc(config->upload_count + 1, sizeof(*files->uploads));
    files->downloads = calloc(config->download_count + 1, sizeof(struct download *));
    gw_assert(files->uploads != NULL && files->downloads != NULL);
    timer_init(&files->expiry, on_expiry);
    for (size_t i = 0; i < config->upload_count; i++)
        mount_upload(files, config, &config->uploads[i], store, templates, server, diag);
    for (size_t i = 0; i < config->download_count; i++) {
        struct download *download =
            download_mount(server, config, &config->downloads[i], store, templates, reads, diag);
        if (download != NULL)
            files->downloads[files->download_count++] = download;
    }
    return files;
}

void files_loops_ended(void)
{
    lock_free_undelivered();
}

void files_write_metrics(const struct files *files, struct out *out)
{
    static const char *const names[] = {"gw_uploads_active", "gw_upload_stored_bytes"};
    static const char *const helps[] = {"Uploads that are being received.",
                                        "Bytes that are kept or reserved, as quotas count them."};
    for (size_t i = 0; i < COUNT(names); i++) {
        metric_begin(out, names[i], METRIC_GAUGE, helps[i]);
        for (size_t j = 0; j < files->upload_count; j++) {
            const struct upload_route *route = &files->uploads[j].route;
            const struct storage_use use = storage_use(route->storage);
            const struct str labels[] = {STR("upload"), route->config->name};
            metric_put(out, names[i], labels, COUNT(labels), i == 0 ? use.under_way : use.bytes);
        }
    }
}

void files_destroy(struct files **files_p)
{
    struct files *files = *files_p;
    *files_p = NULL;
    if (files == NULL)
        return;
    for (size_t i = 0; i < files->download_count; i++)
        download_unmount(&files->downloads[i]);
    for (size_t i = 0; i < files->upload_count; i++) {
        upload_page_destroy(&files->uploads[i].route.page);
        storage_destroy(&files->uploads[i].route.storage);
        free(files->uploads[i].item);
    }
    media_type_unload();
    free(files->downloads);
    free(files->uploads);
    free(files);
}
