/* Addresses to listen on, and networks to trust, as users write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "http/address.h"

static void test_addresses(void **state)
{
    static const struct {
        const char *text, *first, *second; /* NULL = an error, or no second */
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080", NULL},
        {"0.0.0.0:0", "0.0.0.0:0", NULL},
        {"[::1]:80", "[::1]:80", NULL},
        {"[::]:65535", "[::]:65535", NULL},
        {"[2001:db8::1]:80", "[2001:db8::1]:80", NULL},
        {"localhost:81", "127.0.0.1:81", "[::1]:81"},
        {"*:82", "0.0.0.0:82", "[::]:82"},
        {"unix:/run/gateway.sock", "unix:/run/gateway.sock", NULL},
        {"unix:relative:1", "unix:relative:1", NULL},
        {"", NULL, NULL},
        {"8080", NULL, NULL},
        {":8080", NULL, NULL},
        {"127.0.0.1", NULL, NULL},
        {"127.0.0.1:", NULL, NULL},
        {"127.0.0.1:65536", NULL, NULL},
        {"127.0.0.1:-1", NULL, NULL},
        {"127.0.0.1:80x", NULL, NULL},
        {"127.0.0.1:000080", NULL, NULL},
        {"[127.0.0.1]:80", NULL, NULL},
        {"::1:80", NULL, NULL},
        {"[::1]", NULL, NULL},
        {"[::1:80", NULL, NULL},
        {"example.com:80", NULL, NULL},
        {"unix:", NULL, NULL},
        {"unix:/0123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789012345678901234567890123456789",
         NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address addresses[2];
        char text[ADDRESS_TEXT_MAX];
        const char *error = NULL;
        unsigned count = address_parse(str_from(cases[i].text), addresses, &error);
        unsigned expected = cases[i].first == NULL ? 0 : cases[i].second == NULL ? 1 : 2;
        if (count != expected)
            fail_msg("%s: %u addresses, not %u", cases[i].text, count, expected);
        assert_true((count == 0) == (error != NULL));
        if (count >= 1) {
            assert_int_equal(address_print(&addresses[0], text), strlen(cases[i].first));
            assert_string_equal(text, cases[i].first);
        }
        if (count == 2) {
            address_print(&addresses[1], text);
            assert_string_equal(text, cases[i].second);
            assert_true(addresses[1].optional && !addresses[0].optional);
        }
    }
}

static void test_networks(void **state)
{
    static const struct {
        const char *network, *inside, *outside; /* NULL inside = an error */
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
        {"10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"},
        {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
        {"192.0.2.128/25", "192.0.2.128", "192.0.2.127"},
        {"192.0.2.4/30", "192.0.2.7", "192.0.2.8"},
        {"0.0.0.0/0", "255.255.255.255", "::1"},
        {"::/0", "2001:db8::1", "192.0.2.1"},
        {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
        {"::1", "::1", "::2"},
        {"[::1]", "::1", "::2"},
        {"::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9"},
        {"::ffff:192.0.2.0/24", NULL, NULL},
        {"", NULL, NULL},
        {"10.0.0.0/33", NULL, NULL},
        {"10.0.0.0/", NULL, NULL},
        {"10.0.0.0/x", NULL, NULL},
        {"10.0.0.1/8", NULL, NULL},
        {"2001:db8::1/64", NULL, NULL},
        {"::/129", NULL, NULL},
        {"example.com", NULL, NULL},
        {"10.0.0/8", NULL, NULL},
        {"Unix", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct network network;
        struct ip ip;
        const char *error = NULL;
        bool ok = network_parse(str_from(cases[i].network), &network, &error);
        if (ok != (cases[i].inside != NULL))
            fail_msg("%s: %s", cases[i].network, ok ? "taken" : error);
        if (!ok)
            continue;
        assert_true(ip_parse(str_from(cases[i].inside), &ip));
        if (!network_has(&network, &ip))
            fail_msg("%s lacks %s", cases[i].network, cases[i].inside);
        assert_true(ip_parse(str_from(cases[i].outside), &ip));
        if (network_has(&network, &ip))
            fail_msg("%s has %s", cases[i].network, cases[i].outside);
    }
}

static void test_unix_is_a_network_of_its_own(void **state)
{
    struct network network;
    struct ip ip;
    const char *error;
    (void)state;
    assert_true(network_parse(STR("unix"), &network, &error));
    assert_true(network.local);
    assert_true(ip_parse(STR("127.0.0.1"), &ip));
    assert_false(network_has(&network, &ip));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_unix_is_a_network_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
