/* The kernel tells the affinity mask; the quota stands in files, one for each cgroup above us. */
#include "base/cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

unsigned cpus_of_quota(struct str cpu_max)
{
    char text[64];
    unsigned long long quota, period;
    if (cpu_max.n == 0 || cpu_max.n >= sizeof(text))
        return 0;
    memcpy(text, cpu_max.p, cpu_max.n);
    text[cpu_max.n] = '\0';
    if (sscanf(text, "%llu %llu", &quota, &period) != 2 || quota == 0 || period == 0)
        return 0;
    unsigned long long cpus = (quota + period - 1) / period;
    return cpus > UINT_MAX ? 0 : (unsigned)cpus;
}

static struct str read_file(const char *path, char *buffer, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return (struct str){NULL, 0};
    size_t n = fread(buffer, 1, size, file);
    fclose(file);
    return (struct str){buffer, n};
}

/* The group's path in the unified hierarchy: the line "0::/path" of /proc/self/cgroup. */
static bool own_group(char *path, size_t size)
{
    char text[4096];
    struct str file = read_file("/proc/self/cgroup", text, sizeof(text) - 1);
    if (file.p == NULL)
        return false;
    text[file.n] = '\0';
    const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (line == NULL)
        return false;
    line += *line == '\n' ? 4 : 3;
    int n = (int)strcspn(line, "\n");
    return (size_t)snprintf(path, size, "/sys/fs/cgroup%.*s", n, line) < size;
}

unsigned cpus_available(void)
{
    cpu_set_t set;
    unsigned cpus = 1;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        cpus = (unsigned)CPU_COUNT(&set);

    char group[PATH_MAX], file[PATH_MAX + 16], text[64];
    if (!own_group(group, sizeof(group)))
        snprintf(group, sizeof(group), "/sys/fs/cgroup");
    for (;;) {
        snprintf(file, sizeof(file), "%s/cpu.max", group);
        unsigned quota = cpus_of_quota(read_file(file, text, sizeof(text)));
        if (quota != 0 && quota < cpus)
            cpus = quota;
        char *slash = strrchr(group, '/');
        if (strcmp(group, "/sys/fs/cgroup") == 0 || slash == NULL || slash == group)
            break;
        *slash = '\0';
    }
    return cpus > 0 ? cpus : 1;
}
