/* `gateway check`: every error of a configuration at once, without touching the network. */
#include <stdio.h>
#include "commands/commands.h"
#include "commands/site.h"

static const char usage[] =
    "Usage: gateway check [-c FILE]\n"
    "\n"
    "Reads the configuration and its templates, prints every error as\n"
    "file:line:column: error: …, and exits with 78 when there is one, else with 0.\n"
    "\n"
    "  -c, --config FILE  the configuration (default: " DEFAULT_CONFIG_FILE ")\n";

int command_check(int argc, char **argv)
{
    const char *file = DEFAULT_CONFIG_FILE;
    const struct command_option options[] = {{.name = "config", .letter = 'c', .value_r = &file}};
    int code;
    if (!command_arguments(argc, argv,
                           &(struct command_line){
                               .usage = usage, .options = options, .option_count = COUNT(options)},
                           &code))
        return code;
    struct site *site = site_open(file, false);
    if (site == NULL)
        return COMMAND_BAD_CONFIG;
    printf("%s: good: %zu page%s, %zu upstream%s\n", file, site->config->page_count,
           site->config->page_count == 1 ? "" : "s", site->config->upstream_count,
           site->config->upstream_count == 1 ? "" : "s");
    site_destroy(&site);
    return COMMAND_DONE;
}
