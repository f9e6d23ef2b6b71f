/* Certificates drawn from an SVG: the template is compiled when the configuration is read; a
 * drawing renders it with the fields, has librsvg read that, and cairo write the PDF.
 *
 * Text with gw:fit is measured in what was read, for only then are fonts and scripts known. Most
 * names fit and that was all; where one doesn't, the template is rendered once more with transforms
 * for those that are too wide.
 *
 * Everything of a drawing lives in a pool of its own: drawings share nothing that changes. */
#include "certificates/svg_internal.h"

#include <stdlib.h>
#include "base/log.h"
#include "certificates/qr.h"

struct svg_template {
    h2o_mem_pool_t pool;
    struct svg_source source;
    struct template_set *set; /* this template and its partials, which no page sees */
    const struct template *mustache;
    struct svg_fonts *fonts;
    GFile *base; /* the template's own: pictures lie next to it */
    char *title;
};

/* -- one drawing ------------------------------------------------------------------------------- */

static void set_text(h2o_mem_pool_t *pool, struct json_object *object, struct str key,
                     struct str text)
{
    struct str *kept = h2o_mem_alloc_pool(pool, sizeof(*kept));
    *kept = text;
    json_object_set(pool, object, key, json_from_text(kept));
}

/* What the template sees: the fields, `qr` where there is something to verify, and what goes into
 * the start tags of texts with gw:fit. */
static struct json_object *view(const struct svg_template *template, const struct drawing *drawing,
                                h2o_mem_pool_t *pool)
{
    size_t fits = template->source.fit_count;
    struct json_object *root = json_object_create(pool, drawing->field_count + fits + 1);
    struct qr qr;

    for (size_t i = 0; i < drawing->field_count; i++)
        set_text(pool, root, drawing->fields[i].name, drawing->fields[i].value);
    if (template_uses(template->mustache, STR("qr")) &&
        qr_outline(drawing->verify_url, pool, &qr)) {
        struct json_object *member = json_object_create(pool, 2);
        char size[8];
        int n = snprintf(size, sizeof(size), "%u", qr.size);
        set_text(pool, member, STR("path"), qr.path);
        set_text(pool, member, STR("size"),
                 (struct str){h2o_strdup(pool, size, (size_t)n).base, (size_t)n});
        json_object_set(pool, root, STR("qr"), json_from_object(member));
    }
    for (size_t i = 0; i < fits; i++)
        set_text(pool, root, template->source.fits[i].member, STR(""));
    return root;
}

static RsvgHandle *render(const struct svg_template *template, const struct json_object *root,
                          h2o_mem_pool_t *pool, GError **error_r)
{
    struct out out;
    out_init(&out, pool, 0);
    if (!template_render(template->mustache, json_from_object(root), pool, &out)) {
        g_set_error_literal(error_r, RSVG_ERROR, RSVG_ERROR_FAILED,
                            "the template has no end or is too large");
        return NULL;
    }
    return svg_parse(&out, template->base, error_r);
}

/* Gives transforms to texts that are too wide. Whether there are any. */
static bool shrink(const struct svg_template *template, RsvgHandle *svg, struct json_object *root,
                   h2o_mem_pool_t *pool)
{
    bool some = false;
    for (size_t i = 0; i < template->source.fit_count; i++) {
        const struct svg_fit *fit = &template->source.fits[i];
        double width = svg_text_width(svg, fit->id);
        if (width <= fit->width)
            continue;
        double scale = fit->width / width;
        const double matrix[3] = {scale, fit->x * (1 - scale), fit->y * (1 - scale)};
        char number[3][G_ASCII_DTOSTR_BUF_SIZE];
        for (size_t k = 0; k < COUNT(matrix); k++)
            g_ascii_formatd(number[k], sizeof(number[k]), "%.6f", matrix[k]);
        struct buf transform;
        buf_init(&transform, 256);
        gw_assert(buf_printf(&transform, " transform=\"matrix(%s 0 0 %s %s %s)\"", number[0],
                             number[0], number[1], number[2]));
        set_text(pool, root, fit->member,
                 (struct str){h2o_strdup(pool, transform.p, transform.n).base, transform.n});
        buf_fini(&transform);
        some = true;
    }
    return some;
}

/* False: *error_r. */
static bool draw(const struct svg_template *template, const struct drawing *drawing,
                 struct buf *pdf, GError **error_r)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct json_object *root = view(template, drawing, &pool);
    RsvgHandle *svg = render(template, root, &pool, error_r);
    bool drawn = false;

    if (svg != NULL && shrink(template, svg, root, &pool)) {
        g_object_unref(svg);
        svg = render(template, root, &pool, error_r);
    }
    if (svg != NULL) {
        char *title = drawing->title.n != 0
                          ? h2o_strdup(&pool, drawing->title.p, drawing->title.n).base
                          : template->title;
        drawn = svg_to_pdf(svg, &(struct svg_document){title, drawing->when_s}, pdf, error_r);
        g_object_unref(svg);
    }
    h2o_mem_clear_pool(&pool);
    return drawn;
}

static bool is_automatic(struct str name)
{
    for (size_t i = 0; i < MADE_FIELDS; i++)
        if (str_eq(name, made_field_names[i]))
            return true;
    return false;
}

static bool is_in_markup(const struct svg_source *source, struct str name)
{
    for (size_t i = 0; i < source->in_markup_count; i++)
        if (str_eq(source->in_markup[i], name))
            return true;
    return source->all_in_markup;
}

/* In an attribute or a style sheet a value may name a file or a colour. With a colon it would be a
 * URL that brings its own picture (data:), or a declaration (filter:): some kilobytes of either are
 * minutes of drawing, which nothing can stop. A backslash hides a colon from us in CSS. */
static bool is_tame(const struct svg_template *template, const struct drawing *drawing,
                    struct draw_problem *problem_r)
{
    for (size_t i = 0; i < drawing->field_count; i++) {
        const struct field_value *field = &drawing->fields[i];
        if (is_automatic(field->name) || !is_in_markup(&template->source, field->name))
            continue;
        for (size_t k = 0; k < field->value.n; k++) {
            char c = field->value.p[k];
            if (c != ':' && c != '\\')
                continue;
            *problem_r = (struct draw_problem){.field = field->name, .character = (uint32_t)c};
            return false;
        }
    }
    return true;
}

/* Whether all that will be seen can be. */
static bool can_show(const struct svg_template *template, const struct drawing *drawing,
                     struct draw_problem *problem_r)
{
    for (size_t i = 0; i < drawing->field_count; i++) {
        const struct field_value *field = &drawing->fields[i];
        uint32_t lacks = svg_fonts_lack(template->fonts, field->value);
        if (lacks != 0 && template_uses(template->mustache, field->name)) {
            *problem_r = (struct draw_problem){.field = field->name, .character = lacks};
            return false;
        }
    }
    return true;
}

enum draw_result svg_template_draw(const struct svg_template *template,
                                   const struct drawing *drawing, struct buf *pdf,
                                   struct draw_problem *problem_r)
{
    GError *error = NULL;
    if (!is_tame(template, drawing, problem_r) || !can_show(template, drawing, problem_r))
        return DRAW_CANT_SHOW;
    if (draw(template, drawing, pdf, &error))
        return DRAW_OK;
    log_event(LOG_ERROR, "certificate not drawn", "template=%s error=%s",
              log_quote(str_from(template->source.files[0].path)),
              log_quote(str_from(error->message)));
    g_error_free(error);
    return DRAW_FAILED;
}

/* -- loading ----------------------------------------------------------------------------------- */

/* Draws what a certificate may look like: what is broken now would be with each value. */
static void try_it(const struct svg_template *template, const struct template_fields *fields,
                   struct diag *diag)
{
    h2o_mem_pool_t pool;
    struct buf pdf;
    GError *error = NULL;

    h2o_mem_init_pool(&pool);
    struct field_value *values = h2o_mem_alloc_pool(&pool, (fields->count + 1) * sizeof(*values));
    for (size_t i = 0; i < fields->count; i++)
        values[i] = (struct field_value){fields->names[i], STR("Sample")};
    struct drawing sample = {.fields = values,
                             .field_count = fields->count,
                             .verify_url = STR("https://example.org/certificates/"
                                               "8K3QF-2M7XR-V0P4N-J6T9W")};
    buf_init(&pdf, 64 * 1024 * 1024);
    if (!draw(template, &sample, &pdf, &error)) {
        diag_error(diag, (struct pos){template->source.files[0].path, 0, 0}, "%s", error->message);
        g_error_free(error);
    }
    buf_fini(&pdf);
    h2o_mem_clear_pool(&pool);
}

static void tell_unseen(const struct svg_template *template, const struct template_fields *fields,
                        struct pos at, struct diag *diag)
{
    for (size_t i = 0; i < fields->count; i++) {
        struct str name = fields->names[i];
        if (!is_automatic(name) && !template_uses(template->mustache, name))
            diag_warning(diag, at, "the field \"%.*s\" isn't shown by %s", (int)name.n, name.p,
                         template->source.files[0].path);
    }
}

struct svg_template *svg_template_load(const char *dir, const char *name,
                                       const struct template_fields *fields, struct pos at,
                                       struct diag *diag)
{
    size_t errors = diag_errors(diag);
    struct svg_template *template = calloc(1, sizeof(*template));
    gw_assert(template != NULL);
    h2o_mem_init_pool(&template->pool);
    struct svg_source *source = &template->source;
    template->fonts = svg_fonts_load();
    if (template->fonts == NULL)
        diag_error(diag, at,
                   "no font is installed: text can't be drawn (packages/run names those of "
                   "the default certificate)");
    *source = (struct svg_source){.pool = &template->pool,
                                  .dir = dir,
                                  .fields = fields,
                                  .fonts = template->fonts,
                                  .diag = diag};
    if (svg_source_read(source, name, at)) {
        template->set = template_set_create(NULL);
        const char *path = source->files[0].path;
        template->mustache = template_compile(template->set, path, source->files[0].compiled,
                                              svg_source_lookup, source, diag);
        template->base = g_file_new_for_path(path);
        template->title = h2o_strdup(&template->pool, source->title.p, source->title.n).base;
    }
    if (template->mustache != NULL) {
        tell_unseen(template, fields, at, diag);
        try_it(template, fields, diag);
    }
    source->fields = NULL; /* was borrowed for loading, as the others */
    source->fonts = NULL;
    source->diag = NULL;
    if (template->mustache == NULL || diag_errors(diag) != errors)
        svg_template_destroy(&template);
    return template;
}

void svg_template_destroy(struct svg_template **template_p)
{
    struct svg_template *template = *template_p;
    if (template == NULL)
        return;
    if (template->base != NULL)
        g_object_unref(template->base);
    template_set_destroy(&template->set);
    svg_fonts_destroy(&template->fonts);
    h2o_mem_clear_pool(&template->pool);
    free(template);
    *template_p = NULL;
}

void svg_template_describe(const struct svg_template *template, FILE *to)
{
    const struct svg_source *source = &template->source;
    for (size_t i = 0; i < source->shown_count; i++)
        fprintf(to, "  {{%.*s}}\n", (int)source->shown[i].n, source->shown[i].p);
    if (template_uses(template->mustache, STR("qr")))
        fprintf(to, "  QR code of verify_url\n");
    if (source->fit_count != 0)
        fprintf(to, "  %zu text%s may shrink (gw:fit)\n", source->fit_count,
                source->fit_count == 1 ? "" : "s");
}
