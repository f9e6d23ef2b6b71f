/* Whether the files of a configuration have changed: for `gateway run --watch`. Main thread. A NULL
 * watch watches nothing. */
#ifndef GW_COMMANDS_WATCH_H
#define GW_COMMANDS_WATCH_H

#include "config/config.h"

struct watch;

/* The folder of the configuration and that of its templates with all below. NULL, and a line on
 * stderr, where the system has no more watches. */
struct watch *watch_create(const struct config *config);
void watch_destroy(struct watch **watch);
int watch_fd(const struct watch *watch); /* to poll for reading; -1 = none */
/* Reads what has happened. */
void watch_read(struct watch *watch);
/* Editors write in several steps: milliseconds until what has changed is taken for whole; -1 =
 * nothing has. */
int watch_settling_ms(const struct watch *watch);
/* Whether it has, just now. */
bool watch_settled(struct watch *watch);

#endif
