/* Reading values from tapes and built objects, merging them, writing them out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/json.h"

#define MAX_DOCS 64

static h2o_mem_pool_t pool;
static struct json_doc docs[MAX_DOCS];
static size_t doc_count;

static int set_up(void **state)
{
    (void)state;
    h2o_mem_init_pool(&pool);
    doc_count = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < doc_count; i++)
        json_doc_fini(&docs[i]);
    h2o_mem_clear_pool(&pool);
    return 0;
}

/* The root of a text that lives as long as the test. */
static struct json_value parsed_bytes(const char *text, size_t n)
{
    assert_true(doc_count < MAX_DOCS);
    struct json_doc *doc = &docs[doc_count++];
    json_doc_init(doc);
    assert_int_equal(json_parse(doc, text, n, 64, NULL), JSON_OK);
    return json_root(doc);
}

static struct json_value parsed(const char *text)
{
    return parsed_bytes(text, strlen(text));
}

static struct str written(struct json_value v)
{
    struct out out;
    h2o_iovec_t *vecs;

    out_init(&out, &pool, 0);
    json_write(&out, v);
    size_t size = out_size(&out), count = out_vecs(&out, &vecs);
    char *joined = h2o_mem_alloc_pool(&pool, size + 1), *at = joined;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, vecs[i].base, vecs[i].len);
        at += vecs[i].len;
    }
    assert_int_equal(at - joined, size);
    *at = '\0';
    return (struct str){joined, size};
}

static void expect_str(struct str got, const char *want, size_t n)
{
    if (!str_eq(got, (struct str){want, n}))
        fail_msg("'%.*s', not '%.*s'", (int)got.n, got.p != NULL ? got.p : "", (int)n, want);
}

static void expect_written(struct json_value v, const char *want)
{
    expect_str(written(v), want, strlen(want));
}

static struct json_value get(struct json_value v, const char *key)
{
    return json_get(v, str_from(key));
}

/* -- reading -------------------------------------------------------------------------------- */

static void test_members_are_found_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *key;
        size_t key_n;
        const char *want; /* NULL: missing */
    } cases[] = {
        {"{\"a\":1,\"b\":2}", "a", 1, "1"},
        {"{\"a\":1,\"b\":2}", "b", 1, "2"},
        {"{\"a\":1,\"b\":2}", "c", 1, NULL},
        {"{\"a\":1,\"b\":2}", "", 0, NULL},
        {"{\"a\":1,\"b\":2}", "A", 1, NULL},
        {"{\"a\":1,\"ab\":2,\"abc\":3}", "ab", 2, "2"},
        {"{\"\":\"empty\"}", "", 0, "\"empty\""},
        {"{}", "a", 1, NULL},
        /* the members of members are not the object's */
        {"{\"x\":{\"a\":1},\"y\":[{\"a\":2}],\"b\":3}", "a", 1, NULL},
        {"{\"x\":{\"a\":1},\"y\":[{\"a\":2}],\"b\":3}", "b", 1, "3"},
        /* a value that reads like the key is no key */
        {"{\"b\":\"a\",\"c\":4}", "a", 1, NULL},
        /* the last of a name counts */
        {"{\"a\":1,\"b\":2,\"a\":[3]}", "a", 1, "[3]"},
        {"{\"a\":1,\"\\u0061\":2}", "a", 1, "2"},
        {"{\"\\u0061\":2,\"a\":1}", "a", 1, "1"},
        /* escaped keys are compared decoded */
        {"{\"caf\\u00e9\":1}", "caf\xc3\xa9", 5, "1"},
        {"{\"\\ud83d\\ude00\":1}", "\xf0\x9f\x98\x80", 4, "1"},
        {"{\"\\u20ac\\t\":1}", "\xe2\x82\xac\t", 4, "1"},
        {"{\"a\\/b\\\"c\\\\\":1}", "a/b\"c\\", 6, "1"},
        {"{\"a\\nb\":1}", "a\nb", 3, "1"},
        {"{\"a\\nb\":1}", "a\\nb", 4, NULL},
        {"{\"\\u0061\":1}", "ab", 2, NULL},
        {"{\"\\u0000\":1}", "\0", 1, "1"},
        {"{\"a\\u0000b\":1}", "a", 1, NULL},
        {"{\"ab\\n\":1}", "ab", 2, NULL},
        {"{\"\\nab\":1}", "\nabc", 4, NULL},
        /* what has no members */
        {"[1]", "0", 1, NULL},
        {"\"a\"", "a", 1, NULL},
        {"null", "a", 1, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str key = {cases[i].key, cases[i].key_n};
        struct json_value v = json_get(parsed(cases[i].text), key);
        if (cases[i].want == NULL)
            assert_int_equal(json_type(v), JSON_MISSING);
        else
            expect_written(v, cases[i].want);
    }
    struct json_value v = parsed("{\"\":1}");
    expect_written(json_get(v, (struct str){NULL, 0}), "1");
    assert_int_equal(json_type(json_get(JSON_NONE, STR("a"))), JSON_MISSING);
    assert_int_equal(json_type(json_get(json_null(), STR("a"))), JSON_MISSING);
}

static void test_elements_are_found_by_index(void **state)
{
    (void)state;
    struct json_value v = parsed("[10,[20,21],{\"a\":30},\"x\"]");
    static const char *const want[] = {"10", "[20,21]", "{\"a\":30}", "\"x\""};

    assert_int_equal(json_count(v), COUNT(want));
    for (size_t i = 0; i < COUNT(want); i++)
        expect_written(json_at(v, i), want[i]);
    assert_int_equal(json_type(json_at(v, COUNT(want))), JSON_MISSING);
    assert_int_equal(json_type(json_at(v, SIZE_MAX)), JSON_MISSING);
    assert_int_equal(json_type(json_at(parsed("[]"), 0)), JSON_MISSING);
    assert_int_equal(json_type(json_at(parsed("{\"a\":1}"), 0)), JSON_MISSING);
    assert_int_equal(json_type(json_at(parsed("1"), 0)), JSON_MISSING);
    assert_int_equal(json_type(json_at(JSON_NONE, 0)), JSON_MISSING);
}

static void test_walking_goes_in_the_order_of_the_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *walk;
        size_t count;
    } cases[] = {
        {"{\"z\":1,\"a\":{\"x\":[2,3]},\"m\":\"4\"}", "\"z\"=1 \"a\"={\"x\":[2,3]} \"m\"=\"4\" ",
         3},
        {"{\"a\":1,\"a\":2}", "\"a\"=1 \"a\"=2 ", 2}, /* all there is, not the winners */
        {"[1,[],[[2]],{\"a\":3},null]", "1 [] [[2]] {\"a\":3} null ", 5},
        {"{}", "", 0},
        {"[]", "", 0},
        {"1", "", 0},
        {"\"ab\"", "", 0},
        {"true", "", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_value v = parsed(cases[i].text);
        char walk[256];
        size_t n = 0, count = 0;
        for (struct json_iter it = json_iter(v); json_next(&it); count++) {
            assert_int_equal(json_type(it.key),
                             json_type(v) == JSON_OBJECT ? JSON_STRING : JSON_MISSING);
            if (json_type(it.key) != JSON_MISSING)
                n += (size_t)snprintf(walk + n, sizeof(walk) - n, "%s=", written(it.key).p);
            n += (size_t)snprintf(walk + n, sizeof(walk) - n, "%s ", written(it.value).p);
        }
        expect_str((struct str){walk, n}, cases[i].walk, strlen(cases[i].walk));
        assert_int_equal(count, cases[i].count);
        assert_int_equal(json_count(v), cases[i].count);
    }
    struct json_iter none = json_iter(JSON_NONE);
    assert_false(json_next(&none));
}

static void test_text_is_kept_and_strings_decode(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum json_type type;
        const char *text;
        bool escaped;
        const char *string;
        size_t string_n;
    } cases[] = {
        {"1.10", JSON_NUMBER, "1.10", false, "1.10", 4},
        {"-0", JSON_NUMBER, "-0", false, "-0", 2},
        {"1E+05", JSON_NUMBER, "1E+05", false, "1E+05", 5},
        {"9223372036854775808", JSON_NUMBER, "9223372036854775808", false, "9223372036854775808",
         19},
        {"true", JSON_TRUE, "true", false, "true", 4},
        {"false", JSON_FALSE, "false", false, "false", 5},
        {"null", JSON_NULL, "null", false, "null", 4},
        {"\"\"", JSON_STRING, "", false, "", 0},
        {"\"caf\xc3\xa9\"", JSON_STRING, "caf\xc3\xa9", false, "caf\xc3\xa9", 5},
        {"\"\\n\"", JSON_STRING, "\\n", true, "\n", 1},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", JSON_STRING, "\\\"\\\\\\/\\b\\f\\n\\r\\t", true,
         "\"\\/\b\f\n\r\t", 8},
        {"\"a\\u0000b\"", JSON_STRING, "a\\u0000b", true, "a\0b", 3},
        {"\"\\u007f\\u0080\\u07ff\\u0800\\uFFFF\"", JSON_STRING,
         "\\u007f\\u0080\\u07ff\\u0800\\uFFFF", true,
         "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", 11},
        {"\"\\uD800\\uDC00\\udbff\\udfff\"", JSON_STRING, "\\uD800\\uDC00\\udbff\\udfff", true,
         "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
        {"\"x \\u00e9 y \\\\u00e9\"", JSON_STRING, "x \\u00e9 y \\\\u00e9", true,
         "x \xc3\xa9 y \\u00e9", 13},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_value v = parsed(cases[i].json);
        bool escaped;
        assert_int_equal(json_type(v), cases[i].type);
        expect_str(json_text(v, &escaped), cases[i].text, strlen(cases[i].text));
        assert_int_equal(escaped, cases[i].escaped);
        struct str string = json_string(v, &pool);
        expect_str(string, cases[i].string, cases[i].string_n);
        if (!escaped) /* pointed at, not copied */
            assert_ptr_equal(string.p, json_text(v, &escaped).p);
        expect_written(v, cases[i].json);
    }
    bool escaped;
    assert_null(json_text(parsed("[1]"), &escaped).p);
    assert_null(json_text(parsed("{}"), &escaped).p);
    assert_null(json_text(JSON_NONE, &escaped).p);
}

static void test_parts_are_written_back_byte_for_byte(void **state)
{
    (void)state;
    static const char text[] = " { \"a\" : [ 1.0 ,\n\t2e5 ] , \"\\u0062\":\"\\/\\u00e9\\n\" } ";
    struct json_value v = parsed(text);

    expect_str(written(v), text + 1, sizeof(text) - 3);
    expect_written(get(v, "a"), "[ 1.0 ,\n\t2e5 ]");
    expect_written(get(v, "b"), "\"\\/\\u00e9\\n\"");
    expect_written(JSON_NONE, "null");
}

/* -- building ------------------------------------------------------------------------------- */

static void test_what_is_built_reads_like_what_was_parsed(void **state)
{
    (void)state;
    struct json_value tape = parsed("{\"big\":12345678901234567890}");
    struct str text = STR("a \"b\"\n"), number = STR("12.50");
    struct json_object *object = json_object_create(&pool, 0);
    struct json_array *array = json_array_create(&pool, 0);
    bool escaped;

    json_array_add(&pool, array, json_from_number(&number));
    json_array_add(&pool, array, json_null());
    json_array_add(&pool, array, json_from_bool(false));
    json_object_set(&pool, object, STR("tape"), tape);
    json_object_set(&pool, object, STR("list"), json_from_array(array));
    json_object_set(&pool, object, STR("k\"\\"), json_from_text(&text));
    json_object_set(&pool, object, STR("yes"), json_null());
    json_object_set(&pool, object, STR("yes"), json_from_bool(true)); /* replaces, in place */
    json_object_set(&pool, object, STR("gone"), JSON_NONE);
    struct json_value v = json_from_object(object);

    expect_written(v, "{\"tape\":{\"big\":12345678901234567890},\"list\":[12.50,null,false],"
                      "\"k\\\"\\\\\":\"a \\\"b\\\"\\u000a\",\"yes\":true,\"gone\":null}");
    assert_int_equal(json_type(v), JSON_OBJECT);
    assert_int_equal(json_count(v), 5);
    assert_int_equal(json_count(get(v, "list")), 3);
    expect_written(get(get(v, "tape"), "big"), "12345678901234567890");
    assert_int_equal(json_type(json_at(get(v, "list"), 2)), JSON_FALSE);
    assert_int_equal(json_type(json_at(get(v, "list"), 3)), JSON_MISSING);
    assert_int_equal(json_type(get(v, "none")), JSON_MISSING);
    assert_int_equal(json_type(get(get(v, "list"), "a")), JSON_MISSING);
    assert_int_equal(json_type(json_at(v, 0)), JSON_MISSING);
    expect_str(json_text(get(v, "k\"\\"), &escaped), text.p, text.n);
    assert_false(escaped);
    expect_str(json_string(get(v, "k\"\\"), &pool), text.p, text.n);
    expect_str(json_text(get(v, "yes"), &escaped), "true", 4);
    expect_str(json_text(json_at(get(v, "list"), 1), &escaped), "null", 4);
    assert_null(json_text(v, &escaped).p);

    size_t i = 0;
    static const char *const keys[] = {"tape", "list", "k\"\\", "yes", "gone"};
    for (struct json_iter it = json_iter(v); json_next(&it); i++)
        expect_str(json_string(it.key, &pool), keys[i], strlen(keys[i]));
    assert_int_equal(i, COUNT(keys));
    i = 0;
    for (struct json_iter it = json_iter(get(v, "list")); json_next(&it); i++)
        assert_int_equal(json_type(it.key), JSON_MISSING);
    assert_int_equal(i, 3);
}

static void test_built_values_grow_past_their_first_room(void **state)
{
    (void)state;
    char keys[100][4];
    struct str number = STR("7");
    struct json_object *object = json_object_create(&pool, 3);
    struct json_array *array = json_array_create(&pool, 1);

    for (int i = 0; i < 100; i++) {
        snprintf(keys[i], sizeof(keys[i]), "%d", i);
        json_object_set(&pool, object, str_from(keys[i]), json_from_bool(i % 2));
        json_array_add(&pool, array, i == 50 ? json_from_number(&number) : json_null());
    }
    assert_int_equal(json_count(json_from_object(object)), 100);
    assert_int_equal(json_count(json_from_array(array)), 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(json_type(get(json_from_object(object), keys[i])),
                         i % 2 ? JSON_TRUE : JSON_FALSE);
        assert_int_equal(json_type(json_at(json_from_array(array), (size_t)i)),
                         i == 50 ? JSON_NUMBER : JSON_NULL);
    }
}

/* -- merging -------------------------------------------------------------------------------- */

static void test_merging(void **state)
{
    (void)state;
    static const struct {
        const char *into, *with, *want;
        unsigned collisions;
    } cases[] = {
        {"{}", "{}", "{}", 0},
        {"{\"a\":1}", "{}", "{\"a\":1}", 0},
        {"{}", "{\"a\":1}", "{\"a\":1}", 0},
        {"{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}", 0},
        {"{\"z\":1,\"a\":2}", "{\"m\":3,\"b\":4}", "{\"z\":1,\"a\":2,\"m\":3,\"b\":4}", 0},
        /* a collision takes the later value in the earlier place */
        {"{\"a\":1,\"b\":2}", "{\"c\":3,\"a\":4}", "{\"a\":4,\"b\":2,\"c\":3}", 1},
        {"{\"a\":1}", "{\"a\":1}", "{\"a\":1}", 1},
        {"{\"a\":[1]}", "{\"a\":[2]}", "{\"a\":[2]}", 1},
        {"{\"a\":{\"x\":1}}", "{\"a\":[2]}", "{\"a\":[2]}", 1},
        {"{\"a\":1}", "{\"a\":{\"x\":2}}", "{\"a\":{\"x\":2}}", 1},
        {"{\"a\":{\"x\":1}}", "{\"a\":null}", "{\"a\":null}", 1},
        {"{\"a\":null}", "{\"a\":1}", "{\"a\":1}", 1},
        /* objects merge at every depth */
        {"{\"a\":{\"x\":1}}", "{\"a\":{\"y\":2}}", "{\"a\":{\"x\":1,\"y\":2}}", 0},
        {"{\"a\":{\"b\":{\"c\":{\"x\":1,\"k\":1.0}}}}", "{\"a\":{\"b\":{\"c\":{\"x\":2},\"d\":3}}}",
         "{\"a\":{\"b\":{\"c\":{\"x\":2,\"k\":1.0},\"d\":3}}}", 1},
        {"{\"a\":{\"x\":1},\"b\":1}", "{\"a\":{\"x\":2},\"b\":2}", "{\"a\":{\"x\":2},\"b\":2}", 2},
        /* names are compared decoded, and written in their plain form */
        {"{\"\\u0061\":1}", "{\"a\":2}", "{\"a\":2}", 1},
        {"{\"caf\\u00e9\":1,\"\":2}", "{\"caf\xc3\xa9\":3,\"\":4}", "{\"caf\xc3\xa9\":3,\"\":4}",
         2},
        /* of names twice in one object the last counts; that is no collision */
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"c\":4}", "{\"a\":3,\"b\":2,\"c\":4}", 0},
        {"{\"c\":4}", "{\"a\":1,\"b\":2,\"a\":3}", "{\"c\":4,\"a\":3,\"b\":2}", 0},
        {"{\"a\":1,\"a\":{\"x\":1}}", "{\"a\":2,\"a\":{\"y\":2}}", "{\"a\":{\"x\":1,\"y\":2}}", 0},
        /* numbers stay text, strings stay escaped, spaces stay inside untouched values */
        {"{\"n\":1.10}", "{\"s\":\"\\u00e9\\/\",\"l\":[ 1 ]}",
         "{\"n\":1.10,\"s\":\"\\u00e9\\/\",\"l\":[ 1 ]}", 0},
        /* no objects */
        {"1", "2", "2", 1},
        {"{\"a\":1}", "[1]", "[1]", 1},
        {"[1]", "{\"a\":1}", "{\"a\":1}", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_value into = parsed(cases[i].into), with = parsed(cases[i].with);
        unsigned collisions = 0;
        expect_written(json_merge(&pool, into, with, &collisions), cases[i].want);
        assert_int_equal(collisions, cases[i].collisions);
        expect_written(json_merge(&pool, into, with, NULL), cases[i].want);
        expect_written(into, cases[i].into);
        expect_written(with, cases[i].with);
    }
    struct json_value v = parsed("{\"a\":1}");
    unsigned collisions = 0;
    expect_written(json_merge(&pool, JSON_NONE, v, &collisions), "{\"a\":1}");
    expect_written(json_merge(&pool, v, JSON_NONE, &collisions), "{\"a\":1}");
    assert_int_equal(collisions, 0);
}

static void test_merging_three_parts_in_a_row(void **state)
{
    (void)state;
    struct json_value v = JSON_NONE;
    unsigned collisions = 0;
    static const char *const parts[] = {"{\"shop\":{\"promo\":1}}", "{\"shop\":{\"recco\":[2]}}",
                                        "{\"shop\":{\"promo\":3,\"x\":{}},\"y\":4}"};
    for (size_t i = 0; i < COUNT(parts); i++)
        v = json_merge(&pool, v, parsed(parts[i]), &collisions);
    expect_written(v, "{\"shop\":{\"promo\":3,\"recco\":[2],\"x\":{}},\"y\":4}");
    assert_int_equal(collisions, 1);
    expect_written(get(get(v, "shop"), "recco"), "[2]");
}

/* Two objects of many names, half of them shared: seconds if each name were looked up. */
static void test_merging_large_objects_takes_no_square_time(void **state)
{
    (void)state;
    enum { MEMBERS = 100000 };
    size_t size = MEMBERS * 16;
    char *texts[2];
    struct json_value v[2];

    for (int part = 0; part < 2; part++) {
        size_t n = 0;
        texts[part] = malloc(size);
        for (int i = 0; i < MEMBERS; i++)
            n += (size_t)snprintf(texts[part] + n, size - n, "%c\"%06d\":%d", i == 0 ? '{' : ',',
                                  i + part * MEMBERS / 2, part);
        n += (size_t)snprintf(texts[part] + n, size - n, "}");
        v[part] = parsed_bytes(texts[part], n);
    }
    unsigned collisions = 0;
    uint64_t before = clock_us();
    struct json_value merged = json_merge(&pool, v[0], v[1], &collisions);
    assert_true(clock_us() - before < 5000000); /* some 50 ms; minutes if it were the square */
    assert_int_equal(collisions, MEMBERS / 2);
    assert_int_equal(json_count(merged), MEMBERS + MEMBERS / 2);
    int i = 0;
    for (struct json_iter it = json_iter(merged); json_next(&it); i++) {
        char key[16];
        snprintf(key, sizeof(key), "%06d", i);
        expect_str(json_string(it.key, &pool), key, 6);
        bool escaped;
        expect_str(json_text(it.value, &escaped), i < MEMBERS / 2 ? "0" : "1", 1);
    }
    free(texts[0]);
    free(texts[1]);
}

static void test_every_error_has_words(void **state)
{
    (void)state;
    for (int error = JSON_OK; error <= JSON_TOO_LARGE; error++) {
        const char *text = json_error_text((enum json_error)error);
        assert_true(strlen(text) > 5);
        assert_string_not_equal(text, json_error_text((enum json_error)99));
        for (int other = JSON_OK; other < error; other++)
            assert_string_not_equal(text, json_error_text((enum json_error)other));
    }
}

#define WITH_POOL(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static void test_no_text_is_an_empty_one(void **state)
{
    (void)state;
    struct json_doc doc;
    size_t at = 1;
    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, NULL, 0, 8, &at), JSON_EMPTY);
    assert_int_equal(at, 0);
    json_doc_fini(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_POOL(test_members_are_found_by_name),
        WITH_POOL(test_elements_are_found_by_index),
        WITH_POOL(test_walking_goes_in_the_order_of_the_text),
        WITH_POOL(test_text_is_kept_and_strings_decode),
        WITH_POOL(test_parts_are_written_back_byte_for_byte),
        WITH_POOL(test_what_is_built_reads_like_what_was_parsed),
        WITH_POOL(test_built_values_grow_past_their_first_room),
        WITH_POOL(test_merging),
        WITH_POOL(test_merging_three_parts_in_a_row),
        WITH_POOL(test_merging_large_objects_takes_no_square_time),
        cmocka_unit_test(test_no_text_is_an_empty_one),
        cmocka_unit_test(test_every_error_has_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
