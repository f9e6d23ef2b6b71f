/* inotify(7) on folders rather than on files: editors put a new file in the old one's place.
 * Folders that appear are watched from then on; whatever is overlooked at that moment comes with
 * the next change. */
#include "commands/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SETTLE_US = 100 * 1000,
    DEEPEST = 16,
    EVENTS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ONLYDIR
};

struct watch {
    int fd;
    int own;             /* of the configuration's folder, where only its own file counts */
    const char *file;    /* its name there */
    char *path;          /* owned: file and templates are named in it */
    char *templates;     /* owned */
    uint64_t changed_us; /* 0 = nothing has */
};

static void add_tree(struct watch *watch, const char *path, unsigned depth)
{
    DIR *dir = depth < DEEPEST ? opendir(path) : NULL;
    if (dir == NULL)
        return;
    inotify_add_watch(watch->fd, path, EVENTS);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char below[PATH_MAX];
        struct stat info;
        if (entry->d_name[0] == '.' ||
            snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >= (int)sizeof(below))
            continue;
        if (lstat(below, &info) == 0 && S_ISDIR(info.st_mode))
            add_tree(watch, below, depth + 1);
    }
    closedir(dir);
}

struct watch *watch_create(const struct config *config)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    gw_assert(watch != NULL);
    watch->path = strdup(config->file.p);
    watch->templates = strdup(config->templates_dir.p);
    gw_assert(watch->path != NULL && watch->templates != NULL);
    const char *slash = strrchr(watch->path, '/');
    watch->file = slash != NULL ? slash + 1 : watch->path;
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->fd >= 0)
        watch->own = inotify_add_watch(watch->fd, config->dir.p, EVENTS);
    if (watch->fd < 0 || watch->own < 0) {
        fprintf(stderr, "gateway: the files can't be watched: %s\n", strerrordesc_np(errno));
        watch_destroy(&watch);
        return NULL;
    }
    add_tree(watch, watch->templates, 0);
    return watch;
}

void watch_destroy(struct watch **watch_p)
{
    struct watch *watch = *watch_p;
    *watch_p = NULL;
    if (watch == NULL)
        return;
    if (watch->fd >= 0)
        close(watch->fd);
    free(watch->path);
    free(watch->templates);
    free(watch);
}

int watch_fd(const struct watch *watch)
{
    return watch != NULL ? watch->fd : -1;
}

void watch_read(struct watch *watch)
{
    _Alignas(struct inotify_event) char bytes[4096];
    ssize_t n;
    while ((n = read(watch->fd, bytes, sizeof(bytes))) > 0) {
        for (const char *at = bytes; at < bytes + n;) {
            const struct inotify_event *event = (const void *)at;
            at += sizeof(*event) + event->len;
            if (event->wd == watch->own &&
                (event->len == 0 || strcmp(event->name, watch->file) != 0))
                continue;
            if (event->wd != watch->own && (event->mask & IN_ISDIR) != 0)
                add_tree(watch, watch->templates, 0); /* those watched already stay so */
            watch->changed_us = clock_us();
        }
    }
}

int watch_settling_ms(const struct watch *watch)
{
    if (watch == NULL || watch->changed_us == 0)
        return -1;
    uint64_t now_us = clock_us(), whole_us = watch->changed_us + SETTLE_US;
    return whole_us > now_us ? (int)((whole_us - now_us) / 1000) + 1 : 0;
}

bool watch_settled(struct watch *watch)
{
    if (watch_settling_ms(watch) != 0)
        return false;
    watch->changed_us = 0;
    return true;
}
