/* Which address is next. */
#include "upstreams/policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 4, PICKS = 14 };

/* "3 1 0!": weights; ! is unusable, ? was tried by this call, ~5 has so many calls under way. */
static size_t read_candidates(const char *text, struct candidate candidates[MOST])
{
    size_t count = 0;
    for (const char *p = text; *p != '\0'; p++) {
        struct candidate *last = &candidates[count - (count != 0)];
        if (*p >= '0' && *p <= '9') {
            gw_assert(count < MOST);
            candidates[count++] =
                (struct candidate){.weight = (uint32_t)(*p - '0'), .usable = true};
        } else if (*p == '!') {
            last->usable = false;
        } else if (*p == '?') {
            last->tried = true;
        } else if (*p == '~') {
            last->inflight = (uint32_t)(*++p - '0');
        }
    }
    return count;
}

static void test_the_order_of_picks(void **state)
{
    (void)state;
    static const struct {
        enum config_balance how;
        const char *candidates, *picks;
    } cases[] = {
        {BALANCE_ROUND_ROBIN, "1", "aaaaaaaaaaaaaa"},
        {BALANCE_ROUND_ROBIN, "1 1", "abababababababab"},
        {BALANCE_ROUND_ROBIN, "1 1 1", "abcabcabcabcab"},
        {BALANCE_ROUND_ROBIN, "3 1 1", "abacaabacaabac"},
        {BALANCE_ROUND_ROBIN, "1 1 3", "cacbccacbccacb"},
        {BALANCE_ROUND_ROBIN, "5 1 1", "aabacaaaabacaa"},
        {BALANCE_ROUND_ROBIN, "2 1", "abaabaabaabaab"},
        {BALANCE_ROUND_ROBIN, "4 2 1", "abacabaabacaba"},
        {BALANCE_ROUND_ROBIN, "2 2", "abababababababab"},
        /* weight 0: only when all have it, and then alike */
        {BALANCE_ROUND_ROBIN, "0 1", "bbbbbbbbbbbbbb"},
        {BALANCE_ROUND_ROBIN, "0 0", "abababababababab"},
        {BALANCE_ROUND_ROBIN, "0", "aaaaaaaaaaaaaa"},
        {BALANCE_ROUND_ROBIN, "0 1!", "aaaaaaaaaaaaaa"},
        /* usable ones, and of these the untried */
        {BALANCE_ROUND_ROBIN, "1! 1", "bbbbbbbbbbbbbb"},
        {BALANCE_ROUND_ROBIN, "3! 1 1", "bcbcbcbcbcbcbc"},
        {BALANCE_ROUND_ROBIN, "3? 1 1", "bcbcbcbcbcbcbc"},
        {BALANCE_ROUND_ROBIN, "3? 1! 1", "cccccccccccccc"},
        {BALANCE_ROUND_ROBIN, "2? 1!", "aaaaaaaaaaaaaa"}, /* usable before untried */
        {BALANCE_ROUND_ROBIN, "2? 1? 1!", "abaabaabaabaab"},
        {BALANCE_ROUND_ROBIN, "1!? 1!", "bbbbbbbbbbbbbb"},
        {BALANCE_ROUND_ROBIN, "2! 1!", "abaabaabaabaab"}, /* nobody is: all are used */
        {BALANCE_ROUND_ROBIN, "2!? 1!?", "abaabaabaabaab"},
        /* calls under way don't matter */
        {BALANCE_ROUND_ROBIN, "1~9 1~0", "abababababababab"},
        /* or do */
        {BALANCE_LEAST_INFLIGHT, "1~1 1~0", "bbbbbbbbbbbbbb"},
        {BALANCE_LEAST_INFLIGHT, "1 1 1", "abcabcabcabcab"},
        {BALANCE_LEAST_INFLIGHT, "3 1 1", "abacaabacaabac"},
        {BALANCE_LEAST_INFLIGHT, "1~2 1~2 1~3", "ababbababababa"},
        {BALANCE_LEAST_INFLIGHT, "3~3 1~1", "aabaaabaaabaaa"}, /* as busy for their weight */
        {BALANCE_LEAST_INFLIGHT, "3~3 1~2", "aaaaaaaaaaaaaa"},
        {BALANCE_LEAST_INFLIGHT, "3~4 1~1", "bbbbbbbbbbbbbb"},
        {BALANCE_LEAST_INFLIGHT, "1~0! 1~5", "bbbbbbbbbbbbbb"},
        {BALANCE_LEAST_INFLIGHT, "1~0? 1~5", "bbbbbbbbbbbbbb"},
        {BALANCE_LEAST_INFLIGHT, "0~0 1~5", "bbbbbbbbbbbbbb"},
        {BALANCE_LEAST_INFLIGHT, "0~0 1~5 1~4", "cccccccccccccc"},
        {BALANCE_LEAST_INFLIGHT, "0~1 0~0", "bbbbbbbbbbbbbb"},
        {BALANCE_LEAST_INFLIGHT, "1!~1 1!~0", "bbbbbbbbbbbbbb"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct candidate candidates[MOST];
        char picks[PICKS + 1] = "";
        size_t count = read_candidates(cases[i].candidates, candidates);
        for (size_t n = 0; n < PICKS; n++)
            picks[n] = (char)('a' + balance_pick(cases[i].how, candidates, count));
        if (memcmp(picks, cases[i].picks, PICKS) != 0)
            print_error("%s: %s, not %s\n", cases[i].candidates, picks, cases[i].picks);
        assert_memory_equal(picks, cases[i].picks, PICKS);
    }
}

/* One comes and goes, calls are tried again elsewhere: shares hold, and turns don't run away. */
static void test_shares_hold_when_addresses_come_and_go(void **state)
{
    (void)state;
    struct candidate candidates[] = {
        {.weight = 3, .usable = true}, {.weight = 2, .usable = true}, {.weight = 1}};
    unsigned picks[3] = {0};
    uint32_t random = 1;
    for (unsigned i = 0; i < 100000; i++) {
        random = random * 1664525 + 1013904223;
        candidates[2].usable = random >> 31;
        candidates[0].tried = (random >> 24) % 16 == 0;
        picks[balance_pick(BALANCE_ROUND_ROBIN, candidates, 3)]++;
        int64_t sum = 0;
        for (size_t n = 0; n < 3; n++) {
            sum += candidates[n].turn;
            assert_true(candidates[n].turn >= -12 && candidates[n].turn <= 12);
        }
        assert_int_equal(sum, 0);
    }
    /* 15 of 16 times 3/5 and 3/6 by turns; the third half of the time 1/6, or 1/3 */
    assert_in_range(picks[0], 50000, 53200);
    assert_in_range(picks[2], 8200, 9900);
}

/* Two answer within a tick, the third takes ten: it gets fewer calls, the two get the same. Then it
 * is as fast as they are, and gets its third without being flooded first. */
static void test_a_slow_address_gets_fewer_calls(void **state)
{
    (void)state;
    enum { SLOW = 3000, FAST = 300, CALLS_A_TICK = 3 };
    static uint8_t ends[SLOW + FAST + 10][3];
    struct candidate candidates[3];
    unsigned picks[2][3] = {0};
    for (size_t n = 0; n < 3; n++)
        candidates[n] = (struct candidate){.weight = 1, .usable = true};
    for (size_t tick = 0; tick < SLOW + FAST; tick++) {
        bool is_slow = tick < SLOW;
        for (size_t n = 0; n < 3; n++)
            candidates[n].inflight -= ends[tick][n];
        for (unsigned call = 0; call < CALLS_A_TICK; call++) {
            size_t picked = balance_pick(BALANCE_LEAST_INFLIGHT, candidates, 3);
            picks[!is_slow][picked]++;
            candidates[picked].inflight++;
            ends[tick + (picked == 2 && is_slow ? 10 : 1)][picked]++;
        }
    }
    assert_in_range(picks[0][2], 1, SLOW * CALLS_A_TICK / 10);
    assert_in_range(picks[0][0], picks[0][1] * 95 / 100, picks[0][1] * 105 / 100);
    for (size_t n = 0; n < 3; n++)
        assert_in_range(picks[1][n], FAST - 12, FAST + 12);
}

static void test_the_largest_numbers(void **state)
{
    (void)state;
    struct candidate candidates[] = {
        {.weight = UINT32_MAX, .inflight = UINT32_MAX, .usable = true},
        {.weight = UINT32_MAX, .inflight = UINT32_MAX - 1, .usable = true},
    };
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(balance_pick(BALANCE_ROUND_ROBIN, candidates, 2), i % 2);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(balance_pick(BALANCE_LEAST_INFLIGHT, candidates, 2), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_order_of_picks),
        cmocka_unit_test(test_shares_hold_when_addresses_come_and_go),
        cmocka_unit_test(test_a_slow_address_gets_fewer_calls),
        cmocka_unit_test(test_the_largest_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
