/* The questions about text that need a loop. */
#include "base/text.h"

bool is_token_char(char c)
{
    return is_letter_or_digit(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char(s.p[i]))
            return false;
    return s.n != 0;
}

bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static char folded(char c)
{
    return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool same_field(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (folded(a.p[i]) != folded(b.p[i]))
            return false;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str trimmed(struct str s)
{
    while (s.n != 0 && is_blank(s.p[0]))
        s.p++, s.n--;
    while (s.n != 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str next_item(struct str *list, char separator)
{
    const char *at = list->n != 0 ? memchr(list->p, separator, list->n) : NULL;
    struct str item = {list->p, at != NULL ? (size_t)(at - list->p) : list->n};
    size_t taken = item.n + (at != NULL);
    if (taken != 0)
        *list = (struct str){list->p + taken, list->n - taken};
    return trimmed(item);
}

size_t utf8_valid_length(struct str text)
{
    if (text.n == 0)
        return 0; /* of nowhere, perhaps */
    const char *p = text.p, *end = text.p + text.n;
    for (size_t n; p != end && (n = utf8_length(p, end)) != 0;)
        p += n;
    return (size_t)(p - text.p);
}
