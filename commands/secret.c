/* Where a site's secret comes from: the same for every command, or a link that one signs isn't
 * known to the other. */
#include "commands/secret.h"

#include <stdio.h>
#include <stdlib.h>

bool site_secret(const struct config *config, bool create, struct secret *secret_r,
                 struct diag *diag)
{
    const struct config_data *data = &config->data;
    char *path, error[512];
    if (data->secret.n != 0) {
        bool long_enough = secret_from_text(data->secret, secret_r);
        gw_assert(long_enough); /* or the configuration has an error */
        return true;
    }
    gw_assert(asprintf(&path, "%s/secret", data->dir.p) > 0);
    const char *wrong = secret_load(path, create, secret_r, error, sizeof(error));
    free(path);
    if (wrong != NULL)
        diag_error(diag, config_pos(config, &data->dir), "%s", wrong);
    return wrong == NULL;
}
