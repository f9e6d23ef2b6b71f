/* Each field is a few bytes of a closed grammar, so each is read by one small function that says
 * yes or no. The number of keys of Upload-Metadata is capped: finding a key twice compares each
 * with all before it. */
#include "files/tus_headers.h"

#include "base/text.h"
#include "files/form_fields.h"
#include "files/upload_internal.h"

enum { METADATA_KEYS_MAX = 64 };

bool tus_parse_number(struct str text, uint64_t *number_r)
{
    uint64_t number = 0;
    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i]))
            return false;
        uint64_t digit = (uint64_t)(text.p[i] - '0');
        if (number > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *number_r = number;
    return true;
}

/* -- Upload-Checksum -------------------------------------------------------------------------- */

const struct str tus_checksum_algorithms = {"sha256,sha1,md5,crc32", 21};

enum tus_parsed tus_parse_checksum(struct str text, struct tus_checksum *checksum_r)
{
    static const struct {
        struct str name;
        enum digest_kind kind;
    } algorithms[] = {{{"sha256", 6}, DIGEST_SHA256},
                      {{"sha1", 4}, DIGEST_SHA1},
                      {{"md5", 3}, DIGEST_MD5},
                      {{"crc32", 5}, DIGEST_CRC32}};
    const char *blank = text.n == 0 ? NULL : memchr(text.p, ' ', text.n);
    if (blank == NULL || blank == text.p)
        return TUS_MALFORMED;
    struct str name = {text.p, (size_t)(blank - text.p)};
    struct str value = {blank + 1, text.n - name.n - 1};
    size_t i = 0;
    while (i < COUNT(algorithms) && !str_caseeq(name, algorithms[i].name))
        i++;
    if (i == COUNT(algorithms))
        return TUS_UNKNOWN;
    *checksum_r = (struct tus_checksum){.kind = algorithms[i].kind};
    size_t size = digest_size(checksum_r->kind);
    return value.n == BASE64_LENGTH(size) &&
                   base64_decode(value, checksum_r->value, &checksum_r->n) && checksum_r->n == size
               ? TUS_PARSED
               : TUS_MALFORMED;
}

/* -- Upload-Metadata -------------------------------------------------------------------------- */

static bool is_key(struct str key)
{
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] <= 0x20 || key.p[i] >= 0x7f)
            return false;
    return key.n != 0;
}

/* "C:\x\y.txt" and "x/y.txt" are "y.txt". */
static struct str without_path(struct str name)
{
    size_t start = name.n;
    while (start != 0 && name.p[start - 1] != '/' && name.p[start - 1] != '\\')
        start--;
    return (struct str){name.p + start, name.n - start};
}

struct pair {
    struct str key, value;
};

static enum tus_parsed split(h2o_mem_pool_t *pool, struct str text,
                             struct pair pairs_r[METADATA_KEYS_MAX], size_t *count_r)
{
    size_t count = *count_r = 0;
    if (text.n > TUS_METADATA_MAX)
        return TUS_TOO_LONG;
    if (text.n == 0)
        return TUS_PARSED;
    bool more = true; /* a comma at the end begins one more pair, which is empty */
    while (more) {
        const char *comma = memchr(text.p, ',', text.n);
        struct str pair =
            trimmed((struct str){text.p, comma != NULL ? (size_t)(comma - text.p) : text.n});
        more = comma != NULL;
        if (more)
            text = (struct str){comma + 1, text.n - (size_t)(comma + 1 - text.p)};

        const char *blank = pair.n == 0 ? NULL : memchr(pair.p, ' ', pair.n);
        struct str key = {pair.p, blank != NULL ? (size_t)(blank - pair.p) : pair.n};
        struct str encoded = {blank != NULL ? blank + 1 : "",
                              blank != NULL ? pair.n - key.n - 1 : 0};
        if (!is_key(key))
            return TUS_MALFORMED;
        for (size_t i = 0; i < count; i++)
            if (str_eq(pairs_r[i].key, key))
                return TUS_MALFORMED;
        if (count == METADATA_KEYS_MAX)
            return TUS_TOO_LONG;

        uint8_t *bytes = h2o_mem_alloc_pool(pool, encoded.n / 4 * 3 + 3);
        struct str value = {(const char *)bytes, 0};
        if (!base64_decode(encoded, bytes, &value.n))
            return TUS_MALFORMED;
        pairs_r[count++] = (struct pair){key, value};
    }
    *count_r = count;
    return TUS_PARSED;
}

static struct str value_of(const struct pair *pairs, size_t count, struct str key)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(pairs[i].key, key))
            return pairs[i].value;
    return STR("");
}

enum tus_parsed tus_parse_metadata(h2o_mem_pool_t *pool, struct str text, struct str *name_r)
{
    struct pair pairs[METADATA_KEYS_MAX];
    size_t count;
    *name_r = STR("");
    enum tus_parsed parsed = split(pool, text, pairs, &count);
    if (parsed != TUS_PARSED)
        return parsed;
    struct str filename = value_of(pairs, count, STR("filename"));
    struct str chosen =
        without_path(filename.n != 0 ? filename : value_of(pairs, count, STR("name")));
    if (chosen.n != 0)
        *name_r = upload_text(pool, chosen, UPLOAD_NAME_MAX);
    return TUS_PARSED;
}

static struct str unescaped(h2o_mem_pool_t *pool, struct str key)
{
    char *text = h2o_mem_alloc_pool(pool, key.n);
    size_t n = 0;
    for (size_t i = 0; i < key.n; i++) {
        int byte = percent_byte(key.p + i, key.p + key.n);
        text[n++] = byte < 0 ? key.p[i] : (char)byte;
        i += byte < 0 ? 0 : 2;
    }
    return (struct str){text, n};
}

struct str tus_metadata_fields(h2o_mem_pool_t *pool, struct str text,
                               const struct config_strings *known)
{
    struct pair pairs[METADATA_KEYS_MAX];
    struct form_fields fields;
    size_t count;
    form_fields_init(&fields, known, pool);
    if (split(pool, text, pairs, &count) != TUS_PARSED)
        return STR("");
    for (size_t i = 0; i < count; i++) {
        size_t which = form_fields_find(&fields, pairs[i].key);
        if (which == known->count)
            which = form_fields_find(&fields, unescaped(pool, pairs[i].key));
        if (which < known->count)
            form_fields_add(&fields, which, pairs[i].value);
    }
    return form_fields_print(&fields);
}

struct str tus_print_metadata(h2o_mem_pool_t *pool, struct str name)
{
    static const struct str key = {"filename ", 9};
    if (name.n == 0)
        return STR("");
    char *text = h2o_mem_alloc_pool(pool, key.n + BASE64_LENGTH(name.n) + 1);
    memcpy(text, key.p, key.n);
    return (struct str){text, key.n + base64_encode(name.p, name.n, text + key.n)};
}
