/* stores/: what must survive: an embedded database (SQLite, WAL, synchronous=FULL) in one file. The
 * only folder that knows SQL.
 *
 * Writing: any thread submits, one thread of the store's own takes all that waits, runs it in one
 * transaction and commits once (a durable commit is a sync of the disk; sixteen in one are ten
 * times faster than sixteen). What is answered is on the disk.
 * Reading: store_find_…() and the like may wait for the disk, so never on a loop. Each takes one of
 * a few connections of its own; readers and the writer don't block each other.
 * Several processes may have the same file open (an upgrade under way). */
#ifndef GW_STORES_H
#define GW_STORES_H

#include "base/loop.h"

struct store;

/* Opens or makes the file, brings its schema up to date, starts the writer. NULL with *error_r (in
 * static or the thread's memory) when it can't be used: a newer schema, no SQLite file, no room. */
struct store *store_open(const char *path, const char **error_r);
/* Writes what still waits (their done() still comes), then stops the writer: no loop may be running
 * any more, what was answered waits in the loops' queues. */
void store_stop(struct store *store);
void store_close(struct store **store);

enum store_result {
    STORE_OK,
    STORE_ABSENT, /* there is no such row */
    STORE_FULL,   /* the disk is */
    STORE_BUSY,   /* too much waits to be written */
    STORE_FAILED  /* was logged */
};

enum { STORE_ID = 32 }; /* characters of an id: 128 random bits as lower-case hexadecimal digits */

/* A file that was uploaded and is whole. Times are milliseconds since 1970. */
struct file_record {
    struct str id, route; /* route: name of the [uploads.NAME] section */
    struct str name;      /* the client's, UTF-8, may be "" */
    struct str type;      /* media type, by content */
    struct str owner;     /* "token:ci", "address:192.0.2.1" */
    struct str fields;    /* JSON object of the form's other fields, "" = none */
    uint64_t size;
    uint8_t sha256[32];
    int64_t created_ms;
    char *memory; /* as read: what the strings point into, owned by the reader, free() */
};

/* An upload that is not whole yet (tus). */
struct partial_record {
    struct str id, route, name, type, owner;
    struct str metadata; /* Upload-Metadata as received */
    uint64_t size;       /* UINT64_MAX: not known yet */
    uint64_t offset;     /* bytes that are synced */
    int64_t created_ms, expires_ms;
    char *memory;
};

/* -- writing ---------------------------------------------------------------------------------- */

/* What happens, all of it or nothing, in this order. Embed it; it and all it points to stays the
 * submitter's to keep until done() is called, on `loop` (NULL: never called, result is not told).
 */
struct store_write {
    const struct file_record *add_files;
    size_t add_file_count;
    struct str remove_file;                   /* STORE_ABSENT when it isn't there; "" = none */
    const struct partial_record *put_partial; /* made, or its offset, size and expiry brought up to
                                                 date */
    struct str remove_partial;                /* no matter whether it was there */
    void (*done)(struct store_write *write);
    struct loop *loop;
    enum store_result result;
    struct message message;   /* private */
    struct store_write *next; /* private */
};
/* Any thread. False: STORE_BUSY, nothing was taken. */
bool store_submit(struct store *store, struct store_write *write);

/* -- reading: not on a loop -------------------------------------------------------------------- */

enum store_result store_find_file(struct store *store, struct str id, struct file_record *file_r);
enum store_result store_find_partial(struct store *store, struct str id,
                                     struct partial_record *partial_r);
/* Files of a route, newest first, `limit` of them after the one with (created_ms, id) `after_ms`,
 * `after_id` (INT64_MAX, "" = from the start). The array is one free(); so is each memory. */
enum store_result store_list_files(struct store *store, struct str route, int64_t after_ms,
                                   struct str after_id, size_t limit, struct file_record **files_r,
                                   size_t *count_r);
/* Partial uploads whose time is over, at most `limit`. */
enum store_result store_list_expired(struct store *store, struct str route, int64_t now_ms,
                                     size_t limit, struct partial_record **partials_r,
                                     size_t *count_r);
/* Bytes kept for each owner of a route: whole files, and of partial ones what they will have (what
 * they have when that is not known). */
enum store_result store_each_owner(struct store *store, struct str route,
                                   void (*fn)(void *arg, struct str owner, uint64_t bytes),
                                   void *arg);

#endif
