/* The grammar of ranges, and the defence against those that ask for the same bytes many times over.
 */
#include "http/range.h"
#include "base/text.h"
#include "http/conditional.h"

/* Digits only; what doesn't fit is as large as can be, and so past the end of any file. */
static bool parse_number(struct str text, uint64_t *number_r)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i]))
            return false;
        uint64_t digit = (uint64_t)(text.p[i] - '0');
        number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
    }
    *number_r = number;
    return text.n != 0;
}

/* One of the list, "0-99", "100-" or "-100". False: malformed; n 0: it lies outside. */
static bool parse_range(struct str text, uint64_t size, struct range *range_r)
{
    const char *dash = memchr(text.p, '-', text.n);
    if (dash == NULL)
        return false;
    struct str from = {text.p, (size_t)(dash - text.p)};
    struct str to = {dash + 1, text.n - from.n - 1};
    uint64_t first, last = UINT64_MAX;
    if (from.n == 0) {
        uint64_t suffix;
        if (!parse_number(to, &suffix))
            return false;
        suffix = suffix < size ? suffix : size;
        *range_r = (struct range){size - suffix, suffix};
        return true;
    }
    if (!parse_number(from, &first) || (to.n != 0 && !parse_number(to, &last)) || last < first)
        return false;
    if (first >= size)
        *range_r = (struct range){0, 0};
    else
        *range_r = (struct range){first, (last < size ? last + 1 : size) - first};
    return true;
}

static unsigned count_overlaps(const struct range *ranges, size_t count)
{
    unsigned overlaps = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (ranges[i].first < ranges[j].first + ranges[j].n &&
                ranges[j].first < ranges[i].first + ranges[i].n)
                overlaps++;
    return overlaps;
}

enum range_result range_parse(struct str value, uint64_t size, struct range ranges_r[RANGES_MAX],
                              size_t *count_r)
{
    *count_r = 0;
    struct str list = trimmed(value);
    const char *equals = list.n != 0 ? memchr(list.p, '=', list.n) : NULL;
    if (equals == NULL ||
        !str_caseeq((struct str){list.p, (size_t)(equals - list.p)}, STR("bytes")))
        return RANGE_WHOLE;
    list = (struct str){equals + 1, list.n - (size_t)(equals + 1 - list.p)};

    size_t asked = 0, count = 0;
    uint64_t left = size;
    bool too_much = false;
    while (list.n != 0) {
        struct range range;
        struct str item = next_item(&list, ',');
        if (item.n == 0)
            continue;
        /* An empty file has no last bytes that Content-Range could name. */
        if (!parse_range(item, size, &range) || ++asked > RANGES_MAX ||
            (size == 0 && item.p[0] == '-'))
            return RANGE_WHOLE;
        if (range.n == 0)
            continue;
        too_much |= range.n > left;
        left -= range.n < left ? range.n : left;
        ranges_r[count++] = range;
    }
    if (asked == 0 || too_much || count_overlaps(ranges_r, count) > 2)
        return RANGE_WHOLE;
    *count_r = count;
    return count == 0 ? RANGE_UNSATISFIABLE : RANGE_PARTS;
}

bool range_allowed(struct str if_range, struct str etag, time_t modified)
{
    time_t date;
    if_range = trimmed(if_range);
    if (if_range.n == 0)
        return if_range.p == NULL;
    if (if_range.p[0] == '"')
        return str_eq(if_range, etag);
    return http_date_parse(if_range, &date) && date == modified;
}
