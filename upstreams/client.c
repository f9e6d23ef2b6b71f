/* A loop's side of curl. What it does otherwise than a textbook, because each was measured:
 *
 * - curl gets work once a turn: calls are collected, handed over together, and one
 *   curl_multi_socket_action() starts them all.
 * - No timer callback. curl would work out its next timeout at every step of every transfer; we ask
 *   once a turn, and transfers have no timeouts in curl at all: ours are timers of the loop.
 * - Its sockets stand in a private epoll set: sockets.c. */
#include "upstreams/internal.h"

#include <stdlib.h>
#include <h2o/memory.h>

enum { MAX_IDLE_HANDLES = 1024 };

/* -- lanes -- */

static void on_lane_timer(struct timer *timer)
{
    lane_defer(CONTAINER_OF(timer, struct lane, timer));
}

void lane_init(struct lane *lane, struct up_client *client, struct upstream *up)
{
    *lane = (struct lane){.client = client, .upstream = up};
    timer_init(&lane->timer, on_lane_timer);
    h2o_linklist_init_anchor(&lane->ready);
    h2o_linklist_init_anchor(&lane->stirred);
}

void lane_open(struct lane *lane)
{
    lane->multi = curl_multi_init();
    gw_assert(lane->multi != NULL);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, sockets_watch);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    if (lane->upstream->trusted != NULL) {
        lane->sessions = curl_share_init();
        gw_assert(lane->sessions != NULL);
        curl_share_setopt(lane->sessions, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    }
}

void lane_defer(struct lane *lane)
{
    if (!h2o_linklist_is_linked(&lane->link))
        h2o_linklist_insert(&lane->client->due, &lane->link);
    task_defer(lane->client->loop, &lane->client->task);
}

void lane_add(struct lane *lane, struct attempt *attempt)
{
    struct handle *handle = lane->idle;
    if (handle != NULL) {
        lane->idle = handle->next_idle;
        lane->idle_count--;
    } else {
        handle = handle_create(lane);
    }
    attempt->handle = handle;
    handle_prepare(handle, lane, attempt);
    lane->busy++;
    count_here(&lane->transfers, 1);
    lane->streaming += attempt->call->stream != NULL;
    gw_assert(curl_multi_add_handle(lane->multi, handle->easy) == CURLM_OK);
}

void lane_remove(struct lane *lane, struct attempt *attempt, bool failed)
{
    struct handle *handle = attempt->handle;
    attempt->handle = NULL;
    handle->attempt = NULL;
    lane->busy--;
    count_here(&lane->transfers, -1);
    lane->streaming -= attempt->call->stream != NULL;
    if (h2o_linklist_is_linked(&attempt->waiting)) /* stirred, or dropped */
        h2o_linklist_unlink(&attempt->waiting);
    gw_assert(curl_multi_remove_handle(lane->multi, handle->easy) == CURLM_OK);
    handle_reset(handle, lane->upstream);
    /* After a failure a handle keeps its errno, which would colour the next one. */
    if (failed || lane->idle_count >= MAX_IDLE_HANDLES) {
        handle_destroy(handle);
        return;
    }
    handle->next_idle = lane->idle;
    lane->idle = handle;
    lane->idle_count++;
}

void lane_drop_later(struct attempt *attempt)
{
    struct up_client *client = attempt->lane->client;
    if (h2o_linklist_is_linked(&attempt->waiting))
        h2o_linklist_unlink(&attempt->waiting);
    h2o_linklist_insert(&client->dropped, &attempt->waiting);
    task_defer(client->loop, &client->task);
}

void lane_stir(struct attempt *attempt)
{
    if (!h2o_linklist_is_linked(&attempt->waiting))
        h2o_linklist_insert(&attempt->lane->stirred, &attempt->waiting);
    lane_defer(attempt->lane);
}

/* curl's limit counts busy connections too, and closes an idle one whenever one more comes back. */
static void limit_connections(struct lane *lane)
{
    long most = (long)lane->upstream->config->max_idle + (long)lane->busy;
    if (lane->max_connects != most)
        curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, most);
    lane->max_connects = most;
}

static void lane_start_attempts(struct lane *lane)
{
    if (lane->multi == NULL)
        lane_open(lane);
    uint64_t now_us = clock_us();
    while (!h2o_linklist_is_empty(&lane->ready)) {
        struct attempt *attempt = H2O_STRUCT_FROM_MEMBER(struct attempt, waiting, lane->ready.next);
        h2o_linklist_unlink(&attempt->waiting);
        attempt->step = ATTEMPT_IN_FLIGHT;
        attempt->added_us = now_us;
        if (attempt->call->deadline_at != 0)
            call_tell_deadline(attempt, now_us / 1000);
        if (attempt->call->trace_at != 0)
            call_tell_trace(attempt);
        lane_add(lane, attempt);
    }
    limit_connections(lane);
}

static void lane_end_attempts(struct lane *lane)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(lane->multi, &left)) != NULL;) {
        struct handle *handle = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&handle);
        if (handle->check != NULL)
            check_ended(handle->check, code);
        else
            attempt_ended(handle->attempt, code);
    }
}

/* What has ended is nothing to go on with. */
static void lane_go_on(struct lane *lane)
{
    lane_end_attempts(lane);
    while (!h2o_linklist_is_empty(&lane->stirred)) {
        struct attempt *attempt =
            H2O_STRUCT_FROM_MEMBER(struct attempt, waiting, lane->stirred.next);
        h2o_linklist_unlink(&attempt->waiting);
        stream_go_on(attempt);
    }
}

/* Starts what is ready, lets curl do what is due, ends what is finished. */
static void lane_run(struct lane *lane)
{
    int running;
    long wait_ms = 0;
    if (!h2o_linklist_is_empty(&lane->stirred))
        lane_go_on(lane);
    if (!h2o_linklist_is_empty(&lane->ready))
        lane_start_attempts(lane);
    if (lane->multi == NULL)
        return;
    curl_multi_timeout(lane->multi, &wait_ms);
    if (wait_ms == 0)
        curl_multi_socket_action(lane->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    lane_end_attempts(lane);
    curl_multi_timeout(lane->multi, &wait_ms);
    if (wait_ms >= 0)
        timer_start(lane->client->loop, &lane->timer, (uint64_t)wait_ms);
    else
        timer_stop(lane->client->loop, &lane->timer);
}

static void end_of_turn(struct task *task)
{
    struct up_client *client = CONTAINER_OF(task, struct up_client, task);
    while (!h2o_linklist_is_empty(&client->started)) {
        struct up_call *call =
            H2O_STRUCT_FROM_MEMBER(struct up_call, waiting, client->started.next);
        h2o_linklist_unlink(&call->waiting);
        call_begin(call);
    }
    while (!h2o_linklist_is_empty(&client->going)) {
        struct attempt *attempt =
            H2O_STRUCT_FROM_MEMBER(struct attempt, waiting, client->going.next);
        h2o_linklist_unlink(&attempt->waiting);
        attempt_go(attempt);
    }
    while (!h2o_linklist_is_empty(&client->dropped))
        attempt_drop(H2O_STRUCT_FROM_MEMBER(struct attempt, waiting, client->dropped.next));
    while (!h2o_linklist_is_empty(&client->due)) {
        struct lane *lane = H2O_STRUCT_FROM_MEMBER(struct lane, link, client->due.next);
        h2o_linklist_unlink(&lane->link);
        lane_run(lane);
    }
}

/* -- the client -- */

uint32_t client_chance(struct up_client *client) /* xorshift */
{
    uint32_t x = client->chance;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    client->chance = x;
    return x;
}

struct up_client *up_client_create(struct upstreams *ups, struct loop *loop, struct offload *names)
{
    struct up_client *client =
        h2o_mem_alloc(sizeof(*client) + ups->count * sizeof(client->lanes[0]));
    *client = (struct up_client){.upstreams = ups, .loop = loop, .names = names};
    sockets_open(client);
    client->chance = (uint32_t)clock_us() * 2654435761u ^ loop_index(loop);
    task_init(&client->task, end_of_turn);
    h2o_linklist_init_anchor(&client->started);
    h2o_linklist_init_anchor(&client->going);
    h2o_linklist_init_anchor(&client->due);
    h2o_linklist_init_anchor(&client->dropped);
    h2o_linklist_init_anchor(&client->calls);
    for (size_t i = 0; i < ups->count; i++) {
        struct lane *lane = &client->lanes[i];
        const char *error;
        lane_init(lane, client, &ups->all[i]);
        pthread_mutex_lock(&lane->upstream->lanes_lock);
        h2o_linklist_insert(&lane->upstream->lanes, &lane->beside);
        pthread_mutex_unlock(&lane->upstream->lanes_lock);
        endpoints_get(lane->upstream, names, clock_us(), &lane->endpoints, NULL, &error);
    }
    client->makes_checks = !atomic_exchange(&ups->checked, true);
    if (client->makes_checks)
        client->checks = checks_create(client);
    return client;
}

void lane_close(struct lane *lane)
{
    timer_stop(lane->client->loop, &lane->timer);
    if (h2o_linklist_is_linked(&lane->link))
        h2o_linklist_unlink(&lane->link);
    while (lane->idle != NULL) {
        struct handle *handle = lane->idle;
        lane->idle = handle->next_idle;
        handle_destroy(handle);
    }
    if (lane->multi != NULL)
        curl_multi_cleanup(lane->multi);
    if (lane->sessions != NULL)
        curl_share_cleanup(lane->sessions);
    endpoints_unref(&lane->endpoints);
    free(lane->candidates);
}

void up_client_destroy(struct up_client **client_p)
{
    struct up_client *client = *client_p;
    *client_p = NULL;
    if (client == NULL)
        return;
    while (!h2o_linklist_is_empty(&client->calls)) {
        struct up_call *call = H2O_STRUCT_FROM_MEMBER(struct up_call, all, client->calls.next);
        up_call_cancel(&call);
    }
    checks_destroy(&client->checks);
    if (client->makes_checks)
        atomic_store(&client->upstreams->checked, false);
    /* What other threads posted to attempts that are gone is in the inbox already. */
    while (client->gone != 0)
        loop_turn(client->loop, 0);
    task_cancel(&client->task);
    for (size_t i = 0; i < client->upstreams->count; i++) {
        struct upstream *up = &client->upstreams->all[i];
        pthread_mutex_lock(&up->lanes_lock);
        h2o_linklist_unlink(&client->lanes[i].beside);
        pthread_mutex_unlock(&up->lanes_lock);
        lane_close(&client->lanes[i]);
    }
    calls_free_spare(client);
    sockets_close(client);
    free(client);
    memory_trim();
}
