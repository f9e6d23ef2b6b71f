/* What the answer to a flight comes to: kept or not, for whom, and what it says to who waited. */
#include "cache/internal.h"

#include <stdlib.h>
#include "base/log.h"

enum { JSON_DEPTH = 128 };

static struct landing *landing_new(const struct up_result *result)
{
    struct landing *landing = h2o_mem_alloc(sizeof(*landing));
    *landing = (struct landing){.refs = 1, .answer = {.result = *result, .word = CACHE_MISS}};
    return landing;
}

/* Told once for each plan: what is odd about an answer is mostly odd about all of them. */
static void complain(struct cache_plan *plan, const char *warning)
{
    if (warning != NULL && !atomic_exchange(&plan->complained, true))
        log_event(LOG_WARN, "odd answer for a cache", "for=%s what=%s", log_quote(plan->used_for),
                  log_quote(str_from(warning)));
}

/* -- entries ---------------------------------------------------------------------------------- */

/* The body came decoded, by a connection of its own. */
static size_t kept_headers(const struct up_header *headers, size_t count, h2o_mem_pool_t *pool,
                           struct up_header **kept_r)
{
    struct up_header *kept = h2o_mem_alloc_pool(pool, (count + 1) * sizeof(*kept));
    struct str connection = rules_field(headers, count, STR("connection"), pool);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!rules_is_hop_by_hop(headers[i].name, connection.p ? connection : STR("")) &&
            !str_caseeq(headers[i].name, STR("content-length")) &&
            !str_caseeq(headers[i].name, STR("content-encoding")))
            kept[n++] = headers[i];
    *kept_r = kept;
    return n;
}

/* Its tape, when it is JSON that a part may use. */
static struct json_doc *parse(const struct cache_plan *plan, int status, struct str body,
                              struct json_doc *doc)
{
    json_doc_init(doc);
    if (plan->wants_json && status >= 200 && status < 300 && body.n != 0 &&
        json_parse(doc, body.p, body.n, JSON_DEPTH, NULL) == JSON_OK)
        return doc;
    json_doc_fini(doc);
    return NULL;
}

struct content {
    int status;
    const struct up_header *headers;
    size_t header_count;
    struct str type, body;
    const struct rules *rules;
};

/* What varies by more than can be kept apart is neither stored nor shared by the rules. */
static struct cache_entry *make_entry(const struct landing_in *in, const struct content *content,
                                      struct json_doc *doc)
{
    struct str names[CACHE_MAX_VARY], values[CACHE_MAX_VARY];
    struct up_header *headers;
    size_t vary_count;
    if (!rules_vary(content->headers, content->header_count, in->pool, names, &vary_count))
        vary_count = 0;
    for (size_t i = 0; i < vary_count; i++)
        values[i] = rules_field(in->headers, in->header_count, names[i], in->pool);
    size_t count = kept_headers(content->headers, content->header_count, in->pool, &headers);
    return cache_entry_create(&(struct cache_entry_parts){.key = in->key,
                                                          .vary_names = names,
                                                          .vary_values = values,
                                                          .vary_count = vary_count,
                                                          .tags = in->plan->tags,
                                                          .tag_count = in->plan->tag_count,
                                                          .status = content->status,
                                                          .headers = headers,
                                                          .header_count = count,
                                                          .content_type = content->type,
                                                          .body = content->body,
                                                          .doc = doc,
                                                          .rules = content->rules});
}

static void describe(struct landing *landing, const struct rules *rules)
{
    struct cache_answer *answer = &landing->answer;
    int64_t ttl = rules_ttl(rules, rules->received_ms);
    landing->is_shared = rules->may_share;
    answer->is_private = rules->is_private;
    answer->no_store = rules->no_store;
    answer->is_explicit = rules->is_explicit;
    answer->age_ms = rules_age(rules, rules->received_ms);
    answer->ttl_ms = ttl > 0 && !rules->no_cache && !rules->no_store ? (uint64_t)ttl : 0;
}

/* Keeps it, or takes out what it makes obsolete. */
static void keep(const struct landing_in *in, struct landing *landing, bool may_store)
{
    struct cache_store *store = in->cache->store;
    if (store == NULL)
        return;
    if (may_store && landing->entry != NULL) {
        landing->answer.stored = cache_store_put(store, landing->entry, in->epoch);
        if (landing->answer.stored && in->plan->keeps_last_good && in->cache->last_good != NULL &&
            landing->entry->status < 300)
            last_good_save(in->cache->last_good, landing->entry);
    } else if (landing->answer.result.status < 500 && !in->asked->has_credentials) {
        cache_store_remove(store, in->key);
    }
}

static void use_entry(struct landing *landing)
{
    const struct cache_entry *entry = landing->entry;
    struct up_result *result = &landing->answer.result;
    result->body = entry->body;
    result->content_type = entry->content_type;
    result->headers = entry->headers;
    result->header_count = entry->header_count;
    landing->answer.doc = entry->doc.count != 0 ? &entry->doc : NULL;
    landing->answer.entry = entry;
}

/* -- 304 -------------------------------------------------------------------------------------- */

/* Section 4.3.4: what is kept, with the headers of the 304 over its own. NULL: it is about
 * something else, and what is kept is of no use any more. */
static struct landing *revalidated(const struct landing_in *in, const struct up_result *result)
{
    const struct cache_entry *kept = in->kept;
    struct up_header *headers;
    size_t count;
    struct rules rules;
    if (!rules_validates(&kept->rules, result->headers, result->header_count))
        return NULL;
    rules_merge(kept->headers, kept->header_count, result->headers, result->header_count, in->pool,
                &headers, &count);
    rules_read_answer(&in->plan->policy, in->asked, kept->status, headers, count, in->requested_ms,
                      unix_ms(), &rules);
    complain(in->plan, rules.warning);
    struct json_doc doc;
    struct json_doc *tape = parse(in->plan, kept->status, kept->body, &doc);
    struct landing *landing = landing_new(result);
    landing->entry = make_entry(
        in, &(struct content){kept->status, headers, count, kept->content_type, kept->body, &rules},
        tape);
    describe(landing, &rules);
    landing->answer.word = CACHE_REVALIDATED;
    landing->answer.forward_status = 304;
    landing->answer.result.status = kept->status;
    use_entry(landing);
    keep(in, landing, rules.may_store);
    return landing;
}

/* -- whatever came ---------------------------------------------------------------------------- */

struct landing *landing_create(const struct landing_in *in, const struct up_result *result,
                               bool *again_r)
{
    *again_r = false;
    if (result->end != UP_ANSWERED) {
        struct landing *landing = landing_new(result);
        landing->answer.result.body = landing->answer.result.content_type = (struct str){"", 0};
        landing->answer.result.headers = NULL;
        landing->answer.result.header_count = 0;
        landing->is_shared = true; /* all of them waited for it, and it would fail again */
        return landing;
    }
    if (result->status == 304 && in->kept != NULL) {
        struct landing *landing = revalidated(in, result);
        *again_r = landing == NULL;
        return landing;
    }

    struct rules rules;
    rules_read_answer(&in->plan->policy, in->asked, result->status, result->headers,
                      result->header_count, in->requested_ms, unix_ms(), &rules);
    complain(in->plan, rules.warning);
    struct landing *landing = landing_new(result);
    landing->answer.forward_status = result->status;
    describe(landing, &rules);

    bool may_store = rules.may_store && in->cache->store != NULL;
    if (may_store || in->is_wanted_by_many) {
        const struct content content = {result->status,       result->headers, result->header_count,
                                        result->content_type, result->body,    &rules};
        struct json_doc doc;
        struct json_doc *tape = parse(in->plan, result->status, result->body, &doc);
        may_store = may_store && (tape != NULL || !in->plan->wants_json || result->status >= 300 ||
                                  result->body.n == 0);
        landing->entry = make_entry(in, &content, tape);
        use_entry(landing);
    } else {
        landing->is_shared = false; /* it stays in the call of who asked */
    }
    keep(in, landing, may_store);
    return landing;
}

bool landing_suits(const struct landing *landing, const struct cache_call *call)
{
    return landing->entry == NULL ||
           cache_entry_suits(landing->entry, call->request.headers, call->request.header_count);
}
