/* Writes an incremental update of a PDF (ISO 32000-1 section 7.5.6): objects that are new or
 * changed, a cross-reference table of just these, a trailer that leads back to the one before.
 * Private to certificates/.
 *
 * Written front to back into a buffer of its own, so that views of the document stay where they are
 * and a failure leaves it untouched. The first failure stays in `error`; what is written after it
 * doesn't matter. Nothing depends on anything but what is put in: the same in, the same out. */
#ifndef GW_CERTIFICATES_PDF_UPDATE_H
#define GW_CERTIFICATES_PDF_UPDATE_H

#include "base/buf.h"
#include "certificates/pdf_document.h"

enum {
    UPDATE_OBJECTS = 8, /* that one update can hold */
    OFFSET_DIGITS = 10  /* of an offset: a cross-reference table has no more */
};

struct update {
    const struct pdf_document *document;
    struct str serial;
    struct buf out; /* what goes behind the document's last byte */
    struct {
        unsigned number;
        size_t at;             /* in the whole file */
    } objects[UPDATE_OBJECTS]; /* in ascending order */
    size_t object_count;
    unsigned size;     /* the next number that is free */
    const char *error; /* static */
};

/* `serial`: tells the document from others, for /ID. `likely`, `max`: bytes that the update will
 * take, more or less, and those that it may. `update` can be given to update_fini() in any case. */
void update_init(struct update *update, const struct pdf_document *document, struct str serial,
                 size_t likely, size_t max);
void update_fini(struct update *update);
void update_fail(struct update *update, const char *error);
/* Where the next byte will be in the whole file. */
size_t update_at(const struct update *update);

void update_begin(struct update *update, unsigned number);
void update_end(struct update *update);
/* Cross-reference table and trailer: the last thing. */
void update_finish(struct update *update);

void update_put(struct update *update, struct str text);
/* At most 160 bytes. */
void update_putf(struct update *update, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The entries of a dictionary but those that are given anew. */
void update_put_entries(struct update *update, struct str dictionary, const struct str *except,
                        size_t count);
/* What stands in an array (none = an empty one), and the reference that is added. */
void update_put_array(struct update *update, struct str array, unsigned added);
/* "/Key (text)", a text string of section 7.9.2.2: ASCII as it is, else UTF-16. Nothing for "". */
void update_put_text(struct update *update, struct str key, struct str text);
/* With a blank before it, in thousandths. */
void update_put_number(struct update *update, double number);

#endif
