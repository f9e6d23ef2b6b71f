/* Idempotency-Keys: which certificate each was answered with, for as long as it holds. One that has
 * had its time is as good as none: nobody finds it, and it gives way to a new one. A batch of
 * writes that ties keys removes as many that have had theirs as it can add, so what is in the file
 * is what holds and, after a quiet day, what held. */
#include "stores/store_internal.h"

/* No row: it is tied already, there is no such certificate, or one of the limits. */
static const struct query tie = {
    QUERY_KEY_TIE, "INSERT INTO certificate_keys (key, client, number, made_ms)"
                   " SELECT ?1, ?2, c.number, ?3"
                   " FROM certificates AS c JOIN certificate_routes AS r USING (route)"
                   " WHERE c.serial = ?4 AND (?5 = 0 OR r.bytes + ?6 <= ?5) AND"
                   "  coalesce((SELECT keys FROM certificate_clients WHERE client = ?2), 0) < ?7"
                   " ON CONFLICT DO UPDATE SET number = excluded.number, made_ms = excluded.made_ms"
                   "  WHERE made_ms <= ?8"};
/* Why: the certificate that has it, or else what the certificate's route is short of. */
static const struct query tied = {
    QUERY_KEY_TIED,
    "SELECT c.serial, 0 FROM certificate_keys JOIN certificates AS c USING (number)"
    "  WHERE certificate_keys.key = ?1 AND made_ms > ?2"
    " UNION ALL"
    " SELECT c.serial, 1 + (?4 <> 0 AND r.bytes + ?5 > ?4)"
    "  FROM certificates AS c JOIN certificate_routes AS r USING (route) WHERE c.serial = ?3"
    " LIMIT 1"};
static const struct query sweep = {
    QUERY_KEY_SWEEP, "DELETE FROM certificate_keys WHERE key IN (SELECT key FROM certificate_keys"
                     "  WHERE made_ms <= ?1 ORDER BY made_ms LIMIT ?2)"};

enum { CODE = 32 };

static enum store_result why_not(struct connection *writer, const struct store_write *write,
                                 int64_t over_ms, char existing_r[SERIAL_ROOM])
{
    static const enum store_result whys[] = {STORE_EXISTS, STORE_SHARE, STORE_QUOTA};
    const struct certificate_key *key = write->tie_key;
    sqlite3_stmt *row;
    enum store_result result = query_begin(writer, &tied, &row);
    if (result != STORE_OK)
        return result;
    bind_blob(row, 1, key->key, CODE);
    sqlite3_bind_int64(row, 2, over_ms);
    bind_str(row, 3, key->serial);
    bind_uint(row, 4, write->certificate_quota);
    sqlite3_bind_int(row, 5, KEY_BYTES);
    int code = sqlite3_step(row);
    enum store_result why = STORE_ABSENT;
    if (code == SQLITE_ROW)
        why = whys[sqlite3_column_int(row, 1)];
    if (why == STORE_EXISTS)
        code = column_serial(row, code, existing_r);
    result = query_end(writer, row, code);
    return result != STORE_OK ? result : why;
}

enum store_result key_tie(struct connection *writer, struct store_write *write)
{
    const struct certificate_key *key = write->tie_key;
    int64_t over_ms = clock_unix_ms() - KEY_MS;
    sqlite3_stmt *row;
    enum store_result result = query_begin(writer, &tie, &row);
    if (result != STORE_OK)
        return result;
    bind_blob(row, 1, key->key, CODE);
    bind_blob(row, 2, key->client, CODE);
    sqlite3_bind_int64(row, 3, key->made_ms);
    bind_str(row, 4, key->serial);
    bind_uint(row, 5, write->certificate_quota);
    sqlite3_bind_int(row, 6, KEY_BYTES);
    sqlite3_bind_int(row, 7, KEYS_OF_CLIENT_MAX);
    sqlite3_bind_int64(row, 8, over_ms);
    result = query_end(writer, row, sqlite3_step(row));
    if (result != STORE_OK || sqlite3_changes(writer->db) != 0)
        return result;
    return why_not(writer, write, over_ms, write->existing_serial);
}

enum store_result keys_sweep(struct connection *writer)
{
    sqlite3_stmt *row;
    enum store_result result = query_begin(writer, &sweep, &row);
    if (result != STORE_OK)
        return result;
    sqlite3_bind_int64(row, 1, clock_unix_ms() - KEY_MS);
    sqlite3_bind_int(row, 2, BATCH_MAX);
    return query_end(writer, row, sqlite3_step(row));
}
