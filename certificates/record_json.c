/* A record as JSON: nothing that isn't there is left out, so that clients need not ask. */
#include "certificates/record_json.h"

#include <h2o/string_.h>
#include <time.h>
#include "certificates/verdict.h"
#include "crypto/crypto.h"

enum { DEPTH_MAX = 8 };

struct json_value record_json_text(h2o_mem_pool_t *pool, struct str text)
{
    struct str *kept = h2o_mem_alloc_pool(pool, sizeof(*kept));
    *kept = text;
    return json_from_text(kept);
}

struct json_value record_json_label(h2o_mem_pool_t *pool, struct str name)
{
    h2o_iovec_t words = h2o_strdup(pool, name.p, name.n);
    for (size_t i = 0; i < words.len; i++)
        if (words.base[i] == '_' || words.base[i] == '-')
            words.base[i] = ' ';
    return record_json_text(pool, (struct str){words.base, words.len});
}

struct json_value record_json_copy(h2o_mem_pool_t *pool, const char *text, size_t n)
{
    h2o_iovec_t copy = h2o_strdup(pool, text, n);
    return record_json_text(pool, (struct str){copy.base, copy.len});
}

static struct json_value text_or_null(h2o_mem_pool_t *pool, struct str text)
{
    return text.n != 0 ? record_json_text(pool, text) : json_null();
}

/* RFC 3339, in UTC. */
static struct json_value time_value(h2o_mem_pool_t *pool, int64_t ms)
{
    char text[64];
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (ms == 0 || gmtime_r(&s, &tm) == NULL)
        return json_null();
    return record_json_copy(pool, text, strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm));
}

static void dispose_doc(void *doc)
{
    json_doc_fini(doc);
}

/* An object, or null when it isn't one. */
static struct json_value shown_value(h2o_mem_pool_t *pool, struct str text)
{
    struct json_doc *doc = h2o_mem_alloc_shared(pool, sizeof(*doc), dispose_doc);
    json_doc_init(doc);
    if (text.n == 0 || json_parse(doc, text.p, text.n, DEPTH_MAX, NULL) != JSON_OK ||
        json_type(json_root(doc)) != JSON_OBJECT)
        return json_null();
    return json_root(doc);
}

struct json_object *record_json(h2o_mem_pool_t *pool, struct str serial,
                                const struct certificate_record *record)
{
    static const struct certificate_record unknown = {0};
    const struct certificate_record *of = record != NULL ? record : &unknown;
    struct str status = str_from(standing_name(standing_of(record)));
    struct json_value sha256_value = json_null();
    if (record != NULL) {
        char digits[2 * sizeof(record->sha256) + 1];
        hex_encode(record->sha256, sizeof(record->sha256), digits);
        sha256_value = record_json_copy(pool, digits, sizeof(digits) - 1);
    }
    const struct {
        struct str name;
        struct json_value value;
    } members[] = {
        {STR("id"), text_or_null(pool, serial)},
        {STR("status"), record_json_text(pool, status)},
        {STR("issued_at"), time_value(pool, of->issued_ms)},
        {STR("revoked_at"),
         time_value(pool, of->status == CERTIFICATE_REVOKED ? of->changed_ms : 0)},
        {STR("superseded_at"),
         time_value(pool, of->status == CERTIFICATE_SUPERSEDED ? of->changed_ms : 0)},
        {STR("superseded_by"), text_or_null(pool, of->superseded_by)},
        {STR("sha256"), sha256_value},
        {STR("certificate"), text_or_null(pool, of->route)},
        {STR("reason"), text_or_null(pool, of->reason)},
        {STR("fields"), shown_value(pool, of->shown)},
    };
    struct json_object *object = json_object_create(pool, COUNT(members) + 16);
    for (size_t i = 0; i < COUNT(members); i++)
        json_object_set(pool, object, members[i].name, members[i].value);
    return object;
}
