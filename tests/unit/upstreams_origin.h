/* A small HTTP server inside the tests of upstreams/: a thread a connection, and on demand each
 * fault that no honest server makes. The path chooses what happens; see answer(). */
#ifndef TESTS_UPSTREAMS_ORIGIN_H
#define TESTS_UPSTREAMS_ORIGIN_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>
#include "base/base.h"
#include "base/buf.h"

#define BODY "{\"hello\":\"world\"}"

struct origin {
    int listener;
    int port;
    pthread_t thread;
    _Atomic bool ending;
    _Atomic unsigned connections;     /* accepted so far */
    _Atomic unsigned open;            /* connection threads that run */
    _Atomic unsigned busy, most_busy; /* requests at "/busy" now, at most */
    _Atomic unsigned asked;           /* requests whose head has come */
    _Atomic int health;               /* the status of "/health"; 0 = it doesn't answer */
    const char *_Atomic raw;          /* what "/raw" says, and closes; "/raw-kept" doesn't close */
    const char *_Atomic behind;       /* what "/raw-kept" says 30 ms later; NULL = nothing */
    _Atomic uint64_t sent, taken; /* bytes of "/bytes…" and "/chunks…"; of requests' bodies */
    _Atomic unsigned whole;       /* requests whose body came to its end, empty ones too */
    _Atomic bool shut;            /* bodies of requests for "/gated…" aren't read meanwhile */
    pthread_mutex_t lock;         /* of what follows: what "/script" is, request by request */
    const char *script[8];        /* past the end "/hello" */
    size_t scripted;              /* requests that came */
};

struct visit {
    struct origin *origin;
    int fd;
    unsigned connection;
    uint64_t taken; /* bytes of the request's body, and their CRC-32 */
    unsigned long crc;
};

static inline bool put(int fd, const void *bytes, size_t n)
{
    for (const char *at = bytes; n != 0;) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

static inline bool say(int fd, const char *text)
{
    return put(fd, text, strlen(text));
}

static inline bool say_ok(int fd, const char *headers, const void *body, size_t n)
{
    char head[512];
    snprintf(head, sizeof(head),
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
             headers, n);
    return say(fd, head) && put(fd, body, n);
}

/* Until the peer closes, two seconds at most. */
static inline void wait_for_close(int fd)
{
    char byte;
    struct timeval limit = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    while (recv(fd, &byte, 1, 0) > 0)
        ;
}

static inline void reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static inline bool say_gzip(int fd, const char *bytes, size_t n)
{
    size_t room = n / 2 + 1024;
    unsigned char *packed = malloc(room);
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)bytes,
                  .avail_in = (unsigned)n,
                  .next_out = packed,
                  .avail_out = (unsigned)room};
    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    bool sent = say_ok(fd, "Content-Encoding: gzip\r\n", packed, z.total_out);
    deflateEnd(&z);
    free(packed);
    return sent;
}

/* Byte `at` of every body that is made up. */
static inline void pattern_fill(char *to, uint64_t at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (char)(((at + i) * 2654435761u) >> 13 ^ (at + i) >> 16);
}

/* So many bytes of it; in chunks of all sizes, or as they are. */
static inline bool say_pattern(struct visit *visit, uint64_t n, bool chunked)
{
    char bytes[16 * 1024], size[32];
    for (uint64_t at = 0; at < n;) {
        size_t some = chunked ? (size_t)(at * 7919 % sizeof(bytes)) + 1 : sizeof(bytes);
        some = n - at < some ? (size_t)(n - at) : some;
        pattern_fill(bytes, at, some);
        snprintf(size, sizeof(size), "%zx\r\n", some);
        if ((chunked && !say(visit->fd, size)) || !put(visit->fd, bytes, some) ||
            (chunked && !say(visit->fd, "\r\n")))
            return false;
        at += some;
        atomic_fetch_add(&visit->origin->sent, some);
    }
    return !chunked || say(visit->fd, "0\r\n\r\n");
}

/* Paths, NULL behind the last one. */
static inline void origin_script(struct origin *origin, const char *const *script)
{
    size_t n = 0;
    pthread_mutex_lock(&origin->lock);
    memset(origin->script, 0, sizeof(origin->script));
    for (; n < COUNT(origin->script) && script[n] != NULL; n++)
        origin->script[n] = script[n];
    origin->scripted = 0;
    pthread_mutex_unlock(&origin->lock);
    atomic_store(&origin->asked, 0);
}

static inline const char *origin_scripted(struct origin *origin)
{
    const char *path = NULL;
    pthread_mutex_lock(&origin->lock);
    if (origin->scripted < COUNT(origin->script))
        path = origin->script[origin->scripted++];
    pthread_mutex_unlock(&origin->lock);
    return path != NULL ? path : "/hello";
}

/* False: the connection is over. */
static inline bool answer(struct visit *visit, const char *head, unsigned request)
{
    char path[64] = "", text[256];
    int fd = visit->fd;
    unsigned after_ms, status, retry_after_s;
    sscanf(head, "%*s %63s", path);
#define IS(name) (strcmp(path, name) == 0)
    if (IS("/script"))
        snprintf(path, sizeof(path), "%s", origin_scripted(visit->origin));
    if (sscanf(path, "/after-%u/%u", &after_ms, &status) == 2) { /* "/after-60/503" */
        snprintf(text, sizeof(text), "HTTP/1.1 %u So\r\nContent-Length: 3\r\n\r\n%u", status,
                 status);
        return usleep(after_ms * 1000), say(fd, text);
    }
    if (sscanf(path, "/busy-for-%us/%u", &retry_after_s, &status) == 2) { /* "/busy-for-1s/503" */
        snprintf(text, sizeof(text),
                 "HTTP/1.1 %u So\r\nretry-after:  %u \r\nContent-Length: 0\r\n\r\n", status,
                 retry_after_s);
        return say(fd, text);
    }
    unsigned long long bytes;
    if (sscanf(path, "/bytes-%llu", &bytes) == 1) {
        snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", bytes);
        return say(fd, text) &&
               (strncmp(head, "HEAD ", 5) == 0 || say_pattern(visit, bytes, false));
    }
    if (sscanf(path, "/chunks-%llu", &bytes) == 1)
        return say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") &&
               say_pattern(visit, bytes, true);
    if (sscanf(path, "/until-close-%llu", &bytes) == 1)
        return say(fd, "HTTP/1.1 200 OK\r\n\r\n") && say_pattern(visit, bytes, false) && false;
    if (IS("/raw-kept-unread")) /* long enough for who doesn't wait for the end */
        return say(fd, atomic_load(&visit->origin->raw)) && (usleep(200 * 1000), false);
    if (IS("/raw-kept")) {
        const char *behind = atomic_load(&visit->origin->behind);
        return say(fd, atomic_load(&visit->origin->raw)) &&
               (behind == NULL || (usleep(30 * 1000), say(fd, behind)));
    }
    if (IS("/raw") || IS("/raw-unread"))
        return say(fd, atomic_load(&visit->origin->raw)) && false;
    if (IS("/hello"))
        return say_ok(fd, "", BODY, sizeof(BODY) - 1);
    if (IS("/echo"))
        return say_ok(fd, "", head, strlen(head));
    if (IS("/body") || IS("/slow-body") || IS("/gated-body") ||
        IS("/v1/body?a=b")) { /* what came: head, length, CRC-32 */
        char *told;
        int n =
            asprintf(&told, "%s\n%llu %08lx", head, (unsigned long long)visit->taken, visit->crc);
        bool sent = n > 0 && say_ok(fd, "", told, (size_t)n);
        free(told);
        return sent;
    }
    if (IS("/413-unread")) /* doesn't wait for what it doesn't want */
        return say(fd, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n"
                       "Connection: close\r\n\r\nbig") &&
               (shutdown(fd, SHUT_WR), wait_for_close(fd), false);
    if (IS("/unread"))
        return usleep(300 * 1000), false;
    if (IS("/cut-unread"))
        return reset(fd), false;
    if (IS("/500-body"))
        return say(fd, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops");
    if (IS("/health") && atomic_load(&visit->origin->health) != 0) {
        snprintf(text, sizeof(text), "HTTP/1.1 %d Health\r\nContent-Length: 0\r\n\r\n",
                 atomic_load(&visit->origin->health));
        return say(fd, text);
    }
    if (IS("/late-body"))
        return wait_for_close(fd), false;
    if (strncmp(path, "/json", 5) == 0) { /* {"target":"/json…"} */
        int n = snprintf(text, sizeof(text), "{\"target\":\"%s\"}", path);
        return say_ok(fd, "", text, (size_t)n);
    }
    if (IS("/count")) {
        snprintf(text, sizeof(text), "%u.%u", visit->connection, request);
        return say_ok(fd, "", text, strlen(text));
    }
    if (IS("/busy")) {
        unsigned busy = atomic_fetch_add(&visit->origin->busy, 1) + 1;
        unsigned most = atomic_load(&visit->origin->most_busy);
        while (busy > most && !atomic_compare_exchange_weak(&visit->origin->most_busy, &most, busy))
            ;
        usleep(2000);
        atomic_fetch_sub(&visit->origin->busy, 1);
        return say_ok(fd, "", BODY, sizeof(BODY) - 1);
    }
    if (IS("/chunked"))
        return say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "5\r\n{\"hel\r\n1\r\nl\r\nb\r\no\":\"world\"}\r\n0\r\n\r\n");
    if (IS("/204"))
        return say(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    if (IS("/404"))
        return say(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope");
    if (IS("/redirect"))
        return say(fd, "HTTP/1.1 302 Found\r\nLocation: /hello\r\nContent-Length: 0\r\n\r\n");
    if (IS("/early"))
        return say(fd, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n") &&
               say_ok(fd, "", BODY, sizeof(BODY) - 1);
    if (IS("/until-close"))
        return say(fd, "HTTP/1.1 200 OK\r\n\r\n" BODY) && false;
    if (IS("/stale")) /* promises to keep the connection, and doesn't */
        return say_ok(fd, "", BODY, sizeof(BODY) - 1) && false;
    if (IS("/gzip"))
        return say_gzip(fd, BODY, sizeof(BODY) - 1);
    if (IS("/not-gzip"))
        return say_ok(fd, "Content-Encoding: gzip\r\n", BODY, sizeof(BODY) - 1);
    if (IS("/bomb")) {
        char *zeros = calloc(1, 10 << 20);
        say_gzip(fd, zeros, 10 << 20);
        free(zeros);
        return false;
    }
    if (IS("/20k") || IS("/200k")) {
        size_t n = IS("/20k") ? 20000 : 200000;
        char *body = malloc(n);
        memset(body, 'x', n);
        bool sent = say_ok(fd, "", body, n);
        free(body);
        return sent;
    }
    if (IS("/announces-too-much"))
        return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{") &&
               (wait_for_close(fd), false);
    if (IS("/endless")) {
        if (say(fd, "HTTP/1.1 200 OK\r\n\r\n"))
            while (say(fd, "this goes on and on, and nobody knows when it will end. "))
                ;
        return false;
    }
    if (IS("/endless-headers")) {
        if (say(fd, "HTTP/1.1 200 OK\r\n"))
            while (say(fd, "X-More: and more\r\n"))
                ;
        return false;
    }
    if (IS("/long-header")) {
        if (say(fd, "HTTP/1.1 200 OK\r\nX-Long: "))
            while (say(fd, "and longer, "))
                ;
        return false;
    }
    if (IS("/drip")) {
        bool sent = say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n");
        for (int i = 0; i < 400 && sent; i++, usleep(10 * 1000))
            sent = say(fd, "x");
        return false;
    }
    if (IS("/late") || IS("/health"))
        return wait_for_close(fd), false;
    if (IS("/cut"))
        return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"hel") && false;
    if (IS("/cut-chunked"))
        return say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"hel\r\n") &&
               false;
    if (IS("/cut-headers"))
        return say(fd, "HTTP/1.1 200 OK\r\nContent-Le") && false;
    if (IS("/bad-chunk"))
        return say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n") &&
               (wait_for_close(fd), false);
    if (IS("/bad-length"))
        return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n") &&
               (wait_for_close(fd), false);
    if (IS("/garbage"))
        return say(fd, "220 mail.example.com ESMTP\r\n") && (wait_for_close(fd), false);
    if (IS("/nothing"))
        return false;
    if (IS("/reset"))
        return reset(fd), false;
    if (IS("/reset-mid-body"))
        return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"hel"), usleep(20 * 1000),
               reset(fd), false;
#undef IS
    return say(fd, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

static inline void count_taken(struct visit *visit, const char *bytes, size_t n)
{
    visit->crc = crc32(visit->crc, (const unsigned char *)bytes, (unsigned)n);
    visit->taken += n;
    atomic_fetch_add(&visit->origin->taken, n);
}

/* A chunked body, of which `n` bytes are there; nothing comes behind it. */
static inline bool take_chunks(struct visit *visit, const char *early, size_t n)
{
    static const size_t most = 64 * 1024;
    char *bytes = malloc(most), *end;
    bool whole = false, good = true;
    memcpy(bytes, early, n);
    visit->taken = 0;
    visit->crc = crc32(0, NULL, 0);
    for (uint64_t left = 0; good && !whole;) { /* of a chunk, with its line end */
        size_t used = 0;
        while (used < n && !whole) {
            if (left == 0) {
                char *line = bytes + used;
                if ((end = memchr(line, '\n', n - used)) == NULL)
                    break;
                left = strtoull(line, NULL, 16) + 2;
                used += (size_t)(end + 1 - line);
                whole = left == 2 && n - used >= 2;
                if (left == 2 && !whole) { /* the last line end is still to come */
                    used -= (size_t)(end + 1 - line);
                    left = 0;
                    break;
                }
                continue;
            }
            size_t some = n - used < left ? n - used : (size_t)left;
            size_t body = left > 2 ? (some < left - 2 ? some : (size_t)left - 2) : 0;
            count_taken(visit, bytes + used, body);
            used += some;
            left -= some;
        }
        memmove(bytes, bytes + used, n - used);
        n -= used;
        if (whole)
            break;
        ssize_t got = recv(visit->fd, bytes + n, most - n, 0);
        good = got > 0;
        n += good ? (size_t)got : 0;
    }
    free(bytes);
    return good;
}

/* Reads the request's body, of which `early` came with the head. "/slow…" does so in small bites,
 * "…unread" not at all. */
static inline bool take_body(struct visit *visit, const char *head, const char *early, size_t n,
                             size_t *used_r)
{
    char bytes[8192];
    const char *line = strcasestr(head, "\r\nContent-Length:");
    while (strstr(head, " /gated") != NULL && atomic_load(&visit->origin->shut))
        usleep(1000);
    if (strcasestr(head, "\r\nTransfer-Encoding: chunked") != NULL &&
        strstr(head, "unread ") == NULL) {
        *used_r = n;
        return take_chunks(visit, early, n);
    }
    uint64_t length = line != NULL ? strtoull(line + 17, NULL, 10) : 0;
    bool slow = strstr(head, " /slow") != NULL;
    visit->taken = 0;
    visit->crc = crc32(0, NULL, 0);
    *used_r = n < length ? n : (size_t)length;
    count_taken(visit, early, *used_r);
    if (strstr(head, "unread ") != NULL)
        return true;
    while (visit->taken < length) {
        uint64_t left = length - visit->taken;
        if (slow)
            usleep(1000);
        ssize_t got = recv(visit->fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);
        if (got <= 0)
            return false;
        count_taken(visit, bytes, (size_t)got);
    }
    return true;
}

static inline void *origin_visit(void *arg)
{
    struct visit *visit = arg;
    char head[16 * 1024];
    size_t n = 0;
    for (unsigned request = 1;; request++) {
        char *end;
        head[n] = '\0';
        while ((end = strstr(head, "\r\n\r\n")) == NULL) {
            ssize_t got = recv(visit->fd, head + n, sizeof(head) - 1 - n, 0);
            if (got <= 0)
                goto out;
            n += (size_t)got;
            head[n] = '\0';
        }
        size_t used = (size_t)(end + 4 - head), early;
        *end = '\0';
        atomic_fetch_add(&visit->origin->asked, 1);
        if (!take_body(visit, head, head + used, n - used, &early))
            break;
        atomic_fetch_add(&visit->origin->whole, 1);
        if (!answer(visit, head, request))
            break;
        used += early;
        memmove(head, head + used, n - used);
        n -= used;
    }
out:
    close(visit->fd);
    atomic_fetch_sub(&visit->origin->open, 1);
    free(visit);
    return NULL;
}

static inline void *origin_accept(void *arg)
{
    struct origin *origin = arg;
    while (!atomic_load(&origin->ending)) {
        int fd = accept(origin->listener, NULL, NULL);
        if (fd < 0)
            break;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* head and body go apart */
        struct visit *visit = malloc(sizeof(*visit));
        *visit = (struct visit){.origin = origin,
                                .fd = fd,
                                .connection = atomic_fetch_add(&origin->connections, 1) + 1};
        pthread_t thread;
        atomic_fetch_add(&origin->open, 1);
        if (pthread_create(&thread, NULL, origin_visit, visit) != 0)
            abort();
        pthread_detach(thread);
    }
    return NULL;
}

static inline void origin_listen(struct origin *origin, int family, const void *address,
                                 socklen_t length)
{
    int one = 1;
    *origin = (struct origin){.listener = socket(family, SOCK_STREAM, 0),
                              .lock = PTHREAD_MUTEX_INITIALIZER};
    setsockopt(origin->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(origin->listener, address, length) != 0 || listen(origin->listener, 512) != 0 ||
        pthread_create(&origin->thread, NULL, origin_accept, origin) != 0)
        abort();
}

/* port: 0 = one that is free. */
static inline void origin_start_at(struct origin *origin, const char *ip, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof(address);
    inet_pton(AF_INET, ip, &address.sin_addr);
    origin_listen(origin, AF_INET, &address, length);
    if (getsockname(origin->listener, (struct sockaddr *)&address, &length) != 0)
        abort();
    origin->port = ntohs(address.sin_port);
}

/* socket_path: NULL = a port of 127.0.0.1 that is free. */
static inline void origin_start(struct origin *origin, const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (socket_path == NULL) {
        origin_start_at(origin, "127.0.0.1", 0);
        return;
    }
    strncpy(address.sun_path, socket_path, sizeof(address.sun_path) - 1);
    unlink(socket_path);
    origin_listen(origin, AF_UNIX, &address, sizeof(address));
}

/* After the clients' connections are closed. */
static inline void origin_stop(struct origin *origin)
{
    atomic_store(&origin->ending, true);
    shutdown(origin->listener, SHUT_RDWR);
    pthread_join(origin->thread, NULL);
    close(origin->listener);
    for (int i = 0; i < 500 && atomic_load(&origin->open) != 0; i++)
        usleep(10 * 1000);
}

#endif
