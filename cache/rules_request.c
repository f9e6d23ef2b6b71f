/* What a request says about caching, and which requests change what is stored. */
#include "cache/rules_private.h"
#include "cache/directives.h"

static void read_directives(const struct up_header *headers, size_t count,
                            struct rules_request *request)
{
    struct directives said;
    directives_read(headers, count, &said);
    request->no_store = directives_have(&said, NO_STORE);
    request->no_cache = directives_have(&said, NO_CACHE) || rules_pragma_no_cache(headers, count);
    request->only_if_cached = directives_have(&said, ONLY_IF_CACHED);
    request->has_max_age = directives_have(&said, MAX_AGE);
    request->has_min_fresh = directives_have(&said, MIN_FRESH);
    request->has_max_stale = directives_allow(&said, MAX_STALE);
    request->max_age_ms = said.ms[MAX_AGE];
    request->min_fresh_ms = said.ms[MIN_FRESH];
    request->max_stale_ms = said.ms[MAX_STALE];
}

void rules_read_request(const struct cache_policy *policy, const char *method,
                        const struct up_header *headers, size_t count,
                        struct rules_request *request_r)
{
    static const struct str credentials[] = {STR("authorization"), STR("cookie"),
                                             STR("client-cert")};
    static const struct str conditions[] = {STR("if-match"), STR("if-none-match"),
                                            STR("if-modified-since"), STR("if-unmodified-since"),
                                            STR("if-range")};
    struct str verb = method != NULL ? str_from(method) : STR("GET");
    *request_r = (struct rules_request){
        .is_get = str_eq(verb, STR("GET")),
        .is_head = str_eq(verb, STR("HEAD")),
    };
    request_r->is_safe = request_r->is_get || request_r->is_head || str_eq(verb, STR("OPTIONS")) ||
                         str_eq(verb, STR("TRACE"));
    for (size_t i = 0; i < count; i++) {
        struct str name = headers[i].name;
        request_r->has_credentials |= rules_is_any(name, credentials, COUNT(credentials));
        request_r->has_condition |= rules_is_any(name, conditions, COUNT(conditions));
        request_r->has_range |= str_caseeq(name, STR("range"));
    }
    if (policy->obeys_requests)
        read_directives(headers, count, request_r);
}

bool rules_invalidates(const struct rules_request *request, int status)
{
    return !request->is_safe && status >= 200 && status < 400;
}
