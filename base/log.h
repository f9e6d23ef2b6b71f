/* Operational log: one line an event on stderr, logfmt (`ts=… level=… msg="…" key=value`) or JSON.
 * For starts, stops, failures and their causes, never for requests (observe/ writes those).
 * Any thread; one write(2) a line, so it is for rare events: never call it once a request on a
 * path that a client can drive. It never waits: lines that stderr won't take now are counted, and
 * the next that it takes says how many. No secrets. */
#ifndef GW_BASE_LOG_H
#define GW_BASE_LOG_H

#include "base/base.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

/* Set once before threads start; level may change later. */
void log_setup(enum log_level level, enum log_format format);

/* Any thread. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
const char *log_level_name(enum log_level level);
/* False: there is no level of that name. */
bool log_level_parse(struct str name, enum log_level *level_r);

/* From now on stdio's stderr is a stream into log_event() (LOG_DEBUG; LOG_ERROR when it begins with
 * "fatal"): h2o prints a line there for each HTTP/2 frame that it doesn't know. Once, before
 * threads start. */
void log_take_stderr(void);

/* `message` is a constant; `fields` is a printf format that yields `key=value key="va lue"` pairs
 * or "" (values with blanks, quotes or unknown bytes go through %s inside log_quote()). */
void log_event(enum log_level level, const char *message, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));

/* A value made safe for a field: quoted and escaped when needed. Returns a thread-local buffer
 * (four in rotation, each cut at 512 bytes). */
const char *log_quote(struct str value);

#endif
