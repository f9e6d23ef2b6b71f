/* Listings: read, put into HTML or JSON and, where links must be signed, signed on an offload
 * thread; the loop sends what comes back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/json.h"
#include "base/text.h"
#include "files/download_internal.h"

static const char PAGE[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"robots\" content=\"noindex\">\n"
    "<title>{{title}}</title>\n"
    "<style>\n"
    ":root{color-scheme:light dark;--ink:#1d2733;--soft:#5d6b7a;--line:#dde3ea;--page:#f6f8fa;"
    "--card:#fff;--link:#0b5cad}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b4;--line:#30363d;"
    "--page:#0d1117;--card:#161b22;--link:#6cb6ff}}\n"
    "body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\n"
    "main{box-sizing:border-box;width:min(60rem,calc(100vw - 2rem));margin:1rem auto;"
    "padding:1.5rem 2rem;background:var(--card);border:1px solid var(--line);"
    "border-radius:12px}\n"
    "h1{margin:.2rem 0 .8rem;font-size:1.4rem;overflow-wrap:anywhere}\n"
    "a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}\n"
    "table{width:100%;border-collapse:collapse}\n"
    "th{text-align:left;font-weight:600;font-size:.85rem;color:var(--soft)}\n"
    "th,td{padding:.4rem .5rem .4rem 0;border-top:1px solid var(--line);vertical-align:top}\n"
    "td:first-child{overflow-wrap:anywhere;white-space:pre-wrap}\n"
    "td+td{white-space:nowrap;color:var(--soft);font-variant-numeric:tabular-nums}\n"
    ".size{text-align:right}\n"
    "</style>\n"
    "</head>\n"
    "<body>\n"
    "<main>\n"
    "<h1>{{title}}</h1>\n"
    "{{#up}}<p><a href=\"../\">One folder up</a></p>\n{{/up}}"
    "{{^files}}<p>There is nothing here.</p>\n{{/files}}"
    "{{#any}}<table>\n"
    "<thead><tr><th>Name</th><th class=\"size\">Size</th><th>Date</th></tr></thead>\n"
    "<tbody>\n"
    "{{#files}}<tr><td><a href=\"{{url}}\">{{name}}</a></td><td class=\"size\">{{size}}</td>"
    "<td><time datetime=\"{{modified}}\">{{date}}</time></td></tr>\n{{/files}}"
    "</tbody>\n"
    "</table>\n{{/any}}"
    "{{#truncated}}<p>This folder holds more files than can be listed; not all are shown.</p>\n"
    "{{/truncated}}"
    "{{#next}}<p><a rel=\"next\" href=\"{{next}}\">More</a></p>\n{{/next}}"
    "</main>\n"
    "</body>\n"
    "</html>\n";

/* Whoever waits for a listing. In the request's pool. */
struct wait {
    struct http_request *request;
    struct listing_job *job; /* under way, or with the reply's bytes */
    bool done;
};

/* Its own memory, and a pool for all that it makes: the request's may go while the job runs. */
struct listing_job {
    struct offload_job offload;
    struct wait *wait; /* the loop's; NULL: the client left */
    const struct download *download;
    h2o_mem_pool_t pool;
    struct http_request signer; /* the request as http_signed_url() needs it, with that pool */
    struct str url;             /* the listing's own path, as in the request's line */
    struct str path, title, after;
    uint64_t expires_s; /* of the links; 0 = they need no signature */
    bool json;
    int error;
    struct listing listing;
    struct out out;
};

struct template *listing_compile(struct template_set *templates, struct diag *diag)
{
    return template_compile(templates, "the built-in listing", (struct str){PAGE, sizeof(PAGE) - 1},
                            NULL, NULL, diag);
}

/* -- links and figures ------------------------------------------------------------------------ */

static struct str joined(h2o_mem_pool_t *pool, struct str a, struct str b, struct str c)
{
    h2o_iovec_t whole = h2o_concat(pool, h2o_iovec_init(a.p, a.n), h2o_iovec_init(b.p, b.n),
                                   h2o_iovec_init(c.p, c.n));
    return (struct str){whole.base, whole.len};
}

static struct str link_to(struct listing_job *job, struct str name, struct str query)
{
    struct str path = joined(&job->pool, job->url, name, STR(""));
    if (job->expires_s != 0)
        return http_signed_url(&job->signer, HTTP_MAY_READ, path, query, job->expires_s);
    return query.n == 0 ? path : joined(&job->pool, path, STR("?"), query);
}

/* "": there is none. */
static struct str link_to_next(struct listing_job *job)
{
    if (job->listing.next.n == 0)
        return STR("");
    return link_to(job, STR(""), joined(&job->pool, STR("after="), job->listing.next, STR("")));
}

static struct str copied(h2o_mem_pool_t *pool, struct str text)
{
    h2o_iovec_t kept = h2o_strdup(pool, text.p != NULL ? text.p : "", text.n);
    return (struct str){kept.base, kept.len};
}

/* RFC 3339, or shorter, for people. */
static struct str print_time(h2o_mem_pool_t *pool, int64_t seconds, bool for_people)
{
    char text[64];
    struct tm tm;
    time_t time = (time_t)seconds;
    if (gmtime_r(&time, &tm) == NULL)
        return STR("");
    size_t n = for_people ? strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &tm)
                          : strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return copied(pool, (struct str){text, n});
}

static struct str print_size(h2o_mem_pool_t *pool, uint64_t size)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    char text[32];
    double value = (double)size / 1024;
    size_t unit = 0;
    for (; value >= 1023.95 && unit + 1 < COUNT(units); unit++)
        value /= 1024;
    if (size < 1024)
        snprintf(text, sizeof(text), "%u B", (unsigned)size);
    else
        snprintf(text, sizeof(text), "%.1f %s", value, units[unit]);
    return copied(pool, str_from(text));
}

/* -- writing ---------------------------------------------------------------------------------- */

static void write_member(struct out *out, struct str separator_and_key, struct str value)
{
    out_str(out, separator_and_key);
    out_write(out, "\"", 1);
    out_json_escaped(out, value);
    out_write(out, "\"", 1);
}

static void write_json(struct listing_job *job)
{
    struct out *out = &job->out;
    out_str(out, STR("{\"files\":["));
    for (size_t i = 0; i < job->listing.count; i++) {
        const struct listing_entry *entry = &job->listing.entries[i];
        out_str(out, i == 0 ? STR("\n{") : STR(",\n{"));
        write_member(out, STR("\"name\":"), entry->name);
        if (entry->type != NULL) {
            out_str(out, STR(",\"size\":"));
            out_number(out, entry->size);
            write_member(out, STR(",\"type\":"), str_from(entry->type));
        }
        write_member(out, STR(",\"modified\":"), print_time(&job->pool, entry->modified, false));
        write_member(out, STR(",\"url\":"), link_to(job, entry->link, STR("")));
        if (entry->fields.n != 0) {
            out_str(out, STR(",\"fields\":"));
            out_str(out, entry->fields);
        }
        out_str(out, STR("}"));
    }
    out_str(out, STR("\n],\"next\":"));
    struct str next = link_to_next(job);
    if (next.n == 0)
        out_str(out, STR("null"));
    else
        write_member(out, STR(""), next);
    out_str(out, job->listing.truncated ? STR(",\"truncated\":true}\n") : STR("}\n"));
}

static void set_text(h2o_mem_pool_t *pool, struct json_object *object, struct str key,
                     struct str text)
{
    struct str *kept = h2o_mem_alloc_pool(pool, sizeof(*kept));
    *kept = text;
    json_object_set(pool, object, key, json_from_text(kept));
}

static bool write_html(struct listing_job *job)
{
    h2o_mem_pool_t *pool = &job->pool;
    const struct listing *listing = &job->listing;
    struct json_object *root = json_object_create(pool, 6);
    struct json_array *files = json_array_create(pool, listing->count);
    for (size_t i = 0; i < listing->count; i++) {
        const struct listing_entry *entry = &listing->entries[i];
        struct json_object *file = json_object_create(pool, 5);
        set_text(pool, file, STR("name"), entry->name);
        set_text(pool, file, STR("url"), link_to(job, entry->link, STR("")));
        set_text(pool, file, STR("size"),
                 entry->type != NULL ? print_size(pool, entry->size) : STR(""));
        set_text(pool, file, STR("modified"), print_time(pool, entry->modified, false));
        set_text(pool, file, STR("date"), print_time(pool, entry->modified, true));
        json_array_add(pool, files, json_from_object(file));
    }
    set_text(pool, root, STR("title"), job->title);
    json_object_set(pool, root, STR("up"), json_from_bool(job->path.n != 0 && job->expires_s == 0));
    json_object_set(pool, root, STR("any"), json_from_bool(listing->count != 0));
    json_object_set(pool, root, STR("files"), json_from_array(files));
    json_object_set(pool, root, STR("truncated"), json_from_bool(listing->truncated));
    set_text(pool, root, STR("next"), link_to_next(job));
    return template_render(job->download->page, json_from_object(root), pool, &job->out);
}

/* -- the job ---------------------------------------------------------------------------------- */

static void list_work(struct offload_job *offload)
{
    struct listing_job *job = CONTAINER_OF(offload, struct listing_job, offload);
    job->error = job->download->store != NULL
                     ? listing_read_records(&job->listing, job->download, job->after)
                     : listing_read_folder(&job->listing, job->download, job->path, job->after);
    if (job->error != 0)
        return;
    if (job->json)
        write_json(job);
    else if (!write_html(job))
        job->error = EIO;
}

static void job_free(struct listing_job *job)
{
    h2o_mem_clear_pool(&job->pool);
    free(job);
}

static void reply(struct http_request *request, struct listing_job *job)
{
    static const struct http_problem bad_cursor = {.status = 400,
                                                   .type = "bad-request",
                                                   .title = "This request makes no sense",
                                                   .detail = {"`after` is none of ours", 23}};
    if (job->error == EINVAL) {
        http_problem_reply(request, &bad_cursor);
        return;
    }
    if (job->error != 0) {
        http_refuse_file(request, job->error);
        return;
    }
    http_add_header(request, "cache-control",
                    job->download->config->auth == AUTH_PUBLIC ? STR("no-cache")
                                                               : STR("private, no-cache"));
    http_add_header(request, "vary", STR("Accept"));
    if (!job->json)
        http_add_header(request, "content-security-policy",
                        STR("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
                            "form-action 'none'; frame-ancestors 'self'"));
    http_reply(request, 200, job->json ? "application/json" : "text/html; charset=utf-8",
               &job->out);
}

static void list_done(struct offload_job *offload)
{
    struct listing_job *job = CONTAINER_OF(offload, struct listing_job, offload);
    if (job->wait == NULL) {
        job_free(job);
        return;
    }
    job->wait->done = true;
    reply(job->wait->request, job);
}

static void on_dispose(void *arg)
{
    struct wait *wait = arg;
    if (wait->job == NULL)
        return;
    if (wait->done)
        job_free(wait->job);
    else
        wait->job->wait = NULL;
}

/* Links of a listing that was asked for by a signed link live as long as that. */
static uint64_t links_expire(struct http_request *request, const struct download *download)
{
    struct str expires = http_query(request, STR("expires"));
    uint64_t seconds = 0;
    if (download->config->auth != AUTH_SIGNED || request->has_token) /* or came with a token */
        return 0;
    for (size_t i = 0; i < expires.n && is_digit(expires.p[i]); i++)
        seconds = seconds * 10 + (uint64_t)(expires.p[i] - '0');
    return seconds;
}

void listing_serve(struct http_request *request, struct download *download, struct str path)
{
    struct listing_job *job = h2o_mem_alloc(sizeof(*job));
    struct wait *wait = h2o_mem_alloc_shared(request->pool, sizeof(*wait), on_dispose);
    *wait = (struct wait){.request = request, .job = job};
    *job = (struct listing_job){
        .offload = {.work = list_work, .done = list_done, .loop = request->loop},
        .wait = wait,
        .download = download,
        .signer = *request,
        .expires_s = links_expire(request, download),
        .json = http_wants_json(request),
        .listing.room = download->config->page_size,
    };
    h2o_mem_init_pool(&job->pool);
    job->signer.pool = job->listing.pool = &job->pool;
    job->url = copied(&job->pool, request->path);
    job->path = copied(&job->pool, path);
    job->title = joined(&job->pool, download->path, STR("/"), job->path);
    job->after = copied(&job->pool, http_query(request, STR("after")));
    out_init(&job->out, &job->pool, 0);
    if (!offload_submit(download->reads, &job->offload)) {
        wait->done = true;
        http_refuse_file(request, EBUSY);
    }
}
