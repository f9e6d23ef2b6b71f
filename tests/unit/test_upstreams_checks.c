/* Health checks: each address is asked by one loop, whatever the calls do, and used accordingly. */
#include "tests/unit/upstreams_resolver.h"
#include "tests/unit/upstreams_fixture.h"

enum { ORIGINS = 2 };
static struct origin origins[ORIGINS];
static char texts[ORIGINS][64]; /* their addresses */
static struct str listed[ORIGINS];

static int start(void **state)
{
    (void)state;
    for (size_t i = 0; i < ORIGINS; i++) {
        origin_start(&origins[i], NULL);
        snprintf(texts[i], sizeof(texts[i]), "127.0.0.1:%d", origins[i].port);
        listed[i] = str_from(texts[i]);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (size_t i = 0; i < ORIGINS; i++)
        origin_stop(&origins[i]);
    assert_int_equal(atomic_load(&elsewhere), 0);
    return 0;
}

static void begin(struct fixture *f, size_t count, uint64_t interval_ms)
{
    fixture_init(f);
    set_url(f, 0, "http://promo.example");
    f->configured[0].addresses = (struct config_strings){listed, count};
    f->configured[0].health = (struct config_health){.path = STR("/health"),
                                                     .interval_ms = interval_ms,
                                                     .timeout_ms = interval_ms,
                                                     .healthy = 2,
                                                     .unhealthy = 3};
    for (size_t i = 0; i < ORIGINS; i++) {
        atomic_store(&origins[i].health, 204);
        atomic_store(&origins[i].asked, 0);
    }
}

static enum health health_of(struct fixture *f, size_t which)
{
    struct endpoints *set = endpoints_now(upstream_find(f->ups, STR("a")));
    enum health health = atomic_load(&set->all[which].endpoint->health.checked);
    endpoints_unref(&set);
    return health;
}

static void wait_for_health(struct fixture *f, size_t which, enum health wanted)
{
    for (int i = 0; i < 1000 && health_of(f, which) != wanted; i++)
        turn_for(f, 2);
    assert_int_equal(health_of(f, which), wanted);
}

/* To which address each of so many picks goes; and a call gets an answer. */
static void share_out(struct fixture *f, unsigned picks, unsigned shares_r[ORIGINS])
{
    struct ask ask = {0};
    assert_int_equal(ask_for(f, &ask, 0, "/hello").status, 200);
    ask_release(&ask);
    memset(shares_r, 0, ORIGINS * sizeof(shares_r[0]));
    for (unsigned n = 0; n < picks; n++) {
        struct tried tried = {.count = 0};
        struct endpoint *next = endpoint_pick(&f->client->lanes[0], &tried);
        for (size_t i = 0; i < ORIGINS; i++)
            shares_r[i] += strcmp(next->address, texts[i]) == 0;
        endpoint_done(&f->client->lanes[0], &next, REPORT_NOTHING);
    }
}

static void test_the_first_check_comes_at_once(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 2, 60 * 1000);
    f.configured[0].health.timeout_ms = 1000;
    atomic_store(&origins[1].health, 503);
    fixture_start(&f, 1);
    assert_int_equal(health_of(&f, 0), HEALTH_UNKNOWN);
    wait_for_health(&f, 0, HEALTH_HEALTHY);
    wait_for_health(&f, 1, HEALTH_UNHEALTHY);
    turn_for(&f, 50);
    for (size_t i = 0; i < ORIGINS; i++)
        assert_int_equal(atomic_load(&origins[i].asked), 1);
    fixture_stop(&f);
}

static void test_a_check_is_a_get_with_the_upstreams_headers(void **state)
{
    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t length = sizeof(address);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 5), 0);
    getsockname(listener, (struct sockaddr *)&address, &length);
    struct fixture f;
    struct config_pair set[] = {{STR("Authorization"), STR("Bearer 1")}};
    char text[64], head[2048];
    struct str one[] = {
        {text, (size_t)snprintf(text, sizeof(text), "127.0.0.1:%d", ntohs(address.sin_port))}};
    begin(&f, 1, 2000);
    set_url(&f, 0, "http://promo.example/v1");
    f.configured[0].addresses.items = one;
    f.configured[0].set_headers.items = set;
    f.configured[0].set_headers.count = 1;
    fixture_start(&f, 1);
    turn_for(&f, 30);
    int fd = accept(listener, NULL, NULL);
    ssize_t n = recv(fd, head, sizeof(head) - 1, 0);
    assert_true(n > 0);
    head[n] = '\0';
    assert_string_equal(head, "GET /v1/health HTTP/1.1\r\n"
                              "Authorization: Bearer 1\r\n"
                              "Host: promo.example\r\n"
                              "Accept: application/json\r\n"
                              "Accept-Encoding: gzip, deflate\r\n"
                              "User-Agent: gateway HTTP/1.1\r\n\r\n");
    say(fd, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
    wait_for_health(&f, 0, HEALTH_HEALTHY);
    close(fd);
    fixture_stop(&f);
    close(listener);
}

static void test_addresses_go_and_come_back_as_checks_say(void **state)
{
    (void)state;
    struct fixture f;
    unsigned shares[ORIGINS];
    begin(&f, 2, 30);
    fixture_start(&f, 1);
    wait_for_health(&f, 0, HEALTH_HEALTHY);
    wait_for_health(&f, 1, HEALTH_HEALTHY);
    share_out(&f, 10, shares);
    assert_int_not_equal(shares[1], 0);

    unsigned asked = atomic_load(&origins[1].asked);
    atomic_store(&origins[1].health, 500);
    wait_for_health(&f, 1, HEALTH_UNHEALTHY);
    assert_true(atomic_load(&origins[1].asked) >= asked + 3); /* not for the first bad one */
    share_out(&f, 10, shares);
    assert_int_equal(shares[1], 0);

    atomic_store(&origins[1].health, 0); /* now it doesn't even answer */
    turn_for(&f, 100);
    assert_int_equal(health_of(&f, 1), HEALTH_UNHEALTHY);
    asked = atomic_load(&origins[1].asked);
    atomic_store(&origins[1].health, 399);
    wait_for_health(&f, 1, HEALTH_HEALTHY);
    assert_true(atomic_load(&origins[1].asked) >= asked + 2);
    share_out(&f, 10, shares);
    assert_int_not_equal(shares[1], 0);
    fixture_stop(&f);
}

static void test_when_none_is_well_all_are_used(void **state)
{
    (void)state;
    struct fixture f;
    unsigned shares[ORIGINS];
    begin(&f, 2, 20);
    atomic_store(&origins[0].health, 500);
    atomic_store(&origins[1].health, 500);
    fixture_start(&f, 1);
    for (size_t i = 0; i < ORIGINS; i++)
        wait_for_health(&f, i, HEALTH_UNHEALTHY);
    share_out(&f, 10, shares);
    for (size_t i = 0; i < ORIGINS; i++)
        assert_int_equal(shares[i], 5);
    fixture_stop(&f);
}

static void test_an_only_address_is_checked_and_used(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    begin(&f, 0, 20);
    set_url(&f, 0, "http://127.0.0.1:%d", origins[0].port);
    atomic_store(&origins[0].health, 404);
    fixture_start(&f, 1);
    wait_for_health(&f, 0, HEALTH_UNHEALTHY);
    assert_int_equal(ask_for(&f, &ask, 0, "/hello").status, 200);
    ask_release(&ask);
    atomic_store(&origins[0].health, 200);
    wait_for_health(&f, 0, HEALTH_HEALTHY);
    fixture_stop(&f);
}

static void test_who_refuses_or_is_silent_is_unhealthy(void **state)
{
    (void)state;
    struct fixture f;
    struct str dead[] = {STR("127.0.0.1:1"), listed[1]};
    begin(&f, 2, 50);
    f.configured[0].addresses.items = dead;
    atomic_store(&origins[1].health, 0);
    fixture_start(&f, 1);
    for (size_t i = 0; i < ORIGINS; i++)
        wait_for_health(&f, i, HEALTH_UNHEALTHY);
    fixture_stop(&f); /* with a check under way, most likely */
}

/* Slots are all taken by calls that wait, and checks go on. */
static void test_checks_take_no_slot_and_count_in_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct ask late = {0};
    uint32_t sums[COUNTED];
    begin(&f, 1, 20);
    f.configured[0].max_inflight = 1;
    fixture_start(&f, 1);
    ask_start(&f, &late, 0, "/late");
    unsigned asked = atomic_load(&origins[0].asked);
    for (int i = 0; i < 1000 && atomic_load(&origins[0].asked) < asked + 10; i++)
        turn_for(&f, 2);
    assert_true(atomic_load(&origins[0].asked) >= asked + 10);
    assert_false(late.done);
    struct upstream *up = upstream_find(f.ups, STR("a"));
    assert_int_equal(upstream_stats(up).inflight, 1);
    window_sum(&up->window, 0, clock_us(), sums);
    assert_int_equal(sums[COUNT_CALLS], 1);
    assert_int_equal(sums[COUNT_ANSWERS], 0);
    up_call_cancel(&late.call);
    fixture_stop(&f);
}

static void test_one_client_checks_and_another_takes_over(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1, 40);
    fixture_start(&f, 1);
    struct up_client *second = up_client_create(f.ups, f.loop, f.names);
    assert_non_null(f.client->checks);
    assert_null(second->checks);
    uint64_t from_us = clock_us();
    turn_for(&f, 400);
    unsigned asked = atomic_load(&origins[0].asked);
    uint64_t most = (clock_us() - from_us) / 1000 / 36 + 2; /* 40 ms, a tenth less */
    assert_in_range(asked, 3, most);
    up_client_destroy(&second);
    up_client_destroy(&f.client);
    f.client = up_client_create(f.ups, f.loop, f.names);
    assert_non_null(f.client->checks);
    fixture_stop(&f);
}

static void test_a_name_is_waited_for_and_followed(void **state)
{
    (void)state;
    struct fixture f;
    char named[64];
    struct origin other;
    origin_start_at(&other, "127.0.0.2", origins[0].port);
    atomic_store(&other.health, 200);
    snprintf(named, sizeof(named), "promo.test:%d", origins[0].port);
    struct str names[] = {str_from(named)};
    begin(&f, 1, 20);
    f.configured[0].addresses.items = names;
    f.configured[0].resolve_every_ms = 30;
    atomic_store(&addresses, NULL);
    fixture_start(&f, 1);
    turn_for(&f, 30);
    atomic_store(&addresses, "127.0.0.1");
    struct upstream *up = upstream_find(f.ups, STR("a"));
    for (int i = 0; i < 1000 && atomic_load(&up->directory.version) == 0; i++)
        turn_for(&f, 2);
    wait_for_health(&f, 0, HEALTH_HEALTHY);

    atomic_store(&addresses, "127.0.0.1 127.0.0.2");
    for (int i = 0; i < 1000 && atomic_load(&other.asked) == 0; i++)
        turn_for(&f, 2);
    wait_for_health(&f, 1, HEALTH_HEALTHY);
    atomic_store(&addresses, "127.0.0.2");
    uint32_t version = atomic_load(&up->directory.version);
    for (int i = 0; i < 1000 && atomic_load(&up->directory.version) == version; i++)
        turn_for(&f, 2);
    turn_for(&f, 50); /* its end is seen when the upstream is looked at next */
    unsigned asked = atomic_load(&origins[0].asked);
    turn_for(&f, 100);
    assert_int_equal(atomic_load(&origins[0].asked), asked);
    fixture_stop(&f);
    origin_stop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_check_comes_at_once),
        cmocka_unit_test(test_a_check_is_a_get_with_the_upstreams_headers),
        cmocka_unit_test(test_addresses_go_and_come_back_as_checks_say),
        cmocka_unit_test(test_when_none_is_well_all_are_used),
        cmocka_unit_test(test_an_only_address_is_checked_and_used),
        cmocka_unit_test(test_who_refuses_or_is_silent_is_unhealthy),
        cmocka_unit_test(test_checks_take_no_slot_and_count_in_nothing),
        cmocka_unit_test(test_one_client_checks_and_another_takes_over),
        cmocka_unit_test(test_a_name_is_waited_for_and_followed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
