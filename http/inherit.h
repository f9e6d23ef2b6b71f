/* Listening sockets that the process was started with (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS):
 * from systemd, or from the gateway whose place this one takes. Main thread, but for what says
 * otherwise. */
#ifndef GW_HTTP_INHERIT_H
#define GW_HTTP_INHERIT_H

#include "http/address.h"

/* Once, before the first listener is opened: looks what there is; children won't inherit it. */
void inherit_sockets(void);
/* The next one that is bound to the address; from then on the caller's. -1 = there is none (more).
 * On the main thread, or on the one loop that opens listeners while that waits. */
int inherit_take(const struct address *address);
/* Closes what nobody wanted, and says so. */
void inherit_close_rest(void);

#endif
