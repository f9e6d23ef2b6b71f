/* A request's record as what Apache and nginx call the combined format:
 *
 *     203.0.113.7 - token:ci [22/Nov/2026:09:30:00 +0000] "GET /?user=7 HTTP/2.0" 200 3412
 *     "https://shop.example/" "Mozilla/5.0 (X11)"
 *
 * in one line, the time in UTC. Values are escaped as nginx does: a quote, a backslash and
 * whatever isn't a printing ASCII character is \xXX, so no client can end a field, let alone a
 * line. */
#include "observe/access_text.h"
#include "base/put.h"

/* A byte of a value becomes at most \xXX, fewer than ESCAPED_MAX. */
static char *put_value(char *at, struct str value)
{
    static const char digits[] = "0123456789ABCDEF";
    value = access_cut(value);
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (is_plain(c)) {
            *at++ = (char)c;
            continue;
        }
        *at++ = '\\';
        *at++ = 'x';
        *at++ = digits[c >> 4];
        *at++ = digits[c & 15];
    }
    return at;
}

static char *put_or_dash(char *at, struct str value)
{
    return value.n != 0 ? put_value(at, value) : put_str(at, STR("-"));
}

/* One word: what stands outside of quotes. */
static char *put_word(char *at, struct str value)
{
    char *end = put_or_dash(at, value);
    for (; at != end; at++)
        if (*at == ' ')
            *at = '_';
    return end;
}

/* From "2026-11-22T09:30:00.123Z". */
static char *put_time(char *at, struct str ts)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int month = (ts.p[5] - '0') * 10 + ts.p[6] - '0';
    at = put_str(at, STR(" ["));
    at = put_str(at, (struct str){ts.p + 8, 2});
    *at++ = '/';
    at = put_str(at, (struct str){months + (month - 1) * 3, 3});
    *at++ = '/';
    at = put_str(at, (struct str){ts.p, 4});
    *at++ = ':';
    at = put_str(at, (struct str){ts.p + 11, 8});
    return put_str(at, STR(" +0000] \""));
}

/* "-" for a head that nobody could read. */
static char *put_request(char *at, const struct access_record *r)
{
    if (r->method.n == 0)
        return put_str(at, STR("-"));
    at = put_value(at, r->method);
    *at++ = ' ';
    at = put_value(at, r->path);
    *at++ = ' ';
    at = put_value(at, r->protocol);
    return str_eq(r->protocol, STR("HTTP/2")) ? put_str(at, STR(".0")) : at;
}

char *access_combined_write(char *at, struct str ts, const struct access_record *r)
{
    at = put_word(at, r->client);
    at = put_str(at, STR(" - "));
    at = put_word(at, r->user);
    at = put_time(at, ts);
    at = put_request(at, r);
    at = put_str(at, STR("\" "));
    at = put_number(at, (unsigned)r->status);
    *at++ = ' ';
    at = put_number(at, r->bytes);
    at = put_str(at, STR(" \""));
    at = put_or_dash(at, r->referer);
    at = put_str(at, STR("\" \""));
    at = put_or_dash(at, r->user_agent);
    return put_str(at, STR("\"\n"));
}
