/* What a client of tus is answered: the header fields that tell where its upload stands, and
 * problems, always as JSON, since nobody reads them but programs. */
#include "files/tus.h"

#include <stdio.h>

/* A signed Location is good for longer than any upload takes; the upload itself expires. */
enum { LOCATION_SECONDS = 30 * 24 * 3600 };

const struct str tus_version = {"1.0.0", 5};
static const struct str extensions = {
    "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination", 83};

/* -- where it stands -- */

static void add_number(struct http_request *request, const char *name, uint64_t number)
{
    char *text = h2o_mem_alloc_pool(request->pool, 24);
    int n = snprintf(text, 24, "%llu", (unsigned long long)number);
    http_add_header(request, name, (struct str){text, (size_t)n});
}

void tus_add_offset(struct http_request *request, uint64_t offset)
{
    add_number(request, "upload-offset", offset);
}

static void add_expiry(struct http_request *request, const struct partial_record *record)
{
    struct tm tm;
    time_t seconds = record->expires_ms / 1000;
    char *text = h2o_mem_alloc_pool(request->pool, H2O_TIMESTR_RFC1123_LEN + 1);
    gmtime_r(&seconds, &tm);
    h2o_time2str_rfc1123(text, &tm);
    http_add_header(request, "upload-expires", (struct str){text, H2O_TIMESTR_RFC1123_LEN});
}

static struct str joined(h2o_mem_pool_t *pool, struct str path, const char *id)
{
    h2o_iovec_t text = h2o_concat(pool, h2o_iovec_init(path.p, path.n),
                                  h2o_iovec_init(H2O_STRLIT("/")), h2o_iovec_init(id, STORE_ID));
    return (struct str){text.base, text.len};
}

static void add_location(struct tus *tus)
{
    struct http_request *request = tus->request;
    struct str location = joined(request->pool, tus->route->path, tus->partial.id);
    if (tus->route->config->auth == AUTH_SIGNED)
        location = http_signed_url(request, HTTP_MAY_WRITE, location, STR(""),
                                   (uint64_t)(clock_unix_ms() / 1000) + LOCATION_SECONDS);
    http_add_header(request, "location", location);
}

/* RFC 9530 section 3. Who sent all of it may compare, without reading it back. */
static void add_digest(struct http_request *request, const uint8_t value[32])
{
    static const struct str front = {"sha-256=:", 9};
    char *text = h2o_mem_alloc_pool(request->pool, front.n + BASE64_LENGTH(32) + 1);
    memcpy(text, front.p, front.n);
    size_t n = front.n + base64_encode(value, 32, text + front.n);
    text[n++] = ':';
    http_add_header(request, "repr-digest", (struct str){text, n});
}

static void add_whole(struct tus *tus)
{
    const struct partial *partial = &tus->partial;
    if (tus->route->download.n == 0) /* no representation that it would be the digest of */
        return;
    http_add_header(tus->request, "content-location",
                    joined(tus->request->pool, tus->route->download, partial->id));
    add_digest(tus->request,
               partial->incoming.whole ? partial->incoming.sha256 : partial->file.sha256);
}

void tus_answer(struct tus *tus)
{
    struct http_request *request = tus->request;
    const struct partial *partial = &tus->partial;
    if (request == NULL)
        return;
    bool whole = partial->state == PARTIAL_WHOLE;
    if (tus->method == HTTP_POST)
        add_location(tus);
    if (tus->method == HTTP_PATCH || tus->has_body)
        tus_add_offset(request, whole ? tus->size : partial->record.offset);
    if (whole)
        add_whole(tus);
    else
        add_expiry(request, &partial->record);
    http_reply(request, tus->method == HTTP_POST ? 201 : 204, NULL, NULL);
    tus->request = NULL;
}

void tus_answer_head(struct tus *tus)
{
    struct http_request *request = tus->request;
    const struct partial *partial = &tus->partial;
    struct str metadata;
    http_add_header(request, "cache-control", STR("no-store"));
    if (partial->state == PARTIAL_WHOLE) {
        metadata = tus_print_metadata(request->pool, partial->file.name);
        tus_add_offset(request, partial->file.size);
        add_number(request, "upload-length", partial->file.size);
    } else {
        tus_add_offset(request, partial->record.offset);
        if (partial->record.size != UINT64_MAX)
            add_number(request, "upload-length", partial->record.size);
        else
            http_add_header(request, "upload-defer-length", STR("1"));
        h2o_iovec_t kept =
            h2o_strdup(request->pool, partial->record.metadata.p, partial->record.metadata.n);
        metadata = (struct str){kept.base, kept.len};
        add_expiry(request, &partial->record);
    }
    if (metadata.n != 0)
        http_add_header(request, "upload-metadata", metadata);
    http_reply(request, 200, NULL, NULL);
    tus->request = NULL;
}

void tus_answer_get(struct tus *tus)
{
    struct http_request *request = tus->request;
    if (tus->partial.state != PARTIAL_WHOLE || tus->route->download.n == 0) {
        tus_refuse(tus, &tus_not_found);
        return;
    }
    http_add_header(request, "location",
                    joined(request->pool, tus->route->download, tus->partial.id));
    http_reply(request, 303, NULL, NULL);
    tus->request = NULL;
}

void tus_answer_options(struct http_request *request, const struct upload_route *route)
{
    http_add_header(request, "tus-version", tus_version);
    http_add_header(request, "tus-extension", extensions);
    add_number(request, "tus-max-size", route->config->max_size);
    http_add_header(request, "tus-checksum-algorithm", tus_checksum_algorithms);
    http_reply(request, 204, NULL, NULL);
}

void tus_refuse_method(struct http_request *request, bool item)
{
    struct http_problem problem = {.status = 405,
                                   .type = "method-not-allowed",
                                   .title = "This can't be done to an upload",
                                   .allow = item ? "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
                                                 : "GET, HEAD, POST, PUT, OPTIONS",
                                   .json_only = true};
    http_problem_reply(request, &problem);
}

/* -- why not -- */

/* Of what brings bytes, or would. */
static void count_refusal(const struct tus *tus)
{
    if (tus->request != NULL && (tus->method & (HTTP_POST | HTTP_PATCH)) != 0)
        upload_count_refusal(tus->route, tus->request);
}

void tus_refuse(struct tus *tus, const struct http_problem *problem)
{
    if (tus->request != NULL)
        http_problem_reply(tus->request, problem);
    count_refusal(tus);
    tus->request = NULL;
}

void tus_refuse_result(struct tus *tus, enum storage_result result)
{
    if (result == STORAGE_TOO_LARGE) {
        tus_refuse(tus, &tus_too_large);
        return;
    }
    if (tus->request != NULL)
        upload_refuse(tus->request, result);
    count_refusal(tus);
    tus->request = NULL;
}
