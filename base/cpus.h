/* How many CPUs this process may really use: `workers = 0` means one loop for each. */
#ifndef GW_BASE_CPUS_H
#define GW_BASE_CPUS_H

#include "base/base.h"

/* The CPUs of the affinity mask, or fewer when a cgroup v2 quota (cpu.max, of this process's group
 * or any above it) allows less; a part of a CPU counts as one. At least 1. Reads /proc and /sys. */
unsigned cpus_available(void);

/* What one cpu.max file allows ("max 100000", "150000 100000"), in whole CPUs rounded up; 0 = no
 * limit, or not a cpu.max. */
unsigned cpus_of_quota(struct str cpu_max);

#endif
