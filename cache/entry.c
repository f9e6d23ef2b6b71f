/* A stored answer: one block of memory that holds all of it, and its tape beside it. */
#include <stdlib.h>
#include "base/siphash.h"
#include "base/text.h"
#include "cache/store.h"

struct cache_key cache_key(struct str text)
{
    return (struct cache_key){text, siphash(text)};
}

/* Strings are laid one behind the other, each with a NUL that nobody counts. */
static struct str lay(char **at, struct str s)
{
    struct str laid = {*at, s.n};
    if (s.p == NULL)
        return (struct str){NULL, 0};
    if (s.n != 0)
        memcpy(*at, s.p, s.n);
    (*at)[s.n] = '\0';
    *at += s.n + 1;
    return laid;
}

static size_t list_size(const struct str *list, size_t count)
{
    size_t n = count * sizeof(struct str);
    for (size_t i = 0; i < count; i++)
        n += list[i].n + 1;
    return n;
}

static size_t text_size(const struct cache_entry_parts *parts)
{
    size_t n = parts->key.text.n + parts->content_type.n + parts->body.n + 5;
    n += parts->rules->etag.n + parts->rules->last_modified.n;
    for (size_t i = 0; i < parts->header_count; i++)
        n += parts->headers[i].name.n + parts->headers[i].value.n + 2;
    return n;
}

static void lay_list(struct str *to, const struct str *from, size_t count, char **at)
{
    for (size_t i = 0; i < count; i++)
        to[i] = lay(at, from[i]);
}

struct cache_entry *cache_entry_create(const struct cache_entry_parts *parts)
{
    size_t arrays = parts->header_count * sizeof(struct up_header);
    size_t size = sizeof(struct cache_entry) + arrays + text_size(parts) +
                  list_size(parts->vary_names, parts->vary_count) +
                  list_size(parts->vary_values, parts->vary_count) +
                  list_size(parts->tags, parts->tag_count);
    static _Atomic uint64_t serial;
    struct cache_entry *entry = h2o_mem_alloc(size);
    *entry = (struct cache_entry){.hash = parts->key.hash,
                                  .serial = atomic_fetch_add(&serial, 1),
                                  .vary_count = parts->vary_count,
                                  .tag_count = parts->tag_count,
                                  .status = parts->status,
                                  .header_count = parts->header_count,
                                  .rules = *parts->rules,
                                  .refs = 1};
    entry->headers = (struct up_header *)(entry + 1);
    entry->vary_names = (struct str *)(entry->headers + parts->header_count);
    entry->vary_values = entry->vary_names + parts->vary_count;
    entry->tags = entry->vary_values + parts->vary_count;
    char *at = (char *)(entry->tags + parts->tag_count);
    for (size_t i = 0; i < parts->header_count; i++) {
        entry->headers[i].name = lay(&at, parts->headers[i].name);
        entry->headers[i].value = lay(&at, parts->headers[i].value);
    }
    lay_list(entry->vary_names, parts->vary_names, parts->vary_count, &at);
    lay_list(entry->vary_values, parts->vary_values, parts->vary_count, &at);
    lay_list(entry->tags, parts->tags, parts->tag_count, &at);
    entry->key = lay(&at, parts->key.text);
    entry->content_type = lay(&at, parts->content_type.p ? parts->content_type : STR(""));
    entry->body = lay(&at, parts->body.p ? parts->body : STR(""));
    entry->rules.etag = lay(&at, parts->rules->etag);
    entry->rules.last_modified = lay(&at, parts->rules->last_modified);
    gw_assert(at <= (char *)entry + size);
    json_doc_init(&entry->doc);
    entry->bytes = size;
    if (parts->doc != NULL) {
        entry->doc = *parts->doc;
        entry->doc.text = entry->body.p;
        entry->bytes += entry->doc.capacity * sizeof(struct json_node);
    }
    return entry;
}

struct cache_entry *cache_entry_ref(struct cache_entry *entry)
{
    atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
    return entry;
}

void cache_entry_unref(struct cache_entry **entry_p)
{
    struct cache_entry *entry = *entry_p;
    *entry_p = NULL;
    if (entry == NULL || atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) != 1)
        return;
    json_doc_fini(&entry->doc);
    free(entry);
}

/* -- Vary ------------------------------------------------------------------------------------- */

/* Compares a field's lines, taken as one list without blanks around its commas, with such a list,
 * without making it. */
static bool has_value(const struct up_header *headers, size_t count, struct str name,
                      struct str value)
{
    size_t at = 0;
    bool is_there = false;
    for (size_t i = 0; i < count; i++) {
        if (!str_caseeq(headers[i].name, name))
            continue;
        struct str rest = headers[i].value;
        bool first = true;
        do {
            struct str item = next_item(&rest, ',');
            bool comma = is_there || !first;
            if (value.p == NULL || at + comma + item.n > value.n || (comma && value.p[at] != ',') ||
                (item.n != 0 && memcmp(value.p + at + comma, item.p, item.n) != 0))
                return false;
            at += comma + item.n;
            first = false;
            is_there = true;
        } while (rest.n != 0);
    }
    return is_there ? at == value.n : value.p == NULL;
}

bool cache_entry_suits(const struct cache_entry *entry, const struct up_header *headers,
                       size_t count)
{
    for (size_t i = 0; i < entry->vary_count; i++)
        if (!has_value(headers, count, entry->vary_names[i], entry->vary_values[i]))
            return false;
    return true;
}
