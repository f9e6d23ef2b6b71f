/* Processes that die and processes that share a file. The test runs itself as the other process:
 *
 *   test_stores_processes write PATH FIRST COUNT
 *
 * opens the store and adds COUNT files (0 = until it is killed) with many under way at a time; the
 * number of each goes to its standard output once the store has answered. */
#include "test_stores.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include "base/log.h"

/* -- the other process -- */

enum { AT_ONCE = 64, STRIDE = 1000000 /* numbers of one process */ };

static struct store *store;
static struct loop *loop;
static unsigned next_number, end_number, pending;

struct writing {
    struct store_write write;
    struct file_record file[2];
    struct id id[2];
    unsigned number;
};

/* Two files each, so that half a write could be told. */
static void start(struct writing *writing)
{
    if (next_number == end_number)
        return;
    writing->number = next_number++;
    for (unsigned i = 0; i < 2; i++) {
        writing->id[i] = id_of(2 * writing->number + i);
        writing->file[i] = file_of(&writing->id[i]);
    }
    pending++;
    if (!store_submit(store, &writing->write))
        _exit(3);
}

static void on_written(struct store_write *answered)
{
    struct writing *writing = CONTAINER_OF(answered, struct writing, write);
    ssize_t size = sizeof(writing->number);
    pending--;
    if (answered->result != STORE_OK)
        _exit(4);
    if (write(STDOUT_FILENO, &writing->number, (size_t)size) != size)
        _exit(5);
    start(writing);
}

static int run_writer(unsigned first, unsigned count)
{
    static struct writing all[AT_ONCE];
    const char *error;
    store = store_open(path, &error);
    if (store == NULL) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    loop = loop_create(0);
    next_number = first;
    end_number = first + (count != 0 ? count : STRIDE);
    for (size_t i = 0; i < AT_ONCE; i++) {
        all[i].write = (struct store_write){
            .add_files = all[i].file, .add_file_count = 2, .done = on_written, .loop = loop};
        start(&all[i]);
    }
    while (pending != 0)
        loop_turn(loop, 100);
    store_close(&store);
    loop_destroy(&loop);
    return 0;
}

struct process {
    pid_t pid;
    int answers;            /* what it says */
    unsigned char *written; /* by number - first */
    unsigned first, count;
    size_t torn; /* bytes of a number that isn't all there yet */
    char part[sizeof(unsigned)];
};

static void begin_process(struct process *process, unsigned first, unsigned count)
{
    int ends[2];
    char from[16], number[16];
    *process = (struct process){.first = first, .written = calloc(STRIDE, 1)};
    snprintf(from, sizeof(from), "%u", first);
    snprintf(number, sizeof(number), "%u", count);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    process->pid = fork();
    assert_true(process->pid >= 0);
    if (process->pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_stores_processes", "write", path, from, number, (char *)NULL);
        _exit(1);
    }
    close(ends[1]);
    process->answers = ends[0];
}

/* Takes what it says within `ms`, or all of it until it ends; true when it has ended. */
static bool listen_to(struct process *process, int ms)
{
    uint64_t until = clock_us() + (uint64_t)ms * 1000;
    for (;;) {
        uint64_t now = clock_us();
        struct pollfd fd = {.fd = process->answers, .events = POLLIN};
        if (now >= until || poll(&fd, 1, (int)((until - now) / 1000 + 1)) == 0)
            return false;
        char bytes[4096];
        ssize_t n = read(process->answers, bytes, sizeof(bytes));
        if (n <= 0)
            return true;
        for (ssize_t i = 0; i < n; i++) {
            process->part[process->torn++] = bytes[i];
            if (process->torn < sizeof(process->part))
                continue;
            unsigned number;
            memcpy(&number, process->part, sizeof(number));
            assert_in_range(number, process->first, process->first + STRIDE - 1);
            assert_int_equal(process->written[number - process->first], 0);
            process->written[number - process->first] = 1;
            process->count++;
            process->torn = 0;
        }
    }
}

/* Its exit status as of waitpid(). */
static int end_process(struct process *process)
{
    int status;
    assert_true(listen_to(process, 60000));
    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
    close(process->answers);
    return status;
}

/* Each write it was told of is there; of any other there is all or nothing. */
static void assert_written(struct process *process)
{
    unsigned last = 0;
    for (unsigned i = 0; i < STRIDE; i++)
        if (process->written[i])
            last = i;
    for (unsigned i = 0; i <= last + AT_ONCE; i++) {
        unsigned number = process->first + i;
        enum store_result first = find_file(store, 2 * number),
                          second = find_file(store, 2 * number + 1);
        assert_int_equal(first, second);
        if (process->written[i])
            assert_int_equal(first, STORE_OK);
    }
    free(process->written);
}

/* -- tests -- */

static void test_what_was_answered_survives_a_kill(void **state)
{
    (void)state;
    enum { ROUNDS = 20, LATEST_MS = 60 };
    unsigned seed = (unsigned)clock_us(), answered = 0, first_seed = seed;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct process process;
        begin_process(&process, round * STRIDE, 0);
        while (process.count == 0) /* it takes its time to start */
            assert_false(listen_to(&process, 1));
        bool ended = listen_to(&process, rand_r(&seed) % LATEST_MS);
        assert_false(ended);
        kill(process.pid, SIGKILL);
        assert_true(WIFSIGNALED(end_process(&process)));
        answered += process.count;
        store = open_store();
        assert_written(&process);
        store_close(&store);
        assert_sound();
    }
    assert_true(answered > ROUNDS);
    print_message("%u writes answered, seed %u\n", answered, first_seed);
}

static void test_processes_can_make_and_fill_one_file_together(void **state)
{
    (void)state;
    enum { PROCESSES = 3, EACH = 1500 };
    for (unsigned round = 0; round < 3; round++) {
        struct process processes[PROCESSES];
        for (unsigned i = 0; i < PROCESSES; i++) /* the file isn't there yet */
            begin_process(&processes[i], i * STRIDE, EACH);
        for (unsigned i = 0; i < PROCESSES; i++) {
            assert_int_equal(end_process(&processes[i]), 0);
            assert_int_equal(processes[i].count, EACH);
        }
        store = open_store();
        for (unsigned i = 0; i < PROCESSES; i++)
            assert_written(&processes[i]);
        store_close(&store);
        assert_sound();
        empty_directory();
    }
}

/* One beside the other in one process, as when a configuration names a file twice. */
enum { EACH_THREAD = 150 };

struct thread {
    pthread_t id;
    struct store *store;
    unsigned first, wrong;
};

static void *add_many(void *arg)
{
    struct thread *thread = arg;
    for (unsigned i = thread->first; i < thread->first + EACH_THREAD; i++)
        thread->wrong += add_file(thread->store, i) != STORE_OK;
    return NULL;
}

static void test_two_stores_of_one_file_see_each_other(void **state)
{
    (void)state;
    struct store *stores[] = {open_store(), open_store()};
    struct thread threads[4];
    for (unsigned i = 0; i < COUNT(threads); i++) {
        threads[i] = (struct thread){.store = stores[i % 2], .first = i * 1000};
        assert_int_equal(pthread_create(&threads[i].id, NULL, add_many, &threads[i]), 0);
    }
    for (unsigned i = 0; i < COUNT(threads); i++) {
        pthread_join(threads[i].id, NULL);
        assert_int_equal(threads[i].wrong, 0);
    }
    for (unsigned i = 0; i < COUNT(threads); i++)
        for (unsigned j = 0; j < EACH_THREAD; j++)
            assert_int_equal(find_file(stores[1 - i % 2], i * 1000 + j), STORE_OK);
    assert_int_equal(remove_file(stores[0], 1000), STORE_OK);
    assert_int_equal(remove_file(stores[1], 1000), STORE_ABSENT);
    store_close(&stores[0]);
    assert_int_equal(add_file(stores[1], 1000), STORE_OK); /* closing one leaves the other alone */
    store_close(&stores[1]);
    assert_sound();
}

static void test_a_process_that_does_not_let_go_makes_writes_busy_for_a_while(void **state)
{
    (void)state;
    sqlite3 *other;
    store = open_store();
    assert_int_equal(add_file(store, 1), STORE_OK);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    log_setup(LOG_ERROR + 1, LOG_LOGFMT);
    uint64_t from = clock_us();
    enum store_result result = add_file(store, 2);
    uint64_t took_us = clock_us() - from;
    log_setup(LOG_INFO, LOG_LOGFMT);
    assert_int_equal(result, STORE_BUSY);
    assert_true(took_us >= 5000000);
    assert_int_equal(find_file(store, 1), STORE_OK); /* readers don't wait */
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    assert_int_equal(add_file(store, 2), STORE_OK);
    store_close(&store);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)
        TEST(test_what_was_answered_survives_a_kill),
        TEST(test_processes_can_make_and_fill_one_file_together),
        TEST(test_two_stores_of_one_file_see_each_other),
        TEST(test_a_process_that_does_not_let_go_makes_writes_busy_for_a_while),
    };
    if (argc == 5 && strcmp(argv[1], "write") == 0) {
        snprintf(path, sizeof(path), "%s", argv[2]);
        return run_writer((unsigned)strtoul(argv[3], NULL, 10),
                          (unsigned)strtoul(argv[4], NULL, 10));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
