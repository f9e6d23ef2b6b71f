/* getaddrinfo() of the tests' own, for libcurl too: so a look-up that curl would begin by itself is
 * seen. Include it once in a program. */
#ifndef TESTS_UPSTREAMS_RESOLVER_H
#define TESTS_UPSTREAMS_RESOLVER_H

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic unsigned lookups;      /* begun, of any name */
static _Atomic unsigned elsewhere;    /* of these, not on one of the offload's threads */
static _Atomic int slow_fd;           /* look-ups of "slow.test" end when this pipe is closed */
static const char *_Atomic addresses; /* of "promo.test", blank separated; NULL: unknown */
static const char *_Atomic others;    /* of "spare.test", likewise */

struct found {
    struct addrinfo info; /* first: what freeaddrinfo() is given */
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
};

static struct addrinfo *address(const char *ip, struct addrinfo *next)
{
    struct found *found = calloc(1, sizeof(*found));
    bool is_v6 = strchr(ip, ':') != NULL;
    found->info = (struct addrinfo){.ai_family = is_v6 ? AF_INET6 : AF_INET,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_addrlen = is_v6 ? sizeof(found->v6) : sizeof(found->v4),
                                    .ai_addr = (struct sockaddr *)&found->v4,
                                    .ai_next = next};
    found->v4.sin_family = (sa_family_t)found->info.ai_family;
    inet_pton(found->info.ai_family, ip,
              is_v6 ? (void *)&found->v6.sin6_addr : (void *)&found->v4.sin_addr);
    return &found->info;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;
        free(info);
        info = next;
    }
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found_r)
{
    char thread[16] = "";
    (void)service;
    (void)hints;
    pthread_getname_np(pthread_self(), thread, sizeof(thread));
    atomic_fetch_add(&lookups, 1);
    atomic_fetch_add(&elsewhere, strcmp(thread, "names") != 0);
    *found_r = NULL;
    if (strcmp(host, "slow.test") == 0) {
        char byte;
        (void)!read(atomic_load(&slow_fd), &byte, 1);
        *found_r = address("127.0.0.1", NULL);
        return 0;
    }
    const char *text = strcmp(host, "promo.test") == 0   ? atomic_load(&addresses)
                       : strcmp(host, "spare.test") == 0 ? atomic_load(&others)
                                                         : NULL;
    if (text == NULL)
        return EAI_NONAME;
    char copy[256], *rest = copy;
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *ip; (ip = strsep(&rest, " ")) != NULL;)
        *found_r = address(ip, *found_r); /* the last one comes first */
    return 0;
}

#endif
