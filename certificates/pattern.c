/* PCRE2, with its just-in-time compiler where there is one. */
#include "certificates/pattern.h"

#include <stdlib.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* What a backtracking pattern may do: some milliseconds at the very worst. */
enum { MATCH_LIMIT = 100000, DEPTH_LIMIT = 10000, HEAP_LIMIT_KIB = 1024 };

struct pattern {
    pcre2_code *code;
    pcre2_match_context *limits;
};

struct pattern *pattern_create(struct str text, struct pos at, struct diag *diag)
{
    int error;
    PCRE2_SIZE offset;
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_ENDANCHORED |
                             PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text.p, text.n, options, &error, &offset, NULL);
    if (code == NULL) {
        PCRE2_UCHAR says[256];
        pcre2_get_error_message(error, says, sizeof(says));
        diag_error(diag, at, "pattern: %s, at character %zu of \"%.*s\"", (const char *)says,
                   (size_t)offset, (int)text.n, text.p);
        return NULL;
    }
    struct pattern *pattern = h2o_mem_alloc(sizeof(*pattern));
    pattern->code = code;
    pattern->limits = pcre2_match_context_create(NULL);
    gw_assert(pattern->limits != NULL);
    pcre2_set_match_limit(pattern->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(pattern->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(pattern->limits, HEAP_LIMIT_KIB);
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without it matching is slower, no more */
    return pattern;
}

void pattern_destroy(struct pattern **pattern_p)
{
    struct pattern *pattern = *pattern_p;
    if (pattern == NULL)
        return;
    pcre2_match_context_free(pattern->limits);
    pcre2_code_free(pattern->code);
    free(pattern);
    *pattern_p = NULL;
}

static void *from_pool(PCRE2_SIZE n, void *pool)
{
    return h2o_mem_alloc_pool(pool, n);
}

static void left_to_pool(void *p, void *pool)
{
    (void)p, (void)pool;
}

struct str pattern_check(const struct pattern *pattern, struct str value, h2o_mem_pool_t *pool)
{
    pcre2_general_context *memory = pcre2_general_context_create(from_pool, left_to_pool, pool);
    pcre2_match_data *data = pcre2_match_data_create(1, memory);
    int matched = pcre2_match(pattern->code, (PCRE2_SPTR)value.p, value.n, 0, PCRE2_NO_UTF_CHECK,
                              data, pattern->limits);
    return matched >= 0                     ? (struct str){NULL, 0}
           : matched == PCRE2_ERROR_NOMATCH ? STR("is not written as it should be")
                                            : STR("takes too long to be compared with its pattern");
}
