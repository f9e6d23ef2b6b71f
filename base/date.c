/* A form is matched letter by letter; what is left over makes it another form, or none. */
#include "base/date.h"
#include <time.h>
#include "base/text.h"

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

/* Not strptime(): its names change with the locale. */
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

bool date_read(struct str text, int64_t now_s, int64_t *date_s_r)
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
    int64_t date = timegm(&tm);
    if (tm.tm_mday != day)
        return false; /* there is no such day in that month */
    *date_s_r = date;
    return true;
}
