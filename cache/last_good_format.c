/* An answer as bytes: a magic, a digest of all that follows, then numbers and strings one behind
 * the other, each string with its length in front. Little-endian. */
#include <endian.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "base/buf.h"
#include "cache/last_good.h"

static const char magic[16] = "gw last good 1\n";

enum {
    DIGEST_AT = sizeof(magic),
    BODY_AT = DIGEST_AT + sizeof(uint64_t),
    JSON_DEPTH = 128,
    MAX_ITEMS = 1024, /* headers, tags */
};

/* -- writing ---------------------------------------------------------------------------------- */

static void put_number(struct buf *to, uint64_t value)
{
    uint64_t little = htole64(value);
    buf_append(to, &little, sizeof(little));
}

static void put(struct buf *to, struct str s)
{
    put_number(to, s.p != NULL ? s.n : UINT64_MAX);
    if (s.n != 0)
        buf_append(to, s.p, s.n);
}

struct str last_good_encode(const struct cache_entry *entry)
{
    struct buf to;
    buf_init(&to, SIZE_MAX / 2);
    buf_append(&to, magic, sizeof(magic));
    put_number(&to, 0);
    put(&to, entry->key);
    put_number(&to, (uint64_t)entry->status);
    put_number(&to, entry->rules.received_ms);
    put_number(&to, entry->rules.age_ms);
    put_number(&to, entry->rules.lifetime_ms);
    put_number(&to, entry->rules.stale_if_error_ms);
    put_number(&to, entry->rules.is_public);
    put_number(&to, entry->doc.count != 0);
    put_number(&to, entry->vary_count);
    for (size_t i = 0; i < entry->vary_count; i++) {
        put(&to, entry->vary_names[i]);
        put(&to, entry->vary_values[i]);
    }
    put_number(&to, entry->tag_count);
    for (size_t i = 0; i < entry->tag_count; i++)
        put(&to, entry->tags[i]);
    put_number(&to, entry->header_count);
    for (size_t i = 0; i < entry->header_count; i++) {
        put(&to, entry->headers[i].name);
        put(&to, entry->headers[i].value);
    }
    put(&to, entry->content_type);
    put(&to, entry->rules.etag);
    put(&to, entry->rules.last_modified);
    put(&to, entry->body);
    uint64_t digest = htole64(XXH3_64bits(to.p + BODY_AT, to.n - BODY_AT));
    memcpy(to.p + DIGEST_AT, &digest, sizeof(digest));
    return buf_str(&to);
}

/* -- reading ---------------------------------------------------------------------------------- */

struct reader {
    const char *p, *end;
    bool failed;
};

static uint64_t get_number(struct reader *r)
{
    uint64_t little = 0;
    if (r->failed || (size_t)(r->end - r->p) < sizeof(little)) {
        r->failed = true;
        return 0;
    }
    memcpy(&little, r->p, sizeof(little));
    r->p += sizeof(little);
    return le64toh(little);
}

static struct str get(struct reader *r)
{
    uint64_t n = get_number(r);
    if (r->failed || n == UINT64_MAX)
        return (struct str){NULL, 0};
    if (n > (size_t)(r->end - r->p)) {
        r->failed = true;
        return (struct str){NULL, 0};
    }
    struct str s = {r->p, (size_t)n};
    r->p += n;
    return s;
}

static size_t get_count(struct reader *r, size_t most)
{
    uint64_t n = get_number(r);
    r->failed |= n > most;
    return r->failed ? 0 : (size_t)n;
}

static bool is_whole(struct str bytes)
{
    uint64_t digest;
    if (bytes.n < BODY_AT || memcmp(bytes.p, magic, sizeof(magic)) != 0)
        return false;
    memcpy(&digest, bytes.p + DIGEST_AT, sizeof(digest));
    return le64toh(digest) == XXH3_64bits(bytes.p + BODY_AT, bytes.n - BODY_AT);
}

struct lists {
    struct str vary_names[CACHE_MAX_VARY], vary_values[CACHE_MAX_VARY], tags[MAX_ITEMS];
    struct up_header headers[MAX_ITEMS];
};

/* The digest says that we wrote it; all the same no length is believed. */
static bool read_parts(struct reader *r, struct lists *lists, struct cache_entry_parts *parts,
                       struct rules *rules, bool *is_json)
{
    parts->key.text = get(r);
    parts->status = (int)get_count(r, 599);
    rules->received_ms = get_number(r);
    rules->age_ms = get_number(r);
    rules->lifetime_ms = get_number(r);
    rules->stale_if_error_ms = get_number(r);
    rules->is_public = get_number(r) != 0;
    *is_json = get_number(r) != 0;
    parts->vary_count = get_count(r, CACHE_MAX_VARY);
    for (size_t i = 0; i < parts->vary_count; i++) {
        lists->vary_names[i] = get(r);
        lists->vary_values[i] = get(r);
    }
    parts->tag_count = get_count(r, MAX_ITEMS);
    for (size_t i = 0; i < parts->tag_count; i++)
        lists->tags[i] = get(r);
    parts->header_count = get_count(r, MAX_ITEMS);
    for (size_t i = 0; i < parts->header_count; i++) {
        lists->headers[i].name = get(r);
        lists->headers[i].value = get(r);
    }
    parts->content_type = get(r);
    rules->etag = get(r);
    rules->last_modified = get(r);
    parts->body = get(r);
    return !r->failed && r->p == r->end && parts->key.text.n != 0 && parts->status >= 200;
}

/* Past its time from the start, so that it is only what stands in. */
static void outdate(struct rules *rules)
{
    uint64_t most = UINT64_MAX / 4;
    uint64_t left = rules->lifetime_ms < most && rules->stale_if_error_ms < most
                        ? rules->lifetime_ms + rules->stale_if_error_ms
                        : most;
    rules->lifetime_ms = 0;
    rules->stale_if_error_ms = left;
    rules->age_ms = rules->age_ms < most ? rules->age_ms : most;
    rules->may_store = rules->may_share = true;
}

struct cache_entry *last_good_decode(struct str bytes)
{
    struct cache_entry *entry = NULL;
    struct reader reader = {bytes.p + BODY_AT, bytes.p + bytes.n, false};
    struct rules rules = {.may_store = true};
    bool is_json;
    if (!is_whole(bytes))
        return NULL;
    struct lists *lists = malloc(sizeof(*lists));
    gw_assert(lists != NULL);
    struct cache_entry_parts parts = {.vary_names = lists->vary_names,
                                      .vary_values = lists->vary_values,
                                      .tags = lists->tags,
                                      .headers = lists->headers,
                                      .rules = &rules};
    struct json_doc doc;
    json_doc_init(&doc);
    if (read_parts(&reader, lists, &parts, &rules, &is_json) &&
        (!is_json || json_parse(&doc, parts.body.p, parts.body.n, JSON_DEPTH, NULL) == JSON_OK)) {
        outdate(&rules);
        parts.key = cache_key(parts.key.text);
        parts.doc = is_json ? &doc : NULL;
        entry = cache_entry_create(&parts);
        entry->is_last_good = true;
    }
    if (entry == NULL || !is_json)
        json_doc_fini(&doc);
    free(lists);
    return entry;
}
