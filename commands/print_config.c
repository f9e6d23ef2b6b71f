/* `gateway print-config`: the effective configuration, every default spelled out. */
#include <stdio.h>
#include "commands/commands.h"
#include "commands/site.h"

static const char usage[] =
    "Usage: gateway print-config [-c FILE]\n"
    "\n"
    "Prints the configuration with every key and its value, defaults included, as TOML\n"
    "that reads back the same. A value from the environment stays ${NAME}: no secret is\n"
    "shown. Exits with 78 when the configuration has errors.\n"
    "\n"
    "  -c, --config FILE  the configuration (default: " DEFAULT_CONFIG_FILE ")\n";

int command_print_config(int argc, char **argv)
{
    int code;
    struct site *site = site_open_arguments(argc, argv, usage, false, &code);
    if (site == NULL)
        return code;
    config_print(site->config, stdout);
    site_destroy(&site);
    return COMMAND_DONE;
}
