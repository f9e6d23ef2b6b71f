/* The two kinds of template, for template.c alone; contracts as in template.h. */
#ifndef GW_CERTIFICATES_TEMPLATE_KINDS_H
#define GW_CERTIFICATES_TEMPLATE_KINDS_H

#include "certificates/template.h"

struct svg_template;
struct svg_template *svg_template_load(const char *dir, const char *name,
                                       const struct template_fields *fields, struct pos at,
                                       struct diag *diag);
void svg_template_destroy(struct svg_template **template_p);
enum draw_result svg_template_draw(const struct svg_template *template,
                                   const struct drawing *drawing, struct buf *pdf,
                                   struct draw_problem *problem_r);
void svg_template_describe(const struct svg_template *template, FILE *to);

struct pdf_template;
struct pdf_template *pdf_template_load(const char *dir, const char *name,
                                       const struct template_fields *fields, struct pos at,
                                       struct diag *diag);
void pdf_template_destroy(struct pdf_template **template_p);
enum draw_result pdf_template_draw(const struct pdf_template *template,
                                   const struct drawing *drawing, struct buf *pdf,
                                   struct draw_problem *problem_r);
enum draw_result pdf_template_write(const struct pdf_template *template,
                                    const struct drawing *drawing, struct out *out,
                                    struct draw_problem *problem_r);
void pdf_template_describe(const struct pdf_template *template, FILE *to);

#endif
