/* A site: all that one configuration file stands for, put together and checked. `run` serves it,
 * `check` only builds it, `explain` looks into it. */
#ifndef GW_COMMANDS_SITE_H
#define GW_COMMANDS_SITE_H

#include "base/diag.h"
#include "cache/cache.h"
#include "base/offload.h"
#include "certificates/certificates.h"
#include "commands/traces.h"
#include "config/config.h"
#include "crypto/crypto.h"
#include "files/files.h"
#include "http/http.h"
#include "middleware/middleware.h"
#include "observe/observe.h"
#include "pages/pages.h"
#include "render/render.h"
#include "routes/routes.h"
#include "stores/stores.h"
#include "upstreams/upstreams.h"

struct site {
    struct config *config;
    unsigned workers; /* loops that will serve it */
    struct offload *names, *reads, *disk, *compute;
    struct access_log *access, *slow; /* NULL when off or not serving */
    struct metrics *metrics;          /* NULL when not serving */
    bool owns_access, owns_metrics;
    struct secret secret;
    struct store *store; /* NULL when nothing needs it, or when not serving */
    struct upstreams *upstreams;
    struct tracing *tracing; /* NULL when off */
    struct cache *cache;
    struct template_set *templates;
    struct http_server *server;
    struct middleware *middleware;
    struct pages *pages;
    struct routing *routing;
    struct files *files;
    struct certificates *certificates;
};

/* Reads `file` and builds everything that needs no network; prints every error that there is on
 * stderr. NULL after errors: exit with COMMAND_BAD_CONFIG. `serving`: also opens the access log,
 * the secret and the database, and counts the workers. Main thread. */
struct site *site_open(const char *file, bool serving);
/* Reads the file of `before` again, for a site that is to take its place in the same process and
 * goes on with its workers, its access log (unless that is another file now) and what was counted.
 * Messages, a line each, errors and warnings, go to `messages`. NULL after errors: `before` is as
 * it was. Main thread. */
struct site *site_open_next(const struct site *before, FILE *messages);
/* The site takes the place of `before` from now on, and owns what both use. */
void site_follow(struct site *site, struct site *before);
/* How a command that knows no option but -c FILE begins: reads its arguments, opens the site that
 * they name. NULL: *exit_r is the exit code, after --help, wrong usage or errors. */
struct site *site_open_arguments(int argc, char **argv, const char *usage, bool serving,
                                 int *exit_r);
/* The loops that served it have ended. */
void site_destroy(struct site **site);

#define DEFAULT_CONFIG_FILE "config.toml"

#endif
