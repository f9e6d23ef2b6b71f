/* What the tests of stores/ share: a directory that goes away, writes that are waited for, records
 * made of a number. */
#ifndef TEST_STORES_H
#define TEST_STORES_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "stores/stores.h"

static char directory[64], path[128];

static inline void empty_directory(void)
{
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
}

static inline int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/stores.XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/gateway.db", directory);
    return 0;
}

static inline int remove_directory(void **state)
{
    (void)state;
    empty_directory();
    return rmdir(directory);
}

static inline struct store *open_store(void)
{
    const char *error = NULL;
    struct store *store = store_open(path, &error);
    if (store == NULL)
        fail_msg("%s", error);
    return store;
}

/* -- writes that are waited for -- */

struct waited {
    struct store_write write;
    sem_t done;
};

static inline void note_done(struct store_write *write)
{
    struct waited *waited = CONTAINER_OF(write, struct waited, write);
    sem_post(&waited->done);
}

static inline enum store_result write_and_wait(struct store *store, struct store_write write)
{
    struct waited waited = {.write = write};
    waited.write.done = note_done;
    sem_init(&waited.done, 0, 0);
    bool taken = store_submit(store, &waited.write);
    while (taken && sem_wait(&waited.done) != 0)
        ;
    sem_destroy(&waited.done);
    return taken ? waited.write.result : STORE_BUSY;
}

/* -- records -- */

struct id {
    char text[STORE_ID + 1];
};

static inline struct id id_of(unsigned n)
{
    struct id id;
    snprintf(id.text, sizeof(id.text), "%08x%08x%016x", n * 2654435761u, n, n);
    return id;
}

static inline struct str id_str(const struct id *id)
{
    return (struct str){id->text, STORE_ID};
}

static inline struct file_record file_of(const struct id *id)
{
    return (struct file_record){.id = id_str(id),
                                .route = STR("main"),
                                .name = STR("notes.txt"),
                                .type = STR("text/plain"),
                                .owner = STR("token:ci"),
                                .size = 1000,
                                .created_ms = 1700000000000};
}

static inline enum store_result add_file(struct store *store, unsigned n)
{
    struct id id = id_of(n);
    struct file_record file = file_of(&id);
    return write_and_wait(store, (struct store_write){.add_files = &file, .add_file_count = 1});
}

static inline enum store_result remove_file(struct store *store, unsigned n)
{
    struct id id = id_of(n);
    return write_and_wait(store, (struct store_write){.remove_file = id_str(&id)});
}

static inline enum store_result find_file(struct store *store, unsigned n)
{
    struct id id = id_of(n);
    struct file_record file;
    enum store_result result = store_find_file(store, id_str(&id), &file);
    free(file.memory);
    return result;
}

static inline enum store_result find_partial(struct store *store, struct id id)
{
    struct partial_record partial;
    enum store_result result = store_find_partial(store, id_str(&id), &partial);
    free(partial.memory);
    return result;
}

static inline void free_files(struct file_record *files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(files[i].memory);
    free(files);
}

static inline void assert_str(struct str is, struct str expected)
{
    assert_int_equal(is.n, expected.n);
    if (is.n != 0)
        assert_memory_equal(is.p, expected.p, is.n);
}

/* SQLite's own opinion of the file. */
static inline void assert_sound(void)
{
    sqlite3 *db;
    sqlite3_stmt *row;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(row, 0), "ok");
    sqlite3_finalize(row);
    sqlite3_close(db);
}

static inline void run_sql(const char *file, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

#endif
