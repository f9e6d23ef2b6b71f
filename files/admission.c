/* Who may begin an upload: places, quotas, and what the file system has left.
 *
 * Bytes are counted in memory, from the records at start and by tickets from then on: an upload is
 * let in or refused without a look at the database, and two that come at once can't both have the
 * last megabyte. */
#include "files/storage_internal.h"

#include <stdlib.h>
#include <sys/statvfs.h>
#include <h2o/memory.h>

enum { LOOK_EVERY_MS = 1000, FIRST_BUCKETS = 64 };

struct owner {
    struct owner *next; /* of the same bucket */
    uint64_t bytes;     /* recorded or reserved; never 0 */
    size_t n;
    char name[];
};

/* -- owners (lock held) -- */

/* FNV-1a from a seed of this process's own, as addresses are the clients' to choose. */
static size_t bucket_of(const struct storage *storage, struct str name)
{
    uint64_t hash = storage->seed;
    for (size_t i = 0; i < name.n; i++)
        hash = (hash ^ (unsigned char)name.p[i]) * 0x100000001b3;
    return (size_t)(hash ^ hash >> 32) & (storage->bucket_count - 1);
}

static struct owner **find_owner(struct storage *storage, struct str name)
{
    struct owner **at = &storage->owners[bucket_of(storage, name)];
    while (*at != NULL && !str_eq((struct str){(*at)->name, (*at)->n}, name))
        at = &(*at)->next;
    return at;
}

static void grow_buckets(struct storage *storage)
{
    struct owner **before = storage->owners;
    size_t count = storage->bucket_count;
    storage->bucket_count = count != 0 ? 2 * count : FIRST_BUCKETS;
    storage->owners = h2o_mem_alloc(storage->bucket_count * sizeof(struct owner *));
    memset(storage->owners, 0, storage->bucket_count * sizeof(struct owner *));
    for (size_t i = 0; i < count; i++)
        for (struct owner *owner = before[i], *next; owner != NULL; owner = next) {
            next = owner->next;
            struct owner **at = find_owner(storage, (struct str){owner->name, owner->n});
            owner->next = NULL;
            *at = owner;
        }
    free(before);
}

static void add(struct storage *storage, struct str name, uint64_t bytes)
{
    storage->bytes += bytes;
    if (storage->config->client_quota == 0 || bytes == 0)
        return;
    if (storage->owner_count >= storage->bucket_count)
        grow_buckets(storage);
    struct owner **at = find_owner(storage, name);
    if (*at == NULL) {
        *at = h2o_mem_alloc(sizeof(**at) + name.n);
        **at = (struct owner){.n = name.n};
        memcpy((*at)->name, name.p, name.n);
        storage->owner_count++;
    }
    (*at)->bytes += bytes;
}

/* A file that another process has recorded may be removed here, where it was never counted. */
static void subtract(struct storage *storage, struct str name, uint64_t bytes)
{
    storage->bytes -= bytes < storage->bytes ? bytes : storage->bytes;
    if (storage->bucket_count == 0)
        return;
    struct owner **at = find_owner(storage, name), *owner = *at;
    if (owner == NULL)
        return;
    owner->bytes -= bytes < owner->bytes ? bytes : owner->bytes;
    if (owner->bytes == 0) {
        *at = owner->next;
        free(owner);
        storage->owner_count--;
    }
}

static bool fits(uint64_t quota, uint64_t used, uint64_t more)
{
    return quota == 0 || more == 0 || (used <= quota && more <= quota - used);
}

static enum storage_result add_within_quotas(struct storage *storage, struct str name,
                                             uint64_t bytes)
{
    uint64_t client_quota = storage->config->client_quota;
    if (client_quota != 0) {
        struct owner *owner = storage->bucket_count != 0 ? *find_owner(storage, name) : NULL;
        if (!fits(client_quota, owner != NULL ? owner->bytes : 0, bytes))
            return STORAGE_CLIENT_QUOTA;
    }
    if (!fits(storage->config->quota, storage->bytes, bytes))
        return STORAGE_QUOTA;
    add(storage, name, bytes);
    return STORAGE_OK;
}

/* -- the file system -- */

static void look(struct offload_job *job)
{
    struct storage *storage = CONTAINER_OF(job, struct storage, look);
    struct statvfs info;
    uint64_t left = UINT64_MAX;
    if (fstatvfs(storage->dir, &info) == 0)
        left = (uint64_t)info.f_bavail * info.f_frsize;
    atomic_store(&storage->free_bytes, left);
    atomic_store(&storage->looked_ms, clock_us() / 1000);
    atomic_store(&storage->looking, false);
}

/* By what was seen in the last second; asking anew may wait for the disk, so it is for the next. */
static bool disk_has(struct storage *storage, uint64_t bytes)
{
    if (clock_us() / 1000 - atomic_load(&storage->looked_ms) < LOOK_EVERY_MS)
        return bytes < atomic_load(&storage->free_bytes);
    if (!atomic_exchange(&storage->looking, true) && !offload_submit(storage->disk, &storage->look))
        atomic_store(&storage->looking, false);
    return true;
}

/* -- from outside -- */

static void count_recorded(void *arg, struct str owner, uint64_t bytes)
{
    add(arg, owner, bytes);
}

bool admission_init(struct storage *storage)
{
    storage->look = (struct offload_job){.work = look};
    look(&storage->look);
    random_bytes(&storage->seed, sizeof(storage->seed));
    return store_each_owner(storage->store, storage->config->name, count_recorded, storage) ==
           STORE_OK;
}

void admission_fini(struct storage *storage)
{
    for (size_t i = 0; i < storage->bucket_count; i++)
        while (storage->owners[i] != NULL) {
            struct owner *owner = storage->owners[i];
            storage->owners[i] = owner->next;
            free(owner);
        }
    free(storage->owners);
}

enum storage_result ticket_take(struct ticket *ticket_r, struct storage *storage, struct str owner,
                                uint64_t bytes)
{
    enum storage_result result = disk_has(storage, bytes) ? STORAGE_OK : STORAGE_DISK_FULL;
    *ticket_r = (struct ticket){0};
    pthread_mutex_lock(&storage->lock);
    if (storage->under_way >= storage->config->max_concurrent)
        result = STORAGE_BUSY;
    if (result == STORAGE_OK)
        result = add_within_quotas(storage, owner, bytes);
    if (result == STORAGE_OK)
        storage->under_way++;
    pthread_mutex_unlock(&storage->lock);
    if (result == STORAGE_OK) {
        char *name = h2o_mem_alloc(owner.n + 1);
        memcpy(name, owner.p, owner.n);
        *ticket_r = (struct ticket){storage, {name, owner.n}, bytes};
    }
    return result;
}

enum storage_result ticket_reserve(struct ticket *ticket, uint64_t bytes)
{
    if (bytes <= ticket->bytes)
        return STORAGE_OK;
    pthread_mutex_lock(&ticket->storage->lock);
    enum storage_result result =
        add_within_quotas(ticket->storage, ticket->owner, bytes - ticket->bytes);
    pthread_mutex_unlock(&ticket->storage->lock);
    if (result == STORAGE_OK)
        ticket->bytes = bytes;
    return result;
}

void ticket_keep(struct ticket *ticket, uint64_t bytes)
{
    gw_assert(bytes <= ticket->bytes);
    ticket->bytes -= bytes;
}

void ticket_release(struct ticket *ticket)
{
    struct storage *storage = ticket->storage;
    if (storage == NULL)
        return;
    pthread_mutex_lock(&storage->lock);
    storage->under_way--;
    subtract(storage, ticket->owner, ticket->bytes);
    storage_go_on_removing(storage);
    pthread_mutex_unlock(&storage->lock);
    free((char *)(uintptr_t)ticket->owner.p);
    *ticket = (struct ticket){0};
}

struct storage_use storage_use(struct storage *storage)
{
    pthread_mutex_lock(&storage->lock);
    struct storage_use use = {storage->under_way, storage->bytes};
    pthread_mutex_unlock(&storage->lock);
    return use;
}

void storage_uncount(struct storage *storage, struct str owner, uint64_t bytes)
{
    pthread_mutex_lock(&storage->lock);
    subtract(storage, owner, bytes);
    pthread_mutex_unlock(&storage->lock);
}
