/* Sending an open file, whole or in ranges, without ever waiting for a disk.
 *
 * The loop reads what is in the kernel's memory, which is nearly everything nearly always, into one
 * chunk that stays in the CPU's cache, and writes it to the socket at once: on this path that is as
 * fast as sendfile() or faster, and the same for TLS and HTTP/2. What isn't in memory is read on an
 * offload thread, which also has the kernel fetch what comes next. One chunk of a file is in memory
 * at a time; the next is read when h2o has got rid of the last, so a slow client is a chunk and no
 * more. A client that leaves takes nothing away from under a job: the chunk is the job. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include "http/conditional.h"
#include "http/http_internal.h"
#include "http/range.h"

enum {
    CHUNK_SMALL = 16 * 1024,
    CHUNK_LARGE = 256 * 1024,
    SPARE_SMALL = 64, /* chunks kept for the next file */
    SPARE_LARGE = 16,
    READ_AHEAD = 2 * 1024 * 1024,
    TURN = 1024 * 1024, /* a client that reads as fast as we write lets the others in after it */
    RETRY_MS = 10
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
    unsigned small_count, large_count;
};

/* A run of the file's bytes, and what precedes it in a multipart body. */
struct part {
    struct str head;
    uint64_t first, n;
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
    struct timer pause;     /* while the offload's queue is full, or others have their turn */
    const struct part *at;  /* being sent */
    const struct part *end; /* past the last one */
    struct part single;     /* what `at` points to when there is but one */
    uint64_t sent;          /* bytes of `at` */
    struct str tail;        /* after the last part */
    size_t turn;            /* bytes sent in this turn */
    int status;
    bool begun, reading;
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

static struct chunk *chunk_take(struct chunks *chunks, uint64_t bytes)
{
    bool small = bytes <= CHUNK_SMALL;
    struct chunk **list = small ? &chunks->small : &chunks->large, *chunk = *list;
    if (chunk != NULL) {
        *list = chunk->next;
        (*(small ? &chunks->small_count : &chunks->large_count))--;
        return chunk;
    }
    size_t size = small ? CHUNK_SMALL : CHUNK_LARGE;
    chunk = h2o_mem_alloc(sizeof(*chunk) + size);
    chunk->home = chunks;
    chunk->size = size;
    return chunk;
}

static void chunk_release(struct chunk *chunk)
{
    struct chunks *chunks = chunk->home;
    bool small = chunk->size == CHUNK_SMALL;
    struct chunk **list = small ? &chunks->small : &chunks->large;
    unsigned *count = small ? &chunks->small_count : &chunks->large_count;
    if (*count == (small ? SPARE_SMALL : SPARE_LARGE)) {
        free(chunk);
        return;
    }
    chunk->next = *list;
    *list = chunk;
    ++*count;
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

static struct str pool_printf(struct http_request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static struct str pool_printf(struct http_request *request, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = h2o_mem_alloc_pool(request->pool, (size_t)n + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return (struct str){text, (size_t)n};
}

static void add_if_any(struct http_request *request, const char *name, struct str value)
{
    if (value.n != 0)
        http_add_header(request, name, value);
}

/* Sends the head; the body follows by h2o_send(). */
static void begin(struct sending *sending, const char *type, uint64_t length)
{
    struct http_request *request = sending->request;
    const struct http_file *file = &sending->file;
    char *modified = h2o_mem_alloc_pool(request->pool, HTTP_DATE_LENGTH + 1);
    http_date_format(file->modified, modified);
    http_add_header(request, "etag", file->etag);
    http_add_header(request, "last-modified", (struct str){modified, HTTP_DATE_LENGTH});
    add_if_any(request, "cache-control", file->cache_control);
    if (file->vary)
        http_add_header(request, "vary", STR("Accept-Encoding"));
    if (sending->status != 304) {
        http_add_header(request, "accept-ranges", STR("bytes"));
        add_if_any(request, "content-disposition", file->disposition);
        add_if_any(request, "repr-digest", file->repr_digest);
        if (file->encoding != NULL)
            http_add_header(request, "content-encoding", str_from(file->encoding));
    }
    sending->begun = true;
    http_reply_begin(request, sending->status, type, length, &sending->generator);
}

static void send_head_only(struct sending *sending)
{
    begin(sending, sending->file.type, sending->file.size);
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
    uint64_t left = sending->at->n - sending->sent;
    chunk->fd = sending->file.fd;
    chunk->offset = sending->at->first + sending->sent;
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
    if (sending->turn < TURN) {
        read_next(sending);
    } else {
        sending->turn = 0;
        timer_start(sending->loop, &sending->pause, 0);
    }
}

static void begin_parts(struct sending *sending);

static void on_chunk(struct sending *sending, ssize_t got)
{
    if (got <= 0) {
        fail(sending, got < 0 ? (int)-got : EIO);
        return;
    }
    if (!sending->begun)
        begin_parts(sending);
    h2o_iovec_t vecs[3];
    size_t count = 0;
    struct str head = sending->at->head;
    if (sending->sent == 0 && head.n != 0)
        vecs[count++] = h2o_iovec_init(head.p, head.n);
    vecs[count++] = h2o_iovec_init(sending->chunk->bytes, (size_t)got);
    sending->turn += (size_t)got;
    sending->sent += (uint64_t)got;
    if (sending->sent == sending->at->n) {
        sending->at++;
        sending->sent = 0;
    }
    bool last = sending->at == sending->end;
    if (last) {
        close_file(sending);
        if (sending->tail.n != 0)
            vecs[count++] = h2o_iovec_init(sending->tail.p, sending->tail.n);
    }
    h2o_send(sending->request->h2o, vecs, count,
             last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

/* -- ranges ---------------------------------------------------------------------------------- */

static struct str content_range(struct sending *sending, const struct range *range)
{
    return pool_printf(sending->request, "bytes %llu-%llu/%llu", (unsigned long long)range->first,
                       (unsigned long long)(range->first + range->n - 1),
                       (unsigned long long)sending->file.size);
}

/* multipart/byteranges (RFC 9110 section 14.6). Nobody may put the boundary into a file, so it
 * can't be guessed. */
static void plan_multipart(struct sending *sending, const struct range *ranges, size_t count)
{
    struct http_request *request = sending->request;
    uint8_t random[16];
    char boundary[2 * sizeof(random) + 1];
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), boundary);
    struct part *parts = h2o_mem_alloc_pool(request->pool, count * sizeof(*parts));
    for (size_t i = 0; i < count; i++) {
        parts[i] = (struct part){
            .head = pool_printf(request, "%s--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n",
                                i == 0 ? "" : "\r\n", boundary, sending->file.type,
                                content_range(sending, &ranges[i]).p),
            .first = ranges[i].first,
            .n = ranges[i].n,
        };
    }
    sending->at = parts;
    sending->end = parts + count;
    sending->tail = pool_printf(request, "\r\n--%s--\r\n", boundary);
    sending->file.type = pool_printf(request, "multipart/byteranges; boundary=%s", boundary).p;
}

static uint64_t body_length(const struct sending *sending)
{
    uint64_t length = sending->tail.n;
    for (const struct part *part = sending->at; part != sending->end; part++)
        length += part->head.n + part->n;
    return length;
}

static void begin_parts(struct sending *sending)
{
    if (sending->status == 206 && sending->tail.n == 0) {
        const struct range range = {sending->single.first, sending->single.n};
        http_add_header(sending->request, "content-range", content_range(sending, &range));
    }
    begin(sending, sending->file.type, body_length(sending));
}

static struct str list_of(const struct http_request *request, struct str name)
{
    return field_combined(request, name, ", ");
}

/* What is to be sent: 200 or 206, or 416. */
static int plan(struct sending *sending)
{
    const struct http_request *request = sending->request;
    const struct http_file *file = &sending->file;
    struct range ranges[RANGES_MAX];
    size_t count = 0;
    struct str range = list_of(request, STR("range"));
    sending->single = (struct part){.n = file->size};
    sending->at = &sending->single;
    sending->end = sending->at + 1;
    if (range.p == NULL ||
        !range_allowed(http_header(request, STR("if-range")), file->etag, file->modified))
        return 200;
    switch (range_parse(range, file->size, ranges, &count)) {
    case RANGE_WHOLE:
        return 200;
    case RANGE_UNSATISFIABLE:
        return 416;
    case RANGE_PARTS:
        break;
    }
    if (count == 1) {
        sending->single.first = ranges[0].first;
        sending->single.n = ranges[0].n;
    } else {
        plan_multipart(sending, ranges, count);
    }
    return 206;
}

/* -- beginning ------------------------------------------------------------------------------- */

static int check_preconditions(const struct http_request *request, const struct http_file *file)
{
    const struct preconditions conditions = {
        .if_match = list_of(request, STR("if-match")),
        .if_unmodified_since = list_of(request, STR("if-unmodified-since")),
        .if_none_match = list_of(request, STR("if-none-match")),
        .if_modified_since = list_of(request, STR("if-modified-since")),
    };
    return preconditions_evaluate(&conditions, file->etag, file->modified);
}

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
    bool head = str_eq(request->method, STR("HEAD"));
    sending->status = check_preconditions(request, file);
    if (sending->status == 200 && !head) /* ranges are defined for GET alone */
        sending->status = plan(sending);
    if (sending->status == 412) {
        refuse(sending, &changed);
    } else if (sending->status == 416) {
        http_add_header(request, "content-range",
                        pool_printf(request, "bytes */%llu", (unsigned long long)file->size));
        refuse(sending, &outside);
    } else if (sending->status == 304 || head || file->size == 0) {
        send_head_only(sending);
    } else {
        uint64_t most = 0;
        for (const struct part *part = sending->at; part != sending->end; part++)
            most = part->n > most ? part->n : most;
        sending->chunk = chunk_take(http->chunks, most);
        read_next(sending);
    }
}
