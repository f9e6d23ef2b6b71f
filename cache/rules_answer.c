/* What an answer says of itself: whether it is kept, who may have it, how old it came and how long
 * it is fresh. Where it says two things, or nothing that can be read, the stricter counts. */
#include "cache/rules_private.h"
#include "cache/directives.h"
#include "base/date.h"
#include "base/text.h"

enum {
    DAY_MS = 86400 * 1000,
    FUTURE_MS = 60 * 1000, /* by which clocks may differ before it is worth a word */
};

/* All that is looked at, so that each step is a few words. */
struct answer {
    const struct cache_policy *policy;
    const struct rules_request *request;
    const struct up_header *headers;
    size_t count;
    int status;
    struct directives said;
    bool has_date;
    uint64_t date_ms; /* when it was made; without a Date: when it came (RFC 9110 section 6.6.1) */
    uint64_t requested_ms, received_ms;
    struct rules *rules;
};

static void warn(struct answer *answer, const char *warning)
{
    if (answer->rules->warning == NULL)
        answer->rules->warning = warning;
}

bool rules_date(struct str text, uint64_t now_ms, uint64_t *ms_r)
{
    int64_t date_s;
    if (!date_read(trimmed(text), (int64_t)(now_ms / 1000), &date_s))
        return false;
    *ms_r = date_s > 0 ? (uint64_t)date_s * 1000 : 0;
    return true;
}

static struct str field(const struct answer *answer, struct str name, bool *differs_r)
{
    return rules_line(answer->headers, answer->count, name, differs_r);
}

/* -- statuses ------------------------------------------------------------------------------- */

/* RFC 9110 section 15.1, without 206, which is never kept. */
static bool is_cacheable_unasked(int status)
{
    static const int statuses[] = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501};
    for (size_t i = 0; i < COUNT(statuses); i++)
        if (status == statuses[i])
            return true;
    return false;
}

/* For must-understand (section 5.2.2.3): all of RFC 9110's that may be kept like any other. */
static bool is_understood(int status)
{
    return (status >= 200 && status <= 205) || (status >= 300 && status <= 303) || status == 307 ||
           status == 308 || (status >= 400 && status <= 417 && status != 416) || status == 421 ||
           status == 422 || status == 426 || (status >= 500 && status <= 505);
}

/* -- age and lifetime ----------------------------------------------------------------------- */

static void read_date(struct answer *answer)
{
    bool differs;
    struct str text = field(answer, STR("date"), &differs);
    answer->date_ms = answer->received_ms;
    if (text.p == NULL)
        return;
    answer->has_date = !differs && rules_date(text, answer->received_ms, &answer->date_ms);
    if (!answer->has_date)
        warn(answer, differs ? "two Dates that differ" : "a Date that can't be read");
    else if (answer->date_ms > answer->received_ms + FUTURE_MS)
        warn(answer, "a Date in the future");
}

/* The first member counts, and one that can't be read is as none (section 5.1). */
static uint64_t read_age(struct answer *answer)
{
    uint64_t ms = 0;
    struct str list = field(answer, STR("age"), NULL);
    if (list.p != NULL && !seconds_read(next_item(&list, ','), &ms)) {
        warn(answer, "an Age that can't be read");
        return MAX_SECONDS * 1000; /* section 5.1: such an answer counts as stale */
    }
    return ms;
}

/* Section 4.2.3's corrected_initial_age. A Date is cut to its second: what is left of that second
 * isn't held against an answer, else `max-age=1` would mean next to nothing. Nor is the time that
 * asking took held against a lifetime of our own configuration: it counts from when the answer
 * came, else what is slow would never be kept for a second. */
static uint64_t initial_age(struct answer *answer)
{
    uint64_t made_ms = answer->date_ms + (answer->has_date ? 999 : 0);
    uint64_t apparent_ms = answer->received_ms > made_ms ? answer->received_ms - made_ms : 0;
    uint64_t delay_ms =
        answer->received_ms > answer->requested_ms ? answer->received_ms - answer->requested_ms : 0;
    uint64_t corrected_ms = read_age(answer);
    if (answer->rules->is_explicit)
        corrected_ms += delay_ms;
    else if (apparent_ms <= delay_ms)
        apparent_ms = 0;
    return apparent_ms > corrected_ms ? apparent_ms : corrected_ms;
}

/* What Expires leaves, from the moment in which the answer was made. */
static uint64_t expires_lifetime(struct answer *answer, struct str text)
{
    uint64_t expires_ms, least_ms = UINT64_MAX;
    for (size_t i = 0; i < answer->count; i++) {
        const struct up_header *header = &answer->headers[i];
        if (!str_caseeq(header->name, STR("expires")))
            continue;
        if (!str_eq(header->value, text))
            warn(answer, "two Expires that differ");
        if (!rules_date(header->value, answer->received_ms, &expires_ms))
            return 0; /* "0", "-1" and the like: it is over (section 5.3) */
        least_ms = expires_ms < least_ms ? expires_ms : least_ms;
    }
    uint64_t left_ms = least_ms > answer->date_ms ? least_ms - answer->date_ms : 0;
    return left_ms < MAX_SECONDS * 1000 ? left_ms : MAX_SECONDS * 1000;
}

/* Where the upstream doesn't say how long: what the configuration has for that. */
static uint64_t unsaid_lifetime(const struct answer *answer)
{
    const struct rules *rules = answer->rules;
    bool is_public = directives_allow(&answer->said, PUBLIC);
    uint64_t modified_ms;
    if (rules->no_cache || rules->no_store || rules->is_private)
        return 0;
    if (answer->status >= 400)
        return is_cacheable_unasked(answer->status) ? answer->policy->negative_ttl_ms : 0;
    if (!is_cacheable_unasked(answer->status) && !is_public)
        return 0;
    if (answer->policy->ttl_ms != 0 || !answer->policy->heuristic ||
        rules->last_modified.p == NULL ||
        !rules_date(rules->last_modified, answer->received_ms, &modified_ms))
        return answer->policy->ttl_ms;
    uint64_t since_ms = answer->date_ms > modified_ms ? answer->date_ms - modified_ms : 0;
    return since_ms / 10 < DAY_MS ? since_ms / 10 : DAY_MS;
}

static void read_lifetime(struct answer *answer)
{
    struct rules *rules = answer->rules;
    const struct directives *said = &answer->said;
    struct str expires = field(answer, STR("expires"), NULL);

    rules->is_explicit = true;
    if (directives_have(said, S_MAXAGE))
        rules->lifetime_ms = said->ms[S_MAXAGE];
    else if (directives_have(said, MAX_AGE))
        rules->lifetime_ms = said->ms[MAX_AGE];
    else if (expires.p != NULL)
        rules->lifetime_ms = expires_lifetime(answer, expires);
    else {
        rules->is_explicit = false;
        rules->lifetime_ms = unsaid_lifetime(answer);
    }
    if (said->malformed)
        rules->lifetime_ms = 0; /* it meant to say something */
}

/* RFC 5861. The answer's own word counts before the configuration's, even where it can't be read.
 */
static uint64_t stale_time(const struct answer *answer, enum directive which, uint64_t configured)
{
    if (answer->rules->must_revalidate || answer->rules->no_cache)
        return 0;
    if (directives_have(&answer->said, which))
        return answer->said.malformed ? 0 : answer->said.ms[which];
    return answer->status < 500 ? configured : 0;
}

/* -- who may have it ------------------------------------------------------------------------ */

static void read_leave(struct answer *answer)
{
    struct rules *rules = answer->rules;
    const struct directives *said = &answer->said;
    bool sets_cookie = field(answer, STR("set-cookie"), NULL).p != NULL;
    bool understood = directives_allow(said, MUST_UNDERSTAND) && is_understood(answer->status);

    rules->is_public = directives_allow(said, PUBLIC) || directives_allow(said, S_MAXAGE) ||
                       directives_allow(said, MUST_REVALIDATE);
    rules->is_private = directives_have(said, PRIVATE) || sets_cookie ||
                        (answer->request->has_credentials && !rules->is_public);
    rules->no_store = directives_have(said, NO_STORE) && !understood;
    rules->no_store |= directives_have(said, MUST_UNDERSTAND) && !is_understood(answer->status);
    rules->no_cache =
        directives_have(said, NO_CACHE) || rules_pragma_no_cache(answer->headers, answer->count);
    rules->must_revalidate = directives_have(said, MUST_REVALIDATE) ||
                             directives_have(said, PROXY_REVALIDATE) ||
                             directives_have(said, S_MAXAGE);
    if (said->malformed || said->unreadable != 0)
        warn(answer, "a Cache-Control that can't be read");
    else if (said->differs)
        warn(answer, "a Cache-Control that says two times");
}

static void read_validators(struct answer *answer)
{
    bool differs;
    uint64_t ms;
    struct str etag = field(answer, STR("etag"), &differs);
    if (etag.p != NULL && (differs || !rules_is_etag(etag)))
        warn(answer, "an ETag that is none");
    else
        answer->rules->etag = etag;
    struct str modified = field(answer, STR("last-modified"), &differs);
    if (modified.p != NULL && (differs || !rules_date(modified, answer->received_ms, &ms)))
        warn(answer, "a Last-Modified that can't be read");
    else
        answer->rules->last_modified = modified;
}

/* Section 3, but for what was found to be private or varies too much. */
static bool is_storable(const struct answer *answer)
{
    const struct rules_request *request = answer->request;
    int status = answer->status;
    if (!request->is_get || request->has_range || request->no_store || answer->rules->no_store)
        return false;
    if (status < 200 || status > 599 || status == 206 || status == 304 ||
        (status == 412 && request->has_condition))
        return false;
    return answer->rules->is_explicit || answer->rules->lifetime_ms != 0 ||
           answer->rules->no_cache || directives_allow(&answer->said, PUBLIC);
}

static bool is_of_use(const struct rules *rules)
{
    return rules->etag.p != NULL || rules->last_modified.p != NULL ||
           (!rules->no_cache &&
            (rules->lifetime_ms > rules->age_ms || rules->stale_while_revalidate_ms != 0 ||
             rules->stale_if_error_ms != 0));
}

void rules_read_answer(const struct cache_policy *policy, const struct rules_request *request,
                       int status, const struct up_header *headers, size_t count,
                       uint64_t requested_ms, uint64_t received_ms, struct rules *rules_r)
{
    struct answer answer = {.policy = policy,
                            .request = request,
                            .headers = headers,
                            .count = count,
                            .status = status,
                            .requested_ms = requested_ms,
                            .received_ms = received_ms,
                            .rules = rules_r};
    struct str names[CACHE_MAX_VARY];
    size_t name_count;
    *rules_r = (struct rules){.received_ms = received_ms};

    directives_read(headers, count, &answer.said);
    rules_r->varies_by_all = !rules_vary_names(headers, count, names, &name_count);
    if (rules_r->varies_by_all)
        warn(&answer, "a Vary by everything, or that can't be read");
    read_leave(&answer);
    read_date(&answer);
    read_validators(&answer);
    read_lifetime(&answer);
    rules_r->age_ms = initial_age(&answer);
    rules_r->stale_while_revalidate_ms =
        stale_time(&answer, STALE_WHILE_REVALIDATE, policy->stale_while_revalidate_ms);
    rules_r->stale_if_error_ms = stale_time(&answer, STALE_IF_ERROR, policy->stale_if_error_ms);

    bool for_all = !rules_r->is_private && !rules_r->varies_by_all;
    rules_r->may_store = for_all && is_storable(&answer) && is_of_use(rules_r);
    rules_r->may_share = for_all && (request->is_get || request->is_head) && !rules_r->no_store &&
                         !rules_r->no_cache && !request->has_range && !request->has_condition &&
                         status != 206 && status != 304;
}
