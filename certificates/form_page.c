/* The form of a certificate's fields. Only those that a form can send are asked for: fields of the
 * body and of no named place by POST; when all that can be asked for come from the query, by GET.
 */
#include "certificates/form_page.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/embed.h"
#include "base/text.h"
#include "certificates/record_json.h"
#include "crypto/crypto.h"
#include "render/render.h"

EMBED(certificate_form_html, "certificates/form_page.html");
EMBED(certificate_form_css, "certificates/form_page.css");

struct form_page {
    const struct fields *fields;
    struct template_set *set;
    const struct template *template;
    bool posts;        /* else the form's method is GET */
    struct str policy; /* Content-Security-Policy */
    char policy_text[256];
};

struct form_page *form_page_create(const struct fields *fields, struct diag *diag)
{
    struct form_page *page = h2o_mem_alloc(sizeof(*page));
    uint8_t digest[32];
    char base64[BASE64_LENGTH(sizeof(digest)) + 1];
    bool by_query = false, otherwise = false;
    *page = (struct form_page){.fields = fields, .set = template_set_create(NULL)};
    page->template = template_compile(page->set, "the form of certificates",
                                      EMBEDDED(certificate_form_html), NULL, NULL, diag);
    for (size_t i = 0; i < fields->count; i++) {
        by_query |= fields->items[i].from == FIELD_QUERY;
        otherwise |= fields->items[i].from == FIELD_FORM;
    }
    page->posts = otherwise || !by_query;
    sha256(certificate_form_css, certificate_form_css_size, digest);
    base64_encode(digest, sizeof(digest), base64);
    int n = snprintf(page->policy_text, sizeof(page->policy_text),
                     "default-src 'none'; style-src 'sha256-%s'; img-src data:; "
                     "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                     base64);
    page->policy = (struct str){page->policy_text, (size_t)n};
    return page;
}

void form_page_destroy(struct form_page **page)
{
    if (*page == NULL)
        return;
    template_set_destroy(&(*page)->set);
    free(*page);
    *page = NULL;
}

/* -- what the page says ------------------------------------------------------------------------ */

/* What was sent, as far as a form can show it. */
static struct str sent(const struct field *field, const struct input *input)
{
    struct str text = STR("");
    if (input->body == INPUT_FORM && field->from != FIELD_QUERY)
        input_pair(&input->form, field->path[0], &text);
    if (text.n == 0 && field->from != FIELD_FORM)
        input_pair(&input->query, field->path[0], &text);
    return utf8_valid(text) && !has_control(text) ? text : STR("");
}

static struct str fault_of(const struct field_faults *faults, struct str name)
{
    for (size_t i = 0; i < faults->count; i++)
        if (str_eq(faults->items[i].field, name))
            return faults->items[i].detail;
    return STR("");
}

static bool is_asked_for(const struct form_page *page, const struct field *field)
{
    bool own = field->from == FIELD_OWN_NAME && field->param < 0;
    return own || field->from == (page->posts ? FIELD_FORM : FIELD_QUERY);
}

static struct json_value field_value(const struct field *field, const struct input *input,
                                     const struct field_faults *faults, h2o_mem_pool_t *pool)
{
    struct json_object *value = json_object_create(pool, 6);
    char *digits = h2o_mem_alloc_pool(pool, 16);
    snprintf(digits, 16, "%u", (unsigned)field->config->max_length);
    struct str fault = fault_of(faults, field->config->name);
    json_object_set(pool, value, STR("name"), record_json_text(pool, field->path[0]));
    json_object_set(pool, value, STR("label"), record_json_label(pool, field->config->name));
    json_object_set(pool, value, STR("value"), record_json_text(pool, sent(field, input)));
    json_object_set(pool, value, STR("max_length"), record_json_text(pool, str_from(digits)));
    json_object_set(pool, value, STR("required"),
                    json_from_bool(field->config->required && field->config->fallback.n == 0));
    json_object_set(pool, value, STR("fault"), record_json_text(pool, fault));
    return json_from_object(value);
}

/* Of a form sent by GET the address's query is left out by browsers; a POST's keeps it, for a
 * signed link's permission is there. */
static struct str action(const struct form_page *page, const struct http_request *request)
{
    return page->posts ? request->target : request->path;
}

static struct json_value page_value(const struct form_page *page, struct http_request *request,
                                    const struct input *input, const struct field_faults *faults)
{
    h2o_mem_pool_t *pool = request->pool;
    struct json_object *root = json_object_create(pool, 8);
    struct json_array *asked = json_array_create(pool, page->fields->count);
    struct json_array *others = json_array_create(pool, faults->count);
    size_t shown = 0;
    for (size_t i = 0; i < page->fields->count; i++) {
        const struct field *field = &page->fields->items[i];
        if (!is_asked_for(page, field))
            continue;
        json_array_add(pool, asked, field_value(field, input, faults, pool));
        shown++;
    }
    for (size_t i = 0; i < faults->count; i++) {
        const struct field_fault *fault = &faults->items[i];
        bool asked_for = false;
        for (size_t k = 0; k < page->fields->count; k++)
            asked_for |= str_eq(page->fields->items[k].config->name, fault->field) &&
                         is_asked_for(page, &page->fields->items[k]);
        if (asked_for)
            continue;
        struct json_object *other = json_object_create(pool, 2);
        json_object_set(pool, other, STR("label"), record_json_label(pool, fault->field));
        json_object_set(pool, other, STR("fault"), record_json_text(pool, fault->detail));
        json_array_add(pool, others, json_from_object(other));
    }
    json_object_set(pool, root, STR("style"),
                    record_json_text(pool, EMBEDDED(certificate_form_css)));
    json_object_set(pool, root, STR("method"),
                    record_json_text(pool, page->posts ? STR("post") : STR("get")));
    json_object_set(pool, root, STR("action"), record_json_text(pool, action(page, request)));
    json_object_set(pool, root, STR("has_fields"), json_from_bool(shown != 0));
    json_object_set(pool, root, STR("fields"), json_from_array(asked));
    json_object_set(pool, root, STR("others"), json_from_array(others));
    json_object_set(pool, root, STR("has_others"),
                    json_from_bool(json_count(json_from_array(others)) != 0));
    json_object_set(pool, root, STR("id"), record_json_text(pool, request->id));
    return json_from_object(root);
}

void form_page_reply(const struct form_page *page, struct http_request *request,
                     const struct input *input, const struct field_faults *faults)
{
    static const struct http_problem broken = {
        .status = 500, .type = "rendering-failed", .title = "The page can't be rendered"};
    struct out out;
    out_init(&out, request->pool, 8 * 1024);
    if (!template_render(page->template, page_value(page, request, input, faults), request->pool,
                         &out)) {
        http_problem_reply(request, &broken);
        return;
    }
    http_add_header(request, "cache-control", STR("no-store"));
    http_add_header(request, "content-security-policy", page->policy);
    /* The address may be a signed link. */
    http_add_header(request, "referrer-policy", STR("same-origin"));
    http_reply(request, 400, "text/html; charset=utf-8", &out);
}
