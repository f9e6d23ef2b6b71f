/* SVG text to a PDF page: librsvg reads and lays out, cairo writes, straight into the buffer that
 * will be sent. Whatever could differ from one run to the next (the creation date) is set, so the
 * same SVG gives the same bytes.
 *
 * librsvg opens what the SVG refers to by file: names only, and only in the folder of its base file
 * or below: nothing is fetched, and a value can't name /etc/passwd. Pictures go into the PDF as
 * the bytes of their files.
 *
 * Fonts are found once a thread: Pango keeps a font map for each, and cairo the fonts' outlines. */
#include "certificates/svg_internal.h"

#include <cairo-pdf.h>
#include <math.h>
#include <stdio.h>
#include <time.h>
#include "base/text.h"

enum { MAX_PAGE = 14400 }; /* points a side, as PDF readers take it (ISO 32000-1, annex C) */

static const double DPI = 96; /* what a px is in CSS */

/* Stands in for cairo's own function in the whole program, of which librsvg is the only caller:
 * names that a library leaves open are looked up in the program first. librsvg (2.54) asks for each
 * shape and for the outlines of each text, to know the ink extents, which it tells whoever asks for
 * an element's geometry and uses for nothing else; what is drawn depends on the extents of paths.
 * We never look at ink, and cairo tessellates all those curves for it: a third of a drawing's time.
 * The path's extents are the same but where an area is empty or drawn over twice. Without this
 * function the bytes are the same, later. */
void cairo_fill_extents(cairo_t *cairo, double *left, double *top, double *right, double *bottom)
{
    cairo_path_extents(cairo, left, top, right, bottom);
}

RsvgHandle *svg_parse(struct out *text, GFile *base, GError **error_r)
{
    GInputStream *stream = g_memory_input_stream_new();
    h2o_iovec_t *vecs;
    for (size_t i = 0, count = out_vecs(text, &vecs); i < count; i++)
        g_memory_input_stream_add_data(G_MEMORY_INPUT_STREAM(stream), vecs[i].base,
                                       (gssize)vecs[i].len, NULL);
    RsvgHandle *svg = rsvg_handle_new_from_stream_sync(
        stream, base, RSVG_HANDLE_FLAG_KEEP_IMAGE_DATA, NULL, error_r);
    g_object_unref(stream);
    if (svg != NULL)
        rsvg_handle_set_dpi(svg, DPI);
    return svg;
}

double svg_text_width(RsvgHandle *svg, const char *id)
{
    RsvgRectangle logical = {0};
    if (!rsvg_handle_has_sub(svg, id) ||
        !rsvg_handle_get_geometry_for_element(svg, id, NULL, &logical, NULL))
        return 0;
    return logical.width;
}

/* In points: of width and height, or where these are left out or in percent, of the viewBox. */
static bool page_size(RsvgHandle *svg, double *width_r, double *height_r, GError **error_r)
{
    if (!rsvg_handle_get_intrinsic_size_in_pixels(svg, width_r, height_r)) {
        gboolean has_viewbox;
        RsvgRectangle viewbox = {0};
        rsvg_handle_get_intrinsic_dimensions(svg, NULL, NULL, NULL, NULL, &has_viewbox, &viewbox);
        if (!has_viewbox) {
            g_set_error_literal(error_r, RSVG_ERROR, RSVG_ERROR_FAILED,
                                "the <svg> has neither width and height nor a viewBox, so the page "
                                "has no size");
            return false;
        }
        *width_r = viewbox.width;
        *height_r = viewbox.height;
    }
    *width_r *= 72 / DPI;
    *height_r *= 72 / DPI;
    if (!(*width_r >= 1 && *width_r <= MAX_PAGE && *height_r >= 1 && *height_r <= MAX_PAGE)) {
        g_set_error(error_r, RSVG_ERROR, RSVG_ERROR_FAILED,
                    "a page of %.0f x %.0f points; a side has 1 to %d", *width_r, *height_r,
                    MAX_PAGE);
        return false;
    }
    return true;
}

struct writing {
    struct buf *pdf;
    bool full; /* cairo forgets that a write failed */
};

static cairo_status_t append(void *arg, const unsigned char *bytes, unsigned n)
{
    struct writing *writing = arg;
    if (!writing->full && buf_append(writing->pdf, bytes, n))
        return CAIRO_STATUS_SUCCESS;
    writing->full = true;
    return CAIRO_STATUS_WRITE_ERROR;
}

/* A decimal number at *at, which moves behind it. False: there is none. */
static bool read_number(const char **at, const char *end, uint64_t *value_r)
{
    const char *from = *at;
    uint64_t value = 0;
    while (*at != end && is_digit(**at) && *at - from < 18)
        value = value * 10 + (uint64_t)(*(*at)++ - '0');
    *value_r = value;
    return *at != from;
}

static bool begins_with(struct str text, uint64_t at, struct str what)
{
    return at <= text.n && text.n - at >= what.n && memcmp(text.p + at, what.p, what.n) == 0;
}

/* Without memory cairo may lose a piece of the document and say that all is well. Then nothing
 * stands any more where its table says that it does (ISO 32000-1, 7.5.4: entries of 20 bytes). */
static bool is_whole(struct str pdf)
{
    enum { ENTRY = 20, LOOK = 64 };
    const struct str tail = pdf.n > LOOK ? (struct str){pdf.p + pdf.n - LOOK, LOOK} : pdf;
    const char *end = pdf.p + pdf.n;
    const char *at = memmem(tail.p, tail.n, "startxref\n", 10);
    uint64_t table, first, count;
    if (!begins_with(pdf, 0, STR("%PDF-")) || at == NULL ||
        memmem(at, (size_t)(end - at), "%%EOF", 5) == NULL)
        return false;
    at += 10;
    if (!read_number(&at, end, &table) || !begins_with(pdf, table, STR("xref\n")))
        return false;
    at = pdf.p + table + 5;
    if (!read_number(&at, end, &first) || first != 0 || at == end || *at++ != ' ' ||
        !read_number(&at, end, &count) || at == end || *at++ != '\n' ||
        (size_t)(end - at) / ENTRY < count)
        return false;
    for (uint64_t i = 1; i < count; i++) { /* 0 is the head of the free ones */
        const char *entry = at + i * ENTRY;
        char object[32];
        uint64_t place;
        int n = snprintf(object, sizeof(object), "%llu 0 obj", (unsigned long long)i);
        if (entry[17] == 'n' && (!read_number(&entry, end, &place) ||
                                 !begins_with(pdf, place, (struct str){object, (size_t)n})))
            return false;
    }
    return true;
}

static void set_metadata(cairo_surface_t *surface, const struct svg_document *document)
{
    char date[sizeof("2026-11-22T09:30:00Z") + 16];
    time_t when = (time_t)document->when_s;
    struct tm tm;
    gw_assert(gmtime_r(&when, &tm) != NULL);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (document->title[0] != '\0')
        cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, document->title);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATOR, "gateway");
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, date);
}

bool svg_to_pdf(RsvgHandle *svg, const struct svg_document *document, struct buf *pdf,
                GError **error_r)
{
    struct writing writing = {.pdf = pdf};
    size_t before = pdf->n;
    RsvgRectangle page = {0};
    if (!page_size(svg, &page.width, &page.height, error_r))
        return false;
    cairo_surface_t *surface =
        cairo_pdf_surface_create_for_stream(append, &writing, page.width, page.height);
    set_metadata(surface, document);
    cairo_t *cairo = cairo_create(surface);
    bool drawn = rsvg_handle_render_document(svg, cairo, &page, error_r);
    cairo_destroy(cairo);
    cairo_surface_finish(surface);
    cairo_status_t status = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (drawn && (writing.full || status != CAIRO_STATUS_SUCCESS)) {
        g_set_error_literal(error_r, RSVG_ERROR, RSVG_ERROR_FAILED,
                            writing.full ? "the PDF gets too large"
                                         : cairo_status_to_string(status));
        drawn = false;
    }
    if (drawn && !is_whole((struct str){pdf->p + before, pdf->n - before})) {
        g_set_error_literal(error_r, RSVG_ERROR, RSVG_ERROR_FAILED,
                            "cairo lost a piece of the PDF");
        drawn = false;
    }
    if (!drawn)
        pdf->n = before;
    return drawn;
}
