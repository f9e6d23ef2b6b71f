#include "middleware/codel.h"

enum {
    CALM_US = 1000000, /* when nobody came for so long, what was measured before means nothing */
    FIRST = CODEL_ALL / 32
};

/* It takes about two seconds of bad intervals of 100 ms to turn everybody away. */
static void grow(struct codel *codel)
{
    codel->share += FIRST > codel->share / 8 ? FIRST : codel->share / 8;
    if (codel->share > codel->most)
        codel->share = codel->most;
}

static void fall(struct codel *codel)
{
    uint32_t less = codel->share / 8 + FIRST / 2;
    codel->share = codel->share > less ? codel->share - less : 0;
}

/* An interval begins and ends with a wait: of one alone nobody could tell whether it was a burst.
 */
void codel_note(struct codel *codel, uint64_t now_us, uint64_t wait_us)
{
    bool calm = codel->last_us == 0 || now_us - wait_us > codel->last_us + CALM_US;
    codel->last_us = now_us;
    if (calm) {
        codel->share = 0;
        codel->began_us = now_us;
        codel->least_us = wait_us;
        return;
    }
    if (wait_us < codel->least_us)
        codel->least_us = wait_us;
    if (now_us - codel->began_us < codel->interval_us)
        return;
    if (codel->least_us > codel->target_us)
        grow(codel);
    else
        fall(codel);
    codel->began_us = now_us;
    codel->least_us = wait_us;
}

bool codel_sheds(struct codel *codel, uint64_t now_us)
{
    if (codel->share == 0 || now_us > codel->last_us + CALM_US)
        return false;
    codel->owed += codel->share;
    if (codel->owed < CODEL_ALL)
        return false;
    codel->owed -= CODEL_ALL;
    return true;
}
