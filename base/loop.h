/* One event loop a thread, around h2o's. A turn is: wait for sockets (never past the next timer),
 * run their callbacks, then due timers, then deferred tasks. Everything here runs on the loop's own
 * thread unless it says "any thread". Nothing here allocates once a timer heap has grown. */
#ifndef GW_BASE_LOOP_H
#define GW_BASE_LOOP_H

#ifndef H2O_USE_EPOLL
#define H2O_USE_EPOLL 1 /* else h2o's headers assume libuv */
#endif
#include <h2o/linklist.h>
#include <h2o/multithread.h>
#include <h2o/socket.h>
#include "base/base.h"

struct loop;

/* index: 0 … workers-1, the place of per-loop state in other modules' arrays. */
struct loop *loop_create(unsigned index);
void loop_destroy(struct loop **loop);
unsigned loop_index(const struct loop *loop);
h2o_loop_t *loop_h2o(struct loop *loop);

/* Turns until loop_stop() or loop_leave(). */
void loop_run(struct loop *loop);
/* From within a turn: loop_run() returns after it, and may be called again. */
void loop_leave(struct loop *loop);
/* Any thread; the loop ends after its current turn. */
void loop_stop(struct loop *loop);
bool loop_stopping(struct loop *loop);
/* One turn, waiting at most max_wait_ms. For tests and one-shot commands. */
void loop_turn(struct loop *loop, int max_wait_ms);

/* fn hears, on the loop's thread, how long each turn took from when its wait was over. Before
 * loop_run(). */
void loop_watch(struct loop *loop, void (*fn)(void *arg, uint64_t us), void *arg);

/* Monotonic milliseconds, as of when the wait for sockets ended: one look at the clock a turn, made
 * when it is first asked for. */
uint64_t loop_now_ms(struct loop *loop);

/* -- timers: a heap, O(log n) to start and stop --------------------------------------------- */

struct timer {
    void (*fn)(struct timer *timer); /* the timer is stopped when it is called */
    uint64_t due_ms;
    uint32_t place; /* in the heap, from 1; 0 = not running */
};
static inline void timer_init(struct timer *timer, void (*fn)(struct timer *timer))
{
    *timer = (struct timer){.fn = fn};
}
/* Starts or restarts it: fn runs in the first round of timers that begins `ms` milliseconds from
 * loop_now_ms() or later, never sooner; 0 = in this turn's, or the next turn's when called from a
 * timer or task.
 */
void timer_start(struct loop *loop, struct timer *timer, uint64_t ms);
void timer_stop(struct loop *loop, struct timer *timer);
static inline bool timer_running(const struct timer *timer)
{
    return timer->place != 0;
}

/* -- tasks: once, at the end of this turn ---------------------------------------------------- */

struct task {
    void (*fn)(struct task *task);
    h2o_linklist_t link; /* unlinked = not waiting */
};
void task_init(struct task *task, void (*fn)(struct task *task));
/* Runs fn at the end of the turn (tasks deferred by tasks included); does nothing when it already
 * waits. Work that many events of a turn ask for is so done once. */
void task_defer(struct loop *loop, struct task *task);
void task_cancel(struct task *task);

/* -- messages from other threads -------------------------------------------------------------- */

struct message {
    h2o_multithread_message_t queued;
    void (*fn)(struct message *message); /* runs on the loop; owns the message from there on */
};
/* Any thread. One wake-up for many posts. */
void loop_post(struct loop *loop, struct message *message);

/* -- how late the loop is -------------------------------------------------------------------- */

/* Microseconds that what becomes ready waits for its turn, as last measured, and when that was (0 =
 * never). Who asks has it measured anew 10 ms later: by a timer, and a message of the loop to
 * itself, which waits among all sockets that are ready. */
uint64_t loop_lag_us(struct loop *loop, uint64_t *when_us_r);

#endif
