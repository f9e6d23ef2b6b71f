/* Between fork() and execve() only what is safe in a child of a process with threads: everything is
 * prepared before. */
#include "commands/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <h2o/memory.h>
#include "base/log.h"
#include "base/put.h"

enum { FIRST = 3 }; /* of inherited sockets */

#define READY_FD   "GATEWAY_READY_FD"
#define LISTEN_PID "LISTEN_PID="

struct upgrade {
    char path[PATH_MAX]; /* of the binary; "" = unknown */
    char **argv;         /* owned; NULL = unknown */
    pid_t child;
    int news; /* the pipe's end, -1 = none is starting */
};

static void read_arguments(struct upgrade *upgrade)
{
    char *argument = NULL;
    size_t capacity = 0, count = 0;
    FILE *file = fopen("/proc/self/cmdline", "re");
    while (file != NULL && getdelim(&argument, &capacity, '\0', file) > 0) {
        upgrade->argv = h2o_mem_realloc(upgrade->argv, (count + 2) * sizeof(*upgrade->argv));
        upgrade->argv[count++] = strdup(argument);
        upgrade->argv[count] = NULL;
    }
    free(argument);
    if (file != NULL)
        fclose(file);
    if (count == 0)
        upgrade->path[0] = '\0';
}

struct upgrade *upgrade_create(void)
{
    struct upgrade *upgrade = calloc(1, sizeof(*upgrade));
    gw_assert(upgrade != NULL);
    ssize_t n = readlink("/proc/self/exe", upgrade->path, sizeof(upgrade->path) - 1);
    upgrade->path[n > 0 ? n : 0] = '\0';
    upgrade->news = -1;
    read_arguments(upgrade);
    return upgrade;
}

void upgrade_destroy(struct upgrade **upgrade_p)
{
    struct upgrade *upgrade = *upgrade_p;
    *upgrade_p = NULL;
    if (upgrade == NULL)
        return;
    if (upgrade->news >= 0)
        close(upgrade->news);
    for (char **argument = upgrade->argv; argument != NULL && *argument != NULL; argument++)
        free(*argument);
    free(upgrade->argv);
    free(upgrade);
}

/* The environment with what tells of the sockets; `pid` is where the child puts its number. */
static char **make_environment(size_t sockets, int ready_fd, char **pid_r)
{
    static const char *const ours[] = {
        "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", READY_FD "="};
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **all = calloc(count + COUNT(ours) + 1, sizeof(*all));
    gw_assert(all != NULL);
    for (size_t i = 0; i < count; i++) {
        bool is_ours = false;
        for (size_t k = 0; k < COUNT(ours); k++)
            is_ours |= strncmp(environ[i], ours[k], strlen(ours[k])) == 0;
        if (!is_ours)
            all[kept++] = strdup(environ[i]);
    }
    int n = asprintf(&all[kept], LISTEN_PID "%020d", 0);
    *pid_r = all[kept++] + sizeof(LISTEN_PID) - 1;
    n = n < 0 ? n : asprintf(&all[kept++], "LISTEN_FDS=%zu", sockets);
    n = n < 0 ? n : asprintf(&all[kept++], READY_FD "=%d", ready_fd);
    gw_assert(n > 0);
    return all;
}

static void free_environment(char **all)
{
    for (size_t i = 0; all[i] != NULL; i++)
        free(all[i]);
    free(all);
}

/* In the child. copies: the sockets and the pipe's end, moved out of the way of where they go. */
static void become(const struct upgrade *upgrade, int *copies, size_t count, char **environment,
                   char *pid_at)
{
    sigset_t none;
    for (size_t i = 0; i < count; i++)
        copies[i] = fcntl(copies[i], F_DUPFD_CLOEXEC, FIRST + (int)count);
    for (size_t i = 0; i < count; i++)
        if (copies[i] < 0 || dup2(copies[i], FIRST + (int)i) < 0)
            _exit(127);
    *put_number(pid_at, (uint64_t)getpid()) = '\0';
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(upgrade->path, upgrade->argv, environment);
    _exit(127);
}

bool upgrade_begin(struct upgrade *upgrade, const int *sockets, size_t count)
{
    int ends[2];
    char *pid_at;
    if (upgrade->news >= 0)
        return true;
    if (upgrade->path[0] == '\0' || access(upgrade->path, X_OK) != 0 ||
        pipe2(ends, O_CLOEXEC) != 0) {
        log_event(LOG_ERROR, "no upgrade: this binary goes on", "path=%s why=%s",
                  log_quote(str_from(upgrade->path)), log_quote(str_from(strerrordesc_np(errno))));
        return false;
    }
    int *copies = calloc(count + 1, sizeof(*copies));
    gw_assert(copies != NULL);
    memcpy(copies, sockets, count * sizeof(*copies));
    copies[count] = ends[1];
    char **environment = make_environment(count, FIRST + (int)count, &pid_at);
    upgrade->child = fork();
    if (upgrade->child == 0)
        become(upgrade, copies, count + 1, environment, pid_at);
    free_environment(environment);
    free(copies);
    close(ends[1]);
    if (upgrade->child < 0) {
        close(ends[0]);
        log_event(LOG_ERROR, "no upgrade: this binary goes on", "why=%s",
                  log_quote(str_from(strerrordesc_np(errno))));
        return false;
    }
    upgrade->news = ends[0];
    log_event(LOG_INFO, "upgrading: the new binary starts", "path=%s pid=%d sockets=%zu",
              log_quote(str_from(upgrade->path)), (int)upgrade->child, count);
    return true;
}

int upgrade_fd(const struct upgrade *upgrade)
{
    return upgrade->news;
}

bool upgrade_read(struct upgrade *upgrade)
{
    char byte;
    int status = 0;
    bool serves = read(upgrade->news, &byte, 1) == 1;
    close(upgrade->news);
    upgrade->news = -1;
    if (serves)
        return true;
    waitpid(upgrade->child, &status, 0); /* it has closed its end by ending */
    log_event(LOG_ERROR, "the new binary ended before it served: this one goes on", "pid=%d %s=%d",
              (int)upgrade->child, WIFSIGNALED(status) ? "signal" : "exit",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return false;
}

void upgrade_tell_ready(void)
{
    const char *text = getenv(READY_FD);
    char state[64];
    int fd = text != NULL ? atoi(text) : -1;
    unsetenv(READY_FD);
    if (fd > STDERR_FILENO) {
        ssize_t n = write(fd, "1", 1);
        (void)n; /* who started us is gone: then nobody waits */
        close(fd);
    }
    snprintf(state, sizeof(state), "READY=1\nMAINPID=%d", (int)getpid());
    upgrade_notify(state);
}

void upgrade_notify(const char *state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path != NULL ? strlen(path) : 0;
    if (n == 0 || n >= sizeof(to.sun_path) || (*path != '/' && *path != '@'))
        return;
    memcpy(to.sun_path, path, n);
    if (*path == '@') /* an abstract one */
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    (void)sent; /* a manager that has gone away needs no news */
    close(fd);
}
