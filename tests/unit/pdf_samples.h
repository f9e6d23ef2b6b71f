/* Documents for the tests of signatures, in the two kinds that we make: drawn by cairo, and plain
 * objects with one cross-reference table. */
#ifndef GW_TESTS_PDF_SAMPLES_H
#define GW_TESTS_PDF_SAMPLES_H

#include <cairo/cairo-pdf.h>
#include <math.h>
#include "base/buf.h"

enum { SAMPLE_MAX = 1 << 20 };

static inline cairo_status_t sample_write(void *buf, const unsigned char *bytes, unsigned n)
{
    return buf_append(buf, bytes, n) ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static inline struct buf sample_cairo(void)
{
    struct buf pdf;
    buf_init(&pdf, SAMPLE_MAX);
    cairo_surface_t *surface = cairo_pdf_surface_create_for_stream(sample_write, &pdf, 595, 842);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, "2026-11-22T09:30:00Z");
    cairo_t *cairo = cairo_create(surface);
    cairo_select_font_face(cairo, "DejaVu Serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo, 40);
    cairo_move_to(cairo, 80, 300);
    cairo_show_text(cairo, "Ada Lovelace");
    cairo_arc(cairo, 300, 500, 80, 0, 2 * M_PI);
    cairo_set_source_rgba(cairo, .2, .3, .6, .5);
    cairo_fill(cairo);
    cairo_show_page(cairo);
    cairo_destroy(cairo);
    cairo_surface_finish(surface);
    cairo_surface_destroy(surface);
    return pdf;
}

/* objects[0] is object 1, the catalog; NULL ends them. */
static inline struct buf sample_plain(const char *header, const char *const *objects,
                                      const char *trailer)
{
    struct buf pdf;
    size_t at[64], count = 0;
    buf_init(&pdf, SAMPLE_MAX);
    buf_printf(&pdf, "%s\n%%\xe2\xe3\xcf\xd3\n", header);
    for (; objects[count]; count++) {
        at[count] = pdf.n;
        buf_printf(&pdf, "%zu 0 obj\n", count + 1);
        buf_append(&pdf, objects[count], strlen(objects[count]));
        buf_printf(&pdf, "\nendobj\n");
    }
    size_t xref = pdf.n;
    buf_printf(&pdf, "xref\n0 %zu\n0000000000 65535 f \n", count + 1);
    for (size_t i = 0; i < count; i++)
        buf_printf(&pdf, "%010zu 00000 n \n", at[i]);
    buf_printf(&pdf, "trailer\n<< /Size %zu /Root 1 0 R %s >>\nstartxref\n%zu\n%%%%EOF\n",
               count + 1, trailer, xref);
    return pdf;
}

#define SAMPLE_PAGE                                                      \
    "/Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R " \
    "/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
#define SAMPLE_STREAM \
    "<< /Length 49 >>\nstream\nBT /F1 24 Tf 40 100 Td (Ada Lovelace) Tj ET      \n\nendstream"

static inline struct buf sample_template(void)
{
    static const char *const objects[] = {"<< /Type /Catalog /Pages 2 0 R >>",
                                          "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
                                          "<< " SAMPLE_PAGE " >>", SAMPLE_STREAM, NULL};
    return sample_plain("%PDF-1.4", objects, "/ID [<0011> <0022>]");
}

#endif
