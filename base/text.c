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

size_t utf8_valid_length(struct str text)
{
    const char *p = text.p, *end = text.p + text.n;
    for (size_t n; p != end && (n = utf8_length(p, end)) != 0;)
        p += n;
    return (size_t)(p - text.p);
}
