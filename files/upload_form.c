/* What is in a form: files, which go on to the spool, and a few short fields that the
 * configuration names. Browsers send their parts in the page's order, so the token that tells our
 * own forms from another site's stands before the first file, and nothing is received without it.
 */
#include <stdlib.h>
#include "base/buf.h"
#include "base/text.h"
#include "files/form_fields.h"
#include "files/upload_internal.h"

enum {
    FIELD_MAX = 64 * 1024,   /* bytes of one field */
    FIELDS_MAX = 256 * 1024, /* of all of them */
    FIELD_COUNT_MAX = 1000,
    NAME_SHOWN = 100 /* bytes of a field's name in an error */
};

#define CSRF_FIELD "csrf_token"

struct upload_form {
    struct multipart multipart;
    enum { IN_NOTHING, IN_FILE, IN_FIELD, IN_TOKEN } in;
    struct incoming *file; /* IN_FILE; NULL: it has no name and, so far, no bytes */
    size_t which;          /* IN_FIELD */
    struct buf value;
    size_t fields_n; /* bytes of all fields */
    size_t field_count;
    struct form_fields fields;
    bool csrf_needed;
};

bool form_is_sent(const struct http_request *request)
{
    struct str type = http_header(request, STR("content-type"));
    return str_eq(request->method, STR("POST")) &&
           str_caseeq(next_item(&type, ';'), STR("multipart/form-data"));
}

bool form_init(struct upload *upload, bool csrf_needed)
{
    struct upload_form *form = h2o_mem_alloc(sizeof(*form));
    memset(form, 0, sizeof(*form));
    upload->form = form;
    form->csrf_needed = csrf_needed;
    form_fields_init(&form->fields, &upload->route->config->fields, &upload->pool);
    buf_init(&form->value, FIELD_MAX);
    return multipart_init(&form->multipart,
                          http_header(upload_request(upload), STR("content-type")));
}

void form_fini(struct upload *upload)
{
    buf_fini(&upload->form->value);
    free(upload->form);
}

/* -- parts -- */

static bool refuse(struct upload *upload, int status, const char *type, const char *title,
                   struct str detail)
{
    struct http_request *request = upload_request(upload);
    const struct upload_problem problem = {status, type, title, 0};
    detail = upload_text(request->pool, detail, SIZE_MAX); /* the upload's memory goes */
    upload_refuse_with(upload_end(upload), &problem, detail);
    return false;
}

static bool begin_file(struct upload *upload, struct str name)
{
    if (upload->count == upload->route->config->max_files)
        return refuse(upload, 413, "too-many-files", "There are too many files in this form",
                      upload_printf(&upload->pool, "it may have %u",
                                    (unsigned)upload->route->config->max_files));
    name = upload_text(&upload->pool, name, UPLOAD_NAME_MAX);
    upload->form->file = upload_add_file(upload, name);
    return true;
}

static bool begin_field(struct upload *upload)
{
    struct upload_form *form = upload->form;
    struct str name = form->multipart.part.name;
    buf_clear(&form->value);
    form->in = IN_FIELD;
    if (str_eq(name, STR(CSRF_FIELD))) {
        form->in = IN_TOKEN;
        return true;
    }
    form->which = form_fields_find(&form->fields, name);
    if (form->which < form->fields.known->count)
        return true;
    return refuse(upload, 400, "unknown-field", "This form has a field that is not taken here",
                  upload_text(&upload->pool, name, NAME_SHOWN));
}

static bool begin_part(struct upload *upload)
{
    struct upload_form *form = upload->form;
    if (!form->multipart.part.is_file)
        return begin_field(upload);
    if (form->csrf_needed) {
        http_csrf_refuse(upload_end(upload));
        return false;
    }
    form->in = IN_FILE;
    form->file = NULL;
    return form->multipart.part.filename.n == 0 ||
           begin_file(upload, form->multipart.part.filename);
}

static bool take_data(struct upload *upload)
{
    struct upload_form *form = upload->form;
    struct str data = form->multipart.data;
    if (form->in == IN_FILE)
        return (form->file != NULL || begin_file(upload, STR(""))) &&
               upload_keep(upload, form->file, data);
    form->fields_n += data.n;
    if (form->fields_n > FIELDS_MAX || !buf_append(&form->value, data.p, data.n))
        return refuse(upload, 413, "too-large", "A field of this form is too long",
                      form->multipart.part.name);
    return true;
}

static bool end_field(struct upload *upload)
{
    struct upload_form *form = upload->form;
    if (++form->field_count > FIELD_COUNT_MAX)
        return refuse(upload, 413, "too-large", "There are too many fields in this form", STR(""));
    form_fields_add(&form->fields, form->which, buf_str(&form->value));
    return true;
}

static bool end_part(struct upload *upload)
{
    struct upload_form *form = upload->form;
    if (form->in == IN_FIELD && !end_field(upload))
        return false;
    if (form->in == IN_TOKEN && form->csrf_needed) {
        if (http_csrf_check(upload_request(upload), buf_str(&form->value)) != CSRF_FINE) {
            http_csrf_refuse(upload_end(upload));
            return false;
        }
        form->csrf_needed = false;
    }
    form->in = IN_NOTHING;
    return true;
}

static bool refuse_malformed(struct upload *upload, const char *how)
{
    return refuse(upload, 400, "malformed-form", "This form is malformed", str_from(how));
}

bool form_take(struct upload *upload, struct str bytes)
{
    for (;;) {
        bool goes_on = true;
        switch (multipart_next(&upload->form->multipart, &bytes)) {
        case MULTIPART_MORE:
            return true;
        case MULTIPART_PART:
            goes_on = begin_part(upload);
            break;
        case MULTIPART_DATA:
            goes_on = take_data(upload);
            break;
        case MULTIPART_END:
            goes_on = end_part(upload);
            break;
        case MULTIPART_DONE:
            break;
        case MULTIPART_ERROR:
            return refuse_malformed(upload, upload->form->multipart.error);
        }
        if (!goes_on)
            return false;
    }
}

/* -- the whole form -- */

bool form_finish(struct upload *upload)
{
    if (!multipart_finished(&upload->form->multipart))
        return refuse_malformed(upload, "it ends before its last boundary");
    if (upload->count == 0)
        return refuse(upload, 400, "no-file", "There is no file in this form", STR(""));
    upload->fields = form_fields_print(&upload->form->fields);
    /* Each file's record has them. */
    enum storage_result result =
        ticket_reserve(&upload->ticket, upload->bytes + upload->count * upload->fields.n);
    if (result != STORAGE_OK)
        upload_fail(upload, result);
    return result == STORAGE_OK;
}

/* -- raw bodies -- */

/* All forms of names that parts have, a raw body's head may have. */
struct str form_disposition_name(h2o_mem_pool_t *pool, struct str disposition)
{
    static const char front[] = "Content-Disposition: form-data; name=\"\"";
    struct str name = {NULL, 0}, parameters = disposition;
    next_item(&parameters, ';');
    if (parameters.n == 0 ||
        sizeof(front) + parameters.n + sizeof(";\r\n\r\n") > MULTIPART_HEAD_MAX)
        return name;
    struct multipart *multipart = h2o_mem_alloc(sizeof(*multipart));
    memset(multipart, 0, sizeof(*multipart));
    int n = snprintf(multipart->head, sizeof(multipart->head), "%s;%.*s\r\n\r\n", front,
                     (int)parameters.n, parameters.p);
    multipart->head_n = (uint16_t)n;
    if (multipart_head(multipart) == NULL)
        name = upload_text(pool, multipart->part.filename, UPLOAD_NAME_MAX);
    free(multipart);
    return name;
}
