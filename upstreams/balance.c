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
    bool unweighted;               /* all of them have weight 0, and count alike */
    const struct candidate *least; /* busy of them; NULL: that doesn't matter */
};

static uint32_t weight_in(const struct eligible *set, const struct candidate *candidate)
{
    return set->unweighted ? 1 : candidate->weight;
}

/* Whether a has fewer calls under way for its weight than b. */
static bool is_less_busy(const struct eligible *set, const struct candidate *a,
                         const struct candidate *b)
{
    return (uint64_t)a->inflight * weight_in(set, b) < (uint64_t)b->inflight * weight_in(set, a);
}

static bool is_in(const struct eligible *set, const struct candidate *candidate)
{
    return rank_of(candidate) == set->rank && weight_in(set, candidate) != 0 &&
           (!set->least || !is_less_busy(set, set->least, candidate));
}

/* Each gains its weight, and who has most pays for all: over a round everybody is picked as often
 * as its weight says, and the picks of one lie apart. */
static size_t pick_by_turn(const struct eligible *set, struct candidate *candidates, size_t count)
{
    size_t picked = count;
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_in(set, &candidates[i]))
            continue;
        uint32_t weight = weight_in(set, &candidates[i]);
        candidates[i].turn += weight;
        total += weight;
        if (picked == count || candidates[i].turn > candidates[picked].turn)
            picked = i;
    }
    gw_assert(picked != count);
    candidates[picked].turn -= total;
    return picked;
}

size_t balance_pick(enum config_balance how, struct candidate *candidates, size_t count)
{
    struct eligible set = {.unweighted = true};
    for (size_t i = 0; i < count; i++) {
        unsigned rank = rank_of(&candidates[i]);
        if (rank > set.rank)
            set = (struct eligible){.rank = rank, .unweighted = true};
        if (rank == set.rank && candidates[i].weight != 0)
            set.unweighted = false;
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
