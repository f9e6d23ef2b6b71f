/* upstreams/: one call to one upstream.
 *
 * `struct upstreams` is what the configuration says, prepared once and shared by all threads: URLs
 * taken apart, the names' addresses, the slots (max_inflight, counted in the whole process).
 * `struct up_client` is a loop's own: a curl multi, pooled easy handles, kept-alive connections,
 * timers.
 *
 * A call is one attempt, or several: those that failed are made again, those that let themselves
 * wait get a second one beside them, within what the upstream's breaker, budgets and the deadline
 * allow. An attempt goes breaker -> queue -> name -> address -> connect -> TLS -> request ->
 * answer. A call ends exactly once, with the outcome of its best attempt.
 *
 * Everything about a call runs on the loop of its client, and its callback is never run from inside
 * up_call_start(). */
#ifndef GW_UPSTREAMS_H
#define GW_UPSTREAMS_H

#include "base/buf.h"
#include "base/out.h"
#include "base/diag.h"
#include "base/loop.h"
#include "base/offload.h"
#include "config/config.h"
#include "observe/observe.h"
#include "observe/trace.h"

struct upstreams;
struct upstream;
struct up_client;
struct up_call;

/* Checks each URL and TLS file (errors with config_pos) and prepares. Needs no network: names are
 * first looked up when up_client_create() runs. `config` must outlive it. */
struct upstreams *upstreams_create(const struct config *config, struct diag *diag);
void upstreams_destroy(struct upstreams **ups);
struct upstream *upstream_find(struct upstreams *ups, struct str name);
/* That of [traces] endpoint; NULL = there is none. */
struct upstream *upstream_collector(struct upstreams *ups);
/* The same for a name that stands in the configuration, a field of it. NULL: an error was added at
 * its place, or stands in the diag. */
struct upstream *upstream_named(struct upstreams *ups, const struct str *name, struct diag *diag);
const struct config_upstream *upstream_config(const struct upstream *up);
/* The upstream's base URL without a trailing slash, "http://promo:9101/v1"; never credentials. */
struct str upstream_url(const struct upstream *up);
/* NULL, or why calls to it can't carry a header of this name beside those that its settings send,
 * in words that follow the name. What is forwarded from the client is no reason. */
const char *upstream_refuses_header(const struct upstream *up, struct str name);

/* On the loop's thread. `names`: the offload pool that looks names up; it must be stopped before
 * upstreams_destroy(), and after the clients are gone nothing waits for it. */
struct up_client *up_client_create(struct upstreams *ups, struct loop *loop, struct offload *names);
/* Cancels what is under way (callbacks are not run) and closes the connections. Not from a call's
 * callback. Turns the loop when another thread is just handing a call its slot or its address. */
void up_client_destroy(struct up_client **client);

struct up_header {
    struct str name, value; /* left out when there is a CR, LF or NUL in it */
};

/* Whoever takes an answer as it comes and hands the request's body out as it is wanted: a reverse
 * proxy. In memory that lives as long as the call. Its functions run on the loop, never from inside
 * up_call_start(), up_call_resume() or up_call_cancel(); each may cancel the call, but for read().
 * Such a call is tried again or elsewhere only before its head is in and before a byte of its body
 * was read, and is never hedged. Its timeout_ms counts until the head is in, but for the time in
 * which the request's body goes out: then, and from the head on, it is idle_ms.
 * Answers are handed on as they came: nothing is decoded, and beside `headers` only what the
 * upstream's settings set goes out (and Host; no Accept, Accept-Encoding, User-Agent). Of
 * `headers`, those are left out that these settings set too, or that are the connection's
 * (Content-Length, Connection, ...). When the whole answer is in, the call is over: what wasn't
 * sent of the request's body by then isn't sent, and the connection is closed. */
enum { UP_READ_NOTHING_YET = -1, UP_READ_BROKEN = -2 };
struct up_stream {
    /* Once: the final answer's status and headers (no 1xx), as they came and in their order. They
     * stay until the call is released. */
    void (*head)(struct up_stream *stream, int status, const struct up_header *headers,
                 size_t count);
    /* n > 0 bytes of the body, taken as a whole; or false: they come again, and nothing else does,
     * after up_call_resume(). NULL for a HEAD. */
    bool (*body)(struct up_stream *stream, const char *bytes, size_t n);
    /* Puts at most `room` bytes of the request's body at `to`; their number, 0 = that was all, or
     * UP_READ_NOTHING_YET (then up_call_resume() when there are some), UP_READ_BROKEN (the call
     * fails, http_request_error). NULL = no body. */
    ssize_t (*read)(struct up_stream *stream, char *to, size_t room);
    uint64_t length;  /* of the request's body; UINT64_MAX = unknown: it goes out chunked */
    uint64_t idle_ms; /* without a byte of the answer, or of the request while it is being sent;
                         time in which this side didn't take or had nothing doesn't count; 0 = any
                         time */
};

struct up_request {
    struct upstream *upstream;
    struct str target;               /* path and query that follow the base URL, begins with '/' or
                                        '?' or is empty; percent-encoded, else the call fails with
                                        http_request_error; borrowed during start */
    const struct up_header *headers; /* beside the upstream's set_headers; borrowed during start */
    size_t header_count;
    struct str host;      /* of a streamed call: instead of the upstream's; {NULL, 0} = none */
    const char *method;   /* static; NULL = GET. HEAD only with a stream; a body of its request
                             isn't sent. A call with a method or a body is made twice only when it
                             is repeatable: when a kept-alive connection ends with the request sent
                             and no answer begun, it fails (connection_terminated), where a GET or
                             HEAD is sent again over another */
    struct str body;      /* {NULL, 0} = none; stays as it is until done() or the cancelling. Its
                             Content-Type is among headers, its length is sent as Content-Length */
    uint64_t timeout_ms;  /* of one attempt; 0 = the upstream's */
    uint64_t deadline_ms; /* on loop_now_ms()'s clock, when the call ends at the latest, as
                             UP_TIMEOUT; 0 = never. Retries that couldn't finish by then aren't
                             made; the upstream's deadline_header says what is left */
    bool repeatable;      /* may be made twice though it isn't a plain GET: retried and hedged */
    bool wants_headers;   /* up_result.headers is filled in */
    bool is_personal;     /* for caches: its headers say who asks, as if Authorization were there */
    struct trace_link trace;  /* where its attempts belong: each sends a traceparent of its own,
                                 and none of `headers` is one. Zeroed = to no trace */
    struct up_stream *stream; /* borrowed until done() or the cancelling; `body` is none then. NULL
                                 = the answer is collected and decoded */
};

/* How a call ended, before anybody judged what came. */
enum up_end {
    UP_ANSWERED, /* a whole HTTP answer, whatever its status */
    UP_TIMEOUT,  /* no (whole) answer in time */
    UP_FAILED,   /* see error */
    UP_SHED,     /* queue full, or queue_timeout passed before a slot was free */
    UP_OPEN      /* the upstream's breaker is open: nothing was asked */
};

struct up_result {
    enum up_end end;
    const char *error; /* RFC 9209 error token ("connection_refused"); NULL when UP_ANSWERED */
    char detail[96];   /* for logs: what curl or the resolver said; "" when nothing */
    int status;        /* 0 = none arrived */
    struct str body;   /* decoded (gzip, deflate); in the call's buffer until up_call_release() */
    struct str content_type;         /* without checks, "" = none; as long as body */
    const struct up_header *headers; /* when wanted, or streamed; as long as body. As they came:
                                        Content-Encoding and Content-Length are the coded body's */
    size_t header_count;
    uint64_t wire_bytes;     /* of the body, as it came */
    unsigned attempts;       /* that got a slot, retries and hedges included; 0 = UP_SHED, UP_OPEN,
                                or the deadline passed in the queue */
    bool hedged;             /* the answer is the second call's */
    bool reused;             /* a kept-alive connection */
    uint32_t retry_in_ms;    /* UP_OPEN: until the breaker tries again; 0 = it is trying */
    struct call_times times; /* since up_call_start() */
};

typedef void up_done_fn(struct up_call *call, const struct up_result *result, void *arg);

/* Starts at the end of the loop's turn, so that what is cancelled in the same turn reaches nobody.
 * Never NULL. `done` runs once, unless cancelled. */
struct up_call *up_call_start(struct up_client *client, const struct up_request *request,
                              up_done_fn *done, void *arg);
/* Before done(): how many attempts it has made so far, as up_result counts them. */
unsigned up_call_attempts(const struct up_call *call);
/* Likewise, how far it has come: what its last attempt is waiting for counts as taking until now.
 */
struct call_times up_call_times(struct up_call *call);
/* Of a streamed call that paused: bytes of the answer can be taken again, or there are some of the
 * request's body. What follows from it happens at the end of the turn. Nothing does when the call
 * isn't paused, or over but not released. */
void up_call_resume(struct up_call *call);
/* At any moment, done or not: ends the call without its callback and releases it. Its connection is
 * closed when the answer wasn't complete. */
void up_call_cancel(struct up_call **call);
/* After done(): gives body and handle back. The result is invalid from here on. */
void up_call_release(struct up_call **call);

/* Calls under way and waiting for a slot right now. Any thread; approximate. */
struct up_stats {
    uint32_t inflight, queued;
};
struct up_stats upstream_stats(const struct upstream *up);

/* All upstreams with addresses, health, breaker, latency and budgets: the JSON of docs/pages.md,
 * "Upstreams, seen". Any thread; approximate. False: it would be larger than `to` takes. */
bool upstreams_write_json(const struct upstreams *ups, struct buf *to);
/* gw_upstream_… and gw_circuit_… for Prometheus. Any thread; approximate. */
void upstreams_write_metrics(const struct upstreams *ups, struct out *out);
/* The members of "checks" in draft-inadarei-api-health-check-06: of each upstream its breaker and
 * its addresses. Any thread; approximate. False: something is worth a warning. */
bool upstreams_write_checks(const struct upstreams *ups, struct out *to);

#endif
