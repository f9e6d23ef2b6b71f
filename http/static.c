/* Serving a directory without ever waiting for a disk.
 *
 * The loop opens and reads what is in the kernel's memory, which is nearly everything nearly
 * always: a small file is one open, one read and one send. What isn't there is a job for the
 * offload threads; each job is its own memory, so a client that leaves takes nothing away from
 * under it. A large file goes out in chunks, one in memory at a time, the next one read when the
 * client has taken the last. */
#include "http/static.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "http/conditional.h"
#include "http/http_internal.h"
#include "http/media_types.h"
#include "http/static_open.h"

enum { CHUNK = 128 * 1024, RETRY_MS = 10 };

struct http_static {
    struct static_dir dir;
    struct offload *files;  /* borrowed */
    h2o_mimemap_t *types;   /* owned */
    h2o_iovec_t pattern;    /* owned */
    int rest;               /* place of the route's parameter */
    char cache_control[64]; /* "" = none */
};

/* A request being answered. In its pool. */
struct transfer {
    h2o_generator_t generator;
    struct http_request *request;
    const struct http_static *mount;
    struct str path;         /* below the directory */
    struct static_file file; /* fd -1 = not open */
    struct job *job;         /* under way, or NULL */
    struct timer retry;      /* while the offload queue is full */
    char *chunk;             /* ref, or NULL: bytes being sent or read */
    uint64_t offset;         /* bytes sent */
    bool begun;              /* the response's head was sent */
    size_t etag_length;
    char etag[ETAG_MAX];
};

/* Work on an offload thread. Its own memory until done() on the loop. */
struct job {
    struct offload_job offload;
    struct transfer *transfer; /* the loop's; NULL: the client left, what is open is the job's */
    int error;
    struct static_file file;
    /* opening */
    const struct static_dir *dir;
    bool want_gzip;
    /* reading */
    char *chunk; /* ref */
    size_t wanted;
    uint64_t offset;
    ssize_t got;
    /* opening: path_length bytes */
    size_t path_length;
    char path[];
};

static void on_opened(struct transfer *transfer, int error);
static void on_chunk(struct transfer *transfer, ssize_t got);

/* -- ending ---------------------------------------------------------------------------------- */

static void close_file(struct static_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* From here on nothing comes back to the transfer. */
static void abandon(struct transfer *transfer)
{
    timer_stop(transfer->request->loop, &transfer->retry);
    if (transfer->job) {
        transfer->job->transfer = NULL;
        transfer->job = NULL;
        transfer->file.fd = -1;
    }
    close_file(&transfer->file);
}

static void on_dispose(void *arg)
{
    struct transfer *transfer = arg;
    abandon(transfer);
    if (transfer->chunk)
        h2o_mem_release_shared(transfer->chunk);
}

static void on_stop(h2o_generator_t *generator, h2o_req_t *req)
{
    (void)req;
    abandon(CONTAINER_OF(generator, struct transfer, generator));
}

static void reply_problem(struct transfer *transfer, int error)
{
    static const struct http_problem forbidden = {
        .status = 403, .type = "forbidden", .title = "This file may not be read"};
    static const struct http_problem changed = {
        .status = 412, .type = "precondition-failed", .title = "The file is not the expected one"};
    static const struct http_problem busy = {.status = 503,
                                             .type = "overloaded",
                                             .title = "Too much is going on to read this file",
                                             .retry_after_s = 1};
    static const struct http_problem broken = {
        .status = 500, .type = "internal-error", .title = "This file could not be read"};
    close_file(&transfer->file);
    switch (error) {
    case ENOENT:
        problem_reply_status(transfer->request, 404, NULL);
        break;
    case EACCES:
    case EPERM:
        http_problem_reply(transfer->request, &forbidden);
        break;
    case ECANCELED: /* ours: a precondition failed */
        http_problem_reply(transfer->request, &changed);
        break;
    case EBUSY: /* ours, too: the offload queue is full */
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        http_problem_reply(transfer->request, &busy);
        break;
    default:
        http_problem_reply(transfer->request, &broken);
    }
}

/* -- jobs ------------------------------------------------------------------------------------ */

static void open_work(struct offload_job *offload)
{
    struct job *job = CONTAINER_OF(offload, struct job, offload);
    job->error = static_open(job->dir, (struct str){job->path, job->path_length}, job->want_gzip,
                             true, &job->file);
}

static void open_done(struct offload_job *offload)
{
    struct job *job = CONTAINER_OF(offload, struct job, offload);
    struct transfer *transfer = job->transfer;
    if (transfer) {
        transfer->job = NULL;
        transfer->file = job->file;
        on_opened(transfer, job->error);
    } else {
        close_file(&job->file);
    }
    free(job);
}

static void read_work(struct offload_job *offload)
{
    struct job *job = CONTAINER_OF(offload, struct job, offload);
    job->got = static_read(&job->file, job->chunk, job->wanted, job->offset, true);
}

static void read_done(struct offload_job *offload)
{
    struct job *job = CONTAINER_OF(offload, struct job, offload);
    struct transfer *transfer = job->transfer;
    if (transfer) {
        transfer->job = NULL;
        on_chunk(transfer, job->got);
    } else {
        close_file(&job->file);
    }
    h2o_mem_release_shared(job->chunk);
    free(job);
}

/* Takes the job over; false, and the job is gone, when the queue is full. */
static bool submit(struct transfer *transfer, struct job *job)
{
    job->transfer = transfer;
    job->offload.loop = transfer->request->loop;
    if (!offload_submit(transfer->mount->files, &job->offload)) {
        free(job);
        return false;
    }
    transfer->job = job;
    return true;
}

static bool submit_open(struct transfer *transfer, bool want_gzip)
{
    struct job *job = h2o_mem_alloc(sizeof(*job) + transfer->path.n);
    *job = (struct job){.offload = {.work = open_work, .done = open_done},
                        .file.fd = -1,
                        .dir = &transfer->mount->dir,
                        .want_gzip = want_gzip,
                        .path_length = transfer->path.n};
    if (transfer->path.n != 0)
        memcpy(job->path, transfer->path.p, transfer->path.n);
    return submit(transfer, job);
}

static bool submit_read(struct transfer *transfer, size_t wanted)
{
    struct job *job = h2o_mem_alloc(sizeof(*job));
    *job = (struct job){.offload = {.work = read_work, .done = read_done},
                        .file = transfer->file,
                        .chunk = transfer->chunk,
                        .wanted = wanted,
                        .offset = transfer->offset};
    if (!submit(transfer, job))
        return false;
    h2o_mem_addref_shared(transfer->chunk);
    return true;
}

/* -- the response ---------------------------------------------------------------------------- */

static const h2o_mimemap_type_t *type_of(const struct transfer *transfer)
{
    struct str path = transfer->path;
    if (path.n == 0 || path.p[path.n - 1] == '/')
        path = STR("index.html");
    return h2o_mimemap_get_type_by_extension(transfer->mount->types,
                                             h2o_get_filext(path.p, path.n));
}

/* Sends the head; the body follows by h2o_send(). */
static void begin(struct transfer *transfer, int status)
{
    struct http_request *request = transfer->request;
    const h2o_mimemap_type_t *type = type_of(transfer);
    struct tm tm;
    char *modified = h2o_mem_alloc_pool(request->pool, H2O_TIMESTR_RFC1123_LEN + 1);
    gmtime_r(&transfer->file.mtime.tv_sec, &tm);
    h2o_time2str_rfc1123(modified, &tm);

    http_add_header(request, "etag", (struct str){transfer->etag, transfer->etag_length});
    http_add_header(request, "last-modified", str_from(modified));
    if (transfer->mount->cache_control[0] != '\0')
        http_add_header(request, "cache-control", str_from(transfer->mount->cache_control));
    if (type->data.attr.is_compressible)
        http_add_header(request, "vary", STR("Accept-Encoding"));
    if (transfer->file.gzipped && status == 200)
        http_add_header(request, "content-encoding", STR("gzip"));
    transfer->begun = true;
    if (status == 304)
        http_reply_begin(request, status, NULL, SIZE_MAX, &transfer->generator);
    else
        http_reply_begin(request, status, type->data.mimetype.base, transfer->file.size,
                         &transfer->generator);
}

static void finish_empty(struct transfer *transfer)
{
    close_file(&transfer->file);
    h2o_send(transfer->request->h2o, NULL, 0, H2O_SEND_STATE_FINAL);
}

static void read_next(struct transfer *transfer)
{
    uint64_t left = transfer->file.size - transfer->offset;
    size_t wanted = left < CHUNK ? (size_t)left : CHUNK;
    if (!transfer->chunk)
        transfer->chunk = h2o_mem_alloc_shared(NULL, wanted, NULL);
    ssize_t got = static_read(&transfer->file, transfer->chunk, wanted, transfer->offset, false);
    if (got != -EAGAIN)
        on_chunk(transfer, got);
    else if (submit_read(transfer, wanted))
        return;
    else if (transfer->begun)
        timer_start(transfer->request->loop, &transfer->retry, RETRY_MS);
    else
        reply_problem(transfer, EBUSY);
}

static void on_retry(struct timer *timer)
{
    read_next(CONTAINER_OF(timer, struct transfer, retry));
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    (void)req;
    read_next(CONTAINER_OF(generator, struct transfer, generator));
}

static void on_chunk(struct transfer *transfer, ssize_t got)
{
    if (got <= 0) { /* an error, or the file has become shorter than was promised */
        if (!transfer->begun) {
            reply_problem(transfer, got < 0 ? (int)-got : EIO);
        } else {
            close_file(&transfer->file);
            h2o_send(transfer->request->h2o, NULL, 0, H2O_SEND_STATE_ERROR);
        }
        return;
    }
    if (!transfer->begun)
        begin(transfer, 200);
    transfer->offset += (uint64_t)got;
    bool last = transfer->offset == transfer->file.size;
    if (last)
        close_file(&transfer->file);
    h2o_iovec_t vec = {transfer->chunk, (size_t)got};
    h2o_send(transfer->request->h2o, &vec, 1,
             last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

static struct str header_list(const struct http_request *request, struct str name)
{
    return field_combined(request, name, ", ");
}

static void on_opened(struct transfer *transfer, int error)
{
    struct http_request *request = transfer->request;
    if (error != 0) {
        reply_problem(transfer, error);
        return;
    }
    const struct static_file *file = &transfer->file;
    transfer->etag_length = etag_format(transfer->etag, file->mtime, file->size, file->inode);
    const struct preconditions conditions = {
        .if_match = header_list(request, STR("if-match")),
        .if_unmodified_since = header_list(request, STR("if-unmodified-since")),
        .if_none_match = header_list(request, STR("if-none-match")),
        .if_modified_since = header_list(request, STR("if-modified-since")),
    };
    int status = preconditions_evaluate(
        &conditions, (struct str){transfer->etag, transfer->etag_length}, file->mtime.tv_sec);
    if (status == 412) {
        reply_problem(transfer, ECANCELED);
    } else if (status == 304 || file->size == 0 || str_eq(request->method, STR("HEAD"))) {
        begin(transfer, status);
        finish_empty(transfer);
    } else {
        read_next(transfer);
    }
}

static void serve(struct http_request *request, void *arg)
{
    struct http_static *mount = arg;
    struct transfer *transfer = h2o_mem_alloc_shared(request->pool, sizeof(*transfer), on_dispose);
    *transfer = (struct transfer){
        .generator = {.proceed = on_proceed, .stop = on_stop},
        .request = request,
        .mount = mount,
        .path = request->params[mount->rest],
        .file.fd = -1,
    };
    timer_init(&transfer->retry, on_retry);
    bool want_gzip = type_of(transfer)->data.attr.is_compressible &&
                     accepts_gzip(header_list(request, STR("accept-encoding")));
    int error = static_open(&mount->dir, transfer->path, want_gzip, false, &transfer->file);
    if (error != EAGAIN)
        on_opened(transfer, error);
    else if (!submit_open(transfer, want_gzip))
        reply_problem(transfer, EBUSY);
}

/* -- mounting -------------------------------------------------------------------------------- */

struct http_static *http_static_mount(struct http_server *server, const struct config *config,
                                      const struct config_static *item, struct offload *files,
                                      struct diag *diag)
{
    struct static_dir dir;
    if (item->dir.n == 0 || item->path.n == 0)
        return NULL; /* config/ has told what is missing */
    int error = static_dir_open(item->dir.p, &dir);
    if (error != 0) {
        diag_error(diag, config_pos(config, &item->dir), "cannot read the directory \"%s\": %s",
                   item->dir.p, strerror(error));
        return NULL;
    }
    struct http_static *mount = h2o_mem_alloc(sizeof(*mount));
    *mount = (struct http_static){.dir = dir, .files = files, .types = media_types_create()};
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
    static_dir_close(&mount->dir);
    h2o_mem_release_shared(mount->types);
    free(mount->pattern.base);
    free(mount);
}
