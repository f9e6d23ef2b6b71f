/* files/: uploads (forms, raw bodies, resumable ones) and downloads of what they left, and of plain
 * directories.
 *
 *   files.c      which request goes to which of them
 *   storage.h    an upload route's directory: admission, quotas, making files whole, removing
 *   spool.h      a request's bytes on their way to disk: bounded buffers, offload jobs, digests
 *   upload.c     forms and raw bodies: POST and PUT of the route's path
 *   partial.h    an upload that is not whole yet: its file and its offset; lock.h: who holds it
 *   tus.c        resumable uploads: the protocol
 *   page.c       the upload page
 *   download.c   files by id; directory.c: plain directories and listings
 *
 * Nothing here waits on a loop: what touches the disk runs on offload threads or the store's. */
#ifndef GW_FILES_H
#define GW_FILES_H

#include "base/diag.h"
#include "base/offload.h"
#include "config/config.h"
#include "http/http.h"
#include "render/render.h"
#include "stores/stores.h"

struct files;

/* Adds the routes of [uploads.NAME] and [downloads.NAME]. store: NULL while a configuration is only
 * checked; then no directory is made. disk: threads for what is written, reads: for what is read.
 * With errors in diag, good for files_destroy() only. */
struct files *files_create(const struct config *config, struct store *store, struct offload *disk,
                           struct offload *reads, struct template_set *templates,
                           struct http_server *server, struct diag *diag);
/* Before the loops run, main thread: begins to sweep, on `disk`, what a crash left behind. */
void files_start(struct files *files);
/* On each loop's thread: when it starts, and after its last turn, when the offloads and the store
 * are stopped: frees what their answers would have. */
void files_loop_start(struct files *files, struct loop *loop);
void files_loop_stop(struct files *files, struct loop *loop);
/* No loop of the process runs any more, or will: what was on its way to one is freed. */
void files_loops_ended(void);
/* gw_upload… gauges for Prometheus. Any thread. */
void files_write_metrics(const struct files *files, struct out *out);
/* The loops have ended, the offloads are stopped. */
void files_destroy(struct files **files);

#endif
