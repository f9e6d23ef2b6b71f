/* Arguments of a command, read with getopt_long() from one small table, so that -c FILE, -cFILE,
 * --config FILE, --config=FILE and -- work alike everywhere and --help is always there. */
#include "commands/commands.h"

#include <getopt.h>
#include <stdio.h>

enum { OPTIONS_MAX = 8, HELP = 'h', UNNAMED = 256 };

/* What getopt_long() calls the option at that place of the table. */
static int option_code(const struct command_option *option, size_t place)
{
    return option->letter != 0 ? option->letter : UNNAMED + (int)place;
}

static const struct command_option *find_option(const struct command_line *line, int code)
{
    for (size_t i = 0; i < line->option_count; i++) {
        if (option_code(&line->options[i], i) == code)
            return &line->options[i];
    }
    return NULL;
}

static bool wrong_usage(const struct command_line *line, int *exit_r)
{
    fputs(line->usage, stderr);
    *exit_r = COMMAND_USAGE;
    return false;
}

/* getopt's own message names argv[0] alone; ours reads "gateway stub: …". */
static void print_bad_option(char **argv, int code)
{
    const char *word = argv[optind - 1];

    if (optopt != 0 && optopt < UNNAMED && (word[0] != '-' || word[1] != '-'))
        fprintf(stderr, "gateway %s: %s '-%c'\n", argv[0],
                code == ':' ? "no value for option" : "unknown option", optopt);
    else
        fprintf(stderr, "gateway %s: %s '%s'\n", argv[0],
                code == ':' ? "no value for option" : "unknown option", word);
}

static bool take_value(const struct command_option *option, const char *value)
{
    if (option->flag_r != NULL) {
        *option->flag_r = true;
    } else if (option->value_r != NULL) {
        *option->value_r = value;
    } else {
        if (option->values_r->count == COUNT(option->values_r->items))
            return false;
        option->values_r->items[option->values_r->count++] = value;
    }
    return true;
}

bool command_arguments(int argc, char **argv, const struct command_line *line, int *exit_r)
{
    struct option longs[OPTIONS_MAX + 2] = {0};
    char shorts[2 * OPTIONS_MAX + 3];
    size_t n = 0;
    int code;

    gw_assert(line->option_count <= OPTIONS_MAX);
    shorts[n++] = ':'; /* tells a missing value from an unknown option */
    shorts[n++] = HELP;
    for (size_t i = 0; i < line->option_count; i++) {
        const struct command_option *option = &line->options[i];
        int takes = option->flag_r == NULL ? required_argument : no_argument;

        longs[i] = (struct option){option->name, takes, NULL, option_code(option, i)};
        if (option->letter != 0) {
            shorts[n++] = option->letter;
            if (takes == required_argument)
                shorts[n++] = ':';
        }
    }
    longs[line->option_count] = (struct option){"help", no_argument, NULL, HELP};
    shorts[n] = '\0';

    optind = 0; /* begin anew, whoever used getopt before */
    opterr = 0;
    while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        const struct command_option *option = find_option(line, code);

        if (code == HELP) {
            fputs(line->usage, stdout);
            *exit_r = COMMAND_DONE;
            return false;
        }
        if (option == NULL) {
            print_bad_option(argv, code);
            return wrong_usage(line, exit_r);
        }
        if (!take_value(option, optarg)) {
            fprintf(stderr, "gateway %s: too many of option '--%s'\n", argv[0], option->name);
            return wrong_usage(line, exit_r);
        }
    }

    size_t operands = (size_t)(argc - optind);
    if (operands < line->operands_min || operands > line->operands_max) {
        fprintf(stderr, "gateway %s: %s\n", argv[0],
                operands < line->operands_min ? "too few arguments" : "too many arguments");
        return wrong_usage(line, exit_r);
    }
    for (size_t i = 0; i < operands; i++)
        line->operands[i] = argv[optind + (int)i];
    return true;
}
