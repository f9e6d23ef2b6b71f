/* What a page that begins early says of itself: the digest of its script, the policy that lets it
 * run, the resources to load; and what check says of mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "tests/unit/pages_site.h"

/* The page's own keys begin on line 12. */
#define HEAD                                                                       \
    "[upstreams.u]\nurl = \"http://127.0.0.1:9101\"\n[pages.home]\npath = \"/\"\n" \
    "template = \"index.html\"\n"
#define PARTS \
    "[pages.home.parts.fast]\nupstream = \"u\"\n[pages.home.parts.late]\nupstream = \"u\"\n"

static void open_page(struct pages_site *site, const char *keys, const char *parts)
{
    char *text;
    gw_assert(asprintf(&text, "%s%s%s", HEAD, keys, parts) > 0);
    site_open(site, text, "{{#defer.late}}{{late}}{{/defer.late}}");
    free(text);
}

static void test_the_digest_is_the_script_s(void **state)
{
    (void)state;
    static const char open[] = "<script>", close[] = "</script>";
    size_t length = strlen(stream_script) - (sizeof(open) - 1) - (sizeof(close) - 1);
    uint8_t digest[32];
    char text[64], source[80];
    assert_memory_equal(stream_script, open, sizeof(open) - 1);
    assert_string_equal(stream_script + sizeof(open) - 1 + length, close);
    sha256(stream_script + sizeof(open) - 1, length, digest);
    text[base64_encode(digest, sizeof(digest), text)] = '\0';
    snprintf(source, sizeof(source), "'sha256-%s'", text);
    assert_string_equal(source, stream_script_source);
}

static void test_the_policy_lets_the_script_run(void **state)
{
    (void)state;
    static const struct {
        const char *csp, *sent; /* HASH stands for the script's */
    } cases[] = {
        {"", "script-src 'self' HASH"},
        {"script-src 'self'", "script-src 'self' HASH"},
        {"script-src 'self' ; img-src *", "script-src 'self' HASH ; img-src *"},
        {"img-src *; Script-Src https://a.example/x", "img-src *; Script-Src https://a.example/x "
                                                      "HASH"},
        {"script-src 'none'", "script-src HASH"},
        {"script-src 'NONE'; img-src *", "script-src HASH; img-src *"},
        {"script-src", "script-src HASH"},
        {"default-src 'self'", "default-src 'self'; script-src 'self' HASH"},
        {"default-src 'none'; img-src *", "default-src 'none'; img-src *; script-src HASH"},
        {"default-src 'none'; script-src 'self'", "default-src 'none'; script-src 'self' HASH"},
        {"script-src 'self'; script-src-elem 'none'", "script-src 'self'; script-src-elem HASH"},
        {"img-src *", "img-src *; script-src 'self' HASH"},
        {"script-src-attr 'none'", "script-src-attr 'none'; script-src 'self' HASH"},
        /* a hash would keep out what else stands in the page */
        {"script-src 'self' 'unsafe-inline'", "script-src 'self' 'unsafe-inline'"},
        {"default-src 'Unsafe-Inline' *", "default-src 'Unsafe-Inline' *"},
        {"script-src 'unsafe-inline' 'nonce-abc'", "script-src 'unsafe-inline' 'nonce-abc' HASH"},
        {"script-src 'sha256-abc' 'unsafe-inline'", "script-src 'sha256-abc' 'unsafe-inline' HASH"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pages_site site;
        char keys[256], sent[256], *hash;
        snprintf(keys, sizeof(keys), "defer = [\"late\"]\ncsp = \"%s\"\n", cases[i].csp);
        open_page(&site, keys, PARTS);
        assert_int_equal(diag_errors(site.diag), 0);
        snprintf(sent, sizeof(sent), "%s", cases[i].sent);
        if ((hash = strstr(sent, "HASH")) != NULL)
            snprintf(hash, sizeof(sent) - (size_t)(hash - sent), "%s%s", stream_script_source,
                     strstr(cases[i].sent, "HASH") + 4);
        assert_string_equal(site.pages->pages[0].csp.p, sent);
        assert_int_equal(site.pages->pages[0].csp.n, strlen(sent));
        site_close(&site);
    }
}

static void test_without_deferred_parts_the_policy_is_as_it_was_written(void **state)
{
    (void)state;
    struct pages_site site;
    open_page(&site, "stream = true\ncsp = \"default-src 'self'\"\n", PARTS);
    assert_int_equal(diag_errors(site.diag), 0);
    assert_string_equal(site.pages->pages[0].csp.p, "default-src 'self'");
    assert_true(site.pages->pages[0].streams);
    site_close(&site);
}

static void test_preloads_tell_what_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *path, *link; /* NULL: an error */
    } cases[] = {
        {"/site.css", "</site.css>; rel=preload; as=style"},
        {"/site.CSS?v=1.2", "</site.CSS?v=1.2>; rel=preload; as=style"},
        {"/a.js", "</a.js>; rel=preload; as=script"},
        {"/f.woff2", "</f.woff2>; rel=preload; as=font; crossorigin"},
        {"https://cdn.example/a.webp", "<https://cdn.example/a.webp>; rel=preload; as=image"},
        {"/a.svg", "</a.svg>; rel=preload; as=image"},
        {"/a", NULL},
        {"/.css.txt", NULL},
        {"site.css", NULL},
        {"http://cdn.example/a.css", NULL},
        {"/a>b.css", NULL},
        {"/a b.css", NULL},
        {"/\\u00e4.css", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pages_site site;
        char keys[256];
        snprintf(keys, sizeof(keys), "preload = [\"%s\"]\n", cases[i].path);
        open_page(&site, keys, PARTS);
        assert_int_equal(diag_errors(site.diag), cases[i].link == NULL);
        if (cases[i].link != NULL)
            assert_string_equal(site.pages->pages[0].link.p, cases[i].link);
        site_close(&site);
    }
}

static void test_mistakes_are_told_where_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *parts, *messages;
    } cases[] = {
        {"defer = [\"late\"]\n", PARTS, ""},
        {"defer = [\"fast\", \"none\"]\n", PARTS,
         "gateway.toml:11:18: error: defer: the page has no part 'none'\n"},
        {"defer = [\"late\"]\n", PARTS "need = \"required\"\n",
         "gateway.toml:11:10: error: defer: part 'late' is required: the page's status hangs on "
         "it\n"},
        {"defer = [\"fast\"]\n", PARTS "path = \"/{fast.id}\"\n",
         "gateway.toml:11:9: error: defer: part 'late' needs 'fast', and isn't deferred\n"},
        {"defer = [\"fast\", \"late\"]\n", PARTS "path = \"/{fast.id}\"\n", ""},
        {"csp = \"\\u00e4\"\n", PARTS,
         "gateway.toml:11:7: error: csp: a header is one line of ASCII\n"},
        {"flush_after = \"2h\"\n", PARTS, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pages_site site;
        char *text = NULL;
        size_t n = 0;
        open_page(&site, cases[i].keys, cases[i].parts);
        FILE *to = open_memstream(&text, &n);
        diag_print(site.diag, to);
        fclose(to);
        if (cases[i].messages != NULL)
            assert_string_equal(text, cases[i].messages);
        else
            assert_int_equal(diag_errors(site.diag), 1);
        free(text);
        site_close(&site);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_digest_is_the_script_s),
        cmocka_unit_test(test_the_policy_lets_the_script_run),
        cmocka_unit_test(test_without_deferred_parts_the_policy_is_as_it_was_written),
        cmocka_unit_test(test_preloads_tell_what_they_are),
        cmocka_unit_test(test_mistakes_are_told_where_they_stand),
    };
    return cmocka_run_group_tests_name("pages that begin early", tests, NULL, NULL);
}
