/* A store that can't be opened says why; a full disk or a damaged file fails what touches it and
 * nothing else. */
#include "test_stores.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "base/log.h"

static char lines[8192]; /* of the log */

/* -- opening -- */

static void no_directory(void)
{
    snprintf(path, sizeof(path), "%s/nowhere/gateway.db", directory);
}

static void a_directory(void)
{
    assert_int_equal(mkdir(path, 0700), 0);
}

static void some_text(void)
{
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("These are the notes of a meeting.\n", file);
    fclose(file);
}

static void another_program(void)
{
    run_sql(path, "CREATE TABLE bookmarks (url)");
}

static void another_application_id(void)
{
    run_sql(path, "PRAGMA application_id = 17");
}

static void a_newer_schema(void)
{
    struct store *store = open_store();
    store_close(&store);
    run_sql(path, "PRAGMA user_version = 999");
}

/* Overwrites `pages` pages of 4 KiB from the given one on, counted from 0. */
static void damage(unsigned first, unsigned pages)
{
    char noise[4096];
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    memset(noise, 0xa5, sizeof(noise));
    for (unsigned i = first; i < first + pages; i++)
        assert_int_equal(pwrite(fd, noise, sizeof(noise), i * 4096), sizeof(noise));
    close(fd);
}

static void a_damaged_schema(void)
{
    struct store *store = open_store();
    store_close(&store);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 100), 8); /* its root page */
    close(fd);
}

static void test_a_file_that_cannot_be_used_is_named_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        void (*prepare)(void);
        const char *says;
    } cases[] = {
        {no_directory, "can't be made: its directory does not exist"},
        {a_directory, "Is a directory"},
        {some_text, "is not a SQLite database"},
        {another_program, "is another program's database"},
        {another_application_id, "is another program's database"},
        {a_newer_schema, "was made by a newer gateway: its schema is version 999"},
        {a_damaged_schema, "is damaged"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *error = NULL;
        make_directory(state);
        cases[i].prepare();
        struct store *store = store_open(path, &error);
        assert_null(store);
        assert_non_null(error);
        if (strstr(error, cases[i].says) == NULL || strstr(error, path) == NULL)
            fail_msg("\"%s\" doesn't say \"%s\" of %s", error, cases[i].says, path);
        assert_null(strchr(error, '\n'));
        rmdir(path);
        remove_directory(state);
    }
}

static int exit_with_the_word(const char *error, const char *word)
{
    return error != NULL && strstr(error, word) != NULL ? 0 : 1;
}

/* Root may write anywhere, so a child gives that up. */
static void assert_refused_to_nobody(const char *word)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const char *error = NULL;
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(2);
        _exit(store_open(path, &error) != NULL ? 3 : exit_with_the_word(error, word));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_a_place_that_cannot_be_written_is_refused(void **state)
{
    (void)state;
    assert_int_equal(chmod(directory, 0555), 0);
    assert_refused_to_nobody("Permission denied");
    assert_int_equal(chmod(directory, 0755), 0);
    struct store *store = open_store();
    store_close(&store);
    assert_int_equal(chmod(directory, 0777), 0);
    assert_int_equal(chmod(path, 0444), 0);
    assert_refused_to_nobody("can't be written");
}

static void test_an_empty_file_becomes_a_store(void **state)
{
    (void)state;
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    struct store *store = open_store();
    assert_int_equal(add_file(store, 1), STORE_OK);
    store_close(&store);
}

static void test_a_store_is_found_again_from_another_folder(void **state)
{
    (void)state;
    char before[1024];
    const char *error = NULL;
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(directory), 0);
    struct store *store = store_open("gateway.db", &error);
    assert_int_equal(chdir("/"), 0);
    assert_non_null(store);
    assert_int_equal(add_file(store, 1), STORE_OK);
    assert_int_equal(find_file(store, 1), STORE_OK); /* the reader is opened only now */
    store_close(&store);
    assert_int_equal(chdir(before), 0);
}

/* -- failing at run time -- */

/* What the log says from here on is kept. */
static int pipe_ends[2], real_stderr;
static void catch_log(void)
{
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    real_stderr = dup(STDERR_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[1]);
}

static size_t release_log(void)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    size_t n = 0, count = 0;
    for (ssize_t more; n < sizeof(lines) - 1 &&
                       (more = read(pipe_ends[0], lines + n, sizeof(lines) - 1 - n)) > 0;)
        n += (size_t)more;
    lines[n] = '\0';
    close(pipe_ends[0]);
    for (size_t i = 0; i < n; i++)
        count += lines[i] == '\n';
    return count;
}

static void test_a_damaged_file_fails_what_touches_it(void **state)
{
    (void)state;
    enum { N = 400 };
    struct store *store = open_store();
    struct id ids[N];
    struct file_record all[N];
    for (unsigned i = 0; i < N; i++) {
        ids[i] = id_of(i);
        all[i] = file_of(&ids[i]);
    }
    assert_int_equal(
        write_and_wait(store, (struct store_write){.add_files = all, .add_file_count = N}),
        STORE_OK);
    store_close(&store); /* all of it is in the file now */
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    unsigned pages = (unsigned)(about.st_size / 4096);
    assert_true(pages > 20);
    damage(pages / 2, pages - pages / 2);

    catch_log();
    store = open_store();
    unsigned failed = 0;
    for (unsigned i = 0; i < N; i++) {
        enum store_result result = find_file(store, i);
        failed += result == STORE_FAILED;
    }
    struct file_record *files;
    size_t count;
    enum store_result listed =
        store_list_files(store, STR("main"), INT64_MAX, STR(""), 1000, &files, &count);
    enum store_result added = STORE_OK;
    for (unsigned i = 0; i < 50 && added == STORE_OK; i++)
        added = add_file(store, N + i);
    store_close(&store);
    size_t said = release_log();
    assert_true(failed > 0);
    assert_int_equal(listed, STORE_FAILED);
    assert_null(files);
    assert_int_equal(count, 0);
    assert_int_equal(added, STORE_FAILED);
    assert_int_equal(said, 1); /* a line for all of them */
    assert_non_null(strstr(lines, "level=error msg=\"the store fails\" path="));
    assert_non_null(strstr(lines, "malformed"));
}

/* While the log is caught nothing may fail a test, so these tell what happened. */

static enum store_result add_large(struct store *store, unsigned n)
{
    static char name[3000];
    struct id id = id_of(n);
    struct file_record file = file_of(&id);
    memset(name, 'n', sizeof(name));
    file.name = (struct str){name, sizeof(name)};
    return write_and_wait(store, (struct store_write){.add_files = &file, .add_file_count = 1});
}

/* Adds from *n on until it fails, at most `most`; what the last one was. */
static enum store_result fill(struct store *store, unsigned *n, unsigned most)
{
    enum store_result result = STORE_OK;
    for (unsigned end = *n + most; *n < end && result == STORE_OK;) {
        result = add_large(store, *n);
        *n += result == STORE_OK;
    }
    return result;
}

/* More than the cache holds, so that room is missed before the commit; with others in its batch. */
static bool is_too_much_at_once(struct store *store, unsigned from)
{
    enum { N = 300 };
    static struct id ids[N];
    static struct file_record files[N];
    struct waited others[2] = {0}, large = {.write = {.add_files = files, .add_file_count = N}};
    static char name[3000];
    memset(name, 'n', sizeof(name));
    for (unsigned i = 0; i < N; i++) {
        ids[i] = id_of(from + i);
        files[i] = file_of(&ids[i]);
        files[i].name = (struct str){name, sizeof(name)};
    }
    others[0].write = others[1].write = (struct store_write){.remove_partial = STR("none")};
    struct waited *const all[] = {&others[0], &large, &others[1]};
    bool taken = true;
    for (size_t i = 0; i < COUNT(all); i++) {
        all[i]->write.done = note_done;
        sem_init(&all[i]->done, 0, 0);
        taken = taken && store_submit(store, &all[i]->write);
    }
    for (size_t i = 0; i < COUNT(all) && taken; i++)
        while (sem_wait(&all[i]->done) != 0)
            ;
    bool none = true;
    for (unsigned i = 0; i < N; i++)
        none = none && find_file(store, from + i) == STORE_ABSENT;
    return taken && none && large.write.result == STORE_FULL;
}

/* Whether the write goes on to fail, and there are the first n files and no other. */
static bool stays_full(struct store *store, unsigned n)
{
    bool right = true;
    for (unsigned i = 0; i < 3; i++)
        right = right && add_large(store, n) == STORE_FULL;
    for (unsigned i = 0; i <= n; i++)
        right = right && find_file(store, i) == (i < n ? STORE_OK : STORE_ABSENT);
    return right;
}

static void assert_works_again(struct store **store, unsigned n)
{
    for (unsigned i = n; i < n + 50; i++)
        assert_int_equal(add_file(*store, i), STORE_OK);
    store_close(store);
    assert_sound();
    *store = open_store();
    for (unsigned i = 0; i < n + 50; i++)
        assert_int_equal(find_file(*store, i), STORE_OK);
}

static void test_when_a_file_may_grow_no_more_writes_fail_until_it_may(void **state)
{
    (void)state;
    struct rlimit before, tight;
    unsigned n = 0;
    struct store *store = open_store();
    assert_int_equal(fill(store, &n, 20), STORE_OK);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    tight = before;
    tight.rlim_cur = 400000;
    catch_log(); /* before the limit: this is no file */
    setrlimit(RLIMIT_FSIZE, &tight);
    enum store_result last = fill(store, &n, 5000);
    bool stays = stays_full(store, n), much = is_too_much_at_once(store, n);
    setrlimit(RLIMIT_FSIZE, &before);
    size_t said = release_log();
    assert_int_equal(last, STORE_FULL);
    assert_true(stays);
    assert_true(much);
    /* The WAL alone has room for a hundred pages, four of them for each. */
    assert_true(n > 50);
    assert_int_equal(said, 1);
    assert_non_null(strstr(lines, "File too large"));
    assert_works_again(&store, n);
    store_close(&store);
}

static void test_a_full_disk_fails_writes_until_there_is_room(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", directory, "tmpfs", 0, "size=6m") != 0)
        skip(); /* nobody may mount here */
    /* Room for a WAL as large as it gets, and some for the file itself. */
    char filler[160];
    char block[4096] = {0};
    unsigned n = 0;
    struct store *store = open_store();
    assert_int_equal(fill(store, &n, 20), STORE_OK);
    snprintf(filler, sizeof(filler), "%s/filler", directory);
    int fd = open(filler, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    for (int i = 0; i < 256; i++) /* what is removed later on */
        assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    catch_log();
    enum store_result last = fill(store, &n, 20000);
    while (write(fd, block, sizeof(block)) > 0)
        ;
    close(fd);
    if (last == STORE_FULL)
        last = fill(store, &n, 5000); /* now there isn't a page left */
    bool stays = stays_full(store, n);
    size_t said = release_log();
    assert_int_equal(last, STORE_FULL);
    assert_true(stays);
    assert_int_equal(said, 1);
    assert_non_null(strstr(lines, "full"));

    unlink(filler);
    assert_works_again(&store, n);
    store_close(&store);
    umount2(directory, MNT_DETACH);
}

static void test_a_store_cannot_be_made_on_a_full_disk(void **state)
{
    (void)state;
    struct rlimit before, tight;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    tight = before;
    tight.rlim_cur = 8000;
    setrlimit(RLIMIT_FSIZE, &tight);
    const char *error = NULL;
    struct store *store = store_open(path, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_null(store);
    assert_non_null(error);
    assert_non_null(strstr(error, path));
    store = open_store(); /* what was left is no hindrance */
    assert_int_equal(add_file(store, 1), STORE_OK);
    store_close(&store);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)
        cmocka_unit_test(test_a_file_that_cannot_be_used_is_named_with_the_reason),
        TEST(test_a_place_that_cannot_be_written_is_refused),
        TEST(test_an_empty_file_becomes_a_store),
        TEST(test_a_store_is_found_again_from_another_folder),
        TEST(test_a_damaged_file_fails_what_touches_it),
        TEST(test_when_a_file_may_grow_no_more_writes_fail_until_it_may),
        TEST(test_a_store_cannot_be_made_on_a_full_disk),
        TEST(test_a_full_disk_fails_writes_until_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
