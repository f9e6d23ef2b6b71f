/* The threads that serve a site, and how one site takes the place of another while they do.
 *
 * Each worker has a loop, and for each site that it serves clients of its own; connections are the
 * loop's, whatever site answers them. A new site is adopted by every loop in one of its turns: what
 * comes later is served as it says. The site before goes on for the requests that it has to answer;
 * when the last of them is over on every loop, it retires: its offload pools are stopped on a
 * thread of their own (they may wait for a disk or a name server), each loop ends its clients, and
 * the main thread takes it apart. No loop waits for another, and none for the main thread.
 *
 * Main thread, but for what says otherwise. */
#ifndef GW_COMMANDS_WORKERS_H
#define GW_COMMANDS_WORKERS_H

#include "commands/site.h"

struct workers;

struct workers_hooks {
    void (*wake)(void *arg);  /* any thread: workers_look() has something to do, or to tell */
    bool (*ready)(void *arg); /* on a loop: for /readyz */
    void (*drain)(void *arg); /* on a loop: POST /drain */
    void *arg;
};

/* Takes over the site, which listens already. Returns when all loops run. *error_r: NULL, or why
 * the admin listener or the control socket can't be; then only workers_stop() is left to do. */
struct workers *workers_start(struct site *site, const struct workers_hooks *hooks,
                              const char **error_r);
/* The site that requests are served by which come now. */
struct site *workers_site(const struct workers *workers);
/* Takes over the site, made as one that follows workers_site(), which listens already. */
void workers_adopt(struct workers *workers, struct site *site);
/* When woken: moves on what retires. */
void workers_look(struct workers *workers);
/* Whether every loop has adopted the newest site. */
bool workers_adopted(const struct workers *workers);
/* How many sites are there still: 1 when nothing retires. */
unsigned workers_sites(const struct workers *workers);
/* Posts a message to the loop that serves admin and control. */
void workers_post_first(struct workers *workers, struct message *message);

/* All listening sockets, admin's and control's too, at most `most`: how many. */
size_t workers_sockets(const struct workers *workers, int *fds_r, size_t most);
/* Stops accepting; requests under way go on. handed_on: another process has the sockets, so that
 * admin and control are its, too. */
void workers_drain(struct workers *workers, bool handed_on);
/* All of them are over. */
bool workers_idle(const struct workers *workers);
/* Ends what is left, and all threads and sites. */
void workers_stop(struct workers **workers);

#endif
