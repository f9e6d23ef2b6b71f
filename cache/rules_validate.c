/* Asking whether a stored answer still holds, and what a 304 makes of it: sections 4.3 and 3.2. */
#include "cache/rules_private.h"
#include "base/text.h"

bool rules_is_etag(struct str text)
{
    if (text.n >= 2 && memcmp(text.p, "W/", 2) == 0)
        text = (struct str){text.p + 2, text.n - 2};
    if (text.n < 2 || text.p[0] != '"' || text.p[text.n - 1] != '"')
        return false;
    for (size_t i = 1; i < text.n - 1; i++)
        if ((unsigned char)text.p[i] <= 0x20 || text.p[i] == '"' || text.p[i] == 0x7f)
            return false;
    return true;
}

static bool is_weak(struct str etag)
{
    return etag.p[0] == 'W';
}

/* RFC 9110 section 8.8.3.2's weak comparison. */
static bool is_same_tag(struct str a, struct str b)
{
    size_t skip_a = is_weak(a) ? 2 : 0, skip_b = is_weak(b) ? 2 : 0;
    return str_eq((struct str){a.p + skip_a, a.n - skip_a},
                  (struct str){b.p + skip_b, b.n - skip_b});
}

size_t rules_conditions(const struct rules *rules, struct up_header conditions_r[2])
{
    size_t count = 0;
    if (rules->etag.p != NULL)
        conditions_r[count++] = (struct up_header){STR("If-None-Match"), rules->etag};
    if (rules->last_modified.p != NULL)
        conditions_r[count++] = (struct up_header){STR("If-Modified-Since"), rules->last_modified};
    return count;
}

static bool is_same_date(struct str a, struct str b, uint64_t now_ms)
{
    uint64_t a_ms, b_ms;
    return rules_date(a, now_ms, &a_ms) && rules_date(b, now_ms, &b_ms) && a_ms == b_ms;
}

bool rules_validates(const struct rules *stored, const struct up_header *headers, size_t count)
{
    bool etag_differs, modified_differs;
    struct str etag = rules_line(headers, count, STR("etag"), &etag_differs);
    struct str modified = rules_line(headers, count, STR("last-modified"), &modified_differs);

    if (etag.p != NULL && (etag_differs || !rules_is_etag(etag)))
        return false; /* whatever it is about */
    if (etag.p != NULL && stored->etag.p != NULL) {
        /* Strong to strong, but where the stored one is weak: servers that compress make the tag of
         * a 200 weak for that, and that of a 304, which has no body, not. */
        bool strong = !is_weak(etag) && !is_weak(stored->etag);
        return strong ? str_eq(etag, stored->etag) : is_same_tag(etag, stored->etag);
    }
    if (etag.p != NULL && !is_weak(etag))
        return false; /* one by a strong name, which the stored one hasn't */
    if (modified.p != NULL && stored->last_modified.p != NULL)
        return !modified_differs &&
               is_same_date(modified, stored->last_modified, stored->received_ms);
    return etag.p == NULL && modified.p == NULL;
}

/* -- merging -------------------------------------------------------------------------------- */

/* Of the body that is stored, whatever a 304 says. */
static bool describes_body(struct str name)
{
    static const struct str names[] = {STR("content-length"), STR("content-encoding"),
                                       STR("content-range")};
    return rules_is_any(name, names, COUNT(names));
}

/* Of the message that brought it: theirs is told anew or not at all. */
static bool describes_message(struct str name)
{
    return str_caseeq(name, STR("age")) || str_caseeq(name, STR("date"));
}

static bool has(const struct up_header *headers, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_caseeq(headers[i].name, name))
            return true;
    return false;
}

void rules_merge(const struct up_header *stored, size_t stored_count, const struct up_header *fresh,
                 size_t fresh_count, h2o_mem_pool_t *pool, struct up_header **headers_r,
                 size_t *count_r)
{
    struct up_header *merged =
        h2o_mem_alloc_pool(pool, (stored_count + fresh_count + 1) * sizeof(*merged));
    struct str connection = rules_field(fresh, fresh_count, STR("connection"), pool);
    size_t updates = 0;

    for (size_t i = 0; i < fresh_count; i++)
        if (!describes_body(fresh[i].name) && !rules_is_hop_by_hop(fresh[i].name, connection))
            merged[updates++] = fresh[i];
    size_t count = updates;
    for (size_t i = 0; i < stored_count; i++)
        if (!describes_message(stored[i].name) && !has(merged, updates, stored[i].name))
            merged[count++] = stored[i];
    *headers_r = merged;
    *count_r = count;
}
