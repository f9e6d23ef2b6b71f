/* What check says about parts that need each other, and the order that a sound page's parts get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/unit/pages_site.h"

/* The first part's header is on line 11. */
#define HEAD                                                                           \
    "[upstreams.u]\nurl = \"http://127.0.0.1:9101\"\n[pages.home]\npath = \"/{id}\"\n" \
    "deadline = \"800ms\"\n"
#define PART(name, more)     "[pages.home.parts." name "]\nupstream = \"u\"\n" more
#define FALLBACK(name, more) "[pages.home.parts." name ".fallback]\n" more
#define RECCO                PART("recco", "")

static void test_check_names_each_mistake_in_a_graph(void **state)
{
    (void)state;
    static const struct {
        const char *parts, *messages;
    } cases[] = {
        {RECCO PART("a", "path = \"/{recco.id}\"\nwhen = \"recco.id && query.x\"\n"), ""},
        {RECCO PART("a", "each = \"recco.items\"\npath = \"/{item.id}\"\ninto = \"a\"\n"), ""},

        /* circles */
        {PART("a", "path = \"/{a.id}\"\n"),
         "gateway.toml:13:8: error: parts need each other in a circle: a -> a\n"},
        {PART("a", "path = \"/{b.id}\"\n") PART("b", "path = \"/{a.id}\"\n"),
         "gateway.toml:13:8: error: parts need each other in a circle: a -> b -> a\n"},
        {PART("z", "path = \"/{a.id}\"\n") PART("a", "when = \"b.id\"\n")
             PART("b", "each = \"c.list\"\n")
                 PART("c", "method = \"POST\"\nbody = '{\"id\": \"{a.id}\"}'\n"),
         "gateway.toml:16:8: error: parts need each other in a circle: a -> b -> c -> a\n"},
        {PART("a", "timeout = \"9ms\"\n") FALLBACK("a", "path = \"/{b.id}\"\n")
             PART("b", "") "[pages.home.parts.b.headers]\nX-A = \"{a.id}\"\n",
         "gateway.toml:15:8: error: parts need each other in a circle: a -> b -> a\n"},
        {PART("a", "") "[pages.home.parts.a.headers]\nX-A = \"1\"\nX-B = \"{b.id}\"\n" PART(
             "b", "when = \"a\""),
         "gateway.toml:15:7: error: parts need each other in a circle: a -> b -> a\n"},
        /* two of them */
        {PART("a", "path = \"/{a.id}\"\n") PART("b", "path = \"/{b.id}\"\n"),
         "gateway.toml:13:8: error: parts need each other in a circle: a -> a\n"
         "gateway.toml:16:8: error: parts need each other in a circle: b -> b\n"},

        /* deadlines */
        {PART("a", "timeout = \"800ms\"\n"), ""},
        {PART("a", "timeout = \"801ms\"\n"),
         "gateway.toml:13:11: error: the timeout (801 ms) is longer than the page's deadline (800 "
         "ms)\n"},
        {PART("a", "timeout = \"400ms\"\n") FALLBACK("a", "path = \"/b\"\ntimeout = \"1s\"\n"),
         "gateway.toml:16:11: error: the timeout (1000 ms) is longer than the page's deadline (800 "
         "ms)\n"},
        {PART("a", "timeout = \"799ms\"\n") FALLBACK("a", "path = \"/b\"\n"), ""},
        {PART("a", "timeout = \"800ms\"\n") FALLBACK("a", "path = \"/b\"\n"),
         "gateway.toml:15:8: error: never asked after a timeout: the part's own call may take all "
         "of the page's deadline (800 of 800 ms); give the part a shorter timeout\n"},
        {PART("a", "") FALLBACK("a", "path = \"/b\"\n"), /* the upstream's 1s */
         "gateway.toml:14:8: error: never asked after a timeout: the part's own call may take all "
         "of the page's deadline (1000 of 800 ms); give the part a shorter timeout\n"},

        /* each */
        {PART("a", "each = \"a.items\"\n"),
         "gateway.toml:13:8: error: parts need each other in a circle: a -> a\n"},
        {RECCO PART("a", "each = \"query.items\"\n"),
         "gateway.toml:15:8: error: \"query.items\": the first name has to be that of a part\n"},
        {RECCO PART("a", "each = \"recco\"\ninto = \".\"\n"),
         "gateway.toml:16:8: error: with each, into is a place in each element, not the page's "
         "root\n"},
        {RECCO PART("a", "each = \"recco\"\nas = \"recco\"\n"),
         "gateway.toml:16:6: error: \"recco\" is the name of a part\n"},
        {RECCO PART("a", "each = \"recco\"\nas = \"query\"\n"),
         "gateway.toml:16:6: error: \"query\" is a reserved name\n"},
        {RECCO PART("a", "each = \"recco\"\nas = \"parts\"\n"),
         "gateway.toml:16:6: error: \"parts\" is a reserved name\n"},
        {RECCO PART("a", "each = \"recco\"\nas = \"x.y\"\n"),
         "gateway.toml:16:6: error: \"x.y\" can't be a name\n"},
        {RECCO PART("a", "as = \"recco\"\n"), ""}, /* nothing is called so */
        {RECCO PART("a", "batch = 10\n"),
         "gateway.toml:15:9: error: without each there is nothing to ask for in batches\n"},
        {RECCO PART("a", "each = \"recco\"\nby = \"id\"\npath = \"/{item.id}\"\n"),
         "gateway.toml:16:6: error: only a batch's answer is taken apart; add batch\n"},
        {RECCO PART("a", "each = \"recco\"\nbatch = 5\npath = \"/{recco.id}\"\n"),
         "gateway.toml:16:9: error: nothing in path or body says which elements a batch asks for; "
         "use {item}\n"},
        {RECCO PART("a", "each = \"recco\"\nbatch = 5\nmethod = \"POST\"\nbody = "
                         "'[\"{item.id}\"]'\n"),
         ""},

        /* bodies and what stands in */
        {PART("a", "body = '{}'\n"),
         "gateway.toml:13:8: error: a GET has no body; add method = \"POST\"\n"},
        {PART("a", "") FALLBACK("a", "static = {}\nstatic_file = \"/x.json\"\n"),
         "gateway.toml:15:15: error: static stands here already; either that or static_file\n"},
        {PART("a", "into = \".\"\n") FALLBACK("a", "static = [1]\n"),
         "gateway.toml:15:10: error: only an object can be spread into the page (into = \".\")\n"},
        {PART("a", "into = \".\"\n") FALLBACK("a", "static = {x = 1}\n"), ""},
        {PART("a", "") FALLBACK("a", "upstream = \"u\"\n"),
         "gateway.toml:14:12: error: without a path nobody is asked; add path\n"},
        {PART("a", "timeout = \"10ms\"\n") FALLBACK("a", "upstream = \"uu\"\npath = \"/b\"\n"),
         "gateway.toml:15:12: error: unknown upstream \"uu\"; did you mean \"u\"?\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pages_site site;
        char *messages, *text;
        size_t size;
        assert_true(asprintf(&text, "%s%s", HEAD, cases[i].parts) > 0);
        site_open(&site, text, NULL);
        FILE *to = open_memstream(&messages, &size);
        diag_print(site.diag, to);
        fclose(to);
        assert_string_equal(messages, cases[i].messages);
        free(messages);
        free(text);
        site_close(&site);
    }
}

static void test_a_page_has_at_most_64_parts(void **state)
{
    (void)state;
    for (size_t count = 64; count <= 65; count++) {
        struct pages_site site;
        char *text;
        size_t size;
        FILE *to = open_memstream(&text, &size);
        fputs(HEAD, to);
        for (size_t i = 0; i < count; i++) /* each but the first needs the one before */
            fprintf(to, PART("p%zu", "path = \"/{p%zu.id}\"\n"), i, i != 0 ? i - 1 : count);
        fclose(to);
        char *first = strstr(text, "path = \"/{p6");
        assert_non_null(first);
        memset(first, '#', strcspn(first, "\n"));
        site_open(&site, text, NULL);
        assert_int_equal(diag_errors(site.diag), count - 64);
        if (count == 64) {
            assert_int_equal(site.pages->pages[0].order[63], 63);
            assert_true(site.pages->pages[0].parts[63].awaits == (uint64_t)1 << 62);
        }
        free(text);
        site_close(&site);
    }
}

/* order: a part's number for each letter. */
static void test_parts_get_an_order_in_which_inputs_come_first(void **state)
{
    (void)state;
    static const struct {
        const char *parts, *order;
        bool repeats;
    } cases[] = {
        {PART("a", "path = \"/1\"\n") PART("b", "path = \"/2\"\n") PART("c", "path = \"/3\"\n"),
         "012", false},
        {PART("a", "path = \"/1/{c.x}\"\n") PART("b", "path = \"/2/{a.x}\"\n")
             PART("c", "path = \"/3\"\n"),
         "201", false},
        {PART("a", "path = \"/1\"\nwhen = \"!c.x\"\n") PART("b", "path = \"/2\"\n")
             PART("c", "path = \"/3\"\n"),
         "120", false},
        /* calls that may be the same, byte for byte */
        {PART("a", "path = \"/x\"\n") PART("b", "path = \"/x\"\n"), "01", true},
        {PART("a", "path = \"/x\"\n") PART("b", "path = \"/x\"\nmethod = \"POST\"\n"), "01", false},
        {PART("a", "path = \"/x\"\n") PART("b", "path = \"/{query.b}\"\n"), "01", true},
        {PART("a", "path = \"/x\"\n") PART("b", "path = \"/x{?query.b}\"\n"), "01", true},
        {PART("a", "path = \"/x\"\n") PART("b", "path = \"/x/{query.b}\"\n"), "01", false},
        {PART("a", "path = \"/x\"\ntimeout = \"9ms\"\n") FALLBACK("a", "path = \"/x\"\n"), "0",
         true},
        {PART("a", "path = \"/x\"\n") PART("b", "path = \"/y/{item}\"\neach = \"a\"\n"), "01",
         true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pages_site site;
        char *text, order[8] = "";
        assert_true(asprintf(&text, "%s%s", HEAD, cases[i].parts) > 0);
        site_open(&site, text, NULL);
        assert_int_equal(diag_errors(site.diag), 0);
        const struct page *page = &site.pages->pages[0];
        for (size_t k = 0; k < page->part_count; k++)
            order[k] = (char)('0' + page->order[k]);
        assert_string_equal(order, cases[i].order);
        assert_int_equal(page->repeats, cases[i].repeats);
        free(text);
        site_close(&site);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_names_each_mistake_in_a_graph),
        cmocka_unit_test(test_a_page_has_at_most_64_parts),
        cmocka_unit_test(test_parts_get_an_order_in_which_inputs_come_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
