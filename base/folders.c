/* mkdir() for each folder of the way: one that exists already is fine, whoever made it. */
#include "base/folders.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

static int make_one(const char *path, size_t n, mode_t mode)
{
    char folder[PATH_MAX];
    if (n >= sizeof(folder))
        return ENAMETOOLONG;
    memcpy(folder, path, n);
    folder[n] = '\0';
    return mkdir(folder, mode) == 0 || errno == EEXIST ? 0 : errno;
}

int folders_make_for(const char *file, mode_t mode)
{
    int error = 0;
    if (file[0] == '\0')
        return ENOENT;
    for (const char *slash = strchr(file + 1, '/'); slash != NULL && error == 0;
         slash = strchr(slash + 1, '/'))
        error = make_one(file, (size_t)(slash - file), mode);
    return error;
}

int folders_make(const char *path, mode_t mode)
{
    int error = folders_make_for(path, mode);
    return error != 0 ? error : make_one(path, strlen(path), mode);
}
