/* Which certificate a name gets, and which key opens a ticket. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "http/tls_names.h"
#include "http/tls_tickets.h"

/* -- names ------------------------------------------------------------------------------------- */

static struct tls_names sorted(const char *const *texts, size_t count)
{
    struct tls_names names = {0};
    for (size_t i = 0; i < count; i++)
        assert_true(tls_names_add(&names, str_from(texts[i]), i));
    tls_names_sort(&names);
    return names;
}

static void test_a_name_finds_its_certificate(void **state)
{
    (void)state;
    static const char *const texts[] = {"shop.example",     "*.shop.example", "WWW.Shop.Example",
                                        "*.a.shop.example", "other.example.", "shop.example",
                                        "localhost",        "*.shop.example"};
    static const struct {
        const char *asked;
        long found;
    } cases[] = {
        {"shop.example", 0},      /* the first of two */
        {"SHOP.example", 0},      /* names have no case */
        {"shop.example.", 0},     /* nor does it matter whether they end with a dot */
        {"img.shop.example", 1},  /* a label more */
        {"www.shop.example", 2},  /* its own name before a wildcard */
        {"x.a.shop.example", 3},  /* the wildcard of its own level */
        {"a.shop.example", 1},    /* which isn't for the level itself */
        {"x.y.shop.example", -1}, /* nor for two labels more */
        {".shop.example", -1},    /* nor for none */
        {"other.example", 4},
        {"localhost", 6},
        {"local", -1},
        {"example", -1},
        {"*.shop.example", -1}, /* nobody's name */
        {"shop.exampl", -1},
        {"shop.examplee", -1},
        {"", -1},
        {".", -1},
        {"sh\xc3\xb6p.example", -1},
        {"127.0.0.1", -1},
        {"zzz.example", -1},
    };
    struct tls_names names = sorted(texts, COUNT(texts));
    for (size_t i = 0; i < COUNT(cases); i++)
        if (tls_names_find(&names, str_from(cases[i].asked)) != cases[i].found)
            fail_msg("%s", cases[i].asked);
    tls_names_fini(&names);
}

static void test_what_is_no_name_is_left_out(void **state)
{
    (void)state;
    static const struct str bad[] = {{"", 0},      {"a b", 3},   {"a\0b", 3}, {"*", 1},   {"*.", 2},
                                     {"a.*.b", 5}, {"*.*.b", 5}, {"f*.b", 4}, {"a/b", 3}, {".", 1}};
    char longest[512];
    struct tls_names names = {0};
    memset(longest, 'a', sizeof(longest));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(tls_names_add(&names, bad[i], 0));
    assert_false(tls_names_add(&names, (struct str){longest, 254}, 0));
    assert_true(tls_names_add(&names, (struct str){longest, 253}, 7));
    memcpy(longest, "*.", 2);
    assert_false(tls_names_add(&names, (struct str){longest, 256}, 0));
    assert_true(tls_names_add(&names, (struct str){longest, 255}, 8));
    tls_names_sort(&names);
    memset(longest, 'a', 2);
    assert_int_equal(tls_names_find(&names, (struct str){longest, 253}), 7);
    assert_int_equal(tls_names_find(&names, (struct str){longest, 254}), -1);
    assert_int_equal(tls_names_find(&names, (struct str){longest, sizeof(longest)}), -1);
    tls_names_fini(&names);
    assert_int_equal(tls_names_find(&names, STR("a")), -1);
}

/* -- tickets ----------------------------------------------------------------------------------- */

enum { LIFETIME = 100 };

static bool opens(struct ticket_keys *keys, const struct ticket_key *with, uint64_t now_s,
                  bool *current_r)
{
    struct ticket_key found;
    if (!ticket_keys_find(keys, with->name, now_s, &found, current_r))
        return false;
    assert_memory_equal(found.cipher, with->cipher, sizeof(found.cipher));
    assert_memory_equal(found.mac, with->mac, sizeof(found.mac));
    return true;
}

static void test_a_key_seals_for_a_lifetime_and_opens_for_two(void **state)
{
    (void)state;
    struct ticket_keys keys;
    bool current;
    ticket_keys_init(&keys, LIFETIME, 1000);
    struct ticket_key first = ticket_keys_current(&keys, 1000);
    struct ticket_key again = ticket_keys_current(&keys, 1099);
    assert_memory_equal(first.name, again.name, sizeof(first.name));
    assert_true(opens(&keys, &first, 1099, &current) && current);

    struct ticket_key second = ticket_keys_current(&keys, 1100);
    assert_memory_not_equal(first.name, second.name, sizeof(first.name));
    assert_memory_not_equal(first.cipher, second.cipher, sizeof(first.cipher));
    assert_memory_not_equal(first.mac, second.mac, sizeof(first.mac));
    /* What it sealed at 1099 is good until 1199. */
    assert_true(opens(&keys, &first, 1199, &current) && !current);
    assert_true(opens(&keys, &second, 1199, &current) && current);
    assert_false(opens(&keys, &first, 1200, &current));
    ticket_keys_fini(&keys);
}

static void test_a_key_ends_though_nobody_comes(void **state)
{
    (void)state;
    struct ticket_keys keys;
    bool current;
    ticket_keys_init(&keys, LIFETIME, 1000);
    struct ticket_key first = ticket_keys_current(&keys, 1000);
    assert_false(opens(&keys, &first, 5000, &current));
    ticket_keys_fini(&keys);
    /* The next after a pause: the old key is there as the one before, and is over all the same. */
    ticket_keys_init(&keys, LIFETIME, 1000);
    first = ticket_keys_current(&keys, 1000);
    struct ticket_key next = ticket_keys_current(&keys, 1500);
    assert_false(opens(&keys, &first, 1500, &current));
    assert_true(opens(&keys, &next, 1500, &current) && current);
    ticket_keys_fini(&keys);
}

static void test_a_stranger_s_key_is_not_known(void **state)
{
    (void)state;
    struct ticket_keys keys, others;
    bool current;
    ticket_keys_init(&keys, LIFETIME, 0);
    ticket_keys_init(&others, LIFETIME, 0);
    struct ticket_key key = ticket_keys_current(&others, 0);
    assert_false(opens(&keys, &key, 0, &current));
    ticket_keys_fini(&keys);
    ticket_keys_fini(&others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_finds_its_certificate),
        cmocka_unit_test(test_what_is_no_name_is_left_out),
        cmocka_unit_test(test_a_key_seals_for_a_lifetime_and_opens_for_two),
        cmocka_unit_test(test_a_key_ends_though_nobody_comes),
        cmocka_unit_test(test_a_stranger_s_key_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
