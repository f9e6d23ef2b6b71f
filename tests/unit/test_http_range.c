/* Which bytes a client gets for what it asks. */
#include "http/range.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* The result as text: "200", "416", or the ranges as "first+n first+n". */
static const char *parsed(const char *value, uint64_t size)
{
    static char text[2048];
    struct range ranges[RANGES_MAX];
    size_t count, n = 0;
    switch (range_parse(str_from(value), size, ranges, &count)) {
    case RANGE_WHOLE:
        assert_int_equal(count, 0);
        return "200";
    case RANGE_UNSATISFIABLE:
        assert_int_equal(count, 0);
        return "416";
    case RANGE_PARTS:
        break;
    }
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%llu+%llu", i == 0 ? "" : " ",
                              (unsigned long long)ranges[i].first, (unsigned long long)ranges[i].n);
    return text;
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint64_t size;
        const char *result;
    } cases[] = {
        /* one */
        {"bytes=0-99", 1000, "0+100"},
        {"bytes=0-0", 1000, "0+1"},
        {"bytes=999-999", 1000, "999+1"},
        {"bytes=500-", 1000, "500+500"},
        {"bytes=0-", 1000, "0+1000"},
        {"bytes=-1", 1000, "999+1"},
        {"bytes=-1000", 1000, "0+1000"},
        {"bytes=-5000", 1000, "0+1000"},
        {"bytes=900-5000", 1000, "900+100"},
        {"BYTES=0-99", 1000, "0+100"},
        {"  bytes=0-99\t", 1000, "0+100"},
        {"bytes=000-0099", 1000, "0+100"},
        /* none of which is there */
        {"bytes=1000-", 1000, "416"},
        {"bytes=1000-2000", 1000, "416"},
        {"bytes=-0", 1000, "416"},
        {"bytes=1000-,2000-", 1000, "416"},
        {"bytes=0-", 0, "416"},
        {"bytes=-1", 0, "200"},
        /* several */
        {"bytes=0-0,-1", 1000, "0+1 999+1"},
        {"bytes=0-0 , 5-6\t,\t-1", 1000, "0+1 5+2 999+1"},
        {"bytes=,,0-0,,5-6,", 1000, "0+1 5+2"},
        {"bytes=5-6,0-0", 1000, "5+2 0+1"}, /* in the order asked for */
        {"bytes=0-9,2000-3000", 1000, "0+10"},
        {"bytes=0-499,500-999", 1000, "0+500 500+500"},
        {"bytes=0-9,5-14", 1000, "0+10 5+10"},
        {"bytes=0-9,5-14,10-19", 1000, "0+10 5+10 10+10"},
        /* that cost more than the whole */
        {"bytes=0-9,0-9,0-9", 1000, "200"},
        {"bytes=0-,0-0", 1000, "200"},
        {"bytes=0-599,400-999", 1000, "200"},
        {"bytes=0-,0-,0-,0-", 1000, "200"},
        /* numbers past everything */
        {"bytes=0-18446744073709551615", 1000, "0+1000"},
        {"bytes=0-18446744073709551616", 1000, "0+1000"},
        {"bytes=0-99999999999999999999999999", 1000, "0+1000"},
        {"bytes=99999999999999999999999999-", 1000, "416"},
        {"bytes=18446744073709551616-18446744073709551617", 1000, "416"},
        {"bytes=-99999999999999999999999999", 1000, "0+1000"},
        {"bytes=18446744073709551614-", UINT64_MAX, "18446744073709551614+1"},
        {"bytes=0-18446744073709551615", UINT64_MAX, "0+18446744073709551615"},
        /* ignored */
        {NULL, 1000, "200"},
        {"", 1000, "200"},
        {"bytes", 1000, "200"},
        {"bytes=", 1000, "200"},
        {"bytes=,", 1000, "200"},
        {"bytes=-", 1000, "200"},
        {"bytes=a-b", 1000, "200"},
        {"bytes=0", 1000, "200"},
        {"bytes=0-9-", 1000, "200"},
        {"bytes=0--9", 1000, "200"},
        {"bytes=0 -9", 1000, "200"},
        {"bytes=0- 9", 1000, "200"},
        {"bytes =0-9", 1000, "200"},
        {"bytes=+0-9", 1000, "200"},
        {"bytes=0x0-9", 1000, "200"},
        {"bytes=9-0", 1000, "200"},
        {"bytes=0-9,9-0", 1000, "200"},
        {"bytes=0-9;5-6", 1000, "200"},
        {"bytes=0-9, bytes=20-29", 1000, "200"}, /* the field twice */
        {"items=0-9", 1000, "200"},
        {"0-9", 1000, "200"},
        {"=0-9", 1000, "200"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (strcmp(parsed(cases[i].value, cases[i].size), cases[i].result) != 0)
            fail_msg("%s of %llu: %s", cases[i].value ? cases[i].value : "absent",
                     (unsigned long long)cases[i].size, parsed(cases[i].value, cases[i].size));
}

static void check_count(size_t count, const char *beginning)
{
    char value[1024] = "bytes=";
    size_t n = strlen(value);
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(value + n, sizeof(value) - n, "%zu-%zu,", 10 * i, 10 * i);
    const char *result = parsed(value, 100000);
    if (strncmp(result, beginning, strlen(beginning)) != 0)
        fail_msg("%zu ranges: %s", count, result);
}

static void test_more_ranges_than_allowed_are_the_whole(void **state)
{
    (void)state;
    check_count(RANGES_MAX, "0+1 10+1 20+1");
    check_count(RANGES_MAX + 1, "200");
}

#define BEFORE   "Sun, 06 Nov 1994 08:49:36 GMT"
#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define AFTER    "Sun, 06 Nov 1994 08:49:38 GMT"

static void test_if_range(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool allowed;
    } cases[] = {
        {NULL, true},         {"\"a\"", true},    {" \"a\" ", true},       {MODIFIED, true},
        {"\"b\"", false},     {"W/\"a\"", false}, {"\"a\", \"b\"", false}, /* one tag, not a list */
        {"*", false},         {BEFORE, false},    {AFTER, false}, /* not If-Unmodified-Since:
                                                                     exactly this date */
        {"yesterday", false}, {"", false},        {"\"", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (range_allowed(str_from(cases[i].value), STR("\"a\""), 784111777) != cases[i].allowed)
            fail_msg("%s", cases[i].value ? cases[i].value : "absent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_more_ranges_than_allowed_are_the_whole),
        cmocka_unit_test(test_if_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
