/* Records of certificates, and their PDFs. Adding one is two statements, the row and its bytes, and
 * the row's own indexes say whether it may be added: nothing is looked up before. */
#include "stores/store_internal.h"

#include <stdlib.h>
#include <h2o/memory.h>

/* The order of read_certificate(). */
#define COLUMNS                                                                          \
    "serial, route, shown, reason, superseded_by, fields, sha256, signed_sha256, size, " \
    "issued_ms, changed_ms, status"
#define FIND       "SELECT " COLUMNS ", number FROM certificates WHERE "
#define THE_NEWEST " ORDER BY issued_ms DESC LIMIT 1"

/* No row: a constraint, or the quota. */
static const struct query add = {
    QUERY_CERTIFICATE_ADD, "INSERT INTO certificates (" COLUMNS ", current)"
                           " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12 <> 2"
                           " WHERE ?13 = 0 OR ?9 + coalesce("
                           "  (SELECT bytes FROM certificate_routes WHERE route = ?2), 0) <= ?13"
                           " ON CONFLICT DO NOTHING"};
static const struct query add_pdf = {
    QUERY_CERTIFICATE_ADD_PDF,
    "INSERT INTO certificate_files (number, pdf) VALUES (last_insert_rowid(), ?1)"};
static const struct query existing = {
    QUERY_CERTIFICATE_EXISTING, "SELECT serial FROM certificates WHERE fields = ?1 AND current = 1"
                                " UNION ALL"
                                " SELECT serial FROM certificates WHERE serial = ?2"
                                " LIMIT 1"};
static const struct query change_one = {
    QUERY_CERTIFICATE_CHANGE,
    "UPDATE certificates SET status = ?2, changed_ms = ?3,"
    "  reason = CASE WHEN ?2 = 1 THEN ?4 ELSE reason END,"
    "  superseded_by = CASE WHEN ?2 = 2 THEN ?5 ELSE superseded_by END,"
    "  current = current AND ?2 <> 2"
    " WHERE serial = ?1"
    "  AND (status = 0 OR status = 2 AND (?2 = 1 OR ?2 = 2 AND superseded_by = '' AND ?5 <> ''))"
    "  AND (?2 = 1 OR ?5 = '' OR ?5 <> ?1 AND EXISTS"
    "   (SELECT 1 FROM certificates WHERE serial = ?5 AND status = 0))"};

static const struct query finds[] = {
    [BY_SERIAL] = {QUERY_CERTIFICATE_SERIAL, FIND "serial = ?1"},
    [BY_FIELDS] = {QUERY_CERTIFICATE_FIELDS, FIND "fields = ?1 AND current = 1"},
    [BY_KEY] = {QUERY_CERTIFICATE_KEY,
                FIND "number ="
                     " (SELECT number FROM certificate_keys WHERE key = ?1 AND made_ms > ?2)"},
    [BY_SHA256] = {QUERY_CERTIFICATE_SHA256, FIND "sha256 = ?1" THE_NEWEST},
    [BY_SIGNED] = {QUERY_CERTIFICATE_SIGNED, FIND "signed_sha256 = ?1" THE_NEWEST},
};
static const struct query find_pdf = {QUERY_CERTIFICATE_PDF,
                                      "SELECT pdf FROM certificate_files WHERE number = ?1"};

#define LIST "SELECT " COLUMNS " FROM certificates WHERE "
#define PAGE                                                     \
    "(issued_ms, serial) < (?1, ?2) AND (?3 < 0 OR status = ?3)" \
    " ORDER BY issued_ms DESC, serial DESC LIMIT ?4"
static const struct query list_all = {QUERY_CERTIFICATE_LIST, LIST PAGE};
static const struct query list_route = {QUERY_CERTIFICATE_LIST_ROUTE, LIST "route = ?5 AND " PAGE};
static const struct query route_bytes = {QUERY_CERTIFICATE_BYTES,
                                         "SELECT bytes FROM certificate_routes WHERE route = ?1"};

enum { CODE = 32 };

/* -- writing -- */

static void bind_code(sqlite3_stmt *row, int parameter, const uint8_t code[CODE])
{
    static const uint8_t none[CODE];
    if (memcmp(code, none, CODE) != 0)
        bind_blob(row, parameter, code, CODE);
    else
        sqlite3_bind_null(row, parameter);
}

int column_serial(sqlite3_stmt *row, int code, char serial_r[SERIAL_ROOM])
{
    if (code != SQLITE_ROW)
        return code;
    size_t n = (size_t)sqlite3_column_bytes(row, 0);
    if (n >= SERIAL_ROOM)
        return SQLITE_CORRUPT;
    memcpy(serial_r, sqlite3_column_text(row, 0), n + 1);
    return code;
}

/* Why a row was not added. */
static enum store_result find_existing(struct connection *writer,
                                       const struct certificate_record *record,
                                       char serial_r[SERIAL_ROOM])
{
    sqlite3_stmt *row;
    enum store_result result = query_begin(writer, &existing, &row);
    if (result != STORE_OK)
        return result;
    bind_blob(row, 1, record->fields, CODE);
    bind_str(row, 2, record->serial);
    int code = column_serial(row, sqlite3_step(row), serial_r);
    result = query_end(writer, row, code);
    if (result != STORE_OK)
        return result;
    return code == SQLITE_ROW ? STORE_EXISTS : STORE_QUOTA;
}

enum store_result certificate_add(struct connection *writer, struct store_write *write)
{
    const struct certificate_record *record = write->add_certificate;
    sqlite3_stmt *row;
    gw_assert(record->serial.n < SERIAL_ROOM && record->size == write->certificate_pdf.n);
    enum store_result result = query_begin(writer, &add, &row);
    if (result != STORE_OK)
        return result;
    bind_str(row, 1, record->serial);
    bind_str(row, 2, record->route);
    bind_str(row, 3, record->shown);
    bind_str(row, 4, record->reason);
    bind_str(row, 5, record->superseded_by);
    bind_blob(row, 6, record->fields, CODE);
    bind_blob(row, 7, record->sha256, CODE);
    bind_code(row, 8, record->signed_sha256);
    bind_uint(row, 9, record->size);
    sqlite3_bind_int64(row, 10, record->issued_ms);
    sqlite3_bind_int64(row, 11, record->changed_ms);
    sqlite3_bind_int(row, 12, (int)record->status);
    bind_uint(row, 13, write->certificate_quota);
    result = query_end(writer, row, sqlite3_step(row));
    if (result == STORE_OK && sqlite3_changes(writer->db) == 0)
        result = find_existing(writer, record, write->existing_serial);
    if (result == STORE_OK)
        result = query_begin(writer, &add_pdf, &row);
    if (result != STORE_OK)
        return result;
    bind_blob(row, 1, write->certificate_pdf.p, write->certificate_pdf.n);
    return query_end(writer, row, sqlite3_step(row));
}

static enum store_result is_there(struct connection *connection, struct str serial)
{
    sqlite3_stmt *row;
    enum store_result result = query_begin(connection, &finds[BY_SERIAL], &row);
    if (result != STORE_OK)
        return result;
    bind_str(row, 1, serial);
    int code = sqlite3_step(row);
    result = query_end(connection, row, code);
    return code == SQLITE_DONE ? STORE_ABSENT : result;
}

enum store_result certificate_change(struct connection *writer,
                                     const struct certificate_change *change)
{
    sqlite3_stmt *row;
    gw_assert(change->status != CERTIFICATE_VALID);
    enum store_result result = query_begin(writer, &change_one, &row);
    if (result != STORE_OK)
        return result;
    bind_str(row, 1, change->serial);
    sqlite3_bind_int(row, 2, (int)change->status);
    sqlite3_bind_int64(row, 3, change->changed_ms);
    bind_str(row, 4, change->reason);
    bind_str(row, 5, change->superseded_by);
    result = query_end(writer, row, sqlite3_step(row));
    if (result != STORE_OK || sqlite3_changes(writer->db) != 0)
        return result;
    result = is_there(writer, change->serial);
    return result == STORE_OK ? STORE_EXISTS : result;
}

/* -- reading -- */

/* NULL as zeros. */
static bool read_code(sqlite3_stmt *row, int column, uint8_t code_r[CODE])
{
    bool there = sqlite3_column_type(row, column) != SQLITE_NULL;
    if (there && sqlite3_column_bytes(row, column) != CODE)
        return false;
    if (there)
        memcpy(code_r, sqlite3_column_blob(row, column), CODE);
    else
        memset(code_r, 0, CODE);
    return true;
}

/* SQLITE_ROW, or SQLITE_CORRUPT for what no gateway wrote. */
static int read_certificate(sqlite3_stmt *row, struct certificate_record *record)
{
    struct str *const strs[] = {&record->serial, &record->route, &record->shown, &record->reason,
                                &record->superseded_by};
    int status = sqlite3_column_int(row, 11);
    if (!read_code(row, 5, record->fields) || !read_code(row, 6, record->sha256) ||
        !read_code(row, 7, record->signed_sha256) || sqlite3_column_bytes(row, 0) >= SERIAL_ROOM ||
        status < CERTIFICATE_VALID || status > CERTIFICATE_SUPERSEDED)
        return SQLITE_CORRUPT;
    record->size = (uint64_t)sqlite3_column_int64(row, 8);
    record->issued_ms = sqlite3_column_int64(row, 9);
    record->changed_ms = sqlite3_column_int64(row, 10);
    record->status = (enum certificate_status)status;
    record->memory = column_strs(row, strs, COUNT(strs));
    return SQLITE_ROW;
}

static enum store_result read_pdf(struct store *store, int64_t number, struct str *pdf_r)
{
    struct reading reading;
    enum store_result result = reading_begin(store, &find_pdf, &reading);
    if (result != STORE_OK)
        return result;
    sqlite3_bind_int64(reading.row, 1, number);
    int code = sqlite3_step(reading.row);
    if (code == SQLITE_ROW) {
        size_t n = (size_t)sqlite3_column_bytes(reading.row, 0);
        char *bytes = h2o_mem_alloc(n + 1);
        if (n != 0)
            memcpy(bytes, sqlite3_column_blob(reading.row, 0), n);
        *pdf_r = (struct str){bytes, n};
    }
    result = reading_end(&reading, code);
    return code == SQLITE_DONE ? STORE_ABSENT : result;
}

/* The row and its bytes are read one after the other: a certificate that is removed in between is
 * absent. */
enum store_result store_find_certificate(struct store *store, enum certificate_by by,
                                         struct str what, struct certificate_record *record_r,
                                         struct str *pdf_r)
{
    struct reading reading;
    int64_t number = 0;
    *record_r = (struct certificate_record){0};
    if (pdf_r != NULL)
        *pdf_r = (struct str){NULL, 0};
    enum store_result result = reading_begin(store, &finds[by], &reading);
    if (result != STORE_OK)
        return result;
    if (by == BY_SERIAL)
        bind_str(reading.row, 1, what);
    else
        bind_blob(reading.row, 1, what.p, what.n);
    if (by == BY_KEY)
        sqlite3_bind_int64(reading.row, 2, clock_unix_ms() - KEY_MS);
    int code = sqlite3_step(reading.row);
    if (code == SQLITE_ROW) {
        number = sqlite3_column_int64(reading.row, 12);
        code = read_certificate(reading.row, record_r);
    }
    result = reading_end(&reading, code);
    if (code == SQLITE_DONE)
        return STORE_ABSENT;
    if (result == STORE_OK && pdf_r != NULL)
        result = read_pdf(store, number, pdf_r);
    if (result != STORE_OK) {
        free(record_r->memory);
        *record_r = (struct certificate_record){0};
    }
    return result;
}

enum store_result store_list_certificates(struct store *store, const struct certificate_list *list,
                                          struct certificate_record **records_r, size_t *count_r)
{
    struct reading reading;
    void *records = NULL;
    size_t count = 0;
    *records_r = NULL;
    *count_r = 0;
    enum store_result result =
        reading_begin(store, list->route.n != 0 ? &list_route : &list_all, &reading);
    if (result != STORE_OK)
        return result;
    sqlite3_bind_int64(reading.row, 1, list->after_ms);
    bind_str(reading.row, 2, list->after_serial);
    sqlite3_bind_int(reading.row, 3, list->status);
    bind_uint(reading.row, 4, list->limit);
    if (list->route.n != 0)
        bind_str(reading.row, 5, list->route);
    int code;
    while ((code = sqlite3_step(reading.row)) == SQLITE_ROW) {
        code = read_certificate(reading.row, array_add(&records, &count, sizeof(**records_r)));
        if (code != SQLITE_ROW)
            break;
    }
    result = reading_end(&reading, code);
    *records_r = records;
    *count_r = count;
    if (result == STORE_OK)
        return result;
    for (size_t i = 0; i < count; i++)
        free((*records_r)[i].memory);
    free(records);
    *records_r = NULL;
    *count_r = 0;
    return result;
}

enum store_result store_certificate_bytes(struct store *store, struct str route, uint64_t *bytes_r)
{
    struct reading reading;
    *bytes_r = 0;
    enum store_result result = reading_begin(store, &route_bytes, &reading);
    if (result != STORE_OK)
        return result;
    bind_str(reading.row, 1, route);
    int code = sqlite3_step(reading.row);
    if (code == SQLITE_ROW)
        *bytes_r = (uint64_t)sqlite3_column_int64(reading.row, 0);
    return reading_end(&reading, code);
}
