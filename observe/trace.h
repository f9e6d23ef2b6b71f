/* Traces: which request a call belongs to, told to upstreams and to a collector.
 *
 * The context is W3C Trace Context (Recommendation of 2021): `traceparent` comes in with a request
 * and goes out with every attempt to ask an upstream, each time with the id of another span. What
 * is malformed is as if it weren't there: the trace begins here.
 *
 * A span is written as JSON in the moment in which it ends, into a batch of its loop, and is
 * forgotten; so nothing of a trace is kept while a request runs but its ids. Batches go out as
 * OTLP/HTTP (opentelemetry-proto 1.x, JSON encoding) by a function that whoever puts the program
 * together hands in. While one is on its way the next one fills; what has no room, or isn't taken,
 * is counted in gw_trace_spans_total and gone. Nothing waits for a collector.
 *
 * Everything here is a loop's own and runs on its thread. On a thread without traces, and while
 * they are off, nothing is written and trace_arrive() says no. */
#ifndef GW_OBSERVE_TRACE_H
#define GW_OBSERVE_TRACE_H

#include "base/buf.h"
#include "base/loop.h"
#include "observe/observe.h"

/* -- the context: pure ------------------------------------------------------------------------- */

enum {
    TRACE_ID_TEXT = 32,
    TRACE_PARENT_TEXT = 55,        /* "00-" 32 "-" 16 "-" 2 */
    TRACE_STATE_MAX = 512,         /* bytes of tracestate that are handed on; the specification's */
    TRACE_STATE_MEMBERS_MAX = 32,  /* least */
    TRACE_BAGGAGE_MAX = 8192,      /* W3C Baggage section 3.3.2 */
    TRACE_BAGGAGE_MEMBERS_MAX = 64 /* ditto */
};

/* A place in a trace that something may happen below. */
struct trace_link {
    uint64_t trace[2]; /* the trace's id; both 0: there is none */
    uint64_t span;     /* whose child what happens here is; 0 = nobody's */
    bool sampled;      /* spans are written */
    bool told;         /* upstreams are sent a traceparent */
};

static inline bool trace_is(const struct trace_link *link)
{
    return (link->trace[0] | link->trace[1]) != 0;
}

/* A traceparent of version 00, or a later one as far as 00 goes (section 3.2). False: malformed. */
bool trace_parent_read(struct str text, struct trace_link *link_r);
/* TRACE_PARENT_TEXT bytes, with link->span as the parent's id; one past them. */
char *trace_parent_put(char *at, const struct trace_link *link);
/* TRACE_ID_TEXT bytes. */
char *trace_id_put(char *at, const struct trace_link *link);
/* Whether all lines of tracestate together (joined by commas) are a list that may be handed on:
 * section 3.3. */
bool trace_state_valid(struct str text);
/* The same for baggage (W3C Baggage section 3.3), which upstreams read, not we. */
bool trace_baggage_valid(struct str text);

/* -- spans ------------------------------------------------------------------------------------- */

enum trace_kind { TRACE_INTERNAL = 1, TRACE_SERVER = 2, TRACE_CLIENT = 3 }; /* OTLP's numbers */

struct trace_attribute {
    const char *key;
    struct str text; /* cut at 2 KiB; {NULL, 0}: `number` is meant */
    int64_t number;
};

struct trace_span {
    struct trace_link link; /* where it belongs */
    uint64_t id;
    bool has_remote_parent; /* link.span is the client's */
    enum trace_kind kind;
    struct str name;
    uint64_t begin_us, end_us;                /* clock_us() */
    const struct trace_attribute *attributes; /* with an empty text: left out */
    size_t attribute_count;
    struct str error;   /* error.type, and the status; "" = none */
    struct str message; /* of the status; "" = none */
};

/* Nothing unless link.sampled. */
void trace_write(const struct trace_span *span);
/* A span without attributes but one (NULL = none), as a child of link->span. */
void trace_write_inner(const struct trace_link *link, struct str name, uint64_t begin_us,
                       uint64_t end_us, const struct trace_attribute *attribute, struct str error);
/* Any id but 0. */
uint64_t trace_new_span(void);
/* The place below the part of that index, whose span trace_write_request() will write. */
struct trace_link trace_of_part(const struct trace_link *link, size_t part);

/* A URL's query as it may be written down: values that OpenTelemetry's conventions name as secret,
 * and those of signed links, become REDACTED. Into `room` bytes at `to`; cut there. */
struct str trace_redact(char *to, size_t room, struct str query);

/* What became of a request, with a span for each of its parts. */
struct trace_request {
    struct trace_link link; /* of its own span */
    uint64_t parent;        /* the client's span; 0 = none */
    uint64_t began_us, ended_us;
    uint64_t parts_us;  /* from when on parts count; 0 = began_us */
    struct str pattern; /* of its route; "" = none */
    struct str peer;    /* address whose connection it is */
    const struct access_record *record;
};
void trace_write_request(const struct trace_request *request);

/* -- a loop's traces --------------------------------------------------------------------------- */

/* What one configuration says. Immutable while it is used. */
struct trace_settings {
    bool parent_based;     /* a trusted client's decision counts */
    bool context, baggage; /* are handed on */
    uint64_t threshold;    /* of 2^53 traces so many are sampled */
    struct str head;       /* what stands before a batch's spans; trace_head() */
};

/* Attributes are name, value in turns (count: of strings): "service.name" and its like. The JSON
 * that stands before spans. */
void trace_head(struct buf *to, const struct str *attributes, size_t count, struct str version);
#define TRACE_TAIL "]}]}]}" /* and what stands behind them */

/* The batch goes out as it stands; it stays until traces_sent(). False: not now. */
typedef bool trace_send_fn(void *arg, struct str batch);

struct traces;
/* This thread's from here on. */
struct traces *traces_create(struct loop *loop);
void traces_destroy(struct traces **traces);
/* From now on; settings: NULL = off. send: NULL = spans aren't written, the context goes on. */
void traces_serve(struct traces *traces, const struct trace_settings *settings, trace_send_fn *send,
                  void *arg);
enum trace_end {
    TRACE_TAKEN,
    TRACE_LOST,  /* the collector is away, or refused it */
    TRACE_UNSENT /* whoever sent it is gone: somebody else may do so */
};
/* rejected: spans of a batch that was taken. */
void traces_sent(struct traces *traces, enum trace_end end, uint64_t rejected);
/* Sends what there is, without waiting for more. False: there is nothing, and nothing on its way.
 */
bool traces_flush(struct traces *traces);

/* A request comes, with the value of its traceparent ({NULL, 0} = none or several). False: traces
 * are off. link_r: of the request's own span. parent_r: the client's, 0 = none. */
bool trace_arrive(struct str parent, bool trusted, struct trace_link *link_r, uint64_t *parent_r);
/* Whether baggage is handed on; not while traces are off. */
bool trace_hands_on_baggage(void);

#endif
