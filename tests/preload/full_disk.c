/* A disk on which no file gets longer than FULL_DISK_AT bytes: what goes past it fails with ENOSPC,
 * as the rest of a write that fits in part does. With NO_PARTIALS none is made in .partial/. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef ssize_t pwrite_fn(int fd, const void *bytes, size_t n, off_t at);
typedef int openat_fn(int dir, const char *path, int flags, ...);

int openat(int dir, const char *path, int flags, ...)
{
    static openat_fn *real;
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "openat");
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    if ((flags & O_CREAT) != 0 && strncmp(path, ".partial/", 9) == 0 &&
        getenv("NO_PARTIALS") != NULL) {
        errno = ENOSPC;
        return -1;
    }
    return real(dir, path, flags, mode);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    static pwrite_fn *real;
    static long long limit;
    if (real == NULL) {
        const char *text = getenv("FULL_DISK_AT");
        limit = text != NULL ? atoll(text) : INT64_MAX;
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite");
    }
    if (at >= limit) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, bytes, (long long)n > limit - at ? (size_t)(limit - at) : n, at);
}
