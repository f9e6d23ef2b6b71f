/* `gateway stub -c FILE`: demo upstreams. One loop serves all services of the file, each with its
 * own listener and its own h2o context (h2o routes by Host, services differ by port). Delays are
 * timers of the loop, so a slow route holds nobody up. Failures are spread evenly rather than
 * drawn: with fail = 0.25 every fourth request fails, each time the same way. */
#include "commands/commands.h"
#include "commands/stub_file.h"

#include <errno.h>
#include <h2o.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/loop.h"

enum { BODY_MAX = 1 << 20, KEEP_ALIVE_MS = 75 * 1000, ACCEPTS_A_TURN = 64 };

static const char usage[] =
    "Usage: gateway stub -c FILE [-v]\n"
    "\n"
    "Serves the demo upstreams that FILE describes (docs/stub.md) until SIGTERM or SIGINT.\n"
    "\n"
    "  -c, --config FILE  the services and their routes, as TOML\n"
    "  -v, --verbose      print a line for each request\n";

struct service {
    const struct stub_service *file; /* borrowed from stub.file */
    double *failing;                 /* a route: what it owes; a whole one is a failure */
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    h2o_socket_t *listener;
};

/* Lives as long as the process: connections that are open at the end still point into it. */
static struct stub {
    struct stub_file *file;
    struct loop *loop;
    struct service *services;
    bool verbose;
    h2o_socket_t *signals;
} stub;

struct handler {
    h2o_handler_t super;
    struct service *service;
};

/* A request on its way, shared with its pool: when the client leaves, the pool disposes of it. */
struct answer {
    struct timer timer;
    h2o_req_t *req;
    const struct service *service;
    uint64_t started_us;
    int status;
    struct str body;
    const struct stub_route *route; /* NULL: no such path */
    bool sent;
};

/* -- answering -------------------------------------------------------------------------------- */

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {{200, "OK"},
                   {201, "Created"},
                   {202, "Accepted"},
                   {204, "No Content"},
                   {301, "Moved Permanently"},
                   {302, "Found"},
                   {304, "Not Modified"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {429, "Too Many Requests"},
                   {500, "Internal Server Error"},
                   {502, "Bad Gateway"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"}};

    for (size_t i = 0; i < COUNT(reasons); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Stub";
}

static void print_request(const struct answer *answer, const char *outcome)
{
    const h2o_req_t *req = answer->req;

    if (stub.verbose)
        printf("stub: %s %.*s %.*s %s after %.1f ms\n", answer->service->file->name.p,
               (int)req->input.method.len, req->input.method.base, (int)req->input.path.len,
               req->input.path.base, outcome, (double)(clock_us() - answer->started_us) / 1000.0);
}

static void add_headers(h2o_req_t *req, const struct stub_route *route)
{
    bool typed = false;

    for (size_t i = 0; route != NULL && i < route->header_count; i++) {
        const struct stub_header *header = &route->headers[i];

        typed = typed || str_caseeq(header->name, STR("content-type"));
        h2o_iovec_t name = h2o_strdup(&req->pool, header->name.p, header->name.n);
        h2o_strtolower(name.base, name.len);
        h2o_add_header_by_str(&req->pool, &req->res.headers, name.base, name.len, 1, header->name.p,
                              header->value.p, header->value.n);
    }
    if (!typed && req->res.status != 204)
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                       H2O_STRLIT("application/json"));
}

static void send_answer(struct timer *timer)
{
    static h2o_generator_t generator = {NULL, NULL};
    struct answer *answer = CONTAINER_OF(timer, struct answer, timer);
    h2o_req_t *req = answer->req;
    bool head = h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));
    h2o_iovec_t body = h2o_iovec_init(answer->body.p, answer->body.n);
    char outcome[16];

    answer->sent = true;
    req->res.status = answer->status;
    req->res.reason = reason_phrase(answer->status);
    req->res.content_length = answer->body.n;
    add_headers(req, answer->route);
    snprintf(outcome, sizeof(outcome), "%d", answer->status);
    print_request(answer, outcome);
    h2o_start_response(req, &generator);
    h2o_send(req, &body, head || body.len == 0 ? 0 : 1, H2O_SEND_STATE_FINAL);
}

static void on_dispose(void *arg)
{
    struct answer *answer = arg;

    timer_stop(stub.loop, &answer->timer);
    if (!answer->sent)
        print_request(answer, "client left");
}

static bool must_fail(struct service *service, const struct stub_route *route)
{
    double *owed = &service->failing[route - service->file->routes];

    *owed += route->fail;
    if (*owed < 1.0 - 1e-9) /* ten times 0.1 is a little less than 1 */
        return false;
    *owed -= 1.0;
    return true;
}

static const struct stub_route *find_route(const struct stub_service *service, struct str path)
{
    for (size_t i = 0; i < service->route_count; i++) {
        if (str_eq(service->routes[i].path, path))
            return &service->routes[i];
    }
    return NULL;
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct service *service = ((struct handler *)handler)->service;
    const struct stub_route *route = find_route(
        service->file, (struct str){req->path_normalized.base, req->path_normalized.len});
    struct answer *answer = h2o_mem_alloc_shared(&req->pool, sizeof(*answer), on_dispose);

    *answer =
        (struct answer){.req = req, .service = service, .route = route, .started_us = clock_us()};
    timer_init(&answer->timer, send_answer);
    if (route == NULL) {
        answer->status = 404;
        answer->body = STR("{\"error\":\"the stub has no such path\"}\n");
    } else if (must_fail(service, route)) {
        answer->status = 500;
        answer->body = STR("{\"error\":\"a failure that the stub was asked for\"}\n");
    } else {
        answer->status = route->status;
        answer->body = route->body;
    }
    if (route != NULL && route->delay_ms != 0)
        timer_start(stub.loop, &answer->timer, route->delay_ms);
    else
        send_answer(&answer->timer);
    return 0;
}

/* -- listening -------------------------------------------------------------------------------- */

static void on_connection(h2o_socket_t *listener, const char *error)
{
    struct service *service = listener->data;

    if (error != NULL)
        return;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        h2o_socket_t *socket = h2o_evloop_socket_accept(listener);

        if (socket == NULL)
            return;
        h2o_accept(&service->accept, socket);
    }
}

/* A listening socket, or -1 with the reason in *error_r. */
static int open_listener(const struct stub_service *service, const char **error_r)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int on = 1, fd = -1;
    int failed = getaddrinfo(service->host.p, service->port.p, &hints, &found);

    if (failed != 0) {
        *error_r = gai_strerror(failed);
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        *error_r = strerror(errno);
        if (fd != -1)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* The address it really got: the file may ask for port 0. */
static void print_listening(const struct stub_service *service, int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0 ||
        getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    printf("stub: %s listening on %s%s%s:%s\n", service->name.p,
           address.ss_family == AF_INET6 ? "[" : "", host, address.ss_family == AF_INET6 ? "]" : "",
           port);
}

static bool start_service(struct service *service, const struct stub_service *file)
{
    const char *error;
    int fd = open_listener(file, &error);

    if (fd == -1) {
        fprintf(stderr, "gateway stub: %s: cannot listen on %s:%s: %s\n", file->name.p,
                file->host.p, file->port.p, error);
        return false;
    }
    service->file = file;
    service->failing =
        h2o_mem_alloc_pool(&stub.file->pool, file->route_count * sizeof(service->failing[0]));
    for (size_t i = 0; i < file->route_count; i++)
        service->failing[i] = 0.0;

    h2o_config_init(&service->config);
    service->config.server_name = h2o_iovec_init(H2O_STRLIT("gateway-stub"));
    service->config.max_request_entity_size = BODY_MAX;
    service->config.http1.req_timeout = KEEP_ALIVE_MS; /* for idle connections too */
    h2o_hostconf_t *host =
        h2o_config_register_host(&service->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct handler *handler = (struct handler *)h2o_create_handler(path, sizeof(*handler));
    handler->super.on_req = on_request;
    handler->service = service;

    h2o_context_init(&service->context, loop_h2o(stub.loop), &service->config);
    service->accept = (h2o_accept_ctx_t){.ctx = &service->context, .hosts = service->config.hosts};
    service->listener =
        h2o_evloop_socket_create(loop_h2o(stub.loop), fd, H2O_SOCKET_FLAG_DONT_READ);
    service->listener->data = service;
    h2o_socket_read_start(service->listener, on_connection);
    print_listening(file, fd);
    return true;
}

/* -- running ---------------------------------------------------------------------------------- */

static void on_signal(h2o_socket_t *socket, const char *error)
{
    (void)socket;
    (void)error;
    loop_stop(stub.loop);
}

static void catch_signals(void)
{
    sigset_t set;
    int fd;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    gw_assert(fd != -1);
    stub.signals = h2o_evloop_socket_create(loop_h2o(stub.loop), fd, H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(stub.signals, on_signal);
}

static int serve(void)
{
    stub.loop = loop_create(0);
    stub.services = h2o_mem_alloc(stub.file->service_count * sizeof(stub.services[0]));
    memset(stub.services, 0, stub.file->service_count * sizeof(stub.services[0]));
    catch_signals();
    for (size_t i = 0; i < stub.file->service_count; i++) {
        if (!start_service(&stub.services[i], &stub.file->services[i]))
            return COMMAND_NO_ADDRESS;
    }
    loop_run(stub.loop);
    return COMMAND_DONE;
}

int command_stub(int argc, char **argv)
{
    const char *path = NULL;
    const struct command_option options[] = {
        {.name = "config", .letter = 'c', .value_r = &path},
        {.name = "verbose", .letter = 'v', .flag_r = &stub.verbose}};
    int code;

    if (!command_arguments(
            argc, argv,
            &(struct command_line){.usage = usage, .options = options, .option_count = 2}, &code))
        return code;
    if (path == NULL) {
        fprintf(stderr, "gateway stub: which file? (-c FILE)\n%s", usage);
        return COMMAND_USAGE;
    }
    struct diag *diag = diag_create();
    stub.file = stub_file_load(path, diag);
    diag_print(diag, stderr);
    code = diag_errors(diag) != 0 ? COMMAND_BAD_CONFIG : COMMAND_DONE;
    diag_destroy(&diag);
    setvbuf(stdout, NULL, _IOLBF, 0); /* into a pipe or a log file too, line by line */
    if (code == COMMAND_DONE)
        code = serve();
    fflush(stdout);
    return code;
}
