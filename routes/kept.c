/* What is kept of a route's answers (RFC 9111), in front of its upstream: an answer that is fresh
 * is the reply; one that is stale is asked about, and stands in where asking fails; what comes is
 * kept while it passes. Bodies are kept as they came, coded or not. Requests for ranges, and those
 * whose conditions only the origin can judge, go past all this. */
#include <stdio.h>
#include "base/text.h"
#include "http/conditional.h"
#include "routes/kept.h"

/* -- replies ------------------------------------------------------------------------------------
 */

static void nothing_more(struct http_relay *relay)
{
    (void)relay;
}

/* What the client has already, RFC 9110 section 13. */
static int status_for(struct http_request *request, const struct cache_entry *entry)
{
    static const struct str names[] = {{"if-none-match", 13}, {"if-modified-since", 17}};
    struct str etag = entry->rules.etag;
    struct preconditions conditions = {.if_none_match = http_header(request, names[0]),
                                       .if_modified_since = http_header(request, names[1])};
    time_t modified = 0;
    if (etag.n > 2 && etag.p[0] == 'W')
        etag = (struct str){etag.p + 2, etag.n - 2};
    if (entry->rules.last_modified.n == 0 ||
        !http_date_parse(entry->rules.last_modified, &modified))
        conditions.if_modified_since = (struct str){NULL, 0};
    if (entry->status != 200 || (etag.n == 0 && conditions.if_none_match.p != NULL))
        return entry->status;
    return preconditions_evaluate(&conditions, etag, modified);
}

static void add_age(struct http_request *request, uint64_t age_ms)
{
    char *text = h2o_mem_alloc_pool(request->pool, 24);
    int n = snprintf(text, 24, "%llu", (unsigned long long)(age_ms / 1000));
    http_add_header(request, "age", (struct str){text, (size_t)n});
}

static void add_status(struct http_request *request, enum cache_word word,
                       const struct cache_entry *entry, int forward_status, bool stored)
{
    int64_t ttl = entry != NULL ? rules_ttl(&entry->rules, unix_ms()) : 0;
    const struct cache_answer answer = {.word = word,
                                        .stored = stored,
                                        .forward_status = forward_status,
                                        .ttl_ms = ttl > 0 ? (uint64_t)ttl : 0,
                                        .past_ms = ttl < 0 ? (uint64_t)-ttl : 0};
    char *text = h2o_mem_alloc_pool(request->pool, CACHE_STATUS_ROOM);
    char *end = cache_status_put(text, &answer, (struct str){NULL, 0});
    http_add_header(request, "cache-status", (struct str){text, (size_t)(end - text)});
}

/* The entry is the reply. False: its headers make no sense any more. */
static bool reply(struct passage *passage, struct cache_entry *entry, enum cache_word word,
                  int forward_status)
{
    struct http_request *request = passage->request;
    struct fields_down down;
    const char *detail;
    int status = status_for(request, entry);
    if (!fields_down(request, passage->route, entry->headers, entry->header_count, &down, &detail))
        return false;
    add_age(request, rules_age(&entry->rules, unix_ms()));
    add_status(request, word, entry, forward_status, word == CACHE_REVALIDATED);
    passage->status = passage->record->status = entry->status;
    passage->record->state = word == CACHE_STALE ? "stale" : "ok";
    passage->begun = passage->over = true;
    passage->relay = (struct http_relay){.proceed = nothing_more, .date = down.date};
    bool has_body = status != 304 && status != 204;
    http_relay_begin(request, &passage->relay, status, has_body ? entry->body.n : UINT64_MAX);
    http_relay_send(&passage->relay, entry->body.p,
                    has_body && !passage->is_head ? entry->body.n : 0, RELAY_END);
    return true;
}

/* -- asking -------------------------------------------------------------------------------------
 */

static struct cache_key key_of(const struct passage *passage, struct str target)
{
    const struct proxy_route *route = passage->route;
    struct http_request *request = passage->request;
    bool by_host = route->config->preserve_host;
    const struct str pieces[] = {route->config->upstream,
                                 STR(" GET "),
                                 target,
                                 STR("\nroute "),
                                 route->config->name,
                                 by_host ? STR(" ") : STR(""),
                                 by_host ? request->host : STR(""),
                                 STR("\n")};
    size_t n = 0;
    for (size_t i = 0; i < COUNT(pieces); i++)
        n += pieces[i].n;
    char *text = h2o_mem_alloc_pool(request->pool, n), *at = text;
    for (size_t i = 0; i < COUNT(pieces); i++)
        if (pieces[i].n != 0)
            at = (char *)mempcpy(at, pieces[i].p, pieces[i].n);
    return cache_key((struct str){text, n});
}

static bool goes_past(const struct rules_request *asked, const struct up_header *headers,
                      size_t count)
{
    if (asked->has_range)
        return true;
    for (size_t i = 0; i < count; i++)
        if (str_caseeq(headers[i].name, STR("if-match")) ||
            str_caseeq(headers[i].name, STR("if-unmodified-since")) ||
            str_caseeq(headers[i].name, STR("if-range")))
            return true;
    return false;
}

static bool reply_not_kept(struct passage *passage)
{
    passage->record->state = "skipped";
    http_add_header(passage->request, "cache-status",
                    STR("gateway; fwd=miss; detail=only-if-cached"));
    http_problem_reply(passage->request,
                       &(struct http_problem){.status = 504,
                                              .type = "not-kept",
                                              .title = "Nothing that is kept can be used",
                                              .detail = STR("only-if-cached was asked for")});
    passage->begun = passage->over = true;
    return true;
}

bool kept_start(struct passage *passage, struct up_request *request)
{
    struct proxy_route *route = passage->route;
    struct cache_client *client = route->routing->caches[loop_index(passage->request->loop)];
    struct rules_request asked;
    if (route->cache == NULL || client == NULL || cache_client_store(client) == NULL)
        return false;
    rules_read_request(&route->cache->policy, request->method, request->headers,
                       request->header_count, &asked);
    asked.has_credentials |= request->is_personal;
    if (goes_past(&asked, request->headers, request->header_count)) {
        http_add_header(passage->request, "cache-status", STR("gateway; fwd=bypass"));
        return false;
    }
    struct kept *kept = h2o_mem_alloc_pool(passage->request->pool, sizeof(*kept));
    *kept = (struct kept){.plan = route->cache,
                          .store = cache_client_store(client),
                          .asked = asked,
                          .target = request->target,
                          .key = key_of(passage, request->target),
                          .headers = request->headers,
                          .header_count = request->header_count,
                          .by_method = !asked.is_get && !asked.is_head};
    buf_init(&kept->body, CACHE_MAX_ENTRY);
    passage->kept = kept;
    if (kept->by_method)
        return false;
    kept->entry = cache_store_find(kept->store, kept->key, request->headers, request->header_count);
    enum rules_use use = kept->entry != NULL    ? rules_use(&kept->entry->rules, &asked, unix_ms())
                         : asked.only_if_cached ? USE_GATEWAY_TIMEOUT
                                                : USE_ANOTHER;
    if (use == USE_GATEWAY_TIMEOUT)
        return reply_not_kept(passage);
    if (use == USE_FRESH && reply(passage, kept->entry, CACHE_HIT, 0))
        return true;
    if (use == USE_MEANWHILE && reply(passage, kept->entry, CACHE_STALE, 0)) {
        refresh_start(route, passage->request->loop, kept, request);
        return true;
    }
    if (kept->entry != NULL && asked.is_get)
        kept_add_conditions(kept, passage->request->pool, request);
    kept->requested_ms = unix_ms();
    kept->epoch = cache_store_epoch(kept->store);
    return false;
}

/* -- what passes --------------------------------------------------------------------------------
 */

/* -- invalidation, section 4.4 ------------------------------------------------------------------
 */

/* The target at the upstream that a URL of Location or Content-Location means; {NULL, 0}: another
 * origin's, or none that can be told. */
static struct str named_target(const struct passage *passage, struct str url)
{
    const struct proxy_route *route = passage->route;
    struct http_request *request = passage->request;
    const struct str none = {NULL, 0};
    const char *hash = url.n != 0 ? memchr(url.p, '#', url.n) : NULL;
    const char *host = url.n != 0 ? memmem(url.p, url.n, "://", 3) : NULL;
    bool is_public = false;
    if (hash != NULL)
        url.n = (size_t)(hash - url.p);
    if (host != NULL && host < url.p + url.n) {
        struct str rest = {host + 3, (size_t)(url.p + url.n - host) - 3};
        const char *slash = rest.n != 0 ? memchr(rest.p, '/', rest.n) : NULL;
        struct str authority = {rest.p, slash != NULL ? (size_t)(slash - rest.p) : rest.n};
        is_public = str_caseeq(authority, request->host);
        if (slash == NULL || (!is_public && !str_caseeq(authority, route->authority)))
            return none;
        url = (struct str){slash, rest.n - authority.n};
    }
    if (url.n == 0 || url.p[0] != '/' || (url.n > 1 && url.p[1] == '/'))
        return none;
    if (is_public)
        return target_up(route, url, request->pool);
    if (url.n < route->base.n ||
        (route->base.n != 0 && memcmp(url.p, route->base.p, route->base.n) != 0))
        return none;
    return (struct str){url.p + route->base.n, url.n - route->base.n};
}

static void invalidate_target(const struct passage *passage, struct str target)
{
    struct http_request *request = passage->request;
    const struct proxy_route *route = passage->route;
    cache_store_invalidate(passage->kept->store, key_of(passage, target));
    cache_invalidate(route->routing->caches[loop_index(request->loop)], request->pool,
                     route->config->upstream, target); /* pages may have parts of it */
}

static void invalidate(const struct passage *passage, const struct up_header *headers, size_t count)
{
    invalidate_target(passage, passage->kept->target);
    for (size_t i = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, STR("location")) &&
            !str_caseeq(headers[i].name, STR("content-location")))
            continue;
        struct str target = named_target(passage, headers[i].value);
        if (target.p != NULL)
            invalidate_target(passage, target);
    }
}

bool kept_stand_in(struct passage *passage)
{
    struct kept *kept = passage->kept;
    return kept != NULL && !passage->begun && kept->entry != NULL &&
           rules_use_on_error(&kept->entry->rules, unix_ms()) &&
           reply(passage, kept->entry, CACHE_STALE, 0);
}

/* What is kept is of no use, and was asked about in vain. */
static enum kept_verdict forget(struct kept *kept)
{
    cache_store_remove(kept->store, kept->key);
    cache_entry_unref(&kept->entry);
    kept->validates = false;
    return KEPT_SPOILT;
}

enum kept_verdict kept_head(struct passage *passage, int status, const struct up_header *headers,
                            size_t count)
{
    struct kept *kept = passage->kept;
    if (kept == NULL)
        return KEPT_PASSES;
    if (kept->by_method) {
        if (rules_invalidates(&kept->asked, status))
            invalidate(passage, headers, count);
        http_add_header(passage->request, "cache-status", STR("gateway; fwd=method"));
        return KEPT_PASSES;
    }
    if (status == 304 && kept->validates)
        return kept_renew(kept, passage->request->pool, headers, count) &&
                       reply(passage, kept->entry, CACHE_REVALIDATED, 304)
                   ? KEPT_REPLIED
                   : forget(kept);
    if ((status == 500 || status == 502 || status == 503 || status == 504) &&
        kept_stand_in(passage))
        return KEPT_REPLIED;
    rules_read_answer(&kept->plan->policy, &kept->asked, status, headers, count, kept->requested_ms,
                      unix_ms(), &kept->rules);
    kept->stores = kept->rules.may_store && kept->asked.is_get;
    if (!kept->stores && status < 500 && kept->asked.is_get && !kept->asked.has_credentials)
        cache_store_remove(kept->store, kept->key);
    add_status(passage->request, CACHE_MISS, NULL, status, kept->stores);
    return KEPT_PASSES;
}

void kept_bytes(struct passage *passage, const char *bytes, size_t n)
{
    struct kept *kept = passage->kept;
    if (kept != NULL && kept->stores)
        kept->stores = buf_append(&kept->body, bytes, n);
}

void kept_end(struct passage *passage, const struct up_header *headers, size_t count)
{
    struct kept *kept = passage->kept;
    if (kept != NULL && kept->stores)
        kept_put(kept, passage->request->pool, passage->status, headers, count);
}

void kept_fini(struct passage *passage)
{
    if (passage->kept == NULL)
        return;
    cache_entry_unref(&passage->kept->entry);
    buf_fini(&passage->kept->body);
}
