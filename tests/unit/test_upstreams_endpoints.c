/* Several addresses of an upstream: read and refused, kept when names are looked up again, shared
 * out by weight, put aside when they fail, and seen. */
#include "tests/unit/upstreams_resolver.h"
#include "tests/unit/upstreams_fixture.h"

enum { ORIGINS = 3 };
static struct origin origins[ORIGINS];
static char texts[ORIGINS][64]; /* their addresses */

static int start(void **state)
{
    (void)state;
    for (size_t i = 0; i < ORIGINS; i++) {
        origin_start(&origins[i], NULL);
        snprintf(texts[i], sizeof(texts[i]), "127.0.0.1:%d", origins[i].port);
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

static void begin(struct fixture *f, struct str *addresses_of_a, size_t count)
{
    fixture_init(f);
    set_url(f, 0, "http://promo.example:81/v1");
    f->configured[0].addresses.items = addresses_of_a;
    f->configured[0].addresses.count = count;
    f->configured[0].ejection =
        (struct config_ejection){.consecutive = 3, .for_ms = 200, .max_share = 50};
    for (size_t i = 0; i < ORIGINS; i++)
        atomic_store(&origins[i].asked, 0);
    atomic_store(&addresses, "127.0.0.1");
    atomic_store(&others, "127.0.0.1");
    atomic_store(&lookups, 0);
}

static struct lane *lane_of(struct fixture *f)
{
    return &f->client->lanes[0];
}

/* What the upstream's addresses are by now, "address*weight" each. */
static void assert_endpoints(struct fixture *f, const char *wanted)
{
    char seen[1024] = "";
    struct endpoints *set = endpoints_now(upstream_find(f->ups, STR("a")));
    for (size_t i = 0; set != NULL && i < set->count; i++)
        snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s%s*%u", i ? " " : "",
                 set->all[i].endpoint->address, set->all[i].weight);
    assert_string_equal(seen, wanted);
    endpoints_unref(&set);
}

static void wait_for_lookups(struct fixture *f, unsigned n)
{
    for (int i = 0; i < 400 && atomic_load(&lookups) < n; i++)
        turn_for(f, 5);
    turn_for(f, 20);
    assert_int_equal(atomic_load(&lookups), n);
}

/* -- the configuration -- */

#define URL "[upstreams.a]\nurl = \"http://promo.example\"\n"

static void test_what_can_not_be_an_address_is_told_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {URL "addresses = [\"10.0.0.7\"]", "t:3:14: error: \"10.0.0.7\": a port is missing"},
        {URL "addresses = [\"[::1]\"]", "t:3:14: error: \"[::1]\": a port is missing"},
        {URL "addresses = [\"a:1\",\n  \"b:0\"]", "t:4:3: error: \"b:0\": a port is a number"},
        {URL "addresses = [\"a:65536\"]", "a port is a number from 1 to 65535"},
        {URL "addresses = [\"a:\"]", "a port is a number from 1 to 65535"},
        {URL "addresses = [\"a:80x\"]", "a port is a number from 1 to 65535"},
        {URL "addresses = [\"a:99999999999999\"]", "a port is a number from 1 to 65535"},
        {URL "addresses = [\":80\"]", "the host is not a name or an address"},
        {URL "addresses = [\"http://a:80\"]", "the host is not a name or an address"},
        {URL "addresses = [\"2001:db8::1:80\"]", "the host is not a name or an address"},
        {URL "addresses = [\"10.1:80\"]", "the host is not a name or an address"},
        {URL "addresses = [\"10.0.0.256:80\"]", "the host is not a name or an address"},
        {URL "addresses = [\"[1.2.3.4]:80\"]", "what stands in brackets is not an IPv6 address"},
        {URL "addresses = [\"[fe80::1%eth0]:80\"]", "in brackets is not an IPv6 address"},
        {URL "addresses = [\"a:80 weight=-1\"]", "a weight is a number from 0 to 1000"},
        {URL "addresses = [\"a:80 weight=1001\"]", "a weight is a number from 0 to 1000"},
        {URL "addresses = [\"a:80 weight=\"]", "a weight is a number from 0 to 1000"},
        {URL "addresses = [\"a:80 wieght=2\"]", "after the port only weight=N may stand"},
        {URL "addresses = [\"a:80 weight=2 backup\"]", "a weight is a number from 0 to 1000"},
        {URL "addresses = [\"a:80\", \"a:81\", \"A:80 weight=2\"]",
         "t:3:30: error: \"A:80 weight=2\": it is listed twice"},
        {URL "addresses = [\"[::1]:80\", \"[0:0::1]:80\"]", "it is listed twice"},
        {URL "addresses = [\"a:80 weight=0\", \"b:80 weight=0\"]",
         "t:3:13: error: all weights are 0"},
        {"[upstreams.a]\nurl = \"unix:/run/a\"\naddresses = [\"a:80\"]",
         "t:3:13: error: a unix socket has no addresses"},
        {URL "[upstreams.a.health]\npath = \"healthz\"",
         "t:4:8: error: \"healthz\" can't be asked"},
        {URL "[upstreams.a.health]\npath = \"/a b\"", "\"/a b\" can't be asked for"},
        {URL "[upstreams.a.health]\npath = \"/\"\ninterval = \"1s\"\ntimeout = \"2s\"",
         "t:6:11: error: a check's timeout is at most the interval"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *errors;
        size_t n;
        struct diag *diag = diag_create();
        struct config *config = config_parse(str_from(rows[i].text), "t", "/", diag);
        assert_int_equal(diag_errors(diag), 0);
        struct upstreams *ups = upstreams_create(config, diag);
        FILE *to = open_memstream(&errors, &n);
        diag_print(diag, to);
        fclose(to);
        if (diag_errors(diag) != 1 || strstr(errors, rows[i].error) == NULL)
            fail_msg("-- for\n%s\n-- wanted\n%s\n-- got\n%s", rows[i].text, rows[i].error, errors);
        free(errors);
        upstreams_destroy(&ups);
        config_destroy(&config);
        diag_destroy(&diag);
    }
}

static void test_addresses_are_read(void **state)
{
    (void)state;
    struct fixture f;
    struct str listed[] = {STR("10.0.0.7:80 weight=3"), STR("[2001:DB8:0::1]:81"),
                           STR("LocalHost:82   weight=0"), STR("spare.test:83 weight=2")};
    begin(&f, listed, COUNT(listed));
    atomic_store(&others, "10.0.0.9 10.0.0.8");
    fixture_start(&f, 1);
    wait_for_lookups(&f, 1);
    assert_endpoints(&f, "10.0.0.7:80*3 [2001:db8::1]:81*1 localhost:82*0 10.0.0.8:83*2 "
                         "10.0.0.9:83*2");
    fixture_stop(&f);
}

/* -- who gets the next call -- */

/* Which of the origins answers the next call: its index. */
static size_t next_origin(struct fixture *f)
{
    unsigned before[ORIGINS];
    struct ask ask = {0};
    for (size_t i = 0; i < ORIGINS; i++)
        before[i] = atomic_load(&origins[i].asked);
    struct up_result result = ask_for(f, &ask, 0, "/json");
    if (result.end != UP_ANSWERED)
        fail_msg("%s (%s)", result.error, result.detail);
    ask_release(&ask);
    for (size_t i = 0; i < ORIGINS; i++)
        if (atomic_load(&origins[i].asked) != before[i])
            return i;
    fail_msg("nobody was asked");
    return 0;
}

static void assert_order(struct fixture *f, const char *wanted)
{
    char seen[64] = "";
    for (size_t i = 0; i < strlen(wanted); i++)
        seen[i] = (char)('a' + next_origin(f));
    assert_string_equal(seen, wanted);
}

static void test_weights_share_calls_out_smoothly(void **state)
{
    (void)state;
    struct fixture f;
    struct str listed[ORIGINS];
    char weighted[96];
    for (size_t i = 0; i < ORIGINS; i++)
        listed[i] = str_from(texts[i]);
    begin(&f, listed, ORIGINS);
    fixture_start(&f, 1);
    assert_order(&f, "abcabc");
    fixture_stop(&f);

    snprintf(weighted, sizeof(weighted), "%s weight=3", texts[0]);
    listed[0] = str_from(weighted);
    begin(&f, listed, ORIGINS);
    fixture_start(&f, 1);
    assert_order(&f, "abacaabaca");
    fixture_stop(&f);

    snprintf(weighted, sizeof(weighted), "%s weight=0", texts[0]);
    begin(&f, listed, ORIGINS);
    fixture_start(&f, 1);
    assert_order(&f, "bcbc");
    fixture_stop(&f);
}

static void test_host_and_path_stay_those_of_the_url(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    struct str listed[] = {str_from(texts[0]), str_from(texts[1])};
    begin(&f, listed, COUNT(listed));
    set_url(&f, 0, "http://promo.example:81");
    fixture_start(&f, 1);
    ask_for(&f, &ask, 0, "/echo");
    assert_memory_equal(ask.result.body.p, "GET /echo HTTP/1.1\r\n", 20);
    assert_non_null(strstr(ask.result.body.p, "\r\nHost: promo.example:81\r\n"));
    ask_release(&ask);
    fixture_stop(&f);
}

/* One of two answers late, so its calls stay in flight and the other gets those that come. */
static void test_the_least_busy_one_is_asked(void **state)
{
    (void)state;
    struct fixture f;
    struct ask late[4] = {0};
    struct str listed[] = {str_from(texts[0]), str_from(texts[1])};
    begin(&f, listed, COUNT(listed));
    set_url(&f, 0, "http://promo.example");
    f.configured[0].balance = BALANCE_LEAST_INFLIGHT;
    fixture_start(&f, 1);
    ask_start(&f, &late[0], 0, "/late");
    turn_for(&f, 5);
    assert_int_equal(endpoint_inflight(lane_of(&f)->endpoints->all[0].endpoint), 1);
    assert_order(&f, "bbbb");
    for (size_t i = 1; i < COUNT(late); i++)
        ask_start(&f, &late[i], 0, "/late");
    turn_for(&f, 5);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(endpoint_inflight(lane_of(&f)->endpoints->all[i].endpoint), 2);
    for (size_t i = 0; i < COUNT(late); i++)
        up_call_cancel(&late[i].call);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(endpoint_inflight(lane_of(&f)->endpoints->all[i].endpoint), 0);
    fixture_stop(&f);
}

static void test_what_a_call_tried_already_comes_last(void **state)
{
    (void)state;
    struct fixture f;
    struct tried tried = {.count = 0};
    struct endpoint *picked[ORIGINS];
    struct str listed[ORIGINS];
    for (size_t i = 0; i < ORIGINS; i++)
        listed[i] = str_from(texts[i]);
    begin(&f, listed, ORIGINS);
    fixture_start(&f, 1);
    for (size_t i = 0; i < ORIGINS; i++) {
        assert_true(endpoint_is_left(lane_of(&f), &tried));
        picked[i] = endpoint_pick(lane_of(&f), &tried);
        for (size_t before = 0; before < i; before++)
            assert_ptr_not_equal(picked[i], picked[before]);
    }
    assert_false(endpoint_is_left(lane_of(&f), &tried));
    for (size_t i = 0; i < ORIGINS; i++)
        endpoint_done(lane_of(&f), &picked[i], REPORT_NOTHING);
    fixture_stop(&f);
}

/* -- connections -- */

static void test_a_connection_is_reused_for_its_address_only(void **state)
{
    (void)state;
    struct fixture f;
    unsigned connections[2];
    struct str listed[] = {str_from(texts[0]), str_from(texts[1])};
    begin(&f, listed, COUNT(listed));
    fixture_start(&f, 1);
    for (size_t i = 0; i < 2; i++)
        connections[i] = atomic_load(&origins[i].connections);
    assert_order(&f, "abababababab");
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(atomic_load(&origins[i].connections) - connections[i], 1);
    fixture_stop(&f);
}

static unsigned open_connections(void)
{
    unsigned open = 0;
    for (size_t i = 0; i < ORIGINS; i++)
        open += atomic_load(&origins[i].open);
    return open;
}

static void test_idle_connections_are_bounded_for_all_addresses_together(void **state)
{
    (void)state;
    enum { CALLS = 30 };
    struct fixture f;
    struct ask asks[CALLS] = {0};
    struct str listed[ORIGINS];
    for (size_t i = 0; i < ORIGINS; i++)
        listed[i] = str_from(texts[i]);
    begin(&f, listed, ORIGINS);
    set_url(&f, 0, "http://promo.example");
    f.configured[0].max_idle = 4;
    fixture_start(&f, 1);
    for (int i = 0; i < 400 && open_connections() != 0; i++)
        turn_for(&f, 5); /* those of the test before */
    for (size_t i = 0; i < CALLS; i++)
        ask_start(&f, &asks[i], 0, "/busy");
    for (size_t i = 0; i < CALLS; i++) {
        ask_wait(&f, &asks[i]);
        assert_int_equal(asks[i].result.end, UP_ANSWERED);
        ask_release(&asks[i]);
    }
    for (size_t i = 0; i < CALLS; i++) /* one call after another: what is over max_idle closes */
        next_origin(&f);
    for (int i = 0; i < 400 && open_connections() > 5; i++)
        turn_for(&f, 5);
    assert_in_range(open_connections(), ORIGINS, 5); /* and the last one, which was busy */
    fixture_stop(&f);
}

/* -- names -- */

static void test_what_a_new_look_up_names_again_keeps_its_health(void **state)
{
    (void)state;
    struct fixture f;
    struct tried tried = {.count = 0};
    struct str listed[] = {STR("promo.test:80"), STR("10.0.0.1:80")};
    begin(&f, listed, COUNT(listed));
    f.configured[0].resolve_every_ms = 50;
    atomic_store(&addresses, "10.0.0.3 10.0.0.2");
    fixture_start(&f, 1);
    struct endpoints *known = NULL;
    const char *error;
    wait_for_lookups(&f, 1);
    assert_endpoints(&f, "10.0.0.2:80*1 10.0.0.3:80*1 10.0.0.1:80*1");
    endpoints_get(lane_of(&f)->upstream, f.names, clock_us(), &lane_of(&f)->endpoints, NULL,
                  &error);
    struct endpoint *second = lane_of(&f)->endpoints->all[0].endpoint;
    atomic_store(&second->health.failures, 2);
    struct endpoint *first = endpoint_pick(lane_of(&f), &tried);
    assert_ptr_equal(first, second);

    atomic_store(&addresses, "10.0.0.2 10.0.0.3"); /* in another order: nothing new */
    uint32_t version = lane_of(&f)->endpoints->version;
    turn_for(&f, 60);
    endpoints_get(lane_of(&f)->upstream, f.names, clock_us(), &known, NULL, &error);
    wait_for_lookups(&f, 2);
    endpoints_get(lane_of(&f)->upstream, f.names, clock_us(), &known, NULL, &error);
    assert_int_equal(known->version, version);

    atomic_store(&addresses, "10.0.0.4 10.0.0.2");
    for (unsigned i = 0; i < 100 && known->version == version; i++) {
        turn_for(&f, 10);
        endpoints_get(lane_of(&f)->upstream, f.names, clock_us(), &known, NULL, &error);
    }
    assert_endpoints(&f, "10.0.0.2:80*1 10.0.0.4:80*1 10.0.0.1:80*1");
    assert_ptr_equal(known->all[0].endpoint, second);
    assert_int_equal(atomic_load(&second->health.failures), 2);
    assert_int_equal(endpoint_inflight(second), 1);

    atomic_store(&addresses, "10.0.0.5");
    version = known->version;
    for (unsigned i = 0; i < 100 && known->version == version; i++) {
        turn_for(&f, 10);
        endpoints_get(lane_of(&f)->upstream, f.names, clock_us(), &known, NULL, &error);
    }
    endpoints_unref(&known);
    endpoints_get(lane_of(&f)->upstream, f.names, clock_us(), &lane_of(&f)->endpoints, NULL,
                  &error);
    assert_string_equal(first->address, "10.0.0.2:80"); /* alive while its attempt is */
    endpoint_done(lane_of(&f), &first, REPORT_BAD);
    fixture_stop(&f);
}

static void test_two_names_of_one_address_add_their_weights(void **state)
{
    (void)state;
    struct fixture f;
    struct str listed[] = {STR("promo.test:80 weight=2"), STR("spare.test:80 weight=3"),
                           STR("spare.test:81")};
    begin(&f, listed, COUNT(listed));
    atomic_store(&addresses, "10.0.0.2 10.0.0.3");
    atomic_store(&others, "10.0.0.3");
    fixture_start(&f, 1);
    wait_for_lookups(&f, 2);
    assert_endpoints(&f, "10.0.0.2:80*2 10.0.0.3:80*5 10.0.0.3:81*1");
    fixture_stop(&f);
}

static void test_a_name_that_hangs_keeps_nobody_from_the_other_addresses(void **state)
{
    (void)state;
    int pipes[2];
    struct fixture f;
    char named[64];
    snprintf(named, sizeof(named), "spare.test:%d", origins[1].port);
    struct str listed[] = {STR("slow.test:80"), str_from(named)};
    assert_int_equal(pipe(pipes), 0);
    atomic_store(&slow_fd, pipes[0]);
    begin(&f, listed, COUNT(listed));
    fixture_start(&f, 1);
    assert_order(&f, "bbb"); /* the first of them came before any name was known */
    close(pipes[1]);
    for (int i = 0; i < 400 && lane_of(&f)->endpoints->count != 2; i++) {
        const char *error;
        turn_for(&f, 5);
        endpoints_get(lane_of(&f)->upstream, f.names, clock_us(), &lane_of(&f)->endpoints, NULL,
                      &error);
    }
    assert_int_equal(lane_of(&f)->endpoints->count, 2);
    fixture_stop(&f);
    close(pipes[0]);
}

static void test_calls_wait_until_no_name_is_left_to_hope_for(void **state)
{
    (void)state;
    int pipes[2];
    struct fixture f;
    struct ask ask = {0};
    struct str listed[] = {STR("unknown.test:80"), STR("slow.test:1")};
    assert_int_equal(pipe(pipes), 0);
    atomic_store(&slow_fd, pipes[0]);
    begin(&f, listed, COUNT(listed));
    fixture_start(&f, 1);
    ask_start(&f, &ask, 0, "/json");
    wait_for_lookups(&f, 2);
    assert_false(ask.done);
    close(pipes[1]);
    ask_wait(&f, &ask);
    assert_string_equal(ask.result.error, "connection_refused");
    ask_release(&ask);
    fixture_stop(&f);
    close(pipes[0]);

    listed[1] = STR("unknown.test:81");
    begin(&f, listed, COUNT(listed));
    fixture_start(&f, 1);
    assert_string_equal(ask_for(&f, &ask, 0, "/json").error, "dns_error");
    ask_release(&ask);
    fixture_stop(&f);
}

/* -- those that fail -- */

static void fail_one(struct fixture *f, size_t which, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        struct tried tried = {.count = 0};
        struct endpoint *wanted = lane_of(f)->endpoints->all[which].endpoint, *picked;
        do {
            picked = endpoint_pick(lane_of(f), &tried);
            if (picked != wanted)
                endpoint_done(lane_of(f), &picked, REPORT_NOTHING);
        } while (picked != wanted);
        endpoint_done(lane_of(f), &picked, REPORT_BAD);
    }
}

static void test_an_address_that_fails_is_put_aside_and_comes_back(void **state)
{
    (void)state;
    struct fixture f;
    struct str listed[ORIGINS];
    for (size_t i = 0; i < ORIGINS; i++)
        listed[i] = str_from(texts[i]);
    begin(&f, listed, ORIGINS);
    fixture_start(&f, 1);
    fail_one(&f, 1, 2);
    assert_true(health_is_usable(&lane_of(&f)->endpoints->all[1].endpoint->health, clock_us()));
    fail_one(&f, 1, 1);
    assert_false(health_is_usable(&lane_of(&f)->endpoints->all[1].endpoint->health, clock_us()));
    for (int i = 0; i < 6; i++)
        assert_int_not_equal(next_origin(&f), 1);
    fail_one(&f, 0, 3); /* max_share: one of three may be aside */
    assert_true(health_is_usable(&lane_of(&f)->endpoints->all[0].endpoint->health, clock_us()));

    turn_for(&f, 210);
    size_t seen = 0;
    for (int i = 0; i < 6; i++)
        seen += next_origin(&f) == 1;
    assert_int_equal(seen, 2);
    assert_false(atomic_load(&lane_of(&f)->endpoints->all[1].endpoint->ejected));
    fixture_stop(&f);
}

static void test_the_one_that_is_left_is_used_though_it_was_put_aside(void **state)
{
    (void)state;
    struct fixture f;
    char named[64];
    snprintf(named, sizeof(named), "promo.test:%d", origins[0].port);
    struct str listed[] = {str_from(named)};
    begin(&f, listed, COUNT(listed));
    f.configured[0].resolve_every_ms = 30;
    f.configured[0].ejection.for_ms = 60 * 1000;
    atomic_store(&addresses, "127.0.0.1 127.0.0.2");
    fixture_start(&f, 1);
    assert_int_equal(next_origin(&f), 0);
    fail_one(&f, 0, 3);
    assert_false(health_is_usable(&lane_of(&f)->endpoints->all[0].endpoint->health, clock_us()));
    atomic_store(&addresses, "127.0.0.1");
    for (int i = 0; i < 400 && lane_of(&f)->endpoints->count != 1; i++) {
        const char *error;
        turn_for(&f, 5);
        endpoints_get(lane_of(&f)->upstream, f.names, clock_us(), &lane_of(&f)->endpoints, NULL,
                      &error);
    }
    assert_order(&f, "aaa");
    fixture_stop(&f);
}

/* One address takes connections and never answers: whether the call is hedged or tried again, it is
 * the other one that it goes to. */
static void test_a_second_attempt_goes_to_another_address(void **state)
{
    (void)state;
    char silent[64];
    struct fixture f;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    struct str on[] = {STR("timeout")}, listed[2] = {{NULL, 0}, str_from(texts[0])};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 64), 0);
    getsockname(listener, (struct sockaddr *)&address, &length);
    snprintf(silent, sizeof(silent), "127.0.0.1:%d", ntohs(address.sin_port));
    listed[0] = str_from(silent);
    for (int hedged = 0; hedged < 2; hedged++) {
        begin(&f, listed, COUNT(listed));
        set_url(&f, 0, "http://promo.example");
        f.configured[0].ejection.consecutive = 0;
        f.configured[0].timeout_ms = hedged ? 3000 : 40;
        if (hedged)
            f.configured[0].hedge =
                (struct config_hedge){.after = STR("20ms"), .budget = 100, .budget_floor = 100};
        else
            f.configured[0].retry = (struct config_retry){.on = {on, 1},
                                                          .backoff_ms = 1,
                                                          .max_backoff_ms = 1,
                                                          .budget = 100,
                                                          .budget_floor = 100};
        fixture_start(&f, 1);
        unsigned second = 0;
        for (int i = 0; i < 6; i++) {
            struct ask ask = {0};
            assert_int_equal(ask_for(&f, &ask, 0, "/hello").end, UP_ANSWERED);
            assert_int_equal(ask.result.hedged, hedged && ask.result.attempts == 2);
            second += ask.result.attempts == 2;
            ask_release(&ask);
        }
        assert_in_range(second, 1, 6);
        fixture_stop(&f);
    }
    close(listener);
}

/* Whatever it is, since nothing was sent; what was sent and got no answer isn't sent again. */
static void test_a_post_goes_where_somebody_listens(void **state)
{
    (void)state;
    struct fixture f;
    struct str on[] = {STR("connect"), STR("reset")};
    struct str listed[] = {STR("127.0.0.1:1"), str_from(texts[0])};
    begin(&f, listed, COUNT(listed));
    set_url(&f, 0, "http://promo.example");
    f.configured[0].retry =
        (struct config_retry){.on = {on, COUNT(on)}, .budget = 100, .budget_floor = 100};
    f.configured[0].ejection.consecutive = 0;
    fixture_start(&f, 1);
    unsigned twice = 0;
    for (unsigned i = 0; i < 4; i++) {
        struct ask ask = {0};
        struct up_request request = {.upstream = upstream_find(f.ups, STR("a")),
                                     .target = STR("/body"),
                                     .method = "POST",
                                     .body = STR("x")};
        ask_request(&f, &ask, &request);
        ask_wait(&f, &ask);
        assert_int_equal(ask.result.status, 200);
        twice += ask.result.attempts == 2;
        ask_release(&ask);
        unsigned asked = atomic_load(&origins[0].asked);
        request.target = STR("/cut-unread");
        ask_request(&f, &ask, &request);
        ask_wait(&f, &ask);
        assert_int_equal(ask.result.end, UP_FAILED);
        assert_int_equal(atomic_load(&origins[0].asked), asked + 1);
        ask_release(&ask);
    }
    assert_int_not_equal(twice, 0);
    fixture_stop(&f);
}

static void test_an_only_address_is_never_put_aside(void **state)
{
    (void)state;
    struct fixture f;
    struct str listed[] = {str_from(texts[0])};
    begin(&f, listed, COUNT(listed));
    f.configured[0].ejection.max_share = 100;
    fixture_start(&f, 1);
    fail_one(&f, 0, 20);
    assert_order(&f, "aa");
    fixture_stop(&f);
}

/* -- seen -- */

static void test_upstreams_are_seen_as_json(void **state)
{
    (void)state;
    struct fixture f;
    struct str listed[] = {STR("10.0.0.7:9101 weight=2"), STR("10.0.0.8:9101")};
    begin(&f, listed, COUNT(listed));
    set_url(&f, 0, "http://me:secret@promo.example/v1/");
    set_url(&f, 1, "unix:/run/with\"quote");
    set_url(&f, 2, "http://10.0.0.9");
    set_url(&f, 3, "http://unknown.test");
    f.configured[0].retry = (struct config_retry){.budget = 20, .budget_floor = 3};
    f.configured[0].hedge = (struct config_hedge){.budget = 10, .budget_floor = 1};
    fixture_start(&f, 4);
    wait_for_lookups(&f, 1);
    struct upstream *up = upstream_find(f.ups, STR("a"));
    uint64_t now_us = clock_us();
    for (int i = 0; i < 100; i++) {
        window_count(&up->window, COUNT_CALLS, now_us);
        latency_add(&lane_of(&f)->latency, 12100, now_us);
    }
    window_count(&up->window, COUNT_FAILURES, now_us);
    window_count(&up->window, COUNT_HEDGES, now_us);
    struct tried tried = {.count = 0};
    struct endpoint *picked = endpoint_pick(lane_of(&f), &tried);
    struct health_state *health = &lane_of(&f)->endpoints->all[1].endpoint->health;
    atomic_store(&health->checked, HEALTH_UNHEALTHY);

    struct buf json;
    buf_init(&json, 1 << 20);
    assert_true(upstreams_write_json(f.ups, &json));
    buf_append(&json, "", 1);
    static const char *const wanted[] = {
        "{\"upstreams\":[{\"name\":\"a\",\"url\":\"http://promo.example/v1\","
        "\"breaker\":{\"state\":\"closed\",\"opened\":0,\"retry_in_ms\":null},"
        "\"inflight\":0,\"queued\":0,\"max_inflight\":256,\"max_queue\":256,"
        "\"last_10s\":{\"calls\":100,\"failures\":1,\"retries\":0,\"retries_denied\":0,"
        "\"hedges\":1,\"hedges_won\":0,\"hedges_denied\":0},"
        "\"budget\":{\"retries_left\":30,\"hedges_left\":9},\"latency_ms\":{\"p50\":1",
        "\"addresses\":[{\"address\":\"10.0.0.7:9101\",\"weight\":2,\"health\":\"unknown\","
        "\"ejected_for_ms\":null,\"ejections\":0,\"inflight\":1},"
        "{\"address\":\"10.0.0.8:9101\",\"weight\":1,\"health\":\"unhealthy\","
        "\"ejected_for_ms\":null,\"ejections\":0,\"inflight\":0}]},",
        "{\"name\":\"b\",\"url\":\"unix:/run/with\\\"quote\",",
        "\"latency_ms\":{\"p50\":null,\"p90\":null,\"p95\":null,\"p99\":null},"
        "\"addresses\":[{\"address\":\"unix:/run/with\\\"quote\",\"weight\":1,",
        "\"addresses\":[{\"address\":\"10.0.0.9:80\",\"weight\":1,",
        "\"addresses\":[]}]}\n",
    };
    const char *at = json.p;
    for (size_t i = 0; i < COUNT(wanted); i++) {
        const char *found = strstr(at, wanted[i]);
        if (found == NULL)
            fail_msg("no %s\nin %s", wanted[i], at);
        at = found;
    }
    json.max = json.n; /* as it is: full */
    size_t before = json.n;
    assert_false(upstreams_write_json(f.ups, &json));
    assert_int_equal(json.n, before);
    buf_fini(&json);

    atomic_store(&health->ejected_until_us, clock_us() + 5000 * 1000);
    atomic_store(&health->ejections, 1);
    buf_init(&json, 1 << 20);
    assert_true(upstreams_write_json(f.ups, &json));
    buf_append(&json, "", 1);
    at = strstr(json.p, "\"ejected_for_ms\":4");
    assert_true(at != NULL || strstr(json.p, "\"ejected_for_ms\":5000") != NULL);
    assert_non_null(strstr(json.p, "\"ejections\":1"));
    buf_fini(&json);
    endpoint_done(lane_of(&f), &picked, REPORT_GOOD);
    fixture_stop(&f);
}

/* -- threads -- */

struct worker {
    pthread_t thread;
    struct fixture *fixture;
    unsigned answered;
};

static void *work(void *arg)
{
    enum { CALLS = 300 };
    struct worker *worker = arg;
    struct fixture mine = *worker->fixture;
    mine.loop = loop_create(1);
    mine.client = up_client_create(mine.ups, mine.loop, mine.names);
    for (int i = 0; i < CALLS; i++) {
        struct ask ask = {0};
        struct up_result result = ask_for(&mine, &ask, 0, "/json");
        worker->answered += result.end == UP_ANSWERED;
        ask_release(&ask);
        if (i % 20 == 0) {
            struct buf json;
            buf_init(&json, 1 << 20);
            upstreams_write_json(mine.ups, &json);
            buf_fini(&json);
        }
    }
    up_client_destroy(&mine.client);
    loop_destroy(&mine.loop);
    return NULL;
}

/* The set changes under the calls all the time; each finds an address that answers. */
static void test_loops_use_addresses_while_they_change(void **state)
{
    (void)state;
    struct fixture f;
    struct worker workers[3];
    char named[2][64];
    struct origin other;
    origin_start_at(&other, "127.0.0.2", origins[0].port);
    snprintf(named[0], sizeof(named[0]), "promo.test:%d", origins[0].port);
    struct str listed[] = {str_from(named[0]), str_from(texts[1])};
    begin(&f, listed, COUNT(listed));
    set_url(&f, 0, "http://promo.example");
    f.configured[0].resolve_every_ms = 1;
    f.configured[0].health = (struct config_health){
        .path = STR("/json"), .interval_ms = 10, .timeout_ms = 10, .healthy = 1, .unhealthy = 1000};
    fixture_start(&f, 1);
    for (size_t i = 0; i < COUNT(workers); i++) {
        workers[i] = (struct worker){.fixture = &f};
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (int i = 0; i < 60; i++) {
        static const char *const sets[] = {"127.0.0.1", "127.0.0.2", "127.0.0.2 127.0.0.1"};
        atomic_store(&addresses, sets[i % 3]);
        turn_for(&f, 5); /* its client makes the checks */
    }
    for (size_t i = 0; i < COUNT(workers); i++) {
        while (pthread_tryjoin_np(workers[i].thread, NULL) != 0)
            turn_for(&f, 5);
        assert_int_equal(workers[i].answered, 300);
    }
    assert_in_range(atomic_load(&lookups), 3, 100000);
    fixture_stop(&f);
    origin_stop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_can_not_be_an_address_is_told_with_its_place),
        cmocka_unit_test(test_addresses_are_read),
        cmocka_unit_test(test_weights_share_calls_out_smoothly),
        cmocka_unit_test(test_host_and_path_stay_those_of_the_url),
        cmocka_unit_test(test_the_least_busy_one_is_asked),
        cmocka_unit_test(test_what_a_call_tried_already_comes_last),
        cmocka_unit_test(test_a_connection_is_reused_for_its_address_only),
        cmocka_unit_test(test_idle_connections_are_bounded_for_all_addresses_together),
        cmocka_unit_test(test_what_a_new_look_up_names_again_keeps_its_health),
        cmocka_unit_test(test_two_names_of_one_address_add_their_weights),
        cmocka_unit_test(test_a_name_that_hangs_keeps_nobody_from_the_other_addresses),
        cmocka_unit_test(test_calls_wait_until_no_name_is_left_to_hope_for),
        cmocka_unit_test(test_an_address_that_fails_is_put_aside_and_comes_back),
        cmocka_unit_test(test_the_one_that_is_left_is_used_though_it_was_put_aside),
        cmocka_unit_test(test_a_second_attempt_goes_to_another_address),
        cmocka_unit_test(test_a_post_goes_where_somebody_listens),
        cmocka_unit_test(test_an_only_address_is_never_put_aside),
        cmocka_unit_test(test_upstreams_are_seen_as_json),
        cmocka_unit_test(test_loops_use_addresses_while_they_change),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
