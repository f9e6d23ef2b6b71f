/* observe/: the access log; numbers for Prometheus are in observe/metrics.h. One line a request,
 * with one record a part.
 *
 * Loops format into a ring of their own; a writer thread takes the bytes out and writes them. A
 * ring that is full drops whole lines and counts them (the writer logs the count); nothing waits.
 *
 * Fields: ts (RFC 3339, UTC: when the line was made, so at the request's end), id, trace_id,
 * client, user, method, path, host, protocol, route, status, bytes, ms (three decimals), flags, ua,
 * then the parts. A field without a value is left out; status, bytes and ms are always there. JSON,
 * one object a line (broken here for the page):
 *
 *     {"ts":"2026-11-22T09:30:00.123Z","id":"7f3c","client":"203.0.113.7","method":"GET",
 *      "path":"/?user=7","host":"shop.example","protocol":"HTTP/2","route":"home","status":200,
 *      "bytes":3412,"ms":800.901,"flags":"UT","ua":"Mozilla/5.0 (X11)","parts":[
 *      {"name":"promo","state":"ok","status":200,"ms":12.345,"bytes":1131,"attempts":1},
 *      {"name":"recco","state":"timeout","ms":800.114,"bytes":0,"attempts":1,
 *       "error":"http_response_timeout"}]}
 *
 * and logfmt, where each part's fields are keys of their own, so that they can be searched for and
 * counted without a parser that knows nesting:
 *
 *     ts=2026-11-22T09:30:00.123Z id=7f3c client=203.0.113.7 method=GET path="/?user=7"
 *     host=shop.example protocol=HTTP/2 route=home status=200 bytes=3412 ms=800.901 flags=UT
 *     ua="Mozilla/5.0 (X11)" part.promo.state=ok part.promo.status=200 part.promo.ms=12.345
 *     part.promo.bytes=1131 part.promo.attempts=1 part.recco.state=timeout part.recco.ms=800.114
 *     part.recco.bytes=0 part.recco.attempts=1 part.recco.error=http_response_timeout
 *
 * Or Apache's and nginx's combined format (access_combined.c), which knows no parts. The log of
 * slow requests has the same fields and after "ts" level=warn msg="slow request", reply_ms (when
 * the reply began), and of each part "begin" (of its call, from the page's start), "earlier" (what
 * calls took that came before the one that decided), and the phases of that one: queue, dns,
 * connect, tls, first_byte, receive; its end is "ms". Phases that took no time are left out.
 *
 * No byte of a client can end a line or begin a field: values are escaped as JSON strings (RFC 8259
 * section 7), in logfmt between quotes when they hold anything but plain ASCII without blank,
 * quote, backslash and '='. Control characters, line separators and bidirectional overrides become
 * \u escapes, bytes that are not UTF-8 become \ufffd. */
#ifndef GW_OBSERVE_H
#define GW_OBSERVE_H

#include "base/base.h"
#include "base/log.h"

/* Microseconds since a call's start at which each phase of the attempt that decided was over; 0 =
 * phase not reached or not needed (a kept-alive connection has no dns, connect, tls). */
struct call_times {
    uint32_t queue, dns, connect, tls, first_byte, total;
};

struct access_part {
    struct str name;
    const char *state; /* "ok", "timeout", … */
    const char *error; /* RFC 9209 token or NULL */
    int status;        /* upstream's; 0 = none */
    uint32_t us;       /* from the page's start to the part's end */
    uint64_t bytes;
    unsigned attempts;
    uint32_t begin_us;       /* from the page's start to the moment in which its inputs were in */
    struct call_times times; /* of the call that decided */
};

/* How long each phase of that call took: queue, dns, connect, tls, wait for the first byte,
 * receive; and what calls took that came before it: those of an `each`, or what a fallback stands
 * in for. */
enum { ACCESS_PHASES = 6 };
uint32_t access_phases(const struct access_part *part, uint32_t lengths_r[ACCESS_PHASES]);

/* Whether a page was sent with all that belongs to it. */
enum page_completed { PAGE_NONE /* it was no page */, PAGE_COMPLETE, PAGE_DEGRADED };

struct access_record {
    struct str id, client, method, path /* with query, as received */, host, protocol, route,
        user_agent, user /* who it was found to be */, referer;
    int status;        /* 499: the client left */
    uint64_t bytes;    /* of the body sent */
    uint64_t us;       /* from the head's arrival to the last byte's hand-over */
    uint64_t reply_us; /* to the reply's first; 0 = not known */
    struct str trace;  /* id of the trace that it belongs to, "" = none */
    const char *flags; /* "NR", "DC", "UT", …: conventions; "" or NULL = none */
    const struct access_part *parts;
    size_t part_count;

    /* for the numbers alone */
    struct str scheme;
    enum page_completed completed;
};

struct access_log;

enum access_format {
    ACCESS_LOGFMT,
    ACCESS_JSON,
    ACCESS_COMBINED,
    ACCESS_SLOW_LOGFMT,
    ACCESS_SLOW_JSON
};

/* to: "stdout", "stderr" (beside log_event()'s lines: one write a line), "off" (returns NULL) or a
 * path (opened for append, 0640). NULL with errno set when the file can't be opened. `loops`: how
 * many rings. */
struct access_log *access_log_open(const char *to, enum access_format format, unsigned loops);
/* After the last access_log_write(). Writes what is left and ends the thread. When that takes more
 * than two seconds (a pipe that nobody reads) it is given up, logged, and the thread left to the
 * process's end. */
void access_log_close(struct access_log **log);

/* Opens the file again by its name, after it was renamed; stdout stays. Lines go on meanwhile, into
 * the one or the other. Any thread, one at a time; log may be NULL. False: errno, and the old file
 * is written on. */
bool access_log_reopen(struct access_log *log);

/* On loop `index`'s thread only. log may be NULL. Values are escaped; each is cut at 2 KiB. */
void access_log_write(struct access_log *log, unsigned index, const struct access_record *record);
/* Lines dropped so far, for want of room or because writing failed. Any thread. */
uint64_t access_log_dropped(const struct access_log *log);

#endif
