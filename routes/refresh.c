/* Bringing what is kept up to date while it is still used (stale-while-revalidate): a call that no
 * client waits for. One for a key at a time; where two keys share a slot of the table, the second
 * waits for another request to ask for it. */
#include "routes/kept.h"

#include <stdlib.h>

struct refresh {
    h2o_linklist_t link; /* routing.refreshes of its loop */
    h2o_mem_pool_t pool;
    struct routing *routing;
    struct up_call *call;
    struct up_stream stream;
    struct kept kept;
    int status;
    _Atomic uint64_t *slot;
};

static struct str copy(h2o_mem_pool_t *pool, struct str s)
{
    h2o_iovec_t copied = h2o_strdup(pool, s.p, s.n);
    return (struct str){copied.base, copied.len};
}

static void end(struct refresh *refresh)
{
    up_call_cancel(&refresh->call);
    atomic_store(refresh->slot, 0);
    h2o_linklist_unlink(&refresh->link);
    cache_entry_unref(&refresh->kept.entry);
    buf_fini(&refresh->kept.body);
    h2o_mem_clear_pool(&refresh->pool);
    free(refresh);
}

static void on_head(struct up_stream *stream, int status, const struct up_header *headers,
                    size_t count)
{
    struct refresh *refresh = CONTAINER_OF(stream, struct refresh, stream);
    struct kept *kept = &refresh->kept;
    refresh->status = status;
    if (status == 304 && kept->validates) {
        if (!kept_renew(kept, &refresh->pool, headers, count))
            cache_store_remove(kept->store, kept->key);
        return;
    }
    rules_read_answer(&kept->plan->policy, &kept->asked, status, headers, count, kept->requested_ms,
                      unix_ms(), &kept->rules);
    kept->stores = kept->rules.may_store && status < 500;
    if (!kept->stores && status < 500)
        cache_store_remove(kept->store, kept->key);
}

static bool on_bytes(struct up_stream *stream, const char *bytes, size_t n)
{
    struct refresh *refresh = CONTAINER_OF(stream, struct refresh, stream);
    struct kept *kept = &refresh->kept;
    if (kept->stores && buf_append(&kept->body, bytes, n))
        return true;
    end(refresh); /* nobody wants the rest */
    return true;
}

static void on_done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct refresh *refresh = arg;
    gw_assert(call == refresh->call);
    if (result->end == UP_ANSWERED && refresh->kept.stores)
        kept_put(&refresh->kept, &refresh->pool, refresh->status, result->headers,
                 result->header_count);
    end(refresh);
}

void refresh_start(struct proxy_route *route, struct loop *loop, const struct kept *kept,
                   const struct up_request *request)
{
    struct routing *routing = route->routing;
    _Atomic uint64_t *slot = &routing->refreshing[kept->key.hash % REFRESH_SLOTS];
    uint64_t nobody = 0;
    if (!kept->asked.is_get || !atomic_compare_exchange_strong(slot, &nobody, kept->key.hash))
        return;
    struct refresh *refresh = h2o_mem_alloc(sizeof(*refresh));
    *refresh = (struct refresh){.routing = routing,
                                .slot = slot,
                                .kept = *kept,
                                .stream = {.head = on_head, .body = on_bytes}};
    h2o_mem_init_pool(&refresh->pool);
    h2o_linklist_insert(&routing->refreshes[loop_index(loop)], &refresh->link);
    h2o_mem_pool_t *pool = &refresh->pool;
    struct up_header *headers =
        h2o_mem_alloc_pool(pool, (request->header_count + 1) * sizeof(*headers));
    for (size_t i = 0; i < request->header_count; i++)
        headers[i] = (struct up_header){copy(pool, request->headers[i].name),
                                        copy(pool, request->headers[i].value)};
    struct kept *own = &refresh->kept;
    own->key.text = copy(pool, kept->key.text);
    own->headers = headers;
    own->header_count = request->header_count;
    own->entry = cache_entry_ref(kept->entry);
    own->requested_ms = unix_ms();
    own->epoch = cache_store_epoch(own->store);
    buf_init(&own->body, CACHE_MAX_ENTRY);
    refresh->stream.idle_ms = route->config->idle_timeout_ms;
    struct up_request asked = *request;
    asked.headers = headers;
    asked.stream = &refresh->stream;
    asked.method = NULL;
    kept_add_conditions(own, pool, &asked);
    refresh->call = up_call_start(routing->clients[loop_index(loop)], &asked, on_done, refresh);
}

void refresh_end_all(struct routing *routing, struct loop *loop)
{
    h2o_linklist_t *all = &routing->refreshes[loop_index(loop)];
    while (all->next != NULL && !h2o_linklist_is_empty(all))
        end(H2O_STRUCT_FROM_MEMBER(struct refresh, link, all->next));
}
