/* certificates/: PDFs that people can trust: drawn from a template, signed, kept, verified,
 * revoked.
 *
 *   certificates.c     the sections of the configuration -> what is served
 *   input.c            a request's query, form or JSON body -> values by name
 *   fields.c           values -> the fields of a certificate, checked
 *   issue.c            one request's way, a table of steps; issue_*.c: the longer ones
 *   template.h         a template of either kind: values -> the bytes of a PDF
 *     svg_*.c          drawn by librsvg and cairo
 *     pdf_*.c          a PDF taken apart by libqpdf, filled in without it
 *   pdf_sign.h, pdf_read.h
 *   preview.c          certificates of samples, for checking and for designers
 *   explain.c          what a request would be issued, as text
 *   register.h         what was issued: kept, found, revoked
 *   verify*.c          verify pages; a PDF that is sent to be verified
 *
 * Drawing, signing and looking at files that are to be verified run on the threads of `compute`,
 * what reads the register on `reads`; nothing here waits on a loop. */
#ifndef GW_CERTIFICATES_H
#define GW_CERTIFICATES_H

#include "base/diag.h"
#include "base/offload.h"
#include "certificates/template.h"
#include "config/config.h"
#include "http/http.h"
#include "pages/pages.h"
#include "render/render.h"
#include "stores/stores.h"
#include "upstreams/upstreams.h"

struct certificates;

struct certificates_needs {
    const struct config *config;
    struct store *store;     /* NULL while a configuration is only checked, or without register */
    struct offload *compute; /* threads that draw, sign, look at files */
    struct offload *reads;   /* threads that read the register */
    struct template_set *templates;
    struct upstreams *upstreams;
    struct pages *pages;
    struct http_server *server;
    const struct secret *secret; /* NULL while a configuration is only checked */
};
/* Loads each template and key, draws each template once with sample values, adds the routes. Errors
 * and warnings in diag; with errors, good for certificates_destroy() only. */
struct certificates *certificates_create(const struct certificates_needs *needs, struct diag *diag);
/* On each loop's thread: its client for the time stamp authority; NULL when the loop ends. */
void certificates_set_client(struct certificates *certificates, struct loop *loop,
                             struct up_client *client);
/* A certificate that is drawn without being issued. */
struct preview {
    struct str section;              /* [certificates.NAME] */
    const struct field_value *given; /* fields without a value have a sample's */
    size_t given_count;
    struct str serial; /* "" = a sample's */
    int64_t when_s;    /* seconds since 1970 */
};
/* Draws it: unsigned, and kept nowhere; of the same preview the same bytes. False: what is wrong
 * stands on `errors`, a line each. Not on a loop. */
bool certificates_preview(const struct certificates *certificates, const struct preview *asked,
                          struct buf *pdf, FILE *errors);
/* For check: of each .pdf template where its placeholders stand and what their fonts can draw, a
 * line a placeholder. */
void certificates_describe(const struct certificates *certificates, FILE *to);
/* For explain: what a request to `route` is issued, as text. False: it isn't a certificate's. */
bool certificates_print_plan(const struct certificates *certificates,
                             const struct http_route *route, FILE *to);
/* The loops have ended, the offloads are stopped. */
void certificates_destroy(struct certificates **certificates);

#endif
