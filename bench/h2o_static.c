/* What h2o does with an answer that is there already: the measure for pages that are kept. One
 * loop, one constant body.
 *
 *     h2o_static PORT BYTES */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#define H2O_USE_EPOLL 1
#include <h2o.h>

static h2o_iovec_t body;

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    static h2o_generator_t all_at_once = {NULL, NULL};
    (void)handler;
    req->res.status = 200;
    req->res.reason = "OK";
    req->res.content_length = body.len;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("text/html; charset=utf-8"));
    h2o_start_response(req, &all_at_once);
    h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

static h2o_context_t context;
static h2o_accept_ctx_t accept_context;

static void on_accept(h2o_socket_t *listener, const char *error)
{
    h2o_socket_t *sock = error == NULL ? h2o_evloop_socket_accept(listener) : NULL;
    if (sock != NULL)
        h2o_accept(&accept_context, sock);
}

int main(int argc, char **argv)
{
    h2o_globalconf_t config;
    if (argc != 3)
        return 2;
    body.len = strtoul(argv[2], NULL, 10);
    body.base = malloc(body.len);
    memset(body.base, 'x', body.len);
    h2o_config_init(&config);
    h2o_hostconf_t *host =
        h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_create_handler(h2o_config_register_path(host, "/", 0), sizeof(h2o_handler_t))->on_req =
        on_request;
    h2o_context_init(&context, h2o_evloop_create(), &config);
    accept_context.ctx = &context;
    accept_context.hosts = config.hosts;

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 4096) != 0) {
        perror("h2o_static");
        return 1;
    }
    h2o_socket_t *listener = h2o_evloop_socket_create(context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(listener, on_accept);
    while (h2o_evloop_run(context.loop, 1000) == 0)
        ;
    return 0;
}
