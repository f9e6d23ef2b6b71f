/* What a page says to other caches, which is what its parts' answers leave: it may be used for as
 * long as the one that may be used least, it is private when one of them is, or when it was asked
 * for with the client's cookies, and a page that isn't whole is for nobody to keep.
 *
 * A part that doesn't go through the cache says nothing of how long its answer may be used: then
 * the client may keep the page, and asks each time whether it still holds. */
#include "pages/pages_internal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#include "base/put.h"
#include "http/conditional.h"

enum { MAX_VALUE = 96, ETAG_LENGTH = 34 };

/* -- what the parts leave --------------------------------------------------------------------- */

struct leave {
    bool is_known; /* all answers came through the cache */
    bool is_personal;
    bool no_store;
    uint64_t ttl_ms;
};

static struct leave leave_of(const struct page_run *run)
{
    struct leave leave = {
        .is_known = true, .is_personal = run->page->is_personal, .ttl_ms = UINT64_MAX};
    for (size_t i = 0; i < run->page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        leave.is_known &= !part->is_unkept;
        leave.is_personal |= part->is_personal;
        leave.no_store |= part->no_store;
        if (part->ttl_ms < leave.ttl_ms)
            leave.ttl_ms = part->ttl_ms;
    }
    leave.is_known &= leave.ttl_ms != UINT64_MAX && !run->varies_too_much;
    return leave;
}

static struct str cache_control(struct page_run *run, bool complete)
{
    struct leave leave = leave_of(run);
    if (!complete || leave.no_store)
        return STR("no-store");
    if (!leave.is_known || (leave.is_personal && leave.ttl_ms < 1000))
        return STR("private, no-cache");
    if (leave.ttl_ms < 1000)
        return STR("no-cache");
    char *text = h2o_mem_alloc_pool(run->request->pool, MAX_VALUE);
    char *at =
        put_str(text, leave.is_personal ? STR("private, max-age=") : STR("public, max-age="));
    at = put_number(at, leave.ttl_ms / 1000);
    return (struct str){text, (size_t)(at - text)};
}

/* -- what it varies by ------------------------------------------------------------------------ */

/* What upstreams are told in these fields is not what the client sent. */
static bool is_ours(struct str name)
{
    static const char *const names[] = {"forwarded",
                                        "x-forwarded-for",
                                        "x-forwarded-proto",
                                        "traceparent",
                                        "x-request-id",
                                        "x-forwarded-host",
                                        "via",
                                        "host"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_caseeq(name, str_from(names[i])))
            return true;
    return false;
}

void caching_note_vary(struct page_run *run, const struct str *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t known = 0;
        if (str_caseeq(names[i], STR("accept-encoding")))
            continue; /* ours, and always the same */
        run->varies_too_much |= is_ours(names[i]);
        while (known < run->vary_count && !str_caseeq(run->vary[known], names[i]))
            known++;
        if (known < run->vary_count)
            continue;
        if (run->vary == NULL)
            run->vary = h2o_mem_alloc_pool(run->request->pool, MAX_PAGE_VARY * sizeof(*run->vary));
        if (run->vary_count == MAX_PAGE_VARY)
            run->varies_too_much = true;
        else
            run->vary[run->vary_count++] = names[i];
    }
}

struct str caching_vary(const struct page *page, bool by_accept)
{
    bool by_coding = page->pages->config->server.gzip;
    return by_accept ? (by_coding ? STR("Accept, Accept-Encoding") : STR("Accept"))
                     : (by_coding ? STR("Accept-Encoding") : STR(""));
}

static struct str vary(struct page_run *run, bool by_accept)
{
    struct str ours = caching_vary(run->page, by_accept);
    size_t n = ours.n;
    if (run->vary_count == 0)
        return ours;
    for (size_t i = 0; i < run->vary_count; i++)
        n += run->vary[i].n + 2;
    char *text = h2o_mem_alloc_pool(run->request->pool, n), *at = text;
    if (ours.n != 0)
        at = (char *)mempcpy(at, ours.p, ours.n);
    for (size_t i = 0; i < run->vary_count; i++) {
        if (at != text)
            at = (char *)mempcpy(at, ", ", 2);
        at = (char *)mempcpy(at, run->vary[i].p, run->vary[i].n);
    }
    return (struct str){text, (size_t)(at - text)};
}

/* -- headers ---------------------------------------------------------------------------------- */

/* A member for each part that went through the cache, RFC 9211. */
static void add_cache_status(struct page_run *run)
{
    struct http_request *request = run->request;
    size_t room = 0;
    for (size_t i = 0; i < run->page->part_count; i++)
        if (run->parts[i].cached != NULL)
            room += CACHE_STATUS_ROOM + run->page->parts[i].config->name.n + 2;
    if (room == 0)
        return;
    char *text = h2o_mem_alloc_pool(request->pool, room), *at = text;
    for (size_t i = 0; i < run->page->part_count; i++) {
        const struct part_run *part = &run->parts[i];
        if (part->cached == NULL)
            continue;
        if (at != text)
            at = put_str(at, STR(", "));
        at = cache_status_put(at, part->cached, part->plan->config->name);
    }
    http_add_header(request, "cache-status", (struct str){text, (size_t)(at - text)});
}

void caching_add_headers(struct page_run *run, bool complete, bool by_accept)
{
    caching_note_vary(run, run->page->vary, run->page->vary_count);
    struct str names = vary(run, by_accept);
    http_add_header(run->request, "cache-control", cache_control(run, complete));
    if (names.n != 0)
        http_add_header(run->request, "vary", names);
    add_cache_status(run);
}

/* -- validation ------------------------------------------------------------------------------- */

static struct str etag_of(h2o_mem_pool_t *pool, struct out *body)
{
    static const char digits[] = "0123456789abcdef";
    h2o_iovec_t *vecs;
    size_t count = out_vecs(body, &vecs);
    XXH128_hash_t hash;
    if (count == 1) {
        hash = XXH3_128bits(vecs[0].base, vecs[0].len);
    } else {
        XXH3_state_t state;
        XXH3_128bits_reset(&state);
        for (size_t i = 0; i < count; i++)
            XXH3_128bits_update(&state, vecs[i].base, vecs[i].len);
        hash = XXH3_128bits_digest(&state);
    }
    char *text = h2o_mem_alloc_pool(pool, ETAG_LENGTH + 1);
    text[0] = text[ETAG_LENGTH - 1] = '"';
    text[ETAG_LENGTH] = '\0';
    for (int i = 0; i < 16; i++) {
        text[1 + i] = digits[hash.high64 >> (60 - 4 * i) & 15];
        text[17 + i] = digits[hash.low64 >> (60 - 4 * i) & 15];
    }
    return (struct str){text, ETAG_LENGTH};
}

/* The same page compressed is other bytes, and a strong tag is of bytes (RFC 9110 section 8.8.3.3).
 */
static struct str coded_etag(h2o_mem_pool_t *pool, struct str etag)
{
    static const char suffix[] = "-gzip\"";
    char *text = h2o_mem_alloc_pool(pool, etag.n + sizeof(suffix));
    memcpy(text, etag.p, etag.n - 1);
    memcpy(text + etag.n - 1, suffix, sizeof(suffix));
    return (struct str){text, etag.n + sizeof(suffix) - 2};
}

struct str caching_add_etag(struct http_request *request, struct out *body, bool coded)
{
    struct str etag = etag_of(request->pool, body);
    if (coded)
        etag = coded_etag(request->pool, etag);
    http_add_header(request, "etag", etag);
    return etag;
}

bool caching_client_has(const struct http_request *request, struct str etag)
{
    struct str wanted = http_header(request, STR("if-none-match"));
    return wanted.p != NULL && etag_list_has(wanted, etag, false);
}

/* -- pages that are kept ---------------------------------------------------------------------- */

/* Compressed or not, whoever takes both ways shares one. */
static struct cache_key key_of(const struct page *page, struct http_request *request)
{
    struct str name = page->config->name;
    bool json = page->template == NULL || http_wants_json(request);
    bool gzip = http_wants_gzip(request, json ? "application/json" : "text/html", SIZE_MAX);
    const struct str pieces[] = {STR("page "),
                                 name,
                                 json ? STR(" json ") : STR(" html "),
                                 gzip ? STR("gzip ") : STR(""),
                                 request->host,
                                 STR(" "),
                                 request->target,
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

/* The client's headers as the store looks at them; names are lower case there. */
static size_t headers_of(const struct http_request *request, struct up_header *headers_r,
                         size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < request->headers->size && count < room; i++) {
        const h2o_header_t *header = &request->headers->entries[i];
        headers_r[count++] = (struct up_header){{header->name->base, header->name->len},
                                                {header->value.base, header->value.len}};
    }
    return count;
}

static struct cache_store *store_of(const struct page *page, const struct http_request *request)
{
    struct cache_client *client = page->pages->loops[loop_index(request->loop)]->cache;
    return page->config->micro_cache_ms == 0 || client == NULL ? NULL : cache_client_store(client);
}

static void let_go(void *memory)
{
    struct cache_entry **entry = memory;
    cache_entry_unref(entry);
}

void caching_hold(h2o_mem_pool_t *pool, struct cache_entry *entry)
{
    struct cache_entry **held = h2o_mem_alloc_shared(pool, sizeof(struct cache_entry *), let_go);
    *held = entry;
}

void caching_begin(struct page_run *run)
{
    struct cache_store *store = store_of(run->page, run->request);
    if (store != NULL)
        run->epoch = cache_store_epoch(store);
}

bool caching_reply_kept(struct page *page, struct http_request *request)
{
    struct up_header headers[MAX_REQUEST_HEADERS];
    struct cache_store *store = store_of(page, request);
    if (store == NULL || request->headers == NULL || request->headers->size > MAX_REQUEST_HEADERS)
        return false;
    size_t count = headers_of(request, headers, MAX_REQUEST_HEADERS);
    struct cache_entry *entry = cache_store_find(store, key_of(page, request), headers, count);
    if (entry == NULL)
        return false;
    caching_hold(request->pool, entry);
    uint64_t now_ms = (uint64_t)clock_unix_ms();
    if (rules_ttl(&entry->rules, now_ms) <= 0)
        return false;
    for (size_t i = 0; i < entry->header_count; i++) {
        if (str_eq(entry->headers[i].name, CACHING_CODING)) /* not of a 304 */
            request->is_gzip = true;
        else
            http_add_header(request, entry->headers[i].name.p, entry->headers[i].value);
    }
    char *age = h2o_mem_alloc_pool(request->pool, MAX_VALUE);
    char *end = put_number(age, rules_age(&entry->rules, now_ms) / 1000);
    http_add_header(request, "age", (struct str){age, (size_t)(end - age)});
    http_add_header(request, "cache-status", STR("gateway; hit; detail=page"));
    request->completed = PAGE_COMPLETE;
    if (caching_client_has(request, entry->rules.etag)) {
        http_reply(request, 304, NULL, NULL);
        return true;
    }
    struct out out;
    out_init(&out, request->pool, 64);
    out_refer(&out, entry->body.p, entry->body.n);
    http_reply(request, 200, entry->content_type.p, &out);
    return true;
}

struct str caching_flatten(h2o_mem_pool_t *pool, struct out *out)
{
    h2o_iovec_t *vecs;
    size_t count = out_vecs(out, &vecs);
    if (count == 1)
        return (struct str){vecs[0].base, vecs[0].len};
    char *text = h2o_mem_alloc_pool(pool, out_size(out) + 1), *at = text;
    for (size_t i = 0; i < count; i++)
        at = (char *)mempcpy(at, vecs[i].base, vecs[i].len);
    return (struct str){text, (size_t)(at - text)};
}

/* What was said of this one request alone isn't kept. */
static size_t kept_headers(const struct http_request *request, struct up_header *headers_r,
                           size_t room)
{
    const h2o_headers_t *headers = &request->h2o->res.headers;
    size_t count = 0;
    for (size_t i = 0; i < headers->size && count < room; i++) {
        const h2o_header_t *header = &headers->entries[i];
        struct str name = {header->name->base, header->name->len};
        if (!str_eq(name, STR("server-timing")) && !str_eq(name, STR("cache-status")) &&
            !str_eq(name, STR("set-cookie")))
            headers_r[count++] = (struct up_header){name, {header->value.base, header->value.len}};
    }
    if (request->is_gzip && count < room)
        headers_r[count++] = (struct up_header){CACHING_CODING, STR("gzip")};
    return count;
}

bool caching_keeps(const struct page_run *run)
{
    const struct http_request *request = run->request;
    struct cache_store *store = store_of(run->page, request);
    if (store == NULL || request->h2o == NULL || request->headers->size > MAX_REQUEST_HEADERS ||
        !str_eq(request->method, STR("GET")))
        return false;
    struct leave leave = leave_of(run);
    return leave.is_known && !leave.is_personal && !leave.no_store && leave.ttl_ms != 0;
}

void caching_keep(struct page_run *run, const char *type, struct str etag, struct out *body)
{
    enum { MAX_HEADERS = 32 };
    struct http_request *request = run->request;
    struct cache_store *store = store_of(run->page, request);
    struct leave leave = leave_of(run);
    uint64_t keep_ms = run->page->config->micro_cache_ms;
    struct up_header headers[MAX_HEADERS], asked[MAX_REQUEST_HEADERS];
    struct str values[MAX_PAGE_VARY];
    size_t asked_count = headers_of(request, asked, MAX_REQUEST_HEADERS);
    for (size_t i = 0; i < run->vary_count; i++)
        values[i] = rules_field(asked, asked_count, run->vary[i], request->pool);
    const struct rules rules = {
        .may_store = true,
        .may_share = true,
        .is_explicit = true,
        .received_ms = (uint64_t)clock_unix_ms(),
        .lifetime_ms = leave.ttl_ms < keep_ms ? leave.ttl_ms : keep_ms,
        .etag = etag,
    };
    struct cache_entry *entry = cache_entry_create(
        &(struct cache_entry_parts){.key = key_of(run->page, request),
                                    .vary_names = run->vary,
                                    .vary_values = values,
                                    .vary_count = run->vary_count,
                                    .tags = run->page->tags,
                                    .tag_count = run->page->tag_count,
                                    .status = 200,
                                    .headers = headers,
                                    .header_count = kept_headers(request, headers, MAX_HEADERS),
                                    .content_type = str_from(type),
                                    .body = caching_flatten(request->pool, body),
                                    .rules = &rules});
    cache_store_put(store, entry, run->epoch);
    cache_entry_unref(&entry);
}
