/* LD_PRELOAD: getaddrinfo() answers names from a file, ZONE_NAMES, that a test may replace
 * meanwhile: a line each, "promo.zone 127.0.0.1 127.0.0.2 ::1". Other names are looked up as ever.
 *
 *     gcc -shared -fPIC -o zone_names.so zone_names.c */
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* The addresses of a line, in its order. Each comes in a list of its own; what joins them is that
 * freeaddrinfo() frees element by element. */
static int answer(char *ips, const char *service, struct addrinfo **found_r)
{
    getaddrinfo_fn *next = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
    const struct addrinfo numeric = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    char *rest = ips, *ip;
    *found_r = NULL;
    while ((ip = strsep(&rest, " ")) != NULL) {
        if (ip[0] == '\0')
            continue;
        int failed = next(ip, service, &numeric, found_r);
        if (failed)
            return failed;
        while (*found_r != NULL)
            found_r = &(*found_r)->ai_next;
    }
    return 0;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found_r)
{
    const char *path = getenv("ZONE_NAMES");
    FILE *zone = path != NULL && host != NULL ? fopen(path, "re") : NULL;
    char line[1024];
    size_t n = host != NULL ? strlen(host) : 0;
    while (zone != NULL && fgets(line, sizeof(line), zone) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, host, n) == 0 && line[n] == ' ') {
            fclose(zone);
            return answer(line + n, service, found_r);
        }
    }
    if (zone != NULL)
        fclose(zone);
    getaddrinfo_fn *next = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
    return next(host, service, hints, found_r);
}
