/* One connection to the file: how it is opened, its prepared statements, and what SQLite's errors
 * mean to the gateway. */
#include "stores/store_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <h2o/memory.h>
#include "base/log.h"

enum { LOCK_WAIT_US = 1000, LOCK_WAITS = 5000 };
static const uint64_t COMPLAINT_EVERY_US = 10 * 1000 * 1000;

/* synchronous: a commit is on the disk when it returns. cache_size: 256 KiB a connection, the
 * kernel caches too. temp_store: sorting needs no directory that can be written to. The rest of the
 * WAL that a burst of writes made is given back. */
static const char pragmas[] = "PRAGMA synchronous = FULL;"
                              "PRAGMA cache_size = -256;"
                              "PRAGMA temp_store = MEMORY;"
                              "PRAGMA journal_size_limit = 8388608;"
                              "PRAGMA trusted_schema = OFF;";

const char *store_error(const char *format, ...)
{
    static _Thread_local char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return text;
}

const char *connection_error(const struct connection *connection, const char *path)
{
    int code = sqlite3_errcode(connection->db), cause = sqlite3_system_errno(connection->db);
    switch (code) {
    case SQLITE_NOTADB:
        return store_error("%s is not a SQLite database", path);
    case SQLITE_CORRUPT:
        return store_error("%s is damaged: %s", path, sqlite3_errmsg(connection->db));
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        if (cause != 0)
            return store_error("%s: %s: %s", path, sqlite3_errmsg(connection->db), strerror(cause));
        break;
    default:
        break;
    }
    return store_error("%s: %s", path, sqlite3_errmsg(connection->db));
}

/* SQLite's own handler waits longer and longer, up to 100 ms: beside a process that writes all the
 * time it would hardly ever find the file free. */
static int wait_for_lock(void *arg, int waits)
{
    (void)arg;
    if (waits >= LOCK_WAITS)
        return 0;
    usleep(LOCK_WAIT_US);
    return 1;
}

/* The mode stays with the file. Two processes that make one at the same moment can find it locked
 * in the middle of the change, where SQLite doesn't call its handler. */
static int set_wal(sqlite3 *db)
{
    int code, waits = 0;
    do
        code = sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    while ((code & 0xff) == SQLITE_BUSY && wait_for_lock(NULL, waits++));
    return code;
}

bool connection_open(struct connection *connection, const char *path, struct complaints *complaints,
                     const char **error_r)
{
    *connection = (struct connection){.complaints = complaints};
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(path, &connection->db, flags, NULL);
    gw_assert(connection->db != NULL); /* no memory */
    if (code == SQLITE_OK) {
        sqlite3_busy_handler(connection->db, wait_for_lock, NULL);
        code = sqlite3_exec(connection->db, pragmas, NULL, NULL, NULL);
    }
    if (code == SQLITE_OK && sqlite3_db_readonly(connection->db, "main") == 1) {
        *error_r = store_error("%s can't be written", path);
        connection_close(connection);
        return false;
    }
    if (code == SQLITE_OK)
        code = set_wal(connection->db);
    if (code == SQLITE_OK)
        return true;
    *error_r = connection_error(connection, path);
    connection_close(connection);
    return false;
}

void connection_close(struct connection *connection)
{
    for (size_t i = 0; i < QUERIES; i++)
        sqlite3_finalize(connection->prepared[i]);
    int code = sqlite3_close(connection->db);
    gw_assert(code == SQLITE_OK); /* else a statement was forgotten */
    *connection = (struct connection){0};
}

/* -- failures -- */

static enum store_result result_of(int code, int cause)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return STORE_FULL;
    case SQLITE_BUSY:
        return STORE_BUSY;
    case SQLITE_IOERR: /* a quota; the shared index that can't grow */
        return cause == ENOSPC || cause == EDQUOT || cause == EFBIG ? STORE_FULL : STORE_FAILED;
    default:
        return STORE_FAILED;
    }
}

enum store_result complain(struct complaints *complaints, enum store_result result,
                           const char *what, const char *error)
{
    uint64_t now_us = clock_us();
    pthread_mutex_lock(&complaints->lock);
    bool say = now_us >= complaints->next_us[result];
    unsigned unsaid = complaints->unsaid[result];
    if (say) {
        complaints->next_us[result] = now_us + COMPLAINT_EVERY_US;
        complaints->unsaid[result] = 0;
    } else {
        complaints->unsaid[result]++;
    }
    pthread_mutex_unlock(&complaints->lock);
    if (say)
        log_event(LOG_ERROR, "the store fails", "path=%s what=%s error=%s unsaid=%u",
                  log_quote(str_from(complaints->path)), log_quote(str_from(what)),
                  log_quote(str_from(error)), unsaid);
    return result;
}

/* cause: errno, from 0 on when the statement began. SQLite's own sqlite3_system_errno() isn't set
 * by a COMMIT that fails. */
static enum store_result failed(struct connection *connection, const char *what, int code,
                                int cause)
{
    /* Not the last of the connection when it was found by us, such as a damaged row. */
    bool is_last = sqlite3_extended_errcode(connection->db) == code;
    bool is_io = (code & 0xff) == SQLITE_IOERR && cause != 0;
    char error[256];
    snprintf(error, sizeof(error), "%s (%d)%s%s",
             is_last ? sqlite3_errmsg(connection->db) : sqlite3_errstr(code), code,
             is_io ? ": " : "", is_io ? strerror(cause) : "");
    return complain(connection->complaints, result_of(code, cause), what, error);
}

/* -- statements -- */

enum store_result query_begin(struct connection *connection, const struct query *query,
                              sqlite3_stmt **statement_r)
{
    sqlite3_stmt **prepared = &connection->prepared[query->place];
    enum store_result result = STORE_OK;
    errno = 0;
    if (*prepared == NULL) {
        int code = sqlite3_prepare_v3(connection->db, query->sql, -1, SQLITE_PREPARE_PERSISTENT,
                                      prepared, NULL);
        if (code != SQLITE_OK)
            result = failed(connection, query->sql, code, errno);
    }
    *statement_r = *prepared;
    return result;
}

enum store_result query_end(struct connection *connection, sqlite3_stmt *statement, int code)
{
    enum store_result result = STORE_OK;
    if (code != SQLITE_DONE && code != SQLITE_ROW)
        result = failed(connection, sqlite3_sql(statement), code, errno);
    sqlite3_reset(statement);
    return result;
}

enum store_result query_run(struct connection *connection, const struct query *query)
{
    sqlite3_stmt *statement;
    enum store_result result = query_begin(connection, query, &statement);
    if (result != STORE_OK)
        return result;
    return query_end(connection, statement, sqlite3_step(statement));
}

/* What is bound stays where it is until the statement has run. */
void bind_str(sqlite3_stmt *statement, int parameter, struct str value)
{
    int code = sqlite3_bind_text64(statement, parameter, value.n != 0 ? value.p : "", value.n,
                                   SQLITE_STATIC, SQLITE_UTF8);
    gw_assert(code == SQLITE_OK || code == SQLITE_TOOBIG); /* then it is NULL, and refused */
}

void bind_blob(sqlite3_stmt *statement, int parameter, const void *bytes, size_t n)
{
    int code = sqlite3_bind_blob64(statement, parameter, n != 0 ? bytes : "", n, SQLITE_STATIC);
    gw_assert(code == SQLITE_OK || code == SQLITE_TOOBIG); /* then it is NULL, and refused */
}

void bind_uint(sqlite3_stmt *statement, int parameter, uint64_t value)
{
    sqlite3_bind_int64(statement, parameter, value < INT64_MAX ? (int64_t)value : INT64_MAX);
}

/* -- rows -- */

char *column_strs(sqlite3_stmt *row, struct str *const *strs_r, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        strs_r[i]->p = (const char *)sqlite3_column_text(row, (int)i);
        strs_r[i]->n = (size_t)sqlite3_column_bytes(row, (int)i);
        total += strs_r[i]->n;
    }
    char *memory = h2o_mem_alloc(total + 1), *at = memory;
    for (size_t i = 0; i < count; i++) {
        if (strs_r[i]->n != 0)
            memcpy(at, strs_r[i]->p, strs_r[i]->n);
        strs_r[i]->p = at;
        at += strs_r[i]->n;
    }
    return memory;
}

void *array_add(void **array, size_t *count, size_t item_size)
{
    bool full = (*count & (*count - 1)) == 0; /* capacities are the powers of two */
    if (full)
        *array = h2o_mem_realloc(*array, (*count == 0 ? 1 : 2 * *count) * item_size);
    void *item = (char *)*array + (*count)++ * item_size;
    memset(item, 0, item_size);
    return item;
}
