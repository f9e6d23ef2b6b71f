/* Buffers go around: the loop fills one, seals it, a job writes it and puts it back. A job goes on
 * as long as sealed buffers come, so a fast upload is one loop and one disk thread that both run
 * without waiting for each other's wake-ups; after JOB_BUFFERS it makes way for other uploads.
 *
 * What the two share (the sealed buffers, the spare ones, a few flags) is guarded by a mutex that
 * each takes once a buffer. Buffers of 64 KiB make one pwrite() each worth its call, so nothing is
 * gathered across them. */
#include "files/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include <h2o/memory.h>

enum {
    ROOM_MIN = 4 * 1024, /* a buffer with less left is sealed */
    STRAYS = 8 * SPOOL_STRAY,
    JOB_BUFFERS = 16,
    FIRST_SLICES = 4,
    AGAIN_MS = 10,
    WRITE_BEHIND = 4 * 1024 * 1024,
    BUFFERS_LEAST = 2, /* one is filled while the other is written */
    BUFFERS_PLENTY = 256
};

/* Of all spools. Past BUFFERS_PLENTY each has BUFFERS_LEAST: many uploads at once need no more to
 * keep the disk's threads busy, and their memory stays small. */
static _Atomic unsigned buffers_in_use;

/* Bytes of a buffer that belong to a file. */
struct slice {
    struct spool_file *file;
    uint64_t offset;
    const char *from;
    size_t n;
};

struct spool_buffer {
    struct spool_buffer *next;
    size_t n;             /* bytes pushed */
    size_t strays;        /* bytes of stray */
    size_t at_room;       /* strays when the room was given */
    struct slice *slices; /* owned */
    size_t count, capacity;
    char stray[STRAYS]; /* copies of what was kept from elsewhere */
    char bytes[SPOOL_BUFFER];
};

/* -- a job's side -- */

static int write_all(int fd, const char *p, size_t n, uint64_t at)
{
    while (n != 0) {
        ssize_t done = pwrite(fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : EIO;
        p += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return 0;
}

/* The disk begins with a stretch as soon as it is whole: the sync that makes the file's bytes last
 * then waits for little more than the end of them. */
static void write_behind(const struct slice *slice)
{
    uint64_t stretch = slice->offset / WRITE_BEHIND;
    if ((slice->offset + slice->n) / WRITE_BEHIND != stretch)
        sync_file_range(slice->file->fd, (off_t)(stretch * WRITE_BEHIND), WRITE_BEHIND,
                        SYNC_FILE_RANGE_WRITE);
}

static int write_slice(const struct slice *slice)
{
    struct spool_file *file = slice->file;
    int error = file->fd < 0 ? file->open(file) : 0;
    if (error == 0)
        error = write_all(file->fd, slice->from, slice->n, slice->offset);
    if (error == 0)
        write_behind(slice);
    for (size_t i = 0; i < SPOOL_DIGESTS && error == 0; i++)
        if (file->digests[i] != NULL)
            digest_update(file->digests[i], slice->from, slice->n);
    return error;
}

static int write_buffer(struct spool *spool, const struct spool_buffer *buffer)
{
    int error = 0;
    for (size_t i = 0; i < buffer->count && error == 0; i++)
        error = write_slice(&buffer->slices[i]);
    for (size_t i = 0; i < SPOOL_DIGESTS && error == 0; i++)
        if (spool->whole[i] != NULL)
            digest_update(spool->whole[i], buffer->bytes, buffer->n);
    return error;
}

static void told_of_room(struct message *message)
{
    struct spool *spool = CONTAINER_OF(message, struct spool, roomy);
    pthread_mutex_lock(&spool->lock);
    spool->starved = spool->telling = false;
    pthread_mutex_unlock(&spool->lock);
    if (!spool->abandoned && spool->error == 0)
        spool->room(spool);
}

/* The next buffer to write. NULL: nothing is left for now; *last_r: nor will there be. */
static struct spool_buffer *take_full(struct spool *spool, bool *last_r)
{
    pthread_mutex_lock(&spool->lock);
    struct spool_buffer *buffer = spool->full;
    *last_r = false;
    if (buffer != NULL) {
        spool->full = buffer->next;
        if (spool->full == NULL)
            spool->full_end = &spool->full;
    } else {
        *last_r = spool->finishing && spool->failed == 0;
        spool->finishing = false;
    }
    pthread_mutex_unlock(&spool->lock);
    return buffer;
}

static void give_spare(struct spool *spool, struct spool_buffer *buffer, int error)
{
    buffer->n = buffer->strays = buffer->count = 0;
    pthread_mutex_lock(&spool->lock);
    if (spool->failed == 0)
        spool->failed = error;
    buffer->next = spool->spare;
    spool->spare = buffer;
    spool->spares++;
    /* Half of them, so that the loop isn't woken for each. */
    bool roomy = spool->full == NULL || spool->spares * 2 >= spool->buffers;
    bool tell = roomy && spool->starved && !spool->telling;
    spool->telling |= tell;
    pthread_mutex_unlock(&spool->lock);
    if (tell)
        loop_post(spool->loop, &spool->roomy);
}

static void work(struct offload_job *job)
{
    struct spool *spool = CONTAINER_OF(job, struct spool, job);
    int error = 0;
    for (unsigned i = 0; i < JOB_BUFFERS && error == 0; i++) {
        bool last;
        struct spool_buffer *buffer = take_full(spool, &last);
        if (buffer == NULL) {
            if (last)
                spool->last(spool);
            break;
        }
        error = write_buffer(spool, buffer);
        give_spare(spool, buffer, error);
    }
}

/* -- the loop's side -- */

static void free_buffers(struct spool_buffer *buffer)
{
    while (buffer != NULL) {
        struct spool_buffer *next = buffer->next;
        free(buffer->slices);
        free(buffer);
        buffer = next;
    }
}

/* No job is under way. */
static void free_all(struct spool *spool)
{
    free_buffers(spool->full);
    free_buffers(spool->spare);
    free_buffers(spool->filling);
    spool->full = spool->spare = spool->filling = NULL;
    spool->full_end = &spool->full;
    atomic_fetch_sub_explicit(&buffers_in_use, spool->buffers, memory_order_relaxed);
    spool->buffers = spool->spares = 0;
    spool->finishing = false;
}

/* Tells the end, when it has come. The spool may be gone afterwards. */
static void end(struct spool *spool)
{
    timer_stop(spool->loop, &spool->again);
    spool->flushing = false;
    free_all(spool);
    spool->idle(spool, spool->error);
}

static bool has_work(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    bool has = spool->full != NULL || spool->finishing;
    pthread_mutex_unlock(&spool->lock);
    return has;
}

/* Starts a job when there is something to do; otherwise the end may have come. */
static void go_on(struct spool *spool)
{
    if (spool->busy || timer_running(&spool->again))
        return;
    if (!has_work(spool)) {
        if (spool->flushing)
            end(spool);
        return;
    }
    spool->busy = true;
    if (!offload_submit(spool->disk, &spool->job)) {
        spool->busy = false;
        timer_start(spool->loop, &spool->again, AGAIN_MS);
    }
}

static void try_again(struct timer *timer)
{
    go_on(CONTAINER_OF(timer, struct spool, again));
}

static void job_done(struct offload_job *job)
{
    struct spool *spool = CONTAINER_OF(job, struct spool, job);
    spool->busy = false;
    spool->error = spool->failed;
    if (spool->abandoned || spool->error != 0)
        end(spool);
    else
        go_on(spool);
}

void spool_init(struct spool *spool, struct loop *loop, struct offload *disk)
{
    *spool = (struct spool){.loop = loop, .disk = disk, .roomy.fn = told_of_room};
    spool->job = (struct offload_job){.work = work, .done = job_done, .loop = loop};
    spool->full_end = &spool->full;
    timer_init(&spool->again, try_again);
    pthread_mutex_init(&spool->lock, NULL);
}

void spool_fini(struct spool *spool)
{
    timer_stop(spool->loop, &spool->again);
    free_all(spool);
    pthread_mutex_destroy(&spool->lock);
}

/* Whether another buffer may be made; counts it then. */
static bool may_grow(struct spool *spool)
{
    unsigned all = atomic_load_explicit(&buffers_in_use, memory_order_relaxed);
    if (spool->buffers == SPOOL_BUFFERS ||
        (spool->buffers >= BUFFERS_LEAST && all >= BUFFERS_PLENTY))
        return false;
    atomic_fetch_add_explicit(&buffers_in_use, 1, memory_order_relaxed);
    spool->buffers++;
    return true;
}

static struct spool_buffer *next_buffer(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    struct spool_buffer *buffer = spool->spare;
    bool grow = buffer == NULL && may_grow(spool);
    if (buffer != NULL) {
        spool->spare = buffer->next;
        spool->spares--;
    } else if (!grow) {
        spool->starved = true;
    }
    pthread_mutex_unlock(&spool->lock);
    if (grow) {
        buffer = h2o_mem_alloc(sizeof(*buffer));
        memset(buffer, 0, offsetof(struct spool_buffer, stray));
    }
    if (buffer != NULL)
        buffer->next = NULL;
    return buffer;
}

char *spool_room(struct spool *spool, size_t *n_r)
{
    gw_assert(!spool->abandoned && !spool->flushing);
    struct spool_buffer *buffer = spool->filling;
    if (buffer == NULL)
        buffer = spool->filling = next_buffer(spool);
    if (buffer == NULL)
        return NULL;
    *n_r = SPOOL_BUFFER - buffer->n;
    return buffer->bytes + buffer->n;
}

void spool_keep(struct spool *spool, struct spool_file *file, const char *from, size_t n)
{
    struct spool_buffer *buffer = spool->filling;
    gw_assert(buffer != NULL);
    if (n == 0)
        return;
    if (from < buffer->bytes || from >= buffer->bytes + SPOOL_BUFFER) {
        gw_assert(buffer->strays + n <= buffer->at_room + SPOOL_STRAY);
        from = memcpy(buffer->stray + buffer->strays, from, n);
        buffer->strays += n;
    }
    struct slice *before = buffer->count != 0 ? &buffer->slices[buffer->count - 1] : NULL;
    if (before != NULL && before->file == file && before->from + before->n == from &&
        before->offset + before->n == file->offset) {
        before->n += n;
    } else {
        if (buffer->count == buffer->capacity) {
            buffer->capacity = buffer->capacity != 0 ? 2 * buffer->capacity : FIRST_SLICES;
            buffer->slices =
                h2o_mem_realloc(buffer->slices, buffer->capacity * sizeof(*buffer->slices));
        }
        buffer->slices[buffer->count++] = (struct slice){file, file->offset, from, n};
    }
    file->offset += n;
}

/* What is being filled goes to the job, unless there is nothing in it that anybody wants. */
static void seal(struct spool *spool)
{
    struct spool_buffer *buffer = spool->filling;
    pthread_mutex_lock(&spool->lock);
    bool wanted = (buffer->count != 0 || spool->whole[0] != NULL || spool->whole[1] != NULL) &&
                  spool->failed == 0;
    if (wanted) {
        *spool->full_end = buffer;
        spool->full_end = &buffer->next;
        spool->filling = NULL;
    }
    pthread_mutex_unlock(&spool->lock);
    if (!wanted)
        buffer->n = buffer->strays = buffer->at_room = buffer->count = 0;
}

void spool_push(struct spool *spool, size_t n)
{
    struct spool_buffer *buffer = spool->filling;
    gw_assert(buffer != NULL && n <= SPOOL_BUFFER - buffer->n);
    buffer->n += n;
    buffer->at_room = buffer->strays;
    if (SPOOL_BUFFER - buffer->n >= ROOM_MIN && STRAYS - buffer->strays >= SPOOL_STRAY)
        return;
    seal(spool);
    go_on(spool);
}

void spool_flush(struct spool *spool)
{
    gw_assert(!spool->flushing && !spool->abandoned);
    if (spool->filling != NULL && spool->filling->n != 0)
        seal(spool);
    pthread_mutex_lock(&spool->lock);
    spool->finishing = spool->last != NULL && spool->failed == 0;
    pthread_mutex_unlock(&spool->lock);
    spool->flushing = true;
    go_on(spool);
}

void spool_abandon(struct spool *spool)
{
    gw_assert(!spool->abandoned);
    spool->abandoned = true;
    pthread_mutex_lock(&spool->lock);
    struct spool_buffer *full = spool->full;
    spool->full = NULL;
    spool->full_end = &spool->full;
    spool->finishing = false;
    pthread_mutex_unlock(&spool->lock);
    free_buffers(full);
    if (!spool->busy)
        end(spool);
}

bool spool_failed(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    bool failed = spool->failed != 0;
    pthread_mutex_unlock(&spool->lock);
    return failed;
}
