/* Listening sockets. A TCP address is opened once for each loop with SO_REUSEPORT, so the kernel
 * spreads connections and loops share nothing; a unix socket is opened once and every loop polls a
 * duplicate of it.
 *
 * Accepting never spins: out of descriptors, or at max_connections, the loop looks away from the
 * socket for a moment; the backlog waits in the kernel. */
#include "http/http_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "http/inherit.h"

enum {
    BACKLOG = 4096,
    ACCEPTS_A_TURN = 64,
    RETRY_MS = 50,
    COMPLAIN_EVERY_MS = 10000,
    MAX_ADMIN_CONNECTIONS = 128
};

static int open_socket(const struct address *address)
{
    return socket(address->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static bool set(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on)) == 0;
}

/* The first socket is bound without SO_REUSEPORT, so that an address which somebody else has, even
 * with SO_REUSEPORT, is in use; the flag is set afterwards to let the other loops' sockets join. */
static int open_tcp(struct address *address, bool first)
{
    int fd = open_socket(address);
    if (fd < 0)
        return -1;
    if (!set(fd, SOL_SOCKET, SO_REUSEADDR) || !set(fd, IPPROTO_TCP, TCP_NODELAY) ||
        (address->sa.any.sa_family == AF_INET6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY)) ||
        (!first && !set(fd, SOL_SOCKET, SO_REUSEPORT)) ||
        bind(fd, &address->sa.any, address->length) != 0 ||
        (first && !set(fd, SOL_SOCKET, SO_REUSEPORT)) || listen(fd, BACKLOG) != 0)
        goto fail;
    socklen_t length = sizeof(address->sa);
    if (getsockname(fd, &address->sa.any, &length) != 0) /* port 0 became a port */
        goto fail;
    return fd;
fail:;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A socket file that nobody answers on is left over from a process that is gone. */
static bool remove_stale(const struct address *address)
{
    struct stat st;
    const char *path = address->sa.local.sun_path;
    if (lstat(path, &st) != 0)
        return errno == ENOENT;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return false;
    }
    int fd = open_socket(address);
    if (fd < 0)
        return false;
    int error = connect(fd, &address->sa.any, address->length) == 0 ? EADDRINUSE : errno;
    close(fd);
    if (error == ECONNREFUSED)
        return unlink(path) == 0;
    errno = error == EAGAIN ? EADDRINUSE : error; /* a full backlog is somebody's too */
    return false;
}

static int open_local(const struct address *address, unsigned mode)
{
    if (!remove_stale(address))
        return -1;
    int fd = open_socket(address);
    if (fd < 0)
        return -1;
    /* Before bind(): the file never has wider rights than it ends up with. */
    if (fchmod(fd, mode) != 0 || bind(fd, &address->sa.any, address->length) != 0)
        goto fail;
    if (chmod(address->sa.local.sun_path, mode) != 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        unlink(address->sa.local.sun_path);
        errno = error;
        goto fail;
    }
    return fd;
fail:;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void add_socket(struct listener *listener, int fd)
{
    listener->fds =
        h2o_mem_realloc(listener->fds, (listener->fd_count + 1) * sizeof(*listener->fds));
    listener->fds[listener->fd_count++] = fd;
}

static bool shares_port(int fd)
{
    int on = 0;
    socklen_t size = sizeof(on);
    return getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &size) == 0 && on != 0;
}

/* The next of a listener's sockets, or one more descriptor of the first. */
static int open_next(struct listener *listener, unsigned mode, bool one_socket)
{
    bool first = listener->fd_count == 0;
    if (!first && one_socket)
        return fcntl(listener->fds[0], F_DUPFD_CLOEXEC, 0);
    if (listener->address.sa.any.sa_family == AF_UNIX)
        return open_local(&listener->address, mode);
    return open_tcp(&listener->address, first);
}

bool listener_open(struct listener *listener, const struct address *address, unsigned loops,
                   unsigned mode, char *error, size_t error_size)
{
    char text[ADDRESS_TEXT_MAX];
    bool one_socket = address->sa.any.sa_family == AF_UNIX;
    *listener = (struct listener){.wanted = *address, .address = *address, .loops = loops};
    for (int fd; (fd = inherit_take(address)) >= 0;)
        add_socket(listener, fd);
    unsigned inherited = listener->fd_count;
    if (inherited != 0)
        one_socket = !shares_port(listener->fds[0]);
    while (listener->fd_count < loops) {
        int fd = open_next(listener, mode, one_socket);
        if (fd >= 0) {
            add_socket(listener, fd);
            continue;
        }
        int reason = errno;
        address_print(address, text);
        snprintf(error, error_size, "can't listen on %s: %s", text, strerror(reason));
        if (listener->fd_count == 0)
            listener->address.length = 0; /* not ours to remove */
        listener_close(listener);
        errno = reason;
        return false;
    }
    listener->socket_count = !one_socket ? listener->fd_count : inherited != 0 ? inherited : 1;
    listener->sockets = h2o_mem_alloc(listener->socket_count * sizeof(*listener->sockets));
    memcpy(listener->sockets, listener->fds, listener->socket_count * sizeof(*listener->sockets));
    address_print(&listener->address, text);
    log_event(LOG_INFO, "listening", "address=%s%s%s", log_quote(str_from(text)),
              inherited != 0 ? " inherited=true" : "", address->tls ? " tls=true" : "");
    return true;
}

void listener_close(struct listener *listener)
{
    for (unsigned i = 0; i < listener->fd_count; i++)
        if (listener->fds[i] >= 0)
            close(listener->fds[i]);
    free(listener->fds);
    free(listener->sockets);
    if (listener->address.length != 0 && listener->address.sa.any.sa_family == AF_UNIX &&
        !listener->handed_on)
        unlink(listener->address.sa.local.sun_path);
    *listener = (struct listener){0};
}

/* -- accepting --------------------------------------------------------------------------------- */

/* Counts the connection in; false when the site is full. */
static bool admit(struct listening *listening)
{
    struct http_loop *http = listening->http;
    if (listening->kind != SITE_MAIN)
        return http->admin_conns < MAX_ADMIN_CONNECTIONS;
    if (atomic_fetch_add_explicit(&guard_connections, 1, memory_order_relaxed) <
        http->server->config->server.max_connections)
        return true;
    atomic_fetch_sub_explicit(&guard_connections, 1, memory_order_relaxed);
    return false;
}

static void dismiss(struct listening *listening)
{
    if (listening->kind == SITE_MAIN)
        atomic_fetch_sub_explicit(&guard_connections, 1, memory_order_relaxed);
}

static void look_away(struct listening *listening, const char *why)
{
    h2o_socket_read_stop(listening->sock);
    timer_start(listening->http->loop, &listening->retry, RETRY_MS);
    uint64_t now_ms = loop_now_ms(listening->http->loop);
    if (listening->complained_ms != 0 && now_ms - listening->complained_ms < COMPLAIN_EVERY_MS)
        return;
    listening->complained_ms = now_ms;
    log_event(LOG_WARN, "not accepting connections for now", "reason=%s", log_quote(str_from(why)));
}

/* Accepts up to `most`; false when nothing more can be had now. */
static bool accept_some(struct listening *listening, unsigned most)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
    } peer;
    int fd = h2o_socket_get_fd(listening->sock);
    while (most-- != 0) {
        socklen_t length = sizeof(peer);
        if (!admit(listening)) {
            look_away(listening, "the limit of connections is reached");
            return false;
        }
        peer.any.sa_family = AF_UNSPEC;
        int client = accept4(fd, &peer.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            dismiss(listening);
            if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO)
                continue;
            if (errno != EAGAIN)
                look_away(listening, strerror(errno));
            return false;
        }
        guard_accept(listening, client, &peer.any);
    }
    return true;
}

static void on_readable(h2o_socket_t *sock, const char *err)
{
    (void)err; /* nothing was read */
    accept_some(sock->data, ACCEPTS_A_TURN);
}

static void retry(struct timer *timer)
{
    struct listening *listening = CONTAINER_OF(timer, struct listening, retry);
    h2o_socket_read_start(listening->sock, on_readable);
}

void listening_start(struct http_loop *http, enum site_kind kind, const struct listener *of, int fd)
{
    struct listening *listening = h2o_mem_alloc(sizeof(*listening));
    *listening = (struct listening){.http = http,
                                    .kind = kind,
                                    .of = of,
                                    .tls = of != NULL && of->wanted.tls,
                                    .next = http->listening};
    http->listening = listening;
    timer_init(&listening->retry, retry);
    listening->sock = h2o_evloop_socket_create(loop_h2o(http->loop), fd, H2O_SOCKET_FLAG_DONT_READ);
    listening->sock->data = listening;
    h2o_socket_read_start(listening->sock, on_readable);
}

void listening_stop(struct listening *listening)
{
    if (listening->sock != NULL)
        accept_some(listening, BACKLOG);
    listening_abandon(listening);
}

void listening_abandon(struct listening *listening)
{
    if (listening->sock == NULL)
        return;
    timer_stop(listening->http->loop, &listening->retry);
    h2o_socket_close(listening->sock);
    listening->sock = NULL;
}
