/* This process, from /proc/self (proc(5)). */
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "observe/metrics.h"

static void put_gauge(struct out *out, const char *name, const char *help, uint64_t value)
{
    metric_begin(out, name, METRIC_GAUGE, help);
    metric_put(out, name, NULL, 0, value);
}

static uint64_t open_descriptors(void)
{
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count > 3 ? count - 3 : 0; /* ".", "..", and this one */
}

/* The process's start, seconds since 1970; 0 = can't be told. */
static uint64_t start_time(void)
{
    char line[1024];
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL)
        return 0;
    size_t n = fread(line, 1, sizeof(line) - 1, file);
    fclose(file);
    line[n] = '\0';
    const char *after = strrchr(line, ')'); /* the name may hold anything */
    if (after == NULL ||
        sscanf(after,
               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
               "%*d %llu",
               &ticks) != 1)
        return 0;
    struct timespec now, up;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    long rate = sysconf(_SC_CLK_TCK);
    return (uint64_t)(now.tv_sec - up.tv_sec) + ticks / (unsigned long long)(rate > 0 ? rate : 100);
}

void metrics_write_process(struct out *out)
{
    struct rusage used;
    struct rlimit files;
    unsigned long long virtual_pages = 0, resident_pages = 0;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &virtual_pages, &resident_pages) != 2)
            virtual_pages = resident_pages = 0;
        fclose(file);
    }
    getrusage(RUSAGE_SELF, &used);
    uint64_t cpu_us = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
                      (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    metric_begin(out, "process_cpu_seconds_total", METRIC_COUNTER,
                 "CPU time of this process, user and system.");
    metric_put_micro(out, "process_cpu_seconds_total", NULL, 0, cpu_us);
    put_gauge(out, "process_resident_memory_bytes", "Memory that is resident.",
              resident_pages * page);
    put_gauge(out, "process_virtual_memory_bytes", "Memory that is mapped.", virtual_pages * page);
    put_gauge(out, "process_open_fds", "Open descriptors.", open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        put_gauge(out, "process_max_fds", "Descriptors that may be open.", files.rlim_cur);
    put_gauge(out, "process_start_time_seconds", "When it was started, seconds since 1970.",
              start_time());
}
