/* QR codes as outlines: the area that they fill is exactly the code's dark modules. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <qrencode.h>
#include <stdio.h>
#include <stdlib.h>
#include "certificates/qr.h"

enum { MOST = 200 };

/* Winding numbers of the modules' middles, from a path of M, h, v and z. */
static void wind(struct str path, int winding[MOST][MOST])
{
    char *text = strndup(path.p, path.n), *at = text;
    long x = 0, y = 0, from_x = 0, from_y = 0;
    while (*at != '\0') {
        char command = *at++;
        long by = command == 'z' ? 0 : strtol(at, &at, 10);
        if (command == 'M') {
            x = from_x = by;
            y = from_y = strtol(at, &at, 10);
        } else if (command == 'h') {
            x += by;
        } else if (command == 'v') {
            /* an upright edge changes the winding of what is to its right */
            for (long row = by > 0 ? y : y + by; row < (by > 0 ? y + by : y); row++)
                for (long column = x; column < MOST; column++)
                    winding[row][column] += by > 0 ? -1 : 1;
            y += by;
        } else {
            assert_int_equal(command, 'z');
            assert_true(x == from_x && y == from_y); /* walked all around */
        }
    }
    free(text);
}

static void test_outline_fills_the_dark_modules(void **state)
{
    (void)state;
    static int winding[MOST][MOST];
    for (size_t length = 1; length < 2331; length += length < 40 ? 1 : 331) {
        char text[2331];
        for (size_t i = 0; i < length; i++)
            text[i] = (char)('!' + (i * 7 + length) % 90);
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        struct qr qr;
        assert_true(qr_outline((struct str){text, length}, &pool, &qr));
        QRcode *code = QRcode_encodeData((int)length, (const unsigned char *)text, 0, QR_ECLEVEL_M);
        assert_int_equal(qr.size, code->width + 8);
        memset(winding, 0, sizeof(winding));
        wind(qr.path, winding);
        for (int y = 0; y < (int)qr.size; y++) {
            for (int x = 0; x < (int)qr.size; x++) {
                bool quiet = x < 4 || y < 4 || x >= code->width + 4 || y >= code->width + 4;
                bool dark = !quiet && (code->data[(y - 4) * code->width + x - 4] & 1) != 0;
                assert_int_equal(winding[y][x], dark ? 1 : 0);
            }
        }
        QRcode_free(code);
        h2o_mem_clear_pool(&pool);
    }
}

static void test_nothing_and_too_much_are_no_code(void **state)
{
    (void)state;
    static char text[5000];
    memset(text, 'x', sizeof(text));
    struct qr qr;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    assert_false(qr_outline(STR(""), &pool, &qr));
    assert_false(qr_outline((struct str){text, 2332}, &pool, &qr));
    assert_false(qr_outline((struct str){text, sizeof(text)}, &pool, &qr));
    assert_true(qr_outline((struct str){text, 2331}, &pool, &qr));
    assert_int_equal(qr.size, 177 + 8);
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outline_fills_the_dark_modules),
        cmocka_unit_test(test_nothing_and_too_much_are_no_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
