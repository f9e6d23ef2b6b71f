/* A request's bytes on their way to disk. The loop fills a buffer and says which of its bytes
 * belong to which file; an offload thread writes and digests them, one job at a time and in order,
 * while the loop fills the next one. When all buffers are full there is no room, and the socket
 * waits.
 *
 *     room = spool_room(spool, &n)       where the socket's bytes go
 *     spool_keep(spool, file, at, m)     bytes of that room belong to file (any number of times)
 *     spool_push(spool, n)               n bytes of it were filled and looked at
 *
 * A failed write is told once and all that follows is thrown away. Loop's thread, but for what says
 * otherwise. */
#ifndef GW_FILES_SPOOL_H
#define GW_FILES_SPOOL_H

#include <pthread.h>
#include "base/offload.h"
#include "crypto/crypto.h"

enum {
    SPOOL_BUFFER = 64 * 1024,
    SPOOL_BUFFERS = 4,
    SPOOL_STRAY = 128, /* bytes that may be kept, for each room, from outside of it */
    SPOOL_DIGESTS = 2
};

/* A file being written. Its owner's; the jobs' alone from the first spool_keep() until idle(), but
 * for offset. */
struct spool_file {
    int fd;                               /* -1: the first job opens it */
    int (*open)(struct spool_file *file); /* on an offload thread: sets fd; 0 or errno */
    uint64_t offset;                      /* where the next kept byte goes: moved by spool_keep() */
    struct digest *digests[SPOOL_DIGESTS]; /* updated in order; owned by whoever made them */
};

struct spool_buffer;
struct spool {
    struct loop *loop;
    struct offload *disk;
    /* There is room after there was none. Never from within a function of the spool. */
    void (*room)(struct spool *spool);
    /* No job is under way, and either everything pushed is written (after spool_flush()), or the
     * first write failed (errno), or spool_abandon() was called. May free the spool. */
    void (*idle)(struct spool *spool, int error);
    /* On the offload thread that wrote the last bytes, after spool_flush(), unless a write failed:
     * what can be done there saves a way to the loop and back. Once; NULL = none. */
    void (*last)(struct spool *spool);
    /* Of every pushed byte, kept or not (Content-Digest, Upload-Checksum); NULL = not wanted. */
    struct digest *whole[SPOOL_DIGESTS];
    int error; /* of the first write that failed */

    /* private: the loop's */
    struct spool_buffer *filling;
    bool busy, flushing, abandoned;
    struct timer again; /* the queue of jobs was full */
    struct offload_job job;
    struct message roomy;
    /* private: the loop's and the job's */
    pthread_mutex_t lock;
    struct spool_buffer *full, **full_end, *spare;
    unsigned buffers, spares; /* that there are; of them in spare */
    bool starved;             /* the loop waits for a spare buffer */
    bool telling;             /* that there is one: roomy is on its way */
    bool finishing;           /* nothing more comes: last() is to be called, once all is written */
    int failed;
};

/* In memory that outlives its jobs: not the request's pool. See spool_abandon(). room and idle are
 * set afterwards. */
void spool_init(struct spool *spool, struct loop *loop, struct offload *disk);
/* Never less than 4 KiB; NULL: none, room() will tell. Asked again it is the same. */
char *spool_room(struct spool *spool, size_t *n_r);
/* Bytes of the room are pointed at; others (what a parser held back) are copied, at most
 * SPOOL_STRAY until the next push. */
void spool_keep(struct spool *spool, struct spool_file *file, const char *from, size_t n);
void spool_push(struct spool *spool, size_t n);
/* idle() comes when all is written; maybe before this returns. */
void spool_flush(struct spool *spool);
/* What is not being written yet is thrown away; idle() comes when no job is under way, maybe before
 * this returns. Then the owner may free the memory (after spool_fini()). */
void spool_abandon(struct spool *spool);
/* Whether a write has failed, though idle() may not have told yet. If not, all that was kept is
 * written but for its last SPOOL_BUFFERS * SPOOL_BUFFER bytes. */
bool spool_failed(struct spool *spool);
/* It is idle, or was never used, or `disk` is stopped. */
void spool_fini(struct spool *spool);

#endif
