/* What an HTTP/2 client may cost beyond the requests that it gets answered. Pure: the clock and the
 * counts of bytes are handed in.
 *
 * Each kind of frame that makes work and brings nothing is counted over a while. So many are free,
 * more than browsers, proxies and libraries send; what goes beyond must be paid for, by requests
 * that were answered or bytes that the client took, so that who uses a connection a lot may do more
 * of it. Who is over the limit loses the connection. */
#ifndef GW_HTTP2_ABUSE_H
#define GW_HTTP2_ABUSE_H

#include "base/base.h"

enum abuse {
    /* counted over a while, by abuse_spend() */
    ABUSE_RESETS,   /* requests that were called off before their answer's end, by either side */
    ABUSE_REFUSED,  /* heads that are malformed, or of more streams than are allowed */
    ABUSE_SETTINGS, /* each must be acknowledged */
    ABUSE_PINGS,    /* each must be answered */
    ABUSE_PRIORITY, /* each may rearrange a tree */
    ABUSE_WINDOWS,  /* WINDOW_UPDATE, to have answers sent in tiny pieces */
    ABUSE_TINY,     /* DATA with next to nothing in it */
    ABUSE_STRAY,    /* of no known type, to streams that are gone, acknowledging nothing */
    ABUSE_COUNTED,
    /* one is too many */
    ABUSE_HEAD = ABUSE_COUNTED, /* a head of too many frames or bytes */
    ABUSE_SLOW,                 /* a head, or a frame, that takes too long */
    ABUSE_UNREAD,               /* replies to frames pile up, because nobody reads them */
    ABUSE_STALLED,              /* an answer that isn't taken; under HTTP/1, too */
    ABUSE_KINDS
};

enum {
    ABUSE_WINDOW_MS = 10000,
    ABUSE_TINY_BYTES = 64,  /* DATA below it, but for a body's last */
    ABUSE_HEAD_FRAMES = 32, /* 32 KiB of fields need three */
    ABUSE_UNREAD_MAX = 200  /* replies */
};

/* Of a connection; begins zeroed. */
struct abuse_budget {
    uint64_t began_ms;                /* this window; 0 = none yet */
    uint64_t sent, sent_last;         /* bytes, when this one began, and the one before */
    uint32_t answered, answered_last; /* in this one, and the one before */
    uint32_t spent[ABUSE_COUNTED];
};

/* Counts one; false: it was one too many. sent: bytes of answers that the client's windows have let
 * through since the connection began. */
bool abuse_spend(struct abuse_budget *budget, enum abuse kind, uint64_t now_ms, uint64_t sent);

/* "resets" */
const char *abuse_name(enum abuse kind);

#endif
