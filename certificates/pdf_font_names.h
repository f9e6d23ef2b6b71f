/* Codes and glyph names of simple fonts -> Unicode. */
#ifndef GW_CERTIFICATES_PDF_FONT_NAMES_H
#define GW_CERTIFICATES_PDF_FONT_NAMES_H

#include "base/base.h"

enum pdf_encoding {
    PDF_ENCODING_NONE,
    PDF_ENCODING_STANDARD,
    PDF_ENCODING_WIN_ANSI,
    PDF_ENCODING_MAC_ROMAN,
    PDF_ENCODING_DOCUMENT /* PDFDocEncoding, of text outside of content */
};
/* 0 = the encoding has nothing there. */
uint32_t pdf_encoding_unicode(enum pdf_encoding encoding, uint8_t code);
/* 0 = not a name that is known. */
uint32_t pdf_glyph_unicode(struct str name);

#endif
