/* For pdf_*.c of templates alone. How a template is made, and what is left of it:
 *
 *   pdf_template.c         the file -> normal form (libqpdf)
 *   pdf_template_visit.c   its objects, one by one
 *   pdf_template_check.c   what is told about placeholders and their fonts
 *   pdf_template_text.c    strings outside of content: placeholders in Info, links, annotations
 *   pdf_template_layout.c  objects -> one prefix that never varies, and pieces with holes
 *   pdf_template_fill.c    pieces and values -> a document: the only part that requests pay for
 *   pdf_content.c          a content stream -> text shown, placeholders found, pieces with holes
 *   pdf_font*.c            a font -> what its codes mean, what it can draw, and how
 *   pdf_lexer.c            the tokens of PDF syntax
 *
 * While it is loaded, two pools: `keep` lives as long as the template, `scratch` until the end of
 * the load. */
#ifndef GW_CERTIFICATES_PDF_INTERNAL_H
#define GW_CERTIFICATES_PDF_INTERNAL_H

#include <h2o/memory.h>
#include <qpdf/qpdf-c.h>
#include "certificates/template_kinds.h"

struct buf;
struct pdf_font;
struct pdf_fonts;
struct pdf_spelling;

/* -- what a template consists of ----------------------------------------------------------------
 */

enum pdf_hole_kind {
    PDF_HOLE_NONE,
    PDF_HOLE_GLYPHS,  /* inside of a string that `font` shows */
    PDF_HOLE_ALIGNED, /* numbers and strings of a TJ array; what follows stays where it was */
    PDF_HOLE_TEXT,    /* inside of a hexadecimal string in UTF-16BE */
    PDF_HOLE_URI,     /* percent-encoded, inside of a literal string */
    PDF_HOLE_ADDRESS, /* a URI of its own, the beginning of such a string */
    PDF_HOLE_XML      /* escaped */
};
enum pdf_align { PDF_ALIGN_LEFT, PDF_ALIGN_CENTER, PDF_ALIGN_RIGHT };

struct pdf_hole {
    uint8_t kind;       /* enum pdf_hole_kind */
    uint8_t align;      /* enum pdf_align, of PDF_HOLE_ALIGNED */
    uint16_t field;     /* index of the names that the template was loaded with */
    int64_t width;      /* of the placeholder, in millionths of the font's size */
    int64_t char_space; /* Tc and Tw, in the same */
    int64_t word_space;
    const struct pdf_font *font; /* of glyphs */
};
/* Bytes, then a hole (kind NONE: none). */
struct pdf_piece {
    struct str bytes; /* as they stand in the document: deflated when their stream is */
    uint32_t adler;   /* of what they inflate to */
    size_t plain;     /* how many bytes that is */
    bool referred;    /* long: pointed at rather than copied */
    struct pdf_hole hole;
};
struct pdf_pieces {
    struct pdf_piece *list;
    size_t count, capacity;
};

/* -- while it is loaded --------------------------------------------------------------------------
 */

struct pdf_placeholder { /* where a field stands; one a field, place and font */
    uint16_t field;
    const char *where;     /* "page 1", "Info" */
    struct pdf_font *font; /* NULL = not in content */
};

struct pdf_loading {
    qpdf_data qpdf;
    h2o_mem_pool_t *keep, *scratch;
    struct pdf_fonts *fonts;
    const char *name; /* of the file, for messages */
    const struct template_fields *fields;
    struct pos at;
    struct diag *diag;
    size_t errors_before; /* in diag, others' */
    size_t normal_size;   /* bytes of the normal form */
    const char *where;    /* what is being read: "page 1" */
    struct pdf_placeholder *placeholders;
    size_t placeholder_count, placeholder_capacity;
};

/* `error: NAME: <message>` where the configuration names the template. */
void pdf_error(struct pdf_loading *loading, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void pdf_warning(struct pdf_loading *loading, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Tells that no field has that name, and which one may have been meant. */
void pdf_unknown_field(struct pdf_loading *loading, const struct pdf_spelling *spelling);
/* Notes that a field stands at `where`. */
void pdf_add_placeholder(struct pdf_loading *loading, int field, struct pdf_font *font);
/* Room for one more member. */
void *pdf_grow(h2o_mem_pool_t *pool, void *list, size_t count, size_t *capacity, size_t size);
struct str pdf_copy(h2o_mem_pool_t *pool, struct str text);
/* The stream's bytes with its filters undone, from `scratch`. False: they can't be. */
bool pdf_stream_data(struct pdf_loading *loading, qpdf_oh stream, struct str *data_r);
/* An error stays with libqpdf's handle, and counts as the next call's, until it is asked for. */
void pdf_forget_error(qpdf_data qpdf);
/* What libqpdf complained about last. */
const char *pdf_complaint(qpdf_data qpdf);
/* The key's value, a name without its slash; "" when it isn't a name. From `scratch`. */
struct str pdf_get_name(struct pdf_loading *loading, qpdf_oh dict, const char *key);

/* A placeholder as it is spelled: "%name%", "%name:center%", "%name:right%". */
struct pdf_spelling {
    char name[68];
    size_t name_length;
    enum pdf_align align;
    bool is_hex; /* two hexadecimal digits: an escape of a URI, maybe */
};
/* Reads one at the "%" that text begins with. Returns its length, 0 = none is there. */
size_t pdf_spelling_read(const uint32_t *text, size_t n, struct pdf_spelling *spelling_r);
/* Index of the field that it names, -1 = none. */
int pdf_spelling_field(const struct pdf_loading *loading, const struct pdf_spelling *spelling);

/* -- pdf_content.c -------------------------------------------------------------------------------
 */

/* Reads a content stream whose fonts `resources` names. True: it has placeholders, and pieces_r is
 * what it becomes, from `keep`. */
bool pdf_content_read(struct pdf_loading *loading, struct str content, qpdf_oh resources,
                      struct pdf_pieces *pieces_r);

/* -- pdf_template_text.c -------------------------------------------------------------------------
 */

/* An object written out; strings with placeholders become holes. Returns as above. */
bool pdf_object_read(struct pdf_loading *loading, struct str object, struct pdf_pieces *pieces_r);
/* A metadata stream (XMP). */
bool pdf_metadata_read(struct pdf_loading *loading, struct str xml, struct pdf_pieces *pieces_r);
/* A string token as Unicode: its code points into text_r, which has token.n of them. */
size_t pdf_text_read(struct str token, uint32_t *text_r);
/* Appends a text string with holes: "<FEFF...>"; false and nothing when there are none. `uri`: it
 * is a URI instead. `strict`: a name that is no field's is an error. */
bool pdf_text_pieces(struct pdf_loading *loading, struct str token, bool uri, bool strict,
                     struct buf *bytes, struct pdf_pieces *pieces);

/* What `bytes` has gathered becomes a piece that ends with a hole. */
void pdf_cut(struct pdf_loading *loading, struct buf *bytes, struct pdf_hole hole,
             struct pdf_pieces *pieces);

#endif
