/* h2o's loop knows timeouts of one fixed duration a list; calls and pages need any duration, so the
 * timers here are a 4-ary heap of our own that bounds how long h2o's loop may wait. The heap's
 * array holds the due times beside the pointers, so sifting touches no timer but those it moves. */
#include "base/loop.h"
#include "base/crash.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <h2o/memory.h>
#include <h2o/timeout.h>

struct slot {
    uint64_t due_ms;
    struct timer *timer;
};

struct loop {
    unsigned index;
    _Atomic bool stopping;
    bool leaving;
    h2o_loop_t *h2o;
    uint64_t now_us; /* 0 = not looked at yet in this turn */
    void (*watch)(void *arg, uint64_t us);
    void *watch_arg;
    struct slot *heap; /* from place 1 on */
    uint32_t timers, capacity;
    h2o_linklist_t tasks;
    h2o_multithread_queue_t *queue;
    h2o_multithread_receiver_t inbox;
    struct message wake; /* posted by loop_stop() */
    struct {
        struct timer timer;
        struct message message;
        uint64_t due_us, told_us, us;
        bool under_way;
    } lag;
};

enum { ARITY = 4, LONGEST_WAIT_MS = 1000, LAG_EVERY_MS = 10 };

/* -- messages -- */

static void receive(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages)
{
    loop_now_ms(CONTAINER_OF(receiver, struct loop, inbox)); /* before what may take its time */
    while (!h2o_linklist_is_empty(messages)) {
        struct message *message =
            H2O_STRUCT_FROM_MEMBER(struct message, queued.link, messages->next);
        h2o_linklist_unlink(&message->queued.link);
        message->fn(message);
    }
}

void loop_post(struct loop *loop, struct message *message)
{
    message->queued = (h2o_multithread_message_t){{NULL, NULL}};
    h2o_multithread_send_message(&loop->inbox, &message->queued);
}

/* -- timers -- */

static void put(struct loop *loop, uint32_t place, struct slot slot)
{
    loop->heap[place] = slot;
    slot.timer->place = place;
}

static uint32_t parent_of(uint32_t place)
{
    return (place + ARITY - 2) / ARITY;
}

static uint32_t first_child_of(uint32_t place)
{
    return (place - 1) * ARITY + 2;
}

static void sift_up(struct loop *loop, uint32_t place, struct slot slot)
{
    while (place > 1 && slot.due_ms < loop->heap[parent_of(place)].due_ms) {
        put(loop, place, loop->heap[parent_of(place)]);
        place = parent_of(place);
    }
    put(loop, place, slot);
}

static void sift_down(struct loop *loop, uint32_t place, struct slot slot)
{
    for (;;) {
        uint32_t child = first_child_of(place), least = 0;
        for (uint32_t i = child; i < child + ARITY && i <= loop->timers; i++)
            if (least == 0 || loop->heap[i].due_ms < loop->heap[least].due_ms)
                least = i;
        if (least == 0 || loop->heap[least].due_ms >= slot.due_ms)
            break;
        put(loop, place, loop->heap[least]);
        place = least;
    }
    put(loop, place, slot);
}

void timer_stop(struct loop *loop, struct timer *timer)
{
    uint32_t place = timer->place;
    if (place == 0)
        return;
    gw_assert(place <= loop->timers && loop->heap[place].timer == timer);
    timer->place = 0;
    struct slot last = loop->heap[loop->timers--];
    if (last.timer == timer)
        return;
    if (place > 1 && last.due_ms < loop->heap[parent_of(place)].due_ms)
        sift_up(loop, place, last);
    else
        sift_down(loop, place, last);
}

void timer_start(struct loop *loop, struct timer *timer, uint64_t ms)
{
    timer_stop(loop, timer);
    if (loop->timers + 1 == loop->capacity) {
        loop->capacity *= 2;
        loop->heap = h2o_mem_realloc(loop->heap, loop->capacity * sizeof(*loop->heap));
    }
    timer->due_ms = loop_now_ms(loop) + ms + (ms != 0); /* the clock's part of a millisecond */
    sift_up(loop, ++loop->timers, (struct slot){timer->due_ms, timer});
}

/* -- tasks -- */

void task_init(struct task *task, void (*fn)(struct task *task))
{
    *task = (struct task){.fn = fn};
}

void task_defer(struct loop *loop, struct task *task)
{
    if (!h2o_linklist_is_linked(&task->link))
        h2o_linklist_insert(&loop->tasks, &task->link);
}

void task_cancel(struct task *task)
{
    if (h2o_linklist_is_linked(&task->link))
        h2o_linklist_unlink(&task->link);
}

/* -- the loop -- */

struct loop *loop_create(unsigned index)
{
    struct loop *loop = h2o_mem_alloc(sizeof(*loop));
    *loop = (struct loop){.index = index, .capacity = 64};
    loop->h2o = h2o_evloop_create();
    loop->heap = h2o_mem_alloc(loop->capacity * sizeof(*loop->heap));
    h2o_linklist_init_anchor(&loop->tasks);
    loop->queue = h2o_multithread_create_queue(loop->h2o);
    h2o_multithread_register_receiver(loop->queue, &loop->inbox, receive);
    return loop;
}

void loop_destroy(struct loop **loop_p)
{
    struct loop *loop = *loop_p;
    if (loop == NULL)
        return;
    /* What came too late to be received, loop_stop()'s own message for one; h2o insists. */
    while (!h2o_linklist_is_empty(&loop->inbox._messages))
        h2o_linklist_unlink(loop->inbox._messages.next);
    h2o_multithread_unregister_receiver(loop->queue, &loop->inbox);
    h2o_multithread_destroy_queue(loop->queue);
    free(loop->queue); /* h2o 2.2.5 closes the queue on this event loop but leaves its memory */
    h2o_evloop_destroy(loop->h2o);
    free(loop->heap);
    free(loop);
    *loop_p = NULL;
}

unsigned loop_index(const struct loop *loop)
{
    return loop->index;
}

h2o_loop_t *loop_h2o(struct loop *loop)
{
    return loop->h2o;
}

uint64_t loop_now_ms(struct loop *loop)
{
    if (loop->now_us == 0)
        loop->now_us = clock_us();
    return loop->now_us / 1000;
}

void loop_watch(struct loop *loop, void (*fn)(void *arg, uint64_t us), void *arg)
{
    loop->watch = fn;
    loop->watch_arg = arg;
}

static int longest_wait(struct loop *loop, int max_wait_ms, uint64_t now_us)
{
    if (!h2o_linklist_is_empty(&loop->tasks))
        return 0;
    if (loop->timers == 0)
        return max_wait_ms;
    uint64_t now_ms = now_us / 1000, due_ms = loop->heap[1].due_ms;
    if (due_ms <= now_ms)
        return 0;
    return due_ms - now_ms < (uint64_t)max_wait_ms ? (int)(due_ms - now_ms) : max_wait_ms;
}

/* From one moment to another, which is the next turn's first: a look at the clock at each end is
 * all that a turn needs. */
static uint64_t turn(struct loop *loop, int max_wait_ms, uint64_t begin_us)
{
    int wait_ms = longest_wait(loop, max_wait_ms, begin_us);
    loop->now_us = 0; /* who asks after the wait looks anew */
    h2o_evloop_run(loop->h2o, wait_ms);
    /* What starts in this round runs in a later one: a timer of 0 ms can't starve the sockets. */
    uint64_t round_ms = loop_now_ms(loop);
    uint32_t left = loop->timers;
    while (left-- != 0 && loop->timers != 0 && loop->heap[1].due_ms <= round_ms) {
        struct timer *timer = loop->heap[1].timer;
        timer_stop(loop, timer);
        timer->fn(timer);
    }
    /* What timers and tasks wrote to sockets is finished by callbacks that h2o would only run after
     * its next wait, up to a second later on a quiet loop. */
    h2o_timeout__do_post_callback(loop->h2o);
    while (!h2o_linklist_is_empty(&loop->tasks)) {
        while (!h2o_linklist_is_empty(&loop->tasks)) {
            struct task *task = H2O_STRUCT_FROM_MEMBER(struct task, link, loop->tasks.next);
            h2o_linklist_unlink(&task->link);
            task->fn(task);
        }
        h2o_timeout__do_post_callback(loop->h2o);
    }
    crash_idle();
    uint64_t end_us = clock_us();
    if (loop->watch != NULL)
        loop->watch(loop->watch_arg, end_us - loop->now_us);
    return end_us;
}

void loop_turn(struct loop *loop, int max_wait_ms)
{
    turn(loop, max_wait_ms, clock_us());
}

void loop_run(struct loop *loop)
{
    uint64_t now_us = clock_us();
    loop->leaving = false;
    while (!loop->leaving && !atomic_load_explicit(&loop->stopping, memory_order_acquire))
        now_us = turn(loop, LONGEST_WAIT_MS, now_us);
}

void loop_leave(struct loop *loop)
{
    loop->leaving = true;
}

bool loop_stopping(struct loop *loop)
{
    return atomic_load_explicit(&loop->stopping, memory_order_acquire);
}

static void woken(struct message *message)
{
    (void)message;
}

void loop_stop(struct loop *loop)
{
    if (atomic_exchange(&loop->stopping, true))
        return;
    loop->wake.fn = woken;
    loop_post(loop, &loop->wake);
}

/* -- how late it is -- */

/* Who asks is at work, so what is written now would always wait for that work's end. A moment a
 * little later is any moment: what comes then waits for its timer, and in line with the sockets,
 * as long as a request of that moment does. */

static void lag_told(struct message *message)
{
    struct loop *loop = CONTAINER_OF(message, struct loop, lag.message);
    uint64_t now_us = loop->lag.told_us = clock_us();
    loop->lag.us = now_us > loop->lag.due_us ? now_us - loop->lag.due_us : 0;
    loop->lag.under_way = false;
}

static void lag_due(struct timer *timer)
{
    struct loop *loop = CONTAINER_OF(timer, struct loop, lag.timer);
    loop->lag.message.fn = lag_told;
    loop_post(loop, &loop->lag.message);
}

uint64_t loop_lag_us(struct loop *loop, uint64_t *when_us_r)
{
    if (!loop->lag.under_way) {
        loop->lag.under_way = true;
        timer_init(&loop->lag.timer, lag_due);
        timer_start(loop, &loop->lag.timer, LAG_EVERY_MS);
        uint64_t from_us = clock_us() + LAG_EVERY_MS * 1000, due_us = loop->lag.timer.due_ms * 1000;
        loop->lag.due_us = from_us > due_us ? from_us : due_us; /* amid a long turn */
    }
    *when_us_r = loop->lag.told_us;
    return loop->lag.us;
}
