/* Addresses of host names. getaddrinfo() blocks for as long as it likes, so it runs on offload
 * threads, once for all upstreams, loops and calls that want the name. Who uses it is told when a
 * look-up has ended (endpoints.c), and reads what is known now.
 *
 *   nothing known --asked--> asking --answer--> known --older than refresh--> known, asking
 *                              |                  ^                              |
 *                              +--failed: calls fail for FAILURE_US    failed: old addresses stay,
 *                                                                      asked again, ever later
 *
 * curl itself never looks a name up: it is told where to connect, by number. */
#include "upstreams/internal.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <h2o/memory.h>

enum {
    FAILURE_US = 1000 * 1000, /* how long a failed first look-up is remembered */
    LONGEST_RETRY_US = 30 * 1000 * 1000,
    FULL_US = 100 * 1000 /* the offload queue was full */
};

struct name_user {
    struct upstream *upstream;
    struct name_user *next;
};

struct name {
    struct name *next;
    char *host;
    uint64_t refresh_us;
    struct name_user *users;
    pthread_mutex_t lock; /* guards what follows */
    struct ip ips[MAX_IPS];
    unsigned count;
    bool asking;
    uint64_t ask_at_us; /* when it isn't asking */
    unsigned failures;
    const char *error; /* of the last look-up; constant */
    struct offload_job job;
};

struct names {
    struct name *first;
};

static int compare_ips(const void *a, const void *b)
{
    return strcmp(((const struct ip *)a)->text, ((const struct ip *)b)->text);
}

/* Sorted: name servers like to turn the order of their answers, which changes nothing here. */
static unsigned read_ips(const struct addrinfo *found, struct ip ips_r[MAX_IPS])
{
    unsigned count = 0;
    for (; found != NULL && count < MAX_IPS; found = found->ai_next) {
        char text[INET6_ADDRSTRLEN];
        const struct sockaddr_in *v4 = (const void *)found->ai_addr;
        const struct sockaddr_in6 *v6 = (const void *)found->ai_addr;
        bool is_v6 = found->ai_family == AF_INET6;
        if (is_v6 && v6->sin6_scope_id != 0)
            continue; /* of one link only, which CURLOPT_CONNECT_TO can't name */
        inet_ntop(found->ai_family, is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr, text,
                  sizeof(text));
        snprintf(ips_r[count++].text, sizeof(ips_r->text), is_v6 ? "[%s]" : "%s", text);
    }
    if (count > 1)
        qsort(ips_r, count, sizeof(ips_r[0]), compare_ips);
    return count;
}

static uint64_t retry_after(const struct name *name)
{
    if (name->count == 0)
        return FAILURE_US;
    uint64_t us = (uint64_t)FAILURE_US << (name->failures < 6 ? name->failures - 1 : 5);
    us = us < LONGEST_RETRY_US ? us : LONGEST_RETRY_US;
    return us < name->refresh_us ? us : name->refresh_us;
}

/* On an offload thread. */
static void look_up(struct offload_job *job)
{
    struct name *name = CONTAINER_OF(job, struct name, job);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    struct ip ips[MAX_IPS];
    int failed = getaddrinfo(name->host, NULL, &hints, &found);
    unsigned count = failed ? 0 : read_ips(found, ips);
    if (!failed)
        freeaddrinfo(found);

    pthread_mutex_lock(&name->lock);
    uint64_t wait_us = name->refresh_us;
    if (count == 0) {
        name->error = failed ? gai_strerror(failed) : "the name has no usable address";
        name->failures++;
        wait_us = retry_after(name);
    } else {
        name->failures = 0;
        name->count = count;
        memcpy(name->ips, ips, count * sizeof(ips[0]));
    }
    name->asking = false;
    name->ask_at_us = clock_us() + wait_us;
    pthread_mutex_unlock(&name->lock);
    for (struct name_user *user = name->users; user != NULL; user = user->next)
        endpoints_changed(user->upstream);
}

static void ask(struct name *name, struct offload *offload, uint64_t now_us)
{
    name->job = (struct offload_job){.work = look_up};
    name->asking = offload_submit(offload, &name->job);
    if (name->asking)
        return;
    name->error = "too many names wait to be looked up";
    name->ask_at_us = now_us + FULL_US;
}

struct name_state name_read(struct name *name, struct offload *offload, uint64_t now_us,
                            struct ip ips_r[MAX_IPS])
{
    pthread_mutex_lock(&name->lock);
    if (offload != NULL && !name->asking && now_us >= name->ask_at_us)
        ask(name, offload, now_us);
    struct name_state state = {.count = name->count,
                               .asking = name->asking,
                               .ask_at_us = name->asking ? UINT64_MAX : name->ask_at_us,
                               .error = name->error};
    memcpy(ips_r, name->ips, name->count * sizeof(ips_r[0]));
    pthread_mutex_unlock(&name->lock);
    return state;
}

struct names *names_create(void)
{
    struct names *names = h2o_mem_alloc(sizeof(*names));
    names->first = NULL;
    return names;
}

void names_destroy(struct names **names_p)
{
    struct names *names = *names_p;
    *names_p = NULL;
    while (names != NULL && names->first != NULL) {
        struct name *name = names->first;
        names->first = name->next;
        while (name->users != NULL) {
            struct name_user *user = name->users;
            name->users = user->next;
            free(user);
        }
        pthread_mutex_destroy(&name->lock);
        free(name->host);
        free(name);
    }
    free(names);
}

static void add_user(struct name *name, struct upstream *up)
{
    for (struct name_user *user = name->users; user != NULL; user = user->next)
        if (user->upstream == up)
            return;
    struct name_user *user = h2o_mem_alloc(sizeof(*user));
    *user = (struct name_user){.upstream = up, .next = name->users};
    name->users = user;
}

struct name *names_add(struct names *names, const char *host, struct upstream *user)
{
    struct name *name = names->first;
    while (name != NULL && strcmp(name->host, host) != 0)
        name = name->next;
    if (name == NULL) {
        name = h2o_mem_alloc(sizeof(*name));
        *name = (struct name){.next = names->first, .refresh_us = UINT64_MAX};
        name->host = h2o_strdup(NULL, host, SIZE_MAX).base;
        pthread_mutex_init(&name->lock, NULL);
        names->first = name;
    }
    uint64_t refresh_us = user->config->resolve_every_ms * 1000;
    if (refresh_us < name->refresh_us)
        name->refresh_us = refresh_us;
    add_user(name, user);
    return name;
}
