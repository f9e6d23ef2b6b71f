/* Each operation is a chain of jobs on the disk's threads and writes of the store's, one at a time;
 * whoever is last calls end(). */
#include "files/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <h2o/memory.h>
#include "base/log.h"
#include "files/storage_internal.h"

enum {
    SLICE = 8 * 1024 * 1024, /* bytes read back in one job */
    PIECE = 64 * 1024        /* and in one read */
};

void partial_init(struct partial *partial, struct storage *storage, struct loop *loop,
                  struct str id)
{
    gw_assert(id.n == STORE_ID);
    *partial = (struct partial){.storage = storage, .loop = loop, .state = PARTIAL_ABSENT};
    memcpy(partial->id, id.p, STORE_ID);
    incoming_init(&partial->incoming, storage);
    partial->incoming.in_partial = true;
    memcpy(partial->incoming.id, partial->id, sizeof(partial->id));
    partial->sha256 = partial->incoming.file.digests[0];
    partial->incoming.file.digests[0] = NULL;
}

void partial_fini(struct partial *partial)
{
    partial->incoming.file.digests[0] = partial->sha256;
    incoming_fini(&partial->incoming);
    free(partial->commit.records);
    free(partial->record.memory);
    free(partial->file.memory);
}

/* -- operations -- */

static void begin(struct partial *partial, void (*done)(struct partial *partial))
{
    gw_assert(partial->done == NULL);
    partial->done = done;
    partial->result = STORAGE_OK;
}

static void end(struct partial *partial, enum storage_result result)
{
    void (*done)(struct partial * partial) = partial->done;
    partial->done = NULL;
    partial->result = result;
    done(partial);
}

static void submit_job(struct partial *partial, void (*work)(struct offload_job *job),
                       void (*done)(struct offload_job *job))
{
    partial->job = (struct offload_job){.work = work, .done = done, .loop = partial->loop};
    if (!offload_submit(storage_disk(partial->storage), &partial->job))
        end(partial, STORAGE_BUSY);
}

static struct partial *of_job(struct offload_job *job)
{
    return CONTAINER_OF(job, struct partial, job);
}

/* -- the record -- */

static void on_recorded(struct store_write *write)
{
    struct partial *partial = CONTAINER_OF(write, struct partial, write);
    if (write->result == STORE_OK) {
        partial->record = partial->next;
        partial->state = PARTIAL_OPEN;
    }
    end(partial, storage_from_store(write->result));
}

/* `next`, with a new time to live. */
static void put_record(struct partial *partial)
{
    const struct config_upload *config = storage_config(partial->storage);
    partial->next.expires_ms = clock_unix_ms() + (int64_t)config->expire_after_ms;
    partial->write = (struct store_write){
        .put_partial = &partial->next, .done = on_recorded, .loop = partial->loop};
    if (!store_submit(storage_store(partial->storage), &partial->write))
        end(partial, STORAGE_BUSY);
}

static struct str copied(char **at, struct str text)
{
    struct str copy = {*at, text.n};
    if (text.n != 0)
        memcpy(*at, text.p, text.n);
    *at += text.n;
    return copy;
}

void partial_create(struct partial *partial, const struct partial_record *record,
                    void (*done)(struct partial *partial))
{
    begin(partial, done);
    struct str route = storage_config(partial->storage)->name;
    char *at = h2o_mem_alloc(1 + route.n + record->name.n + record->type.n + record->owner.n +
                             record->metadata.n);
    partial->record.memory = at;
    partial->next = (struct partial_record){.id = {partial->id, STORE_ID},
                                            .route = copied(&at, route),
                                            .name = copied(&at, record->name),
                                            .type = copied(&at, record->type),
                                            .owner = copied(&at, record->owner),
                                            .metadata = copied(&at, record->metadata),
                                            .size = record->size,
                                            .created_ms = clock_unix_ms(),
                                            .memory = partial->record.memory};
    put_record(partial);
}

/* -- opening; on an offload thread -- */

/* A partial upload that becomes whole is always found as the one or the other: it is looked for in
 * the order in which it moves. */
static enum partial_state find_record(struct partial *partial)
{
    struct store *store = storage_store(partial->storage);
    struct str id = {partial->id, STORE_ID}, route = storage_config(partial->storage)->name;
    free(partial->record.memory);
    partial->record = (struct partial_record){.memory = NULL};
    enum store_result result = store_find_partial(store, id, &partial->record);
    if (result == STORE_OK) {
        if (!str_eq(partial->record.route, route))
            return PARTIAL_ABSENT;
        return partial->record.expires_ms <= clock_unix_ms() ? PARTIAL_EXPIRED : PARTIAL_OPEN;
    }
    if (result == STORE_ABSENT) {
        result = store_find_file(store, id, &partial->file);
        if (result == STORE_OK)
            return str_eq(partial->file.route, route) ? PARTIAL_WHOLE : PARTIAL_ABSENT;
        if (result == STORE_ABSENT)
            return PARTIAL_ABSENT;
    }
    partial->result = storage_from_store(result);
    return PARTIAL_BROKEN;
}

static enum partial_state broken(struct partial *partial, const char *what, int error)
{
    partial->result = storage_error(partial->storage, what, error);
    return PARTIAL_BROKEN;
}

/* The record tells whether there is a file to open, and is read again when nobody else can change
 * either any more. */
static enum partial_state open_file(struct partial *partial)
{
    char path[STORAGE_PATH];
    struct stat info;
    enum partial_state state = find_record(partial);
    if (state != PARTIAL_OPEN)
        return state;
    int make = partial->record.offset == 0 ? O_CREAT : 0, *fd = &partial->incoming.file.fd;
    storage_path(path, STORAGE_PARTIAL, partial->id);
    *fd = openat(storage_dir(partial->storage), path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | make, 0600);
    if (*fd < 0)
        return broken(partial, "open a partial upload", errno);
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? PARTIAL_HELD
                                    : broken(partial, "lock a partial upload", errno);
    state = find_record(partial);
    if (state != PARTIAL_OPEN)
        return state;
    if (fstat(*fd, &info) != 0)
        return broken(partial, "look at a partial upload", errno);
    if (info.st_nlink == 0) /* removed between our opening and locking it */
        return PARTIAL_HELD;
    if ((uint64_t)info.st_size < partial->record.offset) {
        log_event(LOG_ERROR, "a partial upload is shorter than its record", "id=%s", partial->id);
        partial->result = STORAGE_FAILED;
        return PARTIAL_BROKEN;
    }
    if ((uint64_t)info.st_size > partial->record.offset &&
        ftruncate(*fd, (off_t)partial->record.offset) != 0)
        return broken(partial, "cut a partial upload", errno);
    partial->incoming.file.offset = partial->record.offset;
    return PARTIAL_OPEN;
}

static void open_work(struct offload_job *job)
{
    struct partial *partial = of_job(job);
    partial->state = partial->writing ? open_file(partial) : find_record(partial);
    if (partial->state != PARTIAL_OPEN && partial->incoming.file.fd >= 0) {
        close(partial->incoming.file.fd);
        partial->incoming.file.fd = -1;
    }
}

static void on_opened(struct offload_job *job)
{
    struct partial *partial = of_job(job);
    end(partial, partial->result);
}

void partial_open(struct partial *partial, bool writing, void (*done)(struct partial *partial))
{
    begin(partial, done);
    partial->writing = writing;
    partial->state = PARTIAL_BROKEN;
    submit_job(partial, open_work, on_opened);
}

/* -- saving -- */

/* The file's name in .partial/ must be as durable as what is in it. */
static int sync_folder(struct partial *partial)
{
    int fd =
        openat(storage_dir(partial->storage), STORAGE_PARTIAL, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return error;
}

static void sync_work(struct offload_job *job)
{
    struct partial *partial = of_job(job);
    int error = fdatasync(partial->incoming.file.fd) != 0 ? errno : 0;
    if (error == 0 && partial->record.offset == 0)
        error = sync_folder(partial);
    if (error != 0)
        partial->result = storage_error(partial->storage, "sync a partial upload", error);
}

static void on_synced(struct offload_job *job)
{
    struct partial *partial = of_job(job);
    if (partial->result != STORAGE_OK)
        end(partial, partial->result);
    else
        put_record(partial);
}

void partial_save(struct partial *partial, uint64_t offset, uint64_t size,
                  void (*done)(struct partial *partial))
{
    gw_assert(offset >= partial->record.offset && offset < size);
    begin(partial, done);
    partial->next = partial->record;
    partial->next.offset = offset;
    partial->next.size = size;
    submit_job(partial, sync_work, on_synced);
}

/* -- finishing -- */

void partial_digest_now(struct partial *partial)
{
    gw_assert(partial->incoming.file.offset == 0);
    partial->digesting = true;
    partial->incoming.file.digests[0] = partial->sha256;
}

static void on_committed(struct storage_commit *commit)
{
    struct partial *partial = CONTAINER_OF(commit, struct partial, commit);
    if (commit->result == STORAGE_OK)
        partial->state = PARTIAL_WHOLE;
    end(partial, commit->result);
}

static void make_whole(struct partial *partial)
{
    partial->incoming.file.digests[0] = partial->sha256;
    partial->incoming.name = partial->record.name;
    partial->files[0] = &partial->incoming;
    partial->commit = (struct storage_commit){.storage = partial->storage,
                                              .files = partial->files,
                                              .count = 1,
                                              .ticket = partial->ticket,
                                              .owner = partial->record.owner,
                                              .fields = partial->fields,
                                              .remove_partial = {partial->id, STORE_ID},
                                              .done = on_committed,
                                              .loop = partial->loop};
    if (!storage_commit(&partial->commit))
        end(partial, STORAGE_BUSY);
}

static void digest_work(struct offload_job *job)
{
    struct partial *partial = of_job(job);
    struct spool_file *file = &partial->incoming.file;
    uint64_t end_at =
        file->offset - partial->digested > SLICE ? partial->digested + SLICE : file->offset;
    char *piece = h2o_mem_alloc(PIECE);
    while (partial->digested < end_at && partial->result == STORAGE_OK) {
        size_t want =
            end_at - partial->digested < PIECE ? (size_t)(end_at - partial->digested) : PIECE;
        ssize_t n = pread(file->fd, piece, want, (off_t)partial->digested);
        if (n <= 0) {
            partial->result =
                storage_error(partial->storage, "read a partial upload", n < 0 ? errno : EIO);
            break;
        }
        digest_update(partial->sha256, piece, (size_t)n);
        partial->digested += (uint64_t)n;
    }
    free(piece);
}

static void on_digested(struct offload_job *job)
{
    struct partial *partial = of_job(job);
    if (partial->result != STORAGE_OK)
        end(partial, partial->result);
    else if (partial->digested < partial->incoming.file.offset)
        submit_job(partial, digest_work, on_digested);
    else
        make_whole(partial);
}

void partial_finish(struct partial *partial, uint64_t size, struct str fields,
                    struct ticket *ticket, void (*done)(struct partial *partial))
{
    gw_assert(partial->incoming.file.offset == size);
    begin(partial, done);
    partial->fields = fields;
    partial->ticket = ticket;
    if (partial->digesting)
        make_whole(partial);
    else
        submit_job(partial, digest_work, on_digested);
}

/* -- removing -- */

static void on_record_removed(struct store_write *write)
{
    struct partial *partial = CONTAINER_OF(write, struct partial, write);
    if (write->result != STORE_OK) {
        end(partial, storage_from_store(write->result));
        return;
    }
    char path[STORAGE_PATH];
    if (write->partial_removed) /* else who did has given the bytes back */
        storage_uncount(partial->storage, partial->record.owner, partial_counted(&partial->record));
    storage_discard(partial->storage, storage_path(path, STORAGE_PARTIAL, partial->id),
                    partial->incoming.file.fd);
    partial->incoming.file.fd = -1;
    partial->state = PARTIAL_ABSENT;
    end(partial, STORAGE_OK);
}

void partial_terminate(struct partial *partial, void (*done)(struct partial *partial))
{
    begin(partial, done);
    partial->write = (struct store_write){.remove_partial = {partial->id, STORE_ID},
                                          .done = on_record_removed,
                                          .loop = partial->loop};
    if (!store_submit(storage_store(partial->storage), &partial->write))
        end(partial, STORAGE_BUSY);
}
