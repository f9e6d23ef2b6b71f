/* Which kind a template is, by its name's ending, and from then on the functions of that kind. */
#include "certificates/template_kinds.h"

#include <stdlib.h>

const struct str made_field_names[MADE_FIELDS] = {[MADE_SERIAL] = {"serial", 6},
                                                  [MADE_TIMESTAMP] = {"timestamp", 9},
                                                  [MADE_VERIFY_URL] = {"verify_url", 10},
                                                  [MADE_SIGNER] = {"signer", 6}};

struct cert_template {
    struct svg_template *svg; /* one of the two is NULL */
    struct pdf_template *pdf;
};

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && strcmp(name + n - m, ending) == 0;
}

struct cert_template *cert_template_load(const char *dir, const char *name,
                                         const struct template_fields *fields, struct pos at,
                                         struct diag *diag)
{
    struct cert_template loaded = {NULL, NULL};
    if (ends_with(name, ".svg"))
        loaded.svg = svg_template_load(dir, name, fields, at, diag);
    else if (ends_with(name, ".pdf"))
        loaded.pdf = pdf_template_load(dir, name, fields, at, diag);
    else
        diag_error(diag, at, "a certificate's template ends with .svg or .pdf, not \"%s\"", name);
    if (loaded.svg == NULL && loaded.pdf == NULL)
        return NULL;
    struct cert_template *template = malloc(sizeof(*template));
    gw_assert(template != NULL);
    *template = loaded;
    return template;
}

void cert_template_destroy(struct cert_template **template_p)
{
    if (*template_p == NULL)
        return;
    svg_template_destroy(&(*template_p)->svg);
    pdf_template_destroy(&(*template_p)->pdf);
    free(*template_p);
    *template_p = NULL;
}

bool cert_template_is_heavy(const struct cert_template *template)
{
    return template->svg != NULL;
}

enum draw_result cert_template_draw(const struct cert_template *template,
                                    const struct drawing *drawing, struct buf *pdf,
                                    struct draw_problem *problem_r)
{
    return template->svg != NULL ? svg_template_draw(template->svg, drawing, pdf, problem_r)
                                 : pdf_template_draw(template->pdf, drawing, pdf, problem_r);
}

enum draw_result cert_template_write(const struct cert_template *template,
                                     const struct drawing *drawing, struct out *out,
                                     struct draw_problem *problem_r)
{
    gw_assert(template->pdf != NULL);
    return pdf_template_write(template->pdf, drawing, out, problem_r);
}

void cert_template_describe(const struct cert_template *template, FILE *to)
{
    if (template->svg != NULL)
        svg_template_describe(template->svg, to);
    else
        pdf_template_describe(template->pdf, to);
}
