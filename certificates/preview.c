/* Certificates that nobody was issued: of sample values, to find out when the configuration is read
 * whether a section works at all, and of given ones, for whoever designs a template. */
#include <time.h>
#include "base/text.h"
#include "certificates/issue_internal.h"

static const struct str sample_serial = {"00000-00000-00000-00000", 23};

struct str section_value_name(const struct section *section, size_t i)
{
    size_t own = section->fields->count;
    return i < own ? section->fields->items[i].config->name : made_field_names[i - own];
}

struct str section_verify_url(const struct section *section, struct str serial,
                              h2o_mem_pool_t *pool)
{
    struct str base = section->all->verify_url;
    if (!section->config->registered)
        return STR("");
    h2o_iovec_t url =
        h2o_concat(pool, h2o_iovec_init(base.p, base.n), h2o_iovec_init(H2O_STRLIT("/")),
                   h2o_iovec_init(serial.p, serial.n));
    return (struct str){url.base, url.len};
}

/* What a field holds when nobody says. */
static struct str sample(const struct section *section, size_t i, const struct preview *as,
                         h2o_mem_pool_t *pool)
{
    const size_t own = section->fields->count;
    if (i < own) {
        const struct config_field *field = section->fields->items[i].config;
        return field->value.n != 0      ? field->value
               : field->fallback.n != 0 ? field->fallback
                                        : STR("Ada Lovelace");
    }
    switch ((enum made_field)(i - own)) {
    case MADE_SERIAL:
        return as->serial;
    case MADE_TIMESTAMP:
        return section->timestamp != NULL
                   ? timestamp_text_print(section->timestamp, as->when_s * 1000, pool)
                   : STR("");
    case MADE_SIGNER:
        return section->signer != NULL ? signer_name(section->signer) : STR("");
    default:
        break;
    }
    return section_verify_url(section, as->serial, pool);
}

static enum draw_result draw(const struct section *section, struct field_value *values,
                             const struct preview *as, h2o_mem_pool_t *pool, struct buf *pdf,
                             struct draw_problem *problem)
{
    const size_t own = section->fields->count;
    const struct drawing drawing = {
        .fields = values,
        .field_count = section->value_count,
        .title = words_print(&section->title, values, section->value_count, pool),
        .verify_url = values[own + MADE_VERIFY_URL].value,
        .serial = as->serial,
        .when_s = as->when_s};
    return cert_template_draw(section->template, &drawing, pdf, problem);
}

static struct field_value *samples(const struct section *section, const struct preview *as,
                                   h2o_mem_pool_t *pool)
{
    struct field_value *values = h2o_mem_alloc_pool(pool, section->value_count * sizeof(*values));
    for (size_t i = 0; i < section->value_count; i++)
        values[i] =
            (struct field_value){section_value_name(section, i), sample(section, i, as, pool)};
    return values;
}

/* A character that a font lacks was told by the loading, and is an error only where no request can
 * change it. */
static bool is_constant(const struct section *section, struct str name)
{
    for (size_t i = 0; i < section->fields->count; i++)
        if (str_eq(section->fields->items[i].config->name, name))
            return section->fields->items[i].from == FIELD_CONSTANT;
    return false;
}

size_t section_try(const struct section *section, struct diag *diag)
{
    h2o_mem_pool_t pool;
    struct buf pdf;
    struct draw_problem problem;
    struct pdf_hole hole;
    const char *error = NULL;
    struct pos at = config_pos(section->all->needs.config, &section->config->template);
    const struct preview as = {.serial = sample_serial, .when_s = time(NULL)};
    h2o_mem_init_pool(&pool);
    buf_init(&pdf, ISSUE_PDF_MAX);
    enum draw_result drawn =
        draw(section, samples(section, &as, &pool), &as, &pool, &pdf, &problem);
    if (drawn == DRAW_CANT_SHOW && is_constant(section, problem.field))
        diag_error(diag, at, "template: it can't show U+%04X of the field \"%.*s\"",
                   (unsigned)problem.character, (int)problem.field.n, problem.field.p);
    else if (drawn == DRAW_FAILED)
        diag_error(diag, at, "template: it can't be drawn");
    else if (drawn == DRAW_OK && section->signer != NULL &&
             !pdf_sign_prepare(&pdf, &section->signature, &hole, &error))
        diag_error(diag, at, "template: what it gives can't be signed: %s", error);
    size_t size = drawn == DRAW_OK ? pdf.n : 0;
    buf_fini(&pdf);
    h2o_mem_clear_pool(&pool);
    return size;
}

/* -- for the command line ---------------------------------------------------------------------- */

static const struct section *find(const struct certificates *all, struct str name)
{
    for (size_t i = 0; i < all->count; i++)
        if (str_eq(all->sections[i].config->name, name))
            return &all->sections[i];
    return NULL;
}

/* Returns what is wrong, or NULL. */
static const char *put(struct field_value *values, size_t count, const struct field_value *given)
{
    if (!utf8_valid(given->value) || has_control(given->value))
        return "has control characters, or is not UTF-8";
    for (size_t i = 0; i < count; i++)
        if (str_eq(values[i].name, given->name)) {
            values[i].value = given->value;
            return NULL;
        }
    return "is not a field of this certificate";
}

bool certificates_preview(const struct certificates *certificates, const struct preview *asked,
                          struct buf *pdf, FILE *errors)
{
    const struct section *section = find(certificates, asked->section);
    struct preview as = *asked;
    struct draw_problem problem;
    h2o_mem_pool_t pool;
    bool good = true;
    if (section == NULL) {
        fprintf(errors, "there is no [certificates.%.*s]\n", (int)as.section.n, as.section.p);
        return false;
    }
    if (as.serial.n == 0)
        as.serial = sample_serial;
    h2o_mem_init_pool(&pool);
    struct field_value *values = samples(section, &as, &pool);
    for (size_t i = 0; i < as.given_count; i++) {
        const struct field_value *given = &as.given[i];
        const char *wrong = put(values, section->value_count, given);
        if (wrong != NULL)
            fprintf(errors, "\"%.*s\" %s\n", (int)given->name.n, given->name.p, wrong);
        good = good && wrong == NULL;
    }
    enum draw_result drawn = good ? draw(section, values, &as, &pool, pdf, &problem) : DRAW_FAILED;
    if (drawn == DRAW_CANT_SHOW)
        fprintf(errors, "\"%.*s\" has a character that the template can't show: U+%04X\n",
                (int)problem.field.n, problem.field.p, (unsigned)problem.character);
    h2o_mem_clear_pool(&pool);
    return drawn == DRAW_OK;
}

void certificates_describe(const struct certificates *certificates, FILE *to)
{
    for (size_t i = 0; i < certificates->count; i++) {
        const struct section *section = &certificates->sections[i];
        if (cert_template_is_heavy(section->template))
            continue;
        fprintf(to, "certificates.%s: %s\n", section->config->name.p, section->config->template.p);
        cert_template_describe(section->template, to);
    }
}
