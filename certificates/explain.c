/* `gateway explain` of a certificate: who is issued one, what stands on it and where that comes
 * from. The columns are as wide as what stands in them, as of a page's plan. */
#include "certificates/issue_internal.h"

static const struct section *find_route(const struct certificates *all,
                                        const struct http_route *route)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->sections[i].route == route)
            return &all->sections[i];
    return NULL;
}

static void print_admission(const struct section *section, FILE *to)
{
    const struct config_certificate *config = section->config;
    if (!config->open)
        fprintf(to, "  for       whoever has a token or a signed link (gateway sign-url)\n");
    else if (section->rate != NULL)
        fprintf(to, "  for       anybody, %s a client; tokens aren't counted\n",
                config->rate_limit.p);
    else
        fprintf(to, "  for       anybody, as often as they like\n");
}

static void print_signature(const struct section *section, FILE *to)
{
    const struct config_sign *sign = &section->config->sign;
    if (section->signer == NULL) {
        fprintf(to, "  signed    no\n");
        return;
    }
    struct str name = signer_name(section->signer);
    fprintf(to, "  signed    by \"%.*s\"", (int)name.n, name.p);
    if (section->authority != NULL)
        fprintf(to, ", time stamp from %s, %s", sign->timestamp.p,
                sign->without_timestamp == WITHOUT_TIMESTAMP_FAIL ? "nothing is issued without one"
                                                                  : "signed without one when it is "
                                                                    "away");
    fputc('\n', to);
}

static void print_source(const struct field *field, FILE *to)
{
    const struct config_field *config = field->config;
    if (field->from == FIELD_CONSTANT)
        fprintf(to, "\"%s\"", config->value.p);
    else if (field->from != FIELD_OWN_NAME)
        fprintf(to, "%s", config->from.p);
    else
        fprintf(to, "body, query%s", field->param >= 0 ? " or path" : "");
    if (config->fallback.n != 0)
        fprintf(to, ", else \"%s\"", config->fallback.p);
    else if (field->from != FIELD_CONSTANT)
        fprintf(to, ", %s", config->required ? "required" : "may be left out");
    if (field->from != FIELD_CONSTANT)
        fprintf(to, ", at most %u characters", (unsigned)config->max_length);
    if (config->pattern.n != 0)
        fprintf(to, ", like %s", config->pattern.p);
    fputc('\n', to);
}

static void print_fields(const struct section *section, FILE *to)
{
    int width = 0;
    for (size_t i = 0; i < section->value_count; i++)
        if ((int)section_value_name(section, i).n > width)
            width = (int)section_value_name(section, i).n;
    fprintf(to, "\n  %-*s  from\n", width, "field");
    for (size_t i = 0; i < section->fields->count; i++) {
        fprintf(to, "  %-*s  ", width, section->fields->items[i].config->name.p);
        print_source(&section->fields->items[i], to);
    }
    for (size_t i = 0; i < MADE_FIELDS; i++)
        fprintf(to, "  %-*s  made when it is issued\n", width, made_field_names[i].p);
}

static void print_parts(const struct section *section, FILE *to)
{
    const struct config_page *asked = &section->config->asked;
    if (asked->part_count == 0)
        return;
    fprintf(to, "\n  services that are asked, within %llu ms\n",
            (unsigned long long)asked->deadline_ms);
    for (size_t i = 0; i < asked->part_count; i++)
        fprintf(to, "  %s: GET %s of %s, %s\n", asked->parts[i].name.p, asked->parts[i].path.p,
                asked->parts[i].upstream.p,
                asked->parts[i].need == NEED_REQUIRED ? "required" : "optional");
}

bool certificates_print_plan(const struct certificates *certificates,
                             const struct http_route *route, FILE *to)
{
    const struct section *section = find_route(certificates, route);
    if (section == NULL)
        return false;
    const struct config_certificate *config = section->config;
    fprintf(to, "certificate %s\n", config->name.p);
    fprintf(to, "  path      %s\n", config->path.p);
    print_admission(section, to);
    print_signature(section, to);
    if (config->registered)
        fprintf(to, "  register  yes, verified at %s/SERIAL\n",
                section->all->needs.config->registry.url.p);
    else
        fprintf(to, "  register  no, each answer is a new certificate\n");
    print_fields(section, to);
    print_parts(section, to);
    fprintf(to, "\n  template %s shows\n", config->template.p);
    cert_template_describe(section->template, to);
    return true;
}
