/* Finds the signatures of a PDF that a stranger sent: enough to tell whether one is ours and what
 * it covers, no more. Never trusts an offset; bounded work. */
#ifndef GW_CERTIFICATES_PDF_READ_H
#define GW_CERTIFICATES_PDF_READ_H

#include "base/base.h"

enum { PDF_MAX_SIGNATURES = 16 };

/* A signature's place, as its /ByteRange tells, checked: two ranges, the first from 0, around
 * exactly the hexadecimal string of /Contents, the second not past the file's end. */
struct pdf_found_signature {
    size_t hole_from, hole_to; /* of "<", behind ">" */
    size_t end;                /* behind the second range: what comes after was added later */
};
/* In the order of the file. Returns how many. */
size_t pdf_find_signatures(struct str pdf, struct pdf_found_signature found[PDF_MAX_SIGNATURES]);
/* The DER that stands in the hole (trailing zeros dropped by its own length), into `der_r`, which
 * has (hole_to - hole_from) / 2 bytes. 0 = it isn't one. */
size_t pdf_read_contents(struct str pdf, const struct pdf_found_signature *found, uint8_t *der_r);

#endif
