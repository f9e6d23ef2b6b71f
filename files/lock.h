/* Who may write a partial upload: one request at a time in the process, whichever loop it is on.
 *
 * A client whose connection died comes back long before we learn of it, so a newcomer doesn't wait
 * until the old request has timed out: its holder is asked at once to let go. It does so soon, when
 * what it received is safe. Newcomers wait in the order in which they came, each as long as it
 * likes.
 *
 * The table is the process's: ids are unguessable and no two routes share one. A mutex guards it;
 * it is held for a few pointers. Other processes are kept out with flock(): see partial.h. */
#ifndef GW_FILES_LOCK_H
#define GW_FILES_LOCK_H

#include "base/loop.h"
#include "stores/stores.h"

/* Called on the loop that took it, never from within lock_take() or lock_drop(). */
struct lock_events {
    void (*granted)(void *arg);   /* it was waited for and is held now */
    void (*timed_out)(void *arg); /* it isn't waited for any more; nothing is left to drop */
    void (*wanted)(void *arg);    /* it is held, and somebody waits for it: let go soon. Once. */
};

struct lock;
/* *held_r: whether it was free. If not, granted() or timed_out() comes within wait_ms. events and
 * arg are borrowed until lock_drop() or timed_out(). */
struct lock *lock_take(struct loop *loop, struct str id, uint64_t wait_ms,
                       const struct lock_events *events, void *arg, bool *held_r);
/* Lets go, or waits no more; nothing is called from here on. On its loop, also after its last turn.
 * Fine with NULL. */
void lock_drop(struct lock **lock);
/* Main thread, the loops are destroyed: frees what was dropped while a message that never arrived
 * was under way to it. */
void lock_free_undelivered(void);
/* Whether somebody holds it. Any thread. */
bool lock_held(struct str id);

#endif
