/* Errors in what the user wrote (configuration, templates), collected so that all of them are
 * reported at once. One thread. */
#ifndef GW_BASE_DIAG_H
#define GW_BASE_DIAG_H

#include <stdio.h>
#include "base/base.h"

/* A place in a file. `file` is borrowed for the call (a diag keeps a copy); line and column count
 * from 1, 0 = unknown (then left out of the printed prefix). Columns count bytes. */
struct pos {
    const char *file;
    unsigned line;
    unsigned column;
};

struct diag;

struct diag *diag_create(void);
void diag_destroy(struct diag **diag);

/* Adds `file:line:column: error: <message>`. The message is one line, without a final period. */
void diag_error(struct diag *diag, struct pos at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same as `warning:`; warnings never fail a check. */
void diag_warning(struct diag *diag, struct pos at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

size_t diag_errors(const struct diag *diag);

/* Prints all of them, in order of file, line, column (stable), one a line. */
void diag_print(const struct diag *diag, FILE *to);

/* The candidate nearest to `word` by edit distance when near enough to be a likely typo
 * (at most a third of its length, swaps count once), else NULL. For "did you mean". */
const char *diag_nearest(struct str word, const char *const *candidates, size_t count);

#endif
