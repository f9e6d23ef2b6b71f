/* Any bytes as a content stream, an object, metadata and a ToUnicode CMap of a PDF template, in
 * memory of exactly their size: content without placeholders stays as it is, and what became of
 * content with some has none any more when it is read again. */
#include <stdlib.h>
#include "base/buf.h"
#include "certificates/pdf_font.h"
#include "certificates/pdf_lexer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char resources_text[] =
    "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding "
    "/WinAnsiEncoding "
    "/FirstChar 32 /Widths [500 500 500 500 500 500 500 500] >> >> >>";

static void read_content(struct pdf_loading *loading, qpdf_oh resources, struct str text)
{
    struct pdf_pieces pieces, again;
    struct buf filled;

    if (!pdf_content_read(loading, text, resources, &pieces)) {
        gw_assert(pieces.count == 1 && str_eq(pieces.list[0].bytes, text));
        return;
    }
    buf_init(&filled, SIZE_MAX / 2); /* with every value empty */
    for (size_t i = 0; i < pieces.count; i++) {
        gw_assert((pieces.list[i].hole.kind == PDF_HOLE_NONE) == (i + 1 == pieces.count));
        gw_assert(buf_append(&filled, pieces.list[i].bytes.p, pieces.list[i].bytes.n));
    }
    (void)pdf_content_read(loading, buf_str(&filled), resources, &again);
    buf_fini(&filled);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str names[] = {{"name", 4}, {"a", 1}};
    const struct template_fields fields = {names, COUNT(names)};
    static struct pdf_chars chars[256];
    h2o_mem_pool_t keep, scratch;
    struct pdf_pieces pieces;
    char *copy = malloc(size);
    struct str text = {copy, size}, token;
    qpdf_data qpdf = qpdf_init();

    if (size != 0)
        memcpy(copy, data, size);
    h2o_mem_init_pool(&keep);
    h2o_mem_init_pool(&scratch);
    qpdf_silence_errors(qpdf);
    qpdf_set_suppress_warnings(qpdf, QPDF_TRUE);
    gw_assert(qpdf_empty_pdf(qpdf) == 0);
    struct pdf_loading loading = {.qpdf = qpdf,
                                  .keep = &keep,
                                  .scratch = &scratch,
                                  .name = "fuzz.pdf",
                                  .where = "page 1",
                                  .fields = &fields,
                                  .diag = diag_create()};
    loading.fonts = pdf_fonts_create(&loading);
    struct pdf_lexer lexer = {.text = text};
    for (size_t before = 0; pdf_next(&lexer, &token) != PDF_END; before = lexer.at)
        gw_assert(token.n != 0 && lexer.at > before && lexer.at <= size);
    read_content(&loading, qpdf_oh_parse(qpdf, resources_text), text);
    if (pdf_object_read(&loading, text, &pieces))
        gw_assert(pieces.count > 1);
    if (pdf_metadata_read(&loading, text, &pieces))
        gw_assert(pieces.count > 1);
    pdf_font_read_unicode(text, chars, COUNT(chars));
    diag_destroy(&loading.diag);
    pdf_forget_error(qpdf);
    qpdf_cleanup(&qpdf);
    h2o_mem_clear_pool(&scratch);
    h2o_mem_clear_pool(&keep);
    free(copy);
    return 0;
}
