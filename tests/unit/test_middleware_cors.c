/* Which origins an entry of [cors.NAME] stands for, and which entries stand for none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "middleware/internal.h"

static void test_an_entry_stands_for_one_origin_or_for_subdomains(void **state)
{
    static const struct {
        const char *entry, *origin;
        bool has;
    } rows[] = {
        {"https://shop.example", "https://shop.example", true},
        {"https://shop.example", "http://shop.example", false},
        {"https://shop.example", "https://shop.example:8443", false},
        {"https://shop.example", "https://shop.example.evil", false},
        {"https://shop.example", "https://shop.exampl", false},
        {"https://shop.example", "https://Shop.example", false},
        {"https://shop.example", "", false},
        {"https://shop.example:8443", "https://shop.example:8443", true},
        {"https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443", true},
        {"capacitor://localhost", "capacitor://localhost", true},
        {"null", "null", true},
        {"null", "https://null", false},
        {"https://*.shop.example", "https://a.shop.example", true},
        {"https://*.shop.example", "https://a.b-c.shop.example", true},
        {"https://*.shop.example", "https://shop.example", false},
        {"https://*.shop.example", "https://.shop.example", false},
        {"https://*.shop.example", "https://..shop.example", false},
        {"https://*.shop.example", "https://evilshop.example", false},
        {"https://*.shop.example", "http://a.shop.example", false},
        {"https://*.shop.example", "https://a.shop.example:1", false},
        {"https://*.shop.example", "https://evil.test:1.shop.example", false},
        {"https://*.shop.example", "https://evil.test/.shop.example", false},
        {"https://*.shop.example", "https://evil.test#.shop.example", false},
        {"https://*.shop.example", "https://user@a.shop.example", false},
        {"https://*.shop.example", "https://A.shop.example", false},
        {"https://*.shop.example:8443", "https://a.shop.example:8443", true},
        {"https://*.shop.example:8443", "https://a.shop.example", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cors_origin origin;
        const char *wrong = cors_origin_parse(str_from(rows[i].entry), &origin);
        if (wrong != NULL || cors_origin_has(&origin, str_from(rows[i].origin)) != rows[i].has)
            fail_msg("%s, %s: %s", rows[i].entry, rows[i].origin, wrong);
    }
}

static void test_what_no_browser_sends_is_an_error(void **state)
{
    static const char *const rows[] = {
        "shop.example",
        "https://",
        "://shop.example",
        "https://shop.example/",
        "https://shop.example/path",
        "https://Shop.example",
        "HTTPS://shop.example",
        "https://shop.example:443",
        "http://shop.example:80",
        "http://*.shop.example:80",
        "https://shop.example:",
        "https://shop.example:x",
        "https://shop.example:123456",
        "https://user@shop.example",
        "https://*",
        "https://*shop.example",
        "https://a.*.shop.example",
        "https://*.*.example",
        "*.shop.example",
        "https://[::1",
        "https://:8443",
        "Null",
        "https://shop.example?x",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cors_origin origin;
        if (cors_origin_parse(str_from(rows[i]), &origin) == NULL)
            fail_msg("%s", rows[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry_stands_for_one_origin_or_for_subdomains),
        cmocka_unit_test(test_what_no_browser_sends_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
