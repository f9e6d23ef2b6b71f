/* pages/: a page is a plan, worked out when the configuration is read, and runs of it.
 *
 * The plan is a graph: the parts with their URLs, headers, bodies and conditions compiled, and
 * which of them need which; then the template as instructions, where each part's data goes, and how
 * large the page was so far. A run starts every part that needs nothing in one tick and each other
 * in the moment in which what it needs is in, waits for the last, the deadline or a required part's
 * failure, merges in the configured order and replies. What becomes of each answer: docs/pages.md.
 */
#ifndef GW_PAGES_H
#define GW_PAGES_H

#include "cache/cache.h"
#include "http/http.h"
#include "render/render.h"
#include "upstreams/upstreams.h"

struct pages; /* the plans of all pages; read-only after pages_create(): any thread */
struct page;
struct page_run;

/* The state a part ends in: one of these words wherever it is shown. */
enum part_state {
    PART_RUNNING,
    PART_OK,
    PART_STALE,    /* a kept answer, past its time: asked for anew meanwhile, or asking failed */
    PART_FALLBACK, /* fallback.path answered */
    PART_STATIC,   /* static data stands in */
    PART_TIMEOUT,
    PART_ERROR,
    PART_OPEN, /* the upstream's breaker */
    PART_SHED,
    PART_SKIPPED
};
const char *part_state_name(enum part_state state);

/* Compiles every page and adds its route. Errors: unknown upstream, missing or broken template, bad
 * expansion, two pages on one path, reserved part names, bad select/allow/deny/into. */
struct pages *pages_create(const struct config *config, struct upstreams *ups,
                           struct template_set *templates, struct http_server *server,
                           struct diag *diag);
void pages_destroy(struct pages **pages);
/* A loop's clients for calls, to be set on the loop's thread before requests arrive. They must
 * outlive the loop's requests, whose disposal gives their calls back. cache: NULL = every call is
 * made. */
void pages_set_client(struct pages *pages, struct loop *loop, struct up_client *client,
                      struct cache_client *cache);

/* The parts of what isn't a page (a certificate's fields come from them): compiled and run like a
 * page's, but nothing is added to the routes and the data goes to the caller. `config` has no path
 * and no template; path.NAME are the route's parameters (any, while it is NULL after an error), and
 * expansions may also use field.NAME of `fields` (not NULL; NUL-terminated), whose values
 * page_gather() asks for. NULL after errors. The parts are the pages' and go with them. */
struct page *pages_add_parts(struct pages *pages, const struct config_page *config,
                             const struct http_route *route, const struct str *fields,
                             size_t field_count, struct diag *diag);
typedef struct str page_field_fn(void *arg, struct str name); /* {NULL, 0} = there is none */
/* data: the parts' data as the template of a page would see it, without `parts`, `request`, `page`;
 * good until the request ends. */
typedef void page_gathered_fn(struct http_request *request, struct json_value data, void *arg);
/* Starts the parts, once a request; done() runs when all have ended, maybe before this returns, and
 * replies, now or later. When a required one failed, or a value was refused, the error was replied
 * and done() never runs; nor when the client left. The access log gets the parts; Proxy-Status and
 * Server-Timing are set before done(). field() is called until then. */
void page_gather(struct page *parts, struct http_request *request, page_field_fn *field,
                 page_gathered_fn *done, void *arg);

/* For explain: the page a request goes to (after http_route_match()), its plan as text, and a run
 * whose outcome is text instead of a reply. done() may run before page_explain() returns; after it
 * nothing of the run is needed any more. */
struct page *pages_for_route(struct pages *pages, const struct http_route *route);
void page_print_plan(const struct page *page, struct http_request *request, FILE *to);
void page_explain(struct page *page, struct http_request *request, FILE *to,
                  void (*done)(void *arg, bool all_required), void *arg);

#endif
