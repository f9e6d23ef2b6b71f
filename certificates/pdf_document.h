/* Reads a PDF of our own making as far as adding to it needs: its cross-reference tables, its
 * objects as text, dictionaries entry by entry (ISO 32000-1 sections 7.2, 7.3, 7.5). What we don't
 * write is refused, not guessed at: cross-reference streams, encryption, generations other than 0,
 * objects that aren't where the table says. Any bytes may come in; work is bounded by their number.
 *
 * Values are views of the document's bytes, as they stand there: "12 0 R", "<< /A 1 >>", "(text)".
 * {NULL, 0} = there is none. Private to certificates/. */
#ifndef GW_CERTIFICATES_PDF_DOCUMENT_H
#define GW_CERTIFICATES_PDF_DOCUMENT_H

#include "base/base.h"

struct pdf_document {
    struct str bytes;   /* borrowed */
    size_t xref;        /* where the newest cross-reference table is */
    struct str trailer; /* the dictionary behind it */
    unsigned size;      /* all object numbers are below */
};
/* False: *error_r. */
bool pdf_document_open(struct str bytes, struct pdf_document *document_r, const char **error_r);
/* What stands between "12 0 obj" and "endobj"; of a stream, its dictionary. */
struct str pdf_document_object(const struct pdf_document *document, unsigned number);
/* The object's number when the value is a reference, else 0. */
unsigned pdf_value_reference(struct str value);
/* The value itself, or what it refers to. */
struct str pdf_document_resolve(const struct pdf_document *document, struct str value);

/* Without the brackets, when the value is a dictionary (an array). */
struct str pdf_value_dictionary(struct str value);
struct str pdf_value_array(struct str value);
/* Takes the first value off what stands in brackets; a dictionary's are in turns names and values.
 * A name is with its "/". */
struct str pdf_value_next(struct str *inside);
/* Of what pdf_value_dictionary() gave; the key is without "/". */
struct str pdf_value_get(struct str dictionary, struct str key);
/* Of a value: digits, at most `max`. False: it isn't one. */
bool pdf_value_unsigned(struct str value, size_t max, size_t *number_r);

/* White space of section 7.2.2. */
static inline bool pdf_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == '\0';
}

#endif
