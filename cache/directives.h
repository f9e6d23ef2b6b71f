/* Cache-Control taken apart, RFC 9111 section 5.2: for requests and answers alike. */
#ifndef GW_CACHE_DIRECTIVES_H
#define GW_CACHE_DIRECTIVES_H

#include "cache/rules.h"

/* A number of seconds that a directive or Age gives; more than this is this (section 1.2.2). */
enum { MAX_SECONDS = 0x7fffffff };

struct directives {
    bool is_there; /* a Cache-Control is */
    bool no_store, no_cache, is_private, is_public, must_revalidate, proxy_revalidate,
        must_understand, only_if_cached, max_stale_any;
    /* In seconds; -1 = absent. Given twice or malformed: the least, 0 (section 4.2.1). */
    int64_t max_age, s_maxage, min_fresh, max_stale, stale_while_revalidate, stale_if_error;
    bool differ; /* one was given twice, with another value */
};
void directives_read(const struct up_header *headers, size_t count, struct directives *d);

/* delta-seconds (section 1.2.2), capped at MAX_SECONDS. False: it isn't one. */
bool directives_seconds(struct str text, int64_t *seconds_r);

#endif
