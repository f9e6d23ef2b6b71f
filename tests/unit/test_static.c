/* Which file a path means, and what a client is told about it. */
#include "http/static_open.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "http/conditional.h"

/* -- validators and negotiation -------------------------------------------------------------- */

static void test_an_entity_tag_changes_with_the_file(void **state)
{
    (void)state;
    static const struct {
        struct timespec mtime;
        uint64_t size, inode;
        const char *etag;
    } cases[] = {
        {{0, 0}, 0, 0, "\"0-0-0\""},
        {{1, 1}, 0x10, 0xabc, "\"3b9aca01-10-abc\""},
        {{1, 2}, 0x10, 0xabc, "\"3b9aca02-10-abc\""},
        {{1, 1}, 0x11, 0xabc, "\"3b9aca01-11-abc\""},
        {{1, 1}, 0x10, 0xabd, "\"3b9aca01-10-abd\""},
        {{18446744073, 0},
         UINT64_MAX,
         UINT64_MAX,
         "\"ffffffffd5b51a00-ffffffffffffffff-ffffffffffffffff\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[ETAG_MAX];
        size_t n = etag_format(text, cases[i].mtime, cases[i].size, cases[i].inode);
        assert_string_equal(text, cases[i].etag);
        assert_int_equal(n, strlen(cases[i].etag));
    }
}

static void test_lists_of_entity_tags(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool weakly, strongly;
    } cases[] = {
        {"\"a\"", true, true},
        {"W/\"a\"", true, false},
        {"*", true, true},
        {" * ", true, true},
        {"\"b\"", false, false},
        {"\"b\", \"a\"", true, true},
        {"\"b\",\"a\",\"c\"", true, true},
        {"\"b\" , W/\"a\"", true, false},
        {"W/\"a\", \"a\"", true, true},
        {",, \"a\",", true, true},
        {"\"b,\"a", false, false},
        {"\"b, \"a\"", false, false}, /* one tag named `b, ` and rubbish */
        {"\"b\"\"a\"", false, false}, /* no comma */
        {"\"x\\\"a\"", false, false}, /* no escapes in entity tags */
        {"w/\"a\"", false, false},    /* case matters */
        {"a", false, false},
        {"\"a", false, false},
        {"W/", false, false},
        {"\"", false, false},
        {"\"\"", false, false},
        {"\"A\"", false, false},
        {"", false, false},
        {"*, \"b\"", false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str list = str_from(cases[i].list);
        if (etag_list_has(list, STR("\"a\""), false) != cases[i].weakly ||
            etag_list_has(list, STR("\"a\""), true) != cases[i].strongly)
            fail_msg("%s", cases[i].list);
    }
}

#define BEFORE   "Sun, 06 Nov 1994 08:49:36 GMT"
#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define AFTER    "Sun, 06 Nov 1994 08:49:38 GMT"

static void test_preconditions(void **state)
{
    (void)state;
    static const struct {
        const char *match, *unmodified, *none_match, *modified;
        int status;
    } cases[] = {
        {NULL, NULL, NULL, NULL, 200},
        {NULL, NULL, "\"a\"", NULL, 304},
        {NULL, NULL, "W/\"a\"", NULL, 304},
        {NULL, NULL, "*", NULL, 304},
        {NULL, NULL, "\"b\"", NULL, 200},
        {NULL, NULL, "\"b\"", AFTER, 200}, /* the date counts only without a tag */
        {NULL, NULL, "", AFTER, 200},
        {NULL, NULL, NULL, BEFORE, 200},
        {NULL, NULL, NULL, MODIFIED, 304},
        {NULL, NULL, NULL, " " AFTER " ", 304},
        {NULL, NULL, NULL, "yesterday", 200},
        {NULL, NULL, NULL, "", 200},
        {"\"a\"", NULL, NULL, NULL, 200},
        {"*", NULL, NULL, NULL, 200},
        {"W/\"a\"", NULL, NULL, NULL, 412}, /* If-Match compares strongly */
        {"\"b\"", NULL, "\"a\"", NULL, 412},
        {"\"a\"", BEFORE, NULL, NULL, 200},
        {"\"a\"", NULL, "\"a\"", NULL, 304},
        {NULL, BEFORE, NULL, NULL, 412},
        {NULL, MODIFIED, NULL, NULL, 200},
        {NULL, "never", NULL, NULL, 200},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct preconditions conditions = {
            .if_match = str_from(cases[i].match),
            .if_unmodified_since = str_from(cases[i].unmodified),
            .if_none_match = str_from(cases[i].none_match),
            .if_modified_since = str_from(cases[i].modified),
        };
        int status = preconditions_evaluate(&conditions, STR("\"a\""), 784111777);
        if (status != cases[i].status)
            fail_msg("case %zu: %d", i, status);
    }
}

static void test_dates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        time_t time;
    } good[] = {
        {MODIFIED, 784111777},
        {" " MODIFIED "\t", 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Thu, 29 Feb 2024 23:59:59 GMT", 1709251199},
    };
    static const char *const bad[] = {"", "yesterday", "Sunday, 06-Nov-94 08:49:37 GMT",
                                      "Sun Nov  6 08:49:37 1994", "784111777"};
    time_t time;
    for (size_t i = 0; i < COUNT(good); i++) {
        char text[HTTP_DATE_LENGTH + 1];
        assert_true(http_date_parse(str_from(good[i].text), &time));
        assert_int_equal(time, good[i].time);
        http_date_format(time, text);
        assert_non_null(strstr(good[i].text, text));
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(http_date_parse(str_from(bad[i]), &time));
}

static void test_accept_encoding(void **state)
{
    (void)state;
    static const struct {
        const char *value, *best; /* 'b'rotli, 'g'zip, the better one first */
    } cases[] = {
        {"gzip", "g"},
        {"GZIP", "g"},
        {"x-gzip", "g"},
        {"br", "b"},
        {"BR", "b"},
        {"gzip, deflate, br", "bg"},
        {"gzip;q=1, br;q=0.5", "gb"},
        {"gzip;q=0.5, br;q=0.501", "bg"},
        {"deflate,gzip", "g"},
        {"br ; q=1 , gzip ; q=0.001", "bg"},
        {"br;q=0, gzip", "g"},
        {"gzip;q=1", "g"},
        {"gzip;q=1.000", "g"},
        {"gzip;foo=bar;Q=0.5", "g"},
        {"*", "bg"},
        {"br, *;q=0.1", "bg"},
        {"gzip, *;q=0.1", "gb"},
        {"gzip;q=0.5, identity;q=0.5", "g"},
        {"br;q=0.4, gzip;q=0.5, identity;q=0.5", "g"},
        {NULL, ""},
        {"", ""},
        {"identity", ""},
        {"gzipped", ""},
        {"xgzip", ""},
        {"brotli", ""},
        {"gzip;q=0", ""},
        {"gzip;q=0.", ""},
        {"gzip;q=0.000", ""},
        {"*;q=0", ""},
        {"*, gzip;q=0", "b"},
        {"gzip;q=0, *", "b"},
        {"gzip;q=0.5, identity", ""}, /* prefers it plain */
        {"gzip;q=2", ""},
        {"gzip;q=1.001", ""},
        {"gzip;q=-1", ""},
        {"gzip;q=0.1234", ""},
        {"gzip;q=", ""},
        {"gzip;q=0x1", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char best[CODINGS + 1] = "";
        struct codings codings = accepted_codings(str_from(cases[i].value));
        for (unsigned k = 0; k < codings.count; k++)
            best[k] = codings.best[k] == CODING_BROTLI ? 'b' : 'g';
        if (strcmp(best, cases[i].best) != 0)
            fail_msg("%s: %s", cases[i].value ? cases[i].value : "absent", best);
    }
}

/* -- files ----------------------------------------------------------------------------------- */

static char root[] = "/tmp/test_static.XXXXXX";

static char *in_root(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % COUNT(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
    return path;
}

static void put_file(const char *name, time_t mtime)
{
    FILE *file = fopen(in_root(name), "w");
    assert_non_null(file);
    fputs(name, file);
    fclose(file);
    const struct timespec times[] = {{mtime, 0}, {mtime, 500}};
    assert_int_equal(utimensat(AT_FDCWD, in_root(name), times, 0), 0);
}

static int make_files(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    static const char *const directories[] = {"www",      "www/css", "www/css/deep", "www/empty",
                                              "www/.git", "private", "www/dir.css",  "www/private"};
    for (size_t i = 0; i < COUNT(directories); i++)
        assert_int_equal(mkdir(in_root(directories[i]), 0755), 0);
    static const char *const files[] = {"secret",
                                        "private/secret",
                                        "www/index.html",
                                        "www/a.css",
                                        "www/css/a.css",
                                        "www/css/deep/b",
                                        "www/css/index.html",
                                        "www/.hidden",
                                        "www/.git/config",
                                        "www/a b.css",
                                        "www/\xc3\xa4.css",
                                        "www/a..b",
                                        "www/new.css",
                                        "www/new.css.gz",
                                        "www/old.css",
                                        "www/old.css.gz",
                                        "www/same.css",
                                        "www/same.css.gz",
                                        "www/gzdir.css",
                                        "www/only.css.gz",
                                        "www/index.html.gz",
                                        "www/both.css",
                                        "www/both.css.gz",
                                        "www/both.css.br",
                                        "www/stale.css",
                                        "www/stale.css.gz",
                                        "www/stale.css.br"};
    for (size_t i = 0; i < COUNT(files); i++)
        put_file(files[i], 1000);
    put_file("www/new.css.gz", 1001);
    put_file("www/old.css.gz", 999);
    put_file("www/stale.css.br", 999);
    assert_int_equal(mkdir(in_root("www/gzdir.css.gz"), 0755), 0);
    assert_int_equal(mkfifo(in_root("www/fifo"), 0644), 0);
    static const struct {
        const char *target, *name;
    } links[] = {
        {"css/a.css", "www/inside.css"},
        {"../a.css", "www/css/up_inside.css"},
        {"css", "www/styles"},
        {".hidden", "www/shown"},
        {"../secret", "www/outside"},
        {"/etc/passwd", "www/absolute"},
        {"../private", "www/outside_dir"},
        {"loop", "www/loop"},
        {"nowhere", "www/dangling"},
        {"/proc/self/root", "www/magic"},
        {"../secret", "www/evil.css.gz"},
    };
    for (size_t i = 0; i < COUNT(links); i++)
        assert_int_equal(symlink(links[i].target, in_root(links[i].name)), 0);
    put_file("www/evil.css", 1000);
    assert_int_equal(symlink(root, in_root("www/back")), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", in_root("www/socket"));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof(command), "rm -r %s", root);
    return system(command);
}

static const struct codings plain = {0}, gzip = {1, {CODING_GZIP}},
                            both = {2, {CODING_BROTLI, CODING_GZIP}};

static struct static_dir open_www(void)
{
    struct static_dir dir;
    assert_int_equal(static_dir_open(in_root("www"), &dir), 0);
    return dir;
}

/* Each file holds its own name. */
static void check_content(struct static_file *file, const char *name)
{
    char text[256] = "";
    assert_int_equal(file->size, strlen(name));
    assert_int_equal(read(file->fd, text, sizeof(text) - 1), strlen(name));
    assert_string_equal(text, name);
    close(file->fd);
}

/* Asks in each of the ways that there are. */
static void check_path(const struct static_dir *dir, const char *path, const char *expected,
                       bool followed)
{
    bool is_dir = strcmp(path, "css") == 0 || strcmp(path, "dir.css") == 0;
    for (int resolver = (int)dir->resolver; resolver <= RESOLVE_BY_WALKING; resolver++) {
        struct static_dir with = *dir;
        with.resolver = (enum static_resolver)resolver;
        struct static_file file;
        int error = static_open(&with, str_from(path), true, &plain, true, &file);
        bool there = expected && !(followed && resolver == RESOLVE_BY_WALKING);
        if (error != (there ? 0 : is_dir ? EISDIR : ENOENT))
            fail_msg("\"%s\", resolver %d: %s", path, resolver, strerror(error));
        if (there) {
            assert_int_equal(file.coding, CODINGS);
            check_content(&file, expected);
        }
    }
}

static void test_paths_find_their_files(void **state)
{
    (void)state;
    static const struct {
        const char *path, *file;
        bool followed; /* a symlink: not there for a kernel without openat2 */
    } cases[] = {
        {"a.css", "www/a.css", false},
        {"css/a.css", "www/css/a.css", false},
        {"css/deep/b", "www/css/deep/b", false},
        {"a b.css", "www/a b.css", false},
        {"\xc3\xa4.css", "www/\xc3\xa4.css", false},
        {"a..b", "www/a..b", false},
        {"", "www/index.html", false},
        {"css/", "www/css/index.html", false},
        {"inside.css", "www/css/a.css", true},
        {"css/up_inside.css", "www/a.css", true},
        {"styles/a.css", "www/css/a.css", true},
        {"styles/", "www/css/index.html", true},
        {"shown", "www/.hidden", true},
    };
    struct static_dir dir = open_www();
    for (size_t i = 0; i < COUNT(cases); i++)
        check_path(&dir, cases[i].path, cases[i].file, cases[i].followed);
    static_dir_close(&dir);
}

static void test_no_path_leads_elsewhere(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "missing",
        "css",    /* a directory without its slash */
        "empty/", /* no index.html */
        "dir.css",
        "a.css/", /* a file with a slash */
        "a.css/b",
        ".hidden",
        ".git/config",
        "css/.hidden",
        ".",
        "..",
        "../secret",
        "css/../../secret",
        "css/../a.css", /* refused by the path, though it would stay inside */
        "css/./a.css",
        "css/..",
        "/a.css",
        "/etc/passwd",
        "css//a.css",
        "//",
        "outside",
        "absolute",
        "outside_dir/secret",
        "back/secret",
        "magic/etc/passwd",
        "loop",
        "dangling",
        "fifo",
        "socket",
    };
    struct static_dir dir = open_www();
    for (size_t i = 0; i < COUNT(paths); i++)
        check_path(&dir, paths[i], NULL, false);
    static_dir_close(&dir);
}

static void test_a_nul_byte_ends_no_path(void **state)
{
    (void)state;
    struct static_dir dir = open_www();
    struct static_file file;
    struct str path = STR("a.css\0.png");
    assert_int_equal(static_open(&dir, path, true, &plain, true, &file), ENOENT);
    static_dir_close(&dir);
}

static void test_an_endless_path_is_not_found(void **state)
{
    (void)state;
    struct static_dir dir = open_www();
    static char path[8192];
    struct static_file file;
    memset(path, 'a', sizeof(path));
    for (int resolver = (int)dir.resolver; resolver <= RESOLVE_BY_WALKING; resolver++) {
        static const size_t lengths[] = {256, 4000, 4084, 4085, 4096, sizeof(path)};
        dir.resolver = (enum static_resolver)resolver;
        for (size_t i = 0; i < COUNT(lengths); i++)
            assert_int_equal(
                static_open(&dir, (struct str){path, lengths[i]}, true, &both, true, &file),
                ENOENT);
    }
    static_dir_close(&dir);
}

static void test_the_compressed_sibling(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const struct codings *codings;
        const char *file;
        enum coding coding;
    } cases[] = {
        {"new.css", &gzip, "www/new.css.gz", CODING_GZIP},
        {"new.css", &both, "www/new.css.gz", CODING_GZIP}, /* there is but that one */
        {"new.css", &plain, "www/new.css", CODINGS},
        {"same.css", &gzip, "www/same.css.gz", CODING_GZIP},
        {"both.css", &both, "www/both.css.br", CODING_BROTLI},
        {"both.css", &gzip, "www/both.css.gz", CODING_GZIP},
        {"stale.css", &both, "www/stale.css.gz", CODING_GZIP}, /* Brotli's is an earlier version */
        {"old.css", &gzip, "www/old.css", CODINGS},            /* made from an earlier version */
        {"a.css", &both, "www/a.css", CODINGS},                /* there is none */
        {"gzdir.css", &gzip, "www/gzdir.css", CODINGS},        /* a directory */
        {"evil.css", &gzip, "www/evil.css", CODINGS},          /* it leads outside */
        {"", &gzip, "www/index.html.gz", CODING_GZIP},
        {"only.css", &gzip, NULL, CODINGS}, /* the sibling alone is another file */
    };
    struct static_dir dir = open_www();
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct static_file file;
        int error = static_open(&dir, str_from(cases[i].path), true, cases[i].codings, true, &file);
        assert_int_equal(error, cases[i].file ? 0 : ENOENT);
        if (!cases[i].file)
            continue;
        assert_int_equal(file.coding, cases[i].coding);
        check_content(&file, cases[i].file);
    }
    static_dir_close(&dir);
}

static void test_directories_without_an_index(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int error, list_error;
    } cases[] = {
        {"", EISDIR, 0},
        {"css/", EISDIR, 0},
        {"css", EISDIR, 0},
        {"empty/", EISDIR, 0},
        {"missing/", EISDIR, ENOENT},
        {"a.css/", EISDIR, ENOENT},
        {".git/", ENOENT, ENOENT},
        {"../", ENOENT, ENOENT},
        {"css//", ENOENT, ENOENT},
        {"outside_dir/", EISDIR, ENOENT},
    };
    struct static_dir dir = open_www();
    for (int resolver = (int)dir.resolver; resolver <= RESOLVE_BY_WALKING; resolver++) {
        dir.resolver = (enum static_resolver)resolver;
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct static_file file;
            int fd;
            struct str path = str_from(cases[i].path);
            if (static_open(&dir, path, false, &plain, true, &file) != cases[i].error)
                fail_msg("\"%s\" as a file", cases[i].path);
            if (static_open_listing(&dir, path, &fd) != cases[i].list_error)
                fail_msg("\"%s\" as a directory", cases[i].path);
            if (cases[i].list_error == 0)
                close(fd);
        }
    }
    static_dir_close(&dir);
}

static void test_what_is_in_memory_needs_no_thread(void **state)
{
    (void)state;
    struct static_dir dir = open_www();
    struct static_file file;
    /* Asked for before, so the kernel knows the way. */
    assert_int_equal(static_open(&dir, STR("a.css"), true, &plain, true, &file), 0);
    close(file.fd);
    if (dir.resolver == RESOLVE_WITHOUT_DISK) {
        assert_int_equal(static_open(&dir, STR("a.css"), true, &plain, false, &file), 0);
        close(file.fd);
        /* An answer, too: no thread is needed to learn that there is nothing. */
        assert_int_equal(static_open(&dir, STR("missing"), true, &plain, true, &file), ENOENT);
        assert_int_equal(static_open(&dir, STR("missing"), true, &plain, false, &file), ENOENT);
    }
    dir.resolver = RESOLVE_BY_KERNEL;
    assert_int_equal(static_open(&dir, STR("a.css"), true, &plain, false, &file), EAGAIN);
    dir.resolver = RESOLVE_BY_WALKING;
    assert_int_equal(static_open(&dir, STR("a.css"), true, &plain, false, &file), EAGAIN);
    static_dir_close(&dir);
}

static void test_a_directory_that_cannot_be_served(void **state)
{
    (void)state;
    struct static_dir dir;
    assert_int_equal(static_dir_open(in_root("missing"), &dir), ENOENT);
    assert_int_equal(static_dir_open(in_root("secret"), &dir), ENOTDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entity_tag_changes_with_the_file),
        cmocka_unit_test(test_lists_of_entity_tags),
        cmocka_unit_test(test_preconditions),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_accept_encoding),
        cmocka_unit_test(test_paths_find_their_files),
        cmocka_unit_test(test_no_path_leads_elsewhere),
        cmocka_unit_test(test_a_nul_byte_ends_no_path),
        cmocka_unit_test(test_an_endless_path_is_not_found),
        cmocka_unit_test(test_the_compressed_sibling),
        cmocka_unit_test(test_directories_without_an_index),
        cmocka_unit_test(test_what_is_in_memory_needs_no_thread),
        cmocka_unit_test(test_a_directory_that_cannot_be_served),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
