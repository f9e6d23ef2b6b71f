/* max_inflight is counted in the whole process, so a slot may be given back on one loop and wanted
 * on another. While nobody queues, taking and giving back are one atomic operation each.
 *
 * Why no wake-up is lost. Whoever queues does, under the lock, (1) stand in the room, (2) raise
 * `queued`, (3) try to take a slot for the room's head. Whoever gives back does (a) lower
 * `inflight`, (b) read `queued`, (c) when that isn't 0, lock and serve the room. All of these are
 * sequentially consistent, so they have one order. If (3) found no free slot, every slot it saw
 * taken is given back later: that (a) comes after (3), hence after (2), and its (b) sees the queue.
 * (c) then waits for the lock, that is until (1)-(3) are through, and finds the call standing
 * there.
 *
 * Order: a newcomer that sees a queue joins it. A slot given back goes through `inflight`, where a
 * newcomer that read `queued` just before it rose may win it once; the room's head then gets the
 * next one. */
#include "upstreams/internal.h"

void room_init(struct room *room)
{
    pthread_mutex_init(&room->lock, NULL);
    h2o_linklist_init_anchor(&room->attempts);
}

void room_fini(struct room *room)
{
    gw_assert(h2o_linklist_is_empty(&room->attempts));
    pthread_mutex_destroy(&room->lock);
}

void room_enter(struct room *room, struct attempt *attempt)
{
    h2o_linklist_insert(&room->attempts, &attempt->waiting);
}

bool room_leave(struct attempt *attempt)
{
    if (attempt->posted)
        return false;
    h2o_linklist_unlink(&attempt->waiting);
    return true;
}

void room_let_out(struct attempt *attempt)
{
    h2o_linklist_unlink(&attempt->waiting);
    attempt->posted = true;
    loop_post(attempt->lane->client->loop, &attempt->message);
}

static bool take(struct slots *slots)
{
    uint32_t n = atomic_load(&slots->inflight);
    while (n < slots->max_inflight)
        if (atomic_compare_exchange_weak(&slots->inflight, &n, n + 1))
            return true;
    return false;
}

static void serve(struct slots *slots)
{
    while (!h2o_linklist_is_empty(&slots->room.attempts) && take(slots)) {
        atomic_fetch_sub(&slots->queued, 1);
        room_let_out(H2O_STRUCT_FROM_MEMBER(struct attempt, waiting, slots->room.attempts.next));
    }
}

bool slots_take_free(struct slots *slots)
{
    return atomic_load(&slots->queued) == 0 && take(slots);
}

enum slot_answer slots_take(struct slots *slots, struct attempt *attempt)
{
    if (slots_take_free(slots))
        return SLOT_TAKEN;
    pthread_mutex_lock(&slots->room.lock);
    bool room_left = atomic_load(&slots->queued) < slots->max_queue;
    if (room_left) {
        room_enter(&slots->room, attempt);
        atomic_fetch_add(&slots->queued, 1);
        serve(slots);
    }
    pthread_mutex_unlock(&slots->room.lock);
    return room_left ? SLOT_QUEUED : SLOT_REFUSED;
}

void slots_release(struct slots *slots)
{
    uint32_t before = atomic_fetch_sub(&slots->inflight, 1);
    gw_assert(before != 0);
    if (atomic_load(&slots->queued) == 0)
        return;
    pthread_mutex_lock(&slots->room.lock);
    serve(slots);
    pthread_mutex_unlock(&slots->room.lock);
}

bool slots_leave(struct slots *slots, struct attempt *attempt)
{
    pthread_mutex_lock(&slots->room.lock);
    bool left = room_leave(attempt);
    if (left)
        atomic_fetch_sub(&slots->queued, 1);
    pthread_mutex_unlock(&slots->room.lock);
    return left;
}
