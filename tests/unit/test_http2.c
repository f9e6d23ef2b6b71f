/* Bodies under HTTP/2, frame by frame, against a server on a loop that the test itself turns: what
 * has been read, granted and given back is looked at between two turns. Last, curl's own HTTP/2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"
#include "http/http_internal.h"

enum {
    DATA = 0,
    HEADERS = 1,
    RST_STREAM = 3,
    SETTINGS = 4,
    GOAWAY = 7,
    WINDOW_UPDATE = 8,
    CONTINUATION = 9,
    END_STREAM = 1,
    END_HEADERS = 4,
    PADDED = 8,
    NO_ERROR = 0,
    PROTOCOL_ERROR = 1,
    FLOW_CONTROL_ERROR = 3,
    CALM = 11,
    FIRST_ROOM = 65535,
    WIDE_ROOM = 1 << 20,
    MAX_BODY = 1000, /* of routes that read none */
    READ_MAX = 5000, /* of "/small" */
    IDLE_MS = 200,
    MIN_RATE = 1000, /* so 200 bytes in any IDLE_MS */
    LINGER_MS = 400,
    LARGE = 100000,
    STREAMS = 256
};

/* -- the server -------------------------------------------------------------------------------- */

/* A body on its way to its handler: byte i of it is (i * 7) mod 251. */
struct taken {
    struct http_body_reader reader;
    struct http_request *request;
    char bytes[10000];
    uint64_t n;
    bool wrong;
};

static struct {
    struct str address;
    struct config config;
    struct access_log *access;
    char log[64];
    struct diag *diag;
    struct http_server *server;
    struct loop *loop;
    struct http_loop *http;
    uint16_t port;
    struct taken *last; /* of the last request that reads */
    unsigned reading;   /* requests under way that do */
    bool closed;        /* readers have no room */
    bool idle;
} it;

static void reply_text(struct http_request *request, int status, const char *text)
{
    struct out out;
    out_init(&out, request->pool, 0);
    out_str(&out, str_from(text));
    http_reply(request, status, "text/plain", &out);
}

static void page(struct http_request *request, void *arg)
{
    (void)arg;
    reply_text(request, 200, "page");
}

static void scheme(struct http_request *request, void *arg)
{
    (void)arg;
    reply_text(request, 200, request->scheme.p);
}

static void large(struct http_request *request, void *arg)
{
    static char text[LARGE + 1];
    (void)arg;
    memset(text, 'x', LARGE);
    reply_text(request, 200, text);
}

static void refuse(struct http_request *request, void *arg)
{
    (void)arg;
    reply_text(request, 403, "no");
}

static char *room(struct http_body_reader *reader, size_t *n_r)
{
    struct taken *taken = CONTAINER_OF(reader, struct taken, reader);
    *n_r = sizeof(taken->bytes);
    return it.closed ? NULL : taken->bytes;
}

static void got(struct http_body_reader *reader, size_t n)
{
    struct taken *taken = CONTAINER_OF(reader, struct taken, reader);
    for (size_t i = 0; i < n; i++)
        taken->wrong |= (unsigned char)taken->bytes[i] != (taken->n + i) * 7 % 251;
    taken->n += n;
}

static void got_enough(struct http_body_reader *reader, size_t n)
{
    got(reader, n);
    reply_text(CONTAINER_OF(reader, struct taken, reader)->request, 200, "enough");
}

static void end(struct http_body_reader *reader, enum http_body_end how)
{
    static const int statuses[] = {200, 413, 408, 400};
    struct taken *taken = CONTAINER_OF(reader, struct taken, reader);
    char text[64];
    snprintf(text, sizeof(text), "%llu%s", (unsigned long long)taken->n,
             taken->wrong ? " wrong" : "");
    reply_text(taken->request, statuses[how], text);
}

static void taken_disposed(void *arg)
{
    if (it.last == arg)
        it.last = NULL;
    it.reading--;
}

/* arg: bytes at most, as a string; "enough" replies to the first of them. */
static void take(struct http_request *request, void *arg)
{
    struct taken *taken = h2o_mem_alloc_shared(request->pool, sizeof(*taken), taken_disposed);
    bool enough = strcmp(arg, "enough") == 0;
    *taken = (struct taken){.reader = {room, enough ? got_enough : got, end}, .request = request};
    it.last = taken;
    it.reading++;
    http_body_read(request, &taken->reader, enough ? UINT64_MAX : strtoull(arg, NULL, 10));
}

static void on_idle(void *arg)
{
    (void)arg;
    it.idle = true;
}

static int setup(void **state)
{
    const char *error = NULL;
    struct pos at = {0};
    (void)state;
    memset(&it, 0, sizeof(it));
    it.address = STR("127.0.0.1:0");
    it.config = (struct config){
        .templates_dir = STR("/nonexistent"),
        .server = {.listen = {&it.address, 1},
                   .max_connections = 100,
                   .idle_timeout_ms = 5000,
                   .head_timeout_ms = 5000,
                   .body_idle_timeout_ms = 60000,
                   .body_min_rate = MIN_RATE,
                   .max_body = MAX_BODY},
    };
    strcpy(it.log, "/tmp/test_http2.XXXXXX");
    close(mkstemp(it.log));
    it.access = access_log_open(it.log, ACCESS_LOGFMT, 1);
    it.diag = diag_create();
    it.server = http_server_create(&it.config, NULL, NULL, it.access, NULL, it.diag);
    it.server->linger_ms = LINGER_MS;
    const struct {
        const char *name;
        unsigned methods;
        http_handler_fn *fn;
        char *arg;
    } routes[] = {
        {"page", HTTP_GET | HTTP_POST, page, NULL},
        {"large", HTTP_GET, large, NULL},
        {"scheme", HTTP_GET, scheme, NULL},
        {"refuse", HTTP_POST | HTTP_READS_BODY, refuse, NULL},
        {"take", HTTP_POST | HTTP_READS_BODY, take, (char[]){"18446744073709551615"}},
        {"small", HTTP_POST | HTTP_READS_BODY, take, (char[]){"5000"}},
        {"enough", HTTP_POST | HTTP_READS_BODY, take, (char[]){"enough"}},
    };
    static char args[COUNT(routes)][32];
    for (size_t i = 0; i < COUNT(routes); i++) {
        char path[16];
        snprintf(path, sizeof(path), "/%s", routes[i].name);
        if (routes[i].arg != NULL)
            strcpy(args[i], routes[i].arg);
        http_route_add(it.server, routes[i].name, routes[i].methods, str_from(path), routes[i].fn,
                       args[i], at, it.diag);
    }
    assert_int_equal(diag_errors(it.diag), 0);
    it.loop = loop_create(0);
    if (!http_server_listen(it.server, 1, NULL, &error))
        fail_msg("%s", error);
    it.http = http_loop_create(it.server, it.loop);
    it.port = ntohs(it.server->listeners[0]->address.sa.v4.sin_port);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_loop_destroy(&it.http);
    http_server_destroy(&it.server);
    loop_destroy(&it.loop);
    access_log_close(&it.access);
    diag_destroy(&it.diag);
    unlink(it.log);
    assert_int_equal(http2_bodies_reserved(), 0);
    assert_int_equal(it.reading, 0);
    return 0;
}

static uint64_t real_ms(void)
{
    return clock_us() / 1000;
}

/* -- a client ---------------------------------------------------------------------------------- */

struct stream {
    int status, interim;
    int reset; /* its code, -1 = none */
    bool ended;
    int64_t window; /* by WINDOW_UPDATE, beyond the initial one */
    char text[64];
    size_t text_n;
};

static struct peer {
    int fd;
    bool closed;
    unsigned char in[1 << 20];
    size_t in_n;
    int64_t initial, window; /* of streams; of the connection by WINDOW_UPDATE */
    int goaway;              /* its code, -1 = none */
    struct stream streams[STREAMS];
} peers[12];

/* Only what h2o sends first in a response: an entry of the constant table, or digits. */
static int status_in(const unsigned char *p)
{
    static const int constants[] = {200, 204, 206, 304, 400, 404, 500};
    if (p[0] >= 0x88 && p[0] <= 0x8e)
        return constants[p[0] - 0x88];
    assert_int_equal(p[1], 3);
    return (p[2] - '0') * 100 + (p[3] - '0') * 10 + p[4] - '0';
}

static void understand(struct peer *peer, unsigned type, unsigned flags, uint32_t id,
                       const unsigned char *p, size_t n)
{
    assert_true(id < STREAMS);
    struct stream *stream = &peer->streams[id];
    uint32_t number =
        n >= 4 ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3]
               : 0;
    int status;
    switch (type) {
    case SETTINGS:
        for (size_t i = 0; i + 6 <= n; i += 6)
            if (p[i + 1] == 4)
                peer->initial = (int64_t)p[i + 2] << 24 | p[i + 3] << 16 | p[i + 4] << 8 | p[i + 5];
        break;
    case HEADERS:
        status = status_in(p);
        if (status < 200)
            stream->interim = status;
        else
            stream->status = status;
        break;
    case DATA:
        if (stream->text_n + n < sizeof(stream->text))
            memcpy(stream->text + stream->text_n, p, n);
        stream->text_n += n;
        break;
    case RST_STREAM:
        if (stream->reset < 0)
            stream->reset = (int)number;
        break;
    case GOAWAY:
        peer->goaway = p[7];
        break;
    case WINDOW_UPDATE:
        if (id == 0)
            peer->window += number;
        else
            stream->window += number;
        break;
    }
    if ((type == HEADERS || type == DATA) && (flags & END_STREAM) != 0)
        stream->ended = true;
}

static void hear(struct peer *peer)
{
    ssize_t n = recv(peer->fd, peer->in + peer->in_n, sizeof(peer->in) - peer->in_n, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        peer->closed = true;
    if (n <= 0)
        return;
    peer->in_n += (size_t)n;
    size_t at = 0;
    while (at + 9 <= peer->in_n) {
        const unsigned char *p = peer->in + at;
        size_t payload = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if (at + 9 + payload > peer->in_n)
            break;
        understand(peer, p[3], p[4], (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8], p + 9,
                   payload);
        at += 9 + payload;
    }
    memmove(peer->in, peer->in + at, peer->in_n - at);
    peer->in_n -= at;
}

static void turn(struct peer *peer)
{
    loop_turn(it.loop, 1);
    hear(peer);
}

/* Turns until nothing has come from either side for some turns. */
static void settle(struct peer *peer)
{
    for (int i = 0; i < 10; i++)
        turn(peer);
}

#define TURN_UNTIL(peer, condition)                               \
    for (uint64_t waits_ms = real_ms(); !(condition); turn(peer)) \
        if (real_ms() - waits_ms > 10000)                         \
    fail_msg("this did not happen: " #condition)

static void send_all(struct peer *peer, const void *bytes, size_t n)
{
    for (const char *p = bytes; n != 0;) {
        ssize_t sent = send(peer->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            turn(peer);
            continue;
        }
        assert_true(sent > 0);
        p += sent;
        n -= (size_t)sent;
    }
}

static void frame(struct peer *peer, unsigned type, unsigned flags, uint32_t id,
                  const void *payload, size_t n)
{
    unsigned char bytes[9 + 16384] = {
        (unsigned char)(n >> 16),  (unsigned char)(n >> 8),  (unsigned char)n,
        (unsigned char)type,       (unsigned char)flags,     0,
        (unsigned char)(id >> 16), (unsigned char)(id >> 8), (unsigned char)id};
    assert_true(n <= 16384);
    memcpy(bytes + 9, payload, n);
    send_all(peer, bytes, 9 + n);
}

static struct peer *dial(size_t index)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(it.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct peer *peer = &peers[index];
    *peer = (struct peer){.goaway = -1, .initial = FIRST_ROOM};
    for (size_t i = 0; i < STREAMS; i++)
        peer->streams[i].reset = -1;
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(peer->fd, (struct sockaddr *)&to, sizeof(to)), 0);
    send_all(peer, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    frame(peer, SETTINGS, 0, 0, "", 0);
    frame(peer, WINDOW_UPDATE, 0, 0, "\x3f\0\0", 4); /* what comes back is not held up */
    settle(peer);
    return peer;
}

static void hang_up(struct peer *peer)
{
    close(peer->fd);
    for (int i = 0; i < 5; i++)
        loop_turn(it.loop, 1);
}

/* RFC 7541 section 6.2.2, a field that is kept nowhere. */
static size_t field(char *to, const char *name, const char *value)
{
    size_t n = 0;
    to[n++] = 0;
    to[n++] = (char)strlen(name);
    n += (size_t)(stpcpy(to + n, name) - (to + n));
    to[n++] = (char)strlen(value);
    n += (size_t)(stpcpy(to + n, value) - (to + n));
    return n;
}

static size_t head_fields(char *to, const char *method, const char *path)
{
    size_t n = field(to, ":method", method);
    n += field(to + n, ":scheme", "http");
    n += field(to + n, ":path", path);
    return n + field(to + n, ":authority", "a");
}

/* name NULL: no further field. */
static void post(struct peer *peer, uint32_t id, const char *path, const char *name,
                 const char *value)
{
    char fields[512];
    size_t n = head_fields(fields, "POST", path);
    if (name != NULL)
        n += field(fields + n, name, value);
    frame(peer, HEADERS, END_HEADERS, id, fields, n);
}

/* Bytes `at` and on of a body. */
static void data_at(struct peer *peer, uint32_t id, uint64_t at, size_t n, unsigned flags)
{
    char bytes[16384];
    assert_true(n <= sizeof(bytes));
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)((at + i) * 7 % 251);
    frame(peer, DATA, flags, id, bytes, n);
}

/* Sends bytes from..to, as far as the stream's window lets it; returns how far it came. */
static uint64_t data_within_window(struct peer *peer, uint32_t id, uint64_t from, uint64_t to)
{
    for (;;) {
        struct stream *stream = &peer->streams[id];
        int64_t window = peer->initial + stream->window - (int64_t)from;
        uint64_t n = to - from < 16384 ? to - from : 16384;
        if (window < (int64_t)n)
            n = window > 0 ? (uint64_t)window : 0;
        if (n == 0)
            return from;
        data_at(peer, id, from, n, 0);
        from += n;
        turn(peer);
    }
}

static void assert_answer(struct peer *peer, uint32_t id, int status, const char *text)
{
    struct stream *stream = &peer->streams[id];
    TURN_UNTIL(peer, stream->ended || stream->reset >= 0);
    assert_int_equal(stream->status, status);
    if (text != NULL)
        assert_string_equal(stream->text, text);
}

/* The connection is as good as new. */
static void assert_serves(struct peer *peer, uint32_t id)
{
    char fields[512];
    frame(peer, HEADERS, END_HEADERS | END_STREAM, id, fields, head_fields(fields, "GET", "/page"));
    assert_answer(peer, id, 200, "page");
    assert_int_equal(peer->goaway, -1);
}

/* -- bodies ------------------------------------------------------------------------------------ */

static void test_a_handler_gets_a_body_as_it_comes(void **state)
{
    (void)state;
    struct peer *peer = dial(0);
    post(peer, 1, "/take", NULL, NULL);
    TURN_UNTIL(peer, it.last != NULL);
    assert_int_equal(it.last->n, 0);
    data_at(peer, 1, 0, 100, 0);
    TURN_UNTIL(peer, it.last->n == 100);
    data_at(peer, 1, 100, 12345, 0);
    TURN_UNTIL(peer, it.last->n == 12445);
    data_at(peer, 1, 12445, 5, END_STREAM);
    assert_answer(peer, 1, 200, "12450");
    settle(peer);
    assert_int_equal(peer->streams[1].reset, -1);
    assert_int_equal(http2_bodies_reserved(), 0);

    post(peer, 3, "/take", "content-length", "3");
    data_at(peer, 3, 0, 3, 0);
    data_at(peer, 3, 3, 0, END_STREAM);
    assert_answer(peer, 3, 200, "3");
    char fields[512];
    frame(peer, HEADERS, END_HEADERS | END_STREAM, 5, fields, head_fields(fields, "POST", "/take"));
    assert_answer(peer, 5, 200, "0");
    assert_serves(peer, 7);
    hang_up(peer);
}

static void test_a_reader_without_room_holds_its_client_back(void **state)
{
    enum { ALL = 5000000 };
    (void)state;
    it.config.server.body_idle_timeout_ms = IDLE_MS;
    struct peer *peer = dial(0);
    it.closed = true;
    post(peer, 1, "/take", NULL, NULL);
    TURN_UNTIL(peer, it.last != NULL);
    settle(peer);
    assert_int_equal(http2_bodies_reserved(), WIDE_ROOM);
    uint64_t sent = data_within_window(peer, 1, 0, ALL);
    settle(peer);
    assert_int_equal(sent, WIDE_ROOM);
    assert_int_equal(data_within_window(peer, 1, sent, ALL), WIDE_ROOM);
    assert_int_equal(it.last->n, 0);
    assert_true(peer->window + 65535 >= ALL); /* other streams of the connection are not held */

    post(peer, 3, "/page", NULL, NULL);
    data_at(peer, 3, 0, 10, END_STREAM);
    assert_answer(peer, 3, 200, "page");

    /* Longer than any clock: it is not the client that is slow. */
    for (uint64_t begin_ms = real_ms(); real_ms() - begin_ms < 3 * IDLE_MS;)
        turn(peer);
    assert_non_null(it.last);

    /* Room comes and goes: the ring wraps. */
    for (int i = 0; sent < ALL; i++) {
        it.closed = i % 3 == 0;
        if (!it.closed)
            http_body_resume(it.last->request);
        settle(peer);
        sent = data_within_window(peer, 1, sent, sent + 300000 < ALL ? sent + 300000 : ALL);
        assert_true(sent - it.last->n <= WIDE_ROOM);
    }
    it.closed = true;
    data_at(peer, 1, sent, 0, END_STREAM);
    settle(peer);
    assert_int_equal(peer->streams[1].status, 0);
    it.closed = false;
    http_body_resume(it.last->request);
    assert_answer(peer, 1, 200, "5000000");
    assert_int_equal(http2_bodies_reserved(), 0);

    /* Little came, and it still waits for the reader. */
    it.closed = true;
    post(peer, 5, "/take", NULL, NULL);
    data_at(peer, 5, 0, 10, 0);
    for (uint64_t begin_ms = real_ms(); real_ms() - begin_ms < 3 * IDLE_MS;)
        turn(peer);
    assert_int_equal(peer->streams[5].status, 0);
    hang_up(peer);
}

static void test_who_sends_more_than_the_window_loses_the_stream(void **state)
{
    (void)state;
    struct peer *peer = dial(0);
    it.closed = true;
    post(peer, 1, "/take", NULL, NULL);
    TURN_UNTIL(peer, it.last != NULL);
    settle(peer);
    uint64_t sent = data_within_window(peer, 1, 0, WIDE_ROOM);
    data_at(peer, 1, sent, 1, 0);
    TURN_UNTIL(peer, peer->streams[1].reset >= 0);
    assert_int_equal(peer->streams[1].reset, FLOW_CONTROL_ERROR);
    assert_null(it.last);
    assert_int_equal(http2_bodies_reserved(), 0);
    assert_serves(peer, 3);
    hang_up(peer);
}

static void test_padding_costs_window_and_is_no_body(void **state)
{
    unsigned char padded[300] = {250}; /* 49 bytes of body, 250 of padding */
    (void)state;
    struct peer *peer = dial(0);
    post(peer, 1, "/take", NULL, NULL);
    for (int i = 0; i < 49; i++)
        padded[1 + i] = (unsigned char)(i * 7 % 251);
    frame(peer, DATA, PADDED | END_STREAM, 1, padded, sizeof(padded));
    assert_answer(peer, 1, 200, "49");

    post(peer, 3, "/page", NULL,
         NULL); /* 300 frames are over the window, 10 are not over max_body */
    for (int i = 0; i < 300; i++)
        frame(peer, DATA, PADDED, 3, (const char[300]){(char)250 + 48, 'x'}, 300);
    frame(peer, DATA, END_STREAM, 3, "", 0);
    TURN_UNTIL(peer, peer->streams[3].ended || peer->streams[3].reset >= 0);
    assert_serves(peer, 5);
    hang_up(peer);
}

static void test_bodies_of_several_streams_do_not_mix(void **state)
{
    enum { COUNT_OF = 100 };
    uint64_t sent[COUNT_OF] = {0};
    (void)state;
    struct peer *peer = dial(0);
    for (uint32_t i = 0; i < COUNT_OF; i++)
        post(peer, 2 * i + 1, "/take", NULL, NULL);
    for (uint64_t round = 1; round <= 4; round++)
        for (uint32_t i = 0; i < COUNT_OF; i++) {
            sent[i] = data_within_window(peer, 2 * i + 1, sent[i], sent[i] + 1000 * round + i);
            turn(peer);
        }
    assert_int_equal(it.reading, COUNT_OF);
    for (uint32_t i = 0; i < COUNT_OF; i++)
        data_at(peer, 2 * i + 1, sent[i], 0, END_STREAM);
    for (uint32_t i = 0; i < COUNT_OF; i++) {
        char text[32];
        snprintf(text, sizeof(text), "%u", 10000 + 4 * i);
        assert_answer(peer, 2 * i + 1, 200, text);
    }
    hang_up(peer);
}

/* -- limits ------------------------------------------------------------------------------------ */

static void test_a_body_over_its_limit_is_answered_413(void **state)
{
    const struct {
        const char *path, *announced;
        size_t sent;
        int status;
    } cases[] = {
        {"/page", "1000", 1000, 200},   {"/page", NULL, 1000, 200},
        {"/page", "1001", 0, 413}, /* before any of it came */
        {"/page", NULL, 1001, 413},     {"/page", "9000000000000000000", 0, 413},
        {"/small", "5000", 5000, 200},  {"/small", NULL, 5000, 200},
        {"/small", "5001", 0, 413},     {"/small", NULL, 5001, 413},
        {"/nowhere", "100000", 0, 404},
    };
    (void)state;
    struct peer *peer = dial(0);
    for (uint32_t i = 0; i < COUNT(cases); i++) {
        uint32_t id = 2 * i + 1;
        bool refused = cases[i].status != 200;
        post(peer, id, cases[i].path, cases[i].announced != NULL ? "content-length" : NULL,
             cases[i].announced);
        if (cases[i].sent != 0)
            data_at(peer, id, 0, cases[i].sent, refused ? 0 : END_STREAM);
        assert_answer(peer, id, cases[i].status, NULL);
        settle(peer);
        assert_int_equal(peer->streams[id].reset, -1);
    }
    for (uint64_t begin_ms = real_ms(); real_ms() - begin_ms < 2 * LINGER_MS;)
        turn(peer);
    for (uint32_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(peer->streams[2 * i + 1].reset, cases[i].status != 200 ? NO_ERROR : -1);
    assert_serves(peer, 101);
    hang_up(peer);
}

static void test_a_body_of_another_length_than_announced_is_malformed(void **state)
{
    static const struct {
        const char *path;
        size_t sent;
        unsigned flags;
    } cases[] = {{"/take", 9, END_STREAM}, {"/take", 11, END_STREAM}, {"/take", 11, 0},
                 {"/page", 9, END_STREAM}, {"/page", 11, 0},          {"/page", 0, END_STREAM}};
    (void)state;
    struct peer *peer = dial(0);
    for (uint32_t i = 0; i < COUNT(cases); i++) {
        uint32_t id = 2 * i + 1;
        post(peer, id, cases[i].path, "content-length", "10");
        data_at(peer, id, 0, cases[i].sent, cases[i].flags);
        TURN_UNTIL(peer, peer->streams[id].reset >= 0);
        assert_int_equal(peer->streams[id].reset, PROTOCOL_ERROR);
        assert_int_equal(peer->streams[id].status, 0);
        assert_int_equal(http2_bodies_reserved(), 0);
    }
    assert_serves(peer, 101);
    hang_up(peer);
}

/* Each with a stream that reads to the end beside it, which must not be cut. */
static void test_slow_bodies_are_cut_and_honest_ones_are_not(void **state)
{
    static const char *paths[] = {"/take", "/page"};
    (void)state;
    it.config.server.body_idle_timeout_ms = IDLE_MS;
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct peer *idle = dial(0), *dripping = dial(1), *honest = dial(2);
        uint64_t begin_ms = real_ms(), sent = 0, drips = 0;
        post(idle, 1, paths[i], NULL, NULL);
        post(dripping, 1, paths[i], NULL, NULL);
        post(honest, 1, "/take", NULL, NULL);
        while (!idle->streams[1].ended || !dripping->streams[1].ended ||
               real_ms() - begin_ms < 4 * IDLE_MS) {
            uint64_t now = real_ms() - begin_ms;
            assert_true(now < 10000);
            if (now / 20 > drips) {
                drips = now / 20;
                if (!dripping->streams[1].ended)
                    frame(dripping, DATA, 0, 1, "", 1);
                for (; sent < now * 2 * MIN_RATE / 1000; sent += 10)
                    data_at(honest, 1, sent, 10, 0);
            }
            turn(idle);
            hear(dripping);
            hear(honest);
        }
        assert_int_equal(idle->streams[1].status, 408);
        assert_int_equal(dripping->streams[1].status, 408);
        assert_int_equal(honest->streams[1].status, 0);
        data_at(honest, 1, sent, 0, END_STREAM);
        assert_answer(honest, 1, 200, NULL);
        hang_up(idle);
        hang_up(dripping);
        hang_up(honest);
    }
}

static void test_many_streams_share_the_rate_of_their_connection(void **state)
{
    enum { COUNT_OF = 10 };
    (void)state;
    it.config.server.body_idle_timeout_ms = IDLE_MS;
    struct peer *peer = dial(0);
    uint64_t begin_ms = real_ms(), sent = 0;
    for (uint32_t i = 0; i < COUNT_OF; i++)
        post(peer, 2 * i + 1, "/take", NULL, NULL);
    while (real_ms() - begin_ms < 4 * IDLE_MS) { /* 2 x MIN_RATE in all, a fifth of it each */
        for (; sent < (real_ms() - begin_ms) * 2 * MIN_RATE / COUNT_OF / 1000; sent++)
            for (uint32_t i = 0; i < COUNT_OF; i++)
                data_at(peer, 2 * i + 1, sent, 1, 0);
        turn(peer);
    }
    assert_int_equal(it.reading, COUNT_OF);
    for (uint32_t i = 0; i < COUNT_OF; i++) {
        data_at(peer, 2 * i + 1, sent, 0, END_STREAM);
        assert_answer(peer, 2 * i + 1, 200, NULL);
    }
    hang_up(peer);
}

static void test_memory_for_bodies_is_bounded_in_the_whole_process(void **state)
{
    enum { PEERS = 11, EACH = 100, BUDGET = 64 << 20 };
    size_t refused = 0, reading;
    (void)state;
    it.closed = true;
    for (size_t i = 0; i < PEERS; i++)
        dial(i);
    for (size_t i = 0; i < PEERS; i++)
        for (uint32_t j = 0; j < EACH; j++) {
            post(&peers[i], 2 * j + 1, "/take", "content-length", "60000");
            turn(&peers[i]);
            assert_true(http2_bodies_reserved() <= BUDGET);
        }
    for (size_t i = 0; i < PEERS; i++) {
        settle(&peers[i]);
        for (uint32_t j = 0; j < EACH; j++)
            refused += peers[i].streams[2 * j + 1].status == 503;
    }
    assert_int_equal(it.reading, BUDGET / FIRST_ROOM);
    assert_int_equal(refused, PEERS * EACH - BUDGET / FIRST_ROOM);
    reading = it.reading;

    /* What is refused needs no memory, what needs none is not refused. */
    post(&peers[PEERS - 1], 203, "/page", NULL, NULL);
    data_at(&peers[PEERS - 1], 203, 0, 1000, END_STREAM);
    assert_answer(&peers[PEERS - 1], 203, 200, "page");

    frame(&peers[0], RST_STREAM, 0, 1, "\0\0\0\10", 4);
    TURN_UNTIL(&peers[0], it.reading == reading - 1);
    post(&peers[PEERS - 1], 205, "/take", "content-length", "60000");
    TURN_UNTIL(&peers[PEERS - 1], it.reading == reading);
    for (size_t i = 0; i < PEERS; i++)
        hang_up(&peers[i]);
    assert_int_equal(http2_bodies_reserved(), 0);
}

static void test_rooms_are_wide_only_while_there_is_plenty(void **state)
{
    (void)state;
    it.closed = true;
    int64_t last = INT64_MAX;
    uint64_t widths[3] = {0};
    for (size_t i = 0; i < 4; i++) {
        struct peer *peer = dial(i);
        for (uint32_t j = 0; j < 100; j++) {
            struct stream *stream = &peer->streams[2 * j + 1];
            post(peer, 2 * j + 1, "/take", NULL, NULL);
            turn(peer);
            turn(peer);
            assert_true(stream->window <= last); /* none is widened after one that was not */
            last = stream->window;
            widths[stream->window == 0 ? 0 : stream->window < 500000 ? 1 : 2]++;
        }
    }
    assert_true(http2_bodies_reserved() <= 64 << 20);
    assert_in_range(widths[2], 30, 32);
    assert_in_range(widths[1], 60, 64);
    assert_int_equal(widths[0], 400 - widths[1] - widths[2]);
    for (size_t i = 0; i < 4; i++)
        hang_up(&peers[i]);
}

/* -- ends -------------------------------------------------------------------------------------- */

static void test_a_client_that_leaves_gives_everything_back(void **state)
{
    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        struct peer *peer = dial(0);
        it.closed = true;
        for (uint32_t i = 0; i < 20; i++) {
            post(peer, 2 * i + 1, i % 2 == 0 ? "/take" : "/page", NULL, NULL);
            data_within_window(peer, 2 * i + 1, 0, i % 2 == 0 ? 100000 : 500);
        }
        TURN_UNTIL(peer, it.reading == 10);
        for (uint32_t i = 0; i < 20 && resets == 1; i++)
            frame(peer, RST_STREAM, 0, 2 * i + 1, "\0\0\0\10", 4);
        if (resets == 0)
            hang_up(peer);
        TURN_UNTIL(peer, it.reading == 0);
        assert_int_equal(http2_bodies_reserved(), 0);
        if (resets == 1) {
            for (uint32_t i = 0; i < 20; i++)
                assert_int_equal(peer->streams[2 * i + 1].reset, -1); /* no reset of a reset */
            assert_serves(peer, 101);
            hang_up(peer);
        }
    }
}

static void test_a_reply_may_come_before_the_body(void **state)
{
    static const char *paths[] = {"/refuse", "/enough"};
    static const int statuses[] = {403, 200};
    (void)state;
    struct peer *peer = dial(0);
    for (uint32_t i = 0; i < COUNT(paths); i++) {
        uint32_t id = 100 * i + 1;
        /* One stops by itself, one goes on to its end, one must be told. */
        for (uint32_t j = 0; j < 6; j += 2) {
            post(peer, id + j, paths[i], NULL, NULL);
            data_at(peer, id + j, 0, 10000, 0);
            assert_answer(peer, id + j, statuses[i], NULL);
            assert_int_equal(http2_bodies_reserved(), 0);
            settle(peer);
            data_at(peer, id + j, 10000, 10000, 0); /* was under way */
        }
        frame(peer, RST_STREAM, 0, id, "\0\0\0\0", 4);
        data_at(peer, id + 2, 20000, 10000, END_STREAM);
        assert_int_equal(peer->streams[id + 4].reset, -1);
        TURN_UNTIL(peer, peer->streams[id + 4].reset >= 0);
        settle(peer);
        assert_int_equal(peer->streams[id + 4].reset, NO_ERROR);
        assert_int_equal(peer->streams[id].reset, -1);
        assert_int_equal(peer->streams[id + 2].reset, -1);
        assert_serves(peer, id + 6);
    }
    /* No longer than the connection. */
    post(peer, 201, "/refuse", NULL, NULL);
    assert_answer(peer, 201, 403, NULL);
    hang_up(peer);
}

/* A client may write any scheme; what depends on it (cookies that are Secure, Forwarded) must not.
 */
static void test_the_scheme_is_that_of_the_connection(void **state)
{
    char head[256];
    (void)state;
    struct peer *peer = dial(0);
    size_t n = field(head, ":method", "GET");
    n += field(head + n, ":scheme", "https");
    n += field(head + n, ":path", "/scheme");
    n += field(head + n, ":authority", "a");
    frame(peer, HEADERS, END_HEADERS | END_STREAM, 1, head, n);
    assert_answer(peer, 1, 200, "http");
    hang_up(peer);
}

static void test_trailers_end_a_body_and_are_dropped(void **state)
{
    char fields[64];
    (void)state;
    struct peer *peer = dial(0);
    post(peer, 1, "/take", NULL, NULL);
    data_at(peer, 1, 0, 10, 0);
    /* Kept in the compression table: later heads depend on it. */
    size_t n = field(fields, "digest", "abc");
    fields[0] = 0x40;
    frame(peer, HEADERS, END_HEADERS | END_STREAM, 1, fields, n);
    assert_answer(peer, 1, 200, "10");
    char head[512];
    n = head_fields(head, "GET", "/page");
    head[n++] = (char)0xbe;
    frame(peer, HEADERS, END_HEADERS | END_STREAM, 3, head, n);
    assert_answer(peer, 3, 200, "page");

    post(peer, 5, "/take", NULL, NULL);
    frame(peer, HEADERS, END_STREAM, 5, fields, field(fields, "digest", "abc"));
    TURN_UNTIL(peer, peer->closed);
    assert_int_equal(peer->goaway, CALM);
    hang_up(peer);

    peer = dial(0);
    post(peer, 1, "/take", NULL, NULL);
    frame(peer, HEADERS, END_HEADERS, 1, fields, field(fields, "digest", "abc"));
    TURN_UNTIL(peer, peer->closed);
    assert_int_equal(peer->goaway, PROTOCOL_ERROR);
    hang_up(peer);
}

static void test_trailers_after_an_early_answer_cost_the_connection_nothing(void **state)
{
    char fields[64], head[512];
    (void)state;
    struct peer *peer = dial(0);
    post(peer, 1, "/refuse", NULL, NULL);
    data_at(peer, 1, 0, 10000, 0);
    assert_answer(peer, 1, 403, NULL);
    settle(peer);
    size_t n = field(fields, "digest", "abc");
    fields[0] = 0x40; /* kept in the compression table */
    frame(peer, HEADERS, END_HEADERS | END_STREAM, 1, fields, n);
    n = head_fields(head, "GET", "/page");
    head[n++] = (char)0xbe;
    frame(peer, HEADERS, END_HEADERS | END_STREAM, 3, head, n);
    assert_answer(peer, 3, 200, "page");
    assert_int_equal(peer->goaway, -1);
    assert_int_equal(peer->streams[1].reset, -1); /* it stopped by itself */
    hang_up(peer);
}

/* What it says of a request is checked where that matters: it has one line, and only one. */
static void test_each_request_with_a_body_has_its_line_in_the_log(void **state)
{
    char fields[64], line[512];
    (void)state;
    struct peer *peer = dial(0);
    post(peer, 1, "/take", NULL, NULL);
    frame(peer, HEADERS, END_STREAM | END_HEADERS, 1, fields, field(fields, "UPPER", "x"));
    TURN_UNTIL(peer, peer->closed);
    hang_up(peer);
    peer = dial(0);
    post(peer, 1, "/take", NULL, NULL);
    data_at(peer, 1, 0, 10, END_STREAM);
    assert_answer(peer, 1, 200, "10");
    post(peer, 3, "/small", "content-length", "5001");
    assert_answer(peer, 3, 413, "0");
    post(peer, 5, "/take", NULL, NULL);
    TURN_UNTIL(peer, it.last != NULL);
    hang_up(peer);
    static const char *expected[] = {"route=take status=400", "route=take status=200",
                                     "route=small status=413", "route=take status=499"};
    access_log_close(&it.access);
    it.server->access = NULL;
    FILE *log = fopen(it.log, "r");
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_non_null(fgets(line, sizeof(line), log));
        if (strstr(line, expected[i]) == NULL)
            fail_msg("no \"%s\" in: %s", expected[i], line);
    }
    assert_null(fgets(line, sizeof(line), log));
    fclose(log);
}

static void test_heads_of_several_frames_between_a_bodys(void **state)
{
    char fields[512];
    (void)state;
    struct peer *peer = dial(0);
    post(peer, 1, "/take", NULL, NULL);
    data_at(peer, 1, 0, 10, 0);
    size_t n = head_fields(fields, "GET", "/page");
    frame(peer, HEADERS, END_STREAM, 3, fields, 20);
    frame(peer, CONTINUATION, END_HEADERS, 3, fields + 20, n - 20);
    data_at(peer, 1, 10, 10, 0);
    n = head_fields(fields, "POST", "/take");
    frame(peer, HEADERS, 0, 5, fields, 20);
    frame(peer, CONTINUATION, END_HEADERS, 5, fields + 20, n - 20);
    data_at(peer, 5, 0, 7, END_STREAM);
    data_at(peer, 1, 20, 10, END_STREAM);
    assert_answer(peer, 3, 200, "page");
    assert_answer(peer, 5, 200, "7");
    assert_answer(peer, 1, 200, "30");
    hang_up(peer);
}

static void test_data_after_the_end_of_a_body_is_an_error_of_the_stream(void **state)
{
    (void)state;
    struct peer *peer = dial(0);
    it.closed = true;
    post(peer, 1, "/take", NULL, NULL);
    data_at(peer, 1, 0, 10, END_STREAM);
    data_at(peer, 1, 10, 10, END_STREAM);
    TURN_UNTIL(peer, peer->streams[1].reset >= 0);
    assert_int_equal(peer->streams[1].reset, 5); /* STREAM_CLOSED */
    assert_int_equal(it.reading, 0);
    assert_serves(peer, 3);
    hang_up(peer);
}

static void test_a_client_that_waits_is_told_to_go_on(void **state)
{
    (void)state;
    struct peer *peer = dial(0);
    post(peer, 1, "/take", "expect", "100-continue");
    TURN_UNTIL(peer, peer->streams[1].interim == 100);
    data_at(peer, 1, 0, 10, END_STREAM);
    assert_answer(peer, 1, 200, "10");
    post(peer, 3, "/refuse", "expect", "100-continue");
    assert_answer(peer, 3, 403, "no");
    assert_int_equal(peer->streams[3].interim, 0);
    hang_up(peer);
}

static void test_bodies_under_way_are_finished_in_a_drain(void **state)
{
    uint64_t sent = 0;
    (void)state;
    struct peer *peer = dial(0);
    post(peer, 1, "/take", NULL, NULL);
    TURN_UNTIL(peer, it.last != NULL);
    http_loop_drain(it.http, false, on_idle, NULL);
    uint64_t begin_ms = real_ms();
    while (real_ms() - begin_ms < 1300) { /* h2o says GOAWAY a second time after one second */
        data_at(peer, 1, sent, 1000, 0);
        sent += 1000;
        turn(peer);
        usleep(5000);
    }
    assert_int_equal(peer->goaway, NO_ERROR);
    data_at(peer, 1, sent, 0, END_STREAM);
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)sent);
    assert_answer(peer, 1, 200, text);
    TURN_UNTIL(peer, it.idle);
    close(peer->fd);
}

/* -- streams that stand still ------------------------------------------------------------------ */

static void get(struct peer *peer, uint32_t id, const char *path)
{
    char fields[512];
    frame(peer, HEADERS, END_HEADERS | END_STREAM, id, fields, head_fields(fields, "GET", path));
}

/* INITIAL_WINDOW_SIZE. */
static void set_window(struct peer *peer, unsigned char n)
{
    frame(peer, SETTINGS, 0, 0, (unsigned char[]){0, 4, 0, 0, 0, n}, 6);
}

static void
test_answers_without_a_window_are_held_for_a_time_and_not_when_they_are_many(void **state)
{
    (void)state;
    it.server->sweep_ms = 20;
    it.server->hurried_ms = 300;
    it.server->held_max = 10 * LARGE;
    struct peer *idle = dial(0), *many = dial(1);
    set_window(idle, 0);
    get(idle, 1, "/large");
    TURN_UNTIL(idle, idle->streams[1].status == 200);
    assert_int_equal(it.http->held, LARGE);
    uint64_t begin_ms = real_ms();
    while (real_ms() - begin_ms < 600)
        turn(idle);
    assert_false(idle->closed); /* there is plenty: a minute */
    set_window(many, 0);
    for (uint32_t i = 0; i < 20; i++)
        get(many, 2 * i + 1, "/large");
    TURN_UNTIL(many, many->closed);
    TURN_UNTIL(idle, idle->closed); /* it had its time */
    assert_int_equal(it.http->held, 0);
    /* A byte now and then is not taking it. */
    many = dial(1);
    set_window(many, 1);
    for (uint32_t i = 0; i < 20; i++)
        get(many, 2 * i + 1, "/large");
    TURN_UNTIL(many, many->streams[39].text_n == 1);
    for (begin_ms = real_ms(); !many->closed && real_ms() - begin_ms < 10000;) {
        for (unsigned char i = 0; i < 20 && !many->closed; i++) {
            unsigned char one[13] = {
                0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, (unsigned char)(2 * i + 1), 0, 0, 0, 1};
            send(many->fd, one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        for (int i = 0; i < 20; i++)
            turn(many);
    }
    assert_true(many->closed);
    assert_true(real_ms() - begin_ms < 5000);
    assert_int_equal(it.http->held, 0);
    /* Who reads isn't asked to hurry. */
    many = dial(1);
    for (uint32_t i = 0; i < 20; i++)
        get(many, 2 * i + 1, "/large");
    for (uint32_t i = 0; i < 20; i++) {
        frame(many, WINDOW_UPDATE, 0, 2 * i + 1, "\0\x7f\xff\xff", 4);
        assert_answer(many, 2 * i + 1, 200, NULL);
        assert_int_equal(many->streams[2 * i + 1].text_n, LARGE);
    }
    hang_up(idle);
    hang_up(many);
}

static void test_requests_over_max_streams_wait_with_their_bodies(void **state)
{
    (void)state;
    it.http->conf.http2.max_concurrent_requests_per_connection = 2;
    struct peer *peer = dial(0);
    for (uint32_t id = 1; id <= 9; id += 2) {
        post(peer, id, "/take", NULL, NULL);
        data_at(peer, id, 0, 1000, 0);
    }
    settle(peer);
    assert_int_equal(it.reading, 2);
    frame(peer, RST_STREAM, 0, 5, "\0\0\0\0", 4); /* waits */
    data_at(peer, 7, 1000, 1000, END_STREAM);     /* waits */
    frame(peer, RST_STREAM, 0, 1, "\0\0\0\0", 4); /* runs */
    assert_answer(peer, 7, 200, "2000");
    data_at(peer, 3, 1000, 0, END_STREAM);
    data_at(peer, 9, 1000, 0, END_STREAM);
    assert_answer(peer, 3, 200, "1000");
    assert_answer(peer, 9, 200, "1000");
    assert_serves(peer, 11);
    hang_up(peer);
}

/* h2o 2.2.5 alone would look at the second frame for ever. */
static void test_a_head_that_is_not_whole_when_a_drain_ends_it(void **state)
{
    char fields[512];
    (void)state;
    struct peer *peer = dial(0);
    post(peer, 1, "/take", NULL, NULL);
    size_t n = head_fields(fields, "GET", "/page");
    frame(peer, HEADERS, END_STREAM, 3, fields, 20);
    TURN_UNTIL(peer, it.last != NULL);
    http_loop_drain(it.http, false, on_idle, NULL);
    TURN_UNTIL(peer, peer->goaway == NO_ERROR);
    uint64_t begin_ms = real_ms();
    while (real_ms() - begin_ms < 1300) /* GOAWAY a second time, which closes for new streams */
        turn(peer);
    frame(peer, CONTINUATION, END_HEADERS, 3, fields + 20, n - 20);
    data_at(peer, 1, 0, 10, END_STREAM);
    assert_answer(peer, 1, 200, "10");
    assert_int_equal(peer->streams[3].status, 0);
    TURN_UNTIL(peer, it.idle);
    close(peer->fd);
}

/* -- curl -------------------------------------------------------------------------------------- */

/* Runs it while the loop turns; what it wrote is in text_r. */
static int curl(const char *arguments, char *text_r, size_t size)
{
    char command[512];
    size_t n = 0;
    snprintf(command, sizeof(command),
             "curl -sS --http2-prior-knowledge -m 60 -w ' %%{http_code} %%{http_version}' %s "
             "http://127.0.0.1:%u",
             arguments, it.port);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    struct pollfd wait = {.fd = fileno(pipe), .events = POLLIN};
    for (;;) {
        loop_turn(it.loop, 1);
        if (poll(&wait, 1, 0) == 0)
            continue;
        ssize_t got_n = read(wait.fd, text_r + n, size - 1 - n);
        if (got_n <= 0)
            break;
        n += (size_t)got_n;
    }
    text_r[n] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

static void test_curl_uploads(void **state)
{
    static const struct {
        const char *arguments, *answer;
    } cases[] = {
        {"--request-target /take", "40000000 wrong 200 2"},
        {"--request-target /take -H 'Transfer-Encoding: chunked'", "40000000 wrong 200 2"},
        {"--request-target /refuse", "no 403 2"},
    };
    char file[] = "/tmp/test_http2_body.XXXXXX", arguments[256], text[4096];
    (void)state;
    int fd = mkstemp(file);
    assert_int_equal(ftruncate(fd, 40000000), 0);
    close(fd);
    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(arguments, sizeof(arguments), "-X POST -T %s %s", file, cases[i].arguments);
        assert_int_equal(curl(arguments, text, sizeof(text)), 0);
        assert_string_equal(text, cases[i].answer);
    }
    snprintf(arguments, sizeof(arguments), "-X POST -T %s --request-target /page -o /dev/null",
             file);
    assert_int_equal(curl(arguments, text, sizeof(text)), 0);
    assert_string_equal(text, " 413 2");
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_a_handler_gets_a_body_as_it_comes),
        TEST(test_a_reader_without_room_holds_its_client_back),
        TEST(test_who_sends_more_than_the_window_loses_the_stream),
        TEST(test_padding_costs_window_and_is_no_body),
        TEST(test_bodies_of_several_streams_do_not_mix),
        TEST(test_a_body_over_its_limit_is_answered_413),
        TEST(test_a_body_of_another_length_than_announced_is_malformed),
        TEST(test_slow_bodies_are_cut_and_honest_ones_are_not),
        TEST(test_many_streams_share_the_rate_of_their_connection),
        TEST(test_memory_for_bodies_is_bounded_in_the_whole_process),
        TEST(test_rooms_are_wide_only_while_there_is_plenty),
        TEST(test_a_client_that_leaves_gives_everything_back),
        TEST(test_a_reply_may_come_before_the_body),
        TEST(test_the_scheme_is_that_of_the_connection),
        TEST(test_trailers_end_a_body_and_are_dropped),
        TEST(test_trailers_after_an_early_answer_cost_the_connection_nothing),
        TEST(test_each_request_with_a_body_has_its_line_in_the_log),
        TEST(test_heads_of_several_frames_between_a_bodys),
        TEST(test_data_after_the_end_of_a_body_is_an_error_of_the_stream),
        TEST(test_a_client_that_waits_is_told_to_go_on),
        TEST(test_bodies_under_way_are_finished_in_a_drain),
        TEST(test_answers_without_a_window_are_held_for_a_time_and_not_when_they_are_many),
        TEST(test_requests_over_max_streams_wait_with_their_bodies),
        TEST(test_a_head_that_is_not_whole_when_a_drain_ends_it),
        TEST(test_curl_uploads),
#undef TEST
    };
    return cmocka_run_group_tests_name("HTTP/2", tests, NULL, NULL);
}
