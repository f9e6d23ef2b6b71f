/* What the files of routes/ share. Nobody else includes it.
 *
 *   routes.c    what the configuration says, checked; the handler that requests come to
 *   passage.c   the life of one request on its way through, from head to end
 *   body_up.c   its body, between the client's socket and the upstream's
 *   kept.c      answers that are kept, in front of the upstream
 *   kept_store.c, refresh.c   how they get there, and are brought up to date meanwhile
 *   fields.c    which headers pass, in both directions
 *   target.c    paths: the upstream's for the client's, and back again in a redirect
 *   failure.c   what is answered when there is no answer; the access log's record
 *   explain.c   a route for people */
#ifndef GW_ROUTES_INTERNAL_H
#define GW_ROUTES_INTERNAL_H

#include <stdatomic.h>
#include "base/buf.h"
#include "routes/routes.h"

enum { MAX_LOOPS = 1024, REFRESH_SLOTS = 256 };

/* One [routes.NAME]. */
struct proxy_route {
    const struct config_route *config;
    struct routing *routing;
    struct upstream *upstream;
    struct cache_plan *cache; /* NULL = its answers aren't kept */
    const struct http_route *http;
    struct str prefix; /* the path without a final slash: "" is all */
    size_t depth;      /* its segments */
    struct str to;     /* what stands there instead, likewise; {NULL, 0}: the prefix stays */
    struct str scheme, authority, base; /* of the upstream's URL; no default port, no final slash */
    struct str *settled; /* headers that the upstream's own settings send: lower case */
    size_t settled_count;
    _Atomic uint64_t warned_us;
};

struct routing {
    struct proxy_route *all;
    size_t count;
    h2o_mem_pool_t pool;
    char via[32]; /* what this process is called in Via: "gateway-7f3c9a2e" */
    struct up_client *clients[MAX_LOOPS];
    struct cache_client *caches[MAX_LOOPS];     /* NULL = nothing is kept */
    h2o_linklist_t refreshes[MAX_LOOPS];        /* of refresh.c, under way; each loop its own */
    _Atomic uint64_t refreshing[REFRESH_SLOTS]; /* hashes of their keys */
};

/* -- target.c ----------------------------------------------------------------------------------
 */

/* What the route's path, `to` and the upstream's URL come to; in the pool. */
void target_prepare(struct proxy_route *route, h2o_mem_pool_t *pool);
/* Whether a server that reads an escape, a backslash or a ';' more generously than we do could find
 * a "." or ".." in the path, and leave the prefix. */
bool target_climbs(struct str path);
/* What is asked of the upstream, for a target as it was received and matched; in the pool, or the
 * target itself. */
struct str target_up(const struct proxy_route *route, struct str target, h2o_mem_pool_t *pool);
/* What Location says, for the client: a URL of the upstream's own becomes the path under which the
 * client finds it. host: the Host that was sent instead of the upstream's, {NULL, 0} = none. In
 * the pool, or the value itself. */
struct str target_location(const struct proxy_route *route, struct str location, struct str host,
                           h2o_mem_pool_t *pool);

/* -- fields.c ----------------------------------------------------------------------------------
 */

/* Whether the request was here before (RFC 9110 section 7.6.3). */
bool fields_loop(const struct http_request *request, struct str via);
/* The headers that go up, in the request's pool; their number. */
size_t fields_up(struct http_request *request, const struct proxy_route *route,
                 struct up_header **headers_r);

struct fields_down {
    uint64_t length; /* Content-Length; UINT64_MAX = none, or the body was in chunks */
    struct str date; /* {NULL, 0} = none */
};
/* Adds the headers of an answer to the reply. False: they make no sense (a line break in a value,
 * two lengths), nothing was added and *detail_r (constant) says why. */
bool fields_down(struct http_request *request, const struct proxy_route *route,
                 const struct up_header *headers, size_t count, struct fields_down *down_r,
                 const char **detail_r);

/* -- body_up.c ---------------------------------------------------------------------------------
 */

struct passage;

/* The request's body on its way: read when the upstream wants it, so that one which can't be
 * reached costs the client nothing and can still be replaced. */
struct body_up {
    struct http_body_reader reader;
    struct task more; /* reads on, at the end of the turn */
    char *ring;       /* owned; NULL = no body, or none yet */
    size_t size, first, held;
    uint64_t taken; /* by the upstream */
    bool begun;     /* somebody reads from the client */
    bool full;      /* the reader was told that there is no room */
    bool wanted;    /* the upstream was told that there is nothing yet */
    bool whole;     /* all of it came, or there is none */
};
void body_up_init(struct passage *passage);
void body_up_fini(struct passage *passage);
/* struct up_stream's. */
ssize_t body_up_read(struct up_stream *stream, char *to, size_t room);

/* -- passage.c ---------------------------------------------------------------------------------
 */

/* One request on its way through; in its pool. */
struct passage {
    struct http_request *request;
    struct proxy_route *route;
    struct up_call *call; /* NULL before and after */
    struct up_stream stream;
    struct access_part *record; /* in the pool: the log is written when this is gone */
    struct body_up body;
    struct kept *kept; /* NULL: no answer to it is kept */

    /* the answer */
    struct http_relay relay;
    struct task flush;           /* sends what has come, once a turn */
    struct buf filling, sending; /* what came meanwhile; what h2o has */
    struct timer hold;           /* of an answer that came before the end of the request's body */
    uint64_t taken;              /* of that body, when the timer was set */
    uint64_t left;               /* of the length that was promised; UINT64_MAX = none was */
    int status;                  /* 0 = no head yet */
    const struct up_header *headers; /* until the reply has begun */
    size_t header_count;
    bool begun;         /* the reply */
    bool busy;          /* h2o has bytes */
    bool paused;        /* the call was told that there is no room */
    bool is_head;       /* the request's method */
    bool whole, broken; /* no more will come */
    bool over;          /* the reply's end is under way */
};

/* The handler of every route. */
void passage_start(struct http_request *request, void *route);
/* From body_up.c: the request's body is whole, or won't be. */
void passage_body_whole(struct passage *passage);
void passage_body_failed(struct passage *passage, enum http_body_end how);

/* -- kept.c ------------------------------------------------------------------------------------
 */

/* True: what is kept was replied. Else the request is to be made as it is now; what it points to is
 * in the pool. */
bool kept_start(struct passage *passage, struct up_request *request);
enum kept_verdict {
    KEPT_PASSES,  /* the answer is to be passed on */
    KEPT_REPLIED, /* what is kept was replied instead */
    KEPT_SPOILT   /* it was about what is kept no more: the request is to be made again */
};
enum kept_verdict kept_head(struct passage *passage, int status, const struct up_header *headers,
                            size_t count);
/* Of the answer's body, and its end. */
void kept_bytes(struct passage *passage, const char *bytes, size_t n);
void kept_end(struct passage *passage, const struct up_header *headers, size_t count);
/* There is no answer. True: what is kept was replied instead. */
bool kept_stand_in(struct passage *passage);
void kept_fini(struct passage *passage);
/* refresh.c: the loop's client is about to go. */
void refresh_end_all(struct routing *routing, struct loop *loop);

/* -- failure.c ---------------------------------------------------------------------------------
 */

/* Notes in the access log's record how the call ended. */
void failure_note(struct passage *passage, const struct up_result *result);
/* The same when the answer is whole and the call isn't over. */
void failure_note_answer(struct passage *passage);
/* The same for an answer that can't be passed on: error is a token of RFC 9209. */
void failure_note_error(struct passage *passage, const char *error, const char *detail);
/* Answers that there is no answer, as noted; nothing was replied so far. */
void failure_reply(struct passage *passage, const struct up_result *result);
/* The request was here before: 502. */
void failure_reply_loop(struct http_request *request);

#endif
