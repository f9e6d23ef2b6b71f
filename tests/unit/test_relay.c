/* What a relayed reply looks like on the wire: whose Date and Server, where the body ends, what is
 * left of the connection. */
#include "http_live.h"

struct answer {
    int status;
    uint64_t length;
    const char *headers[8]; /* name, value, … */
    const char *date;
    const char *pieces[4];
    bool cut;
};

/* One answer at a time. */
static struct replier {
    const struct answer *answer;
    struct http_relay relay;
    size_t at;
} replier;

static void send_next(struct http_relay *relay)
{
    const struct answer *answer = replier.answer;
    const char *piece = answer->pieces[replier.at];
    bool last = piece == NULL || answer->pieces[replier.at + 1] == NULL;
    replier.at++;
    http_relay_send(relay, piece, piece != NULL ? strlen(piece) : 0,
                    !last         ? RELAY_MORE
                    : answer->cut ? RELAY_CUT
                                  : RELAY_END);
}

static void handler(struct http_request *request, void *arg)
{
    const struct answer *answer = replier.answer;
    (void)arg;
    for (size_t i = 0; answer->headers[i] != NULL; i += 2)
        http_add_header(request, answer->headers[i], str_from(answer->headers[i + 1]));
    replier.at = 0;
    replier.relay = (struct http_relay){.proceed = send_next,
                                        .date = str_from(answer->date ? answer->date : "")};
    http_relay_begin(request, &replier.relay, answer->status, answer->length);
    send_next(&replier.relay);
}

static const char *ask(struct live *live, const char *line, const struct answer *answer)
{
    replier.answer = answer;
    return live_ask(live, line, "");
}

static int setup(void **state)
{
    static struct live live;
    static struct config config;
    live_create(&live, &config, NULL);
    http_route_add(live.server, "all", HTTP_GET | HTTP_HEAD | HTTP_PREFIX, STR("/"), handler, NULL,
                   (struct pos){0}, live.diag);
    live_listen(&live);
    *state = &live;
    return 0;
}

static int teardown(void **state)
{
    live_destroy(*state);
    return 0;
}

static void test_what_the_origin_says_stays(void **state)
{
    const struct answer answer = {
        .status = 203,
        .length = 5,
        .headers = {"server", "origin/1", "set-cookie", "a=1", "set-cookie", "b=2"},
        .date = "Sun, 06 Nov 1994 08:49:37 GMT",
        .pieces = {"he", "llo"}};
    const char *got = ask(*state, "GET /", &answer);
    assert_has(got, "HTTP/1.1 203 Non-Authoritative Information\r\n");
    assert_has(got, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_has(got, "Content-Length: 5\r\n");
    assert_has(got, "server: origin/1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n");
    assert_has(got, "\r\n\r\nhello");
    assert_lacks(got, "gateway");
    assert_lacks(got, "content-type");
    assert_lacks(got, "nosniff");
    assert_has(got, "x-request-id: ");
}

static void test_what_the_origin_leaves_out_is_added(void **state)
{
    const struct answer answer = {.status = 200, .length = 0, .date = "yesterday"};
    const char *got = ask(*state, "GET /", &answer);
    assert_has(got, "server: gateway\r\n");
    assert_has(got, "\r\nDate: ");
    assert_lacks(got, "yesterday");
    assert_lacks(got, "1994");
}

static void test_bodies_without_a_length_end_in_chunks(void **state)
{
    static const int statuses[] = {200, 206, 404, 500};
    for (size_t i = 0; i < COUNT(statuses); i++) {
        struct answer answer = {
            .status = statuses[i], .length = UINT64_MAX, .pieces = {"abc", "defgh"}};
        const char *got = ask(*state, "GET /", &answer);
        assert_has(got, "\r\ntransfer-encoding: chunked\r\n");
        assert_has(got, "\r\n\r\n3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n");
        assert_null(strstr(strstr(got, "chunked") + 7, "chunked"));
        answer.pieces[0] = NULL;
        assert_has(ask(*state, "GET /", &answer), "\r\n\r\n0\r\n\r\n");
    }
}

static void test_the_head_goes_ahead_of_the_body(void **state)
{
    static const uint64_t lengths[] = {UINT64_MAX, 3};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        const struct answer answer = {.status = 200, .length = lengths[i], .pieces = {"", "abc"}};
        const char *got = ask(*state, "GET /", &answer);
        assert_has(got, i == 0 ? "\r\n\r\n3\r\nabc\r\n0\r\n\r\n" : "\r\n\r\nabc");
    }
}

static void test_no_body_no_framing(void **state)
{
    const struct answer nothing = {.status = 304, .length = UINT64_MAX},
                        head = {.status = 200, .length = UINT64_MAX},
                        long_head = {.status = 200, .length = 1000};
    assert_lacks(ask(*state, "GET /", &nothing), "chunked");
    assert_lacks(ask(*state, "HEAD /", &head), "chunked");
    assert_has(ask(*state, "HEAD /", &long_head), "Content-Length: 1000\r\n");
    const char *got = ask(*state, "HEAD /", &long_head);
    assert_string_equal(got + strlen(got) - 4, "\r\n\r\n");
}

static void test_a_cut_body_lacks_its_end(void **state)
{
    struct answer answer = {
        .status = 200, .length = UINT64_MAX, .pieces = {"abc", "def"}, .cut = true};
    const char *got = ask(*state, "GET /", &answer);
    assert_has(got, "3\r\nabc\r\n");
    assert_lacks(got, "\r\n0\r\n");
    answer.length = 100;
    assert_has(ask(*state, "GET /", &answer), "\r\n\r\nabc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_origin_says_stays),
        cmocka_unit_test(test_what_the_origin_leaves_out_is_added),
        cmocka_unit_test(test_bodies_without_a_length_end_in_chunks),
        cmocka_unit_test(test_the_head_goes_ahead_of_the_body),
        cmocka_unit_test(test_no_body_no_framing),
        cmocka_unit_test(test_a_cut_body_lacks_its_end),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
