/* What the files of upstreams/ share.
 *
 *   upstream.c  what the configuration says, prepared once: URLs, headers, TLS; any thread reads it
 *   slots.c     max_inflight, counted in the whole process, and the queue behind it
 *   names.c     addresses of host names, looked up on offload threads, for all loops at once
 *   addresses.c where an upstream's addresses come from: its configuration, read
 *   endpoints.c what they come to now; which one an attempt gets
 *   checks.c    each of them asked now and then whether it is well
 *   status.c    all of this for people: `GET /upstreams`
 *   metrics.c   and for Prometheus
 *   trace.c     an attempt as a span of a trace
 *   client.c    a loop's curl multis and pools; the turn's work in one task
 *   sockets.c   curl's sockets: which are watched, which are idle, which are held
 *   handle.c    curl's easy handles, one for each attempt in flight
 *   call.c      a call: breaker, attempts, retries and hedging in one table
 *   rules.c     what the configuration says of retries and hedging
 *   request.c   what a call sends
 *   attempt.c   the life of one attempt, step by step
 *   transfer.c  what curl reports of an attempt in flight
 *   fields.c    the header fields of its answer
 *   stream.c    its bodies, handed on as they come
 *   outcome.c   what curl or the system said -> how the call ended, in RFC 9209's words
 *   memory.c    curl's allocations from free lists of the loop
 *
 * Threads: a call belongs to its loop. Other threads touch an attempt of it only while that stands
 * in a waiting room (below), under the room's lock, and hand it back by message. */
#ifndef GW_UPSTREAMS_INTERNAL_H
#define GW_UPSTREAMS_INTERNAL_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <curl/curl.h>
#include <h2o/linklist.h>
#include <openssl/ssl.h>
#include "observe/metrics.h"
#include "upstreams/policy.h"
#include "upstreams/upstreams.h"

struct attempt;
struct lane;

/* What one answer's header section may take, however small the body: curl keeps every line. */
enum { MAX_HEADER_BYTES = 64 * 1024, MAX_HEADER_LINES = 256 };

/* -- memory -------------------------------------------------------------------------------------
 */

/* Once, before anything of curl. */
void memory_setup(void);
/* Frees what this thread keeps for curl. */
void memory_trim(void);

/* -- waiting rooms ------------------------------------------------------------------------------
 *
 * Where attempts of any loop wait for something that the whole process shares: a slot, a name.
 * Whoever lets one out unlinks it under the lock and posts it to its loop, where attempt_admitted()
 * goes on. One that is cancelled meanwhile is either still linked (then it leaves at once) or its
 * message is under way (then its call stays in memory until that arrives). */
struct room {
    pthread_mutex_t lock;
    h2o_linklist_t attempts; /* attempt.waiting, oldest first */
};
void room_init(struct room *room);
void room_fini(struct room *room);
/* Both under the lock. leave: false when it is out already. */
void room_enter(struct room *room, struct attempt *attempt);
bool room_leave(struct attempt *attempt);
void room_let_out(struct attempt *attempt);

/* -- slots --------------------------------------------------------------------------------------
 */

struct slots {
    _Atomic uint32_t inflight;
    _Atomic uint32_t queued; /* changed under room.lock only */
    uint32_t max_inflight, max_queue;
    struct room room;
};
enum slot_answer { SLOT_TAKEN, SLOT_QUEUED, SLOT_REFUSED };
/* A slot that nobody waits for; or false. */
bool slots_take_free(struct slots *slots);
/* SLOT_QUEUED: the attempt stands in the room and comes back through attempt_admitted(). */
enum slot_answer slots_take(struct slots *slots, struct attempt *attempt);
/* Gives a slot back and hands it to whoever waits longest. Any thread. */
void slots_release(struct slots *slots);
/* False: the attempt was let out already, with a slot; its message is under way. */
bool slots_leave(struct slots *slots, struct attempt *attempt);

/* -- names --------------------------------------------------------------------------------------
 */

enum { MAX_IPS = 16 }; /* of one name; more are not used */

struct ip {
    char text[INET6_ADDRSTRLEN + 2]; /* "192.0.2.1", "[2001:db8::1]" */
};

struct name;
struct names;
struct names *names_create(void);
/* No look-up may be under way. */
void names_destroy(struct names **names);
/* The entry for a host, made when there is none. Its user hears of each look-up's end through
 * endpoints_changed(). Before threads start. */
struct name *names_add(struct names *names, const char *host, struct upstream *user);

struct name_state {
    unsigned count; /* addresses, sorted; 0 = none is known */
    bool asking;
    uint64_t ask_at_us; /* when the next look-up is due; UINT64_MAX while asking */
    const char *error;  /* of the last look-up that failed; constant, NULL = none did */
};
/* What is known. Begins a look-up when it is time, unless offload is NULL. Any thread. */
struct name_state name_read(struct name *name, struct offload *offload, uint64_t now_us,
                            struct ip ips_r[MAX_IPS]);

/* -- endpoints ----------------------------------------------------------------------------------
 */

/* One address of an upstream, the same one for all loops. On a cache line of its own: every attempt
 * writes to it. */
struct endpoint {
    _Atomic uint64_t refs; /* private to endpoints.c: attempts, and who else holds it */
    _Atomic bool ejected;  /* nobody has come back to it since */
    struct health_state health;
    uint32_t id;                  /* unlike that of any other, now or before; not 0 */
    char *address;                /* "10.0.0.7:9101", "unix:/path"; in connect_to */
    struct curl_slist connect_to; /* for CURLOPT_CONNECT_TO */
} __attribute__((aligned(64)));

/* Attempts at it under way. */
static inline uint32_t endpoint_inflight(const struct endpoint *endpoint)
{
    return (uint32_t)atomic_load_explicit(&endpoint->refs, memory_order_relaxed);
}
struct endpoint *endpoint_hold(struct endpoint *endpoint);
void endpoint_let_go(struct endpoint **endpoint);

/* Those of an upstream at one time. Immutable, shared. */
struct endpoints {
    _Atomic uint32_t refs;
    uint32_t version; /* from 1; grows with each set that differs from the one before */
    size_t count;     /* not 0 */
    struct listed {
        struct endpoint *endpoint; /* held */
        uint32_t weight;
    } all[];
};
void endpoints_unref(struct endpoints **set);

struct source {
    char *host;        /* owned; as it stands in struct ip, a name, "localhost", or "unix:/path" */
    uint16_t port;     /* 0: of a unix socket */
    uint32_t weight;   /* of each address that it stands for */
    struct name *name; /* borrowed from upstreams.names; NULL when it is an address itself */
};

/* Where an upstream's addresses come from, and what they are now. */
struct directory {
    struct source *sources;
    size_t source_count;
    _Atomic uint32_t version;  /* of `current` */
    _Atomic uint64_t look_us;  /* when a name is to be looked up again */
    struct room room;          /* attempts without an address; its lock guards what follows */
    struct endpoints *current; /* ref; NULL before the first name is known */
};
/* addresses.c: fill in the sources, before threads start. */
void addresses_read(struct upstreams *ups, struct upstream *up, struct diag *diag);
void address_of_url(struct upstreams *ups, struct upstream *up, const char *host, uint16_t port);
/* With its sources, and without them. */
void directory_open(struct directory *directory);
void directory_close(struct directory *directory);
/* After a look-up of one of its names. Any thread. */
void endpoints_changed(struct upstream *up);

enum endpoints_answer { ENDPOINTS_KNOWN, ENDPOINTS_AWAITED, ENDPOINTS_UNKNOWN };
/* Brings *known (a ref, NULL to begin with) up to date, and begins look-ups when what is known is
 * old or nothing. Without a lock when nothing changed.
 * ENDPOINTS_AWAITED: the attempt (unless NULL) stands in the directory's room and comes back
 * through attempt_admitted(). ENDPOINTS_UNKNOWN: *error_r is the reason (constant); nothing is
 * known and it isn't yet time to ask again. */
enum endpoints_answer endpoints_get(struct upstream *up, struct offload *offload, uint64_t now_us,
                                    struct endpoints **known, struct attempt *attempt,
                                    const char **error_r);
/* False: the attempt was let out already; its message is under way. */
bool endpoints_leave(struct upstream *up, struct attempt *attempt);
/* A ref of what is known now, NULL when nothing is. Any thread. */
struct endpoints *endpoints_now(struct upstream *up);

/* Whom a call has tried already. */
struct tried {
    uint32_t ids[12]; /* of endpoints */
    unsigned count;
};
/* The one that the call's next attempt goes to, of lane.endpoints; counted in flight there and
 * noted in `tried`, until endpoint_done(). */
struct endpoint *endpoint_pick(struct lane *lane, struct tried *tried);
void endpoint_done(struct lane *lane, struct endpoint **endpoint, enum breaker_report report);
/* Whether there is a good one that the call hasn't tried. */
bool endpoint_is_left(const struct lane *lane, const struct tried *tried);

/* -- rules --------------------------------------------------------------------------------------
 */

/* Why an attempt gave no answer, as far as trying again goes. */
enum reason { REASON_CONNECT = 1, REASON_RESET = 2, REASON_TIMEOUT = 4 };
enum { FIRST_STATUS = 400, LAST_STATUS = 599 };

struct rules {
    uint8_t reasons;         /* retry.on: enum reason */
    bool hedge_by_p95;       /* hedge.after */
    uint64_t hedge_after_ms; /* likewise; 0 = not by a fixed delay */
    uint64_t statuses[(LAST_STATUS - FIRST_STATUS) / 64 + 1]; /* retry.on: a bit each */
};
void rules_read(struct rules *rules, const struct config *config, const struct config_upstream *up,
                struct diag *diag);
/* Whether what an attempt came to is among what is tried again. */
bool rules_try_again(const struct rules *rules, const struct up_result *result);
/* Which of them: the word, or the status in digits, into `text_r` when that has to be made. */
struct str rules_reason(const struct up_result *result, char text_r[4]);

/* -- upstreams ----------------------------------------------------------------------------------
 */

struct upstream {
    const struct config_upstream *config;
    unsigned index;  /* in upstreams.all and up_client.lanes */
    char *url;       /* as configured, without credentials and final slash: for people */
    CURLU *curl_url; /* scheme://host[:port]/: what curl connects to. Only read: any thread */
    bool is_tls;
    char *socket_path; /* unix socket; or NULL */
    char *server;      /* host of the URL, or the socket's path */
    char server_port[sizeof("65535")];
    char *prefix; /* "" or "/v1": goes before each target */
    size_t prefix_length;
    char *lines; /* "\r\nName: value" for each header that every request has; see request.c */
    size_t lines_length;
    char *stream_lines; /* the same for streamed calls, whose Accept and so on are the client's */
    size_t stream_lines_length;
    size_t host_at, host_length; /* of "\r\nHost: promo:9101" in stream_lines */
    struct directory directory;
    bool is_direct;      /* its one address stands in the URL: curl needn't be told where to go */
    X509_STORE *trusted; /* https: who signs its certificate; ref */
    struct slots slots;
    struct rules rules;
    struct window window;
    struct breaker breaker;
    pthread_mutex_t lanes_lock;
    h2o_linklist_t lanes; /* lane.beside, of all loops */
};

struct upstreams {
    const struct config *config;
    struct upstream *all;
    size_t count;
    struct names *names;
    _Atomic bool checked; /* a client makes the checks */
};

/* -- clients ------------------------------------------------------------------------------------
 */

/* One easy handle with the options of its upstream, used by one attempt after another. */
struct handle {
    CURL *easy;
    bool is_get;             /* else the options of a call with a method or a body are set */
    bool streams;            /* or those of a streamed one */
    struct attempt *attempt; /* who uses it now */
    struct handle *next_idle;
    struct check *check; /* or who else; see checks.c */
    uint32_t endpoint;   /* id of the one that curl was told of last */
    uint32_t version;    /* of the set, when curl was told to forget addresses last */
    bool forgets;        /* curl forgets them at the end of this transfer */
    long buffer_size;
    char error[CURL_ERROR_SIZE];
};

/* What a loop has for one upstream. A multi each: max_idle is then curl's own limit, a search for a
 * free connection meets no other upstream's, and so do the lists that curl walks at each transfer.
 */
struct lane {
    struct up_client *client;
    struct upstream *upstream;
    CURLM *multi;     /* made at the first call */
    CURLSH *sessions; /* https: TLS sessions, so that any handle resumes what another began */
    struct timer timer;
    h2o_linklist_t beside; /* in upstream.lanes, unless it is for checks */
    h2o_linklist_t link;   /* in client.due when curl has work that needs no socket */
    h2o_linklist_t
        ready; /* attempts with slot and addresses that the end of the turn hands to curl */
    h2o_linklist_t stirred;       /* those in flight with which stream.c goes on then */
    struct endpoints *endpoints;  /* ref; NULL before any is known */
    struct candidate *candidates; /* of endpoints, one each; this loop's turns among them */
    uint32_t candidates_of;       /* the version that they were made for */
    struct handle *idle;
    uint32_t idle_count;
    uint32_t busy;              /* handles in the multi */
    uint32_t streaming;         /* of them streamed calls' */
    _Atomic uint32_t transfers; /* in the multi, for others to read */
    _Atomic uint32_t sockets;   /* that are open, likewise */
    struct {                    /* where the last plain GET was counted */
        int status;
        const char *error;
        struct metric_series *series;
    } counted;
    long max_connects;          /* what the multi was told last */
    uint32_t answer_size;       /* bytes that an answer takes lately, headers included */
    struct latency latency;     /* of answers, as this loop saw them */
    uint64_t usual_at_us;       /* when these were read from it: */
    uint32_t median_us, p95_us; /* 0 = too few answers */
};

struct up_client {
    struct upstreams *upstreams;
    struct loop *loop;
    struct offload *names;
    int epoll;
    int ended; /* a socket whose peer is gone; see end_idle() in sockets.c */
    h2o_socket_t *epoll_socket;
    struct watch *watches; /* by descriptor */
    size_t watch_capacity;
    struct task task;       /* the end of the turn */
    h2o_linklist_t started; /* calls, up_call.waiting, that begin then */
    h2o_linklist_t going;   /* attempts, attempt.waiting, that take their next step then */
    h2o_linklist_t due;     /* lanes */
    h2o_linklist_t dropped; /* attempts that were cancelled where curl can't let go of them */
    bool in_stream;         /* a function of a stream runs, called by curl */
    h2o_linklist_t calls;   /* all of them, up_call.all */
    uint32_t chance;        /* state of its random numbers */
    struct up_call *spare;
    size_t spare_bytes; /* capacity of the spare calls' buffers */
    uint32_t gone;      /* attempts in ATTEMPT_GONE */
    bool makes_checks;
    struct checks *checks; /* NULL when there are none to make */
    struct lane lanes[];
};

/* -- handle.c */
struct handle *handle_create(struct lane *lane);
void handle_destroy(struct handle *handle);
/* For this attempt, before the transfer begins; and what only it needed, after its end. */
void handle_prepare(struct handle *handle, struct lane *lane, struct attempt *attempt);
void handle_reset(struct handle *handle, const struct upstream *up);
/* Has its transfers go to that endpoint. */
void handle_direct(struct handle *handle, struct upstream *up, struct endpoint *endpoint);

/* -- sockets.c */
void sockets_open(struct up_client *client);
void sockets_close(struct up_client *client); /* after the multis are gone */
/* curl's CURLMOPT_SOCKETFUNCTION, arg: struct lane; and CURLOPT_CLOSESOCKETFUNCTION, arg: struct
 * up_client, since a connection outlives the handle that opened it. */
int sockets_watch(CURL *easy, curl_socket_t fd, int what, void *lane, void *unused);
int sockets_close_one(void *client, curl_socket_t fd);
/* curl has a new one, for a call. */
void sockets_opened(struct lane *lane, curl_socket_t fd);
/* A streamed call's transfer is over and its connection perhaps back with curl, which doesn't say
 * so of one that was paused to the end. */
void sockets_adopt(struct lane *lane, struct attempt *attempt);

/* -- client.c */
/* Any number; for what needs to be spread in time and not to be secret. */
uint32_t client_chance(struct up_client *client);
void lane_init(struct lane *lane, struct up_client *client, struct upstream *up);
/* Makes its multi, before the first transfer. */
void lane_open(struct lane *lane);
/* No transfer may be left in it. */
void lane_close(struct lane *lane);
/* Has the end of the turn look at the lane. */
void lane_defer(struct lane *lane);
/* Adds the attempt's transfer to the lane's multi; curl does nothing until lane_run(). */
void lane_add(struct lane *lane, struct attempt *attempt);
/* Takes the attempt's handle out of the multi; its connection is closed unless the transfer is
 * over. A handle that didn't fail is kept for the next one. */
void lane_remove(struct lane *lane, struct attempt *attempt, bool failed);
/* Has the end of the turn take it out, where that can't be done now; see up_client.dropped. */
void lane_drop_later(struct attempt *attempt);
/* Has the end of the turn go on with a streamed call's attempt. */
void lane_stir(struct attempt *attempt);

/* -- attempts -----------------------------------------------------------------------------------
 */

enum attempt_step {
    ATTEMPT_IDLE,      /* not begun, or over: its result may be read */
    ATTEMPT_QUEUED,    /* in the slots' room */
    ATTEMPT_ADMITTED,  /* out of it, with a slot; until the end of the turn */
    ATTEMPT_RESOLVING, /* in the name's room */
    ATTEMPT_RESOLVED,  /* out of it; until the end of the turn */
    ATTEMPT_READY,     /* in lane.ready */
    ATTEMPT_IN_FLIGHT, /* curl has it */
    ATTEMPT_GONE       /* cancelled with its message under way; idle when that arrives. Or in flight
                          and in client.dropped, until the end of the turn */
};
enum attempt_refusal {
    REFUSED_NOTHING,
    REFUSED_BODY,
    REFUSED_HEADERS,
    REFUSED_TWICE,
    REFUSED_FIELDS, /* a malformed header line, of a stream */
    REFUSED_CODING, /* a transfer coding that nobody asked for */
    REFUSED_SWITCH, /* another protocol, likewise */
    REFUSED_UPLOAD  /* the request's body broke off, on our side */
};

/* What a streamed call's attempt has come to. */
struct flow {
    bool told;     /* its head */
    bool full;     /* bytes of the answer weren't taken: curl keeps them */
    bool asked;    /* for some of the request's body */
    bool empty;    /* there were none yet: curl waits */
    bool all_read; /* of the request's body */
    enum { NOT_EARLY, EARLY_WHOLE, EARLY_CUT } early; /* the answer is over before its request */
    uint64_t read_bytes;                              /* of the request's body */
    uint64_t sent_bytes;                              /* of it, when that was looked at last */
    uint64_t moved_ms; /* when a byte moved last, or this side let it, on the loop's clock */
    uint64_t told_us;  /* clock_us() */
};

struct attempt {
    enum attempt_step step;
    bool posted; /* let out of a room, the message under way; changed under the room's lock */
    bool has_slot;
    bool is_probe;                /* the breaker waits for its report */
    bool is_hedge;                /* the second beside the first: doesn't queue for a slot */
    bool cut;                     /* by the call's deadline, not its own timeout */
    bool new_connection;          /* curl opened one for this attempt */
    bool malformed;               /* a line of the head is, where lines are wanted */
    bool head_complete;           /* the answer's header section came to its end */
    bool sent;                    /* curl began to send a request that isn't a GET */
    enum attempt_refusal refused; /* why a callback of ours stopped curl */
    struct flow flow;
    uint32_t header_lines, header_bytes; /* of the answer so far */
    struct up_call *call;
    struct lane *lane;         /* the call's */
    struct handle *handle;     /* while in flight */
    struct endpoint *endpoint; /* where it goes, from ready on */
    struct timer timer;        /* queue_timeout, then connect_timeout or the attempt's end */
    uint64_t began_ms;         /* when it had its slot, on the loop's clock */
    uint64_t deadline_ms;   /* of the attempt, likewise; of a streamed one until its head is in */
    uint64_t connect_by_ms; /* when new_connection */
    uint64_t added_us;      /* clock_us() of the handing over to curl; 0 = not yet */
    uint64_t queued_us;     /* of the standing in the queue */
    uint64_t slot_us;       /* of the slot; of a call that is traced */
    uint64_t span;          /* the trace's, that the upstream was told; 0 = it wasn't asked yet */
    unsigned number;        /* of the call's attempts, from 1 */
    h2o_linklist_t waiting; /* in the one list where it waits in this step */
    struct message message;
    uint64_t retry_after_us; /* what the answer's Retry-After says */
    struct buf body;
    struct buf lines;  /* of the answer's head, when they are wanted: name, NUL, value, NUL */
    struct buf fields; /* struct up_header, into lines; made at the end */
    char content_type[96];
    struct up_result result; /* complete but for what is the call's to say */
};

/* Once, in memory that is all zero. */
void attempt_init(struct attempt *attempt, struct up_call *call);
void attempt_fini(struct attempt *attempt); /* its buffers */
/* Begins, with is_probe and is_hedge set; the end is told by call_attempt_over(), maybe from in
 * here. */
void attempt_start(struct attempt *attempt);
/* Ends it in whatever step it is, without telling. */
void attempt_cancel(struct attempt *attempt);
static inline bool attempt_runs(const struct attempt *attempt)
{
    return attempt->step != ATTEMPT_IDLE && attempt->step != ATTEMPT_GONE;
}
/* Of one that runs: how far it has come. */
struct call_times attempt_times(struct attempt *attempt);
void attempt_set_timer(struct attempt *attempt); /* in flight: to when it ends at the latest */
void attempt_drop(struct attempt *attempt);      /* gone while in flight: out of curl */
void attempt_admitted(struct message *message);  /* let out of a room */
void attempt_go(struct attempt *attempt);        /* at the end of the turn: on */
void attempt_ended(struct attempt *attempt, CURLcode code); /* curl is done with it */
/* transfer.c, from curl's callbacks. False: stop the transfer. */
bool attempt_header(struct attempt *attempt, const char *line, size_t n);
/* As curl wants it told: n, or 0 = stop, or CURL_WRITEFUNC_PAUSE. */
size_t attempt_body(struct attempt *attempt, const char *bytes, size_t n);
bool attempt_connects(struct attempt *attempt);
bool attempt_sends(struct attempt *attempt);
/* fields.c: a line of the answer's head, with what ends it; then what they come to, for the result.
 */
void fields_note(struct attempt *attempt, const char *line, size_t n);
void fields_read(struct attempt *attempt);

/* -- stream.c: of a streamed call's attempt in flight. From curl's callbacks: false, or what else
 * curl makes of it, stops the transfer. */
bool stream_head(struct attempt *attempt);
size_t stream_body(struct attempt *attempt, const char *bytes, size_t n);
size_t stream_read(struct attempt *attempt, char *to, size_t room);
/* curl says what it wants of its socket. True: the transfer isn't over whatever that is. */
bool stream_watched(struct attempt *attempt, int fd, int what);
/* What was sent isn't taken any more: whether the answer is all there nevertheless. */
bool stream_is_whole(struct attempt *attempt);
/* At the end of the turn, after lane_stir(). May end the attempt. */
void stream_go_on(struct attempt *attempt);
/* When the attempt ends unless something moves before, on the loop's clock; UINT64_MAX = not. */
uint64_t stream_end_ms(const struct attempt *attempt);
void stream_note_sent(struct attempt *attempt, uint64_t sent); /* bytes of the request's body */

/* -- calls --------------------------------------------------------------------------------------
 */

enum call_step {
    CALL_STARTED, /* in client.started, until the end of the turn */
    CALL_TRYING,  /* one attempt is under way */
    CALL_HEDGED,  /* two are */
    CALL_RESTING, /* none is: the next one waits for its backoff */
    CALL_DONE,    /* done() was called or is being called */
    CALL_GONE     /* cancelled or released; freed when no attempt's message is under way */
};

/* Attempts that go on at the same time share nothing but what is read-only meanwhile: the request,
 * whose deadline header is written just before curl copies it. */
struct up_call {
    enum call_step step;
    bool repeatable;
    bool wants_headers;
    bool once;      /* curl must not send it anew, though a kept-alive connection ended under it */
    bool was_read;  /* some of a streamed call's body: it can't be tried again */
    bool may_hedge; /* it has had no second attempt beside the first */
    bool hedging;   /* it had one, and neither has won yet */
    unsigned made, retries; /* attempts that got a slot; retries that were decided */
    struct lane *lane;
    up_done_fn *done;
    void *arg;
    struct timer timer;   /* the hedge's delay, or the backoff */
    uint64_t timeout_ms;  /* of an attempt */
    uint64_t deadline_ms; /* on the loop's clock; 0 = none */
    uint64_t started_us;  /* clock_us() */
    h2o_linklist_t all;   /* in client.calls */
    h2o_linklist_t waiting;
    struct up_call *next_spare;
    const char *method;       /* NULL = GET without a body */
    struct str upload;        /* the request's body, borrowed */
    struct up_stream *stream; /* borrowed; NULL = the answer is collected */
    struct trace_link trace;  /* zeroed = none */
    size_t trace_at;          /* of traceparent's value in `request`; 0 = none */
    struct buf request;       /* its lines, NUL-terminated; see request.c */
    size_t deadline_at;       /* of the deadline header's value in it; 0 = none */
    struct tried tried;
    struct attempt *best; /* of those that are over */
    struct attempt attempts[2];
};

static inline bool is_head(const struct up_call *call)
{
    return call->method != NULL && strcmp(call->method, "HEAD") == 0;
}
void call_begin(struct up_call *call); /* at the end of the turn in which it was started */
/* From stream.c: as a probe, for whose end everybody else waits, it has said all that it will say
 * before long. */
void call_probe_over(struct attempt *attempt, enum breaker_report verdict);
/* From attempt.c: it has its slot, or is over. */
void call_attempt_began(struct attempt *attempt);
void call_attempt_over(struct attempt *attempt);
/* The message of a cancelled attempt arrived. The call may be gone then. */
void call_attempt_gone(struct attempt *attempt);
void calls_free_spare(struct up_client *client);
/* request.c. False: what is asked for can't be said in HTTP, or is too long. */
bool call_write_request(struct up_call *call, const struct up_request *request);
/* Writes what the attempt has left into the request, before curl copies it; where the upstream
 * wants to know, that is deadline_at isn't 0. */
void call_tell_deadline(const struct attempt *attempt, uint64_t now_ms);
/* Likewise the id of the attempt's span, where trace_at isn't 0. */
void call_tell_trace(struct attempt *attempt);
static inline uint32_t since_start(const struct up_call *call, uint64_t at_us)
{
    return (uint32_t)(at_us - call->started_us);
}

/* upstream.c. Whether the upstream's settings, or the connection, decide on a streamed call's
 * header of this name. */
bool upstream_owns_header(const struct upstream *up, struct str name);
/* request.c. What may stand in a request line, RFC 9112 section 3.2. */
bool is_target(struct str target);

/* -- checks -------------------------------------------------------------------------------------
 */

/* Begins to check what the upstreams want checked; NULL when that is nothing. On the client's loop,
 * and in turns that come after this one. */
struct checks *checks_create(struct up_client *client);
void checks_destroy(struct checks **checks);
void check_ended(struct check *check, CURLcode code); /* curl is done with it */

/* -- metrics.c: what loops count of calls --------------------------------------------------------
 */

/* It got a slot (error: NULL), or gave up; as a span, too. */
void count_queued(const struct attempt *attempt, uint64_t at_us, const char *error);
/* It is over, after it had a slot. error: NULL = that of its result. */
void count_attempt(struct attempt *attempt, const char *error, uint64_t at_us);
void count_retry(const struct upstream *up, const struct up_result *failed);
void count_retry_denied(const struct upstream *up);
void count_hedge(const struct upstream *up, struct str winner);
/* trace.c. The same as spans, when the call is of a trace that is sampled. */
void trace_queued(const struct attempt *attempt, uint64_t at_us, const char *error);
void trace_attempt(const struct attempt *attempt, const char *error, uint64_t at_us);
/* For the loop's own numbers that other threads read. */
static inline void count_here(_Atomic uint32_t *number, int n)
{
    uint32_t before = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, before + (uint32_t)n, memory_order_relaxed);
}

/* -- outcomes ------------------------------------------------------------------------------------
 */

struct outcome {
    enum up_end end;
    const char *error;
};
struct outcome outcome_of(CURLcode code, long os_errno, const char *text);
/* What the end of an attempt says of its upstream, and whether it may be tried again. */
struct meaning {
    uint8_t reason; /* enum reason; 0 = not one that is tried again */
    enum breaker_report report;
};
struct meaning outcome_meaning(const struct up_result *result);
enum unfinished { UNCONNECTED, UNSENT, UNANSWERED };
struct outcome outcome_of_timeout(enum unfinished what);

#endif
