/* One write(2) a line, so lines of several threads never mix. Nobody waits for whoever reads them:
 * a line that a full pipe would hold up is dropped and counted. */
#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"

static _Atomic int threshold = LOG_INFO;
static enum log_format shape = LOG_LOGFMT;
static _Atomic unsigned lost; /* lines since the last that was written */
static const char *const level_names[] = {"debug", "info", "warn", "error"};

enum { QUOTED_MAX = 512, LINE_MAX_BYTES = 4096 };

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load(&threshold);
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

bool log_level_parse(struct str name, enum log_level *level_r)
{
    for (size_t i = 0; i < COUNT(level_names); i++) {
        if (str_eq(name, str_from(level_names[i]))) {
            *level_r = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_setup(enum log_level level, enum log_format format)
{
    atomic_store(&threshold, (int)level);
    shape = format;
}

const char *log_quote(struct str value)
{
    static _Thread_local char rotation[4][QUOTED_MAX + 8];
    static _Thread_local unsigned turn;
    char *buffer = rotation[turn++ % COUNT(rotation)], *at = buffer;
    bool plain = value.n != 0;
    for (size_t i = 0; i < value.n && plain; i++) {
        unsigned char c = (unsigned char)value.p[i];
        plain = c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
    }
    if (!plain)
        *at++ = '"';
    for (size_t i = 0; i < value.n && at < buffer + QUOTED_MAX; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (c == '"' || c == '\\')
            *at++ = '\\';
        *at++ = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    if (!plain)
        *at++ = '"';
    *at = '\0';
    return buffer;
}

/* Turns `key=value key="va lue"` into JSON members; what is all digits is a number. */
static void json_fields(struct buf *line, const char *fields)
{
    while (*fields != '\0') {
        size_t key = strcspn(fields, "=");
        buf_printf(line, ",\"%.*s\":", (int)key, fields);
        fields += key;
        if (*fields == '=')
            fields++;
        size_t digits = strspn(fields, "0123456789");
        if (digits != 0 && digits < 16 && (fields[0] != '0' || digits == 1) &&
            (fields[digits] == ' ' || fields[digits] == '\0')) {
            buf_append(line, fields, digits);
            fields += digits + strspn(fields + digits, " ");
            continue;
        }
        buf_append(line, "\"", 1);
        bool quoted = *fields == '"';
        if (quoted)
            fields++;
        while (*fields != '\0' && *fields != (quoted ? '"' : ' ')) {
            if (quoted && *fields == '\\' && fields[1] != '\0')
                fields++;
            if (*fields == '"' || *fields == '\\')
                buf_append(line, "\\", 1);
            buf_append(line, fields++, 1);
        }
        if (quoted && *fields == '"')
            fields++;
        buf_append(line, "\"", 1);
        fields += strspn(fields, " ");
    }
}

/* False: it would have to wait. */
static bool write_line(const struct buf *line)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&fd, 1, 0) == 0)
        return false;
    ssize_t written = write(STDERR_FILENO, line->p, line->n);
    (void)written; /* nobody to tell */
    return true;
}

static ssize_t from_library(void *arg, const char *text, size_t n)
{
    static const char fatal[] = "fatal";
    bool is_fatal = n >= sizeof(fatal) - 1 && memcmp(text, fatal, sizeof(fatal) - 1) == 0;
    struct str line = {text, n};
    (void)arg;
    while (line.n != 0 && line.p[line.n - 1] == '\n')
        line.n--;
    if (line.n != 0)
        log_event(is_fatal ? LOG_ERROR : LOG_DEBUG, "a library says", "text=%s", log_quote(line));
    return (ssize_t)n;
}

void log_take_stderr(void)
{
    FILE *lines = fopencookie(NULL, "w", (cookie_io_functions_t){.write = from_library});
    gw_assert(lines != NULL);
    setvbuf(lines, NULL, _IOLBF, 0);
    stderr = lines;
}

void log_event(enum log_level level, const char *message, const char *fields, ...)
{
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    struct timespec now;
    struct tm utc;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);

    char text[2048];
    va_list args;
    va_start(args, fields);
    vsnprintf(text, sizeof(text), fields, args);
    va_end(args);

    struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    int ms = (int)(now.tv_nsec / 1000000);
    if (shape == LOG_JSON) {
        buf_printf(&line, "{\"ts\":\"%s.%03dZ\",\"level\":\"%s\",\"msg\":\"%s\"", stamp, ms,
                   level_names[level], message);
        json_fields(&line, text);
        buf_append(&line, "}\n", 2);
    } else {
        buf_printf(&line, "ts=%s.%03dZ level=%s msg=\"%s\"%s%s\n", stamp, ms, level_names[level],
                   message, text[0] ? " " : "", text);
    }
    bool written = write_line(&line);
    buf_fini(&line);
    unsigned missed = 0;
    if (written)
        missed = atomic_exchange(&lost, 0);
    else
        atomic_fetch_add(&lost, 1);
    if (missed != 0)
        log_event(LOG_WARN, "log lines lost", "lines=%u", missed);
}
