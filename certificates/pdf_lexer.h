/* The tokens of PDF syntax (ISO 32000-1 section 7.2 and 7.3), as they stand in content streams,
 * CMaps and objects written out. Any bytes may be read: what makes no sense is passed over. */
#ifndef GW_CERTIFICATES_PDF_LEXER_H
#define GW_CERTIFICATES_PDF_LEXER_H

#include "base/base.h"

enum pdf_token_kind {
    PDF_END,
    PDF_NUMBER,
    PDF_NAME,   /* "/F1", with the slash */
    PDF_STRING, /* "(...)" or "<...>", with its delimiters; an unclosed one ends with the text */
    PDF_OPEN,   /* "[" or "<<" */
    PDF_CLOSE,  /* "]" or ">>" */
    PDF_WORD    /* operators, true, false, null, R */
};
struct pdf_lexer {
    struct str text; /* borrowed, as what is read from it */
    size_t at;
};
/* The next token, its own bytes in *token_r. */
enum pdf_token_kind pdf_next(struct pdf_lexer *lexer, struct str *token_r);
/* Behind "ID": skips an inline image's bytes and its "EI". */
void pdf_skip_image(struct pdf_lexer *lexer);

/* The bytes that a PDF_STRING stands for, at most token.n of them, into bytes_r. Returns how many.
 */
size_t pdf_string_read(struct str token, uint8_t *bytes_r);
/* A PDF_NAME without its slash, "#20" escapes resolved, into name_r, which has name.n bytes. */
struct str pdf_name_read(struct str token, char *name_r);
/* A PDF_NUMBER, limited to +-1e9. */
double pdf_number_read(struct str token);

#endif
