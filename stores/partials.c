/* Records of uploads that are not whole yet, and what all uploads of an owner come to. */
#include "stores/store_internal.h"

#include <stdlib.h>

#define COLUMNS "id, route, name, type, owner, metadata, size, received, created_ms, expires_ms"

static const struct query put = {QUERY_PARTIAL_PUT,
                                 "INSERT INTO partials (" COLUMNS ")"
                                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
                                 " ON CONFLICT (id) DO UPDATE SET metadata = excluded.metadata,"
                                 " size = excluded.size, received = excluded.received,"
                                 " expires_ms = excluded.expires_ms"};
static const struct query remove_one = {QUERY_PARTIAL_REMOVE, "DELETE FROM partials WHERE id = ?1"};
static const struct query find = {QUERY_PARTIAL_FIND,
                                  "SELECT " COLUMNS " FROM partials WHERE id = ?1"};
static const struct query expired = {QUERY_PARTIAL_EXPIRED, "SELECT " COLUMNS " FROM partials"
                                                            " WHERE route = ?1 AND expires_ms <= ?2"
                                                            " ORDER BY expires_ms LIMIT ?3"};
/* total() is exact up to 2^53 and, unlike sum(), no error when clients announce more than 2^63. */
static const struct query owners = {QUERY_OWNERS,
                                    "SELECT owner, CAST(total(bytes) AS INTEGER) FROM ("
                                    " SELECT owner, bytes FROM owners WHERE route = ?1"
                                    " UNION ALL"
                                    " SELECT owner, CASE WHEN size < 0 THEN received ELSE size END"
                                    " FROM partials WHERE route = ?1"
                                    ") GROUP BY owner"};

enum store_result partial_put(struct connection *writer, const struct partial_record *partial)
{
    sqlite3_stmt *row;
    enum store_result result = query_begin(writer, &put, &row);
    if (result != STORE_OK)
        return result;
    bind_str(row, 1, partial->id);
    bind_str(row, 2, partial->route);
    bind_str(row, 3, partial->name);
    bind_str(row, 4, partial->type);
    bind_str(row, 5, partial->owner);
    bind_str(row, 6, partial->metadata);
    sqlite3_bind_int64(row, 7, (int64_t)partial->size);
    sqlite3_bind_int64(row, 8, (int64_t)partial->offset);
    sqlite3_bind_int64(row, 9, partial->created_ms);
    sqlite3_bind_int64(row, 10, partial->expires_ms);
    return query_end(writer, row, sqlite3_step(row));
}

enum store_result partial_remove(struct connection *writer, struct str id, bool *removed_r)
{
    sqlite3_stmt *row;
    enum store_result result = query_begin(writer, &remove_one, &row);
    if (result != STORE_OK)
        return result;
    bind_str(row, 1, id);
    result = query_end(writer, row, sqlite3_step(row));
    *removed_r = result == STORE_OK && sqlite3_changes(writer->db) != 0;
    return result;
}

static void read_partial(sqlite3_stmt *row, struct partial_record *partial)
{
    struct str *const strs[] = {&partial->id,   &partial->route, &partial->name,
                                &partial->type, &partial->owner, &partial->metadata};
    partial->size = (uint64_t)sqlite3_column_int64(row, 6);
    partial->offset = (uint64_t)sqlite3_column_int64(row, 7);
    partial->created_ms = sqlite3_column_int64(row, 8);
    partial->expires_ms = sqlite3_column_int64(row, 9);
    partial->memory = column_strs(row, strs, COUNT(strs));
}

enum store_result store_find_partial(struct store *store, struct str id,
                                     struct partial_record *partial_r)
{
    struct reading reading;
    *partial_r = (struct partial_record){0};
    enum store_result result = reading_begin(store, &find, &reading);
    if (result != STORE_OK)
        return result;
    bind_str(reading.row, 1, id);
    int code = sqlite3_step(reading.row);
    if (code == SQLITE_ROW)
        read_partial(reading.row, partial_r);
    result = reading_end(&reading, code);
    return code == SQLITE_DONE ? STORE_ABSENT : result;
}

enum store_result store_list_expired(struct store *store, struct str route, int64_t now_ms,
                                     size_t limit, struct partial_record **partials_r,
                                     size_t *count_r)
{
    struct reading reading;
    void *partials = NULL;
    size_t count = 0;
    *partials_r = NULL;
    *count_r = 0;
    enum store_result result = reading_begin(store, &expired, &reading);
    if (result != STORE_OK)
        return result;
    bind_str(reading.row, 1, route);
    sqlite3_bind_int64(reading.row, 2, now_ms);
    bind_uint(reading.row, 3, limit);
    int code;
    while ((code = sqlite3_step(reading.row)) == SQLITE_ROW)
        read_partial(reading.row, array_add(&partials, &count, sizeof(**partials_r)));
    result = reading_end(&reading, code);
    *partials_r = partials;
    *count_r = count;
    if (result == STORE_OK)
        return result;
    for (size_t i = 0; i < count; i++)
        free((*partials_r)[i].memory);
    free(partials);
    *partials_r = NULL;
    *count_r = 0;
    return result;
}

enum store_result store_each_owner(struct store *store, struct str route,
                                   void (*fn)(void *arg, struct str owner, uint64_t bytes),
                                   void *arg)
{
    struct reading reading;
    enum store_result result = reading_begin(store, &owners, &reading);
    if (result != STORE_OK)
        return result;
    bind_str(reading.row, 1, route);
    int code;
    while ((code = sqlite3_step(reading.row)) == SQLITE_ROW) {
        const char *owner = (const char *)sqlite3_column_text(reading.row, 0);
        fn(arg, (struct str){owner, (size_t)sqlite3_column_bytes(reading.row, 0)},
           (uint64_t)sqlite3_column_int64(reading.row, 1));
    }
    return reading_end(&reading, code);
}
