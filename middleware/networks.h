/* Networks that say yes or no, however they are nested: of those that have an address the smallest
 * one judges it, and where one is listed both ways it is a no. Finding it takes a binary search.
 * Any thread. */
#ifndef GW_MIDDLEWARE_NETWORKS_H
#define GW_MIDDLEWARE_NETWORKS_H

#include "http/address.h"

/* The family, then the address: IPv4 and IPv6 have nothing in common. */
struct network_key {
    uint8_t bytes[17];
};

struct network_rule {
    struct network_key first; /* its lowest address */
    uint8_t bits;             /* of the key, the family's included */
    bool allows;
    uint32_t outer; /* index of the smallest one around it; NETWORK_NONE */
};

#define NETWORK_NONE UINT32_MAX

struct network_rule network_rule_of(const struct network *network, bool allows);
/* Once all are there. */
void network_rules_sort(struct network_rule *rules, size_t count);
/* NULL: none has the address. */
const struct network_rule *network_rules_find(const struct network_rule *rules, size_t count,
                                              const struct ip *ip);

#endif
