/* What a client already has, and what it can decode: validators, preconditions and content
 * negotiation of a stored representation (RFC 9110 sections 8.8, 12.5.3 and 13). Pure functions of
 * header values; a field that came in several lines is given joined with commas. Any thread. */
#ifndef GW_HTTP_CONDITIONAL_H
#define GW_HTTP_CONDITIONAL_H

#include <time.h>
#include "base/base.h"

#define ETAG_MAX sizeof("\"0123456789abcdef-0123456789abcdef-0123456789abcdef\"")

/* A strong entity tag, quotes included, NUL-terminated. Returns its length. A file gets another one
 * whenever it is replaced (inode), grows or shrinks, or is written to (mtime, nanoseconds). */
size_t etag_format(char text_r[ETAG_MAX], struct timespec mtime, uint64_t size, uint64_t inode);

/* Whether a list of entity tags ("*" included) holds `etag`, which is strong. `strong`: a weak tag
 * of the list is no match (section 8.8.3.2). What follows a malformed member is ignored. */
bool etag_list_has(struct str list, struct str etag, bool strong);

/* Values of the request's precondition fields; {NULL, 0} = absent. */
struct preconditions {
    struct str if_match, if_unmodified_since, if_none_match, if_modified_since;
};
/* The status for GET or HEAD, evaluated in the order of section 13.2.2: 200, 304 or 412. Dates that
 * are not an IMF-fixdate are ignored. */
int preconditions_evaluate(const struct preconditions *conditions, struct str etag,
                           time_t modified);

/* An IMF-fixdate (section 5.6.7), with blanks around it or not. The obsolete forms: false. */
bool http_date_parse(struct str text, time_t *time_r);
/* The other way; NUL-terminated. */
enum { HTTP_DATE_LENGTH = 29 };
void http_date_format(time_t time, char text_r[HTTP_DATE_LENGTH + 1]);

/* Which of the codings that a file may be stored in Accept-Encoding takes and doesn't like less
 * than the file as it is; the best comes first, Brotli when it is all the same. Absent = none. */
enum coding { CODING_BROTLI, CODING_GZIP, CODINGS };
struct codings {
    unsigned count;
    enum coding best[CODINGS];
};
struct codings accepted_codings(struct str accept_encoding);

#endif
