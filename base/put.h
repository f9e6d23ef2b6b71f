/* Text of known length, written where it goes: each returns one past what it wrote. For headers of
 * every reply, where printf() would be a tenth of a kept page's time. The caller knows the room. */
#ifndef GW_BASE_PUT_H
#define GW_BASE_PUT_H

#include "base/base.h"

enum { PUT_NUMBER = 20 }; /* the most digits */

static inline char *put_str(char *at, struct str s)
{
    if (s.n != 0)
        memcpy(at, s.p, s.n);
    return at + s.n;
}

static inline char *put_number(char *at, uint64_t n)
{
    char digits[PUT_NUMBER], *from = digits + sizeof(digits);
    do {
        *--from = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    return put_str(at, (struct str){from, (size_t)(digits + sizeof(digits) - from)});
}

/* 16 digits, in lower case. */
static inline char *put_hex(char *at, uint64_t n)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[n >> shift & 15];
    return at;
}

#endif
