/* A signature in a PDF (ISO 32000-1 section 12.8, PAdES: ETSI EN 319 142-1): an incremental update
 * after the document's last byte that adds a signature field to its first page, with a hole where
 * the CMS goes. Two steps, for between them the signature is made, maybe with a time stamp that
 * must be waited for. The document is one of ours: cairo's, or a filled-in template.
 *
 * Computes: not on a loop. Any thread. */
#ifndef GW_CERTIFICATES_PDF_SIGN_H
#define GW_CERTIFICATES_PDF_SIGN_H

#include "base/buf.h"
#include "crypto/crypto.h"

struct pdf_signature {
    struct str signer, reason, location, contact; /* UTF-8; "" = left out */
    struct str serial;                            /* tells this document from others, for /ID */
    double rect[4]; /* x y width height in points; 0 0 0 0: invisible */
    int64_t when_s; /* /M, seconds since 1970 */
    size_t room;    /* bytes for the CMS */
};
/* Where the hole is: offsets in the document. */
struct pdf_hole {
    size_t from, to; /* of "<", behind ">" */
};
/* Appends the update to `pdf`. False: *error_r, and `pdf` is as it was: it isn't a document that
 * can be read, or there is no room. */
bool pdf_sign_prepare(struct buf *pdf, const struct pdf_signature *signature,
                      struct pdf_hole *hole_r, const char **error_r);
/* Of all but the hole: what is signed. */
void pdf_sign_digest(const struct buf *pdf, struct pdf_hole hole, enum digest_kind kind,
                     uint8_t *digest_r);
/* Writes the CMS into the hole; it fits. */
void pdf_sign_fill(struct buf *pdf, struct pdf_hole hole, const uint8_t *der, size_t n);

#endif
