/* Certificates come back as they were added, once for the same fields and once for the same key,
 * and what becomes of them follows the rules, whoever asks and in whichever process. The test runs
 * itself as another process:
 *
 *   test_stores_certificates add PATH FIRST
 *
 * adds certificates from number FIRST on until it is killed, many at a time; the number of each
 * goes to its standard output once the store has answered. */
#include "test_stores.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

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
    return remove_directory(state);
}

/* -- certificates made of a number -- */

enum { PDF_ROOM = 64 };

struct made {
    struct certificate_record record;
    char serial[SERIAL_ROOM], pdf[PDF_ROOM];
    struct str pdf_str;
    bool has_key;
    struct certificate_key key;
};

static void make_code(uint8_t code_r[32], char kind, unsigned n)
{
    memset(code_r, kind, 32);
    memcpy(code_r + 4, &n, sizeof(n));
}

/* `fields`: those of that number; key: 0 = none, else of its number, by client 1, now. */
static void make(struct made *made, unsigned number, unsigned fields, unsigned key)
{
    *made = (struct made){.record = {.route = STR("course"), .shown = STR("{\"name\":\"Ada\"}")}};
    int n = snprintf(made->serial, sizeof(made->serial), "SERIAL-%016u", number);
    made->record.serial = (struct str){made->serial, (size_t)n};
    n = snprintf(made->pdf, sizeof(made->pdf), "%%PDF-1.7 of %u and %u", number, fields);
    made->pdf_str = (struct str){made->pdf, (size_t)n + 2}; /* a NUL or two in it */
    make_code(made->record.fields, 'f', fields);
    made->has_key = key != 0;
    make_code(made->key.key, 'k', key);
    make_code(made->key.client, 'c', 1);
    made->key.serial = made->record.serial;
    made->key.made_ms = clock_unix_ms();
    make_code(made->record.sha256, 'h', number);
    make_code(made->record.signed_sha256, 's', number);
    made->record.size = made->pdf_str.n;
    made->record.issued_ms = 1700000000000 + number;
}

static struct store_write adding(const struct made *made)
{
    return (struct store_write){.add_certificate = &made->record,
                                .certificate_pdf = made->pdf_str,
                                .tie_key = made->has_key ? &made->key : NULL};
}

static enum store_result add_one(unsigned number, unsigned fields, unsigned key)
{
    struct made made;
    make(&made, number, fields, key);
    return write_and_wait(store, adding(&made));
}

/* What a refused one is told: the number of who is there. */
static unsigned existing_for(unsigned number, unsigned fields, unsigned key)
{
    struct made made;
    struct waited waited = {0};
    unsigned existing = 0;
    make(&made, number, fields, key);
    waited.write = adding(&made);
    waited.write.done = note_done;
    sem_init(&waited.done, 0, 0);
    assert_true(store_submit(store, &waited.write));
    while (sem_wait(&waited.done) != 0)
        ;
    assert_int_equal(waited.write.result, STORE_EXISTS);
    assert_int_equal(sscanf(waited.write.existing_serial, "SERIAL-%u", &existing), 1);
    return existing;
}

static struct certificate_record find_number(unsigned number)
{
    struct made made;
    struct certificate_record record;
    make(&made, number, 0, 0);
    assert_int_equal(store_find_certificate(store, BY_SERIAL, made.record.serial, &record, NULL),
                     STORE_OK);
    return record;
}

static void assert_is(unsigned number, enum certificate_status status, unsigned superseded_by)
{
    struct certificate_record record = find_number(number);
    struct made successor;
    make(&successor, superseded_by, 0, 0);
    assert_int_equal(record.status, status);
    assert_str(record.superseded_by, superseded_by != 0 ? successor.record.serial : STR(""));
    assert_int_equal(record.changed_ms != 0, status != CERTIFICATE_VALID);
    free(record.memory);
}

static enum store_result change(unsigned number, enum certificate_status status, unsigned by)
{
    struct made made, successor;
    make(&made, number, 0, 0);
    make(&successor, by, 0, 0);
    struct certificate_change one = {.serial = made.record.serial,
                                     .status = status,
                                     .reason = STR("because"),
                                     .superseded_by = by != 0 ? successor.record.serial : STR(""),
                                     .changed_ms = 1800000000000};
    return write_and_wait(store, (struct store_write){.change_certificate = &one});
}

static uint64_t bytes_of(struct str route)
{
    uint64_t bytes;
    assert_int_equal(store_certificate_bytes(store, route, &bytes), STORE_OK);
    return bytes;
}

static void assert_same(const struct certificate_record *is, const struct certificate_record *was)
{
    assert_str(is->serial, was->serial);
    assert_str(is->route, was->route);
    assert_str(is->shown, was->shown);
    assert_str(is->reason, was->reason);
    assert_str(is->superseded_by, was->superseded_by);
    assert_memory_equal(is->fields, was->fields, 32);
    assert_memory_equal(is->sha256, was->sha256, 32);
    assert_memory_equal(is->signed_sha256, was->signed_sha256, 32);
    assert_true(is->size == was->size && is->issued_ms == was->issued_ms &&
                is->changed_ms == was->changed_ms && is->status == was->status);
}

/* -- adding -- */

static void test_a_certificate_comes_back_as_it_was_added_by_whatever_it_is_known(void **state)
{
    (void)state;
    struct made with_all, bare;
    make(&with_all, 1, 1, 1);
    make(&bare, 2, 2, 0);
    memset(bare.record.signed_sha256, 0, 32);
    bare.record.shown = STR("{}");
    assert_int_equal(write_and_wait(store, adding(&with_all)), STORE_OK);
    assert_int_equal(write_and_wait(store, adding(&bare)), STORE_OK);
    for (int opened = 0; opened < 2; opened++) {
        const struct made *const all[] = {&with_all, &bare};
        for (size_t i = 0; i < COUNT(all); i++) {
            const struct certificate_record *was = &all[i]->record;
            const struct str whats[] = {[BY_SERIAL] = was->serial,
                                        [BY_FIELDS] = {(const char *)was->fields, 32},
                                        [BY_KEY] = {(const char *)all[i]->key.key, 32},
                                        [BY_SHA256] = {(const char *)was->sha256, 32},
                                        [BY_SIGNED] = {(const char *)was->signed_sha256, 32}};
            for (unsigned by = BY_SERIAL; by <= BY_SIGNED; by++) {
                struct certificate_record record;
                struct str pdf;
                /* What it hasn't got finds nothing. */
                bool lacks = i == 1 && (by == BY_KEY || by == BY_SIGNED);
                assert_int_equal(store_find_certificate(store, (enum certificate_by)by, whats[by],
                                                        &record, &pdf),
                                 lacks ? STORE_ABSENT : STORE_OK);
                if (lacks)
                    continue;
                assert_same(&record, was);
                assert_str(pdf, all[i]->pdf_str);
                free(record.memory);
                free((char *)(uintptr_t)pdf.p);
                assert_int_equal(store_find_certificate(store, (enum certificate_by)by, whats[by],
                                                        &record, NULL),
                                 STORE_OK);
                free(record.memory);
            }
        }
        store_close(&store);
        assert_sound();
        store = open_store();
    }
    struct certificate_record record;
    struct str pdf;
    assert_int_equal(store_find_certificate(store, BY_SERIAL, STR("' OR 1 --"), &record, &pdf),
                     STORE_ABSENT);
    assert_null(record.memory);
    assert_null(pdf.p);
}

static void test_the_same_fields_or_key_are_there_once(void **state)
{
    (void)state;
    assert_int_equal(add_one(1, 1, 1), STORE_OK);
    assert_int_equal(existing_for(2, 1, 0), 1); /* the fields */
    assert_int_equal(existing_for(2, 1, 2), 1);
    assert_int_equal(existing_for(2, 7, 1), 1); /* the key alone */
    assert_int_equal(existing_for(1, 8, 8), 1); /* the serial */
    assert_int_equal(add_one(2, 2, 2), STORE_OK);
    assert_int_equal(existing_for(3, 1, 2), 1); /* the key of one, the fields of another */
    assert_int_equal(add_one(3, 3, 0), STORE_OK);
    assert_int_equal(add_one(4, 4, 0), STORE_OK); /* no key is not the same key */
    assert_int_equal(bytes_of(STR("course")),
                     4 * strlen("%PDF-1.7 of 1 and 1") + 4 * 2 + 2 * KEY_BYTES);
    /* A refused one left nothing: neither its bytes nor half of a write. */
    struct id id = id_of(1);
    struct file_record file = file_of(&id);
    struct made again;
    make(&again, 9, 1, 0);
    struct store_write both = adding(&again);
    both.add_files = &file;
    both.add_file_count = 1;
    assert_int_equal(write_and_wait(store, both), STORE_EXISTS);
    assert_int_equal(find_file(store, 1), STORE_ABSENT);
    sqlite3 *db;
    sqlite3_stmt *row;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT count(*) FROM certificate_files", -1, &row, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(row, 0), 4);
    sqlite3_finalize(row);
    sqlite3_close(db);
}

static void test_a_route_that_has_its_quota_takes_no_more(void **state)
{
    (void)state;
    struct made made;
    make(&made, 1, 1, 0);
    struct store_write write = adding(&made);
    write.certificate_quota = made.record.size - 1;
    assert_int_equal(write_and_wait(store, write), STORE_QUOTA);
    assert_int_equal(bytes_of(STR("course")), 0);
    write.certificate_quota = made.record.size;
    assert_int_equal(write_and_wait(store, write), STORE_OK);
    assert_int_equal(bytes_of(STR("course")), made.record.size);
    make(&made, 2, 2, 0);
    write = adding(&made);
    write.certificate_quota = 2 * made.record.size - 1;
    assert_int_equal(write_and_wait(store, write), STORE_QUOTA);
    /* What is there is told, quota or not; other routes have theirs. */
    make(&made, 3, 1, 0);
    write = adding(&made);
    write.certificate_quota = 1;
    assert_int_equal(write_and_wait(store, write), STORE_EXISTS);
    make(&made, 4, 4, 0);
    made.record.route = STR("other");
    write = adding(&made);
    write.certificate_quota = made.record.size;
    assert_int_equal(write_and_wait(store, write), STORE_OK);
    make(&made, 5, 5, 0);
    write = adding(&made);
    write.certificate_quota = UINT64_MAX;
    assert_int_equal(write_and_wait(store, write), STORE_OK);
    assert_int_equal(bytes_of(STR("other")), made.record.size);
    assert_int_equal(bytes_of(STR("course")), 2 * made.record.size);
    run_sql(path, "DELETE FROM certificates WHERE route = 'course'");
    assert_int_equal(bytes_of(STR("course")), 0);
}

/* -- changing -- */

static void test_what_is_revoked_stays_so_and_keeps_its_fields(void **state)
{
    (void)state;
    assert_int_equal(change(1, CERTIFICATE_REVOKED, 0), STORE_ABSENT);
    assert_int_equal(add_one(1, 1, 1), STORE_OK);
    assert_int_equal(add_one(2, 2, 0), STORE_OK);
    assert_int_equal(change(1, CERTIFICATE_REVOKED, 0), STORE_OK);
    assert_is(1, CERTIFICATE_REVOKED, 0);
    assert_is(2, CERTIFICATE_VALID, 0);
    struct certificate_record record = find_number(1);
    assert_str(record.reason, STR("because"));
    assert_true(record.changed_ms == 1800000000000);
    free(record.memory);
    assert_int_equal(existing_for(3, 1, 0), 1);
    assert_int_equal(change(1, CERTIFICATE_REVOKED, 0), STORE_EXISTS);
    assert_int_equal(change(1, CERTIFICATE_SUPERSEDED, 0), STORE_EXISTS);
    assert_int_equal(change(1, CERTIFICATE_SUPERSEDED, 2), STORE_EXISTS);
    assert_is(1, CERTIFICATE_REVOKED, 0);
}

static void test_what_is_superseded_makes_room_for_its_successor(void **state)
{
    (void)state;
    struct made made;
    struct certificate_record record;
    assert_int_equal(add_one(1, 1, 1), STORE_OK);
    assert_int_equal(change(1, CERTIFICATE_SUPERSEDED, 0), STORE_OK);
    assert_is(1, CERTIFICATE_SUPERSEDED, 0);
    make(&made, 1, 1, 1);
    assert_int_equal(store_find_certificate(store, BY_FIELDS,
                                            (struct str){(char *)made.record.fields, 32}, &record,
                                            NULL),
                     STORE_ABSENT);
    assert_int_equal(existing_for(2, 1, 1), 1); /* its key is still its own */
    assert_int_equal(add_one(2, 1, 0), STORE_OK);
    assert_is(1, CERTIFICATE_SUPERSEDED, 2);
    assert_is(2, CERTIFICATE_VALID, 0);
    /* A chain. */
    assert_int_equal(change(2, CERTIFICATE_SUPERSEDED, 0), STORE_OK);
    assert_int_equal(add_one(3, 1, 0), STORE_OK);
    assert_is(1, CERTIFICATE_SUPERSEDED, 2);
    assert_is(2, CERTIFICATE_SUPERSEDED, 3);
    assert_int_equal(existing_for(4, 1, 0), 3);
    /* By one of other fields; then the fields may be issued again all the same. */
    assert_int_equal(add_one(5, 5, 0), STORE_OK);
    assert_int_equal(change(3, CERTIFICATE_SUPERSEDED, 5), STORE_OK);
    assert_is(3, CERTIFICATE_SUPERSEDED, 5);
    assert_int_equal(add_one(6, 1, 0), STORE_OK);
    assert_is(3, CERTIFICATE_SUPERSEDED, 5);
    /* What was superseded can still be revoked, and then has its successor still. */
    assert_int_equal(change(2, CERTIFICATE_REVOKED, 0), STORE_OK);
    assert_is(2, CERTIFICATE_REVOKED, 3);
    assert_int_equal(existing_for(7, 1, 0), 6);
}

static void test_a_successor_is_another_valid_certificate(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 4; i++)
        assert_int_equal(add_one(i, i, 0), STORE_OK);
    assert_int_equal(change(1, CERTIFICATE_SUPERSEDED, 99), STORE_EXISTS); /* isn't there */
    assert_int_equal(change(1, CERTIFICATE_SUPERSEDED, 1), STORE_EXISTS);
    assert_int_equal(change(2, CERTIFICATE_REVOKED, 0), STORE_OK);
    assert_int_equal(change(1, CERTIFICATE_SUPERSEDED, 2), STORE_EXISTS);
    assert_is(1, CERTIFICATE_VALID, 0);
    assert_int_equal(change(1, CERTIFICATE_SUPERSEDED, 3), STORE_OK);
    assert_int_equal(change(3, CERTIFICATE_SUPERSEDED, 1), STORE_EXISTS); /* no circles */
    assert_int_equal(change(1, CERTIFICATE_SUPERSEDED, 4), STORE_EXISTS); /* it has one */
    /* First for nothing yet, then told. */
    assert_int_equal(change(3, CERTIFICATE_SUPERSEDED, 0), STORE_OK);
    assert_int_equal(change(3, CERTIFICATE_SUPERSEDED, 0), STORE_EXISTS);
    assert_int_equal(change(3, CERTIFICATE_SUPERSEDED, 4), STORE_OK);
    assert_is(3, CERTIFICATE_SUPERSEDED, 4);
}

/* -- lists -- */

static void test_a_list_is_paged_newest_first(void **state)
{
    (void)state;
    enum { N = 60 };
    for (unsigned i = 0; i < N; i++) {
        struct made made;
        make(&made, i, i, 0);
        made.record.issued_ms = 1700000000000 + i / 7; /* many of one millisecond */
        if (i % 4 == 0)
            made.record.route = STR("other");
        assert_int_equal(write_and_wait(store, adding(&made)), STORE_OK);
        if (i % 5 == 0)
            assert_int_equal(change(i, CERTIFICATE_REVOKED, 0), STORE_OK);
    }
    static const struct {
        struct str route;
        int status;
        unsigned count;
    } cases[] = {{STR(""), -1, N},
                 {STR("course"), -1, 45},
                 {STR("other"), -1, 15},
                 {STR("nowhere"), -1, 0},
                 {STR(""), CERTIFICATE_REVOKED, 12},
                 {STR("other"), CERTIFICATE_REVOKED, 3},
                 {STR("course"), CERTIFICATE_VALID, 36}};
    for (size_t c = 0; c < COUNT(cases); c++)
        for (size_t limit = 1; limit <= 100; limit = limit * 5 + 2) {
            struct certificate_list list = {.route = cases[c].route,
                                            .status = cases[c].status,
                                            .after_ms = INT64_MAX,
                                            .limit = limit};
            char last[SERIAL_ROOM] = "";
            unsigned seen = 0, before = N;
            for (;;) {
                struct certificate_record *page;
                size_t count;
                assert_int_equal(store_list_certificates(store, &list, &page, &count), STORE_OK);
                assert_true(count <= limit);
                for (size_t i = 0; i < count; i++) {
                    unsigned number;
                    assert_int_equal(sscanf(page[i].serial.p, "SERIAL-%16u", &number), 1);
                    assert_true(number < before); /* numbers ascend as times and serials do */
                    before = number;
                    list.after_ms = page[i].issued_ms;
                    snprintf(last, sizeof(last), "%.*s", (int)page[i].serial.n, page[i].serial.p);
                    free(page[i].memory);
                }
                free(page);
                list.after_serial = str_from(last);
                seen += (unsigned)count;
                if (count == 0)
                    break;
            }
            assert_int_equal(seen, cases[c].count);
        }
}

static void test_lists_and_codes_are_found_by_an_index(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *index;
    } cases[] = {
        {"SELECT 1 FROM certificates WHERE fields = ?1 AND current = 1", "certificates_by_fields"},
        {"SELECT 1 FROM certificate_keys WHERE key = ?1 AND made_ms > ?2", "PRIMARY KEY"},
        {"DELETE FROM certificate_keys WHERE number = ?1", "certificate_keys_by_number"},
        {"SELECT key FROM certificate_keys WHERE made_ms <= ?1 ORDER BY made_ms LIMIT 512",
         "certificate_keys_by_time"},
        {"SELECT 1 FROM certificates WHERE signed_sha256 = ?1", "certificates_by_signed"},
        {"UPDATE certificates SET superseded_by = '' WHERE fields = ?1 AND current = 0"
         " AND superseded_by = ''",
         "certificates_without_successor"},
        {"SELECT shown FROM certificates WHERE route = ?5 AND (issued_ms, serial) < (?1, ?2)"
         " ORDER BY issued_ms DESC, serial DESC LIMIT 10",
         "certificates_by_route"},
        {"SELECT shown FROM certificates WHERE (issued_ms, serial) < (?1, ?2)"
         " ORDER BY issued_ms DESC, serial DESC LIMIT 10",
         "certificates_by_time"},
    };
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (size_t i = 0; i < COUNT(cases); i++) {
        sqlite3_stmt *row;
        char sql[512];
        snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", cases[i].sql);
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(row), SQLITE_ROW);
        const char *plan = (const char *)sqlite3_column_text(row, 3);
        if (strstr(plan, cases[i].index) == NULL)
            fail_msg("%s: %s", cases[i].sql, plan);
        assert_int_equal(sqlite3_step(row), SQLITE_DONE); /* nothing is sorted */
        sqlite3_finalize(row);
    }
    sqlite3_close(db);
}

/* -- a file of an earlier gateway -- */

/* As the gateway before certificates left it, with an upload and a partial one. */
static const char version_1[] =
    "PRAGMA application_id = 0x67776179; PRAGMA journal_mode = WAL;"
    "CREATE TABLE files ( id TEXT NOT NULL PRIMARY KEY, route TEXT NOT NULL, name TEXT NOT NULL,"
    " type TEXT NOT NULL, owner TEXT NOT NULL, fields TEXT NOT NULL, size INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, sha256 BLOB NOT NULL CHECK (length(sha256) = 32)) STRICT;"
    "CREATE TABLE owners ( route TEXT NOT NULL, owner TEXT NOT NULL, files INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, PRIMARY KEY (route, owner)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE partials ( id TEXT NOT NULL PRIMARY KEY, route TEXT NOT NULL,"
    " name TEXT NOT NULL, type TEXT NOT NULL, owner TEXT NOT NULL, metadata TEXT NOT NULL,"
    " size INTEGER NOT NULL, received INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " expires_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO files VALUES ('0123456789abcdef0123456789abcdef', 'main', 'notes.txt',"
    " 'text/plain', 'token:ci', '{\"a\":\"b\"}', 1000, 1700000000000, zeroblob(32));"
    "INSERT INTO owners VALUES ('main', 'token:ci', 1, 1009);"
    "INSERT INTO partials VALUES ('fedcba9876543210fedcba9876543210', 'main', '', '', 'token:ci',"
    " '', 500, 20, 1, 2);"
    "CREATE INDEX files_by_time ON files (route, created_ms, id);"
    "CREATE TRIGGER file_added AFTER INSERT ON files BEGIN INSERT INTO owners VALUES (new.route,"
    " new.owner, 1,  new.size + length(CAST(new.fields AS BLOB)))  ON CONFLICT DO UPDATE SET"
    " files = files + 1, bytes = bytes + excluded.bytes;END;"
    "CREATE TRIGGER file_removed AFTER DELETE ON files BEGIN UPDATE owners SET files = files - 1,"
    " bytes = bytes - old.size - length(CAST(old.fields AS BLOB))  WHERE route = old.route AND"
    " owner = old.owner; DELETE FROM owners WHERE route = old.route AND owner = old.owner AND"
    " files = 0;END;"
    "CREATE INDEX partials_by_expiry ON partials (route, expires_ms);"
    "PRAGMA user_version = 1";

static void add_bytes(void *arg, struct str owner, uint64_t bytes)
{
    (void)owner;
    *(uint64_t *)arg += bytes;
}

static void test_a_file_of_the_gateway_before_is_brought_up_to_date_where_it_is(void **state)
{
    (void)state;
    struct file_record file;
    uint64_t bytes = 0;
    store_close(&store);
    empty_directory();
    run_sql(path, version_1);
    for (int opened = 0; opened < 2; opened++) {
        store = open_store();
        assert_int_equal(store_find_file(store, STR("0123456789abcdef0123456789abcdef"), &file),
                         STORE_OK);
        assert_str(file.name, STR("notes.txt"));
        free(file.memory);
        assert_int_equal(add_one(1, 1, 0), opened == 0 ? STORE_OK : STORE_EXISTS);
        store_close(&store);
    }
    assert_sound();
    store = open_store();
    assert_int_equal(store_each_owner(store, STR("main"), add_bytes, &bytes), STORE_OK);
    assert_int_equal(bytes, 1509);
}

/* -- several at once -- */

enum { THREADS = 8, EACH = 40 };

struct racer {
    pthread_t id;
    struct store *store;
    unsigned first, added, wrong;
};

/* All of them want the same certificates. */
static void *race(void *arg)
{
    struct racer *racer = arg;
    for (unsigned i = 0; i < EACH; i++) {
        struct made made;
        make(&made, racer->first + i, i, i % 2 == 0 ? 0 : 1 + i);
        struct store_write write = adding(&made);
        enum store_result result = write_and_wait(racer->store, write);
        racer->added += result == STORE_OK;
        racer->wrong += result != STORE_OK && result != STORE_EXISTS;
        struct certificate_record record;
        struct str pdf;
        racer->wrong += store_find_certificate(racer->store, BY_FIELDS,
                                               (struct str){(char *)made.record.fields, 32},
                                               &record, &pdf) != STORE_OK;
        /* Whoever won, its bytes are its own. */
        char text[PDF_ROOM];
        unsigned number = 0, fields = 0;
        snprintf(text, sizeof(text), "%s", pdf.p != NULL ? pdf.p : "");
        racer->wrong += sscanf(text, "%%PDF-1.7 of %u and %u", &number, &fields) != 2;
        racer->wrong += fields != i || (result == STORE_OK && number != racer->first + i);
        free(record.memory);
        free((char *)(uintptr_t)pdf.p);
    }
    return NULL;
}

static void test_requests_that_race_get_one_certificate(void **state)
{
    (void)state;
    struct racer racers[THREADS];
    struct store *second = open_store(); /* as another process has it */
    unsigned added = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.store = i % 2 == 0 ? store : second, .first = 1000 * (i + 1)};
        assert_int_equal(pthread_create(&racers[i].id, NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(racers[i].id, NULL);
        assert_int_equal(racers[i].wrong, 0);
        added += racers[i].added;
    }
    assert_int_equal(added, EACH);
    store_close(&second);
    store_close(&store);
    assert_sound();
    store = open_store();
}

/* -- the other process -- */

enum { AT_ONCE = 32 };

struct slot {
    struct store_write write;
    struct made made;
    unsigned number;
};
static unsigned next_number;

static void begin(struct slot *slot)
{
    slot->number = next_number++;
    make(&slot->made, slot->number, slot->number, slot->number + 1);
    void (*done)(struct store_write *) = slot->write.done;
    struct loop *loop = slot->write.loop;
    slot->write = adding(&slot->made);
    slot->write.done = done;
    slot->write.loop = loop;
    if (!store_submit(store, &slot->write))
        _exit(3);
}

static void on_added(struct store_write *answered)
{
    struct slot *slot = CONTAINER_OF(answered, struct slot, write);
    ssize_t size = sizeof(slot->number);
    if (answered->result != STORE_OK)
        _exit(4);
    if (write(STDOUT_FILENO, &slot->number, (size_t)size) != size)
        _exit(5);
    begin(slot);
}

static int add_until_killed(unsigned first)
{
    static struct slot slots[AT_ONCE];
    const char *error;
    struct loop *loop = loop_create(0);
    store = store_open(path, &error);
    if (store == NULL)
        return 2;
    next_number = first;
    for (size_t i = 0; i < AT_ONCE; i++) {
        slots[i].write = (struct store_write){.done = on_added, .loop = loop};
        begin(&slots[i]);
    }
    for (;;)
        loop_turn(loop, 1000);
}

static void test_what_was_answered_survives_a_kill_with_its_bytes(void **state)
{
    (void)state;
    enum { ROUNDS = 8, STRIDE = 1000000 };
    store_close(&store);
    for (unsigned round = 0; round < ROUNDS; round++) {
        int ends[2], status;
        char first[16];
        unsigned number, answered = 0, *numbers = calloc(STRIDE, sizeof(*numbers));
        snprintf(first, sizeof(first), "%u", round * STRIDE);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            dup2(ends[1], STDOUT_FILENO);
            execl("/proc/self/exe", "test_stores_certificates", "add", path, first, (char *)NULL);
            _exit(1);
        }
        close(ends[1]);
        unsigned enough = 1 + round * 37;
        while (answered < enough && read(ends[0], &number, sizeof(number)) == sizeof(number))
            numbers[answered++] = number;
        assert_int_equal(answered, enough);
        kill(pid, SIGKILL);
        while (read(ends[0], &number, sizeof(number)) == sizeof(number))
            numbers[answered++] = number;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        close(ends[0]);
        store = open_store();
        for (unsigned i = 0; i < answered; i++) {
            struct made made;
            struct certificate_record record;
            struct str pdf;
            make(&made, numbers[i], numbers[i], numbers[i] + 1);
            struct str key = {(const char *)made.key.key, 32};
            assert_int_equal(store_find_certificate(store, BY_KEY, key, &record, &pdf), STORE_OK);
            assert_same(&record, &made.record);
            assert_str(pdf, made.pdf_str);
            free(record.memory);
            free((char *)(uintptr_t)pdf.p);
        }
        store_close(&store);
        assert_sound();
        free(numbers);
    }
    store = open_store();
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_a_certificate_comes_back_as_it_was_added_by_whatever_it_is_known),
        TEST(test_the_same_fields_or_key_are_there_once),
        TEST(test_a_route_that_has_its_quota_takes_no_more),
        TEST(test_what_is_revoked_stays_so_and_keeps_its_fields),
        TEST(test_what_is_superseded_makes_room_for_its_successor),
        TEST(test_a_successor_is_another_valid_certificate),
        TEST(test_a_list_is_paged_newest_first),
        TEST(test_lists_and_codes_are_found_by_an_index),
        TEST(test_a_file_of_the_gateway_before_is_brought_up_to_date_where_it_is),
        TEST(test_requests_that_race_get_one_certificate),
        TEST(test_what_was_answered_survives_a_kill_with_its_bytes),
    };
    if (argc == 4 && strcmp(argv[1], "add") == 0) {
        snprintf(path, sizeof(path), "%s", argv[2]);
        return add_until_killed((unsigned)strtoul(argv[3], NULL, 10));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
