/* What bytes of text mean: digits, letters, tokens (RFC 9110 section 5.6.2), percent-escapes (RFC
 * 3986 section 2.1), UTF-8 (RFC 3629). ASCII whatever the locale says. Any thread. */
#ifndef GW_BASE_TEXT_H
#define GW_BASE_TEXT_H

#include "base/base.h"

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static inline bool is_letter(char c)
{
    return (unsigned char)((c | 0x20) - 'a') < 26;
}

static inline bool is_letter_or_digit(char c)
{
    return is_letter(c) || is_digit(c);
}

bool is_token_char(char c);
/* Not empty, and nothing but token characters: a header's name. */
bool is_token(struct str s);
/* Whether there is a control character of ASCII in it. */
bool has_control(struct str s);

/* Whether application servers take two headers' names for the same: in any case, and to CGI and its
 * heirs "X_User" is "X-User". */
bool same_field(struct str a, struct str b);

/* Without the blanks and tabs around it (OWS of RFC 9110 section 5.6.3). */
struct str trimmed(struct str s);
/* Takes what stands before the first `separator` (or all of it) off the front of *list. Trimmed. */
struct str next_item(struct str *list, char separator);

/* What a hexadecimal digit stands for, -1 when it is none. */
static inline int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    unsigned letter = (unsigned)((c | 0x20) - 'a');
    return letter < 6 ? (int)letter + 10 : -1;
}

/* What four of them stand for, as in JSON's \u escapes; -1 when they aren't. */
static inline int hex4_value(const char *p)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The byte that the percent-escape at p stands for, -1 when "%XX" isn't what is there. */
static inline int percent_byte(const char *p, const char *end)
{
    if (end - p < 3 || *p != '%')
        return -1;
    int high = hex_value(p[1]), low = hex_value(p[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static inline bool utf8_is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Length of the UTF-8 sequence at p, of which there is at least one byte; 0 when it is overlong, a
 * surrogate, past U+10FFFF, cut or none at all. */
static inline size_t utf8_length(const char *p, const char *end)
{
    size_t left = (size_t)(end - p);
    unsigned first = (unsigned char)p[0];

    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    if (first < 0xe0)
        return left >= 2 && utf8_is_continuation(p[1]) ? 2 : 0;
    if (first < 0xf0) {
        if (left < 3 || !utf8_is_continuation(p[1]) || !utf8_is_continuation(p[2]))
            return 0;
        unsigned code = (first & 0x0fu) << 6 | (p[1] & 0x3fu); /* without its last 6 bits */
        return code >= 0x20 && (code < 0x360 || code > 0x37f) ? 3 : 0;
    }
    if (left < 4 || !utf8_is_continuation(p[1]) || !utf8_is_continuation(p[2]) ||
        !utf8_is_continuation(p[3]))
        return 0;
    unsigned code = (first & 0x07u) << 6 | (p[1] & 0x3fu); /* without its last 12 bits */
    return code >= 0x10 && code <= 0x10f ? 4 : 0;
}

/* The code point of a sequence of that length. */
static inline uint32_t utf8_decode(const char *p, size_t length)
{
    uint32_t code = (unsigned char)p[0];
    if (length > 1)
        code &= 0x7fu >> length;
    for (size_t i = 1; i < length; i++)
        code = code << 6 | (p[i] & 0x3fu);
    return code;
}

/* Offset of the first byte that isn't UTF-8; text.n when there is none. */
size_t utf8_valid_length(struct str text);
static inline bool utf8_valid(struct str text)
{
    return utf8_valid_length(text) == text.n;
}

#endif
