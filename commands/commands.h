/* commands/: what `gateway NAME …` does, a file each.
 *
 * A command is a function like main(): argv[0] is the command's own name, the options follow. It
 * prints what was asked for on stdout and what went wrong on stderr, gives the process's exit code,
 * and answers --help itself. gateway.c only picks the function. Main thread, no loop running yet.
 */
#ifndef GW_COMMANDS_H
#define GW_COMMANDS_H

#include <stddef.h>
#include "base/base.h"

enum command_exit {
    COMMAND_DONE = 0,
    COMMAND_FAILED = 1,
    COMMAND_USAGE = 2,
    COMMAND_NO_ADDRESS = 69, /* EX_UNAVAILABLE of sysexits.h: an address can't be listened on */
    COMMAND_BAD_CONFIG = 78  /* EX_CONFIG */
};

int command_run(int argc, char **argv);
int command_certificate(int argc, char **argv);
int command_certificate_preview(int argc, char **argv);
int command_check(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_print_config(int argc, char **argv);
int command_stub(int argc, char **argv);
int command_healthcheck(int argc, char **argv);
int command_sign_url(int argc, char **argv);
int command_token(int argc, char **argv);
int command_keygen(int argc, char **argv);
int command_version(int argc, char **argv);
/* As `gateway version` tells it. */
extern const char gateway_version[];

/* -- reading a command's arguments (arguments.c) ---------------------------------------------- */

/* The values of an option that may be repeated (-H A -H B). */
struct command_values {
    const char *items[32];
    size_t count;
};

/* One option: a flag (-v, --verbose), or one with a value (-c FILE, --config=FILE). */
struct command_option {
    const char *name;                /* the long form, without dashes */
    char letter;                     /* the short form; 0 = none */
    bool *flag_r;                    /* set when the option is there; NULL for one with values */
    const char **value_r;            /* set to its value (the last one wins), else left as it was */
    struct command_values *values_r; /* instead of value_r: takes every value */
};

struct command_line {
    const char *usage; /* what --help prints, and wrong usage too */
    const struct command_option *options;
    size_t option_count;
    const char **operands; /* filled in with what isn't an option; left as they were when absent */
    size_t operands_min, operands_max;
};

/* Reads argv into the places that `line` names. True: go on. False: *exit_r is the exit code, after
 * --help (COMMAND_DONE) or wrong usage (COMMAND_USAGE, with the reason on stderr). */
bool command_arguments(int argc, char **argv, const struct command_line *line, int *exit_r);

#endif
