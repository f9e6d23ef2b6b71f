/* What each answer of an upstream becomes: a part's state, its RFC 9209 error, its data. The table
 * stands in docs/pages.md and, row by row, in tests/unit/test_pages_outcome.c. */
#ifndef GW_PAGES_OUTCOME_H
#define GW_PAGES_OUTCOME_H

#include "pages/pages.h"
#include "pages/place.h"

enum { OUTCOME_JSON_DEPTH = 128 };

struct outcome {
    enum part_state state;
    const char *error; /* RFC 9209 error token; NULL when ok, or when the status says it all */
    struct str detail; /* for logs and explain; may hold addresses */
    struct json_value value; /* what was selected and filtered; null when there is no data */
};

/* parsed: the body's tape, when there is one already; else doc takes it. value points into it; it
 * and the result must live as long. */
void outcome_judge(const struct up_result *result, const struct json_doc *parsed,
                   const struct placement *placement, struct json_doc *doc, h2o_mem_pool_t *pool,
                   struct outcome *outcome_r);

/* The page's status when a required part ended so. */
int outcome_page_status(enum part_state state);

#endif
