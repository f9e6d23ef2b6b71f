/* Who may touch what: a site is read-only once it is served. Each worker makes and destroys its
 * loop, its listeners and its clients on its own thread. The main thread talks to workers by
 * loop_post(), they to it by counters and a wake.
 *
 * Ending is in three steps, for a site that retires as for the process, so that nobody posts to who
 * is gone: nothing new is asked for any more (the requests are over; the loops have ended their
 * runs); the offload pools are stopped; every loop takes what was still posted to it, and cleans
 * up. */
#include "commands/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/crash.h"
#include "base/log.h"
#include "base/put.h"
#include "observe/metrics.h"

enum { SEND_TRACES_MS = 1000 };

struct worker {
    struct workers *all; /* borrowed */
    unsigned index;
    pthread_t thread;
    struct loop *loop; /* owned by its thread, as is what follows */
    struct http_loop *http;
    struct traces *traces;
    struct duty *duty;   /* that requests come under */
    struct duty *ending; /* what to end between two turns */
    struct message drain;
};

/* What one worker has for one site. */
struct duty {
    struct tenure *tenure; /* borrowed */
    struct worker *worker; /* borrowed */
    struct up_client *client;
    struct cache_client *cache;
    struct exporter *exporter; /* NULL: no spans are exported */
    bool begun, ended;
    struct duty *next_ending;
    struct message adopt, end;
};

/* A site's time: served, then retiring. */
struct tenure {
    struct workers *all;
    struct site *site; /* owned */
    enum { SERVES, WAITS_FOR_REQUESTS, STOPS_POOLS, ENDS_DUTIES } stage;
    _Atomic unsigned adopted, over, ended; /* workers that have come so far */
    _Atomic bool stopped;                  /* the pools are */
    pthread_t stopper;
    struct tenure *before;
    struct duty duties[];
};

struct workers {
    struct workers_hooks hooks;
    struct tenure *newest;
    unsigned count;
    pthread_barrier_t started, stopped;
    _Atomic unsigned idle;   /* workers that have drained */
    bool handed_on;          /* another process listens: written before `drain` is posted */
    const char *admin_error; /* written before `started` */
    struct worker workers[];
};

static void tell(struct workers *all, _Atomic unsigned *counter)
{
    atomic_fetch_add(counter, 1);
    all->hooks.wake(all->hooks.arg);
}

/* -- on a worker's thread -- */

static void duty_begin(struct duty *duty)
{
    struct site *site = duty->tenure->site;
    struct loop *loop = duty->worker->loop;
    duty->begun = true;
    duty->client = up_client_create(site->upstreams, loop, site->names);
    duty->cache = cache_client_create(site->cache, duty->client, loop);
    pages_set_client(site->pages, loop, duty->client, duty->cache);
    routing_set_client(site->routing, loop, duty->client, duty->cache);
    middleware_set_client(site->middleware, loop, duty->client);
    certificates_set_client(site->certificates, loop, duty->client);
    files_loop_start(site->files, loop);
    duty->exporter = exporter_create(site->tracing, duty->worker->traces, duty->client);
}

/* Not within a turn: who is destroyed here may turn the loop. */
static void duty_end(struct duty *duty)
{
    struct site *site = duty->tenure->site;
    struct loop *loop = duty->worker->loop;
    if (!duty->begun || duty->ended)
        return;
    duty->ended = true;
    exporter_destroy(&duty->exporter);
    files_loop_stop(site->files, loop);
    certificates_set_client(site->certificates, loop, NULL);
    middleware_set_client(site->middleware, loop, NULL);
    routing_set_client(site->routing, loop, NULL, NULL);
    pages_set_client(site->pages, loop, NULL, NULL);
    cache_client_destroy(&duty->cache);
    up_client_destroy(&duty->client);
}

/* The last request that the site before had to answer is over on this loop. */
static void on_gone(void *arg)
{
    struct tenure *tenure = arg;
    tell(tenure->all, &tenure->over);
}

static void on_adopt(struct message *message)
{
    struct duty *duty = CONTAINER_OF(message, struct duty, adopt);
    struct worker *worker = duty->worker;
    struct duty *before = worker->duty;
    duty_begin(duty);
    worker->duty = duty;
    http_loop_adopt(worker->http, duty->tenure->site->server, on_gone, before->tenure);
    tell(worker->all, &duty->tenure->adopted);
}

static void on_end(struct message *message)
{
    struct duty *duty = CONTAINER_OF(message, struct duty, end);
    duty->next_ending = duty->worker->ending;
    duty->worker->ending = duty;
    loop_leave(duty->worker->loop);
}

static void on_idle(void *arg)
{
    struct worker *worker = arg;
    tell(worker->all, &worker->all->idle);
}

static void on_drain(struct message *message)
{
    struct worker *worker = CONTAINER_OF(message, struct worker, drain);
    http_loop_drain(worker->http, worker->all->handed_on, on_idle, worker);
}

static bool admin_checks(void *arg, struct out *out)
{
    const struct workers *all = arg;
    return upstreams_write_checks(all->workers[0].duty->tenure->site->upstreams, out);
}

static bool admin_ready(void *arg)
{
    const struct workers *all = arg;
    return all->hooks.ready(all->hooks.arg);
}

static void admin_drain(void *arg)
{
    const struct workers *all = arg;
    all->hooks.drain(all->hooks.arg);
}

static void start_admin(struct worker *worker)
{
    struct workers *all = worker->all;
    const struct http_admin admin = {
        .ready = admin_ready, .drain = admin_drain, .arg = all, .checks = admin_checks};
    const char *error = NULL;
    if (!http_admin_start(worker->http, &admin, &error))
        all->admin_error = error;
}

/* Until the loop is stopped; between two turns, what has retired is taken apart. */
static void run(struct worker *worker)
{
    while (!loop_stopping(worker->loop)) {
        loop_run(worker->loop);
        while (worker->ending != NULL) {
            struct duty *duty = worker->ending;
            worker->ending = duty->next_ending;
            duty_end(duty);
            tell(worker->all, &duty->tenure->ended);
        }
    }
}

static void count_turn(void *arg, uint64_t us)
{
    series_observe(arg, us);
}

/* What this loop does is counted as worker->index's, whatever site it serves. */
static void begin_counting(struct worker *worker)
{
    char digits[PUT_NUMBER];
    char *end = put_number(digits, worker->index);
    const struct str labels[] = {{digits, (size_t)(end - digits)}};
    metrics_attach(worker->all->newest->site->metrics, worker->index);
    loop_watch(worker->loop, count_turn, metric_series(METRIC_LOOP_LAG, labels, COUNT(labels)));
}

/* What was recorded last, as far as the collector takes it before long. */
static void send_traces(struct worker *worker)
{
    uint64_t until_us = clock_us() + SEND_TRACES_MS * 1000;
    while (traces_flush(worker->traces) && clock_us() < until_us)
        loop_turn(worker->loop, SEND_TRACES_MS / 20);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct workers *all = worker->all;
    char name[16];
    snprintf(name, sizeof(name), "gw-loop-%u", worker->index);
    pthread_setname_np(pthread_self(), name);

    crash_loop_begin(worker->index);
    worker->loop = loop_create(worker->index);
    begin_counting(worker);
    worker->traces = traces_create(worker->loop);
    worker->duty = &all->newest->duties[worker->index];
    duty_begin(worker->duty);
    worker->http = http_loop_create(all->newest->site->server, worker->loop);
    if (worker->index == 0)
        start_admin(worker);
    pthread_barrier_wait(&all->started);
    run(worker);
    send_traces(worker);

    pthread_barrier_wait(&all->stopped); /* nobody runs; the main thread stops the offloads */
    pthread_barrier_wait(&all->stopped);
    loop_turn(worker->loop, 0);
    http_loop_destroy(&worker->http);
    traces_serve(worker->traces, NULL, NULL, NULL);
    for (struct tenure *tenure = all->newest; tenure != NULL; tenure = tenure->before)
        duty_end(&tenure->duties[worker->index]);
    pthread_barrier_wait(&all->stopped); /* what they said to each other has been said */
    traces_destroy(&worker->traces);
    loop_destroy(&worker->loop);
    crash_loop_end(worker->index);
    return NULL;
}

/* -- on the main thread -- */

static struct tenure *tenure_create(struct workers *all, struct site *site)
{
    struct tenure *tenure = calloc(1, sizeof(*tenure) + all->count * sizeof(tenure->duties[0]));
    gw_assert(tenure != NULL);
    tenure->all = all;
    tenure->site = site;
    tenure->before = all->newest;
    for (unsigned i = 0; i < all->count; i++)
        tenure->duties[i] = (struct duty){
            .tenure = tenure, .worker = &all->workers[i], .adopt.fn = on_adopt, .end.fn = on_end};
    return tenure;
}

static void stop_pools(struct site *site)
{
    offload_stop(site->names);
    offload_stop(site->disk);
    offload_stop(site->reads);
    offload_stop(site->compute);
    if (site->store != NULL)
        store_stop(site->store);
}

static void *stopper_main(void *arg)
{
    struct tenure *tenure = arg;
    pthread_setname_np(pthread_self(), "gw-retire");
    stop_pools(tenure->site);
    atomic_store(&tenure->stopped, true);
    tenure->all->hooks.wake(tenure->all->hooks.arg);
    return NULL;
}

struct workers *workers_start(struct site *site, const struct workers_hooks *hooks,
                              const char **error_r)
{
    struct workers *all = calloc(1, sizeof(*all) + site->workers * sizeof(all->workers[0]));
    gw_assert(all != NULL);
    all->hooks = *hooks;
    all->count = site->workers;
    all->newest = tenure_create(all, site);
    atomic_store(&all->newest->adopted, all->count);
    pthread_barrier_init(&all->started, NULL, all->count + 1);
    pthread_barrier_init(&all->stopped, NULL, all->count + 1);
    for (unsigned i = 0; i < all->count; i++) {
        struct worker *worker = &all->workers[i];
        *worker = (struct worker){.all = all, .index = i, .drain.fn = on_drain};
        int failed = pthread_create(&worker->thread, NULL, worker_main, worker);
        gw_assert(failed == 0);
    }
    pthread_barrier_wait(&all->started);
    *error_r = all->admin_error;
    return all;
}

struct site *workers_site(const struct workers *all)
{
    return all->newest->site;
}

void workers_adopt(struct workers *all, struct site *site)
{
    gw_assert(site->workers == all->count && workers_adopted(all));
    site_follow(site, all->newest->site);
    all->newest->stage = WAITS_FOR_REQUESTS;
    struct tenure *tenure = all->newest = tenure_create(all, site);
    for (unsigned i = 0; i < all->count; i++)
        loop_post(all->workers[i].loop, &tenure->duties[i].adopt);
}

bool workers_adopted(const struct workers *all)
{
    return atomic_load(&all->newest->adopted) == all->count;
}

unsigned workers_sites(const struct workers *all)
{
    unsigned count = 0;
    for (const struct tenure *tenure = all->newest; tenure != NULL; tenure = tenure->before)
        count++;
    return count;
}

/* One step, or none. True: it is over, and can be freed. */
static bool move_on(struct tenure *tenure)
{
    struct workers *all = tenure->all;
    switch (tenure->stage) {
    case SERVES:
        break;
    case WAITS_FOR_REQUESTS:
        if (atomic_load(&tenure->over) == all->count &&
            pthread_create(&tenure->stopper, NULL, stopper_main, tenure) == 0)
            tenure->stage = STOPS_POOLS; /* no thread to be had: at the next look */
        break;
    case STOPS_POOLS:
        if (!atomic_load(&tenure->stopped))
            break;
        pthread_join(tenure->stopper, NULL);
        tenure->stage = ENDS_DUTIES;
        for (unsigned i = 0; i < all->count; i++)
            loop_post(all->workers[i].loop, &tenure->duties[i].end);
        break;
    case ENDS_DUTIES:
        return atomic_load(&tenure->ended) == all->count;
    }
    return false;
}

void workers_look(struct workers *all)
{
    for (struct tenure **at = &all->newest; *at != NULL;) {
        struct tenure *tenure = *at;
        if (!move_on(tenure)) {
            at = &tenure->before;
            continue;
        }
        *at = tenure->before;
        site_destroy(&tenure->site);
        free(tenure);
    }
}

void workers_post_first(struct workers *all, struct message *message)
{
    loop_post(all->workers[0].loop, message);
}

size_t workers_sockets(const struct workers *all, int *fds_r, size_t most)
{
    return http_sockets(all->newest->site->server, all->workers[0].http, fds_r, most);
}

void workers_drain(struct workers *all, bool handed_on)
{
    all->handed_on = handed_on;
    if (handed_on)
        http_sockets_handed_on(all->newest->site->server, all->workers[0].http);
    for (unsigned i = 0; i < all->count; i++)
        loop_post(all->workers[i].loop, &all->workers[i].drain);
}

bool workers_idle(const struct workers *all)
{
    return atomic_load(&all->idle) == all->count;
}

void workers_stop(struct workers **all_p)
{
    struct workers *all = *all_p;
    *all_p = NULL;
    for (unsigned i = 0; i < all->count; i++)
        loop_stop(all->workers[i].loop);
    pthread_barrier_wait(&all->stopped);
    for (struct tenure *tenure = all->newest; tenure != NULL; tenure = tenure->before) {
        if (tenure->stage == STOPS_POOLS)
            pthread_join(tenure->stopper, NULL);
        stop_pools(tenure->site);
    }
    pthread_barrier_wait(&all->stopped);
    pthread_barrier_wait(&all->stopped);
    for (unsigned i = 0; i < all->count; i++)
        pthread_join(all->workers[i].thread, NULL);
    pthread_barrier_destroy(&all->started);
    pthread_barrier_destroy(&all->stopped);
    files_loops_ended();
    while (all->newest != NULL) {
        struct tenure *tenure = all->newest;
        all->newest = tenure->before;
        site_destroy(&tenure->site);
        free(tenure);
    }
    free(all);
}
