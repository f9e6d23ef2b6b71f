/* Preconditions and Accept-Encoding, by the grammar of RFC 9110 and leniently about blanks. */
#include "http/conditional.h"
#include <h2o.h>
#include "base/text.h"

size_t etag_format(char text_r[ETAG_MAX], struct timespec mtime, uint64_t size, uint64_t inode)
{
    const uint64_t parts[] = {(uint64_t)mtime.tv_sec * 1000000000 + (uint64_t)mtime.tv_nsec, size,
                              inode};
    char *at = text_r;
    for (size_t i = 0; i < COUNT(parts); i++) {
        *at++ = i == 0 ? '"' : '-';
        int shift = 60;
        while (shift > 0 && parts[i] >> shift == 0)
            shift -= 4;
        for (; shift >= 0; shift -= 4)
            *at++ = "0123456789abcdef"[parts[i] >> shift & 15];
    }
    *at++ = '"';
    *at = '\0';
    return (size_t)(at - text_r);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool etag_list_has(struct str list, struct str etag, bool strong)
{
    if (str_eq(trimmed(list), STR("*")))
        return true;
    const char *p = list.p, *end = list.p + list.n;
    while (p != end) {
        if (is_blank(*p) || *p == ',') {
            p++;
            continue;
        }
        bool weak = end - p >= 2 && p[0] == 'W' && p[1] == '/';
        p += weak ? 2 : 0;
        const char *close =
            end - p >= 2 && *p == '"' ? memchr(p + 1, '"', (size_t)(end - p - 1)) : NULL;
        if (!close)
            return false;
        struct str member = {p, (size_t)(close + 1 - p)};
        if (str_eq(member, etag) && !(weak && strong))
            return true;
        p = close + 1;
        if (p != end && !is_blank(*p) && *p != ',')
            return false;
    }
    return false;
}

bool http_date_parse(struct str text, time_t *time_r)
{
    struct tm tm = {0};
    text = trimmed(text);
    if (text.n == 0 || h2o_time_parse_rfc1123(text.p, text.n, &tm) != 0)
        return false;
    *time_r = timegm(&tm);
    return true;
}

void http_date_format(time_t time, char text_r[HTTP_DATE_LENGTH + 1])
{
    struct tm tm;
    _Static_assert(HTTP_DATE_LENGTH == H2O_TIMESTR_RFC1123_LEN, "the same format");
    gmtime_r(&time, &tm);
    h2o_time2str_rfc1123(text_r, &tm);
}

int preconditions_evaluate(const struct preconditions *conditions, struct str etag, time_t modified)
{
    time_t date;
    if (conditions->if_match.p) {
        if (!etag_list_has(conditions->if_match, etag, true))
            return 412;
    } else if (http_date_parse(conditions->if_unmodified_since, &date) && modified > date) {
        return 412;
    }
    if (conditions->if_none_match.p)
        return etag_list_has(conditions->if_none_match, etag, false) ? 304 : 200;
    if (http_date_parse(conditions->if_modified_since, &date) && modified <= date)
        return 304;
    return 200;
}

/* A weight in thousandths: "0.5" is 500 (section 12.4.2). Anything else counts as 0. */
static unsigned parse_weight(struct str text)
{
    if (text.n == 0 || text.n > 5 || (text.p[0] != '0' && text.p[0] != '1') ||
        (text.n > 1 && text.p[1] != '.'))
        return 0;
    unsigned weight = (unsigned)(text.p[0] - '0') * 1000, unit = 100;
    for (size_t i = 2; i < text.n; i++, unit /= 10) {
        if (!is_digit(text.p[i]))
            return 0;
        weight += (unsigned)(text.p[i] - '0') * unit;
    }
    return weight <= 1000 ? weight : 0;
}

/* Of one member's parameters. */
static unsigned weight_of(struct str parameters)
{
    while (parameters.n != 0) {
        struct str parameter = next_item(&parameters, ';');
        struct str value = parameter;
        struct str name = next_item(&value, '=');
        if (str_caseeq(name, STR("q")))
            return parse_weight(trimmed(value));
    }
    return 1000;
}

struct codings accepted_codings(struct str accept_encoding)
{
    enum { UNNAMED = -1 };
    int weights[CODINGS] = {UNNAMED, UNNAMED}, identity = UNNAMED, any = UNNAMED;
    while (accept_encoding.n != 0) {
        struct str parameters = next_item(&accept_encoding, ',');
        struct str coding = next_item(&parameters, ';');
        int weight = (int)weight_of(parameters);
        if (str_caseeq(coding, STR("gzip")) || str_caseeq(coding, STR("x-gzip")))
            weights[CODING_GZIP] = weight;
        else if (str_caseeq(coding, STR("br")))
            weights[CODING_BROTLI] = weight;
        else if (str_caseeq(coding, STR("identity")))
            identity = weight;
        else if (str_eq(coding, STR("*")))
            any = weight;
    }
    struct codings codings = {0};
    for (int i = 0; i < CODINGS; i++) {
        weights[i] = weights[i] == UNNAMED ? any : weights[i];
        if (weights[i] > 0 && weights[i] >= identity)
            codings.best[codings.count++] = (enum coding)i;
    }
    if (codings.count == 2 && weights[CODING_GZIP] > weights[CODING_BROTLI]) {
        codings.best[0] = CODING_GZIP;
        codings.best[1] = CODING_BROTLI;
    }
    return codings;
}
