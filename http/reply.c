/* Replies: the fields that every answer has, and the body's vectors handed to h2o as they are. */
#include "http/http_internal.h"

/* h2o keeps its own copy of the vectors and needs nothing from us while it sends. */
static h2o_generator_t all_at_once = {NULL, NULL};

static const char *status_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {207, "Multi-Status"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {421, "Misdirected Request"},
        {423, "Locked"},
        {424, "Failed Dependency"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {460, "Checksum Mismatch"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {508, "Loop Detected"},
        {511, "Network Authentication Required"},
    };
    for (size_t i = 0; i < COUNT(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return status < 400 ? "OK" : "Error";
}

static void assert_one_line(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        gw_assert(value.p[i] != '\r' && value.p[i] != '\n' && value.p[i] != '\0');
}

void http_add_header(struct http_request *request, const char *lower_case_name, struct str value)
{
    if (request->h2o == NULL)
        return;
    assert_one_line(value);
    h2o_add_header_by_str(request->pool, &request->h2o->res.headers, lower_case_name,
                          strlen(lower_case_name), 1, NULL, value.p, value.n);
}

/* h2o would name itself in every answer. */
static void add_server(struct http_request *request)
{
    h2o_headers_t *headers = &request->h2o->res.headers;
    if (h2o_find_header(headers, H2O_TOKEN_SERVER, -1) == -1)
        h2o_add_header(request->pool, headers, H2O_TOKEN_SERVER, NULL, H2O_STRLIT("gateway"));
}

void reply_start(struct http_request *request, int status, size_t length,
                 h2o_generator_t *generator)
{
    static const struct str x_request_id = {"x-request-id", 12};
    h2o_req_t *req = request->h2o;
    gw_assert(req != NULL && !request->replied);
    request->replied = true;
    if (request->server->slow != NULL)
        request->replied_us = clock_us();
    watch_end(request->conn);
    add_server(request);
    chain_reply(request, status);
    if (request->may_code)
        length = gzip_judge(request, status, length);

    req->res.status = status;
    req->res.reason = status_reason(status);
    req->res.content_length = status != 204 && status != 304 ? length : SIZE_MAX;
    h2o_add_header_by_str(request->pool, &req->res.headers, x_request_id.p, x_request_id.n, 0, NULL,
                          request->id.p, request->id.n);
    https_add_hsts(request);
    sending_begins(request);
    bool lingers = body_reply(request) || request->conn->scan.status != 0;
    bool persistent = req->http1_is_persistent;
    h2o_start_response(req, generator);
    if (request->gzip != NULL && request->may_code)
        gzip_attach(request);
    if (h2o_find_header(&req->res.headers, H2O_TOKEN_TRANSFER_ENCODING, -1) != -1)
        req->http1_is_persistent = persistent & 1; /* h2o takes it away but for a 200 */
    if (lingers)
        linger_after_reply(req);
}

void http_reply_begin(struct http_request *request, int status, const char *content_type,
                      size_t length, h2o_generator_t *generator)
{
    static const struct str x_content_type_options = {"x-content-type-options", 22};
    h2o_headers_t *headers = &request->h2o->res.headers;
    if (content_type != NULL && status != 204 && status != 304)
        h2o_add_header(request->pool, headers, H2O_TOKEN_CONTENT_TYPE, NULL, content_type,
                       strlen(content_type));
    if (request->is_gzip && status != 304)
        h2o_add_header(request->pool, headers, H2O_TOKEN_CONTENT_ENCODING, NULL,
                       H2O_STRLIT("gzip"));
    h2o_add_header_by_str(request->pool, headers, x_content_type_options.p,
                          x_content_type_options.n, 0, NULL, "nosniff", 7);
    reply_start(request, status, length, generator);
}

void http_reply(struct http_request *request, int status, const char *content_type, struct out *out)
{
    h2o_iovec_t *vecs = NULL;
    if (out != NULL && status == 200 && !request->is_gzip)
        gzip_whole(request, content_type, out);
    size_t count = out == NULL ? 0 : out_vecs(out, &vecs);
    http_reply_begin(request, status, content_type, out == NULL ? 0 : out_size(out), &all_at_once);
    if (status == 204 || status == 304 || str_eq(request->method, STR("HEAD")))
        count = 0;
    if (count != 0)
        sending_holds(request, out_size(out));
    h2o_send(request->h2o, vecs, count, H2O_SEND_STATE_FINAL);
}
