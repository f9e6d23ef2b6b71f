/* What systemd hands over is one socket an address; a gateway hands over those of all its loops,
 * and each of them has connections waiting that only whoever has that socket can accept. */
#include "http/inherit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"

enum { FIRST = 3, MOST = 4096 };

static struct {
    struct {
        int fd; /* -1 = taken */
        struct address address;
    } * all;
    size_t count;
} sockets;

/* The number that the variable says, 0 = none. */
static unsigned long number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    if (text == NULL || *text < '0' || *text > '9')
        return 0;
    unsigned long value = strtoul(text, &end, 10);
    return *end == '\0' ? value : 0;
}

/* False: it is none that listens. */
static bool look_at(int fd, struct address *address_r)
{
    struct stat info;
    int listens = 0;
    socklen_t size = sizeof(listens);
    *address_r = (struct address){.length = sizeof(address_r->sa)};
    if (fstat(fd, &info) != 0 || !S_ISSOCK(info.st_mode) ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0)
        return false;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
           fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0 &&
           getsockname(fd, &address_r->sa.any, &address_r->length) == 0;
}

void inherit_sockets(void)
{
    unsigned long count =
        number("LISTEN_PID") == (unsigned long)getpid() ? number("LISTEN_FDS") : 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (count == 0 || count > MOST)
        return;
    sockets.all = calloc(count, sizeof(*sockets.all));
    gw_assert(sockets.all != NULL);
    for (int fd = FIRST; fd < FIRST + (int)count; fd++) {
        if (look_at(fd, &sockets.all[sockets.count].address))
            sockets.all[sockets.count++].fd = fd;
        else
            log_event(LOG_WARN, "an inherited descriptor is no listening socket", "fd=%d", fd);
    }
}

int inherit_take(const struct address *address)
{
    for (size_t i = 0; i < sockets.count; i++) {
        int fd = sockets.all[i].fd;
        if (fd < 0 || !address_equal(&sockets.all[i].address, address))
            continue;
        sockets.all[i].fd = -1;
        return fd;
    }
    return -1;
}

void inherit_close_rest(void)
{
    char text[ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < sockets.count; i++) {
        if (sockets.all[i].fd < 0)
            continue;
        address_print(&sockets.all[i].address, text);
        log_event(LOG_WARN, "closed an inherited socket that the configuration doesn't name",
                  "address=%s", log_quote(str_from(text)));
        close(sockets.all[i].fd);
    }
    free(sockets.all);
    sockets.all = NULL;
    sockets.count = 0;
}
