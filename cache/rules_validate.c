/* Asking whether what is kept still holds, and what a 304 means for it: RFC 9111 sections 3.2, 4.3
 * and 4.4. */
#include "base/text.h"
#include "cache/rules.h"

size_t rules_conditions(const struct rules *rules, struct up_header conditions_r[2])
{
    size_t n = 0;
    if (rules->etag.n != 0)
        conditions_r[n++] = (struct up_header){STR("If-None-Match"), rules->etag};
    if (rules->last_modified.n != 0)
        conditions_r[n++] = (struct up_header){STR("If-Modified-Since"), rules->last_modified};
    return n;
}

static struct str first(const struct up_header *headers, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_caseeq(headers[i].name, name))
            return trimmed(headers[i].value);
    return (struct str){NULL, 0};
}

/* Without W/: RFC 9110 section 8.8.3.2's weak comparison. */
static struct str opaque(struct str etag)
{
    bool weak = etag.n >= 2 && etag.p[0] == 'W' && etag.p[1] == '/';
    return weak ? (struct str){etag.p + 2, etag.n - 2} : etag;
}

bool rules_validates(const struct rules *stored, const struct up_header *headers, size_t count)
{
    struct str etag = first(headers, count, STR("etag"));
    struct str modified = first(headers, count, STR("last-modified"));
    if (etag.n != 0) {
        bool strong = etag.p[0] == '"';
        return stored->etag.n != 0 &&
               (strong ? str_eq(etag, stored->etag) || str_eq(etag, opaque(stored->etag))
                       : str_eq(opaque(etag), opaque(stored->etag)));
    }
    if (modified.n != 0 && stored->last_modified.n != 0)
        return str_eq(modified, stored->last_modified);
    return true;
}

bool rules_is_hop_by_hop(struct str name, struct str connection)
{
    static const char *const names[] = {"connection",
                                        "keep-alive",
                                        "proxy-connection",
                                        "te",
                                        "transfer-encoding",
                                        "upgrade",
                                        "trailer",
                                        "proxy-authorization",
                                        "proxy-authenticate",
                                        "proxy-authentication-info"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_caseeq(name, str_from(names[i])))
            return true;
    while (connection.n != 0)
        if (str_caseeq(next_item(&connection, ','), name))
            return true;
    return false;
}

/* Section 3.2: what describes the stored bytes stays as it was. */
static bool is_about_content(struct str name)
{
    static const char *const names[] = {"content-encoding", "content-length", "content-range",
                                        "content-type"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_caseeq(name, str_from(names[i])))
            return true;
    return false;
}

static bool updates(const struct up_header *header, struct str connection)
{
    return !is_about_content(header->name) && !rules_is_hop_by_hop(header->name, connection);
}

void rules_merge(const struct up_header *stored, size_t stored_count, const struct up_header *fresh,
                 size_t fresh_count, h2o_mem_pool_t *pool, struct up_header **headers_r,
                 size_t *count_r)
{
    struct up_header *headers =
        h2o_mem_alloc_pool(pool, (stored_count + fresh_count + 1) * sizeof(*headers));
    struct str connection = rules_field(fresh, fresh_count, STR("connection"), pool);
    size_t n = 0;
    for (size_t i = 0; i < stored_count; i++) {
        bool replaced = false;
        for (size_t j = 0; j < fresh_count && !replaced; j++)
            replaced = updates(&fresh[j], connection) && str_caseeq(fresh[j].name, stored[i].name);
        /* how old it was at the last hop is for the 304 to say */
        if (!replaced && !str_caseeq(stored[i].name, STR("age")))
            headers[n++] = stored[i];
    }
    for (size_t i = 0; i < fresh_count; i++)
        if (updates(&fresh[i], connection))
            headers[n++] = fresh[i];
    *headers_r = headers;
    *count_r = n;
}

bool rules_invalidates(const struct rules_request *request, int status)
{
    return !request->is_safe && status >= 200 && status < 400;
}
