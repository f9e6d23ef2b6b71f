/* The upload page as a browser gets it: what stands in the form, in which order, escaped; what its
 * policy lets run; a template of the user's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "files/page.h"

struct site {
    char dir[64], file[80];
    struct diag *diag;
    struct config *config;
    struct template_set *templates;
    struct upload_page *page;
    h2o_mem_pool_t pool;
};

/* upload: what stands in [uploads.main] besides path and dir; own: of templates/own.html, NULL =
 * none. */
static void site_open(struct site *site, const char *upload, const char *own)
{
    static const char path[] = "path = \"/up\"\ndir = \"up\"\n";
    static const char tokens[] = "[tokens.ci]\ndigest = \"sha256:0123456789abcdef0123456789abcdef"
                                 "0123456789abcdef0123456789abcdef\"\n";
    char text[4096];
    snprintf(site->dir, sizeof(site->dir), "/tmp/test_upload_page_XXXXXX");
    assert_non_null(mkdtemp(site->dir));
    snprintf(site->file, sizeof(site->file), "%s/own.html", site->dir);
    if (own != NULL) {
        FILE *file = fopen(site->file, "w");
        assert_true(file != NULL && fputs(own, file) >= 0 && fclose(file) == 0);
    }
    snprintf(text, sizeof(text), "%s[uploads.main]\n%s%s", tokens, path, upload);
    site->diag = diag_create();
    site->config = config_parse(str_from(text), "gateway.toml", site->dir, site->diag);
    if (diag_errors(site->diag) != 0)
        diag_print(site->diag, stderr);
    assert_int_equal(diag_errors(site->diag), 0);
    site->templates = template_set_create(site->dir);
    site->page =
        upload_page_create(site->config, &site->config->uploads[0], site->templates, site->diag);
    h2o_mem_init_pool(&site->pool);
}

static const char *site_html(struct site *site, const char *action, const char *token)
{
    struct out out;
    h2o_iovec_t *vecs;
    out_init(&out, &site->pool, 0);
    assert_true(
        upload_page_render(site->page, str_from(action), str_from(token), &site->pool, &out));
    size_t size = out_size(&out), count = out_vecs(&out, &vecs);
    char *html = h2o_mem_alloc_pool(&site->pool, size + 1), *at = html;
    for (size_t i = 0; i < count; at += vecs[i++].len)
        memcpy(at, vecs[i].base, vecs[i].len);
    html[size] = '\0';
    return html;
}

static void site_close(struct site *site)
{
    upload_page_destroy(&site->page);
    assert_null(site->page);
    template_set_destroy(&site->templates);
    config_destroy(&site->config);
    diag_destroy(&site->diag);
    h2o_mem_clear_pool(&site->pool);
    unlink(site->file);
    rmdir(site->dir);
}

static const char *assert_contains(const char *html, const char *part)
{
    const char *at = strstr(html, part);
    if (at == NULL)
        fail_msg("no %s in the page", part);
    return at;
}

static void assert_contains_not(const char *html, const char *part)
{
    if (strstr(html, part) != NULL)
        fail_msg("%s in the page", part);
}

static void test_the_token_comes_first_then_the_fields_then_the_files(void **state)
{
    struct site site;
    (void)state;
    site_open(&site, "auth = \"public\"\nfields = [\"your_name\", \"comment\"]\n", NULL);
    const char *html = site_html(&site, "/up", "T0K");
    const char *form = assert_contains(
        html, "<form method=\"post\" action=\"/up\" enctype=\"multipart/form-data\">");
    const char *token = assert_contains(form, "<input type=\"hidden\" id=\"csrf\" "
                                              "name=\"csrf_token\" value=\"T0K\">");
    assert_ptr_equal(strstr(form, "<input"), token);
    const char *first = assert_contains(token, "name=\"your_name\"");
    assert_contains(token, "<span>Your name</span>");
    const char *second = assert_contains(first, "name=\"comment\"");
    const char *files = assert_contains(second, "<input id=\"files\" type=\"file\" name=\"file\" "
                                                "required multiple>");
    assert_contains(files, "<button type=\"submit\"");
    assert_contains_not(html, "id=\"token\"");
    site_close(&site);
}

static void test_whatever_is_in_it_is_escaped(void **state)
{
    struct site site;
    (void)state;
    site_open(&site,
              "auth = \"signed\"\nfields = ['\"><script>alert(1)</script>', 'a&b']\n"
              "redirect = '/\"><b>'\n",
              NULL);
    const char *html = site_html(&site, "/up?a=\"><i>&sig=x", "\"'><u>");
    assert_contains(html, "name=\"&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\"");
    assert_contains(html, "name=\"a&amp;b\"");
    assert_contains(html, "action=\"/up?a=&quot;&gt;&lt;i&gt;&amp;sig=x\"");
    assert_contains(html, "href=\"/&quot;&gt;&lt;b&gt;\"");
    static const char *const never[] = {"<script>alert", "<i>", "<u>", "<b>"};
    for (size_t i = 0; i < COUNT(never); i++)
        assert_contains_not(html, never[i]);
    site_close(&site);
}

static void test_limits_in_words_and_for_the_script(void **state)
{
    static const struct {
        const char *upload;
        const char *parts[5];
    } cases[] = {
        {"auth = \"public\"\nmax_size = \"1GiB\"\n",
         {"Up to 1 GiB each &middot; at most 16 files at a time", "data-max-size=\"1073741824\"",
          "data-max-files=\"16\"", "<title>Upload files</title>", "Choose files"}},
        {"auth = \"public\"\nmax_size = \"1500B\"\nmax_files = 1\n",
         {">Up to 1.5 KiB</p>", "data-max-size=\"1500\"", "<title>Upload a file</title>",
          "name=\"file\" required>", "Choose a file"}},
        {"auth = \"public\"\nmax_size = \"100B\"\nallow_types = [\"image/*\", \"application/pdf\", "
         "\"text/plain\", \"application/x-tar+z\"]\n",
         {"Only images, PDF, plain text, application/x-tar+z &middot; up to 100 B each",
          "accept=\"image/*,application/pdf,text/plain,application/x-tar+z\""}},
        {"auth = \"public\"\nmax_size = \"1023KiB\"\nallow_types = [\"video/*\"]\n",
         {"Only videos &middot; up to 1023 KiB each"}},
        {"auth = \"token\"\nmax_size = \"102359KiB\"\n",
         {"Up to 100 MiB each", "<input id=\"token\" type=\"password\"", "<noscript>"}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct site site;
        site_open(&site, cases[i].upload, NULL);
        const char *html = site_html(&site, "/up", "t");
        for (size_t k = 0; k < COUNT(cases[i].parts) && cases[i].parts[k] != NULL; k++)
            assert_contains(html, cases[i].parts[k]);
        site_close(&site);
    }
}

static void assert_allowed(const char *html, const char *open, const char *close,
                           const char *policy, const char *directive)
{
    uint8_t hash[32];
    char encoded[BASE64_LENGTH(32) + 1], expected[256];
    const char *from = assert_contains(html, open) + strlen(open), *to = strstr(from, close);
    assert_non_null(to);
    assert_true(to - from > 1000);
    assert_null(strstr(to + 1, open)); /* there is one of them */
    sha256(from, (size_t)(to - from), hash);
    base64_encode(hash, sizeof(hash), encoded);
    snprintf(expected, sizeof(expected), "%s 'sha256-%s';", directive, encoded);
    assert_contains(policy, expected);
}

static void test_the_policy_lets_the_pages_own_script_and_style_run_and_no_other(void **state)
{
    struct site site;
    char policy[4096];
    (void)state;
    site_open(&site, "auth = \"public\"\n", NULL);
    const char *html = site_html(&site, "/up", "t");
    struct str text = upload_page_policy(site.page);
    snprintf(policy, sizeof(policy), "%.*s", (int)text.n, text.p);
    assert_allowed(html, "<script>", "</script>", policy, "script-src");
    assert_allowed(html, "<style>", "</style>", policy, "style-src");
    assert_contains(policy, "default-src 'none'; ");
    assert_contains(policy, "; connect-src 'self'; form-action 'self'; base-uri 'none'; "
                            "frame-ancestors 'none'");
    assert_contains_not(policy, "unsafe");
    assert_contains_not(html, " style=");
    assert_contains_not(html, " onclick=");
    site_close(&site);
}

static void test_a_form_may_lead_to_another_site_when_it_is_configured(void **state)
{
    static const struct {
        const char *redirect, *action;
    } cases[] = {
        {"/done", "; form-action 'self'; "},
        {"https://a.example/done?x;y", "; form-action 'self' https://a.example; "},
        {"http://a.example:8080", "; form-action 'self' http://a.example:8080; "},
        {"http://a.example; script-src *", "; form-action 'self' http://a.example; base"},
        {"https:/x", "; form-action 'self'; "},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct site site;
        char upload[256], policy[4096];
        snprintf(upload, sizeof(upload), "auth = \"public\"\nredirect = \"%s\"\n",
                 cases[i].redirect);
        site_open(&site, upload, NULL);
        struct str text = upload_page_policy(site.page);
        snprintf(policy, sizeof(policy), "%.*s", (int)text.n, text.p);
        assert_contains(policy, cases[i].action);
        site_close(&site);
    }
}

static void test_a_template_of_the_users_own(void **state)
{
    struct site site;
    char policy[4096];
    (void)state;
    site_open(&site,
              "auth = \"public\"\ntemplate = \"own.html\"\nfields = [\"a\"]\nmax_files = 3\n",
              "{{title}}|{{action}}|{{csrf_token}}|{{#fields}}{{name}}={{label}}{{/fields}}|"
              "{{max_size.bytes}}|{{max_size.text}}|{{max_files}}|{{redirect}}|"
              "<style>{{{style}}}</style><script>{{{script}}}</script>");
    assert_int_equal(diag_errors(site.diag), 0);
    const char *html = site_html(&site, "/up", "t");
    assert_ptr_equal(assert_contains(html, "Upload files|/up|t|a=A|1073741824|1 GiB|3|/|"), html);
    struct str text = upload_page_policy(site.page);
    snprintf(policy, sizeof(policy), "%.*s", (int)text.n, text.p);
    assert_allowed(html, "<script>", "</script>", policy, "script-src 'self'");
    assert_allowed(html, "<style>", "</style>", policy, "style-src 'self'");
    assert_contains(policy, "default-src 'self'; ");
    site_close(&site);
}

static void test_a_broken_template_is_told_where_it_is_broken(void **state)
{
    struct site site;
    char *printed = NULL;
    size_t size;
    (void)state;
    site_open(&site, "auth = \"public\"\ntemplate = \"own.html\"\n", "one\n{{#fields}}\n");
    assert_int_equal(diag_errors(site.diag), 1);
    FILE *to = open_memstream(&printed, &size);
    diag_print(site.diag, to);
    fclose(to);
    assert_contains(printed, "own.html:2:");
    free(printed);
    site_close(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_token_comes_first_then_the_fields_then_the_files),
        cmocka_unit_test(test_whatever_is_in_it_is_escaped),
        cmocka_unit_test(test_limits_in_words_and_for_the_script),
        cmocka_unit_test(test_the_policy_lets_the_pages_own_script_and_style_run_and_no_other),
        cmocka_unit_test(test_a_form_may_lead_to_another_site_when_it_is_configured),
        cmocka_unit_test(test_a_template_of_the_users_own),
        cmocka_unit_test(test_a_broken_template_is_told_where_it_is_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
