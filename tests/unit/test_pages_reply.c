/* What becomes of a run's parts: the JSON reply, what a template sees, who wins where parts meet.
 * The runs are made by hand, so that no clock and no network decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/unit/pages_site.h"

enum { MAX_PARTS = 4 };

/* How a part of a page ended. answer: its JSON; NULL = it failed in `state`. */
struct ended {
    const char *answer;
    enum part_state state;
    int status;
    const char *error;
};

struct made_run {
    h2o_mem_pool_t pool;
    h2o_headers_t headers;
    struct http_request request;
    struct page_loop loop;
    struct json_doc docs[MAX_PARTS];
    struct page_run *run;
};

static void make_run(struct made_run *made, struct pages_site *site, const char *target,
                     const struct ended *parts)
{
    *made = (struct made_run){0};
    h2o_mem_init_pool(&made->pool);
    struct page *page = site_request(site, target, &made->pool, &made->headers, &made->request);
    struct page_run *run = made->run =
        h2o_mem_alloc_pool(&made->pool, sizeof(*run) + page->part_count * sizeof(run->parts[0]));
    *run = (struct page_run){
        .page = page, .request = &made->request, .loop = &made->loop, .over = true};
    struct access_part *records =
        h2o_mem_alloc_pool(&made->pool, page->part_count * sizeof(*records));
    assert_true(page->part_count <= MAX_PARTS);
    for (size_t i = 0; i < page->part_count; i++) {
        struct json_value value = json_null();
        json_doc_init(&made->docs[i]);
        if (parts[i].answer != NULL) {
            assert_int_equal(
                json_parse(&made->docs[i], parts[i].answer, strlen(parts[i].answer), 128, NULL),
                JSON_OK);
            value = json_root(&made->docs[i]);
        }
        records[i] = (struct access_part){.name = page->config->parts[i].name,
                                          .state = part_state_name(parts[i].state),
                                          .error = parts[i].error,
                                          .status = parts[i].status,
                                          .us = (uint32_t)(12345 * (i + 1)),
                                          .attempts = 1};
        run->parts[i] = (struct part_run){.run = run,
                                          .plan = &page->parts[i],
                                          .record = &records[i],
                                          .state = parts[i].state,
                                          .value = value};
    }
}

static void free_run(struct made_run *made)
{
    for (size_t i = 0; i < MAX_PARTS; i++)
        json_doc_fini(&made->docs[i]);
    h2o_mem_clear_pool(&made->pool);
}

#define OK(text)                 \
    {                            \
        text, PART_OK, 200, NULL \
    }
#define FAILED                      \
    {                               \
        NULL, PART_ERROR, 500, NULL \
    }

#define TWO_PARTS                                                               \
    "[upstreams.u]\nurl = \"http://127.0.0.1:1\"\n[pages.home]\npath = \"/\"\n" \
    "template = \"index.html\"\n"                                               \
    "[pages.home.parts.promo]\nupstream = \"u\"\n[pages.home.parts.recco]\nupstream = \"u\"\n"

static void test_json_reply_has_data_and_meta_in_configured_order(void **state)
{
    (void)state;
    static const struct {
        struct ended parts[2];
        const char *data, *completed, *parts_text;
    } cases[] = {
        {{OK("{ \"z\":1.10 ,\"a\":[] }"), OK("[1e2]")},
         "{\"promo\":{ \"z\":1.10 ,\"a\":[] },\"recco\":[1e2]}",
         "true",
         "{\"promo\":{\"state\":\"ok\",\"status\":200,\"ms\":12,\"attempts\":1},"
         "\"recco\":{\"state\":\"ok\",\"status\":200,\"ms\":24,\"attempts\":1}}"},
        {{{NULL, PART_TIMEOUT, 0, "http_response_timeout"}, FAILED},
         "{\"promo\":null,\"recco\":null}",
         "false",
         "{\"promo\":{\"state\":\"timeout\",\"status\":0,\"ms\":12,\"attempts\":1,"
         "\"error\":\"http_response_timeout\"},"
         "\"recco\":{\"state\":\"error\",\"status\":500,\"ms\":24,\"attempts\":1}}"},
    };
    struct pages_site site;
    site_open(&site, TWO_PARTS, "");
    assert_int_equal(diag_errors(site.diag), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct made_run made;
        make_run(&made, &site, "/", cases[i].parts);
        struct out out;
        out_init(&out, &made.pool, 0);
        reply_write_json(made.run, &out);
        struct str text = out_text(&made.pool, &out);
        char *expected;
        gw_assert(asprintf(&expected,
                           "{\"data\":%s,\"meta\":{\"completed\":%s,\"generated_at\":\"%s\","
                           "\"request_id\":\"id-1\",\"parts\":%s}}\n",
                           cases[i].data, cases[i].completed, made.loop.now_text,
                           cases[i].parts_text) > 0);
        assert_string_equal(text.p, expected);
        int year, day, second, length = 0;
        assert_int_equal(sscanf(made.loop.now_text, "%4d-%*2d-%2dT%*2d:%*2d:%2dZ%n", &year, &day,
                                &second, &length),
                         3);
        assert_int_equal(length, 20);
        free(expected);
        free_run(&made);
    }
    site_close(&site);
}

static void test_templates_see_data_parts_request_and_page(void **state)
{
    (void)state;
    static const char template_text[] =
        "{{promo.title}}|{{#recco}}{{id}},{{/recco}}{{^recco}}none{{/recco}}|"
        "{{parts.promo.state}} {{parts.promo.status}} {{parts.promo.ms}} {{parts.promo.age}}|"
        "{{parts.recco.state}} {{parts.recco.status}} [{{parts.recco.age}}]|"
        "{{#parts.promo.is.ok}}ok{{/parts.promo.is.ok}}{{#parts.promo.is.timeout}}!{{/"
        "parts.promo.is.timeout}}"
        "{{#parts.recco.is.timeout}}late{{/parts.recco.is.timeout}}|"
        "{{request.method}} {{request.host}} {{request.path}} {{request.id}} "
        "{{request.query.q}} {{request.query.empty}}.{{request.query.none}} "
        "{{request.query.gr\xc3\xb6\xc3\x9f"
        "e}}|"
        "{{page.name}} {{page.complete}}";
    struct pages_site site;
    site_open(&site, TWO_PARTS, template_text);
    assert_int_equal(diag_errors(site.diag), 0);
    const struct ended parts[] = {OK("{\"title\":\"a < b\"}"),
                                  {NULL, PART_TIMEOUT, 0, "http_response_timeout"}};
    struct made_run made;
    make_run(&made, &site, "/?q=%3Cb%3E+c&empty&q=second&%71=x&gr%C3%B6%C3%9Fe=%58L", parts);
    struct out out;
    out_init(&out, &made.pool, 0);
    assert_true(template_render(made.run->page->template, view_root(made.run), &made.pool, &out));
    assert_string_equal(out_text(&made.pool, &out).p,
                        "a &lt; b|none|ok 200 12 0|timeout 0 []|oklate|"
                        "GET shop.example / id-1 &lt;b&gt; c . XL|home false");
    free_run(&made);
    site_close(&site);
}

static void test_a_template_that_reads_no_states_gets_none(void **state)
{
    (void)state;
    struct pages_site site;
    site_open(&site, TWO_PARTS, "{{promo}}");
    const struct ended parts[] = {OK("1"), OK("2")};
    struct made_run made;
    make_run(&made, &site, "/", parts);
    assert_int_equal(json_count(view_root(made.run)), 2);
    free_run(&made);
    site_close(&site);
}

#define PART(name, into) "[pages.home.parts." name "]\nupstream = \"u\"\ninto = \"" into "\"\n"

static void test_parts_meet_where_into_says(void **state)
{
    (void)state;
    static const struct {
        const char *config; /* parts */
        struct ended parts[3];
        const char *data;
        unsigned collisions;
    } cases[] = {
        {PART("a", "shop.promo") PART("b", "shop.items"),
         {OK("{\"x\":1}"), OK("[2]")},
         "{\"shop\":{\"promo\":{\"x\":1},\"items\":[2]}}",
         0},
        {PART("a", ".") PART("b", ""),
         {OK("{\"x\":1,\"y\":{\"z\":2}}"), OK("3")},
         "{\"x\":1,\"y\":{\"z\":2},\"b\":3}",
         0},
        /* objects merge deeply; the later part wins, in the place of the first appearance */
        {PART("a", ".") PART("b", "."),
         {OK("{\"s\":{\"n\":\"A\",\"o\":1},\"x\":1}"), OK("{\"s\":{\"n\":\"B\"},\"w\":2}")},
         "{\"s\":{\"n\":\"B\",\"o\":1},\"x\":1,\"w\":2}",
         1},
        {PART("a", "shop") PART("b", "shop"), {OK("[1]"), OK("[2]")}, "{\"shop\":[2]}", 1},
        {PART("a", "b.c") PART("b", ""), {OK("1"), OK("2")}, "{\"b\":2}", 1},
        {PART("a", "") PART("b", "a.c"),
         {OK("{\"d\":1}"), OK("2")},
         "{\"a\":{\"d\":1,\"c\":2}}",
         0},
        {PART("a", ".") PART("b", ".") PART("c", "."),
         {OK("{\"x\":1}"), OK("{\"x\":2}"), OK("{\"x\":3}")},
         "{\"x\":3}",
         2},
        /* no data takes nobody's place */
        {PART("a", "shop.promo") PART("b", "shop.items"),
         {FAILED, OK("[2]")},
         "{\"shop\":{\"items\":[2],\"promo\":null}}",
         0},
        {PART("a", "shop") PART("b", "shop"), {OK("{\"x\":1}"), FAILED}, "{\"shop\":{\"x\":1}}", 0},
        {PART("a", "shop") PART("b", "shop.x.y"),
         {OK("{\"x\":1}"), FAILED},
         "{\"shop\":{\"x\":1}}",
         0},
        {PART("a", "shop") PART("b", "shop"), {FAILED, FAILED}, "{\"shop\":null}", 0},
        {PART("a", "shop") PART("b", "shop"),
         {OK("{\"x\":1}"), OK("null")},
         "{\"shop\":{\"x\":1}}",
         0},
        {PART("a", ".") PART("b", ""), {FAILED, FAILED}, "{\"b\":null}", 0},
        {PART("a", "."), {FAILED}, "{}", 0},
        {PART("a", "."), {OK("{}")}, "{}", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *text;
        gw_assert(asprintf(&text,
                           "[upstreams.u]\nurl = \"http://127.0.0.1:1\"\n[pages.home]\n"
                           "path = \"/\"\n%s",
                           cases[i].config) > 0);
        struct pages_site site;
        site_open(&site, text, NULL);
        assert_int_equal(diag_errors(site.diag), 0);
        struct made_run made;
        make_run(&made, &site, "/", cases[i].parts);
        struct out out;
        out_init(&out, &made.pool, 0);
        json_write(&out, view_data(made.run));
        assert_string_equal(out_text(&made.pool, &out).p, cases[i].data);
        assert_int_equal(atomic_load(&made.run->page->collisions), cases[i].collisions);
        free_run(&made);
        site_close(&site);
        free(text);
    }
}

static void test_spread_data_cannot_hide_the_reserved_names(void **state)
{
    (void)state;
    struct pages_site site;
    site_open(&site,
              "[upstreams.u]\nurl = \"http://127.0.0.1:1\"\n[pages.home]\npath = \"/\"\n"
              "template = \"index.html\"\n" PART("a", "."),
              "{{x}} {{parts.a.state}} {{page.name}} {{request.method}}{{request.evil}}");
    const struct ended parts[] = {
        OK("{\"parts\":1,\"x\":2,\"page\":{\"name\":\"z\"},\"request\":{\"evil\":1}}")};
    struct made_run made;
    make_run(&made, &site, "/", parts);
    struct out out;
    out_init(&out, &made.pool, 0);
    template_render(made.run->page->template, view_root(made.run), &made.pool, &out);
    assert_string_equal(out_text(&made.pool, &out).p, "2 ok home GET");
    free_run(&made);
    site_close(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_reply_has_data_and_meta_in_configured_order),
        cmocka_unit_test(test_templates_see_data_parts_request_and_page),
        cmocka_unit_test(test_a_template_that_reads_no_states_gets_none),
        cmocka_unit_test(test_parts_meet_where_into_says),
        cmocka_unit_test(test_spread_data_cannot_hide_the_reserved_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
