/* http/: from a socket to a handler and back. The only folder that knows h2o's server.
 *
 * `struct http_server` holds what all loops share, read-only once they run: routes, static
 * directories, the error page. `struct http_loop` is a loop's own: listeners and connections.
 * Everything about a request runs on its connection's loop. */
#ifndef GW_HTTP_H
#define GW_HTTP_H

#ifndef H2O_USE_EPOLL
#define H2O_USE_EPOLL 1
#endif
#include <h2o.h>
#include <sys/stat.h>
#include "base/diag.h"
#include "base/loop.h"
#include "base/offload.h"
#include "base/out.h"
#include "config/config.h"
#include "crypto/crypto.h"
#include "observe/observe.h"
#include "observe/trace.h"

#define HTTP_MAX_PARAMS 8

struct chain;
struct http_body;
struct http_conn;
struct http_gzip;
struct metric_series;
struct metrics;
struct http_reign;
struct http_route;
struct http_server;
struct http_site;

/* A request as handlers see it. Lives in `pool` until the response was sent or the client left;
 * whoever waits for something meanwhile shares its memory with the pool (h2o_mem_alloc_shared) and
 * gives up when that is disposed of. Every str points into the request or its pool. */
struct http_request {
    h2o_req_t *h2o; /* NULL when nobody is connected (explain --run) */
    h2o_mem_pool_t *pool;
    struct loop *loop;
    const h2o_headers_t *headers;
    struct str method, scheme, host;
    struct str target; /* path and query as received */
    struct str path;   /* without query, as received; its segments are known to decode */
    struct str query;  /* without '?', as received */
    struct str id;     /* X-Request-Id: the client's when well-formed, else ours */
    struct str client; /* address of the client, as far as proxies are trusted */
    struct str user;   /* who it was found to be: "token:ci", "basic:ada", "jwt:7", else "" */
    struct str params[HTTP_MAX_PARAMS]; /* decoded path parameters, in the route's order */
    const struct http_route *route;     /* NULL: nothing matched */
    uint64_t max_body;                  /* of the body, whatever its reader allows; 0 = no limit */
    uint64_t started_us, replied_us;    /* clock_us(); the reply's first byte, 0 = not noted */

    struct trace_link trace; /* zeroed: of none; http_trace_part() for a part's calls */

    /* for the access log; whoever serves fills them in */
    const struct access_part *parts;
    size_t part_count;
    uint64_t parts_us; /* clock_us() from when on parts count; 0 = started_us */
    const char *flags;
    enum page_completed completed;
    bool is_gzip; /* the reply's body is compressed */

    /* Middleware has set headers that say who asks: what upstreams answer is for this client alone,
     * unless they say that it isn't, as if there were an Authorization. */
    bool is_personal;
    bool has_token; /* http_authorize() knew its token */

    /* private to http/ */
    struct http_server *server;
    const struct http_site *site;
    struct http_reign *reign; /* that it came under */
    struct http_conn *conn;
    struct metric_series *active;     /* where it is counted while it is served */
    uint64_t crash_ticket;            /* of crash_serving() */
    uint64_t trace_parent;            /* the client's span; 0 = none */
    bool has_tracestate, has_baggage; /* that are handed on */
    struct http_body *body;           /* HTTP/1's; NULL: none */
    struct http_gzip *gzip;           /* what compresses a reply bit by bit; NULL: nothing */
    struct str forwarded[5]; /* what http_forward_header() worked out, kept for the next part */
    h2o_linklist_t sending;  /* linked from the reply's begin to its end */
    h2o_linklist_t relaying; /* HTTP/2: linked while a relayed reply is under way */
    uint64_t progress;       /* of the sending, as last seen, and when that was */
    uint64_t progress_ms;
    const struct chain *chain; /* of middleware; NULL: not yet */
    size_t chain_at;           /* whose turn is next */
    void (*chain_then)(struct http_request *request);
    size_t held;     /* of http_loop.held */
    uint8_t allowed; /* enum http_methods of the path, when http_route_match() gave 405 */
    bool replied;
    bool may_code;          /* the reply is one that may be compressed on its way */
    h2o_ostream_t *coder;   /* what does so; NULL: nothing */
    struct str csrf_cookie; /* that a token was made for, maybe one that the reply sets */
};

/* The loop works on this request from here on: what a crash tells. For what goes on with a request
 * outside of its handler. part: of a page, "" = none. */
void http_serving(struct http_request *request, struct str part);

/* -- routes ------------------------------------------------------------------------------------ */

/* Must reply, now or later, unless the client leaves first. */
typedef void http_handler_fn(struct http_request *request, void *arg);

/* HTTP_OPTIONS: the handler answers OPTIONS, which http/ does otherwise. HTTP_OTHERS: methods that
 * have no name here, but for CONNECT and TRACE, which no route takes. HTTP_READS_BODY: the handler
 * runs as soon as the head is in, and reads the body itself; for other routes a body is taken and
 * thrown away (up to [server] max_body) before the handler runs. HTTP_PREFIX: see http_route_add().
 */
enum http_methods {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_POST = 4,
    HTTP_PUT = 8,
    HTTP_PATCH = 16,
    HTTP_DELETE = 32,
    HTTP_OPTIONS = 64,
    HTTP_OTHERS = 128,
    HTTP_READS_BODY = 256,
    HTTP_PREFIX = 512
};

/* access, metrics: where requests are told to when they have ended; each may be NULL. secret: for
 * links and forms; NULL while a configuration is only checked. */
struct http_server *http_server_create(const struct config *config, const struct secret *secret,
                                       struct offload *files, struct access_log *access,
                                       struct metrics *metrics, struct diag *diag);
void http_server_destroy(struct http_server **server);
/* Requests that take longer than [log] slow go there, too. Before the loops run. */
void http_server_log_slow(struct http_server *server, struct access_log *slow);

/* pattern: "/product/{id}": literal segments and whole-segment parameters; "/assets/{*rest}" takes
 * what is left. A literal segment beats a parameter. With HTTP_PREFIX "/shop" is that path and all
 * below, as far as no other route takes a request by path and method; the longest prefix wins, and
 * it alone decides about the method. Two routes for the same paths, a malformed pattern or too many
 * parameters: an error at `at`. Returns NULL then. */
const struct http_route *http_route_add(struct http_server *server, const char *name,
                                        unsigned methods, struct str pattern,
                                        http_handler_fn *handler, void *arg, struct pos at,
                                        struct diag *diag);
/* The section's own list of middleware (http/middleware.h), borrowed; nothing for a route NULL. */
void http_route_use(const struct http_route *route, const struct config_strings *middleware);
/* Index of the parameter of that name in http_request.params, -1 = none. */
int http_route_param(const struct http_route *route, struct str name);
struct str http_route_name(const struct http_route *route);
/* "/product/{id}" */
struct str http_route_pattern(const struct http_route *route);
/* Finds the route for a target and fills in path, query and params; what http/ itself does with
 * each request, and explain without one. 0, or the status to refuse with (400, 404, 405). */
int http_route_match(struct http_server *server, struct http_request *request);

/* -- reading a request ------------------------------------------------------------------------- */

/* First value of a query parameter, decoded ('+' is a blank); {NULL, 0} = absent. */
struct str http_query(struct http_request *request, struct str name);
/* Walks the query's parameters in order, decoded; those without a name are left out:
 *     for (struct http_query_iter it = http_query_iter(request); http_query_next(&it);)
 *         use(it.name, it.value); */
struct http_query_iter {
    struct str name, value;
    h2o_mem_pool_t *pool; /* private, as what follows */
    struct str rest;
};
struct http_query_iter http_query_iter(struct http_request *request);
bool http_query_next(struct http_query_iter *it);
struct str http_header(const struct http_request *request, struct str name);
struct str http_cookie(const struct http_request *request, struct str name);
/* Whether Accept prefers application/json to text/html (RFC 9110 section 12.5.1). */
bool http_wants_json(const struct http_request *request);
/* The header lines to send upstream for a forward_headers entry: Forwarded and X-Forwarded-* are
 * extended (trusted peer) or begun anew, X-Request-Id is request->id, others pass as they are.
 * {NULL, 0} = not sent. */
struct str http_forward_header(struct http_request *request, struct str name);
/* Where the calls of a part belong (of those in request->parts). Calls that are for no part belong
 * to request->trace. */
struct trace_link http_trace_part(const struct http_request *request, size_t part);
/* "tracestate" or "baggage", as it goes upstream beside traceparent; {NULL, 0} = not sent. */
struct str http_trace_header(struct http_request *request, struct str name);
/* What middleware changes for whoever reads the request later, handlers and upstreams. Setting
 * replaces all lines of that name; either way a name counts in any case, and with '_' for '-', as
 * application servers read it. What is set goes upstream whatever the client says in Connection,
 * and whoever the client is. `name` (lower case) and `value` (one line) are borrowed as long as the
 * request lives. */
void http_set_request_header(struct http_request *request, struct str name, struct str value);
void http_remove_request_header(struct http_request *request, struct str name);
/* Of request->headers' entries: whether it was set so. */
bool http_header_was_set(const h2o_header_t *header);
/* Whether it may be changed so: no header of the connection or the message's frame, none of those
 * that http_forward_header() makes itself. */
bool http_may_set_request_header(struct str name);
/* Whether the peer is one of [server] trusted_proxies. */
bool http_peer_is_trusted(const struct http_request *request);

/* -- a request's body -------------------------------------------------------------------------- */

enum http_body_end {
    BODY_WHOLE,
    BODY_TOO_LARGE, /* more than was allowed; answer 413 */
    BODY_TOO_SLOW,  /* under body_min_rate, or nothing for body_idle_timeout; answer 408 */
    BODY_MALFORMED  /* chunks that aren't (RFC 9112 section 7.1); answer 400 */
};

/* Where a body goes; the reader's, in memory that lives as long as the request's pool. Its bytes
 * are read from the socket straight into the reader's memory: what the reader doesn't take is left
 * in the socket, which is all the backpressure there is (HTTP/2: the stream's window, of which at
 * most 1 MiB waits in memory). */
struct http_body_reader {
    /* Where the next bytes go, and how many (not 0) there is room for; NULL: nowhere for now, until
     * http_body_resume(). When the length isn't announced, also asked for once the whole body is
     * there: what follows it must be read to tell that it ends. */
    char *(*room)(struct http_body_reader *reader, size_t *n_r);
    /* n > 0 bytes of the body were put where room() said. May reply, which ends the reading. */
    void (*got)(struct http_body_reader *reader, size_t n);
    /* Once, after the last got(); not when a reply has begun or the client has left (then the
     * request's pool goes, as always). The reader replies, now or later. */
    void (*end)(struct http_body_reader *reader, enum http_body_end how);
};
/* Content-Length, 0 without a body, UINT64_MAX when it isn't announced. */
uint64_t http_body_length(const struct http_request *request);
/* Begins to read, once, from a handler with HTTP_READS_BODY or later; sends the 100 that a client
 * may wait for (RFC 9110 section 10.1.1). max: bytes, UINT64_MAX = no limit (but
 * request->max_body's). Calls back from here
 * on, maybe before it returns. A reply that begins before the body's end is fine: what is left is
 * thrown away when it is little, else the connection closes once the client has read the reply. */
void http_body_read(struct http_request *request, struct http_body_reader *reader, uint64_t max);
/* There is room again. Calls back, maybe before it returns. Nothing once the reading is over. */
void http_body_resume(struct http_request *request);
/* The whole body in the request's pool, for small ones: fn is called once, with BODY_WHOLE and the
 * bytes, or what went wrong. */
typedef void http_body_fn(struct http_request *request, enum http_body_end how, struct str body,
                          void *arg);
void http_body_collect(struct http_request *request, size_t max, http_body_fn *fn, void *arg);
/* Answers what is answered to an end that isn't BODY_WHOLE. */
void http_body_refuse(struct http_request *request, enum http_body_end how);

/* -- who may ----------------------------------------------------------------------------------- */

enum http_right { HTTP_MAY_READ, HTTP_MAY_WRITE };
/* Whether the request may do it: AUTH_PUBLIC always, AUTH_TOKEN with `Authorization: Bearer` and a
 * token of [tokens.NAME] (RFC 6750), AUTH_SIGNED with ?expires=…&sig=… for its path (or a token); a
 * link to write lets read too. Sets request->user whenever a token was sent and is known. False:
 * 401 or 403 was replied. */
bool http_authorize(struct http_request *request, enum config_auth auth, enum http_right right);
/* "path?query&expires=…&sig=…" in the request's pool, with which AUTH_SIGNED lets pass until
 * expires_s (seconds since 1970). path: as in a request's line; query: "" or without '?', of which
 * an earlier expires and sig are left out. */
struct str http_signed_url(struct http_request *request, enum http_right right, struct str path,
                           struct str query, uint64_t expires_s);
/* Whether the section's auth can work: tokens where they are needed. Adds errors at `at`. */
void http_check_auth(const struct http_server *server, enum config_auth auth, struct pos at,
                     struct diag *diag);

/* How often one client (an IPv4 address, an IPv6 /64, or whoever has none) may do something: "5/s",
 * "30/m", "100/h", "1000/d", with bursts as large. Shared by all loops, bounded: of more clients
 * than it can hold (65,536), those that have used least of their quota lately are forgotten. "" =
 * NULL, as is one that isn't a rate (an error at `at`). */
struct http_rate;
struct http_rate *http_rate_create(struct str text, struct pos at, struct diag *diag);
/* The same as a policy of its own name (RateLimit-Policy; letters, digits, '-' and '_'), with
 * bursts of that many requests; 0 = as large. */
struct http_rate *http_rate_create_policy(struct str name, struct str text, uint32_t burst,
                                          struct pos at, struct diag *diag);
void http_rate_destroy(struct http_rate **rate);
/* Counts the request. False: 429 with Retry-After was replied. Sets RateLimit and RateLimit-Policy
 * (draft-ietf-httpapi-ratelimit-headers) either way. NULL allows all. Any loop. */
bool http_rate_allow(struct http_rate *rate, struct http_request *request);
/* The same for one who is known by something else than an address. rate: not NULL. */
bool http_rate_allow_as(struct http_rate *rate, struct http_request *request, struct str who);

/* Forms of ours that change something carry a token, tied to a cookie, so that no other site can
 * send them with a visitor's browser. Good for 12 hours; in the request's pool. Sets the cookie
 * when there is none (before the reply begins), so no cache may keep the reply. */
struct str http_csrf_token(struct http_request *request);
enum http_csrf {
    CSRF_FINE,   /* or not needed: Authorization or no cookie, and not from another site */
    CSRF_NEEDED, /* `token` is not there, or not in X-CSRF-Token: the form's field may still come */
    CSRF_WRONG   /* not ours, too old, of another visitor; or the browser tells of another site */
};
/* token: the form's field; "" = not seen (yet): X-CSRF-Token is looked at. */
enum http_csrf http_csrf_check(struct http_request *request, struct str token);
/* 403, and a page that says why. */
void http_csrf_refuse(struct http_request *request);

/* -- replying ---------------------------------------------------------------------------------- */

void http_add_header(struct http_request *request, const char *lower_case_name, struct str value);
/* Sends status, the headers added so far and the body (left out for HEAD). Sets Content-Length,
 * X-Request-Id, X-Content-Type-Options. `out` is in the request's pool. */
void http_reply(struct http_request *request, int status, const char *content_type,
                struct out *out);
/* The head of such a reply, for a body that comes bit by bit: the caller passes it to h2o_send()
 * (nothing for HEAD) and the generator is asked for more. length: its bytes, SIZE_MAX = unknown;
 * content_type may be NULL. */
void http_reply_begin(struct http_request *request, int status, const char *content_type,
                      size_t length, h2o_generator_t *generator);

/* Whether a page of that type and `length` bytes (SIZE_MAX = whatever it comes to) is compressed
 * for this client: by [server] gzip, gzip_types and gzip_min_size, and by Accept-Encoding. A strong
 * ETag of its own, and Vary: Accept-Encoding on every reply that might have been compressed, are
 * for who sends the page to take care of. */
bool http_wants_gzip(const struct http_request *request, const char *type, size_t length);
/* Compresses the body that http_reply() is given next, where it stands; or says, by
 * request->is_gzip, that it has been. */
void http_gzip(struct http_request *request, struct out *body);

/* Somebody else's answer, handed on as it comes. In the request's pool, or memory that lives as
 * long; zeroed but for what is said here. */
struct http_relay {
    /* The last bytes are out, others may be sent. Not after RELAY_END or RELAY_CUT. */
    void (*proceed)(struct http_relay *relay);
    struct str
        date; /* value of its Date, when that is an IMF-fixdate (RFC 9110 section 5.6.7); else
                 "": now */
    h2o_generator_t generator; /* private, as what follows */
    struct http_request *request;
    bool begun, sending;
};
/* Begins to reply with the headers that were added, in their order. Nothing is made up but Server
 * and Date where there is none, X-Request-Id and what frames the body. length: of the body,
 * UINT64_MAX = unknown. From here on a client that leaves, or ends its side of an HTTP/1
 * connection, ends the request (its pool goes), however long nothing is sent. */
void http_relay_begin(struct http_request *request, struct http_relay *relay, int status,
                      uint64_t length);
/* The same for a page of ours, of unknown length; compressed where http_wants_gzip(). */
void http_stream_begin(struct http_request *request, struct http_relay *relay, int status,
                       const char *content_type);
enum http_relay_state {
    RELAY_MORE,
    RELAY_END, /* with these bytes the body is whole (HEAD, 204, 304: there are none) */
    RELAY_CUT  /* it will not be: the client is made to notice, its connection or stream breaks */
};
/* Bytes stay as they are until proceed(), or the request's end; not before proceed() was called for
 * those before. n = 0 with RELAY_MORE: once, at first, the head alone. */
void http_relay_send(struct http_relay *relay, const char *bytes, size_t n,
                     enum http_relay_state state);

/* An error, as the error page (HTML) or problem+json (RFC 9457), whichever the client prefers; on
 * the admin listener and the control socket always the latter. */
struct http_problem {
    int status;
    const char *type;                /* "upstream-timeout": last part of the problem's type URI */
    const char *title;               /* constant */
    struct str detail;               /* "" = none */
    const struct access_part *parts; /* what failed; all with required = true first */
    const bool *required;
    size_t part_count;
    struct str members;     /* further ones of the JSON, `,"errors":[…]`; "" = none */
    bool json_only;         /* what failed has no HTML: problem+json whatever the client prefers */
    unsigned retry_after_s; /* 0 = no Retry-After */
    const char *allow;      /* 405: value of Allow */
};
void http_problem_reply(struct http_request *request, const struct http_problem *problem);

/* -- files --------------------------------------------------------------------------------------
 */

/* An open file to be sent. Strings are in the request's pool, or stay longer. */
struct http_file {
    int fd; /* owned by http_send_file() from there on */
    uint64_t size;
    bool in_memory;  /* reading it never waits (tmpfs) */
    struct str etag; /* strong, quotes included */
    time_t modified;
    const char *type;         /* media type */
    const char *encoding;     /* Content-Encoding of the variant that fd is; NULL = none */
    bool vary;                /* there may be other encodings: Vary: Accept-Encoding */
    bool may_code;            /* it may be compressed on its way, when it isn't large */
    struct str cache_control; /* "" = none */
    struct str disposition;   /* value of Content-Disposition, "" = none */
    struct str repr_digest;   /* value of Repr-Digest (RFC 9530), "" = none */
};
/* Replies with it, for GET and HEAD: validators, preconditions, ranges (RFC 9110 sections 13 and
 * 14: one, several, If-Range, 416). Reads that would wait for the disk go to `reads`. */
void http_send_file(struct http_request *request, const struct http_file *file,
                    struct offload *reads);
/* Answers what is answered when a file can't be opened or read: 404, 403, 503 or 500 by errno;
 * EBUSY is the full queue of the offload. */
void http_refuse_file(struct http_request *request, int error);

/* A directory that files are served from: regular files below it, nothing hidden (a segment that
 * begins with '.'). Read-only once open: any loop. */
struct http_dir;
/* NULL: *error_r is errno. */
struct http_dir *http_dir_open(const char *path, struct offload *reads, int *error_r);
void http_dir_close(struct http_dir **dir);

enum http_dir_flags {
    HTTP_DIR_INDEX = 1, /* a path that ends in '/' means index.html there */
    HTTP_DIR_CODED = 2  /* PATH.br or PATH.gz when Accept-Encoding prefers it and it isn't older */
};
/* error 0: the file, complete but for may_code, cache_control, disposition and repr_digest. EISDIR:
 * the path is a directory's, or ends in '/' (then nobody has looked). */
typedef void http_found_fn(struct http_request *request, int error, struct http_file *file,
                           void *arg);
/* Opens `path` (decoded, relative, a client's). Calls found() before it returns when the kernel
 * need not ask the disk, else later, unless the client leaves first. `arg` and `path` stay. */
void http_dir_find(struct http_request *request, struct http_dir *dir, struct str path,
                   unsigned flags, http_found_fn *found, void *arg);
/* The media type that the ending of a file's name stands for. */
const char *http_dir_type(const struct http_dir *dir, struct str name);
/* Not on a loop: opens the directory `path` below it ("" or "a/b/"), to be read. 0 or errno; the
 * descriptor is the caller's. */
int http_dir_list(const struct http_dir *dir, struct str path, int *fd_r);
/* Not on a loop: what http_dir_find() would find there, file or directory. 0 or errno. */
int http_dir_stat(const struct http_dir *dir, struct str path, struct stat *stat_r);

/* `attachment; filename="x.pdf"; filename*=UTF-8''…` (RFC 6266, RFC 8187) for any name: what can't
 * be in a file's name is replaced. In the pool. */
struct str http_disposition(h2o_mem_pool_t *pool, enum config_disposition disposition,
                            struct str name);

/* -- running ----------------------------------------------------------------------------------- */

/* Opens every address of [server] listen and listen_tls once for each of `loops` (SO_REUSEPORT; a
 * unix socket is opened once and shared), and logs each with the port it really has. before: the
 * server that it is to follow, whose listeners it takes over as far as it has the same addresses;
 * NULL = none. False: an address isn't available, *error_r (the server's) says which and why;
 * `before` has all that it had. Main thread. */
bool http_server_listen(struct http_server *server, unsigned loops, struct http_server *before,
                        const char **error_r);
/* Reads certificates and keys of [tls] anew, for connections that begin from now on. False: diag
 * says what is wrong, and those that were read last stay. Any thread but a loop's: files are read.
 */
bool http_tls_reload(struct http_server *server, struct diag *diag);
/* Handshakes, ends of certificates. Any thread. */
void http_write_metrics(struct http_server *server, struct out *out);
/* On the loop's thread, after http_server_listen(). */
struct http_loop *http_loop_create(struct http_server *server, struct loop *loop);
/* The listening sockets of the public listeners, and of admin and control, which `first` serves:
 * for a process that is to listen to them as well. Into fds_r, at most `most`; how many. Main
 * thread. */
size_t http_sockets(const struct http_server *server, const struct http_loop *first, int *fds_r,
                    size_t most);
/* That process does: files of unix sockets stay when this one ends. Main thread. */
void http_sockets_handed_on(struct http_server *server, struct http_loop *first);
/* Stops accepting, asks connections to end (Connection: close, GOAWAY); everything: on the admin
 * listener and the control socket too. `idle` runs when the last request was served and the last
 * busy connection is gone. */
void http_loop_drain(struct http_loop *http, bool everything, void (*idle)(void *arg), void *arg);
/* From now on what comes is served as `server` says, whose loops these are too; connections stay.
 * gone(arg): the last request that the server before has to answer is over, and was logged; in a
 * later turn, not when the loop is destroyed before. */
void http_loop_adopt(struct http_loop *http, struct http_server *server, void (*gone)(void *arg),
                     void *arg);
void http_loop_destroy(struct http_loop **http);
/* The admin listener and the control socket, served by one of the loops. ready: asked by /readyz.
 * drain: what POST /drain on the control socket does. */
struct http_admin {
    bool (*ready)(void *arg);
    void (*drain)(void *arg);
    void *arg;
    /* Writes the members of "checks" for /readyz; false: one is worth a warning. May be NULL. */
    bool (*checks)(void *arg, struct out *out);
};
bool http_admin_start(struct http_loop *http, const struct http_admin *admin, const char **error_r);
/* A route of the admin listener (which only reads: GET) or of the control socket, whose requests,
 * bodies and problems are like the public ones' but that no log has them and problems are always
 * JSON; before the loops run. pattern: a constant, as http_route_add()'s; one that is malformed or
 * taken is the caller's mistake and aborts. */
void http_admin_add(struct http_server *server, const char *name, struct str pattern,
                    http_handler_fn *handler, void *arg);
void http_control_add(struct http_server *server, const char *name, unsigned methods,
                      struct str pattern, http_handler_fn *handler, void *arg);

#endif
