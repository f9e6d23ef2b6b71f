/* The upload page and the policy that it is sent with.
 *
 * The script and the style are constant texts inside the page: nothing else is fetched, so the page
 * works wherever the form does. Their hashes stand in Content-Security-Policy, which lets them run
 * and nothing that somebody might get into the page. A nonce would do too, but not for a page that
 * a cache gives out again. */
#include "files/page.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/embed.h"
#include "base/text.h"
#include "crypto/crypto.h"

EMBED(upload_page_html, "files/upload_page.html");
EMBED(upload_page_css, "files/upload_page.css");
EMBED(upload_page_js, "files/upload_page.js");

enum { POLICY_MAX = 4 * 1024, OWN_MEMBERS = 2 };

struct upload_page {
    const struct config_upload *config;
    const struct template *template;
    struct template_set *built_in; /* owned, NULL with a template of the user's */
    h2o_mem_pool_t pool;           /* of what follows */
    struct json_object *fixed;     /* what each visitor sees the same */
    struct buf policy;
};

/* -- what the page says ------------------------------------------------------------------------ */

static struct json_value text_value(h2o_mem_pool_t *pool, struct str text)
{
    struct str *kept = h2o_mem_alloc_pool(pool, sizeof(*kept));
    *kept = text;
    return json_from_text(kept);
}

static struct json_value copied_value(h2o_mem_pool_t *pool, const char *text, size_t n)
{
    h2o_iovec_t copy = h2o_strdup(pool, text, n);
    return text_value(pool, (struct str){copy.base, copy.len});
}

static struct json_value number_value(h2o_mem_pool_t *pool, uint64_t number)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    return copied_value(pool, digits, (size_t)n);
}

/* As the script writes sizes, too. */
static struct json_value size_value(h2o_mem_pool_t *pool, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char text[32];
    double size = (double)bytes;
    size_t unit = 0;
    while (size >= 1024 && unit + 1 < COUNT(units)) {
        size /= 1024;
        unit++;
    }
    bool whole = size >= 99.95 || (uint64_t)(size * 10 + 0.5) % 10 == 0;
    int n = snprintf(text, sizeof(text), "%.*f %s", whole ? 0 : 1, size, units[unit]);
    struct json_object *value = json_object_create(pool, 2);
    json_object_set(pool, value, STR("bytes"), number_value(pool, bytes));
    json_object_set(pool, value, STR("text"), copied_value(pool, text, (size_t)n));
    return json_from_object(value);
}

/* "first_name" -> "First name" */
static struct json_value label_value(h2o_mem_pool_t *pool, struct str name)
{
    h2o_iovec_t label = h2o_strdup(pool, name.p, name.n);
    for (size_t i = 0; i < label.len; i++)
        if (label.base[i] == '_' || label.base[i] == '-')
            label.base[i] = ' ';
    if (label.len != 0 && label.base[0] >= 'a' && label.base[0] <= 'z')
        label.base[0] = (char)(label.base[0] - 'a' + 'A');
    return text_value(pool, (struct str){label.base, label.len});
}

static struct json_value fields_value(h2o_mem_pool_t *pool, const struct config_strings *names)
{
    struct json_array *fields = json_array_create(pool, names->count);
    for (size_t i = 0; i < names->count; i++) {
        struct json_object *field = json_object_create(pool, 2);
        json_object_set(pool, field, STR("name"), text_value(pool, names->items[i]));
        json_object_set(pool, field, STR("label"), label_value(pool, names->items[i]));
        json_array_add(pool, fields, json_from_object(field));
    }
    return json_from_array(fields);
}

/* A media type as people say it: "images", "PNG", "PDF"; what nobody says stays as it is. */
static void print_type(struct buf *to, struct str type)
{
    static const struct {
        struct str range;
        const char *words;
    } ranges[] = {{STR("image/*"), "images"},
                  {STR("video/*"), "videos"},
                  {STR("audio/*"), "sound"},
                  {STR("text/*"), "text"},
                  {STR("text/plain"), "plain text"}};
    for (size_t i = 0; i < COUNT(ranges); i++)
        if (str_caseeq(type, ranges[i].range)) {
            buf_printf(to, "%s", ranges[i].words);
            return;
        }
    struct str subtype = type;
    next_item(&subtype, '/');
    bool spoken = subtype.n != 0 && subtype.n <= 4;
    for (size_t i = 0; spoken && i < subtype.n; i++)
        spoken = is_letter_or_digit(subtype.p[i]);
    if (!spoken)
        buf_append(to, type.p, type.n);
    for (size_t i = 0; spoken && i < subtype.n; i++) {
        char c = subtype.p[i];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        buf_append(to, &c, 1);
    }
}

/* Of a long list the page has the beginning. */
static struct json_value types_value(h2o_mem_pool_t *pool, const struct config_strings *types)
{
    struct buf words;
    buf_init(&words, 512);
    for (size_t i = 0; i < types->count; i++) {
        if (words.n > 200) {
            buf_printf(&words, " and others");
            break;
        }
        if (i != 0)
            buf_append(&words, ", ", 2);
        print_type(&words, types->items[i]);
    }
    struct json_value value = copied_value(pool, words.n != 0 ? words.p : "", words.n);
    buf_fini(&words);
    return value;
}

static struct json_value accept_value(h2o_mem_pool_t *pool, const struct config_strings *types)
{
    h2o_iovec_t list = {NULL, 0};
    for (size_t i = 0; i < types->count; i++)
        list = h2o_concat(pool, list, h2o_iovec_init(i != 0 ? "," : "", i != 0),
                          h2o_iovec_init(types->items[i].p, types->items[i].n));
    return text_value(pool, (struct str){list.base, list.len});
}

static void fix(struct upload_page *page)
{
    const struct config_upload *config = page->config;
    h2o_mem_pool_t *pool = &page->pool;
    bool multiple = config->max_files > 1;
    const struct {
        struct str name;
        struct json_value value;
    } members[] = {
        {STR("title"), text_value(pool, multiple ? STR("Upload files") : STR("Upload a file"))},
        {STR("redirect"), text_value(pool, config->redirect)},
        {STR("fields"), fields_value(pool, &config->fields)},
        {STR("max_size"), size_value(pool, config->max_size)},
        {STR("max_files"), number_value(pool, config->max_files)},
        {STR("multiple"), json_from_bool(multiple)},
        {STR("accept"), accept_value(pool, &config->allow_types)},
        {STR("types"), types_value(pool, &config->allow_types)},
        {STR("needs_token"), json_from_bool(config->auth == AUTH_TOKEN)},
        {STR("style"), text_value(pool, EMBEDDED(upload_page_css))},
        {STR("script"), text_value(pool, EMBEDDED(upload_page_js))},
    };
    page->fixed = json_object_create(pool, COUNT(members));
    for (size_t i = 0; i < COUNT(members); i++)
        json_object_set(pool, page->fixed, members[i].name, members[i].value);
}

/* -- what the page may do ---------------------------------------------------------------------- */

static void add_hash(struct buf *policy, struct str text)
{
    uint8_t hash[32];
    char encoded[BASE64_LENGTH(sizeof(hash)) + 1];
    sha256(text.p, text.n, hash);
    base64_encode(hash, sizeof(hash), encoded);
    buf_printf(policy, " 'sha256-%s'", encoded);
}

/* Browsers hold the redirect that answers a form against form-action, too. */
static void add_origin(struct buf *policy, struct str url)
{
    if (url.n < 8 || (memcmp(url.p, "http://", 7) != 0 && memcmp(url.p, "https://", 8) != 0))
        return;
    size_t n = url.p[4] == 's' ? 8 : 7;
    while (n < url.n && strchr("/?#;, ", url.p[n]) == NULL)
        n++;
    buf_printf(policy, " %.*s", (int)n, url.p);
}

static void make_policy(struct upload_page *page)
{
    struct buf *policy = &page->policy;
    const char *self = page->built_in == NULL ? " 'self'" : ""; /* a template's own files */
    buf_init(policy, POLICY_MAX);
    buf_printf(policy, "default-src%s; script-src%s", self[0] != '\0' ? self : " 'none'", self);
    add_hash(policy, EMBEDDED(upload_page_js));
    buf_printf(policy, "; style-src%s", self);
    add_hash(policy, EMBEDDED(upload_page_css));
    buf_printf(policy, "; img-src%s data:; connect-src 'self'; form-action 'self'", self);
    add_origin(policy, page->config->redirect);
    buf_printf(policy, "; base-uri 'none'; frame-ancestors 'none'");
}

/* ---------------------------------------------------------------------------------------------- */

struct upload_page *upload_page_create(const struct config *config,
                                       const struct config_upload *upload,
                                       struct template_set *templates, struct diag *diag)
{
    struct upload_page *page = h2o_mem_alloc(sizeof(*page));
    *page = (struct upload_page){.config = upload};
    h2o_mem_init_pool(&page->pool);
    if (upload->template.n != 0) {
        page->template = template_load(templates, upload->template.p,
                                       config_pos(config, &upload->template), diag);
    } else {
        page->built_in = template_set_create(NULL);
        page->template = template_compile(page->built_in, "the built-in upload page",
                                          EMBEDDED(upload_page_html), NULL, NULL, diag);
    }
    fix(page);
    make_policy(page);
    return page;
}

void upload_page_destroy(struct upload_page **page)
{
    if (*page == NULL)
        return;
    buf_fini(&(*page)->policy);
    template_set_destroy(&(*page)->built_in);
    h2o_mem_clear_pool(&(*page)->pool);
    free(*page);
    *page = NULL;
}

bool upload_page_render(const struct upload_page *page, struct str action, struct str csrf_token,
                        h2o_mem_pool_t *pool, struct out *out)
{
    const struct json_object *fixed = page->fixed;
    struct json_object *root = json_object_create(pool, fixed->count + OWN_MEMBERS);
    memcpy(root->members, fixed->members, fixed->count * sizeof(*fixed->members));
    root->count = fixed->count;
    json_object_set(pool, root, STR("action"), text_value(pool, action));
    json_object_set(pool, root, STR("csrf_token"), text_value(pool, csrf_token));
    return template_render(page->template, json_from_object(root), pool, out);
}

struct str upload_page_policy(const struct upload_page *page)
{
    return buf_str(&page->policy);
}

/* What lets somebody send the form by a signed link is in the link's query. */
static struct str form_action(const struct http_request *request, const struct upload_page *page)
{
    if (page->config->auth != AUTH_SIGNED || request->query.n == 0)
        return page->config->path;
    h2o_iovec_t action = h2o_concat(
        request->pool, h2o_iovec_init(page->config->path.p, page->config->path.n),
        h2o_iovec_init(H2O_STRLIT("?")), h2o_iovec_init(request->query.p, request->query.n));
    return (struct str){action.base, action.len};
}

void upload_page_reply(struct http_request *request, const struct upload_page *page)
{
    static const struct http_problem broken = {
        .status = 500, .type = "rendering-failed", .title = "The page can't be rendered"};
    struct out out;
    struct str token = http_csrf_token(request);
    out_init(&out, request->pool, 8 * 1024);
    if (!upload_page_render(page, form_action(request, page), token, request->pool, &out)) {
        http_problem_reply(request, &broken);
        return;
    }
    http_add_header(request, "cache-control", STR("no-store"));
    http_add_header(request, "content-security-policy", upload_page_policy(page));
    /* The address may be a signed link; Origin, which the token's check may look at, stays. */
    http_add_header(request, "referrer-policy", STR("same-origin"));
    http_reply(request, 200, "text/html; charset=utf-8", &out);
}
