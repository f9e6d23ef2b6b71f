/* When an address is put aside, for how long, and when it comes back. */
#include "upstreams/policy.h"
#include "tests/unit/policy_threads.h"

#define MS UINT64_C(1000)

static const struct config_ejection ejection = {.consecutive = 3, .for_ms = 10000, .max_share = 50};

enum report { END, GOOD, BAD, LOOK };

struct step {
    uint64_t ms; /* since the step before */
    enum report report;
    unsigned times;     /* the step, at that moment; 0 = once */
    bool ejects;        /* the last of these */
    bool usable;        /* then */
    unsigned ejections; /* as seen then */
};

static const struct {
    const char *what;
    struct step steps[16];
} stories[] = {
    {"failures in a row eject", {{0, BAD, 2, false, true, 0}, {1, BAD, 0, true, false, 1}}},
    {"a good answer begins the row again",
     {{0, BAD, 2, false, true, 0},
      {1, GOOD, 0, false, true, 0},
      {1, BAD, 2, false, true, 0},
      {1, BAD, 0, true, false, 1}}},
    {"it is back in time",
     {{0, BAD, 3, true, false, 1}, {9999, LOOK, 0, false, false, 1}, {1, LOOK, 0, false, true, 1}}},
    {"while it is aside nothing counts",
     {{0, BAD, 3, true, false, 1},
      {1, BAD, 50, false, false, 1},
      {1, GOOD, 0, false, false, 1},
      {9998, BAD, 2, false, true, 1},
      {1, BAD, 0, true, false, 2}}},
    {"each time longer",
     {{0, BAD, 3, true, false, 1},
      {10000, BAD, 3, true, false, 2},
      {19999, LOOK, 0, false, false, 2},
      {1, BAD, 3, true, false, 3},
      {29999, LOOK, 0, false, false, 3},
      {1, LOOK, 0, false, true, 3}}},
    {"and forgiven, one for each such time without",
     {{0, BAD, 3, true, false, 1},
      {10000, BAD, 3, true, false, 2},
      {20000, BAD, 3, true, false, 3},
      {30000, LOOK, 0, false, true, 3},
      {9999, LOOK, 0, false, true, 3},
      {1, LOOK, 0, false, true, 2},
      {10000, LOOK, 0, false, true, 1},
      {1, BAD, 3, true, false, 2},
      {19999, LOOK, 0, false, false, 2},
      {1, LOOK, 0, false, true, 2},
      {20000, LOOK, 0, false, true, 0},
      {1000000, BAD, 3, true, false, 1}}},
};

/* Each story right after the boot, when the clock stands at 0, and after years. */
static void test_stories(void **state)
{
    (void)state;
    static const uint64_t begins[] = {0, UINT64_C(123456789012345)};
    for (size_t i = 0; i < COUNT(stories); i++)
        for (size_t j = 0; j < COUNT(begins); j++) {
            struct health_state address = {0};
            uint64_t now_us = begins[j];
            print_message("%s\n", j == 0 ? stories[i].what : "  ... later");
            for (const struct step *step = stories[i].steps; step->report != END; step++) {
                now_us += step->ms * MS;
                unsigned times = step->times != 0 ? step->times : 1;
                for (unsigned n = 1; n <= times && step->report != LOOK; n++)
                    assert_int_equal(
                        health_report(&address, step->report == GOOD, &ejection, 4, 0, now_us),
                        step->ejects && n == times);
                assert_int_equal(health_is_usable(&address, now_us), step->usable);
                assert_int_equal(health_ejections(&address, &ejection, now_us), step->ejections);
            }
        }
}

static void test_how_many_may_be_aside(void **state)
{
    (void)state;
    static const struct {
        uint32_t max_share;
        size_t count, others_aside;
        bool ejects;
    } cases[] = {
        {100, 1, 0, false}, /* never the last one */
        {100, 2, 0, true},  {100, 2, 1, false}, {100, 3, 1, true}, {100, 3, 2, false},
        {50, 2, 0, true},   {50, 2, 1, false},  {50, 3, 0, true},  {50, 3, 1, false},
        {50, 4, 1, true},   {50, 4, 2, false},  {30, 10, 2, true}, {30, 10, 3, false},
        {30, 3, 0, true}, /* one may always */
        {30, 3, 1, false},  {1, 2, 0, true},    {1, 2, 1, false},  {0, 10, 0, false},
        {0, 1, 0, false},   {50, 1, 0, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct config_ejection limits = {
            .consecutive = 1, .for_ms = 1000, .max_share = cases[i].max_share};
        struct health_state address = {0};
        assert_int_equal(
            health_report(&address, false, &limits, cases[i].count, cases[i].others_aside, 5),
            cases[i].ejects);
        assert_int_equal(health_is_usable(&address, 5), !cases[i].ejects);
    }
}

static void test_it_goes_as_soon_as_it_may(void **state)
{
    (void)state;
    struct health_state address = {0};
    for (unsigned i = 0; i < 10; i++) /* the others are aside */
        assert_false(health_report(&address, false, &ejection, 4, 3, 5));
    assert_true(health_report(&address, false, &ejection, 4, 1, 6));
}

static void test_it_grows_thirty_times_at_most(void **state)
{
    (void)state;
    struct health_state address = {0};
    uint64_t now_us = 0;
    for (uint64_t i = 1; i <= 40; i++) {
        uint64_t times = i < 30 ? i : 30;
        assert_false(health_report(&address, false, &ejection, 2, 0, now_us));
        assert_false(health_report(&address, false, &ejection, 2, 0, now_us));
        assert_true(health_report(&address, false, &ejection, 2, 0, now_us));
        now_us += times * 10000 * MS;
        assert_false(health_is_usable(&address, now_us - 1));
        assert_true(health_is_usable(&address, now_us));
    }
}

static void test_without_a_limit_nothing_is_ejected(void **state)
{
    (void)state;
    static const struct config_ejection off = {.consecutive = 0, .for_ms = 0, .max_share = 50};
    struct health_state address = {0};
    for (unsigned i = 0; i < 1000; i++)
        assert_false(health_report(&address, false, &off, 4, 0, i));
    assert_true(health_is_usable(&address, 1000));
    assert_int_equal(health_ejections(&address, &off, 1000), 0);
}

/* -- threads ----------------------------------------------------------------------------------- */

struct together {
    _Atomic uint32_t arrived;
    struct health_state addresses[ROUNDS];
    _Atomic uint8_t ejected[ROUNDS];
};

static void *fail_together(void *arg)
{
    static const struct config_ejection limits = {.consecutive = 1, .for_ms = 1, .max_share = 50};
    struct together *together = arg;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        meet(&together->arrived, i + 1);
        if (health_report(&together->addresses[i], false, &limits, 4, 0, 5))
            atomic_fetch_add(&together->ejected[i], 1);
    }
    return NULL;
}

static void test_threads_eject_once(void **state)
{
    (void)state;
    static struct together together;
    run_threads(fail_together, &together);
    for (size_t i = 0; i < ROUNDS; i++) {
        assert_int_equal(atomic_load(&together.ejected[i]), 1);
        assert_int_equal(atomic_load(&together.addresses[i].ejections), 1);
    }
}

/* -- checks ------------------------------------------------------------------------------------ */

static void test_checks(void **state)
{
    (void)state;
    static const struct config_health limits = {.healthy = 2, .unhealthy = 3};
    static const struct {
        const char *checks;  /* + good, - bad */
        const char *changes; /* ! where it is told, else . */
        enum health then;
    } cases[] = {
        {"", "", HEALTH_UNKNOWN},
        {"+", ".", HEALTH_HEALTHY}, /* the first counts at once; good news isn't told */
        {"-", "!", HEALTH_UNHEALTHY},
        {"+--", "...", HEALTH_HEALTHY},
        {"+---", "...!", HEALTH_UNHEALTHY},
        {"+--+--", "......", HEALTH_HEALTHY}, /* in a row */
        {"+--+---", "......!", HEALTH_UNHEALTHY},
        {"-+", "!.", HEALTH_UNHEALTHY},
        {"-++", "!.!", HEALTH_HEALTHY},
        {"-+-+", "!...", HEALTH_UNHEALTHY},
        {"-+-++", "!...!", HEALTH_HEALTHY},
        {"-++---++", "!.!..!.!", HEALTH_HEALTHY},
        {"+---+---++", "...!.....!", HEALTH_HEALTHY},
        {"-----", "!....", HEALTH_UNHEALTHY},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct health_state address = {0};
        for (size_t n = 0; cases[i].checks[n] != '\0'; n++)
            assert_int_equal(health_check(&address, cases[i].checks[n] == '+', &limits),
                             cases[i].changes[n] == '!');
        assert_int_equal(atomic_load(&address.checked), cases[i].then);
        assert_int_equal(health_is_usable(&address, 0), cases[i].then != HEALTH_UNHEALTHY);
    }
}

static void test_unhealthy_and_ejected_are_two_things(void **state)
{
    (void)state;
    static const struct config_health limits = {.healthy = 1, .unhealthy = 1};
    struct health_state address = {0};
    for (unsigned i = 0; i < 3; i++)
        health_report(&address, false, &ejection, 2, 0, 0);
    assert_false(health_is_usable(&address, 1));
    health_check(&address, true, &limits);
    assert_false(health_is_usable(&address, 1));
    health_check(&address, false, &limits);
    assert_false(health_is_usable(&address, 10000 * MS));
    health_check(&address, true, &limits);
    assert_true(health_is_usable(&address, 10000 * MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_how_many_may_be_aside),
        cmocka_unit_test(test_it_goes_as_soon_as_it_may),
        cmocka_unit_test(test_it_grows_thirty_times_at_most),
        cmocka_unit_test(test_without_a_limit_nothing_is_ejected),
        cmocka_unit_test(test_threads_eject_once),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_unhealthy_and_ejected_are_two_things),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
