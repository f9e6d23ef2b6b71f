/* Uploads that aren't whole yet: what their records promise, and what is left after crashes, which
 * are made here by changing what lies in the directory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "files/files_internal.h"
#include "files/lock.h"
#include "files/partial.h"

#define ID STR("00112233445566778899aabbccddeeff")

enum { MIB = 1024 * 1024 };

struct fixture {
    char root[64], dir[80];
    struct config *config;
    struct diag *diag;
    struct loop *loop;
    struct offload *disk;
    struct store *store;
    struct storage *storage;
    bool done;
};

static struct fixture f;

static void begin(const char *keys)
{
    char text[512], path[96];
    const char *error;
    f = (struct fixture){.root = "/tmp/gateway-partial-XXXXXX"};
    assert_non_null(mkdtemp(f.root));
    snprintf(f.dir, sizeof(f.dir), "%s/up", f.root);
    snprintf(text, sizeof(text), "[uploads.main]\npath = \"/upload\"\ndir = \"up\"\n%s", keys);
    f.diag = diag_create();
    f.config = config_parse(str_from(text), "test.toml", f.root, f.diag);
    f.loop = loop_create(0);
    f.disk = offload_create("disk", 2, 64);
    snprintf(path, sizeof(path), "%s/store", f.root);
    f.store = store_open(path, &error);
    assert_non_null(f.store);
    f.storage = storage_create(f.config, &f.config->uploads[0], f.store, f.disk, f.diag);
    assert_int_equal(diag_errors(f.diag), 0);
}

static void end(void)
{
    char command[96];
    offload_destroy(&f.disk);
    store_stop(f.store);
    storage_destroy(&f.storage);
    store_close(&f.store);
    loop_destroy(&f.loop);
    config_destroy(&f.config);
    diag_destroy(&f.diag);
    media_type_unload();
    snprintf(command, sizeof(command), "rm -rf %s", f.root);
    assert_int_equal(system(command), 0);
}

static void on_done(struct partial *partial)
{
    (void)partial;
    f.done = true;
}

static void wait_done(void)
{
    for (unsigned turns = 0; !f.done; turns++) {
        assert_true(turns < 2000);
        loop_turn(f.loop, 5);
    }
    f.done = false;
}

static const char *path_of(const char *folder)
{
    static char path[160];
    snprintf(path, sizeof(path), "%s/%s%s", f.dir, folder, ID.p);
    return path;
}

static bool exists(const char *folder)
{
    return access(path_of(folder), F_OK) == 0;
}

static void until_gone(const char *folder)
{
    for (unsigned i = 0; exists(folder); i++) {
        assert_true(i < 1000);
        loop_turn(f.loop, 5);
    }
}

static void create(uint64_t size)
{
    struct partial partial;
    struct partial_record record = {.name = STR("a name"), .owner = STR("me"), .size = size};
    partial_init(&partial, f.storage, f.loop, ID);
    partial_create(&partial, &record, on_done);
    wait_done();
    assert_int_equal(partial.result, STORAGE_OK);
    assert_int_equal(partial.state, PARTIAL_OPEN);
    partial_fini(&partial);
}

static void open_partial(struct partial *partial, bool writing)
{
    partial_init(partial, f.storage, f.loop, ID);
    partial_open(partial, writing, on_done);
    wait_done();
}

static enum partial_state state_of(bool writing)
{
    struct partial partial;
    open_partial(&partial, writing);
    enum partial_state state = partial.state;
    partial_fini(&partial);
    return state;
}

/* As the spool would. */
static void put(struct partial *partial, const char *bytes, size_t n)
{
    struct spool_file *file = &partial->incoming.file;
    assert_int_equal(pwrite(file->fd, bytes, n, (off_t)file->offset), n);
    file->offset += n;
}

static enum storage_result save(struct partial *partial, uint64_t offset, uint64_t size)
{
    partial_save(partial, offset, size, on_done);
    wait_done();
    return partial->result;
}

static enum storage_result finish(struct partial *partial, uint64_t size)
{
    partial_finish(partial, size, STR("{\"a\":\"b\"}"), NULL, on_done);
    wait_done();
    return partial->result;
}

/* An upload of 10 bytes, of which 4 are recorded and 6 are there. */
static void create_with_four_of_ten(void)
{
    struct partial partial;
    create(10);
    open_partial(&partial, true);
    put(&partial, "abcdXX", 6);
    assert_int_equal(save(&partial, 4, 10), STORAGE_OK);
    partial_fini(&partial);
}

static off_t file_size(const char *folder)
{
    struct stat info;
    assert_int_equal(stat(path_of(folder), &info), 0);
    return info.st_size;
}

/* -- */

static void test_a_new_one_has_a_record_and_no_file_yet(void **state)
{
    struct partial partial;
    (void)state;
    begin("expire_after = \"1h\"\n");
    int64_t before_ms = clock_unix_ms();
    create(UINT64_MAX);
    assert_false(exists(".partial/"));
    open_partial(&partial, false);
    assert_int_equal(partial.state, PARTIAL_OPEN);
    assert_true(str_eq(partial.record.name, STR("a name")));
    assert_true(str_eq(partial.record.owner, STR("me")));
    assert_true(partial.record.size == UINT64_MAX && partial.record.offset == 0);
    assert_in_range(partial.record.expires_ms - before_ms, 3600 * 1000, 3660 * 1000);
    partial_fini(&partial);
    assert_int_equal(state_of(true), PARTIAL_OPEN); /* makes it */
    assert_true(exists(".partial/"));
    end();
}

static void test_what_was_not_recorded_is_cut_off(void **state)
{
    struct partial partial;
    (void)state;
    begin("");
    create_with_four_of_ten();
    assert_int_equal(file_size(".partial/"), 6);
    assert_int_equal(state_of(false), PARTIAL_OPEN);
    assert_int_equal(file_size(".partial/"), 6); /* looking changes nothing */
    open_partial(&partial, true);
    assert_int_equal(file_size(".partial/"), 4);
    assert_int_equal(partial.incoming.file.offset, 4);
    partial_fini(&partial);
    end();
}

static void test_a_file_that_is_shorter_than_its_record_is_not_gone_on_with(void **state)
{
    struct partial partial;
    (void)state;
    begin("");
    create_with_four_of_ten();
    assert_int_equal(truncate(path_of(".partial/"), 3), 0);
    open_partial(&partial, true);
    assert_int_equal(partial.state, PARTIAL_BROKEN);
    assert_int_equal(partial.result, STORAGE_FAILED);
    partial_fini(&partial);
    assert_int_equal(unlink(path_of(".partial/")), 0);
    assert_int_equal(state_of(true), PARTIAL_BROKEN);
    assert_false(exists(".partial/"));
    end();
}

static void test_another_process_keeps_us_out(void **state)
{
    (void)state;
    begin("");
    create_with_four_of_ten();
    int fd = open(path_of(".partial/"), O_RDONLY); /* locks belong to what was opened */
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(state_of(true), PARTIAL_HELD);
    assert_int_equal(file_size(".partial/"), 6);
    assert_int_equal(state_of(false), PARTIAL_OPEN);
    close(fd);
    assert_int_equal(state_of(true), PARTIAL_OPEN);
    end();
}

static void test_the_last_byte_makes_it_a_file(void **state)
{
    struct partial partial;
    uint8_t expected[32];
    (void)state;
    begin("");
    create_with_four_of_ten();
    open_partial(&partial, true);
    put(&partial, "efghij", 6);
    assert_int_equal(finish(&partial, 10), STORAGE_OK);
    assert_int_equal(partial.state, PARTIAL_WHOLE);
    partial_fini(&partial);
    until_gone(".partial/");
    open_partial(&partial, true);
    assert_int_equal(partial.state, PARTIAL_WHOLE);
    sha256("abcdefghij", 10, expected);
    assert_memory_equal(partial.file.sha256, expected, 32);
    assert_int_equal(partial.file.size, 10);
    assert_true(str_eq(partial.file.name, STR("a name")));
    assert_true(str_eq(partial.file.owner, STR("me")));
    assert_true(str_eq(partial.file.fields, STR("{\"a\":\"b\"}")));
    partial_fini(&partial);
    assert_int_equal(file_size(""), 10);
    end();
}

static void test_the_digest_is_of_every_slice(void **state)
{
    enum { SIZE = 17 * MIB + 5 };
    struct partial partial;
    uint8_t expected[32];
    (void)state;
    begin("");
    create(SIZE);
    char *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 7 + i / 4096);
    sha256(bytes, SIZE, expected);
    open_partial(&partial, true);
    put(&partial, bytes, SIZE);
    free(bytes);
    assert_int_equal(finish(&partial, SIZE), STORAGE_OK);
    assert_memory_equal(partial.incoming.sha256, expected, 32);
    partial_fini(&partial);
    end();
}

static void test_a_crash_before_the_record_leaves_it_partial(void **state)
{
    struct partial partial;
    char whole[160];
    (void)state;
    begin("");
    create_with_four_of_ten();
    snprintf(whole, sizeof(whole), "%s", path_of(""));
    assert_int_equal(link(path_of(".partial/"), whole), 0); /* it had its name, and no record yet */
    open_partial(&partial, true);
    assert_int_equal(partial.state, PARTIAL_OPEN);
    put(&partial, "efghij", 6);
    storage_sweep(f.storage);
    assert_true(exists("")); /* somebody is at it */
    assert_int_equal(finish(&partial, 10), STORAGE_OK);
    partial_fini(&partial);
    until_gone(".partial/");
    assert_int_equal(file_size(""), 10);
    end();
}

static void test_the_sweep_keeps_what_has_a_record(void **state)
{
    char whole[160];
    (void)state;
    begin("");
    create_with_four_of_ten();
    snprintf(whole, sizeof(whole), "%s", path_of(""));
    assert_int_equal(link(path_of(".partial/"), whole), 0);
    storage_sweep(f.storage);
    assert_false(exists(""));
    assert_int_equal(state_of(true), PARTIAL_OPEN);
    assert_int_equal(file_size(".partial/"), 4);
    end();
}

static void test_a_type_that_is_not_taken_stays_partial_until_it_is_removed(void **state)
{
    struct partial partial;
    (void)state;
    begin("allow_types = [\"image/png\"]\n");
    create_with_four_of_ten();
    open_partial(&partial, true);
    put(&partial, "efghij", 6);
    assert_int_equal(finish(&partial, 10), STORAGE_BAD_TYPE);
    assert_true(exists(".partial/") && !exists(""));
    partial_terminate(&partial, on_done);
    wait_done();
    partial_fini(&partial);
    until_gone(".partial/");
    assert_int_equal(state_of(false), PARTIAL_ABSENT);
    end();
}

/* A record counts what the upload will have, or what it has. */
static void test_quotas_count_records(void **state)
{
    struct ticket ticket;
    struct partial partial;
    (void)state;
    begin("quota = \"100B\"\n");
    assert_int_equal(ticket_take(&ticket, f.storage, STR("me"), 60), STORAGE_OK);
    create(60);
    ticket_keep(&ticket, 60);
    ticket_release(&ticket);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("me"), 41), STORAGE_QUOTA);
    open_partial(&partial, true);
    partial_terminate(&partial, on_done);
    wait_done();
    partial_fini(&partial);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("me"), 100), STORAGE_OK);
    ticket_release(&ticket);
    end();
}

/* Two of them at once: the store hasn't written the first one's removal when the second looks. */
static void test_what_expires_gives_its_bytes_back_once(void **state)
{
    char path[96];
    struct ticket ticket, other;
    (void)state;
    begin("expire_after = \"1ms\"\nquota = \"15B\"\n");
    struct upload_route route = {.config = &f.config->uploads[0], .storage = f.storage};
    assert_int_equal(ticket_take(&other, f.storage, STR("other"), 5), STORAGE_OK);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("me"), 10), STORAGE_OK);
    create(10);
    ticket_keep(&ticket, 10);
    ticket_release(&ticket);
    for (unsigned i = 0; state_of(false) != PARTIAL_EXPIRED; i++) {
        assert_true(i < 1000);
        usleep(1000);
    }

    sqlite3 *database;
    snprintf(path, sizeof(path), "%s/store", f.root);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    tus_expire(&route);
    tus_expire(&route);
    assert_int_equal(state_of(false), PARTIAL_EXPIRED);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
    create(1); /* both have been written */
    assert_int_equal(ticket_take(&ticket, f.storage, STR("me"), 11), STORAGE_QUOTA);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("me"), 10), STORAGE_OK);
    ticket_release(&ticket);
    ticket_release(&other);
    end();
}

static void *expire(void *route)
{
    tus_expire(route);
    return NULL;
}

/* What was listed may have been gone on with before its turn comes: a FIFO in the place of another
 * upload's file, which opens once somebody writes to it, holds up the look at ours. */
static void test_what_was_gone_on_with_meanwhile_does_not_expire(void **state)
{
    static const struct str first_id = {"ff112233445566778899aabbccddeeff", STORE_ID};
    char fifo[160];
    struct partial partial, first;
    struct partial_record record = {.size = 1};
    pthread_t thread;
    (void)state;
    begin("expire_after = \"300ms\"\n");
    struct upload_route route = {.config = &f.config->uploads[0], .storage = f.storage};
    partial_init(&first, f.storage, f.loop, first_id);
    partial_create(&first, &record, on_done);
    wait_done();
    partial_fini(&first);
    snprintf(fifo, sizeof(fifo), "%s/.partial/%s", f.dir, first_id.p);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    usleep(2000);
    create(10);
    open_partial(&partial, true);
    assert_int_equal(partial.state, PARTIAL_OPEN);
    put(&partial, "x", 1);
    usleep(400 * 1000);

    assert_int_equal(pthread_create(&thread, NULL, expire, &route), 0);
    usleep(100 * 1000);
    assert_int_equal(save(&partial, 1, 10), STORAGE_OK);
    partial_fini(&partial);
    close(open(fifo, O_RDWR));
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_not_equal(access(fifo, F_OK), 0);
    assert_true(exists(".partial/"));
    assert_int_equal(state_of(true), PARTIAL_OPEN);
    end();
}

static void test_what_expired_is_removed_unless_somebody_is_at_it(void **state)
{
    (void)state;
    begin("expire_after = \"1ms\"\nquota = \"10B\"\n");
    struct upload_route route = {.config = &f.config->uploads[0], .storage = f.storage};
    struct ticket ticket;
    assert_int_equal(ticket_take(&ticket, f.storage, STR("me"), 10), STORAGE_OK);
    create(10);
    ticket_keep(&ticket, 10);
    ticket_release(&ticket);
    for (unsigned i = 0; state_of(false) != PARTIAL_EXPIRED; i++) {
        assert_true(i < 1000);
        usleep(1000);
    }
    assert_int_equal(state_of(true), PARTIAL_EXPIRED);
    assert_false(exists(".partial/"));
    close(open(path_of(".partial/"), O_WRONLY | O_CREAT, 0600));

    static const struct lock_events events = {NULL};
    bool held;
    struct lock *lock = lock_take(f.loop, ID, 1000, &events, NULL, &held);
    tus_expire(&route);
    assert_true(held && exists(".partial/"));
    lock_drop(&lock);

    int fd = open(path_of(".partial/"), O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    tus_expire(&route);
    assert_true(exists(".partial/"));
    close(fd);
    assert_int_equal(state_of(false), PARTIAL_EXPIRED);

    tus_expire(&route);
    assert_false(exists(".partial/"));
    for (unsigned i = 0; state_of(false) != PARTIAL_ABSENT; i++) {
        assert_true(i < 1000); /* told by the store's thread */
        usleep(1000);
    }
    for (unsigned i = 0; ticket_take(&ticket, f.storage, STR("me"), 10) != STORAGE_OK; i++) {
        assert_true(i < 1000); /* told by the store's thread */
        usleep(1000);
    }
    ticket_release(&ticket);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_one_has_a_record_and_no_file_yet),
        cmocka_unit_test(test_what_was_not_recorded_is_cut_off),
        cmocka_unit_test(test_a_file_that_is_shorter_than_its_record_is_not_gone_on_with),
        cmocka_unit_test(test_another_process_keeps_us_out),
        cmocka_unit_test(test_the_last_byte_makes_it_a_file),
        cmocka_unit_test(test_the_digest_is_of_every_slice),
        cmocka_unit_test(test_a_crash_before_the_record_leaves_it_partial),
        cmocka_unit_test(test_the_sweep_keeps_what_has_a_record),
        cmocka_unit_test(test_a_type_that_is_not_taken_stays_partial_until_it_is_removed),
        cmocka_unit_test(test_quotas_count_records),
        cmocka_unit_test(test_what_expires_gives_its_bytes_back_once),
        cmocka_unit_test(test_what_was_gone_on_with_meanwhile_does_not_expire),
        cmocka_unit_test(test_what_expired_is_removed_unless_somebody_is_at_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
