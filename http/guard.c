/* Stands between a client's socket and h2o, the one file that knows the private fields of h2o's
 * HTTP/1 connections (the packaged 2.2.5 is frozen, so they stay as they are; HTTP/2's are in
 * http2_h2o.h). What h2o leaves to its embedder:
 *
 * Heads. h2o answers a head that it can't parse, or that is too large, below every handler: a bare
 * 400 and no log line. And it accepts what makes two servers disagree about where a request ends.
 * So the connection's read callback is ours (read_head), reads, looks at the head (head.c) while it
 * lies in the socket's buffer, and hands it on when it is whole; h2o's parser never sees less, and
 * never what it would refuse. A head that is refused is replaced in that buffer by a stub request;
 * our handler sees conn->scan and answers what the guard decided, so a refusal has the same
 * headers, error page and log line as any other answer. The same is done to a head that takes too
 * long; while one arrives our clock runs instead of h2o's.
 *
 * Bodies. h2o would collect them before the handler runs. It sees none: what announces a body is
 * hidden from it in place (head_hide()), and body.c reads the socket. Where the body ended, the
 * next request begins.
 *
 * After each request h2o puts its own reader back. guard_done() runs just before, looks at what a
 * pipelining client sent already (h2o goes on with that directly, when it is a whole head), and a
 * task at the end of the turn puts our reader in front again; no byte can be read in between. */
#include "http/http_internal.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <h2o/version.h>

#if H2O_VERSION_MAJOR != 2 || H2O_VERSION_MINOR != 2 || H2O_VERSION_PATCH != 5
#error "struct http1_conn is that of h2o 2.2.5: compare it with lib/http1.c"
#endif

enum {
    HEAD_READ = 4096,        /* h2o's own measure: most heads in one read */
    BEHIND_MAX = 128 * 1024, /* what body.c reads ahead, or a head that isn't whole */
    LOGGED_METHOD_MAX = 32,
    LOGGED_TARGET_MAX = 2048,
    QUIET_MS = 300 /* a busy client's next request may be on its way for as long */
};

/* lib/http1.c of h2o 2.2.5. */
struct http1_conn {
    h2o_conn_t super;
    h2o_socket_t *sock;
    h2o_linklist_t conns;
    h2o_timeout_t *timeout;
    h2o_timeout_entry_t timeout_entry;
    uint64_t request_index;
    size_t previous_length;
    size_t request_size; /* bytes of sock->input that go with the request */
    void *entity_reader; /* NULL = no body under way */
    struct {
        h2o_ostream_t super;
        int sent_headers;
        struct {
            void *buffer;
            h2o_ostream_pull_cb callback;
        } pull;
    } final_ostream;
    struct {
        void *data;
        void *callback;
    } upgrade;
    h2o_req_t req;
};

static const char STUB[] = "GET / HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n";

_Atomic uint32_t guard_connections;

struct http_conn *guard_conn(const h2o_req_t *req)
{
    return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

/* NULL before HTTP begins, and once the connection speaks HTTP/2. */
static struct http1_conn *http1_of(const struct http_conn *conn)
{
    h2o_conn_t *h2o = conn->sock->data;
    return h2o != NULL && h2o->callbacks == conn->http1
               ? CONTAINER_OF(h2o, struct http1_conn, super)
               : NULL;
}

bool guard_is_http2(const struct http_conn *conn)
{
    const h2o_conn_t *h2o = conn->sock->data;
    return conn->http1 != NULL && h2o->callbacks != conn->http1;
}

/* From here on h2o reads the socket itself; of TLS it never does. */
static void let_h2o_read(struct http_conn *conn)
{
    if (conn->tls == NULL)
        h2o_socket_dont_read(conn->sock, 0);
}

/* -- heads ------------------------------------------------------------------------------------- */

/* Keeps method and target for the log: the input they lie in goes before its line is written. */
static void keep_line(struct http_conn *conn, const char *head)
{
    struct head_scan *scan = &conn->scan;
    if (scan->method_length > LOGGED_METHOD_MAX)
        scan->method_length = LOGGED_METHOD_MAX;
    if (scan->target_length > LOGGED_TARGET_MAX)
        scan->target_length = LOGGED_TARGET_MAX;
    buf_clear(&conn->line);
    buf_append(&conn->line, head + scan->start, scan->method_length);
    buf_append(&conn->line, head + scan->target, scan->target_length);
}

/* The line of a request that no handler and no part of h2o that logs came to see. */
static void log_unseen(struct http_conn *conn)
{
    if (conn->kind != SITE_MAIN)
        return;
    struct access_record record = {.client = {conn->peer, conn->peer_length},
                                   .protocol = STR("HTTP/1.1"),
                                   .status = 499,
                                   .flags = "DC",
                                   .scheme = conn_scheme(conn)};
    if (conn->line.n != 0) {
        record.method = (struct str){conn->line.p, conn->scan.method_length};
        record.path = (struct str){conn->line.p + record.method.n, conn->scan.target_length};
    }
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    record.id = request_id_make(conn->http, &pool);
    http_log(conn->http, STR(""), &record);
    h2o_mem_clear_pool(&pool);
}

static void append_input(struct http_conn *conn, const void *bytes, size_t n)
{
    h2o_iovec_t room = h2o_buffer_reserve(&conn->sock->input, n);
    memcpy(room.base, bytes, n);
    conn->sock->input->size += n;
}

static void give_back(struct http_conn *conn)
{
    if (conn->behind.n != 0)
        append_input(conn, conn->behind.p, conn->behind.n);
    buf_fini(&conn->behind);
}

/* Puts the stub where the refused head stands, `at` bytes into the input. */
static void replace_head(struct http_conn *conn, size_t at)
{
    keep_line(conn, conn->sock->input->bytes + at);
    conn->sock->input->size = at;
    append_input(conn, STUB, sizeof(STUB) - 1);
}

/* Looks at the head that begins `at` bytes into the input. True: h2o may go on with it. */
static bool look_at_head(struct http_conn *conn, size_t at)
{
    char *head = conn->sock->input->bytes + at;
    switch (head_scan(&conn->scan, head, conn->sock->input->size - at)) {
    case HEAD_MORE:
        return false;
    case HEAD_REFUSED:
        replace_head(conn, at);
        conn->unseen = true;
        break;
    case HEAD_OK:
        head_hide(&conn->scan, head);
        conn->unseen = true;
        break;
    case HEAD_HTTP2:
        let_h2o_read(conn);
        break;
    }
    conn->head_done = true;
    return true;
}

static void pass_head(struct http_conn *conn)
{
    h2o_socket_t *sock = conn->sock;
    if (timer_running(&conn->head_clock))
        timer_stop(conn->http->loop, &conn->head_clock);
    conn->h2o_read(sock, NULL);
    if (!conn->unseen || conn->sock == NULL)
        return;
    /* An upgrade to HTTP/2: the input tells for now what it was about. */
    let_h2o_read(conn);
    if (conn->line.n == 0)
        keep_line(conn, sock->input->bytes);
}

/* The head that begins the input isn't whole: once there is something of it, h2o's clock for idle
 * connections no longer applies. */
static void await_head(struct http_conn *conn)
{
    if (timer_running(&conn->head_clock) ||
        (!conn->scan.has_request_line && conn->sock->input->size == conn->scan.line))
        return;
    struct http1_conn *http1 = http1_of(conn);
    gw_assert(http1 != NULL);
    h2o_timeout_unlink(&http1->timeout_entry);
    timer_start(conn->http->loop, &conn->head_clock,
                conn->http->server->config->server.head_timeout_ms);
}

static void head_timeout(struct timer *timer)
{
    struct http_conn *conn = CONTAINER_OF(timer, struct http_conn, head_clock);
    conn->scan.status = 408;
    conn->scan.reason = "the head took too long";
    replace_head(conn, 0);
    conn->unseen = conn->head_done = true;
    pass_head(conn);
}

/* What is left of a body that was answered before its end. False: nothing else is there. */
static bool skip_body(struct http_conn *conn)
{
    size_t size = conn->sock->input->size;
    size_t n = conn->skip < size ? (size_t)conn->skip : size;
    conn->skip -= n;
    h2o_buffer_consume(&conn->sock->input, n);
    return n != size;
}

/* h2o would read all that there is: with a head came as much of its body as the kernel holds, and
 * stayed in memory until the request was over. */
static const char *receive(const struct http_conn *conn)
{
    h2o_socket_t *sock = conn->sock;
    h2o_iovec_t room = h2o_buffer_reserve(&sock->input, HEAD_READ);
    if (room.base == NULL)
        return h2o_socket_error_out_of_memory;
    ssize_t n = conn_receive(conn, room.base, room.len);
    if (n > 0)
        sock->input->size += (size_t)n;
    else if (n == 0)
        return h2o_socket_error_closed;
    else if (errno != EAGAIN && errno != EINTR)
        return h2o_socket_error_io;
    return NULL;
}

static void read_head(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->on_close.data;
    if (err == NULL)
        err = receive(conn);
    if (err != NULL) {
        conn->h2o_read(sock, err);
    } else if (conn->skip == 0 || skip_body(conn)) {
        if (look_at_head(conn, 0))
            pass_head(conn);
        else
            await_head(conn);
    }
}

static void rehook(struct task *task)
{
    struct http_conn *conn = CONTAINER_OF(task, struct http_conn, rehook);
    if (conn->sock == NULL || conn->sock->_cb.read != conn->h2o_read)
        return;
    conn->sock->_cb.read = read_head;
    h2o_socket_dont_read(conn->sock, 1);
    if (conn->behind.n != 0) {
        give_back(conn);
        await_head(conn);
    }
    if (conn->tls != NULL)
        tls_wake(conn->tls);
}

/* -- requests ---------------------------------------------------------------------------------- */

/* h2o's own way of ending a connection in any state; disposes of the request under way, and what is
 * left of its body is not the next one. */
void guard_left(struct http_conn *conn)
{
    if (conn->waiting != NULL)
        conn->waiting->h2o->http1_is_persistent = 0;
    conn->h2o_read(conn->sock, h2o_socket_error_io);
}

void guard_begun(struct http_conn *conn)
{
    conn->active++;
    conn->unseen = false;
}

void guard_done(struct http_conn *conn, struct http_request *request)
{
    conn->active--;
    conn->idle_since_ms = loop_now_ms(conn->http->loop);
    if (request->h2o->version >= 0x200) {
        http2_answered(conn);
        return;
    }
    struct http1_conn *http1 = CONTAINER_OF(request->h2o, struct http1_conn, req);
    conn->waiting = NULL;
    conn->head_done = false;
    conn->probing = conn->relays = false;
    timer_stop(conn->http->loop, &conn->probe);
    let_h2o_read(conn); /* unless the next one is HTTP/1, too */
    task_defer(conn->http->loop, &conn->rehook);
    conn->scan = (struct head_scan){0};
    buf_clear(&conn->line);
    if (!request->h2o->http1_is_persistent)
        return;
    if (request->body != NULL) {
        http1->request_size = body_input_end(request, &conn->skip);
        give_back(conn);
    }
    h2o_buffer_t *input = conn->sock->input;
    size_t end = http1->request_size;
    if (input->size == end)
        return;
    if (!look_at_head(conn, end)) {
        bool kept = buf_append(&conn->behind, input->bytes + end, input->size - end);
        gw_assert(kept);
        input->size = end;
    } else if (conn->line.n == 0) {
        keep_line(conn, conn->sock->input->bytes + end);
    }
}

/* -- connections ------------------------------------------------------------------------------- */

static void closed(void *data)
{
    struct http_conn *conn = data;
    struct http_loop *http = conn->http;
    if (conn->unseen ||
        (!conn->head_done && (conn->scan.has_request_line || conn->scan.seen > conn->scan.line)))
        log_unseen(conn); /* it ends amid a request which nobody has logged */
    http2_closed(conn);
    tls_end(&conn->tls);
    buf_fini(&conn->line);
    buf_fini(&conn->behind);
    task_cancel(&conn->rehook);
    timer_stop(http->loop, &conn->head_clock);
    timer_stop(http->loop, &conn->probe);
    h2o_linklist_unlink(&conn->link);
    conn->sock = NULL;
    conn->next_spare = http->spare;
    http->spare = conn;
    if (conn->kind == SITE_MAIN) {
        http->main_conns--;
        atomic_fetch_sub_explicit(&guard_connections, 1, memory_order_relaxed);
    } else {
        http->admin_conns--;
    }
    if (http->draining && http->main_conns == 0)
        task_defer(http->loop, &http->idle_task);
}

static void name_peer(struct http_conn *conn, const struct sockaddr *peer)
{
    const struct http_server *server = conn->http->server;
    conn->ip = ip_of(peer);
    if (conn->ip.family == AF_UNSPEC)
        memcpy(conn->peer, "unix", sizeof("unix"));
    else
        inet_ntop(conn->ip.family, conn->ip.bytes, conn->peer, sizeof(conn->peer));
    conn->peer_length = (uint8_t)strlen(conn->peer);
    for (size_t i = 0; i < server->trusted_count && !conn->trusted; i++)
        conn->trusted = conn->ip.family == AF_UNSPEC ? server->trusted[i].local
                                                     : network_has(&server->trusted[i], &conn->ip);
}

struct http_conn *guard_of(const h2o_socket_t *sock)
{
    return sock->on_close.cb == closed ? sock->on_close.data : NULL;
}

void guard_open(struct http_conn *conn)
{
    h2o_accept(&conn->http->accept, conn->sock);
    conn->http1 = ((h2o_conn_t *)conn->sock->data)->callbacks;
    conn->h2o_read = conn->sock->_cb.read;
    conn->sock->_cb.read = read_head;
    h2o_socket_dont_read(conn->sock, 1);
}

void guard_accept(struct listening *listening, int fd, const struct sockaddr *peer)
{
    struct http_loop *http = listening->http;
    enum site_kind kind = listening->kind;
    struct http_conn *conn = http->spare;
    if (conn != NULL)
        http->spare = conn->next_spare;
    else
        conn = h2o_mem_alloc(sizeof(*conn));
    *conn =
        (struct http_conn){.http = http, .kind = kind, .idle_since_ms = loop_now_ms(http->loop)};
    buf_init(&conn->line, LOGGED_METHOD_MAX + LOGGED_TARGET_MAX);
    buf_init(&conn->behind, BEHIND_MAX);
    h2o_linklist_init_anchor(&conn->relaying);
    task_init(&conn->rehook, rehook);
    timer_init(&conn->head_clock, head_timeout);
    watch_init(conn);
    name_peer(conn, peer);
    h2o_linklist_insert(&http->conns, &conn->link);
    if (kind == SITE_MAIN)
        http->main_conns++;
    else
        http->admin_conns++;

    conn->sock =
        h2o_evloop_socket_create(loop_h2o(http->loop), fd, H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
    conn->sock->on_close.cb = closed;
    conn->sock->on_close.data = conn;
    if (listening->tls)
        tls_begin(conn, http->server->tls);
    else
        guard_open(conn);
}

/* Nothing of the client's lies anywhere unread. */
static bool is_quiet(const struct http_conn *conn)
{
    int unread = 0;
    if (ioctl(h2o_socket_get_fd(conn->sock), FIONREAD, &unread) == 0 && unread != 0)
        return false;
    return conn->tls == NULL || !tls_holds(conn->tls);
}

void guard_close_idle(struct http_loop *http)
{
    h2o_linklist_t *node, *next;
    uint64_t now_ms = loop_now_ms(http->loop);
    for (node = http->conns.next; node != &http->conns; node = next) {
        struct http_conn *conn = CONTAINER_OF(node, struct http_conn, link);
        next = node->next;
        if (conn->tls != NULL && tls_is_silent(conn->tls) && is_quiet(conn) &&
            now_ms - conn->idle_since_ms >= QUIET_MS) {
            h2o_socket_close(conn->sock);
            continue;
        }
        if (conn->kind != SITE_MAIN || http1_of(conn) == NULL || conn->active != 0 ||
            conn->sock->_cb.read != read_head || conn->sock->input->size != 0 || conn->skip != 0 ||
            now_ms - conn->idle_since_ms < QUIET_MS)
            continue;
        /* A request that has arrived but was not read yet is still served. */
        if (!is_quiet(conn))
            continue;
        conn->h2o_read(conn->sock, h2o_socket_error_closed);
    }
}

void guard_abort(struct http_conn *conn)
{
    shutdown(h2o_socket_get_fd(conn->sock), SHUT_RDWR);
}

void guard_close_all(struct http_loop *http)
{
    h2o_linklist_t *node, *next;
    for (node = http->conns.next; node != &http->conns; node = next) {
        struct http_conn *conn = CONTAINER_OF(node, struct http_conn, link);
        next = node->next;
        if (http1_of(conn) != NULL)
            guard_left(conn);
        else
            guard_abort(conn); /* ends in the loop's next turn: h2o may be writing */
    }
}

uint64_t guard_progress(const struct http_conn *conn, const h2o_req_t *req)
{
    /* Under HTTP/2 h2o counts what a stream's window let through; that also stands still while the
     * whole connection does, once h2o's buffer is full. */
    if (req->version >= 0x200)
        return req->bytes_sent;
    int fd = h2o_socket_get_fd(conn->sock), unsent = 0;
    struct tcp_info info;
    socklen_t size = sizeof(info);
    if (conn->ip.family != AF_UNSPEC && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
        size >= offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked))
        return info.tcpi_bytes_acked;
    ioctl(fd, SIOCOUTQ, &unsent);
    return (uint64_t)unsent;
}
