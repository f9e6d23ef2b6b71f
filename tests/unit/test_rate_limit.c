/* Rate limits: what a client may do and when again, on a clock of the test's own; and the replies
 * that tell it. */
#include "tests/unit/http_live.h"

#include <pthread.h>
#include "http/rate_limit.h"

enum { SECOND = 1000000 };

static void test_rates_and_what_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t quota, window_s; /* 0: no rate */
    } rows[] = {
        {"5/s", 5, 1},
        {"30/m", 30, 60},
        {"100/h", 100, 3600},
        {"1000/d", 1000, 86400},
        {"1/s", 1, 1},
        {"007/m", 7, 60},
        {"1000000/s", 1000000, 1},
        {"1000001/s", 0, 0},
        {"0/s", 0, 0},
        {"", 0, 0},
        {"/s", 0, 0},
        {"5", 0, 0},
        {"5/", 0, 0},
        {"5/w", 0, 0},
        {"5/S", 0, 0},
        {"5/s ", 0, 0},
        {" 5/s", 0, 0},
        {"5/ms", 0, 0},
        {"-5/s", 0, 0},
        {"+5/s", 0, 0},
        {"5.5/s", 0, 0},
        {"5/2m", 0, 0},
        {"5 /s", 0, 0},
        {"99999999999999999999/d", 0, 0},
        {"4294967297/s", 0, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint32_t quota = 0, window_s = 0;
        bool is_rate = rate_parse(str_from(rows[i].text), &quota, &window_s);
        if (is_rate != (rows[i].quota != 0) || quota != rows[i].quota ||
            window_s != rows[i].window_s)
            fail_msg("\"%s\": %u in %u s", rows[i].text, quota, window_s);
    }
}

static void test_nonsense_is_an_error_with_its_place(void **state)
{
    (void)state;
    struct diag *diag = diag_create();
    struct pos at = {"gateway.toml", 7, 14};
    assert_null(http_rate_create(STR(""), at, diag));
    assert_int_equal(diag_errors(diag), 0);
    assert_null(http_rate_create(STR("30/minute"), at, diag));
    char *messages;
    size_t size;
    FILE *to = open_memstream(&messages, &size);
    diag_print(diag, to);
    fclose(to);
    assert_string_equal(messages, "gateway.toml:7:14: error: \"30/minute\" is no rate; expected a "
                                  "number from 1 to 1000000 and /s, /m, /h or /d, like \"30/m\"\n");
    free(messages);
    diag_destroy(&diag);
}

static void test_clients_are_addresses_or_networks_of_64_bits(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
        {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
        {"2001:db8:0:1::1", "2001:db8::1", false},
        {"0.0.0.0", "::", false},
        {"0.0.0.1", "::1", false},
        {"unix", "", true},
        {"unix", "192.0.2.1", false},
        {"unix", "::1", false},
        {"unknown", "_hidden", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if ((rate_client(str_from(rows[i].a)) == rate_client(str_from(rows[i].b))) != rows[i].same)
            fail_msg("%s, %s", rows[i].a, rows[i].b);
}

/* The key and the ninth vector of the authors' reference. */
static void test_the_hash_is_siphash(void **state)
{
    (void)state;
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    assert_true(rate_hash(key, 0x0706050403020100) == 0x93f5f5799a932462);
}

static void expect(struct http_rate *rate, uint64_t client, uint64_t now_us, bool allowed,
                   uint32_t remaining, uint64_t wait_us)
{
    struct rate_verdict verdict = rate_count(rate, client, now_us);
    if (verdict.allowed != allowed || verdict.remaining != remaining || verdict.wait_us != wait_us)
        fail_msg("at %llu: %s, %u left, one more in %llu us", (unsigned long long)now_us,
                 verdict.allowed ? "allowed" : "refused", verdict.remaining,
                 (unsigned long long)verdict.wait_us);
}

static void test_a_client_may_burst_and_gets_its_quota_back_evenly(void **state)
{
    (void)state;
    struct http_rate *rate = rate_create(30, 60, 30, 64);
    uint64_t t = 1000 * (uint64_t)SECOND;
    for (uint32_t i = 0; i < 30; i++)
        expect(rate, 1, t, true, 29 - i, 2 * SECOND);
    expect(rate, 1, t, false, 0, 2 * SECOND);
    expect(rate, 1, t, false, 0, 2 * SECOND); /* a refusal costs nothing */
    expect(rate, 2, t, true, 29, 2 * SECOND); /* and nobody else */
    expect(rate, 1, t + 2 * SECOND - 1, false, 0, 1);
    expect(rate, 1, t + 2 * SECOND, true, 0, 2 * SECOND);
    expect(rate, 1, t + 2 * SECOND, false, 0, 2 * SECOND);
    expect(rate, 1, t + 9 * SECOND, true, 2, 1 * SECOND); /* 3.5 came back */
    expect(rate, 1, t + 69 * SECOND, true, 29, 2 * SECOND);
    expect(rate, 1, t + 100000 * (uint64_t)SECOND, true, 29, 2 * SECOND); /* and never more */
    http_rate_destroy(&rate);
    assert_null(rate);
}

static void test_a_burst_may_be_smaller_or_larger_than_the_quota(void **state)
{
    (void)state;
    uint64_t t = 1000 * (uint64_t)SECOND;
    struct http_rate *small = rate_create(10, 1, 2, 64), *large = rate_create(1, 1, 3, 64);
    expect(small, 1, t, true, 1, SECOND / 10);
    expect(small, 1, t, true, 0, SECOND / 10);
    expect(small, 1, t, false, 0, SECOND / 10);
    expect(small, 1, t + SECOND / 10, true, 0, SECOND / 10);
    expect(small, 1, t + 10 * SECOND, true, 1, SECOND / 10);
    for (uint32_t i = 0; i < 3; i++)
        expect(large, 1, t, true, 2 - i, SECOND);
    expect(large, 1, t, false, 0, SECOND);
    expect(large, 1, t + SECOND, true, 0, SECOND);
    expect(large, 1, t + SECOND, false, 0, SECOND);
    http_rate_destroy(&small);
    http_rate_destroy(&large);
}

static void test_over_time_the_rate_is_the_rate(void **state)
{
    (void)state;
    static const struct {
        uint32_t quota, window_s, windows;
    } rows[] = {{5, 1, 1000}, {7, 1, 1000}, {30, 60, 50}, {1, 1, 500}, {1000, 86400, 3}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_rate *rate = rate_create(rows[i].quota, rows[i].window_s, rows[i].quota, 64);
        uint64_t tick = (uint64_t)rows[i].window_s * SECOND / (rows[i].quota * 3 + 1), allowed = 0;
        uint64_t end = (uint64_t)rows[i].window_s * SECOND * rows[i].windows;
        for (uint64_t t = SECOND; t < SECOND + end; t += tick)
            allowed += rate_count(rate, 9, t).allowed;
        uint64_t wanted =
            (uint64_t)rows[i].quota * (rows[i].windows + 1); /* a burst, the refills */
        if (allowed > wanted || allowed + 1 + wanted / 100 < wanted)
            fail_msg("%u in %u s: %llu, not %llu", rows[i].quota, rows[i].window_s,
                     (unsigned long long)allowed, (unsigned long long)wanted);
        http_rate_destroy(&rate);
    }
}

/* Loops look at the clock one after the other: a time may be older than what another has written.
 */
static void test_a_clock_a_little_behind_changes_nothing(void **state)
{
    (void)state;
    struct http_rate *rate = rate_create(2, 1, 2, 64);
    uint64_t t = 1000 * (uint64_t)SECOND, late = (uint64_t)1 << 62;
    expect(rate, 1, t, true, 1, SECOND / 2);
    expect(rate, 1, t - 10, true, 0, SECOND / 2);
    expect(rate, 1, t - 10, false, 0, SECOND / 2);
    expect(rate, 1, late, true, 1, SECOND / 2); /* after 146 millennia */
    http_rate_destroy(&rate);
}

static void test_a_full_table_forgets_who_it_forgives_least(void **state)
{
    (void)state;
    struct http_rate *rate = rate_create(10, 10, 10, 8); /* one set */
    uint64_t t = 1000 * (uint64_t)SECOND;
    for (uint64_t client = 1; client <= 8; client++)
        for (uint64_t i = 0; i < (client == 3 ? 1 : 5); i++)
            assert_true(rate_count(rate, client, t).allowed);
    expect(rate, 100, t, true, 9, SECOND); /* takes the place of 3, which had used least */
    for (uint64_t client = 1; client <= 8; client++)
        if (client != 3)
            expect(rate, client, t, true, 4, SECOND);
    expect(rate, 3, t, true, 9, SECOND); /* in the place of 100 */
    expect(rate, 100, t, true, 9, SECOND);
    /* whoever was idle long enough goes first */
    expect(rate, 5, t + 8 * SECOND, true, 9, SECOND);
    for (uint64_t client = 200; client < 207; client++)
        expect(rate, client, t + 8 * SECOND, true, 9, SECOND);
    expect(rate, 5, t + 8 * SECOND, true, 8, SECOND);
    http_rate_destroy(&rate);
}

static void test_a_crowd_pushes_out_few_of_those_who_come_often(void **state)
{
    (void)state;
    enum { REGULARS = 1000, STRANGERS = 20000 };
    struct http_rate *rate = rate_create(10, 10, 10, RATE_CLIENTS);
    uint64_t t = 1000 * (uint64_t)SECOND;
    unsigned forgotten = 0;
    for (uint64_t client = 0; client < REGULARS; client++)
        for (int i = 0; i < 10; i++)
            assert_true(rate_count(rate, client, t).allowed);
    for (uint64_t stranger = 0; stranger < STRANGERS; stranger++)
        rate_count(rate, (stranger + 1) << 32, t);
    for (uint64_t client = 0; client < REGULARS; client++)
        forgotten += rate_count(rate, client, t).allowed;
    assert_in_range(forgotten, 0, REGULARS / 100);
    http_rate_destroy(&rate);
}

struct crowd {
    struct http_rate *rate;
    _Atomic unsigned allowed[16];
};

static void *rush(void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned i = 0; i < 20000; i++) {
        unsigned client = i * 7 % 16;
        if (rate_count(crowd->rate, client, 1000 * (uint64_t)SECOND).allowed)
            atomic_fetch_add(&crowd->allowed[client], 1);
    }
    return NULL;
}

static void test_many_threads_get_the_quota_and_not_one_more(void **state)
{
    (void)state;
    enum { THREADS = 8 };
    static struct crowd crowd;
    pthread_t threads[THREADS];
    crowd.rate = rate_create(1000, 60, 1000, 1024);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, rush, &crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < COUNT(crowd.allowed); i++)
        assert_int_equal(atomic_load(&crowd.allowed[i]), 1000);
    http_rate_destroy(&crowd.rate);
}

/* -- replies ----------------------------------------------------------------------------------- */

static void serve(struct http_request *request, void *arg)
{
    struct out out;
    if (!http_rate_allow(arg, request))
        return;
    out_init(&out, request->pool, 0);
    out_str(&out, STR("served"));
    http_reply(request, 200, "text/plain; charset=utf-8", &out);
}

static void test_replies_tell_the_quota_and_when_to_come_again(void **state)
{
    (void)state;
    struct live live = {0};
    struct config config = {0};
    struct str trusted = STR("127.0.0.0/8");
    struct pos at = {0};
    config.server.trusted_proxies = (struct config_strings){&trusted, 1};
    live_create(&live, &config, NULL);
    struct http_rate *rate = http_rate_create(STR("2/h"), at, live.diag);
    http_route_add(live.server, "limited", HTTP_GET, STR("/"), serve, rate, at, live.diag);
    http_route_add(live.server, "free", HTTP_GET, STR("/free"), serve, NULL, at, live.diag);
    live_listen(&live);

    const char *answer = live_ask(&live, "GET /", "");
    assert_has(answer, "HTTP/1.1 200 ");
    assert_has(answer, "\r\nratelimit-policy: \"default\";q=2;w=3600\r\n");
    assert_has(answer, "\r\nratelimit: \"default\";r=1;t=1800\r\n");
    assert_has(live_ask(&live, "GET /", ""), "\r\nratelimit: \"default\";r=0;t=1800\r\n");

    answer = live_ask(&live, "GET /", "Accept: application/json\r\n");
    assert_has(answer, "HTTP/1.1 429 Too Many Requests\r\n");
    assert_has(answer, "\r\ncontent-type: application/problem+json\r\n");
    assert_has(answer, "\r\nretry-after: 1800\r\n");
    assert_has(answer, "\r\nratelimit-policy: \"default\";q=2;w=3600\r\n");
    assert_has(answer, "\r\nratelimit: \"default\";r=0;t=1800\r\n");
    assert_has(answer, "\r\ncache-control: no-store\r\n");
    assert_has(answer, "/problems/too-many-requests\"");
    assert_has(answer, "\"detail\":\"2 an hour are possible; the next one in 1800 seconds\"");
    assert_has(live_ask(&live, "GET /", "Accept: text/html\r\n"), "<h1>Too many requests</h1>");

    /* whom a trusted proxy speaks for, and only that */
    assert_has(live_ask(&live, "GET /", "X-Forwarded-For: 192.0.2.1\r\n"), "r=1;t=1800\r\n");
    assert_has(live_ask(&live, "GET /", "X-Forwarded-For: 192.0.2.9, 2001:db8::1\r\n"), "r=1;");
    assert_has(live_ask(&live, "GET /", "X-Forwarded-For: 2001:db8::2\r\n"), "r=0;");
    assert_has(live_ask(&live, "GET /", "X-Forwarded-For: 2001:db8::3\r\n"), "HTTP/1.1 429 ");
    answer = live_ask(&live, "GET /free", "");
    assert_has(answer, "HTTP/1.1 200 ");
    assert_lacks(answer, "ratelimit");

    live_destroy(&live);
    http_rate_destroy(&rate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates_and_what_is_none),
        cmocka_unit_test(test_nonsense_is_an_error_with_its_place),
        cmocka_unit_test(test_clients_are_addresses_or_networks_of_64_bits),
        cmocka_unit_test(test_the_hash_is_siphash),
        cmocka_unit_test(test_a_client_may_burst_and_gets_its_quota_back_evenly),
        cmocka_unit_test(test_a_burst_may_be_smaller_or_larger_than_the_quota),
        cmocka_unit_test(test_over_time_the_rate_is_the_rate),
        cmocka_unit_test(test_a_clock_a_little_behind_changes_nothing),
        cmocka_unit_test(test_a_full_table_forgets_who_it_forgives_least),
        cmocka_unit_test(test_a_crowd_pushes_out_few_of_those_who_come_often),
        cmocka_unit_test(test_many_threads_get_the_quota_and_not_one_more),
        cmocka_unit_test(test_replies_tell_the_quota_and_when_to_come_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
