/* What a crash tells before the process ends: the signal, the thread, what that was serving, what
 * else was under way, a backtrace; as lines of logfmt on stderr. Then the signal takes its course:
 * the exit status is the signal's, a core dump shows where it was. Of a request its id, method and
 * route are told, the route as the configuration has it: never a path, a query or a header.
 *
 * Each thread keeps this in fixed memory of its own, so that whoever reports needs to follow no
 * pointer. A build with AddressSanitizer or ThreadSanitizer leaves crashes to these. */
#ifndef GW_BASE_CRASH_H
#define GW_BASE_CRASH_H

#include <signal.h>
#include "base/base.h"

/* Once, main thread, before others start. version: a constant. */
void crash_setup(const char *version);
/* On each thread that runs much code: even a stack that overflowed is reported from there on. */
void crash_thread(void);
/* What a thread that wants no signals blocks: all but those of a crash, which end the process
 * without a word where they are blocked. Any thread. */
void crash_mask(sigset_t *mask_r);
/* A loop's thread, before its first request and after its last. */
void crash_loop_begin(unsigned index);
void crash_loop_end(unsigned index);

/* What this loop works on from here on; nothing on other threads. ticket: 0 for a request that is
 * new; returns its ticket for the next time. part: of a page, "" = none. Texts are copied, and cut.
 * A few stores when the request is known already. 0 on other threads. */
uint64_t crash_serving(uint64_t ticket, struct str id, struct str method, struct str route,
                       struct str part);
/* It is over. */
void crash_served(uint64_t ticket);
/* Nothing in particular: a turn is over. */
void crash_idle(void);

#endif
