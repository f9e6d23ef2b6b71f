/* An upload that is not whole yet: its record in the store and its bytes in dir/.partial/ID.
 *
 * The record's offset is the truth. Bytes are synced before it says that they are there, and what a
 * crash or a client that left has put behind it is cut off when the file is next opened for
 * writing. The record comes first: a file without one is what the sweep removes, so the file is
 * only made when its first bytes come. An upload of which every byte has come is never recorded as
 * partial: it becomes a whole file or keeps its last offset, so a client that asks where to go on
 * is never told "at the end" of what isn't whole.
 *
 * In the process the id's lock (lock.h) is held by whoever writes; other processes are kept out
 * with flock() on the file, taken before the record is read.
 *
 * All of it on one loop; one operation at a time, its done() comes on the loop. The struct and all
 * it points to stays until then. */
#ifndef GW_FILES_PARTIAL_H
#define GW_FILES_PARTIAL_H

#include "files/storage.h"

enum partial_state {
    PARTIAL_OPEN,  /* record is there; for writing: fd, too */
    PARTIAL_WHOLE, /* it has become a file: file */
    PARTIAL_ABSENT,
    PARTIAL_EXPIRED, /* its time is over: record is there */
    PARTIAL_HELD,    /* by another process */
    PARTIAL_BROKEN   /* result says how */
};

struct partial {
    struct storage *storage; /* borrowed, as is loop */
    struct loop *loop;
    char id[STORE_ID + 1];
    enum partial_state state;
    enum storage_result result;   /* of the last operation */
    struct partial_record record; /* as it is in the store; its strings are in record.memory */
    struct file_record file;      /* PARTIAL_WHOLE; likewise */
    /* Its file, once opened for writing; where a spool writes. */
    struct incoming incoming;
    /* private */
    void (*done)(struct partial *partial);
    struct digest *sha256; /* owned; in incoming.file.digests[0] while it is taken */
    bool writing, digesting;
    uint64_t digested;
    struct partial_record next; /* what record becomes once it is written */
    struct ticket *ticket;
    struct str fields;
    struct offload_job job;
    struct store_write write;
    struct storage_commit commit;
    struct incoming *files[1];
};

void partial_init(struct partial *partial, struct storage *storage, struct loop *loop,
                  struct str id);
/* Closes what is open; no operation is under way, or its threads are stopped. */
void partial_fini(struct partial *partial);

/* Makes the record. id, route, created_ms, expires_ms and offset are filled in; the rest is copied
 * from *record. result: OK, BUSY, DISK_FULL, FAILED. */
void partial_create(struct partial *partial, const struct partial_record *record,
                    void (*done)(struct partial *partial));
/* Finds out its state. `writing`: also opens its file and cuts it to the record's offset. */
void partial_open(struct partial *partial, bool writing, void (*done)(struct partial *partial));
/* Before the first byte, when all bytes of the file come now: the digest is taken as they pass. */
void partial_digest_now(struct partial *partial);
/* Syncs, then records that there are `offset` bytes, of `size` (UINT64_MAX = not known yet); the
 * time until it expires begins anew. Bytes behind `offset` may be written meanwhile. result: OK,
 * or BUSY, DISK_FULL, FAILED, and the record is as it was. */
void partial_save(struct partial *partial, uint64_t offset, uint64_t size,
                  void (*done)(struct partial *partial));
/* All `size` bytes are written: takes the digest (reads them back, a slice a job, so that others
 * get their turn) and makes it a whole file of the same id. The ticket keeps what the record did
 * not count yet. fields: see struct file_record. result: see storage_commit(). */
void partial_finish(struct partial *partial, uint64_t size, struct str fields,
                    struct ticket *ticket, void (*done)(struct partial *partial));
/* Removes the record, then the bytes; gives back what it counted in the quotas. */
void partial_terminate(struct partial *partial, void (*done)(struct partial *partial));

/* What a record counts in the quotas. */
static inline uint64_t partial_counted(const struct partial_record *record)
{
    return record->size != UINT64_MAX ? record->size : record->offset;
}

#endif
