/* A bounded queue and a few threads. Threads start one by one as jobs wait, so a process that never
 * blocks never has them. */
#include "base/offload.h"
#include "base/crash.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <h2o/memory.h>

struct offload {
    char name[16]; /* of its threads, as shown by ps */
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    struct offload_job *first, **last;
    unsigned queued, queue_max;
    unsigned running, idle, threads_max;
    uint64_t refused;
    int nice; /* more than the process */
    bool ending;
    pthread_t threads[];
};

struct offload *offload_create(const char *name, unsigned threads, unsigned queue_max)
{
    gw_assert(threads > 0);
    struct offload *offload = h2o_mem_alloc(sizeof(*offload) + threads * sizeof(pthread_t));
    *offload = (struct offload){.queue_max = queue_max, .threads_max = threads};
    strncpy(offload->name, name, sizeof(offload->name) - 1);
    offload->last = &offload->first;
    pthread_mutex_init(&offload->lock, NULL);
    pthread_cond_init(&offload->wanted, NULL);
    return offload;
}

void offload_set_nice(struct offload *offload, int nice)
{
    gw_assert(offload->running == 0);
    offload->nice = nice;
}

static void deliver(struct message *message)
{
    struct offload_job *job = CONTAINER_OF(message, struct offload_job, message);
    job->done(job);
}

static void deliver_dropped(struct message *message)
{
    struct offload_job *job = CONTAINER_OF(message, struct offload_job, message);
    job->dropped(job);
}

static void *work(void *arg)
{
    struct offload *offload = arg;
    pthread_setname_np(pthread_self(), offload->name);
    crash_thread();
    if (offload->nice != 0) /* on Linux a thread's own; at most 19 */
        setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + offload->nice);
    pthread_mutex_lock(&offload->lock);
    while (!offload->ending) {
        struct offload_job *job = offload->first;
        if (job == NULL) {
            offload->idle++;
            pthread_cond_wait(&offload->wanted, &offload->lock);
            offload->idle--;
            continue;
        }
        offload->first = job->next;
        if (offload->first == NULL)
            offload->last = &offload->first;
        offload->queued--;
        pthread_mutex_unlock(&offload->lock);
        struct loop *loop = job->loop; /* without one the job is gone once it has run */
        job->work(job);
        if (loop != NULL) {
            job->message.fn = deliver;
            loop_post(loop, &job->message);
        }
        pthread_mutex_lock(&offload->lock);
    }
    pthread_mutex_unlock(&offload->lock);
    return NULL;
}

/* Signals belong to the main thread. */
static bool start_thread(struct offload *offload)
{
    sigset_t all, before;
    crash_mask(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&offload->threads[offload->running], NULL, work, offload) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    offload->running += started;
    return started;
}

bool offload_submit(struct offload *offload, struct offload_job *job)
{
    pthread_mutex_lock(&offload->lock);
    bool taken = !offload->ending && offload->queued < offload->queue_max;
    if (taken && offload->queued >= offload->idle && offload->running < offload->threads_max)
        taken = start_thread(offload) || offload->running > 0;
    if (taken) {
        job->next = NULL;
        *offload->last = job;
        offload->last = &job->next;
        offload->queued++;
        pthread_cond_signal(&offload->wanted);
    }
    offload->refused += !taken;
    pthread_mutex_unlock(&offload->lock);
    return taken;
}

struct offload_stats offload_stats(struct offload *offload)
{
    pthread_mutex_lock(&offload->lock);
    struct offload_stats stats = {.queued = offload->queued,
                                  .working = offload->running - offload->idle,
                                  .threads_max = offload->threads_max,
                                  .refused = offload->refused};
    pthread_mutex_unlock(&offload->lock);
    return stats;
}

void offload_stop(struct offload *offload)
{
    pthread_mutex_lock(&offload->lock);
    offload->ending = true;
    pthread_cond_broadcast(&offload->wanted);
    pthread_mutex_unlock(&offload->lock);
    while (offload->running != 0) /* nobody starts threads once it is ending */
        pthread_join(offload->threads[--offload->running], NULL);
    for (struct offload_job *job = offload->first, *next; job != NULL; job = next) {
        next = job->next; /* dropped() may free it */
        job->message.fn = deliver_dropped;
        if (job->dropped != NULL && job->loop != NULL)
            loop_post(job->loop, &job->message);
        else if (job->dropped != NULL)
            job->dropped(job);
    }
    offload->first = NULL;
}

void offload_destroy(struct offload **offload_p)
{
    struct offload *offload = *offload_p;
    if (offload == NULL)
        return;
    offload_stop(offload);
    pthread_cond_destroy(&offload->wanted);
    pthread_mutex_destroy(&offload->lock);
    free(offload);
    *offload_p = NULL;
}
