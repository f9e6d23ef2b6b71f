/* How much CPU a call costs, without h2o and JSON around it: pages of two parallel calls, a number
 * of pages in flight, from one loop. For work on upstreams/; `make bench` measures whole pages.
 *
 *   upstream_speed URL TARGET1 TARGET2 [pages in flight] [seconds]
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "upstreams/upstreams.h"

static struct config_upstream configured[2];
static const char *targets[2];
static struct up_client *client;
static struct upstream *ups_of[2];
static unsigned long pages, calls, failures;
static uint64_t bytes;
static bool over;
static unsigned running;

struct page {
    struct task task;
    unsigned pending;
};
static struct loop *loop;

static void ended(struct up_call *call, const struct up_result *result, void *arg)
{
    struct page *page = arg;
    calls++;
    if (result->end != UP_ANSWERED || result->status != 200)
        failures++;
    bytes += result->body.n;
    up_call_release(&call);
    if (--page->pending == 0) {
        pages++;
        if (over)
            running--;
        else
            task_defer(loop, &page->task);
    }
}

static void start(struct task *task)
{
    struct page *page = CONTAINER_OF(task, struct page, task);
    page->pending = 2;
    for (int i = 0; i < 2; i++) {
        struct up_header headers[] = {
            {STR("X-Request-Id"), STR("0123456789abcdef0123456789abcdef")},
            {STR("Accept-Language"), STR("de-DE,de;q=0.9,en;q=0.8")}};
        struct up_request request = {.upstream = ups_of[i],
                                     .target = str_from(targets[i]),
                                     .headers = headers,
                                     .header_count = getenv("PLAIN") ? 0 : 2};
        up_call_start(client, &request, ended, page);
    }
}

static double cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double user(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    unsigned flight = argc > 4 ? (unsigned)atoi(argv[4]) : 64;
    double seconds = argc > 5 ? atof(argv[5]) : 3;
    static const char *names[2] = {"one", "two"};
    for (int i = 0; i < 2; i++) {
        targets[i] = argv[2 + i];
        configured[i] = (struct config_upstream){.name = str_from(names[i]),
                                                 .url = str_from(argv[1]),
                                                 .connect_timeout_ms = 1000,
                                                 .timeout_ms = 5000,
                                                 .max_idle = 64,
                                                 .connection_lifetime_ms = 60000,
                                                 .max_inflight = 2000,
                                                 .max_queue = 2000,
                                                 .queue_timeout_ms = 1000,
                                                 .max_body = 8 << 20,
                                                 .resolve_every_ms = 30000};
    }
    struct diag *diag = diag_create();
    struct config *config = config_parse(STR(""), "upstream_speed", "/", diag);
    config->upstreams = configured;
    config->upstream_count = 2;
    struct upstreams *ups = upstreams_create(config, diag);
    diag_print(diag, stderr);
    if (diag_errors(diag))
        return 1;
    loop = loop_create(0);
    struct offload *names_pool = offload_create("names", 2, 16);
    client = up_client_create(ups, loop, names_pool);
    for (int i = 0; i < 2; i++)
        ups_of[i] = upstream_find(ups, str_from(names[i]));
    struct page *all = calloc(flight, sizeof(*all));
    for (unsigned i = 0; i < flight; i++) {
        task_init(&all[i].task, start);
        task_defer(loop, &all[i].task);
    }
    running = flight;
    uint64_t until = clock_us() + 300 * 1000;
    while (clock_us() < until)
        loop_turn(loop, 10);
    unsigned long pages_before = pages;
    double before = cpu(), user_before = user();
    uint64_t from = clock_us();
    until = from + (uint64_t)(seconds * 1e6);
    unsigned long turns = 0;
    while (clock_us() < until) {
        loop_turn(loop, 10);
        turns++;
    }
    double spent = cpu() - before, user_spent = user() - user_before;
    unsigned long done = pages - pages_before;
    printf("%.0f pages/s, %.2f us CPU a page (%.2f user), %.1f pages a turn, %lu failures, "
           "%.0f bytes a call\n",
           (double)done / ((double)(clock_us() - from) / 1e6), spent / (double)done * 1e6,
           user_spent / (double)done * 1e6, (double)done / (double)turns, failures,
           (double)bytes / (double)calls);
    printf("total %lu pages\n", pages);
    over = true;
    while (running != 0)
        loop_turn(loop, 10);
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof(line), status))
        if (strncmp(line, "RssAnon", 7) == 0 || strncmp(line, "VmHWM", 5) == 0)
            fputs(line, stdout);
    if (status != NULL)
        fclose(status);
    up_client_destroy(&client);
    offload_destroy(&names_pool);
    upstreams_destroy(&ups);
    loop_destroy(&loop);
    config->upstreams = NULL;
    config->upstream_count = 0;
    config_destroy(&config);
    diag_destroy(&diag);
    free(all);
    return failures != 0;
}
