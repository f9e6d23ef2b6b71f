/* The combined format as its parsers read it, and the lines of slow requests. */
#include "observe/access_line.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct timespec moment = {.tv_sec = 1795339800, .tv_nsec = 123999999};
#define MOMENT "2026-11-22T09:30:00.123Z"

static const char *line_of(enum access_format format, const struct access_record *record)
{
    static char line[1 << 20];
    struct access_stamp stamp = {0};
    access_stamp_set(&stamp, moment);
    assert_true(access_line_bound(format, record) < sizeof(line));
    char *end = access_line_write(line, format, &stamp, record);
    assert_true((size_t)(end - line) <= access_line_bound(format, record));
    *end = '\0';
    return line;
}

static struct access_record plain(void)
{
    return (struct access_record){.id = STR("7f3c"),
                                  .client = STR("203.0.113.7"),
                                  .method = STR("GET"),
                                  .path = STR("/?user=7"),
                                  .host = STR("shop.example"),
                                  .protocol = STR("HTTP/1.1"),
                                  .route = STR("home"),
                                  .user_agent = STR("Mozilla/5.0 (X11)"),
                                  .referer = STR("https://shop.example/"),
                                  .status = 200,
                                  .bytes = 3412,
                                  .us = 812345,
                                  .flags = ""};
}

/* -- combined --------------------------------------------------------------------------------- */

/* What goaccess, awstats and Logstash's COMBINEDAPACHELOG take, as one expression. */
static const char combined[] =
    "^([0-9a-fA-F.:]+|unix|-) - ([^ ]+) "
    "\\[([0-9]{2}/(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/[0-9]{4}(:[0-9]{2}){3} "
    "[+-][0-9]{4})\\] \"([A-Z]+ [^ \"]+ HTTP/[0-9.]+|[^\"]*)\" ([0-9]{3}) ([0-9]+) \"([^\"]*)\" "
    "\"([^\"]*)\"\n$";

static void expect_combined(const struct access_record *record, const char *expected)
{
    regex_t format;
    const char *line = line_of(ACCESS_COMBINED, record);
    assert_string_equal(line, expected);
    assert_int_equal(regcomp(&format, combined, REG_EXTENDED | REG_NOSUB), 0);
    assert_int_equal(regexec(&format, line, 0, NULL, 0), 0);
    regfree(&format);
}

static void test_the_combined_format(void **state)
{
    (void)state;
    struct access_record record = plain();
    expect_combined(&record, "203.0.113.7 - - [22/Nov/2026:09:30:00 +0000] \"GET /?user=7 "
                             "HTTP/1.1\" 200 3412 \"https://shop.example/\" "
                             "\"Mozilla/5.0 (X11)\"\n");
    record.client = STR("2001:db8::7");
    record.protocol = STR("HTTP/2");
    record.user = STR("token:ci");
    record.referer = record.user_agent = STR("");
    record.bytes = 0;
    record.status = 404;
    expect_combined(&record, "2001:db8::7 - token:ci [22/Nov/2026:09:30:00 +0000] \"GET /?user=7 "
                             "HTTP/2.0\" 404 0 \"-\" \"-\"\n");
    expect_combined(&(struct access_record){.client = STR("203.0.113.7"), .status = 400},
                    "203.0.113.7 - - [22/Nov/2026:09:30:00 +0000] \"-\" 400 0 \"-\" \"-\"\n");
}

static void test_no_client_forges_a_combined_line(void **state)
{
    (void)state;
    static const struct {
        const char *value, *written;
    } cases[] = {
        {"\" 200 1 \"-\" \"forged", "\\x22 200 1 \\x22-\\x22 \\x22forged"},
        {"a\n203.0.113.9 - - [", "a\\x0A203.0.113.9 - - ["},
        {"\r\t\x1b[31m\x7f", "\\x0D\\x09\\x1B[31m\\x7F"},
        {"a\\\"b\\", "a\\x5C\\x22b\\x5C"},
        {"\xc3\xa4\xff", "\\xC3\\xA4\\xFF"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct access_record record = plain();
        char expected[512];
        record.referer = record.user_agent = str_from(cases[i].value);
        snprintf(expected, sizeof(expected),
                 "203.0.113.7 - - [22/Nov/2026:09:30:00 +0000] \"GET /?user=7 HTTP/1.1\" 200 3412 "
                 "\"%s\" \"%s\"\n",
                 cases[i].written, cases[i].written);
        expect_combined(&record, expected);
        record = plain();
        record.path = str_from(cases[i].value);
        assert_string_equal(strchr(line_of(ACCESS_COMBINED, &record), '\n'), "\n");
        record.user = STR("token:my \"ci\"");
        assert_non_null(
            strstr(line_of(ACCESS_COMBINED, &record), " - token:my_\\x22ci\\x22 [22/Nov"));
    }
}

static void test_every_month_has_its_name(void **state)
{
    (void)state;
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct access_record record = plain();
    for (size_t i = 0; i < COUNT(months); i++) {
        struct tm tm = {.tm_year = 126, .tm_mon = (int)i, .tm_mday = 5};
        struct access_stamp stamp = {0};
        char line[8192], expected[32];
        access_stamp_set(&stamp, (struct timespec){.tv_sec = timegm(&tm)});
        *access_line_write(line, ACCESS_COMBINED, &stamp, &record) = '\0';
        snprintf(expected, sizeof(expected), "[05/%s/2026:00:00:00 +0000]", months[i]);
        assert_non_null(strstr(line, expected));
    }
}

/* -- slow ------------------------------------------------------------------------------------- */

static void test_a_slow_request_tells_what_its_parts_waited_for(void **state)
{
    (void)state;
    static const struct access_part parts[] = {
        {.name = {"promo", 5},
         .state = "ok",
         .status = 200,
         .us = 12345,
         .bytes = 1131,
         .attempts = 1,
         .times = {.queue = 1000, .connect = 1500, .first_byte = 12000, .total = 12345}},
        {.name = {"recco", 5},
         .state = "timeout",
         .error = "http_response_timeout",
         .us = 800114,
         .attempts = 2,
         .begin_us = 12400,
         .times = {.dns = 100, .total = 700000}},
        {.name = {"kept", 4}, .state = "ok", .us = 20},
    };
    struct access_record record = plain();
    record.parts = parts;
    record.part_count = COUNT(parts);
    record.reply_us = 800200;
    record.user_agent = STR("");
    record.flags = "UT";
    assert_string_equal(
        line_of(ACCESS_SLOW_LOGFMT, &record),
        "ts=" MOMENT " level=warn msg=\"slow request\" id=7f3c client=203.0.113.7 method=GET "
        "path=\"/?user=7\" host=shop.example protocol=HTTP/1.1 route=home status=200 bytes=3412 "
        "ms=812.345 reply_ms=800.200 flags=UT "
        "part.promo.state=ok part.promo.status=200 part.promo.begin=0.000 part.promo.queue=1.000 "
        "part.promo.connect=0.500 part.promo.first_byte=10.500 part.promo.receive=0.345 "
        "part.promo.ms=12.345 part.promo.bytes=1131 part.promo.attempts=1 "
        "part.recco.state=timeout part.recco.begin=12.400 part.recco.earlier=87.714 "
        "part.recco.dns=0.100 part.recco.first_byte=699.900 part.recco.ms=800.114 "
        "part.recco.bytes=0 part.recco.attempts=2 part.recco.error=http_response_timeout "
        "part.kept.state=ok part.kept.begin=0.000 part.kept.ms=0.020 part.kept.bytes=0 "
        "part.kept.attempts=0\n");
    record.part_count = 2;
    assert_string_equal(
        line_of(ACCESS_SLOW_JSON, &record),
        "{\"ts\":\"" MOMENT "\",\"level\":\"warn\",\"msg\":\"slow request\",\"id\":\"7f3c\","
        "\"client\":\"203.0.113.7\",\"method\":\"GET\",\"path\":\"/?user=7\","
        "\"host\":\"shop.example\",\"protocol\":\"HTTP/1.1\",\"route\":\"home\",\"status\":200,"
        "\"bytes\":3412,\"ms\":812.345,\"reply_ms\":800.200,\"flags\":\"UT\",\"parts\":["
        "{\"name\":\"promo\",\"state\":\"ok\",\"status\":200,\"begin\":0.000,\"queue\":1.000,"
        "\"connect\":0.500,\"first_byte\":10.500,\"receive\":0.345,\"ms\":12.345,\"bytes\":1131,"
        "\"attempts\":1},"
        "{\"name\":\"recco\",\"state\":\"timeout\",\"begin\":12.400,\"earlier\":87.714,"
        "\"dns\":0.100,\"first_byte\":699.900,\"ms\":800.114,\"bytes\":0,\"attempts\":2,"
        "\"error\":\"http_response_timeout\"}]}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_combined_format),
        cmocka_unit_test(test_no_client_forges_a_combined_line),
        cmocka_unit_test(test_every_month_has_its_name),
        cmocka_unit_test(test_a_slow_request_tells_what_its_parts_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
