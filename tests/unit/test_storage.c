/* An upload's directory: what becomes whole and what doesn't, quotas, and what a crash leaves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/text.h"
#include "files/storage.h"

struct fixture {
    char root[64], dir[80];
    struct config *config;
    struct diag *diag;
    struct loop *loop;
    struct offload *disk;
    struct store *store;
    struct storage *storage;
    unsigned dones;
};

static struct fixture f;

static void run(const char *command)
{
    assert_int_equal(system(command), 0);
}

static void open_storage(const char *keys, bool serving)
{
    char text[512], path[80];
    const char *error;
    snprintf(text, sizeof(text), "[uploads.main]\npath = \"/upload\"\ndir = \"up\"\n%s", keys);
    f.diag = diag_create();
    f.config = config_parse(str_from(text), "test.toml", f.root, f.diag);
    assert_int_equal(diag_errors(f.diag), 0);
    f.loop = loop_create(0);
    f.disk = offload_create("disk", 2, 64);
    snprintf(path, sizeof(path), "%s/store", f.root);
    f.store = serving ? store_open(path, &error) : NULL;
    assert_true(!serving || f.store != NULL);
    f.storage = storage_create(f.config, &f.config->uploads[0], f.store, f.disk, f.diag);
}

static void close_storage(void)
{
    offload_destroy(&f.disk);
    storage_destroy(&f.storage);
    if (f.store != NULL) {
        store_stop(f.store);
        store_close(&f.store);
    }
    loop_destroy(&f.loop);
    config_destroy(&f.config);
    diag_destroy(&f.diag);
}

static void begin(const char *keys)
{
    f = (struct fixture){.root = "/tmp/gateway-storage-XXXXXX"};
    assert_non_null(mkdtemp(f.root));
    snprintf(f.dir, sizeof(f.dir), "%s/up", f.root);
    open_storage(keys, true);
    assert_int_equal(diag_errors(f.diag), 0);
}

static void end(void)
{
    char command[128];
    close_storage();
    media_type_unload();
    snprintf(command, sizeof(command), "rm -rf %s", f.root);
    run(command);
}

/* Files in a folder of the directory, the hidden folders not counted. */
static unsigned count(const char *folder)
{
    char path[128];
    unsigned n = 0;
    snprintf(path, sizeof(path), "%s/%s", f.dir, folder);
    DIR *entries = opendir(path);
    assert_non_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(entries);
    return n;
}

static void until_count(const char *folder, unsigned n)
{
    for (unsigned turns = 0; count(folder) != n; turns++) {
        assert_true(turns < 1000);
        loop_turn(f.loop, 5);
    }
}

static void put(const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", f.dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* As a job of the spool would. */
static void receive(struct incoming *incoming, const char *text)
{
    size_t n = strlen(text);
    incoming_init(incoming, f.storage);
    incoming->name = STR("a name");
    if (n == 0)
        return;
    assert_int_equal(incoming->file.open(&incoming->file), 0);
    assert_int_equal(write(incoming->file.fd, text, n), n);
    digest_update(incoming->file.digests[0], text, n);
    incoming->file.offset = n;
}

static void on_committed(struct storage_commit *commit)
{
    (void)commit;
    f.dones++;
}

static enum storage_result commit_all(struct storage_commit *commit, struct incoming **files,
                                      size_t n, struct ticket *ticket)
{
    *commit = (struct storage_commit){.storage = f.storage,
                                      .files = files,
                                      .count = n,
                                      .ticket = ticket,
                                      .owner = STR("token:ci"),
                                      .fields = STR("{\"title\":\"x\"}"),
                                      .done = on_committed,
                                      .loop = f.loop};
    f.dones = 0;
    assert_true(storage_commit(commit));
    while (f.dones == 0)
        loop_turn(f.loop, 100);
    return commit->result;
}

static bool has_record(const char *id)
{
    struct file_record record;
    bool has = store_find_file(f.store, str_from(id), &record) == STORE_OK;
    if (has)
        free(record.memory);
    return has;
}

static void on_removed(struct storage_removal *removal)
{
    (void)removal;
    f.dones++;
}

static enum storage_result remove_file(const char *id)
{
    struct storage_removal removal = {.storage = f.storage, .done = on_removed, .loop = f.loop};
    strcpy(removal.id, id);
    f.dones = 0;
    assert_true(storage_remove(&removal));
    while (f.dones == 0)
        loop_turn(f.loop, 100);
    return removal.result;
}

static void test_a_committed_file_is_whole_and_recorded(void **state)
{
    (void)state;
    struct incoming file;
    struct incoming *files[] = {&file};
    struct storage_commit commit;
    struct file_record record;
    uint8_t digest[32];
    begin("");
    receive(&file, "%PDF-1.4\nhello");
    assert_int_equal(count(".tmp"), 1);
    assert_int_equal(commit_all(&commit, files, 1, NULL), STORAGE_OK);
    assert_int_equal(count(".tmp"), 0);
    assert_int_equal(count(""), 1);
    assert_int_equal(store_find_file(f.store, str_from(file.id), &record), STORE_OK);
    sha256("%PDF-1.4\nhello", 14, digest);
    assert_memory_equal(record.sha256, digest, 32);
    assert_true(str_eq(record.route, STR("main")) && str_eq(record.name, STR("a name")) &&
                str_eq(record.owner, STR("token:ci")) &&
                str_eq(record.fields, STR("{\"title\":\"x\"}")) &&
                str_eq(record.type, STR("application/pdf")));
    assert_int_equal(record.size, 14);
    assert_true(record.created_ms > 1600000000000);
    free(record.memory);
    incoming_fini(&file);
    assert_int_equal(count(""), 1);
    end();
}

static void test_files_of_a_form_become_whole_together(void **state)
{
    (void)state;
    struct incoming a, b, empty;
    struct incoming *files[] = {&a, &b, &empty};
    struct storage_commit commit;
    struct file_record record;
    begin("");
    receive(&a, "first");
    receive(&b, "second");
    receive(&empty, "");
    assert_int_equal(commit_all(&commit, files, 3, NULL), STORAGE_OK);
    assert_int_equal(count(""), 3);
    assert_true(has_record(a.id) && has_record(b.id));
    assert_int_equal(store_find_file(f.store, str_from(empty.id), &record), STORE_OK);
    assert_int_equal(record.size, 0);
    free(record.memory);
    for (size_t i = 0; i < 3; i++)
        incoming_fini(files[i]);
    end();
}

static void test_one_bad_file_of_a_form_leaves_nothing_of_it(void **state)
{
    static const struct {
        const char *keys, *first, *second;
        bool bad_sha256, bad_sha512;
        enum storage_result result;
    } cases[] = {
        {"", "a", "b", true, false, STORAGE_BAD_DIGEST},
        {"", "a", "b", false, true, STORAGE_BAD_DIGEST},
        {"allow_types = [\"application/pdf\"]", "%PDF-1.4\n", "no pdf", false, false,
         STORAGE_BAD_TYPE},
        {"allow_types = [\"application/*\"]", "%PDF-1.4\n", "no pdf", false, false,
         STORAGE_BAD_TYPE},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct incoming a, b;
        struct incoming *files[] = {&a, &b};
        struct storage_commit commit;
        struct ticket ticket;
        struct digest *sha512 = digest_create(DIGEST_SHA512);
        begin(cases[i].keys);
        assert_int_equal(ticket_take(&ticket, f.storage, STR("token:ci"), 100), STORAGE_OK);
        receive(&a, cases[i].first);
        receive(&b, cases[i].second);
        if (cases[i].bad_sha256)
            b.expected_sha256 = STR("0123456789abcdef0123456789abcdef");
        if (cases[i].bad_sha512) {
            b.expected_sha512 =
                STR("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
            b.file.digests[1] = sha512;
        }
        assert_int_equal(commit_all(&commit, files, 2, &ticket), cases[i].result);
        assert_ptr_equal(commit.culprit, &b);
        assert_int_equal(ticket.bytes, 100); /* nothing was kept */
        incoming_fini(&a);
        incoming_fini(&b);
        ticket_release(&ticket);
        until_count(".tmp", 0);
        assert_int_equal(count(""), 0);
        assert_false(has_record(a.id));
        digest_destroy(&sha512);
        end();
    }
}

static void test_expected_digests_that_are_right_let_pass(void **state)
{
    (void)state;
    struct incoming file;
    struct incoming *files[] = {&file};
    struct storage_commit commit;
    struct digest *sha512 = digest_create(DIGEST_SHA512), *other = digest_create(DIGEST_SHA512);
    uint8_t short_one[32], long_one[DIGEST_MAX];
    begin("");
    receive(&file, "text");
    sha256("text", 4, short_one);
    digest_update(sha512, "text", 4);
    digest_finish(sha512, long_one);
    digest_update(other, "text", 4);
    file.expected_sha256 = (struct str){(char *)short_one, 32};
    file.expected_sha512 = (struct str){(char *)long_one, 64};
    file.file.digests[1] = other;
    assert_int_equal(commit_all(&commit, files, 1, NULL), STORAGE_OK);
    incoming_fini(&file);
    digest_destroy(&sha512);
    digest_destroy(&other);
    end();
}

/* The store refuses a second record of an id: the file must not stay as if it were whole. */
static void test_without_a_record_no_file_is_whole(void **state)
{
    (void)state;
    struct incoming first, second;
    struct incoming *one[] = {&first}, *two[] = {&second};
    struct storage_commit commit;
    begin("");
    receive(&first, "first");
    assert_int_equal(commit_all(&commit, one, 1, NULL), STORAGE_OK);
    incoming_fini(&first);
    char moved[256];
    snprintf(moved, sizeof(moved), "mv %s/%s %s/elsewhere", f.dir, first.id, f.root);
    run(moved);
    incoming_init(&second, f.storage);
    strcpy(second.id, first.id);
    assert_int_equal(second.file.open(&second.file), 0);
    assert_int_equal(commit_all(&commit, two, 1, NULL), STORAGE_FAILED);
    assert_int_equal(count(""), 0);
    assert_int_equal(count(".tmp"), 1);
    incoming_fini(&second);
    until_count(".tmp", 0);
    end();
}

static void test_a_partial_upload_becomes_whole_or_stays_partial(void **state)
{
    (void)state;
    struct incoming file;
    struct incoming *files[] = {&file};
    struct storage_commit commit;
    begin("allow_types = [\"application/pdf\"]");
    for (unsigned pass = 0; pass < 2; pass++) {
        const char *text = pass == 0 ? "no pdf" : "%PDF-1.4\n";
        char path[64];
        incoming_init(&file, f.storage);
        file.in_partial = true;
        snprintf(path, sizeof(path), ".partial/%s", file.id);
        put(path, text);
        file.file.fd = openat(storage_dir(f.storage), path, O_RDWR);
        file.file.offset = strlen(text);
        digest_update(file.file.digests[0], text, strlen(text));
        assert_int_equal(commit_all(&commit, files, 1, NULL),
                         pass == 0 ? STORAGE_BAD_TYPE : STORAGE_OK);
        incoming_fini(&file);
        loop_turn(f.loop, 10);
        assert_int_equal(count(".partial"), 1); /* the first one's */
        assert_int_equal(count(""), pass);
        assert_true(has_record(file.id) == (pass == 1));
    }
    end();
}

static void test_removing_a_file_gives_its_bytes_back(void **state)
{
    (void)state;
    struct incoming file;
    struct incoming *files[] = {&file};
    struct storage_commit commit;
    struct ticket ticket;
    begin("client_quota = \"10\"\nquota = \"12\"");
    assert_int_equal(ticket_take(&ticket, f.storage, STR("token:ci"), 8), STORAGE_OK);
    receive(&file, "8 bytes.");
    assert_int_equal(commit_all(&commit, files, 1, &ticket), STORAGE_OK);
    assert_int_equal(ticket.bytes, 0);
    ticket_release(&ticket);
    incoming_fini(&file);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("token:ci"), 3), STORAGE_CLIENT_QUOTA);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("token:x"), 5), STORAGE_QUOTA);
    assert_int_equal(remove_file(file.id), STORAGE_OK);
    until_count("", 0);
    assert_false(has_record(file.id));
    assert_int_equal(remove_file(file.id), STORAGE_ABSENT);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("token:ci"), 10), STORAGE_OK);
    ticket_release(&ticket);
    end();
}

static void test_files_of_another_route_are_not_there(void **state)
{
    (void)state;
    struct incoming file;
    struct incoming *files[] = {&file};
    struct storage_commit commit;
    begin("[uploads.other]\npath = \"/other\"\ndir = \"other\"");
    struct storage *main_storage = f.storage;
    receive(&file, "x");
    assert_int_equal(commit_all(&commit, files, 1, NULL), STORAGE_OK);
    incoming_fini(&file);
    f.storage = storage_create(f.config, &f.config->uploads[1], f.store, f.disk, f.diag);
    assert_int_equal(remove_file(file.id), STORAGE_ABSENT);
    offload_stop(f.disk);
    storage_destroy(&f.storage);
    f.storage = main_storage;
    assert_true(has_record(file.id));
    end();
}

static void test_places_and_bytes_are_limited_and_given_back(void **state)
{
    (void)state;
    struct ticket a, b, c;
    begin("max_concurrent = 2\nquota = \"100\"\nclient_quota = \"60\"");
    assert_int_equal(ticket_take(&a, f.storage, STR("address:1"), 0), STORAGE_OK);
    assert_int_equal(ticket_take(&b, f.storage, STR("address:2"), 60), STORAGE_OK);
    assert_int_equal(ticket_take(&c, f.storage, STR("address:3"), 0), STORAGE_BUSY);
    ticket_release(&c); /* none: fine */
    assert_int_equal(ticket_reserve(&a, 40), STORAGE_OK);
    assert_int_equal(ticket_reserve(&a, 30), STORAGE_OK); /* has more already */
    assert_int_equal(a.bytes, 40);
    assert_int_equal(ticket_reserve(&a, 41), STORAGE_QUOTA);
    assert_int_equal(ticket_reserve(&b, 61), STORAGE_CLIENT_QUOTA);
    ticket_release(&b);
    assert_int_equal(ticket_reserve(&a, 60), STORAGE_OK);
    assert_int_equal(ticket_reserve(&a, UINT64_MAX), STORAGE_CLIENT_QUOTA);
    assert_int_equal(ticket_take(&c, f.storage, STR("address:1"), 1), STORAGE_CLIENT_QUOTA);
    ticket_keep(&a, 50);
    ticket_release(&a);
    assert_int_equal(ticket_take(&c, f.storage, STR("address:1"), 11), STORAGE_CLIENT_QUOTA);
    storage_uncount(f.storage, STR("address:1"), 50);
    assert_int_equal(ticket_take(&c, f.storage, STR("address:1"), 60), STORAGE_OK);
    ticket_release(&c);
    storage_uncount(f.storage, STR("address:9"), 50); /* of another process: never counted here */
    assert_int_equal(ticket_take(&c, f.storage, STR("address:9"), 60), STORAGE_OK);
    ticket_release(&c);
    end();
}

static void test_many_owners_are_counted_apart(void **state)
{
    (void)state;
    enum { OWNERS = 500 };
    struct ticket tickets[OWNERS], again;
    begin("client_quota = \"10\"\nmax_concurrent = 1000");
    for (unsigned i = 0; i < OWNERS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "address:%u", i);
        assert_int_equal(ticket_take(&tickets[i], f.storage, str_from(name), 10), STORAGE_OK);
    }
    for (unsigned i = 0; i < OWNERS; i++) {
        assert_int_equal(ticket_take(&again, f.storage, tickets[i].owner, 1), STORAGE_CLIENT_QUOTA);
        ticket_release(&tickets[i]);
    }
    assert_int_equal(ticket_take(&again, f.storage, STR("address:7"), 10), STORAGE_OK);
    ticket_release(&again);
    end();
}

static void test_quotas_know_the_records_after_a_restart(void **state)
{
    (void)state;
    struct incoming file;
    struct incoming *files[] = {&file};
    struct storage_commit commit;
    struct ticket ticket;
    begin("client_quota = \"23\"");
    receive(&file, "8 bytes."); /* and 13 of fields */
    assert_int_equal(commit_all(&commit, files, 1, NULL), STORAGE_OK);
    incoming_fini(&file);
    close_storage();
    open_storage("client_quota = \"23\"", true);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("token:ci"), 3), STORAGE_CLIENT_QUOTA);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("token:ci"), 2), STORAGE_OK);
    ticket_release(&ticket);
    end();
}

static void test_more_than_the_disk_has_is_refused_early(void **state)
{
    (void)state;
    struct ticket ticket;
    begin("");
    assert_int_equal(ticket_take(&ticket, f.storage, STR("token:ci"), 1ull << 60),
                     STORAGE_DISK_FULL);
    assert_int_equal(ticket_take(&ticket, f.storage, STR("token:ci"), 1), STORAGE_OK);
    ticket_release(&ticket);
    end();
}

static void test_the_sweep_removes_what_a_crash_left_and_nothing_else(void **state)
{
    (void)state;
    struct incoming whole, under_way;
    struct incoming *files[] = {&whole};
    struct storage_commit commit;
    begin("");
    receive(&whole, "whole");
    assert_int_equal(commit_all(&commit, files, 1, NULL), STORAGE_OK);
    incoming_fini(&whole);
    receive(&under_way, "being received");
    put("00000000000000000000000000000001", "renamed, never recorded");
    put(".tmp/00000000000000000000000000000002", "left");
    put(".partial/00000000000000000000000000000003", "left");
    put(".partial/00000000000000000000000000000004", "recorded");
    put("0000000000000000000000000000000A", "not one of our ids");
    put("readme.txt", "somebody's own");
    put(".tmp/readme.txt", "somebody's own");
    struct partial_record partial = {.id = STR("00000000000000000000000000000004"),
                                     .route = STR("main"),
                                     .name = STR("n"),
                                     .type = STR(""),
                                     .owner = STR("o"),
                                     .metadata = STR(""),
                                     .size = 10,
                                     .expires_ms = INT64_MAX};
    struct store_write write = {.put_partial = &partial};
    assert_true(store_submit(f.store, &write));
    struct partial_record found;
    while (store_find_partial(f.store, partial.id, &found) != STORE_OK)
        loop_turn(f.loop, 5);
    free(found.memory);

    storage_sweep(f.storage);
    assert_int_equal(count(""), 3);
    assert_int_equal(count(".tmp"), 2);
    assert_int_equal(count(".partial"), 1);
    assert_true(has_record(whole.id));
    struct incoming *rest[] = {&under_way};
    assert_int_equal(commit_all(&commit, rest, 1, NULL), STORAGE_OK);
    incoming_fini(&under_way);
    storage_sweep(f.storage);
    assert_int_equal(count(""), 4);
    end();
}

static void test_the_directory_is_made_for_us_alone(void **state)
{
    (void)state;
    struct stat info;
    begin("");
    assert_int_equal(stat(f.dir, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    end();
}

static void test_a_check_makes_nothing_and_tells_what_is_wrong(void **state)
{
    (void)state;
    begin("");
    close_storage();
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", f.dir);
    run(command);
    open_storage("", false);
    assert_int_equal(diag_errors(f.diag), 0);
    assert_int_equal(access(f.dir, F_OK), -1);
    close_storage();
    snprintf(command, sizeof(command), "touch %s", f.dir);
    run(command);
    open_storage("", false);
    assert_int_equal(diag_errors(f.diag), 1);
    close_storage();
    open_storage("", true);
    assert_int_equal(diag_errors(f.diag), 1);
    end();
}

static void test_ids_are_32_hexadecimal_digits(void **state)
{
    static const struct {
        const char *id;
        bool valid;
    } cases[] = {
        {"0123456789abcdef0123456789abcdef", true},  {"0123456789abcdef0123456789abcdeF", false},
        {"0123456789abcdef0123456789abcde", false},  {"0123456789abcdef0123456789abcdef0", false},
        {"../../../../../../../../etc/pass", false}, {"", false}};
    char a[STORE_ID + 1], b[STORE_ID + 1];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(storage_id_valid(str_from(cases[i].id)), cases[i].valid);
    storage_new_id(a);
    storage_new_id(b);
    assert_true(storage_id_valid(str_from(a)) && storage_id_valid(str_from(b)));
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_committed_file_is_whole_and_recorded),
        cmocka_unit_test(test_files_of_a_form_become_whole_together),
        cmocka_unit_test(test_one_bad_file_of_a_form_leaves_nothing_of_it),
        cmocka_unit_test(test_expected_digests_that_are_right_let_pass),
        cmocka_unit_test(test_without_a_record_no_file_is_whole),
        cmocka_unit_test(test_a_partial_upload_becomes_whole_or_stays_partial),
        cmocka_unit_test(test_removing_a_file_gives_its_bytes_back),
        cmocka_unit_test(test_files_of_another_route_are_not_there),
        cmocka_unit_test(test_places_and_bytes_are_limited_and_given_back),
        cmocka_unit_test(test_many_owners_are_counted_apart),
        cmocka_unit_test(test_quotas_know_the_records_after_a_restart),
        cmocka_unit_test(test_more_than_the_disk_has_is_refused_early),
        cmocka_unit_test(test_the_sweep_removes_what_a_crash_left_and_nothing_else),
        cmocka_unit_test(test_the_directory_is_made_for_us_alone),
        cmocka_unit_test(test_a_check_makes_nothing_and_tells_what_is_wrong),
        cmocka_unit_test(test_ids_are_32_hexadecimal_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
