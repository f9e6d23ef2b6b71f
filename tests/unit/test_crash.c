/* What a crash tells: each in a child of its own, whose stderr is read. */
#include "base/crash.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* The child's end, and what it wrote. */
static char report[64 * 1024];

static int run(void (*child)(void))
{
    int ends[2], status;
    size_t n = 0;
    if (SANITIZED)
        skip(); /* crashes are the sanitizer's there */
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        crash_setup("v1-test");
        child();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], report + n, sizeof(report) - 1 - n)) > 0;)
        n += (size_t)got;
    report[n] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void expect(const char *text)
{
    if (strstr(report, text) == NULL)
        fail_msg("no %s in: %s", text, report);
}

static void expect_no(const char *text)
{
    if (strstr(report, text) != NULL)
        fail_msg("%s in: %s", text, report);
}

static void expect_signal(int status, int number)
{
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), number);
}

/* -- children --------------------------------------------------------------------------------- */

static volatile int *volatile nowhere = (int *)0x18;

static void read_nowhere(void)
{
    crash_loop_begin(3);
    uint64_t first = crash_serving(0, STR("first"), STR("GET"), STR("/"), STR(""));
    uint64_t second = crash_serving(0, STR("second"), STR("POST"), STR("/product/{id}"), STR(""));
    uint64_t over = crash_serving(0, STR("over"), STR("GET"), STR("/over"), STR(""));
    crash_served(over);
    crash_serving(first, STR("first"), STR("GET"), STR("/"), STR(""));
    crash_serving(second, STR("second"), STR("POST"), STR("/product/{id}"), STR("promo"));
    *nowhere = 1;
}

static void call_abort(void)
{
    crash_loop_begin(0);
    crash_serving(0, STR("id\n\"x\"\xff"), STR("GET"), STR(""), STR(""));
    crash_idle();
    abort();
}

static void fail_assert(void)
{
    gw_assert(nowhere == NULL);
}

static void be_killed(void)
{
    kill(getpid(), SIGBUS);
    pause();
}

static void serve_many(void)
{
    char id[16];
    uint64_t oldest = 0;
    crash_loop_begin(0);
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "number-%d", i);
        uint64_t ticket = crash_serving(0, str_from(id), STR("GET"), STR("/"), STR(""));
        oldest = i == 0 ? ticket : oldest;
    }
    crash_serving(oldest, STR("number-0"), STR("GET"), STR("/"), STR("late"));
    raise(SIGFPE);
}

#ifdef __clang__
#pragma clang diagnostic ignored "-Winfinite-recursion"
#else
#pragma GCC diagnostic ignored "-Winfinite-recursion"
#endif
static int deeper(volatile int *from)
{
    volatile int here[1024];
    here[0] = *from + 1;
    return deeper(here) + here[0];
}

static void *overflow(void *arg)
{
    volatile int here = 0;
    crash_thread();
    deeper(&here);
    return arg;
}

static void *serve_and_wait(void *arg)
{
    crash_loop_begin(1);
    crash_serving(0, STR("waits"), STR("GET"), STR("/slow"), STR(""));
    close(*(int *)arg); /* it is there */
    pause();
    return NULL;
}

static void overflow_on_a_thread(void)
{
    int ends[2];
    char byte;
    pthread_t other, loop;
    if (pipe(ends) != 0 || pthread_create(&loop, NULL, serve_and_wait, &ends[1]) != 0)
        return;
    while (read(ends[0], &byte, 1) > 0) {
    }
    if (pthread_create(&other, NULL, overflow, NULL) == 0)
        pthread_join(other, NULL);
}

/* -- tests ------------------------------------------------------------------------------------ */

static void test_what_was_served_is_told(void **state)
{
    (void)state;
    expect_signal(run(read_nowhere), SIGSEGV);
    expect("level=fatal msg=\"crashed\" signal=SIGSEGV address=0x18 thread=\"");
    expect(" version=\"v1-test\" time=1");
    expect("\nlevel=fatal msg=\"crashed while serving\" id=\"second\" method=\"POST\" "
           "route=\"/product/{id}\" part=\"promo\"\n");
    expect("\nlevel=fatal msg=\"under way\" loop=3 requests=2\n");
    expect("\nlevel=fatal msg=\"under way\" loop=3 id=\"first\" method=\"GET\" route=\"/\"\n");
    expect_no("\"over\"");
    expect("\nlevel=fatal msg=\"backtrace\"\n");
    assert_non_null(strstr(strstr(report, "backtrace"), "[0x"));
}

static void test_values_stay_within_their_quotes(void **state)
{
    (void)state;
    expect_signal(run(call_abort), SIGABRT);
    expect("signal=SIGABRT");
    expect("loop=0 id=\"id??x??\" method=\"GET\"\n");
    expect_no("while serving"); /* the turn was over */
}

static void test_a_failed_assertion_is_a_crash(void **state)
{
    (void)state;
    expect_signal(run(fail_assert), SIGABRT);
    expect("assertion failed: nowhere == NULL\nlevel=fatal msg=\"crashed\" signal=SIGABRT");
}

static void test_a_signal_from_outside_names_its_sender(void **state)
{
    (void)state;
    expect_signal(run(be_killed), SIGBUS);
    expect("signal=SIGBUS sender=");
}

static void test_of_many_the_latest_and_the_current_are_told(void **state)
{
    (void)state;
    expect_signal(run(serve_many), SIGFPE);
    expect(
        "msg=\"crashed while serving\" id=\"number-0\" method=\"GET\" route=\"/\" part=\"late\"");
    expect("msg=\"under way\" loop=0 requests=100\n");
    expect("id=\"number-99\"");
    expect_no("id=\"number-50\"");
    size_t told = 0;
    for (const char *at = report; (at = strstr(at, " id=\"number-")) != NULL; at++)
        told++;
    assert_int_equal(told, 32);
}

static void test_a_stack_that_overflows_is_reported_with_all_loops(void **state)
{
    (void)state;
    expect_signal(run(overflow_on_a_thread), SIGSEGV);
    expect("msg=\"under way\" loop=1 requests=1\n");
    expect("id=\"waits\" method=\"GET\" route=\"/slow\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_served_is_told),
        cmocka_unit_test(test_values_stay_within_their_quotes),
        cmocka_unit_test(test_a_failed_assertion_is_a_crash),
        cmocka_unit_test(test_a_signal_from_outside_names_its_sender),
        cmocka_unit_test(test_of_many_the_latest_and_the_current_are_told),
        cmocka_unit_test(test_a_stack_that_overflows_is_reported_with_all_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
