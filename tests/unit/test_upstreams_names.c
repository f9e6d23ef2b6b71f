/* Host names: looked up on offload threads only, once for all, kept fresh behind the calls' backs,
 * and a resolver that hangs delays nobody who doesn't need it. */
#include "tests/unit/upstreams_resolver.h"
#include "tests/unit/upstreams_fixture.h"

static struct origin origin;
static int start(void **state)
{
    (void)state;
    origin_start(&origin, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    origin_stop(&origin);
    assert_int_equal(atomic_load(&elsewhere), 0);
    return 0;
}

static void begin(struct fixture *f, const char *promo_addresses)
{
    fixture_init(f);
    set_url(f, 0, "http://promo.test:%d", origin.port);
    set_url(f, 1, "http://slow.test:%d", origin.port);
    set_url(f, 2, "http://unknown.test:%d", origin.port);
    set_url(f, 3, "http://127.0.0.1:%d", origin.port);
    atomic_store(&addresses, promo_addresses);
    atomic_store(&lookups, 0);
}

static void wait_for_lookups(struct fixture *f, unsigned n)
{
    for (int i = 0; i < 400 && atomic_load(&lookups) < n; i++)
        turn_for(f, 5);
    turn_for(f, 20);
    assert_int_equal(atomic_load(&lookups), n);
}

static void test_a_name_is_looked_up_once_for_all_that_wait(void **state)
{
    (void)state;
    enum { CALLS = 50 };
    struct fixture f;
    static struct ask asks[CALLS];
    begin(&f, "127.0.0.1");
    set_url(&f, 1, "http://promo.test:%d/other", origin.port); /* the same name, another upstream */
    fixture_start(&f, 2);
    for (size_t i = 0; i < CALLS; i++)
        ask_start(&f, &asks[i], i % 2, "/count");
    for (size_t i = 0; i < CALLS; i++) {
        ask_wait(&f, &asks[i]);
        assert_int_equal(asks[i].result.end, UP_ANSWERED);
        ask_release(&asks[i]);
    }
    assert_int_equal(atomic_load(&lookups), 1);
    fixture_stop(&f);
}

static void test_waiting_for_a_name_is_timed(void **state)
{
    (void)state;
    int pipes[2];
    struct fixture f;
    struct ask ask = {0};
    assert_int_equal(pipe(pipes), 0);
    atomic_store(&slow_fd, pipes[0]);
    begin(&f, "127.0.0.1");
    fixture_start(&f, 2);
    ask_with(&f, &ask, 1, "/hello", NULL, 0, 50);
    ask_wait(&f, &ask);
    assert_int_equal(ask.result.end, UP_TIMEOUT);
    assert_string_equal(ask.result.error, "dns_timeout");
    assert_in_range(ask.result.times.total, 49 * 1000, 2000 * 1000);
    ask_release(&ask);

    ask_start(&f, &ask, 1, "/hello"); /* has the time to see the look-up end */
    turn_for(&f, 30);
    assert_false(ask.done);
    close(pipes[1]);
    ask_wait(&f, &ask);
    assert_int_equal(ask.result.end, UP_ANSWERED);
    assert_in_range(ask.result.times.dns, 29 * 1000, ask.result.times.connect);
    ask_release(&ask);
    fixture_stop(&f);
    close(pipes[0]);
}

static void test_a_resolver_that_hangs_delays_nobody_else(void **state)
{
    (void)state;
    int pipes[2];
    struct fixture f;
    struct ask slow[20] = {0};
    assert_int_equal(pipe(pipes), 0);
    atomic_store(&slow_fd, pipes[0]);
    begin(&f, "127.0.0.1");
    fixture_start(&f, 4);
    for (size_t i = 0; i < COUNT(slow); i++)
        ask_with(&f, &slow[i], 1, "/hello", NULL, 0, 300);
    uint64_t longest_us = 0, until_us = clock_us() + 200 * 1000;
    while (clock_us() < until_us) {
        struct ask named = {0}, direct = {0};
        uint64_t from_us = clock_us();
        ask_start(&f, &named, 0, "/hello");
        ask_start(&f, &direct, 3, "/hello");
        ask_wait(&f, &named);
        ask_wait(&f, &direct);
        assert_int_equal(named.result.end, UP_ANSWERED);
        assert_int_equal(direct.result.end, UP_ANSWERED);
        ask_release(&named);
        ask_release(&direct);
        uint64_t took_us = clock_us() - from_us;
        longest_us = took_us > longest_us ? took_us : longest_us;
    }
    assert_in_range(longest_us, 0, 150 * 1000);
    for (size_t i = 0; i < COUNT(slow) / 2; i++)
        up_call_cancel(&slow[i].call); /* while they wait for the name */
    for (size_t i = COUNT(slow) / 2; i < COUNT(slow); i++) {
        ask_wait(&f, &slow[i]);
        assert_string_equal(slow[i].result.error, "dns_timeout");
        ask_release(&slow[i]);
    }
    close(pipes[1]);
    fixture_stop(&f);
    close(pipes[0]);
}

static void test_an_unknown_name_is_remembered_for_a_while(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "127.0.0.1");
    fixture_start(&f, 3);
    wait_for_lookups(&f, 3); /* each name once, when the client begins */
    for (int i = 0; i < 20; i++) {
        struct ask ask = {0};
        struct up_result result = ask_for(&f, &ask, 2, "/hello");
        assert_int_equal(result.end, UP_FAILED);
        assert_string_equal(result.error, "dns_error");
        assert_string_equal(result.detail, gai_strerror(EAI_NONAME));
        ask_release(&ask);
    }
    assert_int_equal(atomic_load(&lookups), 3);
    turn_for(&f, 1100);
    struct ask ask = {0};
    assert_string_equal(ask_for(&f, &ask, 2, "/hello").error, "dns_error");
    ask_release(&ask);
    assert_int_equal(atomic_load(&lookups), 4);
    fixture_stop(&f);
}

/* max_idle is 0, so each call connects and shows which addresses are in use. */
static void test_addresses_are_refreshed_behind_the_calls(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f, "127.0.0.1");
    f.configured[0].resolve_every_ms = 100;
    f.configured[0].max_idle = 0;
    fixture_start(&f, 1);
    assert_int_equal(ask_for(&f, &ask, 0, "/hello").end, UP_ANSWERED);
    ask_release(&ask);
    wait_for_lookups(&f, 1);

    atomic_store(&addresses, "127.0.0.2"); /* where nobody listens on that port */
    turn_for(&f, 110);
    assert_int_equal(ask_for(&f, &ask, 0, "/hello").end, UP_ANSWERED); /* old: it doesn't wait */
    ask_release(&ask);
    wait_for_lookups(&f, 2);
    assert_string_equal(ask_for(&f, &ask, 0, "/hello").error, "connection_refused");
    ask_release(&ask);

    atomic_store(&addresses, "127.0.0.1");
    turn_for(&f, 110);
    ask_for(&f, &ask, 0, "/hello");
    ask_release(&ask);
    wait_for_lookups(&f, 3);
    assert_int_equal(ask_for(&f, &ask, 0, "/hello").end, UP_ANSWERED);
    ask_release(&ask);
    fixture_stop(&f);
}

static void test_a_refresh_that_fails_keeps_the_old_addresses(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "127.0.0.1");
    f.configured[0].resolve_every_ms = 50;
    f.configured[0].max_idle = 0;
    fixture_start(&f, 1);
    wait_for_lookups(&f, 1);
    atomic_store(&addresses, NULL);
    unsigned before = atomic_load(&lookups);
    for (int i = 0; i < 30; i++) {
        struct ask ask = {0};
        assert_int_equal(ask_for(&f, &ask, 0, "/hello").end, UP_ANSWERED);
        ask_release(&ask);
        turn_for(&f, 10);
    }
    assert_in_range(atomic_load(&lookups), before + 2, before + 8);
    fixture_stop(&f);
}

static void test_all_addresses_of_a_name_are_tried(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "127.0.0.1 127.0.0.2", /* refused first */
        "127.0.0.1 127.0.0.2 127.0.0.3 ::1",
        "::1 127.0.0.1",
    };
    struct str on[] = {STR("connect")};
    for (size_t i = 0; i < COUNT(sets); i++) {
        struct fixture f;
        begin(&f, sets[i]);
        f.configured[0].retry = (struct config_retry){
            .attempts = 4, .on = {on, COUNT(on)}, .budget = 100, .budget_floor = 100};
        f.configured[0].max_idle = 0;
        fixture_start(&f, 1);
        for (int n = 0; n < 3; n++) {
            struct ask ask = {0};
            struct up_result result = ask_for(&f, &ask, 0, "/hello");
            if (result.end != UP_ANSWERED)
                fail_msg("%s: %s (%s)", sets[i], result.error, result.detail);
            ask_release(&ask);
        }
        fixture_stop(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_is_looked_up_once_for_all_that_wait),
        cmocka_unit_test(test_waiting_for_a_name_is_timed),
        cmocka_unit_test(test_a_resolver_that_hangs_delays_nobody_else),
        cmocka_unit_test(test_an_unknown_name_is_remembered_for_a_while),
        cmocka_unit_test(test_addresses_are_refreshed_behind_the_calls),
        cmocka_unit_test(test_a_refresh_that_fails_keeps_the_old_addresses),
        cmocka_unit_test(test_all_addresses_of_a_name_are_tried),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
