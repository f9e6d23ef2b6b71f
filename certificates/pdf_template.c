/* A PDF template is read when the configuration is: libqpdf brings the file into a normal form
 * (whatever it was: linearized, with object streams, damaged a little), written to memory and read
 * again, so that objects are plain, numbered from 1 without gaps, and pages have one content stream
 * each. Every place where placeholders can stand is visited once; what has some becomes pieces
 * with holes. After that libqpdf is gone. */
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include "certificates/pdf_filled.h"
#include "certificates/pdf_font.h"

/* -- helpers of all pdf_*.c ----------------------------------------------------------------------
 */

typedef void diag_function(struct diag *diag, struct pos at, const char *format, ...);

static void report(struct pdf_loading *loading, diag_function *to, const char *format, va_list args)
{
    char message[1024];
    vsnprintf(message, sizeof(message), format, args);
    to(loading->diag, loading->at, "%s: %s", loading->name, message);
}

void pdf_error(struct pdf_loading *loading, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(loading, diag_error, format, args);
    va_end(args);
}

void pdf_warning(struct pdf_loading *loading, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(loading, diag_warning, format, args);
    va_end(args);
}

void *pdf_grow(h2o_mem_pool_t *pool, void *list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity ? *capacity * 2 : 8;
    void *larger = h2o_mem_alloc_pool(pool, *capacity * size);
    if (count != 0)
        memcpy(larger, list, count * size);
    return larger;
}

struct str pdf_copy(h2o_mem_pool_t *pool, struct str text)
{
    char *copy = h2o_mem_alloc_pool(pool, text.n + 1);
    if (text.n != 0)
        memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return (struct str){copy, text.n};
}

void pdf_forget_error(qpdf_data qpdf)
{
    if (qpdf_has_error(qpdf))
        (void)qpdf_get_error(qpdf);
}

bool pdf_stream_data(struct pdf_loading *loading, qpdf_oh stream, struct str *data_r)
{
    unsigned char *data = NULL;
    size_t n = 0;
    QPDF_BOOL filtered = QPDF_FALSE;

    pdf_forget_error(loading->qpdf);
    QPDF_ERROR_CODE code =
        qpdf_oh_get_stream_data(loading->qpdf, stream, qpdf_dl_generalized, &filtered, &data, &n);
    bool good = (code & QPDF_ERRORS) == 0 && filtered;
    if (good)
        *data_r = pdf_copy(loading->scratch, (struct str){(const char *)data, n});
    free(data);
    return good;
}

struct str pdf_get_name(struct pdf_loading *loading, qpdf_oh dict, const char *key)
{
    qpdf_oh value = qpdf_oh_get_key_if_dict(loading->qpdf, dict, key);
    if (!qpdf_oh_is_name(loading->qpdf, value))
        return (struct str){"", 0};
    return pdf_copy(loading->scratch, str_from(qpdf_oh_get_name(loading->qpdf, value) + 1));
}

void pdf_unknown_field(struct pdf_loading *loading, const struct pdf_spelling *spelling)
{
    const struct template_fields *fields = loading->fields;
    const char **names = h2o_mem_alloc_pool(loading->scratch, (fields->count + 1) * sizeof(*names));
    for (size_t i = 0; i < fields->count; i++)
        names[i] = pdf_copy(loading->scratch, fields->names[i]).p;
    const char *nearest =
        diag_nearest((struct str){spelling->name, spelling->name_length}, names, fields->count);
    if (nearest != NULL)
        pdf_error(loading, "%s: \"%%%s%%\" is no field; did you mean \"%%%s%%\"?", loading->where,
                  spelling->name, nearest);
    else
        pdf_error(loading, "%s: \"%%%s%%\" is no field", loading->where, spelling->name);
}

void pdf_add_placeholder(struct pdf_loading *loading, int field, struct pdf_font *font)
{
    for (size_t i = 0; i < loading->placeholder_count; i++) {
        const struct pdf_placeholder *known = &loading->placeholders[i];
        if (known->field == field && known->font == font && known->where == loading->where)
            return;
    }
    loading->placeholders =
        pdf_grow(loading->keep, loading->placeholders, loading->placeholder_count,
                 &loading->placeholder_capacity, sizeof(*loading->placeholders));
    loading->placeholders[loading->placeholder_count++] =
        (struct pdf_placeholder){(uint16_t)field, loading->where, font};
}

/* -- normal form ---------------------------------------------------------------------------------
 */

const char *pdf_complaint(qpdf_data qpdf)
{
    const char *detail =
        qpdf_has_error(qpdf) ? qpdf_get_error_message_detail(qpdf, qpdf_get_error(qpdf)) : NULL;
    return detail != NULL && *detail != '\0' ? detail : "it can't be read";
}

static qpdf_data quiet(void)
{
    qpdf_data qpdf = qpdf_init();
    qpdf_silence_errors(qpdf);
    qpdf_set_suppress_warnings(qpdf, QPDF_TRUE);
    return qpdf;
}

/* Content may be an array of streams that only together are one. */
static void join_contents(qpdf_data qpdf)
{
    int pages = qpdf_get_num_pages(qpdf);
    for (int i = 0; i < pages; i++) {
        qpdf_oh page = qpdf_get_page_n(qpdf, (size_t)i);
        unsigned char *data = NULL;
        size_t n = 0;
        if (!qpdf_oh_is_array(qpdf, qpdf_oh_get_key_if_dict(qpdf, page, "/Contents")) ||
            qpdf_oh_get_page_content_data(qpdf, page, &data, &n) != 0) {
            free(data);
            continue;
        }
        qpdf_oh stream = qpdf_oh_new_stream(qpdf);
        qpdf_oh_replace_stream_data(qpdf, stream, data, n, qpdf_oh_new_null(qpdf),
                                    qpdf_oh_new_null(qpdf));
        qpdf_oh_replace_key(qpdf, page, "/Contents", stream);
        free(data);
    }
}

/* Info is given an object of its own, for it always varies. */
static void make_info(qpdf_data qpdf)
{
    qpdf_oh trailer = qpdf_get_trailer(qpdf), info = qpdf_oh_get_key(qpdf, trailer, "/Info");
    if (!qpdf_oh_is_dictionary(qpdf, info))
        info = qpdf_oh_new_dictionary(qpdf);
    if (!qpdf_oh_is_indirect(qpdf, info))
        qpdf_oh_replace_key(qpdf, trailer, "/Info", qpdf_make_indirect_object(qpdf, info));
}

/* False: it was reported. normal_r holds what is written, owned by qpdf. */
static bool normalize(struct pdf_loading *loading, qpdf_data qpdf, const char *path,
                      struct str *normal_r)
{
    if ((qpdf_read(qpdf, path, NULL) & QPDF_ERRORS) != 0) {
        pdf_error(loading, "%s",
                  qpdf_get_error_code(qpdf, qpdf_get_error(qpdf)) == qpdf_e_password
                      ? "it is encrypted; save it without a password"
                      : pdf_complaint(qpdf));
        return false;
    }
    if (qpdf_is_encrypted(qpdf)) {
        pdf_error(loading, "it is encrypted; save it without a password");
        return false;
    }
    if (qpdf_get_num_pages(qpdf) <= 0) {
        pdf_error(loading, "it has no pages");
        return false;
    }
    (void)qpdf_push_inherited_attributes_to_page(qpdf);
    join_contents(qpdf);
    make_info(qpdf);
    (void)qpdf_init_write_memory(qpdf);
    qpdf_set_object_stream_mode(qpdf, qpdf_o_disable);
    qpdf_set_stream_data_mode(qpdf, qpdf_s_preserve);
    qpdf_set_minimum_pdf_version(qpdf, "1.7");
    qpdf_set_deterministic_ID(qpdf, QPDF_TRUE);
    if ((qpdf_write(qpdf) & QPDF_ERRORS) != 0) {
        pdf_error(loading, "%s", pdf_complaint(qpdf));
        return false;
    }
    *normal_r = (struct str){(const char *)qpdf_get_buffer(qpdf), qpdf_get_buffer_length(qpdf)};
    return true;
}

/* -- the template --------------------------------------------------------------------------------
 */

static void read_template(struct pdf_loading *loading, struct pdf_template *template,
                          const char *path)
{
    qpdf_data file = quiet(), normal = quiet();
    struct str bytes;

    loading->qpdf = normal;
    if (normalize(loading, file, path, &bytes)) {
        loading->normal_size = bytes.n;
        if ((qpdf_read_memory(normal, "template", bytes.p, bytes.n, NULL) & QPDF_ERRORS) != 0)
            pdf_error(loading, "%s", pdf_complaint(normal));
        else
            pdf_visit(loading, template);
    }
    pdf_forget_error(normal);
    pdf_forget_error(file);
    qpdf_cleanup(&normal);
    qpdf_cleanup(&file);
}

struct pdf_template *pdf_template_load(const char *dir, const char *name,
                                       const struct template_fields *fields, struct pos at,
                                       struct diag *diag)
{
    h2o_mem_pool_t scratch;
    struct pdf_template *template = h2o_mem_alloc(sizeof(*template));
    size_t errors = diag_errors(diag);
    char path[4096];

    memset(template, 0, sizeof(*template));
    h2o_mem_init_pool(&template->pool);
    h2o_mem_init_pool(&scratch);
    struct pdf_loading loading = {.keep = &template->pool,
                                  .scratch = &scratch,
                                  .name = name,
                                  .fields = fields,
                                  .at = at,
                                  .diag = diag,
                                  .errors_before = errors,
                                  .where = name};
    loading.fonts = pdf_fonts_create(&loading);
    template->name = pdf_copy(&template->pool, str_from(name));
    template->names = h2o_mem_alloc_pool(&template->pool, fields->count * sizeof(struct str) + 1);
    template->objects =
        h2o_mem_alloc_pool(&template->pool, PDF_MAX_VARYING * sizeof(*template->objects));
    for (size_t i = 0; i < fields->count && i < PDF_MAX_FIELDS; i++)
        template->names[template->name_count++] = pdf_copy(&template->pool, fields->names[i]);
    if (fields->count > PDF_MAX_FIELDS)
        pdf_error(&loading, "more than %d fields", PDF_MAX_FIELDS);
    else if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
        pdf_error(&loading, "its path is too long");
    else if (access(path, F_OK) != 0)
        diag_error(diag, at, "no template \"%s\" in %s", name, dir);
    else
        read_template(&loading, template, path);
    template->placeholders = loading.placeholders;
    template->placeholder_count = loading.placeholder_count;
    if (diag_errors(diag) == errors)
        pdf_check(&loading, template);
    h2o_mem_clear_pool(&scratch);
    if (diag_errors(diag) != errors)
        pdf_template_destroy(&template);
    return template;
}

void pdf_template_destroy(struct pdf_template **template_p)
{
    if (*template_p == NULL)
        return;
    h2o_mem_clear_pool(&(*template_p)->pool);
    free(*template_p);
    *template_p = NULL;
}
