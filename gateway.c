/* gateway: picks the command; `run` is here. It starts one thread a loop, wires what the loops
 * need, and then waits for signals: SIGTERM and SIGINT drain, a second one stops now; SIGUSR1 opens
 * the access log's file again.
 *
 * Who may touch what: the site is read-only once the loops run. Each worker owns its loop, its
 * upstream client and its listeners, and makes and destroys them on its own thread. The main thread
 * talks to them by loop_post(), they to it by one eventfd. Leaving is in three steps, so that
 * nobody posts to a loop that is gone: every loop ends its run; the offload pools are stopped;
 * every worker takes what was still posted to it and then cleans up. */
#include <errno.h>
#include <malloc.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "base/crash.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/put.h"
#include "commands/commands.h"
#include "commands/operate.h"
#include "commands/site.h"
#include "observe/metrics.h"

struct worker {
    struct gateway *gateway; /* borrowed */
    unsigned index;
    pthread_t thread;
    struct loop *loop; /* owned by its thread, as is what follows */
    struct up_client *client;
    struct cache_client *cache;
    struct http_loop *http;
    struct message drain;
};

struct gateway {
    struct site *site;
    struct worker *workers;
    unsigned worker_count;
    int wake; /* eventfd: something below changed, main thread look */
    pthread_barrier_t started, stopped;
    _Atomic unsigned idle; /* workers that have drained */
    _Atomic bool ready, drain_asked;
    const char *admin_error; /* NULL = none; written before `started` */
};

static void wake_main(struct gateway *gateway)
{
    uint64_t one = 1;
    ssize_t n = write(gateway->wake, &one, sizeof(one));
    (void)n; /* full only when the main thread is awake anyway */
}

/* -- on a worker's thread -- */

static void worker_idle(void *arg)
{
    struct worker *worker = arg;
    atomic_fetch_add(&worker->gateway->idle, 1);
    wake_main(worker->gateway);
}

static void worker_drain(struct message *message)
{
    struct worker *worker = CONTAINER_OF(message, struct worker, drain);
    http_loop_drain(worker->http, worker_idle, worker);
}

static bool admin_ready(void *arg)
{
    struct gateway *gateway = arg;
    return atomic_load(&gateway->ready);
}

static bool admin_checks(void *arg, struct out *out)
{
    struct gateway *gateway = arg;
    return upstreams_write_checks(gateway->site->upstreams, out);
}

static void admin_drain(void *arg)
{
    struct gateway *gateway = arg;
    atomic_store(&gateway->drain_asked, true);
    wake_main(gateway);
}

static void count_turn(void *arg, uint64_t us)
{
    series_observe(arg, us);
}

/* What this loop does is counted as worker->index's. */
static void begin_counting(struct worker *worker)
{
    char digits[PUT_NUMBER];
    char *end = put_number(digits, worker->index);
    const struct str labels[] = {{digits, (size_t)(end - digits)}};
    metrics_attach(worker->gateway->site->metrics, worker->index);
    loop_watch(worker->loop, count_turn, metric_series(METRIC_LOOP_LAG, labels, COUNT(labels)));
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct gateway *gateway = worker->gateway;
    struct site *site = gateway->site;
    char name[16];
    snprintf(name, sizeof(name), "gw-loop-%u", worker->index);
    pthread_setname_np(pthread_self(), name);

    crash_loop_begin(worker->index);
    worker->loop = loop_create(worker->index);
    begin_counting(worker);
    worker->client = up_client_create(site->upstreams, worker->loop, site->names);
    worker->cache = cache_client_create(site->cache, worker->client, worker->loop);
    pages_set_client(site->pages, worker->loop, worker->client, worker->cache);
    routing_set_client(site->routing, worker->loop, worker->client, worker->cache);
    certificates_set_client(site->certificates, worker->loop, worker->client);
    files_loop_start(site->files, worker->loop);
    worker->http = http_loop_create(site->server, worker->loop);
    if (worker->index == 0) {
        const struct http_admin admin = {
            .ready = admin_ready, .drain = admin_drain, .arg = gateway, .checks = admin_checks};
        const char *error = NULL;
        if (!http_admin_start(worker->http, &admin, &error))
            gateway->admin_error = error;
    }
    pthread_barrier_wait(&gateway->started);
    loop_run(worker->loop);

    pthread_barrier_wait(&gateway->stopped); /* nobody runs; the main thread stops the offloads */
    pthread_barrier_wait(&gateway->stopped);
    loop_turn(worker->loop, 0);
    http_loop_destroy(&worker->http);
    files_loop_stop(site->files, worker->loop);
    certificates_set_client(site->certificates, worker->loop, NULL);
    routing_set_client(site->routing, worker->loop, NULL, NULL);
    pages_set_client(site->pages, worker->loop, NULL, NULL);
    cache_client_destroy(&worker->cache);
    up_client_destroy(&worker->client);
    pthread_barrier_wait(&gateway->stopped); /* what they said to each other has been said */
    loop_destroy(&worker->loop);
    crash_loop_end(worker->index);
    return NULL;
}

/* -- on the main thread -- */

static void start_workers(struct gateway *gateway)
{
    pthread_barrier_init(&gateway->started, NULL, gateway->worker_count + 1);
    pthread_barrier_init(&gateway->stopped, NULL, gateway->worker_count + 1);
    for (unsigned i = 0; i < gateway->worker_count; i++) {
        struct worker *worker = &gateway->workers[i];
        *worker = (struct worker){.gateway = gateway, .index = i, .drain.fn = worker_drain};
        int failed = pthread_create(&worker->thread, NULL, worker_main, worker);
        gw_assert(failed == 0);
    }
    pthread_barrier_wait(&gateway->started);
}

static void stop_workers(struct gateway *gateway)
{
    for (unsigned i = 0; i < gateway->worker_count; i++)
        loop_stop(gateway->workers[i].loop);
    pthread_barrier_wait(&gateway->stopped);
    offload_stop(gateway->site->names);
    offload_stop(gateway->site->disk);
    offload_stop(gateway->site->reads);
    offload_stop(gateway->site->compute);
    if (gateway->site->store != NULL)
        store_stop(gateway->site->store);
    pthread_barrier_wait(&gateway->stopped);
    pthread_barrier_wait(&gateway->stopped);
    for (unsigned i = 0; i < gateway->worker_count; i++)
        pthread_join(gateway->workers[i].thread, NULL);
    pthread_barrier_destroy(&gateway->started);
    pthread_barrier_destroy(&gateway->stopped);
}

/* SIGUSR1: the access log's file was renamed. */
static void reopen_log(struct gateway *gateway)
{
    if (access_log_reopen(gateway->site->access))
        log_event(LOG_INFO, "access log reopened", "%s", "");
    else
        log_event(LOG_ERROR, "access log not reopened: the old file is written on", "why=%s",
                  log_quote(str_from(strerrordesc_np(errno))));
}

/* Waits until a signal to end came (its number), or something else woke the main thread (0), or the
 * time is over (-1). timeout_ms -1 = for ever. */
static int wait_event(struct gateway *gateway, int signals, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                           {.fd = gateway->wake, .events = POLLIN}};
    int n = poll(fds, COUNT(fds), timeout_ms);
    if (n == 0)
        return -1;
    struct signalfd_siginfo info;
    uint64_t count;
    if (n > 0 && fds[0].revents != 0 && read(signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGUSR1)
            return (int)info.ssi_signo;
        reopen_log(gateway);
    }
    if (n > 0 && fds[1].revents != 0 && read(gateway->wake, &count, sizeof(count)) < 0)
        gw_assert(errno == EAGAIN || errno == EINTR);
    return 0;
}

static void serve(struct gateway *gateway, int signals)
{
    const struct config_server *server = &gateway->site->config->server;
    int signal = 0;
    while (signal <= 0 && !atomic_load(&gateway->drain_asked))
        signal = wait_event(gateway, signals, -1);

    atomic_store(&gateway->ready, false);
    log_event(LOG_INFO, "draining", "reason=%s timeout_ms=%llu",
              signal > 0 ? strsignal(signal) : "control",
              (unsigned long long)server->drain_timeout_ms);
    for (unsigned i = 0; i < gateway->worker_count; i++)
        loop_post(gateway->workers[i].loop, &gateway->workers[i].drain);

    uint64_t end_us = clock_us() + server->drain_timeout_ms * 1000;
    while (atomic_load(&gateway->idle) < gateway->worker_count) {
        uint64_t now_us = clock_us();
        int left_ms = now_us < end_us ? (int)((end_us - now_us) / 1000) + 1 : 0;
        signal = wait_event(gateway, signals, left_ms);
        if (signal != 0) {
            log_event(LOG_WARN, "stopped with requests under way", "reason=%s",
                      signal > 0 ? "signal" : "timeout");
            break;
        }
    }
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Bursts of pages come and go: giving their memory back to the kernel after each costs page faults
 * at the next, a tenth of a page's time with 256 pages waiting at once. */
static void keep_freed_memory(void)
{
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
    mallopt(M_TOP_PAD, 256 << 10);
}

/* Before any thread starts, so that all of them inherit it: signals come by descriptor. */
static int take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run(struct site *site)
{
    struct gateway gateway = {.site = site, .worker_count = site->workers};
    const char *error = NULL;
    int code = COMMAND_DONE, signals = take_signals();
    gateway.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    gateway.workers = calloc(gateway.worker_count, sizeof(*gateway.workers));
    gw_assert(signals >= 0 && gateway.wake >= 0 && gateway.workers != NULL);
    crash_setup(gateway_version);
    raise_file_limit();
    keep_freed_memory();

    if (!http_server_listen(site->server, gateway.worker_count, &error)) {
        fprintf(stderr, "gateway: %s\n", error);
        code = COMMAND_NO_ADDRESS;
        goto out;
    }
    log_take_stderr();
    operate_add(site);
    cache_control_add(site->cache, site->server);
    files_start(site->files);
    metrics_config_loaded(site->metrics, true);
    start_workers(&gateway);
    if (gateway.admin_error != NULL) {
        dprintf(STDERR_FILENO, "gateway: %s\n", gateway.admin_error);
        code = COMMAND_NO_ADDRESS;
    } else {
        atomic_store(&gateway.ready, true);
        log_event(LOG_INFO, "ready", "workers=%u pages=%zu upstreams=%zu", gateway.worker_count,
                  site->config->page_count, site->config->upstream_count);
        serve(&gateway, signals);
    }
    stop_workers(&gateway);
    log_event(LOG_INFO, "stopped", "%s", "");
out:
    free(gateway.workers);
    close(gateway.wake);
    close(signals);
    return code;
}

static const char run_usage[] =
    "Usage: gateway run [-c FILE]\n"
    "\n"
    "Serves the pages of the configuration until SIGTERM or SIGINT, which let requests\n"
    "under way finish (a second signal stops at once). Exits with 69 when an address isn't\n"
    "available, with 78 when the configuration has errors.\n"
    "\n"
    "  -c, --config FILE  the configuration (default: " DEFAULT_CONFIG_FILE ")\n";

int command_run(int argc, char **argv)
{
    int code;
    struct site *site = site_open_arguments(argc, argv, run_usage, true, &code);
    if (site == NULL)
        return code;
    log_setup((enum log_level)site->config->log.level, (enum log_format)site->config->log.format);
    code = run(site);
    site_destroy(&site);
    return code;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"run", command_run, "serve the pages of a configuration (what bare `gateway` does)"},
    {"check", command_check, "print every error of a configuration"},
    {"explain", command_explain,
     "show a page's plan, or run it; show what a certificate is made of"},
    {"print-config", command_print_config, "print the effective configuration"},
    {"stub", command_stub, "serve demo upstreams from a small TOML file"},
    {"healthcheck", command_healthcheck, "ask a running gateway whether it is ready"},
    {"sign-url", command_sign_url, "make a link to an upload, a download or a certificate"},
    {"certificate", command_certificate, "list, show, revoke, supersede and preview certificates"},
    {"token", command_token, "make a token for whoever may upload, download or issue"},
    {"keygen", command_keygen, "make a key and a certificate to sign PDFs with"},
    {"version", command_version, "print versions"},
};

static void print_usage(FILE *to)
{
    fputs("Usage: gateway [COMMAND] [OPTIONS]\n\nCommands:\n", to);
    for (size_t i = 0; i < COUNT(commands); i++)
        fprintf(to, "  %-13s %s\n", commands[i].name, commands[i].what);
    fputs("\n`gateway COMMAND --help` tells more.\n", to);
}

static int dispatch(int argc, char **argv)
{
    static char run_name[] = "run";
    const char *names[COUNT(commands)];
    if (argc < 2 || (argv[1][0] == '-' && strcmp(argv[1], "--help") != 0 &&
                     strcmp(argv[1], "-h") != 0 && strcmp(argv[1], "--version") != 0)) {
        argv[0] = run_name; /* options alone are those of `run` */
        return command_run(argc, argv);
    }
    for (size_t i = 0; i < COUNT(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
        names[i] = commands[i].name;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return COMMAND_DONE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return command_version(1, argv);
    const char *nearest = diag_nearest(str_from(argv[1]), names, COUNT(names));
    fprintf(stderr, "gateway: there is no command \"%s\"", argv[1]);
    if (nearest != NULL)
        fprintf(stderr, " (did you mean \"%s\"?)", nearest);
    fputs("\n", stderr);
    print_usage(stderr);
    return COMMAND_USAGE;
}

/* A standard descriptor that is closed would be given to the next socket, and that would be sent
 * our log. */
static void fill_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    return dispatch(argc, argv);
}
