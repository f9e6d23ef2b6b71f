/* observe/: the access log. One line a request, with one record a part.
 *
 * Loops format into a ring of their own; a writer thread takes the bytes out and writes them. A
 * ring that is full drops whole lines and counts them (the writer logs the count); nothing waits. */
#ifndef GW_OBSERVE_H
#define GW_OBSERVE_H

#include "base/base.h"
#include "base/log.h"

struct access_part {
    struct str name;
    const char *state;   /* "ok", "timeout", … */
    const char *error;   /* RFC 9209 token or NULL */
    int status;          /* upstream's; 0 = none */
    uint32_t us;         /* from the page's start to the part's end */
    uint64_t bytes;
    unsigned attempts;
};

struct access_record {
    struct str id, client, method, path /* with query, as received */, host, protocol, route,
        user_agent;
    int status;          /* 499: the client left */
    uint64_t bytes;      /* of the body sent */
    uint64_t us;         /* from the head's arrival to the last byte's hand-over */
    const char *flags;   /* "NR", "DC", "UT", …: conventions; "" = none */
    const struct access_part *parts;
    size_t part_count;
};

struct access_log;

/* to: "stdout", "off" (returns NULL) or a path (opened for append, 0640). NULL with errno set when
 * the file can't be opened. `loops`: how many rings. */
struct access_log *access_log_open(const char *to, enum log_format format, unsigned loops);
/* Writes what is left, ends the thread. */
void access_log_close(struct access_log **log);

/* On loop `index`'s thread only. log may be NULL. Values are escaped; each is cut at 2 KiB. */
void access_log_write(struct access_log *log, unsigned index, const struct access_record *record);
/* Lines dropped so far. Any thread. */
uint64_t access_log_dropped(const struct access_log *log);

#endif
