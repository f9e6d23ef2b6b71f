/* What the files behind rules.h share. Private to cache/. */
#ifndef GW_CACHE_RULES_PRIVATE_H
#define GW_CACHE_RULES_PRIVATE_H

#include "cache/rules.h"

/* The first line of a field, {NULL, 0} = absent. *differs_r (NULL = whatever) is set when there is
 * another line that says something else. */
struct str rules_line(const struct up_header *headers, size_t count, struct str name,
                      bool *differs_r);

/* The names of all Vary lines, each once, as they are written. False: as rules_vary(). */
bool rules_vary_names(const struct up_header *headers, size_t count,
                      struct str names_r[CACHE_MAX_VARY], size_t *count_r);

/* Whether it is one of them, in whatever case. */
bool rules_is_any(struct str name, const struct str *names, size_t count);

/* `Pragma: no-cache`, the older spelling: counts for who says nothing in Cache-Control (section
 * 5.4; of answers as well, where it is all that keeps a configured lifetime from them). */
bool rules_pragma_no_cache(const struct up_header *headers, size_t count);

/* Whether it is an entity-tag, weak or not, to the letter (RFC 9110 section 8.8.3). */
bool rules_is_etag(struct str text);

#endif
