/* The access log's way from the loops to its file.
 *
 * Each loop has a ring that only it fills and only the writer thread empties, so a line costs the
 * loop no lock and no system call. A position in a ring is a lap's number and an offset. A line
 * lies in one piece: where it would run over the ring's end the next lap begins, and `end` says
 * where the lap before stopped; a ring found empty begins a lap too, so a quiet log keeps to the
 * few pages at the front. The loop is at most one lap ahead:
 *
 *     same lap       [tail, head) is full
 *     one lap apart  [tail, end) of the old lap and [0, head) of the new are full
 *
 * The writer sleeps on a semaphore. The first line after that wakes it; it then naps, so that busy
 * times cost a hundred writes a second however many lines there are, and sleeps again once nothing
 * was left. A line is published before `sleeping` is looked at, and `sleeping` is set before the
 * rings are looked at, all sequentially consistent: no line is left behind by a sleeping writer. */
#include "observe/observe.h"
#include "base/crash.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "observe/access_line.h"

enum { RING_SIZE = 1 << 20, NAP_MS = 10, CLOSE_MS = 2000, REPORT_EVERY_US = 60 * 1000000 };

struct ring {
    /* the loop's */
    alignas(64) _Atomic uint64_t head; /* position of the next byte to fill */
    uint64_t line;                     /* position of the line being written */
    uint32_t end;                      /* offset at which the lap before head's stopped */
    _Atomic uint64_t dropped;          /* lines */
    struct access_stamp stamp;
    char *bytes; /* owned; pages come when touched */
    /* the writer's */
    alignas(64) _Atomic uint64_t tail; /* position of the next byte to take */
};

/* Of the batch being written, where a vector's bytes came from. */
struct piece {
    struct ring *ring; /* NULL: from no ring */
    uint64_t lap;      /* position of its beginning */
};

struct access_log {
    int fd;
    char *path; /* owned; NULL: fd is stdout's */
    enum access_format format;
    const char *name; /* for log_event() */
    pthread_t writer;
    sem_t wake, finished;
    _Atomic bool sleeping;
    _Atomic bool closing;
    _Atomic uint64_t lost; /* lines taken from a ring and not written */
    /* the writer's */
    bool torn; /* the last byte written wasn't a line feed, and the rest of its line is lost */
    uint64_t reported, reported_us;
    struct iovec *vecs;   /* owned; the batch under way */
    struct piece *pieces; /* owned; one for each of vecs */
    unsigned ring_count;
    struct ring rings[];
};

/* -- the loop's side ------------------------------------------------------------------------- */

static uint32_t offset_of(uint64_t position)
{
    return (uint32_t)position;
}

static uint64_t lap_of(uint64_t position)
{
    return position >> 32 << 32;
}

/* Where a line of at most `bound` bytes may be written, or NULL. */
static char *ring_reserve(struct ring *ring, size_t bound)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint32_t filled = offset_of(head), taken = offset_of(tail);
    bool empty = head == tail, same_lap = lap_of(head) == lap_of(tail);
    uint32_t limit = same_lap || taken == ring->end ? RING_SIZE : taken;
    if (!empty && bound <= limit - filled) {
        ring->line = head;
        return ring->bytes + filled;
    }
    if (same_lap && bound <= (empty ? RING_SIZE : taken)) {
        ring->end = filled;
        ring->line = lap_of(head) + (UINT64_C(1) << 32);
        return ring->bytes;
    }
    return NULL;
}

static void ring_publish(struct ring *ring, size_t n)
{
    atomic_store(&ring->head, ring->line + n);
}

void access_log_write(struct access_log *log, unsigned index, const struct access_record *record)
{
    if (!log)
        return;
    gw_assert(index < log->ring_count);
    struct ring *ring = &log->rings[index];
    char *line = ring_reserve(ring, access_line_bound(log->format, record));
    if (!line) {
        atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    access_stamp_set(&ring->stamp, now);
    char *end = access_line_write(line, log->format, &ring->stamp, record);
    ring_publish(ring, (size_t)(end - line));
    /* Whoever takes the flag back wakes: once, however many loops see it. */
    if (atomic_load(&log->sleeping) && atomic_exchange(&log->sleeping, false))
        sem_post(&log->wake);
}

uint64_t access_log_dropped(const struct access_log *log)
{
    if (!log)
        return 0;
    uint64_t n = atomic_load_explicit(&log->lost, memory_order_relaxed);
    for (unsigned i = 0; i < log->ring_count; i++)
        n += atomic_load_explicit(&log->rings[i].dropped, memory_order_relaxed);
    return n;
}

/* -- the writer's side ----------------------------------------------------------------------- */

static bool all_empty(struct access_log *log)
{
    for (unsigned i = 0; i < log->ring_count; i++) {
        struct ring *ring = &log->rings[i];
        if (atomic_load(&ring->head) != atomic_load_explicit(&ring->tail, memory_order_relaxed))
            return false;
    }
    return true;
}

static size_t add_vec(struct access_log *log, size_t count, char *from, size_t n,
                      struct piece piece)
{
    if (n == 0)
        return count;
    log->vecs[count] = (struct iovec){.iov_base = from, .iov_len = n};
    log->pieces[count] = piece;
    return count + 1;
}

/* All that the rings hold now, in place. */
static size_t collect(struct access_log *log)
{
    static char line_feed[] = "\n";
    size_t count = 0;
    if (log->torn)
        count = add_vec(log, count, line_feed, 1, (struct piece){0});
    for (unsigned i = 0; i < log->ring_count; i++) {
        struct ring *ring = &log->rings[i];
        uint64_t head = atomic_load(&ring->head);
        uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        uint32_t from = offset_of(tail);
        if (lap_of(head) != lap_of(tail)) {
            count = add_vec(log, count, ring->bytes + from, ring->end - from,
                            (struct piece){ring, lap_of(tail)});
            from = 0;
        }
        count = add_vec(log, count, ring->bytes + from, offset_of(head) - from,
                        (struct piece){ring, lap_of(head)});
    }
    return count;
}

/* Gives the bytes up to `to` back to the ring's loop. */
static void release(struct piece piece, const char *to)
{
    if (piece.ring)
        atomic_store_explicit(&piece.ring->tail, piece.lap + (size_t)(to - piece.ring->bytes),
                              memory_order_release);
}

/* Takes n written bytes off the batch's front; returns how many vectors are done. */
static size_t advance(struct access_log *log, size_t at, size_t n)
{
    while (n != 0) {
        struct iovec *vec = &log->vecs[at];
        size_t taken = n < vec->iov_len ? n : vec->iov_len;
        char *to = (char *)vec->iov_base + taken;
        log->torn = to[-1] != '\n';
        release(log->pieces[at], to);
        vec->iov_base = to;
        vec->iov_len -= taken;
        n -= taken;
        at += vec->iov_len == 0;
    }
    return at;
}

/* The batch from `at` on can't be written. */
static void discard(struct access_log *log, size_t at, size_t count)
{
    for (; at < count; at++) {
        struct iovec *vec = &log->vecs[at];
        char *to = (char *)vec->iov_base + vec->iov_len;
        uint64_t lines = 0;
        for (const char *p = vec->iov_base; p != to; lines++)
            p = (const char *)memchr(p, '\n', (size_t)(to - p)) + 1;
        if (log->pieces[at].ring)
            atomic_fetch_add_explicit(&log->lost, lines, memory_order_relaxed);
        release(log->pieces[at], to);
    }
}

static ssize_t write_vecs(struct access_log *log, size_t at, size_t count)
{
    /* Others write lines there too: what a pipe takes as one piece, they can't come into. */
    const char *first = log->vecs[at].iov_base;
    const char *line_end =
        log->fd == STDERR_FILENO ? memchr(first, '\n', log->vecs[at].iov_len) : NULL;
    ssize_t n = line_end != NULL ? write(log->fd, first, (size_t)(line_end + 1 - first))
                                 : writev(log->fd, log->vecs + at,
                                          (int)(count - at < IOV_MAX ? count - at : IOV_MAX));
    if (n < 0 && errno == EAGAIN) {
        poll(&(struct pollfd){.fd = log->fd, .events = POLLOUT}, 1, -1);
        n = 0;
    }
    return n;
}

static void report(struct access_log *log, int error)
{
    uint64_t dropped = access_log_dropped(log);
    uint64_t now = clock_us();
    bool closing = atomic_load(&log->closing);
    if (dropped == log->reported ||
        (log->reported != 0 && !closing && now - log->reported_us < REPORT_EVERY_US))
        return;
    log_event(LOG_WARN, "access log lines lost", "log=%s lines=%llu cause=%s", log->name,
              (unsigned long long)(dropped - log->reported),
              error != 0 ? log_quote(str_from(strerror(error))) : "full");
    log->reported = dropped;
    log->reported_us = now;
}

static void drain(struct access_log *log)
{
    size_t count = collect(log);
    int error = 0;
    for (size_t at = 0; at < count;) {
        ssize_t n = write_vecs(log, at, count);
        if (n >= 0) {
            at = advance(log, at, (size_t)n);
        } else if (errno != EINTR) {
            error = errno;
            discard(log, at, count);
            break;
        }
    }
    report(log, error);
}

static void sleep_until_line(struct access_log *log)
{
    atomic_store(&log->sleeping, true);
    if (!all_empty(log) || atomic_load(&log->closing)) {
        /* A loop that was faster has posted, or is about to: that post is this one's. */
        if (atomic_exchange(&log->sleeping, false))
            return;
    }
    while (sem_wait(&log->wake) != 0) {
    }
}

/* False when the time is over. */
static bool wait_at_most(sem_t *semaphore, uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + ms * 1000000;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    while (sem_clockwait(semaphore, CLOCK_MONOTONIC, &until) != 0) {
        if (errno != EINTR)
            return false;
    }
    return true;
}

static void *writer_main(void *arg)
{
    struct access_log *log = arg;
    while (!atomic_load(&log->closing)) {
        if (all_empty(log))
            sleep_until_line(log);
        /* Only close() posts while `sleeping` is false, so only it cuts the nap. */
        if (!atomic_load(&log->closing))
            wait_at_most(&log->wake, NAP_MS);
        drain(log);
    }
    drain(log); /* what came while the drain before was writing */
    sem_post(&log->finished);
    return NULL;
}

/* -- opening and closing --------------------------------------------------------------------- */

static void destroy(struct access_log *log)
{
    for (unsigned i = 0; i < log->ring_count; i++) {
        if (log->rings[i].bytes)
            munmap(log->rings[i].bytes, RING_SIZE);
    }
    if (log->path != NULL && log->fd >= 0)
        close(log->fd);
    free(log->path);
    sem_destroy(&log->wake);
    sem_destroy(&log->finished);
    free(log->vecs);
    free(log->pieces);
    free(log);
}

static bool map_rings(struct access_log *log)
{
    for (unsigned i = 0; i < log->ring_count; i++) {
        void *bytes = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (bytes == MAP_FAILED)
            return false;
        madvise(bytes, RING_SIZE, MADV_NOHUGEPAGE); /* one line must not cost two megabytes */
        log->rings[i].bytes = bytes;
    }
    return true;
}

/* Signals are for the threads that want them; SIGPIPE becomes EPIPE. */
static int start_writer(struct access_log *log)
{
    sigset_t all, before;
    crash_mask(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&log->writer, NULL, writer_main, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        pthread_setname_np(log->writer, "access log");
    return error;
}

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

/* The descriptor stays the same number, so that the writer needn't be asked. */
bool access_log_reopen(struct access_log *log)
{
    if (log == NULL || log->path == NULL)
        return true;
    int fd = open_file(log->path);
    if (fd < 0)
        return false;
    int error = dup3(fd, log->fd, O_CLOEXEC) < 0 ? errno : 0;
    close(fd);
    errno = error;
    return error == 0;
}

struct access_log *access_log_open(const char *to, enum access_format format, unsigned loops)
{
    if (strcmp(to, "off") == 0)
        return NULL;
    gw_assert(loops > 0);
    size_t size = sizeof(struct access_log) + loops * sizeof(struct ring);
    struct access_log *log = aligned_alloc(alignof(struct access_log), size);
    gw_assert(log);
    memset(log, 0, size);
    log->format = format;
    log->ring_count = loops;
    bool on_stderr = strcmp(to, "stderr") == 0;
    log->name = format >= ACCESS_SLOW_LOGFMT ? "slow" : "access";
    log->fd = on_stderr ? STDERR_FILENO : STDOUT_FILENO;
    log->vecs = calloc(2 * loops + 1, sizeof(*log->vecs));
    log->pieces = calloc(2 * loops + 1, sizeof(*log->pieces));
    gw_assert(log->vecs && log->pieces);
    sem_init(&log->wake, 0, 0);
    sem_init(&log->finished, 0, 0);

    int error = 0;
    if (!on_stderr && strcmp(to, "stdout") != 0) {
        log->path = strdup(to);
        log->fd = open_file(to);
    }
    if (log->fd < 0 || !map_rings(log))
        error = errno;
    else
        error = start_writer(log);
    if (error != 0) {
        destroy(log);
        errno = error;
        return NULL;
    }
    return log;
}

void access_log_close(struct access_log **log_ref)
{
    struct access_log *log = *log_ref;
    *log_ref = NULL;
    if (!log)
        return;
    atomic_store(&log->closing, true);
    sem_post(&log->wake);
    if (!wait_at_most(&log->finished, CLOSE_MS)) {
        /* The writer hangs in a write that nothing short of a signal ends: it keeps the log. */
        log_event(LOG_WARN, "access log closed with lines unwritten", "log=%s waited_ms=%d",
                  log->name, CLOSE_MS);
        pthread_detach(log->writer);
        return;
    }
    pthread_join(log->writer, NULL);
    destroy(log);
}
