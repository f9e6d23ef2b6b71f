/* A few threads for what blocks or computes: name look-ups, files, drawing. The loop that asks gets
 * the answer by message; it never waits. The queue is bounded: a full one refuses at once. */
#ifndef GW_BASE_OFFLOAD_H
#define GW_BASE_OFFLOAD_H

#include "base/loop.h"

struct offload;

/* Threads are started when first needed, at most `threads`; `queue_max` jobs may wait. */
struct offload *offload_create(const char *name, unsigned threads, unsigned queue_max);
/* Before the first job: its threads run at a nice value that is so much more than the process's
 * (setpriority(2)), so that those that compute give way to the loops. */
void offload_set_nice(struct offload *offload, int nice);
/* Takes and runs no more jobs, waits for those under way; their done() still comes, and of those
 * that did not run their dropped(): the jobs' loops are there still. From then on offload_submit()
 * refuses. */
void offload_stop(struct offload *offload);
/* Stops it, when that wasn't done yet, and frees it. */
void offload_destroy(struct offload **offload);

/* Any thread. */
struct offload_stats {
    unsigned queued, working, threads_max;
    uint64_t refused; /* jobs, so far */
};
struct offload_stats offload_stats(struct offload *offload);

/* Embed it. The submitter owns it again when done() is called. */
struct offload_job {
    void (*work)(struct offload_job *job); /* on an offload thread */
    void (*done)(struct offload_job *job); /* on `loop`, unless loop is NULL: then never called */
    /* Instead of both, when it was stopped before: where done() would be, or within offload_stop()
     * when loop is NULL. Here goes what only done() would have freed. NULL: nothing does. */
    void (*dropped)(struct offload_job *job);
    struct loop *loop;
    struct message message;   /* private */
    struct offload_job *next; /* private */
};
/* Any thread. False when the queue is full: nothing was taken. */
bool offload_submit(struct offload *offload, struct offload_job *job);

#endif
