/* What of an answer is shown and where: select, allow, deny, into, and what check says about paths
 * that can't work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "pages/place.h"

/* A part as the configuration file gives it, compiled. */
struct fixture {
    h2o_mem_pool_t pool;
    struct diag *diag;
    struct config *config;
    struct placement placement;
    bool good;
};

static void setup(struct fixture *f, const char *keys)
{
    char *text;
    gw_assert(asprintf(&text,
                       "[upstreams.u]\nurl = \"http://127.0.0.1:1\"\n[pages.p]\npath = \"/\"\n"
                       "[pages.p.parts.u]\n%s\n",
                       keys) > 0);
    h2o_mem_init_pool(&f->pool);
    f->diag = diag_create();
    f->config = config_parse(str_from(text), "gateway.toml", "/", f->diag);
    assert_int_equal(diag_errors(f->diag), 0);
    f->good =
        place_compile(&f->pool, f->config, &f->config->pages[0].parts[0], f->diag, &f->placement);
    free(text);
}

static void teardown(struct fixture *f)
{
    config_destroy(&f->config);
    diag_destroy(&f->diag);
    h2o_mem_clear_pool(&f->pool);
}

static struct str written(h2o_mem_pool_t *pool, struct json_value v)
{
    struct out out;
    out_init(&out, pool, 0);
    json_write(&out, v);
    h2o_iovec_t *vecs;
    size_t count = out_vecs(&out, &vecs), n = 0;
    char *text = h2o_mem_alloc_pool(pool, out_size(&out) + 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + n, vecs[i].base, vecs[i].len);
        n += vecs[i].len;
    }
    return (struct str){text, n};
}

static struct json_value parsed(struct json_doc *doc, const char *text)
{
    json_doc_init(doc);
    assert_int_equal(json_parse(doc, text, strlen(text), 128, NULL), JSON_OK);
    return json_root(doc);
}

static void test_select_takes_one_value(void **state)
{
    (void)state;
    static const struct {
        const char *select, *answer, *data; /* NULL: nothing there */
    } cases[] = {
        {"", "{\"a\":1}", "{\"a\":1}"},
        {"data", "{\"data\": [1, 2] }", "[1, 2]"},
        {"data.items", "{\"data\":{\"items\":[{\"id\":1.10}]}}", "[{\"id\":1.10}]"},
        {"items.1", "{\"items\":[\"a\",\"b\"]}", "\"b\""},
        {"0", "[7]", "7"},
        {"0", "{\"0\":8}", "8"},
        {"a", "{\"a\":null}", "null"},
        {"a", "{\"a\":1,\"a\":2}", "2"},
        {"caf\xc3\xa9", "{\"caf\\u00e9\":1}", "1"},
        {"data", "{}", NULL},
        {"items.2", "{\"items\":[1,2]}", NULL},
        {"items.01", "{\"items\":[1,2]}", NULL},
        {"items.x", "{\"items\":[1,2]}", NULL},
        {"items.-1", "{\"items\":[1,2]}", NULL},
        {"a.b", "{\"a\":\"b\"}", NULL},
        {"a.b.c", "{\"a\":{}}", NULL},
        {"99999999999999999999", "[1]", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        char keys[200];
        snprintf(keys, sizeof(keys), "select = \"%s\"", cases[i].select);
        setup(&f, keys);
        assert_true(f.good);
        struct json_doc doc;
        struct json_value v = place_select(parsed(&doc, cases[i].answer), &f.placement.select);
        if (cases[i].data == NULL)
            assert_int_equal(json_type(v), JSON_MISSING);
        else if (!str_eq(written(&f.pool, v), str_from(cases[i].data)))
            fail_msg("%s of %s", cases[i].select, cases[i].answer);
        json_doc_fini(&doc);
        teardown(&f);
    }
}

static void test_allow_and_deny_leave_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *answer, *data;
    } cases[] = {
        {"", "{ \"a\" : 1 }", "{ \"a\" : 1 }"},
        /* allow */
        {"allow = [\"a\"]", "{\"a\":1,\"b\":2}", "{\"a\":1}"},
        {"allow = [\"b\",\"a\"]", "{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":1,\"b\":2}"},
        {"allow = [\"a.b\"]", "{\"a\":{\"b\":1,\"c\":2},\"b\":3}", "{\"a\":{\"b\":1}}"},
        {"allow = [\"a.b\"]", "{\"a\":{\"c\":2}}", "{\"a\":{}}"},
        {"allow = [\"a.b\"]", "{\"a\":7}", "{}"},
        {"allow = [\"a\",\"a.b\"]", "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1,\"c\":2}}"},
        {"allow = [\"*\"]", "{\"a\":1,\"b\":{}}", "{\"a\":1,\"b\":{}}"},
        {"allow = [\"*.id\"]", "{\"x\":{\"id\":1,\"s\":2},\"y\":3}", "{\"x\":{\"id\":1}}"},
        {"allow = [\"a\"]", "[{\"a\":1,\"b\":2},{\"b\":3},4]", "[{\"a\":1},{}]"},
        {"allow = [\"items.id\"]", "{\"items\":[{\"id\":1,\"s\":2},{\"id\":3}],\"n\":2}",
         "{\"items\":[{\"id\":1},{\"id\":3}]}"},
        {"allow = [\"items.*.id\"]", "{\"items\":[{\"id\":1,\"s\":2}]}",
         "{\"items\":[{\"id\":1}]}"},
        {"allow = [\"items.0\"]", "{\"items\":[{\"id\":1},{\"id\":2}]}",
         "{\"items\":[{\"id\":1}]}"},
        {"allow = [\"m.id\"]", "{\"m\":[[{\"id\":1,\"s\":2}]]}", "{\"m\":[[{\"id\":1}]]}"},
        {"allow = [\"a\"]", "\"text\"", "null"},
        {"allow = [\"a\"]", "null", "null"},
        {"allow = [\"caf\xc3\xa9\"]", "{\"caf\\u00e9\":1,\"b\":2}", "{\"caf\xc3\xa9\":1}"},
        /* deny */
        {"deny = [\"a\"]", "{\"a\":1,\"b\":2}", "{\"b\":2}"},
        {"deny = [\"a\"]", "{\"a\":1,\"\\u0061\":2,\"a\":3}", "{}"},
        {"deny = [\"a.b\"]", "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"c\":2}}"},
        {"deny = [\"a.b\"]", "{\"a\":5,\"c\":{\"b\":1}}", "{\"a\":5,\"c\":{\"b\":1}}"},
        {"deny = [\"*.s\"]", "{\"x\":{\"s\":1,\"t\":2},\"s\":3}", "{\"x\":{\"t\":2},\"s\":3}"},
        {"deny = [\"items.cost\"]", "{\"items\":[{\"cost\":1,\"id\":2},3]}",
         "{\"items\":[{\"id\":2},3]}"},
        {"deny = [\"*.cost\"]", "[{\"cost\":1,\"id\":2}]", "[{\"id\":2}]"},
        {"deny = [\"1\"]", "[1,2,3]", "[1,3]"},
        {"deny = [\"*\"]", "[1,2]", "[]"},
        {"deny = [\"a\"]", "7", "7"},
        /* both: what is denied stays denied */
        {"allow = [\"user\"]\ndeny = [\"user.password\"]",
         "{\"user\":{\"name\":\"x\",\"password\":\"y\"},\"z\":1}", "{\"user\":{\"name\":\"x\"}}"},
        {"allow = [\"a.b\"]\ndeny = [\"a\"]", "{\"a\":{\"b\":1}}", "{}"},
        {"allow = [\"a\"]\ndeny = [\"a\"]", "{\"a\":1}", "{}"},
        /* kept whole: the upstream's own bytes */
        {"allow = [\"a\"]", "{\"a\":{ \"n\" : 1.10 , \"e\":1E5},\"b\":0}",
         "{\"a\":{ \"n\" : 1.10 , \"e\":1E5}}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        setup(&f, cases[i].keys);
        assert_true(f.good);
        struct json_doc doc;
        struct json_value v = place_filter(&f.pool, parsed(&doc, cases[i].answer), &f.placement);
        struct str text = written(&f.pool, v);
        if (!str_eq(text, str_from(cases[i].data)))
            fail_msg("%s of %s gave %.*s", cases[i].keys, cases[i].answer, (int)text.n, text.p);
        json_doc_fini(&doc);
        teardown(&f);
    }
}

static void test_into_nests(void **state)
{
    (void)state;
    static const struct {
        const char *into, *data;
        bool spread;
    } cases[] = {
        {"", "7", false},
        {".", "7", true},
        {"shop", "{\"shop\":7}", false},
        {"shop.promo.0", "{\"shop\":{\"promo\":{\"0\":7}}}", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        char keys[64];
        snprintf(keys, sizeof(keys), "into = \"%s\"", cases[i].into);
        setup(&f, keys);
        assert_true(f.good);
        assert_int_equal(f.placement.spread, cases[i].spread);
        struct json_doc doc;
        struct json_value v = place_wrap(&f.pool, &f.placement.into, parsed(&doc, "7"));
        assert_true(str_eq(written(&f.pool, v), str_from(cases[i].data)));
        json_doc_fini(&doc);
        teardown(&f);
    }
}

static void note_collision(void *arg, struct str path)
{
    char *all = arg;
    size_t n = strlen(all);
    snprintf(all + n, 300 - n, "%.*s ", (int)path.n, path.p);
}

static void test_collisions_are_named_and_counted_alike(void **state)
{
    (void)state;
    static const struct {
        const char *into, *with, *names;
    } cases[] = {
        {"{}", "{\"a\":1}", ""},
        {"{\"a\":1}", "{\"b\":1}", ""},
        {"{\"a\":1,\"b\":2}", "{\"b\":3,\"a\":4}", "b a "},
        {"{\"s\":{\"t\":1}}", "{\"s\":{\"u\":2}}", ""},
        {"{\"s\":{\"t\":1,\"u\":1}}", "{\"s\":{\"t\":2}}", "s.t "},
        {"{\"s\":{\"t\":{\"v\":1}}}", "{\"s\":{\"t\":{\"v\":[]}}}", "s.t.v "},
        {"{\"s\":{\"t\":1}}", "{\"s\":5}", "s "},
        {"{\"s\":5}", "{\"s\":{\"t\":1}}", "s "},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        struct json_doc a, b;
        struct json_value into = parsed(&a, cases[i].into), with = parsed(&b, cases[i].with);
        char names[300] = "";
        place_collisions(into, with, note_collision, names);
        assert_string_equal(names, cases[i].names);
        unsigned counted = 0, named = 0;
        json_merge(&pool, into, with, &counted);
        for (const char *c = names; *c != '\0'; c++)
            named += *c == ' ';
        assert_int_equal(counted, named);
        json_doc_fini(&a);
        json_doc_fini(&b);
        h2o_mem_clear_pool(&pool);
    }
}

/* Two answers of 100,000 members each: naming what collides must not take n * m steps. */
static void test_naming_collisions_of_huge_answers_is_cut_short(void **state)
{
    (void)state;
    enum { MEMBERS = 100000 };
    char *text = malloc(MEMBERS * 16 + 2), *to = text;
    *to++ = '{';
    for (int i = 0; i < MEMBERS; i++)
        to += sprintf(to, "%s\"k%d\":0", i ? "," : "", i);
    *to++ = '}';
    struct json_doc doc;
    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, text, (size_t)(to - text), 8, NULL), JSON_OK);
    char names[300] = "";
    place_collisions(json_root(&doc), json_root(&doc), note_collision, names);
    assert_string_equal(names, "k0 k1 ");
    json_doc_fini(&doc);
    free(text);
}

static void test_check_refuses_paths_that_cannot_work(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *message;
    } cases[] = {
        {"select = \"a..b\"", "gateway.toml:6:13: error: \"a..b\" has an empty key\n"},
        {"select = \".\"", "gateway.toml:6:11: error: \".\" has an empty key\n"},
        {"select = \"a.*\"",
         "gateway.toml:6:13: error: '*' stands for many values, here one is needed\n"},
        {"into = \"a.\"", "gateway.toml:6:11: error: \"a.\" has an empty key\n"},
        {"into = \"*\"",
         "gateway.toml:6:9: error: '*' stands for many values, here one is needed\n"},
        {"allow = [\"a\", \".b\"]", "gateway.toml:6:16: error: \".b\" has an empty key\n"},
        {"deny = [\"a..\"]", "gateway.toml:6:12: error: \"a..\" has an empty key\n"},
        {"select = \"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a\"",
         "gateway.toml:6:11: error: a path has at most 32 keys\n"},
        {"deny = [\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
         "\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
         "\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]",
         "gateway.toml:6:8: error: at most 32 paths can be listed\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        setup(&f, cases[i].keys);
        assert_false(f.good);
        char *messages;
        size_t size;
        FILE *to = open_memstream(&messages, &size);
        diag_print(f.diag, to);
        fclose(to);
        assert_string_equal(messages, cases[i].message);
        free(messages);
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select_takes_one_value),
        cmocka_unit_test(test_allow_and_deny_leave_what_they_say),
        cmocka_unit_test(test_into_nests),
        cmocka_unit_test(test_collisions_are_named_and_counted_alike),
        cmocka_unit_test(test_naming_collisions_of_huge_answers_is_cut_short),
        cmocka_unit_test(test_check_refuses_paths_that_cannot_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
