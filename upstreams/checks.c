/* Health checks: each address of an upstream that has a health.path is asked now and then whether
 * it is well, whatever calls go there. One client of the process does it for all loops; what it
 * finds stands in the endpoint, where endpoint_pick() and `GET /upstreams` see it.
 *
 * A check is a transfer of its own: it takes no slot, counts in no budget, and opens a connection
 * each time, so that it tells whether the next call could.
 *
 *   waiting --interval--> under way --answer, timeout--> waiting
 *
 * Addresses come and go with their names, so each upstream has a timer too that looks which there
 * are. */
#include "upstreams/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <h2o/memory.h>
#include "base/log.h"

enum { NAMES_POLL_MS = 50 }; /* while no address is known */

/* An upstream that wants checks. */
struct checked {
    struct lane lane; /* not the calls': its multi has no connection of theirs */
    struct buf request;
    struct timer timer;
    struct endpoints *endpoints; /* ref; those that checks were made for */
    h2o_linklist_t checks;
};

struct check {
    h2o_linklist_t link; /* in checked.checks */
    struct checked *of;
    struct endpoint *endpoint; /* held */
    struct handle *handle;
    struct timer timer; /* to the next one; then its timeout */
    bool under_way;
    uint64_t began_ms;
};

struct checks {
    size_t count;
    struct checked all[];
};

/* -- one address -- */

static size_t ignore(char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes;
    (void)arg;
    return size * count;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)arg;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static struct handle *make_handle(struct check *check)
{
    struct checked *of = check->of;
    struct handle *handle = handle_create(&of->lane);
    handle->check = check;
    handle_direct(handle, of->lane.upstream, check->endpoint);
    curl_easy_setopt(handle->easy, CURLOPT_REQUEST_TARGET, of->request.p);
    curl_easy_setopt(handle->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(handle->easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L); /* see forget_addresses() */
    curl_easy_setopt(handle->easy, CURLOPT_HEADERFUNCTION, ignore);
    curl_easy_setopt(handle->easy, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(handle->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    return handle;
}

static void begin(struct check *check)
{
    struct lane *lane = &check->of->lane;
    struct loop *loop = lane->client->loop;
    if (lane->multi == NULL)
        lane_open(lane);
    check->handle = make_handle(check);
    check->under_way = true;
    check->began_ms = loop_now_ms(loop);
    gw_assert(curl_multi_add_handle(lane->multi, check->handle->easy) == CURLM_OK);
    lane_defer(lane);
    timer_start(loop, &check->timer, lane->upstream->config->health.timeout_ms);
}

static void stop(struct check *check)
{
    struct lane *lane = &check->of->lane;
    timer_stop(lane->client->loop, &check->timer);
    if (!check->under_way)
        return;
    check->under_way = false;
    curl_multi_remove_handle(lane->multi, check->handle->easy);
    handle_destroy(check->handle);
    check->handle = NULL;
}

/* A tenth more or less, so that checks of many addresses and gateways don't march in step. */
static uint64_t next_interval_ms(struct up_client *client, const struct config_health *health)
{
    return health->interval_ms * (900 + client_chance(client) % 201) / 1000;
}

static void end(struct check *check, bool good, const char *reason)
{
    struct lane *lane = &check->of->lane;
    const struct config_upstream *config = lane->upstream->config;
    struct endpoint *endpoint = check->endpoint;
    uint64_t next_ms = check->began_ms + next_interval_ms(lane->client, &config->health);
    uint64_t now_ms = loop_now_ms(lane->client->loop);
    if (health_check(&endpoint->health, good, &config->health))
        log_event(good ? LOG_INFO : LOG_WARN, good ? "address healthy" : "address unhealthy",
                  "upstream=%s address=%s reason=%s", log_quote(config->name), endpoint->address,
                  log_quote(str_from(reason)));
    stop(check);
    timer_start(lane->client->loop, &check->timer, next_ms > now_ms ? next_ms - now_ms : 0);
}

void check_ended(struct check *check, CURLcode code)
{
    long status = 0;
    char reason[CURL_ERROR_SIZE];
    curl_easy_getinfo(check->handle->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK)
        snprintf(reason, sizeof(reason), "status %ld", status);
    else
        snprintf(reason, sizeof(reason), "%s",
                 check->handle->error[0] ? check->handle->error : curl_easy_strerror(code));
    end(check, code == CURLE_OK && status >= 200 && status <= 399, reason);
}

static void on_check_timer(struct timer *timer)
{
    struct check *check = CONTAINER_OF(timer, struct check, timer);
    if (check->under_way)
        end(check, false, "no answer in time");
    else
        begin(check);
}

/* -- one upstream -- */

static void add_check(struct checked *of, struct endpoint *endpoint)
{
    struct check *check = h2o_mem_alloc(sizeof(*check));
    *check = (struct check){.of = of, .endpoint = endpoint_hold(endpoint)};
    timer_init(&check->timer, on_check_timer);
    h2o_linklist_insert(&of->checks, &check->link);
    begin(check);
}

static void remove_check(struct check *check)
{
    stop(check);
    h2o_linklist_unlink(&check->link);
    endpoint_let_go(&check->endpoint);
    free(check);
}

static struct check *check_of(struct checked *of, const struct endpoint *endpoint)
{
    for (h2o_linklist_t *link = of->checks.next; link != &of->checks; link = link->next) {
        struct check *check = H2O_STRUCT_FROM_MEMBER(struct check, link, link);
        if (check->endpoint == endpoint)
            return check;
    }
    return NULL;
}

static bool is_listed(const struct endpoints *set, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->all[i].endpoint == endpoint)
            return true;
    return false;
}

static void on_timer(struct timer *timer)
{
    struct checked *of = CONTAINER_OF(timer, struct checked, timer);
    struct upstream *up = of->lane.upstream;
    struct up_client *client = of->lane.client;
    uint32_t version = of->endpoints != NULL ? of->endpoints->version : 0;
    uint64_t again_ms = up->config->health.interval_ms;
    const char *error;
    if (endpoints_get(up, client->names, clock_us(), &of->endpoints, NULL, &error) !=
        ENDPOINTS_KNOWN) {
        again_ms = again_ms < NAMES_POLL_MS ? again_ms : NAMES_POLL_MS;
    } else if (of->endpoints->version != version) {
        for (h2o_linklist_t *link = of->checks.next, *next; link != &of->checks; link = next) {
            struct check *check = H2O_STRUCT_FROM_MEMBER(struct check, link, link);
            next = link->next;
            if (!is_listed(of->endpoints, check->endpoint))
                remove_check(check);
        }
        for (size_t i = 0; i < of->endpoints->count; i++)
            if (check_of(of, of->endpoints->all[i].endpoint) == NULL)
                add_check(of, of->endpoints->all[i].endpoint);
    }
    timer_start(client->loop, timer, again_ms);
}

/* -- all of them -- */

struct checks *checks_create(struct up_client *client)
{
    struct upstreams *ups = client->upstreams;
    size_t count = 0;
    for (size_t i = 0; i < ups->count; i++)
        count += ups->all[i].config->health.path.n != 0;
    if (count == 0)
        return NULL;
    struct checks *checks = h2o_mem_alloc(sizeof(*checks) + count * sizeof(checks->all[0]));
    checks->count = 0;
    for (size_t i = 0; i < ups->count; i++) {
        struct upstream *up = &ups->all[i];
        if (up->config->health.path.n == 0)
            continue;
        struct checked *of = &checks->all[checks->count++];
        *of = (struct checked){.endpoints = NULL};
        lane_init(&of->lane, client, up);
        h2o_linklist_init_anchor(&of->checks);
        timer_init(&of->timer, on_timer);
        buf_init(&of->request, SIZE_MAX);
        buf_printf(&of->request, "%s%s HTTP/1.1%s", up->prefix, up->config->health.path.p,
                   up->lines);
        timer_start(client->loop, &of->timer, 0);
    }
    return checks;
}

void checks_destroy(struct checks **checks_p)
{
    struct checks *checks = *checks_p;
    *checks_p = NULL;
    for (size_t i = 0; checks != NULL && i < checks->count; i++) {
        struct checked *of = &checks->all[i];
        timer_stop(of->lane.client->loop, &of->timer);
        while (!h2o_linklist_is_empty(&of->checks))
            remove_check(H2O_STRUCT_FROM_MEMBER(struct check, link, of->checks.next));
        lane_close(&of->lane);
        endpoints_unref(&of->endpoints);
        buf_fini(&of->request);
    }
    free(checks);
}
