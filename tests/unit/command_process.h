/* Runs a command in a process of its own, as a user would, and reads what it prints. For the tests
 * of commands/: a command may keep the process's signals, stdout and loop to itself. */
#ifndef GW_TESTS_COMMAND_PROCESS_H
#define GW_TESTS_COMMAND_PROCESS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/base.h"

typedef int command_fn(int argc, char **argv);

struct process {
    pid_t pid;
    FILE *out, *err; /* what it prints */
};

/* words: the command's name and arguments, separated by blanks. */
static inline struct process process_start(command_fn *command, const char *words)
{
    int out[2], err[2];
    struct process process;

    fflush(NULL);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(err), 0);
    process.pid = fork();
    assert_int_not_equal(process.pid, -1);
    if (process.pid == 0) {
        char copy[1024], *argv[32], *rest = copy;
        int argc = 0;

        snprintf(copy, sizeof(copy), "%s", words);
        while ((argv[argc] = strsep(&rest, " ")) != NULL)
            argc++;
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        close(out[0]);
        close(out[1]);
        close(err[0]);
        close(err[1]);
        alarm(60); /* a command that hangs fails its test */
        exit(command(argc, argv));
    }
    close(out[1]);
    close(err[1]);
    process.out = fdopen(out[0], "r");
    process.err = fdopen(err[0], "r");
    return process;
}

/* Waits for its end: the exit code, or 128 and the signal that killed it. */
static inline int process_end(struct process *process)
{
    int status;

    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
    fclose(process->out);
    fclose(process->err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs it to its end; text_r gets the start of what it printed on stderr, or else on stdout. */
static inline int process_run(command_fn *command, const char *words, char *text_r, size_t size)
{
    struct process process = process_start(command, words);
    size_t n = fread(text_r, 1, size - 1, process.err);

    if (n == 0)
        n = fread(text_r, 1, size - 1, process.out);
    text_r[n] = '\0';
    return process_end(&process);
}

static inline void write_file(const char *name, const char *text)
{
    FILE *to = fopen(name, "w");

    assert_non_null(to);
    fputs(text, to);
    fclose(to);
}

/* A temporary folder to work in, removed with all that is in it. */
static char work_dir[] = "/tmp/gateway-test-XXXXXX";

static inline int enter_work_dir(void **state)
{
    (void)state;
    return mkdtemp(work_dir) != NULL && chdir(work_dir) == 0 ? 0 : -1;
}

static inline int leave_work_dir(void **state)
{
    char remove[64];

    (void)state;
    snprintf(remove, sizeof(remove), "rm -r %s", work_dir);
    return chdir("/") == 0 && system(remove) == 0 ? 0 : -1;
}

#endif
