/* Any bytes as traceparent, tracestate, baggage and a query: what is taken holds what it says, and
 * what is written down of a query keeps its secrets. */
#include "base/text.h"
#include "observe/trace.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_parent(struct str text)
{
    struct trace_link link, again;
    char written[TRACE_PARENT_TEXT];
    if (!trace_parent_read(text, &link))
        return;
    gw_assert(trace_is(&link) && link.span != 0 && text.n >= TRACE_PARENT_TEXT);
    gw_assert(trace_parent_put(written, &link) == written + sizeof(written));
    gw_assert(memcmp(written + 3, text.p + 3, 50) == 0);
    gw_assert(trace_parent_read((struct str){written, sizeof(written)}, &again));
    gw_assert(again.trace[0] == link.trace[0] && again.trace[1] == link.trace[1] &&
              again.span == link.span && again.sampled == link.sampled);
}

static void check_lists(struct str text)
{
    size_t commas = 0;
    for (size_t i = 0; i < text.n; i++)
        commas += text.p[i] == ',';
    if (trace_state_valid(text))
        gw_assert(text.n != 0 && text.n <= TRACE_STATE_MAX);
    if (trace_baggage_valid(text))
        gw_assert(text.n <= TRACE_BAGGAGE_MAX && commas <= TRACE_BAGGAGE_MEMBERS_MAX);
    for (size_t i = 0; i < text.n; i++) /* nobody behind can be made to read another line */
        if (text.p[i] == '\n' || text.p[i] == '\r' || text.p[i] == '\0')
            gw_assert(!trace_state_valid(text) && !trace_baggage_valid(text));
}

static void check_query(struct str query)
{
    char *room = malloc(64);
    struct str shown = trace_redact(room, 64, query);
    gw_assert(shown.n < 64);
    for (const char *p = shown.p; shown.n >= 5 && p + 5 <= shown.p + shown.n; p++)
        if ((p == shown.p || p[-1] == '&') && memcmp(p, "sig=", 4) == 0)
            gw_assert(p[4] == 'R');
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size != 0 ? size : 1);
    memcpy(exact, data, size);
    struct str text = {exact, size};
    check_parent(text);
    check_lists(text);
    check_query(text);
    free(exact);
    return 0;
}
