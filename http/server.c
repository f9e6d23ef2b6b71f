/* The server, which all loops share: read from the configuration, with its listeners, which it
 * takes over from the server before it. */
#include "http/http_internal.h"

#include <stdlib.h>
#include "http/static.h"

enum { LINGER_MS = 2000 };

static void add_addresses(struct http_server *server, const struct config_strings *listen, bool tls,
                          struct diag *diag)
{
    const char *error;
    for (size_t i = 0; i < listen->count; i++) {
        struct address *first = server->addresses + server->address_count;
        unsigned count = address_parse(listen->items[i], first, &error);
        if (count == 0)
            diag_error(diag, config_pos(server->config, listen), "\"%s\": %s", listen->items[i].p,
                       error);
        for (unsigned k = 0; k < count; k++)
            first[k].tls = tls;
        server->address_count += count;
    }
}

static void read_addresses(struct http_server *server, struct diag *diag)
{
    const struct config *config = server->config;
    const struct config_strings *listen = &config->server.listen;
    const struct config_strings *listen_tls = &config->server.listen_tls;
    const struct config_strings *trusted = &config->server.trusted_proxies;
    struct address unused[2];
    const char *error;
    server->addresses =
        h2o_mem_alloc(((listen->count + listen_tls->count) * 2 + 1) * sizeof(*server->addresses));
    server->trusted = h2o_mem_alloc((trusted->count + 1) * sizeof(*server->trusted));
    add_addresses(server, listen, false, diag);
    add_addresses(server, listen_tls, true, diag);
    for (size_t i = 0; i < trusted->count; i++) {
        if (network_parse(trusted->items[i], &server->trusted[server->trusted_count], &error))
            server->trusted_count++;
        else
            diag_error(diag, config_pos(config, trusted), "\"%s\": %s", trusted->items[i].p, error);
    }
    const struct str *admin = &config->admin.listen, *control = &config->admin.control;
    if (admin->n != 0 && address_parse(*admin, unused, &error) == 0)
        diag_error(diag, config_pos(config, admin), "\"%s\": %s", admin->p, error);
    if (control->n != 0 && (control->n < 5 || memcmp(control->p, "unix:", 5) != 0 ||
                            address_parse(*control, unused, &error) == 0))
        diag_error(diag, config_pos(config, control), "\"%s\": expected \"unix:/path\"",
                   control->p);
}

struct http_server *http_server_create(const struct config *config, const struct secret *secret,
                                       struct offload *files, struct access_log *access,
                                       struct metrics *metrics, struct diag *diag)
{
    struct http_server *server = h2o_mem_alloc(sizeof(*server));
    memset(server, 0, sizeof(*server));
    server->config = config;
    auth_init(&server->auth, config, secret);
    h2o_mem_init_pool(&server->chains);
    server->access = access;
    server->log_referer = config->log.access_format == ACCESS_AS_COMBINED;
    server->metrics = metrics;
    sending_setup(server);
    server->linger_ms = LINGER_MS;
    for (enum site_kind kind = 0; kind < SITES; kind++)
        server->sites[kind] =
            (struct http_site){.routes = routes_create(), .is_main = kind == SITE_MAIN};
    admin_init(server, diag);
    read_addresses(server, diag);
    problem_init(server, diag);
    server->tls = tls_create(config, diag);
    server->statics = h2o_mem_alloc((config->static_count + 1) * sizeof(*server->statics));
    for (size_t i = 0; i < config->static_count; i++) {
        struct http_static *mount =
            http_static_mount(server, config, &config->statics[i], files, diag);
        if (mount != NULL)
            server->statics[server->static_count++] = mount;
    }
    return server;
}

void http_server_log_slow(struct http_server *server, struct access_log *slow)
{
    server->slow = slow;
    server->slow_us = server->config->log.slow_ms * 1000;
}

void http_server_destroy(struct http_server **server_p)
{
    struct http_server *server = *server_p;
    if (server == NULL)
        return;
    for (size_t i = 0; i < server->listener_count; i++) {
        listener_close(server->listeners[i]);
        free(server->listeners[i]);
    }
    for (size_t i = 0; i < server->static_count; i++)
        http_static_unmount(&server->statics[i]);
    chain_destroy_all(server);
    h2o_mem_clear_pool(&server->chains);
    auth_fini(&server->auth);
    tls_destroy(&server->tls);
    free((char *)(uintptr_t)server->hsts.p);
    free(server->statics);
    free(server->listeners);
    free(server->addresses);
    free(server->trusted);
    for (enum site_kind kind = 0; kind < SITES; kind++)
        routes_destroy(&server->sites[kind].routes);
    template_set_destroy(&server->templates);
    free(server);
    *server_p = NULL;
}

static bool same_listener(const struct address *a, const struct address *b)
{
    return a->tls == b->tls && address_equal(a, b);
}

/* NULL: there is none for this address. */
static struct listener **find_listener(struct http_server *server, const struct address *address)
{
    for (size_t i = 0; i < server->listener_count; i++)
        if (same_listener(&server->listeners[i]->wanted, address))
            return &server->listeners[i];
    return NULL;
}

static void take_over(struct http_server *server, struct http_server *before,
                      const struct address *address)
{
    struct listener **found = find_listener(before, address);
    gw_assert(found != NULL);
    server->listeners[server->listener_count++] = *found;
    *found = before->listeners[--before->listener_count];
}

/* An address of a pair shares the port that the first was given. */
static bool listen_anew(struct http_server *server, const struct address *wanted, in_port_t port,
                        unsigned loops)
{
    struct address address = *wanted;
    struct listener *listener = h2o_mem_alloc(sizeof(*listener));
    if (address.optional && address.sa.v6.sin6_port == 0)
        address.sa.v6.sin6_port = port;
    if (!listener_open(listener, &address, loops, 0660, server->error, sizeof(server->error))) {
        free(listener);
        return address.optional;
    }
    listener->wanted = *wanted;
    server->listeners[server->listener_count++] = listener;
    return true;
}

bool http_server_listen(struct http_server *server, unsigned loops, struct http_server *before,
                        const char **error_r)
{
    in_port_t port = 0;
    bool *kept = h2o_mem_alloc((server->address_count + 1) * sizeof(*kept));
    server->listeners = h2o_mem_alloc((server->address_count + 1) * sizeof(*server->listeners));
    for (size_t i = 0; i < server->address_count; i++) {
        kept[i] = before != NULL && find_listener(before, &server->addresses[i]) != NULL;
        for (size_t k = 0; k < i; k++) /* said twice: the second is in use */
            kept[i] &= !same_listener(&server->addresses[k], &server->addresses[i]);
        if (kept[i])
            continue;
        if (!listen_anew(server, &server->addresses[i], port, loops)) {
            *error_r = server->error;
            free(kept);
            return false;
        }
        if (server->listener_count != 0)
            port = server->listeners[server->listener_count - 1]->address.sa.v4.sin_port;
    }
    for (size_t i = 0; i < server->address_count; i++)
        if (kept[i])
            take_over(server, before, &server->addresses[i]);
    free(kept);
    https_setup(server);
    if (server->tls != NULL && before != NULL && before->tls != NULL)
        tls_follow(server->tls, before->tls);
    if (server->tls != NULL)
        tls_log(server->tls);
    if (before != NULL)
        server->admin_fns = before->admin_fns;
    return true;
}

static size_t put_sockets(const struct listener *listener, int *fds_r, size_t most)
{
    size_t count = listener->socket_count < most ? listener->socket_count : most;
    memcpy(fds_r, listener->sockets, count * sizeof(*fds_r));
    return count;
}

size_t http_sockets(const struct http_server *server, const struct http_loop *first, int *fds_r,
                    size_t most)
{
    size_t count = 0;
    for (size_t i = 0; i < server->listener_count; i++)
        count += put_sockets(server->listeners[i], fds_r + count, most - count);
    for (size_t i = 0; i < first->admin_listener_count; i++)
        count += put_sockets(&first->admin_listeners[i], fds_r + count, most - count);
    return count;
}

void http_sockets_handed_on(struct http_server *server, struct http_loop *first)
{
    for (size_t i = 0; i < server->listener_count; i++)
        server->listeners[i]->handed_on = true;
    for (size_t i = 0; i < first->admin_listener_count; i++)
        first->admin_listeners[i].handed_on = true;
}

bool http_tls_reload(struct http_server *server, struct diag *diag)
{
    return server->tls == NULL || tls_reload(server->tls, diag);
}

void http_write_metrics(struct http_server *server, struct out *out)
{
    tls_write_metrics(server->tls, out);
}
