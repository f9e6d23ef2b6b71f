/* The life of a form or a raw body: let in, received, made whole, answered.
 *
 * The body's bytes come into the spool's buffers; what belongs to which file is found out there and
 * the disk's thread takes them from there. When the last are written, the same job makes the files
 * whole and gives their records to the store, so a small upload crosses from loop to disk to store
 * and back, once each.
 *
 * The request may go at any time (the client leaves), and so may the loop (shutting down). What is
 * given to jobs lives in memory of the upload's own, and the upload is freed when the last of them
 * has come back: nothing is kept of it, unless the commit had begun. */
#include "files/upload_internal.h"

#include <stdlib.h>

/* Where the request and the upload meet; in the request's pool. Reading ends once it is answered.
 */
struct upload_answer {
    struct http_body_reader reader;
    struct http_request *request;
    const struct upload_route *route;
    struct upload *upload; /* NULL: over */
};

/* This loop's. */
static _Thread_local h2o_linklist_t uploads;

/* -- beginning and end of its memory -- */

static void free_upload(struct upload *upload)
{
    for (size_t i = 0; i < upload->count; i++) {
        incoming_fini(upload->files[i]);
        digest_destroy(&upload->files[i]->file.digests[1]);
    }
    for (size_t i = 0; i < SPOOL_DIGESTS; i++)
        digest_destroy(&upload->spool.whole[i]);
    if (upload->form != NULL)
        form_fini(upload);
    spool_fini(&upload->spool);
    ticket_release(&upload->ticket);
    h2o_linklist_unlink(&upload->link);
    h2o_mem_clear_pool(&upload->pool);
    free(upload);
}

static void free_when_over(struct upload *upload)
{
    if (upload->answer == NULL && upload->idle && !upload->committing)
        free_upload(upload);
}

void upload_loop_stop(const struct upload_route *route)
{
    h2o_linklist_t *next;
    for (h2o_linklist_t *at = uploads.next; at != NULL && at != &uploads; at = next) {
        struct upload *upload = H2O_STRUCT_FROM_MEMBER(struct upload, link, at);
        next = at->next;
        if (upload->route != route)
            continue;
        gw_assert(upload->answer == NULL);
        free(upload->commit.records);
        free_upload(upload);
    }
    upload_delete_loop_stop(route);
}

struct http_request *upload_request(const struct upload *upload)
{
    return upload->answer->request;
}

static struct http_request *detach(struct upload *upload)
{
    struct http_request *request = upload->answer->request;
    upload->answer->upload = NULL;
    upload->answer = NULL;
    return request;
}

static void release(struct upload *upload)
{
    if (upload->idle)
        free_when_over(upload);
    else
        spool_abandon(&upload->spool); /* says that it is idle, which frees it */
}

struct http_request *upload_end(struct upload *upload)
{
    struct http_request *request = detach(upload);
    release(upload);
    return request;
}

void upload_fail(struct upload *upload, enum storage_result result)
{
    upload_refuse(upload_end(upload), result);
}

/* The request's memory goes: it was answered, or the client left. */
static void request_over(void *p)
{
    struct upload_answer *answer = p;
    if (answer->upload != NULL || !answer->request->replied)
        upload_count(answer->route, "left");
    else if (answer->request->h2o->res.status < 400)
        upload_count(answer->route, "finished");
    else
        upload_count_refusal(answer->route, answer->request);
    if (answer->upload != NULL)
        upload_end(answer->upload);
}

/* -- receiving -- */

struct incoming *upload_add_file(struct upload *upload, struct str name)
{
    if (upload->count == upload->capacity) {
        size_t capacity = upload->capacity != 0 ? 4 * upload->capacity : 1;
        struct incoming **files =
            h2o_mem_alloc_pool(&upload->pool, capacity * sizeof(struct incoming *));
        if (upload->count != 0)
            memcpy(files, upload->files, upload->count * sizeof(struct incoming *));
        upload->files = files;
        upload->capacity = capacity;
    }
    struct incoming *file = h2o_mem_alloc_pool(&upload->pool, sizeof(*file));
    incoming_init(file, upload->route->storage);
    file->name = name;
    upload->files[upload->count++] = file;
    return file;
}

bool upload_keep(struct upload *upload, struct incoming *file, struct str bytes)
{
    const struct config_upload *config = upload->route->config;
    if (bytes.n > config->max_size - file->file.offset) {
        upload_refuse_size(upload_end(upload), config);
        return false;
    }
    enum storage_result result = ticket_reserve(&upload->ticket, upload->bytes + bytes.n);
    if (result != STORAGE_OK) {
        upload_fail(upload, result);
        return false;
    }
    upload->bytes += bytes.n;
    spool_keep(&upload->spool, &file->file, bytes.p, bytes.n);
    return true;
}

static char *room(struct http_body_reader *reader, size_t *n_r)
{
    struct upload_answer *answer = CONTAINER_OF(reader, struct upload_answer, reader);
    return spool_room(&answer->upload->spool, n_r);
}

static void got(struct http_body_reader *reader, size_t n)
{
    struct upload *upload = CONTAINER_OF(reader, struct upload_answer, reader)->upload;
    size_t space;
    struct str bytes = {spool_room(&upload->spool, &space), n};
    http_serving(upload->answer->request, STR(""));
    upload_count_bytes(upload->route, n);
    if (upload->form != NULL ? form_take(upload, bytes)
                             : upload_keep(upload, upload->files[0], bytes))
        spool_push(&upload->spool, n);
}

static void end(struct http_body_reader *reader, enum http_body_end how)
{
    struct upload *upload = CONTAINER_OF(reader, struct upload_answer, reader)->upload;
    const struct config_upload *config = upload->route->config;
    if (how == BODY_TOO_LARGE)
        upload_refuse_size(upload_end(upload), config);
    else if (how != BODY_WHOLE)
        http_body_refuse(upload_end(upload), how);
    else if (upload->form == NULL || form_finish(upload))
        spool_flush(&upload->spool);
}

static void room_again(struct spool *spool)
{
    struct upload *upload = CONTAINER_OF(spool, struct upload, spool);
    if (upload->answer != NULL)
        http_body_resume(upload->answer->request);
}

/* -- making whole -- */

static void committed(struct storage_commit *commit)
{
    struct upload *upload = CONTAINER_OF(commit, struct upload, commit);
    upload->committing = false;
    if (upload->answer == NULL) {
        free_when_over(upload);
    } else if (commit->result != STORAGE_OK) {
        upload_fail(upload, commit->result);
    } else {
        upload_reply(detach(upload), upload);
        release(upload);
    }
}

/* A form's digest is of the form; a raw body's is its file's, which the commit checks. */
static bool body_is_expected(struct upload *upload)
{
    const uint8_t *const expected[] = {upload->expected.sha256, upload->expected.sha512};
    for (size_t i = 0; i < SPOOL_DIGESTS; i++) {
        uint8_t value[DIGEST_MAX];
        if (upload->spool.whole[i] == NULL)
            continue;
        size_t n = digest_finish(upload->spool.whole[i], value);
        if (memcmp(value, expected[i], n) != 0)
            return false;
    }
    return true;
}

/* On a disk thread. */
static void all_written(struct spool *spool)
{
    struct upload *upload = CONTAINER_OF(spool, struct upload, spool);
    upload->result = STORAGE_BAD_DIGEST;
    if (!body_is_expected(upload))
        return;
    upload->commit = (struct storage_commit){.storage = upload->route->storage,
                                             .files = upload->files,
                                             .count = upload->count,
                                             .ticket = &upload->ticket,
                                             .owner = upload->owner,
                                             .fields = upload->fields,
                                             .done = committed,
                                             .loop = upload->loop};
    upload->committing = true; /* the loop looks once the spool is idle, or it is committed */
    storage_commit_here(&upload->commit);
}

static void written(struct spool *spool, int error)
{
    struct upload *upload = CONTAINER_OF(spool, struct upload, spool);
    upload->idle = true;
    if (upload->answer != NULL && error != 0)
        upload_fail(upload, storage_error(upload->route->storage, "write a file", error));
    else if (upload->answer != NULL && !upload->committing)
        upload_fail(upload, upload->result);
    else
        free_when_over(upload);
}

/* -- letting in -- */

bool upload_read_digests(const struct http_request *request, struct digest_fields *fields_r)
{
    const h2o_headers_t *headers = request->headers;
    *fields_r = (struct digest_fields){.has_sha256 = false};
    for (size_t i = 0; i < headers->size; i++) {
        const h2o_header_t *header = &headers->entries[i];
        struct str name = {header->name->base, header->name->len};
        if ((str_caseeq(name, STR("content-digest")) || str_caseeq(name, STR("repr-digest"))) &&
            !digest_fields_read(fields_r, (struct str){header->value.base, header->value.len}))
            return false;
    }
    return true;
}

/* What can be told from the head. False: it was answered. */
static bool check_head(struct http_request *request, bool is_form, struct digest_fields *expected_r)
{
    static const struct upload_problem coded = {415, "unsupported-media-type",
                                                "Bodies with a Content-Encoding are not taken", 0};
    static const struct upload_problem piece = {
        400, "bad-request", "A piece of a file can't be put: there are resumable uploads", 0};
    static const struct upload_problem digests = {400, "malformed-digest",
                                                  "A digest in the request's head is malformed", 0};
    struct str coding = http_header(request, STR("content-encoding"));
    if (coding.n != 0 && !str_caseeq(coding, STR("identity")))
        upload_refuse_with(request, &coded, STR(""));
    else if (!is_form && http_header(request, STR("content-range")).n != 0)
        upload_refuse_with(request, &piece, STR(""));
    else if (!upload_read_digests(request, expected_r))
        upload_refuse_with(request, &digests, STR(""));
    else
        return true;
    return false;
}

static uint64_t largest_body(const struct config_upload *config, bool is_form)
{
    uint64_t largest;
    if (!is_form)
        return config->max_size;
    if (__builtin_mul_overflow(config->max_size, config->max_files, &largest) ||
        __builtin_add_overflow(largest, UPLOAD_FORM_SLACK, &largest))
        return UINT64_MAX - 1; /* UINT64_MAX is a length that isn't announced */
    return largest;
}

/* Takes a place for it, and of the quotas what it will need at least. False: it was answered. */
static bool admit(struct http_request *request, struct upload_route *route, bool is_form,
                  struct ticket *ticket_r)
{
    uint64_t length = http_body_length(request), bytes = length == UINT64_MAX ? 0 : length;
    if (length != UINT64_MAX && length > largest_body(route->config, is_form)) {
        upload_refuse_size(request, route->config);
        upload_count_refusal(route, request);
        return false;
    }
    if (is_form)
        bytes = bytes > UPLOAD_FORM_SLACK ? bytes - UPLOAD_FORM_SLACK : 0;
    enum storage_result result =
        ticket_take(ticket_r, route->storage, upload_owner(request), bytes);
    if (result != STORAGE_OK) {
        upload_refuse(request, result);
        upload_count_refusal(route, request);
    }
    return result == STORAGE_OK;
}

/* PUT PATH/{name}, ?name= or Content-Disposition, in this order; without a path before it. */
static struct str raw_name(struct http_request *request, h2o_mem_pool_t *pool)
{
    struct str name = request->params[ITEM_PARAM];
    if (name.n == 0)
        name = http_query(request, STR("name"));
    if (name.n == 0)
        return form_disposition_name(pool, http_header(request, STR("content-disposition")));
    for (size_t i = name.n; i-- != 0;)
        if (name.p[i] == '/' || name.p[i] == '\\') {
            name = (struct str){name.p + i + 1, name.n - i - 1};
            break;
        }
    return upload_text(pool, name, UPLOAD_NAME_MAX);
}

static void begin_raw(struct http_request *request, struct upload *upload)
{
    struct incoming *file = upload_add_file(upload, raw_name(request, &upload->pool));
    const struct digest_fields *expected = &upload->expected;
    if (expected->has_sha256)
        file->expected_sha256 = (struct str){(const char *)expected->sha256, 32};
    if (expected->has_sha512) {
        file->expected_sha512 = (struct str){(const char *)expected->sha512, 64};
        file->file.digests[1] = digest_create(DIGEST_SHA512);
    }
}

static void expect_body(struct upload *upload)
{
    if (upload->expected.has_sha256)
        upload->spool.whole[0] = digest_create(DIGEST_SHA256);
    if (upload->expected.has_sha512)
        upload->spool.whole[1] = digest_create(DIGEST_SHA512);
}

static struct upload *create(struct http_request *request, struct upload_route *route,
                             const struct ticket *ticket)
{
    struct upload *upload = h2o_mem_alloc(sizeof(*upload));
    memset(upload, 0, sizeof(*upload));
    upload->route = route;
    upload->loop = request->loop;
    upload->ticket = *ticket;
    upload->owner = ticket->owner;
    h2o_mem_init_pool(&upload->pool);
    if (uploads.next == NULL)
        h2o_linklist_init_anchor(&uploads);
    h2o_linklist_insert(&uploads, &upload->link);
    spool_init(&upload->spool, upload->loop, storage_disk(route->storage));
    upload->spool.room = room_again;
    upload->spool.idle = written;
    upload->spool.last = all_written;

    struct upload_answer *answer =
        h2o_mem_alloc_shared(request->pool, sizeof(*answer), request_over);
    *answer = (struct upload_answer){{room, got, end}, request, route, upload};
    upload->answer = answer;
    return upload;
}

void upload_receive(struct http_request *request, struct upload_route *route)
{
    static const struct upload_problem no_boundary = {
        400, "malformed-form", "The form's boundary is missing or malformed", 0};
    bool is_form = form_is_sent(request);
    struct digest_fields expected;
    struct ticket ticket;

    if (!http_authorize(request, (enum config_auth)route->config->auth, HTTP_MAY_WRITE))
        return;
    enum http_csrf csrf = http_csrf_check(request, STR(""));
    if (csrf == CSRF_WRONG || (csrf == CSRF_NEEDED && !is_form)) {
        http_csrf_refuse(request);
        return;
    }
    if (!check_head(request, is_form, &expected) || !admit(request, route, is_form, &ticket))
        return;

    struct upload *upload = create(request, route, &ticket);
    upload->expected = expected;
    if (!is_form) {
        begin_raw(request, upload);
    } else {
        expect_body(upload);
        if (!form_init(upload, csrf == CSRF_NEEDED)) {
            upload_refuse_with(upload_end(upload), &no_boundary, STR(""));
            return;
        }
    }
    http_body_read(request, &upload->answer->reader, largest_body(route->config, is_form));
}
