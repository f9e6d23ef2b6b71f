/* Records of whole files. Sizes and times are SQLite's signed 64-bit numbers. */
#include "stores/store_internal.h"

#include <stdlib.h>

#define COLUMNS "id, route, name, type, owner, fields, size, created_ms, sha256"

static const struct query add = {QUERY_FILE_ADD, "INSERT INTO files (" COLUMNS
                                                 ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"};
static const struct query remove_one = {QUERY_FILE_REMOVE, "DELETE FROM files WHERE id = ?1"};
static const struct query find = {QUERY_FILE_FIND, "SELECT " COLUMNS " FROM files WHERE id = ?1"};
static const struct query list = {QUERY_FILE_LIST,
                                  "SELECT " COLUMNS " FROM files"
                                  " WHERE route = ?1 AND (created_ms, id) < (?2, ?3)"
                                  " ORDER BY created_ms DESC, id DESC LIMIT ?4"};

enum store_result file_add(struct connection *writer, const struct file_record *file)
{
    sqlite3_stmt *row;
    enum store_result result = query_begin(writer, &add, &row);
    if (result != STORE_OK)
        return result;
    bind_str(row, 1, file->id);
    bind_str(row, 2, file->route);
    bind_str(row, 3, file->name);
    bind_str(row, 4, file->type);
    bind_str(row, 5, file->owner);
    bind_str(row, 6, file->fields);
    sqlite3_bind_int64(row, 7, (int64_t)file->size);
    sqlite3_bind_int64(row, 8, file->created_ms);
    sqlite3_bind_blob(row, 9, file->sha256, sizeof(file->sha256), SQLITE_STATIC);
    return query_end(writer, row, sqlite3_step(row));
}

enum store_result file_remove(struct connection *writer, struct str id)
{
    sqlite3_stmt *row;
    enum store_result result = query_begin(writer, &remove_one, &row);
    if (result != STORE_OK)
        return result;
    bind_str(row, 1, id);
    result = query_end(writer, row, sqlite3_step(row));
    return result == STORE_OK && sqlite3_changes(writer->db) == 0 ? STORE_ABSENT : result;
}

/* SQLITE_ROW, or SQLITE_CORRUPT for what no gateway wrote. */
static int read_file(sqlite3_stmt *row, struct file_record *file)
{
    struct str *const strs[] = {&file->id,   &file->route, &file->name,
                                &file->type, &file->owner, &file->fields};
    if (sqlite3_column_bytes(row, 8) != sizeof(file->sha256))
        return SQLITE_CORRUPT;
    memcpy(file->sha256, sqlite3_column_blob(row, 8), sizeof(file->sha256));
    file->size = (uint64_t)sqlite3_column_int64(row, 6);
    file->created_ms = sqlite3_column_int64(row, 7);
    file->memory = column_strs(row, strs, COUNT(strs));
    return SQLITE_ROW;
}

enum store_result store_find_file(struct store *store, struct str id, struct file_record *file_r)
{
    struct reading reading;
    *file_r = (struct file_record){0};
    enum store_result result = reading_begin(store, &find, &reading);
    if (result != STORE_OK)
        return result;
    bind_str(reading.row, 1, id);
    int code = sqlite3_step(reading.row);
    if (code == SQLITE_ROW)
        code = read_file(reading.row, file_r);
    result = reading_end(&reading, code);
    return code == SQLITE_DONE ? STORE_ABSENT : result;
}

enum store_result store_list_files(struct store *store, struct str route, int64_t after_ms,
                                   struct str after_id, size_t limit, struct file_record **files_r,
                                   size_t *count_r)
{
    struct reading reading;
    void *files = NULL;
    size_t count = 0;
    *files_r = NULL;
    *count_r = 0;
    enum store_result result = reading_begin(store, &list, &reading);
    if (result != STORE_OK)
        return result;
    bind_str(reading.row, 1, route);
    sqlite3_bind_int64(reading.row, 2, after_ms);
    bind_str(reading.row, 3, after_id);
    bind_uint(reading.row, 4, limit);
    int code;
    while ((code = sqlite3_step(reading.row)) == SQLITE_ROW) {
        code = read_file(reading.row, array_add(&files, &count, sizeof(**files_r)));
        if (code != SQLITE_ROW)
            break;
    }
    result = reading_end(&reading, code);
    *files_r = files;
    *count_r = count;
    if (result == STORE_OK)
        return result;
    for (size_t i = 0; i < count; i++)
        free((*files_r)[i].memory);
    free(files);
    *files_r = NULL;
    *count_r = 0;
    return result;
}
