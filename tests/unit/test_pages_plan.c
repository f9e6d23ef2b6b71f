/* What check says about pages, and what explain prints of a plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/unit/pages_site.h"

#define UPSTREAMS "[upstreams.promo]\nurl = \"http://127.0.0.1:9101/v1/\"\n"

static void test_check_names_each_mistake_in_a_page(void **state)
{
    (void)state;
    static const struct {
        const char *text, *template, *messages;
    } cases[] = {
        {UPSTREAMS "[pages.home]\npath = \"/\"\n[pages.home.parts.promo]\npath = \"/a\"\n", NULL,
         ""},
        {UPSTREAMS "[pages.home]\npath = \"/\"\n[pages.home.parts.promos]\n", NULL,
         "gateway.toml:10:1: error: unknown upstream \"promos\"; did you mean \"promo\"?\n"},
        {UPSTREAMS "[pages.home]\npath = \"/\"\n[pages.home.parts.a]\nupstream = \"shop\"\n", NULL,
         "gateway.toml:11:12: error: unknown upstream \"shop\"; add [upstreams.shop]\n"},
        {UPSTREAMS "[pages.home]\npath = \"/p/{id}/{*rest}\"\n[pages.home.parts.promo]\n"
                   "path = \"/a/{path.id}/{path.rest}/{path.ids}\"\n",
         NULL,
         "gateway.toml:11:35: error: the page's path has no parameter \"ids\"; did you mean "
         "\"path.id\"?\n"},
        {UPSTREAMS "[pages.home]\npath = \"/\"\n[pages.home.parts.promo]\ninto = \"parts.promo\"\n",
         NULL,
         "gateway.toml:11:8: error: \"parts\" is a reserved name: templates see the gateway's own "
         "data there\n"},
        {UPSTREAMS "[pages.home]\npath = \"/\"\ntemplate = \"index.html\"\n", NULL,
         "gateway.toml:10:12: error: no template \"index.html\" in DIR\n"},
        {UPSTREAMS "[pages.a]\npath = \"/x/{id}\"\n[pages.b]\npath = \"/x/{name}\"\n", NULL,
         "gateway.toml:11:8: error: path \"/x/{name}\" is also the path of \"a\"\n"},
        /* headers that would be sent twice, or cut the request in two */
        {UPSTREAMS "[pages.home]\npath = \"/\"\n[pages.home.parts.promo]\n"
                   "[pages.home.parts.promo.headers]\nHost = \"a\"\n\"X Y\" = \"b\"\n"
                   "Transfer-Encoding = \"chunked\"\nAccept-Language = \"de\"\nX-Fine = \"c\"\n",
         NULL,
         "gateway.toml:12:8: error: header 'Host' is sent by the upstream's own settings already\n"
         "gateway.toml:13:9: error: header 'X Y' isn't a header's name\n"
         "gateway.toml:14:21: error: header 'Transfer-Encoding' can't be set: it belongs to the "
         "connection\n"},
        /* all of them at once, in the order of the file */
        {UPSTREAMS "[pages.home]\npath = \"/\"\n[pages.home.parts.promo]\npath = \"a\"\n"
                   "select = \".\"\nallow = [\".b\"]\ndeny = [\"a..b\"]\ninto = \"*\"\n",
         NULL,
         "gateway.toml:11:9: error: a path begins with '/' (or is empty)\n"
         "gateway.toml:12:11: error: \".\" has an empty key\n"
         "gateway.toml:13:11: error: \".b\" has an empty key\n"
         "gateway.toml:14:12: error: \"a..b\" has an empty key\n"
         "gateway.toml:15:9: error: '*' stands for many values, here one is needed\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pages_site site;
        site_open(&site, cases[i].text, cases[i].template);
        char *messages;
        size_t size;
        FILE *to = open_memstream(&messages, &size);
        diag_print(site.diag, to);
        fclose(to);
        char *dir = strstr(messages, site.dir);
        if (dir != NULL) {
            memcpy(dir, "DIR", 3);
            memmove(dir + 3, dir + strlen(site.dir), strlen(dir + strlen(site.dir)) + 1);
        }
        assert_string_equal(messages, cases[i].messages);
        free(messages);
        site_close(&site);
    }
}

static void test_explain_prints_the_plan_with_the_requests_values(void **state)
{
    (void)state;
    static const char text[] =
        UPSTREAMS "timeout = \"300ms\"\n"
                  "[pages.product]\npath = \"/product/{id}\"\ndeadline = \"900ms\"\n"
                  "template = \"index.html\"\n"
                  "[pages.product.parts.product]\nupstream = \"promo\"\nneed = \"required\"\n"
                  "timeout = \"250ms\"\npath = \"/p/{path.id}\"\n"
                  "[pages.product.parts.promo]\npath = \"/promo{?query.user,query.lang}\"\n"
                  "select = \"data\"\ndeny = [\"a\", \"b.c\"]\ninto = \".\"\n";
    struct pages_site site;
    site_open(&site, text, "x");
    assert_int_equal(diag_errors(site.diag), 0);
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    h2o_headers_t headers = {NULL};
    struct http_request request;
    struct page *page = site_request(&site, "/product/4%202?user=a%26b", &pool, &headers, &request);
    char *plan;
    size_t size;
    FILE *to = open_memstream(&plan, &size);
    page_print_plan(page, &request, to);
    fclose(to);
    assert_string_equal(plan, "page product\n"
                              "  path      /product/{id}\n"
                              "  template  index.html\n"
                              "  deadline  900 ms\n"
                              "  parts     2, asked at the same time\n"
                              "\n"
                              "  part     upstream  need       timeout  starts   into\n"
                              "  product  promo     required    250 ms  at once  product\n"
                              "      GET http://127.0.0.1:9101/v1/p/4%202\n"
                              "      from /p/{path.id}\n"
                              "  promo    promo     optional    300 ms  at once  . (the root)\n"
                              "      GET http://127.0.0.1:9101/v1/promo?user=a%26b\n"
                              "      from /promo{?query.user,query.lang}\n"
                              "      select data\n"
                              "      deny a, b.c\n");
    free(plan);
    h2o_mem_clear_pool(&pool);
    site_close(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_names_each_mistake_in_a_page),
        cmocka_unit_test(test_explain_prints_the_plan_with_the_requests_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
