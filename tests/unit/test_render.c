/* What a page shows: values, escaping, truth, contexts, blocks, indentation, and where it stops. */
#include "tests/unit/test_render.h"
#include <malloc.h>

struct row {
    const char *template, *json, *page;
    const char *partials[9];
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *page = render(rows[i].template, rows[i].partials, rows[i].json);
        assert_string_equal(page, rows[i].page);
        free(page);
    }
}

static void test_values_show_their_text(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{{a}}", "{\"a\":\"text\"}", "text", {0}},
        {"{{a}}", "{\"a\":1.10}", "1.10", {0}},
        {"{{a}}", "{\"a\":18446744073709551617}", "18446744073709551617", {0}},
        {"{{a}}", "{\"a\":-1e+400}", "-1e+400", {0}},
        {"{{a}} {{b}}", "{\"a\":true,\"b\":false}", "true false", {0}},
        {"[{{a}}{{b}}]", "{\"a\":null}", "[]", {0}},
        {"{{{a}}}", "{\"a\":{ \"b\" : [1, 2.0] }}", "{ \"b\" : [1, 2.0] }", {0}},
        {"{{a}}", "{\"a\":{\"b\":\"<\"}}", "{&quot;b&quot;:&quot;&lt;&quot;}", {0}},
        {"{{.}}", "[1,\"x\"]", "[1,&quot;x&quot;]", {0}},
        {"{{a}}", "{\"a\":1,\"a\":2}", "2", {0}},
        {"{{\\u0061}}", "{\"\\\\u0061\":3}", "3", {0}},
        {"{{a}}", "{\"\\u0061\":4}", "4", {0}},
        {"{{ # a }}x{{ / a }}", "{\"a\":1}", "x", {0}},
    };
    check_rows(rows, COUNT(rows));
}

static void test_json_escapes_are_decoded(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{{a}}", "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "&quot;\\/\b\f\n\r\t", {0}},
        {"{{{a}}}", "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t", {0}},
        {"{{a}}", "{\"a\":\"\\u003cb\\u003E\"}", "&lt;b&gt;", {0}},
        {"{{{a}}}", "{\"a\":\"\\u003cb\\u003E\"}", "<b>", {0}},
        {"{{a}}",
         "{\"a\":\"\\u00e9\\u20AC\\ud83d\\uDE00\\u07ff\\u0800\\uffff\"}",
         "\u00e9\u20ac\U0001f600\u07ff\u0800\uffff",
         {0}},
        {"{{a}}", "{\"a\":\"x < \\u0026 < y\\u0027\"}", "x &lt; &amp; &lt; y&#39;", {0}},
        {"{{{a}}}", "{\"a\":\"\\n\"}", "\n", {0}},
        {"{{#\xc3\xa9}}y{{/\xc3\xa9}}", "{\"\\u00e9\":1}", "y", {0}},
    };
    check_rows(rows, COUNT(rows));
}

static void append_escaped(char **to, char c)
{
    const char *entity = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '"'  ? "&quot;"
                         : c == '\'' ? "&#39;"
                                     : NULL;
    if (entity != NULL)
        *to = stpcpy(*to, entity);
    else
        *(*to)++ = c;
}

/* Every length around the widths in which bytes are looked at, the special one at every place, in
 * memory that ends where the text ends. */
static void test_every_special_byte_is_escaped_wherever_it_stands(void **state)
{
    (void)state;
    static const char specials[] = "&<>\"'";
    struct template_set *set = template_set_create(NULL);
    struct template *template = compile(set, "{{.}}", NULL);

    for (size_t n = 1; n <= 70; n++) {
        for (size_t at = 0; at <= n; at++) { /* n: none */
            char *bytes = malloc(n), expected[512], *to = expected;
            bool done;
            for (size_t i = 0; i < n; i++)
                bytes[i] =
                    (char)('!' + 4 + (i * 7 + n) % 0x5a == '&' || i % 3 ? 'a' + i % 26 : '%');
            if (at < n)
                bytes[at] = specials[(n + at) % 5];
            if (at + 9 < n)
                bytes[at + 9] = specials[at % 5];
            for (size_t i = 0; i < n; i++)
                append_escaped(&to, bytes[i]);
            *to = '\0';
            struct str text = {bytes, n};
            char *page = render_value(template, json_from_text(&text), &done);
            assert_true(done);
            assert_string_equal(page, expected);
            free(page);
            free(bytes);
        }
    }
    for (int c = 1; c < 256; c++) { /* no other byte is */
        char byte = (char)c, expected[8], *to = expected;
        struct str text = {&byte, 1};
        bool done;
        append_escaped(&to, byte);
        *to = '\0';
        char *page = render_value(template, json_from_text(&text), &done);
        assert_string_equal(page, expected);
        free(page);
    }
    template_set_destroy(&set);
}

/* What a page takes, however much of it must be escaped: its own size and some slack. */
static void test_escaping_takes_memory_in_proportion(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    char *list = malloc(2 + 3 * COUNT), *at = list, *quotes = malloc(COUNT);
    memset(quotes, '"', COUNT);
    *at++ = '[';
    for (size_t i = 0; i < COUNT; i++)
        at = stpcpy(at, i == 0 ? "{}" : ",{}");
    *at++ = ']';
    struct str text = {quotes, COUNT};
    struct json_doc doc;
    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, list, (size_t)(at - list), 9, NULL), JSON_OK);
    const struct json_value roots[] = {json_from_text(&text), json_root(&doc)};
    static const char *const templates[] = {"{{.}}", "{{#.}}{{.}}{{/.}}"};

    for (size_t i = 0; i < 2; i++) {
        struct template_set *set = template_set_create(NULL);
        struct template *template = compile(set, templates[i], NULL);
        h2o_mem_pool_t pool;
        struct out out;
        h2o_mem_init_pool(&pool);
        out_init(&out, &pool, 0);
        size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
        assert_true(template_render(template, roots[i], &pool, &out));
        size_t taken = mallinfo2().uordblks + mallinfo2().hblkhd - before;
        assert_true(out_size(&out) >= 2 * COUNT);
        assert_true(taken < 4 * out_size(&out) + 16384);
        h2o_mem_clear_pool(&pool);
        template_set_destroy(&set);
    }
    json_doc_fini(&doc);
    free(quotes);
    free(list);
}

static void test_sections_ask_for_truth(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool truth;
    } rows[] = {
        {"{}", false},           {"{\"a\":null}", false}, {"{\"a\":false}", false},
        {"{\"a\":\"\"}", false}, {"{\"a\":[]}", false},   {"{\"a\":true}", true},
        {"{\"a\":0}", true},     {"{\"a\":\"0\"}", true}, {"{\"a\":{}}", true},
        {"{\"a\":[0]}", true},   {"{\"a\":[[]]}", true},  {"{\"a\":\"\\u0000\"}", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *page = render("{{#a}}yes{{/a}}{{^a}}no{{/a}}", NULL, rows[i].json);
        assert_string_equal(page, rows[i].truth ? "yes" : "no");
        free(page);
    }
}

static void test_names_are_looked_for_from_the_innermost_context_on(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{{#a}}{{x}}{{y}}{{/a}}", "{\"x\":1,\"y\":2,\"a\":{\"x\":3}}", "32", {0}},
        {"{{#a}}{{b.c}}|{{/a}}", "{\"b\":{\"c\":1},\"a\":{\"b\":{}}}", "|", {0}},
        {"{{#a}}{{#.}}{{.}},{{/.}};{{/a}}", "{\"a\":[[1,2],[3],[]]}", "1,2,;3,;;", {0}},
        {"{{#a}}{{x}}{{/a}}", "{\"x\":\"r\",\"a\":[{\"x\":1},{},\"s\"]}", "1rr", {0}},
        {"{{#a}}{{x}}{{/a}}", "{\"x\":\"r\",\"a\":{\"x\":null}}", "", {0}},
        {"{{#a}}<{{.}}>{{/a}}", "{\"a\":\"s\"}", "<s>", {0}},
        {"{{#a}}{{#b}}{{c}}{{/b}}{{/a}}{{^a.b}}none{{/a.b}}",
         "{\"a\":{\"b\":[]},\"b\":1}",
         "none",
         {0}},
    };
    check_rows(rows, COUNT(rows));
}

/* Where the specification leaves a choice; see the heads of lines.c and render.c. */
static void test_blocks_fill_lines_and_know_their_scope(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* a block that fills a line goes on filling one: no newline lost, none doubled */
        {"{{<p}}\n{{$b}}\nx\ny\n{{/b}}\n{{/p}}\n",
         "{}",
         "<a>\n  x\n  y\n</a>\n",
         {"p", "<a>\n  {{$b}}{{/b}}\n</a>\n"}},
        {"{{<p}}{{$b}}x{{/b}}{{/p}}\n",
         "{}",
         "<a>\n  x\n</a>\n",
         {"p", "<a>\n  {{$b}}\n  default\n  {{/b}}\n</a>\n"}},
        {"{{<p}}{{$b}}x{{/b}}{{/p}}\n",
         "{}",
         "<a>\r\nx\r\n</a>\r\n",
         {"p", "<a>\r\n{{$b}}\r\ndefault\r\n{{/b}}\r\n</a>\r\n"}},
        {"{{<p}}{{$b}}{{/b}}{{/p}}\n",
         "{}",
         "<a>\n</a>\n",
         {"p", "<a>\n  {{$b}}default{{/b}}\n</a>\n"}},
        {"{{<p}}{{/p}}\n",
         "{}",
         "<a>\n  default\n</a>\n",
         {"p", "<a>\n  {{$b}}default{{/b}}\n</a>\n"}},
        /* an argument that passes an argument on */
        {"{{<p}}\n{{$b}}\n    {{<q}}\n      {{$c}}\n        1\n          2\n      {{/c}}\n"
         "    {{/q}}\n{{/b}}\n{{/p}}\n",
         "{}",
         "  <q>\n   1\n     2\n  </q>\n",
         {"p", "  {{$b}}{{/b}}\n", "q", "<q>\n {{$c}}{{/c}}\n</q>\n"}},
        /* in the middle of a line it only fills its place */
        {"{{<p}}{{$b}}x\ny{{/b}}{{/p}}\n",
         "{}",
         "  <a x\n  y>\n",
         {"p", "  {{>q}}\n", "q", "<a {{$b}}{{/b}}>\n"}},
        /* an argument's own blocks are parameters of the template that holds it */
        {"{{<p}}{{$t}}T{{/t}}{{$b}}{{<card}}{{$t}}C{{/t}}{{/card}}{{/b}}{{/p}}",
         "{}",
         "T:[C]",
         {"p", "{{$t}}{{/t}}:{{$b}}{{/b}}", "card", "[{{$t}}{{/t}}]"}},
        {"{{<p}}{{$b}}x{{$c}}y{{/c}}{{/b}}{{$c}}z{{/c}}{{/p}}",
         "{}",
         "xy z",
         {"p", "{{$b}}{{/b}} {{$c}}{{/c}}"}},
        /* partials pass on what they were given */
        {"{{<p}}{{$b}}x{{/b}}{{/p}}", "{}", "[x]", {"p", "{{>q}}", "q", "[{{$b}}d{{/b}}]"}},
        {"{{<p}}{{$b}}{{.}}{{/b}}{{/p}}", "{\"l\":[1,2]}", "12", {"p", "{{#l}}{{$b}}{{/b}}{{/l}}"}},
        {"{{<*n}}{{$b}}x{{/b}}{{/*n}}", "{\"n\":\"no such\"}", "", {0}},
    };
    check_rows(rows, COUNT(rows));
}

static void test_indentation_goes_before_each_line_of_the_partial(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {" {{>p}}\n", "{\"l\":[1,2]}", " a\n b\n b\n c\n", {"p", "a\n{{#l}}\nb\n{{/l}}\nc\n"}},
        {" {{>p}}\n",
         "{\"l\":[1,2]}",
         " 12\n 12!\n",
         {"p", "{{#l}}{{.}}{{/l}}\n{{#l}}{{.}}{{/l}}!\n"}},
        {" {{>p}}\n", "{\"x\":\"1\\n2\"}", " 1\n2\n", {"p", "{{x}}\n"}},
        {" {{>p}}\n", "{}", "  a\n  b\n c\n", {"p", " {{>q}}\nc\n", "q", "a\nb\n"}},
        {" {{>p}}\n", "{}", " - a\nb\n", {"p", "- {{>q}}", "q", "a\nb\n"}},
        {" {{>p}}\n", "{}", " x\n \n y\n", {"p", "x\n{{! note }}\n\n{{!}}y\n"}},
        {" {{>p}}\n", "{\"l\":[1,2]}", " x\n  x\n y\n", {"p", "{{#l}}\nx\n{{/l}}y\n"}},
        {" {{>p}}\r\n", "{}", " x\r\n y\r\n", {"p", "x\r\ny\r\n"}},
        {" {{>n}}\n",
         "{\"c\":[{\"c\":[{\"c\":[]}]}]}",
         " *\n  *\n   *\n",
         {"n", "*\n{{#c}}\n {{>n}}\n{{/c}}\n"}},
    };
    check_rows(rows, COUNT(rows));
}

static void test_dynamic_names_reach_what_the_set_holds(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{{>text}}{{#l}}{{>*.}}{{/l}}",
         "{\"l\":[\"text\",\"none\",\"\",7,null,{},\"page\\u0000\"]}",
         "TT",
         {"text", "T"}},
        {"{{>7}}{{>*a}}", "{\"a\":7}", "xx", {"7", "x"}},
        {"{{>text}}{{>*a.b}}", "{\"a\":{\"b\":\"te\\u0078t\"}}", "TT", {"text", "T"}},
    };
    check_rows(rows, COUNT(rows));
}

static void test_built_values_render_like_parsed_ones(void **state)
{
    (void)state;
    static const struct str name = {"a<b\\n", 5}, number = {"4.20", 4};
    struct template_set *set = template_set_create(NULL);
    h2o_mem_pool_t pool;
    bool done;

    h2o_mem_init_pool(&pool);
    struct json_object *item = json_object_create(&pool, 2), *root = json_object_create(&pool, 1);
    struct json_array *list = json_array_create(&pool, 0);
    json_object_set(&pool, item, STR("name"), json_from_text(&name));
    json_object_set(&pool, item, STR("price"), json_from_number(&number));
    json_object_set(&pool, item, STR("none"), json_null());
    json_array_add(&pool, list, json_from_object(item));
    json_array_add(&pool, list, json_from_bool(true));
    json_object_set(&pool, root, STR("list"), json_from_array(list));
    char *page =
        render_value(compile(set, "{{#list}}({{name}} {{price}}{{none}}){{/list}}{{{list}}}", NULL),
                     json_from_object(root), &done);
    assert_true(done);
    assert_string_equal(page, "(a&lt;b\\n 4.20)( )"
                              "[{\"name\":\"a<b\\\\n\",\"price\":4.20,\"none\":null},true]");
    free(page);
    h2o_mem_clear_pool(&pool);
    template_set_destroy(&set);
}

/* {"a":[0,0,…]} */
static char *list_of(size_t n)
{
    char *json = malloc(2 * n + 16), *at = stpcpy(json, "{\"a\":[0");
    for (size_t i = 1; i < n; i++)
        at = stpcpy(at, ",0");
    stpcpy(at, "]}");
    return json;
}

static void test_pages_without_end_are_cut(void **state)
{
    (void)state;
    static const struct {
        const char *template;
        const char *partials[5];
        size_t list;
        bool done;
    } rows[] = {
        {"x{{>p}}", {"p", "x{{>p}}"}, 1, false},
        {"{{>p}}", {"p", "{{#a}}{{>p}}{{/a}}"}, 1000, false},
        {"{{>p}}", {"p", " {{>q}}\n", "q", "          {{>p}}\n"}, 1, false},
        {"{{<p}}{{$b}}{{/b}}{{/p}}", {"p", "{{$b}}{{/b}}{{<p}}{{/p}}"}, 1, false},
        {"{{<p}}{{$b}}{{<p}}{{/p}}{{/b}}{{/p}}", {"p", "{{$b}}{{/b}}"}, 1, true},
        {"{{>a}}",
         {"a", "{{>b}}{{>b}}{{>b}}{{>b}}{{>b}}{{>b}}{{>b}}{{>b}}", "b",
          "{{#a}}{{#a}}{{#a}}{{/a}}{{/a}}{{/a}}"},
         1000,
         false},
        {"{{#a}}{{#a}}{{#a}}{{#a}}{{/a}}{{/a}}{{/a}}{{/a}}", {0}, 1000, false},
        {"{{#a}}{{#a}}{{#a}}{{a.b}}{{/a}}{{/a}}{{/a}}", {0}, 100, true},
        {"{{#a}}{{#a}}0123456789012345678901234567890123456789{{/a}}{{/a}}", {0}, 2000, false},
        {"{{#a}}{{#a}}0123456789012345678901234567890123456789{{/a}}{{/a}}", {0}, 1000, true},
        {"{{#a}}{{#a}}{{a}}{{/a}}{{/a}}", {0}, 1000, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct template_set *set = template_set_create(NULL);
        struct template *template = compile(set, rows[i].template, rows[i].partials);
        char *json = list_of(rows[i].list);
        struct json_doc doc;
        h2o_mem_pool_t pool;
        struct out out;

        json_doc_init(&doc);
        h2o_mem_init_pool(&pool);
        out_init(&out, &pool, 0);
        assert_int_equal(json_parse(&doc, json, strlen(json), 64, NULL), JSON_OK);
        assert_int_equal(template_render(template, json_root(&doc), &pool, &out), rows[i].done);
        assert_in_range(out_size(&out), 0, 65 * 1024 * 1024);
        h2o_mem_clear_pool(&pool);
        json_doc_fini(&doc);
        free(json);
        template_set_destroy(&set);
    }
}

/* "n" includes "n+1" four times; 30 is empty. */
static bool four_times_the_next(void *arg, struct str name, struct str *text_r)
{
    static char texts[32][128];
    long n = strtol(name.p, NULL, 10); /* up to the braces */
    (void)arg;
    if (n < 30)
        snprintf(texts[n], sizeof(texts[n]), "{{>%ld}}{{>%ld}}{{>%ld}}{{>%ld}}", n + 1, n + 1,
                 n + 1, n + 1);
    *text_r = str_from(texts[n]);
    return true;
}

static void test_includes_are_work_even_when_they_write_nothing(void **state)
{
    (void)state;
    struct template_set *set = template_set_create(NULL);
    struct diag *diag = diag_create();
    bool done;
    struct template *template =
        template_compile(set, "page", STR("{{>1}}"), four_times_the_next, NULL, diag);
    assert_non_null(template);
    free(render_value(template, JSON_NONE, &done));
    assert_false(done);
    diag_destroy(&diag);
    template_set_destroy(&set);
}

/* A look-up walks an object's members; many look-ups in a huge object are as endless as a loop. */
static void test_look_ups_in_huge_objects_are_work(void **state)
{
    (void)state;
    struct template_set *set = template_set_create(NULL);
    struct template *template = compile(set, "{{#l}}{{no}}{{/l}}", NULL);
    size_t members = 20000, n = 0;
    char *json = malloc(members * 16);
    struct json_doc doc;
    bool done;

    n += (size_t)sprintf(json, "{\"l\":[0");
    for (size_t i = 0; i < members; i++)
        n += (size_t)sprintf(json + n, ",0");
    n += (size_t)sprintf(json + n, "]");
    for (size_t i = 0; i < members; i++)
        n += (size_t)sprintf(json + n, ",\"%zu\":0", i);
    n += (size_t)sprintf(json + n, "}");
    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, json, n, 64, NULL), JSON_OK);
    free(render_value(template, json_root(&doc), &done));
    assert_false(done);
    json_doc_fini(&doc);
    free(json);
    template_set_destroy(&set);
}

static void test_what_was_written_before_a_cap_stands(void **state)
{
    (void)state;
    static const char *const partials[] = {"p", "x{{>p}}", NULL};
    struct template_set *set = template_set_create(NULL);
    bool done;
    char *page = render_value(compile(set, "page: {{>p}}", partials), JSON_NONE, &done);
    assert_false(done);
    assert_int_equal(strncmp(page, "page: xxxx", 10), 0);
    assert_int_equal(strlen(page), 6 + 128);
    free(page);
    template_set_destroy(&set);
}

static void test_uses_tells_which_root_names_may_be_read(void **state)
{
    (void)state;
    static const struct {
        const char *template, *name;
        bool uses;
        const char *partials[5];
    } rows[] = {
        {"{{a}}", "a", true, {0}},
        {"{{a}}", "b", false, {0}},
        {"{{a.b}}", "b", false, {0}},
        {"{{a.b}}", "a", true, {0}},
        {"{{ab}}", "a", false, {0}},
        {"{{#a}}{{b}}{{/a}}", "b", true, {0}}, /* if a has no b */
        {"{{^a}}{{/a}}", "a", true, {0}},
        {"{{{a}}}", "a", true, {0}},
        {"{{!a}}a", "a", false, {0}},
        {"{{.}}", "a", true, {0}},
        {"{{#b}}{{.}}{{/b}}", "a", false, {0}},
        {"{{^b}}{{.}}{{/b}}", "a", true, {0}},
        {"{{>p}}", "a", true, {"p", "{{>q}}", "q", "{{a}}"}},
        {"{{>p}}", "b", false, {"p", "{{>q}}", "q", "{{a}}{{>p}}"}},
        {"{{<p}}{{$x}}{{a}}{{/x}}{{/p}}", "a", true, {"p", "{{b}}"}},
        {"{{<p}}{{$x}}{{a}}{{/x}}{{/p}}", "b", true, {"p", "{{b}}"}},
        {"{{<p}}{{a}}{{/p}}", "a", false, {"p", "{{b}}"}},
        {"{{>*b}}", "a", true, {0}}, /* it can't be known */
        {"{{>none}}", "a", false, {0}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct template_set *set = template_set_create(NULL);
        struct diag *diag = diag_create(); /* warnings don't matter here */
        struct template *template =
            template_compile(set, "page", str_from(rows[i].template), partial_of_list,
                             (void *)(uintptr_t)rows[i].partials, diag);
        assert_non_null(template);
        assert_int_equal(template_uses(template, str_from(rows[i].name)), rows[i].uses);
        diag_destroy(&diag);
        template_set_destroy(&set);
    }
}

static void test_rendering_again_and_again_takes_no_more_memory(void **state)
{
    (void)state;
    static const char *const partials[] = {"p", "{{#l}}\n{{.}} {{x}}\n{{/l}}\n{{$b}}d{{/b}}", NULL};
    static const char json[] = "{\"l\":[1,\"<&>\",\"e\\u0073caped\"],\"x\":\"y\\n\"}";
    struct template_set *set = template_set_create(NULL);
    struct template *template =
        compile(set, "  {{<p}}{{$b}}{{x}}{{/b}}{{/p}}\n{{^x}}{{/x}}{{{l}}}", partials);
    struct json_doc doc;
    h2o_mem_pool_t decoded, untouched, pool;
    size_t before = 0;

    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, json, sizeof(json) - 1, 64, NULL), JSON_OK);
    h2o_mem_init_pool(&decoded);
    untouched = decoded;
    h2o_mem_init_pool(&pool);
    for (int i = 0; i < 2000; i++) {
        struct out out;
        out_init(&out, &pool, 0);
        assert_true(template_render(template, json_root(&doc), &decoded, &out));
        h2o_mem_clear_pool(&pool);
        if (i == 10)
            before = mallinfo2().uordblks;
    }
    assert_int_equal(mallinfo2().uordblks, before);
    assert_memory_equal(&decoded, &untouched, sizeof(decoded)); /* decoded on the way out */
    json_doc_fini(&doc);
    template_set_destroy(&set);
}

static void test_plain_text_is_not_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *template, *text;
    } rows[] = {
        {"{{name}}.pdf", "<Ada> & \"Bob\".pdf"},
        {"{{{name}}}", "<Ada> & \"Bob\""},
        {"{{#name}}of {{name}}{{/name}}{{^none}}!{{/none}}", "of <Ada> & \"Bob\"!"},
        {"{{>card}}{{none}}", ""},
    };
    const char *json = "{\"name\":\"<Ada> & \\\"Bob\\\"\"}";
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool done;
        struct json_doc doc;
        struct diag *diag = diag_create();
        struct template_set *set = template_set_create(NULL);
        struct template *template =
            template_compile_plain(set, "title", str_from(rows[i].template), diag);
        assert_non_null(template);
        json_doc_init(&doc);
        assert_int_equal(json_parse(&doc, json, strlen(json), 8, NULL), JSON_OK);
        char *text = render_value(template, json_root(&doc), &done);
        assert_true(done);
        assert_string_equal(text, rows[i].text);
        free(text);
        json_doc_fini(&doc);
        template_set_destroy(&set);
        diag_destroy(&diag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_show_their_text),
        cmocka_unit_test(test_json_escapes_are_decoded),
        cmocka_unit_test(test_plain_text_is_not_escaped),
        cmocka_unit_test(test_every_special_byte_is_escaped_wherever_it_stands),
        cmocka_unit_test(test_escaping_takes_memory_in_proportion),
        cmocka_unit_test(test_sections_ask_for_truth),
        cmocka_unit_test(test_names_are_looked_for_from_the_innermost_context_on),
        cmocka_unit_test(test_blocks_fill_lines_and_know_their_scope),
        cmocka_unit_test(test_indentation_goes_before_each_line_of_the_partial),
        cmocka_unit_test(test_dynamic_names_reach_what_the_set_holds),
        cmocka_unit_test(test_built_values_render_like_parsed_ones),
        cmocka_unit_test(test_pages_without_end_are_cut),
        cmocka_unit_test(test_includes_are_work_even_when_they_write_nothing),
        cmocka_unit_test(test_look_ups_in_huge_objects_are_work),
        cmocka_unit_test(test_what_was_written_before_a_cap_stands),
        cmocka_unit_test(test_uses_tells_which_root_names_may_be_read),
        cmocka_unit_test(test_rendering_again_and_again_takes_no_more_memory),
    };
    return cmocka_run_group_tests_name("rendering", tests, NULL, NULL);
}
