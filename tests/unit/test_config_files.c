/* What a configuration reads beside itself: its own file, files with secrets; durations and sizes.
 */
#include <unistd.h>
#include "tests/unit/config_unit.h"

static struct config *load(const char *file, char **errors_r)
{
    size_t n;
    struct diag *diag = diag_create();
    struct config *config = config_load(file, diag);
    FILE *to = open_memstream(errors_r, &n);
    assert_non_null(to);
    diag_print(diag, to);
    fclose(to);
    diag_destroy(&diag);
    return config;
}

static void test_paths_are_relative_to_the_file(void **state)
{
    (void)state;
    char *errors, *cwd = getcwd(NULL, 0), path[4200];
    assert_non_null(cwd);
    unsetenv("GATEWAY_DATA");
    struct config *c = load("config.toml", &errors);
    assert_string_equal(errors, "");
    assert_str(c->file, "config.toml");
    assert_str(c->dir, cwd);
    snprintf(path, sizeof(path), "%s/templates", cwd);
    assert_str(c->templates_dir, path);
    snprintf(path, sizeof(path), "%s/examples/assets", cwd);
    assert_str(c->statics[0].dir, path);
    config_destroy(&c);
    free(errors);

    snprintf(path, sizeof(path), "%s/config.toml", cwd);
    c = load("tests/../config.toml", &errors);
    assert_string_equal(errors, "");
    assert_str(c->dir, cwd);
    config_destroy(&c);
    free(errors);
    free(cwd);

    c = load("no/such.toml", &errors);
    assert_string_equal(errors, "no/such.toml: error: cannot be read: No such file or directory\n");
    assert_int_equal(c->upstream_count, 0);
    config_destroy(&c);
    free(errors);
    c = load("tests", &errors);
    assert_string_equal(errors, "tests: error: cannot be read: Is a directory\n");
    config_destroy(&c);
    free(errors);
    c = load("/dev/zero", &errors);
    assert_string_equal(errors, "/dev/zero:1:1: error: not TOML: larger than 1 MiB\n");
    config_destroy(&c);
    free(errors);
}

static void test_headers_are_read_from_files(void **state)
{
    (void)state;
    static const struct {
        struct str content;
        const char *value, *error; /* what follows the file's name */
    } rows[] = {
        {STR("Bearer abc\n"), "Bearer abc", NULL},
        {STR("Bearer abc"), "Bearer abc", NULL},
        {STR("Bearer abc\r\n"), "Bearer abc", NULL},
        {STR("${HOME}"), "${HOME}", NULL},
        {STR(""), NULL, " must hold one line of text\n"},
        {STR("\n"), NULL, " must hold one line of text\n"},
        {STR("a\nb\n"), NULL, " must hold one line of text\n"},
        {STR("a\0b"), NULL, " must hold one line of text\n"},
    };
    char dir[] = "/tmp/gateway-test-XXXXXX", path[64], wanted[200], *errors;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/token", dir);
    struct str text = STR(UPSTREAM "set_headers.Authorization = { file = 'token' }");
    for (size_t i = 0; i < COUNT(rows); i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(rows[i].content.p, 1, rows[i].content.n, file);
        fclose(file);
        struct config *c = parse_in(dir, text, &errors);
        wanted[0] = '\0';
        if (rows[i].error != NULL)
            snprintf(wanted, sizeof(wanted), "t:3:38: error: Authorization: %s%s", path,
                     rows[i].error);
        assert_string_equal(errors, wanted);
        if (rows[i].value != NULL)
            assert_str(c->upstreams[0].set_headers.items[0].value, rows[i].value);
        else
            assert_int_equal(c->upstreams[0].set_headers.count, 0);
        config_destroy(&c);
        free(errors);
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 8193; i++)
        fputc('x', file);
    fclose(file);
    struct config *c = parse_in(dir, text, &errors);
    snprintf(wanted, sizeof(wanted), "t:3:38: error: Authorization: %s is larger than 8 KiB\n",
             path);
    assert_string_equal(errors, wanted);
    config_destroy(&c);
    free(errors);
    unlink(path);
    c = parse_in(dir, text, &errors);
    snprintf(wanted, sizeof(wanted),
             "t:3:38: error: Authorization: %s cannot be read: No such file or directory\n", path);
    assert_string_equal(errors, wanted);
    config_destroy(&c);
    free(errors);
    rmdir(dir);
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: not one */
    } rows[] = {
        {"250ms", 250},
        {"1.5s", 1500},
        {"2m", 120000},
        {"1h", 3600000},
        {"7d", 604800000},
        {"0s", 0},
        {"0.001s", 1},
        {"0.25m", 15000},
        {"010s", 10000},
        {"1.50s", 1500},
        {"", -1},
        {"5", -1},
        {"s", -1},
        {".5s", -1},
        {"1.s", -1},
        {"1.5ms", -1},
        {"0.0005s", -1},
        {"-1s", -1},
        {"+1s", -1},
        {"1 s", -1},
        {" 1s", -1},
        {"1s ", -1},
        {"1S", -1},
        {"1h30m", -1},
        {"1e3s", -1},
        {"1_000ms", -1},
        {"1,5s", -1},
        {"1..5s", -1},
        {"1us", -1},
        {"0x1s", -1},
        {"18446744073709551616ms", -1},
        {"18446744073709551615s", -1},
        {"0.00000000000000000000000s", -1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t ms = 4711;
        bool is_one = config_duration(str_from(rows[i].text), &ms);
        if (is_one != (rows[i].ms >= 0) || ms != (is_one ? (uint64_t)rows[i].ms : 4711))
            fail_msg("\"%s\": %d %llu", rows[i].text, is_one, (unsigned long long)ms);
    }
    uint64_t ms;
    assert_true(config_duration(STR("18446744073709551615ms"), &ms));
    assert_int_equal(ms, UINT64_MAX);
    assert_false(config_duration((struct str){NULL, 0}, &ms));
    assert_true(config_duration((struct str){"1s!", 2}, &ms)); /* not past its end */
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes; /* -1: not one */
    } rows[] = {
        {"512", 512},
        {"512B", 512},
        {"64KiB", 65536},
        {"10MB", 10000000},
        {"1.5MiB", 1572864},
        {"2kB", 2000},
        {"1GiB", 1073741824},
        {"1GB", 1000000000},
        {"1TiB", 1099511627776},
        {"1TB", 1000000000000},
        {"0", 0},
        {"0.5", -1},
        {"1.5B", -1},
        {"1.0001kB", -1},
        {"1KB", -1},
        {"1kib", -1},
        {"1 MiB", -1},
        {"MiB", -1},
        {"-1", -1},
        {"1MiBx", -1},
        {"1b", -1},
        {"17179869184GiB", -1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t bytes = 4711;
        bool is_one = config_size(str_from(rows[i].text), &bytes);
        if (is_one != (rows[i].bytes >= 0) || bytes != (is_one ? (uint64_t)rows[i].bytes : 4711))
            fail_msg("\"%s\": %d %llu", rows[i].text, is_one, (unsigned long long)bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_are_relative_to_the_file),
        cmocka_unit_test(test_headers_are_read_from_files),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
