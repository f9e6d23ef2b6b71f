/* Certificates that nobody was issued: of sample values, to find out when the configuration is read
 * whether a section works at all, and of given ones, for whoever designs a template. */
#include <time.h>
#include "base/text.h"
#include "certificates/issue_internal.h"

static const struct str sample_serial = {"00000-00000-00000-00000", 23};

const struct str made_field_names[MADE_FIELDS] = {[MADE_SERIAL] = {"serial", 6},
                                                  [MADE_TIMESTAMP] = {"timestamp", 9},
                                                  [MADE_VERIFY_URL] = {"verify_url", 10},
                                                  [MADE_SIGNER] = {"signer", 6}};

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
static struct str sample(const struct section *section, size_t i, h2o_mem_pool_t *pool)
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
        return sample_serial;
    case MADE_TIMESTAMP:
        return section->timestamp != NULL
                   ? timestamp_text_print(section->timestamp, (int64_t)time(NULL) * 1000, pool)
                   : STR("");
    case MADE_SIGNER:
        return section->signer != NULL ? signer_name(section->signer) : STR("");
    default:
        break;
    }
    return section_verify_url(section, sample_serial, pool);
}

static enum draw_result draw(const struct section *section, struct field_value *values,
                             h2o_mem_pool_t *pool, struct buf *pdf, struct draw_problem *problem)
{
    const size_t own = section->fields->count;
    const struct drawing drawing = {
        .fields = values,
        .field_count = section->value_count,
        .title = words_print(&section->title, values, section->value_count, pool),
        .verify_url = values[own + MADE_VERIFY_URL].value,
        .serial = sample_serial,
        .when_s = time(NULL)};
    return cert_template_draw(section->template, &drawing, pdf, problem);
}

static struct field_value *samples(const struct section *section, h2o_mem_pool_t *pool)
{
    struct field_value *values = h2o_mem_alloc_pool(pool, section->value_count * sizeof(*values));
    for (size_t i = 0; i < section->value_count; i++)
        values[i] = (struct field_value){section_value_name(section, i), sample(section, i, pool)};
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
    h2o_mem_init_pool(&pool);
    buf_init(&pdf, ISSUE_PDF_MAX);
    enum draw_result drawn = draw(section, samples(section, &pool), &pool, &pdf, &problem);
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

bool certificates_preview(const struct certificates *certificates, struct str name,
                          const struct field_value *given, size_t given_count, struct buf *pdf,
                          FILE *errors)
{
    const struct section *section = find(certificates, name);
    struct draw_problem problem;
    h2o_mem_pool_t pool;
    bool good = true;
    if (section == NULL) {
        fprintf(errors, "there is no [certificates.%.*s]\n", (int)name.n, name.p);
        return false;
    }
    h2o_mem_init_pool(&pool);
    struct field_value *values = samples(section, &pool);
    for (size_t i = 0; i < given_count; i++) {
        const char *wrong = put(values, section->value_count, &given[i]);
        if (wrong != NULL)
            fprintf(errors, "\"%.*s\" %s\n", (int)given[i].name.n, given[i].name.p, wrong);
        good = good && wrong == NULL;
    }
    enum draw_result drawn = good ? draw(section, values, &pool, pdf, &problem) : DRAW_FAILED;
    if (drawn == DRAW_CANT_SHOW)
        fprintf(errors, "\"%.*s\" has a character that the template can't show: U+%04X\n",
                (int)problem.field.n, problem.field.p, (unsigned)problem.character);
    h2o_mem_clear_pool(&pool);
    return drawn == DRAW_OK;
}
