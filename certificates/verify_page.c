/* The verify page and the policy that it is sent with: no script, nothing that is fetched, so that
 * it works wherever a QR code leads. What it says may change at any time (a certificate is
 * revoked), so nobody keeps it; and no search engine should. */
#include "certificates/verify_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/embed.h"
#include "certificates/record_json.h"
#include "crypto/crypto.h"
#include "observe/metrics.h"

EMBED(verify_page_html, "certificates/verify_page.html");
EMBED(verify_page_css, "certificates/verify_page.css");

enum { POLICY_ROOM = 384, PAGE_SIZE = 8 * 1024 };

struct verify_page {
    const struct template *template;
    struct template_set *built_in; /* owned, NULL with a template of the user's */
    struct str url, path;
    char policy[POLICY_ROOM];
    char max_size[24];
};

/* A template of the user's may use what the site serves. */
static void make_policy(struct verify_page *page)
{
    const char *self = page->built_in == NULL ? "'self'" : "'none'";
    uint8_t digest[32];
    char hash[BASE64_LENGTH(sizeof(digest)) + 1];
    sha256(verify_page_css, verify_page_css_size, digest);
    base64_encode(digest, sizeof(digest), hash);
    int n = snprintf(page->policy, sizeof(page->policy),
                     "default-src %s; style-src%s 'sha256-%s'; img-src%s data:; "
                     "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                     self, page->built_in == NULL ? " 'self'" : "", hash,
                     page->built_in == NULL ? " 'self'" : "");
    gw_assert(n > 0 && n < POLICY_ROOM);
}

static void print_size(uint64_t bytes, char *text, size_t room)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
    size_t unit = 0;
    double size = (double)bytes;
    for (; size >= 1024 && unit + 1 < COUNT(units); unit++)
        size /= 1024;
    snprintf(text, room, "%.3g %s", size, units[unit]);
}

struct verify_page *verify_page_create(const struct config *config, struct str url, struct str path,
                                       struct template_set *templates, struct diag *diag)
{
    const struct config_register *from = &config->registry;
    struct verify_page *page = h2o_mem_alloc(sizeof(*page));
    *page = (struct verify_page){.url = url, .path = path};
    if (from->template.n != 0) {
        page->template =
            template_load(templates, from->template.p, config_pos(config, &from->template), diag);
    } else {
        page->built_in = template_set_create(NULL);
        page->template = template_compile(page->built_in, "the built-in verify page",
                                          EMBEDDED(verify_page_html), NULL, NULL, diag);
    }
    print_size(from->max_file, page->max_size, sizeof(page->max_size));
    make_policy(page);
    return page;
}

void verify_page_destroy(struct verify_page **page)
{
    if (*page == NULL)
        return;
    template_set_destroy(&(*page)->built_in);
    free(*page);
    *page = NULL;
}

/* -- what it says ------------------------------------------------------------------------------ */

static void set(h2o_mem_pool_t *pool, struct json_object *to, const char *name,
                struct json_value value)
{
    json_object_set(pool, to, str_from(name), value);
}

static void set_text(h2o_mem_pool_t *pool, struct json_object *to, const char *name,
                     const char *text)
{
    set(pool, to, name, record_json_text(pool, str_from(text)));
}

/* "23 November 2026" */
static struct json_value date_value(h2o_mem_pool_t *pool, int64_t ms)
{
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    char text[64];
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (ms == 0 || gmtime_r(&s, &tm) == NULL)
        return json_null();
    int n =
        snprintf(text, sizeof(text), "%d %s %d", tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900);
    return record_json_copy(pool, text, (size_t)n);
}

static struct json_value rows_value(h2o_mem_pool_t *pool, struct json_value fields)
{
    struct json_array *rows = json_array_create(pool, json_count(fields));
    for (struct json_iter it = json_iter(fields); json_next(&it);) {
        struct json_object *row = json_object_create(pool, 3);
        set(pool, row, "name", it.key);
        set(pool, row, "label", record_json_label(pool, json_string(it.key, pool)));
        set(pool, row, "value", it.value);
        json_array_add(pool, rows, json_from_object(row));
    }
    return json_from_array(rows);
}

static struct json_value url_value(h2o_mem_pool_t *pool, const struct verify_page *page,
                                   struct str serial)
{
    if (serial.n == 0)
        return record_json_text(pool, page->url);
    h2o_iovec_t url =
        h2o_concat(pool, h2o_iovec_init(page->url.p, page->url.n), h2o_iovec_init(H2O_STRLIT("/")),
                   h2o_iovec_init(serial.p, serial.n));
    return record_json_text(pool, (struct str){url.base, url.len});
}

static struct json_value ways_value(h2o_mem_pool_t *pool, const struct verify_answer *answer)
{
    struct json_array *ways = json_array_create(pool, 2);
    if (answer->by_digest)
        json_array_add(pool, ways, record_json_text(pool, STR("digest")));
    if (answer->by_signature)
        json_array_add(pool, ways, record_json_text(pool, STR("signature")));
    return json_from_array(ways);
}

/* What is the same for every page. */
static void add_page(h2o_mem_pool_t *pool, struct json_object *root, const struct verify_page *page,
                     struct str serial)
{
    h2o_iovec_t action = h2o_concat(pool, h2o_iovec_init(page->path.p, page->path.n),
                                    h2o_iovec_init(H2O_STRLIT("/verify")));
    set(pool, root, "canonical", url_value(pool, page, serial));
    set(pool, root, "verify_action", record_json_text(pool, (struct str){action.base, action.len}));
    set_text(pool, root, "max_size", page->max_size);
    set(pool, root, "style", record_json_text(pool, EMBEDDED(verify_page_css)));
}

static void add_verdict(h2o_mem_pool_t *pool, struct json_object *root,
                        const struct verify_page *page, const struct verify_answer *answer,
                        struct json_value fields)
{
    const struct certificate_record *record = answer->record;
    enum standing standing = standing_of(record);
    struct verdict verdict = verdict_of(answer->file, standing);
    struct json_object *is = json_object_create(pool, 3);
    set(pool, is, verdict.tone, json_from_bool(true));
    set(pool, is, standing_name(standing), json_from_bool(true));
    if (answer->file != FILE_NONE && answer->file != FILE_UNKNOWN)
        set(pool, is, file_state_name(answer->file), json_from_bool(true));
    set(pool, root, "asked", json_from_bool(true));
    set(pool, root, "is", json_from_object(is));
    set_text(pool, root, "tone", verdict.tone);
    set_text(pool, root, "headline", verdict.headline);
    set_text(pool, root, "explanation", verdict.explanation);
    if (record == NULL)
        return;
    set(pool, root, "issued_on", date_value(pool, record->issued_ms));
    set(pool, root, "changed_on", date_value(pool, record->changed_ms));
    set(pool, root, "rows", rows_value(pool, fields));
    if (record->superseded_by.n != 0)
        set(pool, root, "superseded_url", url_value(pool, page, record->superseded_by));
}

/* -- replies ----------------------------------------------------------------------------------- */

static void add_headers(struct http_request *request)
{
    http_add_header(request, "cache-control", STR("no-store"));
    http_add_header(request, "x-robots-tag", STR("noindex"));
    http_add_header(request, "vary", STR("accept"));
    http_add_header(request, "referrer-policy", STR("same-origin"));
}

static void reply_html(struct http_request *request, const struct verify_page *page, int status,
                       struct json_object *root)
{
    static const struct http_problem broken = {
        .status = 500, .type = "rendering-failed", .title = "The page can't be rendered"};
    struct out out;
    out_init(&out, request->pool, PAGE_SIZE);
    if (!template_render(page->template, json_from_object(root), request->pool, &out)) {
        http_problem_reply(request, &broken);
        return;
    }
    add_headers(request);
    http_add_header(request, "content-security-policy", str_from(page->policy));
    http_reply(request, status, "text/html; charset=utf-8", &out);
}

void verify_page_form(struct http_request *request, const struct verify_page *page)
{
    struct json_object *root = json_object_create(request->pool, 8);
    add_page(request->pool, root, page, STR(""));
    reply_html(request, page, 200, root);
}

/* A file that isn't ours is an answer like others: 200. A serial that isn't there is no page. */
void verify_page_reply(struct http_request *request, const struct verify_page *page,
                       const struct verify_answer *answer)
{
    h2o_mem_pool_t *pool = request->pool;
    int status = answer->file == FILE_NONE && answer->record == NULL ? 404 : 200;
    const struct str labels[] = {str_from(standing_name(standing_of(answer->record))),
                                 answer->file != FILE_NONE ? str_from(file_state_name(answer->file))
                                                           : STR("")};
    metric_add(METRIC_VERIFICATIONS, 1, labels, COUNT(labels));
    struct json_object *root = record_json(pool, answer->serial, answer->record);
    struct json_value fields = json_get(json_from_object(root), STR("fields"));
    if (answer->file != FILE_NONE) {
        bool ours = answer->file > FILE_FORGED;
        set(pool, root, "ours", json_from_bool(ours));
        set_text(pool, root, "file", file_state_name(answer->file));
        set(pool, root, "known_by", ways_value(pool, answer));
    }
    if (http_wants_json(request)) {
        struct out out;
        out_init(&out, pool, 1024);
        json_write(&out, json_from_object(root));
        out_str(&out, STR("\n"));
        add_headers(request);
        http_reply(request, status, "application/json", &out);
        return;
    }
    add_page(pool, root, page, answer->serial);
    add_verdict(pool, root, page, answer, fields);
    reply_html(request, page, status, root);
}
