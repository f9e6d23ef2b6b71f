/* What an operator may ask of a gateway that runs, beside health and draining: its upstreams and
 * its numbers on the admin listener, the log's level on the control socket. */
#ifndef GW_COMMANDS_OPERATE_H
#define GW_COMMANDS_OPERATE_H

#include "commands/site.h"

/* Before the loops run. */
void operate_add(struct site *site);

#endif
