/* Any headers as those of a request, an answer and a 304 about it, "Name: value" lines in three
 * blocks with an empty line between them: what forbids is never lost, what is kept is of use, and
 * times stay within their bounds. The first byte picks method, status and policy. */
#include <stdlib.h>
#include "cache/rules.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_HEADERS = 40 };
#define NOW     UINT64_C(784111777000)
#define LONGEST (UINT64_C(0x80000000) * 1000)

struct block {
    struct up_header headers[MAX_HEADERS + 1]; /* room for one more */
    size_t count;
};

/* A copy with nothing behind it that could be read by mistake. */
static struct str exact(const char *p, size_t n)
{
    char *copy = malloc(n != 0 ? n : 1);
    if (n != 0)
        memcpy(copy, p, n);
    return (struct str){copy, n};
}

static void take_block(struct str *rest, struct block *block)
{
    block->count = 0;
    while (rest->n != 0) {
        const char *newline = memchr(rest->p, '\n', rest->n);
        size_t n = newline != NULL ? (size_t)(newline - rest->p) : rest->n;
        struct str line = {rest->p, n};
        size_t taken = n + (newline != NULL);
        *rest = (struct str){rest->p + taken, rest->n - taken};
        const char *colon = n != 0 ? memchr(line.p, ':', n) : NULL;
        if (n == 0)
            return;
        if (colon == NULL || block->count == MAX_HEADERS)
            continue;
        size_t name = (size_t)(colon - line.p);
        block->headers[block->count++] =
            (struct up_header){exact(line.p, name), exact(colon + 1, n - name - 1)};
    }
}

static void free_block(struct block *block)
{
    for (size_t i = 0; i < block->count; i++) {
        free((void *)(uintptr_t)block->headers[i].name.p);
        free((void *)(uintptr_t)block->headers[i].value.p);
    }
}

static void check_answer(const struct rules *rules)
{
    gw_assert(rules->lifetime_ms <= LONGEST && rules->age_ms <= LONGEST + NOW + 10000);
    gw_assert(rules->stale_while_revalidate_ms <= LONGEST && rules->stale_if_error_ms <= LONGEST);
    if (rules->is_private || rules->no_store || rules->varies_by_all)
        gw_assert(!rules->may_store && !rules->may_share);
    if (rules->must_revalidate || rules->no_cache)
        gw_assert(rules->stale_while_revalidate_ms == 0 && rules->stale_if_error_ms == 0);
    if (rules->may_store && rules->no_cache)
        gw_assert(rules->etag.p != NULL || rules->last_modified.p != NULL);
}

/* 299: nobody understands it, so that must-understand doesn't outdo no-store. */
static void check_that_it_forbids(const struct block *answer, size_t count)
{
    const struct cache_policy policy = {.ttl_ms = 60000};
    const struct rules_request request = {.is_get = true};
    struct rules rules;
    rules_read_answer(&policy, &request, 299, answer->headers, count, NOW, NOW, &rules);
    gw_assert(rules.no_store && rules.is_private && rules.no_cache);
}

/* Words that forbid, on a line of their own or behind what there is. */
static void check_that_nothing_hides(struct block *answer)
{
    static const struct str words = STR(", no-store, private, no-cache");
    answer->headers[answer->count] = (struct up_header){STR("cache-control"), words};
    check_that_it_forbids(answer, answer->count + 1);
    for (size_t i = 0; i < answer->count; i++) {
        struct up_header *header = &answer->headers[i], old = *header;
        if (!str_caseeq(header->name, STR("cache-control")))
            continue;
        char *text = malloc(old.value.n + words.n);
        memcpy(text, old.value.p, old.value.n);
        memcpy(text + old.value.n, words.p, words.n);
        header->value = (struct str){text, old.value.n + words.n};
        check_that_it_forbids(answer, answer->count);
        *header = old;
        free(text);
    }
}

static void check_use(const struct rules *rules, const struct rules_request *request)
{
    static const uint64_t later_ms[] = {0, 1000, 60000, LONGEST, 4 * LONGEST};
    bool was_fresh = true;
    for (size_t i = 0; i < COUNT(later_ms); i++) {
        uint64_t now_ms = NOW + later_ms[i];
        enum rules_use use = rules_use(rules, request, now_ms);
        bool is_fresh = rules_ttl(rules, now_ms) > 0;
        gw_assert(was_fresh || !is_fresh);
        was_fresh = is_fresh;
        gw_assert(use != USE_FRESH || is_fresh ||
                  (request->has_max_stale && !rules->must_revalidate));
        gw_assert(use != USE_MEANWHILE || (!is_fresh && rules->stale_while_revalidate_ms != 0));
        gw_assert(use != USE_GATEWAY_TIMEOUT || request->only_if_cached);
        if (use == USE_FRESH || use == USE_MEANWHILE)
            gw_assert(!rules->no_cache && (rules->is_public || !request->has_credentials));
        gw_assert(is_fresh || !rules->must_revalidate || !rules_use_on_error(rules, now_ms));
    }
}

static void check_fields(const struct rules *rules, const struct block *answer,
                         h2o_mem_pool_t *pool)
{
    struct str names[CACHE_MAX_VARY];
    size_t count;
    bool varies = rules_vary(answer->headers, answer->count, pool, names, &count);
    gw_assert(varies == !rules->varies_by_all);
    for (size_t i = 0; varies && i < count; i++) {
        gw_assert(is_token(names[i]));
        gw_assert(i == 0 || !str_caseeq(names[i - 1], names[i]));
    }
    for (size_t i = 0; i < answer->count; i++) {
        struct str name = answer->headers[i].name;
        struct str value = rules_field(answer->headers, answer->count, name, pool);
        struct up_header as_one = {name, value};
        gw_assert(value.p != NULL);
        if (memchr(value.p, '"', value.n) == NULL)
            gw_assert(str_eq(rules_field(&as_one, 1, name, pool), value));
        rules_is_hop_by_hop(name, answer->headers[i].value);
        uint64_t ms = 7;
        gw_assert(rules_date(answer->headers[i].value, NOW, &ms) || ms == 7);
    }
}

static void check_304(const struct rules *rules, const struct block *answer,
                      const struct block *fresh, h2o_mem_pool_t *pool)
{
    struct up_header conditions[2], *merged;
    size_t count = rules_conditions(rules, conditions);
    gw_assert(count == (size_t)(rules->etag.p != NULL) + (rules->last_modified.p != NULL));
    rules_validates(rules, fresh->headers, fresh->count);
    if (rules->etag.p != NULL)
        gw_assert(rules_validates(rules, answer->headers, answer->count));
    rules_merge(answer->headers, answer->count, fresh->headers, fresh->count, pool, &merged,
                &count);
    gw_assert(count <= answer->count + fresh->count);
    for (size_t i = 0; i < fresh->count; i++) {
        struct str name = fresh->headers[i].name;
        if (str_caseeq(name, STR("cache-control")))
            gw_assert(str_eq(rules_field(merged, count, name, pool),
                             rules_field(fresh->headers, fresh->count, name, pool)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"GET", "GET", "HEAD", "POST"};
    static const int statuses[] = {200, 200, 206, 302, 304, 404, 500, 599};
    if (size == 0)
        return 0;
    const struct cache_policy policy = {.ttl_ms = data[0] & 1 ? 60000 : 0,
                                        .negative_ttl_ms = 1000,
                                        .stale_while_revalidate_ms = data[0] & 2 ? 5000 : 0,
                                        .stale_if_error_ms = 5000,
                                        .heuristic = data[0] & 4,
                                        .obeys_requests = data[0] & 4};
    struct str rest = {(const char *)data + 1, size - 1};
    struct block asked, answer, fresh;
    take_block(&rest, &asked);
    take_block(&rest, &answer);
    take_block(&rest, &fresh);

    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct rules_request request;
    struct rules rules;
    int status = statuses[data[0] >> 5];
    rules_read_request(&policy, methods[data[0] >> 3 & 3], asked.headers, asked.count, &request);
    rules_read_answer(&policy, &request, status, answer.headers, answer.count, NOW - 10000, NOW,
                      &rules);
    check_answer(&rules);
    check_use(&rules, &request);
    check_fields(&rules, &answer, &pool);
    check_304(&rules, &answer, &fresh, &pool);
    rules_invalidates(&request, status);
    check_that_nothing_hides(&answer);
    h2o_mem_clear_pool(&pool);
    free_block(&asked);
    free_block(&answer);
    free_block(&fresh);
    return 0;
}
