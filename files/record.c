/* Records of uploaded files, for those who fetch them again and again.
 *
 * Reading the database may wait for the disk, so it is an offload thread's work. But a record never
 * changes and its file is under its id or gone, so each loop remembers the records that it served
 * last, with what the reply is made of, and asks nobody: a file that was deleted shows when it
 * can't be opened. Ids are random, so a set of the cache is picked by the id's own digits. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "files/download_internal.h"

enum { SETS = 256, WAYS = 4 }; /* 1024 records, about 1 MiB a loop at the very most */

struct record_cache {
    struct record *sets[SETS][WAYS]; /* refs; in a set, the one used last comes first */
};

/* Whoever waits for a record. In the request's pool. */
struct lookup {
    struct http_request *request;
    struct download *download;
    record_fn *found;
    struct lookup_job *job; /* under way, or NULL */
};

struct lookup_job {
    struct offload_job offload;
    struct lookup *lookup; /* the loop's; NULL: the client left */
    struct store *store;
    char id[STORE_ID];
    enum store_result result;
    struct file_record file;
};

/* -- remembering ------------------------------------------------------------------------------ */

static struct record **set_of(struct record_cache *cache, const char *id)
{
    return cache->sets[hex_value(id[0]) << 4 | hex_value(id[1])];
}

static void put_first(struct record **set, unsigned place, struct record *record)
{
    memmove(set + 1, set, place * sizeof(*set));
    set[0] = record;
}

static struct record *recall(struct record_cache *cache, const char *id)
{
    struct record **set = set_of(cache, id);
    for (unsigned i = 0; i < WAYS && set[i] != NULL; i++)
        if (memcmp(set[i]->id, id, STORE_ID) == 0) {
            put_first(set, i, set[i]);
            return set[0];
        }
    return NULL;
}

/* Takes over the caller's ref. */
static void remember(struct record_cache *cache, struct record *record)
{
    struct record **set = set_of(cache, record->id);
    if (recall(cache, record->id) != NULL) { /* two asked at the same time */
        h2o_mem_release_shared(record);
        return;
    }
    if (set[WAYS - 1] != NULL)
        h2o_mem_release_shared(set[WAYS - 1]);
    put_first(set, WAYS - 1, record);
}

static struct record_cache *cache_of(struct download *download, struct loop *loop)
{
    struct record_cache **cache = &download->records[loop_index(loop)];
    if (*cache == NULL) {
        *cache = h2o_mem_alloc(sizeof(**cache));
        memset(*cache, 0, sizeof(**cache));
    }
    return *cache;
}

void record_caches_destroy(struct download *download)
{
    for (unsigned i = 0; i < MAX_LOOPS; i++) {
        struct record_cache *cache = download->records[i];
        for (unsigned k = 0; cache != NULL && k < SETS * WAYS; k++)
            if (cache->sets[k / WAYS][k % WAYS] != NULL)
                h2o_mem_release_shared(cache->sets[k / WAYS][k % WAYS]);
        free(cache);
    }
}

/* -- a reply's parts -------------------------------------------------------------------------- */

static char *keep(char *to, struct str *kept_r, struct str text)
{
    kept_r->p = to;
    kept_r->n = text.n;
    if (text.n != 0)
        to = mempcpy(to, text.p, text.n);
    *to = '\0';
    return to + 1;
}

static struct record *record_create(const struct file_record *file, struct str disposition)
{
    enum { ETAG_DIGITS = 32 };
    char hex[2 * sizeof(file->sha256) + 1], base64[BASE64_LENGTH(sizeof(file->sha256)) + 1];
    char etag[ETAG_DIGITS + 16], digest[sizeof(base64) + 16];
    hex_encode(file->sha256, sizeof(file->sha256), hex);
    base64_encode(file->sha256, sizeof(file->sha256), base64);
    snprintf(etag, sizeof(etag), "\"sha256-%.*s\"", ETAG_DIGITS, hex);
    snprintf(digest, sizeof(digest), "sha-256=:%s:", base64);

    struct str type = file->type.n != 0 ? file->type : STR("application/octet-stream"), kept;
    size_t size = type.n + strlen(etag) + strlen(digest) + disposition.n + 4;
    struct record *record = h2o_mem_alloc_shared(NULL, sizeof(*record) + size, NULL);
    memcpy(record->id, file->id.p, STORE_ID);
    record->size = file->size;
    record->modified = (time_t)(file->created_ms / 1000);
    char *to = keep(record->text, &kept, type);
    record->type = kept.p;
    to = keep(to, &record->etag, str_from(etag));
    to = keep(to, &record->repr_digest, str_from(digest));
    keep(to, &record->disposition, disposition);
    return record;
}

/* -- looking up ------------------------------------------------------------------------------- */

static void lookup_work(struct offload_job *offload)
{
    struct lookup_job *job = CONTAINER_OF(offload, struct lookup_job, offload);
    job->result = store_find_file(job->store, (struct str){job->id, STORE_ID}, &job->file);
}

static void tell(const struct lookup *lookup, const struct file_record *file)
{
    struct http_request *request = lookup->request;
    struct download *download = lookup->download;
    if (!str_eq(file->route, download->config->from)) { /* another section's */
        lookup->found(request, ENOENT, NULL, download);
        return;
    }
    struct str disposition = http_disposition(
        request->pool, (enum config_disposition)download->config->disposition, file->name);
    struct record *record = record_create(file, disposition);
    h2o_mem_link_shared(request->pool, record);
    remember(cache_of(download, request->loop), record);
    lookup->found(request, 0, record, download);
}

static void lookup_done(struct offload_job *offload)
{
    struct lookup_job *job = CONTAINER_OF(offload, struct lookup_job, offload);
    struct lookup *lookup = job->lookup;
    if (lookup != NULL)
        lookup->job = NULL;
    if (lookup != NULL && job->result == STORE_OK)
        tell(lookup, &job->file);
    else if (lookup != NULL)
        lookup->found(lookup->request,
                      job->result == STORE_ABSENT ? ENOENT
                      : job->result == STORE_BUSY ? EBUSY
                                                  : EIO,
                      NULL, lookup->download);
    if (job->result == STORE_OK)
        free(job->file.memory);
    free(job);
}

static void on_dispose(void *arg)
{
    struct lookup *lookup = arg;
    if (lookup->job != NULL)
        lookup->job->lookup = NULL;
}

void record_find(struct http_request *request, struct download *download, struct str id,
                 record_fn *found)
{
    gw_assert(id.n == STORE_ID);
    struct record *record = recall(cache_of(download, request->loop), id.p);
    if (record != NULL) {
        h2o_mem_link_shared(request->pool, record);
        found(request, 0, record, download);
        return;
    }
    struct lookup *lookup = h2o_mem_alloc_shared(request->pool, sizeof(*lookup), on_dispose);
    struct lookup_job *job = h2o_mem_alloc(sizeof(*job));
    *lookup = (struct lookup){request, download, found, job};
    *job = (struct lookup_job){
        .offload = {.work = lookup_work, .done = lookup_done, .loop = request->loop},
        .lookup = lookup,
        .store = download->store,
    };
    memcpy(job->id, id.p, STORE_ID);
    if (!offload_submit(download->reads, &job->offload)) {
        lookup->job = NULL;
        free(job);
        found(request, EBUSY, NULL, download);
    }
}
