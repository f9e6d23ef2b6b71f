/* Which of nested networks judges an address. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "middleware/networks.h"

enum { MAX_RULES = 64 };

static struct network network_of(const char *text)
{
    struct network network;
    const char *error = NULL;
    if (!network_parse(str_from(text), &network, &error))
        fail_msg("%s: %s", text, error);
    return network;
}

/* '+', '-', or ' ' where none has it. */
static char judge(const struct network_rule *rules, size_t count, const char *address)
{
    struct ip ip;
    assert_true(ip_parse(str_from(address), &ip));
    const struct network_rule *rule = network_rules_find(rules, count, &ip);
    return rule == NULL ? ' ' : rule->allows ? '+' : '-';
}

static void test_the_smallest_network_decides(void **state)
{
    static const char *const networks[] = {
        "+10.0.0.0/8",  "-10.1.0.0/16",     "+10.1.2.0/24",     "-10.1.2.3", "-192.0.2.0/24",
        "+192.0.2.77",  "+2001:db8::/32",   "-2001:db8:1::/48", "+fd00::/8", "-203.0.113.5",
        "+203.0.113.5", "-198.51.100.0/31", "+198.51.100.2/31",
    };
    static const struct {
        const char *address;
        char verdict;
    } rows[] = {
        {"9.255.255.255", ' '},   {"10.0.0.0", '+'},     {"10.0.255.255", '+'},
        {"10.1.0.0", '-'},        {"10.1.1.255", '-'},   {"10.1.2.0", '+'},
        {"10.1.2.2", '+'},        {"10.1.2.3", '-'},     {"10.1.2.4", '+'},
        {"10.1.3.0", '-'},        {"10.2.0.0", '+'},     {"10.255.255.255", '+'},
        {"11.0.0.0", ' '},        {"192.0.2.76", '-'},   {"192.0.2.77", '+'},
        {"192.0.2.78", '-'},      {"192.0.3.0", ' '},    {"203.0.113.5", '-'},
        {"203.0.113.6", ' '},     {"198.51.100.1", '-'}, {"198.51.100.2", '+'},
        {"198.51.100.4", ' '},    {"2001:db8::1", '+'},  {"2001:db8:1::1", '-'},
        {"2001:db8:2::", '+'},    {"2001:db9::", ' '},   {"::1", ' '},
        {"::ffff:10.1.2.3", '-'}, {"fdff::", '+'},       {"fe00::", ' '},
        {"255.255.255.255", ' '}, {"0.0.0.0", ' '},
    };
    struct network_rule rules[COUNT(networks)];
    (void)state;
    for (size_t i = 0; i < COUNT(networks); i++) {
        struct network network = network_of(networks[i] + 1);
        rules[i] = network_rule_of(&network, networks[i][0] == '+');
    }
    network_rules_sort(rules, COUNT(rules));
    for (size_t i = 0; i < COUNT(rows); i++)
        if (judge(rules, COUNT(rules), rows[i].address) != rows[i].verdict)
            fail_msg("%s", rows[i].address);
}

static void test_families_are_apart(void **state)
{
    (void)state;
    struct network all6 = network_of("::/0"), all4 = network_of("0.0.0.0/0");
    struct network_rule rules[2] = {network_rule_of(&all6, false)};
    network_rules_sort(rules, 1);
    assert_int_equal(judge(rules, 1, "10.0.0.1"), ' ');
    assert_int_equal(judge(rules, 1, "2001:db8::1"), '-');
    assert_int_equal(judge(rules, 0, "2001:db8::1"), ' ');
    rules[1] = network_rule_of(&all4, true);
    network_rules_sort(rules, 2);
    assert_int_equal(judge(rules, 2, "10.0.0.1"), '+');
    assert_int_equal(judge(rules, 2, "2001:db8::1"), '-');
}

/* Against a walk over all of them, in a small part of the address space that they fill well. */
static void test_it_is_what_a_walk_over_all_finds(void **state)
{
    (void)state;
    srand(7);
    for (unsigned round = 0; round < 300; round++) {
        struct network networks[MAX_RULES];
        struct network_rule rules[MAX_RULES];
        bool allows[MAX_RULES];
        size_t count = (size_t)rand() % MAX_RULES;
        for (size_t i = 0; i < count; i++) {
            unsigned bits = 24 + (unsigned)rand() % 9, host = (unsigned)rand() & 255;
            char text[32];
            snprintf(text, sizeof(text), "10.0.0.%u/%u", host & (0xff00u >> (bits - 24)) & 255,
                     bits);
            networks[i] = network_of(text);
            allows[i] = rand() % 2 != 0;
            rules[i] = network_rule_of(&networks[i], allows[i]);
        }
        network_rules_sort(rules, count);
        for (unsigned host = 0; host < 256; host++) {
            char address[32], wanted = ' ';
            unsigned bits = 0;
            struct ip ip;
            snprintf(address, sizeof(address), "10.0.0.%u", host);
            assert_true(ip_parse(str_from(address), &ip));
            for (size_t i = 0; i < count; i++) {
                if (!network_has(&networks[i], &ip) || networks[i].bits < bits)
                    continue;
                wanted = networks[i].bits == bits && wanted == '-' ? '-' : allows[i] ? '+' : '-';
                bits = networks[i].bits;
            }
            if (judge(rules, count, address) != wanted)
                fail_msg("round %u: %s", round, address);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_smallest_network_decides),
        cmocka_unit_test(test_families_are_apart),
        cmocka_unit_test(test_it_is_what_a_walk_over_all_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
