/* Any Retry-After field: a wait of whole seconds, at most a day; blanks around it change nothing;
 * a second later it is the same number of seconds, or the same date a second nearer. */
#include <stdlib.h>
#include "upstreams/policy.h"

#define SECOND UINT64_C(1000000)
#define DAY    (86400 * SECOND)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const int64_t now_s = 784111777; /* amid a year: what two digits of one mean stays */
    char *text = malloc(n + 2);      /* the value, and a block of its own for it with blanks */
    char *bare = malloc(n + 1);
    memcpy(bare, data, n);
    memcpy(text + 1, data, n);
    text[0] = ' ';
    text[n + 1] = '\t';
    uint64_t us = backoff_retry_after_us((struct str){bare, n}, now_s);
    gw_assert(us <= DAY && us % SECOND == 0);
    gw_assert(backoff_retry_after_us((struct str){text, n + 2}, now_s) == us);
    uint64_t later_us = backoff_retry_after_us((struct str){bare, n}, now_s + 1);
    gw_assert(later_us == us || later_us == us - SECOND);
    free(bare);
    free(text);
    return 0;
}
