/* How long a retry waits: full jitter, so that calls that failed in the same moment don't come back
 * in the same moment; or what the upstream's Retry-After says. */
#include "upstreams/policy.h"
#include "base/date.h"
#include "base/text.h"

enum { DAY_S = 86400 };

uint64_t backoff_us(const struct config_retry *retry, unsigned number, uint32_t chance)
{
    uint64_t most_ms = retry->backoff_ms;
    for (unsigned i = 1; i < number && most_ms != 0 && most_ms < retry->max_backoff_ms; i++)
        most_ms *= 2;
    if (most_ms > retry->max_backoff_ms)
        most_ms = retry->max_backoff_ms;
    /* chance is a fraction of 2^32; an hour's microseconds times that still fit. */
    return ((most_ms * 1000 + 1) * chance) >> 32;
}

bool backoff_fits(uint64_t now_us, uint64_t wait_us, uint64_t usual_us, uint64_t deadline_us)
{
    if (deadline_us == 0)
        return true;
    if (now_us >= deadline_us)
        return false;
    uint64_t left_us = deadline_us - now_us;
    return wait_us < left_us && usual_us <= left_us - wait_us;
}

uint64_t backoff_retry_after_us(struct str value, int64_t now_s)
{
    uint64_t seconds = 0;
    int64_t date;
    size_t digits = 0;
    value = trimmed(value);
    for (; digits < value.n && is_digit(value.p[digits]); digits++)
        if (seconds < DAY_S)
            seconds = seconds * 10 + (uint64_t)(value.p[digits] - '0');
    if (digits == 0 || digits != value.n) {
        if (!date_read(value, now_s, &date) || date <= now_s)
            return 0;
        seconds = (uint64_t)(date - now_s);
    }
    return (seconds < DAY_S ? seconds : DAY_S) * 1000 * 1000;
}
