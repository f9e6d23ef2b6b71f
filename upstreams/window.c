/* What an upstream's last ten seconds held, in a ring of seconds that all loops count in.
 *
 * Each number carries its second in its upper half. Nobody has to clear what stood there eleven
 * seconds ago before others may count, so nothing is lost and nothing old is read as new: whoever
 * counts first in a second replaces the number, everybody else adds to it.
 *
 * Sequentially consistent, since budget.c counts first and sums then: of two threads that do that
 * at once, even on both sides of a second's end, one sees the other's. */
#include "upstreams/policy.h"

enum { SECOND_US = 1000 * 1000, SECOND_SHIFT = 32 };

/* From 1, so that a zeroed number belongs to none; 32 bits are 136 years after the boot. */
static uint64_t second_of(uint64_t us)
{
    return us / SECOND_US + 1;
}

static _Atomic uint64_t *number_of(struct window *window, enum counted what, uint64_t second)
{
    return &window->numbers[second % COUNT(window->numbers)][what];
}

void window_count(struct window *window, enum counted what, uint64_t now_us)
{
    uint64_t second = second_of(now_us);
    _Atomic uint64_t *number = number_of(window, what, second);
    uint64_t held = atomic_load(number);
    while (held >> SECOND_SHIFT < second)
        if (atomic_compare_exchange_weak(number, &held, second << SECOND_SHIFT | 1))
            return;
    if (held >> SECOND_SHIFT == second)
        atomic_fetch_add(number, 1);
}

void window_uncount(struct window *window, enum counted what, uint64_t now_us)
{
    uint64_t second = second_of(now_us);
    _Atomic uint64_t *number = number_of(window, what, second);
    uint64_t held = atomic_load(number);
    while (held >> SECOND_SHIFT == second && (uint32_t)held != 0)
        if (atomic_compare_exchange_weak(number, &held, held - 1))
            return;
}

/* A second that others have begun and this thread's clock hasn't counts too: the ring is one longer
 * than the window for its sake. */
void window_sum(const struct window *window, uint64_t since_us, uint64_t now_us,
                uint32_t sums_r[COUNTED])
{
    uint64_t second = second_of(now_us);
    uint64_t first = second > WINDOW_SECONDS ? second - WINDOW_SECONDS + 1 : 1;
    uint64_t first_since = second_of(since_us) + (since_us % SECOND_US != 0);
    if (first < first_since)
        first = first_since;

    memset(sums_r, 0, COUNTED * sizeof(*sums_r));
    for (size_t i = 0; i < COUNT(window->numbers); i++)
        for (size_t what = 0; what < COUNTED; what++) {
            uint64_t held = atomic_load(&window->numbers[i][what]);
            if (held >> SECOND_SHIFT >= first)
                sums_r[what] += (uint32_t)held;
        }
}
