/* What requests and answers say of keeping: RFC 9111 sections 3, 4.2 and 5. */
#include "base/text.h"
#include "cache/directives.h"

static uint64_t ms(int64_t seconds)
{
    return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}

static struct str find(const struct up_header *headers, size_t count, struct str name,
                       size_t *lines_r)
{
    struct str found = {NULL, 0};
    *lines_r = 0;
    for (size_t i = 0; i < count; i++)
        if (str_caseeq(headers[i].name, name) && (*lines_r)++ == 0)
            found = trimmed(headers[i].value);
    return found;
}

static bool has(const struct up_header *headers, size_t count, struct str name)
{
    size_t lines;
    find(headers, count, name, &lines);
    return lines != 0;
}

/* -- requests --------------------------------------------------------------------------------- */

static void read_wishes(const struct up_header *headers, size_t count,
                        struct rules_request *request)
{
    struct directives d;
    directives_read(headers, count, &d);
    size_t lines;
    struct str pragma = find(headers, count, STR("pragma"), &lines);
    request->no_store = d.no_store;
    request->no_cache = d.no_cache || (!d.is_there && str_caseeq(pragma, STR("no-cache")));
    request->only_if_cached = d.only_if_cached;
    request->has_max_age = d.max_age >= 0;
    request->max_age_ms = ms(d.max_age);
    request->has_min_fresh = d.min_fresh >= 0;
    request->min_fresh_ms = ms(d.min_fresh);
    request->has_max_stale = d.max_stale >= 0 || d.max_stale_any;
    request->max_stale_ms = d.max_stale >= 0 ? ms(d.max_stale) : UINT64_MAX;
}

void rules_read_request(const struct cache_policy *policy, const char *method,
                        const struct up_header *headers, size_t count,
                        struct rules_request *request_r)
{
    static const char *const safe[] = {"GET", "HEAD", "OPTIONS", "TRACE"};
    static const struct {
        const char *name;
        size_t length;
    } conditions[] = {{"if-match", 8},
                      {"if-none-match", 13},
                      {"if-modified-since", 17},
                      {"if-unmodified-since", 19},
                      {"if-range", 8}};
    struct str name = method != NULL ? str_from(method) : STR("GET");
    *request_r = (struct rules_request){.is_get = str_eq(name, STR("GET")),
                                        .is_head = str_eq(name, STR("HEAD"))};
    for (size_t i = 0; i < COUNT(safe); i++)
        request_r->is_safe |= str_eq(name, str_from(safe[i]));
    for (size_t i = 0; i < count; i++) {
        struct str field = headers[i].name;
        request_r->has_credentials |=
            str_caseeq(field, STR("authorization")) || str_caseeq(field, STR("cookie"));
        request_r->has_range |= str_caseeq(field, STR("range"));
        for (size_t j = 0; j < COUNT(conditions); j++)
            request_r->has_condition |=
                field.n == conditions[j].length &&
                str_caseeq(field, (struct str){conditions[j].name, conditions[j].length});
    }
    if (policy->obeys_requests)
        read_wishes(headers, count, request_r);
}

/* -- answers ---------------------------------------------------------------------------------- */

/* RFC 9110 section 15.1: what may be kept without a word, but for 206. */
static bool is_heuristic(int status)
{
    static const int statuses[] = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501};
    for (size_t i = 0; i < COUNT(statuses); i++)
        if (statuses[i] == status)
            return true;
    return false;
}

/* Of these we know what they mean for a cache (must-understand, section 5.2.2.3). */
static bool is_understood(int status)
{
    return is_heuristic(status) || status == 302 || status == 303 || status == 307 ||
           status == 400 || status == 401 || status == 403 || status >= 500;
}

struct times {
    uint64_t date_ms; /* of the answer, or when it came */
    bool has_date;
};

/* Section 4.2.3. */
static void read_age(const struct up_header *headers, size_t count, uint64_t requested_ms,
                     uint64_t received_ms, struct times *times_r, struct rules *rules)
{
    size_t lines;
    int64_t seconds = 0;
    struct str age = find(headers, count, STR("age"), &lines);
    struct str first = lines != 0 ? next_item(&age, ',') : age;
    if (lines != 0 && !directives_seconds(first, &seconds)) {
        rules->warning = "an Age that is no number of seconds";
        seconds = 0;
    }
    struct str date = find(headers, count, STR("date"), &lines);
    times_r->has_date = lines != 0 && rules_date(date, received_ms, &times_r->date_ms);
    if (!times_r->has_date)
        times_r->date_ms = received_ms;
    if (lines != 0 && !times_r->has_date)
        rules->warning = "a Date that is none";
    if (times_r->date_ms > received_ms + 60 * 1000)
        rules->warning = "a Date in the future";
    uint64_t apparent = received_ms > times_r->date_ms ? received_ms - times_r->date_ms : 0;
    uint64_t delay = received_ms > requested_ms ? received_ms - requested_ms : 0;
    uint64_t corrected = seconds != 0 ? ms(seconds) + delay : 0;
    /* Date has whole seconds: what is less than one old by it may be new */
    apparent = apparent < 1000 + delay ? 0 : apparent;
    rules->age_ms = corrected > apparent ? corrected : apparent;
}

/* Section 4.2.1. False: the upstream says nothing. */
static bool read_lifetime(const struct directives *d, const struct up_header *headers, size_t count,
                          const struct times *times, struct rules *rules)
{
    size_t lines;
    if (d->s_maxage >= 0 || d->max_age >= 0) {
        rules->lifetime_ms = ms(d->s_maxage >= 0 ? d->s_maxage : d->max_age);
        return true;
    }
    struct str expires = find(headers, count, STR("expires"), &lines);
    uint64_t expires_ms = 0;
    if (lines == 0)
        return false;
    if (lines == 1 && rules_date(expires, rules->received_ms, &expires_ms) &&
        expires_ms > times->date_ms)
        rules->lifetime_ms = expires_ms - times->date_ms;
    if (rules->lifetime_ms > ms(MAX_SECONDS))
        rules->lifetime_ms = ms(MAX_SECONDS);
    return true;
}

static void guess_lifetime(const struct cache_policy *policy, int status, const struct times *times,
                           struct rules *rules)
{
    uint64_t modified_ms;
    if (!is_heuristic(status))
        return;
    rules->lifetime_ms = status < 400 ? policy->ttl_ms : policy->negative_ttl_ms;
    if (rules->lifetime_ms == 0 && policy->heuristic && rules->last_modified.n != 0 &&
        rules_date(rules->last_modified, rules->received_ms, &modified_ms) &&
        modified_ms < times->date_ms)
        rules->lifetime_ms = (times->date_ms - modified_ms) / 10;
}

static void read_stale(const struct cache_policy *policy, const struct directives *d,
                       struct rules *rules)
{
    if (rules->must_revalidate || rules->no_cache)
        return;
    rules->stale_while_revalidate_ms = d->stale_while_revalidate >= 0
                                           ? ms(d->stale_while_revalidate)
                                           : policy->stale_while_revalidate_ms;
    rules->stale_if_error_ms =
        d->stale_if_error >= 0 ? ms(d->stale_if_error) : policy->stale_if_error_ms;
}

/* `*`, what can't be read, and more names than are kept apart. */
static bool varies_by_all(const struct up_header *headers, size_t count)
{
    size_t names = 0;
    for (size_t i = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, STR("vary")))
            continue;
        struct str rest = headers[i].value;
        while (rest.n != 0) {
            struct str item = next_item(&rest, ',');
            if (item.n != 0 && (str_eq(item, STR("*")) || !is_token(item)))
                return true;
            names += item.n != 0;
        }
    }
    return names > CACHE_MAX_VARY;
}

/* Section 3. */
static bool may_store(const struct rules_request *request, const struct directives *d, int status,
                      bool is_said, const struct rules *rules)
{
    bool is_of_use = rules->lifetime_ms != 0 || rules->stale_while_revalidate_ms != 0 ||
                     rules->stale_if_error_ms != 0 || rules->etag.n != 0 ||
                     rules->last_modified.n != 0;
    bool is_final = status >= 200 && status != 206 && status != 304 && status <= 599;
    bool is_kept_by_status = is_heuristic(status) || is_said || d->is_public;
    if (d->must_understand && !is_understood(status))
        return false;
    return request->is_get && !request->has_range && !request->no_store && is_final &&
           is_kept_by_status && rules->may_share && is_of_use &&
           (is_said || rules->lifetime_ms != 0 || d->no_cache || d->is_public);
}

void rules_read_answer(const struct cache_policy *policy, const struct rules_request *request,
                       int status, const struct up_header *headers, size_t count,
                       uint64_t requested_ms, uint64_t received_ms, struct rules *rules_r)
{
    struct rules *rules = rules_r;
    struct directives d;
    struct times times;
    size_t lines;
    *rules = (struct rules){.received_ms = received_ms};
    directives_read(headers, count, &d);
    if (d.must_understand && is_understood(status))
        d.no_store = false; /* section 5.2.2.3: it comes with one for who doesn't */
    bool leave = d.is_public || d.s_maxage >= 0 || d.must_revalidate;
    rules->no_store = d.no_store;
    rules->no_cache = d.no_cache;
    rules->must_revalidate = d.must_revalidate || d.proxy_revalidate || d.s_maxage >= 0;
    rules->varies_by_all = varies_by_all(headers, count);
    /* The RFC lets answers to requests with cookies be shared. Services that know their users by
     * one and don't say `private` are too many. */
    rules->is_private = d.is_private || has(headers, count, STR("set-cookie")) ||
                        (request->has_credentials && !leave);
    rules->may_share = !rules->is_private && !d.no_store && !rules->varies_by_all;
    rules->etag = find(headers, count, STR("etag"), &lines);
    rules->last_modified = find(headers, count, STR("last-modified"), &lines);

    read_age(headers, count, requested_ms, received_ms, &times, rules);
    bool is_said = read_lifetime(&d, headers, count, &times, rules);
    rules->is_explicit = is_said;
    if (!is_said && !d.no_cache)
        guess_lifetime(policy, status, &times, rules);
    read_stale(policy, &d, rules);
    rules->may_store = may_store(request, &d, status, is_said, rules);
    if (rules->varies_by_all)
        rules->warning = "a Vary that nothing can match";
    else if (d.differ)
        rules->warning = "a directive given twice, with two values";
    else if (has(headers, count, STR("content-range")) && status != 206 && status != 416)
        rules->warning = "a Content-Range where there is no range";
}
