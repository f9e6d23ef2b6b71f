/* Visits every place of a template where placeholders can stand: pages, the forms that they draw,
 * annotations' appearances, metadata, and the strings of all other objects. Each is read once,
 * wherever it is used. */
#include "certificates/pdf_filled.h"
#include "base/buf.h"

struct visit {
    struct pdf_loading *loading;
    struct pdf_template *template;
    size_t object_count;
    bool *seen; /* by object number: streams that were read */
    unsigned depth;
};

static qpdf_oh get(const struct visit *visit, qpdf_oh dict, const char *key)
{
    return qpdf_oh_get_key_if_dict(visit->loading->qpdf, dict, key);
}

/* The stream's dictionary for other data, written out. */
static struct str stream_dict(const struct visit *visit, qpdf_oh stream)
{
    qpdf_data qpdf = visit->loading->qpdf;
    qpdf_oh dict = qpdf_oh_get_dict(qpdf, stream);
    qpdf_oh_remove_key(qpdf, dict, "/Length");
    qpdf_oh_remove_key(qpdf, dict, "/Filter");
    qpdf_oh_remove_key(qpdf, dict, "/DecodeParms");
    return pdf_copy(visit->loading->scratch, str_from(qpdf_oh_unparse_resolved(qpdf, dict)));
}

static void vary(struct visit *visit, int id, struct str dict, bool deflate,
                 struct pdf_pieces pieces)
{
    if (visit->template->object_count + 1 >= PDF_MAX_VARYING) {
        pdf_error(visit->loading, "it has more than %d objects with placeholders",
                  PDF_MAX_VARYING - 1);
        return;
    }
    pdf_layout_vary(visit->loading, visit->template, id, dict, deflate, pieces);
}

static void visit_resources(struct visit *visit, qpdf_oh resources);

static void visit_content(struct visit *visit, qpdf_oh stream, qpdf_oh resources)
{
    struct pdf_loading *loading = visit->loading;
    int id = qpdf_oh_get_object_id(loading->qpdf, stream);
    struct str content;
    struct pdf_pieces pieces;

    if (!qpdf_oh_is_stream(loading->qpdf, stream) || id <= 0 || (size_t)id > visit->object_count ||
        visit->seen[id])
        return;
    visit->seen[id] = true;
    if (!pdf_stream_data(loading, stream, &content)) {
        pdf_warning(loading, "%s: its content can't be read", loading->where);
        return;
    }
    if (pdf_content_read(loading, content, resources, &pieces))
        vary(visit, id, stream_dict(visit, stream), true, pieces);
    visit_resources(visit, resources);
}

static void visit_form(struct visit *visit, qpdf_oh stream, qpdf_oh outer)
{
    qpdf_data qpdf = visit->loading->qpdf;
    if (!qpdf_oh_is_stream(qpdf, stream))
        return;
    qpdf_oh own = get(visit, qpdf_oh_get_dict(qpdf, stream), "/Resources");
    visit_content(visit, stream, qpdf_oh_is_dictionary(qpdf, own) ? own : outer);
}

/* Calls visit_form() for the streams of a dictionary. */
static void visit_members(struct visit *visit, qpdf_oh dict, qpdf_oh resources, bool forms_only)
{
    qpdf_data qpdf = visit->loading->qpdf;
    size_t count = 0, capacity = 0;
    const char **keys = NULL;

    if (!qpdf_oh_is_dictionary(qpdf, dict))
        return;
    qpdf_oh_begin_dict_key_iter(qpdf, dict); /* one at a time: not across what is called below */
    while (qpdf_oh_dict_more_keys(qpdf)) {
        keys = pdf_grow(visit->loading->scratch, keys, count, &capacity, sizeof(*keys));
        keys[count++] = pdf_copy(visit->loading->scratch, str_from(qpdf_oh_dict_next_key(qpdf))).p;
    }
    for (size_t i = 0; i < count; i++) {
        qpdf_oh member = get(visit, dict, keys[i]);
        if (!qpdf_oh_is_stream(qpdf, member))
            continue;
        struct str subtype =
            pdf_get_name(visit->loading, qpdf_oh_get_dict(qpdf, member), "/Subtype");
        if (!forms_only || str_eq(subtype, STR("Form")))
            visit_form(visit, member, resources);
    }
}

static void visit_resources(struct visit *visit, qpdf_oh resources)
{
    enum { MAX_DEPTH = 32 };
    if (visit->depth == MAX_DEPTH)
        return;
    visit->depth++;
    visit_members(visit, get(visit, resources, "/XObject"), resources, true);
    visit_members(visit, get(visit, resources, "/Pattern"), resources, false);
    visit->depth--;
}

static void visit_annotations(struct visit *visit, qpdf_oh annotations)
{
    static const char *const states[] = {"/N", "/R", "/D"};
    qpdf_data qpdf = visit->loading->qpdf;
    qpdf_oh nothing = qpdf_oh_new_dictionary(qpdf);
    int count =
        qpdf_oh_is_array(qpdf, annotations) ? qpdf_oh_get_array_n_items(qpdf, annotations) : 0;

    for (int i = 0; i < count; i++) {
        qpdf_oh looks = get(visit, qpdf_oh_get_array_item(qpdf, annotations, i), "/AP");
        for (size_t k = 0; k < COUNT(states); k++) {
            qpdf_oh look = get(visit, looks, states[k]);
            visit_form(visit, look, nothing);
            if (!qpdf_oh_is_stream(qpdf, look))
                visit_members(visit, look, nothing, false);
        }
    }
}

static void visit_pages(struct visit *visit)
{
    struct pdf_loading *loading = visit->loading;
    int pages = qpdf_get_num_pages(loading->qpdf);

    for (int i = 0; i < pages; i++) {
        qpdf_oh page = qpdf_get_page_n(loading->qpdf, (size_t)i);
        char where[32];
        int n = snprintf(where, sizeof(where), "page %d", i + 1);
        loading->where = pdf_copy(loading->keep, (struct str){where, (size_t)n}).p;
        qpdf_oh resources = get(visit, page, "/Resources");
        visit_content(visit, get(visit, page, "/Contents"), resources);
        visit_resources(visit, resources);
        visit_annotations(visit, get(visit, page, "/Annots"));
    }
}

static void visit_objects(struct visit *visit, int info)
{
    struct pdf_loading *loading = visit->loading;
    qpdf_data qpdf = loading->qpdf;

    loading->where = "outside of pages";
    for (size_t i = 1; i <= visit->object_count; i++) {
        qpdf_oh object = qpdf_get_object_by_id(qpdf, (int)i, 0);
        struct pdf_pieces pieces;
        struct str text;
        if (qpdf_oh_is_stream(qpdf, object)) {
            struct str type = pdf_get_name(loading, qpdf_oh_get_dict(qpdf, object), "/Type");
            if (str_eq(type, STR("Metadata")) && pdf_stream_data(loading, object, &text) &&
                pdf_metadata_read(loading, text, &pieces))
                vary(visit, (int)i, stream_dict(visit, object), false, pieces);
        } else if ((int)i != info) {
            text = pdf_copy(loading->scratch, str_from(qpdf_oh_unparse_resolved(qpdf, object)));
            if (pdf_object_read(loading, text, &pieces))
                vary(visit, (int)i, (struct str){"", 0}, false, pieces);
        }
        qpdf_oh_release(qpdf, object);
    }
}

/* Info without its end: dates and title follow when it is filled in. */
static void visit_info(struct visit *visit, int id)
{
    struct pdf_loading *loading = visit->loading;
    qpdf_data qpdf = loading->qpdf;
    qpdf_oh info = qpdf_get_object_by_id(qpdf, id, 0), title = get(visit, info, "/Title");
    struct pdf_pieces *of_title = &visit->template->title, pieces;
    struct buf bytes;

    loading->where = "Info";
    buf_init(&bytes, SIZE_MAX / 2);
    if (qpdf_oh_is_string(qpdf, title)) {
        struct str token =
            pdf_copy(loading->scratch, str_from(qpdf_oh_unparse_resolved(qpdf, title)));
        (void)buf_append(&bytes, " /Title ", 8);
        if (!pdf_text_pieces(loading, token, false, true, &bytes, of_title))
            (void)buf_append(&bytes, token.p, token.n);
        pdf_cut(loading, &bytes, (struct pdf_hole){.kind = PDF_HOLE_NONE}, of_title);
    }
    qpdf_oh_remove_key(qpdf, info, "/Title");
    qpdf_oh_remove_key(qpdf, info, "/CreationDate");
    qpdf_oh_remove_key(qpdf, info, "/ModDate");
    struct str text = pdf_copy(loading->scratch, str_from(qpdf_oh_unparse_resolved(qpdf, info)));
    text.n -= 2; /* ">>" */
    if (!pdf_object_read(loading, text, &pieces)) {
        (void)buf_append(&bytes, text.p, text.n);
        pdf_cut(loading, &bytes, (struct pdf_hole){.kind = PDF_HOLE_NONE}, &pieces);
    }
    buf_fini(&bytes);
    pdf_layout_vary(loading, visit->template, id, (struct str){"", 0}, false, pieces);
}

void pdf_visit(struct pdf_loading *loading, struct pdf_template *template)
{
    enum { MIN_OBJECT = 20 }; /* bytes of one and its cross-reference */
    qpdf_data qpdf = loading->qpdf;
    qpdf_oh trailer = qpdf_get_trailer(qpdf);
    qpdf_oh size = qpdf_oh_get_key(qpdf, trailer, "/Size");
    long long told = qpdf_oh_is_integer(qpdf, size) ? qpdf_oh_get_int_value(qpdf, size) : 0;
    if (told < 2 || (size_t)told > loading->normal_size / MIN_OBJECT) {
        pdf_error(loading, "it is damaged beyond repair");
        return;
    }
    size_t count = (size_t)told - 1;
    int info = qpdf_oh_get_object_id(qpdf, qpdf_oh_get_key(qpdf, trailer, "/Info"));
    struct visit visit = {.loading = loading, .template = template, .object_count = count};

    visit.seen = h2o_mem_alloc_pool(loading->scratch, count + 1);
    memset(visit.seen, 0, count + 1);
    visit_pages(&visit);
    visit_objects(&visit, info);
    visit_info(&visit, info);
    if (diag_errors(loading->diag) == loading->errors_before)
        (void)pdf_layout_finish(loading, template, count);
}
