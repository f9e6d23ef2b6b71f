/* What a request for a certificate is answered with. */
#include <stdio.h>
#include "certificates/issue_internal.h"

struct str out_joined(struct out *out)
{
    h2o_iovec_t *vecs;
    size_t n = out_vecs(out, &vecs);
    if (n <= 1)
        return n == 0 ? STR("") : (struct str){vecs[0].base, vecs[0].len};
    char *text = h2o_mem_alloc_pool(out->pool, out_size(out)), *to = text;
    for (size_t i = 0; i < n; i++)
        to = mempcpy(to, vecs[i].base, vecs[i].len);
    return (struct str){text, (size_t)(to - text)};
}

struct str words_print(const struct words *words, const struct field_value *values, size_t count,
                       h2o_mem_pool_t *pool)
{
    struct out out;
    if (words->template == NULL)
        return words->constant;
    struct json_object *root = json_object_create(pool, count);
    for (size_t i = 0; i < count; i++)
        json_object_set(pool, root, values[i].name, json_from_text(&values[i].value));
    out_init(&out, pool, 256);
    template_render(words->template, json_from_object(root), pool, &out);
    return out_joined(&out);
}

/* -- the certificate --------------------------------------------------------------------------- */

static struct str disposition(const struct issue *issue)
{
    const struct section *section = issue->section;
    struct str constant = section->dispositions[issue->disposition];
    if (constant.p != NULL)
        return constant;
    return http_disposition(
        issue->request->pool, issue->disposition,
        words_print(&section->filename, issue->values, section->value_count, issue->request->pool));
}

static void add_printed(struct http_request *request, const char *name, const char *before,
                        const char *text, size_t n, const char *after)
{
    h2o_iovec_t value = h2o_concat(request->pool, h2o_iovec_init(before, strlen(before)),
                                   h2o_iovec_init(text, n), h2o_iovec_init(after, strlen(after)));
    http_add_header(request, name, (struct str){value.base, value.len});
}

static void add_digest(struct http_request *request, const uint8_t sha256[32])
{
    enum { ETAG_DIGITS = 32 };
    char hex[2 * 32 + 1], base64[BASE64_LENGTH(32) + 1];
    hex_encode(sha256, 32, hex);
    size_t base64_n = base64_encode(sha256, 32, base64);
    add_printed(request, "etag", "\"sha256-", hex, ETAG_DIGITS, "\"");
    add_printed(request, "repr-digest", "sha-256=:", base64, base64_n, ":");
}

enum issue_next issue_reply(struct issue *issue)
{
    struct http_request *request = issue->request;
    struct issue_work *work = issue->work;
    struct str url = issue->drawing.verify_url;
    http_add_header(request, "content-disposition", disposition(issue));
    if (work != NULL) /* what was drawn straight into the reply is never seen again */
        add_digest(request, issue->sha256);
    if (url.n != 0)
        add_printed(request, "link", "<", url.p, url.n, ">; rel=\"describedby\"");
    http_add_header(request, "cache-control", STR("private, no-store"));
    if (work != NULL) { /* goes with the request: its bytes stay until they are sent */
        struct str pdf = work->found ? work->find.pdf : buf_str(&work->pdf);
        out_init(&issue->out, request->pool, 1);
        out_refer(&issue->out, pdf.p, pdf.n);
    }
    issue->issued = true;
    http_reply(request, 200, "application/pdf", &issue->out);
    return ISSUE_OVER;
}

/* -- refusals ---------------------------------------------------------------------------------- */

static enum issue_next refuse(struct issue *issue, const struct http_problem *problem)
{
    http_problem_reply(issue->request, problem);
    return ISSUE_OVER;
}

/* Who sends JSON reads JSON. */
static bool wants_json(const struct issue *issue)
{
    struct str sent = http_header(issue->request, STR("content-type"));
    return input_body_of(sent) == INPUT_JSON || http_wants_json(issue->request);
}

enum issue_next issue_refuse(struct issue *issue, int status, const char *type, const char *title,
                             struct str detail)
{
    const struct http_problem problem = {.status = status,
                                         .type = type,
                                         .title = title,
                                         .detail = detail,
                                         .json_only = wants_json(issue)};
    return refuse(issue, &problem);
}

enum issue_next issue_refuse_busy(struct issue *issue)
{
    const struct http_problem problem = {.status = 503,
                                         .type = "busy",
                                         .title = "Too many certificates are being made right now",
                                         .detail = STR("nothing was issued; try again"),
                                         .json_only = wants_json(issue),
                                         .retry_after_s = 1};
    return refuse(issue, &problem);
}

/* Nothing tells when the first of them has had its day. */
enum issue_next issue_refuse_keys(struct issue *issue)
{
    const struct http_problem problem = {
        .status = 429,
        .type = "too-many-keys",
        .title = "Too many of your Idempotency-Keys are being kept",
        .detail = STR("nothing was issued; each is kept for a day"),
        .json_only = wants_json(issue),
        .retry_after_s = 60 * 60};
    return refuse(issue, &problem);
}

enum issue_next issue_refuse_broken(struct issue *issue)
{
    return issue_refuse(issue, 500, "certificate-failed", "The certificate can't be made",
                        STR("nothing was issued; the log says why"));
}

static struct str errors_member(struct http_request *request, const struct field_faults *faults)
{
    struct out out;
    out_init(&out, request->pool, 512);
    for (size_t i = 0; i < faults->count; i++) {
        out_str(&out, i == 0 ? STR(",\"errors\":[{\"field\":\"") : STR(",{\"field\":\""));
        out_json_escaped(&out, faults->items[i].field);
        out_str(&out, STR("\",\"detail\":\""));
        out_json_escaped(&out, faults->items[i].detail);
        out_str(&out, STR("\"}"));
    }
    out_str(&out, STR("]"));
    return out_joined(&out);
}

enum issue_next issue_refuse_fields(struct issue *issue, const struct field_faults *faults)
{
    struct http_request *request = issue->request;
    if (!wants_json(issue)) {
        form_page_reply(issue->section->form, request, &issue->input, faults);
        return ISSUE_OVER;
    }
    const struct http_problem problem = {.status = 400,
                                         .type = "fields-refused",
                                         .title = "Some fields are missing or can't be used",
                                         .members = errors_member(request, faults),
                                         .json_only = true};
    return refuse(issue, &problem);
}
