/* The text of an instant: zones with and without daylight saving, formats of other scripts, and
 * what is refused when the configuration is read. */
#include "certificates/timestamp_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct pos nowhere = {"gateway.toml", 1, 1};

static void test_instants_print_in_their_zone(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *format;
        int64_t ms;
        const char *text;
    } rows[] = {
        {"UTC", "%Y-%m-%d", 0, "1970-01-01"},
        {"UTC", "%Y-%m-%d %H:%M:%S", 1700000000000, "2023-11-14 22:13:20"},
        {"Europe/Paris", "%d.%m.%Y %H:%M %Z", 1700000000000, "14.11.2023 23:13 CET"},
        {"Europe/Paris", "%H:%M %Z", 1688169600000, "02:00 CEST"},
        {"Asia/Kolkata", "%H:%M %:z", 1700000000000, "03:43 +05:30"},
        {"Pacific/Kiritimati", "%F", 1700000000000, "2023-11-15"},
        {"America/New_York", "%F %H", 1700000000000, "2023-11-14 17"},
        {"+02:00", "%H:%M", 1700000000000, "00:13"},
        {"UTC", "%Y年%m月%d日", 1700000000000, "2023年11月14日"},
        {"UTC", "%e %B %Y, %A", 1700000000000, "14 November 2023, Tuesday"},
        {"UTC", "%s.%f", 1700000000123, "1700000000.123000"},
        {"UTC", "100%%", 0, "100%"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct diag *diag = diag_create();
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        struct timestamp_text *text =
            timestamp_text_create(rows[i].format, nowhere, rows[i].zone, nowhere, diag);
        assert_non_null(text);
        struct str printed = timestamp_text_print(text, rows[i].ms, &pool);
        assert_int_equal(printed.n, strlen(rows[i].text));
        assert_memory_equal(printed.p, rows[i].text, printed.n);
        timestamp_text_destroy(&text);
        assert_null(text);
        h2o_mem_clear_pool(&pool);
        diag_destroy(&diag);
    }
}

static void test_what_is_wrong_is_told_when_the_configuration_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *format, *says;
    } rows[] = {
        {"Europe/Pariss", "%F", "gateway.toml:2:1: error: there is no time zone \"Europe/Pariss\""},
        {"UTC", "%Q", "gateway.toml:1:1: error: timestamp_format: \"%Q\" is not a format"},
        {"UTC", "%", "gateway.toml:1:1: error: timestamp_format: \"%\" is not a format"},
        {"../../etc/passwd", "%F", "there is no time zone"},
    };
    static const struct pos zone_at = {"gateway.toml", 2, 1};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char printed[512] = "";
        struct diag *diag = diag_create();
        struct timestamp_text *text =
            timestamp_text_create(rows[i].format, nowhere, rows[i].zone, zone_at, diag);
        if (rows[i].says != NULL) {
            assert_null(text);
            FILE *to = fmemopen(printed, sizeof(printed), "w");
            diag_print(diag, to);
            fclose(to);
            assert_non_null(strstr(printed, rows[i].says));
        }
        timestamp_text_destroy(&text);
        diag_destroy(&diag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_instants_print_in_their_zone),
        cmocka_unit_test(test_what_is_wrong_is_told_when_the_configuration_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
