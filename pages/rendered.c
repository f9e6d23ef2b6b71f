/* What a template makes of kept answers, and of nothing else, is the same for as long as they are
 * the same: it is kept beside them, compressed where that was asked for, and found by which ones
 * they are. A page that shows something of the request is rendered each time.
 *
 * Kept once all of its answers were found kept: what changes with each request never is. */
#include "pages/pages_internal.h"

#include "base/put.h"

enum { NUMBER_ROOM = 21 };

void rendered_compile(struct page *page)
{
    page->is_made_of_parts = page->template != NULL && page->part_count != 0 && !page->uses_parts &&
                             !page->uses_request && !page->uses_defer;
    for (size_t i = 0; i < page->part_count; i++)
        page->is_made_of_parts &=
            page->parts[i].call.cache != NULL && !part_is_each(&page->parts[i]);
}

static struct cache_store *store_of(const struct page_run *run)
{
    return run->loop->cache != NULL ? cache_client_store(run->loop->cache) : NULL;
}

/* "page home made gzip 17 4\n": in the name of the page, so that it goes with its kept pages. */
static struct cache_key key_of(const struct page_run *run)
{
    const struct page *page = run->page;
    const struct str begin = STR("page "), made = STR(" made"), gzip = STR(" gzip");
    size_t room = begin.n + page->config->name.n + made.n + gzip.n + 1;
    char *text = h2o_mem_alloc_pool(run->request->pool, room + page->part_count * NUMBER_ROOM);
    char *at = put_str(put_str(put_str(text, begin), page->config->name), made);
    if (http_wants_gzip(run->request, "text/html", SIZE_MAX))
        at = put_str(at, gzip);
    for (size_t i = 0; i < page->part_count; i++) {
        *at++ = ' ';
        at = put_number(at, run->parts[i].cached->entry->serial);
    }
    *at++ = '\n';
    return cache_key((struct str){text, (size_t)(at - text)});
}

/* Whether each part's data is that of a kept answer. */
static bool is_made_of_kept(const struct page_run *run)
{
    for (size_t i = 0; i < run->page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        if ((part->state != PART_OK && part->state != PART_STALE) || part->cached == NULL ||
            part->cached->entry == NULL)
            return false;
    }
    return true;
}

struct cache_entry *rendered_find(struct page_run *run)
{
    struct cache_store *store = store_of(run);
    if (!run->page->is_made_of_parts || store == NULL || !is_made_of_kept(run))
        return NULL;
    run->rendered_key = key_of(run);
    struct cache_entry *entry = cache_store_find(store, run->rendered_key, NULL, 0);
    if (entry != NULL)
        caching_hold(run->request->pool, entry);
    return entry;
}

bool rendered_keeps(const struct page_run *run)
{
    if (run->rendered_key.hash == 0)
        return false;
    for (size_t i = 0; i < run->page->part_count; i++)
        if (run->parts[i].cached->word != CACHE_HIT && run->parts[i].cached->word != CACHE_STALE)
            return false;
    return true;
}

void rendered_keep(struct page_run *run, struct str etag, struct out *body)
{
    struct cache_store *store = store_of(run);
    const struct up_header coding = {CACHING_CODING, STR("gzip")};
    const struct rules rules = {.etag = etag};
    struct cache_entry *entry = cache_entry_create(
        &(struct cache_entry_parts){.key = run->rendered_key,
                                    .tags = run->page->tags,
                                    .tag_count = run->page->tag_count,
                                    .status = 200,
                                    .headers = &coding,
                                    .header_count = run->request->is_gzip,
                                    .body = caching_flatten(run->request->pool, body),
                                    .rules = &rules});
    cache_store_put(store, entry, cache_store_epoch(store));
    cache_entry_unref(&entry);
}
