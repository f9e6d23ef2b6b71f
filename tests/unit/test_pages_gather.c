/* Parts whose data a caller wants, as a certificate's: compiled from a configuration, run for real
 * requests against a real upstream; what the caller is given, and what the client is told when the
 * caller is not asked. */
#include "tests/unit/http_live.h"

#include "pages/pages_internal.h"
#include "tests/unit/upstreams_origin.h"

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

/* A gateway whose "/issue/{id}" gathers the parts of [certificates.course]. */
struct site {
    struct live live;
    struct config *config;
    struct upstreams *ups;
    struct offload *names;
    struct up_client *client;
    struct template_set *templates;
    struct pages *pages;
    struct page *parts;
    unsigned done; /* calls of gathered() */
};

static const struct str field_names[] = {STR("name"), STR("none")};

/* The fields are the query's parameters of the same names. */
static struct str field(void *arg, struct str name)
{
    return http_query(arg, name);
}

static struct site *here;

static void gathered(struct http_request *request, struct json_value data, void *arg)
{
    struct out out;
    assert_ptr_equal(arg, request);
    here->done++;
    out_init(&out, request->pool, 0);
    json_write(&out, data);
    for (size_t i = 0; i < request->part_count; i++) { /* what the log will have */
        out_str(&out, STR(" "));
        out_str(&out, request->parts[i].name);
        out_str(&out, STR("="));
        out_str(&out, str_from(request->parts[i].state));
    }
    http_reply(request, 200, "text/plain; charset=utf-8", &out);
}

static void issue(struct http_request *request, void *arg)
{
    (void)arg;
    page_gather(here->parts, request, field, gathered, request);
}

/* parts: sections, from line 9 on. */
static void open_site(struct site *site, const char *parts)
{
    char *text;
    struct pos at = {0};
    *site = (struct site){.done = 0};
    here = site;
    assert_true(asprintf(&text,
                         "[admin]\nlisten = \"\"\ncontrol = \"\"\n"
                         "[upstreams.u]\nurl = \"http://127.0.0.1:%d\"\n"
                         "[certificates.course]\npath = \"/issue/{id}\"\ntemplate = \"c.svg\"\n"
                         "register = false\ndeadline = \"300ms\"\n%s",
                         origin.port, parts) > 0);
    struct diag *diag = diag_create();
    site->config = config_parse(str_from(text), "gateway.toml", "/nonexistent", diag);
    free(text);
    diag_print(diag, stderr);
    assert_int_equal(diag_errors(diag), 0);
    diag_destroy(&diag);
    site->config->server.server_timing = true;
    live_create(&site->live, site->config, NULL);
    site->ups = upstreams_create(site->config, site->live.diag);
    site->templates = template_set_create("/nonexistent");
    site->pages =
        pages_create(site->config, site->ups, site->templates, site->live.server, site->live.diag);
    const struct http_route *route =
        http_route_add(site->live.server, "course", HTTP_GET, STR("/issue/{id}"), issue, NULL, at,
                       site->live.diag);
    site->parts = pages_add_parts(site->pages, &site->config->certificates[0].asked, route,
                                  field_names, COUNT(field_names), site->live.diag);
    site->names = offload_create("names", 1, 1);
    site->client = up_client_create(site->ups, site->live.loop, site->names);
    pages_set_client(site->pages, site->live.loop, site->client, NULL);
    live_listen(&site->live);
}

static void close_site(struct site *site)
{
    http_loop_destroy(&site->live.http);
    up_client_destroy(&site->client);
    offload_destroy(&site->names);
    pages_destroy(&site->pages);
    upstreams_destroy(&site->ups);
    template_set_destroy(&site->templates);
    live_destroy(&site->live);
    config_destroy(&site->config);
}

#define PART(name, path, more) \
    "[certificates.course.parts." name "]\nupstream = \"u\"\npath = \"" path "\"\n" more
#define REQUIRED "need = \"required\"\n"

static void test_fields_of_the_caller_go_into_urls_and_data_comes_back(void **state)
{
    (void)state;
    struct site site;
    open_site(&site, PART("learner", "/json/{field.name}{?query.q,path.id,field.none}", "")
                         PART("course", "/json", "select = \"target\"\ninto = \"about.course\"\n"));
    assert_non_null(site.parts);
    const char *answer = live_ask(&site.live, "GET /issue/7?name=Zo%C3%AB+%2F&q=1", "");
    assert_has(answer, "HTTP/1.1 200 ");
    assert_has(answer, "\r\n\r\n{\"learner\":{\"target\":\"/json/Zo%C3%AB%20%2F?q=1&id=7\"},"
                       "\"about\":{\"course\":\"/json\"}} learner=ok course=ok");
    assert_has(answer, "\r\nserver-timing: learner;dur=");
    assert_lacks(answer, "proxy-status");
    assert_lacks(answer, "x-page-completed"); /* it isn't one */
    assert_lacks(answer, "cache-control");    /* the caller's to say */
    assert_int_equal(site.done, 1);
    close_site(&site);
}

static void test_parts_that_need_each_other_and_fields(void **state)
{
    (void)state;
    struct site site;
    open_site(&site, PART("learner", "/json/{field.name}", "")
                         PART("course", "/json{?learner.target,field.name}", REQUIRED)
                             PART("never", "/json", "when = \"field.none\"\n"));
    assert_non_null(site.parts);
    const char *answer = live_ask(&site.live, "GET /issue/7?name=Zo", "");
    assert_has(answer, "\r\n\r\n{\"learner\":{\"target\":\"/json/Zo\"},"
                       "\"course\":{\"target\":\"/json?target=%2Fjson%2FZo&name=Zo\"},"
                       "\"never\":null} learner=ok course=ok never=skipped");
    assert_int_equal(site.done, 1);
    answer = live_ask(&site.live, "GET /issue/7?name=..", ""); /* before the first is asked */
    assert_has(answer, "HTTP/1.1 400 ");
    assert_int_equal(site.done, 1);
    close_site(&site);
}

static void test_an_optional_part_that_failed_is_null(void **state)
{
    (void)state;
    struct site site;
    open_site(&site, PART("learner", "/json", REQUIRED) PART("badge", "/404", ""));
    const char *answer = live_ask(&site.live, "GET /issue/7", "");
    assert_has(answer, "\r\n\r\n{\"learner\":{\"target\":\"/json\"},\"badge\":null} learner=ok "
                       "badge=error");
    assert_has(answer, "\r\nproxy-status: gateway; next-hop=\"u\"; received-status=404; "
                       "details=\"badge error\"\r\n");
    close_site(&site);
}

static void test_without_parts_the_caller_goes_on_at_once(void **state)
{
    (void)state;
    struct site site;
    open_site(&site, "");
    assert_non_null(site.parts);
    assert_has(live_ask(&site.live, "GET /issue/7", ""), "\r\n\r\n{}");
    assert_int_equal(site.done, 1);
    close_site(&site);
}

static void test_a_required_part_that_failed_is_the_answer(void **state)
{
    (void)state;
    static const struct {
        const char *path, *status, *type, *detail;
    } cases[] = {
        {"/404", "HTTP/1.1 502 ", "/problems/upstream-failed", "part 'learner' answered 404"},
        {"/hello-not", "HTTP/1.1 502 ", "/problems/upstream-failed", "answered 400"},
        {"/reset", "HTTP/1.1 502 ", "/problems/upstream-failed", "failed: connection_terminated"},
        {"/late", "HTTP/1.1 504 ", "/problems/upstream-timeout", "gave no response within 3"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct site site;
        char *parts;
        assert_true(asprintf(&parts, PART("learner", "%s", REQUIRED) PART("badge", "/json", ""),
                             cases[i].path) > 0);
        open_site(&site, parts);
        free(parts);
        const char *answer = live_ask(&site.live, "GET /issue/7", "Accept: application/json\r\n");
        assert_has(answer, cases[i].status);
        assert_has(answer, "\r\ncontent-type: application/problem+json\r\n");
        assert_has(answer, "\r\ncache-control: no-store\r\n");
        assert_has(answer, "\r\nvary: Accept\r\n");
        assert_has(answer, "\r\nproxy-status: gateway; next-hop=\"u\"; ");
        assert_has(answer, "\r\nserver-timing: learner;dur=");
        assert_has(answer, cases[i].type);
        assert_has(answer, cases[i].detail);
        assert_has(answer, "\"parts\":[{\"name\":\"learner\",\"required\":true,");
        assert_lacks(answer, "x-page-completed");
        answer = live_ask(&site.live, "GET /issue/7", "Accept: text/html\r\n");
        assert_has(answer, cases[i].status);
        assert_has(answer, "\r\ncontent-type: text/html; charset=utf-8\r\n");
        assert_has(answer, "<h1>A required part ");
        assert_int_equal(site.done, 0);
        close_site(&site);
    }
}

static void test_a_value_that_cannot_be_used_asks_nobody(void **state)
{
    (void)state;
    struct site site;
    open_site(&site, PART("badge", "/json", "") PART("learner", "/json/{field.name}", ""));
    unsigned before = atomic_load(&origin.asked);
    const char *answer = live_ask(&site.live, "GET /issue/7?name=..", "");
    assert_has(answer, "HTTP/1.1 400 ");
    answer = live_ask(&site.live, "GET /issue/7?name=..", "Accept: application/json\r\n");
    assert_has(answer, "HTTP/1.1 400 ");
    assert_has(answer, "/problems/bad-value");
    assert_has(answer, "\"detail\":\"field.name would leave its segment of a path\"");
    assert_int_equal(atomic_load(&origin.asked), before);
    assert_int_equal(site.done, 0);
    close_site(&site);
}

static void test_a_client_that_left_is_not_worked_for(void **state)
{
    (void)state;
    struct site site;
    open_site(&site, PART("learner", "/late", REQUIRED));
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = site.live.server->listeners[0]->address.sa.v4.sin_port,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char request[] = "GET /issue/7 HTTP/1.1\r\nHost: a\r\n\r\n";
    unsigned before = atomic_load(&origin.asked);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
    for (int i = 0; i < 1000 && atomic_load(&origin.asked) == before; i++)
        loop_turn(site.live.loop, 1);
    struct upstream *up = upstream_find(site.ups, STR("u"));
    assert_int_equal(upstream_stats(up).inflight, 1);
    close(fd);
    for (int i = 0; i < 1000 && upstream_stats(up).inflight != 0; i++)
        loop_turn(site.live.loop, 1);
    assert_int_equal(upstream_stats(up).inflight, 0);
    assert_int_equal(site.done, 0);
    close_site(&site);
}

/* -- configurations ---------------------------------------------------------------------------- */

static void test_check_tells_what_is_wrong_with_parts(void **state)
{
    (void)state;
    static const struct {
        const char *parts, *messages;
    } cases[] = {
        {PART("a", "/{field.name}/{path.id}/{header.x}", ""), ""},
        {PART("a", "/{path.ids}", ""),
         "gateway.toml:13:11: error: the page's path has no parameter \"ids\"; did you mean "
         "\"path.id\"?\n"},
        {PART("a", "/{form.name}", ""), "gateway.toml:13:11: error: unknown namespace \"form\" "
                                        "(known: path, query, header, cookie, "
                                        "field and the page's parts)\n"},
        {PART("a", "/{field.nmae}", ""), "gateway.toml:13:11: error: no field \"nmae\" comes from "
                                         "the request; did you mean \"field.name\"?\n"},
        {"[certificates.course.parts.a]\nupstream = \"v\"\n",
         "gateway.toml:12:12: error: unknown upstream \"v\"; did you mean \"u\"?\n"},
        {PART("a", "", "into = \"request.a\"\n"), "gateway.toml:14:8: error: \"request\" is a "
                                                  "reserved name: templates see the gateway's own "
                                                  "data there\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct site site;
        char *messages;
        size_t size;
        open_site(&site, cases[i].parts);
        FILE *to = open_memstream(&messages, &size);
        diag_print(site.live.diag, to);
        fclose(to);
        assert_string_equal(messages, cases[i].messages);
        assert_int_equal(site.parts != NULL, cases[i].messages[0] == '\0');
        free(messages);
        close_site(&site);
    }
}

static void test_without_a_route_any_parameter_may_be_one(void **state)
{
    (void)state;
    struct site site;
    open_site(&site, PART("a", "/{path.id}", ""));
    struct diag *diag = diag_create();
    assert_non_null(pages_add_parts(site.pages, &site.config->certificates[0].asked, NULL,
                                    field_names, COUNT(field_names), diag));
    assert_int_equal(diag_errors(diag), 0);
    diag_destroy(&diag);
    close_site(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_of_the_caller_go_into_urls_and_data_comes_back),
        cmocka_unit_test(test_parts_that_need_each_other_and_fields),
        cmocka_unit_test(test_an_optional_part_that_failed_is_null),
        cmocka_unit_test(test_without_parts_the_caller_goes_on_at_once),
        cmocka_unit_test(test_a_required_part_that_failed_is_the_answer),
        cmocka_unit_test(test_a_value_that_cannot_be_used_asks_nobody),
        cmocka_unit_test(test_a_client_that_left_is_not_worked_for),
        cmocka_unit_test(test_check_tells_what_is_wrong_with_parts),
        cmocka_unit_test(test_without_a_route_any_parameter_may_be_one),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_origin, stop_origin);
}
