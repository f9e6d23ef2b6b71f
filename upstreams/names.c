/* Addresses of host names. getaddrinfo() blocks for as long as it likes, so it runs on offload
 * threads, once for all loops and calls that want the name; what came is shared as an immutable
 * text in the form that CURLOPT_RESOLVE takes, with a version that tells loops when to read again.
 *
 *   nothing known --asked--> asking --answer--> known --older than refresh--> known, asking
 *                              |                  ^                              |
 *                              +--failed: calls fail for FAILURE_US    failed: old addresses stay,
 *                                                                      asked again, ever later
 *
 * curl itself never looks a name up: see refuse_lookup() in client.c. */
#include "upstreams/internal.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <h2o/memory.h>

enum {
    MAX_ADDRESSES = 16,
    FAILURE_US = 1000 * 1000, /* how long a failed first look-up is remembered */
    LONGEST_RETRY_US = 30 * 1000 * 1000,
    FULL_US = 100 * 1000 /* the offload queue was full */
};

struct name {
    struct name *next;
    char *host;
    uint64_t refresh_us;
    _Atomic uint32_t version;   /* of `current`; 0 = none */
    _Atomic uint64_t ask_at_us; /* UINT64_MAX while asking */
    struct room room;           /* its lock guards what follows */
    struct addresses *current;
    bool asking;
    unsigned failures;
    const char *error; /* of the last look-up; constant */
    struct offload_job job;
};

struct names {
    struct name *first;
};

static struct addresses *addresses_ref(struct addresses *addresses)
{
    atomic_fetch_add(&addresses->refs, 1);
    return addresses;
}

void addresses_unref(struct addresses **addresses_p)
{
    struct addresses *addresses = *addresses_p;
    *addresses_p = NULL;
    if (addresses != NULL && atomic_fetch_sub(&addresses->refs, 1) == 1)
        free(addresses);
}

/* NULL when there is none that can be connected to. */
static struct addresses *addresses_from(const struct addrinfo *found)
{
    struct buf text;
    unsigned count = 0;
    buf_init(&text, MAX_ADDRESSES * (INET6_ADDRSTRLEN + 3));
    for (; found != NULL && count < MAX_ADDRESSES; found = found->ai_next) {
        char ip[INET6_ADDRSTRLEN];
        const struct sockaddr_in *v4 = (const void *)found->ai_addr;
        const struct sockaddr_in6 *v6 = (const void *)found->ai_addr;
        bool is_v6 = found->ai_family == AF_INET6;
        if (is_v6 && v6->sin6_scope_id != 0)
            continue; /* CURLOPT_RESOLVE can't say on which link */
        inet_ntop(found->ai_family, is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr, ip,
                  sizeof(ip));
        buf_printf(&text, "%s%s%s%s", count ? "," : "", is_v6 ? "[" : "", ip, is_v6 ? "]" : "");
        count++;
    }
    struct addresses *addresses = NULL;
    if (count != 0) {
        addresses = h2o_mem_alloc(sizeof(*addresses) + text.n + 1);
        *addresses = (struct addresses){.refs = 1, .count = count};
        memcpy(addresses->text, text.p, text.n + 1);
    }
    buf_fini(&text);
    return addresses;
}

static uint64_t retry_after(const struct name *name)
{
    if (name->current == NULL)
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
    int failed = getaddrinfo(name->host, NULL, &hints, &found);
    struct addresses *addresses = failed ? NULL : addresses_from(found);
    if (!failed)
        freeaddrinfo(found);

    pthread_mutex_lock(&name->room.lock);
    uint64_t wait_us = name->refresh_us;
    name->asking = false;
    if (addresses == NULL) {
        name->error = failed ? gai_strerror(failed) : "the name has no usable address";
        name->failures++;
        wait_us = retry_after(name);
    } else {
        name->failures = 0;
        if (name->current == NULL || strcmp(name->current->text, addresses->text) != 0) {
            addresses->version = atomic_load(&name->version) + 1;
            addresses_unref(&name->current);
            name->current = addresses;
            atomic_store(&name->version, addresses->version);
        } else {
            addresses_unref(&addresses);
        }
    }
    atomic_store(&name->ask_at_us, clock_us() + wait_us);
    while (!h2o_linklist_is_empty(&name->room.attempts))
        room_let_out(H2O_STRUCT_FROM_MEMBER(struct attempt, waiting, name->room.attempts.next));
    pthread_mutex_unlock(&name->room.lock);
}

static void ask(struct name *name, struct offload *offload, uint64_t now_us)
{
    name->job = (struct offload_job){.work = look_up};
    name->asking = offload_submit(offload, &name->job);
    if (!name->asking)
        name->error = "too many names wait to be looked up";
    atomic_store(&name->ask_at_us, name->asking ? UINT64_MAX : now_us + FULL_US);
}

enum name_answer name_get(struct name *name, struct offload *offload, uint64_t now_us,
                          struct addresses **known, struct attempt *attempt, const char **error_r)
{
    if (now_us < atomic_load(&name->ask_at_us) && *known != NULL &&
        (*known)->version == atomic_load(&name->version))
        return NAME_KNOWN;

    enum name_answer answer = NAME_FAILED;
    pthread_mutex_lock(&name->room.lock);
    if (now_us >= atomic_load(&name->ask_at_us))
        ask(name, offload, now_us);
    if (name->current != NULL) {
        addresses_unref(known);
        *known = addresses_ref(name->current);
        answer = NAME_KNOWN;
    } else if (name->asking) {
        if (attempt != NULL)
            room_enter(&name->room, attempt);
        answer = NAME_WAITING;
    } else {
        *error_r = name->error;
    }
    pthread_mutex_unlock(&name->room.lock);
    return answer;
}

bool name_leave(struct name *name, struct attempt *attempt)
{
    pthread_mutex_lock(&name->room.lock);
    bool left = room_leave(attempt);
    pthread_mutex_unlock(&name->room.lock);
    return left;
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
        room_fini(&name->room);
        addresses_unref(&name->current);
        free(name->host);
        free(name);
    }
    free(names);
}

struct name *names_add(struct names *names, const char *host, uint64_t refresh_ms)
{
    struct name *name = names->first;
    while (name != NULL && strcmp(name->host, host) != 0)
        name = name->next;
    if (name == NULL) {
        name = h2o_mem_alloc(sizeof(*name));
        *name = (struct name){.next = names->first, .refresh_us = UINT64_MAX};
        name->host = h2o_strdup(NULL, host, SIZE_MAX).base;
        room_init(&name->room);
        names->first = name;
    }
    if (refresh_ms * 1000 < name->refresh_us)
        name->refresh_us = refresh_ms * 1000;
    return name;
}
