/* Serials are unguessable, and read as people write them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include "certificates/register.h"

#define GOOD "8K3QF-2M7XR-V0P4N-J6T9W"

static void test_a_serial_is_read_as_people_write_it(void **state)
{
    (void)state;
    static const struct {
        const char *text, *serial; /* NULL = none */
    } cases[] = {
        {GOOD, GOOD},
        {"8k3qf-2m7xr-v0p4n-j6t9w", GOOD},
        {"8K3QF2M7XRV0P4NJ6T9W", GOOD},
        {" 8K3QF 2M7XR\tV0P4N J6T9W", NULL},
        {" 8K3QF 2M7XR V0P4N J6T9W ", GOOD},
        {"8K3QF-2M7XR-VOP4N-J6T9W", GOOD},
        {"8k3qf-2m7xr-vop4n-j6t9w", GOOD},
        {"1I1lL-00OoO-00000-00000", "11111-00000-00000-00000"},
        {"8-K-3QF2M7XRV0P4NJ6T9-W-", GOOD},
        {"8K3QF-2M7XR-V0P4N-J6T9", NULL},
        {"8K3QF-2M7XR-V0P4N-J6T9WX", NULL},
        {"8K3QF-2M7XR-V0P4N-J6T9U", NULL},
        {"8K3QF-2M7XR-V0P4N-J6T9\xc3\xa9", NULL},
        {"", NULL},
        {"--------------------", NULL},
        {"verify", NULL},
        {"../../../etc/passwd0", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char serial[SERIAL_ROOM] = "untouched";
        bool is = serial_read(str_from(cases[i].text), serial);
        assert_int_equal(is, cases[i].serial != NULL);
        assert_string_equal(serial, is ? cases[i].serial : "untouched");
    }
    char serial[SERIAL_ROOM];
    assert_false(serial_read((struct str){"8K3QF-2M7XR-V0P4N-J6T9\0", 23}, serial));
    assert_false(serial_read((struct str){NULL, 0}, serial));
}

static int by_text(const void *a, const void *b)
{
    return memcmp(a, b, SERIAL_ROOM);
}

/* Each place takes each of the 32 letters, about as often: of 32,000, 1,000 ± 6 sigma. */
static void test_serials_are_random_in_each_place(void **state)
{
    (void)state;
    enum { N = 32000, MOST = 1187, LEAST = 813 };
    char(*serials)[SERIAL_ROOM] = calloc(N, SERIAL_ROOM), read[SERIAL_ROOM];
    unsigned counts[SERIAL_ROOM][128] = {{0}};
    for (size_t i = 0; i < N; i++) {
        serial_make(serials[i]);
        assert_int_equal(strlen(serials[i]), 23);
        assert_true(serial_read(str_from(serials[i]), read));
        assert_string_equal(read, serials[i]);
        for (size_t at = 0; at < 23; at++)
            counts[at][(unsigned char)serials[i][at]]++;
    }
    for (size_t at = 0; at < 23; at++) {
        unsigned letters = 0;
        for (size_t c = 0; c < 128; c++) {
            if (counts[at][c] == 0)
                continue;
            letters++;
            if (at % 6 != 5)
                assert_in_range(counts[at][c], LEAST, MOST);
        }
        assert_int_equal(letters, at % 6 == 5 ? 1 : 32);
    }
    qsort(serials, N, SERIAL_ROOM, by_text);
    for (size_t i = 1; i < N; i++)
        assert_memory_not_equal(serials[i - 1], serials[i], SERIAL_ROOM);
    free(serials);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_serial_is_read_as_people_write_it),
        cmocka_unit_test(test_serials_are_random_in_each_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
