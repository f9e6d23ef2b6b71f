/* `gateway check`: every error of a configuration at once, without touching the network. */
#include <stdio.h>
#include "commands/commands.h"
#include "commands/site.h"

static const char usage[] =
    "Usage: gateway check [-c FILE]\n"
    "\n"
    "Reads the configuration and its templates, prints every error as\n"
    "file:line:column: error: …, and exits with 78 when there is one, else with 0. Of PDF\n"
    "templates it tells where their placeholders stand and what their fonts can draw.\n"
    "\n"
    "  -c, --config FILE  the configuration (default: " DEFAULT_CONFIG_FILE ")\n";

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

int command_check(int argc, char **argv)
{
    int code;
    struct site *site = site_open_arguments(argc, argv, usage, false, &code);
    if (site == NULL)
        return code;
    certificates_describe(site->certificates, stdout);
    const struct config *config = site->config;
    printf("%s: good: %zu page%s, %zu upstream%s, %zu upload%s, %zu download%s, "
           "%zu certificate%s, %zu route%s\n",
           config->file.p, config->page_count, plural(config->page_count), config->upstream_count,
           plural(config->upstream_count), config->upload_count, plural(config->upload_count),
           config->download_count, plural(config->download_count), config->certificate_count,
           plural(config->certificate_count), config->route_count, plural(config->route_count));
    site_destroy(&site);
    return COMMAND_DONE;
}
