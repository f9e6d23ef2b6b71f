/* Sending an open file, whole or in ranges, without ever waiting for a disk.
 *
 * The loop reads what is in the kernel's memory, which is nearly everything nearly always, into one
 * chunk that stays in the CPU's cache, and writes it to the socket at once: on this path that is as
 * fast as sendfile() or faster, and the same for TLS and HTTP/2. What isn't in memory is read on an
 * offload thread, which also has the kernel fetch what comes next. One chunk of a file is in memory
 * at a time; the next is read when h2o has got rid of the last. Large chunks are for clients that
 * took the last one at once, and only so many are out at a time: the others cost a small one each,
 * however many they are. A client that leaves takes nothing away from under a job: the chunk is the
 * job. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include "http/conditional.h"
#include "http/http_internal.h"
#include "http/send_plan.h"

enum {
    CHUNK_SMALL = 16 * 1024,
    CHUNK_LARGE = 256 * 1024,
    SPARE_SMALL = 64, /* chunks kept for the next file */
    SPARE_LARGE = 16,
    LARGE_MAX = 256, /* chunks under way in a loop, 64 MiB */
    AT_ONCE_MS = 20,
    READ_AHEAD = 2 * 1024 * 1024,
    TURN = 1024 * 1024, /* a client that reads as fast as we write lets the others in after it */
    RETRY_MS = 10,
    CODED_MAX = 1 << 20 /* what is larger and often asked for has its ".gz" beside it */
};

/* Bytes of a file, being read or being sent. */
struct chunk {
    struct chunk *next; /* while it is spare */
    struct chunks *home;
    struct sending *sending; /* NULL: the client left amid a job, what is open is the chunk's */
    struct offload_job job;
    int fd;
    uint64_t offset, left; /* of the file: where to read, bytes that will be wanted from there */
    size_t wanted;
    ssize_t got; /* or -errno */
    size_t size;
    char bytes[];
};

struct chunks {
    struct chunk *small, *large;
    unsigned small_count, large_count; /* spare ones */
    unsigned large_out;
};

/* A file on its way. In its request's pool. */
struct sending {
    h2o_generator_t generator;
    struct http_request *request;
    struct loop *loop;
    struct chunks *chunks;
    struct offload *reads;
    struct http_file file; /* fd -1: closed, or the job's */
    struct chunk *chunk;
    struct timer pause; /* while the offload's queue is full, or others have their turn */
    struct send_plan plan;
    size_t at;        /* place among its parts */
    uint64_t sent;    /* bytes of that part */
    size_t turn;      /* bytes sent in this turn */
    uint64_t sent_ms; /* when the last chunk was given to h2o */
    bool begun, reading;
    bool fast; /* the last chunk was taken at once */
};

/* -- memory ---------------------------------------------------------------------------------- */

struct chunks *chunks_create(void)
{
    struct chunks *chunks = h2o_mem_alloc(sizeof(*chunks));
    *chunks = (struct chunks){0};
    return chunks;
}

static void free_list(struct chunk *chunk)
{
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void chunks_destroy(struct chunks **chunks)
{
    free_list((*chunks)->small);
    free_list((*chunks)->large);
    free(*chunks);
    *chunks = NULL;
}

static struct chunk *chunk_take(struct chunks *chunks, bool large)
{
    struct chunk **list = large ? &chunks->large : &chunks->small, *chunk = *list;
    chunks->large_out += large;
    if (chunk != NULL) {
        *list = chunk->next;
        (*(large ? &chunks->large_count : &chunks->small_count))--;
        return chunk;
    }
    size_t size = large ? CHUNK_LARGE : CHUNK_SMALL;
    chunk = h2o_mem_alloc(sizeof(*chunk) + size);
    chunk->home = chunks;
    chunk->size = size;
    return chunk;
}

static void chunk_release(struct chunk *chunk)
{
    struct chunks *chunks = chunk->home;
    bool large = chunk->size == CHUNK_LARGE;
    struct chunk **list = large ? &chunks->large : &chunks->small;
    unsigned *count = large ? &chunks->large_count : &chunks->small_count;
    chunks->large_out -= large;
    if (*count == (large ? SPARE_LARGE : SPARE_SMALL)) {
        free(chunk);
        return;
    }
    chunk->next = *list;
    *list = chunk;
    ++*count;
}

/* Changes the chunk that was sent, if any, for one that suits the next read. */
static void change_chunk(struct sending *sending)
{
    struct chunks *chunks = sending->chunks;
    if (sending->chunk != NULL)
        chunk_release(sending->chunk);
    const struct send_part *part = &sending->plan.parts[sending->at];
    bool large =
        part->n - sending->sent > CHUNK_SMALL && sending->fast && chunks->large_out < LARGE_MAX;
    sending->chunk = chunk_take(chunks, large);
}

/* -- ending ---------------------------------------------------------------------------------- */

static void close_file(struct sending *sending)
{
    if (sending->file.fd >= 0)
        close(sending->file.fd);
    sending->file.fd = -1;
}

/* All was sent, or the client is gone: from here on nothing comes back. */
static void on_dispose(void *arg)
{
    struct sending *sending = arg;
    timer_stop(sending->loop, &sending->pause);
    if (sending->reading) {
        sending->chunk->sending = NULL;
        return;
    }
    close_file(sending);
    if (sending->chunk != NULL)
        chunk_release(sending->chunk);
}

void http_refuse_file(struct http_request *request, int error)
{
    static const struct http_problem forbidden = {
        .status = 403, .type = "forbidden", .title = "This file may not be read"};
    static const struct http_problem busy = {.status = 503,
                                             .type = "overloaded",
                                             .title = "Too much is going on to read this file",
                                             .retry_after_s = 1};
    static const struct http_problem broken = {
        .status = 500, .type = "internal-error", .title = "This file could not be read"};
    switch (error) {
    case ENOENT:
    case EISDIR:
        problem_reply_status(request, 404, NULL);
        break;
    case EACCES:
    case EPERM:
        http_problem_reply(request, &forbidden);
        break;
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        http_problem_reply(request, &busy);
        break;
    default:
        http_problem_reply(request, &broken);
    }
}

/* It can't be read on, or has become shorter than was promised. */
static void fail(struct sending *sending, int error)
{
    close_file(sending);
    if (sending->begun)
        h2o_send(sending->request->h2o, NULL, 0, H2O_SEND_STATE_ERROR);
    else
        http_refuse_file(sending->request, error);
}

/* -- the head -------------------------------------------------------------------------------- */

static void add_if_any(struct http_request *request, const char *name, struct str value)
{
    if (value.n != 0)
        http_add_header(request, name, value);
}

/* Sends the head; the body follows by h2o_send(). */
static void begin(struct sending *sending)
{
    struct http_request *request = sending->request;
    const struct http_file *file = &sending->file;
    const struct send_plan *plan = &sending->plan;
    char *modified = h2o_mem_alloc_pool(request->pool, HTTP_DATE_LENGTH + 1);
    http_date_format(file->modified, modified);
    http_add_header(request, "etag", file->etag);
    http_add_header(request, "last-modified", (struct str){modified, HTTP_DATE_LENGTH});
    add_if_any(request, "cache-control", file->cache_control);
    if (file->vary)
        http_add_header(request, "vary", STR("Accept-Encoding"));
    if (plan->status != 304) {
        http_add_header(request, "accept-ranges", STR("bytes"));
        add_if_any(request, "content-range", plan->content_range);
        add_if_any(request, "content-disposition", file->disposition);
        add_if_any(request, "repr-digest", file->repr_digest);
        if (file->encoding != NULL)
            http_add_header(request, "content-encoding", str_from(file->encoding));
    }
    sending->begun = true;
    request->may_code = file->may_code && file->encoding == NULL && file->size <= CODED_MAX;
    http_reply_begin(request, plan->status, plan->type, plan->length, &sending->generator);
}

static void send_head_only(struct sending *sending)
{
    begin(sending);
    close_file(sending);
    h2o_send(sending->request->h2o, NULL, 0, H2O_SEND_STATE_FINAL);
}

/* -- the body -------------------------------------------------------------------------------- */

static void on_chunk(struct sending *sending, ssize_t got);

static ssize_t read_chunk(const struct chunk *chunk, char *to, int flags)
{
    struct iovec vec = {.iov_base = to, .iov_len = chunk->wanted};
    ssize_t got;
    do
        got = preadv2(chunk->fd, &vec, 1, (off_t)chunk->offset, flags);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static void read_work(struct offload_job *job)
{
    struct chunk *chunk = CONTAINER_OF(job, struct chunk, job);
    if (chunk->left > chunk->wanted)
        posix_fadvise(chunk->fd, (off_t)(chunk->offset + chunk->wanted),
                      (off_t)(chunk->left < READ_AHEAD ? chunk->left : READ_AHEAD),
                      POSIX_FADV_WILLNEED);
    chunk->got = read_chunk(chunk, chunk->bytes, 0);
}

static void read_done(struct offload_job *job)
{
    struct chunk *chunk = CONTAINER_OF(job, struct chunk, job);
    struct sending *sending = chunk->sending;
    if (sending != NULL) {
        sending->reading = false;
        on_chunk(sending, chunk->got);
    } else {
        close(chunk->fd);
        chunk_release(chunk);
    }
}

static void read_next(struct sending *sending)
{
    struct chunk *chunk = sending->chunk;
    const struct send_part *part = &sending->plan.parts[sending->at];
    uint64_t left = part->n - sending->sent;
    chunk->fd = sending->file.fd;
    chunk->offset = part->first + sending->sent;
    chunk->left = left;
    chunk->wanted = left < chunk->size ? (size_t)left : chunk->size;
    ssize_t got = read_chunk(chunk, chunk->bytes, sending->file.in_memory ? 0 : RWF_NOWAIT);
    /* A file system that can't tell whether it would wait must be expected to. */
    if (got != -EAGAIN && got != -EOPNOTSUPP) {
        on_chunk(sending, got);
        return;
    }
    chunk->job = (struct offload_job){.work = read_work, .done = read_done, .loop = sending->loop};
    chunk->sending = sending;
    if (offload_submit(sending->reads, &chunk->job))
        sending->reading = true;
    else if (sending->begun)
        timer_start(sending->loop, &sending->pause, RETRY_MS);
    else
        fail(sending, EBUSY);
}

static void on_pause(struct timer *timer)
{
    read_next(CONTAINER_OF(timer, struct sending, pause));
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    struct sending *sending = CONTAINER_OF(generator, struct sending, generator);
    (void)req;
    sending->fast = loop_now_ms(sending->loop) - sending->sent_ms <= AT_ONCE_MS;
    change_chunk(sending);
    if (sending->turn < TURN) {
        read_next(sending);
    } else {
        sending->turn = 0;
        timer_start(sending->loop, &sending->pause, 0);
    }
}

static void on_chunk(struct sending *sending, ssize_t got)
{
    if (got <= 0) {
        fail(sending, got < 0 ? (int)-got : EIO);
        return;
    }
    if (!sending->begun)
        begin(sending);
    h2o_iovec_t vecs[3];
    size_t count = 0;
    const struct send_plan *plan = &sending->plan;
    const struct send_part *part = &plan->parts[sending->at];
    struct str head = part->head;
    if (sending->sent == 0 && head.n != 0)
        vecs[count++] = h2o_iovec_init(head.p, head.n);
    vecs[count++] = h2o_iovec_init(sending->chunk->bytes, (size_t)got);
    sending->turn += (size_t)got;
    sending->sent += (uint64_t)got;
    if (sending->sent == part->n) {
        sending->at++;
        sending->sent = 0;
    }
    bool last = sending->at == plan->count;
    if (last) {
        close_file(sending);
        if (plan->tail.n != 0)
            vecs[count++] = h2o_iovec_init(plan->tail.p, plan->tail.n);
    }
    sending->sent_ms = loop_now_ms(sending->loop);
    h2o_send(sending->request->h2o, vecs, count,
             last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

/* -- beginning ------------------------------------------------------------------------------- */

static void refuse(struct sending *sending, const struct http_problem *problem)
{
    close_file(sending);
    http_problem_reply(sending->request, problem);
}

void http_send_file(struct http_request *request, const struct http_file *file,
                    struct offload *reads)
{
    static const struct http_problem changed = {
        .status = 412, .type = "precondition-failed", .title = "The file is not the expected one"};
    static const struct http_problem outside = {
        .status = 416, .type = "range-not-satisfiable", .title = "The file has no such bytes"};
    struct http_loop *http = request->conn->http;
    struct sending *sending = h2o_mem_alloc_shared(request->pool, sizeof(*sending), on_dispose);
    *sending = (struct sending){.generator.proceed = on_proceed,
                                .request = request,
                                .loop = request->loop,
                                .chunks = http->chunks,
                                .reads = reads,
                                .file = *file};
    timer_init(&sending->pause, on_pause);
    sending->plan = send_plan_make(request, file);
    if (sending->plan.status == 412) {
        refuse(sending, &changed);
    } else if (sending->plan.status == 416) {
        http_add_header(request, "content-range", sending->plan.content_range);
        refuse(sending, &outside);
    } else if (sending->plan.count == 0) {
        send_head_only(sending);
    } else {
        sending->fast = true;
        change_chunk(sending);
        read_next(sending);
    }
}
