/* https upstreams: whom the gateway trusts, who trusts the gateway, and what each refusal is
 * called. Certificates are made with the openssl command; the server is OpenSSL's, on a thread. */
#include <netinet/tcp.h>
#include "tests/unit/upstreams_fixture.h"

static char dir[] = "/tmp/test_upstreams_tls.XXXXXX";

static const char *in_dir(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static void run(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static void make_certificate(const char *name, const char *signer, const char *extension, int days)
{
    run("cd %s && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key"
        " -out %s.csr -subj /CN=%s 2>/dev/null && echo '%s' >%s.ext &&"
        " openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -days %d"
        " -extfile %s.ext -out %s.pem 2>/dev/null",
        dir, name, name, name, extension, name, name, signer, signer, days, name, name);
}

static void make_ca(const char *name)
{
    run("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        " -keyout %s.key -out %s.pem -subj /CN=%s -days 30 2>/dev/null",
        dir, name, name, name);
}

static int start(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    make_ca("ca");
    make_ca("other-ca");
    make_certificate("server", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1", 30);
    make_certificate("elsewhere", "ca", "subjectAltName=DNS:elsewhere.example", 30);
    make_certificate("expired", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1", -1);
    make_certificate("client", "ca", "extendedKeyUsage=clientAuth", 30);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    run("rm -r %s", dir);
    return 0;
}

/* -- the server: one connection after another -- */

struct server {
    SSL_CTX *ctx;
    int listener, port;
    pthread_t thread;
    _Atomic bool ending;
    char peer[64]; /* CN of the client's certificate, of the last handshake */
    _Atomic unsigned handshakes, resumed;
    _Atomic uint64_t taken, crc; /* bytes of the last request's body, and their CRC-32 */
    _Atomic bool quits;          /* ends the connection after a body, unanswered */
};

/* head: what was read first, `n` bytes. */
static bool read_body(struct server *server, SSL *ssl, const char *head, size_t n)
{
    char bytes[4096];
    const char *line = memmem(head, n, "\r\nContent-Length: ", 18);
    const char *end = memmem(head, n, "\r\n\r\n", 4);
    assert_non_null(end);
    uint64_t length = line != NULL ? strtoull(line + 18, NULL, 10) : 0;
    uint64_t taken = n - (size_t)(end + 4 - head);
    unsigned long crc = crc32(0, (const unsigned char *)end + 4, (unsigned)taken);
    while (taken < length) {
        usleep(200); /* so that not all of it fits on the way */
        int got = SSL_read(ssl, bytes, sizeof(bytes));
        if (got <= 0)
            return false;
        taken += (uint64_t)got;
        crc = crc32(crc, (const unsigned char *)bytes, (unsigned)got);
    }
    atomic_store(&server->taken, taken);
    atomic_store(&server->crc, crc);
    return length == 0 || !atomic_load(&server->quits);
}

static void serve(struct server *server, SSL *ssl)
{
    char request[4096];
    int n;
    if (SSL_accept(ssl) != 1)
        return;
    atomic_fetch_add(&server->handshakes, 1);
    atomic_fetch_add(&server->resumed, SSL_session_reused(ssl) == 1);
    X509 *peer = SSL_get1_peer_certificate(ssl);
    if (peer != NULL)
        X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, server->peer,
                                  sizeof(server->peer));
    X509_free(peer);
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    while ((n = SSL_read(ssl, request, sizeof(request))) > 0)
        if (!read_body(server, ssl, request, (size_t)n) ||
            SSL_write(ssl, reply, sizeof(reply) - 1) <= 0)
            return;
}

static void *accept_all(void *arg)
{
    struct server *server = arg;
    while (!atomic_load(&server->ending)) {
        int fd = accept(server->listener, NULL, NULL);
        if (fd < 0)
            break;
        struct timeval limit = {.tv_sec = 3};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        SSL *ssl = SSL_new(server->ctx);
        SSL_set_fd(ssl, fd);
        serve(server, ssl);
        SSL_shutdown(ssl);
        SSL_free(ssl);
        close(fd);
    }
    return NULL;
}

static void server_start(struct server *server, const char *certificate, int max_version,
                         bool wants_client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    char name[64];
    *server = (struct server){.ctx = SSL_CTX_new(TLS_server_method())};
    SSL_CTX_set_max_proto_version(server->ctx, max_version);
    snprintf(name, sizeof(name), "%s.pem", certificate);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(server->ctx, in_dir(name)), 1);
    snprintf(name, sizeof(name), "%s.key", certificate);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(server->ctx, in_dir(name), SSL_FILETYPE_PEM), 1);
    if (wants_client) {
        assert_int_equal(SSL_CTX_load_verify_file(server->ctx, in_dir("ca.pem")), 1);
        SSL_CTX_set_verify(server->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    getsockname(server->listener, (struct sockaddr *)&address, &length);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, accept_all, server), 0);
}

static void server_stop(struct server *server)
{
    atomic_store(&server->ending, true);
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    SSL_CTX_free(server->ctx);
}

/* -- calls -- */

static void test_whom_the_gateway_talks_to(void **state)
{
    (void)state;
    static const struct {
        const char *what, *certificate, *host, *ca_file;
        int server_max;
        enum config_tls_version min_version;
        const char *client; /* our certificate */
        bool wants_client;
        const char *error, *other_error;
    } cases[] = {
        {"address", "server", "127.0.0.1", "ca.pem", TLS1_3_VERSION, TLS_1_2, NULL, false, NULL,
         NULL},
        {"name", "server", "localhost", "ca.pem", TLS1_3_VERSION, TLS_1_3, NULL, false, NULL, NULL},
        {"TLS 1.2", "server", "localhost", "ca.pem", TLS1_2_VERSION, TLS_1_2, NULL, false, NULL,
         NULL},
        {"too old", "server", "localhost", "ca.pem", TLS1_2_VERSION, TLS_1_3, NULL, false,
         "tls_alert_received", "tls_protocol_error"},
        {"other name", "elsewhere", "localhost", "ca.pem", TLS1_3_VERSION, TLS_1_2, NULL, false,
         "tls_certificate_error", NULL},
        {"expired", "expired", "localhost", "ca.pem", TLS1_3_VERSION, TLS_1_2, NULL, false,
         "tls_certificate_error", NULL},
        {"other CA", "server", "localhost", "other-ca.pem", TLS1_3_VERSION, TLS_1_2, NULL, false,
         "tls_certificate_error", NULL},
        {"system's CAs", "server", "localhost", NULL, TLS1_3_VERSION, TLS_1_2, NULL, false,
         "tls_certificate_error", NULL},
        {"system's CAs, ours among them", "server", "localhost", NULL, TLS1_3_VERSION, TLS_1_2,
         NULL, false, NULL, NULL},
        {"client known", "server", "localhost", "ca.pem", TLS1_3_VERSION, TLS_1_2, "client", true,
         NULL, NULL},
        {"client unknown", "server", "localhost", "ca.pem", TLS1_3_VERSION, TLS_1_2, NULL, true,
         "tls_alert_received", "connection_terminated"},
        {"client unknown, TLS 1.2", "server", "localhost", "ca.pem", TLS1_2_VERSION, TLS_1_2, NULL,
         true, "tls_alert_received", NULL},
    };
    /* In TLS 1.3 the handshake is over for the client before the server has seen its certificate:
     * the refusal races with the request. */
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct server server;
        struct fixture f;
        struct ask ask = {0};
        server_start(&server, cases[i].certificate, cases[i].server_max, cases[i].wants_client);
        fixture_init(&f);
        set_url(&f, 0, "https://%s:%d", cases[i].host, server.port);
        if (strstr(cases[i].what, "ours among them") != NULL)
            setenv("SSL_CERT_FILE", in_dir("ca.pem"), 1);
        else
            unsetenv("SSL_CERT_FILE");
        struct config_tls *tls = &f.configured[0].tls;
        tls->min_version = (uint8_t)cases[i].min_version;
        if (cases[i].ca_file != NULL)
            tls->ca_file = str_from(in_dir(cases[i].ca_file));
        if (cases[i].client != NULL) {
            tls->cert_file = str_from(in_dir("client.pem"));
            tls->key_file = str_from(in_dir("client.key"));
        }
        fixture_start(&f, 1);
        struct up_result result = ask_for(&f, &ask, 0, "/");
        bool as_expected =
            cases[i].error == NULL
                ? result.end == UP_ANSWERED && result.status == 200
                : result.end == UP_FAILED && (strcmp(result.error, cases[i].error) == 0 ||
                                              (cases[i].other_error != NULL &&
                                               strcmp(result.error, cases[i].other_error) == 0));
        if (!as_expected)
            fail_msg("%s: end %d, %s, '%s'", cases[i].what, result.end, result.error,
                     result.detail);
        ask_release(&ask);
        if (cases[i].error == NULL) { /* the handshake is not repeated */
            assert_in_range(result.times.tls, result.times.connect, result.times.first_byte);
            result = ask_for(&f, &ask, 0, "/");
            assert_int_equal(result.end, UP_ANSWERED);
            assert_true(result.reused);
            assert_int_equal(result.times.tls, 0);
            ask_release(&ask);
        }
        fixture_stop(&f);
        server_stop(&server);
        assert_string_equal(server.peer, cases[i].client ? "client" : "");
    }
}

static void test_new_connections_resume_the_session(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct server server;
        struct fixture f;
        server_start(&server, "server", version, false);
        fixture_init(&f);
        set_url(&f, 0, "https://localhost:%d", server.port);
        f.configured[0].tls.ca_file = str_from(in_dir("ca.pem"));
        f.configured[0].max_idle = 0; /* each call connects */
        fixture_start(&f, 1);
        for (int i = 0; i < 4; i++) {
            struct ask ask = {0};
            assert_int_equal(ask_for(&f, &ask, 0, "/").end, UP_ANSWERED);
            ask_release(&ask);
        }
        fixture_stop(&f);
        server_stop(&server);
        assert_int_equal(atomic_load(&server.handshakes), 4);
        assert_int_equal(atomic_load(&server.resumed), 3);
    }
}

static void test_bodies_go_whole_and_once(void **state)
{
    (void)state;
    static char bytes[1 << 20];
    static const size_t sizes[] = {10, 60000, 70000, sizeof(bytes)};
    struct server server;
    struct fixture f;
    struct ask ask = {0};
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 2654435761u >> 24);
    server_start(&server, "server", TLS1_3_VERSION, false);
    fixture_init(&f);
    set_url(&f, 0, "https://localhost:%d", server.port);
    f.configured[0].tls.ca_file = str_from(in_dir("ca.pem"));
    fixture_start(&f, 1);
    struct up_request request = {.upstream = upstream_find(f.ups, STR("a")), .method = "POST"};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        request.body = (struct str){bytes, sizes[i]};
        ask_request(&f, &ask, &request);
        ask_wait(&f, &ask);
        assert_int_equal(ask.result.end, UP_ANSWERED);
        assert_int_equal(atomic_load(&server.taken), sizes[i]);
        assert_int_equal(atomic_load(&server.crc),
                         crc32(0, (const unsigned char *)bytes, (unsigned)sizes[i]));
        assert_int_equal(ask.result.reused, i != 0);
        ask_release(&ask);
    }
    atomic_store(&server.quits, true);
    ask_request(&f, &ask, &request);
    ask_wait(&f, &ask);
    assert_int_equal(ask.result.end, UP_FAILED);
    assert_string_equal(ask.result.error, "connection_terminated");
    assert_true(ask.result.reused);
    ask_release(&ask);
    fixture_stop(&f);
    server_stop(&server);
    assert_int_equal(atomic_load(&server.handshakes), 1);
}

static void test_a_server_without_tls_and_one_that_is_mute(void **state)
{
    (void)state;
    struct origin plain;
    struct fixture f;
    struct ask ask = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int mute = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(mute, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(mute, 4), 0);
    getsockname(mute, (struct sockaddr *)&address, &length);

    origin_start(&plain, NULL);
    fixture_init(&f);
    set_url(&f, 0, "https://127.0.0.1:%d", plain.port);
    set_url(&f, 1, "https://127.0.0.1:%d", ntohs(address.sin_port));
    f.configured[0].timeout_ms = 1000;
    f.configured[1].connect_timeout_ms = 100;
    fixture_start(&f, 2);
    ask_for(&f, &ask, 1, "/");
    assert_int_equal(ask.result.end, UP_TIMEOUT);
    assert_string_equal(ask.result.error, "connection_timeout"); /* the handshake is part of it */
    ask_release(&ask);
    /* The origin waits for the end of a request that TLS never sends: it hangs up on our timeout.
     */
    ask_for(&f, &ask, 0, "/");
    assert_int_equal(ask.result.end, UP_TIMEOUT);
    ask_release(&ask);
    fixture_stop(&f);
    origin_stop(&plain);
    close(mute);
}

static void *answer_plainly(void *arg)
{
    int fd = accept(*(int *)arg, NULL, NULL);
    char bytes[1024];
    if (recv(fd, bytes, sizeof(bytes), 0) > 0)
        say(fd, "HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n");
    wait_for_close(fd);
    close(fd);
    return NULL;
}

static void test_plain_http_where_tls_should_be(void **state)
{
    (void)state;
    struct fixture f;
    struct ask ask = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t thread;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 4), 0);
    getsockname(listener, (struct sockaddr *)&address, &length);
    assert_int_equal(pthread_create(&thread, NULL, answer_plainly, &listener), 0);
    fixture_init(&f);
    set_url(&f, 0, "https://127.0.0.1:%d", ntohs(address.sin_port));
    fixture_start(&f, 1);
    ask_for(&f, &ask, 0, "/");
    assert_int_equal(ask.result.end, UP_FAILED);
    assert_string_equal(ask.result.error, "tls_protocol_error");
    ask_release(&ask);
    fixture_stop(&f);
    pthread_join(thread, NULL);
    close(listener);
}

/* -- configuration -- */

static void test_files_that_cannot_be_used_are_told_at_the_start(void **state)
{
    (void)state;
    static const struct {
        const char *ca, *cert, *key;
        size_t errors;
    } cases[] = {
        {"ca.pem", "client.pem", "client.key", 0},
        {"missing.pem", NULL, NULL, 1},
        {"client.key", NULL, NULL, 1}, /* no certificate in it */
        {NULL, "client.pem", NULL, 1},
        {NULL, NULL, "client.key", 1},
        {NULL, "client.pem", "server.key", 1}, /* another's key */
        {NULL, "client.key", "client.key", 1},
        {"missing.pem", "client.pem", "missing.key", 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        fixture_init(&f);
        set_url(&f, 0, "https://127.0.0.1");
        struct config_tls *tls = &f.configured[0].tls;
        tls->ca_file = str_from(cases[i].ca ? in_dir(cases[i].ca) : "");
        tls->cert_file = str_from(cases[i].cert ? in_dir(cases[i].cert) : "");
        tls->key_file = str_from(cases[i].key ? in_dir(cases[i].key) : "");
        f.config->upstream_count = 1;
        f.ups = upstreams_create(f.config, f.diag);
        if (diag_errors(f.diag) != cases[i].errors) {
            diag_print(f.diag, stderr);
            fail_msg("case %zu: %zu errors", i, diag_errors(f.diag));
        }
        upstreams_destroy(&f.ups);
        f.config->upstreams = NULL;
        f.config->upstream_count = 0;
        config_destroy(&f.config);
        diag_destroy(&f.diag);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* the test's server writes through OpenSSL */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whom_the_gateway_talks_to),
        cmocka_unit_test(test_new_connections_resume_the_session),
        cmocka_unit_test(test_bodies_go_whole_and_once),
        cmocka_unit_test(test_a_server_without_tls_and_one_that_is_mute),
        cmocka_unit_test(test_plain_http_where_tls_should_be),
        cmocka_unit_test(test_files_that_cannot_be_used_are_told_at_the_start),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
