/* A hash table of queues: the first lock of an id is held, those behind it wait.
 *
 * What happens to a lock by another thread's doing is told to its loop by its one message, whatever
 * came together; flags say what. A lock may be dropped while its message is under way: then the
 * message frees it, or, when its loop ended before the message arrived, lock_free_undelivered(): a
 * loop's inbox is made of what was posted to it. */
#include "files/lock.h"

#include <pthread.h>
#include <stdlib.h>
#include <h2o/memory.h>
#include "base/text.h"

enum { BUCKETS = 256 };

struct lock {
    struct loop *loop; /* borrowed, as what follows */
    const struct lock_events *events;
    void *arg;
    struct timer timer; /* of who waits; its loop's own */
    struct message message;
    /* guarded: */
    struct lock *next_id; /* the bucket's next queue; in the first of a queue only */
    struct lock *behind;  /* who waits after it */
    bool held;
    bool posted;          /* the message is under way, and tells */
    bool granted, wanted; /* these */
    bool asked;           /* `wanted` is or was told: once is enough */
    bool dropped;
    h2o_linklist_t undelivered; /* among those dropped with their message under way */
    char id[STORE_ID];
};

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct lock *buckets[BUCKETS];                             /* guarded */
static h2o_linklist_t undelivered = {&undelivered, &undelivered}; /* guarded */

/* Ids are random hexadecimal digits, so two of them are as good as a hash. */
static struct lock **find_queue(const char id[STORE_ID])
{
    unsigned bucket = ((unsigned)hex_value(id[0]) * 16 + (unsigned)hex_value(id[1])) % BUCKETS;
    struct lock **at = &buckets[bucket];
    while (*at != NULL && memcmp((*at)->id, id, STORE_ID) != 0)
        at = &(*at)->next_id;
    return at;
}

/* -- guarded -- */

static void post(struct lock *lock)
{
    if (!lock->posted)
        loop_post(lock->loop, &lock->message);
    lock->posted = true;
}

static void ask_holder(struct lock *holder)
{
    if (holder->asked)
        return;
    holder->asked = holder->wanted = true;
    post(holder);
}

static void hand_on(struct lock **queue)
{
    struct lock *holder = *queue, *next = holder->behind;
    if (next == NULL) {
        *queue = holder->next_id;
        return;
    }
    next->next_id = holder->next_id;
    *queue = next;
    next->held = next->granted = true;
    if (next->behind != NULL)
        ask_holder(next);
    post(next);
}

static void leave(struct lock *lock)
{
    struct lock **queue = find_queue(lock->id);
    if (lock->held) {
        gw_assert(*queue == lock);
        hand_on(queue);
        return;
    }
    struct lock *before = *queue;
    while (before->behind != lock)
        before = before->behind;
    before->behind = lock->behind;
}

/* -- on its loop -- */

/* One thing at a time: what is called may drop it. */
static void on_message(struct message *message)
{
    struct lock *lock = CONTAINER_OF(message, struct lock, message);
    pthread_mutex_lock(&guard);
    bool dropped = lock->dropped, granted = lock->granted, wanted = !granted && lock->wanted;
    lock->posted = lock->granted = false;
    if (wanted)
        lock->wanted = false;
    else if (lock->wanted && !dropped)
        post(lock);
    if (dropped)
        h2o_linklist_unlink(&lock->undelivered);
    pthread_mutex_unlock(&guard);
    if (dropped) {
        free(lock);
    } else if (granted) {
        timer_stop(lock->loop, &lock->timer);
        lock->events->granted(lock->arg);
    } else if (wanted) {
        lock->events->wanted(lock->arg);
    }
}

static void on_timer(struct timer *timer)
{
    struct lock *lock = CONTAINER_OF(timer, struct lock, timer);
    pthread_mutex_lock(&guard);
    bool held = lock->held; /* just now; the message says so */
    if (!held)
        leave(lock);
    pthread_mutex_unlock(&guard);
    if (held)
        return;
    const struct lock_events *events = lock->events;
    void *arg = lock->arg;
    free(lock);
    events->timed_out(arg);
}

struct lock *lock_take(struct loop *loop, struct str id, uint64_t wait_ms,
                       const struct lock_events *events, void *arg, bool *held_r)
{
    gw_assert(id.n == STORE_ID);
    struct lock *lock = h2o_mem_alloc(sizeof(*lock));
    *lock = (struct lock){.loop = loop, .events = events, .arg = arg, .message.fn = on_message};
    timer_init(&lock->timer, on_timer);
    memcpy(lock->id, id.p, STORE_ID);

    pthread_mutex_lock(&guard);
    struct lock **queue = find_queue(lock->id), *last = *queue;
    *held_r = lock->held = last == NULL;
    if (last == NULL) {
        *queue = lock;
    } else {
        ask_holder(last);
        while (last->behind != NULL)
            last = last->behind;
        last->behind = lock;
    }
    pthread_mutex_unlock(&guard);
    if (!*held_r)
        timer_start(loop, &lock->timer, wait_ms);
    return lock;
}

void lock_drop(struct lock **lock_p)
{
    struct lock *lock = *lock_p;
    if (lock == NULL)
        return;
    timer_stop(lock->loop, &lock->timer);
    pthread_mutex_lock(&guard);
    leave(lock);
    bool posted = lock->posted;
    lock->dropped = true;
    if (posted)
        h2o_linklist_insert(&undelivered, &lock->undelivered);
    pthread_mutex_unlock(&guard);
    if (!posted)
        free(lock);
    *lock_p = NULL;
}

void lock_free_undelivered(void)
{
    pthread_mutex_lock(&guard);
    while (!h2o_linklist_is_empty(&undelivered)) {
        struct lock *lock = H2O_STRUCT_FROM_MEMBER(struct lock, undelivered, undelivered.next);
        h2o_linklist_unlink(&lock->undelivered);
        free(lock);
    }
    pthread_mutex_unlock(&guard);
}

bool lock_held(struct str id)
{
    pthread_mutex_lock(&guard);
    bool held = id.n == STORE_ID && *find_queue(id.p) != NULL;
    pthread_mutex_unlock(&guard);
    return held;
}
