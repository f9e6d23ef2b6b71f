/* The admin listener, which only reads, and the control socket for what changes something. Both are
 * sites like the public one, with routes of their own; file rights guard the control socket. What
 * there is to change belongs to other folders, which add their routes (http_control_add). */
#include "http/http_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/folders.h"
#include "base/log.h"

/* draft-inadarei-api-health-check-06, when asked for it. */
static bool wants_health_json(struct http_request *request)
{
    struct str accept = http_header(request, STR("accept"));
    return http_query(request, STR("verbose")).p != NULL ||
           (accept.n != 0 && memmem(accept.p, accept.n, "application/health+json", 23) != NULL);
}

/* Checks warn and never fail: with all its upstreams away the gateway still has pages to serve. */
static void write_health_json(const struct http_admin *checked, bool pass, struct out *out)
{
    bool all_well = true;
    out_str(out, STR("{"));
    if (checked != NULL && checked->checks != NULL) {
        out_str(out, STR("\"checks\":{"));
        all_well = checked->checks(checked->arg, out);
        out_str(out, STR("},"));
    }
    out_str(out, STR("\"status\":\""));
    out_str(out, !pass ? STR("fail") : all_well ? STR("pass") : STR("warn"));
    out_str(out, STR("\"}\n"));
}

/* checked: what else to tell of; NULL = nothing. */
static void reply_health(struct http_request *request, const struct http_admin *checked, bool pass)
{
    struct out out;
    bool json = wants_health_json(request);
    out_init(&out, request->pool, 64);
    if (json)
        write_health_json(checked, pass, &out);
    else
        out_str(&out, pass ? STR("ok\n") : STR("not ready\n"));
    http_add_header(request, "cache-control", STR("no-store"));
    http_reply(request, pass ? 200 : 503,
               json ? "application/health+json" : "text/plain; charset=utf-8", &out);
}

static void livez(struct http_request *request, void *arg)
{
    (void)arg;
    reply_health(request, NULL, true);
}

static void readyz(struct http_request *request, void *arg)
{
    const struct http_admin *fns = arg;
    reply_health(request, fns, fns->ready == NULL || fns->ready(fns->arg));
}

static void drain(struct http_request *request, void *arg)
{
    const struct http_admin *fns = arg;
    struct out out;
    out_init(&out, request->pool, 64);
    out_str(&out, STR("draining\n"));
    http_reply(request, 202, "text/plain; charset=utf-8", &out);
    if (fns->drain != NULL)
        fns->drain(fns->arg);
}

void admin_init(struct http_server *server, struct diag *diag)
{
    struct pos nowhere = {0};
    void *fns = &server->admin_fns;
    routes_add(server->admin.routes, "livez", HTTP_GET, STR("/livez"), livez, fns, nowhere, diag);
    routes_add(server->admin.routes, "readyz", HTTP_GET, STR("/readyz"), readyz, fns, nowhere,
               diag);
    routes_add(server->control.routes, "drain", HTTP_POST, STR("/drain"), drain, fns, nowhere,
               diag);
}

static void add(struct http_site *site, const char *name, unsigned methods, struct str pattern,
                http_handler_fn *handler, void *arg)
{
    struct diag *diag = diag_create();
    const struct http_route *route =
        routes_add(site->routes, name, methods, pattern, handler, arg, (struct pos){0}, diag);
    gw_assert(route != NULL); /* no user's pattern: it is sound and nobody else's */
    diag_destroy(&diag);
}

void http_admin_add(struct http_server *server, const char *name, struct str pattern,
                    http_handler_fn *handler, void *arg)
{
    add(&server->admin, name, HTTP_GET, pattern, handler, arg);
}

void http_control_add(struct http_server *server, const char *name, unsigned methods,
                      struct str pattern, http_handler_fn *handler, void *arg)
{
    add(&server->control, name, methods, pattern, handler, arg);
}

static bool open_site(struct http_loop *http, const struct http_site *site,
                      const struct address *address, unsigned mode)
{
    struct http_server *server = http->server;
    struct listener *listener = &http->admin_listeners[http->admin_listener_count];
    if (!listener_open(listener, address, 1, mode, server->error, sizeof(server->error)))
        return address->optional;
    http->admin_listener_count++;
    listening_start(&http->listening[http->listening_count++], http, site, listener->fds[0], false);
    listener->fds[0] = -1;
    return true;
}

bool http_admin_start(struct http_loop *http, const struct http_admin *admin, const char **error_r)
{
    struct http_server *server = http->server;
    const struct config_admin *config = &server->config->admin;
    struct address addresses[2];
    server->admin_fns = *admin;
    *error_r = server->error;
    unsigned count = config->listen.n == 0 ? 0 : address_parse(config->listen, addresses, error_r);
    for (unsigned i = 0; i < count; i++)
        if (!open_site(http, &server->admin, &addresses[i], 0660))
            return false;
    if (config->control.n == 0 || address_parse(config->control, addresses, error_r) == 0)
        return true;
    int error = folders_make_for(addresses[0].sa.local.sun_path, 0750);
    if (error != 0) {
        snprintf(server->error, sizeof(server->error), "can't make the folder of %s: %s",
                 config->control.p, strerror(error));
        return false;
    }
    return open_site(http, &server->control, &addresses[0], 0600);
}
