/* One line of the access log as text. Private to observe/. */
#ifndef GW_OBSERVE_ACCESS_LINE_H
#define GW_OBSERVE_ACCESS_LINE_H

#include <time.h>
#include "observe/observe.h"

#define ACCESS_VALUE_MAX 2048 /* bytes of a value that are logged */

/* RFC 3339 text of a moment. The part that changes once a second is kept, so one belongs to each
 * loop. Zeroed = never used. */
struct access_stamp {
    time_t second;
    char text[sizeof("2026-11-22T09:30:00.123Z")];
};

void access_stamp_set(struct access_stamp *stamp, struct timespec now);

/* No line of this record is longer, whatever its values hold. */
size_t access_line_bound(enum access_format format, const struct access_record *record);
/* Writes the line with its line feed to `at`, which has room for access_line_bound() bytes, and
 * returns its end. */
char *access_line_write(char *at, enum access_format format, const struct access_stamp *stamp,
                        const struct access_record *record);

#endif
