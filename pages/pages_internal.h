/* What the files of pages/ share: the plan of a page and a run of it. Nobody else includes it.
 *
 *   expand_compile.c, expand.c  a part's path -> its URL
 *   when.c, json_body.c         its condition, its body
 *   place.c, each.c             select, allow, deny, into; results into elements
 *   outcome.c                   an answer -> state, error, data
 *   plan.c, plan_each.c         the configuration -> plans
 *   graph.c                     which part needs which
 *   run.c                       parts started, waited for, cut
 *   ladder.c                    what stands in for a part that failed
 *   write.c                     a part and the data that it needs -> a call's URL, headers, body
 *   ask.c                       one call, for all who would make the same
 *   elements.c                  the calls of an `each`
 *   view.c                      parts -> what the template sees
 *   reply.c                     a run that is over -> the response
 *   caching.c                   what other caches may do with it; pages that are kept
 *   rendered.c                  what the template made of answers that are kept
 *   stream_plan.c, stream.c     a page that goes out as its parts come in
 *   gather.c                    parts whose data a caller wants
 *   explain.c                   a plan and a run as text */
#ifndef GW_PAGES_INTERNAL_H
#define GW_PAGES_INTERNAL_H

#include <stdatomic.h>
#include "pages/each.h"
#include "pages/expand.h"
#include "pages/json_body.h"
#include "pages/outcome.h"
#include "pages/pages.h"
#include "pages/place.h"
#include "pages/when.h"
#include "base/text.h"

enum {
    MAX_LOOPS = 1024, /* the configuration's most workers */
    MAX_SPARE_TAPES = 64,
    MAX_LISTED = 10000, /* results of an each, those of elements that weren't asked for included */
    COLLISIONS_LOGGED = 16, /* keys a page names in the log, ever */
    MAX_PAGE_VARY = 8,
    MAX_REQUEST_HEADERS = 100,
};

/* -- plans: immutable but for the atomics, which only guess and count ------------------------- */

struct part_header {
    struct str name;
    struct expansion value;
};

/* A call as configured: a part's own, or the one of its fallback. */
struct call_plan {
    struct upstream *upstream; /* NULL = there is no such call */
    struct str upstream_name;
    const char *method; /* NULL = GET */
    struct expansion target;
    struct part_header *headers; /* the part's own */
    size_t header_count;
    struct json_body body;
    size_t header_list; /* index in page.header_lists */
    uint64_t timeout_ms;
    bool repeatable;
    bool reads_data;          /* of parts or elements: can't be written before these are there */
    bool reads_request;       /* its target does */
    bool may_repeat;          /* another call of the page may be the same, byte for byte */
    struct cache_plan *cache; /* NULL = its answers aren't kept */
};

struct each_plan {
    size_t input; /* the part whose data has the array; SIZE_MAX: there is no each */
    struct place_path at;
    const struct expand_variable *key; /* of a batch: what its answer names elements by */
    struct placement answer;           /* what is taken of an answer; of a batch's select alone: the
                                          rest is for the results, one by one */
};

struct part_plan {
    const struct config_part *config;
    struct call_plan call;
    struct call_plan fallback;
    struct json_doc stand_in; /* static data; count == 0: none */
    struct when when;
    struct each_plan each;
    struct placement placement;
    uint64_t needs;             /* parts that must have data, a bit for each index */
    uint64_t awaits;            /* these, and those that `when` and the fallback only look at */
    struct str json_key;        /* `"promo":` */
    _Atomic uint64_t warned_us; /* when its failure was last logged; 0 = never */
    _Atomic unsigned
        collisions_seen; /* in the last page, so that the same ones aren't named again */
};

static inline bool part_is_each(const struct part_plan *plan)
{
    return plan->config->each.n != 0;
}

/* Its results stand in the elements that they were asked for, not under a name of their own. */
static inline bool part_is_scattered(const struct part_plan *plan)
{
    return part_is_each(plan) && plan->placement.into.count != 0;
}

struct page {
    struct pages *pages;
    const struct config_page *config;
    const struct http_route *route;
    const struct template *template; /* NULL = JSON only */
    struct part_plan *parts;
    size_t part_count;
    size_t *order; /* of the parts: each stands after those that it awaits */
    /* The upstreams' distinct forward_headers: most share one, which is then worked out once. */
    const struct config_strings **header_lists;
    size_t header_list_count;
    bool gathers;         /* pages_add_parts(): the data goes to a caller */
    bool placed;          /* a part has `into`: data is merged, not just listed */
    bool scattered;       /* a part_is_scattered() */
    bool repeats;         /* a call of it may_repeat */
    bool streams;         /* sent as its parts come in, where they take long */
    uint64_t deferred;    /* parts, a bit for each index */
    struct str csp, link; /* headers of the page; "" = none */
    bool is_personal;     /* a cookie or credentials of the client go into a call */
    struct str *vary;     /* other headers of the client that do */
    size_t vary_count;
    struct str *tags; /* of its parts' caches: for a page that is kept */
    size_t tag_count;
    bool uses_parts, uses_request, uses_page, uses_defer; /* names that the template looks up */
    bool is_made_of_parts; /* its HTML is the same for the same answers, all of which may be kept */
    _Atomic size_t html_size; /* what a page came to lately, in bytes */
    _Atomic uint64_t collisions;
    _Atomic uint32_t collisions_logged[COLLISIONS_LOGGED]; /* hashes of their paths */
    struct page *next;                                     /* of pages.gathering */
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
    struct cache_client *cache; /* NULL = every call is made */
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
    struct page *gathering;             /* those of pages_add_parts() */
    struct page_loop *loops[MAX_LOOPS]; /* owned; each set and used by its own thread only */
};

/* "request", "page", "parts": what the template's root holds beside data. */
bool page_name_is_reserved(struct str name);

/* True: the part has elements, and their name can be told from all other names. Else errors, if it
 * has some. */
bool plan_each_names(const struct config *config, const struct config_part *part,
                     const struct expand_scope *scope, struct diag *diag);
/* Compiles what is about elements of a part whose calls are compiled. scope: without the item. */
void plan_each(struct pages *pages, const struct config_part *part,
               const struct expand_scope *scope, struct diag *diag, struct part_plan *plan);

/* Which part needs which: needs, awaits, order, may_repeat of a page whose parts are compiled.
 * Errors: circles, deadlines that can't be kept. */
void graph_compile(struct page *page, struct diag *diag);

/* -- runs: one request's, on its loop -----------------------------------------------------------
 */

struct page_run;
struct part_run;
struct stream;
struct ask_table;
struct elements;
struct memo;
struct shared;

/* What a call came to, for one of those who wait for it. */
struct answer {
    struct outcome outcome;
    const struct up_result *result;
    bool shared;                       /* asked for by somebody else before: not another call */
    const struct cache_answer *cached; /* how the cache came by it; NULL = it wasn't asked */
    const struct outcome *failed; /* what asking came to, when a kept answer stands in; else NULL */
    int failed_status;
};

/* Who waits for an answer. */
struct asker {
    struct asker *next; /* behind it, for the same */
    struct part_run *part;
    const struct placement *placement; /* what it takes of the answer */
    void (*answered)(struct asker *asker, const struct answer *answer);
};

/* The bytes of a call. */
struct written {
    struct str target, body;
    struct up_header *headers; /* the part's own */
    size_t header_count;
};

/* A call under way or over, until the run is. */
struct ask {
    struct page_run *run;
    struct up_call *call;      /* until the body is no longer needed */
    struct cache_call *cached; /* instead of it, of a plan with a cache */
    struct asker *first;       /* NULL = it was answered */
    struct ask *next;          /* of the run's */
    const struct call_plan
        *unsafe;           /* the plan, when its method may change what is there; else NULL */
    struct str target;     /* that it may change */
    struct shared *shared; /* what others who want the same need; NULL = nobody can */
};

enum part_rung { RUNG_FRESH, RUNG_STALE, RUNG_FALLBACK, RUNG_STATIC, RUNG_ABSENT };

/* Why a skipped part wasn't asked. */
enum part_skip {
    SKIP_NONE,
    SKIP_WHEN,  /* its `when` doesn't hold: nothing is missing */
    SKIP_ALONG, /* its input's `when` (part_run.because) doesn't: nothing either */
    SKIP_INPUT, /* part_run.because has no data for it */
    SKIP_CUT    /* nobody waits for it any more, or nothing was asked at all */
};

/* What a part's own calls failed with. */
struct failure {
    enum part_state state;
    const char *error;
    int status;
    struct str detail;
};

struct part_run {
    struct page_run *run;
    struct part_plan *plan;
    struct access_part *record; /* status, time, bytes, attempts: kept once, where the log reads it.
                                   Of several calls attempts and bytes are sums; status and error
                                   are those of the first that failed */
    struct str detail;          /* of a failure */
    struct json_value value;
    enum part_state state;
    enum part_state failed; /* what its own calls ended in, before anything stood in for it */
    enum part_rung rung;
    enum part_skip skip;
    const struct part_run *because;    /* the input that had no data for it; NULL = not for that */
    unsigned calls, calls_failed;      /* made; of an each and of the fallback too */
    uint32_t retry_in_ms;              /* open: until the breaker tries again */
    bool hedged;                       /* the answer is a second call's */
    bool is_stale;                     /* an answer of it was kept, and past its time */
    bool is_personal;                  /* an answer is for this client alone */
    bool no_store;                     /* an answer says that it isn't to be kept */
    bool is_unkept;                    /* an answer says nothing of how long it may be used */
    uint64_t ttl_ms;                   /* the least of its answers'; UINT64_MAX without any */
    const struct cache_answer *cached; /* the last one that came through the cache */
    struct cache_call *asked_cache;    /* its own call to it; NULL = has none, or several */
    bool partial;                      /* of an each that failed: some elements have data */
    struct elements *elements;         /* of an each that has begun */
    struct memo *memos;                /* ... with MAX_MEMOS of them */
    struct written written;
    struct asker asker;
    struct ask ask; /* the part's own call */
};

/* Request headers that go to all upstreams which have the same list of them. */
struct header_set {
    struct up_header *headers;
    size_t count;
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
    uint64_t deadline_ms; /* on the loop's clock */
    expand_get_fn *get;   /* values of the request */
    void *get_arg;
    const struct header_set *header_sets; /* a set for each of page.header_lists */
    struct ask *asks;
    struct tape *tapes;      /* in use */
    struct ask_table *table; /* page.repeats */
    uint64_t waiting, ended; /* parts, a bit for each index */
    size_t running;          /* parts that haven't ended, the waiting ones included */
    bool failed;             /* a required part has no data: the page is an error */
    bool over;
    struct stream *stream; /* NULL: it goes out as a whole */
    struct str *vary;      /* headers of the client that answers hang on */
    size_t vary_count;
    uint64_t epoch;                /* of the store, when it began */
    struct cache_key rendered_key; /* hash 0: what is rendered isn't found again */
    bool varies_too_much;          /* or by what the client doesn't send */
    enum expand_result refused;    /* then nothing was asked, because of the variable */
    const struct expand_variable *refused_by;
    struct part_run parts[];
};

/* Where the values in the parts' URLs come from: a request's, for pages; arg: struct http_request.
 */
expand_get_fn run_variable;
/* Starts the page's parts. `get` is called until the run is over; `finish` may run before this
 * returns (a page without parts, a refused value). The run lives in the request's pool and ends
 * with it. */
struct page_run *run_start(struct page *page, struct http_request *request, expand_get_fn *get,
                           void *get_arg, page_finish_fn *finish, void *finish_arg);
/* Gives calls and tapes back before the request ends; data and bodies are gone then. */
void run_release(struct page_run *run);
bool run_is_complete(const struct page_run *run);
/* The required part without data that decides the page's status; NULL = there is none. */
const struct part_run *run_failed_required(const struct page_run *run);
/* That status: a part's that was skipped for want of an input is the input's. */
int run_page_status(const struct part_run *failed);

/* For ask.c and elements.c: starts what can start now, and finishes the run when all is over. To be
 * called last: the request may be gone afterwards. */
void run_advance(struct page_run *run);
/* Once a part; in a state of docs/pages.md. */
void run_end_part(struct part_run *part, enum part_state state);
bool run_has_data(const struct part_run *part);
/* It is what was asked for, kept or not. */
bool run_is_sound(const struct part_run *part);
/* Seconds since the upstream made it. */
uint64_t run_age_s(const struct part_run *part);
/* A detail in the request's pool. */
struct str run_text(struct page_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct tape *tape_take(struct page_run *run);

/* -- what stands in for what (ladder.c) -- */

/* The answer of the part's own single call, or of its fallback's. */
void ladder_answered(struct asker *asker, const struct answer *answer);
/* Counts what an answer cost. */
void ladder_count(struct part_run *part, const struct answer *answer);
/* What is asked now has failed for good, or was cut by the page's deadline. An each that is partial
 * ends, for others the next rung is tried. */
void ladder_failed(struct part_run *part, const struct failure *failure);
/* It can't be asked without data of `because`, of which `detail` tells what is missing. */
void ladder_without_input(struct part_run *part, const struct part_run *because, struct str detail);

/* -- writing calls (write.c) -- */

/* What an `each` remembers of the values that are the same for all its elements. */
struct memo {
    const struct expand_variable *variable;
    struct json_value value;
    struct str text;
    bool has_value, has_text;
};
enum { MAX_MEMOS = 2 * EXPAND_MAX_VARIABLES };

/* items: the elements that the call is for, NULL without an `each`. On a refusal *culprit_r says
 * whose value it was. */
enum expand_result write_call(struct part_run *part, const struct call_plan *plan,
                              const struct json_value *items, size_t count,
                              struct written *written_r, const struct expand_variable **culprit_r);
/* Whether the request's values fit into the target, before the others are known. */
enum expand_result write_check(struct part_run *part, const struct call_plan *plan,
                               const struct expand_variable **culprit_r);
bool write_when_holds(struct part_run *part);
/* What a batch's answer calls this element; {NULL, 0} = nothing. */
struct str write_key(struct part_run *part, const struct json_value *item);
/* What a refused value means for people: 'promo has no "category"'. */
struct str write_refusal(struct part_run *part, enum expand_result result,
                         const struct expand_variable *culprit);

/* -- asking (ask.c) -- */

/* Makes the call for `asker`, or lets it join who made the same. answered() runs once, unless the
 * run is cut; maybe before this returns, when the answer is there already. memory: for a call that
 * isn't there yet; NULL = the pool's. */
void ask(struct asker *asker, const struct call_plan *plan, const struct written *written,
         struct ask *memory);
/* Ends what is under way, without answers. */
void ask_cancel_all(struct page_run *run);

/* -- the calls of an each (elements.c) -- */

void elements_start(struct part_run *part);
/* The page's deadline: what is missing counts as timed out. */
void elements_cut(struct part_run *part);

/* The parts' data as one object, in configured order. */
struct json_value view_data(struct page_run *run);
/* The same with `parts`, `request` and `page`, as far as the template looks at them. */
struct json_value view_root(struct page_run *run);

/* The same, piece by piece. */
struct json_value view_request(struct page_run *run);
struct json_value view_part(struct page_run *run, size_t part);

/* Replies to run->request. */
page_finish_fn reply_send;
/* The letters of what went wrong, for the access log. */
void reply_note_flags(struct page_run *run);

/* -- pages that go out bit by bit (stream.c, stream_plan.c) -- */

void stream_compile(struct page *page, struct diag *diag);
/* 'sha256-…' of the script that moves deferred parts. */
extern const char stream_script[], stream_script_source[];
void stream_start(struct page_run *run);
/* A part has ended. */
void stream_advance(struct page_run *run);
/* The last one has. False: nothing went out yet, the page is to be replied as a whole. */
bool stream_finish(struct page_run *run);
void stream_stop(struct page_run *run);
/* Content-Security-Policy, Link. */
void stream_add_headers(const struct page *page, struct http_request *request);

/* -- what other caches may do with the page (caching.c) -- */

/* Cache-Control, Vary, Cache-Status. by_accept: there is JSON for who wants it. */
void caching_add_headers(struct page_run *run, bool complete, bool by_accept);
void caching_note_vary(struct page_run *run, const struct str *names, size_t count);
/* What of the request a page hangs on, whatever its parts do; "" = nothing. */
struct str caching_vary(const struct page *page, bool by_accept);
/* A strong entity tag of the body, added as ETag; coded: of what it is compressed to. */
struct str caching_add_etag(struct http_request *request, struct out *body, bool coded);
bool caching_client_has(const struct http_request *request, struct str etag);
/* Whether the page, which is complete, is one that is kept, and its parts let it. */
bool caching_keeps(const struct page_run *run);
/* Keeps it, compressed if it is; before the reply begins. */
void caching_keep(struct page_run *run, const char *type, struct str etag, struct out *body);
/* Its bytes in one piece; the pool's. */
struct str caching_flatten(h2o_mem_pool_t *pool, struct out *body);
/* Lets an entry go with the pool. */
void caching_hold(h2o_mem_pool_t *pool, struct cache_entry *entry);
#define CACHING_CODING STR("content-encoding") /* of an entry that is compressed */
/* The run begins, of a page that may be kept. */
void caching_begin(struct page_run *run);
/* True: a kept page was replied. */
bool caching_reply_kept(struct page *page, struct http_request *request);
/* -- what a template made of kept answers (rendered.c) -- */

void rendered_compile(struct page *page);
/* Of a run that is complete: body, ETag and coding; NULL = it is to be rendered. The pool's. */
struct cache_entry *rendered_find(struct page_run *run);
/* After rendered_find(): whether what was rendered is worth keeping. */
bool rendered_keeps(const struct page_run *run);
void rendered_keep(struct page_run *run, struct str etag, struct out *body);

/* Replies when there is no page: a value was refused, a required part failed. Else false. */
bool reply_problem(struct page_run *run);
/* The headers that tell what became of the parts: Proxy-Status, Server-Timing. */
void reply_add_outcome(struct page_run *run, bool complete, uint64_t render_us);
/* The page as JSON: data and meta. */
void reply_write_json(struct page_run *run, struct out *out);

#endif
