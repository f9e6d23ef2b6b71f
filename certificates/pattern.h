/* A field's pattern: a regular expression (PCRE2, UTF-8) for the whole value, compiled when the
 * configuration is read. Matching is bounded: a pattern that tries too many ways refuses the value
 * instead of holding up a loop. Immutable: any thread. */
#ifndef GW_CERTIFICATES_PATTERN_H
#define GW_CERTIFICATES_PATTERN_H

#include <h2o/memory.h>
#include "base/diag.h"

struct pattern;
/* NULL after an error at `at`. */
struct pattern *pattern_create(struct str text, struct pos at, struct diag *diag);
void pattern_destroy(struct pattern **pattern);
/* value: UTF-8. {NULL, 0}: matches; else what is wrong. What it needs is in the pool. */
struct str pattern_check(const struct pattern *pattern, struct str value, h2o_mem_pool_t *pool);

#endif
