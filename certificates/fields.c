/* Fields: from where, and whether they may stand on a certificate. */
#include "certificates/fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/text.h"
#include "certificates/pattern.h"

/* -- compiling --------------------------------------------------------------------------------- */

static size_t segments(struct str path)
{
    size_t count = path.n != 0;
    for (size_t i = 0; i < path.n; i++)
        count += path.p[i] == '.';
    return count;
}

static struct str *split(struct str path, struct str *to)
{
    while (path.n != 0)
        *to++ = next_item(&path, '.');
    return to;
}

static const struct config_part *find_part(const struct config_certificate *certificate,
                                           struct str name)
{
    for (size_t i = 0; i < certificate->asked.part_count; i++)
        if (str_eq(certificate->asked.parts[i].name, name))
            return &certificate->asked.parts[i];
    return NULL;
}

/* Where a part's data is among the data of all: its `into`, then the path. */
static void set_path(struct fields *fields, struct field *field, const struct config_part *part,
                     struct str path)
{
    struct str into = STR("");
    if (part != NULL && !str_eq(part->into, STR(".")))
        into = part->into.n != 0 ? part->into : part->name;
    size_t count = segments(into) + segments(path);
    struct str *to = h2o_mem_alloc_pool(&fields->pool, count * sizeof(*to));
    field->path = to;
    field->path_count = count;
    split(path, split(into, to));
}

static const struct {
    struct str name;
    enum field_from from;
} sources[] = {{STR("query"), FIELD_QUERY},
               {STR("path"), FIELD_PATH},
               {STR("form"), FIELD_FORM},
               {STR("json"), FIELD_JSON}};

/* What `from` may have meant to begin with; NULL = no idea. */
static const char *nearest_source(struct fields *fields,
                                  const struct config_certificate *certificate, struct str source)
{
    const size_t parts = certificate->asked.part_count;
    const char **names =
        h2o_mem_alloc_pool(&fields->pool, (COUNT(sources) + parts) * sizeof(*names));
    for (size_t i = 0; i < COUNT(sources); i++)
        names[i] = sources[i].name.p;
    for (size_t i = 0; i < parts; i++)
        names[COUNT(sources) + i] = certificate->asked.parts[i].name.p;
    return diag_nearest(source, names, COUNT(sources) + parts);
}

static void compile_from(struct fields *fields, struct field *field, const struct config *config,
                         const struct config_certificate *certificate,
                         const struct http_route *route, struct diag *diag)
{
    const struct str *from = &field->config->from;
    struct str rest = *from, source = next_item(&rest, '.');
    const struct config_part *part = NULL;
    size_t i = 0;
    while (i < COUNT(sources) && !str_eq(sources[i].name, source))
        i++;
    field->from = i < COUNT(sources) ? sources[i].from : FIELD_PART;
    if (field->from == FIELD_PART && (part = find_part(certificate, source)) == NULL) {
        const char *near = nearest_source(fields, certificate, source);
        if (near != NULL)
            diag_error(diag, config_pos(config, from),
                       "from: nothing is named \"%.*s\"; did you mean \"%s.%s\"?", (int)source.n,
                       source.p, near, rest.p);
        else
            diag_error(diag, config_pos(config, from),
                       "from: \"%s\" begins with neither query, path, form, json nor one of "
                       "[certificates.%s.parts]",
                       from->p, certificate->name.p);
    } else if (rest.n == 0) {
        diag_error(diag, config_pos(config, from),
                   "from: \"%s\" names nothing; write \"%.*s.NAME\"", from->p, (int)source.n,
                   source.p);
    } else if (field->from == FIELD_PATH) {
        field->param = route != NULL ? http_route_param(route, rest) : -1;
        if (field->param < 0 && route != NULL)
            diag_error(diag, config_pos(config, from), "from: the path \"%s\" has no {%s}",
                       certificate->path.p, rest.p);
    } else if (field->from == FIELD_JSON || field->from == FIELD_PART) {
        set_path(fields, field, part, rest);
        fields->from_parts |= field->from == FIELD_PART;
    } else {
        field->path = h2o_mem_alloc_pool(&fields->pool, sizeof(rest));
        *(struct str *)(uintptr_t)field->path = rest;
        field->path_count = 1;
    }
}

/* Names of a request's own parameters. */
static bool is_taken(struct str name)
{
    static const struct str taken[] = {STR("expires"), STR("sig"), STR("disposition")};
    for (size_t i = 0; i < COUNT(taken); i++)
        if (str_eq(name, taken[i]))
            return true;
    return false;
}

static void compile(struct fields *fields, struct field *field, const struct config *config,
                    const struct config_certificate *certificate, const struct http_route *route,
                    struct diag *diag)
{
    const struct config_field *from = field->config;
    field->param = -1;
    if (is_taken(from->name))
        diag_error(diag, config_pos(config, &from->name),
                   "a field can't be named \"%s\": in a request that says how to issue it",
                   from->name.p);
    if (from->value.n != 0) {
        field->from = FIELD_CONSTANT;
    } else if (from->from.n != 0) {
        compile_from(fields, field, config, certificate, route, diag);
    } else {
        field->from = FIELD_OWN_NAME;
        field->path = &from->name;
        field->path_count = 1;
        field->param = route != NULL ? http_route_param(route, from->name) : -1;
    }
    if (from->pattern.n != 0)
        field->pattern = pattern_create(from->pattern, config_pos(config, &from->pattern), diag);
}

static struct str check(const struct field *field, struct str *value, h2o_mem_pool_t *pool);

/* What the configuration itself puts on certificates must be what a request may. */
static void check_own(struct fields *fields, const struct field *field, const struct config *config,
                      struct diag *diag)
{
    const struct {
        const char *key;
        const struct str *text;
    } own[] = {{"value", &field->config->value}, {"fallback", &field->config->fallback}};
    for (size_t i = 0; i < COUNT(own); i++) {
        struct str text = *own[i].text, wrong = {NULL, 0};
        if (text.n != 0)
            wrong = check(field, &text, &fields->pool);
        if (wrong.p != NULL)
            diag_error(diag, config_pos(config, own[i].text), "%s: \"%s\" %.*s", own[i].key,
                       own[i].text->p, (int)wrong.n, wrong.p);
    }
}

struct fields *fields_create(const struct config *config,
                             const struct config_certificate *certificate,
                             const struct http_route *route, struct diag *diag)
{
    static const struct config_field only_a_name = {
        .name = STR("name"), .required = true, .max_length = 200};
    struct fields *fields = h2o_mem_alloc(sizeof(*fields));
    *fields = (struct fields){.count = certificate->field_count};
    h2o_mem_init_pool(&fields->pool);
    const struct config_field *from = certificate->fields;
    if (fields->count == 0) {
        from = &only_a_name;
        fields->count = 1;
    }
    fields->items = h2o_mem_alloc_pool(&fields->pool, fields->count * sizeof(*fields->items));
    for (size_t i = 0; i < fields->count; i++) {
        fields->items[i] = (struct field){.config = &from[i]};
        compile(fields, &fields->items[i], config, certificate, route, diag);
        check_own(fields, &fields->items[i], config, diag);
    }
    return fields;
}

void fields_destroy(struct fields **fields_p)
{
    struct fields *fields = *fields_p;
    if (fields == NULL)
        return;
    for (size_t i = 0; i < fields->count; i++)
        pattern_destroy(&fields->items[i].pattern);
    h2o_mem_clear_pool(&fields->pool);
    free(fields);
    *fields_p = NULL;
}

/* -- what a value may be ----------------------------------------------------------------------- */

void field_fault_add(struct field_faults *faults, struct str field, struct str detail)
{
    faults->items[faults->count++] = (struct field_fault){field, detail};
}

static struct str printed(h2o_mem_pool_t *pool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static struct str printed(h2o_mem_pool_t *pool, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    h2o_iovec_t kept = h2o_strdup(pool, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
    return (struct str){kept.base, kept.len};
}

/* White_Space of Unicode, and zero-width spaces: what people don't see at the end of a name.
 * Joiners and marks of direction aren't among them. */
static bool is_blank(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0d) || code == 0x20 || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200b) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x2060 || code == 0x3000 ||
           code == 0xfeff;
}

/* Of valid UTF-8. */
static struct str without_blanks(struct str text)
{
    const char *start = text.p, *end = text.p + text.n;
    while (start != end && is_blank(utf8_decode(start, utf8_length(start, end))))
        start += utf8_length(start, end);
    while (start != end) {
        const char *last = end - 1;
        while (utf8_is_continuation(*last))
            last--;
        if (!is_blank(utf8_decode(last, (size_t)(end - last))))
            break;
        end = last;
    }
    return (struct str){start, (size_t)(end - start)};
}

/* NULL: it may stand in a value. Marks (U+200E, U+200F, U+061C) and joiners may: scripts need them;
 * overrides, embeddings and isolates turn around what stands beside the value, too. */
static const char *what_is_wrong(uint32_t code)
{
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
        return "a control character";
    if (code == 0x2028 || code == 0x2029)
        return "a line break";
    if ((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
        return "a character that turns the text's direction";
    if ((code & 0xfffe) == 0xfffe || (code >= 0xfdd0 && code <= 0xfdef))
        return "a code point that is no character";
    return NULL;
}

/* Trims the value. {NULL, 0}: it is fine. */
static struct str check(const struct field *field, struct str *value, h2o_mem_pool_t *pool)
{
    if (!utf8_valid(*value))
        return STR("is not UTF-8");
    *value = without_blanks(*value);
    size_t characters = 0;
    const char *end = value->p + value->n;
    for (const char *p = value->p; p != end; characters++) {
        size_t n = utf8_length(p, end);
        uint32_t code = utf8_decode(p, n);
        const char *wrong = what_is_wrong(code);
        if (wrong != NULL)
            return printed(pool, "has %s (U+%04X)", wrong, (unsigned)code);
        p += n;
    }
    if (characters > field->config->max_length)
        return printed(pool, "has %zu characters, more than %u", characters,
                       (unsigned)field->config->max_length);
    if (field->pattern != NULL && value->n != 0)
        return pattern_check(field->pattern, *value, pool);
    return (struct str){NULL, 0};
}

/* -- taking values ----------------------------------------------------------------------------- */

static enum input_found of_own_name(const struct field *field, const struct field_request *request,
                                    struct str *text_r)
{
    const struct input *input = request->input;
    enum input_found body = INPUT_ABSENT, link = INPUT_ABSENT;
    struct str body_text = {NULL, 0}, link_text = {NULL, 0};
    if (input->body == INPUT_FORM)
        body = input_pair(&input->form, field->config->name, &body_text);
    else if (input->body == INPUT_JSON)
        body = input_json(json_root(&input->json), field->path, 1, request->pool, &body_text);
    link = input_pair(&input->query, field->config->name, &link_text);
    if (link == INPUT_ABSENT && field->param >= 0) {
        link = INPUT_TEXT;
        link_text = request->params[field->param];
    }
    bool from_link = body == INPUT_ABSENT || (request->signed_link && link != INPUT_ABSENT);
    *text_r = from_link ? link_text : body_text;
    return from_link ? link : body;
}

static enum input_found find(const struct field *field, const struct field_request *request,
                             struct str *text_r)
{
    const struct input *input = request->input;
    switch (field->from) {
    case FIELD_OWN_NAME:
        return of_own_name(field, request, text_r);
    case FIELD_QUERY:
        return input_pair(&input->query, field->path[0], text_r);
    case FIELD_FORM:
        return input_pair(&input->form, field->path[0], text_r);
    case FIELD_PATH:
        *text_r = request->params[field->param];
        return INPUT_TEXT;
    case FIELD_JSON:
        return input->body == INPUT_JSON ? input_json(json_root(&input->json), field->path,
                                                      field->path_count, request->pool, text_r)
                                         : INPUT_ABSENT;
    case FIELD_CONSTANT:
        *text_r = field->config->value;
        return INPUT_TEXT;
    case FIELD_PART: /* they are asked after the request */
        break;
    }
    return INPUT_ABSENT;
}

/* The value as it may be printed, or {NULL, 0} and what is wrong with it. */
static struct str settle(const struct field *field, enum input_found found, struct str text,
                         h2o_mem_pool_t *pool, struct str *wrong_r)
{
    *wrong_r = (struct str){NULL, 0};
    if (found == INPUT_TWICE)
        *wrong_r = STR("is there twice");
    else if (found == INPUT_NOT_TEXT)
        *wrong_r = STR("is not text");
    else if (found == INPUT_TEXT)
        *wrong_r = check(field, &text, pool);
    if (wrong_r->p != NULL)
        return (struct str){NULL, 0};
    if (found == INPUT_TEXT && text.n != 0)
        return text;
    if (field->config->required && field->config->fallback.n == 0)
        *wrong_r = STR("is missing");
    return field->config->fallback.n != 0 ? field->config->fallback : STR("");
}

void fields_from_request(const struct fields *fields, const struct field_request *request,
                         struct field_value *values_r, struct field_faults *faults)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->items[i];
        struct str text = {NULL, 0}, wrong = {NULL, 0};
        if (field->from != FIELD_PART)
            text = settle(field, find(field, request, &text), text, request->pool, &wrong);
        values_r[i] = (struct field_value){field->config->name, text};
        if (wrong.p != NULL)
            field_fault_add(faults, field->config->name, wrong);
    }
}

void fields_from_parts(const struct fields *fields, struct json_value data, h2o_mem_pool_t *pool,
                       struct field_value *values, struct field_faults *faults)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->items[i];
        struct str text = {NULL, 0}, wrong;
        if (field->from != FIELD_PART)
            continue;
        enum input_found found = input_json(data, field->path, field->path_count, pool, &text);
        values[i].value = settle(field, found, text, pool, &wrong);
        if (wrong.p != NULL)
            field_fault_add(faults, field->config->name,
                            printed(pool, "of the service's answer (%.*s) %.*s",
                                    (int)field->config->from.n, field->config->from.p, (int)wrong.n,
                                    wrong.p));
    }
}
