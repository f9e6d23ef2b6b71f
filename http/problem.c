/* Errors: RFC 9457 problem+json for programs, a page from a template for people. */
#include "http/http_internal.h"

#include <stdio.h>
#include "base/json.h"

/* Small enough to need no other request: an error page that asks for a style sheet may fail twice.
 */
static const char BUILT_IN[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"robots\" content=\"noindex\">\n"
    "<title>{{status}} {{title}}</title>\n"
    "<style>\n"
    ":root{color-scheme:light dark;--ink:#1d2733;--soft:#5d6b7a;--line:#dde3ea;--page:#f6f8fa;"
    "--card:#fff}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b4;--line:#30363d;"
    "--page:#0d1117;--card:#161b22}}\n"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--page);"
    "color:var(--ink);font:16px/1.5 system-ui,sans-serif}\n"
    "main{box-sizing:border-box;width:min(34rem,calc(100vw - 2rem));padding:2rem;"
    "background:var(--card);border:1px solid var(--line);border-radius:12px}\n"
    "b{display:block;font-size:.9rem;letter-spacing:.08em;color:var(--soft)}\n"
    "h1{margin:.2rem 0 .8rem;font-size:1.6rem;line-height:1.25}\n"
    "ul{margin:1rem 0 0;padding:0;list-style:none}\n"
    "li{display:flex;justify-content:space-between;gap:1rem;padding:.4rem 0;"
    "border-top:1px solid var(--line)}\n"
    "small{display:block;margin-top:1.2rem;color:var(--soft);overflow-wrap:anywhere}\n"
    "</style>\n"
    "</head>\n"
    "<body>\n"
    "<main>\n"
    "<b>{{status}}</b>\n"
    "<h1>{{title}}</h1>\n"
    "{{#detail}}<p>{{detail}}</p>\n{{/detail}}"
    "{{#has_parts}}<ul>\n{{#parts}}<li><span>{{name}}</span><span>{{state}}</span></li>\n{{/parts}}"
    "</ul>\n{{/has_parts}}"
    "<small>{{request.id}}</small>\n"
    "</main>\n"
    "</body>\n"
    "</html>\n";

bool problem_init(struct http_server *server, struct diag *diag)
{
    const struct config *config = server->config;
    const struct str *name = &config->server.error_template;
    server->templates = template_set_create(config->templates_dir.p);
    server->error_page =
        name->n != 0
            ? template_load(server->templates, name->p, config_pos(config, name), diag)
            : template_compile(server->templates, "the built-in error page",
                               (struct str){BUILT_IN, sizeof(BUILT_IN) - 1}, NULL, NULL, diag);
    return server->error_page != NULL;
}

static void write_member(struct out *out, const char *separator_and_key, struct str value)
{
    out_str(out, str_from(separator_and_key));
    out_write(out, "\"", 1);
    out_json_escaped(out, value);
    out_write(out, "\"", 1);
}

/* The path as the client sent it, unless it is what the error is about and no text. */
static struct str instance(const struct http_request *request)
{
    struct str path = request->path.n != 0 ? request->path : request->target;
    return utf8_valid(path) ? path : (struct str){NULL, 0};
}

static void write_json(struct http_request *request, const struct http_problem *problem,
                       struct out *out)
{
    write_member(out, "{\"type\":", (struct str){NULL, 0});
    out->at--; /* the closing quote: the URI goes on */
    out_str(out, STR("/problems/"));
    out_json_escaped(out, str_from(problem->type));
    write_member(out, "\",\"title\":", str_from(problem->title));
    out_str(out, STR(",\"status\":"));
    out_number(out, (uint64_t)problem->status);
    if (problem->detail.n != 0)
        write_member(out, ",\"detail\":", problem->detail);
    if (instance(request).n != 0)
        write_member(out, ",\"instance\":", instance(request));
    write_member(out, ",\"request_id\":", request->id);
    if (trace_is(&request->trace)) {
        char trace[TRACE_ID_TEXT];
        trace_id_put(trace, &request->trace);
        write_member(out, ",\"trace_id\":", (struct str){trace, sizeof(trace)});
    }
    for (size_t i = 0; i < problem->part_count; i++) {
        const struct access_part *part = &problem->parts[i];
        out_str(out, i == 0 ? STR(",\"parts\":[") : STR(","));
        write_member(out, "{\"name\":", part->name);
        out_str(out, problem->required != NULL && problem->required[i]
                         ? STR(",\"required\":true")
                         : STR(",\"required\":false"));
        write_member(out, ",\"state\":", str_from(part->state));
        out_str(out, STR(",\"ms\":"));
        out_number(out, part->us / 1000);
        out_str(out, i + 1 == problem->part_count ? STR("}]") : STR("}"));
    }
    out_str(out, problem->members);
    out_str(out, STR("}\n"));
}

static struct json_value text_value(h2o_mem_pool_t *pool, struct str text)
{
    struct str *kept = h2o_mem_alloc_pool(pool, sizeof(*kept));
    *kept = text;
    return json_from_text(kept);
}

static struct json_value number_value(h2o_mem_pool_t *pool, uint64_t number)
{
    char *digits = h2o_mem_alloc_pool(pool, 24);
    struct str *kept = h2o_mem_alloc_pool(pool, sizeof(*kept));
    *kept = (struct str){digits, (size_t)snprintf(digits, 24, "%llu", (unsigned long long)number)};
    return json_from_number(kept);
}

static struct json_value page_root(struct http_request *request, const struct http_problem *problem)
{
    h2o_mem_pool_t *pool = request->pool;
    struct json_object *root = json_object_create(pool, 7), *about = json_object_create(pool, 5);
    struct json_array *parts = json_array_create(pool, problem->part_count);
    json_object_set(pool, about, STR("id"), text_value(pool, request->id));
    json_object_set(pool, about, STR("path"), text_value(pool, instance(request)));
    json_object_set(pool, about, STR("host"), text_value(pool, request->host));
    json_object_set(pool, about, STR("method"), text_value(pool, request->method));
    for (size_t i = 0; i < problem->part_count; i++) {
        struct json_object *part = json_object_create(pool, 4);
        json_object_set(pool, part, STR("name"), text_value(pool, problem->parts[i].name));
        json_object_set(pool, part, STR("state"),
                        text_value(pool, str_from(problem->parts[i].state)));
        json_object_set(pool, part, STR("ms"), number_value(pool, problem->parts[i].us / 1000));
        json_object_set(pool, part, STR("required"),
                        json_from_bool(problem->required != NULL && problem->required[i]));
        json_array_add(pool, parts, json_from_object(part));
    }
    json_object_set(pool, root, STR("status"), number_value(pool, (uint64_t)problem->status));
    json_object_set(pool, root, STR("title"), text_value(pool, str_from(problem->title)));
    json_object_set(pool, root, STR("detail"), text_value(pool, problem->detail));
    json_object_set(pool, root, STR("type"), text_value(pool, str_from(problem->type)));
    json_object_set(pool, root, STR("request"), json_from_object(about));
    json_object_set(pool, root, STR("has_parts"), json_from_bool(problem->part_count != 0));
    json_object_set(pool, root, STR("parts"), json_from_array(parts));
    return json_from_object(root);
}

void http_problem_reply(struct http_request *request, const struct http_problem *problem)
{
    char seconds[16];
    struct out out;
    bool as_json = problem->json_only || !request->site->is_main || http_wants_json(request);
    out_init(&out, request->pool, 0);
    if (as_json)
        write_json(request, problem, &out);
    else
        template_render(request->server->error_page, page_root(request, problem), request->pool,
                        &out);
    http_add_header(request, "cache-control", STR("no-store"));
    if (problem->retry_after_s != 0) {
        int n = snprintf(seconds, sizeof(seconds), "%u", problem->retry_after_s);
        h2o_iovec_t kept = h2o_strdup(request->pool, seconds, (size_t)n);
        http_add_header(request, "retry-after", (struct str){kept.base, kept.len});
    }
    if (problem->allow != NULL)
        http_add_header(request, "allow", str_from(problem->allow));
    http_reply(request, problem->status,
               as_json ? "application/problem+json" : "text/html; charset=utf-8", &out);
}

void problem_reply_status(struct http_request *request, int status, const char *detail)
{
    static const struct {
        int status;
        const char *type, *title;
    } known[] = {
        {400, "bad-request", "This request makes no sense"},
        {404, "not-found", "There is no such page"},
        {408, "request-timeout", "The request took too long"},
        {413, "content-too-large", "The request is too large"},
        {414, "uri-too-long", "The address is too long"},
        {417, "expectation-failed", "The request expects something else"},
        {431, "head-too-large", "The request's head is too large"},
        {501, "not-implemented", "This request is not supported"},
        {505, "version-not-supported", "This version of HTTP is not supported"},
    };
    for (size_t i = 0; i < COUNT(known); i++)
        if (known[i].status == status) {
            struct http_problem problem = {.status = status,
                                           .type = known[i].type,
                                           .title = known[i].title,
                                           .detail = str_from(detail)};
            http_problem_reply(request, &problem);
            return;
        }
    gw_assert(!"a status of http/'s own has a row");
}

const char *methods_print(unsigned methods, char *text_r)
{
    static const struct {
        unsigned bit;
        const char *text;
    } names[] = {{HTTP_GET, "GET, "}, {HTTP_HEAD, "HEAD, "},   {HTTP_POST, "POST, "},
                 {HTTP_PUT, "PUT, "}, {HTTP_PATCH, "PATCH, "}, {HTTP_DELETE, "DELETE, "}};
    char *p = text_r;
    for (size_t i = 0; i < COUNT(names); i++)
        if ((methods & names[i].bit) != 0)
            p = stpcpy(p, names[i].text);
    strcpy(p, "OPTIONS");
    return text_r;
}
