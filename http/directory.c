/* From a path to an open file without waiting for a disk: the loop asks the kernel for what it has
 * in memory, which is nearly always the answer; else the same is asked on an offload thread. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "http/http_internal.h"
#include "http/media_types.h"
#include "http/static_open.h"

struct http_dir {
    struct static_dir dir;
    struct offload *reads; /* borrowed */
    h2o_mimemap_t *types;  /* owned */
};

/* Whoever waits for a file. In the request's pool. */
struct search {
    struct http_request *request;
    const struct http_dir *dir;
    struct str path;
    const h2o_mimemap_type_t *type;
    bool coded;
    http_found_fn *found;
    void *arg;
    struct job *job; /* under way, or NULL */
};

/* Work on an offload thread. Its own memory until done() on the loop. */
struct job {
    struct offload_job offload;
    struct search *search; /* the loop's; NULL: the client left */
    const struct static_dir *dir;
    struct codings codings;
    bool index;
    int error;
    struct static_file file;
    size_t path_length;
    char path[];
};

struct http_dir *http_dir_open(const char *path, struct offload *reads, int *error_r)
{
    struct static_dir dir;
    *error_r = static_dir_open(path, &dir);
    if (*error_r != 0)
        return NULL;
    struct http_dir *opened = h2o_mem_alloc(sizeof(*opened));
    *opened = (struct http_dir){.dir = dir, .reads = reads, .types = media_types_create()};
    return opened;
}

void http_dir_close(struct http_dir **dir_p)
{
    struct http_dir *dir = *dir_p;
    *dir_p = NULL;
    if (dir == NULL)
        return;
    static_dir_close(&dir->dir);
    h2o_mem_release_shared(dir->types);
    free(dir);
}

int http_dir_list(const struct http_dir *dir, struct str path, int *fd_r)
{
    return static_open_listing(&dir->dir, path, fd_r);
}

int http_dir_stat(const struct http_dir *dir, struct str path, struct stat *stat_r)
{
    return static_stat(&dir->dir, path, stat_r);
}

const char *http_dir_type(const struct http_dir *dir, struct str name)
{
    return h2o_mimemap_get_type_by_extension(dir->types, h2o_get_filext(name.p, name.n))
        ->data.mimetype.base;
}

static void tell(const struct search *search, int error, const struct static_file *found)
{
    static const char *const names[CODINGS] = {[CODING_BROTLI] = "br", [CODING_GZIP] = "gzip"};
    if (error != 0) {
        search->found(search->request, error, NULL, search->arg);
        return;
    }
    char *etag = h2o_mem_alloc_pool(search->request->pool, ETAG_MAX);
    struct http_file file = {
        .fd = found->fd,
        .size = found->size,
        .in_memory = found->in_memory,
        .etag = {etag, etag_format(etag, found->mtime, found->size, found->inode)},
        .modified = found->mtime.tv_sec,
        .type = search->type->data.mimetype.base,
        .encoding = found->coding == CODINGS ? NULL : names[found->coding],
        .vary = search->coded,
    };
    search->found(search->request, 0, &file, search->arg);
}

static void open_work(struct offload_job *offload)
{
    struct job *job = CONTAINER_OF(offload, struct job, offload);
    job->error = static_open(job->dir, (struct str){job->path, job->path_length}, job->index,
                             &job->codings, true, &job->file);
}

static void open_done(struct offload_job *offload)
{
    struct job *job = CONTAINER_OF(offload, struct job, offload);
    struct search *search = job->search;
    if (search != NULL) {
        search->job = NULL;
        tell(search, job->error, &job->file);
    } else if (job->error == 0) {
        close(job->file.fd);
    }
    free(job);
}

static void on_dispose(void *arg)
{
    struct search *search = arg;
    if (search->job != NULL)
        search->job->search = NULL;
}

/* False: the queue is full. */
static bool search_later(const struct search *what, unsigned flags, const struct codings *codings)
{
    struct http_request *request = what->request;
    struct job *job = h2o_mem_alloc(sizeof(*job) + what->path.n);
    struct search *search = h2o_mem_alloc_shared(request->pool, sizeof(*search), on_dispose);
    *search = *what;
    *job = (struct job){
        .offload = {.work = open_work, .done = open_done, .loop = request->loop},
        .search = search,
        .dir = &what->dir->dir,
        .codings = *codings,
        .index = (flags & HTTP_DIR_INDEX) != 0,
        .path_length = what->path.n,
    };
    if (what->path.n != 0)
        memcpy(job->path, what->path.p, what->path.n);
    if (!offload_submit(what->dir->reads, &job->offload)) {
        free(job);
        return false;
    }
    search->job = job;
    return true;
}

void http_dir_find(struct http_request *request, struct http_dir *dir, struct str path,
                   unsigned flags, http_found_fn *found, void *arg)
{
    bool index = (flags & HTTP_DIR_INDEX) != 0;
    struct search search = {
        .request = request, .dir = dir, .path = path, .found = found, .arg = arg};
    struct str name = path;
    if (index && (path.n == 0 || path.p[path.n - 1] == '/'))
        name = STR("index.html");
    search.type = h2o_mimemap_get_type_by_extension(dir->types, h2o_get_filext(name.p, name.n));
    search.coded = (flags & HTTP_DIR_CODED) != 0 && search.type->data.attr.is_compressible;
    struct codings codings = {0};
    if (search.coded)
        codings = accepted_codings(field_combined(request, STR("accept-encoding"), ", "));
    struct static_file file;
    int error = static_open(&dir->dir, path, index, &codings, false, &file);
    if (error != EAGAIN)
        tell(&search, error, &file);
    else if (!search_later(&search, flags, &codings))
        tell(&search, EBUSY, NULL);
}
