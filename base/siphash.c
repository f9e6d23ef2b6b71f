#include "base/siphash.h"

#include <pthread.h>
#include <sys/random.h>

static uint64_t keys[2];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_keys(void)
{
    gw_assert(getrandom(keys, sizeof(keys), 0) == sizeof(keys));
}

static inline uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

struct state {
    uint64_t a, b, c, d;
};

static inline void turn(struct state *s)
{
    s->a += s->b;
    s->b = rotate(s->b, 13) ^ s->a;
    s->a = rotate(s->a, 32);
    s->c += s->d;
    s->d = rotate(s->d, 16) ^ s->c;
    s->a += s->d;
    s->d = rotate(s->d, 21) ^ s->a;
    s->c += s->b;
    s->b = rotate(s->b, 17) ^ s->c;
    s->c = rotate(s->c, 32);
}

uint64_t siphash(struct str bytes)
{
    pthread_once(&once, make_keys);
    struct state s = {keys[0] ^ 0x736f6d6570736575u, keys[1] ^ 0x646f72616e646f6du,
                      keys[0] ^ 0x6c7967656e657261u, keys[1] ^ 0x7465646279746573u};
    const char *p = bytes.p;
    size_t left = bytes.n;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        s.d ^= word;
        turn(&s);
        s.a ^= word;
    }
    uint64_t last = 0;
    if (left != 0)
        memcpy(&last, p, left);
    last |= (uint64_t)bytes.n << 56;
    s.d ^= last;
    turn(&s);
    s.a ^= last;
    s.c ^= 0xff;
    for (int i = 0; i < 3; i++)
        turn(&s);
    uint64_t hash = s.a ^ s.b ^ s.c ^ s.d;
    return hash != 0 ? hash : 1;
}
