/* What the files of pages/ share: the plan of a page and a run of it. Nobody else includes it.
 *
 *   expand_compile.c, expand.c  a part's path -> its URL
 *   place.c                     select, allow, deny, into
 *   outcome.c                   an answer -> state, error, data
 *   plan.c                      the configuration -> plans
 *   run.c                       parts started, waited for, cut
 *   view.c                      parts -> what the template sees
 *   reply.c                     a run that is over -> the response
 *   gather.c                    parts whose data a caller wants
 *   explain.c                   a plan and a run as text */
#ifndef GW_PAGES_INTERNAL_H
#define GW_PAGES_INTERNAL_H

#include <stdatomic.h>
#include "pages/expand.h"
#include "pages/outcome.h"
#include "pages/pages.h"
#include "pages/place.h"

enum {
    MAX_LOOPS = 1024, /* the configuration's most workers */
    MAX_SPARE_TAPES = 64,
    COLLISIONS_LOGGED = 16, /* keys a page names in the log, ever */
};

/* -- plans: immutable but for the atomics, which only guess and count ------------------------- */

struct part_plan {
    const struct config_part *config;
    struct upstream *upstream;
    struct expansion target;
    struct placement placement;
    struct str json_key;        /* `"promo":` */
    size_t header_list;         /* index in page.header_lists */
    _Atomic uint64_t warned_us; /* when its failure was last logged; 0 = never */
    _Atomic unsigned
        collisions_seen; /* in the last page, so that the same ones aren't named again */
};

struct page {
    struct pages *pages;
    const struct config_page *config;
    const struct http_route *route;
    const struct template *template; /* NULL = JSON only */
    struct part_plan *parts;
    size_t part_count;
    /* The upstreams' distinct forward_headers: most share one, which is then worked out once. */
    const struct config_strings **header_lists;
    size_t header_list_count;
    bool gathers; /* pages_add_parts(): the data goes to a caller */
    bool placed;  /* a part has `into`: data is merged, not just listed */
    bool uses_parts, uses_request, uses_page; /* names that the template looks up */
    _Atomic size_t html_size;                 /* what a page came to lately, in bytes */
    _Atomic uint64_t collisions;
    _Atomic uint32_t collisions_logged[COLLISIONS_LOGGED]; /* hashes of their paths */
};

/* A tape with its place among the spare ones of its loop. */
struct tape {
    struct json_doc doc;
    struct tape *next;
};

/* A loop's own. */
struct page_loop {
    struct loop *loop;
    struct up_client *client;
    struct tape *spare;
    unsigned spare_count;
    int64_t now_s; /* the second that now_text shows */
    char now_text[24];
};

struct pages {
    const struct config *config;
    struct upstreams *ups;
    h2o_mem_pool_t pool; /* owns the plans */
    struct page *pages;
    size_t page_count;
    struct page_loop *loops[MAX_LOOPS]; /* owned; each set and used by its own thread only */
};

/* "request", "page", "parts": what the template's root holds beside data. */
bool page_name_is_reserved(struct str name);

/* -- runs: one request's, on its loop -----------------------------------------------------------
 */

struct page_run;

struct part_run {
    struct page_run *run;
    struct part_plan *plan;
    struct access_part
        *record;          /* status, time, bytes, attempts: kept once, where the log reads it */
    struct up_call *call; /* until the body is no longer needed */
    struct tape *tape;
    struct str target;
    struct str detail; /* of a failure */
    struct json_value value;
    struct up_times times;
    enum part_state state;
};

/* Called once: all parts have ended, or a value was refused. Not called when the client left. */
typedef void page_finish_fn(struct page_run *run);

struct page_run {
    struct page *page;
    struct http_request *request;
    struct page_loop *loop;
    page_finish_fn *finish;
    void *finish_arg;
    struct timer deadline;
    uint64_t started_us;
    size_t running;
    bool over;
    enum expand_result refused; /* then nothing was asked, because of the variable */
    const struct expand_variable *refused_by;
    struct part_run parts[];
};

/* Where the values in the parts' URLs come from: a request's, for pages; arg: struct http_request.
 */
expand_get_fn run_variable;
/* Starts every part of the page. `get` is done when this returns; `finish` may run before that (a
 * page without parts, a refused value). The run lives in the request's pool and ends with it. */
struct page_run *run_start(struct page *page, struct http_request *request, expand_get_fn *get,
                           void *get_arg, page_finish_fn *finish, void *finish_arg);
/* Gives calls and tapes back before the request ends; data and bodies are gone then. */
void run_release(struct page_run *run);
bool run_is_complete(const struct page_run *run);
/* The required part whose failure decides the page's status; NULL = none failed. */
const struct part_run *run_failed_required(const struct page_run *run);

/* The parts' data as one object, in configured order. */
struct json_value view_data(struct page_run *run);
/* The same with `parts`, `request` and `page`, as far as the template looks at them. */
struct json_value view_root(struct page_run *run);

/* Replies to run->request. */
page_finish_fn reply_send;
/* Replies when there is no page: a value was refused, a required part failed. Else false. */
bool reply_problem(struct page_run *run);
/* The headers that tell what became of the parts: Proxy-Status, Server-Timing. */
void reply_add_outcome(struct page_run *run, bool complete, uint64_t render_us);
/* The page as JSON: data and meta. */
void reply_write_json(struct page_run *run, struct out *out);

#endif
