/* Dates as HTTP has had them, RFC 9110 section 5.6.7:
 *
 *     Sun, 06 Nov 1994 08:49:37 GMT      IMF-fixdate
 *     Sunday, 06-Nov-94 08:49:37 GMT     RFC 850, obsolete
 *     Sun Nov  6 08:49:37 1994           asctime(), obsolete */
#include <time.h>
#include "base/text.h"
#include "cache/rules.h"

struct cursor {
    const char *p, *end;
};

static bool take(struct cursor *c, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, text, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* `blank`: the first digit may be one. */
static bool take_number(struct cursor *c, size_t digits, bool blank, int *value_r)
{
    int value = 0;
    if ((size_t)(c->end - c->p) < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        char ch = c->p[i];
        if (blank && i == 0 && ch == ' ')
            ch = '0';
        if (ch < '0' || ch > '9')
            return false;
        value = value * 10 + (ch - '0');
    }
    c->p += digits;
    *value_r = value;
    return true;
}

static bool take_word(struct cursor *c, const char *const *words, int count, int *index_r)
{
    for (int i = 0; i < count; i++) {
        if (!take(c, words[i]))
            continue;
        *index_r = i;
        return true;
    }
    return false;
}

static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const long_days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static bool take_time(struct cursor *c, struct tm *tm)
{
    return take_number(c, 2, false, &tm->tm_hour) && take(c, ":") &&
           take_number(c, 2, false, &tm->tm_min) && take(c, ":") &&
           take_number(c, 2, false, &tm->tm_sec);
}

static bool imf_fixdate(struct cursor c, struct tm *tm)
{
    int day;
    return take_word(&c, days, 7, &day) && take(&c, ", ") &&
           take_number(&c, 2, false, &tm->tm_mday) && take(&c, " ") &&
           take_word(&c, months, 12, &tm->tm_mon) && take(&c, " ") &&
           take_number(&c, 4, false, &tm->tm_year) && take(&c, " ") && take_time(&c, tm) &&
           take(&c, " GMT") && c.p == c.end;
}

/* A year of two digits that seems to lie more than 50 years ahead is the past century's. */
static bool rfc850(struct cursor c, int this_year, struct tm *tm)
{
    int day;
    if (!take_word(&c, long_days, 7, &day) || !take(&c, ", ") ||
        !take_number(&c, 2, false, &tm->tm_mday) || !take(&c, "-") ||
        !take_word(&c, months, 12, &tm->tm_mon) || !take(&c, "-") ||
        !take_number(&c, 2, false, &tm->tm_year) || !take(&c, " ") || !take_time(&c, tm) ||
        !take(&c, " GMT") || c.p != c.end)
        return false;
    tm->tm_year += this_year / 100 * 100;
    if (tm->tm_year > this_year + 50)
        tm->tm_year -= 100;
    return true;
}

static bool asctime_date(struct cursor c, struct tm *tm)
{
    int day;
    return take_word(&c, days, 7, &day) && take(&c, " ") &&
           take_word(&c, months, 12, &tm->tm_mon) && take(&c, " ") &&
           take_number(&c, 2, true, &tm->tm_mday) && take(&c, " ") && take_time(&c, tm) &&
           take(&c, " ") && take_number(&c, 4, false, &tm->tm_year) && c.p == c.end;
}

/* timegm() would take the 31st of February for the 3rd of March. */
static bool is_sound(const struct tm *tm)
{
    static const int lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return tm->tm_mday >= 1 && tm->tm_mday <= lengths[tm->tm_mon] && tm->tm_hour <= 23 &&
           tm->tm_min <= 59 && tm->tm_sec <= 60 && tm->tm_year >= 1970;
}

bool rules_date(struct str text, uint64_t now_ms, uint64_t *ms_r)
{
    text = trimmed(text);
    struct cursor c = {text.p, text.p + text.n};
    struct tm tm = {0}, now = {0};
    time_t now_s = (time_t)(now_ms / 1000);
    if (text.n == 0)
        return false;
    gmtime_r(&now_s, &now);
    if (!imf_fixdate(c, &tm) && !rfc850(c, now.tm_year + 1900, &tm) && !asctime_date(c, &tm))
        return false;
    if (!is_sound(&tm))
        return false;
    tm.tm_year -= 1900;
    *ms_r = (uint64_t)timegm(&tm) * 1000;
    return true;
}
