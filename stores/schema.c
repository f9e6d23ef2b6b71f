/* What the file holds, and how a file of an earlier gateway becomes one of today's. A step that was
 * released is never changed again, another one is added; PRAGMA user_version counts those that were
 * done. Steps must leave what a running gateway of the version before can still use, or an upgrade
 * isn't without interruption. */
#include "stores/store_internal.h"

#include <stdlib.h>

/* "gway", in the file's header: another program's database is never touched. */
enum { APPLICATION_ID = 0x67776179 };

/* Index files_by_time serves pages of a list, read backwards. What an owner's files come to is kept
 * by triggers (a form's fields cost room like its files): quotas are known at start without looking
 * at every file, and a row of a table that stays small costs a write less than a place in an index
 * of all files.
 *
 * Certificates: lists and verify pages never touch the PDFs' bytes, which lie in a table of their
 * own in the order in which they came. One certificate is the current one of its fields, which the
 * index certificates_by_fields holds whoever writes; adding one makes it the successor of those of
 * the same fields that were superseded for nothing yet. Nothing here removes certificates; whoever
 * must (somebody wants to be forgotten) deletes the row and gets the rest with it.
 *
 * Keys: what the writer compares with is the index of a primary key, so of requests that race one
 * ties it, in however many processes. Each costs its route 256 bytes, about what it takes on the
 * disk, as long as it is there; how many a client has is counted as an owner's bytes are. The
 * column certificates.key was the step before's: a gateway of then, still running beside this one,
 * fills it, and a trigger ties what it ties; nobody else does. */
static const char *const steps[] = {
    "PRAGMA application_id = 0x67776179;"
    "CREATE TABLE files ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " route TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " type TEXT NOT NULL,"
    " owner TEXT NOT NULL,"
    " fields TEXT NOT NULL,"
    " size INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " sha256 BLOB NOT NULL CHECK (length(sha256) = 32)"
    ") STRICT;"
    "CREATE INDEX files_by_time ON files (route, created_ms, id);"
    "CREATE TABLE owners ("
    " route TEXT NOT NULL,"
    " owner TEXT NOT NULL,"
    " files INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " PRIMARY KEY (route, owner)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER file_added AFTER INSERT ON files BEGIN"
    " INSERT INTO owners VALUES (new.route, new.owner, 1,"
    "  new.size + length(CAST(new.fields AS BLOB)))"
    "  ON CONFLICT DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;"
    "END;"
    "CREATE TRIGGER file_removed AFTER DELETE ON files BEGIN"
    " UPDATE owners SET files = files - 1,"
    "  bytes = bytes - old.size - length(CAST(old.fields AS BLOB))"
    "  WHERE route = old.route AND owner = old.owner;"
    " DELETE FROM owners WHERE route = old.route AND owner = old.owner AND files = 0;"
    "END;"
    "CREATE TABLE partials ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " route TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " type TEXT NOT NULL,"
    " owner TEXT NOT NULL,"
    " metadata TEXT NOT NULL,"
    " size INTEGER NOT NULL," /* -1: not known yet */
    " received INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " expires_ms INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX partials_by_expiry ON partials (route, expires_ms);",

    "CREATE TABLE certificates ("
    " number INTEGER PRIMARY KEY,"
    " serial TEXT NOT NULL UNIQUE,"
    " route TEXT NOT NULL,"
    " fields BLOB NOT NULL CHECK (length(fields) = 32),"
    " key BLOB CHECK (length(key) = 32)," /* NULL: none */
    " shown TEXT NOT NULL,"
    " sha256 BLOB NOT NULL CHECK (length(sha256) = 32),"
    " signed_sha256 BLOB CHECK (length(signed_sha256) = 32)," /* NULL: not signed */
    " size INTEGER NOT NULL,"
    " issued_ms INTEGER NOT NULL,"
    " changed_ms INTEGER NOT NULL,"
    " status INTEGER NOT NULL,"
    " current INTEGER NOT NULL," /* 0 once it was superseded, even if revoked later */
    " reason TEXT NOT NULL,"
    " superseded_by TEXT NOT NULL"
    ") STRICT;"
    "CREATE UNIQUE INDEX certificates_by_fields ON certificates (fields) WHERE current = 1;"
    "CREATE UNIQUE INDEX certificates_by_key ON certificates (key) WHERE key IS NOT NULL;"
    "CREATE INDEX certificates_without_successor ON certificates (fields)"
    " WHERE current = 0 AND superseded_by = '';"
    "CREATE INDEX certificates_by_sha256 ON certificates (sha256);"
    "CREATE INDEX certificates_by_signed ON certificates (signed_sha256)"
    " WHERE signed_sha256 IS NOT NULL;"
    "CREATE INDEX certificates_by_time ON certificates (issued_ms, serial);"
    "CREATE INDEX certificates_by_route ON certificates (route, issued_ms, serial);"
    "CREATE TABLE certificate_files ("
    " number INTEGER PRIMARY KEY,"
    " pdf BLOB NOT NULL"
    ") STRICT;"
    "CREATE TABLE certificate_routes ("
    " route TEXT NOT NULL PRIMARY KEY,"
    " certificates INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER certificate_added AFTER INSERT ON certificates BEGIN"
    " INSERT INTO certificate_routes VALUES (new.route, 1, new.size)"
    "  ON CONFLICT DO UPDATE SET certificates = certificates + 1, bytes = bytes + excluded.bytes;"
    " UPDATE certificates SET superseded_by = new.serial"
    "  WHERE fields = new.fields AND current = 0 AND superseded_by = '';"
    "END;"
    "CREATE TRIGGER certificate_removed AFTER DELETE ON certificates BEGIN"
    " DELETE FROM certificate_files WHERE number = old.number;"
    " UPDATE certificate_routes SET certificates = certificates - 1, bytes = bytes - old.size"
    "  WHERE route = old.route;"
    "END;",

    "CREATE TABLE certificate_keys ("
    " key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),"
    " client BLOB NOT NULL CHECK (length(client) = 32),"
    " number INTEGER NOT NULL," /* of its certificate */
    " made_ms INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX certificate_keys_by_time ON certificate_keys (made_ms);"
    "CREATE INDEX certificate_keys_by_number ON certificate_keys (number);"
    "CREATE TABLE certificate_clients ("
    " client BLOB NOT NULL PRIMARY KEY,"
    " keys INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER certificate_key_added AFTER INSERT ON certificate_keys BEGIN"
    " INSERT INTO certificate_clients VALUES (new.client, 1)"
    "  ON CONFLICT DO UPDATE SET keys = keys + 1;"
    " INSERT INTO certificate_routes SELECT route, 0, 256 FROM certificates"
    "  WHERE number = new.number"
    "  ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;"
    "END;"
    "CREATE TRIGGER certificate_key_removed AFTER DELETE ON certificate_keys BEGIN"
    " UPDATE certificate_clients SET keys = keys - 1 WHERE client = old.client;"
    " DELETE FROM certificate_clients WHERE client = old.client AND keys = 0;"
    " UPDATE certificate_routes SET bytes = bytes - 256"
    "  WHERE route = (SELECT route FROM certificates WHERE number = old.number);"
    "END;"
    "CREATE TRIGGER certificate_forgotten BEFORE DELETE ON certificates BEGIN"
    " DELETE FROM certificate_keys WHERE number = old.number;"
    "END;"
    /* Whose they are isn't known any more: each counts as a client's only one. */
    "INSERT INTO certificate_keys SELECT key, key, number, issued_ms FROM certificates"
    " WHERE key IS NOT NULL AND issued_ms > unixepoch() * 1000 - 86400000;"
    "CREATE TRIGGER certificate_added_before AFTER INSERT ON certificates"
    " WHEN new.key IS NOT NULL BEGIN"
    " INSERT INTO certificate_keys VALUES (new.key, new.key, new.number, new.issued_ms)"
    "  ON CONFLICT DO NOTHING;"
    "END;",
};

static int number(sqlite3 *db, const char *sql, int *number_r)
{
    sqlite3_stmt *row;
    int code = sqlite3_prepare_v2(db, sql, -1, &row, NULL);
    if (code != SQLITE_OK)
        return code;
    if (sqlite3_step(row) == SQLITE_ROW)
        *number_r = sqlite3_column_int(row, 0);
    return sqlite3_finalize(row);
}

/* Sets *version_r to the steps that were done. False with *error_r. */
static bool look(struct connection *connection, const char *path, int *version_r,
                 const char **error_r)
{
    int application = 0, objects = 0;
    if (number(connection->db, "PRAGMA user_version", version_r) != SQLITE_OK ||
        number(connection->db, "PRAGMA application_id", &application) != SQLITE_OK ||
        number(connection->db, "SELECT count(*) FROM sqlite_schema", &objects) != SQLITE_OK) {
        *error_r = connection_error(connection, path);
        return false;
    }
    if (application != APPLICATION_ID && (application != 0 || objects != 0 || *version_r != 0)) {
        *error_r = store_error("%s is another program's database", path);
        return false;
    }
    if (*version_r < 0 || *version_r > (int)COUNT(steps)) {
        *error_r = store_error("%s was made by a newer gateway: its schema is version %d, this one "
                               "knows up to %d",
                               path, *version_r, (int)COUNT(steps));
        return false;
    }
    return true;
}

bool schema_upgrade(struct connection *connection, const char *path, const char **error_r)
{
    sqlite3 *db = connection->db;
    int version = 0;
    if (!look(connection, path, &version, error_r))
        return false;
    if (version == (int)COUNT(steps))
        return true;
    /* Another process may be at it: looked at again once nobody else writes. */
    int code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK && !look(connection, path, &version, error_r)) {
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return false;
    }
    for (; code == SQLITE_OK && version < (int)COUNT(steps); version++)
        code = sqlite3_exec(db, steps[version], NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        char *set = sqlite3_mprintf("PRAGMA user_version = %d; COMMIT", version);
        gw_assert(set != NULL);
        code = sqlite3_exec(db, set, NULL, NULL, NULL);
        sqlite3_free(set);
    }
    if (code == SQLITE_OK)
        return true;
    *error_r = connection_error(connection, path);
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}
