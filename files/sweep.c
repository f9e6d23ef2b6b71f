/* What a crash has left: temporary files that nobody writes, and files without a record.
 *
 * Other processes may be at work in the same directory, and so is this one while the sweep runs.
 * Whoever makes a file holds it with flock() until its record is committed, so what can be locked
 * and still has no record is nobody's. Names that aren't ids are not ours.
 *
 * A database that was lost, or a configuration that names another one, must not take every file
 * along: what is older than the database can't be its crash's, and is left to whoever brings the
 * right one back. */
#include "files/storage_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
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

struct sweep {
    struct storage *storage;
    int64_t since_ms; /* what is older isn't touched */
    unsigned removed, older;
};

static bool is_older(int fd, int64_t since_ms)
{
    struct stat info;
    return fstat(fd, &info) != 0 ||
           (int64_t)info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1000000 < since_ms;
}

static void remove_orphan(struct sweep *sweep, const char *path, struct str id, wanted_fn *wanted)
{
    int dir = sweep->storage->dir;
    int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    /* Asked again: it may have become whole between the first look and the lock. */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && !wanted(sweep->storage, id)) {
        if (wanted != never_wanted && is_older(fd, sweep->since_ms))
            sweep->older++;
        else if (unlinkat(dir, path, 0) == 0)
            sweep->removed++;
    }
    close(fd);
}

static void sweep_folder(struct sweep *sweep, const char *folder, wanted_fn *wanted)
{
    struct storage *storage = sweep->storage;
    int fd =
        openat(storage->dir, folder[0] != '\0' ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
    if (entries == NULL) {
        storage_error(storage, "sweep", errno);
        if (fd >= 0)
            close(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        char path[STORAGE_PATH];
        struct str id = str_from(entry->d_name);
        if (storage_id_valid(id) && !wanted(storage, id))
            remove_orphan(sweep, storage_path(path, folder, id.p), id, wanted);
    }
    closedir(entries);
}

void storage_sweep(struct storage *storage)
{
    struct sweep sweep = {.storage = storage, .since_ms = store_made_ms(storage->store)};
    sweep_folder(&sweep, STORAGE_TMP, never_wanted);
    sweep_folder(&sweep, STORAGE_PARTIAL, has_partial_record);
    sweep_folder(&sweep, STORAGE_WHOLE, has_file_record);
    struct str name = storage->config->name;
    if (sweep.removed != 0)
        log_event(LOG_INFO, "swept", "upload=%s files=%u", log_quote(name), sweep.removed);
    if (sweep.older != 0)
        log_event(LOG_WARN,
                  "files without records are older than the database: is it the right one?",
                  "upload=%s files=%u", log_quote(name), sweep.older);
}
