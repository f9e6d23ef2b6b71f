/* Streamed calls to a real nginx, plain and over TLS, where bytes may wait in a record that was
 * read while the socket has none. */
#include "tests/unit/upstreams_streams.h"

#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[] = "/tmp/test_upstreams_stream.XXXXXX";
static pid_t nginx;
static int tls_port;

enum { SIZE = 5000000 };

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

static FILE *create(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    return file;
}

static void write_pattern(const char *name, uint64_t n)
{
    static char bytes[SIZE];
    FILE *file = create(name);
    pattern_fill(bytes, 0, (size_t)n);
    assert_int_equal(fwrite(bytes, 1, (size_t)n, file), n);
    fclose(file);
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    getsockname(fd, (struct sockaddr *)&address, &length);
    close(fd);
    return ntohs(address.sin_port);
}

static int start_nginx(void **state)
{
    (void)state;
    char path[128];
    assert_non_null(mkdtemp(dir));
    run("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key"
        " -out pem -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 30 2>/dev/null",
        dir);
    write_pattern("big", SIZE);
    write_pattern("small", 3000);
    tls_port = free_port();
    FILE *conf = create("nginx.conf");
    fprintf(conf,
            "daemon off; master_process off; pid %1$s/pid; error_log %1$s/error;\n"
            "events {}\n"
            "http { access_log off; keepalive_requests 100000; client_max_body_size 100m;\n"
            "client_body_temp_path %1$s/body; proxy_temp_path %1$s/proxy; fastcgi_temp_path "
            "%1$s/f; uwsgi_temp_path %1$s/u; scgi_temp_path %1$s/s;\n"
            "server { listen unix:%1$s/plain; listen 127.0.0.1:%2$d ssl; server_name localhost;\n"
            "ssl_certificate %1$s/pem; ssl_certificate_key %1$s/key; root %1$s;\n"
            "location /put/ { alias %1$s/; dav_methods PUT; }\n"
            "location /few/ { alias %1$s/; client_max_body_size 1k; dav_methods PUT; } } }\n",
            dir, tls_port);
    fclose(conf);
    snprintf(path, sizeof(path), "%s/nginx.conf", dir);
    char prefix[] = "-p", configured[] = "-c", program[] = "nginx";
    char *arguments[] = {program, prefix, dir, configured, path, NULL};
    assert_int_equal(posix_spawnp(&nginx, program, NULL, NULL, arguments, environ), 0);
    snprintf(path, sizeof(path), "%s/pid", dir); /* written when it listens */
    for (int tries = 0; access(path, F_OK) != 0 && tries < 500; tries++)
        usleep(10 * 1000);
    return 0;
}

static int stop_nginx(void **state)
{
    (void)state;
    kill(nginx, SIGTERM);
    assert_int_equal(waitpid(nginx, NULL, 0), nginx);
    run("rm -r '%s'", dir);
    return 0;
}

static void begin(struct fixture *f, bool tls)
{
    static char ca[160];
    fixture_init(f);
    snprintf(ca, sizeof(ca), "%s/pem", dir);
    if (tls) {
        set_url(f, 0, "https://localhost:%d", tls_port);
        f->configured[0].tls.ca_file = str_from(ca);
    } else {
        set_url(f, 0, "unix:%s/plain", dir);
    }
    fixture_start(f, 1);
}

static void expect_file(struct fixture *f, const char *target, uint64_t n, unsigned one_in)
{
    struct streamed s;
    streamed_init(f, &s, NULL, target, UINT64_MAX);
    s.takes_one_in = one_in;
    s.resumes = one_in % 2 == 0;
    streamed_start(&s);
    while (!s.ask.done) {
        loop_turn(f->loop, 100);
        if (!s.ask.done && !s.resumes)
            up_call_resume(s.ask.call);
    }
    expect_answered(&s, 200);
    expect_body(&s, n);
    streamed_release(&s);
}

static void test_files_come_whole(void **state)
{
    (void)state;
    for (unsigned tls = 0; tls < 2; tls++) {
        struct fixture f;
        begin(&f, tls);
        for (unsigned one_in = 1; one_in <= 4; one_in++) {
            expect_file(&f, "/big", SIZE, one_in);
            expect_file(&f, "/small", 3000, one_in);
        }
        fixture_stop(&f);
    }
}

static void test_bodies_go_whole(void **state)
{
    (void)state;
    for (unsigned tls = 0; tls < 2; tls++) {
        struct fixture f;
        begin(&f, tls);
        for (unsigned i = 0; i < 8; i++) {
            struct streamed s;
            char path[128];
            snprintf(path, sizeof(path), "%s/kept", dir);
            unlink(path);
            streamed_init(&f, &s, "PUT", "/put/kept", SIZE);
            s.gives_one_in = i % 4;
            s.gives_at_most = i == 7 ? 1000 : 0;
            if (i >= 4)
                s.stream.length = UINT64_MAX;
            streamed_run(&s);
            expect_answered(&s, 201);
            assert_int_equal(s.ask.result.reused, i != 0);
            streamed_release(&s);
            expect_file(&f, "/kept", SIZE, 1);
        }
        fixture_stop(&f);
    }
}

static void test_a_refused_body_is_told_at_once(void **state)
{
    (void)state;
    for (unsigned tls = 0; tls < 2; tls++) {
        struct fixture f;
        begin(&f, tls);
        for (unsigned i = 0; i < 4; i++) {
            struct streamed s;
            streamed_init(&f, &s, "PUT", "/few/kept", SIZE);
            s.has = i % 2 ? 1000 : 0;
            if (i >= 2)
                s.stream.length = UINT64_MAX;
            if (i == 3)
                s.has = 3000;
            streamed_run(&s);
            expect_answered(&s, 413);
            streamed_release(&s);
            expect_file(&f, "/small", 3000, 2);
        }
        fixture_stop(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_come_whole),
        cmocka_unit_test(test_bodies_go_whole),
        cmocka_unit_test(test_a_refused_body_is_told_at_once),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_nginx, stop_nginx);
}
