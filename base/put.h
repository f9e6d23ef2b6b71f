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
    /* All digits at once: a nibble a byte, and what is past 9 gets the letters' distance. */
    uint64_t halves[2] = {n >> 32, n & UINT32_MAX};
    for (int i = 0; i < 2; i++) {
        uint64_t x = halves[i];
        x = (x << 16 | x) & UINT64_C(0x0000ffff0000ffff);
        x = (x << 8 | x) & UINT64_C(0x00ff00ff00ff00ff);
        x = (x << 4 | x) & UINT64_C(0x0f0f0f0f0f0f0f0f);
        uint64_t letters = (x + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
        x += UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10);
        x = __builtin_bswap64(x);
        memcpy(at + 8 * i, &x, 8);
    }
    return at + 16;
}

#endif
