/* config_parse() of any bytes: never crashes, and a configuration without errors, printed and read
 * again, prints the same. */
#include "config/config.h"

#include <stdlib.h>

static struct config *parse(struct str text, size_t *errors_r)
{
    struct diag *diag = diag_create();
    struct config *config = config_parse(text, "fuzz.toml", "/etc/gateway", diag);
    *errors_r = diag_errors(diag);
    diag_destroy(&diag);
    return config;
}

static struct str print(const struct config *config)
{
    char *text;
    size_t n;
    FILE *to = open_memstream(&text, &n);
    gw_assert(to != NULL);
    config_print(config, to);
    gw_assert(fclose(to) == 0);
    return (struct str){text, n};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t errors;
    struct config *config = parse((struct str){(const char *)data, n}, &errors);
    if (errors == 0) {
        struct str first = print(config);
        struct config *again = parse(first, &errors);
        gw_assert(errors == 0);
        struct str second = print(again);
        gw_assert(str_eq(first, second));
        config_destroy(&again);
        free((void *)(uintptr_t)first.p);
        free((void *)(uintptr_t)second.p);
    }
    config_destroy(&config);
    return 0;
}
