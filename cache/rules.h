/* RFC 9111's rules for a cache that many users share, and RFC 5861's for stale answers: what may be
 * kept, for whom, for how long. Pure: fields and the clock are handed in, nothing is allocated but
 * where a pool is given. Times are milliseconds, clocks milliseconds since 1970. */
#ifndef GW_CACHE_RULES_H
#define GW_CACHE_RULES_H

#include <h2o/memory.h>
#include "base/base.h"
#include "upstreams/upstreams.h"

enum { CACHE_MAX_VARY = 16 }; /* names; an answer that varies by more isn't kept */

/* What the configuration says where an upstream says nothing. */
struct cache_policy {
    uint64_t ttl_ms;          /* of a 200 and what else may be kept without a word (RFC 9110 section
                                 15.1); 0 = isn't kept */
    uint64_t negative_ttl_ms; /* of 404, 405, 410, 414, 501; 0 = aren't kept */
    uint64_t stale_while_revalidate_ms; /* where the answer itself says nothing; not of a 5xx */
    uint64_t stale_if_error_ms;
    bool heuristic;      /* section 4.2.2: a tenth of the time since Last-Modified, at most a day;
                            where ttl_ms is 0, and never of a negative answer */
    bool obeys_requests; /* the client's Cache-Control and Pragma count (routes), not for parts */
};

/* What counts of a request: of the one that goes upstream, so that what isn't forwarded doesn't. */
struct rules_request {
    bool is_get, is_head, is_safe; /* by its method (RFC 9110 section 9.2.1) */
    bool has_credentials;          /* Authorization or Cookie; or up_request.is_personal, which is
                                      the caller's to add */
    bool has_range, has_condition; /* Range; If-None-Match, If-Modified-Since and the like */
    bool no_store, no_cache, only_if_cached;
    bool has_max_age, has_min_fresh, has_max_stale;
    uint64_t max_age_ms, min_fresh_ms, max_stale_ms; /* max-stale without a value: UINT64_MAX */
};
/* method: NULL = GET. Malformed directives are read as the strict side has it (section 4.2.1):
 * a max-age that can't be read is 0. Directives stay unset unless the policy obeys requests. */
void rules_read_request(const struct cache_policy *policy, const char *method,
                        const struct up_header *headers, size_t count,
                        struct rules_request *request_r);

/* What an answer says of itself. Strings point into its headers.
 *
 * Cookie counts as Authorization does (section 3.5), which is stricter than the RFC: it is how most
 * sites say who asks, and many of their answers name neither Vary nor private. No configured
 * lifetime changes that, only the answer's own word. */
struct rules {
    bool may_store;  /* section 3, by request, status, directives, Vary, Set-Cookie, and only
                        with a lifetime, a validator or a stale time to make use of it */
    bool may_share;  /* who asked for the same at the same time may have it, whether it is kept or
                        not: it isn't private, no-store, no-cache or part of something, nor does it
                        vary by all; whether they agree in what it does vary by is the caller's */
    bool is_public;  /* it leaves sharing to us though credentials took part: public, s-maxage or
                        must-revalidate */
    bool is_private; /* `private`, Set-Cookie, or credentials without a leave to share */
    bool no_store;   /* said so */
    bool no_cache;   /* only after a validation */
    bool must_revalidate; /* never stale: must-revalidate, proxy-revalidate, s-maxage; its stale
                             times are 0 then, as they are with no-cache */
    bool varies_by_all;   /* Vary: * */
    bool is_explicit;     /* the upstream said how long, not our policy or a guess */
    uint64_t received_ms; /* when */
    uint64_t age_ms;      /* that it had then: corrected_initial_age, section 4.2.3 */
    uint64_t lifetime_ms; /* section 4.2.1; 0 = stale from the start */
    uint64_t stale_while_revalidate_ms, stale_if_error_ms; /* past the lifetime */
    struct str etag, last_modified;                        /* validators; {NULL, 0} = none */
    const char *warning; /* constant: what is odd about it ("Vary: *", a date in the future, two
                            max-ages that differ); NULL = nothing. For one line in the log */
};
/* requested_ms, received_ms: when the request went out and the head came in. For a 304 that
 * validates: the stored status, the merged headers, and when the 304 was asked for and came. */
void rules_read_answer(const struct cache_policy *policy, const struct rules_request *request,
                       int status, const struct up_header *headers, size_t count,
                       uint64_t requested_ms, uint64_t received_ms, struct rules *rules_r);

/* Section 4.2.3's current_age, and what is left of the lifetime (negative: past it). */
uint64_t rules_age(const struct rules *rules, uint64_t now_ms);
int64_t rules_ttl(const struct rules *rules, uint64_t now_ms);

enum rules_use {
    USE_FRESH,          /* as it is; rules_ttl() < 0: the request's max-stale takes it stale */
    USE_MEANWHILE,      /* as it is, stale, while it is asked for anew (stale-while-revalidate) */
    USE_VALIDATED,      /* after a validation, or an answer that takes its place */
    USE_ANOTHER,        /* not for this request at all: ask as if there were none */
    USE_GATEWAY_TIMEOUT /* only-if-cached, and it can't be used: 504 */
};
/* HEAD may be answered by what a GET stored. */
enum rules_use rules_use(const struct rules *rules, const struct rules_request *request,
                         uint64_t now_ms);
/* Whether it may stand in where asking failed, or came to a 500, 502, 503 or 504: while it is fresh
 * (it was asked for anew only because the client wanted that), and for stale_if_error_ms after. */
bool rules_use_on_error(const struct rules *rules, uint64_t now_ms);

/* Vary, section 4.1. names_r: lower case, sorted, without doubles, borrowed from the pool. False:
 * `*`, malformed, or more than CACHE_MAX_VARY. */
bool rules_vary(const struct up_header *headers, size_t count, h2o_mem_pool_t *pool,
                struct str names_r[CACHE_MAX_VARY], size_t *count_r);
/* All lines of a field as one, blanks around commas taken out, as section 4.1 lets them be
 * compared; {NULL, 0} = absent. */
struct str rules_field(const struct up_header *headers, size_t count, struct str name,
                       h2o_mem_pool_t *pool);

/* The conditions that ask whether a stored answer still holds: If-None-Match, If-Modified-Since.
 * The number of headers, 0 = it can't be asked. Borrowed from rules. */
size_t rules_conditions(const struct rules *rules, struct up_header conditions_r[2]);
/* Whether a 304 is about the answer with these rules (section 4.3.4). One without a validator is:
 * only the conditions of this one answer were sent. Tags of which one is weak are compared weakly.
 */
bool rules_validates(const struct rules *stored, const struct up_header *headers, size_t count);
/* Section 3.2: the stored headers with those of the 304 over them, but for what describes the
 * stored body (Content-Length, -Encoding, -Range, -Type) and what belongs to the connection. Age
 * and Date are always the 304's, be there none. In the pool, strings borrowed. */
void rules_merge(const struct up_header *stored, size_t stored_count, const struct up_header *fresh,
                 size_t fresh_count, h2o_mem_pool_t *pool, struct up_header **headers_r,
                 size_t *count_r);
/* Section 4.4: this answer to an unsafe method makes what is stored for its URL invalid. */
bool rules_invalidates(const struct rules_request *request, int status);

/* Whether a header belongs to the connection, or to one hop only, and is never kept nor passed on
 * (RFC 9110 section 7.6.1); connection: the Connection field's value, "" = none. It
 * can't take away what is meant for all on the way, as Cache-Control. */
bool rules_is_hop_by_hop(struct str name, struct str connection);

/* A date in any of RFC 9110 section 5.6.7's three forms, blanks around it or not; before 1970: 0.
 * False: it isn't one. */
bool rules_date(struct str text, uint64_t now_ms, uint64_t *ms_r);

#endif
