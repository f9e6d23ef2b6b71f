/* `gateway explain`: what a request for a page would do, and with --run what it does; or what a
 * certificate would be made of, or whom a route asks. A request is made up from the command line;
 * from route matching on everything is what serves real ones. */
#include <stdio.h>
#include <string.h>
#include "base/loop.h"
#include "commands/commands.h"
#include "commands/site.h"

static const char usage[] =
    "Usage: gateway explain [-c FILE] [--run] [-H HEADER] GET /path?query\n"
    "\n"
    "Prints the plan of the page that answers the request: its parts, their URLs,\n"
    "timeouts, and what is required. With --run it is fetched too, and each part's time\n"
    "is shown: queue, DNS, connect, TLS, first byte, total. Exits with 1 when a required\n"
    "part fails or no page is there. Of a certificate it prints who is issued one, and\n"
    "what stands on it; nothing is issued (`gateway certificate preview` draws one).\n"
    "Of a route it prints which upstream is asked for what.\n"
    "\n"
    "  -c, --config FILE      the configuration (default: " DEFAULT_CONFIG_FILE ")\n"
    "      --run              fetch the page\n"
    "  -H, --header HEADER    a request header, \"Name: value\"; may be repeated\n";

struct outcome {
    bool done, good;
};

static void finish(void *arg, bool all_required)
{
    struct outcome *outcome = arg;
    *outcome = (struct outcome){true, all_required};
}

static bool run_page(struct page *page, struct http_request *request)
{
    struct outcome outcome = {false, false};
    page_explain(page, request, stdout, finish, &outcome);
    while (!outcome.done)
        loop_turn(request->loop, 1000);
    return outcome.good;
}

static bool add_header(h2o_mem_pool_t *pool, h2o_headers_t *headers, const char *line)
{
    const char *colon = strchr(line, ':');
    if (colon == NULL || colon == line || strpbrk(line, "\r\n") != NULL)
        return false;
    size_t name_length = (size_t)(colon - line);
    char *name = h2o_strdup(pool, line, name_length).base;
    h2o_strtolower(name, name_length);
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    h2o_add_header_by_str(pool, headers, name, name_length, 1, NULL, value, strlen(value));
    return true;
}

static int explain(struct site *site, const char *method, const char *target,
                   const struct command_values *lines, bool run)
{
    h2o_mem_pool_t pool;
    h2o_headers_t headers = {NULL};
    h2o_mem_init_pool(&pool);
    struct loop *loop = loop_create(0);
    struct up_client *client = NULL;
    struct http_request request = {.pool = &pool,
                                   .loop = loop,
                                   .headers = &headers,
                                   .method = str_from(method),
                                   .scheme = STR("http"),
                                   .host = STR("localhost"),
                                   .target = str_from(target),
                                   .id = STR("explain"),
                                   .client = STR("127.0.0.1"),
                                   .server = site->server,
                                   .started_us = clock_us()};
    int code = COMMAND_DONE;
    for (size_t i = 0; i < lines->count; i++)
        if (!add_header(&pool, &headers, lines->items[i])) {
            fprintf(stderr, "gateway explain: not a header: %s\n",
                    log_quote(str_from(lines->items[i])));
            code = COMMAND_USAGE;
            goto out;
        }
    int refused = http_route_match(site->server, &request);
    struct page *page = refused ? NULL : pages_for_route(site->pages, request.route);
    if (page == NULL) {
        if (!refused && routing_print_plan(site->routing, &request, stdout)) {
            if (run)
                fprintf(stderr, "gateway explain: --run is for pages\n");
            code = run ? COMMAND_FAILED : COMMAND_DONE;
            goto out;
        }
        if (!refused && certificates_print_plan(site->certificates, request.route, stdout)) {
            if (run)
                fprintf(stderr,
                        "gateway explain: --run is for pages; `gateway certificate preview "
                        "%s` draws a certificate\n",
                        http_route_name(request.route).p);
            code = run ? COMMAND_FAILED : COMMAND_DONE;
            goto out;
        }
        if (refused)
            fprintf(stderr, "gateway explain: %s %s is answered with %d\n", method,
                    log_quote(request.target), refused);
        else
            fprintf(stderr,
                    "gateway explain: %s %s is answered by \"%s\", which is neither a page nor a "
                    "route nor a certificate: there is no plan to show\n",
                    method, log_quote(request.target), http_route_name(request.route).p);
        code = COMMAND_FAILED;
        goto out;
    }
    page_print_plan(page, &request, stdout);
    if (run) {
        client = up_client_create(site->upstreams, loop, site->names);
        pages_set_client(site->pages, loop, client, NULL);
        if (!run_page(page, &request))
            code = COMMAND_FAILED;
    }
out:
    h2o_mem_clear_pool(&pool); /* gives the page's calls back to the client */
    if (client != NULL) {
        offload_stop(site->names);
        loop_turn(loop, 0); /* what it still had to say */
        pages_set_client(site->pages, loop, NULL, NULL);
        up_client_destroy(&client);
    }
    loop_destroy(&loop);
    return code;
}

int command_explain(int argc, char **argv)
{
    const char *file = DEFAULT_CONFIG_FILE, *operands[2] = {NULL, NULL};
    struct command_values headers = {.count = 0};
    bool run = false;
    const struct command_option options[] = {
        {.name = "config", .letter = 'c', .value_r = &file},
        {.name = "run", .flag_r = &run},
        {.name = "header", .letter = 'H', .values_r = &headers},
    };
    int code;
    if (!command_arguments(argc, argv,
                           &(struct command_line){.usage = usage,
                                                  .options = options,
                                                  .option_count = COUNT(options),
                                                  .operands = operands,
                                                  .operands_min = 2,
                                                  .operands_max = 2},
                           &code))
        return code;
    struct site *site = site_open(file, false);
    if (site == NULL)
        return COMMAND_BAD_CONFIG;
    code = explain(site, operands[0], operands[1], &headers, run);
    site_destroy(&site);
    return code;
}
