/* Timers, tasks, messages and offloaded jobs. Time is real here but never asserted tightly: only
 * orders and lower bounds are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/loop.h"
#include "base/offload.h"

static struct loop *loop;

static int setup(void **state)
{
    (void)state;
    loop = loop_create(3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_destroy(&loop);
    return 0;
}

/* Turns until something else than `before` was measured. */
static uint64_t lag_after(uint64_t before_us, uint64_t *when_us_r)
{
    uint64_t lag_us = loop_lag_us(loop, when_us_r);
    for (unsigned turns = 0; *when_us_r == before_us; turns++) {
        assert_true(turns < 1000);
        loop_turn(loop, 1);
        lag_us = loop_lag_us(loop, when_us_r);
    }
    return lag_us;
}

static void test_how_late_the_loop_is_is_measured(void **state)
{
    (void)state;
    uint64_t first_us, when_us, lag_us;
    assert_int_equal(loop_lag_us(loop, &when_us), 0);
    assert_int_equal(when_us, 0);
    usleep(60000); /* the work of this turn, behind which what comes in 10 ms waits */
    lag_us = lag_after(0, &first_us);
    assert_true(lag_us >= 45000);
    assert_true(first_us <= clock_us());
    /* again, but not at once */
    assert_int_equal(loop_lag_us(loop, &when_us), lag_us);
    assert_int_equal(when_us, first_us);
    lag_after(first_us, &when_us);
    assert_true(when_us > first_us);
}

struct probe {
    struct timer timer;
    unsigned id;
    unsigned *log, *count;
};

static void note(struct timer *timer)
{
    struct probe *probe = CONTAINER_OF(timer, struct probe, timer);
    probe->log[(*probe->count)++] = probe->id;
}

static void test_timers_fire_in_order_of_their_due_time(void **state)
{
    (void)state;
    enum { N = 200 };
    struct probe probes[N];
    unsigned log[N], count = 0, stopped = 0;
    unsigned seed = 7;
    for (unsigned i = 0; i < N; i++) {
        probes[i] = (struct probe){.id = i, .log = log, .count = &count};
        timer_init(&probes[i].timer, note);
        timer_start(loop, &probes[i].timer, (unsigned)rand_r(&seed) % 30);
    }
    for (unsigned i = 0; i < N; i += 3) { /* move some, stop some */
        if (i % 2 == 0)
            timer_start(loop, &probes[i].timer, (unsigned)rand_r(&seed) % 30);
        else {
            timer_stop(loop, &probes[i].timer);
            assert_false(timer_running(&probes[i].timer));
            stopped++;
        }
    }
    for (unsigned turns = 0; count < N - stopped && turns < 1000; turns++)
        loop_turn(loop, 100);
    assert_int_equal(count, N - stopped);
    for (unsigned i = 1; i < count; i++)
        assert_true(probes[log[i - 1]].timer.due_ms <= probes[log[i]].timer.due_ms);
    for (unsigned i = 0; i < count; i++)
        assert_false(timer_running(&probes[log[i]].timer));
}

static void test_a_timer_bounds_the_wait(void **state)
{
    (void)state;
    unsigned log[1], count = 0;
    struct probe probe = {.log = log, .count = &count};
    timer_init(&probe.timer, note);
    loop_turn(loop, 0);
    uint64_t start = loop_now_ms(loop);
    timer_start(loop, &probe.timer, 20);
    while (count == 0)
        loop_turn(loop, 60000);
    assert_true(loop_now_ms(loop) - start >= 20);
    assert_true(loop_now_ms(loop) - start < 30000);
}

static struct probe late_probe;
static uint64_t late_start_us;

static void start_late_timer(struct message *message)
{
    (void)message;
    late_start_us = clock_us();
    timer_start(loop, &late_probe.timer, 30);
}

static void *post_late(void *arg)
{
    usleep(50000); /* the loop has to have waited for a while: that is what is tested */
    loop_post(loop, arg);
    return NULL;
}

static void test_a_timer_started_after_a_long_wait_counts_from_now(void **state)
{
    (void)state;
    unsigned log[1], count = 0;
    struct message message = {.fn = start_late_timer};
    late_probe = (struct probe){.log = log, .count = &count};
    timer_init(&late_probe.timer, note);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_late, &message), 0);
    while (count == 0)
        loop_turn(loop, 1000);
    assert_true(clock_us() - late_start_us >= 30000);
    pthread_join(thread, NULL);
}

static unsigned ran;
static struct task again;

static void count_run(struct task *task)
{
    (void)task;
    ran++;
}

static void defer_another(struct task *task)
{
    (void)task;
    ran++;
    task_defer(loop, &again);
}

static void sleep_25_ms(struct task *task)
{
    (void)task;
    usleep(25000);
}

static void note_turn(void *arg, uint64_t us)
{
    uint64_t *turns = arg;
    turns[0]++;
    turns[1] = us;
}

static void test_a_turn_is_as_long_as_its_work_not_its_wait(void **state)
{
    (void)state;
    struct task slow;
    uint64_t turns[2] = {0};
    task_init(&slow, sleep_25_ms);
    loop_watch(loop, note_turn, turns);
    loop_turn(loop, 200);
    assert_int_equal(turns[0], 1);
    assert_true(turns[1] < 200000); /* waited for all of them, on a machine with nothing to do */
    task_defer(loop, &slow);
    loop_turn(loop, 1000);
    assert_int_equal(turns[0], 2);
    assert_true(turns[1] >= 25000);
}

static void test_a_task_runs_once_a_turn_and_may_defer_another(void **state)
{
    (void)state;
    struct task first, cancelled;
    ran = 0;
    task_init(&first, defer_another);
    task_init(&again, count_run);
    task_init(&cancelled, count_run);
    task_defer(loop, &first);
    task_defer(loop, &first);
    task_defer(loop, &cancelled);
    task_cancel(&cancelled);
    assert_int_equal(ran, 0);
    loop_turn(loop, 1000);
    assert_int_equal(ran, 2);
    loop_turn(loop, 0);
    assert_int_equal(ran, 2);
}

struct numbered {
    struct message message;
    unsigned number;
};
static unsigned received, last_number;

static void receive(struct message *message)
{
    struct numbered *numbered = CONTAINER_OF(message, struct numbered, message);
    last_number = numbered->number;
    received++;
    free(numbered);
}

enum { MESSAGES = 5000 };

static void *post_many(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct numbered *numbered = malloc(sizeof(*numbered));
        *numbered = (struct numbered){.message.fn = receive, .number = i};
        loop_post(loop, &numbered->message);
    }
    loop_stop(loop);
    return NULL;
}

static void test_messages_of_another_thread_arrive_in_order(void **state)
{
    (void)state;
    pthread_t thread;
    received = 0;
    assert_int_equal(pthread_create(&thread, NULL, post_many, NULL), 0);
    loop_run(loop);
    pthread_join(thread, NULL);
    loop_turn(loop, 0);
    assert_int_equal(received, MESSAGES);
    assert_int_equal(last_number, MESSAGES - 1);
}

struct sum_job {
    struct offload_job job;
    unsigned in, out;
    pthread_t worker;
};
static unsigned answered;

static void square(struct offload_job *job)
{
    struct sum_job *sum = CONTAINER_OF(job, struct sum_job, job);
    sum->out = sum->in * sum->in;
    sum->worker = pthread_self();
}

static void answer(struct offload_job *job)
{
    (void)job;
    answered++;
}

static void test_offloaded_jobs_come_back_to_the_loop_that_asked(void **state)
{
    (void)state;
    enum { N = 100 };
    static struct sum_job jobs[N];
    struct offload *offload = offload_create("test", 3, N);
    answered = 0;
    for (unsigned i = 0; i < N; i++) {
        jobs[i] = (struct sum_job){.in = i};
        jobs[i].job.work = square;
        jobs[i].job.done = answer;
        jobs[i].job.loop = loop;
        assert_true(offload_submit(offload, &jobs[i].job));
    }
    while (answered < N)
        loop_turn(loop, 1000);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(jobs[i].out, i * i);
        assert_false(pthread_equal(jobs[i].worker, pthread_self()));
    }
    offload_destroy(&offload);
    assert_null(offload);
}

static int gate[2];

static void wait_at_gate(struct offload_job *job)
{
    (void)job;
    char byte;
    ssize_t n = read(gate[0], &byte, 1);
    (void)n;
}

static void test_a_full_offload_queue_refuses(void **state)
{
    (void)state;
    struct offload_job jobs[4];
    struct offload *offload = offload_create("test", 1, 2);
    assert_int_equal(pipe(gate), 0);
    unsigned taken = 0;
    for (unsigned i = 0; i < COUNT(jobs); i++) {
        jobs[i] = (struct offload_job){.work = wait_at_gate, .done = answer, .loop = loop};
        taken += offload_submit(offload, &jobs[i]);
    }
    assert_in_range(taken, 2, 3); /* two wait, and one may be under way by then */
    struct offload_stats stats = offload_stats(offload);
    assert_int_equal(stats.refused, COUNT(jobs) - taken);
    assert_int_equal(stats.threads_max, 1);
    assert_in_range(stats.queued, taken - 1, 2);
    answered = 0;
    assert_int_equal(write(gate[1], "xxxx", 4), 4);
    while (answered < taken)
        loop_turn(loop, 1000);
    assert_int_equal(offload_stats(offload).queued, 0);
    offload_destroy(&offload);
    close(gate[0]);
    close(gate[1]);
}

static sem_t begun;

static void begin_and_wait_at_gate(struct offload_job *job)
{
    sem_post(&begun);
    wait_at_gate(job);
}

static void *stop(void *offload)
{
    offload_stop(offload);
    return NULL;
}

static pthread_t dropped_on;
static unsigned dropped;

static void free_job(struct offload_job *job)
{
    dropped++;
    dropped_on = pthread_self();
    free(job);
}

static struct offload_job *queue_job(struct offload *offload, struct loop *its_loop)
{
    struct offload_job *job = malloc(sizeof(*job));
    *job = (struct offload_job){
        .work = wait_at_gate, .done = answer, .dropped = free_job, .loop = its_loop};
    if (offload_submit(offload, job))
        return job;
    free(job);
    return NULL;
}

static void test_jobs_that_never_run_are_dropped_and_those_under_way_are_not(void **state)
{
    (void)state;
    enum { QUEUED = 5, PROBES = 5000 };
    struct offload *offload = offload_create("test", 1, QUEUED + PROBES);
    pthread_t stopper;
    unsigned probes = 0;
    struct offload_job running = {.work = begin_and_wait_at_gate, .done = answer, .loop = loop},
                       plain = {.work = wait_at_gate, .done = answer, .loop = loop};
    answered = dropped = 0;
    running.dropped = free_job; /* would free what isn't malloc()ed */
    assert_int_equal(pipe(gate), 0);
    sem_init(&begun, 0, 0);
    assert_true(offload_submit(offload, &running));
    while (sem_wait(&begun) != 0)
        ;
    for (unsigned i = 0; i < QUEUED; i++)
        assert_non_null(queue_job(offload, loop));
    assert_true(offload_submit(offload, &plain));
    assert_int_equal(pthread_create(&stopper, NULL, stop, offload), 0);
    /* Once it refuses it is stopping; what is under way may end then. */
    while (queue_job(offload, NULL) != NULL && probes++ < PROBES)
        usleep(1000);
    assert_int_equal(write(gate[1], "x", 1), 1);
    pthread_join(stopper, NULL);
    assert_int_equal(dropped, probes); /* without a loop: at once, by who stops it */
    assert_true(probes == 0 || pthread_equal(dropped_on, stopper));
    loop_turn(loop, 0);
    assert_int_equal(dropped, QUEUED + probes);
    assert_true(pthread_equal(dropped_on, pthread_self()));
    assert_int_equal(answered, 1);
    assert_null(queue_job(offload, loop));
    offload_destroy(&offload);
    loop_turn(loop, 0);
    assert_int_equal(dropped, QUEUED + probes); /* once each */
    close(gate[0]);
    close(gate[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_how_late_the_loop_is_is_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timers_fire_in_order_of_their_due_time, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_timer_bounds_the_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_timer_started_after_a_long_wait_counts_from_now,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_turn_is_as_long_as_its_work_not_its_wait, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_task_runs_once_a_turn_and_may_defer_another, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_messages_of_another_thread_arrive_in_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_offloaded_jobs_come_back_to_the_loop_that_asked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_full_offload_queue_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_jobs_that_never_run_are_dropped_and_those_under_way_are_not, setup, teardown),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
