/* A certificate's template: values go in, the bytes of a PDF come out. Two kinds, told by the
 * file's ending: .svg (svg_template.c: Mustache, then librsvg and cairo; milliseconds) and .pdf
 * (pdf_template.c: taken apart by libqpdf when it is loaded, filled in by copying; microseconds).
 *
 * Loaded once, immutable after: any thread may draw, several at once. The same drawing gives the
 * same bytes. */
#ifndef GW_CERTIFICATES_TEMPLATE_H
#define GW_CERTIFICATES_TEMPLATE_H

#include "base/buf.h"
#include "base/diag.h"
#include "base/out.h"

/* A field's value: UTF-8, checked, without control characters. */
struct field_value {
    struct str name, value;
};

/* Those that are made for each certificate; they stand behind the configured ones, in this order.
 */
enum made_field { MADE_SERIAL, MADE_TIMESTAMP, MADE_VERIFY_URL, MADE_SIGNER, MADE_FIELDS };
extern const struct str made_field_names[MADE_FIELDS];

/* All that a certificate is made of. Borrowed while it is drawn. */
struct drawing {
    const struct field_value *fields; /* those that are made among them */
    size_t field_count;
    struct str title;      /* of the document; "" = the template's own */
    struct str verify_url; /* what the QR code says; "" = there is none */
    struct str serial;     /* "" = none; of /ID */
    int64_t when_s;        /* creation date, seconds since 1970 */
};

struct cert_template;

/* What the template may count on, for telling placeholders that nobody fills in. */
struct template_fields {
    const struct str *names;
    size_t count;
};

/* `name` is under templates/. NULL after errors: a broken template, placeholders that can't be
 * drawn at all, names that aren't fields. Warnings: what turns text into pictures (.svg),
 * characters that a placeholder's font lacks (.pdf), fields that it doesn't show. `at`: where the
 * configuration names it. `dir`: absolute folder of the templates. */
struct cert_template *cert_template_load(const char *dir, const char *name,
                                         const struct template_fields *fields, struct pos at,
                                         struct diag *diag);
void cert_template_destroy(struct cert_template **template_p);
/* Whether drawing takes milliseconds and belongs on an offload thread. */
bool cert_template_is_heavy(const struct cert_template *template);

enum draw_result {
    DRAW_OK,
    DRAW_CANT_SHOW, /* a value has a character that no font there can draw: `field`, `character` */
    DRAW_FAILED     /* was logged */
};
struct draw_problem {
    struct str field;   /* borrowed from the drawing */
    uint32_t character; /* code point */
};
/* Appends the PDF to `pdf`, a buffer whose max is the largest PDF that is taken. */
enum draw_result cert_template_draw(const struct cert_template *template,
                                    const struct drawing *drawing, struct buf *pdf,
                                    struct draw_problem *problem_r);
/* The same for templates that aren't heavy, on a loop: points into the template where it can. The
 * drawing's values stay until the response was sent. */
enum draw_result cert_template_write(const struct cert_template *template,
                                     const struct drawing *drawing, struct out *out,
                                     struct draw_problem *problem_r);

/* For explain and check: what the template shows, a line a placeholder. */
void cert_template_describe(const struct cert_template *template, FILE *to);

#endif
