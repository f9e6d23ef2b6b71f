/* Resumable uploads: tus 1.0 (https://tus.io/protocols/resumable-upload) with the extensions
 * creation, creation-with-upload, creation-defer-length, checksum, expiration and termination.
 *
 * OPTIONS PATH tells what there is; POST PATH makes an upload; HEAD, PATCH and DELETE of PATH/{id}
 * ask where to go on, bring bytes, and remove it. An upload of which all bytes have come is a file
 * like any other, of the same id; HEAD then says that it is at its end, and GET leads to it.
 *
 * Whoever works on an upload holds its lock, and lets go when a newcomer asks for it: see lock.h.
 */
#include "files/tus.h"

#include <stdlib.h>
#include "base/text.h"

enum { LOCK_RETRY_S = 1 };

#define PROBLEM(name, code, token, text) \
    const struct http_problem name = {   \
        .status = code, .type = token, .title = text, .json_only = true}

static PROBLEM(bad_version, 412, "unsupported-version", "This is not version 1.0.0 of tus");
static PROBLEM(bad_length, 400, "invalid-upload-length",
               "Either Upload-Length or Upload-Defer-Length: 1 is needed, and must not change");
static PROBLEM(bad_offset, 400, "invalid-upload-offset",
               "Upload-Offset is missing or is no number");
static PROBLEM(bad_metadata, 400, "invalid-upload-metadata", "Upload-Metadata is malformed");
static PROBLEM(long_metadata, 413, "upload-metadata-too-large", "Upload-Metadata is too long");
static PROBLEM(bad_checksum, 400, "invalid-upload-checksum", "Upload-Checksum is malformed");
static PROBLEM(bad_digest, 400, "malformed-digest", "A digest in the request's head is malformed");
static PROBLEM(bad_algorithm, 400, "unsupported-checksum-algorithm",
               "Upload-Checksum names an algorithm that is not among Tus-Checksum-Algorithm");
static PROBLEM(bad_content_type, 415, "invalid-content-type",
               "The Content-Type of a PATCH is application/offset+octet-stream");
PROBLEM(tus_not_found, 404, "upload-not-found", "There is no such upload");
static PROBLEM(expired, 410, "upload-expired", "Nobody went on with this upload for too long");
static PROBLEM(mismatch, 409, "mismatched-offset", "The upload goes on at another offset");
PROBLEM(tus_too_large, 413, "max-size-exceeded", "This is more than an upload may have here");
PROBLEM(tus_too_long, 413, "upload-size-exceeded", "These are more bytes than the upload is long");
const struct http_problem tus_locked = {.status = 423,
                                        .type = "upload-locked",
                                        .title = "Another request works on this upload",
                                        .retry_after_s = LOCK_RETRY_S,
                                        .json_only = true};

/* -- reading ----------------------------------------------------------------------------------- */

static unsigned method_of(const struct http_request *request)
{
    static const struct {
        struct str name;
        unsigned bit;
    } methods[] = {{{"GET", 3}, HTTP_GET},       {{"HEAD", 4}, HTTP_HEAD},
                   {{"POST", 4}, HTTP_POST},     {{"PATCH", 5}, HTTP_PATCH},
                   {{"DELETE", 6}, HTTP_DELETE}, {{"OPTIONS", 7}, HTTP_OPTIONS}};
    struct str name = http_header(request, STR("x-http-method-override"));
    if (name.p == NULL)
        name = request->method;
    for (size_t i = 0; i < COUNT(methods); i++)
        if (str_eq(name, methods[i].name))
            return methods[i].bit;
    return 0;
}

bool tus_wants(const struct http_request *request)
{
    if (http_header(request, STR("tus-resumable")).p != NULL ||
        http_header(request, STR("x-http-method-override")).p != NULL)
        return true;
    bool item = request->params[ITEM_PARAM].p != NULL;
    unsigned method = method_of(request);
    return method == HTTP_OPTIONS || method == HTTP_PATCH ||
           (item && (method == HTTP_HEAD || method == HTTP_GET));
}

/* Upload-Length or Upload-Defer-Length. NULL, or what is wrong. */
static const struct http_problem *read_length(struct tus *tus, bool needed)
{
    struct str length = http_header(tus->request, STR("upload-length"));
    struct str defer = http_header(tus->request, STR("upload-defer-length"));
    tus->size = UINT64_MAX;
    if (length.p == NULL && defer.p == NULL)
        return needed ? &bad_length : NULL;
    if (defer.p != NULL)
        return length.p == NULL && str_eq(defer, STR("1")) ? NULL : &bad_length;
    if (!tus_parse_number(length, &tus->size))
        return &bad_length;
    return tus->size > tus->route->config->max_size ? &tus_too_large : NULL;
}

/* Upload-Checksum, else what RFC 9530 has for the same: the stronger one that there is. */
static const struct http_problem *read_checksum(struct tus *tus)
{
    struct str text = http_header(tus->request, STR("upload-checksum"));
    struct digest_fields fields;
    if (text.p == NULL) {
        if (!upload_read_digests(tus->request, &fields))
            return &bad_digest;
        struct tus_checksum *checksum = &tus->checksum;
        tus->has_checksum = fields.has_sha512 || fields.has_sha256;
        checksum->kind = fields.has_sha512 ? DIGEST_SHA512 : DIGEST_SHA256;
        checksum->n = fields.has_sha512 ? sizeof(fields.sha512) : sizeof(fields.sha256);
        memcpy(checksum->value, fields.has_sha512 ? fields.sha512 : fields.sha256, checksum->n);
        return NULL;
    }
    enum tus_parsed parsed = tus_parse_checksum(text, &tus->checksum);
    tus->has_checksum = true;
    return parsed == TUS_PARSED ? NULL : parsed == TUS_UNKNOWN ? &bad_algorithm : &bad_checksum;
}

static bool is_offset_stream(const struct http_request *request)
{
    return str_caseeq(trimmed(http_header(request, STR("content-type"))),
                      STR("application/offset+octet-stream"));
}

void tus_keep(struct tus *tus)
{
    uint64_t counted = partial_counted(&tus->partial.record);
    ticket_keep(&tus->ticket, counted - tus->counted);
    tus->counted = counted;
}

/* -- a request's life -------------------------------------------------------------------------- */

/* This loop's. */
static _Thread_local h2o_linklist_t running;

/* The file first: who gets the lock must not find it held. */
static void release(struct tus *tus)
{
    timer_stop(tus->loop, &tus->let_go);
    if (tus->spooling)
        spool_fini(&tus->spool);
    digest_destroy(&tus->digest);
    partial_fini(&tus->partial);
    ticket_release(&tus->ticket);
    h2o_mem_clear_pool(&tus->pool);
}

void tus_end(struct tus *tus)
{
    h2o_linklist_unlink(&tus->link);
    release(tus);
    lock_drop(&tus->lock);
    if (--tus->refs == 0)
        free(tus);
}

void tus_loop_stop(const struct upload_route *route)
{
    h2o_linklist_t *next;
    for (h2o_linklist_t *at = running.next; at != NULL && at != &running; at = next) {
        struct tus *tus = H2O_STRUCT_FROM_MEMBER(struct tus, link, at);
        next = at->next;
        if (tus->route != route)
            continue;
        gw_assert(tus->refs == 1); /* what it waits for never comes */
        h2o_linklist_unlink(&tus->link);
        release(tus);
        lock_drop(&tus->lock);
        free(tus);
    }
}

/* The request's pool goes: it was answered, or its client has left. */
static void on_dispose(void *arg)
{
    struct tus *tus = *(struct tus **)arg;
    if (tus->request != NULL && tus->receiving) /* not answered */
        upload_count(tus->route, "left");
    tus->request = NULL;
    if (--tus->refs == 0) /* its work is over */
        free(tus);
    else if (tus->waiting)
        tus_end(tus);
    else
        tus_receive_left(tus);
}

static struct tus *begin(struct http_request *request, struct upload_route *route, unsigned method,
                         struct str id)
{
    struct tus **ref = h2o_mem_alloc_shared(request->pool, sizeof(*ref), on_dispose);
    struct tus *tus = *ref = h2o_mem_alloc(sizeof(*tus));
    *tus = (struct tus){.request = request,
                        .route = route,
                        .loop = request->loop,
                        .refs = 2,
                        .method = method,
                        .size = UINT64_MAX};
    h2o_mem_init_pool(&tus->pool);
    partial_init(&tus->partial, route->storage, request->loop, id);
    if (running.next == NULL)
        h2o_linklist_init_anchor(&running);
    h2o_linklist_insert(&running, &tus->link);
    return tus;
}

static void refuse_and_end(struct tus *tus, const struct http_problem *problem)
{
    tus_refuse(tus, problem);
    tus_end(tus);
}

/* -- HEAD, GET, DELETE ------------------------------------------------------------------------- */

static void on_removed(struct partial *partial)
{
    struct tus *tus = CONTAINER_OF(partial, struct tus, partial);
    if (partial->result == STORAGE_OK && tus->method == HTTP_DELETE)
        upload_count(tus->route, "terminated");
    if (partial->result == STORAGE_OK && tus->request != NULL) {
        http_reply(tus->request, 204, NULL, NULL);
        tus->request = NULL;
    } else {
        tus_refuse_result(tus, partial->result);
    }
    tus_end(tus);
}

static void remove_upload(struct tus *tus)
{
    if (tus->partial.state != PARTIAL_WHOLE) {
        partial_terminate(&tus->partial, on_removed);
        return;
    }
    struct http_request *request = tus->request;
    struct upload_route *route = tus->route;
    tus->request = NULL;
    tus_end(tus);
    upload_delete(request, route, request->params[ITEM_PARAM]);
}

/* -- PATCH ------------------------------------------------------------------------------------- */

static void refuse_offset(struct tus *tus, uint64_t offset)
{
    tus_add_offset(tus->request, offset);
    refuse_and_end(tus, &mismatch);
}

/* The file is whole: a client that did not hear of it asks again, and is told. */
static void patch_whole(struct tus *tus)
{
    tus->size = tus->partial.file.size;
    if (tus->offset != tus->size) {
        refuse_offset(tus, tus->size);
    } else if (http_body_length(tus->request) != 0) {
        refuse_and_end(tus, &tus_too_long);
    } else {
        tus_answer(tus);
        tus_end(tus);
    }
}

static void patch(struct tus *tus)
{
    const struct partial_record *record = &tus->partial.record;
    uint64_t length = http_body_length(tus->request);
    bool chunked = length == UINT64_MAX;
    tus->counted = partial_counted(record);
    if (tus->offset != record->offset) {
        refuse_offset(tus, record->offset);
        return;
    }
    if (tus->size == UINT64_MAX)
        tus->size = record->size;
    if ((record->size != UINT64_MAX && tus->size != record->size) || tus->size < tus->offset) {
        refuse_and_end(tus, &bad_length);
        return;
    }
    uint64_t most = tus->size != UINT64_MAX ? tus->size : tus->route->config->max_size;
    if (most < tus->offset || (!chunked && length > most - tus->offset)) {
        refuse_and_end(tus, tus->size != UINT64_MAX ? &tus_too_long : &tus_too_large);
        return;
    }
    /* What its length, or the body's, announces and the record does not count yet. */
    uint64_t will_have = tus->size != UINT64_MAX ? tus->size : tus->offset + (chunked ? 0 : length);
    enum storage_result result =
        ticket_take(&tus->ticket, tus->route->storage, record->owner, will_have - tus->counted);
    if (result != STORAGE_OK) {
        tus_refuse_result(tus, result);
        tus_end(tus);
        return;
    }
    tus_receive(tus);
}

/* -- HEAD, GET, PATCH, DELETE: finding it ------------------------------------------------------ */

static void on_opened(struct partial *partial)
{
    struct tus *tus = CONTAINER_OF(partial, struct tus, partial);
    bool removes = tus->method == HTTP_DELETE;
    if (tus->request == NULL) { /* the client has left */
        tus_end(tus);
    } else if (partial->state == PARTIAL_HELD) {
        refuse_and_end(tus, &tus_locked);
    } else if (partial->state == PARTIAL_BROKEN) {
        tus_refuse_result(tus, partial->result);
        tus_end(tus);
    } else if (partial->state == PARTIAL_ABSENT) {
        refuse_and_end(tus, &tus_not_found);
    } else if (partial->state == PARTIAL_EXPIRED && !removes) {
        refuse_and_end(tus, &expired);
    } else if (removes) {
        remove_upload(tus);
    } else if (tus->method == HTTP_PATCH) {
        if (partial->state == PARTIAL_WHOLE)
            patch_whole(tus);
        else
            patch(tus);
    } else {
        if (tus->method == HTTP_HEAD)
            tus_answer_head(tus);
        else
            tus_answer_get(tus);
        tus_end(tus);
    }
}

/* NULL, or what is wrong. */
static const struct http_problem *read_patch(struct tus *tus)
{
    if (!is_offset_stream(tus->request))
        return &bad_content_type;
    if (!tus_parse_number(http_header(tus->request, STR("upload-offset")), &tus->offset))
        return &bad_offset;
    const struct http_problem *problem = read_length(tus, false);
    return problem != NULL ? problem : read_checksum(tus);
}

static void on_granted(void *arg)
{
    struct tus *tus = arg;
    bool writes = tus->method == HTTP_PATCH || tus->method == HTTP_DELETE;
    tus->waiting = false;
    partial_open(&tus->partial, writes, on_opened);
}

static void on_timed_out(void *arg)
{
    struct tus *tus = arg;
    tus->waiting = false;
    tus->lock = NULL;
    refuse_and_end(tus, &tus_locked);
}

static void on_wanted(void *arg)
{
    struct tus *tus = arg;
    tus->wanted = true;
    tus_receive_wanted(tus);
}

static void take_lock(struct tus *tus)
{
    static const struct lock_events events = {on_granted, on_timed_out, on_wanted};
    bool held;
    tus->lock = lock_take(tus->loop, (struct str){tus->partial.id, STORE_ID},
                          tus->route->config->lock_timeout_ms, &events, tus, &held);
    tus->waiting = !held;
}

static void find(struct http_request *request, struct upload_route *route, unsigned method,
                 struct str id)
{
    struct tus *tus = begin(request, route, method, id);
    const struct http_problem *problem = method == HTTP_PATCH ? read_patch(tus) : NULL;
    if (problem != NULL) {
        refuse_and_end(tus, problem);
        return;
    }
    if (method != HTTP_GET) /* it neither writes nor has to know how far somebody is */
        take_lock(tus);
    if (!tus->waiting)
        on_granted(tus);
}

/* -- POST -------------------------------------------------------------------------------------- */

static void on_created_open(struct partial *partial)
{
    struct tus *tus = CONTAINER_OF(partial, struct tus, partial);
    if (partial->state != PARTIAL_OPEN)
        tus_refuse_result(tus, partial->state == PARTIAL_BROKEN ? partial->result : STORAGE_FAILED);
    if (tus->request == NULL)
        partial_terminate(partial, on_removed);
    else if (tus->size == 0)
        tus_finish(tus);
    else
        tus_receive(tus);
}

static void on_created(struct partial *partial)
{
    struct tus *tus = CONTAINER_OF(partial, struct tus, partial);
    if (partial->result != STORAGE_OK) {
        tus_refuse_result(tus, partial->result);
        tus_end(tus);
        return;
    }
    tus_keep(tus);
    upload_count(tus->route, "created");
    if (tus->request == NULL) { /* nobody knows its id */
        partial_terminate(partial, on_removed);
    } else if (tus->has_body || tus->size == 0) {
        partial_open(partial, true, on_created_open);
    } else {
        tus_answer(tus);
        tus_end(tus);
    }
}

/* NULL, or what is wrong. */
static const struct http_problem *read_creation(struct tus *tus, struct partial_record *record_r)
{
    struct http_request *request = tus->request;
    const struct http_problem *problem = read_length(tus, true);
    if (problem != NULL)
        return problem;
    struct str metadata = http_header(request, STR("upload-metadata")), name;
    enum tus_parsed parsed = tus_parse_metadata(request->pool, metadata, &name);
    if (parsed != TUS_PARSED)
        return parsed == TUS_TOO_LONG ? &long_metadata : &bad_metadata;
    *record_r = (struct partial_record){
        .name = name, .owner = upload_owner(request), .metadata = metadata, .size = tus->size};

    uint64_t length = http_body_length(request);
    tus->has_body = is_offset_stream(request) && length != 0;
    if (!tus->has_body)
        return NULL;
    if (length != UINT64_MAX && tus->size != UINT64_MAX && length > tus->size)
        return &tus_too_long;
    if (length != UINT64_MAX && length > tus->route->config->max_size)
        return &tus_too_large;
    return read_checksum(tus);
}

static void create(struct http_request *request, struct upload_route *route)
{
    struct partial_record record;
    char id[STORE_ID + 1];
    storage_new_id(id);
    struct tus *tus = begin(request, route, HTTP_POST, (struct str){id, STORE_ID});
    const struct http_problem *problem = read_creation(tus, &record);
    if (problem != NULL) {
        refuse_and_end(tus, problem);
        return;
    }
    enum storage_result result = ticket_take(&tus->ticket, route->storage, record.owner,
                                             tus->size != UINT64_MAX ? tus->size : 0);
    if (result != STORAGE_OK) {
        tus_refuse_result(tus, result);
        tus_end(tus);
        return;
    }
    take_lock(tus);
    gw_assert(!tus->waiting);
    partial_create(&tus->partial, &record, on_created);
}

/* -- all of it --------------------------------------------------------------------------------- */

void tus_handle(struct http_request *request, struct upload_route *route)
{
    unsigned method = method_of(request);
    struct str id = request->params[ITEM_PARAM];
    bool item = id.p != NULL;
    http_add_header(request, "tus-resumable", tus_version);
    if (method == HTTP_OPTIONS) {
        tus_answer_options(request, route);
        return;
    }
    if (method != HTTP_GET && !str_eq(http_header(request, STR("tus-resumable")), tus_version)) {
        http_add_header(request, "tus-version", tus_version);
        http_problem_reply(request, &bad_version);
        return;
    }
    if (!http_authorize(request, route->config->auth, HTTP_MAY_WRITE))
        return;
    if (item && (method & (HTTP_GET | HTTP_HEAD | HTTP_PATCH | HTTP_DELETE)) != 0) {
        if (storage_id_valid(id))
            find(request, route, method, id);
        else
            http_problem_reply(request, &tus_not_found);
    } else if (!item && method == HTTP_POST) {
        if (http_csrf_check(request, STR("")) == CSRF_FINE)
            create(request, route);
        else
            http_csrf_refuse(request);
    } else {
        tus_refuse_method(request, item);
    }
}
