/* How long a retry waits: full jitter, so that calls that failed in the same moment don't come back
 * in the same moment; or what the upstream's Retry-After says. */
#include "upstreams/policy.h"
#include <time.h>
#include "base/text.h"

enum { DAY_S = 86400 };

uint64_t backoff_us(const struct config_retry *retry, unsigned number, uint32_t chance)
{
    uint64_t most_ms = retry->backoff_ms;
    for (unsigned i = 1; i < number && most_ms != 0 && most_ms < retry->max_backoff_ms; i++)
        most_ms *= 2;
    if (most_ms > retry->max_backoff_ms)
        most_ms = retry->max_backoff_ms;
    /* chance is a fraction of 2^32; an hour's microseconds times that still fit. */
    return ((most_ms * 1000 + 1) * chance) >> 32;
}

bool backoff_fits(uint64_t now_us, uint64_t wait_us, uint64_t usual_us, uint64_t deadline_us)
{
    if (deadline_us == 0)
        return true;
    if (now_us >= deadline_us)
        return false;
    uint64_t left_us = deadline_us - now_us;
    return wait_us < left_us && usual_us <= left_us - wait_us;
}

/* -- Retry-After ------------------------------------------------------------------------------- */

static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Exactly so many digits; `blank`: the first may be one. */
static bool take_number(struct str *text, size_t digits, bool blank, int *number_r)
{
    int number = 0;
    if (text->n < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        char c = text->p[i];
        if (blank && i == 0 && c == ' ')
            c = '0';
        if (!is_digit(c))
            return false;
        number = number * 10 + (c - '0');
    }
    *text = (struct str){text->p + digits, text->n - digits};
    *number_r = number;
    return true;
}

/* length: of the names that are abbreviated, 0 = as they are. */
static bool take_name(struct str *text, const char *const *names, size_t count, size_t length,
                      int *index_r)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = length != 0 ? length : strlen(names[i]);
        if (text->n >= n && memcmp(text->p, names[i], n) == 0) {
            *text = (struct str){text->p + n, text->n - n};
            *index_r = (int)i;
            return true;
        }
    }
    return false;
}

/* The forms of RFC 9110 section 5.6.7. Not strptime(): its names change with the locale. */
static bool matches(struct str text, const char *form, struct tm *tm)
{
    for (; *form != '\0'; form++) {
        bool taken;
        switch (*form) {
        case 'w':
            taken = take_name(&text, day_names, COUNT(day_names), 3, &tm->tm_wday);
            break;
        case 'W':
            taken = take_name(&text, day_names, COUNT(day_names), 0, &tm->tm_wday);
            break;
        case 'm':
            taken = take_name(&text, month_names, COUNT(month_names), 3, &tm->tm_mon);
            break;
        case 'd':
        case 'e':
            taken = take_number(&text, 2, *form == 'e', &tm->tm_mday);
            break;
        case 'h':
            taken = take_number(&text, 2, false, &tm->tm_hour);
            break;
        case 'i':
            taken = take_number(&text, 2, false, &tm->tm_min);
            break;
        case 's':
            taken = take_number(&text, 2, false, &tm->tm_sec);
            break;
        case 'y':
        case 'Y':
            taken = take_number(&text, *form == 'y' ? 2 : 4, false, &tm->tm_year);
            break;
        default:
            taken = text.n != 0 && *text.p == *form;
            if (taken)
                text = (struct str){text.p + 1, text.n - 1};
        }
        if (!taken)
            return false;
    }
    return text.n == 0;
}

static bool read_date(struct str text, int64_t now_s, int64_t *date_r)
{
    struct tm tm = {0}, now;
    if (matches(text, "W, d-m-y h:i:s GMT", &tm)) {
        time_t now_time = now_s;
        if (!gmtime_r(&now_time, &now))
            return false;
        int year = now.tm_year + 1900;
        tm.tm_year += year - year % 100;
        if (tm.tm_year > year + 50)
            tm.tm_year -= 100;
        else if (tm.tm_year <= year - 50)
            tm.tm_year += 100;
    } else if (!matches(text, "w, d m Y h:i:s GMT", &tm) && !matches(text, "w m e h:i:s Y", &tm)) {
        return false;
    }
    if (tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    tm.tm_sec = tm.tm_sec == 60 ? 59 : tm.tm_sec;
    tm.tm_year -= 1900;
    int day = tm.tm_mday;
    *date_r = timegm(&tm);
    return tm.tm_mday == day; /* else there is no such day in that month */
}

uint64_t backoff_retry_after_us(struct str value, int64_t now_s)
{
    uint64_t seconds = 0;
    int64_t date;
    size_t digits = 0;
    value = trimmed(value);
    for (; digits < value.n && is_digit(value.p[digits]); digits++)
        if (seconds < DAY_S)
            seconds = seconds * 10 + (uint64_t)(value.p[digits] - '0');
    if (digits == 0 || digits != value.n) {
        if (!read_date(value, now_s, &date) || date <= now_s)
            return 0;
        seconds = (uint64_t)(date - now_s);
    }
    return (seconds < DAY_S ? seconds : DAY_S) * 1000 * 1000;
}
