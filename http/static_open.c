/* The kernel keeps a path inside its directory (RESOLVE_BENEATH), whatever symlinks and renames do
 * meanwhile; checking strings could not. On the loop it is asked to answer from memory only. */
#include "http/static_open.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* A FIFO must not wait for its other end; regular files don't care. */
#define FILE_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

#define LISTING_FLAGS (O_RDONLY | O_CLOEXEC | O_DIRECTORY)

#define INDEX_FILE "index.html"

enum { SUFFIX = 4 }; /* room for one, NUL included */
static const char suffixes[CODINGS][SUFFIX] = {[CODING_BROTLI] = ".br", [CODING_GZIP] = ".gz"};

static int open_beneath(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve};
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static enum static_resolver find_resolver(int dir)
{
    static const uint64_t resolve[] = {
        [RESOLVE_WITHOUT_DISK] = RESOLVE_CACHED, [RESOLVE_BY_KERNEL] = 0};
    for (unsigned i = 0; i < COUNT(resolve); i++) {
        int fd = open_beneath(dir, ".", O_PATH | O_CLOEXEC, resolve[i]);
        if (fd >= 0) {
            close(fd);
            return (enum static_resolver)i;
        }
    }
    return RESOLVE_BY_WALKING; /* ENOSYS, or EPERM from a container's filter */
}

int static_dir_open(const char *path, struct static_dir *dir_r)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    struct stat st;
    struct statfs fs;
    if (faccessat(AT_FDCWD, path, R_OK | X_OK, AT_EACCESS) != 0 || fstat(fd, &st) != 0 ||
        fstatfs(fd, &fs) != 0) {
        int error = errno;
        close(fd);
        return error;
    }
    *dir_r = (struct static_dir){
        .fd = fd,
        .resolver = find_resolver(fd),
        .in_memory = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC,
        .dev = st.st_dev,
    };
    return 0;
}

void static_dir_close(struct static_dir *dir)
{
    close(dir->fd);
    dir->fd = -1;
}

/* Neither empty nor hidden segments, which takes care of "." and ".." too; the last one may be
 * empty, as in "css/". */
static bool path_allowed(struct str path)
{
    if (path.n != 0 && memchr(path.p, '\0', path.n))
        return false;
    for (size_t i = 0; i < path.n; i++) {
        bool starts = i == 0 || path.p[i - 1] == '/';
        if (starts && (path.p[i] == '.' || path.p[i] == '/'))
            return false;
    }
    return true;
}

static int open_by_walking(int dir, const char *path, int last_flags)
{
    int at = dir;
    for (;;) {
        char segment[NAME_MAX + 1];
        const char *slash = strchrnul(path, '/');
        size_t n = (size_t)(slash - path);
        int next = -1;
        if (n < sizeof(segment)) {
            memcpy(segment, path, n);
            segment[n] = '\0';
            int flags = *slash ? O_PATH | O_DIRECTORY | O_CLOEXEC : last_flags;
            next = openat(at, segment, flags | O_NOFOLLOW);
        } else {
            errno = ENAMETOOLONG;
        }
        int error = errno;
        if (at != dir)
            close(at);
        errno = error;
        if (next < 0 || !*slash)
            return next;
        at = next;
        path = slash + 1;
    }
}

static int open_once(const struct static_dir *dir, const char *path, int flags, bool may_block)
{
    if (dir->resolver == RESOLVE_BY_WALKING)
        return open_by_walking(dir->fd, path, flags);
    return open_beneath(dir->fd, path, (uint64_t)flags, may_block ? 0 : RESOLVE_CACHED);
}

/* EXDEV is a way out of the directory, ELOOP a symlink (or too many), ENXIO a socket. */
static bool means_absent(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EXDEV || error == ELOOP ||
           error == ENAMETOOLONG || error == ENXIO || error == ENODEV;
}

static int open_any(const struct static_dir *dir, const char *path, int flags, bool may_block,
                    int *fd_r)
{
    int fd = open_once(dir, path, flags, may_block);
    /* A rename near by makes the kernel unsure that the path stayed inside. */
    for (int tries = 0; fd < 0 && may_block && errno == EAGAIN && tries < 10; tries++)
        fd = open_once(dir, path, flags, may_block);
    *fd_r = fd;
    if (fd < 0)
        return means_absent(errno) ? ENOENT : errno == EAGAIN && may_block ? EBUSY : errno;
    return 0;
}

static int open_regular(const struct static_dir *dir, const char *path, bool may_block,
                        struct static_file *file_r)
{
    int fd, error = open_any(dir, path, FILE_FLAGS, may_block, &fd);
    if (error != 0)
        return error;
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        error = S_ISDIR(st.st_mode) ? EISDIR : ENOENT;
        close(fd);
        return error;
    }
    *file_r = (struct static_file){
        .fd = fd,
        .size = (uint64_t)st.st_size,
        .inode = st.st_ino,
        .mtime = st.st_mtim,
        .coding = CODINGS,
        .in_memory = dir->in_memory && st.st_dev == dir->dev,
    };
    return 0;
}

static bool is_older(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

/* Puts the best of what lies beside *file in its place. `end` is that of its name. */
static int open_coded(const struct static_dir *dir, const char *name, char *end,
                      const struct codings *codings, bool may_block, struct static_file *file)
{
    for (unsigned i = 0; i < codings->count; i++) {
        struct static_file coded;
        memcpy(end, suffixes[codings->best[i]], SUFFIX);
        int error = open_regular(dir, name, may_block, &coded);
        if (error == EAGAIN) {
            close(file->fd);
            return error;
        }
        if (error != 0)
            continue;
        if (is_older(coded.mtime, file->mtime)) {
            close(coded.fd);
            continue;
        }
        close(file->fd);
        *file = coded;
        file->coding = codings->best[i];
        break;
    }
    return 0;
}

int static_open(const struct static_dir *dir, struct str path, bool index,
                const struct codings *codings, bool may_block, struct static_file *file_r)
{
    char name[PATH_MAX];
    if (path.n + sizeof(INDEX_FILE) + SUFFIX > sizeof(name) || !path_allowed(path))
        return ENOENT;
    if (!index && (path.n == 0 || path.p[path.n - 1] == '/'))
        return EISDIR;
    if (!may_block && dir->resolver != RESOLVE_WITHOUT_DISK)
        return EAGAIN;
    char *end = name;
    if (path.n != 0)
        end = mempcpy(end, path.p, path.n);
    if (end == name || end[-1] == '/')
        end = mempcpy(end, INDEX_FILE, sizeof(INDEX_FILE) - 1);
    *end = '\0';
    int error = open_regular(dir, name, may_block, file_r);
    return error != 0 ? error : open_coded(dir, name, end, codings, may_block, file_r);
}

/* Opens whatever `path` is, with a slash at its end or without. */
static int open_path(const struct static_dir *dir, struct str path, int flags, int *fd_r)
{
    char name[PATH_MAX];
    if (path.n >= sizeof(name) || !path_allowed(path))
        return ENOENT;
    if (path.n != 0 && path.p[path.n - 1] == '/')
        path.n--;
    if (path.n != 0)
        memcpy(name, path.p, path.n);
    memcpy(name + path.n, path.n == 0 ? "." : "", path.n == 0 ? 2 : 1);
    return open_any(dir, name, flags, true, fd_r);
}

int static_open_listing(const struct static_dir *dir, struct str path, int *fd_r)
{
    return open_path(dir, path, LISTING_FLAGS, fd_r);
}

int static_stat(const struct static_dir *dir, struct str path, struct stat *stat_r)
{
    int fd, error = open_path(dir, path, O_PATH | O_CLOEXEC, &fd);
    if (error != 0)
        return error;
    if (fstat(fd, stat_r) != 0 || (!S_ISREG(stat_r->st_mode) && !S_ISDIR(stat_r->st_mode)))
        error = ENOENT;
    close(fd);
    return error;
}
