/* Uploads that nobody goes on with. What is removed here can't be in use: an upload that has
 * expired is never opened again (410), and one that was opened before is held, by its lock in this
 * process and by flock() in others.
 *
 * The bytes go first, then the record: after a crash between the two it is still expired, and found
 * again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>
#include <h2o/memory.h>
#include "base/log.h"
#include "files/files_internal.h"
#include "files/lock.h"
#include "files/partial.h"
#include "files/storage_internal.h"

enum { BATCH = 100 };

struct removal {
    struct storage *storage;
    struct partial_record record; /* owned */
    struct store_write write;
};

/* On the store's thread. */
static void on_removed(struct store_write *write)
{
    struct removal *removal = CONTAINER_OF(write, struct removal, write);
    if (write->partial_removed)
        storage_uncount(removal->storage, removal->record.owner, partial_counted(&removal->record));
    free(removal->record.memory);
    free(removal);
}

/* The file's descriptor with flock() held, or -1. False: somebody is at it. */
static bool hold_bytes(struct storage *storage, const char *path, int *fd_r)
{
    *fd_r = openat(storage_dir(storage), path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd_r < 0)
        return errno == ENOENT;
    if (flock(*fd_r, LOCK_EX | LOCK_NB) == 0)
        return true;
    close(*fd_r);
    return false;
}

/* The record as it is now that nobody can change it any more: until a moment ago somebody may have
 * gone on with the upload, or ended it. */
static bool find_expired(struct storage *storage, struct str id, struct partial_record *record_r)
{
    if (store_find_partial(storage_store(storage), id, record_r) != STORE_OK)
        return false;
    if (record_r->expires_ms <= clock_unix_ms())
        return true;
    free(record_r->memory);
    return false;
}

static bool expire(struct storage *storage, struct str id)
{
    char path[STORAGE_PATH], name[STORE_ID + 1] = "";
    struct partial_record record;
    int fd;
    if (!storage_id_valid(id) || lock_held(id))
        return false;
    memcpy(name, id.p, STORE_ID);
    if (!hold_bytes(storage, storage_path(path, STORAGE_PARTIAL, name), &fd))
        return false;
    bool found = find_expired(storage, id, &record);
    bool removed = found && (fd < 0 || unlinkat(storage_dir(storage), path, 0) == 0);
    if (fd >= 0)
        close(fd);
    if (removed) {
        struct removal *removal = h2o_mem_alloc(sizeof(*removal));
        *removal = (struct removal){.storage = storage,
                                    .record = record,
                                    .write = {.remove_partial = record.id, .done = on_removed}};
        if (store_submit(storage_store(storage), &removal->write))
            return true;
        free(removal);
    }
    if (found)
        free(record.memory);
    return false;
}

bool tus_expire(struct upload_route *route)
{
    struct partial_record *records;
    size_t count, expired = 0;
    if (store_list_expired(storage_store(route->storage), route->config->name, clock_unix_ms(),
                           BATCH, &records, &count) != STORE_OK)
        return false;
    for (size_t i = 0; i < count; i++) {
        expired += expire(route->storage, records[i].id);
        free(records[i].memory);
    }
    free(records);
    if (expired != 0)
        log_event(LOG_INFO, "partial uploads expired", "upload=%s count=%zu",
                  log_quote(route->config->name), expired);
    return count == BATCH && expired != 0;
}
