/* Requests and answers as lines of text, and a clock that stands, for tests of the cache's rules.
 */
#ifndef GW_TESTS_CACHE_RULES_H
#define GW_TESTS_CACHE_RULES_H

#include "cache/rules.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define SECOND  UINT64_C(1000)
#define DAY     (86400 * SECOND)
#define NOW     UINT64_C(784111777000) /* Sun, 06 Nov 1994 08:49:37 GMT */
#define DATE    "Date: Sun, 06 Nov 1994 08:49:37 GMT\n"
#define LONGEST (UINT64_C(0x80000000) * SECOND)

struct lines {
    struct up_header headers[300];
    size_t count;
};

/* "Name: value\n…": as a receiver has them, without the blank behind the colon. */
static inline struct lines lines_of(const char *text)
{
    struct lines lines = {.count = 0};
    while (text != NULL && *text != '\0') {
        const char *colon = strchr(text, ':'), *end = strchr(text, '\n');
        gw_assert(colon != NULL && end != NULL && colon < end);
        gw_assert(lines.count < COUNT(lines.headers));
        const char *value = colon + 1 + (colon[1] == ' ');
        lines.headers[lines.count++] =
            (struct up_header){{text, (size_t)(colon - text)}, {value, (size_t)(end - value)}};
        text = end + 1;
    }
    return lines;
}

/* Which case it was, where one fails. */
static inline void tell(int status, const char *headers)
{
    print_message("%d %s\n", status, headers != NULL ? headers : "");
}

static const struct cache_policy no_policy = {.obeys_requests = true};

static inline struct rules_request request_of(const char *method, const char *text)
{
    struct lines lines = lines_of(text);
    struct rules_request request;
    rules_read_request(&no_policy, method, lines.headers, lines.count, &request);
    return request;
}

/* An answer that came at NOW to a request that had just gone out. */
static inline struct rules answer_of(const struct cache_policy *policy, const char *asked,
                                     int status, const char *text)
{
    struct lines lines = lines_of(text);
    struct rules_request request = request_of("GET", asked);
    struct rules rules;
    rules_read_answer(policy, &request, status, lines.headers, lines.count, NOW, NOW, &rules);
    return rules;
}

#endif
