/* LD_PRELOAD: the n-th allocation fails, or the n-th time that something is done to a regular file.
 *
 * FAILING names a file of eight 64-bit numbers, which the test shares with the process:
 *
 *     0  allocations until one fails; 0 = none does
 *     1  the same of what is done to files: writes, syncs, new names, lengths, files made
 *     2  errno of those that fail (ENOSPC when 0)
 *     3  1: all that come after the first fail, too
 *     4  allocations so far
 *     5  what was done to files so far
 *     6  failures so far
 *     7  1: a write fails by writing half
 *
 * Written into at any time. Without the variable nothing fails.
 *
 * Memory is glibc's own entry points: dlsym() needs memory itself. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);

enum { MEMORY, FILES, ERRNO, STAYS, MEMORY_COUNT, FILES_COUNT, FAILED, HALF, NUMBERS };

static _Atomic int64_t *shared; /* NULL: nothing fails */

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAILING");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, NUMBERS * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        shared = at;
}

/* Whether it is this one's turn. */
static bool fails(int what, int count)
{
    if (shared == NULL)
        return false;
    atomic_fetch_add(&shared[count], 1);
    int64_t left = atomic_load(&shared[what]);
    while (left > 0) {
        int64_t next = left > 1 ? left - 1 : atomic_load(&shared[STAYS]) == 1 ? 1 : 0;
        if (!atomic_compare_exchange_weak(&shared[what], &left, next))
            continue;
        if (left != 1)
            return false;
        atomic_fetch_add(&shared[FAILED], 1);
        return true;
    }
    return false;
}

/* -- memory -- */

static bool no_memory(void)
{
    if (!fails(MEMORY, MEMORY_COUNT))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n)
{
    return no_memory() ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
    return no_memory() ? NULL : __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
    return no_memory() ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return no_memory() ? NULL : __libc_memalign(alignment, n);
}

int posix_memalign(void **to, size_t alignment, size_t n)
{
    void *p = no_memory() ? NULL : __libc_memalign(alignment, n);
    if (p == NULL)
        return ENOMEM;
    *to = p;
    return 0;
}

/* -- files -- */

static bool is_file(int fd)
{
    struct stat st;
    int error = errno;
    bool is = shared != NULL && fd != STDERR_FILENO && fstat(fd, &st) == 0 &&
              S_ISREG(st.st_mode); /* what is said of the failure is for the test to read */
    errno = error;
    return is;
}

static bool no_disk(void)
{
    if (!fails(FILES, FILES_COUNT))
        return false;
    int64_t error = atomic_load(&shared[ERRNO]);
    errno = error != 0 ? (int)error : ENOSPC;
    return true;
}

/* n, or as many bytes as are written of them instead; -1: it failed. */
static ssize_t room(int fd, size_t n)
{
    if (!is_file(fd) || !no_disk())
        return (ssize_t)n;
    return atomic_load(&shared[HALF]) == 1 && n > 1 ? (ssize_t)(n / 2) : -1;
}

#define REAL(name)                 \
    static __typeof__(name) *real; \
    if (real == NULL)              \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t n)
{
    REAL(write);
    ssize_t left = room(fd, n);
    return left < 0 ? -1 : real(fd, bytes, (size_t)left);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    REAL(pwrite);
    ssize_t left = room(fd, n);
    return left < 0 ? -1 : real(fd, bytes, (size_t)left, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
    REAL(pwrite64);
    ssize_t left = room(fd, n);
    return left < 0 ? -1 : real(fd, bytes, (size_t)left, at);
}

ssize_t writev(int fd, const struct iovec *vecs, int count)
{
    REAL(writev);
    return is_file(fd) && no_disk() ? -1 : real(fd, vecs, count);
}

ssize_t pwritev(int fd, const struct iovec *vecs, int count, off_t at)
{
    REAL(pwritev);
    return is_file(fd) && no_disk() ? -1 : real(fd, vecs, count, at);
}

int fsync(int fd)
{
    REAL(fsync);
    return no_disk() ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return no_disk() ? -1 : real(fd);
}

int ftruncate(int fd, off_t n)
{
    REAL(ftruncate);
    return is_file(fd) && no_disk() ? -1 : real(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    REAL(ftruncate64);
    return is_file(fd) && no_disk() ? -1 : real(fd, n);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    REAL(fallocate);
    return no_disk() ? -1 : real(fd, mode, at, n);
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    return no_disk() ? -1 : real(from, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    REAL(renameat);
    return no_disk() ? -1 : real(from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    REAL(renameat2);
    return no_disk() ? -1 : real(from_dir, from, to_dir, to, flags);
}

int unlinkat(int dir, const char *path, int flags)
{
    REAL(unlinkat);
    return no_disk() ? -1 : real(dir, path, flags);
}

int openat(int dir, const char *path, int flags, ...)
{
    REAL(openat);
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return (flags & O_CREAT) != 0 && no_disk() ? -1 : real(dir, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return (flags & O_CREAT) != 0 && no_disk() ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    REAL(open64);
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return (flags & O_CREAT) != 0 && no_disk() ? -1 : real(path, flags, mode);
}
