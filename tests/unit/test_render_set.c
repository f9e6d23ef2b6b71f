/* What goes wrong in templates and where it is reported; templates on disk and the way out of their
 * folder. */
#include "tests/unit/test_render.h"
#include <sys/stat.h>
#include <unistd.h>

static void test_mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *template, *errors;
    } rows[] = {
        {"{{#a}}", "page:1:1: error: {{#a}} is never closed\n"},
        {"x\n {{^a.b}}\n", "page:2:2: error: {{^a.b}} is never closed\n"},
        {"{{$a}}{{<b}}", "page:1:1: error: {{$a}} is never closed\n"
                         "page:1:7: error: {{<b}} is never closed\n"},
        {"{{<*a}}", "page:1:1: error: {{<*a}} is never closed\n"},
        {"{{/a}}", "page:1:1: error: {{/a}} closes nothing\n"},
        {"{{#a}}\n{{/b}}\n{{/a}}", "page:2:1: error: {{/b}} found, expected {{/a}} for line 1\n"},
        {"{{#a}}\n{{#b}}\n{{/a}}", "page:3:1: error: {{/a}} found, expected {{/b}} for line 2\n"},
        {"{{<*a}}{{/a}}", "page:1:1: error: {{<*a}} is never closed\n"
                          "page:1:8: error: {{/a}} found, expected {{/*a}} for line 1\n"},
        {"ab {{c", "page:1:4: error: tag is never closed, no \"}}\" follows\n"},
        {"ab {{{c}}", "page:1:4: error: tag is never closed, no \"}}}\" follows\n"},
        {"{{=<% %>}}", "page:1:1: error: tag is never closed, no \"=}}\" follows\n"},
        {"{{=<% %>=}} <%", "page:1:13: error: tag is never closed, no \"%>\" follows\n"},
        {"{{!", "page:1:1: error: tag is never closed, no \"}}\" follows\n"},
        {"{{}}", "page:1:1: error: tag without a name\n"},
        {"{{! }}{{  }}", "page:1:7: error: tag without a name\n"},
        {"{{{}}}{{#}}{{/}}", "page:1:1: error: tag without a name\n"
                             "page:1:7: error: tag without a name\n"
                             "page:1:12: error: tag without a name\n"},
        {"{{>*}}", "page:1:1: error: tag without a name\n"},
        {"{{#if a}}{{/if a}}", "page:1:1: error: blank inside the name \"if a\"\n"
                               "page:1:10: error: blank inside the name \"if a\"\n"},
        {"{{a..b}}{{.a}}{{a.}}{{>*a..b}}", "page:1:1: error: empty part in the name \"a..b\"\n"
                                           "page:1:9: error: empty part in the name \".a\"\n"
                                           "page:1:15: error: empty part in the name \"a.\"\n"
                                           "page:1:21: error: empty part in the name \"a..b\"\n"},
        {"{{=}}", "page:1:1: error: tag is never closed, no \"=}}\" follows\n"},
        {"{{==}}", "page:1:1: error: bad delimiters, expected {{=left right=}}\n"},
        {"{{=<%=}}", "page:1:1: error: bad delimiters, expected {{=left right=}}\n"},
        {"{{=a b c=}}", "page:1:1: error: bad delimiters, expected {{=left right=}}\n"},
        {"{{=a= b=}}", "page:1:1: error: bad delimiters, expected {{=left right=}}\n"},
        {"{{!\n\n}} {{/a}}", "page:3:4: error: {{/a}} closes nothing\n"},
        {"ok\n\xff", "page:2:1: error: not UTF-8\n"},
        {"\xc3\xa9\xc0\x80", "page:1:3: error: not UTF-8\n"},
        {"\xed\xa0\x80", "page:1:1: error: not UTF-8\n"},
        {"\xf4\x90\x80\x80", "page:1:1: error: not UTF-8\n"},
        {"\xe2\x82", "page:1:1: error: not UTF-8\n"},
        {"{{<p}}x{{y}}{{#z}}{{$b}}{{/b}}{{/z}}{{/p}}",
         "page:1:8: warning: ignored: only {{$blocks}} count inside {{<p}}\n"
         "page:1:13: warning: ignored: only {{$blocks}} count inside {{<p}}\n"},
        {"{{#a.}}{{/a.}}\xe2\x82\xac\xf0\x9f\x98\x80", "page:1:1: error: empty part in the name "
                                                       "\"a.\"\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct template_set *set = template_set_create(NULL);
        struct diag *diag = diag_create();
        struct template *template =
            template_compile(set, "page", str_from(rows[i].template), NULL, NULL, diag);
        char *errors = text_of_diag(diag);
        assert_string_equal(errors, rows[i].errors);
        if (diag_errors(diag) != 0)
            assert_null(template);
        else
            assert_non_null(template);
        free(errors);
        diag_destroy(&diag);
        template_set_destroy(&set);
    }
}

/* `times` tags around nothing, or a name of that many parts, or that many bytes. */
static char *errors_of(const char *open, const char *close, size_t times)
{
    char *text = malloc(times * (strlen(open) + strlen(close)) + 1), *at = text;
    for (size_t i = 0; i < times; i++)
        at = stpcpy(at, open);
    for (size_t i = 0; i < times; i++)
        at = stpcpy(at, close);
    struct template_set *set = template_set_create(NULL);
    struct diag *diag = diag_create();
    template_compile(set, "page", str_from(text), NULL, NULL, diag);
    char *errors = text_of_diag(diag);
    diag_destroy(&diag);
    template_set_destroy(&set);
    free(text);
    return errors;
}

static void test_sizes_are_capped(void **state)
{
    (void)state;
    static const struct {
        const char *open, *close;
        size_t times;
        const char *errors;
    } rows[] = {
        {"{{#a}}", "{{/a}}", 64, ""},
        {"{{#a}}", "{{/a}}", 65, "page:1:385: error: tags nested more than 64 deep\n"},
        {"{{<a}}{{$b}}", "{{/b}}{{/a}}", 32, ""},
        {"x", "", 1024 * 1024, ""},
        {"x", "", 1024 * 1024 + 1, "page: error: template is larger than 1 MiB\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *errors = errors_of(rows[i].open, rows[i].close, rows[i].times);
        assert_string_equal(errors, rows[i].errors);
        free(errors);
    }
    /* of what is no template at all some errors are enough */
    char *errors = errors_of("{{/a}}", "", 1000);
    size_t lines = 0;
    for (const char *c = errors; *c != '\0'; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 20);
    free(errors);
}

/* -- on disk --------------------------------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_render_XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

/* path, text, path, text, …, NULL; a path that ends with / is a folder. */
static void write_files(const char *const *files)
{
    char path[256];
    for (; *files != NULL; files += 2) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[0]);
        if (path[strlen(path) - 1] == '/') {
            assert_int_equal(mkdir(path, 0700), 0);
            continue;
        }
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(files[1], file);
        fclose(file);
    }
}

/* "page: …" when it was loaded, else the errors; the folder's own name is left out. */
static char *load(struct template_set *set, const char *name, const char *json)
{
    struct diag *diag = diag_create();
    struct template *template = template_load(set, name, (struct pos){"c.toml", 3, 5}, diag);
    char *text = text_of_diag(diag);

    if (template != NULL) {
        struct json_doc doc;
        bool done;
        assert_int_equal(diag_errors(diag), 0);
        json_doc_init(&doc);
        assert_int_equal(json_parse(&doc, json, strlen(json), 64, NULL), JSON_OK);
        char *page = render_value(template, json_root(&doc), &done);
        assert_true(done);
        free(text);
        assert_true(asprintf(&text, "page: %s", page) > 0);
        free(page);
        json_doc_fini(&doc);
    } else {
        assert_int_not_equal(diag_errors(diag), 0);
    }
    diag_destroy(&diag);
    for (char *at; (at = strstr(text, folder)) != NULL;)
        memmove(at, at + strlen(folder), strlen(at + strlen(folder)) + 1);
    return text;
}

static void check_load(const char *name, const char *json, const char *expected)
{
    struct template_set *set = template_set_create(folder);
    char *text = load(set, name, json);
    assert_string_equal(text, expected);
    free(text);
    template_set_destroy(&set);
}

static void test_templates_are_found_in_their_folder(void **state)
{
    (void)state;
    write_files(
        (const char *const[]){"cards/",
                              "",
                              "cards/item.html",
                              "<{{.}}>{{>end}}",
                              "end.html",
                              ".",
                              "end",
                              "!",
                              "raw",
                              "{{>end}}",
                              "index.html",
                              "{{#l}}{{>cards/item}}{{/l}}\n  "
                              "{{>cards/item.html}}\n{{>raw}}{{<base}}{{$b}}x{{/b}}{{/base}}",
                              "base.html",
                              "[{{$b}}{{/b}}]",
                              "self.html",
                              "{{#c}}{{>self}}{{/c}}.",
                              "empty.html",
                              "",
                              "feed.xml",
                              "{{>base.html}}{{>base}}",
                              "base.xml",
                              "xml",
                              NULL});
    check_load("index.html", "{\"l\":[1,2]}", "page: <1>!<2>!\n  <{&quot;l&quot;:[1,2]}>!![x]");
    check_load("cards/item.html", "7", "page: <7>!");
    check_load("self.html", "{\"c\":{\"c\":null}}", "page: ..");
    check_load("empty.html", "{}", "page: ");
    check_load("feed.xml", "{}", "page: []xml");
}

static void test_missing_templates_are_told_where_they_are_named(void **state)
{
    (void)state;
    write_files((const char *const[]){
        "main.html", "{{>haeder}}\n {{<layuot.html}}{{/layuot.html}}{{>zzzzzz}}", "header.html", "",
        "layout.html", "", "uses_main.html", "{{>main}}", "dir.html/", "", NULL});
    check_load("mian.html", "{}",
               "c.toml:3:5: error: no template \"mian.html\" in , did you mean \"main.html\"?\n");
    check_load("nothing like it", "{}", "c.toml:3:5: error: no template \"nothing like it\" in \n");
    check_load("dir.html", "{}", "c.toml:3:5: error: no template \"dir.html\" in \n");
    check_load("main.html/x", "{}",
               "c.toml:3:5: error: no template \"main.html/x\" in , did you mean \"main.html\"?\n");
    static const char errors[] =
        "/main.html:1:1: error: no template \"haeder\" in , did you mean \"header.html\"?\n"
        "/main.html:2:2: error: no template \"layuot.html\" in , did you mean \"layout.html\"?\n"
        "/main.html:2:34: error: no template \"zzzzzz\" in \n";
    check_load("main.html", "{}", errors);
    check_load("uses_main.html", "{}", errors);
}

static void test_names_do_not_leave_the_folder(void **state)
{
    (void)state;
    static const char *const names[] = {
        "../x", "/etc/hostname", "a/../../x", ".hidden", "a/.git/x", "a//b", "a/", ".", "..", ""};
    write_files((const char *const[]){".hidden", "secret", NULL});
    for (size_t i = 0; i < COUNT(names); i++) {
        char expected[128];
        snprintf(expected, sizeof(expected),
                 "c.toml:3:5: error: \"%s\" can't be a template's name\n", names[i]);
        check_load(names[i], "{}", expected);
    }
    write_files((const char *const[]){"out.html", "{{>../x}}{{<.hidden}}{{/.hidden}}", NULL});
    check_load("out.html", "{}",
               "/out.html:1:1: error: \"../x\" can't be a template's name\n"
               "/out.html:1:10: error: \".hidden\" can't be a template's name\n");
    char name[400];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct template_set *set = template_set_create(folder);
    char *text = load(set, name, "{}");
    assert_non_null(strstr(text, "can't be a template's name"));
    free(text);
    template_set_destroy(&set);
}

static void test_files_must_be_small_utf8_text(void **state)
{
    (void)state;
    char *large = malloc(1024 * 1024 + 2);
    memset(large, 'x', 1024 * 1024 + 1);
    large[1024 * 1024 + 1] = '\0';
    write_files((const char *const[]){"large.html", large, "latin1.html", "caf\xe9\n",
                                      "locked.html", "", "both.html", "{{>large}}{{>latin1}}",
                                      NULL});
    free(large);
    check_load("large.html", "{}", "/large.html: error: template is larger than 1 MiB\n");
    check_load("latin1.html", "{}", "/latin1.html:1:4: error: not UTF-8\n");
    check_load("both.html", "{}",
               "/large.html: error: template is larger than 1 MiB\n"
               "/latin1.html:1:4: error: not UTF-8\n");
    if (geteuid() != 0) { /* who may read everything */
        char path[256];
        snprintf(path, sizeof(path), "%s/locked.html", folder);
        chmod(path, 0);
        check_load("locked.html", "{}", "/locked.html: error: can't read it: Permission denied\n");
    }
}

static void test_dynamic_names_reach_files_of_their_ending_only(void **state)
{
    (void)state;
    write_files((const char *const[]){"dyn.html", "{{#l}}{{>*.}},{{/l}}", "a.html", "A", "b/", "",
                                      "b/c.html", "C{{x}}", "d.txt", "D", NULL});
    check_load(
        "dyn.html",
        "{\"l\":[\"a\",\"a.html\",\"b/c\",\"d.txt\",\"d\",\"../a\",\"/etc/hostname\",\".hid\"],"
        "\"x\":1}",
        "page: A,A,C1,,,,,,");
    struct template_set *set = template_set_create(folder);
    struct diag *diag = diag_create();
    struct template *template = template_load(set, "dyn.html", (struct pos){0}, diag);
    assert_non_null(template);
    assert_true(template_uses(template, STR("x"))); /* of b/c.html */
    diag_destroy(&diag);
    template_set_destroy(&set);
    /* what data may name must be good too */
    write_files((const char *const[]){"broken.html", "{{#x}}", NULL});
    check_load("dyn.html", "{}", "/broken.html:1:1: error: {{#x}} is never closed\n");
}

static void test_a_set_compiles_each_template_once(void **state)
{
    (void)state;
    write_files((const char *const[]){"one.html", "{{>part}}", "two.html", "{{>part}}{{>bad}}",
                                      "part.html", "p", "bad.html", "{{/x}}", NULL});
    struct template_set *set = template_set_create(folder);
    struct diag *diag = diag_create();
    struct pos at = {"c.toml", 1, 1};

    struct template *one = template_load(set, "one.html", at, diag);
    assert_non_null(one);
    assert_null(template_load(set, "two.html", at, diag));
    assert_null(template_load(set, "bad.html", at, diag));
    assert_null(template_load(set, "two.html", at, diag));
    assert_int_equal(diag_errors(diag), 1);
    assert_ptr_equal(template_load(set, "one.html", at, diag), one);
    /* a file that changes doesn't change the set */
    write_files((const char *const[]){"one.html", "{{#", NULL});
    assert_ptr_equal(template_load(set, "one.html", at, diag), one);
    assert_int_equal(diag_errors(diag), 1);
    diag_destroy(&diag);
    template_set_destroy(&set);
    assert_null(set);
}

int main(void)
{
#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_are_told_with_their_place),
        cmocka_unit_test(test_sizes_are_capped),
        ON_DISK(test_templates_are_found_in_their_folder),
        ON_DISK(test_missing_templates_are_told_where_they_are_named),
        ON_DISK(test_names_do_not_leave_the_folder),
        ON_DISK(test_files_must_be_small_utf8_text),
        ON_DISK(test_dynamic_names_reach_files_of_their_ending_only),
        ON_DISK(test_a_set_compiles_each_template_once),
    };
    return cmocka_run_group_tests_name("templates and their folder", tests, NULL, NULL);
}
