/* The directory itself: made or checked, its paths, its errors, and what is removed from it.
 *
 * Removing a file of a gigabyte takes the disk a while, and whoever wants it gone doesn't wait: it
 * joins a list that one job at a time works off. */
#include "files/storage_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <h2o/memory.h>
#include "base/folders.h"
#include "base/log.h"
#include "base/text.h"

enum { LOG_EVERY_MS = 1000 };

/* -- removing -- */

static struct leftover *next_leftover(struct storage *storage)
{
    pthread_mutex_lock(&storage->lock);
    struct leftover *leftover = storage->leftovers;
    if (leftover != NULL)
        storage->leftovers = leftover->next;
    else
        storage->removing = false;
    pthread_mutex_unlock(&storage->lock);
    return leftover;
}

static void remove_leftovers(struct offload_job *job)
{
    struct storage *storage = CONTAINER_OF(job, struct storage, remove);
    struct leftover *leftover;
    while ((leftover = next_leftover(storage)) != NULL) {
        if (unlinkat(storage->dir, leftover->path, 0) != 0 && errno != ENOENT)
            storage_error(storage, "remove a file", errno);
        if (leftover->fd >= 0)
            close(leftover->fd);
        free(leftover);
    }
}

/* A job that the queue refuses is submitted by the next who comes here. */
void storage_go_on_removing(struct storage *storage)
{
    if (storage->leftovers != NULL && !storage->removing)
        storage->removing = offload_submit(storage->disk, &storage->remove);
}

void storage_discard(struct storage *storage, const char *path, int fd)
{
    struct leftover *leftover = h2o_mem_alloc(sizeof(*leftover));
    *leftover = (struct leftover){.fd = fd};
    gw_assert(strlen(path) < sizeof(leftover->path));
    strcpy(leftover->path, path);
    pthread_mutex_lock(&storage->lock);
    leftover->next = storage->leftovers;
    storage->leftovers = leftover;
    storage_go_on_removing(storage);
    pthread_mutex_unlock(&storage->lock);
}

/* -- the directory -- */

/* A power cut must not take the folders themselves, or what was answered from them goes along. */
static int sync_folders(int fd)
{
    int above = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fsync(fd) != 0 || (above >= 0 && fsync(above) != 0) ? errno : 0;
    if (above >= 0) /* else it is nothing that we have made */
        close(above);
    return error;
}

/* errno, or 0. */
static int make_folders(const char *dir)
{
    int error = folders_make(dir, 0700);
    int fd = error == 0 ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (error == 0 && fd < 0)
        error = errno;
    const char *const inner[] = {STORAGE_TMP, STORAGE_PARTIAL};
    for (size_t i = 0; i < COUNT(inner) && error == 0; i++)
        if (mkdirat(fd, inner[i], 0700) != 0 && errno != EEXIST)
            error = errno;
    if (error == 0)
        error = sync_folders(fd);
    if (fd >= 0)
        close(fd);
    return error;
}

static int check_folder(const char *dir)
{
    struct stat info;
    if (stat(dir, &info) != 0)
        return errno == ENOENT ? 0 : errno;
    if (!S_ISDIR(info.st_mode))
        return ENOTDIR;
    return access(dir, R_OK | W_OK | X_OK) != 0 ? errno : 0;
}

struct storage *storage_create(const struct config *config, const struct config_upload *upload,
                               struct store *store, struct offload *disk, struct diag *diag)
{
    struct storage *storage = h2o_mem_alloc(sizeof(*storage));
    *storage = (struct storage){.config = upload, .store = store, .disk = disk, .dir = -1};
    storage->remove = (struct offload_job){.work = remove_leftovers};
    pthread_mutex_init(&storage->lock, NULL);
    if (upload->dir.n == 0)
        return storage;
    int error = store != NULL ? make_folders(upload->dir.p) : 0;
    if (error == 0)
        error = check_folder(upload->dir.p);
    if (error == 0 && store != NULL) {
        storage->dir = open(upload->dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        error = storage->dir < 0 ? errno : 0;
    }
    if (error != 0)
        diag_error(diag, config_pos(config, &upload->dir), "cannot keep files in \"%s\": %s",
                   upload->dir.p, strerror(error));
    else if (store != NULL && !admission_init(storage))
        diag_error(diag, config_pos(config, &upload->dir),
                   "cannot read the records of the files in \"%s\"", upload->dir.p);
    return storage;
}

void storage_destroy(struct storage **storage_p)
{
    struct storage *storage = *storage_p;
    if (storage == NULL)
        return;
    remove_leftovers(&storage->remove);
    admission_fini(storage);
    if (storage->dir >= 0)
        close(storage->dir);
    pthread_mutex_destroy(&storage->lock);
    free(storage);
    *storage_p = NULL;
}

const struct config_upload *storage_config(const struct storage *storage)
{
    return storage->config;
}

struct store *storage_store(struct storage *storage)
{
    return storage->store;
}

struct offload *storage_disk(struct storage *storage)
{
    return storage->disk;
}

int storage_dir(const struct storage *storage)
{
    return storage->dir;
}

/* -- names -- */

void storage_new_id(char id_r[STORE_ID + 1])
{
    uint8_t bits[STORE_ID / 2];
    random_bytes(bits, sizeof(bits));
    hex_encode(bits, sizeof(bits), id_r);
}

bool storage_id_valid(struct str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (hex_value(id.p[i]) < 0 || (id.p[i] >= 'A' && id.p[i] <= 'F'))
            return false;
    return id.n == STORE_ID;
}

const char *storage_path(char path_r[STORAGE_PATH], const char *folder, const char *id)
{
    size_t n = strlen(folder);
    gw_assert(n < sizeof(".partial/") && strlen(id) == STORE_ID);
    memcpy(path_r, folder, n);
    memcpy(path_r + n, id, STORE_ID + 1);
    return path_r;
}

/* -- errors -- */

enum storage_result storage_error(const struct storage *storage, const char *what, int error)
{
    bool full = error == ENOSPC || error == EDQUOT;
    static _Atomic uint64_t logged_ms; /* a failing disk fails every upload */
    uint64_t now_ms = clock_us() / 1000, before_ms = atomic_load(&logged_ms);
    if ((before_ms == 0 || now_ms - before_ms >= LOG_EVERY_MS) &&
        atomic_compare_exchange_strong(&logged_ms, &before_ms, now_ms))
        log_event(full ? LOG_WARN : LOG_ERROR, full ? "disk full" : "file error",
                  "upload=%s action=%s error=%s", log_quote(storage->config->name),
                  log_quote(str_from(what)), log_quote(str_from(strerror(error))));
    return full ? STORAGE_DISK_FULL : STORAGE_FAILED;
}

enum storage_result storage_from_store(enum store_result result)
{
    static const enum storage_result results[] = {[STORE_OK] = STORAGE_OK,
                                                  [STORE_ABSENT] = STORAGE_ABSENT,
                                                  [STORE_FULL] = STORAGE_DISK_FULL,
                                                  [STORE_BUSY] = STORAGE_BUSY,
                                                  [STORE_FAILED] = STORAGE_FAILED};
    return results[result];
}
