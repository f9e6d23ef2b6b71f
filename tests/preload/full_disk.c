/* A disk on which no file gets longer than FULL_DISK_AT bytes: what goes past it fails with ENOSPC,
 * as the rest of a write that fits in part does. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

typedef ssize_t pwrite_fn(int fd, const void *bytes, size_t n, off_t at);

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    static pwrite_fn *real;
    static long long limit;
    if (real == NULL) {
        const char *text = getenv("FULL_DISK_AT");
        limit = text != NULL ? atoll(text) : 0;
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite");
    }
    if (at >= limit) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, bytes, (long long)n > limit - at ? (size_t)(limit - at) : n, at);
}
