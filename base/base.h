/* base/: what every floor above stands on. Includes nothing of ours but itself.
 *
 *   base.h     this page: string views, asserts, clocks
 *   text.h     what bytes of text mean: digits, tokens, percent-escapes, UTF-8
 *   date.h     dates as HTTP has them
 *   diag.h     errors in the user's files, as file:line:column, collected and printed together
 *   log.h      operational log lines (stderr)
 *   crash.h    what a crash tells
 *   buf.h      a growing buffer with a ceiling
 *   out.h      a response's bytes: what is written is copied once, what is referred to never
 *   json.h     JSON: bytes -> tape of positions -> values, and back
 *   loop.h     one event loop a thread: timers, end-of-turn tasks, messages from other threads
 *   offload.h  a few threads for what blocks
 *   folders.h  making folders
 *   cpus.h     how many CPUs there are to use
 *   embed.h    files that are part of the program
 */
#ifndef GW_BASE_H
#define GW_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A view of bytes that somebody else owns; not NUL-terminated unless said so. {NULL, 0} is "none".
 */
struct str {
    const char *p;
    size_t n;
};

#define STR(literal)                    ((struct str){"" literal, sizeof(literal) - 1})
#define COUNT(array)                    (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline struct str str_from(const char *cstring)
{
    return (struct str){cstring, cstring ? strlen(cstring) : 0};
}

/* Names are short: two loads that may overlap take less time than a call. */
static inline bool bytes_eq(const char *a, const char *b, size_t n)
{
    if (n > 16)
        return memcmp(a, b, n) == 0;
    if (n >= 8) {
        uint64_t first[2], last[2];
        memcpy(&first[0], a, 8);
        memcpy(&first[1], b, 8);
        memcpy(&last[0], a + n - 8, 8);
        memcpy(&last[1], b + n - 8, 8);
        return ((first[0] ^ first[1]) | (last[0] ^ last[1])) == 0;
    }
    if (n >= 4) {
        uint32_t first[2], last[2];
        memcpy(&first[0], a, 4);
        memcpy(&first[1], b, 4);
        memcpy(&last[0], a + n - 4, 4);
        memcpy(&last[1], b + n - 4, 4);
        return ((first[0] ^ first[1]) | (last[0] ^ last[1])) == 0;
    }
    return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && bytes_eq(a.p, b.p, a.n);
}

/* ASCII case-insensitive, as for header names. */
bool str_caseeq(struct str a, struct str b);

/* Checks what must be true whatever a client, an upstream or a file holds; kept in release builds.
 * Prints the place and aborts. Never use it on input. */
#define gw_assert(condition) \
    ((condition) ? (void)0 : gw_assert_failed(#condition, __FILE__, __LINE__))
void gw_assert_failed(const char *condition, const char *file, int line)
    __attribute__((noreturn, cold));

/* Monotonic clock, microseconds. Any thread. */
uint64_t clock_us(void);
/* Milliseconds since 1970, as records have them. Any thread. */
int64_t clock_unix_ms(void);

#endif
