/* The secret that a site's links and forms depend on. */
#ifndef GW_COMMANDS_SECRET_H
#define GW_COMMANDS_SECRET_H

#include "base/diag.h"
#include "config/config.h"
#include "crypto/crypto.h"

/* [data] secret, else what the file `secret` in [data] dir holds; `create`: it is made when it is
 * missing, and its folder too. False: an error was added, at the key that it is about. Of a
 * configuration without errors. Waits for the disk. */
bool site_secret(const struct config *config, bool create, struct secret *secret_r,
                 struct diag *diag);

#endif
