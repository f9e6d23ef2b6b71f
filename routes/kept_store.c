/* Answers of routes on their way into the store, and brought up to date there. */
#include "routes/kept.h"

/* Conditions that are about the client's own copy, which a kept answer can be held against. */
static bool is_ours_to_judge(struct str name)
{
    return str_caseeq(name, STR("if-none-match")) || str_caseeq(name, STR("if-modified-since"));
}

void kept_add_conditions(struct kept *kept, h2o_mem_pool_t *pool, struct up_request *request)
{
    struct up_header *headers =
        h2o_mem_alloc_pool(pool, (request->header_count + 2) * sizeof(*headers));
    size_t n = 0;
    for (size_t i = 0; i < request->header_count; i++)
        if (!is_ours_to_judge(request->headers[i].name))
            headers[n++] = request->headers[i];
    size_t added = rules_conditions(&kept->entry->rules, headers + n);
    if (added == 0)
        return;
    kept->validates = true;
    request->headers = headers;
    request->header_count = n + added;
}

bool kept_renew(struct kept *kept, h2o_mem_pool_t *pool, const struct up_header *headers,
                size_t count)
{
    struct cache_entry *entry = kept->entry;
    struct up_header *merged;
    struct rules rules;
    size_t merged_count;
    if (!rules_validates(&entry->rules, headers, count))
        return false;
    rules_merge(entry->headers, entry->header_count, headers, count, pool, &merged, &merged_count);
    rules_read_answer(&kept->plan->policy, &kept->asked, entry->status, merged, merged_count,
                      kept->requested_ms, unix_ms(), &rules);
    struct cache_entry *fresh =
        cache_entry_create(&(struct cache_entry_parts){.key = kept->key,
                                                       .vary_names = entry->vary_names,
                                                       .vary_values = entry->vary_values,
                                                       .vary_count = entry->vary_count,
                                                       .tags = kept->plan->tags,
                                                       .tag_count = kept->plan->tag_count,
                                                       .status = entry->status,
                                                       .headers = merged,
                                                       .header_count = merged_count,
                                                       .content_type = entry->content_type,
                                                       .body = entry->body,
                                                       .rules = &rules});
    if (rules.may_store)
        cache_store_put(kept->store, fresh, kept->epoch);
    else
        cache_store_remove(kept->store, kept->key);
    cache_entry_unref(&kept->entry);
    kept->entry = fresh;
    return true;
}

/* Age and the lines of the connection are said anew with each reply. */
static size_t lasting(const struct up_header *headers, size_t count, h2o_mem_pool_t *pool,
                      struct up_header **lasting_r)
{
    struct up_header *kept = h2o_mem_alloc_pool(pool, (count + 1) * sizeof(*kept));
    struct str connection = rules_field(headers, count, STR("connection"), pool);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!rules_is_hop_by_hop(headers[i].name, connection.p ? connection : STR("")) &&
            !str_caseeq(headers[i].name, STR("age")) &&
            !str_caseeq(headers[i].name, STR("content-length")))
            kept[n++] = headers[i];
    *lasting_r = kept;
    return n;
}

void kept_put(struct kept *kept, h2o_mem_pool_t *pool, int status, const struct up_header *headers,
              size_t count)
{
    struct str names[CACHE_MAX_VARY], values[CACHE_MAX_VARY];
    struct up_header *stored;
    size_t vary_count;
    if (!rules_vary(headers, count, pool, names, &vary_count))
        return;
    for (size_t i = 0; i < vary_count; i++)
        values[i] = rules_field(kept->headers, kept->header_count, names[i], pool);
    size_t stored_count = lasting(headers, count, pool, &stored);
    struct cache_entry *entry =
        cache_entry_create(&(struct cache_entry_parts){.key = kept->key,
                                                       .vary_names = names,
                                                       .vary_values = values,
                                                       .vary_count = vary_count,
                                                       .tags = kept->plan->tags,
                                                       .tag_count = kept->plan->tag_count,
                                                       .status = status,
                                                       .headers = stored,
                                                       .header_count = stored_count,
                                                       .body = buf_str(&kept->body),
                                                       .rules = &kept->rules});
    cache_store_put(kept->store, entry, kept->epoch);
    cache_entry_unref(&entry);
    kept->stores = false;
}
