/* The report is made in a signal handler: nothing here allocates, locks or formats with stdio once
 * it runs. Whatever goes wrong in there (a second fault) ends the process at once, by the kernel:
 * the handler's signals are blocked meanwhile. */
#include "base/crash.h"

#include <execinfo.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    SLOTS = 32, /* requests of a thread that are told; of more, the latest */
    SLOT_BITS = 5,
    MAX_LOOPS = 1024,
    STACK_SIZE = 64 * 1024,
    FRAMES = 64,
    WRITE_MS = 1000 /* for a pipe that is full */
};

struct text {
    uint8_t n;
    char bytes[79];
};

struct slot {
    uint64_t ticket; /* 0 = free */
    struct text id, method, route, part;
};

struct serving {
    uint64_t current; /* ticket; 0 = none */
    uint64_t tickets; /* given so far */
    uint32_t active;  /* requests under way */
    uint32_t used;    /* a bit for each slot */
    struct slot slots[SLOTS];
};

static _Thread_local struct serving *serving; /* owned; NULL: no loop's thread */
static struct serving *_Atomic loops[MAX_LOOPS];
static const char *running_version = "";

/* -- what is served --------------------------------------------------------------------------- */

static void copy(struct text *to, struct str from)
{
    size_t n = from.n < sizeof(to->bytes) ? from.n : sizeof(to->bytes);
    if (n != 0)
        memcpy(to->bytes, from.p, n);
    to->n = (uint8_t)n;
}

static struct slot *slot_of(struct serving *of, uint64_t ticket)
{
    return &of->slots[ticket % SLOTS];
}

/* A free slot, else somebody else's. */
static uint64_t new_ticket(void)
{
    uint64_t number = ++serving->tickets;
    uint64_t place = ~serving->used != 0 ? (uint64_t)__builtin_ctz(~serving->used) : number % SLOTS;
    serving->used |= (uint32_t)1 << place;
    serving->active++;
    return number << SLOT_BITS | place;
}

uint64_t crash_serving(uint64_t ticket, struct str id, struct str method, struct str route,
                       struct str part)
{
    if (serving == NULL)
        return 0;
    if (ticket == 0)
        ticket = new_ticket();
    struct slot *slot = slot_of(serving, ticket);
    if (slot->ticket != ticket) {
        slot->ticket = ticket;
        copy(&slot->id, id);
        copy(&slot->method, method);
        slot->route.n = 0;
    }
    if (slot->route.n == 0)
        copy(&slot->route, route);
    slot->part.n = 0;
    if (part.n != 0)
        copy(&slot->part, part);
    serving->current = ticket;
    return ticket;
}

void crash_served(uint64_t ticket)
{
    if (ticket == 0 || serving == NULL)
        return;
    struct slot *slot = slot_of(serving, ticket);
    serving->active--;
    if (serving->current == ticket)
        serving->current = 0;
    if (slot->ticket != ticket)
        return; /* it was taken */
    slot->ticket = 0;
    serving->used &= ~((uint32_t)1 << ticket % SLOTS);
}

void crash_idle(void)
{
    if (serving != NULL)
        serving->current = 0;
}

void crash_loop_begin(unsigned index)
{
    gw_assert(index < MAX_LOOPS);
    crash_thread();
    serving = calloc(1, sizeof(*serving));
    gw_assert(serving != NULL);
    atomic_store(&loops[index], serving);
}

void crash_loop_end(unsigned index)
{
    atomic_store(&loops[index], NULL);
    free(serving);
    serving = NULL;
}

/* -- lines ------------------------------------------------------------------------------------ */

struct line {
    size_t n;
    char bytes[640];
};

static void add(struct line *line, const char *text, size_t n)
{
    for (size_t i = 0; i < n && line->n < sizeof(line->bytes) - 1; i++)
        line->bytes[line->n++] = text[i];
}

static void add_text(struct line *line, const char *text)
{
    add(line, text, strlen(text));
}

static void add_number(struct line *line, uint64_t value, unsigned base)
{
    char digits[20], *at = digits + sizeof(digits);
    do {
        *--at = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    add(line, at, (size_t)(digits + sizeof(digits) - at));
}

/* Between quotes: clients choose ids and methods. */
static void add_value(struct line *line, const char *key, const char *text, size_t n)
{
    if (n == 0)
        return;
    add_text(line, key);
    add_text(line, "\"");
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        add(line, c >= ' ' && c <= '~' && c != '"' && c != '\\' ? &c : "?", 1);
    }
    add_text(line, "\"");
}

static void begin(struct line *line, const char *message)
{
    line->n = 0;
    add_text(line, "level=fatal msg=\"");
    add_text(line, message);
    add_text(line, "\"");
}

static void end(struct line *line)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    line->bytes[line->n++] = '\n';
    if (poll(&fd, 1, WRITE_MS) == 0)
        return;
    ssize_t written = write(STDERR_FILENO, line->bytes, line->n);
    (void)written; /* nobody to tell */
}

/* -- the report ------------------------------------------------------------------------------- */

static const struct {
    int number;
    const char *name;
} signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},  {SIGABRT, "SIGABRT"}, {SIGFPE, "SIGFPE"},
    {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"}}; /* as which GLib ends a process without memory */

static void tell_signal(struct line *line, int number, const siginfo_t *info)
{
    char thread[16] = "";
    struct timespec now;
    begin(line, "crashed");
    for (size_t i = 0; i < COUNT(signals); i++) {
        if (signals[i].number == number) {
            add_text(line, " signal=");
            add_text(line, signals[i].name);
        }
    }
    if (info->si_code > 0) {
        add_text(line, " address=0x");
        add_number(line, (uint64_t)(uintptr_t)info->si_addr, 16);
    } else { /* kill(2), or abort(3): then it is our own */
        add_text(line, " sender=");
        add_number(line, (uint64_t)info->si_pid, 10);
    }
    prctl(PR_GET_NAME, thread);
    add_value(line, " thread=", thread, strnlen(thread, sizeof(thread)));
    add_value(line, " version=", running_version, strlen(running_version));
    clock_gettime(CLOCK_REALTIME, &now);
    add_text(line, " time=");
    add_number(line, (uint64_t)now.tv_sec, 10);
    end(line);
}

static void add_slot(struct line *line, const struct slot *slot)
{
    add_value(line, " id=", slot->id.bytes, slot->id.n);
    add_value(line, " method=", slot->method.bytes, slot->method.n);
    add_value(line, " route=", slot->route.bytes, slot->route.n);
    add_value(line, " part=", slot->part.bytes, slot->part.n);
    end(line);
}

static void tell_current(struct line *line)
{
    if (serving == NULL || serving->current == 0)
        return;
    const struct slot *slot = slot_of(serving, serving->current);
    if (slot->ticket != serving->current)
        return;
    begin(line, "crashed while serving");
    add_slot(line, slot);
}

static void tell_under_way(struct line *line, const struct serving *of, unsigned index)
{
    begin(line, "under way");
    add_text(line, " loop=");
    add_number(line, index, 10);
    add_text(line, " requests=");
    add_number(line, of->active, 10);
    end(line);
    for (size_t i = 0; i < SLOTS; i++) {
        const struct slot *slot = &of->slots[i];
        if (slot->ticket == 0 || (of == serving && slot->ticket == of->current))
            continue;
        begin(line, "under way");
        add_text(line, " loop=");
        add_number(line, index, 10);
        add_slot(line, slot);
    }
}

/* Of the loop that this is; of all loops on any other thread. */
static void tell_loops(struct line *line)
{
    for (unsigned i = 0; i < MAX_LOOPS; i++) {
        const struct serving *of = atomic_load(&loops[i]);
        if (of != NULL && (serving == NULL || of == serving))
            tell_under_way(line, of, i);
    }
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    static atomic_bool reported;
    struct line line;
    void *frames[FRAMES];
    (void)context;
    while (atomic_exchange(&reported, true)) /* on another thread, which is about to end us all */
        pause();
    tell_signal(&line, number, info);
    tell_current(&line);
    tell_loops(&line);
    begin(&line, "backtrace");
    end(&line);
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES), STDERR_FILENO);
    /* Delivered when this returns, with the stack as it was. */
    signal(number, SIG_DFL);
    raise(number);
}

/* -- setting up ------------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

static pthread_key_t stack_key;

static void free_stack(void *stack)
{
    sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
    munmap(stack, STACK_SIZE);
}

static void make_key(void)
{
    gw_assert(pthread_key_create(&stack_key, free_stack) == 0);
}

void crash_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (IS_SANITIZED)
        return;
    pthread_once(&once, make_key);
    if (pthread_getspecific(stack_key) != NULL)
        return;
    void *stack =
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return; /* it is reported from the thread's own */
    pthread_setspecific(stack_key, stack);
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = STACK_SIZE}, NULL);
}

void crash_mask(sigset_t *mask_r)
{
    sigfillset(mask_r);
    for (size_t i = 0; i < COUNT(signals); i++)
        sigdelset(mask_r, signals[i].number);
}

void crash_setup(const char *version)
{
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    void *frame;
    running_version = version;
    crash_thread();
    if (IS_SANITIZED)
        return;
    backtrace(&frame, 1); /* loads a library the first time */
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < COUNT(signals); i++)
        sigaddset(&action.sa_mask, signals[i].number);
    for (size_t i = 0; i < COUNT(signals); i++)
        sigaction(signals[i].number, &action, NULL);
}
