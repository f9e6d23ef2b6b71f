/* The sections of the configuration become what is served: templates loaded and drawn once, keys
 * read, patterns and texts compiled, routes added. After that nothing of it changes. */
#include "certificates/certificates.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/text.h"
#include "certificates/issue.h"
#include "certificates/issue_internal.h"

static const struct config *config_of(const struct section *section)
{
    return section->all->needs.config;
}

/* -- texts ------------------------------------------------------------------------------------- */

struct name_check {
    const struct section *section;
    const struct str *text; /* the key's */
    const char *key;
    struct diag *diag;
};

/* Of a name that is no field: the nearest that is, NULL = none. */
static const char *nearest_field(const struct section *section, struct str name)
{
    const char **names =
        h2o_mem_alloc_pool(&section->all->pool, section->value_count * sizeof(*names));
    for (size_t i = 0; i < section->value_count; i++)
        names[i] = section_value_name(section, i).p;
    return diag_nearest(name, names, section->value_count);
}

static void check_word(void *arg, struct str name)
{
    const struct name_check *check = arg;
    const struct section *section = check->section;
    struct pos at = config_pos(config_of(section), check->text);
    for (size_t i = 0; i < section->value_count; i++)
        if (str_eq(section_value_name(section, i), name))
            return;
    const char *near = nearest_field(section, name);
    if (near != NULL)
        diag_error(check->diag, at, "%s: there is no field \"%.*s\"; did you mean \"%s\"?",
                   check->key, (int)name.n, name.p, near);
    else
        diag_error(check->diag, at, "%s: there is no field \"%.*s\"", check->key, (int)name.n,
                   name.p);
}

static void compile_words(const struct section *section, const struct str *text, const char *key,
                          struct words *words_r, struct diag *diag)
{
    *words_r = (struct words){.constant = *text};
    if (memmem(text->p, text->n, "{{", 2) == NULL)
        return;
    char *name;
    struct diag *own = diag_create();
    gw_assert(asprintf(&name, "%s of certificates.%s", key, section->config->name.p) > 0);
    words_r->template = template_compile_plain(section->all->texts, name, *text, own);
    if (words_r->template == NULL) /* its own place is inside the text: the key's is of use */
        diag_error(diag, config_pos(config_of(section), text), "%s: \"%s\" is not a template", key,
                   text->p);
    else
        template_each_name(words_r->template, check_word,
                           &(struct name_check){section, text, key, diag});
    diag_destroy(&own);
    free(name);
}

static void compile_shown(struct section *section, struct diag *diag)
{
    const struct config_strings *show = &section->config->show;
    section->shown = h2o_mem_alloc_pool(&section->all->pool, (show->count + 1) * sizeof(size_t));
    for (size_t i = 0; i < show->count; i++) {
        size_t k = 0;
        while (k < section->value_count && !str_eq(section_value_name(section, k), show->items[i]))
            k++;
        section->shown[i] = k;
        if (k == section->value_count)
            check_word(&(struct name_check){section, &show->items[i], "show", diag},
                       show->items[i]);
    }
}

/* -- signing ----------------------------------------------------------------------------------- */

/* "x y width height" */
static bool read_rect(struct str text, double rect_r[4])
{
    const char *p = text.p;
    char *end;
    if (text.n == 0)
        return true;
    for (int i = 0; i < 4; i++) {
        rect_r[i] = strtod(p, &end);
        if (end == p || !(rect_r[i] >= 0 && rect_r[i] <= 14400))
            return false;
        p = end;
    }
    while (*p == ' ')
        p++;
    return *p == '\0' && rect_r[2] > 0 && rect_r[3] > 0;
}

/* What signer_load() tells begins with the file that it is about. */
static struct pos file_pos(const struct section *section, const char *message)
{
    const struct config_sign *sign = &section->config->sign;
    bool of_certificate = strncmp(message, sign->certificate.p, sign->certificate.n) == 0;
    return config_pos(config_of(section), of_certificate ? &sign->certificate : &sign->key);
}

static void load_signer(struct section *section, struct diag *diag)
{
    const struct config *config = config_of(section);
    const struct config_sign *sign = &section->config->sign;
    char error[512] = "", warning[512] = "";
    double rect[4] = {0};
    if (!read_rect(sign->rect, rect)) {
        diag_error(diag, config_pos(config, &sign->rect),
                   "rect: \"%s\" is not \"x y width height\" in points, from 0 to 14400",
                   sign->rect.p);
        memset(rect, 0, sizeof(rect));
    }
    if (sign->key.n == 0)
        return;
    section->signer = signer_load(sign->key.p, sign->password, sign->certificate.p, time(NULL),
                                  error, warning, sizeof(error));
    if (section->signer == NULL) {
        diag_error(diag, file_pos(section, error), "%s", error);
        return;
    }
    if (warning[0] != '\0')
        diag_warning(diag, file_pos(section, warning), "%s", warning);
    section->signature = (struct pdf_signature){.signer = signer_name(section->signer),
                                                .reason = sign->reason,
                                                .location = sign->location,
                                                .contact = sign->contact,
                                                .room = signer_size(section->signer)};
    memcpy(section->signature.rect, rect, sizeof(rect));
    if (sign->timestamp.n == 0)
        return;
    section->signature.room += TIMESTAMP_MAX;
    section->authority = upstream_find(section->all->needs.upstreams, sign->timestamp);
    if (section->authority == NULL)
        diag_error(diag, config_pos(config, &sign->timestamp),
                   "timestamp: there is no [upstreams.%s]", sign->timestamp.p);
    if (sign->timestamp_path.n != 0 && sign->timestamp_path.p[0] != '/' &&
        sign->timestamp_path.p[0] != '?')
        diag_error(diag, config_pos(config, &sign->timestamp_path),
                   "timestamp_path: \"%s\" must begin with /", sign->timestamp_path.p);
}

/* -- templates --------------------------------------------------------------------------------- */

/* Pango and cairo take time by the square of a line's length: 1000 characters that all differ a
 * quarter of a second, 10000 half a minute, and nothing can stop them. */
static void check_lengths(const struct section *section, struct diag *diag)
{
    enum { LENGTH_MAX = 1000 };
    for (size_t i = 0; cert_template_is_heavy(section->template) && i < section->fields->count;
         i++) {
        const struct config_field *field = section->fields->items[i].config;
        if (field->max_length > LENGTH_MAX)
            diag_error(diag, config_pos(config_of(section), &field->max_length),
                       "max_length: on an .svg template a field has at most %d characters",
                       LENGTH_MAX);
    }
}

static void load_template(struct section *section, struct diag *diag)
{
    const struct config *config = config_of(section);
    struct certificates *all = section->all;
    struct str *names = h2o_mem_alloc_pool(&all->pool, section->value_count * sizeof(*names));
    for (size_t i = 0; i < section->value_count; i++)
        names[i] = section_value_name(section, i);
    const struct template_fields fields = {names, section->value_count};
    size_t errors = diag_errors(diag);
    section->template =
        cert_template_load(config->templates_dir.p, section->config->template.p, &fields,
                           config_pos(config, &section->config->template), diag);
    if (section->template == NULL)
        return;
    check_lengths(section, diag);
    section->heavy = section->signer != NULL || cert_template_is_heavy(section->template);
    if (diag_errors(diag) != errors)
        return;
    size_t size = section_try(section, diag);
    section->heavy |= section->config->registered && size > ISSUE_ON_LOOP_MAX;
}

/* -- sections ---------------------------------------------------------------------------------- */

static void fix_dispositions(struct section *section)
{
    if (section->filename.template != NULL)
        return;
    for (int i = 0; i <= DISPOSITION_INLINE; i++)
        section->dispositions[i] = http_disposition(&section->all->pool, (enum config_disposition)i,
                                                    section->filename.constant);
}

/* Their paths may name the fields that are there before any part has answered. */
static void add_parts(struct section *section, struct diag *diag)
{
    struct certificates *all = section->all;
    const struct fields *fields = section->fields;
    struct str *known = h2o_mem_alloc_pool(&all->pool, (fields->count + 1) * sizeof(*known));
    size_t count = 0;
    for (size_t i = 0; i < fields->count; i++)
        if (fields->items[i].from != FIELD_PART)
            known[count++] = fields->items[i].config->name;
    section->parts = pages_add_parts(all->needs.pages, &section->config->asked, section->route,
                                     known, count, diag);
}

static void open_section(struct section *section, struct diag *diag)
{
    struct certificates *all = section->all;
    const struct config *config = all->needs.config;
    const struct config_certificate *from = section->config;
    if (from->path.n != 0) /* else config/ has told it */
        section->route = http_route_add(
            all->needs.server, from->name.p, HTTP_GET | HTTP_POST | HTTP_READS_BODY, from->path,
            issue_certificate, section, config_pos(config, &from->path), diag);
    http_route_use(section->route, &from->middleware);
    section->fields = fields_create(config, from, section->route, diag);
    section->value_count = section->fields->count + MADE_FIELDS;
    section->form = form_page_create(section->fields, diag);
    section->timestamp =
        timestamp_text_create(from->timestamp_format.p, config_pos(config, &from->timestamp_format),
                              from->time_zone.p, config_pos(config, &from->time_zone), diag);
    compile_words(section, &from->filename, "filename", &section->filename, diag);
    compile_words(section, &from->title, "title", &section->title, diag);
    fix_dispositions(section);
    compile_shown(section, diag);
    section->rate = http_rate_create(from->rate_limit, config_pos(config, &from->rate_limit), diag);
    if (!from->open) /* it had to be looked at, no more */
        http_rate_destroy(&section->rate);
    load_signer(section, diag);
    if (from->template.n != 0)
        load_template(section, diag);
    if (from->asked.part_count != 0)
        add_parts(section, diag);
}

static struct verify *open_verify(struct certificates *all, struct diag *diag)
{
    const struct certificates_needs *needs = &all->needs;
    const struct signer **signers =
        h2o_mem_alloc_pool(&all->pool, (all->count + 1) * sizeof(struct signer *));
    size_t signer_count = 0;
    for (size_t i = 0; i < all->count; i++)
        if (all->sections[i].signer != NULL)
            signers[signer_count++] = all->sections[i].signer;
    const struct verify_needs verify = {.config = needs->config,
                                        .store = needs->store,
                                        .compute = needs->compute,
                                        .reads = needs->reads,
                                        .templates = needs->templates,
                                        .server = needs->server,
                                        .signers = signers,
                                        .signer_count = signer_count};
    return verify_create(&verify, diag);
}

struct certificates *certificates_create(const struct certificates_needs *needs, struct diag *diag)
{
    struct certificates *all = h2o_mem_alloc(sizeof(*all));
    memset(all, 0, sizeof(*all));
    all->needs = *needs;
    all->count = needs->config->certificate_count;
    if (all->count == 0)
        return all;
    h2o_mem_init_pool(&all->pool);
    all->texts = template_set_create(NULL);
    all->verify_url = needs->config->registry.url;
    while (all->verify_url.n != 0 && all->verify_url.p[all->verify_url.n - 1] == '/')
        all->verify_url.n--;
    all->registry = registry_create(needs->store, needs->reads, needs->secret);
    all->sections = h2o_mem_alloc(all->count * sizeof(*all->sections));
    for (size_t i = 0; i < all->count; i++) {
        memset(&all->sections[i], 0, sizeof(all->sections[i]));
        all->sections[i].all = all;
        all->sections[i].config = &needs->config->certificates[i];
        open_section(&all->sections[i], diag);
    }
    all->verify = open_verify(all, diag);
    return all;
}

void certificates_set_client(struct certificates *certificates, struct loop *loop,
                             struct up_client *client)
{
    gw_assert(loop_index(loop) < ISSUE_LOOPS_MAX);
    certificates->clients[loop_index(loop)] = client;
}

void certificates_destroy(struct certificates **certificates)
{
    struct certificates *all = *certificates;
    if (all == NULL)
        return;
    if (all->count != 0)
        verify_destroy(&all->verify);
    for (size_t i = 0; i < all->count; i++) {
        struct section *section = &all->sections[i];
        cert_template_destroy(&section->template);
        signer_destroy(&section->signer);
        http_rate_destroy(&section->rate);
        timestamp_text_destroy(&section->timestamp);
        form_page_destroy(&section->form);
        fields_destroy(&section->fields);
    }
    if (all->count != 0) {
        registry_destroy(&all->registry);
        template_set_destroy(&all->texts);
        h2o_mem_clear_pool(&all->pool);
    }
    free(all->sections);
    free(all);
    *certificates = NULL;
}
