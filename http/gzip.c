/* Answers compressed for those who accept it, with h2o's compressor but not as its filter: so what
 * is sent as a whole keeps its Content-Length, and what goes out bit by bit is flushed with each.
 *
 * Pages know their own mind (pages/reply.c): they are kept compressed and have a strong ETag.
 * Others are judged when their headers are complete: what is replied as a whole is compressed as a
 * whole; what passes, an upstream's answer or a file without a variant on the disk, goes through a
 * stage in front of h2o's own. Such an answer has other bytes than its ETag stood for, so that
 * becomes a weak one; ranges and digests, which are about bytes, are no more said to be there.
 *
 * A compressor takes 270 KiB for as long as its reply lasts. Of replies that may last, because
 * their parts do, only so many a loop are compressed at once; the others go out as they are. */
#include <strings.h>
#include "http/conditional.h"
#include "http/http_internal.h"

enum {
    GZIP_LEVEL = 1,
    MAX_GZIP_STREAMS = 256 /* in a loop: 68 MiB */
};

struct http_gzip {
    h2o_compress_context_t *context;
    struct http_loop *http;
};

/* A stage of a reply that is compressed on its way. */
struct coder {
    h2o_ostream_t stream;
    struct http_gzip *gzip;
};

static bool is_accepted(const struct http_request *request)
{
    struct str accepted = field_combined(request, STR("accept-encoding"), ", ");
    struct codings codings = accepted_codings(accepted);
    for (unsigned i = 0; i < codings.count; i++)
        if (codings.best[i] == CODING_GZIP)
            return true;
    return false;
}

/* A list's "text/" and a star means no stream of events: its bytes are few, and last. */
static bool type_suits(const struct config_strings *types, struct str type)
{
    type = next_item(&type, ';');
    for (size_t i = 0; i < types->count; i++) {
        struct str one = types->items[i];
        if (str_caseeq(one, type))
            return true;
        if (one.p[one.n - 1] == '*' && type.n > one.n - 1 &&
            strncasecmp(one.p, type.p, one.n - 1) == 0 &&
            !str_caseeq(type, STR("text/event-stream")))
            return true;
    }
    return false;
}

static bool is_worth_it(const struct http_request *request, struct str type, size_t length)
{
    const struct config_server *config = &request->server->config->server;
    return config->gzip && length >= config->gzip_min_size && request->h2o->version >= 0x101 &&
           type_suits(&config->gzip_types, type);
}

bool http_wants_gzip(const struct http_request *request, const char *type, size_t length)
{
    return request->conn != NULL && is_worth_it(request, str_from(type), length) &&
           is_accepted(request);
}

/* -- whole ------------------------------------------------------------------------------------ */

void http_gzip(struct http_request *request, struct out *body)
{
    h2o_compress_context_t *context = h2o_compress_gzip_open(request->pool, GZIP_LEVEL);
    h2o_iovec_t *vecs, *coded;
    size_t count = out_vecs(body, &vecs);
    context->transform(context, vecs, count, H2O_SEND_STATE_FINAL, &coded, &count);
    out_init(body, request->pool, 64);
    for (size_t i = 0; i < count; i++)
        out_refer(body, coded[i].base, coded[i].len);
    request->is_gzip = true;
}

/* -- bit by bit ------------------------------------------------------------------------------- */

static void on_dispose(void *arg)
{
    struct http_gzip *gzip = arg;
    gzip->http->gzip_streams--;
}

static void open_gzip(struct http_request *request)
{
    struct http_loop *http = request->conn->http;
    struct http_gzip *gzip = h2o_mem_alloc_shared(request->pool, sizeof(*gzip), on_dispose);
    gzip->context = h2o_compress_gzip_open(request->pool, GZIP_LEVEL);
    gzip->http = http;
    http->gzip_streams++;
    request->gzip = gzip;
    request->is_gzip = true;
}

static bool is_room(const struct http_request *request)
{
    return request->conn->http->gzip_streams < MAX_GZIP_STREAMS;
}

void gzip_begin(struct http_request *request, const char *type)
{
    if (http_wants_gzip(request, type, SIZE_MAX) && is_room(request))
        open_gzip(request);
}

size_t gzip_next(struct http_request *request, h2o_iovec_t *bytes, h2o_send_state_t state,
                 h2o_iovec_t **coded_r)
{
    h2o_compress_context_t *context = request->gzip->context;
    size_t count;
    context->transform(context, bytes, 1, state, coded_r, &count);
    return count;
}

/* -- others' replies -------------------------------------------------------------------------- */

static h2o_header_t *find(const struct http_request *request, const h2o_token_t *token)
{
    const h2o_headers_t *headers = &request->h2o->res.headers;
    ssize_t at = h2o_find_header(headers, token, -1);
    return at == -1 ? NULL : &headers->entries[at];
}

/* Whether a line of that name lists the item. */
static bool lists(const struct http_request *request, const h2o_token_t *token, struct str item)
{
    const h2o_headers_t *headers = &request->h2o->res.headers;
    for (ssize_t at = -1; (at = h2o_find_header(headers, token, at)) != -1;) {
        struct str list = {headers->entries[at].value.base, headers->entries[at].value.len};
        while (list.n != 0)
            if (str_caseeq(next_item(&list, ','), item))
                return true;
    }
    return false;
}

static void add_vary(struct http_request *request)
{
    if (!lists(request, H2O_TOKEN_VARY, STR("Accept-Encoding")))
        http_add_header(request, "vary", STR("Accept-Encoding"));
}

void gzip_whole(struct http_request *request, const char *type, struct out *body)
{
    /* Not what has a validator of its own; nor a form's token, which the length of what is
     * compressed together with a visitor's words would give away. */
    if (type == NULL || !request->site->is_main ||
        !is_worth_it(request, str_from(type), out_size(body)) || request->csrf_cookie.n != 0 ||
        find(request, H2O_TOKEN_ETAG) != NULL)
        return;
    add_vary(request);
    if (is_accepted(request))
        http_gzip(request, body);
}

static void weaken(struct http_request *request, h2o_header_t *etag)
{
    if (etag != NULL && etag->value.len != 0 && etag->value.base[0] == '"')
        etag->value = h2o_concat(request->pool, h2o_iovec_init(H2O_STRLIT("W/")), etag->value);
}

/* What the client has is what was compressed, if its ETag is a weak one. */
static void judge_304(struct http_request *request)
{
    h2o_header_t *etag = find(request, H2O_TOKEN_ETAG);
    struct str has = field_combined(request, STR("if-none-match"), ", ");
    if (etag != NULL && has.p != NULL &&
        !etag_list_has(has, (struct str){etag->value.base, etag->value.len}, true))
        weaken(request, etag);
}

static void drop_what_is_about_bytes(struct http_request *request)
{
    static const struct str names[] = {{"accept-ranges", 13},
                                       {"repr-digest", 11},
                                       {"content-digest", 14},
                                       {"digest", 6},
                                       {"content-md5", 11}};
    h2o_headers_t *headers = &request->h2o->res.headers;
    size_t kept = 0;
    for (size_t i = 0; i < headers->size; i++) {
        struct str name = {headers->entries[i].name->base, headers->entries[i].name->len};
        bool goes = false;
        for (size_t k = 0; k < COUNT(names); k++)
            goes = goes || str_caseeq(name, names[k]);
        if (!goes)
            headers->entries[kept++] = headers->entries[i];
    }
    headers->size = kept;
}

size_t gzip_judge(struct http_request *request, int status, size_t length)
{
    const h2o_header_t *type = find(request, H2O_TOKEN_CONTENT_TYPE);
    if (status == 304 && request->server->config->server.gzip)
        judge_304(request);
    if (status != 200 || type == NULL ||
        !is_worth_it(request, (struct str){type->value.base, type->value.len}, length) ||
        find(request, H2O_TOKEN_CONTENT_ENCODING) != NULL ||
        lists(request, H2O_TOKEN_CACHE_CONTROL, STR("no-transform")))
        return length;
    add_vary(request);
    if (!is_accepted(request) || !is_room(request))
        return length;
    if (!str_eq(request->method, STR("HEAD")))
        open_gzip(request);
    weaken(request, find(request, H2O_TOKEN_ETAG));
    drop_what_is_about_bytes(request);
    http_add_header(request, "content-encoding", STR("gzip"));
    return SIZE_MAX;
}

static void send_coded(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bytes, size_t count,
                       h2o_send_state_t state)
{
    const struct coder *coder = CONTAINER_OF(self, struct coder, stream);
    h2o_compress_context_t *context = coder->gzip->context;
    h2o_iovec_t *coded = NULL;
    if (state == H2O_SEND_STATE_ERROR)
        count = 0;
    else if (count != 0 || state == H2O_SEND_STATE_FINAL)
        context->transform(context, bytes, count, state, &coded, &count);
    h2o_ostream_send_next(self, req, coded, count, state);
}

void gzip_attach(struct http_request *request)
{
    h2o_req_t *req = request->h2o;
    struct coder *coder = (void *)h2o_add_ostream(req, sizeof(*coder), &req->_ostr_top);
    coder->stream.do_send = send_coded;
    coder->gzip = request->gzip;
    request->gzip = NULL; /* relay.c need do nothing */
    request->coder = &coder->stream;
}
