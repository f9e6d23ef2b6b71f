/* Which address is next: the best set of candidates, narrowed to the least busy ones if that is
 * wanted, and of these the one whose turn it is. */
#include "upstreams/policy.h"

/* From bad to good: what a set of candidates is chosen by. */
static unsigned rank_of(const struct candidate *candidate)
{
    return (unsigned)candidate->usable * 2 + !candidate->tried;
}

struct eligible {
    unsigned rank;
    uint64_t weights, members;     /* weights 0: all of them have none, and count alike */
    const struct candidate *least; /* busy of them; NULL: that doesn't matter */
};

static uint32_t weight_in(const struct eligible *set, const struct candidate *candidate)
{
    return set->weights != 0 ? candidate->weight : 1;
}

static bool is_in(const struct eligible *set, const struct candidate *candidate)
{
    return rank_of(candidate) == set->rank && weight_in(set, candidate) != 0;
}

/* Whether a has fewer calls under way for its weight than b. */
static bool is_less_busy(const struct eligible *set, const struct candidate *a,
                         const struct candidate *b)
{
    return (uint64_t)a->inflight * weight_in(set, b) < (uint64_t)b->inflight * weight_in(set, a);
}

/* Each gains its weight, and who has most pays for all: over a round everybody is picked as often
 * as its weight says, and the picks of one lie apart. Who is too busy gains as well, else one of
 * two that take turns at being idle would get all the ties; but no more than a round's worth, or it
 * would be flooded when it is idle again. */
static size_t pick_by_turn(const struct eligible *set, struct candidate *candidates, size_t count)
{
    size_t picked = count;
    int64_t gains = 0, round = (int64_t)(set->weights != 0 ? set->weights : set->members);
    for (size_t i = 0; i < count; i++) {
        struct candidate *candidate = &candidates[i];
        if (!is_in(set, candidate))
            continue;
        bool too_busy = set->least && is_less_busy(set, set->least, candidate);
        int64_t gain = weight_in(set, candidate);
        if (too_busy && candidate->turn + gain > round)
            gain = candidate->turn < round ? round - candidate->turn : 0;
        candidate->turn += gain;
        gains += gain;
        if (!too_busy && (picked == count || candidate->turn > candidates[picked].turn))
            picked = i;
    }
    gw_assert(picked != count);
    candidates[picked].turn -= gains;
    return picked;
}

size_t balance_pick(enum config_balance how, struct candidate *candidates, size_t count)
{
    struct eligible set = {0};
    for (size_t i = 0; i < count; i++) {
        unsigned rank = rank_of(&candidates[i]);
        if (rank > set.rank)
            set = (struct eligible){.rank = rank};
        if (rank == set.rank) {
            set.weights += candidates[i].weight;
            set.members++;
        }
    }
    if (how == BALANCE_LEAST_INFLIGHT) {
        const struct candidate *least = NULL;
        for (size_t i = 0; i < count; i++)
            if (is_in(&set, &candidates[i]) &&
                (!least || is_less_busy(&set, &candidates[i], least)))
                least = &candidates[i];
        set.least = least;
    }
    return pick_by_turn(&set, candidates, count);
}
