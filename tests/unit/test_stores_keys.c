/* An Idempotency-Key is tied to one certificate for a day, whoever races for it, and what clients
 * make of them has an end. */
#include "test_stores.h"

#include <pthread.h>

static struct store *store;

static int setup(void **state)
{
    if (make_directory(state) != 0)
        return -1;
    store = open_store();
    return 0;
}

static int teardown(void **state)
{
    store_close(&store);
    assert_sound();
    return remove_directory(state);
}

/* -- certificates and keys made of a number -- */

enum { PDF_SIZE = 100 };
static const char pdf[PDF_SIZE] = "%PDF-1.7";
static const struct str route = STR("course");

struct made {
    struct certificate_record certificate;
    struct certificate_key key;
    char serial[SERIAL_ROOM];
};

static void make_code(uint8_t code_r[32], char kind, unsigned n)
{
    memset(code_r, kind, 32);
    memcpy(code_r + 4, &n, sizeof(n));
}

/* key: for that certificate, made `age_ms` ago. */
static void make(struct made *made, unsigned number, unsigned client, unsigned key, int64_t age_ms)
{
    *made = (struct made){.certificate = {.route = route, .shown = STR("{}"), .size = PDF_SIZE}};
    int n = snprintf(made->serial, sizeof(made->serial), "SERIAL-%016u", number);
    made->certificate.serial = made->key.serial = (struct str){made->serial, (size_t)n};
    make_code(made->certificate.fields, 'f', number);
    make_code(made->certificate.sha256, 'h', number);
    make_code(made->key.key, 'k', key);
    make_code(made->key.client, 'c', client);
    made->key.made_ms = clock_unix_ms() - age_ms;
}

static enum store_result add(unsigned number)
{
    struct made made;
    make(&made, number, 0, 0, 0);
    return write_and_wait(store, (struct store_write){.add_certificate = &made.certificate,
                                                      .certificate_pdf = {pdf, PDF_SIZE}});
}

static enum store_result tie_aged(unsigned number, unsigned client, unsigned key, int64_t age_ms)
{
    struct made made;
    make(&made, number, client, key, age_ms);
    return write_and_wait(store, (struct store_write){.tie_key = &made.key});
}

static enum store_result tie(unsigned number, unsigned client, unsigned key)
{
    return tie_aged(number, client, key, 0);
}

/* The certificate that a key is tied to; 0 = none. */
static unsigned tied_to(unsigned key)
{
    struct made made;
    struct certificate_record record;
    unsigned number = 0;
    make(&made, 0, 0, key, 0);
    enum store_result result = store_find_certificate(
        store, BY_KEY, (struct str){(char *)made.key.key, 32}, &record, NULL);
    if (result == STORE_ABSENT)
        return 0;
    assert_int_equal(result, STORE_OK);
    assert_int_equal(sscanf(record.serial.p, "SERIAL-%16u", &number), 1);
    free(record.memory);
    return number;
}

static int64_t count_of(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *row;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(db);
    return count;
}

static int64_t keys(void)
{
    return count_of("SELECT count(*) FROM certificate_keys");
}

static uint64_t bytes(void)
{
    uint64_t bytes;
    assert_int_equal(store_certificate_bytes(store, route, &bytes), STORE_OK);
    return bytes;
}

/* `count` keys of a client, tied to certificate 1, as if they had been that long ago. */
static void fill(unsigned client, unsigned count, int64_t age_ms)
{
    struct made made;
    char sql[512], hex[65];
    make(&made, 1, client, 0, 0);
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", made.key.client[i]);
    snprintf(sql, sizeof(sql),
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u)"
             " INSERT INTO certificate_keys SELECT randomblob(32), x'%s', 1, %lld FROM n",
             count, hex, (long long)(clock_unix_ms() - age_ms));
    run_sql(path, sql);
}

/* -- what a key is tied to -- */

static void test_a_key_is_tied_once_to_a_certificate_that_is_there(void **state)
{
    (void)state;
    assert_int_equal(tie(1, 1, 1), STORE_ABSENT);
    assert_int_equal(add(1), STORE_OK);
    assert_int_equal(add(2), STORE_OK);
    for (int opened = 0; opened < 2; opened++) {
        assert_int_equal(tied_to(2), 0);
        assert_int_equal(tie(1, 1, 1), opened == 0 ? STORE_OK : STORE_EXISTS);
        assert_int_equal(tie(1, 1, 1), STORE_EXISTS);
        assert_int_equal(tie(2, 1, 1), STORE_EXISTS);
        assert_int_equal(tie(3, 1, 1), STORE_EXISTS); /* of none that is there */
        assert_int_equal(tied_to(1), 1);
        store_close(&store);
        store = open_store();
    }
    assert_int_equal(tie(1, 1, 3), STORE_OK); /* one may have several */
    assert_int_equal(tied_to(3), 1);
    assert_int_equal(keys(), 2);
    run_sql(path, "DELETE FROM certificates WHERE number = 1");
    assert_int_equal(tied_to(1), 0);
    assert_int_equal(keys(), 0);
    assert_int_equal(count_of("SELECT count(*) FROM certificate_clients"), 0);
    assert_int_equal(bytes(), PDF_SIZE);
    assert_int_equal(tie(2, 1, 1), STORE_OK);
}

static void test_who_is_second_is_told_who_was_first(void **state)
{
    (void)state;
    struct made made;
    struct waited waited = {0};
    assert_int_equal(add(7), STORE_OK);
    assert_int_equal(tie(7, 1, 1), STORE_OK);
    make(&made, 8, 1, 1, 0);
    waited.write = (struct store_write){.add_certificate = &made.certificate,
                                        .certificate_pdf = {pdf, PDF_SIZE},
                                        .tie_key = &made.key,
                                        .done = note_done};
    sem_init(&waited.done, 0, 0);
    assert_true(store_submit(store, &waited.write));
    while (sem_wait(&waited.done) != 0)
        ;
    assert_int_equal(waited.write.result, STORE_EXISTS);
    assert_string_equal(waited.write.existing_serial, "SERIAL-0000000000000007");
    /* And what came with the key left nothing. */
    assert_int_equal(count_of("SELECT count(*) FROM certificate_files"), 1);
    assert_int_equal(bytes(), PDF_SIZE + KEY_BYTES);
}

/* -- how long -- */

static void test_a_key_holds_for_a_day_and_then_is_free(void **state)
{
    (void)state;
    enum { MINUTE = 60 * 1000 };
    assert_int_equal(add(1), STORE_OK);
    assert_int_equal(add(2), STORE_OK);
    assert_int_equal(tie_aged(1, 1, 1, KEY_MS - MINUTE), STORE_OK);
    assert_int_equal(tied_to(1), 1);
    assert_int_equal(tie(2, 1, 1), STORE_EXISTS);
    run_sql(path, "UPDATE certificate_keys SET made_ms = made_ms - 60000");
    assert_int_equal(tied_to(1), 0);
    assert_int_equal(tie(2, 1, 1), STORE_OK);
    assert_int_equal(tied_to(1), 2);
    assert_int_equal(keys(), 1);
}

static void test_keys_that_had_their_day_go_as_new_ones_come(void **state)
{
    (void)state;
    assert_int_equal(add(1), STORE_OK);
    fill(1, 1000, KEY_MS);
    fill(2, 10, 0);
    assert_int_equal(keys(), 1010);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(tie(1, 3, i), STORE_OK);
    assert_int_equal(keys(), 13);
    assert_int_equal(count_of("SELECT count(*) FROM certificate_clients"), 2);
    assert_int_equal(bytes(), PDF_SIZE + 13 * KEY_BYTES);
    /* One that nobody has swept yet gives way all the same. */
    fill(4, 2000, KEY_MS + 1000);
    run_sql(path, "UPDATE certificate_keys SET made_ms = made_ms - 86400000 WHERE made_ms >"
                  " (SELECT max(made_ms) FROM certificate_keys) - 30000");
    assert_int_equal(tied_to(1), 0);
    assert_int_equal(tie(1, 3, 1), STORE_OK);
    assert_int_equal(tied_to(1), 1);
}

/* -- how many -- */

static void test_a_client_has_its_share_and_no_other_clients(void **state)
{
    (void)state;
    struct made made;
    assert_int_equal(add(1), STORE_OK);
    fill(1, KEYS_OF_CLIENT_MAX - 1, 1000);
    assert_int_equal(tie(1, 1, 1), STORE_OK);
    assert_int_equal(tie(1, 1, 2), STORE_SHARE);
    assert_int_equal(tie(1, 1, 1), STORE_EXISTS); /* what it has, it has */
    assert_int_equal(tie(9, 1, 2), STORE_ABSENT);
    assert_int_equal(tie(1, 2, 3), STORE_OK);
    make(&made, 2, 1, 4, 0);
    struct store_write both = {.add_certificate = &made.certificate,
                               .certificate_pdf = {pdf, PDF_SIZE},
                               .tie_key = &made.key};
    assert_int_equal(write_and_wait(store, both), STORE_SHARE);
    assert_int_equal(count_of("SELECT count(*) FROM certificates"), 1);
    assert_int_equal(add(2), STORE_OK); /* without a key */
    /* What had its day is not counted, though it is still in the file. */
    run_sql(path, "UPDATE certificate_keys SET made_ms = 1 WHERE made_ms < unixepoch() * 1000");
    assert_int_equal(tie(1, 1, 2), STORE_OK);
    assert_true(keys() > 0);
}

static void test_keys_count_to_the_quota_of_their_certificates(void **state)
{
    (void)state;
    struct made made;
    assert_int_equal(add(1), STORE_OK);
    make(&made, 1, 1, 1, 0);
    struct store_write write = {.tie_key = &made.key,
                                .certificate_quota = PDF_SIZE + KEY_BYTES - 1};
    assert_int_equal(write_and_wait(store, write), STORE_QUOTA);
    assert_int_equal(tied_to(1), 0);
    write.certificate_quota = PDF_SIZE + KEY_BYTES;
    assert_int_equal(write_and_wait(store, write), STORE_OK);
    assert_int_equal(bytes(), PDF_SIZE + KEY_BYTES);
    assert_int_equal(write_and_wait(store, write), STORE_EXISTS);
    make(&made, 2, 1, 2, 0);
    write = (struct store_write){.add_certificate = &made.certificate,
                                 .certificate_pdf = {pdf, PDF_SIZE},
                                 .tie_key = &made.key,
                                 .certificate_quota = 2 * PDF_SIZE + 2 * KEY_BYTES - 1};
    assert_int_equal(write_and_wait(store, write), STORE_QUOTA);
    assert_int_equal(bytes(), PDF_SIZE + KEY_BYTES);
    write.certificate_quota++;
    assert_int_equal(write_and_wait(store, write), STORE_OK);
    assert_int_equal(bytes(), 2 * PDF_SIZE + 2 * KEY_BYTES);
}

/* -- several at once -- */

enum { THREADS = 8, EACH = 40 };

struct racer {
    pthread_t id;
    struct store *store;
    unsigned first, won, wrong;
};

/* Each has certificates of its own, and the same keys as all others. */
static void *race(void *arg)
{
    struct racer *racer = arg;
    for (unsigned i = 0; i < EACH; i++) {
        struct made made;
        make(&made, racer->first + i, 1, 1 + i, 0);
        struct store_write write = {.add_certificate = &made.certificate,
                                    .certificate_pdf = {pdf, PDF_SIZE},
                                    .tie_key = &made.key};
        enum store_result result = write_and_wait(racer->store, write);
        racer->won += result == STORE_OK;
        racer->wrong += result != STORE_OK && result != STORE_EXISTS;
    }
    return NULL;
}

static void test_of_requests_that_race_with_a_key_one_gets_a_certificate(void **state)
{
    (void)state;
    struct racer racers[THREADS];
    struct store *second = open_store(); /* as another process has it */
    unsigned won = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.store = i % 2 == 0 ? store : second, .first = 1000 * (i + 1)};
        assert_int_equal(pthread_create(&racers[i].id, NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(racers[i].id, NULL);
        assert_int_equal(racers[i].wrong, 0);
        won += racers[i].won;
    }
    assert_int_equal(won, EACH);
    assert_int_equal(keys(), EACH);
    assert_int_equal(count_of("SELECT count(*) FROM certificates"), EACH);
    store_close(&second);
}

/* -- a file of an earlier gateway -- */

/* What the gateway that had a key for each certificate made of an empty file (.schema), less what
 * it shares with the one before. */
static const char version_2[] =
    "PRAGMA application_id = 0x67776179; PRAGMA journal_mode = WAL;"
    "CREATE TABLE files (id TEXT); CREATE TABLE owners (id TEXT); CREATE TABLE partials (id TEXT);"
    "CREATE TABLE certificates ( number INTEGER PRIMARY KEY, serial TEXT NOT NULL UNIQUE, "
    "route TEXT NOT NULL, fields BLOB NOT NULL CHECK (length(fields) = 32), key BLOB CHECK "
    "(length(key) = 32), shown TEXT NOT NULL, sha256 BLOB NOT NULL CHECK (length(sha256) = "
    "32), signed_sha256 BLOB CHECK (length(signed_sha256) = 32), size INTEGER NOT NULL, "
    "issued_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL, status INTEGER NOT NULL, "
    "current INTEGER NOT NULL, reason TEXT NOT NULL, superseded_by TEXT NOT NULL) STRICT; "
    "CREATE UNIQUE INDEX certificates_by_fields ON certificates (fields) WHERE current = 1; "
    "CREATE UNIQUE INDEX certificates_by_key ON certificates (key) WHERE key IS NOT NULL; "
    "CREATE INDEX certificates_without_successor ON certificates (fields) WHERE current = 0 "
    "AND superseded_by = ''; CREATE INDEX certificates_by_sha256 ON certificates (sha256); "
    "CREATE INDEX certificates_by_signed ON certificates (signed_sha256) WHERE signed_sha256 "
    "IS NOT NULL; CREATE INDEX certificates_by_time ON certificates (issued_ms, serial); "
    "CREATE INDEX certificates_by_route ON certificates (route, issued_ms, serial); CREATE "
    "TABLE certificate_files ( number INTEGER PRIMARY KEY, pdf BLOB NOT NULL) STRICT; CREATE "
    "TABLE certificate_routes ( route TEXT NOT NULL PRIMARY KEY, certificates INTEGER NOT "
    "NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID; CREATE TRIGGER certificate_added "
    "AFTER INSERT ON certificates BEGIN INSERT INTO certificate_routes VALUES (new.route, 1, "
    "new.size) ON CONFLICT DO UPDATE SET certificates = certificates + 1, bytes = bytes + "
    "excluded.bytes; UPDATE certificates SET superseded_by = new.serial WHERE fields = "
    "new.fields AND current = 0 AND superseded_by = '';END; CREATE TRIGGER "
    "certificate_removed AFTER DELETE ON certificates BEGIN DELETE FROM certificate_files "
    "WHERE number = old.number; UPDATE certificate_routes SET certificates = certificates - "
    "1, bytes = bytes - old.size WHERE route = old.route;END;"
    "PRAGMA user_version = 2;";

/* As that gateway did; its key: of that number, 0 = none. */
static void add_as_before(unsigned number, unsigned key, const char *age_ms)
{
    struct made made;
    char sql[768], code[65], fields[65];
    make(&made, number, 0, key, 0);
    for (size_t i = 0; i < 32; i++) {
        snprintf(code + 2 * i, 3, "%02x", made.key.key[i]);
        snprintf(fields + 2 * i, 3, "%02x", made.certificate.fields[i]);
    }
    snprintf(sql, sizeof(sql),
             "INSERT INTO certificates (serial, route, shown, reason, superseded_by, fields, key,"
             "  sha256, signed_sha256, size, issued_ms, changed_ms, status, current)"
             " SELECT '%s', 'course', '{}', '', '', x'%s', %s%s%s, zeroblob(32), NULL, %d,"
             "  unixepoch() * 1000 - %s, 0, 0, 1 ON CONFLICT DO NOTHING;"
             "INSERT INTO certificate_files (number, pdf)"
             " VALUES (last_insert_rowid(), zeroblob(%d))",
             made.serial, fields, key != 0 ? "x'" : "", key != 0 ? code : "NULL",
             key != 0 ? "'" : "", PDF_SIZE, age_ms, PDF_SIZE);
    run_sql(path, sql);
}

static void test_keys_of_the_gateway_before_hold_for_their_day(void **state)
{
    (void)state;
    struct certificate_record record;
    struct made made;
    store_close(&store);
    empty_directory();
    run_sql(path, version_2);
    add_as_before(1, 1, "1000");
    add_as_before(2, 2, "(86400000 - 60000)");
    add_as_before(3, 3, "(86400000 + 60000)");
    add_as_before(4, 0, "1000");
    store = open_store();
    assert_int_equal(tied_to(1), 1);
    assert_int_equal(tied_to(2), 2);
    assert_int_equal(tied_to(3), 0);
    assert_int_equal(keys(), 2);
    assert_int_equal(bytes(), 4 * PDF_SIZE + 2 * KEY_BYTES);
    assert_int_equal(tie(4, 1, 1), STORE_EXISTS);
    assert_int_equal(tie(4, 1, 3), STORE_OK); /* though the old row still has it in its column */
    assert_int_equal(add(3), STORE_EXISTS);
    make(&made, 3, 0, 0, 0);
    assert_int_equal(
        store_find_certificate(store, BY_SERIAL, made.certificate.serial, &record, NULL), STORE_OK);
    assert_int_equal(record.size, PDF_SIZE);
    free(record.memory);
    /* It may still be running. */
    add_as_before(5, 5, "0");
    assert_int_equal(tied_to(5), 5);
    assert_int_equal(bytes(), 5 * PDF_SIZE + 4 * KEY_BYTES);
    add_as_before(6, 0, "0");
    assert_int_equal(tie(6, 1, 6), STORE_OK);
    /* A key that both hand out in that time stays with who was first. */
    add_as_before(7, 6, "0");
    assert_int_equal(tied_to(6), 6);
    run_sql(path, "DELETE FROM certificates");
    assert_int_equal(keys(), 0);
    assert_int_equal(bytes(), 0);
    store_close(&store);
    store = open_store();
    assert_int_equal(keys(), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_a_key_is_tied_once_to_a_certificate_that_is_there),
        TEST(test_who_is_second_is_told_who_was_first),
        TEST(test_a_key_holds_for_a_day_and_then_is_free),
        TEST(test_keys_that_had_their_day_go_as_new_ones_come),
        TEST(test_a_client_has_its_share_and_no_other_clients),
        TEST(test_keys_count_to_the_quota_of_their_certificates),
        TEST(test_of_requests_that_race_with_a_key_one_gets_a_certificate),
        TEST(test_keys_of_the_gateway_before_hold_for_their_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
