/* What is left of a PDF template once it was loaded, for pdf_template*.c: a document in two parts.
 * The prefix holds every object that never varies, written out once; behind it come the objects
 * with holes, then the table of cross-references, where only their entries differ. */
#ifndef GW_CERTIFICATES_PDF_FILLED_H
#define GW_CERTIFICATES_PDF_FILLED_H

#include "certificates/pdf_internal.h"

enum {
    PDF_MAX_FIELDS = 256,
    PDF_MAX_VARYING = 512, /* objects with holes */
    PDF_LENGTH_ROOM = 10,  /* digits of a /Length, blanks behind it */
    PDF_XREF_ENTRY = 20,
    PDF_REFER_MIN = 2048, /* constant bytes from which on they are pointed at */
    PDF_MAX_REFERRED = 8  /* of one document, the prefix among them */
};

struct pdf_object {
    int id;
    bool stream;
    bool deflated;
    struct str head; /* "7 0 obj\n<< ... /Length " of a stream; else "7 0 obj\n" */
    struct pdf_pieces pieces;
};

struct pdf_template {
    h2o_mem_pool_t pool; /* all of this */
    struct str name;     /* of the file */
    struct str *names;   /* of fields */
    size_t name_count;
    struct str prefix;
    struct pdf_object *objects; /* those that vary; the last one is Info */
    size_t object_count;
    struct pdf_pieces title; /* Info's, for drawings without one */
    struct str xref;         /* "xref\n0 9\n..." with entries of the prefix's objects */
    size_t xref_entries;     /* where they begin in it */
    struct str trailer;      /* up to the second string of /ID */
    /* What a document takes at most, but for the prefix: `fixed` and growth[i] for each byte of
     * a field's value. */
    size_t fixed, referred;
    uint32_t growth[PDF_MAX_FIELDS];
    struct pdf_placeholder *placeholders;
    size_t placeholder_count;
};

/* Bytes that a hole takes at most: for each of its value's, and besides (numbers, a stored block's
 * head). */
enum { PDF_GROWTH = 7, PDF_HOLE_FIXED = 64 };

/* -- pdf_template_visit.c: the document in normal form, taken apart. Errors are reported. */
void pdf_visit(struct pdf_loading *loading, struct pdf_template *template);

/* -- pdf_template_check.c: warns of what can't be drawn or isn't there; errors when it is hopeless.
 */
void pdf_check(struct pdf_loading *loading, const struct pdf_template *template);

/* -- pdf_template_layout.c -----------------------------------------------------------------------
 */

/* An object that varies: its pieces are deflated, when that is worth it. `dict`: of a stream,
 * written out; else empty. */
void pdf_layout_vary(struct pdf_loading *loading, struct pdf_template *template, int id,
                     struct str dict, bool deflate_it, struct pdf_pieces pieces);
/* Writes prefix, table and trailer. False: it was reported. */
bool pdf_layout_finish(struct pdf_loading *loading, struct pdf_template *template,
                       size_t object_count);

#endif
