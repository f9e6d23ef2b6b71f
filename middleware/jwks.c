/* One fetch at a time, however many wait for it; a fetch that nobody waits for any more goes on, as
 * the next one will want it. A set that has just passed its time is used while a new one is
 * fetched; one that has for long is waited for, as keys may have been withdrawn since, and used
 * again only when there is no other. */
#include "middleware/jwks.h"

#include <stdlib.h>
#include "base/log.h"
#include "base/text.h"

enum {
    TTL_MIN_MS = 10 * 1000, /* whatever the answer says */
    TTL_MAX_MS = 24 * 3600 * 1000,
    RETRY_MS = 10 * 1000, /* while there are keys that can be used */
    AWAY_MS = 1000,       /* while there are none */
    MEANWHILE_MS = 60 * 1000,
    WARN_EVERY_MS = 60 * 1000
};

struct waiter {
    h2o_linklist_t link;
    struct http_request *request;
    jwks_fn *fn;
    void *arg;
};

void jwks_init(struct jwks *jwks, const struct jwks_source *source, struct loop *loop,
               struct up_client *client)
{
    *jwks = (struct jwks){.source = source, .loop = loop, .client = client};
    h2o_linklist_init_anchor(&jwks->waiters);
}

void jwks_fini(struct jwks *jwks)
{
    jwk_set_clear(&jwks->set);
}

/* -- the answer -------------------------------------------------------------------------------- */

/* max-age of Cache-Control; the configured time without one. */
static uint64_t lifetime_ms(const struct jwks *jwks, const struct up_result *result)
{
    uint64_t ms = jwks->source->ttl_ms;
    for (size_t i = 0; i < result->header_count; i++) {
        struct str list = result->headers[i].value;
        if (!str_caseeq(result->headers[i].name, STR("cache-control")))
            continue;
        while (list.n != 0) {
            struct str value = next_item(&list, ',');
            struct str name = next_item(&value, '=');
            uint64_t seconds = 0;
            if (!str_caseeq(name, STR("max-age")) || value.n == 0 || value.n > 9)
                continue;
            for (size_t k = 0; k < value.n; k++)
                seconds = is_digit(value.p[k]) ? seconds * 10 + (uint64_t)(value.p[k] - '0') : 0;
            ms = seconds * 1000;
        }
    }
    return ms < TTL_MIN_MS ? TTL_MIN_MS : ms > TTL_MAX_MS ? TTL_MAX_MS : ms;
}

static void warn(struct jwks *jwks, const struct up_result *result, const char *why)
{
    const struct jwks_source *source = jwks->source;
    uint64_t now_ms = loop_now_ms(jwks->loop);
    if (jwks->warned_ms != 0 && now_ms < jwks->warned_ms + WARN_EVERY_MS)
        return;
    jwks->warned_ms = now_ms;
    log_event(LOG_WARN, "keys for tokens were not fetched",
              "jwt=%s upstream=%s path=%s why=%s status=%d detail=%s", log_quote(source->section),
              log_quote(upstream_config(source->upstream)->name), log_quote(source->path), why,
              result->status, log_quote(str_from(result->detail)));
}

static void take(struct jwks *jwks, const struct up_result *result)
{
    uint64_t now_ms = loop_now_ms(jwks->loop);
    struct jwk_set set = {.count = 0};
    const char *why = result->end == UP_TIMEOUT    ? "timeout"
                      : result->end != UP_ANSWERED ? "unreachable"
                      : result->status != 200      ? "status"
                                                   : NULL;
    if (why == NULL && !jwk_set_read(&set, result->body))
        why = "no_keys";
    if (why != NULL) {
        warn(jwks, result, why);
        jwks->renew_ms = now_ms + (jwks->version != 0 ? RETRY_MS : AWAY_MS);
        jwks->wait_ms = jwks->renew_ms + MEANWHILE_MS;
        return;
    }
    jwk_set_clear(&jwks->set);
    jwks->set = set;
    jwks->version++;
    jwks->renew_ms = now_ms + lifetime_ms(jwks, result);
    jwks->wait_ms = jwks->renew_ms + MEANWHILE_MS;
}

static void on_done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct jwks *jwks = arg;
    h2o_linklist_t waiters;
    take(jwks, result);
    jwks->call = NULL;
    up_call_release(&call);
    h2o_linklist_init_anchor(&waiters); /* who waits again waits for another fetch */
    h2o_linklist_insert_list(&waiters, &jwks->waiters);
    while (!h2o_linklist_is_empty(&waiters)) {
        struct waiter *waiter = CONTAINER_OF(waiters.next, struct waiter, link);
        h2o_linklist_unlink(&waiter->link);
        waiter->fn(waiter->request, waiter->arg);
    }
}

static void fetch(struct jwks *jwks)
{
    const struct up_request asked = {
        .upstream = jwks->source->upstream, .target = jwks->source->path, .wants_headers = true};
    if (jwks->call != NULL)
        return;
    jwks->asked_ms = loop_now_ms(jwks->loop);
    jwks->call = up_call_start(jwks->client, &asked, on_done, jwks);
}

/* -- looking ----------------------------------------------------------------------------------- */

enum jwks_found jwks_find(struct jwks *jwks, enum jws_algorithm algorithm, struct str kid,
                          struct jws_key **key_r)
{
    uint64_t now_ms = loop_now_ms(jwks->loop);
    if (now_ms >= jwks->renew_ms)
        fetch(jwks);
    if (jwks->version == 0)
        return jwks->call != NULL ? JWKS_WAIT : JWKS_AWAY;
    if (jwks->call != NULL && now_ms >= jwks->wait_ms)
        return JWKS_WAIT;
    *key_r = jwk_set_find(&jwks->set, algorithm, kid);
    if (*key_r != NULL)
        return JWKS_FOUND;
    if (now_ms >= jwks->asked_ms + jwks->source->refetch_ms)
        fetch(jwks);
    return jwks->call != NULL ? JWKS_WAIT : JWKS_UNKNOWN;
}

static void leave(void *memory)
{
    struct waiter *waiter = memory;
    if (h2o_linklist_is_linked(&waiter->link))
        h2o_linklist_unlink(&waiter->link);
}

void jwks_wait(struct jwks *jwks, struct http_request *request, jwks_fn *fn, void *arg)
{
    struct waiter *waiter = h2o_mem_alloc_shared(request->pool, sizeof(*waiter), leave);
    *waiter = (struct waiter){.request = request, .fn = fn, .arg = arg};
    h2o_linklist_insert(&jwks->waiters, &waiter->link);
}
