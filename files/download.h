/* [downloads.NAME]: files that were uploaded, by id, or a plain directory; GET and HEAD.
 *
 * PATH/ID is a file of the upload section `from`: its record tells name, type and digest. What
 * strangers uploaded is never trusted: Content-Security-Policy takes all power from it, whatever it
 * claims to be. PATH/a/b.txt is a file below `dir`, under the rules of http_dir_find(). With
 * `listing`, PATH/ (and each folder of `dir`) tells what there is, as HTML or JSON, page by page.
 */
#ifndef GW_FILES_DOWNLOAD_H
#define GW_FILES_DOWNLOAD_H

#include "config/config.h"
#include "http/http.h"
#include "render/render.h"
#include "stores/stores.h"

struct download;

/* Adds the section's route. store: of the records, NULL while a configuration is only checked (then
 * nothing of `from` is opened); else the upload section's directory is there already. Read-only
 * from then on, any loop, but for what each loop remembers for itself. NULL: an error was added to
 * diag, or config/ had one to tell. */
struct download *download_mount(struct http_server *server, const struct config *config,
                                const struct config_download *item, struct store *store,
                                struct template_set *templates, struct offload *reads,
                                struct diag *diag);
/* After the loops and `reads` have ended. */
void download_unmount(struct download **download);

#endif
