/* Making folders, as mkdir -p does. */
#ifndef GW_BASE_FOLDERS_H
#define GW_BASE_FOLDERS_H

#include <sys/types.h>
#include "base/base.h"

/* Makes the folder and those that lead to it, as far as they are missing. 0 or errno; EEXIST is
 * none, even when what is there isn't a folder: whoever uses it will see. Waits for the disk. */
int folders_make(const char *path, mode_t mode);
/* The folders that lead to a file. */
int folders_make_for(const char *file, mode_t mode);

#endif
