/* Two networks are apart, or one lies in the other. So in the order of their first addresses, the
 * larger before the smaller, the last that begins at or before an address either has it, or one of
 * those around it does, and each knows the one around it. */
#include "middleware/networks.h"

#include <stdlib.h>

enum { FAMILY_BITS = 8 };

static struct network_key key_of(const struct ip *ip)
{
    struct network_key key = {.bytes = {ip->family}};
    memcpy(key.bytes + 1, ip->bytes, sizeof(ip->bytes));
    return key;
}

struct network_rule network_rule_of(const struct network *network, bool allows)
{
    return (struct network_rule){.first = key_of(&network->ip),
                                 .bits = (uint8_t)(FAMILY_BITS + network->bits),
                                 .allows = allows,
                                 .outer = NETWORK_NONE};
}

static bool has(const struct network_rule *rule, const struct network_key *key)
{
    size_t whole = rule->bits / 8, rest = rule->bits % 8;
    if (memcmp(rule->first.bytes, key->bytes, whole) != 0)
        return false;
    return rest == 0 ||
           ((rule->first.bytes[whole] ^ key->bytes[whole]) & (0xff00 >> rest & 0xff)) == 0;
}

/* By first address, the larger before the smaller, yes before no. */
static int by_place(const void *va, const void *vb)
{
    const struct network_rule *a = va, *b = vb;
    int order = memcmp(a->first.bytes, b->first.bytes, sizeof(a->first.bytes));
    if (order == 0)
        order = (int)a->bits - (int)b->bits;
    return order != 0 ? order : (int)b->allows - (int)a->allows;
}

void network_rules_sort(struct network_rule *rules, size_t count)
{
    if (count != 0)
        qsort(rules, count, sizeof(*rules), by_place);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t outer = i == 0 ? NETWORK_NONE : i - 1;
        while (outer != NETWORK_NONE && !has(&rules[outer], &rules[i].first))
            outer = rules[outer].outer;
        rules[i].outer = outer;
    }
}

const struct network_rule *network_rules_find(const struct network_rule *rules, size_t count,
                                              const struct ip *ip)
{
    struct network_key key = key_of(ip);
    size_t low = 0, high = count; /* rules before low begin at or before the address */
    while (low != high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(rules[middle].first.bytes, key.bytes, sizeof(key.bytes)) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t at = low == 0 ? NETWORK_NONE : (uint32_t)(low - 1);
    while (at != NETWORK_NONE && !has(&rules[at], &key))
        at = rules[at].outer;
    return at == NETWORK_NONE ? NULL : &rules[at];
}
