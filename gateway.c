/* gateway: picks the command. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/diag.h"
#include "commands/commands.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"run", command_run, "serve the pages of a configuration (what bare `gateway` does)"},
    {"check", command_check, "print every error of a configuration"},
    {"explain", command_explain,
     "show a page's plan, or run it; show what a certificate is made of"},
    {"print-config", command_print_config, "print the effective configuration"},
    {"stub", command_stub, "serve demo upstreams from a small TOML file"},
    {"healthcheck", command_healthcheck, "ask a running gateway whether it is ready"},
    {"sign-url", command_sign_url, "make a link to an upload, a download or a certificate"},
    {"certificate", command_certificate, "list, show, revoke, supersede and preview certificates"},
    {"token", command_token, "make a token for whoever may upload, download or issue"},
    {"keygen", command_keygen, "make a key and a certificate to sign PDFs with"},
    {"version", command_version, "print versions"},
};

static void print_usage(FILE *to)
{
    fputs("Usage: gateway [COMMAND] [OPTIONS]\n\nCommands:\n", to);
    for (size_t i = 0; i < COUNT(commands); i++)
        fprintf(to, "  %-13s %s\n", commands[i].name, commands[i].what);
    fputs("\n`gateway COMMAND --help` tells more.\n", to);
}

static int dispatch(int argc, char **argv)
{
    static char run_name[] = "run";
    const char *names[COUNT(commands)];
    if (argc < 2 || (argv[1][0] == '-' && strcmp(argv[1], "--help") != 0 &&
                     strcmp(argv[1], "-h") != 0 && strcmp(argv[1], "--version") != 0)) {
        argv[0] = run_name; /* options alone are those of `run` */
        return command_run(argc, argv);
    }
    for (size_t i = 0; i < COUNT(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
        names[i] = commands[i].name;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return COMMAND_DONE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return command_version(1, argv);
    const char *nearest = diag_nearest(str_from(argv[1]), names, COUNT(names));
    fprintf(stderr, "gateway: there is no command \"%s\"", argv[1]);
    if (nearest != NULL)
        fprintf(stderr, " (did you mean \"%s\"?)", nearest);
    fputs("\n", stderr);
    print_usage(stderr);
    return COMMAND_USAGE;
}

/* A standard descriptor that is closed would be given to the next socket, and that would be sent
 * our log. */
static void fill_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    return dispatch(argc, argv);
}
