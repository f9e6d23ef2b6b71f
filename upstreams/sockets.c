/* curl's sockets. They stand in a private epoll set, whose descriptor is one socket of the loop. A
 * socket that curl lets go of is one of three:
 *
 *   idle     between two requests. It stays in the set; when it is or becomes readable, its
 *            connection ends: what comes there is nobody's answer.
 *   held     its transfer is paused (stream.c). It leaves the set: whatever comes waits.
 *   closed   or about to be. It leaves the set.
 *
 * curl doesn't say which: what is known of the transfer tells it. */
#include "upstreams/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <h2o/memory.h>

enum { EVENTS = 256 };

/* What curl wants of a descriptor and what the epoll set was told; CURL_POLL_IN and _OUT. */
struct watch {
    struct lane *lane;
    uint8_t wanted, armed;
    bool is_counted;         /* in lane.sockets */
    struct attempt *held_by; /* wanted for nothing, but in use: its transfer is paused */
};

#ifndef __clang__ /* gcc 12's analyzer takes the grown array for leaked where its elements are set \
                   */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif
static struct watch *watch_of(struct up_client *client, int fd)
{
    if ((size_t)fd >= client->watch_capacity) {
        size_t capacity = client->watch_capacity ? client->watch_capacity : 64;
        while (capacity <= (size_t)fd)
            capacity *= 2;
        client->watches = h2o_mem_realloc(client->watches, capacity * sizeof(struct watch));
        memset(client->watches + client->watch_capacity, 0,
               (capacity - client->watch_capacity) * sizeof(struct watch));
        client->watch_capacity = capacity;
    }
    return &client->watches[fd];
}

static void disarm(struct up_client *client, int fd)
{
    epoll_ctl(client->epoll, EPOLL_CTL_DEL, fd, NULL); /* nothing when it isn't ours */
    watch_of(client, fd)->armed = 0;
}

/* A connection that nobody uses is readable: the upstream closed it, or sent what nobody asked for.
 * That would become the next call's answer, since curl takes any connection for good that isn't at
 * its end. So it gets an end: the descriptor becomes that of a socket whose peer is gone, until
 * curl looks at it next and closes it. */
static void end_idle(struct up_client *client, int fd)
{
    disarm(client, fd);
    gw_assert(dup3(client->ended, fd, O_CLOEXEC) == fd);
}

/* Bytes, or an end of file. */
static bool is_readable(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

/* Only then may a connection that curl lets go of be one that it keeps. One that was still being
 * made, curl has closed before it says so (cf_socket_close() in its cf-socket.c), and the number
 * may be another thread's by now. */
static bool has_answer(CURL *easy)
{
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status != 0;
}

static void arm(struct up_client *client, int fd, uint8_t what)
{
    struct watch *watch = watch_of(client, fd);
    struct epoll_event event = {.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) |
                                          (what & CURL_POLL_OUT ? EPOLLOUT : 0u),
                                .data.fd = fd};
    if (watch->armed == what)
        return;
    int op = watch->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    watch->armed = epoll_ctl(client->epoll, op, fd, &event) == 0 ? what : 0;
}

/* Nobody uses the connection. It is looked at now, not when epoll tells: a call may take it in this
 * very turn, and of an answer curl reads no byte more than it was told to expect. Writability must
 * not stay armed: an idle socket is always writable. */
static void watch_idle(struct up_client *client, int fd)
{
    if (is_readable(fd))
        end_idle(client, fd);
    else
        arm(client, fd, CURL_POLL_IN);
}

/* The streamed call's attempt whose transfer it is; or NULL. */
static struct attempt *streamed_by(CURL *easy)
{
    struct handle *handle = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&handle);
    struct attempt *attempt = handle->attempt;
    return attempt != NULL && attempt->call->stream != NULL && attempt->step == ATTEMPT_IN_FLIGHT
               ? attempt
               : NULL;
}

int sockets_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    (void)unused;
    struct lane *lane = arg;
    struct watch *watch = watch_of(lane->client, fd);
    struct attempt *streamed = lane->streaming != 0 ? streamed_by(easy) : NULL;
    bool is_paused = streamed != NULL && stream_watched(streamed, fd, what);
    watch->lane = lane;
    watch->wanted = what == CURL_POLL_REMOVE ? 0 : (uint8_t)what;
    watch->held_by = watch->wanted == 0 && is_paused ? streamed : NULL;
    if (watch->wanted != 0)
        arm(lane->client, fd, watch->wanted);
    else if (is_paused || !has_answer(easy))
        disarm(lane->client, fd);
    else
        watch_idle(lane->client, fd);
    return 0;
}

/* curl lets go of a socket when its transfer is paused, and says no more of it when the transfer
 * then ends without reading on. */
void sockets_adopt(struct lane *lane, struct attempt *attempt)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(attempt->handle->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (fd == CURL_SOCKET_BAD || watch_of(lane->client, fd)->held_by != attempt)
        return; /* closed, or known, or another transfer's by now */
    watch_of(lane->client, fd)->held_by = NULL;
    watch_idle(lane->client, fd);
}

void sockets_opened(struct lane *lane, curl_socket_t fd)
{
    *watch_of(lane->client, fd) = (struct watch){.lane = lane, .is_counted = true};
    count_here(&lane->sockets, 1);
}

int sockets_close_one(void *arg, curl_socket_t fd)
{
    struct up_client *client = arg;
    const struct watch *watch = watch_of(client, fd);
    if (watch->is_counted)
        count_here(&watch->lane->sockets, -1);
    *watch_of(client, fd) = (struct watch){0}; /* close() takes it out of the epoll set */
    return close(fd);
}

static void on_events(h2o_socket_t *socket, const char *error)
{
    (void)error;
    struct up_client *client = socket->data;
    struct epoll_event events[EVENTS];
    int n = epoll_wait(client->epoll, events, EVENTS, 0);
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd, running;
        uint32_t seen = events[i].events;
        struct watch *watch = watch_of(client, fd);
        if (watch->wanted == 0) {
            if (watch->held_by == NULL) /* else paused by what came before in this turn */
                end_idle(client, fd);
            continue;
        }
        struct lane *lane = watch->lane;
        /* Told of something to read, curl reads, paused or not. */
        uint32_t reads = watch->wanted & CURL_POLL_IN ? EPOLLIN | EPOLLHUP : 0;
        uint32_t writes = reads ? EPOLLOUT : EPOLLOUT | EPOLLHUP;
        curl_multi_socket_action(lane->multi, fd,
                                 (seen & reads ? CURL_CSELECT_IN : 0) |
                                     (seen & writes ? CURL_CSELECT_OUT : 0) |
                                     (seen & EPOLLERR ? CURL_CSELECT_ERR : 0),
                                 &running);
        lane_defer(lane);
    }
}

void sockets_open(struct up_client *client)
{
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    gw_assert(client->epoll >= 0);
    int pair[2];
    gw_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    close(pair[1]);
    client->ended = pair[0];
    client->epoll_socket =
        h2o_evloop_socket_create(loop_h2o(client->loop), client->epoll, H2O_SOCKET_FLAG_DONT_READ);
    client->epoll_socket->data = client;
    h2o_socket_read_start(client->epoll_socket, on_events);
}

void sockets_close(struct up_client *client)
{
    close(client->ended);
    h2o_socket_close(client->epoll_socket); /* closes the epoll set too */
    free(client->watches);
}
