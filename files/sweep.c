/* What a crash has left: temporary files that nobody writes, and files without a record.
 *
 * Other processes may be at work in the same directory, and so is this one while the sweep runs.
 * Whoever makes a file holds it with flock() until its record is committed, so what can be locked
 * and still has no record is nobody's. Names that aren't ids are not ours. */
#include "files/storage_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/log.h"

typedef bool wanted_fn(struct storage *storage, struct str id);

static bool never_wanted(struct storage *storage, struct str id)
{
    (void)storage, (void)id;
    return false;
}

/* A store that can't tell is no reason to remove anything. */
static bool has_file_record(struct storage *storage, struct str id)
{
    struct file_record record = {.memory = NULL};
    enum store_result result = store_find_file(storage->store, id, &record);
    if (result == STORE_OK)
        free(record.memory);
    return result != STORE_ABSENT;
}

static bool has_partial_record(struct storage *storage, struct str id)
{
    struct partial_record record = {.memory = NULL};
    enum store_result result = store_find_partial(storage->store, id, &record);
    if (result == STORE_OK)
        free(record.memory);
    return result != STORE_ABSENT;
}

static bool remove_orphan(struct storage *storage, const char *path, struct str id,
                          wanted_fn *wanted)
{
    int fd = openat(storage->dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    /* Asked again: it may have become whole between the first look and the lock. */
    bool removed = flock(fd, LOCK_EX | LOCK_NB) == 0 && !wanted(storage, id) &&
                   unlinkat(storage->dir, path, 0) == 0;
    close(fd);
    return removed;
}

static unsigned sweep_folder(struct storage *storage, const char *folder, wanted_fn *wanted)
{
    unsigned removed = 0;
    int fd =
        openat(storage->dir, folder[0] != '\0' ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
    if (entries == NULL) {
        storage_error(storage, "sweep", errno);
        if (fd >= 0)
            close(fd);
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        char path[STORAGE_PATH];
        struct str id = str_from(entry->d_name);
        if (storage_id_valid(id) && !wanted(storage, id))
            removed += remove_orphan(storage, storage_path(path, folder, id.p), id, wanted);
    }
    closedir(entries);
    return removed;
}

void storage_sweep(struct storage *storage)
{
    unsigned removed = sweep_folder(storage, STORAGE_TMP, never_wanted);
    removed += sweep_folder(storage, STORAGE_PARTIAL, has_partial_record);
    removed += sweep_folder(storage, STORAGE_WHOLE, has_file_record);
    if (removed != 0)
        log_event(LOG_INFO, "swept", "upload=%s files=%u", log_quote(storage->config->name),
                  removed);
}
