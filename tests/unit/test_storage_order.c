/* What is on the disk before what: a kill loses nothing that was written, a power cut does, so the
 * order in which things are synced is looked at here. The calls are ours and tell whom they hit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "files/partial.h"

#define ID STR("00112233445566778899aabbccddeeff")

static struct {
    char root[64];
    struct config *config;
    struct diag *diag;
    struct loop *loop;
    struct offload *disk;
    struct store *store;
    struct storage *storage;
    bool done;
    pthread_mutex_t lock;
    char steps[256]; /* guarded */
} f = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* -- the calls -- */

static void step(const char *what)
{
    pthread_mutex_lock(&f.lock);
    size_t n = strlen(f.steps);
    snprintf(f.steps + n, sizeof(f.steps) - n, "%s%s", n != 0 ? ", " : "", what);
    pthread_mutex_unlock(&f.lock);
}

static void synced(int fd)
{
    char link[32], path[256];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    static const struct {
        const char *part, *name;
    } known[] = {{"/up/.tmp/", "file"},
                 {"/up/.partial/", "file"},
                 {"/up/.partial", "partials"},
                 {"/up", "folder"},
                 {"/store-wal", "record"}};
    for (size_t i = 0; i < COUNT(known); i++)
        if (strstr(path, f.root) != NULL && strstr(path, known[i].part) != NULL) {
            step(known[i].name);
            return;
        }
}

int fsync(int fd)
{
    synced(fd);
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    synced(fd);
    return (int)syscall(SYS_fdatasync, fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    step("rename");
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    step("link");
    return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

/* -- a directory -- */

static int set_up(void **state)
{
    static const char text[] = "[uploads.main]\npath = \"/upload\"\ndir = \"up\"\n";
    char path[80];
    const char *error;
    (void)state;
    strcpy(f.root, "/tmp/gateway-order-XXXXXX");
    assert_non_null(mkdtemp(f.root));
    f.diag = diag_create();
    f.config = config_parse(str_from(text), "test.toml", f.root, f.diag);
    f.loop = loop_create(0);
    f.disk = offload_create("disk", 2, 64);
    snprintf(path, sizeof(path), "%s/store", f.root);
    f.store = store_open(path, &error);
    assert_non_null(f.store);
    f.steps[0] = '\0';
    f.storage = storage_create(f.config, &f.config->uploads[0], f.store, f.disk, f.diag);
    assert_int_equal(diag_errors(f.diag), 0);
    return 0;
}

static int tear_down(void **state)
{
    char command[96];
    (void)state;
    offload_destroy(&f.disk);
    store_stop(f.store);
    storage_destroy(&f.storage);
    store_close(&f.store);
    loop_destroy(&f.loop);
    config_destroy(&f.config);
    diag_destroy(&f.diag);
    media_type_unload();
    snprintf(command, sizeof(command), "rm -rf %s", f.root);
    return system(command);
}

static void wait_done(void)
{
    for (unsigned turns = 0; !f.done; turns++) {
        assert_true(turns < 2000);
        loop_turn(f.loop, 5);
    }
    f.done = false;
    step("answer");
}

static void assert_steps(const char *expected)
{
    assert_string_equal(f.steps, expected);
    f.steps[0] = '\0';
}

/* -- tests -- */

static void on_committed(struct storage_commit *commit)
{
    (void)commit;
    f.done = true;
}

static void test_a_file_is_answered_last(void **state)
{
    struct incoming incoming, *files[] = {&incoming};
    (void)state;
    f.steps[0] = '\0';
    incoming_init(&incoming, f.storage);
    assert_int_equal(incoming.file.open(&incoming.file), 0);
    assert_int_equal(write(incoming.file.fd, "x", 1), 1);
    incoming.file.offset = 1;
    struct storage_commit commit = {.storage = f.storage,
                                    .files = files,
                                    .count = 1,
                                    .owner = STR("me"),
                                    .done = on_committed,
                                    .loop = f.loop};
    assert_true(storage_commit(&commit));
    wait_done();
    assert_int_equal(commit.result, STORAGE_OK);
    assert_steps("file, rename, folder, record, answer");
    incoming_fini(&incoming);
}

static void on_done(struct partial *partial)
{
    assert_int_equal(partial->result, STORAGE_OK);
    f.done = true;
}

static void put(struct partial *partial)
{
    struct spool_file *file = &partial->incoming.file;
    assert_int_equal(pwrite(file->fd, "x", 1, (off_t)file->offset), 1);
    file->offset++;
}

static void test_an_offset_is_answered_last(void **state)
{
    struct partial partial;
    struct partial_record record = {.owner = STR("me"), .size = 3};
    (void)state;
    f.steps[0] = '\0';
    partial_init(&partial, f.storage, f.loop, ID);
    partial_create(&partial, &record, on_done);
    wait_done();
    assert_steps("record, answer");
    partial_open(&partial, true, on_done);
    wait_done();
    assert_steps("answer");
    put(&partial);
    partial_save(&partial, 1, 3, on_done);
    wait_done();
    assert_steps("file, partials, record, answer");
    put(&partial);
    partial_save(&partial, 2, 3, on_done);
    wait_done();
    assert_steps("file, record, answer");
    put(&partial);
    partial_finish(&partial, 3, STR(""), NULL, on_done);
    wait_done();
    assert_int_equal(partial.state, PARTIAL_WHOLE);
    assert_steps("file, link, folder, record, answer");
    partial_fini(&partial);
}

static void test_the_folders_are_there_to_stay(void **state)
{
    (void)state;
    assert_steps("folder");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_file_is_answered_last),
        TEST(test_an_offset_is_answered_last),
        TEST(test_the_folders_are_there_to_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
