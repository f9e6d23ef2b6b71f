/* Text of a line of the access log. Private to observe/. Each put_ function returns one past what
 * it wrote. */
#ifndef GW_OBSERVE_ACCESS_TEXT_H
#define GW_OBSERVE_ACCESS_TEXT_H

#include "observe/access_line.h"

/* A byte of a value becomes at most \u00xx. */
enum { ESCAPED_MAX = 6 };

/* Neither control character, nor quote or backslash, nor anything but ASCII. */
static inline bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Milliseconds with three decimals. */
char *put_ms(char *at, uint64_t us);
/* Between quotes, escaped as a JSON string. */
char *put_quoted(char *at, struct str value);
/* Likewise, but plain values stand as they are. */
char *put_logfmt_value(char *at, struct str value);
/* At most ACCESS_VALUE_MAX bytes, never ending inside a character. */
struct str access_cut(struct str value);

/* access_combined.c; ts as access_stamp_set() writes it. */
char *access_combined_write(char *at, struct str ts, const struct access_record *record);

#endif
