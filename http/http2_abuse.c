/* The limits, and why they are where they are. All are of ten seconds; what was paid for in the ten
 * before still counts, since what it pays for comes later. */
#include "http/http2_abuse.h"

#include "base/log.h"
#include "http/http_internal.h"
#include "observe/metrics.h"

enum { TELL_EVERY_MS = 10000 };

static const struct {
    const char *name;
    uint32_t free;
    uint32_t per_answer; /* request that was answered to its end */
    uint32_t per_kib;    /* of answers that the client took */
} kinds[] = {
    /* A browser calls off all of its 100 requests when its user goes elsewhere, five times here; a
     * proxy in front calls off for many users, and has many answered. 1,000 are what nghttp2 bears
     * at once. */
    [ABUSE_RESETS] = {"resets", 500, 1, 0},
    /* A client that hasn't seen our SETTINGS yet may open what it likes. */
    [ABUSE_REFUSED] = {"refused", 500, 1, 0},
    /* Clients send one, and one more when their windows change. */
    [ABUSE_SETTINGS] = {"settings", 100, 0, 0},
    /* gRPC's libraries measure a line with one a round trip, while bytes come. */
    [ABUSE_PINGS] = {"pings", 500, 1, 1},
    /* Browsers of some years ago rearranged a page's streams as it was scrolled. */
    [ABUSE_PRIORITY] = {"priority", 1000, 10, 0},
    /* Go's client sends two for 4 KiB, others two a frame. */
    [ABUSE_WINDOWS] = {"windows", 2000, 2, 2},
    /* A program that sends its body line by line; 200 a second. */
    [ABUSE_TINY] = {"tiny", 2000, 0, 0},
    /* Acknowledgements, resets and bodies that cross with our end of the stream. */
    [ABUSE_STRAY] = {"stray", 1000, 2, 0},
    [ABUSE_HEAD] = {"head", 0, 0, 0},
    [ABUSE_SLOW] = {"slow", 0, 0, 0},
    [ABUSE_UNREAD] = {"unread", 0, 0, 0},
    [ABUSE_STALLED] = {"stalled", 0, 0, 0},
};

static void next_window(struct abuse_budget *budget, uint64_t now_ms, uint64_t sent)
{
    budget->sent_last = budget->sent;
    budget->sent = sent;
    budget->answered_last = budget->answered;
    budget->answered = 0;
    budget->began_ms = now_ms;
    memset(budget->spent, 0, sizeof(budget->spent));
}

bool abuse_spend(struct abuse_budget *budget, enum abuse kind, uint64_t now_ms, uint64_t sent)
{
    gw_assert(kind < ABUSE_COUNTED);
    if (budget->began_ms == 0 || now_ms - budget->began_ms >= ABUSE_WINDOW_MS)
        next_window(budget, now_ms, sent);
    uint64_t answered = (uint64_t)budget->answered + budget->answered_last;
    uint64_t allowed = kinds[kind].free + kinds[kind].per_answer * answered +
                       kinds[kind].per_kib * ((sent - budget->sent_last) / 1024);
    return ++budget->spent[kind] <= allowed;
}

const char *abuse_name(enum abuse kind)
{
    return kinds[kind].name;
}

/* Who does it once does it again: the log hears of it now and then, the numbers are counted. */
void http_abuse(struct http_conn *conn, enum abuse kind)
{
    struct http_loop *http = conn->http;
    uint64_t now_ms = loop_now_ms(http->loop);
    metric_add(METRIC_ABUSE, 1, &(struct str){kinds[kind].name, strlen(kinds[kind].name)}, 1);
    if (http->abuse_told_ms != 0 && now_ms - http->abuse_told_ms < TELL_EVERY_MS) {
        http->abuse_untold++;
        return;
    }
    log_event(LOG_WARN, "closed a connection for what its client did", "kind=%s peer=%s others=%u",
              kinds[kind].name, conn->peer, http->abuse_untold);
    http->abuse_told_ms = now_ms;
    http->abuse_untold = 0;
}
