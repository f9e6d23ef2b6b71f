/* What the configuration says of calls that are made again or twice, checked once and in the form
 * that a failing call needs: what is tried again as two sets of bits, when a call is hedged as a
 * number. */
#include "upstreams/internal.h"

#include <stdio.h>

static const struct {
    const char *word;
    enum reason reason;
} reasons[] = {{"connect", REASON_CONNECT}, {"reset", REASON_RESET}, {"timeout", REASON_TIMEOUT}};

static bool read_status(struct str text, int *status_r)
{
    int status = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || status > 999)
            return false;
        status = status * 10 + (text.p[i] - '0');
    }
    *status_r = status;
    return text.n != 0;
}

static void read_retry_on(struct rules *rules, const struct config *config,
                          const struct config_strings *on, struct diag *diag)
{
    const char *words[COUNT(reasons)];
    struct pos at = config_pos(config, on);
    for (size_t i = 0; i < COUNT(reasons); i++)
        words[i] = reasons[i].word;
    for (size_t i = 0; i < on->count; i++) {
        struct str item = on->items[i];
        int status;
        bool known = false;
        for (size_t r = 0; r < COUNT(reasons); r++)
            if (str_eq(item, str_from(reasons[r].word))) {
                rules->reasons |= (uint8_t)reasons[r].reason;
                known = true;
            }
        if (known)
            continue;
        const char *near = diag_nearest(item, words, COUNT(words));
        if (read_status(item, &status)) {
            if (status < FIRST_STATUS || status > LAST_STATUS)
                diag_error(diag, at, "on: status \"%s\" is not one from %d to %d", item.p,
                           FIRST_STATUS, LAST_STATUS);
            else
                rules->statuses[(status - FIRST_STATUS) / 64] |= (uint64_t)1
                                                                 << (status - FIRST_STATUS) % 64;
        } else if (near != NULL) {
            diag_error(diag, at, "on: unknown word \"%s\"; did you mean \"%s\"?", item.p, near);
        } else {
            diag_error(diag, at,
                       "on: unknown word \"%s\"; there are connect, reset, timeout and "
                       "statuses from %d to %d",
                       item.p, FIRST_STATUS, LAST_STATUS);
        }
    }
}

static void read_hedge_after(struct rules *rules, const struct config *config,
                             const struct config_upstream *up, struct diag *diag)
{
    struct str after = up->hedge.after;
    struct pos at = config_pos(config, &up->hedge.after);
    if (after.n == 0)
        return;
    if (str_eq(after, STR("p95")))
        rules->hedge_by_p95 = true;
    else if (!config_duration(after, &rules->hedge_after_ms) || rules->hedge_after_ms == 0)
        diag_error(diag, at, "after: \"%s\" is neither \"p95\" nor a duration like \"30ms\"",
                   after.p);
    else if (rules->hedge_after_ms >= up->timeout_ms)
        diag_error(diag, at, "after: must be shorter than the upstream's timeout: %s", after.p);
}

void rules_read(struct rules *rules, const struct config *config, const struct config_upstream *up,
                struct diag *diag)
{
    *rules = (struct rules){.reasons = 0};
    read_retry_on(rules, config, &up->retry.on, diag);
    read_hedge_after(rules, config, up, diag);
}

struct str rules_reason(const struct up_result *result, char text_r[4])
{
    if (result->end == UP_ANSWERED)
        return (struct str){text_r, (size_t)snprintf(text_r, 4, "%d", result->status % 1000)};
    uint8_t reason = outcome_meaning(result).reason;
    for (size_t i = 0; i < COUNT(reasons); i++)
        if (reason == reasons[i].reason)
            return str_from(reasons[i].word);
    return STR("");
}

bool rules_try_again(const struct rules *rules, const struct up_result *result)
{
    if (result->end != UP_ANSWERED)
        return rules->reasons & outcome_meaning(result).reason;
    unsigned bit = (unsigned)result->status - FIRST_STATUS; /* statuses from 100 on wrap */
    return bit <= LAST_STATUS - FIRST_STATUS && rules->statuses[bit / 64] >> bit % 64 & 1;
}
