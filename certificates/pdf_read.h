/* Finds the signatures of a PDF that a stranger sent: enough to tell whether one is ours and what
 * it covers, no more. Never trusts an offset; bounded work: the file's length, twice.
 *
 * Where a /ByteRange stands is not asked: in a dictionary, a string, a stream, all the same. What
 * makes a signature ours is the cryptography over the two ranges, and since these leave out nothing
 * but one string of hexadecimal digits, a file whose ranges verify and end at its last byte is byte
 * by byte the one that was signed (but for how that string is padded: with zeros only). */
#ifndef GW_CERTIFICATES_PDF_READ_H
#define GW_CERTIFICATES_PDF_READ_H

#include "base/base.h"

enum { PDF_MAX_SIGNATURES = 16 };

/* A signature's place, as its /ByteRange tells, checked: two ranges, the first from 0, around
 * exactly the hexadecimal string of a /Contents, the second not past the file's end. */
struct pdf_found_signature {
    size_t hole_from, hole_to; /* of "<", behind ">" */
    size_t end;                /* behind the second range: what comes after was added later */
};
/* In the order of the file, the first PDF_MAX_SIGNATURES. Returns how many. */
size_t pdf_find_signatures(struct str pdf, struct pdf_found_signature found[PDF_MAX_SIGNATURES]);
/* The DER that stands in the hole (its own length tells how much of it; the rest must be zeros),
 * into `der_r`, which has (hole_to - hole_from) / 2 bytes. Returns its length; 0 = it isn't one. */
size_t pdf_read_contents(struct str pdf, const struct pdf_found_signature *found, uint8_t *der_r);

#endif
