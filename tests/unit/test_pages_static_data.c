/* A part's static data: from the configuration, from a file, and what check says about both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "pages/static_data.h"

struct fixture {
    h2o_mem_pool_t pool;
    char dir[32];
    struct config *config;
    struct json_doc doc;
    bool good;
    char *messages;
};

/* keys: of the fallback. */
static void setup(struct fixture *f, const char *keys)
{
    char *text;
    size_t size;
    gw_assert(asprintf(&text,
                       "[upstreams.u]\nurl = \"http://127.0.0.1:1\"\n[pages.p]\npath = \"/\"\n"
                       "[pages.p.parts.u]\n[pages.p.parts.u.fallback]\n%s\n",
                       keys) > 0);
    struct diag *diag = diag_create();
    h2o_mem_init_pool(&f->pool);
    f->config = config_parse(str_from(text), "gateway.toml", f->dir, diag);
    assert_int_equal(diag_errors(diag), 0);
    f->good = static_data_load(&f->pool, f->config, &f->config->pages[0].parts[0].fallback, diag,
                               &f->doc);
    assert_int_equal(f->good, diag_errors(diag) == 0);
    FILE *to = open_memstream(&f->messages, &size);
    diag_print(diag, to);
    fclose(to);
    diag_destroy(&diag);
    free(text);
}

static void teardown(struct fixture *f)
{
    config_destroy(&f->config);
    free(f->messages);
    h2o_mem_clear_pool(&f->pool);
}

static void make_dir(struct fixture *f)
{
    strcpy(f->dir, "/tmp/static_data.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
}

static void write_file(const struct fixture *f, const char *text, size_t n, off_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/data.json", f->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, text, n), n);
    if (size != 0)
        assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void remove_dir(struct fixture *f)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/data.json", f->dir);
    unlink(path);
    assert_int_equal(rmdir(f->dir), 0);
}

static void assert_data(struct fixture *f, const char *wanted)
{
    struct out out;
    h2o_iovec_t *vecs;
    out_init(&out, &f->pool, 0);
    json_write(&out, json_root(&f->doc));
    assert_int_equal(out_vecs(&out, &vecs), 1);
    if (!str_eq((struct str){vecs[0].base, vecs[0].len}, str_from(wanted)))
        fail_msg("%.*s", (int)vecs[0].len, vecs[0].base);
}

static void test_static_data_stands_in_the_configuration(void **state)
{
    static const struct {
        const char *keys, *data, *messages;
    } cases[] = {
        {"", "null", ""}, /* none */
        {"static = { items = [], n = 1, t = 'a\"b' }", "{\"items\":[],\"n\":1,\"t\":\"a\\\"b\"}",
         ""},
        {"static = [1, 2]", "[1,2]", ""},
        {"static = '{\"a\": 1.10}'", "{\"a\": 1.10}", ""},
        {"static = '\"text\"'", "\"text\"", ""},
        {"static = 'null'", "null", ""},
        {"static = '{\"a\": }'", NULL, "gateway.toml:7:17: error: static data is JSON: not JSON\n"},
        {"static = 'none'", NULL, "gateway.toml:7:12: error: static data is JSON: not JSON\n"},
        {"static = '[1] 2'", NULL,
         "gateway.toml:7:15: error: static data is JSON: trailing bytes after the value\n"},
        {"static = '[\"\\ud800\"]'", NULL,
         "gateway.toml:7:13: error: static data is JSON: bad escape in a string\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f = {.dir = "/"};
        setup(&f, cases[i].keys);
        assert_string_equal(f.messages, cases[i].messages);
        if (f.good)
            assert_data(&f, cases[i].data);
        assert_int_equal(json_type(json_root(&f.doc)) == JSON_MISSING,
                         !f.good || cases[i].keys[0] == '\0');
        teardown(&f);
    }
}

static void test_static_data_comes_from_a_file(void **state)
{
    static const struct {
        const char *text, *data, *message; /* the message without the folder */
        off_t size;                        /* of the file; 0 = as long as the text */
    } cases[] = {
        {" {\"items\": [1.10]}\n", "{\"items\": [1.10]}", NULL, 0},
        {"null", "null", NULL, 0},
        {"", NULL, "/data.json:1:1: error: no JSON value\n", 0},
        {"{\n  \"a\": 1,\n  b\n}", NULL, "/data.json:3:3: error: not JSON\n", 0},
        {"[1,\n2", NULL, "/data.json:2:2: error: not JSON\n", 0},
        {"[\"\xff\"]", NULL, "/data.json:1:3: error: not UTF-8\n", 0},
        {"[]", NULL, "/data.json:1:3: error: trailing bytes after the value\n", 8 << 20},
        {"[]", NULL, "/data.json: larger than 8 MiB\n", (8 << 20) + 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        make_dir(&f);
        write_file(&f, cases[i].text, strlen(cases[i].text), cases[i].size);
        setup(&f, "static_file = 'data.json'");
        assert_int_equal(f.good, cases[i].message == NULL);
        if (cases[i].message != NULL) {
            size_t n = strlen(f.messages), tail = strlen(cases[i].message);
            if (n < tail || strcmp(f.messages + n - tail, cases[i].message) != 0)
                fail_msg("%s", f.messages);
        } else {
            assert_data(&f, cases[i].data);
        }
        teardown(&f);
        remove_dir(&f);
    }
}

static void test_what_is_no_file_is_an_error_where_it_is_named(void **state)
{
    static const struct {
        const char *keys, *message;
    } cases[] = {
        {"static_file = 'data.json'", "data.json: No such file or directory\n"},
        {"static_file = '.'", ": not a file\n"},
        {"static_file = 'fifo'", "/fifo: not a file\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        char fifo[64], *head;
        make_dir(&f);
        snprintf(fifo, sizeof(fifo), "%s/fifo", f.dir);
        assert_int_equal(mkfifo(fifo, 0600), 0); /* nobody writes: reading it would wait */
        setup(&f, cases[i].keys);
        assert_false(f.good);
        gw_assert(asprintf(&head, "gateway.toml:7:15: error: cannot read %s", f.dir) > 0);
        assert_memory_equal(f.messages, head, strlen(head));
        assert_non_null(strstr(f.messages, cases[i].message));
        free(head);
        unlink(fifo);
        teardown(&f);
        remove_dir(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_static_data_stands_in_the_configuration),
        cmocka_unit_test(test_static_data_comes_from_a_file),
        cmocka_unit_test(test_what_is_no_file_is_an_error_where_it_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
