/* config/toml.h: the whole of toml-test for TOML 1.0, the file's order, exact places, limits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/json.h"
#include "config/toml.h"

#define SUITE "tests/conformance/toml-test/"

/* -- toml-test -------------------------------------------------------------------------------- */

static struct buf read_file(const char *path)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s cannot be read", path);
    assert_true(buf_reserve(&text, 256 << 10));
    text.n = fread(text.p, 1, 256 << 10, file);
    fclose(file);
    return text;
}

/* The one way of writing a date that the suite uses: T, Z, a fraction without trailing noughts. */
static void normalize_date(struct str date, char text_r[64])
{
    size_t n = 0;
    assert_true(date.n < 63);
    for (size_t i = 0; i < date.n; i++) {
        char c = date.p[i];
        bool in_fraction =
            memrchr(text_r, '.', n) != NULL && memrchr(text_r, 'Z', n) == NULL && c != '.';
        if (in_fraction && (c < '0' || c > '9')) {
            while (text_r[n - 1] == '0')
                n--;
        }
        text_r[n++] = c == 't' || c == ' ' ? 'T' : c == 'z' ? 'Z' : c;
    }
    if (memrchr(text_r, '.', n) != NULL)
        while (text_r[n - 1] == '0')
            n--;
    text_r[n] = '\0';
}

static bool same_scalar(const struct toml_node *node, struct str type, struct str value)
{
    static const char *const types[] = {
        [TOML_TABLE] = "",
        [TOML_ARRAY] = "",
        [TOML_STRING] = "string",
        [TOML_INTEGER] = "integer",
        [TOML_FLOAT] = "float",
        [TOML_BOOL] = "bool",
        [TOML_DATETIME] = "datetime",
        [TOML_LOCAL_DATETIME] = "datetime-local",
        [TOML_LOCAL_DATE] = "date-local",
        [TOML_LOCAL_TIME] = "time-local",
    };
    char text[64], wanted[64];
    if (!str_eq(type, str_from(types[node->type])))
        return false;
    if (node->type == TOML_STRING)
        return str_eq(node->text, value);
    assert_true(value.n < sizeof(wanted));
    memcpy(wanted, value.p, value.n);
    wanted[value.n] = '\0';
    if (node->type == TOML_FLOAT) {
        double number = strtod(wanted, NULL);
        return isnan(number) ? isnan(node->number) : number == node->number;
    }
    if (node->type == TOML_INTEGER) {
        snprintf(text, sizeof(text), "%lld", (long long)node->integer);
    } else if (node->type == TOML_BOOL) {
        snprintf(text, sizeof(text), "%s", node->boolean ? "true" : "false");
    } else {
        normalize_date(node->text, text);
        normalize_date(value, wanted);
    }
    return strcmp(text, wanted) == 0;
}

static bool same(const struct toml_node *node, struct json_value json, h2o_mem_pool_t *pool)
{
    if (node->type != TOML_TABLE && node->type != TOML_ARRAY)
        return same_scalar(node, json_string(json_get(json, STR("type")), pool),
                           json_string(json_get(json, STR("value")), pool));
    if (json_type(json) != (node->type == TOML_TABLE ? JSON_OBJECT : JSON_ARRAY) ||
        json_count(json) != node->count)
        return false;
    for (size_t i = 0; i < node->count; i++) {
        struct json_value member =
            node->type == TOML_TABLE ? json_get(json, node->items[i].key) : json_at(json, i);
        if (!same(&node->items[i], member, pool))
            return false;
    }
    return true;
}

static bool same_as_json(const struct toml_node *root, const char *toml_path)
{
    char path[256];
    snprintf(path, sizeof(path), "%.*sjson", (int)(strlen(toml_path) - 4), toml_path);
    struct buf text = read_file(path);
    struct json_doc json;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    json_doc_init(&json);
    assert_int_equal(json_parse(&json, text.p, text.n, 64, NULL), JSON_OK);
    bool equal = same(root, json_root(&json), &pool);
    json_doc_fini(&json);
    h2o_mem_clear_pool(&pool);
    buf_fini(&text);
    return equal;
}

static void test_toml_test_suite(void **state)
{
    (void)state;
    unsigned valid = 0, invalid = 0, wrong = 0;
    char line[200], path[256];
    FILE *list = fopen(SUITE "files-toml-1.0.0", "r");
    assert_non_null(list);
    while (fgets(line, sizeof(line), list) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strstr(line, ".toml") == NULL)
            continue;
        snprintf(path, sizeof(path), SUITE "%s", line);
        struct buf text = read_file(path);
        struct toml_doc *doc = toml_parse(buf_str(&text), line);
        bool is_valid = strncmp(line, "valid/", 6) == 0;
        bool right = is_valid ? doc->root != NULL && same_as_json(doc->root, path)
                              : doc->root == NULL && doc->error_at.line != 0 && *doc->error != '\0';
        *(is_valid ? &valid : &invalid) += 1;
        if (!right) {
            wrong++;
            print_error("%s: %s\n", line, doc->error != NULL ? doc->error : "read differently");
        }
        toml_free(&doc);
        buf_fini(&text);
    }
    fclose(list);
    assert_int_equal(valid, 210);
    assert_int_equal(invalid, 499);
    assert_int_equal(wrong, 0);
}

/* -- order and places ------------------------------------------------------------------------- */

static void list_keys(const struct toml_node *node, struct buf *to)
{
    for (size_t i = 0; i < node->count; i++) {
        const struct toml_node *item = &node->items[i];
        if (node->type == TOML_TABLE)
            buf_printf(to, "%s@%u:%u=%u:%u", item->key.p, item->key_at.line, item->key_at.column,
                       item->at.line, item->at.column);
        else
            buf_printf(to, "%u:%u", item->at.line, item->at.column);
        if (item->type == TOML_TABLE || item->type == TOML_ARRAY) {
            buf_append(to, "(", 1);
            list_keys(item, to);
            buf_append(to, ")", 1);
        }
        if (i + 1 < node->count)
            buf_append(to, " ", 1);
    }
}

/* key@place=place of its value, in the file's order. */
static void test_keys_keep_the_order_and_places_of_the_file(void **state)
{
    (void)state;
    static const struct {
        const char *text, *keys;
    } rows[] = {
        {"", ""},
        {"b = 1\na = 'x'\n", "b@1:1=1:5 a@2:1=2:5"},
        {"  z  =  1 # x\r\n\ty=2", "z@1:3=1:9 y@2:2=2:4"},
        {"\xef\xbb\xbf"
         "b = 1\na = 2",
         "b@1:1=1:5 a@2:1=2:5"},
        /* Columns count bytes, also behind letters of two, three and four. */
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\" = 1",
         "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80@1:1=1:15"},
        {"x = ['\xc3\xa9', 2]", "x@1:1=1:5(1:6 1:12)"},
        {"[t]\nz = 1\n[s]\n[ r ] # c\nq = 1\n",
         "t@1:2=1:1(z@2:1=2:5) s@3:2=3:1() r@4:3=4:1(q@5:1=5:5)"},
        {"[a.z.y]\n[a.b]\n[a.z.x]\nk = true\n",
         "a@1:2=1:1(z@1:4=1:1(y@1:6=1:1() x@3:6=3:1(k@4:1=4:5)) b@2:4=2:1())"},
        /* A header that comes after its children: the key stays where it was first met, the table
         * stands at its own header. */
        {"[p.b]\n[p.a]\n[p]\nc = 1\n", "p@1:2=3:1(b@1:4=1:1() a@2:4=2:1() c@4:1=4:5)"},
        {"b.z = 1\nb.a = 2\na.x.w = 3\nb.m = 4",
         "b@1:1=1:1(z@1:3=1:7 a@2:3=2:7 m@4:3=4:7) a@3:1=3:1(x@3:3=3:3(w@3:5=3:9))"},
        {"t = { z = 1, b.y = 2, b.a = 3, a = {} }",
         "t@1:1=1:5(z@1:7=1:11 b@1:14=1:14(y@1:16=1:20 a@1:25=1:29) a@1:32=1:36())"},
        {"[[l]]\nb=1\na=2\n[[l]]\na=1\n", "l@1:3=1:1(1:1(b@2:1=2:3 a@3:1=3:3) 4:1(a@5:1=5:3))"},
        {"x = [\n  1,\n  [ {c=1,b=2} ],\n]\n", "x@1:1=1:5(2:3 3:3(3:5(c@3:6=3:8 b@3:10=3:12)))"},
        {"d = 1979-05-27 07:32:00Z\nt = 07:32:00\nf = -inf", "d@1:1=1:5 t@2:1=2:5 f@3:1=3:5"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf keys;
        buf_init(&keys, 4096);
        struct toml_doc *doc = toml_parse(str_from(rows[i].text), "t");
        assert_non_null(doc->root);
        list_keys(doc->root, &keys);
        buf_append(&keys, "", 1);
        assert_string_equal(keys.p, rows[i].keys);
        toml_free(&doc);
        buf_fini(&keys);
    }
}

static void test_scalars_keep_their_source(void **state)
{
    (void)state;
    static const char text[] = "a = 0x1F # hex\nb = 1_000\nc = 6.0e2\nd = 1979-05-27 07:32:00Z \n"
                               "e = true\nf = [-1,+nan]";
    static const char *const sources[] = {"0x1F", "1_000", "6.0e2", "1979-05-27 07:32:00Z", "true"};
    struct toml_doc *doc = toml_parse(str_from(text), "t");
    assert_non_null(doc->root);
    for (size_t i = 0; i < COUNT(sources); i++)
        assert_true(str_eq(doc->root->items[i].text, str_from(sources[i])));
    const struct toml_node *array = toml_get(doc->root, STR("f"));
    assert_true(str_eq(array->items[0].text, STR("-1")));
    assert_true(str_eq(array->items[1].text, STR("+nan")));
    assert_null(toml_get(doc->root, STR("g")));
    assert_null(toml_get(array, STR("f")));
    toml_free(&doc);
}

/* Each string holds one "!"; its place is where that stands in the file. */
static void test_a_byte_of_a_string_is_found_in_the_file(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line, column;
    } rows[] = {
        {"x = '!'", 1, 6},
        {"x = \"ab!\"", 1, 8},
        {"x = \"\\t\\\"\\\\!\"", 1, 12},
        {"x = \"\\u00e9\\U0001F600\\u0041!\"", 1, 28},
        {"x = \"\xc3\xa9!\"", 1, 8},
        {"x = 'a\\u0041!'", 1, 13},
        {"x = \"\\u0021\"", 1, 6},
        {"x = '''\n!'''", 2, 1},
        {"x = '''\r\n!'''", 2, 1},
        {"x = '''a\r\nb!'''", 2, 2},
        {"x = \"\"\"a\nb\n!\"\"\"", 3, 1},
        {"x = \"\"\"a\\\n  \n\t !\"\"\"", 3, 3},
        {"x = \"\"\"a\\   \r\n !\"\"\"", 2, 2},
        {"x = \"\"\"\"\"!\"\"\"\"\"", 1, 10},
        {"x = \"\"\"\\\"\\t!\"\"\"", 1, 12},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct toml_doc *doc = toml_parse(str_from(rows[i].text), "t");
        assert_non_null(doc->root);
        const struct toml_node *x = &doc->root->items[0];
        const char *mark = memchr(x->text.p, '!', x->text.n);
        assert_non_null(mark);
        struct pos at = toml_place(doc, x, (size_t)(mark - x->text.p));
        if (at.line != rows[i].line || at.column != rows[i].column)
            fail_msg("%s: %u:%u", rows[i].text, at.line, at.column);
        toml_free(&doc);
    }
}

/* -- what is refused -------------------------------------------------------------------------- */

static void test_syntax_errors_have_a_place(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        unsigned line, column;
        const char *contains;
    } rows[] = {
        {STR("a = \n"), 1, 5, "value"},
        {STR("a = 1\nb = = 2\n"), 2, 5, "value"},
        {STR("\xc3\xa9"), 1, 1, "expected keys"},
        {STR("x = '\xc3\xa9' y"), 1, 10, "expected a comment"},
        {STR("a = 1\na = 2\n"), 2, 5, "cannot redefine existing integer 'a'"},
        {STR("[t]\n[t]\n"), 2, 1, "cannot redefine existing table 't'"},
        {STR("ok = 1\nbad = \"\xff\"\n"), 2, 8, "not UTF-8"},
        {STR("bad = \"\xed\xa0\x80\""), 1, 8, "not UTF-8"},
        {STR("cut = '\xe2\x82"), 1, 8, "not UTF-8"},
        {STR("a = 'x"), 1, 7, "end-of-file"},
        {STR("a = 1\0"), 1, 6, "expected"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct toml_doc *doc = toml_parse(rows[i].text, "t");
        assert_null(doc->root);
        if (doc->error_at.line != rows[i].line || doc->error_at.column != rows[i].column ||
            strstr(doc->error, rows[i].contains) == NULL)
            fail_msg("%s: %u:%u %s", rows[i].text.p, doc->error_at.line, doc->error_at.column,
                     doc->error);
        assert_null(strchr(doc->error, '\n'));
        toml_free(&doc);
    }
}

static char *repeat(const char *head, const char *what, size_t times, const char *tail)
{
    size_t n = strlen(what);
    char *text = malloc(strlen(head) + n * times + strlen(tail) + 1);
    assert_non_null(text);
    char *at = stpcpy(text, head);
    for (size_t i = 0; i < times; i++)
        at = stpcpy(at, what);
    strcpy(at, tail);
    return text;
}

static void test_strange_depths_and_sizes_are_refused_not_crashed_on(void **state)
{
    (void)state;
    static const struct {
        const char *head, *what;
        size_t times;
        const char *tail, *contains; /* NULL: it is fine */
    } rows[] = {
        {"a", ".a", 63, " = 1", NULL},
        {"a", ".a", 64, " = 1", "more than 64 segments"},
        {"a", ".a", 200000, " = 1", "more than 64 segments"},
        {"[a", ".a", 64, "]", "more than 64 segments"},
        {"[a", " . \"b.]\"", 64, "]", "more than 64 segments"},
        {"x = {a", ".a", 64, " = 1}", "more than 64 segments"},
        {"x = '''\n", ".", 5000, "'''", NULL},
        {"x = \"", "\\\".", 500, "\"", NULL},
        {"# ", ".", 500, "\nx = 1", NULL},
        {"x = [", "1.5, ", 500, "]", NULL},
        {"x = ", "[", 60, "]", "array"},
        {"x = ", "[", 100000, "", "nested"},
        {"x = ", "{a=", 100000, "", "nested"},
        {"#", "x", (1 << 20) - 1, "", NULL},
        {"#", "x", 1 << 20, "", "larger than 1 MiB"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *text = repeat(rows[i].head, rows[i].what, rows[i].times, rows[i].tail);
        struct toml_doc *doc = toml_parse(str_from(text), "t");
        if (rows[i].contains == NULL
                ? doc->root == NULL
                : doc->error == NULL || strstr(doc->error, rows[i].contains) == NULL)
            fail_msg("row %zu: %s", i, doc->error);
        toml_free(&doc);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_toml_test_suite),
        cmocka_unit_test(test_keys_keep_the_order_and_places_of_the_file),
        cmocka_unit_test(test_scalars_keep_their_source),
        cmocka_unit_test(test_a_byte_of_a_string_is_found_in_the_file),
        cmocka_unit_test(test_syntax_errors_have_a_place),
        cmocka_unit_test(test_strange_depths_and_sizes_are_refused_not_crashed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
