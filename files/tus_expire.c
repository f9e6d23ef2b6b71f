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
    if (write->result == STORE_OK)
        storage_uncount(removal->storage, removal->record.owner, partial_counted(&removal->record));
    free(removal->record.memory);
    free(removal);
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

static bool expire(struct storage *storage, const struct partial_record *record)
{
    if (!storage_id_valid(record->id) || lock_held(record->id) ||
        !remove_bytes(storage, record->id))
        return false;
    struct removal *removal = h2o_mem_alloc(sizeof(*removal));
    *removal = (struct removal){.storage = storage,
                                .record = *record,
                                .write = {.remove_partial = record->id, .done = on_removed}};
    if (store_submit(storage_store(storage), &removal->write))
        return true;
    free(removal);
    return false;
}

void tus_expire(struct upload_route *route)
{
    struct partial_record *records;
    size_t count, expired = 0;
    if (store_list_expired(storage_store(route->storage), route->config->name, partial_now_ms(),
                           BATCH, &records, &count) != STORE_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        if (expire(route->storage, &records[i]))
            expired++;
        else
            free(records[i].memory);
    }
    free(records);
    if (expired != 0)
        log_event(LOG_INFO, "partial uploads expired", "upload=%s count=%zu",
                  log_quote(route->config->name), expired);
}
