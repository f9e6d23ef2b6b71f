/* Results of `each`: as a list, in their elements, and out of a batch's answer by key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "pages/each.h"

struct fixture {
    h2o_mem_pool_t pool;
    struct json_doc docs[3];
    size_t count;
};

static void setup(struct fixture *f)
{
    h2o_mem_init_pool(&f->pool);
    f->count = 0;
}

static void teardown(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        json_doc_fini(&f->docs[i]);
    h2o_mem_clear_pool(&f->pool);
}

static struct json_value parsed(struct fixture *f, const char *text)
{
    struct json_doc *doc = &f->docs[f->count++];
    json_doc_init(doc);
    assert_int_equal(json_parse(doc, text, strlen(text), 128, NULL), JSON_OK);
    return json_root(doc);
}

static void assert_json(struct fixture *f, struct json_value v, const char *wanted)
{
    struct out out;
    out_init(&out, &f->pool, 0);
    json_write(&out, v);
    h2o_iovec_t *vecs;
    size_t count = out_vecs(&out, &vecs), n = 0;
    char *text = h2o_mem_alloc_pool(&f->pool, out_size(&out) + 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + n, vecs[i].base, vecs[i].len);
        n += vecs[i].len;
    }
    text[n] = '\0';
    assert_string_equal(text, wanted);
}

static struct place_path path_of(struct fixture *f, const char *text)
{
    struct place_path path = {0};
    struct diag *diag = diag_create();
    if (*text != '\0')
        assert_true(
            place_compile_path(&f->pool, str_from(text), false, (struct pos){0}, 0, diag, &path));
    diag_destroy(&diag);
    return path;
}

/* "-" stands for no result. */
static size_t results_of(struct fixture *f, const char *text, struct json_value *results)
{
    size_t count = 0;
    for (struct json_iter it = json_iter(parsed(f, text)); json_next(&it); count++) {
        bool escaped;
        bool none =
            json_type(it.value) == JSON_STRING && str_eq(json_text(it.value, &escaped), STR("-"));
        results[count] = none ? JSON_NONE : it.value;
    }
    return count;
}

static void test_results_are_a_list_in_the_elements_order(void **state)
{
    static const char *const cases[][2] = {
        {"[]", "[]"},
        {"[1,{\"a\":[ ]},\"x\"]", "[1,{\"a\":[ ]},\"x\"]"},
        {"[\"-\",1,null,\"-\"]", "[null,1,null,null]"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct json_value results[8];
        setup(&f);
        size_t count = results_of(&f, cases[i][0], results);
        assert_json(&f, each_list(&f.pool, results, count), cases[i][1]);
        teardown(&f);
    }
}

static void test_results_go_into_their_elements(void **state)
{
    static const struct {
        const char *whole, *path, *into, *results, *wanted;
    } cases[] = {
        {"{\"items\":[{\"id\":1},{\"id\":2}],\"n\":1.10}", "items", "stock", "[5,{\"left\":3}]",
         "{\"items\":[{\"id\":1,\"stock\":5},{\"id\":2,\"stock\":{\"left\":3}}],\"n\":1.10}"},
        {"[{\"id\":1},{\"id\":2}]", "", "s", "[5,6]", "[{\"id\":1,\"s\":5},{\"id\":2,\"s\":6}]"},
        {"{\"a\":{\"x\":1,\"b\":[{}],\"y\":[2]},\"z\":{ }}", "a.b", "s", "[1]",
         "{\"a\":{\"x\":1,\"b\":[{\"s\":1}],\"y\":[2]},\"z\":{ }}"},
        {"{\"a\":{\"o\":{ \"q\" : 1.0 },\"b\":[{}]}}", "a.b", "s", "[1]",
         "{\"a\":{\"o\":{ \"q\" : 1.0 },\"b\":[{\"s\":1}]}}"},
        {"{\"a\":[0,{\"b\":[{\"id\":1}],\"c\":2},3]}", "a.1.b", "s", "[true]",
         "{\"a\":[0,{\"b\":[{\"id\":1,\"s\":true}],\"c\":2},3]}"},
        {"[[1],[{\"id\":1}]]", "1", "s", "[true]", "[[1],[{\"id\":1,\"s\":true}]]"},
        /* into nests, and merges with what stands there */
        {"[{\"id\":1}]", "", "a.b", "[5]", "[{\"id\":1,\"a\":{\"b\":5}}]"},
        {"[{\"a\":{\"x\":1}}]", "", "a", "[{\"y\":2}]", "[{\"a\":{\"x\":1,\"y\":2}}]"},
        {"[{\"a\":{\"x\":1,\"b\":0}}]", "", "a.b", "[5]", "[{\"a\":{\"x\":1,\"b\":5}}]"},
        {"[{\"a\":1}]", "", "a.b", "[5]", "[{\"a\":{\"b\":5}}]"},
        /* elements that nothing can be put into, and results that aren't there */
        {"[1,null,\"x\",[ ],{},{}]", "", "s", "[9,9,9,9,\"-\",9]",
         "[1,null,\"x\",[ ],{},{\"s\":9}]"},
        {"[{},{},{}]", "", "s", "[1]", "[{\"s\":1},{},{}]"},
        {"[{}]", "", "s", "[1,2,3]", "[{\"s\":1}]"},
        {"[{}]", "", "s", "[]", "[{}]"},
        /* null takes nobody's place */
        {"[{},{\"s\":1},{\"s\":null}]", "", "s", "[null,null,null]",
         "[{\"s\":null},{\"s\":1},{\"s\":null}]"},
        {"[{\"a\":1},{\"a\":{}},{\"a\":{\"b\":2}}]", "", "a.b", "[null,null,null]",
         "[{\"a\":1},{\"a\":{\"b\":null}},{\"a\":{\"b\":2}}]"},
        /* the path leads to no array */
        {"{\"a\":{\"b\":1}}", "a", "s", "[1]", "{\"a\":{\"b\":1}}"},
        {"{\"a\":{\"b\":1}}", "a.c", "s", "[1]", "{\"a\":{\"b\":1}}"},
        {"null", "", "s", "[1]", "null"},
        /* a name that is there twice: the last counts, and only it is left */
        {"{\"a\":[{}],\"b\":1,\"a\":[{},{}]}", "a", "s", "[1,2]",
         "{\"a\":[{\"s\":1},{\"s\":2}],\"b\":1}"},
        {"{\"\\u0061\":[{}]}", "a", "s", "[1]", "{\"a\":[{\"s\":1}]}"},
        {"{\"a\\\"\\n\":1,\"a\":[]}", "a", "s", "[1]", "{\"a\\\"\\u000a\":1,\"a\":[]}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct json_value results[8];
        setup(&f);
        struct json_value whole = parsed(&f, cases[i].whole);
        size_t count = results_of(&f, cases[i].results, results);
        struct place_path path = path_of(&f, cases[i].path), into = path_of(&f, cases[i].into);
        struct json_value placed = each_place(&f.pool, whole, &path, &into, results, count);
        assert_json(&f, placed, cases[i].wanted);
        assert_json(&f, whole, cases[i].whole); /* as it was */
        teardown(&f);
    }
}

static void test_results_go_into_elements_that_have_some_already(void **state)
{
    (void)state;
    struct fixture f;
    struct json_value results[4];
    setup(&f);
    struct json_value whole = parsed(&f, "{\"items\":[{\"id\":1},{\"id\":2}]}");
    struct place_path path = path_of(&f, "items");
    struct place_path stock = path_of(&f, "shop.stock"), price = path_of(&f, "shop.price");
    results_of(&f, "[10,20]", results);
    whole = each_place(&f.pool, whole, &path, &stock, results, 2);
    results_of(&f, "[1.10,\"-\"]", results);
    whole = each_place(&f.pool, whole, &path, &price, results, 2);
    assert_json(&f, whole,
                "{\"items\":[{\"id\":1,\"shop\":{\"stock\":10,\"price\":1.10}},"
                "{\"id\":2,\"shop\":{\"stock\":20}}]}");
    teardown(&f);
}

static void test_a_batchs_answer_goes_to_whose_it_is(void **state)
{
    static const struct {
        const char *answer, *by, *keys, *wanted; /* NULL: the wrong type */
    } cases[] = {
        {"[{\"id\":2,\"n\":\"b\"},{\"id\":1,\"n\":\"a\"}]", "id", "[1,2]",
         "[{\"id\":1,\"n\":\"a\"},{\"id\":2,\"n\":\"b\"}]"},
        {"{\"2\":\"b\",\"1\":\"a\"}", "", "[1,2]", "[\"a\",\"b\"]"},
        /* who gets nothing; who isn't asked for */
        {"[{\"id\":1},{\"id\":9}]", "id", "[7,1]", "[null,{\"id\":1}]"},
        {"{}", "", "[1]", "[null]"},
        {"[]", "id", "[1,2]", "[null,null]"},
        {"[{\"id\":1}]", "id", "[]", "[]"},
        /* the same text is the same key; another text is another */
        {"[{\"id\":\"7\"},{\"id\":8}]", "id", "[7,\"8\"]", "[{\"id\":\"7\"},{\"id\":8}]"},
        {"[{\"id\":7}]", "id", "[\"7.0\",\"07\",\" 7\",\"7\"]", "[null,null,null,{\"id\":7}]"},
        {"{\"\\u0061\":1,\"b\\n\":2}", "", "[\"a\",\"b\\u000a\"]", "[1,2]"},
        {"[{\"id\":true},{\"id\":\"\"}]", "id", "[\"true\",\"\"]", "[{\"id\":true},{\"id\":\"\"}]"},
        /* twice */
        {"[{\"id\":1}]", "id", "[1,1,\"1\"]", "[{\"id\":1},{\"id\":1},{\"id\":1}]"},
        {"[{\"id\":1,\"n\":1},{\"id\":2},{\"id\":\"1\",\"n\":2}]", "id", "[1]",
         "[{\"id\":\"1\",\"n\":2}]"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "", "[\"a\"]", "[3]"},
        /* elements that name nobody */
        {"[1,null,[],{},{\"id\":null},{\"id\":[1]},{\"id\":{}},{\"id\":1}]", "id",
         "[1,\"null\",\"[1]\"]", "[{\"id\":1},null,null]"},
        /* an element without a key */
        {"{\"\":1,\"null\":2}", "", "[null,\"\"]", "[null,1]"},
        /* the wrong type */
        {"{\"1\":1}", "id", "[1]", NULL},
        {"[1]", "", "[1]", NULL},
        {"null", "id", "[1]", NULL},
        {"\"x\"", "", "[1]", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct json_value keys[8], results[8];
        struct str texts[8];
        setup(&f);
        struct json_value answer = parsed(&f, cases[i].answer);
        size_t count = results_of(&f, cases[i].keys, keys);
        for (size_t k = 0; k < count; k++)
            texts[k] = place_text(keys[k], &f.pool);
        bool fits = each_spread(&f.pool, answer, str_from(cases[i].by), texts, count, results);
        assert_int_equal(fits, cases[i].wanted != NULL);
        if (fits)
            assert_json(&f, each_list(&f.pool, results, count), cases[i].wanted);
        teardown(&f);
    }
}

/* Ten times what a page may have. Looked up one by one they would be compared ten thousand million
 * times, which takes any machine longer than the limit; sorted it is a tenth of a second. */
static void test_many_elements_take_no_time(void **state)
{
    enum { MANY = 100000 };
    (void)state;
    struct fixture f;
    setup(&f);
    char *list = malloc(MANY * 24 + 64), *object = malloc(MANY * 24 + 64);
    size_t n = (size_t)sprintf(list, "{\"items\":["), m = (size_t)sprintf(object, "{");
    for (size_t i = 0; i < MANY; i++) {
        n += (size_t)sprintf(list + n, "%s{\"id\":%zu}", i ? "," : "", (i * 7919) % MANY);
        m += (size_t)sprintf(object + m, "%s\"%zu\":%zu", i ? "," : "", (i * 104729) % MANY,
                             (i * 104729) % MANY + 1);
    }
    sprintf(list + n, "]}");
    sprintf(object + m, "}");

    struct json_value whole = parsed(&f, list), by_key = parsed(&f, object);
    struct place_path path = path_of(&f, "items"), into = path_of(&f, "n");
    struct str *keys = malloc(MANY * sizeof(*keys));
    struct json_value *results = malloc(MANY * sizeof(*results));
    uint64_t started = clock_us();
    size_t i = 0;
    for (struct json_iter it = json_iter(json_get(whole, STR("items"))); json_next(&it);)
        keys[i++] = place_text(json_get(it.value, STR("id")), &f.pool);
    assert_true(each_spread(&f.pool, by_key, STR(""), keys, MANY, results));
    struct json_value placed = each_place(&f.pool, whole, &path, &into, results, MANY);
    assert_true(
        each_spread(&f.pool, json_get(placed, STR("items")), STR("id"), keys, MANY, results));
    uint64_t us = clock_us() - started;
    for (i = 0; i < MANY; i++) {
        assert_true(str_eq(place_text(json_get(results[i], STR("id")), &f.pool), keys[i]));
        size_t number = strtoul(place_text(json_get(results[i], STR("n")), &f.pool).p, NULL, 10);
        assert_int_equal(number, strtoul(keys[i].p, NULL, 10) + 1);
    }
    printf("%d elements: %llu us\n", (int)MANY, (unsigned long long)us);
    assert_true(us < 5 * 1000 * 1000);
    free(results);
    free(keys);
    free(list);
    free(object);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_are_a_list_in_the_elements_order),
        cmocka_unit_test(test_results_go_into_their_elements),
        cmocka_unit_test(test_results_go_into_elements_that_have_some_already),
        cmocka_unit_test(test_a_batchs_answer_goes_to_whose_it_is),
        cmocka_unit_test(test_many_elements_take_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
