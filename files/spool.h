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

#include "base/offload.h"
#include "crypto/crypto.h"

enum {
    SPOOL_BUFFER = 64 * 1024,
    SPOOL_BUFFERS = 4,
    SPOOL_HEAD = 8 * 1024, /* a file's first bytes, kept to tell its type */
    SPOOL_DIGESTS = 2
};

/* A file being written. Its owner's; the jobs' alone from the first spool_keep() until idle(). */
struct spool_file {
    int fd;                               /* -1: the first job opens it */
    int (*open)(struct spool_file *file); /* on an offload thread: sets fd; 0 or errno */
    uint64_t offset;                      /* where the next kept byte goes: moved by spool_keep() */
    struct digest *digests[SPOOL_DIGESTS]; /* updated in order; owned by whoever made them */
    char *head;                            /* SPOOL_HEAD bytes, or NULL: not wanted */
    size_t head_n;
};

struct spool_buffer;
struct spool {
    struct loop *loop;
    struct offload *disk;
    /* There is room after there was none. */
    void (*room)(struct spool *spool);
    /* Everything pushed is written (only after spool_flush()), or the first write failed: errno. */
    void (*idle)(struct spool *spool, int error);
    struct digest
        *whole; /* of every pushed byte, kept or not (Content-Digest); NULL = not wanted */
    int error;  /* of the first write that failed */
    /* private */
    struct spool_buffer *filling, *full, *spare;
    unsigned buffers;
    bool busy, flushing, starved, abandoned;
    struct offload_job job;
};

/* In memory that outlives its jobs: not the request's pool. See spool_abandon(). */
void spool_init(struct spool *spool, struct loop *loop, struct offload *disk);
char *spool_room(struct spool *spool, size_t *n_r);
void spool_keep(struct spool *spool, struct spool_file *file, const char *from, size_t n);
void spool_push(struct spool *spool, size_t n);
/* idle() comes when all is written; maybe before this returns. */
void spool_flush(struct spool *spool);
/* What is not being written yet is thrown away; idle() comes when no job is under way, maybe before
 * this returns. Then the owner may free the memory (after spool_fini()). */
void spool_abandon(struct spool *spool);
void spool_fini(struct spool *spool);

#endif
