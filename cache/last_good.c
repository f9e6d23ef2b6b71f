/* The folder of last good answers. All that touches it runs on an offload thread, one job at a
 * time, but for the loading, which comes before all of them. */
#include "cache/last_good.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "base/buf.h"
#include "base/folders.h"
#include "base/log.h"

enum {
    INTERVAL_MS = 10 * 1000, /* between two files of one answer */
    RECENT = 1024,
    MAX_FILES = 65536,
    MAX_FILE = 64 << 20,
    NAME_LENGTH = 32, /* of a file: a digest, hexadecimal */
};

struct recent {
    _Atomic uint64_t hash, at_ms;
};

struct last_good {
    int dir;
    char *path; /* owned */
    uint64_t max_bytes, bytes;
    struct offload *disk;
    pthread_mutex_t lock; /* whoever works in the folder */
    struct recent recent[RECENT];
    _Atomic uint64_t purges; /* what was to be saved before one isn't any more */
};

/* -- files ------------------------------------------------------------------------------------ */

/* The same name for the same answer, in every run. */
static void name_of(const struct cache_entry *entry, char name_r[NAME_LENGTH + 1])
{
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, entry->key.p, entry->key.n);
    for (size_t i = 0; i < entry->vary_count; i++) {
        const struct str pieces[] = {entry->vary_names[i], entry->vary_values[i]};
        for (size_t j = 0; j < COUNT(pieces); j++) {
            uint64_t n = pieces[j].p != NULL ? pieces[j].n : UINT64_MAX;
            XXH3_128bits_update(&state, &n, sizeof(n));
            if (pieces[j].n != 0)
                XXH3_128bits_update(&state, pieces[j].p, pieces[j].n);
        }
    }
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    snprintf(name_r, NAME_LENGTH + 1, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

static bool is_name(const char *name)
{
    return strlen(name) == NAME_LENGTH && strspn(name, "0123456789abcdef") == NAME_LENGTH;
}

/* False: errno. */
static bool read_file(const struct last_good *lg, const char *name, struct buf *to)
{
    int fd = openat(lg->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return false;
    bool fine = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (!fine)
        errno = EINVAL;
    fine = fine && (st.st_size <= MAX_FILE && buf_reserve(to, (size_t)st.st_size + 1));
    for (ssize_t n = 1; fine && n != 0;) {
        if (!buf_reserve(to, 4096))
            break;
        n = read(fd, to->p + to->n, to->capacity - to->n);
        fine = n >= 0;
        to->n += n > 0 ? (size_t)n : 0;
    }
    int error = errno;
    close(fd);
    errno = error;
    return fine;
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n != 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = (struct str){bytes.p + n, bytes.n - (size_t)n};
    }
    return true;
}

static bool replace_file(const struct last_good *lg, const char *name, struct str bytes)
{
    static const char temporary[] = "saving.tmp";
    int fd =
        openat(lg->dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool fine = write_all(fd, bytes) && fsync(fd) == 0;
    fine = close(fd) == 0 && fine;
    fine = fine && renameat(lg->dir, temporary, lg->dir, name) == 0 && fsync(lg->dir) == 0;
    if (!fine) {
        int error = errno;
        unlinkat(lg->dir, temporary, 0);
        errno = error;
    }
    return fine;
}

/* -- all of them ------------------------------------------------------------------------------ */

struct file {
    char name[NAME_LENGTH + 1];
    uint64_t size;
    struct timespec changed;
};

static int by_age(const void *va, const void *vb)
{
    const struct timespec *a = &((const struct file *)va)->changed,
                          *b = &((const struct file *)vb)->changed;
    if (a->tv_sec != b->tv_sec)
        return a->tv_sec < b->tv_sec ? -1 : 1;
    return (a->tv_nsec > b->tv_nsec) - (a->tv_nsec < b->tv_nsec);
}

/* The oldest first; malloc'd. What isn't named like one of ours is somebody else's. */
static struct file *list(struct last_good *lg, size_t *count_r)
{
    struct file *files = NULL;
    size_t count = 0, room = 0;
    int fd = dup(lg->dir);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    *count_r = 0;
    if (dir == NULL)
        return NULL;
    rewinddir(dir);
    for (struct dirent *it; (it = readdir(dir)) != NULL && count < MAX_FILES;) {
        struct stat st;
        if (!is_name(it->d_name) || fstatat(lg->dir, it->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (count == room) {
            room = room != 0 ? 2 * room : 64;
            files = h2o_mem_realloc(files, room * sizeof(*files));
        }
        struct file *file = &files[count++];
        memcpy(file->name, it->d_name, NAME_LENGTH + 1);
        file->size = (uint64_t)st.st_size;
        file->changed = st.st_mtim;
    }
    closedir(dir);
    if (count != 0)
        qsort(files, count, sizeof(*files), by_age);
    *count_r = count;
    return files;
}

/* Counts what there is, and takes the oldest away until it fits. */
static void prune(struct last_good *lg)
{
    size_t count;
    struct file *files = list(lg, &count);
    lg->bytes = 0;
    for (size_t i = 0; i < count; i++)
        lg->bytes += files[i].size;
    for (size_t i = 0; i < count && lg->bytes > lg->max_bytes; i++) {
        unlinkat(lg->dir, files[i].name, 0);
        lg->bytes -= files[i].size;
    }
    free(files);
}

/* -- opening, loading ------------------------------------------------------------------------- */

struct last_good *last_good_open(const char *dir, uint64_t max_bytes, struct offload *disk,
                                 int *error_r)
{
    *error_r = folders_make(dir, 0700);
    if (*error_r != 0)
        return NULL;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || faccessat(fd, ".", R_OK | W_OK | X_OK, 0) != 0) {
        *error_r = errno;
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct last_good *lg = h2o_mem_alloc(sizeof(*lg));
    memset(lg, 0, sizeof(*lg));
    lg->dir = fd;
    lg->path = strdup(dir);
    lg->max_bytes = max_bytes;
    lg->disk = disk;
    pthread_mutex_init(&lg->lock, NULL);
    return lg;
}

void last_good_close(struct last_good **lg_p)
{
    struct last_good *lg = *lg_p;
    *lg_p = NULL;
    if (lg == NULL)
        return;
    close(lg->dir);
    pthread_mutex_destroy(&lg->lock);
    free(lg->path);
    free(lg);
}

static void load_file(struct last_good *lg, const char *name, struct cache_store *store)
{
    struct buf bytes;
    char own_name[NAME_LENGTH + 1] = "";
    buf_init(&bytes, MAX_FILE + 8192);
    struct cache_entry *entry = NULL;
    bool was_read = read_file(lg, name, &bytes);
    if (was_read)
        entry = last_good_decode(buf_str(&bytes));
    if (entry != NULL)
        name_of(entry, own_name);
    if (entry == NULL || strcmp(name, own_name) != 0) {
        log_event(LOG_WARN, "last good answer ignored", "file=%s/%s why=%s", lg->path, name,
                  was_read ? "damaged" : strerrordesc_np(errno));
        if (was_read)
            unlinkat(lg->dir, name, 0);
    } else {
        cache_store_put(store, entry, cache_store_epoch(store));
    }
    cache_entry_unref(&entry);
    buf_fini(&bytes);
}

void last_good_load(struct last_good *lg, struct cache_store *store)
{
    size_t count;
    prune(lg);
    struct file *files = list(lg, &count);
    for (size_t i = 0; i < count; i++)
        load_file(lg, files[i].name, store);
    free(files);
}

/* -- saving ----------------------------------------------------------------------------------- */

struct save {
    struct offload_job job;
    struct last_good *lg;
    struct cache_entry *entry; /* held */
    uint64_t purges;
};

static void save_end(struct save *save)
{
    cache_entry_unref(&save->entry);
    free(save);
}

static void save_dropped(struct offload_job *job)
{
    save_end(CONTAINER_OF(job, struct save, job));
}

static void save_work(struct offload_job *job)
{
    static _Atomic bool complained;
    struct save *save = CONTAINER_OF(job, struct save, job);
    struct last_good *lg = save->lg;
    char name[NAME_LENGTH + 1];
    name_of(save->entry, name);
    struct str bytes = last_good_encode(save->entry);
    pthread_mutex_lock(&lg->lock);
    if (save->purges != atomic_load(&lg->purges) || bytes.n > lg->max_bytes || bytes.n > MAX_FILE) {
        /* purged meanwhile; or too large: one answer is no reason to lose all others */
    } else if (replace_file(lg, name, bytes)) {
        lg->bytes += bytes.n;
        if (lg->bytes > lg->max_bytes)
            prune(lg);
    } else if (!atomic_exchange(&complained, true)) {
        log_event(LOG_WARN, "last good answers can't be kept", "folder=%s why=%s", lg->path,
                  strerrordesc_np(errno));
    }
    pthread_mutex_unlock(&lg->lock);
    free((char *)(uintptr_t)bytes.p);
    save_end(save);
}

/* One of its hash was written within the interval. A race writes it twice. */
static bool is_recent(struct last_good *lg, uint64_t hash)
{
    struct recent *recent = &lg->recent[hash % RECENT];
    uint64_t now_ms = clock_us() / 1000;
    if (atomic_load(&recent->hash) == hash && now_ms < atomic_load(&recent->at_ms) + INTERVAL_MS)
        return true;
    atomic_store(&recent->hash, hash);
    atomic_store(&recent->at_ms, now_ms);
    return false;
}

void last_good_save(struct last_good *lg, struct cache_entry *entry)
{
    uint64_t hash = entry->hash;
    for (size_t i = 0; i < entry->vary_count; i++)
        if (entry->vary_values[i].n != 0)
            hash ^= XXH3_64bits(entry->vary_values[i].p, entry->vary_values[i].n) + i;
    if (is_recent(lg, hash))
        return;
    struct save *save = h2o_mem_alloc(sizeof(*save));
    *save = (struct save){.job = {.work = save_work, .dropped = save_dropped},
                          .lg = lg,
                          .entry = cache_entry_ref(entry),
                          .purges = atomic_load(&lg->purges)};
    if (offload_submit(lg->disk, &save->job))
        return;
    save_end(save);
    atomic_store(&lg->recent[hash % RECENT].hash, 0);
}

/* -- purging ---------------------------------------------------------------------------------- */

struct purge {
    struct offload_job job;
    struct last_good *lg;
    bool by_tag;
    size_t n;
    char text[];
};

static void purge_dropped(struct offload_job *job)
{
    free(CONTAINER_OF(job, struct purge, job));
}

static bool is_meant(const struct purge *purge, const struct cache_entry *entry)
{
    if (!purge->by_tag)
        return entry->key.n >= purge->n && memcmp(entry->key.p, purge->text, purge->n) == 0;
    for (size_t i = 0; i < entry->tag_count; i++)
        if (str_eq(entry->tags[i], (struct str){purge->text, purge->n}))
            return true;
    return false;
}

static void purge_work(struct offload_job *job)
{
    struct purge *purge = CONTAINER_OF(job, struct purge, job);
    struct last_good *lg = purge->lg;
    size_t count;
    pthread_mutex_lock(&lg->lock);
    struct file *files = list(lg, &count);
    for (size_t i = 0; i < count; i++) {
        struct buf bytes;
        buf_init(&bytes, MAX_FILE + 8192);
        struct cache_entry *entry =
            read_file(lg, files[i].name, &bytes) ? last_good_decode(buf_str(&bytes)) : NULL;
        if (entry != NULL && is_meant(purge, entry))
            unlinkat(lg->dir, files[i].name, 0);
        cache_entry_unref(&entry);
        buf_fini(&bytes);
    }
    free(files);
    pthread_mutex_unlock(&lg->lock);
    for (size_t i = 0; i < RECENT; i++) /* what comes next is to be kept again */
        atomic_store(&lg->recent[i].hash, 0);
    free(purge);
}

void last_good_purge(struct last_good *lg, struct str prefix, struct str tag)
{
    struct str what = tag.p != NULL ? tag : prefix;
    atomic_fetch_add(&lg->purges, 1);
    struct purge *purge = h2o_mem_alloc(sizeof(*purge) + what.n);
    *purge = (struct purge){.job = {.work = purge_work, .dropped = purge_dropped},
                            .lg = lg,
                            .by_tag = tag.p != NULL,
                            .n = what.n};
    if (what.n != 0)
        memcpy(purge->text, what.p, what.n);
    if (!offload_submit(lg->disk, &purge->job)) {
        log_event(LOG_WARN, "last good answers weren't purged", "why=%s", "the disk is behind");
        free(purge);
    }
}
