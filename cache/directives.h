/* Cache-Control (RFC 9111 section 5.2, RFC 5861), read once for requests and answers. Where it is
 * malformed or says two things, what counts is what keeps and shares less. Private to cache/. */
#ifndef GW_CACHE_DIRECTIVES_H
#define GW_CACHE_DIRECTIVES_H

#include "upstreams/upstreams.h"

enum directive {
    MAX_AGE,
    MAX_STALE,
    MIN_FRESH,
    MUST_REVALIDATE,
    MUST_UNDERSTAND,
    NO_CACHE,
    NO_STORE,
    ONLY_IF_CACHED,
    PRIVATE,
    PROXY_REVALIDATE,
    PUBLIC,
    S_MAXAGE,
    STALE_IF_ERROR,
    STALE_WHILE_REVALIDATE,
    DIRECTIVES
};

struct directives {
    uint32_t present;        /* bits, 1 << enum directive */
    uint32_t unreadable;     /* those of them with an argument that can't be theirs */
    uint64_t ms[DIRECTIVES]; /* of those that take a time; max-stale without one: UINT64_MAX */
    bool differs;            /* the same one came with two times; the stricter is in ms */
    bool malformed;          /* some of it is no list of directives */
};
void directives_read(const struct up_header *headers, size_t count,
                     struct directives *directives_r);

static inline bool directives_have(const struct directives *directives, enum directive which)
{
    return directives->present >> which & 1;
}

/* For what lets us do more: it doesn't count unless it was understood to the last letter. */
static inline bool directives_allow(const struct directives *directives, enum directive which)
{
    return (directives->present & ~directives->unreadable) >> which & 1 && !directives->malformed;
}

/* Whole seconds as milliseconds, at most MAX_SECONDS of them (section 1.2.2). False: it is no such
 * number. */
#define MAX_SECONDS UINT64_C(0x80000000)
bool seconds_read(struct str text, uint64_t *ms_r);

#endif
