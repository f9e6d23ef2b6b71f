/* LD_PRELOAD: getaddrinfo() hangs for names that end in ".slow", as with a resolver that doesn't
 * answer, and then says "try again". SLOW_NAMES_MS: how long, 5000 by default.
 * SLOW_NAMES_LOG: a file that gets a line "<thread's name> <host>" for each look-up of any name, so
 * that a test can see who looks names up.
 *
 *     gcc -shared -fPIC -o slow_names.so slow_names.c */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static void note(const char *host)
{
    const char *path = getenv("SLOW_NAMES_LOG");
    char thread[16] = "", line[300];
    if (path == NULL)
        return;
    pthread_getname_np(pthread_self(), thread, sizeof(thread));
    int n = snprintf(line, sizeof(line), "%s %s\n", thread, host != NULL ? host : "");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0) {
        ssize_t written = write(fd, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
        (void)written;
        close(fd);
    }
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found_r)
{
    static const char ending[] = ".slow";
    size_t n = host != NULL ? strlen(host) : 0, m = sizeof(ending) - 1;
    note(host);
    if (n > m && strcmp(host + n - m, ending) == 0) {
        const char *text = getenv("SLOW_NAMES_MS");
        long ms = text != NULL ? strtol(text, NULL, 10) : 5000;
        struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
        return EAI_AGAIN;
    }
    getaddrinfo_fn *next = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
    return next(host, service, hints, found_r);
}
