/* Locks of partial uploads: who holds, who is asked to let go, in which order others get it, and
 * who gives up. Two loops, turned by hand, stand for two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "files/lock.h"

#define ID_A STR("a0000000000000000000000000000001")
#define ID_B STR("a0000000000000000000000000000002") /* of the same bucket */

enum { LONG_MS = 60 * 1000 };

struct party {
    struct lock *lock;
    bool held;
    unsigned granted, timed_out, wanted;
    bool drop_when_granted;
};

static struct loop *loops[2];

static void granted(void *arg)
{
    struct party *party = arg;
    party->granted++;
    party->held = true;
    if (party->drop_when_granted)
        lock_drop(&party->lock);
}

static void timed_out(void *arg)
{
    struct party *party = arg;
    party->timed_out++;
    party->lock = NULL;
}

static void wanted(void *arg)
{
    ((struct party *)arg)->wanted++;
}

static const struct lock_events events = {granted, timed_out, wanted};

static void take(struct party *party, unsigned loop, struct str id, uint64_t wait_ms)
{
    party->lock = lock_take(loops[loop], id, wait_ms, &events, party, &party->held);
}

/* Whatever was posted arrives. */
static void turn(void)
{
    for (int i = 0; i < 3; i++) {
        loop_turn(loops[0], 0);
        loop_turn(loops[1], 0);
    }
}

static int set_up(void **state)
{
    (void)state;
    loops[0] = loop_create(0);
    loops[1] = loop_create(1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    turn();
    assert_false(lock_held(ID_A));
    assert_false(lock_held(ID_B));
    loop_destroy(&loops[0]);
    loop_destroy(&loops[1]);
    return 0;
}

static void test_a_free_lock_is_held_at_once(void **state)
{
    struct party one = {0}, other = {0};
    (void)state;
    take(&one, 0, ID_A, LONG_MS);
    take(&other, 0, ID_B, LONG_MS);
    assert_true(one.held && other.held && lock_held(ID_A) && lock_held(ID_B));
    turn();
    assert_int_equal(one.granted + one.wanted + other.granted + other.wanted, 0);
    lock_drop(&one.lock);
    assert_true(!lock_held(ID_A) && lock_held(ID_B));
    lock_drop(&other.lock);
    assert_null(other.lock);
    lock_drop(&other.lock);
}

static void test_a_newcomer_makes_the_holder_let_go(void **state)
{
    for (unsigned loop = 0; loop < 2; loop++) {
        struct party holder = {0}, newcomer = {0};
        (void)state;
        take(&holder, 0, ID_A, LONG_MS);
        take(&newcomer, loop, ID_A, LONG_MS);
        assert_false(newcomer.held);
        assert_int_equal(holder.wanted, 0); /* never from within lock_take() */
        turn();
        assert_int_equal(holder.wanted, 1);
        assert_int_equal(newcomer.granted, 0);
        lock_drop(&holder.lock);
        turn();
        assert_int_equal(newcomer.granted, 1);
        assert_int_equal(newcomer.wanted, 0);
        lock_drop(&newcomer.lock);
    }
}

static void test_newcomers_get_it_in_their_order(void **state)
{
    struct party parties[4] = {{0}};
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        take(&parties[i], i % 2, ID_A, LONG_MS);
    turn();
    assert_int_equal(parties[0].wanted, 1); /* once, whoever else comes */
    for (unsigned i = 0; i < 3; i++) {
        lock_drop(&parties[i].lock);
        turn();
        for (unsigned j = 1; j < 4; j++)
            assert_int_equal(parties[j].granted, j <= i + 1);
        assert_int_equal(parties[i + 1].wanted, i + 1 < 3); /* others wait behind it */
    }
    lock_drop(&parties[3].lock);
}

static void test_who_waits_too_long_gives_up(void **state)
{
    struct party holder = {0}, hasty = {0}, patient = {0};
    (void)state;
    take(&holder, 0, ID_A, LONG_MS);
    take(&hasty, 1, ID_A, 1);
    take(&patient, 1, ID_A, LONG_MS);
    for (int i = 0; i < 100 && hasty.timed_out == 0; i++)
        loop_turn(loops[1], 5);
    assert_int_equal(hasty.timed_out, 1);
    lock_drop(&holder.lock);
    turn();
    assert_int_equal(hasty.granted, 0);
    assert_int_equal(patient.granted, 1);
    lock_drop(&patient.lock);
}

static void test_a_client_that_leaves_waits_no_more(void **state)
{
    struct party holder = {0}, gone = {0}, next = {0};
    (void)state;
    take(&holder, 0, ID_A, LONG_MS);
    take(&gone, 1, ID_A, LONG_MS);
    take(&next, 0, ID_A, LONG_MS);
    lock_drop(&gone.lock);
    lock_drop(&holder.lock);
    turn();
    assert_int_equal(gone.granted, 0);
    assert_int_equal(next.granted, 1);
    lock_drop(&next.lock);
}

static void test_one_that_leaves_while_it_is_told(void **state)
{
    struct party holder = {0}, gone = {0}, next = {0};
    (void)state;
    take(&holder, 0, ID_A, LONG_MS);
    take(&gone, 1, ID_A, LONG_MS);
    take(&next, 1, ID_A, LONG_MS);
    lock_drop(&holder.lock); /* the lock is handed on: its message is under way */
    lock_drop(&gone.lock);
    turn();
    assert_int_equal(gone.granted + gone.wanted, 0);
    assert_int_equal(next.granted, 1);
    assert_int_equal(next.wanted, 0);
    lock_drop(&next.lock);
}

static void test_one_that_is_done_as_soon_as_it_holds(void **state)
{
    struct party holder = {0}, quick = {.drop_when_granted = true}, next = {0};
    (void)state;
    take(&holder, 0, ID_A, LONG_MS);
    take(&quick, 0, ID_A, LONG_MS);
    take(&next, 0, ID_A, LONG_MS);
    lock_drop(&holder.lock); /* granted and wanted are told by one message */
    turn();
    assert_int_equal(quick.granted, 1);
    assert_int_equal(quick.wanted, 0);
    assert_int_equal(next.granted, 1);
    lock_drop(&next.lock);
}

/* At the end nobody turns the loops any more, while one that lets go still posts to the next. */
static void test_messages_that_never_arrive(void **state)
{
    struct party holder = {0}, here = {0}, there = {0};
    (void)state;
    take(&holder, 0, ID_A, LONG_MS);
    take(&here, 0, ID_A, LONG_MS);
    take(&there, 1, ID_A, LONG_MS);
    lock_drop(&holder.lock);
    lock_drop(&here.lock);
    lock_drop(&there.lock);
    assert_false(lock_held(ID_A));
    loop_destroy(&loops[0]);
    loop_destroy(&loops[1]);
    lock_free_undelivered();
    assert_int_equal(holder.wanted + here.granted + here.wanted + there.granted, 0);
    set_up(state); /* for the tear-down, and nothing is left to free twice */
    lock_free_undelivered();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_free_lock_is_held_at_once),
        TEST(test_a_newcomer_makes_the_holder_let_go),
        TEST(test_newcomers_get_it_in_their_order),
        TEST(test_who_waits_too_long_gives_up),
        TEST(test_a_client_that_leaves_waits_no_more),
        TEST(test_one_that_leaves_while_it_is_told),
        TEST(test_one_that_is_done_as_soon_as_it_holds),
        TEST(test_messages_that_never_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
