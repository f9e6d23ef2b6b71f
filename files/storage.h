/* An upload route's directory and what may be put into it.
 *
 *     dir/ID             a whole file; its record is in the store
 *     dir/.tmp/ID        being received; held with flock() by whoever writes it
 *     dir/.partial/ID    a resumable upload; its record is in the store
 *
 * A file becomes whole in this order: its bytes are synced, it is renamed, the directory is synced,
 * its record is committed, and then it is answered. After a crash at any point there is a whole
 * file with its record, or something that the sweep removes: it looks at what nobody holds with
 * flock() (another process may still be serving) and has no record. */
#ifndef GW_FILES_STORAGE_H
#define GW_FILES_STORAGE_H

#include "base/offload.h"
#include "config/config.h"
#include "files/media_type.h"
#include "files/spool.h"
#include "stores/stores.h"

struct storage;

enum storage_result {
    STORAGE_OK,
    STORAGE_BUSY,         /* max_concurrent, or the store's queue: 503 */
    STORAGE_TOO_LARGE,    /* max_size: 413 */
    STORAGE_CLIENT_QUOTA, /* 413 */
    STORAGE_QUOTA,        /* 507 */
    STORAGE_DISK_FULL,    /* ENOSPC, EDQUOT: 507 */
    STORAGE_BAD_TYPE,     /* allow_types: 415 */
    STORAGE_BAD_DIGEST,   /* 400, or 460 under tus */
    STORAGE_ABSENT,       /* 404 */
    STORAGE_FAILED        /* was logged: 500 */
};

/* Makes the directory when it is missing, and counts what is in it; waits for the disk. store NULL:
 * only checks (the directory, when it is there). With errors in diag, good for storage_destroy()
 * only. */
struct storage *storage_create(const struct config *config, const struct config_upload *upload,
                               struct store *store, struct offload *disk, struct diag *diag);
/* Nobody uses it any more, `disk` is stopped; removes what still waits to be removed. */
void storage_destroy(struct storage **storage);
const struct config_upload *storage_config(const struct storage *storage);
struct store *storage_store(struct storage *storage);
struct offload *storage_disk(struct storage *storage);
/* On an offload thread, once at start. */
void storage_sweep(struct storage *storage);
/* Descriptor of dir/, for openat(). */
int storage_dir(const struct storage *storage);
/* A fresh id. */
void storage_new_id(char id_r[STORE_ID + 1]);
bool storage_id_valid(struct str id);

/* -- admission (any thread) -------------------------------------------------------------------- */

/* A place among max_concurrent, and bytes taken from the quotas before they come. Each process
 * counts for itself; what others have recorded is seen at the next start. */
struct ticket {
    struct storage *storage; /* NULL = none */
    struct str owner;        /* owned */
    uint64_t bytes;          /* reserved, beyond what records say */
};
/* bytes: announced, 0 when nothing is. STORAGE_OK, BUSY, CLIENT_QUOTA, QUOTA or DISK_FULL (by what
 * the file system had left a moment ago; not known, it is the first write that tells). */
enum storage_result ticket_take(struct ticket *ticket_r, struct storage *storage, struct str owner,
                                uint64_t bytes);
/* Makes sure that at least `bytes` are reserved; asked as they come when no length was announced.
 */
enum storage_result ticket_reserve(struct ticket *ticket, uint64_t bytes);
/* `bytes` of the reservation are in a record now, and stay counted until storage_remove() or
 * storage_uncount(). */
void ticket_keep(struct ticket *ticket, uint64_t bytes);
/* Gives back the place and what was not kept. Fine with none. */
void ticket_release(struct ticket *ticket);
/* Bytes of a record that was removed by other means (an expired partial upload). */
void storage_uncount(struct storage *storage, struct str owner, uint64_t bytes);

/* How many places are taken; bytes recorded or reserved. Any thread. */
struct storage_use {
    uint32_t under_way;
    uint64_t bytes;
};
struct storage_use storage_use(struct storage *storage);

/* -- receiving --------------------------------------------------------------------------------- */

/* A file of this request. */
struct incoming {
    struct spool_file file; /* its open() makes dir/.tmp/ID; digests[0] is SHA-256, ours;
                               digests[1] the user's, SHA-512 when that is expected */
    struct storage *storage;
    char id[STORE_ID + 1];
    bool in_partial;                             /* it lies in .partial/, not in .tmp/ */
    struct str name;                             /* borrowed, UTF-8 */
    struct str expected_sha256, expected_sha512; /* raw bytes, borrowed; "" = not announced */
    /* once whole: */
    bool whole;
    char type[MEDIA_TYPE_MAX]; /* by content */
    uint8_t sha256[32];
    uint64_t size;
};
void incoming_init(struct incoming *incoming, struct storage *storage);
/* Closes it. What is in .tmp/ and not whole, and the name in .partial/ of what has become whole,
 * are removed by a job of their own on `disk`. */
void incoming_fini(struct incoming *incoming);

/* Makes files whole, all of them or none. Embed it; it and what it points to stays until done(),
 * which comes on `loop`. Checks digests and types first, then goes the way above. When it fails,
 * each file is again where it was received. */
struct storage_commit {
    struct storage *storage;
    struct incoming **files;
    size_t count;
    struct ticket *ticket;     /* what it has for the files is kept */
    struct str owner, fields;  /* see struct file_record */
    struct str remove_partial; /* id whose record goes in the same transaction, "" = none */
    void (*done)(struct storage_commit *commit);
    struct loop *loop;
    enum storage_result result;
    struct incoming *culprit; /* STORAGE_BAD_TYPE, STORAGE_BAD_DIGEST: which of them */
    int64_t created_ms;
    /* private */
    struct offload_job job;
    struct message failed;
    struct store_write write;
    struct file_record *records;
    size_t renamed;
};
/* False: BUSY, nothing was done. */
bool storage_commit(struct storage_commit *commit);
/* The same from an offload thread, which does the part that waits for the disk before this returns
 * (spool.last). */
void storage_commit_here(struct storage_commit *commit);

/* Removes a whole file: record first, then its bytes. */
struct storage_removal {
    struct storage *storage;
    char id[STORE_ID + 1];
    void (*done)(struct storage_removal *removal);
    struct loop *loop;
    enum storage_result result;
    /* private */
    struct offload_job job;
    struct message failed;
    struct store_write write;
    struct file_record record;
};
/* False: BUSY, nothing was done. */
bool storage_remove(struct storage_removal *removal);

/* errno -> STORAGE_DISK_FULL or STORAGE_FAILED; logged, at most once a second. Any thread. */
enum storage_result storage_error(const struct storage *storage, const char *what, int error);

#endif
