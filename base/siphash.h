/* SipHash-1-3 (Aumasson, Bernstein, 2012) with a key of this process: for tables whose keys are the
 * clients' choice. Values differ from one run to the next. */
#ifndef GW_BASE_SIPHASH_H
#define GW_BASE_SIPHASH_H

#include "base/base.h"

/* Never 0. Any thread. */
uint64_t siphash(struct str bytes);

#endif
