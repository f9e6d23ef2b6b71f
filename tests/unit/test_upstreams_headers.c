/* The header fields of an answer, for calls that want them: all of the final one's, in their order,
 * nothing of what came before or behind it, until the call is released. */
#include "tests/unit/upstreams_fixture.h"

static struct origin origin;

static int start_origin(void **state)
{
    (void)state;
    origin_start(&origin, NULL);
    return 0;
}

static int stop_origin(void **state)
{
    (void)state;
    origin_stop(&origin);
    return 0;
}

static void begin(struct fixture *f)
{
    fixture_init(f);
    set_url(f, 0, "http://127.0.0.1:%d", origin.port);
}

static void ask_wanting(struct fixture *f, struct ask *ask, const char *target)
{
    struct up_request request = {.upstream = upstream_find(f->ups, STR("a")),
                                 .target = str_from(target),
                                 .wants_headers = true};
    ask_request(f, ask, &request);
}

/* "name=value;" for each. */
static const char *told(const struct ask *ask)
{
    static char text[64 * 1024];
    size_t n = 0;
    for (size_t i = 0; i < ask->result.header_count; i++) {
        const struct up_header *header = &ask->result.headers[i];
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s=%.*s;", (int)header->name.n,
                              header->name.p, (int)header->value.n, header->value.p);
    }
    text[n] = '\0';
    return text;
}

static void test_the_final_answers_fields_are_told_in_their_order(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *told;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", ""},
        {"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2\r\n\r\n{}", "A=1;Content-Length=2;"},
        {"HTTP/1.1 404 No\r\nb:2\r\na:  1 \t\r\nB: 3\r\n\r\n", "b=2;a=1;B=3;"},
        {"HTTP/1.1 200 OK\r\nempty:\r\nnext: x\r\n\r\n", "empty=;next=x;"},
        {"HTTP/1.0 200 OK\nbare: feed\n\n", "bare=feed;"},
        {"HTTP/1.1 200 OK\r\ntime: 10:20:30\r\n\r\n", "time=10:20:30;"},
        {"HTTP/1.1 200 OK\r\nlong: a,\r\n\t b,\r\n  c \r\nd: e\r\n\r\n", "long=a, b, c;d=e;"},
        {"HTTP/1.1 200 OK\r\nblank : x\r\n\r\n", "blank=x;"},
        {"HTTP/1.1 200 OK\r\nno name: x\r\n: y\r\n@: z\r\na: b\r\n\r\n", "a=b;"},
        {"HTTP/1.1 200 OK\r\nsplit: a\rSet-Cookie: b\r\n\r\n", "split=a Set-Cookie: b;"},
        {"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\n\r\n", "A=1;"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 On\r\nA: 1\r\n\r\nHTTP/1.1 204 No\r\n\r\n", ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: sum\r\n\r\n"
         "2\r\n{}\r\n0\r\nsum: 1\r\nHTTP/1.1: 500\r\n\r\n",
         "Transfer-Encoding=chunked;Trailer=sum;"},
    };
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ask ask = {0};
        atomic_store(&origin.raw, cases[i].answer);
        ask_wanting(&f, &ask, "/raw");
        ask_wait(&f, &ask);
        if (ask.result.end != UP_ANSWERED)
            fail_msg("case %zu: %s, %s", i, ask.result.error, ask.result.detail);
        if (strcmp(told(&ask), cases[i].told) != 0)
            fail_msg("case %zu: '%s'", i, told(&ask));
        ask_release(&ask);
    }
    fixture_stop(&f);
}

static void test_an_answer_that_is_none_yet_is_no_answer(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } answers[] = {
        {"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", "connection_terminated"},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "connection_terminated"},
        {"HTTP/1.1 200 OK\r\nA: 1\r\n", "http_response_incomplete"},
    };
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct ask ask = {0};
        atomic_store(&origin.raw, answers[i].text);
        ask_wanting(&f, &ask, "/raw");
        ask_wait(&f, &ask);
        assert_int_equal(ask.result.end, UP_FAILED);
        if (strcmp(ask.result.error, answers[i].error) != 0)
            fail_msg("case %zu: %s, %s", i, ask.result.error, ask.result.detail);
        ask_release(&ask);
    }
    fixture_stop(&f);
}

static void test_who_does_not_want_them_gets_none(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    struct ask wanting = {0}, plain = {0};
    ask_wanting(&f, &wanting, "/hello");
    ask_wait(&f, &wanting);
    assert_string_equal(told(&wanting), "Content-Type=application/json;Content-Length=17;");
    ask_release(&wanting);
    ask_for(&f, &plain, 0, "/hello"); /* in the same memory */
    assert_int_equal(plain.result.header_count, 0);
    assert_null(plain.result.headers);
    assert_true(body_is(&plain, BODY));
    ask_release(&plain);
    fixture_stop(&f);
}

/* As an upstream that wants to be read past the end of a buffer would make them. */
static void test_header_sections_have_a_largest_size(void **state)
{
    (void)state;
    static const struct {
        size_t lines, bytes; /* of each line's value */
        bool folded;         /* all but the first go on with it */
        enum up_end end;
    } cases[] = {
        {250, 10, false, UP_ANSWERED},  {257, 10, false, UP_FAILED},
        {60, 1000, false, UP_ANSWERED}, {66, 1000, false, UP_FAILED},
        {60, 1000, true, UP_ANSWERED},  {66, 1000, true, UP_FAILED},
        {2, 65000, false, UP_FAILED},   {2, 65000, true, UP_FAILED},
        {1, 90000, false, UP_FAILED},
    };
    struct fixture f;
    begin(&f);
    fixture_start(&f, 1);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf text;
        struct ask ask = {0};
        buf_init(&text, 1 << 20);
        buf_printf(&text, "HTTP/1.1 200 OK\r\n");
        for (size_t line = 0; line < cases[i].lines; line++)
            buf_printf(&text, "%s%0*d\r\n", line == 0 || !cases[i].folded ? "x: " : " ",
                       (int)cases[i].bytes, 7);
        buf_append(&text, "\r\n", 3);
        atomic_store(&origin.raw, text.p);
        ask_wanting(&f, &ask, "/raw");
        ask_wait(&f, &ask);
        size_t count = cases[i].folded ? 1 : cases[i].lines;
        size_t length =
            cases[i].folded ? cases[i].lines * (cases[i].bytes + 1) - 1 : cases[i].bytes;
        assert_int_equal(ask.result.end, cases[i].end);
        if (cases[i].end == UP_FAILED) {
            assert_string_equal(ask.result.error, "http_response_header_section_size");
        } else {
            assert_int_equal(ask.result.header_count, count);
            for (size_t j = 0; j < count; j++)
                assert_int_equal(ask.result.headers[j].value.n, length);
        }
        ask_release(&ask);
        while (atomic_load(&origin.open) != 0) /* it may still be saying it */
            turn_for(&f, 1);
        buf_fini(&text);
    }
    fixture_stop(&f);
}

/* Of two attempts' answers, those of the one that counts. */
static void test_each_attempt_has_its_own(void **state)
{
    (void)state;
    static struct str on[] = {{"503", 3}};
    struct fixture f;
    begin(&f);
    f.configured[0].retry = (struct config_retry){.attempts = 2,
                                                  .on = {on, COUNT(on)},
                                                  .backoff_ms = 1,
                                                  .max_backoff_ms = 1,
                                                  .budget = 1,
                                                  .budget_floor = 10};
    fixture_start(&f, 1);
    struct ask ask = {0};
    static const char *const script[] = {"/busy-for-0s/503", "/hello", NULL};
    origin_script(&origin, script);
    ask_wanting(&f, &ask, "/script");
    ask_wait(&f, &ask);
    assert_int_equal(ask.result.attempts, 2);
    assert_string_equal(told(&ask), "Content-Type=application/json;Content-Length=17;");
    ask_release(&ask);
    fixture_stop(&f);
}

static void test_a_hedge_has_its_own(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.configured[0].hedge =
        (struct config_hedge){.after = STR("20ms"), .budget = 1, .budget_floor = 10};
    fixture_start(&f, 1);
    static const char *const script[] = {"/drip", "/hello", NULL}; /* its head comes at once */
    struct ask ask = {0};
    origin_script(&origin, script);
    ask_wanting(&f, &ask, "/script");
    ask_wait(&f, &ask);
    assert_true(ask.result.hedged);
    assert_string_equal(told(&ask), "Content-Type=application/json;Content-Length=17;");
    ask_release(&ask);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_final_answers_fields_are_told_in_their_order),
        cmocka_unit_test(test_an_answer_that_is_none_yet_is_no_answer),
        cmocka_unit_test(test_who_does_not_want_them_gets_none),
        cmocka_unit_test(test_header_sections_have_a_largest_size),
        cmocka_unit_test(test_each_attempt_has_its_own),
        cmocka_unit_test(test_a_hedge_has_its_own),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
