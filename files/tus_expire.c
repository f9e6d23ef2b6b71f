/* Uploads that nobody goes on with. What is removed here can't be in use: an upload that has
 * expired is never opened again (410), and one that was opened before is held, by its lock in this
 * process and by flock() in others.
 *
 * The bytes go first, then the record: after a crash between the two it is still expired, and found
 * again. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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

/* What waits for the store. */
struct batch {
    pthread_mutex_t lock;
    pthread_cond_t over;
    unsigned pending;
};

struct removal {
    struct storage *storage;
    struct batch *batch;
    struct partial_record record; /* owned */
    struct store_write write;
};

/* On the store's thread. */
static void on_removed(struct store_write *write)
{
    struct removal *removal = CONTAINER_OF(write, struct removal, write);
    if (write->result == STORE_OK)
        storage_uncount(removal->storage, removal->record.owner, partial_counted(&removal->record));
    struct batch *batch = removal->batch;
    free(removal->record.memory);
    free(removal);
    pthread_mutex_lock(&batch->lock);
    if (--batch->pending == 0)
        pthread_cond_signal(&batch->over);
    pthread_mutex_unlock(&batch->lock);
}

/* False: somebody is at it. */
static bool remove_bytes(struct storage *storage, struct str id)
{
    char path[STORAGE_PATH], name[STORE_ID + 1] = "";
    memcpy(name, id.p, STORE_ID);
    storage_path(path, STORAGE_PARTIAL, name);
    int dir = storage_dir(storage), fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT;
    bool ours = flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(dir, path, 0) == 0;
    close(fd);
    return ours;
}

static bool expire(struct storage *storage, const struct partial_record *record,
                   struct batch *batch)
{
    if (!storage_id_valid(record->id) || lock_held(record->id) ||
        !remove_bytes(storage, record->id))
        return false;
    struct removal *removal = h2o_mem_alloc(sizeof(*removal));
    *removal = (struct removal){.storage = storage,
                                .batch = batch,
                                .record = *record,
                                .write = {.remove_partial = record->id, .done = on_removed}};
    pthread_mutex_lock(&batch->lock);
    batch->pending++;
    pthread_mutex_unlock(&batch->lock);
    if (store_submit(storage_store(storage), &removal->write))
        return true;
    pthread_mutex_lock(&batch->lock);
    batch->pending--;
    pthread_mutex_unlock(&batch->lock);
    free(removal);
    return false;
}

bool tus_expire(struct upload_route *route)
{
    struct batch batch = {.lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};
    struct partial_record *records;
    size_t count, expired = 0;
    if (store_list_expired(storage_store(route->storage), route->config->name, partial_now_ms(),
                           BATCH, &records, &count) != STORE_OK)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (expire(route->storage, &records[i], &batch))
            expired++;
        else
            free(records[i].memory);
    }
    free(records);
    /* The next list must not have them: their bytes would be counted down twice. */
    pthread_mutex_lock(&batch.lock);
    while (batch.pending != 0)
        pthread_cond_wait(&batch.over, &batch.lock);
    pthread_mutex_unlock(&batch.lock);
    if (expired != 0)
        log_event(LOG_INFO, "partial uploads expired", "upload=%s count=%zu",
                  log_quote(route->config->name), expired);
    return count == BATCH && expired != 0;
}
