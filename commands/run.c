/* gateway run: serves a configuration, and waits for what an operator wants of it. SIGTERM and
 * SIGINT (or POST /drain) drain, a second one stops now; SIGHUP (or POST /reload) reads the
 * configuration again; SIGUSR1 opens the access log's file again; SIGUSR2 starts the binary anew
 * and hands over to it. */
#include <errno.h>
#include <malloc.h>
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
#include "commands/commands.h"
#include "commands/operate.h"
#include "commands/reload.h"
#include "commands/upgrade.h"
#include "commands/watch.h"
#include "commands/workers.h"
#include "http/inherit.h"
#include "observe/metrics.h"

struct gateway {
    struct workers *workers;
    struct reload *reload;
    struct watch *watch; /* NULL: nobody watches the files */
    struct upgrade *upgrade;
    bool handed_on; /* a new process serves */
    int signals;
    int wake; /* eventfd: something happened on another thread, main thread look */
    _Atomic bool ready, drain_asked;
};

/* -- any thread -- */

static void wake_main(void *arg)
{
    struct gateway *gateway = arg;
    uint64_t one = 1;
    ssize_t n = write(gateway->wake, &one, sizeof(one));
    (void)n; /* full only when the main thread is awake anyway */
}

static bool is_ready(void *arg)
{
    struct gateway *gateway = arg;
    return atomic_load(&gateway->ready);
}

static void ask_drain(void *arg)
{
    struct gateway *gateway = arg;
    atomic_store(&gateway->drain_asked, true);
    wake_main(gateway);
}

/* -- on the main thread -- */

static void reopen_log(struct gateway *gateway)
{
    if (access_log_reopen(workers_site(gateway->workers)->access))
        log_event(LOG_INFO, "access log reopened", "%s", "");
    else
        log_event(LOG_ERROR, "access log not reopened: the old file is written on", "why=%s",
                  log_quote(str_from(strerrordesc_np(errno))));
}

static void begin_upgrade(struct gateway *gateway)
{
    enum { MOST = 4096 };
    if (!atomic_load(&gateway->ready))
        return; /* it is about to end */
    int *sockets = calloc(MOST, sizeof(*sockets));
    gw_assert(sockets != NULL);
    upgrade_begin(gateway->upgrade, sockets, workers_sockets(gateway->workers, sockets, MOST));
    free(sockets);
}

/* The number of a signal to end, 0 = none. */
static int take_signal(struct gateway *gateway)
{
    struct signalfd_siginfo info;
    if (read(gateway->signals, &info, sizeof(info)) != sizeof(info))
        return 0;
    switch (info.ssi_signo) {
    case SIGUSR1:
        reopen_log(gateway);
        return 0;
    case SIGHUP:
        reload_ask(gateway->reload, "signal");
        return 0;
    case SIGUSR2:
        begin_upgrade(gateway);
        return 0;
    default:
        return (int)info.ssi_signo;
    }
}

/* Waits until a signal to end came (its number), or something else happened (0), or the time is
 * over (-1). timeout_ms -1 = for ever. */
static int wait_event(struct gateway *gateway, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = gateway->signals, .events = POLLIN},
                           {.fd = gateway->wake, .events = POLLIN},
                           {.fd = watch_fd(gateway->watch), .events = POLLIN},
                           {.fd = upgrade_fd(gateway->upgrade), .events = POLLIN}};
    int settling_ms = watch_settling_ms(gateway->watch);
    bool settles = settling_ms >= 0 && (timeout_ms < 0 || settling_ms < timeout_ms);
    int n = poll(fds, COUNT(fds), settles ? settling_ms : timeout_ms);
    uint64_t count;
    if (n == 0 && !settles)
        return -1;
    if (n > 0 && fds[2].revents != 0)
        watch_read(gateway->watch);
    if (n > 0 && fds[3].revents != 0)
        gateway->handed_on |= upgrade_read(gateway->upgrade);
    if (watch_settled(gateway->watch))
        reload_ask(gateway->reload, "files changed");
    if (n > 0 && fds[1].revents != 0 && read(gateway->wake, &count, sizeof(count)) < 0)
        gw_assert(errno == EAGAIN || errno == EINTR);
    workers_look(gateway->workers);
    return n > 0 && fds[0].revents != 0 ? take_signal(gateway) : 0;
}

/* Until the time is over, or `over` says so: 0. Else the number of the signal that came. */
static int wait_until(struct gateway *gateway, uint64_t ms, bool (*over)(const struct workers *))
{
    uint64_t end_us = clock_us() + ms * 1000;
    while (over == NULL || !over(gateway->workers)) {
        uint64_t now_us = clock_us();
        if (now_us >= end_us)
            return -1;
        int signal = wait_event(gateway, (int)((end_us - now_us) / 1000) + 1);
        if (signal > 0)
            return signal;
    }
    return 0;
}

static void drain(struct gateway *gateway, const char *reason)
{
    const struct config_server *server = &workers_site(gateway->workers)->config->server;
    atomic_store(&gateway->ready, false);
    reload_end(gateway->reload);
    log_event(LOG_INFO, "draining", "reason=%s delay_ms=%llu timeout_ms=%llu",
              log_quote(str_from(reason)), (unsigned long long)server->drain_delay_ms,
              (unsigned long long)server->drain_timeout_ms);
    /* Who sends us requests is to notice that we aren't ready before we refuse any. */
    int signal = 0;
    if (!gateway->handed_on)
        signal = wait_until(gateway, server->drain_delay_ms, NULL);
    if (signal <= 0) {
        workers_drain(gateway->workers, gateway->handed_on);
        signal = wait_until(gateway, server->drain_timeout_ms, workers_idle);
    }
    if (signal != 0)
        log_event(LOG_WARN, "stopped with requests under way", "reason=%s",
                  signal > 0 ? "signal" : "timeout");
}

static void serve(struct gateway *gateway)
{
    int signal = 0;
    while (signal <= 0 && !gateway->handed_on && !atomic_load(&gateway->drain_asked)) {
        signal = wait_event(gateway, -1);
        reload_look(gateway->reload);
    }
    if (!gateway->handed_on)
        upgrade_notify("STOPPING=1");
    drain(gateway, signal > 0 ? strsignal(signal) : gateway->handed_on ? "upgraded" : "control");
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
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT(signals); i++)
        sigaddset(&set, signals[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Takes over the site. */
static int run(struct site *site, bool watches)
{
    struct gateway gateway = {.signals = take_signals(),
                              .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    const struct workers_hooks hooks = {
        .wake = wake_main, .ready = is_ready, .drain = ask_drain, .arg = &gateway};
    const char *error = NULL;
    int code = COMMAND_DONE;
    gw_assert(gateway.signals >= 0 && gateway.wake >= 0);
    crash_setup(gateway_version);
    raise_file_limit();
    keep_freed_memory();
    inherit_sockets();
    gateway.upgrade = upgrade_create();

    if (!http_server_listen(site->server, site->workers, NULL, &error)) {
        fprintf(stderr, "gateway: %s\n", error);
        site_destroy(&site);
        code = COMMAND_NO_ADDRESS;
        goto out;
    }
    if (watches)
        gateway.watch = watch_create(site->config);
    log_take_stderr();
    gateway.reload = reload_create(wake_main, &gateway);
    reload_prepare(gateway.reload, site);
    metrics_config_loaded(site->metrics, true);
    gateway.workers = workers_start(site, &hooks, &error);
    reload_start(gateway.reload, gateway.workers);
    inherit_close_rest();
    if (error != NULL) {
        dprintf(STDERR_FILENO, "gateway: %s\n", error);
        code = COMMAND_NO_ADDRESS;
    } else {
        atomic_store(&gateway.ready, true);
        log_event(LOG_INFO, "ready", "workers=%u pages=%zu upstreams=%zu", site->workers,
                  site->config->page_count, site->config->upstream_count);
        upgrade_tell_ready();
        serve(&gateway);
    }
    workers_stop(&gateway.workers);
    reload_destroy(&gateway.reload);
    watch_destroy(&gateway.watch);
    log_event(LOG_INFO, "stopped", "%s", "");
out:
    upgrade_destroy(&gateway.upgrade);
    close(gateway.wake);
    close(gateway.signals);
    return code;
}

static const char run_usage[] =
    "Usage: gateway run [-c FILE] [--watch]\n"
    "\n"
    "Serves the pages of the configuration until SIGTERM or SIGINT, which let requests\n"
    "under way finish (a second signal stops at once). SIGHUP reads the configuration\n"
    "again, and keeps the old one when there are errors. Exits with 69 when an address\n"
    "isn't available, with 78 when the configuration has errors.\n"
    "\n"
    "  -c, --config FILE  the configuration (default: " DEFAULT_CONFIG_FILE ")\n"
    "      --watch        read it again whenever it or a template changes (for development)\n";

int command_run(int argc, char **argv)
{
    const char *file = DEFAULT_CONFIG_FILE;
    bool watches = false;
    const struct command_option options[] = {
        {.name = "config", .letter = 'c', .value_r = &file},
        {.name = "watch", .flag_r = &watches},
    };
    const struct command_line line = {
        .usage = run_usage, .options = options, .option_count = COUNT(options)};
    int code;
    if (!command_arguments(argc, argv, &line, &code))
        return code;
    struct site *site = site_open(file, true);
    if (site == NULL)
        return COMMAND_BAD_CONFIG;
    log_setup((enum log_level)site->config->log.level, (enum log_format)site->config->log.format);
    return run(site, watches);
}
