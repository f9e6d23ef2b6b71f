/* Text of a line of the access log: numbers, moments, values. Written by hand, since it runs for
 * every field of every request: the caller has made sure of the room, and nearly every value is
 * plain ASCII and is checked and copied eight bytes at a time. */
#include "observe/access_text.h"
#include "base/put.h"
#include "base/text.h"

/* The lowest `width` decimal digits of value, zeros in front. */
static char *put_digits(char *at, unsigned value, unsigned width)
{
    for (unsigned i = width; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + width;
}

char *put_ms(char *at, uint64_t us)
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

/* What a terminal or a line reader might act on: C0 and C1 controls, the line and paragraph
 * separators, and what turns the direction of text around. */
static bool is_hazard(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

static char *put_unicode_escape(char *at, uint32_t code)
{
    *at++ = '\\';
    *at++ = 'u';
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
    return put_str(at, (struct str){p, length});
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

char *put_quoted(char *at, struct str value)
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

char *put_logfmt_value(char *at, struct str value)
{
    return is_bare(value) ? put_str(at, value) : put_quoted(at, value);
}

/* At most ACCESS_VALUE_MAX bytes, never ending inside a character. */
struct str access_cut(struct str value)
{
    if (value.n <= ACCESS_VALUE_MAX)
        return value;
    size_t n = ACCESS_VALUE_MAX;
    for (int back = 0; back < 3 && utf8_is_continuation(value.p[n]); back++)
        n--;
    return (struct str){value.p, n};
}
