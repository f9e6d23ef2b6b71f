/* gateway healthcheck: which address it asks, and what each answer becomes. */
#include "command_process.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "commands/commands.h"

/* A server for one connection, in a process of its own: reads a request's head, sends `answer`
 * ("" = never) and stays until it is killed. */
struct server {
    pid_t pid;
    unsigned port;
};

static struct server server_start(const char *unix_path, const char *answer)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct sockaddr_in any = {.sin_family = AF_INET};
    socklen_t length = sizeof(any);
    int fd = socket(unix_path != NULL ? AF_UNIX : AF_INET, SOCK_STREAM, 0);

    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (unix_path != NULL) {
        snprintf(path.sun_path, sizeof(path.sun_path), "%s", unix_path);
        assert_int_equal(bind(fd, (struct sockaddr *)&path, sizeof(path)), 0);
    } else {
        assert_int_equal(bind(fd, (struct sockaddr *)&any, length), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &length), 0);
    }
    assert_int_equal(listen(fd, 1), 0);
    struct server server = {fork(), ntohs(any.sin_port)};
    assert_int_not_equal(server.pid, -1);
    if (server.pid == 0) {
        char request[2048] = "";
        size_t n = 0;
        ssize_t got;
        int client;

        alarm(60);
        client = accept(fd, NULL, NULL);
        while (strstr(request, "\r\n\r\n") == NULL && n < sizeof(request) - 1 &&
               (got = read(client, request + n, sizeof(request) - 1 - n)) > 0)
            n += (size_t)got;
        if (strncmp(request, "GET /readyz HTTP/1.1\r\n", 22) != 0)
            answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        if (write(client, answer, strlen(answer)) < 0)
            _exit(1);
        pause();
    }
    close(fd);
    return server;
}

static void server_end(const struct server *server)
{
    kill(server->pid, SIGKILL);
    assert_int_equal(waitpid(server->pid, NULL, 0), server->pid);
}

static void test_only_200_is_healthy_and_the_reason_is_told(void **state)
{
    static const struct {
        const char *answer;
        int code;
        const char *says;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", 0, NULL},
        {"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\ndraining\n", 1,
         "/readyz: answered 503: draining\n"},
        {"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\n\033[2J", 1,
         "/readyz: answered 503\n"}, /* no escape sequences to the terminal */
        {"HTTP/1.1 302 Found\r\nlocation: /livez\r\ncontent-length: 0\r\n\r\n", 1,
         "/readyz: answered 302\n"},
        {"HTTP/1.1 204 No Content\r\n\r\n", 1, "/readyz: answered 204\n"},
        {"SSH-2.0-OpenSSH_9.2p1\r\n", 1, "Received HTTP/0.9 when not allowed\n"},
        {"", 1, "timed out"},
    };
    char text[512], words[64];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct server server = server_start(NULL, cases[i].answer);

        snprintf(words, sizeof(words), "healthcheck 127.0.0.1:%u", server.port);
        assert_int_equal(process_run(command_healthcheck, words, text, sizeof(text)),
                         cases[i].code);
        if (cases[i].says == NULL) {
            assert_string_equal(text, "");
        } else {
            assert_ptr_equal(strstr(text, "gateway healthcheck: http://127.0.0.1:"), text);
            assert_non_null(strstr(text, cases[i].says));
            assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
        }
        server_end(&server);
    }
}

static void test_the_address_is_the_argument_or_that_of_the_admin_listener(void **state)
{
    static const struct {
        const char *environment, *words, *asked;
    } cases[] = {
        {NULL, "healthcheck 127.0.0.1:1", "http://127.0.0.1:1/readyz"},
        {NULL, "healthcheck http://127.0.0.1:1/livez", "http://127.0.0.1:1/livez"},
        {"0.0.0.0:1", "healthcheck", "http://127.0.0.1:1/readyz"},
        {"[::]:1", "healthcheck", "http://[::1]:1/readyz"},
        {"0.0.0.0:2", "healthcheck 127.0.0.1:1", "http://127.0.0.1:1/readyz"},
        {"unix:/nowhere/admin.sock", "healthcheck", "/nowhere/admin.sock"},
    };
    char text[512], begin[128];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (cases[i].environment != NULL)
            setenv("GATEWAY_ADMIN", cases[i].environment, 1);
        setenv("http_proxy", "http://127.0.0.1:3", 1); /* never asked */
        assert_int_equal(process_run(command_healthcheck, cases[i].words, text, sizeof(text)), 1);
        snprintf(begin, sizeof(begin), "gateway healthcheck: %s: ", cases[i].asked);
        assert_ptr_equal(strstr(text, begin), text);
        assert_null(strstr(text, "port 3"));
        unsetenv("GATEWAY_ADMIN");
        unsetenv("http_proxy");
    }
}

static void test_an_admin_listener_on_a_unix_socket_is_asked_too(void **state)
{
    struct server server =
        server_start("admin.sock", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    char text[512];

    (void)state;
    assert_int_equal(
        process_run(command_healthcheck, "healthcheck unix:admin.sock", text, sizeof(text)), 0);
    assert_string_equal(text, "");
    server_end(&server);
}

static void test_version_tells_ours_and_the_libraries(void **state)
{
    static const char *const names[] = {"gateway ", "\nh2o ", "\ncurl ", "\nopenssl ", "\nzlib "};
    char text[512];

    (void)state;
    assert_int_equal(process_run(command_version, "version", text, sizeof(text)), 0);
    for (size_t i = 0; i < COUNT(names); i++)
        assert_non_null(strstr(text, names[i]));
    assert_int_equal(process_run(command_version, "version x", text, sizeof(text)), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_200_is_healthy_and_the_reason_is_told),
        cmocka_unit_test(test_the_address_is_the_argument_or_that_of_the_admin_listener),
        cmocka_unit_test(test_an_admin_listener_on_a_unix_socket_is_asked_too),
        cmocka_unit_test(test_version_tells_ours_and_the_libraries),
    };

    if (enter_work_dir(NULL) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return leave_work_dir(NULL) != 0 || failed != 0;
}
