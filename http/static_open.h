/* From the rest of a request's path to an open file, never outside its directory. Private to
 * http/directory.c. */
#ifndef GW_HTTP_STATIC_OPEN_H
#define GW_HTTP_STATIC_OPEN_H

#include <sys/stat.h>
#include <time.h>
#include "http/conditional.h"

/* What the kernel can do for us. */
enum static_resolver {
    RESOLVE_WITHOUT_DISK, /* openat2(2) with RESOLVE_CACHED: Linux 5.12 */
    RESOLVE_BY_KERNEL,    /* openat2(2): Linux 5.6 */
    RESOLVE_BY_WALKING    /* component by component, following no symlink at all */
};

/* Read-only once open: any thread. */
struct static_dir {
    int fd; /* owned; O_PATH */
    enum static_resolver resolver;
    bool in_memory; /* a file system without a disk behind it */
    dev_t dev;
};

/* 0 or errno: not there, not a directory, not readable. */
int static_dir_open(const char *path, struct static_dir *dir_r);
void static_dir_close(struct static_dir *dir);

struct static_file {
    int fd; /* owned by whoever asked for it */
    uint64_t size, inode;
    struct timespec mtime;
    enum coding coding; /* CODINGS: it is the file asked for, not one beside it */
    bool in_memory;     /* reading it never waits */
};

/* Opens the regular file `path` (decoded, relative, client's). With `index` a path that is empty or
 * ends in '/' means index.html there. codings: the best of the file's ".br" and ".gz" that is there
 * and isn't older.
 *
 * 0 or errno. ENOENT also for what is there but not to be seen: hidden files, devices, what a
 * symlink points at outside. EISDIR for a directory, and without a look for a path that ends in '/'
 * when `index` is false. may_block false: EAGAIN when the answer isn't in the kernel's memory. Any
 * thread. */
int static_open(const struct static_dir *dir, struct str path, bool index,
                const struct codings *codings, bool may_block, struct static_file *file_r);

/* Opens the directory `path` ("" or "a/b/"), to be read; may wait. A descriptor in *fd_r, which
 * the caller owns, or errno, as above. */
int static_open_listing(const struct static_dir *dir, struct str path, int *fd_r);
/* Of the file or directory `path`, without opening it; may wait. 0 or errno, as above. */
int static_stat(const struct static_dir *dir, struct str path, struct stat *stat_r);

#endif
