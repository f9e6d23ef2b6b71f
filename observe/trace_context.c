/* W3C Trace Context and Baggage: reading what a client sends, writing what upstreams are sent. Pure
 * functions over bytes; tests/fuzz/fuzz_trace.c feeds them anything. */
#include "base/put.h"
#include "base/text.h"
#include "observe/trace.h"

enum { KEY_MAX = 256, VALUE_MAX = 256, TENANT_MAX = 241, SYSTEM_MAX = 14 };

/* -- traceparent ------------------------------------------------------------------------------- */

/* Lower case only: section 3.2.2. */
static bool read_hex(const char *p, size_t digits, uint64_t *value_r)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = p[i] >= 'A' && p[i] <= 'F' ? -1 : hex_value(p[i]);
        if (digit < 0)
            return false;
        value = value << 4 | (unsigned)digit;
    }
    *value_r = value;
    return true;
}

bool trace_parent_read(struct str text, struct trace_link *link_r)
{
    uint64_t version, flags;
    struct trace_link link = {.sampled = false};
    const char *p = text.p;
    if (text.n < TRACE_PARENT_TEXT || p[2] != '-' || p[35] != '-' || p[52] != '-' ||
        !read_hex(p, 2, &version) || !read_hex(p + 3, 16, &link.trace[0]) ||
        !read_hex(p + 19, 16, &link.trace[1]) || !read_hex(p + 36, 16, &link.span) ||
        !read_hex(p + 53, 2, &flags))
        return false;
    if (version == 0xff || !trace_is(&link) || link.span == 0)
        return false;
    /* Later versions may go on behind another dash. */
    if (text.n > TRACE_PARENT_TEXT && (version == 0 || p[TRACE_PARENT_TEXT] != '-'))
        return false;
    link.sampled = (flags & 1) != 0;
    *link_r = link;
    return true;
}

char *trace_id_put(char *at, const struct trace_link *link)
{
    return put_hex(put_hex(at, link->trace[0]), link->trace[1]);
}

char *trace_parent_put(char *at, const struct trace_link *link)
{
    at = trace_id_put(put_str(at, STR("00-")), link);
    *at++ = '-';
    at = put_hex(at, link->span);
    return put_str(at, link->sampled ? STR("-01") : STR("-00"));
}

/* -- tracestate -------------------------------------------------------------------------------- */

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || is_digit(c);
}

static bool is_key_part(struct str part, size_t max)
{
    if (part.n == 0 || part.n > max)
        return false;
    for (size_t i = 0; i < part.n; i++)
        if (!is_lower_or_digit(part.p[i]) && memchr("_-*/", part.p[i], 4) == NULL)
            return false;
    return true;
}

/* "vendor", which begins with a letter, or "tenant@vendor": section 3.3.1.3.1. */
static bool is_state_key(struct str key)
{
    const char *at = key.n != 0 ? memchr(key.p, '@', key.n) : NULL;
    if (at == NULL)
        return is_key_part(key, KEY_MAX) && !is_digit(key.p[0]) && is_lower_or_digit(key.p[0]);
    struct str tenant = {key.p, (size_t)(at - key.p)};
    struct str vendor = {at + 1, key.n - tenant.n - 1};
    return is_key_part(tenant, TENANT_MAX) && is_lower_or_digit(tenant.p[0]) &&
           is_key_part(vendor, SYSTEM_MAX) && !is_digit(vendor.p[0]) &&
           is_lower_or_digit(vendor.p[0]);
}

static bool is_state_value(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < ' ' || value.p[i] > '~' || value.p[i] == ',' || value.p[i] == '=')
            return false;
    return value.n != 0 && value.n <= VALUE_MAX && value.p[value.n - 1] != ' ';
}

/* Takes "key=value" apart. False: there is no '='. */
static bool split(struct str member, struct str *key_r, struct str *value_r)
{
    const char *equals = member.n != 0 ? memchr(member.p, '=', member.n) : NULL;
    if (equals == NULL)
        return false;
    *key_r = (struct str){member.p, (size_t)(equals - member.p)};
    *value_r = (struct str){equals + 1, member.n - key_r->n - 1};
    return true;
}

bool trace_state_valid(struct str text)
{
    struct str keys[TRACE_STATE_MEMBERS_MAX], list = text;
    size_t count = 0;
    if (text.n > TRACE_STATE_MAX)
        return false;
    while (list.n != 0) {
        struct str member = next_item(&list, ','), value;
        if (member.n == 0)
            continue; /* empty members are allowed */
        if (count == COUNT(keys) || !split(member, &keys[count], &value) ||
            !is_state_key(keys[count]) || !is_state_value(value))
            return false;
        for (size_t i = 0; i < count; i++)
            if (str_eq(keys[i], keys[count]))
                return false;
        count++;
    }
    return count != 0;
}

/* -- baggage ----------------------------------------------------------------------------------- */

/* baggage-octet: visible ASCII but for the comma, the semicolon, the quote and the backslash. */
static bool is_baggage_text(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~' || memchr(",;\"\\", text.p[i], 4) != NULL)
            return false;
    return true;
}

bool trace_baggage_valid(struct str text)
{
    struct str list = text;
    size_t count = 0;
    if (text.n > TRACE_BAGGAGE_MAX)
        return false;
    while (list.n != 0) {
        struct str member = next_item(&list, ','), pair = next_item(&member, ';'), key, value;
        if (++count > TRACE_BAGGAGE_MEMBERS_MAX || !split(pair, &key, &value) ||
            !is_token(trimmed(key)) || !is_baggage_text(trimmed(value)))
            return false;
        while (member.n != 0) { /* properties: a key, maybe with a value */
            struct str property = next_item(&member, ';');
            if (!split(property, &key, &value))
                key = property, value = STR("");
            if (!is_token(trimmed(key)) || !is_baggage_text(trimmed(value)))
                return false;
        }
    }
    return count != 0;
}
