/* What the files of stores/ share: connections with their prepared statements, the pool of readers,
 * the writer's queue. */
#ifndef GW_STORE_INTERNAL_H
#define GW_STORE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include "stores/stores.h"

/* -- connections: connection.c ----------------------------------------------------------------- */

/* A statement's place among the prepared ones of a connection. */
enum query_place {
    QUERY_BEGIN,
    QUERY_COMMIT,
    QUERY_ROLLBACK,
    QUERY_SAVEPOINT,
    QUERY_RELEASE,
    QUERY_UNDO,
    QUERY_FILE_ADD,
    QUERY_FILE_REMOVE,
    QUERY_FILE_FIND,
    QUERY_FILE_LIST,
    QUERY_PARTIAL_PUT,
    QUERY_PARTIAL_REMOVE,
    QUERY_PARTIAL_FIND,
    QUERY_PARTIAL_EXPIRED,
    QUERY_OWNERS,
    QUERY_CERTIFICATE_ADD,
    QUERY_CERTIFICATE_ADD_PDF,
    QUERY_CERTIFICATE_EXISTING,
    QUERY_CERTIFICATE_CHANGE,
    QUERY_KEY_TIE,
    QUERY_KEY_TIED,
    QUERY_KEY_SWEEP,
    QUERY_CERTIFICATE_SERIAL,
    QUERY_CERTIFICATE_FIELDS,
    QUERY_CERTIFICATE_KEY,
    QUERY_CERTIFICATE_SHA256,
    QUERY_CERTIFICATE_SIGNED,
    QUERY_CERTIFICATE_PDF,
    QUERY_CERTIFICATE_LIST,
    QUERY_CERTIFICATE_LIST_ROUTE,
    QUERY_CERTIFICATE_BYTES,
    QUERIES
};
struct query {
    enum query_place place;
    const char *sql;
};

/* Failures at run time, each kind of result logged once in a while only: a full disk fails every
 * write there is. */
struct complaints {
    const char *path;     /* borrowed */
    pthread_mutex_t lock; /* of what follows */
    uint64_t next_us[STORE_FAILED + 1];
    unsigned unsaid[STORE_FAILED + 1];
};

/* Any thread. Gives back `result`. */
enum store_result complain(struct complaints *complaints, enum store_result result,
                           const char *what, const char *error);

/* One thread at a time. */
struct connection {
    sqlite3 *db;                     /* NULL = not open */
    sqlite3_stmt *prepared[QUERIES]; /* NULL = not yet */
    struct complaints *complaints;   /* borrowed */
    struct connection *next;         /* among idle readers */
};

/* path: absolute, the file exists. False with *error_r; nothing is left to close. */
bool connection_open(struct connection *connection, const char *path, struct complaints *complaints,
                     const char **error_r);
/* Fine when it isn't open. */
void connection_close(struct connection *connection);
/* "PATH: what SQLite says", in the thread's memory. */
const char *connection_error(const struct connection *connection, const char *path);
/* For errors of store_open(): a line in the thread's memory. */
const char *store_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The statement, prepared and ready to be bound. Not STORE_OK: was logged, there is nothing to end.
 */
enum store_result query_begin(struct connection *connection, const struct query *query,
                              sqlite3_stmt **statement_r);
/* code: of the last sqlite3_step(). */
enum store_result query_end(struct connection *connection, sqlite3_stmt *statement, int code);
/* From begin to end, for one that binds nothing and gives no rows. */
enum store_result query_run(struct connection *connection, const struct query *query);
void bind_str(sqlite3_stmt *statement, int parameter, struct str value);
void bind_blob(sqlite3_stmt *statement, int parameter, const void *bytes, size_t n);
/* What is more than SQLite's numbers go is their greatest. */
void bind_uint(sqlite3_stmt *statement, int parameter, uint64_t value);

/* Columns 0 … count-1 as strings in one block of memory, which is returned; free(). */
char *column_strs(sqlite3_stmt *row, struct str *const *strs_r, size_t count);
/* A zeroed item more, at the end of a growing array. */
void *array_add(void **array, size_t *count, size_t item_size);

/* -- the schema: schema.c ---------------------------------------------------------------------- */

bool schema_upgrade(struct connection *connection, const char *path, const char **error_r);

/* -- rows: files.c, partials.c, certificates.c, certificate_keys.c; on the writer's connection, in
 * a transaction ----------------------------------------------------------------------------------
 */

enum store_result file_add(struct connection *writer, const struct file_record *file);
enum store_result file_remove(struct connection *writer, struct str id);
enum store_result partial_put(struct connection *writer, const struct partial_record *partial);
/* *removed_r: whether it was there. */
enum store_result partial_remove(struct connection *writer, struct str id, bool *removed_r);
/* The write's certificate, with its PDF; sets its existing_serial. */
enum store_result certificate_add(struct connection *writer, struct store_write *write);
enum store_result certificate_change(struct connection *writer,
                                     const struct certificate_change *change);
/* Column 0 as a serial, when `code` is SQLITE_ROW; gives it back, or SQLITE_CORRUPT. */
int column_serial(sqlite3_stmt *row, int code, char serial_r[SERIAL_ROOM]);
/* The write's key; sets its existing_serial. */
enum store_result key_tie(struct connection *writer, struct store_write *write);
/* Removes some of those that have had their time, more than a batch can add. */
enum store_result keys_sweep(struct connection *writer);

/* -- the store: store.c ------------------------------------------------------------------------ */

enum { READERS_MAX = 4 };

struct store {
    char *path; /* owned, absolute */
    struct complaints complaints;

    struct {
        pthread_mutex_t lock; /* of all here */
        pthread_cond_t free;
        struct connection *idle;
        struct connection all[READERS_MAX]; /* opened when first taken */
    } readers;

    struct {
        pthread_mutex_t lock; /* of the queue */
        pthread_cond_t wanted;
        struct store_write *first, **last;
        unsigned queued;
        bool ending;
        struct connection connection; /* the thread's own while it runs */
        pthread_t thread;
        bool started; /* the main thread's */
    } writer;
};

/* A query under way on a reader of its own; there is no reader left when it didn't begin. */
struct reading {
    struct store *store;
    struct connection *connection;
    sqlite3_stmt *row;
};
enum store_result reading_begin(struct store *store, const struct query *query,
                                struct reading *reading_r);
enum store_result reading_end(struct reading *reading, int code);

/* -- the writer: writer.c ---------------------------------------------------------------------- */

enum { BATCH_MAX = 512 }; /* writes in one commit */

/* The connection is open. */
bool writer_start(struct store *store);
void writer_stop(struct store *store);

#endif
