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

/* Opens the file or makes it (mode 0600; its directory must be there), brings its schema up to
 * date, starts the writer. NULL with *error_r (one line that names the file, in the thread's
 * memory) when it can't be used: a newer schema, no SQLite file or another program's, no room. */
struct store *store_open(const char *path, const char **error_r);
/* Writes what still waits, then stops the writer; from then on store_submit() refuses. The loops
 * have ended: their done() stay in the loops' queues. Reading goes on until store_close(). */
void store_stop(struct store *store);
/* Stops it, when that wasn't done yet, and frees it. */
void store_close(struct store **store);

/* When its file was made, on this disk: a copy that was brought back is as young as the copying.
 * Milliseconds since 1970; INT64_MAX when the file system doesn't tell. Not on a loop. */
int64_t store_made_ms(const struct store *store);

enum store_result {
    STORE_OK,
    STORE_ABSENT, /* there is no such row */
    STORE_EXISTS, /* there is such a row already */
    STORE_QUOTA,  /* the write's own is used up */
    STORE_SHARE,  /* so is its client's */
    STORE_FULL,   /* the disk is; works again once there is room */
    STORE_BUSY,   /* too much waits to be written, or another process doesn't let go of the file */
    STORE_FAILED  /* was logged; an id that is there already is one cause */
};

enum { STORE_ID = 32 }; /* characters of an id: 128 random bits as lower-case hexadecimal digits */

/* A file that was uploaded and is whole. Times are milliseconds since 1970. */
struct file_record {
    struct str id, route; /* route: name of the [uploads.NAME] section */
    struct str name;      /* the client's, UTF-8, may be "" */
    struct str type;      /* media type, by content */
    struct str owner;     /* "token:ci", "address:192.0.2.1" */
    struct str fields;    /* JSON object of the form's other fields, "" = none */
    uint64_t size;        /* below 2^63, the length of the fields added */
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

/* A certificate that was issued. */
enum { SERIAL_ROOM = 24 }; /* bytes of a serial's text, at most, NUL included */
enum certificate_status { CERTIFICATE_VALID, CERTIFICATE_REVOKED, CERTIFICATE_SUPERSEDED };
struct certificate_record {
    struct str serial, route;  /* route: name of the [certificates.NAME] section */
    uint8_t fields[32];        /* a code of the route and its fields; not superseded ones differ */
    struct str shown;          /* JSON object of the fields that the verify page shows */
    uint8_t sha256[32];        /* of the PDF */
    uint8_t signed_sha256[32]; /* of its message-digest attribute; all zero = not signed */
    uint64_t size;             /* bytes of the PDF */
    int64_t issued_ms, changed_ms; /* since 1970; changed_ms: revoked or superseded, 0 = never */
    enum certificate_status status;
    struct str reason;        /* of revoking; "" = none was given */
    struct str superseded_by; /* a serial; "" = not issued yet, or never superseded */
    char *memory;
};
/* A valid one may be revoked or superseded, a superseded one revoked (it keeps its successor) or
 * given the successor that it lacks; a revoked one stays so. A successor is another one that is
 * valid. */
struct certificate_change {
    struct str serial;
    enum certificate_status status;
    struct str reason, superseded_by;
    int64_t changed_ms;
};

/* An Idempotency-Key that was answered with a certificate. It holds for a day; how many of a
 * client's hold at once is limited, and each costs its certificate's route KEY_BYTES meanwhile. */
enum { KEY_MS = 24 * 60 * 60 * 1000, KEYS_OF_CLIENT_MAX = 10000, KEY_BYTES = 256 };
struct certificate_key {
    uint8_t key[32];    /* a code of the route, the client and the key; differ */
    uint8_t client[32]; /* a code of whose share it counts to */
    struct str serial;  /* its certificate's */
    int64_t made_ms;    /* since 1970 */
};

/* -- writing ---------------------------------------------------------------------------------- */

/* What happens, all of it or nothing, in this order. Embed it; it and all it points to stays as it
 * is until done() is called, once it is on the disk or failed: on `loop`, or when that is NULL on
 * the store's own thread, where it must be quick. done NULL: until store_stop(). */
struct store_write {
    const struct file_record *add_files;
    size_t add_file_count;
    struct str remove_file;                   /* STORE_ABSENT when it isn't there; "" = none */
    const struct partial_record *put_partial; /* made; or its size, offset, expiry and metadata
                                                 brought up to date */
    struct str remove_partial;                /* no matter whether it was there; "" = none */
    /* STORE_EXISTS, with existing_serial, when one with the same fields is there; STORE_QUOTA when
     * its route would have more than certificate_quota bytes. Superseded ones of the same fields
     * that have no successor get this one. */
    const struct certificate_record *add_certificate;
    struct str certificate_pdf; /* its bytes, kept as they are */
    uint64_t certificate_quota; /* 0 = no limit; of what add_certificate and tie_key take */
    /* STORE_EXISTS, with existing_serial, when it is tied already, to whichever certificate;
     * STORE_ABSENT when its certificate isn't there; STORE_QUOTA as above; STORE_SHARE when its
     * client has KEYS_OF_CLIENT_MAX. */
    const struct certificate_key *tie_key;
    /* STORE_ABSENT when it isn't there, STORE_EXISTS when it is so already or can't become so. */
    const struct certificate_change *change_certificate;
    void (*done)(struct store_write *write);
    struct loop *loop;
    enum store_result result;
    bool partial_removed; /* remove_partial was there; with STORE_OK */
    char existing_serial[SERIAL_ROOM];
    struct message message;   /* private */
    struct store_write *next; /* private */
};
/* Any thread. False: STORE_BUSY, nothing was taken. Writes happen in the order of their submission.
 */
bool store_submit(struct store *store, struct store_write *write);

/* -- reading: not on a loop -------------------------------------------------------------------- */

/* What isn't STORE_OK leaves nothing to free. A reader sees every write whose done() was called. */

enum store_result store_find_file(struct store *store, struct str id, struct file_record *file_r);
enum store_result store_find_partial(struct store *store, struct str id,
                                     struct partial_record *partial_r);
/* Files of a route, newest first, `limit` of them after the one with (created_ms, id) `after_ms`,
 * `after_id` (INT64_MAX, "" = from the start); of the same millisecond, by descending id. The array
 * is one free(); so is each memory. */
enum store_result store_list_files(struct store *store, struct str route, int64_t after_ms,
                                   struct str after_id, size_t limit, struct file_record **files_r,
                                   size_t *count_r);
/* Partial uploads whose expires_ms is now_ms or earlier, the oldest `limit` of them. */
enum store_result store_list_expired(struct store *store, struct str route, int64_t now_ms,
                                     size_t limit, struct partial_record **partials_r,
                                     size_t *count_r);
/* Bytes kept for each owner of a route: whole files with their fields, and of partial ones what
 * they will have (what they have when that is not known). Each owner comes once; fn must not read
 * from the store. */
enum store_result store_each_owner(struct store *store, struct str route,
                                   void (*fn)(void *arg, struct str owner, uint64_t bytes),
                                   void *arg);

/* By serial; by route's fields code; by a key's code, while it holds; by the digest of the file; by
 * that of what was signed. Several could have the last two in theory: the newest. */
enum certificate_by { BY_SERIAL, BY_FIELDS, BY_KEY, BY_SHA256, BY_SIGNED };
/* what: the serial's text, or 32 bytes. BY_FIELDS finds none that was superseded. pdf_r: NULL, or
 * gets the bytes, free(). */
enum store_result store_find_certificate(struct store *store, enum certificate_by by,
                                         struct str what, struct certificate_record *record_r,
                                         struct str *pdf_r);
/* Newest first, `limit` of them after the one with (issued_ms, serial) `after_ms`, `after_serial`
 * (INT64_MAX, "" = from the start). */
struct certificate_list {
    struct str route; /* "" = all */
    int status;       /* enum certificate_status; -1 = any */
    int64_t after_ms;
    struct str after_serial;
    size_t limit;
};
/* The array is one free(); so is each memory. */
enum store_result store_list_certificates(struct store *store, const struct certificate_list *list,
                                          struct certificate_record **records_r, size_t *count_r);
/* Bytes that the certificates of a route and their keys take. */
enum store_result store_certificate_bytes(struct store *store, struct str route, uint64_t *bytes_r);

#endif
