/* Numbers that are to be unlike each other and not to be secret: ids, jitter. xorshift128+, a few
 * nanoseconds each. Whoever keeps the state uses it on one thread. */
#ifndef GW_BASE_RANDOM_H
#define GW_BASE_RANDOM_H

#include <sys/random.h>
#include "base/base.h"

static inline void random_seed(uint64_t state[2])
{
    ssize_t n = getrandom(state, 2 * sizeof(*state), 0);
    gw_assert(n == (ssize_t)(2 * sizeof(*state)));
}

static inline uint64_t random_next(uint64_t state[2])
{
    uint64_t a = state[0], b = state[1];
    state[0] = b;
    a ^= a << 23;
    state[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return state[1] + b;
}

#endif
