/* A loop's traces: which requests are traced, and the two batches that spans are written into.
 *
 *   filling   spans are appended here; it is sent when it is large, or a second after its first
 *   sending   on its way; when that is over, the next may go
 *
 * When the one that fills is at its ceiling before the other is back, spans are dropped. */
#include "observe/trace.h"

#include <stdlib.h>
#include <time.h>
#include "base/random.h"
#include "observe/metrics.h"
#include "observe/trace_internal.h"

enum {
    SEND_AT = 256 * 1024,  /* bytes that make a batch large: some 400 spans */
    CEILING = 1024 * 1024, /* that a batch may have */
    KEPT = 512 * 1024,     /* that stay allocated */
    SEND_AFTER_MS = 1000,
    AGAIN_AFTER_MS = 100, /* when it couldn't be sent */
};

struct batch {
    struct buf text; /* owned; head, spans with commas between them; empty: none */
    uint64_t spans;
};

struct traces {
    struct loop *loop;
    const struct trace_settings *settings; /* borrowed; NULL = off */
    trace_send_fn *send;
    void *arg;
    struct timer timer;
    struct batch filling, sending;
    bool under_way;   /* `sending` is */
    uint64_t unix_us; /* from clock_us() to 1970, as of the batch's first span */
    uint64_t random[2];
};

static _Thread_local struct traces *attached; /* NULL: this thread has none */

/* -- ids --------------------------------------------------------------------------------------- */

static uint64_t random_id(struct traces *traces)
{
    uint64_t id = random_next(traces->random);
    return id != 0 ? id : 1;
}

uint64_t trace_new_span(void)
{
    return attached != NULL ? random_id(attached) : 1;
}

/* Parts' ids follow from the request's, so that nobody has to keep them: splitmix64's mixing, which
 * is one to one. */
struct trace_link trace_of_part(const struct trace_link *link, size_t part)
{
    struct trace_link below = *link;
    uint64_t z = link->span + (part + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    below.span = z != 0 ? z : 1;
    return below;
}

/* -- requests ---------------------------------------------------------------------------------- */

bool trace_arrive(struct str parent, bool trusted, struct trace_link *link_r, uint64_t *parent_r)
{
    struct traces *traces = attached;
    if (traces == NULL || traces->settings == NULL)
        return false;
    const struct trace_settings *settings = traces->settings;
    struct trace_link link = {.span = 0};
    bool decided = false;
    *parent_r = 0;
    if (settings->context && parent.p != NULL && trace_parent_read(parent, &link)) {
        decided = trusted && settings->parent_based;
        *parent_r = link.span;
    } else {
        link.trace[0] = random_id(traces);
        link.trace[1] = random_id(traces);
    }
    link.span = random_id(traces);
    link.told = settings->context;
    if (!decided)
        link.sampled = random_next(traces->random) >> 11 < settings->threshold;
    *link_r = link;
    return true;
}

bool trace_hands_on_baggage(void)
{
    return attached != NULL && attached->settings != NULL && attached->settings->baggage;
}

/* -- batches ----------------------------------------------------------------------------------- */

static void count(const char *outcome, uint64_t spans)
{
    const struct str labels[] = {str_from(outcome)};
    if (spans != 0)
        metric_add(METRIC_SPANS, spans, labels, COUNT(labels));
}

static void batch_clear(struct batch *batch)
{
    if (batch->text.capacity > KEPT) {
        buf_fini(&batch->text);
        buf_init(&batch->text, CEILING);
    }
    buf_clear(&batch->text);
    batch->spans = 0;
}

/* `sending` has a batch: it goes out, or is tried again in a while. */
static void start(struct traces *traces)
{
    traces->under_way =
        traces->send != NULL && traces->send(traces->arg, buf_str(&traces->sending.text));
    if (!traces->under_way)
        timer_start(traces->loop, &traces->timer, AGAIN_AFTER_MS);
}

bool traces_flush(struct traces *traces)
{
    if (traces->under_way)
        return true;
    if (traces->sending.spans == 0) {
        struct batch empty = traces->sending;
        if (traces->filling.spans == 0)
            return false;
        traces->sending = traces->filling;
        traces->filling = empty;
        bool fits = buf_append(&traces->sending.text, TRACE_TAIL, strlen(TRACE_TAIL));
        gw_assert(fits);
    }
    start(traces);
    return true;
}

static void on_timer(struct timer *timer)
{
    traces_flush(CONTAINER_OF(timer, struct traces, timer));
}

void traces_sent(struct traces *traces, enum trace_end end, uint64_t rejected)
{
    gw_assert(traces->under_way);
    traces->under_way = false;
    uint64_t spans = traces->sending.spans;
    rejected = rejected < spans ? rejected : spans;
    if (end == TRACE_UNSENT && traces->send != NULL) {
        timer_start(traces->loop, &traces->timer, AGAIN_AFTER_MS);
        return;
    }
    count("rejected", end == TRACE_TAKEN ? rejected : 0);
    count("exported", end == TRACE_TAKEN ? spans - rejected : 0);
    count("failed", end != TRACE_TAKEN ? spans : 0);
    batch_clear(&traces->sending);
    if (traces->filling.spans != 0)
        timer_start(traces->loop, &traces->timer,
                    traces->filling.text.n >= SEND_AT ? 0 : SEND_AFTER_MS);
}

static void begin_batch(struct traces *traces)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    traces->unix_us = now_us - clock_us();
    buf_append(&traces->filling.text, traces->settings->head.p, traces->settings->head.n);
    if (!traces->under_way)
        timer_start(traces->loop, &traces->timer, SEND_AFTER_MS);
}

void trace_write(const struct trace_span *span)
{
    struct traces *traces = attached;
    if (!span->link.sampled || traces == NULL || traces->settings == NULL || traces->send == NULL)
        return;
    struct batch *batch = &traces->filling;
    if (batch->spans == 0)
        begin_batch(traces);
    else
        buf_append(&batch->text, ",", 1);
    size_t before = batch->text.n - (batch->spans != 0);
    /* Room for the tail and the next comma is left. */
    batch->text.max = CEILING - sizeof(TRACE_TAIL);
    bool fits = trace_span_put(&batch->text, span, traces->unix_us);
    batch->text.max = CEILING;
    if (!fits) {
        batch->text.n = batch->spans != 0 ? before : 0;
        count("dropped", 1);
        return;
    }
    batch->spans++;
    if (batch->text.n >= SEND_AT && !traces->under_way && traces->sending.spans == 0)
        timer_start(traces->loop, &traces->timer, 0);
}

void trace_write_inner(const struct trace_link *link, struct str name, uint64_t begin_us,
                       uint64_t end_us, const struct trace_attribute *attribute, struct str error)
{
    const struct trace_span span = {.link = *link,
                                    .id = trace_new_span(),
                                    .kind = TRACE_INTERNAL,
                                    .name = name,
                                    .begin_us = begin_us,
                                    .end_us = end_us,
                                    .attributes = attribute,
                                    .attribute_count = attribute != NULL,
                                    .error = error};
    trace_write(&span);
}

/* -- a loop's ---------------------------------------------------------------------------------- */

struct traces *traces_create(struct loop *loop)
{
    struct traces *traces = calloc(1, sizeof(*traces));
    gw_assert(traces != NULL && attached == NULL);
    traces->loop = loop;
    timer_init(&traces->timer, on_timer);
    buf_init(&traces->filling.text, CEILING);
    buf_init(&traces->sending.text, CEILING);
    random_seed(traces->random);
    attached = traces;
    return traces;
}

void traces_destroy(struct traces **traces_p)
{
    struct traces *traces = *traces_p;
    *traces_p = NULL;
    if (traces == NULL)
        return;
    gw_assert(attached == traces && !traces->under_way);
    attached = NULL;
    timer_stop(traces->loop, &traces->timer);
    count("failed", traces->filling.spans + traces->sending.spans);
    buf_fini(&traces->filling.text);
    buf_fini(&traces->sending.text);
    free(traces);
}

void traces_serve(struct traces *traces, const struct trace_settings *settings, trace_send_fn *send,
                  void *arg)
{
    traces->settings = settings;
    traces->send = settings != NULL ? send : NULL;
    traces->arg = arg;
    if (traces->send != NULL)
        return;
    timer_stop(traces->loop, &traces->timer);
    count("failed", traces->filling.spans);
    batch_clear(&traces->filling);
    if (!traces->under_way) {
        count("failed", traces->sending.spans);
        batch_clear(&traces->sending);
    }
}
