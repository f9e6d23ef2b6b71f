/* A request's record as one line, JSON or logfmt.
 *
 * This runs once a request on the loop, so it is written by hand: the caller reserves the longest
 * line the record could become, and from there on bytes are stored without looking at what is
 * left. Nearly every value is plain ASCII and is checked and copied eight bytes at a time. */
#include "observe/access_line.h"
#include "base/text.h"

/* A byte of a value becomes at most \u00xx. */
enum { ESCAPED_MAX = 6 };
/* Keys, punctuation and numbers of a line, and of one part; see the longest of them below. */
enum { LINE_FRAME_MAX = 320, PART_FRAME_MAX = 224 };

/* -- numbers and time ------------------------------------------------------------------------ */

static char *put_text(char *at, const char *p, size_t n)
{
    memcpy(at, p, n);
    return at + n;
}

#define PUT(at, literal) put_text((at), "" literal, sizeof(literal) - 1)

static char *put_number(char *at, uint64_t value)
{
    char digits[20];
    char *p = digits + sizeof(digits);
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return put_text(at, p, (size_t)(digits + sizeof(digits) - p));
}

/* The lowest `width` decimal digits of value, zeros in front. */
static char *put_digits(char *at, unsigned value, unsigned width)
{
    for (unsigned i = width; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + width;
}

static char *put_ms(char *at, uint64_t us)
{
    at = put_number(at, us / 1000);
    *at++ = '.';
    return put_digits(at, (unsigned)(us % 1000), 3);
}

void access_stamp_set(struct access_stamp *stamp, struct timespec now)
{
    char *at = stamp->text;
    if (now.tv_sec != stamp->second || *at == '\0') {
        struct tm tm;
        gmtime_r(&now.tv_sec, &tm);
        at = put_digits(at, (unsigned)tm.tm_year + 1900, 4);
        *at++ = '-';
        at = put_digits(at, (unsigned)tm.tm_mon + 1, 2);
        *at++ = '-';
        at = put_digits(at, (unsigned)tm.tm_mday, 2);
        *at++ = 'T';
        at = put_digits(at, (unsigned)tm.tm_hour, 2);
        *at++ = ':';
        at = put_digits(at, (unsigned)tm.tm_min, 2);
        *at++ = ':';
        put_digits(at, (unsigned)tm.tm_sec, 2);
        stamp->second = now.tv_sec;
    }
    at = stamp->text + sizeof("2026-11-22T09:30:00") - 1;
    *at++ = '.';
    at = put_digits(at, (unsigned)(now.tv_nsec / 1000000), 3);
    *at = 'Z';
}

/* -- values ---------------------------------------------------------------------------------- */

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* High bit of each byte of x that equals b; bytes after the first such may be wrong. */
static uint64_t equals(uint64_t x, uint8_t b)
{
    uint64_t difference = x ^ EACH_BYTE(b);
    return (difference - EACH_BYTE(1)) & ~difference;
}

/* Nonzero when any of the eight bytes is a control character, not ASCII, a quote or a backslash. */
static uint64_t special(uint64_t x)
{
    return (x | (x - EACH_BYTE(0x20)) | (x + EACH_BYTE(1)) | equals(x, '"') | equals(x, '\\')) &
           EACH_BYTE(0x80);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* What a terminal or a line reader might act on: C0 and C1 controls, the line and paragraph
 * separators, and what turns the direction of text around. */
static bool is_hazard(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

static char *put_unicode_escape(char *at, uint32_t code)
{
    at = PUT(at, "\\u");
    for (int shift = 12; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[code >> shift & 15];
    return at;
}

/* One character that is not plain; *p_r moves past it. */
static char *put_special(char *at, const char **p_r, const char *end)
{
    static const char short_escapes[128] = {
        ['"'] = '"', ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    const char *p = *p_r;
    size_t length = utf8_length(p, end);
    uint32_t code = length != 0 ? utf8_decode(p, length) : 0xfffd;
    *p_r += length != 0 ? length : 1;
    if (code < 0x80 && short_escapes[code] != 0) {
        *at++ = '\\';
        *at++ = short_escapes[code];
        return at;
    }
    if (length == 0 || is_hazard(code))
        return put_unicode_escape(at, code);
    return put_text(at, p, length);
}

static char *put_escaped(char *at, struct str value)
{
    const char *p = value.p, *end = value.p + value.n;
    while (p != end) {
        uint64_t x;
        while (end - p >= (ptrdiff_t)sizeof(x)) {
            memcpy(&x, p, sizeof(x));
            if (special(x))
                break;
            memcpy(at, &x, sizeof(x));
            at += sizeof(x);
            p += sizeof(x);
        }
        for (int i = 0; i < (int)sizeof(x) && p != end; i++) {
            if (is_plain((unsigned char)*p))
                *at++ = *p++;
            else
                at = put_special(at, &p, end);
        }
    }
    return at;
}

static char *put_quoted(char *at, struct str value)
{
    *at++ = '"';
    at = put_escaped(at, value);
    *at++ = '"';
    return at;
}

static bool is_bare(struct str value)
{
    const char *p = value.p, *end = value.p + value.n;
    for (uint64_t x; end - p >= (ptrdiff_t)sizeof(x); p += sizeof(x)) {
        memcpy(&x, p, sizeof(x));
        if (special(x) || ((equals(x, ' ') | equals(x, '=')) & EACH_BYTE(0x80)))
            return false;
    }
    for (; p != end; p++) {
        if (!is_plain((unsigned char)*p) || *p == ' ' || *p == '=')
            return false;
    }
    return true;
}

static char *put_logfmt_value(char *at, struct str value)
{
    return is_bare(value) ? put_text(at, value.p, value.n) : put_quoted(at, value);
}

/* At most ACCESS_VALUE_MAX bytes, never ending inside a character. */
static struct str cut(struct str value)
{
    if (value.n <= ACCESS_VALUE_MAX)
        return value;
    size_t n = ACCESS_VALUE_MAX;
    for (int back = 0; back < 3 && utf8_is_continuation(value.p[n]); back++)
        n--;
    return (struct str){value.p, n};
}

/* -- lines ----------------------------------------------------------------------------------- */

static size_t value_bound(struct str value)
{
    return ESCAPED_MAX * (value.n < ACCESS_VALUE_MAX ? value.n : ACCESS_VALUE_MAX);
}

size_t access_line_bound(const struct access_record *r)
{
    size_t bound = LINE_FRAME_MAX + value_bound(r->id) + value_bound(r->client) +
                   value_bound(r->user) + value_bound(r->method) + value_bound(r->path) +
                   value_bound(r->host) + value_bound(r->protocol) + value_bound(r->route) +
                   value_bound(r->user_agent) + value_bound(str_from(r->flags));
    for (size_t i = 0; i < r->part_count; i++) {
        const struct access_part *part = &r->parts[i];
        /* logfmt repeats the name in each of a part's six keys: no more than escaping could add */
        bound += PART_FRAME_MAX + value_bound(part->name) + value_bound(str_from(part->state)) +
                 value_bound(str_from(part->error));
    }
    return bound;
}

#define JSON_FIELD(at, key, value) json_field((at), STR(",\"" key "\":"), (value))

static char *json_field(char *at, struct str key, struct str value)
{
    if (value.n == 0)
        return at;
    at = put_text(at, key.p, key.n);
    return put_quoted(at, cut(value));
}

static char *json_part(char *at, const struct access_part *part)
{
    at = PUT(at, "{\"name\":");
    at = put_quoted(at, cut(part->name));
    at = JSON_FIELD(at, "state", str_from(part->state));
    if (part->status != 0) {
        at = PUT(at, ",\"status\":");
        at = put_number(at, (unsigned)part->status);
    }
    at = PUT(at, ",\"ms\":");
    at = put_ms(at, part->us);
    at = PUT(at, ",\"bytes\":");
    at = put_number(at, part->bytes);
    at = PUT(at, ",\"attempts\":");
    at = put_number(at, part->attempts);
    at = JSON_FIELD(at, "error", str_from(part->error));
    *at++ = '}';
    return at;
}

static char *json_line(char *at, struct str ts, const struct access_record *r)
{
    at = PUT(at, "{\"ts\":\"");
    at = put_text(at, ts.p, ts.n);
    *at++ = '"';
    at = JSON_FIELD(at, "id", r->id);
    at = JSON_FIELD(at, "client", r->client);
    at = JSON_FIELD(at, "user", r->user);
    at = JSON_FIELD(at, "method", r->method);
    at = JSON_FIELD(at, "path", r->path);
    at = JSON_FIELD(at, "host", r->host);
    at = JSON_FIELD(at, "protocol", r->protocol);
    at = JSON_FIELD(at, "route", r->route);
    at = PUT(at, ",\"status\":");
    at = put_number(at, (unsigned)r->status);
    at = PUT(at, ",\"bytes\":");
    at = put_number(at, r->bytes);
    at = PUT(at, ",\"ms\":");
    at = put_ms(at, r->us);
    at = JSON_FIELD(at, "flags", str_from(r->flags));
    at = JSON_FIELD(at, "ua", r->user_agent);
    if (r->part_count != 0) {
        at = PUT(at, ",\"parts\":[");
        for (size_t i = 0; i < r->part_count; i++) {
            if (i != 0)
                *at++ = ',';
            at = json_part(at, &r->parts[i]);
        }
        *at++ = ']';
    }
    return PUT(at, "}\n");
}

#define LOGFMT_FIELD(at, key, value) logfmt_field((at), STR(" " key "="), (value))

static char *logfmt_field(char *at, struct str key, struct str value)
{
    if (value.n == 0)
        return at;
    at = put_text(at, key.p, key.n);
    return put_logfmt_value(at, cut(value));
}

/* " part.NAME" once, as a key: names are the configuration's and plain, but a key that isn't would
 * break the line. */
static char *logfmt_part_prefix(char *at, struct str name)
{
    at = PUT(at, " part.");
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        *at++ = is_plain((unsigned char)c) && c != ' ' && c != '=' ? c : '_';
    }
    return at;
}

static char *logfmt_part(char *at, const struct access_part *part)
{
    char *start = at;
    at = logfmt_part_prefix(at, cut(part->name));
    size_t prefix = (size_t)(at - start);
#define AGAIN(at, key) PUT(put_text((at), start, prefix), key)
    at = PUT(at, ".state=");
    at = put_logfmt_value(at, cut(str_from(part->state)));
    if (part->status != 0) {
        at = AGAIN(at, ".status=");
        at = put_number(at, (unsigned)part->status);
    }
    at = AGAIN(at, ".ms=");
    at = put_ms(at, part->us);
    at = AGAIN(at, ".bytes=");
    at = put_number(at, part->bytes);
    at = AGAIN(at, ".attempts=");
    at = put_number(at, part->attempts);
    if (part->error) {
        at = AGAIN(at, ".error=");
        at = put_logfmt_value(at, cut(str_from(part->error)));
    }
#undef AGAIN
    return at;
}

static char *logfmt_line(char *at, struct str ts, const struct access_record *r)
{
    at = PUT(at, "ts=");
    at = put_text(at, ts.p, ts.n);
    at = LOGFMT_FIELD(at, "id", r->id);
    at = LOGFMT_FIELD(at, "client", r->client);
    at = LOGFMT_FIELD(at, "user", r->user);
    at = LOGFMT_FIELD(at, "method", r->method);
    at = LOGFMT_FIELD(at, "path", r->path);
    at = LOGFMT_FIELD(at, "host", r->host);
    at = LOGFMT_FIELD(at, "protocol", r->protocol);
    at = LOGFMT_FIELD(at, "route", r->route);
    at = PUT(at, " status=");
    at = put_number(at, (unsigned)r->status);
    at = PUT(at, " bytes=");
    at = put_number(at, r->bytes);
    at = PUT(at, " ms=");
    at = put_ms(at, r->us);
    at = LOGFMT_FIELD(at, "flags", str_from(r->flags));
    at = LOGFMT_FIELD(at, "ua", r->user_agent);
    for (size_t i = 0; i < r->part_count; i++)
        at = logfmt_part(at, &r->parts[i]);
    *at++ = '\n';
    return at;
}

char *access_line_write(char *at, enum log_format format, const struct access_stamp *stamp,
                        const struct access_record *record)
{
    struct str ts = {stamp->text, sizeof(stamp->text) - 1};
    return format == LOG_JSON ? json_line(at, ts, record) : logfmt_line(at, ts, record);
}
