/* A new binary takes this one's place: SIGUSR2 starts the file that this process was started from,
 * with the same arguments, and hands it the listening sockets (sd_listen_fds(3)), so that no
 * connection is refused. When the new one serves it says so by a pipe, and this one drains; when it
 * ends without having said so, this one goes on. Main thread. */
#ifndef GW_COMMANDS_UPGRADE_H
#define GW_COMMANDS_UPGRADE_H

#include <stddef.h>
#include <stdint.h>
#include "base/base.h"

struct upgrade;

/* Before anything could have moved the binary. */
struct upgrade *upgrade_create(void);
void upgrade_destroy(struct upgrade **upgrade);
/* Starts the new one. Nothing while one is starting. False: it can't be, and the log knows why. */
bool upgrade_begin(struct upgrade *upgrade, const int *sockets, size_t count);
int upgrade_fd(const struct upgrade *upgrade); /* to poll for reading; -1 = none is starting */
/* True: the new one serves. False: it doesn't; when it has ended, the log knows. */
bool upgrade_read(struct upgrade *upgrade);

/* This process serves: tells the one that it was started by, and systemd (sd_notify(3)). */
void upgrade_tell_ready(void);
/* "STOPPING=1" and the like, for systemd; nothing without one. */
void upgrade_notify(const char *state);

#endif
