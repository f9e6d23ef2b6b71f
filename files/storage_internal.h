/* What storage.c, admission.c, commit.c, remove.c and sweep.c share. */
#ifndef GW_FILES_STORAGE_INTERNAL_H
#define GW_FILES_STORAGE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "files/storage.h"

/* A path below dir/: one of the folders and an id. */
#define STORAGE_WHOLE   ""
#define STORAGE_TMP     ".tmp/"
#define STORAGE_PARTIAL ".partial/"
enum { STORAGE_PATH = sizeof(STORAGE_PARTIAL) + STORE_ID };

struct owner;

/* What is left of a file that isn't wanted any more. */
struct leftover {
    struct leftover *next;
    int fd; /* -1 = none; closed after the name is gone, which frees its blocks */
    char path[STORAGE_PATH];
};

struct storage {
    const struct config_upload *config;
    struct store *store;
    struct offload *disk;
    int dir; /* O_RDONLY: fsync() needs more than O_PATH */

    pthread_mutex_t lock;  /* of what follows, up to `remove` */
    uint32_t under_way;    /* tickets */
    uint64_t bytes;        /* recorded or reserved, of all */
    struct owner **owners; /* by hash; only those that have bytes, only with a client_quota */
    size_t owner_count, bucket_count;
    uint64_t seed;
    struct leftover *leftovers;
    bool removing; /* the job is under way */
    struct offload_job remove;

    _Atomic uint64_t free_bytes; /* of the file system, as last seen */
    _Atomic uint64_t looked_ms;  /* when */
    atomic_bool looking;         /* the job is under way */
    struct offload_job look;
};

/* -- storage.c */

const char *storage_path(char path_r[STORAGE_PATH], const char *folder, const char *id);
/* Removes the name and closes fd (-1 = none), soon and on an offload thread. Any thread. */
void storage_discard(struct storage *storage, const char *path, int fd);
/* With the lock held: begins with what still waits. */
void storage_go_on_removing(struct storage *storage);
enum storage_result storage_from_store(enum store_result result);

/* -- admission.c */

/* False: the store failed. Waits for it. */
bool admission_init(struct storage *storage);
void admission_fini(struct storage *storage);

#endif
