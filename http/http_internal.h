/* What the files of http/ share. Nobody else includes it. */
#ifndef GW_HTTP_INTERNAL_H
#define GW_HTTP_INTERNAL_H

#include <stdatomic.h>
#include "base/buf.h"
#include "base/text.h"
#include "http/address.h"
#include "http/chunked.h"
#include "http/head.h"
#include "http/http.h"
#include "http/http2_abuse.h"
#include "http/tls.h"
#include "render/render.h"

/* -- route.c ----------------------------------------------------------------------------------- */

struct routes;
struct routes *routes_create(void);
void routes_destroy(struct routes **routes);
const struct http_route *routes_add(struct routes *routes, const char *name, unsigned methods,
                                    struct str pattern, http_handler_fn *handler, void *arg,
                                    struct pos at, struct diag *diag);
bool route_reads_body(const struct http_route *route);
/* As http_route_match(). */
int routes_match(const struct routes *routes, struct http_request *request);
void route_run(struct http_request *request);
/* All of them, in no order. */
struct http_route *routes_first(struct routes *routes);
struct http_route *routes_next(struct http_route *route);

/* -- middleware.c ------------------------------------------------------------------------------ */

const struct config_strings *route_middleware(const struct http_route *route); /* NULL = none */
void route_set_chain(struct http_route *route, const struct chain *chain);
const struct chain *route_chain(const struct http_route *route);

/* What the request passes: its route's list, or its site's. */
const struct chain *chain_of(const struct http_request *request);
/* Runs `then` when all of the chain have let it pass. */
void chain_run(struct http_request *request, const struct chain *chain,
               void (*then)(struct http_request *request));
/* A reply begins. */
void chain_reply(struct http_request *request, int status);
/* Of all middleware. */
void chain_destroy_all(struct http_server *server);

/* -- authorize.c, csrf.c ----------------------------------------------------------------------- */

struct auth_token {
    uint8_t digest[32];
    char *user; /* owned: "token:NAME" */
    size_t user_n;
};

/* Keys and tokens as requests need them, made once. */
struct http_auth {
    struct key links, forms;
    struct auth_token *tokens; /* owned */
    size_t token_count;
};
void auth_init(struct http_auth *auth, const struct config *config, const struct secret *secret);
void auth_fini(struct http_auth *auth);

enum auth_verdict {
    VERDICT_FINE,
    VERDICT_TOKEN_NEEDED,
    VERDICT_TOKEN_INVALID,
    VERDICT_LINK_NEEDED,
    VERDICT_LINK_INVALID,
    VERDICT_LINK_EXPIRED
};
/* http_authorize() without its reply and its clock. */
enum auth_verdict auth_judge(struct http_request *request, enum config_auth auth,
                             enum http_right right, uint64_t now_s);

/* Tokens of forms: what goes into them and what comes back. */
enum { CSRF_TOKEN_LENGTH = 54 };
void csrf_make(const struct key *key, struct str cookie, uint64_t expires_s,
               char text_r[CSRF_TOKEN_LENGTH + 1]);
bool csrf_valid(const struct key *key, struct str cookie, struct str text, uint64_t now_s);

/* -- server.c ---------------------------------------------------------------------------------- */

/* What a listener leads to. The public one is logged, and counted against max_connections. */
enum site_kind { SITE_MAIN, SITE_ADMIN, SITE_CONTROL, SITES };

struct http_site {
    struct routes *routes;
    const struct chain *chain; /* of requests without a route; NULL: none */
    bool is_main;
};

struct listener {
    struct address wanted;  /* as configured: its port may be 0 */
    struct address address; /* as bound */
    /* At least one a loop, where there is one socket only they are duplicates; loop i has i,
     * i + loops, ... -1 = it took it. */
    int *fds;
    unsigned fd_count, loops;
    int *sockets; /* numbers of those that are different sockets */
    unsigned socket_count;
    bool handed_on; /* another process listens to it: a socket's file stays */
};

struct http_server {
    const struct config *config;
    struct http_auth auth;
    struct access_log *access, *slow; /* slow: NULL = nobody is told of slow requests */
    uint64_t slow_us;
    bool log_referer; /* the access log's format has it */
    struct metrics *metrics;
    struct http_site sites[SITES];
    struct http_middleware *middleware; /* all of them, owned */
    h2o_mem_pool_t chains;
    struct tls *tls;     /* NULL: nothing listens with TLS */
    uint16_t https_port; /* where requests without TLS are sent; 0 = they are answered */
    struct str hsts;     /* value of Strict-Transport-Security; "" = not sent */
    struct network *trusted;
    size_t trusted_count;
    struct http_static **statics;
    size_t static_count;
    struct template_set *templates;
    struct template *error_page;
    struct address *addresses;
    size_t address_count;
    struct listener **listeners; /* public ones; a server that follows takes over what it needs */
    size_t listener_count;
    struct http_admin admin_fns;
    uint64_t sweep_ms, stalled_ms; /* a reply of which nothing got through for so long is given up;
                                      here so that tests need not wait */
    uint64_t linger_ms;            /* HTTP/2: for who still sends a body after the reply */
    uint64_t hurried_ms;           /* in place of stalled_ms, while a loop's http_loop.held is */
    size_t held_max;               /* over this */
    char error[256];
};

struct listening {
    struct http_loop *http;
    h2o_socket_t *sock; /* NULL = closed */
    enum site_kind kind;
    const struct listener *of; /* NULL: the loop's own, of admin or control */
    bool tls;
    struct listening *next;
    struct timer retry;
    uint64_t complained_ms; /* when the log last heard of trouble; 0 = never */
};

enum { MAX_ADMIN_LISTENERS = 3 };

/* For how long a loop serves what a configuration says: from http_loop_adopt() on until the last
 * request that came under it is gone. */
struct http_reign {
    struct http_loop *http;
    struct http_server *server;
    uint32_t requests;
    bool over;        /* another one's turn */
    struct task task; /* tells */
    void (*gone)(void *arg);
    void *arg;
};

struct http_loop {
    struct http_server *server; /* the reign's */
    struct http_reign *reign;   /* of requests that come now */
    unsigned reigns_over;       /* before it, of which some requests are under way */
    struct loop *loop;
    h2o_globalconf_t conf;
    h2o_hostconf_t *hosts[2]; /* NULL-terminated, as h2o wants it */
    h2o_context_t h2o;
    h2o_accept_ctx_t accept;
    struct listening *listening;
    struct listener admin_listeners[MAX_ADMIN_LISTENERS];
    size_t admin_listener_count;
    h2o_linklist_t conns;    /* struct http_conn.link */
    struct http_conn *spare; /* closed ones, kept for reuse */
    uint32_t main_conns, admin_conns;
    unsigned gzip_streams;  /* replies of unknown length that are compressed */
    h2o_linklist_t sending; /* http_request.sending */
    struct chunks *chunks;  /* send_file.c's */
    struct timer sweep;     /* looks at them */
    size_t held;            /* bytes of bodies that are ready and wait for their clients */
    uint64_t abuse_told_ms; /* when the log last heard of some; 0 = never */
    uint32_t abuse_untold;  /* since */
    uint64_t random[2];
    bool draining;
    struct timer drain_timer;
    struct task idle_task;
    void (*idle_fn)(void *arg);
    void *idle_arg;
};

/* -- serve.c ----------------------------------------------------------------------------------- */

/* What h2o calls, for any site. */
int on_request(h2o_handler_t *handler, h2o_req_t *req);
void log_h2o_error(h2o_logger_t *logger, h2o_req_t *req);
/* 32 hexadecimal characters, into the pool. */
struct str request_id_make(struct http_loop *http, h2o_mem_pool_t *pool);

void http_log(struct http_loop *http, struct str route, const struct access_record *record);
/* The line of a request that h2o answered, or refused, by itself. */
void log_by_h2o(h2o_req_t *req, int status);

/* -- sending.c --------------------------------------------------------------------------------- */

void sending_setup(struct http_server *server);
void sending_init(struct http_loop *http);
/* The reply is on its way: from now on it must make progress, but for when there is nothing to be
 * sent for a while. */
void sending_begins(struct http_request *request);
void sending_pauses(struct http_request *request);
void sending_goes_on(struct http_request *request);
/* So many bytes of it are ready, and stay until the request's end. */
void sending_holds(struct http_request *request, size_t bytes);
void sending_ends(struct http_request *request);

/* -- listen.c ---------------------------------------------------------------------------------- */

/* mode: of a unix socket's file. */
bool listener_open(struct listener *listener, const struct address *address, unsigned loops,
                   unsigned mode, char *error, size_t error_size);
void listener_close(struct listener *listener);
/* Takes over fd, and goes into the loop's list. of: may be NULL. */
void listening_start(struct http_loop *http, enum site_kind kind, const struct listener *of,
                     int fd);
/* Accepts what waits, then closes. */
void listening_stop(struct listening *listening);
/* Closes without accepting. */
void listening_abandon(struct listening *listening);

/* -- guard.c ----------------------------------------------------------------------------------- */

struct http2_conn;
typedef ssize_t http2_expect_fn(struct http2_conn *conn, const uint8_t *from, size_t n,
                                const char **error_r);

/* What http2_frames.c knows of a connection; begins zeroed. */
struct http2_reading {
    http2_expect_fn *h2o_expect; /* h2o's reader of the next frame, behind ours; NULL: HTTP/1 */
    struct abuse_budget budget;
    uint64_t granted;     /* bytes, by WINDOW_UPDATE for the whole connection */
    uint64_t unended_ms;  /* since when a head, or a frame but DATA, is under way; 0 = none is */
    uint32_t head_frames; /* of a head that isn't whole, and bytes */
    uint32_t head_bytes;
    uint32_t unread;   /* replies that were queued while the client took nothing */
    size_t queued;     /* bytes, at the last of them */
    bool prefaced;     /* the connection's first bytes are in */
    bool in_frame;     /* h2o acts on one */
    bool head_refused; /* h2o answers with RST_STREAM */
    bool head_over;    /* the head is to be refused whatever it says */
};

/* A connection, from accept to close. Lives in its loop's list or among its spares. */
struct http_conn {
    struct http_loop *http;
    enum site_kind kind;
    h2o_socket_t *sock;   /* NULL = closed */
    struct tls_conn *tls; /* NULL = none is spoken */
    h2o_linklist_t link;
    h2o_socket_cb h2o_read;    /* h2o's reader of HTTP/1 requests, behind ours */
    h2o_socket_cb h2o_written; /* its end of a reply, while ours waits in front of it */
    const h2o_conn_callbacks_t *http1;
    struct head_scan scan;
    struct http_request *waiting; /* HTTP/1: the request under way */
    struct buf line;   /* method and target of a head that no handler has yet, for the log */
    struct buf behind; /* bytes of the next request that can't be in sock->input yet */
    uint64_t skip;     /* bytes of the last request's body that are thrown away as they come */
    struct task rehook;
    struct timer head_clock;
    struct timer probe;
    uint64_t linger_until_ms;
    struct ip ip;
    char peer[INET6_ADDRSTRLEN]; /* "192.0.2.1", "unix" */
    uint8_t peer_length;
    bool trusted;   /* the peer is one of trusted_proxies */
    bool head_done; /* h2o has the head, the request is under way */
    bool probing;
    bool given_up;                /* ends in a moment: it doesn't take its replies */
    bool relays;                  /* the reply under way may be silent */
    bool unseen;                  /* h2o has a head, but neither handler nor log know of it yet */
    uint32_t active;              /* requests */
    uint64_t idle_since_ms;       /* when the last of them was over, or it was accepted */
    bool bodies_seen;             /* HTTP/2: a body came, its window is known to the client */
    struct http2_body *bodies;    /* HTTP/2: of the requests under way that have one */
    struct straggler *stragglers; /* HTTP/2: streams answered before their bodies' ends */
    h2o_linklist_t relaying;      /* HTTP/2: http_request.relaying */
    struct http2_reading http2;
    struct http_conn *next_spare;
};

/* Takes over fd. */
void guard_accept(struct listening *listening, int fd, const struct sockaddr *peer);
/* HTTP may begin: TLS has shaken hands. */
void guard_open(struct http_conn *conn);
/* Connections of the main site in the whole process, those that are being accepted included. */
extern _Atomic uint32_t guard_connections;
struct http_conn *guard_conn(const h2o_req_t *req);
/* NULL: the socket isn't a client's. */
struct http_conn *guard_of(const h2o_socket_t *sock);
bool guard_is_http2(const struct http_conn *conn);
/* recv() without waiting, through TLS where it is spoken. */
static inline ssize_t conn_receive(const struct http_conn *conn, void *to, size_t n)
{
    return conn->tls != NULL ? tls_receive(conn->tls, to, n)
                             : recv(h2o_socket_get_fd(conn->sock), to, n, MSG_DONTWAIT);
}
/* "http" or "https", which the connection alone tells. */
static inline struct str conn_scheme(const struct http_conn *conn)
{
    return conn->tls != NULL ? STR("https") : STR("http");
}
/* The client of HTTP/1 is gone: ends connection and request. */
void guard_left(struct http_conn *conn);
/* A request has come to us. */
void guard_begun(struct http_conn *conn);
/* The request's memory is about to go. */
void guard_done(struct http_conn *conn, struct http_request *request);
/* While draining: closes connections that have waited for a request for a moment; the next request
 * of a busier one is still answered, with Connection: close. */
void guard_close_idle(struct http_loop *http);
void guard_close_all(struct http_loop *http);
/* Bytes of replies that the peer has acknowledged so far, or anything that moves with them. */
uint64_t guard_progress(const struct http_conn *conn, const h2o_req_t *req);
void guard_abort(struct http_conn *conn);

/* -- watch.c ----------------------------------------------------------------------------------- */

void watch_init(struct http_conn *conn);
/* Before the handler runs: from now on a client that leaves ends the request. */
void watch_begin(struct http_conn *conn, struct http_request *request);
/* The same, after the body's reader had the socket (HTTP/1). */
void watch_again(struct http_conn *conn);
/* The reply begins: h2o's own handling of broken connections applies. */
void watch_end(struct http_conn *conn);
/* It has begun, and may be silent for long (HTTP/1): a client that leaves still ends the request.
 */
void watch_relay(struct http_conn *conn);
/* Sends a 100 (Continue). False: the client is gone. */
bool watch_continue(struct http_conn *conn);

/* -- https.c ----------------------------------------------------------------------------------- */

/* Once the addresses are open: [tls] redirect and hsts. */
void https_setup(struct http_server *server);
/* A request that came without TLS, and should come again with it: answers so. */
bool https_redirects(struct http_request *request);
/* A reply's head: Strict-Transport-Security (RFC 6797), over TLS, unless whoever replies has one.
 */
void https_add_hsts(struct http_request *request);

/* -- linger.c ---------------------------------------------------------------------------------- */

/* Between h2o_start_response() and the first h2o_send(), HTTP/1: the connection closes only when
 * the client has seen the reply. */
void linger_after_reply(h2o_req_t *req);

/* -- gzip.c ------------------------------------------------------------------------------------ */

/* A reply of unknown length begins: it is compressed if it should be and not too many are. */
void gzip_begin(struct http_request *request, const char *type);
/* A body that http_reply() is given whole, and nobody compressed: it is, if it should be. */
void gzip_whole(struct http_request *request, const char *type, struct out *body);
/* A reply that may be compressed on its way, all of its headers there: if it is, they say so. The
 * length that it has then. */
size_t gzip_judge(struct http_request *request, int status, size_t length);
/* Between h2o_start_response() and the first h2o_send(), when it is. */
void gzip_attach(struct http_request *request);
/* Of request->gzip: the next bytes, flushed; *coded_r stays until the next call. */
size_t gzip_next(struct http_request *request, h2o_iovec_t *bytes, h2o_send_state_t state,
                 h2o_iovec_t **coded_r);

/* -- reply.c ----------------------------------------------------------------------------------- */

/* The head of any reply: adds Server unless it is there, and X-Request-Id. */
void reply_start(struct http_request *request, int status, size_t length,
                 h2o_generator_t *generator);

/* -- body.c ------------------------------------------------------------------------------------ */

/* HTTP/1: makes request->body of what the head says. */
void body_announced(struct http_request *request);
/* A reply begins: nobody reads the body any more. Decides whether the connection can live on. True:
 * it can't, and the client may still be sending. */
bool body_reply(struct http_request *request);
/* The request is over: where it ends in sock->input, and what is still to come of it. */
size_t body_input_end(const struct http_request *request, uint64_t *to_come_r);
void body_dispose(struct http_request *request);

/* -- body_readers.c ---------------------------------------------------------------------------- */

/* Runs `then` once the body was taken and thrown away, or answers why it can't be. */
void body_discard(struct http_request *request, void (*then)(struct http_request *request));

/* -- http2.c, http2_frames.c, http2_body.c ----------------------------------------------------- */

/* Before h2o has read anything of the connection: its frames pass through here from now on. Once is
 * enough. */
void http2_read_frames(struct http_conn *conn, h2o_conn_t *h2o);
/* A request is over. */
void http2_answered(struct http_conn *conn);
/* The fields of a head are parsed, and h2o has not acted on them yet: takes over its body, when one
 * follows. announced: Content-Length, SIZE_MAX = unknown. */
void http2_body_open(h2o_req_t *req, size_t announced);
/* Before the route is run. False: there is no memory for a body that it reads, 503 was answered. */
bool http2_body_admit(struct http_request *request);
/* The connection is gone. */
void http2_closed(struct http_conn *conn);
/* HTTP/2's side of http_body_length(), http_body_read() and http_body_resume(). */
uint64_t http2_body_length(const struct http_request *request);
void http2_body_read(struct http_request *request, struct http_body_reader *reader, uint64_t max);
void http2_body_resume(struct http_request *request);
/* Bytes of memory that all bodies of the process may take at the moment. */
uint64_t http2_bodies_reserved(void);

/* -- http2_abuse.c ----------------------------------------------------------------------------- */

/* Counts a connection that is closed for it, and tells the log. */
void http_abuse(struct http_conn *conn, enum abuse kind);

/* -- request.c, forwarded.c -------------------------------------------------------------------- */

/* `dispose` runs with the request when its pool goes. */
struct http_request *request_create(struct http_conn *conn, h2o_req_t *req,
                                    void (*dispose)(void *request));
bool request_id_valid(struct str id);
bool host_valid(struct str host);
/* Takes the target apart and refuses what no route may see. 0 or 400, 414, 431. */
int request_check(struct http_request *request, const char **reason_r);
/* All lines of a field as one list (RFC 9110 section 5.3); {NULL, 0} without any. */
struct str field_combined(const struct http_request *request, struct str name,
                          const char *separator);
/* Address of the client: the peer's, or what trusted proxies say. */
struct str forwarded_client(const struct http_request *request);
/* "http" or "https", and the host, that the client asked for: the peer's, or what trusted proxies
 * say of it. */
struct str forwarded_proto(const struct http_request *request);
struct str forwarded_host(const struct http_request *request);
/* q-values of an Accept header: whether JSON is asked for rather than HTML. */
bool accept_prefers_json(struct str accept);

/* -- trace.c ----------------------------------------------------------------------------------- */

/* When it has come, with its headers; and when it is over. */
void trace_begin(struct http_request *request);
void trace_end(const struct http_request *request, const struct access_record *record);

/* -- send_file.c ------------------------------------------------------------------------------- */

/* Memory for files on their way, kept for the next one. */
struct chunks *chunks_create(void);
void chunks_destroy(struct chunks **chunks);

/* -- decode.c ---------------------------------------------------------------------------------- */

/* Percent-decodes into the pool (text itself when there is nothing to decode). False: a malformed
 * escape. */
bool percent_decode(h2o_mem_pool_t *pool, struct str text, struct str *decoded_r);
/* As browsers do for forms: '+' is a blank, malformed escapes stand for themselves, what is not
 * UTF-8 becomes U+FFFD. */
struct str form_decode(h2o_mem_pool_t *pool, struct str text);

/* -- problem.c, admin.c ------------------------------------------------------------------------ */

bool problem_init(struct http_server *server, struct diag *diag);
void problem_reply_status(struct http_request *request, int status, const char *detail);
/* "GET, HEAD, OPTIONS", into a buffer of at least 64 bytes. */
const char *methods_print(unsigned methods, char *text_r);
void admin_init(struct http_server *server, struct diag *diag);

#endif
