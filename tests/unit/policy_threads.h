/* Threads that do a thing in the same moment, many times: what two of them do within nanoseconds of
 * each other is where a compare-and-swap that isn't one would show. */
#ifndef GW_TESTS_POLICY_THREADS_H
#define GW_TESTS_POLICY_THREADS_H

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 5000 };

static inline void run_threads(void *(*run)(void *), void *arg)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, arg), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* Waits until all are here for the nth time, from 1. Spins: who sleeps comes late. */
static inline void meet(_Atomic uint32_t *arrived, uint32_t nth)
{
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < THREADS * nth)
        sched_yield();
}

#endif
