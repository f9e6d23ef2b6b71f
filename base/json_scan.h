/* Private to json_parse.c: where each token of JSON text ends (RFC 8259 sections 6 and 7, RFC
 * 3629).
 *
 * What limits a pass over JSON is not work but waiting: where one token ends is known only after
 * its bytes were loaded and compared, and only then can the next token be looked at. So bytes are
 * classified 64 at a time, ahead of the tokens, into a window: one bit a byte for what ends or
 * interrupts a string, one for digits. The end of most tokens is then a shift and a count of
 * trailing zeros away. Bytes past 0x7f interrupt a string like control bytes do, which is why UTF-8
 * costs nothing where there is none.
 *
 * The last window of a text is filled up with NULs, which interrupt everything: nothing is read
 * past the text, and no scan needs to look for its end. */
#ifndef GW_BASE_JSON_SCAN_H
#define GW_BASE_JSON_SCAN_H

#include "base/json.h"
#include "base/text.h"
#if defined(__SSE2__) && !defined(GW_JSON_PORTABLE)
#include <emmintrin.h>
#define USE_SSE2 1
#else
#define USE_SSE2 0
#endif

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

struct failure {
    enum json_error error;
    const char *at;
};

/* Returned by the scans, so that they fail in one expression. */
static inline const char *fail(struct failure *failure, enum json_error error, const char *at)
{
    *failure = (struct failure){error, at};
    return NULL;
}

#define WINDOW 64

/* The bytes from base on, the first in bit 0. */
struct window {
    const char *base;
    uint64_t special; /* '"', '\', controls, and bytes past 0x7f */
    uint64_t digits;  /* 0-9 */
};

#if USE_SSE2
/* Of a byte compared, only the top bit gets into a mask; so a saturated difference is as good as a
 * comparison. `c ^ 2` swaps the quote with the space: then one signed difference finds controls,
 * quotes and bytes past 0x7f. */
static inline void classify(const char *p, uint64_t *special_r, uint64_t *digits_r)
{
    uint64_t special = 0, digits = 0;
    for (int i = 0; i < WINDOW; i += 16) {
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i low = _mm_subs_epi8(_mm_xor_si128(c, _mm_set1_epi8(2)), _mm_set1_epi8(0x21));
        __m128i backslash = _mm_cmpeq_epi8(c, _mm_set1_epi8('\\'));
        __m128i value = _mm_sub_epi8(c, _mm_set1_epi8('0'));
        __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(value, _mm_set1_epi8(9)), value);
        special |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_or_si128(low, backslash)) << i;
        digits |= (uint64_t)(unsigned)_mm_movemask_epi8(digit) << i;
    }
    *special_r = special;
    *digits_r = digits;
}
#else
static inline void classify(const char *p, uint64_t *special_r, uint64_t *digits_r)
{
    uint64_t special = 0, digits = 0;
    for (int i = 0; i < WINDOW; i++) {
        signed char c = (signed char)p[i];
        special |= (uint64_t)(c < 0x20 || c == '"' || c == '\\') << i;
        digits |= (uint64_t)is_digit(p[i]) << i;
    }
    *special_r = special;
    *digits_r = digits;
}
#endif

static __attribute__((noinline)) void move_window(struct window *window, const char *p,
                                                  const char *end)
{
    window->base = p;
    if (LIKELY(end - p >= WINDOW)) {
        classify(p, &window->special, &window->digits);
    } else {
        char last[WINDOW] = {0};
        memcpy(last, p, (size_t)(end - p));
        classify(last, &window->special, &window->digits);
    }
}

/* The first byte from p on that is special, or the end. */
static inline const char *skip_plain(struct window *window, const char *p, const char *end)
{
    for (;;) {
        size_t at = (size_t)(p - window->base);
        if (LIKELY(at < WINDOW)) {
            uint64_t special = window->special >> at;
            if (LIKELY(special != 0))
                return p + __builtin_ctzll(special);
            p = window->base + WINDOW;
        }
        move_window(window, p, end);
    }
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static __attribute__((noinline)) const char *skip_spaces(const char *p, const char *end)
{
#if USE_SSE2
    while (end - p >= 16) {
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i blank = _mm_or_si128(_mm_cmpeq_epi8(c, _mm_set1_epi8(' ')),
                                     _mm_cmpeq_epi8(c, _mm_set1_epi8('\t')));
        __m128i line = _mm_or_si128(_mm_cmpeq_epi8(c, _mm_set1_epi8('\n')),
                                    _mm_cmpeq_epi8(c, _mm_set1_epi8('\r')));
        unsigned other = (unsigned)_mm_movemask_epi8(_mm_or_si128(blank, line)) ^ 0xffff;
        if (other != 0)
            return p + __builtin_ctz(other);
        p += 16;
    }
#endif
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* Compact text has no spaces at all. Python writes one after each comma and colon, pretty printers
 * a line break with its indentation. */
static inline const char *skip(const char *p, const char *end)
{
    if (LIKELY(p < end && (unsigned char)*p > ' '))
        return p;
    if (LIKELY(end - p > 1 && *p == ' ' && (unsigned char)p[1] > ' '))
        return p + 1;
    return skip_spaces(p, end);
}

/* An escape, from its backslash on (RFC 8259 section 7). A surrogate must be one of a pair: a lone
 * one is no character and could not go out as UTF-8. */
static const char *skip_escape(const char *p, const char *end, struct failure *failure)
{
    if (end - p < 2)
        return fail(failure, JSON_BAD_ESCAPE, p);
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 2;
    case 'u':
        break;
    default:
        return fail(failure, JSON_BAD_ESCAPE, p);
    }
    if (end - p < 6)
        return fail(failure, JSON_BAD_ESCAPE, p);
    int code = hex4_value(p + 2);
    if (code < 0 || (code >= 0xdc00 && code <= 0xdfff))
        return fail(failure, JSON_BAD_ESCAPE, p);
    if (code < 0xd800 || code > 0xdbff)
        return p + 6;
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return fail(failure, JSON_BAD_ESCAPE, p);
    int low = hex4_value(p + 8);
    return low >= 0xdc00 && low <= 0xdfff ? p + 12 : fail(failure, JSON_BAD_ESCAPE, p);
}

/* The rest of a string from its first byte on that isn't plain; returns the closing quote. */
static __attribute__((noinline)) const char *scan_special(struct window *window, const char *p,
                                                          const char *end, bool *escaped_r,
                                                          struct failure *failure)
{
    for (; p < end && *p != '"'; p = skip_plain(window, p, end)) {
        if (*p == '\\') {
            *escaped_r = true;
            p = skip_escape(p, end, failure);
            if (p == NULL)
                return NULL;
        } else if ((unsigned char)*p < 0x20) {
            return fail(failure, JSON_SYNTAX, p);
        }
        while (p < end && (signed char)*p < 0) {
            size_t n = utf8_length(p, end);
            if (n == 0)
                return fail(failure, JSON_BAD_UTF8, p);
            p += n;
        }
    }
    return p < end ? p : fail(failure, JSON_SYNTAX, end);
}

/* From the byte after the opening quote; returns the closing quote. */
static inline const char *scan_string(struct window *window, const char *p, const char *end,
                                      bool *escaped_r, struct failure *failure)
{
    *escaped_r = false;
    p = skip_plain(window, p, end);
    if (LIKELY(p < end && *p == '"'))
        return p;
    return scan_special(window, p, end, escaped_r, failure);
}

static inline const char *scan_digits(const char *p, const char *end, struct failure *failure)
{
    if (p == end || !is_digit(*p))
        return fail(failure, JSON_SYNTAX, p);
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* A number of any form, byte by byte (RFC 8259 section 6). */
static __attribute__((noinline)) const char *scan_any_number(const char *p, const char *end,
                                                             struct failure *failure)
{
    if (*p == '-')
        p++;
    if (p < end && *p == '0')
        p++; /* a digit after it is refused as whatever follows the number */
    else
        p = scan_digits(p, end, failure);
    if (p != NULL && p < end && *p == '.')
        p = scan_digits(p + 1, end, failure);
    if (p != NULL && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        p = scan_digits(p, end, failure);
    }
    return p;
}

/* From the first byte, a minus or a digit; returns one past the number. Numbers that aren't wholly
 * in a window, have an exponent or are wrong are left to scan_any_number(). */
static inline const char *scan_number(struct window *window, const char *p, const char *end,
                                      struct failure *failure)
{
    const char *first = p + (*p == '-');
    size_t at = (size_t)(first - window->base);

    if (UNLIKELY(at > WINDOW - 24)) { /* short ones fit */
        move_window(window, first, end);
        at = 0;
    }
    /* the bits shifted in and the last one stand for a byte that is no digit */
    uint64_t others = ~(window->digits >> at) | (uint64_t)1 << 63;
    size_t n = (size_t)__builtin_ctzll(others);
    if (LIKELY(n < (size_t)(end - first) && at + n < WINDOW - 1 &&
               (n == 1 || (n > 1 && *first != '0')))) {
        if (first[n] == '.') {
            size_t fraction = (size_t)__builtin_ctzll(others >> (n + 1));
            n = fraction == 0 ? WINDOW : n + 1 + fraction;
        }
        if (LIKELY(at + n < WINDOW - 1 && n < (size_t)(end - first) && (first[n] | 0x20) != 'e'))
            return first + n;
    }
    return scan_any_number(p, end, failure);
}

static inline const char *scan_literal(const char *p, const char *end, struct str word,
                                       struct failure *failure)
{
    if (LIKELY((size_t)(end - p) >= word.n && memcmp(p, word.p, word.n) == 0))
        return p + word.n;
    for (size_t i = 0; i < word.n; i++)
        if (p + i == end || p[i] != word.p[i])
            return fail(failure, JSON_SYNTAX, p + i);
    return p + word.n;
}

#endif
