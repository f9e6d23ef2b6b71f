/* Reading the configuration again while it is served: asked for by SIGHUP, by POST /reload on the
 * control socket, by changed files. The new one is checked whole and listens before anything of the
 * old one is let go; with an error the old one stays, and log, metrics and answer say why. */
#ifndef GW_COMMANDS_RELOAD_H
#define GW_COMMANDS_RELOAD_H

#include "commands/workers.h"

struct reload;

/* wake: as workers_hooks has it. Main thread, as the rest but for what says otherwise. */
struct reload *reload_create(void (*wake)(void *arg), void *arg);
/* Of each site before it is served: adds what an operator may ask of it. */
void reload_prepare(struct reload *reload, struct site *site);
void reload_start(struct reload *reload, struct workers *workers);
/* reason: for the log, a constant. What is asked for while one is under way is one more. */
void reload_ask(struct reload *reload, const char *reason);
/* When woken: begins what was asked for, and tells of what has come to its end. */
void reload_look(struct reload *reload);
/* From now on none is begun; who waits for one is told so. */
void reload_end(struct reload *reload);
/* The workers are gone. */
void reload_destroy(struct reload **reload);

#endif
